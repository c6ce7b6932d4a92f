//! `corelog log` on data directories that the broker left: stopped, killed, with bits flipped, with files cut, zeroed or
//! strange; and Kafka's own `kafka-dump-log` on our segments.

mod damage;
mod kafka_tool;
mod sent;

use std::path::Path;
use std::process::Output;

use crate::client::{Producer, create_topic, numbered, produce, try_create_topic};
use crate::harness::{Broker, corelog_log, path_str, private_dir, unique};
use sent::{CODECS, Sent};

/// Journals of a size that tests can copy and read often.
const CONFIG: &str = "corelog.journal.file.bytes = 2097152\ncorelog.journal.files = 2\n\
                      offsets.topic.num.partitions = 1\n";

/// `corelog log verify` on a data directory: its exit code, and what it said.
fn verify(data_dir: &Path) -> (Option<i32>, String) {
    let output = corelog_log(&["verify", "--data-dir", path_str(data_dir)]);
    (output.status.code(), stdout(&output))
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("the tool writes UTF-8")
}

/// A topic of three partitions whose segments end at 1 MiB, with every codec in each of them.
fn fill(broker: &Broker) -> (String, Sent) {
    let topic = unique("offline");
    try_create_topic(broker.bootstrap(), &topic, 3, &[("segment.bytes", "1048576")]).expect("the topic is created");
    let mut sent = Sent::default();
    for (round, codec) in CODECS.iter().cycle().take(2 * CODECS.len()).enumerate() {
        sent.produce(broker, &topic, 3, codec, round, 60, 3000);
    }
    (topic, sent)
}

#[test]
fn list_dump_and_verify_agree_with_what_was_produced() {
    let Some(mut broker) = Broker::start_configured(CONFIG) else { return };
    let (topic, sent) = fill(&broker);
    broker.stop();
    let (code, said) = verify(broker.data_dir());
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with("clean: ") && !said.contains("note"), "{said}");

    let list = corelog_log(&["list", "--data-dir", path_str(broker.data_dir())]);
    assert_eq!(list.status.code(), Some(0));
    let list = stdout(&list);
    let segments = sent::segments(&list, &topic);
    for partition in 0..3 {
        let own: Vec<_> = segments.iter().filter(|segment| segment.partition == partition).collect();
        let count = sent.partition(partition).len() as i64;
        assert!(own.len() >= 2, "partition {partition} has several segments:\n{list}");
        assert_eq!(own.iter().map(|segment| segment.records).sum::<i64>(), count);
        assert_eq!((own[0].base, own.last().map(|last| last.end)), (0, Some(count)));
        for pair in own.windows(2) {
            assert_eq!(pair[0].end, pair[1].base);
        }
        let mut seen = Vec::new();
        for segment in own {
            assert_eq!((segment.index.as_str(), segment.spare), ("whole", false), "{list}");
            let dump = corelog_log(&["dump", "--records", path_str(&segment.path)]);
            let dump = stdout(&dump);
            assert!(!dump.contains("WRONG") && !dump.contains("cannot"), "{dump}");
            seen.extend(sent::dumped_records(&dump));
            let index = corelog_log(&["dump", path_str(&segment.path.with_extension("index"))]);
            assert!(stdout(&index).contains(&format!("base offset {}, covers", segment.base)), "{}", stdout(&index));
        }
        assert_eq!(seen, sent.as_dumped(partition));
    }
    let all = sent::dump_all(&segments);
    for codec in CODECS {
        assert!(all.contains(&format!(", {codec}, crc ok")), "a batch with {codec}");
    }
    assert!(all.contains(" sequence 0 to "), "idempotent producers' sequences");
    assert!(list.contains("free up to incarnation"), "{list}");
    assert!(list.contains(&format!("topic {topic} partition 2 start 0 end {}", sent.partition(2).len())), "{list}");
}

