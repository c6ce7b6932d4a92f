//! A simulated disk: seeded, deterministic, and as unkind as a real one may be. With [`SimExecutor`] and its virtual
//! [`Clock`] it runs thousands of crash histories a minute; the same seed gives the same history, bit for bit.
//!
//! # What may happen, and why the engine must survive it
//! Nothing else may: a history that fails is the engine's fault. A *crash* is a loss of power ([`SimDisk::crash`]); a
//! *kill* is the end of the process alone ([`SimDisk::kill`]).
//!
//! 1. **Operations that run at the same time end in any order**, after any delay. Devices and rings promise no order.
//! 2. **Unsynced data is torn and reordered.** A crash keeps, for every 512-byte sector by itself, the durable version
//!    or any version written since, also of writes that had not returned. Devices have volatile caches and write
//!    sectors whole, nothing larger. A sync covers the writes that had *returned* when it was *called*; one that is
//!    interrupted covers none.
//! 3. **Unsynced lengths are lost independently of data.** A crash leaves the durable length or any length since
//!    (by write, truncation, preallocation, with the preallocated space that goes with it). Data beyond the length that
//!    survived is gone; a length without its data reads as zeros. The length is metadata, which file systems
//!    commit apart from data, in order.
//! 4. **Unsynced names are lost.** Each create, rename, remove and new directory survives or not by itself, but none
//!    without an older one of the same name, nor the removal of a directory without its entries' removal.
//!    POSIX promises a name only after fsync of its directory: a synced file with an unsynced name is gone. A directory
//!    that is gone takes what is below with it, whatever was synced there. A removed file may come back, with its data.
//! 5. **A rename is atomic, and nothing more.** After a crash it happened or it did not: never both names, never
//!    neither. It syncs no data: the new name may show the file with lost content. Between two directories it is
//!    settled by a sync of the new name's directory. File systems journal a rename as one transaction.
//! 6. **`remove_dir_all` is many removals**; a crash leaves any part that rule 4 allows.
//! 7. **A write that fails with EIO leaves any subset of its sectors**, visible at once. It may have failed half-way.
//! 8. **A sync that fails loses data behind the engine's back** ("fsyncgate"): of what it covered, any subset of sectors
//!    is durable and the rest is not, reads go on giving it all, and the next sync succeeds without it. The kernel
//!    marks pages clean when their write-back fails.
//! 9. **Other operations that fail with EIO took effect or did not.** A failed `sync_dir` settled nothing.
//! 10. **A full disk** ([`SimDisk::set_capacity`]) refuses writes and preallocations that need space; a first part of
//!     them may have been done. Overwriting and preallocated space need none. Removing, truncating and closing a
//!     removed file give space back.
//! 11. **A read during an overlapping write** sees each sector old or new.
//! 12. **Damage**: a test flips or overwrites bytes on the medium ([`SimDisk::flip_bit`], [`SimDisk::damage`]); reads see
//!     it at once. Media rot, and writes go astray: one page keeps what it had, another gets what it should not.
//! 13. **A kill loses what was not yet handed over, and keeps the rest undecided**: what the next process reads may
//!     still vanish in a later crash. So recovery syncs what it relies on.
//!
//! A write that is cut short is one that fails with a first part of its sectors done (7, 10), for that is what
//! [`crate::disk::uring`] makes of it; a read that is cut short within a file fails.
//!
//! Not simulated: stale reads, hard links, permissions, limits on names and open files.
//!
//! # What is a bug at once
//! A breach of the contract in [`crate::disk`] panics: unaligned positions, lengths or buffers; a write that overlaps
//! one under way; truncation below a write under way; creating, renaming to or syncing below a directory that was
//! removed and not made again; `..` in a path. So do a deadlock and a livelock, in the executor.
//!
//! # Use
//! ```
//! use corelog::disk::sim::{CrashPoint, SimDisk, SimExecutor, SimOptions};
//! use corelog::disk::{ALIGNMENT, Disk, DiskFile, OpenMode};
//! use std::path::Path;
//!
//! let executor = SimExecutor::new(1);
//! let disk = SimDisk::new(&executor.clock(), 1, SimOptions::default());
//! disk.plan_crash(CrashPoint::Operation(20));
//! let acknowledged = std::cell::Cell::new(0);
//! let finished = executor.run_until_or_crash(&disk, async {
//!     let file = disk.open(Path::new("/file"), OpenMode::OpenOrCreate).await.expect("open");
//!     disk.sync_dir(Path::new("/")).await.expect("sync");
//!     for i in 0.. {
//!         file.write_at(i * ALIGNMENT as u64, file.allocate(ALIGNMENT)).await.expect("write");
//!         file.sync_data().await.expect("sync");
//!         acknowledged.set(i + 1);
//!     }
//! });
//! assert!(finished.is_none());
//! executor.abandon_tasks();
//! let disk = disk.crash();
//! assert!(disk.file_sizes()[Path::new("/file")] >= acknowledged.get() * ALIGNMENT as u64);
//! ```

