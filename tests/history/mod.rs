//! Seeded histories of the storage engine on the simulated disk: appends on several partitions, deletions at their
//! beginning, a crash at any operation, recovery (which may crash too), and again. Many have a trouble besides
//! ([`trouble::Trouble`]). Held against a plain model, a list of batches per partition:
//!
//! 1. every acknowledged batch that was not deleted is there after the crash, once, in order, byte for byte, at the offset
//!    that was returned;
//! 2. nothing that was never sent appears, what a reader has seen is there after the crash, offsets have no gap, and what was deleted does not come back;
//! 3. the state above the log that recovery rebuilds is what the surviving batches add up to;
//! 4. a failed write or sync fences the shard: nothing is acknowledged afterwards, and what was acknowledged before can be
//!    read, at once and after a restart;
//! 5. a full disk refuses appends or lets them wait, reads go on, and appends are taken again by themselves;
//! 6. damage to what was acknowledged is an error of recovery or of the read that meets it, which names the file; with the
//!    bytes restored all is there again. It is never served, and never passed over in silence. Left out are the last
//!    blocks of a journal that no whole later block knows to be durable: damage there looks as a torn write does. So is a
//!    batch's leader epoch in a segment.

pub mod model;
pub mod producer;
pub mod trouble;

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use corelog::disk::Disk;
use corelog::disk::sim::{CrashPoint, Faults, Random, SimDisk, SimExecutor, SimOptions};
use corelog::record::BatchHeader;
use corelog::storage::checkpoint::CheckpointError;
use corelog::storage::journal::block::Sequence;
use corelog::storage::journal::writer::JournalOptions;
use corelog::storage::log::LogReadError;
use corelog::storage::recovery::{Recovery, RecoveryError, Replay, ShardSeed};
use corelog::storage::segment::ReadError;
use corelog::storage::{Loop, Storage, StorageOptions};
use corelog::vocabulary::{PartitionId, ShardId};

use model::{
    Block, DATA_DIR, Folded, Model, Modelled, PARTITIONS, Proofs, bytes_of, directory, from_offset, is_as_sent,
    partition,
};
use producer::{Producer, Stage, read_all};
use trouble::{Damage, Trouble};

/// A run that takes so much virtual time hangs.
const RUN_MAX: Duration = Duration::from_secs(3600);

/// The running shards, and the state that a broker would keep beside them.
struct Running {
    storages: Vec<Storage<SimDisk>>,
    recovered: Folded,
    live: Rc<RefCell<Folded>>,
    /// What the journals' whole blocks proved before the recovery to be acknowledged.
    proven: BTreeMap<ShardId, Sequence>,
}

