package dev.mulgil.interop;

import java.io.BufferedOutputStream;
import java.io.OutputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;

/** Writes the values of one partition between two offsets to a file, a newline after each. */
final class Cat {
    private static final Duration STALL = Duration.ofSeconds(60);

    private Cat() {}

    static void run(String bootstrap, TopicPartition source, long start, long end, Path file) throws Exception {
        Map<String, Object> settings = Map.of(
                "bootstrap.servers", bootstrap, "enable.auto.commit", "false", "auto.offset.reset", "earliest");
        try (KafkaConsumer<byte[], byte[]> consumer =
                        new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
                OutputStream out = new BufferedOutputStream(Files.newOutputStream(file), 1 << 20)) {
            consumer.assign(List.of(source));
            consumer.seek(source, start);
            System.out.println("records " + copy(consumer, source, end, out));
        }
    }

    private static long copy(
            KafkaConsumer<byte[], byte[]> consumer, TopicPartition source, long stop, OutputStream out)
            throws Exception {
        long written = 0;
        long last = -1;
        long progress = System.nanoTime();
        while (consumer.position(source) < stop) {
            for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(500))) {
                if (record.offset() >= stop) {
                    return written;
                }
                if (record.offset() <= last) {
                    throw new IllegalStateException("offset " + record.offset() + " came after " + last);
                }
                last = record.offset();
                out.write(record.value());
                out.write('\n');
                written++;
                progress = System.nanoTime();
            }
            if (System.nanoTime() - progress > STALL.toNanos()) {
                throw new IllegalStateException("nothing came for 60 s after offset " + last + " of " + stop);
            }
        }
        return written;
    }
}
