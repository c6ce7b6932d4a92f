//! Charts of lines as SVG: axes, lines in a colour and a stroke, shaded spans, lines of reference, and a legend.
//!
//! A chart is complete as it stands; `tooltip.js` adds the figures at the pointer, which it reads from `data-points`.

use super::markup::{Html, classed, element, empty, plain};
use super::number::shortened;
use super::scale::Scale;

/// The drawing, in units of its own: it is as wide as its column allows.
const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 300.0;
const LEFT: f64 = 58.0;
const RIGHT: f64 = 18.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 44.0;
/// Colours; the style sheet has one for each.
pub const COLOURS: usize = 8;
/// Strokes, as `stroke-dasharray`.
const STROKES: [&str; 5] = ["none", "7 4", "2 3", "9 3 2 3", "14 4"];
/// Characters of a name in a legend.
const NAME_CHARACTERS_MAX: usize = 40;

/// A line.
#[derive(Clone, Debug)]
pub struct Line {
    /// The run, and its colour.
    pub run: String,
    /// Below [`COLOURS`].
    pub colour: usize,
    /// What of the run, and its place among the strokes.
    pub what: String,
    /// Beyond the last stroke they begin anew.
    pub stroke: usize,
    /// In the order of x; `None` is a gap.
    pub points: Vec<(f64, Option<f64>)>,
}

/// A dot or a cross on its own.
#[derive(Clone, Copy, Debug)]
pub struct Mark {
    /// Where.
    pub x: f64,
    /// Where.
    pub y: f64,
    /// The colour of its line.
    pub colour: usize,
    /// A dot when it is well, else a cross.
    pub is_good: bool,
}

/// A line of reference across the chart.
#[derive(Clone, Debug)]
pub struct Rule {
    /// Where on the axis of y.
    pub y: f64,
    /// What it is.
    pub label: String,
}

/// A chart.
#[derive(Clone, Debug)]
pub struct Chart {
    /// What it shows.
    pub title: String,
    /// A sentence below the title, if any.
    pub note: String,
    /// What the axis of x is, with its unit.
    pub x_label: String,
    /// What the axis of y is, with its unit.
    pub y_label: String,
    /// The axis of x.
    pub x: Scale,
    /// The axis of y.
    pub y: Scale,
    /// The lines.
    pub lines: Vec<Line>,
    /// From which x to which a warm-up lasted: shaded, once for each.
    pub warm_ups: Vec<(f64, f64)>,
    /// Lines of reference.
    pub rules: Vec<Rule>,
    /// Dots and crosses.
    pub marks: Vec<Mark>,
    /// How a reader is told an x.
    pub x_text: fn(f64) -> String,
    /// How a reader is told a y.
    pub y_text: fn(f64) -> String,
}

/// A point of a line, in the drawing and as it is told.
struct Vertex {
    x: f64,
    y: f64,
    text: String,
}

impl Chart {
    /// The chart with its title and its legend.
    pub fn figure(&self) -> Html {
        let mut caption = plain("strong", self.title.as_str());
        if !self.note.is_empty() {
            caption.push(classed("span", "note", self.note.as_str()));
        }
        plain("figure", [plain("figcaption", caption), self.legend(), self.svg()])
    }

