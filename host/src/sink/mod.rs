//! Blocks become durable objects. A job has a list of outputs, which all lie in one sink.
//!
//! * `holds` - which source rows a file holds the results of.
//! * `file` - one file, encoded as batches arrive and uploaded in parts as it grows.
//! * `stream` - puts the batches of one reader back into the order in which they left the source, and into files.
//!
//! What a sink file means is decided elsewhere: until a segment names it, it does not exist.

mod file;
mod holds;
mod stream;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arrow::datatypes::SchemaRef;
pub use file::{ClosedFile, FileWriter};
pub use holds::{Holds, Span};
use serde::{Deserialize, Serialize};
pub use stream::{OutputRows, Stream};

use crate::format::{EXTENSIONS, EncodeError, OutputFormat};
use crate::message::Hint;
use crate::store::{Store, advice, told};

/// Where what is not output lies, below the sink's root.
pub const OWN_FOLDER: &str = "_wasmpipe";

/// Where a job writes, and what.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The sink's root.
    pub store: Store,
    /// What is written: results, and what there is of other kinds, each once.
    pub outputs: Vec<Output>,
}

impl Spec {
    /// Results, which every job has.
    pub fn results(&self) -> &Output {
        self.output(OutputKind::Results).expect("every job has results")
    }

    /// The output of a kind, if the job has it.
    pub fn output(&self, kind: OutputKind) -> Option<&Output> {
        self.outputs.iter().find(|output| output.kind == kind)
    }
}

/// One of the things that a job writes.
#[derive(Clone, Debug)]
pub struct Output {
    /// What its rows are.
    pub kind: OutputKind,
    /// Columns of every file, and what it says of them.
    pub schema: SchemaRef,
    /// How files are written.
    pub format: Arc<dyn OutputFormat>,
    /// A file that has grown beyond this is closed and the next begun.
    pub file_bytes_max: u64,
    /// Where files lie.
    pub layout: Layout,
}

/// Where files of results lie in the sink.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// All together.
    #[default]
    Flat,
    /// Those of a source object in a folder of its full name.
    Mirror,
}

impl Layout {
    /// Whether it is what jobs have that say nothing.
    pub fn is_flat(&self) -> bool {
        *self == Layout::Flat
    }
}

/// What the rows of a sink file are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum OutputKind {
    /// Results.
    Results,
    /// Source rows that failed, with what was wrong. They lie in a folder whose name readers of Parquet folders skip.
    DeadLetters,
}

impl OutputKind {
    /// Each of them.
    pub const ALL: [OutputKind; 2] = [OutputKind::Results, OutputKind::DeadLetters];

    /// The folder below the sink's root, with a slash at its end if it is another.
    pub fn folder(self) -> &'static str {
        match self {
            OutputKind::Results => "",
            OutputKind::DeadLetters => "_wasmpipe/dead-letters/",
        }
    }

    /// As people call it.
    pub fn name(self) -> &'static str {
        match self {
            OutputKind::Results => "results",
            OutputKind::DeadLetters => "dead letters",
        }
    }

    /// Of a file, by where it lies: a path relative to the sink.
    pub fn of(path: &str) -> OutputKind {
        let lies_in = |kind: &OutputKind| path.starts_with(kind.folder());
        OutputKind::ALL.into_iter().rfind(lies_in).expect("results lie anywhere")
    }
}

/// Makes the files of one writer, with names that nobody used before.
#[derive(Debug)]
pub struct Sink {
    spec: Spec,
    job: String,
    lane: u32,
    token: String,
    sequence: AtomicU64,
    runtime: tokio::runtime::Handle,
}

impl Sink {
    /// A sink for one opening of one lane.
    pub fn new(spec: Spec, job: &str, lane: u32, token: &str, runtime: tokio::runtime::Handle) -> Sink {
        Sink { spec, job: job.into(), lane, token: token.into(), sequence: AtomicU64::new(0), runtime }
    }

    /// A new empty file of an output that the job has.
    pub fn file(&self, kind: OutputKind) -> Result<FileWriter, SinkError> {
        self.file_of(kind, "")
    }

    /// The same in the folder of an object.
    pub fn file_of(&self, kind: OutputKind, folder: &str) -> Result<FileWriter, SinkError> {
        let output = self.spec.output(kind).expect("the job has it");
        let sequence = self.sequence.fetch_add(1, Ordering::Relaxed);
        let (job, token) = (self.job.as_str(), self.token.as_str());
        let extension = output.format.extension();
        let name = FileName { kind, folder, job, lane: self.lane, token, sequence, extension };
        FileWriter::new(&self.spec.store, output, name.to_string(), self.runtime.clone())
    }

