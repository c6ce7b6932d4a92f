//! A workload at a given rate, or at the highest rate that keeps a bound of its latency.

use std::io::Write;

use anyhow::Context;

use super::{Measured, deliver};
use crate::load::Interrupt;
use crate::options::{Bound, OutputOptions, Percentile, RateOptions};
use crate::report::{Ended, Latency, RateSearch, RateStep, Report, grouped};

/// The first rate that is tried, records a second.
const FIRST_RATE: f64 = 1000.0;
/// From one rate to the next, until one is too high, or low enough.
const FIRST_FACTOR: f64 = 4.0;
/// The search is over when the lowest rate that was too high is so near to the highest that was not.
const PRECISION: f64 = 1.05;
/// A rate was reached when the load came so near to it.
const REACHED_SHARE: f64 = 0.95;
/// A broker that does not keep the bound at this rate keeps it at none.
const LOWEST_RATE: f64 = 1.0;
/// No machine sends more.
const HIGHEST_RATE: f64 = 1e9;

/// Runs the workload at the rate of the options, at the `usual` one when they name none, or at the highest that keeps
/// their bound.
///
/// # Errors
/// When it cannot start, or the figures cannot be written.
pub fn run(
    options: &RateOptions,
    usual: Option<f64>,
    output: &OutputOptions,
    interrupt: &Interrupt,
    mut once: impl FnMut(Option<f64>) -> anyhow::Result<Measured>,
) -> anyhow::Result<Report> {
    match options.find_rate {
        None => deliver(once(options.rate.or(usual))?, output),
        Some(bound) => deliver(highest(bound, interrupt, output.quiet, once)?, output),
    }
}

fn highest(
    bound: Bound,
    interrupt: &Interrupt,
    quiet: bool,
    mut once: impl FnMut(Option<f64>) -> anyhow::Result<Measured>,
) -> anyhow::Result<Measured> {
    let mut search = Search::default();
    let mut steps = Vec::new();
    let mut best: Option<Measured> = None;
    let mut last = None;
    while let Some(rate) = search.next_rate() {
        let mut measured = once(Some(rate))?;
        if measured.is_broken || interrupt.is_set() {
            // What came before is worth keeping, and so is why it ended.
            if let Some(best) = &mut best {
                best.report.ended = measured.report.ended;
                best.report.failures = measured.report.failures.clone();
            }
            last = Some(measured);
            break;
        }
        let step = judge(rate, bound, &measured.report);
        if !quiet {
            tell(&step)?;
        }
        search.learn(rate, step.kept);
        if step.kept {
            best = Some(measured);
        } else {
            // A rate that was too high is no failure here: that is what was looked for.
            measured.report.failures.clear();
            measured.report.ended = Ended::Complete;
            last = Some(measured);
        }
        steps.push(step);
    }
    let found = best.is_some();
    let mut measured = best.or(last).context("no rate was tried")?;
    if !found && measured.report.ended == Ended::Complete {
        measured.report.ended = Ended::Failed;
        let message = format!("no rate kept {bound}: the lowest that was tried is {LOWEST_RATE} records/s or near it");
        measured.report.failures.push(crate::load::Failure { message, count: 1 });
    }
    let highest = search.kept.filter(|_| found);
    measured.report.rate_search = Some(RateSearch { bound: bound.to_string(), steps, highest });
    Ok(measured)
}

/// Whether a run kept the bound. A run that did not reach its rate did not.
fn judge(rate: f64, bound: Bound, report: &Report) -> RateStep {
    let records_per_second = report.tracks.last().map_or(0.0, |track| track.records_per_second);
    let latency = report.tracks.last().and_then(|track| track.latency.as_ref());
    let latency_ms = latency.map(|latency| percentile_ms(latency, bound.of));
    let why_not = match (report.failures.first(), latency_ms) {
        (Some(failure), _) => Some(failure.message.clone()),
        (None, None) => Some("nothing has a latency".to_owned()),
        (None, Some(ms)) if ms > bound.at_most.as_secs_f64() * 1e3 => Some(format!("{ms:.3} ms")),
        (None, Some(_)) if records_per_second < rate * REACHED_SHARE => {
            Some(format!("only {} records/s were reached", grouped(records_per_second.round() as u64)))
        }
        (None, Some(_)) => None,
    };
    RateStep { rate, records_per_second, latency_ms, kept: why_not.is_none(), why_not }
}

