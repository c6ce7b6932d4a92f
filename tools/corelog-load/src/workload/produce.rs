//! Producers, at a given rate or as fast as the broker takes it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::ensure;
use corelog::protocol::ApiKey;

use super::producer::{Manner, Producer};
use super::{Measured, Plan, Worker, librdkafka, measure, rate_search, target_or_create};
use crate::batches::{BatchSource, Shape};
use crate::client::cluster::Cluster;
use crate::client::target::Target;
use crate::keys::KeyKind;
use crate::load::{Interrupt, Load};
use crate::measure::{Recorder, Track};
use crate::options::{Acks, Client, LengthOptions, ProduceOptions, ProducerOptions};
use crate::report::Report;
use crate::schedule::Schedule;

/// A load may be so much behind its schedule in the end, as a share of its length: a stall just before the end is none.
const BEHIND_SHARE_MAX: f64 = 0.05;
/// And at least so much.
const BEHIND_MIN: Duration = Duration::from_millis(250);

/// Runs the workload.
///
/// # Errors
/// When it cannot start, or the figures cannot be written.
pub fn produce(options: &ProduceOptions, command: &[String], interrupt: &Interrupt) -> anyhow::Result<Report> {
    options.producer.check()?;
    rate_search::run(&options.rate, None, &options.output, interrupt, |rate| once(options, rate, command, interrupt))
}

fn once(
    options: &ProduceOptions,
    rate: Option<f64>,
    command: &[String],
    interrupt: &Interrupt,
) -> anyhow::Result<Measured> {
    let mut cluster = Cluster::connect(&options.broker.bootstrap)?;
    let target = target_or_create(&mut cluster, &options.broker, &options.topic)?;
    if options.client == Client::Librdkafka {
        return librdkafka::produce(options, rate, command, interrupt, &cluster, &target);
    }
    let shape = shape(&options.producer, rate, None)?;
    let producers = producers(&options.producer, &shape, rate, options.length.records, &target, &mut cluster)?;
    // All that takes time is done: the load's clock starts.
    let load = load(&options.length, interrupt);
    let track = track(&options.producer, rate, &load);
    let progress = Progress::new(producers.len());
    let workers = workers(producers, &track, &load, &progress, Producer::run);
    let plan = Plan {
        workload: "produce",
        command,
        rate,
        cluster: &cluster,
        broker: &options.broker,
        output: &options.output,
    };
    Ok(measure(&plan, &load, &[track], workers, |load| note_behind(load, &progress, rate)))
}

/// A load with producers, of this length.
pub(super) fn load(length: &LengthOptions, interrupt: &Interrupt) -> Load {
    let load = Load::new(length.warm_up(), length.duration(), interrupt);
    match length.records {
        Some(records) => load.expecting(records),
        None => load,
    }
}

/// What batches are like, stamped by a run or not.
///
/// # Errors
/// When they are to linger, and there is no rate.
pub(super) fn shape(options: &ProducerOptions, rate: Option<f64>, stamped_by: Option<u64>) -> anyhow::Result<Shape> {
    let in_time = match (options.linger, rate) {
        (Some(linger), Some(rate)) => Schedule::lingering(rate, options.producers, linger),
        (None, _) => u32::MAX,
        (Some(_), None) => {
            ensure!(rate.is_some(), "--linger needs --rate: without one a batch is full at once");
            u32::MAX
        }
    };
    Ok(Shape {
        sizes: options.record_bytes,
        records_per_batch: options.records_per_batch().min(in_time),
        batch_bytes: options.batch_bytes(),
        compression: options.compression.compression(),
        keys: options.keys,
        payload: options.payload.clone(),
        stamped_by,
    })
}

/// Producers, connected and with their batches ready.
///
/// # Errors
/// When the payload cannot be had, the broker gives no producer id, or a leader does not answer.
pub(super) fn producers(
    options: &ProducerOptions,
    shape: &Shape,
    rate: Option<f64>,
    records: Option<u64>,
    target: &Arc<Target>,
    cluster: &mut Cluster,
) -> anyhow::Result<Vec<Producer>> {
    let manner = Manner {
        version: cluster.version(ApiKey::Produce)?,
        acks: options.acks,
        in_flight: usize::from(options.in_flight),
        connections: usize::from(options.connections),
    };
    let producer = |index| {
        let partitions = partitions_of(index, options, target.len());
        let id = if options.idempotent { Some(cluster.producer_id()?) } else { None };
        // With keys the partitions are all of them, in their order.
        let source = BatchSource::new(shape, index, partitions.clone(), target.topics().to_vec(), id)?;
        let schedule = Schedule::new(rate, u64::from(shape.records_per_batch), index, options.producers);
        let schedule = if options.linger.is_some() { schedule.one_by_one() } else { schedule };
        let quota = records.map(|records| share(records, index, options.producers));
        Producer::open(target, &partitions, manner, source, schedule, quota)
    };
    (0..options.producers).map(producer).collect()
}

