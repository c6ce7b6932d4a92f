//! The options as librdkafka's properties. What it has no property for, or would quietly change, is refused.

use anyhow::ensure;
use rdkafka::ClientConfig;

use crate::client::CLIENT_ID;
use crate::keys::KeyKind;
use crate::options::{Codec, FetchOptions, ProducerOptions};

/// How long a producer gathers records for a batch when not told, milliseconds: librdkafka's default for `linger.ms`.
const LINGER_MS: f64 = 5.0;
/// librdkafka's default for `batch.size` and `message.max.bytes`.
const BATCH_BYTES_DEFAULT: usize = 1_000_000;
/// Its upper bound for `message.max.bytes`.
const BATCH_BYTES_MAX: usize = 1_000_000_000;
/// What a record takes beside its value, at most: key, lengths, deltas.
const RECORD_OVERHEAD: usize = 64;
/// What a batch takes beside its records: header and, for one that does not compress, the codec's frame.
const BATCH_OVERHEAD: usize = 1024;
/// Its default for `queue.buffering.max.messages`.
const QUEUED_RECORDS_DEFAULT: usize = 100_000;
/// Its default for `receive.message.max.bytes`, and what that has to be above `fetch.max.bytes`.
const RECEIVE_BYTES_DEFAULT: u64 = 100_000_000;
const RECEIVE_OVERHEAD: u64 = 512;
/// Its lower bound for `message.max.bytes`.
const MESSAGE_BYTES_MIN: u32 = 1000;

/// What both kinds of clients start from.
fn common(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", bootstrap).set("client.id", CLIENT_ID);
    config
}

/// A producer's properties.
///
/// # Errors
/// When librdkafka cannot do what is asked for.
pub fn producer(bootstrap: &str, options: &ProducerOptions) -> anyhow::Result<ClientConfig> {
    ensure!(options.connections == 1, "--connections: librdkafka has one to each leader");
    let records = options.records_per_batch() as usize;
    let record_bytes = options.record_bytes.max();
    let batch_bytes =
        records.saturating_mul(record_bytes.saturating_add(RECORD_OVERHEAD)).saturating_add(BATCH_OVERHEAD);
    let message_bytes = batch_bytes.max(BATCH_BYTES_DEFAULT);
    let batch_bytes = batch_bytes.max(BATCH_BYTES_DEFAULT).min(options.batch_bytes());
    ensure!(
        message_bytes <= BATCH_BYTES_MAX,
        "librdkafka makes no batches of {records} records of {record_bytes} bytes: it has at most 1 GB a batch"
    );
    let linger_ms = options.linger.map_or(LINGER_MS, |linger| linger.as_secs_f64() * 1e3);
    // As many records may wait as requests may be on their way, and one more batch be filled.
    let queued = QUEUED_RECORDS_DEFAULT.max(records * (usize::from(options.in_flight) + 1));
    let mut config = common(bootstrap);
    config
        .set("acks", options.acks.code().to_string())
        .set("batch.num.messages", records.to_string())
        .set("batch.size", batch_bytes.to_string())
        .set("message.max.bytes", message_bytes.to_string())
        .set("linger.ms", linger_ms.to_string())
        .set("queue.buffering.max.messages", queued.to_string())
        .set("max.in.flight.requests.per.connection", options.in_flight.to_string())
        .set("compression.type", compression_type(options.compression))
        .set("enable.idempotence", options.idempotent.to_string());
    if options.keys != KeyKind::None {
        // As Kafka's own clients choose partitions; librdkafka's default is another hash.
        config.set("partitioner", "murmur2_random");
    }
    Ok(config)
}

/// A consumer's properties.
///
/// # Errors
/// When librdkafka cannot do what is asked for.
pub fn consumer(bootstrap: &str, options: &FetchOptions) -> anyhow::Result<ClientConfig> {
    // It would raise fetch.max.bytes to message.max.bytes, and say nothing.
    ensure!(
        options.fetch_bytes >= MESSAGE_BYTES_MIN,
        "--fetch-bytes {}: librdkafka fetches at least {MESSAGE_BYTES_MIN}",
        options.fetch_bytes
    );
    let message_bytes = options.fetch_bytes.min(BATCH_BYTES_DEFAULT as u32);
    let receive_bytes = RECEIVE_BYTES_DEFAULT.max(u64::from(options.fetch_bytes) + RECEIVE_OVERHEAD);
    let mut config = common(bootstrap);
    config
        .set("message.max.bytes", message_bytes.to_string())
        .set("fetch.max.bytes", options.fetch_bytes.to_string())
        .set("receive.message.max.bytes", receive_bytes.to_string())
        .set("max.partition.fetch.bytes", options.partition_fetch_bytes.to_string())
        .set("fetch.min.bytes", options.fetch_min_bytes.to_string())
        .set("fetch.wait.max.ms", options.max_wait_ms.to_string())
        // As this tool's own consumers and Java's do.
        .set("check.crcs", "true")
        // librdkafka wants a group's name, even from a consumer that joins none and commits nothing.
        .set("group.id", CLIENT_ID)
        .set("enable.auto.commit", "false")
        .set("auto.offset.reset", "error")
        .set("enable.partition.eof", "true");
    Ok(config)
}

