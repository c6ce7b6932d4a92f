//! Virtual time: it stands still while a task can run, then jumps to the next event.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Duration;

use super::random::Random;

/// The wall clock's first reading, in milliseconds since 1970-01-01 UTC: 2025-01-01 00:00.
pub const WALL_CLOCK_START_MS: i64 = 1_735_689_600_000;

/// When an event fires: by time, then by a seeded draw (events of one instant come in any order), then by age.
type EventKey = (Duration, u64, u64);

enum Event {
    Wake(Waker),
    Call(Box<dyn FnOnce()>),
}

struct State {
    now: Duration,
    wall_clock_start_ms: i64,
    events: BTreeMap<EventKey, Event>,
    next: u64,
    random: Random,
}

/// The virtual clock of one simulation; a clone is another handle of the same clock. Only the executor moves it.
#[derive(Clone)]
pub struct Clock {
    state: Rc<RefCell<State>>,
}

/// Forgets a sleeper's event when the sleeper is dropped, so that a cancelled timeout does not hold up the end.
struct Alarm {
    clock: Clock,
    key: EventKey,
}

impl Drop for Alarm {
    fn drop(&mut self) {
        let cancelled = self.clock.state.borrow_mut().events.remove(&self.key);
        drop(cancelled);
    }
}

impl Clock {
    pub(super) fn new(random: Random) -> Clock {
        let state = State {
            now: Duration::ZERO,
            wall_clock_start_ms: WALL_CLOCK_START_MS,
            events: BTreeMap::new(),
            next: 0,
            random,
        };
        Clock { state: Rc::new(RefCell::new(state)) }
    }

    /// Virtual time since the simulation began. Never goes back, survives simulated crashes.
    pub fn now(&self) -> Duration {
        self.state.borrow().now
    }

    /// Milliseconds since 1970-01-01 UTC as the simulated machine believes: [`WALL_CLOCK_START_MS`] at the beginning.
    pub fn wall_clock_ms(&self) -> i64 {
        let state = self.state.borrow();
        state.wall_clock_start_ms + state.now.as_millis() as i64
    }

    /// Sets the wall clock, forwards or back, as an operator or NTP does. [`Clock::now`] is not touched.
    pub fn set_wall_clock_ms(&self, wall_clock_ms: i64) {
        let mut state = self.state.borrow_mut();
        state.wall_clock_start_ms = wall_clock_ms - state.now.as_millis() as i64;
    }

    /// Resolves after `duration` of virtual time. For a test's own tasks: unlike the disk's sleep it outlives a crash.
    pub async fn sleep(&self, duration: Duration) {
        // Beyond what a clock can show is for ever, and no event: it must not hide a deadlock.
        let Some(until) = self.now().checked_add(duration) else { return std::future::pending().await };
        let mut alarm: Option<Alarm> = None;
        poll_fn(|context| {
            if self.now() >= until {
                return Poll::Ready(());
            }
            alarm = None;
            let key = self.add(until, Event::Wake(context.waker().clone()));
            alarm = Some(Alarm { clock: self.clone(), key });
            Poll::Pending
        })
        .await;
    }

    /// Calls `action` when the time is `at`.
    pub(super) fn schedule(&self, at: Duration, action: impl FnOnce() + 'static) {
        self.add(at, Event::Call(Box::new(action)));
    }

    fn add(&self, at: Duration, event: Event) -> EventKey {
        let mut state = self.state.borrow_mut();
        let key = (at.max(state.now), state.random.bits(), state.next);
        state.next += 1;
        state.events.insert(key, event);
        key
    }

    /// Jumps to the next event that is not after `limit` and fires it; false when there is none.
    pub(super) fn advance(&self, limit: Duration) -> bool {
        let event = {
            let mut state = self.state.borrow_mut();
            match state.events.first_key_value() {
                Some((&(at, ..), _)) if at <= limit => {
                    state.now = at;
                    state.events.pop_first().map(|(_, event)| event)
                }
                _ => None,
            }
        };
        match event {
            Some(Event::Wake(waker)) => waker.wake(),
            Some(Event::Call(action)) => action(),
            None => return false,
        }
        true
    }

    /// Moves to `to`, which no event lies before.
    pub(super) fn jump(&self, to: Duration) {
        let mut state = self.state.borrow_mut();
        state.now = state.now.max(to);
    }
}