#[test]
fn after_kill_9_the_directory_is_clean() {
    let Some(mut broker) = Broker::start_configured(CONFIG) else { return };
    for round in 0..3 {
        let (topic, sent) = fill(&broker);
        // More is on its way when the broker ends.
        let busy = Producer::new(broker.bootstrap(), &topic, &[("linger.ms", "0"), ("message.timeout.ms", "1000")]);
        for (id, text) in numbered(&"late ".repeat(100), 2000).iter().enumerate() {
            busy.send(busy.record(id, text.as_bytes()));
        }
        broker.kill9();
        let (code, said) = verify(broker.data_dir());
        assert_eq!(code, Some(0), "round {round}: {said}");
        let list = stdout(&corelog_log(&["list", "--data-dir", path_str(broker.data_dir())]));
        assert!(list.contains(", needed"), "{list}");
        for file in damage::files(broker.data_dir()).iter().filter(|file| file.is_file()) {
            let output = corelog_log(&["dump", path_str(file)]);
            let expected = if damage::is_no_format(file) { 2 } else { 0 };
            assert_eq!(output.status.code(), Some(expected), "{}", file.display());
        }
        broker.restart();
        let read = crate::client::read_all(broker.bootstrap(), &topic, 3);
        for partition in 0..3 {
            let count = sent.partition(partition).len();
            let read = &read[partition as usize];
            assert!(read.len() >= count);
            assert_eq!(sent::as_sent(&read[..count]), sent.partition(partition));
        }
    }
}

#[test]
fn a_start_that_trims_and_a_deleted_topic_are_clean() {
    let config = format!("{CONFIG}log.retention.check.interval.ms = 50\n");
    let Some(mut broker) = Broker::start_configured(&config) else { return };
    let topic = unique("trimmed");
    let configs = [("segment.bytes", "1048576"), ("retention.bytes", "2000000")];
    try_create_topic(broker.bootstrap(), &topic, 1, &configs).expect("the topic is created");
    let large: Vec<String> = numbered("x", 24).iter().map(|text| ".".repeat(300_000) + text).collect();
    // A batch each, so that it is the broker that says which of them share a segment: three.
    let producer = Producer::new(broker.bootstrap(), &topic, &[("batch.num.messages", "1")]);
    for (id, value) in large.iter().enumerate() {
        producer.send(producer.record(id, value.as_bytes()).partition(0));
    }
    producer.finish();
    crate::harness::wait_for("the first segments to go", || {
        (crate::client::watermarks(broker.bootstrap(), &topic, 0) == (15, 24)).then_some(())
    });
    for _ in 0..2 {
        broker.kill9();
        let (code, said) = verify(broker.data_dir());
        assert_eq!(code, Some(0), "{said}");
        broker.restart();
    }
    broker.stop();
    assert_eq!(verify(broker.data_dir()).0, Some(0));
    let mut left = broker.data_dir().join("topics").join(format!("left-{}", "A".repeat(22)));
    left.push("0");
    std::fs::create_dir_all(&left).expect("a directory");
    std::fs::write(left.join("00000000000000000000.log"), "x").expect("a file");
    let (code, said) = verify(broker.data_dir());
    assert!(code == Some(0) && said.contains("the topic was deleted"), "{said}");
}

