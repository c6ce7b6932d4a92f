//! The table of the figures: a column for each track of each run, and the best of those that can be compared in bold.

use super::Run;
use super::markup::{Html, classed, element, plain};
use crate::report::{Ended, Latency, Report, TrackReport, TrackUsage, Usage, grouped};

/// Records of runs whose sizes differ by more are not compared.
const SIZE_DIFFERENCE_MAX: f64 = 0.01;
const MIB: u64 = 1 << 20;

/// Which of two figures is the better one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Better {
    Neither,
    /// Higher, when nothing limits the rate: else a run has the rate that it was given.
    HigherWithoutRate,
    Lower,
}

/// A column: a track of a run. A run without tracks has one column, without figures.
struct Column<'a> {
    run: &'a Run,
    track: Option<&'a TrackReport>,
}

/// A figure, and how it is told.
type Cell = Option<(f64, String)>;
/// A line of the table.
type Row = (&'static str, Better, fn(&Column<'_>) -> Cell);

const OF_TRACKS: [Row; 15] = [
    ("records", Better::Neither, |column| count(column.track?.records)),
    ("seconds", Better::Neither, |column| decimal(column.track?.seconds, 3)),
    ("records/s", Better::HigherWithoutRate, |column| {
        let rate = column.track?.records_per_second;
        Some((rate, grouped(rate.round() as u64)))
    }),
    ("MB/s of values", Better::HigherWithoutRate, |column| decimal(column.track?.value_megabytes_per_second?, 2)),
    ("MB/s on the wire", Better::Neither, |column| decimal(column.track?.wire_megabytes_per_second, 2)),
    ("latencies", Better::Neither, |column| count(column.latency()?.count)),
    ("mean ms", Better::Lower, |column| decimal(column.latency()?.mean_ms, 3)),
    ("p50 ms", Better::Lower, |column| decimal(column.latency()?.p50_ms, 3)),
    ("p90 ms", Better::Lower, |column| decimal(column.latency()?.p90_ms, 3)),
    ("p99 ms", Better::Lower, |column| decimal(column.latency()?.p99_ms, 3)),
    ("p99.9 ms", Better::Lower, |column| decimal(column.latency()?.p999_ms, 3)),
    ("p99.99 ms", Better::Lower, |column| decimal(column.latency()?.p9999_ms, 3)),
    ("max ms", Better::Lower, |column| decimal(column.latency()?.max_ms, 3)),
    ("broker CPU µs a record", Better::Lower, |column| a_record_of_track(column, |usage| usage.broker)),
    ("client CPU µs a record", Better::Neither, |column| a_record_of_track(column, |usage| usage.client)),
];

/// These are told once for each run. A broker's memory tells of what it did before, too: there is no better one.
const OF_RUNS: [Row; 6] = [
    ("broker CPU s", Better::Neither, |column| decimal(column.run.report.broker_usage?.cpu_seconds, 2)),
    ("broker CPU µs a record", Better::Lower, |column| a_record(&column.run.report, column.run.report.broker_usage?)),
    ("broker memory MiB, at the end", Better::Neither, |column| {
        mib(column.run.report.broker_usage?.resident_bytes_end)
    }),
    ("broker memory MiB, at most", Better::Neither, |column| mib(column.run.report.broker_usage?.resident_bytes_max)),
    ("client CPU s", Better::Neither, |column| decimal(column.run.report.client_usage?.cpu_seconds, 2)),
    ("client CPU µs a record", Better::Neither, |column| {
        a_record(&column.run.report, column.run.report.client_usage?)
    }),
];

impl<'a> Column<'a> {
    fn latency(&self) -> Option<&'a Latency> {
        self.track?.latency.as_ref()
    }

    /// Whether it tells of the same work: then one can be better.
    fn is_comparable(&self, other: &Column<'_>) -> bool {
        let (Some(one), Some(two)) = (self.track, other.track) else { return false };
        let (run, other_run) = (&self.run.report, &other.run.report);
        let size =
            |track: &TrackReport| track.value_bytes.unwrap_or(track.wire_bytes) as f64 / track.records.max(1) as f64;
        run.ended == Ended::Complete
            && other_run.ended == Ended::Complete
            && run.workload == other_run.workload
            && run.rate_asked == other_run.rate_asked
            && one.name == two.name
            && one.latency.as_ref().map(|latency| &latency.of) == two.latency.as_ref().map(|latency| &latency.of)
            && (size(one) - size(two)).abs() <= SIZE_DIFFERENCE_MAX * size(one)
    }
}

