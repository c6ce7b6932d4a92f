use super::*;
use crate::record::header::set_crc;
use crate::record::{BatchBuilder, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE, records};

const NOW: TimestampMs = 1_700_000_000_000;
const RULES: ProduceRules = ProduceRules {
    max_message_bytes: 1 << 20,
    timestamp_type: TimestampType::CreateTime,
    timestamp_before_max_ms: i64::MAX,
    timestamp_after_max_ms: 3_600_000,
    keys_required: false,
};
const LOG_APPEND: ProduceRules = ProduceRules { timestamp_type: TimestampType::LogAppendTime, ..RULES };
const CODECS: [Compression; 4] = [Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

fn batch_of(builder: BatchBuilder, timestamps: &[TimestampMs]) -> Bytes {
    let mut builder = builder;
    for (i, &timestamp) in timestamps.iter().enumerate() {
        builder.append(timestamp, Some(format!("key{i}").as_bytes()), Some(b"value"), &[("h", None)]);
    }
    builder.build().unwrap()
}

/// A good batch of three with `bytes` written at `at` under a fresh checksum.
fn patched(at: usize, bytes: &[u8]) -> Bytes {
    let mut batch = batch_of(BatchBuilder::new(), &[NOW - 1, NOW, NOW - 2]).to_vec();
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    set_crc(&mut batch);
    batch.into()
}

fn refused(records: &Bytes, rules: &ProduceRules) -> ProduceError {
    validate_produced(records, rules, NOW).expect_err("a broken rule")
}

macro_rules! assert_refused {
    ($records:expr, $rules:expr, $code:literal, $error:pat) => {
        let error = refused(&$records, $rules);
        assert!(matches!(error, $error), "{error:?}");
        assert_eq!(error.kafka_code(), $code);
    };
}

#[test]
fn a_good_batch_passes_untouched() {
    let bytes = batch_of(BatchBuilder::new(), &[NOW - 1, NOW, NOW - 2]);
    let batch = validate_produced(&bytes, &RULES, NOW).unwrap();
    assert!(batch.records_checked);
    assert_eq!(batch.bytes.as_ptr(), bytes.as_ptr());
    assert_eq!(batch.header.max_timestamp, NOW);
    let keyed = ProduceRules { keys_required: true, ..RULES };
    assert!(validate_produced(&bytes, &keyed, NOW).is_ok());
    let idempotent = batch_of(BatchBuilder::new().producer(0, 0, 0).transactional(true), &[NOW]);
    assert!(validate_produced(&idempotent, &RULES, NOW).is_ok());
}

#[test]
fn exactly_one_v2_batch_is_taken() {
    let good = patched(0, &[]);
    assert_refused!(Bytes::new(), &RULES, 87, ProduceError::NoBatch);
    assert_refused!(patched(16, &[0]), &RULES, 87, ProduceError::OldMagic(0));
    assert_refused!(patched(16, &[1]), &RULES, 87, ProduceError::OldMagic(1));
    assert_refused!(patched(16, &[3]), &RULES, 2, ProduceError::Corrupt(BatchError::UnsupportedMagic(3)));
    let twice: Bytes = [&good[..], &good[..]].concat().into();
    assert_refused!(twice, &RULES, 87, ProduceError::MoreThanOneBatch);
    assert_refused!(twice.slice(..twice.len() - 1), &RULES, 2, ProduceError::TrailingBytes(_));
    for cut in 1..good.len() {
        assert_refused!(good.slice(..cut), &RULES, 2, ProduceError::Corrupt(BatchError::CutShort { .. }));
    }
    assert_refused!(patched(8, &48i32.to_be_bytes()), &RULES, 2, ProduceError::Corrupt(BatchError::BadLength(48)));
    assert_refused!(patched(8, &i32::MAX.to_be_bytes()), &RULES, 2, ProduceError::Corrupt(_));
}

#[test]
fn every_flipped_bit_behind_the_checksum_is_found() {
    let good = patched(0, &[]);
    for at in 17..good.len() {
        for bit in 0..8 {
            let mut batch = good.to_vec();
            batch[at] ^= 1 << bit;
            let code = refused(&batch.into(), &RULES).kafka_code();
            // The header is read before the checksum is: a negative count or offset is told as what it is.
            assert!(code == 2 || (code == 87 && (at == 23 || at == 57) && bit == 7), "bit {bit} of byte {at}: {code}");
        }
    }
}

#[test]
fn the_size_limit_is_that_of_the_whole_batch() {
    let good = patched(0, &[]);
    let exactly = ProduceRules { max_message_bytes: good.len(), ..RULES };
    assert!(validate_produced(&good, &exactly, NOW).is_ok());
    let less = ProduceRules { max_message_bytes: good.len() - 1, ..RULES };
    assert_refused!(good, &less, 10, ProduceError::TooLarge { .. });
}

#[test]
fn the_header_must_keep_the_rules() {
    assert_refused!(patched(0, &5i64.to_be_bytes()), &RULES, 87, ProduceError::BaseOffset(5));
    assert_refused!(patched(0, &(-1i64).to_be_bytes()), &RULES, 87, ProduceError::BaseOffset(-1));
    assert_refused!(patched(57, &0i32.to_be_bytes()), &RULES, 87, ProduceError::Count { .. });
    assert_refused!(patched(57, &(-1i32).to_be_bytes()), &RULES, 87, ProduceError::Count { .. });
    assert_refused!(patched(57, &4i32.to_be_bytes()), &RULES, 87, ProduceError::Count { .. });
    assert_refused!(patched(23, &3i32.to_be_bytes()), &RULES, 87, ProduceError::Count { .. });
    assert_refused!(patched(23, &(-1i32).to_be_bytes()), &RULES, 87, ProduceError::Count { .. });
    assert_refused!(patched(21, &[0, 0x20]), &RULES, 87, ProduceError::ControlBatch);
    assert_refused!(patched(21, &[0, 0x08]), &RULES, 32, ProduceError::TimestampType);
    assert_refused!(patched(21, &[0, 0x08]), &LOG_APPEND, 32, ProduceError::TimestampType);
    for codec in 5..8 {
        assert_refused!(patched(21, &[0, codec]), &RULES, 76, ProduceError::UnknownCompression(_));
    }
}

#[test]
fn a_producer_is_named_in_full_or_not_at_all() {
    let with = |id, epoch, sequence, transactional| {
        batch_of(BatchBuilder::new().producer(id, epoch, sequence).transactional(transactional), &[NOW])
    };
    assert_refused!(with(7, -1, 0, false), &RULES, 87, ProduceError::Producer { .. });
    assert_refused!(with(7, 0, -1, false), &RULES, 87, ProduceError::Producer { .. });
    let nobody = with(NO_PRODUCER_ID, NO_PRODUCER_EPOCH, NO_SEQUENCE, true);
    assert_refused!(nobody, &RULES, 87, ProduceError::Producer { .. });
    assert!(validate_produced(&with(7, 0, i32::MAX, false), &RULES, NOW).is_ok());
}

#[test]
fn timestamps_are_held_against_the_brokers_clock() {
    let rules = ProduceRules { timestamp_before_max_ms: 1000, timestamp_after_max_ms: 500, ..RULES };
    for codec in [Compression::None, Compression::Zstd] {
        let validate = |timestamps: &[TimestampMs]| {
            let bytes = batch_of(BatchBuilder::new().compression(codec), timestamps);
            let batch = validate_produced(&bytes, &rules, NOW)?;
            check_compressed(&batch, &rules, NOW)
        };
        assert!(validate(&[NOW - 1000, NOW + 500, NO_TIMESTAMP]).is_ok());
        assert!(validate(&[NO_TIMESTAMP, NO_TIMESTAMP]).is_ok());
        for bad in [NOW - 1001, NOW + 501, 0, -2, TimestampMs::MAX, TimestampMs::MIN] {
            let error = validate(&[NOW, bad, NOW]).expect_err("too far");
            assert!(matches!(error, ProduceError::Timestamp { timestamp, .. } if timestamp == bad), "{error:?}");
            assert_eq!(error.kafka_code(), 32);
            assert!(matches!(error.record_index(), Some(1) | None));
        }
    }
    let late = batch_of(BatchBuilder::new().compression(Compression::Lz4), &[NOW + 501]);
    assert_refused!(late, &rules, 32, ProduceError::Timestamp { index: None, .. });
    let far = batch_of(BatchBuilder::new(), &[0, TimestampMs::MAX]);
    assert!(validate_produced(&far, &LOG_APPEND, NOW).is_ok());
}

#[test]
fn log_append_time_is_set_under_a_fresh_checksum() {
    for codec in [Compression::None, Compression::Gzip] {
        let bytes = batch_of(BatchBuilder::new().compression(codec), &[5, NOW + 9_999_999, NO_TIMESTAMP]);
        let batch = validate_produced(&bytes, &LOG_APPEND, NOW).unwrap();
        let batch = check_compressed(&batch, &LOG_APPEND, NOW + 1).unwrap();
        assert!(verify_crc(&batch.bytes) && batch.records_checked);
        assert_eq!(BatchHeader::parse(&batch.bytes), Ok(batch.header));
        assert_eq!((batch.header.timestamp_type(), batch.header.max_timestamp), (TimestampType::LogAppendTime, NOW));
        assert_eq!(batch.header.compression(), Ok(codec));
        assert!(records(&batch.bytes).unwrap().all(|record| record.unwrap().timestamp == NOW));
        assert_eq!(BatchHeader::parse(&bytes).unwrap().timestamp_type(), TimestampType::CreateTime);
    }
}

#[test]
fn a_wrong_max_timestamp_is_put_right() {
    for codec in [Compression::None, Compression::Snappy] {
        let mut bytes = batch_of(BatchBuilder::new().compression(codec), &[NOW - 5, NOW - 3]).to_vec();
        bytes[35..43].copy_from_slice(&NOW.to_be_bytes());
        set_crc(&mut bytes);
        let batch = validate_produced(&bytes.into(), &RULES, NOW).unwrap();
        let batch = check_compressed(&batch, &RULES, NOW).unwrap();
        assert_eq!(batch.header.max_timestamp, NOW - 3);
        assert!(verify_crc(&batch.bytes));
        assert_eq!(BatchHeader::parse(&batch.bytes), Ok(batch.header));
    }
}

#[test]
fn a_compacted_topic_needs_keys() {
    let rules = ProduceRules { keys_required: true, ..RULES };
    let mut builder = BatchBuilder::new();
    builder.append(NOW, Some(b""), None, &[]).append(NOW, None, Some(b"v"), &[]);
    let bytes = builder.build().unwrap();
    assert_refused!(bytes, &rules, 87, ProduceError::MissingKey { index: 1 });
    assert!(validate_produced(&bytes, &RULES, NOW).is_ok());
}

/// A batch whose records are these bytes, told to be `count` of them.
fn of_records(codec: Compression, records: &[u8], count: i32) -> Bytes {
    let block = crate::record::compress(codec, records).unwrap();
    of_block(codec, &block, count)
}

fn of_block(codec: Compression, block: &[u8], count: i32) -> Bytes {
    let mut batch = batch_of(BatchBuilder::new(), &[NOW])[..BATCH_HEADER_LEN].to_vec();
    batch.extend_from_slice(block);
    let length = (batch.len() - 12) as i32;
    batch[8..12].copy_from_slice(&length.to_be_bytes());
    batch[22] = codec.code();
    batch[23..27].copy_from_slice(&(count - 1).to_be_bytes());
    batch[57..61].copy_from_slice(&count.to_be_bytes());
    set_crc(&mut batch);
    batch.into()
}

#[test]
fn records_must_be_those_the_header_tells_of() {
    let first = [12, 0, 0, 0, 1, 1, 0];
    let second = [12, 0, 0, 2, 1, 1, 0];
    for codec in [Compression::None, CODECS[0], CODECS[1], CODECS[2], CODECS[3]] {
        let validate = |records: &[u8], count| {
            let batch = validate_produced(&of_records(codec, records, count), &RULES, NOW)?;
            check_compressed(&batch, &RULES, NOW)
        };
        let error = |records: &[u8], count| {
            let error = validate(records, count).expect_err("wrong records");
            assert_eq!(error.kafka_code(), 87);
            error
        };
        assert!(validate(&[first, second].concat(), 2).is_ok());
        assert!(matches!(error(&[first, second].concat(), 1), ProduceError::SpareBytes { bytes: 7 }));
        assert!(matches!(error(&[first, second].concat(), 3), ProduceError::Malformed { index: 2, .. }));
        assert!(matches!(error(&first, i32::MAX), ProduceError::Malformed { index: 1, .. }));
        assert!(matches!(error(&[first, first].concat(), 2), ProduceError::OffsetDelta { index: 1, offset_delta: 0 }));
        assert!(matches!(error(&second, 1), ProduceError::OffsetDelta { index: 0, offset_delta: 1 }));
        assert!(matches!(error(&[14, 0, 0, 0, 1, 1, 0, 0], 1), ProduceError::Malformed { index: 0, .. }));
        assert_eq!(error(&[first, [2; 7]].concat(), 2).record_index(), Some(1));
    }
}

#[test]
fn compressed_records_wait_for_their_check() {
    for codec in CODECS {
        let bytes = batch_of(BatchBuilder::new().compression(codec), &[NOW; 100]);
        let batch = validate_produced(&bytes, &RULES, NOW).unwrap();
        assert!(!batch.records_checked);
        let checked = check_compressed(&batch, &RULES, NOW).unwrap();
        assert!(checked.records_checked);
        assert_eq!(checked.bytes.as_ptr(), bytes.as_ptr());

        let batch = validate_produced(&of_block(codec, b"not compressed at all", 1), &RULES, NOW).unwrap();
        let error = check_compressed(&batch, &RULES, NOW).expect_err("no such block");
        assert!(matches!(error, ProduceError::Undecompressable(_)), "{codec:?}: {error}");
        assert_eq!(error.kafka_code(), 87);
    }
}

#[test]
fn a_bomb_is_too_large() {
    let mut builder = BatchBuilder::new();
    builder.append(NOW, None, Some(&vec![0; 4 << 20]), &[]);
    for codec in CODECS {
        let bytes = builder.clone().compression(codec).build().unwrap();
        let batch = validate_produced(&bytes, &RULES, NOW).unwrap();
        let error = check_compressed_within(&batch, &RULES, NOW, 1 << 20).expect_err("a bomb");
        assert!(matches!(error, ProduceError::DecompressedTooLarge { bytes_max: 0x10_0000 }), "{codec:?}: {error}");
        assert_eq!(error.kafka_code(), 10);
        assert!(check_compressed(&batch, &RULES, NOW).is_ok());
    }
}
