package dev.mulgil.interop;

import java.io.IOException;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/**
 * A member of a group of {@code cargo xtask groups}, which is killed at any moment. It processes records one
 * by one and commits after each poll, and writes what {@code interop/python/groups.py} says, where the lines
 * are described. It ends when its standard input does.
 */
final class GroupMember implements ConsumerRebalanceListener {
    private static final Duration POLL = Duration.ofMillis(100);
    private static final long TICK_NANOS = 100_000_000;

    private final PrintStream out = System.out;
    private final KafkaConsumer<byte[], byte[]> consumer;
    private final List<String> topics;
    /** What is processed and not known to be committed. */
    private final Map<TopicPartition, OffsetAndMetadata> done = new HashMap<>();

    private long ticked;

    /** The arguments are GROUP ASSIGNOR LIFE INSTANCE TOPIC... */
    GroupMember(String bootstrap, String[] arguments) {
        Map<String, Object> settings = new HashMap<>();
        settings.put("bootstrap.servers", bootstrap);
        settings.put("group.id", arguments[0]);
        settings.put("group.protocol", "classic");
        settings.put(
                "partition.assignment.strategy",
                arguments[1].equals("cooperative-sticky")
                        ? CooperativeStickyAssignor.class.getName()
                        : RangeAssignor.class.getName());
        settings.put("client.id", arguments[2]);
        if (!arguments[3].equals("-")) {
            settings.put("group.instance.id", arguments[3]);
        }
        settings.put("auto.offset.reset", "earliest");
        settings.put("enable.auto.commit", "false");
        settings.put("session.timeout.ms", "6000");
        settings.put("heartbeat.interval.ms", "500");
        settings.put("max.poll.interval.ms", "30000");
        settings.put("fetch.max.wait.ms", "100");
        settings.put("reconnect.backoff.max.ms", "200");
        consumer = new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
        topics = List.of(arguments).subList(4, arguments.length);
    }

    void run() {
        endWithStdin();
        consumer.subscribe(topics, this);
        while (true) {
            for (ConsumerRecord<byte[], byte[]> record : consumer.poll(POLL)) {
                process(record);
            }
            commit();
            if (System.nanoTime() - ticked > TICK_NANOS) {
                ticked = System.nanoTime();
                say("tick " + generation());
            }
        }
    }

    /** A line is one write, so that a kill leaves it whole or not there. */
    private void say(String words) {
        out.print(System.nanoTime() + " " + words + "\n");
        out.flush();
    }

    private int generation() {
        return consumer.groupMetadata().generationId();
    }

    private static String place(TopicPartition partition) {
        return partition.topic() + "/" + partition.partition();
    }

    private static String places(Collection<TopicPartition> partitions) {
        return partitions.stream().map(partition -> " " + place(partition)).collect(Collectors.joining());
    }

    private void process(ConsumerRecord<byte[], byte[]> record) {
        TopicPartition where = new TopicPartition(record.topic(), record.partition());
        String[] sent = new String(record.value(), StandardCharsets.UTF_8).split(" ");
        String number = sent.length == 2 && sent[0].equals(place(where)) ? sent[1] : "-1";
        say("record " + place(where) + " " + record.offset() + " " + number);
        done.put(where, new OffsetAndMetadata(record.offset() + 1));
    }

    private void commit() {
        if (done.isEmpty()) {
            return;
        }
        StringBuilder asked = new StringBuilder();
        done.forEach((where, next) -> asked.append(' ').append(place(where)).append('=').append(next.offset()));
        say("commit " + generation() + asked);
        try {
            consumer.commitSync(done);
        } catch (KafkaException e) {
            say("uncommitted " + String.valueOf(e.getMessage()).replace('\n', ' '));
            return;
        }
        say("committed");
        done.clear();
    }

    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
        done.keySet().removeAll(partitions);
        say("assigned " + generation() + places(partitions));
    }

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
        commit();
        gone("revoked", partitions);
    }

    @Override
    public void onPartitionsLost(Collection<TopicPartition> partitions) {
        gone("lost", partitions);
    }

    private void gone(String word, Collection<TopicPartition> partitions) {
        done.keySet().removeAll(partitions);
        say(word + " " + generation() + places(partitions));
    }

    private static void endWithStdin() {
        Thread thread = new Thread(() -> {
            try {
                while (System.in.read() >= 0) {
                    // Nothing is said here; only the end counts.
                }
            } catch (IOException e) {
                // A broken pipe is an end too.
            }
            Runtime.getRuntime().halt(0);
        });
        thread.setDaemon(true);
        thread.start();
    }
}
