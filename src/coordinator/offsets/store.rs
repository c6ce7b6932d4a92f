//! The offsets that groups have committed: what readers see, and what is on its way to the disk.
//!
//! A change is announced with [`Offsets::begin`] when its record is appended and takes effect with [`Offsets::finish`]
//! when the record is durable; changes of one partition finish in the order in which they began. Readers see only what
//! is durable; whoever deletes also sees what is on its way, so that nothing comes back behind a deletion.

use std::collections::{BTreeMap, HashMap};

use super::records::OffsetCommitValue;
use crate::protocol::KafkaString;
use crate::vocabulary::{LeaderEpoch, Offset, PartitionIndex, TimestampMs};

/// A committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The offset of the next record to consume.
    pub offset: Offset,
    /// The leader epoch of the last record consumed; -1 for none (KIP-320).
    pub leader_epoch: LeaderEpoch,
    /// The text that the client keeps beside it.
    pub metadata: KafkaString,
    /// When it was committed, in milliseconds.
    pub commit_ms: TimestampMs,
    /// When it expires, in milliseconds, when the client asked for a retention of its own (OffsetCommit up to version 4).
    pub expire_ms: Option<TimestampMs>,
}

impl CommittedOffset {
    pub(super) fn to_value(&self) -> OffsetCommitValue {
        OffsetCommitValue {
            offset: self.offset,
            leader_epoch: self.leader_epoch,
            metadata: self.metadata.clone(),
            commit_timestamp: self.commit_ms,
            expire_timestamp: self.expire_ms.unwrap_or(-1),
        }
    }

    pub(super) fn from_value(value: OffsetCommitValue) -> CommittedOffset {
        CommittedOffset {
            offset: value.offset,
            leader_epoch: value.leader_epoch,
            metadata: value.metadata,
            commit_ms: value.commit_timestamp,
            expire_ms: Some(value.expire_timestamp).filter(|&at| at != -1),
        }
    }

    /// Whether the offset has expired: at its own time, or `retention_ms` after `since_ms`.
    pub fn is_expired(&self, now_ms: TimestampMs, since_ms: TimestampMs, retention_ms: i64) -> bool {
        match self.expire_ms {
            Some(at) => now_ms >= at,
            None => now_ms.saturating_sub(since_ms) >= retention_ms,
        }
    }
}

/// A group's offset of a partition is set, or removed (`None`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetChange {
    /// The group.
    pub group: KafkaString,
    /// The topic's name.
    pub topic: KafkaString,
    /// The partition.
    pub partition: PartitionIndex,
    /// The new offset.
    pub offset: Option<CommittedOffset>,
}

/// One partition's offset in one group.
#[derive(Clone, Debug, Default)]
struct Entry {
    visible: Option<CommittedOffset>,
    /// Changes that began and have not finished.
    in_flight: usize,
}

type ByPartition = BTreeMap<PartitionIndex, Entry>;
type ByTopic = BTreeMap<KafkaString, ByPartition>;

/// The offsets of the groups of one partition of `__consumer_offsets`.
#[derive(Clone, Debug, Default)]
pub struct Offsets {
    groups: HashMap<KafkaString, ByTopic>,
    held_bytes: usize,
}

/// What an offset takes in memory besides its texts; an estimate.
const ENTRY_OVERHEAD_BYTES: usize = 256;

/// What the place of an offset takes. Names are shared; counting them each time errs on the safe side.
fn place_bytes(group: &str, topic: &str) -> usize {
    ENTRY_OVERHEAD_BYTES + group.len() + topic.len()
}

fn text_bytes(offset: &Option<CommittedOffset>) -> usize {
    offset.as_ref().map_or(0, |offset| offset.metadata.len())
}

impl Offsets {
    /// A change is on its way to the disk.
    pub fn begin(&mut self, change: &OffsetChange) {
        let topics = match self.groups.get_mut(&*change.group) {
            Some(topics) => topics,
            None => self.groups.entry(change.group.clone()).or_default(),
        };
        let partitions = match topics.get_mut(&*change.topic) {
            Some(partitions) => partitions,
            None => topics.entry(change.topic.clone()).or_default(),
        };
        let entry = partitions.entry(change.partition).or_insert_with(|| {
            self.held_bytes += place_bytes(&change.group, &change.topic);
            Entry::default()
        });
        entry.in_flight += 1;
    }

