//! Each rule of the module's list, seen happening: over many seeds, exactly the outcomes that the rule allows.

mod contract;
mod data;
mod history;
mod names;

use std::collections::BTreeSet;
use std::path::Path;
use std::pin::pin;

use super::*;

/// Enough for an outcome of a chance of a few percent to be seen.
const SEEDS: u64 = 300;

const PAGE: u64 = ALIGNMENT as u64;

/// A simulation with a disk that has the durable directory `/d`.
fn disk(seed: u64) -> (SimExecutor, SimDisk) {
    let executor = SimExecutor::new(seed);
    let disk = SimDisk::new(&executor.clock(), seed, SimOptions::default());
    disk.install_dir(Path::new("/d")).unwrap();
    (executor, disk)
}

/// The outcomes of one story under many seeds.
fn outcomes<T: Ord>(story: impl Fn(&SimExecutor, SimDisk) -> T) -> BTreeSet<T> {
    let outcomes = (0..SEEDS).map(|seed| {
        let (executor, disk) = disk(seed);
        story(&executor, disk)
    });
    outcomes.collect()
}

fn set<T: Ord, const N: usize>(values: [T; N]) -> BTreeSet<T> {
    BTreeSet::from(values)
}

async fn open(disk: &SimDisk, path: &str) -> SimFile {
    disk.open(Path::new(path), OpenMode::OpenOrCreate).await.unwrap()
}

/// Whole pages, each filled with one byte.
fn filled(bytes: &[u8]) -> SimBuffer {
    SimBuffer(bytes.iter().flat_map(|&byte| [byte; ALIGNMENT]).collect())
}

async fn write(file: &SimFile, position: u64, bytes: &[u8]) {
    file.write_at(position, filled(bytes)).await.unwrap();
}

async fn sync_dir(disk: &SimDisk, path: &str) {
    disk.sync_dir(Path::new(path)).await.unwrap();
}

fn bytes(disk: &SimDisk, path: &str) -> Option<Vec<u8>> {
    disk.file_bytes(Path::new(path))
}

/// A file's first byte.
fn first(disk: &SimDisk, path: &str) -> Option<u8> {
    bytes(disk, path).map(|bytes| bytes[0])
}

/// Both, at the same time.
async fn both<A, B>(a: impl Future<Output = A>, b: impl Future<Output = B>) -> (A, B) {
    let (mut a, mut b) = (pin!(a), pin!(b));
    let (mut a_output, mut b_output) = (None, None);
    poll_fn(|context| {
        if a_output.is_none()
            && let Poll::Ready(output) = a.as_mut().poll(context)
        {
            a_output = Some(output);
        }
        if b_output.is_none()
            && let Poll::Ready(output) = b.as_mut().poll(context)
        {
            b_output = Some(output);
        }
        if a_output.is_some() && b_output.is_some() { Poll::Ready(()) } else { Poll::Pending }
    })
    .await;
    (a_output.unwrap(), b_output.unwrap())
}

fn micros(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

/// Every operation of a kind takes exactly so long.
fn set_latency(disk: &SimDisk, write: u64, sync: u64) {
    let latency = &mut disk.machine.world.borrow_mut().options.latency;
    latency.write = micros(write)..=micros(write);
    latency.sync = micros(sync)..=micros(sync);
}
