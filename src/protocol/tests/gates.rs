//! The versions in which null is allowed and in which tagged fields exist: what random messages cannot show, because the
//! oracle takes null in every version, and a tagged field may always be absent.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages as theirs;
use kafka_protocol::protocol::Encodable;

use crate::protocol::messages::{api_versions, create_topics, fetch, metadata, produce};
use crate::protocol::messages::{delete_topics, join_group, offset_fetch};
use crate::protocol::{DecodeFault, KafkaString, Message, Reader, Writer};

fn encode<M: Message>(message: &M, version: i16) -> Bytes {
    let mut w = Writer::new();
    message.encode(&mut w, version);
    w.finish().into_bytes()
}

fn decode<M: Message>(bytes: Bytes, version: i16) -> Result<M, crate::protocol::DecodeError> {
    M::decode(&mut Reader::new(bytes), version)
}

/// A message with a null, which is allowed from version `first` on; before, it is written as `empty`.
fn null_from<M: Message + PartialEq + std::fmt::Debug>(first: i16, null: M, empty: M) {
    let before = first - 1;
    assert_eq!(encode(&null, before), encode(&empty, before), "{} {before}", M::KEY);
    assert_ne!(encode(&null, first), encode(&empty, first), "{} {first}", M::KEY);
    assert_eq!(decode(encode(&null, first), first), Ok(null), "{} {first}", M::KEY);
}

#[test]
fn null_is_allowed_from_kafkas_versions_on() {
    let text = || Some(KafkaString::default());
    let request = |topics| metadata::MetadataRequest { topics, ..Default::default() };
    null_from(1, request(None), request(Some(Vec::new())));
    let topic = |name| metadata::MetadataRequestTopic { name, ..Default::default() };
    null_from(10, request(Some(vec![topic(None)])), request(Some(vec![topic(text())])));
    let topic = |name| metadata::MetadataResponseTopic { name, ..Default::default() };
    let response = |name| metadata::MetadataResponse { topics: vec![topic(name)], ..Default::default() };
    null_from(12, response(None), response(text()));
    let result = |name| delete_topics::DeletableTopicResult { name, ..Default::default() };
    let response = |name| delete_topics::DeleteTopicsResponse { responses: vec![result(name)], ..Default::default() };
    null_from(6, response(None), response(text()));
    let response = |protocol_name| join_group::JoinGroupResponse { protocol_name, ..Default::default() };
    null_from(7, response(None), response(text()));
    let request = |topics| offset_fetch::OffsetFetchRequest { topics, ..Default::default() };
    null_from(2, request(None), request(Some(Vec::new())));
}

#[test]
fn null_is_refused_before() {
    let refused = |bytes: &'static [u8], version| {
        let error = decode::<metadata::MetadataRequest>(Bytes::from_static(bytes), version).unwrap_err();
        (error.fault, error.field)
    };
    let null = DecodeFault::UnexpectedNull;
    assert_eq!(refused(&[0xff, 0xff, 0xff, 0xff], 0), (null.clone(), "MetadataRequest.topics"));
    assert_eq!(refused(&[0, 0, 0, 1, 0xff, 0xff], 8), (null.clone(), "MetadataRequestTopic.name"));
    assert_eq!(refused(&[2, 0, 0], 9), (null, "MetadataRequestTopic.name"));
}

/// Their message, encoded in version `first`, gives `ours`; and in the version before, if there is one, ours is encoded
/// without the field, as the default is.
fn tagged_from<M: Message + Clone + PartialEq + std::fmt::Debug>(
    first: i16,
    ours: M,
    without: M,
    theirs: impl Encodable,
) {
    let mut bytes = BytesMut::new();
    theirs.encode(&mut bytes, first).expect("the field is there");
    assert_eq!(encode(&ours, first), bytes, "{} {first}", M::KEY);
    assert_eq!(decode(bytes.freeze(), first), Ok(ours.clone()), "{} {first}", M::KEY);
    assert_eq!(encode(&ours, first - 1), encode(&without, first - 1), "{} {}", M::KEY, first - 1);
}

