//! The zigzag varints inside records: seven bits a byte, least significant first, as in Protocol Buffers.

/// Most bytes of a 32-bit varint.
const VARINT_BYTES_MAX: usize = 5;
/// Most bytes of a 64-bit varint.
const VARLONG_BYTES_MAX: usize = 10;

/// Reads a 32-bit varint at `at` and moves `at` behind it. `None` when it is cut short or does not fit 32 bits.
///
/// Nearly every varint of a record has one or two bytes, so those two lengths are inlined.
#[inline(always)]
pub(super) fn read_varint(bytes: &[u8], at: &mut usize) -> Option<i32> {
    let first = u32::from(*bytes.get(*at)?);
    if first < 0x80 {
        *at += 1;
        return Some(unzigzag32(first));
    }
    let second = u32::from(*bytes.get(*at + 1)?);
    if second < 0x80 {
        *at += 2;
        return Some(unzigzag32(first & 0x7f | second << 7));
    }
    let raw = read_long(bytes, at, VARINT_BYTES_MAX)?;
    u32::try_from(raw).ok().map(unzigzag32)
}

/// Reads a 64-bit varint at `at` and moves `at` behind it. `None` when it is cut short or does not fit 64 bits.
#[inline(always)]
pub(super) fn read_varlong(bytes: &[u8], at: &mut usize) -> Option<i64> {
    let first = u64::from(*bytes.get(*at)?);
    if first < 0x80 {
        *at += 1;
        return Some(unzigzag64(first));
    }
    let second = u64::from(*bytes.get(*at + 1)?);
    if second < 0x80 {
        *at += 2;
        return Some(unzigzag64(first & 0x7f | second << 7));
    }
    read_long(bytes, at, VARLONG_BYTES_MAX).map(unzigzag64)
}

#[cold]
fn read_long(bytes: &[u8], at: &mut usize, bytes_max: usize) -> Option<u64> {
    let mut raw = 0u64;
    for (i, &byte) in bytes.get(*at..)?.iter().take(bytes_max).enumerate() {
        let bits = u64::from(byte & 0x7f);
        if i == VARLONG_BYTES_MAX - 1 && bits > 1 {
            return None;
        }
        raw |= bits << (7 * i);
        if byte < 0x80 {
            *at += i + 1;
            return Some(raw);
        }
    }
    None
}

fn unzigzag32(raw: u32) -> i32 {
    (raw >> 1) as i32 ^ -((raw & 1) as i32)
}

fn unzigzag64(raw: u64) -> i64 {
    (raw >> 1) as i64 ^ -((raw & 1) as i64)
}

fn zigzag64(value: i64) -> u64 {
    (value << 1 ^ value >> 63) as u64
}

/// Writes a varint. A value of 32 bits gets the same bytes either way.
pub(super) fn write_varlong(out: &mut Vec<u8>, value: i64) {
    let mut raw = zigzag64(value);
    while raw >= 0x80 {
        out.push(raw as u8 | 0x80);
        raw >>= 7;
    }
    out.push(raw as u8);
}

/// Bytes that [`write_varlong`] writes, 1 to 10.
pub(super) fn varlong_len(value: i64) -> usize {
    let bits = 64 - (zigzag64(value) | 1).leading_zeros() as usize;
    bits.div_ceil(7)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_bytes_are_those_of_the_specification() {
        let written = |value| {
            let mut out = Vec::new();
            write_varlong(&mut out, value);
            out
        };
        assert_eq!(written(0), [0]);
        assert_eq!(written(-1), [1]);
        assert_eq!(written(1), [2]);
        assert_eq!(written(63), [126]);
        assert_eq!(written(64), [0x80, 1]);
        assert_eq!(written(i64::from(i32::MIN)), [0xff, 0xff, 0xff, 0xff, 0x0f]);
        assert_eq!(written(i64::MIN), [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert_eq!(read_varint(&[0xff, 0xff, 0xff, 0xff, 0x1f], &mut 0), None);
        assert_eq!(read_varint(&[0x80, 0x80, 0x80, 0x80, 0x80, 0], &mut 0), None);
        assert_eq!(read_varlong(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2], &mut 0), None);
        assert_eq!(read_varlong(&[0x80; 11], &mut 0), None);
        for cut in [&[][..], &[0x80], &[0x80, 0x80], &[0x80, 0x80, 0x80]] {
            assert_eq!(read_varint(cut, &mut 0), None);
            assert_eq!(read_varlong(cut, &mut 0), None);
        }
        assert_eq!(read_varint(&[0], &mut 9), None);
        // Longer than needed, but without doubt: taken, as Kafka does.
        assert_eq!(read_varint(&[0x80, 0], &mut 0), Some(0));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 128, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_written_is_read(value: i64, shift in 0u32..64) {
            let value = value >> shift;
            let mut out = vec![7];
            write_varlong(&mut out, value);
            prop_assert_eq!(out.len() - 1, varlong_len(value));
            let mut at = 1;
            prop_assert_eq!(read_varlong(&out, &mut at), Some(value));
            prop_assert_eq!(at, out.len());
            at = 1;
            prop_assert_eq!(read_varint(&out, &mut at), i32::try_from(value).ok());
        }
    }
}
