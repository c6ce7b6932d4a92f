//! The heartbeat: glommio's executor can park while tasks are runnable, when its preemption timer fires between polling
//! for I/O and running a queue. A shard that has work therefore always has a timer armed, which wakes it; one that is
//! idle has none, and sleeps.
//!
//! The watchdog is an ordinary thread that sees whether busy shards still beat, and says so when one does not.

use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use super::broker::Broker;

/// The beat of a shard that has work.
const BEAT: Duration = Duration::from_millis(1);
/// How often the watchdog looks.
const LOOK: Duration = Duration::from_secs(2);

/// What the watchdog sees of a shard.
#[derive(Default)]
pub struct Pulse {
    beats: AtomicU64,
    busy: AtomicBool,
}

/// Beats while the shard has work; never ends.
pub async fn beat(broker: Rc<Broker>, pulse: Arc<Pulse>) {
    loop {
        if !broker.is_busy() {
            pulse.busy.store(false, Ordering::Relaxed);
            broker.woken.notified().await;
        }
        pulse.busy.store(true, Ordering::Relaxed);
        glommio::timer::sleep(BEAT).await;
        pulse.beats.fetch_add(1, Ordering::Relaxed);
    }
}

/// Watches the shards until `stopped`.
pub fn watch(pulses: Vec<Arc<Pulse>>, stopped: Arc<AtomicBool>) {
    let mut seen: Vec<Option<u64>> = vec![None; pulses.len()];
    while !stopped.load(Ordering::Relaxed) {
        std::thread::sleep(LOOK);
        for (shard, (pulse, seen)) in pulses.iter().zip(&mut seen).enumerate() {
            let beats = pulse.beats.load(Ordering::Relaxed);
            let busy = pulse.busy.load(Ordering::Relaxed);
            if busy && *seen == Some(beats) {
                tracing::error!("shard {shard} has work and has not moved for {} s", LOOK.as_secs());
            }
            *seen = busy.then_some(beats);
        }
    }
}
