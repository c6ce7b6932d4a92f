//! `corelog-load produce` against the broker: what it says has to be what the broker holds.

use crate::harness::{Broker, Run, free_port, load};

#[test]
fn what_was_acknowledged_is_what_the_broker_holds() {
    let broker = Broker::start();
    let run = load(&format!(
        "produce --bootstrap {} --topic counted --partitions 3 --producers 2 --records 4321 --records-per-batch 50 \
         --record-bytes 100",
        broker.bootstrap()
    ));
    run.expect_success();
    assert_eq!(run.track("produce")["records"], 4321);
    assert_eq!(run.track("produce")["value_bytes"], 432_100);
    assert_eq!(broker.records("counted", 3), 4321);
    let latencies = &run.track("produce")["latency"];
    assert_eq!(latencies["count"], 2 * 44, "each producer sends 43 whole batches and a rest");
    assert!(latencies["p50_ms"].as_f64() > Some(0.0) && latencies["max_ms"].as_f64() >= latencies["p50_ms"].as_f64());
    let seconds = run.report["series"].as_array().expect("a series");
    let by_second: u64 = seconds.iter().map(|second| second["tracks"][0]["records"].as_u64().expect("a count")).sum();
    assert_eq!(by_second, 4321);
    assert_eq!(run.report["broker"]["process"], "corelog");
    assert_eq!(run.report["broker_usage"]["pid"], broker.process_id());
    assert!(run.report["broker"]["api_versions"].as_array().is_some_and(|apis| apis.len() > 10));
    assert!(run.hgrm.contains(&format!("Total count    = {:>12}]", 88)), "{}", run.hgrm);
    assert!(run.stdout.contains("records/s") && run.stdout.contains("p99.9 ms"), "{}", run.stdout);
}

#[test]
fn keys_codecs_and_idempotence_are_taken_by_the_broker() {
    let broker = Broker::start();
    let mut expected = 0;
    for (codec, more) in [
        ("none", "--keys zipf:100 --idempotent"),
        ("gzip", "--idempotent"),
        ("snappy", "--keys uniform:50"),
        ("lz4", "--payload ratio:3"),
        ("zstd", "--acks 1 --keys zipf:1000"),
    ] {
        let run = load(&format!(
            "produce --bootstrap {} --topic codecs --partitions 4 --producers 2 --records 500 --records-per-batch 10 \
             --compression {codec} {more}",
            broker.bootstrap()
        ));
        run.expect_success();
        expected += 500;
        assert_eq!(broker.records("codecs", 4), expected, "{codec} {more}");
    }
}

#[test]
fn an_open_loop_keeps_its_rate_and_leaves_the_warm_up_out() {
    let broker = Broker::start();
    let run = load(&format!(
        "produce --bootstrap {} --topic paced --rate 500 --records-per-batch 5 --warm-up 400ms --duration 800ms \
         --producers 2",
        broker.bootstrap()
    ));
    run.expect_success();
    let track = run.track("produce");
    // 100 batches a second for 1.2 seconds: the intended times are fixed, so the count is.
    assert_eq!((track["records_with_warm_up"].as_u64(), broker.records("paced", 1)), (Some(600), 600));
    let records = track["records"].as_u64().expect("a count");
    assert!((300..=500).contains(&records), "{records} records in the measured 800 ms");
    assert_eq!(track["latency"]["count"].as_u64(), Some(records / 5));
}

#[test]
fn a_rate_that_no_broker_reaches_is_a_failure_with_figures() {
    let broker = Broker::start();
    let run = load(&format!(
        "produce --bootstrap {} --topic late --rate 1e9 --records-per-batch 1 --duration 600ms --warm-up 0",
        broker.bootstrap()
    ));
    run.expect_failure("records/s were not reached");
    assert_eq!(run.report["ended"], "failed");
    assert_eq!(run.track("produce")["records"], broker.records("late", 1));
}

#[test]
fn a_broker_that_dies_leaves_figures_and_an_error() {
    let mut broker = Broker::start();
    let run = Run::start(&format!(
        "produce --bootstrap {} --topic dying --duration 60s --warm-up 0 --rate 1000 --records-per-batch 10",
        broker.bootstrap()
    ));
    run.wait_for_a_line();
    broker.kill9();
    let run = run.wait();
    run.expect_failure("127.0.0.1");
    assert!(run.track("produce")["records"].as_u64() >= Some(100), "{}", run.stdout);
    assert!(run.stdout.contains("FAILED: these are the figures so far"), "{}", run.stdout);
}

#[test]
fn ctrl_c_prints_the_figures_so_far() {
    let broker = Broker::start();
    let run = Run::start(&format!(
        "produce --bootstrap {} --topic cut --duration 60s --warm-up 0 --rate 1000 --records-per-batch 10",
        broker.bootstrap()
    ));
    run.wait_for_a_line();
    run.interrupt();
    let run = run.wait();
    assert_eq!(run.code, Some(130), "{}", run.stderr);
    assert!(run.stdout.contains("interrupted: these are the figures so far"), "{}", run.stdout);
    assert_eq!(run.report["ended"], "interrupted");
    assert_eq!(run.track("produce")["records"], broker.records("cut", 1));
}

