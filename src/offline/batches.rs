//! The record batches of a segment one by one, through a window of bounded size.

use bytes::Bytes;

use super::{OfflineError, Source};
use crate::record::{BATCH_HEADER_LEN, BatchError, BatchHeader};

/// How much of a file is read at once.
const WINDOW_BYTES: usize = 256 << 10;
/// What a batch's checksum covers starts so far behind the batch's start.
const CHECKED_FROM: usize = 21;

/// A whole batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct FoundBatch {
    pub position: u64,
    pub header: BatchHeader,
    /// Whether the checksum matches; true when it was not looked at.
    pub crc_matches: bool,
}

impl FoundBatch {
    /// The position behind the batch.
    pub fn end(&self) -> u64 {
        self.position + self.header.total_len() as u64
    }

    /// All bytes of the batch.
    pub fn read(&self, source: &Source) -> Result<Bytes, OfflineError> {
        Ok(source.read(self.position, self.header.total_len())?.into())
    }
}

/// What lies at `position` is no whole batch.
#[derive(Clone, Copy, Debug)]
pub(super) struct NoBatch {
    pub position: u64,
    pub error: BatchError,
}

/// Goes over a range of a segment file. A batch that cannot be read does not move it on: the caller skips, or ends.
pub(super) struct BatchWalk<'a> {
    source: &'a Source,
    position: u64,
    end: u64,
    check_crc: bool,
    window: Vec<u8>,
    window_at: u64,
}

impl<'a> BatchWalk<'a> {
    /// From `from`, where a batch starts, to `end` or the file's end.
    pub fn new(source: &'a Source, from: u64, end: u64, check_crc: bool) -> BatchWalk<'a> {
        let end = end.min(source.len);
        BatchWalk { source, position: from, end, check_crc, window: Vec::new(), window_at: 0 }
    }

    /// Goes on at `position`.
    pub fn skip_to(&mut self, position: u64) {
        self.position = position;
    }

    /// The next batch; `None` at the end.
    pub fn next(&mut self) -> Result<Option<Result<FoundBatch, NoBatch>>, OfflineError> {
        let position = self.position;
        if position >= self.end {
            return Ok(None);
        }
        let have = (self.end - position).min(usize::MAX as u64) as usize;
        let header = match BatchHeader::parse(self.bytes(position, have.min(BATCH_HEADER_LEN))?) {
            Ok(header) if header.total_len() > have => {
                let error = BatchError::CutShort { have, needed: header.total_len() };
                return Ok(Some(Err(NoBatch { position, error })));
            }
            Ok(header) => header,
            Err(error) => return Ok(Some(Err(NoBatch { position, error }))),
        };
        let mut found = FoundBatch { position, header, crc_matches: true };
        if self.check_crc {
            found.crc_matches = self.crc(position + CHECKED_FROM as u64, found.end())? == header.crc;
        }
        self.position = found.end();
        Ok(Some(Ok(found)))
    }

    fn crc(&mut self, from: u64, to: u64) -> Result<u32, OfflineError> {
        let (mut at, mut crc) = (from, 0);
        while at < to {
            let piece = self.bytes(at, ((to - at) as usize).min(WINDOW_BYTES))?;
            if piece.is_empty() {
                break;
            }
            crc = crc32c::crc32c_append(crc, piece);
            at += piece.len() as u64;
        }
        Ok(crc)
    }

    /// The `len` bytes at `at`, at most [`WINDOW_BYTES`]; fewer when the file has shrunk.
    fn bytes(&mut self, at: u64, len: usize) -> Result<&[u8], OfflineError> {
        let inside = at >= self.window_at && at + len as u64 <= self.window_at + self.window.len() as u64;
        if !inside {
            self.window = self.source.read(at, WINDOW_BYTES)?;
            self.window_at = at;
        }
        let from = (at - self.window_at) as usize;
        Ok(&self.window[from..self.window.len().min(from + len)])
    }
}
