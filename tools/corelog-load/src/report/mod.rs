//! What a run measured: for the terminal, for a file, and for other tools.
//!
//! | module | what it is |
//! | --- | --- |
//! | this one | the figures, and the JSON file that holds them all |
//! | `check` | what a check of every record found, and what became of each delivery guarantee |
//! | `rate_search` | how the highest rate was found |
//! | `bars` | rates as bars on the terminal, with a logarithmic scale |
//! | `track_usage` | what broker and client used for each track, when these ran one after the other |
//! | `table` | the summary on the terminal |
//! | [`html`] | the page of HTML, with charts, about one run or several beside each other |
//! | `verdict` | of it, what became of records and guarantees |
//! | `hgrm` | the histogram's own format, which HdrHistogram's plotter reads |

mod bars;
mod check;
mod hgrm;
pub mod html;
mod rate_search;
mod table;
mod track_usage;
mod verdict;

use std::path::Path;

use anyhow::Context;
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::load::Failure;
use crate::machine::Machine;
use crate::measure::{Split, Track};

pub use bars::{Bar, bars};
pub use check::{Check, Guarantee, ReadAgain};
pub use hgrm::hgrm;
pub use rate_search::{RateSearch, RateStep};
pub use table::{grouped, table};
pub use track_usage::TrackUsage;

/// The percentiles that are told, in parts of 1.
const QUANTILES: [f64; 5] = [0.5, 0.9, 0.99, 0.999, 0.9999];
/// Points of the percentile curve for each halving of what is left to 100 %.
const CURVE_POINTS: u32 = 4;

/// A run: how it was made, and what it measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The version of this tool.
    pub version: String,
    /// The command line, which repeats the run.
    pub command: Vec<String>,
    /// The workload.
    pub workload: String,
    /// When it started, milliseconds since 1970-01-01 UTC.
    pub started_unix_ms: i64,
    /// Where it ran.
    pub machine: Machine,
    /// What it ran against.
    pub broker: Broker,
    /// The records a second that were asked for; none for as many as possible.
    pub rate_asked: Option<f64>,
    /// How it ended.
    pub ended: Ended,
    /// What went wrong.
    pub failures: Vec<Failure>,
    /// The figures.
    pub tracks: Vec<TrackReport>,
    /// What the broker used in the measured time, when its process is known.
    pub broker_usage: Option<Usage>,
    /// What this process used in the measured time.
    pub client_usage: Option<Usage>,
    /// CPU cores that anything else on this machine kept busy in the measured time, when the broker's process is known:
    /// with much of that, the figures are those of a machine that is shared.
    #[serde(default)]
    pub other_cores: Option<f64>,
    /// The figures by second, the warm-up's too.
    pub series: Vec<Second>,
    /// How the highest rate was found, when one was looked for. The other figures are those of that rate.
    #[serde(default)]
    pub rate_search: Option<RateSearch>,
    /// What a check of every record found, when the workload checks.
    #[serde(default)]
    pub check: Option<Check>,
    /// What each delivery guarantee came to, when the workload tries them.
    #[serde(default)]
    pub guarantees: Vec<Guarantee>,
    /// What was used for each track, when they ran one after the other; empty when they ran together.
    #[serde(default)]
    pub track_usages: Vec<TrackUsage>,
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ended {
    /// As it should.
    Complete,
    /// By Ctrl-C.
    Interrupted,
    /// By a failure.
    Failed,
}

/// What a run ran against.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Broker {
    /// The address of the bootstrap broker.
    pub address: String,
    /// The name of its process, when it is known.
    pub process: Option<String>,
    /// The APIs that it serves.
    pub api_versions: Vec<ApiRange>,
}

/// An API that a broker serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiRange {
    /// Its key.
    pub key: i16,
    /// The lowest version.
    pub min: i16,
    /// The highest version.
    pub max: i16,
}

/// The figures of threads that did the same, over the measured time: from the end of the warm-up to the last arrival.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrackReport {
    /// What they did.
    pub name: String,
    /// Records that were acknowledged, or delivered.
    pub records: u64,
    /// The same with those of the warm-up.
    pub records_with_warm_up: u64,
    /// Bytes of their values, where these are looked at.
    pub value_bytes: Option<u64>,
    /// Bytes of their batches, as they are on the wire; 0 when the client does not tell.
    pub wire_bytes: u64,
    /// The measured time.
    pub seconds: f64,
    /// Records a second.
    pub records_per_second: f64,
    /// Megabytes (10⁶) of values a second.
    pub value_megabytes_per_second: Option<f64>,
    /// Megabytes (10⁶) of batches a second.
    pub wire_megabytes_per_second: f64,
    /// The latencies, if any.
    pub latency: Option<Latency>,
}

