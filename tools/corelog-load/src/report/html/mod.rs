//! One page of HTML about one run, or about several beside each other. The page needs no other file, no network and no
//! script; with a script it also tells the figures at the pointer.
//!
//! | module | what it is |
//! | --- | --- |
//! | this one | reads the runs, puts the page together, writes it |
//! | `markup` | markup that cannot be broken by what stands in it |
//! | `number` | numbers, dates and commands as a reader wants them |
//! | `scale` | where on an axis a value lies, and what stands beside the axis |
//! | `chart` | charts of lines as SVG |
//! | `cards` | what was run, where, and how it ended |
//! | `summary` | the table of the figures |
//! | `over_time`, `latency` | the charts of every workload |
//! | `outcomes`, `rpc` | what only some workloads find |
//! | `meaning` | what the figures mean |

mod cards;
mod chart;
mod latency;
mod markup;
mod meaning;
mod number;
mod outcomes;
mod over_time;
mod rpc;
mod scale;
mod summary;

use std::path::Path;

use anyhow::{Context, ensure};

use super::{Ended, Report};
use crate::options::ReportOptions;
use markup::{Html, classed, element, empty, plain};
use number::utc;
use over_time::TimeAxis;

/// Runs of a page, at most: more cannot be told apart in a chart.
const RUNS_MAX: usize = chart::COLOURS;

/// A run as the page tells of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    /// What it is called.
    pub name: String,
    /// Its colour in the charts: its place on the page.
    pub colour: usize,
    /// Its figures.
    pub report: Report,
}

/// Reads the runs' files and writes their page.
///
/// # Errors
/// When there are too many files, not a name for each, one cannot be read or is no result of a run, or the page cannot
/// be written.
pub fn report(options: &ReportOptions) -> anyhow::Result<()> {
    let (files, names) = (options.results.len(), options.names.len());
    ensure!(
        files <= RUNS_MAX,
        "{files} files: a page has at most {RUNS_MAX} runs, more cannot be told apart in a chart"
    );
    ensure!(
        names == 0 || names == files,
        "--name: {names} names for {files} files; each file needs one, or none has any"
    );
    let names = if names > 0 { options.names.clone() } else { file_names(&options.results) };
    let runs = options.results.iter().zip(names).enumerate();
    let runs = runs.map(|(colour, (path, name))| Ok(Run { name, colour, report: read(path)? }));
    write(&runs.collect::<anyhow::Result<Vec<Run>>>()?, &options.output)
}

/// Writes the page of one run, which is called as its broker's process is.
///
/// # Errors
/// When it cannot be written.
pub fn write_run(report: &Report, path: &Path) -> anyhow::Result<()> {
    let name = report.broker.process.clone().unwrap_or_else(|| report.broker.address.clone());
    write(&[Run { name, colour: 0, report: report.clone() }], path)
}

fn write(runs: &[Run], path: &Path) -> anyhow::Result<()> {
    std::fs::write(path, page(runs)).with_context(|| format!("write {}", path.display()))
}

fn read(path: &Path) -> anyhow::Result<Report> {
    let text = std::fs::read(path).with_context(|| format!("read {}", path.display()))?;
    serde_json::from_slice(&text).map_err(|error| {
        let what =
            if error.is_data() { "is JSON, but no result that --json wrote" } else { "is no JSON, or is cut off" };
        anyhow::anyhow!("{} {what}: {error}", path.display())
    })
}

/// The files' names without their endings; with their directories, when names would be equal.
fn file_names(paths: &[std::path::PathBuf]) -> Vec<String> {
    let stem = |path: &Path| path.file_stem().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let is_shared = |name: &String| paths.iter().filter(|path| stem(path) == *name).count() > 1;
    let name = |path: &std::path::PathBuf| match stem(path) {
        name if is_shared(&name) => path.display().to_string(),
        name => name,
    };
    paths.iter().map(name).collect()
}

