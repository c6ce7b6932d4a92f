//! What a broker refuses, told to the user. This repository's broker has no authorization yet, so one is played here: it
//! answers each request with what the test says.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use crate::harness::load;
use bytes::Bytes;
use corelog::protocol::messages::api_versions::{ApiVersion, ApiVersionsResponse};
use corelog::protocol::messages::init_producer_id::InitProducerIdResponse;
use corelog::protocol::messages::metadata::{
    MetadataResponse, MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use corelog::protocol::messages::produce::{PartitionProduceResponse, ProduceResponse, TopicProduceResponse};
use corelog::protocol::{ApiKey, ErrorCode, Reader, RequestHeader, Writer, write_response};

/// What the broker refuses.
#[derive(Clone, Copy, PartialEq)]
enum Refused {
    Metadata,
    Produce,
    ProducerId,
}

/// Serves each connection on a thread. Its address.
fn serve(refused: Refused) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || while answer(&stream, address.port(), refused).is_some() {});
        }
    });
    address.to_string()
}

/// Answers one request; `None` at the end of the connection.
fn answer(mut stream: &TcpStream, port: u16, refused: Refused) -> Option<()> {
    let mut size = [0; 4];
    stream.read_exact(&mut size).ok()?;
    let mut body = vec![0; u32::from_be_bytes(size) as usize];
    stream.read_exact(&mut body).ok()?;
    let mut reader = Reader::new(Bytes::from(body));
    let header = RequestHeader::decode(&mut reader).expect("a header");
    let (version, correlation) = (header.request_api_version, header.correlation_id);
    let code = |what| if refused == what { ErrorCode::TopicAuthorizationFailed } else { ErrorCode::None };
    let mut writer = Writer::new();
    match header.request_api_key {
        ApiKey::ApiVersions => {
            let keys = [ApiKey::ApiVersions, ApiKey::Metadata, ApiKey::Produce, ApiKey::InitProducerId];
            let api = |key: &ApiKey| ApiVersion {
                api_key: key.code(),
                min_version: *key.versions().start(),
                max_version: *key.versions().end(),
            };
            let response = ApiVersionsResponse { api_keys: keys.iter().map(api).collect(), ..Default::default() };
            write_response(&mut writer, version, correlation, &response).expect("a frame");
        }
        ApiKey::Metadata => {
            let broker =
                MetadataResponseBroker { host: "127.0.0.1".into(), port: i32::from(port), ..Default::default() };
            let topic = MetadataResponseTopic {
                error_code: code(Refused::Metadata),
                name: Some("secret".into()),
                partitions: vec![MetadataResponsePartition::default()],
                ..Default::default()
            };
            let response = MetadataResponse { brokers: vec![broker], topics: vec![topic], ..Default::default() };
            write_response(&mut writer, version, correlation, &response).expect("a frame");
        }
        ApiKey::InitProducerId => {
            let error_code = match refused {
                Refused::ProducerId => ErrorCode::ClusterAuthorizationFailed,
                _ => ErrorCode::None,
            };
            let response = InitProducerIdResponse { error_code, ..Default::default() };
            write_response(&mut writer, version, correlation, &response).expect("a frame");
        }
        ApiKey::Produce => {
            let partition = PartitionProduceResponse { error_code: code(Refused::Produce), ..Default::default() };
            let topic = TopicProduceResponse {
                name: "secret".into(),
                partition_responses: vec![partition],
                ..Default::default()
            };
            let response = ProduceResponse { responses: vec![topic], ..Default::default() };
            write_response(&mut writer, version, correlation, &response).expect("a frame");
        }
        other => panic!("{other} was not announced"),
    }
    stream.write_all(&writer.finish().into_bytes()).ok()
}

#[test]
fn what_is_not_authorized_is_named() {
    let to = serve(Refused::Metadata);
    let run = load(&format!("produce --bootstrap {to} --topic secret --records 10"));
    run.expect_error_line("topic 'secret': TOPIC_AUTHORIZATION_FAILED");

    let to = serve(Refused::ProducerId);
    let run = load(&format!("produce --bootstrap {to} --topic secret --records 10 --idempotent"));
    run.expect_error_line("InitProducerId: CLUSTER_AUTHORIZATION_FAILED");

    let to = serve(Refused::Produce);
    let run = load(&format!("produce --bootstrap {to} --topic secret --records 10"));
    run.expect_failure("partition 0 of topic 'secret': TOPIC_AUTHORIZATION_FAILED");
    assert_eq!(run.track("produce")["records"], 0);
}

#[test]
fn an_api_that_the_broker_lacks_is_named() {
    let to = serve(Refused::Metadata);
    let run = load(&format!("consume --bootstrap {to} --topic secret"));
    run.expect_error_line("topic 'secret': TOPIC_AUTHORIZATION_FAILED");
    let to = serve(Refused::ProducerId);
    let run = load(&format!("consume --bootstrap {to} --topic secret"));
    run.expect_error_line("the broker does not serve ListOffsets");
}
