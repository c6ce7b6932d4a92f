//! A consumer that goes on where it was, and holds every batch to its checksum and to offsets that rise.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, ensure};
use bytes::Bytes;
use corelog::protocol::messages::fetch::{FetchRequest, FetchResponse};
use corelog::protocol::{ApiKey, ErrorCode, KafkaString};
use corelog::record::{BatchHeader, split_batches, verify_crc};

use super::{Again, find};
use crate::check::committed::Aborted;
use crate::client::link::Link;
use crate::client::retry::{Backoff, Trouble};
use crate::client::target::Target;
use crate::client::wait::wait;
use crate::client::{ANSWER_DEADLINE, frame, parse_answer};
use crate::clock;
use crate::options::FetchOptions;
use crate::workload::consumer::{End, Position, request};

/// How it reads.
#[derive(Clone, Debug)]
pub struct Manner {
    /// The brokers to ask for the leaders.
    pub bootstrap: String,
    /// The topic.
    pub topic: String,
    /// What a fetch asks for.
    pub fetch: FetchOptions,
    /// Whether records of open and aborted transactions are left out (`isolation.level=read_committed`).
    pub committed_only: bool,
    /// How long nothing may work before it is an error.
    pub give_up: Duration,
}

/// What came.
#[derive(Clone, Debug)]
pub enum Fetched {
    /// A batch that matches its checksum.
    Batch {
        /// Its partition.
        partition: usize,
        /// The first offset of it that is new.
        from: i64,
        /// Its header.
        header: BatchHeader,
        /// The batch.
        bytes: Bytes,
        /// When it came.
        at: Instant,
    },
    /// Something that no honest broker sends, in words.
    Fault {
        /// The partition.
        partition: usize,
        /// What.
        what: String,
    },
}

/// The consumer.
pub struct ResilientConsumer {
    manner: Manner,
    topic: KafkaString,
    positions: Vec<Position>,
    state: State,
    correlation: i32,
    backoff: Backoff,
    was_connected: bool,
    again: Again,
    /// When something came last, or nothing was to come.
    progressed: Instant,
}

enum State {
    Connected {
        target: Target,
        version: i16,
        lanes: Vec<Lane>,
    },
    /// Until then there is no new attempt to connect.
    Waiting(Instant),
}

/// A connection to a leader.
struct Lane {
    address: SocketAddr,
    link: Link,
    partitions: Vec<usize>,
    /// The fetch on its way: its correlation id, and when it was sent.
    fetching: Option<(i32, Instant)>,
}

impl ResilientConsumer {
    /// A consumer of the partitions at `positions`; it connects with the first [`ResilientConsumer::step`].
    pub fn new(manner: Manner, positions: Vec<Position>) -> ResilientConsumer {
        ResilientConsumer {
            topic: manner.topic.as_str().into(),
            positions,
            state: State::Waiting(clock::now()),
            correlation: 0,
            backoff: Backoff::new(manner.give_up),
            was_connected: false,
            again: Again::default(),
            progressed: clock::now(),
            manner,
        }
    }

    /// From now on it reads up to these offsets, by partition, and no further.
    pub fn end_at(&mut self, ends: &[i64]) {
        for position in &mut self.positions {
            position.end = ends.get(position.partition).map_or(End::Never, |&end| End::At(end));
        }
        self.progressed = clock::now();
    }

    /// Whether all ends are reached.
    pub fn is_done(&self) -> bool {
        !self.positions.iter().any(Position::is_wanted)
    }

    /// What it had to do again.
    pub fn again(&self) -> Again {
        self.again
    }

    /// Asks for more where nothing is on its way, and waits a short time for what comes.
    ///
    /// # Errors
    /// When the broker refuses a fetch for good, or nothing has worked for too long, or nothing comes although the log
    /// does not end there.
    pub fn step(&mut self) -> anyhow::Result<Vec<Fetched>> {
        let mut fetched = Vec::new();
        let before = self.offsets_sum();
        if let State::Waiting(attempt_at) = self.state {
            if clock::now() < attempt_at {
                wait(std::iter::empty(), Some(attempt_at))?;
                return Ok(fetched);
            }
            let outcome = self.connect();
            self.settle(outcome)?;
        }
        if matches!(self.state, State::Connected { .. }) {
            let outcome = self.exchange(&mut fetched);
            self.settle(outcome)?;
        }
        self.note_progress(self.offsets_sum() > before)?;
        Ok(fetched)
    }

    fn offsets_sum(&self) -> i64 {
        self.positions.iter().map(|position| position.offset).sum()
    }

    /// An error when there is something to read, connections are well, and nothing has come for too long.
    fn note_progress(&mut self, has_moved: bool) -> anyhow::Result<()> {
        let now = clock::now();
        let waiting = self.positions.iter().find(|position| position.last().is_some() && position.is_wanted());
        let Some(position) = waiting.filter(|_| !has_moved) else {
            self.progressed = now;
            return Ok(());
        };
        let &Position { partition, offset, .. } = position;
        ensure!(
            now.saturating_duration_since(self.progressed) <= self.manner.give_up,
            "partition {partition}: nothing came for {} s (--give-up) at offset {offset}, and the log ends at {}",
            self.manner.give_up.as_secs_f64(),
            position.last().unwrap_or_default()
        );
        Ok(())
    }

