//! The workloads, and what running one takes whatever it is.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`produce`], [`consume`], [`end_to_end`], [`mixed`] | one each |
//! | [`rpc_vs_stream`] | synchronous calls against a stream, one after the other |
//! | [`soak`] | one that checks every record |
//! | [`guarantees`] | one that tries the delivery guarantees |
//! | `rate_search` | a workload at a given rate, or at the highest that keeps a bound |
//! | `follow` | producers with consumers that follow them |
//! | `producer`, `consumer` | one producer's thread, and one consumer's |
//! | `resilient` | producers and consumers that go on when the broker dies |
//! | `librdkafka` | producers and consumers with librdkafka as the client |

pub mod consume;
mod consumer;
pub mod end_to_end;
mod follow;
pub mod guarantees;
mod librdkafka;
pub mod mixed;
pub mod produce;
mod producer;
mod rate_search;
mod resilient;
pub mod rpc_vs_stream;
pub mod soak;

use std::io::Write;
use std::sync::Arc;

use anyhow::Context;
use hdrhistogram::Histogram;

use crate::client::cluster::{Cluster, Topic};
use crate::client::target::Target;
use crate::clock;
use crate::live::Live;
use crate::load::Load;
use crate::machine::Machine;
use crate::measure::Track;
use crate::observe::observe;
use crate::options::{BrokerOptions, OutputOptions, TopicOptions};
use crate::process::Process;
use crate::report::{self, ApiRange, Broker, Ended, Report};

/// A thread's work. What goes wrong it tells the load.
pub type Worker<'a> = Box<dyn FnOnce() + Send + 'a>;

/// What a run is told as.
pub struct Plan<'a> {
    /// The workload's name.
    pub workload: &'a str,
    /// The command line.
    pub command: &'a [String],
    /// Records a second that were asked for.
    pub rate: Option<f64>,
    /// The cluster.
    pub cluster: &'a Cluster,
    /// The broker's options.
    pub broker: &'a BrokerOptions,
    /// What becomes of the figures.
    pub output: &'a OutputOptions,
}

/// What a run measured.
pub struct Measured {
    /// The figures.
    pub report: Report,
    /// The latencies that `--hgrm` writes: of the last track that has any, which is what the others lead to.
    pub latency: Option<Histogram<u64>>,
    /// Whether something failed that ended the load, so that the same load at another rate would be in vain.
    pub is_broken: bool,
}

/// The topics that are loaded; created where they do not exist.
///
/// # Errors
/// When one cannot be created, or has another number of partitions than asked for.
pub fn target_or_create(
    cluster: &mut Cluster,
    broker: &BrokerOptions,
    topic: &TopicOptions,
) -> anyhow::Result<Arc<Target>> {
    let names = broker.topic_names();
    let topics = names.iter().map(|name| cluster.topic_or_create(name, topic.partitions, topic.replication_factor));
    Ok(Arc::new(Target::of(&topics.collect::<anyhow::Result<Vec<Topic>>>()?)))
}

/// Runs the workers on a thread each, watches them, and calls `conclude` when all have ended.
pub fn measure(
    plan: &Plan<'_>,
    load: &Load,
    tracks: &[Track],
    workers: Vec<Worker<'_>>,
    conclude: impl FnOnce(&Load),
) -> Measured {
    let started_unix_ms = clock::unix_ms();
    let process = match plan.broker.broker_pid {
        Some(id) => Some(Process(id)),
        None => Process::listening_on(plan.cluster.address()),
    };
    let mut live = Live::new(plan.output.quiet);
    let observed = std::thread::scope(|scope| {
        let threads: Vec<_> = workers.into_iter().map(|worker| scope.spawn(worker)).collect();
        observe(load, tracks, process, &mut live, || threads.iter().any(|thread| !thread.is_finished()))
    });
    conclude(load);
    let failures = load.failures();
    let reports = tracks.iter().zip(&observed.tracks);
    let report = Report {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        command: plan.command.to_vec(),
        workload: plan.workload.to_owned(),
        started_unix_ms,
        machine: Machine::this(),
        broker: Broker {
            address: plan.cluster.address().to_string(),
            process: process.and_then(|process| process.name().ok()),
            api_versions: api_ranges(plan.cluster),
        },
        rate_asked: plan.rate,
        ended: match (failures.is_empty(), load.is_interrupted()) {
            (false, _) => Ended::Failed,
            (true, true) => Ended::Interrupted,
            (true, false) => Ended::Complete,
        },
        failures,
        tracks: reports.map(|(track, split)| report::track_report(track, split, load.measured_from())).collect(),
        broker_usage: observed.broker,
        client_usage: observed.client,
        other_cores: observed.other_cores,
        series: observed.series,
        rate_search: None,
        check: None,
        guarantees: Vec::new(),
        track_usages: Vec::new(),
    };
    let with_latency = tracks.iter().zip(observed.tracks).rfind(|(track, _)| track.latency_of.is_some());
    let is_broken = load.is_cut_short() && !load.is_interrupted();
    Measured { report, latency: with_latency.map(|(_, split)| split.measured.latency), is_broken }
}

/// Prints the summary, and writes the files that were asked for.
///
/// # Errors
/// When one cannot be written.
pub fn deliver(measured: Measured, output: &OutputOptions) -> anyhow::Result<Report> {
    let Measured { report, latency, .. } = measured;
    std::io::stdout().write_all(report::table(&report).as_bytes()).context("print the summary")?;
    if let Some(path) = &output.json {
        report::write_json(&report, path)?;
    }
    if let Some(path) = &output.report {
        report::html::write_run(&report, path)?;
    }
    if let (Some(path), Some(latency)) = (&output.hgrm, latency) {
        std::fs::write(path, report::hgrm(&latency)).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(report)
}

fn api_ranges(cluster: &Cluster) -> Vec<ApiRange> {
    let range = |api: &corelog::protocol::messages::api_versions::ApiVersion| ApiRange {
        key: api.api_key,
        min: api.min_version,
        max: api.max_version,
    };
    cluster.versions().iter().map(range).collect()
}

/// A number that no other run has: the time and the process.
fn run_id() -> u64 {
    (clock::unix_ms() as u64) << 22 ^ u64::from(std::process::id())
}
