//! Fetch sessions (KIP-227): what a client fetches is remembered, so that its requests name only what changes, and its
//! responses only what is new.
//!
//! Plain data and plain functions: [`FetchSessions::begin`] turns a request into the partitions to read,
//! [`FetchSessions::finish`] says which of them the response has to name. Each shard keeps the sessions of its own
//! connections, and a connection that moves takes its session along. A client that reconnects may come to another shard,
//! which does not know the session; the client is told so, and begins a new one, as after a restart.
//!
//! What bounds memory: `max.incremental.fetch.session.cache.slots` over all shards, and [`PARTITIONS_MAX`] partitions in a shard's sessions.
//! When there is no room, the session that was used longest ago goes, if it was idle for [`EVICTION_IDLE`]; else the
//! client is served without a session.

use std::collections::HashMap;
use std::time::Duration;

use crate::protocol::messages::fetch::{FetchPartition, FetchRequest};
use crate::protocol::{ErrorCode, KafkaString};
use crate::vocabulary::{LeaderEpoch, Offset, PartitionIndex, ShardId, TopicId};

/// How many partitions the sessions of one shard may have together.
pub const PARTITIONS_MAX: usize = 1 << 20;
/// A session that was used more recently is not evicted (Kafka's `min.incremental.fetch.session.eviction.ms`).
pub const EVICTION_IDLE: Duration = Duration::from_secs(120);

/// The session id that stands for none.
const NO_SESSION: i32 = 0;
/// The epoch of a request that begins a session.
const INITIAL_EPOCH: i32 = 0;
/// The epoch of a request that has no session, or ends it.
const FINAL_EPOCH: i32 = -1;

/// A partition that a client reads, as it named it: by its topic's name or id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FetchedPartition {
    /// The topic's name; empty when the request has topic ids.
    pub topic: KafkaString,
    /// The topic's id; zero when the request has names.
    pub topic_id: TopicId,
    /// The partition.
    pub partition: PartitionIndex,
}

/// Where and how much to read of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// The partition.
    pub partition: FetchedPartition,
    /// The leader epoch that the client knows, -1 for none.
    pub current_leader_epoch: LeaderEpoch,
    /// The first offset to read.
    pub fetch_offset: Offset,
    /// The most record bytes to read.
    pub bytes_max: i32,
}

/// What the response says of a partition, as far as sessions care.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// Whether it tells of an error.
    pub failed: bool,
    /// Bytes of records.
    pub bytes: usize,
    /// The high watermark.
    pub high_watermark: Offset,
    /// The log start offset.
    pub log_start_offset: Offset,
}

/// A request, with what its session adds to it.
#[derive(Clone, Debug)]
pub struct Fetch {
    /// The session that the response names; 0 for none.
    pub session_id: i32,
    /// Whether the response leaves out what has not changed.
    pub incremental: bool,
    /// What to read, in this order.
    pub wanted: Vec<Wanted>,
}

struct Cached {
    wanted: Wanted,
    /// What the client was last told, -1 for nothing yet.
    high_watermark: Offset,
    log_start_offset: Offset,
}

/// What one client fetches.
pub struct Session {
    by_id: bool,
    /// The epoch of its next request.
    epoch: i32,
    used: Duration,
    partitions: Vec<Cached>,
    places: HashMap<FetchedPartition, usize>,
    /// Where the next read begins, so that a full response does not starve the same partitions each time.
    start: usize,
}

/// The sessions of one shard.
pub struct FetchSessions {
    shard: ShardId,
    shards: usize,
    /// The most sessions of this shard.
    slots: usize,
    sessions: HashMap<i32, Session>,
    partitions: usize,
}

impl FetchSessions {
    /// No sessions yet, on one of `shards` shards, which may have `sessions_max` together (Kafka's
    /// `max.incremental.fetch.session.cache.slots`).
    pub fn new(shard: ShardId, shards: usize, sessions_max: usize) -> FetchSessions {
        let slots = sessions_max.div_ceil(shards);
        FetchSessions { shard, shards, slots, sessions: HashMap::new(), partitions: 0 }
    }

