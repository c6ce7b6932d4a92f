//! Configuration: which keys there are, what the broker was started with, what each topic has of it.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`table`] | the table of all keys: name, type, default, bounds, synonyms, documentation |
//! | [`value`] | types, parsing and bounds of values |
//! | [`broker`] | the values that the broker was started with, and where each was set |
//! | [`file`](mod@file) | the TOML file that `--config` names |
//! | [`topic`] | a topic's own values: validated, changed, and resolved into what the hot path reads |
//! | [`describe`] | values with their sources and synonyms, as DescribeConfigs tells them |
//! | [`listener`] | the addresses in `listeners` and `advertised.listeners` |
//!
//! Names, types, defaults and bounds are Kafka 4's where Kafka has the key; corelog's own begin with `corelog.`. A key
//! that would do nothing here is not in the table, except topic keys that clients set and read back, and the broker
//! keys that are their defaults: their documentation says so.

pub mod broker;
pub mod describe;
pub mod file;
pub mod listener;
pub mod table;
pub mod topic;
pub mod value;

pub use broker::{BrokerConfig, ConfigError, Origin};
pub use table::Key;
pub use topic::{TopicConfig, TopicConfigError};
pub use value::Value;
