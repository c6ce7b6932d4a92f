//! Reading a partition of `__consumer_offsets` when it is first needed: at start, or when a request comes earlier.

use std::rc::Rc;

use super::{Slot, now};
use crate::coordinator::offsets::records::CoordinatorRecord;
use crate::coordinator::state::PartitionState;
use crate::metadata::OFFSETS_TOPIC;
use crate::protocol::ErrorCode;
use crate::record::{records, split_batches};
use crate::server::broker::Broker;
use crate::vocabulary::PartitionIndex;

/// How much of the log is read at once, in bytes.
const READ_BYTES: usize = 1 << 20;

/// The partitions of `__consumer_offsets` that this shard owns.
pub(super) fn owned_partitions(broker: &Broker) -> Vec<PartitionIndex> {
    let image = broker.image.borrow();
    let Some(topic) = image.topic(OFFSETS_TOPIC) else { return Vec::new() };
    let here = broker.mesh.shard();
    (0..topic.partition_count())
        .filter(|&index| topic.partition(index).is_some_and(|(_, owner)| owner == here))
        .collect()
}

/// Waits until a partition that this shard owns is loaded. Kafka answers COORDINATOR_LOAD_IN_PROGRESS meanwhile; a client
/// that waits instead of asking again sees its answer sooner.
///
/// # Errors
/// NOT_COORDINATOR when it belongs to another shard or cannot be read, or the broker stops.
pub(super) async fn ensure_loaded(broker: &Rc<Broker>, index: PartitionIndex) -> Result<(), ErrorCode> {
    let groups = &broker.groups;
    loop {
        if groups.stopped.get() {
            return Err(ErrorCode::NotCoordinator);
        }
        match groups.slots.borrow().get(&index) {
            Some(Slot::Loaded(_)) => return Ok(()),
            Some(Slot::Failed) => return Err(ErrorCode::NotCoordinator),
            Some(Slot::Loading) | None => {}
        }
        let begins = !groups.slots.borrow().contains_key(&index);
        if begins {
            let found = broker.image.borrow().topic(OFFSETS_TOPIC).and_then(|topic| topic.partition(index));
            if found.is_none_or(|(_, owner)| owner != broker.mesh.shard()) {
                return Err(ErrorCode::NotCoordinator);
            }
            groups.slots.borrow_mut().insert(index, Slot::Loading);
            let broker = broker.clone();
            glommio::spawn_local(async move { load(&broker, index).await }).detach();
            // The task may have ended already: what it found is looked at before anything is waited for.
            continue;
        }
        groups.loaded.notified().await;
    }
}

async fn load(broker: &Rc<Broker>, index: PartitionIndex) {
    let groups = &broker.groups;
    let slot = match read(broker, index).await {
        Ok(state) => Slot::Loaded(state),
        Err(reason) => {
            tracing::error!("the groups of partition {index} of {OFFSETS_TOPIC} cannot be served: {reason}");
            Slot::Failed
        }
    };
    if let Slot::Loaded(state) = &slot {
        groups.held_bytes.set(groups.held_bytes.get() + state.held_bytes());
    }
    groups.slots.borrow_mut().insert(index, slot);
    begin(broker, index);
    groups.loaded.notify();
}

async fn read(broker: &Rc<Broker>, index: PartitionIndex) -> Result<PartitionState, String> {
    let failed = |error: &dyn std::fmt::Display| error.to_string();
    let mut state = PartitionState::default();
    let found = broker.image.borrow().topic(OFFSETS_TOPIC).and_then(|topic| topic.partition(index));
    let partition = found.and_then(|(id, _)| broker.partition(id)).ok_or("the partition is not here")?;
    let log = &partition.log;
    let mut offset = log.start();
    // Only the coordinator appends to it, and has not begun.
    while offset < log.durable().offset {
        let bytes = broker.storage.read(log, offset, READ_BYTES).await.map_err(|error| failed(&error))?.to_bytes();
        let before = offset;
        for batch in split_batches(&bytes) {
            let (header, batch) = batch.map_err(|error| failed(&error))?;
            for record in records(&batch).map_err(|error| failed(&error))? {
                let record = record.map_err(|error| failed(&error))?;
                let at = record.offset;
                let Some(key) = record.key else { return Err(format!("the record at {at} has no key")) };
                let decoded = CoordinatorRecord::decode(key, record.value);
                match decoded.map_err(|error| format!("the record at {at}: {error}"))? {
                    Some(record) => state.replay(record, now(broker)).map_err(|error| failed(&error))?,
                    None => tracing::debug!("partition {index}: the record at {at} is of a type that is not served"),
                }
            }
            offset = header.next_offset();
        }
        if offset == before {
            return Err(format!("nothing can be read at offset {offset}"));
        }
        glommio::yield_if_needed().await;
    }
    Ok(state)
}

/// The partition begins to serve: sessions begin, and offsets of topics that were deleted meanwhile go.
fn begin(broker: &Rc<Broker>, index: PartitionIndex) {
    let groups = &broker.groups;
    let begun = groups.with_step(broker, index, |state, step| {
        let mut woken = Vec::new();
        state.loaded(step, |group, wake_ms| woken.push((group.clone(), wake_ms)));
        let image = broker.image.borrow();
        (woken, state.offsets.removal_of_topics(|topic| image.topic(topic).is_none()))
    });
    // A failed partition has nothing to begin.
    let Ok(((woken, removals), effects)) = begun else { return };
    debug_assert!(effects.is_empty(), "loading answers nobody and writes nothing");
    for (group, wake_ms) in woken {
        groups.timers.wake(index, &group, wake_ms);
    }
    if !removals.is_empty() {
        remove_offsets(broker, index, removals);
    }
}

/// A topic is deleted: what groups have committed for it goes.
pub(in crate::server) fn topic_deleted(broker: &Rc<Broker>, topic: &str) {
    let loaded: Vec<PartitionIndex> = broker.groups.slots.borrow().keys().copied().collect();
    for index in loaded {
        let removals =
            broker.groups.with_state(index, |state| state.offsets.removal_of_topics(|deleted| deleted == topic));
        // One that is still loading looks at the topics when it has loaded.
        if let Ok(removals) = removals
            && !removals.is_empty()
        {
            remove_offsets(broker, index, removals);
        }
    }
}

fn remove_offsets(
    broker: &Rc<Broker>,
    index: PartitionIndex,
    removals: Vec<crate::coordinator::offsets::OffsetChange>,
) {
    let removals = removals.into_iter().map(CoordinatorRecord::Offset).collect();
    if super::writes::append_tombstones(broker, index, removals).is_err() {
        tracing::warn!("offsets of deleted topics stay in partition {index} of {OFFSETS_TOPIC} until the next start");
    }
}
