//! What compaction does to record batches, as functions over bytes: the keys of a range go into the map, and a range is
//! written anew without what the map says is out of date.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::key_map::KeyMap;
use crate::record::{
    BatchError, BatchHeader, RecordError, RetainError, Retained, retain_records, split_batches, visit_keys,
    without_records,
};
use crate::vocabulary::{Offset, TimestampMs};

/// Why a range cannot be compacted.
#[derive(Debug, thiserror::Error)]
pub enum RewriteError {
    /// It is not whole batches.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// A batch's records cannot be read.
    #[error("the batch at offset {base_offset}: {source}")]
    Read {
        /// The batch.
        base_offset: Offset,
        /// Why.
        source: RecordError,
    },
    /// A batch cannot be written anew.
    #[error("the batch at offset {base_offset}: {source}")]
    Retain {
        /// The batch.
        base_offset: Offset,
        /// Why.
        source: RetainError,
    },
}

/// The keys of a part of the log, and where that part ends.
pub struct Keys {
    map: KeyMap,
    /// The map knows the records from here on.
    from: Offset,
    /// The map knows the records before this offset.
    end: Offset,
    full: bool,
}

impl Keys {
    /// No keys yet, of records from `from` on.
    pub fn new(map: KeyMap, from: Offset) -> Keys {
        Keys { map, from, end: from, full: false }
    }

    /// The offset up to which the keys are known.
    pub fn end(&self) -> Offset {
        self.end
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.map.len()
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    /// Whether a key had no room: what follows it is left for the next time.
    pub fn is_full(&self) -> bool {
        self.full
    }

    /// Takes in whole batches, in order. Stops at the first key that has no room.
    ///
    /// # Errors
    /// See [`RewriteError`].
    pub fn add(&mut self, batches: &Bytes) -> Result<(), RewriteError> {
        for batch in split_batches(batches) {
            let (header, batch) = batch?;
            if self.full {
                return Ok(());
            }
            // The broker's own marks have keys that are none.
            if !header.is_control() && header.next_offset() > self.from {
                let read = visit_keys(&batch, |record| {
                    if record.offset < self.from {
                        return ControlFlow::Continue(());
                    }
                    if record.key.is_some_and(|key| !self.map.put(key, record.offset)) {
                        self.full = true;
                        return ControlFlow::Break(());
                    }
                    self.end = record.offset + 1;
                    ControlFlow::Continue(())
                });
                read.map_err(|source| RewriteError::Read { base_offset: header.base_offset, source })?;
            }
            if !self.full {
                self.end = self.end.max(header.next_offset());
            }
        }
        Ok(())
    }
}

/// A batch of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its base offset.
    pub base_offset: Offset,
    /// Its bytes.
    pub len: u32,
    /// Its max timestamp, milliseconds.
    pub max_timestamp: TimestampMs,
}

/// A range as it is written anew.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewritten {
    /// The batches, back to back.
    pub bytes: Vec<u8>,
    /// What they are, in order.
    pub batches: Vec<Written>,
    /// Whether they differ from what was given.
    pub changed: bool,
    /// Records that were given.
    pub records_before: u64,
    /// Records that are kept.
    pub records_after: u64,
}

/// By what a range is written anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The time, milliseconds.
    pub now_ms: TimestampMs,
    /// How long a tombstone is kept after it was first cleaned (Kafka's `delete.retention.ms`).
    pub delete_retention_ms: i64,
    /// The base offset of the batch that stays though no record of it does: the last one of all that is compacted, so
    /// that a consumer behind the last record still finds its way to where the log goes on.
    pub kept_batch: Option<Offset>,
}

/// Writes whole batches anew. Of the records before [`Keys::end`] those stay that are their key's newest, unless they
/// are tombstones whose time is over; records without a key go. Everything from there on stays.
///
/// # Errors
/// See [`RewriteError`].
pub fn rewrite(keys: &Keys, batches: &Bytes, rules: Rules) -> Result<Rewritten, RewriteError> {
    let mut out = Rewritten::default();
    for batch in split_batches(batches) {
        let (header, batch) = batch?;
        let count = header.record_count as u64;
        out.records_before += count;
        let retained = if header.is_control() || header.base_offset >= keys.end {
            Retained::Unchanged
        } else {
            retain(keys, &header, &batch, rules)?
        };
        let written = match retained {
            Retained::Unchanged => {
                out.records_after += count;
                batch
            }
            Retained::Changed(kept, records) => {
                out.changed = true;
                out.records_after += u64::from(records);
                kept
            }
            Retained::Nothing if rules.kept_batch == Some(header.base_offset) => {
                let kept = without_records(&header);
                out.changed |= kept != batch;
                kept
            }
            Retained::Nothing => {
                out.changed = true;
                continue;
            }
        };
        let max_timestamp = BatchHeader::parse(&written)?.max_timestamp;
        out.batches.push(Written { base_offset: header.base_offset, len: written.len() as u32, max_timestamp });
        out.bytes.extend_from_slice(&written);
    }
    Ok(out)
}

