//! Reading Kafka's primitive types from a frame, with every bound checked.

use bytes::Bytes;

use super::decode_error::{DecodeError, DecodeFault, UNNAMED};
use super::kafka_string::KafkaString;
use crate::vocabulary::TopicId;

/// The longest string that Kafka allows on the wire, in bytes: its length is an `int16` in the older encoding, and
/// Kafka applies the same limit to the newer one.
pub const STRING_BYTES_MAX: usize = i16::MAX as usize;

/// A cursor over the bytes of one message.
///
/// Strings and byte fields come out as slices that share the frame's memory: nothing is copied, and the frame lives
/// as long as any of them. No method panics or reserves memory, whatever the bytes say.
#[derive(Debug, Clone)]
pub struct Reader {
    bytes: Bytes,
    /// Never behind the end of `bytes`.
    position: usize,
}

impl Reader {
    /// A reader at the start of `bytes`.
    pub fn new(bytes: Bytes) -> Reader {
        Reader { bytes, position: 0 }
    }

    /// How many bytes have been read.
    #[inline]
    pub fn position(&self) -> usize {
        self.position
    }

    /// How many bytes are left.
    #[inline]
    pub fn remaining(&self) -> usize {
        self.bytes.len() - self.position
    }

    /// Fails unless everything has been read.
    #[inline]
    pub fn finish(&self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            left => Err(self.error(DecodeFault::Leftover(left))),
        }
    }

    /// An error at the present position.
    #[cold]
    pub(crate) fn error(&self, fault: DecodeFault) -> DecodeError {
        DecodeError { fault, position: self.position, field: UNNAMED }
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        match self.bytes[self.position..].first_chunk::<N>() {
            Some(chunk) => {
                self.position += N;
                Ok(*chunk)
            }
            None => Err(self.error(DecodeFault::Truncated { needed: N, remaining: self.remaining() })),
        }
    }

    /// Kafka's `int8`.
    #[inline]
    pub fn read_i8(&mut self) -> Result<i8, DecodeError> {
        self.array().map(i8::from_be_bytes)
    }

    /// Kafka's `int16`.
    #[inline]
    pub fn read_i16(&mut self) -> Result<i16, DecodeError> {
        self.array().map(i16::from_be_bytes)
    }

    /// Kafka's `int32`.
    #[inline]
    pub fn read_i32(&mut self) -> Result<i32, DecodeError> {
        self.array().map(i32::from_be_bytes)
    }

    /// Kafka's `int64`.
    #[inline]
    pub fn read_i64(&mut self) -> Result<i64, DecodeError> {
        self.array().map(i64::from_be_bytes)
    }

    /// Kafka's `bool`: one byte, true unless zero.
    #[inline]
    pub fn read_bool(&mut self) -> Result<bool, DecodeError> {
        self.array().map(|[byte]: [u8; 1]| byte != 0)
    }

    /// Kafka's `uuid`.
    #[inline]
    pub fn read_uuid(&mut self) -> Result<TopicId, DecodeError> {
        self.array().map(TopicId)
    }

    /// An unsigned variable-length integer (KIP-482): seven bits a byte, the lowest first, at most 32 bits.
    #[inline]
    pub fn read_unsigned_varint(&mut self) -> Result<u32, DecodeError> {
        let [first] = self.array()?;
        if first < 0x80 { Ok(u32::from(first)) } else { self.rest_of_varint(first) }
    }

    fn rest_of_varint(&mut self, first: u8) -> Result<u32, DecodeError> {
        let mut value = u32::from(first & 0x7f);
        for shift in [7, 14, 21, 28] {
            let [byte] = self.array()?;
            if shift == 28 && byte > 0x0f {
                break;
            }
            value |= u32::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(self.error(DecodeFault::VarintTooLong))
    }

    /// The next `len` bytes, sharing the frame's memory.
    #[inline]
    pub fn read_slice(&mut self, len: usize) -> Result<Bytes, DecodeError> {
        let remaining = self.remaining();
        if len > remaining {
            return Err(self.error(DecodeFault::Truncated { needed: len, remaining }));
        }
        let start = self.position;
        self.position += len;
        Ok(self.bytes.slice(start..self.position))
    }

    /// The length of a string; `None` for null. Compact lengths are one more than the length, with 0 for null.
    #[inline]
    fn string_len(&mut self, flexible: bool) -> Result<Option<usize>, DecodeError> {
        if flexible {
            match self.read_unsigned_varint()? {
                0 => Ok(None),
                more if more as usize <= STRING_BYTES_MAX + 1 => Ok(Some(more as usize - 1)),
                more => Err(self.error(DecodeFault::StringTooLong(more - 1))),
            }
        } else {
            match self.read_i16()? {
                -1 => Ok(None),
                len => match usize::try_from(len) {
                    Ok(len) => Ok(Some(len)),
                    Err(_) => Err(self.error(DecodeFault::NegativeLength(i32::from(len)))),
                },
            }
        }
    }

    /// The number of elements of an array, or the length of a byte field; `None` for null.
    #[inline]
    pub(super) fn read_count(&mut self, flexible: bool) -> Result<Option<u32>, DecodeError> {
        if flexible {
            self.read_unsigned_varint().map(|more| more.checked_sub(1))
        } else {
            match self.read_i32()? {
                -1 => Ok(None),
                count => match u32::try_from(count) {
                    Ok(count) => Ok(Some(count)),
                    Err(_) => Err(self.error(DecodeFault::NegativeLength(count))),
                },
            }
        }
    }

    /// A nullable string: Kafka's `string`, compact when `flexible`.
    #[inline]
    pub fn read_nullable_string(&mut self, flexible: bool) -> Result<Option<KafkaString>, DecodeError> {
        let Some(len) = self.string_len(flexible)? else { return Ok(None) };
        let bytes = self.read_slice(len)?;
        match KafkaString::from_utf8(bytes) {
            Some(string) => Ok(Some(string)),
            None => {
                self.position -= len;
                Err(self.error(DecodeFault::NotUtf8))
            }
        }
    }

    /// A nullable byte field: Kafka's `bytes` and `records`, compact when `flexible`.
    #[inline]
    pub fn read_nullable_bytes(&mut self, flexible: bool) -> Result<Option<Bytes>, DecodeError> {
        match self.read_count(flexible)? {
            None => Ok(None),
            Some(len) => self.read_slice(len as usize).map(Some),
        }
    }

    /// The tagged fields at the end of a flexible struct (KIP-482).
    ///
    /// `known` gets each tag with a reader that ends with the field; it returns false for a tag it does not know,
    /// which is skipped. A known field must be read to its end.
    pub(crate) fn read_tagged_fields(&mut self, known: &mut TaggedField<'_>) -> Result<(), DecodeError> {
        let count = self.read_unsigned_varint()?;
        // Each turn takes at least two bytes, so the frame's length bounds the loop, whatever the count.
        for _ in 0..count {
            let tag = self.read_unsigned_varint()?;
            let len = self.read_unsigned_varint()? as usize;
            let remaining = self.remaining();
            if len > remaining {
                return Err(self.error(DecodeFault::Truncated { needed: len, remaining }));
            }
            let end = self.position + len;
            let mut field = Reader { bytes: self.bytes.slice(..end), position: self.position };
            if known(tag, &mut field)? {
                field.finish()?;
            }
            self.position = end;
        }
        Ok(())
    }
}

