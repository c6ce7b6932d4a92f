//! What only some workloads find: the highest rate that keeps a bound, the fate of each record, delivery guarantees.

use super::Run;
use super::chart::{Chart, Line, Mark, Rule};
use super::markup::{Html, classed, element, plain};
use super::number::figure;
use super::scale::Scale;
use crate::options::duration;
use crate::report::{Check, Guarantee, RateSearch, RateStep, grouped};

/// The search for the highest rate, of the runs that made one.
pub fn rate_searches(runs: &[Run]) -> Html {
    let searches: Vec<(&Run, &RateSearch)> =
        runs.iter().filter_map(|run| Some((run, run.report.rate_search.as_ref()?))).collect();
    if searches.is_empty() {
        return Html::new();
    }
    let verdict = |(run, search): &(&Run, &RateSearch)| {
        let found = match search.highest {
            Some(rate) => format!("kept {} up to {} records/s", search.bound, figure(rate)),
            None => format!("kept {} at no rate that was tried", search.bound),
        };
        plain("p", [plain("strong", run.name.as_str()), format!(" {found}.").into()])
    };
    let mut out: Html = searches.iter().map(verdict).collect();
    out.push(classed("div", "charts", rate_chart(&searches)));
    out.push(rate_table(&searches));
    out
}

fn rate_chart(searches: &[(&Run, &RateSearch)]) -> Html {
    let mut lines = Vec::new();
    let mut marks = Vec::new();
    let mut rules: Vec<Rule> = Vec::new();
    for (run, search) in searches {
        let known = |step: &RateStep| Some((step.rate, step.latency_ms?, step.kept));
        let mut points: Vec<(f64, f64, bool)> = search.steps.iter().filter_map(known).collect();
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
        marks.extend(points.iter().map(|&(x, y, is_good)| Mark { x, y, colour: run.colour, is_good }));
        let points = points.iter().map(|&(x, y, _)| (x, Some(y))).collect();
        lines.push(Line { run: run.name.clone(), colour: run.colour, what: String::new(), stroke: 2, points });
        // The bound stands as `p99=5ms`.
        let bound = search.bound.split_once('=').and_then(|(_, bound)| duration(bound).ok());
        if let Some(bound) = bound
            && !rules.iter().any(|rule| rule.label.ends_with(&search.bound))
        {
            rules.push(Rule { y: bound.as_secs_f64() * 1e3, label: format!("bound: {}", search.bound) });
        }
    }
    if marks.is_empty() {
        return Html::new();
    }
    let chart = Chart {
        title: "Latency by rate".to_owned(),
        note: "A dot: the rate kept the bound. A cross: it did not.".to_owned(),
        x_label: "records/s asked for".to_owned(),
        y_label: "ms (log)".to_owned(),
        x: Scale::linear(marks.iter().map(|mark| mark.x)),
        y: Scale::log(marks.iter().map(|mark| mark.y).chain(rules.iter().map(|rule| rule.y))),
        lines,
        warm_ups: Vec::new(),
        rules,
        marks,
        x_text: |rate| format!("{} records/s", figure(rate)),
        y_text: |ms| format!("{} ms", figure(ms)),
    };
    chart.figure()
}

fn rate_table(searches: &[(&Run, &RateSearch)]) -> Html {
    let heads = [
        ("run", "first"),
        ("records/s asked for", ""),
        ("records/s reached", ""),
        ("latency ms", ""),
        ("bound", "middle"),
        ("why not", "left"),
    ];
    let line = |run: &Run, step: &RateStep| {
        let kept = if step.kept { classed("span", "good", "kept") } else { classed("span", "bad", "not kept") };
        plain(
            "tr",
            [
                element("th", &[("scope", "row")], run.name.as_str()),
                plain("td", figure(step.rate)),
                plain("td", figure(step.records_per_second)),
                plain("td", step.latency_ms.map_or_else(|| "–".to_owned(), |ms| format!("{ms:.3}"))),
                classed("td", "middle", kept),
                classed("td", "text", step.why_not.as_deref().unwrap_or("")),
            ],
        )
    };
    let lines = searches.iter().flat_map(|(run, search)| search.steps.iter().map(|step| line(run, step)));
    table(&heads, lines.collect())
}

