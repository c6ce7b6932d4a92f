//! The rows with a load: on a topic of its own, which is deleted afterwards.

use anyhow::Context;
use corelog_load::client::cluster::Cluster;

use crate::broker::Broker;
use crate::load;
use crate::options::{BrokerKind, Options};
use crate::quiet;
use crate::report::Measured;
use crate::rows::{ConsumeLoad, ReadFrom, WARM_UP};

/// What is not read of a topic that is read from disk: its end, which a broker may hold in memory.
const UNREAD_BYTES: f64 = 512e6;
/// What is written for each second of reading from disk. A faster reader is through before the time is over.
const DISK_BYTES_PER_SECOND: f64 = 1.2e9;

/// Puts a load to a broker before the first row.
///
/// # Errors
/// When the load fails.
pub fn warm_up(broker: &Broker, options: &Options) -> anyhow::Result<()> {
    let arguments = format!("produce {WARM_UP} --topic warm-up {}", timing(options));
    load::run("warm-up", &arguments, broker, options)?;
    delete(broker, "warm-up")
}

/// Runs a row of producers.
///
/// # Errors
/// When the load fails.
pub fn produce(
    name: &str,
    profile: &str,
    first_records: u64,
    value_bytes: usize,
    broker: &Broker,
    options: &Options,
) -> anyhow::Result<Measured> {
    let first = format!("produce --profile {profile} --topic {name} --records {first_records}");
    load::run(&format!("{name}-first"), &first, broker, options)?;
    let arguments = format!("produce --profile {profile} --topic {name} {}", timing(options));
    let report = load::run(name, &arguments, broker, options)?;
    delete(broker, name)?;
    Measured::of(&report, value_bytes)
}

/// Fills a topic, and runs a row of a consumer on it.
///
/// # Errors
/// When a load fails, or the page cache cannot be dropped.
pub fn consume(name: &str, row: &ConsumeLoad, broker: &Broker, options: &Options) -> anyhow::Result<Measured> {
    let fill = format!("produce --profile {} --topic {name}", row.fill);
    let read = match row.from {
        ReadFrom::Memory => {
            load::run(&format!("{name}-fill"), &fill, broker, options)?;
            format!("consume --profile consume-memory --topic {name} {}", timing(options))
        }
        ReadFrom::Disk => {
            let wanted = (options.warm_up + options.duration) * DISK_BYTES_PER_SECOND;
            let records = |bytes: f64| (bytes / row.value_bytes as f64) as u64;
            let fill = format!("{fill} --records {}", records(wanted + UNREAD_BYTES));
            load::run(&format!("{name}-fill"), &fill, broker, options)?;
            // Ours reads past the page cache. Where it cannot be dropped, Kafka would read memory.
            match quiet::drop_caches() {
                Err(error) if broker.kind != BrokerKind::Corelog => return Err(error),
                _ => {}
            }
            let records = records(wanted);
            format!("consume --profile consume-once --topic {name} {} --records {records}", timing(options))
        }
    };
    let report = load::run(name, &read, broker, options)?;
    delete(broker, name)?;
    Measured::of(&report, row.value_bytes)
}

fn timing(options: &Options) -> String {
    format!("--warm-up {}s --duration {}s", options.warm_up, options.duration)
}

fn delete(broker: &Broker, topic: &str) -> anyhow::Result<()> {
    let mut cluster = Cluster::connect(&broker.address().to_string())?;
    cluster.delete_topic(topic).context("after the row")
}
