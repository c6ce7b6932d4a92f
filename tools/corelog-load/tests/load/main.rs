//! The load generator's own binary, run as its users do: what it says has to be what the broker holds.
//!
//! | module | what it is held to |
//! | --- | --- |
//! | `produce`, `consume` | figures, rates, failures and interruptions of `produce`, `consume`, `end-to-end` and `mixed` |
//! | `librdkafka` | the same with librdkafka as the client |
//! | `rpc_vs_stream` | both halves carry what they say |
//! | `soak`, `guarantees` | with brokers and clients that are killed, and with a broker that lies |
//! | `refusals` | what a broker refuses is told to the user |
//! | `report` | the page of HTML has the figures of its runs |
//! | `apache_kafka` | every workload against Apache Kafka, where Java and Maven are installed |

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_macros,
    reason = "a test waits for a process, and says what it leaves out"
)]

mod apache_kafka;
mod consume;
mod guarantees;
mod harness;
#[path = "../../../../benches/end_to_end/kafka.rs"]
mod kafka;
mod librdkafka;
mod lying;
mod produce;
mod refusals;
mod report;
mod rpc_vs_stream;
mod soak;
