//! Recovery: from what a crash left to logs whose every byte is in segments.
//!
//! 1. [`Recovery::open`] reads every shard's checkpoint and the journal files that it does not cover. Nothing on disk is
//!    changed. Damage to what was acknowledged ends it here.
//! 2. [`Recovery::replay`] appends to each partition what its checkpointed segments lack, and makes it durable there. It
//!    may be called for the metadata partition first, because only that tells which other partitions still exist.
//! 3. [`Recovery::finish`] writes a checkpoint for each shard that there is now. Only then is the journal not needed.
//!
//! A crash at any point leaves the old checkpoints and journals, or for some shards new ones that cover the same
//! records: the next recovery skips entries that its checkpoints cover. Segment files behind a checkpointed end hold
//! nothing but what the journal has too, and are removed before it is replayed.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use bytes::Bytes;

use super::checkpoint::{Checkpoint, CheckpointError, CheckpointedLog, FILE_NAME};
use super::journal::block::{Entry, EntryKind, FileHeader};
use super::journal::scan::{Damage, FileBytes, ScanError, scan};
use super::journal::writer::JournalStart;
use super::log::{Log, LogPosition, LogSeed, Rolling};
use super::mutation::{self, Mutation};
use super::notify::for_each_concurrent;
use super::reserve;
use super::segment::open_files::OpenFiles;
use super::segment::{base_offset_of, file_name};
use crate::disk::{ALIGNMENT, Disk, DiskError, DiskFile, OpenMode, align_up};
use crate::record::BatchHeader;
use crate::vocabulary::{Offset, PartitionId, ShardId};

/// The directory of the journals, in the data directory.
pub const JOURNAL_DIRECTORY: &str = "journal";

/// How many partitions' replayed records are in memory at once, before they are written.
const WRITTEN_TOGETHER: usize = 1024;
/// How many partitions are written at once.
const WRITES_MAX: usize = 256;
/// How many segment files are open at most.
const OPEN_FILES_MAX: usize = WRITES_MAX;

/// The directory of a shard's journal.
pub fn journal_directory(data_dir: &Path, shard: ShardId) -> PathBuf {
    data_dir.join(JOURNAL_DIRECTORY).join(shard.0.to_string())
}

/// What the layer above keeps for its partitions, as recovery needs it.
pub trait Replay {
    /// Where a partition's files are, relative to the data directory; `None` when it does not exist any more.
    fn directory(&self, id: PartitionId) -> Option<PathBuf>;

    /// The partition's state as the checkpoint has it; empty when it has none.
    ///
    /// # Errors
    /// When the bytes are not such a state.
    fn restore(&mut self, id: PartitionId, snapshot: &[u8]) -> Result<(), String>;

    /// A batch that the state lacks, in order.
    fn apply(&mut self, id: PartitionId, header: &BatchHeader, base_offset: Offset);

    /// The partition's state, for the next checkpoint.
    fn snapshot(&self, id: PartitionId) -> Bytes;
}

/// Why a data directory cannot be recovered. Nothing was changed, or only what the next try repeats.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A checkpoint is unreadable.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A journal file is unreadable.
    #[error(transparent)]
    Scan(#[from] ScanError),
    /// Acknowledged blocks are missing.
    #[error("shard {shard}: {damage}")]
    Damaged {
        /// The shard.
        shard: ShardId,
        /// What is missing.
        damage: Damage,
    },
    /// The journal does not go on where the segments end.
    #[error(
        "partition {id}: the journal goes on at offset {found}, the segments end at {expected}; restore from a copy"
    )]
    Gap {
        /// The partition.
        id: PartitionId,
        /// Where its segments end.
        expected: Offset,
        /// Where the journal goes on.
        found: Offset,
    },
    /// An entry or a snapshot is not what was written.
    #[error("partition {id}: {what}")]
    Malformed {
        /// The partition.
        id: PartitionId,
        /// What is wrong.
        what: String,
    },
}

