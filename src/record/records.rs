//! The records of a batch, one by one, and the two questions that ListOffsets asks of them.

use std::ops::Range;

use bytes::Bytes;

use super::compression::{DECOMPRESSED_BYTES_MAX, DecompressError, decompress};
use super::header::{BATCH_HEADER_LEN, BatchError, BatchHeader, Compression, NO_TIMESTAMP, TimestampType};
use super::walk::{RawRecord, RecordFault, read_header, read_record};
use crate::vocabulary::{Offset, TimestampMs};

/// Why a batch's records cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// The header cannot be read, or the batch is not whole.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// The compressed block cannot be read.
    #[error(transparent)]
    Decompress(#[from] DecompressError),
    /// A record's bytes are wrong.
    #[error("record {index} of the batch is malformed: {fault}")]
    Malformed {
        /// The record's place in the batch, from 0.
        index: u32,
        /// What is wrong.
        fault: RecordFault,
    },
    /// Bytes follow the last record.
    #[error("{bytes} bytes follow the batch's last record")]
    SpareBytes {
        /// How many.
        bytes: usize,
    },
}

/// One record. Its key, value and headers are slices of the batch, or of the decompressed block.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The record's offset in the log.
    pub offset: Offset,
    /// The record's timestamp, or the batch's with LogAppendTime; milliseconds, −1 for none.
    pub timestamp: TimestampMs,
    /// The key; `None` for a null.
    pub key: Option<Bytes>,
    /// The value; `None` for a null, which deletes the key in a compacted log.
    pub value: Option<Bytes>,
    /// The headers (KIP-82).
    pub headers: RecordHeaders,
}

/// One record header (KIP-82).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordHeader {
    /// The key: UTF-8 by the specification, which no broker checks.
    pub key: Bytes,
    /// The value; `None` for a null.
    pub value: Option<Bytes>,
}

/// A record's headers, taken apart as they are asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordHeaders {
    count: u32,
    /// Whole headers, `count` of them: checked when the record was read.
    bytes: Bytes,
}

impl RecordHeaders {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.count as usize
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The headers, in the producer's order; a key may come more than once.
    pub fn iter(&self) -> impl Iterator<Item = RecordHeader> + '_ {
        let mut at = 0;
        (0..self.count).map_while(move |_| {
            let (key, value) = read_header(&self.bytes, &mut at)?;
            Some(RecordHeader { key: self.bytes.slice(key), value: value.map(|value| self.bytes.slice(value)) })
        })
    }
}

/// The records of a batch, in order. The first error ends it.
#[derive(Clone, Debug)]
pub struct Records {
    header: BatchHeader,
    records: Bytes,
    at: usize,
    index: u32,
    failed: bool,
}

/// Reads the records of one whole batch; bytes behind the batch are not looked at, nor is the checksum. A compressed
/// batch is decompressed first, to at most [`DECOMPRESSED_BYTES_MAX`] bytes.
///
/// # Errors
/// [`RecordError::Batch`] and [`RecordError::Decompress`]; what is wrong with a record comes from the iterator.
pub fn records(batch: &Bytes) -> Result<Records, RecordError> {
    let header = BatchHeader::parse(batch)?;
    let needed = header.total_len();
    if batch.len() < needed {
        return Err(BatchError::CutShort { have: batch.len(), needed }.into());
    }
    let block = batch.slice(BATCH_HEADER_LEN..needed);
    let records = match header.compression()? {
        // A batch that compaction emptied has no block.
        _ if header.record_count == 0 => block,
        Compression::None => block,
        codec => decompress(codec, &block, DECOMPRESSED_BYTES_MAX)?.into(),
    };
    Ok(Records { header, records, at: 0, index: 0, failed: false })
}

impl Records {
    /// The batch's header.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The header, and the records as they are when not compressed.
    pub(super) fn into_parts(self) -> (BatchHeader, Bytes) {
        (self.header, self.records)
    }

