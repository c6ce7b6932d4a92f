//! Compaction: keeps the newest record of each key (Kafka's `cleanup.policy=compact`, KIP-58, KIP-354, KIP-534).
//!
//! | module | what it is |
//! | --- | --- |
//! | [`select`] | which segments are compacted, and which are merged |
//! | [`key_map`] | the newest offset of each key, in bounded memory |
//! | [`rewrite`] | batches without what is out of date |
//! | `output` | the file of the new segment |
//! | [`swap`] | the new segment in the place of the old ones, whatever crashes |
//! | [`clean_point`] | where the uncleaned part begins, kept over restarts |
//! | `clean` | the steps, one after the other: [`Storage::compact`](super::Storage::compact) |
//!
//! # One cleaning
//! 1. A log is *clean* up to an offset, the first dirty one: below it no key has two records. The segments behind it, as
//!    far as they can be cleaned, are read, and each key's newest offset goes into the map. When the map is full, the
//!    cleaning ends there, and the next one goes on from there.
//! 2. All segments from the log's first to there are written anew, in groups of up to `segment.bytes`, oldest first: a
//!    record stays when no newer one of its key is in the map. Each group takes the place of its segments by itself.
//! 3. The first dirty offset moves. When anything ends a cleaning before, it does not, and the next one does it again.
//!
//! Offsets never change. The last batch of what is cleaned stays even without records, so that a consumer that reads
//! there gets on. Kafka keeps one such batch for each active producer too, because it rebuilds producers' sequence
//! numbers from the log; here they are in checkpoint and journal, which compaction does not touch, so it is not needed.
//! Records without a key, from a time when the policy was another, go as they do in Kafka.
//!
//! A tombstone stays until `delete.retention.ms` after the cleaning that removed what it deletes: that cleaning gives its
//! batch a delete horizon, and the first cleaning after the horizon drops it. Unlike Kafka's, a horizon is set only when
//! all of the batch is below the end of the map, so that the time of no tombstone begins too early. As in Kafka nothing is
//! cleaned for a horizon's sake alone: a tombstone may stay longer.
//!
//! # What can be cleaned
//! Only segments before the one that the last **durable checkpoint** names as the end of the log. Recovery opens that one
//! at the recorded length, removes all that begin behind the recorded end and replays them from the journal, so none of
//! these may have changed, and nothing of them may have been merged into one before. They are also sealed, flushed and
//! durable. [`Storage::compact`](super::Storage::compact) has a checkpoint written when segments wait for one. A segment
//! that has been appended to for `segment.ms` or `max.compaction.lag.ms` ends, even when nothing more comes.
//!
//! # What holds up nobody
//! Reading is by pieces of a few hundred KiB, decoding and encoding go through [`Offload`], and the rate can be bounded.
//! Readers of an old segment keep its open file and its index, and end there undisturbed.

mod clean;
pub mod clean_point;
pub mod key_map;
mod output;
pub mod rewrite;
pub mod select;
pub mod swap;
#[cfg(test)]
mod tests;

use std::time::Duration;

use super::StopError;
use super::log::LogReadError;
use super::segment::ReadError;
use crate::disk::DiskError;
use crate::vocabulary::Offset;
use rewrite::RewriteError;

/// When a log is compacted (the topic's configuration).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactionRules {
    /// Kafka's `min.compaction.lag.ms`: younger records are left alone.
    pub min_lag_ms: i64,
    /// Kafka's `max.compaction.lag.ms`: with older ones the log is compacted, whatever its ratio.
    pub max_lag_ms: i64,
    /// Kafka's `min.cleanable.dirty.ratio`, in millionths.
    pub dirty_ratio_millionths: u32,
    /// Kafka's `delete.retention.ms`.
    pub delete_retention_ms: i64,
}

/// What compaction may use.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CompactionBounds {
    /// Memory of the key map, bytes. It is taken only as far as there are keys.
    pub key_map_bytes: usize,
    /// Bytes read and written each second; `None` for no bound.
    pub bytes_per_second: Option<f64>,
}

/// Runs work that takes the CPU for long.
#[allow(async_fn_in_trait, reason = "shards are single-threaded: these futures are never Send")]
pub trait Offload {
    /// Runs it, and gives what it gives.
    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T;
}

/// Runs it at once.
#[derive(Clone, Copy, Debug)]
pub struct Inline;

impl Offload for Inline {
    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        work()
    }
}

/// What a cleaning did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cleaning {
    /// The log is clean up to here.
    pub clean_to: Offset,
    /// Keys that the map held.
    pub keys: u64,
    /// Whether the map was full: the rest is left for the next time.
    pub map_was_full: bool,
    /// Segments before.
    pub segments_before: u64,
    /// Segments after.
    pub segments_after: u64,
    /// Bytes of batches before.
    pub bytes_before: u64,
    /// Bytes of batches after.
    pub bytes_after: u64,
    /// Records before.
    pub records_before: u64,
    /// Records after.
    pub records_after: u64,
    /// How long it took.
    pub duration: Duration,
}

/// What all cleanings of a shard did since it started.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompactionCounters {
    /// Cleanings that came to their end.
    pub cleanings: u64,
    /// Cleanings that failed.
    pub failures: u64,
    /// Bytes of batches that they read.
    pub bytes_before: u64,
    /// Bytes of batches that they left.
    pub bytes_after: u64,
    /// Records that they read.
    pub records_before: u64,
    /// Records that they left.
    pub records_after: u64,
    /// How long they took together.
    pub duration: Duration,
}

impl CompactionCounters {
    pub(super) fn add(&mut self, cleaning: &Cleaning) {
        self.cleanings += 1;
        self.bytes_before += cleaning.bytes_before;
        self.bytes_after += cleaning.bytes_after;
        self.records_before += cleaning.records_before;
        self.records_after += cleaning.records_after;
        self.duration += cleaning.duration;
    }
}

/// Why a log was not compacted. What readers see is unharmed.
#[derive(Debug, thiserror::Error)]
pub enum CompactionError {
    /// It could not be read.
    #[error(transparent)]
    Log(#[from] LogReadError),
    /// A range of batches could not be written anew. The log is left alone until the next start.
    #[error("{0}; the partition is not compacted any more until the next start")]
    Rewrite(#[from] RewriteError),
    /// The checkpoint that it needs was not written.
    #[error("no checkpoint: {0}")]
    Checkpoint(#[from] StopError),
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The disk failed when the new segment counted already. The next start ends what is left to be done; until then the
    /// log is left alone.
    #[error("{0}; the partition is not compacted any more until the next start, which ends what is left to be done")]
    Unsettled(DiskError),
}

impl From<ReadError> for CompactionError {
    fn from(error: ReadError) -> CompactionError {
        CompactionError::Log(error.into())
    }
}

impl CompactionError {
    /// Whether another try before the next start would fail as well, or do harm.
    fn is_final(&self) -> bool {
        match self {
            CompactionError::Rewrite(_) | CompactionError::Unsettled(_) => true,
            CompactionError::Log(error) => matches!(error, LogReadError::Segment(ReadError::Damaged { .. })),
            CompactionError::Checkpoint(_) | CompactionError::Disk(_) => false,
        }
    }
}
