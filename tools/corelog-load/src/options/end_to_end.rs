//! Options of `end-to-end`.

use clap::Args;

use super::{BrokerOptions, FetchOptions, LengthOptions, OutputOptions, ProducerOptions, TopicOptions, rate};

/// `end-to-end`.
#[derive(Clone, Debug, Args)]
pub struct EndToEndOptions {
    /// Where.
    #[command(flatten)]
    pub broker: BrokerOptions,
    /// The topic.
    #[command(flatten)]
    pub topic: TopicOptions,
    /// What and how.
    #[command(flatten)]
    pub producer: ProducerOptions,
    /// How it is read.
    #[command(flatten)]
    pub fetch: FetchOptions,
    /// Records a second of all producers together, evenly spaced.
    #[arg(long, value_name = "RECORDS/S", value_parser = rate, default_value = "1000")]
    pub rate: f64,
    /// How long.
    #[command(flatten)]
    pub length: LengthOptions,
    /// What becomes of the figures.
    #[command(flatten)]
    pub output: OutputOptions,
}
