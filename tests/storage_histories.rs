//! Seeded histories of the storage engine on the simulated disk: appends on several partitions, deletions at their
//! beginning, a crash at any operation, recovery (which may crash too), and again. Held against a plain model, a list of
//! batches per partition:
//!
//! 1. every acknowledged batch that was not deleted is there after the crash, once, in order, byte for byte, at the offset
//!    that was returned;
//! 2. nothing that was never sent appears, offsets have no gap, and what was deleted does not come back;
//! 3. the state above the log that recovery rebuilds is what the surviving batches add up to.
//!
//! `CORELOG_HISTORIES=n` runs n seeds instead of the default; `CORELOG_HISTORY_SEED=s` runs one, to look at.
#![allow(clippy::disallowed_methods, clippy::disallowed_macros, reason = "a test may fail loudly")]

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use corelog::disk::Disk;
use corelog::disk::sim::{CrashPoint, Random, SimDisk, SimExecutor, SimOptions};
use corelog::record::{BatchHeader, set_placement};
use corelog::storage::journal::writer::JournalOptions;
use corelog::storage::log::{Log, Retention};
use corelog::storage::recovery::{Recovery, RecoveryError, Replay, ShardSeed};
use corelog::storage::{Loop, Storage, StorageOptions};
use corelog::vocabulary::{Offset, PartitionId, ShardId, TopicId};

const DEFAULT_HISTORIES: u64 = 150;
const PARTITIONS: i32 = 5;
const DATA_DIR: &str = "/data";

fn partition(index: i32) -> PartitionId {
    PartitionId { topic_id: TopicId([7; 16]), index }
}

fn directory(id: PartitionId) -> PathBuf {
    PathBuf::from(format!("topics/t-{}/{}", id.topic_id, id.index))
}

/// What the layer above would keep: per partition, the number of records and a hash of the batches' identities.
#[derive(Clone, Default, PartialEq, Debug)]
struct Folded(BTreeMap<PartitionId, (i64, u64)>);

impl Folded {
    fn fold(&mut self, id: PartitionId, header: &BatchHeader, base_offset: Offset) {
        let (records, hash) = self.0.entry(id).or_default();
        *records += i64::from(header.last_offset_delta) + 1;
        *hash = hash.wrapping_mul(31).wrapping_add(base_offset as u64 ^ u64::from(header.crc));
    }
}

impl Replay for Folded {
    fn directory(&self, id: PartitionId) -> Option<PathBuf> {
        Some(directory(id))
    }

    fn restore(&mut self, id: PartitionId, snapshot: &[u8]) -> Result<(), String> {
        let state = match snapshot.len() {
            0 => (0, 0),
            16 => {
                let word = |at: usize| u64::from_be_bytes(snapshot[at..at + 8].try_into().expect("eight bytes"));
                (word(0) as i64, word(8))
            }
            len => return Err(format!("a snapshot of {len} bytes")),
        };
        self.0.insert(id, state);
        Ok(())
    }

    fn apply(&mut self, id: PartitionId, header: &BatchHeader, base_offset: Offset) {
        self.fold(id, header, base_offset);
    }

    fn snapshot(&self, id: PartitionId) -> Bytes {
        let (records, hash) = self.0.get(&id).copied().unwrap_or_default();
        [records.to_be_bytes(), hash.to_be_bytes()].concat().into()
    }
}

/// A batch with `records` offsets and a payload that no other batch has.
fn batch(random: &mut Random, records: i32) -> Bytes {
    let payload = match random.below(10) {
        0 => 4096 + random.index(12_000),
        1..=3 => 500 + random.index(4000),
        _ => 8 + random.index(200),
    };
    let mut bytes = vec![0; 61 + payload];
    bytes[8..12].copy_from_slice(&((49 + payload) as i32).to_be_bytes());
    bytes[16] = 2;
    bytes[23..27].copy_from_slice(&(records - 1).to_be_bytes());
    bytes[35..43].copy_from_slice(&(random.below(1000) as i64).to_be_bytes());
    bytes[57..61].copy_from_slice(&records.to_be_bytes());
    for chunk in bytes[61..].chunks_mut(8) {
        let word = random.bits().to_be_bytes();
        chunk.copy_from_slice(&word[..chunk.len()]);
    }
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes.into()
}

