//! One partition as its leader sees it: the log, and what is known of its idempotent producers.

pub mod producers;

use std::cell::RefCell;
use std::rc::Rc;

use crate::disk::Disk;
use crate::record::ProducedBatch;
use crate::storage::log::Log;
use crate::storage::{AppendError, Appended, Storage};
use crate::vocabulary::{LeaderEpoch, TimestampMs};
use producers::{Producers, RememberedBatch, SequenceError, Verdict};

/// A partition that this shard leads.
pub struct Partition<D: Disk> {
    /// Its records.
    pub log: Rc<Log<D>>,
    /// Covers the log up to its end: changed with each append, in the same step.
    pub producers: RefCell<Producers>,
}

/// What an append comes to.
pub enum Accepted {
    /// The batch is in the log, and durable when the commit says so.
    Appended(Appended),
    /// The batch was in the log already; it may still be on its way to the disk.
    Duplicate(RememberedBatch),
}

/// Why a batch was refused.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// By the rules of idempotence.
    #[error(transparent)]
    Sequence(#[from] SequenceError),
    /// By the engine.
    #[error(transparent)]
    Append(#[from] AppendError),
}

impl<D: Disk> Partition<D> {
    /// Appends a validated batch, unless it is there already. Does not wait.
    ///
    /// # Errors
    /// See [`Refused`].
    pub fn append(
        &self,
        storage: &Storage<D>,
        batch: &ProducedBatch,
        leader_epoch: LeaderEpoch,
        now_ms: TimestampMs,
    ) -> Result<Accepted, Refused> {
        let mut producers = self.producers.borrow_mut();
        if let Verdict::Duplicate(batch) = producers.judge(&batch.header)? {
            return Ok(Accepted::Duplicate(batch));
        }
        let appended = storage.append(&self.log, batch.bytes.clone(), &batch.header, leader_epoch)?;
        producers.appended(&batch.header, appended.base_offset, now_ms);
        Ok(Accepted::Appended(appended))
    }
}
