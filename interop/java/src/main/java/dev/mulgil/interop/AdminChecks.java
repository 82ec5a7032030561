package dev.mulgil.interop;

import static dev.mulgil.interop.Suite.bytes;
import static dev.mulgil.interop.Suite.ensure;
import static dev.mulgil.interop.Suite.equal;
import static dev.mulgil.interop.Suite.failure;
import static dev.mulgil.interop.Suite.until;

import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.AlterConfigOp.OpType;
import org.apache.kafka.clients.admin.AlterConfigsOptions;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.ConfigEntry.ConfigSource;
import org.apache.kafka.clients.admin.DescribeConfigsOptions;
import org.apache.kafka.clients.admin.NewPartitionReassignment;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.InvalidRecordException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.ElectionNotNeededException;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.GroupSubscribedToTopicException;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidPartitionsException;
import org.apache.kafka.common.errors.InvalidReplicaAssignmentException;
import org.apache.kafka.common.errors.InvalidRequestException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.quota.ClientQuotaAlteration;
import org.apache.kafka.common.quota.ClientQuotaEntity;
import org.apache.kafka.common.quota.ClientQuotaFilter;
import org.apache.kafka.common.quota.ClientQuotaFilterComponent;

/** What operators and their consoles do: settings, partitions, quotas, and where things lie. */
final class AdminChecks {
    private AdminChecks() {}

    static void register(Suite suite) {
        suite.add("describe-configs", () -> describeConfigs(suite));
        suite.add("incremental-alter-configs", () -> incrementalAlterConfigs(suite));
        suite.add("refused-configs", () -> refusedConfigs(suite));
        suite.add("broker-configs", () -> brokerConfigs(suite));
        suite.add("create-partitions", () -> createPartitions(suite));
        suite.add("describe-topic-partitions", () -> describeTopicPartitions(suite));
        suite.add("log-dirs-and-producers", () -> logDirsAndProducers(suite));
        suite.add("elections-and-reassignments", () -> electionsAndReassignments(suite));
        suite.add("client-quotas", () -> clientQuotas(suite));
        suite.add("client-quotas-of-user-and-client", () -> quotasOfBoth(suite));
        suite.add("throttled-producer", () -> throttledProducer(suite));
        suite.add("delete-group-offsets", () -> deleteGroupOffsets(suite));
        suite.add("compression-type", () -> compressionType(suite));
        suite.add("compacted-topic-without-key", () -> compactedTopicWithoutKey(suite));
    }

    private static ConfigResource topic(String name) {
        return new ConfigResource(ConfigResource.Type.TOPIC, name);
    }

    private static ConfigResource broker(Admin admin) throws Exception {
        int id = admin.describeCluster().nodes().get().iterator().next().id();
        return new ConfigResource(ConfigResource.Type.BROKER, Integer.toString(id));
    }

    private static Config describe(Admin admin, ConfigResource resource) throws Exception {
        DescribeConfigsOptions all =
                new DescribeConfigsOptions().includeSynonyms(true).includeDocumentation(true);
        return admin.describeConfigs(Set.of(resource), all).all().get().get(resource);
    }

    private static Map<ConfigResource, Collection<AlterConfigOp>> edit(
            ConfigResource resource, String name, String value, OpType operation) {
        return Map.of(resource, List.of(new AlterConfigOp(new ConfigEntry(name, value), operation)));
    }

    /** Changes a setting and waits until it shows: another broker may show it a moment later. */
    private static ConfigEntry set(
            Admin admin, ConfigResource resource, String name, String value, OpType operation, String then)
            throws Exception {
        admin.incrementalAlterConfigs(edit(resource, name, value, operation)).all().get();
        ConfigEntry[] found = new ConfigEntry[1];
        until(name + " is " + then, () -> {
            try {
                found[0] = describe(admin, resource).get(name);
            } catch (Exception e) {
                throw new AssertionError(e);
            }
            return then == null ? found[0] == null : found[0] != null && then.equals(found[0].value());
        });
        return found[0];
    }

