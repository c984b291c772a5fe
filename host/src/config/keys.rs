//! Every section of a pipeline file and every key, each declared once: what `declare.rs` makes of it, and so what is read, what
//! hints say, and what stands in `host/docs/keys.md` and in the JSON Schema.
//!
//! What is said about a key is Markdown for a cell of a table, and what an editor shows beside it.

use std::time::Duration;

use super::declare::{choice, section};
use super::number::{Bytes, Seconds, Whole};
use super::section::{Report, Section};
use super::shape::{Key, Need, Repeated, Shape};
use super::text::{ColumnOrColumns, ColumnTypes, Columns, LocalPath, Place, Text};
use super::value::{Boolean, Choice, FunctionConfig, Reach};
use super::{At, Settings};

/// The most threads, and the most units open at once. More than this is a slip of the finger.
const THREADS_MAX: u32 = 4096;
/// The most lanes: each is a folder with at least two entries.
const LANES_MAX: u32 = 65_536;
/// The most requests at once, and the most times that one is sent again.
const REQUESTS_MAX: u32 = 4096;
const RETRIES_MAX: u32 = 1000;

const MIB: u64 = 1 << 20;

/// The file itself: its keys are the sections.
pub(super) const FILE: Shape = Shape {
    name: "a pipeline file",
    docs: &["A pipeline of wasmpipe: where rows come from, what happens to them, where results go."],
    keys: &[
        Key {
            name: "source",
            kind: &Source::SHAPE,
            example: r#"[source] with path = "corpus/*.parquet""#,
            need: Need::Required,
            docs: Source::SHAPE.docs,
        },
        Key {
            name: "stage",
            kind: &Repeated(&Stage::SHAPE),
            example: r#"[[stage]] with component = "udfs/code.wasm" and function = "passages""#,
            need: Need::Absent("the rows are copied"),
            docs: Stage::SHAPE.docs,
        },
        Key {
            name: "sink",
            kind: &Sink::SHAPE,
            example: r#"[sink] with path = "out/""#,
            need: Need::Required,
            docs: Sink::SHAPE.docs,
        },
        Key {
            name: "checkpoint",
            kind: &Checkpoint::SHAPE,
            example: r#"[checkpoint] with path = "checkpoint/""#,
            need: Need::Absent("a run that stops starts over, with an empty sink"),
            docs: Checkpoint::SHAPE.docs,
        },
        Key {
            name: "dead_letters",
            kind: &DeadLetters::SHAPE,
            example: "[dead_letters] with full_row = true",
            need: Need::Absent(""),
            docs: DeadLetters::SHAPE.docs,
        },
        Key {
            name: "run",
            kind: &Run::SHAPE,
            example: "[run] with workers = 2",
            need: Need::Absent(""),
            docs: Run::SHAPE.docs,
        },
    ],
};

section! {
    /// Where rows come from.
    Source in "[source]":

    /// A file, a folder (every file below it that is named like the format) or a glob (`*` stays within a folder, `**` does
    /// not), relative to the pipeline file's folder, or in a [bucket](stores.md); see [which files are
    /// read](formats.md#which-files-are-read).
    path: String = Place, like r#""corpus/*.parquet""#, required;

    /// The column or columns that identify a row: integers, strings, binary, bool, dates, times, timestamps, decimals; never
    /// null.
    id: Vec<At<String>> = ColumnOrColumns, like r#""path" or id = ["crate", "path"]"#,
        absent "rows are known by position: which object, which row of it";

    /// What the files are.
    format: Format = Choice(Format::WORDS), like r#""jsonl""#,
        absent "names say so: `.jsonl`, `.ndjson` or `.json` (with `.gz` or `.zst` behind) are JSON Lines, others are Parquet; of a \
                folder that holds both, the Parquet files are read";

    /// The columns of JSON Lines and their types.
    schema: Vec<(At<String>, At<String>)> = ColumnTypes,
        like r#"{ text = "string", n = "int64", tags = "list<string>", meta = "json" }"#,
        absent "found in the first lines of some files, and fixed when the job begins";

    /// What becomes of keys of JSON Lines that the schema does not name. `"refuse"`: the line is a bad line. `"drop"`: they go
    /// away. `"keep"`: they are kept in a column `_extra` of JSON.
    extra_keys: ExtraKeys = Choice(ExtraKeys::WORDS), like r#""drop""#, default ExtraKeys::Refuse;

    /// What to do about a line of JSON Lines that is no row; the words mean what they mean for [`on_error`](#stage).
    on_bad_line: OnError = Choice(OnError::WORDS), like r#""skip""#, default OnError::Fail;

    /// The bytes of a line of JSON Lines, without its end.
    record_bytes_max: u64 = Bytes(1024 * MIB), like r#""64 MiB""#,
        absent "`\"64 MiB\"`; for each reader an eighth of `memory_bytes_max` if that is less, but not below 1 MiB";

    /// A new job of so many files reads all their footers, to find [one schema for files that
    /// differ](formats.md#files-that-differ); of more files, 64 from the first to the last.
    footers_max: u64 = Whole(1..=u64::MAX), like "1000", default 1000;

    /// How to reach the [bucket](stores.md), if `path` is in one; keys under [`store`](#store).
    store: Store = Reach, like r#"{ region = "eu-central-1" }"#, absent "";
}

