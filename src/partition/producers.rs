//! What a partition knows of its idempotent producers (KIP-98): enough to recognise a batch that comes again, and to
//! refuse one that comes out of order. A plain state machine: the log is written elsewhere, time is an argument.
//!
//! A snapshot of it goes into the shard's checkpoint, and the batches of the journal are applied to it at start:
//!
//! | snapshot | bytes | |
//! | --- | --- | --- |
//! | version | 2 | [`SNAPSHOT_VERSION`] |
//! | producer count | 4 | then, for each producer, by id: |
//! | producer id, epoch, last use | 8, 2, 8 | |
//! | batch count | 1 | at most [`BATCHES_REMEMBERED`], then, for each batch, oldest first: |
//! | first sequence, last sequence | 4, 4 | |
//! | base offset, last offset, timestamp | 8, 8, 8 | |

use std::collections::{BTreeMap, VecDeque};

use bytes::{Buf, BufMut, Bytes};

use crate::record::BatchHeader;
use crate::vocabulary::{Offset, ProducerEpoch, ProducerId, TimestampMs};

/// The version of the snapshot's format.
pub const SNAPSHOT_VERSION: u16 = 1;
/// A batch that comes again is known if it is among this many last ones of its producer: as many as a producer may have
/// in flight (Kafka's `max.in.flight.requests.per.connection` with idempotence).
pub const BATCHES_REMEMBERED: usize = 5;
/// The most producers remembered of one partition. Beyond it the one that was idle longest is forgotten: its retries
/// could then be appended twice, which is why the bound is far above what one partition serves.
pub const PRODUCERS_MAX: usize = 10_000;

/// A batch that was appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RememberedBatch {
    /// The sequence number of its first record.
    pub first_sequence: i32,
    /// The sequence number of its last record.
    pub last_sequence: i32,
    /// The offset of its first record.
    pub base_offset: Offset,
    /// The offset of its last record.
    pub last_offset: Offset,
    /// The batch's max timestamp.
    pub timestamp: TimestampMs,
}

/// What to do with a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Append it.
    Append,
    /// It is in the log already: answer with where it is, once that is durable.
    Duplicate(RememberedBatch),
}

/// Why a batch of an idempotent producer is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SequenceError {
    /// Kafka's `OUT_OF_ORDER_SEQUENCE_NUMBER`: a batch before this one is missing, or it was seen too long ago.
    #[error("producer {producer_id} sent sequence {found}, {expected} is next")]
    OutOfOrder {
        /// The producer.
        producer_id: ProducerId,
        /// What it sent.
        found: i32,
        /// What it should have sent.
        expected: i32,
    },
    /// Kafka's `INVALID_PRODUCER_EPOCH`: a newer instance of the producer has taken over.
    #[error("producer {producer_id} sent epoch {found}, {current} is in use")]
    FencedEpoch {
        /// The producer.
        producer_id: ProducerId,
        /// What it sent.
        found: ProducerEpoch,
        /// The newest epoch seen.
        current: ProducerEpoch,
    },
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Producer {
    epoch: ProducerEpoch,
    last_use_ms: TimestampMs,
    batches: VecDeque<RememberedBatch>,
}

/// The idempotent producers of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Producers {
    by_id: BTreeMap<ProducerId, Producer>,
}

/// The sequence number that follows; 0 follows 2³¹−1.
fn next_sequence(last: i32) -> i32 {
    if last == i32::MAX { 0 } else { last + 1 }
}

impl Producers {
    /// How many producers are remembered.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// Whether no producer is remembered.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// Judges a batch before it is appended. A batch without a producer id is always appended.
    ///
    /// A producer that is not known may start anywhere: its earlier batches may have been removed by retention.
    ///
    /// # Errors
    /// See [`SequenceError`].
    pub fn judge(&self, header: &BatchHeader) -> Result<Verdict, SequenceError> {
        let Some(producer) = self.by_id.get(&header.producer_id).filter(|_| header.producer_id >= 0) else {
            return Ok(Verdict::Append);
        };
        let producer_id = header.producer_id;
        if header.producer_epoch < producer.epoch {
            let (found, current) = (header.producer_epoch, producer.epoch);
            return Err(SequenceError::FencedEpoch { producer_id, found, current });
        }
        let found = header.base_sequence;
        let expected = if header.producer_epoch > producer.epoch {
            0
        } else {
            let same = |batch: &&RememberedBatch| {
                batch.first_sequence == found && batch.last_sequence == header.last_sequence()
            };
            if let Some(batch) = producer.batches.iter().find(same) {
                return Ok(Verdict::Duplicate(*batch));
            }
            match producer.batches.back() {
                Some(last) => next_sequence(last.last_sequence),
                None => return Ok(Verdict::Append),
            }
        };
        if found == expected {
            Ok(Verdict::Append)
        } else {
            Err(SequenceError::OutOfOrder { producer_id, found, expected })
        }
    }