    private static void describeConfigs(Suite suite) throws Exception {
        String name = suite.topic("describe");
        try (Admin admin = suite.admin()) {
            NewTopic topic = new NewTopic(name, 1, (short) 1)
                    .configs(Map.of("retention.ms", "86400000", "segment.bytes", "2097152"));
            admin.createTopics(List.of(topic)).all().get();
            Config config = describe(admin, topic(name));
            ConfigEntry set = config.get("retention.ms");
            equal("86400000", set.value(), "retention.ms");
            equal(ConfigSource.DYNAMIC_TOPIC_CONFIG, set.source(), "source of what was set");
            equal("retention.ms", set.synonyms().get(0).name(), "first synonym");
            equal(ConfigEntry.ConfigType.LONG, set.type(), "type");
            ensure(!set.documentation().isEmpty(), "documentation");
            ConfigEntry held = config.get("max.message.bytes");
            equal("1048588", held.value(), "max.message.bytes");
            equal(ConfigSource.DEFAULT_CONFIG, held.source(), "source of a default");
            equal("message.max.bytes", held.synonyms().get(0).name(), "the broker's name for it");
            equal(ConfigSource.DEFAULT_CONFIG, held.synonyms().get(0).source(), "source of a synonym");
            for (ConfigEntry entry : config.entries()) {
                ensure(entry.documentation() != null && !entry.documentation().isEmpty(), entry.name() + " is documented");
            }
            Config plain = admin.describeConfigs(Set.of(topic(name))).all().get().get(topic(name));
            equal(List.of(), plain.get("retention.ms").synonyms(), "synonyms that nobody asked for");
            equal(null, plain.get("retention.ms").documentation(), "documentation that nobody asked for");
            equal("2097152", config.get("segment.bytes").value(), "segment.bytes");
            equal(ConfigEntry.ConfigType.LIST, config.get("cleanup.policy").type(), "type of a list");
            Throwable why = failure(admin.describeConfigs(Set.of(topic(suite.topic("none")))).all());
            ensure(why instanceof UnknownTopicOrPartitionException, "no such topic: " + why);
        }
    }

    private static void incrementalAlterConfigs(Suite suite) throws Exception {
        String name = suite.create("alter", 1);
        try (Admin admin = suite.admin()) {
            ConfigResource topic = topic(name);
            ConfigEntry before = describe(admin, topic).get("retention.ms");
            set(admin, topic, "retention.ms", "5000000", OpType.SET, "5000000");
            set(admin, topic, "cleanup.policy", "compact", OpType.SET, "compact");
            set(admin, topic, "cleanup.policy", "delete", OpType.APPEND, "compact,delete");
            set(admin, topic, "cleanup.policy", "compact", OpType.SUBTRACT, "delete");
            ConfigEntry back = set(admin, topic, "retention.ms", null, OpType.DELETE, before.value());
            equal(before.source(), back.source(), "source of what nobody sets");
            AlterConfigsOptions only = new AlterConfigsOptions().validateOnly(true);
            admin.incrementalAlterConfigs(edit(topic, "retention.ms", "7", OpType.SET), only).all().get();
            equal(before.value(), describe(admin, topic).get("retention.ms").value(), "after a dry run");
        }
    }

    private static void refusedConfigs(Suite suite) throws Exception {
        String name = suite.create("refused", 1);
        try (Admin admin = suite.admin()) {
            for (List<String> bad : List.of(
                    List.of("no.such.setting", "1"),
                    List.of("retention.ms", "soon"),
                    List.of("retention.ms", "-2"),
                    List.of("cleanup.policy", "shred"),
                    List.of("compression.type", "none"),
                    List.of("remote.storage.enable", "true"))) {
                Throwable why = failure(admin.incrementalAlterConfigs(
                                edit(topic(name), bad.get(0), bad.get(1), OpType.SET))
                        .all());
                ensure(why instanceof InvalidConfigurationException, bad + ": " + why);
                NewTopic topic = new NewTopic(suite.topic("refused-new"), 1, (short) 1)
                        .configs(Map.of(bad.get(0), bad.get(1)));
                why = failure(admin.createTopics(List.of(topic)).all());
                ensure(why instanceof InvalidConfigurationException, bad + " of a new topic: " + why);
            }
            Throwable why = failure(admin.incrementalAlterConfigs(
                            edit(topic(name), "retention.ms", "1", OpType.APPEND))
                    .all());
            ensure(why instanceof InvalidConfigurationException, "appending to a number: " + why);
        }
    }

