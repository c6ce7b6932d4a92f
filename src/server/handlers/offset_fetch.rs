//! OffsetFetch: one group up to version 7, several from version 8 on (KIP-709), topics by id from version 10 on.
//!
//! `require_stable` asks for what open transactions may still change; there are none.

use std::rc::Rc;

use crate::protocol::messages::offset_fetch as m;
use crate::protocol::{ErrorCode, KafkaString};
use crate::server::broker::Broker;
use crate::server::groups::requests::{self, FetchedOffsets, Wanted};
use crate::vocabulary::TopicId;

/// From this version on a request is for several groups.
const FIRST_VERSION_WITH_GROUPS: i16 = 8;
/// From this version on topics are named by id.
const FIRST_VERSION_WITH_TOPIC_IDS: i16 = 10;
/// From this version on there is an error of the whole response; before, each partition carries it.
const FIRST_VERSION_WITH_ERROR: i16 = 2;

pub(super) async fn handle(broker: Rc<Broker>, version: i16, request: m::OffsetFetchRequest) -> m::OffsetFetchResponse {
    if version < FIRST_VERSION_WITH_GROUPS {
        return of_one_group(broker, version, request).await;
    }
    let mut groups = Vec::with_capacity(request.groups.len());
    for group in request.groups {
        groups.push(of_group(&broker, version, group).await);
    }
    m::OffsetFetchResponse { groups, ..Default::default() }
}

async fn of_one_group(broker: Rc<Broker>, version: i16, request: m::OffsetFetchRequest) -> m::OffsetFetchResponse {
    let topics = request.topics.map(|topics| {
        let one = |topic: m::OffsetFetchRequestTopic| m::OffsetFetchRequestTopics {
            name: topic.name,
            topic_id: TopicId::ZERO,
            partition_indexes: topic.partition_indexes,
        };
        topics.into_iter().map(one).collect::<Vec<_>>()
    });
    let asked = topics.clone();
    let group = m::OffsetFetchRequestGroup { group_id: request.group_id, topics, ..Default::default() };
    let mut found = of_group(&broker, version, group).await;
    if found.error_code != ErrorCode::None && version < FIRST_VERSION_WITH_ERROR {
        found.topics = asked.unwrap_or_default().into_iter().map(|topic| failed(topic, found.error_code)).collect();
    }
    let topics = found.topics.into_iter().map(|topic| m::OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic
            .partitions
            .into_iter()
            .map(|partition| m::OffsetFetchResponsePartition {
                partition_index: partition.partition_index,
                committed_offset: partition.committed_offset,
                committed_leader_epoch: partition.committed_leader_epoch,
                metadata: partition.metadata,
                error_code: partition.error_code,
            })
            .collect(),
    });
    m::OffsetFetchResponse { topics: topics.collect(), error_code: found.error_code, ..Default::default() }
}

async fn of_group(broker: &Rc<Broker>, version: i16, group: m::OffsetFetchRequestGroup) -> m::OffsetFetchResponseGroup {
    let by_id = version >= FIRST_VERSION_WITH_TOPIC_IDS;
    let group_id = group.group_id.clone();
    match fetch(broker, by_id, group).await {
        Ok(topics) => m::OffsetFetchResponseGroup { group_id, topics, error_code: ErrorCode::None },
        Err(error_code) => m::OffsetFetchResponseGroup { group_id, topics: Vec::new(), error_code },
    }
}

/// Offsets are kept by name; ids are looked up on the way in and out.
async fn fetch(
    broker: &Rc<Broker>,
    by_id: bool,
    group: m::OffsetFetchRequestGroup,
) -> Result<Vec<m::OffsetFetchResponseTopics>, ErrorCode> {
    let (owner, place) = super::groups::place(broker, &group.group_id)?;
    let Some(topics) = group.topics else {
        let call = move |broker| requests::fetch(broker, place, Wanted::All);
        let found = broker.on(owner, call).await.unwrap_or(Err(ErrorCode::NotCoordinator))?;
        return Ok(with_ids(broker, by_id, found));
    };
    let mut unknown = Vec::new();
    let mut wanted = Vec::new();
    let mut ids = Vec::new();
    for topic in topics {
        if !by_id {
            wanted.push((topic.name, topic.partition_indexes));
            ids.push(TopicId::ZERO);
            continue;
        }
        let name = broker.image.borrow().topic_by_id(topic.topic_id).map(|found| found.name.as_str().into());
        match name {
            Some(name) => {
                wanted.push((name, topic.partition_indexes));
                ids.push(topic.topic_id);
            }
            None => unknown.push(failed(topic, ErrorCode::UnknownTopicId)),
        }
    }
    let call = move |broker| requests::fetch(broker, place, Wanted::These(wanted));
    let found = broker.on(owner, call).await.unwrap_or(Err(ErrorCode::NotCoordinator))?;
    let found = found.into_iter().zip(ids).map(|((name, partitions), id)| topic_of(name, id, partitions));
    Ok(found.chain(unknown).collect())
}

/// All topics that were found, without those that no longer exist when ids are asked for.
fn with_ids(broker: &Broker, by_id: bool, found: FetchedOffsets) -> Vec<m::OffsetFetchResponseTopics> {
    let image = broker.image.borrow();
    let named = found.into_iter().filter_map(|(name, partitions)| {
        let id = if by_id { image.topic(&name)?.id } else { TopicId::ZERO };
        Some(topic_of(name, id, partitions))
    });
    named.collect()
}

fn topic_of(
    name: KafkaString,
    topic_id: TopicId,
    partitions: Vec<(i32, Option<crate::coordinator::offsets::CommittedOffset>)>,
) -> m::OffsetFetchResponseTopics {
    let partitions = partitions.into_iter().map(|(partition_index, found)| match found {
        Some(found) => m::OffsetFetchResponsePartitions {
            partition_index,
            committed_offset: found.offset,
            committed_leader_epoch: found.leader_epoch,
            metadata: Some(found.metadata),
            error_code: ErrorCode::None,
        },
        None => nothing(partition_index, ErrorCode::None),
    });
    m::OffsetFetchResponseTopics { name, topic_id, partitions: partitions.collect() }
}

fn failed(topic: m::OffsetFetchRequestTopics, error: ErrorCode) -> m::OffsetFetchResponseTopics {
    m::OffsetFetchResponseTopics {
        name: topic.name,
        topic_id: topic.topic_id,
        partitions: topic.partition_indexes.into_iter().map(|partition| nothing(partition, error)).collect(),
    }
}

fn nothing(partition_index: i32, error_code: ErrorCode) -> m::OffsetFetchResponsePartitions {
    m::OffsetFetchResponsePartitions { partition_index, committed_offset: -1, error_code, ..Default::default() }
}
