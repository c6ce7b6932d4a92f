//! Synchronous calls against a stream of events: the same orders through a service that answers each call when its order
//! is durable, and then published with many on their way. Textbooks say 1,000 calls a second against 50,000 events; here
//! both are measured, on one machine, against one broker, with the same durability.
//!
//! | module | what it is |
//! | --- | --- |
//! | `framing` | what caller and service send each other |
//! | `append` | what the service does for a call |
//! | `service`, `caller` | the two ends of a call |
//! | `join` | one report of runs that came one after the other |
//!
//! The orders of caller n and of producer n are the same, from the same seed. A producer has encoded its orders before
//! the load starts and sends them round and round, as in [`produce`](super::produce); the service encodes each when it
//! comes.

mod append;
mod caller;
mod framing;
mod join;
mod service;

use std::io::Write;
use std::sync::Arc;

use anyhow::Context;
use corelog::protocol::ApiKey;
use corelog::record::{NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE};

use self::append::{Append, Manner, batch};
use self::caller::Caller;
use self::join::{join, with_track_usage};
use self::service::{Listener, Service};
use super::produce::{Progress, load, producers, shape, share, track, workers};
use super::producer::Producer;
use super::{Measured, Plan, Worker, deliver, measure};
use crate::client::cluster::{Cluster, Topic};
use crate::client::target::Target;
use crate::load::{Failure, Interrupt, Load};
use crate::measure::{Recorder, Track};
use crate::options::{ProducerOptions, RpcVsStreamOptions};
use crate::payload::Payload;
use crate::report::{Bar, Ended, Report, bars};

/// What textbooks compare: calls a second.
const TEXTBOOK_RPC: f64 = 1000.0;
/// And events a second.
const TEXTBOOK_STREAM: f64 = 50_000.0;
/// The tracks' names.
const RPC: &str = "rpc";
const PIPELINED: &str = "pipelined";
const STREAM: &str = "stream";

/// Runs the workload. What a half measured is told even when a later one fails.
///
/// # Errors
/// When it cannot start, or the figures cannot be written.
pub fn rpc_vs_stream(
    options: &RpcVsStreamOptions,
    command: &[String],
    interrupt: &Interrupt,
) -> anyhow::Result<Report> {
    let producer = options.producer()?;
    let mut cluster = Cluster::connect(&options.broker.bootstrap)?;
    let topic =
        cluster.topic_or_create(&options.broker.topic, options.topic.partitions, options.topic.replication_factor)?;
    let halves = Halves { options, producer, topic, command, interrupt };
    let rpc = halves.rpc(cluster)?;
    let mut measured = Measured { report: with_track_usage(rpc.report), ..rpc };
    let records_per_batch = halves.producer.records_per_batch();
    let pipelined = options.pipelined.then_some((PIPELINED, 1));
    for (name, records_per_batch) in pipelined.into_iter().chain([(STREAM, records_per_batch)]) {
        if measured.report.ended != Ended::Complete {
            break;
        }
        match halves.stream(name, records_per_batch) {
            Ok(next) => {
                let latency = next.latency.or(measured.latency);
                measured = Measured { report: join(measured.report, next.report), latency, is_broken: next.is_broken };
            }
            Err(error) => {
                measured.report.failures.push(Failure { message: format!("{name}: {error:#}"), count: 1 });
                measured.report.ended = Ended::Failed;
            }
        }
    }
    let report = deliver(measured, &options.output)?;
    std::io::stdout().write_all(comparison(&report).as_bytes()).context("print the comparison")?;
    Ok(report)
}

/// What both halves have in common.
struct Halves<'a> {
    options: &'a RpcVsStreamOptions,
    producer: ProducerOptions,
    topic: Topic,
    command: &'a [String],
    interrupt: &'a Interrupt,
}

