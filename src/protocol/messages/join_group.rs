//! JoinGroup (key 11): makes a member of a classic group, and waits for its generation.

use bytes::Bytes;

use crate::protocol::schema::{api, schema};
use crate::protocol::{ErrorCode, KafkaString};

api!(JoinGroup, JoinGroupRequest, JoinGroupResponse);

schema! {
    /// Who joins.
    pub struct JoinGroupRequest {
        /// The group.
        group_id: KafkaString,
        /// Without a heartbeat for so long the member is removed, in milliseconds.
        session_timeout_ms: i32,
        /// How long a rebalance waits for the members to rejoin, in milliseconds.
        rebalance_timeout_ms: i32 [1..] = -1,
        /// The member id; empty for one that has none yet.
        member_id: KafkaString,
        /// The id of a static member (KIP-345).
        group_instance_id: Option<KafkaString> [5..] = None,
        /// What the group is for: `consumer` or `connect`.
        protocol_type: KafkaString,
        /// The assignment protocols that the member knows, its favourite first.
        protocols: Vec<JoinGroupRequestProtocol>,
        /// Why the member joins, for the log (KIP-800).
        reason: Option<KafkaString> [8..] = None,
    }

    /// An assignment protocol that the member knows.
    pub struct JoinGroupRequestProtocol {
        /// Its name.
        name: KafkaString,
        /// What the group's leader has to know of the member; opaque to the broker.
        metadata: Bytes,
    }

    /// The generation that the member is part of.
    pub struct JoinGroupResponse {
        /// How long the client should wait before its next request, in milliseconds.
        throttle_time_ms: i32 [2..],
        /// The error, if any.
        error_code: ErrorCode,
        /// The generation; -1 with an error.
        generation_id: i32 = -1,
        /// What the group is for.
        protocol_type: Option<KafkaString> [7..] = None,
        /// The protocol that all members know.
        protocol_name: Option<KafkaString> [.., null 7..] = Some(KafkaString::default()),
        /// The member id of the leader, which makes the assignment.
        leader: KafkaString,
        /// Whether the leader must keep the present assignment (KIP-814).
        skip_assignment: bool [9..],
        /// The id of the member that joined.
        member_id: KafkaString,
        /// The members, for the leader; empty for the others.
        members: Vec<JoinGroupResponseMember>,
    }

    /// A member, as the leader sees it.
    pub struct JoinGroupResponseMember {
        /// Its member id.
        member_id: KafkaString,
        /// Its id as a static member (KIP-345).
        group_instance_id: Option<KafkaString> [5..] = None,
        /// What it sent with the chosen protocol.
        metadata: Bytes,
    }
}
