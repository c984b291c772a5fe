//! Names and folders as people have them: what is read is what is meant, what cannot be read is refused by name, and what lies
//! beside it is said.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use arrow::array::RecordBatch;
use expect_test::{Expect, expect};
use wasmpipe::store::Unwatched;

use crate::support::s3::OnS3;
use crate::support::{Workdir, assert_mentions, number_batch, read_folder, run, write_parquet};

/// A copy of what a path of the pipeline file names.
fn copy(path: &str) -> String {
    format!("[source]\npath = {path:?}\n\n[sink]\npath = \"out\"\n\n[checkpoint]\npath = \"checkpoint\"\n")
}

fn put(path: &Path, numbers: &[i64]) {
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    write_parquet(path, &number_batch(numbers.iter().copied()), 10);
}

/// The numbers that a job in a folder has written.
fn numbers(folder: &Path) -> Vec<i64> {
    let rows = read_folder(&folder.join("out")).into_iter();
    let mut numbers: Vec<i64> =
        rows.flat_map(|(row, count)| vec![row.rsplit('|').next().unwrap().parse().unwrap(); count as usize]).collect();
    numbers.sort_unstable();
    numbers
}

/// Files of a source, each with one row, which is its place among them.
fn source(files: &[&str]) -> Workdir {
    let workdir = Workdir::new();
    for (file, number) in files.iter().zip(0..) {
        match file.ends_with(".parquet") {
            true => put(&workdir.path(file), &[number]),
            false => {
                std::fs::create_dir_all(workdir.path(file).parent().unwrap()).unwrap();
                std::fs::write(workdir.path(file), if file.ends_with('_') { "" } else { "x" }).unwrap();
            }
        }
    }
    workdir
}

/// What `plan` says beside the plan: notes, or why there is none.
fn told(workdir: &Workdir, path: &str) -> (Option<i32>, String) {
    workdir.pipeline(&copy(path));
    let output = workdir.wasmpipe(&["plan", "pipeline.toml"]);
    let said = String::from_utf8(output.stderr).unwrap();
    let folder = workdir.path("").canonicalize().unwrap();
    (output.status.code(), said.replace(folder.to_str().unwrap(), "/job"))
}

#[test]
fn e3_glob_letters_in_the_jobs_own_folder_are_letters() {
    let folders =
        [("exp[1]", "exp1"), ("exp?", "expx"), ("exp*", "expand"), ("exp{a,b}", "expa"), (r"exp\[1]", "exp[1]")];
    for (own, other) in folders {
        for absolute in [false, true] {
            let workdir = Workdir::new();
            let folder = workdir.path(own);
            put(&folder.join("in/a.parquet"), &[1]);
            put(&workdir.path(other).join("in/a.parquet"), &[2]);
            let prefix = if absolute { format!("{}/", folder.display()) } else { String::new() };
            let component = "\n[[stage]]\ncomponent = \"hostile.wasm\"\nfunction = \"double\"\n";
            symlink(crate::support::guests().join("hostile.wasm"), folder.join("hostile.wasm")).unwrap();
            let pipeline = format!("{}{component}", copy(&format!("{prefix}in/*.parquet")));
            let pipeline = workdir.pipeline_at(&format!("{own}/pipeline.toml"), &pipeline);
            run(&pipeline, &Arc::new(Unwatched), false).finished();
            assert_eq!(numbers(&folder), [2], "{own}: the double of one");
            assert!(folder.join("checkpoint").is_dir() && !workdir.path(other).join("out").exists(), "{own}");
        }
    }
}

