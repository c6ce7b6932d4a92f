//! What records hold: text or orders from a seed, bytes of a real file, or bytes that compress to a given ratio.

use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, ensure};

use crate::orders::Orders;
use crate::random::Random;

/// Most bytes of a file that are read.
const FILE_BYTES_MAX: u64 = 256 << 20;

/// Where values come from, as the command line says it.
#[derive(Clone, Debug, PartialEq)]
pub enum PayloadKind {
    /// Text that looks like logs and JSON, from a seed.
    Seed(u64),
    /// The bytes of a file, one value behind the other, round and round.
    File(PathBuf),
    /// As many random bytes that a value compresses to about this ratio; 1 for not at all.
    Ratio(f64),
    /// Orders of a shop, from a seed.
    Orders(u64),
}

impl std::fmt::Display for PayloadKind {
    /// As the command line says it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PayloadKind::Seed(seed) => write!(f, "seed:{seed}"),
            PayloadKind::File(path) => write!(f, "file:{}", path.display()),
            PayloadKind::Ratio(ratio) => write!(f, "ratio:{ratio}"),
            PayloadKind::Orders(seed) => write!(f, "orders:{seed}"),
        }
    }
}

impl FromStr for PayloadKind {
    type Err = String;

    fn from_str(text: &str) -> Result<PayloadKind, String> {
        match text.split_once(':') {
            None if text == "seed" => Ok(PayloadKind::Seed(1)),
            Some(("seed", seed)) => {
                seed.parse().map(PayloadKind::Seed).map_err(|_| format!("'{seed}' is no seed: a number is"))
            }
            None if text == "orders" => Ok(PayloadKind::Orders(1)),
            Some(("orders", seed)) => {
                seed.parse().map(PayloadKind::Orders).map_err(|_| format!("'{seed}' is no seed: a number is"))
            }
            Some(("file", path)) if !path.is_empty() => Ok(PayloadKind::File(path.into())),
            Some(("ratio", ratio)) => match ratio.parse::<f64>() {
                Ok(ratio) if (1.0..=1000.0).contains(&ratio) => Ok(PayloadKind::Ratio(ratio)),
                _ => Err(format!("'{ratio}' is no ratio from 1 to 1000")),
            },
            _ => Err("it is seed, seed:N, orders, orders:N, file:PATH or ratio:X".to_owned()),
        }
    }
}

/// A generator of values.
#[derive(Clone, Debug)]
pub struct Payload {
    random: Random,
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    Text,
    File { bytes: std::sync::Arc<[u8]>, at: usize },
    Ratio(f64),
    Orders(Orders),
}

impl Payload {
    /// A generator of what `kind` says. The same kind and `stream` give the same values; streams differ.
    ///
    /// # Errors
    /// When the file cannot be read, is empty, or is larger than 256 MiB.
    pub fn open(kind: &PayloadKind, stream: u64) -> anyhow::Result<Payload> {
        let random = |seed: u64| Random::new(seed.wrapping_add(stream.wrapping_mul(0xd6e8_feb8_6659_fd93)));
        Ok(match kind {
            PayloadKind::Seed(seed) => Payload { random: random(*seed), source: Source::Text },
            PayloadKind::Ratio(ratio) => Payload { random: random(1), source: Source::Ratio(*ratio) },
            PayloadKind::Orders(seed) => Payload { random: random(*seed), source: Source::Orders(Orders::new(stream)) },
            PayloadKind::File(path) => {
                let context = || format!("payload file {}", path.display());
                let len = std::fs::metadata(path).with_context(context)?.len();
                ensure!(len <= FILE_BYTES_MAX, "{} has {len} bytes; at most {FILE_BYTES_MAX} are read", context());
                let bytes: std::sync::Arc<[u8]> = std::fs::read(path).with_context(context)?.into();
                ensure!(!bytes.is_empty(), "{} is empty", context());
                let mut random = random(1);
                let at = if stream == 0 { 0 } else { random.below(bytes.len() as u64) as usize };
                Payload { random, source: Source::File { bytes, at } }
            }
        })
    }

    /// Appends the next value, of exactly `len` bytes.
    pub fn append(&mut self, out: &mut Vec<u8>, len: usize) {
        let end = out.len() + len;
        match &mut self.source {
            Source::Text => append_text(&mut self.random, out, end),
            Source::Orders(orders) => orders.append(&mut self.random, out, len),
            Source::File { bytes, at } => {
                while out.len() < end {
                    let piece = &bytes[*at..bytes.len().min(*at + end - out.len())];
                    out.extend_from_slice(piece);
                    *at = (*at + piece.len()) % bytes.len();
                }
            }
            Source::Ratio(ratio) => {
                // What is not random is nothing to any codec but the few bytes that say how long it is.
                let random_end = out.len() + (len as f64 / *ratio).round() as usize;
                while out.len() < random_end {
                    out.extend_from_slice(&self.random.bits().to_le_bytes());
                }
                out.truncate(random_end);
                out.resize(end, 0);
            }
        }
    }
}

