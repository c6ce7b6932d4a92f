//! CreateTopics.

use std::collections::HashMap;
use std::rc::Rc;

use crate::metadata::command::TopicOverrides;
use crate::metadata::{Command, NewTopic, plan};
use crate::protocol::ErrorCode;
use crate::protocol::messages::create_topics::{
    CreatableTopic, CreatableTopicResult, CreateTopicsRequest, CreateTopicsResponse,
};
use crate::server::broker::{Broker, Change, ChangeError, random_id};

pub(super) async fn handle(broker: Rc<Broker>, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let mut times: HashMap<String, usize> = HashMap::new();
    for topic in &request.topics {
        *times.entry(topic.name.to_string()).or_default() += 1;
    }
    let mut topics = Vec::new();
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

async fn one(broker: &Rc<Broker>, topic: CreatableTopic, validate_only: bool) -> CreatableTopicResult {
    let name = topic.name.clone();
    let refused = |error_code, error_message| CreatableTopicResult {
        name: name.clone(),
        error_code,
        error_message,
        configs: None,
        ..Default::default()
    };
    let mut overrides = TopicOverrides::new();
    for config in &topic.configs {
        // Null resets to the default, which a new topic has anyway.
        if let Some(value) = &config.value {
            overrides.insert(config.name.to_string(), value.to_string());
        }
    }
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
        Ok(Command::CreateTopic { id, partitions, .. }) => CreatableTopicResult {
            name: name.clone(),
            topic_id: id,
            error_message: None,
            num_partitions: partitions,
            replication_factor: 1,
            ..Default::default()
        },
        Ok(_) => refused(ErrorCode::UnknownServerError, None),
        Err(error) => {
            let (code, message) = super::change_error(&error);
            refused(code, message)
        }
    }
}
