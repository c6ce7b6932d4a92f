//! Compaction on the simulated disk, step by step: what it leaves, and what happens when the disk fails it.

use std::time::Duration;

use super::{Cleaning, CompactionBounds, CompactionError, CompactionRules, Inline};
use crate::disk::Disk;
use crate::disk::sim::OperationKind;
use crate::record::{BatchBuilder, BatchHeader, max_timestamp_offset, records, split_batches};
use crate::storage::log::Rolling;
use crate::storage::segment::Limit;
use crate::storage::simulated::{ID, SEGMENT_BYTES, Shard};
use crate::vocabulary::Offset;

const RULES: CompactionRules =
    CompactionRules { min_lag_ms: 0, max_lag_ms: i64::MAX, dirty_ratio_millionths: 100_000, delete_retention_ms: 0 };
const BOUNDS: CompactionBounds = CompactionBounds { key_map_bytes: 1 << 20, bytes_per_second: None };

impl Shard {
    fn compact_by(
        &self,
        rules: &CompactionRules,
        bounds: &CompactionBounds,
    ) -> Result<Option<Cleaning>, CompactionError> {
        self.executor.run_until(self.storage.compact(&self.log, rules, bounds, &Inline, || false))
    }

    fn compact(&self) -> Result<Option<Cleaning>, CompactionError> {
        self.compact_by(&RULES, &BOUNDS)
    }

    /// The offsets and keys from the start to the end.
    fn read(&self) -> Vec<(Offset, String)> {
        self.executor.run_until(async {
            let (mut found, mut offset) = (Vec::new(), self.log.start());
            while offset < self.log.durable().offset {
                let bytes = self.storage.read(&self.log, offset, 3000).await.unwrap().to_bytes();
                assert!(!bytes.is_empty(), "nothing at {offset}");
                for batch in split_batches(&bytes) {
                    let (header, batch) = batch.unwrap();
                    for record in records(&batch).unwrap().map(Result::unwrap) {
                        found.push((record.offset, String::from_utf8(record.key.unwrap().to_vec()).unwrap()));
                    }
                    offset = header.next_offset();
                }
            }
            found
        })
    }

    /// Updates of `keys` keys, `count` in all; about six of them fill a segment.
    fn update(&self, count: usize, keys: usize) {
        let names: Vec<String> = (0..count).map(|at| format!("k{}", at % keys)).collect();
        self.append(&names.iter().map(|name| (name.as_str(), Some(250), 1000)).collect::<Vec<_>>());
    }

    fn names(&self) -> Vec<String> {
        self.executor.run_until(self.disk.list(self.log.directory())).unwrap()
    }

    fn segment_bases(&self) -> Vec<Offset> {
        self.log.segments().iter().map(|segment| segment.base_offset()).collect()
    }
}

fn read_keys(read: &[(Offset, String)]) -> Vec<&str> {
    read.iter().map(|(_, key)| key.as_str()).collect()
}

#[test]
fn segments_are_merged_and_what_is_appended_to_is_left_alone() {
    let shard = Shard::new();
    shard.update(40, 3);
    assert_eq!(shard.segment_bases(), [0, 6, 12, 18, 24, 30, 36]);
    let cleaning = shard.compact().unwrap().unwrap();
    assert_eq!((cleaning.clean_to, cleaning.keys, cleaning.map_was_full), (36, 3, false));
    assert_eq!((cleaning.records_before, cleaning.records_after), (36, 3));
    assert_eq!((cleaning.segments_before, cleaning.segments_after), (6, 1));
    let expected: Vec<Offset> = (33..40).collect();
    assert_eq!(shard.read().iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), expected);
    assert_eq!(shard.compact().unwrap(), None, "nothing is left to be done");
    let counters = shard.storage.compaction_counters();
    assert_eq!((counters.cleanings, counters.failures), (1, 0));
    assert_eq!((counters.records_before, counters.records_after), (36, 3));
    // Each group becomes one segment, at the offset of its first.
    let logs = shard.names().iter().filter(|name| name.ends_with(".log")).count();
    assert_eq!(logs, shard.segment_bases().len());
}

