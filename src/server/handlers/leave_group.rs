//! LeaveGroup: one member up to version 2, several from version 3 on (KIP-345).

use std::rc::Rc;

use crate::coordinator::group::LeavingMember;
use crate::protocol::ErrorCode;
use crate::protocol::messages::leave_group::{LeaveGroupRequest, LeaveGroupResponse, MemberIdentity, MemberResponse};
use crate::server::broker::Broker;
use crate::server::groups::requests;

/// From this version on a request names several members, and each has its own result.
const FIRST_VERSION_WITH_MEMBERS: i16 = 3;

pub(super) async fn handle(broker: Rc<Broker>, version: i16, request: LeaveGroupRequest) -> LeaveGroupResponse {
    let by_members = version >= FIRST_VERSION_WITH_MEMBERS;
    let members = if by_members {
        request.members.clone()
    } else {
        vec![MemberIdentity { member_id: request.member_id.clone(), ..Default::default() }]
    };
    let results = match leave(broker, &request, &members).await {
        Ok(results) => results,
        Err(error_code) => return LeaveGroupResponse { error_code, ..Default::default() },
    };
    if !by_members {
        let error_code = results.first().copied().unwrap_or_default();
        return LeaveGroupResponse { error_code, ..Default::default() };
    }
    let members = members.into_iter().zip(results).map(|(member, error_code)| MemberResponse {
        member_id: member.member_id,
        group_instance_id: member.group_instance_id,
        error_code,
    });
    LeaveGroupResponse { members: members.collect(), ..Default::default() }
}

async fn leave(
    broker: Rc<Broker>,
    request: &LeaveGroupRequest,
    members: &[MemberIdentity],
) -> Result<Vec<ErrorCode>, ErrorCode> {
    if request.group_id.is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    let (owner, group) = super::groups::place(&broker, &request.group_id)?;
    let leaving = members
        .iter()
        .map(|member| LeavingMember {
            member_id: member.member_id.clone(),
            group_instance_id: member.group_instance_id.clone(),
            reason: member.reason.clone(),
        })
        .collect();
    let left = broker.on(owner, move |broker| requests::leave(broker, group, leaving)).await;
    left.unwrap_or(Err(ErrorCode::NotCoordinator))
}
