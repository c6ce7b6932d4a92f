//! Runs the load generator's own binary, as a user would, and reads what it measured.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use corelog_load::report::{Ended, Report};

use crate::broker::Broker;
use crate::options::Options;

/// Runs `corelog-load` with these arguments against a broker. `name` is that of the file with the figures, which is kept
/// when the options say so.
///
/// # Errors
/// When it fails, with what it said.
pub fn run(name: &str, arguments: &str, broker: &Broker, options: &Options) -> anyhow::Result<Report> {
    let kept = options.reports.is_some();
    let directory = options.reports.as_ref().unwrap_or(&options.data_dir);
    std::fs::create_dir_all(directory).with_context(|| format!("create {}", directory.display()))?;
    let path: PathBuf = directory.join(format!("{name}-{}.json", broker.kind));
    let mut command = Command::new(env!("CARGO_BIN_EXE_corelog-load"));
    command.args(arguments.split_whitespace()).arg("--bootstrap").arg(broker.address().to_string());
    command.arg("--broker-pid").arg(broker.process().0.to_string()).arg("--quiet").arg("--json").arg(&path);
    let output = command.stdin(Stdio::null()).output().context("run corelog-load")?;
    let said = || {
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        format!("corelog-load {arguments}:\n{out}{err}")
    };
    ensure!(output.status.success(), "{}", said());
    let text = std::fs::read(&path).with_context(|| format!("read {}", path.display()))?;
    if !kept {
        std::fs::remove_file(&path)?;
    }
    let report: Report = serde_json::from_slice(&text).with_context(|| format!("parse {}", path.display()))?;
    ensure!(report.ended == Ended::Complete, "{}", said());
    Ok(report)
}
