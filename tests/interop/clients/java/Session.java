import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.HashMap;
import java.util.Optional;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** The broker that the features talk to, and what they do there again and again. */
final class Session implements AutoCloseable {
    static final int SECONDS_MAX = 20;

    final String address;
    final Admin admin;
    private int names;

    Session(String address) {
        this.address = address;
        this.admin = Admin.create(Map.of("bootstrap.servers", address, "request.timeout.ms", "10000", "default.api.timeout.ms", "20000"));
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static String text(byte[] bytes) {
        return bytes == null ? null : new String(bytes, StandardCharsets.UTF_8);
    }

    /** A name that no other client and no other run on this broker has. */
    String freshName(String what) {
        names += 1;
        return System.getenv().getOrDefault("INTEROP_CLIENT", "java") + "-" + what + "-" + names;
    }

    private static Map<String, String> pairs(String... config) {
        Map<String, String> pairs = new HashMap<>();
        for (int at = 0; at < config.length; at += 2) {
            pairs.put(config[at], config[at + 1]);
        }
        return pairs;
    }

    String topic(String what, int partitions, String... config) throws Exception {
        String name = freshName(what);
        Map<String, String> configs = pairs(config);
        NewTopic topic = new NewTopic(name, Optional.of(partitions), Optional.of((short) 1)).configs(configs);
        admin.createTopics(List.of(topic)).all().get(SECONDS_MAX, TimeUnit.SECONDS);
        return name;
    }

    KafkaProducer<byte[], byte[]> producer(String... config) {
        Map<String, Object> configs = new HashMap<>(Map.of(
            "bootstrap.servers", address, "delivery.timeout.ms", "20000", "request.timeout.ms", "10000",
            "max.block.ms", "20000"));
        configs.putAll(pairs(config));
        return new KafkaProducer<>(configs, new ByteArraySerializer(), new ByteArraySerializer());
    }

    /** Sends all, and waits for their acknowledgements. */
    List<RecordMetadata> produce(List<ProducerRecord<byte[], byte[]>> records, String... config) throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        List<RecordMetadata> acknowledged = new ArrayList<>();
        try (var producer = producer(config)) {
            records.forEach(record -> sent.add(producer.send(record)));
            producer.flush();
            for (var each : sent) {
                acknowledged.add(each.get(SECONDS_MAX, TimeUnit.SECONDS));
            }
        }
        return acknowledged;
    }

    static ProducerRecord<byte[], byte[]> record(String topic, Integer partition, Long at, String value) {
        return new ProducerRecord<>(topic, partition, at, null, bytes(value));
    }

    /** `count` records whose values are their numbers, spread over the partitions. */
    void fill(String topic, int count, int partitions) throws Exception {
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        for (int index = 0; index < count; index++) {
            records.add(record(topic, index % partitions, null, Integer.toString(index)));
        }
        produce(records);
    }

    KafkaConsumer<byte[], byte[]> consumer(String group, String... config) {
        Map<String, Object> configs = new HashMap<>(Map.of(
            "bootstrap.servers", address, "auto.offset.reset", "earliest", "enable.auto.commit", "false",
            "fetch.max.wait.ms", "50", "request.timeout.ms", "10000", "default.api.timeout.ms", "20000", "group.id", group));
        configs.putAll(pairs(config));
        return new KafkaConsumer<>(configs, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    /** Exactly `count` records, or as many as come in the time. */
    static List<ConsumerRecord<byte[], byte[]>> take(KafkaConsumer<byte[], byte[]> reader, int count, double seconds) {
        List<ConsumerRecord<byte[], byte[]>> taken = new ArrayList<>();
        long end = System.nanoTime() + (long) (seconds * 1e9);
        while (taken.size() < count && System.nanoTime() < end) {
            reader.poll(Duration.ofMillis(100)).forEach(taken::add);
        }
        return taken;
    }

    static List<ConsumerRecord<byte[], byte[]>> take(KafkaConsumer<byte[], byte[]> reader, int count) {
        List<ConsumerRecord<byte[], byte[]>> taken = take(reader, count, SECONDS_MAX);
        Report.equal(taken.size(), count, "records read");
        return taken;
    }

    /** The first records of partition 0. */
    List<ConsumerRecord<byte[], byte[]>> readAll(String topic, int count, String... config) {
        try (var reader = consumer(freshName("group"), config)) {
            var partition = List.of(new TopicPartition(topic, 0));
            reader.assign(partition);
            reader.seekToBeginning(partition);
            return take(reader, count);
        }
    }

    @Override
    public void close() {
        admin.close(Duration.ofSeconds(1));
    }
}
