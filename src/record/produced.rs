//! What a broker checks of a batch that a client produced, before it appends it: Kafka 4's rules (its `ProduceRequest`,
//! `UnifiedLog` and `LogValidator`).
//!
//! The first half, [`validate_produced`], is on the path of every append: it copies nothing but what it must patch. The
//! second, [`check_compressed`], decompresses, so it belongs off the shard.
//!
//! Stricter than Kafka: records' offset deltas must run from 0 without a gap, where Kafka would rewrite the batch; bytes
//! behind the batch are refused instead of cut off; an idempotent or transactional batch must name its producer in full;
//! the LogAppendTime flag is never taken from a producer; what a batch decompresses to has a limit.

use bytes::Bytes;

use super::compression::{DECOMPRESSED_BYTES_MAX, DecompressError, decompress};
use super::header::{
    BATCH_HEADER_LEN, BatchError, BatchHeader, Compression, NO_TIMESTAMP, TimestampType, set_timestamps, verify_crc,
};
use super::walk::{RecordFault, read_record};
use crate::vocabulary::{Offset, ProducerEpoch, ProducerId, TimestampMs};

/// The topic's settings that a produced batch is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProduceRules {
    /// `max.message.bytes`: most bytes of a whole batch, as it is sent.
    pub max_message_bytes: usize,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`: how far behind the broker's clock a CreateTime may be,
    /// milliseconds, at least 0.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`: how far ahead of the broker's clock a CreateTime may be,
    /// milliseconds, at least 0.
    pub timestamp_after_max_ms: i64,
    /// Whether `cleanup.policy` has `compact`, so that a record without a key could never be cleaned.
    pub keys_required: bool,
}

impl ProduceRules {
    /// The earliest and latest timestamp to take, both included. None is too early or late with LogAppendTime.
    fn timestamp_range(&self, now_ms: TimestampMs) -> (TimestampMs, TimestampMs) {
        match self.timestamp_type {
            TimestampType::CreateTime => (
                now_ms.saturating_sub(self.timestamp_before_max_ms),
                now_ms.saturating_add(self.timestamp_after_max_ms),
            ),
            TimestampType::LogAppendTime => (TimestampMs::MIN, TimestampMs::MAX),
        }
    }
}

/// A produced batch that may be appended once its records are checked.
#[derive(Clone, Debug)]
pub struct ProducedBatch {
    /// The header of `bytes`, base offset 0: the log gives the batch its place.
    pub header: BatchHeader,
    /// The whole batch. The client's own bytes, unless its timestamps had to be set.
    pub bytes: Bytes,
    /// Whether the records were looked at; `false` for a compressed batch before [`check_compressed`].
    pub records_checked: bool,
}

