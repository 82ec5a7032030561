package dev.mulgil.interop;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.stream.Collectors;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ConsumerGroupDescription;
import org.apache.kafka.clients.admin.ListConsumerGroupOffsetsSpec;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.TopicPartition;

/**
 * Makes the topics of {@code cargo xtask groups}, and then asks the broker what it knows of the groups whenever
 * a line with a number comes in. What it writes is told in {@code interop/python/groups.py}.
 */
final class GroupWatcher {
    private final PrintStream out = System.out;
    private final Admin admin;
    private final List<NewTopic> topics = new ArrayList<>();
    private final List<TopicPartition> partitions = new ArrayList<>();
    private final List<String> groups;

    /** The arguments are TOPIC:PARTITIONS... -- GROUP... */
    GroupWatcher(String bootstrap, String[] arguments) {
        admin = Admin.create(Map.of(
                "bootstrap.servers", bootstrap,
                "default.api.timeout.ms", "5000",
                "request.timeout.ms", "5000",
                "reconnect.backoff.max.ms", "200"));
        int split = List.of(arguments).indexOf("--");
        for (String topic : List.of(arguments).subList(0, split)) {
            String[] words = topic.split(":");
            int count = Integer.parseInt(words[1]);
            topics.add(new NewTopic(words[0], count, (short) 1));
            for (int number = 0; number < count; number++) {
                partitions.add(new TopicPartition(words[0], number));
            }
        }
        groups = List.of(arguments).subList(split + 1, arguments.length);
    }

    void run() throws IOException, InterruptedException, ExecutionException {
        admin.createTopics(topics).all().get();
        say("looked 0");
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            say("look");
            try {
                offsets();
                describe();
            } catch (ExecutionException e) {
                // While the broker is started anew. Whoever asked, asks again.
                say("busy " + String.valueOf(e.getMessage()).replace('\n', ' '));
            }
            say("looked " + line);
        }
        Runtime.getRuntime().halt(0);
    }

    private void say(String words) {
        out.print(System.nanoTime() + " " + words + "\n");
        out.flush();
    }

    private static String place(TopicPartition partition) {
        return partition.topic() + "/" + partition.partition();
    }

    private void offsets() throws InterruptedException, ExecutionException {
        ListConsumerGroupOffsetsSpec all = new ListConsumerGroupOffsetsSpec().topicPartitions(partitions);
        for (String group : groups) {
            Map<TopicPartition, OffsetAndMetadata> found = admin.listConsumerGroupOffsets(Map.of(group, all))
                    .partitionsToOffsetAndMetadata(group)
                    .get();
            StringBuilder told = new StringBuilder();
            for (TopicPartition partition : partitions) {
                OffsetAndMetadata committed = found.get(partition);
                told.append(' ').append(place(partition)).append('=');
                told.append(committed == null ? -1 : committed.offset());
            }
            say("offsets " + group + told);
        }
    }

    private void describe() throws InterruptedException, ExecutionException {
        Collection<ConsumerGroupDescription> found =
                admin.describeConsumerGroups(groups).all().get().values();
        for (ConsumerGroupDescription group : found) {
            String members = group.members().stream()
                    .map(member -> " " + member.clientId() + ":"
                            + member.assignment().topicPartitions().stream()
                                    .map(GroupWatcher::place)
                                    .collect(Collectors.joining(",")))
                    .collect(Collectors.joining());
            say("group " + group.groupId() + " " + group.groupState().name() + members);
        }
    }
}
