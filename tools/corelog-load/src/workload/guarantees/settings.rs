//! What a client is started with: a file in its directory, so that each of its lives gets the same.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use corelog::record::Compression;
use serde::{Deserialize, Serialize};

use crate::options::Mode;
use crate::payload::PayloadKind;

/// The settings of both clients of a mode.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// The guarantee that they are to give.
    pub mode: Mode,
    /// Whether the broker serves transactions, and they are used for it.
    pub transactional: bool,
    /// The brokers to connect to.
    pub bootstrap: String,
    /// The topic.
    pub topic: String,
    /// The group whose offsets the consumer commits.
    pub group: String,
    /// The run that records belong to.
    pub run: u64,
    /// Where each partition began.
    pub starts: Vec<i64>,
    /// Records a second.
    pub rate: f64,
    /// Bytes of a value.
    pub record_bytes: usize,
    /// Records of a batch.
    pub records_per_batch: u32,
    /// Batches that are unanswered at a time, at most.
    pub in_flight: usize,
    /// Kafka's code of the compression.
    pub compression: u8,
    /// Where values come from, as the command line says it.
    pub payload: String,
    /// How long the consumer takes to process a batch, microseconds.
    pub processing_us: u64,
    /// How long nothing may work before a client fails, milliseconds.
    pub give_up_ms: u64,
}

impl Settings {
    fn path(directory: &Path) -> PathBuf {
        directory.join("settings.json")
    }

    /// Writes them.
    ///
    /// # Errors
    /// Those of the file system.
    pub fn write(&self, directory: &Path) -> anyhow::Result<()> {
        let path = Settings::path(directory);
        std::fs::write(&path, serde_json::to_vec_pretty(self)?).with_context(|| format!("write {}", path.display()))
    }

    /// Reads them.
    ///
    /// # Errors
    /// When they are not there, or are none.
    pub fn read(directory: &Path) -> anyhow::Result<Settings> {
        let path = Settings::path(directory);
        let context = || format!("read {}", path.display());
        serde_json::from_slice(&std::fs::read(&path).with_context(context)?).with_context(context)
    }

    /// How long nothing may work before a client fails.
    pub fn give_up(&self) -> Duration {
        Duration::from_millis(self.give_up_ms)
    }

    /// How batches are compressed.
    ///
    /// # Errors
    /// When the settings name a codec that there is none of.
    pub fn compression(&self) -> anyhow::Result<Compression> {
        let all = [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];
        all.into_iter().find(|codec| codec.code() == self.compression).context("settings: a codec that is none")
    }

    /// Where values come from.
    ///
    /// # Errors
    /// When the settings say what is nothing.
    pub fn payload(&self) -> anyhow::Result<PayloadKind> {
        self.payload.parse().map_err(|error: String| anyhow::anyhow!("settings: payload: {error}"))
    }
}
