//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

use crate::plan::LaneSet;

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
Environment: WASMPIPE_LOG chooses log lines (default warn), WASMPIPE_CACHE the folder for derived files and \
WASMPIPE_CACHE_IDS_MAX the size of id files there (default 64 GiB), WASMPIPE_COMPILE_MEMORY_MAX and \
WASMPIPE_COMPILE_SECONDS_MAX what compiling a component may take (default 2 GiB, 300 s); with WASMPIPE_PERF_MAP=1 perf can name the functions of guests.";

const SHARED_TARGET: &str = "\
The first build of a crate compiles about 60 crates that it depends on. With WASMPIPE_GUEST_TARGET_DIR naming a folder, all \
crates that are built share them.";

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Run a pipeline, or go on with it where an earlier run stopped
    Run(Run),
    /// Show what `run` would do, without running it
    Plan(Plan),
    /// Find everything that `run` would refuse, without running
    Check(Check),
    /// Print a JSON Schema of pipeline files, for editors
    Schema(Schema),
    /// Write, build and try functions
    #[command(subcommand)]
    Udf(UdfCommand),
    /// Look into checkpoints, and exchange ids with other systems
    #[command(subcommand)]
    Checkpoint(CheckpointCommand),
    /// List or check the output files that count
    #[command(subcommand)]
    Output(OutputCommand),
    /// Look at rows that failed under `on_error = "dead-letter"`
    #[command(subcommand)]
    DeadLetters(DeadLettersCommand),
    /// What wasmpipe starts to have a component compiled: a component from stdin, code to stdout
    #[command(name = crate::udf::COMPILE_COMMAND, hide = true)]
    CompileComponent(CompileComponent),
}

#[derive(Debug, clap::Args)]
pub(super) struct CompileComponent {
    /// Of the engine that will run the code
    pub key: String,
    /// What it may allocate
    pub memory_bytes_max: u64,
    /// When it ends if its host does not end it
    pub seconds_max: u64,
    /// The process that waits for the code
    pub host: u32,
}

#[derive(Debug, clap::Args)]
pub(super) struct Run {
    /// The pipeline file
    pub pipeline: PathBuf,
    /// Go on although functions, configs, sink columns or (in position mode) source objects changed. Rows that are
    /// done keep their results
    #[arg(long)]
    pub accept_change: bool,
    #[command(flatten)]
    pub lanes: Lanes,
    /// Take lanes away from a run that seems to be alive. It finds out, and nothing is lost
    #[arg(long)]
    pub take_over: bool,
    /// Source, sink or checkpoint were moved, and the pipeline file says where they are now
    #[arg(long)]
    pub relocate: bool,
    /// Do rows again that failed and were left out
    #[arg(long)]
    pub retry_failed: bool,
    /// Give up the job that is there, with its checkpoint and its output, and begin anew. Asks before
    #[arg(long, conflicts_with_all = ["accept_change", "lane", "relocate", "retry_failed"])]
    pub fresh: bool,
    /// Do not ask
    #[arg(long, requires = "fresh")]
    pub yes: bool,
    /// Write the summary as JSON to this file
    #[arg(long, value_name = "FILE")]
    pub summary: Option<PathBuf>,
    /// No progress lines
    #[arg(long, short)]
    pub quiet: bool,
}

/// Which part of a job.
#[derive(Debug, clap::Args)]
pub(super) struct Lanes {
    /// Work on some lanes of the job only: by number (0-15 or 3,7), or every n-th (2/4: the third of four shares)
    /// [default: all]
    #[arg(long = "lane", value_name = "LANES")]
    pub lane: Option<LaneSet>,
}

