//! What one partition of `__consumer_offsets` adds up to: its groups, and their offsets.

use std::collections::HashMap;

use super::GroupSettings;
use super::group::{Group, JoinRequest, Now, OffsetExpiry, Step, UnreadableGroup};
use super::offsets::records::CoordinatorRecord;
use super::offsets::{OffsetChange, Offsets};
use crate::protocol::{ErrorCode, KafkaString};

/// The groups and offsets of one partition.
#[derive(Clone, Debug, Default)]
pub struct PartitionState {
    groups: HashMap<KafkaString, Group>,
    /// What the groups have committed.
    pub offsets: Offsets,
    /// Sum over all groups.
    group_bytes: usize,
}

/// When a group wants to be woken, before and after a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Woken {
    /// Before.
    pub before_ms: Option<u64>,
    /// After.
    pub after_ms: Option<u64>,
}

impl PartitionState {
    /// Takes in a record of the log, at start.
    ///
    /// # Errors
    /// [`UnreadableGroup`].
    pub fn replay(&mut self, record: CoordinatorRecord, now: Now) -> Result<(), UnreadableGroup> {
        match record {
            CoordinatorRecord::Offset(change) => self.offsets.replay(detached(&change)),
            CoordinatorRecord::Group { group, value } => {
                if let Some(old) = self.groups.remove(&*group) {
                    self.group_bytes -= old.held_bytes();
                }
                if let Some(value) = value {
                    let new = Group::from_value(group, &value, now)?;
                    self.put(new);
                }
            }
        }
        Ok(())
    }

    /// The log has been read: groups that only have offsets are made, and sessions begin. `woken` is told of each group
    /// that has deadlines.
    pub fn loaded(&mut self, step: &mut Step, mut woken: impl FnMut(&KafkaString, u64)) {
        let without_record: Vec<KafkaString> =
            self.offsets.groups().filter(|id| !self.groups.contains_key(&***id)).cloned().collect();
        for id in without_record {
            self.put(Group::new(id, step.now));
        }
        for (id, group) in &mut self.groups {
            group.loaded(step);
            if let Some(wake_ms) = group.wake_ms() {
                woken(id, wake_ms);
            }
        }
    }

    /// The group, if there is one.
    pub fn group(&self, id: &str) -> Option<&Group> {
        self.groups.get(id)
    }

