//! The pipeline file as it is written: every key with its value, and the place where each value stands.
//!
//! This room mirrors the file and decides nothing. It knows which keys there are and which values have the right form;
//! it fills in no default, resolves no path, opens nothing. `plan` makes the file true. A mistake leaves a hole: what can be
//! read is read, so that `plan` finds what only it can see, and all problems of a file are reported together.
//!
//! * `read.rs`: the sections, key by key
//! * `shape.rs`: every section and key there is, with examples for hints
//! * `section.rs`: the keys of one section: known, misspelt, misplaced, missing
//! * `value.rs`: one value: its type, its range, its unit
//! * `suggest.rs`: the key that was probably meant
//! * `settings.rs`: a function's config as JSON, with the place of everything in it
//! * `problem.rs`: what is wrong, where, and what to do; the report

mod problem;
mod read;
mod section;
mod settings;
mod shape;
mod suggest;
#[cfg(test)]
mod tests;
mod value;

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

pub use problem::{PipelineFile, Problem, Problems};
pub(crate) use section::{list, shown};
pub(crate) use settings::below;
pub use settings::{Place, Settings};
pub(crate) use suggest::nearest;

/// The longest pipeline file that is read: 1 MiB. Something longer is some other file.
pub const FILE_BYTES_MAX: u64 = 1 << 20;

/// A pipeline file.
///
/// ```
/// use std::path::Path;
/// use wasmpipe::config;
///
/// let text = r#"
///     [source]
///     path = "corpus/*.parquet"
///
///     [sink]
///     path = "out/"
/// "#;
/// let config = config::parse(Path::new("pipeline.toml"), text)?;
/// assert_eq!(config.source.path.unwrap().value, "corpus/*.parquet");
/// assert_eq!(config.sink.path.unwrap().line, 6);
/// assert!(config.stages.is_empty() && config.checkpoint.is_none() && config.problems.is_empty());
/// # Ok::<(), config::Problems>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// `[source]`: where rows come from. Required; empty if it is not there.
    pub source: Source,
    /// `[[stage]]`: what happens to them, in the order of the file. None at all copies the rows.
    pub stages: Vec<Stage>,
    /// `[sink]`: where results go. Required; empty if it is not there.
    pub sink: Sink,
    /// `[checkpoint]`: where it is recorded which rows are done. Without it a run that stops starts over.
    pub checkpoint: Option<Checkpoint>,
    /// `[dead_letters]`: what is kept of a row that failed under `on_error = "dead-letter"`. Empty if the file has no such
    /// section.
    pub dead_letters: DeadLetters,
    /// `[run]`: how much of the machine to use. Empty if the file has no such section.
    pub run: Run,
    /// The file itself, for problems that only `plan` can see.
    pub file: PipelineFile,
    /// What is wrong. A required key is none only if there is a problem; an optional one may be.
    pub problems: Vec<Problem>,
}

/// A value, and where in the pipeline file it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At<T> {
    /// What was written.
    pub value: T,
    /// The line on which the value starts; the first line is 1.
    pub line: u32,
    /// The bytes of the file that the value takes up, quotes and brackets included.
    pub span: Range<usize>,
}

