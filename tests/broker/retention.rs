//! Retention: what a topic does not keep goes, by size and by age, and does not come back after a crash.

use std::path::{Path, PathBuf};

use rdkafka::admin::{AlterConfig, ResourceSpecifier};

use crate::client::{admin, admin_options, block_on, numbered, produce, read_all, texts, try_create_topic, watermarks};
use crate::harness::{Broker, unique, wait_for};

/// Bytes of a value: three of them fill a segment of the least length.
const VALUE_BYTES: usize = 300_000;

/// A broker that looks often for what is not kept.
fn start() -> Option<Broker> {
    Broker::start_configured("log.retention.check.interval.ms = 50\n")
}

fn create(broker: &Broker, configs: &[(&str, &str)]) -> String {
    let topic = unique("retention");
    let all = [&[("segment.bytes", "1048576")], configs].concat();
    try_create_topic(broker.bootstrap(), &topic, 1, &all).expect("the topic is created");
    topic
}

fn alter(broker: &Broker, topic: &str, key: &str, value: &str) {
    let change = AlterConfig::new(ResourceSpecifier::Topic(topic)).set("segment.bytes", "1048576").set(key, value);
    let results = block_on(admin(broker.bootstrap()).alter_configs([&change], &admin_options()));
    results.expect("an answer to AlterConfigs").remove(0).expect("the configuration is changed");
}

/// Records of 300 kB that end in their number.
fn large(stem: &str, count: usize) -> Vec<String> {
    numbered(stem, count).into_iter().map(|text| ".".repeat(VALUE_BYTES - text.len()) + &text).collect()
}

/// The `.log` files of the topic's partition.
fn segments(broker: &Broker, topic: &str) -> Vec<PathBuf> {
    let files = |directory: &Path| {
        let entries = std::fs::read_dir(directory).map(|entries| entries.flatten().map(|entry| entry.path()).collect());
        entries.unwrap_or_else(|_| Vec::new())
    };
    let topics: Vec<PathBuf> = files(&broker.data_dir().join("topics"));
    let own = topics.iter().find(|path| path.to_string_lossy().contains(topic)).expect("the topic's directory");
    let mut logs = files(&own.join("0"));
    logs.retain(|path| path.extension().is_some_and(|extension| extension == "log"));
    logs
}

#[test]
fn the_oldest_segments_go_while_the_others_have_enough_bytes() {
    let Some(mut broker) = start() else { return };
    let topic = create(&broker, &[("retention.bytes", "2000000")]);
    let sent = large("size", 24);
    produce(broker.bootstrap(), &topic, 0, &sent);
    // Eight segments of three records; without the oldest of the last three, 2 MB would not be left.
    wait_for("the first five segments to go", || (watermarks(broker.bootstrap(), &topic, 0) == (15, 24)).then_some(()));
    wait_for("their files to go", || (segments(&broker, &topic).len() <= 3).then_some(()));
    for _ in 0..2 {
        assert_eq!(texts(&read_all(broker.bootstrap(), &topic, 1)[0]), sent[15..]);
        broker.kill9();
        broker.restart();
        assert_eq!(watermarks(broker.bootstrap(), &topic, 0), (15, 24), "what is deleted stays deleted");
    }
}

#[test]
fn old_records_go_to_the_last_one_and_offsets_go_on() {
    let Some(mut broker) = start() else { return };
    let topic = create(&broker, &[]);
    produce(broker.bootstrap(), &topic, 0, &large("old", 4));
    assert_eq!(watermarks(broker.bootstrap(), &topic, 0), (0, 4));
    alter(&broker, &topic, "retention.ms", "1");
    wait_for("all records to go", || (watermarks(broker.bootstrap(), &topic, 0) == (4, 4)).then_some(()));
    wait_for("all files to go", || segments(&broker, &topic).is_empty().then_some(()));
    broker.kill9();
    broker.restart();
    assert_eq!(watermarks(broker.bootstrap(), &topic, 0), (4, 4));
    alter(&broker, &topic, "retention.ms", "-1");
    let acks = produce(broker.bootstrap(), &topic, 0, &numbered("new", 3));
    assert_eq!(acks.first().map(|ack| ack.offset), Some(4));
    broker.stop();
    broker.restart();
    assert_eq!(texts(&read_all(broker.bootstrap(), &topic, 1)[0]), numbered("new", 3));
}

#[test]
fn a_compacted_topic_keeps_its_old_records() {
    let Some(broker) = start() else { return };
    let kept = create(&broker, &[("cleanup.policy", "compact"), ("retention.ms", "1"), ("retention.bytes", "1")]);
    let gone = create(&broker, &[("retention.ms", "1")]);
    let producer = crate::client::Producer::new(broker.bootstrap(), &kept, &[]);
    for id in 0..4 {
        producer.send(producer.record(id, b"value").key(b"key"));
    }
    producer.finish();
    produce(broker.bootstrap(), &gone, 0, &numbered("gone", 1));
    wait_for("the other topic's record to go", || (watermarks(broker.bootstrap(), &gone, 0) == (1, 1)).then_some(()));
    assert_eq!(watermarks(broker.bootstrap(), &kept, 0), (0, 4));
}

#[test]
fn a_segment_ends_when_its_first_batch_is_old() {
    let Some(broker) = Broker::start_own() else { return };
    let topic = create(&broker, &[("segment.ms", "1000"), ("retention.ms", "-1")]);
    let producer = crate::client::Producer::new(broker.bootstrap(), &topic, &[("linger.ms", "0")]);
    let base = 1_700_000_000_000;
    for (id, at) in [0, 900, 1000, 1001, 1500, 2500].into_iter().enumerate() {
        producer.send(producer.record(id, b"value").timestamp(base + at));
        producer.flush();
    }
    producer.finish();
    let mut broker = broker;
    broker.stop();
    let mut bases: Vec<String> = segments(&broker, &topic)
        .iter()
        .map(|path| path.file_stem().expect("a name").to_string_lossy().trim_start_matches('0').to_owned())
        .collect();
    bases.sort();
    assert_eq!(bases, ["", "3", "5"]);
}
