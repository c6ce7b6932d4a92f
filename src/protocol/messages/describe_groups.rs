//! DescribeGroups (key 15): describes classic groups and their members.

use bytes::Bytes;

use crate::protocol::schema::{api, schema};
use crate::protocol::{ErrorCode, KafkaString};

api!(DescribeGroups, DescribeGroupsRequest, DescribeGroupsResponse);

schema! {
    /// Which groups to describe.
    pub struct DescribeGroupsRequest {
        /// The groups.
        groups: Vec<KafkaString>,
        /// Whether to list what the principal may do to each group.
        include_authorized_operations: bool [3..],
    }

    /// The groups.
    pub struct DescribeGroupsResponse {
        /// How long the client should wait before its next request, in milliseconds.
        throttle_time_ms: i32 [1..],
        /// The groups.
        groups: Vec<DescribedGroup>,
    }

    /// A group.
    pub struct DescribedGroup {
        /// The error, if any.
        error_code: ErrorCode,
        /// What the error means (KIP-1043).
        error_message: Option<KafkaString> [6..] = None,
        /// The group.
        group_id: KafkaString,
        /// Its state, such as `Stable`.
        group_state: KafkaString,
        /// What it is for, such as `consumer`.
        protocol_type: KafkaString,
        /// The chosen protocol.
        protocol_data: KafkaString,
        /// Its members.
        members: Vec<DescribedGroupMember>,
        /// What the principal may do to the group, a bit each; `i32::MIN` when not asked for.
        authorized_operations: i32 [3..] = i32::MIN,
    }

    /// A member.
    pub struct DescribedGroupMember {
        /// Its member id.
        member_id: KafkaString,
        /// Its id as a static member (KIP-345).
        group_instance_id: Option<KafkaString> [4..] = None,
        /// The client id of its connection.
        client_id: KafkaString,
        /// The address of its connection.
        client_host: KafkaString,
        /// What it sent with the chosen protocol.
        member_metadata: Bytes,
        /// Its assignment.
        member_assignment: Bytes,
    }
}
