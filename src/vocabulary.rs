//! The domain's vocabulary: small types with nothing but meaning in them.

use std::fmt;

/// A position in a partition's log, counted in records from 0. Kafka's `int64` offset.
pub type Offset = i64;

/// The epoch of a partition's leader, raised at each change of leadership (KIP-101). The first leader has epoch 0.
pub type LeaderEpoch = i32;

/// Milliseconds since 1970-01-01 UTC, as in Kafka's records. `-1` stands for "no timestamp" on the wire.
pub type TimestampMs = i64;

/// The index of a partition in its topic, from 0.
pub type PartitionIndex = i32;

/// A producer's id for idempotence (KIP-98); `-1` on the wire when a batch has none.
pub type ProducerId = i64;

/// The epoch of a producer id, which fences older instances of the same producer (KIP-98, KIP-360).
pub type ProducerEpoch = i16;

/// The id of a topic (KIP-516): 128 random bits, never reused, all zero for "none".
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct TopicId(pub [u8; 16]);

impl TopicId {
    /// The id that means "no id" on the wire.
    pub const ZERO: TopicId = TopicId([0; 16]);

    /// Whether this is [`TopicId::ZERO`].
    pub fn is_zero(&self) -> bool {
        *self == TopicId::ZERO
    }

    /// The 22-character URL-safe base64 form without padding that Kafka's tools print.
    pub fn to_base64(self) -> String {
        const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let bits = u128::from_be_bytes(self.0);
        // 22 sextets hold 132 bits: the last one carries only two bits of the id, left-aligned.
        (0..22)
            .map(|i| {
                let sextet = if i < 21 { (bits >> (122 - 6 * i)) & 63 } else { (bits << 4) & 63 };
                ALPHABET[sextet as usize] as char
            })
            .collect()
    }

    /// Reads what [`TopicId::to_base64`] writes; `None` for anything else.
    pub fn from_base64(text: &str) -> Option<TopicId> {
        if text.len() != 22 {
            return None;
        }
        let mut bits: u128 = 0;
        for (i, byte) in text.bytes().enumerate() {
            let sextet = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'-' => 62,
                b'_' => 63,
                _ => return None,
            };
            if i < 21 {
                bits = bits << 6 | u128::from(sextet);
            } else if sextet & 15 == 0 {
                bits = bits << 2 | u128::from(sextet >> 4);
            } else {
                return None;
            }
        }
        Some(TopicId(bits.to_be_bytes()))
    }
}

impl fmt::Display for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_base64())
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_base64())
    }
}

/// A partition's identity for its whole life: the topic's id, not its name, which may be given to another topic later.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct PartitionId {
    /// The topic.
    pub topic_id: TopicId,
    /// The partition's index in the topic.
    pub index: PartitionIndex,
}

impl fmt::Display for PartitionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.topic_id, self.index)
    }
}

/// A shard: one pinned core with its own executor, journal and partitions; from 0.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Debug)]
pub struct ShardId(pub u16);

impl ShardId {
    /// The shard's place in a `Vec` of shards.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topic_id_prints_as_kafka_does_and_reads_back() {
        // Kafka's id of __cluster_metadata is the UUID 0…01, which its tools print so.
        let mut id = TopicId::ZERO;
        id.0[15] = 1;
        assert_eq!(id.to_base64(), "AAAAAAAAAAAAAAAAAAAAAQ");
        for seed in 0..64u128 {
            let id = TopicId((seed.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835)).to_be_bytes());
            assert_eq!(TopicId::from_base64(&id.to_base64()), Some(id));
        }
        assert_eq!(TopicId::from_base64("AAAAAAAAAAAAAAAAAAAAAR"), None);
        assert_eq!(TopicId::from_base64("short"), None);
    }
}