fn append_text(random: &mut Random, out: &mut Vec<u8>, end: usize) {
    while out.len() < end {
        let bits = random.bits();
        if bits.is_multiple_of(8) {
            out.extend_from_slice(((bits >> 32) % 100_000).to_string().as_bytes());
        } else {
            // The smaller of two choices: early words are the common ones.
            let (a, b) = ((bits >> 8) as usize % WORDS.len(), (bits >> 32) as usize % WORDS.len());
            out.extend_from_slice(WORDS[a.min(b)].as_bytes());
        }
        out.push(if bits >> 60 == 0 { b'\n' } else { b' ' });
    }
    out.truncate(end);
}

#[rustfmt::skip]
const WORDS: &[&str] = &[
    "the", "order", "of", "user", "a", "status", "and", "to", "payment", "request", "in", "shipped", "error", "id",
    "received", "timeout", "warehouse", "customer", "price", "at", "session", "login", "total", "retry", "amount",
    "currency", "item", "quantity", "region", "north", "cache", "latency", "stream", "partition", "offset", "commit",
    "device", "temperature", "sensor", "reading", "battery", "signal", "voltage", "click", "page", "referrer", "agent",
];

#[cfg(test)]
mod tests {
    use std::io::Write;

    use corelog::record::{Compression, compress};

    use super::*;

    fn values(kind: &PayloadKind, stream: u64, count: usize, len: usize) -> Vec<u8> {
        let mut payload = Payload::open(kind, stream).expect("a payload");
        let mut out = Vec::new();
        for _ in 0..count {
            payload.append(&mut out, len);
        }
        assert_eq!(out.len(), count * len);
        out
    }

    #[test]
    fn a_seed_and_a_stream_give_the_same_text_again() {
        let kind = PayloadKind::Seed(5);
        assert_eq!(values(&kind, 2, 3, 100), values(&kind, 2, 3, 100));
        assert_ne!(values(&kind, 2, 3, 100), values(&kind, 3, 3, 100));
        assert_ne!(values(&kind, 2, 3, 100), values(&PayloadKind::Seed(6), 2, 3, 100));
    }

    #[test]
    fn a_ratio_is_what_codecs_make_of_it() {
        for ratio in [1.0, 2.0, 4.0, 10.0] {
            let bytes = values(&PayloadKind::Ratio(ratio), 0, 100, 1000);
            for codec in [Compression::Lz4, Compression::Zstd, Compression::Snappy, Compression::Gzip] {
                let compressed = compress(codec, &bytes).expect("compress");
                let reached = bytes.len() as f64 / compressed.len() as f64;
                // Snappy spends three bytes on each 64 that repeat.
                let floor = if codec == Compression::Snappy { 0.6 } else { 0.8 };
                assert!((floor * ratio..=1.1 * ratio).contains(&reached), "{codec:?}: {reached} instead of {ratio}");
            }
        }
    }

    #[test]
    fn a_file_is_read_round_and_round() {
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(b"abcde").expect("written");
        assert_eq!(values(&PayloadKind::File(file.path().into()), 0, 3, 4), b"abcdeabcdeab");
        let empty = tempfile::NamedTempFile::new().expect("a file");
        let error = Payload::open(&PayloadKind::File(empty.path().into()), 0).expect_err("an empty file");
        assert!(error.to_string().ends_with("is empty"), "{error}");
    }

    #[test]
    fn the_command_line_is_understood_or_refused() {
        assert_eq!("seed".parse(), Ok(PayloadKind::Seed(1)));
        assert_eq!("seed:9".parse(), Ok(PayloadKind::Seed(9)));
        assert_eq!("file:/a:b".parse(), Ok(PayloadKind::File("/a:b".into())));
        assert_eq!("orders".parse(), Ok(PayloadKind::Orders(1)));
        assert_eq!("orders:9".parse(), Ok(PayloadKind::Orders(9)));
        assert_eq!("ratio:2.5".parse(), Ok(PayloadKind::Ratio(2.5)));
        for text in ["seed:9", "orders:3", "file:/a:b", "ratio:2.5"] {
            assert_eq!(text.parse::<PayloadKind>().map(|kind| kind.to_string()), Ok(text.to_owned()));
        }
        for bad in ["", "text", "seed:x", "orders:", "file:", "ratio:0.5", "ratio:NaN"] {
            assert!(bad.parse::<PayloadKind>().is_err(), "{bad}");
        }
    }
}
