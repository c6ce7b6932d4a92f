//! Rules 1 and 13, crashes as such, and determinism.

use super::*;

#[test]
fn operations_at_the_same_time_end_in_any_order() {
    let seen = outcomes(|executor, disk| {
        let ended = Rc::new(RefCell::new(Vec::new()));
        executor.run_until(async {
            let file = Rc::new(open(&disk, "/d/f").await);
            let writers = (0..3u8).map(|i| {
                let (file, ended) = (file.clone(), ended.clone());
                executor.spawn(async move {
                    write(&file, u64::from(i) * PAGE, &[i]).await;
                    ended.borrow_mut().push(i);
                })
            });
            for writer in writers.collect::<Vec<_>>() {
                writer.await;
            }
        });
        ended.take()
    });
    assert_eq!(seen.len(), 6, "{seen:?}");
}

#[test]
fn nothing_of_the_old_handle_completes_after_a_crash() {
    outcomes(|executor, disk| {
        let file = executor.run_until(open(&disk, "/d/f"));
        let at = disk.monotonic() + micros(100);
        disk.plan_crash(CrashPoint::Time(at));
        let (sleeper, user) = (disk.clone(), disk.clone());
        let sleep = executor.spawn(async move { sleeper.sleep(micros(1000)).await });
        let work = executor.spawn(async move {
            while let Ok(()) = file.write_at(0, filled(&[1])).await {}
            drop(user);
        });
        assert_eq!(executor.run_until_or_crash(&disk, std::future::pending::<()>()), None);
        assert_eq!(disk.monotonic(), at);
        let (operations, hash) = (disk.operations(), disk.trace_hash());
        let after = executor.spawn({
            let disk = disk.clone();
            async move { disk.list(Path::new("/")).await.is_ok() }
        });
        executor.run_for(Duration::from_secs(1));
        assert!(!sleep.is_finished() && !work.is_finished() && !after.is_finished());
        assert_eq!((disk.operations(), disk.trace_hash()), (operations, hash));

        executor.abandon_tasks();
        let disk = disk.crash();
        assert_eq!((disk.is_crashed(), disk.monotonic()), (false, Duration::ZERO));
        assert_eq!(executor.run_until(disk.list(Path::new("/"))).unwrap(), ["d"]);
    });
}

/// Polls once, with no one to wake.
fn poll_once<T>(future: std::pin::Pin<&mut impl Future<Output = T>>) -> Poll<T> {
    future.poll(&mut std::task::Context::from_waker(Waker::noop()))
}

#[test]
fn what_had_ended_but_was_not_seen_before_the_crash_is_never_seen() {
    for crash in [false, true] {
        let (executor, disk) = disk(1);
        let mut listing = pin!(disk.list(Path::new("/")));
        assert!(poll_once(listing.as_mut()).is_pending());
        executor.run_for(Duration::from_secs(1));
        if crash {
            drop(disk.crash());
        }
        assert_eq!(poll_once(listing.as_mut()).is_pending(), crash);
    }
}

#[test]
fn an_operation_that_no_one_waits_for_ends_all_the_same() {
    let (executor, disk) = disk(1);
    set_latency(&disk, 1_000_000, 1);
    let removed = executor.run_until(async {
        let (kept, removed) = (open(&disk, "/d/kept").await, open(&disk, "/d/removed").await);
        assert!(poll_once(pin!(kept.write_at(0, filled(&[1])))).is_pending());
        assert!(poll_once(pin!(removed.write_at(0, filled(&[1])))).is_pending());
        drop((kept, removed));
        disk.remove(Path::new("/d/removed")).await.unwrap();
        sync_dir(&disk, "/d").await;
        (bytes(&disk, "/d/kept"), bytes(&disk, "/d/removed"))
    });
    assert_eq!(removed, (Some(Vec::new()), None));
    executor.run_for(Duration::from_secs(2));
    assert_eq!(bytes(&disk, "/d/kept"), Some(filled(&[1]).0));
}

#[test]
fn a_crash_at_an_operation_finds_it_under_way() {
    let seen = outcomes(|executor, disk| {
        disk.plan_crash(CrashPoint::Operation(3));
        let ended = Rc::new(RefCell::new(0));
        let finished = executor.run_until_or_crash(&disk, async {
            loop {
                drop(open(&disk, &format!("/d/{}", ended.borrow())).await);
                sync_dir(&disk, "/d").await;
                *ended.borrow_mut() += 2;
            }
        });
        assert_eq!((finished, *ended.borrow(), disk.operations()), (None::<()>, 2, 3));
        let disk = disk.crash();
        assert_eq!(disk.operations(), 0);
        disk.file_sizes().len()
    });
    // The create under way happened, or not; the one before was synced.
    assert_eq!(seen, set([1, 2]));
}

#[test]
fn one_crash_has_many_outcomes() {
    let (executor, disk) = disk(1);
    executor.run_until(async { write(&open(&disk, "/d/f").await, 0, &[1]).await });
    let seen: BTreeSet<_> = (0..50).map(|_| bytes(&disk.crash(), "/d/f")).collect();
    assert!(seen.len() > 5);
    assert_eq!(bytes(&disk, "/d/f"), Some(filled(&[1]).0), "the crashed disk itself is as it was");
}

