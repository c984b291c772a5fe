//! Ids that were done elsewhere, in and out: a job that another system began goes on here, and the other way round.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, TimestampMillisecondArray};
use expect_test::{Expect, expect};

use crate::support::pipeline::{doubled, doubling};
use crate::support::seam::{Crash, Stop};
use crate::support::{Workdir, killed_at_every_step, number_batch, once, write_parquet};

fn ids(numbers: impl IntoIterator<Item = i64>) -> RecordBatch {
    number_batch(numbers).project(&[0]).unwrap()
}

/// A workdir with 100 rows and a folder `done/` with some of their ids.
fn begun_elsewhere() -> Workdir {
    let workdir = Workdir::new();
    workdir.numbers("a.parquet", 0..60, 30);
    workdir.numbers("b.parquet", 60..100, 30);
    workdir.pipeline(&doubling());
    std::fs::create_dir(workdir.path("done")).unwrap();
    write_parquet(&workdir.path("done/1.parquet"), &ids((0..40).rev()), 7);
    write_parquet(&workdir.path("done/2.parquet"), &ids([95, 70, 3, 1000]), 7);
    workdir
}

#[test]
fn rows_that_are_done_elsewhere_are_known_and_the_others_are_run() {
    let workdir = begun_elsewhere();
    let begun = workdir.json(&["checkpoint", "import", "pipeline.toml", "done", "--json"], 0);
    assert_eq!((&begun["ids"], &begun["files_read"]), (&43.into(), &2.into()), "{begun}");
    let died = workdir.run_with(&Arc::new(Crash::at(Stop::Committed(3))), false);
    assert_eq!(died.summary().commits, 3, "{:?}", died.error);
    workdir.run().finished();
    assert_eq!(workdir.output("out"), doubled((40..100).filter(|n| ![70, 95].contains(n))));
    workdir.assert_manifest_is_folder();
    let inspect = workdir.inspect();
    assert_eq!((&inspect["rows_known"], &inspect["rows_done"]), (&42.into(), &58.into()));
    assert_eq!(inspect["job"], begun["job"]);
    assert_eq!(inspect["imported"], begun["files"]);
    let before = (workdir.snapshot("out"), workdir.snapshot("checkpoint"));
    assert_eq!(workdir.run().finished().run, None);
    assert_eq!((workdir.snapshot("out"), workdir.snapshot("checkpoint")), before);
}

#[test]
fn imported_ids_are_asked_beside_own_ones_after_the_source_was_repacked() {
    let workdir = begun_elsewhere();
    workdir.said(&["checkpoint", "import", "pipeline.toml", "done"], 0);
    let died = workdir.run_with(&Arc::new(Crash::at(Stop::Committed(4))), false);
    assert_eq!(died.summary().commits, 4, "{:?}", died.error);
    for name in ["in/a.parquet", "in/b.parquet"] {
        std::fs::remove_file(workdir.path(name)).unwrap();
    }
    workdir.numbers("c.parquet", (0..120).rev(), 64);
    workdir.run().finished();
    assert_eq!(workdir.output("out"), doubled((40..120).filter(|n| ![70, 95].contains(n))));
}

#[test]
fn csv_and_json_lines_give_the_same_ids_as_parquet() {
    let csv = "\u{feff}n,\"the id\"\r\n1,id-0\r\n2,\"id-1\"\r\n3,\"id-2\"\r\n";
    let json = "{\"the id\": \"id-0\", \"n\": [1, {}]}\r\n\n{\"the id\": \"id-\\u0031\"}\n{\"the id\": \"id-2\"}";
    for (name, text) in [("done.csv", csv), ("done.jsonl", json), ("done.ndjson", json)] {
        let workdir = begun_elsewhere();
        std::fs::write(workdir.path(name), text).unwrap();
        workdir.said(&["checkpoint", "import", "pipeline.toml", name, "--column", "the id"], 0);
        assert_eq!(workdir.run().finished().rows_known, 3, "{name}");
        assert_eq!(workdir.output("out"), doubled(3..100), "{name}");
    }
}

