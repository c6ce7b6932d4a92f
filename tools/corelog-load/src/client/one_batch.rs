//! A produce request of one batch for one partition, as every producer here sends it.

use bytes::Bytes;
use corelog::protocol::KafkaString;
use corelog::protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};

use super::ANSWER_DEADLINE;

/// How long the broker may wait for its replicas, milliseconds (`request.timeout.ms` of Kafka's clients).
const TIMEOUT_MS: i32 = ANSWER_DEADLINE.as_millis() as i32;

/// The request, with Kafka's number for `acks`.
pub fn produce_request(topic: &KafkaString, index: i32, batch: Bytes, acks: i16) -> ProduceRequest {
    let data = PartitionProduceData { index, records: Some(batch) };
    let data = TopicProduceData { name: topic.clone(), partition_data: vec![data], ..Default::default() };
    ProduceRequest { acks, timeout_ms: TIMEOUT_MS, topic_data: vec![data], ..Default::default() }
}
