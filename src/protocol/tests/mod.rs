//! Tests of the messages as a whole: against an independent codec, and against bytes that are none.

mod gates;
mod hostile;
mod oracle;
pub mod sample;
mod schema;

use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

/// Runs a property on `cases` values, the same ones each time. A runner counts its successes over all its runs, so each
/// run needs one of its own.
fn runner(cases: u32) -> TestRunner {
    let config = Config { cases, failure_persistence: None, ..Config::default() };
    TestRunner::new_with_rng(config, TestRng::deterministic_rng(RngAlgorithm::ChaCha))
}

/// Runs `$each!(key, module, request, response);` for every API.
macro_rules! for_each_api {
    ($each:ident) => {
        $each!(Produce, produce, ProduceRequest, ProduceResponse);
        $each!(Fetch, fetch, FetchRequest, FetchResponse);
        $each!(ListOffsets, list_offsets, ListOffsetsRequest, ListOffsetsResponse);
        $each!(Metadata, metadata, MetadataRequest, MetadataResponse);
        $each!(OffsetCommit, offset_commit, OffsetCommitRequest, OffsetCommitResponse);
        $each!(OffsetFetch, offset_fetch, OffsetFetchRequest, OffsetFetchResponse);
        $each!(FindCoordinator, find_coordinator, FindCoordinatorRequest, FindCoordinatorResponse);
        $each!(JoinGroup, join_group, JoinGroupRequest, JoinGroupResponse);
        $each!(Heartbeat, heartbeat, HeartbeatRequest, HeartbeatResponse);
        $each!(LeaveGroup, leave_group, LeaveGroupRequest, LeaveGroupResponse);
        $each!(SyncGroup, sync_group, SyncGroupRequest, SyncGroupResponse);
        $each!(DescribeGroups, describe_groups, DescribeGroupsRequest, DescribeGroupsResponse);
        $each!(ListGroups, list_groups, ListGroupsRequest, ListGroupsResponse);
        $each!(ApiVersions, api_versions, ApiVersionsRequest, ApiVersionsResponse);
        $each!(CreateTopics, create_topics, CreateTopicsRequest, CreateTopicsResponse);
        $each!(DeleteTopics, delete_topics, DeleteTopicsRequest, DeleteTopicsResponse);
        $each!(DeleteRecords, delete_records, DeleteRecordsRequest, DeleteRecordsResponse);
        $each!(InitProducerId, init_producer_id, InitProducerIdRequest, InitProducerIdResponse);
        $each!(
            OffsetForLeaderEpoch,
            offset_for_leader_epoch,
            OffsetForLeaderEpochRequest,
            OffsetForLeaderEpochResponse
        );
        $each!(DescribeConfigs, describe_configs, DescribeConfigsRequest, DescribeConfigsResponse);
        $each!(AlterConfigs, alter_configs, AlterConfigsRequest, AlterConfigsResponse);
        $each!(CreatePartitions, create_partitions, CreatePartitionsRequest, CreatePartitionsResponse);
        $each!(DeleteGroups, delete_groups, DeleteGroupsRequest, DeleteGroupsResponse);
        $each!(
            IncrementalAlterConfigs,
            incremental_alter_configs,
            IncrementalAlterConfigsRequest,
            IncrementalAlterConfigsResponse
        );
        $each!(OffsetDelete, offset_delete, OffsetDeleteRequest, OffsetDeleteResponse);
        $each!(DescribeCluster, describe_cluster, DescribeClusterRequest, DescribeClusterResponse);
    };
}

use for_each_api;
