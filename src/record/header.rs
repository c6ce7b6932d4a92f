//! The header of a Kafka v2 record batch (KIP-98), which every other part of this layer starts from.
//!
//! | at | bytes | field | |
//! | --- | --- | --- | --- |
//! | 0 | 8 | base offset | of the first record; given by the broker |
//! | 8 | 4 | batch length | of everything behind this field |
//! | 12 | 4 | partition leader epoch | given by the broker |
//! | 16 | 1 | magic | [`MAGIC`] |
//! | 17 | 4 | crc32c | over everything behind this field |
//! | 21 | 2 | attributes | [`Attributes`] |
//! | 23 | 4 | last offset delta | the last record's offset less the base offset |
//! | 27 | 8 | base timestamp | milliseconds; the records' timestamps are counted from it |
//! | 35 | 8 | max timestamp | milliseconds |
//! | 43 | 8, 2, 4 | producer id, producer epoch, base sequence | −1 when the producer is not idempotent |
//! | 57 | 4 | record count | |
//!
//! All integers are big-endian. The records follow, compressed as one block when the attributes say so.

use bytes::Buf;

use crate::vocabulary::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

/// Bytes of base offset and batch length, which the batch length does not count.
pub const BATCH_OVERHEAD: usize = 12;
/// Bytes of a batch's header; a batch is never shorter.
pub const BATCH_HEADER_LEN: usize = 61;
/// The only batch format there is: magic 2. Kafka 4 dropped the older ones too (KIP-724).
pub const MAGIC: u8 = 2;
/// The timestamp that means "none" on the wire.
pub const NO_TIMESTAMP: TimestampMs = -1;
/// The producer id of a batch whose producer is not idempotent (KIP-98).
pub const NO_PRODUCER_ID: ProducerId = -1;
/// The producer epoch of a batch whose producer is not idempotent (KIP-98).
pub const NO_PRODUCER_EPOCH: ProducerEpoch = -1;
/// The base sequence of a batch whose producer is not idempotent (KIP-98).
pub const NO_SEQUENCE: i32 = -1;

const LEADER_EPOCH_AT: usize = 12;
pub(super) const MAGIC_AT: usize = 16;
const CRC_AT: usize = 17;
/// What the checksum covers starts here.
const ATTRIBUTES_AT: usize = 21;
const BASE_TIMESTAMP_AT: usize = 27;
const MAX_TIMESTAMP_AT: usize = 35;
const PRODUCER_ID_AT: usize = 43;
const PRODUCER_EPOCH_AT: usize = 51;
const BASE_SEQUENCE_AT: usize = 53;

const _: () = assert!(ATTRIBUTES_AT == CRC_AT + 4 && LEADER_EPOCH_AT == BATCH_OVERHEAD);

/// How a batch's records are compressed (Kafka's `compression.type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Compression {
    /// Not at all.
    None,
    /// gzip (RFC 1952).
    Gzip,
    /// snappy, in the blocks of the xerial Java library; some clients write one raw block instead.
    Snappy,
    /// The lz4 frame format.
    Lz4,
    /// zstd frames (KIP-110).
    Zstd,
}

impl Compression {
    /// The codec's number in the attributes, 0 to 4.
    pub fn code(self) -> u8 {
        match self {
            Compression::None => 0,
            Compression::Gzip => 1,
            Compression::Snappy => 2,
            Compression::Lz4 => 3,
            Compression::Zstd => 4,
        }
    }
}

/// What a batch's timestamps mean (Kafka's `message.timestamp.type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimestampType {
    /// The producer's own time of each record.
    CreateTime,
    /// The broker's time of the append, one for the whole batch: its max timestamp.
    LogAppendTime,
}

/// The flags of a batch: compression in bits 0 to 2, then one bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attributes(pub i16);

impl Attributes {
    pub(super) const COMPRESSION: i16 = 7;
    pub(super) const TIMESTAMP_TYPE: i16 = 1 << 3;
    pub(super) const TRANSACTIONAL: i16 = 1 << 4;
    pub(super) const CONTROL: i16 = 1 << 5;
    pub(super) const DELETE_HORIZON: i16 = 1 << 6;

    /// How the records are compressed.
    ///
    /// # Errors
    /// [`BatchError::UnknownCompression`] for a codec that Kafka does not have.
    pub fn compression(self) -> Result<Compression, BatchError> {
        match (self.0 & Attributes::COMPRESSION) as u8 {
            0 => Ok(Compression::None),
            1 => Ok(Compression::Gzip),
            2 => Ok(Compression::Snappy),
            3 => Ok(Compression::Lz4),
            4 => Ok(Compression::Zstd),
            code => Err(BatchError::UnknownCompression(code)),
        }
    }

