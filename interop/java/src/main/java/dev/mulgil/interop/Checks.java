package dev.mulgil.interop;

import static dev.mulgil.interop.Suite.bytes;
import static dev.mulgil.interop.Suite.ensure;
import static dev.mulgil.interop.Suite.equal;
import static dev.mulgil.interop.Suite.until;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.Set;
import java.util.concurrent.Future;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.header.Header;

/** Topics and everything a producer does. */
final class Checks {
    private Checks() {}

    static void register(Suite suite) {
        suite.add("auto-created-topic", () -> autoCreatedTopic(suite));
        suite.add("create-delete-topic", () -> createDeleteTopic(suite));
        for (String codec : List.of("none", "gzip", "snappy", "lz4", "zstd")) {
            suite.add("codec-" + codec, () -> codec(suite, codec));
        }
        suite.add("headers", () -> headers(suite));
        suite.add("null-key-and-value", () -> nulls(suite));
        suite.add("keyed-partitions", () -> keyedPartitions(suite));
        for (String acks : List.of("0", "1", "all")) {
            suite.add("acks-" + acks, () -> acks(suite, acks));
        }
        suite.add("idempotent-concurrent", () -> idempotentConcurrent(suite));
        suite.add("large-message", () -> largeMessage(suite));
        suite.add("too-large-message", () -> tooLargeMessage(suite));
    }

    private static void autoCreatedTopic(Suite suite) throws Exception {
        String topic = suite.topic("auto");
        try (KafkaProducer<byte[], byte[]> producer = suite.producer()) {
            RecordMetadata stored =
                    producer.send(new ProducerRecord<>(topic, bytes("k"), bytes("v"))).get();
            equal(0L, stored.offset(), "offset of the first record");
        }
        equal(bytes("v"), suite.readAll(topic, 1, 1).get(0).value(), "value");
    }

    private static void createDeleteTopic(Suite suite) throws Exception {
        String topic = suite.create("create", 3);
        try (Admin admin = suite.admin()) {
            until("described with 3 partitions", () -> partitions(admin, topic) == 3);
            Future<?> again = admin.createTopics(List.of(new NewTopic(topic, 3, (short) 1))).all();
            Throwable why = Suite.failure(again);
            ensure(why instanceof TopicExistsException, "second createTopics: " + why);
            admin.deleteTopics(List.of(topic)).all().get();
            until("gone", () -> partitions(admin, topic) == 0);
            why = Suite.failure(admin.deleteTopics(List.of(topic)).all());
            ensure(why instanceof UnknownTopicOrPartitionException, "second deleteTopics: " + why);
        }
    }

    private static int partitions(Admin admin, String topic) {
        try {
            return admin.describeTopics(Set.of(topic)).allTopicNames().get().get(topic).partitions().size();
        } catch (java.util.concurrent.ExecutionException e) {
            ensure(e.getCause() instanceof UnknownTopicOrPartitionException, "describeTopics: " + e.getCause());
            return 0;
        } catch (InterruptedException e) {
            throw new AssertionError(e);
        }
    }

    private static void codec(Suite suite, String codec) throws Exception {
        String topic = suite.create("codec-" + codec, 1);
        int count = 500;
        try (KafkaProducer<byte[], byte[]> producer =
                suite.producer("compression.type", codec, "linger.ms", 20, "batch.size", 65536)) {
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (int i = 0; i < count; i++) {
                sent.add(producer.send(new ProducerRecord<>(topic, bytes("key-" + i), text(i))));
            }
            for (int i = 0; i < count; i++) {
                equal((long) i, sent.get(i).get().offset(), "offset");
            }
        }
        List<ConsumerRecord<byte[], byte[]>> got = suite.readAll(topic, 1, count);
        for (int i = 0; i < count; i++) {
            equal(text(i), got.get(i).value(), "value " + i);
            equal(bytes("key-" + i), got.get(i).key(), "key " + i);
        }
    }

    private static byte[] text(int i) {
        return bytes(("record " + i + " of water on its way down ").repeat(1 + i % 17));
    }

    private static void headers(Suite suite) throws Exception {
        String topic = suite.create("headers", 1);
        try (KafkaProducer<byte[], byte[]> producer = suite.producer()) {
            ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(topic, bytes("k"), bytes("v"));
            record.headers().add("twice", bytes("one"));
            record.headers().add("none", null);
            record.headers().add("twice", bytes("two"));
            record.headers().add("empty", new byte[0]);
            record.headers().add("물길", bytes("물"));
            producer.send(record).get();
        }
        Header[] got = suite.readAll(topic, 1, 1).get(0).headers().toArray();
        List<String> keys = Arrays.stream(got).map(Header::key).toList();
        equal(List.of("twice", "none", "twice", "empty", "물길"), keys, "header keys in order");
        equal(bytes("one"), got[0].value(), "first of twice");
        equal(null, got[1].value(), "header without value");
        equal(bytes("two"), got[2].value(), "second of twice");
        equal(new byte[0], got[3].value(), "empty header");
        equal(bytes("물"), got[4].value(), "header beyond ASCII");
    }

