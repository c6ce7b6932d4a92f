//! When each record is meant to be sent.
//!
//! In an open loop a record's time is fixed before the run: the load does not wait for the broker, and a broker that
//! stalls is charged with every record that should have gone out meanwhile. Latency that is counted from the real
//! sending would leave those out (coordinated omission).

use std::time::Duration;

/// As far as times go: far beyond any run, and near enough that adding it to a clock's time is possible.
const FAR: Duration = Duration::from_secs(100 * 365 * 86_400);

/// The intended times of one of several producers, which together send at a rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// Records a second of all producers; `None` for a closed loop: as soon as there is room.
    rate: Option<f64>,
    /// Records of a batch that is full: producers take turns by batches.
    records_per_batch: u64,
    /// Whether the records of a batch come one by one, and not all at the batch's time.
    one_by_one: bool,
    producer: u64,
    producers: u64,
}

impl Schedule {
    /// The schedule of producer `producer`, from 0, of `producers`. They take turns, evenly spaced.
    pub fn new(rate: Option<f64>, records_per_batch: u64, producer: u64, producers: u64) -> Schedule {
        Schedule { rate, records_per_batch, one_by_one: false, producer, producers }
    }

    /// The same, but each record has a time of its own.
    pub fn one_by_one(self) -> Schedule {
        Schedule { one_by_one: true, ..self }
    }

    /// When this producer's batch begins, before which it sent `records`, counted from the start of the load; `None` in a
    /// closed loop.
    pub fn begins(&self, records: u64) -> Option<Duration> {
        let before = u128::from(records) * u128::from(self.producers)
            + u128::from(self.producer) * u128::from(self.records_per_batch);
        // From the count and not step by step, so that no error adds up.
        Some(duration(before as f64 / self.rate?))
    }

    /// When this producer's batch `index`, from 0, begins, where all batches are full; `None` in a closed loop.
    pub fn batch_begins(&self, index: u64) -> Option<Duration> {
        self.begins(index.saturating_mul(self.records_per_batch))
    }

    /// The time from one record of a batch to the next.
    pub fn spacing(&self) -> Duration {
        match self.rate {
            Some(rate) if self.one_by_one => duration(self.producers as f64 / rate),
            _ => Duration::ZERO,
        }
    }

    /// How many records come to a producer within `linger` after the first one, with that: a batch has no more.
    pub fn lingering(rate: f64, producers: u64, linger: Duration) -> u32 {
        (linger.as_secs_f64() * rate / producers as f64) as u32 + 1
    }
}

fn duration(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds).map_or(FAR, |duration| duration.min(FAR))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn producers_take_turns_at_even_distances() {
        let schedules = [0, 1, 2].map(|producer| Schedule::new(Some(1000.0), 10, producer, 3));
        let mut times: Vec<Duration> =
            schedules.iter().flat_map(|s| (0..100).map(|index| s.begins(10 * index).expect("a time"))).collect();
        times.sort();
        for (turn, time) in times.iter().enumerate() {
            assert_eq!(*time, Duration::from_millis(10 * turn as u64));
        }
        assert_eq!(schedules[1].batch_begins(7), schedules[1].begins(70));
        assert_eq!(schedules[0].spacing(), Duration::ZERO);
        assert_eq!(schedules[0].one_by_one().spacing(), Duration::from_millis(3));
    }

    #[test]
    fn a_day_later_the_rate_is_still_exact() {
        let schedule = Schedule::new(Some(30_000.0), 1, 0, 1);
        let day = schedule.begins(30_000 * 86_400).expect("a time");
        assert!(day.abs_diff(Duration::from_secs(86_400)) < Duration::from_micros(1), "{day:?}");
    }

    #[test]
    fn the_slowest_rate_has_times_that_a_clock_can_tell() {
        let schedule = Schedule::new(Some(f64::MIN_POSITIVE), u64::MAX, 4095, 4096).one_by_one();
        assert!(crate::clock::now().checked_add(schedule.begins(u64::MAX).expect("a time")).is_some());
        assert!(crate::clock::now().checked_add(schedule.spacing()).is_some());
    }

    #[test]
    fn a_batch_has_as_many_records_as_come_while_it_lingers() {
        let ms = Duration::from_millis;
        assert_eq!(Schedule::lingering(1000.0, 1, ms(0)), 1);
        assert_eq!(Schedule::lingering(1000.0, 1, ms(5)), 6);
        assert_eq!(Schedule::lingering(1000.0, 4, ms(5)), 2);
    }

    #[test]
    fn a_closed_loop_has_no_times() {
        let schedule = Schedule::new(None, 10, 0, 1).one_by_one();
        assert_eq!((schedule.begins(5), schedule.spacing()), (None, Duration::ZERO));
    }
}
