//! A disk that takes everything at once and keeps nothing: what is left of an append's time is the engine's own.
//!
//! Enough for appends, which never read a file. Its clock and directories are those of nothing.

use std::path::Path;
use std::time::{Duration, Instant};

use corelog::disk::{Disk, DiskBuffer, DiskFile, DiskResult, OpenMode};

/// The disk; its clock starts with it.
#[derive(Clone)]
pub struct NullDisk(Instant);

impl NullDisk {
    /// A new one.
    pub fn new() -> NullDisk {
        NullDisk(Instant::now())
    }
}

/// A file without bytes.
pub struct NullFile;

/// A buffer, not aligned: nothing reads it.
pub struct NullBuffer(Vec<u8>);

impl DiskBuffer for NullBuffer {
    fn bytes(&self) -> &[u8] {
        &self.0
    }

    fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

impl DiskFile for NullFile {
    type Buffer = NullBuffer;
    type Data = Vec<u8>;

    fn allocate(&self, len: usize) -> NullBuffer {
        NullBuffer(vec![0; len])
    }

    async fn write_at(&self, _: u64, _: NullBuffer) -> DiskResult<()> {
        Ok(())
    }

    async fn read_at(&self, _: u64, _: usize) -> DiskResult<Vec<u8>> {
        Ok(Vec::new())
    }

    async fn sync_data(&self) -> DiskResult<()> {
        Ok(())
    }

    async fn preallocate(&self, _: u64) -> DiskResult<()> {
        Ok(())
    }

    async fn set_len(&self, _: u64) -> DiskResult<()> {
        Ok(())
    }

    async fn size(&self) -> DiskResult<u64> {
        Ok(0)
    }
}

impl Disk for NullDisk {
    type File = NullFile;

    async fn open(&self, _: &Path, _: OpenMode) -> DiskResult<NullFile> {
        Ok(NullFile)
    }

    async fn rename(&self, _: &Path, _: &Path) -> DiskResult<()> {
        Ok(())
    }

    async fn remove(&self, _: &Path) -> DiskResult<()> {
        Ok(())
    }

    async fn remove_dir_all(&self, _: &Path) -> DiskResult<()> {
        Ok(())
    }

    async fn create_dir_all(&self, _: &Path) -> DiskResult<()> {
        Ok(())
    }

    async fn list(&self, _: &Path) -> DiskResult<Vec<String>> {
        Ok(Vec::new())
    }

    async fn sync_dir(&self, _: &Path) -> DiskResult<()> {
        Ok(())
    }

    fn monotonic(&self) -> Duration {
        self.0.elapsed()
    }

    fn wall_clock_ms(&self) -> i64 {
        0
    }

    async fn sleep(&self, duration: Duration) {
        glommio::timer::sleep(duration).await;
    }
}