#[test]
fn several_id_columns_keep_their_types() {
    let workdir = Workdir::new();
    let batch = |rows: &[(i64, i64)]| {
        let at: TimestampMillisecondArray = rows.iter().map(|row| Some(row.1)).collect();
        let columns: [(&str, ArrayRef); 2] = [
            ("n", Arc::new(Int64Array::from_iter_values(rows.iter().map(|row| row.0)))),
            ("at", Arc::new(at.with_timezone("+00:00"))),
        ];
        RecordBatch::try_from_iter(columns).unwrap()
    };
    workdir.file("a.parquet", &batch(&[(1, 500), (1, 1500), (2, 500), (i64::MAX, 0)]), 10);
    workdir.pipeline(&doubling().source("id = [\"n\", \"at\"]").sink("columns = [\"n\", \"at\"]"));
    let lines = "{\"x\": 1, \"y\": \"1970-01-01T00:00:01.5Z\"}\n\
                 {\"x\": 9223372036854775807, \"y\": \"1970-01-01T02:00:00.000+02:00\"}\n";
    std::fs::write(workdir.path("done.jsonl"), lines).unwrap();
    std::fs::write(workdir.path("done.csv"), "x,y\n2,1970-01-01 00:00:00.500Z\n").unwrap();
    workdir.said(&["checkpoint", "import", "pipeline.toml", "done.*", "--column", "x", "--column", "y"], 0);
    assert_eq!(workdir.run().finished().rows_known, 3);
    assert_eq!(workdir.output("out"), once(["1|1970-01-01T00:00:00.500Z".to_string()]));
}

#[test]
fn ids_of_an_existing_output_are_done() {
    let workdir = begun_elsewhere();
    let other = doubling().sink("path = \"before\"").checkpoint("path = \"checkpoint-before\"");
    workdir.pipeline_at("before.toml", &other);
    std::fs::rename(workdir.path("in/b.parquet"), workdir.path("b.parquet")).unwrap();
    workdir.said(&["run", "-q", "before.toml"], 0);
    std::fs::rename(workdir.path("b.parquet"), workdir.path("in/b.parquet")).unwrap();
    let begun = workdir.json(&["checkpoint", "import", "pipeline.toml", "--from-output", "before", "--json"], 0);
    assert_eq!(begun["ids"], 60);
    assert_eq!(workdir.run().finished().rows_known, 60);
    assert_eq!(workdir.output("out"), doubled(60..100));
}

#[test]
fn what_is_exported_can_be_imported() {
    let workdir = begun_elsewhere();
    workdir.said(&["checkpoint", "import", "pipeline.toml", "done"], 0);
    let died = workdir.run_with(&Arc::new(Crash::at(Stop::Committed(4))), false);
    assert_eq!(died.summary().commits, 4, "{:?}", died.error);
    let exported = workdir.wasmpipe(&["checkpoint", "export", "checkpoint", "--to", "exported", "--json"]);
    let note = String::from_utf8_lossy(&exported.stderr).into_owned();
    assert!(note.contains("only files that `wasmpipe output list` names count"), "{note}");
    let exported: serde_json::Value = serde_json::from_slice(&exported.stdout).unwrap();
    let done = workdir.inspect()["rows_done"].as_u64().unwrap();
    assert_eq!(exported["ids"], 43 + done);
    let listed = workdir.json(&["output", "list", "checkpoint", "--json"], 0);
    assert_eq!(listed["rows"], done);

    let rest = doubling().sink("path = \"rest\"").checkpoint("path = \"checkpoint-rest\"");
    workdir.pipeline_at("rest.toml", &rest);
    workdir.said(&["checkpoint", "import", "rest.toml", "exported"], 0);
    workdir.said(&["run", "-q", "rest.toml"], 0);
    let mut all = workdir.output("rest");
    for file in listed["files"].as_array().unwrap() {
        for batch in crate::support::read_parquet(&workdir.path("out").join(file["path"].as_str().unwrap())) {
            write_parquet(&workdir.path("one.parquet"), &batch, 100);
            std::fs::create_dir_all(workdir.path("one")).unwrap();
            std::fs::rename(workdir.path("one.parquet"), workdir.path("one/one.parquet")).unwrap();
            for (row, count) in workdir.output("one") {
                *all.entry(row).or_default() += count;
            }
        }
    }
    assert_eq!(all, doubled((40..100).filter(|n| ![70, 95].contains(n))));
}

