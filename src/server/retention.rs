//! Retention: deletes what the `delete` policy does not keep (Kafka's `retention.ms`, `retention.bytes`).

use std::rc::Rc;
use std::time::Duration;

use super::broker::Broker;
use super::connection::Service;
use crate::disk::Disk;
use crate::disk::uring::UringDisk;
use crate::metadata::Topic;
use crate::partition::Partition;
use crate::storage::DeleteError;
use crate::storage::log::Retention;
use crate::vocabulary::PartitionId;

/// How long after the start it is looked for the first time (Kafka's `log.initial.task.delay.ms`).
const FIRST_AFTER: Duration = Duration::from_secs(30);

/// Looks after this shard's partitions for as long as the shard lives.
pub fn run(broker: &Rc<Broker>) {
    let broker = broker.clone();
    let interval_ms = broker.settings.config.int("log.retention.check.interval.ms");
    let interval = Duration::from_millis(u64::try_from(interval_ms).unwrap_or_default());
    glommio::spawn_local(async move {
        let mut pause = interval.min(FIRST_AFTER);
        while !broker.is_stopping() {
            broker.storage.disk().sleep(pause).await;
            pause = interval;
            let _working = broker.work().begin();
            check(&broker).await;
        }
    })
    .detach();
}

async fn check(broker: &Broker) {
    let partitions: Vec<_> = broker.partitions.borrow().iter().map(|(id, one)| (*id, one.clone())).collect();
    for (id, partition) in partitions {
        if broker.is_stopping() || broker.storage.fenced().is_some() {
            return;
        }
        // One that failed is tried again the next time, and keeps no other from its turn.
        match check_one(broker, id, &partition).await {
            Ok(()) => {}
            Err(_) if partition.log.is_deleted() => {}
            Err(error) => tracing::error!("partition {id}: retention: {error}"),
        }
    }
}

async fn check_one(broker: &Broker, id: PartitionId, partition: &Partition<UringDisk>) -> Result<(), DeleteError> {
    let config = broker.image.borrow().topic_by_id(id.topic_id).map(|topic| topic.config.clone());
    let Some(config) = config.filter(|config| config.deletes) else { return Ok(()) };
    let disk = broker.storage.disk();
    let now = disk.wall_clock_ms();
    let retention = Retention {
        expired_before: config.retention.ms.map(|ms| now.saturating_sub(ms)),
        bytes: config.retention.bytes,
    };
    let start = partition.log.start();
    let from = partition.log.retained_from(disk, retention).await?;
    broker.storage.delete_before(&partition.log, from, Topic::LEADER_EPOCH).await?;
    if from > start {
        tracing::info!("partition {id}: offsets {start} to {from} are deleted by retention");
    }
    Ok(())
}
