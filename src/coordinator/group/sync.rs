//! Handing out the assignment, and what follows when a record is durable.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::rebalance::JoinedNow;
use super::step::{Effect, JoinAnswer, Step, SyncAnswer, SyncRequest, Waiter, WriteId};
use super::{AfterWrite, Group, State};
use crate::protocol::{ErrorCode, KafkaString};

impl Group {
    /// A member asks for its assignment; the leader brings all of them. `waiter` is answered now, or when they are durable.
    pub fn sync(&mut self, request: &SyncRequest, waiter: Waiter, step: &mut Step) {
        let answer = |answer, step: &mut Step| step.effects.push(Effect::SyncAnswer(waiter, answer));
        if let Err(error) = self.check_sync(request) {
            return answer(SyncAnswer::refused(error), step);
        }
        let id = &request.member_id;
        match &mut self.state {
            State::CompletingRebalance(syncing) => {
                syncing.missing.remove(&**id);
                if let Some(member) = self.members.get_mut(&**id) {
                    member.answer_sync(SyncAnswer::refused(ErrorCode::RebalanceInProgress), step);
                    member.awaiting_sync = Some(waiter);
                }
                if self.is_leader(id) {
                    self.store_assignments(request, step);
                }
            }
            State::Stable(syncing) => {
                syncing.missing.remove(&**id);
                let assignment = self.members.get(&**id).map(|member| member.assignment.clone()).unwrap_or_default();
                answer(self.synced(assignment), step);
            }
            State::Empty | State::PreparingRebalance { .. } => {
                answer(SyncAnswer::refused(ErrorCode::RebalanceInProgress), step);
            }
            State::Dead => answer(SyncAnswer::refused(ErrorCode::CoordinatorNotAvailable), step),
        }
    }

    fn check_sync(&self, request: &SyncRequest) -> Result<(), ErrorCode> {
        if self.state == State::Dead {
            return Err(ErrorCode::CoordinatorNotAvailable);
        }
        self.check_member(&request.member_id, request.group_instance_id.as_deref())?;
        if request.generation != self.generation {
            return Err(ErrorCode::IllegalGeneration);
        }
        let differs = |theirs: &Option<KafkaString>, ours: &Option<KafkaString>| {
            theirs.is_some() && ours.is_some() && theirs != ours
        };
        if differs(&request.protocol_type, &self.protocol_type) || differs(&request.protocol, &self.protocol) {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        Ok(())
    }

    fn store_assignments(&mut self, request: &SyncRequest, step: &mut Step) {
        let given: BTreeMap<&str, &Bytes> = request.assignments.iter().map(|(id, bytes)| (&**id, bytes)).collect();
        let assignments: BTreeMap<KafkaString, Bytes> = self
            .members
            .keys()
            .map(|id| (id.clone(), given.get(&**id).map(|bytes| Bytes::copy_from_slice(bytes)).unwrap_or_default()))
            .collect();
        let write = step.store(self.to_value(&assignments));
        self.recorded = true;
        self.writes.insert(write, AfterWrite::Assignment { generation: self.generation, assignments });
    }

    fn synced(&self, assignment: Bytes) -> SyncAnswer {
        SyncAnswer {
            error: ErrorCode::None,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment,
        }
    }

    /// A record is durable, or could not be written. Writes of other groups are none of this one's business.
    pub fn stored(&mut self, write: WriteId, outcome: Result<(), ErrorCode>, step: &mut Step) {
        match self.writes.remove(&write) {
            Some(AfterWrite::Assignment { generation, assignments }) => {
                // Meanwhile another rebalance may have begun, or ended.
                let State::CompletingRebalance(syncing) = &self.state else { return };
                if generation != self.generation {
                    return;
                }
                match outcome {
                    Ok(()) => {
                        let syncing = syncing.clone();
                        self.hand_out(assignments, step);
                        self.enter(State::Stable(syncing), step.now);
                    }
                    Err(error) => {
                        self.reset_assignments(error, step);
                        self.prepare_rebalance(step);
                    }
                }
            }
            Some(AfterWrite::StaticMember { new_id, before, leader_before, may_skip }) => match outcome {
                Ok(()) => {
                    let is_leader = self.is_leader(&new_id);
                    let how = if may_skip {
                        JoinedNow { skip_assignment: is_leader, ..JoinedNow::default() }
                    } else {
                        // A client that cannot be told to skip the assignment must not take itself for the leader.
                        JoinedNow { leader: leader_before, without_members: true, ..JoinedNow::default() }
                    };
                    let answer = self.joined(&new_id, how);
                    if let Some(member) = self.members.get_mut(&*new_id) {
                        member.answer_join(answer, step);
                    }
                }
                Err(error) => {
                    if let Some(member) = self.members.get_mut(&*new_id) {
                        member.answer_join(JoinAnswer::refused(error, KafkaString::default()), step);
                        let old_id = before.id.clone();
                        self.swap_id(&new_id, old_id.clone(), step);
                        self.update(&old_id, |member| {
                            member.protocols = before.protocols;
                            member.session_timeout_ms = before.session_timeout_ms;
                            member.rebalance_timeout_ms = before.rebalance_timeout_ms;
                        });
                        self.arm_session(&old_id, step.now);
                    }
                }
            },
            Some(AfterWrite::Empty) => {
                if let Err(error) = outcome {
                    // After a crash the generation before is there again, and its members' sessions end soon.
                    tracing::warn!("group {:?}: that it is empty could not be written: {error}", self.id);
                }
            }
            None => {}
        }
    }

    fn hand_out(&mut self, mut assignments: BTreeMap<KafkaString, Bytes>, step: &mut Step) {
        let ids: Vec<KafkaString> = self.members.keys().cloned().collect();
        for id in ids {
            let assignment = assignments.remove(&*id).unwrap_or_default();
            let answer = self.synced(assignment.clone());
            let waited = self.update(&id, |member| {
                member.assignment = assignment;
                member.answer_sync(answer, step)
            });
            if waited == Some(true) {
                // A deadline that passed while it waited was let go.
                self.arm_session(&id, step.now);
            }
        }
    }
}
