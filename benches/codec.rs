//! What is done to the bytes of a request and of a response: batches are validated, messages decoded and encoded. Beside
//! ours, `kafka-protocol`, the codec that the tests hold ours against.

#![allow(missing_docs, reason = "criterion's macros make functions without a text")]

use std::hint::black_box;

use bytes::{Bytes, BytesMut};
use corelog::protocol::messages::fetch::{FetchResponse, FetchableTopicResponse, PartitionData};
use corelog::protocol::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponse, MetadataResponsePartition, MetadataResponseTopic,
};
use corelog::protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use corelog::protocol::{
    KafkaString, Message, Reader, Request, RequestHeader, Writer, decode_request, write_request, write_response,
};
use corelog::record::{BatchBuilder, ProduceRules, TimestampType, validate_produced, verify_crc};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kafka_protocol::messages as theirs;
use kafka_protocol::protocol::{Decodable, Encodable};

/// The versions measured: by name, as most clients in the field still ask.
const PRODUCE_VERSION: i16 = 9;
const FETCH_VERSION: i16 = 12;
const METADATA_VERSION: i16 = 12;
const NOW_MS: i64 = 1_700_000_000_000;

/// Records and bytes of their values, by the name in the report.
const BATCHES: [(&str, usize, usize); 4] =
    [("1 x 100B", 1, 100), ("1 x 1KB", 1, 1024), ("1000 x 100B", 1000, 100), ("1000 x 1KB", 1000, 1024)];

fn batch(records: usize, value_bytes: usize) -> Bytes {
    let value: Vec<u8> = (0..value_bytes).map(|at| (at * 31) as u8).collect();
    let mut builder = BatchBuilder::new();
    for index in 0..records {
        builder.append(NOW_MS + index as i64 / 100, None, Some(&value), &[]);
    }
    builder.build().expect("a batch")
}

/// A whole frame without its size: header and request.
fn request<R: Request>(version: i16, request: &R) -> Bytes {
    let mut w = Writer::new();
    write_request(&mut w, version, 7, Some("bench".into()), request).expect("a frame");
    w.finish().into_bytes().slice(4..)
}

fn body<M: Message>(version: i16, message: &M) -> Bytes {
    let mut w = Writer::new();
    message.encode(&mut w, version);
    w.finish().into_bytes()
}

fn decode_ours<R: Request>(frame: Bytes) -> R {
    let mut r = Reader::new(frame.clone());
    let header = RequestHeader::decode(&mut r).expect("a header");
    let read = frame.len() - r.remaining();
    decode_request(frame.slice(read..), header.request_api_version).expect("a request")
}

fn decode_theirs<R: Decodable>(mut frame: Bytes) -> R {
    let header = theirs::RequestHeader::decode(&mut frame, 2).expect("a header");
    R::decode(&mut frame, header.request_api_version).expect("a request")
}

fn encode_theirs<M: Encodable>(message: &M, version: i16) -> Bytes {
    let mut frame = BytesMut::new();
    theirs::ResponseHeader::default().with_correlation_id(7).encode(&mut frame, 1).expect("a header");
    message.encode(&mut frame, version).expect("a response");
    frame.freeze()
}

fn validate(c: &mut Criterion) {
    let rules = ProduceRules {
        max_message_bytes: 1_048_588,
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: 3_600_000,
        keys_required: false,
    };
    let mut group = c.benchmark_group("record batch");
    for (name, records, value_bytes) in BATCHES {
        let batch = batch(records, value_bytes);
        group.throughput(Throughput::Bytes(batch.len() as u64));
        group.bench_function(format!("validate {name}"), |b| {
            b.iter(|| validate_produced(black_box(&batch), &rules, NOW_MS).expect("a good batch"));
        });
        group.bench_function(format!("crc {name}"), |b| b.iter(|| assert!(verify_crc(black_box(&batch)))));
    }
    group.finish();
}