/// Latencies, in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// From what to what.
    pub of: String,
    /// How many.
    pub count: u64,
    /// The mean.
    pub mean_ms: f64,
    /// The least.
    pub min_ms: f64,
    /// The median.
    pub p50_ms: f64,
    /// 90 % are not above.
    pub p90_ms: f64,
    /// 99 % are not above.
    pub p99_ms: f64,
    /// 99.9 % are not above.
    pub p999_ms: f64,
    /// 99.99 % are not above.
    pub p9999_ms: f64,
    /// The most.
    pub max_ms: f64,
    /// The curve: percentiles, each with the latency that so many are not above.
    pub curve: Vec<(f64, f64)>,
}

impl Latency {
    /// Of a histogram of nanoseconds; `None` when that is empty.
    pub fn of(what: &str, histogram: &Histogram<u64>) -> Option<Latency> {
        let [p50_ms, p90_ms, p99_ms, p999_ms, p9999_ms] = Latency::percentiles_ms(histogram)?;
        let steps = histogram.iter_quantiles(CURVE_POINTS);
        let curve = steps.map(|step| (step.quantile_iterated_to() * 100.0, ms(step.value_iterated_to()))).collect();
        Some(Latency {
            of: what.to_owned(),
            count: histogram.len(),
            mean_ms: histogram.mean() / 1e6,
            min_ms: ms(histogram.min()),
            p50_ms,
            p90_ms,
            p99_ms,
            p999_ms,
            p9999_ms,
            max_ms: ms(histogram.max()),
            curve,
        })
    }

    /// The 50th, 90th, 99th, 99.9th and 99.99th percentile of a histogram of nanoseconds, in milliseconds.
    pub fn percentiles_ms(histogram: &Histogram<u64>) -> Option<[f64; 5]> {
        (!histogram.is_empty()).then(|| QUANTILES.map(|quantile| ms(histogram.value_at_quantile(quantile))))
    }
}

fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

/// Bytes in megabytes of 10⁶.
pub fn megabytes(bytes: f64) -> f64 {
    bytes / 1e6
}

/// What a process used.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Usage {
    /// Its id.
    pub pid: u32,
    /// CPU time of all its threads in the measured time, in steps of 10 ms.
    pub cpu_seconds: f64,
    /// Resident memory at the end.
    pub resident_bytes_end: u64,
    /// Resident memory at most, of the values at each second.
    pub resident_bytes_max: u64,
}

/// A second of a run, or a part of one at its edges.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Second {
    /// When it ended, counted from the start of the load.
    pub ends_at_s: f64,
    /// Its length.
    pub seconds: f64,
    /// Whether it belongs to the warm-up.
    pub warm_up: bool,
    /// The figures.
    pub tracks: Vec<TrackSecond>,
    /// CPU cores that the broker kept busy, when its process is known.
    pub broker_cores: Option<f64>,
    /// The broker's resident memory, when its process is known.
    pub broker_resident_bytes: Option<u64>,
    /// CPU cores that this process kept busy.
    pub client_cores: f64,
    /// What went wrong in it, and did not end the run.
    #[serde(default)]
    pub errors: u64,
    /// Records that are still to be delivered at its end, when there is anything to deliver.
    #[serde(default)]
    pub lag: Option<u64>,
}

/// A second's figures of threads that did the same. Latencies by the second in which they ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrackSecond {
    /// What they did.
    pub name: String,
    /// Records that were acknowledged, or delivered.
    pub records: u64,
    /// Records a second.
    pub records_per_second: f64,
    /// Megabytes (10⁶) a second: of values where these are looked at, else of batches.
    pub megabytes_per_second: f64,
    /// The median latency, milliseconds.
    pub p50_ms: Option<f64>,
    /// 99 % are not above.
    pub p99_ms: Option<f64>,
    /// 99.9 % are not above.
    pub p999_ms: Option<f64>,
}

impl Report {
    /// Takes out what the broker used: when it was started anew, what was seen is of the first of several processes.
    pub fn hide_broker_usage(&mut self) {
        self.broker_usage = None;
        for second in &mut self.series {
            (second.broker_cores, second.broker_resident_bytes) = (None, None);
        }
    }
}

