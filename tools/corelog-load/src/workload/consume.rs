//! Consumers: from the beginning to the end (catch-up), or behind the end (tail).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::ensure;
use corelog::protocol::ApiKey;
use corelog::protocol::messages::list_offsets::{EARLIEST_TIMESTAMP, LATEST_TIMESTAMP};

use super::consumer::{Consumer, Counting, End, Position};
use super::{Plan, Worker, deliver, librdkafka, measure};
use crate::client::cluster::{Cluster, Topic};
use crate::client::target::Target;
use crate::load::{Interrupt, Load};
use crate::measure::{Recorder, Track};
use crate::options::{Client, ConsumeOptions, FetchOptions};
use crate::report::Report;

/// Runs the workload.
///
/// # Errors
/// When it cannot start, or the figures cannot be written.
pub fn consume(options: &ConsumeOptions, command: &[String], interrupt: &Interrupt) -> anyhow::Result<Report> {
    let mut cluster = Cluster::connect(&options.broker.bootstrap)?;
    let names = options.broker.topic_names();
    let topics = names.iter().map(|name| cluster.topic(name)).collect::<anyhow::Result<Vec<Topic>>>()?;
    let target = Arc::new(Target::of(&topics));
    let positions = positions(options, &target, &mut cluster)?;
    let there: u64 =
        positions.iter().filter_map(|position| Some(position.last()? - position.offset)).sum::<i64>() as u64;
    ensure!(
        options.tail || there > 0,
        "topic '{}' holds no records to catch up with; --tail waits for new ones",
        names.join("', '")
    );
    // Offsets that a compacted topic has no records for are counted too: the end may come sooner.
    let expected = options.records.or((!options.tail && !options.again).then_some(there));
    if options.client == Client::Librdkafka {
        return librdkafka::consume(options, expected, command, interrupt, &cluster, &target, &positions);
    }
    let consumers = consumers(&options.fetch, &positions, &target, &cluster)?;
    let load = load(options, expected, interrupt);
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
            let count = |records| count_delivered(load, delivered, records);
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

/// The load, and how many records it is expected to read.
pub(super) fn load(options: &ConsumeOptions, expected: Option<u64>, interrupt: &Interrupt) -> Load {
    let load = Load::new(options.warm_up, options.duration, interrupt);
    match expected {
        Some(records) => load.expecting(records),
        None => load,
    }
}

/// Counts what a consumer was delivered, and tells the load what is left.
pub(super) fn count_delivered(load: &Load, delivered: &AtomicU64, records: u64) {
    let delivered = delivered.fetch_add(records, Ordering::Relaxed) + records;
    if let Some(expected) = load.expected() {
        load.set_lag(expected.saturating_sub(delivered));
    }
}

/// Where each partition is read.
fn positions(options: &ConsumeOptions, target: &Target, cluster: &mut Cluster) -> anyhow::Result<Vec<Position>> {
    let ends = offsets(cluster, target, LATEST_TIMESTAMP)?;
    if options.tail {
        return Ok(tail_positions(&ends));
    }
    let starts = offsets(cluster, target, EARLIEST_TIMESTAMP)?;
    let position = |(partition, (from, to)): (usize, (i64, i64))| Position {
        partition,
        offset: from,
        end: if options.again { End::Again { from, to } } else { End::At(to) },
    };
    Ok(starts.into_iter().zip(ends).enumerate().map(position).collect())
}

/// An offset of each partition, by its number: what `timestamp` stands for.
///
/// # Errors
/// When a leader does not tell it.
pub(super) fn offsets(cluster: &mut Cluster, target: &Target, timestamp: i64) -> anyhow::Result<Vec<i64>> {
    let mut all = Vec::with_capacity(target.len());
    for numbers in target.topics() {
        let places = numbers.clone().map(|number| target.place(number));
        let leaders = places.map(|place| place.leader).collect();
        let name = target.place(numbers.start).topic.as_str().to_owned();
        all.extend(cluster.offsets(&Topic { name, leaders }, timestamp)?);
    }
    Ok(all)
}

/// The positions behind all there is.
pub(super) fn tail_positions(ends: &[i64]) -> Vec<Position> {
    ends.iter().enumerate().map(|(partition, &offset)| Position { partition, offset, end: End::Never }).collect()
}

/// Connects the consumers, among which the partitions are shared out.
///
/// # Errors
/// When there are more of them than partitions, or a leader does not answer.
pub(super) fn consumers(
    options: &FetchOptions,
    positions: &[Position],
    target: &Arc<Target>,
    cluster: &Cluster,
) -> anyhow::Result<Vec<Consumer>> {
    let version = cluster.version(ApiKey::Fetch)?;
    shares(options, positions)?.iter().map(|own| Consumer::open(target, version, options, own)).collect()
}

/// The positions of each consumer.
///
/// # Errors
/// When there are more of them than partitions.
pub(super) fn shares(options: &FetchOptions, positions: &[Position]) -> anyhow::Result<Vec<Vec<Position>>> {
    let (count, partitions) = (options.consumers as usize, positions.len());
    ensure!(count <= partitions, "--consumers {count}: there are only {partitions} partitions to share out");
    Ok((0..count).map(|index| positions.iter().skip(index).step_by(count).copied().collect()).collect())
}
