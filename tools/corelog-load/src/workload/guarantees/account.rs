//! What the clients' notes add up to.

use std::path::Path;

use super::IDEMPOTENT_SESSION;
use super::notes::{Note, NotesReader};
use super::settings::Settings;
use crate::check::intervals::Intervals;
use crate::check::ledger::Ledger;
use crate::clock;
use crate::load::Load;
use crate::measure::{Arrival, Track};
use crate::options::Mode;
use crate::report::Guarantee;

/// There is one producer.
const PRODUCER: u32 = 0;

/// The sums.
pub struct Account {
    mode: Mode,
    transactional: bool,
    record_bytes: u64,
    files: [NotesReader; 3],
    /// What was sent, and what was processed, by partition.
    sent: Vec<Intervals>,
    processed: Vec<Intervals>,
    /// What was acknowledged and what was processed. With acks 0, what was sent stands for what was acknowledged.
    ledger: Ledger,
    sent_count: u64,
    acknowledged_count: u64,
    processed_count: u64,
}

impl Account {
    /// Of the notes in `directory`, which may come later.
    pub fn new(settings: &Settings, directory: &Path) -> Account {
        Account {
            mode: settings.mode,
            transactional: settings.transactional,
            record_bytes: settings.record_bytes as u64,
            files: ["sent", "acknowledged", "results"].map(|name| NotesReader::new(&directory.join(name))),
            sent: Vec::new(),
            processed: Vec::new(),
            ledger: Ledger::default(),
            sent_count: 0,
            acknowledged_count: 0,
            processed_count: 0,
        }
    }

    /// Reads what was noted since the last time, and tells the view.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn read(&mut self, load: &Load, tracks: &[Track; 2]) -> anyhow::Result<()> {
        // Results first: what they are of was sent before.
        let [sent, acknowledged, results] = &mut self.files;
        let (results, acknowledged, sent) = (results.take()?, acknowledged.take()?, sent.take()?);
        let has_acknowledgements = self.mode != Mode::AtMostOnce;
        let published = if has_acknowledgements { &acknowledged } else { &sent };
        for (track, notes) in tracks.iter().zip([published, &results]) {
            track.recorders[0].add(notes.iter().map(|note| self.arrival(note)));
        }
        sent.iter().for_each(|note| self.sent(note));
        acknowledged.iter().for_each(|note| self.acknowledged(note));
        results.iter().for_each(|note| self.processed(note));
        let published = if has_acknowledgements { self.acknowledged_count } else { self.sent_count };
        load.set_lag(published.saturating_sub(self.processed_count));
        Ok(())
    }

    fn arrival(&self, note: &Note) -> Arrival {
        let records = count(note);
        let value_bytes = records * self.record_bytes;
        Arrival { at: clock::now(), from: None, latencies: 0, records, value_bytes, wire_bytes: value_bytes }
    }

    fn sent(&mut self, note: &Note) {
        self.sent_count += insert(&mut self.sent, note);
        if self.mode == Mode::AtMostOnce {
            self.ledger.acknowledge(PRODUCER, note.partition, note.sequences.clone());
        }
    }

    fn acknowledged(&mut self, note: &Note) {
        self.acknowledged_count += count(note);
        self.ledger.acknowledge(PRODUCER, note.partition, note.sequences.clone());
    }

    fn processed(&mut self, note: &Note) {
        self.processed_count += count(note);
        insert(&mut self.processed, note);
        self.ledger.deliver(PRODUCER, note.partition, note.sequences.clone(), note.offset);
    }

    /// A number that changes whenever anything is noted.
    pub fn progress(&self) -> u64 {
        self.sent_count + self.acknowledged_count + self.processed_count
    }

    /// What the guarantee came to.
    pub fn guarantee(&self, client_kills: u32, broker_kills: u32) -> Guarantee {
        let check = self.ledger.check();
        let is_acknowledged = self.mode != Mode::AtMostOnce;
        Guarantee {
            mode: match self.mode {
                Mode::ExactlyOnce if !self.transactional => IDEMPOTENT_SESSION.to_owned(),
                mode => mode.name().to_owned(),
            },
            means: means(self.mode, self.transactional).to_owned(),
            refused: None,
            client_kills,
            broker_kills,
            sent: self.sent_count,
            acknowledged: if is_acknowledged { check.acknowledged } else { 0 },
            delivered: check.delivered,
            lost: check.lost,
            duplicated: check.duplicated,
            holds: self.is_possible()
                && match self.mode {
                    Mode::AtMostOnce => check.duplicated == 0,
                    Mode::AtLeastOnce => check.lost == 0,
                    Mode::ExactlyOnce => check.lost == 0 && check.duplicated == 0,
                },
        }
    }

    /// Whether all that was processed had been sent.
    fn is_possible(&self) -> bool {
        let nothing = Intervals::default();
        let mut each = self.processed.iter().enumerate();
        each.all(|(partition, processed)| {
            processed.without(self.sent.get(partition).unwrap_or(&nothing)).next().is_none()
        })
    }

    /// Examples of faults.
    pub fn examples(&self) -> Vec<String> {
        self.ledger.examples()
    }
}