#[test]
fn a_directory_in_use_and_what_is_none_are_refused() {
    let Some(mut broker) = Broker::start_configured(CONFIG) else { return };
    create_topic(broker.bootstrap(), "used", 1);
    produce(broker.bootstrap(), "used", 0, &numbered("x", 3));
    let refused = |args: &[&str], says: &str| {
        let output = corelog_log(args);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(2), "{args:?}: {error}");
        assert!(error.starts_with("corelog: ") && error.trim_end().lines().count() == 1, "{args:?}: {error}");
        assert!(error.contains(says), "{args:?}: {error}");
    };
    let data_dir = broker.data_dir().to_path_buf();
    let data_dir_text = path_str(&data_dir);
    let journal = std::fs::read_dir(data_dir.join("journal/0")).expect("a journal").flatten();
    let journal: Vec<_> = journal.map(|entry| entry.path()).filter(|path| path.extension().is_some()).collect();
    for command in ["list", "verify"] {
        refused(&[command, "--data-dir", data_dir_text], "is in use by a running corelog; stop that one first");
    }
    refused(&["dump", path_str(&journal[0])], "is in use by a running corelog");
    refused(&["explain", path_str(&journal[0]), "--at", "1"], "is in use by a running corelog");
    broker.kill9();
    let empty = private_dir();
    refused(&["verify", "--data-dir", path_str(empty.path())], "not a data directory of corelog");
    refused(&["list", "--data-dir", "/does/not/exist"], "/does/not/exist: No such file or directory");
    refused(&["list", "--data-dir", path_str(&journal[0])], "not a directory");
    refused(&["dump", "/does/not/exist"], "No such file or directory");
    refused(&["dump", data_dir_text], "not a file");
    refused(&["explain", path_str(&journal[0])], "say which byte");
    refused(&["explain", &format!("{}@99999999", path_str(&journal[0]))], "is behind the end");
    let foreign = empty.path().join("notes.txt");
    std::fs::write(&foreign, "hello").expect("a file");
    refused(&["dump", path_str(&foreign)], "not a file of corelog");
    // Formats that a later corelog may write.
    let newer = |path: &Path, covered: usize| {
        let mut bytes = std::fs::read(path).expect("a file");
        bytes[8..10].copy_from_slice(&9u16.to_be_bytes());
        let crc = crc32c::crc32c(&bytes[..covered]);
        bytes[covered..covered + 4].copy_from_slice(&crc.to_be_bytes());
        std::fs::write(path, bytes).expect("write the file");
    };
    let checkpoint = data_dir.join("journal/0/checkpoint");
    let body = std::fs::read(&checkpoint).expect("a checkpoint");
    newer(&checkpoint, 16 + u32::from_be_bytes(body[12..16].try_into().expect("four bytes")) as usize);
    refused(&["verify", "--data-dir", data_dir_text], "has format version 9, this corelog reads version 1");
    refused(&["dump", path_str(&checkpoint)], "has format version 9");
    std::fs::write(&checkpoint, body).expect("write it back");
    newer(&journal[0], 28);
    refused(&["verify", "--data-dir", data_dir_text], "has format version 9, this corelog reads version 1");
    refused(&["dump", path_str(&journal[0])], "has format version 9");
}

#[test]
fn explain_names_each_byte() {
    let Some(mut broker) = Broker::start_configured(CONFIG) else { return };
    create_topic(broker.bootstrap(), "told", 1);
    produce(broker.bootstrap(), "told", 0, &["a value".to_owned()]);
    broker.stop();
    let explain = |file: &Path, at: usize| {
        let output = corelog_log(&["explain", &format!("{}@{at}", path_str(file))]);
        assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
        stdout(&output)
    };
    let files = damage::files(broker.data_dir());
    let find = |part: &str, end: &str| {
        let found = files.iter().find(|file| path_str(file).contains(part) && path_str(file).ends_with(end));
        found.unwrap_or_else(|| panic!("a file {part}…{end}"))
    };
    let log = find("told-", ".log");
    let value = std::fs::read(log).expect("a segment").windows(7).position(|bytes| bytes == b"a value").expect("there");
    for (file, at, says) in [
        (log, 0, "byte 0 of the 8 of the base offset of the record batch at 0 (offsets 0 to 0, 1 records"),
        (log, 22, "byte 1 of the 2 of the attributes"),
        (log, value + 2, "byte 2 of the value of the record of offset 0 of the record batch at 0"),
        (find("told-", ".index"), 12, "byte 0 of the 4 of the entry count of the index"),
        (find("told-", ".index"), 48 + 5, "byte 1 of the 4 of the position of entry 0 of 1"),
        (find("journal/0", ".journal"), 10, "byte 0 of the 2 of the shard of the file header"),
        (find("journal/0", ".journal"), 5000, "block 1 at 4096 (checksum matches)"),
        (find("journal/0", ".journal"), 4096 + 24, "byte 0 of the 8 of the sequence of the header of block 1"),
        (find("journal/0", ".journal"), 2_000_000, "zero: no block was written there"),
        (find("journal/0", "checkpoint"), 36, "byte 0 of the 16 of the topic id of partition "),
        (find("journal/0", "checkpoint"), 4095, "padding behind the checksum"),
    ] {
        let told = explain(file, at);
        assert!(told.contains(says), "{} {at}: {told}", file.display());
    }
    for file in files.iter().filter(|file| !damage::is_no_format(file)) {
        for at in (0..std::fs::metadata(file).expect("a file").len() as usize).step_by(997).take(20) {
            explain(file, at);
        }
    }
}
