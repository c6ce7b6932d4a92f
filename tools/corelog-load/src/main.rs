//! The `corelog-load` command.

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;
use corelog_load::load::Interrupt;
use corelog_load::options::{Command, CommandLine, expand};
use corelog_load::report::{Ended, html};
use corelog_load::workload;

/// The exit code of a run that Ctrl-C ended, as shells have it.
const INTERRUPTED: u8 = 130;

fn main() -> ExitCode {
    let command: Vec<String> = std::env::args().collect();
    match expand(&command).and_then(|line| run(&CommandLine::parse_from(line), &command)) {
        Ok(Ended::Complete) => ExitCode::SUCCESS,
        Ok(Ended::Interrupted) => ExitCode::from(INTERRUPTED),
        Ok(Ended::Failed) => ExitCode::FAILURE,
        Err(error) => {
            // Without a terminal there is nobody to tell, and the exit code still does.
            let _unseen = writeln!(std::io::stderr(), "corelog-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(line: &CommandLine, command: &[String]) -> anyhow::Result<Ended> {
    let interrupt = Interrupt::on_signals()?;
    let report = match &line.command {
        Command::Produce(options) => workload::produce::produce(options, command, &interrupt)?,
        Command::Consume(options) => workload::consume::consume(options, command, &interrupt)?,
        Command::EndToEnd(options) => workload::end_to_end::end_to_end(options, command, &interrupt)?,
        Command::Mixed(options) => workload::mixed::mixed(options, command, &interrupt)?,
        Command::RpcVsStream(options) => workload::rpc_vs_stream::rpc_vs_stream(options, command, &interrupt)?,
        Command::Report(options) => return html::report(options).map(|()| Ended::Complete),
        Command::Soak(options) => workload::soak::soak(options, command, &interrupt)?,
        Command::Guarantees(options) => workload::guarantees::guarantees(options, command, &interrupt)?,
        Command::GuaranteesClient(options) => {
            workload::guarantees::client(options, &interrupt)?;
            return Ok(Ended::Complete);
        }
    };
    Ok(report.ended)
}
