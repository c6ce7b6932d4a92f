//! The batches that a producer sends.
//!
//! Without keys they are encoded (and compressed) before the load starts, a few of them for each producer, and sent round
//! and round; each sending gets its own timestamp, sequence number and checksum. So the load is what the broker takes, and
//! not what this machine can compress. With keys, and for end-to-end latency, each batch is encoded when it is sent.

use anyhow::Context;
use bytes::{Bytes, BytesMut};
use corelog::record::{self, BatchBuilder, Compression, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE};

use crate::keys::{KeyKind, Keys, key_bytes, partition_of};
use crate::payload::{Payload, PayloadKind};
use crate::stamp::Stamp;

/// Bytes of the values that a producer keeps encoded, about.
const ENCODED_BYTES: usize = 16 << 20;
/// Batches that a producer keeps encoded.
const ENCODED_MIN: usize = 4;
const ENCODED_MAX: usize = 64;

/// What all batches of a load are like.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Bytes of each value.
    pub record_bytes: usize,
    /// Records of a batch.
    pub records_per_batch: u32,
    /// How batches are compressed.
    pub compression: Compression,
    /// Which keys records have.
    pub keys: KeyKind,
    /// What values hold.
    pub payload: PayloadKind,
    /// Whether values begin with a [`Stamp`] of this run.
    pub stamped_by: Option<u64>,
}

/// A batch to be sent.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Its partition.
    pub partition: usize,
    /// The batch.
    pub bytes: Bytes,
    /// Its records.
    pub records: u32,
    /// Bytes of its values.
    pub value_bytes: u64,
}

/// When a batch is sent.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// The timestamp of its records, milliseconds.
    pub unix_ms: i64,
    /// When it was meant to be sent, nanoseconds from the start of the load.
    pub intended_ns: u64,
}

/// Where one producer's batches come from.
pub struct BatchSource {
    shape: Shape,
    /// The partitions that this producer fills: in turn without keys, by the hash of the key with them.
    partitions: Vec<usize>,
    turn: usize,
    /// Of batches without keys and stamps.
    encoded: Vec<Bytes>,
    encoded_turn: usize,
    payload: Payload,
    keys: Keys,
    /// Keys that wait for their partition's batch to be full, by place in `partitions`.
    waiting: Vec<Vec<Vec<u8>>>,
    value: Vec<u8>,
    /// Id and epoch of an idempotent producer.
    producer: Option<(i64, i16)>,
    /// The next sequence number, by place in `partitions`.
    sequences: Vec<i32>,
}

impl BatchSource {
    /// For producer `index`, which fills `partitions`: not empty, and all of the topic's when there are keys.
    ///
    /// # Errors
    /// When the payload cannot be had, or a batch would be larger than one can be.
    pub fn new(
        shape: &Shape,
        index: u64,
        partitions: Vec<usize>,
        producer: Option<(i64, i16)>,
    ) -> anyhow::Result<BatchSource> {
        let mut source = BatchSource {
            turn: 0,
            encoded: Vec::new(),
            encoded_turn: 0,
            payload: Payload::open(&shape.payload, index)?,
            keys: Keys::new(shape.keys, index.wrapping_add(1)),
            waiting: vec![Vec::new(); partitions.len()],
            value: Vec::new(),
            producer,
            sequences: vec![0; partitions.len()],
            partitions,
            shape: shape.clone(),
        };
        if shape.keys == KeyKind::None && shape.stamped_by.is_none() {
            let batch_bytes = shape.record_bytes * shape.records_per_batch as usize;
            let count = (ENCODED_BYTES / batch_bytes.max(1)).clamp(ENCODED_MIN, ENCODED_MAX);
            for _ in 0..count {
                let batch = source.build(shape.records_per_batch, None, Moment { unix_ms: 0, intended_ns: 0 })?;
                source.encoded.push(batch);
            }
        }
        Ok(source)
    }

    /// The partition of the next batch. The same until that is taken.
    pub fn next_partition(&mut self) -> usize {
        if self.shape.keys != KeyKind::None {
            while self.waiting[self.turn].len() < self.shape.records_per_batch as usize {
                let key = key_bytes(self.keys.draw().expect("there are keys"));
                self.turn = partition_of(&key, self.partitions.len());
                self.waiting[self.turn].push(key);
            }
        }
        self.partitions[self.turn]
    }

