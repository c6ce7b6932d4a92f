//! `corelog log explain`: what one byte of a file belongs to, in words.

use std::io::Write;
use std::path::Path;

use bytes::Bytes;

use super::batches::BatchWalk;
use super::blocks::{Piece, end_of, pieces};
use super::data_dir::lock_around;
use super::dump::{FileKind, describe, journal_header};
use super::shard::{CheckpointState, read_checkpoint};
use super::{OfflineError, Source};
use crate::disk::ALIGNMENT;
use crate::record::{BATCH_HEADER_LEN, Compression, records};
use crate::storage::checkpoint;
use crate::storage::journal::block::{BLOCK_HEADER_LEN, ENTRY_HEADER_LEN, EntryKind, FILE_HEADER_LEN};
use crate::storage::segment::index;

/// A field's length in bytes and its name; fields follow each other without a gap.
type Fields = &'static [(u64, &'static str)];

/// As `record::header` has them.
const BATCH_FIELDS: Fields = &[
    (8, "base offset"),
    (4, "batch length"),
    (4, "partition leader epoch"),
    (1, "magic"),
    (4, "crc32c"),
    (2, "attributes"),
    (4, "last offset delta"),
    (8, "base timestamp"),
    (8, "max timestamp"),
    (8, "producer id"),
    (2, "producer epoch"),
    (4, "base sequence"),
    (4, "record count"),
];
/// As `storage::journal::block` has them.
const FILE_HEADER_FIELDS: Fields =
    &[(8, "magic"), (2, "version"), (2, "shard"), (8, "incarnation"), (8, "first sequence"), (4, "crc32c")];
const BLOCK_HEADER_FIELDS: Fields = &[
    (4, "magic"),
    (4, "crc32c"),
    (2, "version"),
    (2, "reserved bytes"),
    (4, "payload length"),
    (8, "incarnation"),
    (8, "sequence"),
    (8, "durable watermark"),
];
const ENTRY_HEADER_FIELDS: Fields = &[
    (16, "topic id"),
    (4, "partition index"),
    (1, "kind"),
    (3, "reserved bytes"),
    (4, "leader epoch"),
    (8, "base offset"),
    (4, "payload length"),
];
/// As `storage::checkpoint` has them.
const CHECKPOINT_FIELDS: Fields = &[
    (8, "magic"),
    (2, "version"),
    (2, "shard"),
    (4, "body length"),
    (8, "incarnation floor"),
    (8, "first sequence"),
    (4, "partition count"),
];
const CHECKPOINTED_LOG_FIELDS: Fields = &[
    (16, "topic id"),
    (4, "partition index"),
    (8, "start"),
    (8, "end offset"),
    (8, "end segment"),
    (8, "end bytes"),
    (8, "snapshot offset"),
    (4, "snapshot length"),
];
/// As `storage::segment::index` has them.
const INDEX_FIELDS: Fields = &[
    (8, "magic"),
    (2, "version"),
    (2, "reserved bytes"),
    (4, "entry count"),
    (8, "base offset"),
    (8, "covered length"),
    (8, "max timestamp"),
    (8, "base offset of the batch with the max timestamp"),
];
const INDEX_ENTRY_FIELDS: Fields = &[(4, "relative offset"), (4, "position"), (8, "max timestamp before")];

const fn len(fields: Fields) -> u64 {
    let (mut at, mut len) = (0, 0);
    while at < fields.len() {
        len += fields[at].0;
        at += 1;
    }
    len
}

const _: () =
    assert!(len(BATCH_FIELDS) == BATCH_HEADER_LEN as u64 && len(FILE_HEADER_FIELDS) == FILE_HEADER_LEN as u64);
const _: () = assert!(len(BLOCK_HEADER_FIELDS) == BLOCK_HEADER_LEN as u64);
const _: () = assert!(len(ENTRY_HEADER_FIELDS) == ENTRY_HEADER_LEN as u64);
const _: () =
    assert!(len(INDEX_FIELDS) == index::HEADER_LEN as u64 && len(INDEX_ENTRY_FIELDS) == index::ENTRY_LEN as u64);

/// "byte 2 of its base offset", or nothing behind the last field.
fn field(fields: Fields, at: u64) -> Option<String> {
    let mut start = 0;
    for (len, name) in fields {
        if at < start + len {
            return Some(format!("byte {} of the {len} of the {name}", at - start));
        }
        start += len;
    }
    None
}

