//! A record that says which one it is: its value, from the first byte.
//!
//! | bytes | what |
//! | --- | --- |
//! | 0..4 | CRC-32C of all that follows |
//! | 4..12 | the run, a number that other runs do not have |
//! | 12..16 | the producer, from 0 |
//! | 16..20 | the partition that it was sent to |
//! | 20..28 | its number among this producer's records in this partition, from 0 |
//! | 28..36 | when it was meant to be sent, nanoseconds from the start of the load |
//! | 36.. | padding from the payload |
//!
//! Integers are big-endian. Compression, the batch's own checksum and the disk's are all below this checksum: it tells
//! what none of them can, that the record which comes back is the one that was sent.

use std::ops::Range;

use bytes::Bytes;
use corelog::record::{BatchBuilder, BuildError, Compression};

use crate::payload::{Payload, PayloadKind};

/// Bytes of a value in front of its padding.
pub const NUMBERED_BYTES: usize = 36;
const CRC_BYTES: usize = 4;
/// Bytes of payload that paddings are cut from, round and round.
const PADDING_BYTES: usize = 1 << 20;

/// Which record it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// The run.
    pub run: u64,
    /// The producer, from 0.
    pub producer: u32,
    /// The partition that it was sent to.
    pub partition: u32,
    /// Its number among this producer's records in this partition, from 0.
    pub sequence: u64,
    /// When it was meant to be sent, nanoseconds from the start of the load.
    pub intended_ns: u64,
}

impl Numbered {
    /// Appends the value, with `padding` at its end.
    pub fn append(self, out: &mut Vec<u8>, padding: &[u8]) {
        let at = out.len();
        out.extend_from_slice(&[0; CRC_BYTES]);
        out.extend_from_slice(&self.run.to_be_bytes());
        out.extend_from_slice(&self.producer.to_be_bytes());
        out.extend_from_slice(&self.partition.to_be_bytes());
        out.extend_from_slice(&self.sequence.to_be_bytes());
        out.extend_from_slice(&self.intended_ns.to_be_bytes());
        out.extend_from_slice(padding);
        let crc = crc32c::crc32c(&out[at + CRC_BYTES..]);
        out[at..at + CRC_BYTES].copy_from_slice(&crc.to_be_bytes());
    }

    /// Reads a value. `None` when it is none of these: too short, or not what its checksum is of.
    pub fn read(value: &[u8]) -> Option<Numbered> {
        let (crc, rest) = value.split_first_chunk()?;
        let (run, fields) = rest.split_first_chunk()?;
        let (producer, fields) = fields.split_first_chunk()?;
        let (partition, fields) = fields.split_first_chunk()?;
        let (sequence, fields) = fields.split_first_chunk()?;
        let intended_ns = fields.first_chunk()?;
        (u32::from_be_bytes(*crc) == crc32c::crc32c(rest)).then(|| Numbered {
            run: u64::from_be_bytes(*run),
            producer: u32::from_be_bytes(*producer),
            partition: u32::from_be_bytes(*partition),
            sequence: u64::from_be_bytes(*sequence),
            intended_ns: u64::from_be_bytes(*intended_ns),
        })
    }
}

/// Whose batch it is, with idempotence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchProducer {
    /// The producer's id.
    pub id: i64,
    /// Its epoch.
    pub epoch: i16,
    /// How many records it sent to the partition before, in this epoch.
    pub sequence: u64,
    /// Whether the batch belongs to a transaction.
    pub transactional: bool,
}

impl BatchProducer {
    /// A producer with this id and epoch whose sequence numbers are its records' own numbers.
    pub fn of((id, epoch): (i64, i16), first: u64) -> BatchProducer {
        BatchProducer { id, epoch, sequence: first, transactional: false }
    }
}

/// Makes batches of numbered records.
#[derive(Debug)]
pub struct NumberedBatches {
    run: u64,
    producer: u32,
    padding_bytes: usize,
    compression: Compression,
    payload: Vec<u8>,
    /// Where the next padding begins.
    at: usize,
    value: Vec<u8>,
}

