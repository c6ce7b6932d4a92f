//! A shard's checkpoint and journal, read as recovery would read them.

use std::path::{Path, PathBuf};

use super::data_dir::journal_files;
use super::{OfflineError, Source};
use crate::storage::checkpoint::{self, Checkpoint, CheckpointError, FILE_NAME};
use crate::storage::journal::block::{self, FILE_HEADER_LEN, FileHeader, FileHeaderError, Incarnation};
use crate::storage::journal::scan::FileBytes;
use crate::vocabulary::ShardId;

/// A shard's part of the data directory.
pub(super) struct Shard {
    pub id: ShardId,
    pub directory: PathBuf,
    pub checkpoint: CheckpointState,
    pub files: Vec<JournalFile>,
    pub foreign: Vec<PathBuf>,
}

/// What there is of a checkpoint.
pub(super) enum CheckpointState {
    Missing,
    Damaged,
    Whole(Checkpoint),
}

/// A journal file, whose blocks are not read yet.
pub(super) struct JournalFile {
    pub path: PathBuf,
    pub bytes: u64,
    pub header: Result<FileHeader, FileHeaderError>,
    /// Whether a checkpoint does not cover it, as far as its header tells.
    pub needed: bool,
}

impl Shard {
    /// Reads the checkpoint and the journal files' headers.
    pub fn open(id: ShardId, directory: &Path) -> Result<Shard, OfflineError> {
        let checkpoint = read_checkpoint(&directory.join(FILE_NAME))?;
        let floor = match &checkpoint {
            CheckpointState::Whole(checkpoint) => checkpoint.incarnation_floor,
            CheckpointState::Missing | CheckpointState::Damaged => 0,
        };
        let found = journal_files(directory)?;
        let files = found.items.iter().map(|path| JournalFile::open(path, floor)).collect::<Result<_, _>>()?;
        Ok(Shard { id, directory: directory.to_path_buf(), checkpoint, files, foreign: found.foreign })
    }

    /// The checkpoint, if it is whole.
    pub fn whole_checkpoint(&self) -> Option<&Checkpoint> {
        match &self.checkpoint {
            CheckpointState::Whole(checkpoint) => Some(checkpoint),
            CheckpointState::Missing | CheckpointState::Damaged => None,
        }
    }

    /// The bytes of the journal files that recovery would look into.
    pub fn needed_bytes(&self) -> Result<Vec<FileBytes>, OfflineError> {
        let mut files = Vec::new();
        for file in self.files.iter().filter(|file| file.needed && file.bytes > 0) {
            let source = Source::open(&file.path)?;
            let bytes = source.read(0, usize::try_from(source.len).unwrap_or(usize::MAX))?;
            files.push(FileBytes { name: file.path.display().to_string(), bytes: bytes.into() });
        }
        Ok(files)
    }
}

impl JournalFile {
    fn open(path: &Path, floor: Incarnation) -> Result<JournalFile, OfflineError> {
        let source = Source::open(path)?;
        let header = FileHeader::decode(&source.read(0, FILE_HEADER_LEN)?);
        if let Err(FileHeaderError::UnknownVersion(_)) = header {
            return Err(OfflineError::refused(path, header.map_or_else(|error| error.to_string(), |_| String::new())));
        }
        let needed = header.as_ref().map_or(true, |header| header.incarnation > floor);
        Ok(JournalFile { path: path.to_path_buf(), bytes: source.len, header, needed })
    }

    /// Whether there is what looks like a block in the file.
    pub fn has_block(&self) -> Result<bool, OfflineError> {
        const PIECE: u64 = 1 << 20;
        let source = Source::open(&self.path)?;
        let mut position = 0;
        while position < source.len {
            if block::has_block(&source.read(position, PIECE.min(source.len - position) as usize)?) {
                return Ok(true);
            }
            position += PIECE;
        }
        Ok(false)
    }
}

/// Reads a checkpoint file.
pub(super) fn read_checkpoint(path: &Path) -> Result<CheckpointState, OfflineError> {
    if !path.exists() {
        return Ok(CheckpointState::Missing);
    }
    let source = Source::open(path)?;
    let head = source.read(0, checkpoint::HEADER_LEN)?;
    let len_at = checkpoint::HEADER_LEN - 4;
    let Some(body) = head.get(len_at..).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes) else {
        return Ok(CheckpointState::Damaged);
    };
    if !head.starts_with(&checkpoint::MAGIC) {
        return Ok(CheckpointState::Damaged);
    }
    let content = source.read(0, checkpoint::HEADER_LEN + body as usize + 4)?;
    match Checkpoint::from_file(&content, path) {
        Ok(checkpoint) => Ok(CheckpointState::Whole(checkpoint)),
        Err(error @ CheckpointError::UnknownVersion { .. }) => Err(OfflineError::refused(path, error.to_string())),
        Err(_) => Ok(CheckpointState::Damaged),
    }
}
