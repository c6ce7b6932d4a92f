//! From append to durable, in the engine alone: on the real disk, and on one that costs nothing, where the engine's own
//! CPU time is what remains.
//!
//! With one partition a batch waits for the one before it, which is the latency of group commit; with 512 partitions 64
//! batches wait at once, each for another partition.

#![allow(clippy::disallowed_methods, missing_docs, reason = "a benchmark measures real time and may fail loudly")]

mod null_disk;

use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use corelog::disk::Disk;
use corelog::disk::uring::UringDisk;
use corelog::record::{BatchBuilder, BatchHeader};
use corelog::storage::journal::writer::JournalStart;
use corelog::storage::log::Log;
use corelog::storage::recovery::{ShardSeed, journal_directory};
use corelog::storage::{Storage, StorageOptions};
use corelog::vocabulary::{PartitionId, ShardId, TopicId};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use glommio::{LocalExecutor, LocalExecutorBuilder, Placement, Task};

use null_disk::NullDisk;

/// Payload of the batches, by the name in the report.
const SIZES: [(&str, usize); 4] = [("100B", 100), ("1KB", 1 << 10), ("100KB", 100 << 10), ("1MB", 1 << 20)];
/// Partitions, and how many appends wait at once.
const SPREADS: [(usize, usize); 2] = [(1, 1), (512, 64)];
/// Larger values are split into records of this size.
const VALUE_BYTES_MAX: usize = 1 << 10;
/// As the broker's shards have it.
const IO_MEMORY_BYTES: usize = 64 << 10;
/// As the broker's shards have it.
const SPIN: Duration = Duration::from_micros(100);

fn executor() -> LocalExecutor {
    let builder = LocalExecutorBuilder::new(Placement::Unbound).io_memory(IO_MEMORY_BYTES).spin_before_park(SPIN);
    builder.make().expect("an executor")
}

fn batch(bytes: usize) -> Bytes {
    let mut builder = BatchBuilder::new();
    let mut left = bytes;
    while left > 0 {
        let value: Vec<u8> = (0..left.min(VALUE_BYTES_MAX)).map(|at| (at * 31 + left) as u8).collect();
        builder.append(1_700_000_000_000, None, Some(&value), &[]);
        left -= value.len();
    }
    builder.build().expect("a batch")
}

/// An engine with logs that wait for appends.
struct Engine<D: Disk> {
    storage: Storage<D>,
    loops: Vec<Task<()>>,
    logs: Vec<Rc<Log<D>>>,
    batch: Bytes,
    header: BatchHeader,
    next: usize,
}

impl<D: Disk> Engine<D> {
    async fn start(disk: D, data_dir: &Path, partitions: usize, batch: Bytes) -> Engine<D> {
        let shard = ShardId(0);
        disk.create_dir_all(&journal_directory(data_dir, shard)).await.expect("the journal's directory");
        let seed = ShardSeed { shard, logs: Vec::new(), journal: JournalStart::default() };
        let snapshots = Rc::new(|_| Bytes::new());
        let (storage, loops) =
            Storage::start(disk, data_dir, StorageOptions::default(), seed, snapshots).await.expect("the engine");
        let loops = loops.into_iter().map(glommio::spawn_local).collect();
        let mut logs = Vec::new();
        for index in 0..partitions {
            let id = PartitionId { topic_id: TopicId([7; 16]), index: index as i32 };
            logs.push(storage.open_log(id, Path::new(&format!("topics/{index}"))));
        }
        let header = BatchHeader::parse(&batch).expect("a whole batch");
        Engine { storage, loops, logs, batch, header, next: 0 }
    }

    /// Appends a batch to each of the next `count` partitions, and waits until all are durable; `rounds` times.
    async fn append(&mut self, rounds: u64, count: usize) -> Duration {
        let mut commits = Vec::with_capacity(count);
        let start = Instant::now();
        for _ in 0..rounds {
            for _ in 0..count {
                let log = &self.logs[self.next];
                self.next = (self.next + 1) % self.logs.len();
                let appended = self.storage.append(log, self.batch.clone(), &self.header, 0).expect("an append");
                commits.push(appended.commit);
            }
            for commit in commits.drain(..) {
                commit.durable().await.expect("durable");
            }
        }
        start.elapsed()
    }

    /// Stops the engine and closes its files, which glommio allows on its executor only.
    async fn stop(self) {
        self.storage.shutdown().await.expect("a clean stop");
        for task in self.loops {
            task.await;
        }
    }
}

fn measure<D: Disk>(c: &mut Criterion, name: &str, disk: impl AsyncFn(&Path) -> D) {
    let mut group = c.benchmark_group(name);
    group.sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    for (size, bytes) in SIZES {
        let batch = batch(bytes);
        for (partitions, count) in SPREADS {
            let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory");
            let executor = executor();
            let mut engine = executor.run(async {
                Engine::start(disk(directory.path()).await, directory.path(), partitions, batch.clone()).await
            });
            group.throughput(Throughput::Bytes((batch.len() * count) as u64));
            let id = BenchmarkId::new(size, format!("{partitions} partitions, {count} at once"));
            group.bench_function(id, |b| b.iter_custom(|rounds| executor.run(engine.append(rounds, count))));
            executor.run(engine.stop());
        }
    }
    group.finish();
}

fn append(c: &mut Criterion) {
    measure(c, "append on io_uring", async |directory| UringDisk::start(directory).await.expect("direct I/O"));
    measure(c, "append, CPU only", async |_| NullDisk::new());
}

criterion_group!(benches, append);
criterion_main!(benches);
