//! What `/proc` tells of a process, and which process listens on a port.

use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;

/// A process that runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process(pub u32);

impl Process {
    /// This one.
    pub fn own() -> Process {
        Process(std::process::id())
    }

    fn read(self, name: &str) -> anyhow::Result<String> {
        let path = PathBuf::from(format!("/proc/{}/{name}", self.0));
        std::fs::read_to_string(&path).with_context(|| format!("read {}", path.display()))
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
    /// When the process is gone, or another user's.
    pub fn open_files(self) -> anyhow::Result<usize> {
        let directory = format!("/proc/{}/fd", self.0);
        Ok(std::fs::read_dir(&directory).with_context(|| format!("read {directory}"))?.count())
    }

    /// Its name, as `ps` shows it.
    ///
    /// # Errors
    /// When the process is gone.
    pub fn name(self) -> anyhow::Result<String> {
        Ok(self.read("comm")?.trim_end().to_owned())
    }

    /// The process that listens on `address`, when that is on this machine and the process is one that we may look into.
    pub fn listening_on(address: SocketAddr) -> Option<Process> {
        // Only an address of this machine can be bound to.
        TcpListener::bind((address.ip(), 0)).ok()?;
        let mut inodes = HashSet::new();
        for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
            let text = std::fs::read_to_string(table).unwrap_or_default();
            inodes.extend(text.lines().filter_map(|line| listening_inode(line, address)));
        }
        if inodes.is_empty() {
            return None;
        }
        let links: HashSet<PathBuf> = inodes.iter().map(|inode| format!("socket:[{inode}]").into()).collect();
        for entry in std::fs::read_dir("/proc").ok()?.flatten() {
            let Some(id) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else { continue };
            let Ok(descriptors) = std::fs::read_dir(entry.path().join("fd")) else { continue };
            let mut targets = descriptors.flatten().filter_map(|entry| std::fs::read_link(entry.path()).ok());
            if targets.any(|target| links.contains(&target)) {
                return Some(Process(id));
            }
        }
        None
    }
}

/// The CPU time of all cores that went to anything: processes, the kernel, interrupts, and what a host took away.
///
/// # Errors
/// When the system does not tell.
pub fn machine_cpu() -> anyhow::Result<Duration> {
    let stat = std::fs::read_to_string("/proc/stat").context("read /proc/stat")?;
    let line = stat.lines().next().and_then(|line| line.strip_prefix("cpu ")).context("no first line in /proc/stat")?;
    let fields: Vec<u64> = line.split_whitespace().map_while(|field| field.parse().ok()).collect();
    // user nice system idle iowait irq softirq steal; guests are in user already.
    anyhow::ensure!(fields.len() >= 8, "/proc/stat has {} fields", fields.len());
    Ok(from_ticks([0, 1, 2, 5, 6, 7].iter().map(|&field| fields[field]).sum()))
}

fn from_ticks(ticks: u64) -> Duration {
    // SAFETY: sysconf(3) touches no memory of ours.
    let ticks_per_second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    Duration::from_secs_f64(ticks as f64 / ticks_per_second as f64)
}

/// The inode of the socket in a line of `/proc/net/tcp` or `tcp6`, when it listens on `address` or on all of them.
fn listening_inode(line: &str, address: SocketAddr) -> Option<u64> {
    const LISTEN: &str = "0A";
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (ip, port) = fields.get(1)?.split_once(':')?;
    if *fields.get(3)? != LISTEN || u16::from_str_radix(port, 16).ok()? != address.port() {
        return None;
    }
    let ip = table_ip(ip)?;
    let plain = |ip: IpAddr| ip.to_canonical();
    if !ip.is_unspecified() && plain(ip) != plain(address.ip()) {
        return None;
    }
    fields.get(9)?.parse().ok()
}

/// The kernel prints addresses as words of four bytes, each as a number of this machine.
fn table_ip(hex: &str) -> Option<IpAddr> {
    let mut bytes = Vec::new();
    for at in (0..hex.len()).step_by(8) {
        bytes.extend_from_slice(&u32::from_str_radix(hex.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    }
    match bytes.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_behind_a_port_is_found() {
        for host in ["127.0.0.1:0", "0.0.0.0:0", "[::]:0"] {
            let Ok(listener) = TcpListener::bind(host) else {
                assert!(host.starts_with('['), "a machine may lack IPv6, not IPv4");
                continue;
            };
            let port = listener.local_addr().expect("an address").port();
            assert_eq!(Process::listening_on(([127, 0, 0, 1], port).into()), Some(Process::own()), "{host}");
        }
        let gone = TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
        assert_eq!(Process::listening_on(gone), None);
        assert_eq!(Process::listening_on(([192, 0, 2, 1], 9092).into()), None);
    }

    #[test]
    fn a_process_tells_what_it_uses() {
        let own = Process::own();
        assert!(own.resident_bytes().expect("memory") > 100 << 10);
        assert!(machine_cpu().expect("the machine's") >= own.cpu().expect("its own"));
        assert!(own.open_files().expect("files") >= 3);
        assert!(own.name().expect("a name").starts_with("corelog"));
    }
}