    private static void brokerConfigs(Suite suite) throws Exception {
        String name = suite.create("broker-configs", 1);
        try (Admin admin = suite.admin()) {
            ConfigResource all = new ConfigResource(ConfigResource.Type.BROKER, "");
            String setting = "log.cleaner.delete.retention.ms";
            set(admin, all, setting, "77000000", OpType.SET, "77000000");
            until("the topic follows", () -> {
                try {
                    ConfigEntry entry = describe(admin, topic(name)).get("delete.retention.ms");
                    return entry.value().equals("77000000")
                            && entry.source() == ConfigSource.DYNAMIC_DEFAULT_BROKER_CONFIG;
                } catch (Exception e) {
                    throw new AssertionError(e);
                }
            });
            set(admin, all, setting, null, OpType.DELETE, null);
            ConfigEntry fixed = describe(admin, broker(admin)).get("num.partitions");
            ensure(fixed.isReadOnly(), "num.partitions is read-only");
            Throwable why = failure(
                    admin.incrementalAlterConfigs(edit(broker(admin), "num.partitions", "2", OpType.SET))
                            .all());
            ensure(why instanceof InvalidRequestException, "a fixed setting: " + why);
        }
    }

    private static void createPartitions(Suite suite) throws Exception {
        String name = suite.create("grow", 1);
        try (Admin admin = suite.admin()) {
            admin.createPartitions(Map.of(name, NewPartitions.increaseTo(3))).all().get();
            until("three partitions", () -> {
                try {
                    return admin.describeTopics(List.of(name)).allTopicNames().get().get(name)
                                    .partitions().size()
                            == 3;
                } catch (Exception e) {
                    throw new AssertionError(e);
                }
            });
            for (int count : List.of(3, 2)) {
                Throwable why =
                        failure(admin.createPartitions(Map.of(name, NewPartitions.increaseTo(count))).all());
                ensure(why instanceof InvalidPartitionsException, count + " partitions: " + why);
            }
            Throwable why = failure(
                    admin.createPartitions(Map.of(suite.topic("none"), NewPartitions.increaseTo(2))).all());
            ensure(why instanceof UnknownTopicOrPartitionException, "no such topic: " + why);
            NewPartitions strange = NewPartitions.increaseTo(4, List.of(List.of(9)));
            why = failure(admin.createPartitions(Map.of(name, strange)).all());
            ensure(why instanceof InvalidReplicaAssignmentException, "no such broker: " + why);
        }
        try (KafkaProducer<byte[], byte[]> producer = suite.producer()) {
            equal(2, producer.send(new ProducerRecord<>(name, 2, null, bytes("v"))).get().partition(), "partition");
        }
        equal(1, suite.readAll(name, 3, 1).size(), "read from what was added");
    }

    private static void describeTopicPartitions(Suite suite) throws Exception {
        String name = suite.create("pages", 5);
        try (Admin admin = suite.admin()) {
            org.apache.kafka.clients.admin.DescribeTopicsOptions small =
                    new org.apache.kafka.clients.admin.DescribeTopicsOptions().partitionSizeLimitPerResponse(2);
            TopicDescription topic =
                    admin.describeTopics(List.of(name), small).allTopicNames().get().get(name);
            equal(5, topic.partitions().size(), "partitions over three pages");
            equal(1, topic.partitions().get(4).isr().size(), "replicas in sync");
        }
    }

