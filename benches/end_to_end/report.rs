//! The table and the JSON file.

use std::time::Duration;

use anyhow::Context;
use corelog_load::report;

use crate::options::BrokerKind;

/// What a row measured on a broker.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    /// Messages acknowledged or received a second.
    pub messages_per_second: f64,
    /// Megabytes (10⁶) of their values a second.
    pub megabytes_per_second: f64,
    /// Request latency in milliseconds: median, 99th and 99.9th percentile.
    pub latency_ms: [f64; 3],
    /// CPU time of the broker a message, microseconds.
    pub broker_cpu_us: f64,
    /// CPU time of the load generator a message, microseconds.
    pub client_cpu_us: f64,
    /// What else the machine was busy with, percent of all its cores.
    pub other_cpu_percent: f64,
    /// The broker's resident memory at the end, MiB.
    pub resident_mib: f64,
}

impl Measured {
    /// Of what the load generator measured, with values of `value_bytes`.
    ///
    /// # Errors
    /// When nothing was measured.
    pub fn of(report: &report::Report, value_bytes: usize) -> anyhow::Result<Measured> {
        let track = report.tracks.last().filter(|track| track.records > 0).context("no records were measured")?;
        let latency = track.latency.as_ref().context("no latencies were measured")?;
        let (broker, client) = (report.broker_usage.as_ref(), report.client_usage.as_ref());
        let (broker, client) = broker.zip(client).context("no CPU time was measured")?;
        let each_us = |cpu_seconds: f64| cpu_seconds * 1e6 / track.records as f64;
        Ok(Measured {
            messages_per_second: track.records_per_second,
            megabytes_per_second: track.records_per_second * value_bytes as f64 / 1e6,
            latency_ms: [latency.p50_ms, latency.p99_ms, latency.p999_ms],
            broker_cpu_us: each_us(broker.cpu_seconds),
            client_cpu_us: each_us(client.cpu_seconds),
            other_cpu_percent: 100.0 * report.other_cores.unwrap_or(0.0) / report.machine.cores.max(1) as f64,
            resident_mib: mib(broker.resident_bytes_end),
        })
    }
}

/// What a row measured on a broker that idles.
#[derive(Clone, Copy, Debug)]
pub struct Footprint {
    /// The first start, on an empty directory, until it served.
    pub start: Duration,
    /// Resident memory when idle, in bytes.
    pub resident_bytes: u64,
    /// Open files and sockets when idle.
    pub open_files: usize,
    /// The start after SIGTERM, until all partitions were served.
    pub restart: Duration,
    /// The start after SIGKILL, until all partitions were served.
    pub restart_after_kill: Duration,
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}

/// All that was measured. Prints as it grows.
#[derive(Default)]
pub struct Report {
    rows: Vec<(&'static str, BrokerKind, Measured)>,
    footprints: Vec<(&'static str, BrokerKind, Footprint)>,
    failures: usize,
}

impl Report {
    /// Adds what an idle broker cost, and prints it.
    pub fn add_footprint(&mut self, row: &'static str, broker: BrokerKind, footprint: Footprint) {
        if self.footprints.is_empty() {
            println!(
                "{:<26} {:<14} {:>10} {:>10} {:>10} {:>11} {:>16}",
                "row", "broker", "start ms", "idle MiB", "open files", "restart ms", "after SIGKILL ms"
            );
        }
        println!(
            "{row:<26} {broker:<14} {:>10.0} {:>10.0} {:>10} {:>11.0} {:>16.0}",
            ms(footprint.start),
            mib(footprint.resident_bytes),
            footprint.open_files,
            ms(footprint.restart),
            ms(footprint.restart_after_kill)
        );
        self.footprints.push((row, broker, footprint));
    }

    /// Prints that a row could not be measured; it is not in the JSON.
    pub fn add_failure(&mut self, row: &str, broker: BrokerKind, error: &anyhow::Error) {
        println!("{row:<26} {broker:<14} failed: {error:#}");
        self.failures += 1;
    }

    /// How many rows could not be measured.
    pub fn failures(&self) -> usize {
        self.failures
    }

    /// Adds a row, and prints it. The last column is how many times faster the row's first broker is.
    pub fn add(&mut self, row: &'static str, broker: BrokerKind, measured: Measured) {
        if self.rows.is_empty() {
            println!(
                "{:<26} {:<14} {:>11} {:>8} {:>8} {:>8} {:>8} {:>10} {:>10} {:>7} {:>8} {:>9}",
                "row",
                "broker",
                "msg/s",
                "MB/s",
                "p50 ms",
                "p99 ms",
                "p999 ms",
                "broker µs",
                "client µs",
                "other %",
                "RSS MiB",
                "1st/this"
            );
        }
        let first = self.rows.iter().find(|(name, ..)| *name == row).map_or(&measured, |(.., first)| first);
        let ratio = first.messages_per_second / measured.messages_per_second;
        let [p50, p99, p999] = measured.latency_ms;
        println!(
            "{row:<26} {broker:<14} {:>11.0} {:>8.1} {p50:>8.3} {p99:>8.3} {p999:>8.3} {:>10.3} {:>10.3} {:>7.0} {:>8.0} \
             {ratio:>9.2}",
            measured.messages_per_second,
            measured.megabytes_per_second,
            measured.broker_cpu_us,
            measured.client_cpu_us,
            measured.other_cpu_percent,
            measured.resident_mib
        );
        self.rows.push((row, broker, measured));
    }

    /// Everything as a JSON array, an object for each row and broker. Names need no escapes.
    pub fn json(&self) -> String {
        let mut objects = Vec::new();
        for (row, broker, footprint) in &self.footprints {
            objects.push(format!(
                "{{\"row\": \"{row}\", \"broker\": \"{broker}\", \"start_ms\": {:.3}, \"idle_mib\": {:.1}, \
                 \"open_files\": {}, \"restart_ms\": {:.3}, \"restart_after_kill_ms\": {:.3}}}",
                ms(footprint.start),
                mib(footprint.resident_bytes),
                footprint.open_files,
                ms(footprint.restart),
                ms(footprint.restart_after_kill)
            ));
        }
        for (row, broker, measured) in &self.rows {
            let [p50, p99, p999] = measured.latency_ms;
            objects.push(format!(
                "{{\"row\": \"{row}\", \"broker\": \"{broker}\", \"messages_per_second\": {:.1}, \
                 \"megabytes_per_second\": {:.3}, \"p50_ms\": {p50:.4}, \"p99_ms\": {p99:.4}, \"p999_ms\": {p999:.4}, \
                 \"broker_cpu_us\": {:.4}, \"client_cpu_us\": {:.4}, \"other_cpu_percent\": {:.1}, \
                 \"resident_mib\": {:.1}}}",
                measured.messages_per_second,
                measured.megabytes_per_second,
                measured.broker_cpu_us,
                measured.client_cpu_us,
                measured.other_cpu_percent,
                measured.resident_mib
            ));
        }
        format!("[\n  {}\n]\n", objects.join(",\n  "))
    }
}
