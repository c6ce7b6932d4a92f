//! From publishing to delivery: producers at a given rate, and consumers that follow them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::ensure;
use corelog::protocol::messages::list_offsets::LATEST_TIMESTAMP;

use super::consume::{consumers, tail_positions};
use super::consumer::{Consumer, Counting};
use super::produce::{Progress, note_behind, producers, shape, track, workers};
use super::{Plan, Worker, deliver, measure};
use crate::client::cluster::Cluster;
use crate::clock;
use crate::load::{Interrupt, Load};
use crate::measure::{Recorder, Track};
use crate::options::{Acks, EndToEndOptions};
use crate::report::Report;
use crate::stamp::STAMP_BYTES;

/// How long deliveries are waited for after the last acknowledgement.
const DELIVERY_DEADLINE: Duration = Duration::from_secs(10);
/// Records of a batch when not told: a batch waits for nothing.
const RECORDS_PER_BATCH: u32 = 1;

/// Runs the workload.
///
/// # Errors
/// When it cannot start, or the figures cannot be written.
pub fn end_to_end(options: &EndToEndOptions, command: &[String], interrupt: &Interrupt) -> anyhow::Result<Report> {
    let mut producer_options = options.producer.clone();
    producer_options.records_per_batch.get_or_insert(RECORDS_PER_BATCH);
    producer_options.check()?;
    ensure!(producer_options.acks != Acks::None, "end-to-end needs acknowledgements, to know what has to be delivered");
    ensure!(
        producer_options.record_bytes >= STAMP_BYTES,
        "--record-bytes {}: the time takes {STAMP_BYTES} of each record",
        producer_options.record_bytes
    );
    let mut cluster = Cluster::connect(&options.broker.bootstrap)?;
    let topic =
        cluster.topic_or_create(&options.broker.topic, options.topic.partitions, options.topic.replication_factor)?;
    let run_id = run_id();
    let rate = Some(options.rate);
    let shape = shape(&producer_options, Some(run_id));
    let producers = producers(&producer_options, &shape, rate, options.length.records, &topic, &mut cluster)?;
    let positions = tail_positions(&cluster.offsets(&topic, LATEST_TIMESTAMP)?);
    let consumers = consumers(&options.fetch, &positions, &topic, &cluster)?;

    let load = Load::new(options.length.warm_up(), options.length.duration(), interrupt);
    let progress = Progress::new(producers.len());
    let published = track(&producer_options, rate, &load);
    let delivered = Track {
        name: "deliver",
        latency_of: Some("of each record, from when it was meant to be sent to the fetch that brought it"),
        has_values: true,
        recorders: consumers.iter().map(|_| Recorder::new(load.measured_from())).collect(),
    };
    let following =
        Following { load: &load, progress: &progress, delivered: AtomicU64::new(0), all_sent: Mutex::default() };
    let counting = Counting::Stamped { run: run_id, start: load.start() };
    let mut all: Vec<Worker<'_>> = workers(producers, &published, &load, &progress);
    for (consumer, recorder) in consumers.into_iter().zip(&delivered.recorders) {
        let (following, recorder) = (&following, recorder.clone());
        all.push(Box::new(move || following.follow(consumer, counting, &recorder)));
    }
    let plan = Plan {
        workload: "end-to-end",
        command,
        rate,
        cluster: &cluster,
        broker: &options.broker,
        output: &options.output,
    };
    let measured = measure(&plan, &load, &[published.clone(), delivered.clone()], all, |load| {
        note_behind(load, &progress, rate);
        following.note_undelivered();
    });
    deliver(measured, &options.output)
}

/// What consumers of one load share.
struct Following<'a> {
    load: &'a Load,
    progress: &'a Progress,
    delivered: AtomicU64,
    /// When the last producer ended.
    all_sent: Mutex<Option<Instant>>,
}

impl Following<'_> {
    fn follow(&self, consumer: Consumer, counting: Counting, recorder: &Recorder) {
        let count = |records| {
            self.delivered.fetch_add(records, Ordering::Relaxed);
        };
        if let Err(error) = consumer.run(counting, self.load.start(), recorder, |now| self.is_over(now), count) {
            self.load.fail(format!("{error:#}"));
        }
    }

    /// Whether all that was acknowledged has been delivered, or is waited for no longer.
    fn is_over(&self, now: Instant) -> bool {
        if self.load.is_cut_short() {
            return true;
        }
        let Some(acknowledged) = self.progress.final_count() else { return false };
        if self.delivered.load(Ordering::Relaxed) >= acknowledged {
            return true;
        }
        let since = *self.all_sent.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(now);
        now.saturating_duration_since(since) > DELIVERY_DEADLINE
    }

    fn note_undelivered(&self) {
        let Some(acknowledged) = self.progress.final_count() else { return };
        let delivered = self.delivered.load(Ordering::Relaxed);
        if self.load.is_cut_short() {
            return;
        }
        if delivered < acknowledged {
            let missing = acknowledged - delivered;
            let seconds = DELIVERY_DEADLINE.as_secs();
            self.load.note(format!("{missing} acknowledged records were not delivered within {seconds} s"));
        } else if delivered > acknowledged {
            self.load.note(format!("{} records were delivered more than once", delivered - acknowledged));
        }
    }
}

/// A number that no other run has: the time and the process.
fn run_id() -> u64 {
    (clock::unix_ms() as u64) << 22 ^ u64::from(std::process::id())
}