/// `[source]`: where rows come from.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Source {
    /// `path = "corpus/*.parquet"`: a file, a folder, or a glob. Relative to the pipeline file's folder unless it starts
    /// with `/`; `file:///abs/olute` and `s3://bucket/prefix` are understood too. Required.
    pub path: Option<At<String>>,
    /// `id = "path"` or `id = ["crate", "path"]`: the column or columns that tell rows apart. Without it a row is
    /// known by its position: which object, which row of it. At least one column, none twice.
    pub id: Option<At<Vec<At<String>>>>,
    /// `format = "jsonl"`: what the files are. Without it their names say so: `.jsonl`, `.ndjson` or `.json` (with `.gz` or
    /// `.zst` behind) are JSON Lines, others are Parquet; of a folder that holds both, the Parquet files are read.
    pub format: Option<At<Format>>,
    /// `schema = { text = "string", n = "int64" }`: the columns of JSON Lines and their types. Without it they are found in the
    /// first lines of some files, and fixed when the job begins.
    pub schema: Option<At<Vec<(At<String>, At<String>)>>>,
    /// `extra_keys = "refuse"`: what becomes of keys of JSON Lines that the schema does not name.
    pub extra_keys: Option<At<ExtraKeys>>,
    /// `on_bad_line = "fail"`: what to do about a line that is no row.
    pub on_bad_line: Option<At<OnError>>,
    /// `record_bytes_max = "64 MiB"`: the most bytes of a line, without its end. At least 1, at most 1 GiB.
    pub record_bytes_max: Option<At<u64>>,
    /// `footers_max = 1000`: a new job of so many files reads the footers of all of them to find their columns; one of more
    /// files reads some, from the first to the last. At least 1.
    pub footers_max: Option<At<u64>>,
    /// `store = { region = "eu-central-1" }`: how to reach the bucket, if `path` is one.
    pub store: Option<At<Store>>,
}

/// `[[stage]]`: one function of one component.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// `component = "udfs/code.wasm"`: the component's file, relative to the pipeline file's folder. Required.
    pub component: Option<At<String>>,
    /// `function = "passages"`: which of the component's functions. Required.
    pub function: Option<At<String>>,
    /// `config = { line_length_max = 1000 }`: what the function is told at its start; any TOML table. The function
    /// gets it as JSON; dates and times become strings.
    pub config: Option<At<Settings>>,
    /// `on_error = "skip"`: what to do about a row that the function cannot process.
    pub on_error: Option<At<OnError>>,
    /// `memory_bytes_max = "512 MiB"`: the most memory that one instance of the component may have, in bytes. At
    /// least 1.
    pub memory_bytes_max: Option<At<u64>>,
    /// `block_seconds_max = 30`: the longest time that the function may take for one block, in seconds. More than 0, at
    /// most a year; a fraction is fine.
    pub block_seconds_max: Option<At<Duration>>,
    /// `row_output_bytes_max = "256 MiB"`: the most bytes of the rows that come of one source row, in bytes. At least 1.
    pub row_output_bytes_max: Option<At<u64>>,
    /// `isolate_calls_max = 10000`: when a block traps or goes past a limit, the most calls that are spent on telling its
    /// rows apart. 0 tells none apart.
    pub isolate_calls_max: Option<At<u64>>,
    /// `isolate_seconds_max = 600`: the longest time that these calls may take, in seconds. At most a year.
    pub isolate_seconds_max: Option<At<Duration>>,
    /// `isolate_hangs_max = 3`: after so many rows in succession that each take all of `block_seconds_max` no more are told
    /// apart. At least 1.
    pub isolate_hangs_max: Option<At<u32>>,
    /// `isolate_run_seconds_max = 6000`: the longest time that those of these calls may take that fail, over a run and all its
    /// workers, in seconds. At most a year.
    pub isolate_run_seconds_max: Option<At<Duration>>,
    /// `on_unseparated = "skip"`: what to do about rows that these limits left together.
    pub on_unseparated: Option<At<OnUnseparated>>,
}

/// `[sink]`: where results go.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Sink {
    /// `path = "out/"`: a folder, relative to the pipeline file's folder, or `s3://bucket/prefix`. Required.
    pub path: Option<At<String>>,
    /// `format = "parquet"`: what to write.
    pub format: Option<At<Format>>,
    /// `columns = ["path", "passage"]`: the columns to write, in this order. Without it all that leave the last stage.
    /// At least one, none twice.
    pub columns: Option<At<Vec<At<String>>>>,
    /// `compression = "zstd"`: how the pages of the files are compressed, or files of JSON Lines.
    pub compression: Option<At<Compression>>,
    /// `nulls = "write"`: what stands for null in JSON Lines.
    pub nulls: Option<At<Nulls>>,
    /// `file_bytes_max = "256 MiB"`: a file that has reached this size is finished and the next one begun. At least 1.
    pub file_bytes_max: Option<At<u64>>,
    /// `shared = true`: the folder may hold output of other jobs. Names tell them apart.
    pub shared: Option<At<bool>>,
    /// As in `[source]`.
    pub store: Option<At<Store>>,
}

