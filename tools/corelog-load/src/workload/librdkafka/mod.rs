//! The same workloads with librdkafka as the client: what an application gets, beside what the broker can do.
//!
//! | module | what it is |
//! | --- | --- |
//! | `config` | the options as librdkafka's properties |
//! | `values` | the values that a producer sends round and round |
//! | `producer`, `consumer` | one of librdkafka's clients, with the thread or threads that use it |
//!
//! A producer or consumer of the load is a client of librdkafka, with its own connections and threads. Latency is a
//! record's and not a request's. librdkafka batches as an application sees it: it sends when a batch is full, or the
//! linger time is over. All else (who fills which partition, when a record is meant to be sent, what is counted) is as
//! with this tool's own client.

mod config;
mod consumer;
mod producer;
mod values;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{anyhow, ensure};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};

use self::producer::Records;
use self::values::Values;
use super::consume::{count_delivered, load, shares};
use super::consumer::Position;
use super::produce::{self, Progress, note_behind, partitions_of, share, workers};
use super::{Measured, Plan, Worker, deliver, measure};
use crate::client::cluster::Cluster;
use crate::client::target::Target;
use crate::keys::Keys;
use crate::load::{Interrupt, Load};
use crate::measure::{Recorder, Track};
use crate::options::{Acks, ConsumeOptions, FetchOptions, ProduceOptions, ProducerOptions};
use crate::report::Report;
use crate::schedule::Schedule;

pub(super) use self::consumer::{Consumer, Counting};
pub(super) use self::producer::Producer;

/// How long librdkafka may take to connect and to learn of the topic.
const METADATA_DEADLINE: Duration = Duration::from_secs(10);

/// Runs `produce` with librdkafka.
///
/// # Errors
/// When it cannot start.
pub fn produce(
    options: &ProduceOptions,
    rate: Option<f64>,
    command: &[String],
    interrupt: &Interrupt,
    cluster: &Cluster,
    target: &Arc<Target>,
) -> anyhow::Result<Measured> {
    let (records, bootstrap) = (options.length.records, &options.broker.bootstrap);
    let producers = producers(bootstrap, &options.producer, target, rate, records, None)?;
    let load = produce::load(&options.length, interrupt);
    let track = track(&options.producer, rate, &load);
    let progress = Progress::new(producers.len());
    let workers = workers(producers, &track, &load, &progress, Producer::run);
    let plan = Plan { workload: "produce", command, rate, cluster, broker: &options.broker, output: &options.output };
    Ok(measure(&plan, &load, std::slice::from_ref(&track), workers, |load| note_behind(load, &progress, rate)))
}

/// Producers, connected and with their values ready.
///
/// # Errors
/// When librdkafka refuses, no broker answers it, or the payload cannot be had.
pub(super) fn producers(
    bootstrap: &str,
    options: &ProducerOptions,
    target: &Arc<Target>,
    rate: Option<f64>,
    records: Option<u64>,
    stamped_by: Option<u64>,
) -> anyhow::Result<Vec<Producer>> {
    let config = config::producer(bootstrap, options)?;
    let open = |index| {
        let quota = records.map(|records| share(records, index, options.producers));
        let partitions = partitions_of(index, options, target.len());
        let values = Values::new(&options.payload, index, options.record_bytes, stamped_by)?;
        let schedule = Schedule::new(rate, 1, index, options.producers);
        let keys = Keys::new(options.keys, index.wrapping_add(1));
        Producer::open(&config, options, target, &partitions, Records { values, keys, schedule, quota })
    };
    (0..options.producers).map(open).collect()
}

/// What the producers of a load note.
pub(super) fn track(options: &ProducerOptions, rate: Option<f64>, load: &Load) -> Track {
    Track {
        name: "produce",
        latency_of: match (options.acks, rate) {
            (Acks::None, _) => None,
            (_, Some(_)) => Some("of each record, from when it was meant to be sent to its delivery report"),
            (_, None) => Some("of each record, from its handing over to librdkafka to its delivery report"),
        },
        has_values: true,
        recorders: (0..options.producers).map(|_| Recorder::new(load.measured_from())).collect(),
    }
}

