//! Results in other formats than Parquet: the same rows, exactly once, whatever is killed.

use serde_json::Value;
use wasmpipe::format::compression::Compression;

use crate::support::pipeline::{Pipeline, in_small_blocks, pipeline};
use crate::support::{Multiset, Workdir, assert_mentions, each_twice, inflated, killed_at_every_step};

const COMPRESSIONS: [(&str, &str, Compression); 3] = [
    ("none", ".jsonl", Compression::None),
    ("gzip", ".jsonl.gz", Compression::Gzip),
    ("zstd", ".jsonl.zst", Compression::Zstd),
];

fn twice(more: &str) -> Pipeline {
    in_small_blocks(&["hostile.twice"], "\"id\", \"twice\"").sink(&format!("format = \"jsonl\"\n{more}"))
}

/// Results that lie in files with such names, as other tests have those of Parquet files.
fn output(workdir: &Workdir, (_, extension, compression): (&str, &str, Compression)) -> Multiset {
    let mut found = Multiset::new();
    let files = workdir.files("out");
    for path in files.iter().filter(|path| !path.components().any(|part| part.as_os_str() == "_wasmpipe")) {
        assert!(path.to_str().unwrap().ends_with(extension), "{path:?}");
        let text = inflated(&std::fs::read(path).unwrap(), compression);
        assert!(text.ends_with('\n'), "whole lines");
        for line in text.lines() {
            let row: Value = serde_json::from_str(line).unwrap();
            *found.entry(format!("{}|{}", row["id"].as_str().unwrap(), row["twice"])).or_default() += 1;
        }
    }
    found
}

#[test]
fn results_are_written_as_json_lines() {
    for kind in COMPRESSIONS {
        let job = twice(&format!("compression = \"{}\"", kind.0));
        let workdir = Workdir::with(&job, &[("a.parquet", 0..50, 9), ("b.parquet", 50..80, 30)]);
        workdir.run().finished();
        assert_eq!(output(&workdir, kind), each_twice(0..80), "{}", kind.0);
        let verified = workdir.wasmpipe(&["output", "verify", "--data", "pipeline.toml"]);
        assert_eq!(verified.status.code(), Some(0), "{verified:?}");
        workdir.assert_manifest_is_folder();
        // New rows go to new files, a bit that changed is found.
        workdir.numbers("c.parquet", 80..90, 10);
        workdir.run().finished();
        assert_eq!(output(&workdir, kind), each_twice(0..90), "{}", kind.0);
        let path = workdir.files("out").into_iter().find(|path| path.to_str().unwrap().ends_with(kind.1)).unwrap();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[9] ^= 1;
        std::fs::write(&path, bytes).unwrap();
        let verified = workdir.wasmpipe(&["output", "verify", "--data", "pipeline.toml"]);
        assert_eq!(verified.status.code(), Some(1), "{verified:?}");
    }
}

/// As in `crash.rs`: every durable step is a safe place to die.
#[test]
fn a_kill_at_every_step_doubles_and_loses_no_line() {
    let kind = COMPRESSIONS[1];
    let job = twice("compression = \"gzip\"").run("workers = 1\nreaders = 1");
    let workdir = || {
        let workdir = Workdir::quick();
        workdir.numbers("a.parquet", 0..25, 8);
        workdir.numbers("b.parquet", 25..40, 6);
        workdir.pipeline(&job);
        workdir
    };
    killed_at_every_step(workdir, |workdir, _, stop| {
        assert_eq!(output(workdir, kind), each_twice(0..40), "{stop:?}");
    });
}

#[test]
fn what_json_has_not_and_another_format_are_refused() {
    let workdir = Workdir::with(&twice(""), &[("a.parquet", 0..20, 20)]);
    workdir.run().finished();
    workdir.pipeline(&in_small_blocks(&["hostile.twice"], "\"id\", \"twice\""));
    assert_mentions(workdir.run().error(), &["sink format", "jsonl", "parquet", "--accept-change"]);
    for (sink, said) in [
        ("format = \"jsonl\"\ncompression = \"lz4\"", "JSON Lines are compressed as whole files"),
        ("nulls = \"omit\"", "`nulls` is for JSON Lines"),
    ] {
        workdir.pipeline(&pipeline(&[]).sink(sink));
        let output = workdir.wasmpipe(&["check", "pipeline.toml"]);
        assert_eq!(output.status.code(), Some(2));
        assert_mentions(&String::from_utf8(output.stderr).unwrap(), &[said, "hint: "]);
    }
}
