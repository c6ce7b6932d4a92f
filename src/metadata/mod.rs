//! Topics, partitions, configs and producer ids: one state machine, fed by commands from a log.
//!
//! The log is the partition [`METADATA_PARTITION`], written through the engine like any other; a command is the value of
//! one record. Each shard applies the same commands in the same order to an [`MetadataImage`] of its own, so that it can
//! look things up without asking another. Which shard owns a partition follows from the commands and the number of
//! shards alone: it is not on disk, and may differ after a restart.
//!
//! Knows no sockets, no wire protocol and no disk; randomness and time are arguments.

pub mod command;
pub mod image;
pub mod plan;

pub use command::Command;
pub use image::{MetadataImage, Topic};
pub use plan::{MetadataError, NewTopic};

use crate::vocabulary::{PartitionId, TopicId};

/// The partition that holds the commands. It is not a topic of the image: clients do not see it.
pub const METADATA_PARTITION: PartitionId =
    PartitionId { topic_id: TopicId([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]), index: 0 };

/// The topic that holds committed offsets and groups, as in Kafka.
pub const OFFSETS_TOPIC: &str = "__consumer_offsets";
