//! The storage engine: one journal a shard makes appends durable, segments written later are what reads come from.
//!
//! Knows partitions, offsets and batches; knows nothing of sockets, topics' names, groups or clusters.

pub mod journal;
