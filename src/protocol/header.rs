//! The headers in front of requests and responses.

use super::api_key::ApiKey;
use super::decode_error::{DecodeError, DecodeFault};
use super::kafka_string::KafkaString;
use super::reader::Reader;
use super::writer::Writer;

/// The header of a request, versions 1 and 2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestHeader {
    /// The API that the request is for.
    pub request_api_key: ApiKey,
    /// The version of the request; not yet checked against [`ApiKey::versions`], because an ApiVersions request of
    /// an unknown version gets an answer nevertheless.
    pub request_api_version: i16,
    /// The number that the client gave the request; the response carries the same.
    pub correlation_id: i32,
    /// The client's name for itself, for logs and quotas.
    pub client_id: Option<KafkaString>,
}

impl RequestHeader {
    /// Reads a header; the API key and version tell which version the header has.
    ///
    /// # Errors
    /// [`DecodeError`]; with [`DecodeFault::UnknownApiKey`] for an API that is not served: the rest of the header cannot
    /// be read then, and the connection is closed as Kafka does.
    pub fn decode(r: &mut Reader) -> Result<RequestHeader, DecodeError> {
        let key = r.read_i16().map_err(|error| error.in_field("RequestHeader.request_api_key"))?;
        let request_api_key = ApiKey::from_code(key)
            .ok_or_else(|| r.error(DecodeFault::UnknownApiKey(key)).in_field("RequestHeader.request_api_key"))?;
        let request_api_version = r.read_i16().map_err(|error| error.in_field("RequestHeader.request_api_version"))?;
        let correlation_id = r.read_i32().map_err(|error| error.in_field("RequestHeader.correlation_id"))?;
        // The client id keeps its older encoding in version 2, so that the broker can read it whatever the version.
        let client_id = r.read_nullable_string(false).map_err(|error| error.in_field("RequestHeader.client_id"))?;
        if request_api_key.request_header_version(request_api_version) >= 2 {
            r.read_tagged_fields(&mut |_, _| Ok(false))?;
        }
        Ok(RequestHeader { request_api_key, request_api_version, correlation_id, client_id })
    }

    /// Writes the header in the version that its API key and version ask for.
    pub fn encode(&self, w: &mut Writer) {
        w.write_i16(self.request_api_key.code());
        w.write_i16(self.request_api_version);
        w.write_i32(self.correlation_id);
        w.write_nullable_string(self.client_id.as_ref(), false);
        if self.request_api_key.request_header_version(self.request_api_version) >= 2 {
            w.write_unsigned_varint(0);
        }
    }
}

/// The header of a response, versions 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ResponseHeader {
    /// The number of the request that this answers.
    pub correlation_id: i32,
}

impl ResponseHeader {
    /// Reads a header of `version`, which [`ApiKey::response_header_version`] gives.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are too few.
    pub fn decode(r: &mut Reader, version: i16) -> Result<ResponseHeader, DecodeError> {
        let correlation_id = r.read_i32().map_err(|error| error.in_field("ResponseHeader.correlation_id"))?;
        if version >= 1 {
            r.read_tagged_fields(&mut |_, _| Ok(false))?;
        }
        Ok(ResponseHeader { correlation_id })
    }

    /// Writes a header of `version`, which [`ApiKey::response_header_version`] gives.
    pub fn encode(&self, w: &mut Writer, version: i16) {
        w.write_i32(self.correlation_id);
        if version >= 1 {
            w.write_unsigned_varint(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    #[test]
    fn request_headers_come_back() {
        for version in [3, 9] {
            let header = RequestHeader {
                request_api_key: ApiKey::Produce,
                request_api_version: version,
                correlation_id: 7,
                client_id: Some("tester".into()),
            };
            let mut w = Writer::new();
            header.encode(&mut w);
            let mut r = Reader::new(w.finish().into_bytes());
            assert_eq!(RequestHeader::decode(&mut r), Ok(header));
            assert_eq!(r.finish(), Ok(()));
        }
    }

    #[test]
    fn an_unknown_version_is_left_to_the_caller_and_an_unknown_key_is_not() {
        let header = |key: u8| Bytes::copy_from_slice(&[0, key, 0, 99, 0, 0, 0, 1, 0xff, 0xff, 0]);
        let decoded = RequestHeader::decode(&mut Reader::new(header(18))).unwrap();
        assert_eq!((decoded.request_api_version, decoded.client_id), (99, None));
        let error = RequestHeader::decode(&mut Reader::new(header(77))).unwrap_err();
        assert_eq!(error.fault, DecodeFault::UnknownApiKey(77));
    }

    #[test]
    fn response_headers_come_back() {
        for version in [0, 1] {
            let mut w = Writer::new();
            ResponseHeader { correlation_id: -3 }.encode(&mut w, version);
            let mut r = Reader::new(w.finish().into_bytes());
            assert_eq!(ResponseHeader::decode(&mut r, version), Ok(ResponseHeader { correlation_id: -3 }));
            assert_eq!(r.finish(), Ok(()));
        }
    }
}
