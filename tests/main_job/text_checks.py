"""A text goes in, the same text comes out."""

import hashlib
import zlib
from dataclasses import replace

from bench import Bench, expect, in_and_out, rate
from clients import Confluent, Java, Kcat
from corpus import halves
from process import Failure
from wire import producer_id

CODECS = ("none", "lz4", "zstd", "gzip", "snappy")
PARTITIONS = 4
KEYS = 997
# Of the first half of the text, before the second is sent: what is left may lie in the followers' output buffers.
FOLLOWED_MIN = 0.9


def one_partition(bench: Bench):
    for codec in CODECS:
        with bench.check(f"kcat, 1 partition, compression {codec}") as check:
            written = check.produce(Kcat, "lines", bench.text, codec=codec)
            read = check.consume("kcat consumes", Kcat.consume(check.address, "lines"), bench.text)
            check.report(in_and_out(bench.text, written, read))


def keyed(bench: Bench):
    """Each key is in one partition, and each partition has the lines of its keys in their order: so none is lost or doubled."""
    with bench.check(f"kcat, {PARTITIONS} partitions with keys") as check:
        check.create("keyed", PARTITIONS)
        keyed = _with_keys(bench.text, check.broker.folder / "keyed")
        written = check.produce(Kcat, "keyed", keyed, options=("-K", ":"))
        keys = [_Keys() for _ in range(PARTITIONS)]
        readers = [
            check.reader(
                f"kcat consumes {index}",
                Kcat.consume(check.address, "keyed", ("-e", "-K", ":"), index),
                keyed.bytes,
                keys[index].take,
            )
            for index in range(PARTITIONS)
        ]
        found = [reader.finish() for reader in readers]
        placed = {}
        for index in range(PARTITIONS):
            for key in keys[index].seen:
                if placed.setdefault(key, index) != index:
                    raise Failure(f"key {key} is in partitions {placed[key]} and {index}")
        expected = [hashlib.sha256() for _ in range(PARTITIONS)]
        with open(keyed.path, "rb") as lines:
            for line in lines:
                key = line[: line.index(b":")]
                if key not in placed:
                    raise Failure(f"the records of key {key} are lost")
                expected[placed[key]].update(line)
        for index, (digest, hashed) in enumerate(zip(found, expected)):
            expect(digest, replace(keyed, sha256=hashed.hexdigest()))
            if digest.lines == 0:
                raise Failure(f"partition {index} is empty")
        keyed.path.unlink()
        read = max(digest.seconds for digest in found)
        shares = "+".join(str(digest.lines) for digest in found)
        check.report(
            f"{keyed.bytes} bytes with keys, {shares} records, in {rate(keyed.bytes, written)}, out "
            f"{rate(keyed.bytes, read)} by {PARTITIONS} at once, each partition in order, sha256 of the first {found[0].sha256}"
        )


def live(bench: Bench):
    with bench.check("3 followers while 1 produces") as check:
        check.create("live", 1)
        text = bench.text
        first, second = halves(text, check.broker.folder)
        tail = Kcat.consume(check.address, "live", ("-c", str(text.lines)))
        commands = {
            "kcat follows": tail,
            "kcat follows too": tail,
            "confluent-kafka follows": Confluent.consume(check.address, "live", text.lines),
        }
        followers = [check.reader(name, command, 3 * text.bytes) for name, command in commands.items()]
        written = check.produce(Kcat, "live", first)
        for follower in followers:
            follower.wait_until(lambda it: it.bytes >= FOLLOWED_MIN * first.bytes, "it had the first half")
        written += check.produce(Kcat, "live", second)
        for follower in followers:
            expect(follower.finish(), text)
        check.report(
            f"{text.bytes} bytes, {text.lines} records in two halves, in {rate(text.bytes, written)}, "
            f"each follower at the end before the second half, sha256 of each {text.sha256}"
        )


def confluent(bench: Bench):
    with bench.check("confluent-kafka, assign") as check:
        written = check.produce(Confluent, "lines", bench.head)
        command = Confluent.consume(check.address, "lines", bench.head.lines)
        read = check.consume("confluent-kafka consumes", command, bench.head)
        check.report(in_and_out(bench.head, written, read))


def java(bench: Bench):
    with bench.check("java console, --partition, idempotent by default") as check:
        written = check.produce(Java, "lines", bench.head)
        command = Java.consume(check.address, "lines", bench.head.lines)
        read = check.consume("java console consumes", command, bench.head)
        number = producer_id(check.address, "lines")
        if number < 0:
            raise Failure("the records carry no producer id: the producer was not idempotent")
        check.report(f"{in_and_out(bench.head, written, read)}, producer id {number}")


def across(bench: Bench):
    """What one client has written, another reads: the record format is Kafka's and not only consistent with itself."""
    with bench.check("java console in, kcat and confluent-kafka out") as check:
        written = check.produce(Java, "lines", bench.head)
        command = Confluent.consume(check.address, "lines", bench.head.lines)
        check.consume("confluent-kafka consumes", command, bench.head)
        read = check.consume("kcat consumes", Kcat.consume(check.address, "lines"), bench.head)
        check.report(in_and_out(bench.head, written, read))
    with bench.check("kcat with zstd in, java console out") as check:
        written = check.produce(Kcat, "lines", bench.head, codec="zstd")
        command = Java.consume(check.address, "lines", bench.head.lines)
        read = check.consume("java console consumes", command, bench.head)
        check.report(in_and_out(bench.head, written, read))


class _Keys:
    """The keys in a stream of `key:line`."""

    def __init__(self):
        self.seen, self._left = set(), b""

    def take(self, block):
        lines = (self._left + block).split(b"\n")
        self._left = lines.pop()
        self.seen.update(line[: line.index(b":")] for line in lines)


def _with_keys(text, path):
    """The lines of `text`, each with one of KEYS keys before it that follows from its bytes."""
    size = 0
    with open(text.path, "rb") as lines, open(path, "wb") as out:
        for line in lines:
            size += out.write(b"key-%03d:%b" % (zlib.crc32(line) % KEYS, line))
    return replace(text, path=path, bytes=size, sha256="")
