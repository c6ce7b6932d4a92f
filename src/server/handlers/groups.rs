//! What the handlers of the group APIs share.

use std::rc::Rc;

use futures_lite::FutureExt;

use crate::coordinator::group::Waiter;
use crate::protocol::{ErrorCode, KafkaString};
use crate::server::broker::Broker;
use crate::server::connection::Client;
use crate::server::groups::coordinator_of;
use crate::server::groups::requests::{self, GroupPlace};
use crate::server::mesh::ShardGone;
use crate::vocabulary::ShardId;

/// Who sent a request.
pub(super) struct Caller {
    /// The client id of its header; empty when there is none.
    pub(super) client_id: KafkaString,
    /// Its connection.
    pub(super) client: Rc<Client>,
}

impl Caller {
    /// Its address as Kafka prints it.
    pub(super) fn host(&self) -> KafkaString {
        let address = self.client.peer.rsplit_once(':').map_or(&*self.client.peer, |(address, _port)| address);
        format!("/{}", address.trim_start_matches('[').trim_end_matches(']')).into()
    }
}

/// The shard that coordinates a group, and the group's place there.
pub(super) fn place(broker: &Broker, group: &KafkaString) -> Result<(ShardId, GroupPlace), ErrorCode> {
    let (index, owner) = coordinator_of(broker, group)?;
    Ok((owner, GroupPlace { index, id: group.clone() }))
}

/// Waits for an answer that may take long; when the client goes away meanwhile, the wait is ended on the owner's side
/// too.
pub(super) async fn until_gone<T>(
    broker: &Rc<Broker>,
    caller: &Caller,
    owner: ShardId,
    waiter: Waiter,
    call: impl Future<Output = Result<T, ShardGone>>,
) -> Result<T, ShardGone> {
    let mut call = std::pin::pin!(call);
    let answered = async { Some(call.as_mut().await) };
    let gone = async {
        caller.client.gone().await;
        None
    };
    if let Some(answer) = answered.or(gone).await {
        return answer;
    }
    broker.on(owner, move |broker| requests::abandon(broker, waiter)).await?;
    call.await
}

/// What a principal that may do everything may do to a group, a bit each by the number of Kafka's AclOperation: READ,
/// DELETE, DESCRIBE, DESCRIBE_CONFIGS, ALTER_CONFIGS.
pub(super) const ALL_OPERATIONS: i32 = 1 << 3 | 1 << 6 | 1 << 8 | 1 << 10 | 1 << 11;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_is_the_peer_without_its_port() {
        let host = |peer: &str| Caller { client_id: "".into(), client: Client::at(peer) }.host();
        assert_eq!(host("127.0.0.1:5000"), "/127.0.0.1");
        assert_eq!(host("[::1]:5000"), "/::1");
    }
}
