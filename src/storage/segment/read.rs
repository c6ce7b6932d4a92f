//! Reading a segment: whole batches, from memory when they are there, else from the file, checked.

use std::path::PathBuf;

use bytes::Bytes;

use super::chunk::Chunk;
use super::index::{INTERVAL_BYTES, Index};
use super::{Segment, State, file_name};
use crate::disk::{ALIGNMENT, Disk, DiskError, DiskFile, OpenMode, align_down, align_up};
use crate::record::{BATCH_HEADER_LEN, BatchHeader, split_batches, verify_crc};
use crate::storage::mutation::{self, Mutation};
use crate::vocabulary::{Offset, TimestampMs};

/// The most that one read of the disk asks for while an index is made anew, in bytes.
const SCAN_BYTES: u64 = 1 << 20;

/// Whole batches, in order, as slices that lie one behind the other.
#[derive(Clone, Debug, Default)]
pub struct Records {
    /// The bytes; a batch may reach over several slices.
    pub slices: Vec<Bytes>,
}

impl Records {
    /// Bytes in all slices.
    pub fn len(&self) -> usize {
        self.slices.iter().map(Bytes::len).sum()
    }

    /// Whether there is no batch.
    pub fn is_empty(&self) -> bool {
        self.slices.iter().all(Bytes::is_empty)
    }

    /// The same bytes in one piece; copied unless they are in one already.
    pub fn to_bytes(&self) -> Bytes {
        match &self.slices[..] {
            [one] => one.clone(),
            slices => slices.concat().into(),
        }
    }
}

/// Where the part of a segment ends that may be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// In bytes: the end of a batch.
    pub position: u64,
    /// No batch before it has this offset or a later one.
    pub offset: Offset,
}

/// Holds batches that follow each other against their offsets: no checksum covers a batch's base offset, so that a batch
/// need not be copied to be appended. What is wrong shows at the batch or at the one behind it.
struct Order {
    /// The batch to come has this offset, by the index.
    exactly: Option<Offset>,
    /// Or, for there may be gaps, one from here on.
    at_least: Offset,
}

impl Order {
    /// Whether the next batch stands where it may.
    fn admits(&mut self, header: &BatchHeader) -> bool {
        let stands = self.exactly.take().is_none_or(|offset| header.base_offset == offset);
        let follows = header.base_offset >= self.at_least;
        self.at_least = header.next_offset();
        (stands && follows) || mutation::is(Mutation::ChecksNoOrder)
    }
}

const OUT_OF_ORDER: &str = "a record batch has an offset that does not belong there";

/// Why a segment could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// The file does not hold what was written to it.
    #[error(
        "{} is damaged at byte {position}: {what}; restore the file from a copy, or delete the topic if its data may go",
        path.display()
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it.
        position: u64,
        /// What is wrong there.
        what: &'static str,
    },
}

/// Why a range of batches could not be chosen.
enum Unselected {
    /// The header at this position is not at hand.
    NotHere(u64),
    /// What is at this position is no batch.
    NotABatch(u64),
}

impl<D: Disk> State<D> {
    /// The file position from which on everything is in memory.
    fn memory_start(&self) -> u64 {
        self.chunks.front().map_or(self.len, Chunk::start)
    }

    fn header_in_memory(&self, position: u64) -> Result<BatchHeader, Unselected> {
        let at = self.chunks.partition_point(|chunk| chunk.end() <= position);
        let Some(chunk) = self.chunks.get(at).filter(|chunk| chunk.start() <= position) else {
            return Err(Unselected::NotHere(position));
        };
        let end = position + BATCH_HEADER_LEN as u64;
        let parsed = if end <= chunk.end() {
            BatchHeader::parse(chunk.bytes(position, end))
        } else {
            BatchHeader::parse(&self.slices(position, end.min(self.len)).concat())
        };
        parsed.map_err(|_| Unselected::NotABatch(position))
    }

    /// The bytes of a range that is in memory.
    fn slices(&self, from: u64, to: u64) -> Vec<Bytes> {
        let first = self.chunks.partition_point(|chunk| chunk.end() <= from);
        let parts = self.chunks.range(first..).take_while(|chunk| chunk.start() < to);
        parts.map(|chunk| chunk.slice(chunk.start().max(from), chunk.end().min(to))).collect()
    }
}

