//! The log's entries, key by key. What stands around an entry, and how it proves itself, is in `document.rs`; all keys and
//! tables of format 2, those that later builds fill among them, are in `FORMAT.md`. Every entry is at most 1 MiB of JSON.
//! Keys that this build does not know are refused: an older build must not act on half of what a newer one meant.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use crate::sink::{Holds, Layout, OutputKind};

/// `root/<number>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "kebab-case", deny_unknown_fields)]
pub enum RootEntry {
    /// Number 0, the job's birth.
    Genesis(Box<Genesis>),
    /// A person accepted that the job goes on with other functions, configs or sink columns.
    Change {
        /// What the job computes from here on.
        fingerprint: Fingerprint,
    },
    /// The source has other objects than before.
    Source {
        /// The whole listing from here on. A row's `since` is this entry's number if its content is new.
        listing: SideFile,
        /// Whether rows that are done may stand elsewhere now. Then every uncovered row is asked against the ids of all
        /// segments that were written under an earlier root entry. That is a fixed set once a lane was opened under this
        /// one, whoever appended it: nobody can write under an earlier one any more.
        rewritten: bool,
        /// If rewritten: the number of the open in every lane by which the writer of this entry held all of them. A lane
        /// whose last open is neither this one nor one that has seen this entry may still get segments of an earlier
        /// root entry, and nobody may ask ids before it was opened anew.
        opens: Option<Vec<u64>>,
    },
    /// A person moved the job: object paths, file names and the log itself are relative to other roots from here on.
    Relocate {
        /// URL that object paths are relative to.
        source: String,
        /// URL that sink file names are relative to.
        sink: String,
        /// URL of the checkpoint itself.
        checkpoint: String,
    },
    /// The job is finished and its checkpoint goes away; whoever finds this removes the rest.
    Deleted {},
    /// A job of format 1 goes on in format 2 from here on. Whoever opens a lane after this writes format 2.
    Upgrade {
        /// BLAKE3 of each root entry below, in order: these cannot prove themselves.
        below: Vec<String>,
    },
}

/// What a job is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Genesis {
    /// Random, 16 hexadecimal digits; part of every sink file's name.
    pub job: String,
    /// Milliseconds since 1970, for people.
    pub created_ms: u64,
    /// How many lanes the log has, 1 to 65536.
    pub lanes: u32,
    /// Objects above this size are cut into pieces of this many bytes, each with a lane of its own.
    pub split_bytes: u64,
    /// The id columns, or none if rows are known by position.
    pub ids: Option<Vec<IdColumn>>,
    /// The source's schema: an Arrow IPC schema message in hexadecimal digits.
    pub source_schema: String,
    /// URL that object paths are relative to.
    pub source: String,
    /// URL that sink file names are relative to.
    pub sink: String,
    /// URL of the checkpoint itself.
    pub checkpoint: String,
    /// The source's objects.
    pub listing: SideFile,
    /// Ids of rows that were done before the job began, elsewhere. Each file is sorted by the id columns, which have the
    /// job's names and types. Every row that is not covered is asked against them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub imported: Vec<SideFile>,
    /// A listing of objects all of whose rows were done before the job began, elsewhere. Who opens their lanes covers those rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub done: Option<SideFile>,
    /// What the job computes.
    pub fingerprint: Fingerprint,
    /// Where files of results lie. Absent if they lie together.
    #[serde(default, skip_serializing_if = "Layout::is_flat")]
    pub layout: Layout,
}

impl Genesis {
    /// Whether something was done before the job began.
    pub fn has_imports(&self) -> bool {
        !self.imported.is_empty() || self.done.is_some()
    }

    /// Files beside the log that it names.
    pub fn side_files(&self) -> impl Iterator<Item = &SideFile> {
        self.imported.iter().chain(&self.done).chain([&self.listing])
    }
}

/// One id column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdColumn {
    /// The column's name in the source.
    pub name: String,
    /// The Arrow type as Arrow writes it, `Int64` or `Timestamp(µs, "UTC")`.
    pub data_type: String,
}