impl Halves<'_> {
    fn plan<'a>(&'a self, cluster: &'a Cluster) -> Plan<'a> {
        Plan {
            workload: "rpc-vs-stream",
            command: self.command,
            rate: None,
            cluster,
            broker: &self.options.broker,
            output: &self.options.output,
        }
    }

    fn load(&self) -> Load {
        load(&self.options.length, self.interrupt)
    }

    fn rpc(&self, mut cluster: Cluster) -> anyhow::Result<Measured> {
        let pairs: Vec<(Caller, Service)> =
            (0..self.options.callers).map(|index| self.pair(index, &mut cluster)).collect::<anyhow::Result<_>>()?;
        let load = self.load();
        let track = Track {
            name: RPC,
            latency_of: Some("of each call, from its sending to its answer, which comes when the order is durable"),
            has_values: true,
            recorders: pairs.iter().map(|_| Recorder::new(load.measured_from())).collect(),
        };
        let mut workers: Vec<Worker<'_>> = Vec::new();
        for ((caller, service), recorder) in pairs.into_iter().zip(&track.recorders) {
            let (load, recorder) = (&load, recorder.clone());
            workers.push(Box::new(move || fail_unless_well(load, service.run(load))));
            workers.push(Box::new(move || fail_unless_well(load, caller.run(load, &recorder))));
        }
        Ok(measure(&self.plan(&cluster), &load, std::slice::from_ref(&track), workers, |_| {}))
    }

    /// A caller and what serves it, connected with each other.
    fn pair(&self, index: u64, cluster: &mut Cluster) -> anyhow::Result<(Caller, Service)> {
        let options = &self.producer;
        let manner = Manner {
            version: cluster.version(ApiKey::Produce)?,
            acks: options.acks,
            compression: options.compression.compression(),
        };
        let id = if options.idempotent { Some(cluster.producer_id()?) } else { None };
        let append = Append::open(&self.topic, index as usize % self.topic.leaders.len(), manner, id)?;
        let orders = Payload::open(&options.payload, index)?;
        let mut order = Vec::new();
        orders.clone().append(&mut order, self.options.order_bytes());
        let wire_bytes = batch(&order, manner.compression, (NO_PRODUCER_ID, NO_PRODUCER_EPOCH, NO_SEQUENCE))?.len();
        let quota = self.options.length.records.map(|records| share(records, index, self.options.callers));
        let listener = Listener::open()?;
        let caller =
            Caller::connect(listener.address()?, orders, self.options.order_bytes(), wire_bytes as u64, quota)?;
        let service = listener.accept(caller.address()?, append)?;
        Ok((caller, service))
    }

    fn stream(&self, name: &'static str, records_per_batch: u32) -> anyhow::Result<Measured> {
        // Anew: while the calls went on, this connection would have been idle for longer than brokers allow.
        let mut cluster = Cluster::connect(&self.options.broker.bootstrap)?;
        let options = ProducerOptions { records_per_batch: Some(records_per_batch), ..self.producer.clone() };
        let shape = shape(&options, None, None)?;
        let target = Arc::new(Target::of(std::slice::from_ref(&self.topic)));
        let producers = producers(&options, &shape, None, self.options.length.records, &target, &mut cluster)?;
        let load = self.load();
        let track = Track { name, ..track(&options, None, &load) };
        let progress = Progress::new(producers.len());
        let workers = workers(producers, &track, &load, &progress, Producer::run);
        Ok(measure(&self.plan(&cluster), &load, std::slice::from_ref(&track), workers, |_| {}))
    }
}

fn fail_unless_well(load: &Load, outcome: anyhow::Result<()>) {
    if let Err(error) = outcome {
        load.fail(format!("{error:#}"));
    }
}

/// The rates as bars, beside the textbook's, and what they come to.
fn comparison(report: &Report) -> String {
    let bar = |label: &str, value| Bar { label: label.to_owned(), value };
    let rate = |name| {
        report
            .tracks
            .iter()
            .find(|track| track.name == name)
            .map(|track| track.records_per_second)
            .filter(|&rate| rate > 0.0)
    };
    let mut all = vec![bar("textbook rpc", TEXTBOOK_RPC), bar("textbook stream", TEXTBOOK_STREAM)];
    let measured = [RPC, PIPELINED, STREAM].into_iter().filter_map(|name| Some((name, rate(name)?)));
    all.extend(measured.map(|(name, rate)| bar(&format!("measured {name}"), rate)));
    let mut out = format!("\norders a second, on a logarithmic scale\n{}", bars(&all));
    if let (Some(rpc), Some(stream)) = (rate(RPC), rate(STREAM)) {
        out.push_str(&format!(
            "the stream carried {:.1} times as many orders a second as the RPC (textbook: {:.0} times)\n",
            stream / rpc,
            TEXTBOOK_STREAM / TEXTBOOK_RPC
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    fn report(rates: &[(&str, f64)]) -> Report {
        let mut report = sample();
        let track = report.tracks[0].clone();
        let one = |&(name, rate): &(&str, f64)| crate::report::TrackReport {
            name: name.to_owned(),
            records_per_second: rate,
            ..track.clone()
        };
        report.tracks = rates.iter().map(one).collect();
        report
    }

    #[test]
    fn the_comparison_tells_what_was_measured_and_no_more() {
        let text = comparison(&report(&[("rpc", 2000.0), ("pipelined", 20_000.0), ("stream", 500_000.0)]));
        for label in ["textbook rpc", "textbook stream", "measured rpc", "measured pipelined", "measured stream"] {
            assert!(text.contains(label), "{text}");
        }
        assert!(
            text.ends_with("the stream carried 250.0 times as many orders a second as the RPC (textbook: 50 times)\n"),
            "{text}"
        );
        let half = comparison(&report(&[("rpc", 2000.0), ("stream", 0.0)]));
        assert!(half.contains("measured rpc") && !half.contains("measured stream"), "{half}");
        assert!(!half.contains("times as many"), "{half}");
    }
}
