//! The batches that a producer sends.
//!
//! Without keys they are encoded (and compressed) before the load starts, a few of them for each producer, and sent round
//! and round; each sending gets its own timestamp, sequence number and checksum. So the load is what the broker takes, and
//! not what this machine can compress. With keys, and for the latency of delivery, each batch is encoded when it is sent.

use std::ops::Range;
use std::time::Duration;

use anyhow::Context;
use bytes::{Bytes, BytesMut};
use corelog::record::{self, BatchBuilder, Compression, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE};

use crate::keys::{KeyKind, Keys, key_bytes, partition_of};
use crate::payload::{Payload, PayloadKind};
use crate::sizes::{SizeKind, Sizes};
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
    pub sizes: SizeKind,
    /// Records of a batch, at most.
    pub records_per_batch: u32,
    /// Bytes of a batch's keys and values, at most; but each batch has one record at least.
    pub batch_bytes: usize,
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
    /// The number of its partition.
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
    /// When its first record was meant to be sent, counted from the start of the load.
    pub intended: Duration,
    /// From one record to the next.
    pub spacing: Duration,
}

/// Where one producer's batches come from.
pub struct BatchSource {
    shape: Shape,
    /// The partitions that this producer fills: in turn without keys, by the hash of the key with them.
    partitions: Vec<usize>,
    /// With keys: the places in `partitions` of each topic, which take turns.
    topics: Vec<Range<usize>>,
    topic_turn: usize,
    /// Without keys: the place in `partitions` of the next batch.
    turn: usize,
    /// Of batches without keys and stamps.
    encoded: Vec<Ready>,
    encoded_turn: usize,
    payload: Payload,
    sizes: Sizes,
    keys: Keys,
    /// Records that wait for their batch to be full: with keys by place in `partitions`, without at 0.
    drafts: Vec<Drafts>,
    /// Where a batch is full.
    full: Option<usize>,
    /// A record that the batch at `full` has no room for.
    left_over: Option<(usize, Draft)>,
    value: Vec<u8>,
    /// Id and epoch of an idempotent producer.
    producer: Option<(i64, i16)>,
    /// The next sequence number, by place in `partitions`.
    sequences: Vec<i32>,
}

/// A record before it is encoded.
struct Draft {
    key: Option<Vec<u8>>,
    value_bytes: usize,
}

impl Draft {
    fn bytes(&self) -> usize {
        self.value_bytes + self.key.as_ref().map_or(0, Vec::len)
    }
}

/// The records of a batch before they are encoded, and the bytes of their keys and values.
#[derive(Default)]
struct Drafts {
    records: Vec<Draft>,
    bytes: usize,
}

/// An encoded batch.
struct Ready {
    bytes: Bytes,
    records: u32,
    value_bytes: u64,
}

impl Ready {
    /// A batch of the first `records` records, which have neither keys nor headers.
    fn head(&self, records: u32, compression: Compression) -> anyhow::Result<Ready> {
        let mut builder = BatchBuilder::new().compression(compression);
        let mut value_bytes = 0;
        for record in record::records(&self.bytes)?.take(records as usize) {
            let value = record?.value.unwrap_or_default();
            value_bytes += value.len() as u64;
            builder.append(0, None, Some(&value), &[]);
        }
        Ok(Ready { bytes: builder.build().context("encode a batch")?, records, value_bytes })
    }
}

impl BatchSource {
    /// For producer `index`, which fills `partitions`, that are not empty. With keys, `topics` has the places in
    /// `partitions` of each topic: all that the topic has.
    ///
    /// # Errors
    /// When the payload cannot be had, or a batch would be larger than one can be.
    pub fn new(
        shape: &Shape,
        index: u64,
        partitions: Vec<usize>,
        topics: Vec<Range<usize>>,
        producer: Option<(i64, i16)>,
    ) -> anyhow::Result<BatchSource> {
        let seed = index.wrapping_add(1);
        let mut source = BatchSource {
            topics,
            topic_turn: 0,
            turn: 0,
            encoded: Vec::new(),
            encoded_turn: 0,
            payload: Payload::open(&shape.payload, index)?,
            sizes: Sizes::new(shape.sizes, seed),
            keys: Keys::new(shape.keys, seed),
            drafts: partitions.iter().map(|_| Drafts::default()).collect(),
            full: None,
            left_over: None,
            value: Vec::new(),
            producer,
            sequences: vec![0; partitions.len()],
            partitions,
            shape: shape.clone(),
        };
        if shape.keys == KeyKind::None && shape.stamped_by.is_none() {
            let mut bytes = 0;
            let is_enough =
                |count: usize, bytes: usize| count >= ENCODED_MAX || (count >= ENCODED_MIN && bytes >= ENCODED_BYTES);
            while !is_enough(source.encoded.len(), bytes) {
                source.fill();
                let drafts = source.take_drafts(u32::MAX);
                let ready = source.build(&drafts, Moment::ZERO)?;
                bytes += ready.value_bytes as usize;
                source.encoded.push(ready);
            }
        }
        Ok(source)
    }