    /// All groups.
    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.values()
    }

    /// Bytes of memory that groups and offsets hold, about.
    pub fn held_bytes(&self) -> usize {
        self.group_bytes + self.offsets.held_bytes()
    }

    /// Bytes that the partition will hold in addition when a member joins with this request, about.
    pub fn growth_by(&self, group: &str, request: &JoinRequest, now: Now) -> usize {
        match self.groups.get(group) {
            Some(group) => group.growth_by(request),
            None => {
                let new = Group::new(group.into(), now);
                new.held_bytes() + new.growth_by(request)
            }
        }
    }

    fn put(&mut self, group: Group) {
        self.group_bytes += group.held_bytes();
        if let Some(old) = self.groups.insert(group.id().clone(), group) {
            self.group_bytes -= old.held_bytes();
        }
    }

    /// Changes a group, made before when `create` says so; `None` when there is none. A group that the change leaves
    /// with nothing worth keeping is forgotten.
    pub fn with_group<T>(
        &mut self,
        id: &KafkaString,
        create: bool,
        step: &mut Step,
        change: impl FnOnce(&mut Group, &mut Step) -> T,
    ) -> Option<(T, Woken)> {
        if create && !self.groups.contains_key(&**id) {
            self.put(Group::new(id.detached(), step.now));
        }
        let group = self.groups.get_mut(&**id)?;
        let (before_ms, bytes_before) = (group.wake_ms(), group.held_bytes());
        let result = change(group, step);
        let mut after_ms = group.wake_ms();
        let bytes_after = group.held_bytes();
        self.group_bytes = self.group_bytes + bytes_after - bytes_before;
        if group.is_vain() && !self.offsets.has_any(id) {
            after_ms = None;
            self.groups.remove(&**id);
            self.group_bytes -= bytes_after;
        }
        Some((result, Woken { before_ms, after_ms }))
    }

    /// What is to be written so that a group is deleted with its offsets: nothing when the log does not know it.
    ///
    /// # Errors
    /// NON_EMPTY_GROUP or GROUP_ID_NOT_FOUND.
    pub fn deletion_of(&self, id: &str) -> Result<Vec<CoordinatorRecord>, ErrorCode> {
        let group = self.groups.get(id).ok_or(ErrorCode::GroupIdNotFound)?;
        group.check_delete()?;
        let offsets = self.offsets.removal_of_group(id).into_iter().map(CoordinatorRecord::Offset);
        let tombstone = CoordinatorRecord::Group { group: group.id().clone(), value: None };
        Ok(offsets.chain(group.is_recorded().then_some(tombstone)).collect())
    }

    /// Forgets a group whose deletion is being written. Its offsets go when that is durable.
    pub fn forget_group(&mut self, id: &str, step: &mut Step) -> Woken {
        let Some(mut group) = self.groups.remove(id) else { return Woken { before_ms: None, after_ms: None } };
        self.group_bytes -= group.held_bytes();
        let before_ms = group.wake_ms();
        group.die(step);
        Woken { before_ms, after_ms: None }
    }

    /// What has expired of a group: offsets to be removed, and whether the group should be deleted with them.
    pub fn expired(&self, id: &str, settings: &GroupSettings, now: Now) -> (Vec<OffsetChange>, bool) {
        let Some(group) = self.groups.get(id) else { return (Vec::new(), false) };
        let expiry = group.offset_expiry();
        let (removals, all) = self.offsets.removal_of_expired(id, |topic, offset| {
            let since_ms = match expiry {
                OffsetExpiry::Never => return false,
                OffsetExpiry::SinceCommit => offset.commit_ms,
                OffsetExpiry::Since(since_ms) => since_ms,
            };
            !group.is_subscribed_to(topic) && offset.is_expired(now.wall_ms, since_ms, settings.offsets_retention_ms)
        });
        let unused = all && group.is_empty() && group.has_no_pending_members();
        (removals, unused)
    }
}

