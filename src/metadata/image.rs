//! The image: what all commands so far add up to, and which shard owns what.

use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;
use std::sync::Arc;

use super::METADATA_PARTITION;
use super::command::{Command, TopicOverrides};
use crate::config::{BrokerConfig, TopicConfig};
use crate::vocabulary::{LeaderEpoch, PartitionId, PartitionIndex, ProducerId, ShardId, TopicId};

/// A topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// Its id.
    pub id: TopicId,
    /// Its name.
    pub name: String,
    /// The owner of each partition.
    pub owners: Vec<ShardId>,
    /// Its own configuration.
    pub overrides: TopicOverrides,
    /// What its configuration comes to, over the broker's.
    pub config: Rc<TopicConfig>,
}

impl Topic {
    /// The leader epoch of all partitions: with one node, leadership never changes.
    pub const LEADER_EPOCH: LeaderEpoch = 0;

    /// How many partitions it has.
    pub fn partition_count(&self) -> i32 {
        self.owners.len() as i32
    }

    /// Whether the topic is the broker's own.
    pub fn is_internal(&self) -> bool {
        self.name == super::OFFSETS_TOPIC
    }

    /// The partition with this index, and who owns it; `None` when there is none.
    pub fn partition(&self, index: PartitionIndex) -> Option<(PartitionId, ShardId)> {
        let owner = *self.owners.get(usize::try_from(index).ok()?)?;
        Some((PartitionId { topic_id: self.id, index }, owner))
    }
}

/// What is planned is validated first, so such a configuration was written by another corelog.
const UNKNOWN_CONFIG: &str =
    "the topic's configuration has a key or a value that this corelog does not know: start the corelog that wrote it";

/// Why a command does not fit the image: the log is not the one that the image was made from.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("metadata command {command:?} does not fit what came before it: {reason}")]
pub struct ApplyError {
    /// The command.
    pub command: Box<Command>,
    /// What is wrong with it.
    pub reason: &'static str,
}

/// All metadata, as one shard sees it.
#[derive(Clone, Debug)]
pub struct MetadataImage {
    cluster_id: Option<Rc<str>>,
    by_name: BTreeMap<Rc<str>, Rc<Topic>>,
    by_id: HashMap<TopicId, Rc<Topic>>,
    /// How many partitions each shard owns.
    load: Vec<usize>,
    partitions: usize,
    next_producer_id: ProducerId,
    broker_config: Arc<BrokerConfig>,
}

impl MetadataImage {
    /// The image before the first command, for that many shards, at least 1, with a broker's configuration by default.
    pub fn new(shards: usize) -> MetadataImage {
        MetadataImage::with_config(shards, Arc::default())
    }

    /// The image before the first command, for that many shards, at least 1.
    pub fn with_config(shards: usize, broker_config: Arc<BrokerConfig>) -> MetadataImage {
        assert!(shards > 0);
        MetadataImage {
            cluster_id: None,
            by_name: BTreeMap::new(),
            by_id: HashMap::new(),
            load: vec![0; shards],
            partitions: 0,
            next_producer_id: 0,
            broker_config,
        }
    }

    /// The configuration of the broker, which gives topics their defaults.
    pub fn broker_config(&self) -> &BrokerConfig {
        &self.broker_config
    }

    /// The cluster's id, once it has one.
    pub fn cluster_id(&self) -> Option<&str> {
        self.cluster_id.as_deref()
    }

    /// The first producer id that no shard has been given.
    pub fn next_producer_id(&self) -> ProducerId {
        self.next_producer_id
    }

    /// How many partitions all topics have together.
    pub fn partition_count(&self) -> usize {
        self.partitions
    }

    /// The topic of that name.
    pub fn topic(&self, name: &str) -> Option<&Rc<Topic>> {
        self.by_name.get(name)
    }

    /// The topic with that id.
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Rc<Topic>> {
        self.by_id.get(&id)
    }

    /// All topics, by name.
    pub fn topics(&self) -> impl Iterator<Item = &Rc<Topic>> {
        self.by_name.values()
    }

    /// Who owns a partition; `None` when there is no such partition.
    pub fn owner(&self, partition: PartitionId) -> Option<ShardId> {
        if partition == METADATA_PARTITION {
            return Some(ShardId(0));
        }
        self.by_id.get(&partition.topic_id)?.partition(partition.index).map(|(_, owner)| owner)
    }

    /// Takes in the next command of the log.
    ///
    /// # Errors
    /// [`ApplyError`] when the command does not fit; the image is unchanged.
    pub fn apply(&mut self, command: &Command) -> Result<(), ApplyError> {
        let misfit = |reason| Err(ApplyError { command: Box::new(command.clone()), reason });
        match command {
            Command::SetClusterId { cluster_id } => {
                if self.cluster_id.is_some() {
                    return misfit("the cluster has an id already");
                }
                self.cluster_id = Some(cluster_id.as_str().into());
            }
            Command::CreateTopic { id, name, partitions, overrides } => {
                if self.by_id.contains_key(id) || self.by_name.contains_key(name.as_str()) {
                    return misfit("the topic exists already");
                }
                if *partitions < 1 {
                    return misfit("a topic has at least one partition");
                }
                let Some(config) = self.resolve(overrides) else { return misfit(UNKNOWN_CONFIG) };
                let owners = self.place(*partitions as usize);
                self.put(Topic { id: *id, name: name.clone(), owners, overrides: overrides.clone(), config });
            }
            Command::DeleteTopic { id } => {
                let Some(topic) = self.by_id.remove(id) else { return misfit("there is no such topic") };
                self.by_name.remove(topic.name.as_str());
                for owner in &topic.owners {
                    self.load[owner.index()] -= 1;
                }
                self.partitions -= topic.owners.len();
            }
            Command::SetPartitionCount { id, partitions } => {
                let Some(topic) = self.by_id.get(id) else { return misfit("there is no such topic") };
                let Some(added) = usize::try_from(*partitions).ok().and_then(|to| to.checked_sub(topic.owners.len()))
                else {
                    return misfit("partitions are never taken away");
                };
                let mut topic = Topic::clone(topic);
                topic.owners.extend(self.place(added));
                self.put(topic);
            }
            Command::SetTopicConfig { id, overrides } => {
                let Some(topic) = self.by_id.get(id) else { return misfit("there is no such topic") };
                let Some(config) = self.resolve(overrides) else { return misfit(UNKNOWN_CONFIG) };
                let topic = Topic { overrides: overrides.clone(), config, ..Topic::clone(topic) };
                self.put(topic);
            }
            Command::AllocateProducerIds { first, count } => {
                if *first != self.next_producer_id || *count < 1 {
                    return misfit("producer ids are given out in order, each once");
                }
                self.next_producer_id = first.saturating_add(*count);
            }
        }
        Ok(())
    }