#[test]
fn what_is_clean_is_known_after_a_restart_and_the_last_segment_is_cleaned_then() {
    let shard = Shard::new();
    shard.update(40, 3);
    shard.compact().unwrap().unwrap();
    let shard = shard.restart();
    // The last segment was appended to until the restart.
    let cleaning = shard.compact().unwrap().unwrap();
    assert_eq!((cleaning.clean_to, cleaning.records_before, cleaning.records_after), (40, 7, 3));
    let shard = shard.restart();
    assert_eq!(shard.compact().unwrap(), None);
    assert_eq!(shard.read().len(), 3);
    // Without the file it is found out again.
    shard.executor.run_until(shard.disk.remove(&shard.log.directory().join("clean-point"))).unwrap();
    let shard = shard.restart();
    let cleaning = shard.compact().unwrap().unwrap();
    assert_eq!((cleaning.clean_to, cleaning.records_before, cleaning.records_after), (40, 3, 3));
    shard.append(&[("k0", Some(1), 1)]);
    assert_eq!(read_keys(&shard.read()), ["k1", "k2", "k0", "k0"]);
}

#[test]
fn a_segment_that_nothing_more_comes_to_ends_by_its_age() {
    let shard = Shard::new();
    shard.log.set_rolling(Rolling { bytes: SEGMENT_BYTES, after_ms: Some(5000) });
    shard.update(4, 1);
    assert_eq!(shard.compact().unwrap(), None);
    shard.executor.run_for(Duration::from_millis(4000));
    assert_eq!(shard.compact().unwrap(), None);
    shard.executor.run_for(Duration::from_millis(1001));
    assert_eq!(shard.compact().unwrap().unwrap().records_after, 1);
    assert_eq!(shard.read(), [(3, "k0".into())]);
    shard.append(&[("k0", Some(1), 1)]);
    assert_eq!(shard.segment_bases(), [0, 4]);
    assert_eq!(shard.read().len(), 2);
}

#[test]
fn a_segment_may_end_before_it_is_durable() {
    let shard = Shard::new();
    shard.update(3, 1);
    let mut builder = BatchBuilder::new();
    builder.append(1000, Some(b"k0"), Some(b"last"), &[]);
    let batch = builder.build().unwrap();
    let header = BatchHeader::parse(&batch).unwrap();
    let appended = shard.storage.append(&shard.log, batch, &header, 0).unwrap();
    assert_eq!(shard.log.durable().offset, 3);
    shard.log.roll_if_older(shard.disk.monotonic(), Duration::ZERO);
    shard.executor.run_until(appended.commit.durable()).unwrap();
    assert_eq!(shard.compact().unwrap().unwrap().records_after, 1);
    assert_eq!(shard.read(), [(3, "k0".into())]);
    shard.append(&[("k1", Some(1), 1)]);
    assert_eq!(shard.read(), [(3, "k0".into()), (4, "k1".into())]);
}

#[test]
fn of_two_checkpoints_with_one_end_the_later_segment_counts() {
    let shard = Shard::new();
    shard.update(40, 3);
    // Both shards' checkpoints name the last segment, at its length; only this shard's is written again.
    let shard = shard.restart_with(2);
    assert_eq!(shard.compact().unwrap().unwrap().records_after, 3);
    let shard = shard.restart_with(2);
    assert_eq!(shard.read().len(), 3);
    shard.update(3, 3);
    let shard = shard.restart();
    assert_eq!(shard.read().len(), 6);
}

#[test]
fn a_cleaning_that_was_interrupted_is_not_done_for_ever() {
    let shard = Shard::new();
    let now = shard.disk.wall_clock_ms();
    let (old, young) = (now - 10_000_000, now);
    shard.append(&[("a", Some(250), old)]);
    shard.append(&[("b", Some(250), old); 5]);
    shard.append(&[("b", Some(250), young); 7]);
    let first = shard.log.segments()[0].len();
    let stop = || shard.log.segments()[0].len() < first;
    let cleaned = shard.executor.run_until(shard.storage.compact(&shard.log, &RULES, &BOUNDS, &Inline, stop));
    assert_eq!(cleaned.unwrap(), None);
    assert!(stop(), "the first segment has lost its last batch");
    // The second one, which was to be cleaned with it, now has to wait.
    let rules = CompactionRules { min_lag_ms: 1_000_000, dirty_ratio_millionths: 0, ..RULES };
    assert_eq!(shard.compact_by(&rules, &BOUNDS).unwrap().unwrap().clean_to, 6);
    assert_eq!(shard.compact_by(&rules, &BOUNDS).unwrap(), None);
    assert_eq!(shard.read().len(), 8);
}

