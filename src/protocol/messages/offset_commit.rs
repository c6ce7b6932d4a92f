//! OffsetCommit (key 8): stores the offsets that a group has consumed.

use crate::protocol::schema::{api, schema};
use crate::protocol::{ErrorCode, KafkaString};
use crate::vocabulary::{LeaderEpoch, Offset, PartitionIndex, TopicId};

api!(OffsetCommit, OffsetCommitRequest, OffsetCommitResponse);

schema! {
    /// The offsets to store.
    pub struct OffsetCommitRequest {
        /// The group.
        group_id: KafkaString,
        /// The generation, or the member's epoch (KIP-848); -1 outside of a group's membership.
        generation_id_or_member_epoch: i32 = -1,
        /// The member.
        member_id: KafkaString,
        /// Its id as a static member (KIP-345).
        group_instance_id: Option<KafkaString> [7..] = None,
        /// How long to keep the offsets, in milliseconds; -1 for as long as the broker says.
        retention_time_ms: i64 [..=4] = -1,
        /// The offsets, by topic.
        topics: Vec<OffsetCommitRequestTopic>,
    }

    /// A topic of the request.
    pub struct OffsetCommitRequestTopic {
        /// The topic's name.
        name: KafkaString [..=9],
        /// The topic's id.
        topic_id: TopicId [10..],
        /// The offsets, by partition.
        partitions: Vec<OffsetCommitRequestPartition>,
    }

    /// A partition of the request.
    pub struct OffsetCommitRequestPartition {
        /// The partition.
        partition_index: PartitionIndex,
        /// The offset of the next record to consume.
        committed_offset: Offset,
        /// The leader epoch of the last record consumed; -1 for none (KIP-320).
        committed_leader_epoch: LeaderEpoch [6..] = -1,
        /// A text to keep beside the offset.
        committed_metadata: Option<KafkaString> = Some(KafkaString::default()),
    }

    /// What became of each offset.
    pub struct OffsetCommitResponse {
        /// How long the client should wait before its next request, in milliseconds.
        throttle_time_ms: i32 [3..],
        /// The results, by topic.
        topics: Vec<OffsetCommitResponseTopic>,
    }

    /// A topic of the response.
    pub struct OffsetCommitResponseTopic {
        /// The topic's name.
        name: KafkaString [..=9],
        /// The topic's id.
        topic_id: TopicId [10..],
        /// The results, by partition.
        partitions: Vec<OffsetCommitResponsePartition>,
    }

    /// A partition of the response.
    pub struct OffsetCommitResponsePartition {
        /// The partition.
        partition_index: PartitionIndex,
        /// The error, if any.
        error_code: ErrorCode,
    }
}
