//! Runs the broker and the load generator as processes.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, OnceLock, mpsc};
use std::time::Duration;

use corelog::protocol::messages::list_offsets::LATEST_TIMESTAMP;
use corelog_load::client::cluster::{Cluster, Topic};
use serde_json::Value;
use tempfile::TempDir;

/// How long a process may take to say something. Generous: a slow machine is no failure.
const DEADLINE: Duration = Duration::from_secs(60);
/// How long a run may take that is to end by itself.
const RUN_DEADLINE: Duration = Duration::from_secs(120);

/// One test at a time: what is measured shares the machine's few cores.
static TURN: Mutex<()> = Mutex::new(());

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

/// The broker's binary: next to this test's, built when it is not there, or not as new as its sources.
pub fn broker_binary() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| {
        let own = Path::new(env!("CARGO_BIN_EXE_corelog-load"));
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["build", "--quiet", "--package", "corelog", "--bin", "corelog"]);
        if own.parent().is_some_and(|directory| directory.ends_with("release")) {
            cargo.arg("--release");
        }
        let status = cargo.current_dir(env!("CARGO_MANIFEST_DIR")).status().expect("run cargo");
        assert!(status.success(), "the broker cannot be built");
        own.with_file_name("corelog")
    })
}

/// The command line of a broker that the load generator starts itself, with its data below `home`.
pub fn broker_command(port: u16, home: &Path) -> String {
    let (binary, data) = (broker_binary().display(), home.join("data"));
    format!("{binary} serve --listen 127.0.0.1:{port} --shards 2 --data-dir {}", data.display())
}

/// A directory that vanishes with the test, on the disk of the build and not on a tmpfs, which knows no direct I/O.
pub fn private_dir() -> TempDir {
    tempfile::Builder::new().prefix("load-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a private directory")
}

/// The lines of a stream, read by a thread so that the process never waits.
fn lines(stream: impl Read + Send + 'static) -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
            if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                break;
            }
        }
    });
    receiver
}

/// This test's turn, for one that starts its broker in its own way.
pub fn turn() -> std::sync::MutexGuard<'static, ()> {
    TURN.lock().unwrap_or_else(|broken| broken.into_inner())
}

/// A broker on an empty directory. Dropping it kills the process.
pub struct Broker {
    child: Child,
    bootstrap: String,
    _log: mpsc::Receiver<String>,
    _home: TempDir,
    _turn: std::sync::MutexGuard<'static, ()>,
}

impl Broker {
    /// Starts it, and waits until it serves.
    pub fn start() -> Broker {
        Broker::start_with(&[])
    }

    /// Starts it with more arguments.
    pub fn start_with(more: &[&str]) -> Broker {
        let binary = broker_binary();
        let turn = turn();
        let home = private_dir();
        let mut command = Command::new(binary);
        command.args(["serve", "--listen", "127.0.0.1:0", "--shards", "2", "--data-dir"]).arg(home.path().join("data"));
        command.args(more);
        command.env_remove("CORELOG_LOG").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("start the broker");
        let log = lines(child.stderr.take().expect("stderr is piped"));
        let mut seen = Vec::new();
        let bootstrap = loop {
            let Ok(line) = log.recv_timeout(DEADLINE) else { panic!("the broker does not serve; it said: {seen:#?}") };
            if let Some((_, rest)) = line.split_once("serving on ") {
                break rest.split_whitespace().next().expect("an address").to_owned();
            }
            seen.push(line);
        };
        Broker { child, bootstrap, _log: log, _home: home, _turn: turn }
    }

    /// `HOST:PORT`.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// Its process.
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a crash does.
    pub fn kill9(&mut self) {
        self.child.kill().expect("SIGKILL");
        self.child.wait().expect("the killed process is gone");
    }

    /// Deletes a topic.
    pub fn delete(&self, topic: &str) {
        Cluster::connect(&self.bootstrap).and_then(|mut cluster| cluster.delete_topic(topic)).expect("deleted");
    }