fn percentile_ms(latency: &Latency, percentile: Percentile) -> f64 {
    match percentile {
        Percentile::P50 => latency.p50_ms,
        Percentile::P90 => latency.p90_ms,
        Percentile::P99 => latency.p99_ms,
        Percentile::P999 => latency.p999_ms,
        Percentile::P9999 => latency.p9999_ms,
        Percentile::Max => latency.max_ms,
    }
}

fn tell(step: &RateStep) -> anyhow::Result<()> {
    let rate = grouped(step.rate.round() as u64);
    let outcome = match &step.why_not {
        None => format!("kept, {:.3} ms", step.latency_ms.unwrap_or_default()),
        Some(why_not) => format!("not kept: {why_not}"),
    };
    writeln!(std::io::stderr(), "{rate} records/s: {outcome}").context("tell the rate")
}

/// The search: what is known so far.
#[derive(Debug, Default)]
struct Search {
    /// The highest rate that kept the bound.
    kept: Option<f64>,
    /// The lowest that did not.
    not_kept: Option<f64>,
}

impl Search {
    /// The rate to try next; `None` when the search is over.
    fn next_rate(&self) -> Option<f64> {
        match (self.kept, self.not_kept) {
            (None, None) => Some(FIRST_RATE),
            (Some(kept), None) => Some(kept * FIRST_FACTOR).filter(|&rate| rate <= HIGHEST_RATE),
            (None, Some(not_kept)) => (not_kept > LOWEST_RATE).then(|| LOWEST_RATE.max(not_kept / FIRST_FACTOR)),
            // The middle by ratio: rates are far apart.
            (Some(kept), Some(not_kept)) => (not_kept / kept > PRECISION).then(|| (kept * not_kept).sqrt()),
        }
    }

    fn learn(&mut self, rate: f64, kept: bool) {
        match kept {
            true => self.kept = Some(self.kept.map_or(rate, |known| known.max(rate))),
            false => self.not_kept = Some(self.not_kept.map_or(rate, |known| known.min(rate))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    fn found(limit: f64) -> (Option<f64>, usize) {
        let mut search = Search::default();
        let mut steps = 0;
        while let Some(rate) = search.next_rate() {
            search.learn(rate, rate <= limit);
            steps += 1;
        }
        (search.kept, steps)
    }

    #[test]
    fn the_highest_rate_is_found_in_few_steps() {
        for limit in [1.7, 300.0, 1000.0, 3_999.0, 123_456.0, 3e6] {
            let (kept, steps) = found(limit);
            let kept = kept.expect("a rate");
            assert!(kept <= limit && limit / kept <= PRECISION, "{limit}: {kept}");
            assert!(steps <= 15, "{limit}: {steps} steps");
        }
        assert_eq!(found(0.5).0, None);
        assert!(found(1e12).0.is_some_and(|kept| kept > HIGHEST_RATE / FIRST_FACTOR));
    }

    #[test]
    fn a_rate_that_is_kept_reached_its_rate_within_the_bound() {
        let bound = |text: &str| text.parse::<Bound>().expect("a bound");
        let mut report = sample();
        report.failures.clear();
        let p99 = report.tracks[0].latency.as_ref().expect("latencies").p99_ms;
        let step = judge(1000.0, bound("p99=10ms"), &report);
        assert_eq!((step.kept, step.latency_ms, step.why_not), (true, Some(p99), None));
        assert!(!judge(1000.0, bound("p99=9ms"), &report).kept);
        assert!(judge(1000.0, bound("p50=9ms"), &report).kept);
        let records_per_second = report.tracks[0].records_per_second;
        assert!(!judge(records_per_second * 1.1, bound("p99=10ms"), &report).kept);
        report.failures = sample().failures;
        assert_eq!(judge(1000.0, bound("p99=10ms"), &report).why_not.as_deref(), Some("late"));
    }
}
