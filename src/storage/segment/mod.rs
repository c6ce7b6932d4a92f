//! Segments: the files that a partition's records are read from.
//!
//! `<20-digit base offset>.log` holds Kafka v2 record batches, back to back, exactly as they are sent to consumers.
//! Bytes are appended in memory and go to the file later, in aligned pieces of up to [`CHUNK_BYTES`]; until then the
//! journal makes them durable. The positions of a segment are ordered:
//!
//! ```text
//! 0 ≤ synced ≤ written ≤ len          file bytes below `written` equal the segment's, below `synced` they survive a crash
//! evicted ≤ written                   what is not in memory is in the file
//! ```
//!
//! The last block of the file may be written padded with zeros and written again with more in it. That cannot harm what
//! is there: both writes have the same bytes below the old length. A sealed segment's file ends at its last batch.

pub mod chunk;
pub mod index;
pub mod open_files;
mod read;

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};

use crate::disk::{ALIGNMENT, Disk, DiskBuffer, DiskFile, DiskResult, OpenMode, align_down, align_up};
use crate::record::BatchHeader;
use crate::storage::mutation::{self, Mutation};
use crate::storage::notify::Notify;
use crate::vocabulary::{LeaderEpoch, Offset, TimestampMs};
use chunk::{CHUNK_BYTES, Chunk};
use index::Index;
use open_files::OpenFiles;
pub use read::{Limit, ReadError, Records};

/// A new file is durable when its name is, and the names of the directories that may be new with it: partition, topic,
/// all topics, data directory.
const DIRECTORIES_SYNCED: usize = 4;

/// How far [`Segment::flush`] goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// Writes the chunks that are full: large writes only.
    FullChunks,
    /// Writes everything that was appended before the call, the ragged tail too, and makes it durable.
    Everything,
}

/// Where a partition's segments are. Shared by all of them.
pub struct Home<D: Disk> {
    directory: PathBuf,
    open_files: Rc<OpenFiles<D>>,
    /// Whether the names of the directory and of those above it are known to be durable.
    durable: Cell<bool>,
}

impl<D: Disk> Home<D> {
    /// The segments in `directory`; `durable` when that has segments that a crash does not take away.
    pub fn new(directory: PathBuf, open_files: &Rc<OpenFiles<D>>, durable: bool) -> Rc<Home<D>> {
        Rc::new(Home { directory, open_files: open_files.clone(), durable: Cell::new(durable) })
    }

    /// The directory.
    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// Makes the name of a new file durable.
    async fn sync_names(&self, disk: &D) -> DiskResult<()> {
        let needed = if self.durable.get() { 1 } else { DIRECTORIES_SYNCED };
        let directories = if mutation::is(Mutation::SyncsNoDirectory) { 0 } else { needed };
        for directory in self.directory.ancestors().take(directories) {
            disk.sync_dir(directory).await?;
        }
        self.durable.set(true);
        Ok(())
    }
}

/// One segment of one partition. Lives on the partition's shard.
pub struct Segment<D: Disk> {
    base_offset: Offset,
    home: Rc<Home<D>>,
    state: RefCell<State<D>>,
    /// One flush at a time: pieces of two would overlap.
    flushing: Cell<bool>,
    flushed: Notify,
    /// Deleted: its file is not made again.
    removed: Cell<bool>,
    /// Whether its file was used since [`OpenFiles`] last looked.
    used: Cell<bool>,
    /// Keeps its file and index, because another file may get its name.
    pinned: Cell<bool>,
    /// Itself, for [`OpenFiles`].
    me: Weak<Segment<D>>,
}

struct State<D: Disk> {
    len: u64,
    written: u64,
    synced: u64,
    /// The end of the file in memory; its start is chunk-aligned except for a tail that was shrunk.
    chunks: VecDeque<Chunk>,
    /// None: not loaded.
    index: Option<Index>,
    file: Option<Rc<D::File>>,
    /// Of the first batch with a timestamp that was appended in this run.
    first_timestamp: Option<TimestampMs>,
    /// No more appends.
    sealed: bool,
    /// The file's length is known to equal `len`, its index is written.
    finished: bool,
}

/// The name of a segment's file with this extension.
pub fn file_name(base_offset: Offset, extension: &str) -> String {
    format!("{base_offset:020}.{extension}")
}

