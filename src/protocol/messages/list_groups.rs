//! ListGroups (key 16): lists groups.

use crate::protocol::schema::{api, schema};
use crate::protocol::{ErrorCode, KafkaString};

api!(ListGroups, ListGroupsRequest, ListGroupsResponse);

schema! {
    /// Which groups to list.
    pub struct ListGroupsRequest {
        /// Only groups in these states; empty for all (KIP-518).
        states_filter: Vec<KafkaString> [4..],
        /// Only groups of these types, such as `classic`; empty for all (KIP-848).
        types_filter: Vec<KafkaString> [5..],
    }

    /// The groups.
    pub struct ListGroupsResponse {
        /// How long the client should wait before its next request, in milliseconds.
        throttle_time_ms: i32 [1..],
        /// The error, if any.
        error_code: ErrorCode,
        /// The groups.
        groups: Vec<ListedGroup>,
    }

    /// A group.
    pub struct ListedGroup {
        /// The group.
        group_id: KafkaString,
        /// What it is for, such as `consumer`.
        protocol_type: KafkaString,
        /// Its state, such as `Stable`.
        group_state: KafkaString [4..],
        /// Its type, such as `classic`.
        group_type: KafkaString [5..],
    }
}
