//! The steps of a cleaning.

use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;

use super::key_map::KeyMap;
use super::output::Output;
use super::rewrite::{Keys, RewriteError, Rules, rewrite};
use super::select::{Candidate, Extent, group, old_enough};
use super::{Cleaning, CompactionBounds, CompactionError, CompactionRules, Offload, clean_point, swap};
use crate::disk::{Disk, DiskResult};
use crate::storage::Storage;
use crate::storage::log::Log;
use crate::storage::segment::Segment;
use crate::vocabulary::{Offset, TimestampMs};

/// Read at once, bytes, unless a single batch is larger.
const PIECE_BYTES: u64 = 256 << 10;
/// The longest sleep before it is looked again whether to stop.
const SLEEP_MAX: Duration = Duration::from_millis(100);

/// A segment and what selection knows of it.
type Selected<D> = (Rc<Segment<D>>, Candidate);

/// What is given to each step.
struct Run<'a, D: Disk, O, S> {
    storage: &'a Storage<D>,
    log: &'a Rc<Log<D>>,
    offload: &'a O,
    stop: S,
    bytes_per_second: Option<f64>,
    began: Duration,
    bytes_moved: u64,
}

/// A cleaning was told to stop.
struct Stopped;

/// Why a step did not come to its end.
enum Ended {
    Stopped,
    Failed(CompactionError),
}

impl<E: Into<CompactionError>> From<E> for Ended {
    fn from(error: E) -> Ended {
        Ended::Failed(error.into())
    }
}

impl From<Stopped> for Ended {
    fn from(_: Stopped) -> Ended {
        Ended::Stopped
    }
}

impl<D: Disk> Storage<D> {
    /// Compacts a log, if `rules` say that it is due. `None` when it is not, or when `stop`, which is asked again and again,
    /// or the log's deletion ended it. Only one at a time works on a log; another gives `None`.
    ///
    /// # Errors
    /// See [`CompactionError`].
    pub async fn compact(
        &self,
        log: &Rc<Log<D>>,
        rules: &CompactionRules,
        bounds: &CompactionBounds,
        offload: &impl Offload,
        stop: impl Fn() -> bool,
    ) -> Result<Option<Cleaning>, CompactionError> {
        let Some(_alone) = log.begin_compaction() else { return Ok(None) };
        let began = self.disk().monotonic();
        let bytes_per_second = bounds.bytes_per_second;
        let mut run = Run { storage: self, log, offload, stop, bytes_per_second, began, bytes_moved: 0 };
        let cleaned = run.clean(rules, bounds).await;
        let counters = &self.engine.compaction_counters;
        let mut counted = counters.get();
        let result = match cleaned {
            Ok(cleaning) => {
                if let Some(cleaning) = &cleaning {
                    counted.add(cleaning);
                }
                Ok(cleaning)
            }
            Err(Ended::Stopped) => Ok(None),
            // Its files go while it is worked on.
            Err(Ended::Failed(_)) if log.is_deleted() => Ok(None),
            Err(Ended::Failed(error)) => {
                counted.failures += 1;
                if error.is_final() {
                    log.end_compactions();
                }
                Err(error)
            }
        };
        counters.set(counted);
        result
    }
}

