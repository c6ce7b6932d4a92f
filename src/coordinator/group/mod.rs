//! One classic group as a state machine: what its members ask, what time and the disk do, and what the coordinator is to
//! answer and write.
//!
//! ```text
//!            first join                 all have joined, or        the leader's assignment
//!  ┌───────┐ (initial delay) ┌───────────────────┐ deadline ┌────────────────────┐ is durable ┌────────┐
//!  │ Empty ├────────────────▶│ PreparingRebalance├─────────▶│ CompletingRebalance├───────────▶│ Stable │
//!  └───────┘◀────────────────┴───────────────────┘◀─────────┴──────────┬─────────┘            └───┬────┘
//!       all have gone                  ▲        a member joins, leaves, or falls silent           │
//!                                      └──────────────────────────────────────────────────────────┘
//! ```
//!
//! A group that is deleted is Dead: nothing but late answers of the disk reaches it.
//!
//! The rules are Kafka's, with KIP-134 (initial delay), KIP-345 (static members), KIP-394 (member ids are given out before
//! the join), KIP-559, KIP-814 and KIP-848's limits on classic groups. An answer that has to wait is given by
//! [`Effect::JoinAnswer`] or [`Effect::SyncAnswer`], to the [`Waiter`] that came with the request; each waiter is answered
//! exactly once.

mod join;
mod member;
mod rebalance;
mod record;
mod session;
mod step;
mod subscription;
mod sync;
#[cfg(test)]
mod tests;
mod view;

use std::collections::{BTreeMap, BTreeSet};

pub use member::{Identity, Member, Protocol};
pub use record::UnreadableGroup;
pub use session::{LeavingMember, OffsetExpiry};
pub use step::{Effect, JoinAnswer, JoinRequest, JoinedMember, Now, Step, SyncAnswer, SyncRequest, Waiter, WriteId};
pub use view::{GroupView, MemberView};

use crate::protocol::KafkaString;
use crate::vocabulary::TimestampMs;

/// Kafka's `group.new.member.join.timeout.ms`, which it does not document: how long a new member may wait for its first
/// generation, since it sends no heartbeats meanwhile.
pub const NEW_MEMBER_JOIN_TIMEOUT_MS: u64 = 300_000;
/// The protocol type whose subscriptions the coordinator can read.
pub const CONSUMER_PROTOCOL_TYPE: &str = "consumer";

/// What a group takes in memory besides its members; an estimate.
pub(super) const GROUP_OVERHEAD_BYTES: usize = 1024;
/// What a member id takes that was given out and not used; an estimate.
const PENDING_BYTES: usize = 256;

/// Where a group stands.
#[derive(Clone, Debug, PartialEq, Eq)]
enum State {
    /// Without members.
    Empty,
    /// Waits for the members to join.
    PreparingRebalance {
        /// When to go on with those that have.
        deadline_ms: u64,
        /// Set in a group's first rebalance after it was empty.
        initial: Option<InitialDelay>,
    },
    /// The generation is there, its assignment is not.
    CompletingRebalance(Syncing),
    /// Everybody has an assignment, or can fetch it.
    Stable(Syncing),
    /// Deleted.
    Dead,
}

/// The delay of a first rebalance (KIP-134), extended while members come.
#[derive(Clone, Debug, PartialEq, Eq)]
struct InitialDelay {
    /// The present part of the delay.
    delay_ms: u64,
    /// What may still be added, up to the rebalance timeout.
    remaining_ms: u64,
    /// Whether somebody came during the present part.
    member_added: bool,
}

/// Who has not asked for its assignment yet, and until when it may.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Syncing {
    missing: BTreeSet<KafkaString>,
    deadline_ms: u64,
}

/// What a durable record was for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum AfterWrite {
    /// The assignment of a generation, by member.
    Assignment { generation: i32, assignments: BTreeMap<KafkaString, bytes::Bytes> },
    /// A static member has come back with a new member id; what it was before.
    StaticMember { new_id: KafkaString, before: Box<Member>, leader_before: Option<KafkaString>, may_skip: bool },
    /// The last member has gone.
    Empty,
}

/// One classic group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Group {
    id: KafkaString,
    state: State,
    /// When it came into its state, wall clock; unknown for groups from old records.
    state_since_ms: Option<TimestampMs>,
    protocol_type: Option<KafkaString>,
    protocol: Option<KafkaString>,
    generation: i32,
    leader: Option<KafkaString>,
    members: BTreeMap<KafkaString, Member>,
    /// Member ids by static id.
    statics: BTreeMap<KafkaString, KafkaString>,
    /// Member ids that were given out and not used yet (KIP-394), and until when they may be.
    pending: BTreeMap<KafkaString, u64>,
    /// The topics that all members together are subscribed to, when they can be known.
    subscribed: Option<BTreeSet<KafkaString>>,
    /// Whether the log has a record of the group itself.
    recorded: bool,
    writes: BTreeMap<WriteId, AfterWrite>,
    /// No deadline of the group is earlier.
    wake_ms: Option<u64>,
    /// Bytes that the members hold.
    member_bytes: usize,
}

