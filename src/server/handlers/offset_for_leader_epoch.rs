//! OffsetForLeaderEpoch (KIP-101, KIP-320): where an epoch ended. There has only ever been one.

use std::rc::Rc;

use crate::metadata::Topic;
use crate::protocol::ErrorCode;
use crate::protocol::messages::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, OffsetForLeaderPartition,
    OffsetForLeaderTopicResult,
};
use crate::server::broker::Broker;

pub(super) async fn handle(broker: Rc<Broker>, request: OffsetForLeaderEpochRequest) -> OffsetForLeaderEpochResponse {
    let mut topics = Vec::new();
    for topic in request.topics {
        let mut partitions = Vec::new();
        for wanted in topic.partitions {
            let partition = wanted.partition;
            partitions.push(one(&broker, &topic.topic, wanted).await.unwrap_or_else(|error_code| EpochEndOffset {
                error_code,
                partition,
                ..Default::default()
            }));
        }
        topics.push(OffsetForLeaderTopicResult { topic: topic.topic, partitions });
    }
    OffsetForLeaderEpochResponse { topics, ..Default::default() }
}

async fn one(broker: &Rc<Broker>, topic: &str, wanted: OffsetForLeaderPartition) -> Result<EpochEndOffset, ErrorCode> {
    let unknown = ErrorCode::UnknownTopicOrPartition;
    let found = broker.image.borrow().topic(topic).and_then(|topic| topic.partition(wanted.partition));
    let (id, owner) = found.ok_or(unknown)?;
    super::check_leader_epoch(wanted.current_leader_epoch)?;
    let partition = wanted.partition;
    if wanted.leader_epoch != Topic::LEADER_EPOCH {
        return Ok(EpochEndOffset { partition, ..Default::default() });
    }
    let end = broker.on(owner, move |broker| async move { broker.partition(id).map(|p| p.log.end().offset) }).await;
    let end_offset = end.ok().flatten().ok_or(unknown)?;
    Ok(EpochEndOffset { partition, leader_epoch: Topic::LEADER_EPOCH, end_offset, ..Default::default() })
}
