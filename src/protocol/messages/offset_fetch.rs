//! OffsetFetch (key 9): reads the offsets that groups have stored. From version 8 on for several groups at once
//! (KIP-709).

use crate::protocol::schema::{api, schema};
use crate::protocol::{ErrorCode, KafkaString};
use crate::vocabulary::{LeaderEpoch, Offset, PartitionIndex, TopicId};

api!(OffsetFetch, OffsetFetchRequest, OffsetFetchResponse);

schema! {
    /// Whose offsets to read.
    pub struct OffsetFetchRequest {
        /// The group.
        group_id: KafkaString [..=7],
        /// The partitions; null for all that the group has.
        topics: Option<Vec<OffsetFetchRequestTopic>> [..=7, null 2..] = Some(Vec::new()),
        /// The groups.
        groups: Vec<OffsetFetchRequestGroup> [8..],
        /// Whether offsets of open transactions are an error (KIP-447).
        require_stable: bool [7..],
    }

    /// A topic of the request.
    pub struct OffsetFetchRequestTopic {
        /// The topic's name.
        name: KafkaString [..=7],
        /// The partitions.
        partition_indexes: Vec<PartitionIndex> [..=7],
    }

    /// A group of the request.
    pub struct OffsetFetchRequestGroup {
        /// The group.
        group_id: KafkaString [8..],
        /// The member that asks, to be checked (KIP-848).
        member_id: Option<KafkaString> [9..] = None,
        /// The member's epoch; -1 for none.
        member_epoch: i32 [9..] = -1,
        /// The partitions; null for all that the group has.
        topics: Option<Vec<OffsetFetchRequestTopics>> [8..] = Some(Vec::new()),
    }

    /// A topic of a group of the request.
    pub struct OffsetFetchRequestTopics {
        /// The topic's name.
        name: KafkaString [8..=9],
        /// The topic's id.
        topic_id: TopicId [10..],
        /// The partitions.
        partition_indexes: Vec<PartitionIndex> [8..],
    }

    /// The offsets.
    pub struct OffsetFetchResponse {
        /// How long the client should wait before its next request, in milliseconds.
        throttle_time_ms: i32 [3..],
        /// The offsets, by topic.
        topics: Vec<OffsetFetchResponseTopic> [..=7],
        /// An error of the whole request.
        error_code: ErrorCode [2..=7],
        /// The offsets, by group.
        groups: Vec<OffsetFetchResponseGroup> [8..],
    }

    /// A topic of the response.
    pub struct OffsetFetchResponseTopic {
        /// The topic's name.
        name: KafkaString [..=7],
        /// The offsets, by partition.
        partitions: Vec<OffsetFetchResponsePartition> [..=7],
    }

    /// A partition of the response.
    pub struct OffsetFetchResponsePartition {
        /// The partition.
        partition_index: PartitionIndex [..=7],
        /// The offset of the next record to consume; -1 for none.
        committed_offset: Offset [..=7],
        /// The leader epoch of the last record consumed; -1 for none.
        committed_leader_epoch: LeaderEpoch [5..=7] = -1,
        /// The text beside the offset.
        metadata: Option<KafkaString> [..=7] = Some(KafkaString::default()),
        /// The error, if any.
        error_code: ErrorCode [..=7],
    }

    /// A group of the response.
    pub struct OffsetFetchResponseGroup {
        /// The group.
        group_id: KafkaString [8..],
        /// The offsets, by topic.
        topics: Vec<OffsetFetchResponseTopics> [8..],
        /// An error of the whole group.
        error_code: ErrorCode [8..],
    }

    /// A topic of a group of the response.
    pub struct OffsetFetchResponseTopics {
        /// The topic's name.
        name: KafkaString [8..=9],
        /// The topic's id.
        topic_id: TopicId [10..],
        /// The offsets, by partition.
        partitions: Vec<OffsetFetchResponsePartitions> [8..],
    }

    /// A partition of a group of the response.
    pub struct OffsetFetchResponsePartitions {
        /// The partition.
        partition_index: PartitionIndex [8..],
        /// The offset of the next record to consume; -1 for none.
        committed_offset: Offset [8..],
        /// The leader epoch of the last record consumed; -1 for none.
        committed_leader_epoch: LeaderEpoch [8..] = -1,
        /// The text beside the offset.
        metadata: Option<KafkaString> [8..] = Some(KafkaString::default()),
        /// The error, if any.
        error_code: ErrorCode [8..],
    }
}
