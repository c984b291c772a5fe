//! C: what counts as done.

use std::sync::Arc;

use crate::support::pipeline::in_small_blocks;
use crate::support::seam::{Crash, Stop};
use crate::support::{Workdir, assert_mentions, once};

#[test]
fn c1_one_to_many_with_several_sink_files_and_a_crash_at_every_step() {
    let text = in_small_blocks(&["hostile.copies"], "\"id\", \"copies\"").sink("file_bytes_max = 1");
    let expected = once((0..40).flat_map(|n| (0..n % 5).map(move |_| format!("id-{}|{}", n % 5, n % 5))));
    let make = || {
        let workdir = Workdir::new();
        workdir.numbers("a.parquet", (0..40).map(|n| n % 5), 13);
        workdir.pipeline(&text);
        workdir
    };
    let crash = Arc::new(Crash::never());
    make().run_with(&crash, false).finished();
    assert!(crash.seen().iter().filter(|seen| seen.starts_with("sink Put") && seen.ends_with(".parquet")).count() >= 4);
    for step in 0..crash.steps() {
        let workdir = make();
        workdir.run_with(&Arc::new(Crash::at(Stop::After(step))), false);
        workdir.run().finished();
        assert_eq!(workdir.output("out"), expected, "after step {step}: {}", crash.seen()[step as usize]);
        workdir.assert_manifest_is_folder();
    }
}

#[test]
fn c2_a_job_whose_rows_are_all_dropped_is_done_and_keeps_the_schema() {
    for function in ["none", "drop_odd"] {
        let workdir = Workdir::new();
        workdir.numbers("a.parquet", (0..30).map(|n| n * 2 + 1), 10);
        let column = if function == "none" { "\"id\", \"none\"" } else { "\"id\", \"n\"" };
        workdir.pipeline(&in_small_blocks(&[&format!("hostile.{function}")], column));
        let first = workdir.run();
        assert_eq!((first.finished().rows_dropped, first.finished().rows_written), (30, 0));
        let files: Vec<_> = workdir
            .files("out")
            .into_iter()
            .filter(|path| path.extension().is_some_and(|end| end == "parquet"))
            .collect();
        assert_eq!(files.len(), 1, "one file without rows");
        let file = std::fs::File::open(&files[0]).unwrap();
        let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder::try_new(file).unwrap();
        assert_eq!(reader.schema().fields().len(), 2);
        assert_eq!(workdir.run().finished().run, None, "never computed again");
    }
}

#[test]
fn c4_written_filtered_and_failed_rows_in_one_block() {
    let workdir = Workdir::new();
    workdir.numbers("a.parquet", 0..20, 20);
    let stages = ["hostile.drop_odd", "hostile.errors_on\nconfig = { at = [4, 10] }\non_error = \"skip\""];
    workdir.pipeline(&in_small_blocks(&stages, "\"id\", \"errors_on\"").run("block_rows_max = 20"));
    let ran = workdir.run();
    let summary = ran.finished();
    assert_eq!((summary.rows_read, summary.rows_dropped, summary.rows_failed, summary.rows_written), (20, 10, 2, 8));
    assert_eq!(workdir.output("out"), once([0, 2, 6, 8, 12, 14, 16, 18].map(|n| format!("id-{n}|{n}"))));
    let inspect = workdir.inspect();
    assert_eq!((inspect["rows_done"].as_u64(), inspect["rows_failed"].as_u64()), (Some(18), Some(2)));
    let again = workdir.wasmpipe(&["run", "pipeline.toml"]);
    assert_eq!(again.status.code(), Some(3), "finished with failed rows");
}

#[test]
fn c4_ids_of_failed_rows_are_not_recorded() {
    let workdir = Workdir::new();
    workdir.numbers("a.parquet", 0..20, 20);
    workdir.pipeline(&in_small_blocks(&["hostile.errors_on\nconfig = { at = [4] }\non_error = \"skip\""], "\"n\""));
    workdir.run().finished();
    let inspect = workdir.inspect();
    let ids: u64 = inspect["id_files"].as_array().unwrap().iter().map(|file| file["rows"].as_u64().unwrap()).sum();
    assert_eq!(ids, 19);
}

#[test]
fn a_failed_row_under_fail_ends_the_run_and_its_group_is_not_committed() {
    let workdir = Workdir::new();
    workdir.numbers("a.parquet", 0..100, 10);
    workdir.pipeline(&in_small_blocks(&["hostile.errors_on\nconfig = { at = [95] }"], "\"n\"").run("readers = 1"));
    let output = workdir.wasmpipe(&["run", "pipeline.toml"]);
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    let words = ["a.parquet row 95", "id=\"id-95\"", "errors_on", "95 is refused", "pipeline.toml, line", "hint:"];
    assert_mentions(&message, &words);
    let committed = workdir.inspect()["rows_committed"].as_u64().unwrap();
    assert_eq!(committed, 80, "the groups before are");
    let again = workdir.run();
    assert_eq!((again.summary().rows_skipped, again.error.is_some()), (80, true));
}

#[test]
fn c5_map_batches_that_keep_the_rows_give_exact_totals() {
    let workdir = Workdir::new();
    workdir.numbers("a.parquet", 0..1000, 170);
    workdir.pipeline(&in_small_blocks(&["hostile.same"], "\"id\", \"n\""));
    workdir.run().finished();
    assert_eq!(workdir.output("out"), once((0..1000).map(|n| format!("id-{n}|{n}"))));
    assert_eq!(workdir.run().finished().run, None);
}

#[test]
fn c5_stages_that_change_the_row_count_compose() {
    let workdir = Workdir::new();
    workdir.numbers("a.parquet", 0..200, 64);
    workdir.pipeline(&in_small_blocks(&["hostile.copies", "hostile.twice", "hostile.drop_odd"], "\"id\", \"twice\""));
    workdir.run().finished();
    let expected = (0..200i64).filter(|n| n % 2 == 0).flat_map(|n| (0..n * 2).map(move |_| format!("id-{n}|{n}")));
    assert_eq!(workdir.output("out"), once(expected));
}
