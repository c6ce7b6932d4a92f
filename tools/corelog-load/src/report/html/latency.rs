//! Latencies: the whole distribution of each run, and how its percentiles went over time.

use super::Run;
use super::chart::{Chart, Line};
use super::markup::{Html, classed};
use super::number::figure;
use super::over_time::{Shown, TimeAxis, Told, in_second, track_names};
use super::scale::Scale;
use crate::report::{Latency, TrackSecond};

/// A percentile's name, and what it was in a second.
type Percentile = (&'static str, fn(&TrackSecond) -> Option<f64>);

const PERCENTILES: [Percentile; 3] =
    [("median (p50)", |track| track.p50_ms), ("p99", |track| track.p99_ms), ("p99.9", |track| track.p999_ms)];

/// The charts; nothing when no track has latencies.
pub fn latencies(runs: &[Run], axis: Option<&TimeAxis>) -> Html {
    let mut charts = distributions(runs);
    if let Some(axis) = axis {
        charts.push(track_names(runs).into_iter().map(|name| over_time(runs, name, axis)).collect::<Html>());
    }
    if charts.is_empty() { charts } else { classed("div", "charts", charts) }
}

fn distributions(runs: &[Run]) -> Html {
    let names = track_names(runs);
    let mut lines = Vec::new();
    for run in runs {
        for track in &run.report.tracks {
            let Some(latency) = &track.latency else { continue };
            let stroke = names.iter().position(|name| *name == track.name).unwrap_or(0);
            let points = curve(latency);
            lines.push(Line { run: run.name.clone(), colour: run.colour, what: track.name.clone(), stroke, points });
        }
    }
    if lines.is_empty() {
        return Html::new();
    }
    let points = || lines.iter().flat_map(|line| line.points.iter());
    let chart = Chart {
        title: "Distribution of latencies".to_owned(),
        note: "At 99 %: 99 of 100 latencies are not above. At the right end: the highest of all.".to_owned(),
        x_label: "percentile".to_owned(),
        y_label: "ms (log)".to_owned(),
        x: Scale::percentile(points().map(|point| point.0)),
        y: Scale::log(points().filter_map(|point| point.1)),
        lines,
        warm_ups: Vec::new(),
        rules: Vec::new(),
        marks: Vec::new(),
        x_text: |percentile| format!("{} %", (percentile * 1e5).round() / 1e5),
        y_text: ms_text,
    };
    chart.figure()
}

/// The curve as it is drawn: 100 % has no place on its axis, so the highest latency stands where all but one are below.
fn curve(latency: &Latency) -> Vec<(f64, Option<f64>)> {
    let mut points: Vec<(f64, Option<f64>)> =
        latency.curve.iter().filter(|point| point.0 < 100.0).map(|point| (point.0, Some(point.1))).collect();
    let before = points.last().map_or(0.0, |last| last.0);
    let all_but_one = 100.0 * (1.0 - 1.0 / latency.count.max(1) as f64);
    points.push((all_but_one.max(before), Some(latency.max_ms)));
    points
}

fn over_time(runs: &[Run], name: &str, axis: &TimeAxis) -> Html {
    let title = format!("{name}: latency over time");
    let mut notes: Vec<&str> = Vec::new();
    for track in runs.iter().flat_map(|run| &run.report.tracks).filter(|track| track.name == name) {
        if let Some(latency) = &track.latency
            && !notes.contains(&latency.of.as_str())
        {
            notes.push(&latency.of);
        }
    }
    let note = sentence(&notes.join("; or "));
    let shown = Shown { title: &title, note: &note, y_label: "ms (log)", is_log: true, y_text: ms_text };
    let of_run = |run| {
        let of_percentile = move |(place, (label, value)): (usize, &Percentile)| {
            axis.line(run, (place, *label), Told::Highest, |second| in_second(second, name).and_then(value))
        };
        PERCENTILES.iter().enumerate().map(of_percentile).collect::<Vec<_>>()
    };
    axis.chart(&shown, runs.iter().flat_map(of_run).collect())
}

/// With a capital letter.
pub fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}

fn ms_text(ms: f64) -> String {
    format!("{} ms", figure(ms))
}
