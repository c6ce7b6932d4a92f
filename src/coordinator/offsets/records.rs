//! The records of `__consumer_offsets`, in Kafka's schemas. Kafka 4 writes OffsetCommitKey 1, OffsetCommitValue 3 (1 when
//! the client asked for a retention of its own), GroupMetadataKey 2 and GroupMetadataValue 3; all versions are read.
//!
//! A key, as a value, begins with its version in two bytes. The version of a key tells its type: 0 and 1 are offsets, 2
//! is a group; higher ones belong to protocols that are not served.

use bytes::Bytes;

use super::store::{CommittedOffset, OffsetChange};
use crate::protocol::schema::schema;
use crate::protocol::wire::{Version, Wire};
use crate::protocol::{DecodeError, DecodeFault, KafkaString, Reader, Writer};
use crate::vocabulary::{LeaderEpoch, Offset, PartitionIndex, TimestampMs};

/// The version of an offset's key.
const OFFSET_KEY_VERSION: i16 = 1;
/// The version of a group's key.
const GROUP_KEY_VERSION: i16 = 2;
/// The version in which values are written.
const VALUE_VERSION: i16 = 3;
/// The version of an offset's value that has a time of expiry of its own.
const OFFSET_VALUE_VERSION_WITH_EXPIRY: i16 = 1;
/// The first version of either value with compact lengths and tagged fields; also the last one known.
const FIRST_FLEXIBLE_VALUE_VERSION: i16 = 4;

schema! {
    /// Whose offset, of which partition.
    pub struct OffsetCommitKey {
        /// The group.
        group: KafkaString,
        /// The topic's name.
        topic: KafkaString,
        /// The partition.
        partition: PartitionIndex,
    }

    /// A committed offset.
    pub struct OffsetCommitValue {
        /// The offset of the next record to consume.
        offset: Offset,
        /// The leader epoch of the last record consumed; -1 for none (KIP-320).
        leader_epoch: LeaderEpoch [3..] = -1,
        /// The text beside the offset.
        metadata: KafkaString,
        /// When the offset was committed, in milliseconds.
        commit_timestamp: TimestampMs,
        /// When it expires, in milliseconds; -1 by the broker's retention.
        expire_timestamp: TimestampMs [1..=1] = -1,
    }

    /// Which group.
    pub struct GroupMetadataKey {
        /// The group.
        group: KafkaString,
    }

    /// A group's generation.
    pub struct GroupMetadataValue {
        /// What the group is for, such as `consumer`; empty when it never had a member.
        protocol_type: KafkaString,
        /// The generation.
        generation: i32,
        /// The chosen protocol; null without members.
        protocol: Option<KafkaString> = None,
        /// The member id of the leader; null without members.
        leader: Option<KafkaString> = None,
        /// When the group came into its state, in milliseconds; -1 when unknown.
        current_state_timestamp: TimestampMs [2..] = -1,
        /// The members.
        members: Vec<MemberMetadata>,
    }

    /// A member of the generation.
    pub struct MemberMetadata {
        /// Its member id.
        member_id: KafkaString,
        /// Its id as a static member (KIP-345).
        group_instance_id: Option<KafkaString> [3..] = None,
        /// The client id of its connection.
        client_id: KafkaString,
        /// The address of its connection.
        client_host: KafkaString,
        /// How long a rebalance waits for it, in milliseconds.
        rebalance_timeout: i32 [1..],
        /// Without a heartbeat for so long it is removed, in milliseconds.
        session_timeout: i32,
        /// What it sent with the chosen protocol.
        subscription: Bytes,
        /// Its assignment.
        assignment: Bytes,
    }
}

/// A record's meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CoordinatorRecord {
    /// An offset was committed, or is gone.
    Offset(OffsetChange),
    /// A group has a new generation, or is gone (`None`).
    Group {
        /// The group.
        group: KafkaString,
        /// Its new generation.
        value: Option<GroupMetadataValue>,
    },
}

/// A record's key and value as they stand in the log; no value deletes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded {
    /// The key.
    pub key: Bytes,
    /// The value.
    pub value: Option<Bytes>,
}