/// Connects the consumers, among which the partitions are shared out.
///
/// # Errors
/// When there are more of them than partitions, librdkafka refuses, or no broker answers it.
pub(super) fn consumers(
    bootstrap: &str,
    options: &FetchOptions,
    positions: &[Position],
    target: &Arc<Target>,
) -> anyhow::Result<Vec<Consumer>> {
    let config = config::consumer(bootstrap, options)?;
    shares(options, positions)?.into_iter().map(|own| Consumer::open(&config, target, own)).collect()
}

/// Runs `consume` with librdkafka.
///
/// # Errors
/// When it cannot start, or the figures cannot be written.
pub fn consume(
    options: &ConsumeOptions,
    expected: Option<u64>,
    command: &[String],
    interrupt: &Interrupt,
    cluster: &Cluster,
    target: &Arc<Target>,
    positions: &[Position],
) -> anyhow::Result<Report> {
    ensure!(!options.again, "--again: librdkafka reads a topic once");
    let consumers = consumers(&options.broker.bootstrap, &options.fetch, positions, target)?;
    let load = load(options, expected, interrupt);
    let track = Track {
        name: "consume",
        latency_of: None,
        has_values: true,
        recorders: consumers.iter().map(|_| Recorder::new(load.measured_from())).collect(),
    };
    let delivered = AtomicU64::new(0);
    let worker = |(consumer, recorder): (Consumer, &Arc<Recorder>)| -> Worker<'_> {
        let (load, delivered, recorder) = (&load, &delivered, recorder.clone());
        Box::new(move || {
            let is_enough = || options.records.is_some_and(|records| delivered.load(Ordering::Relaxed) >= records);
            let is_over = |now| load.is_over(now) || is_enough();
            let count = |records| count_delivered(load, delivered, records);
            if let Err(error) = consumer.run(Counting::All, load, &recorder, is_over, count) {
                load.fail(format!("{error:#}"));
            }
        })
    };
    let workers = consumers.into_iter().zip(&track.recorders).map(worker).collect();
    let plan =
        Plan { workload: "consume", command, rate: None, cluster, broker: &options.broker, output: &options.output };
    deliver(measure(&plan, &load, std::slice::from_ref(&track), workers, |_| {}), &options.output)
}

/// Why librdkafka could not be set up, in a line.
fn refusal(error: KafkaError) -> anyhow::Error {
    match error {
        KafkaError::ClientConfig(_, description, ..) => {
            // It comes with the rest of the C buffer's line.
            anyhow!("librdkafka: {}", description.trim_matches(|c: char| c.is_whitespace() || c.is_control()))
        }
        error => anyhow!("librdkafka: {error}"),
    }
}

/// Whether librdkafka goes on by itself after an error. When no broker is left it would too, and wait for one; a load
/// ends there.
fn is_passing(error: &KafkaError) -> bool {
    use RDKafkaErrorCode::{BrokerTransportFailure, OperationTimedOut, Resolve};
    matches!(error.rdkafka_error_code(), Some(BrokerTransportFailure | OperationTimedOut | Resolve))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lost_connection_passes_and_a_lost_cluster_does_not() {
        let global = KafkaError::Global;
        assert!(is_passing(&global(RDKafkaErrorCode::BrokerTransportFailure)));
        assert!(is_passing(&KafkaError::MessageConsumption(RDKafkaErrorCode::Resolve)));
        assert!(!is_passing(&global(RDKafkaErrorCode::AllBrokersDown)));
        assert!(!is_passing(&KafkaError::MessageConsumption(RDKafkaErrorCode::UnknownTopicOrPartition)));
        assert!(!is_passing(&KafkaError::PartitionEOF(0)));
    }
}
