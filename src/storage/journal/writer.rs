//! Group commit: appends gather in an open block while the blocks before it are written and synced.
//!
//! There is no timer. An idle journal writes the first append at once; a busy one gathers whatever comes during one
//! write and fdatasync, and so batches by itself. A few coroutines write blocks, one syncs:
//!
//! ```text
//! open block ──▶ writing (at most WRITERS) ──▶ written ──▶ fdatasync ──▶ durable: logs advance, appends are acknowledged
//! ```
//!
//! Blocks get their sequence number when they are opened and their place in the file in that order. They become durable
//! in that order too: an fdatasync covers the written blocks that no unwritten one precedes.
//!
//! A failed write or fdatasync is final: nobody can tell what reached the disk. The journal is fenced, everything that
//! waits fails, and nothing is tried again.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::block::{self, BLOCK_HEADER_LEN, Entry, FILE_HEADER_LEN, FileHeader, Incarnation, Sequence};
use super::commit::{Commit, Fenced};
use crate::disk::{ALIGNMENT, Disk, DiskBuffer, DiskError, DiskFile, DiskResult, OpenMode};
use crate::storage::PartitionMap;
use crate::storage::log::{Log, LogPosition};
use crate::storage::mutation::{self, Mutation};
use crate::storage::notify::Notify;
use crate::vocabulary::ShardId;

/// How many blocks are written at once. Two keep the device busy; a third fills the gap when one ends.
pub const WRITERS: usize = 3;
/// How many files there are from the start: with two, the older one can be freed for what comes next without any room.
const FILES_MIN: usize = 2;
/// An open block with at least so many bytes is written although an earlier one waits for its fdatasync; a smaller one
/// goes on gathering, because it would not be durable any sooner.
const WORTH_A_WRITE_BYTES: usize = 256 << 10;

/// The journal's bounds.
#[derive(Clone, Debug)]
pub struct JournalOptions {
    /// The length of each file, a multiple of [`ALIGNMENT`].
    pub file_bytes: u64,
    /// How many files there are at most; at least 2.
    pub files_max: usize,
    /// The payload of a block, unless a single entry is larger; at most [`JournalOptions::block_payload_bytes_max`].
    pub block_bytes_max: usize,
}

impl JournalOptions {
    /// The largest block payload that a file can hold, in bytes.
    pub fn block_payload_bytes_max(&self) -> usize {
        self.file_bytes as usize - ALIGNMENT - BLOCK_HEADER_LEN
    }

    /// The largest entry payload that a file can hold, in bytes.
    pub fn entry_bytes_max(&self) -> usize {
        self.block_payload_bytes_max() - block::ENTRY_HEADER_LEN
    }
}

/// Where a journal goes on after recovery.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournalStart {
    /// No incarnation up to this one is given again.
    pub incarnation_max: Incarnation,
    /// No sequence up to this one is given again.
    pub sequence_max: Sequence,
    /// The files that are there, by name; all are free.
    pub files: Vec<String>,
}

/// The name of a new file: that of the use that is to come, or the next one that no file has.
fn new_name<'a>(incarnation: Incarnation, taken: impl Iterator<Item = &'a str> + Clone) -> String {
    let names = (incarnation..).map(|number| format!("{number:08}.journal"));
    names.into_iter().find(|name| taken.clone().all(|taken| taken != name)).expect("there are more numbers than files")
}

/// Makes a journal file, durably; `None`, and no file, when the disk is full.
async fn make_file<D: Disk>(disk: &D, directory: &Path, name: &str, len: u64) -> DiskResult<Option<D::File>> {
    let path = directory.join(name);
    let made = async {
        let file = disk.open(&path, OpenMode::OpenOrCreate).await?;
        file.preallocate(len).await?;
        Ok(file)
    };
    match made.await {
        Ok(file) => {
            file.sync_data().await?;
            disk.sync_dir(directory).await?;
            Ok(Some(file))
        }
        Err(error) if DiskError::is_full(&error) => match disk.remove(&path).await {
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(None),
        },
        Err(error) => Err(error),
    }
}

/// A log, and its end behind one of its entries.
type LogEnd<D> = (Rc<Log<D>>, LogPosition);

