//! A topic's own configuration: what it set, how that is changed, and what the hot path reads of it.

use std::collections::{BTreeMap, HashSet};

use super::broker::BrokerConfig;
use super::table::topic_key;
use super::value::{Kind, Value};
use crate::record::{ProduceRules, TimestampType};
use crate::storage::compaction::CompactionRules;
use crate::storage::log::Rolling;

/// The values that a topic has set, as clients wrote them, by key.
pub type Overrides = BTreeMap<String, String>;

/// Why a topic cannot have a configuration: Kafka's `INVALID_CONFIG`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TopicConfigError {
    /// No such key, or one of Kafka's that corelog does not have.
    #[error("Unknown topic config name: {0}")]
    UnknownKey(String),
    /// The value is not what the key takes.
    #[error("Invalid value {value} for configuration {key}: it takes {takes}")]
    Value {
        /// The key.
        key: String,
        /// The value.
        value: String,
        /// What the key takes.
        takes: String,
    },
    /// Only lists can be appended to and subtracted from.
    #[error("Can't {operation} to key {key} because its type is not LIST.")]
    NotAList {
        /// `APPEND` or `SUBTRACT`.
        operation: &'static str,
        /// The key.
        key: String,
    },
    /// The value does not go with another.
    #[error("{0}")]
    Conflict(String),
}

/// What a topic's configuration, over the broker's defaults, comes to: parsed once when it changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicConfig {
    /// What produced batches are held against: `max.message.bytes`, `message.timestamp.type`,
    /// `message.timestamp.before.max.ms`, `message.timestamp.after.max.ms`, `cleanup.policy`.
    pub produce: ProduceRules,
    /// `segment.bytes`, at least 1 MiB, and `segment.ms`; with compaction, `max.compaction.lag.ms` when that is less.
    pub rolling: Rolling,
    /// `retention.ms` and `retention.bytes`.
    pub retention: RetentionConfig,
    /// Whether `cleanup.policy` has old records deleted.
    pub deletes: bool,
    /// `min.compaction.lag.ms`, `max.compaction.lag.ms`, `min.cleanable.dirty.ratio` and `delete.retention.ms`; `None` unless
    /// `cleanup.policy` has old records compacted.
    pub compaction: Option<CompactionRules>,
}

/// What a topic keeps with the `delete` policy; `None` for no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetentionConfig {
    /// `retention.ms`.
    pub ms: Option<i64>,
    /// `retention.bytes`, of each partition.
    pub bytes: Option<u64>,
}

