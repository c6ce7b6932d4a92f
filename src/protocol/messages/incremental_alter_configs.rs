//! IncrementalAlterConfigs (key 44): changes single configuration values (KIP-339).

use crate::protocol::schema::{api, schema};
use crate::protocol::{ErrorCode, KafkaString};

api!(IncrementalAlterConfigs, IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse);

schema! {
    /// What to change.
    pub struct IncrementalAlterConfigsRequest {
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
        /// The changes.
        configs: Vec<AlterableConfig>,
    }

    /// A change.
    pub struct AlterableConfig {
        /// The key.
        name: KafkaString,
        /// What to do: 0 set, 1 delete, 2 append to the list, 3 subtract from the list.
        config_operation: i8,
        /// The value; null to delete.
        value: Option<KafkaString> = Some(KafkaString::default()),
    }

    /// What became of it.
    pub struct IncrementalAlterConfigsResponse {
        /// How long the client should wait before its next request, in milliseconds.
        throttle_time_ms: i32,
        /// The results, by resource.
        responses: Vec<AlterConfigsResourceResponse>,
    }

    /// What became of a resource's changes.
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
