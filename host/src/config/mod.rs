//! The pipeline file as it is written: every key with its value, and the place where each value stands.
//!
//! This room mirrors the file and decides nothing. It knows which keys there are, which values have the right form and what holds
//! without them; it resolves no path, opens nothing. `plan` makes the file true. A mistake leaves a hole: what can be
//! read is read, so that `plan` finds what only it can see, and all problems of a file are reported together.
//!
//! * `keys.rs`: every section and key, declared once; `declare.rs`: what a declaration becomes
//! * `read.rs`: the whole file, and what keys say about each other
//! * `section.rs`: the keys of one section: known, misspelt, misplaced, missing
//! * `value.rs`: one value: its type, its range, its unit; `text.rs` strings, `number.rs` numbers, sizes and times
//! * `shape.rs`: what a section may hold, as a table and as a JSON Schema; `page.rs`: the page of all keys
//! * `suggest.rs`: the key that was probably meant
//! * `settings.rs`: a function's config as JSON, with the place of everything in it
//! * `problem.rs`: what is wrong, where, and what to do; the report

mod declare;
mod keys;
mod number;
mod page;
mod problem;
mod read;
mod section;
mod settings;
mod shape;
mod suggest;
#[cfg(test)]
mod tests;
mod text;
mod value;

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::ops::Range;
use std::path::Path;

pub use keys::{
    Checkpoint, Compression, DeadLetters, ExtraKeys, Format, Layout, Nulls, OnError, OnUnseparated, Run, Sink, Source,
    Stage, Store,
};
pub use page::page;
pub use problem::{PipelineFile, Problem, Problems};
pub(crate) use section::{list, shown};
pub(crate) use settings::below;
pub use settings::{Place, Settings};
pub(crate) use suggest::nearest;
use value::Describe;

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

/// A JSON Schema (draft 7) of pipeline files, with which editors complete and check them.
pub fn schema() -> serde_json::Value {
    let mut schema = keys::FILE.schema();
    schema["$schema"] = "http://json-schema.org/draft-07/schema#".into();
    schema["title"] = "wasmpipe pipeline file".into();
    schema
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
