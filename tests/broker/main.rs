//! Drives the broker's own binary as its users do: over TCP, with librdkafka and with raw frames.
//!
//! Each test starts a broker on a data directory and a port of its own. Four variables change what is tested:
//!
//! | variable | effect |
//! | --- | --- |
//! | `CORELOG_TEST_BINARY=PATH` | runs another program with the same command line, such as an Apache Kafka stand-in |
//! | `CORELOG_TEST_BOOTSTRAP=HOST:PORT` | uses a broker that already runs; tests that start or stop one are skipped |
//! | `CORELOG_FLIP_STRIDE=N` | `offline` flips each Nth bit only; 1 flips all |
//! | `CORELOG_KILL_ROUNDS=N` | how often the tests in `delivery` kill the broker (default 3) |
//!
//! | module | what it holds the broker to |
//! | --- | --- |
//! | `real_input` | a real text of 16 MB comes out byte for byte, with every compression |
//! | `delivery` | what was acknowledged survives `kill -9` and SIGTERM, once and in order |
//! | `group_requests` | the group APIs request by request |
//! | `groups` | consumer groups share partitions, and keep their offsets |
//! | `topics` | topics are created, widened, described, deleted, and refused |
//! | `configs` | the configuration of topics and of the broker: described, altered, refused, and acted on |
//! | `offsets` | watermarks, offsets by time, seeks, and offsets out of range |
//! | `compaction` | of each key the last record stays, whatever crashes |
//! | `retention` | what a topic does not keep goes, and stays away |
//! | `moving` | connections follow their requests from shard to shard unnoticed |
//! | `full_disk` | a disk without room refuses produces alone, and takes them again when it has some |
//! | `hostile` | bytes that are no Kafka request harm nothing but their own connection |
//! | `offline` | `corelog log` on stopped, killed and damaged data directories; Kafka's own tool on our segments |
//! | `startup` | the command line says what is wrong in a line, and a signal ends it cleanly |
//! | `lacking` | so it does on a machine that lacks what the broker needs |

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "a test may fail loudly, and waits on real time"
)]

mod client;
mod compaction;
mod configs;
mod corpus;
mod delivery;
mod full_disk;
mod group_requests;
mod groups;
mod harness;
mod hostile;
#[allow(dead_code, reason = "the benchmark and the load generator's tests start it too")]
#[path = "../../benches/end_to_end/kafka.rs"]
mod kafka;
mod lacking;
mod moving;
mod offline;
mod offsets;
mod real_input;
mod retention;
mod startup;
mod topics;
mod wire;
