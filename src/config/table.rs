//! The table of all keys. Everything that is said of a key is said here once: parsing, the configuration file,
//! DescribeConfigs and the documentation come from it.

use super::value::{Allowed, Kind, Value, in_words};

/// What has the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// The broker: set at start, read-only afterwards.
    Broker,
    /// Each topic: set when it is created, changed at any time.
    Topic,
}

/// A broker key that gives topics the default of one of theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Synonym {
    /// The broker key.
    pub name: &'static str,
    /// What its value is multiplied with, unless it is negative: milliseconds in its unit.
    pub factor: i64,
}

/// A key.
#[derive(Clone, Copy, Debug)]
pub struct Key {
    /// Its name, Kafka's where Kafka has it.
    pub name: &'static str,
    /// What has it.
    pub scope: Scope,
    /// Its type.
    pub kind: Kind,
    /// Its default as text; `None` for no value.
    pub default: Option<&'static str>,
    /// Which values it takes.
    pub allowed: Allowed,
    /// The broker keys that give a topic key its default, the strongest first.
    pub synonyms: &'static [Synonym],
    /// Whether it does anything in this version.
    pub has_effect: bool,
    /// What it is for.
    pub doc: &'static str,
}

impl Key {
    const fn broker(
        name: &'static str,
        kind: Kind,
        default: Option<&'static str>,
        allowed: Allowed,
        doc: &'static str,
    ) -> Key {
        Key { name, scope: Scope::Broker, kind, default, allowed, synonyms: &[], has_effect: true, doc }
    }

    const fn topic(
        name: &'static str,
        kind: Kind,
        default: &'static str,
        allowed: Allowed,
        synonyms: &'static [Synonym],
        doc: &'static str,
    ) -> Key {
        Key { name, scope: Scope::Topic, kind, default: Some(default), allowed, synonyms, has_effect: true, doc }
    }

    const fn without_effect(self) -> Key {
        Key { has_effect: false, ..self }
    }

    /// Reads a value of the key; `None` when it takes no such value.
    pub fn parse(&self, text: &str) -> Option<Value> {
        Value::parse(text, self.kind, self.allowed)
    }

    /// The default as a value.
    pub fn default_value(&self) -> Option<Value> {
        let text = self.default?;
        Some(self.parse(text).expect("each default in the table is a value of its key, a test holds it to that"))
    }

    /// Whether it cannot be changed while the broker runs.
    pub fn is_read_only(&self) -> bool {
        self.scope == Scope::Broker
    }

    /// What it takes, in words.
    pub fn takes(&self) -> String {
        in_words(self.kind, self.allowed)
    }

    /// What it is for, and whether that is done.
    pub fn documentation(&self) -> String {
        if self.has_effect {
            return self.doc.into();
        }
        format!("{} Accepted and told to clients; without effect in this version of corelog.", self.doc)
    }
}

/// The broker key of that name.
pub fn broker_key(name: &str) -> Option<&'static Key> {
    BROKER_KEYS.iter().find(|key| key.name == name)
}

/// The topic key of that name.
pub fn topic_key(name: &str) -> Option<&'static Key> {
    TOPIC_KEYS.iter().find(|key| key.name == name)
}

const SECONDS_MS: i64 = 1000;
const MINUTES_MS: i64 = 60 * SECONDS_MS;
const HOURS_MS: i64 = 60 * MINUTES_MS;

const fn same(name: &'static str) -> Synonym {
    Synonym { name, factor: 1 }
}

const fn times(name: &'static str, factor: i64) -> Synonym {
    Synonym { name, factor }
}

const INT_MAX: i64 = i32::MAX as i64;
const LONG_MAX: i64 = i64::MAX;
const LONG_MAX_TEXT: &str = "9223372036854775807";
const MIB: i64 = 1 << 20;
/// The most partitions of one topic, as in [`crate::metadata::plan`].
pub const TOPIC_PARTITIONS_MAX: i32 = 10_000;

