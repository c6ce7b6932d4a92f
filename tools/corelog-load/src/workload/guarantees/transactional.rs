//! The producer of exactly-once with transactions: what the broker offers, and no file beside it is needed for.
//!
//! Each life, and each new attempt after an error, begins with the transactional id: the broker raises the producer's
//! epoch, so that whoever had the id before is fenced off, and ends what that one left open. Then the producer reads its
//! own committed records, and goes on behind them: what was aborted is sent again under the same numbers. A transaction
//! is a batch for each partition. `sent` is noted before a batch is sent, `acknowledged` after its transaction was
//! committed, or when its records are found to be.

use std::net::SocketAddr;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use corelog::protocol::messages::find_coordinator::TRANSACTION;
use corelog::protocol::messages::init_producer_id::InitProducerIdRequest;
use corelog::protocol::messages::produce::ProduceRequest;
use corelog::protocol::{ApiKey, ErrorCode, KafkaString};

use super::consumer::committed_reader;
use super::notes::{Note, Notes};
use super::settings::Settings;
use crate::check::intervals::Intervals;
use crate::check::numbered::{BatchProducer, NumberedBatches};
use crate::check::reading;
use crate::client::cluster::{Cluster, Topic};
use crate::client::control::Control;
use crate::client::one_batch::produce_request;
use crate::client::retry::Backoff;
use crate::client::transactions::Transaction;
use crate::clock;
use crate::load::Interrupt;
use crate::options::Acks;
use crate::schedule::Schedule;
use crate::workload::resilient::consumer::Fetched;
use crate::workload::resilient::ends;

/// How long a transaction may stay open, milliseconds: Kafka's default (`transaction.timeout.ms`).
const TRANSACTION_TIMEOUT_MS: i32 = 60_000;
/// The last version in which a producer names its partitions before it fills them, as this one does (KIP-890).
const PRODUCE_VERSION_MAX: i16 = 11;
/// How often a coordinator that still ends the transaction before is asked again, and how long.
const CONCURRENT_EVERY: Duration = Duration::from_millis(10);
const CONCURRENT_MAX: Duration = Duration::from_secs(30);

/// Sends until it is told to stop. Transactions are whole steps, so nothing is open then.
///
/// # Errors
/// When nothing works for too long.
pub fn produce(settings: &Settings, directory: &Path, interrupt: &Interrupt) -> anyhow::Result<()> {
    let (sent, _) = Notes::open(&directory.join("sent"))?;
    let (acknowledged, known) = Notes::open(&directory.join("acknowledged"))?;
    let batches =
        NumberedBatches::new(settings.run, 0, settings.record_bytes, settings.compression()?, &settings.payload()?)?;
    let mut committed = vec![Intervals::default(); settings.starts.len()];
    for note in known {
        let partition = committed.get_mut(note.partition as usize).context("a note of a partition that is none")?;
        partition.insert(note.sequences);
    }
    let mut producer = Producer { settings, batches, sent, acknowledged, committed };
    let mut backoff = Backoff::new(settings.give_up());
    loop {
        let outcome = Session::open(settings).and_then(|session| producer.run(session, &mut backoff, interrupt));
        match outcome {
            Ok(()) => return Ok(()),
            // Whatever it is, the way out is the same: the broker ends what is open, and the committed records tell the rest.
            Err(error) => clock::sleep_until(backoff.failed(clock::now(), clock::now(), error)?),
        }
    }
}

struct Producer<'a> {
    settings: &'a Settings,
    batches: NumberedBatches,
    sent: Notes,
    acknowledged: Notes,
    /// What is noted as acknowledged, by partition.
    committed: Vec<Intervals>,
}

impl Producer<'_> {
    fn run(&mut self, mut session: Session, backoff: &mut Backoff, interrupt: &Interrupt) -> anyhow::Result<()> {
        let mut next = self.recover()?;
        let records = u64::from(self.settings.records_per_batch);
        let schedule = Schedule::new(Some(self.settings.rate), records * next.len() as u64, 0, 1);
        let start = clock::now();
        for index in 0.. {
            let due = start + schedule.batch_begins(index).context("a schedule without a rate")?;
            while clock::now() < due && !interrupt.is_set() {
                clock::sleep_until(due.min(clock::now() + CONCURRENT_EVERY));
            }
            if interrupt.is_set() {
                break;
            }
            let ranges: Vec<Range<u64>> = next.iter().map(|&first| first..first + records).collect();
            self.transaction(&mut session, &ranges)?;
            for (partition, sequences) in ranges.into_iter().enumerate() {
                next[partition] = sequences.end;
                self.note_committed(partition, sequences)?;
            }
            backoff.worked();
        }
        Ok(())
    }

    /// Reads this run's committed records, and notes those that are not noted. The next number of each partition.
    fn recover(&mut self) -> anyhow::Result<Vec<u64>> {
        let settings = self.settings;
        let mut reader = committed_reader(settings, settings.starts.clone());
        reader.end_at(&ends(&settings.bootstrap, &settings.topic, settings.give_up())?);
        let mut found = vec![Intervals::default(); settings.starts.len()];
        while !reader.is_done() {
            for one in reader.step()? {
                match one {
                    Fetched::Fault { what, .. } => bail!("{what}"),
                    Fetched::Batch { partition, from, header, bytes, .. } => {
                        let reading = reading::read(&header, &bytes, from, u32::try_from(partition)?, settings.run);
                        reading.runs.into_iter().for_each(|run| {
                            found[partition].insert(run.sequences);
                        });
                    }
                }
            }
        }
        let mut next = Vec::new();
        for (partition, found) in found.iter().enumerate() {
            let fresh: Vec<Range<u64>> = found.without(&self.committed[partition]).collect();
            for sequences in fresh {
                self.note_committed(partition, sequences)?;
            }
            next.push(found.ranges().next_back().map_or(0, |last| last.end));
        }
        Ok(next)
    }

    fn note_committed(&mut self, partition: usize, sequences: Range<u64>) -> anyhow::Result<()> {
        self.committed[partition].insert(sequences.clone());
        self.acknowledged.append(&Note { partition: u32::try_from(partition)?, sequences, offset: 0, next_offset: 0 })
    }

    /// A batch for each partition, and their commit.
    fn transaction(&mut self, session: &mut Session, ranges: &[Range<u64>]) -> anyhow::Result<()> {
        session.begin(ranges.len())?;
        for (partition, sequences) in ranges.iter().enumerate() {
            let producer = BatchProducer {
                id: session.transaction.producer_id,
                epoch: session.transaction.producer_epoch,
                sequence: session.sequences[partition],
                transactional: true,
            };
            let bytes = self.batches.build(partition, sequences.clone(), 0, clock::unix_ms(), Some(producer))?;
            let note =
                Note { partition: u32::try_from(partition)?, sequences: sequences.clone(), offset: 0, next_offset: 0 };
            self.sent.append(&note)?;
            session.send(partition, bytes)?;
            session.sequences[partition] += sequences.end - sequences.start;
        }
        session.commit()
    }
}

