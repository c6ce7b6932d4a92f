//! `corelog-load report` and `--report`: the page's figures are those of the runs.

use crate::harness::{Broker, load};
use serde_json::Value;
use std::path::Path;

/// The text of each cell of the line of the table of figures that begins with `label`.
fn cells(page: &Path, label: &str) -> Vec<String> {
    let page = std::fs::read_to_string(page).expect("the page");
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
    let document = roxmltree::Document::parse_with_options(&page, options).expect("a well-formed page");
    let is_line = |node: &roxmltree::Node<'_, '_>| {
        node.has_tag_name("tr") && node.first_element_child().and_then(|head| head.text()) == Some(label)
    };
    let line = document.descendants().find(is_line).unwrap_or_else(|| panic!("no line {label} in {page}"));
    let text = |cell: roxmltree::Node<'_, '_>| {
        cell.descendants().filter_map(|node| node.is_text().then(|| node.text())?).collect()
    };
    line.children().filter(|node| node.has_tag_name("td")).map(text).collect()
}

/// A latency of the first track as tables tell it.
fn ms(report: &Value, field: &str) -> String {
    format!("{:.3}", report["tracks"][0]["latency"][field].as_f64().expect("a latency"))
}

#[test]
fn two_runs_stand_beside_each_other_with_their_own_figures() {
    let directory = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a private directory");
    let path = |name: &str| directory.path().join(name);
    let run = {
        let broker = Broker::start();
        let run = |records: u64, page: &Path| {
            let run = load(&format!(
                "produce --bootstrap {} --topic reported --records {records} --records-per-batch 10 --report {}",
                broker.bootstrap(),
                page.display()
            ));
            run.expect_success();
            run.report
        };
        [run(1230, &path("one.html")), run(4560, &path("two.html"))]
    };
    for (report, name) in run.iter().zip(["first", "second"]) {
        std::fs::write(path(name).with_extension("json"), report.to_string()).expect("written");
    }
    // A run's own page.
    assert_eq!(cells(&path("one.html"), "records"), ["1,230"]);
    assert_eq!(cells(&path("two.html"), "records"), ["4,560"]);
    assert_eq!(cells(&path("two.html"), "p99 ms"), [ms(&run[1], "p99_ms")]);

    let report = |more: &str| {
        let [first, second, both] =
            ["first.json", "second.json", "both.html"].map(|name| path(name).display().to_string());
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_corelog-load"));
        command.arg("report").args([first, second]).args(["-o", &both]).args(more.split_whitespace());
        command.output().expect("run the load generator")
    };
    let output = report("");
    assert!(output.status.success(), "{output:?}");
    let both = path("both.html");
    assert_eq!(cells(&both, "records"), ["1,230", "4,560"]);
    for (label, field) in [("p50 ms", "p50_ms"), ("p99.9 ms", "p999_ms"), ("max ms", "max_ms")] {
        assert_eq!(cells(&both, label), run.each_ref().map(|report| ms(report, field)), "{label}");
    }
    let page = std::fs::read_to_string(&both).expect("the page");
    assert!(page.contains("<h1>produce: first · second</h1>"), "{page}");
    assert!(
        page.contains("<span>1230</span>") && page.contains("<span>4560</span>"),
        "the commands that repeat the runs"
    );
    assert!(page.contains("data-name=\"second, p99\""), "a line of the second run's latencies");

    let output = report("--name only");
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&output.stderr).contains("1 names for 2 files"), "{output:?}");
    std::fs::write(path("second.json"), "{}").expect("written");
    let output = report("");
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(error.contains("second.json is JSON, but no result that --json wrote"), "{error}");
}
