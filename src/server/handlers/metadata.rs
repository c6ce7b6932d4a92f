//! Metadata: brokers and topics; topics that do not exist may be created.

use std::rc::Rc;

use crate::metadata::MetadataError;
use crate::metadata::{NewTopic, Topic};
use crate::protocol::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponseBroker, MetadataResponsePartition,
    MetadataResponseTopic,
};
use crate::protocol::{ErrorCode, KafkaString};
use crate::server::broker::{Broker, Change, ChangeError};

pub(super) async fn handle(broker: Rc<Broker>, version: i16, request: MetadataRequest) -> MetadataResponse {
    let all = match &request.topics {
        None => true,
        Some(topics) => version == 0 && topics.is_empty(),
    };
    let node_id = broker.settings.node_id;
    let topics = if all {
        let image = broker.image.borrow();
        image.topics().map(|topic| describe(topic, node_id)).collect()
    } else {
        let mut described = Vec::new();
        for wanted in request.topics.unwrap_or_default() {
            described.push(one(&broker, wanted, request.allow_auto_topic_creation).await);
        }
        described
    };
    MetadataResponse {
        brokers: vec![MetadataResponseBroker {
            node_id,
            host: broker.settings.advertised_host.as_str().into(),
            port: i32::from(broker.settings.advertised_port),
            rack: None,
        }],
        cluster_id: broker.image.borrow().cluster_id().map(KafkaString::from),
        controller_id: node_id,
        topics,
        ..Default::default()
    }
}

async fn one(broker: &Rc<Broker>, wanted: MetadataRequestTopic, may_create: bool) -> MetadataResponseTopic {
    let node_id = broker.settings.node_id;
    let Some(name) = wanted.name else {
        let found = broker.image.borrow().topic_by_id(wanted.topic_id).map(|topic| describe(topic, node_id));
        return found.unwrap_or_else(|| MetadataResponseTopic {
            error_code: ErrorCode::UnknownTopicId,
            name: None,
            topic_id: wanted.topic_id,
            ..Default::default()
        });
    };
    let find = || broker.image.borrow().topic(&name).map(|topic| describe(topic, node_id));
    if let Some(found) = find() {
        return found;
    }
    let mut error_code = ErrorCode::UnknownTopicOrPartition;
    if may_create && broker.settings.auto_create_topics {
        let topic = NewTopic {
            name: name.to_string(),
            partitions: -1,
            replication_factor: -1,
            assignment: Vec::new(),
            overrides: Default::default(),
        };
        match broker.change(Change::CreateTopic(topic)).await {
            // Another client may have been faster.
            Ok(_) | Err(ChangeError::Refused(MetadataError::TopicExists(_))) => {
                if let Some(found) = find() {
                    return found;
                }
            }
            Err(error) => error_code = super::change_error(&error).0,
        }
    } else if crate::metadata::plan::check_topic_name(&name).is_err() {
        error_code = ErrorCode::InvalidTopicException;
    }
    MetadataResponseTopic { error_code, name: Some(name), ..Default::default() }
}

fn describe(topic: &Topic, node_id: i32) -> MetadataResponseTopic {
    let partitions = (0..topic.partition_count()).map(|index| MetadataResponsePartition {
        error_code: ErrorCode::None,
        partition_index: index,
        leader_id: node_id,
        leader_epoch: Topic::LEADER_EPOCH,
        replica_nodes: vec![node_id],
        isr_nodes: vec![node_id],
        offline_replicas: Vec::new(),
    });
    MetadataResponseTopic {
        name: Some(topic.name.as_str().into()),
        topic_id: topic.id,
        is_internal: topic.is_internal(),
        partitions: partitions.collect(),
        ..Default::default()
    }
}
