//! One partition's client: appends, waits, reads, deletes, and holds every answer against the model.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Duration;

use corelog::disk::Disk;
use corelog::disk::sim::{Random, SimDisk};
use corelog::record::{BatchHeader, set_placement};
use corelog::storage::journal::commit::Commit;
use corelog::storage::log::{Log, LogReadError, Retention};
use corelog::storage::segment::ReadError;
use corelog::storage::{AppendError, Storage};
use corelog::vocabulary::{Offset, PartitionId, ShardId};

use super::model::{Folded, Model, Modelled, Proofs, Sent, batch, bytes_of, directory, from_offset, is_as_sent};
use super::trouble::{Damage, Trouble};

/// How long appends may be refused after a full disk has room again.
const ROOM_SEEN_WITHIN: Duration = Duration::from_secs(10);
/// How often a client asks again while the disk is full.
const RETRY_PAUSE: Duration = Duration::from_millis(200);

/// What all clients of a run share.
pub struct Stage {
    pub model: Model,
    pub live: Rc<RefCell<Folded>>,
    pub proofs: Rc<RefCell<Proofs>>,
    pub disk: SimDisk,
    pub trouble: Trouble,
    /// Whether reads may fail with an error of the disk.
    pub reads_may_fail: bool,
    /// What was done to segments while they were in use.
    pub damage: Rc<RefCell<Option<Damage>>>,
    /// When the disk had room again, if it was full.
    pub room_since: Cell<Option<Duration>>,
}

impl Stage {
    /// Whether a read may end with this error: only with one that was caused, and that names its cause.
    fn excuses(&self, error: &LogReadError) -> bool {
        match error {
            LogReadError::OutOfRange { .. } => false,
            LogReadError::Segment(ReadError::Disk(error)) => self.reads_may_fail && !error.is_not_found(),
            LogReadError::Segment(ReadError::Damaged { path, .. }) => {
                self.damage.borrow().as_ref().is_some_and(|damage| damage.is_in(path))
            }
        }
    }
}

/// Why a client ends before its time: its shard takes no appends any more.
struct Fenced;

pub struct Producer {
    pub id: PartitionId,
    pub shard: ShardId,
    pub storage: Storage<SimDisk>,
    pub random: Random,
    pub stage: Rc<Stage>,
}

impl Producer {
    pub async fn run(mut self, count: u64) {
        if self.produce(count).await.is_ok() {
            return;
        }
        assert_eq!(self.stage.trouble, Trouble::FailingDisk, "shard {} is fenced for no reason", self.shard);
        assert!(self.storage.fenced().is_some());
        // Nothing is taken any more, and all that was acknowledged can be read.
        let log = self.storage.open_log(self.id, &directory(self.id));
        let bytes = batch(&mut self.random, 1);
        let header = BatchHeader::parse(&bytes).unwrap();
        let refused = self.storage.append(&log, bytes, &header, 3).err();
        assert!(matches!(refused, Some(AppendError::Fenced(_))), "a fenced shard appends: {refused:?}");
        self.read_all_acknowledged(&log).await;
    }

    async fn produce(&mut self, count: u64) -> Result<(), Fenced> {
        let log = self.storage.open_log(self.id, &directory(self.id));
        let mut commits = Vec::new();
        for _ in 0..count {
            let records = 1 + self.random.index(5) as i32;
            let bytes = batch(&mut self.random, records);
            let header = BatchHeader::parse(&bytes).unwrap();
            let appended = loop {
                match self.storage.append(&log, bytes.clone(), &header, 3) {
                    Ok(appended) => break appended,
                    Err(AppendError::DiskFull) => self.wait_for_room().await,
                    Err(AppendError::Fenced(_)) => return Err(Fenced),
                    Err(error) => panic!("partition {}: {error}", self.id.index),
                }
            };
            self.stage.live.borrow_mut().fold(self.id, &header, appended.base_offset);
            let block = (self.shard, appended.commit.sequence());
            self.stage.proofs.borrow_mut().appended(block);
            let mut placed = bytes.to_vec();
            set_placement(&mut placed, appended.base_offset, 3);
            let at = {
                let mut model = self.stage.model.borrow_mut();
                let sent = &mut model.entry(self.id.index).or_default().sent;
                sent.push(Sent {
                    base_offset: appended.base_offset,
                    bytes: placed,
                    acknowledged: false,
                    block: Some(block),
                });
                sent.len() - 1
            };
            commits.push((at, appended.commit));
            if commits.len() > self.random.index(6) {
                self.acknowledge(&mut commits).await?;
            }
            match self.random.below(12) {
                0 => self.stage.disk.sleep(Duration::from_micros(self.random.below(3000))).await,
                1 => self.read_somewhere(&log).await,
                2 => self.delete_some(&log).await?,
                _ => {}
            }
        }
        self.acknowledge(&mut commits).await
    }

