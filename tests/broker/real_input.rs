//! A real text goes in line by line, and comes out byte for byte.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};

use rdkafka::Offset;

use crate::client::{Producer, Seen, assign, consumer, create_topic, next_records, read_all};
use crate::corpus;
use crate::harness::{Broker, unique, wait_for};

#[test]
fn uncompressed_text_comes_out_as_it_went_in() {
    round_trip("none");
}

#[test]
fn gzip_text_comes_out_as_it_went_in() {
    round_trip("gzip");
}

#[test]
fn snappy_text_comes_out_as_it_went_in() {
    round_trip("snappy");
}

#[test]
fn lz4_text_comes_out_as_it_went_in() {
    round_trip("lz4");
}

#[test]
fn zstd_text_comes_out_as_it_went_in() {
    round_trip("zstd");
}

/// One partition keeps the order of all lines.
fn round_trip(codec: &str) {
    let broker = Broker::start();
    let topic = unique(codec);
    create_topic(broker.bootstrap(), &topic, 1);
    let settings = [("compression.type", codec), ("enable.idempotence", "true"), ("linger.ms", "20")];
    let producer = Producer::new(broker.bootstrap(), &topic, &settings);
    for (id, line) in corpus::lines().enumerate() {
        producer.send(producer.record(id, line).partition(0));
    }
    let acks = producer.finish();
    assert!(acks.iter().all(|ack| ack.offset == ack.id as i64), "a line is not at the offset of its number");
    let seen = read_all(broker.bootstrap(), &topic, 1).remove(0);
    assert_is_the_text(&seen);
}

fn assert_is_the_text(seen: &[Seen]) {
    let mut expected = corpus::lines();
    for (number, record) in seen.iter().enumerate() {
        assert_eq!(record.offset, number as i64, "offsets run without a gap");
        assert_eq!(record.value.as_deref(), expected.next(), "line {number}");
        assert_eq!(record.key, None, "line {number} was sent without a key");
    }
    assert_eq!(expected.next(), None, "lines are missing after {}", seen.len());
}

#[test]
fn lines_with_one_key_stay_in_order_in_one_partition() {
    let broker = Broker::start();
    let topic = unique("keys");
    create_topic(broker.bootstrap(), &topic, 4);
    let producer =
        Producer::new(broker.bootstrap(), &topic, &[("compression.type", "lz4"), ("enable.idempotence", "true")]);
    let lines: Vec<&[u8]> = corpus::lines().collect();
    for (id, line) in lines.iter().enumerate() {
        producer.send(producer.record(id, line).key(key_of(line)));
    }
    let acks = producer.finish();
    let partitions = read_all(broker.bootstrap(), &topic, 4);

    assert_eq!(partitions.iter().map(Vec::len).sum::<usize>(), lines.len(), "each line once");
    for ack in acks {
        let seen = &partitions[ack.partition as usize][ack.offset as usize];
        assert_eq!((seen.offset, seen.value.as_deref()), (ack.offset, Some(lines[ack.id])), "line {}", ack.id);
    }
    let mut sent: HashMap<&[u8], Vec<&[u8]>> = HashMap::new();
    for line in &lines {
        sent.entry(key_of(line)).or_default().push(line);
    }
    for (number, partition) in partitions.iter().enumerate() {
        assert!(!partition.is_empty(), "thousands of keys reach each of four partitions, so also {number}");
        let mut came: HashMap<&[u8], Vec<&[u8]>> = HashMap::new();
        for record in partition {
            let key = record.key.as_deref().expect("each line has a key");
            came.entry(key).or_default().push(record.value.as_deref().expect("each line has a value"));
        }
        for (key, values) in came {
            assert!(
                sent.remove(key).as_ref() == Some(&values),
                "key {:?} in partition {number}",
                String::from_utf8_lossy(key)
            );
        }
    }
    assert!(sent.is_empty(), "{} keys did not come back", sent.len());
}

/// The line's first word, which real text repeats often. Never empty: librdkafka spreads records with an empty key at random.
fn key_of(line: &[u8]) -> &[u8] {
    let line = line.trim_ascii_start();
    let word = line.split(|byte| *byte == b' ').next().expect("split gives at least one part");
    if word.is_empty() { b"a blank line" } else { word }
}