/// Why a produced batch is refused.
#[derive(Debug, thiserror::Error)]
pub enum ProduceError {
    /// There are no bytes at all. INVALID_RECORD.
    #[error("a produce request needs a record batch for each partition; this one is empty")]
    NoBatch,
    /// A message format older than v2, which Produce version 3 and above do not carry. INVALID_RECORD.
    #[error("the records have magic {0}; a produce request of version 3 or above takes only magic 2")]
    OldMagic(u8),
    /// Another whole batch follows the first. INVALID_RECORD.
    #[error("a produce request takes exactly one record batch for each partition; more follow")]
    MoreThanOneBatch,
    /// The header's magic or lengths cannot be, or the batch is not whole. CORRUPT_MESSAGE.
    #[error(transparent)]
    Corrupt(BatchError),
    /// Bytes that are no batch follow the batch. CORRUPT_MESSAGE.
    #[error("{0} bytes that are no record batch follow the batch")]
    TrailingBytes(usize),
    /// The checksum does not match the bytes. CORRUPT_MESSAGE.
    #[error("the record batch does not match its crc {stored:#010x}: it was damaged on the way")]
    BadCrc {
        /// The checksum in the header.
        stored: u32,
    },
    /// The batch is larger than the topic takes. MESSAGE_TOO_LARGE.
    #[error("the record batch has {bytes} bytes; max.message.bytes is {bytes_max}")]
    TooLarge {
        /// Bytes of the batch.
        bytes: usize,
        /// `max.message.bytes`.
        bytes_max: usize,
    },
    /// The records are larger than [`DECOMPRESSED_BYTES_MAX`] when decompressed. MESSAGE_TOO_LARGE.
    #[error("the record batch has more than {bytes_max} bytes when decompressed; send smaller batches")]
    DecompressedTooLarge {
        /// [`DECOMPRESSED_BYTES_MAX`].
        bytes_max: usize,
    },
    /// The attributes name a codec that Kafka does not have. UNSUPPORTED_COMPRESSION_TYPE.
    #[error("the record batch has compression {0}; Kafka has 0 to 4")]
    UnknownCompression(u8),
    /// The records are not what their codec writes, under a right checksum: sending them again cannot help.
    /// INVALID_RECORD.
    #[error(transparent)]
    Undecompressable(DecompressError),
    /// The base offset is not 0. INVALID_RECORD.
    #[error("a produced record batch has base offset 0; this one has {0}")]
    BaseOffset(Offset),
    /// The record count is not positive, or not that of the offsets. INVALID_RECORD.
    #[error("the record batch tells of {record_count} records and of last offset delta {last_offset_delta}")]
    Count {
        /// As in the header.
        record_count: i32,
        /// As in the header.
        last_offset_delta: i32,
    },
    /// Control batches are the broker's own. INVALID_RECORD.
    #[error("clients may not write control batches")]
    ControlBatch,
    /// A producer id comes with an epoch and a sequence number of at least 0, and a transaction with a producer id
    /// (KIP-98). INVALID_RECORD.
    #[error(
        "the record batch has producer id {producer_id}, epoch {producer_epoch} and sequence {base_sequence}: \
         an idempotent or transactional batch needs all three"
    )]
    Producer {
        /// As in the header.
        producer_id: ProducerId,
        /// As in the header.
        producer_epoch: ProducerEpoch,
        /// As in the header.
        base_sequence: i32,
    },
    /// Only the broker sets LogAppendTime. INVALID_TIMESTAMP.
    #[error("producers may not set the timestamp type to LogAppendTime")]
    TimestampType,
    /// A timestamp is too far from the broker's clock. INVALID_TIMESTAMP.
    #[error("timestamp {timestamp} is outside of {earliest} to {latest}, which the topic takes")]
    Timestamp {
        /// The record's place in the batch, from 0; `None` when the header's own max timestamp is outside.
        index: Option<u32>,
        /// The timestamp, milliseconds.
        timestamp: TimestampMs,
        /// The earliest that is taken.
        earliest: TimestampMs,
        /// The latest that is taken.
        latest: TimestampMs,
    },
    /// A compacted topic needs keys. INVALID_RECORD.
    #[error("record {index} of the batch has no key; a compacted topic needs one")]
    MissingKey {
        /// The record's place in the batch, from 0.
        index: u32,
    },
    /// The offset deltas do not run from 0 by one. INVALID_RECORD.
    #[error("record {index} of the batch has offset delta {offset_delta}")]
    OffsetDelta {
        /// The record's place in the batch, from 0, which the delta must be.
        index: u32,
        /// The delta that it has.
        offset_delta: i32,
    },
    /// A record's bytes are wrong, or there are fewer records than the header tells of. INVALID_RECORD.
    #[error("record {index} of the batch is malformed: {fault}")]
    Malformed {
        /// The record's place in the batch, from 0.
        index: u32,
        /// What is wrong.
        fault: RecordFault,
    },
    /// Bytes follow the last record that the header tells of. INVALID_RECORD.
    #[error("{bytes} bytes follow the batch's last record")]
    SpareBytes {
        /// How many.
        bytes: usize,
    },
}

impl ProduceError {
    /// Kafka's number of the error that the client is told, as each variant's description names it.
    pub fn kafka_code(&self) -> i16 {
        const CORRUPT_MESSAGE: i16 = 2;
        const MESSAGE_TOO_LARGE: i16 = 10;
        const INVALID_TIMESTAMP: i16 = 32;
        const UNSUPPORTED_COMPRESSION_TYPE: i16 = 76;
        const INVALID_RECORD: i16 = 87;
        match self {
            ProduceError::Corrupt(_) | ProduceError::TrailingBytes(_) | ProduceError::BadCrc { .. } => CORRUPT_MESSAGE,
            ProduceError::TooLarge { .. } | ProduceError::DecompressedTooLarge { .. } => MESSAGE_TOO_LARGE,
            ProduceError::TimestampType | ProduceError::Timestamp { .. } => INVALID_TIMESTAMP,
            ProduceError::UnknownCompression(_) => UNSUPPORTED_COMPRESSION_TYPE,
            ProduceError::NoBatch
            | ProduceError::OldMagic(_)
            | ProduceError::MoreThanOneBatch
            | ProduceError::Undecompressable(_)
            | ProduceError::BaseOffset(_)
            | ProduceError::Count { .. }
            | ProduceError::ControlBatch
            | ProduceError::Producer { .. }
            | ProduceError::MissingKey { .. }
            | ProduceError::OffsetDelta { .. }
            | ProduceError::Malformed { .. }
            | ProduceError::SpareBytes { .. } => INVALID_RECORD,
        }
    }

