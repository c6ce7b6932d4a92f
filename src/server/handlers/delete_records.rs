//! DeleteRecords: deletes what lies before an offset (KIP-107).

use std::rc::Rc;

use crate::metadata::Topic;
use crate::protocol::ErrorCode;
use crate::protocol::messages::delete_records::{
    DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsTopicResult,
};
use crate::server::broker::Broker;
use crate::storage::DeleteError;
use crate::vocabulary::{Offset, PartitionId, PartitionIndex};

/// Stands for the high watermark.
const HIGH_WATERMARK: Offset = -1;

pub(super) async fn handle(broker: Rc<Broker>, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let mut topics = Vec::new();
    for topic in request.topics {
        let mut partitions = Vec::new();
        for wanted in topic.partitions {
            let partition_index = wanted.partition_index;
            let (low_watermark, error_code) = match one(&broker, &topic.name, partition_index, wanted.offset).await {
                Ok(low_watermark) => (low_watermark, ErrorCode::None),
                Err(error_code) => (-1, error_code),
            };
            partitions.push(DeleteRecordsPartitionResult { partition_index, low_watermark, error_code });
        }
        topics.push(DeleteRecordsTopicResult { name: topic.name, partitions });
    }
    DeleteRecordsResponse { topics, ..Default::default() }
}

async fn one(broker: &Rc<Broker>, topic: &str, partition: PartitionIndex, offset: Offset) -> Result<Offset, ErrorCode> {
    let (id, owner) = {
        let image = broker.image.borrow();
        let topic = image.topic(topic).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        let found = topic.partition(partition).ok_or(ErrorCode::UnknownTopicOrPartition)?;
        // A compacted topic's records go by their keys.
        if !topic.config.deletes {
            return Err(ErrorCode::PolicyViolation);
        }
        found
    };
    let deleted = broker.on(owner, move |broker| async move { delete(&broker, id, offset).await }).await;
    deleted.unwrap_or(Err(ErrorCode::KafkaStorageError))
}

async fn delete(broker: &Broker, id: PartitionId, offset: Offset) -> Result<Offset, ErrorCode> {
    let partition = broker.partition(id).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let high_watermark = partition.log.durable().offset;
    let offset = if offset == HIGH_WATERMARK { high_watermark } else { offset };
    if !(0..=high_watermark).contains(&offset) {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    match broker.storage.delete_before(&partition.log, offset, Topic::LEADER_EPOCH).await {
        Ok(()) => {}
        // The records are gone; the files are tried again.
        Err(DeleteError::Files(error)) => tracing::error!("partition {id}: {error}"),
        Err(error) => {
            tracing::error!("partition {id}: records are not deleted: {error}");
            return Err(ErrorCode::KafkaStorageError);
        }
    }
    Ok(partition.log.start())
}
