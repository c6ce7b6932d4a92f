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
/// Points of a line, about, at most: in a longer run each stands for several seconds.
pub const POINTS_MAX: usize = 240;
/// Lines whose peaks differ by more than this factor are drawn on a logarithmic axis, where the lower one is seen.
const LINEAR_FACTOR_MAX: f64 = 30.0;
const MIB: f64 = 1_048_576.0;
const GIB: f64 = 1024.0 * MIB;
/// From here on memory is told in GiB.
const LARGE_MEMORY_GIB: f64 = 4.0;

/// The axis of time, which all charts share.
pub struct TimeAxis {
    unit: Unit,
    scale: Scale,
    warm_ups: Vec<(f64, f64)>,
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
        let all = runs.iter().flat_map(|run| warm_ups(&run.report.series));
        let mut warm_ups: Vec<_> = all.map(|(start, end)| (start / unit.seconds, end / unit.seconds)).collect();
        warm_ups.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.total_cmp(&other.1)));
        // The ends of equal warm-ups differ by microseconds.
        warm_ups.dedup_by(|next, kept| next.0 - kept.0 < 0.01 && next.1 - kept.1 < 0.01);
        let scale = Scale::linear_snug(ends().map(|end| end / unit.seconds));
        Some(TimeAxis { unit, scale, warm_ups })
    }

    /// A line of what the seconds say.
    pub fn line(&self, run: &Run, what: (usize, &str), told: Told, value: impl Fn(&Second) -> Option<f64>) -> Line {
        let points = groups(&run.report.series).into_iter().map(|group| {
            let x = told.place(&group) / self.unit.seconds;
            (x, told.value(group.iter().filter_map(|second| Some((second.seconds, value(second)?)))))
        });
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

/// What a point is of the seconds that it stands for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Told {
    /// A rate: their mean, in the middle.
    Mean,
    /// Their highest, in the middle.
    Highest,
    /// What is counted at the end of each: the highest of them, at the end.
    HighestAtEnd,
}

impl Told {
    fn place(self, group: &[&Second]) -> f64 {
        let start = group.first().map_or(0.0, |first| first.ends_at_s - first.seconds);
        let end = group.last().map_or(0.0, |last| last.ends_at_s);
        if self == Told::HighestAtEnd { end } else { f64::midpoint(start, end) }
    }

    /// Of lengths and values.
    fn value(self, seconds: impl Iterator<Item = (f64, f64)>) -> Option<f64> {
        if self != Told::Mean {
            return seconds.map(|(_, value)| value).reduce(f64::max);
        }
        let (length, sum) = seconds.fold((0.0, 0.0), |(length, sum), (s, value)| (length + s, sum + s * value));
        (length > 0.0).then(|| sum / length)
    }
}

/// The seconds that are drawn, one for each point, or of a long run as many as keep the line readable. None has seconds
/// of the warm-up and others.
fn groups(series: &[Second]) -> Vec<Vec<&Second>> {
    let all = series.iter().all(|second| second.seconds < DRAWN_SECONDS_MIN);
    let drawn: Vec<&Second> = series.iter().filter(|second| all || second.seconds >= DRAWN_SECONDS_MIN).collect();
    let size = drawn.len().div_ceil(POINTS_MAX).max(1);
    let parts = drawn.chunk_by(|one, next| one.warm_up == next.warm_up);
    parts.flat_map(|part| part.chunks(size)).map(<[_]>::to_vec).collect()
}

/// From when to when the warm-ups of a run lasted: one, or one for each of the loads that ran one after the other.
fn warm_ups(series: &[Second]) -> Vec<(f64, f64)> {
    let spans = series.chunk_by(|one, next| one.warm_up == next.warm_up).filter(|seconds| seconds[0].warm_up);
    spans.map(|seconds| (seconds[0].ends_at_s - seconds[0].seconds, seconds[seconds.len() - 1].ends_at_s)).collect()
}

