//! The broker's life in the hands of this tool: started, killed at random moments under load, started again.
//!
//! Either its process is a child of this one (`--broker-cmd`), killed with SIGKILL; or two commands do it
//! (`--kill-broker-cmd`, `--restart-broker-cmd`), for brokers that run elsewhere. After a start it is waited for until
//! it answers at `--bootstrap`.
//!
//! A child has a process group of its own, so that Ctrl-C ends the load first and the broker by its owner's hand. What it
//! prints goes to a file beside other temporary files, whose last lines are told when it does not come up, and which is
//! removed when nobody was told of it. A second Ctrl-C ends this tool at once and leaves the broker running.

use std::cell::Cell;
use std::fs::{File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};

use crate::client::cluster::Cluster;
use crate::clock;
use crate::live::tell;
use crate::load::Load;
use crate::options::BrokerKillOptions;
use crate::random::Random;

/// How often a broker that starts is asked whether it serves, and a load whether it is over.
const POLL_EVERY: Duration = Duration::from_millis(20);
/// How long a killed broker stays dead, at most.
const DEAD_MAX: Duration = Duration::from_millis(500);
/// How long a broker serves until it is killed again, at least: longer than clients wait between two attempts to connect,
/// so that each kill is one under load.
const ALIVE_MIN: Duration = Duration::from_millis(1500);
/// How long a broker may take to stop when it is asked to; then it is killed.
const STOP_DEADLINE: Duration = Duration::from_secs(10);
/// Lines of its output that are told when it does not come up, and bytes of it that are looked at.
const TOLD_LINES: usize = 10;
const TOLD_BYTES: usize = 16 << 10;
/// Kills fall into this part of a load: it is under way, and time is left to go on.
const KILLS_FROM: f64 = 0.05;
const KILLS_UNTIL: f64 = 0.95;

/// Random moments of a load of this length, each in its own of `count` equal parts.
pub fn moments(random: &mut Random, count: u32, length: Duration) -> Vec<Duration> {
    let part = (KILLS_UNTIL - KILLS_FROM) / f64::from(count.max(1));
    (0..count).map(|index| length.mul_f64(KILLS_FROM + part * (f64::from(index) + random.unit()))).collect()
}

/// The broker.
pub struct BrokerControl {
    bootstrap: String,
    way: Way,
    output: Output,
    give_up: Duration,
    quiet: bool,
}

enum Way {
    Child { command: String, child: Option<Child> },
    Commands { kill: String, restart: String },
}