/// A journal file in use.
pub(in crate::storage) struct JournalFile<D: Disk> {
    name: String,
    file: D::File,
    /// Which use of the file this is.
    pub(in crate::storage) incarnation: Incarnation,
    last_sequence: Cell<Sequence>,
    /// The logs with entries in the file, and where their last one ends.
    touched: RefCell<PartitionMap<LogEnd<D>>>,
}

impl<D: Disk> JournalFile<D> {
    /// The last block in the file.
    pub(in crate::storage) fn last_sequence(&self) -> Sequence {
        self.last_sequence.get()
    }

    /// The logs whose segments are not synced past their entries in the file.
    pub(in crate::storage) fn laggards(&self) -> Vec<Rc<Log<D>>> {
        let touched = self.touched.borrow();
        let lags = |(log, end): &&LogEnd<D>| !log.is_deleted() && log.synced().offset < end.offset;
        touched.values().filter(lags).map(|(log, _)| log.clone()).collect()
    }
}

struct OpenBlock<D: Disk> {
    sequence: Sequence,
    entries: Vec<Entry>,
    ends: Vec<LogEnd<D>>,
    payload_len: usize,
    commit: Rc<Commit>,
}

/// A block that has its place in a file and is not durable yet.
struct InFlight<D: Disk> {
    sequence: Sequence,
    written: Cell<bool>,
    file: Rc<JournalFile<D>>,
    ends: Vec<LogEnd<D>>,
    commit: Rc<Commit>,
}

struct State<D: Disk> {
    open: VecDeque<OpenBlock<D>>,
    open_bytes: usize,
    in_flight: VecDeque<Rc<InFlight<D>>>,
    next_sequence: Sequence,
    durable: Sequence,
    syncing_to: Sequence,
    in_use: VecDeque<Rc<JournalFile<D>>>,
    free: VecDeque<(String, D::File)>,
    file_count: usize,
    /// The next free byte of the newest file in use.
    position: u64,
    next_incarnation: Incarnation,
    rotating: bool,
    /// A checkpoint waits for what is open now to be durable: files beyond the bound may be made for it, or it could
    /// wait for ever. They are removed when they are released.
    checkpoint_waits: bool,
    /// The disk had no room for another file.
    lacks_room: bool,
    fenced: Option<Fenced>,
}

/// A shard's journal.
pub struct Journal<D: Disk> {
    disk: D,
    directory: PathBuf,
    shard: ShardId,
    options: JournalOptions,
    state: RefCell<State<D>>,
    /// Writers wait here.
    work: Notify,
    /// The syncer waits here.
    written: Notify,
    /// Who waits for a sequence to be durable, for a rotation, or for a free file, waits here.
    pub(in crate::storage) progress: Notify,
}

enum Step<D: Disk> {
    Write { job: Rc<InFlight<D>>, entries: Vec<Entry>, payload_len: usize, position: u64, watermark: Sequence },
    Rotate,
    Wait,
    Stop,
}

impl<D: Disk> Journal<D> {
    /// Opens a shard's journal, with the files that recovery left.
    ///
    /// # Errors
    /// Those of the disk.
    pub async fn open(
        disk: D,
        directory: PathBuf,
        shard: ShardId,
        options: JournalOptions,
        start: &JournalStart,
    ) -> DiskResult<Journal<D>> {
        assert!(options.files_max >= 2 && options.file_bytes.is_multiple_of(ALIGNMENT as u64));
        let mut free = VecDeque::new();
        for name in &start.files {
            let path = directory.join(name);
            let file = disk.open(&path, OpenMode::Existing).await?;
            // A file of another length was made under other options, or the crash came before it was preallocated.
            if file.size().await? == options.file_bytes {
                free.push_back((name.clone(), file));
            } else {
                drop(file);
                disk.remove(&path).await?;
            }
        }
        let next_incarnation = start.incarnation_max + 1;
        let mut lacks_room = false;
        while free.len() < FILES_MIN && !lacks_room {
            let name = new_name(next_incarnation, free.iter().map(|(name, _)| name.as_str()));
            match make_file(&disk, &directory, &name, options.file_bytes).await? {
                Some(file) => free.push_back((name, file)),
                None => lacks_room = true,
            }
        }
        let state = State {
            open: VecDeque::new(),
            open_bytes: 0,
            in_flight: VecDeque::new(),
            next_sequence: (start.sequence_max + u64::from(!mutation::is(Mutation::ReusesASequence))).max(1),
            durable: start.sequence_max,
            syncing_to: start.sequence_max,
            in_use: VecDeque::new(),
            file_count: free.len(),
            free,
            position: 0,
            next_incarnation,
            rotating: false,
            checkpoint_waits: false,
            lacks_room,
            fenced: None,
        };
        Ok(Journal {
            disk,
            directory,
            shard,
            options,
            state: RefCell::new(state),
            work: Notify::default(),
            written: Notify::default(),
            progress: Notify::default(),
        })
    }