    fn connect(&mut self) -> Result<(), Trouble> {
        let found = find(&self.manner.bootstrap, &self.manner.topic, ApiKey::Fetch);
        let (topic, version) = found.map_err(Trouble::Passing)?;
        if self.was_connected {
            self.again.reconnects += 1;
        }
        let missing = self.positions.iter().find(|position| position.partition >= topic.leaders.len());
        if let Some(missing) = missing {
            let partition = missing.partition;
            return Err(Trouble::Final(anyhow!("topic '{}' has no partition {partition}", self.topic)));
        }
        let target = Target::of(&[topic]);
        let leaders = target.by_connection(self.positions.iter().map(|position| position.partition), 1);
        let lane = |(address, partitions): (SocketAddr, Vec<usize>)| {
            anyhow::Ok(Lane { address, link: Link::connect(address)?, partitions, fetching: None })
        };
        let lanes = leaders.into_iter().map(lane).collect::<anyhow::Result<_>>().map_err(Trouble::Passing)?;
        self.was_connected = true;
        self.state = State::Connected { version, target, lanes };
        Ok(())
    }

    fn exchange(&mut self, fetched: &mut Vec<Fetched>) -> Result<(), Trouble> {
        let State::Connected { version, target, lanes } = &mut self.state else { return Ok(()) };
        for lane in &mut *lanes {
            if lane.fetching.is_none() {
                let own = |position: &&Position| lane.partitions.contains(&position.partition);
                let positions: Vec<Position> = self.positions.iter().filter(own).copied().collect();
                if positions.iter().any(Position::is_wanted) {
                    self.correlation = self.correlation.wrapping_add(1);
                    let mut request = request(&positions, target, &self.manner.fetch);
                    request.isolation_level = i8::from(self.manner.committed_only);
                    lane.link.push(frame(*version, self.correlation, &request).map_err(Trouble::Final)?);
                    lane.fetching = Some((self.correlation, clock::now()));
                }
            }
            lane.link.flush().map_err(Trouble::Passing)?;
        }
        // The broker fills its answer from the front: each partition is the first in turn.
        self.positions.rotate_left(1);
        wait(lanes.iter().map(|lane| &lane.link), None).map_err(Trouble::Final)?;
        for lane in lanes {
            let Some((correlation, sent)) = lane.fetching else { continue };
            lane.link.flush().and_then(|()| lane.link.fill()).map_err(Trouble::Passing)?;
            let at = clock::now();
            let Some(answer) = lane.link.next_answer().map_err(Trouble::Passing)? else {
                let deadline = ANSWER_DEADLINE + Duration::from_millis(u64::from(self.manner.fetch.max_wait_ms));
                if at.saturating_duration_since(sent) > deadline {
                    let what = format!("{} did not answer a fetch for {} s", lane.address, deadline.as_secs());
                    return Err(Trouble::Passing(anyhow!(what)));
                }
                continue;
            };
            let (answered, response) = parse_answer::<FetchRequest>(*version, answer).map_err(Trouble::Final)?;
            if answered != correlation {
                return Err(Trouble::Final(anyhow!("the broker answered what nobody asked")));
            }
            lane.fetching = None;
            take(&mut self.positions, &self.topic, &response, at, fetched)?;
            self.backoff.worked();
        }
        Ok(())
    }

    fn settle(&mut self, outcome: Result<(), Trouble>) -> anyhow::Result<()> {
        match outcome {
            Ok(()) => Ok(()),
            Err(Trouble::Final(error)) => Err(error),
            Err(Trouble::Passing(error)) => {
                if matches!(self.state, State::Connected { .. }) {
                    self.again.retries += 1;
                }
                let now = clock::now();
                self.state = State::Waiting(self.backoff.failed(now, now, error).context("consumer")?);
                self.progressed = now;
                Ok(())
            }
        }
    }
}

