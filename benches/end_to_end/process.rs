//! What `/proc` tells of a process.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;

/// CPU time that the machine has spent so far on anything at all, its host's other machines included.
///
/// # Errors
/// When `/proc/stat` is not as it should be.
pub fn machine_cpu() -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string("/proc/stat")?;
    let line = stat.lines().next().and_then(|line| line.strip_prefix("cpu ")).context("no cpu line in /proc/stat")?;
    // user, nice, system, idle, iowait, irq, softirq, steal; what guests took is in user already.
    let ticks: Result<Vec<u64>, _> = line.split_whitespace().take(8).map(str::parse).collect();
    let ticks = ticks?;
    let idle: u64 = ticks.iter().skip(3).take(2).sum();
    Ok(from_ticks(ticks.iter().sum::<u64>() - idle))
}

fn from_ticks(ticks: u64) -> Duration {
    // SAFETY: sysconf(3) touches no memory of ours.
    let ticks_per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    Duration::from_secs_f64(ticks as f64 / ticks_per_second as f64)
}

/// A process that runs.
#[derive(Clone, Copy, Debug)]
pub struct Process(pub u32);

impl Process {
    /// This one.
    pub fn own() -> Process {
        Process(std::process::id())
    }

    fn file(self, name: &str) -> PathBuf {
        format!("/proc/{}/{name}", self.0).into()
    }

    fn read(self, name: &str) -> anyhow::Result<String> {
        std::fs::read_to_string(self.file(name)).with_context(|| format!("read {}", self.file(name).display()))
    }

    /// The CPU time of all its threads, in user mode and in the kernel. Counted in steps of 10 ms.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn cpu(self) -> anyhow::Result<Duration> {
        let stat = self.read("stat")?;
        // The program's name stands in parentheses, and may hold anything. utime and stime are fields 14 and 15.
        let (_, fields) = stat.rsplit_once(')').context("a stat file without a name")?;
        let mut fields = fields.split_whitespace().skip(11).map(str::parse::<u64>);
        let mut ticks = || fields.next().context("a short stat file")?.context("a stat field that is no number");
        Ok(from_ticks(ticks()? + ticks()?))
    }

    /// Its resident memory, in bytes.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn resident_bytes(self) -> anyhow::Result<u64> {
        let status = self.read("status")?;
        let line =
            status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS in the status file")?;
        let kib: u64 = line.trim().trim_end_matches(" kB").parse().context("VmRSS is no number")?;
        Ok(kib << 10)
    }

    /// How many files and sockets it has open.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn open_files(self) -> anyhow::Result<usize> {
        Ok(std::fs::read_dir(self.file("fd"))?.count())
    }
}
