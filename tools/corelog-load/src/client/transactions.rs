//! The two requests of a transaction that the broker's codec has not: AddPartitionsToTxn (key 24) and EndTxn (key 26),
//! in version 2, the last one without tagged fields (KIP-98; schemas of Apache Kafka 4.3).

use anyhow::{Context, ensure};
use corelog::protocol::messages::api_versions::ApiVersion;
use corelog::protocol::{ErrorCode, KafkaString, Reader, Writer};

use super::control::Control;

/// The APIs, with their names.
pub const APIS: [(i16, &str); 2] = [(ADD_PARTITIONS, "AddPartitionsToTxn"), (END, "EndTxn")];
const ADD_PARTITIONS: i16 = 24;
const END: i16 = 26;
/// The version that is spoken, of both.
const VERSION: i16 = 2;
/// A response names no more partitions than a request: more are a sign that it is none.
const PARTITIONS_MAX: i32 = 100_000;

/// Whether a broker with these APIs serves transactions.
pub fn are_served(versions: &[ApiVersion]) -> bool {
    let serves = |key| {
        let mut served = versions.iter().filter(|served| served.api_key == key);
        served.any(|served| (served.min_version..=served.max_version).contains(&VERSION))
    };
    APIS.iter().all(|(key, _)| serves(*key))
}

/// Who has a transaction.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transaction {
    /// The transactional id.
    pub transactional_id: KafkaString,
    /// The producer's id.
    pub producer_id: i64,
    /// Its epoch.
    pub producer_epoch: i16,
}

impl Transaction {
    fn write(&self, w: &mut Writer) {
        w.write_nullable_string(Some(&self.transactional_id), false);
        w.write_i64(self.producer_id);
        w.write_i16(self.producer_epoch);
    }

    /// Asks the coordinator to take partitions of a topic into the transaction. The first error, if any.
    ///
    /// # Errors
    /// When the coordinator does not answer, or not so.
    pub fn add_partitions(
        &self,
        coordinator: &mut Control,
        topic: &str,
        partitions: &[usize],
    ) -> anyhow::Result<ErrorCode> {
        let answer = coordinator.call_encoded(ADD_PARTITIONS, VERSION, |w| self.write_add(w, topic, partitions));
        answer.and_then(read_added).context("AddPartitionsToTxn")
    }

    fn write_add(&self, w: &mut Writer, topic: &str, partitions: &[usize]) {
        self.write(w);
        w.write_i32(1);
        w.write_nullable_string(Some(&topic.into()), false);
        w.write_i32(partitions.len() as i32);
        partitions.iter().for_each(|&partition| w.write_i32(partition as i32));
    }

    /// Asks the coordinator to end the transaction. The error, if any.
    ///
    /// # Errors
    /// When the coordinator does not answer, or not so.
    pub fn end(&self, coordinator: &mut Control, commit: bool) -> anyhow::Result<ErrorCode> {
        let answer = coordinator.call_encoded(END, VERSION, |w| self.write_end(w, commit));
        answer.and_then(read_ended).context("EndTxn")
    }

    fn write_end(&self, w: &mut Writer, commit: bool) {
        self.write(w);
        w.write_bool(commit);
    }
}

fn read_added(mut r: Reader) -> anyhow::Result<ErrorCode> {
    let mut first = ErrorCode::None;
    let _throttle_ms = r.read_i32()?;
    for _ in 0..read_count(&mut r)? {
        let _topic = r.read_nullable_string(false)?;
        for _ in 0..read_count(&mut r)? {
            let _partition = r.read_i32()?;
            let code = read_error(&mut r)?;
            if first.is_ok() {
                first = code;
            }
        }
    }
    r.finish()?;
    Ok(first)
}

fn read_ended(mut r: Reader) -> anyhow::Result<ErrorCode> {
    let _throttle_ms = r.read_i32()?;
    let code = read_error(&mut r)?;
    r.finish()?;
    Ok(code)
}

fn read_count(r: &mut Reader) -> anyhow::Result<i32> {
    let count = r.read_i32()?;
    ensure!((0..=PARTITIONS_MAX).contains(&count), "an answer with {count} entries");
    Ok(count)
}

