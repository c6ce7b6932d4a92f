//! OffsetCommit: what exists of the topics is sent to the group's coordinator, and acknowledged when it is durable.

use std::rc::Rc;

use crate::metadata::Topic;
use crate::protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitResponse, OffsetCommitResponsePartition,
    OffsetCommitResponseTopic,
};
use crate::protocol::{ErrorCode, KafkaString};
use crate::server::broker::Broker;
use crate::server::groups::requests::{self, Committer, NewOffset};

/// From this version on topics are named by id (KIP-848).
const FIRST_VERSION_WITH_TOPIC_IDS: i16 = 10;
/// From this version on a client knows GROUP_ID_NOT_FOUND as an answer.
const FIRST_VERSION_WITH_MISSING_GROUPS: i16 = 9;

pub(super) async fn handle(broker: Rc<Broker>, version: i16, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let mut offsets = Vec::new();
    let mut judged = Vec::new();
    for topic in &request.topics {
        let by_id = version >= FIRST_VERSION_WITH_TOPIC_IDS;
        let found = super::find_topic(&broker, &topic.name, topic.topic_id, by_id);
        let name = match &found {
            Ok(found) => KafkaString::from(found.name.as_str()),
            Err(_) => KafkaString::default(),
        };
        for partition in &topic.partitions {
            let verdict = found.as_ref().map_err(|code| *code).and_then(|found| judge(&broker, found, partition));
            if verdict.is_ok() {
                offsets.push(NewOffset {
                    topic: name.clone(),
                    partition: partition.partition_index,
                    offset: partition.committed_offset,
                    leader_epoch: partition.committed_leader_epoch.max(-1),
                    metadata: partition.committed_metadata.clone().unwrap_or_default(),
                    // -1 leaves it to the broker.
                    retention_ms: Some(request.retention_time_ms).filter(|&retention_ms| retention_ms != -1),
                });
            }
            judged.push(verdict);
        }
    }
    // Kafka asks no coordinator when no partition is left.
    let is_oversized = |verdict: &Result<(), ErrorCode>| *verdict == Err(ErrorCode::OffsetMetadataTooLarge);
    let nothing_exists = offsets.is_empty() && !judged.iter().any(is_oversized);
    let committed = if nothing_exists { Ok(()) } else { commit(&broker, version, &request, offsets).await };
    let mut judged = judged.into_iter();
    let topics = request.topics.into_iter().map(|topic| OffsetCommitResponseTopic {
        name: topic.name,
        topic_id: topic.topic_id,
        partitions: topic
            .partitions
            .into_iter()
            .zip(&mut judged)
            .map(|(partition, verdict)| OffsetCommitResponsePartition {
                partition_index: partition.partition_index,
                error_code: answer(verdict, committed),
            })
            .collect(),
    });
    OffsetCommitResponse { topics: topics.collect(), ..Default::default() }
}

/// The coordinator's refusal stands above what it would have said of a text that is too long, as in Kafka.
fn answer(verdict: Result<(), ErrorCode>, committed: Result<(), ErrorCode>) -> ErrorCode {
    match (verdict, committed) {
        (Ok(()) | Err(ErrorCode::OffsetMetadataTooLarge), Err(error)) => error,
        (Err(error), _) => error,
        (Ok(()), Ok(())) => ErrorCode::None,
    }
}

fn judge(broker: &Broker, topic: &Topic, partition: &OffsetCommitRequestPartition) -> Result<(), ErrorCode> {
    topic.partition(partition.partition_index).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    let text = partition.committed_metadata.as_deref().unwrap_or_default();
    if text.encode_utf16().count() > broker.settings.groups.offset_metadata_max {
        return Err(ErrorCode::OffsetMetadataTooLarge);
    }
    Ok(())
}

async fn commit(
    broker: &Rc<Broker>,
    version: i16,
    request: &OffsetCommitRequest,
    offsets: Vec<NewOffset>,
) -> Result<(), ErrorCode> {
    let (owner, group) = super::groups::place(broker, &request.group_id)?;
    let committer = Committer {
        member_id: request.member_id.clone(),
        instance_id: request.group_instance_id.clone(),
        generation: request.generation_id_or_member_epoch,
        knows_missing_groups: version >= FIRST_VERSION_WITH_MISSING_GROUPS,
    };
    let committed = broker.on(owner, move |broker| requests::commit(broker, group, committer, offsets)).await;
    committed.unwrap_or(Err(ErrorCode::NotCoordinator))
}
