//! Joining a group.

use std::collections::HashSet;

use super::member::{Member, Protocol};
use super::rebalance::JoinedNow;
use super::step::{Effect, JoinAnswer, JoinRequest, Step, Waiter};
use super::{AfterWrite, Group, NEW_MEMBER_JOIN_TIMEOUT_MS, State};
use crate::protocol::{ErrorCode, KafkaString};

/// The most member ids of one group that are given out and not used, whatever `group.max.size` says.
pub const PENDING_MEMBERS_MAX: usize = 10_000;

impl Group {
    /// A member joins. `waiter` is answered now or when the generation is there.
    pub fn join(&mut self, request: &JoinRequest, waiter: Waiter, step: &mut Step) {
        let refuse = |error, member_id: &KafkaString, step: &mut Step| {
            let answer = JoinAnswer::refused(error, member_id.clone());
            step.effects.push(Effect::JoinAnswer(waiter, answer));
        };
        let nobody = KafkaString::default();
        if !self.has_room_for(&request.member_id, step) {
            self.remove(&request.member_id);
            return refuse(ErrorCode::GroupMaxSizeReached, &nobody, step);
        }
        if self.state == State::Dead {
            return refuse(ErrorCode::CoordinatorNotAvailable, &request.member_id, step);
        }
        if !self.supports(&request.protocol_type, &request.protocols) {
            return refuse(ErrorCode::InconsistentGroupProtocol, &request.member_id, step);
        }
        if request.member_id.is_empty() {
            return self.join_new(request, waiter, step);
        }
        if self.pending.contains_key(&*request.member_id) {
            if request.identity.group_instance_id.is_some() {
                // Static members are given no id before they join.
                return refuse(ErrorCode::UnknownServerError, &request.member_id, step);
            }
            return self.add(request.member_id.detached(), request, waiter, step);
        }
        match self.check_member(&request.member_id, request.identity.group_instance_id.as_deref()) {
            Ok(()) => self.rejoin(request, waiter, step),
            Err(error) => refuse(error, &request.member_id, step),
        }
    }

    /// Whether the group takes another member, or this one again (`group.max.size`).
    fn has_room_for(&self, member_id: &str, step: &Step) -> bool {
        let size_max = step.settings.size_max;
        match &self.state {
            State::Empty | State::Dead => true,
            // Counts those that have joined: the last ones to rejoin are shut out of a group that is too large.
            State::PreparingRebalance { .. } => {
                self.members.get(member_id).is_some_and(|member| member.awaiting_join.is_some())
                    || self.members.values().filter(|member| member.awaiting_join.is_some()).count() < size_max
            }
            State::CompletingRebalance(_) | State::Stable(_) => {
                self.members.contains_key(member_id) || self.members.len() < size_max
            }
        }
    }

    /// Whether all members have a protocol in common with these.
    fn supports(&self, protocol_type: &str, protocols: &[Protocol]) -> bool {
        if self.state == State::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        self.protocol_type.as_deref() == Some(protocol_type) && {
            let names: HashSet<&str> = protocols.iter().map(|protocol| &*protocol.name).collect();
            !self.common_protocols(Some(names)).is_empty()
        }
    }

    /// The protocols that all members know, of `among` if given.
    pub(super) fn common_protocols<'a>(&'a self, among: Option<HashSet<&'a str>>) -> HashSet<&'a str> {
        let mut common = among;
        for member in self.members.values() {
            let known: HashSet<&str> = member.protocols.iter().map(|protocol| &*protocol.name).collect();
            common = Some(match common {
                None => known,
                Some(common) => common.intersection(&known).copied().collect(),
            });
        }
        common.unwrap_or_default()
    }

    fn join_new(&mut self, request: &JoinRequest, waiter: Waiter, step: &mut Step) {
        let identity = &request.identity;
        let stem = identity.group_instance_id.as_ref().unwrap_or(&identity.client_id);
        let id = KafkaString::from(format!("{stem}-{}", request.suffix));
        if let Some(instance) = &identity.group_instance_id {
            return match self.statics.get(&**instance).cloned() {
                Some(old_id) => self.replace_static(&old_id, id, request, waiter, step),
                None => self.add(id, request, waiter, step),
            };
        }
        if !request.id_first {
            return self.add(id, request, waiter, step);
        }
        let error = if self.pending.len() < PENDING_MEMBERS_MAX.min(step.settings.size_max) {
            let deadline_ms = step.now.monotonic_ms + request.session_timeout_ms.max(0) as u64;
            self.pending.insert(id.clone(), deadline_ms);
            self.wake_at(deadline_ms);
            ErrorCode::MemberIdRequired
        } else {
            ErrorCode::GroupMaxSizeReached
        };
        step.effects.push(Effect::JoinAnswer(waiter, JoinAnswer::refused(error, id)));
    }