impl CoordinatorRecord {
    /// The record as Kafka 4 writes it.
    pub fn encode(&self) -> Encoded {
        match self {
            CoordinatorRecord::Offset(change) => {
                let key = OffsetCommitKey {
                    group: change.group.clone(),
                    topic: change.topic.clone(),
                    partition: change.partition,
                };
                let value = change.offset.as_ref().map(|offset| {
                    let version =
                        if offset.expire_ms.is_some() { OFFSET_VALUE_VERSION_WITH_EXPIRY } else { VALUE_VERSION };
                    encode(version, &offset.to_value())
                });
                Encoded { key: encode(OFFSET_KEY_VERSION, &key), value }
            }
            CoordinatorRecord::Group { group, value } => {
                let key = GroupMetadataKey { group: group.clone() };
                let value = value.as_ref().map(|value| encode(VALUE_VERSION, value));
                Encoded { key: encode(GROUP_KEY_VERSION, &key), value }
            }
        }
    }

    /// Reads a record; `None` for one of a type that is not served.
    ///
    /// # Errors
    /// [`DecodeError`] when key or value is not what its version says.
    pub fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<CoordinatorRecord>, DecodeError> {
        let mut r = Reader::new(key);
        let version = r.read_i16()?;
        match version {
            0 | OFFSET_KEY_VERSION => {
                let key: OffsetCommitKey = read_whole(&mut r, version)?;
                let offset = value.map(decode_value::<OffsetCommitValue>).transpose()?.map(CommittedOffset::from_value);
                let OffsetCommitKey { group, topic, partition } = key;
                Ok(Some(CoordinatorRecord::Offset(OffsetChange { group, topic, partition, offset })))
            }
            GROUP_KEY_VERSION => {
                let key: GroupMetadataKey = read_whole(&mut r, version)?;
                let value = value.map(decode_value).transpose()?;
                Ok(Some(CoordinatorRecord::Group { group: key.group, value }))
            }
            _ => Ok(None),
        }
    }
}

fn encode<T: Wire>(number: i16, body: &T) -> Bytes {
    let mut w = Writer::new();
    w.write_i16(number);
    body.write(&mut w, Version { number, flexible: false });
    w.finish().into_bytes()
}

/// Keys never have tagged fields.
fn read_whole<T: Wire>(r: &mut Reader, number: i16) -> Result<T, DecodeError> {
    let body = T::read(r, Version { number, flexible: false })?;
    r.finish()?;
    Ok(body)
}

