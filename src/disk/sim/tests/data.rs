//! Rules 2, 3, 7, 8, 10, 11, 12: what happens to a file's bytes and length.

use super::*;

/// A durable file of two pages of 1.
fn with_file(disk: &SimDisk) {
    disk.install_file(Path::new("/d/f"), &filled(&[1, 1]).0).unwrap();
}

#[test]
fn an_unsynced_write_is_torn_by_sectors_in_every_way() {
    let seen = outcomes(|executor, disk| {
        with_file(&disk);
        executor.run_until(async { write(&open(&disk, "/d/f").await, 0, &[2]).await });
        let bytes = bytes(&disk.crash(), "/d/f").unwrap();
        assert!(bytes.chunks(SECTOR).all(|sector| sector.iter().all(|byte| *byte == sector[0])));
        assert!(bytes[ALIGNMENT..].iter().all(|byte| *byte == 1));
        (bytes[0], bytes[SECTOR])
    });
    assert_eq!(seen, set([(1, 1), (1, 2), (2, 1), (2, 2)]));
}

#[test]
fn unsynced_writes_are_reordered_and_any_version_may_survive() {
    let seen = outcomes(|executor, disk| {
        with_file(&disk);
        executor.run_until(async {
            let file = open(&disk, "/d/f").await;
            for value in [2, 3] {
                write(&file, 0, &[value]).await;
            }
            write(&file, PAGE, &[4]).await;
        });
        let bytes = bytes(&disk.crash(), "/d/f").unwrap();
        (bytes[0], bytes[ALIGNMENT])
    });
    assert_eq!(seen, set([(1, 1), (1, 4), (2, 1), (2, 4), (3, 1), (3, 4)]));
}

#[test]
fn what_was_synced_is_never_lost() {
    let seen = outcomes(|executor, disk| {
        with_file(&disk);
        executor.run_until(async {
            let file = open(&disk, "/d/f").await;
            write(&file, 0, &[2, 2, 2]).await;
            file.sync_data().await.unwrap();
            write(&file, 2 * PAGE, &[3, 3]).await;
        });
        assert_eq!(disk.durable_bytes(Path::new("/d/f")).unwrap(), filled(&[2, 2, 2]).0);
        let after = bytes(&disk.crash(), "/d/f").unwrap();
        assert_eq!(after[..2 * ALIGNMENT], filled(&[2, 2]).0);
        (after[2 * ALIGNMENT], after.len() as u64 / PAGE)
    });
    assert_eq!(seen, set([(2, 3), (2, 4), (3, 3), (3, 4)]));
}

#[test]
fn a_sync_covers_only_writes_that_had_returned_when_it_was_called() {
    // A write that ends while the sync runs, and one that ends after it.
    for (write_us, sync_us) in [(10, 1000), (1000, 10)] {
        let seen = outcomes(|executor, disk| {
            with_file(&disk);
            set_latency(&disk, write_us, sync_us);
            executor.run_until(async {
                let file = open(&disk, "/d/f").await;
                let (written, synced) = both(file.write_at(0, filled(&[2])), file.sync_data()).await;
                written.and(synced).unwrap();
            });
            first(&disk.crash(), "/d/f").unwrap()
        });
        assert_eq!(seen, set([1, 2]), "a write of {write_us} us and a sync of {sync_us} us");
    }
}

#[test]
fn an_interrupted_sync_promises_nothing_and_an_interrupted_write_any_part() {
    let seen = outcomes(|executor, disk| {
        with_file(&disk);
        executor.run_until(async {
            let file = open(&disk, "/d/f").await;
            write(&file, 0, &[2]).await;
            disk.plan_crash(CrashPoint::Operation(disk.operations() + 1));
            let interrupted = executor.spawn(async move {
                let _ended = both(file.sync_data(), file.write_at(PAGE, filled(&[3]))).await;
            });
            disk.crashed().await;
            assert!(!interrupted.is_finished());
        });
        let bytes = bytes(&disk.crash(), "/d/f").unwrap();
        (bytes[0], bytes[ALIGNMENT], bytes[ALIGNMENT + SECTOR])
    });
    let all = [1, 2].into_iter().flat_map(|a| [(a, 1, 1), (a, 1, 3), (a, 3, 1), (a, 3, 3)]);
    assert_eq!(seen, all.collect());
}

#[test]
fn a_length_and_its_data_survive_independently() {
    let seen = outcomes(|executor, disk| {
        with_file(&disk);
        executor.run_until(async { write(&open(&disk, "/d/f").await, 2 * PAGE, &[2]).await });
        let disk = disk.crash();
        let bytes = bytes(&disk, "/d/f").unwrap();
        // What was beyond the length does not come back when the file grows.
        executor.run_until(async { open(&disk, "/d/f").await.set_len(3 * PAGE).await.unwrap() });
        let grown = super::bytes(&disk, "/d/f").unwrap()[2 * ALIGNMENT];
        assert_eq!(grown, bytes.get(2 * ALIGNMENT).copied().unwrap_or(0));
        (bytes.len() as u64 / PAGE, grown)
    });
    assert_eq!(seen, set([(2, 0), (3, 0), (3, 2)]));
}

