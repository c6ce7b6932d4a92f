//! One partition: its segments up to the checkpointed end, then the journal, then what segments hold behind that end.

use super::{Finding, JournalEntry, RESTORE, Recoverable, Severity, Subject, Verifier};
use crate::metadata::Topic;
use crate::offline::batches::{BatchWalk, FoundBatch};
use crate::offline::data_dir::{self, SegmentFile};
use crate::offline::{OfflineError, Source};
use crate::storage::journal::block::EntryKind;
use crate::storage::log::LogPosition;
use crate::storage::segment::index::{self, Index};
use crate::vocabulary::Offset;

/// What a segment's index file is worth.
pub(in crate::offline) enum IndexState {
    Missing,
    /// No whole index of this segment.
    Damaged,
    Whole(Index),
}

/// Reads a segment's index file.
pub(in crate::offline) fn read_index(segment: &SegmentFile) -> Result<IndexState, OfflineError> {
    if !segment.index.exists() {
        return Ok(IndexState::Missing);
    }
    let source = Source::open(&segment.index)?;
    // No reader reserves more than an index of that segment can take: an entry for every `INTERVAL_BYTES`.
    let entries_max = segment.log_bytes / u64::from(index::INTERVAL_BYTES) + 1;
    let len_max = index::HEADER_LEN as u64 + entries_max * index::ENTRY_LEN as u64 + 4;
    let content = source.read(0, len_max as usize)?;
    Ok(Index::decode(&content, segment.base_offset).map_or(IndexState::Damaged, IndexState::Whole))
}

