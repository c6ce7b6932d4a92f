//! The data directory: its lock, and which files of corelog's there are. What else lies there is listed as foreign.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use super::OfflineError;
use crate::disk::lock;
use crate::engine::TOPICS_DIRECTORY;
use crate::storage::checkpoint::{FILE_NAME, TEMPORARY_NAME};
use crate::storage::recovery::JOURNAL_DIRECTORY;
use crate::storage::reserve;
use crate::storage::segment::{base_offset_of, file_name};
use crate::vocabulary::{Offset, PartitionIndex, ShardId, TopicId};

/// How far above a file its data directory is: `topics/<topic>/<partition>/<file>`.
const DEPTH_MAX: usize = 4;
/// The length of a topic id in a directory's name.
const TOPIC_ID_LEN: usize = 22;

/// A data directory that no broker uses, for as long as this lives.
pub(super) struct DataDir {
    pub path: PathBuf,
    _lock: Option<File>,
}

/// A topic's directory.
pub(super) struct TopicDir {
    pub name: String,
    pub id: TopicId,
    pub path: PathBuf,
}

/// A segment's files.
pub(super) struct SegmentFile {
    pub base_offset: Offset,
    pub log: PathBuf,
    pub log_bytes: u64,
    pub index: PathBuf,
}

/// What was found in a directory, in order, and the names that do not belong there.
pub(super) struct Found<T> {
    pub items: Vec<T>,
    pub foreign: Vec<PathBuf>,
}

impl DataDir {
    /// Opens a data directory and keeps brokers from starting on it.
    pub fn open(path: &Path) -> Result<DataDir, OfflineError> {
        let metadata = std::fs::metadata(path).map_err(OfflineError::unreadable(path))?;
        if !metadata.is_dir() {
            return Err(OfflineError::refused(path, "not a directory; name a data directory of corelog"));
        }
        if !is_data_dir(path) {
            let why = "not a data directory of corelog: it has neither a directory 'journal' nor one 'topics'";
            return Err(OfflineError::refused(path, why));
        }
        Ok(DataDir { path: path.to_path_buf(), _lock: hold_lock(path)? })
    }

    /// The topics, by their directories' names.
    pub fn topics(&self) -> Result<Found<TopicDir>, OfflineError> {
        entries(&self.path.join(TOPICS_DIRECTORY), |name, path| {
            let at = name.len().checked_sub(TOPIC_ID_LEN)?;
            let id = TopicId::from_base64(name.get(at..)?)?;
            let topic = name.get(..at)?.strip_suffix('-')?.to_owned();
            path.is_dir().then(|| TopicDir { name: topic, id, path: path.to_path_buf() })
        })
    }

    /// The shards that have a journal.
    pub fn shards(&self) -> Result<Found<(ShardId, PathBuf)>, OfflineError> {
        let mut found = entries(&self.path.join(JOURNAL_DIRECTORY), |name, path| {
            let shard = number::<u16>(name)?;
            path.is_dir().then(|| (ShardId(shard), path.to_path_buf()))
        })?;
        found.items.sort_by_key(|(shard, _)| *shard);
        Ok(found)
    }
}

/// The partitions of a topic's directory.
pub(super) fn partitions(topic: &Path) -> Result<Found<(PartitionIndex, PathBuf)>, OfflineError> {
    let mut found = entries(topic, |name, path| {
        let index = number::<PartitionIndex>(name)?;
        path.is_dir().then(|| (index, path.to_path_buf()))
    })?;
    found.items.sort_by_key(|(index, _)| *index);
    Ok(found)
}

/// The segments of a partition's directory, oldest first.
pub(super) fn segments(partition: &Path) -> Result<Found<SegmentFile>, OfflineError> {
    let mut indexes = Vec::new();
    let mut found = entries(partition, |name, path| {
        if let Some(stem) = name.strip_suffix(".index")
            && base_offset_of(&format!("{stem}.log")).is_some()
        {
            indexes.push(path.to_path_buf());
            return None;
        }
        let base_offset = base_offset_of(name).filter(|&base| base >= 0)?;
        let metadata = std::fs::metadata(path).ok().filter(std::fs::Metadata::is_file)?;
        let index = partition.join(file_name(base_offset, "index"));
        Some(SegmentFile { base_offset, log: path.to_path_buf(), log_bytes: metadata.len(), index })
    })?;
    let has_log = |index: &Path| found.items.iter().any(|segment| segment.index == *index);
    found.foreign.retain(|path| !indexes.contains(path));
    found.foreign.extend(indexes.iter().filter(|index| !has_log(index)).cloned());
    found.items.sort_by_key(|segment| segment.base_offset);
    Ok(found)
}

/// The journal files of a shard's directory.
pub(super) fn journal_files(shard: &Path) -> Result<Found<PathBuf>, OfflineError> {
    let mut found = entries(shard, |name, path| name.ends_with(".journal").then(|| path.to_path_buf()))?;
    found.foreign.retain(|path| {
        let name = path.file_name().unwrap_or_default();
        // The reserve holds room and no data.
        name != FILE_NAME && name != TEMPORARY_NAME && name != reserve::FILE_NAME
    });
    Ok(found)
}

/// Keeps a broker from starting on the data directory that `file` lies in, if it lies in one.
pub(super) fn lock_around(file: &Path) -> Result<Option<File>, OfflineError> {
    let path = file.canonicalize().map_err(OfflineError::unreadable(file))?;
    match path.ancestors().skip(1).take(DEPTH_MAX).find(|directory| is_data_dir(directory)) {
        Some(data_dir) => hold_lock(data_dir),
        None => Ok(None),
    }
}

fn is_data_dir(path: &Path) -> bool {
    path.join(JOURNAL_DIRECTORY).is_dir() || path.join(TOPICS_DIRECTORY).is_dir()
}

/// A shared lock on the file that a broker locks exclusively. A copy of a data directory need not have that file.
fn hold_lock(data_dir: &Path) -> Result<Option<File>, OfflineError> {
    let path = data_dir.join(lock::FILE_NAME);
    let file = match File::open(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        result => result.map_err(OfflineError::unreadable(&path))?,
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Err(OfflineError::Locked(data_dir.to_path_buf())),
        Err(TryLockError::Error(error)) => Err(OfflineError::unreadable(&path)(error)),
    }
}

/// A number as corelog writes it into a name: no sign, no leading zero.
fn number<T: std::str::FromStr + ToString>(name: &str) -> Option<T> {
    name.parse().ok().filter(|number: &T| number.to_string() == name && !name.starts_with('-'))
}

/// The entries of a directory that `take` knows, sorted by name; none when there is no such directory.
fn entries<T>(directory: &Path, mut take: impl FnMut(&str, &Path) -> Option<T>) -> Result<Found<T>, OfflineError> {
    let mut found = Found { items: Vec::new(), foreign: Vec::new() };
    let listed = match std::fs::read_dir(directory) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(found),
        result => result.map_err(OfflineError::unreadable(directory))?,
    };
    let mut names = Vec::new();
    for entry in listed {
        names.push(entry.map_err(OfflineError::unreadable(directory))?.file_name());
    }
    names.sort();
    for name in names {
        let path = directory.join(&name);
        match name.to_str().and_then(|name| take(name, &path)) {
            Some(item) => found.items.push(item),
            None => found.foreign.push(path),
        }
    }
    Ok(found)
}