    /// The place in the batch, from 0, of the record that is to blame: a produce response's `batch_index` (KIP-467).
    pub fn record_index(&self) -> Option<u32> {
        match *self {
            ProduceError::Timestamp { index, .. } => index,
            ProduceError::MissingKey { index }
            | ProduceError::OffsetDelta { index, .. }
            | ProduceError::Malformed { index, .. } => Some(index),
            _ => None,
        }
    }
}

impl From<BatchError> for ProduceError {
    fn from(error: BatchError) -> ProduceError {
        match error {
            BatchError::UnsupportedMagic(magic @ 0..=1) => ProduceError::OldMagic(magic),
            BatchError::BadCount(record_count) => ProduceError::Count { record_count, last_offset_delta: 0 },
            BatchError::BadOffsets { base_offset, .. } if base_offset != 0 => ProduceError::BaseOffset(base_offset),
            BatchError::BadOffsets { last_offset_delta, .. } => {
                ProduceError::Count { record_count: 0, last_offset_delta }
            }
            BatchError::UnknownCompression(codec) => ProduceError::UnknownCompression(codec),
            BatchError::CutShort { .. } | BatchError::BadLength(_) | BatchError::UnsupportedMagic(_) => {
                ProduceError::Corrupt(error)
            }
        }
    }
}

/// Checks what a client produced for one partition: exactly one whole v2 batch that keeps the rules. The records of an
/// uncompressed batch are walked; those of a compressed one are left to [`check_compressed`], which must follow.
///
/// With LogAppendTime the batch gets `now_ms` as its timestamp, in a copy under a fresh checksum. So does an
/// uncompressed batch whose max timestamp is not that of its records: indexes and retention rely on it.
///
/// # Errors
/// See [`ProduceError`]; the first rule broken, in Kafka's order.
pub fn validate_produced(
    records: &Bytes,
    rules: &ProduceRules,
    now_ms: TimestampMs,
) -> Result<ProducedBatch, ProduceError> {
    if records.is_empty() {
        return Err(ProduceError::NoBatch);
    }
    let header = BatchHeader::parse(records)?;
    check_extent(records, &header)?;
    if header.base_offset != 0 {
        return Err(ProduceError::BaseOffset(header.base_offset));
    }
    if records.len() > rules.max_message_bytes {
        return Err(ProduceError::TooLarge { bytes: records.len(), bytes_max: rules.max_message_bytes });
    }
    if !verify_crc(records) {
        return Err(ProduceError::BadCrc { stored: header.crc });
    }
    check_header(&header)?;
    let compression = header.compression()?;
    let mut batch = ProducedBatch { header, bytes: records.clone(), records_checked: compression == Compression::None };
    if batch.records_checked {
        let max_timestamp = walk_records(&records[BATCH_HEADER_LEN..], &header, rules, now_ms)?;
        batch.settle_timestamps(rules, now_ms, max_timestamp);
    } else {
        let (earliest, latest) = rules.timestamp_range(now_ms);
        let timestamp = header.max_timestamp;
        if timestamp != NO_TIMESTAMP && !(earliest..=latest).contains(&timestamp) {
            return Err(ProduceError::Timestamp { index: None, timestamp, earliest, latest });
        }
        batch.settle_timestamps(rules, now_ms, header.max_timestamp);
    }
    Ok(batch)
}

/// Checks the records of a batch that [`validate_produced`] gave, with the same rules and time: decompresses them, to
/// at most [`DECOMPRESSED_BYTES_MAX`] bytes, and walks them. Gives the batch to append, whose max timestamp is right.
/// A batch whose records are checked already is given back as it is.
///
/// This takes as long as decompressing does, milliseconds for a large batch: call it off the shard.
///
/// # Errors
/// [`ProduceError::DecompressedTooLarge`], [`ProduceError::Undecompressable`], and what is wrong with a record.
pub fn check_compressed(
    batch: &ProducedBatch,
    rules: &ProduceRules,
    now_ms: TimestampMs,
) -> Result<ProducedBatch, ProduceError> {
    check_compressed_within(batch, rules, now_ms, DECOMPRESSED_BYTES_MAX)
}

