//! Fetch (key 1): reads record batches.

use crate::protocol::schema::{api, schema};
use crate::protocol::{ByteSlices, ErrorCode, KafkaString};
use crate::vocabulary::{LeaderEpoch, Offset, PartitionIndex, ProducerId, TopicId};

api!(Fetch, FetchRequest, FetchResponse);

schema! {
    /// Where to read on, and how much. With a session (KIP-227) only what changed.
    pub struct FetchRequest {
        /// The cluster that the fetcher means to read from, to be checked when known.
        cluster_id: Option<KafkaString> [12.., tag 0] = None,
        /// The follower that reads; -1 for a consumer.
        replica_id: i32 [..=14] = -1,
        /// The follower that reads (KIP-903).
        replica_state: ReplicaState [15.., tag 1],
        /// How long to wait for `min_bytes`, in milliseconds.
        max_wait_ms: i32,
        /// With fewer bytes than these the answer waits.
        min_bytes: i32,
        /// The answer's record bytes, at most; the first batch is sent even when it is larger (KIP-74).
        max_bytes: i32 = i32::MAX,
        /// 0 reads all records, 1 only up to the last stable offset (KIP-98).
        isolation_level: i8,
        /// The fetch session; 0 for none.
        session_id: i32 [7..],
        /// The session's epoch: -1 to end it or to have none, 0 to begin one.
        session_epoch: i32 [7..] = -1,
        /// What to read: all, or what the session has to add or change.
        topics: Vec<FetchTopic>,
        /// What the session has to drop.
        forgotten_topics_data: Vec<ForgottenTopic> [7..],
        /// The consumer's rack (KIP-392).
        rack_id: KafkaString [11..],
    }

    /// The follower that reads.
    pub struct ReplicaState {
        /// Its broker id; -1 for a consumer.
        replica_id: i32 [15..] = -1,
        /// Its broker epoch; -1 when unknown.
        replica_epoch: i64 [15..] = -1,
    }

    /// A topic to read.
    pub struct FetchTopic {
        /// The topic's name.
        topic: KafkaString [..=12],
        /// The topic's id.
        topic_id: TopicId [13..],
        /// The partitions to read.
        partitions: Vec<FetchPartition>,
    }

    /// A partition to read.
    pub struct FetchPartition {
        /// The partition.
        partition: PartitionIndex,
        /// The leader epoch that the fetcher knows, to be checked; -1 for none (KIP-320).
        current_leader_epoch: LeaderEpoch [9..] = -1,
        /// The first offset to read.
        fetch_offset: Offset,
        /// The epoch of the last record that the follower has; -1 for none (KIP-595).
        last_fetched_epoch: LeaderEpoch [12..] = -1,
        /// The first offset of the follower's log; -1 for a consumer.
        log_start_offset: Offset [5..] = -1,
        /// The record bytes from this partition, at most; see [`FetchRequest::max_bytes`].
        partition_max_bytes: i32,
        /// The follower's log directory (KIP-853).
        replica_directory_id: TopicId [17.., tag 0],
        /// The high watermark that the follower knows (KIP-1166).
        high_watermark: Offset [18.., tag 1] = Offset::MAX,
    }

    /// A topic that the session has to drop.
    pub struct ForgottenTopic {
        /// The topic's name.
        topic: KafkaString [7..=12],
        /// The topic's id.
        topic_id: TopicId [13..],
        /// Its partitions.
        partitions: Vec<PartitionIndex> [7..],
    }

    /// The records; in a session only the partitions that have something new.
    pub struct FetchResponse {
        /// How long the client should wait before its next request, in milliseconds.
        throttle_time_ms: i32,
        /// An error of the whole request.
        error_code: ErrorCode [7..],
        /// The fetch session; 0 for none.
        session_id: i32 [7..],
        /// The records, by topic.
        responses: Vec<FetchableTopicResponse>,
        /// Where the leaders named in `current_leader` are (KIP-951).
        node_endpoints: Vec<NodeEndpoint> [16.., tag 0],
    }

    /// A topic of the response.
    pub struct FetchableTopicResponse {
        /// The topic's name.
        topic: KafkaString [..=12],
        /// The topic's id.
        topic_id: TopicId [13..],
        /// The records, by partition.
        partitions: Vec<PartitionData>,
    }

    /// A partition of the response.
    pub struct PartitionData {
        /// The partition.
        partition_index: PartitionIndex,
        /// The error, if any.
        error_code: ErrorCode,
        /// The offset behind the last record that all in-sync replicas have.
        high_watermark: Offset,
        /// The offset below which every transaction is decided.
        last_stable_offset: Offset = -1,
        /// The log's first offset.
        log_start_offset: Offset [5..] = -1,
        /// Where the fetcher's log and this one part (KIP-595).
        diverging_epoch: EpochEndOffset [12.., tag 0],
        /// The leader to go to, with an error that says this broker is not the one (KIP-951).
        current_leader: LeaderIdAndEpoch [12.., tag 1],
        /// The snapshot that the follower has to read first (KIP-630).
        snapshot_id: SnapshotId [12.., tag 2],
        /// The aborted transactions among the records, by first offset; null unless reading committed records only.
        aborted_transactions: Option<Vec<AbortedTransaction>> = Some(Vec::new()),
        /// The broker that the consumer should read from instead; -1 for this one (KIP-392).
        preferred_read_replica: i32 [11..] = -1,
        /// The batches, as they are stored. The last one may be cut.
        records: Option<ByteSlices> = Some(ByteSlices::new()),
    }

    /// Where a leader epoch ends.
    pub struct EpochEndOffset {
        /// The largest epoch that both have; -1 when there is none.
        epoch: LeaderEpoch [12..] = -1,
        /// The offset behind its last record.
        end_offset: Offset [12..] = -1,
    }

    /// A partition's leader.
    pub struct LeaderIdAndEpoch {
        /// The broker; -1 when unknown.
        leader_id: i32 [12..] = -1,
        /// The leader's epoch; -1 when unknown.
        leader_epoch: LeaderEpoch [12..] = -1,
    }

    /// A snapshot's name.
    pub struct SnapshotId {
        /// The offset behind the last record that it covers.
        end_offset: Offset = -1,
        /// The epoch of that record.
        epoch: LeaderEpoch = -1,
    }

    /// An aborted transaction.
    pub struct AbortedTransaction {
        /// Its producer.
        producer_id: ProducerId,
        /// The offset of its first record in the partition.
        first_offset: Offset,
    }

    /// Where a broker is.
    pub struct NodeEndpoint {
        /// The broker.
        node_id: i32 [16..],
        /// Its host name or address.
        host: KafkaString [16..],
        /// Its port.
        port: i32 [16..],
        /// Its rack.
        rack: Option<KafkaString> [16..] = None,
    }
}
