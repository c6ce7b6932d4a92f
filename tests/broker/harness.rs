//! Starts, kills and restarts the broker's process, and waits for things with a deadline.

use std::io::{BufRead, BufReader};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

/// How long a broker may take until it serves. Generous: a slow machine is no failure.
const START_DEADLINE: Duration = Duration::from_secs(60);
/// How long a broker may take to end after a signal.
const STOP_DEADLINE: Duration = Duration::from_secs(10);
/// How long a test waits for anything else.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// How many brokers run at once, however many threads run tests.
const BROKERS_MAX: usize = 4;
/// How many of the log's last lines a failing test prints.
const LOG_LINES_SHOWN: usize = 200;

/// Asks `probe` until it answers, and panics with `what` when the deadline has passed.
pub fn wait_within<T>(deadline: Duration, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + deadline;
    loop {
        if let Some(answer) = probe() {
            return answer;
        }
        assert!(Instant::now() < end, "waited {deadline:?} in vain: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// [`wait_within`] the usual deadline.
pub fn wait_for<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    wait_within(DEADLINE, what, probe)
}

/// A name that no other test and no earlier run has used, so that a broker that stays can be tested twice.
pub fn unique(stem: &str) -> String {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    format!("{stem}-{:x}-{}", now_ms(), COUNT.fetch_add(1, Ordering::Relaxed))
}

/// Milliseconds since the epoch.
pub fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970").as_millis() as i64
}

/// The lines that a process wrote to stderr, collected by a thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn follow(&self, child: &mut Child) {
        let stderr = child.stderr.take().expect("stderr is piped");
        let log = self.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
                log.push(String::from_utf8_lossy(&line).into_owned());
            }
        });
    }

    fn push(&self, line: String) {
        self.0.lock().unwrap_or_else(|broken| broken.into_inner()).push(line);
    }

    fn lines(&self) -> Vec<String> {
        self.0.lock().unwrap_or_else(|broken| broken.into_inner()).clone()
    }
}

/// One of [`BROKERS_MAX`] places; waits for a free one.
struct Slot;

static SLOTS: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

impl Slot {
    fn take() -> Slot {
        let (count, freed) = &SLOTS;
        let held = count.lock().unwrap_or_else(|broken| broken.into_inner());
        let mut held = freed.wait_while(held, |held| *held >= BROKERS_MAX).unwrap_or_else(|broken| broken.into_inner());
        *held += 1;
        Slot
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        let (count, freed) = &SLOTS;
        *count.lock().unwrap_or_else(|broken| broken.into_inner()) -= 1;
        freed.notify_one();
    }
}

/// A broker under test. Dropping it kills the process; on a failing test it prints the broker's log first.
pub struct Broker {
    bootstrap: String,
    log: Log,
    /// Absent for a broker that somebody else runs.
    own: Option<Own>,
}

/// What belongs to a broker that the harness started.
struct Own {
    child: Option<Child>,
    data_dir: PathBuf,
    /// The file that `--config` names, if any.
    config: Option<PathBuf>,
    _home: TempDir,
    _slot: Slot,
}

impl Broker {
    /// The broker that `CORELOG_TEST_BOOTSTRAP` names, or a fresh one on an empty data directory.
    pub fn start() -> Broker {
        match std::env::var("CORELOG_TEST_BOOTSTRAP") {
            Ok(bootstrap) => Broker { bootstrap, log: Log::default(), own: None },
            Err(_) => Broker::start_fresh(),
        }
    }

    /// A fresh broker for a test that must be able to end it; none, and a note, when the test may not start brokers.
    pub fn start_own() -> Option<Broker> {
        if std::env::var_os("CORELOG_TEST_BOOTSTRAP").is_some() {
            eprintln!(
                "skipped: this test starts and ends brokers, and CORELOG_TEST_BOOTSTRAP names one that it must not end"
            );
            return None;
        }
        Some(Broker::start_fresh())
    }

    /// [`Broker::start_own`], with this text as its configuration file.
    pub fn start_configured(config: &str) -> Option<Broker> {
        std::env::var_os("CORELOG_TEST_BOOTSTRAP").is_none().then(|| Broker::start_with(Some(config), None))
    }

    /// [`Broker::start_configured`], with its data in this directory.
    pub fn start_configured_in(config: &str, data_dir: &Path) -> Option<Broker> {
        let may_start = std::env::var_os("CORELOG_TEST_BOOTSTRAP").is_none();
        may_start.then(|| Broker::start_with(Some(config), Some(data_dir)))
    }

