//! What the handlers ask of the shard that coordinates a group.

use std::rc::Rc;

use super::load::{ensure_loaded, owned_partitions};
use super::writes::{append_offsets, append_tombstones};
use super::{Groups, Outcome};
use crate::coordinator::group::{GroupView, JoinAnswer, JoinRequest, LeavingMember, SyncAnswer, SyncRequest, Waiter};
use crate::coordinator::offsets::{CommittedOffset, OffsetChange};
use crate::disk::Disk;
use crate::protocol::{ErrorCode, KafkaString};
use crate::server::broker::Broker;
use crate::vocabulary::{LeaderEpoch, Offset, PartitionIndex, TimestampMs};

/// A group, and where it belongs.
#[derive(Clone, Debug)]
pub struct GroupPlace {
    /// The partition of `__consumer_offsets`.
    pub index: PartitionIndex,
    /// The group.
    pub id: KafkaString,
}

impl Groups {
    /// A number for a request that may wait, unlike all others on all shards.
    pub fn next_waiter(&self, broker: &Broker) -> Waiter {
        self.last_waiter.set(self.last_waiter.get() + 1);
        // 2^48 requests are enough for a shard's life.
        Waiter(u64::from(broker.mesh.shard().0) << 48 | self.last_waiter.get())
    }
}

/// Joins, and waits for the generation.
pub async fn join(broker: Rc<Broker>, group: GroupPlace, request: JoinRequest, waiter: Waiter) -> JoinAnswer {
    let groups = &broker.groups;
    let answer = groups.joins.wait(waiter);
    let refuse = |error| groups.joins.answer(waiter, JoinAnswer::refused(error, request.member_id.clone()));
    if let Err(error) = ensure_loaded(&broker, group.index).await {
        refuse(error);
    } else if groups.joins.is_waiting(waiter) {
        let now = super::now(&broker);
        let growth = groups.with_state(group.index, |state| state.growth_by(&group.id, &request, now));
        if growth.is_ok_and(|growth| !groups.have_room_for(growth)) {
            tracing::warn!("group {:?}: the coordinator has no memory for another member", group.id);
            refuse(ErrorCode::GroupMaxSizeReached);
        } else {
            let is_new = request.member_id.is_empty();
            let stepped =
                groups.step(&broker, group.index, &group.id, is_new, |group, step| group.join(&request, waiter, step));
            match stepped {
                Ok(Some(_)) => {}
                Ok(None) => refuse(ErrorCode::UnknownMemberId),
                Err(error) => refuse(error),
            }
        }
    }
    answer.take().await
}

/// Asks for the assignment, and waits for it.
pub async fn sync(broker: Rc<Broker>, group: GroupPlace, request: SyncRequest, waiter: Waiter) -> SyncAnswer {
    let groups = &broker.groups;
    let answer = groups.syncs.wait(waiter);
    let refuse = |error| groups.syncs.answer(waiter, SyncAnswer::refused(error));
    if let Err(error) = ensure_loaded(&broker, group.index).await {
        refuse(error);
    } else if groups.syncs.is_waiting(waiter) {
        match groups.step(&broker, group.index, &group.id, false, |group, step| group.sync(&request, waiter, step)) {
            Ok(Some(_)) => {}
            Ok(None) => refuse(ErrorCode::UnknownMemberId),
            Err(error) => refuse(error),
        }
    }
    answer.take().await
}

/// Whoever waited under this number has gone away: the wait ends, its member stays until its time is over.
pub async fn abandon(broker: Rc<Broker>, waiter: Waiter) {
    let error = ErrorCode::NotCoordinator;
    broker.groups.joins.answer(waiter, JoinAnswer::refused(error, KafkaString::default()));
    broker.groups.syncs.answer(waiter, SyncAnswer::refused(error));
}

/// A heartbeat.
///
/// # Errors
/// See [`crate::coordinator::group::Group::heartbeat`].
pub async fn heartbeat(
    broker: Rc<Broker>,
    group: GroupPlace,
    member_id: KafkaString,
    instance_id: Option<KafkaString>,
    generation: i32,
) -> Result<(), ErrorCode> {
    ensure_loaded(&broker, group.index).await?;
    let stepped = broker.groups.step(&broker, group.index, &group.id, false, |group, step| {
        group.heartbeat(&member_id, instance_id.as_deref(), generation, step)
    })?;
    stepped.map_or(Err(ErrorCode::UnknownMemberId), |(result, _)| result)
}

/// Members leave; the result of each. When they are the last, it is durable that the group is empty.
///
/// # Errors
/// Of the whole request.
pub async fn leave(
    broker: Rc<Broker>,
    group: GroupPlace,
    members: Vec<LeavingMember>,
) -> Result<Vec<ErrorCode>, ErrorCode> {
    ensure_loaded(&broker, group.index).await?;
    let stepped =
        broker.groups.step(&broker, group.index, &group.id, false, |group, step| group.leave(&members, step))?;
    let Some((results, written)) = stepped else { return Ok(vec![ErrorCode::UnknownMemberId; members.len()]) };
    if let Some(written) = written {
        written.take().await?;
    }
    Ok(results)
}

