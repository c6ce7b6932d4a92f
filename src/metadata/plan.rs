//! Planning: from what a client asks to the command that does it, or to the reason why not. Pure functions.

use super::OFFSETS_TOPIC;
use super::command::{Command, TopicOverrides};
use super::image::{MetadataImage, Topic};
use crate::config::TopicConfigError;
use crate::config::topic::{Change, validate};
use crate::vocabulary::{ProducerId, TopicId};

/// The longest topic name, in bytes, as in Kafka.
pub const TOPIC_NAME_BYTES_MAX: usize = 249;
/// The most partitions of one topic.
pub const TOPIC_PARTITIONS_MAX: i32 = 10_000;
const _: () = assert!(TOPIC_PARTITIONS_MAX == crate::config::table::TOPIC_PARTITIONS_MAX);
/// The most partitions of all topics together: the design's target for one node.
pub const PARTITIONS_MAX: usize = 100_000;
/// How many producer ids a shard takes at once, as in Kafka (KIP-730).
pub const PRODUCER_ID_BLOCK: i64 = 1000;

/// A request that cannot be met, with what to tell the client.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MetadataError {
    /// Kafka's `INVALID_TOPIC_EXCEPTION`.
    #[error("topic name {name:?} is not allowed: {reason}")]
    InvalidTopicName {
        /// The name.
        name: String,
        /// Which rule it breaks.
        reason: &'static str,
    },
    /// Kafka's `INVALID_TOPIC_EXCEPTION`: names that differ only in `.` and `_` would share a metric's name.
    #[error("topic '{name}' collides with existing topic '{other}': '.' and '_' count as the same")]
    CollidingTopicName {
        /// The name.
        name: String,
        /// The topic that is there.
        other: String,
    },
    /// Kafka's `TOPIC_ALREADY_EXISTS`.
    #[error("topic '{0}' already exists")]
    TopicExists(String),
    /// Kafka's `UNKNOWN_TOPIC_OR_PARTITION`, or `UNKNOWN_TOPIC_ID` when it was asked for by id.
    #[error("there is no such topic")]
    UnknownTopic,
    /// Kafka's `INVALID_PARTITIONS`.
    #[error("{0}")]
    InvalidPartitions(String),
    /// Kafka's `INVALID_REPLICATION_FACTOR`.
    #[error("replication factor {0} is larger than the number of brokers, 1")]
    InvalidReplicationFactor(i16),
    /// Kafka's `INVALID_REPLICA_ASSIGNMENT`.
    #[error("{0}")]
    InvalidReplicaAssignment(String),
    /// Kafka's `INVALID_REQUEST`.
    #[error("{0}")]
    InvalidRequest(String),
    /// Kafka's `INVALID_CONFIG`.
    #[error(transparent)]
    InvalidConfig(#[from] TopicConfigError),
    /// Kafka's `TOPIC_AUTHORIZATION_FAILED`: the topic is the broker's own.
    #[error("topic '{0}' is internal to the broker")]
    InternalTopic(String),
}

/// A topic that a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// The name.
    pub name: String,
    /// How many partitions; −1 for the broker's default, or with an assignment.
    pub partitions: i32,
    /// How many replicas; −1 for the broker's default, or with an assignment.
    pub replication_factor: i16,
    /// The brokers of each partition, when the client places them itself.
    pub assignment: Vec<(i32, Vec<i32>)>,
    /// Its own configuration.
    pub overrides: TopicOverrides,
}

/// Checks a topic's name against Kafka's rules.
///
/// # Errors
/// [`MetadataError::InvalidTopicName`].
pub fn check_topic_name(name: &str) -> Result<(), MetadataError> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let reason = if name.is_empty() {
        "it is empty"
    } else if name == "." || name == ".." {
        "it is '.' or '..'"
    } else if name.len() > TOPIC_NAME_BYTES_MAX {
        "it is longer than 249 characters"
    } else if !name.bytes().all(legal) {
        "it has a character other than ASCII letters and digits, '.', '_' and '-'"
    } else {
        return Ok(());
    };
    Err(MetadataError::InvalidTopicName { name: name.into(), reason })
}

