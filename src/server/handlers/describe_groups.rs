//! DescribeGroups.

use std::rc::Rc;

use super::groups::ALL_OPERATIONS;
use crate::coordinator::group::GroupView;
use crate::protocol::messages::describe_groups::{
    DescribeGroupsRequest, DescribeGroupsResponse, DescribedGroup, DescribedGroupMember,
};
use crate::protocol::{ErrorCode, KafkaString};
use crate::server::broker::Broker;
use crate::server::groups::requests;

/// From this version on a group that there is not is an error (KIP-1043); before, it is described as dead.
const FIRST_VERSION_WITH_MISSING_GROUPS: i16 = 6;

pub(super) async fn handle(broker: Rc<Broker>, version: i16, request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let mut groups = Vec::with_capacity(request.groups.len());
    for group_id in request.groups {
        let mut described = match describe(&broker, &group_id).await {
            Ok(view) => described(view),
            Err(ErrorCode::GroupIdNotFound) => missing(version, group_id),
            Err(error_code) => DescribedGroup { error_code, group_id, ..Default::default() },
        };
        if request.include_authorized_operations && described.error_code == ErrorCode::None {
            described.authorized_operations = ALL_OPERATIONS;
        }
        groups.push(described);
    }
    DescribeGroupsResponse { groups, ..Default::default() }
}

async fn describe(broker: &Rc<Broker>, group_id: &KafkaString) -> Result<GroupView, ErrorCode> {
    let (owner, group) = super::groups::place(broker, group_id)?;
    let view = broker.on(owner, move |broker| requests::describe(broker, group)).await;
    view.unwrap_or(Err(ErrorCode::NotCoordinator))
}

fn missing(version: i16, group_id: KafkaString) -> DescribedGroup {
    let dead = DescribedGroup { group_state: "Dead".into(), group_id, ..Default::default() };
    if version < FIRST_VERSION_WITH_MISSING_GROUPS {
        return dead;
    }
    let error_message = Some(format!("Group {} not found.", dead.group_id).into());
    DescribedGroup { error_code: ErrorCode::GroupIdNotFound, error_message, ..dead }
}

fn described(view: GroupView) -> DescribedGroup {
    let members = view.members.into_iter().map(|member| DescribedGroupMember {
        member_id: member.member_id,
        group_instance_id: member.group_instance_id,
        client_id: member.client_id,
        client_host: member.client_host,
        member_metadata: member.metadata,
        member_assignment: member.assignment,
    });
    DescribedGroup {
        group_id: view.id,
        group_state: view.state.into(),
        protocol_type: view.protocol_type,
        protocol_data: view.protocol,
        members: members.collect(),
        ..Default::default()
    }
}
