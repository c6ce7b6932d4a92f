//! Where a consumer may start: watermarks, offsets by time, seeks, and what happens out of range.

use std::time::Duration;

use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};

use crate::client::{
    Producer, admin, admin_options, assign, block_on, consumer, create_topic, next_records, numbered, poll_once,
    produce, read_all, watermarks,
};
use crate::harness::{Broker, now_ms, unique, wait_for};

/// A topic of one partition with `count` records "record 0" and so on.
fn filled(broker: &Broker, count: usize) -> String {
    let topic = unique("offsets");
    create_topic(broker.bootstrap(), &topic, 1);
    produce(broker.bootstrap(), &topic, 0, &numbered("record", count));
    topic
}

/// Where an assignment at `offset` really starts to read, with this policy for an offset that is not there.
fn first_read(broker: &Broker, topic: &str, offset: Offset, policy: &str) -> i64 {
    let consumer = consumer(broker.bootstrap(), &[("auto.offset.reset", policy)]);
    assign(&consumer, topic, 0, offset);
    next_records(&consumer, 1)[0].1.offset
}

#[test]
fn watermarks_tell_the_first_offset_and_the_one_after_the_last() {
    let broker = Broker::start();
    let topic = unique("watermarks");
    create_topic(broker.bootstrap(), &topic, 2);
    assert_eq!(watermarks(broker.bootstrap(), &topic, 0), (0, 0));
    for round in 1..=3 {
        produce(broker.bootstrap(), &topic, 0, &numbered("record", 10));
        assert_eq!(watermarks(broker.bootstrap(), &topic, 0), (0, 10 * round));
    }
    assert_eq!(watermarks(broker.bootstrap(), &topic, 1), (0, 0), "the other partition is empty");
}

#[test]
fn the_watermarks_of_what_is_not_there_are_an_error() {
    let broker = Broker::start();
    let topic = filled(&broker, 1);
    let consumer = consumer(broker.bootstrap(), &[("allow.auto.create.topics", "false")]);
    for (name, partition) in [(topic.as_str(), 7), (unique("absent").as_str(), 0)] {
        let error =
            consumer.fetch_watermarks(name, partition, Duration::from_secs(2)).expect_err("there is no such partition");
        let code = error.rdkafka_error_code().expect("an error code");
        let expected = [
            RDKafkaErrorCode::UnknownPartition,
            RDKafkaErrorCode::UnknownTopicOrPartition,
            RDKafkaErrorCode::OperationTimedOut,
        ];
        assert!(expected.contains(&code), "{name} {partition}: {error}");
    }
}

#[test]
fn offsets_are_found_by_time() {
    const RECORDS: usize = 50;
    let broker = Broker::start();
    let topic = unique("times");
    create_topic(broker.bootstrap(), &topic, 1);
    // An hour ago: old enough to differ from the time of arrival, and young enough for any retention.
    let start = now_ms() - 3_600_000;
    // A batch a record, then batches of many: the answer is a record, not a batch.
    for (first, linger_ms) in [(0, "0"), (RECORDS / 2, "200")] {
        let producer = Producer::new(broker.bootstrap(), &topic, &[("linger.ms", linger_ms)]);
        for id in first..first + RECORDS / 2 {
            producer.send(producer.record(id, b"timed").partition(0).timestamp(start + 1_000 * id as i64));
            if first == 0 {
                producer.flush();
            }
        }
        producer.finish();
    }
    let consumer = consumer(broker.bootstrap(), &[]);
    let lookup = |time: i64| {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&topic, 0, Offset::Offset(time)).expect("a valid time");
        let found = consumer.offsets_for_times(list, Duration::from_secs(20)).expect("an answer to ListOffsets");
        found.find_partition(&topic, 0).expect("the partition that was asked for").offset()
    };
    for id in 0..RECORDS as i64 {
        assert_eq!(lookup(start + 1_000 * id), Offset::Offset(id), "the time of record {id}");
        assert_eq!(lookup(start + 1_000 * id - 999), Offset::Offset(id), "just after the record before {id}");
    }
    assert_eq!(lookup(1), Offset::Offset(0), "before all records");
    assert_eq!(lookup(start + 1_000 * RECORDS as i64), Offset::End, "after all records");
}

