import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import org.apache.kafka.clients.consumer.NoOffsetForPartitionException;
import org.apache.kafka.clients.consumer.OffsetOutOfRangeException;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.record.TimestampType;

/** Producing, and reading without a group. */
final class RecordFeatures {
    private static final long BASE_MS = 1_600_000_000_000L;

    private final Session session;

    RecordFeatures(Session session, Report report) {
        this.session = session;
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            report.feature("codec-" + codec, () -> codec(codec));
        }
        report.feature("headers", this::headers);
        report.feature("keys-and-nulls", this::keysAndNulls);
        report.feature("timestamps", this::timestamps);
        report.feature("size-limit", this::sizeLimit);
        report.feature("size-over", this::sizeOver);
        report.feature("idempotence", this::idempotence);
        report.feature("transactions", this::transactions);
        report.feature("pause", this::pause);
        report.feature("seek", this::seek);
        report.feature("offsets-by-time", this::offsetsByTime);
        report.feature("error-unknown-topic", this::unknownTopic);
        report.feature("error-bad-offset", this::badOffset);
    }

    private List<String> values(String topic, int count, String... config) {
        return session.readAll(topic, count, config).stream().map(record -> Session.text(record.value())).toList();
    }

    private void codec(String codec) throws Exception {
        String topic = session.topic("codec-" + codec, 1);
        List<String> sent = IntStream.range(0, 200).mapToObj(at -> at + " some text that repeats".repeat(20)).toList();
        session.produce(sent.stream().map(value -> Session.record(topic, 0, null, value)).toList(), "compression.type", codec, "linger.ms", "5");
        Report.equal(values(topic, 200), sent, "values");
    }

    private void headers() throws Exception {
        String topic = session.topic("headers", 1);
        var record = Session.record(topic, 0, null, "v");
        record.headers().add("a", Session.bytes("1")).add("a", Session.bytes("2")).add("empty", new byte[0]).add("null", null);
        session.produce(List.of(record, Session.record(topic, 0, null, "v")));
        var read = session.readAll(topic, 2);
        List<String> found = new ArrayList<>();
        for (Header header : read.get(0).headers()) {
            found.add(header.key() + "=" + Session.text(header.value()));
        }
        Report.equal(found, List.of("a=1", "a=2", "empty=", "null=null"), "headers");
        Report.equal(read.get(1).headers().toArray().length, 0, "headers of the other");
    }

    private void keysAndNulls() throws Exception {
        String topic = session.topic("nulls", 1);
        String[][] pairs = {{"k", "v"}, {null, "v"}, {"k", null}, {"", ""}, {null, null}};
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        for (String[] pair : pairs) {
            records.add(new ProducerRecord<>(topic, 0, pair[0] == null ? null : Session.bytes(pair[0]), pair[1] == null ? null : Session.bytes(pair[1])));
        }
        session.produce(records);
        List<String> found = session.readAll(topic, 5).stream()
            .map(record -> Arrays.toString(new String[] {Session.text(record.key()), Session.text(record.value())})).toList();
        Report.equal(found, Arrays.stream(pairs).map(Arrays::toString).toList(), "keys and values");
    }

    private void timestamps() throws Exception {
        String topic = session.topic("create-time", 1);
        session.produce(List.of(Session.record(topic, 0, BASE_MS + 123, "v")));
        var read = session.readAll(topic, 1).get(0);
        Report.equal(read.timestamp(), BASE_MS + 123, "timestamp");
        Report.equal(read.timestampType(), TimestampType.CREATE_TIME, "type");
        topic = session.topic("append-time", 1, "message.timestamp.type", "LogAppendTime");
        var acknowledged = session.produce(List.of(Session.record(topic, 0, BASE_MS, "v"))).get(0);
        read = session.readAll(topic, 1).get(0);
        Report.equal(read.timestampType(), TimestampType.LOG_APPEND_TIME, "type");
        Report.equal(read.timestamp(), acknowledged.timestamp(), "timestamp");
        Report.check(Math.abs(read.timestamp() - System.currentTimeMillis()) < 60_000, read.timestamp() + " is not now");
    }

    // A batch of one record with a value of 1000 bytes, neither key nor headers, has 1070 bytes.
    private void sizeLimit() throws Exception {
        String topic = session.topic("limit", 1, "max.message.bytes", "1070");
        Report.equal(session.produce(List.of(Session.record(topic, 0, null, "x".repeat(1000)))).get(0).offset(), 0L, "offset");
    }

    private void sizeOver() throws Exception {
        String topic = session.topic("over", 1, "max.message.bytes", "1070");
        Report.raises(RecordTooLargeException.class, () -> session.produce(List.of(Session.record(topic, 0, null, "x".repeat(1001)))));
        try (var reader = session.consumer(session.freshName("group"))) {
            Report.equal(reader.endOffsets(List.of(new TopicPartition(topic, 0))).values().iterator().next(), 0L, "end");
        }
    }

    private void idempotence() throws Exception {
        String topic = session.topic("idempotence", 1);
        var records = IntStream.range(0, 500).mapToObj(at -> Session.record(topic, 0, null, Integer.toString(at))).toList();
        var sent = session.produce(records, "enable.idempotence", "true");
        Report.equal(sent.stream().map(each -> each.offset()).toList(), LongStream.range(0, 500).boxed().toList(), "offsets");
        Report.equal(values(topic, 500), IntStream.range(0, 500).mapToObj(Integer::toString).toList(), "values");
    }

    private void transactions() throws Exception {
        String topic = session.topic("transactions", 1);
        try (var producer = session.producer("transactional.id", session.freshName("id"))) {
            producer.initTransactions();
            producer.beginTransaction();
            producer.send(Session.record(topic, 0, null, "committed"));
            producer.commitTransaction();
            producer.beginTransaction();
            producer.send(Session.record(topic, 0, null, "aborted"));
            producer.flush();
            producer.abortTransaction();
        }
        session.produce(List.of(Session.record(topic, 0, null, "after")));
        Report.equal(values(topic, 2, "isolation.level", "read_committed"), List.of("committed", "after"), "committed values");
        Report.equal(values(topic, 3), List.of("committed", "aborted", "after"), "all values");
    }

    private void pause() throws Exception {
        String topic = session.topic("pause", 2);
        var quiet = List.of(new TopicPartition(topic, 0));
        try (var reader = session.consumer(session.freshName("group"))) {
            reader.assign(List.of(new TopicPartition(topic, 0), new TopicPartition(topic, 1)));
            reader.pause(quiet);
            session.fill(topic, 20, 2);
            Report.check(Session.take(reader, 10).stream().allMatch(record -> record.partition() == 1), "the paused was read");
            Report.equal(Session.take(reader, 1, 0.5).size(), 0, "of the paused");
            reader.resume(quiet);
            Report.check(Session.take(reader, 10).stream().allMatch(record -> record.partition() == 0), "the other again");
        }
    }

    private void seek() throws Exception {
        String topic = session.topic("seek", 1);
        session.fill(topic, 50, 1);
        var partition = new TopicPartition(topic, 0);
        try (var reader = session.consumer(session.freshName("group"))) {
            reader.assign(List.of(partition));
            Session.take(reader, 50);
            for (long offset : new long[] {10, 49, 0}) {
                reader.seek(partition, offset);
                Report.equal(Session.take(reader, 1, Session.SECONDS_MAX).get(0).offset(), offset, "offset");
            }
        }
    }

    private void offsetsByTime() throws Exception {
        String topic = session.topic("times", 1);
        session.produce(IntStream.range(0, 10).mapToObj(at -> Session.record(topic, 0, BASE_MS + 1000 * at, "v")).toList());
        var partition = new TopicPartition(topic, 0);
        Map<Long, Long> expected = new HashMap<>(Map.of(5500L, 6L, 5000L, 5L, -1L, 0L));
        expected.put(9001L, null);
        try (var reader = session.consumer(session.freshName("group"))) {
            for (var each : expected.entrySet()) {
                var found = reader.offsetsForTimes(Map.of(partition, BASE_MS + each.getKey())).get(partition);
                Report.equal(String.valueOf(found == null ? null : found.offset()), String.valueOf(each.getValue()), "offset at " + each.getKey());
            }
        }
    }

    private void unknownTopic() throws Exception {
        String topic = session.freshName("missing");
        Report.raises(UnknownTopicOrPartitionException.class, () -> session.admin.describeTopics(List.of(topic)).allTopicNames().get());
        // The producer waits for a topic to appear, and tells why it has stopped to.
        Report.raises(TimeoutException.class, () -> session.produce(List.of(Session.record(topic, null, null, "v")), "max.block.ms", "1000"));
    }

    private void badOffset() throws Exception {
        String topic = session.topic("bad-offset", 1);
        session.fill(topic, 1, 1);
        var partition = new TopicPartition(topic, 0);
        try (var reader = session.consumer(session.freshName("group"), "auto.offset.reset", "none")) {
            reader.assign(List.of(partition));
            Report.raises(NoOffsetForPartitionException.class, () -> Session.take(reader, 1));
            reader.seek(partition, 1000);
            Report.raises(OffsetOutOfRangeException.class, () -> Session.take(reader, 1));
        }
    }
}
