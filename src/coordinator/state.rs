//! What one partition of `__consumer_offsets` adds up to: its groups, and their offsets.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use super::GroupSettings;
use super::group::{Group, JoinRequest, Now, OffsetExpiry, Step, UnreadableGroup};
use super::offsets::records::CoordinatorRecord;
use super::offsets::{OffsetChange, Offsets};
use crate::protocol::{ErrorCode, KafkaString};

/// Bytes that the members of one partition's groups may hold together. A member's part is a few hundred bytes and what it
/// says of itself; at Kafka's usual sizes this is room for a hundred thousand.
pub const MEMBER_BYTES_MAX: usize = 128 << 20;

/// The groups and offsets of one partition.
#[derive(Clone, Debug, Default)]
pub struct PartitionState {
    groups: HashMap<KafkaString, Group>,
    /// What the groups have committed.
    pub offsets: Offsets,
    /// Sum over all groups.
    member_bytes: usize,
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
                    self.member_bytes -= old.member_bytes();
                }
                if let Some(value) = value {
                    let new = Group::from_value(group, &value, now)?;
                    self.member_bytes += new.member_bytes();
                    self.groups.insert(new.id().clone(), new);
                }
            }
        }
        Ok(())
    }

    /// The log has been read: groups that only have offsets are made, and sessions begin. `woken` is told of each group
    /// that has deadlines.
    pub fn loaded(&mut self, step: &mut Step, mut woken: impl FnMut(&KafkaString, u64)) {
        for id in self.offsets.groups() {
            if !self.groups.contains_key(&**id) {
                self.groups.insert(id.clone(), Group::new(id.clone(), step.now));
            }
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

    /// Whether there is memory for a member that joins with this request.
    pub fn has_room_for(&self, group: &str, request: &JoinRequest) -> bool {
        let growth = match self.groups.get(group) {
            Some(group) => group.growth_by(request),
            None => 0,
        };
        self.member_bytes.saturating_add(growth) <= MEMBER_BYTES_MAX
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
            let id = id.detached();
            self.groups.insert(id.clone(), Group::new(id, step.now));
        }
        let group = self.groups.get_mut(&**id)?;
        let (before_ms, bytes_before) = (group.wake_ms(), group.member_bytes());
        let result = change(group, step);
        let mut after_ms = group.wake_ms();
        self.member_bytes = self.member_bytes + group.member_bytes() - bytes_before;
        if group.is_vain() && !self.offsets.has_any(id) {
            after_ms = None;
            self.groups.remove(&**id);
        }
        Some((result, Woken { before_ms, after_ms }))
    }

    /// Deletes a group: what is to be written for it. The group is gone at once, its offsets when that is durable.
    ///
    /// # Errors
    /// NON_EMPTY_GROUP or GROUP_ID_NOT_FOUND.
    pub fn delete_group(&mut self, id: &KafkaString, step: &mut Step) -> Result<(Deletion, Woken), ErrorCode> {
        let Entry::Occupied(entry) = self.groups.entry(id.clone()) else { return Err(ErrorCode::GroupIdNotFound) };
        entry.get().check_delete()?;
        let mut group = entry.remove();
        self.member_bytes -= group.member_bytes();
        let before_ms = group.wake_ms();
        group.die(step);
        let deletion = Deletion { records: self.removal_records(&group) };
        Ok((deletion, Woken { before_ms, after_ms: None }))
    }

    fn removal_records(&self, group: &Group) -> Vec<CoordinatorRecord> {
        let offsets = self.offsets.removal_of_group(group.id()).into_iter().map(CoordinatorRecord::Offset);
        let tombstone = CoordinatorRecord::Group { group: group.id().clone(), value: None };
        offsets.chain(group.is_recorded().then_some(tombstone)).collect()
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

/// What deletes a group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deletion {
    /// Tombstones; none when the log knows nothing of the group.
    pub records: Vec<CoordinatorRecord>,
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
