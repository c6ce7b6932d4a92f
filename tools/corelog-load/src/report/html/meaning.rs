//! What the figures mean, for a reader who sees such a page for the first time.

use super::Run;
use super::cards::command_line;
use super::latency::sentence;
use super::markup::{Html, classed, plain};
use super::over_time::POINTS_MAX;

const BEFORE_LATENCIES: [(&str, &str); 4] = [
    ("Units.", "MB are 10⁶ bytes, MiB 2²⁰. k, M and G are thousand, million and thousand million."),
    (
        "Measured time.",
        "From the end of the warm-up to the last record that arrived. The warm-up, shaded in the charts, counts in no \
         figure of the table, except the highest memory.",
    ),
    (
        "Values and wire.",
        "Values are what records carry; on the wire are the batches, with their headers and as they are compressed. \
         The chart of MB/s is of values where the workload looks at them, and else of what is on the wire.",
    ),
    (
        "Percentiles.",
        "p99 is the latency that 99 of 100 are not above, p50 is the median. They are of all latencies of the \
         measured time together, and no means of the seconds' percentiles.",
    ),
];

const BEHIND_LATENCIES: [(&str, &str); 2] = [
    (
        "Coordinated omission.",
        "With a rate asked for, latency counts from when a batch was meant to be sent, so that a broker that stalls \
         cannot hide the wait of what it kept from being sent; without a rate there is no such time, and latency \
         counts from the sending.",
    ),
    (
        "CPU.",
        "The time that all threads of the process ran, in user mode and in the kernel, as the kernel counts it in \
         steps of 10 ms; for each record it is that of the measured time divided by the records of the largest \
         column.",
    ),
];

/// The explanations, and the commands that repeat the runs.
pub fn meaning(runs: &[Run]) -> Html {
    let mut list: Html = BEFORE_LATENCIES.iter().map(|(name, text)| explained(name, text)).collect();
    for (name, of) in latencies(runs) {
        list.push(explained(&format!("Latency of {name}."), &format!("{}.", sentence(of).trim_end_matches('.'))));
    }
    list.push(BEHIND_LATENCIES.iter().map(|(name, text)| explained(name, text)).collect::<Html>());
    let points = format!(
        "A point stands for a second, and in a run of more than {POINTS_MAX} seconds for several: a rate is their \
         mean; a latency, memory or lag is the highest of them. Pieces shorter than a tenth of a second, at the edges \
         of a run, are not drawn. Where lines coincide, that of the last run covers the others."
    );
    list.push(explained("Charts.", &points));
    let command = |run: &Run| plain("li", [format!("{}: ", run.name).into(), command_line(&run.report.command)]);
    let commands: Html = runs.iter().map(command).collect();
    [classed("ul", "meanings", list), plain("p", "To repeat the runs:"), classed("ul", "meanings", commands)].into()
}

fn explained(name: &str, text: &str) -> Html {
    plain("li", [plain("strong", name), format!(" {text}").into()])
}

/// The tracks and what their latencies are of, each once.
fn latencies(runs: &[Run]) -> Vec<(&str, &str)> {
    let mut told = Vec::new();
    for track in runs.iter().flat_map(|run| &run.report.tracks) {
        let Some(latency) = &track.latency else { continue };
        let one = (track.name.as_str(), latency.of.as_str());
        if !told.contains(&one) {
            told.push(one);
        }
    }
    told
}