/// Writes what lies at `position` of `file`.
///
/// # Errors
/// See [`OfflineError`].
pub fn explain(file: &Path, position: u64, out: &mut dyn Write) -> Result<(), OfflineError> {
    let _lock = lock_around(file)?;
    let source = Source::open(file)?;
    let kind = FileKind::of(&source)?;
    if position >= source.len {
        let why = format!("byte {position} is behind the end, the file has {} bytes", source.len);
        return Err(OfflineError::refused(file, why));
    }
    let text = match kind {
        FileKind::Segment(_) => in_segment(&source, position)?,
        FileKind::Index(base_offset) => in_index(&source, base_offset, position)?,
        FileKind::Journal => in_journal(&source, position)?,
        FileKind::Checkpoint => in_checkpoint(&source, position)?,
    };
    Ok(writeln!(out, "{} at byte {position}: {text}", file.display())?)
}

fn in_segment(source: &Source, position: u64) -> Result<String, OfflineError> {
    let mut walk = BatchWalk::new(source, 0, source.len, false);
    while let Some(found) = walk.next()? {
        match found {
            Ok(batch) if position < batch.end() => {
                // Once more, with the checksum of this one alone.
                let mut checked = BatchWalk::new(source, batch.position, batch.end(), true);
                let crc_matches = matches!(checked.next()?, Some(Ok(found)) if found.crc_matches);
                let crc = if crc_matches { "its checksum matches" } else { "its checksum does not match" };
                let inside = in_batch(&batch.read(source)?, position - batch.position);
                let header = describe(&batch.header);
                return Ok(format!("{inside} of the record batch at {} ({header}; {crc})", batch.position));
            }
            Ok(_) => {}
            Err(bad) => {
                let place = format!("behind the last whole record batch, which ends at {}", bad.position);
                return Ok(match source.first_nonzero(bad.position, source.len)? {
                    None => format!("zero padding {place}"),
                    Some(_) => format!("a byte {place}: no batch can be read there ({})", bad.error),
                });
            }
        }
    }
    Ok("no record batch".to_owned())
}

/// What lies `at` bytes into a batch.
fn in_batch(batch: &Bytes, at: u64) -> String {
    if let Some(field) = field(BATCH_FIELDS, at) {
        return field;
    }
    let Ok(records) = records(batch) else { return "a byte of records that cannot be read,".to_owned() };
    if records.header().compression() != Ok(Compression::None) {
        let compressed = batch.len() - BATCH_HEADER_LEN;
        return format!("byte {} of the {compressed} of the compressed records", at - BATCH_HEADER_LEN as u64);
    }
    let within = |part: &Bytes| {
        // A part is a slice of the batch.
        let start = (part.as_ptr() as usize).checked_sub(batch.as_ptr() as usize)? as u64;
        let end = start + part.len() as u64;
        Some((start, end))
    };
    for record in records.map_while(Result::ok) {
        let headers = record.headers.iter().flat_map(|header| [Some(header.key), header.value]);
        let named = [("key", record.key.clone()), ("value", record.value.clone())];
        let named = named.into_iter().chain(headers.map(|part| ("headers", part)));
        for (name, part) in named {
            let Some((start, end)) = part.as_ref().and_then(within) else { continue };
            if at < start {
                return format!("a byte of the lengths, times or flags of the record of offset {}", record.offset);
            }
            if at < end {
                return format!("byte {} of the {} of the record of offset {}", at - start, name, record.offset);
            }
        }
    }
    "a byte behind the last value or header, of the records".to_owned()
}

