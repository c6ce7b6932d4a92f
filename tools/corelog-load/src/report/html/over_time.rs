//! What the seconds of the runs showed: throughput, processes, lag and errors. The runs lie over each other from their
//! starts.

use super::Run;
use super::chart::{Chart, Line};
use super::markup::{Html, classed};
use super::number::figure;
use super::scale::Scale;
use crate::report::{Second, TrackSecond};

/// A shorter piece of time has figures too few to draw, unless a run has no longer one.
const DRAWN_SECONDS_MIN: f64 = 0.1;
const MIB: f64 = 1_048_576.0;

/// The axis of time, which all charts share.
pub struct TimeAxis {
    unit: Unit,
    scale: Scale,
    warm_ups: Vec<f64>,
}

struct Unit {
    seconds: f64,
    label: &'static str,
    text: fn(f64) -> String,
}

const UNITS: [(f64, Unit); 3] = [
    (300.0, Unit { seconds: 1.0, label: "seconds since the start", text: |x| format!("at {x:.1} s") }),
    (3.0 * 3600.0, Unit { seconds: 60.0, label: "minutes since the start", text: |x| format!("at {x:.2} min") }),
    (f64::INFINITY, Unit { seconds: 3600.0, label: "hours since the start", text: |x| format!("at {x:.3} h") }),
];

/// A chart over time, before its axis of y is known.
pub struct Shown<'a> {
    /// Its title.
    pub title: &'a str,
    /// A sentence below, if any.
    pub note: &'a str,
    /// What y is.
    pub y_label: &'a str,
    /// Whether y is logarithmic.
    pub is_log: bool,
    /// How a y is told.
    pub y_text: fn(f64) -> String,
}

impl TimeAxis {
    /// As long as the longest run; `None` when no run has a second.
    pub fn new(runs: &[Run]) -> Option<TimeAxis> {
        let ends = || runs.iter().flat_map(|run| run.report.series.iter().map(|second| second.ends_at_s));
        let longest = ends().filter(|end| end.is_finite()).reduce(f64::max)?;
        let (_, unit) = UNITS.into_iter().find(|(up_to, _)| longest <= *up_to)?;
        let mut warm_ups: Vec<f64> = runs.iter().filter_map(|run| warm_up_end(&run.report.series)).collect();
        warm_ups.iter_mut().for_each(|end| *end /= unit.seconds);
        warm_ups.sort_by(f64::total_cmp);
        // The ends of equal warm-ups differ by microseconds.
        warm_ups.dedup_by(|next, kept| *next - *kept < 0.01);
        let scale = Scale::linear_snug(ends().map(|end| end / unit.seconds));
        Some(TimeAxis { unit, scale, warm_ups })
    }

    /// A line of what each second says; a rate lies in the middle of its second, what is counted at its end lies there.
    pub fn line(&self, run: &Run, what: (usize, &str), is_rate: bool, value: impl Fn(&Second) -> Option<f64>) -> Line {
        let place = |second: &Second| second.ends_at_s - if is_rate { second.seconds / 2.0 } else { 0.0 };
        let points = drawn(&run.report.series).map(|second| (place(second) / self.unit.seconds, value(second)));
        Line {
            run: run.name.clone(),
            colour: run.colour,
            what: what.1.to_owned(),
            stroke: what.0,
            points: points.collect(),
        }
    }

    /// The chart of these lines; nothing when they have no points.
    pub fn chart(&self, shown: &Shown<'_>, mut lines: Vec<Line>) -> Html {
        lines.retain(|line| line.points.iter().any(|point| point.1.is_some()));
        if lines.is_empty() {
            return Html::new();
        }
        let values = || lines.iter().flat_map(|line| line.points.iter().filter_map(|point| point.1));
        let y = if shown.is_log { Scale::log(values()) } else { Scale::linear(values()) };
        let chart = Chart {
            title: shown.title.to_owned(),
            note: shown.note.to_owned(),
            x_label: self.unit.label.to_owned(),
            y_label: shown.y_label.to_owned(),
            x: self.scale.clone(),
            y,
            lines,
            warm_ups: self.warm_ups.clone(),
            rules: Vec::new(),
            marks: Vec::new(),
            x_text: self.unit.text,
            y_text: shown.y_text,
        };
        chart.figure()
    }
}