    /// The number of the next batch's partition. The same until that batch is taken.
    pub fn next_partition(&mut self) -> usize {
        let place = if self.shape.keys == KeyKind::None { self.turn } else { self.fill() };
        self.partitions[place]
    }

    /// Records of the next batch. The same until that is taken.
    pub fn next_records(&mut self) -> u32 {
        match self.encoded.get(self.encoded_turn) {
            Some(ready) => ready.records,
            None => {
                let place = self.fill();
                self.drafts[place].records.len() as u32
            }
        }
    }

    /// Takes the next batch, with `records` records: at least 1, and not more than the next batch has.
    ///
    /// # Errors
    /// When the batch would be larger than one can be.
    pub fn take(&mut self, records: u32, moment: Moment) -> anyhow::Result<Batch> {
        let is_whole = records == self.next_records();
        let partition = self.next_partition();
        let place = if self.shape.keys == KeyKind::None { self.turn } else { self.fill() };
        let mut ready = match self.encoded.get_mut(self.encoded_turn) {
            Some(ready) if is_whole => Ready { bytes: std::mem::take(&mut ready.bytes), ..*ready },
            Some(ready) => ready.head(records, self.shape.compression)?,
            None => {
                let drafts = self.take_drafts(records);
                self.build(&drafts, moment)?
            }
        };
        let (id, epoch, sequence) = self.next_sequence(place, records);
        // Still on its way to the socket, if the broker is slow to read: then a copy.
        let mut bytes = ready.bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
        record::restamp(&mut bytes, moment.unix_ms, id, epoch, sequence);
        ready.bytes = bytes.freeze();
        if let Some(slot) = self.encoded.get_mut(self.encoded_turn) {
            if is_whole {
                slot.bytes = ready.bytes.clone();
            }
            self.encoded_turn = (self.encoded_turn + 1) % self.encoded.len();
        }
        self.turn = (self.turn + 1) % self.partitions.len();
        Ok(Batch { partition, bytes: ready.bytes, records, value_bytes: ready.value_bytes })
    }

    /// Drafts records until a batch is full. Its place.
    fn fill(&mut self) -> usize {
        loop {
            if let Some(place) = self.full {
                return place;
            }
            let (place, draft) = self.left_over.take().unwrap_or_else(|| self.draw());
            let drafts = &mut self.drafts[place];
            if !drafts.records.is_empty() && drafts.bytes + draft.bytes() > self.shape.batch_bytes {
                self.left_over = Some((place, draft));
                self.full = Some(place);
            } else {
                drafts.bytes += draft.bytes();
                drafts.records.push(draft);
                if drafts.records.len() >= self.shape.records_per_batch as usize {
                    self.full = Some(place);
                }
            }
        }
    }

    /// The next record, and its place.
    fn draw(&mut self) -> (usize, Draft) {
        let value_bytes = self.sizes.draw();
        let Some(key) = self.keys.draw() else { return (0, Draft { key: None, value_bytes }) };
        let key = key_bytes(key);
        let topic = &self.topics[self.topic_turn];
        self.topic_turn = (self.topic_turn + 1) % self.topics.len();
        (topic.start + partition_of(&key, topic.len()), Draft { key: Some(key), value_bytes })
    }

    /// Takes the first `records` records of the full batch, which may stay there in part: then it is full no more.
    fn take_drafts(&mut self, records: u32) -> Vec<Draft> {
        let drafts = &mut self.drafts[self.full.take().expect("it was filled")];
        let taken: Vec<Draft> = drafts.records.drain(..drafts.records.len().min(records as usize)).collect();
        drafts.bytes -= taken.iter().map(Draft::bytes).sum::<usize>();
        taken
    }

    /// Producer id, epoch and first sequence number of the next batch.
    fn next_sequence(&mut self, place: usize, records: u32) -> (i64, i16, i32) {
        let Some((id, epoch)) = self.producer else { return (NO_PRODUCER_ID, NO_PRODUCER_EPOCH, NO_SEQUENCE) };
        let sequence = self.sequences[place];
        // Behind the last number comes 0 (Kafka's DefaultRecordBatch.incrementSequence).
        self.sequences[place] = (i64::from(sequence) + i64::from(records)).rem_euclid(1 << 31) as i32;
        (id, epoch, sequence)
    }

    fn build(&mut self, drafts: &[Draft], moment: Moment) -> anyhow::Result<Ready> {
        let mut builder = BatchBuilder::new().compression(self.shape.compression);
        let mut intended = moment.intended;
        let mut value_bytes = 0;
        for draft in drafts {
            self.value.clear();
            if let Some(run) = self.shape.stamped_by {
                Stamp { run, intended_ns: intended.as_nanos() as u64 }.append(&mut self.value);
            }
            let rest = draft.value_bytes.saturating_sub(self.value.len());
            self.payload.append(&mut self.value, rest);
            value_bytes += self.value.len() as u64;
            builder.append(moment.unix_ms, draft.key.as_deref(), Some(&self.value), &[]);
            intended += moment.spacing;
        }
        Ok(Ready { bytes: builder.build().context("encode a batch")?, records: drafts.len() as u32, value_bytes })
    }
}

