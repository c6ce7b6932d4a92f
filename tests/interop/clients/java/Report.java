import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.Supplier;

/** Features by name, run one after the other, a line each. */
final class Report {
    /** The test of a feature. */
    interface Feature {
        void run() throws Exception;
    }

    private final Map<String, Feature> features = new LinkedHashMap<>();

    void feature(String name, Feature feature) {
        features.put(name, feature);
    }

    /** Runs all, or those in `chosen`, with commas between them. */
    void main(String chosen) {
        if (!chosen.isEmpty()) {
            features.keySet().retainAll(Arrays.asList(chosen.split(",")));
        }
        System.out.println("plan\t" + String.join(" ", features.keySet()));
        features.forEach((name, feature) -> {
            long began = System.nanoTime();
            System.err.println("-- " + name);
            String result = "ok";
            String detail = "";
            try {
                feature.run();
            } catch (NoSuchMethodError | NoClassDefFoundError error) {
                result = "unsupported";
                detail = "this version of the client has no such call";
            } catch (Throwable error) {
                error.printStackTrace();
                result = "failed";
                detail = (error.getCause() == null ? error : error.getCause()).toString();
            }
            System.err.printf("-- %s: %.1f s%n", name, (System.nanoTime() - began) / 1e9);
            detail = detail.replaceAll("\\s+", " ");
            System.out.println(name + "\t" + result + "\t" + detail.substring(0, Math.min(300, detail.length())));
        });
        System.out.flush();
        // What a failed feature left running does not hold the process up.
        Runtime.getRuntime().halt(0);
    }

    static void check(boolean condition, Object detail) {
        if (!condition) {
            throw new AssertionError(detail);
        }
    }

    static void equal(Object found, Object expected, String what) {
        check(found.equals(expected), what + ": " + found + " instead of " + expected);
    }

    static void until(Supplier<Boolean> ready, String what) throws InterruptedException {
        long end = System.nanoTime() + 30_000_000_000L;
        while (System.nanoTime() < end) {
            if (ready.get()) {
                return;
            }
            Thread.sleep(20);
        }
        throw new AssertionError(what + ": not within 30 s");
    }

    /** Runs what must fail with an error of this kind, wrapped or not. */
    static void raises(Class<? extends Throwable> kind, Feature feature) {
        try {
            feature.run();
        } catch (Throwable error) {
            Throwable cause = kind.isInstance(error) || error.getCause() == null ? error : error.getCause();
            check(kind.isInstance(cause), cause + " instead of " + kind.getSimpleName());
            return;
        }
        throw new AssertionError("no " + kind.getSimpleName());
    }

    static <T> List<T> sorted(java.util.stream.Stream<T> items) {
        return items.sorted().toList();
    }
}
