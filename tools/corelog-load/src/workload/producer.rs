//! One producer's thread: sends when a batch is due and there is room, and notes each acknowledgement.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use corelog::protocol::messages::produce::{ProduceRequest, ProduceResponse};

use super::produce::Progress;
use crate::batches::{BatchSource, Moment};
use crate::client::link::Link;
use crate::client::one_batch::produce_request;
use crate::client::target::Target;
use crate::client::wait::wait;
use crate::client::{ANSWER_DEADLINE, frame, parse_answer};
use crate::clock;
use crate::load::Load;
use crate::measure::{Arrival, Recorder};
use crate::options::Acks;
use crate::schedule::Schedule;

/// With so many bytes waiting for the socket, a connection gets no more.
const QUEUED_BYTES_MAX: usize = 256 << 10;
/// How long acknowledgements are waited for after Ctrl-C.
pub(super) const INTERRUPTED_DEADLINE: Duration = Duration::from_secs(2);

/// How a producer asks.
#[derive(Clone, Copy, Debug)]
pub struct Manner {
    /// The version of its requests.
    pub version: i16,
    /// What an acknowledgement means.
    pub acks: Acks,
    /// Requests that a connection has on their way, at most.
    pub in_flight: usize,
    /// Connections to a leader, at most: its partitions are shared out among them.
    pub connections: usize,
}

/// A producer, connected and with its batches ready.
pub struct Producer {
    target: Arc<Target>,
    manner: Manner,
    lanes: Vec<Lane>,
    /// The lane of each partition of the target; only of those that it fills.
    lane_of: Vec<usize>,
    source: BatchSource,
    schedule: Schedule,
    /// Records that it has to send; `None` for as many as there is time for.
    quota: Option<u64>,
    records_sent: u64,
    /// Records of the batch that was sent last.
    last_records: u64,
    correlation: i32,
}

/// A connection to a leader.
struct Lane {
    link: Link,
    unanswered: VecDeque<Unanswered>,
}

/// A request on its way.
struct Unanswered {
    correlation: i32,
    partition: usize,
    /// When it was meant to be sent: what its latency counts from.
    intended: Instant,
    sent: Instant,
    records: u64,
    value_bytes: u64,
    wire_bytes: u64,
}

impl Unanswered {
    fn arrival(&self, at: Instant, from: Option<Instant>) -> Arrival {
        let &Unanswered { records, value_bytes, wire_bytes, .. } = self;
        Arrival { at, from, latencies: 1, records, value_bytes, wire_bytes }
    }
}

impl Producer {
    /// Connects to the leaders of `partitions`.
    ///
    /// # Errors
    /// When that cannot be done.
    pub fn open(
        target: &Arc<Target>,
        partitions: &[usize],
        manner: Manner,
        source: BatchSource,
        schedule: Schedule,
        quota: Option<u64>,
    ) -> anyhow::Result<Producer> {
        let mut lanes = Vec::new();
        let mut lane_of = vec![usize::MAX; target.len()];
        for (address, partitions) in target.by_connection(partitions.iter().copied(), manner.connections) {
            for partition in partitions {
                lane_of[partition] = lanes.len();
            }
            lanes.push(Lane { link: Link::connect(address)?, unanswered: VecDeque::new() });
        }
        Ok(Producer {
            target: target.clone(),
            manner,
            lanes,
            lane_of,
            source,
            schedule,
            quota,
            records_sent: 0,
            last_records: 0,
            correlation: 0,
        })
    }

    /// Sends until the load is over, and waits for what is unanswered. How far it was behind its
    /// schedule in the end. `progress` is told of the records of each answer; with acks 0 of none.
    ///
    /// # Errors
    /// When a request fails, or a connection breaks.
    pub fn run(mut self, load: &Load, recorder: &Recorder, progress: &Progress) -> anyhow::Result<Duration> {
        clock::wake_on_time();
        let mut behind = None;
        loop {
            let now = clock::now();
            if behind.is_none() {
                self.send_due(now, load)?;
                if self.quota == Some(0) || load.is_over(now) {
                    behind = Some(self.behind(now, load));
                }
            }
            for lane in &mut self.lanes {
                lane.link.flush()?;
            }
            if self.manner.acks == Acks::None {
                self.note_unanswerable(recorder);
            }
            if let Some(behind) = behind
                && self.lanes.iter().all(|lane| lane.unanswered.is_empty())
            {
                return Ok(behind);
            }
            let until = if behind.is_some() { None } else { self.next_due(load) };
            wait(self.lanes.iter().map(|lane| &lane.link), until)?;
            self.receive(recorder, progress)?;
            if self.is_given_up(load)? {
                return Ok(Duration::ZERO);
            }
        }
    }

