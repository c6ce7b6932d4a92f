//! The command line: what several workloads share is here, and a module for each has its own.

mod client;
mod consume;
mod end_to_end;
mod guarantees;
mod kills;
mod mixed;
mod produce;
mod profile;
mod report;
mod rpc_vs_stream;
mod soak;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::ensure;
use clap::{Args, Parser, Subcommand, ValueEnum};
use corelog::record::Compression;

use crate::keys::KeyKind;
use crate::orders::ORDER_BYTES_MIN;
use crate::payload::PayloadKind;
use crate::sizes::SizeKind;

pub use client::Client;
pub use consume::ConsumeOptions;
pub use end_to_end::EndToEndOptions;
pub use guarantees::{GuaranteesClientOptions, GuaranteesOptions, Mode, Role};
pub use kills::BrokerKillOptions;
pub use mixed::MixedOptions;
pub use produce::ProduceOptions;
pub use profile::{Profile, expand};
pub use report::ReportOptions;
pub use rpc_vs_stream::RpcVsStreamOptions;
pub use soak::{NumberedOptions, SoakOptions};

/// Measures brokers that speak the Apache Kafka protocol.
///
/// Every figure is of the measured time: from the end of the warm-up to the last record that arrived. MB are 10⁶ bytes.
#[derive(Debug, Parser)]
#[command(name = "corelog-load", version, args_override_self = true)]
pub struct CommandLine {
    /// What is to be done.
    #[command(subcommand)]
    pub command: Command,
}

/// The workloads, and the page about what they measured.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Producers, at a given rate or as fast as the broker takes it.
    Produce(ProduceOptions),
    /// Consumers: from the beginning of a topic to its end, or behind the end.
    Consume(ConsumeOptions),
    /// The time from publishing to delivery, at a given rate.
    EndToEnd(EndToEndOptions),
    /// Producers, and several groups of consumers that each read everything.
    Mixed(MixedOptions),
    /// One page of HTML about runs, beside each other, from what they wrote with --json.
    Report(ReportOptions),
    /// The same orders by synchronous calls, one answer at a time, and as a stream of events.
    RpcVsStream(RpcVsStreamOptions),
    /// What becomes of every record, for hours and with the broker killed: lost, duplicated, reordered, corrupted.
    Soak(SoakOptions),
    /// What at-most-once, at-least-once and exactly-once come to, with clients and broker killed.
    Guarantees(GuaranteesOptions),
    /// A client that `guarantees` starts and kills.
    #[command(hide = true)]
    GuaranteesClient(GuaranteesClientOptions),
}

/// Where the broker is.
#[derive(Clone, Debug, Args)]
pub struct BrokerOptions {
    /// The broker, or several, of which the first one that answers is asked.
    #[arg(long, value_name = "HOST:PORT,...", default_value = "127.0.0.1:9092")]
    pub bootstrap: String,
    /// The topic.
    #[arg(long, default_value = "corelog-load")]
    pub topic: String,
    /// Topics: with more than one their names are TOPIC-0, TOPIC-1 and so on, and each has --partitions.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub topics: u32,
    /// The broker's process, whose CPU and memory are reported; found by its port when it is on this machine.
    #[arg(long, value_name = "PID")]
    pub broker_pid: Option<u32>,
}

impl BrokerOptions {
    /// Refuses several topics, for a workload that has one.
    ///
    /// # Errors
    /// When there are several.
    pub fn check_one_topic(&self, workload: &str) -> anyhow::Result<()> {
        ensure!(self.topics == 1, "{workload} has one topic, not the {} of --topics", self.topics);
        Ok(())
    }

    /// The names of the topics.
    pub fn topic_names(&self) -> Vec<String> {
        match self.topics {
            1 => vec![self.topic.clone()],
            topics => (0..topics).map(|index| format!("{}-{index}", self.topic)).collect(),
        }
    }
}

/// What becomes of the figures.
#[derive(Clone, Debug, Args)]
pub struct OutputOptions {
    /// Writes all figures to this file, with what is needed to repeat the run.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Writes the latencies to this file, in HdrHistogram's format, milliseconds.
    #[arg(long, value_name = "FILE")]
    pub hgrm: Option<PathBuf>,
    /// Writes a page of HTML with all figures and their charts to this file, which needs no other.
    #[arg(long, value_name = "FILE.html")]
    pub report: Option<PathBuf>,
    /// Shows nothing while the load runs.
    #[arg(long)]
    pub quiet: bool,
}

