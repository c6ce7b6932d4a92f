//! A producer that sends again what was not answered: in order, the same bytes, and so the same sequence numbers.
//!
//! An idempotent producer's resend is recognised by the broker; any other may be appended twice. With acks 0 nothing is
//! answered and nothing is sent again: what a connection had not passed on when it broke is gone.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::ops::Range;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};
use bytes::Bytes;
use corelog::protocol::messages::produce::{ProduceRequest, ProduceResponse};
use corelog::protocol::{ApiKey, ErrorCode, KafkaString};

use super::{Again, find, place_of};
use crate::client::link::Link;
use crate::client::one_batch::produce_request;
use crate::client::retry::{Backoff, Trouble};
use crate::client::wait::wait;
use crate::client::{ANSWER_DEADLINE, frame, parse_answer};
use crate::clock;
use crate::options::Acks;

/// How it sends.
#[derive(Clone, Debug)]
pub struct Manner {
    /// The brokers to ask for the leaders.
    pub bootstrap: String,
    /// The topic, which must exist.
    pub topic: String,
    /// What an acknowledgement means.
    pub acks: Acks,
    /// Batches that are unanswered at a time, at most.
    pub in_flight: usize,
    /// How long nothing may work before it is an error.
    pub give_up: Duration,
}

/// A batch of one producer's records.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// Its partition.
    pub partition: usize,
    /// The numbers of its records.
    pub sequences: Range<u64>,
    /// The batch.
    pub bytes: Bytes,
    /// When it was meant to be sent.
    pub intended: Instant,
}

/// The producer.
pub struct ResilientProducer {
    manner: Manner,
    topic: KafkaString,
    state: State,
    /// What was sent, or is to be sent again, in order.
    unanswered: VecDeque<Unanswered>,
    correlation: i32,
    backoff: Backoff,
    was_connected: bool,
    again: Again,
}

enum State {
    Connected(Connected),
    /// Until then there is no new attempt to connect.
    Waiting(Instant),
}

struct Connected {
    version: i16,
    /// The leader of each partition.
    leaders: Vec<SocketAddr>,
    /// The connections to those that were needed so far.
    lanes: Vec<(SocketAddr, Link)>,
}

struct Unanswered {
    batch: Outgoing,
    correlation: i32,
    sent: Instant,
}

impl ResilientProducer {
    /// A producer; it connects with the first [`ResilientProducer::step`].
    pub fn new(manner: Manner) -> ResilientProducer {
        ResilientProducer {
            topic: manner.topic.as_str().into(),
            state: State::Waiting(clock::now()),
            unanswered: VecDeque::new(),
            correlation: 0,
            backoff: Backoff::new(manner.give_up),
            was_connected: false,
            again: Again::default(),
            manner,
        }
    }

    /// Whether it takes another batch now.
    pub fn has_room(&self) -> bool {
        matches!(self.state, State::Connected(_)) && self.unanswered.len() < self.manner.in_flight
    }

    /// Whether nothing is unanswered; with acks 0, whether everything was passed to the sockets or is gone.
    pub fn is_idle(&self) -> bool {
        self.unanswered.is_empty()
    }

    /// What it had to do again.
    pub fn again(&self) -> Again {
        self.again
    }

    /// Sends a batch, when there [is room](ResilientProducer::has_room).
    ///
    /// # Errors
    /// When the batch fits into no request, or nothing has worked for too long.
    pub fn send(&mut self, batch: Outgoing) -> anyhow::Result<()> {
        let sent = clock::now();
        self.unanswered.push_back(Unanswered { batch, correlation: 0, sent });
        let place = self.unanswered.len() - 1;
        let outcome = self.push(place);
        self.settle(outcome)
    }