    private static void logDirsAndProducers(Suite suite) throws Exception {
        String name = suite.create("sizes", 1);
        TopicPartition partition = new TopicPartition(name, 0);
        try (KafkaProducer<byte[], byte[]> producer = suite.producer();
                Admin admin = suite.admin()) {
            producer.send(new ProducerRecord<>(name, new byte[10_000])).get();
            int id = admin.describeCluster().nodes().get().iterator().next().id();
            until("the size shows", () -> {
                try {
                    return admin.describeLogDirs(Set.of(id)).allDescriptions().get().get(id).values().stream()
                            .filter(dir -> dir.replicaInfos().containsKey(partition))
                            .anyMatch(dir -> dir.replicaInfos().get(partition).size() >= 10_000
                                    && dir.totalBytes().orElse(0) > 0);
                } catch (Exception e) {
                    throw new AssertionError(e);
                }
            });
            var states = admin.describeProducers(Set.of(partition)).partitionResult(partition).get();
            equal(1, states.activeProducers().size(), "producers");
            equal(0, states.activeProducers().get(0).lastSequence(), "last sequence");
            long first = states.activeProducers().get(0).producerId();
            long now = System.currentTimeMillis();
            try (KafkaProducer<byte[], byte[]> second = suite.producer()) {
                for (int i = 0; i < 3; i++) {
                    second.send(new ProducerRecord<>(name, 0, now, null, bytes("v"))).get();
                }
            }
            states = admin.describeProducers(Set.of(partition)).partitionResult(partition).get();
            equal(2, states.activeProducers().size(), "producers after the second");
            var newer = states.activeProducers().stream().filter(p -> p.producerId() != first).findFirst().get();
            equal(2, newer.lastSequence(), "last sequence of the second");
            ensure(newer.lastTimestamp() >= now, "last time of the second: " + newer.lastTimestamp());
            ensure(newer.currentTransactionStartOffset().isEmpty(), "a transaction that nobody began");
        }
    }

    private static void electionsAndReassignments(Suite suite) throws Exception {
        String name = suite.create("elect", 1);
        TopicPartition partition = new TopicPartition(name, 0);
        try (Admin admin = suite.admin()) {
            Optional<Throwable> why = admin.electLeaders(ElectionType.PREFERRED, Set.of(partition))
                    .partitions()
                    .get()
                    .get(partition);
            ensure(why.orElse(null) instanceof ElectionNotNeededException, "an election: " + why);
            int id = admin.describeCluster().nodes().get().iterator().next().id();
            admin.alterPartitionReassignments(
                            Map.of(partition, Optional.of(new NewPartitionReassignment(List.of(id)))))
                    .all()
                    .get();
            equal(Map.of(), admin.listPartitionReassignments().reassignments().get(), "reassignments");
            Throwable strange = failure(admin.alterPartitionReassignments(
                            Map.of(partition, Optional.of(new NewPartitionReassignment(List.of(99)))))
                    .all());
            ensure(strange instanceof InvalidReplicaAssignmentException, "no such broker: " + strange);
        }
    }

    private static void clientQuotas(Suite suite) throws Exception {
        String client = suite.topic("quota");
        ClientQuotaEntity entity = new ClientQuotaEntity(Map.of(ClientQuotaEntity.CLIENT_ID, client));
        ClientQuotaFilter filter = ClientQuotaFilter.containsOnly(
                List.of(ClientQuotaFilterComponent.ofEntity(ClientQuotaEntity.CLIENT_ID, client)));
        try (Admin admin = suite.admin()) {
            quota(admin, entity, "producer_byte_rate", 1000.0);
            quota(admin, entity, "request_percentage", 12.5);
            until("both show", () -> quotas(admin, filter)
                    .equals(Map.of(entity, Map.of("producer_byte_rate", 1000.0, "request_percentage", 12.5))));
            quota(admin, entity, "producer_byte_rate", null);
            quota(admin, entity, "request_percentage", null);
            until("none shows", () -> quotas(admin, filter).isEmpty());
            for (Map.Entry<String, Double> bad :
                    Map.of("no_such_quota", 1.0, "producer_byte_rate", -1.0).entrySet()) {
                ClientQuotaAlteration alteration = new ClientQuotaAlteration(
                        entity, List.of(new ClientQuotaAlteration.Op(bad.getKey(), bad.getValue())));
                Throwable why = failure(admin.alterClientQuotas(List.of(alteration)).all());
                ensure(why instanceof InvalidRequestException, bad + ": " + why);
            }
        }
    }

