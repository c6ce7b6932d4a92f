//! AlterConfigs (key 33): replaces the whole configuration of topics and brokers. IncrementalAlterConfigs is its better.

use crate::protocol::schema::{api, schema};
use crate::protocol::{ErrorCode, KafkaString};

api!(AlterConfigs, AlterConfigsRequest, AlterConfigsResponse);

schema! {
    /// What to replace.
    pub struct AlterConfigsRequest {
        /// The topics and brokers.
        resources: Vec<AlterConfigsResource>,
        /// Whether to check only, and change nothing.
        validate_only: bool,
    }

    /// A topic or a broker.
    pub struct AlterConfigsResource {
        /// What it is: 2 a topic, 4 a broker; Kafka's `ConfigResource.Type`.
        resource_type: i8,
        /// The topic's name, or the broker's id; empty for the default of all brokers.
        resource_name: KafkaString,
        /// All of its configuration; what is not listed is reset.
        configs: Vec<AlterableConfig>,
    }

    /// A configuration value.
    pub struct AlterableConfig {
        /// The key.
        name: KafkaString,
        /// The value.
        value: Option<KafkaString> = Some(KafkaString::default()),
    }

    /// What became of it.
    pub struct AlterConfigsResponse {
        /// How long the client should wait before its next request, in milliseconds.
        throttle_time_ms: i32,
        /// The results, by resource.
        responses: Vec<AlterConfigsResourceResponse>,
    }

    /// What became of a resource's configuration.
    pub struct AlterConfigsResourceResponse {
        /// The error, if any.
        error_code: ErrorCode,
        /// What the error means.
        error_message: Option<KafkaString> = Some(KafkaString::default()),
        /// What the resource is.
        resource_type: i8,
        /// Its name.
        resource_name: KafkaString,
    }
}
