//! Reading a shard's journal after a crash: which blocks were acknowledged, which end is torn, what is damaged.
//!
//! The rule, per shard, over all its files in the order of their first sequence:
//! - blocks follow each other without a gap in the sequence; the first gap ends the log;
//! - when any block after the gap carries a durable watermark at or above the gap, the missing block was acknowledged:
//!   that is **damage**, reported with file and position, and never repaired silently;
//! - otherwise nobody was told that the blocks after the gap were safe: the end is **torn**, and the log ends there.
//!
//! A plain function over the files' bytes: the caller reads them through [`crate::disk`].

use bytes::Bytes;

use super::block::{self, Entry, FileHeader, FileHeaderError, Sequence};
use crate::disk::ALIGNMENT;

/// A journal file as read from the disk.
#[derive(Clone, Debug)]
pub struct FileBytes {
    /// The file's name, for reports.
    pub name: String,
    /// Its whole content.
    pub bytes: Bytes,
}

/// A block that was found whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FoundBlock {
    /// Its number.
    pub sequence: Sequence,
    /// Every block up to this one was durable when it was written.
    pub durable_watermark: Sequence,
    /// What it holds.
    pub entries: Vec<Entry>,
    /// The file that holds it.
    pub file: String,
    /// Where it starts in the file, in bytes.
    pub position: u64,
}

/// Blocks that were acknowledged and cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "journal file {file} is damaged at byte {position}: blocks {first_missing} to {last_missing} were acknowledged and \
     cannot be read (block {witness} says so); restore the file from a copy, or start with the flag that accepts the loss"
)]
pub struct Damage {
    /// The file in which the first missing block should be, as far as that is known.
    pub file: String,
    /// Where in it, in bytes.
    pub position: u64,
    /// The first missing block.
    pub first_missing: Sequence,
    /// The last one that is known to have been acknowledged.
    pub last_missing: Sequence,
    /// The good block whose watermark proves it.
    pub witness: Sequence,
}

/// What a shard's journal holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scan {
    /// The blocks to replay, in sequence order, without a gap.
    pub blocks: Vec<FoundBlock>,
    /// What was lost although it was acknowledged, if anything.
    pub damage: Option<Damage>,
    /// The highest sequence that any whole block has; a new journal numbers its blocks from above it.
    pub sequence_max: Sequence,
    /// The highest incarnation seen; a new use of a file takes a higher one.
    pub incarnation_max: u64,
}

/// Why a journal cannot be read at all.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("journal file {file}: {reason}")]
pub struct ScanError {
    /// The file.
    pub file: String,
    /// What is wrong with it.
    pub reason: FileHeaderError,
}

/// Reads one shard's journal from the bytes of its files, in any order. `first_needed` is the first block that the
/// checkpoint does not cover, if there is a checkpoint; files that it covers completely are not among `files`.
///
/// # Errors
/// A file header that is damaged or of another version. A damaged header is an error even though the file may hold
/// nothing: without it, nobody can tell whether the blocks in the file are data or leftovers.
pub fn scan(files: &[FileBytes], first_needed: Option<Sequence>) -> Result<Scan, ScanError> {
    let mut opened = Vec::new();
    for file in files {
        match FileHeader::decode(&file.bytes) {
            Ok(header) => opened.push((header, file)),
            // A header is durable before the first block: where there are blocks, it was there.
            Err(FileHeaderError::Unused) if !block::has_block(&file.bytes) => {}
            Err(FileHeaderError::Unused) => {
                return Err(ScanError { file: file.name.clone(), reason: FileHeaderError::Damaged });
            }
            Err(reason) => return Err(ScanError { file: file.name.clone(), reason }),
        }
    }
    opened.sort_by_key(|(header, _)| (header.first_sequence, header.incarnation));

    let incarnation_max = opened.iter().map(|(header, _)| header.incarnation).max().unwrap_or(0);
    let mut found: Vec<FoundBlock> = opened.iter().flat_map(|(header, file)| whole_blocks(header, file)).collect();
    // A file that was opened and crashed before its first block may share its first sequence with its successor.
    found.sort_by_key(|block| block.sequence);
    // A write that went astray may have left a second copy.
    found.dedup_by_key(|block| block.sequence);
    let sequence_max = found.last().map_or(0, |block| block.sequence);

    // Without a checkpoint no file was ever released: the oldest one says where the log starts.
    let Some((oldest, oldest_file)) = opened.first() else { return Ok(Scan::default()) };
    let mut expected = first_needed.unwrap_or(oldest.first_sequence);
    let mut end = (oldest_file.name.clone(), ALIGNMENT as u64);
    let mut contiguous = 0;
    for block in &found {
        if block.sequence != expected {
            break;
        }
        let disk_len = block::disk_len(block.entries.iter().map(Entry::encoded_len).sum());
        end = (block.file.clone(), block.position + disk_len as u64);
        expected += 1;
        contiguous += 1;
    }

    let witness = found[contiguous..].iter().max_by_key(|block| block.durable_watermark);
    let damage = witness.filter(|block| block.durable_watermark >= expected).map(|block| Damage {
        file: end.0,
        position: end.1,
        first_missing: expected,
        last_missing: missing_until(&found[contiguous..], expected, block.durable_watermark),
        witness: block.sequence,
    });
    found.truncate(contiguous);
    Ok(Scan { blocks: found, damage, sequence_max, incarnation_max })
}

