//! What a journal file holds, piece by piece: blocks of its present use and of earlier ones, zeros, and other bytes.

use bytes::Bytes;

use super::{OfflineError, Source};
use crate::disk::ALIGNMENT;
use crate::storage::journal::block::{BlockHeader, Entry, Incarnation, decode_block};

/// The bytes of a block header at which its incarnation stands.
const INCARNATION_AT: std::ops::Range<usize> = 16..24;

/// A part of a journal file, at a multiple of [`ALIGNMENT`].
#[derive(Debug)]
pub(super) enum Piece {
    /// A whole block, of the file's present use or an earlier one.
    Block {
        /// Where it starts.
        position: u64,
        /// Its header.
        header: BlockHeader,
        /// What it holds.
        entries: Vec<Entry>,
    },
    /// Zeros up to `end`: never written, or padding.
    Zero {
        /// Where they start.
        position: u64,
        /// Where they end.
        end: u64,
    },
    /// Bytes up to `end` that are no whole block.
    Other {
        /// Where they start.
        position: u64,
        /// Where they end.
        end: u64,
        /// What looks like the header of a block, if anything does.
        header: Option<BlockHeader>,
    },
}

/// Gives every piece of the file behind its header to `take`, in order, until that says false.
pub(super) fn pieces(
    source: &Source,
    mut take: impl FnMut(Piece) -> Result<bool, OfflineError>,
) -> Result<(), OfflineError> {
    let mut position = ALIGNMENT as u64;
    let mut pending: Option<Piece> = None;
    while position < source.len {
        let page = source.read(position, ALIGNMENT)?;
        if page.is_empty() {
            break;
        }
        let piece = piece_at(source, position, &page)?;
        let next = end_of(&piece);
        pending = match (pending.take(), piece) {
            (Some(Piece::Zero { position, .. }), Piece::Zero { end, .. }) => Some(Piece::Zero { position, end }),
            (Some(Piece::Other { position, header, .. }), Piece::Other { end, header: None, .. }) => {
                Some(Piece::Other { position, end, header })
            }
            (Some(before), piece) => {
                if !take(before)? {
                    return Ok(());
                }
                Some(piece)
            }
            (None, piece) => Some(piece),
        };
        position = next;
    }
    if let Some(last) = pending {
        take(last)?;
    }
    Ok(())
}

/// The position behind a piece, padding included.
pub(super) fn end_of(piece: &Piece) -> u64 {
    match piece {
        Piece::Block { position, header, .. } => position + header.disk_len() as u64,
        Piece::Zero { end, .. } | Piece::Other { end, .. } => *end,
    }
}

fn piece_at(source: &Source, position: u64, page: &[u8]) -> Result<Piece, OfflineError> {
    let end = position + ALIGNMENT as u64;
    if page.iter().all(|&byte| byte == 0) {
        return Ok(Piece::Zero { position, end });
    }
    let incarnation = page.get(INCARNATION_AT).and_then(|bytes| bytes.try_into().ok()).map(u64::from_be_bytes);
    let header = incarnation.and_then(|incarnation| BlockHeader::peek(page, incarnation));
    if let Some(header) = header
        && position + (header.payload_len as u64) < source.len
    {
        let bytes = Bytes::from(source.read(position, header.disk_len())?);
        if let Some((header, entries)) = decode_block(&bytes, header.incarnation) {
            return Ok(Piece::Block { position, header, entries });
        }
    }
    Ok(Piece::Other { position, end, header })
}

/// Whether `page`, at the place of block `sequence` of this use of the file, looks like that block gone bad rather than
/// like leftovers of an earlier use: most of its header's fields are as they would be.
pub(super) fn looks_like(page: &[u8], incarnation: Incarnation, sequence: u64) -> bool {
    let field = |range: std::ops::Range<usize>| page.get(range).unwrap_or_default();
    let matching = [
        field(0..4) == crate::storage::journal::block::BLOCK_MAGIC,
        field(8..10) == crate::storage::journal::block::VERSION.to_be_bytes(),
        field(INCARNATION_AT) == incarnation.to_be_bytes(),
        field(24..32) == sequence.to_be_bytes(),
    ];
    matching.into_iter().filter(|matches| *matches).count() >= 3
}