    /// Passes a batch to the connection of its partition's leader.
    fn push(&mut self, place: usize) -> Result<(), Trouble> {
        let State::Connected(connected) = &mut self.state else { return Ok(()) };
        let unanswered = &mut self.unanswered[place];
        let batch = &unanswered.batch;
        let partition = batch.partition;
        let leader = connected.leaders.get(partition).copied();
        let leader =
            leader.ok_or_else(|| Trouble::Final(anyhow!("topic '{}' has no partition {partition}", self.topic)))?;
        let lane = match place_of(connected.lanes.iter().map(|(address, _)| *address), leader) {
            Some(lane) => lane,
            None => {
                connected.lanes.push((leader, Link::connect(leader).map_err(Trouble::Passing)?));
                connected.lanes.len() - 1
            }
        };
        let request = produce_request(&self.topic, partition as i32, batch.bytes.clone(), self.manner.acks.code());
        self.correlation = self.correlation.wrapping_add(1);
        let frame = frame(connected.version, self.correlation, &request).map_err(Trouble::Final)?;
        (unanswered.correlation, unanswered.sent) = (self.correlation, clock::now());
        let link = &mut connected.lanes[lane].1;
        link.push(frame);
        link.flush().map_err(Trouble::Passing)
    }

    /// Sends and receives what the sockets take and have; waits for them until `until`, a short time at most. The batches
    /// that were acknowledged.
    ///
    /// # Errors
    /// When the broker refuses a batch for good, or nothing has worked for too long.
    pub fn step(&mut self, until: Option<Instant>) -> anyhow::Result<Vec<Outgoing>> {
        let mut acknowledged = Vec::new();
        if let State::Waiting(attempt_at) = self.state {
            if clock::now() < attempt_at {
                wait(std::iter::empty(), Some(attempt_at))?;
                return Ok(acknowledged);
            }
            // Nothing can have come yet, and there may be something to send.
            let outcome = self.connect();
            self.settle(outcome)?;
            return Ok(acknowledged);
        }
        let outcome = self.exchange(until, &mut acknowledged);
        if !acknowledged.is_empty() {
            self.backoff.worked();
        }
        self.settle(outcome)?;
        Ok(acknowledged)
    }

    /// Connects to whoever leads now, and sends all that is unanswered again.
    fn connect(&mut self) -> Result<(), Trouble> {
        let found = find(&self.manner.bootstrap, &self.manner.topic, ApiKey::Produce);
        let (topic, version) = found.map_err(Trouble::Passing)?;
        if self.was_connected {
            self.again.reconnects += 1;
        }
        self.was_connected = true;
        self.state = State::Connected(Connected { version, leaders: topic.leaders, lanes: Vec::new() });
        if self.manner.acks == Acks::None {
            self.backoff.worked();
        }
        for place in 0..self.unanswered.len() {
            self.again.retries += 1;
            self.push(place)?;
        }
        Ok(())
    }

    fn exchange(&mut self, until: Option<Instant>, acknowledged: &mut Vec<Outgoing>) -> Result<(), Trouble> {
        let State::Connected(connected) = &mut self.state else { return Ok(()) };
        for (_, link) in &mut connected.lanes {
            link.flush().map_err(Trouble::Passing)?;
        }
        let is_passed_on = connected.lanes.iter().all(|(_, link)| link.queued_bytes() == 0);
        let mut until = until;
        if self.manner.acks == Acks::None && is_passed_on && !self.unanswered.is_empty() {
            // No answer will come, so there is room at once.
            self.unanswered.clear();
            until = Some(clock::now());
        }
        wait(connected.lanes.iter().map(|(_, link)| link), until).map_err(Trouble::Final)?;
        for (_, link) in &mut connected.lanes {
            link.flush().and_then(|()| link.fill()).map_err(Trouble::Passing)?;
            while let Some(answer) = link.next_answer().map_err(Trouble::Passing)? {
                let (correlation, response) =
                    parse_answer::<ProduceRequest>(connected.version, answer).map_err(Trouble::Final)?;
                let place = self.unanswered.iter().position(|sent| sent.correlation == correlation);
                let place = place.ok_or_else(|| Trouble::Final(anyhow!("the broker answered what nobody asked")))?;
                let partition = self.unanswered[place].batch.partition;
                judge(&response, partition, &self.topic)?;
                acknowledged.extend(self.unanswered.remove(place).map(|sent| sent.batch));
            }
        }
        let oldest = self.unanswered.front().map(|oldest| oldest.sent);
        if oldest.is_some_and(|sent| clock::now().saturating_duration_since(sent) > ANSWER_DEADLINE) {
            let seconds = ANSWER_DEADLINE.as_secs();
            return Err(Trouble::Passing(anyhow!("the broker did not answer a request for {seconds} s")));
        }
        Ok(())
    }