    fn add(&mut self, id: KafkaString, request: &JoinRequest, waiter: Waiter, step: &mut Step) {
        if let State::PreparingRebalance { initial: Some(initial), .. } = &mut self.state {
            initial.member_added = true;
        }
        let mut member = Member::new(id.clone(), request);
        member.awaiting_join = Some(waiter);
        self.insert(member);
        self.arm(&id, step.now.monotonic_ms + NEW_MEMBER_JOIN_TIMEOUT_MS);
        tracing::debug!(
            "group {:?}: {id:?} joins ({:?})",
            self.id,
            request.reason.as_deref().unwrap_or("no reason given")
        );
        self.rebalance_or_complete(step);
    }

    fn rejoin(&mut self, request: &JoinRequest, waiter: Waiter, step: &mut Step) {
        let id = &request.member_id;
        let unchanged = self.members.get(&**id).is_some_and(|member| member.matches(&request.protocols));
        match &self.state {
            // It did not get the answer to its first join.
            State::CompletingRebalance(_) if unchanged => self.answer_with_generation(id, waiter, step),
            // A leader that joins again wants another assignment, say because topics have changed.
            State::Stable(_) if unchanged && !self.is_leader(id) => self.answer_with_generation(id, waiter, step),
            _ => {
                self.renew(id, request, waiter, step);
                self.rebalance_or_complete(step);
            }
        }
    }

    /// Takes over what a rejoin says, and lets `waiter` wait in place of the join that waits.
    fn renew(&mut self, id: &str, request: &JoinRequest, waiter: Waiter, step: &mut Step) {
        let answer = JoinAnswer::refused(ErrorCode::RebalanceInProgress, request.member_id.clone());
        self.update(id, |member| {
            member.renew(request);
            member.answer_join(answer, step);
            member.awaiting_join = Some(waiter);
        });
    }

    fn answer_with_generation(&mut self, id: &str, waiter: Waiter, step: &mut Step) {
        let answer = self.joined(id, JoinedNow::default());
        step.effects.push(Effect::JoinAnswer(waiter, answer));
    }

    /// A static member comes back without its member id: it gets a new one, and who uses the old one is fenced.
    fn replace_static(
        &mut self,
        old_id: &KafkaString,
        new_id: KafkaString,
        request: &JoinRequest,
        waiter: Waiter,
        step: &mut Step,
    ) {
        let leader_before = self.leader.clone();
        let Some(before) = self.swap_id(old_id, new_id.clone(), step) else { return };
        self.arm_session(&new_id, step.now);
        self.renew(&new_id, request, waiter, step);
        match &self.state {
            State::Stable(_) => {
                if self.select_protocol() != self.protocol {
                    return self.rebalance_or_complete(step);
                }
                let assignments =
                    self.members.iter().map(|(id, member)| (id.clone(), member.assignment.clone())).collect();
                let write = step.store(self.to_value(&assignments));
                let may_skip = request.may_skip_assignment;
                let before = Box::new(before);
                self.writes.insert(write, AfterWrite::StaticMember { new_id, before, leader_before, may_skip });
            }
            // The leader may have been told the old id, and would assign to it.
            State::CompletingRebalance(_) => self.prepare_rebalance(step),
            _ => self.maybe_complete_join(step),
        }
    }

    /// Gives a static member another id; returns the member as it was. Whoever waits under the old id is fenced.
    pub(super) fn swap_id(&mut self, old_id: &str, new_id: KafkaString, step: &mut Step) -> Option<Member> {
        let was_leader = self.is_leader(old_id);
        let was_missing = match &self.state {
            State::CompletingRebalance(syncing) | State::Stable(syncing) => syncing.missing.contains(old_id),
            _ => false,
        };
        let mut old = self.remove(old_id)?;
        old.answer_join(JoinAnswer::refused(ErrorCode::FencedInstanceId, old.id.clone()), step);
        old.answer_sync(super::SyncAnswer::refused(ErrorCode::FencedInstanceId), step);
        let mut new = old.clone();
        new.id = new_id.clone();
        new.is_new = false;
        self.insert(new);
        if was_leader {
            self.leader = Some(new_id.clone());
        }
        if let State::CompletingRebalance(syncing) | State::Stable(syncing) = &mut self.state
            && was_missing
        {
            syncing.missing.insert(new_id);
        }
        Some(old)
    }
}
