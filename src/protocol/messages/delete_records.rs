//! DeleteRecords (key 21): removes the records below an offset.

use crate::protocol::schema::{api, schema};
use crate::protocol::{ErrorCode, KafkaString};
use crate::vocabulary::{Offset, PartitionIndex};

api!(DeleteRecords, DeleteRecordsRequest, DeleteRecordsResponse);

schema! {
    /// What to remove.
    pub struct DeleteRecordsRequest {
        /// The offsets, by topic.
        topics: Vec<DeleteRecordsTopic>,
        /// How long to wait for the replicas, in milliseconds.
        timeout_ms: i32,
    }

    /// A topic of the request.
    pub struct DeleteRecordsTopic {
        /// The topic's name.
        name: KafkaString,
        /// The offsets, by partition.
        partitions: Vec<DeleteRecordsPartition>,
    }

    /// A partition of the request.
    pub struct DeleteRecordsPartition {
        /// The partition.
        partition_index: PartitionIndex,
        /// The first offset to keep; -1 for the high watermark.
        offset: Offset,
    }

    /// What became of it.
    pub struct DeleteRecordsResponse {
        /// How long the client should wait before its next request, in milliseconds.
        throttle_time_ms: i32,
        /// The results, by topic.
        topics: Vec<DeleteRecordsTopicResult>,
    }

    /// A topic of the response.
    pub struct DeleteRecordsTopicResult {
        /// The topic's name.
        name: KafkaString,
        /// The results, by partition.
        partitions: Vec<DeleteRecordsPartitionResult>,
    }

    /// A partition of the response.
    pub struct DeleteRecordsPartitionResult {
        /// The partition.
        partition_index: PartitionIndex,
        /// The lowest offset that is left; -1 with an error.
        low_watermark: Offset,
        /// The error, if any.
        error_code: ErrorCode,
    }
}