section! {
    /// One function of one component. There may be several, which rows pass in the order of the file.
    Stage in "[[stage]]":

    /// The component's file, relative to the pipeline file's folder.
    component: String = LocalPath, like r#""udfs/code.wasm""#, required;

    /// Which of the component's functions.
    function: String = Text, like r#""passages""#, required;

    /// What the function is told at its start. It gets the table as JSON; dates and times become strings.
    config: Settings = FunctionConfig, like "{ line_length_max = 1000 }", absent "`{}`";

    /// What becomes of a row that the function cannot process. `"fail"`: it ends the run, and its group is not committed.
    /// `"skip"`: it is left out and counted as failed; the first five of a block are named in the log with their reasons, all
    /// their places are in `checkpoint inspect --json`, and `--retry-failed` tries them again. `"dead-letter"`: as `"skip"`,
    /// and the row is kept with what was wrong, as a [dead letter](failed-rows.md#dead-letters). A row that traps or goes past
    /// a limit [fails alone](failed-rows.md#rows-that-end-a-function).
    on_error: OnError = Choice(OnError::WORDS), like r#""skip""#, default OnError::Fail;

    /// The memory of one instance of the component.
    memory_bytes_max: u64 = Bytes::ANY, like r#""512 MiB""#, default 1024 * MIB;

    /// The time for one block, and for one row that is called alone.
    block_seconds_max: Duration = Seconds::ABOVE_ZERO, like "30", default Duration::from_secs(30);

    /// The bytes of the rows that come of [one source row](memory.md#rows-that-become-many): what the function adds, and what
    /// is repeated of the columns that it carries. A row that goes past it fails as `on_error` says.
    row_output_bytes_max: u64 = Bytes::ANY, like r#""256 MiB""#, default 256 * MIB;

    /// The most [calls that tell apart the rows](failed-rows.md#rows-that-end-a-function) of one block that trapped or went
    /// past a limit; 0 tells none apart.
    isolate_calls_max: u64 = Whole(0..=u64::MAX), like "10000", default 10_000;

    /// The time for these calls.
    isolate_seconds_max: Duration = Seconds::OR_ZERO, like "600",
        absent "`600`; 20 times `block_seconds_max` if that is more";

    /// These calls end when so many rows in succession each take all of `block_seconds_max`.
    isolate_hangs_max: u32 = Whole(1..=u32::MAX), like "3", default 3;

    /// The time for all these calls of a run that fail, of all its workers.
    isolate_run_seconds_max: Duration = Seconds::OR_ZERO, like "6000",
        absent "ten times `isolate_seconds_max`; 20 times what calls took that were answered if that is more";

    /// What becomes of rows that these limits left together. `"fail"`: they end the run, and their group is not committed.
    /// `"skip"`: they fail as `on_error` says, all of them.
    on_unseparated: OnUnseparated = Choice(OnUnseparated::WORDS), like r#""skip""#, default OnUnseparated::Fail;
}

