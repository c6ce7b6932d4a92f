//! IncrementalAlterConfigs (KIP-339): sets, deletes, appends to and subtracts from single values.

use std::rc::Rc;

use super::alter_configs::{
    BROKER, NAMED_TWICE, Refusal, TOPIC, alter_topic, check_keys, invalid, refuse_broker, repeated, unknown_type,
};
use crate::config::topic::{Change, Operation};
use crate::protocol::ErrorCode;
use crate::protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterConfigsResourceResponse, AlterableConfig, IncrementalAlterConfigsRequest,
    IncrementalAlterConfigsResponse,
};
use crate::server::broker::Broker;

/// Kafka's `AlterConfigOp.OpType`.
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

pub(super) async fn handle(
    broker: Rc<Broker>,
    request: IncrementalAlterConfigsRequest,
) -> IncrementalAlterConfigsResponse {
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
    IncrementalAlterConfigsResponse { responses, ..Default::default() }
}

async fn one(broker: &Rc<Broker>, resource: AlterConfigsResource, validate_only: bool) -> Result<(), Refusal> {
    let configs = &resource.configs;
    let needs_value = |config: &AlterableConfig| config.config_operation != DELETE && config.value.is_none();
    check_keys(configs.iter().map(|config| (&config.name, needs_value(config))))?;
    if !matches!(resource.resource_type, BROKER | TOPIC) {
        return Err(unknown_type(resource.resource_type));
    }
    let edits = configs.iter().map(edit).collect::<Result<Vec<_>, _>>()?;
    if resource.resource_type == TOPIC {
        return alter_topic(broker, &resource.resource_name, Change::Edit(edits), validate_only).await;
    }
    // Deleting what was never set dynamically changes nothing.
    let set = edits.iter().filter(|(_, operation)| *operation != Operation::Delete);
    refuse_broker(broker, &resource.resource_name, set.map(|(name, _)| name.as_str()))
}

fn edit(config: &AlterableConfig) -> Result<(String, Operation), Refusal> {
    let value = config.value.as_deref().unwrap_or_default().to_string();
    let operation = match config.config_operation {
        SET => Operation::Set(value),
        DELETE => Operation::Delete,
        APPEND => Operation::Append(value),
        SUBTRACT => Operation::Subtract(value),
        other => return Err(invalid(format!("Unknown operations type {other}"))),
    };
    Ok((config.name.to_string(), operation))
}
