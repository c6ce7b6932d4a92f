//! How each type of a message stands on the wire.

use std::ops::RangeBounds;

use bytes::Bytes;

use super::decode_error::{DecodeError, DecodeFault};
use super::kafka_string::KafkaString;
use super::reader::Reader;
use super::writer::Writer;
use crate::vocabulary::TopicId;

/// The memory that an array reserves before its first element is read, at most: above it the array grows as elements
/// are really there.
const RESERVED_BYTES_MAX: usize = 64 * 1024;

/// The version of the message that a value is part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Version {
    /// The API's version.
    pub number: i16,
    /// Whether the version is a flexible one (KIP-482): compact lengths, and tagged fields after each struct.
    pub flexible: bool,
}

impl Version {
    /// Whether the version is one of `versions`.
    #[inline]
    pub fn is_within(self, versions: impl RangeBounds<i16>) -> bool {
        versions.contains(&self.number)
    }
}

/// A type that can be a field of a message. The `schema!` macro implements it for structs.
pub trait Wire: Sized {
    /// A lower bound of the bytes that a value takes, which bounds the elements that an array can have.
    fn min_len(version: Version) -> usize;

    /// Reads a value.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are not such a value.
    fn read(r: &mut Reader, version: Version) -> Result<Self, DecodeError>;

    /// Writes the value.
    fn write(&self, w: &mut Writer, version: Version);

    /// Whether the value is null, which some versions do not allow.
    #[inline]
    fn is_null(&self) -> bool {
        false
    }

    /// Writes the value where null is not allowed: the type's empty value stands for null.
    #[inline]
    fn write_non_null(&self, w: &mut Writer, version: Version) {
        self.write(w, version);
    }
}

/// A type that has a null on the wire. The default methods are those of a struct: a marker byte in front, -1 or 1.
pub trait Nullable: Wire {
    /// As [`Wire::min_len`], when the value may be null.
    #[inline]
    fn nullable_min_len(_: Version) -> usize {
        1
    }

    /// Reads a value or null.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are neither.
    #[inline]
    fn read_nullable(r: &mut Reader, version: Version) -> Result<Option<Self>, DecodeError> {
        match r.read_i8()? {
            -1 => Ok(None),
            1 => Self::read(r, version).map(Some),
            marker => Err(r.error(DecodeFault::NullMarker(marker))),
        }
    }

    /// Writes a value or null.
    #[inline]
    fn write_nullable(value: Option<&Self>, w: &mut Writer, version: Version) {
        match value {
            None => w.write_i8(-1),
            Some(value) => {
                w.write_i8(1);
                value.write(w, version);
            }
        }
    }
}

/// Reads the field `name`; null is an error unless `nullable`.
#[inline]
pub(crate) fn read_field<T: Wire>(
    r: &mut Reader,
    version: Version,
    nullable: bool,
    name: &'static str,
) -> Result<T, DecodeError> {
    match T::read(r, version) {
        Ok(value) if nullable || !value.is_null() => Ok(value),
        Ok(_) => Err(r.error(DecodeFault::UnexpectedNull).in_field(name)),
        Err(error) => Err(error.in_field(name)),
    }
}

macro_rules! wire_number {
    ($ty:ty, $len:literal, $read:ident, $write:ident) => {
        impl Wire for $ty {
            #[inline]
            fn min_len(_: Version) -> usize {
                $len
            }

            #[inline]
            fn read(r: &mut Reader, _: Version) -> Result<Self, DecodeError> {
                r.$read()
            }

            #[inline]
            fn write(&self, w: &mut Writer, _: Version) {
                w.$write(*self);
            }
        }
    };
}

wire_number!(bool, 1, read_bool, write_bool);
wire_number!(i8, 1, read_i8, write_i8);
wire_number!(i16, 2, read_i16, write_i16);
wire_number!(i32, 4, read_i32, write_i32);
wire_number!(i64, 8, read_i64, write_i64);
wire_number!(TopicId, 16, read_uuid, write_uuid);

impl Wire for KafkaString {
    #[inline]
    fn min_len(version: Version) -> usize {
        if version.flexible { 1 } else { 2 }
    }