/// What decides a row's result: a job goes on only under the same one, or when a person accepts the change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fingerprint {
    /// Version of the host's own semantics.
    pub semantics: u32,
    /// The source's format.
    pub source_format: String,
    /// The id columns as `name: type`, empty in position mode.
    pub ids: Vec<String>,
    /// The functions, in order.
    pub stages: Vec<StageFingerprint>,
    /// The sink's format.
    pub sink_format: String,
    /// The sink's columns as `name: type`.
    pub sink_columns: Vec<String>,
}

impl Fingerprint {
    /// Whether the source has lines: at positions of its objects there may be no row.
    pub fn has_lines(&self) -> bool {
        self.source_format != "parquet"
    }
}

/// One function of the chain.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageFingerprint {
    /// BLAKE3 of the component file.
    pub component: String,
    /// The function's name.
    pub function: String,
    /// Its config as canonical JSON: keys sorted.
    pub config: String,
    /// BLAKE3 over the chain up to this stage: what its output depends on.
    pub chain: String,
}

/// `lane/<lane>/<number>`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "kebab-case", deny_unknown_fields)]
pub enum LaneEntry {
    /// A writer takes the lane.
    Open {
        /// The writer's random name: of one opening of one lane, never used again.
        token: String,
        /// The process' random name, under which its heartbeat, requests to stop and summary lie.
        run: String,
        /// Number of the last root entry that the writer saw before.
        root: u64,
        /// Its digest. Absent in format 1.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        root_digest: Option<String>,
        /// Milliseconds since 1970, for people.
        opened_ms: u64,
        /// Host name.
        host: String,
        /// The host's boot, as Linux names it; empty if it does not.
        boot: String,
        /// Process, for people.
        pid: u32,
        /// Whether the entry below could not be read, so that this one names no digest of it.
        #[serde(default, skip_serializing_if = "is_false")]
        torn: bool,
    },
    /// A group is durable.
    Segment(Box<SegmentEntry>),
    /// What all entries below say, in short. They and what only they name may be deleted.
    Compaction(Box<CompactionEntry>),
    /// Entries that count no more.
    Withdraw {
        /// The writer.
        token: String,
        /// Numbers of groups, or of entries that are torn or missing. Rows whose state a group gave are not done; its
        /// files do not count.
        numbers: Vec<u64>,
        /// Whether rows that are known by id are to be asked again, since an id that they were found by may be withdrawn,
        /// in this lane or another.
        forget_known: bool,
        /// Why, for people.
        reason: String,
    },
    /// A writer leaves the lane in order.
    Close {
        /// The writer.
        token: String,
        /// How it ended.
        how: Close,
    },
}

impl LaneEntry {
    /// Who wrote it.
    pub(super) fn token(&self) -> &str {
        match self {
            LaneEntry::Open { token, .. } | LaneEntry::Withdraw { token, .. } | LaneEntry::Close { token, .. } => token,
            LaneEntry::Segment(segment) => &segment.token,
            LaneEntry::Compaction(compaction) => &compaction.token,
        }
    }
}

/// How a writer left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Close {
    /// Every row of the lane is covered.
    Finished,
    /// A person asked it to stop.
    Stopped,
    /// An error ended it.
    Failed,
}

/// All that is below, in side files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompactionEntry {
    /// The writer.
    pub token: String,
    /// One row per group that counts: number, root entry, counts.
    pub groups: SideFile,
    /// One row per sink file: group, path, rows, bytes.
    pub files: SideFile,
    /// One row per range of rows that still has the state which its group gave it.
    pub coverage: SideFile,
    /// One row per open: number, token, run, root entry.
    pub opens: SideFile,
    /// Id files, of one group or of several.
    pub ids: Vec<IdFile>,
    /// The root entry under which it was written; what the tables name is not above it. Absent in format 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root: Option<u64>,
    /// That entry's digest. Absent in format 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_digest: Option<String>,
}

/// A file of ids.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IdFile {
    /// The group whose ids it holds; if none, each row names its group in a last column `_group`.
    pub group: Option<u64>,
    /// The file.
    pub file: SideFile,
}