    fn legend(&self) -> Html {
        let mut runs: Vec<(usize, &str)> = Vec::new();
        let mut whats: Vec<(usize, &str)> = Vec::new();
        for line in &self.lines {
            if !runs.iter().any(|run| run.0 == line.colour) {
                runs.push((line.colour, &line.run));
            }
            if !line.what.is_empty() && !whats.iter().any(|what| what.1 == line.what) {
                whats.push((line.stroke, &line.what));
            }
        }
        let mut entries = Html::new();
        if runs.len() > 1 {
            for (colour, run) in runs {
                let swatch = classed("i", &format!("swatch c{colour}"), Html::new());
                entries.push(plain("span", [swatch, shortened(run, NAME_CHARACTERS_MAX).into()]));
            }
        }
        if whats.len() > 1 {
            for (stroke, what) in whats {
                let sample = empty(
                    "line",
                    &[("x1", "0"), ("x2", "30"), ("y1", "5"), ("y2", "5"), ("stroke-dasharray", dashes(stroke))],
                );
                let sample =
                    element("svg", &[("class", "stroke"), ("viewBox", "0 0 30 10"), ("aria-hidden", "true")], sample);
                entries.push(plain("span", [sample, what.into()]));
            }
        }
        if !self.warm_ups.is_empty() {
            let swatch = classed("i", "swatch warm-up-swatch", Html::new());
            entries.push(plain("span", [swatch, "warm-up".into()]));
        }
        if entries.is_empty() { entries } else { classed("div", "legend", entries) }
    }

    /// The drawing.
    pub fn svg(&self) -> Html {
        let mut drawing = Html::new();
        for &(start, end) in &self.warm_ups {
            drawing.push(self.warm_up(start, end));
        }
        drawing.push(self.axes());
        for rule in &self.rules {
            drawing.push(self.rule(rule));
        }
        for line in &self.lines {
            drawing.push(self.line(line));
        }
        for mark in &self.marks {
            drawing.push(self.mark(mark));
        }
        let guide = [
            ("class", "guide"),
            ("y1", &coordinate(TOP)),
            ("y2", &coordinate(HEIGHT - BOTTOM)),
            ("visibility", "hidden"),
        ];
        drawing.push(empty("line", &guide));
        let described = format!("{}: {} by {}", self.title, self.y_label, self.x_label);
        element(
            "svg",
            &[
                ("class", "chart"),
                ("viewBox", &format!("0 0 {WIDTH} {HEIGHT}")),
                ("role", "img"),
                ("aria-label", &described),
            ],
            drawing,
        )
    }

    fn axes(&self) -> Html {
        let (left, right, bottom) = (coordinate(LEFT), coordinate(WIDTH - RIGHT), coordinate(HEIGHT - BOTTOM));
        let mut out = Html::new();
        for tick in &self.y.ticks {
            let y = coordinate(y_of(tick.at));
            out.push(empty("line", &[("class", "grid"), ("x1", &left), ("x2", &right), ("y1", &y), ("y2", &y)]));
            let beside = [("x", coordinate(LEFT - 7.0)), ("y", coordinate(y_of(tick.at) + 4.0))];
            out.push(label("end", &beside, &tick.label));
        }
        for tick in &self.x.ticks {
            let x = coordinate(x_of(tick.at));
            let below = coordinate(HEIGHT - BOTTOM + 5.0);
            out.push(empty("line", &[("class", "axis"), ("x1", &x), ("x2", &x), ("y1", &bottom), ("y2", &below)]));
            out.push(label("middle", &[("x", x), ("y", coordinate(HEIGHT - BOTTOM + 18.0))], &tick.label));
        }
        out.push(empty("line", &[("class", "axis"), ("x1", &left), ("x2", &right), ("y1", &bottom), ("y2", &bottom)]));
        out.push(label("start", &[("x", coordinate(2.0)), ("y", coordinate(12.0))], &self.y_label));
        let middle = coordinate((LEFT + WIDTH - RIGHT) / 2.0);
        out.push(label("middle", &[("x", middle), ("y", coordinate(HEIGHT - 6.0))], &self.x_label));
        out
    }

    fn warm_up(&self, start: f64, end: f64) -> Html {
        let (Some(start), Some(end)) = (self.x.at(start), self.x.at(end)) else { return Html::new() };
        let (x, y) = (coordinate(x_of(start)), coordinate(TOP));
        let (width, height) = (coordinate(x_of(end) - x_of(start)), coordinate(HEIGHT - BOTTOM - TOP));
        empty("rect", &[("class", "warm-up"), ("x", &x), ("y", &y), ("width", &width), ("height", &height)])
    }

