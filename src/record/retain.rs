//! A batch with some of its records: what compaction keeps of it.
//!
//! Base offset, last offset, producer and attributes stay, so that the batch covers the offsets that it covered; so do
//! the offsets, timestamps, keys, values and headers of the records that are kept. Record count, max timestamp and
//! checksum follow from them. A batch that keeps all of its records is not touched.
//!
//! The one thing that is added is the delete horizon (KIP-534): when a tombstone, a record without a value, is kept for
//! the first time, the batch gets the time from which on it may go. Kafka keeps it in the base timestamp and marks that
//! with a bit of the attributes; the records' timestamps are then counted from it, so that clients see no difference.

use std::ops::ControlFlow;

use bytes::Bytes;

use super::compression::compress;
use super::header::{
    Attributes, BATCH_HEADER_LEN, BATCH_OVERHEAD, BatchHeader, Compression, NO_TIMESTAMP, TimestampType, set_crc,
};
use super::records::{RecordError, records};
use super::varint::{varlong_len, write_varlong};
use super::walk::{RawRecord, read_record};
use crate::vocabulary::{Offset, TimestampMs};

/// A record as compaction looks at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyedRecord<'a> {
    /// Its offset.
    pub offset: Offset,
    /// Its key; `None` for a null.
    pub key: Option<&'a [u8]>,
    /// Whether it has a value. One without is a tombstone: it deletes its key.
    pub has_value: bool,
}

/// What becomes of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Retained {
    /// It stays as it is.
    Unchanged,
    /// No record of it is kept; see [`without_records`].
    Nothing,
    /// The batch to write in its place, and how many records it has.
    Changed(Bytes, u32),
}

