//! Which sink files count, and whether they are what the log says.

use std::sync::Arc;

use expect_test::expect;
use serde_json::Value;

use crate::support::Workdir;
use crate::support::pipeline::doubling;
use crate::support::seam::{Crash, Stop};

fn workdir() -> Workdir {
    Workdir::with(&doubling().run("workers = 1"), &[("a.parquet", 0..50, 50)])
}

fn paths(files: &Value) -> Vec<String> {
    let mut paths: Vec<String> =
        files.as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap().to_string()).collect();
    paths.sort();
    paths
}

#[test]
fn the_list_is_what_the_log_names_at_every_moment() {
    let workdir = workdir();
    let text = workdir.said(&["output", "list", "pipeline.toml"], 2);
    expect![[r#"
        error: /checkpoint is no checkpoint: the job of pipeline.toml has not begun
          hint: run it first
    "#]]
    .assert_eq(&text);
    workdir.run_with(&Arc::new(Crash::at(Stop::Committed(2))), false);
    let folder = workdir.json(&["output", "list", "checkpoint", "--json"], 0);
    assert_eq!(folder, workdir.json(&["output", "list", "pipeline.toml", "--json"], 0));
    assert_eq!(paths(&folder["files"]), paths(&workdir.inspect()["files"]));
    assert_eq!(folder["rows"], workdir.inspect()["rows_done"]);
    workdir.run().finished();
    let list = workdir.json(&["output", "list", "checkpoint", "--json"], 0);
    let manifest = workdir.snapshot("out/_wasmpipe").into_values().next().unwrap();
    let manifest: Value = serde_json::from_slice(&manifest).unwrap();
    assert_eq!((&list["files"], &list["rows"], &list["job"]), (&manifest["files"], &50.into(), &manifest["job"]));
    let text = workdir.wasmpipe(&["output", "list", "checkpoint"]);
    let text = String::from_utf8(text.stdout).unwrap();
    let first: Vec<&str> = text.lines().nth(1).unwrap().split_whitespace().collect();
    let file = &list["files"][0];
    assert_eq!(first, [file["path"].as_str().unwrap(), &file["rows"].to_string(), &file["bytes"].to_string()]);
    assert_eq!(text.lines().count(), 1 + list["files"].as_array().unwrap().len());
}

#[test]
fn k8_an_output_that_was_altered_is_found_and_named() {
    let workdir = workdir();
    workdir.run().finished();
    let list = paths(&workdir.json(&["output", "list", "checkpoint", "--json"], 0)["files"]);
    let right = workdir.json(&["output", "verify", "checkpoint", "--json"], 0);
    assert_eq!(
        (&right["files"], &right["wrong"], &right["orphans"]),
        (&list.len().into(), &Value::Array(vec![]), &Value::Array(vec![]))
    );
    assert!(list.len() >= 4, "{list:?}");
    let path = |index: usize| workdir.path("out").join(&list[index]);
    std::fs::remove_file(path(0)).unwrap();
    let bytes = std::fs::read(path(1)).unwrap();
    let size = bytes.len();
    std::fs::write(path(1), &bytes[..size - 1]).unwrap();
    let mut bytes = std::fs::read(path(2)).unwrap();
    let end = bytes.len();
    bytes[end - 4..].copy_from_slice(b"QAR1");
    std::fs::write(path(2), bytes).unwrap();
    let before = (workdir.snapshot("out"), workdir.snapshot("checkpoint"));
    let wrong = workdir.json(&["output", "verify", "checkpoint", "--json"], 1);
    assert_eq!(paths(&wrong["wrong"]), list[..3]);
    let mut text = workdir.said(&["output", "verify", "pipeline.toml"], 1);
    for (index, name) in list.iter().enumerate() {
        text = text.replace(name, &format!("file-{index}"));
    }
    text = text.replace(&format!("{} bytes instead of {}", size - 1, size), "SIZE-1 bytes instead of SIZE");
    let text: Vec<&str> =
        text.lines().filter(|line| !line.starts_with("named") && !line.starts_with("right")).collect();
    expect![[r#"
        sink      file:///out
        wrong     file-0: it is missing
        wrong     file-1: it has SIZE-1 bytes instead of SIZE
        wrong     file-2: it cannot be read: it begins as a Parquet file, but its end, the footer, is not whole
        error: 3 files of the output are not what the log says
          hint: put them back from a copy; or run `wasmpipe checkpoint verify --repair /checkpoint`, then run the job: it redoes their rows"#]].assert_eq(&text.join("\n"));
    assert_eq!((workdir.snapshot("out"), workdir.snapshot("checkpoint")), before, "looking changes nothing");
}

#[test]
fn files_that_the_log_does_not_name_are_listed_and_no_error() {
    let workdir = workdir();
    workdir.run().finished();
    let list = paths(&workdir.json(&["output", "list", "checkpoint", "--json"], 0)["files"]);
    let orphan = list[0].replace("-000", "-999");
    std::fs::copy(workdir.path("out").join(&list[0]), workdir.path("out").join(&orphan)).unwrap();
    std::fs::write(workdir.path("out/notes.parquet"), "of somebody else").unwrap();
    let verdict = workdir.json(&["output", "verify", "checkpoint", "--json"], 0);
    assert_eq!((paths(&verdict["orphans"]), &verdict["wrong"]), (vec![orphan], &Value::Array(vec![])));
}