/// The base offset in a `.log` file's name; `None` for other names.
pub fn base_offset_of(name: &str) -> Option<Offset> {
    let digits = name.strip_suffix(".log")?;
    (digits.len() == 20).then(|| digits.parse().ok()).flatten()
}

impl<D: Disk> Segment<D> {
    /// A new, empty segment, to append to. Touches no disk.
    pub fn new(home: &Rc<Home<D>>, base_offset: Offset) -> Rc<Segment<D>> {
        Segment::with(home, base_offset, 0, Some(Index::new(base_offset)), false)
    }

    /// A segment that an earlier run left, with `len` bytes in its file; `finished` when the file ends there.
    pub fn existing(home: &Rc<Home<D>>, base_offset: Offset, len: u64, finished: bool) -> Rc<Segment<D>> {
        let segment = Segment::with(home, base_offset, len, None, true);
        segment.state.borrow_mut().finished = finished;
        segment
    }

    /// A segment that compaction has written: its file, all of it durable, and its index. Pinned until the file has its name.
    pub(in crate::storage) fn cleaned(
        home: &Rc<Home<D>>,
        base_offset: Offset,
        len: u64,
        index: Index,
        file: Rc<D::File>,
    ) -> Rc<Segment<D>> {
        let segment = Segment::with(home, base_offset, len, Some(index), true);
        {
            let mut state = segment.state.borrow_mut();
            state.finished = true;
            state.file = Some(file);
        }
        segment.pinned.set(true);
        segment
    }

    /// The file has the segment's name: it may be closed, and is found again.
    pub(in crate::storage) fn unpin(&self) {
        self.pinned.set(false);
        self.home.open_files.opened(self.me.clone());
    }

    fn with(home: &Rc<Home<D>>, base_offset: Offset, len: u64, index: Option<Index>, sealed: bool) -> Rc<Segment<D>> {
        let state = State {
            len,
            written: len,
            synced: len,
            chunks: VecDeque::new(),
            index,
            file: None,
            first_timestamp: None,
            sealed,
            finished: false,
        };
        Rc::new_cyclic(|me| Segment {
            base_offset,
            home: home.clone(),
            state: RefCell::new(state),
            flushing: Cell::new(false),
            flushed: Notify::default(),
            removed: Cell::new(false),
            used: Cell::new(false),
            pinned: Cell::new(false),
            me: me.clone(),
        })
    }

    /// The offset of the first record.
    pub fn base_offset(&self) -> Offset {
        self.base_offset
    }

    /// Bytes of batches.
    pub fn len(&self) -> u64 {
        self.state.borrow().len
    }

    /// Whether no batch is in it.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The position up to which the file is durable.
    pub fn synced(&self) -> u64 {
        self.state.borrow().synced
    }

    /// Whether anything is left for [`Segment::flush`].
    pub fn is_flushed(&self) -> bool {
        let state = self.state.borrow();
        state.synced == state.len && (!state.sealed || state.finished)
    }

    /// Appends a batch at the end, with its place in the log patched in. Returns the change of memory held, in bytes,
    /// and whether a chunk became full.
    pub fn append(
        &self,
        batch: &[u8],
        header: &BatchHeader,
        base_offset: Offset,
        leader_epoch: LeaderEpoch,
    ) -> (usize, bool) {
        let mut state = self.state.borrow_mut();
        assert!(!state.sealed);
        let state = &mut *state;
        // The two patched fields lie in the first 16 bytes; the batch's owner keeps it as it is.
        let mut head = [0; 16];
        head.copy_from_slice(&batch[..16]);
        crate::record::set_placement(&mut head, base_offset, leader_epoch);
        let mut grown = 0;
        let mut filled = false;
        let mut position = state.len;
        for mut part in [&head[..], &batch[16..]] {
            while !part.is_empty() {
                if state.chunks.back().is_none_or(Chunk::is_full) {
                    state.chunks.push_back(Chunk::new(position, part.len()));
                    grown += state.memory_bytes_of_tail();
                }
                let tail = state.chunks.back_mut().expect("pushed above when there was none");
                let memory = tail.memory_bytes();
                let taken = tail.append(part);
                grown += tail.memory_bytes() - memory;
                filled |= tail.is_full();
                position += taken as u64;
                part = &part[taken..];
            }
        }
        state.len = position;
        if state.first_timestamp.is_none() && header.max_timestamp >= 0 {
            state.first_timestamp = Some(header.max_timestamp);
        }
        let index = state.index.as_mut().expect("a segment that is appended to has its index");
        index.add(base_offset, batch.len() as u32, header.max_timestamp);
        (grown, filled)
    }

