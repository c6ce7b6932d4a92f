//! Fetch: reads from the partitions' shards; waits for more when there is too little.
//!
//! No fetch sessions are made (KIP-227): a client that asks for one is told that it has none, and names all partitions
//! in each request.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;

use crate::disk::Disk;
use crate::protocol::ErrorCode;
use crate::protocol::messages::fetch::{FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData};
use crate::server::broker::Broker;
use crate::server::connection::Service;
use crate::storage::log::LogReadError;
use crate::vocabulary::{Offset, PartitionId, ShardId};

/// From this version on topics are named by id (KIP-516).
const FIRST_VERSION_WITH_TOPIC_IDS: i16 = 13;
/// The longest wait of one round; a client's longer one is made of several.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// A partition to read, that exists.
#[derive(Clone, Copy)]
struct Wanted {
    at: usize,
    id: PartitionId,
    offset: Offset,
    bytes_max: usize,
}

/// What was read of a partition.
struct Read {
    error_code: ErrorCode,
    high_watermark: Offset,
    log_start_offset: Offset,
    records: Bytes,
}

impl Read {
    fn failed(error_code: ErrorCode) -> Read {
        Read { error_code, high_watermark: -1, log_start_offset: -1, records: Bytes::new() }
    }
}

type Waiting = Pin<Box<dyn Future<Output = ()>>>;

/// The partitions of a request that exist, by the shard that owns them.
type ByShard = Vec<(ShardId, Vec<Wanted>)>;

pub(super) async fn handle(broker: Rc<Broker>, version: i16, request: FetchRequest) -> FetchResponse {
    // Without sessions an epoch other than "none" or "begin one" cannot be.
    if request.session_id != 0 && request.session_epoch > 0 {
        return FetchResponse { error_code: ErrorCode::FetchSessionIdNotFound, ..Default::default() };
    }
    let clock = broker.storage.disk().clone();
    let deadline = clock.monotonic() + Duration::from_millis(request.max_wait_ms.max(0) as u64);
    let bytes_max = (request.max_bytes.max(0) as usize).min(broker.settings.fetch_bytes_max);
    let (mut reads, by_shard) = sort_by_shard(&broker, version, &request);
    loop {
        read_all(&broker, &by_shard, bytes_max, &mut reads).await;
        let read: usize = reads.iter().flatten().map(|read| read.records.len()).sum();
        let failed = reads.iter().flatten().any(|read| read.error_code != ErrorCode::None);
        let now = clock.monotonic();
        if failed || read >= request.min_bytes.max(0) as usize || now >= deadline || broker.is_stopping() {
            break;
        }
        wait(&broker, &by_shard, (deadline - now).min(WAIT_MAX)).await;
    }
    response(request, reads)
}

fn response(request: FetchRequest, reads: Vec<Option<Read>>) -> FetchResponse {
    let mut reads = reads.into_iter();
    let topics = request.topics.into_iter().map(|topic| FetchableTopicResponse {
        topic: topic.topic,
        topic_id: topic.topic_id,
        partitions: topic
            .partitions
            .into_iter()
            .zip(&mut reads)
            .map(|(partition, read)| {
                let read = read.unwrap_or_else(|| Read::failed(ErrorCode::UnknownServerError));
                PartitionData {
                    partition_index: partition.partition,
                    error_code: read.error_code,
                    high_watermark: read.high_watermark,
                    last_stable_offset: read.high_watermark,
                    log_start_offset: read.log_start_offset,
                    aborted_transactions: None,
                    records: Some(read.records),
                    ..Default::default()
                }
            })
            .collect(),
    });
    FetchResponse { responses: topics.collect(), ..Default::default() }
}

/// Finds who owns each partition. What cannot be read has its result already.
fn sort_by_shard(broker: &Rc<Broker>, version: i16, request: &FetchRequest) -> (Vec<Option<Read>>, ByShard) {
    let by_id = version >= FIRST_VERSION_WITH_TOPIC_IDS;
    let mut reads = Vec::new();
    let mut by_shard = ByShard::new();
    for topic in &request.topics {
        let found = super::find_topic(broker, &topic.topic, topic.topic_id, by_id);
        for partition in &topic.partitions {
            let at = reads.len();
            let place = found.as_ref().map_err(|code| *code).and_then(|topic| {
                super::check_leader_epoch(partition.current_leader_epoch)?;
                topic.partition(partition.partition).ok_or(ErrorCode::UnknownTopicOrPartition)
            });
            match place {
                Err(code) => reads.push(Some(Read::failed(code))),
                Ok((id, owner)) => {
                    let bytes_max = partition.partition_max_bytes.max(0) as usize;
                    let wanted = Wanted { at, id, offset: partition.fetch_offset, bytes_max };
                    match by_shard.iter_mut().find(|(shard, _)| *shard == owner) {
                        Some((_, all)) => all.push(wanted),
                        None => by_shard.push((owner, vec![wanted])),
                    }
                    reads.push(None);
                }
            }
        }
    }
    (reads, by_shard)
}

