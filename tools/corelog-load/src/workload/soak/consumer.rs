//! One consumer's thread: reads numbered records and tells what came.

use std::time::{Duration, Instant};

use super::{Shared, consumer_manner};
use crate::check::reading;
use crate::measure::{Arrival, Recorder};
use crate::workload::consumer::Position;
use crate::workload::resilient::consumer::{Fetched, ResilientConsumer};
use crate::workload::resilient::{Again, ends};

/// A consumer, about to run.
pub struct Consuming {
    consumer: ResilientConsumer,
}

impl Consuming {
    /// Of the partitions at `positions`.
    pub fn new(shared: &Shared<'_>, positions: Vec<Position>) -> Consuming {
        Consuming { consumer: ResilientConsumer::new(consumer_manner(shared.options), positions) }
    }

    /// Follows the log until the producers are done, and then reads to its end.
    pub fn tail(mut self, shared: &Shared<'_>, recorder: &Recorder) -> anyhow::Result<Again> {
        let mut has_ends = false;
        let mut errors = 0;
        loop {
            if let (false, Some(ends)) = (has_ends, shared.ends.get()) {
                self.consumer.end_at(ends);
                has_ends = true;
            }
            if (has_ends && self.consumer.is_done()) || shared.load.is_cut_short() {
                return Ok(self.consumer.again());
            }
            let fetched = self.consumer.step()?;
            self.note(&fetched, shared, Some(recorder));
            let count = self.consumer.again().count();
            (errors..count).for_each(|_| shared.load.count_error());
            errors = count;
        }
    }

    /// Reads everything up to the log's end.
    pub fn read_again(mut self, shared: &Shared<'_>) -> anyhow::Result<Again> {
        let options = shared.options;
        self.consumer.end_at(&ends(&options.broker.bootstrap, &options.broker.topic, options.kills.give_up)?);
        while !self.consumer.is_done() {
            anyhow::ensure!(!shared.load.is_interrupted(), "interrupted");
            let fetched = self.consumer.step()?;
            self.note(&fetched, shared, None);
        }
        Ok(self.consumer.again())
    }

    fn note(&self, fetched: &[Fetched], shared: &Shared<'_>, recorder: Option<&Recorder>) {
        let mut arrivals = Vec::new();
        for one in fetched {
            match one {
                Fetched::Fault { partition, what } => shared.books.ledger(*partition).corrupt(what.clone()),
                Fetched::Batch { partition, from, header, bytes, at } => {
                    let reading = reading::read(header, bytes, *from, *partition as u32, shared.run);
                    reading.tell(*partition as u32, &mut shared.books.ledger(*partition));
                    arrivals.extend(arrivals_of(&reading, *at, shared.load.start(), bytes.len() as u64));
                }
            }
        }
        if let Some(recorder) = recorder
            && !arrivals.is_empty()
        {
            shared.books.count_delivered(arrivals.iter().map(|arrival| arrival.records).sum());
            recorder.add(arrivals);
        }
    }
}

/// A batch's records as arrivals, one for each intended time; the batch's bytes count with the first.
fn arrivals_of(reading: &reading::Reading, at: Instant, start: Instant, wire_bytes: u64) -> Vec<Arrival> {
    let arrival = |(place, run): (usize, &reading::Run)| {
        let records = run.sequences.end - run.sequences.start;
        Arrival {
            at,
            from: Some(start + Duration::from_nanos(run.intended_ns)),
            latencies: records,
            records,
            value_bytes: run.value_bytes,
            wire_bytes: if place == 0 { wire_bytes } else { 0 },
        }
    };
    reading.runs.iter().enumerate().map(arrival).collect()
}