    /// Takes a request in: `by_id` when it names topics by id, at time `now`, with `random` for a new session's id.
    ///
    /// # Errors
    /// FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH, FETCH_SESSION_TOPIC_ID_ERROR: the client begins anew.
    pub fn begin(
        &mut self,
        request: &FetchRequest,
        by_id: bool,
        now: Duration,
        random: impl FnMut() -> i32,
    ) -> Result<Fetch, ErrorCode> {
        let (id, epoch) = (request.session_id, request.session_epoch);
        if epoch != INITIAL_EPOCH && epoch != FINAL_EPOCH {
            return self.go_on(request, by_id, now);
        }
        let _replaced = self.take(id);
        let mut wanted: Vec<Wanted> = named(request).collect();
        let mut session_id = NO_SESSION;
        if epoch == INITIAL_EPOCH && !wanted.is_empty() {
            // A session holds each partition once; what it is read from first stands.
            let mut seen = std::collections::HashSet::with_capacity(wanted.len());
            wanted.retain(|wanted| seen.insert(wanted.partition.clone()));
            session_id = self.add(&wanted, by_id, now, random);
        }
        Ok(Fetch { session_id, incremental: false, wanted })
    }

    fn go_on(&mut self, request: &FetchRequest, by_id: bool, now: Duration) -> Result<Fetch, ErrorCode> {
        let id = request.session_id;
        let room = PARTITIONS_MAX - self.partitions;
        let session = self.sessions.get_mut(&id).ok_or(ErrorCode::FetchSessionIdNotFound)?;
        if session.epoch != request.session_epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        if session.by_id != by_id {
            return Err(ErrorCode::FetchSessionTopicIdError);
        }
        let before = session.partitions.len();
        for topic in &request.forgotten_topics_data {
            for &partition in &topic.partitions {
                session.forget(&FetchedPartition { topic: topic.topic.clone(), topic_id: topic.topic_id, partition });
            }
        }
        for wanted in named(request) {
            session.put(wanted, before + room);
        }
        let (after, empty) = (session.partitions.len(), session.partitions.is_empty());
        session.epoch = if session.epoch == i32::MAX { 1 } else { session.epoch + 1 };
        session.used = now;
        let wanted = session.in_turn().map(|place| session.partitions[place].wanted.clone()).collect();
        self.partitions = self.partitions - before + after;
        if empty {
            let _ended = self.take(id);
        }
        Ok(Fetch { session_id: if empty { NO_SESSION } else { id }, incremental: true, wanted })
    }

    /// Takes in what was read: `told` has an entry for each of the fetch's partitions, in order. Gives for each whether
    /// the response has to name it.
    pub fn finish(&mut self, fetch: &Fetch, told: &[Told]) -> Vec<bool> {
        let mut named = Vec::with_capacity(told.len());
        let session = self.sessions.get_mut(&fetch.session_id);
        let Some(session) = session else { return vec![true; told.len()] };
        let mut last_read = None;
        for (wanted, told) in fetch.wanted.iter().zip(told) {
            let Some(&place) = session.places.get(&wanted.partition) else {
                // Another request of the session has dropped it meanwhile.
                named.push(true);
                continue;
            };
            let cached = &mut session.partitions[place];
            let changed = told.failed
                || told.bytes > 0
                || cached.high_watermark != told.high_watermark
                || cached.log_start_offset != told.log_start_offset;
            // An error is told again each time.
            (cached.high_watermark, cached.log_start_offset) =
                if told.failed { (-1, -1) } else { (told.high_watermark, told.log_start_offset) };
            if told.bytes > 0 {
                last_read = Some(place);
            }
            named.push(changed || !fetch.incremental);
        }
        if let Some(place) = last_read {
            session.start = (place + 1) % session.partitions.len();
        }
        named
    }

