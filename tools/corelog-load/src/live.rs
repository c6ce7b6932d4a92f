//! The view while a load runs: a line that is redrawn on a terminal, a line each second elsewhere. On stderr, so that
//! the summary on stdout stands alone.

use std::io::{IsTerminal, Write};

use crate::clock;
use crate::load::Load;
use crate::report::{Second, grouped};

/// Cells of the progress bar.
const BAR_CELLS: usize = 20;

/// The view.
pub struct Live {
    quiet: bool,
    terminal: bool,
    /// Records of the last track so far: what the others lead to.
    records: u64,
}

impl Live {
    /// A view; none when `quiet`.
    pub fn new(quiet: bool) -> Live {
        Live { quiet, terminal: std::io::stderr().is_terminal(), records: 0 }
    }

    /// Shows a second.
    pub fn show(&mut self, second: &Second, load: &Load) {
        self.records += second.tracks.last().map_or(0, |track| track.records);
        if self.quiet {
            return;
        }
        let line = line(second);
        let mut stderr = std::io::stderr().lock();
        // A view that nobody can see any more is no reason to stop measuring.
        let _unseen = if self.terminal {
            let bar = self.done(load).map(bar);
            write!(stderr, "\r\x1b[2K{}{line}", bar.unwrap_or_default())
        } else {
            writeln!(stderr, "{line}")
        };
        let _unseen = stderr.flush();
    }

    /// Which part of the load is done, when its end is known.
    fn done(&self, load: &Load) -> Option<f64> {
        let (done, whole) = match (load.expected(), load.end()) {
            (Some(expected), _) => (self.records as f64, expected as f64),
            (None, Some(end)) => {
                let since_start = |time: std::time::Instant| time.saturating_duration_since(load.start()).as_secs_f64();
                (since_start(clock::now()), since_start(end))
            }
            (None, None) => return None,
        };
        Some(if whole > 0.0 { done / whole } else { 1.0 })
    }

    /// Leaves the line.
    pub fn finish(&mut self) {
        if self.terminal && !self.quiet {
            let _unseen = writeln!(std::io::stderr());
        }
    }
}

/// Says on stderr what happened, on a line of its own.
pub fn tell(what: &str) {
    let mut stderr = std::io::stderr().lock();
    // The view's line is drawn anew behind this one.
    let clear = if stderr.is_terminal() { "\r\x1b[2K" } else { "" };
    let _unseen = writeln!(stderr, "{clear}{what}");
}

fn bar(share: f64) -> String {
    let full = ((share * BAR_CELLS as f64).round() as usize).min(BAR_CELLS);
    format!("[{}{}] ", "#".repeat(full), ".".repeat(BAR_CELLS - full))
}

fn line(second: &Second) -> String {
    let mut line = format!("{:>6.1} s", second.ends_at_s);
    for track in &second.tracks {
        line.push_str(&format!(
            "  {} {} records/s {:.1} MB/s",
            track.name,
            grouped(track.records_per_second.round() as u64),
            track.megabytes_per_second
        ));
        if let (Some(p50), Some(p99), Some(p999)) = (track.p50_ms, track.p99_ms, track.p999_ms) {
            line.push_str(&format!(" p50 {p50:.2} p99 {p99:.2} p99.9 {p999:.2} ms"));
        }
    }
    if let Some(lag) = second.lag {
        line.push_str(&format!("  lag {}", grouped(lag)));
    }
    if second.errors > 0 {
        line.push_str(&format!("  errors {}", grouped(second.errors)));
    }
    if let Some(cores) = second.broker_cores {
        line.push_str(&format!("  broker {:.0} % CPU", cores * 100.0));
    }
    if second.warm_up {
        line.push_str("  (warm-up)");
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::TrackSecond;

    #[test]
    fn a_second_is_one_line() {
        let track = TrackSecond {
            name: "produce".to_owned(),
            records: 12_345,
            records_per_second: 12_345.4,
            megabytes_per_second: 12.64,
            p50_ms: Some(1.0),
            p99_ms: Some(2.5),
            p999_ms: Some(3.0),
        };
        let second = Second {
            ends_at_s: 3.0,
            seconds: 1.0,
            warm_up: true,
            tracks: vec![track],
            broker_cores: Some(0.5),
            broker_resident_bytes: None,
            client_cores: 0.1,
            errors: 2,
            lag: Some(1234),
        };
        assert_eq!(
            line(&second),
            "   3.0 s  produce 12,345 records/s 12.6 MB/s p50 1.00 p99 2.50 p99.9 3.00 ms  lag 1,234  errors 2  broker 50 % CPU  (warm-up)"
        );
    }

    #[test]
    fn a_bar_shows_the_share_and_never_more_than_all() {
        assert_eq!(bar(0.25), "[#####...............] ");
        assert_eq!(bar(7.0), format!("[{}] ", "#".repeat(20)));
    }
}
