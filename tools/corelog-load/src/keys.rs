//! Which key a record has, and which partition that gives.

use std::str::FromStr;

use crate::random::Random;

/// How keys are drawn, as the command line says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    /// Records have no key.
    None,
    /// Each of so many keys is as likely as the others.
    Uniform(u64),
    /// Of so many keys the n-th is 1/n as likely as the first.
    Zipf(u64),
}

impl FromStr for KeyKind {
    type Err = String;

    fn from_str(text: &str) -> Result<KeyKind, String> {
        let count = |count: &str| match count.parse() {
            Ok(count) if count > 0 => Ok(count),
            _ => Err(format!("'{count}' is no number of keys")),
        };
        match text.split_once(':') {
            None if text == "none" => Ok(KeyKind::None),
            Some(("uniform", keys)) => count(keys).map(KeyKind::Uniform),
            Some(("zipf", keys)) => count(keys).map(KeyKind::Zipf),
            _ => Err("it is none, uniform:N or zipf:N".to_owned()),
        }
    }
}

/// Draws keys.
#[derive(Clone, Debug)]
pub struct Keys {
    kind: KeyKind,
    random: Random,
}

impl Keys {
    /// Draws as `kind` says, from a seed.
    pub fn new(kind: KeyKind, seed: u64) -> Keys {
        Keys { kind, random: Random::new(seed) }
    }

    /// The next key's number, from 0; `None` without keys.
    pub fn draw(&mut self) -> Option<u64> {
        match self.kind {
            KeyKind::None => None,
            KeyKind::Uniform(count) => Some(self.random.below(count)),
            KeyKind::Zipf(count) => Some(self.zipf(count)),
        }
    }

    /// Rejection sampling under the curve 1/x, whose area is a logarithm: no table, whatever the number of keys. A bar
    /// of height 1/k stands over k − 1 to k; the curve min(1, 1/x) lies above all bars.
    fn zipf(&mut self, count: u64) -> u64 {
        let area = 1.0 + (count as f64).ln();
        loop {
            let under = self.random.unit() * area;
            let x = if under < 1.0 { under } else { (under - 1.0).exp() };
            let rank = (x.floor() + 1.0).min(count as f64);
            let curve = if x < 1.0 { 1.0 } else { 1.0 / x };
            if self.random.unit() * curve <= 1.0 / rank {
                return rank as u64 - 1;
            }
        }
    }
}

/// The bytes of key number `number`: the same number of them for all keys below 10¹⁰.
pub fn key_bytes(number: u64) -> Vec<u8> {
    format!("key-{number:010}").into_bytes()
}

/// The partition of a key as Kafka's clients choose it (`BuiltInPartitioner`): its murmur2 hash, without the sign.
pub fn partition_of(key: &[u8], partitions: usize) -> usize {
    (murmur2(key) & 0x7fff_ffff) as usize % partitions
}

/// MurmurHash2 with Kafka's seed.
fn murmur2(bytes: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    let mut hash = SEED ^ bytes.len() as u32;
    let mut words = bytes.chunks_exact(4);
    for word in &mut words {
        let mut k = word.iter().rev().fold(0, |k: u32, &byte| k << 8 | u32::from(byte)).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        hash ^= rest.iter().rev().fold(0, |k: u32, &byte| k << 8 | u32::from(byte));
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_those_of_kafka() {
        // From the tests of Kafka's org.apache.kafka.common.utils.Utils.
        for (key, hash) in [
            ("21", -973_932_308),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(key.as_bytes()) as i32, hash, "{key}");
        }
        assert_eq!(partition_of(b"21", 1000), (-973_932_308_i32 & i32::MAX) as usize % 1000);
    }

    #[test]
    fn the_nth_key_of_a_zipf_distribution_is_drawn_an_nth_as_often() {
        const DRAWS: usize = 200_000;
        const COUNT: u64 = 1000;
        let mut keys = Keys::new(KeyKind::Zipf(COUNT), 7);
        let mut seen = vec![0; COUNT as usize];
        for _ in 0..DRAWS {
            seen[keys.draw().expect("a key") as usize] += 1;
        }
        let sum: f64 = (1..=COUNT).map(|rank| 1.0 / rank as f64).sum();
        for rank in [1, 2, 3, 10, 100] {
            let expected = DRAWS as f64 / sum / rank as f64;
            let share = f64::from(seen[rank - 1]) / expected;
            assert!((0.85..1.15).contains(&share), "rank {rank}: {share} of what it should be");
        }
        assert!(seen[500..].iter().any(|&count| count > 0));
    }

    #[test]
    fn uniform_keys_are_drawn_alike_and_no_keys_never() {
        let mut keys = Keys::new(KeyKind::Uniform(4), 7);
        let mut seen = [0; 4];
        for _ in 0..4000 {
            seen[keys.draw().expect("a key") as usize] += 1;
        }
        assert!(seen.iter().all(|count| (850..1150).contains(count)), "{seen:?}");
        assert_eq!(Keys::new(KeyKind::None, 7).draw(), None);
    }

    #[test]
    fn the_command_line_is_understood_or_refused() {
        assert_eq!("none".parse(), Ok(KeyKind::None));
        assert_eq!("uniform:5".parse(), Ok(KeyKind::Uniform(5)));
        assert_eq!("zipf:1000".parse(), Ok(KeyKind::Zipf(1000)));
        for bad in ["", "zipf", "zipf:0", "uniform:-1", "none:1"] {
            assert!(bad.parse::<KeyKind>().is_err(), "{bad}");
        }
    }
}
