//! The declarative description of messages.
//!
//! One description gives the struct with Kafka's defaults, its decoder and its encoder (and, for the tests, a generator
//! of arbitrary values). It reads like Kafka's own schemas:
//!
//! ```text
//! schema! {
//!     /// A topic of the response.
//!     pub struct Topic {
//!         /// Present in all versions, 0 or empty by default.
//!         error_code: ErrorCode,
//!         /// Present from version 1 on; null is allowed from version 12 on; the empty string by default.
//!         name: Option<KafkaString> [1.., null 12..] = Some(KafkaString::default()),
//!         /// Present in versions 8 to 10, -1 by default.
//!         operations: i32 [8..=10] = -1,
//!         /// A tagged field (KIP-482) from version 12 on; sent when it is not the default.
//!         snapshot: Snapshot [12.., tag 2],
//!     }
//! }
//! ```
//!
//! Fields are in the order of the wire, and tagged fields in the order of their tags. A field that the version does
//! not have is not written and is decoded as its default. Null is encoded as the empty value where the version does
//! not allow it. A nullable tagged field is nullable in all its versions.

/// Declares structs with [`Wire`](super::wire::Wire) and [`Nullable`](super::wire::Nullable); see the module's text.
macro_rules! schema {
    (@default) => { ::core::default::Default::default() };
    (@default $default:expr) => { $default };

    ($(
        $(#[$meta:meta])*
        pub struct $name:ident {
            $(
                $(#[$field_meta:meta])*
                $field:ident : $ty:ty
                    $([ $range:expr $(, null $null:expr)? $(, tag $tag:literal)? ])?
                    $(= $default:expr)?
            ),* $(,)?
        }
    )+) => {$(
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name {
            $( $(#[$field_meta])* pub $field: $ty, )*
        }

        impl Default for $name {
            fn default() -> Self {
                $name { $( $field: schema!(@default $($default)?), )* }
            }
        }

        #[allow(unused, reason = "a struct may have no field of a kind")]
        impl $crate::protocol::wire::Wire for $name {
            #[inline]
            fn min_len(v: $crate::protocol::wire::Version) -> usize {
                let mut len = usize::from(v.flexible);
                $(
                    let tags: &[u32] = &[$($($tag)?)?];
                    if tags.is_empty() $(&& v.is_within($range))? {
                        len += <$ty as $crate::protocol::wire::Wire>::min_len(v);
                    }
                )*
                len
            }

            fn read(
                r: &mut $crate::protocol::Reader,
                v: $crate::protocol::wire::Version,
            ) -> Result<Self, $crate::protocol::DecodeError> {
                $(
                    let tags: &[u32] = &[$($($tag)?)?];
                    let mut $field: $ty = if tags.is_empty() $(&& v.is_within($range))? {
                        let nullable = true $($(&& v.is_within($null))?)?;
                        let name = concat!(stringify!($name), ".", stringify!($field));
                        $crate::protocol::wire::read_field(r, v, nullable, name)?
                    } else {
                        schema!(@default $($default)?)
                    };
                )*
                if v.flexible {
                    r.read_tagged_fields(&mut |tag, r| {
                        $($($(
                            if tag == $tag && v.is_within($range) {
                                let name = concat!(stringify!($name), ".", stringify!($field));
                                $field = $crate::protocol::wire::read_field(r, v, true, name)?;
                                return Ok(true);
                            }
                        )?)?)*
                        Ok(false)
                    })?;
                }
                Ok($name { $($field),* })
            }

            fn write(&self, w: &mut $crate::protocol::Writer, v: $crate::protocol::wire::Version) {
                use $crate::protocol::wire::Wire;
                $(
                    let tags: &[u32] = &[$($($tag)?)?];
                    if tags.is_empty() $(&& v.is_within($range))? {
                        if true $($(&& v.is_within($null))?)? {
                            self.$field.write(w, v);
                        } else {
                            self.$field.write_non_null(w, v);
                        }
                    }
                )*
                if v.flexible {
                    $( let $field = || -> $ty { schema!(@default $($default)?) }; )*
                    let mut count = 0;
                    $($($(
                        // Names the tag, so that this is repeated for tagged fields only.
                        let _: u32 = $tag;
                        let $field = v.is_within($range) && self.$field != $field();
                        count += u32::from($field);
                    )?)?)*
                    w.write_unsigned_varint(count);
                    $($($(
                        if $field {
                            w.write_tagged_field($tag, &|w| self.$field.write(w, v));
                        }
                    )?)?)*
                }
            }
        }

        impl $crate::protocol::wire::Nullable for $name {}

        #[cfg(test)]
        #[allow(unused, reason = "a struct may have no field of a kind")]
        impl $crate::protocol::tests::sample::Sample for $name {
            fn sample(
                e: &mut $crate::protocol::tests::sample::Entropy,
                v: $crate::protocol::wire::Version,
            ) -> Self {
                use $crate::protocol::tests::sample::Sample;
                let mut value = $name::default();
                $(
                    if true $(&& v.is_within($range))? {
                        let nullable = true $($(&& v.is_within($null))?)?;
                        value.$field = if nullable { Sample::sample(e, v) } else { Sample::sample_non_null(e, v) };
                    }
                )*
                value
            }
        }
    )+};
}

/// Declares which structs are the request and the response of an API.
macro_rules! api {
    ($key:ident, $request:ident, $response:ident) => {
        impl $crate::protocol::Message for $request {
            const KEY: $crate::protocol::ApiKey = $crate::protocol::ApiKey::$key;
        }

        impl $crate::protocol::Message for $response {
            const KEY: $crate::protocol::ApiKey = $crate::protocol::ApiKey::$key;
        }

        impl $crate::protocol::Request for $request {
            type Response = $response;
        }
    };
}

pub(super) use api;
pub(crate) use schema;
