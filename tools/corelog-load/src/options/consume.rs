//! Options of `consume`.

use std::time::Duration;

use clap::Args;

use super::{BrokerOptions, Client, FetchOptions, OutputOptions, Profile, duration};

/// `consume`.
#[derive(Clone, Debug, Args)]
pub struct ConsumeOptions {
    /// A load with a name: options that all others come after.
    #[arg(long, value_name = "NAME")]
    pub profile: Option<Profile>,
    /// Where.
    #[command(flatten)]
    pub broker: BrokerOptions,
    /// The client.
    #[arg(long, value_enum, default_value_t)]
    pub client: Client,
    /// How.
    #[command(flatten)]
    pub fetch: FetchOptions,
    /// Follows the topic from its end on, and does not read what is there already from the beginning to the end.
    #[arg(long)]
    pub tail: bool,
    /// At the end of a partition, begins again at its beginning: a load that lasts, on what a cache may hold.
    #[arg(long, conflicts_with = "tail")]
    pub again: bool,
    /// How long, after the warm-up; until everything is read, or with --tail until Ctrl-C, when not told.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,
    /// Ends when so many records have come, or a few more: the last fetch counts in whole.
    #[arg(long, value_name = "N")]
    pub records: Option<u64>,
    /// How long the load runs before it counts.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "0")]
    pub warm_up: Duration,
    /// What becomes of the figures.
    #[command(flatten)]
    pub output: OutputOptions,
}
