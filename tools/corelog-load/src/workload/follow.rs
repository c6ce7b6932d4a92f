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
use super::producer::Producer;
use super::{Measured, Plan, Worker, librdkafka, measure, run_id, target_or_create};
use crate::client::cluster::Cluster;
use crate::load::{Interrupt, Load};
use crate::measure::{Recorder, Track};
use crate::options::{
    Acks, BrokerOptions, Client, FetchOptions, LengthOptions, OutputOptions, ProducerOptions, TopicOptions,
};
use crate::stamp::STAMP_BYTES;

/// How long deliveries are waited for after the last acknowledgement.
const DELIVERY_DEADLINE: Duration = Duration::from_secs(10);

/// The workload, at any rate.
pub struct Followed<'a> {
    /// Its name.
    pub workload: &'a str,
    /// Where.
    pub broker: &'a BrokerOptions,
    /// The client.
    pub client: Client,
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

impl Followed<'_> {
    /// The consumers of all groups.
    fn groups<C>(&self, mut group: impl FnMut() -> anyhow::Result<Vec<C>>) -> anyhow::Result<Vec<C>> {
        let mut all = Vec::new();
        for _ in 0..self.fan_out {
            all.extend(group()?);
        }
        Ok(all)
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
    // At full speed records are made beforehand, and say nothing of when they are sent.
    let stamped_by = rate.map(|_| run_id);
    let positions = tail_positions(&offsets(&mut cluster, &target, LATEST_TIMESTAMP)?);
    let (records, bootstrap) = (followed.length.records, &followed.broker.bootstrap);
    let clients = match followed.client {
        Client::Own => {
            let shape = shape(followed.producer, rate, stamped_by)?;
            let producers = producers(followed.producer, &shape, rate, records, &target, &mut cluster)?;
            Clients::Own(producers, followed.groups(|| consumers(followed.fetch, &positions, &target, &cluster))?)
        }
        Client::Librdkafka => Clients::Librdkafka(
            librdkafka::producers(bootstrap, followed.producer, &target, rate, records, stamped_by)?,
            followed.groups(|| librdkafka::consumers(bootstrap, followed.fetch, &positions, &target))?,
        ),
    };

    let load = load(followed.length, interrupt);
    let progress = Progress::new(followed.producer.producers as usize);
    let published = match followed.client {
        Client::Own => track(followed.producer, rate, &load),
        Client::Librdkafka => librdkafka::track(followed.producer, rate, &load),
    };
    let consumer_count = followed.fan_out * followed.fetch.consumers;
    let delivered = Track {
        name: "deliver",
        latency_of: rate.map(|_| match followed.client {
            Client::Own => "of each record, from when it was meant to be sent to the fetch that brought it",
            Client::Librdkafka => "of each record, from when it was meant to be sent to when librdkafka delivered it",
        }),
        has_values: rate.is_some() || followed.client == Client::Librdkafka,
        recorders: (0..consumer_count).map(|_| Recorder::new(load.measured_from())).collect(),
    };
    let following = Following {
        load: &load,
        progress: &progress,
        fan_out: followed.fan_out,
        delivered: AtomicU64::new(0),
        all_sent: Mutex::default(),
    };
    let mut all: Vec<Worker<'_>>;
    match clients {
        Clients::Own(producers, consumers) => {
            let counting = match rate {
                Some(_) => Counting::Stamped { run: run_id, start: load.start() },
                None => Counting::Batches,
            };
            all = workers(producers, &published, &load, &progress, Producer::run);
            for (consumer, recorder) in consumers.into_iter().zip(&delivered.recorders) {
                let (load, following, recorder) = (&load, &following, recorder.clone());
                let run = move |is_over: IsOver<'_>, count: Count<'_>| {
                    consumer.run(counting, load.start(), &recorder, is_over, count)
                };
                all.push(Box::new(move || following.follow(run)));
            }
        }
        Clients::Librdkafka(producers, consumers) => {
            let counting = match rate {
                Some(_) => librdkafka::Counting::Stamped(run_id),
                None => librdkafka::Counting::All,
            };
            all = workers(producers, &published, &load, &progress, librdkafka::Producer::run);
            for (consumer, recorder) in consumers.into_iter().zip(&delivered.recorders) {
                let (load, following, recorder) = (&load, &following, recorder.clone());
                let run = move |is_over: IsOver<'_>, count: Count<'_>| {
                    consumer.run(counting, load, &recorder, is_over, count)
                };
                all.push(Box::new(move || following.follow(run)));
            }
        }
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

/// The clients of a load, connected.
enum Clients {
    Own(Vec<Producer>, Vec<Consumer>),
    Librdkafka(Vec<librdkafka::Producer>, Vec<librdkafka::Consumer>),
}

/// Asked by a consumer whether nothing more is to come.
type IsOver<'a> = &'a dyn Fn(Instant) -> bool;
/// Told by a consumer how many records came.
type Count<'a> = &'a dyn Fn(u64);

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
    fn follow(&self, consume: impl FnOnce(IsOver<'_>, Count<'_>) -> anyhow::Result<()>) {
        let count = |records| {
            let delivered = self.delivered.fetch_add(records, Ordering::Relaxed) + records;
            self.load.set_lag((self.progress.acknowledged() * self.fan_out).saturating_sub(delivered));
        };
        if let Err(error) = consume(&|now| self.is_over(now), &count) {
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