    fn start_fresh() -> Broker {
        Broker::start_with(None, None)
    }

    fn start_with(config: Option<&str>, data_dir: Option<&Path>) -> Broker {
        let slot = Slot::take();
        let home = private_dir();
        let data_dir = data_dir.map_or_else(|| home.path().join("data"), Path::to_path_buf);
        let config = config.map(|text| {
            let path = home.path().join("corelog.toml");
            std::fs::write(&path, text).expect("write a config");
            path
        });
        let own = Own { child: None, data_dir, config, _home: home, _slot: slot };
        let mut broker = Broker { bootstrap: "127.0.0.1:0".to_owned(), log: Log::default(), own: Some(own) };
        broker.restart();
        broker
    }

    /// `HOST:PORT`, as a client's `bootstrap.servers`.
    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// The data directory of a broker that the harness started.
    pub fn data_dir(&self) -> &Path {
        &self.own().data_dir
    }

    /// The process of a broker that the harness started and that runs.
    pub fn process_id(&self) -> u32 {
        self.own().child.as_ref().expect("the broker runs").id()
    }

    /// The lines that the broker wrote to stderr, over all its restarts.
    pub fn log(&self) -> Vec<String> {
        self.log.lines()
    }

    /// A broker on a data directory that is there already, with this text as its configuration file; what it said when it
    /// refused to start.
    pub fn open(data_dir: &Path, config: &str) -> Result<Broker, String> {
        let slot = Slot::take();
        let home = private_dir();
        let path = home.path().join("corelog.toml");
        std::fs::write(&path, config).expect("write a config");
        let data_dir = data_dir.to_path_buf();
        let own = Own { child: None, data_dir, config: Some(path), _home: home, _slot: slot };
        let mut broker = Broker { bootstrap: "127.0.0.1:0".to_owned(), log: Log::default(), own: Some(own) };
        match broker.try_restart() {
            Ok(()) => Ok(broker),
            Err(_) => {
                let log = broker.log.clone();
                drop(broker);
                // The thread that follows the log drops its clone at the end of the pipe.
                wait_for("stderr reaches its end", || (Arc::strong_count(&log.0) == 1).then_some(()));
                Err(log.lines().join("\n"))
            }
        }
    }

    /// Starts the broker after [`Broker::kill9`] or [`Broker::stop`], with the same data directory and port, and waits until it serves.
    pub fn restart(&mut self) {
        if let Err(status) = self.try_restart() {
            panic!("the broker ended instead of serving: {status}");
        }
    }

    fn try_restart(&mut self) -> Result<(), ExitStatus> {
        let listen = self.bootstrap.clone();
        let log = self.log.clone();
        let own = self.own_mut();
        assert!(own.child.is_none(), "a broker is restarted when it has ended");
        let seen = log.lines().len();
        let mut args = vec!["--data-dir", path_str(&own.data_dir), "--listen", &listen, "--shards", "2"];
        if let Some(config) = &own.config {
            args.extend(["--config", path_str(config)]);
        }
        let mut child = serve(&args).spawn().expect("start the broker");
        log.follow(&mut child);
        own.child = Some(child);
        self.bootstrap = wait_within(START_DEADLINE, "the broker says that it serves", || {
            let child = self.own_mut().child.as_mut().expect("it was just started");
            if let Some(status) = child.try_wait().expect("ask for the process's end") {
                return Some(Err(status));
            }
            self.log.lines().iter().skip(seen).find_map(|line| serving_address(line)).map(Ok)
        })?;
        Ok(())
    }

    /// Ends the process as a crash does: SIGKILL, no chance to write anything.
    pub fn kill9(&mut self) {
        let mut child = self.own_mut().child.take().expect("the broker runs");
        child.kill().expect("SIGKILL");
        child.wait().expect("the killed process is gone");
    }

    /// Ends the process with SIGTERM, and holds it to exit code 0 within ten seconds.
    pub fn stop(&mut self) {
        self.stop_with(libc::SIGTERM);
    }

    /// Ends the process with `signal`, and holds it to exit code 0 within ten seconds.
    pub fn stop_with(&mut self, signal: i32) {
        let child = self.own_mut().child.as_mut().expect("the broker runs");
        send_signal(child, signal);
        let status =
            wait_within(STOP_DEADLINE, "the broker ends after a signal", || child.try_wait().expect("ask for its end"));
        self.own_mut().child = None;
        assert_eq!(status.code(), Some(0), "a clean stop exits with 0, not with {status}");
    }

