//! Our codec held against an independent one, for every API and every version that both know.

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages as theirs;
use kafka_protocol::protocol::{Decodable, Encodable};
use proptest::prelude::*;

use super::sample::{Entropy, Sample};
use super::{for_each_api, runner};
use crate::protocol::wire::{Version, Wire};
use crate::protocol::{ApiKey, Message, Reader, RequestHeader, ResponseHeader, Writer, messages};

/// Messages for each version.
const CASES: u32 = 64;

/// Versions that the oracle does not know, or knows only as unstable. Their fields are spelled out in `messages`.
fn unknown_to_oracle(key: ApiKey, version: i16) -> bool {
    matches!((key, version), (ApiKey::ListOffsets, 11) | (ApiKey::OffsetCommit | ApiKey::OffsetFetch, 10))
}

fn arbitrary<M: Message + Sample>(entropy: &[u8], version: i16) -> M {
    M::sample(&mut Entropy(entropy), Version { number: version, flexible: M::KEY.is_flexible(version) })
}

fn encode<M: Message>(message: &M, version: i16) -> Bytes {
    let mut w = Writer::new();
    message.encode(&mut w, version);
    w.finish().into_bytes()
}

fn decode<M: Message>(bytes: Bytes, version: i16) -> M {
    let mut r = Reader::new(bytes);
    let message = M::decode(&mut r, version).unwrap_or_else(|error| panic!("{} {version}: {error}", M::KEY));
    r.finish().unwrap_or_else(|error| panic!("{} {version}: {error}", M::KEY));
    message
}

/// Ours → their decoder → their encoder → ours, which must be what we started with.
fn hold_against_oracle<Ours, Theirs>()
where
    Ours: Message + Sample + PartialEq + std::fmt::Debug,
    Theirs: Decodable + Encodable,
{
    for version in Ours::KEY.versions() {
        let result = runner(CASES).run(&proptest::collection::vec(any::<u8>(), 0..400), |entropy| {
            let message: Ours = arbitrary(&entropy, version);
            let bytes = encode(&message, version);
            prop_assert_eq!(&decode::<Ours>(bytes.clone(), version), &message, "our own round trip");
            if unknown_to_oracle(Ours::KEY, version) {
                return Ok(());
            }
            let mut rest = bytes.clone();
            let theirs = Theirs::decode(&mut rest, version)
                .map_err(|error| TestCaseError::fail(format!("they cannot read {message:?}: {error}")))?;
            prop_assert!(rest.is_empty(), "they left {} bytes of {:?}", rest.len(), message);
            let mut again = BytesMut::new();
            theirs.encode(&mut again, version).map_err(|error| TestCaseError::fail(format!("{message:?}: {error}")))?;
            prop_assert_eq!(&decode::<Ours>(again.freeze(), version), &message, "through their codec");
            Ok(())
        });
        if let Err(error) = result {
            panic!("{} version {version}: {error}", std::any::type_name::<Ours>());
        }
    }
}

#[test]
fn requests_agree_with_the_oracle() {
    macro_rules! each {
        ($key:ident, $module:ident, $request:ident, $response:ident) => {
            assert_eq!(<messages::$module::$request as Message>::KEY, ApiKey::$key);
            hold_against_oracle::<messages::$module::$request, theirs::$request>();
        };
    }
    for_each_api!(each);
}

#[test]
fn responses_agree_with_the_oracle() {
    macro_rules! each {
        ($key:ident, $module:ident, $request:ident, $response:ident) => {
            assert_eq!(<messages::$module::$response as Message>::KEY, ApiKey::$key);
            hold_against_oracle::<messages::$module::$response, theirs::$response>();
        };
    }
    for_each_api!(each);
}

/// Our defaults are Kafka's: their default of each struct and ours are the same bytes in every version.
fn same_default<Ours: Wire + Default, Theirs: Default + Encodable>(key: ApiKey, name: &str) {
    for number in key.versions().filter(|&version| !unknown_to_oracle(key, version)) {
        let mut theirs = BytesMut::new();
        Theirs::default().encode(&mut theirs, number).expect("a default is valid in every version");
        let mut ours = Writer::new();
        Ours::default().write(&mut ours, Version { number, flexible: key.is_flexible(number) });
        assert_eq!(ours.finish().into_bytes(), theirs.freeze(), "{key} {number} {name}");
    }
}

