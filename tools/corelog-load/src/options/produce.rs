//! Options of `produce`.

use clap::Args;

use super::{BrokerOptions, Client, LengthOptions, OutputOptions, ProducerOptions, Profile, RateOptions, TopicOptions};

/// `produce`.
#[derive(Clone, Debug, Args)]
pub struct ProduceOptions {
    /// A load with a name: options that all others come after.
    #[arg(long, value_name = "NAME")]
    pub profile: Option<Profile>,
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
    /// How fast.
    #[command(flatten)]
    pub rate: RateOptions,
    /// How long.
    #[command(flatten)]
    pub length: LengthOptions,
    /// What becomes of the figures.
    #[command(flatten)]
    pub output: OutputOptions,
}
