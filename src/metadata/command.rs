//! The commands, and their bytes in the metadata log.
//!
//! | command | bytes | |
//! | --- | --- | --- |
//! | magic | 2 | [`MAGIC`] |
//! | version | 2 | [`VERSION`] |
//! | kind | 1 | the variant, see `Command::kind` |
//! | fields | | integers big-endian; strings with a 4-byte length; maps with a 4-byte count, then key and value |

use std::collections::BTreeMap;

use bytes::{Buf, BufMut, Bytes};

use crate::vocabulary::{ProducerId, TopicId};

/// The first bytes of every command.
pub const MAGIC: [u8; 2] = *b"cM";
/// The version of this format.
pub const VERSION: u16 = 1;

/// Configuration values that a topic has of its own, by Kafka's name.
pub type TopicOverrides = BTreeMap<String, String>;

/// One change of the metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    /// Names the cluster, once.
    SetClusterId {
        /// 22 characters of base64, as Kafka's.
        cluster_id: String,
    },
    /// Makes a topic.
    CreateTopic {
        /// Its id, never used before.
        id: TopicId,
        /// Its name, not in use.
        name: String,
        /// How many partitions, at least 1.
        partitions: i32,
        /// Its own configuration.
        overrides: TopicOverrides,
    },
    /// Removes a topic and its records.
    DeleteTopic {
        /// The topic.
        id: TopicId,
    },
    /// Adds partitions to a topic.
    SetPartitionCount {
        /// The topic.
        id: TopicId,
        /// How many there are then: more than before.
        partitions: i32,
    },
    /// Replaces a topic's own configuration.
    SetTopicConfig {
        /// The topic.
        id: TopicId,
        /// All of it.
        overrides: TopicOverrides,
    },
    /// Gives `[first, first + count)` to one shard, to hand out to producers.
    AllocateProducerIds {
        /// The first id.
        first: ProducerId,
        /// How many, at least 1.
        count: i64,
    },
}

/// Why bytes are not a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Not a command, or a damaged one.
    #[error("the bytes are no metadata command")]
    Malformed,
    /// Written by a newer corelog.
    #[error(
        "the metadata command has version {0}, this corelog reads version {VERSION}: start the corelog that wrote it"
    )]
    UnknownVersion(u16),
    /// Written by a newer corelog.
    #[error("the metadata command has kind {0}, which this corelog does not know: start the corelog that wrote it")]
    UnknownKind(u8),
}

impl From<bytes::TryGetError> for CommandError {
    fn from(_: bytes::TryGetError) -> CommandError {
        CommandError::Malformed
    }
}

fn put_string(out: &mut Vec<u8>, text: &str) {
    out.put_u32(text.len() as u32);
    out.put_slice(text.as_bytes());
}

fn get_string(bytes: &mut &[u8]) -> Result<String, CommandError> {
    let len = bytes.try_get_u32()? as usize;
    let (text, rest) = bytes.split_at_checked(len).ok_or(CommandError::Malformed)?;
    *bytes = rest;
    String::from_utf8(text.to_vec()).map_err(|_| CommandError::Malformed)
}

fn put_overrides(out: &mut Vec<u8>, overrides: &TopicOverrides) {
    out.put_u32(overrides.len() as u32);
    for (key, value) in overrides {
        put_string(out, key);
        put_string(out, value);
    }
}

fn get_overrides(bytes: &mut &[u8]) -> Result<TopicOverrides, CommandError> {
    let mut overrides = TopicOverrides::new();
    for _ in 0..bytes.try_get_u32()? {
        let key = get_string(bytes)?;
        overrides.insert(key, get_string(bytes)?);
    }
    Ok(overrides)
}

fn get_topic_id(bytes: &mut &[u8]) -> Result<TopicId, CommandError> {
    Ok(TopicId(bytes.try_get_u128()?.to_be_bytes()))
}

impl Command {
    fn kind(&self) -> u8 {
        match self {
            Command::SetClusterId { .. } => 1,
            Command::CreateTopic { .. } => 2,
            Command::DeleteTopic { .. } => 3,
            Command::SetPartitionCount { .. } => 4,
            Command::SetTopicConfig { .. } => 5,
            Command::AllocateProducerIds { .. } => 6,
        }
    }

