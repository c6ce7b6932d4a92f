//! What a broker costs that does nothing: how fast it starts, what it holds, and how fast it starts again.

use std::time::{Duration, Instant};

use anyhow::ensure;
use corelog::protocol::messages::list_offsets::LATEST_TIMESTAMP;
use corelog_load::client::cluster::Cluster;

use crate::broker::{Broker, DEADLINE};
use crate::load;
use crate::options::{BrokerKind, Options};
use crate::report::Footprint;

/// Partitions of a topic, where a row asks for many.
const PARTITIONS_PER_TOPIC: usize = 1000;
/// What each partition holds: one batch of this many records.
const RECORDS: usize = 10;
/// How long a broker idles before its memory is looked at.
const IDLE: Duration = Duration::from_secs(5);
/// While a broker comes up, it is asked again so often.
const POLL_EVERY: Duration = Duration::from_millis(5);

/// Starts a broker of its own, gives it `partitions` with a batch in each, and starts it again: after SIGTERM, after
/// SIGKILL.
///
/// # Errors
/// When the broker fails, or does not have what it had.
pub fn measure(partitions: usize, kind: BrokerKind, options: &Options) -> anyhow::Result<Footprint> {
    let mut broker = Broker::start(kind, &options.data_dir)?;
    let start = broker.started_in();
    let topics = partitions / PARTITIONS_PER_TOPIC;
    fill(topics, &broker, options)?;
    std::thread::sleep(IDLE);
    let (resident_bytes, open_files) = (broker.process().resident_bytes()?, broker.process().open_files()?);
    broker.stop()?;
    let restart = restart(&mut broker, topics, RECORDS)?;
    // A second batch, so that there is something to recover.
    fill(topics, &broker, options)?;
    broker.kill()?;
    let restart_after_kill = self::restart(&mut broker, topics, 2 * RECORDS)?;
    broker.stop()?;
    Ok(Footprint { start, resident_bytes, open_files, restart, restart_after_kill })
}

/// Appends a batch to each partition of each topic, which is created when it is not there.
fn fill(topics: usize, broker: &Broker, options: &Options) -> anyhow::Result<()> {
    if topics == 0 {
        return Ok(());
    }
    let records = topics * PARTITIONS_PER_TOPIC * RECORDS;
    // More than one topic, so that each has a number.
    ensure!(topics > 1, "a row with partitions has {PARTITIONS_PER_TOPIC} of them in each of several topics");
    let arguments = format!(
        "produce --topic footprint --topics {topics} --partitions {PARTITIONS_PER_TOPIC} --records {records} \
         --records-per-batch {RECORDS} --record-bytes 100"
    );
    load::run("footprint", &arguments, broker, options)?;
    Ok(())
}

/// Starts the broker, and waits until all partitions have a leader that tells of `records` in it.
fn restart(broker: &mut Broker, topics: usize, records: usize) -> anyhow::Result<Duration> {
    let start = Instant::now();
    broker.restart()?;
    let mut cluster = Cluster::connect(&broker.address().to_string())?;
    for topic in 0..topics {
        let topic = loop {
            match cluster.topic(&format!("footprint-{topic}")) {
                Ok(topic) => break topic,
                Err(error) if start.elapsed() > DEADLINE => return Err(error),
                Err(_) => std::thread::sleep(POLL_EVERY),
            }
        };
        let ends = cluster.offsets(&topic, LATEST_TIMESTAMP)?;
        let are_there = ends.len() == PARTITIONS_PER_TOPIC && ends.iter().all(|&end| end == records as i64);
        ensure!(are_there, "topic '{}' does not hold {records} records in each of its partitions", topic.name);
    }
    Ok(start.elapsed())
}
