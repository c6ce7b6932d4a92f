//! A set of numbers, kept as the ranges that it consists of.

use std::collections::BTreeMap;
use std::ops::Range;

/// The set. Its memory grows with its gaps, not with its numbers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Intervals {
    /// The ranges by their starts. They neither overlap nor touch, and none is empty.
    ends: BTreeMap<u64, u64>,
    count: u64,
}

impl Intervals {
    /// How many numbers it has.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The ranges, in order.
    pub fn ranges(&self) -> impl DoubleEndedIterator<Item = Range<u64>> + '_ {
        self.ends.iter().map(|(&start, &end)| start..end)
    }

    /// Adds a range. How many of its numbers are new.
    pub fn insert(&mut self, range: Range<u64>) -> u64 {
        if range.is_empty() {
            return 0;
        }
        let (mut start, mut end) = (range.start, range.end);
        let mut swallowed = 0;
        // From the right: every range that overlaps or touches becomes part of the new one.
        while let Some((&before, &before_end)) = self.ends.range(..=end).next_back() {
            if before_end < start {
                break;
            }
            self.ends.remove(&before);
            swallowed += before_end - before;
            (start, end) = (start.min(before), end.max(before_end));
        }
        self.ends.insert(start, end);
        let new = (end - start) - swallowed;
        self.count += new;
        new
    }

    /// The parts of `range` that the set has not, in order.
    pub fn gaps(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let mut gaps = Vec::new();
        let mut at = range.start;
        let first = self.ends.range(..=range.start).next_back().map_or(range.start, |(&start, _)| start);
        for (&start, &end) in self.ends.range(first..range.end.max(first)) {
            if start > at {
                gaps.push(at..start);
            }
            at = at.max(end);
        }
        if at < range.end {
            gaps.push(at..range.end);
        }
        gaps
    }

    /// The numbers of this set that `other` has not, as ranges in order.
    pub fn without<'a>(&'a self, other: &'a Intervals) -> impl Iterator<Item = Range<u64>> + 'a {
        self.ranges().flat_map(|range| other.gaps(range))
    }
}

/// How many numbers there are in ranges that do not overlap.
pub fn total(ranges: impl IntoIterator<Item = Range<u64>>) -> u64 {
    ranges.into_iter().map(|range| range.end - range.start).sum()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::random::Random;

    fn range(random: &mut Random) -> Range<u64> {
        let start = random.below(60);
        start..start + random.below(8)
    }

    #[test]
    fn it_holds_what_a_plain_set_does() {
        for seed in 0..300 {
            let mut random = Random::new(seed);
            let (mut kept, mut plain) = (Intervals::default(), BTreeSet::new());
            for _ in 0..30 {
                let range = range(&mut random);
                let before = plain.len();
                plain.extend(range.clone());
                assert_eq!(kept.insert(range), (plain.len() - before) as u64, "seed {seed}");
                assert_eq!(kept.count(), plain.len() as u64);
                let asked = self::range(&mut random);
                let gaps: Vec<u64> = kept.gaps(asked.clone()).into_iter().flatten().collect();
                assert_eq!(gaps, asked.filter(|number| !plain.contains(number)).collect::<Vec<_>>(), "seed {seed}");
            }
            assert!(kept.ranges().flatten().eq(plain.iter().copied()), "seed {seed}");
            let ranges: Vec<_> = kept.ranges().collect();
            assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].start), "ranges that touch are one: {ranges:?}");
        }
    }

    #[test]
    fn the_difference_is_that_of_plain_sets() {
        for seed in 0..300 {
            let mut random = Random::new(seed);
            let mut sets = [Intervals::default(), Intervals::default()];
            for step in 0..20 {
                sets[step % 2].insert(range(&mut random));
            }
            let [one, other] = &sets;
            let plain = |set: &Intervals| set.ranges().flatten().collect::<BTreeSet<u64>>();
            let difference: Vec<u64> = one.without(other).flatten().collect();
            assert_eq!(difference, plain(one).difference(&plain(other)).copied().collect::<Vec<_>>(), "seed {seed}");
            assert_eq!(total(one.without(other)), difference.len() as u64);
        }
    }

    #[test]
    fn numbers_in_order_stay_one_range() {
        let mut set = Intervals::default();
        for start in (0..1_000_000).step_by(100) {
            assert_eq!(set.insert(start..start + 100), 100);
        }
        assert!(set.ranges().eq(std::iter::once(0..1_000_000)));
    }
}
