//! What becomes of every record while the broker is killed: numbered records, checked as they come back and once more
//! from the beginning.
//!
//! | module | what it is |
//! | --- | --- |
//! | `producer`, `consumer` | one producer's thread, and one consumer's |
//! | `books` | what threads tell of records, by partition |
//!
//! A run that fills a disk is ended by the broker's error: at full speed some hundred gigabytes an hour are usual, so a
//! long run is one with a rate, or with a topic whose retention is bounded.

mod books;
mod consumer;
mod producer;

use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::ensure;
use corelog::protocol::messages::list_offsets::LATEST_TIMESTAMP;

use super::consume::tail_positions;
use super::resilient::{self, Again};
use super::{Measured, Plan, Worker, deliver, measure, run_id};
use crate::broker_control::{BrokerControl, moments};
use crate::check::numbered::NumberedBatches;
use crate::client::cluster::Cluster;
use crate::load::{Interrupt, Load};
use crate::measure::{Recorder, Track};
use crate::options::{Acks, SoakOptions};
use crate::random::Random;
use crate::report::{Check, ReadAgain, Report};
use crate::schedule::Schedule;

use books::Books;
use consumer::Consuming;
use producer::Producing;

/// How often the view is told how much is still to be delivered.
const LAG_EVERY: Duration = Duration::from_millis(200);

/// Runs the workload.
///
/// # Errors
/// When it cannot start, the broker does not stop, or the figures cannot be written.
pub fn soak(options: &SoakOptions, command: &[String], interrupt: &Interrupt) -> anyhow::Result<Report> {
    options.records.check()?;
    options.broker.check_one_topic("soak")?;
    let mut broker = BrokerControl::open(&options.kills, &options.broker.bootstrap, options.output.quiet)?;
    let measured = run(options, command, interrupt, broker.as_mut())?;
    let stopped = broker.map_or(Ok(()), BrokerControl::stop);
    let report = deliver(measured, &options.output)?;
    stopped?;
    Ok(report)
}

/// What the threads of a run share.
struct Shared<'a> {
    options: &'a SoakOptions,
    load: &'a Load,
    books: Books,
    /// The run, and the offsets at which it began.
    run: u64,
    starts: Vec<i64>,
    /// Producers that are not done.
    producing: AtomicUsize,
    /// Threads that are not done, other than the one that watches them.
    working: AtomicUsize,
    /// Where each partition ends, when all producers are done.
    ends: OnceLock<Vec<i64>>,
}

fn run(
    options: &SoakOptions,
    command: &[String],
    interrupt: &Interrupt,
    broker: Option<&mut BrokerControl>,
) -> anyhow::Result<Measured> {
    let mut cluster = Cluster::connect(&options.broker.bootstrap)?;
    let topic =
        cluster.topic_or_create(&options.broker.topic, options.topic.partitions, options.topic.replication_factor)?;
    let starts = cluster.offsets(&topic, LATEST_TIMESTAMP)?;
    let run = run_id();
    let mut producers = Vec::new();
    for index in 0..options.producers {
        let records = &options.records;
        let batches = NumberedBatches::new(
            run,
            index,
            records.record_bytes,
            records.compression.compression(),
            &records.payload,
        )?;
        let producer_id = if options.idempotent { Some(cluster.producer_id()?) } else { None };
        producers.push((index, batches, producer_id));
    }
    let (consumers, partitions) = (options.fetch.consumers as usize, starts.len());
    ensure!(
        consumers <= partitions,
        "--consumers {consumers}: topic '{}' has only {partitions} partitions",
        topic.name
    );

    let load = Load::new(Duration::ZERO, Some(options.duration), interrupt);
    let recorders = |count: usize| (0..count).map(|_| Recorder::new(load.measured_from())).collect::<Vec<_>>();
    let published = Track {
        name: "produce",
        latency_of: Some(match options.rate {
            Some(_) => "of each batch, from when it was meant to be sent to its acknowledgement, resends included",
            None => "of each batch, from its first sending to its acknowledgement, resends included",
        }),
        has_values: true,
        recorders: recorders(producers.len()),
    };
    let delivered = Track {
        name: "deliver",
        latency_of: Some("of each record, from when it was meant to be sent to the fetch that brought it"),
        has_values: true,
        recorders: recorders(consumers),
    };
    let shared = Shared {
        options,
        load: &load,
        books: Books::new(starts.len()),
        run,
        starts,
        producing: AtomicUsize::new(producers.len()),
        working: AtomicUsize::new(producers.len() + consumers),
        ends: OnceLock::new(),
    };
    let mut workers: Vec<Worker<'_>> = Vec::new();
    for ((index, batches, producer_id), recorder) in producers.into_iter().zip(&published.recorders) {
        let partitions = partitions_of(index as usize, options.producers as usize, topic.leaders.len());
        let per_batch = u64::from(options.records.records_per_batch);
        let schedule = Schedule::new(options.rate, per_batch, u64::from(index), u64::from(options.producers));
        let producing = Producing::new(index, batches, producer_id, partitions, schedule);
        let (shared, recorder) = (&shared, recorder.clone());
        workers.push(Box::new(move || {
            shared.end(producing.run(shared, &recorder));
            shared.end_producer();
        }));
    }
    let positions = tail_positions(&shared.starts);
    for (index, recorder) in delivered.recorders.iter().enumerate() {
        let own = positions.iter().skip(index).step_by(consumers).copied().collect();
        let consuming = Consuming::new(&shared, own);
        let (shared, recorder) = (&shared, recorder.clone());
        workers.push(Box::new(move || shared.end(consuming.tail(shared, &recorder))));
    }
    let kills = AtomicUsize::new(0);
    let is_restarted = broker.is_some() && options.kills.broker_kills > 0;
    if let Some(broker) = broker {
        let mut random = Random::new(options.kills.seed);
        let moments = moments(&mut random, options.kills.broker_kills, options.duration);
        let (kills, load) = (&kills, &load);
        workers.push(Box::new(move || match broker.kill_at(&moments, options.duration, &mut random, load) {
            Ok(count) => kills.store(count as usize, Ordering::Relaxed),
            Err(error) => load.fail(format!("{error:#}")),
        }));
    }
    workers.push(Box::new(|| shared.watch()));

    let plan = Plan {
        workload: "soak",
        command,
        rate: options.rate,
        cluster: &cluster,
        broker: &options.broker,
        output: &options.output,
    };
    let tracks = [published.clone(), delivered.clone()];
    let mut check = Check::default();
    let mut measured = measure(&plan, &load, &tracks, workers, |_| {
        check = shared.conclude();
        check.broker_kills = kills.load(Ordering::Relaxed) as u32;
    });
    if is_restarted {
        measured.report.hide_broker_usage();
    }
    measured.report.check = Some(check);
    Ok(measured)
}

