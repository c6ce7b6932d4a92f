/** Java's kafka-clients: compiled once, run with more than one version of the library. */
public final class Main {
    private Main() {
    }

    public static void main(String[] arguments) {
        Report report = new Report();
        Session session = new Session(arguments[0]);
        new RecordFeatures(session, report);
        new GroupFeatures(session, report);
        new AdminFeatures(session, report);
        report.main(arguments.length > 1 ? arguments[1] : "");
    }
}
