//! R: mistakes are refused before a component runs, all at once, with lines; and nothing is written.

use std::sync::Arc;

use arrow::array::{ArrayRef, Float64Array, Int32Array, Int64Array, RecordBatch, StringArray};
use wasmpipe::store::Unwatched;

use crate::support::pipeline::{Pipeline, pipeline};
use crate::support::{Workdir, assert_mentions};

/// A job that only doubles.
fn double() -> Pipeline {
    pipeline(&["hostile.double"])
}

fn workdir() -> Workdir {
    let workdir = Workdir::new();
    workdir.numbers("a.parquet", 0..10, 5);
    workdir
}

/// A refusal writes nothing, however often it is tried.
#[track_caller]
fn refused_twice(workdir: &Workdir) -> String {
    let before = (workdir.snapshot("checkpoint"), workdir.snapshot("out"));
    let first = workdir.run().refused().to_string();
    assert_eq!(workdir.run().refused(), first);
    assert_eq!((workdir.snapshot("checkpoint"), workdir.snapshot("out")), before);
    first
}

#[test]
fn r1_five_mistakes_are_one_report_of_five() {
    let workdir = workdir();
    workdir.pipeline(
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
    let message = refused_twice(&workdir);
    assert_mentions(&message, &["pipeline.toml:3:", ":5:", ":6:", ":7:", ":10:", "on_error", "gs://", "5 problems"]);
    let output = workdir.wasmpipe(&["run", "pipeline.toml"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn r1_missing_files_and_bad_arguments_are_refused() {
    let workdir = workdir();
    assert_eq!(workdir.wasmpipe(&["run", "nothing.toml"]).status.code(), Some(2));
    assert_eq!(workdir.wasmpipe(&["run"]).status.code(), Some(2));
    workdir.pipeline("[source]\npath = \"elsewhere/\"\n[sink]\npath = \"out\"\n");
    assert_mentions(&refused_twice(&workdir), &["elsewhere", "pipeline.toml:2:"]);
}

#[test]
fn r2_an_id_column_that_is_missing_or_of_an_odd_type_is_refused() {
    let workdir = Workdir::new();
    let columns: [(&str, ArrayRef); 1] = [("x", Arc::new(Float64Array::from(vec![1.0])))];
    workdir.file("a.parquet", &RecordBatch::try_from_iter(columns).unwrap(), 10);
    workdir.pipeline("[source]\npath = \"in\"\nid = [\"x\", \"y\"]\n[sink]\npath = \"out\"\n");
    assert_mentions(&refused_twice(&workdir), &["`x` is Float64", "no column `y`", "2 problems", "pipeline.toml:3:"]);
}

#[test]
fn r3_a_null_id_is_found_before_a_component_runs() {
    let workdir = Workdir::new();
    let ids: StringArray = vec![Some("a"), None, Some("c")].into();
    let columns: [(&str, ArrayRef); 2] = [("id", Arc::new(ids)), ("n", Arc::new(Int64Array::from(vec![1, 2, 3])))];
    workdir.file("a.parquet", &RecordBatch::try_from_iter(columns).unwrap(), 10);
    workdir.pipeline(&double());
    assert_mentions(&refused_twice(&workdir), &["a.parquet", "1 null", "`id`"]);
}

#[test]
fn r3_a_null_id_in_an_object_that_came_later_names_the_row() {
    let workdir = workdir();
    workdir.pipeline(&double());
    workdir.run().finished();
    let ids: StringArray = vec![Some("a"), None].into();
    let columns: [(&str, ArrayRef); 2] = [("id", Arc::new(ids)), ("n", Arc::new(Int64Array::from(vec![1, 2])))];
    workdir.file("b.parquet", &RecordBatch::try_from_iter(columns).unwrap(), 10);
    let ran = workdir.run();
    assert_mentions(ran.error(), &["b.parquet", "row 1", "null", "`id`"]);
}

#[test]
fn r4_a_needed_column_that_is_missing_or_of_another_type_is_refused() {
    let workdir = Workdir::new();
    let columns: [(&str, ArrayRef); 1] = [("n", Arc::new(StringArray::from(vec!["1"])))];
    workdir.file("a.parquet", &RecordBatch::try_from_iter(columns).unwrap(), 10);
    workdir.pipeline(&double().by_position());
    assert_mentions(&refused_twice(&workdir), &["`n`", "Int64", "Utf8", "double"]);
    workdir.pipeline(&pipeline(&["hostile.shout"]).by_position());
    assert_mentions(&refused_twice(&workdir), &["`text`", "shout"]);
}

#[test]
fn r4_a_column_converts_if_that_loses_nothing() {
    let workdir = Workdir::new();
    let columns: [(&str, ArrayRef); 1] = [("n", Arc::new(Int32Array::from(vec![7])))];
    workdir.file("a.parquet", &RecordBatch::try_from_iter(columns).unwrap(), 10);
    workdir.pipeline(&double().by_position());
    workdir.run().finished();
    assert_eq!(workdir.output("out").into_keys().collect::<Vec<_>>(), ["7|14"]);
}

#[test]
fn r5_two_stages_that_add_one_column_are_refused() {
    let workdir = workdir();
    workdir.pipeline(&pipeline(&["hostile.double", "hostile.double"]));
    assert_mentions(
        &refused_twice(&workdir),
        &["stage 2", "`double`, which it adds, is there already", "stage 1 (double)", "pipeline.toml:9:"],
    );
}

#[test]
fn r6_sink_and_checkpoint_do_not_lie_in_the_source() {
    let workdir = workdir();
    workdir.pipeline(&double().sink("path = \"in/out\"").checkpoint("path = \"in\""));
    assert_mentions(&refused_twice(&workdir), &["the sink lies in the source", "the checkpoint lies in the source"]);
    workdir.pipeline(&double().source("path = \"in/a.parquet\"").sink("path = \".\""));
    assert_mentions(&refused_twice(&workdir), &["the source lies in the sink"]);
}

#[test]
fn r6_a_sink_that_holds_another_jobs_output_is_refused() {
    let workdir = workdir();
    workdir.pipeline(&double());
    workdir.run().finished();
    std::fs::rename(workdir.path("checkpoint"), workdir.path("elsewhere")).unwrap();
    workdir.pipeline(&pipeline(&["hostile.twice"]));
    let refused = refused_twice(&workdir);
    assert_mentions(
        &refused,
        &["holds output of another job", "pipeline.toml", "which is finished", "on this machine"],
    );
}

#[test]
fn r8_a_changed_job_is_refused_twice_with_a_diff_and_goes_on_if_accepted() {
    let workdir = workdir();
    let errors_on = |at: u32| pipeline(&[&format!("hostile.errors_on\nconfig = {{ at = [{at}] }}")]);
    workdir.pipeline(&errors_on(100));
    workdir.run().finished();
    workdir.pipeline(&errors_on(200));
    workdir.numbers("b.parquet", 50..60, 5);
    assert_mentions(
        &refused_twice(&workdir),
        &["stage 1 config", r#"{"at":[100]} -> {"at":[200]}"#, "--accept-change"],
    );
    workdir.pipeline(&double());
    assert_mentions(&refused_twice(&workdir), &["stage 1 function: errors_on -> double", "sink columns"]);
    workdir.pipeline(&errors_on(200));
    let accepted = workdir.run_with(&Arc::new(Unwatched), true);
    assert_eq!((accepted.finished().rows_skipped, accepted.finished().rows_read), (10, 10));
    assert_eq!(workdir.run().finished().rows_read, 0);
}

#[test]
fn r8_a_changed_component_or_id_mode_is_refused() {
    let workdir = workdir();
    workdir.pipeline(&double());
    workdir.run().finished();
    workdir.pipeline(&double().by_position());
    let message = refused_twice(&workdir);
    assert_mentions(&message, &["id columns", "fixed for a job's life"]);
    assert!(workdir.run_with(&Arc::new(Unwatched), true).refused().contains("fixed for a job's life"));

    // The same functions, one custom section more.
    let mut altered = std::fs::read(crate::support::guests().join("hostile.wasm")).unwrap();
    altered.extend_from_slice(&[0, 3, 1, b'x', b'y']);
    std::fs::write(workdir.path("altered.wasm"), altered).unwrap();
    workdir.pipeline(&double().to_string().replace("{guests}/hostile.wasm", "altered.wasm"));
    assert_mentions(&refused_twice(&workdir), &["stage 1 component"]);
}

#[test]
fn r10_what_is_no_component_of_ours_is_refused_by_what_it_is() {
    let workdir = workdir();
    let refuse = |name: &str, bytes: &[u8], words: &[&str]| {
        std::fs::write(workdir.path(name), bytes).unwrap();
        workdir.pipeline(&double().to_string().replace("{guests}/hostile.wasm", name));
        assert_mentions(&refused_twice(&workdir), words);
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
    let workdir = workdir();
    let text = || -> ArrayRef { Arc::new(StringArray::from(vec!["x"])) };
    workdir.file("b.parquet", &RecordBatch::try_from_iter([("id", text()), ("n", text())]).unwrap(), 10);
    workdir.pipeline(&double());
    assert_mentions(&refused_twice(&workdir), &["column `n` is Int64 in a.parquet, and Utf8 in b.parquet"]);
}

#[test]
fn a_file_that_is_listed_twice_by_a_link_is_refused() {
    let workdir = workdir();
    std::os::unix::fs::symlink(workdir.path("in/a.parquet"), workdir.path("in/b.parquet")).unwrap();
    workdir.pipeline(&double());
    assert_mentions(&refused_twice(&workdir), &["b.parquet", "same file as a.parquet"]);
}

#[test]
fn a_plan_is_printed_and_writes_nothing() {
    let workdir = workdir();
    workdir.pipeline(&double());
    let output = workdir.wasmpipe(&["plan", "pipeline.toml"]);
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    assert_mentions(
        &text,
        &["1 object,", "stage 1 (double)", "needs n Int64", "adds double Int64", "rows are known by id Utf8"],
    );
    assert!(workdir.snapshot("checkpoint").is_empty() && workdir.snapshot("out").is_empty());
}

#[test]
fn r6_output_that_would_become_input_is_refused_however_it_gets_there() {
    let workdir = Workdir::new();
    workdir.numbers("train-0.parquet", 0..10, 5);
    workdir.pipeline(&double().source("path = \"in/**/*-*.parquet\"").sink("path = \"in/out\""));
    assert_mentions(&refused_twice(&workdir), &["the sink lies in the source"]);
    workdir.pipeline(&double());
    std::fs::create_dir(workdir.path("out")).unwrap();
    std::os::unix::fs::symlink(workdir.path("out"), workdir.path("in/link")).unwrap();
    workdir.run().finished();
    let again = workdir.run();
    assert_mentions(again.refused(), &["link/", "which this job writes"]);
}

#[test]
fn a_footer_that_contradicts_itself_is_refused_and_never_read_for_ever() {
    let workdir = Workdir::new();
    workdir.numbers("a.parquet", 0..10, 5);
    let path = workdir.path("in/a.parquet");
    let honest = std::fs::read(&path).unwrap();
    workdir.pipeline(&double());
    // Every byte of the footer, one at a time: an error or the honest result, and always an end.
    let footer = u32::from_le_bytes(honest[honest.len() - 8..honest.len() - 4].try_into().unwrap()) as usize;
    for at in (honest.len() - 8 - footer..honest.len() - 8).step_by(7) {
        let mut lying = honest.clone();
        lying[at] ^= 2;
        std::fs::write(&path, &lying).unwrap();
        let ran = workdir.run();
        if let Some(error) = &ran.error {
            assert!(error.contains("hint:"), "byte {at}: {error}");
        }
        for folder in ["checkpoint", "out"] {
            let _ = std::fs::remove_dir_all(workdir.path(folder));
        }
    }
}

#[test]
fn two_columns_of_one_name_are_refused() {
    let workdir = Workdir::new();
    let schema = arrow::datatypes::Schema::new(vec![
        arrow::datatypes::Field::new("n", arrow::datatypes::DataType::Int64, true),
        arrow::datatypes::Field::new("n", arrow::datatypes::DataType::Int64, true),
    ]);
    let column: ArrayRef = Arc::new(Int64Array::from(vec![1]));
    let batch = RecordBatch::try_new(Arc::new(schema), vec![Arc::clone(&column), column]).unwrap();
    workdir.file("a.parquet", &batch, 10);
    workdir.pipeline(&double().by_position());
    assert_mentions(&refused_twice(&workdir), &["2 columns have the name `n`"]);
}
