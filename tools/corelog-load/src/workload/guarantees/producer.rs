//! The producer that is killed, and how each of its lives goes on from the one before.
//!
//! - **at most once**: acks 0. It goes on behind everything that it ever meant to send.
//! - **at least once**: acks all, no producer id. It sends again all that is not known to be acknowledged.
//! - **exactly once**, where the broker serves transactions: see `transactional`.
//! - **exactly once**, where it does not: the same with a producer id that outlives it: id and epoch are kept in a file before the first
//!   batch is sent, and a batch has the same sequence numbers in each life. So the broker finds what it has already, as
//!   it does for resends within a life. That needs what brokers remember: the last five batches of each partition, and
//!   no more are ever unanswered.

use std::path::Path;

use anyhow::Context;

use super::notes::{Note, Notes};
use super::settings::Settings;
use super::transactional;
use crate::check::intervals::Intervals;
use crate::check::numbered::{BatchProducer, NumberedBatches};
use crate::client::cluster::Cluster;
use crate::clock;
use crate::load::Interrupt;
use crate::options::{Acks, Mode};
use crate::schedule::Schedule;
use crate::workload::resilient::producer::{Manner, Outgoing, ResilientProducer};

/// The file of the producer's id and epoch.
const SESSION: &str = "session.json";

/// Sends until it is told to stop, and then waits until everything is acknowledged.
///
/// # Errors
/// When the broker refuses something for good, or nothing works for too long.
pub fn produce(settings: &Settings, directory: &Path, interrupt: &Interrupt) -> anyhow::Result<()> {
    if settings.transactional {
        return transactional::produce(settings, directory, interrupt);
    }
    let (sent, earlier) = Notes::open(&directory.join("sent"))?;
    let (acknowledged, known) = Notes::open(&directory.join("acknowledged"))?;
    let is_acknowledged = settings.mode != Mode::AtMostOnce;
    let batches =
        NumberedBatches::new(settings.run, 0, settings.record_bytes, settings.compression()?, &settings.payload()?)?;
    let session = if settings.mode == Mode::ExactlyOnce { Some(session(settings, directory)?) } else { None };
    let client = ResilientProducer::new(Manner {
        bootstrap: settings.bootstrap.clone(),
        topic: settings.topic.clone(),
        acks: if is_acknowledged { Acks::All } else { Acks::None },
        in_flight: settings.in_flight,
        give_up: settings.give_up(),
    });
    let next = next_numbers(&earlier, settings.starts.len())?;
    let mut producer = Producer { client, batches, session, sent, acknowledged };
    if is_acknowledged {
        for note in unacknowledged(earlier, &known) {
            producer.send(note.partition as usize, note.sequences)?;
        }
    }
    producer.go_on(settings, next, interrupt)
}

/// What is to be sent again: batches in the order in which they were sent first.
fn unacknowledged(sent: Vec<Note>, acknowledged: &[Note]) -> Vec<Note> {
    let mut known: Vec<Intervals> = Vec::new();
    for note in acknowledged {
        let partition = note.partition as usize;
        known.resize_with(known.len().max(partition + 1), Intervals::default);
        known[partition].insert(note.sequences.clone());
    }
    let is_missing = |note: &Note| {
        known.get(note.partition as usize).is_none_or(|known| !known.gaps(note.sequences.clone()).is_empty())
    };
    sent.into_iter().filter(is_missing).collect()
}

/// The next number of each partition.
fn next_numbers(sent: &[Note], partitions: usize) -> anyhow::Result<Vec<u64>> {
    let mut next = vec![0; partitions];
    for note in sent {
        let place: Option<&mut u64> = next.get_mut(note.partition as usize);
        let place = place.context("a note of a partition that the topic has not")?;
        *place = (*place).max(note.sequences.end);
    }
    Ok(next)
}

