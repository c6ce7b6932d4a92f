//! What goes wrong in a history besides crashes: failing operations, a full disk, and bytes that change on the medium.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use corelog::disk::ALIGNMENT;
use corelog::disk::sim::{Faults, OperationKind, Random, SimDisk};
use corelog::record::{BATCH_HEADER_LEN, BatchHeader};
use corelog::storage::journal::block::{BLOCK_HEADER_LEN, ENTRY_HEADER_LEN, FileHeader, Sequence, decode_block};
use corelog::storage::recovery::journal_directory;
use corelog::storage::reserve;
use corelog::vocabulary::ShardId;

use super::model::DATA_DIR;

/// One kind a history, so that each promise is held to with no other's excuse.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Trouble {
    /// Crashes alone.
    None,
    /// Operations fail, with EIO or, of a sync, with any error.
    FailingDisk,
    /// The disk is full for a while.
    FullDisk,
    /// Bits flip and writes go astray.
    Damage,
}

impl Trouble {
    pub fn draw(random: &mut Random) -> Trouble {
        match random.below(8) {
            0 | 1 => Trouble::None,
            2 | 3 => Trouble::FailingDisk,
            4 | 5 => Trouble::FullDisk,
            _ => Trouble::Damage,
        }
    }
}

/// Stalls, so that operations overtake each other by far.
pub fn stalls(random: &mut Random) -> Faults {
    let stall_ppm = if random.coin() { 10_000 } else { 0 };
    Faults { stall_ppm, stall_max: Duration::from_millis(50), ..Faults::default() }
}

/// Has operations fail from now on; whether those that a reader needs are among them.
pub fn fail_some(disk: &SimDisk, random: &mut Random) -> bool {
    if random.coin() {
        let mut faults = stalls(random);
        let ppm = 1_000 + random.below(20_000) as u32;
        (faults.write_error_ppm, faults.sync_error_ppm, faults.metadata_error_ppm) = (ppm, ppm, ppm);
        faults.read_error_ppm = if random.coin() { 10 * ppm } else { 0 };
        disk.set_faults(faults);
        return true;
    }
    const KINDS: [OperationKind; 12] = [
        OperationKind::Write,
        OperationKind::Write,
        OperationKind::Write,
        OperationKind::Sync,
        OperationKind::Sync,
        OperationKind::Sync,
        OperationKind::SyncDir,
        OperationKind::Preallocate,
        OperationKind::Rename,
        OperationKind::SetLen,
        OperationKind::Open,
        OperationKind::Read,
    ];
    let mut reads_may_fail = false;
    for _ in 0..1 + random.below(2) {
        let kind = KINDS[random.index(KINDS.len())];
        let path = ["/journal/", "/topics/", "checkpoint", ".log", ""][random.index(5)];
        let errno = match kind {
            // Whatever a failed sync says, the data may be gone.
            OperationKind::Sync => [libc::EIO, libc::ENOSPC, libc::EDQUOT][random.index(3)],
            _ => libc::EIO,
        };
        disk.inject(kind, path, random.below(60), errno);
        reads_may_fail |= matches!(kind, OperationKind::Open | OperationKind::Read);
    }
    reads_may_fail
}

/// Bytes of one file that are not what was written.
struct Patch {
    path: PathBuf,
    position: u64,
    original: Vec<u8>,
    damaged: Vec<u8>,
}

/// What was done to the medium, so that it can be undone, as from a copy.
pub struct Damage {
    patches: Vec<Patch>,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.patches.iter().try_for_each(|patch| {
            let Patch { path, position, original, damaged } = patch;
            let first = original.iter().zip(damaged).position(|(original, damaged)| original != damaged).unwrap_or(0);
            write!(f, ", {} at {position}+{}: {:02x} for", path.display(), damaged.len(), damaged[first])?;
            write!(f, " {:02x} at {}", original[first], *position as usize + first)
        })
    }
}

impl Damage {
    fn inflict(disk: &SimDisk, changes: Vec<(PathBuf, u64, Vec<u8>)>) -> Damage {
        let mut patches = Vec::new();
        for (path, position, damaged) in changes {
            let bytes = disk.file_bytes(&path).expect("the file is there");
            let original = bytes[position as usize..position as usize + damaged.len()].to_vec();
            disk.damage(&path, position, &damaged).expect("within the file");
            patches.push(Patch { path, position, original, damaged });
        }
        Damage { patches }
    }

    /// Whether it is in a journal file or in a checkpoint.
    pub fn is_in_journal(&self) -> bool {
        self.patches.iter().any(|patch| patch.path.starts_with(Path::new(DATA_DIR).join("journal")))
    }

    /// Whether it is in this file.
    pub fn is_in(&self, path: &Path) -> bool {
        self.patches.iter().any(|patch| patch.path == path)
    }

    /// Restores the bytes, where they have not been written anew since.
    pub fn undo(self, disk: &SimDisk) {
        for patch in self.patches {
            let Some(bytes) = disk.file_bytes(&patch.path) else { continue };
            let position = patch.position as usize;
            // The file may have been cut since.
            let len = patch.damaged.len().min(bytes.len().saturating_sub(position));
            if len > 0 && bytes[position..position + len] == patch.damaged[..len] {
                disk.damage(&patch.path, patch.position, &patch.original[..len]).expect("within the file");
            }
        }
    }

