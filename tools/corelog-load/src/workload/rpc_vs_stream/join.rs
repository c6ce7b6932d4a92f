//! Makes one report of runs that came one after the other.

use crate::report::{Ended, Report, TrackUsage, Usage};

/// A report of both: `second` ran after `first`.
pub fn join(first: Report, second: Report) -> Report {
    let mut all = with_track_usage(first);
    let second = with_track_usage(second);
    let ended_at_s = all.series.last().map_or(0.0, |last| last.ends_at_s);
    all.series.extend(second.series.into_iter().map(|mut one| {
        one.ends_at_s += ended_at_s;
        one
    }));
    all.tracks.extend(second.tracks);
    all.track_usages.extend(second.track_usages);
    for failure in second.failures {
        match all.failures.iter_mut().find(|known| known.message == failure.message) {
            Some(known) => known.count += failure.count,
            None => all.failures.push(failure),
        }
    }
    all.ended = match (all.ended, second.ended) {
        (Ended::Failed, _) | (_, Ended::Failed) => Ended::Failed,
        (Ended::Interrupted, _) | (_, Ended::Interrupted) => Ended::Interrupted,
        (Ended::Complete, Ended::Complete) => Ended::Complete,
    };
    all.broker_usage = sum(all.broker_usage, second.broker_usage);
    all.client_usage = sum(all.client_usage, second.client_usage);
    all
}

/// The report with what was used for its track noted apart, when that has not been done.
pub fn with_track_usage(mut report: Report) -> Report {
    if report.track_usages.is_empty()
        && let [track] = report.tracks.as_slice()
    {
        let usage = TrackUsage { track: track.name.clone(), broker: report.broker_usage, client: report.client_usage };
        report.track_usages.push(usage);
    }
    report
}

/// CPU time adds up; memory is at the end what the later one says.
fn sum(first: Option<Usage>, second: Option<Usage>) -> Option<Usage> {
    let (Some(first), Some(second)) = (first, second) else { return first.or(second) };
    Some(Usage {
        pid: second.pid,
        cpu_seconds: first.cpu_seconds + second.cpu_seconds,
        resident_bytes_end: second.resident_bytes_end,
        resident_bytes_max: first.resident_bytes_max.max(second.resident_bytes_max),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Failure;
    use crate::report::tests::sample;

    fn run(name: &str, cpu_seconds: f64) -> Report {
        let mut report = sample();
        report.tracks[0].name = name.to_owned();
        report.track_usages.clear();
        let usage = Usage { pid: 7, cpu_seconds, resident_bytes_end: 5, resident_bytes_max: cpu_seconds as u64 };
        report.client_usage = Some(usage);
        report.failures.clear();
        report
    }

    #[test]
    fn what_came_later_stands_behind() {
        let all = join(join(run("a", 30.0), run("b", 20.0)), run("c", 10.0));
        let names: Vec<&str> = all.tracks.iter().map(|track| track.name.as_str()).collect();
        assert_eq!(names, ["a", "b", "c"]);
        assert_eq!(all.series.iter().map(|second| second.ends_at_s).collect::<Vec<_>>(), [1.0, 2.0, 3.0]);
        let client = all.client_usage.expect("a usage");
        assert_eq!((client.cpu_seconds, client.resident_bytes_max), (60.0, 30));
        let each: Vec<_> = all.track_usages.iter().map(|one| (one.track.as_str(), one.client)).collect();
        assert_eq!(each.iter().map(|(name, _)| *name).collect::<Vec<_>>(), names);
        assert_eq!(each[1].1.map(|usage| usage.cpu_seconds), Some(20.0));
    }

    #[test]
    fn the_worse_end_is_that_of_both_and_failures_are_counted_together() {
        let failed = |message: &str| Report {
            ended: Ended::Failed,
            failures: vec![Failure { message: message.to_owned(), count: 2 }],
            ..run("f", 1.0)
        };
        let interrupted = || Report { ended: Ended::Interrupted, ..run("i", 1.0) };
        assert_eq!(join(run("a", 1.0), interrupted()).ended, Ended::Interrupted);
        assert_eq!(join(interrupted(), failed("x")).ended, Ended::Failed);
        assert_eq!(join(failed("x"), run("a", 1.0)).ended, Ended::Failed);
        let all = join(join(failed("x"), failed("y")), failed("x"));
        let counts: Vec<_> = all.failures.iter().map(|failure| (failure.message.as_str(), failure.count)).collect();
        assert_eq!(counts, [("x", 4), ("y", 2)]);
    }

    #[test]
    fn a_usage_that_is_known_of_one_is_kept() {
        let mut unknown = run("a", 1.0);
        unknown.broker_usage = None;
        assert_eq!(join(unknown, run("b", 1.0)).broker_usage, run("b", 1.0).broker_usage);
    }
}