/// One history.
pub struct History {
    random: Random,
    trouble: Trouble,
    options: StorageOptions,
    shards: usize,
    executor: SimExecutor,
    disk: SimDisk,
    model: Model,
    proofs: Rc<RefCell<Proofs>>,
    damage: Rc<RefCell<Option<Damage>>>,
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
    /// The history of a seed.
    pub fn new(seed: u64) -> History {
        let mut random = Random::new(seed);
        let trouble = Trouble::draw(&mut random);
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
        let (model, proofs, damage) = Default::default();
        History { random, trouble, options, shards: 1, executor, disk, model, proofs, damage }
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// When the engine does not keep a promise.
    pub fn run(&mut self) {
        for round in 0..3 {
            // Another number of shards after some restarts.
            self.shards = 1 + self.random.index(3);
            let running = self.recover();
            if !self.check(&running) {
                return;
            }
            let clean = self.random.below(4) == 0;
            if !clean {
                let operation = 1 + self.random.below(if round == 0 { 400 } else { 1500 });
                self.disk.plan_crash(CrashPoint::Operation(self.disk.operations() + operation));
            }
            self.append(&running, clean);
            drop(running);
            self.executor.abandon_tasks();
            let killed = self.random.below(4) == 0;
            self.disk = if killed { self.disk.kill() } else { self.disk.crash() };
            // At rest is what has one version: after a kill a later crash may still bring an older one of a page.
            if self.trouble == Trouble::Damage && !killed && self.damage.borrow().is_none() {
                *self.damage.borrow_mut() = Damage::at_rest(&self.disk, &mut self.random);
            }
        }
        let running = self.recover();
        self.check(&running);
        drop(running);
        self.executor.abandon_tasks();
    }

    fn is_damaged_in_journal(&self) -> bool {
        self.damage.borrow().as_ref().is_some_and(Damage::is_in_journal)
    }

    fn undo_damage(&self) {
        if let Some(damage) = self.damage.borrow_mut().take() {
            damage.undo(&self.disk);
        }
    }

    /// Recovers, over crashes and errors that were caused, and starts the shards.
    fn recover(&mut self) -> Running {
        let (segment_bytes, shards) = (self.options.segment_bytes, self.shards);
        let mut proven = self.proven();
        let (seeds, recovered) = loop {
            if self.random.below(3) == 0 {
                let operation = 1 + self.random.below(80);
                self.disk.plan_crash(CrashPoint::Operation(self.disk.operations() + operation));
            }
            self.disk.set_faults(trouble::stalls(&mut self.random));
            let fails = self.trouble == Trouble::FailingDisk && self.random.coin();
            if fails {
                trouble::fail_some(&self.disk, &mut self.random);
            }
            let recovery = recover(self.disk.clone(), segment_bytes, shards);
            match self.executor.run_until_or_crash(&self.disk, recovery) {
                Some(Ok(recovered)) => break recovered,
                Some(Err(RecoveryError::Disk(_) | RecoveryError::Checkpoint(CheckpointError::Disk(_)))) if fails => {
                    self.executor.abandon_tasks();
                    self.disk = if self.random.coin() { self.disk.kill() } else { self.disk.crash() };
                }
                Some(Err(RecoveryError::Disk(error))) if error.is_full() && self.trouble == Trouble::FullDisk => {
                    self.executor.abandon_tasks();
                    self.disk = self.disk.kill();
                    self.disk.set_capacity(None);
                }
                Some(Err(_)) if self.is_damaged_in_journal() => {
                    self.executor.abandon_tasks();
                    self.undo_damage();
                    self.disk = self.disk.kill();
                    proven = self.proven();
                }
                Some(Err(error)) => panic!("recovery failed: {error}"),
                None => {
                    self.executor.abandon_tasks();
                    self.disk = self.disk.crash();
                }
            }
        };
        // A crash that was planned and not reached must not strike while the test looks at the result.
        self.disk.plan_crash(CrashPoint::Operation(u64::MAX));
        self.disk.forget_injections();
        self.disk.set_faults(Faults::default());
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
        Running { storages, recovered, live, proven }
    }

    fn proven(&self) -> BTreeMap<ShardId, Sequence> {
        // Shards of earlier runs count too: their journals are removed by the recovery that follows.
        let shards = (0..3).map(ShardId);
        let proofs = self.proofs.borrow();
        let proven = |shard| proofs.proven(shard, trouble::whole_blocks(&self.disk, shard).into_iter());
        shards.map(|shard| (shard, proven(shard))).collect()
    }

    /// Reads everything and holds it against the model, which then forgets what did not survive. False when damage took
    /// what nothing on the disk could know to be acknowledged: then the history ends.
    fn check(&mut self, running: &Running) -> bool {
        let damaged = self.is_damaged_in_journal();
        let excused = |(shard, sequence): &Block| damaged && *sequence > running.proven[shard];
        for index in 0..PARTITIONS {
            let id = partition(index);
            let storage = &running.storages[owner(id, self.shards).index()];
            let log = storage.open_log(id, &directory(id));
            let end = log.durable().offset;
            let mut model = self.model.borrow_mut();
            let Modelled { sent, start, start_blocks, seen, start_asked } = model.entry(index).or_default();
            let found_start = log.start();
            if found_start < *start && start_blocks.iter().any(excused) {
                return false;
            }
            assert!(
                (*start..=*start_asked).contains(&found_start),
                "partition {index} starts at {found_start}, not between {start} and {start_asked}",
            );
            (*start, *start_asked) = (found_start, found_start);
            start_blocks.clear();
            let survivors = sent.iter().take_while(|batch| batch.base_offset < end).count();
            if let Some(lost) = sent[survivors..].iter().find(|batch| batch.acknowledged) {
                if lost.block.iter().any(excused) {
                    return false;
                }
                panic!("partition {index} ends at {end}, {} was acknowledged", lost.base_offset);
            }
            assert!(damaged || *seen <= end, "partition {index} ends at {end}, readers have seen all up to {seen}");
            sent.truncate(survivors);
            let expected = bytes_of(from_offset(sent, found_start), usize::MAX);
            for batch in sent.iter_mut() {
                (batch.acknowledged, batch.block) = (true, None);
            }
            let max_bytes = 1 + self.random.index(40_000);
            let found = match self.executor.run_until(read_all(storage, id, max_bytes)) {
                Ok(found) => found,
                Err(LogReadError::Segment(ReadError::Damaged { path, .. }))
                    if self.damage.borrow().as_ref().is_some_and(|damage| damage.is_in(&path)) =>
                {
                    self.undo_damage();
                    self.executor.run_until(read_all(storage, id, max_bytes)).expect("the bytes are restored")
                }
                Err(error) => panic!("partition {index}: {error}"),
            };
            let damage = self.trouble == Trouble::Damage;
            assert!(is_as_sent(&found, &expected, damage), "partition {index} has other bytes than were sent");
            let mut refolded = Folded::default();
            for batch in sent.iter() {
                refolded.fold(id, &BatchHeader::parse(&batch.bytes).unwrap(), batch.base_offset);
            }
            assert_eq!(running.recovered.of(id), refolded.of(id), "partition {index}: the rebuilt state");
        }
        *self.proofs.borrow_mut() = Proofs::default();
        self.undo_damage();
        true
    }

    /// Appends until the crash, or for a while and then stops cleanly.
    fn append(&mut self, running: &Running, clean: bool) {
        self.disk.set_faults(trouble::stalls(&mut self.random));
        let fails = self.trouble == Trouble::FailingDisk && self.random.below(4) > 0;
        let reads_may_fail = fails && trouble::fail_some(&self.disk, &mut self.random);
        let stage = Rc::new(Stage {
            model: self.model.clone(),
            live: running.live.clone(),
            proofs: self.proofs.clone(),
            disk: self.disk.clone(),
            trouble: self.trouble,
            reads_may_fail,
            damage: self.damage.clone(),
            room_since: Cell::new(None),
        });
        let mut tasks = Vec::new();
        for index in 0..PARTITIONS {
            let shard = owner(partition(index), self.shards);
            let producer = Producer {
                id: partition(index),
                shard,
                storage: running.storages[shard.index()].clone(),
                random: self.random.fork(),
                stage: stage.clone(),
            };
            let count = self.random.below(if index == 0 { 300 } else { 100 });
            tasks.push(self.executor.spawn(producer.run(count)));
        }
        match self.trouble {
            Trouble::FullDisk => tasks.push(self.executor.spawn(fill(stage.clone(), self.random.fork()))),
            Trouble::Damage => tasks.push(self.executor.spawn(rot(stage.clone(), self.random.fork()))),
            Trouble::None | Trouble::FailingDisk => {}
        }
        let may_fail = self.trouble == Trouble::FailingDisk;
        let work = async {
            for task in tasks {
                task.await;
            }
            if clean {
                for storage in &running.storages {
                    let stopped = storage.shutdown().await;
                    assert!(stopped.is_ok() || may_fail, "{}", stopped.expect_err("asserted"));
                }
            }
        };
        let guard = async {
            self.executor.clock().sleep(RUN_MAX).await;
            panic!("the run hangs");
        };
        let finished = self.executor.run_until_or_crash(&self.disk, futures_lite::future::or(work, guard));
        assert!(finished.is_some() || !clean);
    }
}

/// Leaves little room on the disk for a while.
async fn fill(stage: Rc<Stage>, mut random: Random) {
    let pause = Duration::from_millis(random.below(100));
    stage.disk.sleep(pause).await;
    stage.disk.set_capacity(Some(stage.disk.used_bytes() + random.below(300 << 10)));
    stage.disk.sleep(Duration::from_millis(random.below(5000))).await;
    stage.disk.set_capacity(None);
    stage.room_since.set(Some(stage.disk.monotonic()));
}

/// Flips a bit of a segment while it is read.
async fn rot(stage: Rc<Stage>, mut random: Random) {
    let pause = Duration::from_millis(random.below(100));
    stage.disk.sleep(pause).await;
    if random.coin() {
        let damage = Damage::of_complete_segment(&stage.disk, &mut random);
        *stage.damage.borrow_mut() = damage;
    }
}

/// A hash of all that happens in a seed's history.
#[allow(dead_code, reason = "the other test that has this module does not replay")]
pub fn trace_of(seed: u64) -> u64 {
    let mut history = History::new(seed);
    history.run();
    history.executor.trace_hash() ^ history.disk.trace_hash()
}

/// Runs a seed; what it panicked with, if it did.
pub fn failure_of(seed: u64) -> Option<String> {
    let mut history = History::new(seed);
    let panic = catch_unwind(AssertUnwindSafe(|| history.run())).err()?;
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default();
    let damage = history.damage.try_borrow().ok().and_then(|damage| damage.as_ref().map(Damage::to_string));
    Some(format!("{text} (trouble: {:?}{})", history.trouble, damage.unwrap_or_default()))
}

/// Runs these seeds on every processor, each thread prepared by `prepare`; the least that failed, with its panic.
pub fn first_failure(seeds: std::ops::Range<u64>, prepare: impl Fn() + Sync) -> Option<(u64, String)> {
    let next = AtomicU64::new(seeds.start);
    let end = AtomicU64::new(seeds.end);
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let work = || {
        prepare();
        let mut failed = None;
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end.load(Ordering::Relaxed) {
                return failed;
            }
            if let Some(text) = failure_of(seed) {
                // Seeds below it still run to their end, those above it are of no interest.
                end.fetch_min(seed, Ordering::Relaxed);
                failed = Some((seed, text));
            }
        }
    };
    std::thread::scope(|scope| {
        let handles: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        handles.into_iter().filter_map(|handle| handle.join().expect("panics are caught")).min()
    })
}
