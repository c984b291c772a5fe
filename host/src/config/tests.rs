//! What a pipeline file may say, and what a person reads who gets it wrong. One function touches the room: [`check`].
#![expect(clippy::needless_pass_by_value, reason = "an expectation is written where it is used")]

use std::fs;
use std::path::Path;
use std::time::Duration;

use expect_test::{Expect, expect};

use super::section::sections;
use super::{
    Compression, Config, DeadLetters, ExtraKeys, Format, Layout, Nulls, OnError, OnUnseparated, Place, Problems, Sink,
    Source, load, parse,
};

/// The smallest file that is good. Cases are put below it, or below one of its sections.
const SOURCE_AND_SINK: &str = "[source]\npath = \"in/\"\n[sink]\npath = \"out/\"\n";

fn check(text: &str, expected: Expect) {
    let report = match sound(parse(Path::new("pipeline.toml"), text)) {
        Ok(config) => format!("{:#?}", strip(&config)),
        Err(problems) => problems.to_string(),
    };
    expected.assert_eq(&report);
}

/// As `check`, for lines below a good source and sink.
fn check_below(lines: &str, expected: Expect) {
    check(&format!("{SOURCE_AND_SINK}{lines}"), expected);
}

/// What is not the same as in the smallest good file.
fn strip(config: &Config) -> (&[super::Stage], &Option<super::Checkpoint>, &super::Run) {
    (&config.stages, &config.checkpoint, &config.run)
}

fn good(text: &str) -> Config {
    sound(parse(Path::new("pipeline.toml"), text)).unwrap_or_else(|problems| panic!("{problems}"))
}

/// A config without a problem.
fn sound(config: Result<Config, Problems>) -> Result<Config, Problems> {
    match config {
        Ok(config) if !config.problems.is_empty() => Err(Problems(config.problems)),
        other => other,
    }
}

const EVERY_KEY: &str = r#"
[source]
path = "corpus/*.parquet"
id = ["crate", "path"]
format = "jsonl"
schema = { text = "string", "a b" = "list<int64>" }
extra_keys = "keep"
on_bad_line = "dead-letter"
record_bytes_max = "2 MiB"
footers_max = 1000
store = { region = "eu-central-1" }

[[stage]]
component = "udfs/code.wasm"
function = "handwritten"
config = { line_length_max = 1000, since = 2026-01-01, names = ["a", 1.5, true, { b = 0xff }] }
on_error = "fail"
memory_bytes_max = "512 MiB"
block_seconds_max = 0.5
row_output_bytes_max = "2 MiB"
isolate_calls_max = 0
isolate_seconds_max = 2.5
isolate_hangs_max = 5
isolate_run_seconds_max = 90

[[stage]]
component = "file:///opt/udfs/code.wasm"
function = "passages"
on_error = "skip"
on_unseparated = "skip"

[stage.config]
tokens_max = -1

[[stage]]
component = "udfs/facts.wasm"
function = "facts"
on_error = "dead-letter"

[sink]
path = "out/"
format = "jsonl"
columns = ["path", "passage"]
compression = "zstd"
nulls = "omit"
file_bytes_max = 1000
layout = "flat"
shared = true
store = { profile = "team" }

[checkpoint]
path = "checkpoint/"
lanes = 64
split_bytes = "1 GiB"
compact_entries = 0
heartbeat_seconds = 0.5
delete_on_success = true
group_rows_max = 4_000_000
group_bytes_max = "64MB"
group_seconds_max = 30

[checkpoint.store]
endpoint = "https://minio:9000"
region = "eu-west-1"
profile = "team"
allow_http = true
retries = 0
timeout_seconds = 2.5
requests_max = 8

[dead_letters]
full_row = true

[run]
workers = 2
readers = 3
drain_seconds = 0
block_rows_max = 65536
block_bytes_max = "2 MiB"
memory_bytes_max = "1 GiB"
ids_memory_bytes_max = "256 MiB"
"#;

