//! Committed offsets: what is kept of each, when it expires, and the records of `__consumer_offsets`.

pub mod records;
pub mod store;

pub use store::{CommittedOffset, OffsetChange, Offsets};