    private static void nulls(Suite suite) throws Exception {
        String topic = suite.create("nulls", 1);
        try (KafkaProducer<byte[], byte[]> producer = suite.producer()) {
            producer.send(new ProducerRecord<>(topic, null, bytes("no key"))).get();
            producer.send(new ProducerRecord<>(topic, bytes("no value"), null)).get();
            producer.send(new ProducerRecord<>(topic, null, null)).get();
            producer.send(new ProducerRecord<>(topic, new byte[0], new byte[0])).get();
        }
        List<ConsumerRecord<byte[], byte[]>> got = suite.readAll(topic, 1, 4);
        equal(null, got.get(0).key(), "null key");
        equal(null, got.get(1).value(), "null value");
        equal(null, got.get(2).key(), "null key of both");
        equal(null, got.get(2).value(), "null value of both");
        equal(new byte[0], got.get(3).key(), "empty key");
        equal(new byte[0], got.get(3).value(), "empty value");
    }

    private static void keyedPartitions(Suite suite) throws Exception {
        String topic = suite.create("keyed", 4);
        int count = 400;
        try (KafkaProducer<byte[], byte[]> producer = suite.producer()) {
            for (int i = 0; i < count; i++) {
                producer.send(new ProducerRecord<>(topic, bytes("key-" + i % 37), bytes(Integer.toString(i))));
            }
            producer.flush();
        }
        Map<String, Integer> partitionOf = new HashMap<>();
        Map<Integer, Long> offsetIn = new HashMap<>();
        Map<String, Integer> lastOf = new HashMap<>();
        for (ConsumerRecord<byte[], byte[]> record : suite.readAll(topic, 4, count)) {
            String key = new String(record.key(), java.nio.charset.StandardCharsets.UTF_8);
            int number = Integer.parseInt(new String(record.value(), java.nio.charset.StandardCharsets.UTF_8));
            equal(partitionOf.computeIfAbsent(key, k -> record.partition()), record.partition(), "partition of " + key);
            long expected = offsetIn.merge(record.partition(), 1L, Long::sum) - 1;
            equal(expected, record.offset(), "offset in partition " + record.partition());
            Integer before = lastOf.put(key, number);
            ensure(before == null || before < number, key + ": " + number + " came after " + before);
        }
        equal(4, offsetIn.size(), "partitions in use");
    }

    private static void acks(Suite suite, String acks) throws Exception {
        String topic = suite.create("acks-" + acks, 1);
        boolean idempotent = acks.equals("all");
        try (KafkaProducer<byte[], byte[]> producer =
                suite.producer("acks", acks, "enable.idempotence", Boolean.toString(idempotent))) {
            for (int i = 0; i < 20; i++) {
                RecordMetadata stored = producer.send(new ProducerRecord<>(topic, bytes("value " + i))).get();
                equal(!acks.equals("0"), stored.hasOffset(), "an offset is told");
            }
        }
        List<ConsumerRecord<byte[], byte[]>> got = suite.readAll(topic, 1, 20);
        for (int i = 0; i < 20; i++) {
            equal(bytes("value " + i), got.get(i).value(), "value");
        }
    }

    private static void idempotentConcurrent(Suite suite) throws Exception {
        String topic = suite.create("idempotent", 2);
        int threads = 4;
        int each = 1000;
        try (KafkaProducer<byte[], byte[]> producer =
                suite.producer("batch.size", 2048, "linger.ms", 0, "max.in.flight.requests.per.connection", 5)) {
            List<Thread> running = new ArrayList<>();
            for (int t = 0; t < threads; t++) {
                int thread = t;
                running.add(new Thread(() -> {
                    for (int i = 0; i < each; i++) {
                        byte[] value = bytes(thread + " " + i);
                        producer.send(new ProducerRecord<>(topic, thread % 2, null, value));
                    }
                }));
            }
            running.forEach(Thread::start);
            for (Thread thread : running) {
                thread.join();
            }
            producer.flush();
        }
        int[] next = new int[threads];
        for (ConsumerRecord<byte[], byte[]> record : suite.readAll(topic, 2, threads * each)) {
            String[] parts = new String(record.value(), java.nio.charset.StandardCharsets.UTF_8).split(" ");
            int thread = Integer.parseInt(parts[0]);
            equal(next[thread]++, Integer.parseInt(parts[1]), "next of thread " + thread);
        }
    }

    private static final int LIMIT = 1_048_588;

    private static byte[] noise(int size) {
        byte[] value = new byte[size];
        new Random(7).nextBytes(value);
        return value;
    }

    private static void largeMessage(Suite suite) throws Exception {
        String topic = suite.create("large", 1);
        byte[] value = noise(LIMIT - 100);
        try (KafkaProducer<byte[], byte[]> producer = suite.producer("max.request.size", 4 * LIMIT)) {
            producer.send(new ProducerRecord<>(topic, value)).get();
        }
        equal(true, Arrays.equals(value, suite.readAll(topic, 1, 1).get(0).value()), "the same bytes");
    }

    private static void tooLargeMessage(Suite suite) throws Exception {
        String topic = suite.create("too-large", 1);
        try (KafkaProducer<byte[], byte[]> producer = suite.producer("max.request.size", 4 * LIMIT)) {
            Throwable why = Suite.failure(producer.send(new ProducerRecord<>(topic, noise(LIMIT + 1))));
            ensure(why instanceof RecordTooLargeException, "wanted RecordTooLargeException, got " + why);
            producer.send(new ProducerRecord<>(topic, bytes("small"))).get();
        }
        equal(bytes("small"), suite.readAll(topic, 1, 1).get(0).value(), "the connection still serves");
    }
}
