//! What a pipeline file may say: every section, every key, and an example of each for hints. The one list; the meaning
//! of the keys is with the fields of [`super::Config`].

/// A key and an example of its use.
pub(super) type Key = (&'static str, &'static str);

/// What a section may hold.
pub(super) struct Shape {
    /// As in the file: `[source]`, `[[stage]]`.
    pub(super) name: &'static str,
    pub(super) keys: &'static [Key],
}

/// The file itself: its keys are the sections.
pub(super) const FILE: Shape = Shape {
    name: "a pipeline file",
    keys: &[
        ("source", r#"[source] with path = "corpus/*.parquet""#),
        ("stage", r#"[[stage]] with component = "udfs/code.wasm" and function = "passages""#),
        ("sink", r#"[sink] with path = "out/""#),
        ("checkpoint", r#"[checkpoint] with path = "checkpoint/""#),
        ("dead_letters", "[dead_letters] with full_row = true"),
        ("run", "[run] with workers = 2"),
    ],
};

pub(super) const SOURCE: Shape = Shape {
    name: "[source]",
    keys: &[
        ("path", r#"path = "corpus/*.parquet""#),
        ("id", r#"id = "path" or id = ["crate", "path"]"#),
        ("format", r#"format = "jsonl""#),
        ("schema", r#"schema = { text = "string", n = "int64", tags = "list<string>", meta = "json" }"#),
        ("extra_keys", r#"extra_keys = "drop""#),
        ("on_bad_line", r#"on_bad_line = "skip""#),
        ("record_bytes_max", r#"record_bytes_max = "64 MiB""#),
        ("footers_max", "footers_max = 1000"),
        ("store", STORE_EXAMPLE),
    ],
};

pub(super) const STAGE: Shape = Shape {
    name: "[[stage]]",
    keys: &[
        ("component", r#"component = "udfs/code.wasm""#),
        ("function", r#"function = "passages""#),
        ("config", "config = { line_length_max = 1000 }"),
        ("on_error", r#"on_error = "skip""#),
        ("memory_bytes_max", r#"memory_bytes_max = "512 MiB""#),
        ("block_seconds_max", "block_seconds_max = 30"),
        ("row_output_bytes_max", r#"row_output_bytes_max = "256 MiB""#),
        ("isolate_calls_max", "isolate_calls_max = 10000"),
        ("isolate_seconds_max", "isolate_seconds_max = 600"),
        ("isolate_hangs_max", "isolate_hangs_max = 3"),
        ("isolate_run_seconds_max", "isolate_run_seconds_max = 6000"),
        ("on_unseparated", r#"on_unseparated = "skip""#),
    ],
};

pub(super) const SINK: Shape = Shape {
    name: "[sink]",
    keys: &[
        ("path", r#"path = "out/""#),
        ("format", r#"format = "jsonl""#),
        ("columns", r#"columns = ["path", "passage"]"#),
        ("compression", r#"compression = "zstd""#),
        ("nulls", r#"nulls = "omit""#),
        ("file_bytes_max", r#"file_bytes_max = "256 MiB""#),
        ("shared", "shared = true"),
        ("store", STORE_EXAMPLE),
    ],
};

pub(super) const CHECKPOINT: Shape = Shape {
    name: "[checkpoint]",
    keys: &[
        ("path", r#"path = "checkpoint/""#),
        ("lanes", "lanes = 64"),
        ("split_bytes", r#"split_bytes = "4 GiB""#),
        ("compact_entries", "compact_entries = 500"),
        ("heartbeat_seconds", "heartbeat_seconds = 5"),
        ("delete_on_success", "delete_on_success = true"),
        ("group_rows_max", "group_rows_max = 4000000"),
        ("group_bytes_max", r#"group_bytes_max = "64 MiB""#),
        ("group_seconds_max", "group_seconds_max = 30"),
        ("store", STORE_EXAMPLE),
    ],
};

const STORE_EXAMPLE: &str = r#"store = { region = "eu-central-1" }"#;

/// The table behind `store` in `[source]`, `[sink]` and `[checkpoint]`.
pub(super) const STORE: Shape = Shape {
    name: "`store`",
    keys: &[
        ("endpoint", r#"endpoint = "https://minio.example.com:9000""#),
        ("region", r#"region = "eu-central-1""#),
        ("profile", r#"profile = "team""#),
        ("allow_http", "allow_http = true"),
        ("retries", "retries = 10"),
        ("timeout_seconds", "timeout_seconds = 30"),
        ("requests_max", "requests_max = 64"),
    ],
};

pub(super) const DEAD_LETTERS: Shape = Shape { name: "[dead_letters]", keys: &[("full_row", "full_row = true")] };

pub(super) const RUN: Shape = Shape {
    name: "[run]",
    keys: &[
        ("workers", "workers = 2"),
        ("readers", "readers = 2"),
        ("drain_seconds", "drain_seconds = 60"),
        ("block_rows_max", "block_rows_max = 65536"),
        ("block_bytes_max", r#"block_bytes_max = "2 MiB""#),
        ("memory_bytes_max", r#"memory_bytes_max = "1 GiB""#),
        ("ids_memory_bytes_max", r#"ids_memory_bytes_max = "256 MiB""#),
    ],
};

impl Shape {
    pub(super) fn names(&self) -> impl Iterator<Item = &'static str> + Clone + use<> {
        self.keys.iter().map(|&(name, _)| name)
    }

    pub(super) fn example(&self, key: &str) -> &'static str {
        let found = self.keys.iter().find(|(name, _)| *name == key);
        found.expect("a section is only asked for keys of its shape").1
    }
}

/// The section behind a key of the file.
pub(super) fn section_name(key: &str) -> String {
    if key == "stage" { STAGE.name.to_owned() } else { format!("[{key}]") }
}

/// The sections that take a key.
pub(super) fn homes(key: &str) -> Vec<&'static str> {
    let sections = [&SOURCE, &STAGE, &SINK, &CHECKPOINT, &DEAD_LETTERS, &RUN, &STORE];
    sections.into_iter().filter(|shape| shape.names().any(|name| name == key)).map(|shape| shape.name).collect()
}
