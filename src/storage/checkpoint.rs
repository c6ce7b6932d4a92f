//! The checkpoint: what a shard's recovery starts from, so that journal files can be used again.
//!
//! `journal/<shard>/checkpoint`, written beside and renamed, so that there is always a whole one:
//!
//! | checkpoint | bytes | |
//! | --- | --- | --- |
//! | magic | 8 | [`MAGIC`] |
//! | version | 2 | [`VERSION`] |
//! | shard | 2 | |
//! | body length | 4 | bytes behind this header, without the checksum |
//! | incarnation floor | 8 | uses of journal files up to this one hold nothing that is needed |
//! | first sequence | 8 | the first block that is needed |
//! | partition count | 4 | then, for each partition: |
//! | topic id, partition index | 16, 4 | |
//! | start | 8 | offset of the first record |
//! | offset, segment, bytes | 8, 8, 8 | the end that is durable in the segments, see [`LogPosition`] |
//! | snapshot offset | 8 | the snapshot covers the batches below it |
//! | snapshot | 4 + n | the upper layer's state, opaque here |
//! | crc32c | 4 | over everything before it |

use std::path::Path;

use bytes::{Buf, BufMut, Bytes};

use super::journal::block::{Incarnation, Sequence};
use super::log::LogPosition;
use super::mutation::{self, Mutation};
use crate::disk::{Disk, DiskBuffer, DiskError, DiskFile, OpenMode, align_up};
use crate::vocabulary::{Offset, PartitionId, ShardId, TopicId};

/// The first bytes of every checkpoint.
pub const MAGIC: [u8; 8] = *b"corelogC";
/// The version of this format.
pub const VERSION: u16 = 1;
/// The name of the file.
pub const FILE_NAME: &str = "checkpoint";

/// The name of the file while it is written.
pub const TEMPORARY_NAME: &str = "checkpoint.new";
/// Bytes of the header before the body.
pub const HEADER_LEN: usize = 16;

/// One partition of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckpointedLog {
    /// The partition.
    pub id: PartitionId,
    /// The offset of its first record.
    pub start: Offset,
    /// Its end in its segments.
    pub end: LogPosition,
    /// The snapshot covers the batches below this offset.
    pub snapshot_offset: Offset,
    /// What the layer above wants to find again.
    pub snapshot: Bytes,
}

/// What recovery starts from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Checkpoint {
    /// Uses of journal files up to this one hold nothing that is needed.
    pub incarnation_floor: Incarnation,
    /// The first block that is needed.
    pub first_sequence: Sequence,
    /// The partitions.
    pub logs: Vec<CheckpointedLog>,
}

/// Why a checkpoint could not be read.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// The disk failed.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Not a checkpoint, or a damaged one.
    #[error("{0} is damaged; restore it, with the journal and segments of the same time, from a copy")]
    Damaged(String),
    /// Lost: a journal is used only when there is a checkpoint.
    #[error(
        "{0} is missing, though the journal beside it was used; restore it, with the journal and segments of the same time, from a copy"
    )]
    Missing(String),
    /// Written by a newer corelog.
    #[error(
        "{path} has format version {version}, this corelog reads version {VERSION}: start the corelog that wrote it"
    )]
    UnknownVersion {
        /// The file.
        path: String,
        /// Its version.
        version: u16,
    },
}

impl Checkpoint {
    /// The checkpoint as a file's content.
    pub fn encode(&self, shard: ShardId) -> Vec<u8> {
        let mut out = Vec::new();
        out.put_slice(&MAGIC);
        out.put_u16(VERSION);
        out.put_u16(shard.0);
        out.put_u32(0);
        out.put_u64(self.incarnation_floor);
        out.put_u64(self.first_sequence);
        out.put_u32(self.logs.len() as u32);
        for log in &self.logs {
            out.put_slice(&log.id.topic_id.0);
            out.put_i32(log.id.index);
            out.put_i64(log.start);
            out.put_i64(log.end.offset);
            out.put_i64(log.end.segment);
            out.put_u64(log.end.bytes);
            out.put_i64(log.snapshot_offset);
            out.put_u32(log.snapshot.len() as u32);
            out.put_slice(&log.snapshot);
        }
        let body_len = (out.len() - HEADER_LEN) as u32;
        out[HEADER_LEN - 4..HEADER_LEN].copy_from_slice(&body_len.to_be_bytes());
        let crc = crc32c::crc32c(&out);
        out.put_u32(crc);
        out
    }

