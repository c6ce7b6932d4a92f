//! Putting a cleaned segment in the place of those that it was made of, so that a crash leaves the old ones or the new
//! one, never a mix.
//!
//! 1. The new segment is written to `<base>.log.cleaned` and synced. A crash leaves a file that nobody misses.
//! 2. It is renamed to `<base>-<end>.log.swap`, and the name is synced: **from here on the new one counts**. The name says
//!    which segments it stands for: those with a base offset from `base` on and before `end`.
//! 3. Those are removed with their indexes, all but the first one's `.log`, and that is synced. The first one's index goes
//!    before the new file has its name: an index is known by the length of its log, which the new one may happen to have.
//! 4. The new file is renamed to `<base>.log`, in the first one's place. When no batch is in it, the first one is removed in
//!    step 3 too, and now the new one.
//!
//! [`settle`] does what a crash kept from being done, from any step on. It comes before anything else is made of the
//! files; a log does so when it first looks which segments earlier runs left.

use std::path::Path;

use crate::disk::{Disk, DiskFile, DiskResult, OpenMode};
use crate::storage::segment::{base_offset_of, file_name};
use crate::vocabulary::Offset;

const CLEANED: &str = "log.cleaned";
const SWAP: &str = ".log.swap";

/// The name of a segment that is being written.
pub fn cleaned_name(base_offset: Offset) -> String {
    file_name(base_offset, CLEANED)
}

/// The name of a segment that counts instead of those from `base_offset` on and before `end`.
pub fn swap_name(base_offset: Offset, end: Offset) -> String {
    format!("{base_offset:020}-{end:020}{SWAP}")
}

fn range_of_swap(name: &str) -> Option<(Offset, Offset)> {
    let (base_offset, end) = name.strip_suffix(SWAP)?.split_once('-')?;
    let number = |digits: &str| (digits.len() == 20).then(|| digits.parse().ok()).flatten();
    Some((number(base_offset)?, number(end)?))
}

fn is_cleaned(name: &str) -> bool {
    name.strip_suffix(".cleaned").is_some_and(|name| base_offset_of(name).is_some())
}

/// Step 2: makes the cleaned segment count. On return it does, on an error it may.
///
/// # Errors
/// Those of the disk.
pub async fn commit<D: Disk>(disk: &D, directory: &Path, base_offset: Offset, end: Offset) -> DiskResult<()> {
    let swap = directory.join(swap_name(base_offset, end));
    disk.rename(&directory.join(cleaned_name(base_offset)), &swap).await?;
    disk.sync_dir(directory).await
}

/// Steps 3 and 4, for a directory with these names.
///
/// # Errors
/// Those of the disk. What is left is done by the next [`settle`].
pub async fn complete<D: Disk>(
    disk: &D,
    directory: &Path,
    names: &[String],
    base_offset: Offset,
    end: Offset,
) -> DiskResult<()> {
    let swap = directory.join(swap_name(base_offset, end));
    let is_empty = disk.open(&swap, OpenMode::Existing).await?.size().await? == 0;
    let log = file_name(base_offset, "log");
    for name in names.iter().filter(|name| is_empty || **name != log) {
        let base_of = || base_offset_of(&format!("{}.log", name.strip_suffix(".index")?));
        if base_offset_of(name).or_else(base_of).is_some_and(|base| (base_offset..end).contains(&base)) {
            remove(disk, &directory.join(name)).await?;
        }
    }
    disk.sync_dir(directory).await?;
    if is_empty {
        remove(disk, &swap).await?;
    } else {
        disk.rename(&swap, &directory.join(log)).await?;
    }
    disk.sync_dir(directory).await
}

/// Ends what a crash interrupted. Whether it changed anything: the names are then to be listed again.
///
/// # Errors
/// Those of the disk.
pub async fn settle<D: Disk>(disk: &D, directory: &Path, names: &[String]) -> DiskResult<bool> {
    let mut changed = false;
    for name in names.iter().filter(|name| is_cleaned(name)) {
        remove(disk, &directory.join(name)).await?;
        changed = true;
    }
    for (base_offset, end) in names.iter().filter_map(|name| range_of_swap(name)) {
        complete(disk, directory, names, base_offset, end).await?;
        changed = true;
    }
    Ok(changed)
}

