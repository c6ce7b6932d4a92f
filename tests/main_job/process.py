"""Runs broker and clients: each with a deadline, each ended with this script, whatever happens."""

import hashlib
import os
import subprocess
import threading
import time
from dataclasses import dataclass

import child_process

BLOCK_BYTES = 1 << 20
STDERR_LINES_SHOWN = 15


class Failure(Exception):
    """A check's finding, in words."""


@dataclass(frozen=True)
class Digest:
    """What came out of a process."""

    bytes: int
    lines: int
    sha256: str
    seconds: float


class Process:
    """A child in a process group of its own. Its stderr goes to a file, its stdout to one or through a digest."""

    def __init__(self, command, log, deadline, stdin=None, stdout=subprocess.DEVNULL):
        self.command, self.log, self.deadline = command, log, deadline
        self._overdue = False
        self.began = time.monotonic()
        with open(log, "ab") as stderr:
            self.child = child_process.start(
                command, stdin=stdin if stdin is not None else subprocess.DEVNULL, stdout=stdout, stderr=stderr
            )
        self._timer = threading.Timer(deadline, self._expire)
        self._timer.daemon = True
        self._timer.start()

    @property
    def name(self):
        return os.path.basename(self.command[0])

    def running(self):
        return self.child.poll() is None

    def send(self, number):
        self.child.send_signal(number)

    def kill(self):
        """SIGKILL to the whole group; nothing when it has ended and been waited for."""
        if self.child.returncode is None:
            child_process.end(self.child)
        self._forget()

    def wait(self):
        """The exit code. Raises Failure past the deadline."""
        code = self.child.wait()
        self._forget()
        if self._overdue:
            raise Failure(f"{self.name} took longer than {self.deadline} s; {self.said()}")
        return code

    def finish(self):
        """Waits for a good end, and returns how many seconds the process took."""
        code = self.wait()
        if code != 0:
            raise Failure(f"{self.name} exited with {code}; {self.said()}")
        return time.monotonic() - self.began

    def said(self):
        """The end of its stderr, for a report."""
        with open(self.log, errors="replace") as file:
            lines = file.read().splitlines()[-STDERR_LINES_SHOWN:]
        return "it said:\n" + "\n".join(f"    {line}" for line in lines) if lines else "it said nothing"

    def _expire(self):
        self._overdue = True
        child_process.kill_group(self.child)

    def _forget(self):
        self._timer.cancel()
        child_process.forget(self.child)


class Reader:
    """A process whose stdout is taken in on a thread: hashed, or handed to `sink` block by block."""

    def __init__(self, command, log, deadline, sink=None):
        self.process = Process(command, log, deadline, stdout=subprocess.PIPE)
        self.lines = self.bytes = 0
        self._hash, self._sink = hashlib.sha256(), sink
        self._thread = threading.Thread(target=self._take, daemon=True)
        self._thread.start()

    def _take(self):
        pipe = self.process.child.stdout
        while block := pipe.read1(BLOCK_BYTES):
            self._hash.update(block)
            self.bytes += len(block)
            self.lines += block.count(b"\n")
            if self._sink:
                self._sink(block)

    def finish(self):
        seconds = self.process.finish()
        self._thread.join()
        return Digest(self.bytes, self.lines, self._hash.hexdigest(), seconds)

    def wait_until(self, ready, what):
        """Waits until `ready(self)`. The process's own deadline bounds it."""
        while not ready(self):
            if not self.process.running():
                self.process.wait()
                raise Failure(f"{self.process.name} ended before {what}; {self.process.said()}")
            time.sleep(0.02)
