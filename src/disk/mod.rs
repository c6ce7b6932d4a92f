//! The disk as the engine sees it: a small asynchronous trait.
//!
//! [`uring::UringDisk`] does direct I/O on io_uring through glommio and is the only place that names glommio's files.
//! The engine is generic over [`Disk`], so that a simulated disk can take its place; time comes through the same door,
//! so a simulated history owns it too.
//!
//! # Contract
//! - Positions, lengths and buffers of [`DiskFile::write_at`] and [`DiskFile::read_at`] are multiples of [`ALIGNMENT`].
//! - A write is durable only when a [`DiskFile::sync_data`] that was *called after the write completed* has returned
//!   `Ok`. Before that, any subset of its 512-byte sectors may survive a crash.
//! - Overlapping writes are not issued concurrently; writes to different ranges may be.
//! - A name (create, rename, remove) is durable only after [`Disk::sync_dir`] of its directory.
//! - An error of a write or a sync says nothing about what reached the disk.

use std::path::{Path, PathBuf};
use std::time::Duration;

pub mod lock;
pub mod sim;
pub mod uring;

/// Every direct read and write is a multiple of this many bytes, at a multiple of this position: the largest logical
/// sector in use, and the page size of the file systems that corelog runs on.
pub const ALIGNMENT: usize = 4096;

/// Rounds `len` up to the next multiple of [`ALIGNMENT`].
pub const fn align_up(len: u64) -> u64 {
    len.next_multiple_of(ALIGNMENT as u64)
}

/// Rounds `len` down to a multiple of [`ALIGNMENT`].
pub const fn align_down(len: u64) -> u64 {
    len - len % ALIGNMENT as u64
}

/// What went wrong on the disk, and where.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {}: {source}", path.display())]
pub struct DiskError {
    /// The call that failed: `open`, `write`, `sync`, …
    pub operation: &'static str,
    /// The file or directory.
    pub path: PathBuf,
    /// The operating system's reason.
    #[source]
    pub source: std::io::Error,
}

impl DiskError {
    /// Whether the disk has no room (ENOSPC, EDQUOT): a condition that can pass, unlike a failed disk. A sync that fails
    /// is none, whatever it says: what it covered may be gone, and the next one succeeds without it.
    pub fn is_full(&self) -> bool {
        let is_sync = matches!(self.operation, "sync" | "sync directory");
        !is_sync && matches!(self.source.raw_os_error(), Some(libc::ENOSPC | libc::EDQUOT))
    }

    /// Whether the file or directory does not exist.
    pub fn is_not_found(&self) -> bool {
        self.source.kind() == std::io::ErrorKind::NotFound
    }
}

/// The result of a disk operation.
pub type DiskResult<T> = Result<T, DiskError>;

/// How [`Disk::open`] treats a file that is or is not there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// Read and write an existing file; an error when there is none.
    Existing,
    /// Read and write; made empty when there is none, kept as it is when there is.
    OpenOrCreate,
}

/// An owned buffer that a direct write can use: aligned in memory to [`ALIGNMENT`].
pub trait DiskBuffer: 'static {
    /// The bytes.
    fn bytes(&self) -> &[u8];
    /// The bytes, to fill. A fresh buffer holds anything: who fills it fills all of it, the padding too.
    fn bytes_mut(&mut self) -> &mut [u8];
}

/// An open file with direct, aligned I/O. Closed when dropped.
#[allow(async_fn_in_trait, reason = "shards are single-threaded: these futures are never Send")]
pub trait DiskFile: 'static {
    /// The buffer of this disk.
    type Buffer: DiskBuffer;

    /// What a read gives: exactly the bytes that were read.
    type Data: std::ops::Deref<Target = [u8]> + 'static;

    /// A buffer of `len` bytes, a multiple of [`ALIGNMENT`].
    fn allocate(&self, len: usize) -> Self::Buffer;

    /// Writes the whole buffer at `position`, all of it or an error.
    async fn write_at(&self, position: u64, buffer: Self::Buffer) -> DiskResult<()>;

    /// Reads up to `len` bytes at `position`; fewer only at the end of the file.
    async fn read_at(&self, position: u64, len: usize) -> DiskResult<Self::Data>;

    /// fdatasync: makes every completed write, and the file's length, durable.
    async fn sync_data(&self) -> DiskResult<()>;

    /// Reserves space for `[0, len)` and sets the length to at least `len`; new bytes read as zero.
    async fn preallocate(&self, len: u64) -> DiskResult<()>;

    /// Cuts or extends the file to exactly `len` bytes (no alignment needed).
    async fn set_len(&self, len: u64) -> DiskResult<()>;

    /// The file's length in bytes.
    async fn size(&self) -> DiskResult<u64>;
}

/// A directory tree with direct-I/O files, and a clock. Cheap to clone: a handle.
#[allow(async_fn_in_trait, reason = "shards are single-threaded: these futures are never Send")]
pub trait Disk: Clone + 'static {
    /// Its files.
    type File: DiskFile;

    /// Opens a file for direct reading and writing.
    async fn open(&self, path: &Path, mode: OpenMode) -> DiskResult<Self::File>;

    /// Renames a file within a file system, replacing the target atomically.
    async fn rename(&self, from: &Path, to: &Path) -> DiskResult<()>;

    /// Removes a file.
    async fn remove(&self, path: &Path) -> DiskResult<()>;

    /// Removes a directory and everything below it; no error when it does not exist.
    async fn remove_dir_all(&self, path: &Path) -> DiskResult<()>;

    /// Makes a directory and its parents; no error when it exists.
    async fn create_dir_all(&self, path: &Path) -> DiskResult<()>;

    /// The names in a directory, sorted; empty when the directory does not exist.
    async fn list(&self, path: &Path) -> DiskResult<Vec<String>>;

    /// Makes the names in a directory durable.
    async fn sync_dir(&self, path: &Path) -> DiskResult<()>;

    /// Time since an arbitrary point; never goes back.
    fn monotonic(&self) -> Duration;

    /// Milliseconds since 1970-01-01 UTC; may jump.
    fn wall_clock_ms(&self) -> i64;

    /// Resolves after `duration` of [`Disk::monotonic`] time.
    async fn sleep(&self, duration: Duration);
}
