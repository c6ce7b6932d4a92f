//! `corelog-load rpc-vs-stream` against the broker: each half has to count what the topic holds.

use std::collections::HashSet;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::Value;

use crate::harness::{Broker, Ended, Run, load};

fn records(run: &Ended, track: &str) -> i64 {
    run.track(track)["records_with_warm_up"].as_i64().expect("a count")
}

fn track_names(run: &Ended) -> Vec<&str> {
    let tracks = run.report["tracks"].as_array().expect("tracks");
    tracks.iter().map(|track| track["name"].as_str().expect("a name")).collect()
}

#[test]
fn each_half_sends_the_orders_that_were_asked_for() {
    let broker = Broker::start();
    let run = load(&format!(
        "rpc-vs-stream --bootstrap {} --topic orders --partitions 3 --callers 2 --producers 2 --records 301 \
         --records-per-batch 20 --order-bytes 120 --compression lz4 --idempotent",
        broker.bootstrap()
    ));
    run.expect_success();
    assert_eq!(track_names(&run), ["rpc", "stream"]);
    assert_eq!((records(&run, "rpc"), records(&run, "stream"), broker.records("orders", 3)), (301, 301, 602));
    let (rpc, stream) = (run.track("rpc"), run.track("stream"));
    assert_eq!((&rpc["value_bytes"], &stream["value_bytes"]), (&(301 * 120).into(), &(301 * 120).into()));
    assert_eq!(rpc["latency"]["count"], 301);
    // 151 orders of one producer and 150 of the other, 20 a batch.
    assert_eq!(stream["latency"]["count"], 16);
    // An answer that did not wait for the disk would come faster.
    assert!(rpc["latency"]["p50_ms"].as_f64() > Some(0.01), "{rpc}");
    let usages = run.report["track_usages"].as_array().expect("usages");
    let used = |name: &str| usages.iter().any(|one| one["track"] == name && one["client"]["pid"].is_u64());
    assert!(used("rpc") && used("stream"), "{usages:?}");
    for line in ["textbook rpc", "textbook stream", "measured rpc", "measured stream", "rpc: broker: CPU"] {
        assert!(run.stdout.contains(line), "{line} in\n{}", run.stdout);
    }
    assert!(run.stdout.contains("times as many orders a second as the RPC"), "{}", run.stdout);
}

#[test]
fn both_halves_send_the_same_orders() {
    const ORDERS: usize = 40;
    let broker = Broker::start();
    let run = load(&format!(
        "rpc-vs-stream --bootstrap {} --topic same --records {ORDERS} --records-per-batch {ORDERS} --payload orders:9",
        broker.bootstrap()
    ));
    run.expect_success();
    let orders = values(broker.bootstrap(), "same", 2 * ORDERS);
    let ids: HashSet<u64> = orders.iter().map(|order| order["order"].as_u64().expect("an id")).collect();
    assert_eq!(ids.len(), ORDERS);
    assert_eq!(orders[..ORDERS], orders[ORDERS..]);
}

/// The values of partition 0, as JSON.
fn values(bootstrap: &str, topic: &str, count: usize) -> Vec<Value> {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("group.id", "reader").set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().expect("a consumer");
    let mut partitions = TopicPartitionList::new();
    partitions.add_partition_offset(topic, 0, Offset::Beginning).expect("a partition");
    consumer.assign(&partitions).expect("assigned");
    let one = |_| {
        let record = consumer.poll(Duration::from_secs(60)).expect("a record in time").expect("no error");
        serde_json::from_slice(record.payload().expect("a value")).expect("JSON")
    };
    (0..count).map(one).collect()
}

