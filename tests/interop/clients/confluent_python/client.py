"""confluent-kafka, on librdkafka."""

import time

from confluent_kafka import (
    OFFSET_BEGINNING,
    TIMESTAMP_CREATE_TIME,
    TIMESTAMP_LOG_APPEND_TIME,
    Consumer,
    ConsumerGroupTopicPartitions,
    ElectionType,
    IsolationLevel,
    KafkaError,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (
    AclBindingFilter,
    AclOperation,
    AclPermissionType,
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    OffsetSpec,
    ResourcePatternType,
    ResourceType,
)
from report import address, check, equal, feature, fresh_name, main, until

SECONDS_MAX = 20
ADMIN = AdminClient({"bootstrap.servers": address()})


def topic(what, partitions=1, **config):
    name = fresh_name(what)
    settings = {key.replace("_", "."): str(value) for key, value in config.items()}
    ADMIN.create_topics([NewTopic(name, partitions, 1, config=settings)])[name].result(SECONDS_MAX)
    return name


def produce(name, records, **config):
    """Sends, waits, and returns the reports: error and message of each. A record is what `produce` takes by name."""
    settings = {key.replace("_", "."): value for key, value in config.items()}
    producer = Producer({"bootstrap.servers": address(), "linger.ms": 5, **settings})
    reports = []
    for record in records:
        producer.produce(name, **record, on_delivery=lambda error, message: reports.append((error, message)))
    equal(producer.flush(SECONDS_MAX), 0, "left in the producer")
    return reports


def produce_well(name, records, **config):
    for error, _ in (reports := produce(name, records, **config)):
        check(error is None, error)
    return [message for _, message in reports]


def consumer(group=None, **config):
    settings = {key.replace("_", "."): value for key, value in config.items()}
    return Consumer(
        {
            "bootstrap.servers": address(),
            "group.id": group or fresh_name("group"),
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "fetch.wait.max.ms": 50,
            **settings,
        }
    )


def take(reader, count, seconds=SECONDS_MAX):
    """Exactly `count` records, or as many as come in the time."""
    taken, end = [], time.monotonic() + seconds
    while len(taken) < count and time.monotonic() < end:
        for message in reader.consume(count - len(taken), 0.2):
            if message.error():
                raise KafkaException(message.error())
            taken.append(message)
    return taken


def read_all(name, count, **config):
    """The first records of partition 0."""
    reader = consumer(**config)
    reader.assign([TopicPartition(name, 0, OFFSET_BEGINNING)])
    taken = take(reader, count)
    reader.close()
    equal(len(taken), count, "records read")
    return taken


def codec(which):
    name = topic(f"codec-{which}")
    values = [b"%d " % index + b"some text that repeats " * 20 for index in range(200)]
    produce_well(name, [{"value": value} for value in values], compression_type=which)
    equal([message.value() for message in read_all(name, 200)], values, "values")


for each in ("none", "gzip", "snappy", "lz4", "zstd"):
    feature(f"codec-{each}")(lambda each=each: codec(each))


@feature("headers")
def headers():
    name = topic("headers")
    sent = [("a", b"1"), ("a", b"2"), ("empty", b""), ("null", None)]
    produce_well(name, [{"value": b"v", "headers": sent}, {"value": b"v"}])
    first, second = read_all(name, 2)
    equal(first.headers(), sent, "headers")
    equal(second.headers(), None, "headers")


@feature("keys-and-nulls")
def keys_and_nulls():
    name = topic("nulls")
    pairs = [(b"k", b"v"), (None, b"v"), (b"k", None), (b"", b""), (None, None)]
    produce_well(name, [{"key": key, "value": value} for key, value in pairs])
    equal([(message.key(), message.value()) for message in read_all(name, 5)], pairs, "keys and values")


@feature("timestamps")
def timestamps():
    name = topic("create-time")
    produce_well(name, [{"value": b"v", "timestamp": 1_600_000_000_123}])
    equal(read_all(name, 1)[0].timestamp(), (TIMESTAMP_CREATE_TIME, 1_600_000_000_123), "timestamp")
    name = topic("append-time", message_timestamp_type="LogAppendTime")
    produce_well(name, [{"value": b"v", "timestamp": 1_600_000_000_123}])
    kind, at = read_all(name, 1)[0].timestamp()
    equal(kind, TIMESTAMP_LOG_APPEND_TIME, "kind of timestamp")
    check(abs(at / 1000 - time.time()) < 60, f"{at} is not now")


# A batch of one record with a value of 1000 bytes, neither key nor headers, has 1070 bytes.
@feature("size-limit")
def size_limit():
    name = topic("limit", max_message_bytes=1070)
    equal(produce_well(name, [{"value": b"x" * 1000}])[0].offset(), 0, "offset")


@feature("size-over")
def size_over():
    name = topic("over", max_message_bytes=1070)
    ((error, _),) = produce(name, [{"value": b"x" * 1001}])
    check(error and error.code() == KafkaError.MSG_SIZE_TOO_LARGE, f"{error} instead of MSG_SIZE_TOO_LARGE")
    low, high = consumer().get_watermark_offsets(TopicPartition(name, 0), SECONDS_MAX)
    equal((low, high), (0, 0), "the log")


@feature("idempotence")
def idempotence():
    name = topic("idempotence")
    sent = produce_well(name, [{"value": b"%d" % index} for index in range(500)], enable_idempotence=True)
    equal([message.offset() for message in sent], list(range(500)), "offsets")
    equal([message.value() for message in read_all(name, 500)], [b"%d" % index for index in range(500)], "values")


@feature("transactions")
def transactions():
    name = topic("transactions")
    producer = Producer({"bootstrap.servers": address(), "transactional.id": fresh_name("id")})
    producer.init_transactions(SECONDS_MAX)
    for value, end in ((b"committed", producer.commit_transaction), (b"aborted", producer.abort_transaction)):
        producer.begin_transaction()
        producer.produce(name, value)
        producer.flush(SECONDS_MAX)
        end(SECONDS_MAX)
    produce_well(name, [{"value": b"after"}])
    committed = read_all(name, 2, isolation_level="read_committed")
    equal([message.value() for message in committed], [b"committed", b"after"], "committed values")
    everything = read_all(name, 3, isolation_level="read_uncommitted")
    equal([message.value() for message in everything], [b"committed", b"aborted", b"after"], "all values")


def subscribed(name, group, **config):
    reader = consumer(group, session_timeout_ms=6000, heartbeat_interval_ms=500, **config)
    reader.subscribe([name])
    return reader


def read_in_turns(name, group, **config):
    """A member reads and commits; another goes on."""
    produce_well(name, [{"value": b"%d" % index, "partition": index % 2} for index in range(100)])
    first = subscribed(name, group, **config)
    equal(len({message.value() for message in take(first, 100)}), 100, "different records")
    first.commit(asynchronous=False)
    first.close()
    produce_well(name, [{"value": b"later", "partition": 1}])
    second = subscribed(name, group, **config)
    equal([message.value() for message in take(second, 1)], [b"later"], "after the commit")
    equal(take(second, 1, 0.5), [], "more than there is")
    ends = second.committed([TopicPartition(name, 0), TopicPartition(name, 1)], SECONDS_MAX)
    equal([end.offset for end in ends], [50, 50], "committed offsets")
    second.close()


@feature("group")
def group():
    read_in_turns(topic("group", 2), fresh_name("group"))


def sizes_become(readers, sizes):
    """Polls all until each has so many partitions."""

    def ready():
        for reader in readers:
            message = reader.poll(0.05)
            check(message is None or not message.error(), message and message.error())
        return [len(reader.assignment()) for reader in readers] == sizes

    until(ready, f"{sizes} partitions", 30)


def share(name, group, **config):
    first = subscribed(name, group, **config)
    sizes_become([first], [4])
    second = subscribed(name, group, **config)
    sizes_become([first, second], [2, 2])
    held = {(each.topic, each.partition) for reader in (first, second) for each in reader.assignment()}
    equal(len(held), 4, "different partitions")
    second.close()
    sizes_become([first], [4])
    first.close()


@feature("rebalance")
def rebalance():
    share(topic("rebalance", 4), fresh_name("group"), partition_assignment_strategy="range")


@feature("cooperative")
def cooperative():
    share(topic("cooperative", 4), fresh_name("group"), partition_assignment_strategy="cooperative-sticky")


@feature("static-member")
def static_member():
    name, group = topic("static", 4), fresh_name("group")
    first, second = (subscribed(name, group, group_instance_id=each) for each in ("one", "two"))
    sizes_become([first, second], [2, 2])
    held = sorted(each.partition for each in second.assignment())
    second.close()
    equal(len(first.assignment()), 2, "partitions while the other is away")
    again = subscribed(name, group, group_instance_id="two")
    sizes_become([first, again], [2, 2])
    equal(sorted(each.partition for each in again.assignment()), held, "partitions of the returned")
    found = ADMIN.describe_consumer_groups([group])[group].result(SECONDS_MAX)
    equal(sorted(member.group_instance_id for member in found.members), ["one", "two"], "static members")
    first.close()
    again.close()


@feature("fenced")
def fenced():
    name, group = topic("fenced"), fresh_name("group")
    first = subscribed(name, group, group_instance_id="one")
    sizes_become([first], [1])
    second = subscribed(name, group, group_instance_id="one")
    sizes_become([second], [1])

    def is_fenced():
        try:
            message = first.poll(0.1)
        except KafkaException as error:
            return error.args[0].code() in (KafkaError.FENCED_INSTANCE_ID, KafkaError._FATAL)
        return message is not None and message.error() and message.error().code() in (
            KafkaError.FENCED_INSTANCE_ID,
            KafkaError._FATAL,
        )

    until(is_fenced, "the first fenced")
    second.close()


@feature("consumer-protocol")
def consumer_protocol():
    def member(name, group):
        reader = consumer(group, group_protocol="consumer")
        reader.subscribe([name])
        return reader

    name, group = topic("consumer-protocol", 4), fresh_name("group")
    produce_well(name, [{"value": b"%d" % index, "partition": index % 4} for index in range(100)])
    first = member(name, group)
    equal(len({message.value() for message in take(first, 100)}), 100, "different records")
    first.commit(asynchronous=False)
    second = member(name, group)
    sizes_become([first, second], [2, 2])
    first.close()
    sizes_become([second], [4])
    equal(take(second, 1, 0.5), [], "records after the commit")
    second.close()


@feature("pause")
def pause():
    name = topic("pause", 2)
    reader = consumer()
    both = [TopicPartition(name, index, OFFSET_BEGINNING) for index in (0, 1)]
    reader.assign(both)
    reader.pause([TopicPartition(name, 0)])
    produce_well(name, [{"value": b"%d" % index, "partition": index % 2} for index in range(20)])
    equal({message.partition() for message in take(reader, 10)}, {1}, "partitions read")
    equal(take(reader, 1, 0.5), [], "of the paused")
    reader.resume([TopicPartition(name, 0)])
    equal({message.partition() for message in take(reader, 10)}, {0}, "partitions read")
    reader.close()


@feature("seek")
def seek():
    name = topic("seek")
    produce_well(name, [{"value": b"%d" % index} for index in range(50)])
    reader = consumer()
    reader.assign([TopicPartition(name, 0, OFFSET_BEGINNING)])
    equal(len(take(reader, 50)), 50, "records")
    for offset in (10, 49, 0):
        reader.seek(TopicPartition(name, 0, offset))
        equal(take(reader, 1)[0].offset(), offset, "offset")
    reader.close()


@feature("offsets-by-time")
def offsets_by_time():
    name, base = topic("times"), 1_600_000_000_000
    produce_well(name, [{"value": b"v", "timestamp": base + 1000 * index} for index in range(10)])
    reader = consumer()
    for at, offset in ((base + 5500, 6), (base + 5000, 5), (base - 1, 0), (base + 9001, -1)):
        (found,) = reader.offsets_for_times([TopicPartition(name, 0, at)], SECONDS_MAX)
        equal(found.offset, offset, f"offset at {at - base}")
    reader.close()


@feature("lag")
def lag():
    name, group = topic("lag"), fresh_name("group")
    produce_well(name, [{"value": b"v"} for _ in range(10)])
    reader = consumer(group)
    reader.commit(offsets=[TopicPartition(name, 0, 4)], asynchronous=False)
    (committed,) = reader.committed([TopicPartition(name, 0)], SECONDS_MAX)
    _, end = reader.get_watermark_offsets(TopicPartition(name, 0), SECONDS_MAX)
    equal(end - committed.offset, 6, "lag")
    reader.close()


@feature("admin-topics")
def admin_topics():
    name = topic("admin", 3)
    check(name in ADMIN.list_topics(timeout=SECONDS_MAX).topics, "the topic is not listed")
    found = ADMIN.describe_topics(TopicCollection([name]))[name].result(SECONDS_MAX)
    equal([(each.id, each.leader is not None) for each in found.partitions], [(0, True), (1, True), (2, True)], "partitions")
    check(found.topic_id, "no topic id")
    raises(KafkaError.TOPIC_ALREADY_EXISTS, ADMIN.create_topics([NewTopic(name, 3, 1)])[name])
    ADMIN.delete_topics([name])[name].result(SECONDS_MAX)
    until(lambda: name not in ADMIN.list_topics(timeout=SECONDS_MAX).topics, "the topic gone")


def raises(code, future):
    try:
        found = future.result(SECONDS_MAX)
    except KafkaException as error:
        equal(error.args[0].code(), code, f"error {error}")
    else:
        raise AssertionError(f"{found} instead of an error")


@feature("admin-partitions")
def admin_partitions():
    name = topic("partitions", 1)
    ADMIN.create_partitions([NewPartitions(name, 3)])[name].result(SECONDS_MAX)
    until(lambda: len(ADMIN.list_topics(name, SECONDS_MAX).topics[name].partitions) == 3, "three partitions")
    raises(KafkaError.INVALID_PARTITIONS, ADMIN.create_partitions([NewPartitions(name, 2)])[name])


@feature("admin-configs")
def admin_configs():
    name = topic("configs", retention_ms=1234567)
    of_topic = lambda: ConfigResource(ConfigResource.Type.TOPIC, name)  # noqa: E731

    def described(resource):
        ((_, future),) = ADMIN.describe_configs([resource]).items()
        return {key: entry.value for key, entry in future.result(SECONDS_MAX).items()}

    def change(operation, key, value=None):
        entry = ConfigEntry(key, value, incremental_operation=operation)
        resource = ConfigResource(ConfigResource.Type.TOPIC, name, incremental_configs=[entry])
        ((_, future),) = ADMIN.incremental_alter_configs([resource]).items()
        future.result(SECONDS_MAX)

    before = described(of_topic())
    equal(before["retention.ms"], "1234567", "retention.ms")
    change(AlterConfigOpType.SET, "max.message.bytes", "2000000")
    change(AlterConfigOpType.DELETE, "retention.ms")
    until(lambda: described(of_topic())["max.message.bytes"] == "2000000", "the change seen")
    equal(described(of_topic())["retention.ms"], "604800000", "retention.ms")
    (node, *_) = ADMIN.list_topics(timeout=SECONDS_MAX).brokers
    equal(described(ConfigResource(ConfigResource.Type.BROKER, str(node)))["auto.create.topics.enable"], "false", "of the broker")


@feature("admin-groups")
def admin_groups():
    name, group = topic("groups"), fresh_name("group")
    reader = subscribed(name, group)
    sizes_become([reader], [1])
    listed = ADMIN.list_consumer_groups().result(SECONDS_MAX)
    check(group in [each.group_id for each in listed.valid], "the group is not listed")
    found = ADMIN.describe_consumer_groups([group])[group].result(SECONDS_MAX)
    equal((found.state.name, len(found.members)), ("STABLE", 1), "state and members")
    equal([each.topic for each in found.members[0].assignment.topic_partitions], [name], "assignment")
    raises(KafkaError.NON_EMPTY_GROUP, ADMIN.delete_consumer_groups([group])[group])
    reader.close()
    ADMIN.delete_consumer_groups([group])[group].result(SECONDS_MAX)
    listed = ADMIN.list_consumer_groups().result(SECONDS_MAX)
    check(group not in [each.group_id for each in listed.valid], "the group is listed still")


@feature("admin-group-offsets")
def admin_group_offsets():
    name, group = topic("offsets"), fresh_name("group")
    produce_well(name, [{"value": b"v"} for _ in range(10)])
    request = [ConsumerGroupTopicPartitions(group, [TopicPartition(name, 0, 7)])]
    ADMIN.alter_consumer_group_offsets(request)[group].result(SECONDS_MAX)
    request = [ConsumerGroupTopicPartitions(group, [TopicPartition(name, 0)])]
    found = ADMIN.list_consumer_group_offsets(request)[group].result(SECONDS_MAX)
    equal([each.offset for each in found.topic_partitions], [7], "offsets")


@feature("admin-delete-records")
def admin_delete_records():
    name = topic("delete-records")
    produce_well(name, [{"value": b"%d" % index} for index in range(10)])
    partition = TopicPartition(name, 0, 4)
    ((_, future),) = ADMIN.delete_records([partition]).items()
    equal(future.result(SECONDS_MAX).low_watermark, 4, "low watermark")
    equal(read_all(name, 6)[0].offset(), 4, "the first offset")


@feature("admin-offsets")
def admin_offsets():
    name = topic("list-offsets")
    produce_well(name, [{"value": b"v", "timestamp": 1_600_000_000_000 + at} for at in (1, 3, 2)], linger_ms=0)

    def listed(spec):
        ((_, future),) = ADMIN.list_offsets({TopicPartition(name, 0): spec}, isolation_level=IsolationLevel.READ_COMMITTED).items()
        return future.result(SECONDS_MAX).offset

    found = [listed(OffsetSpec.earliest()), listed(OffsetSpec.latest()), listed(OffsetSpec.max_timestamp())]
    equal(found, [0, 3, 1], "earliest, latest, largest timestamp")


@feature("admin-cluster")
def admin_cluster():
    found = ADMIN.describe_cluster().result(SECONDS_MAX)
    check(found.cluster_id and found.controller is not None, f"{found.cluster_id} {found.controller}")
    equal([f"{node.host}:{node.port}" for node in found.nodes], [address()], "nodes")


@feature("admin-elections")
def admin_elections():
    name = topic("elections")
    found = ADMIN.elect_leaders(ElectionType.PREFERRED, [TopicPartition(name, 0)]).result(SECONDS_MAX)
    codes = [error and error.code() for error in found.values()]
    check(codes in ([None], [KafkaError.ELECTION_NOT_NEEDED]), codes)


@feature("admin-acls")
def admin_acls():
    everything = AclBindingFilter(
        ResourceType.ANY, None, ResourcePatternType.ANY, None, None, AclOperation.ANY, AclPermissionType.ANY
    )
    # Kafka answers SECURITY_DISABLED, as there is no authorizer, and librdkafka makes an empty list of it.
    equal(ADMIN.describe_acls(everything).result(SECONDS_MAX), [], "ACLs")


@feature("error-unknown-topic")
def error_unknown_topic():
    name = fresh_name("missing")
    ((error, _),) = produce(name, [{"value": b"v"}], topic_metadata_propagation_max_ms=500)
    check(error and error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC), error)
    reader = consumer()
    reader.subscribe([name])
    message = until(lambda: reader.poll(0.1), "an error")
    equal(message.error() and message.error().code(), KafkaError.UNKNOWN_TOPIC_OR_PART, "error")
    reader.close()


@feature("error-bad-offset")
def error_bad_offset():
    name = topic("bad-offset")
    produce_well(name, [{"value": b"v"}])
    reader = consumer(auto_offset_reset="error")
    reader.assign([TopicPartition(name, 0, 1000)])
    message = until(lambda: reader.poll(0.1), "an error")
    codes = (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE)
    check(message.error() and message.error().code() in codes, message.error() or message.offset())
    reader.close()


main()
