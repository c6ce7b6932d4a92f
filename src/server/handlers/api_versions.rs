//! ApiVersions: which APIs, in which versions.

use super::SERVED;
use crate::protocol::ErrorCode;
use crate::protocol::messages::api_versions::{ApiVersion, ApiVersionsResponse};

/// All that is served.
pub(super) fn supported() -> ApiVersionsResponse {
    let api_keys = SERVED.iter().map(|key| {
        let versions = key.advertised_versions();
        ApiVersion { api_key: key.code(), min_version: *versions.start(), max_version: *versions.end() }
    });
    ApiVersionsResponse { api_keys: api_keys.collect(), finalized_features_epoch: -1, ..Default::default() }
}

/// The answer, in version 0, to a version that is too new: the client finds ours in it (KIP-511).
pub(super) fn unsupported() -> ApiVersionsResponse {
    ApiVersionsResponse { error_code: ErrorCode::UnsupportedVersion, ..supported() }
}
