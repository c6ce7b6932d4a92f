"""Child processes: each in a group of its own, with a deadline, ended with this script whatever happens."""

import os
import signal
import subprocess
import time

import child_process

LINES_SHOWN = 15


class Failure(Exception):
    """Why the suite cannot go on, in words."""


class Process:
    """A child whose output goes to files. `poll` ends it past its deadline."""

    def __init__(self, command, out, err, seconds, cwd=None, env=None):
        self.seconds, self.overdue, self.err = seconds, False, err
        self.began = time.monotonic()
        with open(out, "ab") as stdout, open(err, "ab") as stderr:
            self.child = child_process.start(
                command,
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                cwd=cwd,
                env={**os.environ, **(env or {})},
            )

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
        child_process.end(self.child)


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


# So that atexit runs.
signal.signal(signal.SIGTERM, lambda *_: exit(1))
