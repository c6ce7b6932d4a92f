//! The heartbeat: glommio's executor can park while tasks are runnable, when its preemption timer fires between polling
//! for I/O and running a queue, as it does when the thread is descheduled there for a moment. A shard that has work, if
//! only an open connection, therefore always has a timer armed, which wakes it; one that has none sleeps.
//!
//! That timer alone is not enough: when it fires at the wrong moment, its own task is among the runnable ones that the
//! executor parks on. So an ordinary thread, the watchdog, looks every few milliseconds whether busy shards beat, and
//! wakes one that does not, again and again until it does. It wakes a task of the shard by its waker: each such wake
//! writes to the sleeping executor's eventfd, whatever the task's state, whereas a message on a queue does so only once
//! until it is read. A shard is busy, for this, also when something was sent to it that it has not taken yet: counted by
//! the senders, because a shard that sleeps on it cannot say so. A shard that does not move for seconds is reported.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
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

/// What the watchdog sees of a shard, and how it wakes it.
#[derive(Default)]
pub struct Pulse {
    beats: AtomicU64,
    /// Whether the shard has work in hand.
    working: AtomicBool,
    sent: AtomicU64,
    taken: AtomicU64,
    /// Wakes the shard's executor; absent before it runs and after it has ended.
    waker: Mutex<Option<Waker>>,
}

impl Pulse {
    /// Says that something was sent to the shard. Called behind the sending.
    pub fn sent(&self) {
        self.sent.fetch_add(1, Ordering::Relaxed);
    }

    /// Says that the shard has taken something that was sent to it.
    pub fn taken(&self) {
        self.taken.fetch_add(1, Ordering::Relaxed);
    }

    fn is_busy(&self) -> bool {
        self.working.load(Ordering::Relaxed) || self.sent.load(Ordering::Relaxed) != self.taken.load(Ordering::Relaxed)
    }

    fn wake(&self) {
        let waker = self.waker.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(waker) = &*waker {
            waker.wake_by_ref();
        }
    }

    fn set_waker(&self, waker: Option<Waker>) {
        let before = std::mem::replace(&mut *self.waker.lock().unwrap_or_else(PoisonError::into_inner), waker);
        drop(before);
    }
}

/// How much a shard has to do: its connections, their requests, and other shards' calls.
#[derive(Default)]
pub struct Work {
    count: Cell<usize>,
    began: Notify,
    pulse: Arc<Pulse>,
}

/// One piece of work, until dropped.
pub struct Working(Rc<Work>);

impl Work {
    /// The work of the shard that has this pulse.
    pub fn new(pulse: Arc<Pulse>) -> Work {
        Work { pulse, ..Work::default() }
    }

    /// Says that a piece of work begins.
    pub fn begin(self: &Rc<Self>) -> Working {
        self.count.set(self.count.get() + 1);
        if self.count.get() == 1 {
            self.pulse.working.store(true, Ordering::Relaxed);
            self.began.notify();
        }
        Working(self.clone())
    }

    /// Says that the shard has taken something that was sent to it.
    pub fn taken(&self) {
        self.pulse.taken();
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        let count = self.0.count.get() - 1;
        self.0.count.set(count);
        if count == 0 {
            self.0.pulse.working.store(false, Ordering::Relaxed);
        }
    }
}

/// Starts what a shard's executor runs to be watched. To be called once, by its first task and before that waits for
/// anything else; ends with [`end`].
pub async fn begin(work: &Rc<Work>) {
    glommio::spawn_local(beat(work.clone())).detach();
    // Until that one has run for the first time the first task's own waker stands in for it.
    glommio::spawn_local(be_woken(work.pulse.clone())).detach();
    poll_fn(|cx| {
        work.pulse.set_waker(Some(cx.waker().clone()));
        Poll::Ready(())
    })
    .await;
}

/// Ends the watching of this executor, which is about to end.
pub fn end(work: &Work) {
    work.pulse.set_waker(None);
}

/// Beats while the shard has work; never ends.
async fn beat(work: Rc<Work>) {
    loop {
        if work.count.get() == 0 {
            work.began.notified().await;
        }
        glommio::timer::sleep(BEAT).await;
        work.pulse.beats.fetch_add(1, Ordering::Relaxed);
    }
}

/// The task that the watchdog wakes; never ends.
async fn be_woken(pulse: Arc<Pulse>) {
    poll_fn::<(), _>(|cx| {
        pulse.beats.fetch_add(1, Ordering::Relaxed);
        pulse.set_waker(Some(cx.waker().clone()));
        Poll::Pending
    })
    .await;
}

/// Watches and wakes the shards until `stopped`.
pub fn watch(shards: &[Arc<Pulse>], stopped: &AtomicBool) {
    let mut seen: Vec<(u64, u32)> = vec![(0, 0); shards.len()];
    while !stopped.load(Ordering::Relaxed) {
        let mut any_busy = false;
        for (shard, (pulse, (last, still))) in shards.iter().zip(&mut seen).enumerate() {
            let beats = pulse.beats.load(Ordering::Relaxed);
            let busy = pulse.is_busy();
            any_busy |= busy;
            if !busy || *last != beats {
                (*last, *still) = (beats, 0);
                continue;
            }
            *still += 1;
            pulse.wake();
            if *still % LOOKS_UNTIL_REPORTED == 0 {
                tracing::error!("shard {shard} has work and has not moved for {:?}", LOOK * *still);
            }
        }
        std::thread::sleep(if any_busy { LOOK } else { LOOK_IDLE });
    }
}
