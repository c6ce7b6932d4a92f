//! What a test does to a simulated disk, and sees of it, without the engine: at once, in no virtual time.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use super::options::{Faults, OperationKind};
use super::tree::Errno;
use super::world::Injection;
use super::{Clock, SimDisk};
use crate::disk::{DiskError, DiskResult};

fn failed(operation: &'static str, path: &Path, errno: Errno) -> DiskError {
    DiskError { operation, path: path.to_path_buf(), source: io::Error::from_raw_os_error(errno) }
}

impl SimDisk {
    /// The clock that it runs by.
    pub fn clock(&self) -> Clock {
        self.machine.clock.clone()
    }

    /// Changes the random faults, for operations that begin from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.machine.world.borrow_mut().options.faults = faults;
    }

    /// Changes how many bytes all files can take together; `None` is no limit. What is there stays.
    pub fn set_capacity(&self, capacity: Option<u64>) {
        self.machine.world.borrow_mut().options.capacity = capacity;
    }

    /// Fails one operation to come: the first of that kind on a path that contains `path_contains`, after `skip` others
    /// of them. `errno` is the system's number: `libc::ENOSPC` has no effect but the error, except of a sync;
    /// any other one follows the rules of [`super`] for EIO.
    pub fn inject(&self, kind: OperationKind, path_contains: &str, skip: u64, errno: i32) {
        let injection = Injection { kind, path_contains: path_contains.to_owned(), skip, errno };
        self.machine.world.borrow_mut().injections.push(injection);
    }

    /// Forgets the errors of [`SimDisk::inject`] that have not struck.
    pub fn forget_injections(&self) {
        self.machine.world.borrow_mut().injections.clear();
    }

    /// Makes a directory and its parents, durable, along with every other name so far: the test's, not the engine's.
    ///
    /// # Errors
    /// When a file is in the way.
    pub fn install_dir(&self, path: &Path) -> DiskResult<()> {
        let mut world = self.machine.world.borrow_mut();
        world.tree.create_dir_all(path).map_err(|errno| failed("create directory", path, errno))?;
        world.tree.settle_all();
        Ok(())
    }

    /// Puts a durable file there, instead of one that is there; makes every other name so far durable too.
    ///
    /// # Errors
    /// When its directory does not exist.
    pub fn install_file(&self, path: &Path, bytes: &[u8]) -> DiskResult<()> {
        self.machine.world.borrow_mut().install(path, bytes).map_err(|errno| failed("open", path, errno))
    }

    /// Flips one bit (0 to 7) of the byte at `position`, on the medium and in what reads see.
    ///
    /// # Errors
    /// When the file does not exist or ends before `position`.
    pub fn flip_bit(&self, path: &Path, position: u64, bit: u8) -> DiskResult<()> {
        self.change(path, position, 1, |_, byte| byte ^ (1 << (bit & 7)))
    }

    /// Flips a seeded bit of a seeded byte of a file, and says which byte; `None` when there is none.
    pub fn flip_some_bit(&self, path: &Path) -> Option<u64> {
        let mut world = self.machine.world.borrow_mut();
        let len = world.at(path)?.len();
        if len == 0 {
            return None;
        }
        let (position, bit) = (world.random.below(len), world.random.below(8));
        world.at(path)?.damage(position, 1, |_, byte| byte ^ (1 << bit)).then_some(position)
    }

    /// Overwrites bytes on the medium and in what reads see.
    ///
    /// # Errors
    /// When they are not all within an existing file.
    pub fn damage(&self, path: &Path, position: u64, bytes: &[u8]) -> DiskResult<()> {
        self.change(path, position, bytes.len() as u64, |at, _| bytes[(at - position) as usize])
    }

    fn change(&self, path: &Path, position: u64, len: u64, byte: impl FnMut(u64, u8) -> u8) -> DiskResult<()> {
        let mut world = self.machine.world.borrow_mut();
        let file = world.at(path).ok_or_else(|| failed("damage", path, libc::ENOENT))?;
        if file.damage(position, len, byte) { Ok(()) } else { Err(failed("damage", path, libc::EINVAL)) }
    }

    /// Every file that has a name, with its length in bytes, as the operating system shows it now.
    pub fn file_sizes(&self) -> BTreeMap<PathBuf, u64> {
        self.machine.world.borrow().sizes()
    }

    /// A file's content as the operating system shows it now; `None` when there is no such file.
    pub fn file_bytes(&self, path: &Path) -> Option<Vec<u8>> {
        let mut world = self.machine.world.borrow_mut();
        let file = world.at(path)?;
        Some(file.read(0, file.len() as usize))
    }

    /// What a crash leaves of a file that has this name now, and keeps it, when it takes all that is undecided.
    pub fn durable_bytes(&self, path: &Path) -> Option<Vec<u8>> {
        Some(self.machine.world.borrow_mut().at(path)?.read_durable())
    }

    /// How many operations of a kind have begun since the boot.
    pub fn count(&self, kind: OperationKind) -> u64 {
        self.machine.world.borrow().counts.get(&kind).copied().unwrap_or(0)
    }

    /// How many operations have begun since the boot: the numbers of [`super::CrashPoint::Operation`].
    pub fn operations(&self) -> u64 {
        self.machine.world.borrow().operations
    }

    /// How many bytes the writes since the boot had, done or not.
    pub fn written_bytes(&self) -> u64 {
        self.machine.world.borrow().written_bytes
    }

    /// The space of all files, preallocated space included, in bytes.
    pub fn used_bytes(&self) -> u64 {
        self.machine.world.borrow().used()
    }

    /// A line for each operation's beginning and end, from the first boot on, when
    /// [`super::SimOptions::keep_trace`] is set.
    pub fn trace(&self) -> Vec<String> {
        self.machine.world.borrow().trace.clone()
    }

    /// A hash of the trace, kept or not: equal for equal histories.
    pub fn trace_hash(&self) -> u64 {
        self.machine.world.borrow().trace_hash
    }
}
