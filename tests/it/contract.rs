//! The contract's words are enough: `tests/guests/bare` is written by hand from `wit/udf.wit`, without SDK, generated code
//! or Arrow library, and does in real jobs what the same lines of Rust do here.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, RecordBatch, StringArray};
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::Int64Type;
use serde_json::{Value, json};
use wasmpipe::block::Lineage;
use wasmpipe::pipeline;
use wasmpipe::udf::{Answer, Component, Instance, Limits, RowError, Spec, bind};

use crate::support::{Multiset, Workdir, compiler, guests, once, write_parquet};

const TEXTS: [Option<&str>; 12] = [
    Some("a,b"),
    None,
    Some(""),
    Some(","),
    Some("no comma"),
    Some("ä,ö,日本"),
    Some("one,two,three,four,five"),
    None,
    Some(",,"),
    Some("a longer text that has no end, but a comma"),
    Some("x"),
    Some("end,"),
];

fn number(row: usize) -> Option<i64> {
    match row % 7 {
        0 => Some(i64::MIN),
        1 => Some(i64::MAX),
        2 => None,
        _ => Some(row as i64 - 40),
    }
}

fn text(row: usize) -> Option<&'static str> {
    TEXTS[(row + row / TEXTS.len()) % TEXTS.len()]
}

fn rows(rows: std::ops::Range<usize>) -> RecordBatch {
    let ids: StringArray = rows.clone().map(|row| Some(format!("id-{row}"))).collect();
    let numbers: Int64Array = rows.clone().map(number).collect();
    let texts: StringArray = rows.map(text).collect();
    let columns: [(&str, ArrayRef); 3] = [("id", Arc::new(ids)), ("n", Arc::new(numbers)), ("text", Arc::new(texts))];
    RecordBatch::try_from_iter(columns).unwrap()
}

fn source() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/guests/bare/bare.wat"))
}

fn component() -> PathBuf {
    guests().join("bare.wasm")
}

fn stage(function: &str, more: &str) -> String {
    format!("[[stage]]\ncomponent = \"{{guests}}/bare.wasm\"\nfunction = \"{function}\"\n{more}\n")
}

fn pipeline_of(stages: &str, columns: &str) -> String {
    format!(
        "[source]\npath = \"in\"\n{stages}[sink]\npath = \"out\"\ncolumns = {columns}\n\
         [checkpoint]\npath = \"checkpoint\"\ngroup_rows_max = 50\n[run]\nworkers = 2\nblock_rows_max = 13\n"
    )
}

