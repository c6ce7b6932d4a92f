//! The mesh: how one shard asks another to do something.
//!
//! A call is a closure that runs on the other shard, with that shard's own state; its result comes back. Calls from one
//! shard to another start in the order in which they were made, and run up to their first wait before the next starts:
//! this is what keeps the order of produces from one connection. What is in flight is bounded by the requests that
//! connections may have in flight; the queues themselves never refuse, so that two full ones cannot wait for each other.

use std::any::Any;
use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};

use futures_lite::FutureExt;

use crate::executor::heartbeat::{Pulse, Work};
use crate::storage::notify::Notify;
use crate::vocabulary::ShardId;

type Answer = Box<dyn Any + Send>;
type Running = Pin<Box<dyn Future<Output = Answer>>>;
type Task<S> = Box<dyn FnOnce(Rc<S>) -> Running + Send>;

enum Message<S> {
    Call {
        from: ShardId,
        slot: u64,
        work: Task<S>,
        may_be_dropped: bool,
    },
    /// The caller of a call that may be dropped has dropped it.
    Dropped {
        from: ShardId,
        slot: u64,
    },
    Answer {
        slot: u64,
        answer: Answer,
    },
}

/// One shard's inbox, made before the shards start.
pub struct Inbox<S>(flume::Receiver<Message<S>>);

/// Where all inboxes are reached, each with the pulse of the shard that has to take what is sent there.
pub struct Outboxes<S>(Vec<(flume::Sender<Message<S>>, Arc<Pulse>)>);

impl<S> Clone for Outboxes<S> {
    fn clone(&self) -> Self {
        Outboxes(self.0.clone())
    }
}

impl<S> Outboxes<S> {
    /// Gives the message back when the shard has stopped.
    fn send(&self, shard: ShardId, message: Message<S>) -> Result<(), flume::SendError<Message<S>>> {
        let (sender, pulse) = &self.0[shard.index()];
        sender.send(message)?;
        pulse.sent();
        Ok(())
    }
}

/// Makes the queues between the shards that have these pulses.
pub fn queues<S>(pulses: &[Arc<Pulse>]) -> (Outboxes<S>, Vec<Inbox<S>>) {
    let (senders, receivers): (Vec<_>, Vec<_>) = pulses.iter().map(|_| flume::unbounded()).unzip();
    let outboxes = senders.into_iter().zip(pulses.iter().cloned()).collect();
    (Outboxes(outboxes), receivers.into_iter().map(Inbox).collect())
}

enum Slot {
    Waiting(Option<Waker>),
    Done(Answer),
}

/// One shard's end of the mesh.
pub struct Mesh<S> {
    shard: ShardId,
    outboxes: Outboxes<S>,
    slots: RefCell<HashMap<u64, Slot>>,
    next_slot: std::cell::Cell<u64>,
    /// Calls of other shards that run here and that their callers may drop.
    droppable: RefCell<HashMap<(ShardId, u64), Rc<Notify>>>,
    work: Rc<Work>,
}

/// The other shard has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("shard {0} has stopped")]
pub struct ShardGone(pub ShardId);