/// Plans a topic. `default_partitions` is Kafka's `num.partitions`.
///
/// # Errors
/// The rules of Kafka's CreateTopics, for one broker with id `node_id`.
pub fn create_topic(
    image: &MetadataImage,
    topic: &NewTopic,
    id: TopicId,
    default_partitions: i32,
    node_id: i32,
) -> Result<Command, MetadataError> {
    check_topic_name(&topic.name)?;
    if image.topic(&topic.name).is_some() {
        return Err(MetadataError::TopicExists(topic.name.clone()));
    }
    if topic.name == OFFSETS_TOPIC {
        return Err(MetadataError::InternalTopic(topic.name.clone()));
    }
    let folded = |name: &str| name.replace('.', "_");
    if topic.name.contains(['.', '_']) {
        let ours = folded(&topic.name);
        if let Some(other) = image.topics().find(|other| folded(&other.name) == ours) {
            return Err(MetadataError::CollidingTopicName { name: topic.name.clone(), other: other.name.clone() });
        }
    }
    validate(image.broker_config(), &topic.overrides)?;
    let partitions = if topic.assignment.is_empty() {
        if topic.replication_factor != -1 && topic.replication_factor != 1 {
            return Err(MetadataError::InvalidReplicationFactor(topic.replication_factor));
        }
        if topic.partitions == -1 { default_partitions } else { topic.partitions }
    } else {
        if topic.partitions != -1 || topic.replication_factor != -1 {
            let text = "with a replica assignment, partitions and replication factor must be -1";
            return Err(MetadataError::InvalidRequest(text.into()));
        }
        check_assignment(topic.assignment.iter().map(|(index, brokers)| (*index, &brokers[..])), 0, node_id)?;
        topic.assignment.len() as i32
    };
    if partitions < 1 {
        return Err(MetadataError::InvalidPartitions("the number of partitions must be larger than 0".into()));
    }
    check_room(image, partitions, partitions)?;
    Ok(Command::CreateTopic { id, name: topic.name.clone(), partitions, overrides: topic.overrides.clone() })
}

/// Partitions from `first` on, each once, each on this broker alone.
fn check_assignment<'a>(
    assignment: impl Iterator<Item = (i32, &'a [i32])>,
    first: i32,
    node_id: i32,
) -> Result<(), MetadataError> {
    let mut indexes = Vec::new();
    for (index, brokers) in assignment {
        if brokers != [node_id] {
            let text = format!("partition {index} is assigned to brokers {brokers:?}; the only broker is {node_id}");
            return Err(MetadataError::InvalidReplicaAssignment(text));
        }
        indexes.push(index);
    }
    indexes.sort_unstable();
    if indexes.iter().zip(first..).any(|(&index, expected)| index != expected) {
        let text = "the assignment must name each partition once, without a gap".into();
        return Err(MetadataError::InvalidReplicaAssignment(text));
    }
    Ok(())
}

fn check_room(image: &MetadataImage, of_topic: i32, added: i32) -> Result<(), MetadataError> {
    if of_topic > TOPIC_PARTITIONS_MAX {
        let text = format!("a topic has at most {TOPIC_PARTITIONS_MAX} partitions");
        return Err(MetadataError::InvalidPartitions(text));
    }
    if image.partition_count() + added as usize > PARTITIONS_MAX {
        let text = format!("all topics together have at most {PARTITIONS_MAX} partitions");
        return Err(MetadataError::InvalidPartitions(text));
    }
    Ok(())
}

/// Plans the broker's own topic for committed offsets. `partitions` is Kafka's `offsets.topic.num.partitions`,
/// `segment_bytes` its `offsets.topic.segment.bytes`.
pub fn create_offsets_topic(id: TopicId, partitions: i32, segment_bytes: i64) -> Command {
    let overrides = TopicOverrides::from([
        ("cleanup.policy".into(), "compact".into()),
        ("segment.bytes".into(), segment_bytes.to_string()),
    ]);
    Command::CreateTopic { id, name: OFFSETS_TOPIC.into(), partitions, overrides }
}

/// Plans a topic's end.
///
/// # Errors
/// No such topic, or an internal one.
pub fn delete_topic(topic: Option<&Topic>) -> Result<Command, MetadataError> {
    let topic = topic.ok_or(MetadataError::UnknownTopic)?;
    if topic.is_internal() {
        return Err(MetadataError::InternalTopic(topic.name.clone()));
    }
    Ok(Command::DeleteTopic { id: topic.id })
}

/// Plans another configuration for a topic.
///
/// # Errors
/// The rules of Kafka's AlterConfigs and IncrementalAlterConfigs, in their order: an unknown topic is told last.
pub fn alter_topic_config(image: &MetadataImage, name: &str, change: &Change) -> Result<Command, MetadataError> {
    if name.is_empty() {
        return Err(MetadataError::InvalidRequest("Default topic resources are not allowed.".into()));
    }
    check_topic_name(name)?;
    let topic = image.topic(name);
    let none = TopicOverrides::new();
    let overrides = change.applied_to(topic.map_or(&none, |topic| &topic.overrides))?;
    validate(image.broker_config(), &overrides)?;
    let topic = topic.ok_or(MetadataError::UnknownTopic)?;
    Ok(Command::SetTopicConfig { id: topic.id, overrides })
}

