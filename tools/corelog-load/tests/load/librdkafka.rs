//! `--client librdkafka` against the broker: what it counts has to be what the broker holds.

use crate::harness::{Broker, Run, load};

#[test]
fn what_was_delivered_is_what_the_broker_holds() {
    let broker = Broker::start();
    let run = load(&format!(
        "produce --client librdkafka --bootstrap {} --topic counted --partitions 3 --producers 2 --records 4321 \
         --records-per-batch 50 --record-bytes 100",
        broker.bootstrap()
    ));
    run.expect_success();
    let track = run.track("produce");
    assert_eq!((&track["records"], &track["value_bytes"]), (&4321.into(), &432_100.into()));
    assert_eq!(broker.records("counted", 3), 4321);
    assert_eq!(track["latency"]["count"], 4321, "each record has its own");
    assert!(track["latency"]["of"].as_str().is_some_and(|of| of.starts_with("of each record")), "{track}");
    assert!(track["latency"]["p50_ms"].as_f64() > Some(0.01), "{track}");
    assert!(!run.stdout.contains("on the wire"), "nobody knows: {}", run.stdout);
}

#[test]
fn keys_codecs_and_idempotence_are_taken_by_the_broker() {
    let broker = Broker::start();
    let mut expected = 0;
    for (codec, more) in [
        ("none", "--keys zipf:100 --idempotent"),
        ("gzip", "--acks 0"),
        ("snappy", "--keys uniform:50"),
        ("lz4", "--payload ratio:3 --record-bytes 3000"),
        ("zstd", "--acks 1 --keys zipf:1000 --payload orders"),
    ] {
        let run = load(&format!(
            "produce --client librdkafka --bootstrap {} --topic codecs --partitions 4 --producers 2 --records 500 \
             --records-per-batch 10 --compression {codec} {more}",
            broker.bootstrap()
        ));
        run.expect_success();
        assert_eq!(run.track("produce")["records"], 500, "{codec} {more}");
        expected += 500;
        assert_eq!(broker.records("codecs", 4), expected, "{codec} {more}");
    }
}

#[test]
fn keys_go_to_the_partitions_that_this_tool_s_own_client_chooses() {
    let broker = Broker::start();
    let to = broker.bootstrap();
    // One key and sixteen partitions: chosen by another hash, most likely two would be filled.
    for (client, topic) in [("own", "key"), ("librdkafka", "key")] {
        load(&format!(
            "produce --client {client} --bootstrap {to} --topic {topic} --partitions 16 --records 5 --keys uniform:1 \
             --records-per-batch 5"
        ))
        .expect_success();
    }
    let mut cluster = corelog_load::client::cluster::Cluster::connect(to).expect("the broker answers");
    let topic = cluster.topic("key").expect("the topic");
    let ends = cluster.offsets(&topic, corelog::protocol::messages::list_offsets::LATEST_TIMESTAMP).expect("offsets");
    assert_eq!(ends.iter().filter(|&&end| end > 0).collect::<Vec<_>>(), [&10], "{ends:?}");
}

#[test]
fn an_open_loop_keeps_its_rate_and_leaves_the_warm_up_out() {
    let broker = Broker::start();
    let run = load(&format!(
        "produce --client librdkafka --bootstrap {} --topic paced --rate 500 --warm-up 400ms --duration 800ms \
         --producers 2",
        broker.bootstrap()
    ));
    run.expect_success();
    let track = run.track("produce");
    // 500 records a second for 1.2 seconds: the intended times are fixed, so the count is.
    assert_eq!((track["records_with_warm_up"].as_u64(), broker.records("paced", 1)), (Some(600), 600));
    let records = track["records"].as_u64().expect("a count");
    assert!((300..=500).contains(&records), "{records} records in the measured 800 ms");
    assert_eq!(track["latency"]["count"].as_u64(), Some(records));
}

#[test]
fn a_queue_that_is_full_is_waited_for() {
    let broker = Broker::start();
    // Half as many again as the queue takes, in requests that each take a while.
    let run = load(&format!(
        "produce --client librdkafka --bootstrap {} --topic full --records 150000 --records-per-batch 100 \
         --record-bytes 10 --in-flight 1",
        broker.bootstrap()
    ));
    run.expect_success();
    assert_eq!((run.track("produce")["records"].as_u64(), broker.records("full", 1)), (Some(150_000), 150_000));
}

#[test]
fn a_broker_that_dies_leaves_figures_and_an_error() {
    let mut broker = Broker::start();
    let run = Run::start(&format!(
        "produce --client librdkafka --bootstrap {} --topic dying --duration 60s --warm-up 0 --rate 1000",
        broker.bootstrap()
    ));
    run.wait_for_a_line();
    broker.kill9();
    let run = run.wait();
    run.expect_failure("AllBrokersDown");
    assert!(run.track("produce")["records"].as_u64() >= Some(100), "{}", run.stdout);
    assert!(run.stdout.contains("FAILED: these are the figures so far"), "{}", run.stdout);
}

#[test]
fn a_broker_that_dies_under_a_consumer_is_a_failure() {
    let mut broker = Broker::start();
    let to = broker.bootstrap();
    load(&format!("produce --bootstrap {to} --topic gone --records 10 --records-per-batch 10")).expect_success();
    let run = Run::start(&format!("consume --client librdkafka --bootstrap {to} --topic gone --tail --duration 60s"));
    run.wait_for_a_line();
    broker.kill9();
    run.wait().expect_failure("AllBrokersDown");
}

