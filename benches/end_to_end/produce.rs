//! The measured producers: a thread and a blocking connection each, that send encoded frames and check every answer.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use hdrhistogram::Histogram;

use crate::broker::Broker;
use crate::client::{self, Client, DEADLINE};
use crate::frames::{FrameRing, batch, set_correlation};
use crate::options::Timing;
use crate::payload::Payload;
use crate::report::Measured;
use crate::rows::ProduceLoad;
use crate::window::{self, Phase};

/// Room for the answers that a read finds; an answer takes less than 100 bytes.
const ANSWERS_BYTES: usize = 16 << 10;
/// Kafka's errors that pass while a new topic's leaders come up: UNKNOWN_TOPIC_OR_PARTITION, LEADER_NOT_AVAILABLE,
/// NOT_LEADER_OR_FOLLOWER.
const PASSING_ERRORS: [i16; 3] = [3, 5, 6];

/// Runs a produce row on a topic of its own, which is deleted afterwards.
///
/// # Errors
/// When any answer is not the one that it must be.
pub fn measure(name: &str, load: &ProduceLoad, broker: &mut Broker, timing: &Timing) -> anyhow::Result<Measured> {
    let mut control = Client::connect(broker.address())?;
    control.create_topic(name, load.partitions)?;
    let batch = batch(&mut Payload::new(7), load.records_per_request, load.value_bytes)?;
    let mut producers = Vec::new();
    for index in 0..load.producers {
        let partitions: Vec<i32> = (index..load.partitions).step_by(load.producers).map(|index| index as i32).collect();
        let (records, in_flight) = (load.records_per_request, load.in_flight);
        producers.push(Producer::open(broker.address(), name, &partitions, 0, &batch, records, in_flight)?);
    }
    let phase = Phase::default();
    let (window, latencies) = std::thread::scope(|scope| {
        let threads: Vec<_> = producers.into_iter().map(|producer| scope.spawn(|| producer.run(&phase))).collect();
        let window = window::run(&phase, timing, broker.process());
        let mut all = new_histogram()?;
        for thread in threads {
            let latencies = thread.join().map_err(|_| anyhow::anyhow!("a producer panicked"))??;
            all.add(latencies)?;
        }
        anyhow::Ok((window?, all))
    })?;
    ensure!(!latencies.is_empty(), "no request was answered in the measured window");
    let messages = latencies.len() * load.records_per_request as u64;
    let resident_bytes = broker.process().resident_bytes()?;
    control.delete_topic(name)?;
    Ok(Measured::load(&window, messages, load.value_bytes, &latencies, resident_bytes))
}

/// Request latencies in nanoseconds, to three digits.
///
/// # Errors
/// None: the bounds are constant.
pub fn new_histogram() -> anyhow::Result<Histogram<u64>> {
    Ok(Histogram::new_with_bounds(1, DEADLINE.as_nanos() as u64, 3)?)
}

/// What an answer says.
struct Answer {
    correlation: i32,
    partition: i32,
    error_code: i16,
    base_offset: i64,
}

/// A connection that sends the same batch to its partitions in turn.
pub struct Producer {
    stream: TcpStream,
    ring: FrameRing,
    /// Of each partition, in the ring's order: its index and the offset that its next batch must get.
    partitions: Vec<(i32, i64)>,
    topic_len: usize,
    records_per_request: i64,
    in_flight_max: usize,
    /// When each unanswered request was sent, oldest first.
    sent: VecDeque<Instant>,
    /// Requests sent so far: the next one's correlation id, and its place in the ring.
    sent_count: u64,
    answered_count: u64,
    answers: Vec<u8>,
    answers_len: usize,
}

impl Producer {
    /// Connects, and has one batch of `records` appended to each partition at `offset`, so that all of them are known
    /// to be served. It will keep `in_flight` requests on their way.
    ///
    /// # Errors
    /// When the answers are not these.
    pub fn open(
        address: SocketAddr,
        topic: &str,
        partitions: &[i32],
        offset: i64,
        batch: &Bytes,
        records: usize,
        in_flight: usize,
    ) -> anyhow::Result<Producer> {
        let mut producer = Producer {
            stream: client::connect(address)?,
            ring: FrameRing::new(topic, partitions, batch, in_flight)?,
            partitions: partitions.iter().map(|&index| (index, offset)).collect(),
            topic_len: topic.len(),
            records_per_request: records as i64,
            in_flight_max: in_flight,
            sent: VecDeque::with_capacity(in_flight),
            sent_count: 0,
            answered_count: 0,
            answers: vec![0; ANSWERS_BYTES],
            answers_len: 0,
        };
        for _ in partitions {
            producer.send_first()?;
        }
        Ok(producer)
    }

    /// Appends `requests` more batches.
    ///
    /// # Errors
    /// When any answer is not the one that it must be.
    pub fn append(&mut self, requests: u64) -> anyhow::Result<()> {
        let end = self.sent_count + requests;
        self.send(self.in_flight_max.min(requests as usize))?;
        while !self.sent.is_empty() {
            self.read()?;
            while let Some(answer) = self.next_answer()? {
                self.check(&answer)?;
                self.sent.pop_front().context("an answer that nothing asked for")?;
                if self.sent_count < end {
                    self.send(1)?;
                }
            }
        }
        Ok(())
    }