/// Plans more partitions for a topic. `assignment` has the brokers of each new one, if the client places them itself.
///
/// # Errors
/// The rules of Kafka's CreatePartitions.
pub fn add_partitions(
    image: &MetadataImage,
    name: &str,
    partitions: i32,
    assignment: Option<&[Vec<i32>]>,
    node_id: i32,
) -> Result<Command, MetadataError> {
    let topic = image.topic(name).ok_or(MetadataError::UnknownTopic)?;
    if topic.is_internal() {
        return Err(MetadataError::InternalTopic(topic.name.clone()));
    }
    let current = topic.partition_count();
    if partitions <= current {
        let relation = if partitions == current { "already has" } else { "has more than that:" };
        return Err(MetadataError::InvalidPartitions(format!("topic '{name}' {relation} {current} partitions")));
    }
    if let Some(assignment) = assignment {
        let added = partitions - current;
        if assignment.len() != added as usize {
            let text = format!("{added} partitions are added, {} are assigned", assignment.len());
            return Err(MetadataError::InvalidReplicaAssignment(text));
        }
        check_assignment((current..).zip(assignment.iter().map(|brokers| &brokers[..])), current, node_id)?;
    }
    check_room(image, partitions, partitions - current)?;
    Ok(Command::SetPartitionCount { id: topic.id, partitions })
}

