//! The `corelog` command.

use std::io::Write;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, bail};
use clap::{Args, Parser, Subcommand};
use corelog::server::broker::Settings;
use corelog::server::start::{Options, start};
use corelog::storage::StorageOptions;
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
}

#[derive(Args)]
struct Serve {
    /// Where everything is kept; made when it does not exist.
    #[arg(long, value_name = "DIR", default_value = "corelog-data")]
    data_dir: PathBuf,
    /// The address to listen on; port 0 takes any free one.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9092")]
    listen: String,
    /// The address that clients are told to connect to; the listening one by default.
    #[arg(long, value_name = "HOST:PORT")]
    advertised: Option<String>,
    /// How many cores to use, one shard each; all by default.
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
    let running = start(options)?;
    tracing::info!("corelog serving on {} with {shards} shards, data in {}", running.address, data_dir.display());
    let signal = signals.forever().next();
    tracing::info!("stopping on {}", if signal == Some(SIGTERM) { "SIGTERM" } else { "SIGINT" });
    if let Err(error) = running.stop() {
        bail!("stopped, but not cleanly: {error}");
    }
    tracing::info!("stopped");
    Ok(())
}

fn options(serve: Serve) -> anyhow::Result<Options> {
    let listen = resolve(&serve.listen).with_context(|| format!("--listen {}", serve.listen))?;
    let advertised = match &serve.advertised {
        None => None,
        Some(text) => Some(host_and_port(text).with_context(|| format!("--advertised {text}"))?),
    };
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Ok(Options {
        data_dir: serve.data_dir,
        listen,
        advertised,
        shards: serve.shards.unwrap_or(cores),
        storage: StorageOptions::default(),
        connections_max: 10_000,
        settings: Settings {
            node_id: 0,
            advertised_host: String::new(),
            advertised_port: 0,
            default_partitions: 1,
            auto_create_topics: true,
            message_bytes_max: 1_048_588,
            request_bytes_max: 104_857_600,
            fetch_bytes_max: 57_671_680,
            offsets_partitions: 50,
            groups: Default::default(),
        },
        accept_journal_damage: serve.accept_journal_damage,
    })
}

fn resolve(text: &str) -> anyhow::Result<SocketAddr> {
    let mut addresses = text.to_socket_addrs().context("is not an address of the form HOST:PORT")?;
    addresses.next().context("names no address")
}

fn host_and_port(text: &str) -> anyhow::Result<(String, u16)> {
    let (host, port) = text.rsplit_once(':').context("must be HOST:PORT")?;
    let port = port.parse().context("has no port between 0 and 65535")?;
    if host.is_empty() {
        bail!("has no host");
    }
    Ok((host.trim_start_matches('[').trim_end_matches(']').to_string(), port))
}
