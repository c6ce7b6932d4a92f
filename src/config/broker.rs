//! The values that the broker was started with.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use super::listener::Listener;
use super::table::{Key, broker_key};
use super::value::Value;
use crate::storage::StorageOptions;
use crate::storage::journal::writer::JournalOptions;

/// Where a value was set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// In the configuration file.
    File {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
    },
    /// On the command line, by this flag.
    Flag(&'static str),
}

/// The place of a value: `corelog.toml:3: num.partitions`, or `--shards`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    key: String,
    origin: Option<Origin>,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Some(Origin::File { path, line }) => write!(f, "{}:{line}: {}", path.display(), self.key),
            Some(Origin::Flag(flag)) => f.write_str(flag),
            None => f.write_str(&self.key),
        }
    }
}

/// Why the broker cannot start with its configuration, in one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// No such key, or one of Kafka's that corelog does not have.
    #[error("{0}: unknown key; corelog has no such broker setting")]
    UnknownKey(Place),
    /// The value is not what the key takes.
    #[error("{place}: {value} is not allowed; it takes {takes}")]
    Value {
        /// Where.
        place: Place,
        /// The value.
        value: String,
        /// What the key takes.
        takes: String,
    },
    /// The key stands in the file twice.
    #[error("{place}: the key is set twice, first in line {first_line}")]
    Duplicate {
        /// The second place.
        place: Place,
        /// The line of the first.
        first_line: usize,
    },
    /// The value does not go with another.
    #[error("{place}: {reason}")]
    Conflict {
        /// Where.
        place: Place,
        /// Both values, and why not.
        reason: String,
    },
    /// The file is not TOML.
    #[error("{}:{line}: {reason}", path.display())]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
    /// The file cannot be read.
    #[error("{}: {reason}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// The broker's configuration: what was set, over the defaults of [the table](super::table).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BrokerConfig {
    set: BTreeMap<&'static str, (Value, Origin)>,
}

impl BrokerConfig {
    /// Sets a value, over what was there.
    ///
    /// # Errors
    /// The key is not known, or does not take the value.
    pub fn set(&mut self, name: &str, text: &str, origin: Origin) -> Result<(), ConfigError> {
        let place = BrokerConfig::place_of(name, origin.clone());
        let Some(key) = broker_key(name) else { return Err(ConfigError::UnknownKey(place)) };
        let Some(value) = key.parse(text) else {
            return Err(ConfigError::Value { place, value: text.into(), takes: key.takes() });
        };
        self.set.insert(key.name, (value, origin));
        Ok(())
    }

    /// Where the key was set; `None` when it was not.
    pub fn origin(&self, name: &str) -> Option<&Origin> {
        self.set.get(name).map(|(_, origin)| origin)
    }

    /// The value that was set; `None` when none was.
    pub fn set_value(&self, name: &str) -> Option<&Value> {
        self.set.get(name).map(|(value, _)| value)
    }

    /// The value that holds, set or default; `None` when there is neither.
    ///
    /// # Panics
    /// When there is no such broker key.
    pub fn value(&self, name: &str) -> Option<Value> {
        match self.set_value(name) {
            Some(value) => Some(value.clone()),
            None => broker_key(name).expect("a broker key of the table").default_value(),
        }
    }

    /// The value of a boolean key with a default.
    ///
    /// # Panics
    /// For any other key.
    pub fn boolean(&self, name: &str) -> bool {
        match self.value(name) {
            Some(Value::Boolean(value)) => value,
            other => panic!("{name} is no boolean with a default: {other:?}"),
        }
    }

    /// The value of a numeric key with a default.
    ///
    /// # Panics
    /// For any other key.
    pub fn int(&self, name: &str) -> i64 {
        match self.value(name) {
            Some(Value::Int(value)) => value,
            other => panic!("{name} is no number with a default: {other:?}"),
        }
    }

    /// The value of a key whose bounds are within 0 and 2³¹−1.
    ///
    /// # Panics
    /// For any other key.
    pub fn size(&self, name: &str) -> usize {
        usize::try_from(self.int(name)).expect("the key's bounds are not negative")
    }

