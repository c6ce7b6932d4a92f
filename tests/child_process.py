"""Child processes for the suites in Python: each in a group of its own, ended with the script that started it."""

import atexit
import ctypes
import os
import signal
import subprocess

PR_SET_PDEATHSIG = 1

_running = set()


def start(command, **options):
    """A `Popen` of `command`, to be given to `end` or, when it has been waited for, to `forget`."""
    child = subprocess.Popen(
        [str(word) for word in command],
        start_new_session=True,
        # Also when this script is ended by SIGKILL. Children are started on the main thread, whose end counts.
        preexec_fn=lambda: ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL),
        **options,
    )
    _running.add(child)
    return child


def kill_group(child):
    """SIGKILL to what is left of its group."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass


def forget(child):
    """It needs no end any more."""
    _running.discard(child)


def end(child):
    """SIGKILL to what is left of its group, and a wait for it; nothing when that was done or it is forgotten."""
    if child in _running:
        kill_group(child)
        child.wait()
        forget(child)


def end_all():
    """Ends what still runs."""
    for child in list(_running):
        end(child)


atexit.register(end_all)
