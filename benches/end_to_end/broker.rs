//! Starting and stopping the broker.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::client::{Client, DEADLINE};
use crate::options::BrokerKind;
use crate::process::Process;

/// How many of the log's last lines an error shows.
const LOG_LINES_SHOWN: usize = 20;

/// A broker's process, and its data directory, which goes with it.
pub struct Broker {
    /// Which one.
    pub kind: BrokerKind,
    child: Child,
    address: SocketAddr,
    data_dir: PathBuf,
    log: Log,
}

impl Broker {
    /// Starts one on an empty directory below `parent`.
    ///
    /// # Errors
    /// When the directory cannot be made, or the broker ends.
    pub fn start(kind: BrokerKind, parent: &Path) -> anyhow::Result<Broker> {
        let data_dir = parent.join(format!("{kind}-{}", std::process::id()));
        if data_dir.exists() {
            std::fs::remove_dir_all(&data_dir)?;
        }
        std::fs::create_dir_all(&data_dir).with_context(|| format!("create {}", data_dir.display()))?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_corelog"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--data-dir"]).arg(&data_dir).env_remove("CORELOG_LOG");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("start {kind}"))?;
        let log = Log::follow(&mut child)?;
        let mut broker = Broker { kind, child, address: SocketAddr::from(([127, 0, 0, 1], 0)), data_dir, log };
        broker.address = broker.wait_for("the line that tells the address", |broker| broker.log.address())?;
        Ok(broker)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    pub fn process(&self) -> Process {
        Process(self.child.id())
    }

    /// The last lines of its log.
    pub fn log_end(&self) -> String {
        self.log.end()
    }

    /// Waits until it tells clients of a broker.
    ///
    /// # Errors
    /// When it ends instead, or takes too long.
    pub fn wait_until_served(&mut self) -> anyhow::Result<()> {
        self.wait_for("an answer that names a broker", |broker| {
            let metadata = Client::connect(broker.address).and_then(|mut client| client.metadata(&[]));
            metadata.ok().filter(|metadata| !metadata.brokers.is_empty())
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
                bail!("{} ended with {status}; its log ends:\n{}", self.kind, self.log.end());
            }
            ensure!(Instant::now() < end, "{} did not give {what} in {DEADLINE:?}:\n{}", self.kind, self.log.end());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Stops it with SIGTERM.
    ///
    /// # Errors
    /// When it does not end, or not cleanly.
    pub fn stop(mut self) -> anyhow::Result<()> {
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
                    self.log.end()
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

/// What the process wrote to stderr.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Lines>>);

#[derive(Default)]
struct Lines {
    address: Option<SocketAddr>,
    last: VecDeque<String>,
}

impl Log {
    fn follow(child: &mut Child) -> anyhow::Result<Log> {
        let stderr = child.stderr.take().context("stderr is piped")?;
        let log = Log::default();
        let followed = log.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
                followed.push(String::from_utf8_lossy(&line).into_owned());
            }
        });
        Ok(log)
    }

    fn push(&self, line: String) {
        let mut lines = self.0.lock().unwrap_or_else(|broken| broken.into_inner());
        if let Some((_, rest)) = line.split_once("serving on ") {
            lines.address = rest.split_whitespace().next().and_then(|address| address.parse().ok());
        }
        if lines.last.len() == LOG_LINES_SHOWN {
            lines.last.pop_front();
        }
        lines.last.push_back(line);
    }

    fn address(&self) -> Option<SocketAddr> {
        self.0.lock().unwrap_or_else(|broken| broken.into_inner()).address
    }

    fn end(&self) -> String {
        let lines = self.0.lock().unwrap_or_else(|broken| broken.into_inner());
        Vec::from_iter(lines.last.iter().map(String::as_str)).join("\n")
    }
}