    async fn wait_for_room(&self) {
        assert_eq!(self.stage.trouble, Trouble::FullDisk, "the disk is not full");
        let now = self.stage.disk.monotonic();
        if let Some(since) = self.stage.room_since.get() {
            assert!(now < since + ROOM_SEEN_WITHIN, "appends are not taken again although there is room");
        }
        self.stage.disk.sleep(RETRY_PAUSE).await;
    }

    /// A reader at any place sees what was sent, and nothing that is not durable.
    async fn read_somewhere(&mut self, log: &Rc<Log<SimDisk>>) {
        let (start, end) = (log.start(), log.durable().offset);
        let offset = start + self.random.below((end - start) as u64 + 1) as i64;
        let max_bytes = 1 + self.random.index(30_000);
        let read = match self.storage.read(log, offset, max_bytes).await {
            Ok(records) => records.to_bytes(),
            Err(error) if self.stage.excuses(&error) => return,
            Err(error) => panic!("partition {} at offset {offset}: {error}", self.id.index),
        };
        let durable = log.durable().offset;
        let mut model = self.stage.model.borrow_mut();
        let from = from_offset(&model[&self.id.index].sent, offset).take_while(|batch| batch.base_offset < durable);
        let expected = bytes_of(from, read.len());
        let is_whole = expected.len() == read.len();
        let damage = self.stage.trouble == Trouble::Damage;
        assert!(
            is_whole && is_as_sent(&read, &expected, damage),
            "partition {} has other bytes at offset {offset}",
            self.id.index
        );
        assert!(!read.is_empty() || offset == end, "partition {} has nothing at offset {offset}", self.id.index);
        let last = from_offset(&model[&self.id.index].sent, offset).take_while(|batch| batch.base_offset < durable);
        let mut len = 0;
        let read_to = last.take_while(|batch| {
            len += batch.bytes.len();
            len <= read.len()
        });
        let seen = read_to.last().map(|batch| BatchHeader::parse(&batch.bytes).unwrap().next_offset());
        if let Some(modelled) = model.get_mut(&self.id.index) {
            modelled.seen = modelled.seen.max(seen.unwrap_or(0));
        }
    }

    async fn read_all_acknowledged(&self, log: &Rc<Log<SimDisk>>) {
        let (start, end) = (log.start(), log.durable().offset);
        let expected = {
            let model = self.stage.model.borrow();
            let Some(modelled) = model.get(&self.id.index) else { return };
            let lost = modelled.sent.iter().find(|batch| batch.acknowledged && batch.base_offset >= end);
            if let Some(lost) = lost {
                panic!("partition {} ends at {end}, {} was acknowledged", self.id.index, lost.base_offset);
            }
            let durable = from_offset(&modelled.sent, start).take_while(|batch| batch.base_offset < end);
            bytes_of(durable, usize::MAX)
        };
        match read_all(&self.storage, self.id, 1 << 20).await {
            Ok(found) => assert!(found == expected, "partition {} reads other bytes once fenced", self.id.index),
            Err(error) => assert!(self.stage.excuses(&error), "partition {} once fenced: {error}", self.id.index),
        }
    }

