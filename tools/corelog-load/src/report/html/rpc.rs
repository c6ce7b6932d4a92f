//! Calls that each wait for their answer, beside a stream: what was measured, and what textbooks say.

use super::Run;
use super::markup::{Html, classed, element, empty, plain};
use super::number::{figure, shortened};
use super::scale::Scale;
use crate::report::grouped;

/// The workload that measures it, and its tracks.
const WORKLOAD: &str = "rpc-vs-stream";
const RPC: &str = "rpc";
const STREAM: &str = "stream";
/// Records a second that textbooks name.
const TEXTBOOK_RPC: f64 = 1_000.0;
const TEXTBOOK_STREAM: f64 = 50_000.0;

/// The drawing, in units of its own.
const WIDTH: f64 = 600.0;
const LEFT: f64 = 190.0;
const RIGHT: f64 = 84.0;
const TOP: f64 = 8.0;
const BAR: f64 = 18.0;
const STEP: f64 = 28.0;
const BOTTOM: f64 = 44.0;
/// Characters that fit beside the bars.
const NAME_CHARACTERS_MAX: usize = 20;

struct Bar {
    label: String,
    class: String,
    records_per_second: f64,
}

/// The chart and the factors; nothing when no run measured it.
pub fn rpc_beside_stream(runs: &[Run]) -> Html {
    let measured: Vec<(&Run, f64, f64)> = runs
        .iter()
        .filter(|run| run.report.workload == WORKLOAD)
        .filter_map(|run| Some((run, rate_of(run, RPC)?, rate_of(run, STREAM)?)))
        .collect();
    if measured.is_empty() {
        return Html::new();
    }
    let given =
        |label: &str, rate| Bar { label: label.to_owned(), class: "bar given".to_owned(), records_per_second: rate };
    let mut bars = vec![given("RPC, textbook", TEXTBOOK_RPC), given("stream, textbook", TEXTBOOK_STREAM)];
    for (run, rpc, stream) in &measured {
        for (what, rate) in [("RPC", rpc), ("stream", stream)] {
            let whose = if measured.len() == 1 { "measured" } else { &run.name };
            let label = format!("{what}, {}", shortened(whose, NAME_CHARACTERS_MAX));
            bars.push(Bar { label, class: format!("bar c{}", run.colour), records_per_second: *rate });
        }
    }
    let caption = [
        plain("strong", "Records a second, logarithmic"),
        classed("span", "note", "Textbook figures are rules of thumb, not measured here."),
    ];
    let figure = plain("figure", [plain("figcaption", Html::from(caption)), drawing(&bars)]);
    [measured.iter().map(in_words).collect(), classed("div", "charts", figure)].into()
}

fn rate_of(run: &Run, track: &str) -> Option<f64> {
    run.report.tracks.iter().find(|own| own.name == track).map(|track| track.records_per_second)
}

fn in_words((run, rpc, stream): &(&Run, f64, f64)) -> Html {
    let textbook = format!("(textbook: {} times)", figure_of_factor(TEXTBOOK_STREAM / TEXTBOOK_RPC));
    let words = if *rpc > 0.0 {
        let factor = figure_of_factor(stream / rpc);
        format!(" carried {factor} times as many records a second by stream as by RPC {textbook}.")
    } else {
        " got no record through by RPC, so there is no factor.".to_owned()
    };
    plain("p", [plain("strong", run.name.as_str()), words.into()])
}

fn figure_of_factor(factor: f64) -> String {
    if factor >= 10.0 { grouped(factor.round() as u64) } else { figure(factor) }
}

