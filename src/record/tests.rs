//! The layer as a whole: round trips through every codec, an independent codec as the oracle, and hostile bytes.

use bytes::{Bytes, BytesMut};
use kafka_protocol::protocol::StrBytes;
use kafka_protocol::records as oracle;
use proptest::prelude::*;

use super::header::set_crc;
use super::*;
use crate::vocabulary::{Offset, TimestampMs};

type Field = Option<Vec<u8>>;

#[derive(Clone, Debug)]
struct Sample {
    timestamp: TimestampMs,
    key: Field,
    value: Field,
    headers: Vec<(String, Field)>,
}

const CODECS: [(Compression, oracle::Compression); 5] = [
    (Compression::None, oracle::Compression::None),
    (Compression::Gzip, oracle::Compression::Gzip),
    (Compression::Snappy, oracle::Compression::Snappy),
    (Compression::Lz4, oracle::Compression::Lz4),
    (Compression::Zstd, oracle::Compression::Zstd),
];
const RULES: ProduceRules = ProduceRules {
    max_message_bytes: 1 << 20,
    timestamp_type: TimestampType::CreateTime,
    timestamp_before_max_ms: i64::MAX,
    timestamp_after_max_ms: i64::MAX,
    keys_required: false,
};

fn field() -> impl Strategy<Value = Field> {
    prop::option::of(prop::collection::vec(any::<u8>(), 0..200))
}

/// Timestamps and sizes on both sides of each varint length that matters. The oracle keeps headers in a map, so that
/// each key comes once.
fn samples() -> impl Strategy<Value = Vec<Sample>> {
    let headers = prop::collection::btree_map("[a-z]{0,70}", field(), 0..4);
    let timestamp = prop_oneof![Just(-1i64), 0i64..200, 1_700_000_000_000i64..1_700_000_100_000];
    let sample = (timestamp, field(), field(), headers).prop_map(|(timestamp, key, value, headers)| Sample {
        timestamp,
        key,
        value,
        headers: headers.into_iter().collect(),
    });
    prop::collection::vec(sample, 1..20)
}

fn append(builder: &mut BatchBuilder, sample: &Sample) {
    let headers: Vec<_> = sample.headers.iter().map(|(key, value)| (key.as_str(), value.as_deref())).collect();
    builder.append(sample.timestamp, sample.key.as_deref(), sample.value.as_deref(), &headers);
}

fn build(codec: Compression, base_offset: Offset, samples: &[Sample]) -> Bytes {
    let mut builder = BatchBuilder::new().base_offset(base_offset).compression(codec).producer(77, 3, 500);
    for sample in samples {
        append(&mut builder, sample);
    }
    builder.build().unwrap()
}

fn read(batch: &Bytes) -> Vec<(Offset, Sample)> {
    let owned = |field: Option<Bytes>| field.map(|bytes| bytes.to_vec());
    records(batch)
        .unwrap()
        .map(|record| {
            let record = record.unwrap();
            let headers: Vec<_> = record
                .headers
                .iter()
                .map(|header| (String::from_utf8(header.key.to_vec()).unwrap(), owned(header.value)))
                .collect();
            assert_eq!(headers.len(), record.headers.len());
            let timestamp = record.timestamp;
            (record.offset, Sample { timestamp, key: owned(record.key), value: owned(record.value), headers })
        })
        .collect()
}

fn assert_same(read: &[(Offset, Sample)], base_offset: Offset, samples: &[Sample]) {
    assert_eq!(read.len(), samples.len());
    for (i, ((offset, got), sample)) in read.iter().zip(samples).enumerate() {
        assert_eq!(*offset, base_offset + i as i64);
        assert_eq!((got.timestamp, &got.key, &got.value), (sample.timestamp, &sample.key, &sample.value));
        assert_eq!(got.headers, sample.headers);
    }
}

