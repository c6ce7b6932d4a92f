"""The broker under test."""

import shutil
import signal
import time

from process import Failure, Process

START_SECONDS_MAX = 60
STOP_SECONDS_MAX = 15
LIFE_SECONDS_MAX = 3600
LOG_LINES_SHOWN = 30


class Broker:
    """One data directory and the process on it, on a port that the system chose and that restarts keep."""

    def __init__(self, binary, folder):
        self.binary, self.folder, self.log = binary, folder, folder / "broker.log"
        self.address = "127.0.0.1:0"
        self.process = None
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)

    def __enter__(self):
        self.start()
        return self

    def __exit__(self, failure, *_):
        if self.process:
            self.process.kill()
        if failure:
            return  # What it has written may tell why; the next run removes it.
        for left in ("data", "first-half", "second-half", "keyed"):
            path = self.folder / left
            shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)

    def start(self):
        command = [str(self.binary), "serve", "--data-dir", str(self.folder / "data"), "--listen", self.address]
        seen = self.log.stat().st_size if self.log.exists() else 0
        self.process = Process(command, self.log, LIFE_SECONDS_MAX)
        end = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < end:
            with open(self.log, errors="replace") as log:
                log.seek(seen)
                for line in log:
                    if line.endswith("\n") and "serving on " in line:
                        self.address = line.split("serving on ")[1].split()[0]
                        return
            if not self.process.running():
                raise Failure(f"the broker ended with {self.process.wait()} instead of serving")
            time.sleep(0.01)
        raise Failure(f"the broker does not serve after {START_SECONDS_MAX} s")

    def kill(self):
        """As a crash does: SIGKILL."""
        self._must_run()
        self.process.kill()

    def stop(self):
        """SIGTERM, which must end in exit code 0."""
        self._must_run()
        self.process.send(signal.SIGTERM)
        end = time.monotonic() + STOP_SECONDS_MAX
        while self.process.running():
            if time.monotonic() > end:
                raise Failure(f"the broker runs on {STOP_SECONDS_MAX} s after SIGTERM")
            time.sleep(0.01)
        code = self.process.wait()
        if code != 0:
            raise Failure(f"the broker ended with {code} after SIGTERM")

    def check(self):
        """Raises when the broker has ended by itself or a part of it has panicked."""
        self._must_run()
        if "panicked" in self.log.read_text(errors="replace"):
            raise Failure("the broker panicked")

    def tail(self):
        if not self.log.exists():
            return ["(no log)"]
        return self.log.read_text(errors="replace").splitlines()[-LOG_LINES_SHOWN:]

    def _must_run(self):
        if not self.process.running():
            raise Failure(f"the broker ended by itself, with {self.process.wait()}")
