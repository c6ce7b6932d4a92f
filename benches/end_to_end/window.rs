//! Warm-up, measured window, and the counters at its edges.

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use crate::options::Timing;
use crate::process::{Process, machine_cpu};

const WARM_UP: u8 = 0;
const MEASURED: u8 = 1;
const OVER: u8 = 2;

/// How often the load is asked whether it has ended by itself.
const STEP: Duration = Duration::from_millis(5);

/// Which phase the load is in; shared by all its threads.
#[derive(Default)]
pub struct Phase(AtomicU8);

impl Phase {
    /// Whether what happens now counts.
    pub fn is_measured(&self) -> bool {
        self.0.load(Ordering::Relaxed) == MEASURED
    }

    /// Whether the load is to end.
    pub fn is_over(&self) -> bool {
        self.0.load(Ordering::Relaxed) == OVER
    }

    /// Ends the load: the work is done, or failed.
    pub fn end(&self) {
        self.0.store(OVER, Ordering::Relaxed);
    }
}

/// What the measured window took.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Its length.
    pub elapsed: Duration,
    /// CPU time of the broker in it.
    pub broker_cpu: Duration,
    /// CPU time of this process in it.
    pub client_cpu: Duration,
    /// CPU time that went to anything else, as a part of all that the cores had.
    pub other_cpu: f64,
}

/// Lets the load run through its phases.
///
/// # Errors
/// When the broker is gone.
pub fn run(phase: &Phase, timing: &Timing, broker: Process) -> anyhow::Result<Window> {
    sleep(phase, timing.warm_up);
    let (broker_before, client_before) = (broker.cpu()?, Process::own().cpu()?);
    let (machine_before, start) = (machine_cpu()?, Instant::now());
    // A load that has ended stays ended.
    let _ended = phase.0.compare_exchange(WARM_UP, MEASURED, Ordering::Relaxed, Ordering::Relaxed);
    sleep(phase, timing.duration);
    phase.end();
    let elapsed = start.elapsed();
    let machine_cpu = machine_cpu()?.saturating_sub(machine_before);
    let broker_cpu = broker.cpu()?.saturating_sub(broker_before);
    let client_cpu = Process::own().cpu()?.saturating_sub(client_before);
    let cores = std::thread::available_parallelism()?.get();
    let other_cpu = machine_cpu.saturating_sub(broker_cpu + client_cpu).div_duration_f64(elapsed) / cores as f64;
    Ok(Window { elapsed, broker_cpu, client_cpu, other_cpu })
}

fn sleep(phase: &Phase, duration: Duration) {
    let end = Instant::now() + duration;
    while let Some(left) = end.checked_duration_since(Instant::now())
        && !phase.is_over()
    {
        std::thread::sleep(left.min(STEP));
    }
}