impl<S: 'static> Mesh<S> {
    /// The mesh as `shard` sees it; other shards' calls count as its work.
    pub fn new(shard: ShardId, outboxes: Outboxes<S>, work: Rc<Work>) -> Mesh<S> {
        Mesh {
            shard,
            outboxes,
            slots: RefCell::default(),
            next_slot: std::cell::Cell::new(0),
            droppable: RefCell::default(),
            work,
        }
    }

    /// This shard.
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.outboxes.0.len()
    }

    /// Runs `work` on another shard. The call is sent before this returns; the future gives its result. Dropping it
    /// leaves the work running.
    pub fn call<T, F, W>(
        self: &Rc<Self>,
        shard: ShardId,
        work: W,
    ) -> impl Future<Output = Result<T, ShardGone>> + use<T, F, W, S>
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
        W: FnOnce(Rc<S>) -> F + Send + 'static,
    {
        self.send(shard, work, false)
    }

    /// As [`Mesh::call`], for work that only waits for something: when the future is dropped, the work is too.
    pub fn call_until_dropped<T, F, W>(
        self: &Rc<Self>,
        shard: ShardId,
        work: W,
    ) -> impl Future<Output = Result<T, ShardGone>> + use<T, F, W, S>
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
        W: FnOnce(Rc<S>) -> F + Send + 'static,
    {
        self.send(shard, work, true)
    }

    fn send<T, F, W>(
        self: &Rc<Self>,
        shard: ShardId,
        work: W,
        may_be_dropped: bool,
    ) -> impl Future<Output = Result<T, ShardGone>> + use<T, F, W, S>
    where
        T: Send + 'static,
        F: Future<Output = T> + 'static,
        W: FnOnce(Rc<S>) -> F + Send + 'static,
    {
        let slot = self.next_slot.get();
        self.next_slot.set(slot + 1);
        self.slots.borrow_mut().insert(slot, Slot::Waiting(None));
        let work: Task<S> = Box::new(move |state| Box::pin(async move { Box::new(work(state).await) as Answer }));
        let call = Message::Call { from: self.shard, slot, work, may_be_dropped };
        let sent = self.outboxes.send(shard, call);
        let tell = (may_be_dropped && sent.is_ok()).then_some(shard);
        let waiting = Waiting { mesh: self.clone(), slot, tell };
        async move {
            if sent.is_err() {
                return Err(ShardGone(shard));
            }
            let answer = waiting.answer().await;
            Ok(*answer.downcast::<T>().expect("a slot gets the answer to its own call"))
        }
    }

    /// Serves the inbox until all senders are gone.
    pub async fn serve(self: Rc<Self>, inbox: Inbox<S>, state: Rc<S>) {
        while let Ok(message) = inbox.0.recv_async().await {
            self.receive(message, &state);
            // One wake-up often brings many messages; the bound lets other tasks run in between.
            for _ in 0..64 {
                match inbox.0.try_recv() {
                    Ok(message) => self.receive(message, &state),
                    Err(_) => break,
                }
            }
            glommio::yield_if_needed().await;
        }
    }

    fn receive(self: &Rc<Self>, message: Message<S>, state: &Rc<S>) {
        self.work.taken();
        match message {
            Message::Call { from, slot, work, may_be_dropped } => {
                let working = self.work.begin();
                let running = work(state.clone());
                let dropped = may_be_dropped.then(Rc::<Notify>::default);
                if let Some(dropped) = &dropped {
                    self.droppable.borrow_mut().insert((from, slot), dropped.clone());
                }
                let mesh = self.clone();
                glommio::spawn_local(async move {
                    let answer = match dropped {
                        None => Some(running.await),
                        Some(dropped) => {
                            let unwanted = async {
                                dropped.notified().await;
                                None
                            };
                            let answer = async { Some(running.await) }.or(unwanted).await;
                            mesh.droppable.borrow_mut().remove(&(from, slot));
                            answer
                        }
                    };
                    drop(working);
                    if let Some(answer) = answer {
                        // The caller's shard may have stopped: then nobody waits.
                        let _unwanted = mesh.outboxes.send(from, Message::Answer { slot, answer });
                    }
                })
                .detach();
            }
            Message::Dropped { from, slot } => {
                let dropped = self.droppable.borrow().get(&(from, slot)).cloned();
                if let Some(dropped) = dropped {
                    dropped.notify();
                }
            }
            Message::Answer { slot, answer } => {
                let mut slots = self.slots.borrow_mut();
                // A caller that no longer waits has taken its slot away.
                let Some(state) = slots.get_mut(&slot) else { return };
                let before = std::mem::replace(state, Slot::Done(answer));
                drop(slots);
                if let Slot::Waiting(Some(waker)) = before {
                    waker.wake();
                }
            }
        }
    }
}

struct Waiting<S> {
    mesh: Rc<Mesh<S>>,
    slot: u64,
    /// Who is told when this is dropped before the answer has come.
    tell: Option<ShardId>,
}

impl<S> Waiting<S> {
    async fn answer(mut self) -> Answer {
        let answer = poll_fn(|cx| {
            let mut slots = self.mesh.slots.borrow_mut();
            let state = slots.get_mut(&self.slot).expect("the slot is taken away only when this is dropped");
            match std::mem::replace(state, Slot::Waiting(Some(cx.waker().clone()))) {
                Slot::Done(answer) => Poll::Ready(answer),
                Slot::Waiting(_) => Poll::Pending,
            }
        })
        .await;
        self.tell = None;
        answer
    }
}