    /// Reads what [`Checkpoint::encode`] wrote, which zeros may follow; `None` when it is damaged, the version when it
    /// is not this one.
    fn decode(bytes: &[u8]) -> Option<Result<Checkpoint, u16>> {
        let mut header = bytes.get(..HEADER_LEN)?.strip_prefix(&MAGIC)?;
        let version = header.get_u16();
        header.advance(2);
        let end = HEADER_LEN + header.get_u32() as usize;
        let crc = bytes.get(end..end + 4)?;
        if crc != crc32c::crc32c(&bytes[..end]).to_be_bytes() {
            return None;
        }
        if version != VERSION {
            return Some(Err(version));
        }
        let mut rest = &bytes[HEADER_LEN..end];
        let incarnation_floor = rest.try_get_u64().ok()?;
        let first_sequence = rest.try_get_u64().ok()?;
        let mut logs = Vec::new();
        for _ in 0..rest.try_get_u32().ok()? {
            let topic_id = TopicId(rest.try_get_u128().ok()?.to_be_bytes());
            let id = PartitionId { topic_id, index: rest.try_get_i32().ok()? };
            let start = rest.try_get_i64().ok()?;
            let end = LogPosition {
                offset: rest.try_get_i64().ok()?,
                segment: rest.try_get_i64().ok()?,
                bytes: rest.try_get_u64().ok()?,
            };
            let snapshot_offset = rest.try_get_i64().ok()?;
            let len = rest.try_get_u32().ok()? as usize;
            let snapshot = Bytes::copy_from_slice(rest.get(..len)?);
            rest.advance(len);
            logs.push(CheckpointedLog { id, start, end, snapshot_offset, snapshot });
        }
        rest.is_empty().then_some(Ok(Checkpoint { incarnation_floor, first_sequence, logs }))
    }

    /// Makes this the checkpoint of the shard whose journal is in `directory`, durably.
    ///
    /// # Errors
    /// Those of the disk. The checkpoint is then the old one or this one.
    pub async fn write<D: Disk>(&self, disk: &D, directory: &Path, shard: ShardId) -> Result<(), DiskError> {
        let bytes = self.encode(shard);
        let temporary = directory.join(TEMPORARY_NAME);
        let file = disk.open(&temporary, OpenMode::OpenOrCreate).await?;
        let mut buffer = file.allocate(align_up(bytes.len() as u64) as usize);
        buffer.bytes_mut()[..bytes.len()].copy_from_slice(&bytes);
        buffer.bytes_mut()[bytes.len()..].fill(0);
        file.write_at(0, buffer).await?;
        if !mutation::is(Mutation::SyncsNoCheckpoint) {
            file.sync_data().await?;
        }
        drop(file);
        disk.rename(&temporary, &directory.join(FILE_NAME)).await?;
        disk.sync_dir(directory).await
    }

    /// Reads a shard's checkpoint; `None` when there has never been one.
    ///
    /// # Errors
    /// See [`CheckpointError`].
    pub async fn read<D: Disk>(disk: &D, directory: &Path) -> Result<Option<Checkpoint>, CheckpointError> {
        let path = directory.join(FILE_NAME);
        let file = match disk.open(&path, OpenMode::Existing).await {
            Err(error) if error.is_not_found() => return Ok(None),
            result => result?,
        };
        let size = align_up(file.size().await?) as usize;
        let damaged = || CheckpointError::Damaged(path.display().to_string());
        if size == 0 {
            return Err(damaged());
        }
        let data = file.read_at(0, size).await?;
        Checkpoint::from_file(&data, &path).map(Some)
    }

    /// Reads the content of the checkpoint file at `path`, which zeros may follow.
    ///
    /// # Errors
    /// [`CheckpointError::Damaged`] and [`CheckpointError::UnknownVersion`].
    pub fn from_file(content: &[u8], path: &Path) -> Result<Checkpoint, CheckpointError> {
        let path = path.display().to_string();
        match Checkpoint::decode(content) {
            Some(Ok(checkpoint)) => Ok(checkpoint),
            Some(Err(version)) => Err(CheckpointError::UnknownVersion { path, version }),
            None => Err(CheckpointError::Damaged(path)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn checkpoint() -> impl Strategy<Value = Checkpoint> {
        let log = (
            any::<[u8; 16]>(),
            any::<i32>(),
            any::<[i64; 4]>(),
            any::<u64>(),
            prop::collection::vec(any::<u8>(), 0..50),
        )
            .prop_map(|(topic_id, index, [start, offset, segment, snapshot_offset], bytes, snapshot)| {
                CheckpointedLog {
                    id: PartitionId { topic_id: TopicId(topic_id), index },
                    start,
                    end: LogPosition { offset, segment, bytes },
                    snapshot_offset,
                    snapshot: snapshot.into(),
                }
            });
        (any::<u64>(), any::<u64>(), prop::collection::vec(log, 0..6)).prop_map(
            |(incarnation_floor, first_sequence, logs)| Checkpoint { incarnation_floor, first_sequence, logs },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_checkpoint_reads_back_and_a_flipped_bit_is_seen(checkpoint in checkpoint(), bit: prop::sample::Index) {
            let mut bytes = checkpoint.encode(ShardId(3));
            let bit = bit.index(bytes.len() * 8);
            bytes.resize(bytes.len().next_multiple_of(4096), 0);
            prop_assert_eq!(Checkpoint::decode(&bytes), Some(Ok(checkpoint)));
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert_eq!(Checkpoint::decode(&bytes), None);
        }
    }
}
