//! Dead letters: rows that failed are kept with what was wrong, exactly once, in files that anyone can read and that no
//! reader takes for output.

use std::fmt::Display;
use std::path::PathBuf;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use expect_test::expect;
use serde_json::{Value, json};
use wasmpipe::store::{Act, Unwatched, Watch};

use crate::support::pipeline::in_small_blocks;
use crate::support::seam::{Crash, Stop};
use crate::support::{Said, Workdir, once, run_as};

fn errors_on(at: &str, on_error: &str) -> String {
    format!("hostile.errors_on\nconfig = {{ at = [{at}] }}\non_error = \"{on_error}\"")
}

fn dead_on(function: &str, more: &str) -> String {
    format!("hostile.{function}\n{more}\non_error = \"dead-letter\"")
}

fn workdir(rows: i64, pipeline: &(impl Display + ?Sized)) -> Workdir {
    Workdir::with(pipeline, &[("a.parquet", 0..rows, 13)])
}

fn rows(letters: &[Value]) -> Vec<u64> {
    letters.iter().map(|letter| letter["row"].as_u64().unwrap()).collect()
}

#[test]
fn c4_written_filtered_failed_and_dead_lettered_rows_in_one_block() {
    let negate = "bare.negate\non_error = \"dead-letter\"";
    let stages = ["hostile.drop_odd", &errors_on("4, 10", "skip"), negate];
    let text = in_small_blocks(&stages, "\"id\", \"negated\"").run("block_rows_max = 20");
    let workdir = Workdir::new();
    // Only the smallest number has no negative.
    workdir.numbers("a.parquet", (0..19).chain([i64::MIN]), 20);
    workdir.pipeline(&text);
    let ran = workdir.run();
    let s = ran.finished();
    assert_eq!((s.rows_read, s.rows_dropped, s.rows_failed, s.rows_dead_lettered, s.rows_written), (20, 9, 2, 1, 8));
    assert_eq!(workdir.output("out"), once([0, 2, 6, 8, 12, 14, 16, 18].map(|n: i64| format!("id-{n}|{}", -n))));
    let inspect = workdir.inspect();
    let counts = ["rows_committed", "rows_done", "rows_failed", "rows_dead_lettered"].map(|key| inspect[key].as_u64());
    assert_eq!(counts, [Some(20), Some(17), Some(2), Some(1)]);
    let ids: u64 = inspect["id_files"].as_array().unwrap().iter().map(|file| file["rows"].as_u64().unwrap()).sum();
    assert_eq!(ids, 17, "neither the failed rows nor the dead-lettered one are done");
    let letter = json!({
        "object": "a.parquet", "row": 19, "stage": 3, "function": "negate", "kind": "row",
        "message": "the smallest int64 has no negative", "attempt": 1, "id": "id--9223372036854775808", "n": i64::MIN,
    });
    assert_eq!(workdir.letters(), [letter]);
    workdir.assert_manifest_is_folder();
}

#[test]
fn c3_a_rerun_leaves_dead_letters_and_says_where_they_are() {
    let workdir = workdir(3, &in_small_blocks(&[&errors_on("1", "dead-letter")], "\"id\""));
    let first = workdir.wasmpipe(&["run", "--quiet", "pipeline.toml"]);
    assert_eq!(first.status.code(), Some(3), "finished with failed rows");
    let said = String::from_utf8(first.stderr).unwrap();
    let note = "note: 1 dead letter in all: `wasmpipe dead-letters show pipeline.toml` shows them\n";
    assert!(said.ends_with(note), "{said}");
    assert!(said.contains("a.parquet row 1 (id=\"id-1\") dead-lettered: 1 is refused"), "{said}");
    assert_eq!(workdir.output("out"), once([0, 2].map(|n| format!("id-{n}"))));
    let (job, checkpoint) = (workdir.snapshot("out"), workdir.snapshot("checkpoint"));
    for _ in 0..2 {
        let again = workdir.wasmpipe(&["run", "pipeline.toml"]);
        assert_eq!((again.status.code(), String::from_utf8(again.stderr).unwrap().as_str()), (Some(3), note));
        assert!(String::from_utf8(again.stdout).unwrap().contains("of these dead-lettered                     1"));
    }
    assert_eq!((workdir.snapshot("out"), workdir.snapshot("checkpoint")), (job, checkpoint), "nothing was written");
    workdir.numbers("b.parquet", 3..5, 10);
    let more = workdir.run();
    let summary = more.finished();
    assert_eq!((summary.rows_read, summary.rows_dead_lettered, summary.rows_dead_lettered_in_all), (2, 0, 1));
    assert_eq!(workdir.wasmpipe(&["run", "pipeline.toml"]).status.code(), Some(3));
}