fn oracle_records(base_offset: Offset, samples: &[Sample]) -> Vec<oracle::Record> {
    let bytes = |field: &Field| field.as_ref().map(|bytes| Bytes::from(bytes.clone()));
    let record = |(i, sample): (usize, &Sample)| oracle::Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id: 77,
        producer_epoch: 3,
        timestamp_type: oracle::TimestampType::Creation,
        offset: base_offset + i as i64,
        sequence: 500 + i as i32,
        timestamp: sample.timestamp,
        key: bytes(&sample.key),
        value: bytes(&sample.value),
        headers: sample.headers.iter().map(|(key, value)| (StrBytes::from_string(key.clone()), bytes(value))).collect(),
    };
    samples.iter().enumerate().map(record).collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_built_is_valid_and_read_back(samples in samples(), base_offset in 0i64..1 << 40) {
        for (codec, _) in CODECS {
            let batch = build(codec, base_offset, &samples);
            assert_same(&read(&batch), base_offset, &samples);
            let produced = build(codec, 0, &samples);
            let valid = validate_produced(&produced, &RULES, 0).unwrap();
            let valid = check_compressed(&valid, &RULES, 0).unwrap();
            prop_assert_eq!(valid.bytes, produced);
        }
    }

    #[test]
    fn the_oracle_reads_what_we_build(samples in samples(), base_offset in 0i64..1 << 40) {
        for (codec, _) in CODECS {
            let mut batch = build(codec, base_offset, &samples);
            let decoded = oracle::RecordBatchDecoder::decode(&mut batch).unwrap();
            prop_assert_eq!(&decoded.records, &oracle_records(base_offset, &samples));
        }
    }

    #[test]
    fn we_read_what_the_oracle_builds(samples in samples(), base_offset in 0i64..1 << 40) {
        for (codec, oracle_codec) in CODECS {
            let mut bytes = BytesMut::new();
            let options = oracle::RecordEncodeOptions { version: 2, compression: oracle_codec };
            let sent = oracle_records(base_offset, &samples);
            oracle::RecordBatchEncoder::encode(&mut bytes, sent.iter(), &options).unwrap();
            let mut placed = bytes.clone();
            set_placement(&mut placed, 0, -1);
            let valid = validate_produced(&placed.freeze(), &RULES, 0).unwrap();
            prop_assert!(check_compressed(&valid, &RULES, 0).unwrap().records_checked);

            let batch = bytes.freeze();
            prop_assert!(verify_crc(&batch));
            let header = BatchHeader::parse(&batch).unwrap();
            prop_assert_eq!(header.compression(), Ok(codec));
            prop_assert_eq!(header.total_len(), batch.len());
            prop_assert_eq!((header.base_offset, header.base_sequence), (base_offset, 500));
            assert_same(&read(&batch), base_offset, &samples);
        }
    }

    #[test]
    fn list_offsets_finds_what_a_plain_search_finds(samples in samples(), target in -1i64..300, from in 0i64..20) {
        let all: Vec<_> = samples.iter().enumerate().map(|(i, sample)| (i as i64, sample.timestamp)).collect();
        for (codec, _) in CODECS {
            let batch = build(codec, 0, &samples);
            let first = |from| all.iter().copied().find(|&(offset, time)| time >= target && offset >= from);
            prop_assert_eq!(find_timestamp(&batch, target).unwrap(), first(0));
            prop_assert_eq!(find_timestamp_from(&batch, target, from).unwrap(), first(from));
            let max = all.iter().map(|&(_, time)| time).max().unwrap();
            let latest = all.iter().copied().find(|&(_, time)| time == max && time != NO_TIMESTAMP);
            prop_assert_eq!(max_timestamp_offset(&batch).unwrap(), latest);
        }
    }

    /// Bytes with a right checksum, so that nothing stops them before the records are walked.
    #[test]
    fn hostile_bytes_never_panic(
        samples in samples(),
        flips in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6),
        noise in prop::collection::vec(any::<u8>(), 0..200),
        attributes in 0u8..16,
    ) {
        for (codec, _) in CODECS {
            let mut broken = build(codec, 0, &samples).to_vec();
            for (at, byte) in &flips {
                // The header mostly stays, since it is checked first and in other tests.
                let at = BATCH_HEADER_LEN - 4 + at.index(broken.len() - BATCH_HEADER_LEN + 4);
                broken[at] ^= byte;
            }
            let mut noisy = build(codec, 0, &samples)[..BATCH_HEADER_LEN].to_vec();
            noisy.extend_from_slice(&noise);
            let length = (noisy.len() - BATCH_OVERHEAD) as i32;
            noisy[8..12].copy_from_slice(&length.to_be_bytes());
            noisy[22] = attributes;
            for mut bytes in [broken, noisy] {
                set_crc(&mut bytes);
                let bytes = Bytes::from(bytes);
                let walked = records(&bytes).map(|records| records.collect::<Result<Vec<_>, _>>());
                let produced =
                    validate_produced(&bytes, &RULES, 0).and_then(|batch| check_compressed(&batch, &RULES, 0));
                // Whatever the broker took, consumers of the log can read.
                prop_assert!(produced.is_err() || matches!(walked, Ok(Ok(_))));
                let _ = (find_timestamp(&bytes, 5), max_timestamp_offset(&bytes));
            }
            let noise = Bytes::from(noise.clone());
            let _ = (records(&noise).map(|records| records.count()), split_batches(&noise).count());
            prop_assert!(validate_produced(&noise, &RULES, 0).is_err());
        }
    }
}

