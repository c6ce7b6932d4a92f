//! Produce (key 0): appends record batches.

use bytes::Bytes;

use crate::protocol::schema::{api, schema};
use crate::protocol::{ErrorCode, KafkaString};
use crate::vocabulary::{LeaderEpoch, Offset, PartitionIndex, TimestampMs, TopicId};

api!(Produce, ProduceRequest, ProduceResponse);

schema! {
    /// Record batches for partitions. With `acks` 0 there is no response.
    pub struct ProduceRequest {
        /// The transactional id of the producer, null outside of transactions.
        transactional_id: Option<KafkaString>,
        /// How many replicas must have the batches before the answer: -1 all in sync, 1 the leader, 0 no answer.
        acks: i16,
        /// How long to wait for the replicas, in milliseconds.
        timeout_ms: i32,
        /// The batches, by topic.
        topic_data: Vec<TopicProduceData>,
    }

    /// A topic of the request.
    pub struct TopicProduceData {
        /// The topic's name.
        name: KafkaString [..=12],
        /// The topic's id.
        topic_id: TopicId [13..],
        /// The batches, by partition.
        partition_data: Vec<PartitionProduceData>,
    }

    /// A partition of the request.
    pub struct PartitionProduceData {
        /// The partition.
        index: PartitionIndex,
        /// The batch, as it came: sharing the frame's memory, not validated.
        records: Option<Bytes> = Some(Bytes::new()),
    }

    /// What became of each batch.
    pub struct ProduceResponse {
        /// The results, by topic.
        responses: Vec<TopicProduceResponse>,
        /// How long the client should wait before its next request, in milliseconds.
        throttle_time_ms: i32,
        /// Where the leaders named in `current_leader` are (KIP-951).
        node_endpoints: Vec<NodeEndpoint> [10.., tag 0],
    }

    /// A topic of the response.
    pub struct TopicProduceResponse {
        /// The topic's name.
        name: KafkaString [..=12],
        /// The topic's id.
        topic_id: TopicId [13..],
        /// The results, by partition.
        partition_responses: Vec<PartitionProduceResponse>,
    }

    /// A partition of the response.
    pub struct PartitionProduceResponse {
        /// The partition.
        index: PartitionIndex,
        /// The error, if any.
        error_code: ErrorCode,
        /// The offset of the batch's first record.
        base_offset: Offset,
        /// The broker's time of the append; -1 unless the topic has `LogAppendTime`.
        log_append_time_ms: TimestampMs = -1,
        /// The log's first offset.
        log_start_offset: Offset [5..] = -1,
        /// Which records were refused (KIP-467).
        record_errors: Vec<BatchIndexAndErrorMessage> [8..],
        /// What the error means for the whole batch.
        error_message: Option<KafkaString> [8..] = None,
        /// The leader to go to, with an error that says this broker is not the one (KIP-951).
        current_leader: LeaderIdAndEpoch [10.., tag 0],
    }

    /// A record that was refused.
    pub struct BatchIndexAndErrorMessage {
        /// The record's index in its batch, from 0.
        batch_index: i32 [8..],
        /// Why.
        batch_index_error_message: Option<KafkaString> [8..] = None,
    }

    /// A partition's leader.
    pub struct LeaderIdAndEpoch {
        /// The broker; -1 when unknown.
        leader_id: i32 [10..] = -1,
        /// The leader's epoch; -1 when unknown.
        leader_epoch: LeaderEpoch [10..] = -1,
    }

    /// Where a broker is.
    pub struct NodeEndpoint {
        /// The broker.
        node_id: i32 [10..],
        /// Its host name or address.
        host: KafkaString [10..],
        /// Its port.
        port: i32 [10..],
        /// Its rack.
        rack: Option<KafkaString> [10..] = None,
    }
}
