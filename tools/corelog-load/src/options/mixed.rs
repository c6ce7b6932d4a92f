//! Options of `mixed`.

use clap::Args;

use super::{
    BrokerOptions, Client, FetchOptions, LengthOptions, OutputOptions, ProducerOptions, RateOptions, TopicOptions,
};

/// `mixed`.
#[derive(Clone, Debug, Args)]
pub struct MixedOptions {
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
    /// Groups of --consumers, each of which reads all that is produced.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub fan_out: u16,
    /// How fast. With a rate each delivered record has a latency, from when it was meant to be sent.
    #[command(flatten)]
    pub rate: RateOptions,
    /// How long.
    #[command(flatten)]
    pub length: LengthOptions,
    /// What becomes of the figures.
    #[command(flatten)]
    pub output: OutputOptions,
}
