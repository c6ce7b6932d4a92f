//! One partition's log: its segments in order, and the three ends that matter.
//!
//! ```text
//! start ≤ synced.offset ≤ end.offset      below `synced`, the segments alone survive a crash
//! start ≤ durable.offset ≤ end.offset     below `durable`, journal and segments together do; readers see no further
//! ```
//!
//! After a restart the first append begins a new segment, so that no ragged tail is ever read back: the segment before
//! it is cut to its length when it is next flushed.

use std::cell::{Cell, RefCell};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use crate::disk::{Disk, DiskFile, DiskResult, OpenMode};
use crate::record::BatchHeader;
use crate::storage::compaction::swap;
use crate::storage::mutation::{self, Mutation};
use crate::storage::notify::Notify;
use crate::storage::segment::open_files::OpenFiles;
use crate::storage::segment::{Flush, Home, Limit, ReadError, Records, Segment, base_offset_of, file_name};
use crate::vocabulary::{LeaderEpoch, Offset, PartitionId, TimestampMs};

/// A place between two batches of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogPosition {
    /// The offset of the next record.
    pub offset: Offset,
    /// The base offset of the segment that ends or goes on there.
    pub segment: Offset,
    /// Bytes of that segment before it.
    pub bytes: u64,
}

impl LogPosition {
    /// The place before the first record of a log that starts at `offset`.
    pub fn start_at(offset: Offset) -> LogPosition {
        LogPosition { offset, segment: offset, bytes: 0 }
    }
}

/// What recovery knows of a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSeed {
    /// The partition.
    pub id: PartitionId,
    /// Where its files are, relative to the data directory.
    pub directory: PathBuf,
    /// The offset of its first record.
    pub start: Offset,
    /// Its end, durable in its segments.
    pub end: LogPosition,
}

impl LogSeed {
    /// A partition that has never had a record.
    pub fn new(id: PartitionId, directory: PathBuf) -> LogSeed {
        LogSeed { id, directory, start: 0, end: LogPosition::start_at(0) }
    }
}

/// When a segment ends and the next one begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rolling {
    /// When it would become longer, bytes; at most 2 GiB − 1 (Kafka's `segment.bytes`).
    pub bytes: u64,
    /// When a batch comes whose timestamp is so much later than that of the segment's first batch, milliseconds (Kafka's
    /// `segment.ms`).
    pub after_ms: Option<i64>,
}

/// What a log keeps (Kafka's `retention.ms` and `retention.bytes`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// Segments without a record of this time or later go; records without a timestamp stay. `None` for no bound.
    pub expired_before: Option<TimestampMs>,
    /// The oldest segments go while the others have so many bytes. `None` for no bound.
    pub bytes: Option<u64>,
}

/// Why a log could not be read.
#[derive(Debug, thiserror::Error)]
pub enum LogReadError {
    /// Kafka's `OFFSET_OUT_OF_RANGE`.
    #[error("offset {offset} is outside of the log, which has {start} to {end}")]
    OutOfRange {
        /// What was asked for.
        offset: Offset,
        /// The log's first offset.
        start: Offset,
        /// The offset behind its last durable record.
        end: Offset,
    },
    /// A segment could not be read.
    #[error(transparent)]
    Segment(#[from] ReadError),
}

/// What an append did to memory.
#[derive(Debug)]
pub(super) struct Grown<D: Disk> {
    /// The end behind the batch.
    pub(super) end: LogPosition,
    /// Bytes of memory taken.
    pub(super) bytes: usize,
    /// A segment with a chunk that became full.
    pub(super) full: Option<Rc<Segment<D>>>,
}

impl<D: Disk> std::fmt::Debug for Segment<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Segment").field("base_offset", &self.base_offset()).field("len", &self.len()).finish()
    }
}

/// One partition's log. Lives on the partition's shard.
pub struct Log<D: Disk> {
    id: PartitionId,
    home: Rc<Home<D>>,
    state: RefCell<State<D>>,
    /// When segments end; `None` for the engine's rule.
    rolling: Cell<Option<Rolling>>,
    makes_room: Cell<bool>,
    /// One at a time lists the directory.
    listing: Cell<bool>,
    listed: Notify,
    /// The segment that the last durable checkpoint names as the end's.
    checkpointed_segment: Cell<Offset>,
    compaction: Cell<Compaction>,
    compacted: Notify,
    /// Notified when the durable end moves, and when the log is deleted.
    pub(super) durable_moved: Notify,
}

