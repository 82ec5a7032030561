package dev.mulgil.interop;

import static dev.mulgil.interop.Suite.bytes;
import static dev.mulgil.interop.Suite.ensure;
import static dev.mulgil.interop.Suite.equal;

import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;

/** A compacted topic: who reads it from its beginning finds the newest value of each key. */
final class CompactionChecks {
    private static final int KEYS = 20;
    private static final int ROUNDS = 30;

    private CompactionChecks() {}

    static void register(Suite suite) {
        suite.add("compacted-topic", () -> compacted(suite));
    }

    /** What makes compaction come soon: here the lag, in Apache Kafka also short segments. */
    private static final Map<String, String> SOON = Map.of(
            "cleanup.policy", "compact",
            "max.compaction.lag.ms", "1000",
            "min.cleanable.dirty.ratio", "0.01",
            "delete.retention.ms", "1000",
            "segment.ms", "1000");

    private static void compacted(Suite suite) throws Exception {
        String topic = suite.topic("newest-of-each-key");
        TopicPartition partition = new TopicPartition(topic, 0);
        try (Admin admin = suite.admin();
                KafkaProducer<byte[], byte[]> producer = suite.producer("compression.type", "lz4")) {
            admin.createTopics(List.of(new NewTopic(topic, 1, (short) 1).configs(SOON))).all().get();
            Map<String, Long> newest = new TreeMap<>();
            for (int round = 0; round < ROUNDS; round++) {
                for (int key = 0; key < KEYS; key++) {
                    // Every fifth key ends with its deletion.
                    boolean deletes = round == ROUNDS - 1 && key % 5 == 0;
                    byte[] value = deletes ? null : bytes("value " + round);
                    producer.send(new ProducerRecord<>(topic, 0, bytes("key " + key), value));
                    newest.put("key " + key, (long) round * KEYS + key);
                }
                producer.flush();
            }
            for (int key = 0; key < KEYS; key += 5) {
                newest.remove("key " + key);
            }
            Suite.until("only the newest of each key is left", () -> {
                // A pass needs something new: in both brokers it is for a later one to forget deletions.
                producer.send(new ProducerRecord<>(topic, 0, bytes("tick"), bytes("tick")));
                producer.flush();
                return onlyNewest(suite, partition, newest);
            });
            long end = admin.listOffsets(Map.of(partition, OffsetSpec.latest())).partitionResult(partition).get().offset();
            ensure(end > (long) ROUNDS * KEYS, "offsets go on: " + end);
        }
    }

    /** Reads all, checks that each key's last word is the newest, and says whether nothing else is there. */
    private static boolean onlyNewest(Suite suite, TopicPartition partition, Map<String, Long> newest) {
        Map<String, Long> last = new TreeMap<>();
        int others = 0;
        long before = -1;
        try (KafkaConsumer<byte[], byte[]> consumer = suite.consumer()) {
            consumer.assign(List.of(partition));
            consumer.seekToBeginning(List.of(partition));
            long end = consumer.endOffsets(List.of(partition)).get(partition);
            while (consumer.position(partition) < end) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                    ensure(record.offset() > before, "offsets rise");
                    before = record.offset();
                    String key = new String(record.key());
                    if (key.equals("tick")) {
                        continue;
                    }
                    others++;
                    if (record.value() == null) {
                        last.remove(key);
                    } else {
                        last.put(key, record.offset());
                    }
                }
            }
        }
        // A key whose deletion is forgotten must be gone itself.
        equal(newest, last, "offset of the newest record of each key");
        return others == newest.size();
    }
}