    /// The sum of the high watermarks of a topic, which must have this many partitions.
    pub fn records(&self, topic: &str, partitions: usize) -> i64 {
        let mut cluster = Cluster::connect(&self.bootstrap).expect("the broker answers");
        let topic: Topic = cluster.topic(topic).expect("the topic");
        let ends = cluster.offsets(&topic, LATEST_TIMESTAMP).expect("offsets");
        assert_eq!(ends.len(), partitions);
        ends.iter().sum()
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A load generator that runs.
pub struct Run {
    child: Child,
    stdout: mpsc::Receiver<String>,
    stderr: mpsc::Receiver<String>,
    seen: std::cell::RefCell<Vec<String>>,
    files: TempDir,
}

/// One that has ended.
pub struct Ended {
    /// The exit code; none for a signal.
    pub code: Option<i32>,
    /// All of stdout.
    pub stdout: String,
    /// All of stderr.
    pub stderr: String,
    /// The JSON file; null when there is none.
    pub report: Value,
    /// The histogram file; empty when there is none.
    pub hgrm: String,
    /// The directory of its temporary files.
    pub files: TempDir,
}

/// Runs the load generator with these arguments to its end.
pub fn load(arguments: &str) -> Ended {
    Run::start(arguments).wait()
}

/// The same with one more argument, which may hold spaces.
pub fn load_with(arguments: &str, last: &str) -> Ended {
    Run::start_with(arguments, &[last]).wait()
}

impl Run {
    /// Starts the load generator with these arguments, and with files for all results.
    pub fn start(arguments: &str) -> Run {
        Run::start_with(arguments, &[])
    }

    /// The same with more arguments, which may hold spaces.
    pub fn start_with(arguments: &str, more: &[&str]) -> Run {
        let files = private_dir();
        let mut command = Command::new(env!("CARGO_BIN_EXE_corelog-load"));
        command.args(arguments.split_whitespace()).args(more);
        command.arg("--json").arg(files.path().join("run.json")).arg("--hgrm").arg(files.path().join("run.hgrm"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // What it keeps for people vanishes with the test.
        command.env("TMPDIR", files.path());
        let mut child = command.spawn().expect("start the load generator");
        let stdout = lines(child.stdout.take().expect("stdout is piped"));
        let stderr = lines(child.stderr.take().expect("stderr is piped"));
        Run { child, stdout, stderr, seen: Default::default(), files }
    }

    /// Waits for the line of the first second.
    pub fn wait_for_a_line(&self) {
        let line = self.stderr.recv_timeout(DEADLINE).expect("a line each second");
        assert!(line.contains("records/s"), "{line}");
        self.seen.borrow_mut().push(line);
    }

    /// Waits for the line of a track's first second.
    pub fn wait_for_a_line_of(&self, track: &str) {
        self.wait_for_output(&format!("  {track} "));
    }

    /// Waits for a line with `what` in it.
    pub fn wait_for_output(&self, what: &str) {
        loop {
            let line = self.stderr.recv_timeout(DEADLINE).expect("a line each second");
            let is_it = line.contains(what);
            self.seen.borrow_mut().push(line);
            if is_it {
                return;
            }
        }
    }

    /// Its process.
    pub fn process_id(&self) -> u32 {
        self.child.id()
    }

    /// Ctrl-C.
    pub fn interrupt(&self) {
        let id = i32::try_from(self.child.id()).expect("process ids fit an i32");
        // SAFETY: kill(2) touches no memory; the child has not been waited for, so its id is its own.
        assert_eq!(unsafe { libc::kill(id, libc::SIGINT) }, 0);
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Ended {
        let collect = |stream: &mpsc::Receiver<String>| {
            let mut all = String::new();
            loop {
                match stream.recv_timeout(RUN_DEADLINE) {
                    Ok(line) => all.push_str(&(line + "\n")),
                    Err(mpsc::RecvTimeoutError::Disconnected) => return Some(all),
                    Err(mpsc::RecvTimeoutError::Timeout) => return None,
                }
            }
        };
        let (Some(stdout), Some(rest)) = (collect(&self.stdout), collect(&self.stderr)) else {
            self.child.kill().expect("SIGKILL");
            self.child.wait().expect("the killed process is gone");
            panic!("the load generator said nothing for {RUN_DEADLINE:?}, and did not end");
        };
        let code = self.child.wait().expect("its end").code();
        let seen = self.seen.take().join("\n");
        let file = |name: &str| std::fs::read_to_string(self.files.path().join(name)).ok();
        Ended {
            code,
            stdout,
            stderr: seen + &rest,
            report: file("run.json").map_or(Value::Null, |text| serde_json::from_str(&text).expect("JSON")),
            hgrm: file("run.hgrm").unwrap_or_default(),
            files: self.files,
        }
    }
}

impl Ended {
    /// The figures of a track.
    pub fn track(&self, name: &str) -> &Value {
        let mut tracks = self.report["tracks"].as_array().expect("tracks").iter();
        tracks.find(|track| track["name"] == name).unwrap_or_else(|| panic!("no track {name} in {}", self.report))
    }

    /// Holds it to exit code 0.
    pub fn expect_success(&self) {
        assert_eq!(self.code, Some(0), "{}\n{}", self.stdout, self.stderr);
        assert_eq!(self.report["ended"], "complete");
        assert_eq!(self.report["failures"], Value::Array(Vec::new()));
    }

    /// Holds it to exit code 1, with a summary that tells a failure with `what` in it.
    pub fn expect_failure(&self, what: &str) {
        assert_eq!(self.code, Some(1), "{}\n{}", self.stdout, self.stderr);
        assert!(self.stdout.contains(what), "{}", self.stdout);
        assert!(self.report["failures"].as_array().is_some_and(|failures| !failures.is_empty()));
    }

    /// Holds it to exit code 1, and one line on stderr with `what` in it.
    pub fn expect_error_line(&self, what: &str) {
        assert_eq!(self.code, Some(1), "{}\n{}", self.stdout, self.stderr);
        assert!(self.stderr.starts_with("corelog-load: ") && self.stderr.contains(what), "{}", self.stderr);
        assert_eq!((self.stderr.lines().count(), self.stdout.as_str()), (1, ""), "{}", self.stderr);
    }
}
