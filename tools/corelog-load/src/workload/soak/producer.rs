//! One producer's thread: sends batches when they are due and there is room, and tells what was acknowledged.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Shared, producer_manner};
use crate::check::numbered::{BatchProducer, NumberedBatches};
use crate::clock;
use crate::measure::{Arrival, Recorder};
use crate::schedule::Schedule;
use crate::workload::resilient::Again;
use crate::workload::resilient::producer::{Outgoing, ResilientProducer};

/// How long acknowledgements are waited for after Ctrl-C.
const INTERRUPTED_DEADLINE: Duration = Duration::from_secs(2);

/// A producer, about to run.
pub struct Producing {
    index: u32,
    batches: NumberedBatches,
    producer_id: Option<(i64, i16)>,
    partitions: Vec<usize>,
    /// The next number, by place in `partitions`.
    next: Vec<u64>,
    turn: usize,
    schedule: Schedule,
    batches_sent: u64,
}

impl Producing {
    /// Producer `index` fills `partitions` in turn.
    pub fn new(
        index: u32,
        batches: NumberedBatches,
        producer_id: Option<(i64, i16)>,
        partitions: Vec<usize>,
        schedule: Schedule,
    ) -> Producing {
        Producing {
            index,
            batches,
            producer_id,
            next: vec![0; partitions.len()],
            partitions,
            turn: 0,
            schedule,
            batches_sent: 0,
        }
    }

    /// Sends until the load is over, and waits until everything is acknowledged.
    pub fn run(mut self, shared: &Shared<'_>, recorder: &Arc<Recorder>) -> anyhow::Result<Again> {
        clock::wake_on_time();
        let load = shared.load;
        clock::sleep_until(load.start());
        let mut producer = ResilientProducer::new(producer_manner(shared.options));
        let mut errors = 0;
        let mut stopped = None;
        loop {
            let now = clock::now();
            if stopped.is_none() && load.is_over(now) {
                stopped = Some(now);
            }
            let mut until = None;
            if stopped.is_none() {
                until = self.send_due(&mut producer, shared)?;
            }
            if let Some(stopped) = stopped {
                let is_cut_short = load.is_cut_short() && now.saturating_duration_since(stopped) > INTERRUPTED_DEADLINE;
                if producer.is_idle() || is_cut_short {
                    return Ok(producer.again());
                }
            }
            let acknowledged = producer.step(until)?;
            self.note(&acknowledged, shared, recorder);
            let count = producer.again().count();
            (errors..count).for_each(|_| load.count_error());
            errors = count;
        }
    }

    /// Sends all that is due and has room. When the next batch is due, when there is room for it.
    fn send_due(&mut self, producer: &mut ResilientProducer, shared: &Shared<'_>) -> anyhow::Result<Option<Instant>> {
        let load = shared.load;
        while producer.has_room() {
            let now = clock::now();
            let intended = self.schedule.batch_begins(self.batches_sent).map_or(now, |due| load.start() + due);
            if intended > now || load.is_over(now) {
                return Ok(Some(intended));
            }
            let partition = self.partitions[self.turn];
            let first = self.next[self.turn];
            let sequences = first..first + u64::from(shared.options.records.records_per_batch);
            let numbering = self.producer_id.map(|id| BatchProducer::of(id, first));
            let intended_ns = intended.saturating_duration_since(load.start()).as_nanos() as u64;
            let bytes = self.batches.build(partition, sequences.clone(), intended_ns, clock::unix_ms(), numbering)?;
            self.next[self.turn] = sequences.end;
            self.turn = (self.turn + 1) % self.partitions.len();
            self.batches_sent += 1;
            producer.send(Outgoing { partition, sequences, bytes, intended })?;
        }
        Ok(None)
    }

    fn note(&self, acknowledged: &[Outgoing], shared: &Shared<'_>, recorder: &Recorder) {
        let at = clock::now();
        for batch in acknowledged {
            let mut ledger = shared.books.ledger(batch.partition);
            ledger.acknowledge(self.index, batch.partition as u32, batch.sequences.clone());
        }
        let arrival = |batch: &Outgoing| {
            let records = batch.sequences.end - batch.sequences.start;
            Arrival {
                at,
                from: Some(batch.intended),
                latencies: 1,
                records,
                value_bytes: records * shared.options.records.record_bytes as u64,
                wire_bytes: batch.bytes.len() as u64,
            }
        };
        if !acknowledged.is_empty() {
            let arrivals: Vec<Arrival> = acknowledged.iter().map(arrival).collect();
            shared.books.count_acknowledged(arrivals.iter().map(|arrival| arrival.records).sum());
            recorder.add(arrivals);
        }
    }
}