fn retain(keys: &Keys, header: &BatchHeader, batch: &Bytes, rules: Rules) -> Result<Retained, RewriteError> {
    // A batch that is only in part below the end gets its horizon when all of it is: what its other tombstones delete is
    // not cleaned yet, and they are kept for so long from then on.
    let horizon = (header.next_offset() <= keys.end).then(|| rules.now_ms.saturating_add(rules.delete_retention_ms));
    let tombstones_stay = header.delete_horizon_ms().is_none_or(|horizon| rules.now_ms < horizon);
    let keep = |record: crate::record::KeyedRecord<'_>| {
        if record.offset >= keys.end {
            return true;
        }
        let Some(key) = record.key else { return false };
        let is_newest = keys.map.get(key).is_none_or(|newest| record.offset >= newest);
        is_newest && (record.has_value || tombstones_stay)
    };
    retain_records(batch, horizon, keep)
        .map_err(|source| RewriteError::Retain { base_offset: header.base_offset, source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{BatchBuilder, Compression, Record, records};
    use crate::storage::compaction::key_map::SLOT_BYTES;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    /// A record to be sent: key, and value unless it is a tombstone.
    type Sent = (Option<u8>, Option<u16>);

    fn build(base_offset: Offset, records: &[Sent], compression: Compression, control: bool) -> Vec<u8> {
        let mut builder = BatchBuilder::new().base_offset(base_offset).compression(compression).control(control);
        for (at, (key, value)) in records.iter().enumerate() {
            let (key, value) = (key.map(|key| [key]), value.map(u16::to_be_bytes));
            let timestamp = 1000 + base_offset + at as i64;
            builder.append(timestamp, key.as_ref().map(|key| &key[..]), value.as_ref().map(|value| &value[..]), &[]);
        }
        builder.build().unwrap().to_vec()
    }

    /// Batches back to back, and the offset behind them.
    fn build_all(batches: &[(Vec<Sent>, bool)]) -> (Bytes, Offset) {
        let (mut bytes, mut offset) = (Vec::new(), 0);
        for (records, compressed) in batches {
            let compression = if *compressed { Compression::Lz4 } else { Compression::None };
            bytes.extend(build(offset, records, compression, false));
            offset += records.len() as i64;
        }
        (bytes.into(), offset)
    }

    fn read(bytes: &Bytes) -> Vec<Record> {
        split_batches(bytes).flat_map(|batch| records(&batch.unwrap().1).unwrap()).map(Result::unwrap).collect()
    }

    fn keys_of(bytes: &Bytes, from: Offset, slots: usize) -> Keys {
        let mut keys = Keys::new(KeyMap::new(slots * SLOT_BYTES, u64::MAX), from);
        keys.add(bytes).unwrap();
        keys
    }

    const RULES: Rules = Rules { now_ms: 10_000, delete_retention_ms: 500, kept_batch: None };

    #[test]
    fn tombstones_stay_for_their_time_and_then_go() {
        let (bytes, end) = build_all(&[
            (vec![(Some(1), Some(1)), (Some(2), Some(2))], false),
            (vec![(Some(1), None)], true),
            (vec![(Some(3), Some(3))], false),
        ]);
        let keys = keys_of(&bytes, 0, 100);
        assert_eq!((keys.end(), keys.len()), (end, 3));
        let first = rewrite(&keys, &bytes, RULES).unwrap();
        assert_eq!((first.records_before, first.records_after, first.changed), (4, 3, true));
        let kept: Bytes = first.bytes.into();
        assert_eq!(read(&kept).iter().map(|record| record.offset).collect::<Vec<_>>(), [1, 2, 3]);
        for (now_ms, expected) in [(10_499, vec![1, 2, 3]), (10_500, vec![1, 3])] {
            let again = rewrite(&keys, &kept, Rules { now_ms, ..RULES }).unwrap();
            let again: Bytes = again.bytes.into();
            assert_eq!(read(&again).iter().map(|record| record.offset).collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_tombstones_time_begins_only_when_its_whole_batch_is_cleaned() {
        let (bytes, _) = build_all(&[(vec![(Some(1), Some(1)), (Some(2), None), (Some(3), Some(3))], false)]);
        let keys = keys_of(&bytes, 0, 3);
        assert_eq!((keys.end(), keys.is_full()), (2, true));
        assert!(!rewrite(&keys, &bytes, RULES).unwrap().changed);
        let keys = keys_of(&bytes, 0, 100);
        let written: Bytes = rewrite(&keys, &bytes, RULES).unwrap().bytes.into();
        assert_eq!(BatchHeader::parse(&written).unwrap().delete_horizon_ms(), Some(10_500));
    }

    #[test]
    fn control_batches_stay_and_their_keys_are_none() {
        let mut bytes = build(0, &[(Some(1), Some(1))], Compression::None, false);
        bytes.extend(build(1, &[(Some(1), Some(2))], Compression::None, true));
        let bytes: Bytes = bytes.into();
        let keys = keys_of(&bytes, 0, 100);
        assert_eq!((keys.end(), keys.len()), (2, 1));
        let rewritten = rewrite(&keys, &bytes, RULES).unwrap();
        assert_eq!((rewritten.changed, &rewritten.bytes[..]), (false, &bytes[..]));
    }

    #[test]
    fn the_last_batch_stays_empty() {
        let (bytes, _) = build_all(&[(vec![(None, Some(1))], false), (vec![(None, Some(2)), (None, None)], true)]);
        let keys = keys_of(&bytes, 0, 100);
        assert_eq!(rewrite(&keys, &bytes, RULES).unwrap().batches, []);
        let kept = rewrite(&keys, &bytes, Rules { kept_batch: Some(1), ..RULES }).unwrap();
        assert_eq!((kept.records_after, kept.batches.len()), (0, 1));
        let header = BatchHeader::parse(&kept.bytes).unwrap();
        assert_eq!((header.base_offset, header.last_offset(), header.record_count), (1, 2, 0));
        let again = rewrite(&keys, &kept.bytes.clone().into(), Rules { kept_batch: Some(1), ..RULES }).unwrap();
        assert!(!again.changed);
    }

    #[test]
    fn what_is_no_batch_is_an_error() {
        let bytes = Bytes::from_static(&[1; 100]);
        assert!(Keys::new(KeyMap::new(1000, 10), 0).add(&bytes).is_err());
        assert!(rewrite(&keys_of(&Bytes::new(), 0, 9), &bytes, RULES).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

        /// Rounds of compaction with a table that is too small for all keys, each from where the last one ended: what is
        /// left is the last record of each key, as it was, in order, at its offset.
        #[test]
        fn compaction_leaves_the_last_record_of_each_key(
            batches in prop::collection::vec((prop::collection::vec((prop::option::weighted(0.95, 0..12u8), prop::option::weighted(0.8, any::<u16>())), 1..6), any::<bool>()), 1..25),
            slots in 2usize..20,
            cut: prop::sample::Index,
        ) {
            let (bytes, end) = build_all(&batches);
            let original = read(&bytes);
            let mut newest: BTreeMap<&[u8], Offset> = BTreeMap::new();
            for record in &original {
                if let Some(key) = &record.key {
                    newest.insert(key, record.offset);
                }
            }
            // The log is given in two pieces, as it is read.
            let cut = original[cut.index(original.len())].offset;
            let (mut log, mut from, mut rounds) = (bytes.clone(), 0, 0);
            while from < end {
                let mut keys = Keys::new(KeyMap::new(slots * SLOT_BYTES, u64::MAX), from);
                let split: usize = split_batches(&log)
                    .map(Result::unwrap)
                    .take_while(|(header, _)| header.next_offset() <= cut)
                    .map(|(_, batch)| batch.len())
                    .sum();
                let pieces = [log.slice(..split), log.slice(split..)];
                let mut written = Vec::new();
                for piece in &pieces {
                    keys.add(piece).unwrap();
                }
                prop_assert!(keys.end() > from, "each round gets on");
                for piece in &pieces {
                    let rewritten = rewrite(&keys, piece, RULES).unwrap();
                    prop_assert_eq!(rewritten.changed, rewritten.bytes != piece[..]);
                    prop_assert_eq!(rewritten.bytes.len(), rewritten.batches.iter().map(|batch| batch.len as usize).sum::<usize>());
                    written.extend(rewritten.bytes);
                }
                log = written.into();
                // At no time is the last record of a key gone, or anything there twice.
                let left = read(&log);
                prop_assert!(left.windows(2).all(|pair| pair[0].offset < pair[1].offset));
                for (&key, &offset) in &newest {
                    prop_assert!(left.iter().any(|record| record.offset == offset && record.key.as_deref() == Some(key)));
                }
                from = keys.end().max(from);
                rounds += 1;
                prop_assert!(rounds <= end);
                if !keys.is_full() {
                    break;
                }
            }
            let is_newest = |record: &&Record| record.key.as_ref().is_some_and(|key| newest[&key[..]] == record.offset);
            let expected: Vec<Record> = original.iter().filter(is_newest).cloned().collect();
            prop_assert_eq!(read(&log), expected);
        }
    }
}