/// Reads the tagged field that has this tag, or returns false when there is none.
pub(super) type TaggedField<'a> = dyn FnMut(u32, &mut Reader) -> Result<bool, DecodeError> + 'a;

#[cfg(test)]
mod tests {
    use super::*;

    fn reader(bytes: &'static [u8]) -> Reader {
        Reader::new(Bytes::from_static(bytes))
    }

    fn fault<T: std::fmt::Debug>(result: Result<T, DecodeError>) -> DecodeFault {
        result.expect_err("bad bytes").fault
    }

    #[test]
    fn integers_are_big_endian() {
        let mut r = reader(&[0xff, 1, 2, 0, 0, 1, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 2]);
        assert_eq!(r.read_i8(), Ok(-1));
        assert_eq!(r.read_i16(), Ok(0x0102));
        assert_eq!(r.read_i32(), Ok(0x100));
        assert_eq!(r.read_i64(), Ok(i64::MIN));
        assert_eq!(r.read_bool(), Ok(true), "any byte but zero is true");
        assert_eq!(fault(r.read_i8()), DecodeFault::Truncated { needed: 1, remaining: 0 });
        assert_eq!(r.finish(), Ok(()));
    }

    #[test]
    fn varints_hold_32_bits_and_no_more() {
        assert_eq!(reader(&[0x7f]).read_unsigned_varint(), Ok(127));
        assert_eq!(reader(&[0xac, 0x02]).read_unsigned_varint(), Ok(300));
        assert_eq!(reader(&[0xff, 0xff, 0xff, 0xff, 0x0f]).read_unsigned_varint(), Ok(u32::MAX));
        let too_long = DecodeFault::VarintTooLong;
        assert_eq!(fault(reader(&[0xff, 0xff, 0xff, 0xff, 0x1f]).read_unsigned_varint()), too_long);
        assert_eq!(fault(reader(&[0xff, 0xff, 0xff, 0xff, 0xff, 1]).read_unsigned_varint()), too_long);
        assert!(matches!(fault(reader(&[0x80]).read_unsigned_varint()), DecodeFault::Truncated { .. }));
    }

