//! `corelog log dump`: what a file holds, a line for each batch, block, entry or partition.

use std::io::Write;
use std::path::Path;

use bytes::Bytes;

use super::batches::{BatchWalk, FoundBatch};
use super::blocks::{Piece, pieces};
use super::data_dir::lock_around;
use super::shard::{CheckpointState, read_checkpoint};
use super::{OfflineError, Source};
use crate::record::{BatchHeader, DECOMPRESSED_BYTES_MAX, TimestampType, records};
use crate::storage::checkpoint;
use crate::storage::journal::block::{EntryKind, FILE_HEADER_LEN, FILE_MAGIC, FileHeader, FileHeaderError};
use crate::storage::segment::base_offset_of;
use crate::storage::segment::index::{self, Index};
use crate::vocabulary::Offset;

/// What a file is, by its first bytes and its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    /// A segment with this base offset.
    Segment(Offset),
    Index(Offset),
    Journal,
    Checkpoint,
}

impl FileKind {
    /// Tells what `source` is. A file whose beginning is damaged is told by its name.
    pub fn of(source: &Source) -> Result<FileKind, OfflineError> {
        let head = source.read(0, 8)?;
        let name = source.path.file_name().and_then(std::ffi::OsStr::to_str).unwrap_or_default();
        let index_base = name.strip_suffix(".index").and_then(|stem| base_offset_of(&format!("{stem}.log")));
        if source.len == 0 {
            return Err(OfflineError::refused(&source.path, "the file is empty"));
        }
        if let Some(base_offset) = base_offset_of(name) {
            return Ok(FileKind::Segment(base_offset));
        }
        match index_base {
            Some(base_offset) => Ok(FileKind::Index(base_offset)),
            None if head == FILE_MAGIC || name.ends_with(".journal") => Ok(FileKind::Journal),
            None if head == checkpoint::MAGIC || name == checkpoint::FILE_NAME => Ok(FileKind::Checkpoint),
            None => {
                let why = "not a file of corelog: neither a segment (<20 digits>.log) or its .index, nor a journal file or \
                           checkpoint by its first bytes";
                Err(OfflineError::refused(&source.path, why))
            }
        }
    }
}

/// Writes what a segment, index, journal file or checkpoint holds; with `with_records` each record too.
///
/// # Errors
/// See [`OfflineError`]; a file that is damaged is dumped as far as it can be read, and says so.
pub fn dump(file: &Path, with_records: bool, out: &mut dyn Write) -> Result<(), OfflineError> {
    let _lock = lock_around(file)?;
    let source = Source::open(file)?;
    match FileKind::of(&source)? {
        FileKind::Segment(_) => segment(&source, with_records, out),
        FileKind::Index(base_offset) => self::index(&source, base_offset, out),
        FileKind::Journal => journal(&source, with_records, out),
        FileKind::Checkpoint => self::checkpoint(&source, out),
    }
}

fn segment(source: &Source, with_records: bool, out: &mut dyn Write) -> Result<(), OfflineError> {
    writeln!(out, "segment {}: {} bytes", source.path.display(), source.len)?;
    let mut walk = BatchWalk::new(source, 0, source.len, true);
    while let Some(found) = walk.next()? {
        match found {
            Ok(batch) => {
                let crc = if batch.crc_matches { "ok" } else { "WRONG" };
                writeln!(out, "position {}: {}, crc {crc}", batch.position, describe(&batch.header))?;
                if with_records {
                    segment_records(source, &batch, out)?;
                }
            }
            Err(bad) => {
                let rest = source.len - bad.position;
                match source.first_nonzero(bad.position, source.len)? {
                    None => writeln!(out, "position {}: {rest} zero bytes, padding", bad.position)?,
                    Some(_) => writeln!(
                        out,
                        "position {}: no record batch in the last {rest} bytes: {}",
                        bad.position, bad.error
                    )?,
                }
                break;
            }
        }
    }
    Ok(())
}