fn in_index(source: &Source, base_offset: i64, position: u64) -> Result<String, OfflineError> {
    let head = source.read(0, index::HEADER_LEN)?;
    let Some(count) = head.get(12..16).and_then(|bytes| bytes.try_into().ok()).map(u32::from_be_bytes) else {
        return Ok("a byte of an index that is cut short".to_owned());
    };
    if !head.starts_with(&index::MAGIC) {
        return Ok("a byte of a file that is named as an index and does not begin as one".to_owned());
    }
    let entries_end = index::HEADER_LEN as u64 + u64::from(count) * index::ENTRY_LEN as u64;
    let what = match position {
        at if at < index::HEADER_LEN as u64 => field(INDEX_FIELDS, at).unwrap_or_default(),
        at if at < entries_end => {
            let at = at - index::HEADER_LEN as u64;
            let field = field(INDEX_ENTRY_FIELDS, at % index::ENTRY_LEN as u64).unwrap_or_default();
            format!("{field} of entry {} of {count}", at / index::ENTRY_LEN as u64)
        }
        at if at < entries_end + 4 => "the checksum".to_owned(),
        _ => "padding behind the checksum".to_owned(),
    };
    Ok(format!("{what} of the index of the segment with base offset {base_offset}"))
}

fn in_journal(source: &Source, position: u64) -> Result<String, OfflineError> {
    let header = journal_header(source)?;
    if position < ALIGNMENT as u64 {
        let state =
            header.map_or_else(|error| error.to_string(), |header| format!("incarnation {}", header.incarnation));
        return Ok(match field(FILE_HEADER_FIELDS, position) {
            Some(field) => format!("{field} of the file header ({state})"),
            None => "padding of the file header".to_owned(),
        });
    }
    let incarnation = header.ok().map(|header| header.incarnation);
    let mut text = "no part of a block".to_owned();
    pieces(source, |piece| {
        if position >= end_of(&piece) {
            return Ok(true);
        }
        text = match &piece {
            Piece::Zero { .. } => "zero: no block was written there".to_owned(),
            Piece::Other { position: start, header: Some(header), .. } if Some(header.incarnation) == incarnation => {
                format!("block {} at {start}, which is torn or damaged", header.sequence)
            }
            Piece::Other { .. } => "no whole block: left of an earlier use of the file, torn, or damaged".to_owned(),
            Piece::Block { position: start, header, entries } => {
                let earlier = incarnation.is_some_and(|own| own != header.incarnation);
                let of = if earlier { ", of an earlier use of the file" } else { "" };
                let inside = in_block(entries, position - start);
                format!("{inside} of block {} at {start} (checksum matches{of})", header.sequence)
            }
        };
        Ok(false)
    })?;
    Ok(text)
}

fn in_block(entries: &[crate::storage::journal::block::Entry], at: u64) -> String {
    if let Some(field) = field(BLOCK_HEADER_FIELDS, at) {
        return format!("{field} of the header");
    }
    let mut start = BLOCK_HEADER_LEN as u64;
    for (number, entry) in entries.iter().enumerate() {
        let end = start + entry.encoded_len() as u64;
        if at < end {
            let place = format!("entry {number} (partition {}, offset {})", entry.partition, entry.base_offset);
            if let Some(field) = field(ENTRY_HEADER_FIELDS, at - start) {
                return format!("{field} of {place}");
            }
            let inside = at - start - ENTRY_HEADER_LEN as u64;
            return match entry.kind {
                EntryKind::Batch => format!("{} of the record batch of {place}", in_batch(&entry.payload, inside)),
                EntryKind::LogStart => format!("the payload of {place}"),
            };
        }
        start = end;
    }
    "padding".to_owned()
}

fn in_checkpoint(source: &Source, position: u64) -> Result<String, OfflineError> {
    if let Some(field) = field(CHECKPOINT_FIELDS, position) {
        return Ok(format!("{field} of the checkpoint's header"));
    }
    let CheckpointState::Whole(checkpoint) = read_checkpoint(&source.path)? else {
        return Ok("a byte of a checkpoint that is damaged".to_owned());
    };
    let mut start = len(CHECKPOINT_FIELDS);
    for log in &checkpoint.logs {
        let end = start + len(CHECKPOINTED_LOG_FIELDS) + log.snapshot.len() as u64;
        if position < end {
            let snapshot = || format!("byte {} of the snapshot", position - start - len(CHECKPOINTED_LOG_FIELDS));
            let inside = field(CHECKPOINTED_LOG_FIELDS, position - start).unwrap_or_else(snapshot);
            return Ok(format!("{inside} of partition {} (end {})", log.id, log.end.offset));
        }
        start = end;
    }
    debug_assert!(start >= checkpoint::HEADER_LEN as u64);
    Ok(if position < start + 4 { "the checksum" } else { "padding behind the checksum" }.to_owned())
}