#[test]
fn a_small_map_cleans_in_rounds() {
    let shard = Shard::new();
    shard.update(60, 20);
    let bounds = CompactionBounds { key_map_bytes: 24 * 10, ..BOUNDS };
    let mut reached = 0;
    while let Some(cleaning) =
        shard.compact_by(&CompactionRules { dirty_ratio_millionths: 0, ..RULES }, &bounds).unwrap()
    {
        assert!(cleaning.clean_to > reached && cleaning.keys <= 9);
        reached = cleaning.clean_to;
    }
    assert_eq!(reached, 54);
    let read = shard.read();
    assert_eq!(read.iter().filter(|(offset, _)| *offset < 54).count(), 20);
}

#[test]
fn the_largest_timestamp_is_that_of_a_record_that_is_there() {
    let shard = Shard::new();
    shard.append(&[("b", Some(1800), 10), ("a", Some(1800), 900), ("a", Some(1800), 20), ("c", Some(1800), 30)]);
    shard.append(&[("c", Some(1800), 40)]);
    // All of the second batch is gone then; the last cleaned one, at offset 3, stays without its record.
    let rules = CompactionRules { dirty_ratio_millionths: 0, ..RULES };
    shard.compact_by(&rules, &BOUNDS).unwrap().unwrap();
    let max = || {
        let batch = shard.executor.run_until(shard.log.batch_of_max_timestamp(&shard.disk)).unwrap().unwrap();
        max_timestamp_offset(&batch).unwrap()
    };
    assert_eq!(max(), Some((4, 40)));
    // An emptied batch keeps its max timestamp, which is then that of no record.
    let shard = Shard::new();
    shard.append(&[("b", Some(1800), 10), ("a", Some(1800), 900), ("a", Some(1800), 20)]);
    shard.compact_by(&rules, &BOUNDS).unwrap().unwrap();
    assert_eq!(
        shard.read().iter().map(|(offset, _)| *offset).collect::<Vec<_>>(),
        [0, 1, 2],
        "nothing is known of offset 2"
    );
    let shard = shard.restart();
    shard.compact_by(&rules, &BOUNDS).unwrap().unwrap();
    assert_eq!(shard.read().iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), [0, 2]);
    shard.append(&[("d", None, 5000)]);
    let shard = shard.restart();
    shard.executor.run_for(Duration::from_millis(10));
    shard.compact_by(&rules, &BOUNDS).unwrap();
    shard.append(&[("e", Some(1800), 30), ("e", Some(1800), 30)]);
    shard.compact_by(&rules, &BOUNDS).unwrap();
    assert_eq!(shard.read().iter().map(|(offset, _)| *offset).collect::<Vec<_>>(), [0, 2, 4, 5]);
    let batch = shard.executor.run_until(shard.log.batch_of_max_timestamp(&shard.disk)).unwrap().unwrap();
    assert_eq!(max_timestamp_offset(&batch).unwrap(), Some((4, 30)));
}

#[test]
fn who_reads_an_old_segment_reads_it_to_its_end() {
    for restarted in [false, true] {
        let mut shard = Shard::new();
        shard.append(&[("rare", Some(250), 1)]);
        shard.update(40, 3);
        if restarted {
            shard = shard.restart();
        }
        let all = shard.read();
        let old = shard.log.segments();
        let cleaning = shard.compact().unwrap().unwrap();
        assert!(cleaning.segments_after < cleaning.segments_before);
        let mut found = Vec::new();
        for segment in &old {
            let read = segment.read(
                &shard.disk,
                segment.base_offset(),
                1 << 20,
                Limit { position: segment.len(), offset: i64::MAX },
            );
            let bytes = shard.executor.run_until(read).unwrap().to_bytes();
            let headers = split_batches(&bytes).map(|batch| batch.unwrap().0.base_offset);
            found.extend(headers);
        }
        assert_eq!(found, all.iter().map(|(offset, _)| *offset).collect::<Vec<_>>());
    }
}

