//! Requests that wait for a generation or an assignment.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

use crate::coordinator::group::Waiter;
use crate::storage::notify::Notify;

/// A value that comes once, for one who waits.
pub struct OneShot<T> {
    value: RefCell<Option<T>>,
    came: Notify,
}

impl<T> Default for OneShot<T> {
    fn default() -> OneShot<T> {
        OneShot { value: RefCell::new(None), came: Notify::default() }
    }
}

impl<T> OneShot<T> {
    /// Gives the value.
    pub fn set(&self, value: T) {
        *self.value.borrow_mut() = Some(value);
        self.came.notify();
    }

    /// Waits for the value.
    pub async fn take(&self) -> T {
        loop {
            if let Some(value) = self.value.borrow_mut().take() {
                return value;
            }
            self.came.notified().await;
        }
    }
}

/// Who waits for an answer.
pub struct Waiting<T>(RefCell<HashMap<Waiter, Rc<OneShot<T>>>>);

impl<T> Default for Waiting<T> {
    fn default() -> Waiting<T> {
        Waiting(RefCell::default())
    }
}

impl<T> Waiting<T> {
    /// Another request waits.
    pub fn wait(&self, waiter: Waiter) -> Rc<OneShot<T>> {
        let answer = Rc::new(OneShot::default());
        self.0.borrow_mut().insert(waiter, answer.clone());
        answer
    }

    /// Answers one that waits; one that no longer does is left alone.
    pub fn answer(&self, waiter: Waiter, value: T) {
        let waiting = self.0.borrow_mut().remove(&waiter);
        if let Some(answer) = waiting {
            answer.set(value);
        }
    }

    /// Whether it has not been answered.
    pub fn is_waiting(&self, waiter: Waiter) -> bool {
        self.0.borrow().contains_key(&waiter)
    }

    /// Answers all that wait.
    pub fn answer_all(&self, value: impl Fn() -> T) {
        let all = std::mem::take(&mut *self.0.borrow_mut());
        for answer in all.into_values() {
            answer.set(value());
        }
    }
}
