//! F: which rows a second run does.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use wasmpipe::store::Unwatched;

use crate::support::pipeline::{Pipeline, doubled, doubling};
use crate::support::seam::{Crash, Reads, Stop};
use crate::support::{Workdir, id_files, number_batch, once, write_parquet};

fn job(id: bool) -> Pipeline {
    if id { doubling() } else { doubling().by_position() }
}

/// Runs until so many groups are committed, then dies.
fn die_after(workdir: &Workdir, commits: u64) {
    let ran = workdir.run_with(&Arc::new(Crash::at(Stop::Committed(commits))), false);
    assert_eq!(ran.summary().commits, commits, "{:?}", ran.error);
}

#[test]
fn f1_half_done_then_the_other_half() {
    for id in [true, false] {
        let workdir = Workdir::new();
        workdir.numbers("a.parquet", 0..100, 30);
        workdir.pipeline(&job(id));
        die_after(&workdir, 5);
        let half = workdir.inspect()["rows_committed"].as_u64().unwrap();
        assert!((50..100).contains(&half), "{half}");
        let second = workdir.run();
        assert_eq!((second.finished().rows_skipped, second.finished().rows_read), (half, 100 - half));
        assert_eq!(workdir.output("out"), doubled(0..100));
        workdir.assert_manifest_is_folder();
    }
}

#[test]
fn f2_scattered_rows_done_then_the_complement_in_order() {
    let workdir = Workdir::new();
    workdir.file("a.parquet", &number_batch([1, 3, 7]), 10);
    workdir.pipeline(&doubling());
    workdir.run().finished();
    std::fs::remove_file(workdir.path("in/a.parquet")).unwrap();
    workdir.numbers("b.parquet", 0..10, 4);
    let second = workdir.run();
    assert_eq!((second.finished().rows_known, second.finished().rows_read), (3, 7));
    assert_eq!(workdir.output("out"), doubled(0..10));
    let order: Vec<i64> = last_output(&workdir);
    assert_eq!(order, [0, 2, 4, 5, 6, 8, 9]);
}

/// Column `n` of the newest sink file.
fn last_output(workdir: &Workdir) -> Vec<i64> {
    let inspect = workdir.inspect();
    let file = inspect["files"].as_array().unwrap().last().unwrap()["path"].as_str().unwrap().to_string();
    let batches = crate::support::read_parquet(&workdir.path("out").join(file));
    let column = |batch: &RecordBatch| batch.column(1).as_any().downcast_ref::<Int64Array>().unwrap().values().to_vec();
    batches.iter().flat_map(column).collect()
}

#[test]
fn f3_done_rows_lie_in_many_segments_and_some_are_gone_from_the_input() {
    let workdir = Workdir::new();
    workdir.numbers("a.parquet", 0..200, 50);
    workdir.pipeline(&doubling());
    workdir.run().finished();
    assert!(workdir.inspect()["commits"].as_u64().unwrap() >= 20);
    std::fs::remove_file(workdir.path("in/a.parquet")).unwrap();
    workdir.numbers("b.parquet", 100..300, 64);
    let second = workdir.run();
    assert_eq!((second.finished().rows_known, second.finished().rows_read), (100, 100));
    assert_eq!(workdir.output("out"), doubled(0..300));
    assert_eq!(workdir.run().finished().run, None);
}

#[test]
fn f5_without_a_checkpoint_everything_is_done_and_nothing_is_filtered() {
    let workdir = Workdir::new();
    workdir.numbers("a.parquet", 0..40, 10);
    workdir.pipeline(&doubling().without_checkpoint());
    let output = workdir.wasmpipe(&["run", "pipeline.toml"]);
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stderr).contains("there is no [checkpoint]"));
    assert_eq!(workdir.output("out"), doubled(0..40));
    assert!(!workdir.path("checkpoint").exists());
    let mut names = std::fs::read_dir(workdir.path("out/_wasmpipe")).unwrap().map(|entry| entry.unwrap().path());
    let manifest = names.find(|path| path.is_file()).unwrap();
    assert_eq!(id_files(manifest.file_stem().unwrap().to_str().unwrap()), 0, "no filter, no cost");
    assert!(workdir.run().refused().contains("holds output of another job"), "a second run would double the output");
}

#[test]
fn f6_a_finished_job_run_again_writes_nothing_and_exits_0() {
    for id in [true, false] {
        let workdir = Workdir::new();
        workdir.numbers("a.parquet", 0..40, 10);
        workdir.pipeline(&job(id));
        assert_eq!(workdir.wasmpipe(&["run", "pipeline.toml"]).status.code(), Some(0));
        let before = (workdir.snapshot("checkpoint"), workdir.snapshot("out"));
        let again = workdir.wasmpipe(&["run", "pipeline.toml"]);
        assert_eq!(again.status.code(), Some(0));
        assert!(String::from_utf8_lossy(&again.stdout).contains("finished before"));
        assert_eq!((workdir.snapshot("checkpoint"), workdir.snapshot("out")), before);
    }
}

