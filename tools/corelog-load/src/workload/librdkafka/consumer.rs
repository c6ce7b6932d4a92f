//! One of librdkafka's consumers: records one by one, as an application takes them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::{METADATA_DEADLINE, is_passing, refusal};
use crate::client::target::Target;
use crate::clock;
use crate::load::Load;
use crate::measure::{Arrival, Recorder};
use crate::stamp::Stamp;
use crate::workload::consumer::Position;

/// The longest wait for a record: so often a consumer looks whether the load is over.
const WAIT_MAX: Duration = Duration::from_millis(50);
/// Records that are noted together, at most; fewer when there are no more.
const NOTED_TOGETHER: u64 = 256;

/// What is counted of what comes.
#[derive(Clone, Copy, Debug)]
pub enum Counting {
    /// All records. They have no latency: librdkafka does not tell when it fetched them.
    All,
    /// Only records stamped by this run, each with its latency from when it was meant to be sent.
    Stamped(u64),
}

/// A consumer, created.
pub struct Consumer {
    client: BaseConsumer,
    target: Arc<Target>,
    positions: Vec<Position>,
}

impl Consumer {
    /// Creates the client, and has it connect.
    ///
    /// # Errors
    /// When librdkafka refuses, or no broker answers it.
    pub fn open(config: &ClientConfig, target: &Arc<Target>, positions: Vec<Position>) -> anyhow::Result<Consumer> {
        let client: BaseConsumer = config.create().map_err(refusal)?;
        let topic = &target.place(0).topic;
        client.fetch_metadata(Some(topic), METADATA_DEADLINE).context("librdkafka asks for the topic")?;
        Ok(Consumer { client, target: target.clone(), positions })
    }

    /// Reads until all ends are reached, or `is_over` says so. `delivered` is told of the records that were counted.
    ///
    /// # Errors
    /// When librdkafka tells of an error that does not pass.
    pub fn run(
        mut self,
        counting: Counting,
        load: &Load,
        recorder: &Recorder,
        is_over: impl Fn(Instant) -> bool,
        delivered: impl Fn(u64),
    ) -> anyhow::Result<()> {
        // From then on it fetches: what came before would be none of the load's.
        clock::sleep_until(load.start());
        self.assign()?;
        let mut tally = Tally { counting, load, all: Vec::new(), records: 0, value_bytes: 0 };
        loop {
            let next = match self.client.poll(Duration::ZERO) {
                Some(next) => Some(next),
                None => {
                    tally.note(recorder, &delivered);
                    if is_over(clock::now()) || !self.positions.iter().any(Position::is_wanted) {
                        return Ok(());
                    }
                    self.client.poll(WAIT_MAX)
                }
            };
            match next {
                Some(Ok(record)) => {
                    let position = place(&mut self.positions, &self.target, record.topic(), record.partition());
                    let position = position.context("librdkafka delivers of a partition that was not assigned")?;
                    if position.is_wanted() {
                        position.offset = record.offset() + 1;
                        tally.add(record.payload().unwrap_or_default());
                    }
                    if tally.records >= NOTED_TOGETHER {
                        tally.note(recorder, &delivered);
                        if is_over(clock::now()) || !self.positions.iter().any(Position::is_wanted) {
                            return Ok(());
                        }
                    }
                }
                // Records that are no application's, such as transactions' marks, may be the last. Which topic's partition
                // it is, the binding does not tell: it is asked how far each has come.
                Some(Err(KafkaError::PartitionEOF(partition))) => self.end(partition)?,
                Some(Err(error)) if is_passing(&error) => load.count_error(),
                Some(Err(error)) => {
                    tally.note(recorder, &delivered);
                    bail!("librdkafka consumes: {error}");
                }
                None => {}
            }
        }
    }

    fn assign(&self) -> anyhow::Result<()> {
        let mut list = TopicPartitionList::new();
        for position in self.positions.iter().filter(|position| position.is_wanted()) {
            let place = self.target.place(position.partition);
            list.add_partition_offset(&place.topic, place.index, Offset::Offset(position.offset))?;
        }
        self.client.assign(&list).context("librdkafka assigns partitions")
    }

    /// Ends a partition with this index: of several topics those that are read as far as they have to be.
    fn end(&mut self, index: i32) -> anyhow::Result<()> {
        let reached = self.client.position()?;
        let is_only = self.target.topics().len() == 1;
        for position in &mut self.positions {
            let place = self.target.place(position.partition);
            let Some(end) = position.last().filter(|_| place.index == index) else { continue };
            let found = reached.find_partition(&place.topic, index).and_then(|found| found.offset().to_raw());
            if is_only || found.is_some_and(|offset| offset >= end) {
                position.offset = position.offset.max(end);
            }
        }
        Ok(())
    }
}

fn place<'a>(positions: &'a mut [Position], target: &Target, topic: &str, index: i32) -> Option<&'a mut Position> {
    positions.iter_mut().find(|position| {
        let place = target.place(position.partition);
        place.index == index && place.topic.as_str() == topic
    })
}

/// Counts what came since the last note.
struct Tally<'a> {
    counting: Counting,
    load: &'a Load,
    /// Records that have latencies.
    all: Vec<Arrival>,
    records: u64,
    value_bytes: u64,
}

impl Tally<'_> {
    fn add(&mut self, value: &[u8]) {
        let value_bytes = value.len() as u64;
        match self.counting {
            Counting::All => {}
            Counting::Stamped(run) => {
                let Some(stamp) = Stamp::read(value).filter(|stamp| stamp.run == run) else { return };
                self.all.push(Arrival {
                    at: clock::now(),
                    from: Some(self.load.start() + Duration::from_nanos(stamp.intended_ns)),
                    latencies: 1,
                    records: 1,
                    value_bytes,
                    wire_bytes: 0,
                });
            }
        }
        self.records += 1;
        self.value_bytes += value_bytes;
    }

    fn note(&mut self, recorder: &Recorder, delivered: impl Fn(u64)) {
        if self.records == 0 {
            return;
        }
        if self.all.is_empty() {
            let (at, records, value_bytes) = (clock::now(), self.records, self.value_bytes);
            recorder.add([Arrival { at, from: None, latencies: 0, records, value_bytes, wire_bytes: 0 }]);
        } else {
            recorder.add(self.all.drain(..));
        }
        delivered(self.records);
        (self.records, self.value_bytes) = (0, 0);
    }
}
