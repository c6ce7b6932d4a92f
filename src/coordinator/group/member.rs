//! A member of a group.

use std::collections::HashSet;

use bytes::Bytes;

use super::step::{Effect, JoinAnswer, JoinRequest, Step, SyncAnswer, Waiter};
use crate::protocol::KafkaString;

/// What a member takes in memory besides its texts and bytes; an estimate.
const MEMBER_OVERHEAD_BYTES: usize = 512;
/// What a protocol takes besides its name and metadata.
const PROTOCOL_OVERHEAD_BYTES: usize = 128;

/// Who a member is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// Its id as a static member (KIP-345).
    pub group_instance_id: Option<KafkaString>,
    /// The client id of its connection.
    pub client_id: KafkaString,
    /// The address of its connection, as Kafka prints it: a slash and the address.
    pub client_host: KafkaString,
}

/// A protocol that a member knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Protocol {
    /// Its name.
    pub name: KafkaString,
    /// What the leader has to know of the member.
    pub metadata: Bytes,
}

/// A member of a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    pub(super) id: KafkaString,
    pub(super) identity: Identity,
    pub(super) protocol_type: KafkaString,
    /// Its favourite first.
    pub(super) protocols: Vec<Protocol>,
    pub(super) session_timeout_ms: i32,
    pub(super) rebalance_timeout_ms: i32,
    pub(super) assignment: Bytes,
    /// Whether it has not been part of a generation yet.
    pub(super) is_new: bool,
    pub(super) awaiting_join: Option<Waiter>,
    pub(super) awaiting_sync: Option<Waiter>,
    /// When it is removed unless it shows life; none after a deadline that passed while it waited.
    pub(super) deadline_ms: Option<u64>,
}

impl Member {
    /// A new member. Keeps nothing of the request's frame alive.
    pub(super) fn new(id: KafkaString, request: &JoinRequest) -> Member {
        let identity = &request.identity;
        Member {
            id,
            identity: Identity {
                group_instance_id: identity.group_instance_id.as_ref().map(KafkaString::detached),
                client_id: identity.client_id.detached(),
                client_host: identity.client_host.detached(),
            },
            protocol_type: request.protocol_type.detached(),
            protocols: detached(&request.protocols),
            session_timeout_ms: request.session_timeout_ms,
            rebalance_timeout_ms: request.rebalance_timeout_ms,
            assignment: Bytes::new(),
            is_new: true,
            awaiting_join: None,
            awaiting_sync: None,
            deadline_ms: None,
        }
    }

    /// Takes over what a rejoin says.
    pub(super) fn renew(&mut self, request: &JoinRequest) {
        self.protocols = detached(&request.protocols);
        self.session_timeout_ms = request.session_timeout_ms;
        self.rebalance_timeout_ms = request.rebalance_timeout_ms;
    }

    pub(super) fn session_timeout_ms(&self) -> u64 {
        self.session_timeout_ms.max(0) as u64
    }

    pub(super) fn rebalance_timeout_ms(&self) -> u64 {
        self.rebalance_timeout_ms.max(0) as u64
    }

    pub(super) fn is_static(&self) -> bool {
        self.identity.group_instance_id.is_some()
    }

    /// Bytes that the member holds.
    pub(super) fn held_bytes(&self) -> usize {
        let instance = self.identity.group_instance_id.as_ref().map_or(0, |id| id.len());
        let protocols = protocol_bytes(&self.protocols);
        let texts = self.id.len() + instance + self.identity.client_id.len() + self.identity.client_host.len();
        MEMBER_OVERHEAD_BYTES + texts + protocols + self.assignment.len()
    }

    /// What it sent with a protocol; empty for one that it does not know.
    pub(super) fn metadata(&self, protocol: Option<&str>) -> Bytes {
        let known = self.protocols.iter().find(|known| Some(&*known.name) == protocol);
        known.map(|known| known.metadata.clone()).unwrap_or_default()
    }

    /// Whether these are the same protocols with the same metadata in the same order.
    pub(super) fn matches(&self, protocols: &[Protocol]) -> bool {
        self.protocols == protocols
    }

    /// Its favourite among the candidates.
    pub(super) fn vote(&self, candidates: &HashSet<&str>) -> Option<&KafkaString> {
        self.protocols.iter().map(|protocol| &protocol.name).find(|name| candidates.contains(&***name))
    }

    /// Whether it needs no heartbeat now, since it waits for the coordinator. A new member's wait has an end of its own.
    pub(super) fn is_excused(&self) -> bool {
        !self.is_new && (self.awaiting_join.is_some() || self.awaiting_sync.is_some())
    }

    /// Answers the join that waits, if any.
    pub(super) fn answer_join(&mut self, answer: JoinAnswer, step: &mut Step) -> bool {
        let Some(waiter) = self.awaiting_join.take() else { return false };
        step.effects.push(Effect::JoinAnswer(waiter, answer));
        true
    }

    /// Answers the sync that waits, if any.
    pub(super) fn answer_sync(&mut self, answer: SyncAnswer, step: &mut Step) -> bool {
        let Some(waiter) = self.awaiting_sync.take() else { return false };
        step.effects.push(Effect::SyncAnswer(waiter, answer));
        true
    }
}

/// Bytes that a member will hold that joins with this request, before it has an assignment.
pub(super) fn bytes_for(request: &JoinRequest) -> usize {
    MEMBER_OVERHEAD_BYTES + protocol_bytes(&request.protocols)
}

fn protocol_bytes(protocols: &[Protocol]) -> usize {
    protocols.iter().map(|protocol| PROTOCOL_OVERHEAD_BYTES + protocol.name.len() + protocol.metadata.len()).sum()
}

fn detached(protocols: &[Protocol]) -> Vec<Protocol> {
    let copy = |protocol: &Protocol| Protocol {
        name: protocol.name.detached(),
        metadata: Bytes::copy_from_slice(&protocol.metadata),
    };
    protocols.iter().map(copy).collect()
}
