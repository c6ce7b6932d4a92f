//! One shard with one partition on the simulated disk, for the tests of this layer.

use std::path::{Path, PathBuf};
use std::rc::Rc;

use bytes::Bytes;

use super::log::Log;
use super::recovery::{Recovery, Replay};
use super::{Storage, StorageOptions};
use crate::disk::sim::{SimDisk, SimExecutor, SimOptions};
use crate::record::{BatchBuilder, BatchHeader};
use crate::vocabulary::{Offset, PartitionId, ShardId, TopicId};

const DATA_DIR: &str = "/data";
pub(super) const SEGMENT_BYTES: u64 = 2000;
pub(super) const ID: PartitionId = PartitionId { topic_id: TopicId([5; 16]), index: 0 };

struct NoState;

impl Replay for NoState {
    fn directory(&self, _: PartitionId) -> Option<PathBuf> {
        Some("topics/t/0".into())
    }

    fn restore(&mut self, _: PartitionId, _: &[u8]) -> Result<(), String> {
        Ok(())
    }

    fn apply(&mut self, _: PartitionId, _: &BatchHeader, _: Offset) {}

    fn snapshot(&self, _: PartitionId) -> Bytes {
        Bytes::new()
    }
}

/// One shard with one partition.
pub(super) struct Shard {
    pub(super) executor: SimExecutor,
    pub(super) disk: SimDisk,
    pub(super) storage: Storage<SimDisk>,
    pub(super) log: Rc<Log<SimDisk>>,
}

impl Shard {
    pub(super) fn new() -> Shard {
        let executor = SimExecutor::new(1);
        let disk = SimDisk::new(&executor.clock(), 1, SimOptions::default());
        disk.install_dir(Path::new(DATA_DIR)).unwrap();
        Shard::start(executor, disk, 1)
    }

    /// The first of so many shards, which has the partition.
    fn start(executor: SimExecutor, disk: SimDisk, shards: usize) -> Shard {
        let recovered = executor.run_until(async {
            let mut recovery = Recovery::open(disk.clone(), Path::new(DATA_DIR), SEGMENT_BYTES, false).await.unwrap();
            recovery.replay(|_| true, &mut NoState).await.unwrap();
            recovery.finish(shards, |_| Some(ShardId(0)), &NoState).await.unwrap().remove(0)
        });
        let options = StorageOptions { segment_bytes: SEGMENT_BYTES, ..StorageOptions::default() };
        let start = Storage::start(disk.clone(), Path::new(DATA_DIR), options, recovered, Rc::new(|_| Bytes::new()));
        let (storage, loops) = executor.run_until(start).unwrap();
        for future in loops {
            executor.spawn(future);
        }
        let log = storage.open_log(ID, Path::new("topics/t/0"));
        Shard { executor, disk, storage, log }
    }

    /// The same after a kill: what was written is there, nothing else was done.
    pub(super) fn restart(self) -> Shard {
        self.restart_with(1)
    }

    pub(super) fn restart_with(self, shards: usize) -> Shard {
        let Shard { executor, disk, storage, log } = self;
        drop((storage, log));
        executor.abandon_tasks();
        Shard::start(executor, disk.kill(), shards)
    }

    /// Appends one record a batch: key, value's length, timestamp.
    pub(super) fn append(&self, records: &[(&str, Option<usize>, i64)]) {
        self.executor.run_until(async {
            for (key, value, timestamp) in records {
                let value = value.map(|len| vec![7; len]);
                let mut builder = BatchBuilder::new();
                builder.append(*timestamp, Some(key.as_bytes()), value.as_deref(), &[]);
                let batch = builder.build().unwrap();
                let header = BatchHeader::parse(&batch).unwrap();
                let appended = self.storage.append(&self.log, batch, &header, 0).unwrap();
                appended.commit.durable().await.unwrap();
            }
        });
    }
}