/// A recovery under way.
pub struct Recovery<D: Disk> {
    disk: D,
    data_dir: PathBuf,
    segment_bytes: u64,
    /// There is a journal file that no checkpoint covers. After a clean stop no segment lies behind its log's end, and
    /// nobody looks.
    after_crash: bool,
    shards: BTreeMap<u16, JournalStart>,
    checkpointed: BTreeMap<PartitionId, CheckpointedLog>,
    entries: BTreeMap<PartitionId, Vec<Entry>>,
    seeds: BTreeMap<PartitionId, LogSeed>,
    open_files: Rc<OpenFiles<D>>,
}

/// A partition that was replayed in memory.
struct Replayed<D: Disk> {
    directory: PathBuf,
    /// Segments from this offset on are what an earlier run wrote, and go.
    from: Offset,
    /// The records; `None` when all of them are deleted.
    log: Option<Log<D>>,
}

/// What a shard starts with.
#[derive(Debug)]
pub struct ShardSeed {
    /// The shard.
    pub shard: ShardId,
    /// Its partitions that have, or had, records.
    pub logs: Vec<LogSeed>,
    /// Where its journal goes on.
    pub journal: JournalStart,
}

impl<D: Disk> Recovery<D> {
    /// Reads checkpoints and journals. `segment_bytes` bounds the segments that replaying writes. With `accept_damage`
    /// acknowledged blocks that are missing are lost, and so is everything behind them in that shard's journal.
    ///
    /// # Errors
    /// See [`RecoveryError`].
    pub async fn open(
        disk: D,
        data_dir: &Path,
        segment_bytes: u64,
        accept_damage: bool,
    ) -> Result<Recovery<D>, RecoveryError> {
        let mut recovery = Recovery {
            data_dir: data_dir.to_path_buf(),
            segment_bytes,
            after_crash: false,
            shards: BTreeMap::new(),
            checkpointed: BTreeMap::new(),
            entries: BTreeMap::new(),
            seeds: BTreeMap::new(),
            open_files: OpenFiles::new(OPEN_FILES_MAX),
            disk,
        };
        for name in recovery.disk.list(&data_dir.join(JOURNAL_DIRECTORY)).await? {
            if let Ok(shard) = name.parse() {
                recovery.open_shard(ShardId(shard), accept_damage).await?;
            }
        }
        // A partition that changed shards has its entries in two journals.
        for entries in recovery.entries.values_mut() {
            entries.sort_by_key(|entry| entry.base_offset);
        }
        Ok(recovery)
    }

    async fn open_shard(&mut self, shard: ShardId, accept_damage: bool) -> Result<(), RecoveryError> {
        let directory = journal_directory(&self.data_dir, shard);
        let checkpoint = Checkpoint::read(&self.disk, &directory).await?;
        let floor = checkpoint.as_ref().map_or(0, |checkpoint| checkpoint.incarnation_floor);
        let first_needed = checkpoint.as_ref().map(|checkpoint| checkpoint.first_sequence);
        let (mut names, mut files) = (Vec::new(), Vec::new());
        for name in self.disk.list(&directory).await? {
            if !name.ends_with(".journal") {
                continue;
            }
            if let Some(bytes) = self.read_journal_file(&directory.join(&name), floor).await? {
                files.push(FileBytes { name: directory.join(&name).display().to_string(), bytes });
            }
            names.push(name);
        }
        self.after_crash |= !files.is_empty();
        let scan = scan(&files, first_needed)?;
        if let Some(damage) = scan.damage.filter(|_| !accept_damage) {
            return Err(RecoveryError::Damaged { shard, damage });
        }
        if checkpoint.is_none() && scan.incarnation_max > 0 {
            let path = directory.join(FILE_NAME).display().to_string();
            return Err(CheckpointError::Missing(path).into());
        }
        let mut blocks = scan.blocks;
        if mutation::is(Mutation::DropsTheLastBlock) {
            blocks.pop();
        }
        for entry in blocks.into_iter().flat_map(|block| block.entries) {
            self.entries.entry(entry.partition).or_default().push(entry);
        }
        for log in checkpoint.into_iter().flat_map(|checkpoint| checkpoint.logs) {
            let known = self.checkpointed.get(&log.id);
            // Of a crash between two shards' new checkpoints both may have the partition: the later one knows more. Of two
            // with the same end, the one that names a later segment: compaction may have changed the other's.
            let place = |log: &CheckpointedLog| (log.end.offset, log.end.segment);
            if known.is_none_or(|known| place(known) <= place(&log)) {
                self.checkpointed.insert(log.id, log);
            }
        }
        let start = JournalStart {
            incarnation_max: scan.incarnation_max.max(floor),
            sequence_max: scan.sequence_max.max(first_needed.unwrap_or(1).saturating_sub(1)),
            files: names,
        };
        self.shards.insert(shard.0, start);
        Ok(())
    }