    /// Moves the log's start, by hand or because there is too much, and removes what lies before it.
    async fn delete_some(&mut self, log: &Rc<Log<SimDisk>>) -> Result<(), Fenced> {
        let (start, end) = (log.start(), log.durable().offset);
        let offset = if self.random.below(4) == 0 {
            end
        } else if self.random.below(2) == 0 {
            start + self.random.below((end - start) as u64 + 1) as i64
        } else {
            let bytes = Some(self.random.below(60_000));
            let expired_before = (self.random.below(2) == 0).then(|| self.random.below(1000) as i64);
            let retention = Retention { bytes, expired_before };
            match log.retained_from(self.storage.disk(), retention).await {
                Ok(offset) => offset,
                Err(error) if self.stage.excuses(&error) => return Ok(()),
                Err(error) => panic!("partition {}: {error}", self.id.index),
            }
        };
        let modelled =
            |change: &dyn Fn(&mut Modelled)| change(self.stage.model.borrow_mut().entry(self.id.index).or_default());
        modelled(&|modelled| modelled.start_asked = modelled.start_asked.max(offset));
        let commit = match self.storage.raise_start(log, offset, 3) {
            Ok(commit) => commit,
            Err(AppendError::Fenced(_)) => return Err(Fenced),
            Err(error) => panic!("partition {}: {error}", self.id.index),
        };
        let block = (self.shard, commit.sequence());
        self.stage.proofs.borrow_mut().appended(block);
        commit.durable().await.map_err(|_| Fenced)?;
        self.stage.proofs.borrow_mut().acknowledged(block);
        modelled(&|modelled| {
            if offset > modelled.start {
                modelled.start = offset;
                modelled.start_blocks.push(block);
            }
        });
        // The second time there is nothing more to remove.
        for _ in 0..2 {
            match self.storage.trim(log).await {
                Ok(_) => {}
                Err(LogReadError::Segment(ReadError::Disk(error))) if self.stage.trouble == Trouble::FailingDisk => {
                    // Whatever else failed, nothing may go on behind a failed sync.
                    assert!(error.operation != "sync" || self.storage.fenced().is_some(), "{error}, and on it goes");
                }
                Err(error) => panic!("partition {}: {error}", self.id.index),
            }
        }
        Ok(())
    }

    async fn acknowledge(&self, commits: &mut Vec<(usize, Rc<Commit>)>) -> Result<(), Fenced> {
        let mut fenced = false;
        for (at, commit) in commits.drain(..) {
            let was_fenced = self.storage.fenced().is_some() && !commit.is_done();
            match commit.durable().await {
                Ok(()) => {
                    assert!(!was_fenced, "a fenced shard acknowledges");
                    let mut model = self.stage.model.borrow_mut();
                    model.get_mut(&self.id.index).expect("it has sent something").sent[at].acknowledged = true;
                    self.stage.proofs.borrow_mut().acknowledged((self.shard, commit.sequence()));
                }
                Err(_) => fenced = true,
            }
        }
        if fenced { Err(Fenced) } else { Ok(()) }
    }
}

/// Everything from the log's start to its durable end.
pub async fn read_all(storage: &Storage<SimDisk>, id: PartitionId, max_bytes: usize) -> Result<Vec<u8>, LogReadError> {
    let log = storage.open_log(id, &directory(id));
    let mut found = Vec::new();
    let mut offset: Offset = log.start();
    while offset < log.durable().offset {
        let bytes = storage.read(&log, offset, max_bytes).await?.to_bytes();
        assert!(!bytes.is_empty(), "partition {} has nothing at offset {offset}", id.index);
        let mut at = 0;
        while at < bytes.len() {
            let header = BatchHeader::parse(&bytes[at..]).unwrap();
            // The log may start inside a batch.
            let is_next = header.base_offset == offset || (offset == log.start() && header.base_offset < offset);
            assert!(is_next && header.next_offset() > offset, "partition {} at offset {offset}", id.index);
            offset = header.next_offset();
            at += header.total_len();
        }
        found.extend_from_slice(&bytes);
    }
    Ok(found)
}
