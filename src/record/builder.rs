//! Builds record batches: for the broker's own records (group offsets, metadata), for compaction and for tests.

use std::io;

use bytes::Bytes;

use super::compression::compress;
use super::header::{
    Attributes, BATCH_HEADER_LEN, BATCH_OVERHEAD, BatchHeader, Compression, NO_PRODUCER_EPOCH, NO_PRODUCER_ID,
    NO_SEQUENCE, NO_TIMESTAMP, set_crc,
};
use super::varint::{varlong_len, write_varlong};
use crate::vocabulary::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

/// Why a batch cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// There is no record, and no last offset was kept.
    #[error("a record batch needs a record, or the last offset that it keeps")]
    Empty,
    /// The records do not fit the batch length's 31 bits.
    #[error("the records take {bytes} bytes; a batch has less than 2 GiB")]
    TooLarge {
        /// Bytes of the records, compressed or not.
        bytes: usize,
    },
    /// An offset is below the one before it, or not within 2³¹ of the base offset.
    #[error("offset {offset} cannot follow {after} in a batch of base offset {base_offset}")]
    BadOffset {
        /// The offset that does not fit.
        offset: Offset,
        /// The last one that does; one less than the base offset when there is none.
        after: Offset,
        /// The batch's base offset.
        base_offset: Offset,
    },
    /// The codec failed.
    #[error("the records cannot be compressed with {codec:?}: {source}")]
    Compress {
        /// The codec asked for.
        codec: Compression,
        /// What it reports.
        source: io::Error,
    },
}

/// Builds one batch: set its properties, append its records, then [`BatchBuilder::build`].
///
/// ```
/// use corelog::record::{BatchBuilder, Compression};
/// let mut builder = BatchBuilder::new().base_offset(40).compression(Compression::Lz4);
/// builder.append(1_700_000_000_000, Some(b"key"), Some(b"value"), &[("trace", Some(b"7"))]);
/// let batch = builder.build()?;
/// assert!(corelog::record::verify_crc(&batch));
/// # Ok::<(), corelog::record::BuildError>(())
/// ```
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    base_offset: Offset,
    leader_epoch: LeaderEpoch,
    compression: Compression,
    log_append_time: Option<TimestampMs>,
    transactional: bool,
    control: bool,
    producer_id: ProducerId,
    producer_epoch: ProducerEpoch,
    base_sequence: i32,
    kept_last_offset: Option<Offset>,
    base_timestamp: TimestampMs,
    max_timestamp: TimestampMs,
    last_offset_delta: i64,
    record_count: i32,
    records: Vec<u8>,
    bad_offset: Option<(Offset, Offset)>,
}

impl Default for BatchBuilder {
    fn default() -> BatchBuilder {
        BatchBuilder::new()
    }
}

impl BatchBuilder {
    /// An empty batch: base offset 0, leader epoch −1, CreateTime, not compressed, no idempotent producer.
    pub fn new() -> BatchBuilder {
        BatchBuilder {
            base_offset: 0,
            leader_epoch: -1,
            compression: Compression::None,
            log_append_time: None,
            transactional: false,
            control: false,
            producer_id: NO_PRODUCER_ID,
            producer_epoch: NO_PRODUCER_EPOCH,
            base_sequence: NO_SEQUENCE,
            kept_last_offset: None,
            base_timestamp: NO_TIMESTAMP,
            max_timestamp: NO_TIMESTAMP,
            last_offset_delta: -1,
            record_count: 0,
            records: Vec::new(),
            bad_offset: None,
        }
    }

    /// The offset of the first record. Set it before any [`BatchBuilder::append_at`].
    pub fn base_offset(mut self, base_offset: Offset) -> BatchBuilder {
        self.base_offset = base_offset;
        self
    }

    /// The epoch of the leader that appends the batch.
    pub fn leader_epoch(mut self, leader_epoch: LeaderEpoch) -> BatchBuilder {
        self.leader_epoch = leader_epoch;
        self
    }

    /// How the records are compressed.
    pub fn compression(mut self, compression: Compression) -> BatchBuilder {
        self.compression = compression;
        self
    }

    /// Makes the batch's timestamps LogAppendTime, this one for all records, milliseconds.
    pub fn log_append_time(mut self, timestamp: TimestampMs) -> BatchBuilder {
        self.log_append_time = Some(timestamp);
        self
    }

    /// The idempotent producer, its epoch and the sequence number of the first record (KIP-98).
    pub fn producer(mut self, id: ProducerId, epoch: ProducerEpoch, base_sequence: i32) -> BatchBuilder {
        (self.producer_id, self.producer_epoch, self.base_sequence) = (id, epoch, base_sequence);
        self
    }

    /// Whether the batch belongs to a transaction.
    pub fn transactional(mut self, transactional: bool) -> BatchBuilder {
        self.transactional = transactional;
        self
    }

