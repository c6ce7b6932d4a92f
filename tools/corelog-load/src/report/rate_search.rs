//! How the highest rate was found that keeps a bound.

use serde::{Deserialize, Serialize};

/// The search.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RateSearch {
    /// The bound, as it was given: `p99=5ms`.
    pub bound: String,
    /// The rates that were tried, in order.
    pub steps: Vec<RateStep>,
    /// The highest rate that kept the bound, records a second; none when no rate did.
    pub highest: Option<f64>,
}

/// A rate that was tried.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RateStep {
    /// Records a second that were asked for.
    pub rate: f64,
    /// Records a second that came about.
    pub records_per_second: f64,
    /// The latency that the bound is for, milliseconds.
    pub latency_ms: Option<f64>,
    /// Whether the bound was kept.
    pub kept: bool,
    /// Why not.
    pub why_not: Option<String>,
}