/// The producer's place at the broker, with one epoch.
struct Session {
    transaction: Transaction,
    coordinator: Control,
    topic: Topic,
    topic_name: KafkaString,
    produce_version: i16,
    leaders: Vec<(SocketAddr, Control)>,
    /// The next sequence number of each partition: from 0 in each epoch.
    sequences: Vec<u64>,
}

impl Session {
    /// Takes the transactional id over from whoever had it.
    fn open(settings: &Settings) -> anyhow::Result<Session> {
        let mut cluster = Cluster::connect(&settings.bootstrap)?;
        let topic = cluster.topic(&settings.topic)?;
        let version = cluster.version(ApiKey::InitProducerId)?;
        let produce_version = cluster.version(ApiKey::Produce)?.min(PRODUCE_VERSION_MAX);
        let transactional_id: KafkaString = settings.group.as_str().into();
        let mut coordinator = Control::connect(cluster.coordinator(&settings.group, TRANSACTION)?)?;
        let request = InitProducerIdRequest {
            transactional_id: Some(transactional_id.clone()),
            transaction_timeout_ms: TRANSACTION_TIMEOUT_MS,
            ..Default::default()
        };
        let mut given = None;
        settled("InitProducerId", || {
            let response = coordinator.call(version, &request)?;
            given = Some((response.producer_id, response.producer_epoch));
            Ok(response.error_code)
        })?;
        let (producer_id, producer_epoch) = given.context("no answer to InitProducerId")?;
        Ok(Session {
            transaction: Transaction { transactional_id, producer_id, producer_epoch },
            coordinator,
            sequences: vec![0; topic.leaders.len()],
            topic_name: settings.topic.as_str().into(),
            topic,
            produce_version,
            leaders: Vec::new(),
        })
    }

    fn begin(&mut self, partitions: usize) -> anyhow::Result<()> {
        let partitions: Vec<usize> = (0..partitions).collect();
        let Session { transaction, coordinator, topic, .. } = self;
        settled("AddPartitionsToTxn", || transaction.add_partitions(coordinator, &topic.name, &partitions))
    }

    fn send(&mut self, partition: usize, bytes: bytes::Bytes) -> anyhow::Result<()> {
        let address = *self.topic.leaders.get(partition).context("a partition that the topic has not")?;
        let place = match self.leaders.iter().position(|(known, _)| *known == address) {
            Some(place) => place,
            None => {
                self.leaders.push((address, Control::connect(address)?));
                self.leaders.len() - 1
            }
        };
        let request = ProduceRequest {
            transactional_id: Some(self.transaction.transactional_id.clone()),
            ..produce_request(&self.topic_name, i32::try_from(partition)?, bytes, Acks::All.code())
        };
        let response = self.leaders[place].1.call(self.produce_version, &request)?;
        let mut results = response.responses.iter().flat_map(|topic| &topic.partition_responses);
        let code = results.next().context("an empty answer to Produce")?.error_code;
        ensure!(code.is_ok(), "Produce to partition {partition}: {}", code.name());
        Ok(())
    }

    fn commit(&mut self) -> anyhow::Result<()> {
        let Session { transaction, coordinator, .. } = self;
        settled("EndTxn", || transaction.end(coordinator, true))
    }
}

/// Asks again while the coordinator still ends the transaction before.
fn settled(what: &str, mut ask: impl FnMut() -> anyhow::Result<ErrorCode>) -> anyhow::Result<()> {
    let end = clock::now() + CONCURRENT_MAX;
    loop {
        match ask()? {
            ErrorCode::None => return Ok(()),
            ErrorCode::ConcurrentTransactions if clock::now() < end => std::thread::sleep(CONCURRENT_EVERY),
            code => bail!("{what}: {}", code.name()),
        }
    }
}
