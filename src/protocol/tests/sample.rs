//! Arbitrary values, made of arbitrary bytes.

use bytes::Bytes;

use crate::protocol::wire::{Nullable, Version};
use crate::protocol::{ByteSlices, ErrorCode, KafkaString};
use crate::vocabulary::TopicId;

/// Arbitrary bytes to make values of. When they run out, values are the smallest of their type, so that proptest can
/// shrink a message by shrinking its bytes.
pub struct Entropy<'a>(pub &'a [u8]);

impl Entropy<'_> {
    fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((&first, rest)) => {
                self.0 = rest;
                first
            }
            None => 0,
        }
    }

    fn array<const N: usize>(&mut self) -> [u8; N] {
        std::array::from_fn(|_| self.byte())
    }
}

/// A type with a generator of values that can be sent in a version.
pub trait Sample: Sized {
    /// A value that may be null.
    fn sample(e: &mut Entropy, v: Version) -> Self;

    /// A value that is not null.
    fn sample_non_null(e: &mut Entropy, v: Version) -> Self {
        Self::sample(e, v)
    }
}

macro_rules! sample_integer {
    ($($ty:ty),+) => {$(
        impl Sample for $ty {
            fn sample(e: &mut Entropy, _: Version) -> Self {
                <$ty>::from_be_bytes(e.array())
            }
        }
    )+};
}

sample_integer!(i8, i16, i32, i64);

impl Sample for bool {
    fn sample(e: &mut Entropy, _: Version) -> Self {
        e.byte() & 1 == 1
    }
}

impl Sample for TopicId {
    fn sample(e: &mut Entropy, _: Version) -> Self {
        TopicId(e.array())
    }
}

impl Sample for ErrorCode {
    fn sample(e: &mut Entropy, _: Version) -> Self {
        ErrorCode::from_code(i16::from(e.byte()) % 135 - 1).expect("from -1 to 133")
    }
}

impl Sample for KafkaString {
    fn sample(e: &mut Entropy, _: Version) -> Self {
        // Now and then long enough for a compact length of two bytes.
        let shape = e.byte();
        let len = if shape >= 0xf8 { 126 + usize::from(shape & 7) } else { usize::from(shape & 7) };
        (0..len)
            .map(|_| ['a', 'Z', '.', '-', 'é', '漢', '🦀', '\0'][usize::from(e.byte() & 7)])
            .collect::<String>()
            .into()
    }
}

impl Sample for Bytes {
    fn sample(e: &mut Entropy, _: Version) -> Self {
        // Now and then large enough for a segment of its own.
        let shape = e.byte();
        let len = if shape >= 0xf0 { 1020 + usize::from(shape & 15) } else { usize::from(shape & 15) };
        (0..len).map(|_| e.byte()).collect()
    }
}

impl Sample for ByteSlices {
    fn sample(e: &mut Entropy, v: Version) -> Self {
        let pieces: Vec<Bytes> = Sample::sample(e, v);
        pieces.into()
    }
}

impl<T: Sample> Sample for Vec<T> {
    fn sample(e: &mut Entropy, v: Version) -> Self {
        (0..e.byte() & 3).map(|_| T::sample(e, v)).collect()
    }
}

impl<T: Sample + Nullable> Sample for Option<T> {
    fn sample(e: &mut Entropy, v: Version) -> Self {
        (e.byte() & 3 != 0).then(|| T::sample(e, v))
    }

    fn sample_non_null(e: &mut Entropy, v: Version) -> Self {
        Some(T::sample(e, v))
    }
}
