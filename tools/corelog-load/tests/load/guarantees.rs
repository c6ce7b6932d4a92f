//! `corelog-load guarantees`: what each mode promises holds although clients and broker are killed.

use crate::harness::{Broker, Run, broker_command, free_port, load, load_with, private_dir, turn};
use crate::lying::{Lie, LyingBroker};
use serde_json::Value;

fn count(guarantee: &Value, name: &str) -> u64 {
    guarantee[name].as_u64().unwrap_or_else(|| panic!("no count '{name}' in {guarantee}"))
}

#[test]
fn every_mode_holds_what_it_promises_although_clients_and_broker_are_killed() {
    let _turn = turn();
    let (home, port) = (private_dir(), free_port());
    let broker = broker_command(port, home.path());
    let run = load_with(
        &format!(
            "guarantees --bootstrap 127.0.0.1:{port} --topic tried --partitions 2 --duration 3s --rate 2000 \
             --records-per-batch 10 --record-bytes 100 --kills 4 --broker-kills 1 --broker-cmd"
        ),
        &broker,
    );
    run.expect_success();
    let guarantees = run.report["guarantees"].as_array().expect("guarantees").clone();
    let modes: Vec<&str> = guarantees.iter().map(|guarantee| guarantee["mode"].as_str().expect("a mode")).collect();
    assert_eq!(modes, ["at-most-once", "at-least-once", "exactly-once", "exactly-once (idempotent session)"]);
    let [at_most, at_least, refused, exactly] = &guarantees[..] else { panic!("four lines") };
    for tried in [at_most, at_least, exactly] {
        assert_eq!(tried["holds"], true, "{}", run.stdout);
        assert_eq!((count(tried, "client_kills"), count(tried, "broker_kills")), (4, 1));
        assert!(count(tried, "sent") > 1000 && count(tried, "delivered") > 500, "{}", run.stdout);
    }
    assert_eq!((count(at_most, "acknowledged"), count(at_most, "duplicated")), (0, 0));
    assert_eq!(count(at_most, "sent"), count(at_most, "delivered") + count(at_most, "lost"));
    // The last life of the producer sent all that was open, so everything that was ever sent was acknowledged.
    for acknowledged in [at_least, exactly] {
        assert_eq!(count(acknowledged, "sent"), count(acknowledged, "acknowledged"));
        assert_eq!((count(acknowledged, "lost"), count(acknowledged, "delivered")), (0, count(acknowledged, "sent")));
    }
    assert_eq!(count(exactly, "duplicated"), 0);
    assert!(refused["refused"].as_str().is_some_and(|why| why.contains("AddPartitionsToTxn, EndTxn")), "{refused}");
    assert_eq!(run.stderr.matches("producer killed").count(), 6, "{}", run.stderr);
    assert_eq!(run.stderr.matches("consumer killed").count(), 6, "{}", run.stderr);
    assert!(run.stdout.contains("refused") && run.stdout.contains("holds"), "{}", run.stdout);
    let published = run.track("produce")["records"].as_u64();
    let all = count(at_most, "sent") + count(at_least, "acknowledged") + count(exactly, "acknowledged");
    assert!(published >= Some(all), "{published:?} {all}");
}

#[test]
fn each_topic_holds_what_the_table_says() {
    let broker = Broker::start();
    let run = load(&format!(
        "guarantees --bootstrap {} --topic counted --modes at-least-once --duration 1s --rate 1000 \
         --records-per-batch 10 --kills 0",
        broker.bootstrap()
    ));
    run.expect_success();
    let guarantee = &run.report["guarantees"][0];
    assert_eq!(count(guarantee, "duplicated"), 0, "nothing was killed");
    assert_eq!(broker.records("counted-at-least-once", 1) as u64, count(guarantee, "delivered"));
}

#[test]
fn a_producer_without_acknowledgements_waits_for_none() {
    let broker = Broker::start();
    let run = load(&format!(
        "guarantees --bootstrap {} --topic fast --modes at-most-once --duration 1s --rate 1000 --records-per-batch 1 \
         --processing-time 0 --kills 0",
        broker.bootstrap()
    ));
    run.expect_success();
    let guarantee = &run.report["guarantees"][0];
    assert!((700..=1010).contains(&count(guarantee, "sent")), "{guarantee}");
    assert_eq!((count(guarantee, "lost"), count(guarantee, "duplicated")), (0, 0), "nothing was killed");
}

#[test]
fn a_broker_that_breaks_a_promise_is_caught() {
    for (lie, mode, outcome) in [
        (Lie::DropProduce(5), "at-least-once", "at-least-once: the promise is broken: 10 lost, 0 duplicated"),
        (
            Lie::RepeatProduce(5),
            "exactly-once",
            "exactly-once (idempotent session): the promise is broken: 0 lost, 10 duplicated",
        ),
    ] {
        let broker = LyingBroker::start(lie);
        let run = load(&format!(
            "guarantees --bootstrap {} --topic lying --modes {mode} --duration 1s --rate 1000 --records-per-batch 10 \
             --kills 0",
            broker.bootstrap()
        ));
        run.expect_failure(outcome);
        let guarantees = run.report["guarantees"].as_array().expect("guarantees");
        assert_eq!(guarantees.last().expect("a line")["holds"], false);
        assert!(run.stdout.contains("  NO\n") && run.stdout.contains("producer 0, partition 0: records 40 to 49"));
    }
}

#[test]
fn a_client_that_cannot_go_on_is_told_with_its_words() {
    let mut broker = Broker::start();
    let run = Run::start(&format!(
        "guarantees --bootstrap {} --topic away --modes at-least-once --duration 60s --kills 0 --give-up 1s",
        broker.bootstrap()
    ));
    run.wait_for_output("records/s");
    broker.kill9();
    let run = run.wait();
    run.expect_failure("given up: nothing has worked for 1 s (--give-up)");
    // The clients' notes are kept, and told of.
    let (_, rest) = run.stdout.split_once("(the clients' notes: ").expect("where they are");
    let kept = std::path::Path::new(rest.split(')').next().expect("a path"));
    assert!(kept.join("at-least-once").join("sent").exists(), "{}", run.stdout);
    assert!(kept.starts_with(run.files.path()));
}

#[test]
fn ctrl_c_ends_the_clients_too() {
    let broker = Broker::start();
    let run = Run::start(&format!("guarantees --bootstrap {} --topic cut --duration 60s", broker.bootstrap()));
    run.wait_for_output("records/s");
    let clients = clients_of(run.process_id());
    assert_eq!(clients.len(), 2);
    run.interrupt();
    let run = run.wait();
    assert_eq!(run.code, Some(130), "{}", run.stderr);
    assert_eq!(run.report["guarantees"], Value::Array(Vec::new()), "what was cut says nothing");
    assert!(clients.iter().all(|id| !std::path::Path::new(&format!("/proc/{id}")).exists()));
}

/// The processes that a process started.
fn clients_of(parent: u32) -> Vec<u32> {
    let path = format!("/proc/{parent}/task");
    let threads = std::fs::read_dir(path).expect("its threads").flatten();
    let children = threads.map(|thread| std::fs::read_to_string(thread.path().join("children")).unwrap_or_default());
    children.flat_map(|ids| ids.split_whitespace().map(|id| id.parse().expect("an id")).collect::<Vec<u32>>()).collect()
}
