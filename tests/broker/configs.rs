//! The configuration of topics and of the broker: described, altered, refused, and acted on. Over raw frames, because
//! librdkafka's wrapper drops the errors.

use kafka_protocol::messages::alter_configs_request::{
    AlterConfigsResource as WholeResource, AlterableConfig as WholeConfig,
};
use kafka_protocol::messages::create_topics_request::{CreatableTopic, CreatableTopicConfig};
use kafka_protocol::messages::create_topics_response::CreatableTopicResult;
use kafka_protocol::messages::delete_topics_request::DeleteTopicState;
use kafka_protocol::messages::describe_configs_request::DescribeConfigsResource;
use kafka_protocol::messages::describe_configs_response::{DescribeConfigsResourceResult, DescribeConfigsResult};
use kafka_protocol::messages::incremental_alter_configs_request::{AlterConfigsResource, AlterableConfig};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::produce_response::PartitionProduceResponse;
use kafka_protocol::messages::{
    AlterConfigsRequest, CreateTopicsRequest, DeleteTopicsRequest, DescribeConfigsRequest,
    IncrementalAlterConfigsRequest, ProduceRequest, TopicName,
};
use kafka_protocol::protocol::StrBytes;
use rdkafka::Offset;
use rdkafka::message::{Message, Timestamp};

use crate::client::{assign, consumer, numbered, poll_once, produce, read_all, texts};
use crate::harness::{Broker, now_ms, unique, wait_for};
use crate::wire::{Wire, batch_of_one};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const GROUP: i8 = 32;

// Kafka's `ConfigSource`.
const OF_TOPIC: i8 = 1;
const STATIC: i8 = 4;
const DEFAULT: i8 = 5;

// Kafka's `AlterConfigOp.OpType`.
const SET: i8 = 0;
const DELETE: i8 = 1;
const APPEND: i8 = 2;
const SUBTRACT: i8 = 3;

// Kafka's error codes.
const UNKNOWN_TOPIC: i16 = 3;
const MESSAGE_TOO_LARGE: i16 = 10;
const INVALID_TOPIC: i16 = 17;
const INVALID_TIMESTAMP: i16 = 32;
const INVALID_PARTITIONS: i16 = 37;
const INVALID_CONFIG: i16 = 40;
const INVALID_REQUEST: i16 = 42;
const POLICY_VIOLATION: i16 = 44;
const TOPIC_DELETION_DISABLED: i16 = 73;
const INVALID_RECORD: i16 = 87;

fn text(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}

/// Describes a resource with all that can be told; no keys for all keys.
fn describe(wire: &mut Wire, resource_type: i8, name: &str, keys: &[&str]) -> DescribeConfigsResult {
    let keys = (!keys.is_empty()).then(|| keys.iter().map(|key| text(key)).collect());
    let resource = DescribeConfigsResource::default()
        .with_resource_type(resource_type)
        .with_resource_name(text(name))
        .with_configuration_keys(keys);
    let request = DescribeConfigsRequest::default()
        .with_resources(vec![resource])
        .with_include_synonyms(true)
        .with_include_documentation(true);
    let mut response = wire.call(4, &request);
    assert_eq!(response.results.len(), 1, "one resource, one result");
    let result = response.results.remove(0);
    assert_eq!((result.resource_type, &*result.resource_name), (resource_type, name));
    result
}

/// The value of a key, its source, and its synonyms as `source:name=value`.
fn told(result: &DescribeConfigsResult, key: &str) -> (String, i8, Vec<String>) {
    let entry = entry(result, key);
    let synonyms = entry.synonyms.iter();
    let synonyms = synonyms
        .map(|one| format!("{}:{}={}", one.source, &*one.name, one.value.as_deref().unwrap_or("null")))
        .collect();
    (entry.value.as_deref().unwrap_or("null").to_owned(), entry.config_source, synonyms)
}