/// The rows of one group count from here on, and so do the files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SegmentEntry {
    /// The writer.
    pub token: String,
    /// The root entry under which it works.
    pub root: u64,
    /// That entry's digest. Absent in format 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_digest: Option<String>,
    /// The group's number within its writer.
    pub group: u64,
    /// Sink files, all complete. None here if `files_table` is there.
    pub files: Vec<FileEntry>,
    /// Files of dead letters below the sink, all complete.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dead_letters: Vec<FileEntry>,
    /// The files of both kinds as a table, where they would be too many for an entry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub files_table: Option<SideFile>,
    /// The rows covered, by object. Absent if `coverage_file` is there.
    pub coverage: Option<Vec<CoveredObject>>,
    /// The same as a Parquet file, where it would be too long for an entry.
    pub coverage_file: Option<SideFile>,
    /// Ids of the rows that are done, sorted. Absent in position mode, and if no row is done.
    pub ids: Option<SideFile>,
    /// What became of the group's rows.
    pub counts: super::GroupCounts,
}

/// A sink file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileEntry {
    /// Relative to the sink.
    pub path: String,
    /// Rows in it.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// BLAKE3 of its bytes. Absent in format 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    /// Whose results it holds, in the layout `mirror`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holds: Option<Holds>,
}

impl FileEntry {
    /// What its rows are.
    pub fn kind(&self) -> OutputKind {
        OutputKind::of(&self.path)
    }
}

/// Files as documents have them: a list for each kind, under a key of its own.
pub fn by_kind<'a>(files: impl Iterator<Item = &'a FileEntry>) -> [Vec<FileEntry>; OutputKind::ALL.len()] {
    let files: Vec<&FileEntry> = files.collect();
    OutputKind::ALL.map(|kind| files.iter().filter(|file| file.kind() == kind).copied().cloned().collect())
}

impl SegmentEntry {
    /// Its files, and of which kind it says that they are.
    pub(super) fn all_files(&self) -> impl Iterator<Item = (OutputKind, &FileEntry)> {
        let lists = [&self.files, &self.dead_letters];
        OutputKind::ALL.into_iter().zip(lists).flat_map(|(kind, files)| files.iter().map(move |file| (kind, file)))
    }
}

/// A Parquet file under `side/`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SideFile {
    /// Relative to the checkpoint.
    pub path: String,
    /// Rows in it.
    pub rows: u64,
    /// Its size.
    pub bytes: u64,
    /// BLAKE3 of its bytes.
    pub digest: String,
}

impl SideFile {
    /// Whether it lies where side files do. Nothing else is ever read or deleted as one.
    pub(super) fn is_beside_the_log(&self) -> bool {
        self.path.starts_with("side/")
    }
}

/// Rows of one object that a segment covers.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CoveredObject {
    /// Relative to the source.
    pub object: String,
    /// BLAKE3 of the object's footer and edges, of a text that is larger than these of its time or tag, to know a copy from a
    /// change.
    pub digest: String,
    /// The object's size in bytes.
    pub size: u64,
    /// Rows in the whole object; of a text its positions, at some of which there may be no row.
    pub rows: u64,
    /// The piece, of an object that is cut.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub piece: u32,
    /// Row ranges `[start, end)` of the piece, of an object that is cut.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own: Option<Vec<(u64, u64)>>,
    /// Row ranges `[start, end)` that are written or filtered out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub done: Vec<(u64, u64)>,
    /// Row ranges whose id was done elsewhere.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub known: Vec<(u64, u64)>,
    /// Row ranges that failed and are left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub failed: Vec<(u64, u64)>,
    /// Row ranges that failed and became dead letters.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dead: Vec<(u64, u64)>,
    /// Ranges `[start, end)` of positions of a text at which there is no row.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blank: Vec<(u64, u64)>,
}

fn is_false(flag: &bool) -> bool {
    !flag
}

fn is_zero(piece: &u32) -> bool {
    *piece == 0
}

/// Ranges as they stand in an entry.
pub fn covered_from_ranges(ranges: impl IntoIterator<Item = Range<u64>>) -> Vec<(u64, u64)> {
    ranges.into_iter().map(|range| (range.start, range.end)).collect()
}

/// An entry's number as it stands in its name: ten digits, so that names sort as numbers.
pub fn number_name(number: u64) -> String {
    format!("{number:010}")
}
