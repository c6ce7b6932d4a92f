//! The broker: shards, the mesh between them, connections, and a handler for each Kafka API.
//!
//! | module | what it is |
//! | --- | --- |
//! | [`options`] | from the configuration to what is started |
//! | [`start`] | from a data directory to running shards, and back down again |
//! | [`listener`] | accepts connections on a thread of its own and deals them to the shards |
//! | [`connection`] | frames in, responses out, in order |
//! | [`mesh`] | calls between shards |
//! | [`broker`] | what one shard owns |
//! | [`fetch_sessions`] | what clients fetch, remembered between their requests |
//! | [`groups`] | the group coordinator of one shard |
//! | [`compaction`] | compacts what has the `compact` policy |
//! | [`retention`] | deletes what the `delete` policy does not keep |
//! | [`turns`] | what keeps a connection's produces in order |
//! | [`handlers`] | one file an API |

pub mod broker;
pub mod compaction;
pub mod connection;
pub mod fetch_sessions;
pub mod groups;
pub mod handlers;
pub mod listener;
pub mod mesh;
pub mod options;
pub mod retention;
pub mod start;
pub mod turns;