    /// The largest entry payload that the journal takes, in bytes.
    pub fn entry_bytes_max(&self) -> usize {
        self.options.entry_bytes_max()
    }

    /// The length of all files together.
    pub(in crate::storage) fn bytes(&self) -> u64 {
        self.state.borrow().file_count as u64 * self.options.file_bytes
    }

    /// Whether the disk had no room for another file. The next one is tried for after [`Journal::try_for_room`].
    pub(in crate::storage) fn lacks_room(&self) -> bool {
        self.state.borrow().lacks_room
    }

    /// There may be room again.
    pub(in crate::storage) fn try_for_room(&self) {
        self.state.borrow_mut().lacks_room = false;
        self.progress.notify();
    }

    /// Why no appends are taken, if so.
    pub fn fenced(&self) -> Option<Fenced> {
        self.state.borrow().fenced.clone()
    }

    /// Adds an entry to the open block. `end` is the end of `log` behind it.
    ///
    /// # Errors
    /// [`Fenced`].
    pub(in crate::storage) fn append(
        &self,
        entry: Entry,
        log: Rc<Log<D>>,
        end: LogPosition,
    ) -> Result<Rc<Commit>, Fenced> {
        let mut state = self.state.borrow_mut();
        if let Some(fenced) = &state.fenced {
            return Err(fenced.clone());
        }
        let len = entry.encoded_len();
        let opens = state.open.back().is_none_or(|last| last.payload_len + len > self.options.block_bytes_max);
        if opens {
            let sequence = state.next_sequence;
            state.next_sequence += 1;
            let commit = Rc::new(Commit::new(sequence));
            let (entries, ends) = (Vec::new(), Vec::new());
            state.open.push_back(OpenBlock { sequence, entries, ends, payload_len: 0, commit });
        }
        let before = state.open_bytes;
        state.open_bytes += len;
        let wake = opens || (before < WORTH_A_WRITE_BYTES && state.open_bytes >= WORTH_A_WRITE_BYTES);
        let block = state.open.back_mut().expect("opened above when there was none");
        block.payload_len += len;
        block.entries.push(entry);
        block.ends.push((log, end));
        let commit = block.commit.clone();
        drop(state);
        if wake {
            self.work.notify();
        }
        Ok(commit)
    }

    /// Waits until everything that was appended so far is durable.
    ///
    /// # Errors
    /// [`Fenced`].
    pub async fn all_durable(&self) -> Result<(), Fenced> {
        let target = self.state.borrow().next_sequence - 1;
        loop {
            {
                let state = self.state.borrow();
                if let Some(fenced) = &state.fenced {
                    return Err(fenced.clone());
                }
                if state.durable >= target {
                    return Ok(());
                }
            }
            self.progress.notified().await;
        }
    }

    /// The incarnation and sequence up to which a checkpoint of everything may reach.
    pub(in crate::storage) fn reached(&self) -> (Incarnation, Sequence) {
        let state = self.state.borrow();
        (state.next_incarnation - 1, state.durable)
    }

    /// Says whether a checkpoint waits for durability.
    pub(in crate::storage) fn set_checkpoint_waits(&self, waits: bool) {
        self.state.borrow_mut().checkpoint_waits = waits;
        self.progress.notify();
    }

    /// The oldest file, when it is full, durable, and its room is needed.
    pub(in crate::storage) fn to_release(&self) -> Option<Rc<JournalFile<D>>> {
        let state = self.state.borrow();
        let is_last = state.file_count >= self.options.files_max || state.lacks_room;
        let needed = state.free.is_empty() && is_last && state.in_use.len() >= 2;
        let oldest = state.in_use.front().filter(|_| needed && state.fenced.is_none())?;
        (oldest.last_sequence() <= state.durable).then(|| oldest.clone())
    }

