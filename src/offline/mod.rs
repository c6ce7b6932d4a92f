//! Reading a data directory without a broker: what `corelog log` lists, dumps, verifies and explains.
//!
//! Opens nothing for writing and makes nothing. While it works it holds the directory's lock shared, so that no broker
//! starts meanwhile, and refuses when a broker holds it. Files are read by ordinary buffered reads, in pieces; whole in
//! memory are at most one batch, one journal block, or what recovery too reads whole: the part of one shard's journal
//! that its checkpoint does not cover.
//!
//! | module | what it is |
//! | --- | --- |
//! | `data_dir` | which files there are, and the lock |
//! | `batches` | the record batches of a segment, one by one |
//! | `blocks` | the blocks of a journal file, and what lies between them |
//! | `shard` | a shard's checkpoint and journal, as recovery would read them |
//! | `names` | topics' names, from the metadata log |
//! | `list`, `dump`, `verify`, `explain` | the four commands |

mod batches;
mod blocks;
mod data_dir;
mod dump;
mod explain;
mod list;
mod names;
mod shard;
mod verify;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

pub use dump::dump;
pub use explain::explain;
pub use list::list;
pub use verify::{Finding, Severity, Summary, verify};

/// Why there is nothing to tell, in one line.
#[derive(Debug, thiserror::Error)]
pub enum OfflineError {
    /// The file or directory cannot be read.
    #[error("{}: {source}", path.display())]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Not what was asked for.
    #[error("{}: {why}", path.display())]
    Refused {
        /// The file or directory.
        path: PathBuf,
        /// What it is, or is not.
        why: String,
    },
    /// A broker runs on it.
    #[error("data directory {} is in use by a running corelog; stop that one first", .0.display())]
    Locked(PathBuf),
    /// Where the result goes to takes no more.
    #[error("the output cannot be written: {0}")]
    Output(#[from] std::io::Error),
}

impl OfflineError {
    fn unreadable(path: &Path) -> impl FnOnce(std::io::Error) -> OfflineError {
        let path = path.to_path_buf();
        move |source| OfflineError::Unreadable { path, source }
    }

    fn refused(path: &Path, why: impl Into<String>) -> OfflineError {
        OfflineError::Refused { path: path.to_path_buf(), why: why.into() }
    }
}

/// A file that is read in pieces.
struct Source {
    path: PathBuf,
    file: File,
    len: u64,
}

impl Source {
    fn open(path: &Path) -> Result<Source, OfflineError> {
        let file = File::open(path).map_err(OfflineError::unreadable(path))?;
        let metadata = file.metadata().map_err(OfflineError::unreadable(path))?;
        if !metadata.is_file() {
            return Err(OfflineError::refused(path, "not a file"));
        }
        Ok(Source { path: path.to_path_buf(), file, len: metadata.len() })
    }

    /// The bytes from `from` on, at most `len`; fewer only at the file's end.
    fn read(&self, from: u64, len: usize) -> Result<Vec<u8>, OfflineError> {
        let mut bytes = vec![0; (self.len.saturating_sub(from)).min(len as u64) as usize];
        let mut filled = 0;
        while filled < bytes.len() {
            match self.file.read_at(&mut bytes[filled..], from + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(OfflineError::unreadable(&self.path)(error)),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// The position of the first byte that is not zero in `[from, to)`.
    fn first_nonzero(&self, from: u64, to: u64) -> Result<Option<u64>, OfflineError> {
        const PIECE_BYTES: usize = 256 << 10;
        let mut at = from;
        while at < to {
            let piece = self.read(at, PIECE_BYTES.min((to - at) as usize))?;
            if piece.is_empty() {
                break;
            }
            if let Some(found) = piece.iter().position(|&byte| byte != 0) {
                return Ok(Some(at + found as u64));
            }
            at += piece.len() as u64;
        }
        Ok(None)
    }
}
