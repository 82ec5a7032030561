package dev.mulgil.interop.sqs;

import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.Callable;

/**
 * Clients of Amazon SQS in Java: {@code Main ENDPOINT [NAME...]}. Runs the checks, prints one line each, and exits 1
 * if one failed. A check waits for a condition and has a deadline; queue names carry the time of the run.
 */
public final class Main {
    static final String RUN = Long.toString(System.currentTimeMillis(), 36);
    private static final long DEADLINE_MS = 60_000;

    /** A check. */
    interface Check {
        void run() throws Exception;
    }

    private Main() {}

    public static void main(String[] arguments) throws Exception {
        Map<String, Check> checks = new LinkedHashMap<>();
        SdkV2.register(arguments[0], checks);
        Jms.register(arguments[0], checks);
        SdkV1.register(arguments[0], checks);
        List<String> wanted = List.of(arguments).subList(1, arguments.length);
        boolean good = true;
        for (Map.Entry<String, Check> check : checks.entrySet()) {
            if (!wanted.isEmpty() && !wanted.contains(check.getKey())) {
                continue;
            }
            try {
                check.getValue().run();
                System.out.println("ok " + check.getKey());
            } catch (Exception | AssertionError e) {
                e.printStackTrace();
                System.out.println("FAIL " + check.getKey() + ": " + String.valueOf(e).replace('\n', ' '));
                good = false;
            }
        }
        System.exit(good ? 0 : 1);
    }

    static void equal(Object wanted, Object got, String what) {
        if (!Objects.equals(wanted, got)) {
            throw new AssertionError(what + ": wanted " + wanted + ", got " + got);
        }
    }

    static void ensure(boolean good, String what) {
        if (!good) {
            throw new AssertionError(what);
        }
    }

    /** Looks until there is something that is not null. */
    static <T> T until(String what, Callable<T> look) throws Exception {
        long end = System.currentTimeMillis() + DEADLINE_MS;
        while (true) {
            T found = look.call();
            if (found != null) {
                return found;
            }
            ensure(System.currentTimeMillis() < end, "not in time: " + what);
        }
    }
}