mod clock;
mod executor;
mod file;
mod inspect;
mod options;
mod random;
mod tree;
mod world;

#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::future::poll_fn;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::{Rc, Weak};
use std::task::{Poll, Waker};
use std::time::Duration;

use super::{ALIGNMENT, Disk, DiskBuffer, DiskError, DiskFile, DiskResult, OpenMode};
pub use clock::{Clock, WALL_CLOCK_START_MS};
pub use executor::{JoinHandle, POLLS_WITHOUT_TIME_MAX, SimExecutor, Spawner};
pub use file::SECTOR;
pub use options::{CrashPoint, Faults, Latency, OperationKind, SimOptions};
pub use random::{PPM, Random};
use tree::{Errno, NodeId};
use world::{Operation, Outcome, World};

struct Machine {
    clock: Clock,
    booted: Duration,
    world: RefCell<World>,
    crash_waiters: RefCell<Vec<Waker>>,
}

/// A simulated disk and its machine, from one boot to its crash. A clone is another handle of the same disk.
#[derive(Clone)]
pub struct SimDisk {
    machine: Rc<Machine>,
}

/// A file on [`SimDisk`].
pub struct SimFile {
    disk: SimDisk,
    node: NodeId,
    path: PathBuf,
}

/// A buffer for [`SimFile`]; its place in memory is not aligned, its length is.
pub struct SimBuffer(Vec<u8>);

/// Bytes read from a [`SimFile`].
pub struct SimData(Vec<u8>);

impl std::ops::Deref for SimData {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DiskBuffer for SimBuffer {
    fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

/// What an operation gives to the one who waits for it.
enum Reply {
    Done,
    File(SimFile),
    Data(SimData),
    Names(Vec<String>),
    Size(u64),
}

/// Where an operation's end meets the future that waits for it, which may be gone: the operation ends all the same.
#[derive(Default)]
struct Waiting {
    result: RefCell<Option<Result<Reply, Errno>>>,
    waker: RefCell<Option<Waker>>,
}

fn unexpected() -> ! {
    unreachable!("each operation has one kind of reply")
}

impl SimDisk {
    /// An empty disk with a durable root directory `/`. All its choices follow from `seed` and the engine's calls.
    pub fn new(clock: &Clock, seed: u64, options: SimOptions) -> SimDisk {
        let crash = options.crash;
        let disk = SimDisk::boot(clock, World::new(Random::new(seed), options));
        if let Some(crash) = crash {
            disk.plan_crash(crash);
        }
        disk
    }

    fn boot(clock: &Clock, world: World) -> SimDisk {
        let machine = Machine {
            clock: clock.clone(),
            booted: clock.now(),
            world: RefCell::new(world),
            crash_waiters: RefCell::default(),
        };
        SimDisk { machine: Rc::new(machine) }
    }

