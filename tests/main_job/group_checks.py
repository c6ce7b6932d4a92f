"""Consumer groups: each client as a member, and committed offsets over restarts of the broker."""

import signal
import time

from bench import Bench, rate
from clients import Confluent, Java, Kcat
from corpus import halves
from process import Failure
from wire import JOIN_GROUP, api_keys

PARTITIONS = 4
ASSIGNED_SECONDS_MAX = 60
# 2^64: sums of lines' hashes wrap there, so that the order does not count.
WRAP = 1 << 64


def groups(bench: Bench):
    names = {client: f"{client.name} in a group, over restarts" for client in (Kcat, Java, Confluent)}
    shared = f"2 kcat in a group share {PARTITIONS} partitions"
    with bench.check("ApiVersions") as check:
        known = api_keys(check.address)
        check.report(f"{len(known)} APIs, {'with' if JOIN_GROUP in known else 'without'} groups")
        if JOIN_GROUP not in known:
            for name in (*names.values(), shared):
                bench.skip(name, "no groups")
            return
    for client, name in names.items():
        _over_restarts(bench, client, name)
    _shared(bench, shared)


def _over_restarts(bench, client, name):
    """A member reads the first half and commits; after a clean restart it gets the second half and nothing else; the committed
    offset is still there after `kill -9`."""
    with bench.check(name) as check:
        first, second = halves(bench.head, check.broker.folder)
        seconds = []
        for text in (first, second):
            check.produce(client, "lines", text)
            command = client.consume_group(check.address, "lines", "readers", text.lines)
            seconds.append(check.consume(f"{client.name} consumes", command, text))
            expected = first.lines if text is first else bench.head.lines
            _expect_committed(check, expected, "when the member has left")
            if text is first:
                check.broker.stop()
            else:
                check.broker.kill()
            check.broker.start()
            _expect_committed(check, expected, "after SIGTERM" if text is first else "after kill -9")
        check.report(
            f"{bench.head.bytes} bytes, {bench.head.lines} records in two halves, out "
            f"{rate(bench.head.bytes, sum(seconds))}, sha256 {first.sha256} and {second.sha256}, "
            f"offset {bench.head.lines} committed after SIGTERM and kill -9"
        )


def _expect_committed(check, expected, when):
    command = Confluent.committed(check.address, "lines", "readers", 1)
    found = []
    check.reader("committed", command, 0, found.append).finish()
    offsets = b"".join(found).decode().split()
    if offsets != ["0", str(expected)]:
        raise Failure(f"{when} partition and committed offset are {offsets}, not 0 and {expected}")


def _shared(bench, name):
    with bench.check(name) as check:
        check.create("shared", PARTITIONS)
        sums = [_Sum(), _Sum()]
        # Not -q: the assignment stands on stderr.
        command = ["kcat", "-b", check.address, "-u", "-X", "auto.offset.reset=earliest", "-G", "sharers", "shared"]
        members = [
            check.reader(f"member {index}", command, bench.head.bytes, sums[index].take) for index in range(2)
        ]
        end = time.monotonic() + ASSIGNED_SECONDS_MAX
        while [_assigned(member) for member in members] != [PARTITIONS // 2] * 2:
            if time.monotonic() > end:
                raise Failure(f"after {ASSIGNED_SECONDS_MAX} s the members have {[_assigned(m) for m in members]} partitions")
            time.sleep(0.1)
        written = check.produce(Kcat, "shared", bench.head, options=("-p", "-1"))
        members[0].wait_until(lambda _: sum(m.lines for m in members) >= bench.head.lines, "all was read")
        for member in members:
            member.process.send(signal.SIGTERM)
            member.finish()
        expected = _Sum()
        with open(bench.head.path, "rb") as file:
            while block := file.read(1 << 20):
                expected.take(block)
        found = (sum(s.value for s in sums) % WRAP, sum(m.lines for m in members))
        if found != (expected.value, bench.head.lines):
            raise Failure(f"the members' {found[1]} records are not the {bench.head.lines} that were sent")
        if not all(member.lines for member in members):
            raise Failure("one member got everything")
        check.report(
            f"{bench.head.bytes} bytes, {members[0].lines}+{members[1].lines} records, each once, in "
            f"{rate(bench.head.bytes, written)}"
        )


def _assigned(member):
    """How many partitions the member's last rebalance gave it."""
    with open(member.process.log, errors="replace") as log:
        given = [line for line in log if "rebalanced" in line and "assigned:" in line]
    return given[-1].count("shared [") if given else 0


class _Sum:
    """A digest of a multiset of lines."""

    def __init__(self):
        self.value, self._left = 0, b""

    def take(self, block):
        lines = (self._left + block).split(b"\n")
        self._left = lines.pop()
        self.value = (self.value + sum(map(hash, lines))) % WRAP
