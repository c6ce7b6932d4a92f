//! Kafka v2 record batches as pure functions over bytes: parse, check, patch, read, build. No clock, no I/O, no log.
//!
//! A batch is one piece of [`Bytes`](bytes::Bytes) from the socket to the disk and back; this layer looks into it and
//! copies only what it must change. Its integers are Kafka's own, so that a header says what is on the wire.
//!
//! | module | what it is |
//! | --- | --- |
//! | `header` | the 61 bytes before the records, the checksum, and what the broker patches |
//! | `produced` | what is checked of a client's batch before it is appended |
//! | `records` | the records one by one, and what ListOffsets asks of them |
//! | `retain` | a batch with some of its records: what compaction keeps of it |
//! | `split` | a range of a log cut into its batches |
//! | `builder` | new batches: the broker's own, compaction's, tests' |
//! | `compression` | the four codecs, bounded |
//! | `walk`, `varint` | the bytes of one record |
//!
//! # What holds
//! - No bytes make it panic, and none make it allocate more than [`DECOMPRESSED_BYTES_MAX`] and what a codec's window
//!   takes; nothing is allocated by a length that was only claimed.
//! - Whatever [`validate_produced`] and [`check_compressed`] took, [`records`] can read.
//! - The max timestamp of a batch that they took is that of its records, or the time of the append.
//!
//! # The road of a produced batch
//! ```
//! use corelog::record::{self, BatchBuilder, ProduceRules, TimestampType};
//!
//! let rules = ProduceRules {
//!     max_message_bytes: 1_048_588,
//!     timestamp_type: TimestampType::CreateTime,
//!     timestamp_before_max_ms: i64::MAX,
//!     timestamp_after_max_ms: 3_600_000,
//!     keys_required: false,
//! };
//! let now_ms = 1_700_000_000_000;
//! let mut builder = BatchBuilder::new();
//! builder.append(now_ms, None, Some(b"hello"), &[]);
//! let sent = builder.build()?;
//!
//! let mut batch = record::validate_produced(&sent, &rules, now_ms)?;
//! if !batch.records_checked {
//!     batch = record::check_compressed(&batch, &rules, now_ms)?; // Off the shard.
//! }
//! let mut placed = batch.bytes.to_vec(); // The log patches while it copies; here is a copy of our own.
//! record::set_placement(&mut placed, 42, 7);
//! let first = record::records(&placed.into())?.next().expect("one record")?;
//! assert_eq!((first.offset, first.value.as_deref()), (42, Some(&b"hello"[..])));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod builder;
mod compression;
mod header;
mod produced;
mod records;
mod retain;
mod split;
mod varint;
mod walk;

pub use builder::{BatchBuilder, BuildError};
pub use compression::{DECOMPRESSED_BYTES_MAX, DecompressError, compress, decompress};
pub use header::{
    Attributes, BATCH_HEADER_LEN, BATCH_OVERHEAD, BatchError, BatchHeader, Compression, MAGIC, NO_PRODUCER_EPOCH,
    NO_PRODUCER_ID, NO_SEQUENCE, NO_TIMESTAMP, TimestampType, restamp, set_placement, verify_crc,
};
pub use produced::{ProduceError, ProduceRules, ProducedBatch, check_compressed, validate_produced};
pub use records::{
    Record, RecordError, RecordHeader, RecordHeaders, Records, find_timestamp, find_timestamp_from,
    max_timestamp_offset, records,
};
pub use retain::{KeyedRecord, RetainError, Retained, retain_records, visit_keys, without_records};
pub use split::{Batches, split_batches};
pub use walk::RecordFault;

#[cfg(test)]
mod tests;
