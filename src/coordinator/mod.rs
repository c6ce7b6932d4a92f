//! The group coordinator's state machines: classic consumer groups, and the offsets that groups commit.
//!
//! No I/O, no clock, no randomness: time, member id suffixes and the outcome of writes are inputs; answers and records to
//! write are outputs. The server runs it, one [`state::PartitionState`] for each partition of `__consumer_offsets`.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`group`] | one classic group: members, generations, rebalances |
//! | [`offsets`] | committed offsets, and the records of `__consumer_offsets` in Kafka's own schemas |
//! | [`state`] | what one partition of `__consumer_offsets` adds up to |
//! | [`placement`] | which partition a group belongs to |
//! | [`settings`] | the `group.*` and `offsets.*` configuration |
//!
//! # What bounds memory
//! A member holds the metadata of its protocols and an assignment, each part of one request and so at most
//! `socket.request.max.bytes`; both are copied out of the frame. What all members of one partition of
//! `__consumer_offsets` hold together is at most [`state::MEMBER_BYTES_MAX`], beyond which joins are refused. A group has
//! at most `group.max.size` members, and as many member ids that were given out and not yet used, which live for one
//! session timeout. A group's record has to fit in `message.max.bytes`. Committed offsets are bounded by existing
//! partitions times groups, each with a text of at most `offset.metadata.max.bytes`; a group without members loses them,
//! and then itself, after `offsets.retention.minutes`.

pub mod group;
pub mod offsets;
pub mod placement;
pub mod settings;
pub mod state;

pub use settings::GroupSettings;