impl TopicConfig {
    /// Reads a topic's configuration.
    ///
    /// # Errors
    /// See [`TopicConfigError`].
    pub fn resolve(broker: &BrokerConfig, overrides: &Overrides) -> Result<TopicConfig, TopicConfigError> {
        let mut own = BTreeMap::new();
        for (name, text) in overrides {
            let key = topic_key(name).ok_or_else(|| TopicConfigError::UnknownKey(name.clone()))?;
            let value = key.parse(text).ok_or_else(|| TopicConfigError::Value {
                key: name.clone(),
                value: text.clone(),
                takes: key.takes(),
            })?;
            own.insert(key.name, value);
        }
        let value = |name: &str| {
            let key = topic_key(name).expect("a topic key of the table");
            own.get(name).cloned().unwrap_or_else(|| broker.topic_default(key))
        };
        let int = |name: &str| match value(name) {
            Value::Int(number) => number,
            other => unreachable!("{name} is a number: {other:?}"),
        };
        let (min_lag, max_lag) = (int("min.compaction.lag.ms"), int("max.compaction.lag.ms"));
        if min_lag > max_lag {
            return Err(TopicConfigError::Conflict(format!(
                "conflict topic config setting min.compaction.lag.ms ({min_lag}) > max.compaction.lag.ms ({max_lag})"
            )));
        }
        let log_append_time = value("message.timestamp.type") == Value::Text("LogAppendTime".into());
        let has_policy =
            |policy: &str| matches!(value("cleanup.policy"), Value::List(all) if all.iter().any(|one| one == policy));
        let dirty_ratio = match value("min.cleanable.dirty.ratio") {
            Value::Double(ratio) => ratio,
            other => unreachable!("min.cleanable.dirty.ratio is a number: {other:?}"),
        };
        let compaction = has_policy("compact").then(|| CompactionRules {
            min_lag_ms: min_lag,
            max_lag_ms: max_lag,
            // From 0 to 1.
            dirty_ratio_millionths: (dirty_ratio * 1e6).round() as u32,
            delete_retention_ms: int("delete.retention.ms"),
        });
        let segment_ms = int("segment.ms");
        Ok(TopicConfig {
            produce: ProduceRules {
                max_message_bytes: int("max.message.bytes") as usize,
                timestamp_type: if log_append_time { TimestampType::LogAppendTime } else { TimestampType::CreateTime },
                timestamp_before_max_ms: int("message.timestamp.before.max.ms"),
                timestamp_after_max_ms: int("message.timestamp.after.max.ms"),
                keys_required: has_policy("compact"),
            },
            rolling: Rolling {
                bytes: int("segment.bytes") as u64,
                // What is appended to cannot be compacted (KIP-354).
                after_ms: Some(compaction.map_or(segment_ms, |compaction| segment_ms.min(compaction.max_lag_ms))),
            },
            retention: RetentionConfig {
                ms: Some(int("retention.ms")).filter(|&ms| ms >= 0),
                bytes: u64::try_from(int("retention.bytes")).ok(),
            },
            deletes: has_policy("delete"),
            compaction,
        })
    }
}

/// Checks what a client wants a topic to have.
///
/// # Errors
/// See [`TopicConfigError`].
pub fn validate(broker: &BrokerConfig, overrides: &Overrides) -> Result<(), TopicConfigError> {
    let config = TopicConfig::resolve(broker, overrides)?;
    let batch_bytes_max = broker.batch_bytes_max();
    if overrides.contains_key("max.message.bytes") && config.produce.max_message_bytes > batch_bytes_max {
        return Err(TopicConfigError::Conflict(format!(
            "Invalid value {} for configuration max.message.bytes: a journal file of this broker holds record batches \
             of at most {batch_bytes_max} bytes (corelog.journal.file.bytes)",
            config.produce.max_message_bytes
        )));
    }
    Ok(())
}

/// What to do with the value of a key (KIP-339).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Gives it this value.
    Set(String),
    /// Takes the topic's own value away.
    Delete,
    /// Adds these items to the list, unless they are in it.
    Append(String),
    /// Takes these items out of the list.
    Subtract(String),
}

/// A change of a topic's configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Of single keys, one after the other.
    Edit(Vec<(String, Operation)>),
    /// Of all: what is not in it is taken away.
    Replace(Overrides),
}

impl Change {
    /// The configuration after the change. It is still to be [validated](validate).
    ///
    /// # Errors
    /// [`TopicConfigError::NotAList`].
    pub fn applied_to(&self, current: &Overrides) -> Result<Overrides, TopicConfigError> {
        let edits = match self {
            Change::Replace(all) => return Ok(all.clone()),
            Change::Edit(edits) => edits,
        };
        let mut overrides = current.clone();
        for (name, operation) in edits {
            match operation {
                Operation::Set(value) => drop(overrides.insert(name.clone(), value.clone())),
                Operation::Delete => drop(overrides.remove(name)),
                Operation::Append(items) => {
                    let mut list = list_of(&overrides, name, "APPEND")?;
                    let mut there: HashSet<String> = list.iter().cloned().collect();
                    list.extend(split(items).filter(|item| there.insert(item.clone())));
                    overrides.insert(name.clone(), list.join(","));
                }
                Operation::Subtract(items) => {
                    let mut list = list_of(&overrides, name, "SUBTRACT")?;
                    let gone: HashSet<String> = split(items).collect();
                    list.retain(|item| !gone.contains(item));
                    overrides.insert(name.clone(), list.join(","));
                }
            }
        }
        Ok(overrides)
    }
}

