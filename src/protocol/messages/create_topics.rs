//! CreateTopics (key 19): creates topics.

use crate::protocol::schema::{api, schema};
use crate::protocol::{ErrorCode, KafkaString};
use crate::vocabulary::{PartitionIndex, TopicId};

api!(CreateTopics, CreateTopicsRequest, CreateTopicsResponse);

schema! {
    /// Which topics to create.
    pub struct CreateTopicsRequest {
        /// The topics.
        topics: Vec<CreatableTopic>,
        /// How long to wait for them, in milliseconds.
        timeout_ms: i32 = 60_000,
        /// Whether to check only, and create nothing.
        validate_only: bool,
    }

    /// A topic to create.
    pub struct CreatableTopic {
        /// Its name.
        name: KafkaString,
        /// How many partitions it has; -1 for the broker's default, or with `assignments` (KIP-464).
        num_partitions: i32,
        /// How many replicas each partition has; -1 for the broker's default, or with `assignments`.
        replication_factor: i16,
        /// The brokers of each partition; empty for the broker to choose.
        assignments: Vec<CreatableReplicaAssignment>,
        /// Its configuration, where it differs from the broker's.
        configs: Vec<CreatableTopicConfig>,
    }

    /// The brokers of a partition.
    pub struct CreatableReplicaAssignment {
        /// The partition.
        partition_index: PartitionIndex,
        /// The brokers, the preferred leader first.
        broker_ids: Vec<i32>,
    }

    /// A configuration value.
    pub struct CreatableTopicConfig {
        /// The key.
        name: KafkaString,
        /// The value.
        value: Option<KafkaString> = Some(KafkaString::default()),
    }

    /// What became of it.
    pub struct CreateTopicsResponse {
        /// How long the client should wait before its next request, in milliseconds.
        throttle_time_ms: i32,
        /// The results, by topic.
        topics: Vec<CreatableTopicResult>,
    }

    /// What became of a topic.
    pub struct CreatableTopicResult {
        /// Its name.
        name: KafkaString,
        /// Its id.
        topic_id: TopicId [7..],
        /// The error, if any.
        error_code: ErrorCode,
        /// What the error means.
        error_message: Option<KafkaString> = Some(KafkaString::default()),
        /// Why the configuration is not told, if so (KIP-525).
        topic_config_error_code: ErrorCode [5.., tag 0],
        /// How many partitions it has; -1 when not told.
        num_partitions: i32 [5..] = -1,
        /// How many replicas each partition has; -1 when not told.
        replication_factor: i16 [5..] = -1,
        /// Its configuration; null when not told.
        configs: Option<Vec<CreatableTopicConfigs>> [5..] = Some(Vec::new()),
    }

    /// A configuration value of the new topic.
    pub struct CreatableTopicConfigs {
        /// The key.
        name: KafkaString [5..],
        /// The value.
        value: Option<KafkaString> [5..] = Some(KafkaString::default()),
        /// Whether it cannot be changed.
        read_only: bool [5..],
        /// Where the value comes from: Kafka's `ConfigSource`; -1 when unknown.
        config_source: i8 [5..] = -1,
        /// Whether the value is secret, and therefore not told.
        is_sensitive: bool [5..],
    }
}