/// Chooses `[from, to)`: from the batch that holds `offset`, whole batches of at most `max_bytes`, but at least one;
/// empty when there is none below `limit`, which is the end of a batch.
fn select(
    index: &Index,
    header_at: impl Fn(u64) -> Result<BatchHeader, Unselected>,
    offset: Offset,
    max_bytes: u64,
    limit: u64,
) -> Result<(u64, u64), Unselected> {
    let mut from = u64::from(index.position_before_offset(offset));
    let first = loop {
        if from >= limit {
            return Ok((limit, limit));
        }
        let header = header_at(from)?;
        if header.last_offset() >= offset {
            break header;
        }
        from += header.total_len() as u64;
    };
    let want = limit.min(from.saturating_add(max_bytes));
    if want == limit {
        return Ok((from, limit));
    }
    let mut to = from + first.total_len() as u64;
    to = to.max(u64::from(index.boundary_before(want as u32)));
    while to < want {
        let next = to + header_at(to)?.total_len() as u64;
        if next > want {
            break;
        }
        to = next;
    }
    if to > limit { Err(Unselected::NotABatch(from)) } else { Ok((from, to)) }
}

impl<D: Disk> Segment<D> {
    /// Whole batches from the one that holds `offset`, of at most `max_bytes` but at least one, before `limit`.
    /// `None` when they are not all in memory.
    pub fn read_cached(&self, offset: Offset, max_bytes: usize, limit: Limit) -> Option<Records> {
        let state = self.state.borrow();
        let index = state.index.as_ref()?;
        let range =
            select(index, |position| state.header_in_memory(position), offset, max_bytes as u64, limit.position);
        let (from, to) = range.ok()?;
        (from >= state.memory_start()).then(|| Records { slices: state.slices(from, to) })
    }

