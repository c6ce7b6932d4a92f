//! Clients that go on when connections break and brokers die: what Kafka's own clients do, with everything counted.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`producer`] | sends what is unanswered again, in order, the same bytes |
//! | [`consumer`] | goes on where it was |
//!
//! Both are driven by a thread that calls `step` over and over. A client is either connected, to all leaders that it
//! needs, or waits to connect. Whatever goes wrong with one connection ends them all: the client asks for the leaders
//! anew and begins again, so that nothing depends on which answers of an earlier connection might still come.

pub mod consumer;
pub mod producer;

use std::net::SocketAddr;
use std::time::Duration;

use corelog::protocol::ApiKey;
use corelog::protocol::messages::list_offsets::LATEST_TIMESTAMP;

use crate::client::cluster::{Cluster, Topic};
use crate::client::retry::Backoff;
use crate::clock;

/// What a client had to do again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Again {
    /// Requests that were sent again, or whose answer was an error that passes.
    pub retries: u64,
    /// Connections that were made again.
    pub reconnects: u64,
}

impl Again {
    /// How much that is.
    pub fn count(self) -> u64 {
        self.retries + self.reconnects
    }
}

/// Finds the topic's leaders, and the version of `api` to speak with them.
fn find(bootstrap: &str, topic: &str, api: ApiKey) -> anyhow::Result<(Topic, i16)> {
    let mut cluster = Cluster::connect(bootstrap)?;
    Ok((cluster.topic(topic)?, cluster.version(api)?))
}

/// The place of `address` among connections; `None` when there is none yet.
fn place_of(addresses: impl Iterator<Item = SocketAddr>, address: SocketAddr) -> Option<usize> {
    addresses.into_iter().position(|known| known == address)
}

/// Where each partition of the topic ends. The broker may be on its way up: it is asked until `give_up` has passed.
///
/// # Errors
/// Then, and when the topic does not exist.
pub fn ends(bootstrap: &str, topic: &str, give_up: Duration) -> anyhow::Result<Vec<i64>> {
    let mut backoff = Backoff::new(give_up);
    loop {
        let outcome = Cluster::connect(bootstrap).and_then(|mut cluster| {
            let topic = cluster.topic(topic)?;
            cluster.offsets(&topic, LATEST_TIMESTAMP)
        });
        match outcome {
            Ok(ends) => return Ok(ends),
            Err(error) => clock::sleep_until(backoff.failed(clock::now(), clock::now(), error)?),
        }
    }
}
