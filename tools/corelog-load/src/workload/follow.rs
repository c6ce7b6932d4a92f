//! Producers, and consumers that follow them from the end of the topic on: all that is acknowledged has to be delivered
//! to each group of consumers.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::ensure;
use corelog::protocol::messages::list_offsets::LATEST_TIMESTAMP;

use super::consume::{consumers, offsets, tail_positions};
use super::consumer::{Consumer, Counting};
use super::produce::{Progress, load, note_behind, producers, shape, track, workers};
use super::{Measured, Plan, Worker, measure, target_or_create};
use crate::client::cluster::Cluster;
use crate::clock;
use crate::load::{Interrupt, Load};
use crate::measure::{Recorder, Track};
use crate::options::{Acks, BrokerOptions, FetchOptions, LengthOptions, OutputOptions, ProducerOptions, TopicOptions};
use crate::stamp::STAMP_BYTES;

/// How long deliveries are waited for after the last acknowledgement.
const DELIVERY_DEADLINE: Duration = Duration::from_secs(10);

/// The workload, at any rate.
pub struct Followed<'a> {
    /// Its name.
    pub workload: &'a str,
    /// Where.
    pub broker: &'a BrokerOptions,
    /// The topic.
    pub topic: &'a TopicOptions,
    /// What is produced, and how.
    pub producer: &'a ProducerOptions,
    /// How it is read.
    pub fetch: &'a FetchOptions,
    /// Groups of consumers.
    pub fan_out: u64,
    /// How long.
    pub length: &'a LengthOptions,
    /// What becomes of the figures.
    pub output: &'a OutputOptions,
}

impl Followed<'_> {
    /// Refuses what cannot be.
    ///
    /// # Errors
    /// When something cannot.
    pub fn check(&self) -> anyhow::Result<()> {
        self.producer.check()?;
        let workload = self.workload;
        ensure!(
            self.producer.acks != Acks::None,
            "{workload} needs acknowledgements, to know what has to be delivered"
        );
        let smallest = self.producer.record_bytes.min();
        ensure!(smallest >= STAMP_BYTES, "--record-bytes {smallest}: the time takes {STAMP_BYTES} of each record");
        Ok(())
    }
}

/// Runs the workload once. With a rate each delivered record has a latency.
///
/// # Errors
/// When it cannot start.
pub fn once(
    followed: &Followed<'_>,
    rate: Option<f64>,
    command: &[String],
    interrupt: &Interrupt,
) -> anyhow::Result<Measured> {
    let mut cluster = Cluster::connect(&followed.broker.bootstrap)?;
    let target = target_or_create(&mut cluster, followed.broker, followed.topic)?;
    let run_id = run_id();
    // At full speed batches are encoded beforehand, and say nothing of when they are sent.
    let shape = shape(followed.producer, rate, rate.map(|_| run_id))?;
    let producers = producers(followed.producer, &shape, rate, followed.length.records, &target, &mut cluster)?;
    let positions = tail_positions(&offsets(&mut cluster, &target, LATEST_TIMESTAMP)?);
    let mut groups = Vec::new();
    for _ in 0..followed.fan_out {
        groups.extend(consumers(followed.fetch, &positions, &target, &cluster)?);
    }

    let load = load(followed.length, interrupt);
    let progress = Progress::new(producers.len());
    let published = track(followed.producer, rate, &load);
    let delivered = Track {
        name: "deliver",
        latency_of: rate.map(|_| "of each record, from when it was meant to be sent to the fetch that brought it"),
        has_values: rate.is_some(),
        recorders: groups.iter().map(|_| Recorder::new(load.measured_from())).collect(),
    };
    let following = Following {
        load: &load,
        progress: &progress,
        fan_out: followed.fan_out,
        delivered: AtomicU64::new(0),
        all_sent: Mutex::default(),
    };
    let counting = match rate {
        Some(_) => Counting::Stamped { run: run_id, start: load.start() },
        None => Counting::Batches,
    };
    let mut all: Vec<Worker<'_>> = workers(producers, &published, &load, &progress);
    for (consumer, recorder) in groups.into_iter().zip(&delivered.recorders) {
        let (following, recorder) = (&following, recorder.clone());
        all.push(Box::new(move || following.follow(consumer, counting, &recorder)));
    }
    let plan = Plan {
        workload: followed.workload,
        command,
        rate,
        cluster: &cluster,
        broker: followed.broker,
        output: followed.output,
    };
    Ok(measure(&plan, &load, &[published.clone(), delivered.clone()], all, |load| {
        note_behind(load, &progress, rate);
        following.note_undelivered();
    }))
}

/// What consumers of one load share.
struct Following<'a> {
    load: &'a Load,
    progress: &'a Progress,
    fan_out: u64,
    delivered: AtomicU64,
    /// When the last producer ended.
    all_sent: Mutex<Option<Instant>>,
}

impl Following<'_> {
    fn follow(&self, consumer: Consumer, counting: Counting, recorder: &Recorder) {
        let count = |records| {
            let delivered = self.delivered.fetch_add(records, Ordering::Relaxed) + records;
            self.load.set_lag((self.progress.acknowledged() * self.fan_out).saturating_sub(delivered));
        };
        if let Err(error) = consumer.run(counting, self.load.start(), recorder, |now| self.is_over(now), count) {
            self.load.fail(format!("{error:#}"));
        }
    }

    /// Records that have to be delivered in all, when all producers have ended well.
    fn owed(&self) -> Option<u64> {
        Some(self.progress.final_count()? * self.fan_out)
    }

    /// Whether all that was acknowledged has been delivered, or is waited for no longer.
    fn is_over(&self, now: Instant) -> bool {
        if self.load.is_cut_short() {
            return true;
        }
        let Some(owed) = self.owed() else { return false };
        if self.delivered.load(Ordering::Relaxed) >= owed {
            return true;
        }
        let since = *self.all_sent.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(now);
        now.saturating_duration_since(since) > DELIVERY_DEADLINE
    }

    fn note_undelivered(&self) {
        let Some(owed) = self.owed() else { return };
        let delivered = self.delivered.load(Ordering::Relaxed);
        if self.load.is_cut_short() {
            return;
        }
        if delivered < owed {
            let (missing, seconds) = (owed - delivered, DELIVERY_DEADLINE.as_secs());
            self.load.note(format!("{missing} acknowledged records were not delivered within {seconds} s"));
        } else if delivered > owed {
            self.load.note(format!("{} records were delivered more than once", delivered - owed));
        }
    }
}

/// A number that no other run has: the time and the process.
fn run_id() -> u64 {
    (clock::unix_ms() as u64) << 22 ^ u64::from(std::process::id())
}
