//! The journal's bytes: file header, blocks, entries. Pure functions; reading a block trusts nothing that its checksum
//! does not cover.
//!
//! ```text
//! file   ┌─────────────┬─────────┬─────────┬───┬───────────────────┐
//!        │ file header │ block   │ block   │ … │ stale or zero     │   every part at a multiple of ALIGNMENT
//!        └─────────────┴─────────┴─────────┴───┴───────────────────┘
//! block  ┌──────────────┬───────┬───────┬───┬──────────────┐
//!        │ block header │ entry │ entry │ … │ zero padding │
//!        └──────────────┴───────┴───────┴───┴──────────────┘
//! ```
//!
//! All integers are big-endian, as in Kafka's formats.
//!
//! | file header | bytes | |
//! | --- | --- | --- |
//! | magic | 8 | [`FILE_MAGIC`] |
//! | version | 2 | [`VERSION`] |
//! | shard | 2 | the shard that wrote the file |
//! | incarnation | 8 | which use of this recycled file this is; unique in the data directory's life |
//! | first sequence | 8 | of the file's first block |
//! | crc32c | 4 | over the 28 bytes before it |
//!
//! | block header | bytes | |
//! | --- | --- | --- |
//! | magic | 4 | [`BLOCK_MAGIC`] |
//! | crc32c | 4 | over the rest of the header and the payload |
//! | version | 2 | [`VERSION`] |
//! | reserved | 2 | zero |
//! | payload length | 4 | bytes after the header, without the padding |
//! | incarnation | 8 | must equal the file header's: the block of an earlier use of the file is not data |
//! | sequence | 8 | one more than the block before it, across files, never repeated in the shard's life |
//! | durable watermark | 8 | every block up to this sequence was durable when this one was written |
//!
//! | entry header | bytes | |
//! | --- | --- | --- |
//! | topic id | 16 | |
//! | partition index | 4 | |
//! | kind | 1 | [`EntryKind`] |
//! | reserved | 3 | zero |
//! | leader epoch | 4 | |
//! | base offset | 8 | of the batch, or of the log's new start |
//! | payload length | 4 | |

use bytes::{Buf, BufMut, Bytes};

use crate::disk::ALIGNMENT;
use crate::record::set_placement;
use crate::vocabulary::{LeaderEpoch, Offset, PartitionId, ShardId, TopicId};

/// The first bytes of every journal file.
pub const FILE_MAGIC: [u8; 8] = *b"corelogJ";
/// The first bytes of every block.
pub const BLOCK_MAGIC: [u8; 4] = *b"cBLK";
/// The version of this format.
pub const VERSION: u16 = 1;
/// Bytes of a file header that are used; it is padded to [`ALIGNMENT`].
pub const FILE_HEADER_LEN: usize = 32;
/// Bytes of a block header.
pub const BLOCK_HEADER_LEN: usize = 40;
/// Bytes of an entry header.
pub const ENTRY_HEADER_LEN: usize = 40;
/// The largest payload of one block, in bytes: no reader reserves more on a block's word. Well above the largest frame
/// that the broker takes, so that one batch always fits one block.
pub const PAYLOAD_BYTES_MAX: usize = 256 << 20;

const _: () = assert!(FILE_HEADER_LEN <= ALIGNMENT && BLOCK_HEADER_LEN + ENTRY_HEADER_LEN <= ALIGNMENT);
const _: () = assert!(PAYLOAD_BYTES_MAX <= u32::MAX as usize);

/// Names one use of one recycled journal file.
pub type Incarnation = u64;

/// A block's number in its shard's life, from 1; 0 stands for "none yet".
pub type Sequence = u64;

/// The head of a journal file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileHeader {
    /// Who wrote the file.
    pub shard: ShardId,
    /// Which use of the file this is.
    pub incarnation: Incarnation,
    /// The sequence of the file's first block.
    pub first_sequence: Sequence,
}

/// Why a file header was not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FileHeaderError {
    /// All zero: the file was preallocated and never used, or the crash came before its header was durable.
    #[error("the file was never used")]
    Unused,
    /// Not a journal file, or a damaged one.
    #[error("the file header is damaged (bad magic or checksum): restore the data directory from a copy")]
    Damaged,
    /// Written by a newer corelog.
    #[error("the file has format version {0}, this corelog reads version {VERSION}: start the corelog that wrote it")]
    UnknownVersion(u16),
}