fn compression_type(codec: Codec) -> &'static str {
    match codec {
        Codec::None => "none",
        Codec::Gzip => "gzip",
        Codec::Snappy => "snappy",
        Codec::Lz4 => "lz4",
        Codec::Zstd => "zstd",
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use rdkafka::consumer::BaseConsumer;
    use rdkafka::producer::BaseProducer;

    use super::*;
    use crate::options::{Command, CommandLine};

    fn producer_options(more: &str) -> ProducerOptions {
        match CommandLine::parse_from(format!("corelog-load produce {more}").split_whitespace()).command {
            Command::Produce(options) => options.producer,
            other => panic!("{other:?}"),
        }
    }

    fn fetch_options(more: &str) -> FetchOptions {
        match CommandLine::parse_from(format!("corelog-load consume {more}").split_whitespace()).command {
            Command::Consume(options) => options.fetch,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn librdkafka_takes_a_producer_s_options() {
        for more in [
            "",
            "--records-per-batch 1 --in-flight 1 --acks 0",
            "--records-per-batch 1000000 --record-bytes 100 --in-flight 10000 --acks 1 --compression zstd",
            "--idempotent --keys zipf:5 --compression gzip",
            "--record-bytes 9000000 --compression lz4",
            "--record-bytes uniform:10:2000 --batch-bytes 16384 --linger 0 --rate 5",
            "--linger 2.5ms --rate 5",
            "--compression snappy",
        ] {
            let config = producer("127.0.0.1:1", &producer_options(more)).expect("properties");
            config.create::<BaseProducer>().unwrap_or_else(|error| panic!("{more}: {error}"));
        }
    }

    #[test]
    fn a_batch_has_room_for_all_its_records() {
        let of = |more: &str| producer("127.0.0.1:1", &producer_options(more)).expect("properties");
        let config = of("--records-per-batch 2000 --record-bytes 1000 --in-flight 99");
        assert_eq!(config.get("batch.num.messages"), Some("2000"));
        assert!(config.get("batch.size").and_then(|bytes| bytes.parse().ok()) >= Some(2_000_000));
        assert_eq!(config.get("queue.buffering.max.messages"), Some("200000"));
        assert_eq!(config.get("partitioner"), None);
        assert_eq!(of("--keys uniform:2").get("partitioner"), Some("murmur2_random"));
        assert_eq!(of("--batch-bytes 16384 --linger 20ms").get("batch.size"), Some("16384"));
        assert_eq!(of("--batch-bytes 16384 --linger 20ms").get("linger.ms"), Some("20"));
        let error = producer("127.0.0.1:1", &producer_options("--records-per-batch 1000 --record-bytes 1000000"));
        assert!(error.expect_err("refused").to_string().contains("at most 1 GB a batch"));
    }

    #[test]
    fn librdkafka_takes_a_consumer_s_options_or_they_are_refused() {
        for more in ["", "--fetch-bytes 1000 --partition-fetch-bytes 1", "--fetch-bytes 2000000000 --fetch-min-bytes 5"]
        {
            let config = consumer("127.0.0.1:1", &fetch_options(more)).expect("properties");
            config.create::<BaseConsumer>().unwrap_or_else(|error| panic!("{more}: {error}"));
        }
        let error = consumer("127.0.0.1:1", &fetch_options("--fetch-bytes 999")).expect_err("refused");
        assert!(error.to_string().contains("at least 1000"), "{error}");
        let config = consumer("127.0.0.1:1", &fetch_options("--max-wait-ms 300001")).expect("properties");
        assert!(config.create::<BaseConsumer>().is_err_and(|error| error.to_string().contains("fetch.wait.max.ms")));
    }
}
