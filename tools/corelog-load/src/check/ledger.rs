//! What was acknowledged and what came back.
//!
//! The ledger is told of each acknowledgement and each delivery, in any order of the two, and counts:
//!
//! - **lost**: was acknowledged and has not come back;
//! - **duplicated**: came back again, once for each time;
//! - **reordered**: came back for the first time behind a later record of the same producer and partition;
//! - **unacknowledged**: came back, and no acknowledgement is known. No fault: the answer may have been lost;
//! - **corrupted**: records and batches that are not what was sent.
//!
//! A record that comes again is duplicated and never reordered, so that a batch which was sent twice is one fault.

use std::collections::BTreeMap;
use std::ops::Range;

use super::intervals::{Intervals, total};
use crate::report::Check;

/// Examples of faults that are kept.
pub const EXAMPLES_MAX: usize = 10;

/// The ledger. Whoever has several, by partition, adds up their [`Ledger::check`].
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    /// By producer and partition.
    lanes: BTreeMap<(u32, u32), Lane>,
    duplicated: u64,
    reordered: u64,
    corrupted: u64,
    /// The first faults that were seen, in words.
    examples: Vec<String>,
}

/// The records of one producer in one partition.
#[derive(Clone, Debug, Default)]
struct Lane {
    acknowledged: Intervals,
    delivered: Intervals,
}

impl Lane {
    /// Acknowledged records that have not come back although a later one has.
    fn overtaken(&self) -> u64 {
        let end = self.delivered_end();
        total(self.acknowledged.without(&self.delivered).map(|gap| gap.start.min(end)..gap.end.min(end)))
    }

    /// The number behind the highest one that came back.
    fn delivered_end(&self) -> u64 {
        self.delivered.ranges().next_back().map_or(0, |last| last.end)
    }
}

impl Ledger {
    /// The records with these numbers were acknowledged.
    pub fn acknowledge(&mut self, producer: u32, partition: u32, sequences: Range<u64>) {
        self.lanes.entry((producer, partition)).or_default().acknowledged.insert(sequences);
    }

    /// The records with these numbers came back one behind the other, the first one at `offset`.
    pub fn deliver(&mut self, producer: u32, partition: u32, sequences: Range<u64>, offset: i64) {
        if sequences.is_empty() {
            return;
        }
        let lane = self.lanes.entry((producer, partition)).or_default();
        let end = lane.delivered_end();
        if sequences.start >= end {
            // As it should be: everything is new.
            lane.delivered.insert(sequences);
            return;
        }
        let late = lane.delivered.gaps(sequences.start..sequences.end.min(end));
        let new = lane.delivered.insert(sequences.clone());
        let again = (sequences.end - sequences.start) - new;
        let late_count = total(late.iter().cloned());
        self.duplicated += again;
        self.reordered += late_count;
        let what = || format!("producer {producer}, partition {partition}: {} at offset {offset}", named(&sequences));
        if again > 0 {
            self.note(format!("{}: {again} came again", what()));
        }
        if let Some(first) = late.first() {
            self.note(format!("{}: {late_count} came behind {}, from {} on", what(), end - 1, first.start));
        }
    }

    /// Something came back that is not what was sent.
    pub fn corrupt(&mut self, what: String) {
        self.corrupted += 1;
        self.note(what);
    }

    fn note(&mut self, example: String) {
        if self.examples.len() < EXAMPLES_MAX {
            self.examples.push(example);
        }
    }

    /// Forgets everything that came back, and what was wrong with it: everything is about to be read once more.
    pub fn forget_deliveries(&mut self) {
        for lane in self.lanes.values_mut() {
            lane.delivered = Intervals::default();
        }
        (self.duplicated, self.reordered, self.corrupted) = (0, 0, 0);
        self.examples.clear();
    }

    /// The counts so far. Retries and reconnects are not the ledger's to know.
    pub fn check(&self) -> Check {
        let lanes = || self.lanes.values();
        Check {
            acknowledged: lanes().map(|lane| lane.acknowledged.count()).sum(),
            delivered: lanes().map(|lane| lane.delivered.count()).sum(),
            unacknowledged: lanes().map(|lane| total(lane.delivered.without(&lane.acknowledged))).sum(),
            lost: lanes().map(|lane| total(lane.acknowledged.without(&lane.delivered))).sum(),
            duplicated: self.duplicated,
            reordered: self.reordered,
            corrupted: self.corrupted,
            ..Check::default()
        }
    }

    /// The same of a run that was cut short: what has not come back is lost when a later record has, and may be on its
    /// way otherwise.
    pub fn check_cut_short(&self) -> Check {
        Check { lost: self.lanes.values().map(Lane::overtaken).sum(), ..self.check() }
    }

    /// Examples of what is lost as of now, and of the other faults; at most [`EXAMPLES_MAX`].
    pub fn examples(&self) -> Vec<String> {
        let lost = self.lanes.iter().flat_map(|((producer, partition), lane)| {
            let missing = lane.acknowledged.without(&lane.delivered);
            missing.map(move |range| {
                format!("producer {producer}, partition {partition}: {} acknowledged, and not there", named(&range))
            })
        });
        lost.chain(self.examples.iter().cloned()).take(EXAMPLES_MAX).collect()
    }
}

