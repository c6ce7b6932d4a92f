import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.FencedInstanceIdException;

/** Consumer groups. */
final class GroupFeatures {
    private final Session session;

    GroupFeatures(Session session, Report report) {
        this.session = session;
        report.feature("group", () -> readInTurns(session.topic("group", 2)));
        report.feature("rebalance", () -> share(session.topic("rebalance", 4), "partition.assignment.strategy", "org.apache.kafka.clients.consumer.RangeAssignor"));
        report.feature("cooperative", () -> share(session.topic("cooperative", 4), "partition.assignment.strategy", "org.apache.kafka.clients.consumer.CooperativeStickyAssignor"));
        report.feature("static-member", this::staticMember);
        report.feature("fenced", this::fenced);
        report.feature("consumer-protocol", () -> {
            readInTurns(session.topic("next", 2), "group.protocol", "consumer");
            share(session.topic("next-shared", 4), "group.protocol", "consumer");
        });
        report.feature("lag", this::lag);
    }

    private KafkaConsumer<byte[], byte[]> subscribed(String topic, String group, String... config) {
        List<String> all = new ArrayList<>(List.of(config));
        // With the new protocol the broker says these.
        if (!all.contains("consumer")) {
            all.addAll(List.of("session.timeout.ms", "6000", "heartbeat.interval.ms", "500"));
        }
        var reader = session.consumer(group, all.toArray(String[]::new));
        reader.subscribe(List.of(topic));
        return reader;
    }

    /** A member reads and commits; another goes on. */
    private void readInTurns(String topic, String... config) throws Exception {
        String group = session.freshName("group");
        session.fill(topic, 100, 2);
        try (var first = subscribed(topic, group, config)) {
            Set<String> values = Session.take(first, 100).stream().map(record -> Session.text(record.value())).collect(Collectors.toSet());
            Report.equal(values.size(), 100, "different records");
            first.commitSync();
        }
        session.produce(List.of(Session.record(topic, 1, null, "later")));
        try (var second = subscribed(topic, group, config)) {
            Report.equal(Session.text(Session.take(second, 1).get(0).value()), "later", "after the commit");
            Report.equal(Session.take(second, 1, 0.5).size(), 0, "more than there is");
            var partitions = Set.of(new TopicPartition(topic, 0), new TopicPartition(topic, 1));
            Report.equal(second.committed(partitions).values().stream().map(OffsetAndMetadata::offset).toList(), List.of(50L, 50L), "committed");
        }
    }

    /** Polls all until each has so many partitions. */
    private void sizesBecome(List<KafkaConsumer<byte[], byte[]>> readers, Integer... sizes) throws Exception {
        Report.until(() -> {
            readers.forEach(reader -> reader.poll(Duration.ofMillis(50)));
            return readers.stream().map(reader -> reader.assignment().size()).toList().equals(List.of(sizes));
        }, Arrays.toString(sizes) + " partitions");
    }

    private void share(String topic, String... config) throws Exception {
        String group = session.freshName("group");
        try (var first = subscribed(topic, group, config)) {
            sizesBecome(List.of(first), 4);
            try (var second = subscribed(topic, group, config)) {
                sizesBecome(List.of(first, second), 2, 2);
                Set<TopicPartition> held = new HashSet<>(first.assignment());
                held.addAll(second.assignment());
                Report.equal(held.size(), 4, "different partitions");
            }
            sizesBecome(List.of(first), 4);
        }
    }

    private void staticMember() throws Exception {
        String topic = session.topic("static", 4);
        String group = session.freshName("group");
        try (var first = subscribed(topic, group, "group.instance.id", "one")) {
            Set<TopicPartition> held;
            try (var second = subscribed(topic, group, "group.instance.id", "two")) {
                sizesBecome(List.of(first, second), 2, 2);
                held = second.assignment();
            }
            first.poll(Duration.ofMillis(50));
            Report.equal(first.assignment().size(), 2, "partitions while the other is away");
            try (var again = subscribed(topic, group, "group.instance.id", "two")) {
                sizesBecome(List.of(first, again), 2, 2);
                Report.equal(again.assignment(), held, "partitions of the returned");
                var members = session.admin.describeConsumerGroups(List.of(group)).all().get().get(group).members();
                Report.equal(Report.sorted(members.stream().map(member -> member.groupInstanceId().orElse("none"))), List.of("one", "two"), "static members");
            }
        }
    }

    private void fenced() throws Exception {
        String topic = session.topic("fenced", 1);
        String group = session.freshName("group");
        var first = subscribed(topic, group, "group.instance.id", "one");
        sizesBecome(List.of(first), 1);
        try (var second = subscribed(topic, group, "group.instance.id", "one")) {
            sizesBecome(List.of(second), 1);
            Report.raises(FencedInstanceIdException.class, () -> Session.take(first, 1));
        }
        first.close(Duration.ZERO);
    }

    private void lag() throws Exception {
        String topic = session.topic("lag", 1);
        session.fill(topic, 10, 1);
        var partition = new TopicPartition(topic, 0);
        try (var reader = session.consumer(session.freshName("group"))) {
            reader.assign(List.of(partition));
            reader.commitSync(Map.of(partition, new OffsetAndMetadata(4)));
            long committed = reader.committed(Set.of(partition)).get(partition).offset();
            Report.equal(reader.endOffsets(List.of(partition)).get(partition) - committed, 6L, "lag");
            Session.take(reader, 6);
            Report.equal(reader.currentLag(partition).orElse(-1), 0L, "the consumer's own lag");
        }
    }
}
