"""Child processes: each in a group of its own, with a deadline, ended with this script whatever happens."""

import atexit
import ctypes
import os
import signal
import subprocess
import time

PR_SET_PDEATHSIG = 1
LINES_SHOWN = 15

_running = set()


class Failure(Exception):
    """Why the suite cannot go on, in words."""


class Process:
    """A child whose output goes to files. `poll` ends it past its deadline."""

    def __init__(self, command, out, err, seconds, cwd=None, env=None):
        self.seconds, self.overdue, self.err = seconds, False, err
        self.began = time.monotonic()
        with open(out, "ab") as stdout, open(err, "ab") as stderr:
            self.child = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                cwd=cwd,
                env={**os.environ, **(env or {})},
                start_new_session=True,
                # Also when this script is ended by SIGKILL.
                preexec_fn=lambda: ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL),
            )
        _running.add(self)

    def poll(self):
        """The exit code, or None while it runs."""
        code = self.child.poll()
        if code is None and time.monotonic() - self.began > self.seconds:
            self.overdue = True
            self.kill()
            code = self.child.returncode
        if code is not None:
            self.kill()
        return code

    def wait(self):
        """The exit code, at its deadline at the latest."""
        while (code := self.poll()) is None:
            time.sleep(0.02)
        return code

    def ended(self):
        """How it ended, in words."""
        if self.overdue:
            return f"it took longer than {self.seconds} s"
        return f"it ended with {self.child.returncode}"

    def kill(self):
        """SIGKILL to what is left of the group."""
        if self in _running:
            try:
                os.killpg(self.child.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.child.wait()
            _running.discard(self)


def run(command, log, seconds, cwd=None, env=None):
    """Runs a step to its end. Raises Failure with the end of its output."""
    process = Process(command, log, log, seconds, cwd, env)
    if process.wait() != 0 or process.overdue:
        raise Failure(f"{' '.join(map(str, command))}: {process.ended()}:\n{tail(log)}")


def tail(path, lines=LINES_SHOWN):
    """The end of a file, for a report."""
    if not path.exists():
        return "    (nothing)"
    return "\n".join(f"    {line}" for line in path.read_text(errors="replace").splitlines()[-lines:])


def end_all():
    """Ends what still runs."""
    for process in list(_running):
        process.kill()


atexit.register(end_all)
# So that atexit runs.
signal.signal(signal.SIGTERM, lambda *_: exit(1))
