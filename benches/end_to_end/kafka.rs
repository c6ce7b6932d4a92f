//! Apache Kafka beside ours: fetches it from Maven Central, and starts it as its own scripts would: one node that is
//! controller and broker, a heap of 1 GiB, G1 with the settings of `kafka-run-class.sh`.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

/// The version that is fetched.
pub const VERSION: &str = "4.3.1";
/// The cluster's id, any 16 bytes in base64.
const CLUSTER_ID: &str = "Y29yZWxvZy1iZW5jaG1hcg";
/// The logging that the distribution has; its default configuration writes errors to the console, which an error of ours
/// then shows.
const LOG4J_VERSION: &str = "2.25.4";
/// `kafka-server-start.sh` and `kafka-run-class.sh`.
const JVM_OPTIONS: &[&str] = &[
    "-Xmx1G",
    "-Xms1G",
    "-server",
    "-XX:+UseG1GC",
    "-XX:MaxGCPauseMillis=20",
    "-XX:InitiatingHeapOccupancyPercent=35",
    "-XX:+ExplicitGCInvokesConcurrent",
    "-Djava.awt.headless=true",
];

/// The mark of a directory that has all of them.
const COMPLETE: &str = "complete";

fn home() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("../kafka/{VERSION}"))
}

/// Whether the jars are there already, so that `mvn` is not needed.
pub fn is_fetched() -> bool {
    home().join(COMPLETE).exists()
}

/// A directory with Kafka's jars, fetched unless it is there already. Needs `java` and `mvn`.
///
/// # Errors
/// When they cannot be had.
pub fn fetch() -> anyhow::Result<PathBuf> {
    let home = home();
    let jars = home.join("jars");
    if is_fetched() {
        return Ok(jars);
    }
    eprintln!("fetching Kafka {VERSION} from Maven Central");
    fs::create_dir_all(&home)?;
    let dependency = |group: &str, artifact: &str, version: &str| {
        format!(
            "<dependency><groupId>{group}</groupId><artifactId>{artifact}</artifactId><version>{version}</version>\
             </dependency>\n"
        )
    };
    let dependencies = [
        dependency("org.apache.kafka", "kafka_2.13", VERSION),
        dependency("org.apache.kafka", "kafka-tools", VERSION),
        dependency("org.apache.logging.log4j", "log4j-slf4j-impl", LOG4J_VERSION),
    ];
    let pom = format!(
        "<project xmlns=\"http://maven.apache.org/POM/4.0.0\">\n<modelVersion>4.0.0</modelVersion>\n\
         <groupId>bench</groupId><artifactId>bench</artifactId><version>1</version>\n\
         <dependencies>\n{}</dependencies>\n</project>\n",
        dependencies.concat()
    );
    fs::write(home.join("pom.xml"), pom)?;
    let mut maven = Command::new("mvn");
    maven.args(["--quiet", "--batch-mode", "dependency:copy-dependencies", "-DincludeScope=runtime"]);
    maven.arg(format!("-DoutputDirectory={}", jars.display())).current_dir(&home);
    let output = maven.output().context("run mvn, which fetches Kafka: install Maven")?;
    ensure!(output.status.success(), "mvn failed:\n{}", String::from_utf8_lossy(&output.stdout));
    fs::write(home.join(COMPLETE), "")?;
    Ok(jars)
}

/// Writes a configuration into `directory`, and formats the storage there. `durable` has every append flushed before it
/// is acknowledged. The port that it will listen on.
///
/// # Errors
/// When Kafka refuses.
pub fn configure(jars: &Path, directory: &Path, durable: bool) -> anyhow::Result<u16> {
    // Kept open together, so that they differ.
    let (broker, controller) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    let (port, controller_port) = (broker.local_addr()?.port(), controller.local_addr()?.port());
    let logs = directory.join("logs");
    let mut properties = format!(
        "process.roles=broker,controller\n\
         node.id=1\n\
         controller.quorum.voters=1@127.0.0.1:{controller_port}\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\n\
         controller.listener.names=CONTROLLER\n\
         inter.broker.listener.name=PLAINTEXT\n\
         listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n\
         log.dirs={}\n\
         offsets.topic.replication.factor=1\n\
         transaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\n\
         # So that a row's files are gone before the next row.\n\
         log.segment.delete.delay.ms=1000\n",
        logs.display()
    );
    if durable {
        properties.push_str("log.flush.interval.messages=1\n");
    }
    fs::write(directory.join("server.properties"), properties)?;
    let mut format = java(jars);
    format.args(["kafka.tools.StorageTool", "format", "--cluster-id", CLUSTER_ID, "--config"]);
    let output = format.arg(directory.join("server.properties")).output().context("run java")?;
    ensure!(output.status.success(), "format: {}", String::from_utf8_lossy(&output.stderr));
    Ok(port)
}

/// The command that runs a broker that was configured in `directory`.
pub fn command(jars: &Path, directory: &Path) -> Command {
    let mut command = java(jars);
    command.arg("kafka.Kafka").arg(directory.join("server.properties"));
    command
}

fn java(jars: &Path) -> Command {
    let mut command = Command::new("java");
    command.args(JVM_OPTIONS).arg("-cp").arg(jars.join("*"));
    command
}