    /// A change that began is durable, or failed for good.
    pub fn finish(&mut self, change: OffsetChange, durable: bool) {
        let OffsetChange { group, topic, partition, offset } = change;
        let Some(topics) = self.groups.get_mut(&*group) else { return };
        let Some(partitions) = topics.get_mut(&*topic) else { return };
        let Some(entry) = partitions.get_mut(&partition) else { return };
        entry.in_flight = entry.in_flight.saturating_sub(1);
        if durable {
            self.held_bytes = self.held_bytes + text_bytes(&offset) - text_bytes(&entry.visible);
            entry.visible = offset;
        }
        if entry.visible.is_none() && entry.in_flight == 0 {
            self.held_bytes -= place_bytes(&group, &topic);
            partitions.remove(&partition);
            if partitions.is_empty() {
                topics.remove(&*topic);
            }
            if topics.is_empty() {
                self.groups.remove(&*group);
            }
        }
    }

    /// A change that was read from the log.
    pub fn replay(&mut self, change: OffsetChange) {
        self.begin(&change);
        self.finish(change, true);
    }

    /// Bytes of memory that the offsets hold, about.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Bytes that the offsets will hold in addition when these are committed, about.
    pub fn growth_by(&self, changes: &[OffsetChange]) -> usize {
        let one = |change: &OffsetChange| {
            let (group, topic) = (&*change.group, &*change.topic);
            let place = if self.has(group, topic, change.partition) { 0 } else { place_bytes(group, topic) };
            let text = self.get(group, topic, change.partition).map_or(0, |offset| offset.metadata.len());
            place + text_bytes(&change.offset).saturating_sub(text)
        };
        changes.iter().map(one).sum()
    }

    /// A group's offset of one partition.
    pub fn get(&self, group: &str, topic: &str, partition: PartitionIndex) -> Option<&CommittedOffset> {
        self.groups.get(group)?.get(topic)?.get(&partition)?.visible.as_ref()
    }

    /// All offsets of a group, by topic and partition.
    pub fn of_group(&self, group: &str) -> impl Iterator<Item = (&KafkaString, PartitionIndex, &CommittedOffset)> {
        let topics = self.groups.get(group).into_iter().flatten();
        topics.flat_map(|(topic, partitions)| {
            let visible =
                partitions.iter().filter_map(|(&partition, entry)| Some((partition, entry.visible.as_ref()?)));
            visible.map(move |(partition, offset)| (topic, partition, offset))
        })
    }

    /// Whether a group has an offset, or will have.
    pub fn has_any(&self, group: &str) -> bool {
        self.groups.contains_key(group)
    }

    /// Whether a group has an offset of a partition, or will have.
    pub fn has(&self, group: &str, topic: &str, partition: PartitionIndex) -> bool {
        let partitions = self.groups.get(group).and_then(|topics| topics.get(topic));
        partitions.is_some_and(|partitions| partitions.contains_key(&partition))
    }

    /// What removes all offsets of a group, those on their way too.
    pub fn removal_of_group(&self, group: &str) -> Vec<OffsetChange> {
        let Some((group, topics)) = self.groups.get_key_value(group) else { return Vec::new() };
        let all = topics.iter().flat_map(|(topic, partitions)| partitions.keys().map(move |&at| (topic, at)));
        all.map(|(topic, partition)| removal(group, topic, partition)).collect()
    }

    /// What removes all offsets of the topics that `is_gone` names, those on their way too.
    pub fn removal_of_topics(&self, is_gone: impl Fn(&str) -> bool) -> Vec<OffsetChange> {
        let mut removals = Vec::new();
        for (group, topics) in &self.groups {
            for (topic, partitions) in topics.iter().filter(|(topic, _)| is_gone(topic)) {
                removals.extend(partitions.keys().map(|&partition| removal(group, topic, partition)));
            }
        }
        removals
    }

    /// What removes the offsets of a group that `is_expired` says are expired, and whether none is left then.
    pub fn removal_of_expired(
        &self,
        group: &str,
        is_expired: impl Fn(&str, &CommittedOffset) -> bool,
    ) -> (Vec<OffsetChange>, bool) {
        let Some((group, topics)) = self.groups.get_key_value(group) else { return (Vec::new(), true) };
        let mut removals = Vec::new();
        let mut all = true;
        for (topic, partitions) in topics {
            for (&partition, entry) in partitions {
                match &entry.visible {
                    Some(offset) if entry.in_flight == 0 && is_expired(topic, offset) => {
                        removals.push(removal(group, topic, partition));
                    }
                    _ => all = false,
                }
            }
        }
        (removals, all)
    }