    /// Whose time the timestamps are.
    pub fn timestamp_type(self) -> TimestampType {
        if self.0 & Attributes::TIMESTAMP_TYPE == 0 { TimestampType::CreateTime } else { TimestampType::LogAppendTime }
    }

    /// Whether the batch belongs to a transaction (KIP-98).
    pub fn is_transactional(self) -> bool {
        self.0 & Attributes::TRANSACTIONAL != 0
    }

    /// Whether the records are the broker's own marks, such as a transaction's end (KIP-98).
    pub fn is_control(self) -> bool {
        self.0 & Attributes::CONTROL != 0
    }

    /// Whether the base timestamp is a [delete horizon](BatchHeader::delete_horizon_ms) (KIP-534).
    pub fn has_delete_horizon(self) -> bool {
        self.0 & Attributes::DELETE_HORIZON != 0
    }
}

/// Why bytes are not a record batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// Fewer bytes than a header, or than the header says.
    #[error("the record batch is cut short: {have} bytes of {needed}")]
    CutShort {
        /// Bytes there are.
        have: usize,
        /// Bytes that the header, or the whole batch, takes.
        needed: usize,
    },
    /// The batch length is negative, or smaller than a header.
    #[error("the record batch has length {0}; a header alone has {min}", min = BATCH_HEADER_LEN - BATCH_OVERHEAD)]
    BadLength(i32),
    /// An older message format, or none at all.
    #[error("the record batch has magic {0}; only magic 2 is supported")]
    UnsupportedMagic(u8),
    /// The record count is negative.
    #[error("the record batch has record count {0}")]
    BadCount(i32),
    /// The base offset or the last offset delta is negative, or their sum is past the last offset there can be.
    #[error("the record batch has base offset {base_offset} and last offset delta {last_offset_delta}")]
    BadOffsets {
        /// As in the header.
        base_offset: Offset,
        /// As in the header.
        last_offset_delta: i32,
    },
    /// The attributes name a codec that Kafka does not have.
    #[error("the record batch has compression {0}; Kafka has 0 to 4")]
    UnknownCompression(u8),
}