#[test]
fn tagged_fields_of_fetch_requests_exist_from_kafkas_versions_on() {
    use fetch::{FetchPartition, FetchRequest, FetchTopic, ReplicaState};
    type Theirs = theirs::FetchRequest;
    let none = FetchRequest::default;
    let ours = FetchRequest { cluster_id: Some("c".into()), ..none() };
    tagged_from(12, ours, none(), Theirs::default().with_cluster_id(Some("c".to_string().into())));
    let ours = FetchRequest { replica_state: ReplicaState { replica_id: 3, replica_epoch: 4 }, ..none() };
    let state = theirs::fetch_request::ReplicaState::default().with_replica_id(3.into()).with_replica_epoch(4);
    tagged_from(15, ours, none(), Theirs::default().with_replica_state(state));

    let ours = |partition| {
        let partitions = vec![partition];
        FetchRequest { topics: vec![FetchTopic { partitions, ..Default::default() }], ..Default::default() }
    };
    let none = FetchPartition::default;
    let theirs = |partition| {
        let topic = theirs::fetch_request::FetchTopic::default().with_partitions(vec![partition]);
        Theirs::default().with_topics(vec![topic])
    };
    let partition = theirs::fetch_request::FetchPartition::default;
    let directory = FetchPartition { replica_directory_id: crate::vocabulary::TopicId([7; 16]), ..none() };
    let their_id = "07070707-0707-0707-0707-070707070707".parse().unwrap();
    tagged_from(17, ours(directory), ours(none()), theirs(partition().with_replica_directory_id(their_id)));
    let watermark = FetchPartition { high_watermark: 8, ..none() };
    tagged_from(18, ours(watermark), ours(none()), theirs(partition().with_high_watermark(8)));
}

#[test]
fn tagged_fields_of_fetch_responses_exist_from_kafkas_versions_on() {
    use fetch::{EpochEndOffset, FetchResponse, FetchableTopicResponse, LeaderIdAndEpoch, PartitionData, SnapshotId};
    type Theirs = theirs::FetchResponse;
    let node = fetch::NodeEndpoint { node_id: 1, host: "h".into(), port: 9092, rack: None };
    let their_node = theirs::fetch_response::NodeEndpoint::default()
        .with_node_id(1.into())
        .with_host("h".to_string().into())
        .with_port(9092);
    let ours = FetchResponse { node_endpoints: vec![node], ..Default::default() };
    let theirs = Theirs::default().with_node_endpoints(vec![their_node]);
    tagged_from(16, ours, FetchResponse::default(), theirs);

    let ours = |partition| {
        let partitions = vec![partition];
        FetchResponse {
            responses: vec![FetchableTopicResponse { partitions, ..Default::default() }],
            ..Default::default()
        }
    };
    let none = PartitionData::default;
    let theirs = |partition| {
        let topic = theirs::fetch_response::FetchableTopicResponse::default().with_partitions(vec![partition]);
        Theirs::default().with_responses(vec![topic])
    };
    let partition = theirs::fetch_response::PartitionData::default;
    let diverging = PartitionData { diverging_epoch: EpochEndOffset { epoch: 1, end_offset: 2 }, ..none() };
    let value = theirs::fetch_response::EpochEndOffset::default().with_epoch(1).with_end_offset(2);
    tagged_from(12, ours(diverging), ours(none()), theirs(partition().with_diverging_epoch(value)));
    let leader = PartitionData { current_leader: LeaderIdAndEpoch { leader_id: 3, leader_epoch: 4 }, ..none() };
    let value = theirs::fetch_response::LeaderIdAndEpoch::default().with_leader_id(3.into()).with_leader_epoch(4);
    tagged_from(12, ours(leader), ours(none()), theirs(partition().with_current_leader(value)));
    let snapshot = PartitionData { snapshot_id: SnapshotId { end_offset: 5, epoch: 6 }, ..none() };
    let value = theirs::fetch_response::SnapshotId::default().with_end_offset(5).with_epoch(6);
    tagged_from(12, ours(snapshot), ours(none()), theirs(partition().with_snapshot_id(value)));
}

