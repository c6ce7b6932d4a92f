//! The storage engine as a library: open a data directory, append, read and follow, in the program's own process.
//!
//! [`Engine`] is the [storage layer](crate::storage) of one shard with its recovery, its loops and its lock. It adds no
//! second log: a [`Log`] is the storage layer's, and so are offsets, record batches and errors. It knows partitions by
//! their ids, and neither topics' names nor sockets.
//!
//! # What holds
//! - [`Engine::append`] returns when an fdatasync covers the batch, and what is not durable is never read.
//! - Appends that wait at the same time share one fdatasync, to the same log or to others. So a program is as fast as the
//!   number of appends that it has wait at once; [`Engine::begin_append`] lets one task have many.
//! - A log's batches are in the order in which the appends began.
//! - A failed write or fdatasync is final: all that waits fails, and so does every later append, until the directory is
//!   opened again.
//! - Opening after a crash brings back all that was acknowledged, or fails and says what is missing.
//!
//! # Executors
//! An engine lives on the [glommio](https://docs.rs/glommio) executor that opened it, with its logs: both are dropped
//! there, before it ends. A program that wants more cores has an executor on each, with an engine and a data directory of
//! its own. [`crate::executor`] starts them: plain glommio can sleep on tasks that are ready to run.
//!
//! # The data directory
//! `journal/` as the broker has it, and `partitions/<topic id>/<partition>/` with segments that Kafka's tools read. A
//! broker's directory is refused, because its metadata and producers would be lost; the broker refuses an engine's.
//!
//! # Example
//! ```
//! use std::path::PathBuf;
//!
//! use corelog::engine::{Engine, StorageOptions};
//! use corelog::record::{BatchBuilder, records, split_batches};
//! use corelog::storage::journal::writer::JournalOptions;
//! use corelog::vocabulary::{PartitionId, TopicId};
//!
//! async fn temperatures(data_dir: PathBuf) -> Result<(), Box<dyn std::error::Error>> {
//!     // A small one: two journal files of 1 MiB.
//!     let journal = JournalOptions { file_bytes: 1 << 20, files_max: 2, block_bytes_max: 64 << 10 };
//!     let options = StorageOptions { journal, ..StorageOptions::default() };
//!     let id = PartitionId { topic_id: TopicId(*b"temperatures\0\0\0\0"), index: 0 };
//!
//!     let engine = Engine::open(&data_dir, options.clone()).await?;
//!     let log = engine.log(id);
//!     let mut batch = BatchBuilder::new();
//!     batch.append(1_700_000_000_000, Some(b"kitchen"), Some(b"21.5"), &[]);
//!     batch.append(1_700_000_000_250, Some(b"cellar"), Some(b"14.0"), &[]);
//!     assert_eq!(engine.append(&log, batch.build()?).await?, 0); // Durable, at offset 0.
//!     drop(log);
//!     engine.close().await?;
//!     drop(engine);
//!
//!     let engine = Engine::open(&data_dir, options).await?;
//!     let log = engine.log(id);
//!     // Reads what is there; at the end it would wait for what comes.
//!     let found = engine.follow(&log, 0, 1 << 20).await?;
//!     for batch in split_batches(&found.to_bytes()) {
//!         let (header, batch) = batch?;
//!         for record in records(&batch)? {
//!             let record = record?;
//!             println!("{}: {:?} = {:?}", record.offset, record.key, record.value);
//! #           assert_eq!(record.key.as_deref(), Some([&b"kitchen"[..], b"cellar"][record.offset as usize]));
//!         }
//!         assert_eq!(header.next_offset(), 2);
//!     }
//!     drop(log);
//!     engine.close().await?;
//!     Ok(())
//! }
//!
//! # // Direct I/O needs a real file system, which /tmp may not be.
//! # let directory = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR"))?;
//! # let data_dir = directory.path().join("data");
//! // The engine's errors stay on its executor; their text leaves it.
//! let run = || async { temperatures(data_dir).await.map_err(|error| error.to_string()) };
//! corelog::executor::run("temperatures", run)??;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::rc::Rc;

use bytes::Bytes;
use futures_util::future::select;
use glommio::Task;

pub use crate::storage::segment::Records;
pub use crate::storage::{AppendError, Appended, DeleteError, StopError, StorageOptions};