#[test]
fn the_documented_command_makes_the_component() {
    let workdir = Workdir::new();
    let output = workdir.wasmpipe(&["udf", "build", source().to_str().unwrap(), "--out", "bare.wasm"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(std::fs::read(workdir.path("bare.wasm")).unwrap(), std::fs::read(component()).unwrap());
}

#[test]
fn map_filter_and_flat_map_run_in_one_job_and_failed_rows_are_left_out() {
    let workdir = Workdir::new();
    workdir.file("a.parquet", &rows(0..100), 40);
    workdir.file("b.parquet", &rows(100..117), 100);
    workdir.file("empty.parquet", &rows(0..0), 100);
    let skip = "on_error = \"skip\"";
    let stages = [
        stage("negate", skip),
        stage("long_enough", &format!("config = {{ bytes_min = 2 }}\n{skip}")),
        stage("parts", skip),
    ];
    workdir.pipeline(&pipeline_of(&stages.concat(), r#"["id", "n", "negated", "part"]"#));
    let ran = workdir.run();
    let expected = expected(0..117);
    let failed = (0..117).filter(|row| number(*row) == Some(i64::MIN) || text(*row).is_none()).count();
    let summary = ran.finished();
    assert_eq!((summary.rows_failed, summary.rows_written), (failed as u64, expected.values().sum()));
    assert_eq!(workdir.output("out"), expected);
    workdir.assert_manifest_is_folder();
    assert_eq!(workdir.wasmpipe(&["run", "pipeline.toml"]).status.code(), Some(3));
}

/// What the three functions are, in Rust.
fn expected(rows: std::ops::Range<usize>) -> Multiset {
    let shown = |n: Option<i64>| n.map_or("null".to_owned(), |n| n.to_string());
    let negatable = rows.filter(|row| number(*row) != Some(i64::MIN));
    let long = negatable.filter_map(|row| text(row).filter(|text| text.len() >= 2).map(|text| (row, text)));
    once(long.flat_map(|(row, text)| {
        let (n, negated) = (shown(number(row)), shown(number(row).map(|n| -n)));
        text.split(',').map(move |part| format!("id-{row}|{n}|{negated}|{part}")).collect::<Vec<_>>()
    }))
}

#[test]
fn a_row_that_fails_stops_the_job_with_the_guests_own_words() {
    let workdir = Workdir::new();
    workdir.file("a.parquet", &rows(0..10), 100);
    workdir.pipeline(&pipeline_of(&stage("negate", ""), r#"["negated"]"#));
    let ran = workdir.run();
    for words in ["negate", "a.parquet row 0", "the smallest int64 has no negative"] {
        assert!(ran.error().contains(words), "{words:?} is not in:\n{}", ran.error());
    }
}

#[test]
fn its_functions_are_pure() {
    let workdir = Workdir::new();
    write_parquet(&workdir.path("in.parquet"), &rows(0..60), 100);
    for (function, code) in [("negate", 3), ("long_enough", 3), ("parts", 0)] {
        let component = component();
        let args =
            ["udf", "test", component.to_str().unwrap(), "--function", function, "--input", "in.parquet", "--shuffle"];
        let output = workdir.wasmpipe(&args);
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(output.status.code(), Some(code), "{said}{}", String::from_utf8_lossy(&output.stderr));
        assert!(said.contains("each row gives the same"), "{said}");
    }
}

#[test]
fn an_allocator_that_gets_no_memory_is_told_by_the_limits_name() {
    let workdir = Workdir::new();
    let text: StringArray = std::iter::once(Some("x".repeat(300_000))).collect();
    workdir.file("a.parquet", &RecordBatch::try_from_iter([("text", Arc::new(text) as ArrayRef)]).unwrap(), 1);
    workdir.pipeline(&pipeline_of(&stage("parts", "memory_bytes_max = \"256 KiB\""), r#"["part"]"#));
    let ran = workdir.run();
    assert!(ran.error().contains("memory_bytes_max"), "{}", ran.error());
}

fn bound(function: &str, config: Value, limits: Limits) -> Result<Instance, String> {
    let engine = pipeline::engine_with(&guests().join("cache"), compiler()).unwrap();
    let component = Component::load(&engine, &component()).unwrap();
    let stage = "stage 1".to_owned();
    let spec = Spec {
        component,
        function: function.to_owned(),
        config,
        input: rows(0..0).schema(),
        limits,
        stage,
        lines: Arc::default(),
    };
    let binding = bind(&engine, &spec).map_err(|error| error.to_string())?;
    Ok(Instance::new(&engine, &Arc::new(spec), &binding).unwrap())
}

fn instance(function: &str, config: Value) -> Instance {
    bound(function, config, Limits::default()).unwrap()
}

fn one_column(name: &str, nullable: bool, column: impl Array + 'static) -> RecordBatch {
    let column: ArrayRef = Arc::new(column);
    RecordBatch::try_from_iter_with_nullable([(name, column, nullable)]).unwrap()
}

#[test]
fn blocks_without_rows_are_answered() {
    let negated = instance("negate", Value::Null).process(&one_column("n", true, Int64Array::from(vec![0_i64; 0])));
    let Answer { batch, lineage, errors } = negated.unwrap();
    assert_eq!((batch.num_rows(), lineage, errors), (0, Lineage::Same, vec![]));

    let none = || StringArray::from(Vec::<&str>::new());
    let Answer { batch, lineage, .. } =
        instance("long_enough", Value::Null).process(&one_column("text", false, none())).unwrap();
    assert_eq!((batch.num_rows(), lineage), (0, Lineage::Kept([false; 0].into_iter().collect())));

    let Answer { batch, lineage, .. } =
        instance("parts", Value::Null).process(&one_column("text", true, none())).unwrap();
    assert_eq!((batch.num_rows(), lineage), (0, Lineage::Counts(vec![])));
}

/// The allocator starts over with each block: what an earlier one left must not show in a later.
#[test]
fn blocks_of_all_sizes_go_through_one_instance() {
    let mut parts = instance("parts", Value::Null);
    let mut long_enough = instance("long_enough", json!({ "bytes_min": 3 }));
    for size in [1, 7, 8, 9, 64, 0, 5000, 3, 100_000, 2, 17] {
        let texts: Vec<Option<&str>> = (size..2 * size).map(text).collect();
        let answer = parts.process(&one_column("text", true, StringArray::from(texts.clone()))).unwrap();
        let cut = |text: &Option<&'static str>| text.map_or(vec![], |text| text.split(',').collect());
        let expected: Vec<Vec<&str>> = texts.iter().map(cut).collect();
        let counts = expected.iter().map(|parts| parts.len() as u32).collect();
        assert_eq!(answer.lineage, Lineage::Counts(counts), "{size}");
        let column = answer.batch.column(0).as_string::<i32>();
        assert_eq!(*column, StringArray::from(expected.concat()), "{size}");

        let texts: Vec<&str> = texts.into_iter().map(Option::unwrap_or_default).collect();
        let kept = texts.iter().map(|text| text.len() >= 3).collect();
        let answer = long_enough.process(&one_column("text", false, StringArray::from(texts))).unwrap();
        assert_eq!(answer.lineage, Lineage::Kept(kept), "{size}");
    }
    assert_eq!(parts.take_counts().into_keys().collect::<Vec<_>>(), ["texts_null"]);
}

/// What the host passed in is freed when it has read the result.
#[test]
fn memory_does_not_grow_from_block_to_block() {
    let limits = Limits { memory_bytes_max: 1 << 20, ..Limits::default() };
    let mut parts = bound("parts", Value::Null, limits).unwrap();
    let block = one_column("text", true, (0..2000).map(text).collect::<StringArray>());
    let first = parts.process(&block).unwrap();
    for _ in 0..100 {
        assert_eq!(parts.process(&block).unwrap(), first);
    }
}

#[test]
fn what_stands_under_a_null_is_no_reason_to_fail() {
    let values = ScalarBuffer::from(vec![i64::MIN, i64::MIN, 5, 0, i64::MAX, 1, 2, 3, i64::MIN, i64::MIN]);
    let nulls = NullBuffer::from(vec![true, false, true, true, false, true, true, true, false, true]);
    let n = Int64Array::new(values, Some(nulls));
    let Answer { batch, errors, .. } = instance("negate", Value::Null).process(&one_column("n", true, n)).unwrap();
    let message = "the smallest int64 has no negative".to_owned();
    assert_eq!(errors, [RowError { row: 0, message: message.clone() }, RowError { row: 9, message }]);
    let expected = [None, Some(-5), Some(0), None, Some(-1), Some(-2), Some(-3), None];
    assert_eq!(*batch.column(0).as_primitive::<Int64Type>(), Int64Array::from(expected.to_vec()));
}

#[test]
fn its_config_is_read_and_refused() {
    for (function, config) in [
        ("negate", json!({})),
        ("long_enough", Value::Null),
        ("long_enough", json!({ "bytes_min": 0 })),
        ("long_enough", json!({ "bytes_min": u32::MAX })),
    ] {
        bound(function, config.clone(), Limits::default()).unwrap_or_else(|error| panic!("{config}: {error}"));
    }
    for (function, config) in [
        ("negate", json!({ "bytes_min": 1 })),
        ("long_enough", json!([])),
        ("long_enough", json!({ "bytes_min": 1_u64 << 32 })),
        ("long_enough", json!({ "bytes_min": -1 })),
        ("long_enough", json!({ "bytes_min": 1.5 })),
        ("long_enough", json!({ "bytes_min": null })),
        ("long_enough", json!({ "bytes_min": 1, "more": 2 })),
        ("long_enough", json!({ "bytes_max": 1 })),
    ] {
        let refusal = bound(function, config.clone(), Limits::default()).unwrap_err();
        assert!(refusal.contains("the config is neither {} nor"), "{config}: {refusal}");
    }
}

/// The document shows the bytes of a small batch: they are those that cross.
#[test]
fn the_contracts_own_example_is_what_crosses() {
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![Some(7), None, Some(-1)]));
    let texts: ArrayRef = Arc::new(StringArray::from(vec!["ab", "", "c"]));
    let flat = wasmpipe_wire::flatten(&[numbers, texts]).unwrap();
    assert_eq!(flat.nodes.iter().map(|node| (node.length, node.nulls)).collect::<Vec<_>>(), [(3, 1), (3, 0)]);
    let contract = include_str!("../../wit/udf.wit");
    let example = contract.split("```text").nth(1).unwrap().split("```").next().unwrap();
    let shown: String = example.split_whitespace().collect();
    for buffer in flat.bytes() {
        let hex: String = buffer.iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(shown.contains(&hex), "{hex} is not in:{example}");
    }
}
