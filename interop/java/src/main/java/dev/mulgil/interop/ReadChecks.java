package dev.mulgil.interop;

import static dev.mulgil.interop.Suite.bytes;
import static dev.mulgil.interop.Suite.ensure;
import static dev.mulgil.interop.Suite.equal;
import static dev.mulgil.interop.Suite.take;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.Future;
import java.util.concurrent.FutureTask;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.CloseOptions;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.OffsetOutOfRangeException;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/** Everything a consumer does: positions, offsets by time, a group of one, waiting. */
final class ReadChecks {
    private static final long HOUR = 3_600_000;

    private ReadChecks() {}

    static void register(Suite suite) {
        suite.add("seek", () -> seek(suite));
        suite.add("seek-timestamp", () -> seekTimestamp(suite));
        suite.add("max-timestamp", () -> maxTimestamp(suite));
        suite.add("list-offsets", () -> listOffsets(suite));
        suite.add("out-of-range-reset", () -> outOfRange(suite));
        suite.add("group-resume", () -> groupResume(suite));
        suite.add("manual-assign-commit", () -> manualAssign(suite));
        suite.add("long-poll", () -> longPoll(suite));
        suite.add("unknown-topic", () -> unknownTopic(suite));
    }

    /** A topic of one partition with records "0", "1" ... an hour apart, the last one at `now`. */
    private static String hourly(Suite suite, String check, int count, long now) throws Exception {
        String topic = suite.create(check, 1);
        try (KafkaProducer<byte[], byte[]> producer = suite.producer()) {
            for (int i = 0; i < count; i++) {
                long time = now - (count - 1 - i) * HOUR;
                byte[] value = bytes(Integer.toString(i));
                producer.send(new ProducerRecord<>(topic, 0, time, null, value)).get();
            }
        }
        return topic;
    }

    private static long first(KafkaConsumer<byte[], byte[]> consumer) {
        return firstOf(consumer).offset();
    }

    private static ConsumerRecord<byte[], byte[]> firstOf(KafkaConsumer<byte[], byte[]> consumer) {
        List<ConsumerRecord<byte[], byte[]>> found = new ArrayList<>();
        Suite.until("a record came", () -> {
            consumer.poll(Duration.ofMillis(200)).forEach(found::add);
            return !found.isEmpty();
        });
        return found.get(0);
    }

    private static void seek(Suite suite) throws Exception {
        String topic = hourly(suite, "seek", 10, System.currentTimeMillis());
        TopicPartition partition = new TopicPartition(topic, 0);
        try (KafkaConsumer<byte[], byte[]> consumer = suite.consumer()) {
            consumer.assign(List.of(partition));
            consumer.seekToEnd(List.of(partition));
            equal(10L, consumer.position(partition), "position at the end");
            consumer.seekToBeginning(List.of(partition));
            equal(0L, first(consumer), "first from the beginning");
            consumer.seek(partition, 7);
            equal(7L, first(consumer), "first from 7");
            equal(Map.of(partition, 0L), consumer.beginningOffsets(List.of(partition)), "beginning offsets");
            equal(Map.of(partition, 10L), consumer.endOffsets(List.of(partition)), "end offsets");
        }
    }

    private static void seekTimestamp(Suite suite) throws Exception {
        long now = System.currentTimeMillis();
        String topic = hourly(suite, "by-time", 10, now);
        TopicPartition partition = new TopicPartition(topic, 0);
        try (KafkaConsumer<byte[], byte[]> consumer = suite.consumer()) {
            consumer.assign(List.of(partition));
            for (int i = 0; i < 10; i++) {
                long exact = now - (9 - i) * HOUR;
                for (long asked : new long[] {exact, exact - 1, exact - HOUR + 1}) {
                    var found = consumer.offsetsForTimes(Map.of(partition, asked)).get(partition);
                    equal((long) i, found.offset(), "offset for " + asked);
                    equal(exact, found.timestamp(), "timestamp found for " + asked);
                }
            }
            var past = consumer.offsetsForTimes(Map.of(partition, now + 1)).get(partition);
            equal(null, past, "nothing is as young as that");
            consumer.seek(partition, consumer.offsetsForTimes(Map.of(partition, now - 3 * HOUR)).get(partition).offset());
            equal(6L, first(consumer), "first after seeking by time");
        }
    }

