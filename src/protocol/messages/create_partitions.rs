//! CreatePartitions (key 37): adds partitions to topics (KIP-195).

use crate::protocol::schema::{api, schema};
use crate::protocol::{ErrorCode, KafkaString};

api!(CreatePartitions, CreatePartitionsRequest, CreatePartitionsResponse);

schema! {
    /// Which topics to enlarge.
    pub struct CreatePartitionsRequest {
        /// The topics.
        topics: Vec<CreatePartitionsTopic>,
        /// How long to wait for it, in milliseconds.
        timeout_ms: i32,
        /// Whether to check only, and create nothing.
        validate_only: bool,
    }

    /// A topic to enlarge.
    pub struct CreatePartitionsTopic {
        /// The topic's name.
        name: KafkaString,
        /// How many partitions it has afterwards.
        count: i32,
        /// The brokers of the new partitions; null for the broker to choose.
        assignments: Option<Vec<CreatePartitionsAssignment>> = Some(Vec::new()),
    }

    /// The brokers of a new partition.
    pub struct CreatePartitionsAssignment {
        /// The brokers, the preferred leader first.
        broker_ids: Vec<i32>,
    }

    /// What became of it.
    pub struct CreatePartitionsResponse {
        /// How long the client should wait before its next request, in milliseconds.
        throttle_time_ms: i32,
        /// The results, by topic.
        results: Vec<CreatePartitionsTopicResult>,
    }

    /// What became of a topic.
    pub struct CreatePartitionsTopicResult {
        /// The topic's name.
        name: KafkaString,
        /// The error, if any.
        error_code: ErrorCode,
        /// What the error means.
        error_message: Option<KafkaString> = None,
    }
}
