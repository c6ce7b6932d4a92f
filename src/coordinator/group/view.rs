//! A group as administrators see it.

use bytes::Bytes;

use super::{Group, State};
use crate::protocol::KafkaString;

/// A group, for DescribeGroups and ListGroups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupView {
    /// The group.
    pub id: KafkaString,
    /// Kafka's name of its state.
    pub state: &'static str,
    /// What it is for; empty when it never had a member.
    pub protocol_type: KafkaString,
    /// The chosen protocol, in a stable group; else empty.
    pub protocol: KafkaString,
    /// Its members.
    pub members: Vec<MemberView>,
}

/// A member of a described group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberView {
    /// Its member id.
    pub member_id: KafkaString,
    /// Its id as a static member.
    pub group_instance_id: Option<KafkaString>,
    /// The client id of its connection.
    pub client_id: KafkaString,
    /// The address of its connection.
    pub client_host: KafkaString,
    /// What it sent with the chosen protocol, in a stable group; else empty.
    pub metadata: Bytes,
    /// Its assignment, in a stable group; else empty.
    pub assignment: Bytes,
}

impl Group {
    /// Kafka's name of the group's state.
    pub fn state_name(&self) -> &'static str {
        match self.state {
            State::Empty => "Empty",
            State::PreparingRebalance { .. } => "PreparingRebalance",
            State::CompletingRebalance(_) => "CompletingRebalance",
            State::Stable(_) => "Stable",
            State::Dead => "Dead",
        }
    }

    /// What the group is for; empty when it never had a member.
    pub fn protocol_type(&self) -> KafkaString {
        self.protocol_type.clone().unwrap_or_default()
    }

    /// The group and its members.
    pub fn view(&self) -> GroupView {
        let protocol = self.protocol.as_ref().filter(|_| matches!(self.state, State::Stable(_)));
        let members = self.members.values().map(|member| MemberView {
            member_id: member.id.clone(),
            group_instance_id: member.identity.group_instance_id.clone(),
            client_id: member.identity.client_id.clone(),
            client_host: member.identity.client_host.clone(),
            metadata: protocol.map(|protocol| member.metadata(Some(protocol))).unwrap_or_default(),
            assignment: protocol.map(|_| member.assignment.clone()).unwrap_or_default(),
        });
        GroupView {
            id: self.id.clone(),
            state: self.state_name(),
            protocol_type: self.protocol_type(),
            protocol: protocol.cloned().unwrap_or_default(),
            members: members.collect(),
        }
    }
}
