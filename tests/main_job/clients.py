"""The command lines of the clients: kcat, the Java console tools, confluent-kafka."""

import sys
from pathlib import Path

HERE = Path(__file__).parent
TOOLS = HERE.parent.parent / "target/kafka-tools"
MEBIBYTES_A_SECOND_MIN = 1
SECONDS_MIN = 180


def deadline(size):
    """Seconds that a client may take for `size` bytes: a broker in trouble fails a check, a busy machine does not."""
    return SECONDS_MIN + size / (MEBIBYTES_A_SECOND_MIN << 20)


class Kcat:
    """Debian's kcat, on librdkafka 2.0."""

    name = "kcat"

    @staticmethod
    def produce(address, topic, text, codec="none", options=()):
        return ["kcat", "-P", "-b", address, "-t", topic, "-z", codec, *options, "-l", str(text.path)], None

    @staticmethod
    def consume(address, topic, options=("-e",), partition=0):
        return ["kcat", "-C", "-b", address, "-t", topic, "-p", str(partition), "-o", "beginning", "-q", *options]

    @staticmethod
    def consume_group(address, topic, group, count):
        del count  # It ends at the end of the partitions.
        return ["kcat", "-b", address, "-q", "-e", "-X", "auto.offset.reset=earliest", "-G", group, topic]


class Java:
    """Kafka's own console tools."""

    name = "java console"

    @staticmethod
    def _tool(name, address, topic):
        main = f"org.apache.kafka.tools.{name}"
        return ["java", "-cp", f"{TOOLS}/*", main, "--bootstrap-server", address, "--topic", topic]

    @classmethod
    def produce(cls, address, topic, text):
        """The command, and the file to feed it with."""
        return cls._tool("ConsoleProducer", address, topic), text.path

    @classmethod
    def consume(cls, address, topic, count):
        tool = cls._tool("consumer.ConsoleConsumer", address, topic)
        return [*tool, "--partition", "0", "--offset", "earliest", "--max-messages", str(count), "--timeout-ms", "60000"]

    @classmethod
    def consume_group(cls, address, topic, group, count):
        tool = cls._tool("consumer.ConsoleConsumer", address, topic)
        ends = ["--max-messages", str(count), "--timeout-ms", "60000"]
        return [*tool, "--group", group, "--from-beginning", *ends]


class Confluent:
    """confluent-kafka-python, on the newest librdkafka."""

    name = "confluent-kafka"

    @staticmethod
    def _script(*arguments):
        return [sys.executable, str(HERE / "confluent_client.py"), *map(str, arguments)]

    @classmethod
    def produce(cls, address, topic, text):
        return cls._script("produce", address, topic, text.path), None

    @classmethod
    def consume(cls, address, topic, count):
        return cls._script("consume", address, topic, count)

    @classmethod
    def consume_group(cls, address, topic, group, count):
        return cls._script("consume-group", address, topic, group, count)

    @classmethod
    def create(cls, address, topic, partitions):
        return cls._script("create", address, topic, partitions)

    @classmethod
    def committed(cls, address, topic, group, partitions):
        """Prints a line `partition offset` for each partition."""
        return cls._script("committed", address, topic, group, partitions)
