//! Waiting for several links, or for a point in time.

use std::io::{Error, ErrorKind};
use std::time::{Duration, Instant};

use anyhow::Context;

use super::link::Link;
use crate::clock;

/// The longest wait: so often a thread looks whether the load is over.
pub const WAIT_MAX: Duration = Duration::from_millis(50);

/// Waits until a link has something to read, or room for what it has queued, or `until` has come. Spurious returns are
/// possible.
///
/// # Errors
/// When the system call fails.
pub fn wait<'a>(links: impl Iterator<Item = &'a Link>, until: Option<Instant>) -> anyhow::Result<()> {
    let mut entries: Vec<libc::pollfd> = links
        .map(|link| libc::pollfd {
            fd: link.descriptor(),
            events: if link.queued_bytes() > 0 { libc::POLLIN | libc::POLLOUT } else { libc::POLLIN },
            revents: 0,
        })
        .collect();
    let timeout = until.map_or(WAIT_MAX, |until| until.saturating_duration_since(clock::now()).min(WAIT_MAX));
    let timeout = libc::timespec {
        tv_sec: timeout.as_secs() as libc::time_t,
        tv_nsec: libc::c_long::from(timeout.subsec_nanos() as i32),
    };
    // SAFETY: the entries and the timeout live through the call; no signal mask is given.
    let outcome =
        unsafe { libc::ppoll(entries.as_mut_ptr(), entries.len() as libc::nfds_t, &timeout, std::ptr::null()) };
    if outcome < 0 {
        let error = Error::last_os_error();
        if error.kind() != ErrorKind::Interrupted {
            return Err(error).context("poll");
        }
    }
    Ok(())
}
