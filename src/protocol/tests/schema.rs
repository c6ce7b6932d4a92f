//! What the `schema!` macro makes of a description, byte for byte.

use bytes::Bytes;

use crate::protocol::schema::schema;
use crate::protocol::wire::{Nullable, Version, Wire};
use crate::protocol::{DecodeError, DecodeFault, KafkaString, Reader, Writer};

schema! {
    /// Has a field of each kind.
    pub struct Outer {
        /// In all versions.
        number: i32 = -1,
        /// Nullable from version 2 on.
        text: Option<KafkaString> [1.., null 2..] = Some("none".into()),
        /// In versions 1 and 2.
        old: bool [1..=2] = true,
        /// A nullable struct.
        inner: Option<Inner> [3..] = None,
        /// Tagged.
        first: i16 [3.., tag 0] = 5,
        /// Tagged.
        second: Vec<Inner> [4.., tag 3],
    }

    /// A nested struct.
    pub struct Inner {
        /// A number.
        value: i8,
    }
}

fn version(number: i16) -> Version {
    Version { number, flexible: number >= 3 }
}

fn encode(value: &Outer, number: i16) -> Bytes {
    let mut w = Writer::new();
    value.write(&mut w, version(number));
    w.finish().into_bytes()
}

fn decode(bytes: &[u8], number: i16) -> Result<Outer, DecodeError> {
    let mut r = Reader::new(Bytes::copy_from_slice(bytes));
    let value = Outer::read(&mut r, version(number))?;
    r.finish()?;
    Ok(value)
}

#[test]
fn fields_stand_in_their_versions_only() {
    let value = Outer { number: 7, text: None, old: false, inner: Some(Inner { value: 9 }), ..Outer::default() };
    assert_eq!(encode(&value, 0)[..], [0, 0, 0, 7]);
    assert_eq!(decode(&[0, 0, 0, 7], 0), Ok(Outer { number: 7, ..Outer::default() }));
    assert_eq!(encode(&value, 1)[..], [0, 0, 0, 7, 0, 0, 0], "no null in version 1");
    assert_eq!(encode(&value, 2)[..], [0, 0, 0, 7, 0xff, 0xff, 0]);
    assert_eq!(decode(&[0, 0, 0, 7, 0xff, 0xff, 0], 2), Ok(Outer { inner: None, ..value.clone() }));
    assert_eq!(encode(&value, 3)[..], [0, 0, 0, 7, 0, 1, 9, 0, 0]);
    assert_eq!(decode(&[0, 0, 0, 7, 0, 1, 9, 0, 0], 3), Ok(Outer { old: true, ..value }));
}

#[test]
fn null_is_refused_where_the_version_has_none() {
    let error = decode(&[0, 0, 0, 7, 0xff, 0xff, 0], 1).unwrap_err();
    assert_eq!((error.fault, error.field, error.position), (DecodeFault::UnexpectedNull, "Outer.text", 6));
}

#[test]
fn a_nullable_struct_has_a_marker() {
    assert_eq!(decode(&[0, 0, 0, 7, 0, 0xff, 0], 3).unwrap().inner, None);
    let error = decode(&[0, 0, 0, 7, 0, 2, 9, 0, 0], 3).unwrap_err();
    assert_eq!((error.fault, error.field), (DecodeFault::NullMarker(2), "Outer.inner"));
    let mut w = Writer::new();
    Inner::write_nullable(None, &mut w, version(3));
    assert_eq!(w.finish().into_bytes()[..], [0xff]);
}

#[test]
fn tagged_fields_are_sent_unless_default_and_unknown_ones_skipped() {
    let value = Outer { first: 6, second: vec![Inner { value: 1 }], ..Outer::default() };
    let expected = [0xff, 0xff, 0xff, 0xff, 5, b'n', b'o', b'n', b'e', 0xff, 2, 0, 2, 0, 6, 3, 3, 2, 1, 0];
    assert_eq!(encode(&value, 4)[..], expected);
    assert_eq!(decode(&expected, 4), Ok(value.clone()));
    // Version 3 has no tag 3: it is not sent, and skipped when it comes.
    assert_eq!(encode(&value, 3)[10..], [1, 0, 2, 0, 6]);
    assert_eq!(decode(&expected, 3), Ok(Outer { second: Vec::new(), ..value.clone() }));
    // An unknown tag between them.
    let mut more = expected.to_vec();
    more.splice(10..11, [3, 1, 2, 8, 8]);
    assert_eq!(decode(&more, 4), Ok(value));
    // A known one with a byte too many.
    let mut longer = expected.to_vec();
    longer.splice(12..13, [3, 0]);
    assert_eq!(decode(&longer, 4).unwrap_err().fault, DecodeFault::Leftover(1));
}

#[test]
fn long_arrays_have_counts_of_several_bytes() {
    let value = Outer { second: vec![Inner { value: 3 }; 300], ..Outer::default() };
    let bytes = encode(&value, 4);
    assert_eq!(bytes[10..16], [1, 3, 0xda, 0x04, 0xad, 0x02]);
    assert_eq!(decode(&bytes, 4), Ok(value));
}
