//! The measured consumer: a blocking connection that fetches one partition on and on, into one buffer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Instant;

use anyhow::{Context, bail, ensure};
use corelog::protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use corelog::record::{BATCH_HEADER_LEN, BatchHeader, verify_crc};
use hdrhistogram::Histogram;

use crate::broker::Broker;
use crate::client::{self, Client};
use crate::frames::{batch, frame, set_correlation};
use crate::options::{BrokerKind, Timing};
use crate::payload::Payload;
use crate::produce::{Producer, new_histogram};
use crate::quiet;
use crate::report::Measured;
use crate::rows::{ConsumeLoad, ReadFrom};
use crate::window::{self, Phase};

/// The version of the fetch requests: the last one with topics by name.
const FETCH_VERSION: i16 = 12;
/// A consumer's `fetch.max.bytes`, Kafka's default.
const FETCH_BYTES_MAX: i32 = 50 << 20;
/// A consumer's `max.partition.fetch.bytes`, Kafka's default. With one partition, this is what bounds a fetch.
const PARTITION_BYTES_MAX: i32 = 1 << 20;
/// A consumer's `fetch.max.wait.ms`, Kafka's default.
const WAIT_MS: i32 = 500;
/// Room for a response: all that a partition may give, and what stands around it.
const RESPONSE_BYTES: usize = PARTITION_BYTES_MAX as usize + (64 << 10);
/// What is read over and over from memory: half of what a shard caches by default.
const MEMORY_BYTES: usize = 64 << 20;
/// What is not read of a topic that is read from disk: its end, which a broker may hold in memory.
const UNREAD_BYTES: usize = 512 << 20;
/// What is written for each second of reading from disk. A faster reader is through before the time is over.
const DISK_BYTES_PER_SECOND: f64 = 1.2e9;
/// Requests on their way when a topic is filled.
const FILL_IN_FLIGHT: usize = 4;

/// Fills a topic of its own, runs a consume row on it, and deletes it.
///
/// # Errors
/// When any answer is not the one that it must be.
pub fn measure(name: &str, load: &ConsumeLoad, broker: &mut Broker, timing: &Timing) -> anyhow::Result<Measured> {
    let mut control = Client::connect(broker.address())?;
    control.create_topic(name, 1)?;
    let batch = batch(&mut Payload::new(7), load.records_per_batch, load.value_bytes)?;
    let seconds = (timing.warm_up + timing.duration).as_secs_f64();
    let (bytes, unread_bytes) = match load.from {
        ReadFrom::Memory => (MEMORY_BYTES, 0),
        ReadFrom::Disk => ((seconds * DISK_BYTES_PER_SECOND) as usize, UNREAD_BYTES),
    };
    let offsets_in = |bytes: usize| (bytes / batch.len() * load.records_per_batch) as i64;
    let batches = (bytes + unread_bytes) / batch.len();
    let mut filler = Producer::open(broker.address(), name, &[0], 0, &batch, load.records_per_batch, FILL_IN_FLIGHT)?;
    filler.append(batches as u64)?;
    let mut consumer = Consumer::open(broker.address(), name, offsets_in(bytes))?;
    match load.from {
        ReadFrom::Memory => consumer.read_all(true)?,
        // Ours reads past the page cache. Where it cannot be dropped, Kafka would read memory.
        ReadFrom::Disk => match quiet::drop_caches() {
            Err(error) if broker.kind != BrokerKind::Corelog => return Err(error),
            _ => {}
        },
    }
    let phase = Phase::default();
    let (window, (messages, latencies)) = std::thread::scope(|scope| {
        let consumer = scope.spawn(|| consumer.run(&phase, load.from));
        let window = window::run(&phase, timing, broker.process());
        let read = consumer.join().map_err(|_| anyhow::anyhow!("the consumer panicked"))??;
        anyhow::Ok((window?, read))
    })?;
    ensure!(messages > 0, "nothing was read in the measured window: no answer came, or the topic had been read before");
    let resident_bytes = broker.process().resident_bytes()?;
    control.delete_topic(name)?;
    Ok(Measured::load(&window, messages, load.value_bytes, &latencies, resident_bytes))
}

struct Consumer {
    stream: TcpStream,
    request: Vec<u8>,
    /// Where in the request the offset stands.
    offset_at: usize,
    topic_len: usize,
    /// The next offset to read.
    offset: i64,
    /// The offset behind the last one to read.
    end: i64,
    correlation: i32,
    response: Vec<u8>,
}

impl Consumer {
    fn open(address: SocketAddr, topic: &str, end: i64) -> anyhow::Result<Consumer> {
        let encoded = |fetch_offset: i64| {
            let partition =
                FetchPartition { fetch_offset, partition_max_bytes: PARTITION_BYTES_MAX, ..Default::default() };
            let topic = FetchTopic { topic: topic.into(), partitions: vec![partition], ..Default::default() };
            let request = FetchRequest {
                max_wait_ms: WAIT_MS,
                min_bytes: 1,
                max_bytes: FETCH_BYTES_MAX,
                topics: vec![topic],
                ..Default::default()
            };
            frame(FETCH_VERSION, &request)
        };
        let request = Vec::from(encoded(0)?);
        // Where two encodings differ in all eight bytes, the offset stands.
        let other = encoded(-1)?;
        let offset_at = request.iter().zip(&other).position(|(a, b)| a != b).context("a request without an offset")?;
        Ok(Consumer {
            stream: client::connect(address)?,
            request,
            offset_at,
            topic_len: topic.len(),
            offset: 0,
            end,
            correlation: 0,
            response: vec![0; RESPONSE_BYTES],
        })
    }