impl BrokerControl {
    /// What the options say; `None` when they leave the broker alone. A broker that is to be a child is started.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn open(options: &BrokerKillOptions, bootstrap: &str, quiet: bool) -> anyhow::Result<Option<BrokerControl>> {
        options.check()?;
        let way = match (&options.broker_cmd, &options.kill_broker_cmd, &options.restart_broker_cmd) {
            (Some(command), ..) => {
                ensure!(
                    Cluster::connect(bootstrap).is_err(),
                    "--broker-cmd starts a broker, and one serves at {bootstrap} already"
                );
                Way::Child { command: command.clone(), child: None }
            }
            (None, Some(kill), Some(restart)) => Way::Commands { kill: kill.clone(), restart: restart.clone() },
            _ => return Ok(None),
        };
        let (bootstrap, give_up) = (bootstrap.to_owned(), options.give_up);
        let mut control = BrokerControl { bootstrap, way, output: Output::create()?, give_up, quiet };
        if matches!(control.way, Way::Child { .. }) {
            control.start(|| false)?;
        }
        Ok(Some(control))
    }

    /// Kills the broker at these moments, counted from the start of the load, and starts it again each time; watches it
    /// until `end`. How often it killed it, until the load was over.
    ///
    /// # Errors
    /// When it cannot be killed, does not come up again, or ends by itself.
    pub fn kill_at(
        &mut self,
        moments: &[Duration],
        end: Duration,
        random: &mut Random,
        load: &Load,
    ) -> anyhow::Result<u32> {
        let mut serves_since = load.start();
        for (index, &moment) in moments.iter().enumerate() {
            let moment = (load.start() + moment).max(serves_since + ALIVE_MIN);
            self.watch(moment.min(load.start() + end), load)?;
            if load.is_over(clock::now()) || clock::now() >= load.start() + end {
                self.tell(&format!("only {index} of {} kills of the broker: the load was over before", moments.len()));
                return Ok(index as u32);
            }
            self.kill()?;
            let dead_for = DEAD_MAX.mul_f64(random.unit());
            let count = format!("{} of {}", index + 1, moments.len());
            self.tell(&format!("{:.1} s: broker killed ({count})", since(load.start())));
            clock::sleep_until(clock::now() + dead_for);
            let started = clock::now();
            self.start(|| load.is_cut_short())?;
            if load.is_cut_short() {
                return Ok(index as u32 + 1);
            }
            serves_since = clock::now();
            self.tell(&format!(
                "{:.1} s: broker serves again, {:.2} s after its start",
                since(load.start()),
                since(started)
            ));
        }
        self.watch(load.start() + end, load)?;
        Ok(moments.len() as u32)
    }

    /// Waits until then, or until the load is over. A broker that ends meanwhile is an error.
    fn watch(&mut self, until: Instant, load: &Load) -> anyhow::Result<()> {
        while clock::now() < until && !load.is_over(clock::now()) {
            self.look()?;
            clock::sleep_until(until.min(clock::now() + POLL_EVERY));
        }
        Ok(())
    }

    /// An error when the broker is a child, and has ended by itself.
    fn look(&mut self) -> anyhow::Result<()> {
        if let Way::Child { child: running @ Some(_), .. } = &mut self.way
            && let Some(child) = running
            && let Some(status) = child.try_wait().context("look after the broker")?
        {
            *running = None;
            bail!("the broker ended by itself ({status}); it said:\n{}", self.output.last_lines());
        }
        Ok(())
    }

    fn kill(&mut self) -> anyhow::Result<()> {
        self.look()?;
        match &mut self.way {
            Way::Child { child: running, .. } => {
                let Some(mut child) = running.take() else { bail!("the broker does not run") };
                signal(&child, libc::SIGKILL);
                child.wait().context("wait for the killed broker")?;
                Ok(())
            }
            Way::Commands { kill, .. } => run(kill, "--kill-broker-cmd", &self.output),
        }
    }

    /// Starts the broker, and waits until it serves, or nobody cares any more.
    fn start(&mut self, is_cut_short: impl Fn() -> bool) -> anyhow::Result<()> {
        match &mut self.way {
            Way::Child { command, child } => {
                let mut shell = Command::new("sh");
                shell.arg("-c").arg(format!("exec {command}")).process_group(0).stdin(Stdio::null());
                shell.stdout(self.output.handle()?).stderr(self.output.handle()?);
                *child = Some(shell.spawn().with_context(|| format!("--broker-cmd '{command}'"))?);
            }
            Way::Commands { restart, .. } => run(restart, "--restart-broker-cmd", &self.output)?,
        }
        let end = clock::now() + self.give_up;
        loop {
            let error = match Cluster::connect(&self.bootstrap) {
                Ok(_) => return Ok(()),
                Err(_) if is_cut_short() => return Ok(()),
                Err(error) => error,
            };
            if let Way::Child { child: Some(child), .. } = &mut self.way
                && let Some(status) = child.try_wait().context("look after the broker")?
            {
                bail!("the broker ended before it served ({status}); it said:\n{}", self.output.last_lines());
            }
            if clock::now() > end {
                let seconds = self.give_up.as_secs_f64();
                let said = self.output.last_lines();
                return Err(
                    error.context(format!("the broker does not serve {seconds} s after its start; it said:\n{said}"))
                );
            }
            std::thread::sleep(POLL_EVERY);
        }
    }

    /// Stops a broker that is a child.
    ///
    /// # Errors
    /// When it ended by itself before.
    pub fn stop(mut self) -> anyhow::Result<()> {
        self.look()?;
        if let Way::Child { child: Some(child), .. } = &mut self.way {
            signal(child, libc::SIGTERM);
            let end = clock::now() + STOP_DEADLINE;
            while child.try_wait().context("look after the broker")?.is_none() && clock::now() < end {
                std::thread::sleep(POLL_EVERY);
            }
        }
        Ok(())
    }

    fn tell(&self, what: &str) {
        if !self.quiet {
            tell(what);
        }
    }
}

impl Drop for BrokerControl {
    fn drop(&mut self) {
        if let Way::Child { child: Some(child), .. } = &mut self.way {
            if !matches!(child.try_wait(), Ok(Some(_))) {
                signal(child, libc::SIGKILL);
            }
            let _gone = child.wait();
        }
    }
}

fn since(start: Instant) -> f64 {
    clock::now().saturating_duration_since(start).as_secs_f64()
}

