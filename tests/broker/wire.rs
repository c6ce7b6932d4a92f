//! Raw Kafka frames over TCP, for what no client library would send.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::ResponseHeader;
use kafka_protocol::protocol::{Decodable, HeaderVersion, Request};
use kafka_protocol::records::{Compression, Record, RecordBatchEncoder, RecordEncodeOptions, TimestampType};

use crate::harness::{DEADLINE, wait_for};

/// ApiVersions' number.
pub const API_VERSIONS: i16 = 18;
/// Metadata's number.
pub const METADATA: i16 = 3;
/// No response in these tests is longer; a larger announced length is the broker's error.
const RESPONSE_BYTES_MAX: usize = 1 << 20;

/// A connection to the broker.
pub struct Wire(TcpStream);

impl Wire {
    /// Connects, and gives every later read and write the usual deadline.
    pub fn connect(bootstrap: &str) -> Wire {
        let stream = wait_for("a connection to the broker", || TcpStream::connect(bootstrap).ok());
        stream.set_nodelay(true).expect("TCP_NODELAY");
        stream.set_read_timeout(Some(DEADLINE)).expect("a read timeout");
        stream.set_write_timeout(Some(DEADLINE)).expect("a write timeout");
        Wire(stream)
    }

    /// Sends bytes as they are. The broker may have closed the connection already: then the next read shows it.
    pub fn send(&mut self, bytes: &[u8]) {
        match self.0.write_all(bytes) {
            Err(error) if !closed(error.kind()) => panic!("writing {} bytes: {error}", bytes.len()),
            _ => {}
        }
    }

    /// Tells the broker that nothing more comes.
    pub fn send_end(&mut self) {
        // An error says that the broker was faster with its own end.
        let _ = self.0.shutdown(Shutdown::Write);
    }

    /// The next response without its length: the correlation id and what follows it.
    pub fn receive(&mut self) -> Vec<u8> {
        let mut length = [0; 4];
        self.0.read_exact(&mut length).expect("a response's length");
        let length = usize::try_from(i32::from_be_bytes(length)).expect("a response's length is positive");
        assert!(length <= RESPONSE_BYTES_MAX, "a response of {length} bytes");
        let mut body = vec![0; length];
        self.0.read_exact(&mut body).expect("a whole response");
        body
    }

    /// Reads until the broker has closed the connection; the bytes that came before that.
    pub fn read_to_close(&mut self) -> Vec<u8> {
        let mut came = Vec::new();
        let mut chunk = [0; 4096];
        loop {
            match self.0.read(&mut chunk) {
                Ok(0) => return came,
                Ok(count) => came.extend_from_slice(&chunk[..count]),
                Err(error) if closed(error.kind()) => return came,
                Err(error) => panic!("the broker was to close the connection: {error}"),
            }
        }
    }

    /// Whether the broker has closed this connection, seen within a moment and without waiting for it.
    pub fn is_open(&mut self) -> bool {
        self.0.set_read_timeout(Some(Duration::from_millis(1))).expect("a read timeout");
        let answer = self.0.peek(&mut [0; 1]);
        self.0.set_read_timeout(Some(DEADLINE)).expect("a read timeout");
        match answer {
            Ok(count) => count > 0,
            Err(error) => !closed(error.kind()),
        }
    }

    /// Sends a request and returns its response, both by the codec of the `kafka-protocol` crate.
    pub fn call<R: Request>(&mut self, version: i16, body: &R) -> R::Response {
        let mut bytes = Vec::new();
        body.encode(&mut bytes, version).expect("the request can be encoded");
        let flexible = R::header_version(version) == 2;
        let to_frame = if flexible { flexible_request } else { request };
        self.send(&to_frame(R::KEY, version, 5, &bytes));
        let mut response = Bytes::from(self.receive());
        let header = ResponseHeader::decode(&mut response, R::Response::header_version(version)).expect("a header");
        assert_eq!(header.correlation_id, 5);
        let decoded = R::Response::decode(&mut response, version).expect("a response of this version");
        assert!(response.is_empty(), "{} bytes follow the response", response.len());
        decoded
    }

    /// Asks for the API versions, the one request that every Kafka connection begins with, and checks the answer.
    pub fn assert_works(&mut self) {
        self.send(&request(API_VERSIONS, 0, 77, &[]));
        let versions = api_versions_v0(&self.receive(), 77);
        assert_eq!(versions.error_code, 0);
        assert!(versions.range_of(METADATA).is_some(), "the broker serves Metadata");
    }
}

fn closed(kind: ErrorKind) -> bool {
    matches!(kind, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::ConnectionAborted)
}

/// A batch of one record, as a producer without an id sends it.
pub fn batch_of_one(key: Option<&'static [u8]>, value: &[u8], timestamp: i64) -> Bytes {
    let record = Record {
        transactional: false,
        control: false,
        delete_horizon: false,
        partition_leader_epoch: -1,
        producer_id: -1,
        producer_epoch: -1,
        timestamp_type: TimestampType::Creation,
        offset: 0,
        sequence: -1,
        timestamp,
        key: key.map(Bytes::from_static),
        value: Some(Bytes::copy_from_slice(value)),
        headers: Default::default(),
    };
    let mut batch = BytesMut::new();
    let options = RecordEncodeOptions { version: 2, compression: Compression::None };
    RecordBatchEncoder::encode(&mut batch, [&record], &options).expect("a batch");
    batch.freeze()
}

/// A frame: the length, then the bytes.
pub fn frame(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).expect("tests send small frames").to_be_bytes()[..], bytes].concat()
}

/// A framed request with a version 1 header, whose client id is "raw".
pub fn request(api: i16, version: i16, correlation: i32, body: &[u8]) -> Vec<u8> {
    let mut bytes = [&api.to_be_bytes()[..], &version.to_be_bytes(), &correlation.to_be_bytes(), b"\0\x03raw"].concat();
    bytes.extend_from_slice(body);
    frame(&bytes)
}

/// A framed request with a version 2 header: the same and no tagged fields.
pub fn flexible_request(api: i16, version: i16, correlation: i32, body: &[u8]) -> Vec<u8> {
    request(api, version, correlation, &[&[0], body].concat())
}

/// ApiVersions' response, version 0.
pub struct ApiVersions {
    /// 0, or 35 for a version that the broker does not serve.
    pub error_code: i16,
    ranges: Vec<[i16; 3]>,
}

impl ApiVersions {
    /// The lowest and the highest version of an API that the broker serves.
    pub fn range_of(&self, api: i16) -> Option<(i16, i16)> {
        self.ranges.iter().find(|range| range[0] == api).map(|range| (range[1], range[2]))
    }
}

/// Parses a response of exactly that version and correlation id.
pub fn api_versions_v0(response: &[u8], correlation: i32) -> ApiVersions {
    assert!(response.len() >= 10, "{} bytes are no ApiVersions response", response.len());
    let (header, ranges) = response.split_at(10);
    assert_eq!(header[..4], correlation.to_be_bytes(), "the correlation id");
    let error_code = i16::from_be_bytes([header[4], header[5]]);
    let count = i32::from_be_bytes([header[6], header[7], header[8], header[9]]);
    assert_eq!(ranges.len() as i64, i64::from(count) * 6, "{count} ranges of six bytes, and nothing after them");
    let number = |range: &[u8], at: usize| i16::from_be_bytes([range[at], range[at + 1]]);
    let ranges = ranges.chunks(6).map(|range| [number(range, 0), number(range, 2), number(range, 4)]).collect();
    ApiVersions { error_code, ranges }
}