    fn send_first(&mut self) -> anyhow::Result<()> {
        let end = Instant::now() + DEADLINE;
        loop {
            self.send(1)?;
            let answer = loop {
                self.read()?;
                if let Some(answer) = self.next_answer()? {
                    break answer;
                }
            };
            self.sent.clear();
            if !PASSING_ERRORS.contains(&answer.error_code) {
                return self.check(&answer);
            }
            ensure!(Instant::now() < end, "error {} after {DEADLINE:?}", answer.error_code);
            // The same frame again.
            self.sent_count -= 1;
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends at full speed until the load is over; the latencies of the requests that were answered in the window.
    fn run(mut self, phase: &Phase) -> anyhow::Result<Histogram<u64>> {
        let result = self.run_until_over(phase);
        // One failure ends the others.
        phase.end();
        result
    }

    fn run_until_over(&mut self, phase: &Phase) -> anyhow::Result<Histogram<u64>> {
        let mut latencies = new_histogram()?;
        self.send(self.in_flight_max)?;
        while !self.sent.is_empty() {
            self.read()?;
            let now = Instant::now();
            let measured = phase.is_measured();
            let mut answered = 0;
            while let Some(answer) = self.next_answer()? {
                self.check(&answer)?;
                let sent = self.sent.pop_front().context("an answer that nothing asked for")?;
                if measured {
                    latencies.record((now - sent).as_nanos() as u64)?;
                }
                answered += 1;
            }
            if !phase.is_over() {
                self.send(answered)?;
            }
        }
        Ok(latencies)
    }

    /// Sends the next `count` frames: one system call, two where the ring wraps.
    fn send(&mut self, mut count: usize) -> anyhow::Result<()> {
        while count > 0 {
            let slot = (self.sent_count % self.ring.len() as u64) as usize;
            let here = count.min(self.ring.len() - slot);
            let frame_bytes = self.ring.frame_bytes();
            let frames = self.ring.frames_mut(slot, here);
            for frame in frames.chunks_exact_mut(frame_bytes) {
                set_correlation(frame, self.sent_count as i32);
                self.sent_count += 1;
            }
            let now = Instant::now();
            self.sent.extend(std::iter::repeat_n(now, here));
            self.stream.write_all(frames).context("send a produce request")?;
            count -= here;
        }
        Ok(())
    }

    /// Reads what is there, at least a byte.
    fn read(&mut self) -> anyhow::Result<()> {
        let count = self.stream.read(&mut self.answers[self.answers_len..]).context("read a produce response")?;
        ensure!(count > 0, "the broker closed the connection");
        self.answers_len += count;
        Ok(())
    }

    /// Takes the next whole answer.
    fn next_answer(&mut self) -> anyhow::Result<Option<Answer>> {
        let bytes = &self.answers[..self.answers_len];
        let Some(size) = bytes.first_chunk() else { return Ok(None) };
        let frame_bytes = 4 + u32::from_be_bytes(*size) as usize;
        ensure!(frame_bytes <= self.answers.len(), "an answer of {frame_bytes} bytes");
        let Some(frame) = bytes.get(..frame_bytes) else { return Ok(None) };
        let answer = parse(frame, self.topic_len)?;
        self.answers.copy_within(frame_bytes..self.answers_len, 0);
        self.answers_len -= frame_bytes;
        Ok(Some(answer))
    }

    /// Holds an answer to what it must be: the next request's, without an error, at the next offset.
    fn check(&mut self, answer: &Answer) -> anyhow::Result<()> {
        let place = (self.answered_count % self.partitions.len() as u64) as usize;
        let (partition, next_offset) = &mut self.partitions[place];
        ensure!(answer.error_code == 0, "partition {partition}: error {}", answer.error_code);
        ensure!(answer.correlation == self.answered_count as i32, "answers in another order than the requests");
        if answer.partition != *partition || answer.base_offset != *next_offset {
            bail!(
                "partition {partition} was to append at {next_offset}; partition {} did at {}",
                answer.partition,
                answer.base_offset
            );
        }
        *next_offset += self.records_per_request;
        self.answered_count += 1;
        Ok(())
    }
}

/// Reads a produce response of version 9 with one partition: decoded in full it would cost as much as the sending.
fn parse(frame: &[u8], topic_len: usize) -> anyhow::Result<Answer> {
    // Size, correlation id, no tagged fields, one topic, its name, one partition.
    let partition_at = 12 + topic_len;
    ensure!(frame.len() >= partition_at + 14, "an answer of {} bytes", frame.len());
    ensure!(
        frame[8] == 0 && frame[9] == 2 && usize::from(frame[10]) == topic_len + 1 && frame[partition_at - 1] == 2,
        "an answer that is not of one topic and one partition"
    );
    let field = |at: usize| &frame[at..];
    Ok(Answer {
        correlation: i32::from_be_bytes(*field(4).first_chunk().context("a short answer")?),
        partition: i32::from_be_bytes(*field(partition_at).first_chunk().context("a short answer")?),
        error_code: i16::from_be_bytes(*field(partition_at + 4).first_chunk().context("a short answer")?),
        base_offset: i64::from_be_bytes(*field(partition_at + 6).first_chunk().context("a short answer")?),
    })
}
