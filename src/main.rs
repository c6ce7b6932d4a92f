//! The `corelog` command.

mod log_command;

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand};
use corelog::config::listener::Listener;
use corelog::config::{BrokerConfig, Origin, file};
use corelog::server;
use corelog::server::start::{Options, start};
use signal_hook::consts::{SIGINT, SIGTERM};

/// A message broker that speaks the Apache Kafka protocol.
#[derive(Parser)]
#[command(name = "corelog", version, args_conflicts_with_subcommands = true)]
struct CommandLine {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: Serve,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the broker (the default).
    Serve(Serve),
    /// Looks into the data directory of a stopped broker: lists, dumps, verifies, explains. Writes nothing.
    Log(log_command::Log),
}

#[derive(Args)]
struct Serve {
    /// A TOML file with Kafka's key names (num.partitions = 3); what the command line says comes before it.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where everything is kept; made when it does not exist (log.dirs) [default: corelog-data]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// The address to listen on; port 0 takes any free one (listeners) [default: 127.0.0.1:9092]
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<String>,
    /// The address that clients are told to connect to; the listening one by default (advertised.listeners).
    #[arg(long, value_name = "HOST:PORT")]
    advertised: Option<String>,
    /// How many cores to use, one shard each; all by default (corelog.shards).
    #[arg(long, value_name = "N")]
    shards: Option<usize>,
    /// Start although acknowledged records are missing from a damaged journal. They are lost then.
    #[arg(long)]
    accept_journal_damage: bool,
}

fn main() -> ExitCode {
    let line = CommandLine::parse();
    let serve = match line.command {
        Some(Command::Serve(serve)) => serve,
        Some(Command::Log(log)) => return log_command::run(log),
        None => line.serve,
    };
    let (writer, guard) = tracing_appender::non_blocking(std::io::stderr());
    let filter = tracing_subscriber::EnvFilter::try_from_env("CORELOG_LOG");
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("corelog=info"));
    tracing_subscriber::fmt().with_writer(writer).with_env_filter(filter).with_ansi(false).init();
    let outcome = run(serve);
    // What was logged stands before the error.
    drop(guard);
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Without a terminal there is nobody to tell, and the exit code still does.
            let _unseen = writeln!(std::io::stderr(), "corelog: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(serve: Serve) -> anyhow::Result<()> {
    let options = options(serve)?;
    let (data_dir, shards) = (options.data_dir.clone(), options.shards);
    // Before the shards start: a signal that comes meanwhile must not be lost.
    let mut signals = signal_hook::iterator::Signals::new([SIGTERM, SIGINT]).context("signals cannot be handled")?;
    // As text: what a StartError says holds its causes already, and `{:#}` would say them again.
    let running = start(options).map_err(anyhow::Error::msg)?;
    tracing::info!("corelog serving on {} with {shards} shards, data in {}", running.address, data_dir.display());
    let signal = signals.forever().next();
    tracing::info!("stopping on {}", if signal == Some(SIGTERM) { "SIGTERM" } else { "SIGINT" });
    if let Err(error) = running.stop() {
        bail!("stopped, but not cleanly: {error}");
    }
    tracing::info!("stopped");
    Ok(())
}

/// The configuration file, and over it what the command line says.
fn options(serve: Serve) -> anyhow::Result<Options> {
    let mut config = match &serve.config {
        Some(path) => file::read(path)?,
        None => BrokerConfig::default(),
    };
    if let Some(directory) = &serve.data_dir {
        config.set("log.dirs", directory, Origin::Flag("--data-dir"))?;
    }
    for (flag, key, address) in
        [("--listen", "listeners", &serve.listen), ("--advertised", "advertised.listeners", &serve.advertised)]
    {
        let Some(text) = address else { continue };
        let listener = Listener::from_address(text).with_context(|| format!("{flag} {text}: it must be HOST:PORT"))?;
        config.set(key, &listener.to_string(), Origin::Flag(flag))?;
    }
    if let Some(shards) = serve.shards {
        config.set("corelog.shards", &shards.to_string(), Origin::Flag("--shards"))?;
    }
    Ok(Options { accept_journal_damage: serve.accept_journal_damage, ..server::options::options(config)? })
}
