//! The thin client: the project's codec over ordinary sockets.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`cluster`] | the broker's versions, the topic and who leads its partitions |
//! | `control` | a connection with one request at a time, for all that is not measured |
//! | [`target`] | the partitions of one or several topics |
//! | [`control`] | a connection with one request at a time, for all that is not measured |
//! | [`link`] | a measured connection: non-blocking, many requests on their way |
//! | [`one_batch`] | the produce request of one batch |
//! | [`offsets`] | committed offsets of a group |
//! | [`retry`] | what is tried again, after how long, and for how long |
//! | [`transactions`] | the requests of a transaction |
//! | [`wait`] | waiting for several links, or for a point in time |

pub mod cluster;
pub mod control;
pub mod link;
pub mod offsets;
pub mod one_batch;
pub mod retry;
pub mod target;
pub mod transactions;
pub mod wait;

use corelog::protocol::{Encoded, Request, Writer, write_request};

/// What requests say who sends them.
pub const CLIENT_ID: &str = "corelog-load";
/// How long a broker may take for an answer. As long as Kafka's clients wait (`request.timeout.ms`).
pub const ANSWER_DEADLINE: std::time::Duration = std::time::Duration::from_secs(30);
/// How long connecting may take.
const CONNECT_DEADLINE: std::time::Duration = std::time::Duration::from_secs(10);
/// No answer is longer: a longer one is a sign that it is none.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// A request's frame.
///
/// # Errors
/// When it would be larger than a frame can be.
pub fn frame<R: Request>(version: i16, correlation: i32, request: &R) -> anyhow::Result<Encoded> {
    let mut w = Writer::new();
    write_request(&mut w, version, correlation, Some(corelog::protocol::KafkaString::from_static(CLIENT_ID)), request)?;
    Ok(w.finish())
}

/// Decodes an answer: what follows a frame's size. Its correlation id, and its body.
///
/// # Errors
/// When the bytes are not such an answer.
pub fn parse_answer<R: Request>(version: i16, answer: bytes::Bytes) -> anyhow::Result<(i32, R::Response)> {
    use anyhow::Context;
    use corelog::protocol::{Message, Reader, ResponseHeader};
    let what = || format!("the broker's answer to {}", R::KEY);
    let mut r = Reader::new(answer);
    let header = ResponseHeader::decode(&mut r, R::KEY.response_header_version(version)).with_context(what)?;
    let response = R::Response::decode(&mut r, version).with_context(what)?;
    r.finish().with_context(what)?;
    Ok((header.correlation_id, response))
}
