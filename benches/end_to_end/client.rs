//! A connection for everything that is not measured: topics, metadata, the first record of each partition.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use corelog::protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use corelog::protocol::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use corelog::protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic, MetadataResponse};
use corelog::protocol::{ErrorCode, Message, Request, decode_response};

use crate::frames;

/// How long anything may take that is not measured.
pub const DEADLINE: Duration = Duration::from_secs(120);
/// No response here is longer.
const RESPONSE_BYTES_MAX: usize = 64 << 20;

/// Opens a connection as every measured one is: blocking, TCP_NODELAY, and no answer for [`DEADLINE`] is an error.
///
/// # Errors
/// Those of the sockets.
pub fn connect(address: SocketAddr) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect(address).with_context(|| format!("connect to {address}"))?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(DEADLINE))?;
    stream.set_write_timeout(Some(DEADLINE))?;
    Ok(stream)
}

/// A connection with one request at a time.
pub struct Client {
    stream: TcpStream,
    correlation: i32,
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// Those of the sockets.
    pub fn connect(address: SocketAddr) -> anyhow::Result<Client> {
        Ok(Client { stream: connect(address)?, correlation: 0 })
    }

    /// Sends a request and waits for its response.
    ///
    /// # Errors
    /// Those of the sockets, and a response that is none.
    pub fn call<R: Request>(&mut self, version: i16, request: &R) -> anyhow::Result<R::Response> {
        self.correlation += 1;
        let mut frame = Vec::from(frames::frame(version, request)?);
        frames::set_correlation(&mut frame, self.correlation);
        self.stream.write_all(&frame).context("send a request")?;
        let mut size = [0; 4];
        self.stream.read_exact(&mut size).context("read a response")?;
        let size = u32::from_be_bytes(size) as usize;
        ensure!((4..=RESPONSE_BYTES_MAX).contains(&size), "a response of {size} bytes");
        let mut body = vec![0; size];
        self.stream.read_exact(&mut body).context("read a response")?;
        ensure!(body[..4] == self.correlation.to_be_bytes(), "a response to another request");
        let header_bytes = if R::Response::KEY.response_header_version(version) >= 1 { 5 } else { 4 };
        decode_response::<R>(Bytes::from(body).slice(header_bytes..), version)
            .with_context(|| format!("a response to {}", R::KEY))
    }

    /// The broker's metadata of `topics`; of all when there are none.
    ///
    /// # Errors
    /// Those of [`Client::call`].
    pub fn metadata(&mut self, topics: &[&str]) -> anyhow::Result<MetadataResponse> {
        let named = |name: &&str| MetadataRequestTopic { name: Some((*name).into()), ..Default::default() };
        let topics = (!topics.is_empty()).then(|| topics.iter().map(named).collect());
        self.call(9, &MetadataRequest { topics, allow_auto_topic_creation: false, ..Default::default() })
    }

    /// Creates a topic and waits until all its partitions have a leader.
    ///
    /// # Errors
    /// Those of [`Client::call`], and the broker's.
    pub fn create_topic(&mut self, name: &str, partitions: usize) -> anyhow::Result<()> {
        let topic = CreatableTopic {
            name: name.into(),
            num_partitions: partitions as i32,
            replication_factor: 1,
            ..Default::default()
        };
        let request = CreateTopicsRequest { topics: vec![topic], ..Default::default() };
        let response = self.call(5, &request)?;
        let result = response.topics.first().context("an empty response to CreateTopics")?;
        ensure!(result.error_code == ErrorCode::None, "topic {name}: {:?}", result.error_code);
        let end = Instant::now() + DEADLINE;
        while self.led_partitions(&[name])? < partitions {
            if Instant::now() > end {
                bail!("topic {name} has partitions without a leader after {DEADLINE:?}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// How many partitions of `topics` (all when there are none) have a leader.
    ///
    /// # Errors
    /// Those of [`Client::call`].
    pub fn led_partitions(&mut self, topics: &[&str]) -> anyhow::Result<usize> {
        let metadata = self.metadata(topics)?;
        let partitions = metadata.topics.iter().flat_map(|topic| &topic.partitions);
        Ok(partitions.filter(|partition| partition.error_code == ErrorCode::None && partition.leader_id >= 0).count())
    }

    /// Deletes a topic.
    ///
    /// # Errors
    /// Those of [`Client::call`], and the broker's.
    pub fn delete_topic(&mut self, name: &str) -> anyhow::Result<()> {
        let topic = DeleteTopicState { name: Some(name.into()), ..Default::default() };
        let request = DeleteTopicsRequest { topics: vec![topic], topic_names: vec![name.into()], timeout_ms: 60_000 };
        let response = self.call(5, &request)?;
        let result = response.responses.first().context("an empty response to DeleteTopics")?;
        ensure!(result.error_code == ErrorCode::None, "delete topic {name}: {:?}", result.error_code);
        Ok(())
    }
}
