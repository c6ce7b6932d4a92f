//! What the threads of a load note, and how it is added up.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// The bounds of a latency: what is outside counts as the bound.
const LATENCY_MIN: Duration = Duration::from_nanos(1);
const LATENCY_MAX: Duration = Duration::from_secs(86_400);

/// What happened in a piece of time.
#[derive(Clone, Debug)]
pub struct Interval {
    /// Records that arrived: were acknowledged, or delivered.
    pub records: u64,
    /// Bytes of their values; 0 where values are not looked at.
    pub value_bytes: u64,
    /// Bytes of their batches, as they are on the wire.
    pub wire_bytes: u64,
    /// Latencies in nanoseconds, to three digits.
    pub latency: Histogram<u64>,
    /// When the last of them arrived.
    pub last: Option<Instant>,
}

impl Default for Interval {
    fn default() -> Interval {
        let latency = Histogram::new(3).expect("three digits are within the library's five");
        Interval { records: 0, value_bytes: 0, wire_bytes: 0, latency, last: None }
    }
}

impl Interval {
    /// Adds what happened in another piece of time, or to another thread.
    pub fn merge(&mut self, other: &Interval) {
        self.records += other.records;
        self.value_bytes += other.value_bytes;
        self.wire_bytes += other.wire_bytes;
        self.latency.add(&other.latency).expect("a histogram that grows takes any other");
        self.last = self.last.max(other.last);
    }
}

/// Records that arrived together.
#[derive(Clone, Copy, Debug)]
pub struct Arrival {
    /// When they did.
    pub at: Instant,
    /// What their latency is counted from; `None` when it has no meaning.
    pub from: Option<Instant>,
    /// How many latencies that is: 1 for a request, the number of records for deliveries.
    pub latencies: u64,
    /// How many.
    pub records: u64,
    /// Bytes of their values.
    pub value_bytes: u64,
    /// Bytes of their batches.
    pub wire_bytes: u64,
}

/// What one thread notes; another takes it from time to time.
#[derive(Debug)]
pub struct Recorder {
    measured_from: Instant,
    split: Mutex<Split>,
}

/// What happened, before and after the end of the warm-up.
#[derive(Clone, Debug, Default)]
pub struct Split {
    /// Before.
    pub warm_up: Interval,
    /// After.
    pub measured: Interval,
}

impl Recorder {
    /// For a load that counts from `measured_from` on.
    pub fn new(measured_from: Instant) -> Arc<Recorder> {
        Arc::new(Recorder { measured_from, split: Mutex::default() })
    }

    /// Notes what arrived. It belongs to the warm-up, or to the measured time, by when it arrived.
    pub fn add(&self, arrivals: impl IntoIterator<Item = Arrival>) {
        let mut split = self.split.lock().unwrap_or_else(PoisonError::into_inner);
        for arrival in arrivals {
            let measured = arrival.at >= self.measured_from;
            let interval = if measured { &mut split.measured } else { &mut split.warm_up };
            interval.records += arrival.records;
            interval.value_bytes += arrival.value_bytes;
            interval.wire_bytes += arrival.wire_bytes;
            interval.last = interval.last.max(Some(arrival.at));
            if let Some(from) = arrival.from {
                let latency = arrival.at.saturating_duration_since(from).clamp(LATENCY_MIN, LATENCY_MAX);
                let outcome = interval.latency.record_n(latency.as_nanos() as u64, arrival.latencies);
                outcome.expect("a histogram grows to any latency within the bounds");
            }
        }
    }

    /// Takes what was noted since the last time.
    pub fn take(&self) -> Split {
        let fresh = Split::default();
        std::mem::replace(&mut *self.split.lock().unwrap_or_else(PoisonError::into_inner), fresh)
    }
}

/// Threads that do the same, and are reported as one.
#[derive(Clone, Debug)]
pub struct Track {
    /// What they do.
    pub name: &'static str,
    /// What their latency is; `None` when they have none.
    pub latency_of: Option<&'static str>,
    /// Whether they know their values' bytes.
    pub has_values: bool,
    /// What each notes.
    pub recorders: Vec<Arc<Recorder>>,
}

impl Track {
    /// Takes what all threads noted since the last time.
    pub fn take(&self) -> Split {
        let mut all = Split::default();
        for recorder in &self.recorders {
            let split = recorder.take();
            all.warm_up.merge(&split.warm_up);
            all.measured.merge(&split.measured);
        }
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    fn arrival(at: Instant, from: Instant, records: u64) -> Arrival {
        Arrival { at, from: Some(from), latencies: 1, records, value_bytes: 10 * records, wire_bytes: 11 * records }
    }

    #[test]
    fn the_warm_up_is_left_out_by_the_time_of_arrival() {
        let start = clock::now();
        let ms = |ms| start + Duration::from_millis(ms);
        let recorder = Recorder::new(ms(100));
        recorder.add([arrival(ms(99), ms(90), 1), arrival(ms(100), ms(99), 2), arrival(ms(103), ms(101), 4)]);
        let Split { warm_up, measured } = recorder.take();
        assert_eq!((warm_up.records, measured.records), (1, 6));
        assert_eq!((measured.value_bytes, measured.wire_bytes, measured.last), (60, 66, Some(ms(103))));
        assert_eq!((warm_up.latency.len(), measured.latency.len()), (1, 2));
        assert!(measured.latency.max().abs_diff(2_000_000) <= 2000);
        assert_eq!(recorder.take().measured.records, 0);
    }

    #[test]
    fn merged_histograms_hold_what_one_would() {
        let start = clock::now();
        let recorders = [Recorder::new(start), Recorder::new(start)];
        let mut one = Histogram::<u64>::new(3).expect("a histogram");
        for step in 0..10_000u64 {
            let latency = Duration::from_nanos(step * step * 37 + 1);
            one.record(latency.as_nanos() as u64).expect("a latency");
            recorders[step as usize % 2].add([arrival(start + latency, start, 1)]);
        }
        let track = Track { name: "t", latency_of: None, has_values: true, recorders: recorders.to_vec() };
        let merged = track.take().measured;
        assert_eq!((merged.records, merged.latency.len()), (10_000, 10_000));
        for quantile in [0.0, 0.5, 0.9, 0.99, 0.999, 1.0] {
            assert_eq!(merged.latency.value_at_quantile(quantile), one.value_at_quantile(quantile));
        }
    }
}
