"""Runs the clients against a broker, and writes the table. README.md beside this file says how to use it."""

import argparse
import os
import sys
import time
from pathlib import Path

import child_process
from brokers import Corelog, Kafka, fresh
from catalog import CLIENTS, SOURCES, kafka_jars
from features import FEATURES
from process import Failure, Process, tail
from table import Allowed, complete, markdown, parse

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
WORK = ROOT / "target/interop"
CLIENTS_AT_A_TIME = 2


def arguments():
    parser = argparse.ArgumentParser(prog="tests/interop/run", description="Unmodified clients against a broker.")
    parser.add_argument("--kafka", action="store_true", help="against Apache Kafka instead, to find wrong tests by")
    parser.add_argument("--client", action="append", metavar="NAME", choices=[each.name for each in CLIENTS], help="only this one; can be repeated")
    parser.add_argument("--feature", action="append", metavar="NAME", choices=list(FEATURES), help="only this one; can be repeated")
    parser.add_argument("--list", action="store_true", help="list the clients, and end")
    return parser.parse_args()


class Run:
    """One client's program, while it runs."""

    def __init__(self, client, home, address, features, logs):
        # Names of topics and files take few characters.
        label = "".join(letter if letter.isalnum() else "-" for letter in client.name).strip("-")
        self.client, self.out, self.err = client, logs / f"{label}.out", logs / f"{label}.err"
        env = {"INTEROP_CLIENT": label, "INTEROP_WORK": str(home), "PYTHONPATH": str(SOURCES), "PYTHONDONTWRITEBYTECODE": "1"}
        command = [*client.command(home), address, ",".join(features or ())]
        self.process = Process(command, self.out, self.err, client.seconds, cwd=home, env=env)

    def results(self):
        """Every feature that it planned, with what came of it."""
        planned, results = parse(self.out.read_text(errors="replace"))
        if not planned and not results:
            raise Failure(f"{self.client.name} reported nothing: {self.process.ended()}:\n{tail(self.err)}")
        return complete(planned, results, self.process.ended())


def run_all(clients, homes, address, features, logs):
    """The results of each client, two at a time in their order."""
    waiting, running, results = list(clients), [], {}
    while waiting or running:
        while waiting and len(running) < CLIENTS_AT_A_TIME:
            client = waiting.pop(0)
            running.append(Run(client, homes[client], address, features, logs))
        for each in [each for each in running if each.process.poll() is not None]:
            running.remove(each)
            name = each.client.name
            results[name] = each.results()
            counts = [f"{sum(found.result == kind for found in results[name].values())} {kind}" for kind in ("ok", "failed", "unsupported")]
            seconds = time.monotonic() - each.process.began
            print(f"{name} {each.client.version}: {', '.join(counts)}, {seconds:.0f} s", flush=True)
        time.sleep(0.05)
    return {client.name: results[client.name] for client in clients}


def verdict(results, allowed, whole, logs):
    """Tells what failed. The number of problems: failures that are not allowed, and allowances that are not needed."""
    problems = 0
    for client, found in results.items():
        for feature, result in found.items():
            if result.result != "failed":
                continue
            reason = allowed.reason(client, feature)
            problems += reason is None
            print(f"{'FAILED ' if reason is None else 'allowed'} {client}: {feature}: {reason or result.detail}")
    for client, feature in allowed.stale(results) if whole else ():
        problems += 1
        print(f"STALE   {client}: {feature}: may fail, but does not: take the line out of {allowed.path}")
    if problems:
        print(f"what clients and broker wrote is in {logs}")
    return problems


def main():
    asked = arguments()
    clients = [each for each in CLIENTS if not asked.client or each.name in asked.client]
    if asked.list:
        for client in clients:
            print(f"{client.name}\t{client.version}\tclients/{client.folder}")
        return 0
    WORK.mkdir(parents=True, exist_ok=True)
    logs = fresh(WORK / ("run-kafka" if asked.kafka else "run-corelog"))
    broker = Kafka(kafka_jars(WORK), logs) if asked.kafka else Corelog(ROOT, logs)
    allowed = Allowed(HERE / "allowed.tsv", broker.name)
    broker.prepare(ROOT)
    homes = {client: client.ready(WORK) for client in clients}
    began = time.monotonic()
    results = run_all(clients, homes, broker.start(), asked.feature, logs)
    trouble = broker.trouble()
    whole = not asked.client and not asked.feature
    problems = verdict(results, allowed, whole, logs)
    print(f"{len(results)} clients against {broker.name} in {time.monotonic() - began:.0f} s")
    if trouble:
        print(f"{trouble}:\n{tail(broker.log)}")
    if whole:
        place = WORK / "KAFKA.md" if asked.kafka else HERE / "COMPATIBILITY.md"
        versions = {client.name: client.version for client in clients}
        place.write_text(markdown(broker.name, versions, results, allowed))
        print(f"wrote {os.path.relpath(place)}")
    counted = [result.result for found in results.values() for result in found.values()]
    print(f"{counted.count('ok')} passed, {problems + bool(trouble)} failed")
    return 1 if problems or trouble else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failure as failure:
        sys.exit(f"tests/interop/run: {failure}")
    finally:
        child_process.end_all()