/// Who commits.
#[derive(Clone, Debug)]
pub struct Committer {
    /// The member; empty outside of a group's membership.
    pub member_id: KafkaString,
    /// Its id as a static member.
    pub instance_id: Option<KafkaString>,
    /// The generation; -1 outside of a group's membership.
    pub generation: i32,
    /// Whether a client of this version knows GROUP_ID_NOT_FOUND as an answer (from 9 on).
    pub knows_missing_groups: bool,
}

/// An offset to commit.
#[derive(Clone, Debug)]
pub struct NewOffset {
    /// The topic's name.
    pub topic: KafkaString,
    /// The partition.
    pub partition: PartitionIndex,
    /// The offset of the next record to consume.
    pub offset: Offset,
    /// The leader epoch of the last record consumed.
    pub leader_epoch: LeaderEpoch,
    /// The text beside it.
    pub metadata: KafkaString,
    /// How long to keep it, in milliseconds, if the client says.
    pub retention_ms: Option<i64>,
}

/// Commits offsets; on return they are durable.
///
/// # Errors
/// Why none was committed.
pub async fn commit(
    broker: Rc<Broker>,
    group: GroupPlace,
    committer: Committer,
    offsets: Vec<NewOffset>,
) -> Result<(), ErrorCode> {
    ensure_loaded(&broker, group.index).await?;
    let is_simple = committer.generation < 0;
    let changes = changes(&group.id, offsets, broker.storage.disk().wall_clock_ms());
    // Whether they may be committed is asked, and they are appended, in one go: nothing comes between.
    let stepped = broker.groups.step(&broker, group.index, &group.id, false, |group, step| {
        group.commit(&committer.member_id, committer.instance_id.as_deref(), committer.generation, step)
    })?;
    match stepped {
        Some((allowed, _)) => allowed?,
        None if is_simple => {}
        None if committer.knows_missing_groups => return Err(ErrorCode::GroupIdNotFound),
        None => return Err(ErrorCode::IllegalGeneration),
    }
    if changes.is_empty() {
        return Ok(());
    }
    let growth = broker.groups.with_state(group.index, |state| state.offsets.growth_by(&changes))?;
    if growth > 0 && !broker.groups.have_room_for(growth) {
        tracing::warn!("group {:?}: the coordinator has no memory for more offsets", group.id);
        return Err(ErrorCode::CoordinatorNotAvailable);
    }
    let committed = append_offsets(&broker, group.index, changes).map_err(|error| error.for_offsets())?;
    if is_simple {
        // Offsets without members make a group as well. It is kept because it has an offset on its way.
        broker.groups.step(&broker, group.index, &group.id, true, |_, _| ())?;
    }
    committed.take().await
}

fn changes(group: &KafkaString, offsets: Vec<NewOffset>, now_ms: TimestampMs) -> Vec<OffsetChange> {
    let group = group.detached();
    let mut topic = KafkaString::default();
    let change = |offset: NewOffset| {
        // The offsets of a topic follow each other and share its name.
        if topic != *offset.topic {
            topic = offset.topic.detached();
        }
        OffsetChange {
            group: group.clone(),
            topic: topic.clone(),
            partition: offset.partition,
            offset: Some(CommittedOffset {
                offset: offset.offset,
                leader_epoch: offset.leader_epoch,
                metadata: offset.metadata.detached(),
                commit_ms: now_ms,
                expire_ms: offset.retention_ms.map(|retention_ms| now_ms.saturating_add(retention_ms)),
            }),
        }
    };
    offsets.into_iter().map(change).collect()
}

/// Which offsets of a group are asked for.
pub enum Wanted {
    /// All.
    All,
    /// These, in this order; the offsets come in the same order, without those that there are not.
    These(Vec<(KafkaString, Vec<PartitionIndex>)>),
}

/// A group's offsets, by topic.
pub type FetchedOffsets = Vec<(KafkaString, Vec<(PartitionIndex, Option<CommittedOffset>)>)>;

/// Reads a group's offsets. A group that there is not has none.
///
/// # Errors
/// NOT_COORDINATOR.
pub async fn fetch(broker: Rc<Broker>, group: GroupPlace, wanted: Wanted) -> Result<FetchedOffsets, ErrorCode> {
    ensure_loaded(&broker, group.index).await?;
    broker.groups.with_state(group.index, |state| match wanted {
        Wanted::All => {
            let mut topics = FetchedOffsets::new();
            for (topic, partition, offset) in state.offsets.of_group(&group.id) {
                match topics.last_mut() {
                    Some((last, partitions)) if last == topic => partitions.push((partition, Some(offset.clone()))),
                    _ => topics.push((topic.clone(), vec![(partition, Some(offset.clone()))])),
                }
            }
            topics
        }
        Wanted::These(topics) => topics
            .into_iter()
            .map(|(topic, partitions)| {
                let found = partitions
                    .into_iter()
                    .map(|partition| (partition, state.offsets.get(&group.id, &topic, partition).cloned()))
                    .collect();
                (topic, found)
            })
            .collect(),
    })
}

