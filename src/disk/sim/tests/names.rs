//! Rules 4, 5, 6, 9: what happens to names.

use super::*;

fn names(disk: &SimDisk) -> Vec<String> {
    disk.file_sizes().into_keys().map(|path| path.display().to_string()).collect()
}

async fn rename(disk: &SimDisk, from: &str, to: &str) {
    disk.rename(Path::new(from), Path::new(to)).await.unwrap();
}

/// Durable files `/d/name` of 1 and `/d/tmp` of 2.
fn with_old_and_new(disk: &SimDisk) {
    disk.install_file(Path::new("/d/name"), &filled(&[1]).0).unwrap();
    disk.install_file(Path::new("/d/tmp"), &filled(&[2]).0).unwrap();
}

#[test]
fn a_name_is_durable_only_after_a_sync_of_its_directory() {
    for (sync, expected) in [(false, set([None, Some(2)])), (true, set([Some(2)]))] {
        let seen = outcomes(|executor, disk| {
            executor.run_until(async {
                let file = open(&disk, "/d/f").await;
                write(&file, 0, &[2]).await;
                file.sync_data().await.unwrap();
                if sync {
                    sync_dir(&disk, "/d").await;
                }
            });
            first(&disk.crash(), "/d/f")
        });
        assert_eq!(seen, expected);
    }
}

#[test]
fn a_synced_name_does_not_sync_the_file() {
    let seen = outcomes(|executor, disk| {
        executor.run_until(async {
            write(&open(&disk, "/d/f").await, 0, &[2]).await;
            sync_dir(&disk, "/d").await;
        });
        bytes(&disk.crash(), "/d/f").unwrap().first().copied()
    });
    assert_eq!(seen, set([None, Some(0), Some(2)]));
}

#[test]
fn a_sync_of_a_directory_covers_only_names_that_were_there_when_it_was_called() {
    let seen = outcomes(|executor, disk| {
        set_latency(&disk, 1, 1000);
        executor.run_until(async { both(sync_dir(&disk, "/d"), open(&disk, "/d/f")).await });
        names(&disk.crash()).len()
    });
    assert_eq!(seen, set([0, 1]));
}

#[test]
fn a_directory_is_a_name_too_and_takes_what_is_below_with_it() {
    for (above, expected) in [(["/a"].as_slice(), set([0, 1])), (&[], set([0, 1])), (&["/", "/a"], set([1]))] {
        let seen = outcomes(|executor, disk| {
            executor.run_until(async {
                disk.create_dir_all(Path::new("/a/b")).await.unwrap();
                let _file = open(&disk, "/a/b/f").await;
                sync_dir(&disk, "/a/b").await;
                for directory in above {
                    sync_dir(&disk, directory).await;
                }
            });
            names(&disk.crash()).len()
        });
        assert_eq!(seen, expected, "after syncs of {above:?}");
    }
}

#[test]
fn a_removed_file_may_come_back_with_its_data_until_its_directory_is_synced() {
    for (sync, expected) in [(false, set([None, Some(1)])), (true, set([None]))] {
        let seen = outcomes(|executor, disk| {
            with_old_and_new(&disk);
            executor.run_until(async {
                disk.remove(Path::new("/d/name")).await.unwrap();
                if sync {
                    sync_dir(&disk, "/d").await;
                }
            });
            assert_eq!(first(&disk, "/d/name"), None);
            first(&disk.crash(), "/d/name")
        });
        assert_eq!(seen, expected);
    }
}

#[test]
fn a_rename_over_a_durable_file_happened_or_did_not() {
    let (before, after) = ((Some(1), Some(2)), (Some(2), None));
    for (sync, expected) in [(false, set([before, after])), (true, set([after]))] {
        let seen = outcomes(|executor, disk| {
            with_old_and_new(&disk);
            executor.run_until(async {
                rename(&disk, "/d/tmp", "/d/name").await;
                if sync {
                    sync_dir(&disk, "/d").await;
                }
            });
            let disk = disk.crash();
            (first(&disk, "/d/name"), first(&disk, "/d/tmp"))
        });
        assert_eq!(seen, expected);
    }
}