    /// Whether the records are the broker's own marks.
    pub fn control(mut self, control: bool) -> BatchBuilder {
        self.control = control;
        self
    }

    /// The last offset that the batch covers, though its record be gone: what compaction keeps of a batch, so that the
    /// producer's last sequence number survives. Allows a batch without records.
    pub fn keep_last_offset(mut self, last_offset: Offset) -> BatchBuilder {
        self.kept_last_offset = Some(last_offset);
        self
    }

    /// Appends a record at the next offset. `timestamp` in milliseconds, −1 for none; headers are key and value.
    pub fn append(
        &mut self,
        timestamp: TimestampMs,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
    ) -> &mut BatchBuilder {
        self.append_delta(self.last_offset_delta + 1, timestamp, key, value, headers)
    }

    /// Appends a record at `offset`, behind the last one's; offsets may be left out, as in a compacted log.
    /// [`BatchBuilder::build`] fails when the offset does not fit.
    pub fn append_at(
        &mut self,
        offset: Offset,
        timestamp: TimestampMs,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
    ) -> &mut BatchBuilder {
        let delta = offset.wrapping_sub(self.base_offset);
        if delta <= self.last_offset_delta || delta > i64::from(i32::MAX) {
            self.bad_offset.get_or_insert((offset, self.base_offset.wrapping_add(self.last_offset_delta)));
        }
        self.append_delta(delta, timestamp, key, value, headers)
    }

    fn append_delta(
        &mut self,
        offset_delta: i64,
        timestamp: TimestampMs,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&str, Option<&[u8]>)],
    ) -> &mut BatchBuilder {
        if self.record_count == 0 {
            self.base_timestamp = timestamp;
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        self.last_offset_delta = offset_delta;
        self.record_count = self.record_count.saturating_add(1);
        // Wraps as Kafka's addition of base and delta does, so that the sum is right for any pair.
        let timestamp_delta = timestamp.wrapping_sub(self.base_timestamp);

        let mut length = 1 + varlong_len(timestamp_delta) + varlong_len(offset_delta);
        length += field_len(key) + field_len(value) + varlong_len(headers.len() as i64);
        for (name, value) in headers {
            length += field_len(Some(name.as_bytes())) + field_len(*value);
        }
        let out = &mut self.records;
        out.reserve(length + varlong_len(length as i64));
        write_varlong(out, length as i64);
        out.push(0);
        write_varlong(out, timestamp_delta);
        write_varlong(out, offset_delta);
        write_field(out, key);
        write_field(out, value);
        write_varlong(out, headers.len() as i64);
        for (name, value) in headers {
            write_field(out, Some(name.as_bytes()));
            write_field(out, *value);
        }
        self
    }

    /// How many records were appended.
    pub fn record_count(&self) -> usize {
        self.record_count as usize
    }

    /// Bytes of the batch if it were not compressed.
    pub fn uncompressed_len(&self) -> usize {
        BATCH_HEADER_LEN + self.records.len()
    }

    /// The batch, with its checksum.
    ///
    /// # Errors
    /// See [`BuildError`].
    pub fn build(self) -> Result<Bytes, BuildError> {
        const RECORDS_LEN_MAX: usize = i32::MAX as usize - (BATCH_HEADER_LEN - BATCH_OVERHEAD);
        let last_offset_delta = self.checked_last_offset_delta()?;
        if self.records.len() > RECORDS_LEN_MAX {
            return Err(BuildError::TooLarge { bytes: self.records.len() });
        }
        let records = match self.compression {
            Compression::None => self.records,
            // Kafka reads no records of an empty batch, so there is no block to decompress either.
            _ if self.record_count == 0 => Vec::new(),
            codec => compress(codec, &self.records).map_err(|source| BuildError::Compress { codec, source })?,
        };
        if records.len() > RECORDS_LEN_MAX {
            return Err(BuildError::TooLarge { bytes: records.len() });
        }
        let mut attributes = i16::from(self.compression.code());
        if self.log_append_time.is_some() {
            attributes |= Attributes::TIMESTAMP_TYPE;
        }
        if self.transactional {
            attributes |= Attributes::TRANSACTIONAL;
        }
        if self.control {
            attributes |= Attributes::CONTROL;
        }
        let header = BatchHeader {
            base_offset: self.base_offset,
            batch_length: (BATCH_HEADER_LEN - BATCH_OVERHEAD + records.len()) as i32,
            leader_epoch: self.leader_epoch,
            crc: 0,
            attributes: Attributes(attributes),
            last_offset_delta,
            base_timestamp: self.base_timestamp,
            max_timestamp: self.log_append_time.unwrap_or(self.max_timestamp),
            producer_id: self.producer_id,
            producer_epoch: self.producer_epoch,
            base_sequence: self.base_sequence,
            record_count: self.record_count,
        };
        let mut batch = Vec::with_capacity(header.total_len());
        let mut head = [0; BATCH_HEADER_LEN];
        header.write_to(&mut head);
        batch.extend_from_slice(&head);
        batch.extend_from_slice(&records);
        set_crc(&mut batch);
        Ok(batch.into())
    }

    fn checked_last_offset_delta(&self) -> Result<i32, BuildError> {
        let bad = |(offset, after)| BuildError::BadOffset { offset, after, base_offset: self.base_offset };
        if let Some(offsets) = self.bad_offset {
            return Err(bad(offsets));
        }
        let last_appended = self.base_offset.wrapping_add(self.last_offset_delta);
        let delta = match self.kept_last_offset {
            Some(kept) if kept < last_appended => return Err(bad((kept, last_appended))),
            Some(kept) => kept.wrapping_sub(self.base_offset),
            None if self.record_count == 0 => return Err(BuildError::Empty),
            None => self.last_offset_delta,
        };
        let last = self.base_offset.checked_add(delta).and_then(|last| last.checked_add(1));
        match i32::try_from(delta) {
            Ok(delta) if delta >= 0 && self.base_offset >= 0 && last.is_some() => Ok(delta),
            _ => Err(bad((self.base_offset.wrapping_add(delta), last_appended))),
        }
    }
}

