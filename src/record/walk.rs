//! The bytes of one record, taken apart without a copy or an allocation.
//!
//! | field | bytes |
//! | --- | --- |
//! | length of all that follows | varint |
//! | attributes, none in use | 1 |
//! | timestamp less the batch's base timestamp | varlong |
//! | offset less the batch's base offset | varint |
//! | key length, −1 for none; key | varint, length |
//! | value length, −1 for none; value | varint, length |
//! | header count | varint |
//! | each header: key length, key, value length (−1 for none), value | varint, length, varint, length |

use std::ops::Range;

use super::varint::{read_varint, read_varlong};

/// What is wrong with a record's bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecordFault {
    /// The record's length is cut short, negative, or more than the bytes there are.
    #[error("its length is not that of a record that is there")]
    Length,
    /// The timestamp or the offset is cut short or too long.
    #[error("its timestamp or offset cannot be read")]
    Deltas,
    /// The key's length is cut short or reaches past the record.
    #[error("its key reaches past its end")]
    Key,
    /// The value's length is cut short or reaches past the record.
    #[error("its value reaches past its end")]
    Value,
    /// The header count is negative, a header has no key, or one reaches past the record.
    #[error("its headers cannot be, or reach past its end")]
    Headers,
    /// The record has bytes behind its last field.
    #[error("its length is not the length of its fields")]
    SpareBytes,
}

/// A record's fields, as positions in the bytes it was read from.
pub(super) struct RawRecord {
    pub timestamp_delta: i64,
    pub offset_delta: i32,
    pub key: Option<Range<usize>>,
    pub value: Option<Range<usize>>,
    pub header_count: u32,
    /// The headers, each checked to be whole.
    pub headers: Range<usize>,
}

/// Takes the record at `at` apart; gives the position behind it too.
#[inline(always)]
pub(super) fn read_record(bytes: &[u8], at: usize) -> Result<(RawRecord, usize), RecordFault> {
    let mut at = at;
    let length = read_varint(bytes, &mut at).ok_or(RecordFault::Length)?;
    let length = usize::try_from(length).map_err(|_| RecordFault::Length)?;
    let end = at + length;
    // From here on no read reaches past the record, because the slice ends with it.
    let bytes = bytes.get(..end).ok_or(RecordFault::Length)?;
    at += 1;
    let timestamp_delta = read_varlong(bytes, &mut at).ok_or(RecordFault::Deltas)?;
    let offset_delta = read_varint(bytes, &mut at).ok_or(RecordFault::Deltas)?;
    let key = read_field(bytes, &mut at).ok_or(RecordFault::Key)?;
    let value = read_field(bytes, &mut at).ok_or(RecordFault::Value)?;
    let header_count = read_varint(bytes, &mut at).ok_or(RecordFault::Headers)?;
    let header_count = u32::try_from(header_count).map_err(|_| RecordFault::Headers)?;
    let headers_at = at;
    if header_count > 0 {
        at = skip_headers(bytes, at, header_count).ok_or(RecordFault::Headers)?;
    }
    if at != end {
        return Err(RecordFault::SpareBytes);
    }
    Ok((RawRecord { timestamp_delta, offset_delta, key, value, header_count, headers: headers_at..at }, end))
}

/// Reads a length and the bytes behind it. `None` when they are not all there; `Some(None)` for a null.
#[inline(always)]
fn read_field(bytes: &[u8], at: &mut usize) -> Option<Option<Range<usize>>> {
    let length = read_varint(bytes, at)?;
    if length < 0 {
        // Kafka takes every negative length for a null, not only the −1 that it writes.
        return Some(None);
    }
    let start = *at;
    let end = start + length as usize;
    if end > bytes.len() {
        return None;
    }
    *at = end;
    Some(Some(start..end))
}

/// Reads one header: its key, which cannot be null, and its value.
pub(super) fn read_header(bytes: &[u8], at: &mut usize) -> Option<(Range<usize>, Option<Range<usize>>)> {
    let key = read_field(bytes, at)??;
    let value = read_field(bytes, at)?;
    Some((key, value))
}

/// Each header takes at least two bytes, so a wrong count ends at the record's end.
fn skip_headers(bytes: &[u8], mut at: usize, header_count: u32) -> Option<usize> {
    for _ in 0..header_count {
        read_header(bytes, &mut at)?;
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(bytes: &[u8]) -> RecordFault {
        match read_record(bytes, 0) {
            Err(fault) => fault,
            Ok((_, end)) => panic!("read a record of {end} bytes"),
        }
    }

    #[test]
    fn a_record_laid_out_by_hand_is_taken_apart() {
        let bytes = [
            99, // of something else
            30, // 15 bytes follow
            0,  // attributes
            0x80, 1, // timestamp delta 64
            6, // offset delta 3
            2, b'k', // key
            1,    // no value
            4,    // two headers
            2, b'a', 4, b'x', b'y', // a = xy
            0, 1,  // an empty key and no value
            77, // of the next record
        ];
        let (record, end) = read_record(&bytes, 1).unwrap();
        assert_eq!((record.timestamp_delta, record.offset_delta), (64, 3));
        assert_eq!(record.key, Some(7..8));
        assert_eq!(record.value, None);
        assert_eq!((record.header_count, record.headers.clone()), (2, 10..17));
        assert_eq!(end, 17);
        let mut at = record.headers.start;
        assert_eq!(read_header(&bytes, &mut at), Some((11..12, Some(13..15))));
        assert_eq!(read_header(&bytes, &mut at), Some((16..16, None)));
        assert_eq!(at, end);
    }

    #[test]
    fn each_fault_has_its_name() {
        assert_eq!(fault(&[]), RecordFault::Length);
        assert_eq!(fault(&[1]), RecordFault::Length);
        assert_eq!(fault(&[14, 0, 0, 0, 1, 1]), RecordFault::Length);
        assert_eq!(fault(&[0]), RecordFault::Deltas);
        assert_eq!(fault(&[6, 0, 0x80, 0]), RecordFault::Deltas);
        assert_eq!(fault(&[8, 0, 0, 0, 2]), RecordFault::Key);
        assert_eq!(fault(&[10, 0, 0, 0, 1, 2]), RecordFault::Value);
        assert_eq!(fault(&[10, 0, 0, 0, 1, 1]), RecordFault::Headers);
        assert_eq!(fault(&[12, 0, 0, 0, 1, 1, 1]), RecordFault::Headers);
        assert_eq!(fault(&[16, 0, 0, 0, 1, 1, 2, 1, 1]), RecordFault::Headers);
        assert_eq!(fault(&[12, 0, 0, 0, 1, 1, 0x7e]), RecordFault::Headers);
        assert_eq!(fault(&[14, 0, 0, 0, 1, 1, 0, 0]), RecordFault::SpareBytes);
        assert!(read_record(&[12, 0, 0, 0, 1, 1, 0], 0).is_ok());
    }
}