impl Group {
    /// A group without members and without a record.
    pub fn new(id: KafkaString, now: Now) -> Group {
        Group {
            id,
            state: State::Empty,
            state_since_ms: Some(now.wall_ms),
            protocol_type: None,
            protocol: None,
            generation: 0,
            leader: None,
            members: BTreeMap::new(),
            statics: BTreeMap::new(),
            pending: BTreeMap::new(),
            subscribed: None,
            recorded: false,
            writes: BTreeMap::new(),
            wake_ms: None,
            member_bytes: 0,
        }
    }

    /// Its id.
    pub fn id(&self) -> &KafkaString {
        &self.id
    }

    /// Whether it has no members, and waits for none.
    pub fn is_empty(&self) -> bool {
        self.state == State::Empty
    }

    /// Whether nothing would be lost if the group were forgotten: it has no members, gave out no member ids, and has no
    /// record in the log. Its offsets are not looked at.
    pub fn is_vain(&self) -> bool {
        self.is_empty() && self.pending.is_empty() && !self.recorded
    }

    /// Whether no member ids were given out that may still be used.
    pub fn has_no_pending_members(&self) -> bool {
        self.pending.is_empty()
    }

    /// Whether the log has a record of the group itself.
    pub fn is_recorded(&self) -> bool {
        self.recorded
    }

    /// When [`Group::tick`] should be called, in monotonic milliseconds; earlier than needed at times, never later.
    pub fn wake_ms(&self) -> Option<u64> {
        self.wake_ms
    }

    /// Bytes of memory that the group holds, about.
    pub fn held_bytes(&self) -> usize {
        GROUP_OVERHEAD_BYTES + self.id.len() + self.member_bytes + self.pending.len() * PENDING_BYTES
    }

    /// Bytes that the group will hold in addition when a member joins with this request, about.
    pub fn growth_by(&self, request: &JoinRequest) -> usize {
        let before = self.members.get(&*request.member_id).map_or(0, Member::held_bytes);
        (PENDING_BYTES + member::bytes_for(request)).saturating_sub(before)
    }

    /// The group is deleted: everything that waits is told so.
    pub fn die(&mut self, step: &mut Step) {
        self.state = State::Dead;
        let error = crate::protocol::ErrorCode::NotCoordinator;
        for (id, member) in &mut self.members {
            member.answer_join(JoinAnswer::refused(error, id.clone()), step);
            member.answer_sync(SyncAnswer::refused(error), step);
        }
    }

    fn enter(&mut self, state: State, now: Now) {
        self.state = state;
        self.state_since_ms = Some(now.wall_ms);
    }

    /// Makes sure that [`Group::tick`] is called at `deadline_ms`.
    fn wake_at(&mut self, deadline_ms: u64) {
        self.wake_ms = Some(self.wake_ms.map_or(deadline_ms, |wake| wake.min(deadline_ms)));
    }

    /// Without a sign of life from the member for so long it is removed.
    fn arm(&mut self, member_id: &str, deadline_ms: u64) {
        if let Some(member) = self.members.get_mut(member_id) {
            member.deadline_ms = Some(deadline_ms);
            self.wake_at(deadline_ms);
        }
    }

    fn arm_session(&mut self, member_id: &str, now: Now) {
        if let Some(member) = self.members.get(member_id) {
            self.arm(member_id, now.monotonic_ms + member.session_timeout_ms());
        }
    }

    /// The rebalance timeout of the slowest member.
    fn rebalance_timeout_ms(&self) -> u64 {
        self.members.values().map(Member::rebalance_timeout_ms).max().unwrap_or(0)
    }

    fn uses_consumer_protocol(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER_PROTOCOL_TYPE)
    }

    fn is_leader(&self, member_id: &str) -> bool {
        self.leader.as_deref() == Some(member_id)
    }

    /// Puts a member in, in place of one with its id.
    fn insert(&mut self, member: Member) {
        let id = member.id.clone();
        self.remove(&id);
        if let Some(instance) = &member.identity.group_instance_id {
            self.statics.insert(instance.clone(), id.clone());
        }
        if self.members.is_empty() {
            self.protocol_type = Some(member.protocol_type.clone());
        }
        self.leader.get_or_insert_with(|| id.clone());
        self.member_bytes += member.held_bytes();
        self.members.insert(id, member);
    }

    /// Takes a member out, pending ones too. Nobody is answered: the caller does that before.
    fn remove(&mut self, member_id: &str) -> Option<Member> {
        self.pending.remove(member_id);
        if let State::CompletingRebalance(syncing) | State::Stable(syncing) = &mut self.state {
            syncing.missing.remove(member_id);
        }
        let member = self.members.remove(member_id)?;
        self.member_bytes -= member.held_bytes();
        if let Some(instance) = &member.identity.group_instance_id {
            self.statics.remove(&**instance);
        }
        if self.is_leader(member_id) {
            self.leader = self.members.keys().next().cloned();
        }
        Some(member)
    }

    /// Changes a member, and keeps count of what it holds.
    fn update<T>(&mut self, member_id: &str, change: impl FnOnce(&mut Member) -> T) -> Option<T> {
        let member = self.members.get_mut(member_id)?;
        self.member_bytes -= member.held_bytes();
        let result = change(member);
        self.member_bytes += member.held_bytes();
        Some(result)
    }
}