#[test]
fn list_offsets_honours_log_append_time() {
    let mut builder = BatchBuilder::new().base_offset(10).log_append_time(500);
    builder.append(900, None, None, &[]).append(100, None, None, &[]);
    let batch = builder.build().unwrap();
    assert_eq!(find_timestamp(&batch, 500).unwrap(), Some((10, 500)));
    assert_eq!(find_timestamp_from(&batch, 500, 11).unwrap(), Some((11, 500)));
    assert_eq!(find_timestamp_from(&batch, 500, 12).unwrap(), None);
    assert_eq!(find_timestamp(&batch, 501).unwrap(), None);
    assert_eq!(max_timestamp_offset(&batch).unwrap(), Some((10, 500)));
}

#[test]
fn gaps_and_emptied_batches_of_a_compacted_log_are_read() {
    for (codec, _) in CODECS {
        let mut builder = BatchBuilder::new().base_offset(10).compression(codec).keep_last_offset(19);
        builder.append_at(12, 7, Some(b"a"), None, &[]).append_at(17, 9, Some(b"b"), None, &[]);
        let batch = builder.build().unwrap();
        let offsets: Vec<_> = records(&batch).unwrap().map(|record| record.unwrap().offset).collect();
        assert_eq!(offsets, [12, 17]);
        assert_eq!(find_timestamp(&batch, 8).unwrap(), Some((17, 9)));

        let emptied = BatchBuilder::new().base_offset(10).compression(codec).keep_last_offset(19).build().unwrap();
        assert_eq!(emptied.len(), BATCH_HEADER_LEN);
        assert!(records(&emptied).unwrap().next().is_none());
        assert_eq!(max_timestamp_offset(&emptied).unwrap(), None);
    }
}

#[test]
fn reading_records_copies_nothing_and_ends_with_the_first_error() {
    let mut builder = BatchBuilder::new();
    builder.append(0, Some(b"k"), Some(b"value"), &[]).append(0, None, None, &[]);
    let batch = builder.build().unwrap();
    let record = records(&batch).unwrap().next().unwrap().unwrap();
    let value = record.value.unwrap();
    assert!(batch.as_ptr_range().contains(&value.as_ptr()));

    let mut broken = batch.to_vec();
    let last = broken.len() - 1;
    broken[last] = 2;
    let broken = Bytes::from(broken);
    let mut broken = records(&broken).unwrap();
    assert!(broken.next().unwrap().is_ok());
    let error = broken.next().unwrap().unwrap_err();
    assert!(matches!(error, RecordError::Malformed { index: 1, fault: RecordFault::Headers }), "{error}");
    assert!(broken.next().is_none());

    let error = records(&batch.slice(..last)).unwrap_err();
    assert!(matches!(error, RecordError::Batch(BatchError::CutShort { .. })), "{error}");
}

/// How long the walk of an uncompressed batch takes. Run it with
/// `cargo test --release --lib record::tests::walking -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn walking_a_record_takes_few_nanoseconds() {
    for value_len in [20, 90, 1000] {
        let mut builder = BatchBuilder::new();
        for i in 0..1000 {
            builder.append(1_700_000_000_000 + i, None, Some(&vec![7; value_len]), &[]);
        }
        let batch = builder.build().unwrap();
        let rounds = 2000;
        let time = |work: &mut dyn FnMut()| {
            let start = std::time::Instant::now();
            (0..rounds).for_each(|_| work());
            start.elapsed().as_nanos() as f64 / f64::from(rounds) / 1000.0
        };
        let validate = time(&mut || {
            std::hint::black_box(validate_produced(&batch, &RULES, 1_700_000_000_000).unwrap());
        });
        let crc = time(&mut || {
            std::hint::black_box(verify_crc(&batch));
        });
        let iterate = time(&mut || {
            std::hint::black_box(records(&batch).unwrap().count());
        });
        println!("{value_len} bytes: validate {validate:.2} ns a record, of which crc {crc:.2}; iterate {iterate:.2}");
    }
}