/// What became of each record, of the runs that looked.
pub fn checks(runs: &[Run]) -> Html {
    let checked: Vec<(&Run, &Check)> = runs.iter().filter_map(|run| Some((run, run.report.check.as_ref()?))).collect();
    if checked.is_empty() {
        return Html::new();
    }
    let mut heads = vec![("records", "first")];
    heads.extend(checked.iter().map(|(run, _)| (run.name.as_str(), "name")));
    let line = |label: &'static str, is_fault: bool, count: fn(&Check) -> u64| {
        let cells = checked.iter().map(|(_, check)| match count(check) {
            0 => plain("td", "0"),
            faults if is_fault => classed("td", "bad", grouped(faults)),
            number => plain("td", grouped(number)),
        });
        let mut cells: Vec<Html> = cells.collect();
        cells.insert(0, element("th", &[("scope", "row")], label));
        plain("tr", cells)
    };
    let counts = [
        line("acknowledged by the broker", false, |check| check.acknowledged),
        line("delivered (different ones)", false, |check| check.delivered),
        line("delivered without an acknowledgement", false, |check| check.unacknowledged),
        line("requests sent again", false, |check| check.retries),
        line("connections made again", false, |check| check.reconnects),
    ];
    let mut lines: Html = counts.into();
    lines.push(FAULTS.iter().map(|(label, count)| line(label, true, *count)).collect::<Html>());
    let mut out: Html = checked.iter().map(|(run, check)| verdict(run, check)).collect();
    out.push(table(&heads, lines));
    out
}

