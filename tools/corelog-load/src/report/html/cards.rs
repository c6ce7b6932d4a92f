//! What was run, where and how it ended: a card for each run.

use super::Run;
use super::markup::{Html, classed, element, plain};
use super::number::{figure, shell_word, utc};
use crate::machine::Machine;
use crate::report::Ended;

const GIB: f64 = 1_073_741_824.0;

/// The machine in words.
pub fn machine(machine: &Machine) -> String {
    let cpu = if machine.cpu.is_empty() { "unknown CPU" } else { &machine.cpu };
    let cores = if machine.cores == 1 { "1 core".to_owned() } else { format!("{} cores", machine.cores) };
    format!("{cpu}, {cores}, {:.1} GiB of memory, {}", machine.memory_bytes as f64 / GIB, machine.kernel)
}

/// A command line, which breaks between its arguments.
pub fn command_line(command: &[String]) -> Html {
    let mut out = Html::new();
    for (place, argument) in command.iter().enumerate() {
        if place > 0 {
            out.push(" ");
        }
        out.push(plain("span", shell_word(argument)));
    }
    plain("code", out)
}

/// The machine of all runs, when it is one.
pub fn shared_machine(runs: &[Run]) -> Option<&Machine> {
    let first = &runs.first()?.report.machine;
    runs.iter().all(|run| run.report.machine == *first).then_some(first)
}

/// The cards.
pub fn cards(runs: &[Run]) -> Html {
    let is_shared = shared_machine(runs).is_some();
    let card = |run| card(run, !is_shared);
    classed("div", "cards", runs.iter().map(card).collect::<Html>())
}

fn card(run: &Run, with_machine: bool) -> Html {
    let report = &run.report;
    let (ended, class) = match report.ended {
        Ended::Complete => ("complete", "ended good"),
        Ended::Interrupted => ("interrupted", "ended bad"),
        Ended::Failed => ("failed", "ended bad"),
    };
    let mut facts = Html::new();
    let mut fact = |name: &'static str, value: Html| facts.push([plain("dt", name), plain("dd", value)]);
    fact("workload", report.workload.as_str().into());
    let process = report.broker.process.as_deref().unwrap_or("process not known");
    fact("broker", format!("{process}, {}", report.broker.address).into());
    let rate = report.rate_asked.map_or("none".to_owned(), |rate| format!("{} records/s", figure(rate)));
    fact("rate asked for", rate.into());
    fact("started", utc(report.started_unix_ms).into());
    if with_machine {
        fact("machine", machine(&report.machine).into());
    }
    fact("version", format!("corelog-load {}", report.version).into());
    fact("command", command_line(&report.command));
    let mut content: Html = [classed("span", class, ended), plain("h3", run.name.as_str()), plain("dl", facts)].into();
    content.push(failures(run));
    element("section", &[("class", &format!("card c{}", run.colour))], content)
}

fn failures(run: &Run) -> Html {
    let headline = match run.report.ended {
        _ if !run.report.failures.is_empty() => "Failures; the figures are those up to the end:",
        Ended::Interrupted => "Interrupted: the figures are those up to then.",
        Ended::Failed => "Failed: the figures are those up to then.",
        Ended::Complete => return Html::new(),
    };
    let failure = |failure: &crate::load::Failure| match failure.count {
        1 => plain("li", failure.message.as_str()),
        count => plain("li", format!("{count} × {}", failure.message)),
    };
    let list: Html = run.report.failures.iter().map(failure).collect();
    let list = if list.is_empty() { list } else { plain("ul", list) };
    classed("div", "failures", [plain("strong", headline), list])
}
