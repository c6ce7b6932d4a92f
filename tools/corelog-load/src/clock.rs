//! The only door to the clocks.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Now, on the clock that never goes back.
#[allow(clippy::disallowed_methods, reason = "a load generator measures real time")]
pub fn now() -> Instant {
    Instant::now()
}

/// Milliseconds since 1970-01-01 UTC; 0 on a machine whose clock is before that.
#[allow(clippy::disallowed_methods, reason = "records and reports carry the wall clock's time")]
pub fn unix_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64)
}

/// Sleeps until `time`.
pub fn sleep_until(time: Instant) {
    std::thread::sleep(time.saturating_duration_since(now()));
}

/// Has the kernel wake this thread when it asked to be woken, and not up to 50 µs later as is its default.
pub fn wake_on_time() {
    const SLACK_NS: libc::c_ulong = 1;
    // SAFETY: prctl(PR_SET_TIMERSLACK) touches no memory. It cannot fail for the calling thread.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, SLACK_NS) };
}
