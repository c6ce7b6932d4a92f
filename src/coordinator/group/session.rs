//! Signs of life, leaving, and the passing of time; also what a group says of commits and of its offsets' expiry.

use super::step::{JoinAnswer, Step, SyncAnswer};
use super::{Group, State};
use crate::protocol::{ErrorCode, KafkaString};
use crate::vocabulary::TimestampMs;

/// A member that leaves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LeavingMember {
    /// Its member id; empty when only its static id is known, as when an administrator removes it.
    pub member_id: KafkaString,
    /// Its id as a static member.
    pub group_instance_id: Option<KafkaString>,
    /// Why it leaves, for the log.
    pub reason: Option<KafkaString>,
}

/// From when the retention of a group's offsets counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetExpiry {
    /// The group is in use: none expires.
    Never,
    /// From each offset's commit.
    SinceCommit,
    /// From when the group became empty.
    Since(TimestampMs),
}

impl Group {
    /// Whether the member is known, under its static id if it has one.
    pub(super) fn check_member(&self, member_id: &str, instance_id: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance) = instance_id {
            match self.statics.get(instance) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(known) if known != member_id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(member_id) { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
    }

    /// A heartbeat.
    ///
    /// # Errors
    /// REBALANCE_IN_PROGRESS tells the member to rejoin; others that it is none, or not of this generation.
    pub fn heartbeat(
        &mut self,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
        step: &mut Step,
    ) -> Result<(), ErrorCode> {
        if self.state == State::Dead {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        self.check_member(member_id, instance_id)?;
        if generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        match &self.state {
            State::Empty | State::Dead => Err(ErrorCode::UnknownMemberId),
            State::PreparingRebalance { .. } => {
                self.arm_session(member_id, step.now);
                Err(ErrorCode::RebalanceInProgress)
            }
            State::CompletingRebalance(_) | State::Stable(_) => {
                self.arm_session(member_id, step.now);
                Ok(())
            }
        }
    }

    /// Members leave; the result of each, in order.
    pub fn leave(&mut self, leaving: &[LeavingMember], step: &mut Step) -> Vec<ErrorCode> {
        let results: Vec<ErrorCode> = leaving.iter().map(|member| self.leave_one(member, step)).collect();
        if results.contains(&ErrorCode::None) {
            match self.state {
                State::Stable(_) | State::CompletingRebalance(_) => self.prepare_rebalance(step),
                State::PreparingRebalance { .. } => self.maybe_complete_join(step),
                State::Empty | State::Dead => {}
            }
        }
        results
    }

    fn leave_one(&mut self, leaving: &LeavingMember, step: &mut Step) -> ErrorCode {
        if self.state == State::Dead {
            return ErrorCode::CoordinatorNotAvailable;
        }
        let instance = leaving.group_instance_id.as_deref();
        let id = if leaving.member_id.is_empty() {
            match instance.and_then(|instance| self.statics.get(instance)) {
                Some(id) => id.clone(),
                None => return ErrorCode::UnknownMemberId,
            }
        } else if self.pending.remove(&*leaving.member_id).is_some() {
            return ErrorCode::None;
        } else {
            match self.check_member(&leaving.member_id, instance) {
                Ok(()) => leaving.member_id.clone(),
                Err(error) => return error,
            }
        };
        let reason = leaving.reason.as_deref().unwrap_or("no reason given");
        tracing::info!("group {:?}: {id:?} leaves ({reason:?})", self.id);
        self.dismiss(&id, step);
        ErrorCode::None
    }

    /// Removes a member; what waits of it is told to begin anew.
    fn dismiss(&mut self, id: &str, step: &mut Step) {
        if let Some(mut member) = self.remove(id) {
            member.answer_join(JoinAnswer::refused(ErrorCode::UnknownMemberId, KafkaString::default()), step);
            member.answer_sync(SyncAnswer::refused(ErrorCode::UnknownMemberId), step);
        }
    }

    /// Time has passed: removes who was silent too long, and goes on with a rebalance that has waited enough.
    pub fn tick(&mut self, step: &mut Step) {
        let now_ms = step.now.monotonic_ms;
        if self.wake_ms.is_none_or(|wake| wake > now_ms) {
            return;
        }
        self.expire_pending(step);
        self.expire_sessions(step);
        match &self.state {
            State::PreparingRebalance { deadline_ms, .. } if *deadline_ms <= now_ms => self.join_deadline_passed(step),
            State::CompletingRebalance(syncing) | State::Stable(syncing)
                if !syncing.missing.is_empty() && syncing.deadline_ms <= now_ms =>
            {
                self.sync_deadline_passed(step);
            }
            _ => {}
        }
        self.wake_ms = self.next_deadline_ms();
    }

    fn next_deadline_ms(&self) -> Option<u64> {
        let state = match &self.state {
            State::PreparingRebalance { deadline_ms, .. } => Some(*deadline_ms),
            State::CompletingRebalance(syncing) | State::Stable(syncing) if !syncing.missing.is_empty() => {
                Some(syncing.deadline_ms)
            }
            _ => None,
        };
        let members = self.members.values().filter_map(|member| member.deadline_ms);
        members.chain(self.pending.values().copied()).chain(state).min()
    }

    fn expire_pending(&mut self, step: &mut Step) {
        let before = self.pending.len();
        self.pending.retain(|_, deadline_ms| *deadline_ms > step.now.monotonic_ms);
        if self.pending.len() < before {
            self.maybe_complete_join_after_removal(step);
        }
    }

    fn expire_sessions(&mut self, step: &mut Step) {
        let now_ms = step.now.monotonic_ms;
        let passed = |deadline: Option<u64>| deadline.is_some_and(|at| at <= now_ms);
        let due: Vec<KafkaString> =
            self.members.iter().filter(|(_, member)| passed(member.deadline_ms)).map(|(id, _)| id.clone()).collect();
        for id in due {
            let Some(member) = self.members.get_mut(&*id) else { continue };
            // What happened to others may have given it new time.
            if !passed(member.deadline_ms) {
                continue;
            }
            member.deadline_ms = None;
            if member.is_excused() {
                continue;
            }
            tracing::info!("group {:?}: {id:?} was silent too long and is removed", self.id);
            self.dismiss(&id, step);
            match self.state {
                State::Stable(_) | State::CompletingRebalance(_) => self.prepare_rebalance(step),
                State::PreparingRebalance { .. } => self.maybe_complete_join_after_removal(step),
                State::Empty | State::Dead => {}
            }
        }
    }

    /// Who has not asked for its assignment does not want it.
    fn sync_deadline_passed(&mut self, step: &mut Step) {
        let (State::CompletingRebalance(syncing) | State::Stable(syncing)) = &mut self.state else { return };
        for id in std::mem::take(&mut syncing.missing) {
            tracing::info!("group {:?}: {id:?} did not ask for its assignment in time and is removed", self.id);
            self.dismiss(&id, step);
        }
        self.prepare_rebalance(step);
    }

    /// Whether offsets may be committed; a member's commit is a sign of life.
    ///
    /// # Errors
    /// Why not.
    pub fn commit(
        &mut self,
        member_id: &str,
        instance_id: Option<&str>,
        generation: i32,
        step: &mut Step,
    ) -> Result<(), ErrorCode> {
        if self.state == State::Dead {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        if generation < 0 && self.state == State::Empty {
            // From an administrator, or a consumer that assigns itself its partitions.
            return Ok(());
        }
        if generation < 0 && member_id.is_empty() && instance_id.is_none() {
            return Err(ErrorCode::UnknownMemberId);
        }
        self.check_member(member_id, instance_id)?;
        if generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        match self.state {
            // It knows the generation and not yet its part in it: it may go on, but not with the partitions it had.
            State::CompletingRebalance(_) => Err(ErrorCode::RebalanceInProgress),
            _ => {
                self.arm_session(member_id, step.now);
                Ok(())
            }
        }
    }

    /// Whether single offsets may be deleted.
    ///
    /// # Errors
    /// Why not.
    pub fn check_offset_delete(&self) -> Result<(), ErrorCode> {
        match self.state {
            State::Dead => Err(ErrorCode::GroupIdNotFound),
            State::Empty => Ok(()),
            _ if self.uses_consumer_protocol() => Ok(()),
            _ => Err(ErrorCode::NonEmptyGroup),
        }
    }

    /// Whether the group may be deleted.
    ///
    /// # Errors
    /// Why not.
    pub fn check_delete(&self) -> Result<(), ErrorCode> {
        match self.state {
            State::Dead => Err(ErrorCode::GroupIdNotFound),
            State::Empty => Ok(()),
            _ => Err(ErrorCode::NonEmptyGroup),
        }
    }

    /// Whether members consume the topic, as far as can be known: when it cannot, consumers count as consuming it.
    pub fn is_subscribed_to(&self, topic: &str) -> bool {
        match &self.subscribed {
            Some(topics) => topics.contains(topic),
            None => self.uses_consumer_protocol(),
        }
    }

    /// How the group's offsets expire. Those of topics that it is subscribed to never do.
    pub fn offset_expiry(&self) -> OffsetExpiry {
        if self.protocol_type.is_none() {
            return OffsetExpiry::SinceCommit;
        }
        match self.state {
            State::Empty => self.state_since_ms.map_or(OffsetExpiry::SinceCommit, OffsetExpiry::Since),
            State::Stable(_) if self.uses_consumer_protocol() && self.subscribed.is_some() => OffsetExpiry::SinceCommit,
            _ => OffsetExpiry::Never,
        }
    }
}