    /// The writer's random name.
    pub fn token(&self) -> &str {
        &self.token
    }
}

/// A durable sink file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SinkFile {
    /// What its rows are.
    pub kind: OutputKind,
    /// Relative to the sink.
    pub path: String,
    /// Rows in it.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// BLAKE3 of its bytes.
    pub digest: String,
    /// Whose results they are, in a layout that keeps those of an object together.
    pub holds: Option<Holds>,
}

/// `<job>-<lane>-<token>-<sequence>.<extension>` in the folder of its kind, or of its object: never used twice, since a token is random and a
/// sequence only grows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileName<'a> {
    /// Which folder.
    pub kind: OutputKind,
    /// The object whose results it holds, in the layout `mirror`; else empty.
    pub folder: &'a str,
    /// 16 hexadecimal digits.
    pub job: &'a str,
    /// The lane.
    pub lane: u32,
    /// 16 hexadecimal digits.
    pub token: &'a str,
    /// Counts the files of one writer.
    pub sequence: u64,
    /// Of its format.
    pub extension: &'a str,
}

impl std::fmt::Display for FileName<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let FileName { kind, folder, job, lane, token, sequence, extension } = self;
        let slash = if folder.is_empty() { "" } else { "/" };
        write!(f, "{}{folder}{slash}{job}-{lane}-{token}-{sequence:06}.{extension}", kind.folder())
    }
}

impl<'a> FileName<'a> {
    /// Reads a name relative to the sink; none if it is not one of ours.
    pub fn parse(name: &'a str) -> Option<FileName<'a>> {
        let kind = OutputKind::of(name);
        let name = &name[kind.folder().len()..];
        let (folder, name) = name.rsplit_once('/').unwrap_or(("", name));
        if !folder.is_empty() && (kind != OutputKind::Results || folder.split('/').next() == Some(OWN_FOLDER)) {
            return None;
        }
        let (name, extension) = name.split_once('.').filter(|(_, extension)| EXTENSIONS.contains(extension))?;
        let mut parts = name.split('-');
        let (job, lane, token, sequence) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        let is_hex =
            |text: &str| text.len() == 16 && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        if parts.next().is_some() || !is_hex(job) || !is_hex(token) {
            return None;
        }
        let (lane, sequence) = (lane.parse().ok()?, sequence.parse().ok()?);
        Some(FileName { kind, folder, job, lane, token, sequence, extension })
    }
}

/// A sink file could not be written.
#[derive(Debug, thiserror::Error)]
pub enum SinkError {
    /// The store refused or failed.
    #[error("sink: cannot write {name}: {}", told(cause))]
    Store {
        /// The file.
        name: String,
        /// What the store said.
        #[source]
        cause: object_store::Error,
    },
    /// The batch could not be encoded.
    #[error("sink: cannot encode {name}: {cause}")]
    Encode {
        /// The file.
        name: String,
        /// What its format said.
        #[source]
        cause: EncodeError,
    },
}

impl Hint for SinkError {
    fn hint(&self) -> Option<String> {
        Some(match self {
            SinkError::Store { cause, .. } => advice(cause, "nothing is lost"),
            SinkError::Encode { .. } => {
                "let a function replace such values; or leave the column out with `columns` under [sink], or write \
                                         another `format`, and run the same command with --accept-change"
                    .into()
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_round_trip_and_foreign_names_are_not_ours() {
        for (kind, extension) in
            OutputKind::ALL.into_iter().flat_map(|kind| EXTENSIONS.map(|extension| (kind, extension)))
        {
            let (job, token) = ("0123456789abcdef", "fedcba9876543210");
            for folder in ["", "a/b.parquet"] {
                let name = FileName { kind, folder, job, lane: 3, token, sequence: 12, extension };
                let read = (kind == OutputKind::Results || folder.is_empty()).then(|| name.clone());
                assert_eq!(FileName::parse(&name.to_string()), read);
            }
        }
        for foreign in [
            "part-0.parquet",
            "0123456789abcdef-3-fedcba9876543210-x.parquet",
            "0123456789abcdef-3-fedcba9876543210-000012.parquet.bak",
            "0123456789abcdef-3-fedcba9876543210-000012.json",
            "_wasmpipe/a/0123456789abcdef-3-fedcba9876543210-000012.parquet",
            "_wasmpipe/0123456789abcdef-3-fedcba9876543210-000012.parquet",
            "0123456789ABCDEF-3-fedcba9876543210-000012.parquet",
        ] {
            assert_eq!(FileName::parse(foreign), None, "{foreign}");
        }
    }
}
