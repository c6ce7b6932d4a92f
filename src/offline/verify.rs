//! `corelog log verify`: reads everything that a start of the broker, or a consumer, could come to need, and says what is
//! not as it was written.
//!
//! The rules, beside the checksums:
//! - below the checkpointed end a partition's segments are whole: batches back to back, offsets without a gap from the
//!   log's start on;
//! - behind it the journal goes on without a gap; what segments hold there is a copy, and may be half written;
//! - blocks missing at the journal's end were never known durable (a torn end, no damage), unless a later one says that
//!   they were.

mod finding;
mod journal;
mod partition;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use bytes::Bytes;

use super::OfflineError;
use super::data_dir::{self, DataDir};
use super::names;
use crate::metadata::{METADATA_PARTITION, MetadataImage};
use crate::storage::checkpoint::CheckpointedLog;
use crate::storage::journal::block::EntryKind;
use crate::storage::log::LogPosition;
use crate::vocabulary::{Offset, PartitionId, TopicId};
pub use finding::{Finding, Severity, Summary};
pub(super) use partition::{IndexState, read_index};

/// What to do about lost data.
const RESTORE: &str = "restore the file from a copy, or delete the topic if its data may go";

/// One entry of the journal, without its records.
struct JournalEntry {
    kind: EntryKind,
    base_offset: Offset,
    /// Behind the batch; the base offset for other kinds, and `None` for a batch whose header does not fit.
    next_offset: Option<Offset>,
    file: PathBuf,
    position: u64,
}

/// What the checkpoints and journals of all shards say together.
#[derive(Default)]
struct Recoverable {
    checkpointed: BTreeMap<PartitionId, CheckpointedLog>,
    entries: BTreeMap<PartitionId, Vec<JournalEntry>>,
    /// The batches of the metadata log.
    metadata: Vec<Bytes>,
    /// A checkpoint or a journal cannot be read: where partitions end is not known.
    uncertain: bool,
}

/// Where a partition's files are, and what the checks need to know of it.
struct Subject {
    id: PartitionId,
    topic: String,
    directory: PathBuf,
    /// Compaction may leave gaps between offsets.
    compacted: bool,
}

/// Reads the data directory, and gives each finding to `tell` as it is made.
///
/// # Errors
/// See [`OfflineError`]: when there is no data directory, a broker uses it, or a newer corelog wrote it.
pub fn verify(data_dir: &Path, tell: &mut dyn FnMut(&Finding) -> std::io::Result<()>) -> Result<Summary, OfflineError> {
    let data_dir = DataDir::open(data_dir)?;
    let names = data_dir.topics()?.items.into_iter().map(|topic| (topic.id, topic.name)).collect();
    let mut verifier = Verifier { summary: Summary::default(), names, tell };
    verifier.run(&data_dir)?;
    Ok(verifier.summary)
}

struct Verifier<'a> {
    summary: Summary,
    /// By the directories and by the journal.
    names: BTreeMap<TopicId, String>,
    tell: &'a mut dyn FnMut(&Finding) -> std::io::Result<()>,
}