#[test]
fn ctrl_c_prints_the_figures_so_far() {
    let broker = Broker::start();
    let run = Run::start(&format!(
        "produce --client librdkafka --bootstrap {} --topic cut --duration 60s --warm-up 0 --rate 1000",
        broker.bootstrap()
    ));
    run.wait_for_a_line();
    run.interrupt();
    let run = run.wait();
    assert_eq!(run.code, Some(130), "{}", run.stderr);
    assert_eq!(run.report["ended"], "interrupted");
    assert_eq!(run.track("produce")["records"], broker.records("cut", 1));
}

#[test]
fn a_record_that_the_broker_refuses_is_a_failure_that_names_it() {
    let broker = Broker::start();
    let run = load(&format!(
        "produce --client librdkafka --bootstrap {} --topic large --records 1 --records-per-batch 1 \
         --record-bytes 2000000",
        broker.bootstrap()
    ));
    run.expect_failure("partition 0 of topic 'large'");
    assert!(run.stdout.contains("MessageSizeTooLarge"), "{}", run.stdout);
    assert_eq!(broker.records("large", 1), 0);
}

#[test]
fn what_librdkafka_cannot_do_is_refused() {
    let broker = Broker::start();
    let to = broker.bootstrap();
    let produce = format!("produce --client librdkafka --bootstrap {to} --topic t --records 1");
    load(&format!("{produce} --record-bytes 1000000 --records-per-batch 1000"))
        .expect_error_line("at most 1 GB a batch");
    load(&produce).expect_success();
    let consume = format!("consume --client librdkafka --bootstrap {to} --topic t");
    load(&format!("{consume} --fetch-bytes 999")).expect_error_line("at least 1000");
    load(&format!("{consume} --max-wait-ms 400000")).expect_error_line("fetch.wait.max.ms");
    load(&format!("{consume} --consumers 2")).expect_error_line("there are only 1 partitions");
}

#[test]
fn catching_up_reads_every_record_once() {
    let broker = Broker::start();
    let to = broker.bootstrap();
    load(&format!(
        "produce --bootstrap {to} --topic full --partitions 3 --producers 3 --records 20000 --records-per-batch 7 \
         --record-bytes 300 --compression lz4"
    ))
    .expect_success();
    for more in ["", "--consumers 3 --partition-fetch-bytes 5000", "--fetch-bytes 20000"] {
        let run = load(&format!("consume --client librdkafka --bootstrap {to} --topic full {more}"));
        run.expect_success();
        let track = run.track("consume");
        assert_eq!((&track["records"], &track["value_bytes"]), (&20_000.into(), &(20_000 * 300).into()), "{more}");
        assert_eq!(track["latency"], serde_json::Value::Null);
    }
    let run = load(&format!("consume --client librdkafka --bootstrap {to} --topic full --records 500"));
    run.expect_success();
    // As many as were asked for, and less than one note more.
    let records = run.track("consume")["records"].as_u64().expect("a count");
    assert!((500..500 + 256).contains(&records), "{records}");
}

#[test]
fn each_record_has_a_delivery_latency() {
    let broker = Broker::start();
    let run = load(&format!(
        "end-to-end --client librdkafka --bootstrap {} --topic e2e --partitions 2 --producers 2 --consumers 2 \
         --rate 600 --records 600 --record-bytes 64 --compression snappy --max-wait-ms 100",
        broker.bootstrap()
    ));
    run.expect_success();
    assert_eq!(broker.records("e2e", 2), 600);
    let (published, delivered) = (run.track("produce"), run.track("deliver"));
    assert_eq!((&published["records"], &delivered["records"]), (&600.into(), &600.into()));
    assert_eq!((&published["latency"]["count"], &delivered["latency"]["count"]), (&600.into(), &600.into()));
    assert_eq!(delivered["value_bytes"], 600 * 64);
    assert!(delivered["latency"]["p50_ms"].as_f64() > Some(0.01), "{delivered}");
}

#[test]
fn sizes_topics_and_groups_are_librdkafka_s_too() {
    let broker = Broker::start();
    let to = broker.bootstrap();
    let run = load(&format!(
        "produce --client librdkafka --bootstrap {to} --topic several --topics 2 --partitions 2 --producers 2 \
         --records 3000 --record-bytes uniform:50:150 --batch-bytes 4000 --linger 1ms"
    ));
    run.expect_success();
    assert_eq!(broker.records("several-0", 2) + broker.records("several-1", 2), 3000);
    let value_bytes = run.track("produce")["value_bytes"].as_u64().expect("bytes");
    assert!((250_000..350_000).contains(&value_bytes), "{value_bytes}");
    let run = load(&format!("consume --client librdkafka --bootstrap {to} --topic several --topics 2"));
    run.expect_success();
    assert_eq!(run.track("consume")["records"], 3000);
    assert_eq!(run.track("consume")["value_bytes"], value_bytes);
    let run = load(&format!(
        "mixed --client librdkafka --bootstrap {to} --topic mixed --partitions 2 --fan-out 2 --records 1000 --rate 2000"
    ));
    run.expect_success();
    assert_eq!(run.track("deliver")["latency"]["count"], 2000);
    let run = load(&format!("produce --client librdkafka --bootstrap {to} --topic x --connections 2"));
    run.expect_error_line("--connections: librdkafka has one to each leader");
}
