//! **corelog**: a message broker that speaks the Apache Kafka protocol on a thread-per-core io_uring storage engine.
//!
//! A layer knows only those below it; lowest first:
//!
//! | module | what it is |
//! | --- | --- |
//! | [`vocabulary`] | the domain's small types: offsets, epochs, partition and shard ids |
//! | [`disk`] | the small I/O trait, and direct I/O on io_uring behind it |
//! | [`record`] | Kafka's record batches |
//! | [`storage`] | the engine: journal, segments, recovery |
//! | [`executor`] | the threads that shards run on: their start, and what keeps one with work from sleeping |
//! | [`engine`] | the storage engine as a library: open, append, read, follow |
//! | [`partition`] | a partition as its leader sees it; so far its idempotent producers |
//! | [`config`] | every configuration key with its bounds; the broker's values, and the topics' |
//! | [`metadata`] | topics, partitions, placement and producer ids: a state machine fed by commands |
//! | [`coordinator`] | consumer groups and committed offsets: state machines without I/O |
//! | [`server`] | shards, the mesh between them, connections, request handlers |
//! | [`offline`] | reading a stopped data directory: what `corelog log` does |
//! | [`protocol`] | Kafka's framing and messages: a declarative, bounds-checked codec; knows only the vocabulary |
//!
//! `ARCHITECTURE.md` says what comes above them. A program that wants the storage engine without the broker begins at
//! [`engine`], which has an example.

#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        clippy::disallowed_macros,
        reason = "a test may fail loudly; the library is also linted without its tests"
    )
)]

pub mod config;
pub mod coordinator;
pub mod disk;
pub mod engine;
pub mod executor;
pub mod metadata;
pub mod offline;
pub mod partition;
pub mod protocol;
pub mod record;
pub mod server;
pub mod storage;
pub mod vocabulary;