    /// Plans the crash of this disk, instead of one planned before by operation. Times add up: the earliest counts.
    pub fn plan_crash(&self, crash: CrashPoint) {
        match crash {
            CrashPoint::Operation(number) => self.machine.world.borrow_mut().crash_at = Some(number),
            CrashPoint::Time(time) => self.schedule_crash(self.machine.booted + time),
        }
    }

    fn schedule_crash(&self, at: Duration) {
        let machine = Rc::downgrade(&self.machine);
        self.machine.clock.schedule(at, move || {
            if let Some(machine) = machine.upgrade() {
                machine.stop();
            }
        });
    }

    /// Whether the power has gone, or the process was killed: no operation of this handle will ever complete.
    pub fn is_crashed(&self) -> bool {
        self.machine.world.borrow().crashed
    }

    /// Resolves when the disk has crashed.
    pub async fn crashed(&self) {
        poll_fn(|context| {
            if self.is_crashed() {
                return Poll::Ready(());
            }
            self.machine.crash_waiters.borrow_mut().push(context.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// The power goes now, if it has not, and comes back: the disk after the reboot, with the same options, no planned
    /// crash and no injected errors. Every call draws another of the possible outcomes.
    pub fn crash(&self) -> SimDisk {
        self.machine.stop();
        let world = self.machine.world.borrow_mut().rebooted();
        SimDisk::boot(&self.machine.clock, world)
    }

    /// The process ends now; the machine does not. What was written is there for the next process, but no more durable
    /// than before. Operations under way ended or did not.
    pub fn kill(&self) -> SimDisk {
        self.machine.stop();
        let world = self.machine.world.borrow_mut().killed();
        SimDisk::boot(&self.machine.clock, world)
    }

    /// Runs one operation to its end, which is its effect: between, the machine can crash.
    async fn operate(&self, operation: Operation, path: &Path) -> DiskResult<Reply> {
        if self.is_crashed() {
            std::future::pending::<()>().await;
        }
        let kind = operation.kind();
        let now = self.machine.clock.now();
        let begun = self.machine.world.borrow_mut().begin(operation, path, now);
        if let Some(after) = begun.crash_after {
            self.schedule_crash(now + after);
        }
        let waiting = Rc::new(Waiting::default());
        self.machine.clock.schedule(now + begun.delay, {
            let (machine, waiting, path) = (Rc::downgrade(&self.machine), waiting.clone(), path.to_path_buf());
            move || Machine::finish(&machine, begun.id, path, &waiting)
        });
        let result = poll_fn(|context| {
            // What had ended but was not yet seen when the power went is never seen.
            match waiting.result.take().filter(|_| !self.is_crashed()) {
                Some(result) => Poll::Ready(result),
                None => {
                    *waiting.waker.borrow_mut() = Some(context.waker().clone());
                    Poll::Pending
                }
            }
        })
        .await;
        result.map_err(|errno| DiskError {
            operation: kind.name(),
            path: path.to_path_buf(),
            source: io::Error::from_raw_os_error(errno),
        })
    }

    async fn complete(&self, operation: Operation, path: &Path) -> DiskResult<()> {
        match self.operate(operation, path).await? {
            Reply::Done => Ok(()),
            _ => unexpected(),
        }
    }
}

impl Machine {
    fn stop(&self) {
        self.world.borrow_mut().crashed = true;
        for waker in self.crash_waiters.take() {
            waker.wake();
        }
    }

    fn finish(machine: &Weak<Machine>, id: u64, path: PathBuf, waiting: &Waiting) {
        let Some(machine) = machine.upgrade() else { return };
        if machine.world.borrow().crashed {
            return;
        }
        let result = {
            let mut world = machine.world.borrow_mut();
            let result = world.finish(id, machine.clock.now());
            if let Ok(Outcome::Opened(node)) = result {
                world.opened(node);
            }
            result
        };
        let reply = result.map(|outcome| match outcome {
            Outcome::Done => Reply::Done,
            Outcome::Opened(node) => Reply::File(SimFile { disk: SimDisk { machine }, node, path }),
            Outcome::Data(data) => Reply::Data(SimData(data)),
            Outcome::Names(names) => Reply::Names(names),
            Outcome::Size(size) => Reply::Size(size),
        });
        *waiting.result.borrow_mut() = Some(reply);
        if let Some(waker) = waiting.waker.take() {
            waker.wake();
        }
    }
}

impl Disk for SimDisk {
    type File = SimFile;

    async fn open(&self, path: &Path, mode: OpenMode) -> DiskResult<SimFile> {
        match self.operate(Operation::Open { path: path.to_path_buf(), mode }, path).await? {
            Reply::File(file) => Ok(file),
            _ => unexpected(),
        }
    }

    async fn rename(&self, from: &Path, to: &Path) -> DiskResult<()> {
        self.complete(Operation::Rename { from: from.to_path_buf(), to: to.to_path_buf() }, from).await
    }

    async fn remove(&self, path: &Path) -> DiskResult<()> {
        self.complete(Operation::Remove { path: path.to_path_buf() }, path).await
    }

    async fn remove_dir_all(&self, path: &Path) -> DiskResult<()> {
        self.complete(Operation::RemoveDirAll { path: path.to_path_buf() }, path).await
    }

    async fn create_dir_all(&self, path: &Path) -> DiskResult<()> {
        self.complete(Operation::CreateDirAll { path: path.to_path_buf() }, path).await
    }

    async fn list(&self, path: &Path) -> DiskResult<Vec<String>> {
        match self.operate(Operation::List { path: path.to_path_buf() }, path).await? {
            Reply::Names(names) => Ok(names),
            _ => unexpected(),
        }
    }

    async fn sync_dir(&self, path: &Path) -> DiskResult<()> {
        self.complete(Operation::SyncDir { path: path.to_path_buf() }, path).await
    }

    /// Since this machine's boot.
    fn monotonic(&self) -> Duration {
        self.machine.clock.now() - self.machine.booted
    }

    fn wall_clock_ms(&self) -> i64 {
        self.machine.clock.wall_clock_ms()
    }

    async fn sleep(&self, duration: Duration) {
        self.machine.clock.sleep(duration).await;
        if self.is_crashed() {
            std::future::pending::<()>().await;
        }
    }
}

impl DiskFile for SimFile {
    type Buffer = SimBuffer;
    type Data = SimData;

    fn allocate(&self, len: usize) -> SimBuffer {
        assert!(len > 0 && len.is_multiple_of(ALIGNMENT), "disk contract: unaligned buffer of {len} bytes");
        // As a real buffer does, it holds what somebody left: padding that nobody wrote must show.
        SimBuffer(vec![0xa5; len])
    }

    async fn write_at(&self, position: u64, buffer: SimBuffer) -> DiskResult<()> {
        self.disk.complete(Operation::Write { file: self.node, position, bytes: buffer.0 }, &self.path).await
    }

    async fn read_at(&self, position: u64, len: usize) -> DiskResult<SimData> {
        match self.disk.operate(Operation::Read { file: self.node, position, len }, &self.path).await? {
            Reply::Data(data) => Ok(data),
            _ => unexpected(),
        }
    }

    async fn sync_data(&self) -> DiskResult<()> {
        self.disk.complete(Operation::Sync { file: self.node }, &self.path).await
    }

    async fn preallocate(&self, len: u64) -> DiskResult<()> {
        self.disk.complete(Operation::Preallocate { file: self.node, len }, &self.path).await
    }

    async fn set_len(&self, len: u64) -> DiskResult<()> {
        self.disk.complete(Operation::SetLen { file: self.node, len }, &self.path).await
    }

    async fn size(&self) -> DiskResult<u64> {
        match self.disk.operate(Operation::Size { file: self.node }, &self.path).await? {
            Reply::Size(size) => Ok(size),
            _ => unexpected(),
        }
    }
}

impl Drop for SimFile {
    fn drop(&mut self) {
        self.disk.machine.world.borrow_mut().closed(self.node);
    }
}
