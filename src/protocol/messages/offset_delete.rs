//! OffsetDelete (key 47): deletes single offsets of a group (KIP-496).

use crate::protocol::schema::{api, schema};
use crate::protocol::{ErrorCode, KafkaString};
use crate::vocabulary::PartitionIndex;

api!(OffsetDelete, OffsetDeleteRequest, OffsetDeleteResponse);

schema! {
    /// Which offsets to delete.
    pub struct OffsetDeleteRequest {
        /// The group.
        group_id: KafkaString,
        /// The offsets, by topic.
        topics: Vec<OffsetDeleteRequestTopic>,
    }

    /// A topic of the request.
    pub struct OffsetDeleteRequestTopic {
        /// The topic's name.
        name: KafkaString,
        /// The partitions.
        partitions: Vec<OffsetDeleteRequestPartition>,
    }

    /// A partition of the request.
    pub struct OffsetDeleteRequestPartition {
        /// The partition.
        partition_index: PartitionIndex,
    }

    /// What became of each offset.
    pub struct OffsetDeleteResponse {
        /// An error of the whole request.
        error_code: ErrorCode,
        /// How long the client should wait before its next request, in milliseconds.
        throttle_time_ms: i32,
        /// The results, by topic.
        topics: Vec<OffsetDeleteResponseTopic>,
    }

    /// A topic of the response.
    pub struct OffsetDeleteResponseTopic {
        /// The topic's name.
        name: KafkaString,
        /// The results, by partition.
        partitions: Vec<OffsetDeleteResponsePartition>,
    }

    /// A partition of the response.
    pub struct OffsetDeleteResponsePartition {
        /// The partition.
        partition_index: PartitionIndex,
        /// The error, if any.
        error_code: ErrorCode,
    }
}
