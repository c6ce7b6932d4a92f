//! Waiting for an append to be durable.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};

use super::block::Sequence;

/// The journal takes no more: a write or an fdatasync failed, or the shard is stopping.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the journal of shard {shard} accepts no writes: {reason}")]
pub struct Fenced {
    /// The shard.
    pub shard: u16,
    /// What happened.
    pub reason: Rc<str>,
}

/// The durability of one journal block, shared by all appends in it.
pub struct Commit {
    sequence: Sequence,
    outcome: RefCell<Option<Result<(), Fenced>>>,
    done: Cell<bool>,
    wakers: RefCell<Vec<Waker>>,
}

impl Commit {
    pub(super) fn new(sequence: Sequence) -> Commit {
        Commit { sequence, outcome: RefCell::default(), done: Cell::new(false), wakers: RefCell::default() }
    }

    /// The block's number.
    pub fn sequence(&self) -> Sequence {
        self.sequence
    }

    /// Whether the block is durable, or failed, already.
    pub fn is_done(&self) -> bool {
        self.done.get()
    }

    /// Waits until the block, and every block before it, is on disk.
    ///
    /// # Errors
    /// [`Fenced`] when that will never be known to have happened.
    pub async fn durable(&self) -> Result<(), Fenced> {
        poll_fn(|cx| {
            if let Some(outcome) = &*self.outcome.borrow() {
                return Poll::Ready(outcome.clone());
            }
            self.wakers.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    pub(super) fn complete(&self, outcome: Result<(), Fenced>) {
        *self.outcome.borrow_mut() = Some(outcome);
        self.done.set(true);
        let wakers = std::mem::take(&mut *self.wakers.borrow_mut());
        for waker in wakers {
            waker.wake();
        }
    }
}