/// What a log knows of its compaction.
#[derive(Clone, Copy, Default)]
struct Compaction {
    running: bool,
    /// No more until the next start.
    ended: bool,
    /// Up to here the log is clean; `None` before it was looked for.
    first_dirty: Option<Offset>,
    /// The segment that is appended to, and since when it is known to be, by the disk's clock.
    appending_since: Option<(Offset, Duration)>,
}

/// A compaction under way: its log's segments are not removed meanwhile.
pub(super) struct Compacting<D: Disk>(Rc<Log<D>>);

impl<D: Disk> Drop for Compacting<D> {
    fn drop(&mut self) {
        let compaction = &self.0.compaction;
        compaction.set(Compaction { running: false, ..compaction.get() });
        self.0.compacted.notify();
    }
}

struct State<D: Disk> {
    start: Offset,
    end: LogPosition,
    durable: LogPosition,
    synced: LogPosition,
    /// In order; appends go to the last one unless it is sealed.
    segments: Vec<Rc<Segment<D>>>,
    appending: bool,
    /// Whether segments from before the last restart have been looked for.
    listed: bool,
    deleted: bool,
}

impl<D: Disk> Log<D> {
    /// The log that a seed describes. Touches no disk.
    pub fn open(data_dir: &Path, seed: &LogSeed, open_files: &Rc<OpenFiles<D>>) -> Log<D> {
        let has_segments = seed.end.bytes > 0;
        let home = Home::new(data_dir.join(&seed.directory), open_files, has_segments);
        let mut segments = Vec::new();
        if has_segments {
            segments.push(Segment::existing(&home, seed.end.segment, seed.end.bytes, false));
        }
        let state = State {
            start: seed.start,
            end: seed.end,
            durable: seed.end,
            synced: seed.end,
            // Of a log that starts later there may be segments from before its start, which a crash kept from removal.
            listed: seed.end.segment == 0,
            segments,
            appending: false,
            deleted: false,
        };
        Log {
            id: seed.id,
            home,
            state: RefCell::new(state),
            rolling: Cell::new(None),
            makes_room: Cell::new(false),
            listing: Cell::new(false),
            listed: Notify::default(),
            // Recovery wrote a checkpoint with the seed, and before it there was one with no later segment.
            checkpointed_segment: Cell::new(seed.end.segment),
            compaction: Cell::default(),
            compacted: Notify::default(),
            durable_moved: Notify::default(),
        }
    }

    /// The partition.
    pub fn id(&self) -> PartitionId {
        self.id
    }

    /// Where its segments are.
    pub(super) fn home(&self) -> &Rc<Home<D>> {
        &self.home
    }

    /// The directory of its files.
    pub fn directory(&self) -> &Path {
        self.home.directory()
    }

    /// The offset of the first record (Kafka's log start offset).
    pub fn start(&self) -> Offset {
        self.state.borrow().start
    }

    /// The end of what was appended (Kafka's LEO, as an offset).
    pub fn end(&self) -> LogPosition {
        self.state.borrow().end
    }

    /// The end of what is durable: the high watermark of an unreplicated partition.
    pub fn durable(&self) -> LogPosition {
        self.state.borrow().durable
    }

    /// The end of what is durable in the segments alone.
    pub fn synced(&self) -> LogPosition {
        self.state.borrow().synced
    }

    /// Whether the log was deleted.
    pub fn is_deleted(&self) -> bool {
        self.state.borrow().deleted
    }

    /// When segments end, if the log has a rule of its own.
    pub fn rolling(&self) -> Option<Rolling> {
        self.rolling.get()
    }

    /// Has segments end by this rule, from the next append on.
    pub fn set_rolling(&self, rolling: Rolling) {
        self.rolling.set(Some(rolling));
    }

    /// Whether the log is appended to on a full disk too, see [`Log::set_makes_room`].
    pub fn makes_room(&self) -> bool {
        self.makes_room.get()
    }

    /// Has the log take appends on a full disk: its records, few and small, are how the disk gets room again.
    pub fn set_makes_room(&self) {
        self.makes_room.set(true);
    }

