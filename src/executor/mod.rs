//! Executors: the threads that shards, recovery and programs that embed the engine run on.
//!
//! glommio's executor parks when its preemption timer fires between polling for I/O and running a queue, though tasks are
//! runnable. [`heartbeat`] wakes one that has parked so, by the waker of one of its tasks. That leaves an executor's very
//! first task: before it has run there is no waker, and on a machine short of processors such an executor sleeps for good.
//! [`spawn`] therefore waits until the first task runs, and when it does not, gives it to another executor.

pub mod heartbeat;

use std::future::Future;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use flume::RecvTimeoutError;
use glommio::{ExecutorJoinHandle, LocalExecutorBuilder, Placement, PoolPlacement};

use heartbeat::{Pulse, Work};

/// glommio's own buffers for each executor: it registers them three times, which the default limit on locked memory
/// must hold.
const IO_MEMORY_BYTES: usize = 64 << 10;
/// Threads of an executor for what has no place in its ring: mostly fsync of directories, of which the file system commits
/// those together that come at once.
const BLOCKING_THREADS: usize = 32;
/// After so long the executor looks for I/O although tasks are runnable.
const PREEMPT_AFTER: Duration = Duration::from_millis(1);
/// How long the first of the executors has for its first task, which is due at once; each further one has twice as long as
/// the one before it.
const FIRST_PATIENCE: Duration = Duration::from_millis(50);
/// How many executors are tried; together they have about 50 s.
const ATTEMPTS: u32 = 10;

/// Why there is no executor, or it has not ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum ExecutorError {
    /// glommio cannot make one.
    #[error(
        "{0}; when memory is what it lacks, raise the limit on locked memory (ulimit -l), which counts for all processes of a user"
    )]
    Make(String),
    /// None of them ran anything.
    #[error("its thread got no processor time for its first step; the machine is overloaded: try again")]
    NeverRan,
    /// Its task has panicked.
    #[error("it has panicked")]
    Panicked,
}

/// An executor that runs.
pub struct Executor<T: Send + 'static>(ExecutorJoinHandle<Option<T>>);

impl<T: Send + 'static> Executor<T> {
    /// Waits for the end of its first task.
    ///
    /// # Errors
    /// [`ExecutorError::Panicked`].
    pub fn join(self) -> Result<T, ExecutorError> {
        self.0.join().ok().flatten().ok_or(ExecutorError::Panicked)
    }
}

/// What waits for an executor.
enum First<M> {
    Waiting(M),
    /// The executor of this attempt runs it.
    TakenBy(u32),
}

/// Starts an executor, pinned to `core` if that is given, whose first task is what `make` makes. On return that task has
/// begun. Whatever waits on other threads or on the disk there needs a [`heartbeat`].
///
/// # Errors
/// [`ExecutorError::Make`], [`ExecutorError::NeverRan`].
pub fn spawn<M, F>(core: Option<usize>, name: &str, make: M) -> Result<Executor<F::Output>, ExecutorError>
where
    M: FnOnce() -> F + Send + 'static,
    F: Future + 'static,
    F::Output: Send + 'static,
{
    spawn_preempted(core, name, |_| PREEMPT_AFTER, make)
}

/// As [`spawn`]; `preempt_after` tells each attempt's preemption timer.
fn spawn_preempted<M, F>(
    core: Option<usize>,
    name: &str,
    preempt_after: impl Fn(u32) -> Duration,
    make: M,
) -> Result<Executor<F::Output>, ExecutorError>
where
    M: FnOnce() -> F + Send + 'static,
    F: Future + 'static,
    F::Output: Send + 'static,
{
    let first = Arc::new(Mutex::new(First::Waiting(make)));
    let mut handles = Vec::new();
    for attempt in 0..ATTEMPTS {
        let (begun, begins) = flume::bounded(1);
        let mine = first.clone();
        let placement = core.map_or(Placement::Unbound, Placement::Fixed);
        let handle = LocalExecutorBuilder::new(placement)
            .name(name)
            .io_memory(IO_MEMORY_BYTES)
            .preempt_timer(preempt_after(attempt))
            .blocking_thread_pool_placement(PoolPlacement::Unbound(BLOCKING_THREADS))
            .spawn(move || async move {
                let make = take(&mine, attempt);
                // An attempt that comes late, and finds nothing, says so too.
                let _unheard = begun.send(());
                Some(make?().await)
            })
            .map_err(|error| ExecutorError::Make(error.to_string()))?;
        handles.push(handle);
        let waited = begins.recv_timeout(FIRST_PATIENCE * 2u32.pow(attempt));
        let taken_by = match &*first.lock().unwrap_or_else(PoisonError::into_inner) {
            First::TakenBy(attempt) => Some(*attempt as usize),
            First::Waiting(_) => None,
        };
        match (taken_by, waited) {
            (Some(attempt), _) => return Ok(Executor(handles.swap_remove(attempt))),
            (None, Err(RecvTimeoutError::Disconnected)) => {
                let error = handles.swap_remove(attempt as usize).join().err();
                return Err(ExecutorError::Make(error.map_or("it ended at once".into(), |error| error.to_string())));
            }
            (None, _) => tracing::warn!("an executor for {name} has not begun to run; another one takes its place"),
        }
    }
    Err(ExecutorError::NeverRan)
}

fn take<M>(first: &Mutex<First<M>>, attempt: u32) -> Option<M> {
    let mut first = first.lock().unwrap_or_else(PoisonError::into_inner);
    match std::mem::replace(&mut *first, First::TakenBy(attempt)) {
        First::Waiting(make) => Some(make),
        taken => {
            *first = taken;
            None
        }
    }
}

/// Runs what `make` makes on an executor of its own, with a heartbeat, and waits for its result.
///
/// # Errors
/// See [`ExecutorError`].
pub fn run<M, F>(name: &str, make: M) -> Result<F::Output, ExecutorError>
where
    M: FnOnce() -> F + Send + 'static,
    F: Future + 'static,
    F::Output: Send + 'static,
{
    let pulse = Arc::<Pulse>::default();
    let stopped = Arc::new(AtomicBool::new(false));
    let (pulses, watching) = (vec![pulse.clone()], stopped.clone());
    std::thread::spawn(move || heartbeat::watch(&pulses, &watching));
    let result = spawn(None, name, move || async move {
        let work = Rc::new(Work::new(pulse));
        heartbeat::begin(&work).await;
        let _working = work.begin();
        let result = make().await;
        heartbeat::end(&work);
        result
    })
    .and_then(Executor::join);
    stopped.store(true, Ordering::Relaxed);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A timer that has always fired before the executor gets to its tasks: it parks on them at once.
    const TOO_SHORT: Duration = Duration::from_micros(1);

    #[test]
    fn a_first_task_that_an_executor_sleeps_on_goes_to_another_one() {
        let preempt_after = |attempt| if attempt < 2 { TOO_SHORT } else { PREEMPT_AFTER };
        let executor = spawn_preempted(None, "late", preempt_after, || async { 7 }).expect("the third one runs");
        assert_eq!(executor.join().expect("it ends"), 7);
    }

    #[test]
    fn what_ran_tells_its_result_or_that_it_has_panicked() {
        assert_eq!(run("answers", || async { 7 }).expect("it ends"), 7);
        let panicked = run("panics", || async { panic!("as asked for") });
        assert!(matches!(panicked, Err::<(), _>(ExecutorError::Panicked)));
    }
}