    #[inline]
    fn read(r: &mut Reader, version: Version) -> Result<Self, DecodeError> {
        let value = r.read_nullable_string(version.flexible)?;
        value.ok_or_else(|| r.error(DecodeFault::UnexpectedNull))
    }

    #[inline]
    fn write(&self, w: &mut Writer, version: Version) {
        w.write_nullable_string(Some(self), version.flexible);
    }
}

impl Nullable for KafkaString {
    #[inline]
    fn nullable_min_len(version: Version) -> usize {
        Self::min_len(version)
    }

    #[inline]
    fn read_nullable(r: &mut Reader, version: Version) -> Result<Option<Self>, DecodeError> {
        r.read_nullable_string(version.flexible)
    }

    #[inline]
    fn write_nullable(value: Option<&Self>, w: &mut Writer, version: Version) {
        w.write_nullable_string(value, version.flexible);
    }
}

impl Wire for Bytes {
    #[inline]
    fn min_len(version: Version) -> usize {
        if version.flexible { 1 } else { 4 }
    }

    #[inline]
    fn read(r: &mut Reader, version: Version) -> Result<Self, DecodeError> {
        let value = r.read_nullable_bytes(version.flexible)?;
        value.ok_or_else(|| r.error(DecodeFault::UnexpectedNull))
    }

    #[inline]
    fn write(&self, w: &mut Writer, version: Version) {
        w.write_nullable_bytes(Some(self), version.flexible);
    }
}

impl Nullable for Bytes {
    #[inline]
    fn nullable_min_len(version: Version) -> usize {
        Self::min_len(version)
    }

    #[inline]
    fn read_nullable(r: &mut Reader, version: Version) -> Result<Option<Self>, DecodeError> {
        r.read_nullable_bytes(version.flexible)
    }

    #[inline]
    fn write_nullable(value: Option<&Self>, w: &mut Writer, version: Version) {
        w.write_nullable_bytes(value, version.flexible);
    }
}

impl<T: Wire> Wire for Vec<T> {
    #[inline]
    fn min_len(version: Version) -> usize {
        if version.flexible { 1 } else { 4 }
    }

    fn read(r: &mut Reader, version: Version) -> Result<Self, DecodeError> {
        match Self::read_nullable(r, version)? {
            Some(elements) => Ok(elements),
            None => Err(r.error(DecodeFault::UnexpectedNull)),
        }
    }

    fn write(&self, w: &mut Writer, version: Version) {
        w.write_count(Some(self.len()), version.flexible);
        for element in self {
            element.write(w, version);
        }
    }
}

impl<T: Wire> Nullable for Vec<T> {
    #[inline]
    fn nullable_min_len(version: Version) -> usize {
        Self::min_len(version)
    }

    fn read_nullable(r: &mut Reader, version: Version) -> Result<Option<Self>, DecodeError> {
        let Some(count) = r.read_count(version.flexible)? else { return Ok(None) };
        let remaining = r.remaining();
        if count as usize > remaining / T::min_len(version).max(1) {
            return Err(r.error(DecodeFault::CountTooLarge { count, remaining }));
        }
        let reserved = (count as usize).min(RESERVED_BYTES_MAX / size_of::<T>().max(1));
        let mut elements = Vec::with_capacity(reserved);
        for _ in 0..count {
            elements.push(T::read(r, version)?);
        }
        Ok(Some(elements))
    }

    fn write_nullable(value: Option<&Self>, w: &mut Writer, version: Version) {
        match value {
            Some(elements) => elements.write(w, version),
            None => w.write_count(None, version.flexible),
        }
    }
}

impl<T: Nullable + Default> Wire for Option<T> {
    #[inline]
    fn min_len(version: Version) -> usize {
        T::nullable_min_len(version)
    }

    #[inline]
    fn read(r: &mut Reader, version: Version) -> Result<Self, DecodeError> {
        T::read_nullable(r, version)
    }

    #[inline]
    fn write(&self, w: &mut Writer, version: Version) {
        T::write_nullable(self.as_ref(), w, version);
    }

    #[inline]
    fn is_null(&self) -> bool {
        self.is_none()
    }

    #[inline]
    fn write_non_null(&self, w: &mut Writer, version: Version) {
        match self {
            Some(_) => self.write(w, version),
            None => Some(T::default()).write(w, version),
        }
    }
}