#[derive(Clone)]
struct Sent {
    base_offset: Offset,
    /// As it must be read: with its place.
    bytes: Vec<u8>,
    acknowledged: bool,
}

/// A partition.
#[derive(Clone, Default)]
struct Modelled {
    /// All that was ever sent, what was deleted too.
    sent: Vec<Sent>,
    /// Where the log starts at least: deletions up to here were acknowledged.
    start: Offset,
    /// Where it starts at most: deletions up to here were asked for.
    start_asked: Offset,
}

type Model = Rc<RefCell<BTreeMap<i32, Modelled>>>;

/// The running shards, and the state that a broker would keep beside them.
struct Running {
    storages: Vec<Storage<SimDisk>>,
    recovered: Folded,
    live: Rc<RefCell<Folded>>,
}

struct History {
    seed: u64,
    random: Random,
    options: StorageOptions,
    shards: usize,
    executor: SimExecutor,
    disk: SimDisk,
    model: Model,
}

fn owner(id: PartitionId, shards: usize) -> ShardId {
    ShardId((id.index as usize % shards) as u16)
}

async fn recover(disk: SimDisk, segment_bytes: u64, shards: usize) -> Result<(Vec<ShardSeed>, Folded), RecoveryError> {
    let mut folded = Folded::default();
    let mut recovery = Recovery::open(disk, Path::new(DATA_DIR), segment_bytes, false).await?;
    // One partition first, as the broker does with its metadata.
    recovery.replay(|id| id == partition(0), &mut folded).await?;
    recovery.replay(|_| true, &mut folded).await?;
    let seeds = recovery.finish(shards, |id| Some(owner(id, shards)), &folded).await?;
    Ok((seeds, folded))
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
            cache_bytes: random.index(128 << 10),
            segment_bytes: 20_000 + random.below(100_000),
            open_files_max: 1 + random.index(8),
        };
        History { seed, random, options, shards: 1, executor, disk, model: Rc::default() }
    }

    fn run(&mut self) {
        for round in 0..3 {
            // Another number of shards after some restarts.
            self.shards = 1 + self.random.index(3);
            let running = self.recover();
            self.check(&running);
            let clean = self.random.below(4) == 0;
            if !clean {
                let operation = 1 + self.random.below(if round == 0 { 400 } else { 1500 });
                self.disk.plan_crash(CrashPoint::Operation(self.disk.operations() + operation));
            }
            self.append(&running, clean);
            drop(running);
            self.executor.abandon_tasks();
            self.disk = if self.random.below(4) == 0 { self.disk.kill() } else { self.disk.crash() };
        }
        let running = self.recover();
        self.check(&running);
        drop(running);
        self.executor.abandon_tasks();
    }

    /// Recovers, over crashes, and starts the shards.
    fn recover(&mut self) -> Running {
        let (segment_bytes, shards) = (self.options.segment_bytes, self.shards);
        let (seeds, recovered) = loop {
            if self.random.below(3) == 0 {
                let operation = 1 + self.random.below(80);
                self.disk.plan_crash(CrashPoint::Operation(self.disk.operations() + operation));
            }
            let recovery = recover(self.disk.clone(), segment_bytes, shards);
            match self.executor.run_until_or_crash(&self.disk, recovery) {
                Some(Ok(recovered)) => break recovered,
                Some(Err(error)) => panic!("seed {}: recovery failed: {error}", self.seed),
                None => {
                    self.executor.abandon_tasks();
                    self.disk = self.disk.crash();
                }
            }
        };
        // A crash that was planned and not reached must not strike while the test looks at the result.
        self.disk.plan_crash(CrashPoint::Operation(u64::MAX));
        let live = Rc::new(RefCell::new(recovered.clone()));
        let mut storages = Vec::new();
        for seed in seeds {
            let (disk, options, live) = (self.disk.clone(), self.options.clone(), live.clone());
            let source = Rc::new(move |id| live.borrow().snapshot(id));
            let start = Storage::start(disk, Path::new(DATA_DIR), options, seed, source);
            let (storage, loops): (Storage<SimDisk>, Vec<Loop>) = self.executor.run_until(start).expect("no faults");
            for future in loops {
                self.executor.spawn(future);
            }
            storages.push(storage);
        }
        Running { storages, recovered, live }
    }

    /// Reads everything and holds it against the model, which then forgets what did not survive.
    fn check(&mut self, running: &Running) {
        for index in 0..PARTITIONS {
            let id = partition(index);
            let storage = &running.storages[owner(id, self.shards).index()];
            let log = storage.open_log(id, &directory(id));
            let end = log.durable().offset;
            let mut model = self.model.borrow_mut();
            let Modelled { sent, start, start_asked } = model.entry(index).or_default();
            let found_start = log.start();
            assert!(
                (*start..=*start_asked).contains(&found_start),
                "seed {}: partition {index} starts at {found_start}, not between {start} and {start_asked}",
                self.seed
            );
            (*start, *start_asked) = (found_start, found_start);
            let survivors = sent.iter().take_while(|batch| batch.base_offset < end).count();
            if let Some(lost) = sent[survivors..].iter().find(|batch| batch.acknowledged) {
                panic!("seed {}: partition {index} ends at {end}, {} was acknowledged", self.seed, lost.base_offset);
            }
            sent.truncate(survivors);
            let expected: Vec<u8> = from_offset(sent, found_start).flat_map(|batch| batch.bytes.clone()).collect();
            for batch in sent.iter_mut() {
                batch.acknowledged = true;
            }
            let max_bytes = 1 + self.random.index(40_000);
            let found = self.executor.run_until(read_all(storage, id, max_bytes));
            assert!(found == expected, "seed {}: partition {index} has other bytes than were sent", self.seed);
            let mut refolded = Folded::default();
            for batch in sent.iter() {
                refolded.fold(id, &BatchHeader::parse(&batch.bytes).unwrap(), batch.base_offset);
            }
            let state = running.recovered.0.get(&id).copied().unwrap_or_default();
            let expected = refolded.0.get(&id).copied().unwrap_or_default();
            assert_eq!(state, expected, "seed {}: partition {index}: the rebuilt state", self.seed);
        }
    }

    /// Appends until the crash, or for a while and then stops cleanly.
    fn append(&mut self, running: &Running, clean: bool) {
        let mut producers = Vec::new();
        for index in 0..PARTITIONS {
            let producer = Producer {
                id: partition(index),
                storage: running.storages[owner(partition(index), self.shards).index()].clone(),
                random: self.random.fork(),
                model: self.model.clone(),
                live: running.live.clone(),
                disk: self.disk.clone(),
            };
            let count = self.random.below(if index == 0 { 300 } else { 100 });
            producers.push(self.executor.spawn(producer.run(count)));
        }
        let finished = self.executor.run_until_or_crash(&self.disk, async {
            for producer in producers {
                producer.await;
            }
            if clean {
                for storage in &running.storages {
                    storage.shutdown().await.expect("no faults");
                }
            }
        });
        assert!(finished.is_some() || !clean, "seed {}", self.seed);
    }
}

