//! `corelog log`: the command line of [`corelog::offline`].

use std::io::{BufWriter, ErrorKind, Write};
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Subcommand};
use corelog::offline::{OfflineError, dump, explain, list, verify};

/// Damage was found.
const DAMAGED: u8 = 1;
/// There was nothing that could be looked at.
const REFUSED: u8 = 2;

#[derive(Args)]
pub struct Log {
    #[command(subcommand)]
    command: LogCommand,
}

#[derive(Subcommand)]
enum LogCommand {
    /// Lists topics, partitions and segments, then each shard's checkpoint and journal files.
    ///
    /// A segment's line has its offsets, bytes, batches, records, first and last timestamp, and whether its index is
    /// whole, missing, stale or damaged; a journal file's line its incarnation, its blocks, and whether it is free or
    /// still needed. Reads the headers of batches only: what is damaged, `verify` tells.
    List(DataDir),
    /// Prints what segments (.log), indexes (.index), journal files or checkpoints hold, a line for each batch, entry or
    /// block.
    Dump {
        /// With the records: timestamp, key, value and headers, all but printable ASCII escaped.
        #[arg(long)]
        records: bool,
        /// The files.
        #[arg(required = true, value_name = "FILE")]
        files: Vec<PathBuf>,
    },
    /// Reads everything, and tells what is not as it was written.
    ///
    /// Checks each batch's checksum, header and place, that offsets have no gap, that indexes agree with their segments,
    /// the checkpoints, and the journals by the rule of recovery. A finding is a line: what file, which byte, which
    /// partition and offsets, what it means, what to do. "damage" is what was acknowledged and is not there; "note" is
    /// what a crash may leave, such as a torn end of the journal, and harms nothing.
    ///
    /// Exit code 0: clean; 1: damage; 2: not a data directory, in use, or of a newer corelog.
    Verify(DataDir),
    /// Says in words what lies at one byte of a file.
    Explain {
        /// The file and the position in it, such as 00000000000000000000.log@4096.
        #[arg(value_name = "FILE@POSITION")]
        place: String,
        /// The position, if it is not in the first argument.
        #[arg(long, value_name = "POSITION")]
        at: Option<u64>,
    },
}

#[derive(Args)]
struct DataDir {
    /// The data directory of a broker that is stopped.
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
}

/// Runs the command, with its output on stdout.
pub fn run(log: Log) -> ExitCode {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let outcome = execute(log.command, &mut out).and_then(|code| {
        out.flush()?;
        Ok(code)
    });
    match outcome {
        Ok(code) => code,
        // Who reads the output has seen enough.
        Err(OfflineError::Output(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::SUCCESS,
        Err(error) => {
            // What was found before stands in the output. Without a terminal there is nobody to tell.
            let _unseen = out.flush().and_then(|()| writeln!(std::io::stderr(), "corelog: {error}"));
            ExitCode::from(REFUSED)
        }
    }
}

fn execute(command: LogCommand, out: &mut impl Write) -> Result<ExitCode, OfflineError> {
    match command {
        LogCommand::List(DataDir { data_dir }) => list(&data_dir, out)?,
        LogCommand::Dump { records, files } => {
            for file in files {
                dump(&file, records, out)?;
            }
        }
        LogCommand::Verify(DataDir { data_dir }) => {
            let summary = verify(&data_dir, &mut |finding| writeln!(out, "{finding}"))?;
            writeln!(out, "{summary}")?;
            if summary.damage > 0 {
                return Ok(ExitCode::from(DAMAGED));
            }
        }
        LogCommand::Explain { place, at } => {
            let (file, position) = match at {
                Some(position) => (place.as_str(), Some(position)),
                None => match place.rsplit_once('@') {
                    Some((file, position)) => (file, position.parse().ok()),
                    None => (place.as_str(), None),
                },
            };
            let Some(position) = position else {
                let why = "say which byte: FILE@POSITION, or FILE --at POSITION".to_owned();
                return Err(OfflineError::Refused { path: place.into(), why });
            };
            explain(file.as_ref(), position, out)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