/// A fault's name, and how often there was one.
type Fault = (&'static str, fn(&Check) -> u64);

const FAULTS: [Fault; 4] = [
    ("lost", |check| check.lost),
    ("duplicated", |check| check.duplicated),
    ("reordered", |check| check.reordered),
    ("corrupted", |check| check.corrupted),
];

fn verdict(run: &Run, check: &Check) -> Html {
    let found = FAULTS.iter().map(|(label, count)| (label, count(check))).filter(|(_, count)| *count > 0);
    let found: Vec<String> = found.map(|(label, count)| format!("{} {label}", grouped(count))).collect();
    let verdict = if found.is_empty() {
        classed("strong", "good", "no fault")
    } else {
        classed("strong", "bad", format!("faults: {}", found.join(", ")))
    };
    plain("p", [format!("{}: ", run.name).into(), verdict])
}

/// What delivery guarantees came to, of the runs that tried them.
pub fn guarantees(runs: &[Run]) -> Html {
    let heads = [
        ("run", "first"),
        ("mode", "left"),
        ("holds", "middle"),
        ("sent", ""),
        ("acknowledged", ""),
        ("delivered", ""),
        ("lost", ""),
        ("duplicated", ""),
        ("client kills", ""),
        ("broker kills", ""),
    ];
    let lines: Vec<Html> = runs
        .iter()
        .flat_map(|run| run.report.guarantees.iter().map(|guarantee| guarantee_line(run, guarantee)))
        .collect();
    if lines.is_empty() {
        return Html::new();
    }
    let words = "Clients and brokers were killed while records went through. At most once: none comes twice. At \
                 least once: none that was acknowledged is lost. Exactly once: neither.";
    [plain("p", words), table(&heads, lines.into())].into()
}

fn guarantee_line(run: &Run, guarantee: &Guarantee) -> Html {
    let mut cells: Html =
        [element("th", &[("scope", "row")], run.name.as_str()), classed("td", "left", guarantee.mode.as_str())].into();
    if let Some(why) = &guarantee.refused {
        let explained = format!("not offered by the broker, and not tried: {why}");
        cells.push(element("td", &[("class", "text"), ("colspan", "8")], explained));
        return plain("tr", cells);
    }
    let holds = if guarantee.holds { classed("span", "good", "holds") } else { classed("span", "bad", "BROKEN") };
    cells.push(classed("td", "middle", holds));
    for count in [guarantee.sent, guarantee.acknowledged, guarantee.delivered] {
        cells.push(plain("td", grouped(count)));
    }
    let mode = guarantee.mode.as_str();
    for (count, allowed_by) in [(guarantee.lost, "at-most-once"), (guarantee.duplicated, "at-least-once")] {
        let class = if count > 0 && mode != allowed_by { "bad" } else { "" };
        cells.push(classed("td", class, grouped(count)));
    }
    for kills in [guarantee.client_kills, guarantee.broker_kills] {
        cells.push(plain("td", grouped(u64::from(kills))));
    }
    plain("tr", cells)
}

/// A table: its heads with their classes, and its lines.
fn table(heads: &[(&str, &str)], lines: Html) -> Html {
    let head = |(name, class): &(&str, &str)| element("th", &[("scope", "col"), ("class", class)], *name);
    let heads: Html = heads.iter().map(head).collect();
    classed("div", "wide", plain("table", [plain("thead", plain("tr", heads)), plain("tbody", lines)]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    fn run() -> Run {
        Run { name: "run".to_owned(), colour: 0, report: sample() }
    }

    /// The texts of the elements that have this class.
    fn with_class(markup: Html, class: &str) -> Vec<String> {
        let markup = plain("div", markup).into_string();
        let document = roxmltree::Document::parse(&markup).expect("well-formed");
        let found = document.descendants().filter(|node| node.attribute("class") == Some(class));
        found.map(|node| node.text().unwrap_or_default().to_owned()).collect()
    }

    #[test]
    fn red_is_what_a_guarantee_does_not_allow() {
        let mut run = run();
        let template = run.report.guarantees.remove(0);
        for (mode, bad) in
            [("at-most-once", vec!["22"]), ("at-least-once", vec!["11"]), ("exactly-once", vec!["11", "22"])]
        {
            run.report.guarantees =
                vec![Guarantee { mode: mode.to_owned(), lost: 11, duplicated: 22, ..template.clone() }];
            assert_eq!(with_class(guarantees(std::slice::from_ref(&run)), "bad"), bad, "{mode}");
        }
    }

    #[test]
    fn faults_are_red_and_other_counts_are_not() {
        let mut run = run();
        run.report.check =
            Some(Check { unacknowledged: 7, retries: 8, reconnects: 9, reordered: 3, ..Check::default() });
        assert_eq!(with_class(checks(std::slice::from_ref(&run)), "bad"), ["faults: 3 reordered", "3"]);
        run.report.check = Some(Check { unacknowledged: 7, ..Check::default() });
        assert_eq!(with_class(checks(std::slice::from_ref(&run)), "bad"), Vec::<String>::new());
    }

    #[test]
    fn rates_are_dots_or_crosses_and_the_bound_is_a_line() {
        let mut run = run();
        let search = run.report.rate_search.as_mut().expect("a search");
        let kept = search.steps[0].clone();
        search.steps.push(RateStep { rate: 2000.0, latency_ms: Some(9.0), kept: false, ..kept.clone() });
        search.steps.push(RateStep { rate: 4000.0, latency_ms: None, kept: false, ..kept });
        let drawn = || rate_searches(std::slice::from_ref(&run));
        let counts = ["dot c0", "cross c0", "rule"].map(|class| with_class(drawn(), class).len());
        assert_eq!(counts, [1, 1, 1], "a rate without a latency is only in the table");
        assert_eq!(with_class(drawn(), "bad"), ["not kept", "not kept"]);
        let search = run.report.rate_search.as_mut().expect("a search");
        search.bound = "something else".to_owned();
        assert!(with_class(rate_searches(std::slice::from_ref(&run)), "rule").is_empty());
    }
}
