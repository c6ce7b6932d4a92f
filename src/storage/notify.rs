//! Waking what waits on a shard: plain lists of wakers, so that the engine runs on any single-threaded executor.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Poll, Waker};

/// A condition that tasks wait for: checked again after each [`Notify::notify`].
#[derive(Default)]
pub struct Notify {
    round: Cell<u64>,
    wakers: RefCell<Vec<Waker>>,
}

impl Notify {
    /// Wakes everything that waits.
    pub fn notify(&self) {
        self.round.set(self.round.get() + 1);
        // Taken first: a waker may run its task at once, which may wait again.
        let wakers = std::mem::take(&mut *self.wakers.borrow_mut());
        for waker in wakers {
            waker.wake();
        }
    }

    /// Waits for the next [`Notify::notify`]. A caller checks its condition, then waits, with no await between the two.
    pub async fn notified(&self) {
        let seen = self.round.get();
        poll_fn(|cx| {
            if self.round.get() != seen {
                return Poll::Ready(());
            }
            let mut wakers = self.wakers.borrow_mut();
            if !wakers.iter().any(|waker| waker.will_wake(cx.waker())) {
                wakers.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
    }
}

/// Runs the futures concurrently within one task, at most `limit` at once; returns the first error when all that had
/// started have ended.
pub async fn for_each_concurrent<F, E>(futures: impl IntoIterator<Item = F>, limit: usize) -> Result<(), E>
where
    F: Future<Output = Result<(), E>>,
{
    let mut waiting = futures.into_iter();
    let mut running: Vec<Pin<Box<F>>> = Vec::with_capacity(limit);
    let mut failed = None;
    poll_fn(|cx| {
        loop {
            while failed.is_none() && running.len() < limit {
                match waiting.next() {
                    Some(future) => running.push(Box::pin(future)),
                    None => break,
                }
            }
            let before = running.len();
            running.retain_mut(|future| match future.as_mut().poll(cx) {
                Poll::Pending => true,
                Poll::Ready(Ok(())) => false,
                Poll::Ready(Err(error)) => {
                    failed.get_or_insert(error);
                    false
                }
            });
            if running.is_empty() && (before == 0 || failed.is_some()) {
                return Poll::Ready(());
            }
            if running.len() == before {
                return Poll::Pending;
            }
        }
    })
    .await;
    failed.map_or(Ok(()), Err)
}
