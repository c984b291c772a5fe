//! Which sink files count, and whether they are what the log says.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use expect_test::expect;
use serde_json::Value;
use wasmpipe::commit::{Depth, FORMAT_1, GroupState, check_output};
use wasmpipe::sink::OutputKind;
use wasmpipe::store::{Unwatched, Watch};

use crate::support::Workdir;
use crate::support::pipeline::{doubling, pipeline};
use crate::support::place::wait;
use crate::support::random::Random;
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
    let manifest =
        std::fs::read(workdir.path(&format!("out/_wasmpipe/{}.json", list["job"].as_str().unwrap()))).unwrap();
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
        // Groups are committed in any order.
        text = text.replace(&format!("entry {}: ", index + 1), "entry N: ");
    }
    text = text.replace(&format!("{} bytes instead of {}", size - 1, size), "SIZE-1 bytes instead of SIZE");
    let text: Vec<&str> =
        text.lines().filter(|line| !line.starts_with("named") && !line.starts_with("right")).collect();
    expect![[r#"
        sink      file:///out
        wrong     lane 0 entry N: file-0: it is missing
        wrong     lane 0 entry N: file-1: it has SIZE-1 bytes instead of SIZE
        wrong     lane 0 entry N: file-2: it cannot be read: it begins as a Parquet file, but its end, the footer, is not whole
        error: 3 files of the output are not what the log says
          hint: put them back from a copy; or move them away, run `wasmpipe checkpoint verify --repair /checkpoint`, then run the job: it redoes their rows"#]].assert_eq(&text.join("\n"));
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

/// With output and dead letters, in two lanes.
fn with_letters() -> Workdir {
    let stage = "hostile.errors_on\nconfig = { at = [3, 27] }\non_error = \"dead-letter\"";
    let job = pipeline(&[stage]).checkpoint("lanes = 2\ngroup_rows_max = 10").run("workers = 1");
    let workdir =
        Workdir::with(&job, &[("a.parquet", 0..20, 20), ("b.parquet", 20..40, 20), ("c.parquet", 40..50, 20)]);
    workdir.run().finished();
    workdir
}

fn flip(path: &Path, bit: u64) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[(bit / 8) as usize] ^= 1 << (bit % 8);
    std::fs::write(path, bytes).unwrap();
}

fn wrong(verdict: &Value) -> BTreeSet<String> {
    paths(&verdict["wrong"]).into_iter().collect()
}

#[test]
fn i4_a_flipped_bit_of_a_sink_file_or_a_dead_letter_is_named_where_the_data_is_read() {
    let workdir = with_letters();
    let right = workdir.json(&["output", "verify", "checkpoint", "--data", "--json"], 0);
    let (files, letters) = (right["files"].as_u64().unwrap(), right["data"]["dead_letter_files"].as_u64().unwrap());
    assert_eq!(
        (&right["data"]["files_compared"], &right["data"]["files_without_digest"]),
        (&(files + letters).into(), &0.into())
    );
    let view = workdir.view();
    let both = |group: &GroupState| {
        let first = |kind| group.files_of(kind).next().map(|file| file.path.clone());
        OutputKind::ALL.into_iter().map(first).collect::<Option<Vec<String>>>()
    };
    let mut groups = view.lanes.iter().flat_map(|lane| lane.state.groups.iter().map(move |group| (lane, group)));
    let found = groups.find_map(|(lane, (number, group))| Some((lane, number, both(group)?)));
    let (lane, number, named) = found.expect("a group with results and dead letters");
    // In the first page, which no footer knows.
    named.iter().for_each(|path| flip(&workdir.path("out").join(path), 8 * 30));
    let unread = workdir.json(&["output", "verify", "checkpoint", "--json"], 0);
    assert_eq!((wrong(&unread), &unread["data"]), (BTreeSet::new(), &Value::Null), "the footers are sound");
    let read = workdir.json(&["output", "verify", "checkpoint", "--data", "--json"], 1);
    assert_eq!(wrong(&read), named.iter().cloned().collect());
    for found in read["wrong"].as_array().unwrap() {
        assert_eq!((&found["lane"], &found["number"]), (&lane.lane.into(), &(*number).into()));
    }
    let text = workdir.said(&["output", "verify", "checkpoint", "--data"], 1);
    for path in &named {
        let line =
            format!("wrong     lane {} entry {number}: {path}: its bytes are not those that were written", lane.lane);
        assert!(text.contains(&line), "{text}");
    }
    // What it says leads to a whole output.
    let rows = view.results().map(|file| file.rows).sum::<u64>();
    named.iter().for_each(|path| std::fs::remove_file(workdir.path("out").join(path)).unwrap());
    workdir.said(&["checkpoint", "verify", "--repair", "checkpoint"], 0);
    workdir.run().finished();
    let mended = workdir.json(&["output", "verify", "checkpoint", "--data", "--json"], 0);
    assert_eq!(mended["rows"], rows);
}

#[test]
fn i4_whichever_bit_of_a_file_is_flipped() {
    let workdir = with_letters();
    let (view, mut random) = (workdir.view(), Random::of("sink files"));
    let watch: Arc<dyn Watch> = Arc::new(Unwatched);
    let sink = workdir.store("sink", "out", &watch);
    for file in view.files() {
        let path = workdir.path("out").join(&file.path);
        for _ in 0..40 {
            let bit = random.below(file.bytes * 8);
            flip(&path, bit);
            let check = wait(check_output(&view, &sink, Depth::Data)).unwrap();
            let wrong: Vec<&str> = check.wrong.iter().map(|wrong| wrong.path.as_str()).collect();
            assert_eq!(wrong, [file.path.as_str()], "bit {bit}");
            flip(&path, bit);
        }
    }
}

#[test]
fn files_of_a_job_whose_log_names_no_digests_are_counted() {
    let workdir = crate::frozen::workdir_of(FORMAT_1);
    let verdict = workdir.json(&["output", "verify", "pipeline.toml", "--data", "--json"], 0);
    let letters = verdict["data"]["dead_letter_files"].as_u64().unwrap();
    let all = verdict["files"].as_u64().unwrap() + letters;
    assert!(letters > 0 && all > letters, "{verdict}");
    assert_eq!(
        (&verdict["data"]["files_without_digest"], &verdict["data"]["files_compared"]),
        (&all.into(), &0.into())
    );
    let text = workdir.said(&["output", "verify", "pipeline.toml", "--data"], 0);
    assert!(text.contains(&format!("without   {all} files have no digest in the log")), "{text}");
}