/// Why a batch cannot be written again.
#[derive(Debug, thiserror::Error)]
pub enum RetainError {
    /// Its records cannot be read.
    #[error(transparent)]
    Read(#[from] RecordError),
    /// The codec failed.
    #[error("the records that are kept cannot be compressed with {codec:?}: {source}")]
    Compress {
        /// The batch's codec.
        codec: Compression,
        /// What it reports.
        source: std::io::Error,
    },
    /// The records that are kept, written anew, do not fit a batch.
    #[error("the records that are kept take {0} bytes; a batch has less than 2 GiB")]
    TooLarge(usize),
}

/// Shows the records of a whole batch, in order, until `visit` breaks.
///
/// # Errors
/// See [`RecordError`].
pub fn visit_keys(batch: &Bytes, mut visit: impl FnMut(KeyedRecord<'_>) -> ControlFlow<()>) -> Result<(), RecordError> {
    let (header, block) = records(batch)?.into_parts();
    each(&header, &block, |record, _| visit(keyed(&header, &block, record)))
}

/// The batch with the records for which `keep` holds. When one of them is a tombstone and the batch has no delete
/// horizon yet, it gets `horizon`, if that is given.
///
/// # Errors
/// See [`RetainError`].
pub fn retain_records(
    batch: &Bytes,
    horizon: Option<TimestampMs>,
    mut keep: impl FnMut(KeyedRecord<'_>) -> bool,
) -> Result<Retained, RetainError> {
    let (header, block) = records(batch)?.into_parts();
    let mut kept = Vec::new();
    let mut has_tombstone = false;
    let mut max_timestamp = NO_TIMESTAMP;
    each(&header, &block, |record, bytes| {
        let seen = keyed(&header, &block, record);
        if keep(seen) {
            has_tombstone |= !seen.has_value;
            max_timestamp = max_timestamp.max(header.base_timestamp.wrapping_add(record.timestamp_delta));
            kept.push((bytes, record.timestamp_delta));
        }
        ControlFlow::Continue(())
    })?;
    if kept.is_empty() {
        return Ok(Retained::Nothing);
    }
    let horizon = horizon.filter(|_| has_tombstone && header.delete_horizon_ms().is_none());
    if kept.len() == header.record_count as usize && horizon.is_none() {
        return Ok(Retained::Unchanged);
    }
    let mut out = Vec::new();
    for (range, timestamp_delta) in &kept {
        match horizon {
            None => out.extend_from_slice(&block[range.clone()]),
            Some(horizon) => {
                let timestamp = header.base_timestamp.wrapping_add(*timestamp_delta);
                copy_with_timestamp(&block[range.clone()], timestamp.wrapping_sub(horizon), &mut out);
            }
        }
    }
    let codec = header.compression().map_err(RecordError::from)?;
    let out = match codec {
        Compression::None => out,
        codec => compress(codec, &out).map_err(|source| RetainError::Compress { codec, source })?,
    };
    if out.len() > i32::MAX as usize - BATCH_HEADER_LEN {
        return Err(RetainError::TooLarge(out.len()));
    }
    let mut changed = BatchHeader {
        batch_length: (BATCH_HEADER_LEN - BATCH_OVERHEAD + out.len()) as i32,
        record_count: kept.len() as i32,
        ..header
    };
    if header.timestamp_type() == TimestampType::CreateTime {
        changed.max_timestamp = max_timestamp;
    }
    if let Some(horizon) = horizon {
        changed.attributes = Attributes(header.attributes.0 | Attributes::DELETE_HORIZON);
        changed.base_timestamp = horizon;
    }
    Ok(Retained::Changed(assemble(&changed, &out), kept.len() as u32))
}

/// A batch without its records: it says that its offsets were there. Its max timestamp stays, for retention by time.
pub fn without_records(header: &BatchHeader) -> Bytes {
    let kept = !(Attributes::COMPRESSION | Attributes::DELETE_HORIZON);
    let header = BatchHeader {
        batch_length: (BATCH_HEADER_LEN - BATCH_OVERHEAD) as i32,
        attributes: Attributes(header.attributes.0 & kept),
        base_timestamp: header.max_timestamp,
        record_count: 0,
        ..*header
    };
    assemble(&header, &[])
}

fn assemble(header: &BatchHeader, records: &[u8]) -> Bytes {
    let mut batch = Vec::with_capacity(header.total_len());
    let mut head = [0; BATCH_HEADER_LEN];
    header.write_to(&mut head);
    batch.extend_from_slice(&head);
    batch.extend_from_slice(records);
    set_crc(&mut batch);
    batch.into()
}

/// Shows each record, and where its bytes are in `block`.
fn each(
    header: &BatchHeader,
    block: &[u8],
    mut visit: impl FnMut(&RawRecord, std::ops::Range<usize>) -> ControlFlow<()>,
) -> Result<(), RecordError> {
    let mut at = 0;
    for index in 0..header.record_count as u32 {
        let (record, end) = read_record(block, at).map_err(|fault| RecordError::Malformed { index, fault })?;
        if visit(&record, at..end).is_break() {
            return Ok(());
        }
        at = end;
    }
    match block.len() - at {
        0 => Ok(()),
        bytes => Err(RecordError::SpareBytes { bytes }),
    }
}

fn keyed<'a>(header: &BatchHeader, block: &'a [u8], record: &RawRecord) -> KeyedRecord<'a> {
    KeyedRecord {
        offset: header.base_offset.wrapping_add(i64::from(record.offset_delta)),
        key: record.key.clone().map(|key| &block[key]),
        has_value: record.value.is_some(),
    }
}

/// Copies a record that was read before, with another timestamp delta.
fn copy_with_timestamp(record: &[u8], timestamp_delta: i64, out: &mut Vec<u8>) {
    // Length, attributes, timestamp delta, and the rest: only the length of the varints is of interest here.
    let varint_end = |at: usize| at + record[at..].iter().take_while(|&&byte| byte >= 0x80).count() + 1;
    let attributes_at = varint_end(0);
    let rest = &record[varint_end(attributes_at + 1)..];
    write_varlong(out, (1 + varlong_len(timestamp_delta) + rest.len()) as i64);
    out.push(record[attributes_at]);
    write_varlong(out, timestamp_delta);
    out.extend_from_slice(rest);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{BatchBuilder, Record, verify_crc};
    use proptest::prelude::*;

    const CODECS: [Compression; 5] =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

    fn read(batch: &Bytes) -> Vec<Record> {
        records(batch).unwrap().map(Result::unwrap).collect()
    }

    fn batch(codec: Compression) -> Bytes {
        let mut builder = BatchBuilder::new()
            .base_offset(100)
            .leader_epoch(3)
            .producer(9, 2, 50)
            .compression(codec)
            .transactional(true);
        builder.append(5000, Some(b"a"), Some(b"1"), &[("h", Some(b"x"))]).append(9000, Some(b"b"), None, &[]).append(
            7000,
            None,
            Some(b"3"),
            &[],
        );
        builder.build().unwrap()
    }

    #[test]
    fn what_is_kept_stays_as_it_was_and_where_it_was() {
        for codec in CODECS {
            let batch = batch(codec);
            let before = BatchHeader::parse(&batch).unwrap();
            let kept = retain_records(&batch, None, |record| record.offset != 101).unwrap();
            let Retained::Changed(kept, 2) = kept else { panic!("{codec:?}: {kept:?}") };
            assert!(verify_crc(&kept));
            let after = BatchHeader::parse(&kept).unwrap();
            let expected = BatchHeader {
                batch_length: after.batch_length,
                crc: after.crc,
                record_count: 2,
                max_timestamp: 7000,
                ..before
            };
            assert_eq!(after, expected, "{codec:?}");
            let mut records = read(&batch);
            records.remove(1);
            assert_eq!(read(&kept), records, "{codec:?}");
        }
    }

    #[test]
    fn a_tombstone_gets_its_horizon_once_and_no_timestamp_moves() {
        for codec in CODECS {
            let batch = batch(codec);
            let kept = retain_records(&batch, Some(1 << 41), |_| true).unwrap();
            let Retained::Changed(kept, 3) = kept else { panic!("{codec:?}: {kept:?}") };
            assert!(verify_crc(&kept));
            let header = BatchHeader::parse(&kept).unwrap();
            assert_eq!((header.delete_horizon_ms(), header.max_timestamp), (Some(1 << 41), 9000));
            assert_eq!(read(&kept), read(&batch), "{codec:?}");
            assert_eq!(retain_records(&kept, Some(7), |_| true).unwrap(), Retained::Unchanged);
        }
        // Without a tombstone there is none.
        let batch = batch(Compression::None);
        let kept = retain_records(&batch, Some(7), |record| record.has_value).unwrap();
        let Retained::Changed(kept, 2) = kept else { panic!("{kept:?}") };
        assert_eq!(BatchHeader::parse(&kept).unwrap().delete_horizon_ms(), None);
    }

    #[test]
    fn the_brokers_time_stays_that_of_all_records() {
        let mut builder = BatchBuilder::new().log_append_time(1234);
        builder.append(5, Some(b"a"), Some(b"1"), &[]).append(6, Some(b"b"), None, &[]);
        let batch = builder.build().unwrap();
        let Retained::Changed(kept, 1) = retain_records(&batch, Some(99), |record| record.offset == 1).unwrap() else {
            panic!("one record is kept")
        };
        assert_eq!(read(&kept).iter().map(|record| record.timestamp).collect::<Vec<_>>(), [1234]);
    }

    #[test]
    fn an_emptied_batch_covers_its_offsets() {
        for codec in CODECS {
            let batch = batch(codec);
            assert_eq!(retain_records(&batch, Some(7), |_| false).unwrap(), Retained::Nothing);
            let header = BatchHeader::parse(&batch).unwrap();
            let empty = without_records(&header);
            assert!(verify_crc(&empty) && empty.len() == BATCH_HEADER_LEN);
            let after = BatchHeader::parse(&empty).unwrap();
            assert_eq!((after.base_offset, after.last_offset(), after.record_count), (100, 102, 0));
            assert_eq!((after.max_timestamp, after.last_sequence()), (9000, 52));
            assert!(read(&empty).is_empty());
            assert_eq!(retain_records(&empty, None, |_| true).unwrap(), Retained::Nothing);
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn any_subset_reads_back(
            sent in prop::collection::vec((any::<i64>(), prop::option::of("[a-c]{0,3}"), prop::option::of(".{0,9}"), any::<bool>()), 1..20),
            codec in 0usize..5,
            horizon in prop::option::of(any::<i64>()),
        ) {
            let mut builder = BatchBuilder::new().base_offset(7).compression(CODECS[codec]);
            for (timestamp, key, value, _) in &sent {
                builder.append(*timestamp, key.as_deref().map(str::as_bytes), value.as_deref().map(str::as_bytes), &[]);
            }
            let batch = builder.build().unwrap();
            let mut seen = Vec::new();
            visit_keys(&batch, |record| {
                seen.push((record.offset, record.key.map(<[u8]>::to_vec), record.has_value));
                ControlFlow::Continue(())
            }).unwrap();
            let all = read(&batch);
            let expected: Vec<_> =
                all.iter().map(|record| (record.offset, record.key.as_deref().map(<[u8]>::to_vec), record.value.is_some())).collect();
            prop_assert_eq!(seen, expected);
            let keep = |offset: Offset| sent[(offset - 7) as usize].3;
            let expected: Vec<_> = all.into_iter().filter(|record| keep(record.offset)).collect();
            let found = match retain_records(&batch, horizon, |record| keep(record.offset)).unwrap() {
                Retained::Unchanged => read(&batch),
                Retained::Nothing => Vec::new(),
                Retained::Changed(kept, count) => {
                    prop_assert!(verify_crc(&kept));
                    let found = read(&kept);
                    prop_assert_eq!(found.len(), count as usize);
                    found
                }
            };
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn hostile_bytes_are_an_error(bytes in prop::collection::vec(any::<u8>(), 0..200), at: prop::sample::Index, noise in 1u8..) {
            let mut batch = batch(Compression::None).to_vec();
            let at = at.index(batch.len() - BATCH_HEADER_LEN) + BATCH_HEADER_LEN;
            batch[at] ^= noise;
            for input in [Bytes::from(batch), Bytes::from(bytes)] {
                // Whatever it gives, it gives it without a panic.
                let _given = retain_records(&input, Some(5), |record| record.offset % 2 == 0).is_ok();
            }
        }
    }
}
