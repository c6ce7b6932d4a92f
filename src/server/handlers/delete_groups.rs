//! DeleteGroups.

use std::rc::Rc;

use crate::protocol::messages::delete_groups::{DeletableGroupResult, DeleteGroupsRequest, DeleteGroupsResponse};
use crate::protocol::{ErrorCode, KafkaString};
use crate::server::broker::Broker;
use crate::server::groups::requests;

pub(super) async fn handle(broker: Rc<Broker>, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let mut results = Vec::with_capacity(request.groups_names.len());
    for group_id in request.groups_names {
        let error_code = delete(&broker, &group_id).await.err().unwrap_or_default();
        results.push(DeletableGroupResult { group_id, error_code });
    }
    DeleteGroupsResponse { results, ..Default::default() }
}

async fn delete(broker: &Rc<Broker>, group_id: &KafkaString) -> Result<(), ErrorCode> {
    let (owner, group) = super::groups::place(broker, group_id)?;
    let deleted = broker.on(owner, move |broker| requests::delete(broker, group)).await;
    deleted.unwrap_or(Err(ErrorCode::NotCoordinator))
}
