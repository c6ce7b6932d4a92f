//! The clients' processes: this program again, with a hidden subcommand.
//!
//! A client is asked to stop by closing its stdin. A signal could come before the client has said what to do with it, and
//! would not come when this process is killed.

use std::fs::{File, OpenOptions};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, bail};

use crate::load::Interrupt;
use crate::options::Role;

/// The last lines of a client that are told when it fails.
const TOLD_LINES: usize = 5;

/// Has `interrupt` set when the process that started this one closes its end of our stdin: because we are to stop, or
/// because it is gone.
pub fn stop_with_parent(interrupt: &Interrupt) {
    let interrupt = interrupt.clone();
    std::thread::spawn(move || {
        // An error is an end too.
        let _end = std::io::copy(&mut std::io::stdin().lock(), &mut std::io::sink());
        interrupt.set();
    });
}

/// A client that runs, or has been killed. Dropping it kills it.
pub struct ChildClient {
    role: Role,
    directory: PathBuf,
    child: Child,
    ended: Option<ExitStatus>,
}

impl ChildClient {
    /// Starts it, with its settings in `directory`.
    ///
    /// # Errors
    /// When that cannot be done.
    pub fn start(role: Role, directory: &Path) -> anyhow::Result<ChildClient> {
        Ok(ChildClient { role, directory: directory.to_owned(), child: spawn(role, directory)?, ended: None })
    }

    /// What it does.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Kills it with SIGKILL.
    ///
    /// # Errors
    /// When it had ended by itself.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        if self.has_ended_well()? {
            bail!("the {} ended before it was killed", self.role.name());
        }
        self.child.kill().context("SIGKILL")?;
        self.ended = Some(self.child.wait().context("wait for the killed client")?);
        Ok(())
    }

    /// Starts it again.
    ///
    /// # Errors
    /// When that cannot be done.
    pub fn restart(&mut self) -> anyhow::Result<()> {
        self.child = spawn(self.role, &self.directory)?;
        self.ended = None;
        Ok(())
    }

    /// Asks it to do what is left and to end.
    pub fn ask_to_stop(&mut self) {
        self.child.stdin = None;
    }

    /// Whether it has ended, with success.
    ///
    /// # Errors
    /// When it has ended without; in its words.
    pub fn has_ended_well(&mut self) -> anyhow::Result<bool> {
        if self.ended.is_none() {
            self.ended = self.child.try_wait().context("look after a client")?;
        }
        match self.ended {
            None => Ok(false),
            Some(status) if status.success() => Ok(true),
            Some(status) => {
                let said = std::fs::read_to_string(log(self.role, &self.directory)).unwrap_or_default();
                let lines: Vec<&str> = said.lines().collect();
                let told = lines[lines.len().saturating_sub(TOLD_LINES)..].join("; ");
                bail!("the {} failed ({status}): {told}", self.role.name())
            }
        }
    }
}

impl Drop for ChildClient {
    fn drop(&mut self) {
        if self.ended.is_none() {
            // It may be gone already.
            let _gone = self.child.kill();
            let _gone = self.child.wait();
        }
    }
}

fn log(role: Role, directory: &Path) -> PathBuf {
    directory.join(format!("{}.log", role.name()))
}

fn spawn(role: Role, directory: &Path) -> anyhow::Result<Child> {
    let program = std::env::current_exe().context("the path of this program")?;
    let path = log(role, directory);
    let open = || -> std::io::Result<File> { OpenOptions::new().append(true).create(true).open(&path) };
    let output = open().with_context(|| format!("open {}", path.display()))?;
    let mut command = Command::new(program);
    // In a group of its own: Ctrl-C is for the parent, which then stops its clients.
    command.arg("guarantees-client").arg(role.name()).arg(directory).process_group(0).stdin(Stdio::piped());
    command.stdout(output.try_clone().context("a client's output")?).stderr(output);
    command.spawn().with_context(|| format!("start the {}", role.name()))
}
