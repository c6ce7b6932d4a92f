import java.time.Duration;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitionReassignment;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.acl.AclBindingFilter;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.ElectionNotNeededException;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.GroupNotEmptyException;
import org.apache.kafka.common.errors.InvalidPartitionsException;
import org.apache.kafka.common.errors.SecurityDisabledException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.quota.ClientQuotaFilter;

/** The admin client. */
final class AdminFeatures {
    private final Session session;
    private final Admin admin;

    AdminFeatures(Session session, Report report) {
        this.session = session;
        this.admin = session.admin;
        report.feature("admin-topics", this::topics);
        report.feature("admin-partitions", this::partitions);
        report.feature("admin-configs", this::configs);
        report.feature("admin-groups", this::groups);
        report.feature("admin-group-offsets", this::groupOffsets);
        report.feature("admin-delete-records", this::deleteRecords);
        report.feature("admin-offsets", this::offsets);
        report.feature("admin-cluster", this::cluster);
        report.feature("admin-log-dirs", this::logDirs);
        report.feature("admin-producers", this::producers);
        report.feature("admin-elections", this::elections);
        report.feature("admin-reassignments", this::reassignments);
        report.feature("admin-quorum", () -> Report.check(admin.describeMetadataQuorum().quorumInfo().get().leaderId() >= 0, "no leader"));
        report.feature("admin-features", () -> Report.check(admin.describeFeatures().featureMetadata().get().finalizedFeatures().containsKey("metadata.version"), "no metadata.version"));
        report.feature("admin-acls", () -> Report.raises(SecurityDisabledException.class, () -> admin.describeAcls(AclBindingFilter.ANY).values().get()));
        report.feature("admin-quotas", () -> Report.equal(admin.describeClientQuotas(ClientQuotaFilter.all()).entities().get(), Map.of(), "quotas"));
        report.feature("admin-config-resources", this::configResources);
        report.feature("admin-transactions", () -> admin.listTransactions().all().get());
    }