    /// A journal file's bytes, if they may be needed.
    async fn read_journal_file(&self, path: &Path, floor: u64) -> Result<Option<Bytes>, DiskError> {
        let file = self.disk.open(path, OpenMode::Existing).await?;
        let size = align_up(file.size().await?);
        if size == 0 {
            return Ok(None);
        }
        let head = file.read_at(0, ALIGNMENT).await?;
        if FileHeader::decode(&head).is_ok_and(|header| header.incarnation <= floor) {
            return Ok(None);
        }
        const PIECE: u64 = 1 << 20;
        let mut bytes = Vec::with_capacity(size as usize);
        while (bytes.len() as u64) < size {
            let position = bytes.len() as u64;
            let data = file.read_at(position, PIECE.min(size - position) as usize).await?;
            if data.is_empty() {
                break;
            }
            bytes.extend_from_slice(&data);
        }
        Ok(Some(bytes.into()))
    }

    /// Brings the partitions for which `wanted` holds to their end.
    ///
    /// # Errors
    /// See [`RecoveryError`].
    pub async fn replay(
        &mut self,
        wanted: impl Fn(PartitionId) -> bool,
        state: &mut impl Replay,
    ) -> Result<(), RecoveryError> {
        let ids = self.checkpointed.keys().chain(self.entries.keys()).copied();
        let ids: std::collections::BTreeSet<PartitionId> =
            ids.filter(|id| wanted(*id) && !self.seeds.contains_key(id)).collect();
        let mut replayed = Vec::new();
        for id in ids {
            let Some(directory) = state.directory(id) else { continue };
            replayed.extend(self.replay_partition(id, directory, state)?);
            if replayed.len() >= WRITTEN_TOGETHER {
                self.write_replayed(std::mem::take(&mut replayed)).await?;
            }
        }
        self.write_replayed(replayed).await
    }

    /// Makes what was replayed durable in segments: of many partitions at once, so that the file system commits their
    /// files' names and sizes together.
    async fn write_replayed(&self, replayed: Vec<Replayed<D>>) -> Result<(), RecoveryError> {
        let writes = replayed.iter().map(|one| async move {
            self.remove_segments_from(&one.directory, one.from).await?;
            match &one.log {
                Some(log) => self.write_log(log).await,
                None => Ok(()),
            }
        });
        Ok(for_each_concurrent(writes, WRITES_MAX).await?)
    }

    async fn write_log(&self, log: &Log<D>) -> Result<(), DiskError> {
        match log.flush(&self.disk).await {
            Err(error) if error.is_full() => {
                self.release_reserves().await?;
                log.flush(&self.disk).await
            }
            result => result,
        }
    }

