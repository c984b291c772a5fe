//! Jobs that earlier builds began. Every build reads them as they were read then, and finishes them.
//!
//! A new format gets a folder of its own, made once by the first build that writes it:
//! `cargo xtask test the_newest_format_is_frozen --ignored`.

use std::path::{Path, PathBuf};

use serde_json::json;
use wasmpipe::commit::{FORMAT, FORMAT_1};

use crate::support::everything::{self, Size};
use crate::support::{Multiset, Said, Workdir, once, read_files};

fn frozen(format: u32) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../tests/frozen/format-{format}"))
}

/// A job as it was frozen, in a folder where it has not been before.
pub fn workdir_of(format: u32) -> Workdir {
    let workdir = Workdir::new();
    copy(&frozen(format), workdir.path("pipeline.toml").parent().unwrap());
    workdir.pipeline(&std::fs::read_to_string(frozen(format).join("pipeline.toml")).unwrap());
    workdir
}

/// Copies a folder with all that is in it.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

#[test]
fn a_checkpoint_of_each_format_says_what_it_said() {
    for format in FORMAT_1..=FORMAT {
        assert!(frozen(format).exists(), "format {format} has no frozen job; see the top of this file");
        let workdir = workdir_of(format);
        let said = serde_json::from_slice(&std::fs::read(workdir.path("inspect.json")).unwrap());
        let (said, now): (serde_json::Value, _) = (said.unwrap(), workdir.inspect());
        // Later builds may say more.
        for (key, value) in said.as_object().unwrap() {
            assert_eq!(&now[key], value, "format {format}: {key}");
        }
    }
}

#[test]
fn a_job_of_format_1_is_moved_and_finished() {
    let workdir = workdir_of(FORMAT_1);
    let refused = workdir.run();
    assert!(refused.refused().contains("--relocate"), "{}", refused.error());
    let said = || Said { relocate: true, accept_change: true, ..Said::default() };
    let ran = workdir.run_as(said());
    let summary = ran.finished();
    assert_eq!((summary.rows_known, summary.rows_dead_lettered_in_all), (KNOWN, 2));
    assert_eq!(summary.job_finished, Some(true));
    let rows = (0..55).filter(|n| ![3, 33].contains(n)).map(|n| format!("id-{n}|{n}|{n}|{n}"));
    assert_eq!(workdir.output("out"), once(rows));
    assert_eq!(workdir.run_as(said()).finished().run, None);
}

/// Nothing proves an entry of format 1, but a file's name says whose it is, and no two groups have one.
#[test]
fn i2_a_file_that_another_group_has_is_named_in_format_1() {
    for (from, to) in [("-000001.parquet", "-000000.parquet"), ("-1-", "-0-"), ("-417e", "-417f")] {
        let workdir = workdir_of(FORMAT_1);
        let lane = workdir.files("checkpoint/lane/1");
        let names = |path: &&PathBuf| std::fs::read_to_string(path).unwrap().contains("-000001.parquet");
        let entry = lane.iter().find(names).unwrap();
        let text = std::fs::read_to_string(entry).unwrap();
        let files = text.find("\"files\"").unwrap();
        std::fs::write(entry, format!("{}{}", &text[..files], text[files..].replacen(from, to, 1))).unwrap();
        let refused = workdir.run_as(Said { relocate: true, accept_change: true, ..Said::default() });
        assert!(refused.error().contains("is damaged: it names 0eed68c8f11e090d-"), "{from}: {}", refused.error());
        workdir.said(&["checkpoint", "verify", "--repair", "pipeline.toml"], 0);
        let ran = workdir.run_as(Said { relocate: true, accept_change: true, ..Said::default() });
        ran.finished();
        let rows = (0..55).filter(|n| ![3, 33].contains(n)).map(|n| format!("id-{n}|{n}|{n}|{n}"));
        assert_eq!(counting(&workdir), once(rows), "{from}");
    }
}

/// Rows of the repacked object whose ids were done.
const KNOWN: u64 = 5;

/// Every entry proves itself, every file is what the log says, each row is there once; by what people type.
#[test]
fn a_job_of_format_2_is_verified_moved_and_finished() {
    let workdir = workdir_of(2);
    assert_verified(&workdir);
    let refused = workdir.said(&["run", "pipeline.toml"], REFUSED);
    assert!(refused.contains("--relocate"), "{refused}");
    let moved = ["run", "--relocate", "--accept-change", "pipeline.toml"];
    workdir.said(&moved, FINISHED_WITH_FAILED_ROWS);
    assert_verified(&workdir);
    assert!(counting(&workdir) == everything::output(Size::Full), "rows are lost or doubled");
    let before = workdir.snapshot("out");
    workdir.said(&["run", "pipeline.toml"], FINISHED_WITH_FAILED_ROWS);
    assert!(workdir.snapshot("out") == before, "a finished job wrote");
}

/// The rows of files that count. What runs before a move left is never removed after it.
fn counting(workdir: &Workdir) -> Multiset {
    let listed = workdir.json(&["output", "list", "pipeline.toml", "--json"], 0);
    let names = listed["files"].as_array().unwrap().iter().map(|file| file["path"].as_str().unwrap());
    read_files(&workdir.path("out"), names)
}

const REFUSED: i32 = 2;
const FINISHED_WITH_FAILED_ROWS: i32 = 3;

/// Nothing is wrong, and every file has a digest.
#[track_caller]
fn assert_verified(workdir: &Workdir) {
    let verified = workdir.json(&["checkpoint", "verify", "pipeline.toml", "--json"], 0);
    assert!(["findings", "beyond_repair"].iter().all(|found| verified[found] == json!([])), "{verified}");
    let output = workdir.json(&["output", "verify", "pipeline.toml", "--data", "--json"], 0);
    let files = output["files"].as_u64().unwrap() + output["data"]["dead_letter_files"].as_u64().unwrap();
    assert_eq!(output["data"]["files_compared"], files, "{output}");
}

/// What decides about rows, and signs of life of a run that is over. Of what runs leave for people nothing is read.
const KEPT: [&str; 7] =
    ["in", "out", "checkpoint/root", "checkpoint/lane", "checkpoint/side", "checkpoint/heartbeat", "checkpoint/stop"];

#[test]
#[ignore = "it writes into the tree, once for each format"]
fn the_newest_format_is_frozen() {
    let folder = frozen(FORMAT);
    assert!(!folder.exists(), "{} is there, and what is frozen is never changed", folder.display());
    let place = everything::make_in(Workdir::named("job"), Size::Full);
    let workdir = place.workdir();
    KEPT.iter().for_each(|name| copy(&workdir.path(name), &folder.join(name)));
    let inspect = serde_json::to_vec_pretty(&workdir.inspect()).unwrap();
    std::fs::write(folder.join("inspect.json"), inspect).unwrap();
    std::fs::write(folder.join("pipeline.toml"), everything::last_pipeline().to_string()).unwrap();
    println!("made {}; a README that says what is in it is yours to write", folder.display());
}