impl NumberedBatches {
    /// Of producer `producer` of `run`, with values of `record_bytes`: at least [`NUMBERED_BYTES`].
    ///
    /// # Errors
    /// When the payload cannot be had.
    pub fn new(
        run: u64,
        producer: u32,
        record_bytes: usize,
        compression: Compression,
        payload: &PayloadKind,
    ) -> anyhow::Result<NumberedBatches> {
        let padding_bytes = record_bytes.saturating_sub(NUMBERED_BYTES);
        let mut bytes = Vec::new();
        Payload::open(payload, u64::from(producer))?.append(&mut bytes, PADDING_BYTES.max(padding_bytes));
        Ok(NumberedBatches { run, producer, padding_bytes, compression, payload: bytes, at: 0, value: Vec::new() })
    }

    /// The batch of the records with the numbers in `sequences` for `partition`.
    ///
    /// # Errors
    /// When the batch would be larger than one can be.
    pub fn build(
        &mut self,
        partition: usize,
        sequences: Range<u64>,
        intended_ns: u64,
        unix_ms: i64,
        producer: Option<BatchProducer>,
    ) -> Result<Bytes, BuildError> {
        let mut builder = BatchBuilder::new().compression(self.compression);
        if let Some(BatchProducer { id, epoch, sequence, transactional }) = producer {
            builder = builder.producer(id, epoch, batch_sequence(sequence)).transactional(transactional);
        }
        for sequence in sequences {
            if self.at + self.padding_bytes > self.payload.len() {
                self.at = 0;
            }
            let padding = &self.payload[self.at..self.at + self.padding_bytes];
            self.at += self.padding_bytes;
            let numbered =
                Numbered { run: self.run, producer: self.producer, partition: partition as u32, sequence, intended_ns };
            self.value.clear();
            numbered.append(&mut self.value, padding);
            builder.append(unix_ms, None, Some(&self.value), &[]);
        }
        builder.build()
    }
}

/// A count as an idempotent producer's sequence number: behind the last one comes 0
/// (`DefaultRecordBatch.incrementSequence` of Kafka).
fn batch_sequence(sequence: u64) -> i32 {
    (sequence % (1 << 31)) as i32
}

#[cfg(test)]
mod tests {
    use corelog::record::{BatchHeader, records, verify_crc};

    use super::*;

    const SAMPLE: Numbered =
        Numbered { run: u64::MAX - 1, producer: 3, partition: 70_000, sequence: 1 << 40, intended_ns: 9 };

    #[test]
    fn a_value_comes_back_as_it_was_and_any_flipped_bit_is_seen() {
        for padding in [&b""[..], b"padding"] {
            let mut value = Vec::new();
            SAMPLE.append(&mut value, padding);
            assert_eq!(value.len(), NUMBERED_BYTES + padding.len());
            assert_eq!(Numbered::read(&value), Some(SAMPLE));
            for bit in 0..value.len() * 8 {
                value[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(Numbered::read(&value), None, "bit {bit}");
                value[bit / 8] ^= 1 << (bit % 8);
            }
            for len in 0..value.len() {
                assert_eq!(Numbered::read(&value[..len]), None, "{len} bytes");
            }
        }
    }

    #[test]
    fn the_fields_stand_where_the_format_says() {
        let mut value = Vec::new();
        SAMPLE.append(&mut value, b"");
        assert_eq!(value[4..12], (u64::MAX - 1).to_be_bytes());
        assert_eq!(value[12..20], [0, 0, 0, 3, 0, 1, 0x11, 0x70]);
        assert_eq!(value[20..36], [0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9]);
    }

    #[test]
    fn a_batch_has_its_numbers_in_order() {
        let payload = PayloadKind::Seed(1);
        let mut batches = NumberedBatches::new(7, 2, 50_000, Compression::Lz4, &payload).expect("batches");
        for (sequences, base) in
            [(0..30, 0), ((1 << 31) - 2..(1 << 31) + 40, i32::MAX - 1), (1 << 31..(1 << 31) + 1, 0)]
        {
            let batch = batches
                .build(4, sequences.clone(), 55, 1000, Some(BatchProducer::of((9, 1), sequences.start)))
                .expect("a batch");
            let header = BatchHeader::parse(&batch).expect("a header");
            assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (9, 1, base));
            assert!(verify_crc(&batch));
            let read: Vec<_> = records(&batch)
                .expect("records")
                .map(|record| {
                    let value = record.expect("a record").value.expect("a value");
                    assert_eq!(value.len(), 50_000);
                    Numbered::read(&value).expect("a numbered record")
                })
                .collect();
            let expected =
                sequences.map(|sequence| Numbered { run: 7, producer: 2, partition: 4, sequence, intended_ns: 55 });
            assert!(read.into_iter().eq(expected));
        }
    }
}