section! {
    /// Where results go.
    Sink in "[sink]":

    /// A folder, relative to the pipeline file's folder, or a prefix in a [bucket](stores.md). No output of another job may be
    /// in it unless `shared`, and it may not lie in the source.
    path: String = Place, like r#""out/""#, required;

    /// What to write: Parquet, or [JSON Lines](formats.md#json-lines).
    format: Format = Choice(Format::WORDS), like r#""jsonl""#, default Format::Parquet;

    /// The columns to write, in this order.
    columns: Vec<At<String>> = Columns, like r#"["path", "passage"]"#, absent "all that leave the last stage";

    /// How pages of Parquet, or files of JSON Lines, are compressed. `"snappy"` and `"lz4"` (raw LZ4 blocks, `LZ4_RAW`) are for
    /// Parquet only. This, `nulls` and `file_bytes_max` may change at any time; files from before stay as they are.
    compression: Compression = Choice(Compression::WORDS), like r#""zstd""#, default Compression::Zstd;

    /// What stands for null in JSON Lines: `"key":null`, or with `"omit"` nothing.
    nulls: Nulls = Choice(Nulls::WORDS), like r#""omit""#, default Nulls::Write;

    /// A file that reaches this size is finished and the next one begun. Each group of rows has files of its own, one for each
    /// reader, so larger groups make larger files.
    file_bytes_max: u64 = Bytes::ANY, like r#""256 MiB""#, default 256 * MIB;

    /// Where files of results lie: all together, or with `"mirror"` in [a folder for each source
    /// object](formats.md#a-folder-for-each-object). Fixed when the job begins; `"mirror"` is not for a `shared` sink.
    layout: Layout = Choice(Layout::WORDS), like r#""mirror""#, default Layout::Flat;

    /// Whether the folder may hold [output of other jobs](checkpoints.md#one-job-one-sink); names tell them apart. Once the
    /// checkpoint of a finished job is deleted, nothing keeps a rerun from doubling its output here.
    shared: bool = Boolean, like "true", default false;

    /// As in `[source]`.
    store: Store = Reach, like r#"{ region = "eu-central-1" }"#, absent "";
}

section! {
    /// Where it is recorded which rows are done. Rows are committed in groups; a group ends with the block that reaches one of
    /// its limits.
    Checkpoint in "[checkpoint]":

    /// A folder, relative to the pipeline file's folder, or a prefix in a [bucket](stores.md), of the checkpoint's own.
    path: String = Place, like r#""checkpoint/""#, required;

    /// Logs that the job has, fixed when it begins: more than there will ever be
    /// [processes](checkpoints.md#many-processes) on it.
    lanes: u32 = Whole(1..=LANES_MAX), like "64", default 1;

    /// Larger objects are cut into pieces, each with a lane of its own; fixed when the job begins.
    split_bytes: u64 = Bytes::ANY, like r#""4 GiB""#, default 4096 * MIB;

    /// A lane with this many log entries is compacted; 0 is never.
    compact_entries: u64 = Whole(0..=u64::MAX), like "500", default 500;

    /// The time between two signs of life of a run.
    heartbeat_seconds: Duration = Seconds { may_be_zero: false, max: 60 }, like "5", default Duration::from_secs(5);

    /// Whether the checkpoint goes away when the job is finished. By the manifest in the sink a rerun finds that there is
    /// nothing to do.
    delete_on_success: bool = Boolean, like "true", default false;

    /// The source rows of one group.
    group_rows_max: u64 = Whole(1..=u64::MAX), like "4000000", default 4_000_000;

    /// The bytes of one group's decoded source columns.
    group_bytes_max: u64 = Bytes::ANY, like r#""64 MiB""#, default 64 * MIB;

    /// The time since a group's first row.
    group_seconds_max: Duration = Seconds::ABOVE_ZERO, like "30", default Duration::from_secs(30);

    /// As in `[source]`.
    store: Store = Reach, like r#"{ region = "eu-central-1" }"#, absent "";
}

section! {
    /// How to reach a bucket: the table behind `store` in `[source]`, `[sink]` and `[checkpoint]`. No credentials: they come
    /// from the [environment or a profile file](stores.md#keys).
    Store in "`store`":

    /// A server that is not Amazon's: scheme, host, port. The bucket becomes part of the path.
    endpoint: String = Text, like r#""https://minio.example.com:9000""#,
        absent "`AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`, the profile's `endpoint_url`, or Amazon's own";

    /// The bucket's region.
    region: String = Text, like r#""eu-central-1""#,
        absent "`AWS_REGION`, `AWS_DEFAULT_REGION`, the profile's `region`, or `us-east-1`";

    /// Whose keys to use, of `~/.aws/credentials` and `~/.aws/config`.
    profile: String = Text, like r#""team""#, absent "`AWS_PROFILE`, or `default`";

    /// Whether the endpoint may be one that does not encrypt. Such a one is refused otherwise.
    allow_http: bool = Boolean, like "true", absent "`AWS_ALLOW_HTTP`, or `false`";

    /// How often a request is sent again that met a closed connection, 429 or 5xx: after growing pauses, for three minutes at
    /// most.
    retries: u32 = Whole(0..=RETRIES_MAX), like "10", default 10;

    /// The time for one request with its answer.
    timeout_seconds: Duration = Seconds::ABOVE_ZERO, like "30", default Duration::from_secs(30);

    /// Requests under way at once, for this section.
    requests_max: u32 = Whole(1..=REQUESTS_MAX), like "64", default 64;
}

