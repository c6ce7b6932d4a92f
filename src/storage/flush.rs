//! The engine's background work: writing segments, freeing journal files, keeping the cache in its budget.

use std::rc::Rc;
use std::time::Duration;

use super::log::Log;
use super::mutation::{self, Mutation};
use super::notify::for_each_concurrent;
use super::segment::Flush;
use super::{Engine, StopError};
use crate::disk::{Disk, DiskError};

/// How many partitions are flushed at once: enough for the file system to commit several files' sizes together.
const FLUSHES_MAX: usize = 16;
/// How many at the end, when nothing else wants the disk.
const LAST_FLUSHES_MAX: usize = 256;
/// How long a full disk is left alone before the next try.
const FULL_DISK_PAUSE: Duration = Duration::from_secs(1);

impl<D: Disk> Engine<D> {
    /// Writes chunks as they fill.
    pub(super) async fn write_full_chunks(self: Rc<Self>) {
        loop {
            let next = self.full.borrow_mut().pop_front();
            let Some(segment) = next else {
                if self.stopping.get() || self.journal.fenced().is_some() {
                    return;
                }
                self.filled.notified().await;
                continue;
            };
            loop {
                match segment.flush(&self.disk, Flush::FullChunks).await {
                    Ok(()) => break,
                    // The files of a deleted partition may be gone: nobody will miss what was not written.
                    Err(error) if error.is_not_found() => break,
                    Err(error) => {
                        if !self.survives(&error).await {
                            return;
                        }
                    }
                }
            }
            self.evictable.borrow_mut().push_back(Rc::downgrade(&segment));
            self.evict();
        }
    }

    /// Frees the oldest journal file whenever its room is needed.
    pub(super) async fn release_journal_files(self: Rc<Self>) {
        loop {
            if self.journal.fenced().is_some() {
                return;
            }
            let Some(file) = self.journal.to_release() else {
                self.journal.progress.notified().await;
                continue;
            };
            let laggards = if mutation::is(Mutation::ReleasesWithoutFlush) { Vec::new() } else { file.laggards() };
            let flushes = laggards.iter().map(|log| self.flush_log(log));
            if for_each_concurrent(flushes, FLUSHES_MAX).await.is_err() {
                return;
            }
            for log in laggards {
                let tails = log.segments();
                self.evictable.borrow_mut().extend(tails.iter().map(Rc::downgrade));
            }
            self.evict();
            let (incarnation, last) = (file.incarnation, file.last_sequence());
            let checkpoint = async {
                match mutation::is(Mutation::ReleasesWithoutCheckpoint) {
                    true => Ok(()),
                    false => self.write_checkpoint(incarnation, last + 1).await,
                }
            };
            if let Err(error) = checkpoint.await {
                match error {
                    StopError::Fenced(_) => return,
                    StopError::Disk(error) => {
                        if !self.survives(&error).await {
                            return;
                        }
                    }
                }
                continue;
            }
            if let Err(error) = self.journal.release(file).await {
                self.journal.fence(&error.to_string());
                return;
            }
        }
    }

    /// Flushes one log, however long the disk is full. An error means that the shard is fenced.
    async fn flush_log(&self, log: &Rc<Log<D>>) -> Result<(), DiskError> {
        loop {
            match log.flush(&self.disk).await {
                Ok(()) => return Ok(()),
                Err(error) => {
                    if !self.survives(&error).await {
                        return Err(error);
                    }
                }
            }
        }
    }

    /// Flushes one log; an error fences the shard, unless the disk is full. A failed sync has lost what it covered: the
    /// next one would succeed, and a checkpoint after it would name what is gone.
    pub(super) async fn flush_once(&self, log: &Rc<Log<D>>) -> Result<(), DiskError> {
        let flushed = log.flush(&self.disk).await;
        if let Err(error) = &flushed
            && !error.is_full()
        {
            self.fence(error);
        }
        flushed
    }

    /// Flushes all logs.
    pub(super) async fn flush_everything(&self) -> Result<(), DiskError> {
        let logs: Vec<_> = self.logs.borrow().values().cloned().collect();
        for_each_concurrent(logs.iter().map(|log| self.flush_once(log)), LAST_FLUSHES_MAX).await
    }

    /// Keeps the reserve as large as the journal, and appends refused while it cannot be.
    pub(super) async fn keep_room(self: Rc<Self>) {
        loop {
            if self.journal.fenced().is_some() || self.stopping.get() {
                return;
            }
            let wanted = self.journal.bytes();
            if self.reserve.held() < wanted && !self.disk_full.get() {
                match self.reserve.take(&self.disk, wanted).await {
                    Ok(()) => {}
                    Err(error) if error.is_full() => self.disk_full.set(true),
                    Err(error) => return self.fence(&error),
                }
                continue;
            }
            if self.journal.lacks_room() {
                if let Some(error) = self.reserve.release(&self.disk).await.err() {
                    return self.fence(&error);
                }
                self.disk_full.set(true);
            }
            if !self.disk_full.get() {
                self.journal.progress.notified().await;
                continue;
            }
            self.disk.sleep(FULL_DISK_PAUSE).await;
            if self.stopping.get() || self.journal.fenced().is_some() {
                return;
            }
            // Not before: until then the oldest file is freed instead, and has the room that the reserve gave.
            self.journal.try_for_room();
            match self.reserve.take(&self.disk, self.journal.bytes()).await {
                Ok(()) => self.disk_full.set(mutation::is(Mutation::StaysFull)),
                Err(error) if error.is_full() => {}
                Err(error) => return self.fence(&error),
            }
        }
    }

    fn fence(&self, error: &DiskError) {
        self.journal.fence(&error.to_string());
        self.filled.notify();
    }

    /// After a failed write of a segment: whether it is worth another try. A full disk passes, and appends are refused
    /// until it does; anything else fences the shard.
    async fn survives(&self, error: &DiskError) -> bool {
        if self.journal.fenced().is_some() {
            return false;
        }
        if !error.is_full() || mutation::is(Mutation::FencesOnFull) {
            self.fence(error);
            return false;
        }
        self.disk_full.set(true);
        match self.reserve.release(&self.disk).await {
            Ok(true) => {}
            Ok(false) => self.disk.sleep(FULL_DISK_PAUSE).await,
            Err(error) => {
                self.fence(&error);
                return false;
            }
        }
        // The one that is to make the reserve anew waits there.
        self.journal.progress.notify();
        true
    }

    /// Drops written chunks from memory, oldest first, until the cache is within its budget or none is left to drop.
    fn evict(&self) {
        let mut evictable = self.evictable.borrow_mut();
        for _ in 0..evictable.len() {
            if self.cached_bytes.get() <= self.options.cache_bytes {
                return;
            }
            let Some(segment) = evictable.pop_front().and_then(|segment| segment.upgrade()) else { continue };
            let freed = segment.evict_chunk();
            self.cached_bytes.set(self.cached_bytes.get().saturating_sub(freed));
        }
    }
}
