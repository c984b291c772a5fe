//! Rows that become many: what they carry is the same, however a block is cut; and one that becomes too much fails alone.

use std::iter::repeat_n;

use crate::support::pipeline::pipeline;
use crate::support::{Multiset, Workdir, assert_mentions, once};

/// `n` rows of each number, as the output has them.
fn copies(numbers: impl IntoIterator<Item = i64>, row: impl Fn(i64) -> String) -> Multiset {
    once(numbers.into_iter().flat_map(|n| repeat_n(row(n), n as usize)))
}

#[test]
fn a_row_that_becomes_too_much_fails_alone() {
    let stage = |more: &str| pipeline(&[&format!("hostile.copies\nrow_output_bytes_max = \"128 KiB\"\n{more}")]);
    let numbers: Vec<i64> = (0..20).chain([9000]).chain(20..40).chain([9001]).collect();
    let workdir = Workdir::new();
    workdir.pipeline(&stage(""));
    workdir.numbers("a.parquet", numbers.iter().copied(), 100);
    let ran = workdir.run();
    let said = ["a.parquet row 20 (id=\"id-9000\")", "it becomes 9000 rows", "row_output_bytes_max = 131072 bytes"];
    assert_mentions(ran.error(), &said);
    assert_mentions(ran.error(), &["raise `row_output_bytes_max` in this stage", "on_error = \"skip\""]);
    workdir.pipeline(&stage("on_error = \"dead-letter\""));
    assert_eq!(workdir.run().finished().rows_dead_lettered, 2);
    assert_eq!(workdir.output("out"), copies(0..40, |n| format!("id-{n}|{n}|{n}")));
    let letters = workdir.wasmpipe(&["dead-letters", "show", "pipeline.toml"]);
    assert_mentions(
        &String::from_utf8_lossy(&letters.stdout),
        &["id-9000", "id-9001", "limit", "it becomes 9001 rows"],
    );
}

/// The second function asks for what the first repeats, so each of its calls gets some of the rows; a source row that fails
/// with one of them fails with all, in whichever call they were.
#[test]
fn a_block_that_has_grown_is_called_in_parts() {
    let errors = "hostile.errors_on\nconfig = { at = [33] }\non_error = \"skip\"";
    let poison = "hostile.poisoned\nconfig = { how = \"trap\", at = [38] }\non_error = \"skip\"";
    let stages = ["hostile.copies", "hostile.double", errors, poison];
    for size in ["block_rows_max = 40", "block_rows_max = 40\nblock_bytes_max = 100", "block_rows_max = 1000"] {
        let job = pipeline(&stages).sink("columns = [\"id\", \"copies\", \"double\"]");
        let workdir = Workdir::with(&job.run(&format!("workers = 2\n{size}")), &[("a.parquet", 0..40, 40)]);
        let ran = workdir.run();
        let summary = ran.finished();
        assert_eq!((summary.rows_failed, summary.rows_written), (2, 780 - 33 - 38), "{size}");
        let survivors = (0..40).filter(|n| ![33, 38].contains(n));
        assert_eq!(workdir.output("out"), copies(survivors, |n| format!("id-{n}|{n}|{}", 2 * n)), "{size}");
    }
}

/// Whether a row becomes too much does not depend on how many of its rows a call has, which depends on time.
#[test]
fn a_row_fails_for_what_all_its_calls_add() {
    let double = "hostile.double\nrow_output_bytes_max = \"1 KiB\"\non_error = \"skip\"";
    for rows in [40, 65_536] {
        let job = pipeline(&["hostile.copies", double]).sink("columns = [\"id\", \"double\"]");
        let workdir = Workdir::new();
        workdir.pipeline(&job.run(&format!("workers = 1\nblock_rows_max = {rows}")));
        workdir.numbers("a.parquet", [3, 900, 4], 3);
        let ran = workdir.run();
        let summary = ran.finished();
        assert_eq!((summary.rows_failed, summary.rows_written), (1, 7), "{rows}");
    }
}

/// What comes of a block has a limit: beyond it the block goes on in pieces, and its rows are in the output once.
#[test]
fn a_block_that_becomes_too_much_goes_on_in_pieces() {
    let bytes = 400_000;
    let errors = "hostile.errors_on\nconfig = { at = [5, 60] }\non_error = \"dead-letter\"";
    let wide = format!("hostile.wide\nconfig = {{ bytes = {bytes} }}\nmemory_bytes_max = \"3 MiB\"");
    let job = pipeline(&[errors, &wide]).sink("compression = \"none\"").run("workers = 2\nreaders = 1");
    let workdir = Workdir::with(&job, &[("a.parquet", 0..128, 128)]);
    let ran = workdir.run();
    let summary = ran.finished();
    assert_eq!((summary.rows_read, summary.rows_dead_lettered, summary.rows_written), (128, 2, 126));
    let row = |n: i64| format!("id-{n}|{n}|{n}|{}", "x".repeat(bytes));
    assert!(workdir.output("out") == once((0..128).filter(|n| ![5, 60].contains(n)).map(row)), "each row once");
}

/// One row of which too much comes is to blame for it.
#[test]
fn a_row_that_is_too_much_for_one_block_fails_alone() {
    let wide = "hostile.wide\nconfig = { bytes = 100000 }\nmemory_bytes_max = \"3 MiB\"\n";
    let job = |more: &str| pipeline(&["hostile.copies", &format!("{wide}{more}")]).sink("columns = [\"wide\"]");
    let workdir = Workdir::new();
    workdir.numbers("a.parquet", (0..5).chain([400]).chain(5..9), 100);
    workdir.pipeline(&job(""));
    let ran = workdir.run();
    assert_mentions(ran.error(), &["a.parquet row 5 (id=\"id-400\")", "too much for one block: ", "memory_bytes_max"]);
    workdir.pipeline(&job("on_error = \"skip\""));
    let ran = workdir.run();
    let summary = ran.finished();
    assert_eq!((summary.rows_failed, summary.rows_written), (1, 36));
}

/// A block of many rows, each of which takes long: its calls keep the limit.
#[test]
fn a_slow_function_is_not_out_of_time_because_its_block_is_large() {
    let stage = "hostile.sleepy\nconfig = { iterations = 2000000 }\nblock_seconds_max = 3";
    let workdir = Workdir::with(&pipeline(&[stage]).run("workers = 1"), &[("a.parquet", 0..1600, 1600)]);
    let ran = workdir.run();
    let summary = ran.finished();
    assert_eq!((summary.rows_written, summary.isolate_calls), (1600, 0));
}