/// Describes a group.
///
/// # Errors
/// GROUP_ID_NOT_FOUND, NOT_COORDINATOR.
pub async fn describe(broker: Rc<Broker>, group: GroupPlace) -> Result<GroupView, ErrorCode> {
    ensure_loaded(&broker, group.index).await?;
    let view = broker.groups.with_state(group.index, |state| state.group(&group.id).map(|group| group.view()))?;
    view.ok_or(ErrorCode::GroupIdNotFound)
}

/// A group of a list.
#[derive(Clone, Debug)]
pub struct Listed {
    /// The group.
    pub id: KafkaString,
    /// What it is for.
    pub protocol_type: KafkaString,
    /// Kafka's name of its state.
    pub state: &'static str,
}

/// Lists the groups that this shard coordinates, in these states, whatever their case; none stands for all.
///
/// # Errors
/// NOT_COORDINATOR when the broker stops.
pub async fn list(broker: Rc<Broker>, states: Vec<String>) -> Result<Vec<Listed>, ErrorCode> {
    let mut listed = Vec::new();
    for index in owned_partitions(&broker) {
        match ensure_loaded(&broker, index).await {
            Err(error) if broker.groups.stopped.get() => return Err(error),
            // What cannot be read is in the broker's log; the other groups are listed all the same, as in Kafka.
            Err(_) => continue,
            Ok(()) => {}
        }
        broker.groups.with_state(index, |state| {
            let wanted = state.groups().filter(|group| {
                states.is_empty() || states.iter().any(|state| group.state_name().eq_ignore_ascii_case(state))
            });
            listed.extend(wanted.map(|group| Listed {
                id: group.id().clone(),
                protocol_type: group.protocol_type(),
                state: group.state_name(),
            }));
        })?;
    }
    Ok(listed)
}

/// Deletes a group and its offsets; on return that is durable.
///
/// # Errors
/// NON_EMPTY_GROUP, GROUP_ID_NOT_FOUND, NOT_COORDINATOR.
pub async fn delete(broker: Rc<Broker>, group: GroupPlace) -> Result<(), ErrorCode> {
    ensure_loaded(&broker, group.index).await?;
    match delete_group_here(&broker, group.index, &group.id)? {
        Some(deleted) => deleted.take().await,
        None => Ok(()),
    }
}

/// Deletes a group of a loaded partition. The outcome is there when something was written.
pub(super) fn delete_group_here(
    broker: &Rc<Broker>,
    index: PartitionIndex,
    id: &KafkaString,
) -> Result<Option<Outcome>, ErrorCode> {
    let groups = &broker.groups;
    let records = groups.with_state(index, |state| state.deletion_of(id))??;
    let written = append_tombstones(broker, index, records).map_err(|error| error.for_offsets())?;
    let (woken, effects) = groups.with_step(broker, index, |state, step| state.forget_group(id, step))?;
    groups.timers.moved(index, id, woken);
    groups.perform(broker, index, id, effects);
    tracing::info!("group {id:?} is deleted");
    Ok(written)
}

/// Deletes single offsets of a group; on return that is durable. The result of each, in order.
///
/// # Errors
/// Of the whole request: NON_EMPTY_GROUP, GROUP_ID_NOT_FOUND, NOT_COORDINATOR.
pub async fn delete_offsets(
    broker: Rc<Broker>,
    group: GroupPlace,
    partitions: Vec<(KafkaString, PartitionIndex)>,
) -> Result<Vec<ErrorCode>, ErrorCode> {
    ensure_loaded(&broker, group.index).await?;
    let (results, removals) = broker.groups.with_state(group.index, |state| {
        let known = state.group(&group.id).ok_or(ErrorCode::GroupIdNotFound)?;
        known.check_offset_delete()?;
        let mut removals = Vec::new();
        let mut results = Vec::with_capacity(partitions.len());
        for (topic, partition) in partitions {
            if known.is_subscribed_to(&topic) {
                results.push(ErrorCode::GroupSubscribedToTopic);
                continue;
            }
            if state.offsets.has(&group.id, &topic, partition) {
                let (group, topic) = (group.id.detached(), topic.detached());
                removals.push(OffsetChange { group, topic, partition, offset: None });
            }
            results.push(ErrorCode::None);
        }
        Ok((results, removals))
    })??;
    if !removals.is_empty() {
        let removed = append_offsets(&broker, group.index, removals).map_err(|error| error.for_offsets())?;
        removed.take().await?;
    }
    Ok(results)
}