    /// Waits until the durable end moves, or the log is deleted.
    pub async fn durable_moved(&self) {
        self.durable_moved.notified().await;
    }

    /// The segment that the last durable checkpoint names: those before it may be compacted.
    pub(super) fn checkpointed_segment(&self) -> Offset {
        self.checkpointed_segment.get()
    }

    /// A durable checkpoint names this segment.
    pub(super) fn set_checkpointed_segment(&self, segment: Offset) {
        self.checkpointed_segment.set(self.checkpointed_segment.get().max(segment));
    }

    /// Begins a compaction; `None` when one is under way or none is to be.
    pub(super) fn begin_compaction(self: &Rc<Self>) -> Option<Compacting<D>> {
        let compaction = self.compaction.get();
        if compaction.running || compaction.ended || self.is_deleted() {
            return None;
        }
        self.compaction.set(Compaction { running: true, ..compaction });
        Some(Compacting(self.clone()))
    }

    /// Has no more compactions begin.
    pub(super) fn end_compactions(&self) {
        self.compaction.set(Compaction { ended: true, ..self.compaction.get() });
    }

    /// Waits until no compaction is under way.
    pub(super) async fn compaction_ended(&self) {
        while self.compaction.get().running {
            self.compacted.notified().await;
        }
    }

    /// Up to where the log is clean, if that was looked for.
    pub(super) fn first_dirty(&self) -> Option<Offset> {
        self.compaction.get().first_dirty
    }

    /// The log is clean up to here.
    pub(super) fn set_first_dirty(&self, offset: Offset) {
        self.compaction.set(Compaction { first_dirty: Some(offset), ..self.compaction.get() });
    }

    /// Ends the last segment when it has been appended to for so long, or when nothing is appended to it any more anyway:
    /// the end of the log then lies in no segment, and all of them can be compacted. It is the time since this was first
    /// called for the segment that counts, not the records' timestamps: a producer may send those of years ago.
    pub(super) fn roll_if_older(&self, now: Duration, age_max: Duration) {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let Some(last) = state.segments.last().filter(|_| state.end.bytes > 0) else { return };
        if state.appending {
            let compaction = self.compaction.get();
            let known = compaction.appending_since.filter(|(segment, _)| *segment == last.base_offset());
            let (_, since) = known.unwrap_or((last.base_offset(), now));
            self.compaction.set(Compaction { appending_since: Some((last.base_offset(), since)), ..compaction });
            if now.saturating_sub(since) < age_max {
                return;
            }
        }
        last.seal();
        state.appending = false;
        state.end = LogPosition::start_at(state.end.offset);
        if state.durable.offset == state.end.offset {
            state.durable = state.end;
        }
        // `synced` moves when the segment's file has been cut to its length.
    }

    /// Puts `cleaned`, or nothing, in the place of neighbouring segments, all of them durable.
    pub(super) fn replace(&self, old: &[Rc<Segment<D>>], cleaned: Option<Rc<Segment<D>>>) {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        let first = state.segments.iter().position(|segment| old.first().is_some_and(|old| Rc::ptr_eq(segment, old)));
        // The segments of a deleted log are gone.
        let Some(first) = first else { return };
        for position in [&mut state.durable, &mut state.synced] {
            if old.iter().any(|segment| segment.base_offset() == position.segment) {
                *position = LogPosition::start_at(position.offset);
            }
        }
        state.segments.splice(first..first + old.len(), cleaned);
    }

    /// Moves the start forward; the caller puts that into the journal. Not behind the durable end.
    pub(super) fn raise_start(&self, offset: Offset) {
        let mut state = self.state.borrow_mut();
        debug_assert!(offset <= state.durable.offset);
        state.start = state.start.max(offset);
    }