#[test]
fn truncation_and_preallocation_are_durable_only_after_a_sync() {
    for (sync, lens) in [(true, vec![5 * PAGE]), (false, vec![100, 2 * PAGE, 5 * PAGE])] {
        let seen = outcomes(|executor, disk| {
            with_file(&disk);
            executor.run_until(async {
                let file = open(&disk, "/d/f").await;
                file.set_len(100).await.unwrap();
                file.preallocate(5 * PAGE).await.unwrap();
                assert_eq!(file.size().await.unwrap(), 5 * PAGE);
                if sync {
                    file.sync_data().await.unwrap();
                }
            });
            let disk = disk.crash();
            let bytes = bytes(&disk, "/d/f").unwrap();
            let kept = if bytes.len() as u64 == 2 * PAGE { bytes.len() } else { 100 };
            assert!(bytes[..kept].iter().all(|byte| *byte == 1) && bytes[kept..].iter().all(|byte| *byte == 0));
            assert_eq!(disk.used_bytes(), (bytes.len() as u64).next_multiple_of(PAGE));
            bytes.len() as u64
        });
        assert_eq!(seen, lens.into_iter().collect());
    }
}

#[test]
fn a_failed_write_leaves_any_subset_of_its_sectors() {
    let lens = RefCell::new(BTreeSet::new());
    let seen = outcomes(|executor, disk| {
        with_file(&disk);
        disk.inject(OperationKind::Write, "/f", 1, libc::EIO);
        executor.run_until(async {
            let file = open(&disk, "/d/f").await;
            write(&file, 0, &[1]).await;
            let error = file.write_at(PAGE, filled(&[2, 2])).await.unwrap_err();
            assert_eq!((error.operation, error.source.raw_os_error()), ("write", Some(libc::EIO)));
            write(&file, 0, &[1]).await;
        });
        let bytes = bytes(&disk, "/d/f").unwrap();
        assert!(bytes[..ALIGNMENT].iter().all(|byte| *byte == 1));
        lens.borrow_mut().insert(bytes.len() as u64 / PAGE);
        (bytes[ALIGNMENT], bytes[ALIGNMENT + SECTOR])
    });
    assert_eq!((seen, lens.take()), (set([(1, 1), (1, 2), (2, 1), (2, 2)]), set([2, 3])));
}

#[test]
fn after_a_failed_sync_reads_see_what_a_crash_has_already_lost() {
    let seen = outcomes(|executor, disk| {
        with_file(&disk);
        disk.inject(OperationKind::Sync, "/f", 0, libc::EIO);
        executor.run_until(async {
            let file = open(&disk, "/d/f").await;
            write(&file, 0, &[2]).await;
            assert_eq!(file.sync_data().await.unwrap_err().operation, "sync");
            file.sync_data().await.unwrap();
            assert!(file.read_at(0, ALIGNMENT).await.unwrap().iter().all(|byte| *byte == 2));
        });
        let decided = disk.durable_bytes(Path::new("/d/f")).unwrap();
        assert_eq!(bytes(&disk.crash(), "/d/f").unwrap(), decided);
        (decided[0], decided[SECTOR])
    });
    assert_eq!(seen, set([(1, 1), (1, 2), (2, 1), (2, 2)]));
}

#[test]
fn a_failed_sync_says_nothing_of_writes_after_it() {
    outcomes(|executor, disk| {
        with_file(&disk);
        disk.inject(OperationKind::Sync, "/f", 0, libc::EIO);
        executor.run_until(async {
            let file = open(&disk, "/d/f").await;
            assert!(file.sync_data().await.is_err());
            write(&file, 0, &[2, 2]).await;
            file.sync_data().await.unwrap();
        });
        assert_eq!(bytes(&disk.crash(), "/d/f").unwrap(), filled(&[2, 2]).0);
    });
}

