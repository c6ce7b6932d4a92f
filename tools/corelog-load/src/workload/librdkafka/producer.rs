//! One of librdkafka's producers: a thread that hands over records, and one that takes the delivery reports.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer as _, ProducerContext, PurgeConfig};
use rdkafka::{ClientConfig, ClientContext};

use super::values::Values;
use super::{METADATA_DEADLINE, is_passing, refusal};
use crate::client::ANSWER_DEADLINE;
use crate::client::target::Target;
use crate::clock;
use crate::keys::{KeyKind, Keys, key_bytes};
use crate::load::Load;
use crate::measure::{Arrival, Recorder};
use crate::options::{Acks, ProducerOptions};
use crate::schedule::Schedule;
use crate::workload::produce::Progress;
use crate::workload::producer::INTERRUPTED_DEADLINE;

/// How long reports are gathered before they are noted.
const POLL: Duration = Duration::from_millis(5);
/// How long a full queue is left to empty itself.
const QUEUE_FULL_WAIT: Duration = Duration::from_millis(1);
/// Records that are due in a shorter time are handed over together: a thread that is woken for each would take more CPU
/// than the client that is measured. They are late by as much at most, and their latency says so.
const TOGETHER: Duration = Duration::from_micros(100);
/// The longest sleep until a record is due: so often the thread looks whether the load is over.
const SLEEP_MAX: Duration = Duration::from_millis(50);

/// A producer, created and with its values ready.
pub struct Producer {
    client: BaseProducer<Reports>,
    target: Arc<Target>,
    /// The partitions that it fills in turn; `None` with keys, where librdkafka chooses.
    partitions: Option<Vec<usize>>,
    records_per_batch: u64,
    acks: Acks,
    records: Records,
}

/// The records of a producer.
pub struct Records {
    /// What they hold.
    pub values: Values,
    /// Their keys.
    pub keys: Keys,
    /// When they are meant to be sent.
    pub schedule: Schedule,
    /// How many; `None` for as many as there is time for.
    pub quota: Option<u64>,
}

/// What librdkafka tells, until it is noted.
#[derive(Default)]
struct Reports(Mutex<Told>);

#[derive(Default)]
struct Told {
    delivered: Vec<Delivered>,
    failures: Vec<Wrong>,
    passing_errors: u64,
}

/// A record that was delivered.
struct Delivered {
    /// When its report came.
    at: Instant,
    /// When it was meant to be sent, nanoseconds from the start.
    intended_ns: usize,
    value_bytes: u64,
}

/// What went wrong.
enum Wrong {
    /// With a record.
    Record { topic: String, partition: i32, code: Option<RDKafkaErrorCode>, message: String },
    /// With the client.
    Client(String),
}

impl Reports {
    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for Reports {
    fn error(&self, error: KafkaError, reason: &str) {
        let mut told = self.told();
        if is_passing(&error) {
            told.passing_errors += 1;
        } else {
            told.failures.push(Wrong::Client(format!("librdkafka: {error}: {reason}")));
        }
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, intended_ns: usize) {
        let mut told = self.told();
        match result {
            Ok(message) => {
                let value_bytes = message.payload_len() as u64;
                told.delivered.push(Delivered { at: clock::now(), intended_ns, value_bytes });
            }
            Err((error, message)) => told.failures.push(Wrong::Record {
                topic: message.topic().to_owned(),
                partition: message.partition(),
                code: error.rdkafka_error_code(),
                message: error.to_string(),
            }),
        }
    }
}

impl Producer {
    /// Creates the client, and has it connect.
    ///
    /// # Errors
    /// When librdkafka refuses, or no broker answers it.
    pub fn open(
        config: &ClientConfig,
        options: &ProducerOptions,
        target: &Arc<Target>,
        partitions: &[usize],
        records: Records,
    ) -> anyhow::Result<Producer> {
        let client: BaseProducer<Reports> = config.create_with_context(Reports::default()).map_err(refusal)?;
        let topic = &target.place(0).topic;
        let known = client.client().fetch_metadata(Some(topic), METADATA_DEADLINE);
        known.context("librdkafka asks for the topic")?;
        let partitions = (options.keys == KeyKind::None).then(|| partitions.to_vec());
        Ok(Producer {
            client,
            target: target.clone(),
            partitions,
            records_per_batch: u64::from(options.records_per_batch()),
            acks: options.acks,
            records,
        })
    }

    /// Sends until the load is over, and waits for the reports. How far it was behind its schedule in the end.
    ///
    /// # Errors
    /// When librdkafka does not take a record for a reason that does not pass, or no report comes for long.
    pub fn run(self, load: &Load, recorder: &Recorder, progress: &Progress) -> anyhow::Result<Duration> {
        let Producer { client, target, partitions, records_per_batch, acks, records } = self;
        let all_sent = AtomicBool::new(false);
        let mut sender = Sender { client: &client, target: &target, partitions, records_per_batch, records };
        let reporter = Reporter { client: &client, acks, load, recorder, progress };
        std::thread::scope(|scope| {
            let reporting = scope.spawn(|| {
                let outcome = reporter.run(&all_sent);
                if let Err(error) = outcome {
                    // The sender may wait for room that never comes.
                    load.fail(format!("{error:#}"));
                }
            });
            let behind = sender.run(load);
            all_sent.store(true, Ordering::Release);
            reporting.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            behind
        })
    }
}

/// The thread that hands over records.
struct Sender<'a> {
    client: &'a BaseProducer<Reports>,
    target: &'a Target,
    partitions: Option<Vec<usize>>,
    records_per_batch: u64,
    records: Records,
}