    /// Flips a bit in a segment that is complete: nothing writes there again. `None` when there is none.
    pub fn of_complete_segment(disk: &SimDisk, random: &mut Random) -> Option<Damage> {
        let sizes = disk.file_sizes();
        let complete = sizes.iter().filter(|(path, len)| {
            **len > 0 && has_extension(path, "log") && sizes.contains_key(&path.with_extension("index"))
        });
        let paths: Vec<&PathBuf> = complete.map(|(path, _)| path).collect();
        let path = paths.get(random.below(paths.len().max(1) as u64) as usize)?;
        Some(flip(disk, path, sizes[*path], random))
    }

    /// Changes bytes of a disk that nothing uses; `None` when there is none to change.
    pub fn at_rest(disk: &SimDisk, random: &mut Random) -> Option<Damage> {
        let extension = ["journal", "journal", "journal", "log", "log", "log", "index", ""][random.index(8)];
        let sizes = disk.file_sizes();
        let of_kind =
            |path: &Path| has_extension(path, extension) || (extension.is_empty() && path.extension().is_none());
        // Nothing is ever read of a reserve.
        let has_content = |path: &Path| !path.ends_with(reserve::FILE_NAME);
        let files: Vec<_> =
            sizes.iter().filter(|(path, len)| **len > 0 && of_kind(path) && has_content(path)).collect();
        let (path, len) = files.get(random.below(files.len().max(1) as u64) as usize)?;
        let page = used_page(disk, path, **len, random);
        if random.below(3) > 0 || page.is_none() {
            return Some(flip(disk, path, **len, random));
        }
        // A write that went astray: its place is empty, and another place has what was written.
        let (position, bytes) = page?;
        let (other, other_len) = files[random.index(files.len())];
        let mut changes = vec![((*path).clone(), position, vec![0; bytes.len()])];
        let there = random.below(other_len.div_ceil(ALIGNMENT as u64)) * ALIGNMENT as u64;
        let fits = bytes.len().min((other_len - there) as usize);
        if (other, there) != (*path, position) && random.below(4) > 0 {
            changes.push((other.clone(), there, bytes[..fits].to_vec()));
        }
        Some(Damage::inflict(disk, changes))
    }
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|found| found == extension)
}

/// A page with anything in it, for a few tries.
fn used_page(disk: &SimDisk, path: &Path, len: u64, random: &mut Random) -> Option<(u64, Vec<u8>)> {
    let bytes = disk.file_bytes(path)?;
    (0..8).find_map(|_| {
        let position = random.below(len.div_ceil(ALIGNMENT as u64)) * ALIGNMENT as u64;
        let page = &bytes[position as usize..(position as usize + ALIGNMENT).min(bytes.len())];
        page.iter().any(|&byte| byte != 0).then(|| (position, page.to_vec()))
    })
}

/// Where the batches of a segment's file start.
fn batch_starts(bytes: &[u8]) -> Vec<u64> {
    let mut starts = Vec::new();
    let mut at = 0;
    while let Ok(header) = BatchHeader::parse(&bytes[at..]) {
        starts.push(at as u64);
        at = (at + header.total_len()).min(bytes.len());
    }
    starts
}

fn flip(disk: &SimDisk, path: &Path, len: u64, random: &mut Random) -> Damage {
    let (page, used) = used_page(disk, path, len, random).unwrap_or((0, vec![0]));
    let bytes = disk.file_bytes(path).expect("the file is there");
    let starts = if has_extension(path, "log") { batch_starts(&bytes) } else { Vec::new() };
    // Headers are small, and what they say is much: most flips hit one.
    let (start, span) = match random.below(3) {
        0 => (page, used.len()),
        _ if starts.is_empty() => (page, used.len().min(BLOCK_HEADER_LEN + ENTRY_HEADER_LEN)),
        _ => (starts[random.index(starts.len())], BATCH_HEADER_LEN),
    };
    let position = start + random.index(span) as u64;
    let flipped = bytes[position as usize] ^ (1 << random.below(8));
    Damage::inflict(disk, vec![(path.to_path_buf(), position, vec![flipped])])
}

/// The blocks of a shard's journal that are whole on the disk.
pub fn whole_blocks(disk: &SimDisk, shard: ShardId) -> Vec<Sequence> {
    let directory = journal_directory(Path::new(DATA_DIR), shard);
    let mut found = Vec::new();
    for path in disk.file_sizes().into_keys().filter(|path| path.starts_with(&directory)) {
        let Some(bytes) = disk.file_bytes(&path).map(Bytes::from).filter(|_| has_extension(&path, "journal")) else {
            continue;
        };
        let Ok(header) = FileHeader::decode(&bytes) else { continue };
        let positions = (ALIGNMENT..bytes.len()).step_by(ALIGNMENT);
        let blocks = positions.filter_map(|position| decode_block(&bytes.slice(position..), header.incarnation));
        found.extend(blocks.map(|(header, _)| header.sequence));
    }
    found
}