#[test]
fn f7_new_objects_are_done_and_a_third_run_does_nothing() {
    for id in [true, false] {
        let workdir = Workdir::new();
        workdir.numbers("a.parquet", 0..40, 10);
        workdir.pipeline(&job(id));
        workdir.run().finished();
        workdir.numbers("b.parquet", 40..70, 10);
        let second = workdir.run();
        assert_eq!((second.finished().rows_skipped, second.finished().rows_read), (40, 30));
        assert_eq!(workdir.output("out"), doubled(0..70));
        let before = workdir.snapshot("checkpoint");
        assert_eq!(workdir.run().finished().run, None);
        assert_eq!(workdir.snapshot("checkpoint"), before);
    }
}

#[test]
fn f8_commands_that_read_do_not_write() {
    let workdir = Workdir::new();
    workdir.numbers("a.parquet", 0..40, 10);
    workdir.pipeline(&doubling());
    die_after(&workdir, 2);
    // Threads of a run that is dead in this process may still stage a file.
    let complete = |folder: &str| {
        let files = workdir.snapshot(folder);
        files.into_iter().filter(|(path, _)| !path.to_string_lossy().contains('#')).collect::<Vec<_>>()
    };
    let before = (complete("checkpoint"), complete("out"));
    assert!(workdir.wasmpipe(&["plan", "pipeline.toml"]).status.success());
    assert!(workdir.wasmpipe(&["checkpoint", "inspect", "checkpoint"]).status.success());
    workdir.inspect();
    assert!((complete("checkpoint"), complete("out")) == before, "something was written");
}

#[test]
fn f9_finished_objects_are_not_opened_and_finished_row_groups_not_read() {
    let workdir = Workdir::new();
    for file in 0..8 {
        workdir.numbers(&format!("{file}.parquet"), file * 10..file * 10 + 10, 10);
    }
    workdir.pipeline(&doubling().by_position());
    workdir.run().finished();
    workdir.numbers("8.parquet", 80..81, 10);
    let reads = Arc::new(Reads::default());
    workdir.run_with(&reads, false).finished();
    assert_eq!(reads.of("8.parquet"), reads.all(), "only the new object is read");

    let workdir = Workdir::new();
    workdir.numbers("a.parquet", 0..100, 10);
    workdir.pipeline(&doubling().by_position());
    die_after(&workdir, 9);
    let reads = Arc::new(Reads::default());
    let last = workdir.run_with(&reads, false);
    assert!(last.finished().rows_read <= 10);
    assert!(reads.all() <= 4, "head, tail and one row group, not {} reads", reads.all());
}

#[test]
fn f10_a_changed_object_is_noticed_and_a_copied_one_is_not_taken_for_changed() {
    let workdir = Workdir::new();
    workdir.numbers("a.parquet", 0..50, 10);
    workdir.pipeline(&doubling().by_position());
    die_after(&workdir, 2);
    let committed = workdir.inspect()["rows_committed"].as_u64().unwrap();
    std::fs::copy(workdir.path("in/a.parquet"), workdir.path("copy")).unwrap();
    std::fs::remove_file(workdir.path("in/a.parquet")).unwrap();
    std::fs::rename(workdir.path("copy"), workdir.path("in/a.parquet")).unwrap();
    let resumed = workdir.run();
    assert_eq!(resumed.finished().rows_skipped, committed);
    assert_eq!(workdir.output("out"), doubled(0..50));

    workdir.numbers("a.parquet", 100..150, 10);
    let before = workdir.snapshot("checkpoint");
    let refused = workdir.run();
    assert!(refused.error().contains("1 changed: a.parquet"), "{}", refused.error());
    assert_eq!(workdir.snapshot("checkpoint"), before, "a refusal fences nobody");
    assert_eq!(workdir.wasmpipe(&["run", "pipeline.toml"]).status.code(), Some(2));
    let accepted = workdir.run_with(&Arc::new(Unwatched), true);
    assert_eq!(accepted.finished().rows_read, 50);
    let mut both = doubled(0..50);
    both.extend(doubled(100..150));
    assert_eq!(workdir.output("out"), both);
}

#[test]
fn f10_a_gone_object_is_refused_by_name_in_position_mode() {
    let workdir = Workdir::new();
    workdir.numbers("a.parquet", 0..10, 10);
    workdir.numbers("b.parquet", 10..20, 10);
    workdir.pipeline(&doubling().by_position());
    workdir.run().finished();
    std::fs::remove_file(workdir.path("in/b.parquet")).unwrap();
    assert!(workdir.run().error().contains("1 gone: b.parquet"));
}

