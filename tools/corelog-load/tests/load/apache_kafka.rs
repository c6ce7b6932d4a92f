//! The load generator against Apache Kafka, where Java and Maven are installed: the figures have to be right on any broker
//! that speaks the protocol. One broker for all, because a JVM takes seconds to start.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::harness::{Ended, load, private_dir};
use corelog::protocol::messages::list_offsets::LATEST_TIMESTAMP;
use corelog_load::client::cluster::Cluster;
use tempfile::TempDir;

/// How long Kafka may take to start on a busy machine.
const DEADLINE: Duration = Duration::from_secs(120);

struct Kafka {
    child: Child,
    bootstrap: String,
    _home: TempDir,
}

impl Kafka {
    /// Starts one; `None` when this machine cannot.
    fn start() -> Option<Kafka> {
        for tool in ["java", "mvn"] {
            let there = Command::new(tool).arg("-version").stdout(Stdio::null()).stderr(Stdio::null()).status();
            if !there.is_ok_and(|status| status.success()) {
                eprintln!("left out: there is no {tool} here");
                return None;
            }
        }
        let jars = crate::kafka::fetch().expect("Kafka's jars");
        let home = private_dir();
        let port = crate::kafka::configure(&jars, home.path(), false).expect("a configuration");
        let log = std::fs::File::create(home.path().join("stdout")).expect("a file");
        let errors = log.try_clone().expect("the same file");
        let mut command = crate::kafka::command(&jars, home.path());
        let child = command.stdin(Stdio::null()).stdout(log).stderr(errors).spawn().expect("start Kafka");
        let mut kafka = Kafka { child, bootstrap: format!("127.0.0.1:{port}"), _home: home };
        let end = Instant::now() + DEADLINE;
        while !Cluster::connect(&kafka.bootstrap).and_then(|mut cluster| cluster.brokers()).is_ok_and(|count| count > 0)
        {
            assert!(kafka.child.try_wait().expect("its state").is_none(), "Kafka ended: {}", kafka.log());
            assert!(Instant::now() < end, "Kafka does not serve: {}", kafka.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(kafka)
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self._home.path().join("stdout")).unwrap_or_default()
    }

    /// Runs a subcommand on a topic, which has to go well.
    fn run(&self, subcommand: &str, topic: &str, more: &str) -> Ended {
        let run = load(&format!("{subcommand} --bootstrap {} --topic {topic} {more}", self.bootstrap));
        run.expect_success();
        assert_eq!(run.report["broker"]["process"], "java");
        run
    }

    fn records(&self, topic: &str) -> i64 {
        let mut cluster = Cluster::connect(&self.bootstrap).expect("the broker answers");
        let topic = cluster.topic(topic).expect("the topic");
        cluster.offsets(&topic, LATEST_TIMESTAMP).expect("offsets").iter().sum()
    }
}

impl Drop for Kafka {
    fn drop(&mut self) {
        // It may have ended already.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

#[test]
fn every_workload_counts_right_against_apache_kafka() {
    let Some(kafka) = Kafka::start() else { return };
    let mut expected = 0;
    for more in ["--idempotent", "--compression zstd --keys zipf:50", "--compression lz4 --acks 1", "--acks 0"] {
        let more = format!("--partitions 3 --producers 2 --records 3000 --records-per-batch 20 {more}");
        let run = kafka.run("produce", "filled", &more);
        expected += 3000;
        assert_eq!(run.track("produce")["records"], 3000);
    }
    // What acks 0 sent may still be on its way.
    let end = Instant::now() + DEADLINE;
    while kafka.records("filled") != expected && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(kafka.records("filled"), expected);
    assert_eq!(kafka.run("consume", "filled", "--consumers 3").track("consume")["records"], expected);

    let run = kafka.run("end-to-end", "delivered", "--records 200 --rate 100");
    assert_eq!(run.track("deliver")["latency"]["count"], 200);
    let run = kafka.run("mixed", "fanned", "--records 2000 --partitions 2 --fan-out 3");
    assert_eq!(run.track("deliver")["records"], 6000);
    let run = kafka.run("rpc-vs-stream", "orders", "--pipelined --records 200");
    for track in ["rpc", "pipelined", "stream"] {
        assert_eq!(run.track(track)["records"], 200, "{track}");
    }
    assert_eq!(kafka.records("orders"), 600);
    kafka.run("produce", "librdkafka", "--client librdkafka --idempotent --compression lz4 --records 2000");
    let run = kafka.run("consume", "librdkafka", "--client librdkafka");
    assert_eq!(run.track("consume")["records"], 2000);
    let run = kafka.run("produce", "found", "--find-rate p50=1s --duration 200ms --warm-up 0 --record-bytes 100");
    assert!(run.report["rate_search"]["highest"].as_f64().is_some());
}