const POLICIES: Allowed = Allowed::SomeOf(&["compact", "delete"]);
const TIMESTAMP_TYPES: Allowed = Allowed::OneOf(&["CreateTime", "LogAppendTime"]);
/// Kafka's other types have the broker compress batches again, which corelog does not do yet.
const COMPRESSION_TYPES: Allowed = Allowed::OneOf(&["producer"]);
const GZIP_LEVELS: Allowed = Allowed::RangeOr(-1, 1, 9);
const LZ4_LEVELS: Allowed = Allowed::Range(1, 17);
const ZSTD_LEVELS: Allowed = Allowed::Range(-131_072, 22);
const COUNT: Allowed = Allowed::Range(1, LONG_MAX);
const NOT_NEGATIVE: Allowed = Allowed::Range(0, LONG_MAX);
const INT_NOT_NEGATIVE: Allowed = Allowed::Range(0, INT_MAX);
const INT_COUNT: Allowed = Allowed::Range(1, INT_MAX);
const SEGMENT_BYTES: Allowed = Allowed::Range(MIB, INT_MAX);
const INDEX_BYTES: Allowed = Allowed::Range(4, INT_MAX);
const ONE_PARTITION_OR_MORE: Allowed = Allowed::Range(1, TOPIC_PARTITIONS_MAX as i64);

use Kind::{Boolean, Double, Int, List, Long, String as Text};