#[test]
fn a_consumer_starts_where_it_is_told() {
    let broker = Broker::start();
    let topic = filled(&broker, 100);
    for (offset, first) in
        [(Offset::Beginning, 0), (Offset::Offset(0), 0), (Offset::Offset(57), 57), (Offset::OffsetTail(10), 90)]
    {
        assert_eq!(first_read(&broker, &topic, offset, "error"), first, "{offset:?}");
    }
    let at_end = consumer(broker.bootstrap(), &[("enable.partition.eof", "true")]);
    assign(&at_end, &topic, 0, Offset::End);
    let end = wait_for("the partition's end", || poll_once(&at_end));
    assert!(matches!(end, Err(KafkaError::PartitionEOF(0))), "{end:?}");
    produce(broker.bootstrap(), &topic, 0, &numbered("late", 1));
    let next = wait_for("the late record", || poll_once(&at_end)).map(|message| rdkafka::Message::offset(&message));
    assert_eq!(next.expect("a record"), 100);
}

#[test]
fn a_consumer_seeks_forward_and_back() {
    let broker = Broker::start();
    let topic = filled(&broker, 1_000);
    let consumer = consumer(broker.bootstrap(), &[]);
    assign(&consumer, &topic, 0, Offset::Beginning);
    assert_eq!(next_records(&consumer, 1)[0].1.offset, 0);
    for target in [900, 0, 999, 500, 501, 1] {
        consumer.seek(&topic, 0, Offset::Offset(target), Duration::from_secs(20)).expect("a seek");
        let (_, record) = next_records(&consumer, 1).remove(0);
        assert_eq!((record.offset, record.text()), (target, format!("record {target}")));
    }
}

#[test]
fn an_offset_out_of_range_follows_the_clients_policy() {
    let broker = Broker::start();
    let topic = filled(&broker, 20);
    assert_eq!(first_read(&broker, &topic, Offset::Offset(1_000_000), "earliest"), 0);

    let failing = consumer(broker.bootstrap(), &[("auto.offset.reset", "error")]);
    assign(&failing, &topic, 0, Offset::Offset(1_000_000));
    let error = wait_for("an error", || poll_once(&failing)).map(drop).expect_err("no such offset");
    assert_eq!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::AutoOffsetReset), "{error}");

    let latest = consumer(broker.bootstrap(), &[("auto.offset.reset", "latest"), ("enable.partition.eof", "true")]);
    assign(&latest, &topic, 0, Offset::Offset(1_000_000));
    let end = wait_for("the partition's end", || poll_once(&latest));
    assert!(matches!(end, Err(KafkaError::PartitionEOF(0))), "{end:?}");
    produce(broker.bootstrap(), &topic, 0, &numbered("late", 1));
    let next = wait_for("the late record", || poll_once(&latest)).map(|message| rdkafka::Message::offset(&message));
    assert_eq!(next.expect("a record"), 20);
}

#[test]
fn deleted_records_move_the_first_offset() {
    let broker = Broker::start();
    let topic = filled(&broker, 100);
    let admin = admin(broker.bootstrap());
    let delete_before = |offset| {
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(&topic, 0, offset).expect("a valid offset");
        block_on(admin.delete_records(&list, &admin_options())).map(|results| {
            let result = results.find_partition(&topic, 0).expect("the partition that was asked for");
            (result.offset(), result.error().map_err(|error| error.rdkafka_error_code()))
        })
    };
    assert_eq!(delete_before(Offset::Offset(40)), Ok((Offset::Offset(40), Ok(()))));
    assert_eq!(watermarks(broker.bootstrap(), &topic, 0), (40, 100));
    assert_eq!(first_read(&broker, &topic, Offset::Beginning, "error"), 40);
    assert_eq!(first_read(&broker, &topic, Offset::Offset(10), "earliest"), 40, "what was deleted is out of range");
    let (_, past_the_end) = delete_before(Offset::Offset(101)).expect("an answer to DeleteRecords");
    assert_eq!(past_the_end, Err(Some(RDKafkaErrorCode::OffsetOutOfRange)));
    assert_eq!(delete_before(Offset::End), Ok((Offset::Offset(100), Ok(()))));
    assert_eq!(watermarks(broker.bootstrap(), &topic, 0), (100, 100));
    produce(broker.bootstrap(), &topic, 0, &numbered("next", 1));
    assert_eq!(read_all(broker.bootstrap(), &topic, 1)[0][0].offset, 100);
}
