//! Rates as bars on the terminal, with a logarithmic scale: each decade is as long as the others.

use super::grouped;

/// Cells of a decade.
const DECADE_CELLS: usize = 10;
/// Parts of a cell that a bar can end with, from one eighth on.
const EIGHTHS: [char; 7] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉'];

/// A bar.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// What stands in front of it.
    pub label: String,
    /// Its value.
    pub value: f64,
}

/// The bars, with their values behind them and a scale below; nothing when no value is above 0.
pub fn bars(bars: &[Bar]) -> String {
    let logs = || bars.iter().filter(|bar| bar.value > 0.0).map(|bar| bar.value.log10());
    // A decade below the smallest value, so that no bar is without length.
    let Some(first) = logs().reduce(f64::min).map(|log| log.floor() as i32 - 1) else { return String::new() };
    let last = logs().fold(f64::from(first + 1), f64::max).ceil() as i32;
    let width = bars.iter().map(|bar| bar.label.chars().count()).max().unwrap_or(0);
    let mut out = String::new();
    for Bar { label, value } in bars {
        let cells = if *value > 0.0 { (value.log10() - f64::from(first)) * DECADE_CELLS as f64 } else { 0.0 };
        out.push_str(&format!("{label:<width$} │{} {}\n", bar(cells), grouped(value.round() as u64)));
    }
    let decades = (last - first).max(1) as usize;
    out.push_str(&format!("{:width$} └{}\n", "", format!("{}┴", "─".repeat(DECADE_CELLS - 1)).repeat(decades)));
    let mut scale = " ".repeat(width + 1);
    for step in 0..=decades {
        let mark = mark(first + step as i32);
        let at = width + 1 + step * DECADE_CELLS;
        scale.push_str(&" ".repeat(at.saturating_sub(scale.chars().count())));
        scale.push_str(&mark);
    }
    out + &scale + "\n"
}

fn bar(cells: f64) -> String {
    let eighths = (cells * 8.0).round().max(0.0) as usize;
    let mut bar = "█".repeat(eighths / 8);
    if let Some(part) = (eighths % 8).checked_sub(1) {
        bar.push(EIGHTHS[part]);
    }
    bar
}

/// A power of ten.
fn mark(exponent: i32) -> String {
    match exponent {
        0..=18 => grouped(10u64.pow(exponent as u32)),
        _ => format!("1e{exponent}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> String {
        let bar = |&value: &f64| Bar { label: format!("v{value}"), value };
        bars(&values.iter().map(bar).collect::<Vec<_>>())
    }

    #[test]
    fn ten_times_as_much_is_a_decade_longer() {
        assert_eq!(
            of(&[1000.0, 50_000.0]),
            "v1000  │██████████ 1,000\n\
             v50000 │███████████████████████████ 50,000\n       \
             └─────────┴─────────┴─────────┴\n       \
             100       1,000     10,000    100,000\n"
        );
        let lengths: Vec<usize> =
            of(&[7.0, 70.0, 700.0]).lines().take(3).map(|line| line.matches('█').count()).collect();
        assert_eq!(lengths, [18, 28, 38]);
    }

    #[test]
    fn what_is_nothing_has_no_bar_and_what_is_small_has_one() {
        assert_eq!(of(&[]), "");
        assert_eq!(of(&[0.0]), "");
        let text = of(&[0.0, 0.02, 3.0]);
        assert!(text.starts_with("v0    │ 0\nv0.02 │█"), "{text}");
        assert!(text.contains("1e-3") && text.trim_end().ends_with("10"), "{text}");
    }
}
