//! Options of `produce`.

use clap::Args;

use super::{BrokerOptions, LengthOptions, OutputOptions, ProducerOptions, TopicOptions, rate};

/// `produce`.
#[derive(Clone, Debug, Args)]
pub struct ProduceOptions {
    /// Where.
    #[command(flatten)]
    pub broker: BrokerOptions,
    /// The topic.
    #[command(flatten)]
    pub topic: TopicOptions,
    /// What and how.
    #[command(flatten)]
    pub producer: ProducerOptions,
    /// Records a second of all producers together, evenly spaced; as many as possible when not told.
    ///
    /// With a rate, latency counts from the time at which a batch was meant to be sent, and not from when the broker
    /// let it be sent; without, from the sending.
    #[arg(long, value_name = "RECORDS/S", value_parser = rate)]
    pub rate: Option<f64>,
    /// How long.
    #[command(flatten)]
    pub length: LengthOptions,
    /// What becomes of the figures.
    #[command(flatten)]
    pub output: OutputOptions,
}