    /// Makes the oldest file free, because a checkpoint covers it; removes it when there are more than the bound.
    ///
    /// # Errors
    /// Those of the disk.
    pub(in crate::storage) async fn release(&self, oldest: Rc<JournalFile<D>>) -> DiskResult<()> {
        let surplus = {
            let mut state = self.state.borrow_mut();
            let front = state.in_use.pop_front().expect("the file is in use");
            assert!(Rc::ptr_eq(&front, &oldest));
            drop(oldest);
            let file = Rc::into_inner(front).expect("its blocks are durable, so nothing else holds the file");
            if state.file_count > self.options.files_max {
                state.file_count -= 1;
                Some(file.name)
            } else {
                state.free.push_back((file.name, file.file));
                None
            }
        };
        if let Some(name) = surplus {
            self.disk.remove(&self.directory.join(name)).await?;
        }
        self.progress.notify();
        Ok(())
    }

    /// Takes no more appends, and fails those that are not durable. Final.
    pub fn fence(&self, reason: &str) {
        let mut waiting = Vec::new();
        let fenced = Fenced { shard: self.shard.0, reason: reason.into() };
        {
            let mut state = self.state.borrow_mut();
            if state.fenced.is_some() {
                return;
            }
            state.fenced = Some(fenced.clone());
            waiting.extend(state.in_flight.drain(..).map(|block| block.commit.clone()));
            waiting.extend(state.open.drain(..).map(|block| block.commit));
            state.open_bytes = 0;
        }
        for commit in waiting {
            commit.complete(Err(fenced.clone()));
        }
        self.work.notify();
        self.written.notify();
        self.progress.notify();
    }

    fn fence_on(&self, error: &DiskError) {
        self.fence(&format!(
            "{error}; what was not acknowledged may be lost, restart the broker once the disk is sound"
        ));
    }

    /// One of the [`WRITERS`]: writes blocks until the journal is fenced.
    pub(in crate::storage) async fn write_blocks(self: Rc<Self>) {
        loop {
            match self.next_step() {
                Step::Stop => return,
                Step::Wait => self.work.notified().await,
                Step::Rotate => {
                    if let Err(error) = self.rotate().await {
                        self.fence_on(&error);
                    }
                }
                Step::Write { job, entries, payload_len, position, watermark } => {
                    let file = job.file.clone();
                    let mut buffer = file.file.allocate(block::disk_len(payload_len));
                    block::encode_block(buffer.bytes_mut(), file.incarnation, job.sequence, watermark, &entries);
                    // The batches' memory is the network's: given back before the disk is waited for.
                    drop(entries);
                    match file.file.write_at(position, buffer).await {
                        Ok(()) => {
                            job.written.set(true);
                            drop(file);
                            drop(job);
                            self.written.notify();
                        }
                        Err(error) => self.fence_on(&error),
                    }
                }
            }
        }
    }

    fn next_step(&self) -> Step<D> {
        let mut state = self.state.borrow_mut();
        let state = &mut *state;
        if state.fenced.is_some() {
            return Step::Stop;
        }
        let Some(front) = state.open.front() else { return Step::Wait };
        if state.rotating {
            return Step::Wait;
        }
        let waits_for_sync = state.in_flight.back().is_some_and(|last| last.sequence > state.syncing_to);
        if waits_for_sync && state.open_bytes < WORTH_A_WRITE_BYTES {
            return Step::Wait;
        }
        let len = block::disk_len(front.payload_len) as u64;
        if state.in_use.is_empty() || state.position + len > self.options.file_bytes {
            state.rotating = true;
            return Step::Rotate;
        }
        let block = state.open.pop_front().expect("looked at above");
        state.open_bytes -= block.payload_len;
        let file = state.in_use.back().expect("checked above").clone();
        file.last_sequence.set(block.sequence);
        {
            let mut touched = file.touched.borrow_mut();
            for (log, end) in &block.ends {
                touched.entry(log.id()).and_modify(|(_, last)| *last = *end).or_insert_with(|| (log.clone(), *end));
            }
        }
        let position = state.position;
        state.position += len;
        let (sequence, ends, commit) = (block.sequence, block.ends, block.commit);
        let job = Rc::new(InFlight { sequence, written: Cell::new(false), file, ends, commit });
        state.in_flight.push_back(job.clone());
        let watermark = if mutation::is(Mutation::WritesNoWatermark) { 0 } else { state.durable };
        let (entries, payload_len) = (block.entries, block.payload_len);
        Step::Write { job, entries, payload_len, position, watermark }
    }

