//! Seeded histories of compaction on the simulated disk: keyed batches and tombstones are appended while the logs are
//! compacted, read, and trimmed, until a crash at any operation; then recovery, which may crash too, and again. Held
//! against a plain model, the list of records that were sent:
//!
//! 1. what is in the log was sent, as it is there, at its offset, once, in order;
//! 2. the last acknowledged record of each key is there, unless it is a tombstone whose time is over; a record is gone only
//!    when a newer one of its key was sent, or it had no key;
//! 3. a value that a tombstone or a newer value has replaced does not become the last one again;
//! 4. a reader gets from the start to the end, whatever gaps there are, and at the end of each history compaction leaves
//!    one record of each key in what it has cleaned, and no file that is none of the log's.
//!
//! `CORELOG_HISTORIES=n` runs n seeds instead of the default; `CORELOG_HISTORY_SEED=s` runs one, to look at.
#![allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "a test may fail loudly")]

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use corelog::disk::Disk;
use corelog::disk::sim::{CrashPoint, Random, SimDisk, SimExecutor, SimOptions};
use corelog::record::{BatchBuilder, BatchHeader, Compression, Record, records, split_batches};
use corelog::storage::compaction::{Cleaning, CompactionBounds, CompactionRules, Inline};
use corelog::storage::journal::commit::Commit;
use corelog::storage::journal::writer::JournalOptions;
use corelog::storage::log::{Log, Rolling};
use corelog::storage::recovery::{Recovery, RecoveryError, Replay, ShardSeed};
use corelog::storage::{Loop, Storage, StorageOptions};
use corelog::vocabulary::{Offset, PartitionId, ShardId, TopicId};

const DEFAULT_HISTORIES: u64 = 60;
const PARTITIONS: i32 = 3;
const DATA_DIR: &str = "/data";
/// How long tombstones stay, milliseconds of the simulation's time.
const TOMBSTONES_STAY_MS: i64 = 20;

fn partition(index: i32) -> PartitionId {
    PartitionId { topic_id: TopicId([9; 16]), index }
}

fn directory(id: PartitionId) -> PathBuf {
    PathBuf::from(format!("topics/t-{}/{}", id.topic_id, id.index))
}

/// No state above the log.
struct Nothing;

impl Replay for Nothing {
    fn directory(&self, id: PartitionId) -> Option<PathBuf> {
        Some(directory(id))
    }

    fn restore(&mut self, _: PartitionId, _: &[u8]) -> Result<(), String> {
        Ok(())
    }

    fn apply(&mut self, _: PartitionId, _: &BatchHeader, _: Offset) {}

    fn snapshot(&self, _: PartitionId) -> Bytes {
        Bytes::new()
    }
}

struct Sent {
    offset: Offset,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    timestamp: i64,
    acknowledged: bool,
}

/// A partition: all that was sent, and where its start was raised to.
#[derive(Default)]
struct Modelled {
    sent: Vec<Sent>,
    start: Offset,
    start_asked: Offset,
    next_value: u64,
}

type Model = Rc<RefCell<BTreeMap<i32, Modelled>>>;

struct History {
    seed: u64,
    random: Random,
    options: StorageOptions,
    shards: usize,
    executor: SimExecutor,
    disk: SimDisk,
    model: Model,
    /// What all compactions of the history did.
    cleaned: Rc<RefCell<Vec<Cleaning>>>,
}

async fn recover(disk: SimDisk, segment_bytes: u64, shards: usize) -> Result<Vec<ShardSeed>, RecoveryError> {
    let mut recovery = Recovery::open(disk, Path::new(DATA_DIR), segment_bytes, false).await?;
    recovery.replay(|_| true, &mut Nothing).await?;
    recovery.finish(shards, |id| Some(owner(id, shards)), &Nothing).await
}

fn owner(id: PartitionId, shards: usize) -> ShardId {
    ShardId((id.index as usize % shards) as u16)
}

impl History {
    fn new(seed: u64) -> History {
        let mut random = Random::new(seed);
        let executor = SimExecutor::new(seed);
        let disk = SimDisk::new(&executor.clock(), seed, SimOptions::default());
        disk.install_dir(Path::new(DATA_DIR)).unwrap();
        let journal = JournalOptions {
            file_bytes: 4096 * (12 + random.below(20)),
            files_max: 2 + random.index(3),
            block_bytes_max: 1024 + random.index(16 << 10),
        };
        let options = StorageOptions {
            journal,
            cache_bytes: random.index(64 << 10),
            segment_bytes: 4000 + random.below(12_000),
            open_files_max: 1 + random.index(6),
        };
        let (model, cleaned) = (Rc::default(), Rc::default());
        History { seed, random, options, shards: 1, executor, disk, model, cleaned }
    }

