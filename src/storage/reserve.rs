//! The reserve: room that a full disk gives back when the engine cannot go on without.
//!
//! `journal/<shard>/reserve` is preallocated, never written, and as long as the shard's journal files together. What is
//! acknowledged and not yet in segments is in the journal; so there is room for it in segments, whatever else fills the
//! disk: to free journal files for the entries that delete, to stop cleanly, and to recover.
//!
//! It is removed when a write finds the disk full. From then on appends are refused, but for those that make room; they
//! are taken again when the reserve could be made anew.

use std::cell::Cell;
use std::path::{Path, PathBuf};

use crate::disk::{Disk, DiskFile, DiskResult, OpenMode};

/// The name of the file.
pub const FILE_NAME: &str = "reserve";

/// The reserve of one shard.
pub(super) struct Reserve {
    path: PathBuf,
    /// How much is known to be held, bytes.
    held: Cell<u64>,
}

impl Reserve {
    /// The reserve beside the journal in `directory`. Touches no disk.
    pub(super) fn new(directory: &Path) -> Reserve {
        Reserve { path: directory.join(FILE_NAME), held: Cell::new(0) }
    }

    /// How much is held, bytes.
    pub(super) fn held(&self) -> u64 {
        self.held.get()
    }

    /// Holds so many bytes, or none.
    ///
    /// # Errors
    /// Those of the disk; a full one leaves no part of the reserve behind.
    pub(super) async fn take<D: Disk>(&self, disk: &D, bytes: u64) -> DiskResult<()> {
        let taken = async {
            let file = disk.open(&self.path, OpenMode::OpenOrCreate).await?;
            file.preallocate(bytes).await
        };
        match taken.await {
            Ok(()) => {
                self.held.set(bytes);
                Ok(())
            }
            Err(error) => {
                self.release(disk).await?;
                Err(error)
            }
        }
    }

    /// Gives the room back; whether there was any.
    ///
    /// # Errors
    /// Those of the disk.
    pub(super) async fn release<D: Disk>(&self, disk: &D) -> DiskResult<bool> {
        self.held.set(0);
        match disk.remove(&self.path).await {
            Ok(()) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }
}