    /// When the next batch is due, when there is room for it; otherwise an answer has to come first.
    fn next_due(&mut self, load: &Load) -> Option<Instant> {
        let lane = self.lane_of[self.source.next_partition()];
        let (_, leaves) = self.next_times(load, load.start());
        self.has_room(lane).then_some(leaves)
    }

    /// When the first record of the next batch is meant to be sent, and when the batch has all of them; `now` in a
    /// closed loop.
    fn next_times(&mut self, load: &Load, now: Instant) -> (Instant, Instant) {
        let begins = self.schedule.begins(self.records_sent).map_or(now, |begins| load.start() + begins);
        (begins, begins + self.schedule.spacing() * self.next_records().saturating_sub(1))
    }

    /// Records of the next batch; 0 when all have been sent.
    fn next_records(&mut self) -> u32 {
        let left = self.quota.map_or(u32::MAX, |quota| u32::try_from(quota).unwrap_or(u32::MAX));
        self.source.next_records().min(left)
    }

    fn has_room(&self, lane: usize) -> bool {
        let lane = &self.lanes[lane];
        lane.unanswered.len() < self.manner.in_flight && lane.link.queued_bytes() < QUEUED_BYTES_MAX
    }

    /// Sends all that is due and has room.
    fn send_due(&mut self, now: Instant, load: &Load) -> anyhow::Result<()> {
        if now < load.start() {
            return Ok(());
        }
        loop {
            let (intended, leaves) = self.next_times(load, now);
            let records = self.next_records();
            if records == 0 || leaves > now || load.is_over(leaves) {
                return Ok(());
            }
            let lane = self.lane_of[self.source.next_partition()];
            if !self.has_room(lane) {
                return Ok(());
            }
            self.send(lane, records, intended, now, load)?;
            if let Some(quota) = &mut self.quota {
                *quota -= u64::from(records);
            }
        }
    }

    fn send(&mut self, lane: usize, records: u32, intended: Instant, now: Instant, load: &Load) -> anyhow::Result<()> {
        let moment = Moment {
            unix_ms: clock::unix_ms(),
            intended: intended.saturating_duration_since(load.start()),
            spacing: self.schedule.spacing(),
        };
        let batch = self.source.take(records, moment)?;
        let wire_bytes = batch.bytes.len() as u64;
        let place = self.target.place(batch.partition);
        let request = produce_request(&place.topic, place.index, batch.bytes, self.manner.acks.code());
        self.correlation = self.correlation.wrapping_add(1);
        let frame = frame(self.manner.version, self.correlation, &request)?;
        let lane = &mut self.lanes[lane];
        lane.link.push(frame);
        lane.unanswered.push_back(Unanswered {
            correlation: self.correlation,
            partition: batch.partition,
            intended,
            sent: now,
            records: u64::from(records),
            value_bytes: batch.value_bytes,
            wire_bytes,
        });
        self.records_sent += u64::from(records);
        self.last_records = u64::from(records);
        Ok(())
    }

    /// How long the next batch has been due when the load ends.
    fn behind(&self, now: Instant, load: &Load) -> Duration {
        let before = match self.quota {
            // Of the last one that was sent.
            Some(0) => self.records_sent - self.last_records,
            _ => self.records_sent,
        };
        let Some(due) = self.schedule.begins(before) else { return Duration::ZERO };
        let now = load.end().map_or(now, |end| now.min(end));
        now.saturating_duration_since(load.start() + due)
    }