    /// After trouble that passes: no connection until the backoff has passed.
    fn settle(&mut self, outcome: Result<(), Trouble>) -> anyhow::Result<()> {
        match outcome {
            Ok(()) => Ok(()),
            Err(Trouble::Final(error)) => Err(error),
            Err(Trouble::Passing(error)) => {
                let now = clock::now();
                let began = self.unanswered.front().map_or(now, |oldest| oldest.sent);
                if self.manner.acks == Acks::None {
                    // What was lost with the connection is lost.
                    self.unanswered.clear();
                }
                self.state = State::Waiting(self.backoff.failed(began, now, error).context("producer")?);
                Ok(())
            }
        }
    }
}

/// Whether an answer acknowledges a batch for `partition`.
fn judge(response: &ProduceResponse, partition: usize, topic: &str) -> Result<(), Trouble> {
    let what = || format!("partition {partition} of topic '{topic}'");
    let mut results = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    let result = results.next().filter(|result| result.index as usize == partition);
    let result = result.ok_or_else(|| Trouble::Final(anyhow!("{}: the broker's answer is of no batch", what())))?;
    match result.error_code {
        // The broker has it, from longer ago than it remembers the offset of (Kafka's Sender takes it for success).
        ErrorCode::None | ErrorCode::DuplicateSequenceNumber => Ok(()),
        code => {
            let message = result.error_message.as_deref().map(|message| format!(": {message}")).unwrap_or_default();
            let hint = match code {
                ErrorCode::OutOfOrderSequenceNumber | ErrorCode::UnknownProducerId => {
                    ": everything before this batch was acknowledged, so the broker has forgotten acknowledged records"
                }
                _ => "",
            };
            Err(Trouble::of(code, anyhow!("{}: {}{message}{hint}", what(), code.name())))
        }
    }
}

#[cfg(test)]
mod tests {
    use corelog::protocol::messages::produce::{PartitionProduceResponse, TopicProduceResponse};

    use super::*;

    fn response(index: i32, error_code: ErrorCode) -> ProduceResponse {
        let partition = PartitionProduceResponse { index, error_code, ..Default::default() };
        let topic = TopicProduceResponse { partition_responses: vec![partition], ..Default::default() };
        ProduceResponse { responses: vec![topic], ..Default::default() }
    }

    #[test]
    fn an_answer_acknowledges_or_passes_or_is_final() {
        let judged = |index, code| judge(&response(index, code), 3, "t");
        assert!(judged(3, ErrorCode::None).is_ok());
        assert!(judged(3, ErrorCode::DuplicateSequenceNumber).is_ok());
        assert!(matches!(judged(3, ErrorCode::NotLeaderOrFollower), Err(Trouble::Passing(_))));
        assert!(matches!(judged(3, ErrorCode::MessageTooLarge), Err(Trouble::Final(_))));
        assert!(matches!(judged(4, ErrorCode::None), Err(Trouble::Final(_))));
        assert!(matches!(judge(&ProduceResponse::default(), 3, "t"), Err(Trouble::Final(_))));
        let Err(Trouble::Final(error)) = judged(3, ErrorCode::OutOfOrderSequenceNumber) else { panic!("it is final") };
        assert!(error.to_string().contains("forgotten acknowledged records"), "{error}");
    }
}