    /// Takes in a batch that was appended at `base_offset`.
    pub fn appended(&mut self, header: &BatchHeader, base_offset: Offset, now_ms: TimestampMs) {
        if header.producer_id < 0 {
            return;
        }
        let producer = self.by_id.entry(header.producer_id).or_insert_with(|| Producer {
            epoch: header.producer_epoch,
            last_use_ms: now_ms,
            batches: VecDeque::with_capacity(1),
        });
        if header.producer_epoch > producer.epoch {
            producer.epoch = header.producer_epoch;
            producer.batches.clear();
        }
        producer.last_use_ms = now_ms;
        // Control batches carry an epoch but no sequence.
        if header.base_sequence >= 0 {
            if producer.batches.len() == BATCHES_REMEMBERED {
                producer.batches.pop_front();
            }
            producer.batches.push_back(RememberedBatch {
                first_sequence: header.base_sequence,
                last_sequence: header.last_sequence(),
                base_offset,
                last_offset: base_offset + i64::from(header.last_offset_delta),
                timestamp: header.max_timestamp,
            });
        }
        if self.by_id.len() > PRODUCERS_MAX {
            let idle = self.by_id.iter().min_by_key(|(_, producer)| producer.last_use_ms).map(|(&id, _)| id);
            if let Some(id) = idle {
                self.by_id.remove(&id);
            }
        }
    }

    /// Forgets producers that were last used before `before_ms` (Kafka's `producer.id.expiration.ms`).
    pub fn expire(&mut self, before_ms: TimestampMs) {
        self.by_id.retain(|_, producer| producer.last_use_ms >= before_ms);
    }

    /// The state as bytes; see the module's table.
    pub fn snapshot(&self) -> Bytes {
        let mut out = Vec::with_capacity(6 + self.by_id.len() * 51);
        out.put_u16(SNAPSHOT_VERSION);
        out.put_u32(self.by_id.len() as u32);
        for (&id, producer) in &self.by_id {
            out.put_i64(id);
            out.put_i16(producer.epoch);
            out.put_i64(producer.last_use_ms);
            out.put_u8(producer.batches.len() as u8);
            for batch in &producer.batches {
                out.put_i32(batch.first_sequence);
                out.put_i32(batch.last_sequence);
                out.put_i64(batch.base_offset);
                out.put_i64(batch.last_offset);
                out.put_i64(batch.timestamp);
            }
        }
        out.into()
    }

