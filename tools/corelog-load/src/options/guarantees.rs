//! Options of `guarantees`.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};

use super::{BrokerKillOptions, BrokerOptions, NumberedOptions, OutputOptions, TopicOptions, duration, rate};

/// `guarantees`.
#[derive(Clone, Debug, Args)]
pub struct GuaranteesOptions {
    /// Where. The modes' names are added to the topic's.
    #[command(flatten)]
    pub broker: BrokerOptions,
    /// The topics.
    #[command(flatten)]
    pub topic: TopicOptions,
    /// What is sent.
    #[command(flatten)]
    pub records: NumberedOptions,
    /// The guarantees to try, one after the other.
    #[arg(
        long,
        value_enum,
        value_name = "MODE,...",
        value_delimiter = ',',
        default_value = "at-most-once,at-least-once,exactly-once"
    )]
    pub modes: Vec<Mode>,
    /// Kills of clients in each mode: the producer and the consumer in turn.
    #[arg(long, value_name = "N", default_value_t = 10, value_parser = clap::value_parser!(u32).range(..=100_000))]
    pub kills: u32,
    /// Records a second, evenly spaced.
    #[arg(long, value_name = "RECORDS/S", value_parser = rate, default_value = "5000")]
    pub rate: f64,
    /// How long each mode produces.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "20s")]
    pub duration: Duration,
    /// How long the consumer takes to process a batch, with the result in the middle: so much a kill can hit.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "5ms")]
    pub processing_time: Duration,
    /// Kills of the broker, in each mode.
    #[command(flatten)]
    pub broker_kills: BrokerKillOptions,
    /// What becomes of the figures.
    #[command(flatten)]
    pub output: OutputOptions,
}

/// A delivery guarantee.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// No record is processed twice; some may be lost.
    AtMostOnce,
    /// No acknowledged record is lost; some may be processed twice.
    AtLeastOnce,
    /// Each acknowledged record is processed once.
    ExactlyOnce,
}

impl Mode {
    /// As the command line says it.
    pub fn name(self) -> &'static str {
        match self {
            Mode::AtMostOnce => "at-most-once",
            Mode::AtLeastOnce => "at-least-once",
            Mode::ExactlyOnce => "exactly-once",
        }
    }
}

/// A client that `guarantees` starts and kills. Not for people.
#[derive(Clone, Debug, Args)]
pub struct GuaranteesClientOptions {
    /// What it does.
    #[arg(value_enum)]
    pub role: Role,
    /// The directory with its settings, where it notes what it did.
    pub directory: PathBuf,
}

/// What a client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Role {
    /// Sends records.
    Producer,
    /// Processes them.
    Consumer,
}

impl Role {
    /// As the command line says it.
    pub fn name(self) -> &'static str {
        match self {
            Role::Producer => "producer",
            Role::Consumer => "consumer",
        }
    }
}
