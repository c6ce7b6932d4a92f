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
//! Groups, members and offsets are counted in bytes, and a shard takes no more of any of them beyond a budget of its own.
//! A member holds the metadata of its protocols and an assignment, copied out of their frames; the record of the group,
//! which holds both of all members, has to fit in `message.max.bytes`. A group has at most `group.max.size` members. Member
//! ids that were given out and not used live for one session timeout. A committed offset has a text of at most
//! `offset.metadata.max.bytes`, and only existing partitions have offsets; a group without members loses them, and then
//! itself, after `offsets.retention.minutes`.

pub mod group;
pub mod offsets;
pub mod placement;
pub mod settings;
pub mod state;

pub use settings::GroupSettings;
