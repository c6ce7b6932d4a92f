//! One consumer's thread: a fetch on its way to each leader, and every batch that comes is checked and counted.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use bytes::Bytes;
use corelog::protocol::messages::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use corelog::record::{BatchHeader, records, split_batches, verify_crc};

use crate::client::link::Link;
use crate::client::target::Target;
use crate::client::wait::wait;
use crate::client::{ANSWER_DEADLINE, frame, parse_answer};
use crate::clock;
use crate::measure::{Arrival, Recorder};
use crate::options::FetchOptions;
use crate::stamp::Stamp;

/// What is counted of what comes.
#[derive(Clone, Copy, Debug)]
pub enum Counting {
    /// All records, by their batches' headers. A fetch's latency is from its sending to its answer.
    Fetches,
    /// The same without latencies: a fetch that waits for records says nothing.
    Batches,
    /// Only records stamped by this run, each with its latency from when it was meant to be sent.
    Stamped {
        /// The run.
        run: u64,
        /// The start of the load, which stamps count from.
        start: Instant,
    },
}

/// A consumer, connected.
pub struct Consumer {
    target: Arc<Target>,
    version: i16,
    fetch: FetchOptions,
    lanes: Vec<Lane>,
    correlation: i32,
}

/// A connection to a leader.
struct Lane {
    link: Link,
    positions: Vec<Position>,
    /// The fetch on its way: its correlation id, and when it was sent.
    fetching: Option<(i32, Instant)>,
}

/// Where a partition is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Position {
    /// The number of the partition.
    pub partition: usize,
    /// The next offset to read.
    pub offset: i64,
    /// Where reading ends.
    pub end: End,
}

/// Where reading a partition ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Nowhere: what comes later is waited for.
    Never,
    /// Behind the last one before this offset.
    At(i64),
    /// The same, but then it begins again at `from`.
    Again {
        /// The first offset.
        from: i64,
        /// The offset behind the last one.
        to: i64,
    },
}

impl Position {
    /// Whether there is anything left to read.
    pub fn is_wanted(&self) -> bool {
        match self.end {
            End::Never => true,
            End::At(end) => self.offset < end,
            End::Again { from, to } => from < to,
        }
    }

    /// The offset behind the last one to read, if there is one.
    pub fn last(&self) -> Option<i64> {
        match self.end {
            End::Never => None,
            End::At(end) | End::Again { to: end, .. } => Some(end),
        }
    }

    /// Moves behind what was read.
    pub fn advance(&mut self, offset: i64) {
        self.offset = match self.end {
            End::Again { from, to } if offset >= to => from,
            _ => offset,
        };
    }
}

impl Consumer {
    /// Connects to the leaders of the partitions at `positions`.
    ///
    /// # Errors
    /// When that cannot be done.
    pub fn open(
        target: &Arc<Target>,
        version: i16,
        fetch: &FetchOptions,
        positions: &[Position],
    ) -> anyhow::Result<Consumer> {
        let lane = |(address, partitions): (SocketAddr, Vec<usize>)| {
            let positions = positions.iter().filter(|position| partitions.contains(&position.partition)).copied();
            anyhow::Ok(Lane { link: Link::connect(address)?, positions: positions.collect(), fetching: None })
        };
        let leaders = target.by_connection(positions.iter().map(|position| position.partition), 1);
        Ok(Consumer {
            target: target.clone(),
            version,
            fetch: fetch.clone(),
            lanes: leaders.into_iter().map(lane).collect::<anyhow::Result<_>>()?,
            correlation: 0,
        })
    }

    /// Reads from `start` on, until all ends are reached, or `is_over` says so. `delivered` is told of each fetch's
    /// records.
    ///
    /// # Errors
    /// When a fetch fails, a batch is damaged, or a connection breaks.
    pub fn run(
        mut self,
        counting: Counting,
        start: Instant,
        recorder: &Recorder,
        is_over: impl Fn(Instant) -> bool,
        delivered: impl Fn(u64),
    ) -> anyhow::Result<()> {
        clock::wake_on_time();
        // What came before would be none of the load's.
        clock::sleep_until(start);
        loop {
            let now = clock::now();
            if is_over(now) || !self.fetch_more(now)? {
                return Ok(());
            }
            wait(self.lanes.iter().map(|lane| &lane.link), None)?;
            for lane in &mut self.lanes {
                let Some((correlation, sent)) = lane.fetching else { continue };
                lane.link.fill()?;
                let Some(answer) = lane.link.next_answer()? else {
                    let waited = clock::now().saturating_duration_since(sent);
                    let deadline = ANSWER_DEADLINE + Duration::from_millis(u64::from(self.fetch.max_wait_ms));
                    ensure!(waited < deadline, "the broker did not answer a fetch for {} s", deadline.as_secs());
                    continue;
                };
                let at = clock::now();
                let (answered, response) = parse_answer::<FetchRequest>(self.version, answer)?;
                ensure!(answered == correlation, "the broker answered what nobody asked");
                lane.fetching = None;
                let mut tally = Tally { counting, at, arrivals: Vec::new(), records: 0 };
                let outcome = lane.take(&response, &self.target, &mut tally);
                tally.end_fetch(sent);
                let records = tally.records;
                recorder.add(tally.arrivals);
                delivered(records);
                outcome?;
            }
        }
    }