/// The figures of a track from all that its threads noted.
pub fn track_report(track: &Track, split: &Split, measured_from: std::time::Instant) -> TrackReport {
    let measured = &split.measured;
    let seconds = measured.last.map_or(0.0, |last| last.saturating_duration_since(measured_from).as_secs_f64());
    let each_second = |count: u64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
    TrackReport {
        name: track.name.to_owned(),
        records: measured.records,
        records_with_warm_up: measured.records + split.warm_up.records,
        value_bytes: track.has_values.then_some(measured.value_bytes),
        wire_bytes: measured.wire_bytes,
        seconds,
        records_per_second: each_second(measured.records),
        value_megabytes_per_second: track.has_values.then(|| megabytes(each_second(measured.value_bytes))),
        wire_megabytes_per_second: megabytes(each_second(measured.wire_bytes)),
        latency: track.latency_of.and_then(|what| Latency::of(what, &measured.latency)),
    }
}

/// Writes the report as JSON.
///
/// # Errors
/// When the file cannot be written.
pub fn write_json(report: &Report, path: &Path) -> anyhow::Result<()> {
    let mut text = serde_json::to_string_pretty(report)?;
    text.push('\n');
    std::fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A report with something in each field.
    pub fn sample() -> Report {
        let mut histogram = Histogram::new(3).expect("a histogram");
        for ns in 1..=1000 {
            histogram.record(ns * 10_000).expect("a latency");
        }
        let usage = Usage { pid: 7, cpu_seconds: 1.5, resident_bytes_end: 50 << 20, resident_bytes_max: 60 << 20 };
        Report {
            version: "0.1.0".to_owned(),
            command: vec!["corelog-load".to_owned(), "produce".to_owned()],
            workload: "produce".to_owned(),
            started_unix_ms: 1_700_000_000_000,
            machine: Machine::this(),
            broker: Broker {
                address: "127.0.0.1:9092".to_owned(),
                process: Some("corelog".to_owned()),
                api_versions: vec![ApiRange { key: 0, min: 0, max: 13 }],
            },
            rate_asked: Some(1000.0),
            ended: Ended::Complete,
            failures: vec![Failure { message: "late".to_owned(), count: 2 }],
            tracks: vec![TrackReport {
                name: "produce".to_owned(),
                records: 2_000_000,
                records_with_warm_up: 2_500_000,
                value_bytes: Some(2_000_000_000),
                wire_bytes: 2_100_000_000,
                seconds: 2.0,
                records_per_second: 1_000_000.0,
                value_megabytes_per_second: Some(1000.0),
                wire_megabytes_per_second: 1050.0,
                latency: Latency::of("a request", &histogram),
            }],
            broker_usage: Some(usage),
            client_usage: Some(usage),
            other_cores: Some(0.25),
            series: vec![Second {
                ends_at_s: 1.0,
                seconds: 1.0,
                warm_up: true,
                tracks: Vec::new(),
                broker_cores: Some(0.1),
                broker_resident_bytes: Some(1),
                client_cores: 0.2,
                errors: 0,
                lag: Some(3),
            }],
            rate_search: Some(RateSearch {
                bound: "p99=5ms".to_owned(),
                steps: vec![RateStep {
                    rate: 1000.0,
                    records_per_second: 999.5,
                    latency_ms: Some(1.5),
                    kept: true,
                    why_not: None,
                }],
                highest: Some(1000.0),
            }),
            check: Some(Check { acknowledged: 5, delivered: 5, ..Check::default() }),
            guarantees: vec![Guarantee {
                mode: "at-least-once".to_owned(),
                means: "acks all".to_owned(),
                refused: None,
                client_kills: 1,
                broker_kills: 2,
                sent: 10,
                acknowledged: 9,
                delivered: 10,
                lost: 0,
                duplicated: 1,
                holds: true,
            }],
            track_usages: vec![TrackUsage { track: "produce".to_owned(), broker: Some(usage), client: None }],
        }
    }

    #[test]
    fn a_report_comes_back_from_its_file() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("run.json");
        write_json(&sample(), &path).expect("written");
        let text = std::fs::read_to_string(&path).expect("read");
        assert_eq!(serde_json::from_str::<Report>(&text).expect("a report"), sample());
    }

    #[test]
    fn latencies_are_those_of_the_histogram() {
        let latency = sample().tracks[0].latency.clone().expect("latencies");
        let near = |a: f64, b: f64| (a - b).abs() <= b * 0.001 + 1e-9;
        assert_eq!(latency.count, 1000);
        assert!(near(latency.p50_ms, 5.0) && near(latency.p90_ms, 9.0) && near(latency.p99_ms, 9.9), "{latency:?}");
        assert!(near(latency.max_ms, 10.0) && near(latency.mean_ms, 5.005) && near(latency.min_ms, 0.01));
        assert!(latency.curve.is_sorted() && latency.curve.last().is_some_and(|last| last.0 == 100.0));
        assert_eq!(Latency::of("nothing", &Histogram::new(3).expect("a histogram")), None);
    }
}
