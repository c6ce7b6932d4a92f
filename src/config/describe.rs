//! Values with where they come from and where they could come from, as DescribeConfigs tells them (KIP-226).
//!
//! Differs from Kafka in one point: Kafka drops a topic key's synonyms up to the first that has the strongest's name,
//! and so tells no synonyms, and the source "default", for a `retention.ms` that comes from `log.retention.hours`.

use super::broker::BrokerConfig;
use super::table::{BROKER_KEYS, Key, Synonym, TOPIC_KEYS, broker_key};
use super::topic::Overrides;

/// Where a value comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The topic's own configuration.
    Topic,
    /// What the broker was started with: its file or its command line.
    StaticBroker,
    /// The default.
    Default,
}

impl Source {
    /// The number in DescribeConfigs: Kafka's `ConfigSource`.
    pub fn code(self) -> i8 {
        match self {
            Source::Topic => 1,
            Source::StaticBroker => 4,
            Source::Default => 5,
        }
    }
}

/// A place that a value could come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SynonymValue {
    /// The key there.
    pub name: &'static str,
    /// The value there, in that key's own unit.
    pub value: String,
    /// What the place is.
    pub source: Source,
}

/// A key with its value.
#[derive(Clone, Debug)]
pub struct Described {
    /// The key.
    pub key: &'static Key,
    /// The value that holds; `None` when there is none.
    pub value: Option<String>,
    /// Where it comes from.
    pub source: Source,
    /// Where it could come from, the strongest first.
    pub synonyms: Vec<SynonymValue>,
}

/// All keys of a topic with these overrides, by name.
pub fn topic(broker: &BrokerConfig, overrides: &Overrides) -> Vec<Described> {
    let described = TOPIC_KEYS.iter().map(|key| {
        let own = overrides.get(key.name).and_then(|text| key.parse(text)).map(|value| value.to_string());
        let own_synonym =
            own.iter().map(|value| SynonymValue { name: key.name, value: value.clone(), source: Source::Topic });
        let names = key.synonyms.iter().map(|synonym| synonym.name);
        let synonyms: Vec<SynonymValue> = own_synonym.chain(of_broker(broker, names)).collect();
        Described {
            key,
            value: Some(own.clone().unwrap_or_else(|| broker.topic_default(key).to_string())),
            source: synonyms.first().map_or(Source::Default, |strongest| strongest.source),
            synonyms,
        }
    });
    described.collect()
}

/// All keys of the broker, by name.
pub fn broker(broker: &BrokerConfig) -> Vec<Described> {
    let described = BROKER_KEYS.iter().map(|key| {
        let family: Vec<&'static str> = match family_of(key.name) {
            Some(synonyms) => synonyms.iter().map(|synonym| synonym.name).collect(),
            None => vec![key.name],
        };
        // From the key itself on: what is stronger does not change the value of this one.
        let synonyms: Vec<SynonymValue> =
            of_broker(broker, family.into_iter()).skip_while(|synonym| synonym.name != key.name).collect();
        Described {
            key,
            value: broker.value(key.name).map(|value| value.to_string()),
            source: synonyms.first().map_or(Source::Default, |strongest| strongest.source),
            synonyms,
        }
    });
    described.collect()
}

/// What was set of these keys, then their defaults.
fn of_broker(
    broker: &BrokerConfig,
    names: impl Iterator<Item = &'static str> + Clone,
) -> impl Iterator<Item = SynonymValue> {
    let set = names.clone().filter_map(|name| {
        let value = broker.set_value(name)?.to_string();
        Some(SynonymValue { name, value, source: Source::StaticBroker })
    });
    let default = names.filter_map(|name| {
        let value = broker_key(name)?.default?.to_string();
        Some(SynonymValue { name, value, source: Source::Default })
    });
    set.chain(default)
}

/// The broker keys that stand for one topic key together, if this is one of several.
fn family_of(name: &str) -> Option<&'static [Synonym]> {
    let families = TOPIC_KEYS.iter().map(|key| key.synonyms);
    families.filter(|family| family.len() > 1).find(|family| family.iter().any(|synonym| synonym.name == name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Origin;

    fn config(values: &[(&str, &str)]) -> BrokerConfig {
        let mut config = BrokerConfig::default();
        for (name, text) in values {
            config.set(name, text, Origin::Flag("--test")).unwrap();
        }
        config
    }

    /// Value, source, and synonyms as `source:name=value`.
    fn told(all: Vec<Described>, name: &str) -> (Option<String>, i8, Vec<String>) {
        let described = all.into_iter().find(|described| described.key.name == name).unwrap();
        let synonyms = described.synonyms.iter();
        let synonyms = synonyms.map(|one| format!("{}:{}={}", one.source.code(), one.name, one.value)).collect();
        (described.value, described.source.code(), synonyms)
    }

    fn some(value: &str, source: i8, synonyms: &[&str]) -> (Option<String>, i8, Vec<String>) {
        (Some(value.into()), source, synonyms.iter().map(|text| text.to_string()).collect())
    }

    #[test]
    fn a_topics_value_comes_from_itself_the_broker_or_nowhere() {
        let own = Overrides::from([("max.message.bytes".into(), " 7 ".into())]);
        let set = config(&[("message.max.bytes", "9")]);
        let of = |broker: &BrokerConfig, own: &Overrides| told(topic(broker, own), "max.message.bytes");
        let default = "5:message.max.bytes=1048588";
        assert_eq!(of(&config(&[]), &Overrides::new()), some("1048588", 5, &[default]));
        assert_eq!(of(&set, &Overrides::new()), some("9", 4, &["4:message.max.bytes=9", default]));
        let all = ["1:max.message.bytes=7", "4:message.max.bytes=9", default];
        assert_eq!(of(&set, &own), some("7", 1, &all));
    }

    #[test]
    fn synonyms_stand_in_their_order_with_what_was_set_before_the_defaults() {
        let set = config(&[("log.retention.hours", "1"), ("log.retention.minutes", "2")]);
        let synonyms = ["4:log.retention.minutes=2", "4:log.retention.hours=1", "5:log.retention.hours=168"];
        assert_eq!(told(topic(&set, &Overrides::new()), "retention.ms"), some("120000", 4, &synonyms));
        assert_eq!(told(broker(&set), "log.retention.minutes"), some("2", 4, &synonyms));
        assert_eq!(told(broker(&set), "log.retention.hours"), some("1", 4, &synonyms[1..]));
        assert_eq!(told(broker(&set), "log.retention.ms"), (None, 5, Vec::new()));
        let none = told(topic(&set, &Overrides::new()), "leader.replication.throttled.replicas");
        assert_eq!(none, some("", 5, &[]));
    }

    #[test]
    fn everything_in_the_table_is_told() {
        assert_eq!(topic(&config(&[]), &Overrides::new()).len(), TOPIC_KEYS.len());
        let all = broker(&config(&[]));
        assert_eq!(all.len(), BROKER_KEYS.len());
        assert!(all.iter().all(|one| one.source == Source::Default));
        assert_eq!(told(all, "num.partitions"), some("1", 5, &["5:num.partitions=1"]));
    }
}
