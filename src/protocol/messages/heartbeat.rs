//! Heartbeat (key 12): keeps a member of a classic group alive.

use crate::protocol::schema::{api, schema};
use crate::protocol::{ErrorCode, KafkaString};

api!(Heartbeat, HeartbeatRequest, HeartbeatResponse);

schema! {
    /// Who is alive.
    pub struct HeartbeatRequest {
        /// The group.
        group_id: KafkaString,
        /// The generation.
        generation_id: i32,
        /// The member.
        member_id: KafkaString,
        /// Its id as a static member (KIP-345).
        group_instance_id: Option<KafkaString> [3..] = None,
    }

    /// Whether the member may go on.
    pub struct HeartbeatResponse {
        /// How long the client should wait before its next request, in milliseconds.
        throttle_time_ms: i32 [1..],
        /// The error, if any.
        error_code: ErrorCode,
    }
}