/// The page.
pub fn page(runs: &[Run]) -> String {
    let axis = TimeAxis::new(runs);
    let over_time =
        |charts: fn(&[Run], &TimeAxis) -> Html| axis.as_ref().map_or_else(Html::new, |axis| charts(runs, axis));
    let sections = [
        section("Runs", cards::cards(runs)),
        section("Figures", summary::summary(runs)),
        section("RPC beside stream", rpc::rpc_beside_stream(runs)),
        section("Highest rate", outcomes::rate_searches(runs)),
        section("Every record checked", outcomes::checks(runs)),
        section("Delivery guarantees", outcomes::guarantees(runs)),
        section("Throughput", over_time(over_time::throughput)),
        section("Latency", latency::latencies(runs, axis.as_ref())),
        section("Broker and client", over_time(over_time::processes)),
        section("Lag and errors", over_time(over_time::lag_and_errors)),
        section("What the figures mean", meaning::meaning(runs)),
    ];
    let title = title(runs);
    let head = [
        empty("meta", &[("charset", "utf-8")]),
        empty("meta", &[("name", "viewport"), ("content", "width=device-width, initial-scale=1")]),
        empty("meta", &[("http-equiv", "Content-Security-Policy"), ("content", POLICY)]),
        plain("title", title.as_str()),
        plain("style", Html::constant(include_str!("style.css"))),
    ];
    let script = plain("script", Html::constant(include_str!("tooltip.js")));
    let body = [plain("header", header(runs, &title)), plain("main", Html::from(sections)), script];
    let html = element("html", &[("lang", "en")], [plain("head", Html::from(head)), plain("body", Html::from(body))]);
    format!("<!DOCTYPE html>\n{}\n", html.into_string())
}

/// The browser's word that the page fetches nothing.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

fn section(title: &'static str, content: Html) -> Html {
    if content.is_empty() { content } else { plain("section", [plain("h2", title), content]) }
}

fn title(runs: &[Run]) -> String {
    let mut workloads: Vec<&str> = Vec::new();
    for run in runs {
        if !workloads.contains(&run.report.workload.as_str()) {
            workloads.push(&run.report.workload);
        }
    }
    let names: Vec<&str> = runs.iter().map(|run| run.name.as_str()).collect();
    format!("{}: {}", workloads.join(", "), names.join(" · "))
}

