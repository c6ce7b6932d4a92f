//! What the service does for a call: appends one order durably, and waits for the acknowledgement.

use std::net::SocketAddr;

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use corelog::protocol::KafkaString;
use corelog::protocol::messages::produce::ProduceRequest;
use corelog::record::{BatchBuilder, Compression, NO_PRODUCER_EPOCH, NO_PRODUCER_ID, NO_SEQUENCE};

use crate::client::cluster::Topic;
use crate::client::link::Link;
use crate::client::one_batch::produce_request;
use crate::client::wait::wait;
use crate::client::{ANSWER_DEADLINE, frame, parse_answer};
use crate::clock;
use crate::load::Load;
use crate::options::Acks;
use crate::workload::producer::{INTERRUPTED_DEADLINE, check};

/// How orders are appended.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// The version of Produce requests.
    pub version: i16,
    /// What an acknowledgement means.
    pub acks: Acks,
    /// How a batch of one order is compressed.
    pub compression: Compression,
}

/// Appends orders to a partition, one at a time.
pub struct Append {
    topic: KafkaString,
    partition: usize,
    manner: Manner,
    link: Link,
    leader: SocketAddr,
    correlation: i32,
    /// Id and epoch of an idempotent producer.
    producer: Option<(i64, i16)>,
    next_sequence: i32,
}

impl Append {
    /// Connects to the partition's leader.
    ///
    /// # Errors
    /// When that cannot be done.
    pub fn open(
        topic: &Topic,
        partition: usize,
        manner: Manner,
        producer: Option<(i64, i16)>,
    ) -> anyhow::Result<Append> {
        let leader = topic.leaders[partition];
        Ok(Append {
            topic: topic.name.as_str().into(),
            partition,
            manner,
            link: Link::connect(leader)?,
            leader,
            correlation: 0,
            producer,
            next_sequence: 0,
        })
    }

    /// Appends an order. Its offset, when the broker has acknowledged it.
    ///
    /// # Errors
    /// When the broker does not, or the load is cut short and the broker takes long. Nothing more can be appended then.
    pub fn append(&mut self, order: &[u8], load: &Load) -> anyhow::Result<i64> {
        let (id, epoch) = self.producer.unwrap_or((NO_PRODUCER_ID, NO_PRODUCER_EPOCH));
        let sequence = if self.producer.is_some() { self.next_sequence } else { NO_SEQUENCE };
        let batch = batch(order, self.manner.compression, (id, epoch, sequence))?;
        // Behind the last number comes 0.
        self.next_sequence = self.next_sequence.checked_add(1).unwrap_or(0);
        let request = produce_request(&self.topic, self.partition as i32, batch, self.manner.acks.code());
        self.correlation = self.correlation.wrapping_add(1);
        self.link.push(frame(self.manner.version, self.correlation, &request)?);
        let answer = self.exchange(load)?;
        let (correlation, response) = parse_answer::<ProduceRequest>(self.manner.version, answer)?;
        ensure!(correlation == self.correlation, "the broker answered what nobody asked");
        check(&response, self.partition as i32)
            .with_context(|| format!("partition {} of topic '{}'", self.partition, self.topic.as_str()))?;
        let mut acknowledged = response.responses.iter().flat_map(|topic| &topic.partition_responses);
        Ok(acknowledged.next().context("an acknowledgement of nothing")?.base_offset)
    }

    fn exchange(&mut self, load: &Load) -> anyhow::Result<Bytes> {
        let sent = clock::now();
        loop {
            self.link.flush()?;
            wait([&self.link].into_iter(), None)?;
            self.link.fill()?;
            if let Some(answer) = self.link.next_answer()? {
                return Ok(answer);
            }
            let waited = clock::now().saturating_duration_since(sent);
            if waited > ANSWER_DEADLINE || load.is_cut_short() && waited > INTERRUPTED_DEADLINE {
                bail!("the broker at {} did not answer a request for {:.0} s", self.leader, waited.as_secs_f64());
            }
        }
    }
}

/// The batch of one order, sent by a producer's id, epoch and sequence number.
///
/// # Errors
/// When it would be larger than a batch can be.
pub fn batch(order: &[u8], compression: Compression, producer: (i64, i16, i32)) -> anyhow::Result<Bytes> {
    let (id, epoch, sequence) = producer;
    let mut builder = BatchBuilder::new().compression(compression).producer(id, epoch, sequence);
    builder.append(clock::unix_ms(), None, Some(order), &[]);
    builder.build().context("encode a batch")
}