    private static void maxTimestamp(Suite suite) throws Exception {
        String topic = suite.create("max-time", 1);
        TopicPartition partition = new TopicPartition(topic, 0);
        long now = System.currentTimeMillis();
        long[] times = {now - 5 * HOUR, now - HOUR, now - 3 * HOUR, now - 2 * HOUR};
        try (Admin admin = suite.admin();
                KafkaProducer<byte[], byte[]> producer = suite.producer()) {
            var empty = admin.listOffsets(Map.of(partition, OffsetSpec.maxTimestamp())).partitionResult(partition).get();
            equal(-1L, empty.offset(), "offset of the largest timestamp of an empty partition");
            for (long time : times) {
                producer.send(new ProducerRecord<>(topic, 0, time, null, bytes("x"))).get();
            }
            var found = admin.listOffsets(Map.of(partition, OffsetSpec.maxTimestamp())).partitionResult(partition).get();
            equal(1L, found.offset(), "offset of the largest timestamp");
            equal(now - HOUR, found.timestamp(), "largest timestamp");
            var latest = admin.listOffsets(Map.of(partition, OffsetSpec.latest())).partitionResult(partition).get();
            equal(4L, latest.offset(), "latest offset");
            var earliest = admin.listOffsets(Map.of(partition, OffsetSpec.earliest())).partitionResult(partition).get();
            equal(0L, earliest.offset(), "earliest offset");
        }
    }

    private static void listOffsets(Suite suite) throws Exception {
        long now = System.currentTimeMillis();
        TopicPartition full = new TopicPartition(hourly(suite, "list", 10, now), 0);
        TopicPartition empty = new TopicPartition(suite.create("list-empty", 1), 0);
        try (Admin admin = suite.admin()) {
            admin.deleteRecords(Map.of(full, RecordsToDelete.beforeOffset(3))).all().get();
            listed(admin, full, OffsetSpec.earliest(), 3, -1, "earliest");
            listed(admin, full, OffsetSpec.latest(), 10, -1, "latest");
            listed(admin, full, OffsetSpec.maxTimestamp(), 9, now, "largest timestamp");
            listed(admin, full, OffsetSpec.forTimestamp(0), 3, now - 6 * HOUR, "by a time before all");
            listed(admin, full, OffsetSpec.forTimestamp(now - 9 * HOUR), 3, now - 6 * HOUR, "by the time of what is gone");
            listed(admin, full, OffsetSpec.forTimestamp(now - 3 * HOUR), 6, now - 3 * HOUR, "by an exact time");
            listed(admin, full, OffsetSpec.forTimestamp(now - 3 * HOUR + 1), 7, now - 2 * HOUR, "by a time between two");
            listed(admin, full, OffsetSpec.forTimestamp(now + 1), -1, -1, "by a time after all");
            listed(admin, empty, OffsetSpec.earliest(), 0, -1, "earliest of none");
            listed(admin, empty, OffsetSpec.latest(), 0, -1, "latest of none");
            listed(admin, empty, OffsetSpec.maxTimestamp(), -1, -1, "largest timestamp of none");
            listed(admin, empty, OffsetSpec.forTimestamp(0), -1, -1, "by time, of none");
        }
    }

    private static void listed(
            Admin admin, TopicPartition partition, OffsetSpec spec, long offset, long time, String what)
            throws Exception {
        var found = admin.listOffsets(Map.of(partition, spec)).partitionResult(partition).get();
        equal(offset, found.offset(), "offset, " + what);
        equal(time, found.timestamp(), "timestamp, " + what);
    }

    private static void outOfRange(Suite suite) throws Exception {
        String topic = hourly(suite, "range", 5, System.currentTimeMillis());
        TopicPartition partition = new TopicPartition(topic, 0);
        try (KafkaConsumer<byte[], byte[]> consumer = suite.consumer("auto.offset.reset", "earliest")) {
            consumer.assign(List.of(partition));
            consumer.seek(partition, 1000);
            equal(0L, first(consumer), "reset to the earliest");
        }
        try (KafkaConsumer<byte[], byte[]> consumer = suite.consumer("auto.offset.reset", "none")) {
            consumer.assign(List.of(partition));
            consumer.seek(partition, 1000);
            try {
                first(consumer);
            } catch (OffsetOutOfRangeException e) {
                equal(Map.of(partition, 1000L), e.offsetOutOfRangePartitions(), "what was out of range");
                return;
            }
            throw new AssertionError("no OffsetOutOfRangeException without a reset policy");
        }
    }

