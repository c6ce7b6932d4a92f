//! The command line: what cannot start says why in a line and exits with an error; a signal ends what runs.

use std::net::TcpListener;

use corelog::engine::PARTITIONS_DIRECTORY;

use crate::client::{create_topic, numbered, produce, read_all, texts};
use crate::harness::{Broker, Ended, path_str, private_dir, serve_to_its_end, unique};
use crate::wire::Wire;

/// Holds a refusal to an exit code that is an error, and to a last line that names the cause, without a panic's noise.
pub fn assert_refused(ended: &Ended, cause: &[&str]) {
    let Ended { status, stderr } = ended;
    let code = status.code().expect("serve_to_its_end() has ruled out signals");
    assert!(code != 0 && code != 101, "exit code {code} for:\n{stderr}");
    assert!(!stderr.contains("panicked") && !stderr.contains("stack backtrace"), "{stderr}");
    let last = stderr.lines().rfind(|line| !line.trim().is_empty()).expect("a line on stderr");
    for word in cause {
        assert!(last.contains(word), "the last line does not name {word:?}:\n{stderr}");
    }
}

/// clap's refusals end with a hint, so the cause may stand in any line; still a few lines and no more.
fn assert_refused_arguments(ended: &Ended, cause: &str) {
    let Ended { status, stderr } = ended;
    assert!(!matches!(status.code(), Some(0 | 101)), "{status} for:\n{stderr}");
    assert!(stderr.contains(cause) && !stderr.contains("panicked"), "{cause:?} is named:\n{stderr}");
    assert!(stderr.lines().count() <= 8, "{stderr}");
}

/// Whether this run may start brokers at all; tests that need one that runs learn it from [`Broker::start_own`].
pub fn may_start() -> bool {
    std::env::var_os("CORELOG_TEST_BOOTSTRAP").is_none()
}

#[test]
fn a_second_process_on_one_data_directory_is_refused() {
    let Some(mut broker) = Broker::start_own() else { return };
    let topic = unique("locked");
    create_topic(broker.bootstrap(), &topic, 1);
    let payloads = numbered("record", 10);
    produce(broker.bootstrap(), &topic, 0, &payloads);
    let data_dir = path_str(broker.data_dir()).to_owned();
    let second = serve_to_its_end(&["--data-dir", &data_dir, "--listen", "127.0.0.1:0", "--shards", "2"]);
    assert_refused(&second, &[&data_dir]);
    assert_eq!(texts(&read_all(broker.bootstrap(), &topic, 1)[0]), payloads, "the first goes on");
    broker.stop();
    // The first process's end frees the directory, and the second's attempt has left it whole.
    broker.restart();
    assert_eq!(texts(&read_all(broker.bootstrap(), &topic, 1)[0]), payloads);
}

#[test]
fn a_busy_port_is_refused() {
    if !may_start() {
        return;
    }
    let home = private_dir();
    let data_dir = home.path().join("data");
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let listen = taken.local_addr().expect("its address").to_string();
    let ended = serve_to_its_end(&["--data-dir", path_str(&data_dir), "--listen", &listen, "--shards", "2"]);
    assert_refused(&ended, &[&listen]);
}

#[test]
fn an_address_that_is_none_is_refused() {
    if !may_start() {
        return;
    }
    let home = private_dir();
    let data_dir = home.path().join("data");
    for listen in ["nowhere", "127.0.0.1:99999", "127.0.0.1"] {
        let ended = serve_to_its_end(&["--data-dir", path_str(&data_dir), "--listen", listen, "--shards", "2"]);
        assert_refused_arguments(&ended, "--listen");
    }
}

#[test]
fn a_data_directory_that_is_a_file_is_refused() {
    if !may_start() {
        return;
    }
    let home = private_dir();
    let file = home.path().join("file");
    std::fs::write(&file, "not a directory").expect("write a file");
    for path in [file.clone(), file.join("below")] {
        let ended = serve_to_its_end(&["--data-dir", path_str(&path), "--listen", "127.0.0.1:0", "--shards", "2"]);
        assert_refused(&ended, &[path_str(&path)]);
    }
    assert_eq!(std::fs::read_to_string(&file).expect("the file is still there"), "not a directory");
}

/// It would take the partitions for those of deleted topics.
#[test]
fn a_data_directory_of_an_engine_without_broker_is_refused() {
    if !may_start() {
        return;
    }
    let home = private_dir();
    let data_dir = home.path().join("data");
    std::fs::create_dir_all(data_dir.join(PARTITIONS_DIRECTORY)).expect("a directory");
    let ended = serve_to_its_end(&["--data-dir", path_str(&data_dir), "--listen", "127.0.0.1:0", "--shards", "1"]);
    assert_refused(&ended, &[path_str(&data_dir), "engine"]);
    assert!(!data_dir.join("journal").exists(), "nothing was begun");
}

