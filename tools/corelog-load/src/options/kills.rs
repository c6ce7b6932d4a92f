//! Options of workloads that kill the broker.

use std::time::Duration;

use anyhow::ensure;
use clap::Args;

use super::duration;

/// How the broker is killed and started again.
#[derive(Clone, Debug, Args)]
pub struct BrokerKillOptions {
    /// Kills the broker so often, at random moments of the load, and starts it again.
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u32).range(..=100_000))]
    pub broker_kills: u32,
    /// Starts the broker with this command, kills it with SIGKILL, and stops it in the end.
    ///
    /// The shell that is given the command is replaced by it (exec), so it is to be a single one.
    #[arg(long, value_name = "COMMAND", conflicts_with_all = ["kill_broker_cmd", "restart_broker_cmd"])]
    pub broker_cmd: Option<String>,
    /// Kills the broker with this command, which returns when it is dead.
    #[arg(long, value_name = "COMMAND", requires = "restart_broker_cmd")]
    pub kill_broker_cmd: Option<String>,
    /// Starts the broker again with this command, which returns.
    #[arg(long, value_name = "COMMAND", requires = "kill_broker_cmd")]
    pub restart_broker_cmd: Option<String>,
    /// What random moments are drawn from: the same seed, the same moments.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Clients fail when nothing has worked for so long, and the broker when it does not serve by then.
    #[arg(long, value_name = "TIME", value_parser = duration, default_value = "60s")]
    pub give_up: Duration,
}

impl BrokerKillOptions {
    /// Refuses kills when nobody says how.
    ///
    /// # Errors
    /// Then.
    pub fn check(&self) -> anyhow::Result<()> {
        let knows_how = self.broker_cmd.is_some() || self.kill_broker_cmd.is_some();
        ensure!(
            self.broker_kills == 0 || knows_how,
            "--broker-kills needs --broker-cmd, or --kill-broker-cmd and --restart-broker-cmd"
        );
        Ok(())
    }
}
