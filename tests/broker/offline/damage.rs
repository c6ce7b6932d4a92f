//! Every used bit of a small data directory flipped, and every file of it cut, emptied, zeroed and exchanged: `verify`
//! sees it, nothing panics, and a broker that starts on it serves nothing but what was sent.

use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use corelog::offline::{Finding, OfflineError, Severity, Summary, dump, explain, list, verify};
use kafka_protocol::messages::FetchRequest;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::protocol::StrBytes;
use tempfile::TempDir;

use super::CONFIG;
use super::sent::{CODECS, Content, Records, Sent};
use crate::client::{create_topic, numbered, produce, read_all, texts};
use crate::harness::{Broker, private_dir, wait_for};
use crate::wire::Wire;

const TOPIC: &str = "small";
const PARTITIONS: i32 = 2;
/// A bit of so many is flipped, unless `CORELOG_FLIP_STRIDE` says otherwise. Odd, so that every bit of a byte is met.
const FLIP_STRIDE: usize = 29;
/// Flips on which a broker is started.
const BROKER_FLIPS: usize = 40;
/// Flips of bits that mean nothing.
const UNUSED_FLIPS: usize = 200;

/// All files below a directory, sorted.
pub fn files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).expect("a directory").flatten() {
        let path = entry.path();
        if path.is_dir() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}

/// Whether a file of a data directory is none of those that the tool reads.
pub fn is_no_format(file: &Path) -> bool {
    file.ends_with("lock") || file.ends_with(".direct-io-probe") || file.ends_with("reserve")
}

/// A data directory, and what is in it.
struct Made {
    home: TempDir,
    sent: Sent,
    killed: bool,
}

impl Made {
    /// Made by a broker that was stopped, or killed.
    fn new(killed: bool) -> Option<Made> {
        let mut broker = Broker::start_configured(CONFIG)?;
        create_topic(broker.bootstrap(), TOPIC, PARTITIONS);
        let mut sent = Sent::default();
        for (round, codec) in CODECS.iter().enumerate() {
            sent.produce(&broker, TOPIC, PARTITIONS, codec, round, 3, 60);
        }
        if killed {
            broker.kill9()
        } else {
            broker.stop()
        }
        let home = private_dir();
        copy(broker.data_dir(), home.path());
        Some(Made { home, sent, killed })
    }

    fn path(&self) -> &Path {
        self.home.path()
    }

    /// A directory of its own with the same files.
    fn copied(&self) -> TempDir {
        let home = private_dir();
        copy(self.path(), home.path());
        home
    }

    /// The bits whose change must be told: file, relative to the directory, bit, and whether it is damage.
    fn used_bits(&self) -> Vec<(PathBuf, usize, bool)> {
        let mut bits = Vec::new();
        for file in files(self.path()) {
            let bytes = std::fs::read(&file).expect("a file");
            let name = file.strip_prefix(self.path()).expect("below it").to_path_buf();
            for (range, is_damage) in used(&file, &bytes, self.killed) {
                bits.extend((range.start * 8..range.end * 8).map(|bit| (name.clone(), bit, is_damage)));
            }
        }
        bits
    }
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).expect("below it"));
        std::fs::create_dir_all(target.parent().expect("a parent")).expect("a directory");
        std::fs::copy(&file, target).expect("copy a file");
    }
}

/// The segment of the topic's partition 0.
fn small_segment(data_dir: &Path) -> PathBuf {
    let is_it = |file: &PathBuf| {
        let text = file.to_string_lossy();
        text.contains(&format!("/topics/{TOPIC}-")) && text.ends_with("/0/00000000000000000000.log")
    };
    files(data_dir).into_iter().find(is_it).expect("the partition's segment")
}