#[test]
fn a_rename_of_an_unsynced_name_stands_only_with_it_and_leaves_one_name_or_none() {
    let seen = outcomes(|executor, disk| {
        executor.run_until(async {
            let file = open(&disk, "/d/tmp").await;
            write(&file, 0, &[2]).await;
            file.sync_data().await.unwrap();
            rename(&disk, "/d/tmp", "/d/name").await;
        });
        names(&disk.crash())
    });
    assert_eq!(seen, set([vec![], vec!["/d/name".to_owned()], vec!["/d/tmp".to_owned()]]));
}

#[test]
fn a_renamed_file_that_was_not_synced_may_be_empty_under_its_new_name() {
    let seen = outcomes(|executor, disk| {
        disk.install_file(Path::new("/d/name"), &filled(&[1]).0).unwrap();
        executor.run_until(async {
            write(&open(&disk, "/d/tmp").await, 0, &[2]).await;
            rename(&disk, "/d/tmp", "/d/name").await;
            sync_dir(&disk, "/d").await;
        });
        bytes(&disk.crash(), "/d/name").unwrap().first().copied()
    });
    assert_eq!(seen, set([None, Some(0), Some(2)]));
}

#[test]
fn a_rename_between_directories_is_settled_by_the_new_names_directory() {
    let [old, new] = ["/d/name", "/e/name"].map(|name| vec![name.to_owned()]);
    for (synced, expected) in [("/d", set([old, new.clone()])), ("/e", set([new]))] {
        let seen = outcomes(|executor, disk| {
            disk.install_dir(Path::new("/e")).unwrap();
            disk.install_file(Path::new("/d/name"), b"1").unwrap();
            executor.run_until(async {
                rename(&disk, "/d/name", "/e/name").await;
                sync_dir(&disk, synced).await;
            });
            names(&disk.crash())
        });
        assert_eq!(seen, expected, "after a sync of {synced}");
    }
}

#[test]
fn a_file_renamed_out_of_a_directory_is_not_lost_with_it() {
    for sync in [false, true] {
        let seen = outcomes(|executor, disk| {
            disk.install_dir(Path::new("/e")).unwrap();
            disk.install_file(Path::new("/d/name"), b"1").unwrap();
            executor.run_until(async {
                rename(&disk, "/d/name", "/e/name").await;
                disk.remove_dir_all(Path::new("/d")).await.unwrap();
                if sync {
                    sync_dir(&disk, "/").await;
                }
            });
            names(&disk.crash())
        });
        let [old, new] = ["/d/name", "/e/name"].map(|name| vec![name.to_owned()]);
        assert_eq!(seen, if sync { set([new]) } else { set([old, new]) });
    }
}

#[test]
fn a_removal_of_a_directory_is_torn_until_the_one_above_is_synced() {
    for (sync, expected) in [(false, set([(0, false), (0, true), (1, true), (2, true)])), (true, set([(0, false)]))] {
        let seen = outcomes(|executor, disk| {
            with_old_and_new(&disk);
            executor.run_until(async {
                disk.remove_dir_all(Path::new("/d")).await.unwrap();
                if sync {
                    sync_dir(&disk, "/").await;
                }
                assert!(disk.list(Path::new("/d")).await.unwrap().is_empty());
            });
            let disk = disk.crash();
            let there = executor.run_until(disk.list(Path::new("/"))).unwrap();
            (names(&disk).len(), there == ["d"])
        });
        assert_eq!(seen, expected);
    }
}

#[test]
fn a_directory_made_again_does_not_have_the_old_files() {
    let seen = outcomes(|executor, disk| {
        with_old_and_new(&disk);
        executor.run_until(async {
            disk.remove_dir_all(Path::new("/d")).await.unwrap();
            disk.create_dir_all(Path::new("/d")).await.unwrap();
            let _file = open(&disk, "/d/f").await;
            sync_dir(&disk, "/d").await;
            sync_dir(&disk, "/").await;
        });
        names(&disk.crash())
    });
    assert_eq!(seen, set([vec!["/d/f".to_owned()]]));
}

#[test]
fn a_failed_change_of_names_happened_or_did_not() {
    let seen = outcomes(|executor, disk| {
        with_old_and_new(&disk);
        disk.inject(OperationKind::Rename, "tmp", 0, libc::EIO);
        executor.run_until(async {
            let error = disk.rename(Path::new("/d/tmp"), Path::new("/d/name")).await.unwrap_err();
            assert_eq!((error.operation, error.path.as_path()), ("rename", Path::new("/d/tmp")));
        });
        (first(&disk, "/d/name"), first(&disk, "/d/tmp"))
    });
    assert_eq!(seen, set([(Some(1), Some(2)), (Some(2), None)]));
}