/// A track in a second.
pub fn in_second<'a>(second: &'a Second, name: &str) -> Option<&'a TrackSecond> {
    second.tracks.iter().find(|track| track.name == name)
}

/// Whether a linear axis would press one of the lines onto the axis.
fn differ_much(lines: &[Line]) -> bool {
    let peak = |line: &Line| line.points.iter().filter_map(|point| point.1).reduce(f64::max);
    let peaks = || lines.iter().filter_map(peak).filter(|&peak| peak > 0.0);
    peaks().fold(0.0, f64::max) > LINEAR_FACTOR_MAX * peaks().fold(f64::MAX, f64::min)
}

/// Records and bytes a second.
pub fn throughput(runs: &[Run], axis: &TimeAxis) -> Html {
    let names = track_names(runs);
    let lines = |value: fn(&TrackSecond) -> f64| -> Vec<Line> {
        let of_run = |run| {
            let of_track = move |(place, name): (usize, &&str)| {
                axis.line(run, (place, *name), Told::Mean, |second| in_second(second, name).map(value))
            };
            names.iter().enumerate().map(of_track).collect::<Vec<_>>()
        };
        runs.iter().flat_map(of_run).collect()
    };
    let chart = |title, unit: &str, value| {
        let lines = lines(value);
        let is_log = differ_much(&lines);
        let y_label = format!("{unit}{}", if is_log { " (log)" } else { "" });
        axis.chart(&Shown { title, note: "", y_label: &y_label, is_log, y_text: figure }, lines)
    };
    let charts = [
        chart("Records a second", "records/s", |track: &TrackSecond| track.records_per_second),
        chart("Megabytes a second", "MB/s", |track: &TrackSecond| track.megabytes_per_second),
    ];
    classed("div", "charts", charts)
}

