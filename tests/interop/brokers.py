"""The brokers that the suite can run against: corelog, and Apache Kafka to find wrong tests by."""

import shutil
import socket
import time

from process import Failure, Process, run, tail

START_SECONDS_MAX = 60
LIFE_SECONDS_MAX = 1800
CLUSTER_ID = "Y29yZWxvZy1pbnRlcm9wcw"

# The same for both: a topic that is missing stays missing, and groups start without a delay.
SETTINGS = {
    "auto.create.topics.enable": "false",
    "group.initial.rebalance.delay.ms": "0",
}


def toml(value):
    return value if value.isdigit() or value in ("true", "false") else f'"{value}"'


class Corelog:
    """The binary that cargo built."""

    name = "corelog"

    def __init__(self, root, folder):
        self.binary, self.folder, self.log = root / "target/debug/corelog", folder, folder / "broker.log"

    def prepare(self, root):
        log = self.folder / "build.log"
        run(["cargo", "build", "--locked", "--quiet", "--package", "corelog"], log, 1500, cwd=root)

    def start(self):
        config = self.folder / "corelog.toml"
        config.write_text("".join(f"{key} = {toml(value)}\n" for key, value in SETTINGS.items()))
        command = [self.binary, "serve", "--config", config]
        command += ["--data-dir", self.folder / "data", "--listen", "127.0.0.1:0"]
        self.process = Process(command, self.log, self.log, LIFE_SECONDS_MAX)
        return wait_for(self.process, self.log, self._address)

    @staticmethod
    def _address(line):
        return line.split("serving on ")[1].split()[0] if "serving on " in line else None

    def trouble(self):
        """What is wrong with the broker, or None."""
        if self.process.poll() is not None:
            return f"the broker ended by itself: {self.process.ended()}"
        if "panicked" in self.log.read_text(errors="replace"):
            return "the broker panicked"
        return None


class Kafka:
    """Apache Kafka as one node that is controller and broker. `jars` is a directory that holds it."""

    name = "kafka"

    def __init__(self, jars, folder):
        self.jars, self.folder, self.log = jars, folder, folder / "broker.log"

    def prepare(self, root):
        del root

    def start(self):
        port, controller = free_ports(2)
        properties = self.folder / "server.properties"
        settings = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
            "controller.listener.names": "CONTROLLER",
            "inter.broker.listener.name": "PLAINTEXT",
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT",
            "log.dirs": self.folder / "data",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            **SETTINGS,
        }
        properties.write_text("".join(f"{key}={value}\n" for key, value in settings.items()))
        java = ["java", "-Xmx1G", "-cp", f"{self.jars}/*"]
        run([*java, "kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER_ID, "--config", properties], self.log, 60)
        self.process = Process([*java, "kafka.Kafka", properties], self.log, self.log, LIFE_SECONDS_MAX)
        address = f"127.0.0.1:{port}"
        return wait_for(self.process, None, lambda _: address if listens(port) else None)

    def trouble(self):
        return None if self.process.poll() is None else f"the broker ended by itself: {self.process.ended()}"


def fresh(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def wait_for(process, log, found):
    """The address, as soon as `found` tells it from a line of the log, or from the outside."""
    end = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < end:
        for line in log.read_text(errors="replace").splitlines() if log else [None]:
            if address := found(line):
                return address
        if process.poll() is not None:
            raise Failure(f"the broker did not start: {process.ended()}:\n{tail(process.err)}")
        time.sleep(0.05)
    raise Failure(f"the broker does not serve after {START_SECONDS_MAX} s:\n{tail(process.err)}")


def free_ports(count):
    """Ports that nobody listens on. All are held until all are known, so that they differ."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


def listens(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