    private static void quotasOfBoth(Suite suite) throws Exception {
        String user = ClientQuotaEntity.USER;
        String client = ClientQuotaEntity.CLIENT_ID;
        String name = suite.topic("quota-both");
        ClientQuotaEntity both = new ClientQuotaEntity(Map.of(user, name, client, name));
        Map<String, String> anyClient = new HashMap<>(Map.of(user, name));
        anyClient.put(client, null);
        ClientQuotaEntity other = new ClientQuotaEntity(anyClient);
        ClientQuotaEntity alone = new ClientQuotaEntity(Map.of(user, name));
        var named = ClientQuotaFilterComponent.ofEntity(user, name);
        var exact = List.of(named, ClientQuotaFilterComponent.ofEntity(client, name));
        var ofDefault = List.of(named, ClientQuotaFilterComponent.ofDefaultEntity(client));
        var ofAny = List.of(named, ClientQuotaFilterComponent.ofEntityType(client));
        Map<String, Double> one = Map.of("consumer_byte_rate", 1000.0);
        Map<String, Double> two = Map.of("consumer_byte_rate", 2000.0);
        Map<String, Double> three = Map.of("consumer_byte_rate", 3000.0);
        try (Admin admin = suite.admin()) {
            quota(admin, both, "consumer_byte_rate", 1000.0);
            quota(admin, other, "consumer_byte_rate", 2000.0);
            quota(admin, alone, "consumer_byte_rate", 3000.0);
            ClientQuotaFilter all = ClientQuotaFilter.contains(List.of(named));
            until("all three show", () -> quotas(admin, all).equals(Map.of(both, one, other, two, alone, three)));
            equal(Map.of(alone, three), quotas(admin, ClientQuotaFilter.containsOnly(List.of(named))), "of the user");
            equal(Map.of(both, one), quotas(admin, ClientQuotaFilter.containsOnly(exact)), "of user and client");
            equal(Map.of(other, two), quotas(admin, ClientQuotaFilter.containsOnly(ofDefault)), "of any other client");
            equal(Map.of(both, one, other, two), quotas(admin, ClientQuotaFilter.containsOnly(ofAny)), "of clients");
            for (ClientQuotaEntity entity : List.of(both, other, alone)) {
                quota(admin, entity, "consumer_byte_rate", null);
            }
            until("none shows", () -> quotas(admin, all).isEmpty());
        }
    }

    private static void quota(Admin admin, ClientQuotaEntity entity, String key, Double value) throws Exception {
        ClientQuotaAlteration.Op op = new ClientQuotaAlteration.Op(key, value);
        admin.alterClientQuotas(List.of(new ClientQuotaAlteration(entity, List.of(op)))).all().get();
    }

    private static Map<ClientQuotaEntity, Map<String, Double>> quotas(Admin admin, ClientQuotaFilter filter) {
        try {
            return admin.describeClientQuotas(filter).entities().get();
        } catch (Exception e) {
            throw new AssertionError(e);
        }
    }

    private static void throttledProducer(Suite suite) throws Exception {
        String name = suite.create("throttled", 1);
        String client = suite.topic("throttled");
        ClientQuotaEntity entity = new ClientQuotaEntity(Map.of(ClientQuotaEntity.CLIENT_ID, client));
        ClientQuotaFilter filter = ClientQuotaFilter.contains(
                List.of(ClientQuotaFilterComponent.ofEntity(ClientQuotaEntity.CLIENT_ID, client)));
        try (Admin admin = suite.admin();
                KafkaProducer<byte[], byte[]> producer =
                        suite.producer("client.id", client, "batch.size", 1, "linger.ms", 0)) {
            quota(admin, entity, "producer_byte_rate", 20_000.0);
            until("the quota shows", () -> !quotas(admin, filter).isEmpty());
            until("the producer is told to wait", () -> {
                try {
                    producer.send(new ProducerRecord<>(name, new byte[100_000])).get();
                } catch (Exception e) {
                    throw new AssertionError(e);
                }
                return producer.metrics().entrySet().stream()
                        .filter(metric -> metric.getKey().name().equals("produce-throttle-time-max"))
                        .anyMatch(metric -> (double) metric.getValue().metricValue() > 0);
            });
            quota(admin, entity, "producer_byte_rate", null);
        }
    }