    /// Sends a fetch to each leader that has none. Whether there is anything left to read.
    fn fetch_more(&mut self, now: Instant) -> anyhow::Result<bool> {
        let mut busy = false;
        for lane in &mut self.lanes {
            if lane.fetching.is_none() && lane.positions.iter().any(Position::is_wanted) {
                self.correlation = self.correlation.wrapping_add(1);
                let request = request(&lane.positions, &self.target, &self.fetch);
                lane.link.push(frame(self.version, self.correlation, &request)?);
                lane.fetching = Some((self.correlation, now));
                // The broker fills its answer from the front: each partition is the first in turn.
                lane.positions.rotate_left(1);
            }
            lane.link.flush()?;
            busy |= lane.fetching.is_some();
        }
        Ok(busy)
    }
}

/// A fetch of all positions that are wanted.
pub(super) fn request(positions: &[Position], target: &Target, options: &FetchOptions) -> FetchRequest {
    let bytes = |bytes: u32| i32::try_from(bytes).unwrap_or(i32::MAX);
    let mut topics: Vec<FetchTopic> = Vec::new();
    for position in positions.iter().filter(|position| position.is_wanted()) {
        let place = target.place(position.partition);
        let partition = FetchPartition {
            partition: place.index,
            fetch_offset: position.offset,
            partition_max_bytes: bytes(options.partition_fetch_bytes),
            ..Default::default()
        };
        match topics.iter_mut().find(|topic| topic.topic == place.topic) {
            Some(topic) => topic.partitions.push(partition),
            None => {
                let partitions = vec![partition];
                topics.push(FetchTopic { topic: place.topic.clone(), partitions, ..Default::default() });
            }
        }
    }
    FetchRequest {
        max_wait_ms: bytes(options.max_wait_ms),
        min_bytes: bytes(options.fetch_min_bytes),
        max_bytes: bytes(options.fetch_bytes),
        topics,
        ..Default::default()
    }
}

impl Lane {
    /// Takes what a fetch brought, and moves the positions behind it.
    fn take(&mut self, response: &FetchResponse, target: &Target, tally: &mut Tally) -> anyhow::Result<()> {
        ensure!(response.error_code.is_ok(), "the fetch failed: {}", response.error_code.name());
        for topic in &response.responses {
            for partition in &topic.partitions {
                let index = partition.partition_index;
                let what = || format!("partition {index} of topic '{}'", topic.topic.as_str());
                ensure!(partition.error_code.is_ok(), "{}: {}", what(), partition.error_code.name());
                let is_it = |position: &&mut Position| {
                    let place = target.place(position.partition);
                    (place.index, &place.topic) == (index, &topic.topic)
                };
                let position = self.positions.iter_mut().find(is_it);
                let position = position.with_context(|| format!("{}: nobody asked for it", what()))?;
                let Some(records) = &partition.records else { continue };
                let offset = tally.count(records.to_bytes(), position.offset).with_context(what)?;
                position.advance(offset);
            }
        }
        Ok(())
    }
}

/// Counts what one fetch brought.
struct Tally {
    counting: Counting,
    /// When it came.
    at: Instant,
    arrivals: Vec<Arrival>,
    records: u64,
}

impl Tally {
    /// Counts the records from `offset` on. The offset behind them.
    fn count(&mut self, bytes: Bytes, mut offset: i64) -> anyhow::Result<i64> {
        for batch in split_batches(&bytes) {
            let (header, batch) = batch?;
            if header.last_offset() < offset {
                continue;
            }
            ensure!(verify_crc(&batch), "the batch at offset {} does not match its checksum", header.base_offset);
            if !header.is_control() {
                self.count_batch(&header, &batch, offset)?;
            }
            offset = header.last_offset() + 1;
        }
        Ok(offset)
    }