    /// Begins the next file. Its header is durable before its first block is written: otherwise a crash could leave the
    /// header of the file's last use over blocks of the new one.
    async fn rotate(&self) -> DiskResult<()> {
        let (name, file) = loop {
            let (taken, create) = {
                let mut state = self.state.borrow_mut();
                if state.fenced.is_some() {
                    return Ok(());
                }
                let taken = state.free.pop_front();
                let may_create = state.file_count < self.options.files_max || state.checkpoint_waits;
                let create = taken.is_none() && may_create && !state.lacks_room;
                if create {
                    state.file_count += 1;
                }
                let free = state.free.iter().map(|(name, _)| name.as_str());
                let names = state.in_use.iter().map(|file| file.name.as_str()).chain(free);
                (taken, create.then(|| new_name(state.next_incarnation, names)))
            };
            if let Some(taken) = taken {
                break taken;
            }
            if let Some(name) = create {
                if let Some(file) = make_file(&self.disk, &self.directory, &name, self.options.file_bytes).await? {
                    break (name, file);
                }
                {
                    let mut state = self.state.borrow_mut();
                    state.file_count -= 1;
                    state.lacks_room = true;
                }
                self.progress.notify();
                continue;
            }
            self.progress.notified().await;
        };
        let header = {
            let mut state = self.state.borrow_mut();
            let incarnation = state.next_incarnation;
            state.next_incarnation += 1;
            let first_sequence = state.open.front().map_or(state.next_sequence, |block| block.sequence);
            FileHeader { shard: self.shard, incarnation, first_sequence }
        };
        let mut buffer = file.allocate(ALIGNMENT);
        buffer.bytes_mut().fill(0);
        buffer.bytes_mut()[..FILE_HEADER_LEN].copy_from_slice(&header.encode());
        file.write_at(0, buffer).await?;
        if !mutation::is(Mutation::SyncsNoFileHeader) {
            file.sync_data().await?;
        }
        {
            let mut state = self.state.borrow_mut();
            let last_sequence = Cell::new(header.first_sequence - 1);
            let touched = RefCell::default();
            let incarnation = header.incarnation;
            state.in_use.push_back(Rc::new(JournalFile { name, file, incarnation, last_sequence, touched }));
            state.position = ALIGNMENT as u64;
            state.rotating = false;
        }
        self.work.notify();
        self.progress.notify();
        Ok(())
    }

    /// The syncer: makes written blocks durable, in order, until the journal is fenced.
    pub(in crate::storage) async fn sync_blocks(self: Rc<Self>) {
        loop {
            if self.state.borrow().fenced.is_some() {
                return;
            }
            let written = self.written_prefix();
            let Some(last) = written.last() else {
                self.written.notified().await;
                continue;
            };
            let durable = last.sequence;
            self.state.borrow_mut().syncing_to = durable;
            // What gathered meanwhile may be written now, beside the fdatasync.
            self.work.notify();
            let mut files: Vec<Rc<JournalFile<D>>> = Vec::new();
            for block in written {
                if !files.iter().any(|file| Rc::ptr_eq(file, &block.file)) {
                    files.push(block.file.clone());
                }
            }
            if mutation::is(Mutation::AcknowledgesBeforeSync) {
                self.complete(durable);
            }
            for file in &files {
                if let Err(error) = file.file.sync_data().await
                    && !mutation::is(Mutation::IgnoresFailedJournalSyncs)
                {
                    self.fence_on(&error);
                    return;
                }
            }
            drop(files);
            self.complete(durable);
        }
    }

    fn written_prefix(&self) -> Vec<Rc<InFlight<D>>> {
        let state = self.state.borrow();
        state.in_flight.iter().take_while(|block| block.written.get()).cloned().collect()
    }

    /// Everything up to `durable` is on disk.
    fn complete(&self, durable: Sequence) {
        let mut done = Vec::new();
        {
            let mut state = self.state.borrow_mut();
            if state.fenced.is_some() {
                return;
            }
            state.durable = durable;
            while state.in_flight.front().is_some_and(|block| block.sequence <= durable) {
                done.extend(state.in_flight.pop_front());
            }
        }
        for block in done {
            for (log, end) in &block.ends {
                log.advance_durable(*end);
            }
            block.commit.complete(Ok(()));
        }
        self.work.notify();
        self.progress.notify();
    }
}