/// A list of ids, what is wrong with it, and what is said.
fn refuse(write: impl FnOnce(&Path), args: &[&str], expected: Expect) {
    let workdir = begun_elsewhere();
    write(&workdir.path(""));
    let args = [&["checkpoint", "import", "pipeline.toml"], args].concat();
    expected.assert_eq(&workdir.said(&args, 2));
    assert!(workdir.snapshot("checkpoint").is_empty(), "{:?}", workdir.snapshot("checkpoint").keys());
}

fn refuse_text(name: &str, text: &str, expected: Expect) {
    refuse(|folder| std::fs::write(folder.join(name), text).unwrap(), &[name], expected);
}

#[test]
fn rows_without_an_id_are_refused_with_their_place() {
    let nulls: ArrayRef = Arc::new(StringArray::from(vec![Some("a"), Some("b"), None]));
    let batch = RecordBatch::try_from_iter_with_nullable([("id", nulls, true)]).unwrap();
    refuse(
        |folder| write_parquet(&folder.join("done/3.parquet"), &batch, 2),
        &["done"],
        expect![[r#"
            error: done/3.parquet, row 2: `id` is null, which is no id
              hint: nothing was imported; take the row out, or give it an id
        "#]],
    );
    refuse_text(
        "x.jsonl",
        "{\"id\": \"a\"}\n\n{\"id\": null}\n",
        expect![[r#"
        error: x.jsonl, line 3: `id` is null, which is no id
          hint: nothing was imported; take the row out, or give it an id
    "#]],
    );
    refuse_text(
        "x.jsonl",
        "{\"id\": \"a\"}\n{\"ID\": \"b\"}\n",
        expect![[r#"
            error: x.jsonl, line 2: there is no `id`
              hint: nothing was imported; repair the file, or take the line out
        "#]],
    );
    refuse_text(
        "x.csv",
        "n,id\n1,a\n2,\n",
        expect![[r#"
        error: x.csv, line 3: `id` is empty, which may be an empty text or no id at all
          hint: nothing was imported; take the row out, or use .jsonl or .parquet, which can tell
    "#]],
    );
}

#[test]
fn lists_that_do_not_fit_the_job_are_refused() {
    let numbers = |name: &'static str| {
        let ids: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        let batch = RecordBatch::try_from_iter([(name, ids)]).unwrap();
        move |folder: &Path| write_parquet(&folder.join("x.parquet"), &batch, 2)
    };
    refuse(
        numbers("id"),
        &["x.parquet"],
        expect![[r#"
        error: x.parquet: column `id` is Int64, the job reads it as Utf8
          hint: nothing was imported; name the columns with --column, and files whose types fit
    "#]],
    );
    refuse(
        numbers("n"),
        &["x.parquet"],
        expect![[r#"
        error: x.parquet: there is no column `id`, by which rows are known
          hint: nothing was imported; name the columns with --column, and files whose types fit
    "#]],
    );
    refuse_text(
        "x.csv",
        "n,key\n1,a\n",
        expect![[r#"
        error: x.csv: there is no column `id`; its first line has: n, key
          hint: nothing was imported; the first line must name the columns: put it there if it is missing, or say with --column how the id columns are called
    "#]],
    );
    refuse_text(
        "x.csv",
        "id,id\n1,a\n",
        expect![[r#"
        error: x.csv: several columns have the name `id`
          hint: nothing was imported; give each column a name of its own
    "#]],
    );
    refuse_text(
        "x.csv",
        "id,n\na,1\nb\n",
        expect![[r#"
            error: x.csv, line 3: it has 1 cells, the first line has 2
              hint: nothing was imported; repair the file, or take the line out
        "#]],
    );
    refuse_text(
        "x.jsonl",
        "{\"id\": 1}\n",
        expect![[r#"
        error: x.jsonl, line 1: `id` is 1, the job has it as Utf8
          hint: nothing was imported; give ids of other types, and numbers beyond 64 bits, as strings
    "#]],
    );
    refuse_text(
        "x.jsonl",
        "[1]\n",
        expect![[r#"
            error: x.jsonl, line 1: it is no JSON object: invalid type: sequence, expected a map at line 1 column 0
              hint: nothing was imported; repair the file, or take the line out
        "#]],
    );
}

#[test]
fn what_is_no_list_of_ids_is_refused() {
    refuse_text(
        "x.txt",
        "a\n",
        expect![[r#"
        error: x.txt is of no format that ids are read from
          hint: name files that end in .parquet, .csv, .jsonl or .ndjson
    "#]],
    );
    refuse(
        |_| (),
        &["done", "--column", "a", "--column", "b"],
        expect![[r#"
        error: 2 times --column, but the job has 1 id column(s): id
          hint: give --column once for each id column, in this order; or leave it out if the names are the same
    "#]],
    );
    refuse(
        |_| (),
        &["nothing"],
        expect![[r#"
        error: cannot read /nothing: No such file or directory (os error 2)
          hint: name a file, a folder or a glob that is there
    "#]],
    );
    refuse(
        |folder| std::fs::create_dir(folder.join("empty")).unwrap(),
        &["empty"],
        expect![[r#"
        error: empty has no file with ids
          hint: name a folder of .parquet files, a file that ends in .parquet, .csv or .jsonl, or a glob of such
    "#]],
    );
    refuse(
        |folder| std::fs::write(folder.join("x.csv"), "id\na\n").unwrap(),
        &["--from-output", "x.csv"],
        expect![[r#"
            error: x.csv is no Parquet file
              hint: name the folder of the output; ids of other files are imported without --from-output
        "#]],
    );
    refuse(
        |folder| std::fs::write(folder.join("x.parquet"), include_bytes!("support/brotli.parquet")).unwrap(),
        &["x.parquet"],
        expect![[r#"
            error: x.parquet: column `id` is compressed with Brotli, which is not read here
              hint: nothing was imported; write the file anew with zstd, Snappy, LZ4, gzip or no compression
        "#]],
    );
    refuse(
        |folder| std::fs::write(folder.join("x.parquet"), "PAR1 and more PAR1").unwrap(),
        &["x.parquet"],
        expect![[r#"
            error: x.parquet: it begins as a Parquet file, but its end, the footer, is not whole
              hint: nothing was imported; the writer did not finish it, or a copy ended early: write or copy it again, or name the other files
        "#]],
    );
}

#[test]
fn an_import_that_was_done_is_said_to_be_and_one_of_nothing_too() {
    let workdir = begun_elsewhere();
    std::fs::write(workdir.path("none.csv"), "id\n").unwrap();
    let said = workdir.said(&["checkpoint", "import", "pipeline.toml", "none.csv"], 0);
    assert!(said.contains("there was no id: every row will be run"), "{said}");

    let workdir = begun_elsewhere();
    workdir.said(&["checkpoint", "import", "pipeline.toml", "done"], 0);
    let again = workdir.said(&["checkpoint", "import", "pipeline.toml", "done"], 2);
    let (what, hint) = again.split_once("\n  hint: ").unwrap();
    assert!(what.ends_with(" already, which began with an import"), "{again}");
    assert!(hint.starts_with("go on with `wasmpipe run pipeline.toml`; for another import"), "{again}");
}

#[test]
fn numbers_that_would_lose_something_are_refused() {
    let refuse = |name: &str, text: &str, expected: Expect| {
        let workdir = begun_elsewhere();
        workdir.pipeline(&doubling().source("id = \"n\""));
        std::fs::write(workdir.path(name), text).unwrap();
        expected.assert_eq(&workdir.said(&["checkpoint", "import", "pipeline.toml", name], 2));
        assert!(workdir.snapshot("checkpoint").is_empty());
    };
    refuse(
        "x.csv",
        "n\n1\n2.0\n",
        expect![[r#"
        error: x.csv, line 3: `n` is `2.0`, the job has it as Int64
          hint: nothing was imported; such ids are whole numbers in the range of the type, spelt as `-12`
    "#]],
    );
    refuse(
        "x.jsonl",
        "{\"n\": 1}\n{\"n\": 9223372036854775808}\n",
        expect![[r#"
        error: x.jsonl, line 2: `n` is `9223372036854775808`, the job has it as Int64
          hint: nothing was imported; such ids are whole numbers in the range of the type, spelt as `-12`
    "#]],
    );
    refuse(
        "x.jsonl",
        "{\"n\": 1}\n{\"n\": 2.0}\n",
        expect![[r#"
        error: x.jsonl, line 2: `n` is 2.0, the job has it as Int64
          hint: nothing was imported; give ids of other types, and numbers beyond 64 bits, as strings
    "#]],
    );
}

#[test]
fn ids_of_ray_data_whose_output_is_open_are_refused() {
    let name = "done/0a1b_000003.pending.parquet";
    refuse(
        |folder| write_parquet(&folder.join(name), &ids([50]), 2),
        &["done"],
        expect![[r#"
        error: done has 0a1b_000003.pending.parquet: the output of its rows was not finished, or not acknowledged
          hint: move output files whose names begin with `0a1b_000003` elsewhere, then the pending file, so that its rows are run here; so for each of them, then import again
    "#]],
    );
}

#[test]
fn ids_are_imported_only_into_a_job_that_has_ids_and_has_not_begun() {
    let workdir = begun_elsewhere();
    workdir.run().finished();
    let before = workdir.snapshot("checkpoint");
    let refused = workdir.said(&["checkpoint", "import", "pipeline.toml", "done"], 2);
    assert!(refused.contains("what is done is imported before a job begins\n  hint: name another folder"), "{refused}");
    assert_eq!(workdir.snapshot("checkpoint"), before);

    let workdir = begun_elsewhere();
    workdir.pipeline(&doubling().by_position());
    let refused = workdir.said(&["checkpoint", "import", "pipeline.toml", "done"], 2);
    expect![[r#"
        error: rows of pipeline.toml are known by position, so imported ids say nothing about them
          hint: name the id columns with `id` under [source]; or import whole objects with --objects or --existing-shards
    "#]]
    .assert_eq(&refused);
    workdir.run().finished();
    let refused = workdir.said(&["checkpoint", "export", "checkpoint", "--to", "exported"], 2);
    expect![[r#"
        error: the rows of this job are known by position: there are no ids to export
          hint: name id columns with `id` under [source] of a new job
    "#]]
    .assert_eq(&refused);

    let workdir = begun_elsewhere();
    workdir.pipeline(&doubling().without_checkpoint());
    let refused = workdir.said(&["checkpoint", "import", "pipeline.toml", "done"], 2);
    assert!(refused.contains("there is no [checkpoint] in"), "{refused}");
}

#[test]
fn ids_are_exported_only_into_a_folder_that_holds_nothing() {
    let workdir = begun_elsewhere();
    workdir.run().finished();
    let refused = workdir.said(&["checkpoint", "export", "checkpoint", "--to", "done"], 2);
    expect![[r#"
        error: file:///done holds 1.parquet already
          hint: name a folder that is empty or not there
    "#]]
    .assert_eq(&refused);
    let refused = workdir.said(&["checkpoint", "export", "out", "--to", "exported"], 2);
    expect![[r#"
        error: out is no checkpoint
          hint: name the folder that `path` under [checkpoint] names
    "#]]
    .assert_eq(&refused);
    assert!(!workdir.path("exported").exists());
}

/// Whole objects that were done: of a job that knows rows by position, and has several lanes.
fn with_object_done() -> Workdir {
    let workdir = Workdir::quick();
    workdir.numbers("a.parquet", 0..60, 30);
    workdir.numbers("b.parquet", 60..100, 30);
    workdir.numbers("c-empty.parquet", 0..0, 30);
    let pipeline = doubling().by_position().checkpoint("lanes = 3").run("workers = 1\nreaders = 1");
    workdir.pipeline(&pipeline);
    std::fs::write(workdir.path("done.txt"), "a.parquet\n\nc-empty.parquet\n").unwrap();
    let import = ["checkpoint", "import", "pipeline.toml", "--objects", "done.txt", "--json"];
    assert_eq!(workdir.json(&import, 0)["objects_done"], 2);
    workdir
}

#[test]
fn objects_that_are_done_elsewhere_are_known_and_the_others_are_run() {
    killed_at_every_step(with_object_done, |workdir, _, stop| {
        assert_eq!(workdir.output("out"), doubled(60..100), "{stop:?}");
        let inspect = workdir.inspect();
        assert_eq!((&inspect["rows_known"], &inspect["rows_done"]), (&60.into(), &40.into()), "{stop:?}");
        assert_eq!(workdir.run().finished().run, None, "there is nothing left to do");
    });
}

#[test]
fn what_is_given_up_of_an_object_that_was_done_elsewhere_is_known_again() {
    let workdir = with_object_done();
    workdir.run().finished();
    let segment = |file: &Path| std::fs::read_to_string(file).is_ok_and(|text| text.contains("\"rows_known\": 60"));
    let file = workdir.files("checkpoint/lane").into_iter().find(|file| segment(file)).unwrap();
    let text = std::fs::read_to_string(&file).unwrap();
    std::fs::write(&file, text.replace("\"rows_known\": 60", "\"rows_known\": 61")).unwrap();
    workdir.said(&["checkpoint", "verify", "pipeline.toml", "--repair"], 0);
    workdir.run().finished();
    assert_eq!(workdir.output("out"), doubled(60..100));
}

#[test]
fn objects_with_a_whole_output_are_known() {
    let workdir = Workdir::new();
    for (name, numbers) in [("a", 0..60), ("b", 60..100), ("c", 100..110), ("d", 110..115), ("e", 115..120)] {
        workdir.numbers(&format!("{name}.parquet"), numbers, 30);
    }
    workdir.pipeline(&doubling().by_position());
    std::fs::create_dir_all(workdir.path("old/d")).unwrap();
    write_parquet(&workdir.path("old/a.parquet"), &number_batch(0..60), 7);
    // One row less: somebody was killed there.
    write_parquet(&workdir.path("old/b.parquet"), &number_batch(60..99), 7);
    std::fs::write(workdir.path("old/c.jsonl"), "").unwrap();
    std::fs::write(workdir.path("old/c.jsonl.done"), "").unwrap();
    std::fs::write(workdir.path("old/d/_SUCCESS"), "").unwrap();
    std::fs::write(workdir.path("old/e.jsonl"), "").unwrap();
    let begun = workdir.json(&["checkpoint", "import", "pipeline.toml", "--existing-shards", "old", "--json"], 0);
    assert_eq!((&begun["objects_done"], &begun["objects"]), (&3.into(), &5.into()));
    workdir.run().finished();
    assert_eq!(workdir.output("out"), doubled((60..100).chain(115..120)));
}

/// A job that knows rows by their ids takes those of the objects, so that they are known wherever they stand.
#[test]
fn ids_of_objects_that_are_done_are_known_in_other_objects() {
    let workdir = Workdir::new();
    workdir.numbers("a.parquet", 0..60, 30);
    workdir.numbers("b.parquet", 40..100, 30);
    workdir.pipeline(&doubling());
    std::fs::write(workdir.path("done.txt"), "a.parquet\n").unwrap();
    let import = ["checkpoint", "import", "pipeline.toml", "--objects", "done.txt"];
    expect![[r#"
        with 60 ids from 1 file; rows that have one of them will be known, not run
        go on with `wasmpipe run pipeline.toml`
    "#]]
    .assert_eq(workdir.said(&import, 0).split_once(" begun ").unwrap().1);
    workdir.run().finished();
    assert_eq!(workdir.output("out"), doubled(60..100));
    let again = workdir.said(&import, 2);
    assert!(again.contains("which began with an import"), "{again}");
}

#[test]
fn lists_of_objects_are_refused_by_name() {
    let workdir = begun_elsewhere();
    std::fs::write(workdir.path("done.txt"), "a.parquet\nz.parquet\n").unwrap();
    let import = |list: &str| workdir.said(&["checkpoint", "import", "pipeline.toml", "--objects", list], 2);
    expect![[r#"
        error: the list names 1 object(s) that the source does not have: `z.parquet`
          hint: nothing was imported; name objects relative to file:///in
    "#]]
    .assert_eq(&import("done.txt"));
    expect![[r#"
        error: nowhere.txt cannot be read: No such file or directory (os error 2)
          hint: name a text file with the name of an object on each line, relative to the source
    "#]]
    .assert_eq(&import("nowhere.txt"));
    assert!(!workdir.path("checkpoint").exists() || workdir.snapshot("checkpoint").is_empty());
}
