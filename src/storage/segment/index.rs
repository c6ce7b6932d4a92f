//! The sparse index of one segment: from an offset or a timestamp to a place in the file.
//!
//! In memory it is a sorted list with an entry for about every [`INTERVAL_BYTES`] of batches. A sealed segment has it
//! in `<base offset>.index` beside the `.log`. It is derived data: when the file is missing, damaged or of an unknown
//! version, the segment is read to make it anew.
//!
//! | `.index` file | bytes | |
//! | --- | --- | --- |
//! | magic | 8 | [`MAGIC`] |
//! | version | 2 | [`VERSION`] |
//! | reserved | 2 | zero |
//! | entry count | 4 | |
//! | base offset | 8 | of the segment |
//! | covered length | 8 | bytes of the `.log` that the index knows |
//! | max timestamp | 8 | of all covered batches, −1 for none |
//! | its base offset | 8 | of the first batch that has the max timestamp |
//! | entries | 16 each | offset − base offset (4), position (4), max timestamp of all batches before it (8) |
//! | crc32c | 4 | over everything before it |

use bytes::{Buf, BufMut};

use crate::vocabulary::{Offset, TimestampMs};

/// The first bytes of an index file.
pub const MAGIC: [u8; 8] = *b"corelogI";
/// The version of this format.
pub const VERSION: u16 = 1;
/// An entry is made when at least this many bytes lie behind the last one (Kafka's `index.interval.bytes` default).
pub const INTERVAL_BYTES: u32 = 4096;

/// Bytes before the entries.
pub const HEADER_LEN: usize = 48;
/// Bytes of an entry.
pub const ENTRY_LEN: usize = 16;

/// Where a batch starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IndexEntry {
    /// The batch's base offset less the segment's.
    pub relative_offset: u32,
    /// The batch's position in the file.
    pub position: u32,
    /// The largest timestamp of all earlier batches of the segment, −1 for none.
    pub max_timestamp_before: TimestampMs,
}

/// The index of one segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Index {
    base_offset: Offset,
    entries: Vec<IndexEntry>,
    covered: u32,
    max_timestamp: TimestampMs,
    max_timestamp_batch: Offset,
}

impl Index {
    /// The index of an empty segment.
    pub fn new(base_offset: Offset) -> Index {
        Index { base_offset, entries: Vec::new(), covered: 0, max_timestamp: -1, max_timestamp_batch: base_offset }
    }

    /// Takes in the batch that lies behind all earlier ones.
    pub fn add(&mut self, batch_base: Offset, len: u32, max_timestamp: TimestampMs) {
        let due = self.entries.last().is_none_or(|last| self.covered - last.position >= INTERVAL_BYTES);
        if due {
            self.entries.push(IndexEntry {
                relative_offset: (batch_base - self.base_offset) as u32,
                position: self.covered,
                max_timestamp_before: self.max_timestamp,
            });
        }
        self.covered += len;
        if max_timestamp > self.max_timestamp {
            self.max_timestamp = max_timestamp;
            self.max_timestamp_batch = batch_base;
        }
    }

    /// Bytes of the segment that the index knows.
    pub fn covered(&self) -> u32 {
        self.covered
    }

    /// The segment's base offset.
    pub fn base_offset(&self) -> Offset {
        self.base_offset
    }

    /// The entries, in the order of their positions.
    pub fn entries(&self) -> &[IndexEntry] {
        &self.entries
    }

    /// The largest timestamp, and the base offset of the first batch that has it; `None` when no batch has one.
    pub fn max_timestamp(&self) -> Option<(TimestampMs, Offset)> {
        (self.max_timestamp >= 0).then_some((self.max_timestamp, self.max_timestamp_batch))
    }

    /// A batch start at or before the batch that holds `offset`.
    pub fn position_before_offset(&self, offset: Offset) -> u32 {
        let after = self.entries.partition_point(|entry| self.base_offset + i64::from(entry.relative_offset) <= offset);
        after.checked_sub(1).map_or(0, |at| self.entries[at].position)
    }

    /// A batch start at or before the first batch whose max timestamp is at least `timestamp`.
    pub fn position_before_timestamp(&self, timestamp: TimestampMs) -> u32 {
        let after = self.entries.partition_point(|entry| entry.max_timestamp_before < timestamp);
        after.checked_sub(1).map_or(0, |at| self.entries[at].position)
    }