    /// Takes a session away, because its connection moves to another shard.
    pub fn take(&mut self, id: i32) -> Option<Session> {
        let session = self.sessions.remove(&id)?;
        self.partitions -= session.partitions.len();
        Some(session)
    }

    /// Goes on with another shard's session, whose id is never given here. Without room for it, its client is told that
    /// there is none, and begins a new one.
    pub fn adopt(&mut self, id: i32, session: Session, now: Duration) {
        if self.sessions.len() < self.slots && self.partitions + session.partitions.len() <= PARTITIONS_MAX {
            self.partitions += session.partitions.len();
            self.sessions.insert(id, Session { used: now, ..session });
        }
    }

    /// How many sessions there are.
    pub fn len(&self) -> usize {
        self.sessions.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.sessions.is_empty()
    }

    fn add(&mut self, wanted: &[Wanted], by_id: bool, now: Duration, mut random: impl FnMut() -> i32) -> i32 {
        while self.sessions.len() >= self.slots || self.partitions + wanted.len() > PARTITIONS_MAX {
            let oldest = self.sessions.iter().min_by_key(|(id, session)| (session.used, **id));
            match oldest.map(|(id, session)| (*id, session.used)) {
                Some((id, used)) if now.saturating_sub(used) >= EVICTION_IDLE => {
                    let _evicted = self.take(id);
                }
                _ => return NO_SESSION,
            }
        }
        // The remainder tells the shard, so that an id means one session in the whole broker.
        let shards = self.shards as i32;
        let id = loop {
            let id = (random() & (i32::MAX >> 1)) / shards * shards + i32::from(self.shard.0);
            if id != NO_SESSION && !self.sessions.contains_key(&id) {
                break id;
            }
        };
        let mut session =
            Session { by_id, epoch: 1, used: now, partitions: Vec::new(), places: HashMap::new(), start: 0 };
        for wanted in wanted {
            session.put(wanted.clone(), usize::MAX);
        }
        self.partitions += session.partitions.len();
        self.sessions.insert(id, session);
        id
    }
}

impl Session {
    /// Adds a partition, or changes it; not beyond `partitions_max`.
    fn put(&mut self, wanted: Wanted, partitions_max: usize) {
        if let Some(&place) = self.places.get(&wanted.partition) {
            let cached = &mut self.partitions[place];
            cached.wanted = Wanted { partition: cached.wanted.partition.clone(), ..wanted };
        } else if self.partitions.len() < partitions_max {
            let FetchedPartition { topic, topic_id, partition } = wanted.partition;
            // The session outlives the frame that the name lies in.
            let partition = FetchedPartition { topic: topic.detached(), topic_id, partition };
            self.places.insert(partition.clone(), self.partitions.len());
            let wanted = Wanted { partition, ..wanted };
            self.partitions.push(Cached { wanted, high_watermark: -1, log_start_offset: -1 });
        }
    }

    fn forget(&mut self, partition: &FetchedPartition) {
        let Some(place) = self.places.remove(partition) else { return };
        self.partitions.swap_remove(place);
        if let Some(moved) = self.partitions.get(place) {
            self.places.insert(moved.wanted.partition.clone(), place);
        }
        if self.start >= self.partitions.len() {
            self.start = 0;
        }
    }

    fn in_turn(&self) -> impl Iterator<Item = usize> + use<> {
        (self.start..self.partitions.len()).chain(0..self.start)
    }
}