struct Producer {
    id: PartitionId,
    storage: Storage<SimDisk>,
    random: Random,
    model: Model,
    live: Rc<RefCell<Folded>>,
    disk: SimDisk,
}

impl Producer {
    async fn run(mut self, count: u64) {
        let log = self.storage.open_log(self.id, &directory(self.id));
        let mut commits = Vec::new();
        for _ in 0..count {
            let records = 1 + self.random.index(5) as i32;
            let bytes = batch(&mut self.random, records);
            let header = BatchHeader::parse(&bytes).unwrap();
            let appended = self.storage.append(&log, bytes.clone(), &header, 3).expect("no faults");
            self.live.borrow_mut().fold(self.id, &header, appended.base_offset);
            let mut placed = bytes.to_vec();
            set_placement(&mut placed, appended.base_offset, 3);
            let at = {
                let mut model = self.model.borrow_mut();
                let sent = &mut model.entry(self.id.index).or_default().sent;
                sent.push(Sent { base_offset: appended.base_offset, bytes: placed, acknowledged: false });
                sent.len() - 1
            };
            commits.push((at, appended.commit));
            if commits.len() > self.random.index(6) {
                self.acknowledge(&mut commits).await;
            }
            match self.random.below(12) {
                0 => self.disk.sleep(Duration::from_micros(self.random.below(3000))).await,
                1 => {
                    // A reader at any place sees what was sent, and nothing that is not durable.
                    let (start, end) = (log.start(), log.durable().offset);
                    let offset = start + self.random.below((end - start) as u64 + 1) as i64;
                    let max_bytes = 1 + self.random.index(30_000);
                    let read = self.storage.read(&log, offset, max_bytes).await.expect("no faults").to_bytes();
                    let model = self.model.borrow();
                    let from = from_offset(&model[&self.id.index].sent, offset);
                    let expected = from.flat_map(|batch| batch.bytes.clone()).take(read.len());
                    assert!(read == expected.collect::<Vec<u8>>(), "partition {} at offset {offset}", self.id.index);
                    assert!(!read.is_empty() || offset == end);
                }
                2 => self.delete_some(&log).await,
                _ => {}
            }
        }
        self.acknowledge(&mut commits).await;
    }