impl Verifier<'_> {
    fn tell(&mut self, finding: Finding) -> Result<(), OfflineError> {
        match finding.severity {
            Severity::Damage => self.summary.damage += 1,
            Severity::Note => self.summary.notes += 1,
        }
        Ok((self.tell)(&finding)?)
    }

    fn foreign(&mut self, paths: &[PathBuf]) -> Result<(), OfflineError> {
        for path in paths {
            self.tell(Finding::note(path, "not a file of corelog", "it is not read; move it away if it is not yours"))?;
        }
        Ok(())
    }

    fn run(&mut self, data_dir: &DataDir) -> Result<(), OfflineError> {
        let mut recoverable = Recoverable::default();
        let shards = data_dir.shards()?;
        self.foreign(&shards.foreign)?;
        for (shard, directory) in &shards.items {
            self.shard(*shard, directory, &mut recoverable)?;
        }
        if shards.items.is_empty() {
            recoverable.uncertain = true;
            let what = "there is no journal: where the partitions end is not known";
            let path = data_dir.path.join(crate::storage::recovery::JOURNAL_DIRECTORY);
            self.tell(Finding::damage(
                &path,
                what,
                "restore the directory from a copy of the same time as the topics",
            ))?;
        }
        for entries in recoverable.entries.values_mut() {
            entries.sort_by_key(|entry| entry.base_offset);
        }
        let image = self.metadata(data_dir, &recoverable)?;
        self.partitions(data_dir, recoverable, image.as_ref())
    }

    /// The metadata, unless it cannot be read.
    fn metadata(
        &mut self,
        data_dir: &DataDir,
        recoverable: &Recoverable,
    ) -> Result<Option<MetadataImage>, OfflineError> {
        let end = recoverable.checkpointed.get(&METADATA_PARTITION).map(|log| log.end);
        match names::read(data_dir, end.unwrap_or(LogPosition::start_at(0)), &recoverable.metadata)? {
            Ok(image) => Ok(Some(image)),
            Err(what) => {
                let what = format!("the metadata log cannot be read: {what}");
                let todo = "restore the data directory from a copy; the broker does not start without its metadata";
                self.tell(Finding::damage(&data_dir.path, what, todo))?;
                Ok(None)
            }
        }
    }

    fn partitions(
        &mut self,
        data_dir: &DataDir,
        mut recoverable: Recoverable,
        image: Option<&MetadataImage>,
    ) -> Result<(), OfflineError> {
        let mut seen = BTreeSet::new();
        let topics = data_dir.topics()?;
        self.foreign(&topics.foreign)?;
        for topic in topics.items {
            let known = image.and_then(|image| image.topic_by_id(topic.id));
            if known.is_none() && image.is_some() && topic.id != METADATA_PARTITION.topic_id {
                let what = "the topic was deleted, its files are left of that";
                self.tell(Finding::note(&topic.path, what, "the broker removes them when it starts"))?;
                seen.extend(recoverable.checkpointed.keys().filter(|id| id.topic_id == topic.id).copied());
                continue;
            }
            if let Some(known) = known.filter(|known| known.name != topic.name) {
                let what = format!("the directory is named for topic {}, its id is that of {}", topic.name, known.name);
                self.tell(Finding::damage(&topic.path, what, "give the directory its name back"))?;
            }
            let partitions = data_dir::partitions(&topic.path)?;
            self.foreign(&partitions.foreign)?;
            for (index, directory) in partitions.items {
                let id = PartitionId { topic_id: topic.id, index };
                seen.insert(id);
                let compacted = known.is_some_and(|known| known.config.produce.keys_required);
                let subject = Subject { id, topic: topic.name.clone(), directory, compacted };
                self.partition(&subject, &mut recoverable)?;
            }
        }
        let without_files: BTreeSet<PartitionId> = recoverable.checkpointed.keys().copied().collect();
        let with_entries: BTreeSet<PartitionId> = recoverable.entries.keys().copied().collect();
        for id in without_files.union(&with_entries).filter(|id| !seen.contains(id)) {
            let Some(name) = self.existing(*id, image) else { continue };
            let directory = data_dir.path.join(crate::server::broker::directory(&name, *id));
            let subject = Subject { id: *id, topic: name, directory, compacted: false };
            self.partition(&subject, &mut recoverable)?;
        }
        Ok(())
    }

    /// The topic's name, if the partition still exists or that cannot be known.
    fn existing(&self, id: PartitionId, image: Option<&MetadataImage>) -> Option<String> {
        match image.filter(|_| id != METADATA_PARTITION) {
            Some(image) => image.topic_by_id(id.topic_id).map(|topic| topic.name.clone()),
            None => Some(self.name(id.topic_id)),
        }
    }

    /// The topic's name, as far as it is known; else its id.
    fn name(&self, id: TopicId) -> String {
        self.names.get(&id).cloned().unwrap_or_else(|| format!("with id {id}"))
    }
}
