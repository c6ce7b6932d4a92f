//! A single-threaded executor whose every choice comes from a seed.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::pin::{Pin, pin};
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use super::SimDisk;
use super::clock::Clock;
use super::random::{Random, mix};

/// How often tasks are polled without time moving before the executor calls it a livelock and panics.
pub const POLLS_WITHOUT_TIME_MAX: u64 = 1_000_000;

type TaskId = u64;
type Task = Pin<Box<dyn Future<Output = ()>>>;

/// The tasks that were woken. Wakers must be `Send`, hence the lock; all wakes of a simulation come from one thread.
type Ready = Arc<Mutex<Vec<TaskId>>>;

struct TaskWaker {
    id: TaskId,
    queued: AtomicBool,
    ready: Ready,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.queued.swap(true, Ordering::Relaxed) {
            self.ready.lock().unwrap_or_else(PoisonError::into_inner).push(self.id);
        }
    }
}

struct Spawned {
    waker: Arc<TaskWaker>,
    /// Out while it is being polled.
    task: Option<Task>,
}

struct Inner {
    seed: u64,
    clock: Clock,
    random: RefCell<Random>,
    ready: Ready,
    tasks: RefCell<BTreeMap<TaskId, Spawned>>,
    next_id: Cell<TaskId>,
    trace_hash: Cell<u64>,
}

/// Runs futures in a seeded order, under virtual time. Dropping it drops its tasks.
///
/// The next task to poll is drawn from all that are ready. Time moves only when none is.
pub struct SimExecutor {
    inner: Rc<Inner>,
}

/// Spawns tasks on a [`SimExecutor`], also from inside one. Holds nothing alive.
#[derive(Clone)]
pub struct Spawner {
    inner: Weak<Inner>,
}

struct Join<T> {
    output: RefCell<Option<T>>,
    finished: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// A spawned task's output. Await it, or ask; dropping it leaves the task running.
pub struct JoinHandle<T> {
    join: Rc<Join<T>>,
}

impl<T> JoinHandle<T> {
    /// Whether the task has ended.
    pub fn is_finished(&self) -> bool {
        self.join.finished.get()
    }

