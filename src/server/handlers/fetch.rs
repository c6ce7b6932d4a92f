//! Fetch: reads from the partitions' shards; waits for more when there is too little.
//!
//! Records go from the batch cache to the socket without being copied. When all partitions belong to one shard, reading
//! and waiting happen there, in one call; else the shards are read in rounds, with a wait on each in between.

use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use crate::disk::Disk;
use crate::protocol::messages::fetch::{FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData};
use crate::protocol::{ByteSlices, ErrorCode};
use crate::server::broker::{Broker, random_id};
use crate::server::connection::{Client, Service};
use crate::server::fetch_sessions::{Fetch, Told};
use crate::storage::log::LogReadError;
use crate::vocabulary::{Offset, PartitionId, ShardId};

/// From this version on topics are named by id (KIP-516).
const FIRST_VERSION_WITH_TOPIC_IDS: i16 = 13;
/// The longest wait of one round; a client's longer one is made of several.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// A partition to read, that exists. `at` is its place in the fetch.
#[derive(Clone, Copy)]
struct Place {
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
    records: ByteSlices,
    /// The high watermark before the read: what comes while it waits for the disk must wake a fetch that goes on to wait.
    seen: Offset,
}

impl Read {
    fn failed(error_code: ErrorCode) -> Read {
        Read { error_code, high_watermark: -1, log_start_offset: -1, records: ByteSlices::new(), seen: -1 }
    }

    fn told(&self) -> Told {
        Told {
            failed: self.error_code != ErrorCode::None,
            bytes: self.records.len(),
            high_watermark: self.high_watermark,
            log_start_offset: self.log_start_offset,
        }
    }
}

/// What the whole response may have, and how long it may wait for it.
#[derive(Clone, Copy)]
struct Limits {
    bytes_min: usize,
    bytes_max: usize,
    wait_max: Duration,
}

type Waiting = Pin<Box<dyn Future<Output = ()>>>;

/// The partitions of a fetch that exist, by the shard that owns them.
type ByShard = Vec<(ShardId, Vec<Place>)>;

pub(super) async fn handle(
    broker: Rc<Broker>,
    client: Rc<Client>,
    version: i16,
    request: FetchRequest,
) -> FetchResponse {
    let by_id = version >= FIRST_VERSION_WITH_TOPIC_IDS;
    let now = broker.storage.disk().monotonic();
    let begun = broker.fetch_sessions.borrow_mut().begin(&request, by_id, now, random_number);
    let fetch = match begun {
        Ok(fetch) => fetch,
        Err(error_code) => return FetchResponse { error_code, ..Default::default() },
    };
    let limits = Limits {
        bytes_min: request.min_bytes.max(0) as usize,
        bytes_max: (request.max_bytes.max(0) as usize).min(broker.settings.fetch_bytes_max),
        wait_max: Duration::from_millis(request.max_wait_ms.max(0) as u64),
    };
    drop(request);
    client.fetch_session.set(fetch.session_id);
    let (mut reads, by_shard) = sort_by_shard(&broker, by_id, &fetch);
    client.asked_for(broker.mesh.shard(), by_shard.iter().map(|(owner, _)| *owner));
    let refused = reads.iter().any(Option::is_some);
    let limits = if refused { Limits { wait_max: Duration::ZERO, ..limits } } else { limits };
    match &by_shard[..] {
        [] => {}
        [(owner, places)] => {
            let all = places.clone();
            let read = broker.on(*owner, move |broker| read_and_wait(broker, all, limits)).await;
            place_reads(&mut reads, places, read);
        }
        _ => read_and_wait_on_shards(&broker, &by_shard, limits, &mut reads).await,
    }
    let reads: Vec<Read> =
        reads.into_iter().map(|read| read.unwrap_or_else(|| Read::failed(ErrorCode::UnknownServerError))).collect();
    let told: Vec<Told> = reads.iter().map(Read::told).collect();
    let named = broker.fetch_sessions.borrow_mut().finish(&fetch, &told);
    response(fetch, reads, named)
}

fn random_number() -> i32 {
    let [first, second, third, fourth, ..] = random_id().0;
    i32::from_be_bytes([first, second, third, fourth])
}

