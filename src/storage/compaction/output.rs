//! The file of a cleaned segment, written front to back in aligned pieces.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::rewrite::Rewritten;
use super::swap::{cleaned_name, remove};
use crate::disk::{Disk, DiskBuffer, DiskFile, DiskResult, OpenMode};
use crate::storage::segment::index::Index;
use crate::storage::segment::{Home, Segment};
use crate::vocabulary::Offset;

/// Written at once, bytes.
const PIECE_BYTES: usize = 256 << 10;

const _: () = assert!(PIECE_BYTES.is_multiple_of(crate::disk::ALIGNMENT));

/// A cleaned segment in the making.
pub struct Output<D: Disk> {
    path: PathBuf,
    base_offset: Offset,
    file: Rc<D::File>,
    index: Index,
    /// Bytes in the file; a multiple of [`PIECE_BYTES`] until the end.
    written: u64,
    /// Bytes that follow them.
    pending: Vec<u8>,
}

impl<D: Disk> Output<D> {
    /// Begins the segment with this base offset.
    ///
    /// # Errors
    /// Those of the disk.
    pub async fn create(disk: &D, directory: &Path, base_offset: Offset) -> DiskResult<Output<D>> {
        let path = directory.join(cleaned_name(base_offset));
        // One that an attempt before this one left.
        remove(disk, &path).await?;
        let file = Rc::new(disk.open(&path, OpenMode::OpenOrCreate).await?);
        Ok(Output { path, base_offset, file, index: Index::new(base_offset), written: 0, pending: Vec::new() })
    }

    /// Adds what a range came to.
    ///
    /// # Errors
    /// Those of the disk.
    pub async fn add(&mut self, rewritten: &Rewritten) -> DiskResult<()> {
        for batch in &rewritten.batches {
            self.index.add(batch.base_offset, batch.len, batch.max_timestamp);
        }
        self.pending.extend_from_slice(&rewritten.bytes);
        let mut from = 0;
        while self.pending.len() - from >= PIECE_BYTES {
            self.write(&self.pending[from..from + PIECE_BYTES]).await?;
            self.written += PIECE_BYTES as u64;
            from += PIECE_BYTES;
        }
        self.pending.drain(..from);
        Ok(())
    }

    async fn write(&self, bytes: &[u8]) -> DiskResult<()> {
        let mut buffer = self.file.allocate(crate::disk::align_up(bytes.len() as u64) as usize);
        buffer.bytes_mut()[..bytes.len()].copy_from_slice(bytes);
        buffer.bytes_mut()[bytes.len()..].fill(0);
        self.file.write_at(self.written, buffer).await
    }

    /// Bytes of batches.
    pub fn len(&self) -> u64 {
        self.written + self.pending.len() as u64
    }

    /// Makes the file whole and durable; nothing is added any more. The segment, or `None` when no batch is in it.
    ///
    /// # Errors
    /// Those of the disk.
    pub async fn finish(&mut self, home: &Rc<Home<D>>) -> DiskResult<Option<Rc<Segment<D>>>> {
        let len = self.len();
        if !self.pending.is_empty() {
            self.write(&self.pending).await?;
            self.file.set_len(len).await?;
        }
        self.file.sync_data().await?;
        let index = std::mem::replace(&mut self.index, Index::new(self.base_offset));
        Ok((len > 0).then(|| Segment::cleaned(home, self.base_offset, len, index, self.file.clone())))
    }

    /// Gives it up, and removes the file.
    ///
    /// # Errors
    /// Those of the disk.
    pub async fn abandon(self, disk: &D) -> DiskResult<()> {
        remove(disk, &self.path).await
    }
}
