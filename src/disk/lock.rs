//! The lock of a data directory: one process at a time writes to it.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// The file in the data directory that is locked. It stays, empty, when nobody has the lock.
pub const FILE_NAME: &str = "lock";

/// Held for as long as it lives, also across a crash of the process: the kernel gives it back.
#[derive(Debug)]
pub struct DataDirLock(#[expect(dead_code, reason = "open is locked")] File);

/// Why a data directory could not be locked.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// Another process has it, or this one has it already.
    #[error("data directory {} is in use by another corelog", .0.display())]
    InUse(PathBuf),
    /// The directory or the file cannot be made or opened.
    #[error("data directory {}: {source}", path.display())]
    Unusable {
        /// The directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl DataDirLock {
    /// Makes the data directory when it is not there, and locks it. Blocks for as long as the file system takes.
    ///
    /// # Errors
    /// See [`LockError`].
    pub fn take(data_dir: &Path) -> Result<DataDirLock, LockError> {
        let failed = |source| LockError::Unusable { path: data_dir.to_path_buf(), source };
        std::fs::create_dir_all(data_dir).map_err(failed)?;
        let options = File::options().create(true).truncate(false).write(true).open(data_dir.join(FILE_NAME));
        let file = options.map_err(failed)?;
        match file.try_lock() {
            Ok(()) => Ok(DataDirLock(file)),
            Err(TryLockError::WouldBlock) => Err(LockError::InUse(data_dir.to_path_buf())),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_locked_once_until_the_lock_is_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("made/on/the/way");
        let lock = DataDirLock::take(&path).unwrap();
        assert!(matches!(DataDirLock::take(&path), Err(LockError::InUse(found)) if found == path));
        drop(lock);
        assert!(DataDirLock::take(&path).is_ok());
        let file = path.join(FILE_NAME);
        assert!(matches!(DataDirLock::take(&file), Err(LockError::Unusable { .. })));
    }
}
