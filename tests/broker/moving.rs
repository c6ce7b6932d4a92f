//! A connection whose requests are all for one shard's partitions moves to that shard, and its client does not notice.

use bytes::Bytes;
use kafka_protocol::messages::fetch_request::{FetchPartition, FetchTopic};
use kafka_protocol::messages::produce_request::{PartitionProduceData, TopicProduceData};
use kafka_protocol::messages::{ApiKey, FetchRequest, ProduceRequest, ProduceResponse, TopicName};
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};

use crate::client::create_topic;
use crate::harness::{Broker, now_ms, unique};
use crate::wire::{Wire, batch_of_one, flexible_request};

const PRODUCE_VERSION: i16 = 9;
const FETCH_VERSION: i16 = 12;
/// More than the broker waits for before it moves a connection for the third time.
const REQUESTS: usize = 160;
const IN_FLIGHT: usize = 8;

fn produce_frame(topic: &str, partition: i32, correlation: i32) -> Vec<u8> {
    let data = PartitionProduceData::default().with_index(partition).with_records(Some(batch_of_one(
        None,
        b"a record",
        now_ms(),
    )));
    let name = TopicName(StrBytes::from_string(topic.to_owned()));
    let data = TopicProduceData::default().with_name(name).with_partition_data(vec![data]);
    let request = ProduceRequest::default().with_acks(-1).with_timeout_ms(20_000).with_topic_data(vec![data]);
    let mut bytes = Vec::new();
    request.encode(&mut bytes, PRODUCE_VERSION).expect("the request can be encoded");
    flexible_request(ApiKey::Produce as i16, PRODUCE_VERSION, correlation, &bytes)
}

fn moves(broker: &Broker) -> usize {
    broker.log().iter().filter(|line| line.contains("moves to shard")).count()
}

#[test]
fn requests_in_flight_are_answered_in_order_while_the_connection_moves() {
    let Some(broker) = Broker::start_own() else { return };
    let topic = unique("moving");
    create_topic(broker.bootstrap(), &topic, 2);
    let mut wire = Wire::connect(broker.bootstrap());
    let mut ends = [0, 0];
    // The two partitions are on two shards: wherever the connection begins, it has reason to move.
    for partition in [0, 1, 0] {
        for round in 0..REQUESTS / IN_FLIGHT {
            let first = round * IN_FLIGHT;
            let frames = (first..first + IN_FLIGHT).flat_map(|number| produce_frame(&topic, partition, number as i32));
            wire.send(&frames.collect::<Vec<_>>());
            for number in first..first + IN_FLIGHT {
                let mut response = Bytes::from(wire.receive());
                assert_eq!(response[..4], (number as i32).to_be_bytes(), "the answers come in the requests' order");
                // Behind the correlation id stands an empty list of tagged fields.
                let _header = response.split_to(5);
                let response = ProduceResponse::decode(&mut response, PRODUCE_VERSION).expect("a response");
                let produced = &response.responses[0].partition_responses[0];
                let end = &mut ends[partition as usize];
                assert_eq!((produced.error_code, produced.base_offset), (0, *end), "no request is lost or done twice");
                *end += 1;
            }
        }
    }
    assert!(moves(&broker) >= 2, "the connection has followed its requests: {:?}", broker.log());
}

#[test]
fn a_fetch_session_moves_with_its_connection() {
    let Some(broker) = Broker::start_own() else { return };
    let topic = unique("session");
    create_topic(broker.bootstrap(), &topic, 1);
    let mut wire = Wire::connect(broker.bootstrap());
    wire.send(&produce_frame(&topic, 0, 1));
    wire.receive();
    let before = moves(&broker);
    // Connections are dealt to the two shards in turn: one of these two is not where the partition is.
    for mut wire in [Wire::connect(broker.bootstrap()), Wire::connect(broker.bootstrap())] {
        let partition = FetchPartition::default().with_fetch_offset(0).with_partition_max_bytes(1 << 20);
        let name = TopicName(StrBytes::from_string(topic.clone()));
        let topics = vec![FetchTopic::default().with_topic(name).with_partitions(vec![partition])];
        let first = FetchRequest::default().with_max_wait_ms(0).with_session_epoch(0).with_topics(topics);
        let session = wire.call(FETCH_VERSION, &first).session_id;
        assert_ne!(session, 0, "the broker keeps sessions");
        for epoch in 1..60 {
            let next = FetchRequest::default().with_max_wait_ms(0).with_session_id(session).with_session_epoch(epoch);
            let response = wire.call(FETCH_VERSION, &next);
            assert_eq!((response.error_code, response.session_id), (0, session), "epoch {epoch}");
            let read = response.responses[0].partitions[0].records.as_ref().expect("records");
            assert!(!read.is_empty(), "epoch {epoch} reads what the session asks for");
        }
    }
    assert_eq!(moves(&broker), before + 1, "{:?}", broker.log());
}
