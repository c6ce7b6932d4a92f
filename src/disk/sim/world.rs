//! The simulated machine's state: files, names, the operations under way, and what each does when it ends.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::file::{FileState, SECTOR, Survival};
use super::options::{OperationKind, SimOptions};
use super::random::Random;
use super::tree::{Entry, Errno, NodeId, Tree};
use crate::disk::{ALIGNMENT, OpenMode};

/// An operation with all that it needs.
#[derive(Clone, Debug)]
pub(super) enum Operation {
    Open { path: PathBuf, mode: OpenMode },
    Rename { from: PathBuf, to: PathBuf },
    Remove { path: PathBuf },
    RemoveDirAll { path: PathBuf },
    CreateDirAll { path: PathBuf },
    List { path: PathBuf },
    SyncDir { path: PathBuf },
    Write { file: NodeId, position: u64, bytes: Vec<u8> },
    Read { file: NodeId, position: u64, len: usize },
    Sync { file: NodeId },
    Preallocate { file: NodeId, len: u64 },
    SetLen { file: NodeId, len: u64 },
    Size { file: NodeId },
}

impl Operation {
    pub(super) fn kind(&self) -> OperationKind {
        match self {
            Operation::Open { .. } => OperationKind::Open,
            Operation::Rename { .. } => OperationKind::Rename,
            Operation::Remove { .. } => OperationKind::Remove,
            Operation::RemoveDirAll { .. } => OperationKind::RemoveDirAll,
            Operation::CreateDirAll { .. } => OperationKind::CreateDirAll,
            Operation::List { .. } => OperationKind::List,
            Operation::SyncDir { .. } => OperationKind::SyncDir,
            Operation::Write { .. } => OperationKind::Write,
            Operation::Read { .. } => OperationKind::Read,
            Operation::Sync { .. } => OperationKind::Sync,
            Operation::Preallocate { .. } => OperationKind::Preallocate,
            Operation::SetLen { .. } => OperationKind::SetLen,
            Operation::Size { .. } => OperationKind::Size,
        }
    }

    fn file(&self) -> Option<NodeId> {
        match self {
            Operation::Write { file, .. }
            | Operation::Read { file, .. }
            | Operation::Sync { file }
            | Operation::Preallocate { file, .. }
            | Operation::SetLen { file, .. }
            | Operation::Size { file } => Some(*file),
            _ => None,
        }
    }

    /// What the trace says of it beyond its kind and path.
    fn detail(&self) -> String {
        match self {
            Operation::Write { position, bytes, .. } => {
                format!(" {position}+{} crc {:08x}", bytes.len(), crc32c::crc32c(bytes))
            }
            Operation::Read { position, len, .. } => format!(" {position}+{len}"),
            Operation::Preallocate { len, .. } | Operation::SetLen { len, .. } => format!(" {len}"),
            Operation::Rename { to, .. } => format!(" to {}", to.display()),
            _ => String::new(),
        }
    }
}

/// What an operation gives.
#[derive(Debug)]
pub(super) enum Outcome {
    Done,
    Opened(NodeId),
    Data(Vec<u8>),
    Names(Vec<String>),
    Size(u64),
}

/// An operation under way.
#[derive(Clone, Debug)]
struct InFlight {
    operation: Operation,
    /// For a sync: the changes below this were done when it was called.
    covers: u64,
    fault: Option<Errno>,
}

/// An error that waits for its operation.
#[derive(Clone, Debug)]
pub(super) struct Injection {
    pub(super) kind: OperationKind,
    pub(super) path_contains: String,
    /// How many matching operations it lets pass.
    pub(super) skip: u64,
    pub(super) errno: Errno,
}

/// What has begun: its number, how long it takes, and when within that time the power goes, if it does.
pub(super) struct Begun {
    pub(super) id: u64,
    pub(super) delay: Duration,
    pub(super) crash_after: Option<Duration>,
}

