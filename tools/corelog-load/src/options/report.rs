//! Options of `report`.

use std::path::PathBuf;

use clap::Args;

/// `report`.
#[derive(Clone, Debug, Args)]
pub struct ReportOptions {
    /// What runs wrote with --json; as many as are to be compared, at most 8.
    #[arg(required = true, value_name = "RESULT.json")]
    pub results: Vec<PathBuf>,
    /// The page: one file, which needs no other and no network.
    #[arg(long, short, value_name = "FILE.html")]
    pub output: PathBuf,
    /// What the runs are called, once for each file and in their order; as the files when not told.
    #[arg(long = "name", value_name = "NAME")]
    pub names: Vec<String>,
}
