//! The group coordinator of one shard: it coordinates the groups whose partition of `__consumer_offsets` the shard owns.
//!
//! The rules are in [`crate::coordinator`]; here they meet the log, the clock and those who wait. A request comes to the
//! owner by [`Broker::on`], takes a step of the state machine, and its effects are performed: answers go to waiting
//! requests, records to the log. What follows from a record follows when it is durable, one after the other in the order
//! of the log ([`writes`]). Nothing is borrowed while anything is waited for.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`requests`] | what the handlers ask of the owner |
//! | [`load`] | reading a partition's log when it is first needed |
//! | [`writes`] | records on their way to the disk, and what follows from them |
//! | [`timers`] | one timer for all groups of the shard, and the expiry of offsets |
//! | [`waiting`] | requests that wait for a generation or an assignment |

pub mod load;
pub mod requests;
pub mod timers;
pub mod waiting;
pub mod writes;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use super::broker::Broker;
use crate::coordinator::group::{Effect, Group, JoinAnswer, Now, Step, SyncAnswer};
use crate::coordinator::offsets::records::CoordinatorRecord;
use crate::coordinator::placement::partition_of;
use crate::coordinator::state::PartitionState;
use crate::disk::Disk;
use crate::metadata::OFFSETS_TOPIC;
use crate::protocol::{ErrorCode, KafkaString};
use crate::storage::notify::Notify;
use crate::vocabulary::{PartitionIndex, ShardId};
use timers::Timers;
use waiting::{OneShot, Waiting};
use writes::{Then, Writes};

/// Bytes that the groups and offsets of one shard may hold, about: a million committed offsets and more. Beyond it members
/// and offsets that are new are refused; nothing that is there is lost.
pub const HELD_BYTES_MAX: usize = 512 << 20;

/// A partition of `__consumer_offsets` that the shard owns.
enum Slot {
    /// Its log is being read.
    Loading,
    /// It serves.
    Loaded(PartitionState),
    /// Its log could not be read; its groups have no coordinator.
    Failed,
}

/// The coordinator of one shard.
#[derive(Default)]
pub struct Groups {
    slots: RefCell<HashMap<PartitionIndex, Slot>>,
    /// Notified when a slot is no longer loading.
    loaded: Notify,
    joins: Waiting<JoinAnswer>,
    syncs: Waiting<SyncAnswer>,
    writes: Writes,
    timers: Timers,
    /// Bytes that groups and offsets hold, sum over all partitions.
    held_bytes: Cell<usize>,
    last_write: Cell<u64>,
    last_waiter: Cell<u64>,
    stopped: Cell<bool>,
}

/// The outcome of a write that somebody waits for.
type Outcome = Rc<OneShot<Result<(), ErrorCode>>>;

/// Runs the coordinator's loops, and begins to read the logs of the partitions that the shard owns.
pub fn run(broker: &Rc<Broker>) {
    let (writing, timing, loading) = (broker.clone(), broker.clone(), broker.clone());
    glommio::spawn_local(async move { writes::follow(&writing).await }).detach();
    glommio::spawn_local(async move { timers::run(&timing).await }).detach();
    glommio::spawn_local(async move {
        for index in load::owned_partitions(&loading) {
            // What is wrong with one is in the log, and no reason to leave the others.
            let _logged = load::ensure_loaded(&loading, index).await;
        }
    })
    .detach();
}

/// The partition of a group, and the shard that coordinates it.
///
/// # Errors
/// INVALID_GROUP_ID is not told here; NOT_COORDINATOR before `__consumer_offsets` exists, which FindCoordinator makes.
pub fn coordinator_of(broker: &Broker, group: &str) -> Result<(PartitionIndex, ShardId), ErrorCode> {
    let image = broker.image.borrow();
    let topic = image.topic(OFFSETS_TOPIC).ok_or(ErrorCode::NotCoordinator)?;
    let index = partition_of(group, topic.partition_count());
    topic.partition(index).map(|(_, owner)| (index, owner)).ok_or(ErrorCode::NotCoordinator)
}

/// The time, as the state machines take it.
pub(super) fn now(broker: &Broker) -> Now {
    let disk = broker.storage.disk();
    Now { monotonic_ms: milliseconds(disk.monotonic()), wall_ms: disk.wall_clock_ms() }
}

