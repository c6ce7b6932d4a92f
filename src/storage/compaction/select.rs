//! Which segments are compacted, and which are merged into one: plain functions over what is known of them.

use crate::vocabulary::{Offset, TimestampMs};

/// A segment, as far as it matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// Its base offset.
    pub base_offset: Offset,
    /// Where the next segment begins.
    pub end: Offset,
    /// Bytes of batches.
    pub bytes: u64,
}

/// How much of a log is clean, and how much of the rest can be cleaned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Extent {
    /// Bytes of segments before the first that is not clean.
    pub clean_bytes: u64,
    /// Bytes of those that can be cleaned and are not.
    pub dirty_bytes: u64,
}

impl Extent {
    /// Measures the segments before `limit`; those that end behind `first_dirty` are not clean.
    pub fn of(segments: &[Candidate], first_dirty: Offset, limit: Offset) -> Extent {
        let mut extent = Extent::default();
        for segment in segments.iter().filter(|segment| segment.end <= limit) {
            if segment.end <= first_dirty {
                extent.clean_bytes += segment.bytes;
            } else {
                extent.dirty_bytes += segment.bytes;
            }
        }
        extent
    }

    /// Whether more than this part, in millionths, is not clean (Kafka's `min.cleanable.dirty.ratio`).
    pub fn is_dirtier_than(&self, millionths: u32) -> bool {
        let total = u128::from(self.clean_bytes) + u128::from(self.dirty_bytes);
        u128::from(self.dirty_bytes) * 1_000_000 > total * u128::from(millionths)
    }
}

/// How many segments, of the dirty ones in order, are old enough: those before the first that has a record younger than
/// `min_lag_ms` (Kafka's `min.compaction.lag.ms`). Each comes with its max timestamp, if it has one.
pub fn old_enough(max_timestamps: &[Option<TimestampMs>], now_ms: TimestampMs, min_lag_ms: i64) -> usize {
    let limit = now_ms.saturating_sub(min_lag_ms);
    let is_young = |max: &Option<TimestampMs>| min_lag_ms > 0 && max.is_some_and(|max| max > limit);
    max_timestamps.iter().position(is_young).unwrap_or(max_timestamps.len())
}

/// The segments that lie before `end`, at least in part, in groups that make one segment each: neighbours that together
/// have at most `bytes_max` bytes, and offsets that an index can count. A single one may be larger.
pub fn group(segments: &[Candidate], end: Offset, bytes_max: u64) -> Vec<Vec<Candidate>> {
    let mut groups: Vec<Vec<Candidate>> = Vec::new();
    let mut bytes = 0;
    for segment in segments.iter().filter(|segment| segment.base_offset < end) {
        let fits = groups.last().and_then(|group| group.first()).is_some_and(|first| {
            bytes + segment.bytes <= bytes_max && segment.end - first.base_offset <= i64::from(i32::MAX)
        });
        match groups.last_mut().filter(|_| fits) {
            Some(group) => {
                group.push(*segment);
                bytes += segment.bytes;
            }
            None => {
                groups.push(vec![*segment]);
                bytes = segment.bytes;
            }
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn segments(parts: &[(Offset, u64)]) -> Vec<Candidate> {
        let mut base_offset = 0;
        let next = |&(records, bytes): &(Offset, u64)| {
            let segment = Candidate { base_offset, end: base_offset + records, bytes };
            base_offset = segment.end;
            segment
        };
        parts.iter().map(next).collect()
    }

    #[test]
    fn a_segment_that_is_clean_in_part_is_dirty() {
        let segments = segments(&[(10, 100), (10, 200), (10, 400), (10, 800)]);
        let extent = |first_dirty, limit| {
            let Extent { clean_bytes, dirty_bytes } = Extent::of(&segments, first_dirty, limit);
            (clean_bytes, dirty_bytes)
        };
        assert_eq!(extent(0, 40), (0, 1500));
        assert_eq!(extent(10, 30), (100, 600));
        assert_eq!(extent(15, 30), (100, 600));
        assert_eq!(extent(40, 30), (700, 0));
    }

    #[test]
    fn the_ratio_must_be_exceeded() {
        let extent = Extent { clean_bytes: 300, dirty_bytes: 100 };
        assert!(extent.is_dirtier_than(249_999) && !extent.is_dirtier_than(250_000));
        assert!(Extent { clean_bytes: 0, dirty_bytes: 1 }.is_dirtier_than(999_999));
        assert!(!Extent::default().is_dirtier_than(0), "there is nothing to do");
    }

    #[test]
    fn the_young_and_what_follows_them_wait() {
        let max = [Some(100), None, Some(250), Some(90)];
        assert_eq!(old_enough(&max, 300, 50), 4);
        assert_eq!(old_enough(&max, 300, 51), 2);
        assert_eq!(old_enough(&max, 300, 201), 0);
        assert_eq!(old_enough(&max, 0, 0), 4);
    }

    #[test]
    fn an_index_must_be_able_to_count_a_groups_offsets() {
        let half = 1 << 30;
        let segments = segments(&[(half, 1), (half - 1, 1), (1, 1), (5, 1)]);
        let lens: Vec<usize> = group(&segments, i64::MAX, 100).iter().map(Vec::len).collect();
        assert_eq!(lens, [2, 2]);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn groups_are_all_segments_in_order_and_no_two_could_be_one(
            parts in prop::collection::vec((1..50i64, 1..500u64), 0..30),
            bytes_max in 1..2000u64,
            end in 0..1500i64,
        ) {
            let segments = segments(&parts);
            let groups = group(&segments, end, bytes_max);
            let expected: Vec<_> = segments.iter().copied().filter(|segment| segment.base_offset < end).collect();
            prop_assert_eq!(groups.concat(), expected);
            let bytes = |group: &Vec<Candidate>| group.iter().map(|segment| segment.bytes).sum::<u64>();
            for (at, group) in groups.iter().enumerate() {
                prop_assert!(!group.is_empty() && (group.len() == 1 || bytes(group) <= bytes_max));
                if let Some(next) = groups.get(at + 1) {
                    prop_assert!(bytes(group) + next[0].bytes > bytes_max);
                }
            }
        }
    }
}
