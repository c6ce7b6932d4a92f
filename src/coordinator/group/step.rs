//! What goes into a step of the state machine and what comes out.

use bytes::Bytes;

use super::member::{Identity, Protocol};
use crate::coordinator::GroupSettings;
use crate::coordinator::offsets::records::GroupMetadataValue;
use crate::protocol::{ErrorCode, KafkaString};
use crate::vocabulary::TimestampMs;

/// A request that waits for its answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Waiter(pub u64);

/// A record that is on its way to the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WriteId(pub u64);

/// The time of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// For deadlines.
    pub monotonic_ms: u64,
    /// For records.
    pub wall_ms: TimestampMs,
}

/// One step: what it may look at, and what it brings about.
#[derive(Debug)]
pub struct Step<'a> {
    /// The time.
    pub now: Now,
    /// The configuration.
    pub settings: &'a GroupSettings,
    /// The last number that was given to a write, over all groups of the shard.
    pub last_write: &'a mut u64,
    /// What is to be done, in this order.
    pub effects: Vec<Effect>,
}

/// What a step brings about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    /// A join is answered.
    JoinAnswer(Waiter, JoinAnswer),
    /// A sync is answered.
    SyncAnswer(Waiter, SyncAnswer),
    /// The group's record is to be written; [`super::Group::stored`] takes the outcome.
    Store(WriteId, GroupMetadataValue),
}

impl Step<'_> {
    pub(super) fn store(&mut self, value: GroupMetadataValue) -> WriteId {
        *self.last_write += 1;
        let write = WriteId(*self.last_write);
        self.effects.push(Effect::Store(write, value));
        write
    }
}

/// A JoinGroup.
#[derive(Clone, Debug)]
pub struct JoinRequest {
    /// The member id; empty for a member that has none.
    pub member_id: KafkaString,
    /// Who the member is.
    pub identity: Identity,
    /// What the group is for, such as `consumer`.
    pub protocol_type: KafkaString,
    /// The protocols that the member knows, its favourite first.
    pub protocols: Vec<Protocol>,
    /// Without a heartbeat for so long the member is removed, in milliseconds.
    pub session_timeout_ms: i32,
    /// How long a rebalance waits for the member, in milliseconds.
    pub rebalance_timeout_ms: i32,
    /// Whether a new member is told its id first, and joins with it (from version 4 on, KIP-394).
    pub id_first: bool,
    /// Whether a leader that comes back can be told to keep the assignment (from version 9 on, KIP-814).
    pub may_skip_assignment: bool,
    /// Random, for a new member's id: a UUID.
    pub suffix: String,
    /// Why the member joins, for the log.
    pub reason: Option<KafkaString>,
}

/// The answer to a JoinGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinAnswer {
    /// The error, if any.
    pub error: ErrorCode,
    /// The generation; -1 with an error.
    pub generation: i32,
    /// What the group is for.
    pub protocol_type: Option<KafkaString>,
    /// The protocol that all members know.
    pub protocol: Option<KafkaString>,
    /// The member id of the leader.
    pub leader: KafkaString,
    /// Whether the leader must keep the present assignment.
    pub skip_assignment: bool,
    /// The member id.
    pub member_id: KafkaString,
    /// All members, for the leader.
    pub members: Vec<JoinedMember>,
}

impl JoinAnswer {
    /// The answer to one that may not join.
    pub fn refused(error: ErrorCode, member_id: KafkaString) -> JoinAnswer {
        JoinAnswer {
            error,
            generation: -1,
            protocol_type: None,
            protocol: None,
            leader: KafkaString::default(),
            skip_assignment: false,
            member_id,
            members: Vec::new(),
        }
    }
}

/// A member, as the leader is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its member id.
    pub member_id: KafkaString,
    /// Its id as a static member.
    pub group_instance_id: Option<KafkaString>,
    /// What it sent with the chosen protocol.
    pub metadata: Bytes,
}

/// A SyncGroup.
#[derive(Clone, Debug)]
pub struct SyncRequest {
    /// The member.
    pub member_id: KafkaString,
    /// Its id as a static member.
    pub group_instance_id: Option<KafkaString>,
    /// The generation.
    pub generation: i32,
    /// What the member takes the group to be for, if it says so (KIP-559).
    pub protocol_type: Option<KafkaString>,
    /// What the member takes the chosen protocol to be, if it says so (KIP-559).
    pub protocol: Option<KafkaString>,
    /// The assignments, from the leader.
    pub assignments: Vec<(KafkaString, Bytes)>,
}

/// The answer to a SyncGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncAnswer {
    /// The error, if any.
    pub error: ErrorCode,
    /// What the group is for.
    pub protocol_type: Option<KafkaString>,
    /// The chosen protocol.
    pub protocol: Option<KafkaString>,
    /// The assignment.
    pub assignment: Bytes,
}

impl SyncAnswer {
    /// The answer to one that gets no assignment.
    pub fn refused(error: ErrorCode) -> SyncAnswer {
        SyncAnswer { error, protocol_type: None, protocol: None, assignment: Bytes::new() }
    }
}
