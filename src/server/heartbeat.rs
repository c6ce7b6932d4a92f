//! The heartbeat: glommio's executor can park while tasks are runnable, when its preemption timer fires between polling
//! for I/O and running a queue. A shard that has work, if only an open connection, therefore always has a timer armed,
//! which wakes it; one that has none sleeps.
//!
//! That timer alone is not enough: when it fires at the wrong moment, its own task is among the runnable ones that the
//! executor parks on. So an ordinary thread, the watchdog, looks every few milliseconds whether busy shards beat, and
//! nudges one that does not: a message from another thread wakes an executor in any case. A shard that does not move
//! for seconds, nudged or not, is reported.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::storage::notify::Notify;

/// The beat of a shard that has work.
const BEAT: Duration = Duration::from_millis(1);
/// How often the watchdog looks while a shard is busy; a parked one stands still for about so long.
const LOOK: Duration = Duration::from_millis(5);
/// How often it looks while none is.
const LOOK_IDLE: Duration = Duration::from_millis(20);
/// A shard that has not moved for so many looks is reported.
const LOOKS_UNTIL_REPORTED: u32 = 400;

/// What the watchdog sees of a shard.
#[derive(Default)]
pub struct Pulse {
    beats: AtomicU64,
    busy: AtomicBool,
}

/// How much a shard has to do: its connections, their requests, and other shards' calls.
#[derive(Default)]
pub struct Work {
    count: Cell<usize>,
    began: Notify,
}

/// One piece of work, until dropped.
pub struct Working(Rc<Work>);

impl Work {
    /// Says that a piece of work begins.
    pub fn begin(self: &Rc<Self>) -> Working {
        self.count.set(self.count.get() + 1);
        if self.count.get() == 1 {
            self.began.notify();
        }
        Working(self.clone())
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.0.count.set(self.0.count.get() - 1);
    }
}

/// Beats while the shard has work; never ends.
pub async fn beat(work: Rc<Work>, pulse: Arc<Pulse>) {
    loop {
        if work.count.get() == 0 {
            pulse.busy.store(false, Ordering::Relaxed);
            work.began.notified().await;
        }
        pulse.busy.store(true, Ordering::Relaxed);
        glommio::timer::sleep(BEAT).await;
        pulse.beats.fetch_add(1, Ordering::Relaxed);
    }
}

/// A shard's place to be nudged: receiving is all that the nudge is for.
pub async fn be_nudged(nudges: flume::Receiver<()>) {
    while nudges.recv_async().await.is_ok() {}
}

/// Watches and nudges the shards until `stopped`.
pub fn watch(shards: &[(Arc<Pulse>, flume::Sender<()>)], stopped: &AtomicBool) {
    let mut seen: Vec<(u64, u32)> = vec![(0, 0); shards.len()];
    while !stopped.load(Ordering::Relaxed) {
        let mut any_busy = false;
        for (shard, ((pulse, nudge), (last, still))) in shards.iter().zip(&mut seen).enumerate() {
            let beats = pulse.beats.load(Ordering::Relaxed);
            let busy = pulse.busy.load(Ordering::Relaxed);
            any_busy |= busy;
            if !busy || *last != beats {
                (*last, *still) = (beats, 0);
                continue;
            }
            *still += 1;
            // A nudge that is still unread is as good as another.
            let _unread = nudge.try_send(());
            if *still % LOOKS_UNTIL_REPORTED == 0 {
                tracing::error!("shard {shard} has work and has not moved for {:?}", LOOK * *still);
            }
        }
        std::thread::sleep(if any_busy { LOOK } else { LOOK_IDLE });
    }
}
