//! DeleteGroups (key 42): deletes groups that have no members.

use crate::protocol::schema::{api, schema};
use crate::protocol::{ErrorCode, KafkaString};

api!(DeleteGroups, DeleteGroupsRequest, DeleteGroupsResponse);

schema! {
    /// Which groups to delete.
    pub struct DeleteGroupsRequest {
        /// The groups.
        groups_names: Vec<KafkaString>,
    }

    /// What became of it.
    pub struct DeleteGroupsResponse {
        /// How long the client should wait before its next request, in milliseconds.
        throttle_time_ms: i32,
        /// The results, by group.
        results: Vec<DeletableGroupResult>,
    }

    /// What became of a group.
    pub struct DeletableGroupResult {
        /// The group.
        group_id: KafkaString,
        /// The error, if any.
        error_code: ErrorCode,
    }
}
