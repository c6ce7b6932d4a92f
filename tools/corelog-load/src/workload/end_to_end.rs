//! From publishing to delivery: producers at a given rate, and consumers that follow them.

use super::follow::{self, Followed};
use super::rate_search;
use crate::load::Interrupt;
use crate::options::EndToEndOptions;
use crate::report::Report;

/// Records of a batch when not told: a batch waits for nothing.
const RECORDS_PER_BATCH: u32 = 1;
/// Records a second when not told.
const RATE: f64 = 1000.0;

/// Runs the workload.
///
/// # Errors
/// When it cannot start, or the figures cannot be written.
pub fn end_to_end(options: &EndToEndOptions, command: &[String], interrupt: &Interrupt) -> anyhow::Result<Report> {
    let mut producer = options.producer.clone();
    producer.records_per_batch.get_or_insert(RECORDS_PER_BATCH);
    let followed = Followed {
        workload: "end-to-end",
        broker: &options.broker,
        client: options.client,
        topic: &options.topic,
        producer: &producer,
        fetch: &options.fetch,
        fan_out: 1,
        length: &options.length,
        output: &options.output,
    };
    followed.check()?;
    rate_search::run(&options.rate, Some(RATE), &options.output, interrupt, |rate| {
        follow::once(&followed, rate, command, interrupt)
    })
}