fn read_error(r: &mut Reader) -> anyhow::Result<ErrorCode> {
    let code = r.read_i16()?;
    ErrorCode::from_code(code).with_context(|| format!("error {code}, which Kafka has not"))
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use kafka_protocol::messages::add_partitions_to_txn_response::{
        AddPartitionsToTxnPartitionResult, AddPartitionsToTxnTopicResult,
    };
    use kafka_protocol::messages::{
        AddPartitionsToTxnRequest, AddPartitionsToTxnResponse, EndTxnRequest, EndTxnResponse,
    };
    use kafka_protocol::protocol::{Decodable, Encodable};

    use super::*;

    fn transaction() -> Transaction {
        Transaction { transactional_id: "tx".into(), producer_id: 1 << 40, producer_epoch: 7 }
    }

    fn written(write: impl FnOnce(&mut Writer)) -> Bytes {
        let mut w = Writer::new();
        write(&mut w);
        w.finish().into_bytes()
    }

    fn encoded(message: &impl Encodable) -> Reader {
        let mut bytes = BytesMut::new();
        message.encode(&mut bytes, VERSION).expect("encoded");
        Reader::new(bytes.freeze())
    }

    #[test]
    fn requests_are_what_another_codec_reads() {
        let mut bytes = written(|w| transaction().write_add(w, "topic", &[0, 5]));
        let read = AddPartitionsToTxnRequest::decode(&mut bytes, VERSION).expect("a request");
        assert!(bytes.is_empty());
        assert_eq!(read.v3_and_below_transactional_id.0.as_str(), "tx");
        assert_eq!((read.v3_and_below_producer_id.0, read.v3_and_below_producer_epoch), (1 << 40, 7));
        assert_eq!(read.v3_and_below_topics.len(), 1);
        assert_eq!(read.v3_and_below_topics[0].name.0.as_str(), "topic");
        assert_eq!(read.v3_and_below_topics[0].partitions, [0, 5]);
        for commit in [false, true] {
            let mut bytes = written(|w| transaction().write_end(w, commit));
            let read = EndTxnRequest::decode(&mut bytes, VERSION).expect("a request");
            assert!(bytes.is_empty());
            assert_eq!((read.transactional_id.0.as_str(), read.producer_id.0, read.producer_epoch), ("tx", 1 << 40, 7));
            assert_eq!(read.committed, commit);
        }
    }

    #[test]
    fn responses_of_another_codec_are_read() {
        let partition = |index, code: ErrorCode| {
            AddPartitionsToTxnPartitionResult::default()
                .with_partition_index(index)
                .with_partition_error_code(code as i16)
        };
        let topic = AddPartitionsToTxnTopicResult::default().with_name(kafka_protocol::messages::TopicName("t".into()));
        let topic = topic.with_results_by_partition(vec![
            partition(0, ErrorCode::None),
            partition(1, ErrorCode::ConcurrentTransactions),
            partition(2, ErrorCode::NotCoordinator),
        ]);
        let added = AddPartitionsToTxnResponse::default().with_results_by_topic_v3_and_below(vec![topic]);
        assert_eq!(read_added(encoded(&added)).expect("a response"), ErrorCode::ConcurrentTransactions);
        let ended = EndTxnResponse::default().with_error_code(ErrorCode::InvalidTxnState as i16);
        assert_eq!(read_ended(encoded(&ended)).expect("a response"), ErrorCode::InvalidTxnState);
        assert!(read_ended(Reader::new(Bytes::from_static(&[0, 0, 0, 0, 0x7f, 0]))).is_err());
        assert!(read_added(Reader::new(Bytes::from_static(&[0, 0, 0, 0, 0x7f, 0, 0, 0]))).is_err());
    }

    #[test]
    fn transactions_are_served_by_a_broker_with_both() {
        let api = |api_key, min_version, max_version| ApiVersion { api_key, min_version, max_version };
        assert!(are_served(&[api(24, 0, 5), api(26, 0, 5)]));
        assert!(!are_served(&[api(24, 0, 5)]) && !are_served(&[api(24, 3, 5), api(26, 0, 5)]) && !are_served(&[]));
    }
}
