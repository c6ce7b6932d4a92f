//! DescribeCluster (KIP-700).

use std::rc::Rc;

use crate::protocol::ErrorCode;
use crate::protocol::messages::describe_cluster::{
    DescribeClusterBroker, DescribeClusterRequest, DescribeClusterResponse,
};
use crate::server::broker::Broker;

/// The endpoints that clients use, as opposed to those between controllers.
const ENDPOINT_OF_BROKERS: i8 = 1;

pub(super) async fn handle(broker: Rc<Broker>, request: DescribeClusterRequest) -> DescribeClusterResponse {
    if request.endpoint_type != ENDPOINT_OF_BROKERS {
        return DescribeClusterResponse {
            error_code: ErrorCode::MismatchedEndpointType,
            error_message: Some("this endpoint is a broker's".into()),
            endpoint_type: request.endpoint_type,
            ..Default::default()
        };
    }
    DescribeClusterResponse {
        cluster_id: broker.image.borrow().cluster_id().unwrap_or_default().into(),
        controller_id: broker.settings.node_id,
        brokers: vec![DescribeClusterBroker {
            broker_id: broker.settings.node_id,
            host: broker.settings.advertised_host.as_str().into(),
            port: i32::from(broker.settings.advertised_port),
            rack: None,
            is_fenced: false,
        }],
        ..Default::default()
    }
}