/// A topic that may have to be created.
#[derive(Clone, Debug, Args)]
pub struct TopicOptions {
    /// Partitions: the topic is created with so many (1 by default), or must have them.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub partitions: Option<u32>,
    /// Replicas of a topic that is created; −1 for the broker's default.
    #[arg(long, value_name = "N", default_value_t = -1, allow_negative_numbers = true)]
    pub replication_factor: i16,
}

/// What producers send, and how.
#[derive(Clone, Debug, Args)]
pub struct ProducerOptions {
    /// Producers, each with a thread, and a connection to each leader of its partitions.
    ///
    /// Without keys the partitions are shared out among them; with keys each producer fills all.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=4096))]
    pub producers: u64,
    /// Bytes of a record's value: N, uniform:MIN:MAX or lognormal:MEDIAN:P99 (cut off at four times P99).
    #[arg(long, value_name = "BYTES", default_value = "1024")]
    pub record_bytes: SizeKind,
    /// Records of a batch, at most; each request has one batch [default: 100; 1 for end-to-end, 1000 for rpc-vs-stream]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub records_per_batch: Option<u32>,
    /// Bytes of a batch's keys and values, at most (batch.size), but a batch has one record at least.
    #[arg(long, value_name = "N")]
    pub batch_bytes: Option<usize>,
    /// Has records come one by one, evenly spaced, and a batch leave when it is full, or so long after its first record
    /// (linger.ms). Latency counts from the batch's first record. Needs a rate, and no keys.
    ///
    /// Without it all records of a batch come at one time. librdkafka's records always come one by one, with 5ms when not
    /// told.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub linger: Option<Duration>,
    /// Requests that a connection has on their way, at most.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub in_flight: u16,
    /// Connections of a producer to a leader, at most: the leader's partitions are shared out among them.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    pub connections: u16,
    /// What an acknowledgement means: all replicas in sync have it, the leader has it, or none is sent.
    #[arg(long, value_enum, default_value_t = Acks::All, allow_negative_numbers = true)]
    pub acks: Acks,
    /// How batches are compressed. Without keys that is done before the load starts.
    #[arg(long, value_enum, default_value_t = Codec::None)]
    pub compression: Codec,
    /// Producers have a producer id and number their batches.
    #[arg(long)]
    pub idempotent: bool,
    /// Keys: none, uniform:N or zipf:N. A record goes to the partition of its key, as Kafka's clients choose it.
    #[arg(long, value_name = "KEYS", default_value = "none")]
    pub keys: KeyKind,
    /// Values: seed or seed:N for text, orders or orders:N for orders of a shop in JSON, file:PATH for a file's bytes, ratio:X for bytes that compress to 1/X.
    #[arg(long, value_name = "VALUES", default_value = "seed")]
    pub payload: PayloadKind,
}

/// How fast a load with producers is.
#[derive(Clone, Debug, Args)]
pub struct RateOptions {
    /// Records a second of all producers together, evenly spaced; as many as possible when not told.
    ///
    /// With a rate, latency counts from the time at which a batch was meant to be sent, and not from when the broker
    /// let it be sent; without, from the sending.
    #[arg(long, value_name = "RECORDS/S", value_parser = rate)]
    pub rate: Option<f64>,
    /// Looks for the highest rate that keeps this bound: p50, p90, p99, p99.9, p99.99 or max, and a time. The load runs
    /// for the duration again and again, at rates that come closer and closer; the figures are those of the highest.
    #[arg(long, value_name = "p99=TIME", conflicts_with = "rate")]
    pub find_rate: Option<Bound>,
}

/// A bound of a latency.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bound {
    /// Which latency.
    pub of: Percentile,
    /// What it may be at most.
    pub at_most: Duration,
}

/// The latencies that can have a bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Percentile {
    /// The median.
    P50,
    /// The 90th percentile.
    P90,
    /// The 99th.
    P99,
    /// The 99.9th.
    P999,
    /// The 99.99th.
    P9999,
    /// The longest.
    Max,
}