    fn run(&mut self) {
        for round in 0..3 {
            self.shards = 1 + self.random.index(2);
            let storages = self.recover();
            self.check(&storages);
            let clean = self.random.below(5) == 0;
            if !clean {
                let operation = 1 + self.random.below(if round == 0 { 600 } else { 1500 });
                self.disk.plan_crash(CrashPoint::Operation(self.disk.operations() + operation));
            }
            self.work(&storages, clean);
            drop(storages);
            self.executor.abandon_tasks();
            self.disk = if self.random.below(4) == 0 { self.disk.kill() } else { self.disk.crash() };
        }
        let storages = self.recover();
        self.check(&storages);
        self.compact_to_the_end(&storages);
        self.check(&storages);
        drop(storages);
        self.executor.abandon_tasks();
    }

    /// Recovers, over crashes, and starts the shards.
    fn recover(&mut self) -> Vec<Storage<SimDisk>> {
        let (segment_bytes, shards) = (self.options.segment_bytes, self.shards);
        let seeds = loop {
            if self.random.below(3) == 0 {
                let operation = 1 + self.random.below(60);
                self.disk.plan_crash(CrashPoint::Operation(self.disk.operations() + operation));
            }
            match self.executor.run_until_or_crash(&self.disk, recover(self.disk.clone(), segment_bytes, shards)) {
                Some(Ok(seeds)) => break seeds,
                Some(Err(error)) => panic!("seed {}: recovery failed: {error}", self.seed),
                None => {
                    self.executor.abandon_tasks();
                    self.disk = self.disk.crash();
                }
            }
        };
        // A crash that was planned and not reached must not strike while the test looks at the result.
        self.disk.plan_crash(CrashPoint::Operation(u64::MAX));
        let mut storages = Vec::new();
        for seed in seeds {
            let (disk, options) = (self.disk.clone(), self.options.clone());
            let start = Storage::start(disk, Path::new(DATA_DIR), options, seed, Rc::new(|_| Bytes::new()));
            let (storage, loops): (Storage<SimDisk>, Vec<Loop>) = self.executor.run_until(start).expect("no faults");
            for future in loops {
                self.executor.spawn(future);
            }
            storages.push(storage);
        }
        storages
    }

    fn log(&self, storages: &[Storage<SimDisk>], index: i32) -> (Storage<SimDisk>, Rc<Log<SimDisk>>) {
        let id = partition(index);
        let storage = storages[owner(id, self.shards).index()].clone();
        let log = storage.open_log(id, &directory(id));
        (storage, log)
    }

    /// Reads everything and holds it against the model, which then forgets what did not survive.
    fn check(&mut self, storages: &[Storage<SimDisk>]) {
        for index in 0..PARTITIONS {
            let (storage, log) = self.log(storages, index);
            let end = log.durable().offset;
            {
                let mut model = self.model.borrow_mut();
                let modelled = model.entry(index).or_default();
                let survivors = modelled.sent.iter().take_while(|sent| sent.offset < end).count();
                let lost = modelled.sent[survivors..].iter().find(|sent| sent.acknowledged);
                assert!(lost.is_none(), "seed {}: partition {index} ends at {end}", self.seed);
                modelled.sent.truncate(survivors);
                modelled.sent.iter_mut().for_each(|sent| sent.acknowledged = true);
                let bounds = modelled.start..=modelled.start_asked;
                assert!(bounds.contains(&log.start()), "seed {}: partition {index}: its start", self.seed);
                (modelled.start, modelled.start_asked) = (log.start(), log.start());
            }
            let max_bytes = 1 + self.random.index(20_000);
            let found = self.executor.run_until(read_all(&storage, &log, log.start(), max_bytes));
            check_records(&self.model.borrow()[&index], &found, log.start(), &format!("seed {}: {index}", self.seed));
        }
    }

