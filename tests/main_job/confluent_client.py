"""A client on confluent-kafka, run as a process of its own: records are lines, in from a file and out to stdout."""

import sys

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

CALL_SECONDS_MAX = 30
QUIET_SECONDS_MAX = 60
RECORDS_A_CALL = 10_000


def create(address, topic, partitions):
    admin = AdminClient({"bootstrap.servers": address})
    admin.create_topics([NewTopic(topic, int(partitions), 1)])[topic].result(CALL_SECONDS_MAX)


def produce(address, topic, file):
    """Sends with the library's defaults, and holds the acknowledgements to one offset each, without a gap."""
    producer = Producer({"bootstrap.servers": address})
    ends, errors = {}, []
    reported = 0

    def acknowledged(error, record):
        nonlocal reported
        reported += 1
        expected = ends.get(record.partition(), record.offset())
        if error or record.offset() != expected:
            errors.append(f"{error} at offset {record.offset()} instead of {expected}")
        ends[record.partition()] = expected + 1

    sent = 0
    with open(file, "rb") as lines:
        for line in lines:
            while True:
                try:
                    producer.produce(topic, line[:-1], on_delivery=acknowledged)
                    break
                except BufferError:
                    producer.poll(0.1)
            sent += 1
            if sent % 1000 == 0:
                producer.poll(0)
    left = producer.flush(QUIET_SECONDS_MAX)
    if errors or left or reported != sent:
        sys.exit(f"{left} not sent, {len(errors)} bad reports of {sent}: {errors[:3]}")


def consume(address, topic, count):
    consumer = Consumer({"bootstrap.servers": address, "group.id": "unused", "enable.auto.commit": False})
    consumer.assign([TopicPartition(topic, 0, OFFSET_BEGINNING)])
    take(consumer, int(count))


def consume_group(address, topic, group, count):
    consumer = Consumer({"bootstrap.servers": address, "group.id": group, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    take(consumer, int(count))


def take(consumer, count):
    """Writes `count` records, or fails when none comes for a minute. Closing commits, where a group is."""
    while count > 0:
        records = consumer.consume(min(count, RECORDS_A_CALL), QUIET_SECONDS_MAX)
        if not records:
            sys.exit(f"{count} records have not come, the last {QUIET_SECONDS_MAX} s brought none")
        for record in records:
            if not record.error():
                sys.stdout.buffer.write(record.value() + b"\n")
                count -= 1
            elif record.error().code() != KafkaError._PARTITION_EOF:
                sys.exit(str(record.error()))
    sys.stdout.buffer.flush()
    consumer.close()


def committed(address, topic, group, partitions):
    consumer = Consumer({"bootstrap.servers": address, "group.id": group})
    wanted = [TopicPartition(topic, index) for index in range(int(partitions))]
    for found in consumer.committed(wanted, CALL_SECONDS_MAX):
        if found.error:
            sys.exit(str(found.error))
        print(found.partition, found.offset)
    consumer.close()


COMMANDS = {
    "create": create,
    "produce": produce,
    "consume": consume,
    "consume-group": consume_group,
    "committed": committed,
}

if __name__ == "__main__":
    COMMANDS[sys.argv[1]](*sys.argv[2:])