impl Percentile {
    const NAMES: [(&'static str, Percentile); 6] = [
        ("p50", Percentile::P50),
        ("p90", Percentile::P90),
        ("p99", Percentile::P99),
        ("p99.9", Percentile::P999),
        ("p99.99", Percentile::P9999),
        ("max", Percentile::Max),
    ];
}

impl FromStr for Bound {
    type Err = String;

    fn from_str(text: &str) -> Result<Bound, String> {
        let (name, time) = text.split_once('=').ok_or("it is a percentile, '=' and a time: p99=5ms")?;
        let named = Percentile::NAMES.iter().find(|(known, _)| *known == name);
        let (_, of) = named.ok_or_else(|| format!("'{name}' is none of p50, p90, p99, p99.9, p99.99 and max"))?;
        Ok(Bound { of: *of, at_most: duration(time)? })
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named = Percentile::NAMES.iter().find(|(_, known)| *known == self.of);
        write!(f, "{}={}ms", named.map_or("", |(name, _)| name), self.at_most.as_secs_f64() * 1e3)
    }
}

/// How long a load with producers takes.
#[derive(Clone, Debug, Args)]
pub struct LengthOptions {
    /// How long, after the warm-up.
    #[arg(long, value_name = "TIME", value_parser = duration, conflicts_with = "records", default_value = "10s")]
    pub duration: Duration,
    /// How many records, the warm-up's among them, instead of how long.
    #[arg(long, value_name = "N")]
    pub records: Option<u64>,
    /// How long the load runs before it counts; 1s, or none with --records.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub warm_up: Option<Duration>,
}

/// How consumers read.
#[derive(Clone, Debug, Args)]
pub struct FetchOptions {
    /// Consumers, each with a thread, and a connection to each leader of its partitions, which are shared out.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=4096))]
    pub consumers: u64,
    /// Bytes that a fetch brings, at most (fetch.max.bytes).
    #[arg(long, value_name = "N", default_value_t = 50 << 20)]
    pub fetch_bytes: u32,
    /// Bytes that a fetch brings from a partition, at most (max.partition.fetch.bytes).
    #[arg(long, value_name = "N", default_value_t = 1 << 20)]
    pub partition_fetch_bytes: u32,
    /// Bytes that a fetch waits for (fetch.min.bytes).
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub fetch_min_bytes: u32,
    /// How long it waits for them, milliseconds (fetch.max.wait.ms).
    #[arg(long, value_name = "MS", default_value_t = 500)]
    pub max_wait_ms: u32,
}

impl LengthOptions {
    /// How long the warm-up is.
    pub fn warm_up(&self) -> Duration {
        let usual = if self.records.is_some() { Duration::ZERO } else { Duration::from_secs(1) };
        self.warm_up.unwrap_or(usual)
    }

    /// How long the load counts; `None` when a number of records ends it.
    pub fn duration(&self) -> Option<Duration> {
        self.records.is_none().then_some(self.duration)
    }
}

impl ProducerOptions {
    /// Records of a batch.
    pub fn records_per_batch(&self) -> u32 {
        self.records_per_batch.unwrap_or(100)
    }

    /// Bytes of a batch's keys and values, at most.
    pub fn batch_bytes(&self) -> usize {
        self.batch_bytes.unwrap_or(usize::MAX)
    }

    /// Refuses what cannot go together.
    ///
    /// # Errors
    /// When something cannot.
    pub fn check(&self) -> anyhow::Result<()> {
        if self.idempotent {
            ensure!(self.acks == Acks::All, "--idempotent needs --acks all");
            ensure!(
                self.in_flight <= 5,
                "--idempotent allows at most 5 requests in flight: brokers remember no more batches of a producer"
            );
        }
        if self.linger.is_some() {
            ensure!(self.keys == KeyKind::None, "--linger needs --keys none: the times of records go by their order");
        }
        let batch_bytes = self.record_bytes.max().saturating_mul(self.records_per_batch() as usize);
        let batch_bytes = batch_bytes.min(self.batch_bytes().max(self.record_bytes.max()));
        ensure!(
            batch_bytes <= 1 << 30,
            "{} records of {} bytes are more than 1 GiB a batch",
            self.records_per_batch(),
            self.record_bytes.max()
        );
        if let PayloadKind::Orders(_) = self.payload {
            ensure!(
                self.record_bytes.min() >= ORDER_BYTES_MIN,
                "records of {} bytes: an order takes {ORDER_BYTES_MIN}",
                self.record_bytes.min()
            );
        }
        Ok(())
    }
}

/// Kafka's `acks`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Acks {
    /// All replicas in sync have it.
    #[value(alias = "-1")]
    All,
    /// The leader has it.
    #[value(name = "1")]
    Leader,
    /// No answer is sent, so that latency and loss are unknown.
    #[value(name = "0")]
    None,
}

