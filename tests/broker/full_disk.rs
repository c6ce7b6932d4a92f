//! A disk that is really full: a small file system of the test's own, which needs root to be mounted.

use std::path::{Path, PathBuf};
use std::process::Command;

use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use tempfile::TempDir;

use crate::client::{Ack, Producer, admin, admin_options, block_on, numbered, produce, read_all, try_create_topic};
use crate::harness::{Broker, path_str, private_dir, unique, wait_for};

/// The file system's size: room for the journals and reserves of two shards, and some tens of MB of records.
const DISK_BYTES: u64 = 96 << 20;
/// Bytes of a value.
const VALUE_BYTES: usize = 100_000;
/// Records sent before their answers are looked at.
const ROUND: usize = 8;

/// A small ext4 in a file, mounted until it is dropped.
struct SmallDisk {
    mounted: PathBuf,
    _home: TempDir,
}

impl SmallDisk {
    /// `None`, and a note, when this machine or this user cannot mount one.
    fn mount() -> Option<SmallDisk> {
        let home = private_dir();
        let (image, mounted) = (home.path().join("image"), home.path().join("mounted"));
        std::fs::File::create(&image).and_then(|file| file.set_len(DISK_BYTES)).expect("a sparse file");
        std::fs::create_dir(&mounted).expect("a directory");
        let made = run("mkfs.ext4", &["-q", "-m", "0", path_str(&image)])
            .and_then(|()| run("mount", &["-o", "loop", path_str(&image), path_str(&mounted)]));
        match made {
            Ok(()) => Some(SmallDisk { mounted, _home: home }),
            Err(error) => {
                eprintln!("left out: this test mounts a small file system, and cannot here: {error}");
                None
            }
        }
    }

    fn path(&self) -> &Path {
        &self.mounted
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily, should anything still be open.
        if let Err(error) = run("umount", &["-l", path_str(&self.mounted)]) {
            eprintln!("{} stays mounted: {error}", self.mounted.display());
        }
    }
}

fn run(program: &str, args: &[&str]) -> Result<(), String> {
    let output = Command::new(program).args(args).output().map_err(|error| format!("{program}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr).trim())),
    }
}

fn value(id: usize) -> Vec<u8> {
    let mut value = format!("{id:010}").into_bytes();
    value.resize(VALUE_BYTES, b'.');
    value
}

/// A producer that reports an error at once, and its numbers.
struct Filler {
    producer: Producer,
    sent: usize,
}

impl Filler {
    fn new(broker: &Broker, topic: &str) -> Filler {
        let producer = Producer::new(broker.bootstrap(), topic, &[("retries", "0"), ("linger.ms", "0")]);
        Filler { producer, sent: 0 }
    }

    /// Sends some records; the errors that they met.
    fn round(&mut self) -> Vec<KafkaError> {
        let before = self.producer.errors().len();
        for _ in 0..ROUND {
            let value = value(self.sent);
            self.producer.send(self.producer.record(self.sent, &value).partition(0));
            self.sent += 1;
        }
        self.producer.flush();
        self.producer.errors().split_off(before)
    }

    /// Sends until the disk is full.
    fn fill(&mut self) {
        let rounds_max = self.sent + 2 * DISK_BYTES as usize / VALUE_BYTES;
        while self.sent < rounds_max {
            let errors = self.round();
            if !errors.is_empty() {
                assert_storage_errors(&errors);
                return;
            }
        }
        panic!("the disk took twice its size");
    }

    /// Sends until appends are taken again.
    fn until_taken(&mut self) {
        wait_for("produces to be taken again", || {
            let errors = self.round();
            assert_storage_errors(&errors);
            errors.is_empty().then_some(())
        });
    }
}

fn assert_storage_errors(errors: &[KafkaError]) {
    let storage = KafkaError::MessageProduction(RDKafkaErrorCode::KafkaStorageError);
    assert!(errors.iter().all(|error| *error == storage), "{errors:?}");
}

/// Every acknowledged record from offset `start` on is at its offset, byte for byte.
fn assert_all_there(broker: &Broker, topic: &str, acks: &[Ack], start: i64) {
    let seen = read_all(broker.bootstrap(), topic, 1).remove(0);
    for ack in acks.iter().filter(|ack| ack.offset >= start) {
        let found = seen.iter().find(|seen| seen.offset == ack.offset);
        let found = found.unwrap_or_else(|| panic!("{topic} has nothing at {}, which was acknowledged", ack.offset));
        assert!(found.text().as_bytes() == value(ack.id), "{topic} has something else at {}", ack.offset);
    }
}

fn delete_before(broker: &Broker, topic: &str, offset: i64) {
    let mut list = TopicPartitionList::new();
    list.add_partition_offset(topic, 0, Offset::Offset(offset)).expect("a valid offset");
    block_on(admin(broker.bootstrap()).delete_records(&list, &admin_options())).expect("an answer to DeleteRecords");
}

#[test]
fn a_full_disk_refuses_produces_and_nothing_else_and_takes_them_again_when_it_has_room() {
    let Some(disk) = SmallDisk::mount() else { return };
    let config = "corelog.journal.file.bytes = 2097152\ncorelog.journal.files = 4\n";
    let Some(mut broker) = Broker::start_configured_in(config, &disk.path().join("data")) else { return };
    let (small, large) = (unique("small"), unique("large"));
    for topic in [&small, &large] {
        try_create_topic(broker.bootstrap(), topic, 1, &[("segment.bytes", "1048576")]).expect("the topic is created");
    }
    produce(broker.bootstrap(), &small, 0, &numbered("kept", 100));

    let mut filler = Filler::new(&broker, &large);
    filler.fill();
    assert_all_there(&broker, &large, &filler.producer.acks(), 0);
    assert_storage_errors(&filler.round());

    // A crash, and a clean stop, with no room.
    broker.kill9();
    broker.restart();
    assert_all_there(&broker, &large, &filler.producer.acks(), 0);
    filler.fill();
    broker.stop();
    broker.restart();
    assert_all_there(&broker, &large, &filler.producer.acks(), 0);
    filler.fill();

    // Room by DeleteRecords, without a restart.
    let last = filler.producer.acks().iter().map(|ack| ack.offset).max().expect("some were acknowledged");
    delete_before(&broker, &large, last - 50);
    filler.until_taken();
    assert_all_there(&broker, &large, &filler.producer.acks(), last - 50);

    // Room by deleting a topic.
    filler.fill();
    let deleted = block_on(admin(broker.bootstrap()).delete_topics(&[&large], &admin_options()));
    deleted.expect("an answer to DeleteTopics").remove(0).expect("the topic is deleted");
    let mut other = Filler::new(&broker, &small);
    other.until_taken();
    broker.kill9();
    broker.restart();
    assert_all_there(&broker, &small, &other.producer.acks(), 100);
    let kept: Vec<String> =
        read_all(broker.bootstrap(), &small, 1)[0].iter().take(100).map(|seen| seen.text()).collect();
    assert_eq!(kept, numbered("kept", 100));
}