    private static void deleteGroupOffsets(Suite suite) throws Exception {
        String read = suite.create("forget", 2);
        TopicPartition first = new TopicPartition(read, 0);
        TopicPartition second = new TopicPartition(read, 1);
        TopicPartition third = new TopicPartition(suite.create("forget-other", 1), 0);
        TopicPartition none = new TopicPartition(suite.topic("none"), 0);
        String group = read + "-readers";
        OffsetAndMetadata five = new OffsetAndMetadata(5, "five");
        try (Admin admin = suite.admin();
                KafkaProducer<byte[], byte[]> producer = suite.producer();
                KafkaConsumer<byte[], byte[]> member = suite.consumer("group.id", group)) {
            admin.alterConsumerGroupOffsets(group, Map.of(first, five, second, five, third, five)).all().get();
            admin.deleteConsumerGroupOffsets(group, Set.of(first, second)).all().get();
            var left = admin.listConsumerGroupOffsets(group).partitionsToOffsetAndMetadata().get();
            equal(Map.of(third, five), left, "what is left");
            var mixed = admin.deleteConsumerGroupOffsets(group, Set.of(none, first));
            Throwable why = failure(mixed.partitionResult(none));
            ensure(why instanceof UnknownTopicOrPartitionException, "no such partition: " + why);
            mixed.partitionResult(first).get();
            why = failure(admin.deleteConsumerGroupOffsets(none.topic(), Set.of(first)).all());
            ensure(why instanceof GroupIdNotFoundException, "no such group: " + why);
            producer.send(new ProducerRecord<>(read, 0, null, bytes("v"))).get();
            member.subscribe(List.of(read));
            Suite.take(member, 1);
            var busy = admin.deleteConsumerGroupOffsets(group, Set.of(first, third));
            why = failure(busy.partitionResult(first));
            ensure(why instanceof GroupSubscribedToTopicException, "read by a member: " + why);
            busy.partitionResult(third).get();
        }
    }

    private static void compressionType(Suite suite) throws Exception {
        for (String codec : List.of("uncompressed", "gzip", "snappy", "lz4", "zstd")) {
            String name = suite.topic("packed-" + codec);
            try (Admin admin = suite.admin()) {
                NewTopic topic = new NewTopic(name, 1, (short) 1).configs(Map.of("compression.type", codec));
                admin.createTopics(List.of(topic)).all().get();
            }
            byte[] value = new byte[50_000];
            Arrays.fill(value, (byte) 'x');
            try (KafkaProducer<byte[], byte[]> producer = suite.producer("compression.type", "gzip")) {
                producer.send(new ProducerRecord<>(name, bytes("k"), value)).get();
                producer.send(new ProducerRecord<>(name, bytes("k"), bytes("v"))).get();
            }
            var records = suite.readAll(name, 1, 2);
            equal(value, records.get(0).value(), "value packed by " + codec);
            equal(1L, records.get(1).offset(), "offset");
        }
    }

    private static void compactedTopicWithoutKey(Suite suite) throws Exception {
        String name = suite.topic("compacted");
        try (Admin admin = suite.admin();
                KafkaProducer<byte[], byte[]> producer = suite.producer()) {
            Map<String, String> configs = new HashMap<>(Map.of("cleanup.policy", "compact"));
            admin.createTopics(List.of(new NewTopic(name, 1, (short) 1).configs(configs))).all().get();
            Throwable why = failure(producer.send(new ProducerRecord<>(name, bytes("v"))));
            ensure(why instanceof InvalidRecordException, "a record without a key: " + why);
            equal(0L, producer.send(new ProducerRecord<>(name, bytes("k"), bytes("v"))).get().offset(), "offset");
        }
    }
}