    /// What [`Segment::read_cached`] gives, from the disk where need be. Checksums and offsets are checked of what was on
    /// disk.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn read(&self, disk: &D, offset: Offset, max_bytes: usize, limit: Limit) -> Result<Records, ReadError> {
        if let Some(records) = self.read_cached(offset, max_bytes, limit) {
            return Ok(records);
        }
        let result = self.read_file(disk, offset, max_bytes, limit).await;
        if matches!(result, Err(ReadError::Damaged { .. })) {
            self.forget_index();
        }
        result
    }

    /// Has the index made anew when it is next needed: it may come from what is damaged, and the file may be restored.
    fn forget_index(&self) {
        let mut state = self.state.borrow_mut();
        if state.sealed {
            state.index = None;
        }
    }

    async fn read_file(&self, disk: &D, offset: Offset, max_bytes: usize, limit: Limit) -> Result<Records, ReadError> {
        let (limit, end_offset) = (limit.position, limit.offset);
        let start = self.with_index(disk, |index| u64::from(index.position_before_offset(offset))).await?;
        let mut end = limit.min(start + max_bytes as u64 + 2 * u64::from(INTERVAL_BYTES));
        loop {
            let window = self.window(disk, start, end).await?;
            let header_at = |position: u64| {
                let at = (position - start) as usize;
                if position + BATCH_HEADER_LEN as u64 > end {
                    return Err(Unselected::NotHere(position));
                }
                BatchHeader::parse(&window[at..]).map_err(|_| Unselected::NotABatch(position))
            };
            // While the window was read, the index may have had to go.
            let choose = |index: &Index| select(index, header_at, offset, max_bytes as u64, limit);
            let selected = self.with_index(disk, choose).await?;
            match selected {
                // The batch behind tells whether the last one's offset is right.
                Ok((_, to)) if to <= end && to < limit && to + BATCH_HEADER_LEN as u64 > end => {
                    end = limit.min(to + u64::from(INTERVAL_BYTES));
                }
                Ok((from, to)) if to <= end => {
                    self.check_order(&window, start, to, limit, end_offset)?;
                    let bytes = window.slice((from - start) as usize..(to - start) as usize);
                    self.check(&bytes, from)?;
                    return Ok(Records { slices: vec![bytes] });
                }
                Ok((_, to)) => end = to,
                Err(Unselected::NotHere(position)) if position + (BATCH_HEADER_LEN as u64) <= limit => {
                    end = limit.min(position + u64::from(INTERVAL_BYTES));
                }
                Err(Unselected::NotHere(position) | Unselected::NotABatch(position)) => {
                    return Err(self.damaged(position, "there is no whole record batch where one must start"));
                }
            }
        }
    }

    /// Checks the offsets of the batches in `window`, which starts at `start`, up to position `to` and of the one behind.
    fn check_order(&self, window: &[u8], start: u64, to: u64, limit: u64, end_offset: Offset) -> Result<(), ReadError> {
        let mut order = self.order_from(start);
        let mut position = start;
        while position <= to && position < limit {
            let header = window.get((position - start) as usize..).map(BatchHeader::parse);
            let Some(Ok(header)) = header else {
                return Err(self.damaged(position, "there is no whole record batch where one must start"));
            };
            if !order.admits(&header) {
                return Err(self.damaged(position, OUT_OF_ORDER));
            }
            position += header.total_len() as u64;
        }
        if to == limit && order.at_least > end_offset {
            return Err(self.damaged(to, OUT_OF_ORDER));
        }
        Ok(())
    }

    /// The order of the batches from `position` on, where an entry of the index points.
    fn order_from(&self, position: u64) -> Order {
        let state = self.state.borrow();
        let exactly = state.index.as_ref().and_then(|index| index.offset_at(position as u32));
        Order { exactly, at_least: self.base_offset }
    }

    /// The whole batch that starts at `position`.
    async fn batch_at(&self, disk: &D, position: u64) -> Result<(BatchHeader, Bytes), ReadError> {
        let len = self.len();
        let mut end = len.min(position + u64::from(INTERVAL_BYTES));
        loop {
            let window = self.window(disk, position, end).await?;
            let header = BatchHeader::parse(&window)
                .map_err(|_| self.damaged(position, "there is no whole record batch where one must start"))?;
            let batch_end = position + header.total_len() as u64;
            if batch_end > len {
                return Err(self.damaged(position, "a record batch reaches over the end"));
            }
            if batch_end <= end {
                let batch = window.slice(..header.total_len());
                self.check(&batch, position)?;
                return Ok((header, batch));
            }
            end = batch_end;
        }
    }

    /// The header of the first batch.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn first_batch(&self, disk: &D) -> Result<BatchHeader, ReadError> {
        Ok(self.batch_at(disk, 0).await?.0)
    }

    /// The header of the last batch.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn last_batch(&self, disk: &D) -> Result<BatchHeader, ReadError> {
        let len = self.len();
        let before = |index: &Index| u64::from(index.boundary_before(u32::try_from(len - 1).unwrap_or(u32::MAX)));
        let mut position = self.with_index(disk, before).await?;
        loop {
            let (header, batch) = self.batch_at(disk, position).await?;
            position += batch.len() as u64;
            if position >= len {
                return Ok(header);
            }
        }
    }

    /// The position of a batch at or before the one that holds `offset`.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn position_before(&self, disk: &D, offset: Offset) -> Result<u64, ReadError> {
        self.with_index(disk, |index| u64::from(index.position_before_offset(offset))).await
    }

    /// Whole batches, checked, from the one that starts at `position`, which is before the end: of at most `max_bytes`,
    /// but at least one.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn batches(&self, disk: &D, position: u64, max_bytes: u64) -> Result<Bytes, ReadError> {
        let end = self.len().min(position + max_bytes);
        let window = self.window(disk, position, end).await?;
        let mut whole = 0;
        for batch in split_batches(&window) {
            match batch {
                Ok((header, _)) => whole += header.total_len(),
                Err(_) => {
                    let at = position + whole as u64;
                    return Err(self.damaged(at, "there is no whole record batch where one must start"));
                }
            }
        }
        if whole == 0 {
            return Ok(self.batch_at(disk, position).await?.1);
        }
        let batches = window.slice(..whole);
        self.check(&batches, position)?;
        Ok(batches)
    }

    /// Opens the file and loads the index, so that neither is looked for by its name any more.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub(in crate::storage) async fn pin(&self, disk: &D) -> Result<(), ReadError> {
        self.pinned.set(true);
        self.file(disk).await?;
        self.load_index(disk).await
    }

    /// The first batch with records whose max timestamp is at least `timestamp`, of those from the one that holds `from` on
    /// that start before `limit`.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn first_batch_at_or_after(
        &self,
        disk: &D,
        timestamp: TimestampMs,
        from: Offset,
        limit: Limit,
    ) -> Result<Option<Bytes>, ReadError> {
        let look = |index: &Index| {
            let position = index.position_before_timestamp(timestamp).max(index.position_before_offset(from));
            (index.max_timestamp(), u64::from(position))
        };
        let (max, start) = self.with_index(disk, look).await?;
        if max.is_none_or(|(max, _)| max < timestamp) {
            return Ok(None);
        }
        let mut position = start;
        let mut order = self.order_from(position);
        let mut found = None;
        while position < limit.position {
            let (header, batch) = self.batch_at(disk, position).await?;
            if !order.admits(&header) {
                return Err(self.damaged(position, OUT_OF_ORDER));
            }
            if found.is_some() {
                return Ok(found);
            }
            position += batch.len() as u64;
            if header.max_timestamp >= timestamp && header.last_offset() >= from && header.record_count > 0 {
                // The batch behind, or the end, tells whether its offset is right.
                found = Some(batch);
            }
        }
        if order.at_least > limit.offset {
            return Err(self.damaged(position, OUT_OF_ORDER));
        }
        Ok(found)
    }

    /// The largest timestamp of all batches and the base offset of the first batch that has it.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn max_timestamp(&self, disk: &D) -> Result<Option<(TimestampMs, Offset)>, ReadError> {
        self.with_index(disk, Index::max_timestamp).await
    }

    /// The largest timestamp of the batches from the one that holds `from` on, of those before `limit`.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn max_timestamp_from(
        &self,
        disk: &D,
        from: Offset,
        limit: Limit,
    ) -> Result<Option<TimestampMs>, ReadError> {
        if from <= self.base_offset {
            return Ok(self.max_timestamp(disk).await?.map(|(timestamp, _)| timestamp));
        }
        self.max_timestamp_of_records(disk, from, limit).await
    }

    /// The largest timestamp of the batches that have records, of those from the one that holds `from` on that start
    /// below position `limit`; found by reading them.
    ///
    /// # Errors
    /// See [`ReadError`].
    pub async fn max_timestamp_of_records(
        &self,
        disk: &D,
        from: Offset,
        limit: Limit,
    ) -> Result<Option<TimestampMs>, ReadError> {
        let mut position = self.with_index(disk, |index| u64::from(index.position_before_offset(from))).await?;
        let mut order = self.order_from(position);
        let mut max = None;
        while position < limit.position {
            let (header, batch) = self.batch_at(disk, position).await?;
            if !order.admits(&header) {
                return Err(self.damaged(position, OUT_OF_ORDER));
            }
            if header.last_offset() >= from && header.max_timestamp >= 0 && header.record_count > 0 {
                max = max.max(Some(header.max_timestamp));
            }
            position += batch.len() as u64;
        }
        Ok(max)
    }

    async fn with_index<T>(&self, disk: &D, look: impl FnOnce(&Index) -> T) -> Result<T, ReadError> {
        self.load_index(disk).await?;
        // No await between: nothing can drop it.
        match &self.state.borrow().index {
            Some(index) => Ok(look(index)),
            None => Err(self.damaged(0, "its index vanished while it was read")),
        }
    }

    /// The bytes from `start` to `end`, both at most the length, in one piece.
    async fn window(&self, disk: &D, start: u64, end: u64) -> Result<Bytes, ReadError> {
        // What is in memory is taken before the disk is asked: it may be evicted meanwhile, but only once it is written.
        let (disk_end, in_memory) = {
            let state = self.state.borrow();
            let disk_end = state.memory_start().clamp(start, end);
            (disk_end, state.slices(disk_end, end))
        };
        let mut window = Vec::with_capacity((end - start) as usize);
        if start < disk_end {
            let file = self.file(disk).await?;
            let aligned = align_down(start);
            let data = file.read_at(aligned, (align_up(disk_end) - aligned) as usize).await?;
            let (from, to) = ((start - aligned) as usize, (disk_end - aligned) as usize);
            let Some(bytes) = data.get(from..to) else {
                return Err(self.damaged(aligned + data.len() as u64, "the file ends before its last record batch"));
            };
            window.extend_from_slice(bytes);
        }
        for slice in in_memory {
            window.extend_from_slice(&slice);
        }
        Ok(window.into())
    }

    /// Checks the checksum of each batch in `bytes`, which start at `position`.
    fn check(&self, bytes: &[u8], position: u64) -> Result<(), ReadError> {
        let mut at = 0;
        while at < bytes.len() {
            let here = position + at as u64;
            let header = BatchHeader::parse(&bytes[at..])
                .map_err(|_| self.damaged(here, "there is no whole record batch where one must start"))?;
            let Some(batch) = bytes.get(at..at + header.total_len()) else {
                return Err(self.damaged(here, "a record batch reaches over the next one"));
            };
            if !verify_crc(batch) && !mutation::is(Mutation::ChecksNoChecksum) {
                return Err(self.damaged(here, "a record batch does not match its checksum"));
            }
            at += batch.len();
        }
        Ok(())
    }

    /// Makes the index available: from memory, from its file, or by reading the whole segment.
    async fn load_index(&self, disk: &D) -> Result<(), ReadError> {
        if self.state.borrow().index.is_some() {
            return Ok(());
        }
        let len = self.len();
        let index = match self.read_index_file(disk).await? {
            Some(index) if u64::from(index.covered()) == len => index,
            _ => self.scan(disk, len).await?,
        };
        self.state.borrow_mut().index.get_or_insert(index);
        Ok(())
    }

    async fn read_index_file(&self, disk: &D) -> Result<Option<Index>, ReadError> {
        let path = self.home.directory().join(file_name(self.base_offset, "index"));
        let file = match disk.open(&path, OpenMode::Existing).await {
            Err(error) if error.is_not_found() => return Ok(None),
            result => result?,
        };
        let size = align_up(file.size().await?) as usize;
        if size == 0 {
            return Ok(None);
        }
        let data = file.read_at(0, size).await?;
        Ok(Index::decode(&data, self.base_offset))
    }

    async fn scan(&self, disk: &D, len: u64) -> Result<Index, ReadError> {
        let mut index = Index::new(self.base_offset);
        let mut order = Order { exactly: None, at_least: self.base_offset };
        let (mut start, mut span) = (0, SCAN_BYTES);
        while start < len {
            let window = self.window(disk, start, len.min(start + span)).await?;
            let mut at = 0;
            span = SCAN_BYTES;
            while at < window.len() {
                let here = start + at as u64;
                let Some(head) = window.get(at..at + BATCH_HEADER_LEN) else { break };
                let header = BatchHeader::parse(head)
                    .map_err(|_| self.damaged(here, "there is no whole record batch where one must start"))?;
                if here + header.total_len() as u64 > len {
                    return Err(self.damaged(here, "a record batch reaches over the end"));
                }
                if at + header.total_len() > window.len() {
                    span = span.max(header.total_len() as u64 + ALIGNMENT as u64);
                    break;
                }
                self.check(&window[at..at + header.total_len()], here)?;
                if !order.admits(&header) {
                    return Err(self.damaged(here, OUT_OF_ORDER));
                }
                index.add(header.base_offset, header.total_len() as u32, header.max_timestamp);
                at += header.total_len();
            }
            if at == 0 && start + window.len() as u64 == len {
                return Err(self.damaged(start, "the file ends within a record batch"));
            }
            start += at as u64;
        }
        Ok(index)
    }

    fn damaged(&self, position: u64, what: &'static str) -> ReadError {
        ReadError::Damaged { path: self.home.directory().join(file_name(self.base_offset, "log")), position, what }
    }
}