fn response(fetch: Fetch, reads: Vec<Read>, named: Vec<bool>) -> FetchResponse {
    let mut responses: Vec<FetchableTopicResponse> = Vec::new();
    for ((wanted, read), named) in fetch.wanted.into_iter().zip(reads).zip(named) {
        if !named {
            continue;
        }
        let partition = wanted.partition;
        let same = |last: &FetchableTopicResponse| last.topic == partition.topic && last.topic_id == partition.topic_id;
        if !responses.last().is_some_and(same) {
            let (topic, topic_id) = (partition.topic.clone(), partition.topic_id);
            responses.push(FetchableTopicResponse { topic, topic_id, partitions: Vec::new() });
        }
        let topic = responses.last_mut().expect("pushed above when there was none");
        topic.partitions.push(PartitionData {
            partition_index: partition.partition,
            error_code: read.error_code,
            high_watermark: read.high_watermark,
            last_stable_offset: read.high_watermark,
            log_start_offset: read.log_start_offset,
            aborted_transactions: None,
            records: Some(read.records),
            ..Default::default()
        });
    }
    FetchResponse { session_id: fetch.session_id, responses, ..Default::default() }
}

/// Finds who owns each partition. What cannot be read has its result already.
fn sort_by_shard(broker: &Rc<Broker>, by_id: bool, fetch: &Fetch) -> (Vec<Option<Read>>, ByShard) {
    let mut reads = Vec::with_capacity(fetch.wanted.len());
    let mut by_shard = ByShard::new();
    for (at, wanted) in fetch.wanted.iter().enumerate() {
        let partition = &wanted.partition;
        let found = super::find_topic(broker, &partition.topic, partition.topic_id, by_id).and_then(|topic| {
            super::check_leader_epoch(wanted.current_leader_epoch)?;
            topic.partition(partition.partition).ok_or(ErrorCode::UnknownTopicOrPartition)
        });
        match found {
            Err(code) => reads.push(Some(Read::failed(code))),
            Ok((id, owner)) => {
                let place = Place { at, id, offset: wanted.fetch_offset, bytes_max: wanted.bytes_max.max(0) as usize };
                match by_shard.iter_mut().find(|(shard, _)| *shard == owner) {
                    Some((_, all)) => all.push(place),
                    None => by_shard.push((owner, vec![place])),
                }
                reads.push(None);
            }
        }
    }
    (reads, by_shard)
}

fn place_reads<E>(reads: &mut [Option<Read>], places: &[Place], read: Result<Vec<Read>, E>) {
    match read {
        Ok(read) => places.iter().zip(read).for_each(|(place, read)| reads[place.at] = Some(read)),
        Err(_) => places.iter().for_each(|place| reads[place.at] = Some(Read::failed(ErrorCode::KafkaStorageError))),
    }
}

/// Whether a response with these reads need not wait any longer.
fn is_enough<'a>(reads: impl Iterator<Item = &'a Read>, bytes_min: usize) -> bool {
    let mut bytes = 0;
    for read in reads {
        if read.error_code != ErrorCode::None {
            return true;
        }
        bytes += read.records.len();
    }
    bytes >= bytes_min
}

/// On the owner of all partitions: reads, and reads again whenever there is more, until it is enough.
async fn read_and_wait(broker: Rc<Broker>, places: Vec<Place>, limits: Limits) -> Vec<Read> {
    let clock = broker.storage.disk().clone();
    let deadline = clock.monotonic() + limits.wait_max;
    loop {
        let reads = read_here(&broker, &places, limits.bytes_max, true).await;
        if limits.wait_max.is_zero() || is_enough(reads.iter(), limits.bytes_min) || broker.is_stopping() {
            return reads;
        }
        let now = clock.monotonic();
        if now >= deadline {
            return reads;
        }
        let seen = places.iter().zip(&reads).map(|(place, read)| (place.id, read.seen)).collect();
        wait_here(broker.clone(), seen, (deadline - now).min(WAIT_MAX)).await;
    }
}

/// The same for partitions of several shards, asked from here.
async fn read_and_wait_on_shards(
    broker: &Rc<Broker>,
    by_shard: &[(ShardId, Vec<Place>)],
    limits: Limits,
    reads: &mut [Option<Read>],
) {
    let clock = broker.storage.disk().clone();
    let deadline = clock.monotonic() + limits.wait_max;
    loop {
        read_on_shards(broker, by_shard, limits.bytes_max, reads).await;
        let now = clock.monotonic();
        if is_enough(reads.iter().flatten(), limits.bytes_min) || now >= deadline || broker.is_stopping() {
            return;
        }
        wait_on_shards(broker, by_shard, reads, (deadline - now).min(WAIT_MAX)).await;
    }
}