/// `[checkpoint]`: where it is recorded which rows are done. Rows are committed in groups; a group ends at whichever of
/// its limits comes first.
#[derive(Debug, Clone, PartialEq)]
pub struct Checkpoint {
    /// `path = "checkpoint/"`: a folder of the checkpoint's own, relative to the pipeline file's folder, or
    /// `s3://bucket/prefix`. Required.
    pub path: Option<At<String>>,
    /// `lanes = 64`: logs that the job has, so that many processes can share it. Fixed when the job begins. 1 to 65536.
    pub lanes: Option<At<u32>>,
    /// `split_bytes = "4 GiB"`: objects above this size are cut into pieces, each with a lane of its own. Fixed when the job
    /// begins. At least 1.
    pub split_bytes: Option<At<u64>>,
    /// `compact_entries = 500`: a lane whose log has this many entries is compacted. 0 is never.
    pub compact_entries: Option<At<u64>>,
    /// `heartbeat_seconds = 5`: the time between two signs of life of a run. More than 0, at most 60; a fraction is fine.
    pub heartbeat_seconds: Option<At<Duration>>,
    /// `delete_on_success = true`: the checkpoint is deleted when the job is finished.
    pub delete_on_success: Option<At<bool>>,
    /// `group_rows_max = 4000000`: the most source rows of one group. At least 1.
    pub group_rows_max: Option<At<u64>>,
    /// `group_bytes_max = "64 MiB"`: the most bytes of decoded source columns of one group. At least 1.
    pub group_bytes_max: Option<At<u64>>,
    /// `group_seconds_max = 30`: the longest time from a group's first row to its last, in seconds. More than 0, at
    /// most a year; a fraction is fine.
    pub group_seconds_max: Option<At<Duration>>,
    /// As in `[source]`.
    pub store: Option<At<Store>>,
}

/// `store`: how to reach a bucket. No credentials: they come from the environment or a profile file. What is not written
/// here, the environment, the profile or a default says.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Store {
    /// `endpoint = "https://minio.example.com:9000"`: a server that is not Amazon's.
    pub endpoint: Option<At<String>>,
    /// `region = "eu-central-1"`: the bucket's region.
    pub region: Option<At<String>>,
    /// `profile = "team"`: whose keys to use, of `~/.aws/credentials` and `~/.aws/config`.
    pub profile: Option<At<String>>,
    /// `allow_http = true`: the endpoint may be one that does not encrypt.
    pub allow_http: Option<At<bool>>,
    /// `retries = 10`: times that a failed request is sent again. 0 to 1000.
    pub retries: Option<At<u32>>,
    /// `timeout_seconds = 30`: time for one request, its answer included. More than 0, at most a year.
    pub timeout_seconds: Option<At<Duration>>,
    /// `requests_max = 64`: requests under way at the same time. 1 to 4096.
    pub requests_max: Option<At<u32>>,
}

/// `[dead_letters]`: what is kept of a row that failed under `on_error = "dead-letter"`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct DeadLetters {
    /// `full_row = true`: all columns of the source. Without it those that the job reads.
    pub full_row: Option<At<bool>>,
}

/// `[run]`: how much of the machine to use. None of it changes what is written.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Run {
    /// `workers = 2`: threads that drive blocks through the stages, each with instances of its own. 1 to 4096.
    pub workers: Option<At<u32>>,
    /// `readers = 2`: units that are read and decoded at the same time. 1 to 4096.
    pub readers: Option<At<u32>>,
    /// `drain_seconds = 60`: how long a run that was asked to stop may take to finish what it has begun, in seconds. 0
    /// to a year; a fraction is fine.
    pub drain_seconds: Option<At<Duration>>,
    /// `block_rows_max = 65536`: the most rows of one block. 1 to 4294967295.
    pub block_rows_max: Option<At<u32>>,
    /// `block_bytes_max = "2 MiB"`: the most bytes of one block, except that a block has at least one row. At least 1.
    pub block_bytes_max: Option<At<u64>>,
    /// `memory_bytes_max = "2 GiB"`: what the run takes, functions and all, beside what a process takes before its first row.
    pub memory_bytes_max: Option<At<u64>>,
    /// `ids_memory_bytes_max = "256 MiB"`: memory for building an id file. At least 1.
    pub ids_memory_bytes_max: Option<At<u64>>,
}