#[test]
fn defaults_agree_with_the_oracle() {
    macro_rules! each {
        ($key:ident, $module:ident, $request:ident, $response:ident) => {
            same_default::<messages::$module::$request, theirs::$request>(ApiKey::$key, "request");
            same_default::<messages::$module::$response, theirs::$response>(ApiKey::$key, "response");
        };
    }
    for_each_api!(each);
}

#[test]
fn defaults_of_nested_structs_agree_with_the_oracle() {
    macro_rules! same {
        ($key:ident, $module:ident, $theirs:ident, $($name:ident),+) => {
            $( same_default::<messages::$module::$name, theirs::$theirs::$name>(ApiKey::$key, stringify!($name)); )+
        };
    }
    same!(Produce, produce, produce_request, TopicProduceData, PartitionProduceData);
    same!(
        Produce,
        produce,
        produce_response,
        TopicProduceResponse,
        PartitionProduceResponse,
        BatchIndexAndErrorMessage,
        LeaderIdAndEpoch,
        NodeEndpoint
    );
    same!(Fetch, fetch, fetch_request, ReplicaState, FetchTopic, FetchPartition, ForgottenTopic);
    same!(
        Fetch,
        fetch,
        fetch_response,
        FetchableTopicResponse,
        PartitionData,
        EpochEndOffset,
        LeaderIdAndEpoch,
        SnapshotId,
        AbortedTransaction,
        NodeEndpoint
    );
    same!(ListOffsets, list_offsets, list_offsets_request, ListOffsetsTopic, ListOffsetsPartition);
    same!(ListOffsets, list_offsets, list_offsets_response, ListOffsetsTopicResponse, ListOffsetsPartitionResponse);
    same!(Metadata, metadata, metadata_request, MetadataRequestTopic);
    same!(
        Metadata,
        metadata,
        metadata_response,
        MetadataResponseBroker,
        MetadataResponseTopic,
        MetadataResponsePartition
    );
    same!(OffsetCommit, offset_commit, offset_commit_request, OffsetCommitRequestTopic, OffsetCommitRequestPartition);
    same!(
        OffsetCommit,
        offset_commit,
        offset_commit_response,
        OffsetCommitResponseTopic,
        OffsetCommitResponsePartition
    );
    same!(
        OffsetFetch,
        offset_fetch,
        offset_fetch_request,
        OffsetFetchRequestTopic,
        OffsetFetchRequestGroup,
        OffsetFetchRequestTopics
    );
    same!(
        OffsetFetch,
        offset_fetch,
        offset_fetch_response,
        OffsetFetchResponseTopic,
        OffsetFetchResponsePartition,
        OffsetFetchResponseGroup,
        OffsetFetchResponseTopics,
        OffsetFetchResponsePartitions
    );
    same!(FindCoordinator, find_coordinator, find_coordinator_response, Coordinator);
    same!(JoinGroup, join_group, join_group_request, JoinGroupRequestProtocol);
    same!(JoinGroup, join_group, join_group_response, JoinGroupResponseMember);
    same!(LeaveGroup, leave_group, leave_group_request, MemberIdentity);
    same!(LeaveGroup, leave_group, leave_group_response, MemberResponse);
    same!(SyncGroup, sync_group, sync_group_request, SyncGroupRequestAssignment);
    same!(DescribeGroups, describe_groups, describe_groups_response, DescribedGroup, DescribedGroupMember);
    same!(ListGroups, list_groups, list_groups_response, ListedGroup);
    same!(ApiVersions, api_versions, api_versions_response, ApiVersion, SupportedFeatureKey, FinalizedFeatureKey);
    same!(
        CreateTopics,
        create_topics,
        create_topics_request,
        CreatableTopic,
        CreatableReplicaAssignment,
        CreatableTopicConfig
    );
    same!(CreateTopics, create_topics, create_topics_response, CreatableTopicResult, CreatableTopicConfigs);
    same!(DeleteTopics, delete_topics, delete_topics_request, DeleteTopicState);
    same!(DeleteTopics, delete_topics, delete_topics_response, DeletableTopicResult);
    same!(DeleteRecords, delete_records, delete_records_request, DeleteRecordsTopic, DeleteRecordsPartition);
    same!(
        DeleteRecords,
        delete_records,
        delete_records_response,
        DeleteRecordsTopicResult,
        DeleteRecordsPartitionResult
    );
    same!(
        OffsetForLeaderEpoch,
        offset_for_leader_epoch,
        offset_for_leader_epoch_request,
        OffsetForLeaderTopic,
        OffsetForLeaderPartition
    );
    same!(
        OffsetForLeaderEpoch,
        offset_for_leader_epoch,
        offset_for_leader_epoch_response,
        OffsetForLeaderTopicResult,
        EpochEndOffset
    );
    same!(DescribeConfigs, describe_configs, describe_configs_request, DescribeConfigsResource);
    same!(
        DescribeConfigs,
        describe_configs,
        describe_configs_response,
        DescribeConfigsResult,
        DescribeConfigsResourceResult,
        DescribeConfigsSynonym
    );
    same!(AlterConfigs, alter_configs, alter_configs_request, AlterConfigsResource, AlterableConfig);
    same!(AlterConfigs, alter_configs, alter_configs_response, AlterConfigsResourceResponse);
    same!(
        CreatePartitions,
        create_partitions,
        create_partitions_request,
        CreatePartitionsTopic,
        CreatePartitionsAssignment
    );
    same!(CreatePartitions, create_partitions, create_partitions_response, CreatePartitionsTopicResult);
    same!(DeleteGroups, delete_groups, delete_groups_response, DeletableGroupResult);
    same!(
        IncrementalAlterConfigs,
        incremental_alter_configs,
        incremental_alter_configs_request,
        AlterConfigsResource,
        AlterableConfig
    );
    same!(
        IncrementalAlterConfigs,
        incremental_alter_configs,
        incremental_alter_configs_response,
        AlterConfigsResourceResponse
    );
    same!(OffsetDelete, offset_delete, offset_delete_request, OffsetDeleteRequestTopic, OffsetDeleteRequestPartition);
    same!(
        OffsetDelete,
        offset_delete,
        offset_delete_response,
        OffsetDeleteResponseTopic,
        OffsetDeleteResponsePartition
    );
    same!(DescribeCluster, describe_cluster, describe_cluster_response, DescribeClusterBroker);
}