    fn rule(&self, rule: &Rule) -> Html {
        let Some(at) = self.y.at(rule.y) else { return Html::new() };
        let (left, right, y) = (coordinate(LEFT), coordinate(WIDTH - RIGHT), coordinate(y_of(at)));
        let across = empty("line", &[("class", "rule"), ("x1", &left), ("x2", &right), ("y1", &y), ("y2", &y)]);
        [across, label("start", &[("x", coordinate(LEFT + 6.0)), ("y", coordinate(y_of(at) - 5.0))], &rule.label)]
            .into()
    }

    fn mark(&self, mark: &Mark) -> Html {
        let (Some(x), Some(y)) = (self.x.at(mark.x), self.y.at(mark.y)) else { return Html::new() };
        let (x, y) = (x_of(x), y_of(y));
        let colour = format!("c{}", mark.colour);
        if mark.is_good {
            return dot(&colour, x, y, 4.5);
        }
        let arms = format!("M{:.1} {:.1}l9 9m0 -9l-9 9", x - 4.5, y - 4.5);
        empty("path", &[("class", &format!("cross {colour}")), ("d", &arms)])
    }

    fn line(&self, line: &Line) -> Html {
        let colour = format!("c{}", line.colour);
        let pieces = self.pieces(line);
        let mut out = Html::new();
        let mut path = String::new();
        let mut told: Vec<String> = Vec::new();
        for piece in &pieces {
            for (place, vertex) in piece.iter().enumerate() {
                path.push_str(&format!("{}{:.1} {:.1}", if place == 0 { "M" } else { "L" }, vertex.x, vertex.y));
                told.push(format!("{:.1}|{:.1}|{}", vertex.x, vertex.y, vertex.text));
            }
            if let [alone] = piece.as_slice() {
                out.push(dot(&colour, alone.x, alone.y, 3.0));
            }
        }
        if path.is_empty() {
            return out;
        }
        let name = if line.what.is_empty() { line.run.clone() } else { format!("{}, {}", line.run, line.what) };
        let attributes = [
            ("class", format!("line {colour}")),
            ("stroke-dasharray", dashes(line.stroke).to_owned()),
            ("d", path),
            ("data-name", name),
            ("data-points", told.join(";")),
        ];
        let attributes: Vec<(&str, &str)> = attributes.iter().map(|(name, value)| (*name, value.as_str())).collect();
        out.push(empty("path", &attributes));
        out
    }

    /// The pieces of a line between its gaps.
    fn pieces(&self, line: &Line) -> Vec<Vec<Vertex>> {
        let mut pieces: Vec<Vec<Vertex>> = vec![Vec::new()];
        for &(x, y) in &line.points {
            let place = y.and_then(|y| Some((self.x.at(x)?, self.y.at(y)?, y)));
            match (place, pieces.last_mut()) {
                (Some((at_x, at_y, y)), Some(piece)) => {
                    let text = format!("{}|{}", (self.x_text)(x), (self.y_text)(y));
                    piece.push(Vertex { x: x_of(at_x), y: y_of(at_y), text });
                }
                _ => pieces.push(Vec::new()),
            }
        }
        pieces.retain(|piece| !piece.is_empty());
        pieces
    }
}

fn x_of(at: f64) -> f64 {
    LEFT + at * (WIDTH - LEFT - RIGHT)
}

fn y_of(at: f64) -> f64 {
    HEIGHT - BOTTOM - at * (HEIGHT - BOTTOM - TOP)
}

fn coordinate(value: f64) -> String {
    format!("{value:.1}")
}

fn dashes(stroke: usize) -> &'static str {
    STROKES[stroke % STROKES.len()]
}

fn dot(colour: &str, x: f64, y: f64, radius: f64) -> Html {
    let class = format!("dot {colour}");
    empty("circle", &[("class", &class), ("cx", &coordinate(x)), ("cy", &coordinate(y)), ("r", &coordinate(radius))])
}