impl<D: Disk, O: Offload, S: Fn() -> bool> Run<'_, D, O, S> {
    fn disk(&self) -> &D {
        self.storage.disk()
    }

    async fn clean(&mut self, rules: &CompactionRules, bounds: &CompactionBounds) -> Result<Option<Cleaning>, Ended> {
        let (storage, log) = (self.storage, self.log);
        log.list_older(self.disk()).await?;
        let now_ms = self.disk().wall_clock_ms();
        let rolling = storage.rolling(log);
        let age_max = rolling.after_ms.unwrap_or(i64::MAX).min(rules.max_lag_ms);
        log.roll_if_older(self.began, Duration::from_millis(age_max.unsigned_abs()));
        let first_dirty = self.first_dirty().await?;
        let limit = self.limit(first_dirty, rules, now_ms).await?;
        let due = match limit {
            Some(limit) => self.is_due(first_dirty, limit, rules, now_ms).await?,
            None => false,
        };
        let Some(limit) = limit.filter(|_| due) else { return Ok(None) };
        self.check()?;
        if limit > log.checkpointed_segment() {
            log.flush(self.disk()).await?;
            storage.engine.refresh_checkpoint().await?;
        }
        let limit = limit.min(log.checkpointed_segment());
        let selected: Vec<Selected<D>> =
            candidates(log).into_iter().filter(|(_, candidate)| candidate.end <= limit).collect();
        let Some(last) = selected.last().map(|(segment, _)| segment.clone()).filter(|_| limit > first_dirty) else {
            return Ok(None);
        };
        let keys = self.read_keys(&selected, first_dirty, limit, bounds.key_map_bytes).await?;
        let mut cleaning = Cleaning {
            // Behind the last key there may be offsets whose records an interrupted cleaning has dropped.
            clean_to: if keys.is_full() { keys.end() } else { limit },
            keys: keys.len() as u64,
            map_was_full: keys.is_full(),
            ..Cleaning::default()
        };
        let kept_batch = Some(last.last_batch(self.disk()).await?.base_offset);
        let rewriting = Rules { now_ms, delete_retention_ms: rules.delete_retention_ms, kept_batch };
        let all: Vec<Candidate> = selected.iter().map(|(_, candidate)| *candidate).collect();
        let mut keys = Some(keys);
        let mut rest = &selected[..];
        for group in group(&all, cleaning.clean_to, rolling.bytes) {
            let (sources, behind) = rest.split_at(group.len());
            rest = behind;
            self.clean_group(sources, &mut keys, rewriting, &mut cleaning).await?;
        }
        // Giving back a large table takes milliseconds.
        self.offload.run(move || drop(keys)).await;
        log.set_first_dirty(cleaning.clean_to);
        clean_point::write(self.disk(), log.directory(), cleaning.clean_to).await?;
        cleaning.duration = self.disk().monotonic() - self.began;
        Ok(Some(cleaning))
    }

    /// The first offset that is not clean, as an earlier cleaning left it.
    async fn first_dirty(&self) -> Result<Offset, Ended> {
        let log = self.log;
        let known = match log.first_dirty() {
            Some(known) => known,
            None => clean_point::read(self.disk(), log.directory()).await?.unwrap_or(0),
        };
        // One behind the end is of a log that lost its end, by the operator's will: all of it is looked at again.
        let known = if known > log.end().offset { 0 } else { known };
        log.set_first_dirty(known);
        Ok(known.max(log.start()))
    }

    /// Where what can be cleaned ends: at the end's segment, or at the first dirty one with young records.
    async fn limit(
        &self,
        first_dirty: Offset,
        rules: &CompactionRules,
        now_ms: TimestampMs,
    ) -> Result<Option<Offset>, Ended> {
        let end = self.log.end().segment;
        let all = candidates(self.log);
        let dirty: Vec<_> =
            all.iter().filter(|(_, candidate)| candidate.end <= end && candidate.end > first_dirty).collect();
        let mut count = dirty.len();
        if rules.min_lag_ms > 0 {
            let mut max = Vec::with_capacity(count);
            for (segment, _) in &dirty {
                max.push(segment.max_timestamp(self.disk()).await?.map(|(timestamp, _)| timestamp));
            }
            count = old_enough(&max, now_ms, rules.min_lag_ms);
        }
        Ok(dirty[..count].last().map(|(_, candidate)| candidate.end))
    }

    async fn is_due(
        &self,
        first_dirty: Offset,
        limit: Offset,
        rules: &CompactionRules,
        now_ms: TimestampMs,
    ) -> Result<bool, Ended> {
        let all = candidates(self.log);
        let known: Vec<Candidate> = all.iter().map(|(_, candidate)| *candidate).collect();
        if Extent::of(&known, first_dirty, limit).is_dirtier_than(rules.dirty_ratio_millionths) {
            return Ok(true);
        }
        if rules.max_lag_ms == i64::MAX {
            return Ok(false);
        }
        let oldest = now_ms.saturating_sub(rules.max_lag_ms);
        for (segment, candidate) in &all {
            if candidate.end > first_dirty && candidate.end <= limit {
                let first = segment.first_batch(self.disk()).await?.max_timestamp;
                if (0..oldest).contains(&first) {
                    return Ok(true);
                }
            }
        }
        Ok(false)
    }

    async fn read_keys(
        &mut self,
        selected: &[Selected<D>],
        first_dirty: Offset,
        limit: Offset,
        map_bytes: usize,
    ) -> Result<Keys, Ended> {
        let map = KeyMap::new(map_bytes, (limit - first_dirty) as u64);
        let mut keys = Keys::new(map, first_dirty);
        for (segment, candidate) in selected.iter().filter(|(_, candidate)| candidate.end > first_dirty) {
            let mut position = segment.position_before(self.disk(), first_dirty).await?;
            while position < candidate.bytes && !keys.is_full() {
                let piece = self.read(segment, position).await?;
                position += piece.len() as u64;
                let added = self.offload.run(move || keys.add(&piece).map(|()| keys)).await;
                keys = added?;
            }
        }
        Ok(keys)
    }

    /// Writes a group anew, and puts it in its place.
    async fn clean_group(
        &mut self,
        sources: &[Selected<D>],
        keys: &mut Option<Keys>,
        rules: Rules,
        cleaning: &mut Cleaning,
    ) -> Result<(), Ended> {
        let Some((_, first)) = sources.first() else { return Ok(()) };
        let mut output = Output::create(self.disk(), self.log.directory(), first.base_offset).await?;
        let written = match self.write_group(sources, keys, rules, &mut output, cleaning).await {
            Ok(Some(written)) => written,
            Ok(None) => {
                cleaning.segments_after += 1;
                output.abandon(self.disk()).await?;
                return Ok(());
            }
            Err(ended) => {
                // What it is given up for matters more; the next try removes the file.
                let _removed = output.abandon(self.disk()).await;
                return Err(ended);
            }
        };
        cleaning.segments_after += u64::from(written.is_some());
        self.replace(sources, written).await
    }

    /// Writes a group's segment, durable, but not in its place: `Some(None)` when no batch is left for one, `None` when it
    /// would be the one there is.
    async fn write_group(
        &mut self,
        sources: &[Selected<D>],
        keys: &mut Option<Keys>,
        rules: Rules,
        output: &mut Output<D>,
        cleaning: &mut Cleaning,
    ) -> Result<Option<Option<Rc<Segment<D>>>>, Ended> {
        let changed = self.rewrite_group(sources, keys, rules, output, cleaning).await?;
        cleaning.segments_before += sources.len() as u64;
        cleaning.bytes_after += output.len();
        if !changed && sources.len() == 1 {
            return Ok(None);
        }
        for (segment, _) in sources {
            // Who reads one of them must not find the new file under its name.
            segment.pin(self.disk()).await?;
        }
        let written = output.finish(self.log.home()).await?;
        self.check()?;
        Ok(Some(written))
    }

    /// Writes a group to `output`. Whether any batch is another one than before.
    async fn rewrite_group(
        &mut self,
        sources: &[Selected<D>],
        keys: &mut Option<Keys>,
        rules: Rules,
        output: &mut Output<D>,
        cleaning: &mut Cleaning,
    ) -> Result<bool, Ended> {
        let mut changed = false;
        for (segment, candidate) in sources {
            cleaning.bytes_before += candidate.bytes;
            let mut position = 0;
            while position < candidate.bytes {
                let piece = self.read(segment, position).await?;
                position += piece.len() as u64;
                // The keys go along, and come back.
                let own = keys.take().expect("each piece gives the keys back, or ends the cleaning");
                let work = move || rewrite(&own, &piece, rules).map(|rewritten| (own, rewritten));
                let done: Result<_, RewriteError> = self.offload.run(work).await;
                let (own, rewritten) = done?;
                *keys = Some(own);
                output.add(&rewritten).await?;
                self.pace(rewritten.bytes.len() as u64).await?;
                changed |= rewritten.changed;
                cleaning.records_before += rewritten.records_before;
                cleaning.records_after += rewritten.records_after;
            }
        }
        Ok(changed)
    }

    async fn replace(&self, sources: &[Selected<D>], cleaned: Option<Rc<Segment<D>>>) -> Result<(), Ended> {
        let (Some((_, first)), Some((_, last))) = (sources.first(), sources.last()) else { return Ok(()) };
        let (disk, directory) = (self.disk(), self.log.directory());
        let unsettled = |error| Ended::Failed(CompactionError::Unsettled(error));
        swap::commit(disk, directory, first.base_offset, last.end).await.map_err(unsettled)?;
        let old: Vec<Rc<Segment<D>>> = sources.iter().map(|(segment, _)| segment.clone()).collect();
        self.log.replace(&old, cleaned.clone());
        for segment in &old {
            let memory = segment.retire().await;
            let cached = &self.storage.engine.cached_bytes;
            cached.set(cached.get().saturating_sub(memory));
        }
        let complete = async || -> DiskResult<()> {
            let names = disk.list(directory).await?;
            swap::complete(disk, directory, &names, first.base_offset, last.end).await?;
            match &cleaned {
                Some(cleaned) => cleaned.write_index(disk).await,
                None => Ok(()),
            }
        };
        complete().await.map_err(unsettled)?;
        if let Some(cleaned) = &cleaned {
            cleaned.unpin();
        }
        Ok(())
    }

    /// Whole batches of a segment, checked.
    async fn read(&mut self, segment: &Rc<Segment<D>>, position: u64) -> Result<Bytes, Ended> {
        self.check()?;
        let piece = segment.batches(self.storage.disk(), position, PIECE_BYTES).await?;
        self.pace(piece.len() as u64).await?;
        Ok(piece)
    }

    fn check(&self) -> Result<(), Stopped> {
        if (self.stop)() || self.log.is_deleted() { Err(Stopped) } else { Ok(()) }
    }

    /// Counts bytes that were read or written, and sleeps when there were too many for the time.
    async fn pace(&mut self, bytes: u64) -> Result<(), Stopped> {
        self.bytes_moved += bytes;
        let Some(rate) = self.bytes_per_second else { return Ok(()) };
        let due = Duration::try_from_secs_f64(self.bytes_moved as f64 / rate).unwrap_or(Duration::MAX);
        loop {
            let left = due.saturating_sub(self.disk().monotonic() - self.began);
            if left.is_zero() {
                return Ok(());
            }
            self.disk().sleep(left.min(SLEEP_MAX)).await;
            self.check()?;
        }
    }
}

/// The log's segments; the last one ends where the log does.
fn candidates<D: Disk>(log: &Log<D>) -> Vec<Selected<D>> {
    let segments = log.segments();
    let bases: Vec<Offset> = segments.iter().map(|segment| segment.base_offset()).collect();
    let ends = bases.into_iter().skip(1).chain([log.end().offset]);
    let select = |(segment, end): (Rc<Segment<D>>, Offset)| {
        let candidate = Candidate { base_offset: segment.base_offset(), end, bytes: segment.len() };
        (segment, candidate)
    };
    segments.into_iter().zip(ends).map(select).collect()
}
