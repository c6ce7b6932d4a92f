//! FindCoordinator: the only broker.

use std::rc::Rc;

use crate::metadata::MetadataError;
use crate::protocol::messages::find_coordinator::{
    Coordinator, FindCoordinatorRequest, FindCoordinatorResponse, GROUP,
};
use crate::protocol::{ErrorCode, KafkaString};
use crate::server::broker::{Broker, Change, ChangeError};

pub(super) async fn handle(
    broker: Rc<Broker>,
    version: i16,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let error_code = if request.key_type == GROUP {
        match broker.change(Change::CreateOffsetsTopic).await {
            Ok(_) | Err(ChangeError::Refused(MetadataError::TopicExists(_))) => ErrorCode::None,
            Err(_) => ErrorCode::CoordinatorNotAvailable,
        }
    } else {
        ErrorCode::CoordinatorNotAvailable
    };
    let found = error_code == ErrorCode::None;
    let (node_id, host, port) = if found {
        let settings = &broker.settings;
        (settings.node_id, KafkaString::from(settings.advertised_host.as_str()), i32::from(settings.advertised_port))
    } else {
        (-1, KafkaString::default(), -1)
    };
    let error_message = None;
    if version < 4 {
        return FindCoordinatorResponse { error_code, error_message, node_id, host, port, ..Default::default() };
    }
    let coordinator = |key| Coordinator { key, node_id, host: host.clone(), port, error_code, error_message: None };
    let coordinators = request.coordinator_keys.into_iter().map(coordinator).collect();
    FindCoordinatorResponse { coordinators, ..Default::default() }
}
