//! What broker and client used for each track, when these ran one after the other.

use serde::{Deserialize, Serialize};

use super::Usage;

/// What was used for a track, in its measured time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrackUsage {
    /// The track.
    pub track: String,
    /// By the broker, when its process is known.
    pub broker: Option<Usage>,
    /// By this process.
    pub client: Option<Usage>,
}
