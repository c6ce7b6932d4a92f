//! FindCoordinator (key 10): finds the broker that coordinates a group or a transactional id.

use crate::protocol::schema::{api, schema};
use crate::protocol::{ErrorCode, KafkaString};

api!(FindCoordinator, FindCoordinatorRequest, FindCoordinatorResponse);

/// The key type of a group id.
pub const GROUP: i8 = 0;
/// The key type of a transactional id (version 1).
pub const TRANSACTION: i8 = 1;
/// The key type of a share group's partition (KIP-932, version 6).
pub const SHARE: i8 = 2;

schema! {
    /// Whose coordinators to find.
    pub struct FindCoordinatorRequest {
        /// The group or transactional id.
        key: KafkaString [..=3],
        /// What the keys are: [`GROUP`], [`TRANSACTION`] or [`SHARE`].
        key_type: i8 [1..],
        /// The group or transactional ids (KIP-699).
        coordinator_keys: Vec<KafkaString> [4..],
    }

    /// The coordinators.
    pub struct FindCoordinatorResponse {
        /// How long the client should wait before its next request, in milliseconds.
        throttle_time_ms: i32 [1..],
        /// The error, if any.
        error_code: ErrorCode [..=3],
        /// What the error means.
        error_message: Option<KafkaString> [1..=3] = Some(KafkaString::default()),
        /// The broker that coordinates.
        node_id: i32 [..=3],
        /// Its host name or address.
        host: KafkaString [..=3],
        /// Its port.
        port: i32 [..=3],
        /// The coordinators, by key (KIP-699).
        coordinators: Vec<Coordinator> [4..],
    }

    /// The coordinator of a key.
    pub struct Coordinator {
        /// The group or transactional id.
        key: KafkaString [4..],
        /// The broker that coordinates it.
        node_id: i32 [4..],
        /// Its host name or address.
        host: KafkaString [4..],
        /// Its port.
        port: i32 [4..],
        /// The error, if any.
        error_code: ErrorCode [4..],
        /// What the error means.
        error_message: Option<KafkaString> [4..] = Some(KafkaString::default()),
    }
}