    /// Reads the topic once, with the checksums when `verify`.
    fn read_all(&mut self, verify: bool) -> anyhow::Result<()> {
        while self.offset < self.end {
            self.fetch(verify)?;
        }
        self.offset = 0;
        Ok(())
    }

    /// Reads at full speed until the load is over, or the topic is when it is to be read once. What was read in the
    /// window, and how long its fetches took.
    fn run(mut self, phase: &Phase, from: ReadFrom) -> anyhow::Result<(u64, Histogram<u64>)> {
        let result = self.run_until_over(phase, from);
        phase.end();
        result
    }

    fn run_until_over(&mut self, phase: &Phase, from: ReadFrom) -> anyhow::Result<(u64, Histogram<u64>)> {
        let mut latencies = new_histogram()?;
        let mut messages = 0;
        while !phase.is_over() {
            if self.offset >= self.end {
                match from {
                    ReadFrom::Memory => self.offset = 0,
                    ReadFrom::Disk => break,
                }
            }
            let start = Instant::now();
            let read = self.fetch(false)?;
            if phase.is_measured() {
                latencies.record(start.elapsed().as_nanos() as u64)?;
                messages += read;
            }
        }
        Ok((messages, latencies))
    }

    /// Fetches at the offset, and moves it behind the last whole batch. How many offsets those have.
    fn fetch(&mut self, verify: bool) -> anyhow::Result<u64> {
        self.correlation = self.correlation.wrapping_add(1);
        set_correlation(&mut self.request, self.correlation);
        self.request[self.offset_at..self.offset_at + 8].copy_from_slice(&self.offset.to_be_bytes());
        self.stream.write_all(&self.request).context("send a fetch request")?;
        let mut len = 0;
        let mut frame_bytes = 4;
        while len < frame_bytes {
            let count = self.stream.read(&mut self.response[len..]).context("read a fetch response")?;
            ensure!(count > 0, "the broker closed the connection");
            len += count;
            if frame_bytes == 4 && len >= 4 {
                frame_bytes = 4 + u32::from_be_bytes(field(&self.response, 0)?) as usize;
                ensure!(frame_bytes <= self.response.len(), "a response of {frame_bytes} bytes");
            }
        }
        ensure!(len == frame_bytes, "more than one response to a request");
        let frame = &self.response[..len];
        ensure!(field(frame, 4)? == self.correlation.to_be_bytes(), "a response to another request");
        let from = self.offset;
        self.offset = behind_last_batch(records(frame, self.topic_len)?, from, verify)?;
        Ok((self.offset - from) as u64)
    }
}

/// The offset behind the last whole batch of `records`, which must start at `offset` and leave none out.
fn behind_last_batch(mut records: &[u8], mut offset: i64, verify: bool) -> anyhow::Result<i64> {
    let from = offset;
    while records.len() >= BATCH_HEADER_LEN {
        let header = BatchHeader::parse(records)?;
        let Some(batch) = records.get(..header.total_len()) else { break };
        ensure!(header.base_offset == offset, "a batch at {} where {offset} was to come", header.base_offset);
        ensure!(!verify || verify_crc(batch), "the batch at {offset} does not match its checksum");
        offset = header.last_offset() + 1;
        records = &records[header.total_len()..];
    }
    ensure!(offset > from, "a fetch at {from} gave no whole batch");
    Ok(offset)
}

/// The records in a fetch response of version 12 with one partition: decoded in full, they would have to be copied.
fn records(frame: &[u8], topic_len: usize) -> anyhow::Result<&[u8]> {
    // Size, correlation id, no tagged fields, throttle time, error, session, one topic, its name, one partition.
    let error = i16::from_be_bytes(field(frame, 13)?);
    ensure!(error == 0, "error {error}");
    let partition_at = 22 + topic_len;
    let expected: [(usize, u8); 4] = [(8, 0), (19, 2), (20, topic_len as u8 + 1), (partition_at - 1, 2)];
    for (at, byte) in expected {
        ensure!(frame.get(at) == Some(&byte), "a response that is not of one topic and one partition");
    }
    // Index, error, high watermark, last stable offset, log start offset.
    let error = i16::from_be_bytes(field(frame, partition_at + 4)?);
    ensure!(error == 0, "error {error} of the partition");
    // No aborted transactions, as null or as an empty array; then the preferred replica.
    let aborted_at = partition_at + 30;
    ensure!(matches!(frame.get(aborted_at), Some(0 | 1)), "aborted transactions where there are none");
    let mut at = aborted_at + 5;
    let (mut len, mut shift) = (0, 0);
    loop {
        let [byte] = field(frame, at)?;
        at += 1;
        len |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            break;
        }
        if shift > 28 {
            bail!("a length of more than five bytes");
        }
    }
    let len = len.checked_sub(1).context("null records")?;
    frame.get(at..at + len).context("records that go beyond the response")
}

fn field<const N: usize>(frame: &[u8], at: usize) -> anyhow::Result<[u8; N]> {
    frame.get(at..).and_then(|bytes| bytes.first_chunk()).copied().context("a short response")
}