impl Verifier<'_> {
    pub(super) fn partition(&mut self, subject: &Subject, recoverable: &mut Recoverable) -> Result<(), OfflineError> {
        self.summary.partitions += 1;
        let entries = recoverable.entries.remove(&subject.id).unwrap_or_default();
        let checkpointed = recoverable.checkpointed.get(&subject.id);
        let found = data_dir::segments(&subject.directory)?;
        self.foreign(&found.foreign)?;
        if recoverable.uncertain && checkpointed.is_none() {
            return self.without_end(subject, &found.items);
        }
        let starts = entries.iter().filter(|entry| entry.kind == EntryKind::LogStart).map(|entry| entry.base_offset);
        let start = starts.fold(checkpointed.map_or(0, |log| log.start), Offset::max);
        let mut end = checkpointed.map_or(LogPosition::start_at(0), |log| log.end);
        if start >= end.offset {
            // The segments before it are deleted, or about to be.
            end = LogPosition::start_at(end.offset);
        }
        let (older, behind): (Vec<_>, Vec<_>) =
            found.items.into_iter().partition(|segment| segment.base_offset < end.offset);
        self.older(subject, &older, start, end)?;
        let journal_end = self.replayed(subject, &entries, end.offset)?;
        if !recoverable.uncertain {
            let ragged = older.iter().find(|segment| segment.base_offset == end.segment && end.bytes > 0);
            self.behind(subject, ragged.map(|segment| (segment, end.bytes)), &behind, end.offset, journal_end)?;
        }
        Ok(())
    }

    /// The segments that the checkpoint vouches for.
    fn older(
        &mut self,
        subject: &Subject,
        older: &[SegmentFile],
        start: Offset,
        end: LogPosition,
    ) -> Result<(), OfflineError> {
        let mut expected: Option<Offset> = None;
        for (at, segment) in older.iter().enumerate() {
            let next_base = older.get(at + 1).map_or(end.offset, |next| next.base_offset);
            if next_base <= start {
                // Deleted records, perhaps half removed.
                continue;
            }
            if segment.base_offset > end.segment {
                let what = "a segment lies where the checkpoint says that another one goes on";
                self.tell(self.damage(subject, segment, what).offsets(segment.base_offset, next_base))?;
                continue;
            }
            let from = expected.unwrap_or(start);
            if segment.base_offset > from {
                self.gap(subject, segment, 0, from, segment.base_offset)?;
            }
            let is_last = segment.base_offset == end.segment;
            let limit = if is_last { end.bytes } else { segment.log_bytes };
            if segment.log_bytes < limit {
                let what = format!("the file was cut: it had {limit} bytes");
                self.tell(self.damage(subject, segment, what).at(segment.log_bytes))?;
            }
            let reached = self.whole_segment(subject, segment, limit, next_base)?;
            // What a damaged segment lacks was told with the damage.
            expected = Some(reached.unwrap_or(next_base));
        }
        let reached = expected.unwrap_or(start);
        if reached < end.offset {
            let what = "records are missing that the checkpoint says are in the segments";
            let finding = Finding::damage(&subject.directory, what, RESTORE).offsets(reached, end.offset);
            self.tell(finding.of(&subject.topic, subject.id.index))?;
        } else if reached > end.offset && !older.is_empty() {
            let what = format!("the segments end at offset {reached}, the checkpoint says at {}", end.offset);
            let finding = Finding::damage(&subject.directory, what, RESTORE).offsets(end.offset, reached);
            self.tell(finding.of(&subject.topic, subject.id.index))?;
        }
        Ok(())
    }

    /// Reads a segment whose first `limit` bytes must be whole batches. The offset that it reaches; `None` when some of it
    /// cannot be read, which is told.
    fn whole_segment(
        &mut self,
        subject: &Subject,
        segment: &SegmentFile,
        limit: u64,
        next_base: Offset,
    ) -> Result<Option<Offset>, OfflineError> {
        self.summary.segments += 1;
        let source = Source::open(&segment.log)?;
        let index = read_index(segment)?;
        let mut rebuilt = Index::new(segment.base_offset);
        let mut walk = BatchWalk::new(&source, 0, limit, true);
        let (mut expected, mut whole) = (segment.base_offset, true);
        while let Some(found) = walk.next()? {
            match found {
                Ok(batch) => {
                    let sound = self.batch(subject, segment, &batch, &mut expected)?;
                    whole &= sound;
                    let header = &batch.header;
                    if sound {
                        rebuilt.add(header.base_offset, header.total_len() as u32, header.max_timestamp);
                    }
                }
                Err(bad) => {
                    whole = false;
                    let resume = next_entry(&index, bad.position);
                    let until = resume.map_or(next_base, |(_, offset)| offset);
                    let what = format!("no whole record batch where one must start ({}); it cannot be read", bad.error);
                    let finding = self.damage(subject, segment, what).at(bad.position);
                    self.tell(finding.offsets(expected, until))?;
                    let Some((position, offset)) = resume else { break };
                    walk.skip_to(position);
                    expected = offset;
                }
            }
        }
        if source.len < limit {
            whole = false;
        }
        self.index(subject, segment, index, limit, whole.then_some(&rebuilt))?;
        Ok(whole.then_some(expected))
    }

    /// Holds one batch against its place; moves `expected` behind it. Whether nothing is wrong with it.
    fn batch(
        &mut self,
        subject: &Subject,
        segment: &SegmentFile,
        batch: &FoundBatch,
        expected: &mut Offset,
    ) -> Result<bool, OfflineError> {
        let header = &batch.header;
        self.summary.batches += 1;
        self.summary.records += header.record_count as u64;
        self.summary.bytes += header.total_len() as u64;
        let mut sound = true;
        let mut wrong = Vec::new();
        if !batch.crc_matches {
            wrong.push("the record batch does not match its checksum: the broker refuses to serve it".to_owned());
        }
        if header.base_offset > *expected && batch.crc_matches {
            let compacted = self.gap(subject, segment, batch.position, *expected, header.base_offset)?;
            sound &= compacted;
        } else if header.base_offset != *expected {
            wrong.push(format!("the record batch has base offset {}, not {expected}", header.base_offset));
        }
        if header.leader_epoch != Topic::LEADER_EPOCH {
            wrong.push(format!("the record batch has leader epoch {}, which never was", header.leader_epoch));
        }
        if let Err(error) = header.compression() {
            wrong.push(error.to_string());
        }
        let offsets = i64::from(header.last_offset_delta) + 1;
        if i64::from(header.record_count) > offsets || (!subject.compacted && i64::from(header.record_count) < offsets)
        {
            wrong.push(format!("the record batch has {} records for {offsets} offsets", header.record_count));
        }
        let next = if batch.crc_matches && header.base_offset >= *expected {
            header.next_offset()
        } else {
            // Its own base offset may be what is wrong.
            expected.saturating_add(offsets)
        };
        if !wrong.is_empty() {
            sound = false;
            let finding = self.damage(subject, segment, wrong.join("; ")).at(batch.position);
            self.tell(finding.offsets(*expected, next))?;
        }
        *expected = next;
        Ok(sound)
    }

    /// Tells of missing offsets; whether compaction may have left them.
    fn gap(
        &mut self,
        subject: &Subject,
        segment: &SegmentFile,
        position: u64,
        from: Offset,
        to: Offset,
    ) -> Result<bool, OfflineError> {
        let severity = if subject.compacted { Severity::Note } else { Severity::Damage };
        let (what, todo) = match severity {
            Severity::Note => ("offsets are missing, which compaction may have removed", "nothing, if it did"),
            Severity::Damage => ("records are missing before this place", RESTORE),
        };
        let finding = Finding::new(severity, &segment.log, what, todo).at(position).offsets(from, to);
        self.tell(finding.of(&subject.topic, subject.id.index))?;
        Ok(subject.compacted)
    }

    /// Holds the index file against the index that the segment's batches make; `rebuilt` is none when they are damaged.
    fn index(
        &mut self,
        subject: &Subject,
        segment: &SegmentFile,
        found: IndexState,
        limit: u64,
        rebuilt: Option<&Index>,
    ) -> Result<(), OfflineError> {
        let todo = "nothing: the broker reads the segment to make it anew";
        let finding = match found {
            // Made when it is needed, and of a segment that a crash ended there is none.
            IndexState::Missing => return Ok(()),
            IndexState::Damaged => {
                Finding::note(&segment.index, "the index is damaged, torn, or of another version", todo)
            }
            IndexState::Whole(index) if u64::from(index.covered()) != limit => {
                let what = format!("the index is stale: it covers {} of {limit} bytes", index.covered());
                Finding::note(&segment.index, what, todo)
            }
            IndexState::Whole(index) if rebuilt.is_some_and(|rebuilt| *rebuilt != index) => {
                let todo = "delete the index file: the broker makes it anew";
                Finding::damage(&segment.index, "the index is whole but not that of its segment", todo)
            }
            IndexState::Whole(_) => return Ok(()),
        };
        self.tell(finding.of(&subject.topic, subject.id.index))
    }

    /// Where the journal's batches end that follow `end`.
    fn replayed(&mut self, subject: &Subject, entries: &[JournalEntry], end: Offset) -> Result<Offset, OfflineError> {
        let mut expected = end;
        for entry in entries.iter().filter(|entry| entry.kind == EntryKind::Batch) {
            if entry.base_offset < expected {
                continue;
            }
            if entry.base_offset > expected {
                let what = "records are missing between the segments and the journal, or in the journal";
                let todo = "restore the data directory from a copy: the broker does not start";
                let finding = Finding::damage(&entry.file, what, todo).at(entry.position);
                let finding = finding.offsets(expected, entry.base_offset);
                self.tell(finding.of(&subject.topic, subject.id.index))?;
            }
            let Some(next) = entry.next_offset else {
                let what = "the journal's entry is no record batch of its offset";
                let todo = "restore the data directory from a copy: the broker does not start";
                let finding = Finding::damage(&entry.file, what, todo).at(entry.position);
                self.tell(
                    finding.offsets(entry.base_offset, entry.base_offset + 1).of(&subject.topic, subject.id.index),
                )?;
                return Ok(expected);
            };
            expected = next;
        }
        Ok(expected)
    }

    /// What segments hold behind the checkpointed end: copies of what the journal has, which recovery writes anew.
    fn behind(
        &mut self,
        subject: &Subject,
        ragged: Option<(&SegmentFile, u64)>,
        behind: &[SegmentFile],
        end: Offset,
        journal_end: Offset,
    ) -> Result<(), OfflineError> {
        let parts = ragged.into_iter().chain(behind.iter().map(|segment| (segment, 0)));
        let mut reached = end;
        for (segment, from) in parts {
            let source = Source::open(&segment.log)?;
            let mut walk = BatchWalk::new(&source, from, source.len, true);
            let first = reached;
            let (mut at, mut in_order) = (from, true);
            while let Some(Ok(batch)) = walk.next()? {
                if !batch.crc_matches || batch.header.base_offset != reached {
                    in_order = batch.crc_matches;
                    break;
                }
                (at, reached) = (batch.end(), batch.header.next_offset());
            }
            let place = |finding: Finding| finding.of(&subject.topic, subject.id.index);
            if reached > journal_end {
                let what = "the segment holds records that neither the checkpoint nor the journal has: they were never \
                            acknowledged, unless a file of the journal is lost";
                let todo = "nothing after a crash: they are dropped";
                let finding = Finding::note(&segment.log, what, todo).at(from);
                self.tell(place(finding.offsets(first.max(journal_end), reached)))?;
            }
            if source.first_nonzero(at, source.len)?.is_some() {
                let what =
                    if in_order { "a half-written end" } else { "batches of an earlier run, or a half-written end" };
                let what = format!("{what} behind the checkpointed end; it is not read");
                self.tell(place(Finding::note(&segment.log, what, "nothing: the journal has what is needed").at(at)))?;
            }
        }
        Ok(())
    }

    /// Segments of a partition whose end is not known, because what knew it is damaged.
    fn without_end(&mut self, subject: &Subject, segments: &[SegmentFile]) -> Result<(), OfflineError> {
        let mut expected: Option<Offset> = None;
        for (at, segment) in segments.iter().enumerate() {
            let Some(next) = segments.get(at + 1) else {
                // The last one may end anywhere.
                let source = Source::open(&segment.log)?;
                let mut walk = BatchWalk::new(&source, 0, source.len, true);
                let mut reached = segment.base_offset;
                self.summary.segments += 1;
                while let Some(Ok(batch)) = walk.next()? {
                    self.batch(subject, segment, &batch, &mut reached)?;
                }
                return Ok(());
            };
            if let Some(from) = expected.filter(|&from| segment.base_offset > from) {
                self.gap(subject, segment, 0, from, segment.base_offset)?;
            }
            let reached = self.whole_segment(subject, segment, segment.log_bytes, next.base_offset)?;
            expected = Some(reached.unwrap_or(next.base_offset));
        }
        Ok(())
    }

    fn damage(&self, subject: &Subject, segment: &SegmentFile, what: impl Into<String>) -> Finding {
        Finding::damage(&segment.log, what, RESTORE).of(&subject.topic, subject.id.index)
    }
}

/// The first indexed batch behind `position`: where it starts, and its offset.
fn next_entry(index: &IndexState, position: u64) -> Option<(u64, Offset)> {
    let IndexState::Whole(index) = index else { return None };
    let entry = index.entries().iter().find(|entry| u64::from(entry.position) > position)?;
    Some((u64::from(entry.position), index.base_offset() + i64::from(entry.relative_offset)))
}
