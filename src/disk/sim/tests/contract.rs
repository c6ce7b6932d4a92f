//! What panics at once, because it is the engine's bug.

use super::*;

/// Runs a story on a disk with `/d/f` open.
fn story<F: Future>(story: impl FnOnce(SimDisk, SimFile) -> F) {
    let (executor, disk) = disk(1);
    executor.run_until(async {
        let file = open(&disk, "/d/f").await;
        write(&file, 0, &[1, 1]).await;
        story(disk, file).await;
    });
}

#[test]
#[should_panic(expected = "disk contract: unaligned buffer of 4095 bytes")]
fn an_unaligned_buffer() {
    story(|_, file| async move { file.allocate(ALIGNMENT - 1) });
}

#[test]
#[should_panic(expected = "disk contract: unaligned write of 4096 bytes at 512 of /d/f")]
fn an_unaligned_write() {
    story(|_, file| async move { file.write_at(512, filled(&[1])).await });
}

#[test]
#[should_panic(expected = "disk contract: unaligned read of 512 bytes at 0 of /d/f")]
fn an_unaligned_read() {
    story(|_, file| async move { file.read_at(0, 512).await.map(drop) });
}

#[test]
#[should_panic(expected = "overlaps one of 8192 bytes at 0 that is under way")]
fn overlapping_writes() {
    story(|_, file| async move { both(file.write_at(0, filled(&[1, 1])), file.write_at(PAGE, filled(&[2]))).await });
}

#[test]
#[should_panic(expected = "overlaps one of 4096 bytes at 0 that is under way")]
fn a_write_over_one_that_was_given_up() {
    story(|_, file| async move {
        {
            let mut given_up = pin!(file.write_at(0, filled(&[1])));
            poll_fn(|context| Poll::Ready(given_up.as_mut().poll(context).is_pending())).await;
        }
        file.write_at(0, filled(&[2])).await
    });
}

#[test]
fn neighbouring_writes_are_no_overlap() {
    story(|_, file| async move { both(write(&file, 0, &[1, 1]), write(&file, 2 * PAGE, &[2])).await });
}

#[test]
#[should_panic(expected = "/d/f is cut to 0 while a write of 4096 bytes at 0 is under way")]
fn a_truncation_below_a_write() {
    story(|_, file| async move { both(file.write_at(0, filled(&[1])), file.set_len(0)).await });
}

#[test]
#[should_panic(expected = "write of 4096 bytes at 0 of /d/f while it is cut to 5")]
fn a_write_above_a_truncation() {
    story(|_, file| async move { both(file.set_len(5), file.write_at(0, filled(&[1]))).await });
}

#[test]
#[should_panic(expected = "disk contract: open /d/x/g, but /d was removed and not made again")]
fn a_file_made_in_a_removed_directory() {
    story(|disk, _| async move {
        disk.remove_dir_all(Path::new("/d")).await.unwrap();
        open(&disk, "/d/x/g").await
    });
}

#[test]
#[should_panic(expected = "disk contract: sync /d, but /d was removed and not made again")]
fn a_sync_of_a_removed_directory() {
    story(|disk, _| async move {
        disk.remove_dir_all(Path::new("/d")).await.unwrap();
        sync_dir(&disk, "/d").await;
    });
}

#[test]
fn a_directory_whose_removal_the_crash_undid_is_no_bug() {
    let seen = outcomes(|executor, disk| {
        executor.run_until(disk.remove_dir_all(Path::new("/d"))).unwrap();
        executor.run_until(disk.crash().sync_dir(Path::new("/d"))).is_ok()
    });
    assert_eq!(seen, set([false, true]));
}

#[test]
#[should_panic(expected = "disk contract: \"/d/../f\" is not a plain path")]
fn a_path_that_goes_up() {
    story(|disk, _| async move { open(&disk, "/d/../f").await });
}