/// CPU and memory of broker and client.
pub fn processes(runs: &[Run], axis: &TimeAxis) -> Html {
    let of_run = |run| {
        [
            axis.line(run, (0, "broker"), Told::Mean, |second| second.broker_cores),
            axis.line(run, (1, "client (corelog-load)"), Told::Mean, |second| Some(second.client_cores)),
        ]
    };
    let cores = Shown {
        title: "CPU cores busy",
        note: "1 is one core all the time",
        y_label: "cores",
        is_log: false,
        y_text: figure,
    };
    let all = || runs.iter().flat_map(|run| &run.report.series).filter_map(|second| second.broker_resident_bytes);
    let is_large = all().any(|bytes| bytes as f64 >= LARGE_MEMORY_GIB * GIB);
    let (unit, unit_bytes) = if is_large { ("GiB", GIB) } else { ("MiB", MIB) };
    let memory = Shown {
        title: "Memory of the broker",
        note: "What its process holds in RAM (resident set); files in the page cache are not in it",
        y_label: unit,
        is_log: false,
        y_text: figure,
    };
    let resident = |second: &Second| second.broker_resident_bytes.map(|bytes| bytes as f64 / unit_bytes);
    let charts = [
        axis.chart(&cores, runs.iter().flat_map(of_run).collect()),
        axis.chart(&memory, runs.iter().map(|run| axis.line(run, (0, ""), Told::HighestAtEnd, resident)).collect()),
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
        y_label: "errors/s",
        is_log: false,
        y_text: figure,
    };
    let behind = |second: &Second| second.lag.map(|records| records as f64);
    let with_errors = runs.iter().any(|run| run.report.series.iter().any(|second| second.errors > 0));
    let mut charts =
        axis.chart(&lag, runs.iter().map(|run| axis.line(run, (0, ""), Told::HighestAtEnd, behind)).collect());
    if with_errors {
        let a_second = |second: &Second| (second.seconds > 0.0).then(|| second.errors as f64 / second.seconds);
        charts
            .push(axis.chart(&errors, runs.iter().map(|run| axis.line(run, (0, ""), Told::Mean, a_second)).collect()));
    }
    if charts.is_empty() { charts } else { classed("div", "charts", charts) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    fn run(seconds: impl IntoIterator<Item = (f64, bool, f64)>) -> Run {
        let mut report = sample();
        let template = report.series.remove(0);
        let mut at = 0.0;
        for (seconds, warm_up, client_cores) in seconds {
            at += seconds;
            report.series.push(Second { ends_at_s: at, seconds, warm_up, client_cores, ..template.clone() });
        }
        Run { name: "run".to_owned(), colour: 0, report }
    }

    fn points(run: &Run, told: Told) -> Vec<(f64, Option<f64>)> {
        let axis = TimeAxis::new(std::slice::from_ref(run)).expect("an axis");
        axis.line(run, (0, ""), told, |second| (second.client_cores >= 0.0).then_some(second.client_cores)).points
    }

    #[test]
    fn a_point_stands_for_a_second_and_a_rest_is_left_out() {
        let run = run([(0.5, true, 1.0), (1.0, false, 2.0), (1.0, false, -1.0), (0.01, false, 99.0)]);
        assert_eq!(points(&run, Told::Mean), [(0.25, Some(1.0)), (1.0, Some(2.0)), (2.0, None)]);
        assert_eq!(points(&run, Told::HighestAtEnd), [(0.5, Some(1.0)), (1.5, Some(2.0)), (2.5, None)]);
        let short = super::tests::run([(0.02, false, 5.0)]);
        assert_eq!(points(&short, Told::Mean), [(0.01, Some(5.0))], "nothing but a rest");
    }

    #[test]
    fn each_of_several_loads_has_its_warm_up_shaded() {
        let run = run([(1.0, true, 1.0), (1.0, false, 1.0), (0.5, true, 1.0), (0.5, true, 1.0), (1.0, false, 1.0)]);
        assert_eq!(TimeAxis::new(&[run]).expect("an axis").warm_ups, [(0.0, 1.0), (2.0, 3.0)]);
    }

    #[test]
    fn in_a_long_run_a_point_stands_for_several_seconds() {
        let peak = |second: u32| if second == 5000 { 100.0 } else { 1.0 };
        let run = run((0..7200).map(|second| (1.0, second < 7, peak(second))));
        let (mean, highest) = (points(&run, Told::Mean), points(&run, Told::Highest));
        // 30 seconds each: one point of the warm-up, and 240 behind it.
        assert_eq!((mean.len(), highest.len()), (241, 241));
        // Minutes.
        assert_eq!((mean[0], mean[1].0), ((3.5 / 60.0, Some(1.0)), 22.0 / 60.0));
        let high = |points: &[(f64, Option<f64>)]| points.iter().filter_map(|point| point.1).fold(0.0, f64::max);
        assert!((high(&mean) - 129.0 / 30.0).abs() < 1e-9 && high(&highest) == 100.0);
    }

    #[test]
    fn the_unit_of_time_fits_the_longest_run() {
        for (seconds, label) in [(300, "seconds"), (301, "minutes"), (10_801, "hours")] {
            let runs = [run([(1.0, false, 1.0)]), run((0..seconds).map(|_| (1.0, false, 1.0)))];
            let axis = TimeAxis::new(&runs).expect("an axis");
            assert!(axis.unit.label.starts_with(label), "{}", axis.unit.label);
        }
        assert!(TimeAxis::new(&[run([])]).is_none());
    }

    #[test]
    fn lines_that_differ_much_need_a_logarithmic_axis() {
        let line = |peak| Line {
            run: String::new(),
            colour: 0,
            what: String::new(),
            stroke: 0,
            points: vec![(0.0, None), (1.0, Some(0.0)), (2.0, Some(peak))],
        };
        assert!(differ_much(&[line(1.0), line(31.0)]));
        assert!(!differ_much(&[line(1.0), line(29.0), line(0.0)]) && !differ_much(&[]));
    }
}
