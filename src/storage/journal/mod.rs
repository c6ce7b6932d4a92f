//! The journal: a shard's write-ahead log, shared by all its partitions.

pub mod block;
pub mod commit;
pub mod scan;
pub mod writer;