#[test]
fn they_are_shown_as_a_table() {
    // One group, so that there is one order.
    let text = in_small_blocks(&[&errors_on("4, 11, 25", "dead-letter")], "\"id\"").checkpoint("group_rows_max = 30");
    let workdir = workdir(30, &text.run("readers = 1"));
    let shown = |args: &[&str]| {
        let output = workdir.wasmpipe(&[&["dead-letters", "show"], args].concat());
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    let refused = workdir.wasmpipe(&["dead-letters", "show", "pipeline.toml"]);
    assert_eq!(refused.status.code(), Some(2), "there is no checkpoint yet");
    workdir.run().finished();
    expect![[r#"
        3 dead letters
        object      row   id      stage   function    kind   message         attempt
        a.parquet   4     id-4    1       errors_on   row    4 is refused    1
        a.parquet   11    id-11   1       errors_on   row    11 is refused   1
        a.parquet   25    id-25   1       errors_on   row    25 is refused   1
    "#]]
    .assert_eq(&shown(&["pipeline.toml"]));
    assert_eq!(shown(&["checkpoint"]), shown(&["pipeline.toml"]));
    expect![[r#"
        3 dead letters
        object      row   id     stage   function    kind   message        attempt
        a.parquet   4     id-4   1       errors_on   row    4 is refused   1
        ... 2 more, --limit N shows more of them
    "#]]
    .assert_eq(&shown(&["checkpoint", "--limit", "1"]));
    assert_eq!(shown(&["checkpoint", "--limit", "2", "--json"]).lines().count(), 2);
    workdir.pipeline(
        &in_small_blocks(&[&errors_on("77", "dead-letter")], "\"id\"")
            .checkpoint("path = \"other\"")
            .sink("path = \"empty\""),
    );
    workdir.run().finished();
    assert_eq!(shown(&["other"]), "no dead letters\n");
}

#[test]
fn a_job_without_a_checkpoint_says_where_they_lie() {
    let text = in_small_blocks(&[&errors_on("1", "dead-letter")], "\"id\"");
    let workdir = workdir(3, &text.without_checkpoint());
    let ran = workdir.wasmpipe(&["run", "--quiet", "pipeline.toml"]);
    let said = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(3));
    assert!(
        said.contains("note: 1 dead letter in file://") && said.ends_with("/out/_wasmpipe/dead-letters/\n"),
        "{said}"
    );
    assert_eq!(workdir.snapshot("out/_wasmpipe/dead-letters").len(), 1);
    let shown = workdir.wasmpipe(&["dead-letters", "show", "pipeline.toml"]);
    let said = String::from_utf8(shown.stderr).unwrap();
    assert_eq!(shown.status.code(), Some(2));
    assert!(said.contains("names no checkpoint") && said.contains("_wasmpipe/dead-letters/"), "{said}");
}

#[test]
fn a_child_that_fails_takes_its_row_whole() {
    let texts: StringArray = ["1 2 3", "4 x 5", "6", "y z"].map(Some).into_iter().collect();
    let ids: Int64Array = (0..4).collect();
    let columns: [(&str, ArrayRef); 2] = [("id", Arc::new(ids)), ("text", Arc::new(texts))];
    let workdir = Workdir::new();
    workdir.file("a.parquet", &RecordBatch::try_from_iter(columns).unwrap(), 10);
    let chunks = "chunks.chunks\nconfig = { unit = \"words\", size_max = 1, overlap = 0 }";
    let json_fields = "json_fields.json_fields\n\
        config = { column = \"chunk\", fields = { number = { path = \"$\", type = \"integer\" } } }\non_error = \"dead-letter\"";
    workdir.pipeline(&in_small_blocks(&[chunks, json_fields], "\"id\", \"number\""));
    let ran = workdir.run();
    let summary = ran.finished();
    assert_eq!((summary.rows_dead_lettered, summary.rows_dropped, summary.rows_written), (2, 0, 4));
    let expected = ["0|1", "0|2", "0|3", "2|6"].map(str::to_owned);
    assert_eq!(workdir.output("out"), once(expected), "4 and 5 are withheld with their sibling x");
    let letters = workdir.letters();
    assert_eq!(rows(&letters), [1, 3], "one letter for each row, however many of its children failed");
    for letter in &letters {
        assert_eq!((letter["stage"].as_u64(), letter["kind"].as_str()), (Some(2), Some("row")), "{letter}");
    }
    assert_eq!(letters[0]["text"], "4 x 5", "the source row, not what the stages made of it");
}

#[test]
fn traps_and_limits_say_so() {
    let cases = [
        (dead_on("panics_on", "config = { at = 9 }"), "trap", "9 is poison", 9..10),
        (
            dead_on("spin", "block_seconds_max = 0.1\nisolate_hangs_max = 20"),
            "limit",
            "block_seconds_max = 0.1 s",
            0..20,
        ),
        (dead_on("grow", "memory_bytes_max = \"16 MiB\""), "limit", "memory_bytes_max", 0..20),
        (
            dead_on("wide", "config = { bytes = 100000000 }\nmemory_bytes_max = \"64 MiB\""),
            "limit",
            "memory_bytes_max",
            0..20,
        ),
    ];
    for (stage, kind, words, lost) in cases {
        let workdir = workdir(20, &in_small_blocks(&[&stage], "\"id\""));
        let ran = workdir.run();
        let count = lost.end - lost.start;
        assert_eq!((ran.finished().rows_dead_lettered, ran.finished().rows_written), (count, 20 - count), "{stage}");
        let letters = workdir.letters();
        assert_eq!(rows(&letters), lost.collect::<Vec<_>>(), "{stage}");
        for letter in &letters {
            let message = letter["message"].as_str().unwrap();
            assert_eq!(letter["kind"], kind, "{message}");
            assert!(message.contains(words) && !message.contains("a.parquet rows "), "{message}");
            assert!(!message.contains('\n'), "{message}");
        }
        workdir.assert_manifest_is_folder();
    }
}

#[test]
fn a_null_where_none_is_taken_is_a_letter() {
    let n: Int64Array = [Some(1), None, Some(3)].into_iter().collect();
    let workdir = Workdir::new();
    workdir.file(
        "a.parquet",
        &RecordBatch::try_from_iter_with_nullable([("n", Arc::new(n) as ArrayRef, true)]).unwrap(),
        10,
    );
    workdir.pipeline(&in_small_blocks(&[&dead_on("double", "")], "\"double\"").by_position());
    workdir.run().finished();
    let letters = workdir.letters();
    assert_eq!(rows(&letters), [1], "by position");
    assert_eq!((&letters[0]["n"], &letters[0]["kind"]), (&Value::Null, &json!("row")));
    assert!(letters[0]["message"].as_str().unwrap().contains("null in column `n`"));
}

/// Columns `id`, `n`, `row` and `other`; the job needs `n`.
fn wide_workdir(text: &(impl Display + ?Sized)) -> Workdir {
    let numbers = || Arc::new((0..30).collect::<Int64Array>());
    let ids: StringArray = (0..30).map(|n| Some(format!("id-{n}"))).collect();
    let other: StringArray = (0..30).map(|n| (n % 2 == 0).then(|| format!("other {n}"))).collect();
    let columns: [(&str, ArrayRef, bool); 4] = [
        ("id", Arc::new(ids), false),
        ("n", numbers(), false),
        ("row", numbers(), false),
        ("other", Arc::new(other), true),
    ];
    let workdir = Workdir::new();
    workdir.file("a.parquet", &RecordBatch::try_from_iter_with_nullable(columns).unwrap(), 30);
    workdir.pipeline(text);
    workdir
}

fn keys(letter: &Value) -> Vec<&str> {
    let own = ["object", "row", "stage", "function", "kind", "message", "attempt"];
    letter.as_object().unwrap().keys().map(String::as_str).filter(|key| !own.contains(key)).collect()
}

#[test]
fn full_rows_are_kept_if_wanted_and_the_job_stays_the_same() {
    let text = in_small_blocks(&[&errors_on("4, 25", "dead-letter")], "\"id\"");
    let full = format!("{text}[dead_letters]\nfull_row = true\n");
    let by_position = text.clone().by_position().sink("columns = [\"errors_on\"]").to_string();
    let text = text.to_string();
    for (text, kept) in
        [(&text, vec!["id", "n"]), (&full, vec!["id", "n", "other", "source_row"]), (&by_position, vec!["n"])]
    {
        let workdir = wide_workdir(text);
        workdir.run().finished();
        let letters = workdir.letters();
        assert_eq!((rows(&letters), keys(&letters[0])), (vec![4, 25], kept));
        if text == &full {
            assert_eq!((&letters[0]["other"], &letters[1]["other"]), (&json!("other 4"), &Value::Null));
            assert_eq!((&letters[1]["source_row"], &letters[1]["row"]), (&json!(25), &json!(25)));
        }
    }
    // Neither what is kept nor what becomes of failed rows is part of what the job computes.
    let workdir = wide_workdir(&text);
    workdir.run_with(&Arc::new(Crash::at(Stop::Committed(1))), false);
    let first = workdir.letters().len();
    workdir.pipeline(&full);
    workdir.run().finished();
    let letters = workdir.letters();
    assert_eq!((rows(&letters), first), (vec![4, 25], 1), "files of both kinds count");
    workdir.pipeline(&text.replace("dead-letter", "skip"));
    assert_eq!(workdir.run().finished().run, None, "nothing is left to do");
}

#[test]
fn columns_that_a_file_lacks_are_null_in_full_rows() {
    let text = in_small_blocks(&[&errors_on("4, 31", "dead-letter")], "\"id\"");
    let workdir = wide_workdir(&text);
    workdir.numbers("b.parquet", 30..40, 10);
    workdir.pipeline(&format!("{text}[dead_letters]\nfull_row = true\n"));
    workdir.run().finished();
    let letters = workdir.letters();
    assert_eq!((&letters[0]["other"], &letters[1]["other"]), (&json!("other 4"), &Value::Null));
}

/// Two groups with letters in several files each.
#[test]
fn a_crash_at_every_durable_step_keeps_each_letter_once() {
    let text = in_small_blocks(&[&errors_on("3, 17, 18, 33", "dead-letter")], "\"id\", \"errors_on\"")
        .sink("file_bytes_max = 1");
    let dead = [3, 17, 18, 33];
    let expected = once((0..40).filter(|n| !dead.contains(n)).map(|n| format!("id-{n}|{n}")));
    let crash = Arc::new(Crash::never());
    let undisturbed = workdir(40, &text);
    undisturbed.run_with(&crash, false).finished();
    let all = undisturbed.letters();
    assert_eq!(rows(&all), [3, 17, 18, 33]);
    let puts = crash.seen().iter().filter(|seen| seen.starts_with("sink Put _wasmpipe/dead-letters/")).count();
    assert!(puts >= 3, "{:?}", crash.seen());
    for stop in (0..crash.steps()).flat_map(|step| [Stop::Before(step), Stop::After(step)]) {
        let workdir = workdir(40, &text);
        workdir.run_with(&Arc::new(Crash::at(stop)), false);
        workdir.run().finished();
        assert_eq!(workdir.letters(), all, "{stop:?}");
        assert_eq!(workdir.output("out"), expected, "{stop:?}");
        workdir.assert_manifest_is_folder();
        let (out, checkpoint) = (workdir.snapshot("out"), workdir.snapshot("checkpoint"));
        assert_eq!(workdir.run().finished().run, None);
        assert_eq!((workdir.snapshot("out"), workdir.snapshot("checkpoint")), (out, checkpoint), "{stop:?}");
    }
    println!("letters: stopped before and after {} durable steps", crash.steps());
}

#[test]
fn letters_of_dead_runs_are_removed_and_other_files_are_not() {
    let text = in_small_blocks(&[&errors_on("3", "dead-letter")], "\"id\"");
    let crash = Arc::new(Crash::never());
    workdir(10, &text).run_with(&crash, false).finished();
    let segment = crash.seen().iter().position(|seen| seen.contains("Put lane/0/0000000001")).unwrap() as u64;
    let workdir = workdir(10, &text);
    workdir.run_with(&Arc::new(Crash::at(Stop::Before(segment))), false);
    let orphans: Vec<_> = workdir.snapshot("out/_wasmpipe/dead-letters").into_keys().collect();
    assert_eq!(orphans.len(), 1);
    assert!(workdir.letters().is_empty(), "no segment names them");
    let staged = orphans[0].with_extension("parquet#1");
    let kept = [orphans[0].with_file_name("notes.txt"), orphans[0].with_extension("parquet.bak")];
    std::fs::write(&staged, "half").unwrap();
    kept.iter().for_each(|path| std::fs::write(path, "mine").unwrap());
    workdir.run().finished();
    assert!(!staged.exists() && !orphans[0].exists());
    kept.iter().for_each(|path| std::fs::remove_file(path).unwrap());
    workdir.assert_manifest_is_folder();
    assert_eq!(rows(&workdir.letters()), [3]);
}

/// Neither failed nor dead-lettered rows are done by id, so in a repacked source they are tried again.
#[test]
fn letters_of_rows_that_stand_elsewhere_now_do_not_count() {
    let workdir = workdir(10, &in_small_blocks(&[&errors_on("3", "dead-letter")], "\"id\""));
    workdir.run().finished();
    std::fs::rename(workdir.path("in/a.parquet"), workdir.path("in/b.parquet")).unwrap();
    let repacked = workdir.run();
    let summary = repacked.finished();
    assert_eq!((summary.rows_known, summary.rows_read, summary.rows_dead_lettered_in_all), (9, 1, 1));
    let letters = workdir.letters();
    assert_eq!((rows(&letters), &letters[0]["object"]), (vec![3], &json!("b.parquet")));
    workdir.assert_manifest_is_folder();
}

#[test]
fn a_file_of_letters_that_is_gone_is_noticed() {
    let workdir = workdir(10, &in_small_blocks(&[&errors_on("3", "dead-letter")], "\"id\""));
    workdir.run().finished();
    let name = workdir.inspect()["dead_letters"][0]["path"].as_str().unwrap().to_owned();
    std::fs::remove_file(workdir.path("out").join(&name)).unwrap();
    assert!(workdir.run().error().contains(&format!("{name} is missing")));
    let shown = workdir.wasmpipe(&["dead-letters", "show", "checkpoint"]);
    assert_eq!(shown.status.code(), Some(1));
    assert!(String::from_utf8(shown.stderr).unwrap().contains(&name));
}

#[test]
fn a_fenced_run_removes_its_letters_too() {
    let text = in_small_blocks(&[&errors_on("3", "dead-letter")], "\"id\"");
    let workdir = workdir(10, &text);
    let overtaken = Arc::new(Overtake { pipeline: workdir.path("pipeline.toml"), has_run: AtomicBool::new(false) });
    let ran = workdir.run_with(&overtaken, false);
    assert!(ran.error().contains("fenced"), "{}", ran.error());
    assert!(overtaken.has_run.load(Ordering::SeqCst));
    assert_eq!(rows(&workdir.letters()), [3]);
    workdir.assert_manifest_is_folder();
}

/// Before the first segment of a run, another run takes over and finishes.
#[derive(Debug)]
struct Overtake {
    pipeline: PathBuf,
    has_run: AtomicBool,
}

impl Watch for Overtake {
    fn before(&self, act: Act, store: &str, object: &str) -> object_store::Result<()> {
        let is_segment = act == Act::Put && store == "checkpoint" && object == "lane/0/0000000001";
        if is_segment && !self.has_run.swap(true, Ordering::SeqCst) {
            let pipeline = self.pipeline.clone();
            let said = Said { take_over: true, ..Said::default() };
            let other = std::thread::spawn(move || run_as(&pipeline, &Arc::new(Unwatched), said).finished().rows_read);
            assert_eq!(other.join().unwrap(), 10);
        }
        Ok(())
    }

    fn after(&self, _: Act, _: &str, _: &str) -> object_store::Result<()> {
        Ok(())
    }
}

/// Reads the letters file by file, and the output folder as a data set; prints what both hold, as JSON.
const SCRIPT: &str = r#"
import json, os, sys
import pyarrow.dataset, pyarrow.parquet as pq
folder = sys.argv[1]
inspect = json.load(open(os.path.join(folder, "inspect.json")))
manifest = json.load(open(os.path.join(folder, "out", "_wasmpipe", inspect["job"] + ".json")))
letters = []
for file in manifest["dead_letters"]:
    table = pq.read_table(os.path.join(folder, "out", file["path"]))
    assert table.num_rows == file["rows"], file
    letters += table.to_pylist()
output = pyarrow.dataset.dataset(os.path.join(folder, "out")).to_table()
print(json.dumps({"letters": letters, "output": sorted(output["id"].to_pylist())}))
"#;

#[test]
fn pyarrow_reads_letters_and_does_not_take_them_for_output() {
    let workdir = workdir(50, &in_small_blocks(&[&errors_on("3, 17, 33", "dead-letter")], "\"id\""));
    workdir.run().finished();
    std::fs::write(workdir.path("inspect.json"), workdir.inspect().to_string()).unwrap();
    let python = std::env::var("WASMPIPE_TEST_PYTHON").expect("run `cargo xtask test`, which installs pyarrow");
    let output = Command::new(python).args(["-c", SCRIPT, workdir.path("").to_str().unwrap()]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let seen: Value = serde_json::from_slice(&output.stdout).unwrap();
    let mut found = seen["letters"].as_array().unwrap().clone();
    found.sort_by_key(|letter| letter["row"].as_u64());
    assert_eq!(found, workdir.letters());
    let mut ids: Vec<String> = (0..50).filter(|n| ![3, 17, 33].contains(n)).map(|n| format!("id-{n}")).collect();
    ids.sort();
    assert_eq!(seen["output"], json!(ids));
}
