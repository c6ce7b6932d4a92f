//! From a frame to its answer: one file an API.

mod alter_configs;
mod api_versions;
mod create_partitions;
mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod fetch;
mod find_coordinator;
mod groups;
mod heartbeat;
mod incremental_alter_configs;
mod init_producer_id;
mod join_group;
mod leave_group;
mod list_groups;
mod list_offsets;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod sync_group;

use std::rc::Rc;

use bytes::Bytes;

use super::broker::{Broker, ChangeError};
use super::connection::{Client, Outcome};
use crate::metadata::MetadataError;
use crate::metadata::Topic;
use crate::protocol::messages as m;
use crate::protocol::{
    ApiKey, ErrorCode, KafkaString, Message, Reader, Request, RequestHeader, Writer, write_response,
};
use crate::vocabulary::TopicId;

/// The APIs that have a handler; ApiVersions tells clients so.
pub const SERVED: &[ApiKey] = &[
    ApiKey::Produce,
    ApiKey::Fetch,
    ApiKey::ListOffsets,
    ApiKey::Metadata,
    ApiKey::OffsetCommit,
    ApiKey::OffsetFetch,
    ApiKey::FindCoordinator,
    ApiKey::JoinGroup,
    ApiKey::Heartbeat,
    ApiKey::LeaveGroup,
    ApiKey::SyncGroup,
    ApiKey::DescribeGroups,
    ApiKey::ListGroups,
    ApiKey::ApiVersions,
    ApiKey::CreateTopics,
    ApiKey::DeleteTopics,
    ApiKey::DeleteRecords,
    ApiKey::InitProducerId,
    ApiKey::OffsetForLeaderEpoch,
    ApiKey::DescribeConfigs,
    ApiKey::AlterConfigs,
    ApiKey::CreatePartitions,
    ApiKey::IncrementalAlterConfigs,
    ApiKey::DeleteGroups,
    ApiKey::OffsetDelete,
    ApiKey::DescribeCluster,
];

/// Answers one frame.
pub async fn handle(broker: Rc<Broker>, frame: Bytes, client: Rc<Client>) -> Outcome {
    let mut reader = Reader::new(frame.clone());
    let header = match RequestHeader::decode(&mut reader) {
        Ok(header) => header,
        Err(error) => return Outcome::Close(error.to_string()),
    };
    let body = frame.slice(reader.position()..);
    let (key, version) = (header.request_api_key, header.request_api_version);
    if key == ApiKey::ApiVersions && !key.supports(version) {
        return respond(&header, 0, &api_versions::unsupported());
    }
    if !SERVED.contains(&key) || !key.supports(version) {
        return Outcome::Close(format!("version {version} of {key} is not served"));
    }
    match key {
        ApiKey::Produce => produce::handle(broker, client, header, body).await,
        ApiKey::Fetch => with(&header, body, |request| fetch::handle(broker, client, version, request)).await,
        ApiKey::ListOffsets => with(&header, body, |request| list_offsets::handle(broker, request)).await,
        ApiKey::Metadata => with(&header, body, |request| metadata::handle(broker, version, request)).await,
        ApiKey::FindCoordinator => {
            with(&header, body, |request| find_coordinator::handle(broker, version, request)).await
        }
        ApiKey::OffsetCommit => with(&header, body, |request| offset_commit::handle(broker, version, request)).await,
        ApiKey::OffsetFetch => with(&header, body, |request| offset_fetch::handle(broker, version, request)).await,
        ApiKey::JoinGroup => {
            let caller = groups::Caller { client_id: header.client_id.clone().unwrap_or_default(), client };
            with(&header, body, |request| join_group::handle(broker, caller, version, request)).await
        }
        ApiKey::SyncGroup => {
            let caller = groups::Caller { client_id: header.client_id.clone().unwrap_or_default(), client };
            with(&header, body, |request| sync_group::handle(broker, caller, version, request)).await
        }
        ApiKey::Heartbeat => with(&header, body, |request| heartbeat::handle(broker, request)).await,
        ApiKey::LeaveGroup => with(&header, body, |request| leave_group::handle(broker, version, request)).await,
        ApiKey::DescribeGroups => {
            with(&header, body, |request| describe_groups::handle(broker, version, request)).await
        }
        ApiKey::ListGroups => with(&header, body, |request| list_groups::handle(broker, request)).await,
        ApiKey::DeleteGroups => with(&header, body, |request| delete_groups::handle(broker, request)).await,
        ApiKey::OffsetDelete => with(&header, body, |request| offset_delete::handle(broker, request)).await,
        ApiKey::ApiVersions => {
            with::<m::api_versions::ApiVersionsRequest, _>(&header, body, async |_| api_versions::supported()).await
        }
        ApiKey::CreateTopics => with(&header, body, |request| create_topics::handle(broker, request)).await,
        ApiKey::DeleteTopics => with(&header, body, |request| delete_topics::handle(broker, version, request)).await,
        ApiKey::DeleteRecords => with(&header, body, |request| delete_records::handle(broker, request)).await,
        ApiKey::InitProducerId => with(&header, body, |request| init_producer_id::handle(broker, request)).await,
        ApiKey::OffsetForLeaderEpoch => {
            with(&header, body, |request| offset_for_leader_epoch::handle(broker, request)).await
        }
        ApiKey::DescribeConfigs => with(&header, body, |request| describe_configs::handle(broker, request)).await,
        ApiKey::AlterConfigs => with(&header, body, |request| alter_configs::handle(broker, request)).await,
        ApiKey::IncrementalAlterConfigs => {
            with(&header, body, |request| incremental_alter_configs::handle(broker, request)).await
        }
        ApiKey::CreatePartitions => with(&header, body, |request| create_partitions::handle(broker, request)).await,
        ApiKey::DescribeCluster => with(&header, body, |request| describe_cluster::handle(broker, request)).await,
    }
}

