//! Starting and stopping the broker.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use corelog_load::client::cluster::Cluster;
use corelog_load::process::Process;

use crate::kafka;
use crate::options::BrokerKind;

/// How long a broker may take to start or to stop: Kafka takes minutes with many partitions on a busy machine.
pub const DEADLINE: Duration = Duration::from_secs(600);
/// How many of the log's first and of its last lines an error shows.
const LOG_LINES_SHOWN: usize = 20;

/// A broker's process, and its data directory, which goes with it.
pub struct Broker {
    /// Which one.
    pub kind: BrokerKind,
    child: Child,
    address: SocketAddr,
    data_dir: PathBuf,
    /// Where Kafka's jars are.
    jars: PathBuf,
    log: Log,
    started_in: Duration,
}

impl Broker {
    /// Starts one on an empty directory below `parent`, and waits until it serves.
    ///
    /// # Errors
    /// When the directory cannot be made, or the broker ends.
    pub fn start(kind: BrokerKind, parent: &Path) -> anyhow::Result<Broker> {
        let data_dir = parent.join(format!("{kind}-{}", std::process::id()));
        if data_dir.exists() {
            std::fs::remove_dir_all(&data_dir)?;
        }
        std::fs::create_dir_all(&data_dir).with_context(|| format!("create {}", data_dir.display()))?;
        let (jars, port) = match kind {
            // Before the clock runs: it may have to be built.
            BrokerKind::Corelog => corelog().map(|_| (PathBuf::new(), 0))?,
            BrokerKind::Kafka | BrokerKind::KafkaDurable => {
                let jars = kafka::fetch()?;
                let port = kafka::configure(&jars, &data_dir, kind == BrokerKind::KafkaDurable)?;
                (jars, port)
            }
        };
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let start = Instant::now();
        let (child, log) = spawn(kind, &jars, &data_dir, address)?;
        let mut broker = Broker { kind, child, address, data_dir, jars, log, started_in: Duration::ZERO };
        broker.wait_until_served()?;
        broker.started_in = start.elapsed();
        Ok(broker)
    }

    /// Starts it again after [`Broker::stop`] or [`Broker::kill`], on the same data and address, and waits until it serves.
    ///
    /// # Errors
    /// When the broker ends.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        (self.child, self.log) = spawn(self.kind, &self.jars, &self.data_dir, self.address)?;
        self.wait_until_served()
    }

    /// How long the first start took, until it served.
    pub fn started_in(&self) -> Duration {
        self.started_in
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    pub fn process(&self) -> Process {
        Process(self.child.id())
    }

    /// The first and the last lines of its log.
    pub fn log_ends(&self) -> String {
        self.log.ends()
    }

    /// Waits until it tells clients of a broker.
    fn wait_until_served(&mut self) -> anyhow::Result<()> {
        if self.kind == BrokerKind::Corelog {
            self.address = self.wait_for("the line that tells the address", |broker| broker.log.address())?;
        }
        self.wait_for("an answer that names a broker", |broker| {
            let brokers = Cluster::connect(&broker.address.to_string()).and_then(|mut cluster| cluster.brokers());
            brokers.ok().filter(|&brokers| brokers > 0)
        })?;
        Ok(())
    }

    fn wait_for<T>(&mut self, what: &str, probe: impl Fn(&Broker) -> Option<T>) -> anyhow::Result<T> {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(answer) = probe(self) {
                return Ok(answer);
            }
            if let Some(status) = self.child.try_wait()? {
                bail!("{} ended with {status}; its log:\n{}", self.kind, self.log.ends());
            }
            ensure!(Instant::now() < end, "{} did not give {what} in {DEADLINE:?}:\n{}", self.kind, self.log.ends());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Ends it as a crash does.
    ///
    /// # Errors
    /// When it has ended already.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Stops it with SIGTERM.
    ///
    /// # Errors
    /// When it does not end, or not cleanly.
    pub fn stop(&mut self) -> anyhow::Result<()> {
        let id = i32::try_from(self.child.id())?;
        // SAFETY: kill(2) touches no memory; the child has not been waited for, so its id is its own.
        ensure!(unsafe { libc::kill(id, libc::SIGTERM) } == 0, "SIGTERM: {}", std::io::Error::last_os_error());
        let end = Instant::now() + DEADLINE;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait()? {
                // Java ends with 128 + 15 after SIGTERM.
                ensure!(
                    matches!(status.code(), Some(0 | 143)),
                    "{} ended with {status}:\n{}",
                    self.kind,
                    self.log.ends()
                );
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(2));
        }
        bail!("{} did not end in {DEADLINE:?}", self.kind)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It may have ended already, and the directory may be gone.
        let _ended = self.child.kill();
        let _ended = self.child.wait();
        let _gone = std::fs::remove_dir_all(&self.data_dir);
    }
}