fn produce(c: &mut Criterion) {
    let mut group = c.benchmark_group("decode produce");
    for (name, records, value_bytes) in BATCHES {
        let partition = PartitionProduceData { index: 3, records: Some(batch(records, value_bytes)) };
        let topic = TopicProduceData { name: "orders".into(), partition_data: vec![partition], ..Default::default() };
        let frame = request(
            PRODUCE_VERSION,
            &ProduceRequest { acks: -1, timeout_ms: 30_000, topic_data: vec![topic], ..Default::default() },
        );
        group.bench_function(format!("ours {name}"), |b| {
            b.iter(|| decode_ours::<ProduceRequest>(black_box(&frame).clone()));
        });
        group.bench_function(format!("kafka-protocol {name}"), |b| {
            b.iter(|| decode_theirs::<theirs::ProduceRequest>(black_box(&frame).clone()));
        });
    }
    group.finish();
}

fn fetch(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode fetch");
    for (name, records, value_bytes) in BATCHES {
        let partition = PartitionData {
            partition_index: 3,
            high_watermark: 1_000_000,
            last_stable_offset: 1_000_000,
            log_start_offset: 0,
            aborted_transactions: None,
            records: Some(batch(records, value_bytes).into()),
            ..Default::default()
        };
        let topic =
            FetchableTopicResponse { topic: "orders".into(), partitions: vec![partition], ..Default::default() };
        let response = FetchResponse { responses: vec![topic], ..Default::default() };
        group.bench_function(format!("ours {name}"), |b| {
            b.iter(|| {
                let mut w = Writer::new();
                write_response(&mut w, FETCH_VERSION, 7, black_box(&response)).expect("a frame");
                w.finish()
            });
        });
        let response = theirs::FetchResponse::decode(&mut body(FETCH_VERSION, &response), FETCH_VERSION);
        let response = response.expect("our own encoding");
        group.bench_function(format!("kafka-protocol {name}"), |b| {
            b.iter(|| encode_theirs(black_box(&response), FETCH_VERSION));
        });
    }
    group.finish();
}

fn metadata(c: &mut Criterion) {
    let name = |index: usize| Some(KafkaString::from(format!("topic-{index}")));
    let topics = (0..100).map(|index| MetadataRequestTopic { name: name(index), ..Default::default() }).collect();
    let frame = request(METADATA_VERSION, &MetadataRequest { topics: Some(topics), ..Default::default() });
    let mut group = c.benchmark_group("decode metadata");
    group.bench_function("ours 100 topics", |b| {
        b.iter(|| decode_ours::<MetadataRequest>(black_box(&frame).clone()));
    });
    group.bench_function("kafka-protocol 100 topics", |b| {
        b.iter(|| decode_theirs::<theirs::MetadataRequest>(black_box(&frame).clone()));
    });
    group.finish();

    let partition = |index| MetadataResponsePartition {
        partition_index: index,
        replica_nodes: vec![0],
        isr_nodes: vec![0],
        ..Default::default()
    };
    let topic = |index| MetadataResponseTopic {
        name: name(index),
        partitions: (0..100).map(partition).collect(),
        ..Default::default()
    };
    let response = MetadataResponse { topics: (0..10).map(topic).collect(), ..Default::default() };
    let mut group = c.benchmark_group("encode metadata");
    group.bench_function("ours 1000 partitions", |b| {
        b.iter(|| {
            let mut w = Writer::new();
            write_response(&mut w, METADATA_VERSION, 7, black_box(&response)).expect("a frame");
            w.finish()
        });
    });
    let response = theirs::MetadataResponse::decode(&mut body(METADATA_VERSION, &response), METADATA_VERSION);
    let response = response.expect("our own encoding");
    group.bench_function("kafka-protocol 1000 partitions", |b| {
        b.iter(|| encode_theirs(black_box(&response), METADATA_VERSION));
    });
    group.finish();
}

criterion_group!(benches, validate, produce, fetch, metadata);
criterion_main!(benches);
