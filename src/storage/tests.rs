//! What the engine's face does when the disk fails it, on the simulated disk.

use std::path::Path;

use super::recovery::{Recovery, Replay};
use super::*;
use crate::disk::sim::{OperationKind, SimDisk, SimExecutor, SimOptions};
use crate::record::BatchBuilder;
use crate::vocabulary::TopicId;

const ID: PartitionId = PartitionId { topic_id: TopicId([5; 16]), index: 0 };

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

#[test]
fn a_stop_that_finds_no_room_for_its_checkpoint_takes_the_reserve() {
    let executor = SimExecutor::new(1);
    let disk = SimDisk::new(&executor.clock(), 1, SimOptions::default());
    let data_dir = Path::new("/data");
    disk.install_dir(data_dir).unwrap();
    let options = StorageOptions::default();
    let (storage, loops) = executor.run_until(async {
        let recovery = Recovery::open(disk.clone(), data_dir, options.segment_bytes, false).await.unwrap();
        let seed = recovery.finish(1, |_| Some(ShardId(0)), &NoState).await.unwrap().remove(0);
        Storage::start(disk.clone(), data_dir, options, seed, Rc::new(|_| Bytes::new())).await.unwrap()
    });
    for future in loops {
        executor.spawn(future);
    }
    let mut builder = BatchBuilder::new();
    builder.append(1, None, Some(b"kept"), &[]);
    let batch = builder.build().unwrap();
    let header = BatchHeader::parse(&batch).unwrap();
    let log = storage.open_log(ID, Path::new("topics/t/0"));
    executor.run_until(async {
        storage.append(&log, batch, &header, 0).unwrap().commit.durable().await.unwrap();
    });
    let reserve = |disk: &SimDisk| disk.file_sizes().keys().any(|path| path.ends_with(reserve::FILE_NAME));
    assert!(reserve(&disk));
    disk.inject(OperationKind::Write, "checkpoint", 0, libc::ENOSPC);
    executor.run_until(storage.shutdown()).unwrap();
    assert!(!reserve(&disk), "it was given up");
    // What a stop leaves needs no journal.
    let recovery = executor.run_until(async {
        let mut recovery = Recovery::open(disk.kill(), data_dir, 1 << 20, false).await.unwrap();
        recovery.replay(|_| true, &mut NoState).await.unwrap();
        recovery
    });
    assert_eq!(recovery.log(ID).unwrap().end().offset, 1);
}