    #[test]
    fn strings_and_bytes_share_the_frame() {
        let frame = Bytes::from_static(b"\x00\x02ab\x03cd\xff\xff\x00\x00\x00\x00\x01efg");
        let mut r = Reader::new(frame.clone());
        let first = r.read_nullable_string(false).unwrap().unwrap();
        assert_eq!(first, "ab");
        assert_eq!(first.as_bytes().as_ptr(), frame[2..].as_ptr());
        assert_eq!(r.read_nullable_string(true).unwrap().unwrap(), "cd");
        assert_eq!(r.read_nullable_string(false), Ok(None));
        assert_eq!(r.read_nullable_string(true), Ok(None));
        assert_eq!(r.read_nullable_bytes(false).unwrap().unwrap(), "e".as_bytes());
        assert_eq!(fault(r.finish()), DecodeFault::Leftover(2));
    }

    #[test]
    fn lengths_are_checked() {
        assert_eq!(fault(reader(&[0xff, 0xfe]).read_nullable_string(false)), DecodeFault::NegativeLength(-2));
        assert_eq!(fault(reader(&[0x81, 0x80, 2]).read_nullable_string(true)), DecodeFault::StringTooLong(32768));
        assert_eq!(
            fault(reader(&[0x80, 0x80, 2]).read_nullable_string(true)),
            DecodeFault::Truncated { needed: 32767, remaining: 0 }
        );
        assert_eq!(fault(reader(&[0, 1, 0xff]).read_nullable_string(false)), DecodeFault::NotUtf8);
        assert_eq!(
            fault(reader(&[0x7f, 0xff, 0xff, 0xff, 0]).read_nullable_bytes(false)),
            DecodeFault::Truncated { needed: i32::MAX as usize, remaining: 1 }
        );
    }

    #[test]
    fn a_tagged_field_must_end_where_it_says() {
        let mut seen = Vec::new();
        let mut r = reader(&[2, 9, 1, 7, 0, 1, 5]);
        r.read_tagged_fields(&mut |tag, field| {
            if tag != 0 {
                return Ok(false);
            }
            seen.push(field.read_i8()?);
            Ok(true)
        })
        .unwrap();
        assert_eq!(seen, [5], "the unknown tag 9 is skipped");
        assert_eq!(r.finish(), Ok(()));

        let long = reader(&[1, 0, 2, 5, 5]).read_tagged_fields(&mut |_, field| field.read_i8().map(|_| true));
        assert_eq!(fault(long), DecodeFault::Leftover(1));
        let short = reader(&[1, 0, 1, 5, 5]).read_tagged_fields(&mut |_, field| field.read_i16().map(|_| true));
        assert_eq!(fault(short), DecodeFault::Truncated { needed: 2, remaining: 1 }, "not the bytes behind the field");
        let cut = reader(&[1, 0, 9, 5]).read_tagged_fields(&mut |_, _| Ok(false));
        assert_eq!(fault(cut), DecodeFault::Truncated { needed: 9, remaining: 1 });
    }
}
