//! The broker's figures, end to end: starts the broker's own process on an empty directory, and Apache Kafka beside it
//! when asked to, drives them over loopback with frames that were encoded beforehand, and prints what they did and what
//! that cost.
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
//! | `produce`, `consume` | the measured producers and the consumer |
//! | `footprint` | what an idle broker costs |
//! | `quiet` | the same state of disk and memory before each row |
//! | `window` | warm-up, measured window, and the counters at its edges |
//! | `process` | what `/proc` tells of a process |
//! | `broker` | starting and stopping a broker |
//! | `kafka` | Apache Kafka: fetching and configuring it |
//! | `report` | the table and the JSON file |

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "a benchmark measures real time and prints to the terminal"
)]

mod broker;
mod client;
mod consume;
mod footprint;
mod frames;
mod kafka;
mod options;
mod payload;
mod process;
mod produce;
mod quiet;
mod report;
mod rows;
mod window;

use std::process::ExitCode;

use anyhow::{Context, ensure};
use clap::Parser;

use broker::Broker;
use options::Options;
use report::Report;
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
    for row in &rows {
        if let Work::Footprint { partitions } = row.work {
            for &kind in &options.broker {
                match footprint::measure(partitions, kind, options) {
                    Ok(footprint) => report.add_footprint(row.name, kind, footprint),
                    Err(error) => report.add_failure(row.name, kind, &error),
                }
            }
        }
    }
    let is_load = |row: &&Row| !matches!(row.work, Work::Footprint { .. });
    measure_loads(rows.into_iter().filter(is_load), options, &mut report)?;
    if let Some(path) = &options.json {
        std::fs::write(path, report.json()).with_context(|| format!("write {}", path.display()))?;
    }
    ensure!(report.failures() == 0, "{} measurements failed; see above", report.failures());
    Ok(())
}

/// All brokers run all the time, and each row is put to one after the other: what else the machine does, and how its
/// disk is today, meets them alike, and a JVM is as warm as it would be in service. Idle, they cost next to nothing.
fn measure_loads(
    rows: impl Iterator<Item = &'static Row>,
    options: &Options,
    report: &mut Report,
) -> anyhow::Result<()> {
    let mut rows = rows.peekable();
    if rows.peek().is_none() {
        return Ok(());
    }
    let mut brokers = Vec::new();
    for &kind in &options.broker {
        let mut broker = Broker::start(kind, &options.data_dir)?;
        produce::measure("warm-up", &rows::WARM_UP, &mut broker, &options.timing())?;
        brokers.push(broker);
    }
    for row in rows {
        for broker in &mut brokers {
            quiet::settle(&options.data_dir)?;
            let measured = match &row.work {
                Work::Footprint { .. } => continue,
                Work::Produce(load) => produce::measure(row.name, load, broker, &options.timing()),
                Work::Consume(load) => consume::measure(row.name, load, broker, &options.timing()),
            };
            match measured.with_context(|| format!("the broker's log:\n{}", broker.log_ends())) {
                Ok(measured) => report.add(row.name, broker.kind, measured),
                Err(error) => report.add_failure(row.name, broker.kind, &error),
            }
        }
    }
    for broker in &mut brokers {
        broker.stop()?;
    }
    Ok(())
}
