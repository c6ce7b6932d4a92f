//! Brings the machine to the same state before each row: the disk idle, free memory at hand.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;

/// Free memory that is touched before each row. A virtual machine's host takes free pages back within seconds, and
/// whoever fills them first (a page cache above all) pays several times over.
const TOUCHED_BYTES_MAX: usize = 6 << 30;
/// The disk is idle when this many small writes in a row are synced quickly.
const QUICK_SYNCS: usize = 40;
/// How quickly: ten times what a quiet disk takes.
const QUICK_SYNC: Duration = Duration::from_millis(3);
/// A disk that is not idle after this long is shared with others.
const QUIET_DEADLINE: Duration = Duration::from_secs(8);

/// Waits for the disk below `directory` to be idle, then touches free memory.
///
/// # Errors
/// When the directory cannot be written to.
pub fn settle(directory: &Path) -> anyhow::Result<()> {
    if !wait_for_disk(directory)? {
        eprintln!("the disk is not quiet: the next row's figures are of a machine that is shared");
    }
    touch_free_memory()
}

/// Writes what is dirty, and drops what the page cache holds.
///
/// # Errors
/// When not root.
pub fn drop_caches() -> anyhow::Result<()> {
    // SAFETY: sync(2) touches no memory of ours.
    unsafe { libc::sync() };
    std::fs::write("/proc/sys/vm/drop_caches", "3").context("drop the page cache: only root can")
}

/// Whether it became idle.
fn wait_for_disk(directory: &Path) -> anyhow::Result<bool> {
    // SAFETY: sync(2) touches no memory of ours.
    unsafe { libc::sync() };
    let path = directory.join(format!("probe-{}", std::process::id()));
    let mut file =
        OpenOptions::new().create(true).write(true).truncate(true).custom_flags(libc::O_DSYNC).open(&path)?;
    let end = Instant::now() + QUIET_DEADLINE;
    let mut quick = 0;
    while quick < QUICK_SYNCS && Instant::now() < end {
        let start = Instant::now();
        file.write_all(&[0; 4096])?;
        quick = if start.elapsed() < QUICK_SYNC { quick + 1 } else { 0 };
    }
    std::fs::remove_file(&path)?;
    Ok(quick == QUICK_SYNCS)
}

fn touch_free_memory() -> anyhow::Result<()> {
    let free = std::fs::read_to_string("/proc/meminfo")?;
    let free = free.lines().find_map(|line| line.strip_prefix("MemFree:")).context("no MemFree in /proc/meminfo")?;
    let free_kib: usize = free.trim().trim_end_matches(" kB").parse()?;
    let mut memory: Vec<u8> = Vec::new();
    memory.try_reserve_exact(TOUCHED_BYTES_MAX.min((free_kib << 10) / 2))?;
    for page in memory.spare_capacity_mut().chunks_mut(4096) {
        page[0].write(1);
    }
    std::hint::black_box(memory.spare_capacity_mut());
    Ok(())
}