fn drawing(bars: &[Bar]) -> Html {
    /// The axis begins at least this far below the shortest bar, as a factor, so that this one is seen.
    const BELOW: f64 = 10.0;
    let rates = || bars.iter().map(|bar| bar.records_per_second).filter(|&rate| rate > 0.0);
    let scale = Scale::log(rates().chain([rates().fold(f64::MAX, f64::min) / BELOW]));
    let x_of = |at: f64| LEFT + at * (WIDTH - LEFT - RIGHT);
    let bottom = TOP + bars.len() as f64 * STEP;
    let height = bottom + BOTTOM;
    let text = |anchor: &str, class: &str, x: f64, y: f64, content: &str| {
        let (x, y) = (format!("{x:.1}"), format!("{y:.1}"));
        element("text", &[("text-anchor", anchor), ("class", class), ("x", &x), ("y", &y)], content)
    };
    let mut out = Html::new();
    for tick in &scale.ticks {
        let (x, y1, y2) = (format!("{:.1}", x_of(tick.at)), format!("{TOP:.1}"), format!("{bottom:.1}"));
        out.push(empty("line", &[("class", "grid"), ("x1", &x), ("x2", &x), ("y1", &y1), ("y2", &y2)]));
        out.push(text("middle", "", x_of(tick.at), bottom + 17.0, &tick.label));
    }
    for (place, bar) in bars.iter().enumerate() {
        let y = TOP + place as f64 * STEP + (STEP - BAR) / 2.0;
        let end = x_of(scale.at(bar.records_per_second).unwrap_or(0.0));
        let (x, width) = (format!("{LEFT:.1}"), format!("{:.1}", end - LEFT));
        let (y_text, bar_height) = (format!("{y:.1}"), format!("{BAR:.1}"));
        out.push(empty(
            "rect",
            &[("class", &bar.class), ("x", &x), ("y", &y_text), ("width", &width), ("height", &bar_height)],
        ));
        out.push(text("end", "", LEFT - 8.0, y + 13.0, &bar.label));
        out.push(text("start", "value", end + 6.0, y + 13.0, &figure(bar.records_per_second)));
    }
    out.push(text("middle", "", (LEFT + WIDTH - RIGHT) / 2.0, height - 6.0, "records/s (logarithmic)"));
    let frame = format!("0 0 {WIDTH:.0} {height:.0}");
    let label = "Records a second of RPC and stream";
    element("svg", &[("class", "chart"), ("viewBox", &frame), ("role", "img"), ("aria-label", label)], out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    fn run(rpc: f64, stream: f64) -> Run {
        let mut report = sample();
        report.workload = WORKLOAD.to_owned();
        let mut track = report.tracks.remove(0);
        for (name, rate) in [(RPC, rpc), (STREAM, stream)] {
            track.name = name.to_owned();
            track.records_per_second = rate;
            report.tracks.push(track.clone());
        }
        Run { name: "here".to_owned(), colour: 0, report }
    }

    /// Length of the bar with this label.
    fn bar(document: &roxmltree::Document<'_>, label: &str) -> f64 {
        let text = document.descendants().find(|node| node.is_element() && node.text() == Some(label)).expect(label);
        let bar = text.prev_sibling_element().expect("its bar");
        bar.attribute("width").expect("a width").parse().expect("a number")
    }

    #[test]
    fn the_bars_are_logarithms_and_the_factor_is_told() {
        let markup = plain("div", rpc_beside_stream(&[run(10_000.0, 1_200_000.0)])).into_string();
        let document = roxmltree::Document::parse(&markup).expect("well-formed");
        let [textbook_rpc, textbook_stream, rpc, stream] =
            ["RPC, textbook", "stream, textbook", "RPC, measured", "stream, measured"]
                .map(|label| bar(&document, label));
        let decade = rpc - textbook_rpc;
        assert!(decade > 20.0 && (textbook_stream - textbook_rpc - decade * 50f64.log10()).abs() < 0.3);
        assert!((stream - rpc - decade * 120f64.log10()).abs() < 0.3);
        assert!(markup.contains("120 times") && markup.contains("textbook: 50 times"), "{markup}");
    }

    #[test]
    fn no_record_is_no_factor_and_no_bar() {
        for (rpc, stream) in [(0.0, 0.0), (0.0, 5.0), (f64::NAN, f64::INFINITY)] {
            let markup = plain("div", rpc_beside_stream(&[run(rpc, stream)])).into_string();
            let document = roxmltree::Document::parse(&markup).expect("well-formed");
            assert_eq!(bar(&document, "RPC, measured"), 0.0);
            assert!(markup.contains("there is no factor"), "{markup}");
        }
        assert!(rpc_beside_stream(&[]).is_empty());
    }
}
