//! SyncGroup: the answer comes when the leader's assignment is durable.

use std::rc::Rc;

use super::groups::{Caller, until_gone};
use crate::coordinator::group::{SyncAnswer, SyncRequest};
use crate::protocol::ErrorCode;
use crate::protocol::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};
use crate::server::broker::Broker;
use crate::server::groups::requests;

/// From this version on a request must say what it takes the group's protocol to be (KIP-559).
const FIRST_VERSION_WITH_PROTOCOL: i16 = 5;

pub(super) async fn handle(
    broker: Rc<Broker>,
    caller: Caller,
    version: i16,
    request: SyncGroupRequest,
) -> SyncGroupResponse {
    if request.group_id.is_empty() {
        return refused(ErrorCode::InvalidGroupId);
    }
    let says_protocol = request.protocol_type.is_some() && request.protocol_name.is_some();
    if version >= FIRST_VERSION_WITH_PROTOCOL && !says_protocol {
        return refused(ErrorCode::InconsistentGroupProtocol);
    }
    let (owner, group) = match super::groups::place(&broker, &request.group_id) {
        Ok(found) => found,
        Err(error) => return refused(error),
    };
    let sync = SyncRequest {
        member_id: request.member_id,
        group_instance_id: request.group_instance_id,
        generation: request.generation_id,
        protocol_type: request.protocol_type,
        protocol: request.protocol_name,
        assignments: request
            .assignments
            .into_iter()
            .map(|assignment| (assignment.member_id, assignment.assignment))
            .collect(),
    };
    let waiter = broker.groups.next_waiter(&broker);
    let call = broker.on(owner, move |broker| requests::sync(broker, group, sync, waiter));
    match until_gone(&broker, &caller, owner, waiter, call).await {
        Ok(answer) => response(answer),
        Err(_) => refused(ErrorCode::NotCoordinator),
    }
}

fn refused(error: ErrorCode) -> SyncGroupResponse {
    response(SyncAnswer::refused(error))
}

fn response(answer: SyncAnswer) -> SyncGroupResponse {
    SyncGroupResponse {
        error_code: answer.error,
        protocol_type: answer.protocol_type,
        protocol_name: answer.protocol,
        assignment: answer.assignment,
        ..Default::default()
    }
}