/// Reads from each shard in turn, within what is left of `bytes_max`.
async fn read_all(
    broker: &Rc<Broker>,
    by_shard: &[(ShardId, Vec<Wanted>)],
    bytes_max: usize,
    reads: &mut [Option<Read>],
) {
    let mut left = bytes_max;
    let mut first = true;
    for (shard, wanted) in by_shard {
        let (all, budget, may_exceed) = (wanted.clone(), left, first);
        let found = broker.on(*shard, move |broker| read_here(broker, all, budget, may_exceed)).await;
        match found {
            Ok(found) => {
                for (at, read) in found {
                    left = left.saturating_sub(read.records.len());
                    first &= read.records.is_empty();
                    reads[at] = Some(read);
                }
            }
            Err(_) => {
                for wanted in wanted {
                    reads[wanted.at] = Some(Read::failed(ErrorCode::KafkaStorageError));
                }
            }
        }
    }
}

/// On the owner. The first partition that has anything gives at least one batch, even when it is larger than the
/// budget (KIP-74), unless an earlier shard has given one.
async fn read_here(broker: Rc<Broker>, wanted: Vec<Wanted>, budget: usize, may_exceed: bool) -> Vec<(usize, Read)> {
    let mut left = budget;
    let mut first = may_exceed;
    let mut reads = Vec::with_capacity(wanted.len());
    for Wanted { at, id, offset, bytes_max } in wanted {
        let Some(partition) = broker.partition(id) else {
            reads.push((at, Read::failed(ErrorCode::UnknownTopicOrPartition)));
            continue;
        };
        let log = &partition.log;
        let room = bytes_max.min(left);
        let result = if room == 0 && !first {
            Ok(Bytes::new())
        } else {
            broker.storage.read(log, offset, room).await.map(|records| records.to_bytes())
        };
        let read = match result {
            Ok(records) => {
                // A whole batch came although there was no room for it: only the first may.
                let records = if records.len() > room && !first { Bytes::new() } else { records };
                first &= records.is_empty();
                left = left.saturating_sub(records.len());
                Read {
                    error_code: ErrorCode::None,
                    high_watermark: log.durable().offset,
                    log_start_offset: log.start(),
                    records,
                }
            }
            Err(LogReadError::OutOfRange { start, end, .. }) => {
                Read { high_watermark: end, log_start_offset: start, ..Read::failed(ErrorCode::OffsetOutOfRange) }
            }
            Err(LogReadError::Segment(error)) => {
                tracing::error!("partition {id}: {error}");
                Read::failed(ErrorCode::KafkaStorageError)
            }
        };
        reads.push((at, read));
    }
    reads
}

/// Waits until any of the partitions has more, or for `at_most`.
async fn wait(broker: &Rc<Broker>, by_shard: &[(ShardId, Vec<Wanted>)], at_most: Duration) {
    let clock = broker.storage.disk().clone();
    let mut waiting: Vec<Waiting> = vec![Box::pin(async move { clock.sleep(at_most).await })];
    let here = broker.mesh.shard();
    for (shard, wanted) in by_shard {
        let ends: Vec<(PartitionId, Offset)> = wanted.iter().map(|wanted| (wanted.id, wanted.offset)).collect();
        if *shard == here {
            waiting.push(Box::pin(wait_here(broker.clone(), ends, at_most)));
        } else {
            let call = broker.mesh.call(*shard, move |broker| wait_here(broker, ends, at_most));
            waiting.push(Box::pin(async move {
                // A shard that has stopped has no more to give; the next read says so.
                let _gone = call.await;
            }));
        }
    }
    first_of(waiting).await;
}

/// On the owner: waits until the durable end of any of the partitions moves.
async fn wait_here(broker: Rc<Broker>, partitions: Vec<(PartitionId, Offset)>, at_most: Duration) {
    let clock = broker.storage.disk().clone();
    let mut waiting: Vec<Waiting> = vec![Box::pin(async move { clock.sleep(at_most).await })];
    let stopping = broker.clone();
    waiting.push(Box::pin(async move { stopping.stopping().notified().await }));
    for (id, _) in partitions {
        let Some(partition) = broker.partition(id) else { return };
        waiting.push(Box::pin(async move { partition.log.durable_moved().await }));
    }
    first_of(waiting).await;
}

async fn first_of(mut waiting: Vec<Waiting>) {
    poll_fn(|cx| {
        let any = waiting.iter_mut().any(|waiting| waiting.as_mut().poll(cx).is_ready());
        if any { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
}
