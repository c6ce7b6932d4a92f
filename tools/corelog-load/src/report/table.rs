//! The summary on the terminal.

use super::verdict::{check_table, guarantee_table};
use super::{Ended, Report, TrackReport, TrackUsage, Usage};

/// The summary of a run.
pub fn table(report: &Report) -> String {
    let mut out = String::new();
    let mut columns: Vec<Vec<String>> = vec![labels()];
    columns.extend(report.tracks.iter().map(figures));
    for row in 0..columns[0].len() {
        // A line that says nothing of any track is left out.
        if columns[1..].iter().all(|column| column[row].is_empty()) {
            continue;
        }
        for (place, column) in columns.iter().enumerate() {
            let width = column.iter().map(|cell| cell.chars().count()).max().unwrap_or(0);
            let cell = &column[row];
            if place == 0 {
                out.push_str(&format!("{cell:<width$}"));
            } else {
                out.push_str(&format!("  {cell:>width$}"));
            }
        }
        out.truncate(out.trim_end().len());
        out.push('\n');
    }
    for track in &report.tracks {
        if let Some(latency) = &track.latency {
            out.push_str(&format!("{} latency: {}\n", track.name, latency.of));
        }
    }
    for TrackUsage { track, broker, client } in &report.track_usages {
        let records = report.tracks.iter().find(|one| one.name == *track).map_or(0, |one| one.records);
        for (who, usage) in [("broker", broker), ("corelog-load", client)] {
            out.extend(usage.map(|usage| usage_line(&format!("{track}: {who}"), &usage, records)));
        }
    }
    if let Some(check) = &report.check {
        out.push_str(&check_table(check));
    }
    if !report.guarantees.is_empty() {
        out.push_str(&guarantee_table(&report.guarantees));
    }
    let records = report.tracks.iter().map(|track| track.records);
    // Tracks that ran together had to do with the same records.
    let records = if report.track_usages.len() > 1 { records.sum() } else { records.max().unwrap_or(0) };
    if let Some(usage) = &report.broker_usage {
        let name = report.broker.process.as_deref().unwrap_or("broker");
        out.push_str(&usage_line(&format!("broker ({name}, pid {})", usage.pid), usage, records));
    }
    if let Some(usage) = &report.client_usage {
        out.push_str(&usage_line("corelog-load", usage, records));
    }
    if let Some(cores) = report.other_cores {
        out.push_str(&format!("everything else: {cores:.2} of {} cores busy\n", report.machine.cores));
    }
    if let Some(search) = &report.rate_search {
        let highest = search.highest.map_or("none".to_owned(), |rate| {
            format!("{} records/s, after {} rates", grouped(rate.round() as u64), search.steps.len())
        });
        out.push_str(&format!("highest rate with {}: {highest}\n", search.bound));
    }
    if report.ended == Ended::Interrupted {
        out.push_str("interrupted: these are the figures so far\n");
    }
    if !report.failures.is_empty() {
        out.push_str("FAILED: these are the figures so far\n");
    }
    for failure in &report.failures {
        out.push_str(&format!("  {} × {}\n", failure.count, failure.message));
    }
    out
}

fn usage_line(who: &str, usage: &Usage, records: u64) -> String {
    let each = if records > 0 {
        format!(" ({:.3} µs a record)", usage.cpu_seconds * 1e6 / records as f64)
    } else {
        String::new()
    };
    let mib = |bytes: u64| bytes >> 20;
    format!(
        "{who}: CPU {:.2} s{each}, memory {} MiB, at most {} MiB\n",
        usage.cpu_seconds,
        mib(usage.resident_bytes_end),
        mib(usage.resident_bytes_max)
    )
}

fn labels() -> Vec<String> {
    [
        "",
        "records",
        "seconds",
        "records/s",
        "MB/s of values",
        "MB/s on the wire",
        "latencies",
        "mean ms",
        "p50 ms",
        "p90 ms",
        "p99 ms",
        "p99.9 ms",
        "p99.99 ms",
        "max ms",
    ]
    .map(str::to_owned)
    .to_vec()
}

fn figures(track: &TrackReport) -> Vec<String> {
    let ms = |value: f64| format!("{value:.3}");
    let latency = match &track.latency {
        Some(latency) => [
            grouped(latency.count),
            ms(latency.mean_ms),
            ms(latency.p50_ms),
            ms(latency.p90_ms),
            ms(latency.p99_ms),
            ms(latency.p999_ms),
            ms(latency.p9999_ms),
            ms(latency.max_ms),
        ],
        None => Default::default(),
    };
    let mut cells = vec![
        track.name.clone(),
        grouped(track.records),
        format!("{:.3}", track.seconds),
        grouped(track.records_per_second.round() as u64),
        track.value_megabytes_per_second.map_or_else(String::new, |rate| format!("{rate:.2}")),
        // librdkafka does not tell.
        if track.wire_bytes > 0 { format!("{:.2}", track.wire_megabytes_per_second) } else { String::new() },
    ];
    cells.extend(latency);
    cells
}

/// A number with commas between thousands.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    #[test]
    fn the_summary_tells_the_figures_and_the_failures() {
        let text = table(&sample());
        let field = |label: &str| {
            let line =
                text.lines().find(|line| line.starts_with(label)).unwrap_or_else(|| panic!("{label} in\n{text}"));
            line[label.len()..].trim().to_owned()
        };
        assert_eq!(field("records/s"), "1,000,000");
        assert_eq!(field("MB/s of values"), "1000.00");
        assert_eq!(field("latencies"), "1,000");
        assert_eq!(field("broker (corelog, pid 7):"), "CPU 1.50 s (0.750 µs a record), memory 50 MiB, at most 60 MiB");
        assert!(text.contains("FAILED: these are the figures so far\n  2 × late\n"), "{text}");
    }

    #[test]
    fn tracks_that_ran_one_after_the_other_have_their_own_usage() {
        let mut report = sample();
        report.tracks.push(TrackReport { name: "later".to_owned(), records: 1_000_000, ..report.tracks[0].clone() });
        report.track_usages.push(TrackUsage { track: "later".to_owned(), broker: report.broker_usage, client: None });
        let text = table(&report);
        assert!(text.contains("\nproduce: broker: CPU 1.50 s (0.750 µs a record), memory"), "{text}");
        assert!(text.contains("\nlater: broker: CPU 1.50 s (1.500 µs a record), memory"), "{text}");
        assert!(text.contains("\ncorelog-load: CPU 1.50 s (0.500 µs a record), memory"), "{text}");
    }

    #[test]
    fn a_track_without_latencies_has_no_lines_of_them() {
        let mut report = sample();
        report.tracks[0].latency = None;
        report.rate_search = None;
        report.failures.clear();
        let text = table(&report);
        assert!(!text.contains("p99") && !text.contains("FAILED"), "{text}");
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }
}