impl FileHeader {
    /// The header as the file's first bytes.
    pub fn encode(&self) -> [u8; FILE_HEADER_LEN] {
        let mut bytes = [0; FILE_HEADER_LEN];
        let mut out = &mut bytes[..];
        out.put_slice(&FILE_MAGIC);
        out.put_u16(VERSION);
        out.put_u16(self.shard.0);
        out.put_u64(self.incarnation);
        out.put_u64(self.first_sequence);
        let crc = crc32c::crc32c(&bytes[..FILE_HEADER_LEN - 4]);
        bytes[FILE_HEADER_LEN - 4..].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    /// Reads a file's first bytes.
    ///
    /// # Errors
    /// See [`FileHeaderError`]. The version is looked at only once the checksum holds.
    pub fn decode(bytes: &[u8]) -> Result<FileHeader, FileHeaderError> {
        let bytes = bytes.get(..FILE_HEADER_LEN).ok_or(FileHeaderError::Damaged)?;
        if bytes.iter().all(|&byte| byte == 0) {
            return Err(FileHeaderError::Unused);
        }
        let (covered, mut crc) = bytes.split_at(FILE_HEADER_LEN - 4);
        let Some(mut rest) = covered.strip_prefix(&FILE_MAGIC) else { return Err(FileHeaderError::Damaged) };
        if crc.get_u32() != crc32c::crc32c(covered) {
            return Err(FileHeaderError::Damaged);
        }
        match rest.get_u16() {
            VERSION => {}
            version => return Err(FileHeaderError::UnknownVersion(version)),
        }
        Ok(FileHeader { shard: ShardId(rest.get_u16()), incarnation: rest.get_u64(), first_sequence: rest.get_u64() })
    }
}

/// What an entry says of its partition. Another kind is a newer corelog's: a block that has one is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum EntryKind {
    /// A record batch was appended.
    Batch = 1,
    /// The log starts at the entry's base offset: what was before it is deleted. Without a payload.
    LogStart = 2,
}

impl EntryKind {
    fn from_u8(kind: u8) -> Option<EntryKind> {
        [EntryKind::Batch, EntryKind::LogStart].into_iter().find(|known| *known as u8 == kind)
    }
}

/// One thing that happened to one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The partition.
    pub partition: PartitionId,
    /// What happened.
    pub kind: EntryKind,
    /// Under which leader.
    pub leader_epoch: LeaderEpoch,
    /// The offset of the batch's first record, or the log's new start.
    pub base_offset: Offset,
    /// The batch, at least 16 bytes; empty for other kinds. Its base offset and leader epoch are those of the entry once it is written,
    /// whatever they are here: a batch comes from a producer and is not copied to be changed.
    pub payload: Bytes,
}

impl Entry {
    /// Bytes that the entry takes in a block.
    pub fn encoded_len(&self) -> usize {
        ENTRY_HEADER_LEN + self.payload.len()
    }

    fn encode(&self, mut out: &mut [u8]) -> usize {
        out.put_slice(&self.partition.topic_id.0);
        out.put_i32(self.partition.index);
        out.put_u8(self.kind as u8);
        out.put_bytes(0, 3);
        out.put_i32(self.leader_epoch);
        out.put_i64(self.base_offset);
        out.put_u32(u32::try_from(self.payload.len()).expect("a block's payload is bounded"));
        out[..self.payload.len()].copy_from_slice(&self.payload);
        if self.kind == EntryKind::Batch {
            set_placement(out, self.base_offset, self.leader_epoch);
        }
        self.encoded_len()
    }

    /// Takes the first entry off a block's payload; `None` when the payload is not made of whole, known entries.
    fn decode(payload: &mut Bytes) -> Option<Entry> {
        if payload.len() < ENTRY_HEADER_LEN {
            return None;
        }
        let mut topic_id = TopicId::ZERO;
        payload.copy_to_slice(&mut topic_id.0);
        let partition = PartitionId { topic_id, index: payload.get_i32() };
        let kind = EntryKind::from_u8(payload.get_u8())?;
        payload.advance(3);
        let leader_epoch = payload.get_i32();
        let base_offset = payload.get_i64();
        let len = payload.get_u32() as usize;
        if payload.len() < len {
            return None;
        }
        Some(Entry { partition, kind, leader_epoch, base_offset, payload: payload.split_to(len) })
    }
}