    /// Appends, reads, compacts and trims until the crash, or for a while and then stops cleanly.
    fn work(&mut self, storages: &[Storage<SimDisk>], clean: bool) {
        let mut tasks = Vec::new();
        for index in 0..PARTITIONS {
            let (storage, log) = self.log(storages, index);
            log.set_rolling(Rolling { bytes: self.options.segment_bytes, after_ms: Some(1_000_000_000) });
            let cleaner = Cleaner {
                storage: storage.clone(),
                log: log.clone(),
                random: self.random.fork(),
                cleaned: self.cleaned.clone(),
            };
            self.executor.spawn(cleaner.run());
            let producer = Producer {
                index,
                storage,
                log,
                random: self.random.fork(),
                model: self.model.clone(),
                keys: 1 + self.random.below(30),
            };
            // One that gets nothing is compacted as recovery left it.
            let count = if self.random.below(4) == 0 { 0 } else { 150 + self.random.below(250) };
            tasks.push(self.executor.spawn(producer.run(count)));
        }
        let finished = self.executor.run_until_or_crash(&self.disk, async {
            for task in tasks {
                task.await;
            }
            if clean {
                self.disk.sleep(Duration::from_millis(50)).await;
                for index in 0..PARTITIONS {
                    let (storage, log) = self.log(storages, index);
                    let found = read_all(&storage, &log, log.start(), 5000).await;
                    let what = format!("seed {}: {index}", self.seed);
                    check_records(&self.model.borrow()[&index], &found, log.start(), &what);
                }
                for storage in storages {
                    storage.shutdown().await.expect("no faults");
                }
            }
        });
        assert!(finished.is_some() || !clean, "seed {}", self.seed);
    }

    /// Compacts until nothing is left to be done, and looks at what is left.
    fn compact_to_the_end(&mut self, storages: &[Storage<SimDisk>]) {
        for index in 0..PARTITIONS {
            let (storage, log) = self.log(storages, index);
            let rules = CompactionRules { dirty_ratio_millionths: 0, ..RULES };
            let mut rounds = 0;
            let bounds = bounds(24 * 8);
            while let Some(cleaning) =
                self.executor.run_until(storage.compact(&log, &rules, &bounds, &Inline, || false)).expect("no faults")
            {
                rounds += 1;
                assert!(rounds < 2000 && cleaning.clean_to > 0, "seed {}", self.seed);
            }
            let found = self.executor.run_until(read_all(&storage, &log, log.start(), 5000));
            let keys: BTreeSet<_> = found.iter().map(|record| record.key.clone()).collect();
            // Nothing is appended any more: the whole log is cleaned.
            assert_eq!(keys.len(), found.len(), "seed {}: partition {index} has a key twice", self.seed);
            assert!(keys.iter().all(Option::is_some), "seed {}: a record without a key", self.seed);
            let names = self.executor.run_until(self.disk.list(log.directory())).expect("no faults");
            let strange = names.iter().find(|name| name.ends_with(".cleaned") || name.ends_with(".swap"));
            assert_eq!(strange, None, "seed {}: partition {index}", self.seed);
        }
    }
}

const RULES: CompactionRules = CompactionRules {
    min_lag_ms: 0,
    max_lag_ms: i64::MAX,
    dirty_ratio_millionths: 200_000,
    delete_retention_ms: TOMBSTONES_STAY_MS,
};

fn bounds(key_map_bytes: usize) -> CompactionBounds {
    CompactionBounds { key_map_bytes, bytes_per_second: None }
}

/// Holds what was read from `from` on against what was sent; see the module's list.
fn check_records(modelled: &Modelled, found: &[Record], from: Offset, what: &str) {
    let by_offset: BTreeMap<Offset, &Sent> = modelled.sent.iter().map(|sent| (sent.offset, sent)).collect();
    assert!(found.windows(2).all(|pair| pair[0].offset < pair[1].offset), "{what}: out of order, or twice");
    for record in found {
        let sent = by_offset.get(&record.offset).unwrap_or_else(|| panic!("{what}: {} was not sent", record.offset));
        let is_same = record.key.as_deref() == sent.key.as_deref()
            && record.value.as_deref() == sent.value.as_deref()
            && record.timestamp == sent.timestamp
            && record.headers.len() == 1;
        assert!(is_same, "{what}: offset {} is another record than was sent", record.offset);
    }
    let present: BTreeSet<Offset> = found.iter().map(|record| record.offset).collect();
    let mut newest: BTreeMap<&[u8], &Sent> = BTreeMap::new();
    for sent in &modelled.sent {
        if let Some(key) = &sent.key {
            newest.insert(key, sent);
        }
    }
    for (key, last) in newest {
        if last.offset < from {
            continue;
        }
        if present.contains(&last.offset) {
            continue;
        }
        assert!(last.value.is_none(), "{what}: offset {}, the last of its key, is gone", last.offset);
        let older = found.iter().find(|record| record.key.as_deref() == Some(key));
        assert!(older.is_none(), "{what}: the tombstone at {} is gone before what it deletes", last.offset);
    }
}

