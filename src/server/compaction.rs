//! Compaction: keeps the newest record of each key in partitions with the `compact` policy, `__consumer_offsets` too. One
//! partition of a shard at a time.

use std::rc::Rc;
use std::time::Duration;

use super::broker::Broker;
use super::connection::Service;
use crate::disk::Disk;
use crate::disk::uring::UringDisk;
use crate::partition::Partition;
use crate::storage::compaction::{CompactionBounds, CompactionError, Offload};
use crate::vocabulary::PartitionId;

/// Decoding, hashing and compressing hold up no shard: they run on the executor's own threads for such things.
struct Elsewhere;

impl Offload for Elsewhere {
    async fn run<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        glommio::executor().spawn_blocking(work).await
    }
}

/// Looks after this shard's partitions for as long as the shard lives.
pub fn run(broker: &Rc<Broker>) {
    let config = &broker.settings.config;
    if !config.boolean("log.cleaner.enable") {
        return;
    }
    let shards = broker.mesh.shards();
    let bytes_per_second = match config.value("log.cleaner.io.max.bytes.per.second") {
        Some(crate::config::Value::Double(rate)) if rate < f64::MAX => Some(rate / shards as f64),
        _ => None,
    };
    let key_map_bytes = usize::try_from(config.int("log.cleaner.dedupe.buffer.size")).unwrap_or(usize::MAX) / shards;
    let bounds = CompactionBounds { key_map_bytes, bytes_per_second };
    let pause = Duration::from_millis(u64::try_from(config.int("log.cleaner.backoff.ms")).unwrap_or_default());
    let broker = broker.clone();
    glommio::spawn_local(async move {
        while !broker.is_stopping() {
            broker.storage.disk().sleep(pause).await;
            let _working = broker.work().begin();
            check(&broker, &bounds).await;
        }
    })
    .detach();
}

async fn check(broker: &Broker, bounds: &CompactionBounds) {
    let partitions: Vec<_> = broker.partitions.borrow().iter().map(|(id, one)| (*id, one.clone())).collect();
    for (id, partition) in partitions {
        if must_stop(broker) {
            return;
        }
        // One that failed keeps no other from its turn.
        if let Err(error) = compact(broker, id, &partition, bounds).await {
            tracing::error!("partition {id}: compaction: {error}");
        }
    }
}

fn must_stop(broker: &Broker) -> bool {
    broker.is_stopping() || broker.storage.fenced().is_some()
}

async fn compact(
    broker: &Broker,
    id: PartitionId,
    partition: &Partition<UringDisk>,
    bounds: &CompactionBounds,
) -> Result<(), CompactionError> {
    let named = |topic: &Rc<crate::metadata::Topic>| Some((topic.name.clone(), topic.config.compaction?));
    let Some((topic, rules)) = broker.image.borrow().topic_by_id(id.topic_id).and_then(named) else { return Ok(()) };
    let stop = || must_stop(broker);
    let cleaned = broker.storage.compact(&partition.log, &rules, bounds, &Elsewhere, stop).await?;
    if let Some(cleaning) = cleaned {
        tracing::info!(
            "partition {id}: {topic}-{} is compacted up to offset {}: {} records of {}, {} bytes of {}, {} segments of {} \
             are left; {} keys{}, {:?}",
            id.index,
            cleaning.clean_to,
            cleaning.records_after,
            cleaning.records_before,
            cleaning.bytes_after,
            cleaning.bytes_before,
            cleaning.segments_after,
            cleaning.segments_before,
            cleaning.keys,
            if cleaning.map_was_full { " (all that the table holds)" } else { "" },
            cleaning.duration,
        );
    }
    Ok(())
}
