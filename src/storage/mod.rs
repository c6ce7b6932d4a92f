//! The storage engine: one journal a shard makes appends durable, segments written later are what reads come from.
//!
//! Knows partitions, offsets and batches; knows nothing of sockets, topics' names, groups or clusters. It is generic
//! over the disk and its loops are plain futures, so that a simulation can run it as the broker does.
//!
//! The road of an append: [`Storage::append`] gives the batch its offset, copies it into the partition's segment in
//! memory and hands it to the journal, all without waiting; [`Appended::commit`] resolves when the journal's fdatasync
//! covers it, and only then can it be read. Meanwhile [`flush`](self) loops write full chunks to the segment files, and
//! when the journal's room runs out they bring the oldest file's partitions up to date, write a checkpoint, and free it.
//!
//! What bounds memory: dirty bytes are in the journal, which has a fixed number of files; clean ones are a cache with a
//! byte budget, evicted in the order in which they were written.

pub mod checkpoint;
pub mod compaction;
mod flush;
pub mod journal;
pub mod log;
pub mod mutation;
pub mod notify;
pub mod recovery;
pub mod reserve;
pub mod segment;

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::rc::{Rc, Weak};

use bytes::Bytes;

use crate::disk::{Disk, DiskError, DiskResult};
use crate::record::BatchHeader;
use crate::vocabulary::{LeaderEpoch, Offset, PartitionId, ShardId};
use checkpoint::{Checkpoint, CheckpointedLog};
use compaction::CompactionCounters;
use journal::block::{Entry, EntryKind};
use journal::commit::{Commit, Fenced};
use journal::writer::{Journal, JournalOptions, WRITERS};
use log::{Log, LogReadError, LogSeed, Rolling};
use mutation::Mutation;
use notify::Notify;
use recovery::{ShardSeed, journal_directory};
use reserve::Reserve;
use segment::open_files::OpenFiles;
use segment::{ReadError, Records, Segment};

/// The engine's bounds, for one shard.
#[derive(Clone, Debug)]
pub struct StorageOptions {
    /// The journal's.
    pub journal: JournalOptions,
    /// What segments hold in memory, in bytes; what is not written yet may exceed it.
    pub cache_bytes: usize,
    /// The length at which a segment ends (Kafka's `log.segment.bytes`), at most 2 GiB − 1, unless
    /// [`Log::set_rolling`] gives the log a rule of its own.
    pub segment_bytes: u64,
    /// How many segment files are open at most; a few more while they are in use.
    pub open_files_max: usize,
}

impl Default for StorageOptions {
    /// 4 journal files of 64 MiB, blocks of 1 MiB, 128 MiB of cache, segments of 1 GiB, 256 open files.
    fn default() -> StorageOptions {
        let journal = JournalOptions { file_bytes: 64 << 20, files_max: 4, block_bytes_max: 1 << 20 };
        StorageOptions { journal, cache_bytes: 128 << 20, segment_bytes: 1 << 30, open_files_max: 256 }
    }
}

/// Why a batch was not appended. Nothing of it is in the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    /// Final: the journal failed or the shard stops. Kafka's `KAFKA_STORAGE_ERROR`.
    #[error(transparent)]
    Fenced(#[from] Fenced),
    /// The disk has no room for segments; appends are taken again when it has. Kafka's `KAFKA_STORAGE_ERROR`.
    #[error("the disk is full: free some space, appends are then taken again by themselves")]
    DiskFull,
    /// The batch is larger than a journal file or a segment. Kafka's `MESSAGE_TOO_LARGE`.
    #[error("a batch of {0} bytes is larger than a journal file or a segment can hold")]
    TooLarge(usize),
    /// The partition was deleted. Kafka's `UNKNOWN_TOPIC_OR_PARTITION`.
    #[error("the partition was deleted")]
    Deleted,
}

