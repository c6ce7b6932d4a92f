//! Which client makes the load.

use clap::ValueEnum;

/// A client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Client {
    /// This tool's own: as little work as possible between the load and the broker, so that the broker is measured.
    #[default]
    Own,
    /// librdkafka: what an application gets that uses it. Takes CPU that the broker may have needed. Without --rate its
    /// queue of 100,000 records or more is always full, and most of the latency.
    Librdkafka,
}
