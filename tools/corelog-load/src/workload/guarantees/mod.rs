//! The delivery guarantees, tried: a producer and a consumer, each a process of its own, and SIGKILL for them and for the
//! broker at random moments. What is left is counted, record by record.
//!
//! | module | what it is |
//! | --- | --- |
//! | `settings` | what a client is started with |
//! | `notes` | what a client did, kept where its death cannot reach it |
//! | `producer`, `consumer` | the clients |
//! | `transactional` | the producer where the broker serves transactions |
//! | `children` | their processes |
//! | `account` | what the notes add up to |
//!
//! What each mode promises:
//!
//! | mode | promise | allowed |
//! | --- | --- | --- |
//! | at-most-once | nothing is processed twice | losses |
//! | at-least-once | nothing that was acknowledged is lost | duplicates |
//! | exactly-once | neither | |
//!
//! Exactly-once is built on transactions where the broker serves them. Where it does not, the table says so, and another
//! one is tried: an idempotent producer whose id, epoch and sequence numbers outlive its process. That is called
//! **exactly-once (idempotent session)**, because it has no fencing: two lives of one producer at a time would break it.
//! In both the consumer keeps its offset beside its results.

mod account;
mod children;
mod consumer;
mod notes;
mod producer;
mod settings;
mod transactional;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use corelog::protocol::messages::list_offsets::LATEST_TIMESTAMP;

use super::{Measured, Plan, Worker, deliver, measure, resilient, run_id};
use crate::broker_control::{BrokerControl, moments};
use crate::client::cluster::Cluster;
use crate::client::transactions;
use crate::clock;
use crate::live::tell;
use crate::load::{Interrupt, Load};
use crate::measure::{Recorder, Track};
use crate::options::{GuaranteesClientOptions, GuaranteesOptions, Mode, Role};
use crate::random::Random;
use crate::report::{Guarantee, Report};

use account::Account;
use children::ChildClient;
use settings::Settings;

/// What the exactly-once mode that is built without transactions is called.
const IDEMPOTENT_SESSION: &str = "exactly-once (idempotent session)";
/// How often notes are read and clients looked after.
const POLL_EVERY: Duration = Duration::from_millis(20);
/// How long a killed client stays dead, at most.
const DEAD_MAX: Duration = Duration::from_millis(200);
/// A log that has not grown for so long has ended: with acks 0, what was sent last may still be on its way.
const SETTLED: Duration = Duration::from_millis(300);

/// What a client does that this tool started.
///
/// # Errors
/// When it cannot go on.
pub fn client(options: &GuaranteesClientOptions, interrupt: &Interrupt) -> anyhow::Result<()> {
    children::stop_with_parent(interrupt);
    let settings = Settings::read(&options.directory)?;
    match options.role {
        Role::Producer => producer::produce(&settings, &options.directory, interrupt),
        Role::Consumer => consumer::consume(&settings, &options.directory, interrupt),
    }
}

/// Runs the workload.
///
/// # Errors
/// When it cannot start, the broker does not stop, or the figures cannot be written.
pub fn guarantees(options: &GuaranteesOptions, command: &[String], interrupt: &Interrupt) -> anyhow::Result<Report> {
    options.records.check()?;
    options.broker.check_one_topic("guarantees")?;
    let mut broker = BrokerControl::open(&options.broker_kills, &options.broker.bootstrap, options.output.quiet)?;
    let measured = run(options, command, interrupt, broker.as_mut())?;
    let stopped = broker.map_or(Ok(()), BrokerControl::stop);
    let report = deliver(measured, &options.output)?;
    stopped?;
    Ok(report)
}

fn run(
    options: &GuaranteesOptions,
    command: &[String],
    interrupt: &Interrupt,
    broker: Option<&mut BrokerControl>,
) -> anyhow::Result<Measured> {
    let cluster = Cluster::connect(&options.broker.bootstrap)?;
    let has_transactions = transactions::are_served(cluster.versions());
    let run = run_id();
    let directory = std::env::temp_dir().join(format!("corelog-load-guarantees-{run:x}"));
    std::fs::create_dir(&directory).with_context(|| format!("create {}", directory.display()))?;

    let load = Load::new(Duration::ZERO, None, interrupt);
    let track =
        |name| Track { name, latency_of: None, has_values: true, recorders: vec![Recorder::new(load.measured_from())] };
    let tracks = [track("produce"), track("deliver")];
    let is_restarted = broker.is_some() && options.broker_kills.broker_kills > 0;
    let trial = Trial { options, load: &load, tracks: &tracks, run, directory: &directory, has_transactions };
    let mut guarantees = Vec::new();
    let results = &mut guarantees;
    let worker: Worker<'_> = Box::new(move || {
        if let Err(error) = trial.try_all(broker, results) {
            let kept = directory_hint(trial.directory);
            trial.load.fail(format!("{error:#}{kept}"));
        }
    });
    let plan = Plan {
        workload: "guarantees",
        command,
        rate: Some(options.rate),
        cluster: &cluster,
        broker: &options.broker,
        output: &options.output,
    };
    let mut measured = measure(&plan, &load, &tracks, vec![worker], |_| {});
    if is_restarted {
        measured.report.hide_broker_usage();
    }
    measured.report.guarantees = guarantees;
    if measured.report.failures.is_empty() {
        std::fs::remove_dir_all(&directory).with_context(|| format!("remove {}", directory.display()))?;
    }
    Ok(measured)
}