/// The keys of the broker, by name.
#[rustfmt::skip]
pub static BROKER_KEYS: &[Key] = &[
    Key::broker("advertised.listeners", List, None, Allowed::Listener,
        "The address that clients are told to connect to. The listening one by default."),
    Key::broker("auto.create.topics.enable", Boolean, Some("true"), Allowed::All,
        "Whether a topic is created when a client that allows it first asks for its metadata."),
    Key::broker("compression.gzip.level", Int, Some("-1"), GZIP_LEVELS,
        "The default of the topic key compression.gzip.level.").without_effect(),
    Key::broker("compression.lz4.level", Int, Some("9"), LZ4_LEVELS,
        "The default of the topic key compression.lz4.level.").without_effect(),
    Key::broker("compression.type", Text, Some("producer"), COMPRESSION_TYPES,
        "The default of the topic key compression.type."),
    Key::broker("compression.zstd.level", Int, Some("3"), ZSTD_LEVELS,
        "The default of the topic key compression.zstd.level.").without_effect(),
    Key::broker("corelog.cache.bytes", Long, Some("134217728"), Allowed::Range(MIB, 1 << 40),
        "Memory of each shard for record batches that were written lately, in bytes."),
    Key::broker("corelog.journal.block.bytes", Int, Some("1048576"), Allowed::Range(4096, 64 * MIB),
        "How much of its journal a shard writes at once, in bytes, unless a single batch is larger."),
    Key::broker("corelog.journal.file.bytes", Long, Some("67108864"), Allowed::Multiple(4096, MIB, 1 << 30),
        "The length of each journal file, in bytes. A record batch must fit into one: it bounds message.max.bytes."),
    Key::broker("corelog.journal.files", Int, Some("4"), Allowed::Range(2, 64),
        "How many journal files each shard has at most. All of them are read at a start after a crash."),
    Key::broker("corelog.shards", Int, None, Allowed::Range(1, 1024),
        "How many cores to use, one shard each. All by default."),
    Key::broker("default.replication.factor", Int, Some("1"), Allowed::Range(1, 1),
        "How many replicas each partition has when a client leaves it to the broker. There is one broker."),
    Key::broker("delete.topic.enable", Boolean, Some("true"), Allowed::All,
        "Whether clients may delete topics."),
    Key::broker("fetch.max.bytes", Int, Some("57671680"), Allowed::Range(1024, INT_MAX),
        "The most bytes of record batches in one fetch response. The first batch is sent even when it is larger."),
    Key::broker("group.initial.rebalance.delay.ms", Int, Some("3000"), INT_NOT_NEGATIVE,
        "How long the first rebalance of an empty group waits for more members, in milliseconds."),
    Key::broker("group.max.session.timeout.ms", Int, Some("1800000"), INT_NOT_NEGATIVE,
        "The longest session timeout that a member of a classic group may ask for, in milliseconds."),
    Key::broker("group.max.size", Int, Some("2147483647"), INT_COUNT,
        "The most members of a classic group."),
    Key::broker("group.min.session.timeout.ms", Int, Some("6000"), INT_NOT_NEGATIVE,
        "The shortest session timeout that a member of a classic group may ask for, in milliseconds."),
    Key::broker("listeners", List, Some("PLAINTEXT://127.0.0.1:9092"), Allowed::Listener,
        "The address to listen on. Port 0 takes any free one."),
    Key::broker("log.cleaner.backoff.ms", Long, Some("15000"), COUNT,
        "How often it is looked for partitions with the 'compact' policy that are due to be compacted, in \
         milliseconds."),
    Key::broker("log.cleaner.dedupe.buffer.size", Long, Some("134217728"), Allowed::Range(MIB, 1 << 40),
        "Memory for the keys of the partitions that are being compacted, in bytes, 24 a key; the shards share it, and one \
         takes its part while it compacts."),
    Key::broker("log.cleaner.delete.retention.ms", Long, Some("86400000"), NOT_NEGATIVE,
        "The default of the topic key delete.retention.ms."),
    Key::broker("log.cleaner.enable", Boolean, Some("true"), Allowed::All,
        "Whether partitions with the 'compact' policy are compacted."),
    Key::broker("log.cleaner.io.max.bytes.per.second", Double, Some("1.7976931348623157E308"), Allowed::Positive,
        "The most that compaction reads and writes, in bytes each second; the shards share it."),
    Key::broker("log.cleaner.max.compaction.lag.ms", Long, Some(LONG_MAX_TEXT), COUNT,
        "The default of the topic key max.compaction.lag.ms."),
    Key::broker("log.cleaner.min.cleanable.ratio", Double, Some("0.5"), Allowed::Fraction,
        "The default of the topic key min.cleanable.dirty.ratio."),
    Key::broker("log.cleaner.min.compaction.lag.ms", Long, Some("0"), NOT_NEGATIVE,
        "The default of the topic key min.compaction.lag.ms."),
    Key::broker("log.cleanup.policy", List, Some("delete"), POLICIES,
        "The default of the topic key cleanup.policy."),
    Key::broker("log.dirs", List, Some("corelog-data"), Allowed::Directory,
        "The directory in which everything is kept. It is made when it does not exist."),
    Key::broker("log.flush.interval.messages", Long, Some(LONG_MAX_TEXT), COUNT,
        "The default of the topic key flush.messages.").without_effect(),
    Key::broker("log.flush.interval.ms", Long, None, NOT_NEGATIVE,
        "The default of the topic key flush.ms; log.flush.scheduler.interval.ms when not set.").without_effect(),
    Key::broker("log.flush.scheduler.interval.ms", Long, Some(LONG_MAX_TEXT), NOT_NEGATIVE,
        "The default of the topic key flush.ms when log.flush.interval.ms is not set.").without_effect(),
    Key::broker("log.index.interval.bytes", Int, Some("4096"), INT_NOT_NEGATIVE,
        "The default of the topic key index.interval.bytes.").without_effect(),
    Key::broker("log.index.size.max.bytes", Int, Some("10485760"), INDEX_BYTES,
        "The default of the topic key segment.index.bytes.").without_effect(),
    Key::broker("log.message.timestamp.after.max.ms", Long, Some("3600000"), NOT_NEGATIVE,
        "The default of the topic key message.timestamp.after.max.ms."),
    Key::broker("log.message.timestamp.before.max.ms", Long, Some(LONG_MAX_TEXT), NOT_NEGATIVE,
        "The default of the topic key message.timestamp.before.max.ms."),
    Key::broker("log.message.timestamp.type", Text, Some("CreateTime"), TIMESTAMP_TYPES,
        "The default of the topic key message.timestamp.type."),
    Key::broker("log.preallocate", Boolean, Some("false"), Allowed::All,
        "The default of the topic key preallocate.").without_effect(),
    Key::broker("log.retention.bytes", Long, Some("-1"), Allowed::All,
        "The default of the topic key retention.bytes."),
    Key::broker("log.retention.check.interval.ms", Long, Some("300000"), COUNT,
        "How often it is looked for segments that the 'delete' policy does not keep, in milliseconds."),
    Key::broker("log.retention.hours", Int, Some("168"), Allowed::RangeOr(-1, 1, INT_MAX),
        "The default of the topic key retention.ms, in hours, when neither log.retention.ms nor \
         log.retention.minutes is set."),
    Key::broker("log.retention.minutes", Int, None, Allowed::RangeOr(-1, 1, INT_MAX),
        "The default of the topic key retention.ms, in minutes, when log.retention.ms is not set."),
    Key::broker("log.retention.ms", Long, None, Allowed::RangeOr(-1, 1, LONG_MAX),
        "The default of the topic key retention.ms; log.retention.minutes when not set."),
    Key::broker("log.roll.hours", Int, Some("168"), INT_COUNT,
        "The default of the topic key segment.ms, in hours, when log.roll.ms is not set."),
    Key::broker("log.roll.jitter.hours", Int, Some("0"), INT_NOT_NEGATIVE,
        "The default of the topic key segment.jitter.ms, in hours, when log.roll.jitter.ms is not set.")
        .without_effect(),
    Key::broker("log.roll.jitter.ms", Long, None, NOT_NEGATIVE,
        "The default of the topic key segment.jitter.ms; log.roll.jitter.hours when not set.").without_effect(),
    Key::broker("log.roll.ms", Long, None, COUNT,
        "The default of the topic key segment.ms; log.roll.hours when not set."),
    Key::broker("log.segment.bytes", Int, Some("1073741824"), SEGMENT_BYTES,
        "The default of the topic key segment.bytes."),
    Key::broker("log.segment.delete.delay.ms", Long, Some("60000"), NOT_NEGATIVE,
        "The default of the topic key file.delete.delay.ms.").without_effect(),
    Key::broker("max.connections", Int, Some("10000"), INT_NOT_NEGATIVE,
        "The most open connections; more are closed as they come. Kafka's default is 2147483647."),
    Key::broker("max.incremental.fetch.session.cache.slots", Int, Some("1000"), INT_NOT_NEGATIVE,
        "The most fetch sessions that the broker keeps (KIP-227)."),
    Key::broker("message.max.bytes", Int, Some("1048588"), INT_NOT_NEGATIVE,
        "The default of the topic key max.message.bytes. At most what a journal file can hold, see \
         corelog.journal.file.bytes."),
    Key::broker("min.insync.replicas", Int, Some("1"), INT_COUNT,
        "The default of the topic key min.insync.replicas.").without_effect(),
    Key::broker("node.id", Int, Some("0"), INT_NOT_NEGATIVE,
        "The id of this broker."),
    Key::broker("num.partitions", Int, Some("1"), ONE_PARTITION_OR_MORE,
        "How many partitions a topic has when a client leaves it to the broker."),
    Key::broker("offset.metadata.max.bytes", Int, Some("4096"), INT_NOT_NEGATIVE,
        "The longest text that a client may store beside a committed offset, in bytes."),
    Key::broker("offsets.retention.minutes", Int, Some("10080"), INT_COUNT,
        "How long the committed offsets of a group without members are kept, in minutes."),
    Key::broker("offsets.topic.num.partitions", Int, Some("50"), ONE_PARTITION_OR_MORE,
        "How many partitions the topic with the committed offsets has. It does not change once the topic is there."),
    Key::broker("offsets.topic.segment.bytes", Int, Some("104857600"), SEGMENT_BYTES,
        "The segment.bytes of the topic with the committed offsets, set when it is made. What is compacted are whole \
         segments: smaller ones make its partitions load faster."),
    Key::broker("socket.request.max.bytes", Int, Some("104857600"), INT_COUNT,
        "The longest request, in bytes; a longer one ends its connection."),
    Key::broker("unclean.leader.election.enable", Boolean, Some("false"), Allowed::All,
        "The default of the topic key unclean.leader.election.enable.").without_effect(),
];