    /// The next record's parts; the slices are made only by those who want them.
    fn next_raw(&mut self) -> Option<Result<RawRecord, RecordError>> {
        if self.failed {
            return None;
        }
        if self.index == self.header.record_count as u32 {
            let bytes = self.records.len() - self.at;
            self.failed = true;
            return (bytes > 0).then_some(Err(RecordError::SpareBytes { bytes }));
        }
        match read_record(&self.records, self.at) {
            Ok((record, end)) => {
                self.at = end;
                self.index += 1;
                Some(Ok(record))
            }
            Err(fault) => {
                self.failed = true;
                Some(Err(RecordError::Malformed { index: self.index, fault }))
            }
        }
    }

    /// Wraps as Kafka's own additions do: what producers may write, the broker can read.
    fn place(&self, record: &RawRecord) -> (Offset, TimestampMs) {
        let timestamp = match self.header.timestamp_type() {
            TimestampType::CreateTime => self.header.base_timestamp.wrapping_add(record.timestamp_delta),
            TimestampType::LogAppendTime => self.header.max_timestamp,
        };
        (self.header.base_offset.wrapping_add(i64::from(record.offset_delta)), timestamp)
    }

    fn slice(&self, field: Option<Range<usize>>) -> Option<Bytes> {
        field.map(|field| self.records.slice(field))
    }
}

impl Iterator for Records {
    type Item = Result<Record, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        let record = match self.next_raw()? {
            Ok(record) => record,
            Err(error) => return Some(Err(error)),
        };
        let (offset, timestamp) = self.place(&record);
        let headers = match record.header_count {
            0 => RecordHeaders::default(),
            count => RecordHeaders { count, bytes: self.records.slice(record.headers.clone()) },
        };
        let (key, value) = (self.slice(record.key), self.slice(record.value));
        Some(Ok(Record { offset, timestamp, key, value, headers }))
    }
}

/// The first record of a batch whose timestamp is at or behind `target`: its offset and timestamp. `None` when the
/// batch has no such record. What ListOffsets by time looks for (KIP-79).
///
/// # Errors
/// As [`records`]; a record behind the one found is not looked at.
pub fn find_timestamp(batch: &Bytes, target: TimestampMs) -> Result<Option<(Offset, TimestampMs)>, RecordError> {
    find_timestamp_from(batch, target, 0)
}

/// As [`find_timestamp`], but looks only at records from the offset `from` on: a log may start inside a batch.
///
/// # Errors
/// As [`find_timestamp`].
pub fn find_timestamp_from(
    batch: &Bytes,
    target: TimestampMs,
    from: Offset,
) -> Result<Option<(Offset, TimestampMs)>, RecordError> {
    let header = BatchHeader::parse(batch)?;
    // The append path made sure that no record is later than the header says.
    if header.max_timestamp < target || header.last_offset() < from {
        return Ok(None);
    }
    let mut records = records(batch)?;
    while let Some(record) = records.next_raw() {
        let (offset, timestamp) = records.place(&record?);
        if timestamp >= target && offset >= from {
            return Ok(Some((offset, timestamp)));
        }
    }
    Ok(None)
}

/// The record of a batch with the largest timestamp, the first such: its offset and timestamp. `None` when no record
/// has a timestamp. What ListOffsets' max timestamp looks for (KIP-734).
///
/// # Errors
/// As [`records`].
pub fn max_timestamp_offset(batch: &Bytes) -> Result<Option<(Offset, TimestampMs)>, RecordError> {
    let mut records = records(batch)?;
    let mut latest: Option<(Offset, TimestampMs)> = None;
    while let Some(record) = records.next_raw() {
        let (offset, timestamp) = records.place(&record?);
        if timestamp != NO_TIMESTAMP && latest.is_none_or(|(_, max)| timestamp > max) {
            latest = Some((offset, timestamp));
        }
    }
    Ok(latest)
}