    /// The value of a key that takes a single text in a list; `None` when there is none.
    pub fn single(&self, name: &str) -> Option<String> {
        match self.value(name)? {
            Value::List(items) => items.into_iter().next(),
            _ => None,
        }
    }

    /// The address in `listeners` or `advertised.listeners`; `None` when there is none.
    pub fn listener(&self, name: &str) -> Option<Listener> {
        Listener::parse(&self.single(name)?)
    }

    /// What topics have for one of their keys unless they set it: the strongest of its synonyms that was set, else the
    /// default.
    pub fn topic_default(&self, key: &Key) -> Value {
        let set = key.synonyms.iter().find_map(|synonym| Some((self.set_value(synonym.name)?, synonym.factor)));
        match set {
            Some((Value::Int(number), factor)) if *number > 0 => Value::Int(number.saturating_mul(factor)),
            Some((value, _)) => value.clone(),
            None => key.default_value().expect("each topic key has a default, a test holds the table to that"),
        }
    }

    /// The engine's bounds.
    pub fn storage_options(&self) -> StorageOptions {
        let journal = JournalOptions {
            file_bytes: self.int("corelog.journal.file.bytes") as u64,
            files_max: self.size("corelog.journal.files"),
            block_bytes_max: self.size("corelog.journal.block.bytes"),
        };
        StorageOptions {
            journal,
            cache_bytes: self.size("corelog.cache.bytes"),
            segment_bytes: self.int("log.segment.bytes") as u64,
            ..StorageOptions::default()
        }
    }

    /// The largest record batch that the journal can hold, in bytes.
    pub fn batch_bytes_max(&self) -> usize {
        self.storage_options().journal.entry_bytes_max()
    }

    /// Holds the values against each other.
    ///
    /// # Errors
    /// The first pair that does not go together.
    pub fn check(&self) -> Result<(), ConfigError> {
        let options = self.storage_options();
        let batch_bytes_max = options.journal.entry_bytes_max();
        if self.size("message.max.bytes") > batch_bytes_max {
            let limit = format!("a journal file holds record batches of at most {batch_bytes_max} bytes");
            return Err(self.conflict("message.max.bytes", "corelog.journal.file.bytes", &limit));
        }
        let payload_max = options.journal.block_payload_bytes_max();
        if options.journal.block_bytes_max > payload_max {
            let limit = format!("a journal file holds blocks of at most {payload_max} bytes");
            return Err(self.conflict("corelog.journal.block.bytes", "corelog.journal.file.bytes", &limit));
        }
        for (min, max) in [
            ("group.min.session.timeout.ms", "group.max.session.timeout.ms"),
            ("log.cleaner.min.compaction.lag.ms", "log.cleaner.max.compaction.lag.ms"),
        ] {
            if self.int(min) > self.int(max) {
                return Err(self.conflict(min, max, "the first must not be above the second"));
            }
        }
        Ok(())
    }

    /// Where a key was set, for messages.
    pub fn place(&self, name: &str) -> Place {
        Place { key: name.into(), origin: self.origin(name).cloned() }
    }

    /// Where a key is about to be set, for messages.
    pub(super) fn place_of(name: &str, origin: Origin) -> Place {
        Place { key: name.into(), origin: Some(origin) }
    }

