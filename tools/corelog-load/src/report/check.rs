//! What a check of every record found, and what became of each delivery guarantee.

use serde::{Deserialize, Serialize};

/// What became of the records of a run, each of which says which one it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Check {
    /// Records that the broker acknowledged.
    pub acknowledged: u64,
    /// Different records that came back.
    pub delivered: u64,
    /// Records that came back and had not been acknowledged: their answer was lost, or never came. No fault.
    pub unacknowledged: u64,
    /// Acknowledged records that did not come back.
    pub lost: u64,
    /// Times that a record came back again.
    pub duplicated: u64,
    /// Records that came back behind a later one of the same producer and partition.
    pub reordered: u64,
    /// Records and batches that were not what had been sent.
    pub corrupted: u64,
    /// Requests that were sent again, because their answer was an error that passes, or did not come.
    pub retries: u64,
    /// Connections that were made again.
    pub reconnects: u64,
    /// How often the broker was killed.
    #[serde(default)]
    pub broker_kills: u32,
    /// What a second reading of everything from the beginning found, when there was one.
    #[serde(default)]
    pub read_again: Option<ReadAgain>,
}

/// What a second reading of all records found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadAgain {
    /// Different records that were there.
    pub records: u64,
    /// Acknowledged records that were not.
    pub lost: u64,
    /// Times that a record was there once more.
    pub duplicated: u64,
    /// Records behind a later one of the same producer and partition.
    pub reordered: u64,
    /// Records and batches that were not what had been sent.
    pub corrupted: u64,
}

impl std::ops::AddAssign for Check {
    /// Adds the counts of other records.
    fn add_assign(&mut self, other: Check) {
        self.acknowledged += other.acknowledged;
        self.delivered += other.delivered;
        self.unacknowledged += other.unacknowledged;
        self.lost += other.lost;
        self.duplicated += other.duplicated;
        self.reordered += other.reordered;
        self.corrupted += other.corrupted;
        self.retries += other.retries;
        self.reconnects += other.reconnects;
        self.broker_kills += other.broker_kills;
        if let Some(other) = other.read_again {
            let again = self.read_again.get_or_insert_default();
            again.records += other.records;
            again.lost += other.lost;
            again.duplicated += other.duplicated;
            again.reordered += other.reordered;
            again.corrupted += other.corrupted;
        }
    }
}

/// What a delivery guarantee came to, with clients and broker killed meanwhile.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guarantee {
    /// `at-most-once`, `at-least-once` or `exactly-once`, which is named after how far it reaches.
    pub mode: String,
    /// What the producer and the consumer do for it, in words.
    #[serde(default)]
    pub means: String,
    /// Why the broker cannot offer it, when it cannot; all counts are 0 then.
    pub refused: Option<String>,
    /// How often a client was killed.
    pub client_kills: u32,
    /// How often the broker was killed.
    pub broker_kills: u32,
    /// Records that the producer handed over for sending.
    pub sent: u64,
    /// Records that the broker acknowledged; with acks 0 none.
    pub acknowledged: u64,
    /// Different records that the consumer processed.
    pub delivered: u64,
    /// Records that were sent (and, where there are acknowledgements, acknowledged), and never processed.
    pub lost: u64,
    /// Times that a record was processed again.
    pub duplicated: u64,
    /// Whether that is what the mode promises.
    pub holds: bool,
}
