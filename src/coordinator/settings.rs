//! The configuration of groups and committed offsets, by Kafka's names.

/// What the coordinator is told at start.
#[derive(Clone, Debug)]
pub struct GroupSettings {
    /// Kafka's `group.min.session.timeout.ms`.
    pub session_timeout_min_ms: i32,
    /// Kafka's `group.max.session.timeout.ms`.
    pub session_timeout_max_ms: i32,
    /// Kafka's `group.initial.rebalance.delay.ms`: how long an empty group waits for more members after the first.
    pub initial_rebalance_delay_ms: i32,
    /// Kafka's `group.max.size`, in members.
    pub size_max: usize,
    /// Kafka's `offsets.retention.minutes`, in milliseconds.
    pub offsets_retention_ms: i64,
    /// Kafka's `offsets.retention.check.interval.ms`.
    pub offsets_retention_check_interval_ms: u64,
    /// Kafka's `offset.metadata.max.bytes`, which counts UTF-16 code units there and here.
    pub offset_metadata_max: usize,
}

impl Default for GroupSettings {
    /// Kafka's defaults.
    fn default() -> GroupSettings {
        GroupSettings {
            session_timeout_min_ms: 6_000,
            session_timeout_max_ms: 1_800_000,
            initial_rebalance_delay_ms: 3_000,
            size_max: i32::MAX as usize,
            offsets_retention_ms: 7 * 24 * 60 * 60 * 1000,
            offsets_retention_check_interval_ms: 600_000,
            offset_metadata_max: 4096,
        }
    }
}
