"""What each check has at hand: the texts, brokers, running clients, and one line of report a finding."""

import re
from contextlib import contextmanager
from pathlib import Path

import child_process
import clients
from broker import Broker
from corpus import Text
from process import Failure, Process, Reader

MEGABYTE = 1e6


class Bench:
    """One run of the checks."""

    def __init__(self, binary, folder, text, head):
        self.binary, self.folder = binary, folder
        # `text` is as long as this run's size says, `head` always 100 MiB.
        self.text: Text = text
        self.head: Text = head
        self.passed = self.failed = self.skipped = 0

    @contextmanager
    def check(self, name):
        """Runs a check with a broker of its own; its findings are reported, the broker's log when it fails."""
        folder = self.folder / re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        broker = Broker(self.binary, folder)
        try:
            with broker:
                yield Check(self, name, broker)
                broker.check()
                broker.stop()
        except (Failure, OSError) as failure:
            self.failed += 1
            print(f"FAILED  {name}: {failure}", flush=True)
            print(f"--- the end of the broker's log, {broker.log}:", *broker.tail(), "---", sep="\n", flush=True)
        finally:
            child_process.end_all()

    def report(self, name, finding):
        self.passed += 1
        print(f"ok      {name}: {finding}", flush=True)

    def skip(self, name, why):
        self.skipped += 1
        print(f"skipped {name}: {why}", flush=True)


class Check:
    """A check that runs: its broker, and the clients that it starts."""

    def __init__(self, bench, name, broker):
        self.bench, self.name, self.broker = bench, name, broker
        self.address = broker.address

    def log(self, name) -> Path:
        return self.broker.folder / f"{name}.log"

    def run(self, name, command, size=0):
        """Runs a client to its good end; returns its seconds."""
        return Process(command, self.log(name), clients.deadline(size)).finish()

    def produce(self, client, topic, text, **options):
        """Has `client` send `text`; returns the seconds until it has ended, with all of it acknowledged."""
        command, stdin = client.produce(self.address, topic, text, **options)
        log, limit = self.log(f"{client.name} produces"), clients.deadline(text.bytes)
        if stdin is None:
            return Process(command, log, limit).finish()
        with open(stdin, "rb") as lines:
            return Process(command, log, limit, stdin=lines).finish()

    def reader(self, name, command, size, sink=None):
        """Starts a client whose output is hashed."""
        return Reader(command, self.log(name), clients.deadline(size), sink)

    def consume(self, name, command, text):
        """Runs a consumer to its end, and holds what it wrote to `text`; returns its seconds."""
        return expect(self.reader(name, command, text.bytes).finish(), text).seconds

    def create(self, topic, partitions):
        self.run("create", clients.Confluent.create(self.address, topic, partitions))

    def report(self, finding):
        self.broker.check()
        self.bench.report(self.name, finding)


def expect(digest, text):
    """Holds a consumer's output to `text`, byte for byte."""
    if digest.sha256 != text.sha256:
        raise Failure(
            f"in: {text.bytes} bytes, {text.lines} lines, sha256 {text.sha256}; "
            f"out: {digest.bytes} bytes, {digest.lines} lines, sha256 {digest.sha256}"
        )
    return digest


def rate(size, seconds):
    """`1.24 s, 87 MB/s`, in millions of bytes."""
    return f"{seconds:.2f} s, {size / MEGABYTE / seconds:.0f} MB/s"


def in_and_out(text, written, read):
    """The usual finding."""
    return (
        f"{text.bytes} bytes, {text.lines} records, in {rate(text.bytes, written)}, "
        f"out {rate(text.bytes, read)}, sha256 {text.sha256}"
    )
