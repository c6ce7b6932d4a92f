//! Options of `end-to-end`.

use clap::Args;

use super::{
    BrokerOptions, Client, FetchOptions, LengthOptions, OutputOptions, ProducerOptions, RateOptions, TopicOptions,
};

/// `end-to-end`.
#[derive(Clone, Debug, Args)]
pub struct EndToEndOptions {
    /// Where.
    #[command(flatten)]
    pub broker: BrokerOptions,
    /// The client.
    #[arg(long, value_enum, default_value_t)]
    pub client: Client,
    /// The topic.
    #[command(flatten)]
    pub topic: TopicOptions,
    /// What and how.
    #[command(flatten)]
    pub producer: ProducerOptions,
    /// How it is read.
    #[command(flatten)]
    pub fetch: FetchOptions,
    /// How fast; 1,000 records a second when not told.
    #[command(flatten)]
    pub rate: RateOptions,
    /// How long.
    #[command(flatten)]
    pub length: LengthOptions,
    /// What becomes of the figures.
    #[command(flatten)]
    pub output: OutputOptions,
}