fn entry<'a>(result: &'a DescribeConfigsResult, key: &str) -> &'a DescribeConfigsResourceResult {
    assert_eq!(result.error_code, 0, "{:?}", result.error_message);
    result.configs.iter().find(|entry| &*entry.name == key).unwrap_or_else(|| panic!("{key} is described"))
}

/// The value of a topic's key, and where it comes from.
fn value(wire: &mut Wire, topic: &str, key: &str) -> (String, i8) {
    let (value, source, _) = told(&describe(wire, TOPIC, topic, &[key]), key);
    (value, source)
}

/// Changes of one resource; the error, 0 for none.
fn alter(wire: &mut Wire, resource_type: i8, name: &str, changes: &[(&str, i8, Option<&str>)], dry: bool) -> i16 {
    let resource = AlterConfigsResource::default()
        .with_resource_type(resource_type)
        .with_resource_name(text(name))
        .with_configs(changes.iter().map(|change| alterable(*change)).collect());
    alter_all(wire, vec![resource], dry)[0]
}

fn alterable((key, operation, value): (&str, i8, Option<&str>)) -> AlterableConfig {
    AlterableConfig::default().with_name(text(key)).with_config_operation(operation).with_value(value.map(text))
}

fn alter_all(wire: &mut Wire, resources: Vec<AlterConfigsResource>, dry: bool) -> Vec<i16> {
    let count = resources.len();
    let request = IncrementalAlterConfigsRequest::default().with_resources(resources).with_validate_only(dry);
    let response = wire.call(1, &request);
    assert_eq!(response.responses.len(), count);
    for one in &response.responses {
        assert_eq!(one.error_code == 0, one.error_message.is_none(), "{one:?}");
    }
    response.responses.iter().map(|one| one.error_code).collect()
}

/// Replaces a topic's whole configuration; the error, 0 for none.
fn replace(wire: &mut Wire, resource_type: i8, name: &str, configs: &[(&str, Option<&str>)], dry: bool) -> i16 {
    let configs =
        configs.iter().map(|(key, value)| WholeConfig::default().with_name(text(key)).with_value(value.map(text)));
    let resource = WholeResource::default()
        .with_resource_type(resource_type)
        .with_resource_name(text(name))
        .with_configs(configs.collect());
    let request = AlterConfigsRequest::default().with_resources(vec![resource]).with_validate_only(dry);
    wire.call(2, &request).responses[0].error_code
}

fn create(wire: &mut Wire, topic: &str, configs: &[(&str, Option<&str>)]) -> CreatableTopicResult {
    let configs = configs
        .iter()
        .map(|(key, value)| CreatableTopicConfig::default().with_name(text(key)).with_value(value.map(text)));
    let topic = CreatableTopic::default()
        .with_name(TopicName(text(topic)))
        .with_num_partitions(1)
        .with_replication_factor(-1)
        .with_configs(configs.collect());
    let request = CreateTopicsRequest::default().with_topics(vec![topic]).with_timeout_ms(20_000);
    wire.call(7, &request).topics.remove(0)
}

#[test]
fn a_request_for_very_many_partitions_is_refused() {
    let broker = Broker::start();
    let mut wire = Wire::connect(broker.bootstrap());
    let topics = |count: usize, partitions: i32| {
        let new = |_| {
            let topic = CreatableTopic::default().with_name(TopicName(text(&unique("many"))));
            topic.with_num_partitions(partitions).with_replication_factor(1)
        };
        CreateTopicsRequest::default().with_topics((0..count).map(new).collect()).with_validate_only(true)
    };
    let codes = |wire: &mut Wire, request: CreateTopicsRequest| {
        wire.call(7, &request).topics.iter().map(|topic| topic.error_code).collect::<Vec<_>>()
    };
    assert_eq!(codes(&mut wire, topics(3, 3333)), [0; 3]);
    assert_eq!(codes(&mut wire, topics(3, 3334)), [POLICY_VIOLATION; 3]);
    assert_eq!(codes(&mut wire, topics(2, -9999)), [INVALID_PARTITIONS; 2], "less than nothing counts as one");
}