impl Moment {
    const ZERO: Moment = Moment { unix_ms: 0, intended: Duration::ZERO, spacing: Duration::ZERO };
}

#[cfg(test)]
mod tests {
    use corelog::record::{BatchHeader, records, verify_crc};

    use super::*;

    fn shape(keys: KeyKind) -> Shape {
        Shape {
            sizes: SizeKind::Fixed(40),
            records_per_batch: 10,
            batch_bytes: usize::MAX,
            compression: Compression::None,
            keys,
            payload: PayloadKind::Seed(1),
            stamped_by: None,
        }
    }

    fn one_topic(partitions: usize) -> Vec<Range<usize>> {
        std::iter::once(0..partitions).collect()
    }

    fn at(unix_ms: i64) -> Moment {
        Moment { unix_ms, intended: Duration::from_nanos(5), spacing: Duration::ZERO }
    }

    #[test]
    fn batches_go_to_the_partitions_in_turn_with_their_own_time_and_sequence() {
        let mut source =
            BatchSource::new(&shape(KeyKind::None), 0, vec![3, 8], one_topic(2), Some((77, 1))).expect("a source");
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
        let mut source =
            BatchSource::new(&shape(KeyKind::None), 0, vec![0], one_topic(1), Some((1, 0))).expect("a source");
        source.sequences[0] = i32::MAX - 3;
        assert_eq!(source.next_sequence(0, 10).2, i32::MAX - 3);
        assert_eq!(source.next_sequence(0, 10).2, 6);
    }

    #[test]
    fn records_with_keys_are_in_the_partition_of_their_key() {
        // Two topics, of 2 and 3 partitions.
        let partitions = 5;
        let mut by_topic = [0; 2];
        let mut source =
            BatchSource::new(&shape(KeyKind::Zipf(1000)), 0, (0..partitions).collect(), vec![0..2, 2..5], None)
                .expect("a source");
        for _ in 0..50 {
            let expected = source.next_partition();
            let batch = source.take(10, at(1000)).expect("a batch");
            assert_eq!(batch.partition, expected);
            for record in records(&batch.bytes).expect("records") {
                let key = record.expect("a record").key.expect("a key");
                let topic = if batch.partition < 2 { 0..2 } else { 2..5 };
                assert_eq!(topic.start + partition_of(&key, topic.len()), batch.partition);
                by_topic[usize::from(batch.partition >= 2)] += 1;
            }
        }
        assert!(by_topic.iter().all(|&records| records >= 150), "{by_topic:?}");
    }

    #[test]
    fn stamps_stand_in_each_value() {
        let stamped = Shape { stamped_by: Some(9), compression: Compression::Lz4, ..shape(KeyKind::None) };
        let mut source = BatchSource::new(&stamped, 0, vec![0], one_topic(1), None).expect("a source");
        let batch = source
            .take(10, Moment { unix_ms: 1, intended: Duration::from_nanos(12_345), spacing: Duration::from_nanos(10) })
            .expect("a batch");
        for (index, record) in records(&batch.bytes).expect("records").enumerate() {
            let value = record.expect("a record").value.expect("a value");
            assert_eq!(Stamp::read(&value), Some(Stamp { run: 9, intended_ns: 12_345 + 10 * index as u64 }));
            assert_eq!(value.len(), 40);
        }
    }

    #[test]
    fn a_batch_is_full_by_records_or_by_bytes_and_never_empty() {
        for keys in [KeyKind::None, KeyKind::Uniform(50)] {
            for stamped_by in [None, Some(1)] {
                let uneven = Shape { sizes: SizeKind::Uniform(16, 400), batch_bytes: 1000, stamped_by, ..shape(keys) };
                let mut source = BatchSource::new(&uneven, 0, vec![0, 1], one_topic(2), None).expect("a source");
                let mut counts = Vec::new();
                for round in 0..300 {
                    let limit = if round % 7 == 0 { 2 } else { u32::MAX };
                    let expected = source.next_records().min(limit);
                    let partition = source.next_partition();
                    let batch = source.take(expected, at(1)).expect("a batch");
                    let values = records(&batch.bytes).expect("records").map(|record| record.expect("a record"));
                    let (keys, values): (Vec<_>, Vec<_>) =
                        values.map(|record| (record.key.unwrap_or_default(), record.value.expect("a value"))).unzip();
                    let value_bytes: usize = values.iter().map(|value| value.len()).sum();
                    let key_bytes: usize = keys.iter().map(|key| key.len()).sum();
                    assert!(values.len() == 1 || value_bytes + key_bytes <= 1000, "{value_bytes} + {key_bytes}");
                    assert_eq!((batch.records, values.len()), (expected, expected as usize));
                    assert_eq!((batch.value_bytes, batch.partition), (value_bytes as u64, partition));
                    counts.push(batch.records);
                }
                assert!(counts.iter().any(|&count| count < 4) && counts.iter().any(|&count| count > 4), "{counts:?}");
            }
        }
    }
}
