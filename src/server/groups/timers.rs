//! One timer for all groups of a shard, and the expiry of what they have committed.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::FutureExt;

use super::{now, writes};
use crate::coordinator::offsets::records::CoordinatorRecord;
use crate::coordinator::state::Woken;
use crate::disk::Disk;
use crate::protocol::KafkaString;
use crate::server::broker::Broker;
use crate::server::connection::Service;
use crate::storage::notify::Notify;
use crate::vocabulary::PartitionIndex;

/// How many groups are woken before others have a turn.
const WOKEN_PER_TURN: usize = 64;

/// When which group is to be woken.
#[derive(Default)]
pub(super) struct Timers {
    deadlines: RefCell<BTreeSet<(u64, PartitionIndex, KafkaString)>>,
    /// Notified when the earliest one may have moved to an earlier time, and at the end.
    moved: Notify,
    stopped: Cell<bool>,
}

impl Timers {
    /// A group has another deadline.
    pub(super) fn moved(&self, index: PartitionIndex, group: &KafkaString, woken: Woken) {
        if woken.before_ms == woken.after_ms {
            return;
        }
        if let Some(before_ms) = woken.before_ms {
            self.deadlines.borrow_mut().remove(&(before_ms, index, group.clone()));
        }
        if let Some(after_ms) = woken.after_ms {
            self.wake(index, group, after_ms);
        }
    }

    /// A group is to be woken.
    pub(super) fn wake(&self, index: PartitionIndex, group: &KafkaString, at_ms: u64) {
        let is_earliest = {
            let mut deadlines = self.deadlines.borrow_mut();
            deadlines.insert((at_ms, index, group.detached()));
            deadlines.first().is_some_and(|first| first.0 == at_ms)
        };
        if is_earliest {
            self.moved.notify();
        }
    }

    pub(super) fn stop(&self) {
        self.stopped.set(true);
        self.moved.notify();
    }

    fn due(&self, now_ms: u64) -> Vec<(PartitionIndex, KafkaString)> {
        let deadlines = self.deadlines.borrow();
        let due = deadlines.iter().take_while(|(at_ms, ..)| *at_ms <= now_ms).take(WOKEN_PER_TURN);
        due.map(|(_, index, group)| (*index, group.clone())).collect()
    }

    fn first_ms(&self) -> Option<u64> {
        self.deadlines.borrow().first().map(|first| first.0)
    }
}

/// Wakes groups and lets offsets expire, until the broker stops.
pub(super) async fn run(broker: &Rc<Broker>) {
    let timers = &broker.groups.timers;
    let interval_ms = broker.settings.groups.offsets_retention_check_interval_ms.max(1);
    let mut next_check_ms = now(broker).monotonic_ms + interval_ms;
    let mut working = None;
    while !timers.stopped.get() {
        let now_ms = now(broker).monotonic_ms;
        for (index, group) in timers.due(now_ms) {
            // A group that was due has a later deadline now, or none.
            let _gone = broker.groups.step(broker, index, &group, false, |group, step| group.tick(step));
        }
        if now_ms >= next_check_ms {
            expire(broker).await;
            next_check_ms = now(broker).monotonic_ms + interval_ms;
        }
        let first_ms = timers.first_ms();
        // A deadline is work, though nobody asks for it: see the heartbeat.
        match first_ms {
            Some(_) if working.is_none() => working = Some(broker.work().begin()),
            Some(_) => {}
            None => working = None,
        }
        let until_ms = first_ms.map_or(next_check_ms, |first_ms| first_ms.min(next_check_ms));
        let now_ms = now(broker).monotonic_ms;
        if until_ms <= now_ms {
            glommio::executor().yield_task_queue_now().await;
            continue;
        }
        let slept = broker.storage.disk().sleep(Duration::from_millis(until_ms - now_ms));
        slept.or(timers.moved.notified()).await;
    }
}

/// Removes what has expired, and groups that are empty and have nothing left.
async fn expire(broker: &Rc<Broker>) {
    let groups = &broker.groups;
    let partitions: Vec<PartitionIndex> = groups.slots.borrow().keys().copied().collect();
    for index in partitions {
        let ids = groups.with_state(index, |state| state.groups().map(|group| group.id().clone()).collect::<Vec<_>>());
        for id in ids.unwrap_or_default() {
            expire_group(broker, index, &id);
            glommio::yield_if_needed().await;
        }
    }
}

fn expire_group(broker: &Rc<Broker>, index: PartitionIndex, id: &KafkaString) {
    let groups = &broker.groups;
    let found = groups.with_state(index, |state| state.expired(id, &broker.settings.groups, now(broker)));
    let Ok((removals, unused)) = found else { return };
    let written = if unused {
        super::requests::delete_group_here(broker, index, id).map(drop)
    } else {
        let removals: Vec<CoordinatorRecord> = removals.into_iter().map(CoordinatorRecord::Offset).collect();
        if removals.is_empty() {
            return;
        }
        tracing::info!("group {id:?}: {} offsets have expired", removals.len());
        writes::append_tombstones(broker, index, removals).map(drop).map_err(writes::NotAppended::for_offsets)
    };
    if let Err(error) = written {
        tracing::warn!("what has expired of group {id:?} is not removed yet: {error}");
    }
}