/// The table.
pub fn summary(runs: &[Run]) -> Html {
    let columns: Vec<Column<'_>> = runs.iter().flat_map(columns).collect();
    let firsts: Vec<Column<'_>> = runs.iter().map(|run| Column { run, track: run.report.tracks.first() }).collect();
    let mut body: Html = OF_TRACKS.iter().map(|row| line(row, &columns, |_| 1)).collect();
    body.push(OF_RUNS.iter().map(|row| line(row, &firsts, |run| run.report.tracks.len().max(1))).collect::<Html>());
    let table = plain("table", [plain("thead", heads(runs)), plain("tbody", body)]);
    let note = "Bold: the best among runs that can be compared, which are complete, and of the same workload, rate and \
                size of records.";
    let note = if runs.len() > 1 { classed("p", "quiet", note) } else { Html::new() };
    [classed("div", "wide", table), note].into()
}

fn columns(run: &Run) -> Vec<Column<'_>> {
    if run.report.tracks.is_empty() {
        return vec![Column { run, track: None }];
    }
    run.report.tracks.iter().map(|track| Column { run, track: Some(track) }).collect()
}

fn heads(runs: &[Run]) -> Html {
    let mut names = element("th", &[("class", "first")], "");
    let mut tracks = names.clone();
    for run in runs {
        let swatch = classed("i", &format!("swatch c{}", run.colour), Html::new());
        let span = run.report.tracks.len().max(1).to_string();
        let name: Html = [swatch, run.name.as_str().into()].into();
        names.push(element("th", &[("class", "run-start name"), ("colspan", &span), ("scope", "colgroup")], name));
        for (place, column) in columns(run).iter().enumerate() {
            let name = column.track.map_or("", |track| track.name.as_str());
            tracks.push(element("th", &[("class", run_start(place == 0)), ("scope", "col")], name));
        }
    }
    [plain("tr", names), plain("tr", tracks)].into()
}

fn run_start(is_start: bool) -> &'static str {
    if is_start { "run-start" } else { "" }
}