fn field_len(field: Option<&[u8]>) -> usize {
    match field {
        Some(bytes) => varlong_len(bytes.len() as i64) + bytes.len(),
        None => 1,
    }
}

fn write_field(out: &mut Vec<u8>, field: Option<&[u8]>) {
    match field {
        Some(bytes) => {
            write_varlong(out, bytes.len() as i64);
            out.extend_from_slice(bytes);
        }
        None => write_varlong(out, -1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{TimestampType, verify_crc};

    #[test]
    fn the_header_tells_what_was_set() {
        let mut builder = BatchBuilder::new()
            .base_offset(100)
            .leader_epoch(4)
            .compression(Compression::Zstd)
            .producer(9, 2, 50)
            .transactional(true)
            .control(true)
            .log_append_time(77);
        builder.append(10, None, None, &[]).append(30, None, None, &[]).append(20, None, None, &[]);
        assert_eq!(builder.record_count(), 3);
        let batch = builder.build().unwrap();
        assert!(verify_crc(&batch));
        let header = BatchHeader::parse(&batch).unwrap();
        assert_eq!(header.total_len(), batch.len());
        assert_eq!((header.base_offset, header.last_offset(), header.leader_epoch), (100, 102, 4));
        assert_eq!((header.base_timestamp, header.max_timestamp), (10, 77));
        assert_eq!(header.timestamp_type(), TimestampType::LogAppendTime);
        assert_eq!((header.producer_id, header.producer_epoch, header.last_sequence()), (9, 2, 52));
        assert_eq!((header.compression().unwrap(), header.record_count), (Compression::Zstd, 3));
        assert!(header.is_transactional() && header.is_control());
    }

    #[test]
    fn a_record_has_the_bytes_of_the_specification() {
        let mut builder = BatchBuilder::new();
        builder.append(5, Some(b"k"), Some(b"hi"), &[("h", None)]);
        builder.append(4, None, Some(b""), &[]);
        assert_eq!(builder.uncompressed_len(), 61 + 13 + 7);
        let batch = builder.build().unwrap();
        let expected = [&[24, 0, 0, 0, 2, b'k', 4, b'h', b'i', 2, 2, b'h', 1][..], &[12, 0, 1, 2, 1, 0, 0]];
        assert_eq!(batch[BATCH_HEADER_LEN..], expected.concat());
    }

    #[test]
    fn offsets_may_leave_gaps_but_not_go_back() {
        let build = |offsets: &[Offset], kept: Option<Offset>| {
            let mut builder = BatchBuilder::new().base_offset(10);
            if let Some(kept) = kept {
                builder = builder.keep_last_offset(kept);
            }
            for &offset in offsets {
                builder.append_at(offset, 0, None, None, &[]);
            }
            builder.build().map(|batch| BatchHeader::parse(&batch).unwrap())
        };
        let header = build(&[10, 13], Some(20)).unwrap();
        assert_eq!((header.record_count, header.last_offset()), (2, 20));
        let header = build(&[], Some(12)).unwrap();
        assert_eq!((header.record_count, header.last_offset(), header.max_timestamp), (0, 12, NO_TIMESTAMP));
        assert!(matches!(build(&[], None), Err(BuildError::Empty)));
        for (offsets, kept) in [(&[9][..], None), (&[12, 12], None), (&[12, 11], None), (&[12], Some(11))] {
            assert!(matches!(build(offsets, kept), Err(BuildError::BadOffset { .. })), "{offsets:?} {kept:?}");
        }
        assert!(matches!(build(&[10 + (1 << 31)], None), Err(BuildError::BadOffset { .. })));
        let mut builder = BatchBuilder::new().base_offset(Offset::MAX);
        builder.append(0, None, None, &[]);
        assert!(matches!(builder.build(), Err(BuildError::BadOffset { .. })));
    }
}