    /// Two values that do not go together, told at the place of the first, unless only the second was set.
    fn conflict(&self, first: &str, second: &str, limit: &str) -> ConfigError {
        let told = if self.origin(first).is_none() && self.origin(second).is_some() { second } else { first };
        let reason = format!("{first} = {}, {second} = {}: {limit}", self.int(first), self.int(second));
        ConfigError::Conflict { place: self.place(told), reason }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::table::{BROKER_KEYS, topic_key};
    use crate::config::value::Kind;

    fn config(values: &[(&str, &str)]) -> BrokerConfig {
        let mut config = BrokerConfig::default();
        for (line, (name, text)) in values.iter().enumerate() {
            config.set(name, text, Origin::File { path: "a.toml".into(), line: line + 1 }).unwrap();
        }
        config
    }

    #[test]
    fn the_defaults_go_together_and_every_value_can_be_asked_for() {
        let config = BrokerConfig::default();
        assert_eq!(config.check(), Ok(()));
        for key in BROKER_KEYS.iter().filter(|key| key.default.is_some()) {
            match key.kind {
                Kind::Boolean => drop(config.boolean(key.name)),
                Kind::Int | Kind::Long => drop(config.int(key.name)),
                _ => assert!(config.value(key.name).is_some()),
            }
        }
        assert_eq!(config.listener("listeners").unwrap().port, 9092);
        assert_eq!(config.listener("advertised.listeners"), None);
        assert_eq!(config.single("log.dirs").as_deref(), Some("corelog-data"));
        let (ours, engine) = (config.storage_options(), StorageOptions::default());
        assert_eq!(format!("{ours:?}"), format!("{engine:?}"), "the table's defaults are the engine's own");
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let mut config = BrokerConfig::default();
        let origin = || Origin::File { path: "/etc/corelog.toml".into(), line: 7 };
        let text = |result: Result<(), ConfigError>| result.unwrap_err().to_string();
        let error = text(config.set("zookeeper.connect", "a:1", origin()));
        assert_eq!(error, "/etc/corelog.toml:7: zookeeper.connect: unknown key; corelog has no such broker setting");
        let error = text(config.set("num.partitions", "0", origin()));
        let expected = "/etc/corelog.toml:7: num.partitions: 0 is not allowed; it takes a whole number from 1 to 10000";
        assert_eq!(error, expected);
        let error = text(config.set("corelog.shards", "0", Origin::Flag("--shards")));
        assert_eq!(error, "--shards: 0 is not allowed; it takes a whole number from 1 to 1024");
        assert_eq!(config, BrokerConfig::default(), "what is refused changes nothing");
    }

    #[test]
    fn a_batch_that_no_journal_file_holds_is_refused() {
        let max = 67_108_864 - 4096 - 40 - 40;
        assert_eq!(config(&[("message.max.bytes", &max.to_string())]).check(), Ok(()));
        let error = config(&[("message.max.bytes", &(max + 1).to_string())]).check().unwrap_err().to_string();
        let expected = "a.toml:1: message.max.bytes: message.max.bytes = 67104689, corelog.journal.file.bytes = \
                        67108864: a journal file holds record batches of at most 67104688 bytes";
        assert_eq!(error, expected);
        // The default is too much for a journal that was made smaller: told where the journal was.
        let error = config(&[("corelog.journal.file.bytes", "1048576")]).check().unwrap_err().to_string();
        assert!(error.starts_with("a.toml:1: corelog.journal.file.bytes: message.max.bytes = 1048588"), "{error}");
    }

    #[test]
    fn pairs_that_contradict_each_other_are_refused() {
        for values in [
            [("corelog.journal.block.bytes", "2097152"), ("corelog.journal.file.bytes", "2097152")],
            [("group.min.session.timeout.ms", "2"), ("group.max.session.timeout.ms", "1")],
            [("log.cleaner.min.compaction.lag.ms", "2"), ("log.cleaner.max.compaction.lag.ms", "1")],
        ] {
            let error = config(&values).check().unwrap_err().to_string();
            assert!(error.starts_with("a.toml:1: ") && error.contains(values[1].0), "{error}");
        }
    }

    #[test]
    fn the_strongest_synonym_that_was_set_is_the_topics_default() {
        let retention =
            |values: &[(&str, &str)]| config(values).topic_default(topic_key("retention.ms").unwrap()).to_string();
        assert_eq!(retention(&[]), "604800000");
        assert_eq!(retention(&[("log.retention.hours", "2")]), "7200000");
        assert_eq!(retention(&[("log.retention.hours", "2"), ("log.retention.minutes", "3")]), "180000");
        assert_eq!(retention(&[("log.retention.minutes", "3"), ("log.retention.ms", "4")]), "4");
        assert_eq!(retention(&[("log.retention.hours", "-1")]), "-1", "no limit is no limit in any unit");
    }
}
