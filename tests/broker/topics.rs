//! Topics and their configs, as an administrator's client sees them.

use std::time::Duration;

use rdkafka::admin::{
    AlterConfig, ConfigEntry, ConfigSource, NewPartitions, NewTopic, ResourceSpecifier, TopicReplication,
};
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::types::RDKafkaRespErr;

use crate::client::{
    Producer, admin, admin_options, block_on, config, consumer, create_topic, numbered, produce, read_all, texts,
    try_create_topic, watermarks,
};
use crate::harness::{Broker, unique, wait_for};

/// How many partitions a topic has, or the error that stands in its place.
fn partition_count(bootstrap: &str, topic: &str) -> Result<usize, RDKafkaRespErr> {
    let client = consumer(bootstrap, &[("allow.auto.create.topics", "false")]);
    let metadata = client.fetch_metadata(Some(topic), Duration::from_secs(20)).expect("metadata");
    let found = metadata.topics().iter().find(|found| found.name() == topic).expect("the topic that was asked for");
    found.error().map_or_else(|| Ok(found.partitions().len()), Err)
}

/// The names of all topics.
fn topic_names(bootstrap: &str) -> Vec<String> {
    let metadata = consumer(bootstrap, &[]).fetch_metadata(None, Duration::from_secs(20)).expect("metadata");
    metadata.topics().iter().map(|topic| topic.name().to_owned()).collect()
}

fn delete_topic(bootstrap: &str, topic: &str) -> Result<(), RDKafkaErrorCode> {
    let admin = admin(bootstrap);
    let mut results = block_on(admin.delete_topics(&[topic], &admin_options())).expect("an answer to DeleteTopics");
    results.remove(0).map(drop).map_err(|(_, code)| code)
}

fn widen(bootstrap: &str, topic: &str, partitions: usize) -> Result<(), RDKafkaErrorCode> {
    let admin = admin(bootstrap);
    let wider = NewPartitions::new(topic, partitions);
    let mut results =
        block_on(admin.create_partitions([&wider], &admin_options())).expect("an answer to CreatePartitions");
    results.remove(0).map(drop).map_err(|(_, code)| code)
}

fn configs(bootstrap: &str, resource: ResourceSpecifier<'_>) -> Vec<ConfigEntry> {
    let admin = admin(bootstrap);
    let mut results =
        block_on(admin.describe_configs([&resource], &admin_options())).expect("an answer to DescribeConfigs");
    results.remove(0).expect("one resource, one answer").entries
}

fn config_value(bootstrap: &str, topic: &str, name: &str) -> (String, ConfigSource) {
    let entries = configs(bootstrap, ResourceSpecifier::Topic(topic));
    let entry = entries.into_iter().find(|entry| entry.name == name).unwrap_or_else(|| panic!("{name} is described"));
    (entry.value.expect("a value"), entry.source)
}

