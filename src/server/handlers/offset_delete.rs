//! OffsetDelete (KIP-496): single offsets of a group.

use std::rc::Rc;

use crate::protocol::ErrorCode;
use crate::protocol::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteResponse, OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use crate::server::broker::Broker;
use crate::server::groups::requests;

pub(super) async fn handle(broker: Rc<Broker>, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let mut results = Vec::new();
    let mut existing = Vec::new();
    for topic in &request.topics {
        let found = broker.image.borrow().topic(&topic.name).cloned();
        for partition in &topic.partitions {
            let index = partition.partition_index;
            if found.as_ref().is_some_and(|found| found.partition(index).is_some()) {
                existing.push((topic.name.clone(), index));
                results.push(None);
            } else {
                results.push(Some(ErrorCode::UnknownTopicOrPartition));
            }
        }
    }
    let mut deleted = match delete(&broker, &request, existing).await {
        Ok(deleted) => deleted.into_iter(),
        Err(error_code) => return OffsetDeleteResponse { error_code, ..Default::default() },
    };
    let mut results =
        results.into_iter().map(|result| result.or_else(|| deleted.next()).unwrap_or(ErrorCode::UnknownServerError));
    let topics = request.topics.iter().map(|topic| OffsetDeleteResponseTopic {
        name: topic.name.clone(),
        partitions: topic
            .partitions
            .iter()
            .zip(&mut results)
            .map(|(partition, error_code)| OffsetDeleteResponsePartition {
                partition_index: partition.partition_index,
                error_code,
            })
            .collect(),
    });
    OffsetDeleteResponse { topics: topics.collect(), ..Default::default() }
}

async fn delete(
    broker: &Rc<Broker>,
    request: &OffsetDeleteRequest,
    partitions: Vec<(crate::protocol::KafkaString, i32)>,
) -> Result<Vec<ErrorCode>, ErrorCode> {
    if request.group_id.is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    if partitions.is_empty() {
        return Ok(Vec::new());
    }
    let (owner, group) = super::groups::place(broker, &request.group_id)?;
    let deleted = broker.on(owner, move |broker| requests::delete_offsets(broker, group, partitions)).await;
    deleted.unwrap_or(Err(ErrorCode::NotCoordinator))
}
