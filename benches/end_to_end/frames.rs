//! Produce requests, encoded once. Only their correlation id changes from one sending to the next.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context;
use bytes::Bytes;
use corelog::protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use corelog::protocol::{Request, Writer, write_request};
use corelog::record::BatchBuilder;

use crate::payload::Payload;

/// The version of the produce requests: the first flexible one, with topics by name.
pub const PRODUCE_VERSION: i16 = 9;
/// Where a frame's correlation id stands: behind size, API key and version.
const CORRELATION_AT: usize = 8;
/// The timeout of a produce request, milliseconds.
const PRODUCE_TIMEOUT_MS: i32 = 30_000;

/// A batch of records without key and headers, and with the time of now.
///
/// # Errors
/// When the batch would be larger than a batch can be.
pub fn batch(payload: &mut Payload, records: usize, value_bytes: usize) -> anyhow::Result<Bytes> {
    let now_ms = SystemTime::now().duration_since(UNIX_EPOCH).context("a clock before 1970")?.as_millis() as i64;
    let mut builder = BatchBuilder::new();
    for _ in 0..records {
        builder.append(now_ms, None, Some(&payload.value(value_bytes)), &[]);
    }
    Ok(builder.build()?)
}

/// A frame of a request, with correlation id 0.
///
/// # Errors
/// When it would be larger than a frame can be.
pub fn frame<R: Request>(version: i16, request: &R) -> anyhow::Result<Bytes> {
    let mut w = Writer::new();
    write_request(&mut w, version, 0, Some("bench".into()), request)?;
    Ok(w.finish().into_bytes())
}

/// Gives a frame its correlation id.
pub fn set_correlation(frame: &mut [u8], correlation: i32) {
    frame[CORRELATION_AT..CORRELATION_AT + 4].copy_from_slice(&correlation.to_be_bytes());
}

/// Produce requests of equal length, one after the other in memory, that a producer sends round and round.
pub struct FrameRing {
    bytes: Vec<u8>,
    frame_bytes: usize,
}

impl FrameRing {
    /// Frames for `partitions` in turn, at least `frames_min` of them. Each holds the same batch, with acks −1.
    ///
    /// # Errors
    /// When a frame would be larger than a frame can be.
    pub fn new(topic: &str, partitions: &[i32], batch: &Bytes, frames_min: usize) -> anyhow::Result<FrameRing> {
        let rounds = frames_min.div_ceil(partitions.len());
        let mut ring = FrameRing { bytes: Vec::new(), frame_bytes: 0 };
        for &index in partitions.iter().cycle().take(rounds * partitions.len()) {
            let partition = PartitionProduceData { index, records: Some(batch.clone()) };
            let topic = TopicProduceData { name: topic.into(), partition_data: vec![partition], ..Default::default() };
            let request = ProduceRequest {
                acks: -1,
                timeout_ms: PRODUCE_TIMEOUT_MS,
                topic_data: vec![topic],
                ..Default::default()
            };
            let frame = frame(PRODUCE_VERSION, &request)?;
            ring.frame_bytes = frame.len();
            ring.bytes.extend_from_slice(&frame);
        }
        Ok(ring)
    }

    /// How many frames there are.
    pub fn len(&self) -> usize {
        self.bytes.len() / self.frame_bytes
    }

    /// The bytes of `count` frames from `slot` on, which must not go beyond the end.
    pub fn frames_mut(&mut self, slot: usize, count: usize) -> &mut [u8] {
        &mut self.bytes[slot * self.frame_bytes..(slot + count) * self.frame_bytes]
    }

    /// Bytes of each frame.
    pub fn frame_bytes(&self) -> usize {
        self.frame_bytes
    }
}
