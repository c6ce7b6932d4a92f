//! **corelog-load**: a load generator for brokers that speak the Apache Kafka protocol.
//!
//! A module knows only those below it; lowest first:
//!
//! | module | what it is |
//! | --- | --- |
//! | [`clock`], [`random`] | the only doors to the clocks; random bits from a seed |
//! | [`process`], [`machine`] | what `/proc` tells of a process and of the machine |
//! | [`orders`], [`payload`], [`keys`], [`sizes`], [`stamp`] | what records hold |
//! | [`batches`] | the batches that a producer sends |
//! | [`schedule`] | when each batch is meant to be sent |
//! | [`client`] | the thin client: the broker's codec over ordinary sockets |
//! | [`load`], [`measure`] | a load while it runs; what its threads note |
//! | [`report`] | the figures: summary, JSON, histograms, HTML with charts |
//! | [`check`] | numbered records, and what became of each |
//! | [`options`] | the command line |
//! | [`live`], [`observe`] | the view while a load runs; the thread that watches it |
//! | [`broker_control`] | a broker that is started, killed and started again |
//! | [`workload`] | the workloads |
//!
//! What the figures rest on:
//! - A thread for each producer and each consumer, with sockets of its own; no runtime, and no copies of what is large.
//! - With a rate, each batch has an intended time, fixed before the run, and its latency counts from there.
//! - What a second saw is taken from the threads by swapping, so that adding up never delays a measured request.

pub mod batches;
pub mod broker_control;
pub mod check;
pub mod client;
pub mod clock;
pub mod keys;
pub mod live;
pub mod load;
pub mod machine;
pub mod measure;
pub mod observe;
pub mod options;
pub mod orders;
pub mod payload;
pub mod process;
pub mod random;
pub mod report;
pub mod schedule;
pub mod sizes;
pub mod stamp;
pub mod workload;