    /// With acks 0 there is no answer: what the socket has taken is all that is known.
    fn note_unanswerable(&mut self, recorder: &Recorder) {
        let at = clock::now();
        for lane in &mut self.lanes {
            if lane.link.queued_bytes() == 0 {
                recorder.add(lane.unanswered.drain(..).map(|sent| sent.arrival(at, None)));
            }
        }
    }

    fn receive(&mut self, recorder: &Recorder, progress: &Progress) -> anyhow::Result<()> {
        for lane in &mut self.lanes {
            lane.link.fill()?;
            let at = clock::now();
            let mut arrivals = Vec::new();
            let outcome = loop {
                match lane.next_acknowledged(self.manner.version, &self.target) {
                    Ok(Some(request)) => arrivals.push(request.arrival(at, Some(request.intended))),
                    Ok(None) => break Ok(()),
                    Err(error) => break Err(error),
                }
            };
            if !arrivals.is_empty() {
                progress.acknowledge(arrivals.iter().map(|arrival: &Arrival| arrival.records).sum());
                recorder.add(arrivals);
            }
            outcome?;
        }
        Ok(())
    }

    /// Whether nothing more is waited for: after Ctrl-C, and after another thread's failure, that is soon.
    fn is_given_up(&self, load: &Load) -> anyhow::Result<bool> {
        let oldest = self.lanes.iter().filter_map(|lane| lane.unanswered.front()).map(|request| request.sent).min();
        let waited = oldest.map_or(Duration::ZERO, |sent| clock::now().saturating_duration_since(sent));
        if load.is_cut_short() {
            return Ok(waited > INTERRUPTED_DEADLINE);
        }
        ensure!(waited < ANSWER_DEADLINE, "the broker did not answer a request for {} s", ANSWER_DEADLINE.as_secs());
        Ok(false)
    }
}

impl Lane {
    /// Takes the next answer that has come: the request that it acknowledges.
    fn next_acknowledged(&mut self, version: i16, target: &Target) -> anyhow::Result<Option<Unanswered>> {
        let Some(answer) = self.link.next_answer()? else { return Ok(None) };
        let (correlation, response) = parse_answer::<ProduceRequest>(version, answer)?;
        let request = self.unanswered.pop_front().context("the broker answered what nobody asked")?;
        ensure!(correlation == request.correlation, "the broker answered requests out of order");
        check(&response, target.place(request.partition).index).with_context(|| target.describe(request.partition))?;
        Ok(Some(request))
    }
}

/// Holds an answer to being an acknowledgement of one batch for `partition`.
pub(super) fn check(response: &ProduceResponse, partition: i32) -> anyhow::Result<()> {
    let mut results = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    let result = results.next().context("the broker's answer says nothing of the batch")?;
    ensure!(result.index == partition, "the broker's answer is of partition {}", result.index);
    if !result.error_code.is_ok() {
        let message = result.error_message.as_deref().map(|message| format!(": {message}")).unwrap_or_default();
        bail!("{}{message}", result.error_code.name());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use corelog::protocol::ErrorCode;
    use corelog::protocol::messages::produce::{PartitionProduceResponse, TopicProduceResponse};

    use super::*;

    #[test]
    fn only_an_acknowledgement_of_the_partition_is_one() {
        let response = |index, error_code, message: Option<&str>| {
            let partition = PartitionProduceResponse {
                index,
                error_code,
                error_message: message.map(Into::into),
                ..Default::default()
            };
            let topic = TopicProduceResponse { partition_responses: vec![partition], ..Default::default() };
            ProduceResponse { responses: vec![topic], ..Default::default() }
        };
        let outcome = |response| check(&response, 3).map_err(|error| error.to_string());
        assert_eq!(outcome(response(3, ErrorCode::None, None)), Ok(()));
        assert_eq!(
            outcome(response(4, ErrorCode::None, None)),
            Err("the broker's answer is of partition 4".to_owned())
        );
        assert_eq!(
            outcome(response(3, ErrorCode::MessageTooLarge, Some("no"))),
            Err("MESSAGE_TOO_LARGE: no".to_owned())
        );
        assert!(outcome(ProduceResponse::default()).is_err());
    }
}
