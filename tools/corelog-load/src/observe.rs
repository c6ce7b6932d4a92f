//! Watches a load from outside: takes what its threads noted each second, shows it, and adds it up.

use std::time::{Duration, Instant};

use crate::clock;
use crate::live::Live;
use crate::load::Load;
use crate::measure::{Interval, Split, Track};
use crate::process::{Process, machine_cpu};
use crate::report::{Latency, Second, TrackSecond, Usage, megabytes};

/// How often it looks whether the load has ended.
const STEP: Duration = Duration::from_millis(5);

/// A shorter piece of time is not shown; it is in the report.
const SHOWN_SECONDS_MIN: f64 = 0.1;

/// What was seen.
pub struct Observed {
    /// All that happened, by track.
    pub tracks: Vec<Split>,
    /// The same by second.
    pub series: Vec<Second>,
    /// What the broker used in the measured time, when its process is known.
    pub broker: Option<Usage>,
    /// What this process used in the measured time.
    pub client: Option<Usage>,
    /// Cores that anything else kept busy in the measured time, when the broker's process is known.
    pub other_cores: Option<f64>,
}

/// Watches until `running` says no.
pub fn observe(
    load: &Load,
    tracks: &[Track],
    broker: Option<Process>,
    live: &mut Live,
    running: impl Fn() -> bool,
) -> Observed {
    let mut watch = Watch {
        load,
        tracks,
        totals: tracks.iter().map(|_| Split::default()).collect(),
        series: Vec::new(),
        broker: broker.map(Meter::new),
        client: Meter::new(Process::own()),
        machine_from: machine_cpu().ok().map(|cpu| (cpu, load.start())),
        mark: load.start(),
    };
    let mut seconds = 0;
    loop {
        let next_second = load.start() + Duration::from_secs(seconds + 1);
        // A mark at the end of the warm-up too: the meters start there.
        let warm_up_ends = load.measured_from();
        let next = if warm_up_ends > watch.mark && warm_up_ends < next_second { warm_up_ends } else { next_second };
        let ended = loop {
            let left = next.saturating_duration_since(clock::now());
            if left.is_zero() {
                break false;
            }
            if !running() {
                break true;
            }
            std::thread::sleep(left.min(STEP));
        };
        seconds += u64::from(!ended && next == next_second);
        // What the threads note between the mark and now falls into the next second.
        let second = watch.take(if ended { clock::now() } else { next });
        if let Some(second) = second {
            // The rest behind the last whole second has figures too few to show.
            if second.seconds >= SHOWN_SECONDS_MIN {
                live.show(&second, load);
            }
            watch.series.push(second);
        }
        if ended {
            break;
        }
    }
    live.finish();
    let other_cores = watch.other_cores();
    Observed {
        other_cores,
        tracks: watch.totals,
        series: watch.series,
        broker: watch.broker.map(|meter| meter.usage()),
        client: Some(watch.client.usage()),
    }
}

struct Watch<'a> {
    load: &'a Load,
    tracks: &'a [Track],
    totals: Vec<Split>,
    series: Vec<Second>,
    broker: Option<Meter>,
    client: Meter,
    /// The machine's CPU time when the measured time began, and when that was.
    machine_from: Option<(Duration, Instant)>,
    /// When the threads' notes were taken last.
    mark: Instant,
}

impl Watch<'_> {
    /// What neither the broker nor this process used.
    fn other_cores(&self) -> Option<f64> {
        let (before, from) = self.machine_from?;
        let used = self.broker.as_ref()?.used() + self.client.used();
        let seconds = self.mark.saturating_duration_since(from).as_secs_f64();
        let all = machine_cpu().ok()?.saturating_sub(before);
        (seconds > 0.0).then(|| all.saturating_sub(used).as_secs_f64() / seconds)
    }

    /// What happened between the last mark and `now`, which becomes the mark.
    fn take(&mut self, now: Instant) -> Option<Second> {
        let is_warm_up = now <= self.load.measured_from() && self.load.measured_from() > self.load.start();
        let elapsed = now.saturating_duration_since(self.mark).as_secs_f64();
        let mut tracks = Vec::new();
        for (track, total) in self.tracks.iter().zip(&mut self.totals) {
            let split = track.take();
            total.warm_up.merge(&split.warm_up);
            total.measured.merge(&split.measured);
            let mut all = split.warm_up;
            all.merge(&split.measured);
            tracks.push(track_second(track, &all, elapsed));
        }
        let broker = self.broker.as_mut().map(|meter| meter.step(elapsed, is_warm_up));
        let client = self.client.step(elapsed, is_warm_up);
        if is_warm_up {
            self.machine_from = machine_cpu().ok().map(|cpu| (cpu, now));
        }
        self.mark = now;
        (elapsed > 0.0).then(|| Second {
            ends_at_s: now.saturating_duration_since(self.load.start()).as_secs_f64(),
            seconds: elapsed,
            warm_up: is_warm_up,
            tracks,
            broker_cores: broker.map(|(cores, _)| cores),
            broker_resident_bytes: broker.map(|(_, bytes)| bytes),
            client_cores: client.0,
            errors: self.load.take_errors(),
            lag: self.load.lag(),
        })
    }
}

fn track_second(track: &Track, interval: &Interval, seconds: f64) -> TrackSecond {
    let each_second = |count: u64| if seconds > 0.0 { count as f64 / seconds } else { 0.0 };
    let bytes = if track.has_values { interval.value_bytes } else { interval.wire_bytes };
    let latency = Latency::percentiles_ms(&interval.latency);
    TrackSecond {
        name: track.name.to_owned(),
        records: interval.records,
        records_per_second: each_second(interval.records),
        megabytes_per_second: megabytes(each_second(bytes)),
        p50_ms: latency.map(|ms| ms[0]),
        p99_ms: latency.map(|ms| ms[2]),
        p999_ms: latency.map(|ms| ms[3]),
    }
}

/// Reads what a process uses. A process that has ended used what it did before.
struct Meter {
    process: Process,
    last_cpu: Duration,
    warm_up_cpu: Duration,
    resident_bytes: u64,
    resident_bytes_max: u64,
}

impl Meter {
    fn new(process: Process) -> Meter {
        let cpu = process.cpu().unwrap_or_default();
        let resident_bytes = process.resident_bytes().unwrap_or_default();
        Meter { process, last_cpu: cpu, warm_up_cpu: cpu, resident_bytes, resident_bytes_max: resident_bytes }
    }

    /// Cores used since the last step, and resident bytes.
    fn step(&mut self, elapsed: f64, is_warm_up: bool) -> (f64, u64) {
        let before = self.last_cpu;
        if let Ok(cpu) = self.process.cpu() {
            self.last_cpu = cpu;
        }
        if let Ok(bytes) = self.process.resident_bytes() {
            self.resident_bytes = bytes;
            self.resident_bytes_max = self.resident_bytes_max.max(bytes);
        }
        if is_warm_up {
            self.warm_up_cpu = self.last_cpu;
        }
        let used = self.last_cpu.saturating_sub(before).as_secs_f64();
        (if elapsed > 0.0 { used / elapsed } else { 0.0 }, self.resident_bytes)
    }

    /// CPU time in the measured time.
    fn used(&self) -> Duration {
        self.last_cpu.saturating_sub(self.warm_up_cpu)
    }

    fn usage(&self) -> Usage {
        Usage {
            pid: self.process.0,
            cpu_seconds: self.used().as_secs_f64(),
            resident_bytes_end: self.resident_bytes,
            resident_bytes_max: self.resident_bytes_max,
        }
    }
}
