//! The broker's figures, end to end: starts the broker's own process on an empty directory, and Apache Kafka beside it
//! when asked to, runs `corelog-load` against them, and prints what they did and what that cost.
//!
//! `cargo bench --bench end_to_end -- --help` lists the options; `benches/README.md` says what each row is.
//!
//! | module | what it is |
//! | --- | --- |
//! | `options` | the command line |
//! | `rows` | which rows there are |
//! | `load` | a run of the load generator |
//! | `measured` | the rows with a load |
//! | `footprint` | what an idle broker costs |
//! | `quiet` | the same state of disk and memory before each row |
//! | `broker` | starting and stopping a broker |
//! | `kafka` | Apache Kafka: fetching and configuring it |
//! | `report` | the table and the JSON file |

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "a benchmark measures real time and prints to the terminal"
)]

mod broker;
mod footprint;
mod kafka;
mod load;
mod measured;
mod options;
mod quiet;
mod report;
mod rows;

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
        let broker = Broker::start(kind, &options.data_dir)?;
        measured::warm_up(&broker, options)?;
        brokers.push(broker);
    }
    for row in rows {
        for broker in &brokers {
            quiet::settle(&options.data_dir)?;
            let measured = match &row.work {
                Work::Footprint { .. } => continue,
                Work::Produce { profile, first_records, value_bytes } => {
                    measured::produce(row.name, profile, *first_records, *value_bytes, broker, options)
                }
                Work::Consume(load) => measured::consume(row.name, load, broker, options),
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
