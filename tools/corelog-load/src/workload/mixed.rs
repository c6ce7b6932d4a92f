//! Producers, and several groups of consumers that each read everything (fan-out).

use super::follow::{self, Followed};
use super::rate_search;
use crate::load::Interrupt;
use crate::options::MixedOptions;
use crate::report::Report;

/// Runs the workload.
///
/// # Errors
/// When it cannot start, or the figures cannot be written.
pub fn mixed(options: &MixedOptions, command: &[String], interrupt: &Interrupt) -> anyhow::Result<Report> {
    let followed = Followed {
        workload: "mixed",
        broker: &options.broker,
        client: options.client,
        topic: &options.topic,
        producer: &options.producer,
        fetch: &options.fetch,
        fan_out: u64::from(options.fan_out),
        length: &options.length,
        output: &options.output,
    };
    followed.check()?;
    rate_search::run(&options.rate, None, &options.output, interrupt, |rate| {
        follow::once(&followed, rate, command, interrupt)
    })
}