#[test]
fn what_a_kill_leaves_is_visible_but_no_more_durable_than_before() {
    let seen = outcomes(|executor, disk| {
        disk.install_file(Path::new("/d/f"), &filled(&[1, 1]).0).unwrap();
        executor.run_until(async {
            let file = Rc::new(open(&disk, "/d/f").await);
            write(&file, 0, &[2]).await;
            let interrupted = file.clone();
            executor.spawn(async move { write(&interrupted, PAGE, &[3]).await });
            executor.clock().sleep(Duration::from_nanos(1)).await;
        });
        let disk = disk.kill();
        executor.abandon_tasks();
        let visible = bytes(&disk, "/d/f").unwrap();
        assert_eq!(visible[..ALIGNMENT], filled(&[2]).0);
        (visible[ALIGNMENT], first(&disk.crash(), "/d/f").unwrap())
    });
    assert_eq!(seen, set([(1, 1), (1, 2), (3, 1), (3, 2)]));
}

#[test]
fn stalls_delay_and_errors_strike_by_chance() {
    let (executor, disk) = disk(1);
    let time = |disk: &SimDisk| {
        let start = disk.monotonic();
        executor.run_until(disk.list(Path::new("/"))).unwrap();
        disk.monotonic() - start
    };
    let usual = (0..100).map(|_| time(&disk)).max().unwrap();
    disk.set_faults(Faults { stall_ppm: PPM / 2, stall_max: Duration::from_secs(1), ..Faults::default() });
    let stalled = (0..100).filter(|_| time(&disk) > usual).count();
    assert!((20..80).contains(&stalled), "{stalled}");

    let faults = Faults {
        read_error_ppm: PPM / 2,
        write_error_ppm: PPM / 2,
        sync_error_ppm: PPM / 2,
        metadata_error_ppm: PPM / 2,
        ..Faults::default()
    };
    let file = executor.run_until(open(&disk, "/d/f"));
    disk.set_faults(faults);
    let mut failed = [0; 4];
    for _ in 0..100 {
        executor.run_until(async {
            failed[0] += u32::from(file.read_at(0, ALIGNMENT).await.is_err());
            failed[1] += u32::from(file.write_at(0, filled(&[1])).await.is_err());
            failed[2] += u32::from(file.sync_data().await.is_err());
            failed[3] += u32::from(disk.sync_dir(Path::new("/d")).await.is_err());
        });
    }
    assert!(failed.iter().all(|count| (20..80).contains(count)), "{failed:?}");
}

#[test]
fn counts_and_the_trace_tell_what_was_done() {
    let executor = SimExecutor::new(1);
    let disk = SimDisk::new(&executor.clock(), 1, SimOptions { keep_trace: true, ..SimOptions::default() });
    executor.run_until(async {
        let file = open(&disk, "/f").await;
        write(&file, 0, &[1, 2]).await;
        file.sync_data().await.unwrap();
    });
    assert_eq!((disk.count(OperationKind::Write), disk.written_bytes()), (1, 2 * PAGE));
    assert_eq!((disk.count(OperationKind::Sync), disk.count(OperationKind::Read)), (1, 0));
    let trace = disk.trace();
    assert_eq!(trace.len(), 6, "{trace:#?}");
    assert!(trace[2].contains("#2 write /f 0+8192 crc "), "{trace:#?}");
    assert!(trace[5].ends_with("#3 ended: Ok(Done)"), "{trace:#?}");
}

/// A small engine of no sense: four writers, every fault, three crashes.
fn history(seed: u64) -> (u64, u64, Vec<(PathBuf, u64)>) {
    let (executor, mut disk) = disk(seed);
    disk.set_capacity(Some(40 * PAGE));
    for round in 0..3 {
        disk.set_faults(Faults {
            read_error_ppm: 20_000,
            write_error_ppm: 20_000,
            sync_error_ppm: 20_000,
            metadata_error_ppm: 20_000,
            stall_ppm: 50_000,
            stall_max: micros(5000),
        });
        disk.plan_crash(CrashPoint::Operation(60));
        for writer in 0..4 {
            let disk = disk.clone();
            let mut random = Random::new(seed ^ (round * 4 + writer));
            executor.spawn(async move {
                let path = PathBuf::from(format!("/d/{writer}"));
                let renamed = PathBuf::from(format!("/d/{writer}.renamed"));
                loop {
                    let Ok(file) = disk.open(&path, OpenMode::OpenOrCreate).await else { continue };
                    for _ in 0..random.below(5) {
                        let position = random.below(8) * PAGE;
                        let _ignored = match random.below(4) {
                            0 => file.sync_data().await,
                            1 => file.read_at(position, ALIGNMENT).await.map(drop),
                            2 => file.preallocate(position).await,
                            _ => file.write_at(position, filled(&[random.below(256) as u8])).await,
                        };
                    }
                    let _ignored = match random.below(3) {
                        0 => disk.rename(&path, &renamed).await,
                        1 => disk.remove(&renamed).await,
                        _ => disk.sync_dir(Path::new("/d")).await,
                    };
                }
            });
        }
        executor.run_until(disk.crashed());
        executor.abandon_tasks();
        disk = if round == 1 { disk.kill() } else { disk.crash() };
    }
    (executor.trace_hash(), disk.trace_hash(), disk.file_sizes().into_iter().collect())
}

#[test]
fn the_same_seed_gives_the_same_history_and_another_seed_another() {
    let histories: Vec<_> = (0..100).map(history).collect();
    assert_eq!(histories, (0..100).map(history).collect::<Vec<_>>());
    let different: BTreeSet<_> = histories.iter().map(|history| (history.0, history.1)).collect();
    assert_eq!(different.len(), histories.len());
}