fn directory_hint(directory: &Path) -> String {
    format!(" (the clients' notes: {})", directory.display())
}

/// What all modes of a run share.
struct Trial<'a> {
    options: &'a GuaranteesOptions,
    load: &'a Load,
    tracks: &'a [Track; 2],
    run: u64,
    directory: &'a Path,
    /// Whether the broker serves them.
    has_transactions: bool,
}

impl Trial<'_> {
    fn try_all(&self, mut broker: Option<&mut BrokerControl>, guarantees: &mut Vec<Guarantee>) -> anyhow::Result<()> {
        clock::sleep_until(self.load.start());
        for (index, &mode) in self.options.modes.iter().enumerate() {
            if mode == Mode::ExactlyOnce && !self.has_transactions {
                guarantees.push(refused());
            }
            let seed = self.options.broker_kills.seed.wrapping_add(index as u64);
            let guarantee = self.attempt(mode, seed, broker.as_deref_mut());
            match guarantee.with_context(|| mode.name())? {
                Some(guarantee) => guarantees.push(guarantee),
                // Ctrl-C: what is half done says nothing.
                None => return Ok(()),
            }
        }
        Ok(())
    }

    /// Tries one mode; `None` after Ctrl-C.
    fn attempt(&self, mode: Mode, seed: u64, broker: Option<&mut BrokerControl>) -> anyhow::Result<Option<Guarantee>> {
        let options = self.options;
        let (settings, directory) = self.prepare(mode)?;
        self.tell(&format!("{}: to topic '{}'", mode.name(), settings.topic));
        let mut random = Random::new(seed);
        let client_moments = moments(&mut random, options.kills, options.duration);
        let broker_moments = moments(&mut random, options.broker_kills.broker_kills, options.duration);
        let start = clock::now();
        let offset = start.saturating_duration_since(self.load.start());
        let broker_kills = AtomicU32::new(0);
        let mut account = Account::new(&settings, &directory);
        let client_kills = std::thread::scope(|scope| {
            let killer = broker.map(|broker| {
                let moments: Vec<Duration> = broker_moments.iter().map(|moment| offset + *moment).collect();
                let (load, kills, mut random) = (self.load, &broker_kills, Random::new(seed ^ 1));
                scope.spawn(move || match broker.kill_at(&moments, offset + options.duration, &mut random, load) {
                    Ok(count) => kills.store(count, Ordering::Relaxed),
                    Err(error) => load.fail(format!("{error:#}")),
                })
            });
            let is_killing = || killer.as_ref().is_some_and(|killer| !killer.is_finished());
            self.live(start, &client_moments, &directory, &mut random, &mut account, is_killing)
        })?;
        if self.load.is_cut_short() {
            return Ok(None);
        }
        let guarantee = account.guarantee(client_kills, broker_kills.load(Ordering::Relaxed));
        if !guarantee.holds {
            let kept = directory_hint(&directory);
            self.load.note(format!(
                "{}: the promise is broken: {} lost, {} duplicated{kept}",
                guarantee.mode, guarantee.lost, guarantee.duplicated
            ));
            for example in account.examples() {
                self.load.note(format!("{}: {example}", guarantee.mode));
            }
        }
        Ok(Some(guarantee))
    }

    /// The topic of a mode, and the directory of its clients.
    fn prepare(&self, mode: Mode) -> anyhow::Result<(Settings, PathBuf)> {
        let options = self.options;
        let name = format!("{}-{}", options.broker.topic, mode.name());
        let mut cluster = Cluster::connect(&options.broker.bootstrap)?;
        let topic = cluster.topic_or_create(&name, options.topic.partitions, options.topic.replication_factor)?;
        let settings = Settings {
            mode,
            transactional: mode == Mode::ExactlyOnce && self.has_transactions,
            bootstrap: options.broker.bootstrap.clone(),
            group: format!("{name}-{:x}", self.run),
            topic: name,
            run: self.run,
            starts: cluster.offsets(&topic, LATEST_TIMESTAMP)?,
            rate: options.rate,
            record_bytes: options.records.record_bytes,
            records_per_batch: options.records.records_per_batch,
            in_flight: usize::from(options.records.in_flight),
            compression: options.records.compression.compression().code(),
            payload: options.records.payload.to_string(),
            processing_us: options.processing_time.as_micros() as u64,
            give_up_ms: options.broker_kills.give_up.as_millis() as u64,
        };
        let directory = self.directory.join(mode.name());
        std::fs::create_dir(&directory)
            .with_context(|| format!("create {} (is a mode named twice in --modes?)", directory.display()))?;
        settings.write(&directory)?;
        Ok((settings, directory))
    }

    /// Runs the clients, kills them, and lets them finish. How often a client was killed.
    fn live(
        &self,
        start: Instant,
        moments: &[Duration],
        directory: &Path,
        random: &mut Random,
        account: &mut Account,
        is_broker_being_killed: impl Fn() -> bool,
    ) -> anyhow::Result<u32> {
        let options = self.options;
        let mut clients =
            [ChildClient::start(Role::Producer, directory)?, ChildClient::start(Role::Consumer, directory)?];
        let end = start + options.duration;
        let mut kills = 0;
        loop {
            let next = moments.get(kills as usize).map(|moment| start + *moment);
            let until = next.unwrap_or(end).min(end);
            while clock::now() < until && !self.load.is_cut_short() {
                self.look(account, &mut clients)?;
                clock::sleep_until(until.min(clock::now() + POLL_EVERY));
            }
            if self.load.is_cut_short() {
                return Ok(kills);
            }
            if next.is_none() {
                break;
            }
            // The producer and the consumer in turn.
            let client = &mut clients[kills as usize % 2];
            client.kill()?;
            kills += 1;
            let elapsed = clock::now().saturating_duration_since(self.load.start()).as_secs_f64();
            self.tell(&format!("{elapsed:.1} s: {} killed ({kills} of {})", client.role().name(), moments.len()));
            clock::sleep_until(clock::now() + DEAD_MAX.mul_f64(random.unit()));
            client.restart()?;
        }
        while is_broker_being_killed() && !self.load.is_cut_short() {
            self.look(account, &mut clients)?;
            std::thread::sleep(POLL_EVERY);
        }
        let [mut producer, mut consumer] = clients;
        self.finish(&mut producer, account)?;
        self.settle(directory)?;
        self.finish(&mut consumer, account)?;
        Ok(kills)
    }

    /// Asks a client to stop, and waits until it has done all that is left.
    fn finish(&self, client: &mut ChildClient, account: &mut Account) -> anyhow::Result<()> {
        client.ask_to_stop();
        let mut progress = (account.progress(), clock::now());
        while !client.has_ended_well()? {
            account.read(self.load, self.tracks)?;
            if self.load.is_cut_short() {
                return Ok(());
            }
            if account.progress() != progress.0 {
                progress = (account.progress(), clock::now());
            }
            let (waited, role) = (clock::now().saturating_duration_since(progress.1), client.role().name());
            // A client gives up by itself before.
            let deadline = 2 * self.options.broker_kills.give_up + Duration::from_secs(10);
            ensure!(waited < deadline, "the {role} did nothing for {} s, and did not end", deadline.as_secs());
            std::thread::sleep(POLL_EVERY);
        }
        account.read(self.load, self.tracks)
    }

    /// Waits until the log grows no more.
    fn settle(&self, directory: &Path) -> anyhow::Result<()> {
        let Settings { bootstrap, topic, .. } = Settings::read(directory)?;
        let ends = || resilient::ends(&bootstrap, &topic, self.options.broker_kills.give_up);
        let mut before = ends()?;
        loop {
            std::thread::sleep(SETTLED);
            let now = ends()?;
            if now == before || self.load.is_cut_short() {
                return Ok(());
            }
            before = now;
        }
    }

    fn look(&self, account: &mut Account, clients: &mut [ChildClient; 2]) -> anyhow::Result<()> {
        for client in clients {
            let role = client.role().name();
            ensure!(!client.has_ended_well()?, "the {role} ended before it was told to");
        }
        account.read(self.load, self.tracks)
    }

    fn tell(&self, what: &str) {
        if !self.options.output.quiet {
            tell(what);
        }
    }
}

/// The line of the exactly-once that a broker without transactions cannot offer.
fn refused() -> Guarantee {
    let names: Vec<&str> = transactions::APIS.iter().map(|(_, name)| *name).collect();
    Guarantee {
        mode: Mode::ExactlyOnce.name().to_owned(),
        means: String::new(),
        refused: Some(format!("the broker does not serve transactions ({})", names.join(", "))),
        client_kills: 0,
        broker_kills: 0,
        sent: 0,
        acknowledged: 0,
        delivered: 0,
        lost: 0,
        duplicated: 0,
        holds: false,
    }
}
