//! ListOffsets (key 2): finds offsets by timestamp, or the ends of a log.

use crate::protocol::schema::{api, schema};
use crate::protocol::{ErrorCode, KafkaString};
use crate::vocabulary::{LeaderEpoch, Offset, PartitionIndex, TimestampMs};

api!(ListOffsets, ListOffsetsRequest, ListOffsetsResponse);

/// The timestamp that asks for the end of the log: the high watermark, or the last stable offset.
pub const LATEST_TIMESTAMP: TimestampMs = -1;
/// The timestamp that asks for the log's first offset.
pub const EARLIEST_TIMESTAMP: TimestampMs = -2;
/// The timestamp that asks for the record with the largest timestamp (KIP-734, version 7).
pub const MAX_TIMESTAMP: TimestampMs = -3;
/// The timestamp that asks for the first offset on the broker's own disk (KIP-405, version 8).
pub const EARLIEST_LOCAL_TIMESTAMP: TimestampMs = -4;
/// The timestamp that asks for the last offset in tiered storage (KIP-1005, version 9).
pub const LATEST_TIERED_TIMESTAMP: TimestampMs = -5;
/// The timestamp that asks for the first offset that is not in tiered storage yet (KIP-1023, version 11).
pub const EARLIEST_PENDING_UPLOAD_TIMESTAMP: TimestampMs = -6;

schema! {
    /// Which offsets to find.
    pub struct ListOffsetsRequest {
        /// The follower that asks; -1 for a consumer.
        replica_id: i32,
        /// 0 counts all records, 1 only those below the last stable offset (KIP-98).
        isolation_level: i8 [2..],
        /// What to find, by topic.
        topics: Vec<ListOffsetsTopic>,
        /// How long tiered storage may take, in milliseconds (KIP-1075).
        timeout_ms: i32 [10..],
    }

    /// A topic of the request.
    pub struct ListOffsetsTopic {
        /// The topic's name.
        name: KafkaString,
        /// What to find, by partition.
        partitions: Vec<ListOffsetsPartition>,
    }

    /// A partition of the request.
    pub struct ListOffsetsPartition {
        /// The partition.
        partition_index: PartitionIndex,
        /// The leader epoch that the client knows, to be checked; -1 for none (KIP-320).
        current_leader_epoch: LeaderEpoch [4..] = -1,
        /// The first record at or after this time is wanted; or one of this module's constants.
        timestamp: TimestampMs,
    }

    /// The offsets found.
    pub struct ListOffsetsResponse {
        /// How long the client should wait before its next request, in milliseconds.
        throttle_time_ms: i32 [2..],
        /// The offsets, by topic.
        topics: Vec<ListOffsetsTopicResponse>,
    }

    /// A topic of the response.
    pub struct ListOffsetsTopicResponse {
        /// The topic's name.
        name: KafkaString,
        /// The offsets, by partition.
        partitions: Vec<ListOffsetsPartitionResponse>,
    }

    /// A partition of the response.
    pub struct ListOffsetsPartitionResponse {
        /// The partition.
        partition_index: PartitionIndex,
        /// The error, if any.
        error_code: ErrorCode,
        /// The timestamp of the record found; -1 for none.
        timestamp: TimestampMs = -1,
        /// The offset found; -1 for none.
        offset: Offset = -1,
        /// The leader epoch of the record found; -1 for none.
        leader_epoch: LeaderEpoch [4..] = -1,
    }
}
