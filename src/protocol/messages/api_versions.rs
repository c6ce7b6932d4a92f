//! ApiVersions (key 18): lists the APIs that the broker serves.
//!
//! A request of a version that the broker does not serve is answered in version 0 with
//! [`UnsupportedVersion`](ErrorCode::UnsupportedVersion) and the whole list (KIP-511).

use crate::protocol::schema::{api, schema};
use crate::protocol::{ErrorCode, KafkaString};

api!(ApiVersions, ApiVersionsRequest, ApiVersionsResponse);

schema! {
    /// Who asks.
    pub struct ApiVersionsRequest {
        /// The name of the client's software.
        client_software_name: KafkaString [3..],
        /// The version of the client's software.
        client_software_version: KafkaString [3..],
    }

    /// What the broker serves.
    pub struct ApiVersionsResponse {
        /// The error, if any.
        error_code: ErrorCode,
        /// The APIs.
        api_keys: Vec<ApiVersion>,
        /// How long the client should wait before its next request, in milliseconds.
        throttle_time_ms: i32 [1..],
        /// The features that the broker could support (KIP-584).
        supported_features: Vec<SupportedFeatureKey> [3.., tag 0],
        /// The epoch of `finalized_features`; -1 when unknown.
        finalized_features_epoch: i64 [3.., tag 1] = -1,
        /// The features at the levels that the cluster has agreed on.
        finalized_features: Vec<FinalizedFeatureKey> [3.., tag 2],
        /// Whether a migration from ZooKeeper could begin (KIP-866).
        zk_migration_ready: bool [3.., tag 3],
    }

    /// An API that the broker serves.
    pub struct ApiVersion {
        /// The API's key.
        api_key: i16,
        /// The lowest version.
        min_version: i16,
        /// The highest version.
        max_version: i16,
    }

    /// A feature that the broker could support.
    pub struct SupportedFeatureKey {
        /// The feature.
        name: KafkaString [3..],
        /// The lowest level.
        min_version: i16 [3..],
        /// The highest level.
        max_version: i16 [3..],
    }

    /// A feature that the cluster has agreed on.
    pub struct FinalizedFeatureKey {
        /// The feature.
        name: KafkaString [3..],
        /// The highest level.
        max_version_level: i16 [3..],
        /// The lowest level.
        min_version_level: i16 [3..],
    }
}