fn decode_value<T: Wire>(bytes: Bytes) -> Result<T, DecodeError> {
    let mut r = Reader::new(bytes);
    let number = r.read_i16()?;
    if !(0..=FIRST_FLEXIBLE_VALUE_VERSION).contains(&number) {
        return Err(r.error(DecodeFault::UnsupportedVersion(number)));
    }
    let value = T::read(&mut r, Version { number, flexible: number >= FIRST_FLEXIBLE_VALUE_VERSION })?;
    r.finish()?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::protocol::tests::sample::{Entropy, Sample};

    fn offset(expire_ms: Option<i64>) -> CoordinatorRecord {
        CoordinatorRecord::Offset(OffsetChange {
            group: "g1".into(),
            topic: "orders".into(),
            partition: 3,
            offset: Some(CommittedOffset {
                offset: 258,
                leader_epoch: 5,
                metadata: "m".into(),
                commit_ms: 1_700_000_000_000,
                expire_ms,
            }),
        })
    }

    const OFFSET_KEY: &[u8] = b"\0\x01\0\x02g1\0\x06orders\0\0\0\x03";

    /// 1 700 000 000 000 is 0x18bcfe56800.
    #[test]
    fn an_offset_stands_in_the_log_as_kafka_writes_it() {
        let encoded = offset(None).encode();
        assert_eq!(encoded.key, OFFSET_KEY);
        let value = b"\0\x03\0\0\0\0\0\0\x01\x02\0\0\0\x05\0\x01m\0\0\x01\x8b\xcf\xe5\x68\0";
        assert_eq!(encoded.value.as_deref(), Some(&value[..]));
        assert_eq!(CoordinatorRecord::decode(encoded.key, encoded.value), Ok(Some(offset(None))));
    }

    #[test]
    fn an_offset_with_its_own_expiry_is_written_in_version_1_which_has_no_epoch() {
        let encoded = offset(Some(1_700_000_000_001)).encode();
        let value = b"\0\x01\0\0\0\0\0\0\x01\x02\0\x01m\0\0\x01\x8b\xcf\xe5\x68\0\0\0\x01\x8b\xcf\xe5\x68\x01";
        assert_eq!(encoded.value.as_deref(), Some(&value[..]));
        let Ok(Some(CoordinatorRecord::Offset(read))) = CoordinatorRecord::decode(encoded.key, encoded.value) else {
            panic!("an offset is read")
        };
        let read = read.offset.unwrap();
        assert_eq!((read.expire_ms, read.leader_epoch, read.offset), (Some(1_700_000_000_001), -1, 258));
    }

    #[test]
    fn a_flexible_offset_is_read_with_tags_that_are_not_known() {
        let value = b"\0\x04\0\0\0\0\0\0\x01\x02\0\0\0\x05\x02m\0\0\x01\x8b\xcf\xe5\x68\0\x01\x00\x02hi";
        let read = CoordinatorRecord::decode(Bytes::from_static(OFFSET_KEY), Some(Bytes::from_static(value)));
        assert_eq!(read, Ok(Some(offset(None))));
    }

    #[test]
    fn a_group_stands_in_the_log_as_kafka_writes_it() {
        let group = CoordinatorRecord::Group {
            group: "g1".into(),
            value: Some(GroupMetadataValue {
                protocol_type: "consumer".into(),
                generation: 7,
                protocol: Some("range".into()),
                leader: Some("m-1".into()),
                current_state_timestamp: 1_700_000_000_000,
                members: vec![MemberMetadata {
                    member_id: "m-1".into(),
                    group_instance_id: None,
                    client_id: "c".into(),
                    client_host: "/::1".into(),
                    rebalance_timeout: 300_000,
                    session_timeout: 45_000,
                    subscription: Bytes::from_static(b"sub"),
                    assignment: Bytes::from_static(b"as"),
                }],
            }),
        };
        let encoded = group.encode();
        assert_eq!(encoded.key, &b"\0\x02\0\x02g1"[..]);
        let mut value = b"\0\x03\0\x08consumer\0\0\0\x07\0\x05range\0\x03m-1".to_vec();
        value.extend(b"\0\0\x01\x8b\xcf\xe5\x68\0\0\0\0\x01\0\x03m-1\xff\xff\0\x01c\0\x04/::1");
        value.extend(b"\0\x04\x93\xe0\0\0\xaf\xc8\0\0\0\x03sub\0\0\0\x02as");
        assert_eq!(encoded.value.as_deref(), Some(&value[..]));
        assert_eq!(CoordinatorRecord::decode(encoded.key, encoded.value), Ok(Some(group)));
    }

    #[test]
    fn tombstones_have_no_value_and_unknown_types_are_passed_over() {
        let gone = CoordinatorRecord::Group { group: "g1".into(), value: None };
        let encoded = gone.encode();
        assert_eq!(encoded.value, None);
        assert_eq!(CoordinatorRecord::decode(encoded.key, None), Ok(Some(gone)));
        // ConsumerGroupMetadataKey, of KIP-848.
        assert_eq!(CoordinatorRecord::decode(Bytes::from_static(b"\0\x03\0\x02g1"), None), Ok(None));
    }

    fn sampled<T: Sample>(entropy: &[u8], number: i16) -> T {
        T::sample(&mut Entropy(entropy), Version { number, flexible: false })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(entropy in proptest::collection::vec(any::<u8>(), 0..300)) {
            let value: GroupMetadataValue = sampled(&entropy, VALUE_VERSION);
            let group = CoordinatorRecord::Group { group: "g".into(), value: Some(value) };
            let encoded = group.encode();
            prop_assert_eq!(CoordinatorRecord::decode(encoded.key, encoded.value), Ok(Some(group)));
            let key: OffsetCommitKey = sampled(&entropy, OFFSET_KEY_VERSION);
            let value: OffsetCommitValue = sampled(&entropy, VALUE_VERSION);
            let (group, topic, partition) = (key.group, key.topic, key.partition);
            let offset = Some(CommittedOffset::from_value(value));
            let record = CoordinatorRecord::Offset(OffsetChange { group, topic, partition, offset });
            let encoded = record.encode();
            prop_assert_eq!(CoordinatorRecord::decode(encoded.key, encoded.value), Ok(Some(record)));
        }

        #[test]
        fn no_bytes_make_the_decoder_panic(
            key in proptest::collection::vec(any::<u8>(), 0..60),
            value in proptest::collection::vec(any::<u8>(), 0..120),
            types in 0i16..4,
            version in -1i16..6,
        ) {
            let key = [&types.to_be_bytes()[..], &key].concat();
            let value = [&version.to_be_bytes()[..], &value].concat();
            // Whatever it is, it is an answer.
            let _ = CoordinatorRecord::decode(key.into(), Some(value.into()));
        }
    }
}