#[test]
fn the_rate_is_kept() {
    let shard = Shard::new();
    shard.update(40, 3);
    let bounds = CompactionBounds { bytes_per_second: Some(1000.0), ..BOUNDS };
    let cleaning = shard.compact_by(&RULES, &bounds).unwrap().unwrap();
    // All is read twice.
    let seconds = (2 * cleaning.bytes_before + cleaning.bytes_after) as f64 / 1000.0;
    assert!((seconds..seconds + 1.0).contains(&cleaning.duration.as_secs_f64()), "{seconds}: {cleaning:?}");
}

#[test]
fn a_full_disk_ends_a_cleaning_and_the_next_one_does_it() {
    let shard = Shard::new();
    shard.update(40, 3);
    let before = shard.read();
    shard.disk.inject(OperationKind::Write, ".cleaned", 0, libc::ENOSPC);
    let error = shard.compact().unwrap_err();
    assert!(matches!(&error, CompactionError::Disk(error) if error.is_full()), "{error}");
    // The first groups, of which nothing is left, were done before.
    assert!(before.ends_with(&shard.read()) && shard.read().len() >= 10);
    assert!(shard.names().iter().all(|name| !name.ends_with(".cleaned")));
    assert_eq!(shard.storage.compaction_counters().failures, 1);
    assert_eq!(shard.compact().unwrap().unwrap().records_after, 3);
    assert_eq!(shard.read().len(), 7);
}

#[test]
fn a_disk_that_fails_a_swap_ends_compaction_and_the_next_start_settles_it() {
    for (kind, path, skip) in [
        (OperationKind::Rename, ".cleaned", 0),
        (OperationKind::Rename, ".swap", 0),
        (OperationKind::Remove, "00000000000000000012.log", 0),
    ] {
        let shard = Shard::new();
        shard.update(40, 3);
        let all = shard.read();
        shard.disk.inject(kind, path, skip, libc::EIO);
        let error = shard.compact().unwrap_err();
        assert!(matches!(error, CompactionError::Unsettled(_)), "{path}: {error}");
        assert_eq!(shard.compact().unwrap(), None, "{path}: it is left alone");
        let last: Vec<_> = all[33..].to_vec();
        let holds_last = |read: &[(Offset, String)]| read.ends_with(&last) && read.iter().all(|one| all.contains(one));
        assert!(holds_last(&shard.read()), "{path}");
        shard.update(3, 3);
        let shard = shard.restart();
        let read = shard.read();
        assert!(read.windows(2).all(|pair| pair[0].0 < pair[1].0), "{path}: {read:?}");
        shard.compact_by(&CompactionRules { dirty_ratio_millionths: 0, ..RULES }, &BOUNDS).unwrap();
        assert_eq!(read_keys(&shard.read()), ["k0", "k1", "k2"], "{path}");
        let left_over = |name: &String| name.ends_with(".swap") || name.ends_with(".cleaned");
        assert!(!shard.names().iter().any(left_over), "{path}");
    }
}

#[test]
fn a_damaged_segment_is_told_and_left_alone() {
    let shard = Shard::new();
    shard.update(40, 3);
    let shard = shard.restart();
    shard.disk.flip_bit(&shard.log.directory().join("00000000000000000006.log"), 300, 3).unwrap();
    let error = shard.compact().unwrap_err().to_string();
    assert!(error.contains("00000000000000000006.log is damaged"), "{error}");
    assert_eq!(shard.compact().unwrap(), None);
}

#[test]
fn a_deletion_ends_a_cleaning() {
    let shard = Shard::new();
    shard.update(40, 3);
    let (storage, log) = (shard.storage.clone(), shard.log.clone());
    let compacting = shard.executor.spawn(async move {
        let bounds = CompactionBounds { bytes_per_second: Some(1000.0), ..BOUNDS };
        storage.compact(&log, &RULES, &bounds, &Inline, || false).await
    });
    shard.executor.run_for(Duration::from_secs(2));
    assert!(!compacting.is_finished());
    assert_eq!(shard.compact().unwrap(), None, "only one at a time");
    shard.executor.run_until(shard.storage.delete_log(ID)).unwrap();
    assert!(matches!(compacting.take(), Some(Ok(None))));
    assert!(shard.names().is_empty());
}
