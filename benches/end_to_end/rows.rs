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
    /// Producers at full speed.
    Produce(ProduceLoad),
}

/// Producers, each with a connection and a thread, that keep `in_flight` requests on their way.
#[derive(Clone, Copy, Debug)]
pub struct ProduceLoad {
    /// Bytes of each record's value; there is no key and no header.
    pub value_bytes: usize,
    /// Records of a request, all in one batch for one partition.
    pub records_per_request: usize,
    /// Connections.
    pub producers: usize,
    /// Partitions, shared out evenly: no partition has two producers.
    pub partitions: usize,
    /// Requests that a producer has sent without an answer.
    pub in_flight: usize,
}

const ONE_KB: usize = 1024;

const ROWS: &[Row] = &[
    produce("produce-1k-x1000", ONE_KB, 1000, 1, 1, 1),
    produce("produce-1k-x1000-4p", ONE_KB, 1000, 4, 4, 1),
    produce("produce-1k-x100-8p", ONE_KB, 100, 8, 8, 1),
    produce("produce-100b-x1000", 100, 1000, 1, 1, 1),
    produce("produce-1k-x1", ONE_KB, 1, 1, 1, 1),
    produce("produce-1k-x1-8p", ONE_KB, 1, 8, 8, 1),
    produce("produce-100b-x1-8p-16f", 100, 1, 8, 8, 16),
    produce("produce-100b-x10-512p-8f", 100, 10, 8, 512, 8),
];

const fn produce(
    name: &'static str,
    value_bytes: usize,
    records_per_request: usize,
    producers: usize,
    partitions: usize,
    in_flight: usize,
) -> Row {
    assert!(partitions.is_multiple_of(producers));
    Row {
        name,
        work: Work::Produce(ProduceLoad { value_bytes, records_per_request, producers, partitions, in_flight }),
    }
}

/// The rows whose name contains one of `parts`; all when there are none.
///
/// # Errors
/// When a part is in no name.
pub fn selected(parts: &[String]) -> anyhow::Result<Vec<&'static Row>> {
    for part in parts {
        let names: Vec<&str> = ROWS.iter().map(|row| row.name).collect();
        ensure!(names.iter().any(|name| name.contains(part.as_str())), "no row has '{part}': {}", names.join(", "));
    }
    let wanted = |row: &&Row| parts.is_empty() || parts.iter().any(|part| row.name.contains(part.as_str()));
    Ok(ROWS.iter().filter(wanted).collect())
}