fn create_ok(wire: &mut Wire, stem: &str, configs: &[(&str, &str)]) -> String {
    let topic = unique(stem);
    let configs: Vec<(&str, Option<&str>)> = configs.iter().map(|(key, value)| (*key, Some(*value))).collect();
    let created = create(wire, &topic, &configs);
    assert_eq!(created.error_code, 0, "{:?}", created.error_message);
    topic
}

/// Produces one record with raw frames.
fn produce_one(
    wire: &mut Wire,
    topic: &str,
    acks: i16,
    key: Option<&'static [u8]>,
    value: &[u8],
    timestamp: i64,
) -> PartitionProduceResponse {
    let partition =
        PartitionProduceData::default().with_index(0).with_records(Some(batch_of_one(key, value, timestamp)));
    let data = TopicProduceData::default().with_name(TopicName(text(topic))).with_partition_data(vec![partition]);
    let request = ProduceRequest::default().with_acks(acks).with_timeout_ms(20_000).with_topic_data(vec![data]);
    wire.call(9, &request).responses.remove(0).partition_responses.remove(0)
}

#[test]
fn values_are_described_with_their_sources_and_synonyms() {
    let config = "\
message.max.bytes = 2000000
[log]
retention.hours = 24
cleanup.policy = [\"compact\", \"delete\"]
";
    let Some(broker) = Broker::start_configured(config) else { return };
    let mut wire = Wire::connect(broker.bootstrap());
    let topic = create_ok(&mut wire, "described", &[("max.message.bytes", "1000"), ("cleanup.policy", " delete ")]);
    let result = describe(&mut wire, TOPIC, &topic, &[]);
    assert!(result.configs.windows(2).all(|pair| pair[0].name < pair[1].name), "sorted");
    assert!(result.configs.iter().all(|entry| !entry.read_only && !entry.is_sensitive));
    let strings = |all: &[&str]| all.iter().map(|one| one.to_string()).collect::<Vec<_>>();
    let all = ["1:max.message.bytes=1000", "4:message.max.bytes=2000000", "5:message.max.bytes=1048588"];
    assert_eq!(told(&result, "max.message.bytes"), ("1000".into(), OF_TOPIC, strings(&all)));
    let all = ["1:cleanup.policy=delete", "4:log.cleanup.policy=compact,delete", "5:log.cleanup.policy=delete"];
    assert_eq!(told(&result, "cleanup.policy"), ("delete".into(), OF_TOPIC, strings(&all)));
    let all = ["4:log.retention.hours=24", "5:log.retention.hours=168"];
    assert_eq!(told(&result, "retention.ms"), ("86400000".into(), STATIC, strings(&all)));
    let all = ["5:log.segment.bytes=1073741824"];
    assert_eq!(told(&result, "segment.bytes"), ("1073741824".into(), DEFAULT, strings(&all)));
    // Kafka's `ConfigType`: boolean 1, string 2, int 3, long 5, double 6, list 7.
    for (key, kind) in [
        ("preallocate", 1),
        ("compression.type", 2),
        ("segment.bytes", 3),
        ("retention.ms", 5),
        ("min.cleanable.dirty.ratio", 6),
        ("cleanup.policy", 7),
    ] {
        assert_eq!(entry(&result, key).config_type, kind, "{key}");
        let documentation = entry(&result, key).documentation.clone().expect("documentation was asked for");
        assert!(documentation.ends_with('.'), "{documentation}");
    }

    let result = describe(&mut wire, BROKER, "0", &[]);
    assert!(result.configs.iter().all(|entry| entry.read_only));
    let all = ["4:log.retention.hours=24", "5:log.retention.hours=168"];
    assert_eq!(told(&result, "log.retention.hours"), ("24".into(), STATIC, strings(&all)));
    assert_eq!(told(&result, "log.retention.ms"), ("null".into(), DEFAULT, vec![]));
    assert_eq!(told(&result, "corelog.shards").0, "2");
    let data_dir = broker.data_dir().to_str().expect("UTF-8").to_owned();
    assert_eq!(told(&result, "log.dirs").0, data_dir, "flags are told as the file is");
}

#[test]
fn only_what_is_asked_for_is_described() {
    let broker = Broker::start();
    let mut wire = Wire::connect(broker.bootstrap());
    let topic = create_ok(&mut wire, "asked", &[]);
    let names =
        |result: DescribeConfigsResult| result.configs.iter().map(|entry| entry.name.to_string()).collect::<Vec<_>>();
    let keys = ["segment.ms", "no.such.key", "retention.ms"];
    assert_eq!(names(describe(&mut wire, TOPIC, &topic, &keys)), ["retention.ms", "segment.ms"]);
    let resource = DescribeConfigsResource::default()
        .with_resource_type(TOPIC)
        .with_resource_name(text(&topic))
        .with_configuration_keys(Some(vec![text("retention.ms")]));
    for version in 1..=4 {
        let request = DescribeConfigsRequest::default().with_resources(vec![resource.clone()]);
        let response = wire.call(version, &request);
        let [entry] = &response.results[0].configs[..] else { panic!("{response:?}") };
        assert!(entry.synonyms.is_empty() && entry.documentation.as_deref().unwrap_or_default().is_empty());
        assert_eq!(entry.config_source, DEFAULT);
    }
    let empty = resource.with_configuration_keys(Some(Vec::new()));
    let response = wire.call(4, &DescribeConfigsRequest::default().with_resources(vec![empty]));
    assert!(response.results[0].configs.len() > 20, "an empty list asks for all, as null does");
}

#[test]
fn what_cannot_be_described_is_refused_with_kafkas_error() {
    let broker = Broker::start();
    let mut wire = Wire::connect(broker.bootstrap());
    for (resource_type, name, error) in [
        (TOPIC, unique("unknown"), UNKNOWN_TOPIC),
        (TOPIC, "a/b".into(), INVALID_TOPIC),
        (TOPIC, String::new(), INVALID_TOPIC),
        (BROKER, "4711".into(), INVALID_REQUEST),
        (BROKER, "first".into(), INVALID_REQUEST),
        (GROUP, "group".into(), INVALID_REQUEST),
        (0, "nothing".into(), INVALID_REQUEST),
    ] {
        let result = describe(&mut wire, resource_type, &name, &[]);
        assert_eq!((result.error_code, result.configs.len()), (error, 0), "{resource_type} {name}");
    }
    let resource = DescribeConfigsResource::default().with_resource_type(BROKER).with_resource_name(text("0"));
    let twice = DescribeConfigsRequest::default().with_resources(vec![resource; 2]);
    let codes: Vec<i16> = wire.call(4, &twice).results.iter().map(|result| result.error_code).collect();
    assert_eq!(codes, [0, INVALID_REQUEST], "the second time");
    let result = describe(&mut wire, BROKER, "", &[]);
    assert_eq!((result.error_code, result.configs.len()), (0, 0), "nothing is set for all brokers");
}

#[test]
fn a_new_topic_tells_its_configuration() {
    let broker = Broker::start();
    let mut wire = Wire::connect(broker.bootstrap());
    let created = create(&mut wire, &unique("new"), &[("retention.ms", Some("5"))]);
    assert_eq!((created.error_code, created.num_partitions, created.replication_factor), (0, 1, 1));
    let configs = created.configs.expect("the configuration is told");
    assert!(configs.len() > 20 && configs.windows(2).all(|pair| pair[0].name < pair[1].name));
    let of = |key: &str| {
        let found = configs.iter().find(|entry| &*entry.name == key).expect("the key is told");
        (found.value.as_deref().unwrap_or("null").to_owned(), found.config_source, found.read_only)
    };
    assert_eq!(of("retention.ms"), ("5".into(), OF_TOPIC, false));
    assert_eq!(of("retention.bytes"), ("-1".into(), DEFAULT, false));

    for (key, value) in [
        ("retention.ms", None),
        ("retention.ms", Some("-2")),
        ("no.such", Some("1")),
        ("compression.type", Some("gzip")),
    ] {
        let refused = create(&mut wire, &unique("refused"), &[(key, value)]);
        assert_eq!(refused.error_code, INVALID_CONFIG, "{key} {value:?}");
        assert!(refused.error_message.is_some_and(|message| message.contains(key)), "{key} {value:?}");
    }
}

#[test]
fn single_values_are_set_deleted_appended_to_and_subtracted_from() {
    let broker = Broker::start();
    let mut wire = Wire::connect(broker.bootstrap());
    let topic = create_ok(&mut wire, "edited", &[("retention.ms", "5")]);
    let mut edit = |changes: &[(&str, i8, Option<&str>)]| alter(&mut wire, TOPIC, &topic, changes, false);
    assert_eq!(edit(&[("segment.ms", SET, Some("7")), ("retention.ms", DELETE, None)]), 0);
    assert_eq!(edit(&[("cleanup.policy", APPEND, Some("compact"))]), 0);
    assert_eq!(value(&mut wire, &topic, "segment.ms"), ("7".into(), OF_TOPIC));
    assert_eq!(value(&mut wire, &topic, "retention.ms"), ("604800000".into(), DEFAULT));
    assert_eq!(value(&mut wire, &topic, "cleanup.policy"), ("delete,compact".into(), OF_TOPIC));
    assert_eq!(alter(&mut wire, TOPIC, &topic, &[("cleanup.policy", SUBTRACT, Some("delete"))], false), 0);
    assert_eq!(value(&mut wire, &topic, "cleanup.policy"), ("compact".into(), OF_TOPIC));
    assert_eq!(alter(&mut wire, TOPIC, &topic, &[("segment.ms", SET, Some("8"))], true), 0, "only asked");
    assert_eq!(value(&mut wire, &topic, "segment.ms"), ("7".into(), OF_TOPIC));
}

#[test]
fn changes_that_cannot_be_are_refused_whole_with_kafkas_error() {
    let broker = Broker::start();
    let mut wire = Wire::connect(broker.bootstrap());
    let topic = create_ok(&mut wire, "unchanged", &[]);
    let unknown = unique("unknown");
    let good = ("retention.ms", SET, Some("5"));
    for (resource_type, name, changes, error) in [
        (TOPIC, topic.as_str(), &[good, ("segment.ms", SET, Some("0"))][..], INVALID_CONFIG),
        (TOPIC, &topic, &[good, ("no.such.key", SET, Some("1"))], INVALID_CONFIG),
        (TOPIC, &topic, &[good, ("segment.ms", APPEND, Some("1"))], INVALID_CONFIG),
        (TOPIC, &topic, &[good, ("cleanup.policy", APPEND, Some("squash"))], INVALID_CONFIG),
        (TOPIC, &topic, &[good, ("compression.type", SET, Some("lz4"))], INVALID_CONFIG),
        (TOPIC, &topic, &[good, ("max.message.bytes", SET, Some("2147483647"))], INVALID_CONFIG),
        (TOPIC, &topic, &[good, ("segment.ms", SET, None)], INVALID_REQUEST),
        (TOPIC, &topic, &[good, good], INVALID_REQUEST),
        (TOPIC, &topic, &[good, ("segment.ms", 9, Some("1"))], INVALID_REQUEST),
        (TOPIC, &unknown, &[good], UNKNOWN_TOPIC),
        (TOPIC, "a/b", &[good], INVALID_TOPIC),
        (TOPIC, "", &[good], INVALID_REQUEST),
        (GROUP, &topic, &[good], INVALID_REQUEST),
        (BROKER, "0", &[("num.partitions", SET, Some("3"))], INVALID_REQUEST),
        (BROKER, "", &[("log.retention.ms", SET, Some("3"))], INVALID_REQUEST),
        (BROKER, "4711", &[("log.retention.ms", SET, Some("3"))], INVALID_REQUEST),
        (BROKER, "0", &[("no.such.key", SET, Some("3"))], INVALID_CONFIG),
        (BROKER, "0", &[("num.partitions", DELETE, None)], 0),
    ] {
        assert_eq!(alter(&mut wire, resource_type, name, changes, false), error, "{resource_type} {name} {changes:?}");
    }
    let resource = |name: &str| {
        let configs = vec![alterable(good)];
        AlterConfigsResource::default().with_resource_type(TOPIC).with_resource_name(text(name)).with_configs(configs)
    };
    let twice = vec![resource(&topic), resource(&unknown), resource(&topic)];
    assert_eq!(alter_all(&mut wire, twice, false), [INVALID_REQUEST, UNKNOWN_TOPIC, INVALID_REQUEST]);
    assert_eq!(value(&mut wire, &topic, "retention.ms"), ("604800000".into(), DEFAULT), "nothing was changed");
}

#[test]
fn a_whole_configuration_is_replaced() {
    let broker = Broker::start();
    let mut wire = Wire::connect(broker.bootstrap());
    let topic = create_ok(&mut wire, "replaced", &[("retention.ms", "5"), ("segment.ms", "6")]);
    assert_eq!(replace(&mut wire, TOPIC, &topic, &[("flush.ms", Some("7"))], true), 0, "only asked");
    assert_eq!(value(&mut wire, &topic, "retention.ms"), ("5".into(), OF_TOPIC));
    assert_eq!(replace(&mut wire, TOPIC, &topic, &[("segment.ms", Some("0"))], false), INVALID_CONFIG);
    assert_eq!(replace(&mut wire, TOPIC, &topic, &[("segment.ms", None)], false), INVALID_REQUEST);
    assert_eq!(replace(&mut wire, TOPIC, &unique("unknown"), &[("segment.ms", Some("1"))], false), UNKNOWN_TOPIC);
    assert_eq!(replace(&mut wire, BROKER, "0", &[("num.partitions", Some("1"))], false), INVALID_REQUEST);
    assert_eq!(value(&mut wire, &topic, "segment.ms"), ("6".into(), OF_TOPIC));
    assert_eq!(replace(&mut wire, TOPIC, &topic, &[("segment.ms", Some("8"))], false), 0);
    assert_eq!(value(&mut wire, &topic, "segment.ms"), ("8".into(), OF_TOPIC));
    assert_eq!(value(&mut wire, &topic, "retention.ms"), ("604800000".into(), DEFAULT), "what is not named is reset");
}

#[test]
fn altered_configs_survive_a_kill_and_hold_afterwards() {
    let Some(mut broker) = Broker::start_own() else { return };
    let mut wire = Wire::connect(broker.bootstrap());
    let topic = create_ok(&mut wire, "kept", &[("retention.ms", "5")]);
    let changes = [("max.message.bytes", SET, Some("500")), ("cleanup.policy", APPEND, Some("compact"))];
    assert_eq!(alter(&mut wire, TOPIC, &topic, &changes, false), 0);
    for end in [Broker::kill9, Broker::stop] {
        end(&mut broker);
        broker.restart();
        let mut wire = Wire::connect(broker.bootstrap());
        assert_eq!(value(&mut wire, &topic, "retention.ms"), ("5".into(), OF_TOPIC));
        assert_eq!(value(&mut wire, &topic, "max.message.bytes"), ("500".into(), OF_TOPIC));
        assert_eq!(value(&mut wire, &topic, "cleanup.policy"), ("delete,compact".into(), OF_TOPIC));
        let code = produce_one(&mut wire, &topic, 1, Some(b"key"), &[b'x'; 500], now_ms()).error_code;
        assert_eq!(code, MESSAGE_TOO_LARGE);
        assert_eq!(produce_one(&mut wire, &topic, 1, None, b"no key", now_ms()).error_code, INVALID_RECORD);
        assert_eq!(produce_one(&mut wire, &topic, 1, Some(b"key"), b"small", now_ms()).error_code, 0);
    }
}

#[test]
fn a_topics_rules_hold_for_what_is_produced() {
    let broker = Broker::start();
    let mut wire = Wire::connect(broker.bootstrap());
    let (hour, now) = (3_600_000, now_ms());
    let mut code = |topic: &str, acks, key, timestamp| {
        let produced = produce_one(&mut wire, topic, acks, key, b"value", timestamp);
        assert_eq!(produced.log_append_time_ms, -1, "the time is the producer's own");
        produced.error_code
    };
    let mut admin = Wire::connect(broker.bootstrap());

    let plain = create_ok(&mut admin, "plain", &[]);
    assert_eq!(code(&plain, -1, None, now), 0);
    assert_eq!(code(&plain, -1, None, 0), 0, "nothing is too old by default");
    assert_eq!(code(&plain, -1, None, now + 2 * hour), INVALID_TIMESTAMP, "an hour ahead is Kafka's limit");

    let recent = [("message.timestamp.before.max.ms", "60000"), ("message.timestamp.after.max.ms", "7200000")];
    let recent = create_ok(&mut admin, "recent", &recent);
    assert_eq!(code(&recent, -1, None, now - hour), INVALID_TIMESTAMP);
    assert_eq!(code(&recent, -1, None, now + hour), 0);

    let compacted = create_ok(&mut admin, "compacted", &[("cleanup.policy", "compact")]);
    assert_eq!(code(&compacted, -1, None, now), INVALID_RECORD);
    assert_eq!(code(&compacted, -1, Some(b"key"), now), 0);

    let replicated = create_ok(&mut admin, "replicated", &[("min.insync.replicas", "2")]);
    assert_eq!(code(&replicated, -1, None, now), 0, "never more than a partition has replicas (KIP-966)");
}

#[test]
fn log_append_time_is_the_brokers_and_is_told() {
    let broker = Broker::start();
    let mut wire = Wire::connect(broker.bootstrap());
    let topic = create_ok(&mut wire, "stamped", &[("message.timestamp.type", "LogAppendTime")]);
    let before = now_ms();
    // A producer's time that would be refused as too far ahead does not matter.
    let produced = produce_one(&mut wire, &topic, -1, None, b"value", before + 100 * 3_600_000);
    let after = now_ms();
    assert_eq!((produced.error_code, produced.base_offset), (0, 0));
    assert!((before..=after).contains(&produced.log_append_time_ms), "{before} {produced:?} {after}");

    let consumer = consumer(broker.bootstrap(), &[("auto.offset.reset", "earliest")]);
    assign(&consumer, &topic, 0, Offset::Beginning);
    let seen = wait_for("the record", || poll_once(&consumer).map(|message| message.expect("a record").timestamp()));
    assert_eq!(seen, Timestamp::LogAppendTime(produced.log_append_time_ms));
}

#[test]
fn a_topics_segments_have_their_own_length() {
    let Some(mut broker) = Broker::start_own() else { return };
    let mut wire = Wire::connect(broker.bootstrap());
    let small = create_ok(&mut wire, "small", &[("segment.bytes", "1048576")]);
    let altered = create_ok(&mut wire, "altered", &[]);
    let large = create_ok(&mut wire, "large", &[]);
    let payloads: Vec<String> = numbered("x", 80).iter().map(|text| format!("{text:x<50000}")).collect();
    produce(broker.bootstrap(), &altered, 0, &payloads[..1]);
    assert_eq!(alter(&mut wire, TOPIC, &altered, &[("segment.bytes", SET, Some("2097152"))], false), 0);
    for topic in [&small, &altered, &large] {
        produce(broker.bootstrap(), topic, 0, &payloads);
    }
    broker.stop();
    let segments = |topic: &str| {
        let topics = std::fs::read_dir(broker.data_dir().join("topics")).expect("the topics' directory");
        let mut paths = topics.map(|entry| entry.expect("an entry").path());
        let named = |path: &std::path::PathBuf| {
            path.file_name().is_some_and(|name| name.to_str().expect("UTF-8").starts_with(topic))
        };
        let files = std::fs::read_dir(paths.find(named).expect("the topic's directory").join("0")).expect("its files");
        let logs = files
            .map(|entry| entry.expect("a file"))
            .filter(|file| file.path().extension().is_some_and(|x| x == "log"));
        logs.map(|file| file.metadata().expect("its length").len()).collect::<Vec<_>>()
    };
    for (topic, bytes_max) in [(&small, 1 << 20), (&altered, 2 << 20)] {
        let lengths = segments(topic);
        assert!(lengths.len() >= 2 && lengths.iter().all(|length| *length <= bytes_max), "{topic}: {lengths:?}");
    }
    assert_eq!(segments(&large).len(), 1);
    broker.restart();
    assert_eq!(texts(&read_all(broker.bootstrap(), &small, 1)[0]), payloads);
}

#[test]
fn the_brokers_values_hold() {
    let config = "\
node.id = 7
num.partitions = 3
delete.topic.enable = false
auto.create.topics.enable = false
message.max.bytes = 500
socket.request.max.bytes = 100000
";
    let Some(broker) = Broker::start_configured(config) else { return };
    let mut wire = Wire::connect(broker.bootstrap());
    assert_eq!(
        told(&describe(&mut wire, BROKER, "7", &[]), "node.id"),
        ("7".into(), STATIC, vec!["4:node.id=7".into(), "5:node.id=0".into()])
    );
    assert_eq!(describe(&mut wire, BROKER, "0", &[]).error_code, INVALID_REQUEST);
    let topic = unique("held");
    let new = CreatableTopic::default()
        .with_name(TopicName(text(&topic)))
        .with_num_partitions(-1)
        .with_replication_factor(-1);
    let created = wire.call(7, &CreateTopicsRequest::default().with_topics(vec![new])).topics.remove(0);
    assert_eq!((created.error_code, created.num_partitions), (0, 3));
    assert_eq!(produce_one(&mut wire, &topic, 1, None, &[b'x'; 500], now_ms()).error_code, MESSAGE_TOO_LARGE);
    assert_eq!(produce_one(&mut wire, &topic, -1, None, b"x", now_ms()).error_code, 0);

    let names = vec![TopicName(text(&topic))];
    let by_name = DeleteTopicsRequest::default().with_topic_names(names);
    assert_eq!(wire.call(2, &by_name).responses[0].error_code, INVALID_REQUEST);
    assert_eq!(wire.call(5, &by_name).responses[0].error_code, TOPIC_DELETION_DISABLED);
    let state = DeleteTopicState::default().with_name(Some(TopicName(text(&topic))));
    let deleted = wire.call(6, &DeleteTopicsRequest::default().with_topics(vec![state]));
    assert_eq!(deleted.responses[0].error_code, TOPIC_DELETION_DISABLED);
    assert_eq!(value(&mut wire, &topic, "max.message.bytes"), ("500".into(), STATIC), "the topic is still there");

    let mut large = Wire::connect(broker.bootstrap());
    large.send(&100_001u32.to_be_bytes());
    assert!(large.read_to_close().is_empty(), "a longer request than allowed ends its connection");
}
