package dev.mulgil.interop;

import java.nio.file.Path;
import org.apache.kafka.common.TopicPartition;

/**
 * Kafka's Java client against a broker.
 *
 * <pre>
 * Main suite BOOTSTRAP [NAME...]                     runs the checks, one line each, and exits 1 if one failed
 * Main cat BOOTSTRAP TOPIC PARTITION START END FILE  writes the values of [START, END) to FILE
 * Main watch BOOTSTRAP TOPIC:PARTITIONS... -- GROUP...  tells what the broker knows of groups when it is asked
 * Main member BOOTSTRAP GROUP ASSIGNOR LIFE INSTANCE TOPIC...  is a member of a group until it is killed
 * </pre>
 */
public final class Main {
    private Main() {}

    public static void main(String[] args) throws Exception {
        if (args.length >= 2 && args[0].equals("suite")) {
            Suite suite = new Suite(args[1]);
            Checks.register(suite);
            ReadChecks.register(suite);
            AdminChecks.register(suite);
            CompactionChecks.register(suite);
            String[] names = java.util.Arrays.copyOfRange(args, 2, args.length);
            System.exit(suite.run(names) ? 0 : 1);
        }
        if (args.length == 7 && args[0].equals("cat")) {
            TopicPartition source = new TopicPartition(args[2], Integer.parseInt(args[3]));
            Cat.run(args[1], source, Long.parseLong(args[4]), Long.parseLong(args[5]), Path.of(args[6]));
            return;
        }
        if (args.length >= 7 && args[0].equals("member")) {
            new GroupMember(args[1], java.util.Arrays.copyOfRange(args, 2, args.length)).run();
        }
        if (args.length >= 5 && args[0].equals("watch")) {
            new GroupWatcher(args[1], java.util.Arrays.copyOfRange(args, 2, args.length)).run();
        }
        System.err.println("usage: suite BOOTSTRAP [NAME...] | cat BOOTSTRAP TOPIC PARTITION START END FILE"
                + " | member BOOTSTRAP GROUP ASSIGNOR LIFE INSTANCE TOPIC..."
                + " | watch BOOTSTRAP TOPIC:PARTITIONS... -- GROUP...");
        System.exit(2);
    }
}