/// The head of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlockHeader {
    /// Bytes of entries.
    pub payload_len: usize,
    /// The file's use that the block belongs to.
    pub incarnation: Incarnation,
    /// The block's number.
    pub sequence: Sequence,
    /// Every block up to this one was durable when this block was written.
    pub durable_watermark: Sequence,
}

impl BlockHeader {
    /// Bytes that the block takes in its file, padding included.
    pub fn disk_len(&self) -> usize {
        disk_len(self.payload_len)
    }

    /// Reads a block header at the start of `bytes`, checking only what makes it safe to read the payload;
    /// `None` when no block of `incarnation` starts here. [`decode_block`] checks the rest.
    pub fn peek(bytes: &[u8], incarnation: Incarnation) -> Option<BlockHeader> {
        let bytes = bytes.get(..BLOCK_HEADER_LEN)?;
        let mut rest = bytes.strip_prefix(&BLOCK_MAGIC)?;
        rest.advance(4);
        if rest.get_u16() != VERSION {
            return None;
        }
        rest.advance(2);
        let payload_len = rest.get_u32() as usize;
        let header = BlockHeader {
            payload_len,
            incarnation: rest.get_u64(),
            sequence: rest.get_u64(),
            durable_watermark: rest.get_u64(),
        };
        // A block is numbered after everything that was durable when it was written.
        let sane = payload_len <= PAYLOAD_BYTES_MAX && header.durable_watermark < header.sequence;
        (sane && header.incarnation == incarnation).then_some(header)
    }
}

/// Whether what looks like a block begins somewhere in `pages`, which begin at a multiple of [`ALIGNMENT`] in their file.
pub fn has_block(pages: &[u8]) -> bool {
    pages.chunks(ALIGNMENT).any(|page| page.starts_with(&BLOCK_MAGIC))
}

/// Bytes that a block with this payload takes in its file, padding included.
pub const fn disk_len(payload_len: usize) -> usize {
    (BLOCK_HEADER_LEN + payload_len).next_multiple_of(ALIGNMENT)
}

/// Writes a block into `out`, which is zeroed and exactly [`disk_len`] long.
pub fn encode_block(
    out: &mut [u8],
    incarnation: Incarnation,
    sequence: Sequence,
    durable_watermark: Sequence,
    entries: &[Entry],
) {
    debug_assert!(durable_watermark < sequence);
    let mut end = BLOCK_HEADER_LEN;
    for entry in entries {
        end += entry.encode(&mut out[end..]);
    }
    let payload_len = end - BLOCK_HEADER_LEN;
    assert!(payload_len <= PAYLOAD_BYTES_MAX && out.len() == disk_len(payload_len));
    out[end..].fill(0);
    let mut header = &mut out[..BLOCK_HEADER_LEN];
    header.put_slice(&BLOCK_MAGIC);
    header.put_u32(0);
    header.put_u16(VERSION);
    header.put_u16(0);
    header.put_u32(payload_len as u32);
    header.put_u64(incarnation);
    header.put_u64(sequence);
    header.put_u64(durable_watermark);
    let crc = crc32c::crc32c(&out[8..end]);
    out[4..8].copy_from_slice(&crc.to_be_bytes());
}

