"""What the clients in Python share: features by name, run one after the other, a line each."""

import os
import sys
import time
import traceback

FEATURES = {}


class Unsupported(Exception):
    """The client has no such thing."""


def feature(name):
    """Registers a function as the test of a feature."""

    def register(function):
        FEATURES[name] = function
        return function

    return register


def wanted():
    """The features to run: all, or those of the command line."""
    chosen = sys.argv[2].split(",") if len(sys.argv) > 2 and sys.argv[2] else list(FEATURES)
    return [name for name in FEATURES if name in chosen]


def say(name, result, detail):
    detail = " ".join(str(detail).split())[:300]
    print(f"{name}\t{result}\t{detail}", flush=True)


def outcome(error):
    """The result and detail of what a feature raised, or of None."""
    if error is None:
        return "ok", ""
    if isinstance(error, Unsupported):
        return "unsupported", error
    traceback.print_exception(error, file=sys.stderr)
    return "failed", f"{type(error).__name__}: {error}"


def plan():
    print("plan\t" + " ".join(wanted()), flush=True)


def main():
    """Runs what is wanted."""
    plan()
    for name in wanted():
        began = time.monotonic()
        print(f"-- {name}", file=sys.stderr, flush=True)
        try:
            FEATURES[name]()
            error = None
        except Exception as caught:  # Each feature stands for itself, whatever it raises.
            error = caught
        result, detail = outcome(error)
        print(f"-- {name}: {time.monotonic() - began:.1f} s", file=sys.stderr, flush=True)
        say(name, result, detail)
    sys.stdout.flush()
    # What a failed feature left running does not hold the process up.
    os._exit(0)


def check(condition, detail):
    """Fails the feature unless `condition`."""
    if not condition:
        raise AssertionError(detail)


def equal(found, expected, what):
    check(found == expected, f"{what}: {found!r} instead of {expected!r}")


def until(ready, what, seconds=20):
    """Waits until `ready()` tells something."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := ready():
            return found
        time.sleep(0.02)
    raise AssertionError(f"{what}: not within {seconds} s")


def address():
    return sys.argv[1]


_count = 0


def fresh_name(what):
    """A name that no other client and no other run on this broker has."""
    global _count
    _count += 1
    return f"{os.environ.get('INTEROP_CLIENT', 'client')}-{what}-{_count}"