    /// The command as a record's value.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::new();
        out.put_slice(&MAGIC);
        out.put_u16(VERSION);
        out.put_u8(self.kind());
        match self {
            Command::SetClusterId { cluster_id } => put_string(&mut out, cluster_id),
            Command::CreateTopic { id, name, partitions, overrides } => {
                out.put_slice(&id.0);
                put_string(&mut out, name);
                out.put_i32(*partitions);
                put_overrides(&mut out, overrides);
            }
            Command::DeleteTopic { id } => out.put_slice(&id.0),
            Command::SetPartitionCount { id, partitions } => {
                out.put_slice(&id.0);
                out.put_i32(*partitions);
            }
            Command::SetTopicConfig { id, overrides } => {
                out.put_slice(&id.0);
                put_overrides(&mut out, overrides);
            }
            Command::AllocateProducerIds { first, count } => {
                out.put_i64(*first);
                out.put_i64(*count);
            }
        }
        out.into()
    }

    /// Reads what [`Command::encode`] wrote.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub fn decode(bytes: &[u8]) -> Result<Command, CommandError> {
        let mut rest = bytes.strip_prefix(&MAGIC).ok_or(CommandError::Malformed)?;
        let version = rest.try_get_u16()?;
        if version != VERSION {
            return Err(CommandError::UnknownVersion(version));
        }
        let kind = rest.try_get_u8()?;
        let r = &mut rest;
        let command = match kind {
            1 => Command::SetClusterId { cluster_id: get_string(r)? },
            2 => Command::CreateTopic {
                id: get_topic_id(r)?,
                name: get_string(r)?,
                partitions: r.try_get_i32()?,
                overrides: get_overrides(r)?,
            },
            3 => Command::DeleteTopic { id: get_topic_id(r)? },
            4 => Command::SetPartitionCount { id: get_topic_id(r)?, partitions: r.try_get_i32()? },
            5 => Command::SetTopicConfig { id: get_topic_id(r)?, overrides: get_overrides(r)? },
            6 => Command::AllocateProducerIds { first: r.try_get_i64()?, count: r.try_get_i64()? },
            kind => return Err(CommandError::UnknownKind(kind)),
        };
        if rest.is_empty() { Ok(command) } else { Err(CommandError::Malformed) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn command() -> impl Strategy<Value = Command> {
        let id = any::<[u8; 16]>().prop_map(TopicId);
        let overrides = prop::collection::btree_map("[a-z.]{1,9}", "[ -~]{0,9}", 0..4);
        prop_oneof![
            "[a-zA-Z0-9]{22}".prop_map(|cluster_id| Command::SetClusterId { cluster_id }),
            (id.clone(), "[a-z]{1,20}", 1..99i32, overrides.clone())
                .prop_map(|(id, name, partitions, overrides)| Command::CreateTopic { id, name, partitions, overrides }),
            id.clone().prop_map(|id| Command::DeleteTopic { id }),
            (id.clone(), 1..99i32).prop_map(|(id, partitions)| Command::SetPartitionCount { id, partitions }),
            (id, overrides).prop_map(|(id, overrides)| Command::SetTopicConfig { id, overrides }),
            (any::<i64>(), any::<i64>()).prop_map(|(first, count)| Command::AllocateProducerIds { first, count }),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn a_command_reads_back_and_no_part_of_it_does(command in command(), cut: prop::sample::Index) {
            let bytes = command.encode();
            prop_assert_eq!(Command::decode(&bytes), Ok(command));
            prop_assert!(Command::decode(&bytes[..cut.index(bytes.len())]).is_err());
            let longer = [&bytes[..], &[0]].concat();
            prop_assert_eq!(Command::decode(&longer), Err(CommandError::Malformed));
        }

        #[test]
        fn hostile_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..100), kind in 0..9u8) {
            prop_assert!(Command::decode(&bytes).is_err() || bytes.starts_with(&MAGIC));
            let framed = [&MAGIC[..], &[0, 1, kind], &bytes].concat();
            if let Ok(command) = Command::decode(&framed) {
                prop_assert_eq!(command.encode().len(), framed.len());
            }
        }
    }

    #[test]
    fn a_newer_format_is_named() {
        assert_eq!(Command::decode(b"cM\0\x02\x01"), Err(CommandError::UnknownVersion(2)));
        assert_eq!(Command::decode(b"cM\0\x01\x63"), Err(CommandError::UnknownKind(99)));
    }
}