#[test]
fn a_follower_reads_the_text_while_it_is_written() {
    let broker = Broker::start();
    let topic = unique("follow");
    create_topic(broker.bootstrap(), &topic, 1);
    let total = corpus::lines().count();
    let followed = AtomicUsize::new(0);
    let seen = std::thread::scope(|scope| {
        let follower = scope.spawn(|| {
            let consumer = consumer(broker.bootstrap(), &[("fetch.wait.max.ms", "50")]);
            assign(&consumer, &topic, 0, Offset::Beginning);
            let mut seen = Vec::with_capacity(total);
            while seen.len() < total {
                seen.extend(
                    next_records(&consumer, (total - seen.len()).min(1_000)).into_iter().map(|(_, record)| record),
                );
                followed.store(seen.len(), Ordering::Relaxed);
            }
            seen
        });
        let producer = Producer::new(broker.bootstrap(), &topic, &[("enable.idempotence", "true")]);
        for (id, line) in corpus::lines().enumerate() {
            producer.send(producer.record(id, line).partition(0));
            if id % (total / 8) == total / 16 {
                // Neither may run away from the other, or the follower would read a finished log.
                wait_for("the follower catches up in mid-load", || {
                    (followed.load(Ordering::Relaxed) + 2_000 >= id || follower.is_finished()).then_some(())
                });
            }
        }
        producer.finish();
        follower.join().expect("the follower reads on")
    });
    assert_is_the_text(&seen);
}

#[test]
fn empty_and_absent_keys_and_values_are_told_apart() {
    let broker = Broker::start();
    let topic = unique("empty");
    create_topic(broker.bootstrap(), &topic, 1);
    let producer = Producer::new(broker.bootstrap(), &topic, &[]);
    producer.send(producer.record(0, b"").partition(0));
    producer.send(producer.record(1, b"value").key(b"").partition(0));
    let mut tombstone = producer.record(2, b"").key(b"key").partition(0);
    tombstone.payload = None;
    producer.send(tombstone);
    producer.finish();
    let seen = read_all(broker.bootstrap(), &topic, 1).remove(0);
    let bytes = |text: &str| Some(text.as_bytes().to_vec());
    let expected = [(None, bytes("")), (bytes(""), bytes("value")), (bytes("key"), None)];
    assert_eq!(seen.into_iter().map(|record| (record.key, record.value)).collect::<Vec<_>>(), expected);
}

#[test]
fn headers_timestamps_and_a_record_near_the_size_limit_come_back() {
    use rdkafka::Timestamp;
    use rdkafka::message::{Header, Headers, Message, OwnedHeaders};

    use crate::client::poll_once;
    use crate::harness::now_ms;

    let broker = Broker::start();
    let topic = unique("large");
    create_topic(broker.bootstrap(), &topic, 1);
    let sent_at = now_ms() - 60_000;
    let large = &corpus::text()[..900_000];
    let producer = Producer::new(broker.bootstrap(), &topic, &[]);
    let headers = OwnedHeaders::new()
        .insert(Header { key: "trace", value: Some("a") })
        .insert(Header { key: "trace", value: Some("b") })
        .insert(Header { key: "none", value: None::<&str> });
    producer.send(producer.record(0, large).partition(0).timestamp(sent_at).headers(headers));
    producer.finish();

    let consumer = consumer(broker.bootstrap(), &[]);
    assign(&consumer, &topic, 0, Offset::Beginning);
    let message = wait_for("the large record", || poll_once(&consumer).map(|polled| polled.expect("a record")));
    assert!(message.payload() == Some(large), "the large record's bytes");
    assert_eq!(message.timestamp(), Timestamp::CreateTime(sent_at));
    let headers = message.headers().expect("headers");
    let headers: Vec<_> = headers.iter().map(|header| (header.key, header.value)).collect();
    assert_eq!(headers, [("trace", Some(&b"a"[..])), ("trace", Some(&b"b"[..])), ("none", None)]);
}