/// What the files of a source or a sink are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `"parquet"`: Apache Parquet.
    Parquet,
    /// `"jsonl"`: JSON Lines, one object a line.
    JsonLines,
}

/// What becomes of keys that the schema of JSON Lines does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExtraKeys {
    /// `"refuse"`: the line is a bad line.
    Refuse,
    /// `"drop"`: they go away.
    Drop,
    /// `"keep"`: they are kept in a column `_extra` of JSON.
    Keep,
}

/// What to do about a row that a function cannot process, or a line that is no row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnError {
    /// `"fail"`: the run fails, and the row is tried again by the next.
    Fail,
    /// `"skip"`: the row has no results, and is listed as failed.
    Skip,
    /// `"dead-letter"`: the row has no results; it is kept in a file of its own, with what was wrong.
    DeadLetter,
}

/// What to do about rows of which some end the function, nobody knows which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnUnseparated {
    /// `"fail"`: the run fails, and they are tried again by the next.
    Fail,
    /// `"skip"`: all of them fail, as `on_error` says.
    Skip,
}

/// What stands for null in JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nulls {
    /// `"write"`: `"key":null`.
    Write,
    /// `"omit"`: nothing, the key is not there.
    Omit,
}

/// How the pages of a Parquet file, or files of JSON Lines, are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    /// `"zstd"`: Zstandard.
    Zstd,
    /// `"snappy"`: Snappy.
    Snappy,
    /// `"lz4"`: raw LZ4 blocks, which Parquet calls `LZ4_RAW`.
    Lz4,
    /// `"gzip"`: gzip.
    Gzip,
    /// `"none"`: not at all.
    None,
}

/// Reads the pipeline file at `path`. Fails if it is no text or no TOML; what else is wrong is in [`Config::problems`].
pub fn load(path: &Path) -> Result<Config, Problems> {
    let bytes = bytes(path).map_err(|error| unreadable(path, &error))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(too_long(path));
    }
    match std::str::from_utf8(&bytes) {
        Ok(text) => parse(path, text),
        Err(error) => Err(not_utf8(path, &bytes, error.valid_up_to())),
    }
}

/// Reads a pipeline file's `text`, as [`load`] does. `path` is what reports call the file; nothing is opened.
pub fn parse(path: &Path, text: &str) -> Result<Config, Problems> {
    read::config(PipelineFile::new(path, text))
}

fn bytes(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn unreadable(path: &Path, error: &io::Error) -> Problems {
    let (reason, hint) = match error.kind() {
        ErrorKind::NotFound => {
            ("there is no such file".to_owned(), "check the path; a relative one starts at the current folder")
        }
        ErrorKind::IsADirectory => ("it is a folder".to_owned(), "name the pipeline file in it"),
        ErrorKind::PermissionDenied => ("permission denied".to_owned(), "make the file readable for this user"),
        _ => (error.to_string(), "check the path and the disk"),
    };
    let problem = PipelineFile::new(path, "").problem(format!("cannot be read: {reason}"));
    Problems(vec![problem.hint(hint)])
}

fn too_long(path: &Path) -> Problems {
    let message = format!("is longer than {FILE_BYTES_MAX} bytes, the most that a pipeline file may have");
    let problem = PipelineFile::new(path, "").problem(message);
    Problems(vec![problem.hint("check the path: is this the pipeline file, and not data?")])
}

fn not_utf8(path: &Path, bytes: &[u8], valid_up_to: usize) -> Problems {
    // The replacement characters come after `valid_up_to`, so the place is the same in the lossy text.
    let file = PipelineFile::new(path, String::from_utf8_lossy(bytes));
    let problem = file.problem_at(&(valid_up_to..valid_up_to), "not UTF-8 from here on");
    Problems(vec![problem.hint("save the file as UTF-8")])
}