/// What the producers of a load note.
pub(super) fn track(options: &ProducerOptions, rate: Option<f64>, load: &Load) -> Track {
    Track {
        name: "produce",
        latency_of: match (options.acks, rate) {
            (Acks::None, _) => None,
            (_, Some(_)) => Some("of each request, from when it was meant to be sent to its acknowledgement"),
            (_, None) => Some("of each request, from its sending to its acknowledgement"),
        },
        has_values: true,
        recorders: (0..options.producers).map(|_| Recorder::new(load.measured_from())).collect(),
    }
}

/// How far the producers of a load have come.
#[derive(Debug)]
pub(super) struct Progress {
    acknowledged: AtomicU64,
    sums: Mutex<Sums>,
}

#[derive(Debug)]
struct Sums {
    /// Producers that still send, or failed.
    open: usize,
    behind: Duration,
}

impl Progress {
    /// Of so many producers.
    pub fn new(producers: usize) -> Progress {
        let sums = Sums { open: producers, behind: Duration::ZERO };
        Progress { acknowledged: AtomicU64::new(0), sums: Mutex::new(sums) }
    }

    /// Notes that a producer has ended well, so much behind its schedule.
    pub fn end(&self, behind: Duration) {
        let mut sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        sums.open -= 1;
        sums.behind = sums.behind.max(behind);
    }

    /// Notes that records were acknowledged.
    pub fn acknowledge(&self, records: u64) {
        self.acknowledged.fetch_add(records, Ordering::Relaxed);
    }

    /// The records that were acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed)
    }

    /// The records that were acknowledged, when all producers have ended well.
    pub fn final_count(&self) -> Option<u64> {
        let sums = self.sums.lock().unwrap_or_else(PoisonError::into_inner);
        (sums.open == 0).then(|| self.acknowledged())
    }

    /// The most that a producer was behind its schedule.
    fn behind(&self) -> Duration {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner).behind
    }
}

/// The work of the producers' threads. `run` is what a producer does, its own client's or librdkafka's; it tells how far the
/// producer was behind its schedule in the end.
pub(super) fn workers<'a, P: Send + 'a>(
    producers: Vec<P>,
    track: &Track,
    load: &'a Load,
    progress: &'a Progress,
    run: fn(P, &Load, &Recorder, &Progress) -> anyhow::Result<Duration>,
) -> Vec<Worker<'a>> {
    let worker = |(producer, recorder): (P, &Arc<Recorder>)| -> Worker<'a> {
        let recorder = recorder.clone();
        Box::new(move || match run(producer, load, &recorder, progress) {
            Ok(behind) => progress.end(behind),
            Err(error) => load.fail(format!("{error:#}")),
        })
    };
    producers.into_iter().zip(&track.recorders).map(worker).collect()
}

/// Notes when the rate that was asked for was not reached.
pub(super) fn note_behind(load: &Load, progress: &Progress, rate: Option<f64>) {
    let behind = progress.behind();
    let Some(rate) = rate else { return };
    let length = load.end().unwrap_or_else(crate::clock::now).saturating_duration_since(load.start());
    if !load.is_cut_short() && behind > length.mul_f64(BEHIND_SHARE_MAX).max(BEHIND_MIN) {
        load.note(format!(
            "{rate} records/s were not reached: in the end the load was {:.1} s behind its schedule, and the latencies \
             are those of a growing queue",
            behind.as_secs_f64()
        ));
    }
}

/// The partitions that a producer fills: all with keys; else those that are its turn, or one that it shares.
pub(super) fn partitions_of(producer: u64, options: &ProducerOptions, partitions: usize) -> Vec<usize> {
    let (producer, producers) = (producer as usize, options.producers as usize);
    if options.keys != KeyKind::None {
        (0..partitions).collect()
    } else if producers >= partitions {
        vec![producer % partitions]
    } else {
        (producer..partitions).step_by(producers).collect()
    }
}

/// One producer's share of the records.
pub(super) fn share(records: u64, producer: u64, producers: u64) -> u64 {
    records / producers + u64::from(producer < records % producers)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::options::{Command, CommandLine};

    fn options(line: &str) -> ProducerOptions {
        let line = format!("corelog-load produce {line}");
        match CommandLine::parse_from(line.split_whitespace()).command {
            Command::Produce(options) => options.producer,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn partitions_are_shared_out() {
        let three = options("--producers 3");
        assert_eq!([0, 1, 2].map(|producer| partitions_of(producer, &three, 5)), [vec![0, 3], vec![1, 4], vec![2]]);
        assert_eq!([0, 1, 2].map(|producer| partitions_of(producer, &three, 2)), [vec![0], vec![1], vec![0]]);
        assert_eq!(partitions_of(2, &options("--producers 3 --keys zipf:9"), 3), [0, 1, 2]);
    }

    #[test]
    fn shares_add_up() {
        for (records, producers) in [(10, 3), (2, 5), (0, 1), (9, 9)] {
            assert_eq!((0..producers).map(|producer| share(records, producer, producers)).sum::<u64>(), records);
        }
    }
}
