//! What became of each record: plain state machines over plain data. No sockets, no clock, no threads.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`numbered`] | a record that says which one it is, and its format |
//! | [`intervals`] | a set of numbers, kept as ranges |
//! | [`ledger`] | what was acknowledged and what came back: lost, duplicated, reordered, corrupted |
//! | [`committed`] | which batches belong to aborted transactions |
//! | [`reading`] | a batch that came back, taken apart into what the ledger is told |
//!
//! Each producer numbers its records from 0 in each partition. So what is kept is a few ranges for each pair of producer
//! and partition, however long a run takes; only what is missing, and what came twice, makes more of them.

pub mod committed;
pub mod intervals;
pub mod ledger;
pub mod numbered;
pub mod reading;
