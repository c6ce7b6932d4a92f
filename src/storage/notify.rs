//! Waking what waits on a shard: plain lists of wakers, so that the engine runs on any single-threaded executor.

use std::cell::{Cell, RefCell};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;

/// A condition that tasks wait for: checked again after each [`Notify::notify`].
#[derive(Default)]
pub struct Notify {
    round: Cell<u64>,
    waiting: RefCell<Waiting>,
}

/// Who waits in the present round. A place is free again when its future is dropped, so that one who waits for the first
/// of several things leaves nothing behind with the others.
#[derive(Default)]
struct Waiting {
    places: Vec<Option<Waker>>,
    free: Vec<usize>,
}

impl Notify {
    /// Wakes everything that waits.
    pub fn notify(&self) {
        self.round.set(self.round.get() + 1);
        // Taken first: a waker may run its task at once, which may wait again.
        let waiting = std::mem::take(&mut *self.waiting.borrow_mut());
        for waker in waiting.places.into_iter().flatten() {
            waker.wake();
        }
    }

    /// Waits for the next [`Notify::notify`]. A caller checks its condition, then waits, with no await between the two.
    pub fn notified(&self) -> Notified<'_> {
        Notified { notify: self, round: self.round.get(), place: None }
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        let waiting = self.waiting.borrow();
        waiting.places.len() - waiting.free.len()
    }
}

/// What [`Notify::notified`] gives.
pub struct Notified<'a> {
    notify: &'a Notify,
    round: u64,
    place: Option<usize>,
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.notify.round.get() != self.round {
            return Poll::Ready(());
        }
        let mut waiting = self.notify.waiting.borrow_mut();
        let place = match self.place {
            Some(place) => place,
            None => waiting.free.pop().unwrap_or_else(|| {
                waiting.places.push(None);
                waiting.places.len() - 1
            }),
        };
        let before = match &waiting.places[place] {
            Some(waker) if waker.will_wake(cx.waker()) => None,
            _ => waiting.places[place].replace(cx.waker().clone()),
        };
        drop(waiting);
        // Not within the borrow: what a waker's end sets off is its executor's affair.
        drop(before);
        self.place = Some(place);
        Poll::Pending
    }
}

impl Drop for Notified<'_> {
    fn drop(&mut self) {
        // The places of an earlier round are all gone.
        if let Some(place) = self.place.filter(|_| self.notify.round.get() == self.round) {
            let mut waiting = self.notify.waiting.borrow_mut();
            let waker = waiting.places[place].take();
            waiting.free.push(place);
            drop(waiting);
            drop(waker);
        }
    }
}

/// Runs the futures concurrently within one task, at most `limit` at once; returns the first error when all that had
/// started have ended.
///
/// Each future is polled only when it is woken itself. An operation of glommio's keeps a waker of each poll, and a task's
/// wakers are counted in 16 bits: polling all futures whenever one moves would overflow that with a few hundred of them.
pub async fn for_each_concurrent<F, E>(futures: impl IntoIterator<Item = F>, limit: usize) -> Result<(), E>
where
    F: Future<Output = Result<(), E>>,
{
    let mut waiting = futures.into_iter();
    let mut running: FuturesUnordered<F> = waiting.by_ref().take(limit).collect();
    let mut outcome = Ok(());
    while let Some(ended) = running.next().await {
        outcome = outcome.and(ended);
        if outcome.is_ok() {
            running.extend(waiting.next());
        }
    }
    outcome
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_lite::FutureExt;
    use std::pin::pin;

    #[test]
    fn all_who_wait_are_woken_and_who_comes_later_waits_for_the_next_round() {
        let notify = Notify::default();
        let mut cx = Context::from_waker(Waker::noop());
        let (mut first, mut second) = (pin!(notify.notified()), pin!(notify.notified()));
        assert!(first.as_mut().poll(&mut cx).is_pending() && second.as_mut().poll(&mut cx).is_pending());
        assert!(first.as_mut().poll(&mut cx).is_pending());
        assert_eq!(notify.waiting(), 2);
        notify.notify();
        let mut third = pin!(notify.notified());
        assert!(third.as_mut().poll(&mut cx).is_pending());
        assert!(first.as_mut().poll(&mut cx).is_ready() && second.as_mut().poll(&mut cx).is_ready());
        assert_eq!(notify.waiting(), 1);
    }

    #[test]
    fn one_who_stops_waiting_leaves_nothing_behind() {
        let (busy, quiet) = (Notify::default(), Notify::default());
        let mut cx = Context::from_waker(Waker::noop());
        for _ in 0..1_000 {
            let mut first = pin!(busy.notified().or(quiet.notified()));
            assert!(first.as_mut().poll(&mut cx).is_pending());
            busy.notify();
            assert!(first.as_mut().poll(&mut cx).is_ready());
        }
        assert_eq!((busy.waiting(), quiet.waiting()), (0, 0));
        assert!(quiet.waiting.borrow().places.len() <= 1);
    }
}