fn header(runs: &[Run], title: &str) -> Html {
    let starts = || runs.iter().map(|run| run.report.started_unix_ms);
    let date = match (starts().min(), starts().max()) {
        (Some(first), Some(last)) if utc(first) != utc(last) => format!("{} to {}", utc(first), utc(last)),
        (Some(first), _) => utc(first),
        _ => String::new(),
    };
    let machine = cards::shared_machine(runs).map_or_else(|| "Different machines".to_owned(), cards::machine);
    let what = format!("Measured by corelog-load, {date}");
    let cut_short: Vec<&str> =
        runs.iter().filter(|run| run.report.ended != Ended::Complete).map(|run| run.name.as_str()).collect();
    let warning = match cut_short.as_slice() {
        [] => Html::new(),
        names => classed("p", "failures", format!("Not complete, see below: {}", names.join(" · "))),
    };
    [plain("h1", title), classed("p", "quiet", what), classed("p", "quiet", machine), warning].into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Failure;
    use crate::report::tests::sample;
    use crate::report::{Second, TrackSecond};

    const HOSTILE: &str = "</script></style><img src=x onerror=alert(1)>\"'&amp;]]>\u{0}\u{202e}";

    fn second(ends_at_s: f64, warm_up: bool, value: f64, latency: Option<f64>) -> Second {
        let track = TrackSecond {
            name: "produce".to_owned(),
            records: value as u64,
            records_per_second: value,
            megabytes_per_second: value / 1000.0,
            p50_ms: latency,
            p99_ms: latency,
            p999_ms: latency,
        };
        Second {
            ends_at_s,
            seconds: 1.0,
            warm_up,
            tracks: vec![track],
            broker_cores: Some(0.5),
            broker_resident_bytes: Some(1 << 20),
            client_cores: 0.2,
            errors: 1,
            lag: Some(3),
        }
    }

    fn run(colour: usize) -> Run {
        let mut report = sample();
        report.series = vec![second(1.0, true, 10.0, Some(1.0)), second(2.0, false, 2e6, Some(250.0))];
        Run { name: format!("run {colour}"), colour, report }
    }

    /// Parses the page strictly, and holds it to what every page must be.
    fn with_page<T>(runs: &[Run], look: impl FnOnce(&roxmltree::Document<'_>) -> T) -> T {
        let page = page(runs);
        let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
        let document = roxmltree::Document::parse_with_options(&page, options);
        let document = document.unwrap_or_else(|error| panic!("{error}\n{page}"));
        let elements = || document.descendants().filter(|node| node.is_element());
        for node in elements() {
            assert!(!["img", "link", "iframe", "object", "a"].contains(&node.tag_name().name()), "{node:?}");
            for attribute in node.attributes() {
                assert!(
                    !attribute.name().starts_with("on") && !["src", "href"].contains(&attribute.name()),
                    "{attribute:?}"
                );
                let is_text = ["data-name", "aria-label"].contains(&attribute.name());
                let value = attribute.value();
                assert!(is_text || !(value.contains("NaN") || value.contains("inf")), "{attribute:?}");
            }
        }
        assert_eq!(elements().filter(|node| node.has_tag_name("script")).count(), 1);
        assert!(
            !page.contains("http://")
                && !page.contains("https://")
                && !page.contains("@import")
                && !page.contains("url(")
        );
        look(&document)
    }

    fn all_text(document: &roxmltree::Document<'_>) -> String {
        document
            .descendants()
            .filter(|node| node.is_text())
            .filter_map(|node| node.text())
            .collect::<Vec<_>>()
            .join("\n")
    }

    fn charts(document: &roxmltree::Document<'_>) -> usize {
        document
            .descendants()
            .filter(|node| node.has_tag_name("svg") && node.attribute("class") == Some("chart"))
            .count()
    }

    #[test]
    fn a_page_has_all_that_a_run_has() {
        with_page(&[run(0), run(1)], |document| {
            let text = all_text(document);
            for part in [
                "run 0",
                "run 1",
                "2,000,000",
                "no fault",
                "at-least-once",
                "p99=5ms",
                "2 × late",
                "A request.",
                "0.750",
            ] {
                assert!(text.contains(part), "{part} in {text}");
            }
            // Rates: 1, throughput 2, distribution and latency 2, cores and memory 2, lag and errors 2.
            assert_eq!(charts(document), 9);
        });
    }

    #[test]
    fn hostile_text_stays_text() {
        let mut hostile = run(0);
        hostile.name = HOSTILE.to_owned();
        let report = &mut hostile.report;
        report.command = vec![HOSTILE.to_owned()];
        report.workload = HOSTILE.to_owned();
        report.version = HOSTILE.to_owned();
        report.failures = vec![Failure { message: HOSTILE.to_owned(), count: 1 }];
        report.broker.process = Some(HOSTILE.to_owned());
        report.broker.address = HOSTILE.to_owned();
        report.machine.cpu = HOSTILE.to_owned();
        report.machine.kernel = HOSTILE.to_owned();
        report.tracks[0].name = HOSTILE.to_owned();
        report.tracks[0].latency.as_mut().expect("latencies").of = HOSTILE.to_owned();
        report.series.iter_mut().for_each(|second| second.tracks[0].name = HOSTILE.to_owned());
        let search = report.rate_search.as_mut().expect("a search");
        search.bound = HOSTILE.to_owned();
        search.steps[0].why_not = Some(HOSTILE.to_owned());
        report.guarantees[0].mode = HOSTILE.to_owned();
        report.guarantees[0].refused = Some(HOSTILE.to_owned());
        with_page(&[hostile.clone(), run(1)], |document| {
            let shown = HOSTILE.replace(['\u{0}', '\u{202e}'], "\u{fffd}");
            assert!(all_text(document).matches(&shown).count() >= 12, "{}", all_text(document));
        });
        // The workload with a drawing of its own.
        hostile.report.workload = "rpc-vs-stream".to_owned();
        with_page(&[hostile], |_| ());
    }

    #[test]
    fn whatever_is_missing_the_page_stands() {
        let mut bare = run(0);
        let report = &mut bare.report;
        (report.series, report.tracks, report.guarantees) = (Vec::new(), Vec::new(), Vec::new());
        (report.rate_search, report.check, report.broker_usage, report.client_usage) = (None, None, None, None);
        report.ended = Ended::Interrupted;
        with_page(std::slice::from_ref(&bare), |document| assert_eq!(charts(document), 0));
        with_page(&[bare.clone(), run(1)], |document| assert_eq!(charts(document), 9));
        with_page(&[], |document| assert_eq!(charts(document), 0));

        let hard = [0.0, f64::NAN, f64::INFINITY, -1.0, f64::MAX, f64::MIN_POSITIVE];
        for value in hard {
            let mut odd = run(0);
            odd.report.series = vec![second(value, true, value, Some(value))];
            odd.report.series[0].seconds = value;
            odd.report.series[0].broker_cores = Some(value);
            odd.report.rate_asked = Some(value);
            let search = odd.report.rate_search.as_mut().expect("a search");
            (search.steps[0].rate, search.steps[0].latency_ms, search.highest) = (value, Some(value), Some(value));
            let latency = odd.report.tracks[0].latency.as_mut().expect("latencies");
            (latency.max_ms, latency.count) = (value, 0);
            latency.curve = vec![(value, value), (50.0, value), (100.0, value)];
            odd.report.started_unix_ms = i64::MIN;
            with_page(&[odd, run(1)], |_| ());
        }
    }

    #[test]
    fn a_check_with_faults_and_a_broken_or_refused_guarantee_stand_out() {
        let mut faulty = run(0);
        let check = faulty.report.check.as_mut().expect("a check");
        (check.lost, check.corrupted) = (3, 1234);
        let mut refused = faulty.report.guarantees[0].clone();
        refused.refused = Some("no transactions".to_owned());
        faulty.report.guarantees[0].holds = false;
        faulty.report.guarantees.push(refused);
        with_page(&[faulty], |document| {
            let text = all_text(document);
            for part in [
                "faults: 3 lost, 1,234 corrupted",
                "BROKEN",
                "not offered by the broker, and not tried: no transactions",
            ] {
                assert!(text.contains(part), "{part} in {text}");
            }
            assert!(!text.contains("no fault"), "{text}");
        });
    }

    #[test]
    fn files_that_are_none_are_named() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = |name: &str| directory.path().join(name);
        let options =
            |results: Vec<std::path::PathBuf>| ReportOptions { results, output: path("r.html"), names: Vec::new() };
        super::super::write_json(&sample(), &path("good.json")).expect("written");
        std::fs::write(path("cut.json"), "{\"version\": \"0.1").expect("written");
        std::fs::write(path("other.json"), "{\"tool\": 1}").expect("written");
        for (file, what) in
            [("missing.json", "read "), ("cut.json", "is no JSON"), ("other.json", "no result that --json")]
        {
            let error = report(&options(vec![path("good.json"), path(file)])).expect_err("an error");
            let error = format!("{error:#}");
            assert!(error.contains(what) && error.contains(file), "{error}");
            assert!(!path("r.html").exists());
        }
        let nine = report(&options(vec![path("good.json"); 9])).expect_err("an error");
        assert!(nine.to_string().contains("at most 8"), "{nine}");
        let mut named = options(vec![path("good.json"); 2]);
        named.names = vec!["one".to_owned()];
        assert!(report(&named).expect_err("an error").to_string().contains("1 names for 2 files"));
        named.names.push("two".to_owned());
        report(&named).expect("a page");
        let page = std::fs::read_to_string(path("r.html")).expect("the page");
        assert!(page.contains("<h1>produce: one · two</h1>"), "{page}");
    }

    #[test]
    fn runs_are_called_as_their_files() {
        let names = |paths: &[&str]| file_names(&paths.iter().map(std::path::PathBuf::from).collect::<Vec<_>>());
        assert_eq!(names(&["x/corelog.json", "kafka.v3.json"]), ["corelog", "kafka.v3"]);
        assert_eq!(names(&["x/run.json", "y/run.json", "z.json"]), ["x/run.json", "y/run.json", "z"]);
    }
}