/// Reads from each shard in turn, within what is left of `bytes_max`.
async fn read_on_shards(
    broker: &Rc<Broker>,
    by_shard: &[(ShardId, Vec<Place>)],
    bytes_max: usize,
    reads: &mut [Option<Read>],
) {
    let mut left = bytes_max;
    let mut first = true;
    for (shard, places) in by_shard {
        let (all, budget, may_exceed) = (places.clone(), left, first);
        let read =
            broker.on(*shard, move |broker| async move { read_here(&broker, &all, budget, may_exceed).await }).await;
        for read in read.iter().flatten() {
            left = left.saturating_sub(read.records.len());
            first &= read.records.is_empty();
        }
        place_reads(reads, places, read);
    }
}

/// On the owner. The first partition that has anything gives at least one batch, even when it is larger than the
/// budget (KIP-74), unless an earlier shard has given one.
async fn read_here(broker: &Rc<Broker>, places: &[Place], budget: usize, may_exceed: bool) -> Vec<Read> {
    let mut left = budget;
    let mut first = may_exceed;
    let mut reads = Vec::with_capacity(places.len());
    for place in places {
        let Some(partition) = broker.partition(place.id) else {
            reads.push(Read::failed(ErrorCode::UnknownTopicOrPartition));
            continue;
        };
        let log = &partition.log;
        let room = place.bytes_max.min(left);
        let seen = log.durable().offset;
        let result = if room == 0 && !first {
            Ok(ByteSlices::new())
        } else {
            broker.storage.read(log, place.offset, room).await.map(|records| ByteSlices::from(records.slices))
        };
        reads.push(match result {
            Ok(records) => {
                // A whole batch came although there was no room for it: only the first may.
                let records = if records.len() > room && !first { ByteSlices::new() } else { records };
                first &= records.is_empty();
                left = left.saturating_sub(records.len());
                let (high_watermark, log_start_offset) = (log.durable().offset, log.start());
                Read { error_code: ErrorCode::None, high_watermark, log_start_offset, records, seen }
            }
            Err(LogReadError::OutOfRange { start, end, .. }) => {
                Read { high_watermark: end, log_start_offset: start, ..Read::failed(ErrorCode::OffsetOutOfRange) }
            }
            Err(LogReadError::Segment(error)) => {
                tracing::error!("partition {}: {error}", place.id);
                Read::failed(ErrorCode::KafkaStorageError)
            }
        });
    }
    reads
}

/// Waits until any of the partitions has more than was read, or for `at_most`.
async fn wait_on_shards(
    broker: &Rc<Broker>,
    by_shard: &[(ShardId, Vec<Place>)],
    reads: &[Option<Read>],
    at_most: Duration,
) {
    let mut waiting: Vec<Waiting> = Vec::with_capacity(by_shard.len());
    for (shard, places) in by_shard {
        let seen = places.iter().map(|place| (place.id, reads[place.at].as_ref().map_or(-1, |read| read.seen)));
        let seen: Vec<(PartitionId, Offset)> = seen.collect();
        if *shard == broker.mesh.shard() {
            waiting.push(Box::pin(wait_here(broker.clone(), seen, at_most)));
        } else {
            let call = broker.mesh.call_until_dropped(*shard, move |broker| wait_here(broker, seen, at_most));
            waiting.push(Box::pin(async move {
                // A shard that has stopped has no more to give; the next read says so.
                let _gone = call.await;
            }));
        }
    }
    first_of(waiting).await;
}

/// On the owner: waits until the durable end of any of the partitions is not the one that was `seen`.
async fn wait_here(broker: Rc<Broker>, ends: Vec<(PartitionId, Offset)>, at_most: Duration) {
    let clock = broker.storage.disk().clone();
    let mut waiting: Vec<Waiting> = vec![Box::pin(async move { clock.sleep(at_most).await })];
    let stopping = broker.clone();
    waiting.push(Box::pin(async move { stopping.stopping().notified().await }));
    for (id, seen) in ends {
        let Some(partition) = broker.partition(id) else { return };
        if partition.log.durable().offset != seen || partition.log.is_deleted() {
            return;
        }
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
