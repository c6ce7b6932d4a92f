//! ListGroups: those of all shards, filtered by state (KIP-518) and type (KIP-848).

use std::rc::Rc;

use crate::protocol::ErrorCode;
use crate::protocol::messages::list_groups::{ListGroupsRequest, ListGroupsResponse, ListedGroup};
use crate::server::broker::Broker;
use crate::server::groups::requests;
use crate::vocabulary::ShardId;

/// The type of all groups that there are.
const CLASSIC: &str = "classic";

pub(super) async fn handle(broker: Rc<Broker>, request: ListGroupsRequest) -> ListGroupsResponse {
    let types = &request.types_filter;
    if !types.is_empty() && !types.iter().any(|wanted| wanted.eq_ignore_ascii_case(CLASSIC)) {
        return ListGroupsResponse::default();
    }
    let states: Vec<String> = request.states_filter.iter().map(|state| state.to_string()).collect();
    let mut groups = Vec::new();
    for shard in 0..broker.mesh.shards() as u16 {
        let states = states.clone();
        let listed = broker.on(ShardId(shard), move |broker| requests::list(broker, states)).await;
        match listed.unwrap_or(Err(ErrorCode::NotCoordinator)) {
            Ok(listed) => groups.extend(listed.into_iter().map(|group| ListedGroup {
                group_id: group.id,
                protocol_type: group.protocol_type,
                group_state: group.state.into(),
                group_type: CLASSIC.into(),
            })),
            Err(error_code) => return ListGroupsResponse { error_code, ..Default::default() },
        }
    }
    ListGroupsResponse { groups, ..Default::default() }
}
