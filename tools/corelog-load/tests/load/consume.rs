//! `corelog-load consume` and `end-to-end` against the broker: what they count has to be what was produced.

use crate::harness::{Broker, Run, load};

#[test]
fn catching_up_reads_every_record_once() {
    let broker = Broker::start();
    let to = broker.bootstrap();
    load(&format!("consume --bootstrap {to} --topic full")).expect_error_line("topic 'full' does not exist");
    load(&format!(
        "produce --bootstrap {to} --topic full --partitions 3 --producers 3 --records 20000 --records-per-batch 7 \
         --record-bytes 300 --compression lz4"
    ))
    .expect_success();
    for (more, consumers) in [("", 1), ("--consumers 3 --partition-fetch-bytes 5000", 3), ("--fetch-bytes 20000", 1)] {
        let run = load(&format!("consume --bootstrap {to} --topic full {more}"));
        run.expect_success();
        let track = run.track("consume");
        assert_eq!(track["records"].as_i64(), Some(broker.records("full", 3)), "{more}");
        assert_eq!(track["records"], 20_000);
        assert!(track["latency"]["count"].as_u64() >= Some(consumers), "{track}");
        assert_eq!(track["value_bytes"], serde_json::Value::Null);
    }
    let run = load(&format!("consume --bootstrap {to} --topic full --consumers 4"));
    run.expect_error_line("there are only 3 partitions");
    let run = load(&format!("consume --bootstrap {to} --topic full --consumers 2 --again --records 50000"));
    run.expect_success();
    let records = run.track("consume")["records"].as_u64().expect("a count");
    assert!((50_000..90_000).contains(&records), "{records}");
}

#[test]
fn the_tail_counts_only_what_comes_later() {
    let broker = Broker::start();
    let to = broker.bootstrap();
    load(&format!("produce --bootstrap {to} --topic tail --records 500 --records-per-batch 10")).expect_success();
    let run = Run::start(&format!("consume --bootstrap {to} --topic tail --tail --records 300 --duration 60s"));
    // It has found the end when it tells of its first second.
    run.wait_for_a_line();
    load(&format!("produce --bootstrap {to} --topic tail --records 300 --records-per-batch 10")).expect_success();
    let run = run.wait();
    run.expect_success();
    assert_eq!(run.track("consume")["records"], 300);
    assert_eq!(run.track("consume")["latency"], serde_json::Value::Null);
}

#[test]
fn a_broker_that_dies_under_a_consumer_is_a_failure() {
    let mut broker = Broker::start();
    let to = broker.bootstrap();
    load(&format!("produce --bootstrap {to} --topic gone --records 10 --records-per-batch 10")).expect_success();
    let run = Run::start(&format!("consume --bootstrap {to} --topic gone --tail --duration 60s"));
    run.wait_for_a_line();
    broker.kill9();
    run.wait().expect_failure("127.0.0.1");
}

#[test]
fn each_record_has_a_delivery_latency() {
    let broker = Broker::start();
    let run = load(&format!(
        "end-to-end --bootstrap {} --topic e2e --partitions 2 --producers 2 --consumers 2 --rate 600 --records 600 \
         --records-per-batch 3 --record-bytes 64 --compression snappy --max-wait-ms 100",
        broker.bootstrap()
    ));
    run.expect_success();
    assert_eq!(broker.records("e2e", 2), 600);
    let (published, delivered) = (run.track("produce"), run.track("deliver"));
    assert_eq!((&published["records"], &delivered["records"]), (&600.into(), &600.into()));
    assert_eq!(published["latency"]["count"], 200);
    assert_eq!(delivered["latency"]["count"], 600);
    assert_eq!(delivered["value_bytes"], 600 * 64);
    assert!(run.hgrm.contains(&format!("Total count    = {:>12}]", 600)), "{}", run.hgrm);
    // Both count from the intended time, and the broker delivers what is on disk: a median below this is no latency.
    assert!(delivered["latency"]["p50_ms"].as_f64() > Some(0.01), "{delivered}");
}

#[test]
fn end_to_end_needs_room_for_the_time_and_acknowledgements() {
    let broker = Broker::start();
    let to = broker.bootstrap();
    load(&format!("end-to-end --bootstrap {to} --record-bytes 15"))
        .expect_error_line("the time takes 16 of each record");
    load(&format!("end-to-end --bootstrap {to} --acks 0")).expect_error_line("end-to-end needs acknowledgements");
}

#[test]
fn several_topics_are_filled_and_read_as_one_load() {
    let broker = Broker::start();
    let to = broker.bootstrap();
    let run = load(&format!(
        "produce --bootstrap {to} --topic many --topics 3 --partitions 2 --producers 2 --records 1200 \
         --records-per-batch 10 --connections 2 --keys uniform:100"
    ));
    run.expect_success();
    let counts = [0, 1, 2].map(|index| broker.records(&format!("many-{index}"), 2));
    assert_eq!(counts.iter().sum::<i64>(), 1200);
    assert!(counts.iter().all(|&count| count > 300), "{counts:?}");
    let run = load(&format!("consume --bootstrap {to} --topic many --topics 3"));
    run.expect_success();
    assert_eq!(run.track("consume")["records"], 1200);
}

#[test]
fn each_group_is_delivered_everything() {
    let broker = Broker::start();
    let to = broker.bootstrap();
    for more in ["", "--rate 5000 --linger 20ms"] {
        let run = load(&format!(
            "mixed --bootstrap {to} --topic fan --partitions 4 --producers 2 --consumers 2 --fan-out 3 --records 4000 \
             --records-per-batch 50 --record-bytes uniform:100:500 {more}"
        ));
        run.expect_success();
        assert_eq!(run.track("produce")["records"], 4000);
        assert_eq!(run.track("deliver")["records"], 12_000, "{more}");
        let latencies = &run.track("deliver")["latency"]["count"];
        assert_eq!(latencies.as_u64(), (!more.is_empty()).then_some(12_000));
        assert!(more.is_empty() || run.stderr.contains("lag "), "{}", run.stderr);
    }
}
