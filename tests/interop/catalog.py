"""The clients: which versions, how each is fetched, built and run."""

import hashlib
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from brokers import fresh
from process import run

HERE = Path(__file__).parent
SOURCES = HERE / "clients"
# Fetching and building one client from nothing, on two cores.
PREPARE_SECONDS_MAX = 1500
# The broker of `--kafka`, the newer client library, the tools, Streams and Connect.
KAFKA_VERSION = "4.3.1"
KAFKA_3_VERSION = "3.9.2"
# The logging of Kafka's own distribution; by default it writes errors to stdout.
LOG4J_VERSION = "2.25.4"
SLF4J_VERSION = "1.7.36"


@dataclass(frozen=True)
class Client:
    """A column of the table. `folder` holds its program, and names where it is prepared."""

    name: str
    version: str
    folder: str
    # Fetches and builds: called with where the sources are, where to put things, and a log.
    prepare: object
    # The command without the broker's address: called with where things were put.
    command: object
    # All of its features together, on a machine that does something else too.
    seconds: int = 150
    # The directory beside others of the same folder.
    variant: str = ""

    def ready(self, work):
        """Prepares it unless that was done for the same sources. Returns the directory."""
        home = work / f"{self.folder}{self.variant}"
        mark, state = home / "prepared", self._state()
        if not mark.exists() or mark.read_text() != state:
            print(f"preparing {self.name} {self.version}", file=sys.stderr, flush=True)
            fresh(home)
            self.prepare(SOURCES / self.folder, home, home / "prepare.log")
            mark.write_text(state)
        return home

    def _state(self):
        """Changes with every byte that what was prepared is made of."""
        digest = hashlib.sha256(f"{self.version} {sys.version}".encode())
        for path in sorted((SOURCES / self.folder).rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(path.name.encode() + path.read_bytes())
        return digest.hexdigest()


def pinned(path, pattern):
    """The version that a manifest pins, so that it stands in one place."""
    found = re.search(pattern, (SOURCES / path).read_text())
    if not found:
        raise SystemExit(f"{path} pins no version that matches {pattern}")
    return found.group(1)


def venv(sources, home, log):
    run([sys.executable, "-m", "venv", home / "venv"], log, PREPARE_SECONDS_MAX)
    pip = [home / "venv/bin/pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*pip, "--requirement", sources / "requirements.txt"], log, PREPARE_SECONDS_MAX)


def python(folder, package, name=None):
    """A client from PyPI."""
    version = pinned(f"{folder}/requirements.txt", rf"(?m)^{re.escape(package)}==(\S+)$")
    command = lambda home: [home / "venv/bin/python", SOURCES / folder / "client.py"]  # noqa: E731
    return Client(name or package, version, folder, venv, command)


def maven(home, log, dependencies):
    """Puts the jars of `dependencies`, each group, artifact and version, and theirs into `home`/jars."""
    elements = [
        f"<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version></dependency>"
        for group, artifact, version in dependencies
    ]
    home.joinpath("pom.xml").write_text(
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>\n'
        "<groupId>interop</groupId><artifactId>interop</artifactId><version>1</version>\n"
        f"<dependencies>\n{chr(10).join(elements)}\n</dependencies></project>\n"
    )
    command = ["mvn", "--quiet", "--batch-mode", "dependency:copy-dependencies", "-DincludeScope=runtime"]
    run([*command, f"-DoutputDirectory={home}/jars"], log, PREPARE_SECONDS_MAX, cwd=home)


def fetched(home, dependencies):
    """A directory of jars, fetched unless it is there."""
    mark, wanted = home / "fetched", repr(dependencies)
    if not mark.exists() or mark.read_text() != wanted:
        print(f"fetching {home.name} from Maven Central", file=sys.stderr, flush=True)
        fresh(home)
        maven(home, home / "fetch.log", dependencies)
        mark.write_text(wanted)
    return home / "jars"


def kafka_jars(work):
    """All of Apache Kafka: broker, tools, Streams, Connect."""
    artifacts = ("kafka_2.13", "kafka-tools", "kafka-streams", "connect-runtime", "connect-file")
    dependencies = [("org.apache.kafka", artifact, KAFKA_VERSION) for artifact in artifacts]
    return fetched(work / f"kafka-{KAFKA_VERSION}", [*dependencies, ("org.apache.logging.log4j", "log4j-slf4j-impl", LOG4J_VERSION)])


def older_jars(work):
    """Kafka's client library, as it was before Kafka 4."""
    dependencies = [("org.apache.kafka", "kafka-clients", KAFKA_3_VERSION), ("org.slf4j", "slf4j-simple", SLF4J_VERSION)]
    return fetched(work / f"kafka-clients-{KAFKA_3_VERSION}", dependencies)


def java(name, folder, version, jars, seconds=150, variant=""):
    """A program on jars, compiled against those of Kafka 4, so that a call that older ones lack is seen as such."""

    def prepare(sources, home, log):
        jars(home.parent)
        flags = ["-Xlint:none", "-cp", f"{kafka_jars(home.parent)}/*", "-d", home / "classes"]
        run(["javac", *flags, *sorted(sources.glob("*.java"))], log, PREPARE_SECONDS_MAX)

    # Programs that live for seconds: the first compiler only, and the smallest collector.
    flags = ["-Xmx512M", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn"]
    command = lambda home: ["java", *flags, "-cp", f"{home}/classes:{jars(home.parent)}/*", "Main"]  # noqa: E731
    return Client(name, version, folder, prepare, command, seconds, variant)


CLIENTS = [
    java("Java kafka-clients 4", "java", KAFKA_VERSION, kafka_jars),
    java("Java kafka-clients 3", "java", KAFKA_3_VERSION, older_jars, variant="-3"),
    python("confluent_python", "confluent-kafka"),
]