/// Every API is in the list of this module, and keys, flexibility and header versions are Kafka's.
#[test]
fn api_keys_agree_with_the_oracle() {
    let mut listed = Vec::new();
    macro_rules! each {
        ($key:ident, $module:ident, $request:ident, $response:ident) => {
            listed.push(ApiKey::$key);
        };
    }
    for_each_api!(each);
    assert_eq!(listed, ApiKey::ALL);
    for &key in ApiKey::ALL {
        let oracle = theirs::ApiKey::try_from(key.code()).expect("an API of Kafka's");
        assert_eq!(format!("{oracle:?}"), key.name());
        for version in key.versions() {
            assert_eq!(key.request_header_version(version), oracle.request_header_version(version), "{key} {version}");
            assert_eq!(
                key.response_header_version(version),
                oracle.response_header_version(version),
                "{key} {version}"
            );
        }
    }
}

#[test]
fn headers_agree_with_the_oracle() {
    for version in [8, 9] {
        let header_version = ApiKey::Metadata.request_header_version(version);
        for client_id in [None, Some("tester")] {
            let mut bytes = BytesMut::new();
            let theirs = theirs::RequestHeader::default()
                .with_request_api_key(ApiKey::Metadata.code())
                .with_request_api_version(version)
                .with_correlation_id(77)
                .with_client_id(client_id.map(kafka_protocol::protocol::StrBytes::from_static_str));
            theirs.encode(&mut bytes, header_version).unwrap();
            let ours = RequestHeader {
                request_api_key: ApiKey::Metadata,
                request_api_version: version,
                correlation_id: 77,
                client_id: client_id.map(Into::into),
            };
            let mut w = Writer::new();
            ours.encode(&mut w);
            let bytes = bytes.freeze();
            assert_eq!(w.finish().into_bytes(), bytes);
            assert_eq!(RequestHeader::decode(&mut Reader::new(bytes)), Ok(ours));
        }
        let header_version = ApiKey::Metadata.response_header_version(version);
        let mut bytes = BytesMut::new();
        theirs::ResponseHeader::default().with_correlation_id(78).encode(&mut bytes, header_version).unwrap();
        let mut w = Writer::new();
        ResponseHeader { correlation_id: 78 }.encode(&mut w, header_version);
        assert_eq!(w.finish().into_bytes(), bytes.freeze());
    }
}