#[derive(Debug, clap::Args)]
pub(super) struct Plan {
    /// The pipeline file
    pub pipeline: PathBuf,
    /// As for `run`
    #[arg(long)]
    pub accept_change: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Check {
    /// The pipeline file
    pub pipeline: PathBuf,
    /// As for `run`
    #[arg(long)]
    pub accept_change: bool,
    /// As for `run`
    #[arg(long)]
    pub relocate: bool,
    /// Look into every object of the source, too: whether it can be read, and fits
    #[arg(long)]
    pub all: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Schema {
    /// Print the manual's page of all keys instead, as Markdown
    #[arg(long)]
    pub markdown: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum UdfCommand {
    /// Start a crate with one function, a unit test, a pipeline file and a sample input
    New(UdfNew),
    /// Compile a crate, or encode a core module, into a component
    Build(UdfBuild),
    /// Show what a component offers, needs and imports
    Inspect(UdfInspect),
    /// Run one function on a few rows, and show them before and after
    Test(UdfTest),
    /// Measure one function on one thread
    Bench(UdfBench),
}

#[derive(Debug, clap::Args)]
pub(super) struct UdfNew {
    /// The name of the crate; its function has the same, with `_` for `-`
    pub name: String,
    /// What one row becomes: another one; one or none; any number; or whole blocks at once
    #[arg(long, value_enum)]
    pub kind: NewKind,
    /// The folder to make [default: NAME in the current folder]
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// The folder of the Rust SDK, `guest-sdk/rust` of wasmpipe's sources [default: WASMPIPE_SDK, else the sources that
    /// this binary was built from]
    #[arg(long, value_name = "PATH")]
    pub sdk: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum NewKind {
    Map,
    Filter,
    FlatMap,
    MapBatches,
}

#[derive(Debug, clap::Args)]
#[command(after_help = SHARED_TARGET)]
pub(super) struct UdfBuild {
    /// The crate's folder; or a core module of another language, .wasm or .wat
    #[arg(default_value = ".")]
    pub path: PathBuf,
    /// The component's file [default: NAME.wasm in the crate's folder, NAME being the package's; for FILE.wat, FILE.wasm]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct UdfInspect {
    /// The component
    pub file: PathBuf,
    /// As one JSON document
    #[arg(long)]
    pub json: bool,
}

/// A function, and what it runs with.
#[derive(Debug, clap::Args)]
pub(super) struct Chosen {
    /// The component
    pub file: PathBuf,
    /// The function; not needed if the component offers one
    #[arg(long, value_name = "NAME")]
    pub function: Option<String>,
    /// Its config: JSON or TOML, such as 'letters_min = 4', or @FILE [default: none]
    #[arg(long, value_name = "CONFIG")]
    pub config: Option<String>,
}

#[derive(Debug, clap::Args)]
pub(super) struct UdfTest {
    #[command(flatten)]
    pub chosen: Chosen,
    /// A file of Parquet or JSON Lines
    #[arg(long, value_name = "FILE")]
    pub input: PathBuf,
    /// Leave out the first N rows of the input
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub skip: u64,
    /// Take the next N rows of the input
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub rows: u32,
    /// Print the first N rows before and after
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub show: usize,
    /// Run the rows again in other orders and blocks and on fresh instances: each row must give the same
    #[arg(long)]
    pub shuffle: bool,
    /// Compare the output with this file of Parquet or JSON Lines, row by row
    #[arg(long, value_name = "FILE")]
    pub expect: Option<PathBuf>,
    /// Write the output to this Parquet file, to be a later --expect
    #[arg(long, value_name = "FILE")]
    pub write: Option<PathBuf>,
}

#[derive(Debug, clap::Args)]
pub(super) struct UdfBench {
    #[command(flatten)]
    pub chosen: Chosen,
    /// A file of Parquet or JSON Lines; its first 64 MiB are used, again and again [default: made-up values of the types that it needs]
    #[arg(long, value_name = "FILE")]
    pub input: Option<PathBuf>,
    /// How long
    #[arg(long, value_name = "S", default_value_t = 3.0)]
    pub seconds: f64,
    /// Size of a block: a number of bytes, or with a unit
    #[arg(long, value_name = "SIZE", default_value = "2 MiB")]
    pub block_bytes: String,
}

#[derive(Debug, Subcommand)]
pub(super) enum CheckpointCommand {
    /// Show a checkpoint's entries, committed rows and files
    Inspect(Inspect),
    /// Compare every entry and file with what the log says
    Verify(Verify),
    /// Make one entry of all that a lane holds, so that the next start reads less
    Compact(Compact),
    /// Ask the runs that work on the job to stop in order
    Stop(Stop),
    /// Delete the checkpoint of a finished job
    Delete(Delete),
    /// Begin a job of which a part was done elsewhere: rows by their ids (of Ray Data, of an output, of any Parquet, CSV or JSONL
    /// file), or whole objects
    Import(Import),
    /// Write the ids of done rows as Parquet files, which Ray Data takes for a checkpoint of its own
    Export(Export),
}

#[derive(Debug, clap::Args)]
pub(super) struct Import {
    /// The pipeline file. Its job must not have begun
    pub pipeline: PathBuf,
    /// Lists of ids: a folder of Parquet files, such as a checkpoint of Ray Data; a .parquet, .csv or .jsonl file; a glob
    #[arg(required_unless_present_any = ["from_output", "objects", "existing_shards"], conflicts_with = "from_output")]
    pub from: Vec<String>,
    /// Take the ids that stand in an existing output instead: a folder of Parquet files that has the id columns
    #[arg(long, value_name = "PATH")]
    pub from_output: Option<String>,
    /// The name of an id column there; once for each, in the order of the pipeline's [default: the pipeline's names]
    #[arg(long, value_name = "NAME")]
    pub column: Vec<String>,
    /// Instead of ids take whole objects: those that this text file names, one a line, relative to the source
    #[arg(long, value_name = "LIST", conflicts_with_all = ["from", "from_output", "column", "existing_shards"])]
    pub objects: Option<PathBuf>,
    /// Take the objects that have an output in this folder, under the same name: one beside which lies NAME.done, that holds
    /// _SUCCESS, or, in Parquet, that has as many rows as the object
    #[arg(long, value_name = "PATH", conflicts_with_all = ["from", "from_output", "column"])]
    pub existing_shards: Option<String>,
    /// As one JSON document
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Export {
    /// The checkpoint's folder, or the pipeline file (.toml)
    pub checkpoint: String,
    /// The folder to write; it must be empty or not there
    #[arg(long, value_name = "FOLDER")]
    pub to: String,
    /// As one JSON document
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum OutputCommand {
    /// List exactly the files that count at this moment, even while a run is at work
    List(OutputList),
    /// Check that each of them is there with its size and its number of rows
    Verify(OutputVerify),
    /// Join the results of each object of a finished job into one file with a plain name
    Publish(OutputPublish),
}

#[derive(Debug, clap::Args)]
pub(super) struct OutputPublish {
    /// The checkpoint's folder, or the pipeline file (.toml)
    pub checkpoint: String,
    /// A folder that is empty, or one into which this job was published before
    pub to: String,
    /// Names of files: `{object}` stands for an object's name without its ending
    #[arg(long)]
    pub name: String,
    /// As one JSON document
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct OutputList {
    /// The checkpoint's folder, or the pipeline file (.toml)
    pub checkpoint: String,
    /// As one JSON document
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct OutputVerify {
    /// The checkpoint's folder, or the pipeline file (.toml)
    pub checkpoint: String,
    /// Read every byte of them, and of the dead letters that count, and compare it with the digests in the log
    #[arg(long)]
    pub data: bool,
    /// As one JSON document
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Inspect {
    /// The checkpoint's folder or s3:// URL, or the pipeline file (.toml)
    pub path: String,
    /// As one JSON document
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Verify {
    /// The checkpoint's folder, or the pipeline file (.toml)
    pub path: String,
    /// Give up what is missing or damaged: the next run does those rows again
    #[arg(long)]
    pub repair: bool,
    /// Repair although a run seems to be alive
    #[arg(long)]
    pub take_over: bool,
    /// As one JSON document
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Compact {
    /// The checkpoint's folder, or the pipeline file (.toml)
    pub path: String,
    #[command(flatten)]
    pub lanes: Lanes,
    /// Lift a job of an earlier format to the one whose entries prove themselves. Builds from before it cannot go on with the job
    #[arg(long, conflicts_with = "lane")]
    pub upgrade: bool,
    /// Compact although a run seems to be alive
    #[arg(long)]
    pub take_over: bool,
    /// As one JSON document
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Stop {
    /// The checkpoint's folder, or the pipeline file (.toml)
    pub path: String,
    /// As one JSON document
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, clap::Args)]
pub(super) struct Delete {
    /// The checkpoint's folder, or the pipeline file (.toml)
    pub path: String,
    /// As one JSON document
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Subcommand)]
pub(super) enum DeadLettersCommand {
    /// Show the dead letters that count: each row that failed and was not done since, newest files first
    Show(ShowDeadLetters),
}

#[derive(Debug, clap::Args)]
pub(super) struct ShowDeadLetters {
    /// The checkpoint's folder, or the pipeline file that names it
    #[arg(value_name = "CHECKPOINT|PIPELINE")]
    pub path: String,
    /// Show N of them at most [default: 100, with --json all]
    #[arg(long, value_name = "N")]
    pub limit: Option<u64>,
    /// One JSON object a line, with the row's source columns
    #[arg(long)]
    pub json: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use expect_test::expect_file;

    /// The help of a command and of all below it.
    fn help(command: &mut clap::Command, name: &str, all: &mut String) {
        *all += &format!("$ {name} --help\n{}\n", command.render_long_help());
        let shown = command.get_subcommands().filter(|below| !below.is_hide_set());
        let below: Vec<String> = shown.map(|below| below.get_name().to_owned()).collect();
        for below_name in below.iter().filter(|name| *name != "help") {
            let below = command.find_subcommand_mut(below_name).expect("just named");
            help(below, &format!("{name} {below_name}"), all);
        }
    }

    #[test]
    fn help_texts() {
        let mut command = super::Args::command().term_width(100).version("0.0.0");
        command.build();
        let mut all = String::new();
        help(&mut command, "wasmpipe", &mut all);
        expect_file!["help.txt"].assert_eq(&all);
    }
}