    /// How many groups have offsets.
    pub fn groups(&self) -> impl Iterator<Item = &KafkaString> {
        self.groups.keys()
    }
}

fn removal(group: &KafkaString, topic: &KafkaString, partition: PartitionIndex) -> OffsetChange {
    OffsetChange { group: group.clone(), topic: topic.clone(), partition, offset: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(topic: &str, partition: i32, offset: Option<i64>) -> OffsetChange {
        let offset = offset.map(|offset| CommittedOffset {
            offset,
            leader_epoch: -1,
            metadata: "".into(),
            commit_ms: offset,
            expire_ms: None,
        });
        OffsetChange { group: "g".into(), topic: topic.into(), partition, offset }
    }

    fn seen(offsets: &Offsets, topic: &str, partition: i32) -> Option<i64> {
        offsets.get("g", topic, partition).map(|found| found.offset)
    }

    #[test]
    fn a_change_is_seen_when_it_is_durable_and_never_when_it_failed() {
        let mut offsets = Offsets::default();
        let (first, second) = (change("t", 0, Some(1)), change("t", 0, Some(2)));
        offsets.begin(&first);
        assert_eq!((seen(&offsets, "t", 0), offsets.has("g", "t", 0)), (None, true));
        offsets.finish(first, true);
        assert_eq!(seen(&offsets, "t", 0), Some(1));
        offsets.begin(&second);
        assert_eq!(seen(&offsets, "t", 0), Some(1));
        offsets.finish(second, false);
        assert_eq!(seen(&offsets, "t", 0), Some(1));
        let never = change("u", 0, Some(1));
        offsets.begin(&never);
        offsets.finish(never, false);
        assert!(!offsets.has("g", "u", 0));
    }

    #[test]
    fn a_deletion_covers_what_is_on_its_way() {
        let mut offsets = Offsets::default();
        offsets.replay(change("t", 0, Some(1)));
        let coming = change("t", 1, Some(5));
        offsets.begin(&coming);
        let removals = offsets.removal_of_group("g");
        assert_eq!(removals, [change("t", 0, None), change("t", 1, None)]);
        removals.iter().for_each(|removal| offsets.begin(removal));
        offsets.finish(coming, true);
        assert_eq!(seen(&offsets, "t", 1), Some(5));
        assert!(offsets.held_bytes() > 2 * ENTRY_OVERHEAD_BYTES);
        removals.into_iter().for_each(|removal| offsets.finish(removal, true));
        assert!(!offsets.has_any("g"));
        assert_eq!(offsets.held_bytes(), 0);
        assert_eq!(offsets.groups().count(), 0);
    }

    #[test]
    fn an_offset_with_a_newer_one_on_its_way_does_not_expire() {
        let mut offsets = Offsets::default();
        offsets.replay(change("t", 0, Some(1)));
        offsets.replay(change("t", 1, Some(1)));
        let newer = change("t", 0, Some(9));
        offsets.begin(&newer);
        let expired = offsets.removal_of_expired("g", |_, _| true);
        assert_eq!(expired, (vec![change("t", 1, None)], false));
        offsets.finish(newer, true);
        assert!(offsets.removal_of_expired("g", |_, _| true).1);
        assert_eq!(offsets.removal_of_expired("other", |_, _| true), (Vec::new(), true));
    }

    #[test]
    fn the_offsets_of_a_deleted_topic_go_and_others_stay() {
        let mut offsets = Offsets::default();
        offsets.replay(change("t", 0, Some(1)));
        offsets.replay(change("u", 0, Some(1)));
        assert_eq!(offsets.removal_of_topics(|topic| topic == "t"), [change("t", 0, None)]);
    }

    #[test]
    fn retention_counts_from_the_time_given_or_ends_at_the_offsets_own_time() {
        let Some(mut offset) = change("t", 0, Some(1)).offset else { panic!("an offset") };
        assert!(!offset.is_expired(109, 100, 10));
        assert!(offset.is_expired(110, 100, 10));
        offset.expire_ms = Some(500);
        assert!(!offset.is_expired(499, 100, 10));
        assert!(offset.is_expired(500, 100, 10));
    }
}
