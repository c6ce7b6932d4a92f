//! The table and the JSON file.

use std::fmt::Write;

use hdrhistogram::Histogram;

use crate::options::BrokerKind;
use crate::window::Window;

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
    /// CPU time of this process a message, microseconds.
    pub client_cpu_us: f64,
    /// The broker's resident memory at the end, MiB.
    pub resident_mib: f64,
}

impl Measured {
    /// Of `messages` with values of `value_bytes`, that were answered in the window.
    pub fn load(
        window: &Window,
        messages: u64,
        value_bytes: usize,
        latencies: &Histogram<u64>,
        resident_bytes: u64,
    ) -> Measured {
        let messages_per_second = messages as f64 / window.elapsed.as_secs_f64();
        let each_us = |cpu: std::time::Duration| cpu.as_secs_f64() * 1e6 / messages.max(1) as f64;
        Measured {
            messages_per_second,
            megabytes_per_second: messages_per_second * value_bytes as f64 / 1e6,
            latency_ms: [0.5, 0.99, 0.999].map(|quantile| latencies.value_at_quantile(quantile) as f64 / 1e6),
            broker_cpu_us: each_us(window.broker_cpu),
            client_cpu_us: each_us(window.client_cpu),
            resident_mib: resident_bytes as f64 / f64::from(1 << 20),
        }
    }
}

/// All that was measured.
#[derive(Default)]
pub struct Report {
    rows: Vec<(String, BrokerKind, Measured)>,
}

impl Report {
    /// Prints the table's head.
    pub fn print_head(&self) {
        println!(
            "{:<26} {:<14} {:>11} {:>8} {:>8} {:>8} {:>8} {:>10} {:>10} {:>7}",
            "row", "broker", "msg/s", "MB/s", "p50 ms", "p99 ms", "p999 ms", "broker µs", "client µs", "RSS MiB"
        );
    }

    /// Adds a row, and prints it.
    pub fn add(&mut self, row: &str, broker: BrokerKind, measured: Measured) {
        let [p50, p99, p999] = measured.latency_ms;
        println!(
            "{row:<26} {broker:<14} {:>11.0} {:>8.1} {p50:>8.3} {p99:>8.3} {p999:>8.3} {:>10.3} {:>10.3} {:>7.0}",
            measured.messages_per_second,
            measured.megabytes_per_second,
            measured.broker_cpu_us,
            measured.client_cpu_us,
            measured.resident_mib
        );
        self.rows.push((row.to_owned(), broker, measured));
    }

    /// Everything as a JSON array, an object for each row and broker. Names need no escapes.
    pub fn json(&self) -> String {
        let mut json = String::from("[");
        for (at, (row, broker, measured)) in self.rows.iter().enumerate() {
            let [p50, p99, p999] = measured.latency_ms;
            let comma = if at == 0 { "" } else { "," };
            // Writing to a string cannot fail.
            let _written = write!(
                json,
                "{comma}\n  {{\"row\": \"{row}\", \"broker\": \"{broker}\", \"messages_per_second\": {:.1}, \
                 \"megabytes_per_second\": {:.3}, \"p50_ms\": {p50:.4}, \"p99_ms\": {p99:.4}, \"p999_ms\": {p999:.4}, \
                 \"broker_cpu_us\": {:.4}, \"client_cpu_us\": {:.4}, \"resident_mib\": {:.1}}}",
                measured.messages_per_second,
                measured.megabytes_per_second,
                measured.broker_cpu_us,
                measured.client_cpu_us,
                measured.resident_mib
            );
        }
        json.push_str("\n]\n");
        json
    }
}