/// Removes a file, if it is there.
pub async fn remove<D: Disk>(disk: &D, path: &Path) -> DiskResult<()> {
    match disk.remove(path).await {
        Err(error) if error.is_not_found() => Ok(()),
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::sim::{CrashPoint, SimDisk, SimExecutor, SimOptions};

    #[test]
    fn names_are_told_apart() {
        assert_eq!(range_of_swap(&swap_name(5, 900)), Some((5, 900)));
        assert!(is_cleaned(&cleaned_name(5)));
        for name in ["00000000000000000005.log", "00000000000000000005.index", "5.log.cleaned", "clean-point"] {
            assert!(!is_cleaned(name) && range_of_swap(name).is_none(), "{name}");
        }
        assert_eq!(base_offset_of(&cleaned_name(5)).or(base_offset_of(&swap_name(5, 9))), None);
    }

    /// A crash at each operation of a swap, and at each operation of settling it afterwards: the directory ends as it was
    /// or as it is to be.
    #[test]
    fn a_crash_at_any_operation_leaves_the_old_segments_or_the_new_one() {
        const OLD: [&str; 5] = ["0.log", "0.index", "10.log", "10.index", "20.log"];
        let name = |short: &str| {
            let (base, extension) = short.split_once('.').unwrap();
            format!("{:0>20}.{extension}", base)
        };
        let directory = Path::new("/d");
        let swap = |disk: SimDisk| async move {
            commit(&disk, directory, 0, 20).await?;
            let names = disk.list(directory).await?;
            complete(&disk, directory, &names, 0, 20).await
        };
        for empty in [false, true] {
            let expected_new: Vec<String> = match empty {
                false => ["0.log", "20.log"].map(name).to_vec(),
                true => ["20.log"].map(name).to_vec(),
            };
            let mut outcomes = [0, 0];
            for seed in 0..60 {
                for operation in 1..20 {
                    let executor = SimExecutor::new(seed);
                    let mut disk = SimDisk::new(&executor.clock(), seed, SimOptions::default());
                    disk.install_dir(directory).unwrap();
                    for old in OLD {
                        disk.install_file(&directory.join(name(old)), old.as_bytes()).unwrap();
                    }
                    let new: &[u8] = if empty { b"" } else { b"new" };
                    disk.install_file(&directory.join(cleaned_name(0)), new).unwrap();
                    disk.plan_crash(CrashPoint::Operation(disk.operations() + operation));
                    if executor.run_until_or_crash(&disk, swap(disk.clone())).is_none() {
                        executor.abandon_tasks();
                        disk = disk.crash();
                    }
                    for crash_again in [true, false] {
                        if crash_again {
                            disk.plan_crash(CrashPoint::Operation(disk.operations() + 1 + (seed + operation) % 9));
                        }
                        let settled = executor.run_until_or_crash(&disk, async {
                            let names = disk.list(directory).await?;
                            settle(&disk, directory, &names).await
                        });
                        match settled {
                            Some(settled) => drop(settled.unwrap()),
                            None => {
                                executor.abandon_tasks();
                                disk = disk.crash();
                            }
                        }
                        disk.plan_crash(CrashPoint::Operation(u64::MAX));
                    }
                    let mut found = executor.run_until(disk.list(directory)).unwrap();
                    found.sort();
                    let bytes = disk.file_bytes(&directory.join(name("0.log")));
                    let mut old = OLD.map(name).to_vec();
                    old.sort();
                    if found == old {
                        assert_eq!(bytes.as_deref(), Some(&b"0.log"[..]));
                        outcomes[0] += 1;
                    } else {
                        assert_eq!(found, expected_new, "seed {seed}, operation {operation}");
                        assert_eq!(bytes.as_deref(), (!empty).then_some(&b"new"[..]));
                        outcomes[1] += 1;
                    }
                }
            }
            assert!(outcomes.iter().all(|&count| count > 50), "both are seen: {outcomes:?}");
        }
    }
}