/// The list that a topic has for a key; the table's default when it has none of its own, as in Kafka.
fn list_of(overrides: &Overrides, name: &str, operation: &'static str) -> Result<Vec<String>, TopicConfigError> {
    let key = topic_key(name).filter(|key| key.kind == Kind::List);
    let key = key.ok_or_else(|| TopicConfigError::NotAList { operation, key: name.into() })?;
    let text = overrides.get(name).map(String::as_str).or(key.default).unwrap_or_default();
    Ok(split(text).collect())
}

fn split(items: &str) -> impl Iterator<Item = String> + '_ {
    items.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Origin;

    fn overrides(values: &[(&str, &str)]) -> Overrides {
        values.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect()
    }

    fn resolve(values: &[(&str, &str)]) -> Result<TopicConfig, TopicConfigError> {
        TopicConfig::resolve(&BrokerConfig::default(), &overrides(values))
    }

    #[test]
    fn a_topic_without_a_configuration_has_kafkas() {
        let config = resolve(&[]).unwrap();
        let produce = ProduceRules {
            max_message_bytes: 1_048_588,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: 3_600_000,
            keys_required: false,
        };
        const WEEK_MS: i64 = 7 * 24 * 3_600_000;
        let rolling = Rolling { bytes: 1 << 30, after_ms: Some(WEEK_MS) };
        let retention = RetentionConfig { ms: Some(WEEK_MS), bytes: None };
        assert_eq!(config, TopicConfig { produce, rolling, retention, deletes: true, compaction: None });
    }

    #[test]
    fn a_topics_values_come_before_the_brokers() {
        let mut broker = BrokerConfig::default();
        for (key, value) in [
            ("message.max.bytes", "2000"),
            ("log.message.timestamp.type", "LogAppendTime"),
            ("log.message.timestamp.before.max.ms", "7"),
            ("log.message.timestamp.after.max.ms", "8"),
            ("log.cleanup.policy", "compact"),
            ("log.segment.bytes", "1048576"),
            ("log.roll.ms", "9"),
            ("log.retention.ms", "-1"),
            ("log.retention.bytes", "0"),
            ("log.cleaner.min.compaction.lag.ms", "3"),
            ("log.cleaner.max.compaction.lag.ms", "8"),
            ("log.cleaner.min.cleanable.ratio", "0.25"),
            ("log.cleaner.delete.retention.ms", "5"),
        ] {
            broker.set(key, value, Origin::Flag("--test")).unwrap();
        }
        let compaction =
            CompactionRules { min_lag_ms: 3, max_lag_ms: 8, dirty_ratio_millionths: 250_000, delete_retention_ms: 5 };
        let expected = TopicConfig {
            produce: ProduceRules {
                max_message_bytes: 2000,
                timestamp_type: TimestampType::LogAppendTime,
                timestamp_before_max_ms: 7,
                timestamp_after_max_ms: 8,
                keys_required: true,
            },
            rolling: Rolling { bytes: 1 << 20, after_ms: Some(8) },
            retention: RetentionConfig { ms: None, bytes: Some(0) },
            deletes: false,
            compaction: Some(compaction),
        };
        assert_eq!(TopicConfig::resolve(&broker, &Overrides::new()), Ok(expected.clone()));
        let own = overrides(&[
            ("max.message.bytes", "1000"),
            ("message.timestamp.type", "CreateTime"),
            ("cleanup.policy", ""),
        ]);
        let expected = TopicConfig {
            produce: ProduceRules {
                max_message_bytes: 1000,
                timestamp_type: TimestampType::CreateTime,
                keys_required: false,
                ..expected.produce
            },
            // Without compaction its lag ends no segment.
            rolling: Rolling { after_ms: Some(9), ..expected.rolling },
            compaction: None,
            ..expected
        };
        assert_eq!(TopicConfig::resolve(&broker, &own), Ok(expected));
    }

    #[test]
    fn keys_that_nobody_knows_and_values_out_of_bounds_are_refused() {
        let error = |key, value| resolve(&[(key, value)]).unwrap_err().to_string();
        assert_eq!(error("no.such.config", "1"), "Unknown topic config name: no.such.config");
        assert_eq!(
            error("retention.ms", "soon"),
            "Invalid value soon for configuration retention.ms: it takes a whole number from -1 to 9223372036854775807"
        );
        for (key, value) in [
            ("max.message.bytes", "-1"),
            ("max.message.bytes", "2147483648"),
            ("message.timestamp.type", "logappendtime"),
            ("cleanup.policy", "compact,compact"),
            ("segment.bytes", "1048575"),
            ("segment.ms", "0"),
            ("min.insync.replicas", "0"),
            ("min.cleanable.dirty.ratio", "1.1"),
            ("compression.type", "zstd"),
            ("compression.gzip.level", "0"),
            ("compression.lz4.level", "18"),
            ("compression.zstd.level", "23"),
            ("preallocate", "1"),
            ("message.max.bytes", "5"),
            ("remote.storage.enable", "true"),
        ] {
            assert!(resolve(&[(key, value)]).is_err(), "{key}={value}");
        }
        assert!(resolve(&[("min.compaction.lag.ms", "9"), ("max.compaction.lag.ms", "9")]).is_ok());
        let error = resolve(&[("min.compaction.lag.ms", "9"), ("max.compaction.lag.ms", "8")]).unwrap_err();
        assert!(error.to_string().contains("(9) > max.compaction.lag.ms (8)"), "{error}");
    }

    #[test]
    fn a_batch_size_that_no_journal_file_holds_cannot_be_set() {
        let broker = BrokerConfig::default();
        let max = broker.batch_bytes_max();
        let with = |bytes: usize| overrides(&[("max.message.bytes", &bytes.to_string())]);
        assert_eq!(validate(&broker, &with(max)), Ok(()));
        assert!(matches!(validate(&broker, &with(max + 1)), Err(TopicConfigError::Conflict(_))));
        // One that was set when the journal files were larger does not keep the broker from starting.
        assert!(TopicConfig::resolve(&broker, &with(max + 1)).is_ok());
    }

    #[test]
    fn edits_set_delete_append_and_subtract() {
        let current = overrides(&[("retention.ms", "5"), ("cleanup.policy", "compact")]);
        let edit = |current: &Overrides, edits: &[(&str, Operation)]| {
            let edits = edits.iter().map(|(key, operation)| (key.to_string(), operation.clone())).collect();
            Change::Edit(edits).applied_to(current)
        };
        let (append, subtract) =
            (|text: &str| Operation::Append(text.into()), |text: &str| Operation::Subtract(text.into()));
        assert_eq!(
            edit(&current, &[("retention.ms", Operation::Delete), ("segment.ms", Operation::Set("9".into()))]),
            Ok(overrides(&[("cleanup.policy", "compact"), ("segment.ms", "9")]))
        );
        let policy = |edited: Result<Overrides, TopicConfigError>| edited.unwrap()["cleanup.policy"].clone();
        assert_eq!(policy(edit(&current, &[("cleanup.policy", append("delete, compact"))])), "compact,delete");
        assert_eq!(policy(edit(&Overrides::new(), &[("cleanup.policy", append("compact"))])), "delete,compact");
        assert_eq!(policy(edit(&current, &[("cleanup.policy", subtract("compact,other"))])), "");
        assert_eq!(
            edit(&current, &[("retention.ms", append("1"))]).unwrap_err().to_string(),
            "Can't APPEND to key retention.ms because its type is not LIST."
        );
        assert_eq!(
            edit(&current, &[("no.such.key", subtract("1"))]).unwrap_err().to_string(),
            "Can't SUBTRACT to key no.such.key because its type is not LIST."
        );
        let all = overrides(&[("segment.ms", "1")]);
        assert_eq!(Change::Replace(all.clone()).applied_to(&current), Ok(all));
    }
}