#[test]
fn f11_the_output_does_not_depend_on_sizes_workers_or_projection() {
    let expected = doubled(0..500);
    for (block, group, workers, readers) in [(1, 7, 1, 1), (64, 1000, 4, 3), (500, 20, 2, 2)] {
        let workdir = Workdir::new();
        workdir.numbers("a.parquet", 0..300, 90);
        workdir.numbers("b.parquet", 300..500, 1000);
        let job = doubling()
            .checkpoint(&format!("group_rows_max = {group}"))
            .run(&format!("workers = {workers}\nreaders = {readers}\nblock_rows_max = {block}"));
        workdir.pipeline(&job);
        workdir.run().finished();
        assert_eq!(workdir.output("out"), expected);
        std::fs::remove_dir_all(workdir.path("out")).unwrap();
        std::fs::remove_dir_all(workdir.path("checkpoint")).unwrap();
        workdir.pipeline(&job.sink("columns = [\"double\"]"));
        workdir.run().finished();
        assert_eq!(workdir.output("out"), once((0..500).map(|n| (n * 2).to_string())));
    }
}

#[test]
fn f12_a_repacked_source_redoes_nothing_that_is_done() {
    let workdir = Workdir::new();
    workdir.numbers("a.parquet", 0..100, 30);
    workdir.numbers("b.parquet", 100..200, 25);
    workdir.pipeline(&doubling());
    die_after(&workdir, 9);
    let half = workdir.inspect()["rows_committed"].as_u64().unwrap();
    for name in ["a", "b"] {
        std::fs::remove_file(workdir.path(&format!("in/{name}.parquet"))).unwrap();
    }
    let mut shuffled: Vec<i64> = (0..200).collect();
    shuffled.sort_by_key(|n| (n * 7919) % 211);
    workdir.file("packed-0.parquet", &number_batch(shuffled[..77].iter().copied()), 9);
    workdir.file("packed-1.parquet", &number_batch(shuffled[77..].iter().copied()), 50);
    let resumed = workdir.run();
    assert_eq!((resumed.finished().rows_known, resumed.finished().rows_read), (half, 200 - half));
    assert_eq!(workdir.output("out"), doubled(0..200));
    workdir.assert_manifest_is_folder();
    assert_eq!(workdir.run().finished().run, None);
}

#[test]
fn repeated_ids_in_one_listing_are_rows_of_their_own() {
    let workdir = Workdir::new();
    let ids: StringArray = vec!["x", "x", "y"].into();
    let columns: [(&str, ArrayRef); 2] = [("id", Arc::new(ids)), ("n", Arc::new(Int64Array::from(vec![1, 2, 3])))];
    write_parquet(&workdir.path("in/a.parquet"), &RecordBatch::try_from_iter(columns).unwrap(), 10);
    workdir.pipeline(&doubling());
    assert_eq!(workdir.run().finished().rows_written, 3);
}

#[test]
fn a_touched_object_of_which_nothing_is_done_is_no_rewrite() {
    let workdir = Workdir::new();
    workdir.numbers("a.parquet", [1, 2, 3, 99], 10);
    workdir.numbers("b.parquet", [1, 2, 3, 4], 10);
    workdir.pipeline(&doubling().checkpoint("group_rows_max = 4"));
    die_after(&workdir, 1);
    assert!(workdir.inspect()["rows_committed"].as_u64().unwrap() < 8);
    let bytes = std::fs::read(workdir.path("in/b.parquet")).unwrap();
    std::fs::remove_file(workdir.path("in/b.parquet")).unwrap();
    std::fs::write(workdir.path("in/b.parquet"), bytes).unwrap();
    assert_eq!(workdir.run().finished().rows_known, 0);
    let mut expected = doubled([1, 2, 3, 99]);
    for (row, count) in doubled([1, 2, 3, 4]) {
        *expected.entry(row).or_default() += count;
    }
    assert_eq!(workdir.output("out"), expected);
}

/// Its digest says that an object has an earlier content again. Once a run has followed that, commands know it, too, and
/// nobody reads the object any more.
#[test]
fn an_object_that_came_back_is_done_for_every_command() {
    let workdir = Workdir::new();
    workdir.numbers("a.parquet", 0..20, 20);
    workdir.pipeline(&doubling().by_position());
    workdir.run().finished();
    let first = std::fs::read(workdir.path("in/a.parquet")).unwrap();
    workdir.numbers("a.parquet", 20..40, 20);
    // Its open has number 4.
    let died = workdir.run_with(&Arc::new(Crash::at(Stop::Committed(5))), true);
    assert_eq!(died.summary().rows_committed, 10, "{:?}", died.error);
    std::fs::write(workdir.path("in/a.parquet"), first).unwrap();
    assert_eq!(workdir.run_with(&Arc::new(Unwatched), true).finished().rows_read, 0);
    // One group of the other content, whichever came first.
    let either = [doubled(0..30), doubled((0..20).chain(30..40))];
    assert!(either.contains(&workdir.output("out")));
    let inspect = workdir.inspect();
    assert_eq!((&inspect["rows_committed"], &inspect["closed"]), (&20.into(), &"finished".into()), "{inspect:#}");
    let reads = Arc::new(Reads::default());
    assert_eq!(workdir.run_with(&reads, false).finished().run, None);
    assert_eq!(reads.all(), 0);
    let deleted = workdir.wasmpipe(&["checkpoint", "delete", "checkpoint"]);
    assert!(deleted.status.success(), "{}", String::from_utf8_lossy(&deleted.stderr));
}