/// The partitions that a request names.
fn named(request: &FetchRequest) -> impl Iterator<Item = Wanted> {
    request.topics.iter().flat_map(|topic| {
        topic.partitions.iter().map(|partition: &FetchPartition| Wanted {
            partition: FetchedPartition {
                topic: topic.topic.clone(),
                topic_id: topic.topic_id,
                partition: partition.partition,
            },
            current_leader_epoch: partition.current_leader_epoch,
            fetch_offset: partition.fetch_offset,
            bytes_max: partition.partition_max_bytes,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::messages::fetch::{FetchTopic, ForgottenTopic};

    const SLOTS: usize = 50;
    const NOW: Duration = Duration::from_secs(1_000);
    const QUIET: Told = Told { failed: false, bytes: 0, high_watermark: 10, log_start_offset: 0 };

    fn sessions() -> FetchSessions {
        FetchSessions::new(ShardId(1), 2, 2 * SLOTS)
    }

    fn counter() -> impl FnMut() -> i32 {
        let mut next = 100;
        move || {
            next += 7;
            next
        }
    }

    fn request(session_id: i32, session_epoch: i32, partitions: &[(PartitionIndex, Offset)]) -> FetchRequest {
        let partitions = partitions.iter().map(|&(partition, fetch_offset)| FetchPartition {
            partition,
            fetch_offset,
            partition_max_bytes: 1,
            ..FetchPartition::default()
        });
        let topics = vec![FetchTopic { topic: "t".into(), partitions: partitions.collect(), ..FetchTopic::default() }];
        FetchRequest { session_id, session_epoch, topics, ..FetchRequest::default() }
    }

    fn forgetting(mut request: FetchRequest, partitions: &[PartitionIndex]) -> FetchRequest {
        request.forgotten_topics_data =
            vec![ForgottenTopic { topic: "t".into(), partitions: partitions.to_vec(), ..ForgottenTopic::default() }];
        request
    }

    fn read(fetch: &Fetch) -> Vec<(PartitionIndex, Offset)> {
        fetch.wanted.iter().map(|wanted| (wanted.partition.partition, wanted.fetch_offset)).collect()
    }

    fn begun(sessions: &mut FetchSessions, partitions: &[(PartitionIndex, Offset)]) -> i32 {
        let fetch = sessions.begin(&request(0, 0, partitions), false, NOW, counter()).unwrap();
        assert_eq!((read(&fetch), fetch.incremental), (partitions.to_vec(), false));
        assert_eq!(sessions.finish(&fetch, &vec![QUIET; partitions.len()]), vec![true; partitions.len()]);
        fetch.session_id
    }

    #[test]
    fn a_session_s_requests_name_only_changes_and_its_responses_only_news() {
        let mut sessions = sessions();
        let id = begun(&mut sessions, &[(0, 5), (1, 6), (2, 7)]);
        assert_eq!((id % 2, id > 0), (1, true), "the id tells the shard");

        let fetch = sessions.begin(&request(id, 1, &[]), false, NOW, counter()).unwrap();
        assert_eq!((read(&fetch), fetch.incremental), (vec![(0, 5), (1, 6), (2, 7)], true));
        let told = [QUIET, Told { bytes: 3, ..QUIET }, Told { high_watermark: 11, ..QUIET }];
        assert_eq!(sessions.finish(&fetch, &told), [false, true, true]);

        let next = forgetting(request(id, 2, &[(1, 9), (3, 1)]), &[0, 99]);
        let fetch = sessions.begin(&next, false, NOW, counter()).unwrap();
        let mut all = read(&fetch);
        all.sort_unstable();
        assert_eq!(all, [(1, 9), (2, 7), (3, 1)], "one is changed, one is new, one is gone");
        let told: Vec<Told> =
            fetch.wanted.iter().map(|wanted| Told { failed: wanted.partition.partition == 2, ..QUIET }).collect();
        let named = sessions.finish(&fetch, &told);
        let new_or_failed: Vec<bool> = fetch.wanted.iter().map(|wanted| wanted.partition.partition != 1).collect();
        assert_eq!(named, new_or_failed);

        let fetch = sessions.begin(&request(id, 3, &[]), false, NOW, counter()).unwrap();
        let told: Vec<Told> = fetch.wanted.iter().map(|_| QUIET).collect();
        let named = sessions.finish(&fetch, &told);
        let recovered: Vec<bool> = fetch.wanted.iter().map(|wanted| wanted.partition.partition == 2).collect();
        assert_eq!(named, recovered, "the end of an error is news");
    }

    #[test]
    fn the_partition_that_was_read_last_comes_last() {
        let mut sessions = sessions();
        let id = begun(&mut sessions, &[(0, 0), (1, 0), (2, 0)]);
        let fetch = sessions.begin(&request(id, 1, &[]), false, NOW, counter()).unwrap();
        sessions.finish(&fetch, &[Told { bytes: 9, ..QUIET }, QUIET, QUIET]);
        let fetch = sessions.begin(&request(id, 2, &[]), false, NOW, counter()).unwrap();
        assert_eq!(read(&fetch), [(1, 0), (2, 0), (0, 0)]);
    }

    #[test]
    fn a_wrong_id_epoch_or_kind_of_topic_is_told_as_kafka_does() {
        let mut sessions = sessions();
        let id = begun(&mut sessions, &[(0, 0)]);
        let mut begin = |id, epoch, by_id| sessions.begin(&request(id, epoch, &[]), by_id, NOW, counter()).err();
        assert_eq!(begin(id + 2, 1, false), Some(ErrorCode::FetchSessionIdNotFound));
        assert_eq!(begin(0, 1, false), Some(ErrorCode::FetchSessionIdNotFound));
        assert_eq!(begin(id, 2, false), Some(ErrorCode::InvalidFetchSessionEpoch));
        assert_eq!(begin(id, 1, true), Some(ErrorCode::FetchSessionTopicIdError));
        assert_eq!(begin(id, 1, false), None);
        assert_eq!(begin(id, 1, false), Some(ErrorCode::InvalidFetchSessionEpoch), "an epoch is used once");
    }

    #[test]
    fn a_session_ends_when_asked_when_replaced_and_when_empty() {
        let mut sessions = sessions();
        let id = begun(&mut sessions, &[(0, 0)]);
        let last = sessions.begin(&request(id, -1, &[(0, 3)]), false, NOW, counter()).unwrap();
        assert_eq!((last.session_id, last.incremental, read(&last)), (0, false, vec![(0, 3)]));
        assert!(sessions.is_empty());

        let id = begun(&mut sessions, &[(0, 0)]);
        let again = sessions.begin(&request(id, 0, &[(1, 0)]), false, NOW, counter()).unwrap();
        assert_eq!((sessions.len(), sessions.partitions), (1, 1));
        let empty =
            sessions.begin(&forgetting(request(again.session_id, 1, &[]), &[1]), false, NOW, counter()).unwrap();
        assert_eq!((empty.session_id, empty.wanted.len()), (0, 0));
        assert_eq!((sessions.len(), sessions.partitions), (0, 0));
        let none = sessions.begin(&request(0, 0, &[]), false, NOW, counter()).unwrap();
        assert_eq!(none.session_id, 0, "a session of nothing is none");
    }

    #[test]
    fn only_sessions_that_have_been_idle_give_way() {
        let mut sessions = sessions();
        let mut random = counter();
        let slots = SLOTS;
        let mut ids = Vec::new();
        for _ in 0..slots {
            ids.push(sessions.begin(&request(0, 0, &[(0, 0)]), false, NOW, &mut random).unwrap().session_id);
        }
        assert_eq!(sessions.len(), slots);
        let later = NOW + EVICTION_IDLE;
        let crowded = sessions.begin(&request(0, 0, &[(0, 0)]), false, later - Duration::from_millis(1), &mut random);
        assert_eq!(crowded.unwrap().session_id, 0);
        for &id in &ids[1..] {
            assert!(sessions.begin(&request(id, 1, &[]), false, later, &mut random).is_ok());
        }
        let fetch = sessions.begin(&request(0, 0, &[(0, 0)]), false, later, &mut random).unwrap();
        assert_ne!(fetch.session_id, 0, "the idle one has made room");
        assert_eq!((sessions.len(), sessions.partitions), (slots, slots));
        let gone = sessions.begin(&request(ids[0], 1, &[]), false, later, &mut random);
        assert_eq!(gone.err(), Some(ErrorCode::FetchSessionIdNotFound));
    }
}
