//! CreateTopics.

use std::collections::HashMap;
use std::rc::Rc;

use crate::config::describe;
use crate::metadata::command::TopicOverrides;
use crate::metadata::{Command, NewTopic, plan};
use crate::protocol::ErrorCode;
use crate::protocol::KafkaString;
use crate::protocol::messages::create_topics::{
    CreatableTopic, CreatableTopicConfigs, CreatableTopicResult, CreateTopicsRequest, CreateTopicsResponse,
};
use crate::server::broker::{Broker, Change, ChangeError, random_id};

/// The most partitions that one request may ask for, as in Kafka.
const PARTITIONS_MAX: i64 = 10_000;

pub(super) async fn handle(broker: Rc<Broker>, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let mut times: HashMap<String, usize> = HashMap::new();
    for topic in &request.topics {
        *times.entry(topic.name.to_string()).or_default() += 1;
    }
    let mut topics = Vec::new();
    if partitions_asked_for(&broker, &request) > PARTITIONS_MAX {
        let refused = request.topics.into_iter().map(|topic| CreatableTopicResult {
            name: topic.name,
            error_code: ErrorCode::PolicyViolation,
            error_message: Some("Excessively large number of partitions per request.".into()),
            ..Default::default()
        });
        return CreateTopicsResponse { topics: refused.collect(), ..Default::default() };
    }
    for topic in request.topics {
        if times.get(topic.name.as_str()).is_some_and(|&times| times > 1) {
            topics.push(CreatableTopicResult {
                name: topic.name,
                error_code: ErrorCode::InvalidRequest,
                error_message: Some("the request names the topic more than once".into()),
                ..Default::default()
            });
            continue;
        }
        topics.push(one(&broker, topic, request.validate_only).await);
    }
    CreateTopicsResponse { topics, ..Default::default() }
}

/// How many partitions a request asks for; each topic counts as one at least.
fn partitions_asked_for(broker: &Broker, request: &CreateTopicsRequest) -> i64 {
    let of = |topic: &CreatableTopic| match (topic.assignments.len(), topic.num_partitions) {
        (0, -1) => i64::from(broker.settings.default_partitions),
        (0, count) => i64::from(count),
        (assigned, _) => assigned as i64,
    };
    request.topics.iter().map(|topic| of(topic).max(1)).sum()
}

async fn one(broker: &Rc<Broker>, topic: CreatableTopic, validate_only: bool) -> CreatableTopicResult {
    let name = topic.name.clone();
    let refused = |error_code, error_message| CreatableTopicResult {
        name: name.clone(),
        error_code,
        error_message,
        configs: None,
        ..Default::default()
    };
    let nulls: Vec<&str> = topic.configs.iter().filter(|one| one.value.is_none()).map(|one| &*one.name).collect();
    if !nulls.is_empty() {
        let message = format!("Null value not supported for topic configs: {}", nulls.join(","));
        return refused(ErrorCode::InvalidConfig, Some(message.into()));
    }
    let named = topic.configs.iter().filter_map(|one| Some((one.name.to_string(), one.value.as_ref()?.to_string())));
    let overrides: TopicOverrides = named.collect();
    let wanted = NewTopic {
        name: topic.name.to_string(),
        partitions: topic.num_partitions,
        replication_factor: topic.replication_factor,
        assignment: topic.assignments.into_iter().map(|one| (one.partition_index, one.broker_ids)).collect(),
        overrides,
    };
    let made = if validate_only {
        let image = broker.image.borrow();
        let settings = &broker.settings;
        plan::create_topic(&image, &wanted, random_id(), settings.default_partitions, settings.node_id)
            .map_err(ChangeError::from)
    } else {
        broker.change(Change::CreateTopic(wanted)).await
    };
    match made {
        Ok(Command::CreateTopic { id, partitions, overrides, .. }) => CreatableTopicResult {
            name: name.clone(),
            topic_id: id,
            error_message: None,
            num_partitions: partitions,
            replication_factor: 1,
            configs: Some(configs(broker, &overrides)),
            ..Default::default()
        },
        Ok(_) => refused(ErrorCode::UnknownServerError, None),
        Err(error) => {
            let (code, message) = super::change_error(&error);
            refused(code, message)
        }
    }
}

/// The configuration of the new topic (KIP-525).
fn configs(broker: &Broker, overrides: &TopicOverrides) -> Vec<CreatableTopicConfigs> {
    let all = describe::topic(&broker.settings.config, overrides).into_iter().map(|one| CreatableTopicConfigs {
        name: KafkaString::from_static(one.key.name),
        value: one.value.map(KafkaString::from),
        read_only: one.key.is_read_only(),
        config_source: one.source.code(),
        is_sensitive: false,
    });
    all.collect()
}
