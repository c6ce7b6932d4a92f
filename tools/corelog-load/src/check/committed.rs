//! Which batches of a fetch belong to aborted transactions: what a consumer that reads committed records passes over.
//!
//! The broker tells, beside the batches, the aborted transactions among them: producer, and first offset. From that
//! offset on the producer's transactional batches are aborted, up to its abort marker (KIP-98; Kafka's `CompletedFetch`).

use std::collections::BTreeSet;

use bytes::Bytes;
use corelog::protocol::messages::fetch::AbortedTransaction;
use corelog::record::{BatchHeader, records};

/// The type of a control record that ends an aborted transaction (`ControlRecordType.ABORT`).
const ABORT: i16 = 0;

/// What is aborted in one partition's part of a fetch, whose batches are asked about in order.
#[derive(Debug, Default)]
pub struct Aborted {
    /// Transactions that have not begun yet, the next one last.
    ahead: Vec<AbortedTransaction>,
    /// Producers whose transaction has begun, and is an aborted one.
    begun: BTreeSet<i64>,
}

impl Aborted {
    /// Of these transactions, in any order.
    pub fn new(mut transactions: Vec<AbortedTransaction>) -> Aborted {
        transactions.sort_by_key(|transaction| std::cmp::Reverse(transaction.first_offset));
        Aborted { ahead: transactions, begun: BTreeSet::new() }
    }

    /// Whether the next batch belongs to an aborted transaction.
    pub fn has(&mut self, header: &BatchHeader, batch: &Bytes) -> bool {
        while let Some(next) = self.ahead.pop_if(|next| next.first_offset <= header.last_offset()) {
            self.begun.insert(next.producer_id);
        }
        if header.is_control() {
            if control_type(batch) == Some(ABORT) {
                self.begun.remove(&header.producer_id);
            }
            return false;
        }
        header.is_transactional() && self.begun.contains(&header.producer_id)
    }
}

/// What a control batch marks: its only record's key is a version and a type, two bytes each.
fn control_type(batch: &Bytes) -> Option<i16> {
    let key = records(batch).ok()?.next()?.ok()?.key?;
    Some(i16::from_be_bytes(*key.get(2..)?.first_chunk()?))
}

#[cfg(test)]
mod tests {
    use corelog::record::BatchBuilder;

    use super::*;

    fn batch(offset: i64, producer: i64, transactional: bool, marker: Option<u8>) -> (BatchHeader, Bytes) {
        let builder = BatchBuilder::new().base_offset(offset).producer(producer, 0, 0).transactional(transactional);
        let mut builder = builder.control(marker.is_some());
        match marker {
            Some(kind) => builder.append(1, Some(&[0, 0, 0, kind]), Some(&[0; 6]), &[]),
            None => builder.append(1, None, Some(b"value"), &[]),
        };
        let bytes = builder.build().expect("a batch");
        (BatchHeader::parse(&bytes).expect("a header"), bytes)
    }

    #[test]
    fn batches_of_a_producer_are_aborted_from_the_first_offset_to_the_marker() {
        let transaction = |producer_id, first_offset| AbortedTransaction { producer_id, first_offset };
        let mut aborted = Aborted::new(vec![transaction(1, 30), transaction(1, 10), transaction(2, 12)]);
        let mut has = |offset, producer, transactional, marker| {
            let (header, bytes) = batch(offset, producer, transactional, marker);
            aborted.has(&header, &bytes)
        };
        assert!(!has(9, 1, true, None), "a transaction before");
        assert!(has(10, 1, true, None));
        assert!(!has(11, 3, true, None), "another producer");
        assert!(has(12, 2, true, None));
        assert!(!has(13, 1, false, None), "no transaction");
        assert!(!has(14, 1, true, Some(0)), "the marker itself is no record");
        assert!(!has(15, 1, true, None), "the next transaction, committed");
        assert!(!has(16, 1, true, Some(1)));
        assert!(has(17, 2, true, None));
        assert!(has(30, 1, true, None));
    }
}
