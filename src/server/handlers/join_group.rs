//! JoinGroup: the answer comes when the group's generation is there.

use std::rc::Rc;

use super::groups::{Caller, until_gone};
use crate::coordinator::group::{Identity, JoinAnswer, JoinRequest, Protocol};
use crate::protocol::messages::join_group::{JoinGroupRequest, JoinGroupResponse, JoinGroupResponseMember};
use crate::protocol::{ErrorCode, KafkaString};
use crate::server::broker::{Broker, random_id};
use crate::server::groups::requests;

/// From this version on a request has a rebalance timeout; before, the session timeout is that too.
const FIRST_VERSION_WITH_REBALANCE_TIMEOUT: i16 = 1;
/// From this version on a new member is told its id first (KIP-394).
const FIRST_VERSION_WITH_ID_FIRST: i16 = 4;
/// From this version on a leader can be told to keep the assignment (KIP-814).
const FIRST_VERSION_WITH_SKIP_ASSIGNMENT: i16 = 9;

pub(super) async fn handle(
    broker: Rc<Broker>,
    caller: Caller,
    version: i16,
    request: JoinGroupRequest,
) -> JoinGroupResponse {
    let settings = &broker.settings.groups;
    let timeouts = settings.session_timeout_min_ms..=settings.session_timeout_max_ms;
    if request.group_id.is_empty() {
        return refused(ErrorCode::InvalidGroupId, request.member_id);
    }
    if !timeouts.contains(&request.session_timeout_ms) {
        return refused(ErrorCode::InvalidSessionTimeout, request.member_id);
    }
    let (owner, group) = match super::groups::place(&broker, &request.group_id) {
        Ok(found) => found,
        Err(error) => return refused(error, request.member_id),
    };
    let has_rebalance_timeout = version >= FIRST_VERSION_WITH_REBALANCE_TIMEOUT;
    let join = JoinRequest {
        member_id: request.member_id.clone(),
        identity: Identity {
            group_instance_id: request.group_instance_id,
            client_id: caller.client_id.clone(),
            client_host: caller.host(),
        },
        protocol_type: request.protocol_type,
        protocols: request
            .protocols
            .into_iter()
            .map(|protocol| Protocol { name: protocol.name, metadata: protocol.metadata })
            .collect(),
        session_timeout_ms: request.session_timeout_ms,
        rebalance_timeout_ms: if has_rebalance_timeout {
            request.rebalance_timeout_ms
        } else {
            request.session_timeout_ms
        },
        id_first: version >= FIRST_VERSION_WITH_ID_FIRST,
        may_skip_assignment: version >= FIRST_VERSION_WITH_SKIP_ASSIGNMENT,
        suffix: uuid(random_id().0),
        reason: request.reason,
    };
    let waiter = broker.groups.next_waiter(&broker);
    let call = broker.on(owner, move |broker| requests::join(broker, group, join, waiter));
    match until_gone(&broker, &caller, owner, waiter, call).await {
        Ok(answer) => response(answer),
        Err(_) => refused(ErrorCode::NotCoordinator, request.member_id),
    }
}

fn refused(error: ErrorCode, member_id: KafkaString) -> JoinGroupResponse {
    response(JoinAnswer::refused(error, member_id))
}

fn response(answer: JoinAnswer) -> JoinGroupResponse {
    let members = answer.members.into_iter().map(|member| JoinGroupResponseMember {
        member_id: member.member_id,
        group_instance_id: member.group_instance_id,
        metadata: member.metadata,
    });
    JoinGroupResponse {
        error_code: answer.error,
        generation_id: answer.generation,
        protocol_type: answer.protocol_type,
        protocol_name: answer.protocol,
        leader: answer.leader,
        skip_assignment: answer.skip_assignment,
        member_id: answer.member_id,
        members: members.collect(),
        ..Default::default()
    }
}

/// A random UUID as Java prints it (RFC 9562, version 4).
fn uuid(mut random: [u8; 16]) -> String {
    random[6] = random[6] & 0x0f | 0x40;
    random[8] = random[8] & 0x3f | 0x80;
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let [a, b, c, d, e] = [&random[..4], &random[4..6], &random[6..8], &random[8..10], &random[10..]].map(hex);
    format!("{a}-{b}-{c}-{d}-{e}")
}

#[cfg(test)]
mod tests {
    use super::uuid;

    #[test]
    fn a_uuid_has_version_and_variant() {
        assert_eq!(uuid([0; 16]), "00000000-0000-4000-8000-000000000000");
        assert_eq!(uuid([0xff; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
    }
}
