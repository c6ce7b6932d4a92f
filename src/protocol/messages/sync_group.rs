//! SyncGroup (key 14): hands out the assignment of a classic group's generation.

use bytes::Bytes;

use crate::protocol::schema::{api, schema};
use crate::protocol::{ErrorCode, KafkaString};

api!(SyncGroup, SyncGroupRequest, SyncGroupResponse);

schema! {
    /// A member that waits for its assignment; the leader brings all of them.
    pub struct SyncGroupRequest {
        /// The group.
        group_id: KafkaString,
        /// The generation.
        generation_id: i32,
        /// The member.
        member_id: KafkaString,
        /// Its id as a static member (KIP-345).
        group_instance_id: Option<KafkaString> [3..] = None,
        /// What the group is for, to be checked (KIP-559).
        protocol_type: Option<KafkaString> [5..] = None,
        /// The chosen protocol, to be checked (KIP-559).
        protocol_name: Option<KafkaString> [5..] = None,
        /// The assignments, from the leader only.
        assignments: Vec<SyncGroupRequestAssignment>,
    }

    /// A member's assignment.
    pub struct SyncGroupRequestAssignment {
        /// The member.
        member_id: KafkaString,
        /// Its assignment; opaque to the broker.
        assignment: Bytes,
    }

    /// The member's assignment.
    pub struct SyncGroupResponse {
        /// How long the client should wait before its next request, in milliseconds.
        throttle_time_ms: i32 [1..],
        /// The error, if any.
        error_code: ErrorCode,
        /// What the group is for.
        protocol_type: Option<KafkaString> [5..] = None,
        /// The chosen protocol.
        protocol_name: Option<KafkaString> [5..] = None,
        /// The assignment; opaque to the broker.
        assignment: Bytes,
    }
}