fn named(sequences: &Range<u64>) -> String {
    match sequences.end - sequences.start {
        1 => format!("record {}", sequences.start),
        _ => format!("records {} to {}", sequences.start, sequences.end - 1),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::random::Random;

    /// The same by the definitions, record by record, with sets of all numbers.
    #[derive(Default)]
    struct Model {
        acknowledged: BTreeSet<(u32, u32, u64)>,
        delivered: BTreeSet<(u32, u32, u64)>,
        duplicated: u64,
        reordered: u64,
    }

    impl Model {
        fn deliver(&mut self, producer: u32, partition: u32, sequence: u64) {
            let later = |&(p, q, s): &(u32, u32, u64)| (p, q) == (producer, partition) && s > sequence;
            let is_behind = self.delivered.iter().any(later);
            if !self.delivered.insert((producer, partition, sequence)) {
                self.duplicated += 1;
            } else if is_behind {
                self.reordered += 1;
            }
        }

        fn check(&self) -> Check {
            Check {
                acknowledged: self.acknowledged.len() as u64,
                delivered: self.delivered.len() as u64,
                unacknowledged: self.delivered.difference(&self.acknowledged).count() as u64,
                lost: self.acknowledged.difference(&self.delivered).count() as u64,
                duplicated: self.duplicated,
                reordered: self.reordered,
                ..Check::default()
            }
        }
    }

    #[test]
    fn any_history_is_counted_as_the_definitions_say() {
        for seed in 0..500 {
            let mut random = Random::new(seed);
            let (mut ledger, mut model) = (Ledger::default(), Model::default());
            for step in 0..40 {
                let (producer, partition) = (random.below(2) as u32, random.below(2) as u32);
                let start = random.below(40);
                let range = start..start + random.below(7);
                if random.below(2) == 0 {
                    ledger.acknowledge(producer, partition, range.clone());
                    model.acknowledged.extend(range.map(|sequence| (producer, partition, sequence)));
                } else {
                    ledger.deliver(producer, partition, range.clone(), step);
                    range.for_each(|sequence| model.deliver(producer, partition, sequence));
                }
                assert_eq!(ledger.check(), model.check(), "seed {seed}, step {step}");
            }
            assert!(ledger.examples().len() <= EXAMPLES_MAX);
        }
    }

    /// How many faults there are, duplicates among them or not.
    fn faults(ledger: &Ledger, with_duplicates: bool) -> u64 {
        let Check { lost, duplicated, reordered, corrupted, .. } = ledger.check();
        lost + reordered + corrupted + if with_duplicates { duplicated } else { 0 }
    }

    /// A ledger of a hundred acknowledged records, all of them delivered by `deliver`.
    fn with(deliver: impl FnOnce(&mut Ledger)) -> Ledger {
        let mut ledger = Ledger::default();
        (0..10).for_each(|batch| ledger.acknowledge(1, 2, batch * 10..batch * 10 + 10));
        deliver(&mut ledger);
        ledger
    }

    fn batch(ledger: &mut Ledger, batch: u64) {
        ledger.deliver(1, 2, batch * 10..batch * 10 + 10, 1000 + batch as i64 * 10);
    }

    #[test]
    fn an_honest_broker_is_found_so() {
        let ledger = with(|ledger| (0..10).for_each(|index| batch(ledger, index)));
        assert_eq!(ledger.check(), Check { acknowledged: 100, delivered: 100, ..Check::default() });
        assert!(faults(&ledger, true) == 0 && ledger.examples().is_empty());
    }

    #[test]
    fn a_broker_that_drops_an_acknowledged_batch_is_caught() {
        let ledger = with(|ledger| (0..10).filter(|&index| index != 4).for_each(|index| batch(ledger, index)));
        assert_eq!(ledger.check().lost, 10);
        assert_eq!(ledger.examples(), ["producer 1, partition 2: records 40 to 49 acknowledged, and not there"]);
    }

    #[test]
    fn a_broker_that_has_a_batch_twice_is_caught() {
        let ledger = with(|ledger| [0, 1, 2, 1, 3, 4, 5, 6, 7, 8, 9].iter().for_each(|&index| batch(ledger, index)));
        assert_eq!((ledger.check().duplicated, ledger.check().reordered, ledger.check().lost), (10, 0, 0));
        assert_eq!(faults(&ledger, false), 0);
        assert_eq!(ledger.examples(), ["producer 1, partition 2: records 10 to 19 at offset 1010: 10 came again"]);
    }

    #[test]
    fn a_broker_that_swaps_batches_is_caught() {
        let ledger = with(|ledger| [0, 1, 3, 2, 4, 5, 6, 7, 8, 9].iter().for_each(|&index| batch(ledger, index)));
        assert_eq!((ledger.check().duplicated, ledger.check().reordered, ledger.check().lost), (0, 10, 0));
        assert_eq!(
            ledger.examples(),
            ["producer 1, partition 2: records 20 to 29 at offset 1020: 10 came behind 39, from 20 on"]
        );
    }

    #[test]
    fn what_is_on_its_way_when_a_run_is_cut_short_is_not_lost() {
        let ledger = with(|ledger| [0, 1, 3, 5].iter().for_each(|&index| batch(ledger, index)));
        assert_eq!((ledger.check().lost, ledger.check_cut_short().lost), (60, 20));
        let ledger = with(|ledger| [0, 1].iter().for_each(|&index| batch(ledger, index)));
        assert_eq!((ledger.check().lost, ledger.check_cut_short().lost), (80, 0));
    }

    #[test]
    fn a_second_reading_starts_over_with_what_was_acknowledged() {
        let mut ledger = with(|ledger| [0, 0].iter().for_each(|&index| batch(ledger, index)));
        ledger.corrupt("a batch".to_owned());
        ledger.forget_deliveries();
        assert_eq!(ledger.check(), Check { acknowledged: 100, lost: 100, ..Check::default() });
        (0..10).for_each(|index| batch(&mut ledger, index));
        assert!(faults(&ledger, true) == 0 && ledger.examples().is_empty());
    }
}