    /// Takes the next batch, with `records` records: at least 1, and not more than the shape has.
    ///
    /// # Errors
    /// When the batch would be larger than one can be.
    pub fn take(&mut self, records: u32, moment: Moment) -> anyhow::Result<Batch> {
        let partition = self.next_partition();
        let place = self.turn;
        let (id, epoch, sequence) = self.next_sequence(place, records);
        let bytes = if self.encoded.is_empty() || records != self.shape.records_per_batch {
            let keys = (self.shape.keys != KeyKind::None)
                .then(|| self.waiting[place].drain(..records as usize).collect::<Vec<_>>());
            BytesMut::from(self.build(records, keys.as_deref(), moment)?)
        } else {
            let slot = std::mem::take(&mut self.encoded[self.encoded_turn]);
            // Still on its way to the socket, if the broker is slow to read: then a copy.
            slot.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]))
        };
        let mut bytes = bytes;
        record::restamp(&mut bytes, moment.unix_ms, id, epoch, sequence);
        let bytes = bytes.freeze();
        if !self.encoded.is_empty() {
            if self.encoded[self.encoded_turn].is_empty() {
                self.encoded[self.encoded_turn] = bytes.clone();
            }
            self.encoded_turn = (self.encoded_turn + 1) % self.encoded.len();
        }
        if self.shape.keys == KeyKind::None {
            self.turn = (self.turn + 1) % self.partitions.len();
        }
        let value_bytes = u64::from(records) * self.shape.record_bytes as u64;
        Ok(Batch { partition, bytes, records, value_bytes })
    }

    /// Producer id, epoch and first sequence number of the next batch.
    fn next_sequence(&mut self, place: usize, records: u32) -> (i64, i16, i32) {
        let Some((id, epoch)) = self.producer else { return (NO_PRODUCER_ID, NO_PRODUCER_EPOCH, NO_SEQUENCE) };
        let sequence = self.sequences[place];
        // Behind the last number comes 0 (Kafka's DefaultRecordBatch.incrementSequence).
        self.sequences[place] = (i64::from(sequence) + i64::from(records)).rem_euclid(1 << 31) as i32;
        (id, epoch, sequence)
    }

    fn build(&mut self, records: u32, keys: Option<&[Vec<u8>]>, moment: Moment) -> anyhow::Result<Bytes> {
        let mut builder = BatchBuilder::new().compression(self.shape.compression);
        for index in 0..records as usize {
            self.value.clear();
            if let Some(run) = self.shape.stamped_by {
                Stamp { run, intended_ns: moment.intended_ns }.append(&mut self.value);
            }
            let rest = self.shape.record_bytes.saturating_sub(self.value.len());
            self.payload.append(&mut self.value, rest);
            let key = keys.map(|keys| keys[index].as_slice());
            builder.append(moment.unix_ms, key, Some(&self.value), &[]);
        }
        builder.build().context("encode a batch")
    }
}

#[cfg(test)]
mod tests {
    use corelog::record::{BatchHeader, records, verify_crc};

    use super::*;

    fn shape(keys: KeyKind) -> Shape {
        Shape {
            record_bytes: 40,
            records_per_batch: 10,
            compression: Compression::None,
            keys,
            payload: PayloadKind::Seed(1),
            stamped_by: None,
        }
    }

    fn at(unix_ms: i64) -> Moment {
        Moment { unix_ms, intended_ns: 5 }
    }

    #[test]
    fn batches_go_to_the_partitions_in_turn_with_their_own_time_and_sequence() {
        let mut source = BatchSource::new(&shape(KeyKind::None), 0, vec![3, 8], Some((77, 1))).expect("a source");
        let mut held = Vec::new();
        for round in 0..200 {
            let records = if round == 7 { 4 } else { 10 };
            assert_eq!(source.next_partition(), [3, 8][round % 2]);
            let batch = source.take(records, at(1000 + round as i64)).expect("a batch");
            let header = BatchHeader::parse(&batch.bytes).expect("a header");
            assert!(verify_crc(&batch.bytes));
            assert_eq!(
                (batch.partition, batch.records, batch.value_bytes),
                ([3, 8][round % 2], records, 40 * u64::from(records))
            );
            assert_eq!((header.record_count, header.max_timestamp), (records as i32, 1000 + round as i64));
            let before = (round / 2 * 10) as i32 - if round % 2 == 1 && round > 7 { 6 } else { 0 };
            assert_eq!((header.producer_id, header.producer_epoch, header.base_sequence), (77, 1, before));
            // A batch that somebody still holds is not written over.
            held.push((header, batch.bytes));
        }
        for (header, bytes) in held {
            assert_eq!(BatchHeader::parse(&bytes).expect("a header"), header);
            assert_eq!(
                records(&bytes).expect("records").filter(|record| record.is_ok()).count() as i32,
                header.record_count
            );
        }
    }

    #[test]
    fn sequences_start_over_behind_the_last() {
        let mut source = BatchSource::new(&shape(KeyKind::None), 0, vec![0], Some((1, 0))).expect("a source");
        source.sequences[0] = i32::MAX - 3;
        assert_eq!(source.next_sequence(0, 10).2, i32::MAX - 3);
        assert_eq!(source.next_sequence(0, 10).2, 6);
    }

    #[test]
    fn records_with_keys_are_in_the_partition_of_their_key() {
        let partitions = 5;
        let mut source =
            BatchSource::new(&shape(KeyKind::Zipf(1000)), 0, (0..partitions).collect(), None).expect("a source");
        for _ in 0..50 {
            let expected = source.next_partition();
            let batch = source.take(10, at(1000)).expect("a batch");
            assert_eq!(batch.partition, expected);
            for record in records(&batch.bytes).expect("records") {
                let key = record.expect("a record").key.expect("a key");
                assert_eq!(partition_of(&key, partitions), batch.partition);
            }
        }
    }

    #[test]
    fn stamps_stand_in_each_value() {
        let stamped = Shape { stamped_by: Some(9), compression: Compression::Lz4, ..shape(KeyKind::None) };
        let mut source = BatchSource::new(&stamped, 0, vec![0], None).expect("a source");
        let batch = source.take(10, Moment { unix_ms: 1, intended_ns: 12_345 }).expect("a batch");
        for record in records(&batch.bytes).expect("records") {
            let value = record.expect("a record").value.expect("a value");
            assert_eq!(Stamp::read(&value), Some(Stamp { run: 9, intended_ns: 12_345 }));
            assert_eq!(value.len(), 40);
        }
    }
}