#[test]
fn every_key_is_read() {
    let config = good(EVERY_KEY);
    let value = |at: &super::At<String>| at.value.clone();
    let required = |at: &Option<super::At<String>>| at.as_ref().unwrap().value.clone();

    let source = config.source;
    assert_eq!(required(&source.path), "corpus/*.parquet");
    assert_eq!(source.id.unwrap().value.iter().map(value).collect::<Vec<_>>(), ["crate", "path"]);
    assert_eq!(source.format.unwrap().value, Format::JsonLines);
    let columns = source.schema.unwrap().value;
    let columns: Vec<_> = columns.iter().map(|(name, text)| (value(name), value(text))).collect();
    assert_eq!(columns, [("text".into(), "string".into()), ("a b".into(), "list<int64>".into())]);
    assert_eq!(source.extra_keys.unwrap().value, ExtraKeys::Keep);
    assert_eq!(source.on_bad_line.unwrap().value, OnError::DeadLetter);
    assert_eq!(source.record_bytes_max.unwrap().value, 2 << 20);
    assert_eq!(source.footers_max.unwrap().value, 1000);
    assert_eq!(required(&source.store.unwrap().value.region), "eu-central-1");

    let [first, second, third] = config.stages.try_into().unwrap();
    assert_eq!(required(&first.component), "udfs/code.wasm");
    assert_eq!(required(&first.function), "handwritten");
    let json =
        serde_json::json!({ "line_length_max": 1000, "since": "2026-01-01", "names": ["a", 1.5, true, { "b": 255 }] });
    assert_eq!(first.config.unwrap().value.value, json);
    assert_eq!(first.on_error.unwrap().value, OnError::Fail);
    assert_eq!(first.memory_bytes_max.unwrap().value, 512 << 20);
    assert_eq!(first.block_seconds_max.unwrap().value, Duration::from_millis(500));
    assert_eq!(first.row_output_bytes_max.unwrap().value, 2 << 20);
    assert_eq!(first.isolate_calls_max.unwrap().value, 0);
    assert_eq!(first.isolate_seconds_max.unwrap().value, Duration::from_millis(2500));
    assert_eq!((first.isolate_hangs_max.unwrap().value, first.on_unseparated), (5, None));
    assert_eq!(first.isolate_run_seconds_max.unwrap().value, Duration::from_secs(90));
    assert_eq!(required(&second.component), "file:///opt/udfs/code.wasm");
    assert_eq!(second.config.unwrap().value.value, serde_json::json!({ "tokens_max": -1 }));
    assert_eq!(second.on_error.unwrap().value, OnError::Skip);
    assert_eq!(second.on_unseparated.unwrap().value, OnUnseparated::Skip);
    assert_eq!(third.on_error.unwrap().value, OnError::DeadLetter);

    let sink = config.sink;
    assert_eq!(required(&sink.path), "out/");
    assert_eq!(sink.format.unwrap().value, Format::JsonLines);
    assert_eq!(sink.columns.unwrap().value.iter().map(value).collect::<Vec<_>>(), ["path", "passage"]);
    assert_eq!(sink.compression.unwrap().value, Compression::Zstd);
    assert_eq!(sink.nulls.unwrap().value, Nulls::Omit);
    assert_eq!(sink.file_bytes_max.unwrap().value, 1000);
    assert_eq!(sink.layout.unwrap().value, Layout::Flat);
    assert!(sink.shared.unwrap().value);
    assert_eq!(required(&sink.store.unwrap().value.profile), "team");

    let checkpoint = config.checkpoint.unwrap();
    assert_eq!(required(&checkpoint.path), "checkpoint/");
    assert_eq!(checkpoint.lanes.unwrap().value, 64);
    assert_eq!(checkpoint.split_bytes.unwrap().value, 1 << 30);
    assert_eq!(checkpoint.compact_entries.unwrap().value, 0);
    assert_eq!(checkpoint.heartbeat_seconds.unwrap().value, Duration::from_millis(500));
    assert!(checkpoint.delete_on_success.unwrap().value);
    assert_eq!(checkpoint.group_rows_max.unwrap().value, 4_000_000);
    assert_eq!(checkpoint.group_bytes_max.unwrap().value, 64_000_000);
    assert_eq!(checkpoint.group_seconds_max.unwrap().value, Duration::from_secs(30));
    let store = checkpoint.store.unwrap().value;
    assert_eq!(required(&store.endpoint), "https://minio:9000");
    assert_eq!((required(&store.region), required(&store.profile)), ("eu-west-1".into(), "team".into()));
    assert_eq!((store.allow_http.unwrap().value, store.retries.unwrap().value), (true, 0));
    assert_eq!(store.timeout_seconds.unwrap().value, Duration::from_millis(2500));
    assert_eq!(store.requests_max.unwrap().value, 8);

    assert!(config.dead_letters.full_row.unwrap().value);

    let run = config.run;
    assert_eq!(run.workers.unwrap().value, 2);
    assert_eq!(run.readers.unwrap().value, 3);
    assert_eq!(run.drain_seconds.unwrap().value, Duration::ZERO);
    assert_eq!(run.block_rows_max.unwrap().value, 65536);
    assert_eq!(run.block_bytes_max.unwrap().value, 2 << 20);
    assert_eq!(run.memory_bytes_max.unwrap().value, 1 << 30);
    assert_eq!(run.ids_memory_bytes_max.unwrap().value, 256 << 20);
}

/// The text above holds every key that there is, and so the test above reads every key.
#[test]
fn the_text_of_every_key_is_complete() {
    for shape in sections() {
        for name in shape.names() {
            let written = EVERY_KEY.contains(&format!("\n{name} = "));
            assert!(written, "`{name}` of {} is not in the test's text", shape.name);
        }
    }
}

