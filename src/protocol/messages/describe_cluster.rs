//! DescribeCluster (key 60): describes the cluster and its brokers (KIP-700).

use crate::protocol::schema::{api, schema};
use crate::protocol::{ErrorCode, KafkaString};

api!(DescribeCluster, DescribeClusterRequest, DescribeClusterResponse);

schema! {
    /// What to describe.
    pub struct DescribeClusterRequest {
        /// Whether to list what the principal may do to the cluster.
        include_cluster_authorized_operations: bool,
        /// What to list: 1 brokers, 2 controllers (KIP-919).
        endpoint_type: i8 [1..] = 1,
        /// Whether to list brokers that are fenced (KIP-1073).
        include_fenced_brokers: bool [2..],
    }

    /// The cluster.
    pub struct DescribeClusterResponse {
        /// How long the client should wait before its next request, in milliseconds.
        throttle_time_ms: i32,
        /// The error, if any.
        error_code: ErrorCode,
        /// What the error means.
        error_message: Option<KafkaString> = None,
        /// What is listed: 1 brokers, 2 controllers.
        endpoint_type: i8 [1..] = 1,
        /// The cluster's id.
        cluster_id: KafkaString,
        /// The broker that controller requests go to; -1 for none.
        controller_id: i32 = -1,
        /// The brokers.
        brokers: Vec<DescribeClusterBroker>,
        /// What the principal may do to the cluster, a bit each; `i32::MIN` when not asked for.
        cluster_authorized_operations: i32 = i32::MIN,
    }

    /// A broker.
    pub struct DescribeClusterBroker {
        /// Its id.
        broker_id: i32,
        /// Its host name or address.
        host: KafkaString,
        /// Its port.
        port: i32,
        /// Its rack.
        rack: Option<KafkaString> = None,
        /// Whether it is fenced.
        is_fenced: bool [2..],
    }
}
