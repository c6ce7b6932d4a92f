//! AlterConfigs (KIP-133), and what IncrementalAlterConfigs (KIP-339) shares with it.
//!
//! The rules and their order are Kafka's (its `ConfigAdminManager` and `ControllerConfigurationValidator`). Only topics
//! can be changed: every key of the broker is read-only.

use std::collections::HashSet;
use std::rc::Rc;

use crate::config::table::broker_key;
use crate::config::topic::Change;
use crate::metadata::plan;
use crate::protocol::messages::alter_configs::{
    AlterConfigsRequest, AlterConfigsResource, AlterConfigsResourceResponse, AlterConfigsResponse,
};
use crate::protocol::{ErrorCode, KafkaString};
use crate::server::broker::{self, Broker, ChangeError};

/// Kafka's `ConfigResource.Type` of a topic.
pub(super) const TOPIC: i8 = 2;
/// Kafka's `ConfigResource.Type` of a broker.
pub(super) const BROKER: i8 = 4;

/// What Kafka says to a request that names a resource more than once.
pub(super) const NAMED_TWICE: &str = "Each resource must appear at most once.";

/// An error with its text.
pub(super) type Refusal = (ErrorCode, Option<KafkaString>);

pub(super) async fn handle(broker: Rc<Broker>, request: AlterConfigsRequest) -> AlterConfigsResponse {
    let repeated = repeated(request.resources.iter().map(|one| (one.resource_type, one.resource_name.clone())));
    let mut responses = Vec::new();
    for resource in request.resources {
        let (resource_type, resource_name) = (resource.resource_type, resource.resource_name.clone());
        let result = if repeated.contains(&(resource_type, resource_name.clone())) {
            Err(invalid(NAMED_TWICE.into()))
        } else {
            one(&broker, resource, request.validate_only).await
        };
        let (error_code, error_message) = result.err().unwrap_or((ErrorCode::None, None));
        responses.push(AlterConfigsResourceResponse { error_code, error_message, resource_type, resource_name });
    }
    AlterConfigsResponse { responses, ..Default::default() }
}

async fn one(broker: &Rc<Broker>, resource: AlterConfigsResource, validate_only: bool) -> Result<(), Refusal> {
    let configs = &resource.configs;
    check_keys(configs.iter().map(|config| (&config.name, config.value.is_none())))?;
    match resource.resource_type {
        BROKER => refuse_broker(broker, &resource.resource_name, configs.iter().map(|config| &*config.name)),
        TOPIC => {
            let all =
                configs.iter().filter_map(|config| Some((config.name.to_string(), config.value.as_ref()?.to_string())));
            alter_topic(broker, &resource.resource_name, Change::Replace(all.collect()), validate_only).await
        }
        other => Err(unknown_type(other)),
    }
}

/// Changes a topic's configuration, or finds out whether it could be.
pub(super) async fn alter_topic(
    broker: &Rc<Broker>,
    name: &str,
    change: Change,
    validate_only: bool,
) -> Result<(), Refusal> {
    let result = if validate_only {
        plan::alter_topic_config(&broker.image.borrow(), name, &change).map_err(ChangeError::from)
    } else {
        broker.change(broker::Change::TopicConfig(name.to_string(), change)).await
    };
    result.map(drop).map_err(|error| super::change_error(&error))
}

/// The resources that a request names more than once.
pub(super) fn repeated(resources: impl Iterator<Item = (i8, KafkaString)>) -> HashSet<(i8, KafkaString)> {
    let mut seen = HashSet::new();
    resources.filter(|resource| !seen.insert(resource.clone())).collect()
}

/// Each key of a resource appears once and has a value; `keys` are names, and whether a value is missing that is needed.
pub(super) fn check_keys<'a>(keys: impl Iterator<Item = (&'a KafkaString, bool)> + Clone) -> Result<(), Refusal> {
    let mut names: Vec<&str> = keys.clone().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(invalid("Error due to duplicate config keys".into()));
    }
    let missing: Vec<&str> = keys.filter(|(_, missing)| *missing).map(|(name, _)| name.as_str()).collect();
    if !missing.is_empty() {
        return Err(invalid(format!("Null value not supported for : {}", missing.join(", "))));
    }
    Ok(())
}

/// No key of the broker can be set while it runs.
pub(super) fn refuse_broker<'a>(
    broker: &Broker,
    id: &str,
    keys: impl Iterator<Item = &'a str> + Clone,
) -> Result<(), Refusal> {
    if !id.is_empty() {
        check_broker_id(broker, id).map_err(invalid)?;
    }
    if let Some(unknown) = keys.clone().find(|name| broker_key(name).is_none()) {
        return Err((ErrorCode::InvalidConfig, Some(format!("Unknown broker config name: {unknown}").into())));
    }
    let keys: Vec<&str> = keys.collect();
    if keys.is_empty() {
        return Ok(());
    }
    Err(invalid(format!("Cannot update these configs dynamically: Set({})", keys.join(", "))))
}

/// Whether the name of a broker resource is this broker's id.
pub(super) fn check_broker_id(broker: &Broker, name: &str) -> Result<(), String> {
    let ours = broker.settings.node_id;
    match name.parse::<i32>() {
        Ok(id) if id == ours => Ok(()),
        Ok(_) => Err(format!("Unexpected broker id, expected {ours}, but received {name}")),
        Err(_) => Err(format!("Node id must be an integer, but it is: {name}")),
    }
}

/// Kafka has resources that corelog does not have: loggers, client metrics, groups.
pub(super) fn unknown_type(resource_type: i8) -> Refusal {
    invalid(format!("Unknown resource type {resource_type}"))
}

/// INVALID_REQUEST with this text.
pub(super) fn invalid(message: String) -> Refusal {
    (ErrorCode::InvalidRequest, Some(message.into()))
}