/// Compacts one partition again and again.
struct Cleaner {
    storage: Storage<SimDisk>,
    log: Rc<Log<SimDisk>>,
    random: Random,
    cleaned: Rc<RefCell<Vec<Cleaning>>>,
}

impl Cleaner {
    async fn run(mut self) {
        loop {
            self.storage.disk().sleep(Duration::from_micros(200 + self.random.below(4000))).await;
            let map_bytes = 24 * (2 + self.random.index(40));
            let bytes_per_second = (self.random.below(3) == 0).then_some(5e7);
            let bounds = CompactionBounds { bytes_per_second, ..bounds(map_bytes) };
            let max_lag_ms = if self.random.below(3) == 0 { 5 } else { i64::MAX };
            let rules = CompactionRules { max_lag_ms, ..RULES };
            let mut questions = self.random.below(400);
            let patience = RefCell::new(&mut questions);
            let stop = || {
                let mut left = patience.borrow_mut();
                **left = left.saturating_sub(1);
                **left == 1
            };
            match self.storage.compact(&self.log, &rules, &bounds, &Inline, stop).await {
                Ok(cleaning) => self.cleaned.borrow_mut().extend(cleaning),
                // A shard that has stopped takes no checkpoint.
                Err(error) => assert!(self.storage.fenced().is_some(), "{error}"),
            }
        }
    }
}

struct Producer {
    index: i32,
    storage: Storage<SimDisk>,
    log: Rc<Log<SimDisk>>,
    random: Random,
    model: Model,
    keys: u64,
}

impl Producer {
    async fn run(mut self, count: u64) {
        let mut commits = Vec::new();
        for _ in 0..count {
            commits.push(self.append());
            if commits.len() > self.random.index(6) {
                self.acknowledge(&mut commits).await;
            }
            match self.random.below(20) {
                0..4 => self.storage.disk().sleep(Duration::from_micros(self.random.below(3000))).await,
                4 | 5 => self.read_some().await,
                6 if self.random.below(5) == 0 => self.trim().await,
                _ => {}
            }
        }
        self.acknowledge(&mut commits).await;
    }

    /// Appends one batch; the places of its records in the model, and its commit.
    fn append(&mut self) -> (std::ops::Range<usize>, Rc<Commit>) {
        let codec = match self.random.below(6) {
            0 => Compression::Lz4,
            1 => Compression::Zstd,
            _ => Compression::None,
        };
        let now = self.storage.disk().wall_clock_ms();
        let mut model = self.model.borrow_mut();
        let modelled = model.entry(self.index).or_default();
        let mut builder = BatchBuilder::new().compression(codec);
        let mut batch = Vec::new();
        for _ in 0..1 + self.random.index(5) {
            let key = (self.random.below(50) > 0).then(|| self.random.below(self.keys).to_be_bytes()[4..].to_vec());
            let value = (self.random.below(6) > 0).then(|| {
                modelled.next_value += 1;
                let mut value = modelled.next_value.to_be_bytes().to_vec();
                value.resize(8 + self.random.index(300), self.random.bits() as u8);
                value
            });
            let timestamp = now - self.random.below(10) as i64;
            builder.append(timestamp, key.as_deref(), value.as_deref(), &[("h", Some(b"x"))]);
            batch.push((key, value, timestamp));
        }
        let bytes = builder.build().expect("it has records");
        let header = BatchHeader::parse(&bytes).expect("it was built");
        let appended = self.storage.append(&self.log, bytes, &header, 3).expect("no faults");
        let first = modelled.sent.len();
        for (at, (key, value, timestamp)) in batch.into_iter().enumerate() {
            let offset = appended.base_offset + at as i64;
            modelled.sent.push(Sent { offset, key, value, timestamp, acknowledged: false });
        }
        (first..modelled.sent.len(), appended.commit)
    }

    async fn acknowledge(&self, commits: &mut Vec<(std::ops::Range<usize>, Rc<Commit>)>) {
        for (places, commit) in commits.drain(..) {
            commit.durable().await.expect("no faults");
            let mut model = self.model.borrow_mut();
            let sent = &mut model.get_mut(&self.index).expect("it has sent something").sent;
            sent[places].iter_mut().for_each(|sent| sent.acknowledged = true);
        }
    }