/// A copy that keeps no larger piece of memory alive.
pub fn detached(change: &OffsetChange) -> OffsetChange {
    OffsetChange {
        group: change.group.detached(),
        topic: change.topic.detached(),
        partition: change.partition,
        offset: change.offset.clone().map(|mut offset| {
            offset.metadata = offset.metadata.detached();
            offset
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coordinator::group::{Identity, Protocol, Waiter};
    use crate::coordinator::offsets::CommittedOffset;

    const NOW: Now = Now { monotonic_ms: 1_000, wall_ms: 1_000_000 };

    fn join(id_first: bool) -> JoinRequest {
        JoinRequest {
            member_id: "".into(),
            identity: Identity::default(),
            protocol_type: "consumer".into(),
            protocols: vec![Protocol { name: "range".into(), metadata: vec![7; 1000].into() }],
            session_timeout_ms: 10_000,
            rebalance_timeout_ms: 10_000,
            id_first,
            may_skip_assignment: false,
            suffix: "x".into(),
            reason: None,
        }
    }

    fn committed(group: &str, partition: i32, commit_ms: i64) -> OffsetChange {
        let offset =
            CommittedOffset { offset: 1, leader_epoch: -1, metadata: "text".into(), commit_ms, expire_ms: None };
        OffsetChange { group: group.into(), topic: "t".into(), partition, offset: Some(offset) }
    }

    struct Bench {
        state: PartitionState,
        settings: GroupSettings,
        last_write: u64,
    }

    impl Bench {
        fn new() -> Bench {
            Bench { state: PartitionState::default(), settings: GroupSettings::default(), last_write: 0 }
        }

        fn with<T>(&mut self, now: Now, run: impl FnOnce(&mut PartitionState, &mut Step) -> T) -> T {
            let mut step =
                Step { now, settings: &self.settings, last_write: &mut self.last_write, effects: Vec::new() };
            run(&mut self.state, &mut step)
        }
    }

    #[test]
    fn memory_is_counted_and_all_of_it_is_given_back() {
        let mut bench = Bench::new();
        let request = join(true);
        let growth = bench.state.growth_by("g", &request, NOW);
        let joined = bench.with(NOW, |state, step| {
            state.with_group(&"g".into(), true, step, |group, step| group.join(&request, Waiter(1), step))
        });
        let pending = bench.state.held_bytes();
        assert!(pending > 0 && pending < growth, "an id that was given out: {pending} of {growth}");
        let (_, woken) = joined.expect("the group was made");
        assert_eq!(woken, Woken { before_ms: None, after_ms: Some(11_000) });
        let request = join(false);
        let growth = bench.state.growth_by("g", &request, NOW);
        bench.with(NOW, |state, step| {
            state.with_group(&"g".into(), true, step, |group, step| group.join(&request, Waiter(2), step))
        });
        assert!(bench.state.held_bytes() > pending + 1000);
        assert!(bench.state.held_bytes() <= pending + growth);
        bench.state.offsets.replay(committed("g", 0, 0));
        bench.state.offsets.replay(OffsetChange { offset: None, ..committed("g", 0, 0) });
        // Both fall silent, and the group is empty and deleted.
        let late = Now { monotonic_ms: 10_000_000, ..NOW };
        for _ in 0..3 {
            bench.with(late, |state, step| state.with_group(&"g".into(), false, step, |group, step| group.tick(step)));
        }
        assert!(bench.state.deletion_of("g").is_ok());
        bench.with(late, |state, step| state.forget_group("g", step));
        assert_eq!((bench.state.held_bytes(), bench.state.groups().count()), (0, 0));
    }

    #[test]
    fn a_group_that_nobody_joined_leaves_nothing() {
        let mut bench = Bench::new();
        let mut request = join(false);
        request.protocols.clear();
        bench.with(NOW, |state, step| {
            state.with_group(&"g".into(), true, step, |group, step| group.join(&request, Waiter(1), step))
        });
        assert_eq!((bench.state.held_bytes(), bench.state.groups().count()), (0, 0));
    }

    #[test]
    fn offsets_without_members_make_a_group_that_expires_with_them() {
        let mut bench = Bench::new();
        let retention_ms = bench.settings.offsets_retention_ms;
        for (partition, commit_ms) in [(0, 0), (1, 500)] {
            let record = CoordinatorRecord::Offset(committed("simple", partition, commit_ms));
            bench.state.replay(record, NOW).expect("an offset");
        }
        bench.with(NOW, |state, step| state.loaded(step, |_, _| panic!("it has no deadlines")));
        assert_eq!(bench.state.group("simple").map(Group::state_name), Some("Empty"));
        let at = |wall_ms| Now { wall_ms, ..NOW };
        let expired = |bench: &Bench, wall_ms| bench.state.expired("simple", &bench.settings, at(wall_ms));
        assert_eq!(expired(&bench, retention_ms - 1), (vec![], false));
        let (removals, unused) = expired(&bench, retention_ms);
        assert_eq!((removals.len(), removals[0].partition, unused), (1, 0, false));
        let (removals, unused) = expired(&bench, retention_ms + 500);
        assert_eq!((removals.len(), unused), (2, true));
        assert_eq!(bench.state.deletion_of("simple").map(|records| records.len()), Ok(2), "no record of its own");
        assert_eq!(bench.state.deletion_of("other"), Err(ErrorCode::GroupIdNotFound));
    }
}
