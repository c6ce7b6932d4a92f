//! A shard's checkpoint and journal.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::{Finding, JournalEntry, Recoverable, Verifier};
use crate::disk::ALIGNMENT;
use crate::metadata::METADATA_PARTITION;
use crate::offline::OfflineError;
use crate::offline::blocks::looks_like;
use crate::offline::names;
use crate::offline::shard::{CheckpointState, Shard};
use crate::record::BatchHeader;
use crate::storage::checkpoint::FILE_NAME;
use crate::storage::journal::block::{self, BlockHeader, Entry, EntryKind, FileHeader, FileHeaderError, Sequence};
use crate::storage::journal::scan::{Damage, FileBytes, FoundBlock, scan, whole_blocks};
use crate::vocabulary::{Offset, PartitionId, ShardId};

const RESTORE_JOURNAL: &str = "restore the data directory from a copy, or start with --accept-journal-damage, which gives \
                               up the records that are only in the journal";
/// The least `corelog.journal.file.bytes`: a file has its length before it has a header.
const FILE_BYTES_MIN: u64 = 1 << 20;
const RESTORE_ALL: &str = "restore it, with the journal and the segments of the same time, from a copy";

impl Verifier<'_> {
    pub(super) fn shard(
        &mut self,
        id: ShardId,
        directory: &Path,
        recoverable: &mut Recoverable,
    ) -> Result<(), OfflineError> {
        let shard = Shard::open(id, directory)?;
        self.foreign(&shard.foreign)?;
        let mut readable = self.checkpoint(&shard, recoverable)?;
        for file in &shard.files {
            match &file.header {
                Ok(header) if header.shard != id => {
                    let what = format!("the file belongs to shard {}, not to shard {id}", header.shard);
                    self.tell(Finding::damage(&file.path, what, "put the journal directories back as they were"))?;
                }
                Ok(_) if file.bytes < FILE_BYTES_MIN || !file.bytes.is_multiple_of(ALIGNMENT as u64) => {
                    let what = format!("the file was cut to {} bytes", file.bytes);
                    let finding = if file.needed {
                        Finding::damage(&file.path, format!("{what}: blocks may be lost"), RESTORE_JOURNAL)
                    } else {
                        Finding::note(&file.path, what, "nothing: its blocks are not needed any more")
                    };
                    self.tell(finding.at(file.bytes))?;
                }
                Ok(_) => {}
                Err(FileHeaderError::Unused) => {
                    if file.has_block()? {
                        readable = false;
                        let what = "the file header is zero, but blocks follow it: the broker does not start";
                        self.tell(Finding::damage(&file.path, what, RESTORE_ALL).at(0))?;
                    }
                }
                Err(_) if file.bytes == 0 => {
                    let what = "the file is empty: a crash came before its room was reserved, or it was cut";
                    self.tell(Finding::note(&file.path, what, "the broker makes it anew when it starts"))?;
                }
                Err(_) => {
                    readable = false;
                    let what = "the file header is damaged (bad magic or checksum), so that whether its blocks are \
                                needed is not known: the broker does not start";
                    self.tell(Finding::damage(&file.path, what, RESTORE_ALL).at(0))?;
                }
            }
        }
        if readable {
            self.blocks(&shard, recoverable)?
        } else {
            recoverable.uncertain = true
        }
        Ok(())
    }

    /// Takes the checkpoint in; whether the journal's blocks can be judged by it.
    fn checkpoint(&mut self, shard: &Shard, recoverable: &mut Recoverable) -> Result<bool, OfflineError> {
        let path = shard.directory.join(FILE_NAME);
        match &shard.checkpoint {
            CheckpointState::Whole(checkpoint) => {
                for log in &checkpoint.logs {
                    let known = recoverable.checkpointed.get(&log.id);
                    if known.is_none_or(|known| known.end.offset <= log.end.offset) {
                        recoverable.checkpointed.insert(log.id, log.clone());
                    }
                }
                Ok(true)
            }
            CheckpointState::Damaged => {
                self.tell(Finding::damage(&path, "the checkpoint is damaged: the broker does not start", RESTORE_ALL))?;
                Ok(false)
            }
            CheckpointState::Missing => {
                // A broker writes the checkpoint before it uses a journal file.
                let used = shard.files.iter().any(|file| file.header.is_ok());
                if used {
                    let what = "the checkpoint is missing: where the shard's partitions end is not known";
                    self.tell(Finding::damage(&path, what, RESTORE_ALL))?;
                }
                Ok(!used)
            }
        }
    }

    fn blocks(&mut self, shard: &Shard, recoverable: &mut Recoverable) -> Result<(), OfflineError> {
        let files = shard.needed_bytes()?;
        let first_needed = shard.whole_checkpoint().map(|checkpoint| checkpoint.first_sequence);
        let scanned = match scan(&files, first_needed) {
            Ok(scanned) => scanned,
            Err(error) => {
                recoverable.uncertain = true;
                let what = error.reason.to_string();
                return self.tell(Finding::damage(Path::new(&error.file), what, RESTORE_ALL).at(0));
            }
        };
        self.summary.journal_blocks += scanned.blocks.len() as u64;
        for block in &scanned.blocks {
            for entry in &block.entries {
                take(entry, block, recoverable);
            }
        }
        // A topic whose records are all in the journal has no directory yet.
        self.names.extend(recoverable.metadata.iter().flat_map(names::created));
        match &scanned.damage {
            Some(damage) => {
                recoverable.uncertain = true;
                self.hole(&files, damage, recoverable)
            }
            None => self.torn_end(shard, &files, &scanned.blocks, first_needed),
        }
    }

    /// Says which partitions lost what, as far as the blocks around the hole tell.
    fn hole(&mut self, files: &[FileBytes], damage: &Damage, recoverable: &Recoverable) -> Result<(), OfflineError> {
        let what = format!(
            "journal blocks {} to {} were acknowledged and cannot be read (block {} says so)",
            damage.first_missing, damage.last_missing, damage.witness
        );
        self.tell(Finding::damage(Path::new(&damage.file), what, RESTORE_JOURNAL).at(damage.position))?;
        let mut behind: BTreeMap<PartitionId, (Offset, Offset)> = BTreeMap::new();
        for block in opened(files).flat_map(|(header, file)| whole_blocks(&header, file)) {
            for entry in block.entries.iter().filter(|_| block.sequence > damage.first_missing) {
                let next = next_offset(entry).unwrap_or(entry.base_offset);
                let range = behind.entry(entry.partition).or_insert((entry.base_offset, next));
                *range = (range.0.min(entry.base_offset), range.1.max(next));
            }
        }
        for (id, (_, end)) in behind {
            let checkpointed = recoverable.checkpointed.get(&id).map_or(0, |log| log.end.offset);
            let entries = recoverable.entries.get(&id).into_iter().flatten();
            let replayed = entries.filter_map(|entry| entry.next_offset).fold(checkpointed, Offset::max);
            if end > replayed {
                let what = "blocks behind the missing ones hold records of this partition, which are not replayed";
                let finding = Finding::damage(Path::new(&damage.file), what, RESTORE_JOURNAL);
                let finding = finding.at(damage.position).offsets(replayed, end);
                self.tell(finding.of(&self.name(id.topic_id), id.index))?;
            }
        }
        Ok(())
    }

    /// Tells of bytes where the next block would be that are not a block of it, and not leftovers.
    fn torn_end(
        &mut self,
        shard: &Shard,
        files: &[FileBytes],
        blocks: &[FoundBlock],
        first_needed: Option<Sequence>,
    ) -> Result<(), OfflineError> {
        let mut opened: Vec<_> = opened(files).collect();
        opened.sort_by_key(|(header, _)| (header.first_sequence, header.incarnation));
        let Some((first, _)) = opened.first() else { return Ok(()) };
        let next = blocks.last().map_or(first_needed.unwrap_or(first.first_sequence), |block| block.sequence + 1);
        let mut places: Vec<(&str, u64)> = Vec::new();
        if let Some(last) = blocks.last() {
            let payload = last.entries.iter().map(Entry::encoded_len).sum();
            places.push((&last.file, last.position + block::disk_len(payload) as u64));
        }
        // The next block may have been the first of a file.
        let begun = opened.iter().filter(|(header, _)| header.first_sequence == next);
        places.extend(begun.map(|(_, file)| (file.name.as_str(), ALIGNMENT as u64)));
        for (name, position) in places {
            let Some((header, file)) = opened.iter().find(|(_, file)| file.name == name) else { continue };
            let Some(page) = file.bytes.get(position as usize..) else { continue };
            let page = &page[..page.len().min(ALIGNMENT)];
            let torn = BlockHeader::peek(page, header.incarnation).is_some_and(|head| head.sequence == next);
            if torn || looks_like(page, header.incarnation, next) {
                let what = format!(
                    "block {next} of shard {} is torn: it was being written when the broker ended, or it was damaged \
                     since; no later block says that it was acknowledged",
                    shard.id
                );
                let todo = "nothing after a crash: the journal ends before it";
                self.tell(Finding::note(Path::new(name), what, todo).at(position))?;
            }
        }
        Ok(())
    }
}

fn opened(files: &[FileBytes]) -> impl Iterator<Item = (FileHeader, &FileBytes)> {
    files.iter().filter_map(|file| Some((FileHeader::decode(&file.bytes).ok()?, file)))
}

fn next_offset(entry: &Entry) -> Option<Offset> {
    match entry.kind {
        EntryKind::LogStart => Some(entry.base_offset),
        EntryKind::Batch => {
            let header = BatchHeader::parse(&entry.payload).ok()?;
            let fits = header.total_len() == entry.payload.len()
                && header.base_offset == entry.base_offset
                && crate::record::verify_crc(&entry.payload);
            fits.then(|| header.next_offset())
        }
    }
}

fn take(entry: &Entry, block: &FoundBlock, recoverable: &mut Recoverable) {
    if entry.partition == METADATA_PARTITION && entry.kind == EntryKind::Batch {
        recoverable.metadata.push(bytes::Bytes::copy_from_slice(&entry.payload));
    }
    recoverable.entries.entry(entry.partition).or_default().push(JournalEntry {
        kind: entry.kind,
        base_offset: entry.base_offset,
        next_offset: next_offset(entry),
        file: PathBuf::from(&block.file),
        position: block.position,
    });
}
