//! A group's record in `__consumer_offsets`, and a group made from one.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::member::{Identity, Member, Protocol};
use super::step::{Now, Step};
use super::{Group, State, Syncing};
use crate::coordinator::offsets::records::{GroupMetadataValue, MemberMetadata};
use crate::protocol::KafkaString;

/// A record that no coordinator would have written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the record of group {0} names members but no protocol")]
pub struct UnreadableGroup(pub KafkaString);

impl Group {
    /// The group's record, with these assignments.
    pub(super) fn to_value(&self, assignments: &BTreeMap<KafkaString, Bytes>) -> GroupMetadataValue {
        let one = |member: &Member| MemberMetadata {
            member_id: member.id.clone(),
            group_instance_id: member.identity.group_instance_id.clone(),
            client_id: member.identity.client_id.clone(),
            client_host: member.identity.client_host.clone(),
            rebalance_timeout: member.rebalance_timeout_ms,
            session_timeout: member.session_timeout_ms,
            subscription: member.metadata(self.protocol.as_deref()),
            assignment: assignments.get(&*member.id).cloned().unwrap_or_default(),
        };
        GroupMetadataValue {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            current_state_timestamp: self.state_since_ms.unwrap_or(-1),
            members: self.members.values().map(one).collect(),
        }
    }

    /// The group that a record speaks of. Its members' sessions begin with [`Group::loaded`].
    ///
    /// # Errors
    /// [`UnreadableGroup`].
    pub fn from_value(id: KafkaString, value: &GroupMetadataValue, now: Now) -> Result<Group, UnreadableGroup> {
        let mut group = Group::new(id.detached(), now);
        let protocol = match &value.protocol {
            Some(protocol) => protocol.detached(),
            None if value.members.is_empty() => KafkaString::default(),
            None => return Err(UnreadableGroup(id)),
        };
        for member in &value.members {
            // Records of version 0 have no rebalance timeout.
            let rebalance_timeout_ms =
                if member.rebalance_timeout > 0 { member.rebalance_timeout } else { member.session_timeout };
            group.insert(Member {
                id: member.member_id.detached(),
                identity: Identity {
                    group_instance_id: member.group_instance_id.as_ref().map(KafkaString::detached),
                    client_id: member.client_id.detached(),
                    client_host: member.client_host.detached(),
                },
                protocol_type: value.protocol_type.detached(),
                protocols: vec![Protocol {
                    name: protocol.clone(),
                    metadata: Bytes::copy_from_slice(&member.subscription),
                }],
                session_timeout_ms: member.session_timeout,
                rebalance_timeout_ms,
                assignment: Bytes::copy_from_slice(&member.assignment),
                is_new: false,
                awaiting_join: None,
                awaiting_sync: None,
                deadline_ms: None,
            });
        }
        if !group.members.is_empty() {
            group.state = State::Stable(Syncing::default());
            // The record's leader, if it is among the members.
            if let Some(leader) = value.leader.as_ref().filter(|leader| group.members.contains_key(&***leader)) {
                group.leader = Some(leader.detached());
            }
        }
        group.generation = value.generation;
        group.protocol_type =
            Some(&value.protocol_type).filter(|protocol_type| !protocol_type.is_empty()).map(KafkaString::detached);
        group.protocol = value.protocol.as_ref().map(|_| protocol);
        group.state_since_ms = Some(value.current_state_timestamp).filter(|&since| since != -1);
        group.subscribed = group.subscriptions();
        group.recorded = true;
        Ok(group)
    }

    /// The coordinator has read its log to the end: the members have a session from now on to show that they live.
    pub fn loaded(&mut self, step: &mut Step) {
        let ids: Vec<KafkaString> = self.members.keys().cloned().collect();
        for id in ids {
            self.arm_session(&id, step.now);
        }
        if self.members.len() > step.settings.size_max {
            // group.max.size was lowered: who rejoins last is shut out.
            self.prepare_rebalance(step);
        }
    }
}
