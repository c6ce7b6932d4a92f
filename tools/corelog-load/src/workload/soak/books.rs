//! What the threads of a run tell of records: a ledger for each partition, so that threads seldom meet.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::check::ledger::{EXAMPLES_MAX, Ledger};
use crate::report::Check;
use crate::workload::resilient::Again;

/// The ledgers, and sums for the view.
#[derive(Debug)]
pub struct Books {
    ledgers: Vec<Mutex<Ledger>>,
    acknowledged: AtomicU64,
    delivered: AtomicU64,
    retries: AtomicU64,
    reconnects: AtomicU64,
}

impl Books {
    /// Of so many partitions.
    pub fn new(partitions: usize) -> Books {
        Books {
            ledgers: (0..partitions).map(|_| Mutex::default()).collect(),
            acknowledged: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            reconnects: AtomicU64::new(0),
        }
    }

    /// The ledger of a partition.
    pub fn ledger(&self, partition: usize) -> MutexGuard<'_, Ledger> {
        self.ledgers[partition].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// So many records were acknowledged.
    pub fn count_acknowledged(&self, records: u64) {
        self.acknowledged.fetch_add(records, Ordering::Relaxed);
    }

    /// So many records came back.
    pub fn count_delivered(&self, records: u64) {
        self.delivered.fetch_add(records, Ordering::Relaxed);
    }

    /// What a client had to do again.
    pub fn add_again(&self, again: Again) {
        self.retries.fetch_add(again.retries, Ordering::Relaxed);
        self.reconnects.fetch_add(again.reconnects, Ordering::Relaxed);
    }

    /// About how many acknowledged records have not come back yet.
    pub fn lag(&self) -> u64 {
        self.acknowledged.load(Ordering::Relaxed).saturating_sub(self.delivered.load(Ordering::Relaxed))
    }

    /// The counts of all partitions.
    pub fn check(&self) -> Check {
        self.sum(Ledger::check)
    }

    /// Those of a run that was cut short.
    pub fn check_cut_short(&self) -> Check {
        self.sum(Ledger::check_cut_short)
    }

    fn sum(&self, of: impl Fn(&Ledger) -> Check) -> Check {
        let mut check = Check {
            retries: self.retries.load(Ordering::Relaxed),
            reconnects: self.reconnects.load(Ordering::Relaxed),
            ..Check::default()
        };
        for partition in 0..self.ledgers.len() {
            check += of(&self.ledger(partition));
        }
        check
    }

    /// Examples of faults, of some partitions.
    pub fn examples(&self) -> Vec<String> {
        (0..self.ledgers.len()).flat_map(|partition| self.ledger(partition).examples()).take(EXAMPLES_MAX).collect()
    }

    /// Forgets everything that came back: everything is about to be read once more.
    pub fn forget_deliveries(&self) {
        for partition in 0..self.ledgers.len() {
            self.ledger(partition).forget_deliveries();
        }
    }
}
