//! Compaction: of each key the last record stays, at its offset, whatever ends the broker meanwhile.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use rdkafka::Offset;
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::topic_partition_list::TopicPartitionList;

use crate::client::{Producer, Seen, consumer, next_records, produce, read_all, try_create_topic, watermarks};
use crate::harness::{Broker, now_ms, unique, wait_for};

/// Bytes of a value: about ten of them fill a segment of the least length.
const VALUE_BYTES: usize = 100_000;

/// A broker that looks often for what is to be compacted.
fn start() -> Option<Broker> {
    Broker::start_configured("log.cleaner.backoff.ms = 50\nlog.retention.check.interval.ms = 50\n")
}

fn create(broker: &Broker, configs: &[(&str, &str)]) -> String {
    let topic = unique("compaction");
    let usual = [("cleanup.policy", "compact"), ("segment.bytes", "1048576"), ("min.cleanable.dirty.ratio", "0.01")];
    let all: Vec<_> = usual.iter().filter(|(key, _)| configs.iter().all(|(own, _)| own != key)).copied().collect();
    try_create_topic(broker.bootstrap(), &topic, 1, &[&all, configs].concat()).expect("the topic is created");
    topic
}

/// A value that tells its number and hardly compresses: seven random bits a byte.
fn value(number: usize) -> Vec<u8> {
    let mut value = format!("{number:08}").into_bytes();
    let mut state = number as u64 * 2 + 1;
    value.resize_with(VALUE_BYTES, || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 20) as u8 & 0x7f
    });
    value
}

/// What the keys came to: their last value's number and its offset; no number for a tombstone.
type Last = BTreeMap<String, (Option<usize>, i64)>;

/// Sends records one a batch, and notes what is acknowledged.
fn send(broker: &Broker, topic: &str, codec: &str, records: &[(String, Option<usize>)], last: &mut Last) {
    let settings = [("enable.idempotence", "true"), ("compression.type", codec), ("linger.ms", "0")];
    let producer = Producer::new(broker.bootstrap(), topic, &settings);
    let values: Vec<Option<Vec<u8>>> = records.iter().map(|(_, number)| number.map(value)).collect();
    for (id, ((key, _), value)) in records.iter().zip(&values).enumerate() {
        let record = match value {
            Some(value) => producer.record(id, value),
            None => rdkafka::producer::BaseRecord::with_opaque_to(topic, id),
        };
        producer.send(record.key(key.as_bytes()).partition(0));
    }
    let mut acks = producer.finish();
    acks.sort_by_key(|ack| ack.offset);
    for ack in acks {
        let (key, number) = &records[ack.id];
        last.insert(key.clone(), (*number, ack.offset));
    }
}

/// `count` updates of a few keys, from this number on.
fn updates(from: usize, count: usize, keys: usize) -> Vec<(String, Option<usize>)> {
    (from..from + count).map(|number| (format!("key {}", number % keys), Some(number))).collect()
}

fn number(seen: &Seen) -> Option<usize> {
    seen.value.as_ref().map(|value| std::str::from_utf8(&value[..8]).expect("digits").parse().expect("a number"))
}

/// Reads from the beginning to the end, and holds the last of each key against what was sent.
fn check(broker: &Broker, topic: &str, last: &Last) -> Vec<Seen> {
    let seen = read_all(broker.bootstrap(), topic, 1).remove(0);
    assert!(seen.windows(2).all(|pair| pair[0].offset < pair[1].offset), "in order, and each once");
    let mut found = Last::new();
    for record in &seen {
        let key = String::from_utf8(record.key.clone().expect("a key")).expect("the tests send UTF-8");
        if let Some(number) = number(record) {
            assert!(record.value.as_deref() == Some(&value(number)[..]), "the value of offset {}", record.offset);
        }
        found.insert(key, (number(record), record.offset));
    }
    for (key, expected) in last {
        match found.get(key) {
            Some(found) => assert_eq!(found, expected, "{key}"),
            None => assert_eq!(expected.0, None, "{key} is gone"),
        }
    }
    seen
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).map(|entries| entries.flatten().map(|entry| entry.path()).collect());
    entries.unwrap_or_else(|_| Vec::new())
}

/// The directory of a topic's partition.
fn directory(broker: &Broker, topic: &str, partition: i32) -> Option<PathBuf> {
    let topics = files(&broker.data_dir().join("topics"));
    let own = topics.iter().find(|path| path.to_string_lossy().contains(topic))?;
    Some(own.join(partition.to_string()))
}

/// Bytes of the partition's `.log` files.
fn log_bytes(broker: &Broker, topic: &str) -> u64 {
    let all = directory(broker, topic, 0).map(|path| files(&path)).unwrap_or_default();
    let logs = all.iter().filter(|path| path.extension().is_some_and(|extension| extension == "log"));
    // One that is gone meanwhile has no length.
    logs.filter_map(|path| path.metadata().ok()).map(|metadata| metadata.len()).sum()
}