impl Acks {
    /// As it stands in a request.
    pub fn code(self) -> i16 {
        match self {
            Acks::All => -1,
            Acks::Leader => 1,
            Acks::None => 0,
        }
    }
}

/// Kafka's `compression.type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Codec {
    /// Not at all.
    None,
    /// gzip.
    Gzip,
    /// snappy.
    Snappy,
    /// lz4.
    Lz4,
    /// zstd.
    Zstd,
}

impl Codec {
    /// As batches have it.
    pub fn compression(self) -> Compression {
        match self {
            Codec::None => Compression::None,
            Codec::Gzip => Compression::Gzip,
            Codec::Snappy => Compression::Snappy,
            Codec::Lz4 => Compression::Lz4,
            Codec::Zstd => Compression::Zstd,
        }
    }
}

/// A rate: a number above 0.
fn rate(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(rate) if rate > 0.0 && rate.is_finite() => Ok(rate),
        _ => Err("it is a number above 0".to_owned()),
    }
}

/// A time: a number with `ms`, `s`, `m` or `h`; seconds without.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let unit_at = text.find(|character: char| character.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let seconds = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(format!("'{unit}' is none of ms, s, m and h")),
    };
    let number: f64 = number.parse().map_err(|_| "it is a number with ms, s, m or h".to_owned())?;
    match Duration::try_from_secs_f64(number * seconds) {
        Ok(duration) if duration <= Duration::from_secs(365 * 86_400) => Ok(duration),
        _ => Err("it is a time from 0 to a year".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn times_are_understood_or_refused() {
        for (text, ms) in [("500ms", 500), ("2", 2000), ("1.5s", 1500), ("3m", 180_000), ("1h", 3_600_000), ("0", 0)] {
            assert_eq!(duration(text), Ok(Duration::from_millis(ms)), "{text}");
        }
        for bad in ["", "s", "-1s", "5d", "1s2", "9e99"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
        assert!(rate("0").is_err() && rate("x").is_err() && rate("inf").is_err());
    }

    #[test]
    fn bounds_are_understood_or_refused() {
        let bound: Bound = "p99.9=1.5ms".parse().expect("a bound");
        assert_eq!(bound, Bound { of: Percentile::P999, at_most: Duration::from_micros(1500) });
        assert_eq!(bound.to_string(), "p99.9=1.5ms");
        for bad in ["", "p99", "p98=5ms", "p99=", "p99=x", "=5ms"] {
            assert!(bad.parse::<Bound>().is_err(), "{bad}");
        }
    }

    #[test]
    fn what_cannot_go_together_is_refused() {
        let parse = |more: &str| {
            let line = format!("corelog-load produce {more}");
            match CommandLine::try_parse_from(line.split_whitespace())?.command {
                Command::Produce(options) => Ok::<_, clap::Error>(options),
                other => panic!("{other:?}"),
            }
        };
        assert!(parse("--records 5 --duration 5s").is_err());
        assert!(parse("--records 5").expect("options").length.duration().is_none());
        for bad in [
            "--idempotent --acks 1",
            "--idempotent --in-flight 6",
            "--record-bytes 20000000",
            "--payload orders --record-bytes 96",
        ] {
            assert!(parse(bad).expect("options").producer.check().is_err(), "{bad}");
        }
        assert!(
            parse("--record-bytes 2000000 --records-per-batch 1000 --batch-bytes 1000000")
                .is_ok_and(|options| options.producer.check().is_ok())
        );
        assert!(parse("--linger 5ms --keys zipf:10").expect("options").producer.check().is_err());
        assert!(parse("--idempotent --acks -1").is_ok_and(|options| options.producer.check().is_ok()));
    }
}