fn number(bytes: &[u8], range: Range<usize>) -> u64 {
    bytes[range].iter().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// The parts of a file that mean something, by the formats' tables; whether their change is damage.
fn used(file: &Path, bytes: &[u8], killed: bool) -> Vec<(Range<usize>, bool)> {
    let name = file.file_name().and_then(std::ffi::OsStr::to_str).expect("a name");
    if is_no_format(file) || bytes.is_empty() {
        return Vec::new();
    }
    if name.ends_with(".log") {
        // After a kill the segments are copies of what the journal has.
        return if killed { Vec::new() } else { vec![(0..bytes.len(), true)] };
    }
    if name.ends_with(".index") {
        return vec![(0..48 + 16 * number(bytes, 12..16) as usize + 4, false)];
    }
    if name == "checkpoint" {
        return vec![(0..16 + number(bytes, 12..16) as usize + 4, true)];
    }
    assert!(name.ends_with(".journal"), "{name}");
    let mut used = vec![(0..32, true)];
    let mut blocks = Vec::new();
    let mut at = 4096;
    while killed && bytes[at..].starts_with(b"cBLK") {
        let end = at + 40 + number(bytes, at + 12..at + 16) as usize;
        blocks.push((at..end, number(bytes, at + 24..at + 32), number(bytes, at + 32..at + 40)));
        at = end.next_multiple_of(4096);
    }
    for (index, (range, sequence, _)) in blocks.iter().enumerate() {
        let proven = blocks[index + 1..].iter().any(|(_, _, watermark)| watermark >= sequence);
        used.push((range.clone(), proven));
    }
    used
}

/// `verify` in this process; its findings.
fn verified(directory: &Path) -> Result<(Summary, Vec<Finding>), OfflineError> {
    let mut findings = Vec::new();
    let summary = verify(directory, &mut |finding| {
        findings.push(finding.clone());
        Ok(())
    })?;
    Ok((summary, findings))
}

fn flip(file: &Path, bit: usize) {
    use std::os::unix::fs::FileExt;
    let file = std::fs::File::options().read(true).write(true).open(file).expect("open a file");
    let mut byte = [0];
    file.read_exact_at(&mut byte, bit as u64 / 8).expect("read a byte");
    byte[0] ^= 1 << (bit % 8);
    file.write_all_at(&byte, bit as u64 / 8).expect("write a byte");
}

fn next(seed: &mut u64) -> usize {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed as usize
}

fn flips_are_told(made: &Made) {
    let (clean, findings) = verified(made.path()).expect("a data directory");
    assert_eq!(findings, []);
    let stride = std::env::var("CORELOG_FLIP_STRIDE").map_or(FLIP_STRIDE, |text| text.parse().expect("a number"));
    let bits = made.used_bits();
    let checked: Vec<_> = bits.iter().step_by(stride).collect();
    std::thread::scope(|scope| {
        for part in checked.chunks(checked.len().div_ceil(2)) {
            let copy = made.copied();
            scope.spawn(move || {
                for (name, bit, is_damage) in part {
                    let file = copy.path().join(name);
                    flip(&file, *bit);
                    let place = format!("{} bit {bit}", name.display());
                    let outcome = verified(copy.path()).unwrap_or_else(|error| panic!("{place}: {error}"));
                    assert!(!outcome.1.is_empty(), "{place} is not told");
                    assert!(!is_damage || outcome.0.damage > 0, "{place} is damage: {:?}", outcome.1);
                    let named =
                        outcome.1.iter().any(|finding| finding.file.starts_with(file.parent().expect("a parent")));
                    assert!(named, "{place}: none of the findings is about it: {:?}", outcome.1);
                    flip(&file, *bit);
                }
            });
        }
    });
    // What means nothing: the rest of the files.
    let copy = made.copied();
    let used: std::collections::HashSet<_> = bits.iter().map(|(name, bit, _)| (name.clone(), *bit)).collect();
    let all: Vec<(PathBuf, usize)> = files(copy.path())
        .iter()
        .map(|file| (file.clone(), std::fs::metadata(file).expect("a file").len() as usize * 8))
        .filter(|(_, bits)| *bits > 0)
        .collect();
    let mut seed = 0x5eed;
    for _ in 0..UNUSED_FLIPS {
        let (file, bits) = &all[next(&mut seed) % all.len()];
        let bit = next(&mut seed) % bits;
        if used.contains(&(file.strip_prefix(copy.path()).expect("below it").to_path_buf(), bit)) {
            continue;
        }
        flip(file, bit);
        let (summary, findings) = verified(copy.path()).expect("a data directory");
        assert_eq!(summary.damage, 0, "{} bit {bit}: {findings:?}", file.display());
        assert_eq!((summary.batches, summary.journal_blocks), (clean.batches, clean.journal_blocks));
        flip(file, bit);
    }
    eprintln!("{} of {} used bits were flipped", checked.len(), bits.len());
}

#[test]
fn each_flipped_bit_of_a_stopped_directory_is_told() {
    if let Some(made) = Made::new(false) {
        flips_are_told(&made);
    }
}

#[test]
fn each_flipped_bit_of_a_killed_directory_is_told() {
    if let Some(made) = Made::new(true) {
        flips_are_told(&made);
    }
}

/// What a broker serves of a partition: each offset that it gave, and whether it refused any.
fn served(wire: &mut Wire, partition: i32) -> (Vec<(i64, Content)>, i64, bool) {
    let (mut offset, mut end, mut refused) = (0, 1, false);
    let mut seen = Vec::new();
    while offset < end {
        let mut wanted = FetchPartition::default();
        (wanted.partition, wanted.fetch_offset, wanted.partition_max_bytes) = (partition, offset, 1);
        wanted.current_leader_epoch = -1;
        let mut topic = FetchTopic::default();
        (topic.topic, topic.partitions) = (StrBytes::from_static_str(TOPIC).into(), vec![wanted]);
        let mut request = FetchRequest::default();
        (request.max_bytes, request.topics, request.session_epoch) = (500_000, vec![topic], -1);
        let response = wire.call(12, &request);
        let answer = &response.responses[0].partitions[0];
        if answer.error_code != 0 {
            if answer.high_watermark <= offset {
                return (seen, offset, true);
            }
            (offset, end, refused) = (offset + 1, answer.high_watermark, true);
            continue;
        }
        end = answer.high_watermark;
        let bytes = answer.records.clone().unwrap_or_default();
        let before = offset;
        for batch in corelog::record::split_batches(&bytes) {
            let (header, batch) = batch.expect("whole batches are served");
            assert!(corelog::record::verify_crc(&batch), "a batch with a wrong checksum is served");
            for record in corelog::record::records(&batch).expect("records").map(|record| record.expect("a record")) {
                if record.offset >= offset {
                    let part = |part: Option<Bytes>| part.unwrap_or_default().to_vec();
                    seen.push((record.offset, (part(record.key), part(record.value))));
                }
            }
            offset = header.next_offset();
        }
        assert!(offset > before || offset >= end, "a fetch below the high watermark gives records or an error");
    }
    (seen, end, refused)
}

/// Starts a broker on a damaged directory, and holds it to what was sent. Whether it started, and served all.
fn serves_nothing_wrong(place: &str, directory: &Path, made: &Made) -> (bool, bool) {
    let broker = match Broker::open(directory, CONFIG) {
        Ok(broker) => broker,
        Err(log) => {
            let last = log.lines().last().unwrap_or_default();
            assert!(last.starts_with("corelog: ") && !log.contains("panicked"), "{place}: no clear message:\n{log}");
            return (false, false);
        }
    };
    let mut wire = Wire::connect(broker.bootstrap());
    let mut all = true;
    for partition in 0..PARTITIONS {
        let sent: Records = made.sent.partition(partition);
        let (seen, end, refused) = served(&mut wire, partition);
        for (offset, content) in &seen {
            let expected = usize::try_from(*offset).ok().and_then(|offset| sent.get(offset));
            assert_eq!(Some(content), expected, "{place}: partition {partition} offset {offset}");
        }
        assert!(seen.windows(2).all(|pair| pair[0].0 < pair[1].0), "{place}: offsets rise");
        // What is missing below the end was refused.
        assert!(refused || seen.len() as i64 == end, "{place}: partition {partition}: {} of {end}", seen.len());
        all &= seen.len() == sent.len();
    }
    assert!(!broker.log().iter().any(|line| line.contains("panicked")), "{place}: {:?}", broker.log());
    (true, all)
}

#[test]
fn a_broker_on_flipped_bits_serves_nothing_wrong() {
    let Some(stopped) = Made::new(false) else { return };
    let Some(killed) = Made::new(true) else { return };
    let bits = [stopped.used_bits(), killed.used_bits()];
    let mut seed = 0xb17_f11b;
    let (mut started, mut complete) = (0, 0);
    for round in 0..BROKER_FLIPS {
        let made = [&stopped, &killed][round % 2];
        // By file first, so that the small ones get their share.
        let mut names: Vec<&PathBuf> = bits[round % 2].iter().map(|(name, ..)| name).collect();
        names.dedup();
        let name = names[next(&mut seed) % names.len()];
        let of_file: Vec<_> = bits[round % 2].iter().filter(|(other, ..)| other == name).collect();
        let (_, bit, _) = of_file[next(&mut seed) % of_file.len()];
        let copy = made.copied();
        flip(&copy.path().join(name), *bit);
        let (summary, findings) = verified(copy.path()).expect("a data directory");
        let place = format!("round {round}, {} bit {bit}", name.display());
        let (starts, all) = serves_nothing_wrong(&place, copy.path(), made);
        if summary.damage == 0 {
            let torn = findings.iter().any(|finding| finding.what.contains("is torn"));
            assert!(starts && (all || torn), "{place} was no damage: {findings:?}");
        }
        started += usize::from(starts);
        complete += usize::from(all);
    }
    eprintln!("of {BROKER_FLIPS} flips the broker started on {started}, and served everything on {complete}");
    assert!(started > 0 && started < BROKER_FLIPS);
}

#[test]
fn a_broker_does_not_serve_a_batch_at_a_wrong_offset() {
    let Some(made) = Made::new(false) else { return };
    for (bytes, bit) in [(0, 9), (0, 40), (0, 63), (1, 62), (1, 57)] {
        let copy = made.copied();
        let log = small_segment(copy.path());
        let second = 12 + number(&std::fs::read(&log).expect("a file"), 8..12) as usize;
        flip(&log, bytes * second * 8 + bit);
        let (started, all) = serves_nothing_wrong(&format!("batch {bytes}, bit {bit}"), copy.path(), &made);
        assert!(started && !all);
        // The same without the index, which knows the right offsets.
        std::fs::remove_file(log.with_extension("index")).expect("an index");
        let (started, all) = serves_nothing_wrong(&format!("batch {bytes}, bit {bit}, no index"), copy.path(), &made);
        assert!(started && !all);
    }
}

#[test]
fn a_lost_checkpoint_or_journal_header_is_refused_and_told() {
    for killed in [false, true] {
        let Some(made) = Made::new(killed) else { return };
        let refuses = |file: &str, harm: &dyn Fn(&Path)| {
            let copy = made.copied();
            harm(&copy.path().join(file));
            let (summary, findings) = verified(copy.path()).expect("a data directory");
            assert!(summary.damage > 0, "{file}: {findings:?}");
            let log = Broker::open(copy.path(), CONFIG).err().unwrap_or_else(|| panic!("{file}: the broker started"));
            let last = log.lines().last().unwrap_or_default();
            assert!(last.starts_with("corelog: ") && last.contains(file) && last.contains("from a copy"), "{last}");
        };
        refuses("journal/0/checkpoint", &|file| std::fs::remove_file(file).expect("remove the checkpoint"));
        refuses("journal/0/00000001.journal", &|file| {
            let mut bytes = std::fs::read(file).expect("a journal file");
            bytes[..4096].fill(0);
            std::fs::write(file, bytes).expect("write the file");
        });
    }
}

#[test]
fn segments_that_ran_ahead_of_a_lost_journal_do_not_come_back() {
    // Segments are written without waiting for the journal, so that a crash can leave some that it knows nothing of.
    let Some(mut broker) = Broker::start_configured("corelog.journal.files = 2\n") else { return };
    // Longer than what is written at once, so that something of each segment is written.
    let configs = [("segment.bytes", "2000000")];
    crate::client::try_create_topic(broker.bootstrap(), TOPIC, 1, &configs).expect("the topic is created");
    produce(broker.bootstrap(), TOPIC, 0, &numbered("first", 1));
    broker.stop();
    broker.restart();
    let large: Vec<String> = numbered("x", 30).iter().map(|text| ".".repeat(300_000) + text).collect();
    produce(broker.bootstrap(), TOPIC, 0, &large);
    let topics = broker.data_dir().join("topics");
    let is_segment =
        |file: &PathBuf| file.to_string_lossy().contains("/small-") && file.extension() == Some("log".as_ref());
    wait_for("segments to be written", || (files(&topics).into_iter().filter(is_segment).count() >= 4).then_some(()));
    broker.kill9();
    let journals = files(&broker.data_dir().join("journal"));
    for file in journals.iter().filter(|file| file.extension().is_some()) {
        let len = std::fs::metadata(file).expect("a file").len();
        std::fs::write(file, vec![0; len as usize]).expect("write the file");
    }
    let (summary, findings) = verified(broker.data_dir()).expect("a data directory");
    assert_eq!(summary.damage, 0, "{findings:?}");
    let ahead = findings.iter().any(|finding| finding.what.contains("neither the checkpoint nor the journal has"));
    assert!(ahead, "{findings:?}");
    broker.restart();
    let more = numbered("more", 20);
    produce(broker.bootstrap(), TOPIC, 0, &more);
    broker.stop();
    let (summary, findings) = verified(broker.data_dir()).expect("a data directory");
    assert_eq!((summary.damage, findings), (0, Vec::new()));
    broker.restart();
    assert_eq!(texts(&read_all(broker.bootstrap(), TOPIC, 1)[0]), [numbered("first", 1), more].concat());
}

#[test]
fn cut_emptied_zeroed_and_foreign_files_are_told_and_nothing_panics() {
    for killed in [false, true] {
        let Some(made) = Made::new(killed) else { return };
        for file in files(made.path()).iter().filter(|file| !file.ends_with("lock")) {
            let whole = std::fs::read(file).expect("a file");
            let used: Vec<_> = used(file, &whole, killed);
            let Some(end) = used.iter().map(|(range, _)| range.end).max() else { continue };
            let zeroed = vec![0; whole.len()];
            let head_zeroed = [&[0; 4096][..], whole.get(4096..).unwrap_or_default()].concat();
            let foreign: Vec<u8> = b"#!/bin/sh\necho hello\n".iter().copied().cycle().take(whole.len()).collect();
            let mut kinds = vec![("foreign", foreign), ("head zeroed", head_zeroed), ("emptied", Vec::new())];
            for cut in [1, end / 2, end - 1] {
                kinds.push(("cut", whole[..cut].to_vec()));
            }
            kinds.push(("zeroed", zeroed));
            for (kind, bytes) in kinds {
                std::fs::write(file, &bytes).expect("write the file");
                let place = format!("{} {kind} to {} bytes", file.display(), bytes.len());
                let (summary, findings) = verified(made.path()).unwrap_or_else(|error| panic!("{place}: {error}"));
                let is_journal = file.extension().is_some_and(|extension| extension == "journal");
                // An empty or zero journal file is what a crash leaves before its first use.
                let unused = is_journal && bytes.iter().all(|&byte| byte == 0);
                assert!(!findings.is_empty() || unused, "{place} is not told");
                // A journal cut in its last block has a torn end, and one that is free needs only its header.
                let must = used.iter().any(|(range, is_damage)| *is_damage && range.end > bytes.len());
                let torn = is_journal && bytes.len() > 32;
                assert!(summary.damage > 0 || !must || unused || torn, "{place} is damage: {findings:?}");
                let silent = AssertUnwindSafe(|| {
                    let mut out = Vec::new();
                    let results = [dump(file, true, &mut out), explain(file, 5, &mut out), list(made.path(), &mut out)];
                    results.map(|result| result.map_err(|error| error.to_string()))
                });
                let results = std::panic::catch_unwind(silent).unwrap_or_else(|_| panic!("{place}: a panic"));
                assert!(results[2].is_ok(), "{place}: {results:?}");
                for error in results.into_iter().filter_map(Result::err) {
                    assert!(error.contains(file.to_str().expect("UTF-8")) && !error.contains('\n'), "{place}: {error}");
                }
            }
            std::fs::remove_file(file).expect("remove the file");
            let (summary, findings) = verified(made.path()).expect("a data directory");
            let is_log = file.extension().is_some_and(|extension| extension == "log");
            if file.ends_with("checkpoint") || is_log {
                assert!(summary.damage > 0, "{} removed: {findings:?}", file.display());
            }
            std::fs::write(file, &whole).expect("write it back");
        }
        // Where the broker was killed early there are no segments yet.
        std::fs::create_dir_all(made.path().join("topics")).expect("a directory");
        std::fs::write(made.path().join("topics/notes.txt"), "hello").expect("a file");
        std::fs::write(made.path().join("journal/0/notes.txt"), "hello").expect("a file");
        let (summary, findings) = verified(made.path()).expect("a data directory");
        assert_eq!(summary.damage, 0, "{findings:?}");
        assert!(findings.iter().all(|finding| finding.severity == Severity::Note));
        assert_eq!(findings.len(), 2, "{findings:?}");
    }
}

#[test]
fn damage_of_the_journal_names_the_partitions_and_offsets() {
    let Some(made) = Made::new(true) else { return };
    // The first block with a record of the topic, in whichever shard's journal.
    let journals = files(made.path()).into_iter().filter(|file| file.extension() == Some("journal".as_ref()));
    let mut tried = 0;
    for journal in journals {
        let bytes = std::fs::read(&journal).expect("a file");
        let Some(record) = bytes.windows(5).position(|window| window == b"key\t0") else { continue };
        let proven =
            used(&journal, &bytes, true).iter().any(|(range, is_damage)| range.contains(&record) && *is_damage);
        assert!(proven, "later blocks say that it was acknowledged");
        flip(&journal, record * 8);
        let (summary, findings) = verified(made.path()).expect("a data directory");
        assert!(summary.damage >= 2, "{findings:?}");
        let own = findings.iter().filter(|finding| finding.file == journal && finding.severity == Severity::Damage);
        let named = own.filter(|finding| {
            finding.position == Some(record as u64 / 4096 * 4096)
                && finding.partition.as_ref().is_some_and(|(topic, _)| topic == TOPIC)
                && finding.offsets.is_some_and(|(first, last)| first == 0 && last == 14)
        });
        assert!(named.count() >= 1, "{findings:?}");
        flip(&journal, record * 8);
        tried += 1;
    }
    assert!(tried > 0, "the first record is in a journal");
}

#[test]
fn a_damaged_batch_in_the_middle_is_told_alone() {
    let Some(made) = Made::new(false) else { return };
    let log = small_segment(made.path());
    let second = 12 + number(&std::fs::read(&log).expect("a file"), 8..12) as usize;
    flip(&log, (second + 70) * 8);
    let (summary, findings) = verified(made.path()).expect("a data directory");
    assert_eq!((summary.damage, summary.notes), (1, 0), "{findings:?}");
    let told = findings[0].to_string();
    assert!(
        told.starts_with(&format!("damage: {} at byte {second}, topic {TOPIC} partition 0, offset", log.display()))
    );
    assert!(told.contains("the record batch does not match its checksum"), "{told}");
}