/// The producer's id and epoch: those of the life before, or new ones, kept before they are used.
fn session(settings: &Settings, directory: &Path) -> anyhow::Result<(i64, i16)> {
    let path = directory.join(SESSION);
    let context = || format!("{}", path.display());
    match std::fs::read(&path) {
        Ok(bytes) => serde_json::from_slice(&bytes).with_context(context),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let mut backoff = crate::client::retry::Backoff::new(settings.give_up());
            let session = loop {
                let began = clock::now();
                match Cluster::connect(&settings.bootstrap).and_then(|mut cluster| cluster.producer_id()) {
                    Ok(session) => break session,
                    Err(error) => clock::sleep_until(backoff.failed(began, clock::now(), error)?),
                }
            };
            // Whole or not at all.
            let unfinished = path.with_extension("new");
            std::fs::write(&unfinished, serde_json::to_vec(&session)?).with_context(context)?;
            std::fs::rename(&unfinished, &path).with_context(context)?;
            Ok(session)
        }
        Err(error) => Err(error).with_context(context),
    }
}

struct Producer {
    client: ResilientProducer,
    batches: NumberedBatches,
    session: Option<(i64, i16)>,
    sent: Notes,
    acknowledged: Notes,
}

impl Producer {
    /// New batches at the rate, the partitions in turn.
    fn go_on(&mut self, settings: &Settings, mut next: Vec<u64>, interrupt: &Interrupt) -> anyhow::Result<()> {
        let records = u64::from(settings.records_per_batch);
        let schedule = Schedule::new(Some(settings.rate), records, 0, 1);
        let start = clock::now();
        // Another life begins with another partition, so that none is left out however short lives are.
        let first = next.iter().map(|next| next / records).sum::<u64>();
        for index in 0.. {
            let due = start + schedule.batch_begins(index).context("a schedule without a rate")?;
            while clock::now() < due && !interrupt.is_set() {
                self.step(Some(due))?;
            }
            if interrupt.is_set() {
                break;
            }
            let partition = ((first + index) % next.len() as u64) as usize;
            let sequences = next[partition]..next[partition] + records;
            next[partition] = sequences.end;
            let note = Note { partition: partition as u32, sequences: sequences.clone(), offset: 0, next_offset: 0 };
            while !self.client.has_room() {
                if interrupt.is_set() {
                    return self.finish();
                }
                self.step(None)?;
            }
            self.sent.append(&note)?;
            self.send(partition, sequences)?;
        }
        self.finish()
    }

    fn send(&mut self, partition: usize, sequences: std::ops::Range<u64>) -> anyhow::Result<()> {
        while !self.client.has_room() {
            self.step(None)?;
        }
        let numbering = self.session.map(|session| BatchProducer::of(session, sequences.start));
        let bytes = self.batches.build(partition, sequences.clone(), 0, clock::unix_ms(), numbering)?;
        self.client.send(Outgoing { partition, sequences, bytes, intended: clock::now() })
    }

    fn step(&mut self, until: Option<std::time::Instant>) -> anyhow::Result<()> {
        for batch in self.client.step(until)? {
            let partition = u32::try_from(batch.partition)?;
            self.acknowledged.append(&Note { partition, sequences: batch.sequences, offset: 0, next_offset: 0 })?;
        }
        Ok(())
    }

    fn finish(&mut self) -> anyhow::Result<()> {
        while !self.client.is_idle() {
            self.step(None)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(partition: u32, first: u64) -> Note {
        Note { partition, sequences: first..first + 10, offset: 0, next_offset: 0 }
    }

    #[test]
    fn all_that_is_not_known_to_be_acknowledged_is_sent_again_in_order() {
        let sent = vec![note(0, 0), note(1, 0), note(0, 10), note(2, 0), note(1, 10)];
        let again = unacknowledged(sent.clone(), &[note(1, 0), note(0, 0)]);
        assert_eq!(again, [note(0, 10), note(2, 0), note(1, 10)]);
        assert_eq!(unacknowledged(sent.clone(), &[]), sent);
        assert_eq!(unacknowledged(sent.clone(), &sent), []);
    }

    #[test]
    fn numbers_go_on_behind_all_that_was_meant_to_be_sent() {
        assert_eq!(next_numbers(&[note(0, 0), note(2, 0), note(0, 10)], 3).expect("numbers"), [20, 0, 10]);
        assert!(next_numbers(&[note(3, 0)], 3).is_err());
    }
}
