//! What a simulated disk does by choice: delays, faults, the crash, and the names of its operations.

use std::ops::RangeInclusive;
use std::time::Duration;

/// The virtual delay of each kind of operation, drawn evenly from the range.
#[derive(Clone, Debug)]
pub struct Latency {
    /// Of a read.
    pub read: RangeInclusive<Duration>,
    /// Of a write.
    pub write: RangeInclusive<Duration>,
    /// Of a sync of a file or of a directory.
    pub sync: RangeInclusive<Duration>,
    /// Of everything else.
    pub metadata: RangeInclusive<Duration>,
}

impl Default for Latency {
    /// Of the order of an NVMe device: wide ranges, so that concurrent operations overtake each other.
    fn default() -> Latency {
        let micros = |min, max| Duration::from_micros(min)..=Duration::from_micros(max);
        Latency { read: micros(20, 200), write: micros(20, 300), sync: micros(100, 1500), metadata: micros(5, 300) }
    }
}

/// The faults that strike at random, each with its chance in a million operations ([`super::PPM`]). All off by default.
#[derive(Clone, Debug, Default)]
pub struct Faults {
    /// EIO of a read.
    pub read_error_ppm: u32,
    /// EIO of a write: any subset of its sectors arrived.
    pub write_error_ppm: u32,
    /// EIO of a file's sync: any subset of what it covered is lost at the next crash, though reads still see it.
    pub sync_error_ppm: u32,
    /// EIO of any other operation: whether it took effect is drawn. A directory's sync settled nothing.
    pub metadata_error_ppm: u32,
    /// An operation that takes up to [`Faults::stall_max`] longer.
    pub stall_ppm: u32,
    /// The longest stall.
    pub stall_max: Duration,
}

/// When the power goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashPoint {
    /// While the operation with this number is under way, counted from 1 at the disk's start or the last crash;
    /// during the next one when the count is already past it.
    Operation(u64),
    /// At this [`monotonic`](crate::disk::Disk::monotonic) time of the disk.
    Time(Duration),
}

/// What a simulated disk starts with. Every field can be changed later, on the disk.
#[derive(Clone, Debug, Default)]
pub struct SimOptions {
    /// How long operations take.
    pub latency: Latency,
    /// What goes wrong at random.
    pub faults: Faults,
    /// How many bytes all files can take together; `None` is no limit. Counted in pages of
    /// [`ALIGNMENT`](crate::disk::ALIGNMENT) bytes that are written or preallocated.
    pub capacity: Option<u64>,
    /// The first crash; one after a [`super::SimDisk::crash`] is planned anew.
    pub crash: Option<CrashPoint>,
    /// Whether to keep a line for each operation's beginning and end, see [`super::SimDisk::trace`].
    pub keep_trace: bool,
}

/// The disk's operations, for counting and for injecting an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OperationKind {
    /// [`Disk::open`](crate::disk::Disk::open).
    Open,
    /// [`Disk::rename`](crate::disk::Disk::rename).
    Rename,
    /// [`Disk::remove`](crate::disk::Disk::remove).
    Remove,
    /// [`Disk::remove_dir_all`](crate::disk::Disk::remove_dir_all).
    RemoveDirAll,
    /// [`Disk::create_dir_all`](crate::disk::Disk::create_dir_all).
    CreateDirAll,
    /// [`Disk::list`](crate::disk::Disk::list).
    List,
    /// [`Disk::sync_dir`](crate::disk::Disk::sync_dir).
    SyncDir,
    /// [`DiskFile::write_at`](crate::disk::DiskFile::write_at).
    Write,
    /// [`DiskFile::read_at`](crate::disk::DiskFile::read_at).
    Read,
    /// [`DiskFile::sync_data`](crate::disk::DiskFile::sync_data).
    Sync,
    /// [`DiskFile::preallocate`](crate::disk::DiskFile::preallocate).
    Preallocate,
    /// [`DiskFile::set_len`](crate::disk::DiskFile::set_len).
    SetLen,
    /// [`DiskFile::size`](crate::disk::DiskFile::size).
    Size,
}

impl OperationKind {
    /// The word that a [`DiskError`](crate::disk::DiskError) has for it, the same as the real disk's.
    pub fn name(self) -> &'static str {
        match self {
            OperationKind::Open => "open",
            OperationKind::Rename => "rename",
            OperationKind::Remove | OperationKind::RemoveDirAll => "remove",
            OperationKind::CreateDirAll => "create directory",
            OperationKind::List => "list",
            OperationKind::SyncDir => "sync directory",
            OperationKind::Write => "write",
            OperationKind::Read => "read",
            OperationKind::Sync => "sync",
            OperationKind::Preallocate => "preallocate",
            OperationKind::SetLen => "truncate",
            OperationKind::Size => "stat",
        }
    }

    pub(super) fn latency(self, latency: &Latency) -> &RangeInclusive<Duration> {
        match self {
            OperationKind::Read => &latency.read,
            OperationKind::Write => &latency.write,
            OperationKind::Sync | OperationKind::SyncDir => &latency.sync,
            _ => &latency.metadata,
        }
    }

    pub(super) fn error_ppm(self, faults: &Faults) -> u32 {
        match self {
            OperationKind::Read => faults.read_error_ppm,
            OperationKind::Write => faults.write_error_ppm,
            OperationKind::Sync => faults.sync_error_ppm,
            _ => faults.metadata_error_ppm,
        }
    }
}