/// Takes what a fetch brought, and moves the positions behind it.
fn take(
    positions: &mut [Position],
    topic: &str,
    response: &FetchResponse,
    at: Instant,
    fetched: &mut Vec<Fetched>,
) -> Result<(), Trouble> {
    let code = response.error_code;
    if !code.is_ok() {
        return Err(Trouble::of(code, anyhow!("the fetch failed: {}", code.name())));
    }
    let mut outcome = Ok(());
    for answer in response.responses.iter().flat_map(|topic| &topic.partitions) {
        let index = answer.partition_index;
        let what = || format!("partition {index} of topic '{topic}'");
        let position = positions.iter_mut().find(|position| position.partition as i32 == index);
        let Some(position) = position else {
            return Err(Trouble::Final(anyhow!("{}: nobody asked for it", what())));
        };
        let code = answer.error_code;
        if code == ErrorCode::OffsetOutOfRange {
            let (offset, high, start) = (position.offset, answer.high_watermark, answer.log_start_offset);
            return Err(Trouble::Final(anyhow!(
                "{}: OFFSET_OUT_OF_RANGE at offset {offset}: the log begins at {start} and ends at {high}, so records \
                 that were delivered or are still to be read are gone",
                what()
            )));
        }
        if !code.is_ok() {
            // The other partitions of this answer are taken all the same.
            outcome = Err(Trouble::of(code, anyhow!("{}: {}", what(), code.name())));
            continue;
        }
        let Some(records) = &answer.records else { continue };
        let mut aborted = Aborted::new(answer.aborted_transactions.clone().unwrap_or_default());
        take_batches(position, records.to_bytes(), &mut aborted, at, fetched).map_err(Trouble::Final)?;
    }
    outcome
}

/// Takes a partition's batches, but for aborted ones. Those below the position's first offset are a fault, and so is one that does not match
/// its checksum, which is passed over.
fn take_batches(
    position: &mut Position,
    bytes: Bytes,
    aborted: &mut Aborted,
    at: Instant,
    fetched: &mut Vec<Fetched>,
) -> anyhow::Result<()> {
    let partition = position.partition;
    let mut is_first = true;
    for batch in split_batches(&bytes) {
        let (header, bytes) =
            batch.with_context(|| format!("partition {partition}, behind offset {}", position.offset))?;
        let from = position.offset;
        let (base, last) = (header.base_offset, header.last_offset());
        if last < from || (base < from && !is_first) {
            let what = format!("partition {partition}: a batch at offsets {base} to {last} came where {from} is next");
            fetched.push(Fetched::Fault { partition, what });
        } else if !verify_crc(&bytes) {
            let what = format!("partition {partition}: the batch at offset {base} does not match its checksum");
            fetched.push(Fetched::Fault { partition, what });
            position.offset = last + 1;
        } else {
            position.offset = last + 1;
            if !aborted.has(&header, &bytes) {
                fetched.push(Fetched::Batch { partition, from, header, bytes, at });
            }
        }
        is_first = false;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use corelog::record::BatchBuilder;

    use super::*;

    fn batch(base_offset: i64, records: usize) -> Vec<u8> {
        let mut builder = BatchBuilder::new().base_offset(base_offset);
        (0..records).for_each(|_| {
            builder.append(1, None, Some(b"value"), &[]);
        });
        builder.build().expect("a batch").to_vec()
    }

    /// What comes of some batches at offset 11: the offsets of the batches taken, the faults, and the next offset.
    fn taken(batches: &[Vec<u8>]) -> (Vec<(i64, i64)>, Vec<String>, i64) {
        let mut position = Position { partition: 3, offset: 11, end: End::Never };
        let mut fetched = Vec::new();
        take_batches(&mut position, batches.concat().into(), &mut Aborted::default(), clock::now(), &mut fetched)
            .expect("batches");
        let (mut offsets, mut faults) = (Vec::new(), Vec::new());
        for one in fetched {
            match one {
                Fetched::Batch { from, header, .. } => offsets.push((from, header.base_offset)),
                Fetched::Fault { what, .. } => faults.push(what),
            }
        }
        (offsets, faults, position.offset)
    }

    #[test]
    fn batches_are_taken_from_the_position_on_and_a_cut_one_is_left() {
        let mut cut = batch(15, 2);
        cut.pop();
        assert_eq!(taken(&[batch(10, 3), batch(13, 2), cut]), (vec![(11, 10), (13, 13)], Vec::new(), 15));
        // A compacted log has holes.
        assert_eq!(taken(&[batch(20, 1)]), (vec![(11, 20)], Vec::new(), 21));
    }

    #[test]
    fn a_batch_that_comes_twice_or_late_is_a_fault() {
        let (offsets, faults, next) = taken(&[batch(11, 2), batch(11, 2), batch(13, 1)]);
        assert_eq!((offsets, next), (vec![(11, 11), (13, 13)], 14));
        assert_eq!(faults, ["partition 3: a batch at offsets 11 to 12 came where 13 is next"]);
        assert_eq!(taken(&[batch(5, 2)]).1.len(), 1);
        assert_eq!(taken(&[batch(11, 2), batch(12, 3)]).1.len(), 1);
    }

    #[test]
    fn a_flipped_bit_is_a_fault_and_the_rest_is_read() {
        let mut flipped = batch(11, 2);
        let last = flipped.len() - 2;
        flipped[last] ^= 4;
        let (offsets, faults, next) = taken(&[flipped, batch(13, 1)]);
        assert_eq!((offsets, next), (vec![(13, 13)], 14));
        assert_eq!(faults, ["partition 3: the batch at offset 11 does not match its checksum"]);
    }
}