fn segment_records(source: &Source, batch: &FoundBatch, out: &mut dyn Write) -> Result<(), OfflineError> {
    if batch.header.total_len() > DECOMPRESSED_BYTES_MAX {
        return Ok(writeln!(out, "  the batch is too large to show its records")?);
    }
    write_records(&batch.read(source)?, "  ", out)
}

/// A batch's header in words.
pub(super) fn describe(header: &BatchHeader) -> String {
    let mut text = format!(
        "offsets {} to {}, {} records, {} bytes, leader epoch {}, ",
        header.base_offset,
        header.last_offset(),
        header.record_count,
        header.total_len(),
        header.leader_epoch
    );
    if header.has_producer_id() {
        text += &format!(
            "producer {} epoch {} sequence {} to {}, ",
            header.producer_id,
            header.producer_epoch,
            header.base_sequence,
            header.last_sequence()
        );
    }
    let timestamp_type = match header.timestamp_type() {
        TimestampType::CreateTime => "create time",
        TimestampType::LogAppendTime => "append time",
    };
    text += &format!("{timestamp_type} {} to {}, ", header.base_timestamp, header.max_timestamp);
    text += &match header.compression() {
        Ok(codec) => format!("{codec:?}").to_lowercase(),
        Err(error) => error.to_string(),
    };
    for (is_set, flag) in [(header.is_transactional(), ", transactional"), (header.is_control(), ", control")] {
        if is_set {
            text += flag;
        }
    }
    text
}

fn write_records(batch: &Bytes, indent: &str, out: &mut dyn Write) -> Result<(), OfflineError> {
    let iterator = match records(batch) {
        Ok(iterator) => iterator,
        Err(error) => return Ok(writeln!(out, "{indent}the records cannot be read: {error}")?),
    };
    for record in iterator {
        let record = match record {
            Ok(record) => record,
            Err(error) => return Ok(writeln!(out, "{indent}the records cannot be read further: {error}")?),
        };
        write!(out, "{indent}offset {} timestamp {} key ", record.offset, record.timestamp)?;
        write_bytes(record.key.as_ref(), out)?;
        write!(out, " value ")?;
        write_bytes(record.value.as_ref(), out)?;
        for header in record.headers.iter() {
            write!(out, " header ")?;
            write_bytes(Some(&header.key), out)?;
            write!(out, "=")?;
            write_bytes(header.value.as_ref(), out)?;
        }
        writeln!(out)?;
    }
    Ok(())
}

/// In quotes, with everything but printable ASCII escaped; a null is `null`.
fn write_bytes(bytes: Option<&Bytes>, out: &mut dyn Write) -> std::io::Result<()> {
    match bytes {
        Some(bytes) => write!(out, "\"{}\"", bytes.escape_ascii()),
        None => write!(out, "null"),
    }
}

fn index(source: &Source, base_offset: Offset, out: &mut dyn Write) -> Result<(), OfflineError> {
    // An entry takes a 256th of what it stands for, and a segment has at most 2 GiB.
    const INDEX_BYTES_MAX: usize = 16 << 20;
    let Some(index) = Index::decode(&source.read(0, INDEX_BYTES_MAX)?, base_offset) else {
        let why = "not a whole index of its segment: damaged, torn, or of another version; the broker makes it anew";
        return Err(OfflineError::refused(&source.path, why));
    };
    let max = index
        .max_timestamp()
        .map_or("none".to_owned(), |(timestamp, offset)| format!("{timestamp} in the batch of offset {offset}"));
    writeln!(
        out,
        "index {}: version {}, base offset {base_offset}, covers {} bytes, max timestamp {max}, {} entries, crc ok",
        source.path.display(),
        index::VERSION,
        index.covered(),
        index.entries().len()
    )?;
    for entry in index.entries() {
        writeln!(
            out,
            "offset {} at position {}, max timestamp before {}",
            base_offset + i64::from(entry.relative_offset),
            entry.position,
            entry.max_timestamp_before
        )?;
    }
    Ok(())
}

