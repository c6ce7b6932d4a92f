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
use std::task::{Poll, Waker};

use super::heartbeat::Work;
use crate::vocabulary::ShardId;

type Answer = Box<dyn Any + Send>;
type Running = Pin<Box<dyn Future<Output = Answer>>>;
type Task<S> = Box<dyn FnOnce(Rc<S>) -> Running + Send>;

enum Message<S> {
    Call { from: ShardId, slot: u64, work: Task<S> },
    Answer { slot: u64, answer: Answer },
}

/// One shard's inbox, made before the shards start.
pub struct Inbox<S>(flume::Receiver<Message<S>>);

/// Where all inboxes are reached.
pub struct Outboxes<S>(Vec<flume::Sender<Message<S>>>);

impl<S> Clone for Outboxes<S> {
    fn clone(&self) -> Self {
        Outboxes(self.0.clone())
    }
}

/// Makes the queues between `shards` shards.
pub fn queues<S>(shards: usize) -> (Outboxes<S>, Vec<Inbox<S>>) {
    let (senders, receivers): (Vec<_>, Vec<_>) = (0..shards).map(|_| flume::unbounded()).unzip();
    (Outboxes(senders), receivers.into_iter().map(Inbox).collect())
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
    work: Rc<Work>,
}

/// The other shard has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("shard {0} has stopped")]
pub struct ShardGone(pub ShardId);

impl<S: 'static> Mesh<S> {
    /// The mesh as `shard` sees it; other shards' calls count as its work.
    pub fn new(shard: ShardId, outboxes: Outboxes<S>, work: Rc<Work>) -> Mesh<S> {
        Mesh { shard, outboxes, slots: RefCell::default(), next_slot: std::cell::Cell::new(0), work }
    }

    /// This shard.
    pub fn shard(&self) -> ShardId {
        self.shard
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.outboxes.0.len()
    }

    /// Runs `work` on another shard. The call is sent before this returns; the future gives its result.
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
        let slot = self.next_slot.get();
        self.next_slot.set(slot + 1);
        self.slots.borrow_mut().insert(slot, Slot::Waiting(None));
        let work: Task<S> = Box::new(move |state| Box::pin(async move { Box::new(work(state).await) as Answer }));
        let sent = self.outboxes.0[shard.index()].send(Message::Call { from: self.shard, slot, work });
        let waiting = Waiting { mesh: self.clone(), slot };
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
        match message {
            Message::Call { from, slot, work } => {
                let working = self.work.begin();
                let running = work(state.clone());
                let answers = self.outboxes.0[from.index()].clone();
                glommio::spawn_local(async move {
                    let answer = running.await;
                    drop(working);
                    // The caller's shard may have stopped: then nobody waits.
                    let _unwanted = answers.send(Message::Answer { slot, answer });
                })
                .detach();
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
}

impl<S> Waiting<S> {
    async fn answer(self) -> Answer {
        poll_fn(|cx| {
            let mut slots = self.mesh.slots.borrow_mut();
            let state = slots.get_mut(&self.slot).expect("the slot is taken away only when this is dropped");
            match std::mem::replace(state, Slot::Waiting(Some(cx.waker().clone()))) {
                Slot::Done(answer) => Poll::Ready(answer),
                Slot::Waiting(_) => Poll::Pending,
            }
        })
        .await
    }
}

impl<S> Drop for Waiting<S> {
    fn drop(&mut self) {
        self.mesh.slots.borrow_mut().remove(&self.slot);
    }
}