section! {
    /// What is kept of a row that failed under `on_error = "dead-letter"`; only with a stage that says so.
    DeadLetters in "[dead_letters]":

    /// `true`: a dead letter holds all columns of the source, which are then all read; else those that the job reads.
    full_row: bool = Boolean, like "true", default false;
}

section! {
    /// How much of the machine to use. Nothing here changes what is written.
    Run in "[run]":

    /// Threads that drive blocks through the stages, each with instances of its own.
    workers: u32 = Whole(1..=THREADS_MAX), like "2", absent "cores";

    /// Units (row groups of Parquet) that are read and decoded at once.
    readers: u32 = Whole(1..=THREADS_MAX), like "2", absent "cores";

    /// How long a run that was asked to stop may take to finish and commit what it has begun.
    drain_seconds: Duration = Seconds::OR_ZERO, like "60", default Duration::from_secs(60);

    /// The rows of one block. Where rows take long, a block has fewer, as many as take some 5 s in all stages, so that a stop
    /// finishes what is in flight. A function is called with as many of a block's rows as take some 50 ms, by what its last
    /// calls took: first with 64, then mostly with all.
    block_rows_max: u32 = Whole(1..=u32::MAX), like "65536", default 65_536;

    /// The bytes of one block, except that a block has at least one row.
    block_bytes_max: u64 = Bytes::ANY, like r#""2 MiB""#, default 2 * MIB;

    /// What the run takes, functions and all, beside what a process takes before its first row; see [memory](memory.md). A
    /// start that cannot keep it is refused with the number that would do.
    memory_bytes_max: u64 = Bytes::ANY, like r#""1 GiB""#,
        absent "1 GiB for blocks on their way, and functions have what their stages say";

    /// The memory for building the [id file](checkpoints.md#the-id-file); at least 64 KiB are used.
    ids_memory_bytes_max: u64 = Bytes::ANY, like r#""256 MiB""#,
        absent "`\"256 MiB\"`, or half of what `memory_bytes_max` leaves";
}

choice! {
    /// What the files of a source or a sink are.
    Format:
    /// Apache Parquet.
    "parquet" is Parquet;
    /// JSON Lines, one object a line.
    "jsonl" is JsonLines;
}

choice! {
    /// What becomes of keys that the schema of JSON Lines does not name.
    ExtraKeys:
    /// The line is a bad line.
    "refuse" is Refuse;
    /// They go away.
    "drop" is Drop;
    /// They are kept in a column `_extra` of JSON.
    "keep" is Keep;
}

choice! {
    /// What to do about a row that a function cannot process, or a line that is no row.
    OnError:
    /// The run fails, and the row is tried again by the next.
    "fail" is Fail;
    /// The row has no results, and is listed as failed.
    "skip" is Skip;
    /// The row has no results; it is kept in a file of its own, with what was wrong.
    "dead-letter" is DeadLetter;
}

choice! {
    /// What to do about rows of which some end the function, nobody knows which.
    OnUnseparated:
    /// The run fails, and they are tried again by the next.
    "fail" is Fail;
    /// All of them fail, as `on_error` says.
    "skip" is Skip;
}

choice! {
    /// How the pages of a Parquet file, or files of JSON Lines, are compressed.
    Compression:
    /// Zstandard.
    "zstd" is Zstd;
    /// Snappy.
    "snappy" is Snappy;
    /// Raw LZ4 blocks, which Parquet calls `LZ4_RAW`.
    "lz4" is Lz4;
    /// gzip.
    "gzip" is Gzip;
    /// Not at all.
    "none" is None;
}

choice! {
    /// Where files of results lie.
    Layout:
    /// All together.
    "flat" is Flat;
    /// Those of each source object in a folder of its full name, with `_SUCCESS` when it is through.
    "mirror" is Mirror;
}

choice! {
    /// What stands for null in JSON.
    Nulls:
    /// `"key":null`.
    "write" is Write;
    /// Nothing, the key is not there.
    "omit" is Omit;
}
