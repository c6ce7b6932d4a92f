//! Produce: validates here, appends on the partitions' shards, answers when everything is durable.
//!
//! Requests of one connection are appended in the order in which they came: each takes its turn before its first wait.
//! There is one before the appends only when large compressed batches have to be looked into, which is done off the
//! shard: decompressing one would hold up everyone else for milliseconds. acks 1 waits as acks −1 does: a leader's acknowledgement without its disk would be worth
//! little, and costs no less here, where one fdatasync serves all.

use std::collections::BTreeMap;
use std::rc::Rc;

use bytes::Bytes;

use crate::disk::Disk;
use crate::metadata::Topic;
use crate::partition::producers::SequenceError;
use crate::partition::{Accepted, Refused};
use crate::protocol::messages::produce::{
    BatchIndexAndErrorMessage, PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceResponse,
};
use crate::protocol::{ErrorCode, RequestHeader, decode_request};
use crate::record::{ProduceError, ProduceRules, ProducedBatch, TimestampType, check_compressed, validate_produced};
use crate::server::broker::Broker;
use crate::server::connection::{Client, Outcome};
use crate::storage::AppendError;
use crate::vocabulary::{Offset, PartitionId, ShardId, TimestampMs};

/// From this version on topics are named by id (KIP-516).
const FIRST_VERSION_WITH_TOPIC_IDS: i16 = 13;

/// A compressed batch of at most so many bytes is checked on the shard: a thread elsewhere would take longer to begin.
const CHECKED_HERE_BYTES_MAX: usize = 16 << 10;

/// A validated batch for one partition; `at` is its place in the request.
struct Batch {
    at: usize,
    id: PartitionId,
    batch: ProducedBatch,
    rules: ProduceRules,
}

/// What became of a batch.
struct Produced {
    error_code: ErrorCode,
    message: Option<String>,
    base_offset: Offset,
    log_start_offset: Offset,
    log_append_time_ms: i64,
    bad_record: Option<u32>,
}

impl Produced {
    fn refused(error_code: ErrorCode, message: Option<String>) -> Produced {
        Produced {
            error_code,
            message,
            base_offset: -1,
            log_start_offset: -1,
            log_append_time_ms: -1,
            bad_record: None,
        }
    }
}

/// Answers a produce request; with acks 0 there is no answer, and an error closes the connection.
pub(super) async fn handle(broker: Rc<Broker>, client: Rc<Client>, header: RequestHeader, body: Bytes) -> Outcome {
    let version = header.request_api_version;
    let request = match decode_request::<ProduceRequest>(body, version) {
        Ok(request) => request,
        Err(error) => return Outcome::Close(error.to_string()),
    };
    let acks = request.acks;
    let results = produce(&broker, &client, version, &request).await;
    if acks == 0 {
        return match results.iter().find(|result| result.error_code != ErrorCode::None) {
            // The only way to tell a client that does not listen.
            Some(failed) => Outcome::Close(format!("a produce with acks 0 failed: {:?}", failed.error_code)),
            None => Outcome::Silent,
        };
    }
    super::respond(&header, version, &response(request, results))
}

fn response(request: ProduceRequest, results: Vec<Produced>) -> ProduceResponse {
    let mut results = results.into_iter();
    let topics = request.topic_data.into_iter().map(|topic| TopicProduceResponse {
        name: topic.name,
        topic_id: topic.topic_id,
        partition_responses: topic
            .partition_data
            .into_iter()
            .zip(&mut results)
            .map(|(partition, result)| PartitionProduceResponse {
                index: partition.index,
                error_code: result.error_code,
                base_offset: result.base_offset,
                log_append_time_ms: result.log_append_time_ms,
                log_start_offset: result.log_start_offset,
                record_errors: result
                    .bad_record
                    .map(|index| BatchIndexAndErrorMessage { batch_index: index as i32, ..Default::default() })
                    .into_iter()
                    .collect(),
                error_message: result.message.map(Into::into),
                ..Default::default()
            })
            .collect(),
    });
    ProduceResponse { responses: topics.collect(), ..Default::default() }
}