    /// Moves the log's start, by hand or because there is too much, and removes what lies before it.
    async fn delete_some(&mut self, log: &Rc<Log<SimDisk>>) {
        let (start, end) = (log.start(), log.durable().offset);
        let offset = if self.random.below(4) == 0 {
            end
        } else if self.random.below(2) == 0 {
            start + self.random.below((end - start) as u64 + 1) as i64
        } else {
            let bytes = Some(self.random.below(60_000));
            let expired_before = (self.random.below(2) == 0).then(|| self.random.below(1000) as i64);
            let retention = Retention { bytes, expired_before };
            log.retained_from(self.storage.disk(), retention).await.expect("no faults")
        };
        let modelled =
            |change: &dyn Fn(&mut Modelled)| change(self.model.borrow_mut().entry(self.id.index).or_default());
        modelled(&|modelled| modelled.start_asked = modelled.start_asked.max(offset));
        let commit = self.storage.raise_start(log, offset, 3).expect("no faults");
        commit.durable().await.expect("no faults");
        modelled(&|modelled| modelled.start = modelled.start.max(offset));
        // The second time there is nothing more to remove.
        self.storage.trim(log).await.expect("no faults");
        self.storage.trim(log).await.expect("no faults");
    }

    async fn acknowledge(&self, commits: &mut Vec<(usize, Rc<corelog::storage::journal::commit::Commit>)>) {
        for (at, commit) in commits.drain(..) {
            commit.durable().await.expect("no faults");
            let mut model = self.model.borrow_mut();
            model.get_mut(&self.id.index).expect("it has sent something").sent[at].acknowledged = true;
        }
    }
}

/// The batches from the one that holds `offset` on.
fn from_offset(sent: &[Sent], offset: Offset) -> impl Iterator<Item = &Sent> {
    let from = sent.partition_point(|batch| batch.base_offset <= offset).saturating_sub(1);
    let is_before =
        move |batch: &&Sent| BatchHeader::parse(&batch.bytes).is_ok_and(|header| header.next_offset() <= offset);
    sent[from..].iter().skip_while(is_before)
}

async fn read_all(storage: &Storage<SimDisk>, id: PartitionId, max_bytes: usize) -> Vec<u8> {
    let log = storage.open_log(id, &directory(id));
    let mut found = Vec::new();
    let mut offset = log.start();
    while offset < log.durable().offset {
        let bytes = storage.read(&log, offset, max_bytes).await.expect("nothing is damaged").to_bytes();
        assert!(!bytes.is_empty(), "partition {} has nothing at offset {offset}", id.index);
        let mut at = 0;
        while at < bytes.len() {
            let header = BatchHeader::parse(&bytes[at..]).unwrap();
            // The log may start inside a batch.
            let is_next = header.base_offset == offset || (offset == log.start() && header.base_offset < offset);
            assert!(is_next && header.next_offset() > offset, "partition {} at offset {offset}", id.index);
            offset = header.next_offset();
            at += header.total_len();
        }
        found.extend_from_slice(&bytes);
    }
    found
}

#[test]
fn no_acknowledged_batch_is_lost_changed_or_doubled_by_crashes() {
    let variable = |name| std::env::var(name).ok().and_then(|value: String| value.parse::<u64>().ok());
    let seeds = match variable("CORELOG_HISTORY_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..variable("CORELOG_HISTORIES").unwrap_or(DEFAULT_HISTORIES),
    };
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| History::new(seed).run());
        if let Err(panic) = outcome {
            eprintln!("this history failed; again with CORELOG_HISTORY_SEED={seed}");
            std::panic::resume_unwind(panic);
        }
    }
}
