//! A broker that lies once: a proxy before the real one, which clients are told to connect to.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use corelog::protocol::messages::fetch::{FetchRequest, FetchResponse};
use corelog::protocol::messages::produce::{
    PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceResponse,
};
use corelog::protocol::{ApiKey, ByteSlices, Writer, decode_request, decode_response, write_response};

use crate::harness::{Broker, free_port};

/// What it lies about: one data request, counted from 1.
#[derive(Clone, Copy)]
pub enum Lie {
    /// Acknowledges a produce and does not append it.
    DropProduce(u64),
    /// Appends a produce twice: the second time as nobody's, so that no idempotence finds it.
    RepeatProduce(u64),
    /// Flips a bit of the first batch of a fetch that brings any.
    FlipFetched(u64),
}

/// The broker.
pub struct LyingBroker {
    bootstrap: String,
    _broker: Broker,
}

impl LyingBroker {
    /// Starts it.
    pub fn start(lie: Lie) -> LyingBroker {
        let bootstrap = format!("127.0.0.1:{}", free_port());
        let broker = Broker::start_with(&["--advertised", &bootstrap]);
        let listener = TcpListener::bind(&bootstrap).expect("the proxy's port");
        let real = broker.bootstrap().to_owned();
        let seen = Arc::new(AtomicU64::new(0));
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let (real, seen) = (real.clone(), seen.clone());
                std::thread::spawn(move || {
                    let Ok(server) = TcpStream::connect(real) else { return };
                    serve(client, server, lie, &seen);
                });
            }
        });
        LyingBroker { bootstrap, _broker: broker }
    }

    /// `HOST:PORT`.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }
}

/// A frame without its size; `None` at the end of the connection.
fn frame(stream: &mut TcpStream) -> Option<Bytes> {
    let mut size = [0; 4];
    match stream.read_exact(&mut size) {
        Ok(()) => {}
        Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => return None,
        Err(error) => panic!("{error}"),
    }
    let mut body = vec![0; u32::from_be_bytes(size) as usize];
    stream.read_exact(&mut body).ok()?;
    Some(body.into())
}

fn send(stream: &mut TcpStream, body: &[u8]) -> Option<()> {
    stream.write_all(&[&(body.len() as u32).to_be_bytes()[..], body].concat()).ok()
}

/// Passes a connection's requests on one by one, each with its answer, and lies when it is time.
fn serve(mut client: TcpStream, mut server: TcpStream, lie: Lie, seen: &AtomicU64) {
    let mut pass = || {
        let request = frame(&mut client)?;
        let (key, version) =
            (i16::from_be_bytes([request[0], request[1]]), i16::from_be_bytes([request[2], request[3]]));
        let correlation = i32::from_be_bytes([request[4], request[5], request[6], request[7]]);
        let is_produce = key == ApiKey::Produce.code();
        let turn = match lie {
            Lie::DropProduce(turn) | Lie::RepeatProduce(turn) => {
                is_produce && seen.fetch_add(1, Ordering::SeqCst) + 1 == turn
            }
            Lie::FlipFetched(_) => false,
        };
        match lie {
            Lie::DropProduce(_) if turn => {
                return send(&mut client, &acknowledgement(&request, version, correlation));
            }
            Lie::RepeatProduce(_) if turn => {
                send(&mut server, &as_nobody_s(&request))?;
                frame(&mut server)?;
            }
            _ => {}
        }
        send(&mut server, &request)?;
        let mut answer = frame(&mut server)?;
        if let Lie::FlipFetched(turn) = lie
            && key == ApiKey::Fetch.code()
            && let Some(flipped) = flipped(&answer, version, correlation)
            && seen.fetch_add(1, Ordering::SeqCst) + 1 == turn
        {
            answer = flipped;
        }
        send(&mut client, &answer)
    };
    while pass().is_some() {}
    let _ = server.shutdown(Shutdown::Both);
    let _ = client.shutdown(Shutdown::Both);
}

/// The bytes behind a request's header: a client id that is not null, and no tagged fields.
fn body(request: &Bytes) -> Bytes {
    let client_id = usize::from(u16::from_be_bytes([request[8], request[9]]));
    request.slice(10 + client_id + 1..)
}

fn acknowledgement(request: &Bytes, version: i16, correlation: i32) -> Bytes {
    let asked: ProduceRequest = decode_request(body(request), version).expect("a produce");
    let topics = asked.topic_data.iter().map(|topic| {
        let partition = |index| PartitionProduceResponse { index, ..Default::default() };
        let partitions = topic.partition_data.iter().map(|data| partition(data.index)).collect();
        TopicProduceResponse { name: topic.name.clone(), partition_responses: partitions, ..Default::default() }
    });
    let response = ProduceResponse { responses: topics.collect(), ..Default::default() };
    encoded::<ProduceRequest>(version, correlation, &response)
}

/// The same produce without a producer id. The batch is the last field of its request, but for tagged fields.
fn as_nobody_s(request: &Bytes) -> Bytes {
    let asked: ProduceRequest = decode_request(body(request), 12).expect("a produce in the client's version");
    let batch = asked.topic_data[0].partition_data[0].records.clone().expect("a batch");
    let at = request.windows(batch.len()).position(|window| window == batch).expect("the batch in its frame");
    let mut all = request.to_vec();
    corelog::record::restamp(&mut all[at..at + batch.len()], 1_000, -1, -1, -1);
    all.into()
}

/// A fetch's answer with one bit flipped in the last record of its first batch; `None` when it brings none.
fn flipped(answer: &Bytes, version: i16, correlation: i32) -> Option<Bytes> {
    let mut response: FetchResponse =
        decode_response::<FetchRequest>(answer.slice(5..), version).expect("a fetch's answer");
    let mut partitions = response.responses.iter_mut().flat_map(|topic| &mut topic.partitions);
    let partition =
        partitions.find(|partition| partition.records.as_ref().is_some_and(|records| !records.is_empty()))?;
    let mut bytes = partition.records.as_ref()?.to_bytes().to_vec();
    let header = corelog::record::BatchHeader::parse(&bytes).expect("a batch");
    bytes[header.total_len() - 5] ^= 8;
    partition.records = Some(ByteSlices::from(Bytes::from(bytes)));
    Some(encoded::<FetchRequest>(version, correlation, &response))
}

fn encoded<R: corelog::protocol::Request>(version: i16, correlation: i32, response: &R::Response) -> Bytes {
    let mut w = Writer::new();
    write_response(&mut w, version, correlation, response).expect("a frame");
    w.finish().into_bytes().slice(4..)
}