/// Reads the block at the start of `bytes`; `None` when no whole, undamaged block of `incarnation` is there.
pub fn decode_block(bytes: &Bytes, incarnation: Incarnation) -> Option<(BlockHeader, Vec<Entry>)> {
    let header = BlockHeader::peek(bytes, incarnation)?;
    let end = BLOCK_HEADER_LEN + header.payload_len;
    let covered = bytes.get(8..end)?;
    let crc = u32::from_be_bytes(bytes[4..8].try_into().expect("four bytes"));
    if crc != crc32c::crc32c(covered) {
        return None;
    }
    let mut payload = bytes.slice(BLOCK_HEADER_LEN..end);
    let mut entries = Vec::new();
    while !payload.is_empty() {
        entries.push(Entry::decode(&mut payload)?);
    }
    Some((header, entries))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn entries() -> impl Strategy<Value = Vec<Entry>> {
        let entry = (any::<[u8; 16]>(), 0..9i32, 0..5i32, 0..1000i64, prop::collection::vec(any::<u8>(), 16..3000))
            .prop_map(|(topic_id, index, leader_epoch, base_offset, payload)| Entry {
                partition: PartitionId { topic_id: TopicId(topic_id), index },
                kind: EntryKind::Batch,
                leader_epoch,
                base_offset,
                payload: payload.into(),
            });
        prop::collection::vec(entry, 0..8)
    }

    fn block(incarnation: Incarnation, sequence: Sequence, watermark: Sequence, entries: &[Entry]) -> Vec<u8> {
        let mut out = vec![0; disk_len(entries.iter().map(Entry::encoded_len).sum())];
        encode_block(&mut out, incarnation, sequence, watermark, entries);
        out
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_block_reads_back(entries in entries(), incarnation: u64, sequence in 1..u64::MAX) {
            let bytes = Bytes::from(block(incarnation, sequence, sequence - 1, &entries));
            prop_assert_eq!(bytes.len() % ALIGNMENT, 0);
            let (header, read) = decode_block(&bytes, incarnation).unwrap();
            prop_assert_eq!(header.sequence, sequence);
            prop_assert_eq!(header.durable_watermark, sequence - 1);
            prop_assert_eq!(header.disk_len(), bytes.len());
            let placed = entries.into_iter().map(|entry| {
                let mut payload = entry.payload.to_vec();
                set_placement(&mut payload, entry.base_offset, entry.leader_epoch);
                Entry { payload: payload.into(), ..entry }
            });
            prop_assert_eq!(read, placed.collect::<Vec<_>>());
        }

        #[test]
        fn a_flipped_bit_is_seen(entries in entries(), bit: prop::sample::Index) {
            let mut bytes = block(3, 9, 8, &entries);
            let used = BLOCK_HEADER_LEN + entries.iter().map(Entry::encoded_len).sum::<usize>();
            let bit = bit.index(used * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(decode_block(&bytes.into(), 3).is_none());
        }

        #[test]
        fn a_block_torn_at_any_sector_is_seen(entries in entries(), sector: prop::sample::Index) {
            let whole = block(3, 9, 8, &entries);
            let used = BLOCK_HEADER_LEN + entries.iter().map(Entry::encoded_len).sum::<usize>();
            let start = sector.index(used.div_ceil(512)) * 512;
            // What the sector held before: a block of the file's last use.
            let stale = vec![0xa5; 512];
            let mut torn = whole.clone();
            torn[start..start + 512].copy_from_slice(&stale);
            prop_assert!(decode_block(&torn.into(), 3).is_none());
        }

        #[test]
        fn arbitrary_bytes_are_no_block(bytes in prop::collection::vec(any::<u8>(), 0..200), magic: bool) {
            let mut bytes = bytes;
            if magic && bytes.len() >= 4 {
                bytes[..4].copy_from_slice(&BLOCK_MAGIC);
            }
            prop_assert!(decode_block(&bytes.clone().into(), 0).is_none());
            prop_assert!(FileHeader::decode(&bytes).is_err());
        }
    }

    #[test]
    fn a_block_of_an_earlier_use_of_the_file_is_not_data() {
        let bytes = Bytes::from(block(1, 5, 4, &[]));
        assert!(decode_block(&bytes, 1).is_some());
        assert!(decode_block(&bytes, 2).is_none());
    }

    #[test]
    fn a_file_header_reads_back_and_says_what_is_wrong() {
        let header = FileHeader { shard: ShardId(3), incarnation: 7, first_sequence: 11 };
        let bytes = header.encode();
        assert_eq!(FileHeader::decode(&bytes), Ok(header));
        assert_eq!(FileHeader::decode(&[0; 4096]), Err(FileHeaderError::Unused));
        assert_eq!(FileHeader::decode(&bytes[..31]), Err(FileHeaderError::Damaged));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FileHeader::decode(&flipped), Err(FileHeaderError::Damaged), "bit {bit}");
        }
        let mut newer = bytes;
        newer[8..10].copy_from_slice(&2u16.to_be_bytes());
        let crc = crc32c::crc32c(&newer[..28]);
        newer[28..].copy_from_slice(&crc.to_be_bytes());
        assert_eq!(FileHeader::decode(&newer), Err(FileHeaderError::UnknownVersion(2)));
    }
}