/// Adds a note's numbers to those of its partition. How many are new.
fn insert(partitions: &mut Vec<Intervals>, note: &Note) -> u64 {
    let partition = note.partition as usize;
    partitions.resize_with(partitions.len().max(partition + 1), Intervals::default);
    partitions[partition].insert(note.sequences.clone())
}

fn count(note: &Note) -> u64 {
    note.sequences.end - note.sequences.start
}

/// What the clients do for a guarantee.
fn means(mode: Mode, transactional: bool) -> &'static str {
    match mode {
        Mode::AtMostOnce => "acks 0, nothing is sent again; the offset is committed before the records are processed",
        Mode::AtLeastOnce => {
            "acks all, sent again until acknowledged, also by the next process; the offset is committed behind the \
             processing"
        }
        Mode::ExactlyOnce if transactional => {
            "transactions; each process takes the transactional id over and goes on behind its committed records; the \
             consumer reads committed records and keeps its offset beside its results"
        }
        Mode::ExactlyOnce => {
            "an idempotent producer whose id and sequence numbers outlive its process; the consumer keeps its offset \
             beside its results; no transactions, no fencing"
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(first: u64) -> Note {
        Note { partition: 0, sequences: first..first + 10, offset: first as i64, next_offset: first as i64 + 10 }
    }

    /// What a mode makes of these: lost, duplicated, and whether its promise holds.
    fn outcome(mode: Mode, sent: &[u64], acknowledged: &[u64], processed: &[u64]) -> (u64, u64, bool) {
        let settings = Settings {
            mode,
            transactional: false,
            bootstrap: String::new(),
            topic: String::new(),
            group: String::new(),
            run: 1,
            starts: vec![0],
            rate: 1.0,
            record_bytes: 100,
            records_per_batch: 10,
            in_flight: 5,
            compression: 0,
            payload: "seed".to_owned(),
            processing_us: 0,
            give_up_ms: 1000,
        };
        let mut account = Account::new(&settings, Path::new("/nowhere"));
        sent.iter().for_each(|&first| account.sent(&note(first)));
        acknowledged.iter().for_each(|&first| account.acknowledged(&note(first)));
        processed.iter().for_each(|&first| account.processed(&note(first)));
        let guarantee = account.guarantee(1, 1);
        (guarantee.lost, guarantee.duplicated, guarantee.holds)
    }

    #[test]
    fn each_promise_is_held_to_what_it_promises() {
        use Mode::{AtLeastOnce, AtMostOnce, ExactlyOnce};
        assert_eq!(outcome(AtMostOnce, &[0, 10, 20], &[], &[0, 20]), (10, 0, true));
        assert_eq!(outcome(AtMostOnce, &[0, 10], &[], &[0, 0]), (10, 10, false));
        // What was not acknowledged may be gone.
        assert_eq!(outcome(AtLeastOnce, &[0, 10, 20], &[0, 10], &[0, 10, 10]), (0, 10, true));
        assert_eq!(outcome(AtLeastOnce, &[0, 10], &[0, 10], &[0]), (10, 0, false));
        assert_eq!(outcome(ExactlyOnce, &[0, 10], &[0, 10], &[0, 10]), (0, 0, true));
        assert_eq!(outcome(ExactlyOnce, &[0, 10], &[0, 10], &[0, 10, 10]), (0, 10, false));
        assert_eq!(outcome(ExactlyOnce, &[0, 10], &[0, 10], &[0]), (10, 0, false));
    }

    #[test]
    fn what_nobody_sent_breaks_any_promise() {
        for mode in [Mode::AtMostOnce, Mode::AtLeastOnce, Mode::ExactlyOnce] {
            assert!(!outcome(mode, &[0], &[0], &[0, 10]).2, "{mode:?}");
        }
    }
}