    /// How much later `timestamp` is than that of the first batch that was appended in this run, milliseconds; 0 when one
    /// of them has none, or the batch is the first.
    pub fn age_at(&self, timestamp: TimestampMs) -> i64 {
        match self.state.borrow().first_timestamp {
            Some(first) if timestamp >= 0 => timestamp.saturating_sub(first),
            _ => 0,
        }
    }

    /// Ends the segment: nothing is appended any more.
    pub fn seal(&self) {
        self.state.borrow_mut().sealed = true;
    }

    /// Drops the first chunk from memory if its bytes are in the file; returns the bytes freed, 0 when none could be.
    pub fn evict_chunk(&self) -> usize {
        let mut state = self.state.borrow_mut();
        let Some(first) = state.chunks.front() else { return 0 };
        if first.end() > state.written && !mutation::is(Mutation::EvictsUnwritten) {
            return 0;
        }
        let memory = first.memory_bytes();
        if first.is_full() || state.sealed {
            state.chunks.pop_front();
            return memory;
        }
        // The tail of a segment that is still appended to: its last, partial block must stay, to be written again.
        let keep_from = align_down(first.end());
        let mut tail = Chunk::new(keep_from, 1);
        tail.append(first.bytes(keep_from, first.end()));
        let freed = memory.saturating_sub(tail.memory_bytes());
        if freed > 0 {
            state.chunks[0] = tail;
        }
        freed
    }

    /// Bytes of memory that the chunks hold.
    pub fn memory_bytes(&self) -> usize {
        self.state.borrow().chunks.iter().map(Chunk::memory_bytes).sum()
    }

    /// Writes to the file, as far as `flush` says. A sealed segment that is flushed completely is also cut to its
    /// length and gets its index file.
    ///
    /// # Errors
    /// Those of the disk. A full disk leaves everything in memory, to be tried again.
    pub async fn flush(&self, disk: &D, flush: Flush) -> DiskResult<()> {
        while self.flushing.replace(true) {
            self.flushed.notified().await;
        }
        let result = self.flush_alone(disk, flush).await;
        self.flushing.set(false);
        self.flushed.notify();
        result
    }

    /// Takes the segment out of use, after a flush that is under way: it takes nothing any more, and gives nothing but to
    /// a reader that has the file open. Returns the bytes of memory that it held.
    pub(in crate::storage) async fn retire(&self) -> usize {
        self.removed.set(true);
        while self.flushing.replace(true) {
            self.flushed.notified().await;
        }
        let memory = self.memory_bytes();
        self.state.borrow_mut().chunks.clear();
        self.flushing.set(false);
        self.flushed.notify();
        memory
    }

    /// Removes the files, after a flush that is under way. The segment takes nothing any more, and gives nothing but to a
    /// reader that has the file open. Returns the bytes of memory that it held.
    ///
    /// # Errors
    /// Those of the disk. Files may remain then; removing them again does no harm.
    pub async fn remove(&self, disk: &D) -> DiskResult<usize> {
        let memory = self.retire().await;
        for extension in ["log", "index"] {
            match disk.remove(&self.home.directory().join(file_name(self.base_offset, extension))).await {
                Err(error) if error.is_not_found() => {}
                result => result?,
            }
        }
        Ok(memory)
    }

    async fn flush_alone(&self, disk: &D, flush: Flush) -> DiskResult<()> {
        if self.removed.get() {
            return Ok(());
        }
        let target = self.state.borrow().flush_target(flush);
        if flush == Flush::FullChunks && target <= self.state.borrow().written {
            return Ok(());
        }
        if self.is_flushed() {
            return Ok(());
        }
        let file = self.file(disk).await?;
        while self.state.borrow().written < target {
            let (position, end, buffer) = self.state.borrow().piece(&*file, target);
            file.write_at(position, buffer).await?;
            self.state.borrow_mut().written = end;
        }
        if flush == Flush::FullChunks {
            return Ok(());
        }
        let finish = {
            let state = self.state.borrow();
            state.sealed && !state.finished && target == state.len
        };
        if finish {
            file.set_len(target).await?;
        }
        match file.sync_data().await {
            Err(_) if mutation::is(Mutation::IgnoresFailedSegmentSyncs) => {}
            result => result?,
        }
        self.state.borrow_mut().synced = target;
        if finish {
            self.write_index(disk).await?;
            self.state.borrow_mut().finished = true;
        }
        Ok(())
    }

