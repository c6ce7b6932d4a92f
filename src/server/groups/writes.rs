//! Records of `__consumer_offsets` on their way to the disk, and what follows when they are there.
//!
//! One queue a shard, in the order of the appends: the shard's journal makes them durable in that order, and one task
//! draws the consequences in that order, so that a newer offset is never overwritten by an older one.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::Outcome;
use crate::coordinator::group::WriteId;
use crate::coordinator::offsets::OffsetChange;
use crate::coordinator::offsets::records::CoordinatorRecord;
use crate::disk::Disk;
use crate::metadata::{OFFSETS_TOPIC, Topic};
use crate::protocol::{ErrorCode, KafkaString};
use crate::record::{BatchBuilder, BatchHeader};
use crate::server::broker::Broker;
use crate::storage::Appended;
use crate::storage::notify::Notify;
use crate::vocabulary::PartitionIndex;

/// Tombstones are written in batches of about so many bytes; all else that belongs together is one batch.
const TOMBSTONES_BYTES: usize = 256 << 10;

/// What follows from a record that is durable.
pub(super) enum Then {
    /// The group goes on.
    Stored {
        /// The group.
        group: KafkaString,
        /// The write, as the group knows it.
        write: WriteId,
    },
    /// Offsets are seen, or gone.
    Offsets(Vec<OffsetChange>),
    /// Nothing.
    Nothing,
}

struct Write {
    index: PartitionIndex,
    appended: Appended,
    then: Then,
    done: Option<Outcome>,
}

/// The writes of one shard that are not durable, or whose consequences are not drawn.
#[derive(Default)]
pub(super) struct Writes {
    queue: RefCell<VecDeque<Write>>,
    pushed: Notify,
}

impl Writes {
    pub(super) fn push(&self, index: PartitionIndex, appended: Appended, then: Then, done: Option<Outcome>) {
        self.queue.borrow_mut().push_back(Write { index, appended, then, done });
        self.pushed.notify();
    }
}

/// Why records were not appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotAppended {
    /// They make a batch that is larger than `message.max.bytes`.
    TooLarge,
    /// The partition is not here, or takes no appends.
    Storage,
}

impl NotAppended {
    /// What members are told when their group's record was not written, as in Kafka.
    pub(super) fn for_groups(self) -> ErrorCode {
        match self {
            NotAppended::TooLarge => ErrorCode::UnknownServerError,
            NotAppended::Storage => ErrorCode::NotCoordinator,
        }
    }

    /// What is told when offsets were not written, as in Kafka.
    pub(super) fn for_offsets(self) -> ErrorCode {
        match self {
            NotAppended::TooLarge => ErrorCode::InvalidCommitOffsetSize,
            NotAppended::Storage => ErrorCode::NotCoordinator,
        }
    }
}

/// Appends records as one batch. Does not wait.
pub(super) fn append(
    broker: &Broker,
    index: PartitionIndex,
    records: &[CoordinatorRecord],
) -> Result<Appended, NotAppended> {
    let storage_failed = |error: &dyn std::fmt::Display| {
        tracing::error!("partition {index} of {OFFSETS_TOPIC} takes no records: {error}");
        NotAppended::Storage
    };
    let found = broker.image.borrow().topic(OFFSETS_TOPIC).and_then(|topic| topic.partition(index));
    let partition = found.and_then(|(id, _)| broker.partition(id)).ok_or(NotAppended::Storage)?;
    let now_ms = broker.storage.disk().wall_clock_ms();
    let mut builder = BatchBuilder::new();
    for record in records {
        let encoded = record.encode();
        builder.append(now_ms, Some(&encoded.key), encoded.value.as_deref(), &[]);
    }
    if builder.uncompressed_len() > broker.settings.message_bytes_max {
        return Err(NotAppended::TooLarge);
    }
    let batch = builder.build().map_err(|error| storage_failed(&error))?;
    let header = BatchHeader::parse(&batch).map_err(|error| storage_failed(&error))?;
    let appended = broker.storage.append(&partition.log, batch, &header, Topic::LEADER_EPOCH);
    appended.map_err(|error| storage_failed(&error))
}

