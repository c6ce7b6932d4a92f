//! What a broker costs that does nothing: how fast it starts, what it holds, and how fast it starts again.

use std::time::{Duration, Instant};

use anyhow::ensure;

use crate::broker::{Broker, DEADLINE};
use crate::client::Client;
use crate::frames::batch;
use crate::options::{BrokerKind, Options};
use crate::payload::Payload;
use crate::produce::Producer;
use crate::report::Footprint;

/// Partitions of a topic, where a row asks for many.
const PARTITIONS_PER_TOPIC: usize = 1000;
/// What each partition holds: one batch of this many records.
const RECORDS: usize = 10;
/// Bytes of each value.
const VALUE_BYTES: usize = 100;
/// How long a broker idles before its memory is looked at.
const IDLE: Duration = Duration::from_secs(5);

/// Starts a broker of its own, gives it `partitions` with a batch in each, and starts it again: after SIGTERM, after
/// SIGKILL.
///
/// # Errors
/// When the broker fails, or does not have what it had.
pub fn measure(partitions: usize, kind: BrokerKind, options: &Options) -> anyhow::Result<Footprint> {
    let mut broker = Broker::start(kind, &options.data_dir)?;
    let start = broker.started_in();
    let topics: Vec<String> =
        (0..partitions / PARTITIONS_PER_TOPIC).map(|index| format!("footprint-{index}")).collect();
    let mut client = Client::connect(broker.address())?;
    for topic in &topics {
        client.create_topic(topic, PARTITIONS_PER_TOPIC)?;
        append(&broker, topic, &Vec::from_iter(0..PARTITIONS_PER_TOPIC as i32), 0)?;
    }
    drop(client);
    std::thread::sleep(IDLE);
    let (resident_bytes, open_files) = (broker.process().resident_bytes()?, broker.process().open_files()?);
    broker.stop()?;
    let restart = restart(&mut broker, &topics, RECORDS as i64)?;
    broker.kill()?;
    let restart_after_kill = self::restart(&mut broker, &topics, 2 * RECORDS as i64)?;
    broker.stop()?;
    Ok(Footprint { start, resident_bytes, open_files, restart, restart_after_kill })
}

/// Starts the broker, and waits until all partitions have a leader and the last one of each topic takes a batch, at
/// `offset`.
fn restart(broker: &mut Broker, topics: &[String], offset: i64) -> anyhow::Result<Duration> {
    let start = Instant::now();
    broker.restart()?;
    let mut client = Client::connect(broker.address())?;
    let partitions = topics.len() * PARTITIONS_PER_TOPIC;
    while client.led_partitions(&[])? < partitions {
        ensure!(start.elapsed() < DEADLINE, "not all partitions have a leader after {DEADLINE:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
    for topic in topics {
        append(broker, topic, &[PARTITIONS_PER_TOPIC as i32 - 1], offset)?;
    }
    Ok(start.elapsed())
}

fn append(broker: &Broker, topic: &str, partitions: &[i32], offset: i64) -> anyhow::Result<()> {
    let batch = batch(&mut Payload::new(7), RECORDS, VALUE_BYTES)?;
    Producer::open(broker.address(), topic, partitions, offset, &batch, RECORDS, 1)?;
    Ok(())
}
