//! Writing messages as a list of byte segments, so that record bytes are sent from where they are.

use bytes::Bytes;
use thiserror::Error;

use super::byte_slices::ByteSlices;
use super::kafka_string::KafkaString;
use super::reader::STRING_BYTES_MAX;
use crate::vocabulary::TopicId;

/// Byte fields of at least this size become segments of their own; smaller ones are copied. Another entry in the
/// vector of a `sendmsg` costs about as much as copying this many bytes.
pub const SEGMENT_BYTES_MIN: usize = 1024;

/// The space a new writer reserves: most responses without records fit.
const INITIAL_BYTES: usize = 256;

/// A frame, or a message, ready to be sent: its segments in order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Encoded {
    /// The bytes; no segment is empty.
    pub segments: Vec<Bytes>,
    /// The sum of the segments' lengths, in bytes.
    pub len: usize,
}

impl Encoded {
    /// All segments in one; copies unless there is only one.
    pub fn into_bytes(mut self) -> Bytes {
        match self.segments.len() {
            0 => Bytes::new(),
            1 => self.segments.remove(0),
            _ => Bytes::from(self.segments.concat()),
        }
    }
}

/// A frame longer than its `int32` size field can say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a frame of {len} bytes is longer than Kafka's frames can be (2147483647 bytes): ask for less at once")]
pub struct FrameTooLarge {
    /// The frame's length without its size field, in bytes.
    pub len: usize,
}

/// Collects the bytes of messages: small values in one growing buffer, large byte fields as segments of their own.
///
/// A frame is bracketed by [`begin_frame`](Writer::begin_frame) and [`end_frame`](Writer::end_frame), which put its
/// 4-byte size in front. One writer can hold several frames, one after the other, to be sent with one system call.
#[derive(Debug)]
pub struct Writer {
    small: Vec<u8>,
    /// Segments, each with the length that `small` had when it was added: it goes between the bytes before and after.
    segments: Vec<(usize, Bytes)>,
    segments_len: usize,
    frame: Option<OpenFrame>,
}

#[derive(Debug, Clone, Copy)]
struct OpenFrame {
    /// Where in `small` the size field is.
    size_field: usize,
    /// The writer's length just behind the size field.
    start: usize,
}

impl Default for Writer {
    fn default() -> Writer {
        Writer::new()
    }
}

impl Writer {
    /// An empty writer.
    pub fn new() -> Writer {
        Writer { small: Vec::with_capacity(INITIAL_BYTES), segments: Vec::new(), segments_len: 0, frame: None }
    }

    /// How many bytes have been written, size fields included.
    pub fn len(&self) -> usize {
        self.small.len() + self.segments_len
    }

    /// Whether nothing has been written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Starts a frame: leaves room for its 4-byte size.
    ///
    /// # Panics
    /// When a frame is open already.
    pub fn begin_frame(&mut self) {
        assert!(self.frame.is_none(), "a frame is ended before the next begins");
        let size_field = self.small.len();
        self.small.extend_from_slice(&[0; 4]);
        self.frame = Some(OpenFrame { size_field, start: self.len() });
    }

    /// Ends the frame: writes its size, which does not count the size field itself.
    ///
    /// # Errors
    /// [`FrameTooLarge`] from 2 GiB on; the writer is then of no further use.
    ///
    /// # Panics
    /// When no frame is open.
    pub fn end_frame(&mut self) -> Result<(), FrameTooLarge> {
        let frame = self.frame.take().expect("a frame is begun before it is ended");
        let len = self.len() - frame.start;
        let size = i32::try_from(len).map_err(|_| FrameTooLarge { len })?;
        self.small[frame.size_field..frame.size_field + 4].copy_from_slice(&size.to_be_bytes());
        Ok(())
    }

    /// What has been written.
    pub fn finish(self) -> Encoded {
        debug_assert!(self.frame.is_none(), "a frame is ended before the writer is finished");
        let len = self.len();
        let small = Bytes::from(self.small);
        if self.segments.is_empty() {
            let segments = if small.is_empty() { Vec::new() } else { vec![small] };
            return Encoded { segments, len };
        }
        let mut segments = Vec::with_capacity(2 * self.segments.len() + 1);
        let mut done = 0;
        for (position, segment) in self.segments {
            if position > done {
                segments.push(small.slice(done..position));
                done = position;
            }
            segments.push(segment);
        }
        if small.len() > done {
            segments.push(small.slice(done..));
        }
        Encoded { segments, len }
    }

    /// Kafka's `int8`.
    #[inline]
    pub fn write_i8(&mut self, value: i8) {
        self.small.extend_from_slice(&value.to_be_bytes());
    }

    /// Kafka's `int16`.
    #[inline]
    pub fn write_i16(&mut self, value: i16) {
        self.small.extend_from_slice(&value.to_be_bytes());
    }

    /// Kafka's `int32`.
    #[inline]
    pub fn write_i32(&mut self, value: i32) {
        self.small.extend_from_slice(&value.to_be_bytes());
    }

    /// Kafka's `int64`.
    #[inline]
    pub fn write_i64(&mut self, value: i64) {
        self.small.extend_from_slice(&value.to_be_bytes());
    }

    /// Kafka's `bool`.
    #[inline]
    pub fn write_bool(&mut self, value: bool) {
        self.small.push(u8::from(value));
    }

    /// Kafka's `uuid`.
    #[inline]
    pub fn write_uuid(&mut self, value: TopicId) {
        self.small.extend_from_slice(&value.0);
    }