    /// Brings a partition to its end in memory; what of it has to be written, if anything.
    fn replay_partition(
        &mut self,
        id: PartitionId,
        directory: PathBuf,
        state: &mut impl Replay,
    ) -> Result<Option<Replayed<D>>, RecoveryError> {
        let malformed = |what: String| RecoveryError::Malformed { id, what };
        let mut seed = LogSeed::new(id, directory);
        let mut snapshot_offset = 0;
        let mut snapshot = Bytes::new();
        if let Some(log) = self.checkpointed.get(&id) {
            (seed.start, seed.end) = (log.start, log.end);
            (snapshot_offset, snapshot) = (log.snapshot_offset, log.snapshot.clone());
        }
        state.restore(id, &snapshot).map_err(malformed)?;
        let entries = self.entries.remove(&id).unwrap_or_default();
        let (starts, batches): (Vec<Entry>, Vec<Entry>) =
            entries.into_iter().partition(|entry| entry.kind == EntryKind::LogStart);
        seed.start = starts.iter().map(|entry| entry.base_offset).fold(seed.start, Offset::max);
        if seed.start >= seed.end.offset {
            // The segment of the checkpointed end is deleted, or about to be.
            seed.end = LogPosition::start_at(seed.end.offset);
        }
        if batches.iter().all(|entry| entry.base_offset < seed.end.offset) {
            // Only where damage was accepted is the start behind the end.
            seed.end = if seed.start > seed.end.offset { LogPosition::start_at(seed.start) } else { seed.end };
            let left_over = self.after_crash.then(|| Replayed {
                directory: self.data_dir.join(&seed.directory),
                from: seed.end.offset,
                log: None,
            });
            self.seeds.insert(id, seed);
            return Ok(left_over);
        }
        let from = seed.end.offset;
        let rolling = Rolling { bytes: self.segment_bytes, after_ms: None };
        let mut log: Option<Log<D>> = None;
        for entry in batches {
            let expected = log.as_ref().map_or(seed.end.offset, |log| log.end().offset);
            if entry.base_offset < expected {
                continue;
            }
            if entry.base_offset > expected {
                return Err(RecoveryError::Gap { id, expected, found: entry.base_offset });
            }
            let header = BatchHeader::parse(&entry.payload)
                .ok()
                .filter(|header| header.total_len() == entry.payload.len())
                .ok_or_else(|| malformed(format!("the journal's entry at offset {expected} is no record batch")))?;
            let end = expected + i64::from(header.last_offset_delta) + 1;
            if log.is_none() && end <= seed.start {
                // Deleted: only the state above the log has a use for it.
                seed.end = LogPosition::start_at(end);
            } else {
                let log = log.get_or_insert_with(|| Log::open(&self.data_dir, &seed, &self.open_files));
                for _ in 0..1 + usize::from(mutation::is(Mutation::ReplaysTwice)) {
                    log.append(&entry.payload, &header, entry.leader_epoch, rolling);
                }
            }
            if entry.base_offset >= snapshot_offset {
                state.apply(id, &header, entry.base_offset);
            }
        }
        if let Some(log) = &log {
            seed.end = log.end();
        }
        if seed.start > seed.end.offset {
            seed.end = LogPosition::start_at(seed.start);
        }
        let directory = self.data_dir.join(&seed.directory);
        self.seeds.insert(id, seed);
        Ok(Some(Replayed { directory, from, log }))
    }

    /// Gives up every shard's reserve: what is acknowledged fits into it.
    async fn release_reserves(&self) -> Result<(), DiskError> {
        let journals = self.data_dir.join(JOURNAL_DIRECTORY);
        for name in self.disk.list(&journals).await? {
            match self.disk.remove(&journals.join(name).join(reserve::FILE_NAME)).await {
                Err(error) if error.is_not_found() => {}
                result => result?,
            }
        }
        Ok(())
    }