/// The keys of topics, by name.
#[rustfmt::skip]
pub static TOPIC_KEYS: &[Key] = &[
    Key::topic("cleanup.policy", List, "delete", POLICIES, &[same("log.cleanup.policy")],
        "What happens to old records: 'delete' drops segments by age and size, 'compact' keeps the last record of \
         each key; records need a key then."),
    Key::topic("compression.gzip.level", Int, "-1", GZIP_LEVELS, &[same("compression.gzip.level")],
        "The level at which the broker compresses with gzip; -1 for the codec's own default.").without_effect(),
    Key::topic("compression.lz4.level", Int, "9", LZ4_LEVELS, &[same("compression.lz4.level")],
        "The level at which the broker compresses with lz4.").without_effect(),
    Key::topic("compression.type", Text, "producer", COMPRESSION_TYPES, &[same("compression.type")],
        "How record batches are compressed: 'producer' keeps them as they come. The broker does not compress batches \
         again in this version of corelog, so that no other value is taken."),
    Key::topic("compression.zstd.level", Int, "3", ZSTD_LEVELS, &[same("compression.zstd.level")],
        "The level at which the broker compresses with zstd.").without_effect(),
    Key::topic("delete.retention.ms", Long, "86400000", NOT_NEGATIVE, &[same("log.cleaner.delete.retention.ms")],
        "How long a compacted topic keeps the marks of deleted keys, in milliseconds."),
    Key::topic("file.delete.delay.ms", Long, "60000", NOT_NEGATIVE, &[same("log.segment.delete.delay.ms")],
        "How long to wait before a file is removed, in milliseconds.").without_effect(),
    Key::topic("flush.messages", Long, LONG_MAX_TEXT, COUNT, &[same("log.flush.interval.messages")],
        "After how many records to force an fdatasync. corelog acknowledges nothing before one.").without_effect(),
    Key::topic("flush.ms", Long, LONG_MAX_TEXT, NOT_NEGATIVE,
        &[same("log.flush.interval.ms"), same("log.flush.scheduler.interval.ms")],
        "After how many milliseconds to force an fdatasync. corelog acknowledges nothing before one.")
        .without_effect(),
    Key::topic("follower.replication.throttled.replicas", List, "", Allowed::ThrottledReplicas, &[],
        "The replicas whose replication is throttled on the follower's side (KIP-73).").without_effect(),
    Key::topic("index.interval.bytes", Int, "4096", INT_NOT_NEGATIVE, &[same("log.index.interval.bytes")],
        "How many bytes of records lie between two entries of the offset index.").without_effect(),
    Key::topic("leader.replication.throttled.replicas", List, "", Allowed::ThrottledReplicas, &[],
        "The replicas whose replication is throttled on the leader's side (KIP-73).").without_effect(),
    Key::topic("max.compaction.lag.ms", Long, LONG_MAX_TEXT, COUNT, &[same("log.cleaner.max.compaction.lag.ms")],
        "How long a record of a compacted topic may stay uncompacted, in milliseconds; at least \
         min.compaction.lag.ms."),
    Key::topic("max.message.bytes", Int, "1048588", INT_NOT_NEGATIVE, &[same("message.max.bytes")],
        "The largest record batch that is taken, in bytes, as it is sent: compressed, with its header. At most what a \
         journal file of the broker can hold."),
    Key::topic("message.timestamp.after.max.ms", Long, "3600000", NOT_NEGATIVE,
        &[same("log.message.timestamp.after.max.ms")],
        "How far ahead of the broker's clock a record's timestamp may be, in milliseconds. With LogAppendTime it does \
         not matter."),
    Key::topic("message.timestamp.before.max.ms", Long, LONG_MAX_TEXT, NOT_NEGATIVE,
        &[same("log.message.timestamp.before.max.ms")],
        "How far behind the broker's clock a record's timestamp may be, in milliseconds. With LogAppendTime it does \
         not matter."),
    Key::topic("message.timestamp.type", Text, "CreateTime", TIMESTAMP_TYPES, &[same("log.message.timestamp.type")],
        "Whose time the records have: CreateTime is the producer's, LogAppendTime the broker's."),
    Key::topic("min.cleanable.dirty.ratio", Double, "0.5", Allowed::Fraction,
        &[same("log.cleaner.min.cleanable.ratio")],
        "The part of a compacted log that must be uncompacted before it is compacted again."),
    Key::topic("min.compaction.lag.ms", Long, "0", NOT_NEGATIVE, &[same("log.cleaner.min.compaction.lag.ms")],
        "How long a record of a compacted topic stays uncompacted at least, in milliseconds."),
    Key::topic("min.insync.replicas", Int, "1", INT_COUNT, &[same("min.insync.replicas")],
        "How many replicas must be in sync for a produce request with acks -1 (all), but never more than a partition \
         has (KIP-966): with one replica of each, one.").without_effect(),
    Key::topic("preallocate", Boolean, "false", Allowed::All, &[same("log.preallocate")],
        "Whether a new segment's file gets its full length at once.").without_effect(),
    Key::topic("retention.bytes", Long, "-1", Allowed::All, &[same("log.retention.bytes")],
        "How many bytes each partition keeps with the 'delete' policy; negative for no limit."),
    Key::topic("retention.ms", Long, "604800000", Allowed::Range(-1, LONG_MAX),
        &[same("log.retention.ms"), times("log.retention.minutes", MINUTES_MS), times("log.retention.hours", HOURS_MS)],
        "How long records are kept with the 'delete' policy, in milliseconds; -1 for no limit."),
    Key::topic("segment.bytes", Int, "1073741824", SEGMENT_BYTES, &[same("log.segment.bytes")],
        "The length at which a segment ends and the next one begins, in bytes. No larger record batch is taken."),
    Key::topic("segment.index.bytes", Int, "10485760", INDEX_BYTES, &[same("log.index.size.max.bytes")],
        "The largest offset index of a segment, in bytes.").without_effect(),
    Key::topic("segment.jitter.ms", Long, "0", NOT_NEGATIVE,
        &[same("log.roll.jitter.ms"), times("log.roll.jitter.hours", HOURS_MS)],
        "The most that is taken off segment.ms at random, in milliseconds, so that not all segments end at once.")
        .without_effect(),
    Key::topic("segment.ms", Long, "604800000", COUNT, &[same("log.roll.ms"), times("log.roll.hours", HOURS_MS)],
        "How old a segment may become before the next one begins, in milliseconds, by the timestamps of its first batch \
         and of the one to be appended."),
    Key::topic("unclean.leader.election.enable", Boolean, "false", Allowed::All,
        &[same("unclean.leader.election.enable")],
        "Whether a replica that is not in sync may become the leader, at the loss of records.").without_effect(),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_in_order_and_each_there_once() {
        for keys in [BROKER_KEYS, TOPIC_KEYS] {
            assert!(keys.windows(2).all(|pair| pair[0].name < pair[1].name));
            assert!(keys.iter().all(|key| key.doc.ends_with('.') && !key.doc.contains('\n')));
        }
        assert!(BROKER_KEYS.iter().all(|key| broker_key(key.name).is_some() && key.is_read_only()));
        assert!(TOPIC_KEYS.iter().all(|key| topic_key(key.name).is_some() && !key.is_read_only()));
        // In TOML a dotted key is a table, which cannot be a value too.
        for key in BROKER_KEYS {
            let prefix = format!("{}.", key.name);
            assert!(!BROKER_KEYS.iter().any(|other| other.name.starts_with(&prefix)), "{}", key.name);
        }
    }

    #[test]
    fn defaults_are_values_of_their_keys_written_as_kafka_writes_them() {
        for key in BROKER_KEYS.iter().chain(TOPIC_KEYS) {
            if let Some(text) = key.default {
                assert_eq!(key.parse(text).map(|value| value.to_string()).as_deref(), Some(text), "{}", key.name);
            }
        }
    }

    #[test]
    fn a_topic_key_and_the_broker_keys_behind_it_agree() {
        for key in TOPIC_KEYS {
            let synonyms: Vec<(&Key, i64)> = key
                .synonyms
                .iter()
                .map(|synonym| (broker_key(synonym.name).expect("a broker key"), synonym.factor))
                .collect();
            for (synonym, factor) in &synonyms {
                assert_eq!(synonym.has_effect, key.has_effect, "{}", synonym.name);
                let same_kind = synonym.kind == key.kind || (*factor > 1 && key.kind == Kind::Long);
                assert!(same_kind, "{} {}", key.name, synonym.name);
            }
            let with_default = synonyms.iter().filter(|(synonym, _)| synonym.default.is_some()).collect::<Vec<_>>();
            match with_default[..] {
                [] => assert!(synonyms.is_empty(), "{}", key.name),
                [(synonym, factor)] => {
                    let scaled = match synonym.default_value() {
                        Some(Value::Int(number)) if number >= 0 => Some(Value::Int(number * factor)),
                        other => other,
                    };
                    assert_eq!(scaled, key.default_value(), "{}", key.name);
                }
                _ => panic!("{} has two defaults", key.name),
            }
        }
    }

    #[test]
    fn what_does_nothing_says_so() {
        let documentation = |name| topic_key(name).unwrap().documentation();
        assert!(documentation("segment.index.bytes").contains("without effect"));
        assert!(!documentation("max.message.bytes").contains("without effect"));
        assert!(topic_key("compression.type").unwrap().takes().contains("only 'producer'"));
    }
}