    /// The offset that the start has to move to so that the log keeps to `retention`: where a segment begins, or the
    /// log's end.
    ///
    /// # Errors
    /// See [`LogReadError`].
    pub async fn retained_from(&self, disk: &D, retention: Retention) -> Result<Offset, LogReadError> {
        self.list_older(disk).await?;
        let segments = self.segments();
        let mut bytes: u64 = segments.iter().map(|segment| segment.len()).sum();
        let mut from = self.start();
        for (index, segment) in segments.iter().enumerate() {
            let end = segments.get(index + 1).map_or(self.end().offset, |next| next.base_offset());
            if end <= from {
                // Deleted already, and perhaps by a crash half written: not to be looked into.
                bytes -= segment.len();
                continue;
            }
            if end > self.durable().offset {
                break;
            }
            let expired = match retention.expired_before {
                Some(limit) => segment.max_timestamp(disk).await?.is_some_and(|(max, _)| max < limit),
                None => false,
            };
            let too_much = retention.bytes.is_some_and(|limit| bytes - segment.len() >= limit);
            if !expired && !too_much {
                break;
            }
            bytes -= segment.len();
            from = from.max(end);
        }
        Ok(from)
    }

    /// Takes the segments that lie before the start out of the log, so that their files can be removed.
    pub(super) async fn take_before_start(&self, disk: &D) -> Result<Vec<Rc<Segment<D>>>, LogReadError> {
        self.list_older(disk).await?;
        if self.compaction.get().running {
            return Ok(Vec::new());
        }
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        // What is not in the segments yet is replayed from the journal into the segment that the checkpoint names.
        let limit = state.start.min(state.synced.offset);
        let last_end = state.end.offset;
        let ends = state.segments.iter().skip(1).map(|next| next.base_offset()).chain([last_end]);
        let count = ends.take_while(|&end| end <= limit).count().min(state.segments.len());
        let taken: Vec<_> = state.segments.drain(..count).collect();
        if state.segments.is_empty() && state.start >= last_end {
            // The next append begins a segment, and nothing is left that the end could lie in.
            state.end = LogPosition::start_at(last_end);
            (state.durable, state.synced) = (state.end, state.end);
            state.appending = false;
        }
        let is_taken = |base_offset| taken.iter().any(|segment| segment.base_offset() == base_offset);
        for position in [&mut state.durable, &mut state.synced] {
            if is_taken(position.segment) {
                *position = LogPosition::start_at(position.offset);
            }
        }
        Ok(taken)
    }

    /// Appends in memory. The caller puts the same batch into the journal.
    pub(super) fn append(
        &self,
        batch: &[u8],
        header: &BatchHeader,
        leader_epoch: LeaderEpoch,
        rolling: Rolling,
    ) -> Grown<D> {
        let mut state = self.state.borrow_mut();
        let base_offset = state.end.offset;
        let offset = base_offset + i64::from(header.last_offset_delta) + 1;
        let fits = |segment: &Segment<D>| {
            // An index counts offsets and positions in 32 bits.
            let is_small = segment.len() + batch.len() as u64 <= rolling.bytes
                && offset - segment.base_offset() <= i64::from(i32::MAX);
            let is_young = rolling.after_ms.is_none_or(|limit| segment.age_at(header.max_timestamp) <= limit);
            is_small && is_young
        };
        let mut sealed = None;
        if !state.appending || !state.segments.last().is_some_and(|last| fits(last)) {
            if let Some(last) = state.segments.last() {
                last.seal();
                sealed = state.appending.then(|| last.clone());
            }
            state.segments.push(Segment::new(&self.home, base_offset));
            state.appending = true;
        }
        let segment = state.segments.last().expect("pushed above when there was none").clone();
        let (bytes, filled) = segment.append(batch, header, base_offset, leader_epoch);
        state.end = LogPosition { offset, segment: segment.base_offset(), bytes: segment.len() };
        if mutation::is(Mutation::ReadsAboveDurable) {
            state.durable = state.end;
        }
        Grown { end: state.end, bytes, full: sealed.or(filled.then_some(segment)) }
    }

    /// Everything up to `position` is durable. Moves forward only.
    pub(super) fn advance_durable(&self, position: LogPosition) {
        {
            let mut state = self.state.borrow_mut();
            if position.offset <= state.durable.offset {
                return;
            }
            state.durable = position;
        }
        self.durable_moved.notify();
    }

    /// Ends the last segment, so that the next flush cuts its file and writes its index. An append would begin a new one.
    pub(super) fn seal(&self) {
        let mut state = self.state.borrow_mut();
        state.appending = false;
        if let Some(last) = state.segments.last() {
            last.seal();
        }
    }