/// Reads a journal file's header; one of another version is refused.
pub(super) fn journal_header(source: &Source) -> Result<Result<FileHeader, FileHeaderError>, OfflineError> {
    match FileHeader::decode(&source.read(0, FILE_HEADER_LEN)?) {
        Err(error @ FileHeaderError::UnknownVersion(_)) => Err(OfflineError::refused(&source.path, error.to_string())),
        read => Ok(read),
    }
}

fn journal(source: &Source, with_records: bool, out: &mut dyn Write) -> Result<(), OfflineError> {
    write!(out, "journal file {}: {} bytes, ", source.path.display(), source.len)?;
    let incarnation = match journal_header(source)? {
        Ok(header) => {
            writeln!(
                out,
                "shard {}, incarnation {}, first block {}, crc ok",
                header.shard, header.incarnation, header.first_sequence
            )?;
            Some(header.incarnation)
        }
        Err(error) => {
            writeln!(out, "{error}")?;
            None
        }
    };
    let mut failed = None;
    pieces(source, |piece| {
        let written = write_piece(&piece, incarnation, with_records, out);
        failed = written.err();
        Ok(failed.is_none())
    })?;
    failed.map_or(Ok(()), Err)
}

fn write_piece(
    piece: &Piece,
    incarnation: Option<u64>,
    with_records: bool,
    out: &mut dyn Write,
) -> Result<(), OfflineError> {
    match piece {
        Piece::Zero { position, end } => writeln!(out, "position {position}: {} zero bytes", end - position)?,
        Piece::Other { position, end, header: Some(header) } if Some(header.incarnation) == incarnation => writeln!(
            out,
            "position {position}: block {} is torn or damaged, {} bytes that are no block",
            header.sequence,
            end - position
        )?,
        Piece::Other { position, end, .. } => {
            writeln!(out, "position {position}: {} bytes that are no block", end - position)?;
        }
        Piece::Block { position, header, .. } if incarnation.is_some_and(|own| own != header.incarnation) => writeln!(
            out,
            "position {position}: block {} of an earlier use of the file, incarnation {}",
            header.sequence, header.incarnation
        )?,
        Piece::Block { position, header, entries } => {
            writeln!(
                out,
                "position {position}: block {}, durable watermark {}, {} entries, {} bytes, crc ok",
                header.sequence,
                header.durable_watermark,
                entries.len(),
                header.payload_len
            )?;
            for entry in entries {
                write!(out, "  partition {} epoch {} ", entry.partition, entry.leader_epoch)?;
                match (entry.kind, BatchHeader::parse(&entry.payload)) {
                    (EntryKind::LogStart, _) => writeln!(out, "log start {}", entry.base_offset)?,
                    (EntryKind::Batch, Ok(header)) => writeln!(out, "batch {}", describe(&header))?,
                    (EntryKind::Batch, Err(error)) => writeln!(out, "batch at {}: {error}", entry.base_offset)?,
                }
                if with_records && entry.kind == EntryKind::Batch {
                    write_records(&entry.payload, "    ", out)?;
                }
            }
        }
    }
    Ok(())
}

fn checkpoint(source: &Source, out: &mut dyn Write) -> Result<(), OfflineError> {
    let CheckpointState::Whole(checkpoint) = read_checkpoint(&source.path)? else {
        return Err(OfflineError::refused(&source.path, "the checkpoint is damaged (bad magic, length or checksum)"));
    };
    writeln!(
        out,
        "checkpoint {}: version {}, first needed block {}, journal files free up to incarnation {}, {} partitions, crc ok",
        source.path.display(),
        checkpoint::VERSION,
        checkpoint.first_sequence,
        checkpoint.incarnation_floor,
        checkpoint.logs.len()
    )?;
    for log in &checkpoint.logs {
        writeln!(
            out,
            "partition {}: start {}, end {} in segment {} at byte {}, snapshot of {} bytes up to offset {}",
            log.id,
            log.start,
            log.end.offset,
            log.end.segment,
            log.end.bytes,
            log.snapshot.len(),
            log.snapshot_offset
        )?;
    }
    Ok(())
}
