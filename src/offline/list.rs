//! `corelog log list`: what there is.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;

use super::batches::BatchWalk;
use super::blocks::{Piece, end_of, pieces};
use super::data_dir::{self, DataDir, SegmentFile};
use super::shard::{CheckpointState, JournalFile, Shard};
use super::verify::{IndexState, read_index};
use super::{OfflineError, Source};
use crate::disk::ALIGNMENT;
use crate::storage::journal::block::FileHeaderError;
use crate::storage::log::LogPosition;
use crate::vocabulary::{PartitionId, TimestampMs};

/// Writes the topics with their partitions and segments, then each shard's checkpoint and journal. Checksums of batches are
/// not looked at.
///
/// # Errors
/// See [`OfflineError`].
pub fn list(data_dir: &Path, out: &mut dyn Write) -> Result<(), OfflineError> {
    let data_dir = DataDir::open(data_dir)?;
    let shards = data_dir.shards()?.items;
    let shards: Vec<Shard> = shards.iter().map(|(id, path)| Shard::open(*id, path)).collect::<Result<_, _>>()?;
    let mut ends: BTreeMap<PartitionId, LogPosition> = BTreeMap::new();
    for log in shards.iter().filter_map(Shard::whole_checkpoint).flat_map(|checkpoint| &checkpoint.logs) {
        let end = ends.entry(log.id).or_insert(log.end);
        if log.end.offset >= end.offset {
            *end = log.end;
        }
    }
    let mut names = BTreeMap::new();
    for topic in data_dir.topics()?.items {
        writeln!(out, "topic {} id {}", topic.name, topic.id)?;
        for (index, directory) in data_dir::partitions(&topic.path)?.items {
            let id = PartitionId { topic_id: topic.id, index };
            writeln!(out, "  partition {index}")?;
            for segment in data_dir::segments(&directory)?.items {
                list_segment(&segment, ends.get(&id).copied(), out)?;
            }
        }
        names.insert(topic.id, topic.name);
    }
    for shard in &shards {
        list_shard(shard, &names, out)?;
    }
    Ok(())
}

fn list_segment(segment: &SegmentFile, end: Option<LogPosition>, out: &mut dyn Write) -> Result<(), OfflineError> {
    let source = Source::open(&segment.log)?;
    let (mut batches, mut records, mut bytes, mut next) = (0u64, 0u64, 0u64, segment.base_offset);
    let (mut first, mut last): (Option<TimestampMs>, Option<TimestampMs>) = (None, None);
    let mut walk = BatchWalk::new(&source, 0, source.len, false);
    while let Some(Ok(batch)) = walk.next()? {
        let header = &batch.header;
        batches += 1;
        records += header.record_count as u64;
        bytes = batch.end();
        next = header.next_offset();
        if header.base_timestamp >= 0 {
            first = first.or(Some(header.base_timestamp));
        }
        last = last.max(Some(header.max_timestamp).filter(|&timestamp| timestamp >= 0));
    }
    let index = match read_index(segment)? {
        IndexState::Missing => "missing",
        IndexState::Damaged => "damaged",
        IndexState::Whole(index) if u64::from(index.covered()) == bytes => "whole",
        IndexState::Whole(_) => "stale",
    };
    write!(
        out,
        "    segment {} base offset {} end offset {next}: {bytes} bytes, {batches} batches, {records} records, ",
        segment.log.display(),
        segment.base_offset,
    )?;
    let shown = |timestamp: Option<TimestampMs>| timestamp.map_or("none".to_owned(), |timestamp| timestamp.to_string());
    write!(out, "timestamps {} to {}, index {index}", shown(first), shown(last))?;
    if source.len > bytes {
        write!(out, ", {} bytes behind the last batch", source.len - bytes)?;
    }
    if end.is_none_or(|end| next > end.offset) {
        write!(out, ", not all in the checkpoint")?;
    }
    Ok(writeln!(out)?)
}

fn list_shard(
    shard: &Shard,
    names: &BTreeMap<crate::vocabulary::TopicId, String>,
    out: &mut dyn Write,
) -> Result<(), OfflineError> {
    writeln!(out, "shard {} {}", shard.id, shard.directory.display())?;
    match &shard.checkpoint {
        CheckpointState::Missing => writeln!(out, "  checkpoint missing")?,
        CheckpointState::Damaged => writeln!(out, "  checkpoint damaged")?,
        CheckpointState::Whole(checkpoint) => {
            writeln!(
                out,
                "  checkpoint: first needed block sequence {}, journal files free up to incarnation {}, {} partitions",
                checkpoint.first_sequence,
                checkpoint.incarnation_floor,
                checkpoint.logs.len()
            )?;
            for log in &checkpoint.logs {
                let name = names.get(&log.id.topic_id).map_or("(no directory)", String::as_str);
                writeln!(
                    out,
                    "    topic {name} partition {} start {} end {} in segment {} at byte {}",
                    log.id.index, log.start, log.end.offset, log.end.segment, log.end.bytes
                )?;
            }
        }
    }
    for file in &shard.files {
        list_journal_file(file, out)?;
    }
    Ok(())
}

fn list_journal_file(file: &JournalFile, out: &mut dyn Write) -> Result<(), OfflineError> {
    write!(out, "  journal file {} of {} bytes: ", file.path.display(), file.bytes)?;
    let header = match &file.header {
        Ok(header) => header,
        Err(FileHeaderError::Unused) => return Ok(writeln!(out, "never used")?),
        Err(_) if file.bytes == 0 => return Ok(writeln!(out, "empty")?),
        Err(error) => return Ok(writeln!(out, "{error}")?),
    };
    let source = Source::open(&file.path)?;
    let (mut blocks, mut end, mut sequences) = (0u64, ALIGNMENT as u64, None);
    pieces(&source, |piece| {
        if let Piece::Block { header: block, .. } = &piece
            && block.incarnation == header.incarnation
        {
            blocks += 1;
            end = end_of(&piece);
            let first = sequences.map_or(block.sequence, |(first, _)| first);
            sequences = Some((first, block.sequence));
        }
        Ok(true)
    })?;
    let used = match sequences {
        Some((first, last)) => format!("block sequences {first} to {last}"),
        None => format!("no block sequence, next {}", header.first_sequence),
    };
    let state = if file.needed { "needed" } else { "free" };
    Ok(writeln!(out, "incarnation {}, {used}, {blocks} blocks, {end} bytes used, {state}", header.incarnation)?)
}
