//! The command line.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// Which broker is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum BrokerKind {
    /// This repository's, optimised.
    Corelog,
    /// Apache Kafka, which acknowledges from the page cache.
    Kafka,
    /// Apache Kafka with `log.flush.interval.messages=1`.
    KafkaDurable,
}

impl BrokerKind {
    /// The name on the command line and in the report.
    pub fn name(self) -> &'static str {
        match self {
            BrokerKind::Corelog => "corelog",
            BrokerKind::Kafka => "kafka",
            BrokerKind::KafkaDurable => "kafka-durable",
        }
    }
}

impl std::fmt::Display for BrokerKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// Measures brokers over loopback.
#[derive(Debug, Parser)]
#[command(name = "end_to_end")]
pub struct Options {
    /// The brokers to measure, one after the other in each row.
    #[arg(long, value_delimiter = ',', default_value = "corelog")]
    pub broker: Vec<BrokerKind>,
    /// Only rows whose name contains one of these, comma-separated.
    #[arg(long, value_delimiter = ',')]
    pub rows: Vec<String>,
    /// Seconds that are measured of each row.
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    pub duration: f64,
    /// Seconds of load before the measured ones.
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    pub warm_up: f64,
    /// Where brokers keep their data; each in a fresh directory, removed in the end. Must have direct I/O: no tmpfs.
    #[arg(long, value_name = "DIR", default_value = concat!(env!("CARGO_TARGET_TMPDIR"), "/end_to_end"))]
    pub data_dir: PathBuf,
    /// Keeps the load generator's figures of each row and broker in this directory, for `corelog-load report`.
    #[arg(long, value_name = "DIR")]
    pub reports: Option<PathBuf>,
    /// Also writes the results to this file, as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// What cargo says to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}