#[test]
fn a_full_disk_refuses_what_needs_space_until_there_is_some() {
    let seen = outcomes(|executor, disk| {
        disk.set_capacity(Some(6 * PAGE));
        executor.run_until(async {
            let (file, other) = (open(&disk, "/d/f").await, open(&disk, "/d/o").await);
            file.preallocate(4 * PAGE).await.unwrap();
            write(&other, 0, &[1]).await;
            let error = other.write_at(PAGE, filled(&[2, 2])).await.unwrap_err();
            assert!(error.is_full(), "{error}");
            let partly = other.size().await.unwrap() / PAGE;
            assert!(file.preallocate(9 * PAGE).await.unwrap_err().is_full());
            file.set_len(4 * PAGE).await.unwrap();
            // Space that is there already is no matter.
            write(&file, 0, &[3, 3, 3, 3]).await;
            write(&other, 0, &[4]).await;
            // A removed file takes its space as long as it is open.
            disk.remove(Path::new("/d/f")).await.unwrap();
            assert!(other.write_at(PAGE, filled(&[2, 2])).await.unwrap_err().is_full());
            drop(file);
            write(&other, PAGE, &[2, 2]).await;
            assert_eq!(disk.used_bytes(), 3 * PAGE);
            disk.set_capacity(Some(0));
            assert!(other.write_at(3 * PAGE, filled(&[2])).await.unwrap_err().is_full());
            disk.set_capacity(None);
            write(&other, 3 * PAGE, &[2]).await;
            partly
        })
    });
    assert_eq!(seen, set([1, 2]));
}

#[test]
fn a_read_sees_any_sectors_of_a_write_under_way() {
    let seen = outcomes(|executor, disk| {
        with_file(&disk);
        set_latency(&disk, 1000, 1);
        executor.run_until(async {
            let file = open(&disk, "/d/f").await;
            let (written, read) = both(file.write_at(PAGE, filled(&[2, 2])), file.read_at(0, 4 * ALIGNMENT)).await;
            written.unwrap();
            let read = read.unwrap();
            assert_eq!(read.len(), 2 * ALIGNMENT);
            assert!(read[..ALIGNMENT].iter().all(|byte| *byte == 1));
            (read[ALIGNMENT], read[ALIGNMENT + SECTOR])
        })
    });
    assert_eq!(seen, set([(1, 1), (1, 2), (2, 1), (2, 2)]));
}

#[test]
fn damage_is_seen_at_once_and_outlives_syncs_and_crashes() {
    let path = Path::new("/d/f");
    outcomes(|executor, disk| {
        with_file(&disk);
        executor.run_until(async {
            let file = open(&disk, "/d/f").await;
            write(&file, 0, &[1]).await;
            disk.flip_bit(path, 5, 1).unwrap();
            disk.damage(path, PAGE - 1, &[8, 9]).unwrap();
            file.sync_data().await.unwrap();
        });
        let mut expected = filled(&[1, 1]).0;
        (expected[5], expected[ALIGNMENT - 1], expected[ALIGNMENT]) = (3, 8, 9);
        assert_eq!(bytes(&disk, "/d/f").unwrap(), expected);
        let disk = disk.crash();
        assert_eq!(bytes(&disk, "/d/f").unwrap(), expected);
        let position = disk.flip_some_bit(path).unwrap();
        let changed = bytes(&disk, "/d/f").unwrap();
        let differs = (0..changed.len()).filter(|at| changed[*at] != expected[*at]).collect::<Vec<_>>();
        assert_eq!(differs, [position as usize]);
        assert!(disk.flip_bit(path, 2 * PAGE, 0).is_err() && disk.damage(Path::new("/x"), 0, &[0]).is_err());
    });
}

/// Any sequence of changes against a plain vector: what is read, what is durable after a sync, the space.
#[test]
fn a_file_is_what_a_vector_is() {
    for seed in 0..SEEDS {
        let mut random = Random::new(seed);
        let (executor, disk) = disk(seed);
        let mut model: Vec<u8> = Vec::new();
        executor.run_until(async {
            let file = open(&disk, "/d/f").await;
            sync_dir(&disk, "/d").await;
            for step in 1..30u8 {
                let len = random.below(6) * PAGE;
                match random.below(6) {
                    0 => {
                        let len = len + random.below(PAGE);
                        file.set_len(len).await.unwrap();
                        model.resize(len as usize, 0);
                    }
                    1 => {
                        file.preallocate(len).await.unwrap();
                        model.resize(model.len().max(len as usize), 0);
                    }
                    2 => {
                        file.sync_data().await.unwrap();
                        assert_eq!(disk.durable_bytes(Path::new("/d/f")).as_ref(), Some(&model));
                    }
                    _ => {
                        let values = vec![step; 1 + random.index(3)];
                        write(&file, len, &values).await;
                        let end = len as usize + values.len() * ALIGNMENT;
                        model.resize(model.len().max(end), 0);
                        model[len as usize..end].fill(step);
                    }
                }
                assert_eq!(bytes(&disk, "/d/f").as_ref(), Some(&model), "seed {seed}");
                let read = file.read_at(PAGE, 3 * ALIGNMENT).await.unwrap();
                assert_eq!(*read, model[ALIGNMENT.min(model.len())..(4 * ALIGNMENT).min(model.len())]);
                assert!(disk.used_bytes() <= (model.len() as u64).next_multiple_of(PAGE));
            }
            file.sync_data().await.unwrap();
        });
        assert_eq!(bytes(&disk.crash(), "/d/f"), Some(model), "seed {seed}");
    }
}