use crate::disk::lock::{DataDirLock, LockError};
use crate::disk::uring::UringDisk;
use crate::disk::{Disk, DiskError};
use crate::record::{BatchError, BatchHeader, verify_crc};
use crate::storage::journal::commit::Fenced;
use crate::storage::log::LogReadError;
use crate::storage::notify::Notify;
use crate::storage::recovery::{Recovery, RecoveryError, Replay};
use crate::storage::{Loop, Storage};
use crate::vocabulary::{LeaderEpoch, Offset, PartitionId, ShardId};

#[cfg(test)]
mod tests;

/// The directory of the partitions, in the data directory of an engine.
pub const PARTITIONS_DIRECTORY: &str = "partitions";
/// What a broker's data directory has instead.
pub const TOPICS_DIRECTORY: &str = "topics";

/// An engine has one shard.
const SHARD: ShardId = ShardId(0);
/// There is one leader, the program, and no other ever was.
const LEADER_EPOCH: LeaderEpoch = 0;

/// A partition's log: where it starts and ends, and a cheap handle for the engine's calls.
pub type Log = crate::storage::log::Log<UringDisk>;

/// Why a data directory could not be opened. It is as it was, or the next try goes on from where this one came to.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// It is in use, or cannot be made.
    #[error(transparent)]
    Lock(#[from] LockError),
    /// It is a broker's: recovering it without the broker would lose topics and producers.
    #[error("{} is the data directory of a broker; choose another one", .0.display())]
    Brokers(PathBuf),
    /// The disk failed, or has no direct I/O.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// What is there cannot be recovered.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
}