#[test]
fn e3_a_name_that_is_a_pattern_too_is_not_guessed_at() {
    let workdir = source(&["in[1]/a.parquet", "in1/a.parquet", "in2/a.parquet"]);
    let (code, said) = told(&workdir, "in[1]/*.parquet");
    assert_eq!(code, Some(2));
    expect![[r#"
        pipeline.toml:2:8: `in[1]` is a pattern, and also the name of something in /job, which the pattern does not take
             2 | path = "in[1]/*.parquet"
               |        ^^^^^^^^^^^^^^^^^
          hint: for that name write in[[]1]; for the pattern write it in another way

        1 problem in pipeline.toml
    "#]]
    .assert_eq(&said);
    let (_, said) = told(&workdir, "in[1]/");
    assert_mentions(&said, &["for that name write in[[]1]/**/*.parquet"]);
    for (path, taken) in [("in[[]1]/*.parquet", 0), ("in[[]1]/**/*.parquet", 0), ("in[12]/*.parquet", 1)] {
        workdir.pipeline(&copy(path));
        workdir.run().finished();
        assert_eq!(numbers(&workdir.path(""))[..1], [taken], "{path}");
        for folder in ["out", "checkpoint"] {
            std::fs::remove_dir_all(workdir.path(folder)).unwrap();
        }
    }
}

const SPARK: [&str; 9] = [
    "in/_temporary/0/_temporary/attempt_1/p=1/part-0.parquet",
    "in/p=1/part-0.parquet",
    "in/p=2/part-0.parquet",
    "in/.ipynb_checkpoints/part-0.parquet",
    "in/p=1/_hidden.parquet",
    "in/p=1/.part-0.parquet.crc",
    "in/_SUCCESS",
    "in/_metadata",
    "in/_wasmpipe/dead-letters/a.parquet",
];

#[test]
fn e3_wildcards_leave_hidden_names_and_say_so() {
    let seen = "note: in file:///job/in, 3 hidden names are not read: .ipynb_checkpoints/, _temporary/, p=1/_hidden.parquet \
                (names that begin with _ or . are read where a glob spells that letter)\n";
    let rows: [(&str, &[i64], &str); 7] = [
        ("in", &[1, 2], seen),
        ("in/**/*.parquet", &[1, 2], seen),
        ("in/*/*.parquet", &[1, 2], seen),
        ("in/{p=1,p=2}/part-?.parquet", &[1, 2], ""),
        ("in/p=1/**", &[1], "2 hidden names are not read: .part-0.parquet.crc, _hidden.parquet"),
        ("in/p=1/_*.parquet", &[4], ""),
        ("in/_temporary/**/_temporary/**/*.parquet", &[0], ""),
    ];
    let workdir = source(&SPARK);
    for (path, taken, note) in rows {
        let (code, said) = told(&workdir, path);
        assert_eq!(code, Some(0), "{path}: {said}");
        assert!(said.contains(note) && said.contains("note: ") != note.is_empty(), "{path}: {said}");
        workdir.run().finished();
        assert_eq!(numbers(&workdir.path("")), taken, "{path}");
        for folder in ["out", "checkpoint"] {
            std::fs::remove_dir_all(workdir.path(folder)).unwrap();
        }
    }
}

#[test]
fn e3_other_files_of_a_source_are_named() {
    let workdir = source(&[
        "in/a.parquet",
        "in/README.md",
        "in/b.csv",
        "in/c/d.json",
        "in/empty_",
        "in/_SUCCESS",
        "in/e.parquet.gz",
        "in/f.PARQUET.x",
        "in/g.orc",
    ]);
    let note = "note: in file:///job/in, 6 other files are not read: README.md, b.csv, c/d.json, e.parquet.gz, f.PARQUET.x, ...\n";
    assert_eq!(told(&workdir, "in"), (Some(0), note.to_owned()));
    for command in ["check", "run"] {
        let said = workdir.said(&[command, "pipeline.toml"], 0);
        assert!(said.contains(&note.replace("/job", "")), "{command}: {said}");
    }
    assert_eq!(told(&workdir, "in/*.parquet"), (Some(0), String::new()), "who names some does not mean the others");
    put(&workdir.path("in/b.parquet/part-0.parquet"), &[1]);
    let note = "note: in file:///job/in, 1 matching folder is not read: b.parquet/ (a glob takes files; with /** behind it, what \
                lies in folders)\n";
    assert_eq!(told(&workdir, "in/*.parquet"), (Some(0), note.to_owned()));
    assert_eq!(told(&workdir, "in/**/*.parquet"), (Some(0), String::new()));
    let (code, said) = told(&source(&["in/_a.parquet"]), "in/*.parquet");
    assert!(
        code == Some(2) && said.contains("takes no file") && said.contains("1 hidden name is not read: _a.parquet"),
        "{said}"
    );
}

/// A source of `a.parquet` and something odd.
#[expect(clippy::needless_pass_by_value, reason = "an expectation is written where it is used")]
fn odd(make: impl Fn(&Path), refused: Expect) {
    let workdir = source(&["in/a.parquet", "beside/a.parquet"]);
    make(&workdir.path("in"));
    let (code, said) = told(&workdir, "in");
    assert_eq!(code, Some(2), "{said}");
    let said: Vec<&str> = said.lines().filter(|line| !line.starts_with("     ") && !line.is_empty()).collect();
    refused.assert_eq(&said.join("\n"));
    // Its siblings are read, and so is the folder beside it.
    for path in ["in/a*.parquet", "beside", "*/a.parquet"] {
        let (code, said) = told(&workdir, path);
        assert_eq!(code, Some(0), "{path}: {said}");
    }
}

#[test]
fn e3_what_cannot_be_read_is_refused_by_name_and_its_siblings_are_read() {
    odd(
        |folder| put(&folder.join("tab\tx.parquet"), &[7]),
        expect![[r#"
            pipeline.toml:2:8: source object tab\tx.parquet: cannot be read: its path has a control character or an empty part, or is not UTF-8
              hint: rename it; or name the others with a glob that does not match it
            1 problem in pipeline.toml"#]],
    );
    odd(
        |folder| put(&folder.join("new\nline/x.parquet"), &[7]),
        expect![[r#"
            pipeline.toml:2:8: source object new\nline/x.parquet: cannot be read: its path has a control character or an empty part, or is not UTF-8
              hint: rename it; or name the others with a glob that does not match it
            1 problem in pipeline.toml"#]],
    );
    odd(
        |folder| put(&folder.join(OsStr::from_bytes(b"\xff.parquet")), &[7]),
        expect![[r#"
            pipeline.toml:2:8: source object �.parquet: cannot be read: its path has a control character or an empty part, or is not UTF-8
              hint: rename it; or name the others with a glob that does not match it
            1 problem in pipeline.toml"#]],
    );
    odd(
        |folder| symlink("/nowhere/b.parquet", folder.join("b.parquet")).unwrap(),
        expect![[r#"
            pipeline.toml:2:8: source object b.parquet: cannot be read: it is a link to /nowhere/b.parquet, where nothing is
              hint: put its target back, or mend the link; or name the others with a glob that does not match it
            1 problem in pipeline.toml"#]],
    );
    odd(
        |folder| {
            std::fs::create_dir(folder.join("sub")).unwrap();
            symlink("..", folder.join("sub/up")).unwrap();
        },
        expect![[r#"
            pipeline.toml:2:8: source object sub/up: cannot be read: it is a link to .., a folder in which it lies itself
              hint: move the link out of the source, or narrow the path with a glob: what lies there is read without it
            1 problem in pipeline.toml"#]],
    );
    odd(
        |folder| assert!(Command::new("mkfifo").arg(folder.join("b.parquet")).status().unwrap().success()),
        expect![[r#"
            pipeline.toml:2:8: source object b.parquet: cannot be read: it is a pipe, a socket or a device
              hint: name the others with a glob that does not match it
            1 problem in pipeline.toml"#]],
    );
    odd(
        |folder| (0..8).for_each(|n| symlink("away", folder.join(format!("b{n}.parquet"))).unwrap()),
        expect![[r#"
            pipeline.toml:2:8: source object b0.parquet: cannot be read: it is a link to away, where nothing is
              so is b1.parquet: it is a link to away, where nothing is
              so is b2.parquet: it is a link to away, where nothing is
              so is b3.parquet: it is a link to away, where nothing is
              so is b4.parquet: it is a link to away, where nothing is
              so is b5.parquet: it is a link to away, where nothing is
              and 2 more
              hint: put its target back, or mend the link; or name the others with a glob that does not match it
            1 problem in pipeline.toml"#]],
    );
}

/// Whoever runs this may be allowed to read everything, but no path may be longer than the system takes.
#[test]
fn e3_a_folder_that_cannot_be_looked_into_is_refused_by_name() {
    let workdir = source(&["in/a.parquet"]);
    let long = vec!["x".repeat(250); 9].join("/");
    for top in ["in/deep", "other"] {
        std::fs::create_dir_all(workdir.path(top).join(&long)).unwrap();
    }
    let bottom = workdir.path("in/deep").join(&long);
    let moved = Command::new("mv").arg(workdir.path("other")).arg(".").current_dir(bottom).status().unwrap();
    assert!(moved.success());
    let (code, said) = told(&workdir, "in");
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("/other/xxx") && said.contains("cannot be read: File name too long (os error 36)"), "{said}");
    assert!(said.contains("hint: give this user the right to read it; or name the others with a glob"), "{said}");
    assert_eq!(told(&workdir, "in/*.parquet").0, Some(0));
}

#[test]
fn e3_a_broken_link_that_is_no_parquet_file_is_named() {
    let workdir = source(&["in/a.parquet"]);
    symlink("/mnt/other/part2", workdir.path("in/part2")).unwrap();
    let note = "note: in file:///job/in, 1 broken link is not read: part2\n";
    for (path, said) in [("in", note), ("in/**/*.parquet", note), ("in/*.parquet", "")] {
        assert_eq!(told(&workdir, path), (Some(0), said.to_owned()), "{path}");
    }
    symlink("nowhere", workdir.path("alone")).unwrap();
    let (code, said) = told(&workdir, "alone");
    assert!(code == Some(2) && said.contains("alone is a link to nowhere, which cannot be reached"), "{said}");
    assert!(said.contains("hint: mend the link, or name what is there"), "{said}");
}

/// A link that breaks after a job has begun does not make its rows vanish.
#[test]
fn e3_a_link_that_breaks_between_runs_is_refused_and_changes_nothing() {
    let workdir = source(&["in/a.parquet", "elsewhere/b.parquet"]);
    symlink("../elsewhere/b.parquet", workdir.path("in/b.parquet")).unwrap();
    workdir.pipeline(&copy("in"));
    workdir.run().finished();
    let before = workdir.objects("checkpoint");
    std::fs::rename(workdir.path("elsewhere"), workdir.path("gone")).unwrap();
    assert!(workdir.run().refused().contains("b.parquet: cannot be read: it is a link to ../elsewhere/b.parquet"));
    assert!(workdir.objects("checkpoint") == before);
    std::fs::rename(workdir.path("gone"), workdir.path("elsewhere")).unwrap();
    assert_eq!(workdir.run().finished().run, None, "nothing to do");
}

const ON_S3: &str = "[source]\npath = \"{path}\"\n{store}\n[sink]\npath = \"s3://bucket/out\"\n{store}\n\
                     [checkpoint]\npath = \"s3://bucket/checkpoint\"\n{store}\n";

fn bytes(batch: &RecordBatch) -> Vec<u8> {
    let folder = tempfile::tempdir().unwrap();
    write_parquet(&folder.path().join("a.parquet"), batch, 10);
    std::fs::read(folder.path().join("a.parquet")).unwrap()
}

#[test]
fn e3_in_a_bucket_names_mean_the_same() {
    let job = OnS3::new(Workdir::new(), "");
    for (file, number) in
        SPARK.iter().chain(&["in/b.csv", "in/tab\tx.parquet", "in[1]/a.parquet", "in1/a.parquet"]).zip(0..)
    {
        job.server.put(&format!("bucket/{file}"), bytes(&number_batch([number])));
    }
    let told = |path: &str| {
        job.pipeline(&ON_S3.replace("{path}", path));
        let output = job.wasmpipe(&["plan", "pipeline.toml"]);
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let objects = text.lines().nth(1).map(|line| line.trim().split(',').next().unwrap().to_owned());
        (objects.unwrap_or_default(), String::from_utf8(output.stderr).unwrap())
    };
    let hidden = "2 hidden names are not read: .ipynb_checkpoints/, _temporary/ (";
    for path in ["s3://bucket/in/p=*/**", "s3://bucket/in/*/*.parquet", "s3://bucket/in/**/part-0.parquet"] {
        assert_eq!(told(path).0, "2 objects", "{path}: {}", told(path).1);
    }
    assert!(told("s3://bucket/in/**/part-0.parquet").1.contains(hidden));
    assert_eq!(told("s3://bucket/in/_temporary/**/_temporary/**/*.parquet").0, "1 object");
    assert_eq!(told("s3://bucket/in[[]1]/*").0, "1 object");
    let (_, refused) = told("s3://bucket/in");
    assert!(
        refused.contains(r"source object tab\tx.parquet: cannot be read: its path has a control character"),
        "{refused}"
    );
    job.server.put("bucket/in2/a.parquet", bytes(&number_batch([1])));
    job.server.put("bucket/in2/b.csv", b"a,b".to_vec());
    assert_eq!(told("s3://bucket/in2/").1, "note: in s3://bucket/in2, 1 other file is not read: b.csv\n");
}