#[test]
fn rows_that_fail_unseparated_are_rows_that_fail() {
    for on_error in ["", "on_error = 'fail'\n"] {
        let stage = format!("[[stage]]\ncomponent = 'a'\nfunction = 'f'\n{on_error}on_unseparated = 'fail'\n");
        good(&format!("{SOURCE_AND_SINK}{stage}"));
    }
    check_below(
        "[[stage]]\ncomponent = 'a'\nfunction = 'f'\non_unseparated = 'skip'\nisolate_hangs_max = 0\n",
        expect![[r#"
            pipeline.toml:9:21: `isolate_hangs_max` must be from 1 to 4294967295, not 0
                 9 | isolate_hangs_max = 0
                   |                     ^
              hint: for example isolate_hangs_max = 3

            1 problem in pipeline.toml"#]],
    );
    check_below(
        "[[stage]]\ncomponent = 'a'\nfunction = 'f'\non_unseparated = 'skip'\n",
        expect![[r#"
        pipeline.toml:8:18: `on_unseparated` leaves out rows in a stage whose first failed row ends the run
             8 | on_unseparated = 'skip'
               |                  ^^^^^^
          hint: write on_error = "skip" or "dead-letter", or remove on_unseparated

        1 problem in pipeline.toml"#]],
    );
}

/// Every hint's example, put where the hint says, is accepted.
#[test]
fn examples_are_good() {
    let all: Vec<_> = sections().collect();
    let (store, sections) = all.split_last().unwrap();
    for shape in sections {
        let lines: Vec<&str> = shape.keys.iter().map(|key| key.example.split(" or ").next().unwrap()).collect();
        let mut text = format!("{}\n{}\n", shape.name, lines.join("\n"));
        for other in [Source::SHAPE, Sink::SHAPE].iter().filter(|other| other.name != shape.name) {
            text += &format!("{}\n{}\n", other.name, other.key("path").example);
        }
        if shape.name == DeadLetters::SHAPE.name {
            text += "[[stage]]\ncomponent = 'a'\nfunction = 'f'\non_error = 'dead-letter'\n";
        }
        good(&text);
    }
    for key in store.keys {
        good(&format!("{SOURCE_AND_SINK}[sink.store]\n{}\n", key.example));
    }
}

#[test]
fn buckets_are_places_but_components_are_files() {
    let config = good("[source]\npath = 's3://bucket/in/*.parquet'\n[sink]\npath = 's3://bucket/out'\n");
    assert_eq!(config.source.path.unwrap().value, "s3://bucket/in/*.parquet");
    check_below(
        "[[stage]]\ncomponent = 's3://bucket/a.wasm'\nfunction = 'f'\n",
        expect![[r#"
            pipeline.toml:6:13: `component` has the URL scheme s3://
                 6 | component = 's3://bucket/a.wasm'
                   |             ^^^^^^^^^^^^^^^^^^^^
              hint: it is read from this machine: use a local path or file:///

            1 problem in pipeline.toml"#]],
    );
}

#[test]
fn mistakes_in_how_to_reach_a_store() {
    check_below(
        "store = { regoin = 'a', endpoint = 7, allow_http = 'yes', retries = -1, requests_max = 0 }\n[checkpoint]\npath = 'c'\nstore = 'x'\n",
        expect![[r#"
            pipeline.toml:5:11: unknown key `regoin` in `store`
                 5 | store = { regoin = 'a', endpoint = 7, allow_http = 'yes', retries = -1, requests_max = 0 }
                   |           ^^^^^^
              hint: did you mean `region`? `store` takes endpoint, region, profile, allow_http, retries, timeout_seconds and requests_max

            pipeline.toml:5:36: `endpoint` must be a string, not an integer
                 5 | store = { regoin = 'a', endpoint = 7, allow_http = 'yes', retries = -1, requests_max = 0 }
                   |                                    ^
              hint: for example endpoint = "https://minio.example.com:9000"

            pipeline.toml:5:52: `allow_http` must be true or false, not a string
                 5 | store = { regoin = 'a', endpoint = 7, allow_http = 'yes', retries = -1, requests_max = 0 }
                   |                                                    ^^^^^
              hint: for example allow_http = true

            pipeline.toml:5:69: `retries` must be from 0 to 1000, not -1
                 5 | store = { regoin = 'a', endpoint = 7, allow_http = 'yes', retries = -1, requests_max = 0 }
                   |                                                                     ^^
              hint: for example retries = 10

            pipeline.toml:5:88: `requests_max` must be from 1 to 4096, not 0
                 5 | store = { regoin = 'a', endpoint = 7, allow_http = 'yes', retries = -1, requests_max = 0 }
                   |                                                                                        ^
              hint: for example requests_max = 64

            pipeline.toml:8:9: `store` must be a table, not a string
                 8 | store = 'x'
                   |         ^^^
              hint: for example store = { region = "eu-central-1" }

            6 problems in pipeline.toml"#]],
    );
}

/// What looks like a secret is not repeated, whatever is wrong on its line.
#[test]
fn secrets_are_not_shown() {
    check_below(
        "store = { secret_access_key = 'hidden', retries = -1 }\n[checkpoint]\npath = 'gs://key:hidden@bucket'\n",
        expect![[r#"
            pipeline.toml:5:11: `secret_access_key` does not belong in a pipeline file
              hint: credentials come from the environment (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN) or from a profile: profile = "team"

            pipeline.toml:5:51: `retries` must be from 0 to 1000, not -1
              hint: for example retries = 10

            pipeline.toml:7:8: `path` has the URL scheme gs://
              hint: use s3://bucket/prefix, a local path or file:///; other stores are not supported

            3 problems in pipeline.toml"#]],
    );
    check_below(
        "[sink.store]\naws_secret_access_key = hidden\n",
        expect![[r#"
            pipeline.toml:6:25: not TOML: string values must be quoted, expected literal string
              hint: write key = value; strings stand in quotes, sections in [brackets]; see https://toml.io

            1 problem in pipeline.toml"#]],
    );
}

#[test]
fn values_know_where_they_stand() {
    let text = "[source]\npath = 'ä/*.parquet' # all\nid = [ 'a',\n  'b' ]\n[sink]\npath = \"out/\"\n";
    let config = good(text);
    let path = config.source.path.unwrap();
    assert_eq!((path.line, &text[path.span]), (2, "'ä/*.parquet'"));
    let id = config.source.id.unwrap();
    assert_eq!((id.line, &text[id.span]), (3, "[ 'a',\n  'b' ]"));
    assert_eq!((id.value[1].line, &text[id.value[1].span.clone()]), (4, "'b'"));
    assert_eq!(config.file.path(), Path::new("pipeline.toml"));
    assert_eq!(config.file.text(), text);
}

#[test]
fn a_config_knows_where_everything_stands() {
    let text = format!(
        "{SOURCE_AND_SINK}[[stage]]\ncomponent = 'a'\nfunction = 'f'\nconfig = {{ a = [1, {{ 'b/~' = 'x' }}] }}\n\
         [[stage]]\ncomponent = 'a'\nfunction = 'f'\n[stage.config.limits]\nlines = 3\n"
    );
    let [first, second] = good(&text).stages.try_into().unwrap();
    let (first, second) = (first.config.unwrap().value, second.config.unwrap().value);
    let show = |place: &Place| (place.key.clone().map_or("", |key| &text[key]), &text[place.value.clone()]);
    assert_eq!(show(first.place("").unwrap()), ("", "{ a = [1, { 'b/~' = 'x' }] }"));
    assert_eq!(show(first.place("/a/1/b~1~0").unwrap()), ("'b/~'", "'x'"));
    assert_eq!(show(second.place("/limits").unwrap()), ("limits", "[stage.config.limits]"));
    assert_eq!(show(second.place("/limits/lines").unwrap()), ("lines", "3"));
    assert_eq!((first.place("/b"), first.is_whole), (None, true));
}

/// What is good is there beside what is not, for whoever looks further.
#[test]
fn a_mistake_leaves_a_hole() {
    let text = "[source]\npath = 'gs://a'\nid = 'a'\n[[stage]]\ncomponent = 'c'\nfunction = 3\nconfig = { a = inf }\n";
    let config = parse(Path::new("pipeline.toml"), text).unwrap();
    let stage = &config.stages[0];
    assert!(config.source.path.is_none() && config.source.id.is_some() && config.sink.path.is_none());
    assert!(stage.component.is_some() && stage.function.is_none() && !stage.config.as_ref().unwrap().value.is_whole);
    assert_eq!(config.problems.len(), 4);
}

#[test]
fn one_column_as_id() {
    let id = good("[source]\npath = 'in'\nid = 'path'\n[sink]\npath = 'out'\n").source.id.unwrap();
    assert_eq!(id.value.len(), 1);
    assert_eq!((id.value[0].value.as_str(), &id.value[0].span), ("path", &id.span));
}

#[test]
fn sections_may_be_written_otherwise() {
    let inline = good("source = { path = 'in' }\nsink.path = 'out'\nstage = []\n");
    assert_eq!((inline.source.path.unwrap().value, inline.sink.path.unwrap().value), ("in".into(), "out".into()));
    good("\u{feff}[source]\r\npath = 'in'\r\n[sink]\r\npath = 'out'\r\n");
}

/// R1: five mistakes, one report of five.
#[test]
fn five_mistakes() {
    let text = r#"[source]
path = "gs://corpus/*.parquet"

[[stage]]
component = "udfs/code.wasm"
function = 7
on_eror = "skip"

[sink]
path = "out/"
columns = []

[run]
workers = 0
"#;
    check(
        text,
        expect![[r#"
            pipeline.toml:2:8: `path` has the URL scheme gs://
                 2 | path = "gs://corpus/*.parquet"
                   |        ^^^^^^^^^^^^^^^^^^^^^^^
              hint: use s3://bucket/prefix, a local path or file:///; other stores are not supported

            pipeline.toml:6:12: `function` must be a string, not an integer
                 6 | function = 7
                   |            ^
              hint: for example function = "passages"

            pipeline.toml:7:1: unknown key `on_eror` in [[stage]]
                 7 | on_eror = "skip"
                   | ^^^^^^^
              hint: did you mean `on_error`? [[stage]] takes component, function, config, on_error, memory_bytes_max, block_seconds_max, row_output_bytes_max, isolate_calls_max, isolate_seconds_max, isolate_hangs_max, isolate_run_seconds_max and on_unseparated

            pipeline.toml:11:11: `columns` is empty
                11 | columns = []
                   |           ^^
              hint: for example columns = ["path", "passage"]

            pipeline.toml:14:11: `workers` must be from 1 to 4096, not 0
                14 | workers = 0
                   |           ^
              hint: for example workers = 2

            5 problems in pipeline.toml"#]],
    );
}

#[test]
fn unknown_keys() {
    check_below(
        "colunms = ['path']\n",
        expect![[r#"
            pipeline.toml:5:1: unknown key `colunms` in [sink]
                 5 | colunms = ['path']
                   | ^^^^^^^
              hint: did you mean `columns`? [sink] takes path, format, columns, compression, nulls, file_bytes_max, layout, shared and store

            1 problem in pipeline.toml"#]],
    );
    check_below(
        "[run]\ngroup_rows_max = 1\n",
        expect![[r#"
        pipeline.toml:6:1: unknown key `group_rows_max` in [run]
             6 | group_rows_max = 1
               | ^^^^^^^^^^^^^^
          hint: `group_rows_max` belongs in [checkpoint]

        1 problem in pipeline.toml"#]],
    );
    check_below(
        "[run]\nzzz = 1\n\"a \\u001b b\" = 1\n",
        expect![[r#"
        pipeline.toml:6:1: unknown key `zzz` in [run]
             6 | zzz = 1
               | ^^^
          hint: [run] takes workers, readers, drain_seconds, block_rows_max, block_bytes_max, memory_bytes_max and ids_memory_bytes_max

        pipeline.toml:7:1: unknown key `a \u{1b} b` in [run]
             7 | "a \u001b b" = 1
               | ^^^^^^^^^^^^
          hint: [run] takes workers, readers, drain_seconds, block_rows_max, block_bytes_max, memory_bytes_max and ids_memory_bytes_max

        2 problems in pipeline.toml"#]],
    );
    check(
        &format!("workers = 2\nzzz = 3\n{SOURCE_AND_SINK}"),
        expect![[r#"
            pipeline.toml:1:1: unknown key `workers` outside of any section
                 1 | workers = 2
                   | ^^^^^^^
              hint: `workers` belongs in [run]

            pipeline.toml:2:1: unknown key `zzz` outside of any section
                 2 | zzz = 3
                   | ^^^
              hint: a pipeline file takes [source], [[stage]], [sink], [checkpoint], [dead_letters] and [run]

            2 problems in pipeline.toml"#]],
    );
    check_below(
        "[metrics]\nport = 1\n",
        expect![[r#"
            pipeline.toml:5:2: unknown section [metrics]
                 5 | [metrics]
                   |  ^^^^^^^
              hint: a pipeline file takes [source], [[stage]], [sink], [checkpoint], [dead_letters] and [run]

            1 problem in pipeline.toml"#]],
    );
}

/// What is misspelt is not missing too, and what stands behind it is read.
#[test]
fn misspelt_is_reported_once() {
    check(
        "[sources]\npth = ''\n[sink]\npath = 'out'\n[[stages]]\ncomponent = 1\nfunction = 'f'\n",
        expect![[r#"
            pipeline.toml:1:2: unknown section [sources]
                 1 | [sources]
                   |  ^^^^^^^
              hint: did you mean [source]? a pipeline file takes [source], [[stage]], [sink], [checkpoint], [dead_letters] and [run]

            pipeline.toml:2:1: unknown key `pth` in [source]
                 2 | pth = ''
                   | ^^^
              hint: did you mean `path`? [source] takes path, id, format, schema, extra_keys, on_bad_line, record_bytes_max, footers_max and store

            pipeline.toml:2:7: `path` is empty
                 2 | pth = ''
                   |       ^^
              hint: for example path = "corpus/*.parquet"

            pipeline.toml:5:3: unknown section [stages]
                 5 | [[stages]]
                   |   ^^^^^^
              hint: did you mean [[stage]]? a pipeline file takes [source], [[stage]], [sink], [checkpoint], [dead_letters] and [run]

            pipeline.toml:6:13: `component` must be a string, not an integer
                 6 | component = 1
                   |             ^
              hint: for example component = "udfs/code.wasm"

            5 problems in pipeline.toml"#]],
    );
}

#[test]
fn wrong_types() {
    let text = r#"[source]
path = 1
id = 2.5
format = true
[[stage]]
component = []
function = {}
config = "a"
on_error = 1
memory_bytes_max = 1.5
block_seconds_max = "30"
[sink]
path = 2026-01-01
columns = "path"
[checkpoint]
path = "checkpoint/"
group_rows_max = "many"
[run]
workers = 2.0
"#;
    check(
        text,
        expect![[r#"
            pipeline.toml:2:8: `path` must be a string, not an integer
                 2 | path = 1
                   |        ^
              hint: for example path = "corpus/*.parquet"

            pipeline.toml:3:6: `id` must be a column name or a list of column names, not a float
                 3 | id = 2.5
                   |      ^^^
              hint: for example id = "path" or id = ["crate", "path"]

            pipeline.toml:4:10: `format` must be a string, not a boolean
                 4 | format = true
                   |          ^^^^
              hint: for example format = "jsonl"

            pipeline.toml:6:13: `component` must be a string, not a list
                 6 | component = []
                   |             ^^
              hint: for example component = "udfs/code.wasm"

            pipeline.toml:7:12: `function` must be a string, not a table
                 7 | function = {}
                   |            ^^
              hint: for example function = "passages"

            pipeline.toml:8:10: `config` must be a table, not a string
                 8 | config = "a"
                   |          ^^^
              hint: for example config = { line_length_max = 1000 }

            pipeline.toml:9:12: `on_error` must be a string, not an integer
                 9 | on_error = 1
                   |            ^
              hint: for example on_error = "skip"

            pipeline.toml:10:20: `memory_bytes_max` must be a size, not a float
                10 | memory_bytes_max = 1.5
                   |                    ^^^
              hint: for example memory_bytes_max = "512 MiB"

            pipeline.toml:11:21: `block_seconds_max` must be a number of seconds, not a string
                11 | block_seconds_max = "30"
                   |                     ^^^^
              hint: for example block_seconds_max = 30

            pipeline.toml:13:8: `path` must be a string, not a date or time
                13 | path = 2026-01-01
                   |        ^^^^^^^^^^
              hint: for example path = "out/"

            pipeline.toml:14:11: `columns` must be a list of column names, not a string
                14 | columns = "path"
                   |           ^^^^^^
              hint: for example columns = ["path", "passage"]

            pipeline.toml:17:18: `group_rows_max` must be a whole number, not a string
                17 | group_rows_max = "many"
                   |                  ^^^^^^
              hint: for example group_rows_max = 4000000

            pipeline.toml:19:11: `workers` must be a whole number, not a float
                19 | workers = 2.0
                   |           ^^^
              hint: for example workers = 2

            13 problems in pipeline.toml"#]],
    );
}

#[test]
fn wrong_values() {
    let text = r#"[source]
path = ""
id = ["a", "", "a", 3]
format = "csv"
[[stage]]
component = "az://udfs/code.wasm"
function = "f"
config = { a = [inf], b = { c = 99999999999999999999 } }
on_error = "dead_letter"
memory_bytes_max = 0
block_seconds_max = 0
[[stage]]
component = "a\u0000b"
function = "f"
on_error = "ignore"
block_seconds_max = nan
[sink]
path = "file://out"
columns = ["path", "path"]
compression = "ztsd"
[checkpoint]
path = "gs://bucket/checkpoint"
group_rows_max = -1
group_seconds_max = 1e300
[run]
workers = 5000
readers = -2
drain_seconds = -0.5
block_rows_max = 4294967296
"#;
    check(
        text,
        expect![[r#"
            pipeline.toml:2:8: `path` is empty
                 2 | path = ""
                   |        ^^
              hint: for example path = "corpus/*.parquet"

            pipeline.toml:3:12: `id` holds an empty name
                 3 | id = ["a", "", "a", 3]
                   |            ^^
              hint: for example id = "path" or id = ["crate", "path"]

            pipeline.toml:3:16: `id` names "a" twice
                 3 | id = ["a", "", "a", 3]
                   |                ^^^
              hint: remove it here or on line 3

            pipeline.toml:3:21: `id` must hold column names, not an integer
                 3 | id = ["a", "", "a", 3]
                   |                     ^
              hint: for example id = "path" or id = ["crate", "path"]

            pipeline.toml:4:10: `format` must be "parquet" or "jsonl", not "csv"
                 4 | format = "csv"
                   |          ^^^^^
              hint: write format = "jsonl"

            pipeline.toml:6:13: `component` has the URL scheme az://
                 6 | component = "az://udfs/code.wasm"
                   |             ^^^^^^^^^^^^^^^^^^^^^
              hint: it is read from this machine: use a local path or file:///

            pipeline.toml:8:17: inf cannot be passed on: JSON has finite numbers only
                 8 | config = { a = [inf], b = { c = 99999999999999999999 } }
                   |                 ^^^
              hint: write a finite number or a string

            pipeline.toml:8:33: 99999999999999999999 does not fit into a 64-bit integer
                 8 | config = { a = [inf], b = { c = 99999999999999999999 } }
                   |                                 ^^^^^^^^^^^^^^^^^^^^
              hint: write it as a string or as a float

            pipeline.toml:9:12: `on_error` must be "fail", "skip" or "dead-letter", not "dead_letter"
                 9 | on_error = "dead_letter"
                   |            ^^^^^^^^^^^^^
              hint: did you mean "dead-letter"?

            pipeline.toml:10:20: `memory_bytes_max` must be at least 1, not 0
                10 | memory_bytes_max = 0
                   |                    ^
              hint: for example memory_bytes_max = "512 MiB"

            pipeline.toml:11:21: `block_seconds_max` must be more than 0
                11 | block_seconds_max = 0
                   |                     ^
              hint: for example block_seconds_max = 30

            pipeline.toml:13:13: `component` holds a NUL character, which no path may
                13 | component = "a\u0000b"
                   |             ^^^^^^^^^^
              hint: for example component = "udfs/code.wasm"

            pipeline.toml:15:12: `on_error` must be "fail", "skip" or "dead-letter", not "ignore"
                15 | on_error = "ignore"
                   |            ^^^^^^^^
              hint: write on_error = "skip"

            pipeline.toml:16:21: `block_seconds_max` must be a number of seconds from 0 to 31536000 (a year)
                16 | block_seconds_max = nan
                   |                     ^^^
              hint: for example block_seconds_max = 30

            pipeline.toml:18:8: `file://out` is not an absolute file URL
                18 | path = "file://out"
                   |        ^^^^^^^^^^^^
              hint: write file:/// and the absolute path, or just the path

            pipeline.toml:19:20: `columns` names "path" twice
                19 | columns = ["path", "path"]
                   |                    ^^^^^^
              hint: remove it here or on line 19

            pipeline.toml:20:15: `compression` must be "zstd", "snappy", "lz4", "gzip" or "none", not "ztsd"
                20 | compression = "ztsd"
                   |               ^^^^^^
              hint: did you mean "zstd"?

            pipeline.toml:22:8: `path` has the URL scheme gs://
                22 | path = "gs://bucket/checkpoint"
                   |        ^^^^^^^^^^^^^^^^^^^^^^^^
              hint: use s3://bucket/prefix, a local path or file:///; other stores are not supported

            pipeline.toml:23:18: `group_rows_max` must be at least 1, not -1
                23 | group_rows_max = -1
                   |                  ^^
              hint: for example group_rows_max = 4000000

            pipeline.toml:24:21: `group_seconds_max` must be a number of seconds from 0 to 31536000 (a year)
                24 | group_seconds_max = 1e300
                   |                     ^^^^^
              hint: for example group_seconds_max = 30

            pipeline.toml:26:11: `workers` must be from 1 to 4096, not 5000
                26 | workers = 5000
                   |           ^^^^
              hint: for example workers = 2

            pipeline.toml:27:11: `readers` must be from 1 to 4096, not -2
                27 | readers = -2
                   |           ^^
              hint: for example readers = 2

            pipeline.toml:28:17: `drain_seconds` must be a number of seconds from 0 to 31536000 (a year)
                28 | drain_seconds = -0.5
                   |                 ^^^^
              hint: for example drain_seconds = 60

            pipeline.toml:29:18: `block_rows_max` must be from 1 to 4294967295, not 4294967296
                29 | block_rows_max = 4294967296
                   |                  ^^^^^^^^^^
              hint: for example block_rows_max = 65536

            24 problems in pipeline.toml"#]],
    );
}

#[test]
fn sizes() {
    let text = r#"[run]
memory_bytes_max = "1 GiB "
block_bytes_max = "2 mib"
[checkpoint]
path = "checkpoint/"
group_bytes_max = "64"
[[stage]]
component = "a"
function = "f"
memory_bytes_max = "1.5 GiB"
[[stage]]
component = "a"
function = "f"
memory_bytes_max = "99999999999 GiB"
[[stage]]
component = "a"
function = "f"
memory_bytes_max = "0 KB"
[[stage]]
component = "a"
function = "f"
memory_bytes_max = "MiB"
"#;
    check_below(
        text,
        expect![[r#"
        pipeline.toml:7:19: `block_bytes_max` is not a size: "2 mib"
             7 | block_bytes_max = "2 mib"
               |                   ^^^^^^^
          hint: did you mean "2 MiB"?

        pipeline.toml:10:19: `group_bytes_max` is not a size: "64"
            10 | group_bytes_max = "64"
               |                   ^^^^
          hint: write a whole number and a unit, as in "512 MiB"; units are KiB, MiB, GiB (1024) and KB, MB, GB (1000)

        pipeline.toml:14:20: `memory_bytes_max` is not a size: "1.5 GiB"
            14 | memory_bytes_max = "1.5 GiB"
               |                    ^^^^^^^^^
          hint: write a whole number and a unit, as in "512 MiB"; units are KiB, MiB, GiB (1024) and KB, MB, GB (1000)

        pipeline.toml:18:20: `memory_bytes_max` is not a size: "99999999999 GiB"
            18 | memory_bytes_max = "99999999999 GiB"
               |                    ^^^^^^^^^^^^^^^^^
          hint: it must be less than 18446744073709551615 bytes

        pipeline.toml:22:20: `memory_bytes_max` is not a size: "0 KB"
            22 | memory_bytes_max = "0 KB"
               |                    ^^^^^^
          hint: it must be more than 0

        pipeline.toml:26:20: `memory_bytes_max` is not a size: "MiB"
            26 | memory_bytes_max = "MiB"
               |                    ^^^^^
          hint: write a whole number and a unit, as in "512 MiB"; units are KiB, MiB, GiB (1024) and KB, MB, GB (1000)

        6 problems in pipeline.toml"#]],
    );
}

#[test]
fn missing_keys_and_sections() {
    check(
        "",
        expect![[r#"
            pipeline.toml: has no [source]
              hint: add it, for example [source] with path = "corpus/*.parquet"

            pipeline.toml: has no [sink]
              hint: add it, for example [sink] with path = "out/"

            2 problems in pipeline.toml"#]],
    );
    check(
        "[source]\nid = 'a'\n[[stage]]\n[sink]\n[checkpoint]\n",
        expect![[r#"
            pipeline.toml:1:1: [source] has no `path`
                 1 | [source]
                   | ^^^^^^^^
              hint: add it, for example path = "corpus/*.parquet"

            pipeline.toml:3:1: [[stage]] has no `component`
                 3 | [[stage]]
                   | ^^^^^^^^^
              hint: add it, for example component = "udfs/code.wasm"

            pipeline.toml:3:1: [[stage]] has no `function`
                 3 | [[stage]]
                   | ^^^^^^^^^
              hint: add it, for example function = "passages"

            pipeline.toml:4:1: [sink] has no `path`
                 4 | [sink]
                   | ^^^^^^
              hint: add it, for example path = "out/"

            pipeline.toml:5:1: [checkpoint] has no `path`
                 5 | [checkpoint]
                   | ^^^^^^^^^^^^
              hint: add it, for example path = "checkpoint/"

            5 problems in pipeline.toml"#]],
    );
}

#[test]
fn sections_of_the_wrong_form() {
    check(
        "[stage]\ncomponent = 'a'\n[[sink]]\npath = 'out'\n[source]\npath = 'in'\n",
        expect![[r#"
            pipeline.toml:1:1: there may be several stages, so each is a [[stage]]
                 1 | [stage]
                   | ^^^^^^^
              hint: write [[stage]]

            pipeline.toml:1:1: [[stage]] has no `function`
                 1 | [stage]
                   | ^^^^^^^
              hint: add it, for example function = "passages"

            pipeline.toml:3:1: there is one [sink] only
                 3 | [[sink]]
                   | ^^^^^^^^
              hint: write [sink]

            3 problems in pipeline.toml"#]],
    );
    check(
        "run = 3\nstage = [1]\nsource = 'in'\n[sink]\npath = 'out'\n",
        expect![[r#"
            pipeline.toml:1:7: `run` must be a section, not an integer
                 1 | run = 3
                   |       ^
              hint: write [run] with workers = 2

            pipeline.toml:2:10: `stage` must be a section, not an integer
                 2 | stage = [1]
                   |          ^
              hint: write [[stage]] with component = "udfs/code.wasm" and function = "passages"

            pipeline.toml:3:10: `source` must be a section, not a string
                 3 | source = 'in'
                   |          ^^^^
              hint: write [source] with path = "corpus/*.parquet"

            3 problems in pipeline.toml"#]],
    );
}

#[test]
fn not_toml() {
    check_below(
        "path = 'out2/'\n[source]\npath = 'in2/'\n",
        expect![[r#"
        pipeline.toml:5:1: `path` is already there
             5 | path = 'out2/'
               | ^^^^
          hint: each section, and each key in it, is written once; only [[stage]] may repeat

        pipeline.toml:6:2: `source` is already there
             6 | [source]
               |  ^^^^^^
          hint: each section, and each key in it, is written once; only [[stage]] may repeat

        pipeline.toml:7:1: `path` is already there
             7 | path = 'in2/'
               | ^^^^
          hint: each section, and each key in it, is written once; only [[stage]] may repeat

        3 problems in pipeline.toml"#]],
    );
    check(
        "[source\npath = in/\n[sink]\npath =\ncolumns = [\n",
        expect![[r#"
            pipeline.toml:1:8: the brackets of `[source` are not closed
                 1 | [source
                   |        ^
              hint: write [source]

            pipeline.toml:4:7: `path` has no value
                 4 | path =
                   |       ^
              hint: write it behind the =, or remove the line: path = "..."

            pipeline.toml:5:12: not TOML: unclosed array, expected `]`
                 5 | columns = [
                   |            ^
              hint: write key = value; strings stand in quotes, sections in [brackets]; see https://toml.io

            3 problems in pipeline.toml"#]],
    );
    // What is wrong elsewhere is told in the same report, but nothing about what may only seem to be missing.
    check(
        "[source]\npath = 'in\nid = 3\n[run]\nworkers = 0\n",
        expect![[r#"
            pipeline.toml:2:11: the text of `path` has no closing quote
                 2 | path = 'in
                   |           ^
              hint: write path = 'in'

            pipeline.toml:3:6: `id` must be a column name or a list of column names, not an integer
                 3 | id = 3
                   |      ^
              hint: for example id = "path" or id = ["crate", "path"]

            pipeline.toml:5:11: `workers` must be from 1 to 4096, not 0
                 5 | workers = 0
                   |           ^
              hint: for example workers = 2

            3 problems in pipeline.toml"#]],
    );
}

#[test]
fn lines_are_shown_as_they_are() {
    let names: Vec<String> = (0..30).map(|name| format!("'column{name}'")).collect();
    let long = format!("source.id = [{}, 7, {}]\n", names[..15].join(", "), names[15..].join(", "));
    check(
        &format!("{long}source.path = 'in'\nsink.path = 'out'\n"),
        expect![[r#"
            pipeline.toml:1:184: `id` must hold column names, not an integer
                 1 | …1', 'column12', 'column13', 'column14', 7, 'column15', 'column16', 'column17', 'column18', 'column19…
                   |                                          ^
              hint: for example id = "path" or id = ["crate", "path"]

            1 problem in pipeline.toml"#]],
    );
    check_below(
        "[run]\n\tworkers\t=\t'ä'\t# \u{202e}ü\n",
        expect![[r#"
        pipeline.toml:6:12: `workers` must be a whole number, not a string
             6 | 	workers	=	'ä'	# �ü
               | 	       	 	^^^
          hint: for example workers = 2

        1 problem in pipeline.toml"#]],
    );
}

#[test]
fn the_longest_report() {
    let text = format!("{SOURCE_AND_SINK}{}", "[[stage]]\n".repeat(40));
    let report = sound(parse(Path::new("pipeline.toml"), &text)).unwrap_err().to_string();
    let end = report.lines().rev().take(3).collect::<Vec<_>>();
    assert_eq!(end, ["80 problems in pipeline.toml", "", "... and 30 more"]);
}

#[test]
fn files() {
    let folder = tempfile::tempdir().unwrap();
    let report = |name: &str| {
        let problems = load(&folder.path().join(name)).unwrap_err();
        problems.to_string().replace(&format!("{}/", folder.path().display()), "")
    };
    let write = |name: &str, bytes: &[u8]| fs::write(folder.path().join(name), bytes).unwrap();
    write("latin1.toml", b"[source]\npath = 'a\xe4b'\n");
    write("long.toml", &vec![b'\n'; (1 << 20) + 1]);
    write("good.toml", SOURCE_AND_SINK.as_bytes());

    expect![[r#"
        missing.toml: cannot be read: there is no such file
          hint: check the path; a relative one starts at the current folder

        1 problem in missing.toml"#]]
    .assert_eq(&report("missing.toml"));
    expect![[r#"
        latin1.toml:2:10: not UTF-8 from here on
             2 | path = 'a�b'
               |          ^
          hint: save the file as UTF-8

        1 problem in latin1.toml"#]]
    .assert_eq(&report("latin1.toml"));
    expect![[r#"
        long.toml: is longer than 1048576 bytes, the most that a pipeline file may have
          hint: check the path: is this the pipeline file, and not data?

        1 problem in long.toml"#]]
    .assert_eq(&report("long.toml"));
    fs::create_dir(folder.path().join("pipelines")).unwrap();
    expect![[r#"
        pipelines: cannot be read: it is a folder
          hint: name the pipeline file in it

        1 problem in pipelines"#]]
    .assert_eq(&report("pipelines"));
    let good = load(&folder.path().join("good.toml")).unwrap();
    assert_eq!(good.source.path.unwrap().line, 2);
}

/// Whatever the bytes, there is a configuration or a report, and the report has a problem.
#[test]
fn any_text_is_answered() {
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        (random % below as u64) as usize
    };
    let alphabet: Vec<char> = "[]{}=\"'.,#\n\r\t -_019aepthskü\u{1b}".chars().collect();
    for _ in 0..4000 {
        let mut text: Vec<char> = EVERY_KEY.chars().collect();
        for _ in 0..=next(6) {
            let (at, cut) = (next(text.len()), next(12));
            let to = (at + cut).min(text.len());
            text.splice(at..to, (0..next(4)).map(|_| alphabet[at % alphabet.len()]).collect::<Vec<_>>());
        }
        let text: String = text.into_iter().collect();
        if let Err(problems) = sound(parse(Path::new("pipeline.toml"), &text)) {
            assert!(!problems.0.is_empty(), "{text}");
            assert!(problems.to_string().contains("hint: "), "{text}");
        }
    }
}

#[test]
fn a_section_about_dead_letters_that_nobody_writes() {
    let stage = |on_error: &str| format!("[[stage]]\ncomponent = 'a'\nfunction = 'f'\non_error = '{on_error}'\n");
    good(&format!("{SOURCE_AND_SINK}{}[dead_letters]\nfull_row = false\n", stage("dead-letter")));
    check_below(
        &format!("{}[dead_letters]\nfull_row = true\n", stage("skip")),
        expect![[r#"
            pipeline.toml:9:1: [dead_letters] is there, but no stage makes any
                 9 | [dead_letters]
                   | ^^^^^^^^^^^^^^
              hint: write on_error = "dead-letter" in the [[stage]] whose failed rows are to be kept, or on_bad_line = "dead-letter" under [source]; or remove the section

            1 problem in pipeline.toml"#]],
    );
    // What follows from another mistake is not said.
    check_below(
        &format!("{}[dead_letters]\nfull_row = 1\n", stage("dead_letter")),
        expect![[r#"
        pipeline.toml:8:12: `on_error` must be "fail", "skip" or "dead-letter", not "dead_letter"
             8 | on_error = 'dead_letter'
               |            ^^^^^^^^^^^^^
          hint: did you mean "dead-letter"?

        pipeline.toml:10:12: `full_row` must be true or false, not an integer
            10 | full_row = 1
               |            ^
          hint: for example full_row = true

        2 problems in pipeline.toml"#]],
    );
}
