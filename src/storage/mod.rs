//! The storage engine: one journal a shard makes appends durable, segments written later are what reads come from.
//! Of this, the journal's format and its reading after a crash are here; segments and the append path are not.
//!
//! Knows partitions, offsets and batches; knows nothing of sockets, topics' names, groups or clusters.

pub mod journal;