    /// The task's output, once.
    pub fn take(&self) -> Option<T> {
        self.join.output.borrow_mut().take()
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = T;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<T> {
        match self.take() {
            Some(output) => Poll::Ready(output),
            None => {
                *self.join.waker.borrow_mut() = Some(context.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl Inner {
    fn new_waker(&self) -> Arc<TaskWaker> {
        let id = self.next_id.get();
        self.next_id.set(id + 1);
        let waker = Arc::new(TaskWaker { id, queued: AtomicBool::new(false), ready: self.ready.clone() });
        waker.wake_by_ref();
        waker
    }

    fn spawn<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> JoinHandle<T> {
        let join = Rc::new(Join { output: RefCell::new(None), finished: Cell::new(false), waker: RefCell::new(None) });
        let result = join.clone();
        let task = Box::pin(async move {
            let output = future.await;
            *result.output.borrow_mut() = Some(output);
            result.finished.set(true);
            if let Some(waker) = result.waker.take() {
                waker.wake();
            }
        });
        let waker = self.new_waker();
        self.tasks.borrow_mut().insert(waker.id, Spawned { waker, task: Some(task) });
        JoinHandle { join }
    }

    /// Draws one of the ready tasks.
    fn next_ready(&self) -> Option<TaskId> {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if ready.is_empty() {
            return None;
        }
        let index = self.random.borrow_mut().index(ready.len());
        let id = ready.swap_remove(index);
        self.trace_hash.set(mix(self.trace_hash.get() ^ id).wrapping_add(self.clock.now().as_nanos() as u64));
        Some(id)
    }

    fn poll_spawned(&self, id: TaskId) {
        let taken = {
            let mut tasks = self.tasks.borrow_mut();
            tasks.get_mut(&id).and_then(|spawned| Some((spawned.waker.clone(), spawned.task.take()?)))
        };
        // A wake of a task that has ended is nothing to do.
        let Some((waker, mut task)) = taken else { return };
        waker.queued.store(false, Ordering::Relaxed);
        let polled = task.as_mut().poll(&mut Context::from_waker(&Waker::from(waker)));
        let ended = {
            let mut tasks = self.tasks.borrow_mut();
            if polled.is_pending() {
                match tasks.get_mut(&id) {
                    Some(spawned) => {
                        spawned.task = Some(task);
                        None
                    }
                    // It abandoned all tasks, itself included.
                    None => Some(task),
                }
            } else {
                tasks.remove(&id);
                Some(task)
            }
        };
        // Dropped outside the borrow: a task's destructor may spawn.
        drop(ended);
    }
}

impl SimExecutor {
    /// An executor, and a clock that stands at 0, whose choices all follow from `seed`.
    pub fn new(seed: u64) -> SimExecutor {
        let mut random = Random::new(seed);
        let clock = Clock::new(random.fork());
        let inner = Inner {
            seed,
            clock,
            random: RefCell::new(random),
            ready: Ready::default(),
            tasks: RefCell::default(),
            next_id: Cell::new(0),
            trace_hash: Cell::new(0),
        };
        SimExecutor { inner: Rc::new(inner) }
    }

    /// The virtual clock, to give to [`SimDisk::new`] and to sleep on.
    pub fn clock(&self) -> Clock {
        self.inner.clock.clone()
    }

    /// A handle for tasks that spawn tasks.
    pub fn spawner(&self) -> Spawner {
        Spawner { inner: Rc::downgrade(&self.inner) }
    }

    /// Starts a task. It runs whenever the executor does, whether its handle is kept or not.
    pub fn spawn<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> JoinHandle<T> {
        self.inner.spawn(future)
    }

    /// How many tasks have not ended.
    pub fn task_count(&self) -> usize {
        self.inner.tasks.borrow().len()
    }

    /// Drops every task, as a process's death does. What they hold is dropped too.
    pub fn abandon_tasks(&self) {
        let tasks = std::mem::take(&mut *self.inner.tasks.borrow_mut());
        drop(tasks);
    }

    /// A hash of every choice and its time so far: equal for equal histories.
    pub fn trace_hash(&self) -> u64 {
        self.inner.trace_hash.get()
    }

    /// Runs all tasks until `future` is done, and gives its output.
    ///
    /// # Panics
    /// On a deadlock (nothing is ready and no event is left) and on a livelock ([`POLLS_WITHOUT_TIME_MAX`]).
    pub fn run_until<T>(&self, future: impl Future<Output = T>) -> T {
        match self.drive(future, || false) {
            Some(output) => output,
            None => self.deadlock(),
        }
    }

    /// Runs all tasks until `future` is done, or until `disk` has crashed: then `None`, at once, with no task polled
    /// after the crash. Follow it with [`SimExecutor::abandon_tasks`] and [`SimDisk::crash`].
    ///
    /// # Panics
    /// As [`SimExecutor::run_until`].
    pub fn run_until_or_crash<T>(&self, disk: &SimDisk, future: impl Future<Output = T>) -> Option<T> {
        let output = self.drive(future, || disk.is_crashed());
        if output.is_none() && !disk.is_crashed() {
            self.deadlock();
        }
        output
    }

    /// Runs all tasks until none is ready, without moving the time.
    ///
    /// # Panics
    /// On a livelock ([`POLLS_WITHOUT_TIME_MAX`]).
    pub fn run_until_stalled(&self) {
        let mut polls = 0;
        while let Some(id) = self.inner.next_ready() {
            self.count_poll(&mut polls);
            self.inner.poll_spawned(id);
        }
    }

    /// Runs all tasks for `duration` of virtual time; the clock then stands exactly that much later.
    ///
    /// # Panics
    /// On a livelock ([`POLLS_WITHOUT_TIME_MAX`]).
    pub fn run_for(&self, duration: Duration) {
        let until = self.inner.clock.now() + duration;
        loop {
            self.run_until_stalled();
            if !self.inner.clock.advance(until) {
                break;
            }
        }
        self.inner.clock.jump(until);
    }

    /// `None` when `stop` said so or when nothing is left to do.
    fn drive<T>(&self, future: impl Future<Output = T>, stop: impl Fn() -> bool) -> Option<T> {
        let inner = &self.inner;
        let mut future = pin!(future);
        let main = inner.new_waker();
        let mut polls = 0;
        while !stop() {
            let Some(id) = inner.next_ready() else {
                if !inner.clock.advance(Duration::MAX) {
                    return None;
                }
                polls = 0;
                continue;
            };
            self.count_poll(&mut polls);
            if id != main.id {
                inner.poll_spawned(id);
                continue;
            }
            main.queued.store(false, Ordering::Relaxed);
            if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&Waker::from(main.clone()))) {
                return Some(output);
            }
        }
        None
    }

    fn count_poll(&self, polls: &mut u64) {
        *polls += 1;
        assert!(
            *polls <= POLLS_WITHOUT_TIME_MAX,
            "livelock: {POLLS_WITHOUT_TIME_MAX} polls at virtual time {:?} (seed {}): a task wakes itself for ever",
            self.inner.clock.now(),
            self.inner.seed
        );
    }

    fn deadlock(&self) -> ! {
        panic!(
            "deadlock: nothing is ready and no event is left at virtual time {:?} (seed {}, {} tasks waiting): a wake \
             is missing, or the future waits for a disk that has crashed (see run_until_or_crash)",
            self.inner.clock.now(),
            self.inner.seed,
            self.task_count()
        );
    }
}

impl Drop for SimExecutor {
    fn drop(&mut self) {
        // Tasks may hold what holds their wakers; this ends every such circle.
        self.abandon_tasks();
    }
}

impl Spawner {
    /// Starts a task, as [`SimExecutor::spawn`]; after the executor's end it never runs.
    pub fn spawn<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> JoinHandle<T> {
        match self.inner.upgrade() {
            Some(inner) => inner.spawn(future),
            None => JoinHandle {
                join: Rc::new(Join {
                    output: RefCell::new(None),
                    finished: Cell::new(false),
                    waker: RefCell::new(None),
                }),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_moves_only_when_nothing_is_ready_and_then_to_the_next_event() {
        let executor = SimExecutor::new(1);
        let clock = executor.clock();
        let start_ms = clock.wall_clock_ms();
        let late = executor.spawn({
            let clock = clock.clone();
            async move {
                clock.sleep(Duration::from_secs(3600)).await;
                clock.now()
            }
        });
        executor.run_until_stalled();
        assert_eq!((clock.now(), late.is_finished()), (Duration::ZERO, false));
        executor.run_until(clock.sleep(Duration::from_millis(7)));
        assert_eq!(clock.now(), Duration::from_millis(7));
        executor.run_for(Duration::from_secs(1));
        assert_eq!(clock.now(), Duration::from_millis(1007));
        assert_eq!(executor.run_until(late), Duration::from_secs(3600));
        assert_eq!(clock.wall_clock_ms() - start_ms, 3_600_000);
        clock.set_wall_clock_ms(5);
        assert_eq!((clock.wall_clock_ms(), clock.now()), (5, Duration::from_secs(3600)));
    }

    #[test]
    fn the_order_of_ready_tasks_follows_from_the_seed() {
        let order = |seed| {
            let executor = SimExecutor::new(seed);
            let order = Rc::new(RefCell::new(Vec::new()));
            for i in 0..5 {
                let order = order.clone();
                executor.spawn(async move { order.borrow_mut().push(i) });
            }
            executor.run_until_stalled();
            assert_eq!(executor.task_count(), 0);
            (order.take(), executor.trace_hash())
        };
        let orders: std::collections::BTreeSet<_> = (0..50).map(order).collect();
        assert!(orders.len() > 20, "{orders:?}");
        assert!((0..50).all(|seed| order(seed) == order(seed)));
    }

    #[test]
    fn tasks_spawn_tasks_and_join_them() {
        let executor = SimExecutor::new(1);
        let (spawner, clock) = (executor.spawner(), executor.clock());
        let output = executor.run_until(async move {
            let handle = spawner.spawn(async move {
                clock.sleep(Duration::from_secs(1)).await;
                41
            });
            handle.await + 1
        });
        assert_eq!(output, 42);
    }

    #[test]
    fn a_dropped_sleep_leaves_no_event() {
        let executor = SimExecutor::new(1);
        let clock = executor.clock();
        let sleeper = executor.spawn({
            let clock = clock.clone();
            async move { clock.sleep(Duration::from_secs(9)).await }
        });
        executor.run_until_stalled();
        executor.abandon_tasks();
        assert!(!sleeper.is_finished() && !clock.advance(Duration::MAX));
    }

    #[test]
    #[should_panic(expected = "deadlock: nothing is ready and no event is left")]
    fn a_missing_wake_is_a_deadlock() {
        SimExecutor::new(1).run_until(std::future::pending::<()>());
    }

    #[test]
    #[should_panic(expected = "deadlock: nothing is ready and no event is left")]
    fn a_sleep_for_ever_is_a_deadlock_too() {
        let executor = SimExecutor::new(1);
        executor.run_for(Duration::from_nanos(1));
        executor.run_until(executor.clock().sleep(Duration::MAX));
    }

    #[test]
    #[should_panic(expected = "livelock")]
    fn a_task_that_wakes_itself_for_ever_is_a_livelock() {
        SimExecutor::new(1).run_until(std::future::poll_fn(|context| {
            context.waker().wake_by_ref();
            Poll::<()>::Pending
        }));
    }
}
