//! Why bytes from the network are not a message.

use thiserror::Error;

/// A message that could not be decoded: what is wrong, where in the frame, and in which field.
///
/// The broker closes the connection on it, as Kafka does: after a malformed request the stream cannot be trusted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{fault} (byte {position} of the message, field {field})")]
pub struct DecodeError {
    /// What is wrong.
    pub fault: DecodeFault,
    /// Where reading stopped: bytes from the start of what the [`Reader`](super::Reader) was given.
    pub position: usize,
    /// The innermost field that was being read, as `Struct.field`; `-` outside of any.
    pub field: &'static str,
}

/// What can be wrong with the bytes of a message.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DecodeFault {
    /// A fixed-size value or a length points behind the end.
    #[error("the message ends too early: {needed} bytes needed, {remaining} left")]
    Truncated {
        /// How many bytes the value takes.
        needed: usize,
        /// How many bytes are left.
        remaining: usize,
    },
    /// An array announces more elements than the bytes that are left could hold.
    #[error("an array of {count} elements cannot fit in the {remaining} bytes left")]
    CountTooLarge {
        /// The announced number of elements.
        count: u32,
        /// How many bytes are left.
        remaining: usize,
    },
    /// A length below -1.
    #[error("length {0} is negative")]
    NegativeLength(i32),
    /// A string above Kafka's limit of 32,767 bytes.
    #[error("a string of {0} bytes is longer than 32767")]
    StringTooLong(u32),
    /// A string that is not UTF-8.
    #[error("a string is not valid UTF-8")]
    NotUtf8,
    /// Null where this version of the message does not allow it.
    #[error("null where this version does not allow it")]
    UnexpectedNull,
    /// A variable-length integer that does not fit in 32 bits.
    #[error("a variable-length integer does not fit in 32 bits")]
    VarintTooLong,
    /// The marker in front of a nullable struct is neither -1 (null) nor 1.
    #[error("the marker of a nullable struct is {0}, neither -1 nor 1")]
    NullMarker(i8),
    /// Bytes after the end of a message, or of a tagged field.
    #[error("{0} bytes are left over after the end")]
    Leftover(usize),
    /// An API key that corelog does not serve.
    #[error("API key {0} is not served")]
    UnknownApiKey(i16),
    /// A version of the message outside what [`ApiKey::versions`](super::ApiKey::versions) gives.
    #[error("version {0} of the message is not supported")]
    UnsupportedVersion(i16),
    /// An error code that Kafka 4.3 does not define.
    #[error("error code {0} is not known")]
    UnknownErrorCode(i16),
}

impl DecodeError {
    /// Names the field, unless a deeper one has been named already.
    #[cold]
    pub(super) fn in_field(mut self, field: &'static str) -> DecodeError {
        if self.field == UNNAMED {
            self.field = field;
        }
        self
    }
}

/// The field's name until one is known.
pub(super) const UNNAMED: &str = "-";
