//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Streams Arrow blocks through WebAssembly components and writes every row's result exactly once, however often the
/// process is killed.
#[derive(Debug, Parser)]
#[command(name = "wasmpipe", version, after_help = EXIT_CODES)]
pub(super) struct Args {
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 finished, 1 failed, 2 refused, 3 finished with failed rows, 4 interrupted, 5 fenced by another run.
After 1, 4 and 5 the same command goes on where the run stopped.
Environment: WASMPIPE_LOG chooses log lines (default warn), WASMPIPE_CACHE the folder for derived files.";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run a pipeline, or go on with it where an earlier run stopped
    Run(Run),
    /// Show what `run` would do, without running it
    Plan(Plan),
    /// Build functions
    #[command(subcommand)]
    Udf(UdfCommand),
    /// Look into checkpoints
    #[command(subcommand)]
    Checkpoint(CheckpointCommand),
}

#[derive(Debug, clap::Args)]
pub(super) struct Run {
    /// The pipeline file
    pub pipeline: PathBuf,
    /// Go on although functions, configs, sink columns or (in position mode) source objects changed. Rows that are
    /// done keep their results
    #[arg(long)]
    pub accept_change: bool,
    /// Write the summary as JSON to this file
    #[arg(long, value_name = "FILE")]
    pub summary: Option<PathBuf>,
    /// No progress lines
    #[arg(long, short)]
    pub quiet: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Plan {
    /// The pipeline file
    pub pipeline: PathBuf,
    /// As for `run`
    #[arg(long)]
    pub accept_change: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum UdfCommand {
    /// Compile a guest crate into a component
    Build(UdfBuild),
}

#[derive(Debug, clap::Args)]
pub(super) struct UdfBuild {
    /// The crate's folder
    pub dir: PathBuf,
    /// The component's file, NAME.wasm in DIR unless given (NAME is the package's)
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

#[derive(Debug, Subcommand)]
pub(super) enum CheckpointCommand {
    /// Show a checkpoint's entries, committed rows and files
    Inspect(Inspect),
}

#[derive(Debug, clap::Args)]
pub(super) struct Inspect {
    /// The checkpoint's folder
    pub path: PathBuf,
    /// As one JSON document
    #[arg(long)]
    pub json: bool,
}
