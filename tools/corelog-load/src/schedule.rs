//! When each batch is meant to be sent.
//!
//! In an open loop a batch's time is fixed before the run: the load does not wait for the broker, and a broker that
//! stalls is charged with every batch that should have gone out meanwhile. Latency that is counted from the real
//! sending would leave those out (coordinated omission).

use std::time::Duration;

/// The intended times of one of several producers, which together send at a rate.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Schedule {
    /// Records a second of all producers; `None` for a closed loop: as soon as there is room.
    rate: Option<f64>,
    records_per_batch: u64,
    producer: u64,
    producers: u64,
}

impl Schedule {
    /// The schedule of producer `producer`, from 0, of `producers`. They take turns, evenly spaced.
    pub fn new(rate: Option<f64>, records_per_batch: u64, producer: u64, producers: u64) -> Schedule {
        Schedule { rate, records_per_batch, producer, producers }
    }

    /// When this producer's batch `index`, from 0, is due, counted from the start of the load; `None` in a closed loop.
    pub fn due(&self, index: u64) -> Option<Duration> {
        let turn = u128::from(index) * u128::from(self.producers) + u128::from(self.producer);
        // From the index and not step by step, so that no error adds up.
        let seconds = (turn * u128::from(self.records_per_batch)) as f64 / self.rate?;
        Some(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
    }

    /// How many of this producer's batches are due before `time`; `None` in a closed loop.
    pub fn due_before(&self, time: Duration) -> Option<u64> {
        let batches = time.as_secs_f64() * self.rate? / self.records_per_batch as f64;
        let own = (batches - self.producer as f64) / self.producers as f64;
        Some(own.ceil().max(0.0) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn producers_take_turns_at_even_distances() {
        let schedules = [0, 1, 2].map(|producer| Schedule::new(Some(1000.0), 10, producer, 3));
        let mut times: Vec<Duration> =
            schedules.iter().flat_map(|s| (0..100).map(|index| s.due(index).expect("a time"))).collect();
        times.sort();
        for (turn, time) in times.iter().enumerate() {
            assert_eq!(*time, Duration::from_millis(10 * turn as u64));
        }
    }

    #[test]
    fn a_day_later_the_rate_is_still_exact() {
        let schedule = Schedule::new(Some(30_000.0), 1, 0, 1);
        let day = schedule.due(30_000 * 86_400).expect("a time");
        assert!(day.abs_diff(Duration::from_secs(86_400)) < Duration::from_micros(1), "{day:?}");
    }

    #[test]
    fn the_count_of_due_batches_agrees_with_their_times() {
        for producer in 0..4 {
            let schedule = Schedule::new(Some(997.0), 7, producer, 4);
            for ms in [0, 1, 33, 1000, 2500] {
                let time = Duration::from_millis(ms);
                let count = schedule.due_before(time).expect("a count");
                assert!(schedule.due(count).expect("a time") >= time, "{producer} {ms}");
                assert!(count == 0 || schedule.due(count - 1).expect("a time") < time, "{producer} {ms}");
            }
        }
    }

    #[test]
    fn a_closed_loop_has_no_times() {
        let schedule = Schedule::new(None, 10, 0, 1);
        assert_eq!((schedule.due(5), schedule.due_before(Duration::from_secs(1))), (None, None));
    }
}
