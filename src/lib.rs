//! **corelog**: a message broker that speaks the Apache Kafka protocol on a thread-per-core io_uring storage engine.
//!
//! A layer knows only those below it; lowest first:
//!
//! | module | what it is |
//! | --- | --- |
//! | [`vocabulary`] | the domain's small types: offsets, epochs, partition and shard ids |
//! | [`disk`] | the small I/O trait and its two implementations: io_uring, and a simulated disk |
//! | [`record`] | Kafka record batches (format 2): parse, validate, patch, build |
//! | [`storage`] | the engine: journal, segments, indexes, batch cache, recovery |
//! | [`partition`] | one partition as its leader sees it: producer state, high watermark, waiters |
//! | [`coordinator`] | consumer groups as state machines without I/O |
//! | [`metadata`] | topics, placement, configs, producer-id blocks: a state machine fed by a command log |
//! | [`config`] | the one table of configuration keys |
//! | [`protocol`] | the wire codec |
//! | [`server`] | shards, router, connections, and a handler file for each API |
//! | [`cli`] | what a person types |
//!
//! Start reading at [`server::serve`], and with `ARCHITECTURE.md` beside you.

#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        clippy::disallowed_macros,
        reason = "a test may fail loudly; the library is also linted without its tests"
    )
)]

pub mod cli;
pub mod config;
pub mod coordinator;
pub mod disk;
pub mod metadata;
pub mod partition;
pub mod protocol;
pub mod record;
pub mod server;
pub mod storage;
pub mod vocabulary;