    fn own(&self) -> &Own {
        self.own.as_ref().expect("only for a broker from start_own()")
    }

    fn own_mut(&mut self) -> &mut Own {
        self.own.as_mut().expect("only for a broker from start_own()")
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Some(child) = self.own.as_mut().and_then(|own| own.child.as_mut()) {
            // It may have ended by itself, and then there is nothing to kill.
            let _ = child.kill();
            let _ = child.wait();
        }
        if std::thread::panicking() && self.own.is_some() {
            let lines = self.log.lines();
            let shown = lines.len().saturating_sub(LOG_LINES_SHOWN);
            eprintln!(
                "--- the broker's log, {} of {} lines:\n{}",
                lines.len() - shown,
                lines.len(),
                lines[shown..].join("\n")
            );
        }
    }
}

/// How a process ended that was expected to end by itself.
pub struct Ended {
    /// The exit status.
    pub status: ExitStatus,
    /// All of stderr.
    pub stderr: String,
}

/// Runs `corelog serve` with these arguments and waits for its end, which must come by itself.
pub fn serve_to_its_end(args: &[&str]) -> Ended {
    ended(args, serve(args).spawn().expect("start the broker"))
}

/// [`serve_to_its_end`] in a process that `prepare` has changed; its error when it could not.
///
/// `prepare` runs between fork and exec: it may make system calls, and may neither allocate nor lock.
pub fn serve_to_its_end_after(
    args: &[&str],
    prepare: impl FnMut() -> std::io::Result<()> + Send + Sync + 'static,
) -> std::io::Result<Ended> {
    let mut command = serve(args);
    // SAFETY: this function's doc hands the condition on to its callers.
    unsafe { command.pre_exec(prepare) };
    Ok(ended(args, command.spawn()?))
}

fn ended(args: &[&str], mut child: Child) -> Ended {
    let log = Log::default();
    log.follow(&mut child);
    let end = Instant::now() + START_DEADLINE;
    let status = loop {
        if let Some(status) = child.try_wait().expect("ask for its end") {
            break status;
        }
        if Instant::now() > end {
            child.kill().expect("SIGKILL");
            child.wait().expect("the killed process is gone");
            panic!("corelog serve {args:?} was to refuse to start; it ran on, and said:\n{}", log.lines().join("\n"));
        }
        std::thread::sleep(Duration::from_millis(5));
    };
    // The process is gone, its last lines may still be in the pipe: the thread drops its clone of the log at the end of the pipe.
    wait_for("stderr reaches its end", || (Arc::strong_count(&log.0) == 1).then_some(()));
    assert!(status.signal().is_none(), "corelog serve {args:?} ended by a signal: {status}");
    Ended { status, stderr: log.lines().join("\n") }
}

/// A directory that vanishes with the test, on the disk of the build and not on a tmpfs, which knows no direct I/O.
pub fn private_dir() -> TempDir {
    tempfile::Builder::new().prefix("broker-").tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a private directory")
}

/// A path as a command line takes it.
pub fn path_str(path: &Path) -> &str {
    path.to_str().expect("the build's paths are UTF-8")
}

/// Runs `corelog log` with these arguments to its end.
pub fn corelog_log(args: &[&str]) -> std::process::Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_corelog"));
    command.arg("log").args(args).stdin(Stdio::null()).output().expect("run corelog log")
}

fn serve(args: &[&str]) -> Command {
    let binary = std::env::var("CORELOG_TEST_BINARY").unwrap_or_else(|_| env!("CARGO_BIN_EXE_corelog").to_owned());
    let mut command = Command::new(binary);
    // The harness reads the log, so the log's level must not depend on who runs the tests.
    command.arg("serve").args(args).env_remove("RUST_LOG").env("CORELOG_LOG", "corelog=debug");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

fn serving_address(line: &str) -> Option<String> {
    let (_, rest) = line.split_once("serving on ")?;
    rest.split_whitespace().next().map(str::to_owned)
}

fn send_signal(child: &Child, signal: i32) {
    let id = i32::try_from(child.id()).expect("process ids fit an i32");
    // SAFETY: kill(2) touches no memory; the child has not been waited for, so its id cannot belong to another process.
    let outcome = unsafe { libc::kill(id, signal) };
    assert_eq!(outcome, 0, "signal {signal} to process {id}: {}", std::io::Error::last_os_error());
}