impl Shared<'_> {
    /// A thread is done.
    fn end(&self, outcome: anyhow::Result<Again>) {
        match outcome {
            Ok(again) => self.books.add_again(again),
            Err(error) => self.load.fail(format!("{error:#}")),
        }
        self.working.fetch_sub(1, Ordering::Release);
    }

    /// A producer is done; behind the last one the logs end.
    fn end_producer(&self) {
        if self.producing.fetch_sub(1, Ordering::AcqRel) > 1 || self.load.is_cut_short() {
            return;
        }
        // The broker may be on its way up again.
        let options = self.options;
        match resilient::ends(&options.broker.bootstrap, &options.broker.topic, options.kills.give_up) {
            Ok(ends) => {
                self.ends.get_or_init(|| ends);
            }
            Err(error) => self.load.fail(format!("where the log ends: {error:#}")),
        }
    }

    /// Tells the view how much is still to be delivered, while there is anybody who delivers.
    fn watch(&self) {
        while self.working.load(Ordering::Acquire) > 0 {
            self.load.set_lag(self.books.lag());
            std::thread::sleep(LAG_EVERY);
        }
        self.load.set_lag(self.books.lag());
    }

    /// What became of the records: counts, and failures for what should not be.
    fn conclude(&self) -> Check {
        let is_cut_short = self.load.is_cut_short();
        let mut check = if is_cut_short { self.books.check_cut_short() } else { self.books.check() };
        self.note(&check, "", is_cut_short);
        // After a failure too, of which it may tell more, unless the broker itself has failed.
        let answers = || !is_cut_short || Cluster::connect(&self.options.broker.bootstrap).is_ok();
        if !self.options.reads_again() || self.load.is_interrupted() || !answers() {
            return check;
        }
        if !self.options.output.quiet {
            let _unseen = writeln!(std::io::stderr(), "reading everything again from the beginning");
        }
        self.books.forget_deliveries();
        match Consuming::new(self, tail_positions(&self.starts)).read_again(self) {
            Ok(again) => {
                check.retries += again.retries;
                check.reconnects += again.reconnects;
                let found = self.books.check();
                self.note(&found, "when read again: ", false);
                check.read_again = Some(ReadAgain {
                    records: found.delivered,
                    lost: found.lost,
                    duplicated: found.duplicated,
                    reordered: found.reordered,
                    corrupted: found.corrupted,
                });
            }
            Err(error) => self.load.fail(format!("reading everything again: {error:#}")),
        }
        check
    }

    /// Notes each kind of fault, and examples.
    fn note(&self, check: &Check, when: &str, is_cut_short: bool) {
        let duplicated = if self.options.idempotent { check.duplicated } else { 0 };
        let reordered = if self.options.keeps_order() { check.reordered } else { 0 };
        let faults = [
            (check.lost, "acknowledged records were lost"),
            (duplicated, "times a record came again"),
            (reordered, "records came behind a later one"),
            (check.corrupted, "records or batches were not what had been sent"),
        ];
        for (count, what) in faults.iter().filter(|(count, _)| *count > 0) {
            self.load.note(format!("{when}{count} {what}"));
        }
        if faults.iter().any(|(count, _)| *count > 0) && !is_cut_short {
            for example in self.books.examples() {
                self.load.note(format!("{when}{example}"));
            }
        }
    }
}

/// The partitions that a producer fills: those that are its turn, or one that it shares.
fn partitions_of(producer: usize, producers: usize, partitions: usize) -> Vec<usize> {
    if producers >= partitions {
        vec![producer % partitions]
    } else {
        (producer..partitions).step_by(producers).collect()
    }
}

/// How producers of a run send.
fn producer_manner(options: &SoakOptions) -> resilient::producer::Manner {
    resilient::producer::Manner {
        bootstrap: options.broker.bootstrap.clone(),
        topic: options.broker.topic.clone(),
        acks: Acks::All,
        in_flight: usize::from(options.records.in_flight),
        give_up: options.kills.give_up,
    }
}

/// How its consumers read.
fn consumer_manner(options: &SoakOptions) -> resilient::consumer::Manner {
    resilient::consumer::Manner {
        bootstrap: options.broker.bootstrap.clone(),
        topic: options.broker.topic.clone(),
        fetch: options.fetch.clone(),
        committed_only: false,
        give_up: options.kills.give_up,
    }
}
