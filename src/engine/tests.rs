use std::time::Duration;

use super::*;
use crate::record::{BatchBuilder, records, split_batches};
use crate::storage::journal::writer::JournalOptions;
use crate::vocabulary::TopicId;

fn options() -> StorageOptions {
    let journal = JournalOptions { file_bytes: 1 << 20, files_max: 2, block_bytes_max: 64 << 10 };
    StorageOptions { journal, cache_bytes: 1 << 20, segment_bytes: 1 << 20, open_files_max: 8 }
}

/// Direct I/O needs a real file system: the build's own directory is on one, `/tmp` may be a tmpfs.
fn on_executor<F: Future<Output = ()> + 'static>(test: impl FnOnce(PathBuf) -> F + Send + 'static) {
    let directory = tempfile::tempdir_in(env!("CARGO_MANIFEST_DIR")).unwrap();
    let data_dir = directory.path().join("data");
    crate::executor::run("test", move || test(data_dir)).unwrap();
}

fn id(index: i32) -> PartitionId {
    PartitionId { topic_id: TopicId([5; 16]), index }
}

fn batch(values: &[&str]) -> Bytes {
    let mut builder = BatchBuilder::new();
    for value in values {
        builder.append(1, None, Some(value.as_bytes()), &[]);
    }
    builder.build().unwrap()
}

fn values(found: &Records) -> Vec<(Offset, String)> {
    let batches = split_batches(&found.to_bytes()).map(|batch| batch.unwrap().1).collect::<Vec<_>>();
    let all = batches.iter().flat_map(|batch| records(batch).unwrap().map(Result::unwrap));
    all.map(|record| (record.offset, String::from_utf8(record.value.unwrap().to_vec()).unwrap())).collect()
}

#[test]
fn what_was_appended_is_there_after_a_drop_and_after_a_close() {
    on_executor(async |data_dir| {
        for round in 0..3 {
            let engine = Engine::open(&data_dir, options()).await.unwrap();
            for index in 0..2 {
                let log = engine.log(id(index));
                assert_eq!(engine.append(&log, batch(&["a", "b"])).await.unwrap(), 2 * round);
                let mut found = Vec::new();
                while found.len() < 2 * round as usize + 2 {
                    // A read ends with its segment, and each run begins a new one.
                    found.extend(values(&engine.read(&log, found.len() as Offset, 1 << 20).await.unwrap()));
                }
                assert!(found.iter().enumerate().all(|(at, (offset, _))| at as i64 == *offset));
                assert!(found.chunks(2).all(|pair| pair[0].1 == "a" && pair[1].1 == "b"));
                assert!(engine.read(&log, 2 * round + 2, 1).await.unwrap().is_empty());
            }
            if round == 1 {
                engine.close().await.unwrap();
                let after = engine.append(&engine.log(id(0)), batch(&["late"])).await;
                assert!(matches!(after, Err(AppendBatchError::Append(AppendError::Fenced(_)))));
            }
        }
    });
}

#[test]
fn one_task_has_many_appends_wait_for_one_sync() {
    on_executor(async |data_dir| {
        let engine = Engine::open(&data_dir, options()).await.unwrap();
        let log = engine.log(id(0));
        let begun: Vec<Appended> = (0..100).map(|_| engine.begin_append(&log, batch(&["x"])).unwrap()).collect();
        assert_eq!(log.durable().offset, 0, "nothing is durable before the executor has run");
        for (at, appended) in begun.iter().enumerate() {
            appended.commit.durable().await.unwrap();
            assert_eq!(appended.base_offset, at as i64);
        }
        assert!(begun.iter().map(|one| one.commit.sequence()).max() <= Some(2), "one block, or two");
        engine.close().await.unwrap();
    });
}

#[test]
fn a_follower_gets_what_comes_and_ends_with_the_engine() {
    on_executor(async |data_dir| {
        let engine = Rc::new(Engine::open(&data_dir, options()).await.unwrap());
        let log = engine.log(id(0));
        let follower = {
            let (engine, log) = (engine.clone(), log.clone());
            glommio::spawn_local(async move {
                let mut seen = Vec::new();
                let mut next = 0;
                loop {
                    match engine.follow(&log, next, 1).await {
                        Ok(found) => seen.extend(values(&found)),
                        Err(error) => return (seen, error),
                    }
                    next = seen.last().unwrap().0 + 1;
                }
            })
        };
        glommio::timer::sleep(Duration::from_millis(5)).await;
        for value in ["a", "b", "c"] {
            engine.append(&log, batch(&[value])).await.unwrap();
        }
        assert!(matches!(engine.follow(&log, 4, 1).await, Err(FollowError::Read(LogReadError::OutOfRange { .. }))));
        engine.close().await.unwrap();
        let (seen, error) = follower.await;
        assert_eq!(seen, [(0, "a".into()), (1, "b".into()), (2, "c".into())]);
        assert!(matches!(error, FollowError::Fenced(_)), "{error}");
    });
}

#[test]
fn deleted_records_stay_deleted() {
    on_executor(async |data_dir| {
        let engine = Engine::open(&data_dir, options()).await.unwrap();
        let log = engine.log(id(0));
        engine.append(&log, batch(&["a", "b", "c"])).await.unwrap();
        let behind = engine.delete_before(&log, 4).await;
        assert!(matches!(behind, Err(DeleteError::BehindEnd { offset: 4, end: 3 })));
        engine.delete_before(&log, 2).await.unwrap();
        drop((log, engine));
        let engine = Engine::open(&data_dir, options()).await.unwrap();
        let log = engine.log(id(0));
        assert_eq!((log.start(), log.durable().offset), (2, 3));
        assert!(matches!(engine.read(&log, 1, 1).await, Err(LogReadError::OutOfRange { .. })));
        engine.close().await.unwrap();
    });
}

#[test]
fn what_is_no_whole_batch_is_refused() {
    on_executor(async |data_dir| {
        let engine = Engine::open(&data_dir, options()).await.unwrap();
        let log = engine.log(id(0));
        let good = batch(&["a"]);
        let append = |bytes: Bytes| engine.begin_append(&log, bytes).map(|appended| appended.base_offset);
        assert!(matches!(append(good.slice(..60)), Err(AppendBatchError::Batch(BatchError::CutShort { .. }))));
        assert!(matches!(
            append(good.slice(..good.len() - 1)),
            Err(AppendBatchError::Batch(BatchError::CutShort { .. }))
        ));
        let twice: Bytes = [&good[..], &good[..]].concat().into();
        assert!(matches!(append(twice), Err(AppendBatchError::TrailingBytes(bytes)) if bytes == good.len()));
        let mut damaged = good.to_vec();
        *damaged.last_mut().unwrap() ^= 1;
        assert!(matches!(append(damaged.into()), Err(AppendBatchError::BadCrc)));
        assert_eq!(append(good).unwrap(), 0);
        engine.close().await.unwrap();
    });
}

#[test]
fn a_directory_has_one_engine_and_a_brokers_has_none() {
    on_executor(async |data_dir| {
        let engine = Engine::open(&data_dir, options()).await.unwrap();
        let second = Engine::open(&data_dir, options()).await;
        assert!(matches!(second.err(), Some(OpenError::Lock(LockError::InUse(_)))));
        engine.close().await.unwrap();
        drop(engine);
        std::fs::create_dir(data_dir.join(TOPICS_DIRECTORY)).unwrap();
        assert!(matches!(Engine::open(&data_dir, options()).await.err(), Some(OpenError::Brokers(_))));
    });
}