async fn produce(broker: &Rc<Broker>, client: &Client, version: i16, request: &ProduceRequest) -> Vec<Produced> {
    let count = request.topic_data.iter().map(|topic| topic.partition_data.len()).sum();
    let mut results: Vec<Option<Produced>> = Vec::new();
    results.resize_with(count, || None);
    let turn = client.produces.take();
    let mut by_shard = sort_by_shard(broker, version, request, &mut results);
    if by_shard.values().flatten().any(|batch| !batch.batch.records_checked) {
        check_elsewhere(broker, &mut by_shard, &mut results).await;
    }
    turn.comes().await;

    // All calls leave, and this shard's appends are made, before anything is waited for.
    let wait = request.acks != 0;
    let here = broker.mesh.shard();
    client.asked_for(here, by_shard.keys().copied());
    let mut local = Vec::new();
    let mut calls = Vec::new();
    for (owner, batches) in by_shard {
        if owner == here {
            local = batches;
            continue;
        }
        let places: Vec<usize> = batches.iter().map(|batch| batch.at).collect();
        calls.push((places, broker.mesh.call(owner, move |broker| append(broker, batches, wait))));
    }
    let appended = append_now(broker, local);
    drop(turn);
    for (at, produced) in durable(broker, appended, wait).await {
        results[at] = Some(produced);
    }
    for (places, call) in calls {
        match call.await {
            Ok(produced) => produced.into_iter().for_each(|(at, produced)| results[at] = Some(produced)),
            Err(gone) => {
                for at in places {
                    results[at] = Some(Produced::refused(ErrorCode::KafkaStorageError, Some(gone.to_string())));
                }
            }
        }
    }
    let all = results.into_iter();
    all.map(|result| result.unwrap_or_else(|| Produced::refused(ErrorCode::UnknownServerError, None))).collect()
}

/// Validates each batch, and finds who owns its partition. What is refused here has its result already.
fn sort_by_shard(
    broker: &Rc<Broker>,
    version: i16,
    request: &ProduceRequest,
    results: &mut [Option<Produced>],
) -> BTreeMap<ShardId, Vec<Batch>> {
    let mut by_shard: BTreeMap<ShardId, Vec<Batch>> = BTreeMap::new();
    let by_id = version >= FIRST_VERSION_WITH_TOPIC_IDS;
    let mut at = 0;
    for topic in &request.topic_data {
        let found = super::find_topic(broker, &topic.name, topic.topic_id, by_id);
        for partition in &topic.partition_data {
            let judged = match &found {
                Err(code) => Err(Produced::refused(*code, None)),
                Ok(found) => judge(broker, found, request.acks, partition.index, partition.records.as_ref()),
            };
            match judged {
                Ok((id, owner, batch)) => {
                    // Only a topic that was found has a batch.
                    let rules = found.as_ref().map(|found| found.config.produce).expect("the topic was found");
                    by_shard.entry(owner).or_default().push(Batch { at, id, batch, rules });
                }
                Err(refused) => results[at] = Some(refused),
            }
            at += 1;
        }
    }
    by_shard
}

fn judge(
    broker: &Rc<Broker>,
    topic: &Topic,
    acks: i16,
    index: i32,
    records: Option<&Bytes>,
) -> Result<(PartitionId, ShardId, ProducedBatch), Produced> {
    if !(-1..=1).contains(&acks) {
        return Err(Produced::refused(ErrorCode::InvalidRequiredAcks, None));
    }
    if topic.is_internal() {
        return Err(Produced::refused(ErrorCode::InvalidTopicException, Some("the topic is the broker's own".into())));
    }
    let (id, owner) =
        topic.partition(index).ok_or_else(|| Produced::refused(ErrorCode::UnknownTopicOrPartition, None))?;
    let rules = &topic.config.produce;
    let now_ms = broker.storage.disk().wall_clock_ms();
    let none = Bytes::new();
    let mut batch = validate_produced(records.unwrap_or(&none), rules, now_ms).map_err(|error| invalid(&error))?;
    if !batch.records_checked && batch.bytes.len() <= CHECKED_HERE_BYTES_MAX {
        batch = check_compressed(&batch, rules, now_ms).map_err(|error| invalid(&error))?;
    }
    Ok((id, owner, batch))
}

fn invalid(error: &ProduceError) -> Produced {
    let code = ErrorCode::from_code(error.kafka_code()).unwrap_or(ErrorCode::InvalidRecord);
    Produced { bad_record: error.record_index(), ..Produced::refused(code, Some(error.to_string())) }
}

