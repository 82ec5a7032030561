package dev.mulgil.interop;

import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.BooleanSupplier;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * The checks by name, the clients they use, and the line that each prints.
 *
 * <p>A check waits for a condition and has a deadline; it never sleeps in the hope that something has
 * happened meanwhile. Topic names carry the time of the run, so a suite can run again and again
 * against one broker.
 */
final class Suite {
    static final Duration DEADLINE = Duration.ofSeconds(60);

    interface Check {
        void run() throws Exception;
    }

    private final String bootstrap;
    private final String run = Long.toString(System.currentTimeMillis(), 36);
    private final Map<String, Check> checks = new LinkedHashMap<>();

    Suite(String bootstrap) {
        this.bootstrap = bootstrap;
    }

    void add(String name, Check check) {
        checks.put(name, check);
    }

    boolean run(String[] names) {
        Set<String> wanted = Set.of(names);
        boolean good = true;
        ExecutorService runner = Executors.newCachedThreadPool(r -> {
            Thread thread = new Thread(r);
            thread.setDaemon(true);
            return thread;
        });
        for (Map.Entry<String, Check> check : checks.entrySet()) {
            if (!wanted.isEmpty() && !wanted.contains(check.getKey())) {
                continue;
            }
            String failure = outcome(runner, check.getValue());
            System.out.println(failure == null
                    ? "ok " + check.getKey()
                    : "FAIL " + check.getKey() + ": " + failure.replace('\n', ' '));
            good &= failure == null;
        }
        return good;
    }

    private static String outcome(ExecutorService runner, Check check) {
        Future<?> running = runner.submit(() -> {
            check.run();
            return null;
        });
        try {
            running.get(DEADLINE.toSeconds() + 30, TimeUnit.SECONDS);
            return null;
        } catch (ExecutionException e) {
            e.getCause().printStackTrace();
            return e.getCause().toString();
        } catch (TimeoutException e) {
            running.cancel(true);
            return "no end after " + (DEADLINE.toSeconds() + 30) + " s";
        } catch (InterruptedException e) {
            return "interrupted";
        }
    }

    String topic(String check) {
        return "java-" + check + "-" + run;
    }

    String create(String check, int partitions) throws Exception {
        String topic = topic(check);
        try (Admin admin = admin()) {
            admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1))).all().get();
        }
        return topic;
    }

    Admin admin() {
        return Admin.create(Map.of("bootstrap.servers", bootstrap));
    }

    /** A producer with the client's defaults, but for the given pairs of name and value. */
    KafkaProducer<byte[], byte[]> producer(Object... settings) {
        Map<String, Object> all = settings(settings);
        return new KafkaProducer<>(all, new ByteArraySerializer(), new ByteArraySerializer());
    }

    /** A consumer that starts at the beginning and commits nothing by itself, unless told otherwise. */
    KafkaConsumer<byte[], byte[]> consumer(Object... settings) {
        Map<String, Object> all = settings(settings);
        all.putIfAbsent("auto.offset.reset", "earliest");
        all.putIfAbsent("enable.auto.commit", "false");
        return new KafkaConsumer<>(all, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    private Map<String, Object> settings(Object... settings) {
        Map<String, Object> all = new LinkedHashMap<>();
        all.put("bootstrap.servers", bootstrap);
        for (int i = 0; i < settings.length; i += 2) {
            all.put((String) settings[i], settings[i + 1]);
        }
        return all;
    }

    /** Reads partition 0 (and up to `partitions`) from the beginning until `count` records have come. */
    List<ConsumerRecord<byte[], byte[]>> readAll(String topic, int partitions, int count) {
        try (KafkaConsumer<byte[], byte[]> consumer = consumer()) {
            List<TopicPartition> all = new ArrayList<>();
            for (int p = 0; p < partitions; p++) {
                all.add(new TopicPartition(topic, p));
            }
            consumer.assign(all);
            consumer.seekToBeginning(all);
            return take(consumer, count);
        }
    }

    static List<ConsumerRecord<byte[], byte[]>> take(KafkaConsumer<byte[], byte[]> consumer, int count) {
        List<ConsumerRecord<byte[], byte[]>> records = new ArrayList<>();
        until("got " + count + " records", () -> {
            consumer.poll(Duration.ofMillis(200)).forEach(records::add);
            return records.size() >= count;
        });
        equal(count, records.size(), "number of records");
        return records;
    }

    static void until(String what, BooleanSupplier condition) {
        long end = System.nanoTime() + DEADLINE.toNanos();
        while (!condition.getAsBoolean()) {
            ensure(System.nanoTime() < end, "not in " + DEADLINE.toSeconds() + " s: " + what);
        }
    }

    static void ensure(boolean condition, String what) {
        if (!condition) {
            throw new AssertionError(what);
        }
    }

    static void equal(Object wanted, Object got, String what) {
        ensure(Objects.deepEquals(wanted, got), what + ": wanted " + show(wanted) + ", got " + show(got));
    }

    private static String show(Object value) {
        return value instanceof byte[] bytes ? new String(bytes, java.nio.charset.StandardCharsets.UTF_8) : "" + value;
    }

    /** The reason why `future` failed; it is an error if it did not. */
    static Throwable failure(Future<?> future) throws Exception {
        try {
            future.get(DEADLINE.toSeconds(), TimeUnit.SECONDS);
        } catch (ExecutionException e) {
            return e.getCause();
        }
        throw new AssertionError("succeeded, but should have failed");
    }

    static byte[] bytes(String text) {
        return text.getBytes(java.nio.charset.StandardCharsets.UTF_8);
    }
}
