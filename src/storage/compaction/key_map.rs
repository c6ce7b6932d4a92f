//! The newest offset of each key, in a table whose size does not depend on the keys (as Kafka's `SkimpyOffsetMap`).
//!
//! A key is its 128-bit hash: two SipHashes with secret keys of their own, drawn anew for each map, so that no producer
//! can aim at a collision. Among 2³² keys, more than a table of 96 GiB holds, two collide with a probability of 2⁻⁶⁵;
//! the older of two keys that do would lose its record.
//!
//! Open addressing with linear probing, at most nine tenths full. A slot is 24 bytes: the hash, and the offset plus one,
//! so that fresh zeroed memory is an empty table that the kernel backs only where it is touched.

use std::hash::{BuildHasher, Hasher, RandomState};

use crate::vocabulary::Offset;

/// Bytes of a slot.
pub const SLOT_BYTES: usize = 24;
/// Kafka's `log.cleaner.io.buffer.load.factor`: how full the table gets, in tenths.
const LOAD_TENTHS: usize = 9;
/// The smallest table, in slots.
const SLOTS_MIN: usize = 2;

/// The hash, and the offset plus one; 0 in the last word for a free slot. A plain array, so that a new table is zeroed
/// memory.
type Slot = [u64; 3];
const FREE: Slot = [0; 3];
const OFFSET: usize = 2;

const _: () = assert!(size_of::<Slot>() == SLOT_BYTES);

/// The newest offset of each key.
pub struct KeyMap {
    hashers: [RandomState; 2],
    slots: Vec<Slot>,
    len: usize,
}

impl KeyMap {
    /// An empty map of at most `bytes` of memory that takes at most `keys_max` keys.
    pub fn new(bytes: usize, keys_max: u64) -> KeyMap {
        let wanted = keys_max.saturating_mul(10) / LOAD_TENTHS as u64 + 1;
        let slots = (bytes / SLOT_BYTES).min(usize::try_from(wanted).unwrap_or(usize::MAX)).max(SLOTS_MIN);
        KeyMap { hashers: [RandomState::new(), RandomState::new()], slots: vec![FREE; slots], len: 0 }
    }

    /// How many keys there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there is no key.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many keys it takes.
    pub fn capacity(&self) -> usize {
        (self.slots.len() * LOAD_TENTHS / 10).max(1)
    }

    /// Sets a key's offset, at least 0. `false`, and nothing is set, when the key is new and the map is full.
    #[must_use]
    pub fn put(&mut self, key: &[u8], offset: Offset) -> bool {
        let hash = self.hash(key);
        let at = self.slot_of(hash);
        if self.slots[at][OFFSET] == 0 {
            if self.len == self.capacity() {
                return false;
            }
            self.len += 1;
        }
        self.slots[at] = [hash[0], hash[1], offset as u64 + 1];
        true
    }

    /// A key's offset.
    pub fn get(&self, key: &[u8]) -> Option<Offset> {
        let slot = self.slots[self.slot_of(self.hash(key))];
        slot[OFFSET].checked_sub(1).map(|offset| offset as Offset)
    }

    fn hash(&self, key: &[u8]) -> [u64; 2] {
        let hash = |state: &RandomState| {
            let mut hasher = state.build_hasher();
            hasher.write(key);
            hasher.finish()
        };
        [hash(&self.hashers[0]), hash(&self.hashers[1])]
    }

    /// The slot that has the hash, or the free one where it belongs. There is always a free one.
    fn slot_of(&self, hash: [u64; 2]) -> usize {
        let count = self.slots.len();
        // The high part of the product spreads over all slots, whatever their number.
        let mut at = ((u128::from(hash[0]) * count as u128) >> 64) as usize;
        while self.slots[at][OFFSET] != 0 && self.slots[at][..OFFSET] != hash {
            at = if at + 1 == count { 0 } else { at + 1 };
        }
        at
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashMap;

    #[test]
    fn a_full_map_takes_known_keys_only() {
        let mut map = KeyMap::new(10 * SLOT_BYTES, 1000);
        assert_eq!(map.capacity(), 9);
        for key in 0..9u8 {
            assert!(map.put(&[key], i64::from(key)));
        }
        assert!(!map.put(b"new", 20));
        assert!(map.put(&[3], 21));
        assert_eq!((map.get(&[3]), map.get(b"new"), map.len()), (Some(21), None, 9));
    }

    #[test]
    fn its_memory_is_that_of_the_keys_that_can_come_or_less() {
        assert_eq!(KeyMap::new(1 << 30, 0).slots.len(), SLOTS_MIN);
        assert!(KeyMap::new(1 << 30, 90).capacity() >= 90);
        assert!(KeyMap::new(1 << 30, 90).slots.len() <= 101);
        assert_eq!(KeyMap::new(2400, u64::MAX).slots.len(), 100);
        assert_eq!(KeyMap::new(0, u64::MAX).capacity(), 1, "one key at least, or nothing would ever be cleaned");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_is_a_map(puts in prop::collection::vec("[ab]{0,6}", 0..300), slots in 2usize..200) {
            let mut map = KeyMap::new(slots * SLOT_BYTES, 10_000);
            let mut model: HashMap<&[u8], Offset> = HashMap::new();
            for (offset, key) in puts.iter().enumerate() {
                let taken = map.put(key.as_bytes(), offset as Offset);
                prop_assert_eq!(taken, model.contains_key(key.as_bytes()) || model.len() < map.capacity());
                if taken {
                    model.insert(key.as_bytes(), offset as Offset);
                }
            }
            prop_assert_eq!(map.len(), model.len());
            for key in &puts {
                prop_assert_eq!(map.get(key.as_bytes()), model.get(key.as_bytes()).copied());
            }
        }
    }
}
