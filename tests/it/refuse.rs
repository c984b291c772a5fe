//! R: mistakes are refused before a component runs, all at once, with lines; and nothing is written.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray};
use wasmpipe::store::Unwatched;

use crate::support::pipeline::{Pipeline, pipeline};
use crate::support::{Bench, assert_mentions};

/// A job that only doubles.
fn double() -> Pipeline {
    pipeline(&["hostile.double"])
}

fn bench() -> Bench {
    let bench = Bench::new();
    bench.numbers("a.parquet", 0..10, 5);
    bench
}

/// A refusal writes nothing, however often it is tried.
#[track_caller]
fn refused_twice(bench: &Bench) -> String {
    let before = (bench.snapshot("checkpoint"), bench.snapshot("out"));
    let first = bench.run().refused().to_string();
    assert_eq!(bench.run().refused(), first);
    assert_eq!((bench.snapshot("checkpoint"), bench.snapshot("out")), before);
    first
}

#[test]
fn r1_five_mistakes_are_one_report_of_five() {
    let bench = bench();
    bench.pipeline(
        r#"
[source]
path = "gs://bucket/in"
[[stage]]
component = "missing.wasm"
function = 7
on_eror = "skip"
[sink]
path = "out"
compression = "zip"
"#,
    );
    let message = refused_twice(&bench);
    assert_mentions(&message, &["pipeline.toml:3:", ":5:", ":6:", ":7:", ":10:", "on_error", "gs://", "5 problems"]);
    let output = bench.wasmpipe(&["run", "pipeline.toml"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn r1_missing_files_and_bad_arguments_are_refused() {
    let bench = bench();
    assert_eq!(bench.wasmpipe(&["run", "nothing.toml"]).status.code(), Some(2));
    assert_eq!(bench.wasmpipe(&["run"]).status.code(), Some(2));
    bench.pipeline("[source]\npath = \"elsewhere/\"\n[sink]\npath = \"out\"\n");
    assert_mentions(&refused_twice(&bench), &["elsewhere", "pipeline.toml:2:"]);
}

#[test]
fn r2_an_id_column_that_is_missing_or_of_an_odd_type_is_refused() {
    let bench = Bench::new();
    let columns: [(&str, ArrayRef); 1] = [("x", Arc::new(Float64Array::from(vec![1.0])))];
    bench.file("a.parquet", &RecordBatch::try_from_iter(columns).unwrap(), 10);
    bench.pipeline("[source]\npath = \"in\"\nid = [\"x\", \"y\"]\n[sink]\npath = \"out\"\n");
    assert_mentions(&refused_twice(&bench), &["`x` is Float64", "no column `y`", "2 problems", "pipeline.toml:3:"]);
}

#[test]
fn r3_a_null_id_is_found_before_a_component_runs() {
    let bench = Bench::new();
    let ids: StringArray = vec![Some("a"), None, Some("c")].into();
    let columns: [(&str, ArrayRef); 2] = [("id", Arc::new(ids)), ("n", Arc::new(Int64Array::from(vec![1, 2, 3])))];
    bench.file("a.parquet", &RecordBatch::try_from_iter(columns).unwrap(), 10);
    bench.pipeline(&double());
    assert_mentions(&refused_twice(&bench), &["a.parquet", "1 null", "`id`"]);
}

#[test]
fn r3_a_null_id_in_an_object_that_came_later_names_the_row() {
    let bench = bench();
    bench.pipeline(&double());
    bench.run().finished();
    let ids: StringArray = vec![Some("a"), None].into();
    let columns: [(&str, ArrayRef); 2] = [("id", Arc::new(ids)), ("n", Arc::new(Int64Array::from(vec![1, 2])))];
    bench.file("b.parquet", &RecordBatch::try_from_iter(columns).unwrap(), 10);
    let ran = bench.run();
    assert_mentions(ran.error(), &["b.parquet", "row 1", "null", "`id`"]);
}

#[test]
fn r4_a_needed_column_that_is_missing_or_of_another_type_is_refused() {
    let bench = Bench::new();
    let columns: [(&str, ArrayRef); 1] = [("n", Arc::new(StringArray::from(vec!["1"])))];
    bench.file("a.parquet", &RecordBatch::try_from_iter(columns).unwrap(), 10);
    bench.pipeline(&double().by_position());
    assert_mentions(&refused_twice(&bench), &["`n`", "Int64", "Utf8", "double"]);
    bench.pipeline(&pipeline(&["hostile.shout"]).by_position());
    assert_mentions(&refused_twice(&bench), &["`text`", "shout"]);
}

#[test]
fn r4_a_column_converts_if_that_loses_nothing() {
    let bench = Bench::new();
    let columns: [(&str, ArrayRef); 1] = [("n", Arc::new(Int32Array::from(vec![7])))];
    bench.file("a.parquet", &RecordBatch::try_from_iter(columns).unwrap(), 10);
    bench.pipeline(&double().by_position());
    bench.run().finished();
    assert_eq!(bench.output("out").into_keys().collect::<Vec<_>>(), ["7|14"]);
}

#[test]
fn r5_two_stages_that_add_one_column_are_refused() {
    let bench = bench();
    bench.pipeline(&pipeline(&["hostile.double", "hostile.double"]));
    assert_mentions(
        &refused_twice(&bench),
        &["stage 2", "`double`, which it adds, is there already", "stage 1 (double)", "pipeline.toml:9:"],
    );
}

#[test]
fn r6_sink_and_checkpoint_do_not_lie_in_the_source() {
    let bench = bench();
    bench.pipeline(&double().sink("path = \"in/out\"").checkpoint("path = \"in\""));
    assert_mentions(&refused_twice(&bench), &["the sink lies in the source", "the checkpoint lies in the source"]);
    bench.pipeline(&double().source("path = \"in/a.parquet\"").sink("path = \".\""));
    assert_mentions(&refused_twice(&bench), &["the source lies in the sink"]);
}

#[test]
fn r6_a_sink_that_holds_another_jobs_output_is_refused() {
    let bench = bench();
    bench.pipeline(&double());
    bench.run().finished();
    std::fs::rename(bench.path("checkpoint"), bench.path("elsewhere")).unwrap();
    assert_mentions(&refused_twice(&bench), &["holds output of another job", "pipeline.toml"]);
}

#[test]
fn r8_a_changed_job_is_refused_twice_with_a_diff_and_goes_on_if_accepted() {
    let bench = bench();
    let errors_on = |at: u32| pipeline(&[&format!("hostile.errors_on\nconfig = {{ at = [{at}] }}")]);
    bench.pipeline(&errors_on(100));
    bench.run().finished();
    bench.pipeline(&errors_on(200));
    bench.numbers("b.parquet", 50..60, 5);
    assert_mentions(&refused_twice(&bench), &["stage 1 config", r#"{"at":[100]} -> {"at":[200]}"#, "--accept-change"]);
    bench.pipeline(&double());
    assert_mentions(&refused_twice(&bench), &["stage 1 function: errors_on -> double", "sink columns"]);
    bench.pipeline(&errors_on(200));
    let accepted = bench.run_with(&Arc::new(Unwatched), true);
    assert_eq!((accepted.finished().rows_skipped, accepted.finished().rows_read), (10, 10));
    assert_eq!(bench.run().finished().rows_read, 0);
}

#[test]
fn r8_a_changed_component_or_id_mode_is_refused() {
    let bench = bench();
    bench.pipeline(&double());
    bench.run().finished();
    bench.pipeline(&double().by_position());
    let message = refused_twice(&bench);
    assert_mentions(&message, &["id columns", "fixed for a job's life"]);
    assert!(bench.run_with(&Arc::new(Unwatched), true).refused().contains("fixed for a job's life"));

    // The same functions, one custom section more.
    let mut altered = std::fs::read(crate::support::guests().join("hostile.wasm")).unwrap();
    altered.extend_from_slice(&[0, 3, 1, b'x', b'y']);
    std::fs::write(bench.path("altered.wasm"), altered).unwrap();
    bench.pipeline(&double().to_string().replace("{guests}/hostile.wasm", "altered.wasm"));
    assert_mentions(&refused_twice(&bench), &["stage 1 component"]);
}

#[test]
fn r10_what_is_no_component_of_ours_is_refused_by_what_it_is() {
    let bench = bench();
    let refuse = |name: &str, bytes: &[u8], words: &[&str]| {
        std::fs::write(bench.path(name), bytes).unwrap();
        bench.pipeline(&double().to_string().replace("{guests}/hostile.wasm", name));
        assert_mentions(&refused_twice(&bench), words);
    };
    let hostile = std::fs::read(crate::support::guests().join("hostile.wasm")).unwrap();
    refuse("module.wasm", &wat::parse_str("(module)").unwrap(), &["core", "module", "pipeline.toml:5:"]);
    refuse("empty.wasm", &wat::parse_str("(component)").unwrap(), &["wasmpipe:udf"]);
    refuse("cut.wasm", &hostile[..hostile.len() / 2], &["cut.wasm"]);
    refuse("native.cwasm", b"\x7fELF\x02\x01\x01", &["native.cwasm"]);
    refuse("text.wasm", b"(component)", &["text.wasm"]);
}

#[test]
fn schema_drift_between_files_is_refused_while_footers_are_few() {
    let bench = bench();
    let columns: [(&str, ArrayRef); 1] = [("id", Arc::new(StringArray::from(vec!["x"])))];
    bench.file("b.parquet", &RecordBatch::try_from_iter(columns).unwrap(), 10);
    bench.pipeline(&double());
    assert_mentions(&refused_twice(&bench), &["b.parquet", "no column `n`"]);
}

#[test]
fn a_file_that_is_listed_twice_by_a_link_is_refused() {
    let bench = bench();
    std::os::unix::fs::symlink(bench.path("in/a.parquet"), bench.path("in/b.parquet")).unwrap();
    bench.pipeline(&double());
    assert_mentions(&refused_twice(&bench), &["b.parquet", "same file as a.parquet"]);
}

#[test]
fn a_plan_is_printed_and_writes_nothing() {
    let bench = bench();
    bench.pipeline(&double());
    let output = bench.wasmpipe(&["plan", "pipeline.toml"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_mentions(
        &text,
        &["1 object,", "stage 1 (double)", "needs n Int64", "adds double Int64", "rows are known by id Utf8"],
    );
    assert!(bench.snapshot("checkpoint").is_empty() && bench.snapshot("out").is_empty());
}

#[test]
fn r6_output_that_would_become_input_is_refused_however_it_gets_there() {
    let bench = Bench::new();
    bench.numbers("train-0.parquet", 0..10, 5);
    bench.pipeline(&double().source("path = \"in/**/*-*.parquet\"").sink("path = \"in/out\""));
    assert_mentions(&refused_twice(&bench), &["the sink lies in the source"]);
    bench.pipeline(&double());
    std::fs::create_dir(bench.path("out")).unwrap();
    std::os::unix::fs::symlink(bench.path("out"), bench.path("in/link")).unwrap();
    bench.run().finished();
    let again = bench.run();
    assert_mentions(again.refused(), &["link/", "which this job writes"]);
}

#[test]
fn a_footer_that_contradicts_itself_is_refused_and_never_read_for_ever() {
    let bench = Bench::new();
    bench.numbers("a.parquet", 0..10, 5);
    let path = bench.path("in/a.parquet");
    let honest = std::fs::read(&path).unwrap();
    bench.pipeline(&double());
    // Every byte of the footer, one at a time: an error or the honest result, and always an end.
    let footer = u32::from_le_bytes(honest[honest.len() - 8..honest.len() - 4].try_into().unwrap()) as usize;
    for at in (honest.len() - 8 - footer..honest.len() - 8).step_by(7) {
        let mut lying = honest.clone();
        lying[at] ^= 2;
        std::fs::write(&path, &lying).unwrap();
        let ran = bench.run();
        if let Some(error) = &ran.error {
            assert!(error.contains("hint:"), "byte {at}: {error}");
        }
        for folder in ["checkpoint", "out"] {
            let _ = std::fs::remove_dir_all(bench.path(folder));
        }
    }
}

#[test]
fn two_columns_of_one_name_are_refused() {
    let bench = Bench::new();
    let schema = arrow::datatypes::Schema::new(vec![
        arrow::datatypes::Field::new("n", arrow::datatypes::DataType::Int64, true),
        arrow::datatypes::Field::new("n", arrow::datatypes::DataType::Int64, true),
    ]);
    let column: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let batch = RecordBatch::try_new(Arc::new(schema), vec![Arc::clone(&column), column]).unwrap();
    bench.file("a.parquet", &batch, 10);
    bench.pipeline(&double().by_position());
    assert_mentions(&refused_twice(&bench), &["2 columns have the name `n`"]);
}
