//! A load while it runs: when it starts, from when on it counts, when it ends, and what went wrong.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::clock;

/// Between the end of all preparation and the start, so that all threads are there.
const LEAD: Duration = Duration::from_millis(20);
/// How many different failures are kept; beyond that they are only counted.
const FAILURES_MAX: usize = 20;

/// Something that went wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// What.
    pub message: String,
    /// How often.
    pub count: u64,
}

/// Set by SIGINT and SIGTERM, the first time; the second time ends the process.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    /// Takes over SIGINT and SIGTERM.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn on_signals() -> anyhow::Result<Interrupt> {
        const EXIT_CODE: i32 = 130;
        let interrupt = Interrupt::default();
        for signal in [SIGINT, SIGTERM] {
            let flag = &interrupt.0;
            signal_hook::flag::register_conditional_shutdown(signal, EXIT_CODE, flag.clone()).context("signals")?;
            signal_hook::flag::register(signal, flag.clone()).context("signals")?;
        }
        Ok(interrupt)
    }

    /// Does what a signal does.
    pub fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether a signal came.
    pub fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// The load, shared by all its threads.
#[derive(Debug)]
pub struct Load {
    start: Instant,
    measured_from: Instant,
    end: Option<Instant>,
    /// Records after which it ends, if that is known.
    expected: Option<u64>,
    over: AtomicBool,
    interrupt: Interrupt,
    failures: Mutex<Vec<Failure>>,
    /// What went wrong since it was last asked.
    errors: AtomicU64,
    /// Records that are to be delivered, plus 1; 0 while nobody has said.
    lag_plus_1: AtomicU64,
}

impl Load {
    /// A load that starts in a moment, counts after `warm_up`, and takes `duration` from then on; `None` for one that
    /// ends by itself.
    pub fn new(warm_up: Duration, duration: Option<Duration>, interrupt: &Interrupt) -> Load {
        let start = clock::now() + LEAD;
        let measured_from = start + warm_up;
        Load {
            start,
            measured_from,
            end: duration.map(|duration| measured_from + duration),
            expected: None,
            over: AtomicBool::new(false),
            interrupt: interrupt.clone(),
            failures: Mutex::default(),
            errors: AtomicU64::new(0),
            lag_plus_1: AtomicU64::new(0),
        }
    }

    /// The same, and it ends after so many records.
    pub fn expecting(self, records: u64) -> Load {
        Load { expected: Some(records), ..self }
    }

    /// Records after which it ends, if that is known.
    pub fn expected(&self) -> Option<u64> {
        self.expected
    }

    /// When it starts.
    pub fn start(&self) -> Instant {
        self.start
    }

    /// From when on it counts.
    pub fn measured_from(&self) -> Instant {
        self.measured_from
    }

    /// When nothing more is begun; `None` when the load ends by itself.
    pub fn end(&self) -> Option<Instant> {
        self.end
    }

    /// Whether nothing more is to be begun: the time is up, a signal came, or something failed.
    pub fn is_over(&self, now: Instant) -> bool {
        self.is_cut_short() || self.end.is_some_and(|end| now >= end)
    }

    /// Whether it ends before its time: a signal came, or something failed.
    pub fn is_cut_short(&self) -> bool {
        self.over.load(Ordering::Relaxed) || self.interrupt.is_set()
    }

    /// Whether a signal came.
    pub fn is_interrupted(&self) -> bool {
        self.interrupt.is_set()
    }

    /// Notes a failure, which ends the load.
    pub fn fail(&self, message: String) {
        self.note(message);
        self.over.store(true, Ordering::Relaxed);
    }

    /// Counts something that went wrong and is tried again, so that the run has not failed: for the view only.
    pub fn count_error(&self) {
        self.errors.fetch_add(1, Ordering::Relaxed);
    }

    /// How much went wrong since the last time this was asked.
    pub fn take_errors(&self) -> u64 {
        self.errors.swap(0, Ordering::Relaxed)
    }

    /// Tells how many records are still to be delivered.
    pub fn set_lag(&self, records: u64) {
        self.lag_plus_1.store(records.saturating_add(1), Ordering::Relaxed);
    }

    /// Records that are still to be delivered; `None` when nothing is.
    pub fn lag(&self) -> Option<u64> {
        self.lag_plus_1.load(Ordering::Relaxed).checked_sub(1)
    }

    /// Notes a failure, and lets the load go on. The run will have failed.
    pub fn note(&self, message: String) {
        self.count_error();
        let mut failures = self.failures.lock().unwrap_or_else(PoisonError::into_inner);
        match failures.iter().position(|failure| failure.message == message) {
            Some(place) => failures[place].count += 1,
            None if failures.len() < FAILURES_MAX => failures.push(Failure { message, count: 1 }),
            None => {
                let rest = failures.last_mut().expect("there are failures");
                (rest.message, rest.count) = ("other failures".to_owned(), rest.count + 1);
            }
        }
    }

    /// What went wrong so far.
    pub fn failures(&self) -> Vec<Failure> {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_is_over_at_its_end_or_at_a_failure() {
        let second = Duration::from_secs(1);
        let load = Load::new(second, Some(second), &Interrupt::default());
        assert_eq!(load.end(), Some(load.start() + 2 * second));
        assert!(!load.is_over(load.measured_from()) && load.is_over(load.start() + 2 * second));
        assert!(!Load::new(second, None, &Interrupt::default()).is_over(load.start() + 100 * second));
        load.note("late".to_owned());
        assert!(!load.is_cut_short());
        load.fail("broken".to_owned());
        load.fail("broken".to_owned());
        assert!(load.is_cut_short() && load.is_over(load.start()));
        let counts: Vec<_> = load.failures().into_iter().map(|failure| (failure.message, failure.count)).collect();
        assert_eq!(counts, [("late".to_owned(), 1), ("broken".to_owned(), 2)]);
    }
}