#[test]
fn an_unknown_config_key_is_refused_with_its_line() {
    if !may_start() {
        return;
    }
    let home = private_dir();
    let (data_dir, file) = (home.path().join("data"), home.path().join("corelog.toml"));
    std::fs::write(&file, "# a comment\n\nno_such_key = 1\n").expect("write a config");
    let args =
        ["--data-dir", path_str(&data_dir), "--listen", "127.0.0.1:0", "--shards", "2", "--config", path_str(&file)];
    let ended = serve_to_its_end(&args);
    assert!(!matches!(ended.status.code(), Some(0 | 101)), "{} for:\n{}", ended.status, ended.stderr);
    for words in [&["no_such_key"][..], &[path_str(&file)], &["line 3", ":3"]] {
        assert!(words.iter().any(|word| ended.stderr.contains(word)), "{words:?} is named:\n{}", ended.stderr);
    }
}

#[test]
fn a_config_file_that_is_missing_is_refused() {
    if !may_start() {
        return;
    }
    let home = private_dir();
    let (data_dir, file) = (home.path().join("data"), home.path().join("absent.toml"));
    let args =
        ["--data-dir", path_str(&data_dir), "--listen", "127.0.0.1:0", "--shards", "2", "--config", path_str(&file)];
    assert_refused(&serve_to_its_end(&args), &[path_str(&file)]);
}

#[test]
fn a_mistake_in_the_config_file_is_told_in_one_line() {
    if !may_start() {
        return;
    }
    let home = private_dir();
    let (data_dir, file) = (home.path().join("data"), home.path().join("corelog.toml"));
    for (text, line, words) in [
        ("num.partitions = 0", 1, &["num.partitions", "from 1 to 10000"][..]),
        ("\nnum.partitions = \"3\"", 2, &["num.partitions", "whole number"]),
        ("node.id = 1\n[num]\npartitions = true", 3, &["num.partitions", "whole number"]),
        ("num.partitions = 1\n\"num.partitions\" = 1", 2, &["num.partitions", "twice"]),
        ("node.id = 1\nzookeeper.connect = \"a:1\"", 2, &["zookeeper.connect", "unknown key"]),
        ("node.id = 1\nnum.partitions 3", 2, &[]),
        ("message.max.bytes = 67104689", 1, &["message.max.bytes", "journal file", "67104688"]),
        ("node.id = 1\ncorelog.journal.file.bytes = 1048576", 2, &["message.max.bytes", "journal file"]),
        ("corelog.journal.file.bytes = 5000000", 1, &["multiple of 4096"]),
        ("default.replication.factor = 3", 1, &["from 1 to 1"]),
        ("compression.type = \"zstd\"", 1, &["compression.type", "'producer'"]),
        ("listeners = \"SSL://127.0.0.1:0\"", 1, &["listeners", "PLAINTEXT://HOST:PORT"]),
    ] {
        std::fs::write(&file, text).expect("write a config");
        let args = ["--data-dir", path_str(&data_dir), "--shards", "2", "--config", path_str(&file)];
        let ended = serve_to_its_end(&args);
        assert_refused(&ended, &[&format!("{}:{line}: ", path_str(&file))]);
        assert_refused(&ended, words);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    }
    assert!(!data_dir.exists(), "a broker that does not start makes nothing");
}

#[test]
fn the_command_line_comes_before_the_config_file() {
    // The harness gives --data-dir, --listen and --shards as flags; without the first the broker would not start.
    let config = "log.dirs = \"/proc/no/such/place\"\nlisteners = \"PLAINTEXT://127.0.0.1:1\"\nnode.id = 7\n";
    let Some(broker) = Broker::start_configured(config) else { return };
    assert!(!broker.bootstrap().ends_with(":1"));
    assert!(broker.data_dir().join("lock").exists());
}

#[test]
fn an_impossible_number_of_shards_is_refused() {
    if !may_start() {
        return;
    }
    let home = private_dir();
    let data_dir = home.path().join("data");
    for shards in ["0", "1000", "-1", "two"] {
        let shards = format!("--shards={shards}");
        let ended = serve_to_its_end(&["--data-dir", path_str(&data_dir), "--listen", "127.0.0.1:0", &shards]);
        assert_refused_arguments(&ended, "--shards");
    }
}

#[test]
fn both_signals_end_the_broker_cleanly_even_with_connections_open() {
    let Some(mut broker) = Broker::start_own() else { return };
    for signal in [libc::SIGINT, libc::SIGTERM] {
        let mut idle = Wire::connect(broker.bootstrap());
        idle.assert_works();
        let mut half = Wire::connect(broker.bootstrap());
        half.send(&[0, 0, 0]);
        broker.stop_with(signal);
        assert_eq!((idle.read_to_close(), half.read_to_close()), (vec![], vec![]), "connections end with the broker");
        let log = broker.log();
        assert!(!log.iter().any(|line| line.contains("panicked")), "{log:?}");
        broker.restart();
    }
}
