//! The Kafka protocol's frames and messages, for both sides: the broker decodes requests and encodes responses; clients
//! in tests and tools, and later followers, do the reverse.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`messages`] | one file an API: the declarative description of its request and response in all served versions |
//! | `schema` | the macro that makes struct, decoder and encoder of a description |
//! | [`wire`] | how each field type stands on the wire |
//! | [`Reader`], [`Writer`] | primitive types: bounds-checked slices of the frame in, segments for `sendmsg` out |
//! | [`ApiKey`], [`ErrorCode`] | Kafka's numbers |
//! | [`RequestHeader`], [`ResponseHeader`] | what stands in front of each message |
//!
//! What may be relied on:
//! - No bytes from the network make a decoder panic or reserve memory by a length that the sender chose: an array has to
//!   fit in the bytes that are there, and above 64 KiB it grows only as elements are read.
//! - Records and strings are never copied on decoding; they share the frame's memory and keep it alive.
//! - This module knows no sockets, no storage and no state.

mod api_key;
mod byte_slices;
mod decode_error;
mod error_code;
mod header;
mod kafka_string;
pub mod messages;
mod reader;
pub(crate) mod schema;
#[cfg(test)]
pub(crate) mod tests;
pub mod wire;
mod writer;

use bytes::Bytes;

pub use api_key::ApiKey;
pub use byte_slices::ByteSlices;
pub use decode_error::{DecodeError, DecodeFault};
pub use error_code::ErrorCode;
pub use header::{RequestHeader, ResponseHeader};
pub use kafka_string::KafkaString;
pub use reader::{Reader, STRING_BYTES_MAX};
pub use writer::{Encoded, FrameTooLarge, SEGMENT_BYTES_MIN, Writer};

use wire::{Version, Wire};

/// A request or a response.
pub trait Message: Wire + Default {
    /// The API that the message belongs to.
    const KEY: ApiKey;

    /// Reads a message of `version`. What follows it is left unread: see [`Reader::finish`].
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are not such a message, or the version is none of [`ApiKey::versions`].
    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError> {
        if !Self::KEY.supports(version) {
            return Err(r.error(DecodeFault::UnsupportedVersion(version)).in_field(Self::KEY.name()));
        }
        Self::read(r, Version { number: version, flexible: Self::KEY.is_flexible(version) })
    }

    /// Writes the message as `version`, one of [`ApiKey::versions`]. Fields that the version does not have are left out.
    fn encode(&self, w: &mut Writer, version: i16) {
        debug_assert!(Self::KEY.supports(version), "version {version} of {} is not served", Self::KEY);
        self.write(w, Version { number: version, flexible: Self::KEY.is_flexible(version) });
    }
}

/// A request; its type tells the response's.
pub trait Request: Message {
    /// What answers it.
    type Response: Message;
}

/// Decodes the body of a request, which must take all of `body`.
///
/// # Errors
/// [`DecodeError`] when the bytes are not such a request.
pub fn decode_request<R: Request>(body: Bytes, version: i16) -> Result<R, DecodeError> {
    decode_whole(body, version)
}

/// Decodes the body of a response, which must take all of `body`.
///
/// # Errors
/// [`DecodeError`] when the bytes are not such a response.
pub fn decode_response<R: Request>(body: Bytes, version: i16) -> Result<R::Response, DecodeError> {
    decode_whole(body, version)
}

fn decode_whole<M: Message>(body: Bytes, version: i16) -> Result<M, DecodeError> {
    let mut r = Reader::new(body);
    let message = M::decode(&mut r, version)?;
    r.finish().map_err(|error| error.in_field(M::KEY.name()))?;
    Ok(message)
}

/// Appends a whole frame to `w`: size, request header and request.
///
/// # Errors
/// [`FrameTooLarge`] from 2 GiB on.
pub fn write_request<R: Request>(
    w: &mut Writer,
    version: i16,
    correlation_id: i32,
    client_id: Option<KafkaString>,
    request: &R,
) -> Result<(), FrameTooLarge> {
    w.begin_frame();
    RequestHeader { request_api_key: R::KEY, request_api_version: version, correlation_id, client_id }.encode(w);
    request.encode(w, version);
    w.end_frame()
}

/// Appends a whole frame to `w`: size, response header and response.
///
/// # Errors
/// [`FrameTooLarge`] from 2 GiB on.
pub fn write_response<M: Message>(
    w: &mut Writer,
    version: i16,
    correlation_id: i32,
    response: &M,
) -> Result<(), FrameTooLarge> {
    w.begin_frame();
    ResponseHeader { correlation_id }.encode(w, M::KEY.response_header_version(version));
    response.encode(w, version);
    w.end_frame()
}