#[test]
fn the_last_record_of_each_key_stays_at_its_offset() {
    let Some(mut broker) = start() else { return };
    for codec in ["none", "lz4", "zstd"] {
        let topic = create(&broker, &[]);
        let mut last = Last::new();
        send(&broker, &topic, codec, &[("rare".into(), Some(1_000_000))], &mut last);
        send(&broker, &topic, codec, &updates(0, 120, 7), &mut last);
        assert_eq!(watermarks(broker.bootstrap(), &topic, 0), (0, 121));
        // The keys' last records, and the segment that is appended to.
        wait_for("what is out of date to go", || (check(&broker, &topic, &last).len() < 40).then_some(()));
        assert_eq!(watermarks(broker.bootstrap(), &topic, 0), (0, 121), "offsets are not given anew");
        send(&broker, &topic, codec, &updates(120, 60, 5), &mut last);
        for restart in [Broker::kill9 as fn(&mut Broker), Broker::stop] {
            wait_for("what is out of date to go again", || (check(&broker, &topic, &last).len() < 40).then_some(()));
            restart(&mut broker);
            broker.restart();
            check(&broker, &topic, &last);
            send(&broker, &topic, codec, &updates(180, 20, 9), &mut last);
        }
        // A reader that begins in a gap gets what comes next.
        let seen = check(&broker, &topic, &last);
        let gap = seen.windows(2).find(|pair| pair[0].offset + 1 < pair[1].offset).expect("a gap");
        let reader = consumer(broker.bootstrap(), &[]);
        crate::client::assign(&reader, &topic, 0, Offset::Offset(gap[0].offset + 1));
        assert_eq!(next_records(&reader, 1)[0].1, gap[1]);
    }
    let told = broker.log().iter().any(|line| line.contains("is compacted up to offset"));
    assert!(told, "each cleaning is told");
}

#[test]
fn deleted_keys_go_with_their_tombstones_when_the_time_is_over() {
    let Some(broker) = start() else { return };
    let topic = create(&broker, &[("delete.retention.ms", "1000"), ("max.compaction.lag.ms", "300")]);
    let mut last = Last::new();
    send(&broker, &topic, "none", &updates(0, 6, 3), &mut last);
    send(&broker, &topic, "none", &[("key 1".into(), None), ("key 2".into(), None)], &mut last);
    let begun = now_ms();
    // The segment is small and young: only max.compaction.lag.ms ends it.
    wait_for("the older values to go", || (check(&broker, &topic, &last).len() == 3).then_some(()));
    // Each cleaning needs something new.
    let mut number = 6;
    wait_for("the tombstones to go", || {
        number += 1;
        send(&broker, &topic, "none", &[("key 0".into(), Some(number))], &mut last);
        let seen = check(&broker, &topic, &last);
        seen.iter().all(|record| record.value.is_some()).then_some(())
    });
    assert!(now_ms() - begun >= 1000, "tombstones stay for delete.retention.ms");
    let keys: BTreeSet<_> = check(&broker, &topic, &last).into_iter().map(|record| record.key).collect();
    assert_eq!(keys.len(), 1);
    // What ends in a gap is read to its end, and appended to.
    send(&broker, &topic, "none", &[("key 0".into(), None)], &mut last);
    let end = watermarks(broker.bootstrap(), &topic, 0).1;
    assert_eq!(last["key 0"].1, end - 1);
}

#[test]
fn a_kill_at_any_time_of_compaction_loses_no_last_record() {
    let Some(mut broker) = start() else { return };
    let topic = create(&broker, &[]);
    let mut last = Last::new();
    let mut sent = 0;
    for round in 0..6 {
        send(&broker, &topic, if round % 2 == 0 { "lz4" } else { "none" }, &updates(sent, 60, 11), &mut last);
        sent += 60;
        std::thread::sleep(std::time::Duration::from_millis(20 * round + 3));
        broker.kill9();
        broker.restart();
        check(&broker, &topic, &last);
    }
    wait_for("what is out of date to go", || (check(&broker, &topic, &last).len() < 60).then_some(()));
    let names = files(&directory(&broker, &topic, 0).expect("the partition's directory"));
    let strange = |path: &&PathBuf| path.extension().is_some_and(|extension| extension == "swap");
    assert_eq!(names.iter().find(strange), None);
}

