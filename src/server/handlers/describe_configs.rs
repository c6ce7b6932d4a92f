//! DescribeConfigs (KIP-133, KIP-226, KIP-569): topics and this broker.

use std::collections::HashSet;
use std::rc::Rc;

use super::alter_configs::{BROKER, NAMED_TWICE, Refusal, TOPIC, check_broker_id, invalid};
use crate::config::describe::{self, Described};
use crate::metadata::plan;
use crate::protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResourceResult, DescribeConfigsResponse,
    DescribeConfigsResult, DescribeConfigsSynonym,
};
use crate::protocol::{ErrorCode, KafkaString};
use crate::server::broker::{Broker, ChangeError};

pub(super) async fn handle(broker: Rc<Broker>, request: DescribeConfigsRequest) -> DescribeConfigsResponse {
    let (synonyms, documentation) = (request.include_synonyms, request.include_documentation);
    let mut seen = HashSet::new();
    let results = request.resources.into_iter().map(|resource| {
        // Stricter than Kafka: otherwise a short request could ask for any length of response.
        let described = if seen.insert((resource.resource_type, resource.resource_name.clone())) {
            described(&broker, &resource)
        } else {
            Err(invalid(NAMED_TWICE.into()))
        };
        let (error_code, error_message, configs) = match described {
            Ok(all) => {
                let asked = all.into_iter().filter(|one| is_asked(&resource, one.key.name));
                (ErrorCode::None, None, asked.map(|one| result(one, synonyms, documentation)).collect())
            }
            Err((code, message)) => (code, message, Vec::new()),
        };
        DescribeConfigsResult {
            error_code,
            error_message,
            resource_type: resource.resource_type,
            resource_name: resource.resource_name,
            configs,
        }
    });
    DescribeConfigsResponse { results: results.collect(), ..Default::default() }
}

/// All keys of a resource.
fn described(broker: &Broker, resource: &DescribeConfigsResource) -> Result<Vec<Described>, Refusal> {
    let name = &resource.resource_name;
    match resource.resource_type {
        TOPIC => {
            plan::check_topic_name(name).map_err(|error| super::change_error(&ChangeError::from(error)))?;
            let image = broker.image.borrow();
            let topic = image.topic(name).ok_or((ErrorCode::UnknownTopicOrPartition, None))?;
            Ok(describe::topic(image.broker_config(), &topic.overrides))
        }
        // What all brokers have by dynamic configuration: nothing can be set so.
        BROKER if name.is_empty() => Ok(Vec::new()),
        BROKER => {
            check_broker_id(broker, name).map_err(invalid)?;
            Ok(describe::broker(&broker.settings.config))
        }
        other => Err(invalid(format!("Unsupported resource type: {other}"))),
    }
}

/// Whether the request asks for the key; no list and an empty one ask for all.
fn is_asked(resource: &DescribeConfigsResource, name: &str) -> bool {
    match resource.configuration_keys.as_deref() {
        None | Some([]) => true,
        Some(asked) => asked.iter().any(|asked| *asked == name),
    }
}

fn result(one: Described, synonyms: bool, documentation: bool) -> DescribeConfigsResourceResult {
    let all = one.synonyms.into_iter().filter(|_| synonyms).map(|synonym| DescribeConfigsSynonym {
        name: KafkaString::from_static(synonym.name),
        value: Some(synonym.value.into()),
        source: synonym.source.code(),
    });
    DescribeConfigsResourceResult {
        name: KafkaString::from_static(one.key.name),
        value: one.value.map(KafkaString::from),
        read_only: one.key.is_read_only(),
        config_source: one.source.code(),
        is_sensitive: false,
        synonyms: all.collect(),
        config_type: one.key.kind.code(),
        documentation: documentation.then(|| one.key.documentation().into()),
    }
}
