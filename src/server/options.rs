//! From the configuration to what is started.

use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::sync::Arc;

use super::broker::Settings;
use super::start::Options;
use crate::config::{BrokerConfig, ConfigError};

/// What is to be started with this configuration.
///
/// # Errors
/// Values that do not go together, more shards than there are cores, an address whose host is not known.
pub fn options(config: BrokerConfig) -> Result<Options, ConfigError> {
    config.check()?;
    let conflict = |name: &str, reason: String| ConfigError::Conflict { place: config.place(name), reason };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let shards = match config.value("corelog.shards") {
        Some(_) => config.size("corelog.shards"),
        None => cores,
    };
    if shards > cores {
        let reason = format!("{shards} shards on {cores} cores; each shard needs a core of its own, use 1 to {cores}");
        return Err(conflict("corelog.shards", reason));
    }
    let listener = config.listener("listeners").expect("the table has a default");
    let listen = resolve(&listener.host, listener.port)
        .map_err(|error| conflict("listeners", format!("{listener}: the host is not known: {error}")))?;
    let advertised = config.listener("advertised.listeners").map(|listener| (listener.host, listener.port));
    if advertised.is_none() && listen.ip().is_unspecified() {
        let reason = format!(
            "{listener}: clients cannot connect to {}, say where they can with --advertised HOST:PORT",
            listen.ip()
        );
        return Err(conflict("listeners", reason));
    }
    Ok(Options {
        data_dir: PathBuf::from(config.single("log.dirs").expect("the table has a default")),
        listen,
        advertised,
        shards,
        storage: config.storage_options(),
        connections_max: config.size("max.connections"),
        settings: Settings::new(Arc::new(config)),
        accept_journal_damage: false,
    })
}

fn resolve(host: &str, port: u16) -> std::io::Result<SocketAddr> {
    let mut addresses = (host, port).to_socket_addrs()?;
    addresses.next().ok_or_else(|| std::io::Error::new(std::io::ErrorKind::NotFound, "it has no address"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Origin;

    fn with(name: &str, text: &str) -> Result<Options, String> {
        let mut config = BrokerConfig::default();
        config.set(name, text, Origin::File { path: "c.toml".into(), line: 2 }).unwrap();
        options(config).map_err(|error| error.to_string())
    }

    #[test]
    fn each_value_gets_where_it_is_used() {
        let options = options(BrokerConfig::default()).unwrap();
        assert_eq!(options.listen.to_string(), "127.0.0.1:9092");
        assert_eq!((options.advertised, options.connections_max), (None, 10_000));
        assert_eq!(options.data_dir.to_str(), Some("corelog-data"));
        let cores = std::thread::available_parallelism().unwrap().get();
        assert_eq!(options.shards, cores);
        assert_eq!(with("listeners", "PLAINTEXT://[::1]:5").unwrap().listen.to_string(), "[::1]:5");
        assert_eq!(with("advertised.listeners", "PLAINTEXT://b:5").unwrap().advertised, Some(("b".into(), 5)));
        assert_eq!(with("log.dirs", "/data").unwrap().data_dir.to_str(), Some("/data"));
        assert_eq!(with("corelog.shards", "1").unwrap().shards, 1);
        assert_eq!(with("max.connections", "7").unwrap().connections_max, 7);
        let storage = with("corelog.journal.files", "9").unwrap().storage;
        assert_eq!((storage.journal.files_max, storage.journal.file_bytes), (9, 64 << 20));
        assert_eq!(with("corelog.cache.bytes", "2000000").unwrap().storage.cache_bytes, 2_000_000);
        let settings = |name, text| with(name, text).unwrap().settings;
        assert_eq!(settings("node.id", "7").node_id, 7);
        assert_eq!(settings("num.partitions", "7").default_partitions, 7);
        assert!(!settings("auto.create.topics.enable", "false").auto_create_topics);
        assert!(!settings("delete.topic.enable", "false").delete_topics);
        assert_eq!(settings("socket.request.max.bytes", "7").request_bytes_max, 7);
        assert_eq!(settings("fetch.max.bytes", "2000").fetch_bytes_max, 2000);
        assert_eq!(settings("max.incremental.fetch.session.cache.slots", "7").fetch_sessions_max, 7);
        assert_eq!(settings("offsets.topic.num.partitions", "7").offsets_partitions, 7);
        assert_eq!(settings("offsets.topic.segment.bytes", "2000000").offsets_segment_bytes, 2_000_000);
        assert_eq!(settings("offset.metadata.max.bytes", "7").groups.offset_metadata_max, 7);
        assert_eq!(settings("offsets.retention.minutes", "2").groups.offsets_retention_ms, 120_000);
        assert_eq!(settings("group.initial.rebalance.delay.ms", "7").groups.initial_rebalance_delay_ms, 7);
        assert_eq!(settings("group.min.session.timeout.ms", "7").groups.session_timeout_min_ms, 7);
        assert_eq!(settings("group.max.session.timeout.ms", "7000").groups.session_timeout_max_ms, 7000);
        assert_eq!(settings("group.max.size", "7").groups.size_max, 7);
    }

    #[test]
    fn what_cannot_be_started_is_told_with_its_line() {
        let error = with("corelog.shards", "1024").unwrap_err();
        assert!(error.starts_with("c.toml:2: corelog.shards: 1024 shards on "), "{error}");
        let error = with("listeners", "PLAINTEXT://no.such.host.invalid:1").unwrap_err();
        assert!(error.starts_with("c.toml:2: listeners: PLAINTEXT://no.such.host.invalid:1: "), "{error}");
        let error = with("listeners", "PLAINTEXT://0.0.0.0:1").unwrap_err();
        assert!(error.ends_with("say where they can with --advertised HOST:PORT"), "{error}");
        let error = with("message.max.bytes", "100000000").unwrap_err();
        assert!(error.starts_with("c.toml:2: message.max.bytes: "), "{error}");
    }
}