/// Decodes the request, has it handled, and encodes the response.
async fn with<R: Request, F: Future<Output = R::Response>>(
    header: &RequestHeader,
    body: Bytes,
    handler: impl FnOnce(R) -> F,
) -> Outcome {
    // What is left over behind a request is ignored, as Kafka does: librdkafka sends such Metadata requests.
    match R::decode(&mut Reader::new(body), header.request_api_version) {
        Ok(request) => respond(header, header.request_api_version, &handler(request).await),
        Err(error) => Outcome::Close(error.to_string()),
    }
}

/// Encodes a response.
fn respond<M: Message>(header: &RequestHeader, version: i16, response: &M) -> Outcome {
    let mut writer = Writer::new();
    match write_response(&mut writer, version, header.correlation_id, response) {
        Ok(()) => Outcome::Respond(writer.finish().segments),
        Err(error) => Outcome::Close(error.to_string()),
    }
}

/// The code and text for a change that was not made.
fn change_error(error: &ChangeError) -> (ErrorCode, Option<KafkaString>) {
    let code = match error {
        ChangeError::NotWritten(_) => ErrorCode::KafkaStorageError,
        ChangeError::Refused(refused) => match refused {
            MetadataError::InvalidTopicName { .. } | MetadataError::CollidingTopicName { .. } => {
                ErrorCode::InvalidTopicException
            }
            MetadataError::TopicExists(_) => ErrorCode::TopicAlreadyExists,
            MetadataError::UnknownTopic => ErrorCode::UnknownTopicOrPartition,
            MetadataError::InvalidPartitions(_) => ErrorCode::InvalidPartitions,
            MetadataError::InvalidReplicationFactor(_) => ErrorCode::InvalidReplicationFactor,
            MetadataError::InvalidReplicaAssignment(_) => ErrorCode::InvalidReplicaAssignment,
            MetadataError::InvalidConfig(_) => ErrorCode::InvalidConfig,
            MetadataError::InvalidRequest(_) => ErrorCode::InvalidRequest,
            MetadataError::InternalTopic(_) => ErrorCode::TopicAuthorizationFailed,
        },
    };
    (code, Some(error.to_string().into()))
}

/// The topic that a request names, by id from the version on that has ids, else by name.
fn find_topic(broker: &Broker, name: &str, id: TopicId, by_id: bool) -> Result<Rc<Topic>, ErrorCode> {
    let image = broker.image.borrow();
    if by_id {
        image.topic_by_id(id).cloned().ok_or(ErrorCode::UnknownTopicId)
    } else {
        image.topic(name).cloned().ok_or(ErrorCode::UnknownTopicOrPartition)
    }
}

/// Checks the leader epoch that a client knows (KIP-320).
fn check_leader_epoch(known: i32) -> Result<(), ErrorCode> {
    match known {
        i32::MIN..=-1 | Topic::LEADER_EPOCH => Ok(()),
        _ => Err(ErrorCode::UnknownLeaderEpoch),
    }
}