    /// The base offset of the batch that starts at `position`, if the index knows it.
    pub fn offset_at(&self, position: u32) -> Option<Offset> {
        let at = self.entries.binary_search_by_key(&position, |entry| entry.position).ok()?;
        Some(self.base_offset + i64::from(self.entries[at].relative_offset))
    }

    /// The last known batch start at or before `position`.
    pub fn boundary_before(&self, position: u32) -> u32 {
        let after = self.entries.partition_point(|entry| entry.position <= position);
        after.checked_sub(1).map_or(0, |at| self.entries[at].position)
    }

    /// The index as a file.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(HEADER_LEN + self.entries.len() * ENTRY_LEN + 4);
        out.put_slice(&MAGIC);
        out.put_u16(VERSION);
        out.put_u16(0);
        out.put_u32(self.entries.len() as u32);
        out.put_i64(self.base_offset);
        out.put_u64(u64::from(self.covered));
        out.put_i64(self.max_timestamp);
        out.put_i64(self.max_timestamp_batch);
        for entry in &self.entries {
            out.put_u32(entry.relative_offset);
            out.put_u32(entry.position);
            out.put_i64(entry.max_timestamp_before);
        }
        let crc = crc32c::crc32c(&out);
        out.put_u32(crc);
        out
    }

    /// Reads [`Index::encode`]'s bytes, which zeros may follow; `None` when they are not a whole index of that segment.
    pub fn decode(bytes: &[u8], base_offset: Offset) -> Option<Index> {
        let mut rest = bytes.strip_prefix(&MAGIC)?;
        if rest.len() < HEADER_LEN - MAGIC.len() || rest.get_u16() != VERSION {
            return None;
        }
        rest.advance(2);
        let count = rest.get_u32() as usize;
        let end = HEADER_LEN + count.checked_mul(ENTRY_LEN)?;
        let crc = bytes.get(end..end + 4)?;
        if crc != crc32c::crc32c(&bytes[..end]).to_be_bytes() || rest.get_i64() != base_offset {
            return None;
        }
        let covered = u32::try_from(rest.get_u64()).ok()?;
        let (max_timestamp, max_timestamp_batch) = (rest.get_i64(), rest.get_i64());
        let entries = (0..count)
            .map(|_| IndexEntry {
                relative_offset: rest.get_u32(),
                position: rest.get_u32(),
                max_timestamp_before: rest.get_i64(),
            })
            .collect();
        Some(Index { base_offset, entries, covered, max_timestamp, max_timestamp_batch })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn lookups_land_at_or_before_the_batch_and_not_far_before(
            batches in prop::collection::vec((1..20i64, 61..9000u32, -1..1000i64), 1..60),
            offset: prop::sample::Index,
            time in -1..1000i64,
        ) {
            let base = 1000;
            let mut index = Index::new(base);
            let (mut next, mut position) = (base, 0);
            let mut starts = Vec::new();
            for &(records, len, timestamp) in &batches {
                index.add(next, len, timestamp);
                starts.push((next, position, timestamp));
                next += records;
                position += len;
            }
            let offset = base + offset.index((next - base) as usize) as i64;
            let holder = starts.iter().rposition(|&(start, ..)| start <= offset).unwrap();
            let found = index.position_before_offset(offset);
            prop_assert!(starts.iter().any(|&(_, at, _)| at == found));
            prop_assert!(found <= starts[holder].1 && starts[holder].1 - found < INTERVAL_BYTES + 9000);
            if let Some(first) = starts.iter().position(|&(.., timestamp)| timestamp >= time) {
                prop_assert!(index.position_before_timestamp(time) <= starts[first].1);
            }
            let max = batches.iter().map(|batch| batch.2).max().unwrap();
            let first_max = starts.iter().find(|start| start.2 == max).unwrap().0;
            prop_assert_eq!(index.max_timestamp(), (max >= 0).then_some((max, first_max)));
            prop_assert_eq!(index.covered(), position);

            let mut bytes = index.encode();
            bytes.resize(bytes.len().next_multiple_of(4096), 0);
            prop_assert_eq!(Index::decode(&bytes, base), Some(index));
        }

        #[test]
        fn a_damaged_index_is_not_read(bit in 0..8 * (HEADER_LEN + 2 * ENTRY_LEN + 4)) {
            let mut index = Index::new(5);
            index.add(5, 5000, 1);
            index.add(7, 5000, 2);
            let mut bytes = index.encode();
            prop_assert!(Index::decode(&bytes, 6).is_none());
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Index::decode(&bytes, 5).is_none());
        }
    }
}