#[test]
fn a_failed_sync_of_a_directory_settles_nothing() {
    let seen = outcomes(|executor, disk| {
        disk.inject(OperationKind::SyncDir, "/d", 0, libc::EIO);
        executor.run_until(async {
            let _file = open(&disk, "/d/f").await;
            assert_eq!(disk.sync_dir(Path::new("/d")).await.unwrap_err().operation, "sync directory");
        });
        names(&disk.crash()).len()
    });
    assert_eq!(seen, set([0, 1]));
}

#[test]
fn errors_are_those_of_a_real_file_system() {
    let (executor, disk) = disk(1);
    executor.run_until(async {
        let path = Path::new;
        assert!(disk.open(path("/d/f"), OpenMode::Existing).await.err().unwrap().is_not_found());
        assert!(disk.open(path("/x/f"), OpenMode::OpenOrCreate).await.err().unwrap().is_not_found());
        assert!(disk.remove(path("/d/f")).await.unwrap_err().is_not_found());
        assert!(disk.rename(path("/d/f"), path("/d/g")).await.unwrap_err().is_not_found());
        assert!(disk.sync_dir(path("/x")).await.unwrap_err().is_not_found());
        assert!(disk.list(path("/x")).await.unwrap().is_empty());
        disk.remove_dir_all(path("/x")).await.unwrap();
        let file = open(&disk, "/d/f").await;
        let errno = |error: DiskError| error.source.raw_os_error();
        assert_eq!(errno(disk.create_dir_all(path("/d/f/g")).await.unwrap_err()), Some(libc::EEXIST));
        assert_eq!(errno(disk.remove(path("/d")).await.unwrap_err()), Some(libc::EISDIR));
        // An open file outlives its name.
        rename(&disk, "/d/f", "/d/g").await;
        write(&file, 0, &[7]).await;
        assert_eq!(first(&disk, "/d/g"), Some(7));
        disk.remove(path("/d/g")).await.unwrap();
        sync_dir(&disk, "/d").await;
        assert_eq!(file.read_at(0, ALIGNMENT).await.unwrap()[0], 7);
        for name in ["b", "a"] {
            disk.create_dir_all(&path("/d").join(name)).await.unwrap();
        }
        assert_eq!(disk.list(path("/d")).await.unwrap(), ["a", "b"]);
    });
}

/// Any sequence of changes against a plain set: nothing synced is lost, and nothing has two names.
#[test]
fn names_after_a_sync_are_exact_and_before_it_never_double() {
    for seed in 0..SEEDS {
        let mut random = Random::new(seed);
        let (executor, disk) = disk(seed);
        let settled = executor.run_until(async {
            let mut settled = names(&disk);
            for directory in ["/", "/d", "/d/0", "/d/1"] {
                disk.create_dir_all(Path::new(directory)).await.unwrap();
            }
            for step in 0..25u64 {
                let mut name = || format!("/d/{}/{}", random.below(2), random.below(4));
                let (name, other) = (name(), name());
                match random.below(4) {
                    0 => drop(disk.remove(Path::new(&name)).await),
                    1 => drop(disk.rename(Path::new(&name), Path::new(&other)).await),
                    _ => {
                        let file = open(&disk, &name).await;
                        file.set_len(step + 1).await.unwrap();
                        file.sync_data().await.unwrap();
                    }
                }
                if step == seed % 25 {
                    for directory in ["/", "/d", "/d/0", "/d/1"] {
                        sync_dir(&disk, directory).await;
                    }
                    settled = names(&disk);
                    if seed < SEEDS / 2 {
                        break;
                    }
                }
            }
            settled
        });
        let after = disk.crash();
        if seed < SEEDS / 2 {
            assert_eq!(names(&after), settled, "seed {seed}");
        }
        // Each file has a length of its own.
        let sizes = after.file_sizes();
        assert_eq!(sizes.values().collect::<BTreeSet<_>>().len(), sizes.len(), "seed {seed}: {sizes:?}");
    }
}
