//! The broker's figures, end to end: starts the broker's own process on an empty directory, drives it over loopback with
//! frames that were encoded beforehand, and prints what it did and what that cost.
//!
//! `cargo bench --bench end_to_end -- --help` lists the options; `benches/README.md` says what each row is.
//!
//! | module | what it is |
//! | --- | --- |
//! | `options` | the command line |
//! | `rows` | which rows there are |
//! | `payload` | values that look like text, from a seed |
//! | `frames` | produce requests, encoded once |
//! | `client` | a connection for everything that is not measured: topics, metadata |
//! | `produce` | the measured producers |
//! | `window` | warm-up, measured window, and the counters at its edges |
//! | `process` | what `/proc` tells of a process |
//! | `broker` | starting and stopping the broker |
//! | `report` | the table and the JSON file |

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "a benchmark measures real time and prints to the terminal"
)]

mod broker;
mod client;
mod frames;
mod options;
mod payload;
mod process;
mod produce;
mod report;
mod rows;
mod window;

use std::process::ExitCode;

use anyhow::Context;
use clap::Parser;

use broker::Broker;
use options::Options;
use report::{Measured, Report};
use rows::{Row, Work};

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("end_to_end: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> anyhow::Result<()> {
    let rows = rows::selected(&options.rows)?;
    let mut report = Report::default();
    let mut brokers = Vec::new();
    for &kind in &options.broker {
        let mut broker = Broker::start(kind, &options.data_dir)?;
        broker.wait_until_served()?;
        brokers.push(broker);
    }
    report.print_head();
    for row in &rows {
        for broker in &mut brokers {
            let measured = measure(row, broker, options);
            let measured = measured
                .with_context(|| format!("{} on {}; its log ends:\n{}", row.name, broker.kind, broker.log_end()))?;
            report.add(row.name, broker.kind, measured);
        }
    }
    for broker in brokers {
        broker.stop()?;
    }
    if let Some(path) = &options.json {
        std::fs::write(path, report.json()).with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}

fn measure(row: &Row, broker: &mut Broker, options: &Options) -> anyhow::Result<Measured> {
    match &row.work {
        Work::Produce(load) => produce::measure(row.name, load, broker, &options.timing()),
    }
}