fn label(anchor: &str, place: &[(&'static str, String); 2], text: &str) -> Html {
    let [(x, x_value), (y, y_value)] = place;
    element("text", &[("text-anchor", anchor), (*x, x_value), (*y, y_value)], text)
}

#[cfg(test)]
mod tests {
    use super::super::number::figure;
    use super::*;

    fn chart(points: Vec<(f64, Option<f64>)>, log: bool) -> Chart {
        let ys = || points.iter().filter_map(|point| point.1);
        Chart {
            title: "<title> & \"more\"".to_owned(),
            note: "<note>".to_owned(),
            x_label: "s".to_owned(),
            y_label: "ms".to_owned(),
            x: Scale::linear_snug(points.iter().map(|point| point.0)),
            y: if log { Scale::log(ys()) } else { Scale::linear(ys()) },
            warm_ups: points.first().map(|point| (point.0, point.0)).into_iter().collect(),
            rules: points.iter().filter_map(|point| Some(Rule { y: point.1?, label: "<rule>".to_owned() })).collect(),
            marks: points
                .iter()
                .filter_map(|point| Some(Mark { x: point.0, y: point.1?, colour: 0, is_good: point.0 > 1.0 }))
                .collect(),
            lines: vec![Line { run: "<run>".to_owned(), colour: 1, what: "p99".to_owned(), stroke: 7, points }],
            x_text: figure,
            y_text: figure,
        }
    }

    /// The numbers that stand in attributes that place something.
    fn coordinates(markup: &str) -> Vec<f64> {
        let document = roxmltree::Document::parse(markup).unwrap_or_else(|error| panic!("{error}\n{markup}"));
        let places = ["x", "y", "x1", "x2", "y1", "y2", "cx", "cy", "width", "height", "d"];
        let attributes = document.descendants().flat_map(|node| node.attributes());
        let numbers = attributes.filter(|attribute| places.contains(&attribute.name())).flat_map(|attribute| {
            let value = attribute.value().replace(['M', 'L', 'l', 'm'], " ");
            value.split_whitespace().map(|number| number.parse::<f64>().expect("a number")).collect::<Vec<_>>()
        });
        numbers.collect()
    }

    #[test]
    fn whatever_the_figures_the_drawing_is_within_its_frame() {
        let hard = [f64::NAN, f64::INFINITY, -5.0, 0.0, f64::MAX, 1e-300, 1.0];
        let mut cases = vec![
            vec![],
            vec![(0.0, None)],
            vec![(0.5, Some(3.0))],
            vec![(0.5, Some(0.0)), (1.5, Some(0.0)), (2.5, None), (3.5, Some(0.0))],
        ];
        for x in hard {
            cases.extend(hard.map(|y| vec![(x, Some(y)), (1.0, Some(1.0)), (x, Some(y))]));
        }
        for points in cases {
            for log in [false, true] {
                let markup = chart(points.clone(), log).figure().into_string();
                let numbers = coordinates(&markup);
                assert!(numbers.iter().all(|&number| (-9.0..=WIDTH).contains(&number)), "{points:?}\n{markup}");
            }
        }
    }

    #[test]
    fn a_gap_breaks_the_line_and_a_point_alone_is_a_dot() {
        let mut chart = chart(vec![(0.0, Some(1.0)), (1.0, Some(2.0)), (2.0, None), (3.0, Some(1.0))], false);
        chart.marks.clear();
        let markup = chart.svg().into_string();
        let document = roxmltree::Document::parse(&markup).expect("well-formed");
        let path = document.descendants().find(|node| node.attribute("data-points").is_some()).expect("a line");
        let d = path.attribute("d").expect("a path");
        assert_eq!((d.matches('M').count(), d.matches('L').count()), (2, 1), "{d}");
        assert_eq!(document.descendants().filter(|node| node.has_tag_name("circle")).count(), 1);
        assert_eq!(path.attribute("data-points").expect("points").split(';').count(), 3);
    }
}
