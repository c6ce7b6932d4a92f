//! Options of `soak`.

use std::time::Duration;

use anyhow::ensure;
use clap::{ArgAction, Args};

use super::{BrokerKillOptions, BrokerOptions, Codec, FetchOptions, OutputOptions, TopicOptions, duration, rate};
use crate::check::numbered::NUMBERED_BYTES;
use crate::payload::PayloadKind;

/// Up to this length, a run reads everything once more when not told.
const READ_AGAIN_DURATION_MAX: Duration = Duration::from_secs(3600);

/// `soak`.
#[derive(Clone, Debug, Args)]
pub struct SoakOptions {
    /// Where.
    #[command(flatten)]
    pub broker: BrokerOptions,
    /// The topic.
    #[command(flatten)]
    pub topic: TopicOptions,
    /// What is sent.
    #[command(flatten)]
    pub records: NumberedOptions,
    /// Producers, each with a thread. The partitions are shared out among them.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub producers: u32,
    /// Producers have a producer id and number their batches, so that what is sent again is not there twice.
    ///
    /// Without, duplicates are counted and are no fault; nor is another order with more than 1 batch in flight.
    #[arg(long, value_name = "BOOL", default_value_t = true, action = ArgAction::Set)]
    pub idempotent: bool,
    /// How it is read.
    #[command(flatten)]
    pub fetch: FetchOptions,
    /// Records a second of all producers together, evenly spaced; as many as possible when not told.
    #[arg(long, value_name = "RECORDS/S", value_parser = rate)]
    pub rate: Option<f64>,
    /// How long.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "60s")]
    pub duration: Duration,
    /// Reads everything once more from the beginning in the end; done when not told, unless the run is longer than 1h.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    pub verify_from_start: Option<bool>,
    /// What is killed.
    #[command(flatten)]
    pub kills: BrokerKillOptions,
    /// What becomes of the figures.
    #[command(flatten)]
    pub output: OutputOptions,
}

/// Numbered records, and how they are sent.
#[derive(Clone, Debug, Args)]
pub struct NumberedOptions {
    /// Bytes of a record's value, of which 36 say which record it is.
    #[arg(long, value_name = "N", default_value_t = 256)]
    pub record_bytes: usize,
    /// Records of a batch; each request has one batch.
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub records_per_batch: u32,
    /// Batches of a producer that are unanswered at a time, at most: brokers remember no more of a producer.
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u8).range(1..=5))]
    pub in_flight: u8,
    /// How batches are compressed.
    #[arg(long, value_enum, default_value_t = Codec::None)]
    pub compression: Codec,
    /// Values: seed or seed:N for text, file:PATH for a file's bytes, ratio:X for bytes that compress to 1/X.
    #[arg(long, value_name = "VALUES", default_value = "seed")]
    pub payload: PayloadKind,
}

impl NumberedOptions {
    /// Refuses what cannot go together.
    ///
    /// # Errors
    /// When something cannot.
    pub fn check(&self) -> anyhow::Result<()> {
        let &NumberedOptions { record_bytes, records_per_batch, .. } = self;
        ensure!(
            record_bytes >= NUMBERED_BYTES,
            "--record-bytes {record_bytes}: which record it is takes {NUMBERED_BYTES} of each"
        );
        let batch_bytes = record_bytes.checked_mul(records_per_batch as usize);
        ensure!(
            batch_bytes.is_some_and(|bytes| bytes <= 1 << 30),
            "{records_per_batch} records of {record_bytes} bytes are more than 1 GiB a batch"
        );
        Ok(())
    }
}

impl SoakOptions {
    /// Whether everything is read once more in the end.
    pub fn reads_again(&self) -> bool {
        self.verify_from_start.unwrap_or(self.duration <= READ_AGAIN_DURATION_MAX)
    }

    /// Whether nothing may be reordered: neither with sequence numbers, nor with one batch after the other.
    pub fn keeps_order(&self) -> bool {
        self.idempotent || self.records.in_flight == 1
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::options::{Command, CommandLine};

    fn options(line: &str) -> SoakOptions {
        let line = format!("corelog-load soak {line}");
        match CommandLine::parse_from(line.split_whitespace()).command {
            Command::Soak(options) => options,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn short_runs_read_everything_again_and_long_ones_when_told() {
        assert!(options("--duration 1h").reads_again() && !options("--duration 2h").reads_again());
        assert!(options("--duration 2h --verify-from-start").reads_again());
        assert!(!options("--verify-from-start false").reads_again());
    }

    #[test]
    fn order_is_kept_with_numbers_or_with_one_batch_at_a_time() {
        assert!(options("").keeps_order() && options("--idempotent false --in-flight 1").keeps_order());
        assert!(!options("--idempotent false").keeps_order());
    }

    #[test]
    fn a_record_has_room_for_its_number() {
        assert!(options("--record-bytes 36").records.check().is_ok());
        assert!(options("--record-bytes 35").records.check().is_err());
        assert!(options("--record-bytes 2000000 --records-per-batch 1000").records.check().is_err());
    }
}
