//! Which partition of `__consumer_offsets` a group belongs to: as Kafka computes it, so that lag monitors that read the
//! topic find what they look for.

use crate::vocabulary::PartitionIndex;

/// The partition of a group among `partitions`, at least 1: Java's `Utils.abs(groupId.hashCode()) % partitions`.
pub fn partition_of(group_id: &str, partitions: i32) -> PartitionIndex {
    let hash = java_hash(group_id);
    // Kafka's Utils.abs maps the one integer that has no positive counterpart to 0.
    hash.checked_abs().unwrap_or(0) % partitions.max(1)
}

/// Java's `String.hashCode`, over UTF-16 code units.
fn java_hash(text: &str) -> i32 {
    text.encode_utf16().fold(0i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_as_java_does() {
        // Values of Java's String.hashCode; the last two are known to collide, and to hit Integer.MIN_VALUE.
        assert_eq!(java_hash(""), 0);
        assert_eq!(java_hash("a"), 97);
        assert_eq!(java_hash("hello"), 99_162_322);
        assert_eq!(java_hash("Aa"), java_hash("BB"));
        assert_eq!(java_hash("polygenelubricants"), i32::MIN);
        // A character outside of the basic plane is two units: 0xd83d, 0xde00.
        assert_eq!(java_hash("\u{1f600}"), 0xd83d * 31 + 0xde00);
    }

    #[test]
    fn every_hash_has_a_partition() {
        assert_eq!(partition_of("hello", 50), 22);
        assert_eq!(partition_of("polygenelubricants", 50), 0);
        // -1 has the hash -(…): any negative one lands at its absolute value.
        for id in ["", "group", "ein Name mit Umlauten: äöü", "zzzzzzzzzzzzzz"] {
            let partition = partition_of(id, 7);
            assert!((0..7).contains(&partition), "{id}: {partition}");
        }
    }
}
