//! Which rows there are.

use anyhow::ensure;

/// A row of the report.
pub struct Row {
    /// Its name, for `--rows` and the report.
    pub name: &'static str,
    /// What is measured.
    pub work: Work,
}

/// What a row measures.
pub enum Work {
    /// How an own, fresh broker with this many partitions starts, what it holds when idle, and how it starts again.
    Footprint {
        /// Partitions in all.
        partitions: usize,
    },
    /// Producers at full speed.
    Produce {
        /// The load generator's profile.
        profile: &'static str,
        /// Records that make a batch for each partition. They are sent before the row: the first batch of a partition
        /// makes Kafka write and flush the partition's leader epoch, which is no part of what is measured.
        first_records: u64,
        /// Bytes of each record's value.
        value_bytes: usize,
    },
    /// A consumer at full speed.
    Consume(ConsumeLoad),
}

/// A consumer with a connection and a thread, that reads one partition with one fetch at a time.
#[derive(Clone, Copy, Debug)]
pub struct ConsumeLoad {
    /// The load generator's profile that fills the topic.
    pub fill: &'static str,
    /// Bytes of each record's value.
    pub value_bytes: usize,
    /// Where the batches are.
    pub from: ReadFrom,
}

/// Where the batches are that a consumer reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadFrom {
    /// In the broker's cache, or the page cache: few and just written, read over and over.
    Memory,
    /// In no cache: more than the broker's holds, read once, with the page cache dropped before.
    Disk,
}

const ONE_KB: usize = 1024;

/// What is put to each broker before the first row, and not reported.
pub const WARM_UP: &str = "--record-bytes 100 --records-per-batch 100 --producers 4 --partitions 4 --in-flight 4";

const ROWS: &[Row] = &[
    Row { name: "footprint-empty", work: Work::Footprint { partitions: 0 } },
    Row { name: "footprint-10000p", work: Work::Footprint { partitions: 10_000 } },
    produce("produce-1k-x1000", "1k-x1000", 1000, ONE_KB),
    produce("produce-1k-x1000-4p", "1k-x1000-4p", 4000, ONE_KB),
    produce("produce-1k-x100-8p", "1k-x100-8p", 800, ONE_KB),
    produce("produce-100b-x1000", "100b-x1000", 1000, 100),
    produce("produce-1k-x1", "1k-x1", 1, ONE_KB),
    produce("produce-1k-x1-8p", "1k-x1-8p", 8, ONE_KB),
    produce("produce-100b-x1-8p-16f", "100b-x1-8p-16f", 8, 100),
    produce("produce-100b-x10-512p-8f", "100b-x10-512p-8f", 5120, 100),
    consume("consume-1k", "fill-1k", ONE_KB, ReadFrom::Memory),
    consume("consume-100b", "fill-100b", 100, ReadFrom::Memory),
    consume("consume-1k-disk", "fill-1k", ONE_KB, ReadFrom::Disk),
];

const fn produce(name: &'static str, profile: &'static str, first_records: u64, value_bytes: usize) -> Row {
    Row { name, work: Work::Produce { profile, first_records, value_bytes } }
}

const fn consume(name: &'static str, fill: &'static str, value_bytes: usize, from: ReadFrom) -> Row {
    Row { name, work: Work::Consume(ConsumeLoad { fill, value_bytes, from }) }
}

/// The rows of which one of `parts` is the name, or a part of it when it ends in `*`; all when there are none.
///
/// # Errors
/// When a part selects none.
pub fn selected(parts: &[String]) -> anyhow::Result<Vec<&'static Row>> {
    let is_selected = |name: &str, part: &str| match part.strip_suffix('*') {
        Some(part) => name.contains(part),
        None => name == part,
    };
    for part in parts {
        let names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
        ensure!(names.iter().any(|name| is_selected(name, part)), "no row is '{part}': {}", names.join(", "));
    }
    let wanted = |row: &&Row| parts.is_empty() || parts.iter().any(|part| is_selected(row.name, part));
    Ok(ROWS.iter().filter(wanted).collect())
}