/// A line; nothing when it says nothing of any column.
fn line(row: &Row, columns: &[Column<'_>], span: impl Fn(&Run) -> usize) -> Html {
    let (label, better, figure) = row;
    let cells: Vec<Cell> = columns.iter().map(figure).collect();
    if cells.iter().all(Option::is_none) {
        return Html::new();
    }
    let mut out = element("th", &[("scope", "row")], *label);
    for (place, cell) in cells.iter().enumerate() {
        let text = cell.as_ref().map_or("", |cell| cell.1.as_str());
        let is_best = is_best(place, columns, &cells, *better);
        let content = if is_best { plain("b", text) } else { text.into() };
        let column = &columns[place];
        let is_start = place == 0 || !std::ptr::eq(columns[place - 1].run, column.run);
        let span = span(column.run).to_string();
        let attributes = [("class", run_start(is_start)), ("colspan", span.as_str())];
        out.push(element("td", &attributes[..if span == "1" { 1 } else { 2 }], content));
    }
    plain("tr", out)
}

/// Whether a figure is the best of at least two that differ as they are told.
fn is_best(place: usize, columns: &[Column<'_>], cells: &[Cell], better: Better) -> bool {
    let column = &columns[place];
    let Some((own, own_text)) = &cells[place] else { return false };
    let is_higher = match better {
        Better::Neither => return false,
        Better::HigherWithoutRate if column.run.report.rate_asked.is_some() => return false,
        Better::HigherWithoutRate => true,
        Better::Lower => false,
    };
    let others = columns.iter().zip(cells).enumerate();
    let mut others = others.filter_map(|(other, (other_column, cell))| {
        (other != place && column.is_comparable(other_column)).then_some(cell.as_ref()?)
    });
    let is_not_behind =
        |other: &(f64, String)| other.1 == *own_text || if is_higher { *own > other.0 } else { *own < other.0 };
    let (mut all, mut differ) = (true, false);
    others.by_ref().for_each(|other| {
        all &= is_not_behind(other);
        differ |= other.1 != *own_text;
    });
    all && differ
}

fn count(number: u64) -> Cell {
    Some((number as f64, grouped(number)))
}

fn decimal(value: f64, decimals: usize) -> Cell {
    Some((value, format!("{value:.decimals$}")))
}

fn mib(bytes: u64) -> Cell {
    count(bytes / MIB)
}

/// Of a track that had the machine for itself.
fn a_record_of_track(column: &Column<'_>, usage: fn(&TrackUsage) -> Option<Usage>) -> Cell {
    let track = column.track.filter(|track| track.records > 0)?;
    let own = column.run.report.track_usages.iter().find(|usage| usage.track == track.name)?;
    decimal(usage(own)?.cpu_seconds * 1e6 / track.records as f64, 3)
}

fn a_record(report: &Report, usage: Usage) -> Cell {
    // Of loads that ran one after the other each has its own.
    if !report.track_usages.is_empty() {
        return None;
    }
    let records = report.tracks.iter().map(|track| track.records).max().filter(|&records| records > 0)?;
    decimal(usage.cpu_seconds * 1e6 / records as f64, 3)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    fn run(name: &str, change: impl FnOnce(&mut Report)) -> Run {
        let mut report = sample();
        report.failures.clear();
        report.rate_asked = None;
        change(&mut report);
        Run { name: name.to_owned(), colour: 0, report }
    }

    /// The cells of the line with this label, and whether each is bold.
    fn cells(runs: &[Run], label: &str) -> Vec<(String, bool)> {
        let markup = plain("div", summary(runs)).into_string();
        let document = roxmltree::Document::parse(&markup).expect("well-formed");
        let is_line = |node: &roxmltree::Node<'_, '_>| {
            node.has_tag_name("tr") && node.first_element_child().and_then(|head| head.text()) == Some(label)
        };
        let line = document.descendants().find(is_line).unwrap_or_else(|| panic!("{label} in {markup}"));
        let cells = line.children().filter(|node| node.has_tag_name("td"));
        let cell = |node: roxmltree::Node<'_, '_>| {
            let text: String =
                node.descendants().filter(|node| node.is_text()).filter_map(|node| node.text()).collect();
            (text, node.first_element_child().is_some_and(|child| child.has_tag_name("b")))
        };
        cells.map(cell).collect()
    }

    fn bold(runs: &[Run], label: &str) -> Vec<bool> {
        cells(runs, label).into_iter().map(|cell| cell.1).collect()
    }

    #[test]
    fn the_best_of_what_can_be_compared_is_bold() {
        let fast = |report: &mut Report| {
            report.tracks[0].records_per_second = 2e6;
            report.tracks[0].latency.as_mut().expect("latencies").p99_ms = 99.0;
        };
        let runs = [run("slow", |_| {}), run("fast", fast)];
        assert_eq!(cells(&runs, "records/s"), [("1,000,000".to_owned(), false), ("2,000,000".to_owned(), true)]);
        assert_eq!(bold(&runs, "p99 ms"), [true, false]);
        assert_eq!(bold(&runs, "p50 ms"), [false, false], "equal figures: neither is better");
        assert_eq!(bold(&runs, "records"), [false, false], "more records are no merit");
        assert_eq!(bold(&runs[..1], "records/s"), [false]);
    }

    #[test]
    fn what_differs_in_its_work_is_not_compared() {
        let changes: [fn(&mut Report); 5] = [
            |report| report.workload = "consume".to_owned(),
            |report| report.ended = Ended::Failed,
            |report| report.rate_asked = Some(5.0),
            |report| report.tracks[0].value_bytes = Some(1),
            |report| report.tracks[0].latency.as_mut().expect("latencies").of = "something else".to_owned(),
        ];
        for change in changes {
            let better = |report: &mut Report| {
                report.tracks[0].records_per_second = 2e6;
                change(report);
            };
            let runs = [run("one", |_| {}), run("two", better)];
            assert_eq!(bold(&runs, "records/s"), [false, false], "{:?}", runs[1].report);
        }
    }

    #[test]
    fn a_run_without_tracks_has_an_empty_column() {
        let runs = [run("none", |report| report.tracks.clear()), run("some", |_| {})];
        let texts: Vec<String> = cells(&runs, "records").into_iter().map(|cell| cell.0).collect();
        assert_eq!(texts, ["", "2,000,000"]);
        assert_eq!(cells(&runs, "broker CPU µs a record")[1].0, "0.750");
    }
}
