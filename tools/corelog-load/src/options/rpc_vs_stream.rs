//! Options of `rpc-vs-stream`.

use anyhow::ensure;
use clap::Args;

use super::{Acks, BrokerOptions, LengthOptions, OutputOptions, ProducerOptions, TopicOptions};
use crate::keys::KeyKind;
use crate::orders::ORDER_BYTES_MAX;

/// Orders of a batch when not told: about as many of them as fill 100 KB.
const RECORDS_PER_BATCH: u32 = 1000;

/// `rpc-vs-stream`.
#[derive(Clone, Debug, Args)]
#[command(
    mut_arg("record_bytes", |bytes| bytes.long("order-bytes").default_value("100").help("Bytes of an order").long_help("Bytes of an order")),
    mut_arg("payload", |payload| payload.default_value("orders")),
    mut_arg("keys", |keys| keys.hide(true)),
    mut_arg("linger", |linger| linger.hide(true)),
    mut_arg("topics", |topics| topics.hide(true)),
)]
pub struct RpcVsStreamOptions {
    /// Where.
    #[command(flatten)]
    pub broker: BrokerOptions,
    /// The topic.
    #[command(flatten)]
    pub topic: TopicOptions,
    /// Callers, each with a thread, a connection and one call at a time. The service serves each with a thread, and a
    /// connection to the broker.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..=4096))]
    pub callers: u64,
    /// What and how. Number, batches and requests in flight are those of the stream's producers; orders, acks,
    /// compression and idempotence are the same for both.
    #[command(flatten)]
    pub producer: ProducerOptions,
    /// Measures between the two what a stream carries that sends each order in a request of its own: what is gained by
    /// not waiting, and what by batches.
    #[arg(long)]
    pub pipelined: bool,
    /// How long each half takes, or how many orders it carries.
    #[command(flatten)]
    pub length: LengthOptions,
    /// What becomes of the figures.
    #[command(flatten)]
    pub output: OutputOptions,
}

impl RpcVsStreamOptions {
    /// Bytes of each order.
    pub fn order_bytes(&self) -> usize {
        self.producer.record_bytes.max()
    }

    /// The producers' options, with this workload's defaults. Refuses what cannot go together.
    ///
    /// # Errors
    /// When something cannot.
    pub fn producer(&self) -> anyhow::Result<ProducerOptions> {
        let mut producer = self.producer.clone();
        producer.records_per_batch.get_or_insert(RECORDS_PER_BATCH);
        ensure!(producer.acks != Acks::None, "rpc-vs-stream needs acknowledgements: without, a call has no answer");
        ensure!(producer.keys == KeyKind::None, "rpc-vs-stream has no --keys: its orders have none");
        ensure!(producer.linger.is_none(), "rpc-vs-stream has no --linger: it sends as fast as it can");
        self.broker.check_one_topic("rpc-vs-stream")?;
        let (least, most) = (producer.record_bytes.min(), producer.record_bytes.max());
        ensure!(least == most, "--order-bytes: all orders have the same length");
        ensure!(most <= ORDER_BYTES_MAX, "--order-bytes {most}: a call carries at most {ORDER_BYTES_MAX}");
        producer.check()?;
        Ok(producer)
    }
}