    /// Writes and syncs every segment up to the present end.
    pub(super) async fn flush(&self, disk: &D) -> DiskResult<()> {
        let (target, segments) = {
            let state = self.state.borrow();
            (state.end, state.segments.clone())
        };
        for segment in segments.iter().filter(|segment| !segment.is_flushed()) {
            match segment.flush(disk, Flush::Everything).await {
                Err(_) if self.is_deleted() => return Ok(()),
                result => result?,
            }
        }
        let mut state = self.state.borrow_mut();
        // The same offset may meanwhile lie behind a segment instead of in it.
        if (target.offset, target.segment) > (state.synced.offset, state.synced.segment) {
            state.synced = target;
        }
        Ok(())
    }

    /// Marks the log as deleted; returns the memory that its segments hold, in bytes.
    pub(super) fn delete(&self) -> usize {
        let segments = {
            let mut state = self.state.borrow_mut();
            state.deleted = true;
            std::mem::take(&mut state.segments)
        };
        self.durable_moved.notify();
        segments.iter().map(|segment| segment.memory_bytes()).sum()
    }

    /// The segments that are known, oldest first.
    pub(super) fn segments(&self) -> Vec<Rc<Segment<D>>> {
        self.state.borrow().segments.clone()
    }

    /// Whole durable batches from the one that holds `offset`: at most `max_bytes`, but at least one when there is one.
    /// `None` when they are not in memory.
    pub fn read_cached(&self, offset: Offset, max_bytes: usize) -> Option<Records> {
        let (segment, limit) = self.locate(offset)?;
        segment.read_cached(offset, max_bytes, limit).filter(|records| !records.is_empty())
    }

    /// The segment that should hold `offset`, and how much of it is durable.
    fn locate(&self, offset: Offset) -> Option<(Rc<Segment<D>>, Limit)> {
        let state = self.state.borrow();
        if offset < state.start || offset >= state.durable.offset {
            return None;
        }
        let after = state.segments.partition_point(|segment| segment.base_offset() <= offset);
        let at = match after.checked_sub(1) {
            Some(at) => at,
            // Compaction has left nothing of the segment that the log begins with.
            None if state.listed => 0,
            None => return None,
        };
        let segment = state.segments.get(at).filter(|segment| segment.base_offset() <= state.durable.segment)?;
        Some((segment.clone(), state.durable_part_of(segment)))
    }

    /// What [`Log::read_cached`] gives, from the disk where need be; empty at the durable end.
    ///
    /// # Errors
    /// See [`LogReadError`].
    pub async fn read(&self, disk: &D, offset: Offset, max_bytes: usize) -> Result<Records, LogReadError> {
        let (start, end) = (self.start(), self.durable().offset);
        if offset < start || offset > end {
            return Err(LogReadError::OutOfRange { offset, start, end });
        }
        if let Some(records) = self.read_cached(offset, max_bytes) {
            return Ok(records);
        }
        if self.locate(offset).is_none() {
            self.list_older(disk).await?;
        }
        let Some((mut segment, mut limit)) = self.locate(offset) else { return Ok(Records::default()) };
        loop {
            let records = segment.read(disk, offset, max_bytes, limit).await?;
            if !records.is_empty() {
                return Ok(records);
            }
            // The offset lies behind the segment's last record, in a gap: the next segment has what follows.
            match self.segment_after(segment.base_offset()) {
                Some(next) => (segment, limit) = next,
                None => return Ok(records),
            }
        }
    }

    fn segment_after(&self, base_offset: Offset) -> Option<(Rc<Segment<D>>, Limit)> {
        let state = self.state.borrow();
        let next = state.segments.iter().find(|segment| segment.base_offset() > base_offset)?;
        (next.base_offset() <= state.durable.segment).then(|| (next.clone(), state.durable_part_of(next)))
    }

    /// The first durable batch whose max timestamp is at least `timestamp`, from the one that holds `from` on, which is
    /// not before the start. `None` when there is none.
    ///
    /// # Errors
    /// See [`LogReadError`].
    pub async fn first_batch_at_or_after(
        &self,
        disk: &D,
        timestamp: TimestampMs,
        from: Offset,
    ) -> Result<Option<bytes::Bytes>, LogReadError> {
        self.list_older(disk).await?;
        for (segment, limit) in self.durable_segments(from) {
            if let Some(batch) = segment.first_batch_at_or_after(disk, timestamp, from, limit).await? {
                return Ok(Some(batch));
            }
        }
        Ok(None)
    }