#[test]
fn what_cannot_start_says_why_in_one_line() {
    let nobody = free_port();
    let run = load(&format!("produce --bootstrap 127.0.0.1:{nobody} --topic t"));
    run.expect_error_line(&format!("no broker answers at 127.0.0.1:{nobody}"));

    let broker = Broker::start();
    let to = broker.bootstrap();
    load(&format!("produce --bootstrap {to} --topic two --partitions 2 --records 1")).expect_success();
    let run = load(&format!("produce --bootstrap {to} --topic two --partitions 3 --records 1"));
    run.expect_error_line("topic 'two' exists with 2 partitions, not the 3 of --partitions");
    let run = load(&format!("produce --bootstrap {to} --topic bad/name --records 1"));
    run.expect_error_line("INVALID_TOPIC_EXCEPTION");
    let run = load(&format!("produce --bootstrap {to} --topic two --idempotent --acks 1"));
    run.expect_error_line("--idempotent needs --acks all");
}

#[test]
fn a_batch_that_the_broker_refuses_is_a_failure_that_names_it() {
    let broker = Broker::start();
    let run = load(&format!(
        "produce --bootstrap {} --topic large --records 10 --records-per-batch 10 --record-bytes 200000",
        broker.bootstrap()
    ));
    run.expect_failure("partition 0 of topic 'large': MESSAGE_TOO_LARGE");
    assert_eq!(broker.records("large", 1), 0);
}

#[test]
fn a_batch_leaves_when_it_is_full_or_has_lingered() {
    let broker = Broker::start();
    let to = broker.bootstrap();
    let batches = |more: &str| {
        let run = load(&format!(
            "produce --bootstrap {to} --topic linger --record-bytes 100 --rate 1000 --records 300 --records-per-batch 100 {more}"
        ));
        run.expect_success();
        assert_eq!(run.track("produce")["records"], 300);
        run.track("produce")["latency"].clone()
    };
    assert_eq!(batches("")["count"], 3);
    // One record in each millisecond: six come in 0 to 5 ms, and the first of them has waited that long.
    let lingering = batches("--linger 5ms");
    assert_eq!(lingering["count"], 50);
    assert!(lingering["min_ms"].as_f64() >= Some(5.0), "{lingering}");
    assert_eq!(batches("--linger 5ms --batch-bytes 400")["count"], 75);
    load(&format!("produce --bootstrap {to} --topic linger --linger 5ms")).expect_error_line("--linger needs --rate");
}

#[test]
fn the_highest_rate_that_keeps_a_bound_is_found() {
    let broker = Broker::start();
    let to = broker.bootstrap();
    let common = "--record-bytes 100 --records-per-batch 1 --duration 150ms --warm-up 0";
    let run = load(&format!("produce --bootstrap {to} --topic found {common} --find-rate max=2s"));
    let search = &run.report["rate_search"];
    let steps = search["steps"].as_array().expect("steps");
    let highest = search["highest"].as_f64().expect("a rate");
    let kept = steps.iter().filter(|step| step["kept"] == true).map(|step| step["rate"].as_f64().expect("a rate"));
    assert_eq!(kept.fold(0.0, f64::max), highest);
    let not_kept = steps.iter().filter(|step| step["kept"] == false);
    let lowest = not_kept.map(|step| step["rate"].as_f64().expect("a rate")).fold(f64::MAX, f64::min);
    assert!(highest < lowest && lowest / highest <= 1.06, "{highest} {lowest}");
    // The other figures are those of that rate.
    assert_eq!(run.report["rate_asked"].as_f64(), Some(highest));
    run.expect_success();
    assert!(run.stdout.contains("highest rate"), "{}", run.stdout);

    let run = load(&format!("produce --bootstrap {to} --topic found {common} --find-rate p50=0ms"));
    run.expect_failure("no rate kept p50=0ms");
    assert_eq!(run.report["rate_search"]["highest"], serde_json::Value::Null);
}

#[test]
fn a_profile_is_options_that_others_come_after() {
    let broker = Broker::start();
    let to = broker.bootstrap();
    let run = load(&format!("produce --profile 1k-x100-8p --bootstrap {to} --topic profile --records 1600"));
    run.expect_success();
    assert_eq!(broker.records("profile", 8), 1600);
    assert_eq!(run.track("produce")["value_bytes"], 1600 * 1024);
    let run = load(&format!("produce --profile=1k-x1-8p --partitions 2 --bootstrap {to} --topic other --records 16"));
    run.expect_success();
    assert_eq!(broker.records("other", 2), 16);
    let run = load(&format!("consume --profile 1k-x1 --bootstrap {to} --topic other"));
    assert_ne!(run.code, Some(0));
    assert!(run.stderr.contains("1k-x1"), "{}", run.stderr);
}

#[test]
fn a_topic_that_vanishes_is_a_failure_that_names_it() {
    let broker = Broker::start();
    let to = broker.bootstrap();
    let run = Run::start(&format!(
        "produce --bootstrap {to} --topic vanishing --duration 60s --warm-up 0 --rate 1000 --records-per-batch 10"
    ));
    run.wait_for_a_line();
    broker.delete("vanishing");
    let run = run.wait();
    run.expect_failure("topic 'vanishing': UNKNOWN_TOPIC_OR_PARTITION");
    assert!(run.track("produce")["records"].as_u64() >= Some(100), "{}", run.stdout);
}

#[test]
fn without_acknowledgements_there_are_no_latencies() {
    let broker = Broker::start();
    let to = broker.bootstrap();
    let run = load(&format!("produce --bootstrap {to} --topic untold --acks 0 --records 500 --records-per-batch 10"));
    run.expect_success();
    assert_eq!(run.track("produce")["records"], 500);
    assert_eq!(run.track("produce")["latency"], serde_json::Value::Null);
}
