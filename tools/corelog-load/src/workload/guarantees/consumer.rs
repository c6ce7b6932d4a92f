//! The consumer that is killed, and how each of its lives goes on from the one before.
//!
//! Processing a batch takes its time, and in the middle of it a note is made of its records: the note is the result.
//!
//! Records are taken in parts, as Kafka's consumers hand them out.
//!
//! - **at most once**: the offset behind a part is committed before any of it is processed.
//! - **at least once**: it is committed when all of the part is processed.
//! - **exactly once**: nothing is committed: the note has the offset beside the result, both or none, and a new life goes
//!   on where the notes end.

use std::path::Path;
use std::time::Duration;

use anyhow::{bail, ensure};

use super::notes::{Note, Notes};
use super::settings::Settings;
use crate::check::reading;
use crate::client::offsets::CommittedOffsets;
use crate::clock;
use crate::load::Interrupt;
use crate::options::{FetchOptions, Mode};
use crate::workload::consumer::{End, Position};
use crate::workload::resilient::consumer::{Fetched, Manner, ResilientConsumer};
use crate::workload::resilient::ends;

/// What a fetch asks for: Kafka's defaults, but for a short wait, so that a client that is told to stop does.
const FETCH: FetchOptions = FetchOptions {
    consumers: 1,
    fetch_bytes: 50 << 20,
    partition_fetch_bytes: 1 << 20,
    fetch_min_bytes: 1,
    max_wait_ms: 100,
};

/// Records between two commits, about: what Kafka's consumers hand out at a time (`max.poll.records`).
const PART_RECORDS: i32 = 500;

/// Processes records until it is told to stop, and then up to the end of the log.
///
/// # Errors
/// When the broker refuses something for good, sends what is not right, or nothing works for too long.
pub fn consume(settings: &Settings, directory: &Path, interrupt: &Interrupt) -> anyhow::Result<()> {
    let (results, earlier) = Notes::open(&directory.join("results"))?;
    let mut offsets = CommittedOffsets::new(&settings.bootstrap, &settings.group, &settings.topic, settings.give_up());
    let mut next = settings.starts.clone();
    if settings.mode == Mode::ExactlyOnce {
        for note in &earlier {
            if let Some(next) = next.get_mut(note.partition as usize) {
                *next = note.next_offset;
            }
        }
    } else {
        for (next, committed) in next.iter_mut().zip(offsets.fetch(settings.starts.len())?) {
            *next = committed.unwrap_or(*next);
        }
    }
    let mut client = committed_reader(settings, next);
    let mut processing = Processing { settings, results };
    let mut is_ending = false;
    loop {
        if interrupt.is_set() && !is_ending {
            client.end_at(&ends(&settings.bootstrap, &settings.topic, settings.give_up())?);
            is_ending = true;
        }
        if is_ending && client.is_done() {
            return Ok(());
        }
        let fetched = client.step()?;
        for part in parts(&fetched) {
            let behind = behind(part)?;
            if settings.mode == Mode::AtMostOnce {
                offsets.commit(&behind)?;
            }
            processing.process(part)?;
            if settings.mode == Mode::AtLeastOnce {
                offsets.commit(&behind)?;
            }
        }
    }
}

/// What came, in parts of about [`PART_RECORDS`] records: at least a batch.
fn parts(fetched: &[Fetched]) -> Vec<&[Fetched]> {
    let (mut parts, mut start, mut records) = (Vec::new(), 0, 0);
    for (place, one) in fetched.iter().enumerate() {
        if let Fetched::Batch { header, .. } = one {
            records += header.record_count;
        }
        if records >= PART_RECORDS || place + 1 == fetched.len() {
            parts.push(&fetched[start..=place]);
            (start, records) = (place + 1, 0);
        }
    }
    parts
}

/// A consumer from these offsets on, by partition; of committed records only when there are transactions.
pub fn committed_reader(settings: &Settings, offsets: Vec<i64>) -> ResilientConsumer {
    let manner = Manner {
        bootstrap: settings.bootstrap.clone(),
        topic: settings.topic.clone(),
        fetch: FETCH,
        committed_only: settings.transactional,
        give_up: settings.give_up(),
    };
    let positions = offsets.into_iter().enumerate();
    let positions = positions.map(|(partition, offset)| Position { partition, offset, end: End::Never }).collect();
    ResilientConsumer::new(manner, positions)
}

/// The offset behind what came, by partition.
fn behind(fetched: &[Fetched]) -> anyhow::Result<Vec<(usize, i64)>> {
    let mut behind: Vec<(usize, i64)> = Vec::new();
    for one in fetched {
        match one {
            Fetched::Fault { what, .. } => bail!("{what}"),
            Fetched::Batch { partition, header, .. } => {
                let next = header.last_offset() + 1;
                match behind.iter_mut().find(|(known, _)| known == partition) {
                    Some((_, known)) => *known = next,
                    None => behind.push((*partition, next)),
                }
            }
        }
    }
    Ok(behind)
}

struct Processing<'a> {
    settings: &'a Settings,
    results: Notes,
}

impl Processing<'_> {
    fn process(&mut self, fetched: &[Fetched]) -> anyhow::Result<()> {
        for one in fetched {
            let Fetched::Batch { partition, from, header, bytes, .. } = one else { continue };
            let partition = u32::try_from(*partition)?;
            let reading = reading::read(header, bytes, *from, partition, self.settings.run);
            if let Some(fault) = reading.faults.first() {
                bail!("{fault}");
            }
            let half = Duration::from_micros(self.settings.processing_us / 2);
            clock::sleep_until(clock::now() + half);
            for run in reading.runs {
                ensure!(run.producer == 0, "a record of producer {}, and there is only one", run.producer);
                let count = (run.sequences.end - run.sequences.start) as i64;
                let next_offset = run.offset + count;
                self.results.append(&Note { partition, sequences: run.sequences, offset: run.offset, next_offset })?;
            }
            clock::sleep_until(clock::now() + half);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use corelog::record::{BatchBuilder, BatchHeader};

    use super::*;

    fn batch(partition: usize, offset: i64, records: usize) -> Fetched {
        let mut builder = BatchBuilder::new().base_offset(offset);
        (0..records).for_each(|_| {
            builder.append(1, None, Some(b"value"), &[]);
        });
        let bytes = builder.build().expect("a batch");
        let header = BatchHeader::parse(&bytes).expect("a header");
        Fetched::Batch { partition, from: offset, header, bytes, at: clock::now() }
    }

    #[test]
    fn what_came_is_taken_in_parts_each_with_the_offsets_behind_it() {
        let fetched = [batch(0, 0, 300), batch(1, 0, 300), batch(1, 300, 700), batch(0, 300, 10)];
        let offsets: Vec<_> = parts(&fetched).into_iter().map(|part| behind(part).expect("offsets")).collect();
        assert_eq!(offsets, [vec![(0, 300), (1, 300)], vec![(1, 1000)], vec![(0, 310)]]);
        assert!(parts(&[]).is_empty());
        let fault = Fetched::Fault { partition: 0, what: "a flipped bit".to_owned() };
        assert!(behind(&[fault]).is_err());
    }
}