    /// The first durable batch that has the log's largest timestamp. `None` when no batch has a timestamp.
    ///
    /// # Errors
    /// See [`LogReadError`].
    pub async fn batch_of_max_timestamp(&self, disk: &D) -> Result<Option<bytes::Bytes>, LogReadError> {
        self.list_older(disk).await?;
        let start = self.start();
        let mut max: Option<TimestampMs> = None;
        for (segment, limit) in self.durable_segments(start) {
            max = max.max(segment.max_timestamp_from(disk, start, limit).await?);
        }
        let Some(largest) = max else { return Ok(None) };
        if let Some(batch) = self.first_batch_at_or_after(disk, largest, start).await? {
            return Ok(Some(batch));
        }
        // Only a batch that compaction has emptied has it: the indexes do not tell which one of the others is next.
        max = None;
        for (segment, limit) in self.durable_segments(start) {
            max = max.max(segment.max_timestamp_of_records(disk, start, limit).await?);
        }
        match max {
            Some(max) => self.first_batch_at_or_after(disk, max, start).await,
            None => Ok(None),
        }
    }

    /// The segments with durable batches, from the one that holds `from` on, and how much of each is durable.
    fn durable_segments(&self, from: Offset) -> Vec<(Rc<Segment<D>>, Limit)> {
        let state = self.state.borrow();
        let first = state.segments.partition_point(|segment| segment.base_offset() <= from).saturating_sub(1);
        let durable = state.segments[first..].iter().filter(|segment| segment.base_offset() <= state.durable.segment);
        durable.map(|segment| (segment.clone(), state.durable_part_of(segment))).collect()
    }

    /// Finds the segments that earlier runs left, and ends compactions that a crash interrupted.
    pub(super) async fn list_older(&self, disk: &D) -> Result<(), LogReadError> {
        while !self.state.borrow().listed && self.listing.replace(true) {
            self.listed.notified().await;
        }
        if self.state.borrow().listed {
            return Ok(());
        }
        // Alone: another one would settle a compaction that has begun since.
        let listing = Listing(self);
        let result = self.list_older_alone(disk).await;
        drop(listing);
        result
    }

    async fn list_older_alone(&self, disk: &D) -> Result<(), LogReadError> {
        let known_from = {
            let state = self.state.borrow();
            state.segments.first().map_or(state.end.offset, |first| first.base_offset())
        };
        let mut older = Vec::new();
        let mut names = disk.list(self.home.directory()).await.map_err(ReadError::Disk)?;
        if swap::settle(disk, self.home.directory(), &names).await.map_err(ReadError::Disk)? {
            names = disk.list(self.home.directory()).await.map_err(ReadError::Disk)?;
        }
        for name in names {
            let Some(base_offset) = base_offset_of(&name).filter(|&base| base < known_from) else { continue };
            let path = self.home.directory().join(file_name(base_offset, "log"));
            let file = disk.open(&path, OpenMode::Existing).await.map_err(ReadError::Disk)?;
            let len = file.size().await.map_err(ReadError::Disk)?;
            if len > 0 {
                older.push(Segment::existing(&self.home, base_offset, len, true));
            }
        }
        older.sort_by_key(|segment| segment.base_offset());
        let mut state = self.state.borrow_mut();
        if !state.listed && !state.deleted {
            state.listed = true;
            older.append(&mut state.segments);
            state.segments = older;
        }
        Ok(())
    }
}

/// The one who lists the directory.
struct Listing<'a, D: Disk>(&'a Log<D>);

impl<D: Disk> Drop for Listing<'_, D> {
    fn drop(&mut self) {
        self.0.listing.set(false);
        self.0.listed.notify();
    }
}

impl<D: Disk> State<D> {
    fn durable_part_of(&self, segment: &Segment<D>) -> Limit {
        if segment.base_offset() == self.durable.segment {
            return Limit { position: self.durable.bytes, offset: self.durable.offset };
        }
        let after = self.segments.partition_point(|other| other.base_offset() <= segment.base_offset());
        let offset = self.segments.get(after).map_or(self.durable.offset, |next| next.base_offset());
        Limit { position: segment.len(), offset }
    }
}