/// Why a batch was not appended, or is not known to be durable.
#[derive(Debug, thiserror::Error)]
pub enum AppendBatchError {
    /// The bytes are not a record batch, or not the whole of it.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// Bytes follow the batch: one append takes one batch.
    #[error("{0} bytes follow the record batch")]
    TrailingBytes(usize),
    /// The checksum does not match the bytes.
    #[error("the record batch does not match its crc")]
    BadCrc,
    /// The storage layer takes no batch, or not this one.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// It may or may not be in the log when the directory is opened again.
    #[error(transparent)]
    Fenced(#[from] Fenced),
}

/// Why a log cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// It cannot be read there.
    #[error(transparent)]
    Read(#[from] LogReadError),
    /// Nothing more comes: the engine was closed, or has failed.
    #[error(transparent)]
    Fenced(#[from] Fenced),
}

/// An open data directory. See the [module](self).
///
/// Dropping it without [`Engine::close`] is like a crash: nothing durable is lost, and opening takes longer.
pub struct Engine {
    storage: Storage<UringDisk>,
    loops: RefCell<Vec<Task<()>>>,
    /// Notified when a loop of the storage layer ends, as all do when it fails or stops.
    ended: Rc<Notify>,
    _lock: DataDirLock,
}

impl Engine {
    /// Opens a data directory, made when there is none, and brings its logs to where they ended. Within glommio's
    /// executor. Takes as long as it takes to read the journal files that were in use at a crash; at once after
    /// [`Engine::close`].
    ///
    /// # Errors
    /// See [`OpenError`].
    pub async fn open(data_dir: &Path, options: StorageOptions) -> Result<Engine, OpenError> {
        let lock = DataDirLock::take(data_dir)?;
        if data_dir.join(TOPICS_DIRECTORY).is_dir() {
            return Err(OpenError::Brokers(data_dir.to_path_buf()));
        }
        let disk = UringDisk::start(data_dir).await?;
        let mut recovery = Recovery::open(disk.clone(), data_dir, options.segment_bytes, false).await?;
        // Its name is durable when recovery is finished, before the first append: it says whose the directory is.
        disk.create_dir_all(&data_dir.join(PARTITIONS_DIRECTORY)).await?;
        recovery.replay(|_| true, &mut LogsAlone).await?;
        let mut seeds = recovery.finish(1, |_| Some(SHARD), &LogsAlone).await?;
        let seed = seeds.pop().expect("recovery gives each shard its seed");
        let (storage, loops) = Storage::start(disk, data_dir, options, seed, Rc::new(|_| Bytes::new())).await?;
        let ended = Rc::new(Notify::default());
        let run = |one: Loop| {
            let ended = ended.clone();
            glommio::spawn_local(async move {
                one.await;
                ended.notify();
            })
        };
        let loops = RefCell::new(loops.into_iter().map(run).collect());
        Ok(Engine { storage, loops, ended, _lock: lock })
    }

    /// The log of a partition; an empty one when there has been none. Touches no disk.
    pub fn log(&self, id: PartitionId) -> Rc<Log> {
        self.storage.open_log(id, &directory(id))
    }

    /// Appends one record batch, such as [`BatchBuilder`](crate::record::BatchBuilder) builds, and waits until it is
    /// durable. The offset of its first record; the batch's own base offset does not matter.
    ///
    /// # Errors
    /// See [`AppendBatchError`].
    pub async fn append(&self, log: &Rc<Log>, batch: Bytes) -> Result<Offset, AppendBatchError> {
        let appended = self.begin_append(log, batch)?;
        appended.commit.durable().await?;
        Ok(appended.base_offset)
    }

    /// Appends one record batch without waiting: it has its place, and is durable when the commit says so.
    ///
    /// # Errors
    /// See [`AppendBatchError`].
    pub fn begin_append(&self, log: &Rc<Log>, batch: Bytes) -> Result<Appended, AppendBatchError> {
        let header = BatchHeader::parse(&batch)?;
        let needed = header.total_len();
        if batch.len() < needed {
            return Err(BatchError::CutShort { have: batch.len(), needed }.into());
        }
        if batch.len() > needed {
            return Err(AppendBatchError::TrailingBytes(batch.len() - needed));
        }
        // Else it would be taken for damage of the disk when it is read.
        if !verify_crc(&batch) {
            return Err(AppendBatchError::BadCrc);
        }
        Ok(self.storage.append(log, batch, &header, LEADER_EPOCH)?)
    }

    /// Whole durable batches from the one that holds `offset`: at most `max_bytes`, but at least one when there is one,
    /// and none from another segment; nothing at the durable end. [`split_batches`](crate::record::split_batches) cuts
    /// them apart.
    ///
    /// # Errors
    /// See [`LogReadError`].
    pub async fn read(&self, log: &Log, offset: Offset, max_bytes: usize) -> Result<Records, LogReadError> {
        self.storage.read(log, offset, max_bytes).await
    }

    /// As [`Engine::read`], but waits at the durable end until there is something. Who stops waiting drops the future.
    ///
    /// # Errors
    /// See [`FollowError`].
    pub async fn follow(&self, log: &Log, offset: Offset, max_bytes: usize) -> Result<Records, FollowError> {
        // Behind the end of what was appended nothing is on its way; `read` says so.
        while (log.durable().offset..=log.end().offset).contains(&offset) {
            if let Some(fenced) = self.storage.fenced() {
                return Err(fenced.into());
            }
            select(pin!(log.durable_moved()), pin!(self.ended.notified())).await;
        }
        Ok(self.read(log, offset, max_bytes).await?)
    }

    /// Deletes the records before `offset`, at most the durable end, and the segments that have no others. On return
    /// the deletion is durable. Nothing happens when the log starts there already.
    ///
    /// # Errors
    /// See [`DeleteError`].
    pub async fn delete_before(&self, log: &Rc<Log>, offset: Offset) -> Result<(), DeleteError> {
        self.storage.delete_before(log, offset, LEADER_EPOCH).await
    }

    /// The disk, for what [`Log`] can be asked beyond reading, such as
    /// [`first_batch_at_or_after`](crate::storage::log::Log::first_batch_at_or_after).
    pub fn disk(&self) -> &UringDisk {
        self.storage.disk()
    }

    /// Stops cleanly: takes no more appends, waits for those under way, and leaves whole segments and an empty journal.
    /// Who follows gets [`FollowError::Fenced`]. The lock goes when the engine is dropped.
    ///
    /// # Errors
    /// See [`StopError`]. What was acknowledged is in the journal all the same.
    pub async fn close(&self) -> Result<(), StopError> {
        self.storage.shutdown().await?;
        let loops = self.loops.take();
        for one in loops {
            one.await;
        }
        Ok(())
    }
}

/// Where a partition's files are, relative to the data directory.
fn directory(id: PartitionId) -> PathBuf {
    Path::new(PARTITIONS_DIRECTORY).join(id.topic_id.to_base64()).join(id.index.to_string())
}

/// Nothing is kept for a partition but its log.
struct LogsAlone;

impl Replay for LogsAlone {
    fn directory(&self, id: PartitionId) -> Option<PathBuf> {
        Some(directory(id))
    }

    fn restore(&mut self, _: PartitionId, snapshot: &[u8]) -> Result<(), String> {
        // It would be lost with the next checkpoint.
        if snapshot.is_empty() { Ok(()) } else { Err("its checkpoint has the state of a broker".into()) }
    }

    fn apply(&mut self, _: PartitionId, _: &BatchHeader, _: Offset) {}

    fn snapshot(&self, _: PartitionId) -> Bytes {
        Bytes::new()
    }
}
