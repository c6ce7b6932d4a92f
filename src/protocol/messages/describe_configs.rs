//! DescribeConfigs (key 32): describes the configuration of topics and brokers.

use crate::protocol::schema::{api, schema};
use crate::protocol::{ErrorCode, KafkaString};

api!(DescribeConfigs, DescribeConfigsRequest, DescribeConfigsResponse);

schema! {
    /// What to describe.
    pub struct DescribeConfigsRequest {
        /// The topics and brokers.
        resources: Vec<DescribeConfigsResource>,
        /// Whether to list where each value could come from.
        include_synonyms: bool,
        /// Whether to tell what each key is for.
        include_documentation: bool [3..],
    }

    /// A topic or a broker.
    pub struct DescribeConfigsResource {
        /// What it is: 2 a topic, 4 a broker; Kafka's `ConfigResource.Type`.
        resource_type: i8,
        /// The topic's name, or the broker's id; empty for the default of all brokers.
        resource_name: KafkaString,
        /// The keys; null for all.
        configuration_keys: Option<Vec<KafkaString>> = Some(Vec::new()),
    }

    /// The configurations.
    pub struct DescribeConfigsResponse {
        /// How long the client should wait before its next request, in milliseconds.
        throttle_time_ms: i32,
        /// The configurations, by resource.
        results: Vec<DescribeConfigsResult>,
    }

    /// The configuration of a resource.
    pub struct DescribeConfigsResult {
        /// The error, if any.
        error_code: ErrorCode,
        /// What the error means.
        error_message: Option<KafkaString> = Some(KafkaString::default()),
        /// What the resource is.
        resource_type: i8,
        /// Its name.
        resource_name: KafkaString,
        /// Its values.
        configs: Vec<DescribeConfigsResourceResult>,
    }

    /// A configuration value.
    pub struct DescribeConfigsResourceResult {
        /// The key.
        name: KafkaString,
        /// The value; null when it has none, or is secret.
        value: Option<KafkaString> = Some(KafkaString::default()),
        /// Whether it cannot be changed.
        read_only: bool,
        /// Where the value comes from: Kafka's `ConfigSource`; -1 when unknown.
        config_source: i8 = -1,
        /// Whether the value is secret.
        is_sensitive: bool,
        /// Where the value could come from, the strongest first.
        synonyms: Vec<DescribeConfigsSynonym>,
        /// The type of the value: Kafka's `ConfigType`; 0 when unknown.
        config_type: i8 [3..],
        /// What the key is for.
        documentation: Option<KafkaString> [3..] = Some(KafkaString::default()),
    }

    /// Where a value could come from.
    pub struct DescribeConfigsSynonym {
        /// The key there.
        name: KafkaString,
        /// The value there.
        value: Option<KafkaString> = Some(KafkaString::default()),
        /// What the place is: Kafka's `ConfigSource`.
        source: i8,
    }
}
