//! OffsetForLeaderEpoch (key 23): finds where a leader epoch ends (KIP-101).

use crate::protocol::schema::{api, schema};
use crate::protocol::{ErrorCode, KafkaString};
use crate::vocabulary::{LeaderEpoch, Offset, PartitionIndex};

api!(OffsetForLeaderEpoch, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse);

schema! {
    /// Which epochs.
    pub struct OffsetForLeaderEpochRequest {
        /// The follower that asks; -1 for a consumer, -2 when unknown.
        replica_id: i32 [3..] = -2,
        /// The epochs, by topic.
        topics: Vec<OffsetForLeaderTopic>,
    }

    /// A topic of the request.
    pub struct OffsetForLeaderTopic {
        /// The topic's name.
        topic: KafkaString,
        /// The epochs, by partition.
        partitions: Vec<OffsetForLeaderPartition>,
    }

    /// A partition of the request.
    pub struct OffsetForLeaderPartition {
        /// The partition.
        partition: PartitionIndex,
        /// The leader epoch that the client knows, to be checked; -1 for none (KIP-320).
        current_leader_epoch: LeaderEpoch = -1,
        /// The epoch whose end is wanted.
        leader_epoch: LeaderEpoch,
    }

    /// Where the epochs end.
    pub struct OffsetForLeaderEpochResponse {
        /// How long the client should wait before its next request, in milliseconds.
        throttle_time_ms: i32,
        /// The ends, by topic.
        topics: Vec<OffsetForLeaderTopicResult>,
    }

    /// A topic of the response.
    pub struct OffsetForLeaderTopicResult {
        /// The topic's name.
        topic: KafkaString,
        /// The ends, by partition.
        partitions: Vec<EpochEndOffset>,
    }

    /// A partition of the response.
    pub struct EpochEndOffset {
        /// The error, if any.
        error_code: ErrorCode,
        /// The partition.
        partition: PartitionIndex,
        /// The largest epoch that is not above the one asked for; -1 for none.
        leader_epoch: LeaderEpoch = -1,
        /// The offset behind that epoch's last record; -1 for none.
        end_offset: Offset = -1,
    }
}