/// The state.
#[derive(Clone, Debug)]
pub(super) struct World {
    pub(super) tree: Tree,
    files: BTreeMap<NodeId, FileState>,
    in_flight: BTreeMap<u64, InFlight>,
    pub(super) options: SimOptions,
    pub(super) injections: Vec<Injection>,
    /// The operation during which the power goes.
    pub(super) crash_at: Option<u64>,
    pub(super) crashed: bool,
    pub(super) random: Random,
    pub(super) counts: BTreeMap<OperationKind, u64>,
    pub(super) operations: u64,
    pub(super) written_bytes: u64,
    /// Removed, and not made again: an engine that goes on using them has a bug.
    removed: BTreeSet<PathBuf>,
    pub(super) trace: Vec<String>,
    pub(super) trace_hash: u64,
}

impl World {
    pub(super) fn new(random: Random, options: SimOptions) -> World {
        World {
            tree: Tree::new(),
            files: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            options,
            injections: Vec::new(),
            crash_at: None,
            crashed: false,
            random,
            counts: BTreeMap::new(),
            operations: 0,
            written_bytes: 0,
            removed: BTreeSet::new(),
            trace: Vec::new(),
            trace_hash: 0xcbf2_9ce4_8422_2325,
        }
    }

    /// Adds a line to the trace: FNV-1a over all of them is the trace's hash.
    pub(super) fn record(&mut self, line: String) {
        for byte in line.bytes() {
            self.trace_hash = (self.trace_hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        if self.options.keep_trace {
            self.trace.push(line);
        }
    }

    /// Checks the contract and puts an operation under way.
    pub(super) fn begin(&mut self, operation: Operation, path: &Path, now: Duration) -> Begun {
        self.check(&operation, path);
        let kind = operation.kind();
        self.operations += 1;
        let id = self.operations;
        *self.counts.entry(kind).or_default() += 1;
        if let Operation::Write { bytes, .. } = &operation {
            self.written_bytes += bytes.len() as u64;
        }
        let latency = kind.latency(&self.options.latency);
        let mut delay = self.random.duration(*latency.start(), *latency.end());
        if self.random.chance(self.options.faults.stall_ppm) {
            delay += self.random.duration(Duration::ZERO, self.options.faults.stall_max);
        }
        let injected = self.injected(kind, path);
        let drawn = self.random.chance(kind.error_ppm(&self.options.faults));
        let fault = injected.or(drawn.then_some(libc::EIO));
        let crash_after = self.crash_at.take_if(|at| *at <= id).map(|_| self.random.duration(Duration::ZERO, delay));
        self.record(format!("{now:?} #{id} {} {}{}", kind.name(), path.display(), operation.detail()));
        let covers = match &operation {
            Operation::Sync { file } => self.files.get(file).map_or(0, FileState::sequence),
            Operation::SyncDir { .. } => self.tree.sequence(),
            _ => 0,
        };
        self.in_flight.insert(id, InFlight { operation, covers, fault });
        Begun { id, delay, crash_after }
    }

    fn injected(&mut self, kind: OperationKind, path: &Path) -> Option<Errno> {
        let path = path.to_string_lossy();
        let matches = |injection: &Injection| injection.kind == kind && path.contains(&injection.path_contains);
        let due = self.injections.iter().position(|injection| matches(injection) && injection.skip == 0);
        for injection in self.injections.iter_mut().filter(|injection| matches(injection)) {
            injection.skip = injection.skip.saturating_sub(1);
        }
        due.map(|index| self.injections.remove(index).errno)
    }

    /// The contract of [`crate::disk`]: what fails here is the engine's bug, so it fails loudly and at once.
    fn check(&mut self, operation: &Operation, path: &Path) {
        let shown = path.display();
        match operation {
            Operation::Write { file, position, bytes } => {
                let len = bytes.len() as u64;
                assert!(
                    len > 0
                        && len.is_multiple_of(ALIGNMENT as u64)
                        && position.is_multiple_of(ALIGNMENT as u64)
                        && position.checked_add(len).is_some(),
                    "disk contract: unaligned write of {len} bytes at {position} of {shown}"
                );
                for other in self.in_flight.values().map(|other| &other.operation) {
                    match other {
                        Operation::Write { file: theirs, position: start, bytes }
                            if theirs == file && *start < position + len && *position < start + bytes.len() as u64 =>
                        {
                            panic!(
                                "disk contract: write of {len} bytes at {position} of {shown} overlaps one of {} \
                                 bytes at {start} that is under way",
                                bytes.len()
                            )
                        }
                        Operation::SetLen { file: theirs, len: cut } if theirs == file && *cut < position + len => {
                            panic!(
                                "disk contract: write of {len} bytes at {position} of {shown} while it is cut to {cut}"
                            )
                        }
                        _ => {}
                    }
                }
            }
            Operation::Read { position, len, .. } => assert!(
                *len > 0
                    && len.is_multiple_of(ALIGNMENT)
                    && position.is_multiple_of(ALIGNMENT as u64)
                    && position.checked_add(*len as u64).is_some(),
                "disk contract: unaligned read of {len} bytes at {position} of {shown}"
            ),
            Operation::SetLen { file, len } => {
                for other in self.in_flight.values() {
                    if let Operation::Write { file: theirs, position, bytes } = &other.operation {
                        assert!(
                            theirs != file || position + bytes.len() as u64 <= *len,
                            "disk contract: {shown} is cut to {len} while a write of {} bytes at {position} is under way",
                            bytes.len()
                        );
                    }
                }
            }
            Operation::Open { path, mode: OpenMode::OpenOrCreate } => self.check_not_removed("open", path),
            Operation::Rename { to, .. } => self.check_not_removed("rename to", to),
            Operation::SyncDir { path } => self.check_not_removed("sync", path),
            Operation::CreateDirAll { path } => self.removed.retain(|removed| !path.starts_with(removed)),
            Operation::RemoveDirAll { path } => {
                self.removed.insert(path.clone());
            }
            _ => {}
        }
    }

    fn check_not_removed(&self, what: &str, path: &Path) {
        for directory in path.ancestors() {
            assert!(
                !self.removed.contains(directory),
                "disk contract: {what} {}, but {} was removed and not made again",
                path.display(),
                directory.display()
            );
        }
    }

    /// Ends an operation: its effect and its result are of this moment.
    pub(super) fn finish(&mut self, id: u64, now: Duration) -> Result<Outcome, Errno> {
        let Some(InFlight { operation, covers, fault }) = self.in_flight.remove(&id) else {
            panic!("operation #{id} ends twice");
        };
        let result = match fault {
            None => self.apply(&operation, covers),
            Some(errno) => {
                self.fail(&operation, covers, errno);
                Err(errno)
            }
        };
        if let (Operation::RemoveDirAll { path }, Err(_)) = (&operation, &result) {
            self.removed.remove(path);
        }
        let said = match &result {
            Ok(Outcome::Data(data)) => format!("{} bytes crc {:08x}", data.len(), crc32c::crc32c(data)),
            other => format!("{other:?}"),
        };
        self.record(format!("{now:?} #{id} ended: {said}"));
        result
    }

    fn file(&mut self, file: NodeId) -> &mut FileState {
        self.files.get_mut(&file).expect("a file with a handle or an operation under way is not forgotten")
    }

    fn apply(&mut self, operation: &Operation, covers: u64) -> Result<Outcome, Errno> {
        match operation {
            Operation::Open { path, mode } => match self.tree.file(path) {
                Err(libc::ENOENT) if *mode == OpenMode::OpenOrCreate => {
                    let file = self.tree.create(path)?;
                    self.files.insert(file, FileState::default());
                    Ok(Outcome::Opened(file))
                }
                result => result.map(Outcome::Opened),
            },
            Operation::Rename { from, to } => self.tree.rename(from, to).map(|()| Outcome::Done),
            Operation::Remove { path } => self.tree.remove(path).map(|()| Outcome::Done),
            Operation::RemoveDirAll { path } => self.tree.remove_dir_all(path).map(|()| Outcome::Done),
            Operation::CreateDirAll { path } => self.tree.create_dir_all(path).map(|()| Outcome::Done),
            Operation::List { path } => self.tree.list(path).map(Outcome::Names),
            Operation::SyncDir { path } => {
                let directory = self.tree.directory(path)?;
                self.tree.sync(directory, covers);
                self.forget_unreachable();
                Ok(Outcome::Done)
            }
            Operation::Write { file, position, bytes } => self.write(*file, *position, bytes),
            Operation::Read { file, position, len } => Ok(Outcome::Data(self.read(*file, *position, *len))),
            Operation::Sync { file } => {
                self.file(*file).sync(covers);
                Ok(Outcome::Done)
            }
            Operation::Preallocate { file, len } => {
                let fits = self.fits(*file, 0, *len);
                if fits < *len {
                    // The system reserves piece by piece, and keeps what it got when the next does not fit.
                    if fits > 0 && self.random.coin() {
                        self.file(*file).preallocate(fits);
                    }
                    return Err(libc::ENOSPC);
                }
                self.file(*file).preallocate(*len);
                Ok(Outcome::Done)
            }
            Operation::SetLen { file, len } => {
                self.file(*file).set_len(*len);
                Ok(Outcome::Done)
            }
            Operation::Size { file } => Ok(Outcome::Size(self.file(*file).len())),
        }
    }

    fn write(&mut self, file: NodeId, position: u64, bytes: &[u8]) -> Result<Outcome, Errno> {
        let fits = self.fits(file, position, bytes.len() as u64);
        if fits < bytes.len() as u64 {
            // What did fit may have been written: an error says nothing.
            if self.random.coin() {
                self.file(file).write(position, &bytes[..fits as usize]);
            }
            return Err(libc::ENOSPC);
        }
        self.file(file).write(position, bytes);
        Ok(Outcome::Done)
    }

    /// What is in the file, with any subset of the sectors that are being written.
    fn read(&mut self, file: NodeId, position: u64, len: usize) -> Vec<u8> {
        let mut data = self.file(file).read(position, len);
        for other in self.in_flight.values() {
            let Operation::Write { file: theirs, position: start, bytes } = &other.operation else { continue };
            if *theirs != file {
                continue;
            }
            let survival = Survival::draw(&mut self.random, (bytes.len() / SECTOR) as u64);
            for (index, sector) in bytes.as_chunks::<SECTOR>().0.iter().enumerate() {
                let at = start + (index * SECTOR) as u64;
                let Some(from) = at.checked_sub(position).filter(|from| *from < data.len() as u64) else { continue };
                if survival.keeps(index as u64, &mut self.random) {
                    let into = &mut data[from as usize..];
                    let count = into.len().min(SECTOR);
                    into[..count].copy_from_slice(&sector[..count]);
                }
            }
        }
        data
    }

    /// How many of `len` bytes at `position` there is space for, in whole pages from the first.
    fn fits(&mut self, file: NodeId, position: u64, len: u64) -> u64 {
        let Some(capacity) = self.options.capacity else { return len };
        let missing = self.file(file).missing(position, len);
        if missing == 0 {
            return len;
        }
        let page = ALIGNMENT as u64;
        let free = capacity.saturating_sub(self.used()) / page;
        if missing <= free {
            return len;
        }
        let mut whole = 0;
        while self.file(file).missing(position, whole + page) <= free {
            whole += page;
        }
        whole
    }

    /// The space of all files that have a name or an open handle, in bytes.
    pub(super) fn used(&self) -> u64 {
        let named: BTreeSet<NodeId> = self.tree.files().into_values().collect();
        let counted = self.files.iter().filter(|(id, file)| file.handles > 0 || named.contains(id));
        counted.map(|(_, file)| file.space()).sum()
    }

    /// An operation that ends with an error: whether and how far it took effect is drawn.
    fn fail(&mut self, operation: &Operation, covers: u64, errno: Errno) {
        match operation {
            Operation::Write { file, position, bytes } if errno != libc::ENOSPC => {
                let mut random = self.random.fork();
                self.file(*file).write_torn(*position, bytes, &mut random);
            }
            Operation::Sync { file } => {
                let mut random = self.random.fork();
                self.file(*file).sync_failed(covers, &mut random);
            }
            Operation::Write { .. } | Operation::SyncDir { .. } => {}
            _ if errno != libc::ENOSPC && self.random.coin() => drop(self.apply(operation, covers)),
            _ => {}
        }
    }

    fn forget_unreachable(&mut self) {
        let reached = self.tree.reachable();
        self.tree.forget(&reached);
        let busy: BTreeSet<NodeId> = self.in_flight.values().filter_map(|other| other.operation.file()).collect();
        self.files.retain(|id, file| file.handles > 0 || reached.contains(id) || busy.contains(id));
    }

    /// The machine after the operations under way met their end: each did all its work or none; a write any part of it.
    fn interrupted(&mut self) -> World {
        let mut world = self.clone();
        world.random = self.random.fork();
        let in_flight = std::mem::take(&mut world.in_flight);
        for InFlight { operation, .. } in in_flight.into_values() {
            match &operation {
                Operation::Write { file, position, bytes } => {
                    let mut random = world.random.fork();
                    world.file(*file).write_torn(*position, bytes, &mut random);
                }
                // A sync that did not return has promised nothing; the others change nothing.
                Operation::Sync { .. } | Operation::SyncDir { .. } | Operation::Read { .. } => {}
                // No one is left to be told of its error.
                _ if world.random.coin() => drop(world.apply(&operation, 0)),
                _ => {}
            }
        }
        world.injections.clear();
        world.crash_at = None;
        world.crashed = false;
        world.counts.clear();
        world.operations = 0;
        world.written_bytes = 0;
        world.removed.clear();
        for file in world.files.values_mut() {
            file.handles = 0;
        }
        world
    }

    /// The machine after the process died and the kernel did not: what was visible still is, and still undecided.
    pub(super) fn killed(&mut self) -> World {
        let mut world = self.interrupted();
        world.forget_unreachable();
        world.record("killed".to_owned());
        world
    }

    /// The machine after the power went and came back.
    pub(super) fn rebooted(&mut self) -> World {
        let mut world = self.interrupted();
        let mut random = world.random.fork();
        world.tree = world.tree.crashed(&mut random);
        let reached = world.tree.reachable();
        world.files.retain(|id, _| reached.contains(id));
        for file in world.files.values_mut() {
            *file = file.crashed(&mut random);
        }
        world.record("crashed".to_owned());
        world
    }

    pub(super) fn opened(&mut self, file: NodeId) {
        self.file(file).handles += 1;
    }

    pub(super) fn closed(&mut self, file: NodeId) {
        if let Some(file) = self.files.get_mut(&file) {
            file.handles -= 1;
        }
    }

    /// The file at a path as a test sees it.
    pub(super) fn at(&mut self, path: &Path) -> Option<&mut FileState> {
        match self.tree.find(path) {
            Ok(Entry::File(file)) => self.files.get_mut(&file),
            _ => None,
        }
    }

    /// Puts a file there, all durable.
    pub(super) fn install(&mut self, path: &Path, bytes: &[u8]) -> Result<(), Errno> {
        let file = match self.tree.file(path) {
            Err(libc::ENOENT) => self.tree.create(path)?,
            result => result?,
        };
        let mut state = FileState::durable(bytes);
        state.handles = self.files.get(&file).map_or(0, |file| file.handles);
        self.files.insert(file, state);
        self.tree.settle_all();
        Ok(())
    }

    /// The files that have a name, with their lengths in bytes.
    pub(super) fn sizes(&self) -> BTreeMap<PathBuf, u64> {
        let files = self.tree.files().into_iter();
        files.filter_map(|(path, id)| Some((PathBuf::from(path), self.files.get(&id)?.len()))).collect()
    }
}
