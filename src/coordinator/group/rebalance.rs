//! From a reason to rebalance to the next generation.

use std::collections::HashMap;

use super::step::{JoinAnswer, JoinedMember, Step, SyncAnswer};
use super::{AfterWrite, Group, InitialDelay, State, Syncing};
use crate::protocol::{ErrorCode, KafkaString};

/// The shortest wait for members that did not rejoin: a rebalance timeout may be 0.
const POSTPONED_MS_MIN: u64 = 1_000;

/// How a join is answered besides what the group says.
#[derive(Default)]
pub(super) struct JoinedNow {
    /// Told instead of the present leader.
    pub(super) leader: Option<KafkaString>,
    /// The member is the leader, and is to keep the assignment.
    pub(super) skip_assignment: bool,
    /// The member is not told who the others are, though it be the leader.
    pub(super) without_members: bool,
}

impl Group {
    /// Begins a rebalance, or goes on with the one that has begun.
    pub(super) fn rebalance_or_complete(&mut self, step: &mut Step) {
        match self.state {
            State::Empty | State::CompletingRebalance(_) | State::Stable(_) => self.prepare_rebalance(step),
            State::PreparingRebalance { .. } => self.maybe_complete_join(step),
            State::Dead => {}
        }
    }

    pub(super) fn prepare_rebalance(&mut self, step: &mut Step) {
        if matches!(self.state, State::CompletingRebalance(_)) {
            self.reset_assignments(ErrorCode::RebalanceInProgress, step);
        }
        let timeout_ms = self.rebalance_timeout_ms();
        let initial = (self.state == State::Empty).then(|| {
            // An empty group is given time, so that all of a starting application join its first generation.
            let delay_ms = step.settings.initial_rebalance_delay_ms.max(0) as u64;
            InitialDelay { delay_ms, remaining_ms: timeout_ms.saturating_sub(delay_ms), member_added: false }
        });
        let wait_ms = initial.as_ref().map_or(timeout_ms, |initial| initial.delay_ms);
        let deadline_ms = step.now.monotonic_ms + wait_ms;
        let is_initial = initial.is_some();
        self.enter(State::PreparingRebalance { deadline_ms, initial }, step.now);
        self.wake_at(deadline_ms);
        if !is_initial {
            self.maybe_complete_join(step);
        }
    }

    /// Takes all assignments back, and tells those that wait for one.
    pub(super) fn reset_assignments(&mut self, error: ErrorCode, step: &mut Step) {
        let ids: Vec<KafkaString> = self.members.keys().cloned().collect();
        for id in ids {
            let waited = self.update(&id, |member| {
                member.assignment = bytes::Bytes::new();
                member.answer_sync(SyncAnswer::refused(error), step)
            });
            if waited == Some(true) {
                self.arm_session(&id, step.now);
            }
        }
    }

    fn have_all_joined(&self) -> bool {
        self.pending.is_empty() && self.members.values().all(|member| member.awaiting_join.is_some())
    }

    /// Goes on when everybody is there. A first rebalance waits for its delay all the same.
    pub(super) fn maybe_complete_join(&mut self, step: &mut Step) {
        if matches!(self.state, State::PreparingRebalance { initial: None, .. }) && self.have_all_joined() {
            self.complete_join(step);
        }
    }

    /// As [`Group::maybe_complete_join`], after a member was removed: a first rebalance may then have nobody to wait for.
    pub(super) fn maybe_complete_join_after_removal(&mut self, step: &mut Step) {
        if matches!(self.state, State::PreparingRebalance { .. }) && self.have_all_joined() {
            self.complete_join(step);
        }
    }

    /// The time of a rebalance's wait is over.
    pub(super) fn join_deadline_passed(&mut self, step: &mut Step) {
        let State::PreparingRebalance { deadline_ms, initial } = &mut self.state else { return };
        if let Some(initial) = initial
            && initial.member_added
            && initial.remaining_ms > 0
        {
            // Others may be on their way too.
            let delay_ms = (step.settings.initial_rebalance_delay_ms.max(0) as u64).min(initial.remaining_ms);
            let remaining_ms = initial.remaining_ms.saturating_sub(initial.delay_ms);
            *initial = InitialDelay { delay_ms, remaining_ms, member_added: false };
            *deadline_ms = step.now.monotonic_ms + delay_ms;
            let deadline_ms = *deadline_ms;
            self.wake_at(deadline_ms);
            return;
        }
        self.complete_join(step);
    }