    /// An unsigned variable-length integer (KIP-482).
    #[inline]
    pub fn write_unsigned_varint(&mut self, mut value: u32) {
        while value >= 0x80 {
            self.small.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.small.push(value as u8);
    }

    /// The number of elements of an array, or the length of a byte field; `None` for null.
    #[inline]
    pub(super) fn write_count(&mut self, count: Option<usize>, flexible: bool) {
        // What would not fit in 31 bits makes a frame above 2 GiB, which `end_frame` refuses.
        if flexible {
            self.write_unsigned_varint(count.map_or(0, |count| (count as u32).wrapping_add(1)));
        } else {
            self.write_i32(count.map_or(-1, |count| count as i32));
        }
    }

    /// A nullable string: Kafka's `string`, compact when `flexible`.
    ///
    /// Kafka allows 32,767 bytes. A longer text is cut at the last character that fits: names are bounded long before,
    /// and the beginning of an error message is better than none.
    #[inline]
    pub fn write_nullable_string(&mut self, text: Option<&KafkaString>, flexible: bool) {
        let text = text.map(|text| &text.as_bytes()[..text.floor_char_boundary(STRING_BYTES_MAX)]);
        if flexible {
            self.write_unsigned_varint(text.map_or(0, |text| text.len() as u32 + 1));
        } else {
            self.write_i16(text.map_or(-1, |text| text.len() as i16));
        }
        self.small.extend_from_slice(text.unwrap_or_default());
    }

    /// A nullable byte field: Kafka's `bytes` and `records`, compact when `flexible`. From [`SEGMENT_BYTES_MIN`] bytes
    /// on it is not copied.
    #[inline]
    pub fn write_nullable_bytes(&mut self, bytes: Option<&Bytes>, flexible: bool) {
        self.write_count(bytes.map(Bytes::len), flexible);
        if let Some(bytes) = bytes {
            self.push(bytes);
        }
    }

    /// [`Writer::write_nullable_bytes`] for a field in several pieces.
    pub fn write_nullable_slices(&mut self, bytes: Option<&ByteSlices>, flexible: bool) {
        self.write_count(bytes.map(ByteSlices::len), flexible);
        for slice in bytes.map_or(&[][..], ByteSlices::slices) {
            self.push(slice);
        }
    }

    #[inline]
    fn push(&mut self, bytes: &Bytes) {
        if bytes.len() >= SEGMENT_BYTES_MIN {
            self.segments.push((self.small.len(), bytes.clone()));
            self.segments_len += bytes.len();
        } else {
            self.small.extend_from_slice(bytes);
        }
    }

    /// A tagged field (KIP-482): its tag, its length and what `write` writes.
    pub(crate) fn write_tagged_field(&mut self, tag: u32, write: &dyn Fn(&mut Writer)) {
        self.write_unsigned_varint(tag);
        // The length goes first and takes 1 to 5 bytes, so the value is written apart. Few messages have such fields.
        let mut value = Writer::new();
        write(&mut value);
        self.write_unsigned_varint(value.len() as u32);
        let base = self.small.len();
        self.small.extend_from_slice(&value.small);
        self.segments.extend(value.segments.into_iter().map(|(position, bytes)| (base + position, bytes)));
        self.segments_len += value.segments_len;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_byte_fields_are_segments_of_their_own() {
        let large = Bytes::from(vec![7; SEGMENT_BYTES_MIN]);
        let small = Bytes::from(vec![8; SEGMENT_BYTES_MIN - 1]);
        let mut w = Writer::new();
        w.begin_frame();
        w.write_i16(1);
        w.write_nullable_bytes(Some(&large), false);
        w.write_nullable_bytes(Some(&large), true);
        w.write_nullable_bytes(Some(&small), false);
        w.end_frame().unwrap();
        let encoded = w.finish();
        assert_eq!(encoded.len, 4 + 2 + 4 + 1024 + 2 + 1024 + 4 + 1023);
        assert_eq!(encoded.segments.iter().map(Bytes::len).collect::<Vec<_>>(), [10, 1024, 2, 1024, 1027]);
        assert_eq!(encoded.segments[1].as_ptr(), large.as_ptr());
        assert_eq!(encoded.segments[0][..], [0, 0, 0x0c, 0x0b, 0, 1, 0, 0, 4, 0]);
        let len = encoded.len;
        assert_eq!(encoded.into_bytes().len(), len);
    }

    #[test]
    fn frames_follow_each_other() {
        let mut w = Writer::new();
        for value in [5, 6] {
            w.begin_frame();
            w.write_i8(value);
            w.end_frame().unwrap();
        }
        assert_eq!(w.finish().into_bytes()[..], [0, 0, 0, 1, 5, 0, 0, 0, 1, 6]);
        assert_eq!(Writer::new().finish(), Encoded::default());
    }

    #[test]
    fn a_text_that_is_too_long_is_cut_between_characters() {
        let text = KafkaString::from("é".repeat(20_000));
        let mut w = Writer::new();
        w.write_nullable_string(Some(&text), false);
        let bytes = w.finish().into_bytes();
        assert_eq!(bytes.len(), 2 + 32_766);
        assert_eq!(bytes[..2], 32_766i16.to_be_bytes());
    }

    #[test]
    fn a_tagged_field_may_hold_segments() {
        let large = Bytes::from(vec![7; 2000]);
        let mut w = Writer::new();
        w.write_i8(1);
        w.write_tagged_field(3, &|w| {
            w.write_i8(2);
            w.write_nullable_bytes(Some(&large), true);
        });
        w.write_i8(4);
        let bytes = w.finish().into_bytes();
        assert_eq!(bytes[..7], [1, 3, 0xd3, 0x0f, 2, 0xd1, 0x0f]);
        assert_eq!(bytes.len(), 7 + 2000 + 1);
        assert_eq!(bytes[2007], 4);
    }
}
