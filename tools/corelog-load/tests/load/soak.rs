//! `corelog-load soak`: against a broker that is killed all the time nothing may be missing, and a broker that lies is
//! caught.

use crate::harness::{Broker, Ended, broker_binary, broker_command, free_port, load, load_with, private_dir, turn};
use crate::lying::{Lie, LyingBroker};

/// The counts of the check.
fn count(run: &Ended, name: &str) -> u64 {
    run.report["check"][name].as_u64().unwrap_or_else(|| panic!("no count '{name}' in {}", run.report["check"]))
}

fn expect_no_fault(run: &Ended) {
    run.expect_success();
    for fault in ["lost", "duplicated", "reordered", "corrupted"] {
        assert_eq!(count(run, fault), 0, "{fault}\n{}", run.stdout);
        assert_eq!(run.report["check"]["read_again"][fault], 0, "{fault}\n{}", run.stdout);
    }
    assert_eq!(count(run, "delivered"), count(run, "acknowledged") + count(run, "unacknowledged"));
    assert_eq!(run.report["check"]["read_again"]["records"].as_u64(), Some(count(run, "delivered")));
}

#[test]
fn nothing_is_missing_although_the_broker_is_killed() {
    let _turn = turn();
    let (home, port) = (private_dir(), free_port());
    let broker = broker_command(port, home.path());
    let run = load_with(
        &format!(
            "soak --bootstrap 127.0.0.1:{port} --topic killed --partitions 3 --producers 2 --consumers 2 --duration 5s \
             --rate 4000 --records-per-batch 20 --record-bytes 100 --compression lz4 --broker-kills 2 --broker-cmd"
        ),
        &broker,
    );
    expect_no_fault(&run);
    // The second may have been left out on a slow machine, when the load was over before it.
    let kills = count(&run, "broker_kills");
    assert!((1..=2).contains(&kills), "{}", run.stderr);
    let acknowledged = count(&run, "acknowledged");
    // The last kill may have been so late that the load was over before the broker served again.
    assert!((1_000..=20_000).contains(&acknowledged), "{acknowledged}");
    assert!(count(&run, "reconnects") >= kills, "{}", run.stdout);
    assert_eq!(run.track("produce")["records"], acknowledged);
    assert_eq!(run.track("deliver")["records"], count(&run, "delivered"));
    assert_eq!(run.stderr.matches("broker killed").count() as u64, kills, "{}", run.stderr);
    assert!(run.stdout.contains("lost") && run.stdout.contains("read again"), "{}", run.stdout);
    // It was stopped, so its port is free again.
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
fn two_commands_kill_and_restart_a_broker_that_runs_elsewhere() {
    let _turn = turn();
    let (home, port) = (private_dir(), free_port());
    let pid_file = home.path().join("pid");
    let (binary, data) = (broker_binary().display().to_string(), home.path().join("data").display().to_string());
    let restart = format!(
        "{binary} serve --listen 127.0.0.1:{port} --shards 1 --data-dir {data} >/dev/null 2>&1 & echo $! > {}",
        pid_file.display()
    );
    let kill = format!("kill -9 $(cat {})", pid_file.display());
    assert!(std::process::Command::new("sh").args(["-c", &restart]).status().expect("sh").success());
    let started = std::time::Duration::from_millis(50);
    let waited = (0..600).any(|_| {
        std::thread::sleep(started);
        std::net::TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    let line = format!(
        "soak --bootstrap 127.0.0.1:{port} --topic elsewhere --duration 2s --rate 1000 --records-per-batch 10 \
         --broker-kills 1"
    );
    let run =
        crate::harness::Run::start_with(&line, &["--kill-broker-cmd", &kill, "--restart-broker-cmd", &restart]).wait();
    let failed =
        crate::harness::Run::start_with(&line, &["--kill-broker-cmd", "exit 5", "--restart-broker-cmd", "true"]).wait();
    assert!(std::process::Command::new("sh").args(["-c", &kill]).status().expect("sh").success());
    assert!(waited);
    expect_no_fault(&run);
    assert_eq!(count(&run, "broker_kills"), 1);
    assert!((100..=2000).contains(&count(&run, "acknowledged")), "{}", run.stdout);
    failed.expect_failure("--kill-broker-cmd 'exit 5' failed (exit status: 5)");
}

#[test]
fn an_acknowledged_batch_that_is_dropped_is_caught() {
    let broker = LyingBroker::start(Lie::DropProduce(5));
    let run = load(&format!(
        "soak --bootstrap {} --topic dropped --duration 1s --rate 1000 --records-per-batch 10 --idempotent false",
        broker.bootstrap()
    ));
    run.expect_failure("10 acknowledged records were lost");
    assert_eq!((count(&run, "lost"), count(&run, "delivered")), (10, count(&run, "acknowledged") - 10));
    assert_eq!(run.report["check"]["read_again"]["lost"], 10);
    assert!(
        run.stdout.contains("producer 0, partition 0: records 40 to 49 acknowledged, and not there"),
        "{}",
        run.stdout
    );
}

#[test]
fn a_batch_that_is_appended_twice_is_caught() {
    let broker = LyingBroker::start(Lie::RepeatProduce(5));
    let line = format!(
        "soak --bootstrap {} --topic twice --duration 1s --rate 1000 --records-per-batch 10",
        broker.bootstrap()
    );
    let run = load(&line);
    run.expect_failure("10 times a record came again");
    assert_eq!((count(&run, "duplicated"), count(&run, "lost")), (10, 0));
    assert_eq!(count(&run, "delivered"), count(&run, "acknowledged"));
    assert!(run.stdout.contains("records 40 to 49 at offset 50: 10 came again"), "{}", run.stdout);
}

#[test]
fn a_flipped_bit_is_caught() {
    let broker = LyingBroker::start(Lie::FlipFetched(3));
    let run = load(&format!(
        "soak --bootstrap {} --topic flipped --duration 1s --rate 1000 --records-per-batch 10",
        broker.bootstrap()
    ));
    run.expect_failure("1 records or batches were not what had been sent");
    assert_eq!(count(&run, "corrupted"), 1);
    assert!(run.stdout.contains("does not match its checksum"), "{}", run.stdout);
}

#[test]
fn a_broker_that_stays_away_is_a_failure_that_says_so() {
    let mut broker = Broker::start();
    let run = crate::harness::Run::start(&format!(
        "soak --bootstrap {} --topic away --duration 60s --rate 1000 --give-up 1s",
        broker.bootstrap()
    ));
    run.wait_for_a_line();
    broker.kill9();
    let run = run.wait();
    run.expect_failure("given up: nothing has worked for 1 s (--give-up)");
    assert_eq!(count(&run, "lost"), 0, "nobody waited for what was on its way");
}

#[test]
fn a_broker_that_ends_by_itself_is_a_failure_with_its_words() {
    let _turn = turn();
    let (home, port) = (private_dir(), free_port());
    // It dies of its own hand while the load runs.
    let broker = format!(
        "sh -c '{} serve --listen 127.0.0.1:{port} --shards 1 --data-dir {} & sleep 2; echo enough; kill -9 $!'",
        broker_binary().display(),
        home.path().join("data").display()
    );
    let run = load_with(
        &format!("soak --bootstrap 127.0.0.1:{port} --topic t --rate 1000 --duration 60s --broker-cmd"),
        &broker,
    );
    run.expect_failure("the broker ended by itself");
    assert!(run.stdout.contains("enough"), "{}", run.stdout);
}

#[test]
fn ctrl_c_prints_what_was_found_so_far() {
    let broker = Broker::start();
    let run = crate::harness::Run::start(&format!(
        "soak --bootstrap {} --topic cut --duration 60s --rate 1000 --records-per-batch 10",
        broker.bootstrap()
    ));
    run.wait_for_a_line();
    run.interrupt();
    let run = run.wait();
    assert_eq!(run.code, Some(130), "{}", run.stderr);
    assert!(count(&run, "acknowledged") >= 100 && count(&run, "lost") == 0, "{}", run.stdout);
    assert_eq!(run.report["check"]["read_again"], serde_json::Value::Null);
}

#[test]
fn what_cannot_start_says_why_in_one_line() {
    let nobody = free_port();
    load("soak --broker-kills 1").expect_error_line("--broker-kills needs --broker-cmd");
    load("soak --record-bytes 35").expect_error_line("which record it is takes 36 of each");
    let run = load_with(&format!("soak --bootstrap 127.0.0.1:{nobody} --broker-cmd"), "echo no; exit 3");
    assert_eq!(run.code, Some(1));
    assert!(
        run.stderr.contains("the broker ended before it served") && run.stderr.contains("  no\n"),
        "{}",
        run.stderr
    );
    let broker = Broker::start();
    let run = load_with(&format!("soak --bootstrap {} --broker-cmd", broker.bootstrap()), "true");
    run.expect_error_line("--broker-cmd starts a broker, and one serves at");
}