/// Sends a signal to a child's process group, of which the child is the leader and has not been waited for.
fn signal(child: &Child, signal: libc::c_int) {
    let Ok(id) = libc::pid_t::try_from(child.id()) else { return };
    // SAFETY: kill(2) touches no memory. The child has not been waited for, so the group's id is still its own.
    unsafe { libc::kill(-id, signal) };
}

/// Runs a command to its end.
fn run(command: &str, option: &str, output: &Output) -> anyhow::Result<()> {
    let what = || format!("{option} '{command}'");
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(command).process_group(0).stdin(Stdio::null());
    shell.stdout(output.handle()?).stderr(output.handle()?);
    let status = shell.status().with_context(what)?;
    ensure!(status.success(), "{} failed ({status}); it said:\n{}", what(), output.last_lines());
    Ok(())
}

/// The file that commands print to.
struct Output {
    path: PathBuf,
    file: File,
    /// Whether somebody was told where it is: then it stays.
    is_told: Cell<bool>,
}

impl Output {
    fn create() -> anyhow::Result<Output> {
        for number in 0.. {
            let name = format!("corelog-load-broker-{}-{number}.log", std::process::id());
            let path = std::env::temp_dir().join(name);
            match OpenOptions::new().append(true).create_new(true).open(&path) {
                Ok(file) => return Ok(Output { path, file, is_told: Cell::new(false) }),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).with_context(|| format!("create {}", path.display())),
            }
        }
        bail!("no name is left for the broker's output")
    }

    fn handle(&self) -> anyhow::Result<Stdio> {
        Ok(self.file.try_clone().context("the file of the broker's output")?.into())
    }

    /// Its last lines, and where it is.
    fn last_lines(&self) -> String {
        self.is_told.set(true);
        let bytes = std::fs::read(&self.path).unwrap_or_default();
        let tail = &bytes[bytes.len().saturating_sub(TOLD_BYTES)..];
        let text = String::from_utf8_lossy(tail);
        let lines: Vec<&str> = text.lines().collect();
        let told = &lines[lines.len().saturating_sub(TOLD_LINES)..];
        format!("  {}\n(all of it: {})", told.join("\n  "), self.path.display())
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        if !self.is_told.get() {
            // A file that stays is no harm.
            let _stays = std::fs::remove_file(&self.path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_random_in_order_and_within_the_load() {
        let length = Duration::from_secs(100);
        let draw = |seed| moments(&mut Random::new(seed), 5, length);
        let moments = draw(1);
        assert_eq!(moments, draw(1));
        assert_ne!(moments, draw(2));
        assert!(moments.is_sorted() && moments.len() == 5);
        for (index, moment) in moments.iter().enumerate() {
            let part = 5.0 + 18.0 * index as f64;
            assert!((part..part + 18.0).contains(&moment.as_secs_f64()), "{moments:?}");
        }
        assert!(super::moments(&mut Random::new(1), 0, length).is_empty());
    }

    #[test]
    fn a_broker_that_does_not_come_up_is_told_with_its_words() {
        let options = |command: &str| BrokerKillOptions {
            broker_kills: 1,
            broker_cmd: Some(command.to_owned()),
            kill_broker_cmd: None,
            restart_broker_cmd: None,
            seed: 1,
            give_up: Duration::from_millis(300),
        };
        let open = |command| match BrokerControl::open(&options(command), "127.0.0.1:1", true) {
            Ok(_) => panic!("nothing serves"),
            Err(error) => {
                let error = format!("{error:#}");
                let (_, path) = error.rsplit_once("(all of it: ").expect("where its words are");
                std::fs::remove_file(path.split(')').next().expect("a path")).expect("its words");
                error
            }
        };
        let error = open("sh -c 'echo no such directory; exit 3'");
        assert!(
            error.contains("ended before it served (exit status: 3)") && error.contains("no such directory"),
            "{error}"
        );
        let error = open("sleep 60");
        assert!(error.contains("does not serve 0.3 s after its start"), "{error}");
    }

    #[test]
    fn a_command_that_fails_is_told_with_its_words() {
        let output = Output::create().expect("a file");
        assert!(run("true", "--kill-broker-cmd", &output).is_ok());
        let error =
            run("echo not allowed >&2; exit 7", "--kill-broker-cmd", &output).expect_err("a failure").to_string();
        assert!(
            error.contains("--kill-broker-cmd") && error.contains("exit status: 7") && error.contains("not allowed")
        );
        output.is_told.set(false);
    }
}