    /// A reader that begins anywhere comes to the end, past what is compacted meanwhile. It may see a record that a newer
    /// one has replaced, but what it has seen last of a key is the key's last.
    async fn read_some(&mut self) {
        let (start, end) = (self.log.start(), self.log.durable().offset);
        let from = start + self.random.below((end - start) as u64 + 1) as i64;
        let max_bytes = 1 + self.random.index(10_000);
        let mut found = read_all(&self.storage, &self.log, from, max_bytes).await;
        found.retain(|record| record.offset < end);
        let model = self.model.borrow();
        let modelled = &model[&self.index];
        let sent: BTreeMap<Offset, &Sent> = modelled.sent.iter().map(|sent| (sent.offset, sent)).collect();
        for record in &found {
            assert_eq!(sent[&record.offset].value.as_deref(), record.value.as_deref());
        }
        let last_of_all =
            |key: &[u8]| modelled.sent.iter().rfind(|sent| sent.key.as_deref() == Some(key)).expect("it was sent");
        let seen: BTreeSet<Offset> = found.iter().map(|record| record.offset).collect();
        for record in &found {
            let Some(key) = &record.key else { continue };
            let last = last_of_all(key);
            // One that is newer than what was durable when the reader began is not its affair.
            if last.offset < end && last.value.is_some() {
                assert!(seen.contains(&last.offset), "the last of a key was not seen, but {}", record.offset);
            }
        }
    }

    async fn trim(&mut self) {
        let (start, end) = (self.log.start(), self.log.durable().offset);
        let offset = start + self.random.below((end - start) as u64 / 2 + 1) as i64;
        let change = |change: &dyn Fn(&mut Modelled)| {
            change(self.model.borrow_mut().get_mut(&self.index).expect("it has sent something"));
        };
        change(&|modelled| modelled.start_asked = modelled.start_asked.max(offset));
        let commit = self.storage.raise_start(&self.log, offset, 3).expect("no faults");
        commit.durable().await.expect("no faults");
        change(&|modelled| modelled.start = modelled.start.max(offset));
        self.storage.trim(&self.log).await.expect("no faults");
    }
}

/// The records from `from` on, to the durable end. There is always something to be read before it.
async fn read_all(storage: &Storage<SimDisk>, log: &Log<SimDisk>, from: Offset, max_bytes: usize) -> Vec<Record> {
    let mut found = Vec::new();
    let mut offset = from;
    let end = log.durable().offset;
    while offset < end {
        // The start may be raised meanwhile.
        offset = offset.max(log.start());
        let bytes = storage.read(log, offset, max_bytes).await.expect("nothing is damaged").to_bytes();
        assert!(!bytes.is_empty(), "partition {} has nothing at offset {offset} of {end}", log.id());
        for batch in split_batches(&bytes) {
            let (header, batch) = batch.expect("whole batches");
            assert!(header.next_offset() > offset, "partition {} at offset {offset}", log.id());
            found.extend(records(&batch).unwrap().map(Result::unwrap).filter(|record| record.offset >= offset));
            offset = header.next_offset();
        }
    }
    found
}

#[test]
fn no_crash_of_a_compaction_loses_or_doubles_a_record() {
    let variable = |name| std::env::var(name).ok().and_then(|value: String| value.parse::<u64>().ok());
    let seeds = match variable("CORELOG_HISTORY_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..variable("CORELOG_HISTORIES").unwrap_or(DEFAULT_HISTORIES),
    };
    let (mut cleanings, mut dropped, mut merged, mut full) = (0, 0, 0, 0);
    for seed in seeds.clone() {
        let outcome = std::panic::catch_unwind(|| {
            let mut history = History::new(seed);
            history.run();
            history.cleaned.take()
        });
        match outcome {
            Ok(cleaned) => {
                cleanings += cleaned.len();
                dropped += cleaned.iter().map(|one| one.records_before - one.records_after).sum::<u64>();
                merged += cleaned.iter().map(|one| one.segments_before - one.segments_after).sum::<u64>();
                full += cleaned.iter().filter(|one| one.map_was_full).count();
            }
            Err(panic) => {
                eprintln!("this history failed; again with CORELOG_HISTORY_SEED={seed}");
                std::panic::resume_unwind(panic);
            }
        }
    }
    println!("{cleanings} cleanings dropped {dropped} records and {merged} segments; the map was full {full} times");
    // Otherwise nothing was tested.
    if seeds.end - seeds.start >= DEFAULT_HISTORIES {
        assert!(cleanings > 100 && dropped > 1000 && merged > 50 && full > 10);
    }
}
