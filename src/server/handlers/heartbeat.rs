//! Heartbeat.

use std::rc::Rc;

use crate::protocol::ErrorCode;
use crate::protocol::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use crate::server::broker::Broker;
use crate::server::groups::requests;

pub(super) async fn handle(broker: Rc<Broker>, request: HeartbeatRequest) -> HeartbeatResponse {
    let error_code = beat(broker, request).await.err().unwrap_or_default();
    HeartbeatResponse { error_code, ..Default::default() }
}

async fn beat(broker: Rc<Broker>, request: HeartbeatRequest) -> Result<(), ErrorCode> {
    if request.group_id.is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    let (owner, group) = super::groups::place(&broker, &request.group_id)?;
    let HeartbeatRequest { member_id, group_instance_id, generation_id, .. } = request;
    let call = move |broker| requests::heartbeat(broker, group, member_id, group_instance_id, generation_id);
    broker.on(owner, call).await.unwrap_or(Err(ErrorCode::NotCoordinator))
}
