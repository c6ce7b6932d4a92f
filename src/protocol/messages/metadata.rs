//! Metadata (key 3): lists topics, partitions, leaders and brokers.

use crate::protocol::schema::{api, schema};
use crate::protocol::{ErrorCode, KafkaString};
use crate::vocabulary::{LeaderEpoch, PartitionIndex, TopicId};

api!(Metadata, MetadataRequest, MetadataResponse);

schema! {
    /// Which topics to list.
    pub struct MetadataRequest {
        /// The topics: null for all. In version 0, which has no null, an empty list is for all.
        topics: Option<Vec<MetadataRequestTopic>> [.., null 1..] = Some(Vec::new()),
        /// Whether topics that do not exist may be created.
        allow_auto_topic_creation: bool [4..] = true,
        /// Whether to list what the principal may do to the cluster.
        include_cluster_authorized_operations: bool [8..=10],
        /// Whether to list what the principal may do to each topic.
        include_topic_authorized_operations: bool [8..],
    }

    /// A topic to list, by name or by id.
    pub struct MetadataRequestTopic {
        /// The topic's id; zero when asked by name.
        topic_id: TopicId [10..],
        /// The topic's name; null when asked by id.
        name: Option<KafkaString> [.., null 10..] = Some(KafkaString::default()),
    }

    /// The brokers and the topics.
    pub struct MetadataResponse {
        /// How long the client should wait before its next request, in milliseconds.
        throttle_time_ms: i32 [3..],
        /// The brokers that are alive.
        brokers: Vec<MetadataResponseBroker>,
        /// The cluster's id.
        cluster_id: Option<KafkaString> [2..] = None,
        /// The broker that controller requests go to; -1 for none.
        controller_id: i32 [1..] = -1,
        /// The topics.
        topics: Vec<MetadataResponseTopic>,
        /// What the principal may do to the cluster, a bit each; `i32::MIN` when not asked for.
        cluster_authorized_operations: i32 [8..=10] = i32::MIN,
        /// An error of the whole request (KIP-1102).
        error_code: ErrorCode [13..],
    }

    /// A broker.
    pub struct MetadataResponseBroker {
        /// Its id.
        node_id: i32,
        /// Its host name or address.
        host: KafkaString,
        /// Its port.
        port: i32,
        /// Its rack.
        rack: Option<KafkaString> [1..] = None,
    }

    /// A topic of the response.
    pub struct MetadataResponseTopic {
        /// The error, if any.
        error_code: ErrorCode,
        /// The topic's name; null for an id that is not known.
        name: Option<KafkaString> [.., null 12..] = Some(KafkaString::default()),
        /// The topic's id; zero for a name that is not known.
        topic_id: TopicId [10..],
        /// Whether the topic belongs to the broker, like `__consumer_offsets`.
        is_internal: bool [1..],
        /// The topic's partitions.
        partitions: Vec<MetadataResponsePartition>,
        /// What the principal may do to the topic, a bit each; `i32::MIN` when not asked for.
        topic_authorized_operations: i32 [8..] = i32::MIN,
    }

    /// A partition of the response.
    pub struct MetadataResponsePartition {
        /// The error, if any.
        error_code: ErrorCode,
        /// The partition.
        partition_index: PartitionIndex,
        /// The broker that leads it; -1 for none.
        leader_id: i32,
        /// The leader's epoch.
        leader_epoch: LeaderEpoch [7..] = -1,
        /// The brokers that have a replica.
        replica_nodes: Vec<i32>,
        /// The brokers whose replica is in sync.
        isr_nodes: Vec<i32>,
        /// The brokers whose replica is offline.
        offline_replicas: Vec<i32> [5..],
    }
}