    private static void groupResume(Suite suite) throws Exception {
        String topic = hourly(suite, "group", 10, System.currentTimeMillis());
        TopicPartition partition = new TopicPartition(topic, 0);
        String group = topic + "-readers";
        try (KafkaConsumer<byte[], byte[]> consumer = suite.consumer("group.id", group, "max.poll.records", 4)) {
            consumer.subscribe(List.of(topic));
            equal(4, take(consumer, 4).size(), "first four");
            consumer.commitSync(Map.of(partition, new OffsetAndMetadata(4, "four done")));
            OffsetAndMetadata committed = consumer.committed(java.util.Set.of(partition)).get(partition);
            equal(4L, committed.offset(), "committed offset");
            equal("four done", committed.metadata(), "committed metadata");
        }
        try (KafkaConsumer<byte[], byte[]> consumer = suite.consumer("group.id", group)) {
            consumer.subscribe(List.of(topic));
            List<ConsumerRecord<byte[], byte[]>> rest = take(consumer, 6);
            equal(4L, rest.get(0).offset(), "goes on at the committed offset");
            consumer.commitSync();
        }
        try (KafkaConsumer<byte[], byte[]> consumer = suite.consumer("group.id", group)) {
            consumer.assign(List.of(partition));
            equal(10L, consumer.position(partition), "all is committed");
        }
    }

    private static void manualAssign(Suite suite) throws Exception {
        String topic = suite.create("assign", 2);
        try (KafkaProducer<byte[], byte[]> producer = suite.producer()) {
            for (int i = 0; i < 10; i++) {
                producer.send(new ProducerRecord<>(topic, i % 2, null, bytes(Integer.toString(i)))).get();
            }
        }
        TopicPartition second = new TopicPartition(topic, 1);
        try (KafkaConsumer<byte[], byte[]> consumer = suite.consumer("group.id", topic + "-assigned")) {
            consumer.assign(List.of(second));
            for (ConsumerRecord<byte[], byte[]> record : take(consumer, 5)) {
                equal(1, record.partition(), "only what was assigned");
            }
            consumer.commitSync();
            equal(5L, consumer.committed(java.util.Set.of(second)).get(second).offset(), "committed");
        }
    }

    private static void longPoll(Suite suite) throws Exception {
        String topic = suite.create("long-poll", 1);
        TopicPartition partition = new TopicPartition(topic, 0);
        CountDownLatch polling = new CountDownLatch(1);
        FutureTask<Long> reader = new FutureTask<>(() -> {
            KafkaConsumer<byte[], byte[]> consumer =
                    suite.consumer("fetch.max.wait.ms", 20_000, "request.timeout.ms", 40_000);
            try {
                consumer.assign(List.of(partition));
                consumer.poll(Duration.ofMillis(500));
                polling.countDown();
                equal(bytes("at last"), firstOf(consumer).value(), "value");
                return System.nanoTime();
            } finally {
                // The client has asked for more by now, and a patient close would wait for that answer.
                consumer.close(CloseOptions.timeout(Duration.ZERO));
            }
        });
        new Thread(reader).start();
        ensure(polling.await(30, TimeUnit.SECONDS), "the reader did not start");
        long sent;
        try (KafkaProducer<byte[], byte[]> producer = suite.producer()) {
            sent = System.nanoTime();
            producer.send(new ProducerRecord<>(topic, bytes("at last"))).get();
        }
        long waitedMs = (reader.get(30, TimeUnit.SECONDS) - sent) / 1_000_000;
        ensure(waitedMs < 10_000, "came only after " + waitedMs + " ms, so nobody was woken");
    }

    private static void unknownTopic(Suite suite) throws Exception {
        String topic = suite.topic("unknown");
        try (Admin admin = suite.admin()) {
            Throwable why = Suite.failure(admin.describeTopics(List.of(topic)).allTopicNames());
            ensure(why instanceof UnknownTopicOrPartitionException, "describeTopics: " + why);
            try (KafkaConsumer<byte[], byte[]> consumer = suite.consumer("allow.auto.create.topics", "false")) {
                equal(null, consumer.listTopics().get(topic), "listTopics");
                consumer.assign(List.of(new TopicPartition(topic, 0)));
                equal(0, consumer.poll(Duration.ofMillis(500)).count(), "records of no topic");
            }
            Future<java.util.Set<String>> names = admin.listTopics().names();
            ensure(!names.get().contains(topic), "asking for it created it");
        }
    }
}