/// A batch's header, read. What [`BatchHeader::parse`] gave holds the bounds below; it says nothing of the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// The offset of the first record, at least 0; 0 in a produce request.
    pub base_offset: Offset,
    /// Bytes of the batch behind the first [`BATCH_OVERHEAD`], at least 49.
    pub batch_length: i32,
    /// The epoch of the leader that appended the batch, or −1 before.
    pub leader_epoch: LeaderEpoch,
    /// crc32c over everything from the attributes on; [`verify_crc`] holds the batch against it.
    pub crc: u32,
    /// Flags.
    pub attributes: Attributes,
    /// The last record's offset less the base offset, at least 0.
    pub last_offset_delta: i32,
    /// What the records' timestamps are counted from, milliseconds; −1 for none.
    pub base_timestamp: TimestampMs,
    /// The largest timestamp of the records, or the time of the append, milliseconds; −1 for none.
    pub max_timestamp: TimestampMs,
    /// The idempotent producer, or −1.
    pub producer_id: ProducerId,
    /// The producer's epoch, or −1.
    pub producer_epoch: ProducerEpoch,
    /// The sequence number of the first record, or −1.
    pub base_sequence: i32,
    /// How many records there are, at least 0; fewer than offsets in a compacted log.
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`. The batch need not be whole, and its checksum is not looked at.
    ///
    /// # Errors
    /// Every [`BatchError`] but [`BatchError::UnknownCompression`]. The magic is looked at first, since it says how to
    /// read the rest.
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        if let Some(&magic) = bytes.get(MAGIC_AT)
            && magic != MAGIC
        {
            return Err(BatchError::UnsupportedMagic(magic));
        }
        let Some(mut rest) = bytes.get(..BATCH_HEADER_LEN) else {
            return Err(BatchError::CutShort { have: bytes.len(), needed: BATCH_HEADER_LEN });
        };
        let base_offset = rest.get_i64();
        let batch_length = rest.get_i32();
        let leader_epoch = rest.get_i32();
        rest.advance(1);
        let header = BatchHeader {
            base_offset,
            batch_length,
            leader_epoch,
            crc: rest.get_u32(),
            attributes: Attributes(rest.get_i16()),
            last_offset_delta: rest.get_i32(),
            base_timestamp: rest.get_i64(),
            max_timestamp: rest.get_i64(),
            producer_id: rest.get_i64(),
            producer_epoch: rest.get_i16(),
            base_sequence: rest.get_i32(),
            record_count: rest.get_i32(),
        };
        header.check()?;
        Ok(header)
    }

    fn check(&self) -> Result<(), BatchError> {
        if self.batch_length < (BATCH_HEADER_LEN - BATCH_OVERHEAD) as i32 {
            return Err(BatchError::BadLength(self.batch_length));
        }
        if self.record_count < 0 {
            return Err(BatchError::BadCount(self.record_count));
        }
        let next_offset = self.base_offset.checked_add(i64::from(self.last_offset_delta) + 1);
        if self.base_offset < 0 || self.last_offset_delta < 0 || next_offset.is_none() {
            return Err(BatchError::BadOffsets {
                base_offset: self.base_offset,
                last_offset_delta: self.last_offset_delta,
            });
        }
        Ok(())
    }

    /// Writes the header's 61 bytes, with the checksum that it holds.
    pub(super) fn write_to(&self, out: &mut [u8; BATCH_HEADER_LEN]) {
        use bytes::BufMut;
        let mut rest = &mut out[..];
        rest.put_i64(self.base_offset);
        rest.put_i32(self.batch_length);
        rest.put_i32(self.leader_epoch);
        rest.put_u8(MAGIC);
        rest.put_u32(self.crc);
        rest.put_i16(self.attributes.0);
        rest.put_i32(self.last_offset_delta);
        rest.put_i64(self.base_timestamp);
        rest.put_i64(self.max_timestamp);
        rest.put_i64(self.producer_id);
        rest.put_i16(self.producer_epoch);
        rest.put_i32(self.base_sequence);
        rest.put_i32(self.record_count);
    }

    /// Bytes of the whole batch, at least [`BATCH_HEADER_LEN`] and less than 2³¹ + 12.
    pub fn total_len(&self) -> usize {
        BATCH_OVERHEAD + self.batch_length as usize
    }

    /// The offset of the last record.
    pub fn last_offset(&self) -> Offset {
        self.base_offset + i64::from(self.last_offset_delta)
    }

    /// The offset behind the batch.
    pub fn next_offset(&self) -> Offset {
        self.last_offset() + 1
    }

    /// The sequence number of the last record; the one behind 2³¹−1 is 0 (KIP-98). −1 without an idempotent producer.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return self.base_sequence;
        }
        ((i64::from(self.base_sequence) + i64::from(self.last_offset_delta)) % (1 << 31)) as i32
    }

    /// How the records are compressed.
    ///
    /// # Errors
    /// [`BatchError::UnknownCompression`] for a codec that Kafka does not have.
    pub fn compression(&self) -> Result<Compression, BatchError> {
        self.attributes.compression()
    }

    /// Whose time the timestamps are.
    pub fn timestamp_type(&self) -> TimestampType {
        self.attributes.timestamp_type()
    }

    /// Whether the batch belongs to a transaction (KIP-98).
    pub fn is_transactional(&self) -> bool {
        self.attributes.is_transactional()
    }

    /// Whether the records are the broker's own marks (KIP-98).
    pub fn is_control(&self) -> bool {
        self.attributes.is_control()
    }

    /// When compaction may drop the batch's tombstones, milliseconds; `None` before it has first come by (KIP-534). It
    /// stands in the base timestamp, and the records' timestamps are counted from it.
    pub fn delete_horizon_ms(&self) -> Option<TimestampMs> {
        self.attributes.has_delete_horizon().then_some(self.base_timestamp)
    }

    /// Whether an idempotent producer wrote the batch (KIP-98).
    pub fn has_producer_id(&self) -> bool {
        self.producer_id > NO_PRODUCER_ID
    }
}

/// Gives a batch its place in a log: its base offset and the epoch of the leader that appends it. The checksum covers
/// neither, so it stays right.
///
/// # Panics
/// When `batch` has fewer than 16 bytes; a batch whose header was read has more.
pub fn set_placement(batch: &mut [u8], base_offset: Offset, leader_epoch: LeaderEpoch) {
    batch[..8].copy_from_slice(&base_offset.to_be_bytes());
    batch[LEADER_EPOCH_AT..MAGIC_AT].copy_from_slice(&leader_epoch.to_be_bytes());
}

/// Makes a batch that a client sends over and over a new one: gives it a time and a producer's place, and its checksum.
/// All its records must have had one timestamp; they have `timestamp` afterwards, in milliseconds. For the rest see
/// [`BatchBuilder::producer`](super::BatchBuilder::producer); a producer that is not idempotent has −1 in all three.
///
/// # Panics
/// When `batch` is shorter than a header; a batch that was built is not.
pub fn restamp(
    batch: &mut [u8],
    timestamp: TimestampMs,
    producer_id: ProducerId,
    producer_epoch: ProducerEpoch,
    base_sequence: i32,
) {
    batch[BASE_TIMESTAMP_AT..MAX_TIMESTAMP_AT].copy_from_slice(&timestamp.to_be_bytes());
    batch[MAX_TIMESTAMP_AT..PRODUCER_ID_AT].copy_from_slice(&timestamp.to_be_bytes());
    batch[PRODUCER_ID_AT..PRODUCER_EPOCH_AT].copy_from_slice(&producer_id.to_be_bytes());
    batch[PRODUCER_EPOCH_AT..BASE_SEQUENCE_AT].copy_from_slice(&producer_epoch.to_be_bytes());
    batch[BASE_SEQUENCE_AT..BASE_SEQUENCE_AT + 4].copy_from_slice(&base_sequence.to_be_bytes());
    set_crc(batch);
}

/// Whether a whole batch matches its checksum. `false` for fewer bytes than a header has.
pub fn verify_crc(batch: &[u8]) -> bool {
    batch.len() >= BATCH_HEADER_LEN && batch_crc(batch).to_be_bytes() == batch[CRC_AT..ATTRIBUTES_AT]
}

/// The checksum that a whole batch should hold.
fn batch_crc(batch: &[u8]) -> u32 {
    crc32c::crc32c(&batch[ATTRIBUTES_AT..])
}

/// Writes the checksum of a whole batch; gives it back for the header.
pub(super) fn set_crc(batch: &mut [u8]) -> u32 {
    let crc = batch_crc(batch);
    batch[CRC_AT..ATTRIBUTES_AT].copy_from_slice(&crc.to_be_bytes());
    crc
}

/// Writes a whole batch's timestamp type, max timestamp and then its checksum; keeps `header` in step.
pub(super) fn set_timestamps(
    batch: &mut [u8],
    header: &mut BatchHeader,
    timestamp_type: TimestampType,
    max_timestamp: TimestampMs,
) {
    let flag = match timestamp_type {
        TimestampType::CreateTime => 0,
        TimestampType::LogAppendTime => Attributes::TIMESTAMP_TYPE,
    };
    header.attributes = Attributes(header.attributes.0 & !Attributes::TIMESTAMP_TYPE | flag);
    header.max_timestamp = max_timestamp;
    batch[ATTRIBUTES_AT..ATTRIBUTES_AT + 2].copy_from_slice(&header.attributes.0.to_be_bytes());
    batch[MAX_TIMESTAMP_AT..MAX_TIMESTAMP_AT + 8].copy_from_slice(&max_timestamp.to_be_bytes());
    header.crc = set_crc(batch);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One record, no key, value "hi", laid out by hand from the specification.
    const BYTES: [u8; 71] = [
        0, 0, 0, 0, 0, 0, 0, 7, // base offset
        0, 0, 0, 59, // batch length
        0, 0, 0, 3, // leader epoch
        2, // magic
        0, 0, 0, 0, // crc, set by the tests
        0, 0x18, // LogAppendTime, transactional, not compressed
        0, 0, 0, 0, // last offset delta
        0, 0, 0, 0, 0, 0, 1, 0, // base timestamp
        0, 0, 0, 0, 0, 0, 1, 1, // max timestamp
        0, 0, 0, 0, 0, 0, 0, 9, // producer id
        0, 4, // producer epoch
        0x7f, 0xff, 0xff, 0xff, // base sequence
        0, 0, 0, 1, // record count
        18, 0, 2, 0, 1, 4, b'h', b'i', 0, 0,
    ];

    #[test]
    fn a_restamped_batch_is_the_one_that_would_have_been_built() {
        let build = |timestamp, (id, epoch, sequence)| {
            let mut builder = crate::record::BatchBuilder::new().producer(id, epoch, sequence);
            builder.append(timestamp, Some(b"k"), Some(b"first"), &[]).append(timestamp, None, Some(b"second"), &[]);
            builder.build().unwrap()
        };
        let mut batch = build(1000, (NO_PRODUCER_ID, NO_PRODUCER_EPOCH, NO_SEQUENCE)).to_vec();
        restamp(&mut batch, 1_700_000_000_123, 9, 2, 50);
        assert_eq!(batch, build(1_700_000_000_123, (9, 2, 50)));
        assert!(verify_crc(&batch));
    }

    #[test]
    fn a_header_is_read_field_by_field_and_written_back() {
        let header = BatchHeader::parse(&BYTES).unwrap();
        assert_eq!(
            header,
            BatchHeader {
                base_offset: 7,
                batch_length: 59,
                leader_epoch: 3,
                crc: 0,
                attributes: Attributes(0x18),
                last_offset_delta: 0,
                base_timestamp: 256,
                max_timestamp: 257,
                producer_id: 9,
                producer_epoch: 4,
                base_sequence: i32::MAX,
                record_count: 1,
            }
        );
        assert_eq!((header.total_len(), header.last_offset(), header.next_offset()), (71, 7, 8));
        assert_eq!(header.compression(), Ok(Compression::None));
        assert_eq!(header.timestamp_type(), TimestampType::LogAppendTime);
        assert!(header.is_transactional() && !header.is_control() && header.has_producer_id());
        let mut written = [0; BATCH_HEADER_LEN];
        header.write_to(&mut written);
        assert_eq!(written, BYTES[..BATCH_HEADER_LEN]);
    }

    #[test]
    fn what_cannot_be_a_header_is_refused() {
        let with = |at: usize, bytes: &[u8]| {
            let mut batch = BYTES;
            batch[at..at + bytes.len()].copy_from_slice(bytes);
            BatchHeader::parse(&batch)
        };
        for len in 0..BATCH_HEADER_LEN {
            let error = BatchError::CutShort { have: len, needed: BATCH_HEADER_LEN };
            assert_eq!(BatchHeader::parse(&BYTES[..len]), Err(error));
        }
        assert_eq!(with(16, &[1]), Err(BatchError::UnsupportedMagic(1)));
        assert_eq!(with(8, &48i32.to_be_bytes()), Err(BatchError::BadLength(48)));
        assert!(with(8, &49i32.to_be_bytes()).is_ok());
        assert_eq!(with(8, &(-1i32).to_be_bytes()), Err(BatchError::BadLength(-1)));
        assert_eq!(with(57, &(-1i32).to_be_bytes()), Err(BatchError::BadCount(-1)));
        assert!(matches!(with(23, &(-1i32).to_be_bytes()), Err(BatchError::BadOffsets { .. })));
        assert!(matches!(with(0, &(-1i64).to_be_bytes()), Err(BatchError::BadOffsets { .. })));
        assert!(matches!(with(0, &i64::MAX.to_be_bytes()), Err(BatchError::BadOffsets { .. })));
        assert_eq!(with(21, &[0, 5]).unwrap().compression(), Err(BatchError::UnknownCompression(5)));
    }

    #[test]
    fn the_sequence_wraps_to_zero_as_kafkas_does() {
        let mut header = BatchHeader::parse(&BYTES).unwrap();
        assert_eq!(header.last_sequence(), i32::MAX);
        header.last_offset_delta = 1;
        assert_eq!(header.last_sequence(), 0);
        header.base_sequence = NO_SEQUENCE;
        assert_eq!(header.last_sequence(), NO_SEQUENCE);
    }

    #[test]
    fn the_checksum_covers_all_but_the_placement() {
        let mut batch = BYTES;
        assert!(!verify_crc(&batch));
        set_crc(&mut batch);
        set_placement(&mut batch, 1 << 40, 5);
        assert!(verify_crc(&batch));
        let header = BatchHeader::parse(&batch).unwrap();
        assert_eq!((header.base_offset, header.leader_epoch), (1 << 40, 5));
        for at in CRC_AT..batch.len() {
            for bit in 0..8 {
                batch[at] ^= 1 << bit;
                assert!(!verify_crc(&batch), "bit {bit} of byte {at}");
                batch[at] ^= 1 << bit;
            }
        }
        assert!(!verify_crc(&batch[..BATCH_HEADER_LEN - 1]));
    }

    #[test]
    fn timestamps_are_patched_under_a_fresh_checksum() {
        let mut batch = BYTES;
        let mut header = BatchHeader::parse(&batch).unwrap();
        set_timestamps(&mut batch, &mut header, TimestampType::CreateTime, 12345);
        assert!(verify_crc(&batch));
        assert_eq!(BatchHeader::parse(&batch), Ok(header));
        assert_eq!((header.timestamp_type(), header.max_timestamp), (TimestampType::CreateTime, 12345));
        assert!(header.is_transactional());
    }
}
