//! Consumers: from the beginning to the end (catch-up), or behind the end (tail).

use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::ensure;
use corelog::protocol::ApiKey;
use corelog::protocol::messages::list_offsets::{EARLIEST_TIMESTAMP, LATEST_TIMESTAMP};

use super::consumer::{Consumer, Counting, Position};
use super::{Plan, Worker, deliver, measure};
use crate::client::cluster::{Cluster, Topic};
use crate::load::{Interrupt, Load};
use crate::measure::{Recorder, Track};
use crate::options::{ConsumeOptions, FetchOptions};
use crate::report::Report;

/// Runs the workload.
///
/// # Errors
/// When it cannot start, or the figures cannot be written.
pub fn consume(options: &ConsumeOptions, command: &[String], interrupt: &Interrupt) -> anyhow::Result<Report> {
    let mut cluster = Cluster::connect(&options.broker.bootstrap)?;
    let topic = cluster.topic(&options.broker.topic)?;
    let ends = cluster.offsets(&topic, LATEST_TIMESTAMP)?;
    let positions: Vec<Position> = if options.tail {
        tail_positions(&ends)
    } else {
        let starts = cluster.offsets(&topic, EARLIEST_TIMESTAMP)?;
        let all = starts.into_iter().zip(ends).enumerate();
        all.map(|(partition, (offset, end))| Position { partition, offset, end: Some(end) }).collect()
    };
    let is_empty = positions.iter().all(|position| position.end.is_some_and(|end| position.offset >= end));
    ensure!(!is_empty, "topic '{}' holds no records to catch up with; --tail waits for new ones", topic.name);
    let consumers = consumers(&options.fetch, &positions, &topic, &cluster)?;
    let load = Load::new(options.warm_up, options.duration, interrupt);
    let counting = if options.tail { Counting::Batches } else { Counting::Fetches };
    let track = Track {
        name: "consume",
        latency_of: (!options.tail).then_some("of each fetch, from its sending to its whole answer"),
        has_values: false,
        recorders: consumers.iter().map(|_| Recorder::new(load.measured_from())).collect(),
    };
    let delivered = AtomicU64::new(0);
    let workers = consumers.into_iter().zip(&track.recorders).map(|(consumer, recorder)| -> Worker<'_> {
        let (load, delivered, recorder) = (&load, &delivered, recorder.clone());
        Box::new(move || {
            let is_enough = || options.records.is_some_and(|records| delivered.load(Ordering::Relaxed) >= records);
            let count = |records| {
                delivered.fetch_add(records, Ordering::Relaxed);
            };
            let outcome =
                consumer.run(counting, load.start(), &recorder, |now| load.is_over(now) || is_enough(), count);
            if let Err(error) = outcome {
                load.fail(format!("{error:#}"));
            }
        })
    });
    let plan = Plan {
        workload: "consume",
        command,
        rate: None,
        cluster: &cluster,
        broker: &options.broker,
        output: &options.output,
    };
    deliver(measure(&plan, &load, std::slice::from_ref(&track), workers.collect(), |_| {}), &options.output)
}

/// The positions behind all there is.
pub(super) fn tail_positions(ends: &[i64]) -> Vec<Position> {
    ends.iter().enumerate().map(|(partition, &offset)| Position { partition, offset, end: None }).collect()
}

/// Connects the consumers, among which the partitions are shared out.
///
/// # Errors
/// When there are more of them than partitions, or a leader does not answer.
pub(super) fn consumers(
    options: &FetchOptions,
    positions: &[Position],
    topic: &Topic,
    cluster: &Cluster,
) -> anyhow::Result<Vec<Consumer>> {
    let (count, partitions) = (options.consumers as usize, positions.len());
    ensure!(count <= partitions, "--consumers {count}: topic '{}' has only {partitions} partitions", topic.name);
    let version = cluster.version(ApiKey::Fetch)?;
    let own = |index| positions.iter().skip(index).step_by(count).copied().collect::<Vec<_>>();
    (0..count).map(|index| Consumer::open(topic, version, options, &own(index))).collect()
}