#[test]
fn young_records_are_left_alone_and_the_ratio_is_kept() {
    let Some(broker) = start() else { return };
    let young = create(&broker, &[("min.compaction.lag.ms", "3600000")]);
    let clean = create(&broker, &[("min.cleanable.dirty.ratio", "1.0")]);
    let compacted = create(&broker, &[]);
    for topic in [&young, &clean, &compacted] {
        send(&broker, topic, "none", &updates(0, 60, 4), &mut Last::new());
    }
    wait_for("the other topic to be compacted", || (log_bytes(&broker, &compacted) < 3_000_000).then_some(()));
    for topic in [&young, &clean] {
        assert_eq!(read_all(broker.bootstrap(), topic, 1)[0].len(), 60);
    }
}

#[test]
fn with_both_policies_what_is_old_goes_too() {
    let Some(broker) = start() else { return };
    let topic = create(&broker, &[("cleanup.policy", "compact,delete"), ("retention.bytes", "3000000")]);
    let mut last = Last::new();
    // No key comes twice: only size can delete.
    send(&broker, &topic, "none", &updates(0, 90, 1000), &mut last);
    let start = wait_for("the oldest to go", || {
        let (start, end) = watermarks(broker.bootstrap(), &topic, 0);
        assert_eq!(end, 90);
        (start >= 40).then_some(start)
    });
    let seen = read_all(broker.bootstrap(), &topic, 1).remove(0);
    assert!(seen.iter().all(|record| record.offset >= start));
    assert_eq!(seen.last().map(|record| record.offset), Some(89));
}

#[test]
fn records_without_a_key_go_when_a_topic_becomes_a_compacted_one() {
    let Some(broker) = start() else { return };
    let topic = create(&broker, &[("cleanup.policy", "delete"), ("max.compaction.lag.ms", "100")]);
    let none: Vec<String> = (0..20).map(|number| String::from_utf8(value(number)).expect("ASCII")).collect();
    produce(broker.bootstrap(), &topic, 0, &none);
    let change = rdkafka::admin::AlterConfig::new(rdkafka::admin::ResourceSpecifier::Topic(&topic))
        .set("cleanup.policy", "compact")
        .set("segment.bytes", "1048576")
        .set("min.cleanable.dirty.ratio", "0.01")
        .set("max.compaction.lag.ms", "100");
    let admin = crate::client::admin(broker.bootstrap());
    let altered = crate::client::block_on(admin.alter_configs([&change], &crate::client::admin_options()));
    altered.expect("an answer to AlterConfigs").remove(0).expect("the configuration is changed");
    // Nothing is left but the end.
    wait_for("the records to go", || read_all(broker.bootstrap(), &topic, 1)[0].is_empty().then_some(()));
    assert_eq!(watermarks(broker.bootstrap(), &topic, 0), (0, 20));
    let mut last = Last::new();
    send(&broker, &topic, "none", &updates(0, 3, 3), &mut last);
    assert_eq!(check(&broker, &topic, &last).len(), 3);
}

#[test]
fn committed_offsets_are_compacted_and_stay() {
    let config = "log.cleaner.backoff.ms = 50\nlog.cleaner.min.cleanable.ratio = 0.01\n\
                  log.cleaner.max.compaction.lag.ms = 200\noffsets.topic.num.partitions = 1\n";
    let Some(mut broker) = Broker::start_configured(config) else { return };
    let topic = unique("committed");
    try_create_topic(broker.bootstrap(), &topic, 1, &[]).expect("the topic is created");
    produce(broker.bootstrap(), &topic, 0, &(0..300).map(|number| number.to_string()).collect::<Vec<_>>());
    let group = unique("group");
    let commit = |broker: &Broker, offset: i64| {
        let reader = consumer(broker.bootstrap(), &[("group.id", &group)]);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&topic, 0, Offset::Offset(offset)).expect("a valid offset");
        wait_for("the commit", || reader.commit(&list, CommitMode::Sync).ok());
    };
    let committed = |broker: &Broker| {
        let reader = consumer(broker.bootstrap(), &[("group.id", &group)]);
        let mut list = TopicPartitionList::new();
        list.add_partition(&topic, 0);
        let timeout = std::time::Duration::from_secs(5);
        let list = wait_for("the committed offset", || reader.committed_offsets(list.clone(), timeout).ok());
        list.elements()[0].offset()
    };
    for offset in 1..=100 {
        commit(&broker, offset);
    }
    let records = |broker: &Broker| read_all(broker.bootstrap(), "__consumer_offsets", 1)[0].len();
    wait_for("the older commits to go", || (records(&broker) < 20).then_some(()));
    assert_eq!(committed(&broker), Offset::Offset(100));
    broker.kill9();
    broker.restart();
    assert_eq!(committed(&broker), Offset::Offset(100));
    commit(&broker, 101);
    broker.stop();
    broker.restart();
    assert_eq!(committed(&broker), Offset::Offset(101));
}