#[test]
fn a_topic_is_created_listed_widened_and_deleted() {
    let broker = Broker::start();
    let topic = unique("life");
    assert!(!topic_names(broker.bootstrap()).contains(&topic));
    create_topic(broker.bootstrap(), &topic, 2);
    wait_for("the topic is listed", || topic_names(broker.bootstrap()).contains(&topic).then_some(()));
    assert_eq!(partition_count(broker.bootstrap(), &topic), Ok(2));
    produce(broker.bootstrap(), &topic, 1, &numbered("before", 3));

    assert_eq!(widen(broker.bootstrap(), &topic, 5), Ok(()));
    wait_for("five partitions", || (partition_count(broker.bootstrap(), &topic) == Ok(5)).then_some(()));
    produce(broker.bootstrap(), &topic, 4, &numbered("after", 3));
    let partitions = read_all(broker.bootstrap(), &topic, 5);
    assert_eq!(partitions.iter().map(|partition| partition.len()).collect::<Vec<_>>(), [0, 3, 0, 0, 3]);

    assert_eq!(delete_topic(broker.bootstrap(), &topic), Ok(()));
    let gone = Err(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    wait_for("the topic is gone", || (partition_count(broker.bootstrap(), &topic) == gone).then_some(()));
    assert!(!topic_names(broker.bootstrap()).contains(&topic));
}

#[test]
fn topics_and_configs_survive_restarts() {
    let Some(mut broker) = Broker::start_own() else { return };
    let (kept, widened, deleted) = (unique("kept"), unique("widened"), unique("deleted"));
    try_create_topic(broker.bootstrap(), &kept, 3, &[("retention.ms", "123456789")]).expect("the topic is created");
    create_topic(broker.bootstrap(), &widened, 1);
    create_topic(broker.bootstrap(), &deleted, 1);
    widen(broker.bootstrap(), &widened, 4).expect("the topic is widened");
    delete_topic(broker.bootstrap(), &deleted).expect("the topic is deleted");
    for end in [Broker::kill9, Broker::stop] {
        end(&mut broker);
        broker.restart();
        assert_eq!(partition_count(broker.bootstrap(), &kept), Ok(3));
        assert_eq!(partition_count(broker.bootstrap(), &widened), Ok(4));
        assert!(!topic_names(broker.bootstrap()).contains(&deleted));
        let retention = config_value(broker.bootstrap(), &kept, "retention.ms");
        assert_eq!(retention, ("123456789".to_owned(), ConfigSource::DynamicTopic));
        produce(broker.bootstrap(), &widened, 3, &numbered("still writable", 1));
    }
}

#[test]
fn a_deleted_topics_records_do_not_come_back() {
    let Some(mut broker) = Broker::start_own() else { return };
    let topic = unique("again");
    for generation in 0..3 {
        create_topic(broker.bootstrap(), &topic, 2);
        assert_eq!(watermarks(broker.bootstrap(), &topic, 0), (0, 0), "generation {generation} starts empty");
        let payloads = numbered(&format!("generation {generation}, record"), 100);
        let acks = produce(broker.bootstrap(), &topic, 0, &payloads);
        assert_eq!(acks[0].offset, 0, "offsets start again");
        broker.kill9();
        broker.restart();
        let partitions = read_all(broker.bootstrap(), &topic, 2);
        assert_eq!(texts(&partitions[0]), payloads, "only the records of generation {generation}");
        assert_eq!(partitions[1], []);
        delete_topic(broker.bootstrap(), &topic).expect("the topic is deleted");
        let gone = Err(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
        wait_for("the topic is gone", || (partition_count(broker.bootstrap(), &topic) == gone).then_some(()));
    }
}

#[test]
fn what_cannot_be_created_is_refused_with_kafkas_error() {
    let broker = Broker::start();
    let create = |name: &str, partitions, configs: &[(&str, &str)]| {
        try_create_topic(broker.bootstrap(), name, partitions, configs)
    };
    let too_long = "x".repeat(250);
    for name in [".", "..", "a/b", "space here", "ümlaut", "new\nline", &too_long] {
        assert_eq!(create(name, 1, &[]), Err(RDKafkaErrorCode::InvalidTopic), "{name:?}");
    }
    let longest = format!("{:a<249}", unique("longest"));
    assert_eq!(create(&longest, 1, &[]), Ok(()), "249 characters are Kafka's limit");

    let topic = unique("refused");
    assert_eq!(create(&topic, 1, &[("no.such.config", "1")]), Err(RDKafkaErrorCode::InvalidConfig));
    assert_eq!(create(&topic, 1, &[("retention.ms", "soon")]), Err(RDKafkaErrorCode::InvalidConfig));
    let admin = admin(broker.bootstrap());
    let replicated = NewTopic::new(&topic, 1, TopicReplication::Fixed(2));
    let results = block_on(admin.create_topics([&replicated], &admin_options())).expect("an answer to CreateTopics");
    assert_eq!(results, [Err((topic.clone(), RDKafkaErrorCode::InvalidReplicationFactor))], "one broker, two replicas");
    assert_eq!(create(&topic, 2, &[]), Ok(()), "none of the refused requests has left a topic");
    assert_eq!(create(&topic, 2, &[]), Err(RDKafkaErrorCode::TopicAlreadyExists));
    for fewer in [1, 2] {
        assert_eq!(widen(broker.bootstrap(), &topic, fewer), Err(RDKafkaErrorCode::InvalidPartitions), "2 to {fewer}");
    }
    assert_eq!(partition_count(broker.bootstrap(), &topic), Ok(2));
}

#[test]
fn create_topics_can_ask_without_doing() {
    let broker = Broker::start();
    let topic = unique("asked");
    create_topic(broker.bootstrap(), &unique("another"), 1);
    let new = NewTopic::new(&topic, 1, TopicReplication::Fixed(1));
    let options = admin_options().validate_only(true);
    let results =
        block_on(admin(broker.bootstrap()).create_topics([&new], &options)).expect("an answer to CreateTopics");
    assert_eq!(results, [Ok(topic.clone())]);
    let unknown = Err(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    assert_eq!(partition_count(broker.bootstrap(), &topic), unknown);
}

#[test]
fn an_unknown_topic_is_an_error_for_each_request() {
    let broker = Broker::start();
    let topic = unique("unknown");
    let unknown = RDKafkaErrorCode::UnknownTopicOrPartition;
    let in_metadata = Err(RDKafkaRespErr::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART);
    assert_eq!(partition_count(broker.bootstrap(), &topic), in_metadata);
    assert_eq!(delete_topic(broker.bootstrap(), &topic), Err(unknown));
    assert_eq!(widen(broker.bootstrap(), &topic, 3), Err(unknown));
    // The crate drops the answer's error for each resource: what is left of it is that nothing is described.
    assert_eq!(configs(broker.bootstrap(), ResourceSpecifier::Topic(&topic)), [], "no topic, no configs");

    let settings = [
        ("allow.auto.create.topics", "false"),
        ("topic.metadata.propagation.max.ms", "500"),
        ("message.timeout.ms", "10000"),
    ];
    let producer = Producer::new(broker.bootstrap(), &topic, &settings);
    producer.send(producer.record(0, b"lost"));
    producer.flush();
    let errors = producer.errors();
    assert!(
        matches!(
            errors[..],
            [KafkaError::MessageProduction(RDKafkaErrorCode::UnknownTopic | RDKafkaErrorCode::UnknownTopicOrPartition)]
        ),
        "{errors:?}"
    );
    assert_eq!(partition_count(broker.bootstrap(), &topic), in_metadata, "asking has not created it");
}

#[test]
fn a_topic_is_created_when_a_producer_first_names_it() {
    let broker = Broker::start();
    let topic = unique("auto");
    let producer = Producer::new(broker.bootstrap(), &topic, &[("allow.auto.create.topics", "true")]);
    producer.send(producer.record(0, b"first"));
    assert_eq!(producer.finish().len(), 1);
    assert_eq!(partition_count(broker.bootstrap(), &topic), Ok(1), "num.partitions is 1");
    assert_eq!(texts(&read_all(broker.bootstrap(), &topic, 1)[0]), ["first"]);
}

#[test]
fn topic_configs_tell_their_value_and_where_it_comes_from() {
    let broker = Broker::start();
    let topic = unique("configured");
    let set = [("cleanup.policy", "compact"), ("max.message.bytes", "200000")];
    try_create_topic(broker.bootstrap(), &topic, 1, &set).expect("the topic is created");
    let entries = configs(broker.bootstrap(), ResourceSpecifier::Topic(&topic));
    let entry =
        |name: &str| entries.iter().find(|entry| entry.name == name).unwrap_or_else(|| panic!("{name} is described"));
    for (name, value) in set {
        assert_eq!((entry(name).value.as_deref(), &entry(name).source), (Some(value), &ConfigSource::DynamicTopic));
        assert!(!entry(name).is_default && !entry(name).is_read_only && !entry(name).is_sensitive, "{name}");
    }
    let defaults = [
        ("retention.ms", "604800000"),
        ("retention.bytes", "-1"),
        ("segment.bytes", "1073741824"),
        ("compression.type", "producer"),
        ("message.timestamp.type", "CreateTime"),
        ("min.insync.replicas", "1"),
    ];
    for (name, value) in defaults {
        assert_eq!(entry(name).value.as_deref(), Some(value), "{name}");
        assert_ne!(entry(name).source, ConfigSource::DynamicTopic, "{name} was not set");
    }
}

#[test]
fn altered_topic_configs_hold_at_once() {
    let broker = Broker::start();
    let topic = unique("altered");
    create_topic(broker.bootstrap(), &topic, 1);
    let admin = admin(broker.bootstrap());
    // The crate drops the answer's error for each resource, so what counts is what is described afterwards.
    let alter = |name, value| {
        let change = AlterConfig::new(ResourceSpecifier::Topic(&topic)).set(name, value);
        block_on(admin.alter_configs([&change], &admin_options())).expect("an answer to AlterConfigs");
    };
    alter("max.message.bytes", "1000");
    wait_for("the new value is described", || {
        (config_value(broker.bootstrap(), &topic, "max.message.bytes").0 == "1000").then_some(())
    });
    let producer = Producer::new(broker.bootstrap(), &topic, &[]);
    producer.send(producer.record(0, &[b'x'; 2_000]).partition(0));
    producer.flush();
    let errors = producer.errors();
    assert!(matches!(errors[..], [KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge)]), "{errors:?}");
    alter("max.message.bytes", "-5");
    alter("no.such.config", "1");
    let held = config_value(broker.bootstrap(), &topic, "max.message.bytes").0;
    assert_eq!(held, "1000", "a refused change changes nothing");
}

#[test]
fn the_broker_describes_itself() {
    let broker = Broker::start();
    let client: rdkafka::consumer::BaseConsumer = config(broker.bootstrap()).create().expect("a client");
    let metadata = client.fetch_metadata(None, Duration::from_secs(20)).expect("metadata");
    let [this] = metadata.brokers() else { panic!("one broker, not {}", metadata.brokers().len()) };
    let advertised = format!("{}:{}", this.host(), this.port());
    assert_eq!(advertised, broker.bootstrap(), "without --advertised the broker tells the address that it listens on");
    let entries = configs(broker.bootstrap(), ResourceSpecifier::Broker(this.id()));
    let value = |name: &str| entries.iter().find(|entry| entry.name == name).and_then(|entry| entry.value.clone());
    assert_eq!(value("num.partitions").as_deref(), Some("1"));
    assert_eq!(value("message.max.bytes").as_deref(), Some("1048588"));
    assert_eq!(value("auto.create.topics.enable").as_deref(), Some("true"));
}