#[test]
fn tagged_fields_of_produce_responses_exist_from_kafkas_versions_on() {
    use produce::{LeaderIdAndEpoch, PartitionProduceResponse, ProduceResponse, TopicProduceResponse};
    let node = produce::NodeEndpoint { node_id: 1, host: "h".into(), port: 9092, rack: Some("r".into()) };
    let their_node = theirs::produce_response::NodeEndpoint::default()
        .with_node_id(1.into())
        .with_host("h".to_string().into())
        .with_port(9092)
        .with_rack(Some("r".to_string().into()));
    let ours = ProduceResponse { node_endpoints: vec![node], ..Default::default() };
    let theirs = theirs::ProduceResponse::default().with_node_endpoints(vec![their_node]);
    tagged_from(10, ours, ProduceResponse::default(), theirs);

    let ours = |partition| {
        let partition_responses = vec![partition];
        ProduceResponse {
            responses: vec![TopicProduceResponse { partition_responses, ..Default::default() }],
            ..Default::default()
        }
    };
    let current_leader = LeaderIdAndEpoch { leader_id: 3, leader_epoch: 4 };
    let leader = PartitionProduceResponse { current_leader, ..Default::default() };
    let value = theirs::produce_response::LeaderIdAndEpoch::default().with_leader_id(3.into()).with_leader_epoch(4);
    let partition = theirs::produce_response::PartitionProduceResponse::default().with_current_leader(value);
    let topic = theirs::produce_response::TopicProduceResponse::default().with_partition_responses(vec![partition]);
    let theirs = theirs::ProduceResponse::default().with_responses(vec![topic]);
    tagged_from(10, ours(leader), ours(Default::default()), theirs);
}

#[test]
fn other_tagged_fields_exist_from_kafkas_versions_on() {
    use api_versions::{ApiVersionsResponse, FinalizedFeatureKey, SupportedFeatureKey};
    let supported = SupportedFeatureKey { name: "f".into(), min_version: 1, max_version: 2 };
    let finalized = FinalizedFeatureKey { name: "f".into(), max_version_level: 2, min_version_level: 1 };
    let their_supported = theirs::api_versions_response::SupportedFeatureKey::default()
        .with_name("f".to_string().into())
        .with_min_version(1)
        .with_max_version(2);
    let their_finalized = theirs::api_versions_response::FinalizedFeatureKey::default()
        .with_name("f".to_string().into())
        .with_max_version_level(2)
        .with_min_version_level(1);
    let ours = ApiVersionsResponse {
        supported_features: vec![supported],
        finalized_features_epoch: 9,
        finalized_features: vec![finalized],
        zk_migration_ready: true,
        ..Default::default()
    };
    let theirs = theirs::ApiVersionsResponse::default()
        .with_supported_features(vec![their_supported])
        .with_finalized_features_epoch(9)
        .with_finalized_features(vec![their_finalized])
        .with_zk_migration_ready(true);
    tagged_from(3, ours, ApiVersionsResponse::default(), theirs);

    use create_topics::{CreatableTopicResult, CreateTopicsResponse};
    let error = crate::protocol::ErrorCode::TopicAuthorizationFailed;
    let result = |topic_config_error_code| CreatableTopicResult { topic_config_error_code, ..Default::default() };
    let ours = |error| CreateTopicsResponse { topics: vec![result(error)], ..Default::default() };
    let topic =
        theirs::create_topics_response::CreatableTopicResult::default().with_topic_config_error_code(error.code());
    let theirs = theirs::CreateTopicsResponse::default().with_topics(vec![topic]);
    tagged_from(5, ours(error), ours(Default::default()), theirs);
}
