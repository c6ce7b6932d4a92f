//! Values that look like text: words by a skewed choice, as logs and JSON have them. Zeros would flatter any broker
//! that compresses, and any disk that does.

const WORDS: &[&str] = &[
    "the",
    "order",
    "of",
    "user",
    "a",
    "status",
    "and",
    "to",
    "payment",
    "request",
    "in",
    "shipped",
    "error",
    "id",
    "received",
    "timeout",
    "warehouse",
    "customer",
    "price",
    "at",
    "session",
    "login",
    "total",
    "retry",
    "amount",
    "currency",
    "item",
    "quantity",
    "region",
    "north",
    "cache",
    "latency",
    "stream",
    "partition",
    "offset",
    "commit",
    "device",
    "temperature",
    "sensor",
    "reading",
    "battery",
    "signal",
    "voltage",
    "click",
    "page",
    "referrer",
    "agent",
];

/// A generator of values. The same seed gives the same values.
pub struct Payload(u64);

impl Payload {
    /// With a seed, any number.
    pub fn new(seed: u64) -> Payload {
        Payload(seed ^ 0x9e37_79b9_7f4a_7c15)
    }

    /// The next value, of exactly `len` bytes.
    pub fn value(&mut self, len: usize) -> Vec<u8> {
        let mut value = Vec::with_capacity(len + 24);
        while value.len() < len {
            let bits = self.bits();
            if bits.is_multiple_of(8) {
                value.extend_from_slice(format!("{}", (bits >> 32) % 100_000).as_bytes());
            } else {
                // The smaller of two choices: early words are the common ones.
                let (a, b) = ((bits >> 8) as usize % WORDS.len(), (bits >> 32) as usize % WORDS.len());
                value.extend_from_slice(WORDS[a.min(b)].as_bytes());
            }
            value.push(if bits >> 60 == 0 { b'\n' } else { b' ' });
        }
        value.truncate(len);
        value
    }

    /// The SplitMix64 generator's next output.
    fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}