/// Plans the next block of producer ids.
pub fn allocate_producer_ids(image: &MetadataImage) -> (ProducerId, Command) {
    let first = image.next_producer_id();
    (first, Command::AllocateProducerIds { first, count: PRODUCER_ID_BLOCK })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(name: &str) -> NewTopic {
        NewTopic {
            name: name.into(),
            partitions: -1,
            replication_factor: -1,
            assignment: Vec::new(),
            overrides: TopicOverrides::new(),
        }
    }

    fn image_with(name: &str, partitions: i32) -> MetadataImage {
        let mut image = MetadataImage::new(2);
        let wanted = NewTopic { partitions, ..topic(name) };
        image.apply(&create_topic(&image, &wanted, TopicId([1; 16]), 1, 1).unwrap()).unwrap();
        image
    }

    fn plan(image: &MetadataImage, topic: &NewTopic) -> Result<Command, MetadataError> {
        create_topic(image, topic, TopicId([9; 16]), 4, 1)
    }

    #[test]
    fn names_follow_kafka_s_rules() {
        for name in ["a", "A-1._x", "x".repeat(249).as_str()] {
            assert_eq!(check_topic_name(name), Ok(()));
        }
        for name in ["", ".", "..", "a b", "ä", "a/b", "x".repeat(250).as_str()] {
            assert!(matches!(check_topic_name(name), Err(MetadataError::InvalidTopicName { .. })), "{name}");
        }
    }

    #[test]
    fn names_in_use_and_names_that_collide_are_refused() {
        let image = image_with("a.b", 1);
        assert_eq!(plan(&image, &topic("a.b")), Err(MetadataError::TopicExists("a.b".into())));
        assert!(matches!(plan(&image, &topic("a_b")), Err(MetadataError::CollidingTopicName { .. })));
        assert!(matches!(plan(&image, &topic(OFFSETS_TOPIC)), Err(MetadataError::InternalTopic(_))));
        assert!(plan(&image, &topic("a-b")).is_ok());
    }

    #[test]
    fn the_number_of_partitions_is_asked_for_assigned_or_the_default() {
        let image = MetadataImage::new(1);
        let count = |topic: &NewTopic| match plan(&image, topic) {
            Ok(Command::CreateTopic { partitions, .. }) => Ok(partitions),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error),
        };
        assert_eq!(count(&topic("a")), Ok(4));
        assert_eq!(count(&NewTopic { partitions: 7, replication_factor: 1, ..topic("a") }), Ok(7));
        assert_eq!(count(&NewTopic { assignment: vec![(1, vec![1]), (0, vec![1])], ..topic("a") }), Ok(2));
        for partitions in [0, -2, TOPIC_PARTITIONS_MAX + 1] {
            let error = count(&NewTopic { partitions, ..topic("a") });
            assert!(matches!(error, Err(MetadataError::InvalidPartitions(_))), "{partitions}");
        }
        for assignment in [vec![(1, vec![1])], vec![(0, vec![1]), (0, vec![1])], vec![(0, vec![2])], vec![(0, vec![])]]
        {
            let error = count(&NewTopic { assignment, ..topic("a") });
            assert!(matches!(error, Err(MetadataError::InvalidReplicaAssignment(_))), "{error:?}");
        }
        let error = count(&NewTopic { replication_factor: 3, ..topic("a") });
        assert_eq!(error, Err(MetadataError::InvalidReplicationFactor(3)));
        let both = NewTopic { partitions: 1, assignment: vec![(0, vec![1])], ..topic("a") };
        assert!(matches!(count(&both), Err(MetadataError::InvalidRequest(_))));
    }

    #[test]
    fn configs_are_validated_when_a_topic_is_created_and_when_they_change() {
        use crate::config::topic::Operation;
        let mut image = image_with("a", 1);
        let id = TopicId([1; 16]);
        let with = |name: &str, key: &str, value: &str| NewTopic {
            overrides: [(key.to_string(), value.to_string())].into(),
            ..topic(name)
        };
        assert!(plan(&image, &with("b", "retention.ms", "5")).is_ok());
        for (key, value) in [("retention.ms", "soon"), ("no.such.config", "1"), ("max.message.bytes", "2000000000")] {
            let error = plan(&image, &with("b", key, value));
            assert!(matches!(error, Err(MetadataError::InvalidConfig(_))), "{error:?}");
        }
        // As in Kafka, what is wrong with the name is told before what is wrong with the configuration.
        assert!(matches!(plan(&image, &with("a", "x", "1")), Err(MetadataError::TopicExists(_))));

        let set = |key: &str, value: &str| Change::Edit(vec![(key.into(), Operation::Set(value.into()))]);
        let planned = alter_topic_config(&image, "a", &set("retention.ms", "5")).unwrap();
        let overrides = TopicOverrides::from([("retention.ms".into(), "5".into())]);
        assert_eq!(planned, Command::SetTopicConfig { id, overrides });
        image.apply(&planned).unwrap();
        let both = alter_topic_config(&image, "a", &set("segment.ms", "6")).unwrap();
        assert!(matches!(both, Command::SetTopicConfig { overrides, .. } if overrides.len() == 2));
        let replaced = alter_topic_config(&image, "a", &Change::Replace(TopicOverrides::new()));
        assert_eq!(replaced, Ok(Command::SetTopicConfig { id, overrides: TopicOverrides::new() }));
        assert!(matches!(
            alter_topic_config(&image, "a", &set("retention.ms", "-2")),
            Err(MetadataError::InvalidConfig(_))
        ));
        assert!(matches!(
            alter_topic_config(&image, "b", &set("retention.ms", "-2")),
            Err(MetadataError::InvalidConfig(_))
        ));
        assert_eq!(alter_topic_config(&image, "b", &set("retention.ms", "5")), Err(MetadataError::UnknownTopic));
        assert!(matches!(
            alter_topic_config(&image, "", &set("retention.ms", "5")),
            Err(MetadataError::InvalidRequest(_))
        ));
        assert!(matches!(
            alter_topic_config(&image, "a/b", &set("retention.ms", "5")),
            Err(MetadataError::InvalidTopicName { .. })
        ));
    }

    #[test]
    fn partitions_only_grow() {
        let image = image_with("a", 3);
        let id = TopicId([1; 16]);
        assert_eq!(add_partitions(&image, "a", 5, None, 1), Ok(Command::SetPartitionCount { id, partitions: 5 }));
        assert!(add_partitions(&image, "a", 5, Some(&[vec![1], vec![1]]), 1).is_ok());
        for wanted in [2, 3, 0] {
            let error = add_partitions(&image, "a", wanted, None, 1);
            assert!(matches!(error, Err(MetadataError::InvalidPartitions(_))));
        }
        let error = add_partitions(&image, "a", 5, Some(&[vec![1]]), 1);
        assert!(matches!(error, Err(MetadataError::InvalidReplicaAssignment(_))));
        assert_eq!(add_partitions(&image, "b", 5, None, 1), Err(MetadataError::UnknownTopic));
    }

    #[test]
    fn the_broker_s_own_topic_is_not_deleted() {
        let mut image = image_with("a", 1);
        image.apply(&create_offsets_topic(TopicId([2; 16]), 50, 1 << 20)).unwrap();
        assert!(matches!(delete_topic(image.topic(OFFSETS_TOPIC).map(|t| &**t)), Err(MetadataError::InternalTopic(_))));
        assert_eq!(delete_topic(image.topic("a").map(|t| &**t)), Ok(Command::DeleteTopic { id: TopicId([1; 16]) }));
        assert_eq!(delete_topic(None), Err(MetadataError::UnknownTopic));
    }
}