fn check_compressed_within(
    batch: &ProducedBatch,
    rules: &ProduceRules,
    now_ms: TimestampMs,
    bytes_max: usize,
) -> Result<ProducedBatch, ProduceError> {
    let mut batch = batch.clone();
    if batch.records_checked {
        return Ok(batch);
    }
    let codec = batch.header.compression()?;
    let records = decompress(codec, &batch.bytes[BATCH_HEADER_LEN..], bytes_max).map_err(|error| match error {
        DecompressError::TooLarge { bytes_max } => ProduceError::DecompressedTooLarge { bytes_max },
        DecompressError::Malformed { .. } => ProduceError::Undecompressable(error),
    })?;
    let max_timestamp = walk_records(&records, &batch.header, rules, now_ms)?;
    if rules.timestamp_type == TimestampType::CreateTime {
        batch.settle_timestamps(rules, now_ms, max_timestamp);
    }
    batch.records_checked = true;
    Ok(batch)
}

impl ProducedBatch {
    /// Brings the header's timestamp type and max timestamp to what they must be, in a copy if they are not.
    fn settle_timestamps(&mut self, rules: &ProduceRules, now_ms: TimestampMs, records_max: TimestampMs) {
        let max_timestamp = match rules.timestamp_type {
            TimestampType::CreateTime => records_max,
            TimestampType::LogAppendTime => now_ms,
        };
        if (self.header.timestamp_type(), self.header.max_timestamp) == (rules.timestamp_type, max_timestamp) {
            return;
        }
        let mut copy = self.bytes.to_vec();
        set_timestamps(&mut copy, &mut self.header, rules.timestamp_type, max_timestamp);
        self.bytes = copy.into();
    }
}

/// Whether `records` are one batch and nothing else.
fn check_extent(records: &[u8], header: &BatchHeader) -> Result<(), ProduceError> {
    let needed = header.total_len();
    let Some(rest) = records.get(needed..) else {
        return Err(ProduceError::Corrupt(BatchError::CutShort { have: records.len(), needed }));
    };
    if rest.is_empty() {
        return Ok(());
    }
    match BatchHeader::parse(rest) {
        Ok(next) if next.total_len() <= rest.len() => Err(ProduceError::MoreThanOneBatch),
        _ => Err(ProduceError::TrailingBytes(rest.len())),
    }
}

fn check_header(header: &BatchHeader) -> Result<(), ProduceError> {
    // The offsets of a fresh batch have no gaps, so count and last offset tell the same.
    if header.record_count == 0 || header.record_count - 1 != header.last_offset_delta {
        let BatchHeader { record_count, last_offset_delta, .. } = *header;
        return Err(ProduceError::Count { record_count, last_offset_delta });
    }
    if header.is_control() {
        return Err(ProduceError::ControlBatch);
    }
    let named_in_full = header.producer_epoch >= 0 && header.base_sequence >= 0;
    if if header.has_producer_id() { !named_in_full } else { header.is_transactional() } {
        let BatchHeader { producer_id, producer_epoch, base_sequence, .. } = *header;
        return Err(ProduceError::Producer { producer_id, producer_epoch, base_sequence });
    }
    if header.timestamp_type() == TimestampType::LogAppendTime {
        return Err(ProduceError::TimestampType);
    }
    Ok(())
}

/// Holds each record against the rules; gives the largest timestamp, or −1. The hot loop of every append.
fn walk_records(
    records: &[u8],
    header: &BatchHeader,
    rules: &ProduceRules,
    now_ms: TimestampMs,
) -> Result<TimestampMs, ProduceError> {
    let (earliest, latest) = rules.timestamp_range(now_ms);
    let mut max_timestamp = NO_TIMESTAMP;
    let mut at = 0;
    for index in 0..header.record_count as u32 {
        let (record, end) = read_record(records, at).map_err(|fault| ProduceError::Malformed { index, fault })?;
        if record.offset_delta as u32 != index {
            return Err(ProduceError::OffsetDelta { index, offset_delta: record.offset_delta });
        }
        if rules.keys_required && record.key.is_none() {
            return Err(ProduceError::MissingKey { index });
        }
        // Wraps as Kafka's addition does; a sum that wrapped is held against the range like any other.
        let timestamp = header.base_timestamp.wrapping_add(record.timestamp_delta);
        if (timestamp < earliest || timestamp > latest) && timestamp != NO_TIMESTAMP {
            return Err(ProduceError::Timestamp { index: Some(index), timestamp, earliest, latest });
        }
        max_timestamp = max_timestamp.max(timestamp);
        at = end;
    }
    if at == records.len() { Ok(max_timestamp) } else { Err(ProduceError::SpareBytes { bytes: records.len() - at }) }
}

#[cfg(test)]
#[path = "produced_tests.rs"]
mod tests;