/// The names of all tracks, each once.
pub fn track_names(runs: &[Run]) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for track in runs.iter().flat_map(|run| &run.report.tracks) {
        if !names.contains(&track.name.as_str()) {
            names.push(&track.name);
        }
    }
    names
}

/// The seconds that are drawn.
fn drawn(series: &[Second]) -> impl Iterator<Item = &Second> {
    let all = series.iter().all(|second| second.seconds < DRAWN_SECONDS_MIN);
    series.iter().filter(move |second| all || second.seconds >= DRAWN_SECONDS_MIN)
}

fn warm_up_end(series: &[Second]) -> Option<f64> {
    series.iter().filter(|second| second.warm_up).map(|second| second.ends_at_s).reduce(f64::max)
}

/// A track in a second.
pub fn in_second<'a>(second: &'a Second, name: &str) -> Option<&'a TrackSecond> {
    second.tracks.iter().find(|track| track.name == name)
}

/// Records and bytes a second.
pub fn throughput(runs: &[Run], axis: &TimeAxis) -> Html {
    let names = track_names(runs);
    let lines = |value: fn(&TrackSecond) -> f64| -> Vec<Line> {
        let of_run = |run| {
            let of_track = move |(place, name): (usize, &&str)| {
                axis.line(run, (place, *name), true, |second| in_second(second, name).map(value))
            };
            names.iter().enumerate().map(of_track).collect::<Vec<_>>()
        };
        runs.iter().flat_map(of_run).collect()
    };
    let records = Shown { title: "Records a second", note: "", y_label: "records/s", is_log: false, y_text: figure };
    let bytes = Shown { title: "Megabytes a second", note: "", y_label: "MB/s", is_log: false, y_text: figure };
    let charts = [
        axis.chart(&records, lines(|track| track.records_per_second)),
        axis.chart(&bytes, lines(|track| track.megabytes_per_second)),
    ];
    classed("div", "charts", charts)
}

/// CPU and memory of broker and client.
pub fn processes(runs: &[Run], axis: &TimeAxis) -> Html {
    let of_run = |run| {
        [
            axis.line(run, (0, "broker"), true, |second| second.broker_cores),
            axis.line(run, (1, "client (corelog-load)"), true, |second| Some(second.client_cores)),
        ]
    };
    let cores = Shown {
        title: "CPU cores busy",
        note: "1 is one core all the time",
        y_label: "cores",
        is_log: false,
        y_text: figure,
    };
    let memory = Shown {
        title: "Memory of the broker",
        note: "What its process holds in RAM (resident set); files in the page cache are not in it",
        y_label: "MiB",
        is_log: false,
        y_text: figure,
    };
    let resident = |second: &Second| second.broker_resident_bytes.map(|bytes| bytes as f64 / MIB);
    let charts = [
        axis.chart(&cores, runs.iter().flat_map(of_run).collect()),
        axis.chart(&memory, runs.iter().map(|run| axis.line(run, (0, ""), false, resident)).collect()),
    ];
    classed("div", "charts", charts)
}

/// Records on their way, and errors; nothing when no run has any of them.
pub fn lag_and_errors(runs: &[Run], axis: &TimeAxis) -> Html {
    let lag = Shown {
        title: "Lag",
        note: "Records that were still to be delivered at the end of each second",
        y_label: "records",
        is_log: false,
        y_text: figure,
    };
    let errors = Shown {
        title: "Errors",
        note: "What went wrong and did not end the run",
        y_label: "errors a second",
        is_log: false,
        y_text: figure,
    };
    let behind = |second: &Second| second.lag.map(|records| records as f64);
    let with_errors = runs.iter().any(|run| run.report.series.iter().any(|second| second.errors > 0));
    let mut charts = axis.chart(&lag, runs.iter().map(|run| axis.line(run, (0, ""), false, behind)).collect());
    if with_errors {
        let a_second = |second: &Second| (second.seconds > 0.0).then(|| second.errors as f64 / second.seconds);
        charts.push(axis.chart(&errors, runs.iter().map(|run| axis.line(run, (0, ""), true, a_second)).collect()));
    }
    if charts.is_empty() { charts } else { classed("div", "charts", charts) }
}
