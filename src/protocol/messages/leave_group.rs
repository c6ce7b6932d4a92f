//! LeaveGroup (key 13): removes members from a classic group.

use crate::protocol::schema::{api, schema};
use crate::protocol::{ErrorCode, KafkaString};

api!(LeaveGroup, LeaveGroupRequest, LeaveGroupResponse);

schema! {
    /// Who leaves.
    pub struct LeaveGroupRequest {
        /// The group.
        group_id: KafkaString,
        /// The member.
        member_id: KafkaString [..=2],
        /// The members (KIP-345).
        members: Vec<MemberIdentity> [3..],
    }

    /// A member that leaves.
    pub struct MemberIdentity {
        /// Its member id; empty when only the static id is known.
        member_id: KafkaString [3..],
        /// Its id as a static member.
        group_instance_id: Option<KafkaString> [3..] = None,
        /// Why it leaves, for the log (KIP-800).
        reason: Option<KafkaString> [5..] = None,
    }

    /// What became of it.
    pub struct LeaveGroupResponse {
        /// How long the client should wait before its next request, in milliseconds.
        throttle_time_ms: i32 [1..],
        /// An error of the whole request.
        error_code: ErrorCode,
        /// The results, by member.
        members: Vec<MemberResponse> [3..],
    }

    /// What became of a member.
    pub struct MemberResponse {
        /// The member id of the request.
        member_id: KafkaString [3..],
        /// The static id of the request.
        group_instance_id: Option<KafkaString> [3..] = Some(KafkaString::default()),
        /// The error, if any.
        error_code: ErrorCode [3..],
    }
}