    /// Removes what an earlier run wrote behind the checkpointed end: the journal has it, and may lay it out anew, or it was
    /// written ahead of a journal that never got it. A segment that stayed would hide the records of later ones.
    async fn remove_segments_from(&self, directory: &Path, from: Offset) -> Result<(), DiskError> {
        let mut removed = false;
        for name in self.disk.list(directory).await? {
            let Some(base_offset) = base_offset_of(&name) else { continue };
            if base_offset >= from {
                self.disk.remove(&directory.join(name)).await?;
                let index = directory.join(file_name(base_offset, "index"));
                match self.disk.remove(&index).await {
                    Err(error) if error.is_not_found() => {}
                    result => result?,
                }
                removed = true;
            }
        }
        // One that came back after a crash would lie in the middle of what is written now.
        if removed { self.disk.sync_dir(directory).await } else { Ok(()) }
    }

    /// A partition's log as replayed, to be read before the shards start; its durable end is its end.
    pub fn log(&self, id: PartitionId) -> Option<Log<D>> {
        self.seeds.get(&id).map(|seed| Log::open(&self.data_dir, seed, &self.open_files))
    }

    /// Writes the checkpoints of shards `0..shards`, each with the partitions that `owner` gives it, and removes what
    /// other shards left.
    ///
    /// # Errors
    /// See [`RecoveryError`].
    pub async fn finish(
        self,
        shards: usize,
        owner: impl Fn(PartitionId) -> Option<ShardId>,
        state: &impl Replay,
    ) -> Result<Vec<ShardSeed>, RecoveryError> {
        // Each shard's checkpoint has all partitions, its own or not: a crash may come before the next shard's is
        // written, and this shard's old one, which is gone then, may have been the only one that knew a partition that
        // is now another's. Of two checkpoints that have a partition the later end counts, so a stale one does no harm.
        let logs: Vec<CheckpointedLog> = self
            .seeds
            .values()
            .map(|seed| CheckpointedLog {
                id: seed.id,
                start: seed.start,
                end: seed.end,
                snapshot_offset: seed.end.offset,
                snapshot: state.snapshot(seed.id),
            })
            .collect();
        let mut started: Vec<ShardSeed> = Vec::new();
        // A shard that there is no more gets one too: half of its journal removed, and an old checkpoint that asks for the
        // whole, would look like damage.
        let gone: Vec<u16> = self.shards.keys().copied().filter(|&index| usize::from(index) >= shards).collect();
        for index in (0..shards as u16).chain(gone.iter().copied()) {
            let shard = ShardId(index);
            let journal = self.shards.get(&index).cloned().unwrap_or_default();
            let directory = journal_directory(&self.data_dir, shard);
            self.disk.create_dir_all(&directory).await?;
            let checkpoint = Checkpoint {
                incarnation_floor: journal.incarnation_max,
                first_sequence: journal.sequence_max + 1,
                logs: logs.clone(),
            };
            match checkpoint.write(&self.disk, &directory, shard).await {
                Err(error) if error.is_full() => {
                    self.release_reserves().await?;
                    checkpoint.write(&self.disk, &directory, shard).await?;
                }
                result => result?,
            }
            if shard.index() < shards {
                started.push(ShardSeed { shard, logs: Vec::new(), journal });
            }
        }
        for (id, seed) in self.seeds {
            let Some(shard) = owner(id) else { continue };
            started[shard.index()].logs.push(seed);
        }
        self.disk.sync_dir(&self.data_dir.join(JOURNAL_DIRECTORY)).await?;
        self.disk.sync_dir(&self.data_dir).await?;
        for index in gone {
            let directory = journal_directory(&self.data_dir, ShardId(index));
            // Without its checkpoint a half-removed journal would be taken for a whole one: that goes last.
            for name in self.disk.list(&directory).await? {
                if name != FILE_NAME {
                    self.disk.remove(&directory.join(name)).await?;
                }
            }
            self.disk.sync_dir(&directory).await?;
            self.disk.remove_dir_all(&directory).await?;
        }
        Ok(started)
    }
}