impl Sender<'_> {
    /// Sends until the load is over. How far it was behind its schedule then.
    fn run(&mut self, load: &Load) -> anyhow::Result<Duration> {
        clock::wake_on_time();
        clock::sleep_until(load.start());
        let pause = self.pause();
        let mut sent = 0;
        let mut key = self.next_key();
        loop {
            if self.records.quota == Some(sent) {
                // The last one that was sent.
                return Ok(self.behind(sent.saturating_sub(1), load));
            }
            let now = clock::now();
            let intended = self.records.schedule.begins(sent).map_or(now, |due| load.start() + due);
            if load.is_over(intended) {
                return Ok(self.behind(sent, load));
            }
            if intended > now {
                clock::sleep_until(intended.max(now + pause).min(now + SLEEP_MAX));
            } else if self.send(sent, key.as_deref(), intended, load)? {
                sent += 1;
                key = self.next_key();
            } else if load.is_over(now) {
                return Ok(self.behind(sent, load));
            } else {
                std::thread::sleep(QUEUE_FULL_WAIT);
            }
        }
    }

    /// The shortest sleep: none, unless records are due at shorter distances.
    fn pause(&self) -> Duration {
        let due = |index| self.records.schedule.begins(index).unwrap_or_default();
        if due(1).saturating_sub(due(0)) < TOGETHER { TOGETHER } else { Duration::ZERO }
    }

    fn next_key(&mut self) -> Option<Vec<u8>> {
        self.records.keys.draw().map(key_bytes)
    }

    /// Hands over record number `index`. Whether there was room for it.
    fn send(&mut self, index: u64, key: Option<&[u8]>, intended: Instant, load: &Load) -> anyhow::Result<bool> {
        let intended_ns = intended.saturating_duration_since(load.start()).as_nanos() as usize;
        // A partition after the other, each for as long as it takes to fill a batch; with keys a topic after the other.
        let place = match &self.partitions {
            Some(partitions) => {
                let turn = index / self.records_per_batch;
                self.target.place(partitions[(turn % partitions.len() as u64) as usize])
            }
            None => {
                let topics = self.target.topics();
                self.target.place(topics[(index % topics.len() as u64) as usize].start)
            }
        };
        let mut record = BaseRecord::<[u8], [u8], usize>::with_opaque_to(&place.topic, intended_ns);
        record.payload = Some(self.records.values.next(intended_ns as u64));
        record.key = key;
        record.partition = self.partitions.as_ref().map(|_| place.index);
        match self.client.send(record) {
            Ok(()) => {
                self.records.values.advance();
                Ok(true)
            }
            Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => Ok(false),
            Err((error, _)) => bail!("librdkafka does not take a record for topic '{}': {error}", place.topic.as_str()),
        }
    }

    /// How long record number `next` has been due when the load ends.
    fn behind(&self, next: u64, load: &Load) -> Duration {
        let Some(due) = self.records.schedule.begins(next) else { return Duration::ZERO };
        let now = clock::now();
        load.end().map_or(now, |end| now.min(end)).saturating_duration_since(load.start() + due)
    }
}

/// The thread that takes the delivery reports.
struct Reporter<'a> {
    client: &'a BaseProducer<Reports>,
    acks: Acks,
    load: &'a Load,
    recorder: &'a Recorder,
    progress: &'a Progress,
}

impl Reporter<'_> {
    /// Notes the reports until all records that were sent have one.
    fn run(&self, all_sent: &AtomicBool) -> anyhow::Result<()> {
        let mut last_report = clock::now();
        let mut is_purged = false;
        loop {
            // Before the reports are taken: afterwards it would say nothing of them.
            let is_last = all_sent.load(Ordering::Acquire) && self.client.in_flight_count() == 0;
            self.client.poll(if is_last { Duration::ZERO } else { POLL });
            let delivered = self.note();
            if self.acks != Acks::None {
                self.progress.acknowledge(delivered);
            }
            if is_last {
                return Ok(());
            }
            let now = clock::now();
            if delivered > 0 || self.client.in_flight_count() == 0 {
                last_report = now;
            }
            let waited = now.saturating_duration_since(last_report);
            if self.load.is_cut_short() {
                if !is_purged {
                    // What has not been sent yet is not to be sent any more.
                    self.client.purge(PurgeConfig::default().queue());
                    (is_purged, last_report) = (true, now);
                } else if waited > INTERRUPTED_DEADLINE {
                    return Ok(());
                }
            } else if waited > ANSWER_DEADLINE {
                bail!("librdkafka got no record acknowledged for {} s", ANSWER_DEADLINE.as_secs());
            }
        }
    }

    /// Notes what was told. How many records were delivered.
    fn note(&self) -> u64 {
        let told = std::mem::take(&mut *self.client.context().told());
        for _ in 0..told.passing_errors {
            self.load.count_error();
        }
        for wrong in told.failures {
            match wrong {
                // That is what became of records when the load was cut short.
                Wrong::Record {
                    code: Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight), ..
                } if self.load.is_cut_short() => {}
                Wrong::Record { topic, partition, message, .. } => {
                    self.load.fail(format!("partition {partition} of topic '{topic}': {message}"));
                }
                Wrong::Client(message) => self.load.fail(message),
            }
        }
        let delivered = told.delivered.len() as u64;
        self.recorder.add(told.delivered.into_iter().map(|Delivered { at, intended_ns, value_bytes }| {
            let from = self.load.start() + Duration::from_nanos(intended_ns as u64);
            Arrival {
                at,
                from: (self.acks != Acks::None).then_some(from),
                latencies: 1,
                records: 1,
                value_bytes,
                // librdkafka does not tell what its batches take.
                wire_bytes: 0,
            }
        }));
        delivered
    }
}