impl<S> Drop for Waiting<S> {
    fn drop(&mut self) {
        self.mesh.slots.borrow_mut().remove(&self.slot);
        if let Some(shard) = self.tell {
            // A shard that has stopped runs nothing any more.
            let dropped = Message::Dropped { from: self.mesh.shard, slot: self.slot };
            let _stopped = self.mesh.outboxes.send(shard, dropped);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::{self, heartbeat};
    use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
    use std::time::Duration;

    /// Far more than the slowest machine needs, and far less than for ever.
    const DEADLINE: Duration = Duration::from_secs(120);

    /// Runs `drive` on shard 0 of two, whose state is a number, with the watchdog or without; false when it did not end
    /// within `deadline`.
    fn on_two_shards<F: Future<Output = ()>>(
        watched: bool,
        deadline: Duration,
        drive: impl FnOnce(Rc<Mesh<AtomicU32>>) -> F + Send + 'static,
    ) -> bool {
        let pulses: Vec<Arc<Pulse>> = vec![Arc::default(), Arc::default()];
        let (outboxes, inboxes) = queues::<AtomicU32>(&pulses);
        let stopped = Arc::new(AtomicBool::new(false));
        let (done, ended) = flume::bounded(1);
        let mut drive = Some(drive);
        for (shard, inbox) in inboxes.into_iter().enumerate() {
            let (outboxes, pulse, stopped) = (outboxes.clone(), pulses[shard].clone(), stopped.clone());
            let (drive, done) = (drive.take(), done.clone());
            // On one core, both: they then also take the processor from each other.
            let started = executor::spawn(Some(0), "mesh", move || async move {
                let work = Rc::new(Work::new(pulse));
                heartbeat::begin(&work).await;
                let _working = work.begin();
                let mesh = Rc::new(Mesh::new(ShardId(shard as u16), outboxes, work.clone()));
                glommio::spawn_local(mesh.clone().serve(inbox, Rc::default())).detach();
                if let Some(drive) = drive {
                    drive(mesh).await;
                    done.send(()).expect("the test waits");
                }
                while !stopped.load(Ordering::Relaxed) {
                    glommio::timer::sleep(Duration::from_millis(5)).await;
                }
                heartbeat::end(&work);
            });
            started.expect("an executor");
        }
        if watched {
            let (pulses, stopped) = (pulses.clone(), stopped.clone());
            std::thread::spawn(move || heartbeat::watch(&pulses, &stopped));
        }
        let ended = ended.recv_timeout(deadline).is_ok();
        stopped.store(true, Ordering::Relaxed);
        ended
    }

    /// Keeps a core busy, so that shards are descheduled in the middle of things.
    fn hog(stopped: &Arc<AtomicBool>) {
        let stopped = stopped.clone();
        std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                std::hint::spin_loop();
            }
        });
    }

    #[test]
    fn shards_with_work_do_not_park_for_ever() {
        let stopped = Arc::new(AtomicBool::new(false));
        (0..4).for_each(|_| hog(&stopped));
        let ended = on_two_shards(true, DEADLINE, |mesh| async move {
            for _ in 0..1_500 {
                let calls = (0..64)
                    .map(|_| mesh.call(ShardId(1), |count| async move { count.fetch_add(1, Ordering::Relaxed) }));
                for call in calls.collect::<Vec<_>>() {
                    call.await.expect("shard 1 runs");
                }
            }
        });
        stopped.store(true, Ordering::Relaxed);
        assert!(ended, "two shards with work have stood still");
    }

    #[test]
    fn a_call_that_is_dropped_ends_on_the_other_shard_too() {
        struct Ends(Arc<AtomicBool>);
        impl Drop for Ends {
            fn drop(&mut self) {
                self.0.store(true, Ordering::Relaxed);
            }
        }
        let gone = Arc::new(AtomicBool::new(false));
        let seen = gone.clone();
        let ended = on_two_shards(true, DEADLINE, |mesh| async move {
            let call = mesh.call_until_dropped(ShardId(1), |_| async move {
                let _ends = Ends(gone);
                std::future::pending::<()>().await;
            });
            let moment = async {
                glommio::timer::sleep(Duration::from_millis(20)).await;
                Ok(())
            };
            call.or(moment).await.expect("the moment passes");
            while !seen.load(Ordering::Relaxed) {
                glommio::timer::sleep(Duration::from_millis(1)).await;
            }
        });
        assert!(ended, "the other shard still waits");
    }
}
