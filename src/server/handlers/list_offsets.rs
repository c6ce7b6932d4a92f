//! ListOffsets: the log's ends, and the first record at or after a time.

use std::rc::Rc;

use crate::metadata::Topic;
use crate::protocol::ErrorCode;
use crate::protocol::messages::list_offsets::{
    EARLIEST_LOCAL_TIMESTAMP, EARLIEST_TIMESTAMP, LATEST_TIMESTAMP, ListOffsetsPartition, ListOffsetsPartitionResponse,
    ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopicResponse, MAX_TIMESTAMP,
};
use crate::record::{BatchHeader, find_timestamp_from, max_timestamp_offset};
use crate::server::broker::Broker;
use crate::vocabulary::{Offset, PartitionId, TimestampMs};

pub(super) async fn handle(broker: Rc<Broker>, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let mut topics = Vec::new();
    for topic in request.topics {
        let mut partitions = Vec::new();
        for wanted in topic.partitions {
            let partition_index = wanted.partition_index;
            let found = one(&broker, &topic.name, wanted).await;
            partitions.push(match found {
                Ok((offset, timestamp)) => ListOffsetsPartitionResponse {
                    partition_index,
                    offset,
                    timestamp,
                    leader_epoch: if offset >= 0 { Topic::LEADER_EPOCH } else { -1 },
                    ..Default::default()
                },
                Err(error_code) => ListOffsetsPartitionResponse { partition_index, error_code, ..Default::default() },
            });
        }
        topics.push(ListOffsetsTopicResponse { name: topic.name, partitions });
    }
    ListOffsetsResponse { topics, ..Default::default() }
}

async fn one(
    broker: &Rc<Broker>,
    topic: &str,
    wanted: ListOffsetsPartition,
) -> Result<(Offset, TimestampMs), ErrorCode> {
    let found = broker.image.borrow().topic(topic).and_then(|topic| topic.partition(wanted.partition_index));
    let (id, owner) = found.ok_or(ErrorCode::UnknownTopicOrPartition)?;
    super::check_leader_epoch(wanted.current_leader_epoch)?;
    let timestamp = wanted.timestamp;
    let found = broker.on(owner, move |broker| async move { find(&broker, id, timestamp).await }).await;
    found.unwrap_or(Err(ErrorCode::KafkaStorageError))
}

async fn find(broker: &Broker, id: PartitionId, timestamp: TimestampMs) -> Result<(Offset, TimestampMs), ErrorCode> {
    let partition = broker.partition(id).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let log = &partition.log;
    let failed = |error: &dyn std::fmt::Display| {
        tracing::error!("partition {id}: {error}");
        ErrorCode::KafkaStorageError
    };
    const NOT_FOUND: (Offset, TimestampMs) = (-1, -1);
    match timestamp {
        LATEST_TIMESTAMP => Ok((log.durable().offset, -1)),
        EARLIEST_TIMESTAMP | EARLIEST_LOCAL_TIMESTAMP => Ok((log.start(), -1)),
        MAX_TIMESTAMP => {
            let batch = log.batch_of_max_timestamp(broker.storage.disk()).await.map_err(|error| failed(&error))?;
            let found = batch.map(|batch| max_timestamp_offset(&batch)).transpose().map_err(|error| failed(&error))?;
            Ok(found.flatten().unwrap_or(NOT_FOUND))
        }
        // There is no tiered storage.
        i64::MIN..0 => Ok(NOT_FOUND),
        _ => {
            let mut from = log.start();
            let disk = broker.storage.disk();
            while let Some(batch) =
                log.first_batch_at_or_after(disk, timestamp, from).await.map_err(|error| failed(&error))?
            {
                if let Some(found) = find_timestamp_from(&batch, timestamp, from).map_err(|error| failed(&error))? {
                    return Ok(found);
                }
                // The log starts inside this batch, and the record lies before its start.
                from = BatchHeader::parse(&batch).map_err(|error| failed(&error))?.next_offset();
            }
            Ok(NOT_FOUND)
        }
    }
}
