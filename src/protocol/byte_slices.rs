//! A byte field in several pieces, so that records are sent from the chunks of memory in which they lie.

use bytes::Bytes;

use super::decode_error::{DecodeError, DecodeFault};
use super::reader::Reader;
use super::wire::{Nullable, Version, Wire};
use super::writer::Writer;

/// Bytes that stand one behind the other on the wire, as slices of any memory. Equal when the bytes are.
#[derive(Clone, Debug, Default)]
pub struct ByteSlices {
    slices: Vec<Bytes>,
    len: usize,
}

impl ByteSlices {
    /// No bytes.
    pub fn new() -> ByteSlices {
        ByteSlices::default()
    }

    /// How many bytes there are in all slices.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The slices, in order.
    pub fn slices(&self) -> &[Bytes] {
        &self.slices
    }

    /// The same bytes in one piece; copied unless they are in one already.
    pub fn to_bytes(&self) -> Bytes {
        match &self.slices[..] {
            [one] => one.clone(),
            slices => slices.concat().into(),
        }
    }
}

impl From<Vec<Bytes>> for ByteSlices {
    fn from(slices: Vec<Bytes>) -> ByteSlices {
        let len = slices.iter().map(Bytes::len).sum();
        ByteSlices { slices, len }
    }
}

impl From<Bytes> for ByteSlices {
    fn from(bytes: Bytes) -> ByteSlices {
        ByteSlices { len: bytes.len(), slices: vec![bytes] }
    }
}

impl PartialEq for ByteSlices {
    fn eq(&self, other: &ByteSlices) -> bool {
        let bytes = |slices: &ByteSlices| slices.slices.clone().into_iter().flatten();
        self.len == other.len && bytes(self).eq(bytes(other))
    }
}

impl Eq for ByteSlices {}

impl Wire for ByteSlices {
    #[inline]
    fn min_len(version: Version) -> usize {
        Bytes::min_len(version)
    }

    #[inline]
    fn read(r: &mut Reader, version: Version) -> Result<Self, DecodeError> {
        Self::read_nullable(r, version)?.ok_or_else(|| r.error(DecodeFault::UnexpectedNull))
    }

    #[inline]
    fn write(&self, w: &mut Writer, version: Version) {
        w.write_nullable_slices(Some(self), version.flexible);
    }
}

impl Nullable for ByteSlices {
    #[inline]
    fn nullable_min_len(version: Version) -> usize {
        Self::min_len(version)
    }

    #[inline]
    fn read_nullable(r: &mut Reader, version: Version) -> Result<Option<Self>, DecodeError> {
        Ok(r.read_nullable_bytes(version.flexible)?.map(ByteSlices::from))
    }

    #[inline]
    fn write_nullable(value: Option<&Self>, w: &mut Writer, version: Version) {
        w.write_nullable_slices(value, version.flexible);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn pieces_stand_on_the_wire_as_one_field(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..1500), 0..5),
            flexible: bool,
        ) {
            let version = Version { number: 0, flexible };
            let slices = ByteSlices::from(pieces.iter().cloned().map(Bytes::from).collect::<Vec<_>>());
            let whole = Bytes::from(pieces.concat());
            prop_assert_eq!(slices.to_bytes(), &whole);
            prop_assert_eq!(&slices, &ByteSlices::from(whole.clone()));
            let (mut in_pieces, mut in_one) = (Writer::new(), Writer::new());
            slices.write(&mut in_pieces, version);
            whole.write(&mut in_one, version);
            let bytes = in_pieces.finish().into_bytes();
            prop_assert_eq!(&bytes, &in_one.finish().into_bytes());
            prop_assert_eq!(ByteSlices::read(&mut Reader::new(bytes), version), Ok(slices));
        }
    }

    #[test]
    fn other_bytes_are_not_equal() {
        let slices = |pieces: &[&'static [u8]]| {
            ByteSlices::from(pieces.iter().map(|piece| Bytes::from_static(piece)).collect::<Vec<_>>())
        };
        assert_eq!(slices(&[b"ab", b"", b"c"]), slices(&[b"a", b"bc"]));
        assert_ne!(slices(&[b"ab", b"c"]), slices(&[b"ab", b"d"]));
        assert_ne!(slices(&[b"ab"]), slices(&[b"ab", b"d"]));
    }
}
