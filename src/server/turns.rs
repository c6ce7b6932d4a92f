//! Turns: what keeps the requests of one connection in order although some wait on their way and others need not.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;

use crate::storage::notify::Notify;

/// A queue of turns, each had in the order in which they were taken.
#[derive(Default)]
pub struct Turns {
    next: Cell<u64>,
    /// Whose turn it is.
    serving: Cell<u64>,
    /// Turns that were given up before they came.
    given_up: RefCell<BTreeSet<u64>>,
    moved: Notify,
}

/// A place in the queue. It is the next one's turn when this is dropped, had or not.
pub struct Turn {
    turns: Rc<Turns>,
    number: u64,
}

impl Turns {
    /// Takes the next place.
    pub fn take(self: &Rc<Self>) -> Turn {
        let number = self.next.get();
        self.next.set(number + 1);
        Turn { turns: self.clone(), number }
    }
}

impl Turn {
    /// Resolves when every turn that was taken before has been had or given up: at once when there is none.
    pub async fn comes(&self) {
        while self.turns.serving.get() != self.number {
            self.turns.moved.notified().await;
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut given_up = self.turns.given_up.borrow_mut();
        if self.turns.serving.get() != self.number {
            given_up.insert(self.number);
            return;
        }
        let mut serving = self.number + 1;
        while given_up.remove(&serving) {
            serving += 1;
        }
        drop(given_up);
        self.turns.serving.set(serving);
        self.turns.moved.notify();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::pin::pin;
    use std::task::{Context, Waker};

    fn has_come(turn: &Turn) -> bool {
        pin!(turn.comes()).poll(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn turns_come_in_the_order_in_which_they_were_taken() {
        let turns = Rc::new(Turns::default());
        let [first, second, third, fourth] = std::array::from_fn(|_| turns.take());
        assert_eq!([&first, &second, &third].map(has_come), [true, false, false]);
        drop(second);
        assert!(!has_come(&third), "a turn that is given up does not let the next one pass the first");
        drop(first);
        assert_eq!([&third, &fourth].map(has_come), [true, false]);
        drop(fourth);
        drop(third);
        assert!(has_come(&turns.take()));
    }
}