    /// Reads what [`Producers::snapshot`] wrote; empty bytes are no producers. `None` for anything else.
    pub fn restore(mut bytes: &[u8]) -> Option<Producers> {
        let mut producers = Producers::default();
        if bytes.is_empty() {
            return Some(producers);
        }
        if bytes.try_get_u16().ok()? != SNAPSHOT_VERSION {
            return None;
        }
        for _ in 0..bytes.try_get_u32().ok()? {
            let id = bytes.try_get_i64().ok()?;
            let epoch = bytes.try_get_i16().ok()?;
            let last_use_ms = bytes.try_get_i64().ok()?;
            let count = usize::from(bytes.try_get_u8().ok()?);
            if count > BATCHES_REMEMBERED {
                return None;
            }
            let mut batches = VecDeque::with_capacity(count);
            for _ in 0..count {
                batches.push_back(RememberedBatch {
                    first_sequence: bytes.try_get_i32().ok()?,
                    last_sequence: bytes.try_get_i32().ok()?,
                    base_offset: bytes.try_get_i64().ok()?,
                    last_offset: bytes.try_get_i64().ok()?,
                    timestamp: bytes.try_get_i64().ok()?,
                });
            }
            producers.by_id.insert(id, Producer { epoch, last_use_ms, batches });
        }
        bytes.is_empty().then_some(producers)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Attributes;
    use proptest::prelude::*;

    fn batch(producer_id: ProducerId, producer_epoch: ProducerEpoch, base_sequence: i32, records: i32) -> BatchHeader {
        BatchHeader {
            base_offset: 0,
            batch_length: 49,
            leader_epoch: 0,
            crc: 0,
            attributes: Attributes(0),
            last_offset_delta: records - 1,
            base_timestamp: 0,
            max_timestamp: 7,
            producer_id,
            producer_epoch,
            base_sequence,
            record_count: records,
        }
    }

    /// Judges and appends as a partition does; the offset that the producer is answered with.
    fn produce(producers: &mut Producers, end: &mut Offset, header: &BatchHeader) -> Result<Offset, SequenceError> {
        match producers.judge(header)? {
            Verdict::Duplicate(batch) => Ok(batch.base_offset),
            Verdict::Append => {
                let base_offset = *end;
                producers.appended(header, base_offset, 100);
                *end += i64::from(header.last_offset_delta) + 1;
                Ok(base_offset)
            }
        }
    }

    #[test]
    fn a_batch_that_comes_again_is_answered_with_its_first_offset() {
        let (mut producers, mut end) = (Producers::default(), 50);
        for sequence in [0, 3, 6, 9, 12] {
            produce(&mut producers, &mut end, &batch(9, 0, sequence, 3)).unwrap();
        }
        assert_eq!(produce(&mut producers, &mut end, &batch(9, 0, 0, 3)), Ok(50));
        assert_eq!(produce(&mut producers, &mut end, &batch(9, 0, 12, 3)), Ok(62));
        assert_eq!(end, 65);
    }

    #[test]
    fn a_gap_and_a_batch_too_old_to_know_are_refused() {
        let (mut producers, mut end) = (Producers::default(), 0);
        for sequence in 0..6 {
            produce(&mut producers, &mut end, &batch(9, 0, sequence, 1)).unwrap();
        }
        let refused = |found| Err(SequenceError::OutOfOrder { producer_id: 9, found, expected: 6 });
        assert_eq!(produce(&mut producers, &mut end, &batch(9, 0, 7, 1)), refused(7));
        assert_eq!(produce(&mut producers, &mut end, &batch(9, 0, 0, 1)), refused(0));
        // The same start with another end is not the same batch.
        assert_eq!(produce(&mut producers, &mut end, &batch(9, 0, 5, 2)), refused(5));
    }

    #[test]
    fn a_new_epoch_starts_at_zero_and_fences_the_old_one() {
        let (mut producers, mut end) = (Producers::default(), 0);
        produce(&mut producers, &mut end, &batch(9, 1, 0, 1)).unwrap();
        let early = SequenceError::OutOfOrder { producer_id: 9, found: 1, expected: 0 };
        assert_eq!(produce(&mut producers, &mut end, &batch(9, 2, 1, 1)), Err(early));
        produce(&mut producers, &mut end, &batch(9, 2, 0, 1)).unwrap();
        let fenced = SequenceError::FencedEpoch { producer_id: 9, found: 1, current: 2 };
        assert_eq!(produce(&mut producers, &mut end, &batch(9, 1, 1, 1)), Err(fenced));
    }

    #[test]
    fn sequences_wrap_after_the_largest() {
        let (mut producers, mut end) = (Producers::default(), 0);
        produce(&mut producers, &mut end, &batch(9, 0, i32::MAX - 1, 2)).unwrap();
        assert_eq!(produce(&mut producers, &mut end, &batch(9, 0, 0, 1)), Ok(2));
        // A batch may itself reach over the end of the numbers.
        produce(&mut producers, &mut end, &batch(8, 0, i32::MAX, 3)).unwrap();
        assert_eq!(produce(&mut producers, &mut end, &batch(8, 0, 2, 1)), Ok(6));
    }

    #[test]
    fn producers_without_an_id_are_not_remembered_and_idle_ones_expire() {
        let mut producers = Producers::default();
        producers.appended(&batch(-1, -1, -1, 1), 0, 100);
        assert!(producers.is_empty());
        producers.appended(&batch(1, 0, 0, 1), 0, 100);
        producers.appended(&batch(2, 0, 0, 1), 1, 200);
        producers.expire(150);
        assert_eq!(producers.len(), 1);
        assert_eq!(
            producers.judge(&batch(2, 0, 5, 1)),
            Err(SequenceError::OutOfOrder { producer_id: 2, found: 5, expected: 1 })
        );
    }

    #[test]
    fn the_longest_idle_producer_makes_room() {
        let mut producers = Producers::default();
        for id in 0..=PRODUCERS_MAX as i64 {
            producers.appended(&batch(id, 0, 0, 1), id, 1000 - id.min(900));
        }
        assert_eq!(producers.len(), PRODUCERS_MAX);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        /// A producer that sends each batch up to three times, five in flight, in order: each is appended once.
        #[test]
        fn retries_append_once(sizes in prop::collection::vec((1..4i32, 1..4usize), 1..40), restart_every in 1..7usize) {
            let (mut producers, mut end, mut sequence) = (Producers::default(), 0, 0);
            for (at, &(records, sends)) in sizes.iter().enumerate() {
                let header = batch(4, 0, sequence, records);
                let base_offset = end;
                for _ in 0..sends {
                    prop_assert_eq!(produce(&mut producers, &mut end, &header), Ok(base_offset));
                }
                prop_assert_eq!(end, base_offset + i64::from(records));
                sequence += records;
                if at % restart_every == 0 {
                    let restored = Producers::restore(&producers.snapshot()).unwrap();
                    prop_assert_eq!(&restored, &producers);
                    producers = restored;
                }
            }
        }

        #[test]
        fn hostile_snapshots_are_refused(bytes in prop::collection::vec(any::<u8>(), 1..200), versioned: bool) {
            let mut bytes = bytes;
            if versioned && bytes.len() >= 2 {
                bytes[..2].copy_from_slice(&SNAPSHOT_VERSION.to_be_bytes());
            }
            if let Some(producers) = Producers::restore(&bytes) {
                prop_assert!(producers.len() <= bytes.len());
            }
        }
    }
}
