//! What the figures mean, for a reader who sees such a page for the first time.

use super::Run;
use super::cards::command_line;
use super::latency::sentence;
use super::markup::{Html, classed, plain};
use super::over_time::POINTS_MAX;

/// The explanations, and the commands that repeat the runs.
pub fn meaning(runs: &[Run]) -> Html {
    let mut meanings = vec![
        ("Units.".to_owned(), "MB are 10⁶ bytes, MiB 2²⁰. k, M and G are thousand, million and thousand million.".to_owned()),
        (
            "Measured time.".to_owned(),
            "From the end of the warm-up to the last record that arrived. The warm-up, shaded in the charts, is in no figure \
             of the tables."
                .to_owned(),
        ),
        (
            "Values and wire.".to_owned(),
            "Values are what records carry; on the wire are the batches, with their headers and as they are compressed.".to_owned(),
        ),
        (
            "Percentiles.".to_owned(),
            "p99 is the latency that 99 of 100 are not above, p50 is the median. They are of all latencies together, and not \
             means of percentiles."
                .to_owned(),
        ),
    ];
    let mut told: Vec<String> = Vec::new();
    for track in runs.iter().flat_map(|run| &run.report.tracks) {
        let Some(latency) = &track.latency else { continue };
        let what = sentence(&latency.of);
        let line = format!("{what}{}", if what.ends_with('.') { "" } else { "." });
        if !told.contains(&format!("{}{line}", track.name)) {
            told.push(format!("{}{line}", track.name));
            meanings.push((format!("Latency of {}.", track.name), line));
        }
    }
    meanings.extend([
        (
            "Coordinated omission.".to_owned(),
            "With a rate asked for, latency counts from when a batch was meant to be sent, so that a broker that stalls cannot \
             hide the wait of those that it kept from being sent; without a rate there is no such time, and latency counts \
             from the sending."
                .to_owned(),
        ),
        (
            "CPU.".to_owned(),
            "The time that all threads of the process ran, in user mode and in the kernel, as the kernel counts it in steps of \
             10 ms; a record's share is that of the measured time divided by its records."
                .to_owned(),
        ),
        (
            "Charts.".to_owned(),
            format!(
                "A point stands for a second, and in runs of more than {POINTS_MAX} seconds for several: a rate is their mean; \
                 a latency, memory or lag is the highest of them. Pieces shorter than a tenth of a second, at the end of a \
                 run, are not drawn. Where lines coincide, that of the last run covers the others."
            ),
        ),
    ]);
    let line = |(name, text): (String, String)| plain("li", [plain("strong", name), format!(" {text}").into()]);
    let list = classed("ul", "meanings", meanings.into_iter().map(line).collect::<Html>());
    let command = |run: &Run| plain("li", [format!("{}: ", run.name).into(), command_line(&run.report.command)]);
    let commands = classed("ul", "meanings", runs.iter().map(command).collect::<Html>());
    [list, plain("p", "To repeat the runs:"), commands].into()
}