/// The last sequence of the hole that starts at `first`, at most `watermark`.
fn missing_until(after: &[FoundBlock], first: Sequence, watermark: Sequence) -> Sequence {
    let next_found = after.iter().map(|block| block.sequence).find(|&sequence| sequence > first);
    next_found.map_or(watermark, |next| watermark.min(next - 1))
}

/// Every whole block of the file's present use. Looks on behind a bad block, at each aligned position, for those that
/// prove what was durable.
pub fn whole_blocks(header: &FileHeader, file: &FileBytes) -> Vec<FoundBlock> {
    let mut blocks = Vec::new();
    let mut position = ALIGNMENT;
    while position < file.bytes.len() {
        match block::decode_block(&file.bytes.slice(position..), header.incarnation) {
            Some((head, entries)) => {
                blocks.push(FoundBlock {
                    sequence: head.sequence,
                    durable_watermark: head.durable_watermark,
                    entries,
                    file: file.name.clone(),
                    position: position as u64,
                });
                position += head.disk_len();
            }
            None => position += ALIGNMENT,
        }
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::journal::block::EntryKind;
    use crate::vocabulary::{PartitionId, ShardId, TopicId};
    use proptest::prelude::*;

    const BLOCK_BYTES: usize = 2 * ALIGNMENT;

    fn entry(sequence: Sequence) -> Entry {
        let mut payload = vec![sequence as u8; 5000];
        crate::record::set_placement(&mut payload, sequence as i64, 0);
        Entry {
            partition: PartitionId { topic_id: TopicId([1; 16]), index: 0 },
            kind: EntryKind::Batch,
            leader_epoch: 0,
            base_offset: sequence as i64,
            payload: payload.into(),
        }
    }

    /// A file of two-page blocks `first..=last`, each written when the one `lag` before it was durable.
    fn file(name: &str, incarnation: u64, first: Sequence, last: Sequence, lag: u64) -> FileBytes {
        let mut bytes = vec![0; ALIGNMENT];
        let header = FileHeader { shard: ShardId(0), incarnation, first_sequence: first };
        bytes[..block::FILE_HEADER_LEN].copy_from_slice(&header.encode());
        for sequence in first..=last {
            let mut out = vec![0; BLOCK_BYTES];
            block::encode_block(&mut out, incarnation, sequence, sequence.saturating_sub(lag), &[entry(sequence)]);
            bytes.extend_from_slice(&out);
        }
        bytes.resize(bytes.len() + 4 * ALIGNMENT, 0);
        FileBytes { name: name.into(), bytes: bytes.into() }
    }

    fn damaged(file: &FileBytes, position: usize) -> FileBytes {
        let mut bytes = file.bytes.to_vec();
        bytes[position] ^= 1;
        FileBytes { name: file.name.clone(), bytes: bytes.into() }
    }

    fn sequences(scan: &Scan) -> Vec<Sequence> {
        scan.blocks.iter().map(|block| block.sequence).collect()
    }

    #[test]
    fn nothing_holds_nothing() {
        assert_eq!(scan(&[], None), Ok(Scan::default()));
        let unused = FileBytes { name: "a".into(), bytes: vec![0; 8 * ALIGNMENT].into() };
        assert_eq!(scan(&[unused], None), Ok(Scan::default()));
    }

    #[test]
    fn files_are_read_in_the_order_of_their_sequences() {
        let files = [file("b", 2, 4, 6, 1), file("a", 1, 1, 3, 1)];
        let scan = scan(&files, None).unwrap();
        assert_eq!(sequences(&scan), [1, 2, 3, 4, 5, 6]);
        assert_eq!((scan.damage.clone(), scan.sequence_max, scan.incarnation_max), (None, 6, 2));
        assert_eq!(scan.blocks[3].entries, [entry(4)]);
    }

    #[test]
    fn blocks_of_the_file_s_earlier_use_are_not_data() {
        let old = file("a", 1, 1, 5, 1);
        let mut bytes = file("a", 3, 11, 12, 1).bytes[..ALIGNMENT + 2 * BLOCK_BYTES].to_vec();
        bytes.extend_from_slice(&old.bytes[ALIGNMENT + 2 * BLOCK_BYTES..]);
        let scan = scan(&[FileBytes { name: "a".into(), bytes: bytes.into() }], None).unwrap();
        assert_eq!(sequences(&scan), [11, 12]);
        assert_eq!(scan.damage, None);
    }

    #[test]
    fn a_bad_last_block_is_a_torn_end() {
        let whole = file("a", 1, 1, 3, 1);
        let scan = scan(&[damaged(&whole, ALIGNMENT + 2 * BLOCK_BYTES + 100)], None).unwrap();
        assert_eq!(sequences(&scan), [1, 2]);
        assert_eq!(scan.damage, None);
    }

    #[test]
    fn a_bad_block_that_a_later_one_knows_durable_is_damage() {
        let whole = file("a", 1, 1, 4, 1);
        let scan = scan(&[damaged(&whole, ALIGNMENT + BLOCK_BYTES + 100)], None).unwrap();
        assert_eq!(sequences(&scan), [1]);
        let damage = scan.damage.expect("block 2 was acknowledged");
        assert_eq!((damage.file.as_str(), damage.position), ("a", (ALIGNMENT + BLOCK_BYTES) as u64));
        assert_eq!((damage.first_missing, damage.last_missing, damage.witness), (2, 2, 4));
        assert_eq!(scan.sequence_max, 4);
    }

    #[test]
    fn a_lost_file_in_the_middle_is_damage() {
        let scan = scan(&[file("a", 1, 1, 2, 1), file("c", 3, 5, 6, 1)], None).unwrap();
        assert_eq!(sequences(&scan), [1, 2]);
        let damage = scan.damage.expect("blocks 3 and 4 were acknowledged");
        assert_eq!((damage.first_missing, damage.last_missing, damage.witness), (3, 4, 6));
    }

    #[test]
    fn a_gap_above_every_watermark_is_a_torn_end_though_blocks_follow() {
        // Two blocks in flight at once, neither acknowledged: the later one reached the disk, the earlier did not.
        let whole = file("a", 1, 1, 4, 2);
        let scan = scan(&[damaged(&whole, ALIGNMENT + 2 * BLOCK_BYTES + 100)], None).unwrap();
        assert_eq!(sequences(&scan), [1, 2]);
        assert_eq!((scan.damage, scan.sequence_max), (None, 4));
    }

    #[test]
    fn blocks_behind_a_zeroed_header_are_not_passed_over() {
        let whole = file("a", 1, 1, 2, 1);
        let mut bytes = whole.bytes.to_vec();
        bytes[..ALIGNMENT].fill(0);
        let error =
            scan(&[FileBytes { name: "a".into(), bytes: bytes.into() }], None).expect_err("the header was lost");
        assert_eq!(error, ScanError { file: "a".into(), reason: FileHeaderError::Damaged });
    }

    #[test]
    fn a_damaged_file_header_is_an_error_that_names_the_file() {
        let error = scan(&[damaged(&file("a", 1, 1, 2, 1), 13)], None).expect_err("the header is damaged");
        assert_eq!(error, ScanError { file: "a".into(), reason: FileHeaderError::Damaged });
    }

    #[test]
    fn a_file_with_blocks_and_no_header_is_damaged() {
        let mut bytes = file("a", 1, 1, 2, 1).bytes.to_vec();
        bytes[..ALIGNMENT].fill(0);
        let error = scan(&[FileBytes { name: "a".into(), bytes: bytes.into() }], None).expect_err("the header is gone");
        assert_eq!(error, ScanError { file: "a".into(), reason: FileHeaderError::Damaged });
    }

    #[test]
    fn a_second_copy_of_a_block_hides_none_behind_it() {
        let mut bytes = file("a", 1, 1, 3, 1).bytes.to_vec();
        bytes.extend_from_within(ALIGNMENT..ALIGNMENT + BLOCK_BYTES);
        let scan = scan(&[FileBytes { name: "a".into(), bytes: bytes.into() }], None).unwrap();
        assert_eq!((sequences(&scan), scan.damage), (vec![1, 2, 3], None));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        /// The invariant of the whole engine, at this level: what is not replayed was never acknowledged, or is reported.
        #[test]
        fn no_acknowledged_block_is_dropped_in_silence(
            blocks in 1..10u64,
            lag in 1..4u64,
            bad in prop::collection::vec(0..10usize, 0..4),
        ) {
            let mut image = file("a", 1, 1, blocks, lag);
            let mut lost = std::collections::BTreeSet::new();
            for index in bad.into_iter().filter(|&index| index < blocks as usize) {
                if lost.insert(index as Sequence + 1) {
                    image = damaged(&image, ALIGNMENT + index * BLOCK_BYTES + 64);
                }
            }
            let scan = scan(&[image], None).unwrap();
            let first_lost = lost.first().copied().unwrap_or(blocks + 1);
            prop_assert_eq!(sequences(&scan), (1..first_lost).collect::<Vec<_>>());
            // What the surviving blocks prove to have been acknowledged.
            let proven = (1..=blocks).filter(|s| !lost.contains(s)).map(|s| s.saturating_sub(lag)).max().unwrap_or(0);
            prop_assert_eq!(scan.damage.is_some(), proven >= first_lost);
            if let Some(damage) = scan.damage {
                prop_assert_eq!(damage.first_missing, first_lost);
                prop_assert!((first_lost..=proven).contains(&damage.last_missing));
            }
        }
    }
}