    fn resolve(&self, overrides: &TopicOverrides) -> Option<Rc<TopicConfig>> {
        TopicConfig::resolve(&self.broker_config, overrides).ok().map(Rc::new)
    }

    fn put(&mut self, topic: Topic) {
        let topic = Rc::new(topic);
        self.by_name.insert(topic.name.as_str().into(), topic.clone());
        self.by_id.insert(topic.id, topic);
    }

    /// Gives each of `count` new partitions to the shard that owns fewest, the lowest of several.
    fn place(&mut self, count: usize) -> Vec<ShardId> {
        self.partitions += count;
        (0..count)
            .map(|_| {
                let least = (0..self.load.len()).min_by_key(|&shard| self.load[shard]).expect("there is a shard");
                self.load[least] += 1;
                ShardId(least as u16)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn create(id: u8, name: &str, partitions: i32) -> Command {
        Command::CreateTopic { id: TopicId([id; 16]), name: name.into(), partitions, overrides: TopicOverrides::new() }
    }

    #[test]
    fn partitions_are_spread_and_the_spread_is_the_same_for_all_shards() {
        let commands =
            [create(1, "a", 3), create(2, "b", 1), Command::DeleteTopic { id: TopicId([1; 16]) }, create(3, "c", 3)];
        let mut images = [MetadataImage::new(2), MetadataImage::new(2)];
        for image in &mut images {
            for command in &commands {
                image.apply(command).unwrap();
            }
        }
        let owners = |image: &MetadataImage| image.topics().flat_map(|topic| topic.owners.clone()).collect::<Vec<_>>();
        assert_eq!(owners(&images[0]), owners(&images[1]));
        assert_eq!(owners(&images[0]).iter().filter(|&&owner| owner == ShardId(0)).count(), 2);
        assert_eq!(images[0].partition_count(), 4);
    }

    #[test]
    fn a_topic_is_found_by_name_and_id_until_it_is_deleted() {
        let mut image = MetadataImage::new(1);
        let id = TopicId([1; 16]);
        image.apply(&create(1, "a", 1)).unwrap();
        image.apply(&Command::SetPartitionCount { id, partitions: 3 }).unwrap();
        let overrides = TopicOverrides::from([("retention.ms".into(), "5".into())]);
        image.apply(&Command::SetTopicConfig { id, overrides: overrides.clone() }).unwrap();
        let topic = image.topic("a").unwrap();
        assert_eq!((topic.partition_count(), &topic.overrides), (3, &overrides));
        assert_eq!(topic.config.produce.max_message_bytes, 1_048_588);
        let smaller = TopicOverrides::from([("max.message.bytes".into(), "1000".into())]);
        image.apply(&Command::SetTopicConfig { id, overrides: smaller }).unwrap();
        assert_eq!(image.topic("a").unwrap().config.produce.max_message_bytes, 1000);
        assert_eq!(image.topic_by_id(id), image.topic("a"));
        assert_eq!(image.owner(PartitionId { topic_id: id, index: 2 }), Some(ShardId(0)));
        assert_eq!(image.owner(PartitionId { topic_id: id, index: 3 }), None);
        assert_eq!(image.owner(PartitionId { topic_id: id, index: -1 }), None);
        image.apply(&Command::DeleteTopic { id }).unwrap();
        assert_eq!((image.topic("a"), image.topic_by_id(id), image.partition_count()), (None, None, 0));
    }

    #[test]
    fn what_does_not_fit_is_refused_and_changes_nothing() {
        let mut image = MetadataImage::new(1);
        image.apply(&create(1, "a", 2)).unwrap();
        let id = TopicId([1; 16]);
        for command in [
            create(1, "b", 1),
            create(2, "a", 1),
            create(2, "b", 0),
            Command::DeleteTopic { id: TopicId([2; 16]) },
            Command::SetPartitionCount { id, partitions: 1 },
            Command::SetTopicConfig { id, overrides: [("retention.ms".into(), "soon".into())].into() },
            Command::SetTopicConfig { id, overrides: [("no.such.key".into(), "1".into())].into() },
            Command::AllocateProducerIds { first: 5, count: 1 },
        ] {
            assert!(image.apply(&command).is_err(), "{command:?}");
        }
        assert_eq!(image.partition_count(), 2);
        image.apply(&Command::AllocateProducerIds { first: 0, count: 1000 }).unwrap();
        assert_eq!(image.next_producer_id(), 1000);
    }
}