fn milliseconds(duration: Duration) -> u64 {
    duration.as_millis() as u64
}

impl Groups {
    /// Everything that waits is told to find another coordinator, and nothing new is taken.
    pub fn stop(&self) {
        self.stopped.set(true);
        let error = ErrorCode::NotCoordinator;
        self.joins.answer_all(|| JoinAnswer::refused(error, KafkaString::default()));
        self.syncs.answer_all(|| SyncAnswer::refused(error));
        self.timers.stop();
        self.loaded.notify();
    }

    /// Whether there is memory for so many more bytes.
    fn have_room_for(&self, bytes: usize) -> bool {
        self.held_bytes.get().saturating_add(bytes) <= HELD_BYTES_MAX
    }

    /// Looks at a partition that is loaded.
    fn with_state<T>(
        &self,
        index: PartitionIndex,
        look: impl FnOnce(&mut PartitionState) -> T,
    ) -> Result<T, ErrorCode> {
        match self.slots.borrow_mut().get_mut(&index) {
            Some(Slot::Loaded(state)) => {
                let before = state.held_bytes();
                let result = look(state);
                self.held_bytes.set(self.held_bytes.get() + state.held_bytes() - before);
                Ok(result)
            }
            _ => Err(ErrorCode::NotCoordinator),
        }
    }

    /// Runs a step on a partition, with what it needs.
    fn with_step<T>(
        &self,
        broker: &Broker,
        index: PartitionIndex,
        run: impl FnOnce(&mut PartitionState, &mut Step) -> T,
    ) -> Result<(T, Vec<Effect>), ErrorCode> {
        let mut last_write = self.last_write.get();
        let mut step = Step {
            now: now(broker),
            settings: &broker.settings.groups,
            last_write: &mut last_write,
            effects: Vec::new(),
        };
        let result = self.with_state(index, |state| run(state, &mut step))?;
        let effects = step.effects;
        self.last_write.set(last_write);
        Ok((result, effects))
    }

    /// Changes a group and performs what follows. Gives the change's result, `None` when there is no such group, and the
    /// outcome of the record that the change writes, if it does.
    fn step<T>(
        &self,
        broker: &Broker,
        index: PartitionIndex,
        id: &KafkaString,
        create: bool,
        change: impl FnOnce(&mut Group, &mut Step) -> T,
    ) -> Result<Option<(T, Option<Outcome>)>, ErrorCode> {
        let (changed, effects) =
            self.with_step(broker, index, |state, step| state.with_group(id, create, step, change))?;
        let Some((result, woken)) = changed else { return Ok(None) };
        self.timers.moved(index, id, woken);
        Ok(Some((result, self.perform(broker, index, id, effects))))
    }

    /// Performs the effects of a step of a group.
    fn perform(
        &self,
        broker: &Broker,
        index: PartitionIndex,
        id: &KafkaString,
        effects: Vec<Effect>,
    ) -> Option<Outcome> {
        let mut outcome = None;
        for effect in effects {
            match effect {
                Effect::JoinAnswer(waiter, answer) => self.joins.answer(waiter, answer),
                Effect::SyncAnswer(waiter, answer) => self.syncs.answer(waiter, answer),
                Effect::Store(write, value) => {
                    let record = CoordinatorRecord::Group { group: id.clone(), value: Some(value) };
                    let done = Outcome::default();
                    outcome = Some(done.clone());
                    match writes::append(broker, index, &[record]) {
                        Ok(appended) => {
                            let then = Then::Stored { group: id.clone(), write };
                            self.writes.push(index, appended, then, Some(done));
                        }
                        Err(error) => {
                            let error = error.for_groups();
                            done.set(Err(error));
                            self.stored(broker, index, id, write, Err(error));
                        }
                    }
                }
            }
        }
        outcome
    }

    fn stored(
        &self,
        broker: &Broker,
        index: PartitionIndex,
        id: &KafkaString,
        write: crate::coordinator::group::WriteId,
        outcome: Result<(), ErrorCode>,
    ) {
        // The group may be gone by now, and the partition with it.
        let _gone = self.step(broker, index, id, false, |group, step| group.stored(write, outcome, step));
    }
}