/// Checks the records of compressed batches on a thread that is no shard's. A batch that is refused is taken away.
async fn check_elsewhere(
    broker: &Broker,
    by_shard: &mut BTreeMap<ShardId, Vec<Batch>>,
    results: &mut [Option<Produced>],
) {
    let now_ms = broker.storage.disk().wall_clock_ms();
    let unchecked = by_shard.values().flatten().filter(|batch| !batch.batch.records_checked);
    let unchecked: Vec<_> = unchecked.map(|batch| (batch.batch.clone(), batch.rules)).collect();
    let check =
        move || -> Vec<_> { unchecked.iter().map(|(batch, rules)| check_compressed(batch, rules, now_ms)).collect() };
    let mut checked = glommio::executor().spawn_blocking(check).await.into_iter();
    for batches in by_shard.values_mut() {
        batches.retain_mut(|batch| {
            if batch.batch.records_checked {
                return true;
            }
            match checked.next().expect("each that was unchecked has its result") {
                Ok(good) => batch.batch = good,
                Err(error) => results[batch.at] = Some(invalid(&error)),
            }
            batch.batch.records_checked
        });
    }
}

/// A batch that is appended, or refused, and is not known to be durable yet.
struct Pending {
    at: usize,
    result: Result<(Accepted, Offset), Produced>,
    /// The broker's own time, if the topic wants that.
    log_append_time: Option<TimestampMs>,
}

/// On the owner: appends all batches at once, then waits until they are durable.
async fn append(broker: Rc<Broker>, batches: Vec<Batch>, wait: bool) -> Vec<(usize, Produced)> {
    let pending = append_now(&broker, batches);
    durable(&broker, pending, wait).await
}

/// On the owner: appends all batches.
fn append_now(broker: &Broker, batches: Vec<Batch>) -> Vec<Pending> {
    let now_ms = broker.storage.disk().wall_clock_ms();
    let mut appended = Vec::with_capacity(batches.len());
    for Batch { at, id, batch, .. } in batches {
        let result = match broker.partition(id) {
            None => Err(Produced::refused(ErrorCode::UnknownTopicOrPartition, None)),
            Some(partition) => partition
                .append(&broker.storage, &batch, Topic::LEADER_EPOCH, now_ms)
                .map(|accepted| (accepted, partition.log.start()))
                .map_err(|error| refused(&error)),
        };
        // The batch has the broker's own time by now, if the topic wants that.
        let log_append_time = batch.header.timestamp_type() == TimestampType::LogAppendTime;
        appended.push(Pending { at, result, log_append_time: log_append_time.then_some(batch.header.max_timestamp) });
    }
    appended
}

/// On the owner: waits until the batches are durable, unless nobody waits for that.
async fn durable(broker: &Broker, pending: Vec<Pending>, wait: bool) -> Vec<(usize, Produced)> {
    let mut produced = Vec::with_capacity(pending.len());
    for Pending { at, result, mut log_append_time } in pending {
        let result = match result {
            Err(refused) => refused,
            Ok((accepted, log_start_offset)) => {
                let (base_offset, durable) = match accepted {
                    Accepted::Appended(appended) => {
                        let durable = if wait { appended.commit.durable().await } else { Ok(()) };
                        (appended.base_offset, durable)
                    }
                    Accepted::Duplicate(batch) => {
                        log_append_time = log_append_time.map(|_| batch.timestamp);
                        (batch.base_offset, broker.storage.all_durable().await)
                    }
                };
                match durable {
                    Ok(()) => Produced {
                        base_offset,
                        log_start_offset,
                        log_append_time_ms: log_append_time.unwrap_or(-1),
                        ..Produced::refused(ErrorCode::None, None)
                    },
                    Err(fenced) => Produced::refused(ErrorCode::KafkaStorageError, Some(fenced.to_string())),
                }
            }
        };
        produced.push((at, result));
    }
    produced
}

fn refused(error: &Refused) -> Produced {
    let code = match error {
        Refused::Sequence(SequenceError::OutOfOrder { .. }) => ErrorCode::OutOfOrderSequenceNumber,
        Refused::Sequence(SequenceError::FencedEpoch { .. }) => ErrorCode::InvalidProducerEpoch,
        Refused::Append(AppendError::TooLarge(_)) => ErrorCode::MessageTooLarge,
        Refused::Append(AppendError::Deleted) => ErrorCode::UnknownTopicOrPartition,
        Refused::Append(AppendError::Fenced(_) | AppendError::DiskFull) => ErrorCode::KafkaStorageError,
    };
    Produced::refused(code, Some(error.to_string()))
}