    /// Leaves behind who has not rejoined, and begins the next generation. A static member stays until its session ends.
    fn complete_join(&mut self, step: &mut Step) {
        let absent: Vec<KafkaString> = self
            .members
            .iter()
            .filter(|(_, member)| member.awaiting_join.is_none() && !member.is_static())
            .map(|(id, _)| id.clone())
            .collect();
        for id in absent {
            tracing::info!("group {:?}: {id:?} did not rejoin in time and is removed", self.id);
            self.remove(&id);
        }
        if !self.elect_leader() && !self.members.is_empty() {
            // Only static members are left, and none has rejoined: until their sessions end there is nothing to do.
            let deadline_ms = step.now.monotonic_ms + self.rebalance_timeout_ms().max(POSTPONED_MS_MIN);
            self.state = State::PreparingRebalance { deadline_ms, initial: None };
            return self.wake_at(deadline_ms);
        }
        self.generation = self.generation.checked_add(1).unwrap_or(0);
        self.protocol = self.select_protocol();
        self.subscribed = self.subscriptions();
        if self.members.is_empty() {
            self.enter(State::Empty, step.now);
            tracing::info!("group {:?}: generation {} is empty", self.id, self.generation);
            let write = step.store(self.to_value(&Default::default()));
            self.recorded = true;
            self.writes.insert(write, AfterWrite::Empty);
            return;
        }
        tracing::info!("group {:?}: generation {} has {} members", self.id, self.generation, self.members.len());
        let deadline_ms = step.now.monotonic_ms + self.rebalance_timeout_ms();
        let missing = self.members.keys().cloned().collect();
        self.enter(State::CompletingRebalance(Syncing { missing, deadline_ms }), step.now);
        self.wake_at(deadline_ms);
        let ids: Vec<KafkaString> = self.members.keys().cloned().collect();
        for id in ids {
            let answer = self.joined(&id, JoinedNow::default());
            if let Some(member) = self.members.get_mut(&*id) {
                member.answer_join(answer, step);
                member.is_new = false;
            }
            self.arm_session(&id, step.now);
        }
    }

    /// Whether a member that has joined is the leader, made so if need be.
    fn elect_leader(&mut self) -> bool {
        let Some(leader) = &self.leader else { return false };
        if self.members.get(&**leader).is_some_and(|member| member.awaiting_join.is_some()) {
            return true;
        }
        let joined = self.members.iter().find(|(_, member)| member.awaiting_join.is_some());
        match joined.map(|(id, _)| id.clone()) {
            Some(id) => {
                self.leader = Some(id);
                true
            }
            None => false,
        }
    }

    /// The protocol with the most votes among those that all members know; of several, the one that the leader likes
    /// best. `None` without members.
    pub(super) fn select_protocol(&self) -> Option<KafkaString> {
        let candidates = self.common_protocols(None);
        let mut votes: HashMap<&KafkaString, usize> = HashMap::new();
        for vote in self.members.values().filter_map(|member| member.vote(&candidates)) {
            *votes.entry(vote).or_default() += 1;
        }
        let most = votes.values().copied().max()?;
        let leader = self.leader.as_ref().and_then(|leader| self.members.get(&**leader));
        let liked = leader.into_iter().flat_map(|leader| leader.protocols.iter().map(|protocol| &protocol.name));
        liked.into_iter().find(|name| votes.get(*name) == Some(&most)).cloned().or_else(|| {
            // The leader voted for something else: any order will do, if it is always the same.
            votes.iter().filter(|(_, count)| **count == most).map(|(name, _)| (*name).clone()).min()
        })
    }

    /// What a member is told of the present generation.
    pub(super) fn joined(&self, member_id: &str, how: JoinedNow) -> JoinAnswer {
        let members = if self.is_leader(member_id) && !how.without_members {
            let one = |member: &super::Member| JoinedMember {
                member_id: member.id.clone(),
                group_instance_id: member.identity.group_instance_id.clone(),
                metadata: member.metadata(self.protocol.as_deref()),
            };
            self.members.values().map(one).collect()
        } else {
            Vec::new()
        };
        JoinAnswer {
            error: ErrorCode::None,
            generation: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: how.leader.or_else(|| self.leader.clone()).unwrap_or_default(),
            skip_assignment: how.skip_assignment,
            member_id: KafkaString::from(member_id),
            members,
        }
    }
}