    private void topics() throws Exception {
        String topic = session.topic("admin", 3);
        Report.check(admin.listTopics().names().get().contains(topic), "not listed");
        var found = admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic);
        Report.equal(found.partitions().stream().map(each -> each.partition()).toList(), List.of(0, 1, 2), "partitions");
        Report.check(found.partitions().stream().allMatch(each -> each.leader() != null && each.isr().size() == 1), found);
        Report.raises(TopicExistsException.class, () -> admin.createTopics(List.of(new NewTopic(topic, 3, (short) 1))).all().get());
        admin.deleteTopics(List.of(topic)).all().get();
        Report.until(() -> !names().contains(topic), "the topic gone");
    }

    private Set<String> names() {
        try {
            return admin.listTopics().names().get();
        } catch (InterruptedException | ExecutionException error) {
            throw new AssertionError(error);
        }
    }

    private void partitions() throws Exception {
        String topic = session.topic("partitions", 1);
        admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(3))).all().get();
        Report.equal(admin.describeTopics(List.of(topic)).allTopicNames().get().get(topic).partitions().size(), 3, "partitions");
        Report.raises(InvalidPartitionsException.class, () -> admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(2))).all().get());
    }

    private String config(ConfigResource of, String key) throws Exception {
        return admin.describeConfigs(List.of(of)).all().get().get(of).get(key).value();
    }

    private void configs() throws Exception {
        var topic = new ConfigResource(ConfigResource.Type.TOPIC, session.topic("configs", 1, "retention.ms", "1234567"));
        Report.equal(config(topic, "retention.ms"), "1234567", "retention.ms");
        admin.incrementalAlterConfigs(Map.of(topic, List.of(
            new AlterConfigOp(new ConfigEntry("max.message.bytes", "2000000"), AlterConfigOp.OpType.SET),
            new AlterConfigOp(new ConfigEntry("cleanup.policy", "compact"), AlterConfigOp.OpType.APPEND),
            new AlterConfigOp(new ConfigEntry("retention.ms", null), AlterConfigOp.OpType.DELETE)))).all().get();
        Report.equal(config(topic, "max.message.bytes"), "2000000", "max.message.bytes");
        Report.equal(config(topic, "cleanup.policy"), "delete,compact", "cleanup.policy");
        Report.equal(config(topic, "retention.ms"), "604800000", "retention.ms");
        String node = admin.describeCluster().nodes().get().iterator().next().idString();
        Report.equal(config(new ConfigResource(ConfigResource.Type.BROKER, node), "auto.create.topics.enable"), "false", "of the broker");
    }

    private void groups() throws Exception {
        String topic = session.topic("groups", 1);
        String group = session.freshName("group");
        try (var reader = session.consumer(group)) {
            reader.subscribe(List.of(topic));
            Report.until(() -> {
                reader.poll(Duration.ofMillis(50));
                return reader.assignment().size() == 1;
            }, "an assignment");
            Report.check(admin.listConsumerGroups().all().get().stream().anyMatch(each -> each.groupId().equals(group)), "not listed");
            var found = admin.describeConsumerGroups(List.of(group)).all().get().get(group);
            Report.equal(found.state().toString(), "Stable", "state");
            Report.equal(found.members().iterator().next().assignment().topicPartitions(), Set.of(new TopicPartition(topic, 0)), "assignment");
            Report.raises(GroupNotEmptyException.class, () -> admin.deleteConsumerGroups(List.of(group)).all().get());
            reader.commitSync(Map.of(new TopicPartition(topic, 0), new OffsetAndMetadata(0)));
        }
        admin.deleteConsumerGroups(List.of(group)).all().get();
        Report.raises(GroupIdNotFoundException.class, () -> admin.deleteConsumerGroups(List.of(group)).all().get());
    }

    private void groupOffsets() throws Exception {
        String topic = session.topic("offsets", 2);
        String group = session.freshName("group");
        session.fill(topic, 20, 2);
        var first = new TopicPartition(topic, 0);
        var second = new TopicPartition(topic, 1);
        admin.alterConsumerGroupOffsets(group, Map.of(first, new OffsetAndMetadata(7, Optional.empty(), "why"), second, new OffsetAndMetadata(3))).all().get();
        var found = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
        Report.equal(found.get(first).offset() + found.get(first).metadata(), "7why", "offset and metadata");
        admin.deleteConsumerGroupOffsets(group, Set.of(second)).all().get();
        Report.equal(admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get().keySet(), Set.of(first), "what is left");
    }

    private void deleteRecords() throws Exception {
        String topic = session.topic("delete-records", 1);
        session.fill(topic, 10, 1);
        var partition = new TopicPartition(topic, 0);
        var deleted = admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(4))).lowWatermarks().get(partition).get();
        Report.equal(deleted.lowWatermark(), 4L, "low watermark");
        Report.equal(session.readAll(topic, 6).get(0).offset(), 4L, "the first offset");
    }

    private void offsets() throws Exception {
        String topic = session.topic("list-offsets", 1);
        for (long at : new long[] {1, 3, 2}) {
            session.produce(List.of(Session.record(topic, 0, 1_600_000_000_000L + at, "v")));
        }
        var partition = new TopicPartition(topic, 0);
        for (var each : Map.of(OffsetSpec.earliest(), 0L, OffsetSpec.latest(), 3L, OffsetSpec.maxTimestamp(), 1L).entrySet()) {
            long found = admin.listOffsets(Map.of(partition, each.getKey())).partitionResult(partition).get().offset();
            Report.equal(found, each.getValue(), each.getKey().getClass().getSimpleName());
        }
    }

    private void cluster() throws Exception {
        var found = admin.describeCluster();
        Report.check(!found.clusterId().get().isEmpty() && found.controller().get() != null, "no id or controller");
        Report.equal(found.nodes().get().stream().map(node -> node.host() + ":" + node.port()).toList(), List.of(session.address), "nodes");
    }

    private void logDirs() throws Exception {
        String topic = session.topic("log-dirs", 1);
        session.fill(topic, 10, 1);
        int node = admin.describeCluster().nodes().get().iterator().next().id();
        var replicas = new HashSet<TopicPartition>();
        admin.describeLogDirs(List.of(node)).allDescriptions().get().get(node).values().forEach(each -> replicas.addAll(each.replicaInfos().keySet()));
        Report.check(replicas.contains(new TopicPartition(topic, 0)), "the partition is in no directory");
    }

    private void producers() throws Exception {
        String topic = session.topic("producers", 1);
        session.fill(topic, 10, 1);
        var partition = new TopicPartition(topic, 0);
        var found = admin.describeProducers(List.of(partition)).partitionResult(partition).get().activeProducers();
        Report.equal(found.stream().map(each -> each.lastSequence()).toList(), List.of(9), "last sequences");
    }

    private void elections() throws Exception {
        var partition = new TopicPartition(session.topic("elections", 1), 0);
        var found = admin.electLeaders(ElectionType.PREFERRED, Set.of(partition)).partitions().get().get(partition);
        Report.check(found.isEmpty() || found.get() instanceof ElectionNotNeededException, found);
    }

    private void reassignments() throws Exception {
        String topic = session.topic("reassignments", 1);
        int node = admin.describeCluster().nodes().get().iterator().next().id();
        var partition = new TopicPartition(topic, 0);
        Report.equal(admin.listPartitionReassignments(Set.of(partition)).reassignments().get(), Map.of(), "reassignments");
        admin.alterPartitionReassignments(Map.of(partition, Optional.of(new NewPartitionReassignment(List.of(node))))).all().get();
    }

    private void configResources() throws Exception {
        String topic = session.topic("config-resources", 1);
        var found = admin.listConfigResources(Set.of(ConfigResource.Type.TOPIC), new org.apache.kafka.clients.admin.ListConfigResourcesOptions()).all().get();
        Report.check(found.contains(new ConfigResource(ConfigResource.Type.TOPIC, topic)), "the topic is not listed");
    }
}