#[test]
fn the_halves_follow_each_other_in_time() {
    let broker = Broker::start();
    let run = load(&format!(
        "rpc-vs-stream --bootstrap {} --topic timed --duration 300ms --warm-up 100ms --pipelined",
        broker.bootstrap()
    ));
    run.expect_success();
    assert_eq!(track_names(&run), ["rpc", "pipelined", "stream"]);
    let all = ["rpc", "pipelined", "stream"].map(|name| records(&run, name));
    assert_eq!(all.iter().sum::<i64>(), broker.records("timed", 1));
    assert!(all.iter().all(|&count| count > 0), "{all:?}");
    let series = run.report["series"].as_array().expect("a series");
    let times: Vec<f64> = series.iter().map(|second| second["ends_at_s"].as_f64().expect("a time")).collect();
    assert!(times.is_sorted() && times.last() >= Some(&1.2), "{times:?}");
    // Each second has the track that ran in it.
    let names: HashSet<&str> =
        series.iter().map(|second| second["tracks"][0]["name"].as_str().expect("a name")).collect();
    assert_eq!(names, HashSet::from(["rpc", "pipelined", "stream"]));
    let by_second: i64 = series.iter().map(|second| second["tracks"][0]["records"].as_i64().expect("a count")).sum();
    assert_eq!(by_second, all.iter().sum::<i64>());
}

#[test]
fn a_broker_that_dies_under_the_calls_leaves_their_figures() {
    let mut broker = Broker::start();
    let run = Run::start(&format!(
        "rpc-vs-stream --bootstrap {} --topic dying --duration 60s --warm-up 0 --callers 2",
        broker.bootstrap()
    ));
    run.wait_for_a_line();
    broker.kill9();
    let run = run.wait();
    run.expect_failure("127.0.0.1");
    assert_eq!(track_names(&run), ["rpc"]);
    assert!(records(&run, "rpc") > 0, "{}", run.stdout);
    assert!(run.stdout.contains("measured rpc") && !run.stdout.contains("times as many"), "{}", run.stdout);
}

#[test]
fn a_broker_that_dies_under_the_stream_leaves_the_figures_of_both() {
    let mut broker = Broker::start();
    let run = Run::start(&format!(
        "rpc-vs-stream --bootstrap {} --topic dying --duration 4s --warm-up 0 --records-per-batch 10",
        broker.bootstrap()
    ));
    run.wait_for_a_line_of("stream");
    broker.kill9();
    let run = run.wait();
    run.expect_failure("127.0.0.1");
    assert_eq!(track_names(&run), ["rpc", "stream"]);
    assert!(records(&run, "rpc") > 0 && records(&run, "stream") > 0, "{}", run.stdout);
    assert_eq!(run.report["ended"], "failed");
}

#[test]
fn ctrl_c_ends_the_half_that_runs() {
    let broker = Broker::start();
    for (topic, length, track) in [("cut-rpc", "60s", "rpc"), ("cut-stream", "2s", "stream")] {
        let run = Run::start(&format!(
            "rpc-vs-stream --bootstrap {} --topic {topic} --duration {length} --warm-up 0 --records-per-batch 10",
            broker.bootstrap()
        ));
        run.wait_for_a_line_of(track);
        run.interrupt();
        let run = run.wait();
        assert_eq!(run.code, Some(130), "{}", run.stderr);
        assert_eq!(run.report["ended"], "interrupted");
        assert_eq!(track_names(&run).last(), Some(&track));
        let all: i64 = track_names(&run).iter().map(|name| records(&run, name)).sum();
        assert_eq!(all, broker.records(topic, 1));
        assert!(run.stdout.contains("interrupted: these are the figures so far"), "{}", run.stdout);
        assert!(run.stdout.contains(&format!("measured {track}")), "{}", run.stdout);
    }
}

#[test]
fn what_is_no_comparison_is_refused() {
    for (more, why) in [
        ("--acks 0", "without, a call has no answer"),
        ("--keys zipf:5", "its orders have none"),
        ("--order-bytes 96", "an order takes 97"),
        ("--order-bytes 20000000 --records-per-batch 1", "a call carries at most"),
    ] {
        load(&format!("rpc-vs-stream {more}")).expect_error_line(why);
    }
}

#[test]
fn an_order_that_the_broker_refuses_is_a_failure_that_says_why() {
    let broker = Broker::start();
    let run = load(&format!(
        "rpc-vs-stream --bootstrap {} --topic large --records 1 --records-per-batch 1 --order-bytes 2000000",
        broker.bootstrap()
    ));
    run.expect_failure("partition 0 of topic 'large': MESSAGE_TOO_LARGE");
    assert_eq!(broker.records("large", 1), 0);
}
