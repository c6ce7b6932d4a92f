//! What the engine's face does when the disk fails it, on the simulated disk.

use super::reserve;
use super::simulated::Shard;
use crate::disk::sim::{OperationKind, SimDisk};

#[test]
fn a_stop_that_finds_no_room_for_its_checkpoint_takes_the_reserve() {
    let shard = Shard::new();
    shard.append(&[("key", Some(4), 1)]);
    let reserve = |disk: &SimDisk| disk.file_sizes().keys().any(|path| path.ends_with(reserve::FILE_NAME));
    assert!(reserve(&shard.disk));
    shard.disk.inject(OperationKind::Write, "checkpoint", 0, libc::ENOSPC);
    shard.executor.run_until(shard.storage.shutdown()).unwrap();
    assert!(!reserve(&shard.disk), "it was given up");
    assert_eq!(shard.restart().log.end().offset, 1);
}