fn spawn(kind: BrokerKind, jars: &Path, data_dir: &Path, address: SocketAddr) -> anyhow::Result<(Child, Log)> {
    let mut command = match kind {
        BrokerKind::Corelog => {
            let mut command = Command::new(corelog()?);
            command.args(["serve", "--listen", &address.to_string(), "--data-dir"]).arg(data_dir);
            command.env_remove("CORELOG_LOG");
            command
        }
        BrokerKind::Kafka | BrokerKind::KafkaDurable => kafka::command(jars, data_dir),
    };
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // A benchmark that is killed takes its brokers along.
    // SAFETY: prctl(2) is a plain system call, and what runs between fork and exec allocates nothing.
    unsafe {
        command.pre_exec(|| match libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
    }
    let mut child = command.spawn().with_context(|| format!("start {kind}"))?;
    let log = Log::default();
    log.follow(child.stdout.take().context("stdout is piped")?);
    log.follow(child.stderr.take().context("stderr is piped")?);
    Ok((child, log))
}

/// This repository's broker, next to the load generator; built when it is not there, or not as new as its sources.
fn corelog() -> anyhow::Result<&'static Path> {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    if BINARY.get().is_none() {
        let load = Path::new(env!("CARGO_BIN_EXE_corelog-load"));
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--package", "corelog", "--bin", "corelog"]);
        if load.parent().is_some_and(|directory| directory.ends_with("release")) {
            cargo.arg("--release");
        }
        let status = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status().context("run cargo")?;
        ensure!(status.success(), "the broker cannot be built");
        BINARY.get_or_init(|| load.with_file_name("corelog"));
    }
    BINARY.get().map(PathBuf::as_path).context("the broker's binary")
}

/// What the process wrote to stdout and stderr.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Lines>>);

#[derive(Default)]
struct Lines {
    address: Option<SocketAddr>,
    first: Vec<String>,
    last: VecDeque<String>,
}

impl Log {
    fn follow(&self, output: impl Read + Send + 'static) {
        let log = self.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(output).split(b'\n').map_while(Result::ok) {
                log.push(String::from_utf8_lossy(&line).into_owned());
            }
        });
    }

    fn push(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(|broken| broken.into_inner());
        if let Some((_, rest)) = line.split_once("serving on ") {
            lines.address = rest.split_whitespace().next().and_then(|address| address.parse().ok());
        }
        if lines.first.len() < LOG_LINES_SHOWN {
            lines.first.push(line);
            return;
        }
        if lines.last.len() == LOG_LINES_SHOWN {
            lines.last.pop_front();
        }
        lines.last.push_back(line);
    }

    fn address(&self) -> Option<SocketAddr> {
        self.0.lock().unwrap_or_else(|broken| broken.into_inner()).address
    }

    fn ends(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(|broken| broken.into_inner());
        Vec::from_iter(lines.first.iter().chain(&lines.last).map(String::as_str)).join("\n")
    }
}