    fn count_batch(&mut self, header: &BatchHeader, batch: &Bytes, offset: i64) -> anyhow::Result<()> {
        let wire_bytes = batch.len() as u64;
        let arrival = Arrival { at: self.at, from: None, latencies: 0, records: 0, value_bytes: 0, wire_bytes: 0 };
        match self.counting {
            Counting::Fetches | Counting::Batches => {
                // A batch that began before the first offset is counted as far as it is new.
                let new = if header.base_offset < offset { header.last_offset() + 1 - offset } else { i64::MAX };
                let records = i64::from(header.record_count).min(new) as u64;
                self.records += records;
                self.arrivals.push(Arrival { records, wire_bytes, ..arrival });
            }
            Counting::Stamped { run, start } => {
                let mut records_seen = 0;
                for record in records(batch)? {
                    let record = record?;
                    let value = record.value.unwrap_or_default();
                    let Some(stamp) = Stamp::read(&value).filter(|stamp| stamp.run == run) else { continue };
                    if record.offset < offset {
                        continue;
                    }
                    let from = Some(start + Duration::from_nanos(stamp.intended_ns));
                    let value_bytes = value.len() as u64;
                    records_seen += 1;
                    match self.arrivals.last_mut().filter(|last| records_seen > 1 && last.from == from) {
                        Some(last) => {
                            last.latencies += 1;
                            last.records += 1;
                            last.value_bytes += value_bytes;
                        }
                        None => {
                            // The batch's bytes count once.
                            let wire_bytes = if records_seen == 1 { wire_bytes } else { 0 };
                            let one = Arrival { from, latencies: 1, records: 1, value_bytes, wire_bytes, ..arrival };
                            self.arrivals.push(one);
                        }
                    }
                }
                self.records += records_seen;
            }
        }
        Ok(())
    }

    /// Makes a fetch's arrivals one, when the fetch is what has a latency.
    fn end_fetch(&mut self, sent: Instant) {
        let from = match self.counting {
            Counting::Fetches => Some(sent),
            Counting::Batches => None,
            Counting::Stamped { .. } => return,
        };
        if self.records > 0 {
            let wire_bytes = self.arrivals.iter().map(|arrival| arrival.wire_bytes).sum();
            let latencies = u64::from(from.is_some());
            let all = Arrival { at: self.at, from, latencies, records: self.records, value_bytes: 0, wire_bytes };
            self.arrivals = vec![all];
        }
    }
}

#[cfg(test)]
mod tests {
    use corelog::record::BatchBuilder;

    use super::*;

    fn batch(base_offset: i64, values: &[&[u8]], control: bool) -> Vec<u8> {
        let mut builder = BatchBuilder::new().base_offset(base_offset).control(control);
        for value in values {
            builder.append(1, None, Some(value), &[]);
        }
        builder.build().expect("a batch").to_vec()
    }

    fn tally(counting: Counting) -> Tally {
        Tally { counting, at: clock::now(), arrivals: Vec::new(), records: 0 }
    }

    #[test]
    fn batches_are_counted_from_the_offset_on_and_the_broker_s_marks_are_not() {
        let mut bytes = batch(10, &[b"a", b"b", b"c"], false);
        bytes.extend(batch(13, &[b"mark"], true));
        let whole = bytes.len() as u64;
        bytes.extend(batch(14, &[b"d", b"e"], false));
        let cut = bytes.len() - 1;
        let mut one = tally(Counting::Fetches);
        assert_eq!(one.count(bytes[..cut].to_vec().into(), 11).expect("an offset"), 14);
        one.end_fetch(one.at);
        assert_eq!((one.records, one.arrivals.len(), one.arrivals[0].latencies), (2, 1, 1));
        assert!(one.arrivals[0].wire_bytes < whole);
        let mut rest = tally(Counting::Batches);
        assert_eq!(rest.count(bytes.into(), 14).expect("an offset"), 16);
        rest.end_fetch(rest.at);
        assert_eq!((rest.records, rest.arrivals[0].from), (2, None));
    }

    #[test]
    fn only_this_run_s_records_have_a_latency() {
        let start = clock::now();
        let mut own = Vec::new();
        Stamp { run: 7, intended_ns: 5_000 }.append(&mut own);
        let mut other = Vec::new();
        Stamp { run: 8, intended_ns: 5_000 }.append(&mut other);
        let bytes = batch(0, &[&own, &other, &own, b"short"], false);
        let mut tally = tally(Counting::Stamped { run: 7, start });
        assert_eq!(tally.count(bytes.into(), 0).expect("an offset"), 4);
        tally.end_fetch(start);
        let arrival = tally.arrivals[0];
        assert_eq!((tally.records, arrival.records, arrival.latencies, arrival.value_bytes), (2, 2, 2, 32));
        assert_eq!(arrival.from, Some(start + Duration::from_micros(5)));
    }

    #[test]
    fn a_damaged_batch_is_an_error_that_names_it() {
        let mut bytes = batch(3, &[b"value"], false);
        let last = bytes.len() - 3;
        bytes[last] ^= 1;
        let error = tally(Counting::Batches).count(bytes.into(), 3).expect_err("damage");
        assert_eq!(error.to_string(), "the batch at offset 3 does not match its checksum");
    }
}
