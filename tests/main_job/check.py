"""Runs the checks; tests/main_job/run sets up what they need and starts this."""

import argparse
import os
import shutil
import signal
import sys
import time
from pathlib import Path

sys.dont_write_bytecode = True

import corpus
import group_checks
import text_checks
from bench import Bench
from process import Failure, Process

ROOT = Path(__file__).resolve().parent.parent.parent
WORK = ROOT / "target/main_job"
KILL_SECONDS_MAX = 120
BUILD_SECONDS_MAX = 2400

CHECKS = {
    "codecs": text_checks.one_partition,
    "keyed": text_checks.keyed,
    "live": text_checks.live,
    "confluent": text_checks.confluent,
    "java": text_checks.java,
    "across": text_checks.across,
    "groups": group_checks.groups,
}


def main():
    line = argparse.ArgumentParser(prog="tests/main_job/run", description="The main job on real input, with real clients.")
    line.add_argument("--full", action="store_true", help="send 1 GiB where the clients are kcat, not 100 MiB")
    line.add_argument("--kills", type=int, default=20, metavar="N", help="kill -9 in mid-load, N times (default 20)")
    line.add_argument("--only", action="append", choices=[*CHECKS, "kills"], help="only this check; may be repeated")
    line.add_argument("--broker", type=Path, default=ROOT / "target/release/corelog", metavar="PATH", help="the binary")
    options = line.parse_args()
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit("main_job: stopped by a signal"))

    text, head, facts = corpus.build(WORK / "corpus")
    chosen = text if options.full else head
    print(
        f"text: {text.bytes} bytes, {text.lines} lines of {facts['files']} files, empty lines left out "
        f"(kcat drops them), {facts['passes']} pass; used with kcat: {chosen.bytes} bytes",
        flush=True,
    )
    runs = WORK / "runs"
    shutil.rmtree(runs, ignore_errors=True)
    runs.mkdir(parents=True)
    bench = Bench(options.broker, runs, chosen, head)
    for name, check in CHECKS.items():
        if not options.only or name in options.only:
            check(bench)
    if options.kills > 0 and (not options.only or "kills" in options.only):
        kills(bench, options.kills)
    print(f"{bench.passed} passed, {bench.failed} failed, {bench.skipped} skipped", flush=True)
    return 1 if bench.failed else 0


def kills(bench, count):
    """The Rust tests that kill the broker in mid-load, with more rounds than `cargo test` gives them."""
    name = f"kill -9 and SIGTERM in mid-load, {count} times each"
    log = bench.folder / "kills.log"
    began = time.monotonic()
    try:
        os.environ["CORELOG_KILL_ROUNDS"] = str(count)
        command = ["cargo", "test", "--locked", "--release", "--test", "broker", "--", "delivery"]
        with open(log, "ab") as out:
            Process(command, log, BUILD_SECONDS_MAX + KILL_SECONDS_MAX * count, stdout=out).finish()
        results = [text for text in log.read_text(errors="replace").splitlines() if text.startswith("test result:")]
        bench.report(name, f"{time.monotonic() - began:.0f} s; {'; '.join(results)}")
    except Failure as failure:
        bench.failed += 1
        print(f"FAILED  {name}: {failure}; all of it is in {log}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