    /// The open file; made with its directory when there is none.
    pub(super) async fn file(&self, disk: &D) -> DiskResult<Rc<D::File>> {
        if let Some(file) = &self.state.borrow().file {
            self.used.set(true);
            return Ok(file.clone());
        }
        let path = self.home.directory().join(file_name(self.base_offset, "log"));
        let file = match disk.open(&path, OpenMode::Existing).await {
            Err(error) if error.is_not_found() && !self.removed.get() => {
                if !self.home.durable.get() {
                    disk.create_dir_all(self.home.directory()).await?;
                }
                let file = disk.open(&path, OpenMode::OpenOrCreate).await?;
                self.home.sync_names(disk).await?;
                file
            }
            result => result?,
        };
        // Another call may have opened it meanwhile.
        let mut state = self.state.borrow_mut();
        if let Some(file) = &state.file {
            return Ok(file.clone());
        }
        let file = Rc::new(file);
        state.file = Some(file.clone());
        drop(state);
        self.home.open_files.opened(self.me.clone());
        Ok(file)
    }

    /// Whether the file is open.
    pub fn has_open_file(&self) -> bool {
        self.state.borrow().file.is_some()
    }

    /// Whether the file was used since this was last asked.
    fn take_used(&self) -> bool {
        self.used.take()
    }

    /// Whether the file stays open.
    fn is_pinned(&self) -> bool {
        self.pinned.get()
    }

    /// Closes the file, and drops the index from memory when the disk has it. Both come back on demand; who uses the file
    /// now keeps it open.
    fn release(&self) {
        let mut state = self.state.borrow_mut();
        state.file = None;
        if state.sealed && state.finished {
            state.index = None;
        }
    }

    /// Writes the index file, if the index is in memory.
    pub(in crate::storage) async fn write_index(&self, disk: &D) -> DiskResult<()> {
        let bytes = match &self.state.borrow().index {
            Some(index) => index.encode(),
            // A segment of an earlier run whose file only had to be cut: its index is made when it is read.
            None => return Ok(()),
        };
        let path = self.home.directory().join(file_name(self.base_offset, "index"));
        let file = disk.open(&path, OpenMode::OpenOrCreate).await?;
        let mut buffer = file.allocate(align_up(bytes.len() as u64) as usize);
        buffer.bytes_mut()[..bytes.len()].copy_from_slice(&bytes);
        buffer.bytes_mut()[bytes.len()..].fill(0);
        // Not synced: it is checked when it is read, and made anew when it is not whole.
        file.write_at(0, buffer).await
    }
}

impl<D: Disk> State<D> {
    fn memory_bytes_of_tail(&self) -> usize {
        self.chunks.back().map_or(0, Chunk::memory_bytes)
    }

    fn flush_target(&self, flush: Flush) -> u64 {
        match flush {
            Flush::Everything => self.len,
            Flush::FullChunks => self.chunks.iter().rev().find(|chunk| chunk.is_full()).map_or(0, Chunk::end),
        }
    }

    /// The next aligned piece to write: its position, the segment position that is then written, and its bytes.
    fn piece(&self, file: &D::File, target: u64) -> (u64, u64, <D::File as DiskFile>::Buffer) {
        let position = align_down(self.written);
        let end = target.min((position / CHUNK_BYTES as u64 + 1) * CHUNK_BYTES as u64);
        let used = (end - position) as usize;
        let mut buffer = file.allocate(used.next_multiple_of(ALIGNMENT));
        let out = buffer.bytes_mut();
        let mut filled = 0;
        for chunk in &self.chunks {
            let (from, to) = (chunk.start().max(position), chunk.end().min(end));
            if from < to {
                assert_eq!(from, position + filled as u64, "what is not written is in memory");
                let bytes = chunk.bytes(from, to);
                out[filled..filled + bytes.len()].copy_from_slice(bytes);
                filled += bytes.len();
            }
        }
        assert_eq!(filled, used, "what is not written is in memory");
        out[used..].fill(0);
        (position, end, buffer)
    }
}