/// Why records were not deleted.
#[derive(Debug, thiserror::Error)]
pub enum DeleteError {
    /// There are no such records yet.
    #[error("records before offset {offset} cannot be deleted: the durable log ends at {end}")]
    BehindEnd {
        /// What was asked for.
        offset: Offset,
        /// The offset behind the last durable record.
        end: Offset,
    },
    /// The engine takes nothing.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The shard failed before the deletion was durable.
    #[error(transparent)]
    Fenced(#[from] Fenced),
    /// The records are deleted, their files could not be removed yet.
    #[error(transparent)]
    Files(#[from] LogReadError),
}

/// A batch that has its place in the log.
#[derive(Clone)]
pub struct Appended {
    /// The offset of its first record.
    pub base_offset: Offset,
    /// Resolves when it is durable.
    pub commit: Rc<Commit>,
}

/// A map by partition whose order is the same in every run, so that a simulated history replays exactly. Partitions are not
/// named by clients, who could else choose names that collide.
type PartitionMap<T> = HashMap<PartitionId, T, BuildHasherDefault<DefaultHasher>>;

/// What of a partition's state above the log goes into checkpoints. Called when it covers the log up to its end.
pub type SnapshotSource = Rc<dyn Fn(PartitionId) -> Bytes>;

/// A loop of the engine, to be run by the shard for as long as the engine lives.
pub type Loop = Pin<Box<dyn Future<Output = ()>>>;

/// The engine of one shard. A cheap handle.
pub struct Storage<D: Disk> {
    engine: Rc<Engine<D>>,
}

impl<D: Disk> Clone for Storage<D> {
    fn clone(&self) -> Self {
        Storage { engine: self.engine.clone() }
    }
}

struct Engine<D: Disk> {
    disk: D,
    data_dir: PathBuf,
    shard: ShardId,
    options: StorageOptions,
    journal: Rc<Journal<D>>,
    logs: RefCell<PartitionMap<Rc<Log<D>>>>,
    open_files: Rc<OpenFiles<D>>,
    snapshots: SnapshotSource,
    /// Memory that segments hold, in bytes.
    cached_bytes: Cell<usize>,
    /// Segments with a chunk that can be evicted once it is written; one entry a chunk, oldest first.
    evictable: RefCell<VecDeque<Weak<Segment<D>>>>,
    /// Segments with chunks to write.
    full: RefCell<VecDeque<Rc<Segment<D>>>>,
    filled: Notify,
    /// One checkpoint at a time: they go through the same temporary file.
    checkpointing: Cell<bool>,
    checkpointed: Notify,
    /// What the last checkpoint says of the journal: incarnation floor, first sequence.
    covered: Cell<(u64, u64)>,
    compaction_counters: Cell<CompactionCounters>,
    /// Appends are refused, and the reserve is not whole.
    disk_full: Cell<bool>,
    reserve: Reserve,
    stopping: Cell<bool>,
}

impl<D: Disk> Storage<D> {
    /// Starts a shard's engine with what recovery found. The loops must be run, each as a task of its own.
    ///
    /// # Errors
    /// Those of the disk.
    pub async fn start(
        disk: D,
        data_dir: &Path,
        options: StorageOptions,
        seed: ShardSeed,
        snapshots: SnapshotSource,
    ) -> DiskResult<(Storage<D>, Vec<Loop>)> {
        let directory = journal_directory(data_dir, seed.shard);
        let reserve = Reserve::new(&directory);
        let journal =
            Journal::open(disk.clone(), directory, seed.shard, options.journal.clone(), &seed.journal).await?;
        let disk_full = match reserve.take(&disk, journal.bytes()).await {
            Ok(()) => false,
            Err(error) if error.is_full() => true,
            Err(error) => return Err(error),
        };
        let journal = Rc::new(journal);
        let open_files = OpenFiles::new(options.open_files_max);
        let logs = seed.logs.iter().map(|seed| (seed.id, Rc::new(Log::open(data_dir, seed, &open_files)))).collect();
        let engine = Rc::new(Engine {
            disk,
            data_dir: data_dir.to_path_buf(),
            shard: seed.shard,
            options,
            journal: journal.clone(),
            logs: RefCell::new(logs),
            open_files,
            snapshots,
            cached_bytes: Cell::new(0),
            evictable: RefCell::default(),
            full: RefCell::default(),
            filled: Notify::default(),
            checkpointing: Cell::new(false),
            checkpointed: Notify::default(),
            // As recovery wrote it.
            covered: Cell::new((seed.journal.incarnation_max, seed.journal.sequence_max + 1)),
            compaction_counters: Cell::default(),
            disk_full: Cell::new(disk_full),
            reserve,
            stopping: Cell::new(false),
        });
        let mut loops: Vec<Loop> = Vec::new();
        for _ in 0..WRITERS {
            loops.push(Box::pin(journal.clone().write_blocks()));
        }
        loops.push(Box::pin(journal.sync_blocks()));
        loops.push(Box::pin(engine.clone().write_full_chunks()));
        loops.push(Box::pin(engine.clone().release_journal_files()));
        loops.push(Box::pin(engine.clone().keep_room()));
        Ok((Storage { engine }, loops))
    }

    /// The log of a partition, made when there is none, with its files in `directory` below the data directory.
    pub fn open_log(&self, id: PartitionId, directory: &Path) -> Rc<Log<D>> {
        let mut logs = self.engine.logs.borrow_mut();
        let engine = &self.engine;
        let seed = || LogSeed::new(id, directory.to_path_buf());
        let open = || Rc::new(Log::open(&engine.data_dir, &seed(), &engine.open_files));
        logs.entry(id).or_insert_with(open).clone()
    }

    /// Appends a whole batch, whose header is `header`. Does not wait.
    ///
    /// # Errors
    /// See [`AppendError`].
    pub fn append(
        &self,
        log: &Rc<Log<D>>,
        batch: Bytes,
        header: &BatchHeader,
        leader_epoch: LeaderEpoch,
    ) -> Result<Appended, AppendError> {
        let engine = &*self.engine;
        debug_assert_eq!(header.total_len(), batch.len());
        if let Some(fenced) = engine.journal.fenced() {
            return Err(fenced.into());
        }
        if engine.stopping.get() {
            return Err(Fenced { shard: engine.shard.0, reason: "the engine is stopping".into() }.into());
        }
        if engine.disk_full.get() && !log.makes_room() {
            return Err(AppendError::DiskFull);
        }
        if log.is_deleted() {
            return Err(AppendError::Deleted);
        }
        let rolling = self.rolling(log);
        if batch.len() > engine.journal.entry_bytes_max() || batch.len() as u64 > rolling.bytes {
            return Err(AppendError::TooLarge(batch.len()));
        }
        let base_offset = log.end().offset;
        let grown = log.append(&batch, header, leader_epoch, rolling);
        let entry = Entry { partition: log.id(), kind: EntryKind::Batch, leader_epoch, base_offset, payload: batch };
        let commit = engine.journal.append(entry, log.clone(), grown.end)?;
        engine.cached_bytes.set(engine.cached_bytes.get() + grown.bytes);
        if let Some(segment) = grown.full {
            engine.full.borrow_mut().push_back(segment);
            engine.filled.notify();
        }
        Ok(Appended { base_offset, commit })
    }

    /// When the segments of a log end.
    fn rolling(&self, log: &Log<D>) -> Rolling {
        log.rolling().unwrap_or(Rolling { bytes: self.engine.options.segment_bytes, after_ms: None })
    }

    /// What compaction did since the start.
    pub fn compaction_counters(&self) -> CompactionCounters {
        self.engine.compaction_counters.get()
    }

    /// Has `log` start at `offset`, which is not behind its durable end; what lies before it is deleted. Does not wait: it
    /// is durable when the commit says so, and [`Storage::trim`] frees the room.
    ///
    /// # Errors
    /// See [`AppendError`]. A full disk is no reason: this is how it gets room again.
    pub fn raise_start(
        &self,
        log: &Rc<Log<D>>,
        offset: Offset,
        leader_epoch: LeaderEpoch,
    ) -> Result<Rc<Commit>, AppendError> {
        if log.is_deleted() {
            return Err(AppendError::Deleted);
        }
        log.raise_start(offset);
        let entry = Entry {
            partition: log.id(),
            kind: EntryKind::LogStart,
            leader_epoch,
            base_offset: if mutation::is(Mutation::ForgetsLogStarts) { 0 } else { offset },
            payload: Bytes::new(),
        };
        Ok(self.engine.journal.append(entry, log.clone(), log.end())?)
    }

    /// Removes the segments that lie before the log's start, which must be durable. The bytes that they had; none while
    /// the log is being compacted, they go the next time.
    ///
    /// # Errors
    /// Those of the disk. What remains is tried again the next time.
    pub async fn trim(&self, log: &Rc<Log<D>>) -> Result<u64, LogReadError> {
        let disk = &self.engine.disk;
        if log.start() > log.synced().offset {
            match self.engine.flush_once(log).await {
                // Segments that are written already can go all the same, and make room.
                Err(error) if error.is_full() => {}
                result => result.map_err(ReadError::Disk)?,
            }
        }
        let mut bytes = 0;
        for segment in log.take_before_start(disk).await? {
            bytes += segment.len();
            let memory = segment.remove(disk).await.map_err(ReadError::Disk)?;
            self.engine.cached_bytes.set(self.engine.cached_bytes.get().saturating_sub(memory));
        }
        Ok(bytes)
    }

    /// Whole durable batches of `log` from the one that holds `offset`; see [`Log::read`].
    ///
    /// # Errors
    /// See [`LogReadError`].
    pub async fn read(&self, log: &Log<D>, offset: Offset, max_bytes: usize) -> Result<Records, LogReadError> {
        log.read(&self.engine.disk, offset, max_bytes).await
    }

    /// Deletes the records before `offset`, which is not behind the durable end, and removes the segments that have no
    /// others. On return the deletion is durable. Nothing happens when the log starts there already.
    ///
    /// # Errors
    /// See [`DeleteError`].
    pub async fn delete_before(
        &self,
        log: &Rc<Log<D>>,
        offset: Offset,
        leader_epoch: LeaderEpoch,
    ) -> Result<(), DeleteError> {
        let end = log.durable().offset;
        if offset > end {
            return Err(DeleteError::BehindEnd { offset, end });
        }
        if offset > log.start() {
            self.raise_start(log, offset, leader_epoch)?.durable().await?;
        }
        self.trim(log).await?;
        Ok(())
    }

    /// The disk, for reads that go through [`Log`].
    pub fn disk(&self) -> &D {
        &self.engine.disk
    }

    /// Removes a partition and its files.
    ///
    /// # Errors
    /// Those of the disk; the partition is gone all the same, files may remain.
    pub async fn delete_log(&self, id: PartitionId) -> Result<(), DiskError> {
        let Some(log) = self.engine.logs.borrow_mut().remove(&id) else { return Ok(()) };
        let engine = &*self.engine;
        engine.cached_bytes.set(engine.cached_bytes.get().saturating_sub(log.delete()));
        // Or it would make files in a directory that is being removed.
        log.compaction_ended().await;
        engine.disk.remove_dir_all(log.directory()).await
    }

    /// Waits until everything that was appended so far is durable.
    ///
    /// # Errors
    /// [`Fenced`].
    pub async fn all_durable(&self) -> Result<(), Fenced> {
        self.engine.journal.all_durable().await
    }

    /// Why the shard takes no appends, if it failed.
    pub fn fenced(&self) -> Option<Fenced> {
        self.engine.journal.fenced()
    }

    /// Bytes that segments hold in memory.
    pub fn cached_bytes(&self) -> usize {
        self.engine.cached_bytes.get()
    }

    /// How many segment files are open.
    pub fn open_files(&self) -> usize {
        self.engine.open_files.count()
    }

    /// Stops cleanly: takes no more appends, makes everything durable in segments, writes a checkpoint that covers the
    /// whole journal, and ends the loops.
    ///
    /// # Errors
    /// Those of the disk. What was acknowledged is then still in the journal.
    pub async fn shutdown(&self) -> Result<(), StopError> {
        let engine = &self.engine;
        engine.stopping.set(true);
        engine.filled.notify();
        engine.journal.all_durable().await?;
        // The next run begins new segments: these can as well be whole files, with their indexes, as other tools read them.
        for log in engine.logs.borrow().values() {
            log.seal();
        }
        match engine.write_everything().await {
            Err(StopError::Disk(error)) if error.is_full() && engine.reserve.release(&engine.disk).await? => {
                engine.write_everything().await?;
            }
            result => result?,
        }
        engine.journal.fence("the engine has stopped");
        Ok(())
    }
}

/// Why a shard could not stop cleanly.
#[derive(Debug, thiserror::Error)]
pub enum StopError {
    /// The journal had failed before.
    #[error(transparent)]
    Fenced(#[from] Fenced),
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
}

impl<D: Disk> Engine<D> {
    /// Brings all that the journal has into segments, and a checkpoint that covers it.
    async fn write_everything(&self) -> Result<(), StopError> {
        self.flush_everything().await?;
        let (incarnation, sequence) = self.journal.reached();
        self.write_checkpoint(incarnation, sequence + 1).await
    }

    /// Writes a checkpoint of all logs; blocks from `first_sequence` on, and files used after `floor`, stay needed.
    /// The caller has flushed the logs that need it.
    async fn write_checkpoint(&self, floor: u64, first_sequence: u64) -> Result<(), StopError> {
        self.write_checkpoint_of(|| (floor, first_sequence)).await
    }

    /// Writes a checkpoint of all logs as they are, with the same need of the journal as the last one.
    async fn refresh_checkpoint(&self) -> Result<(), StopError> {
        self.write_checkpoint_of(|| self.covered.get()).await
    }

    async fn write_checkpoint_of(&self, covered: impl FnOnce() -> (u64, u64)) -> Result<(), StopError> {
        while self.checkpointing.replace(true) {
            self.checkpointed.notified().await;
        }
        // Asked only now: meanwhile another one may have been written, after which journal files were used again.
        let (floor, first_sequence) = covered();
        let result = self.write_checkpoint_alone(floor, first_sequence).await;
        self.checkpointing.set(false);
        self.checkpointed.notify();
        result
    }

    async fn write_checkpoint_alone(&self, floor: u64, first_sequence: u64) -> Result<(), StopError> {
        // The snapshots cover batches that are appended but may not be durable yet: they must not outlive them.
        let (logs, named): (Vec<CheckpointedLog>, Vec<_>) = {
            let logs = self.logs.borrow();
            let with_records = logs.values().filter(|log| log.end().offset > log.start() || log.start() > 0);
            let captured = with_records.map(|log| {
                let checkpointed = CheckpointedLog {
                    id: log.id(),
                    start: log.start(),
                    end: log.synced(),
                    snapshot_offset: log.end().offset,
                    snapshot: (self.snapshots)(log.id()),
                };
                (checkpointed, (log.clone(), log.synced().segment))
            });
            captured.unzip()
        };
        if !mutation::is(Mutation::CheckpointsPhantoms) {
            self.journal.set_checkpoint_waits(true);
            let durable = self.journal.all_durable().await;
            self.journal.set_checkpoint_waits(false);
            durable?;
        }
        let checkpoint = Checkpoint { incarnation_floor: floor, first_sequence, logs };
        let directory = journal_directory(&self.data_dir, self.shard);
        checkpoint.write(&self.disk, &directory, self.shard).await?;
        self.covered.set((floor, first_sequence));
        for (log, segment) in named {
            log.set_checkpointed_segment(segment);
        }
        Ok(())
    }
}

#[cfg(test)]
mod simulated;
#[cfg(test)]
mod tests;