/// Appends offsets that are set or removed. They are seen when they are durable; the outcome comes then.
///
/// # Errors
/// [`NotAppended`]; nothing was changed.
pub(super) fn append_offsets(
    broker: &Broker,
    index: PartitionIndex,
    changes: Vec<OffsetChange>,
) -> Result<Outcome, NotAppended> {
    let records: Vec<CoordinatorRecord> = changes.iter().cloned().map(CoordinatorRecord::Offset).collect();
    let appended = append(broker, index, &records)?;
    let groups = &broker.groups;
    let begun = groups.with_state(index, |state| changes.iter().for_each(|change| state.offsets.begin(change)));
    begun.map_err(|_| NotAppended::Storage)?;
    let done = Outcome::default();
    groups.writes.push(index, appended, Then::Offsets(changes), Some(done.clone()));
    Ok(done)
}

/// Appends tombstones, in as many batches as it takes; the outcome of the last comes when all are durable. `None` when
/// there are none.
///
/// # Errors
/// [`NotAppended`]; some of them may have been appended.
pub(super) fn append_tombstones(
    broker: &Broker,
    index: PartitionIndex,
    records: Vec<CoordinatorRecord>,
) -> Result<Option<Outcome>, NotAppended> {
    let mut last = None;
    let mut batch = Vec::new();
    let mut bytes = 0;
    let bytes_max = TOMBSTONES_BYTES.min(broker.settings.message_bytes_max / 2);
    for record in records {
        bytes += record.encode().key.len();
        batch.push(record);
        if bytes >= bytes_max {
            last = Some(append_tombstones_at_once(broker, index, std::mem::take(&mut batch))?);
            bytes = 0;
        }
    }
    if !batch.is_empty() {
        last = Some(append_tombstones_at_once(broker, index, batch)?);
    }
    Ok(last)
}

fn append_tombstones_at_once(
    broker: &Broker,
    index: PartitionIndex,
    records: Vec<CoordinatorRecord>,
) -> Result<Outcome, NotAppended> {
    let appended = append(broker, index, &records)?;
    let changes: Vec<OffsetChange> = records
        .into_iter()
        .filter_map(|record| match record {
            CoordinatorRecord::Offset(change) => Some(change),
            CoordinatorRecord::Group { .. } => None,
        })
        .collect();
    let groups = &broker.groups;
    let begun = groups.with_state(index, |state| changes.iter().for_each(|change| state.offsets.begin(change)));
    begun.map_err(|_| NotAppended::Storage)?;
    let done = Outcome::default();
    let then = if changes.is_empty() { Then::Nothing } else { Then::Offsets(changes) };
    groups.writes.push(index, appended, then, Some(done.clone()));
    Ok(done)
}

/// Draws the consequences of the shard's writes, one after the other; never ends.
pub(super) async fn follow(broker: &Rc<Broker>) {
    let writes = &broker.groups.writes;
    loop {
        let next = writes.queue.borrow_mut().pop_front();
        let Some(Write { index, appended, then, done }) = next else {
            writes.pushed.notified().await;
            continue;
        };
        let outcome = appended.commit.durable().await.map_err(|fenced| {
            tracing::error!("partition {index} of {OFFSETS_TOPIC}: {fenced}");
            ErrorCode::NotCoordinator
        });
        match then {
            Then::Stored { group, write } => broker.groups.stored(broker, index, &group, write, outcome),
            Then::Offsets(changes) => {
                let durable = outcome.is_ok();
                // A partition that is no longer here has no offsets to show.
                let _gone = broker.groups.with_state(index, |state| {
                    changes.into_iter().for_each(|change| state.offsets.finish(change, durable));
                });
            }
            Then::Nothing => {}
        }
        if let Some(done) = done {
            done.set(outcome);
        }
        glommio::yield_if_needed().await;
    }
}
