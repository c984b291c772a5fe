//! JSON Lines as a source: which lines are rows, what is fixed when a job begins, and that no line is lost or doubled.

use std::path::Path;
use std::sync::Arc;

use serde_json::Value;
use wasmpipe::format::compression::Compression;

use crate::support::pipeline::{Pipeline, in_small_blocks, pipeline};
use crate::support::place::{Kind, Place};
use crate::support::seam::{Crash, Stop};
use crate::support::{Multiset, Workdir, assert_mentions, each_twice, is_soak, killed_at_every_step, once, packed};

const NAMES: [(&str, Compression); 4] = [
    ("a.jsonl", Compression::None),
    ("b.ndjson.gz", Compression::Gzip),
    ("c.json.zst", Compression::Zstd),
    ("d/e.jsonl.gz", Compression::Gzip),
];

fn write(path: &Path, text: &[u8], compression: Compression) {
    // Members and frames follow one another, and end within lines.
    let bytes: Vec<u8> = text.chunks(1 + text.len() / 3).flat_map(|part| packed(part, compression)).collect();
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

fn row(n: i64) -> String {
    format!("{{\"n\": {n}, \"id\": \"id-{n}\"}}\n")
}

fn text(numbers: impl IntoIterator<Item = i64>) -> String {
    numbers.into_iter().map(row).collect()
}

fn source(workdir: &Workdir, name: &str, text: &str) {
    write(&workdir.path("in").join(name), text.as_bytes(), Compression::of_name(name));
}

fn twice() -> Pipeline {
    in_small_blocks(&["hostile.twice"], "\"id\", \"twice\"")
}

#[test]
fn lines_are_rows_however_they_are_compressed() {
    for job in [twice(), twice().by_position()] {
        let workdir = Workdir::quick();
        for (number, (name, _)) in (0..).zip(NAMES) {
            source(&workdir, name, &text(number * 30..number * 30 + 30));
        }
        workdir.pipeline(&job);
        assert_eq!(workdir.run().finished().rows_written, 240);
        assert_eq!(workdir.output("out"), each_twice(0..120));
        workdir.assert_manifest_is_folder();
        assert_eq!(workdir.run().finished().run, None);
        // What is new is read, and nothing else.
        source(&workdir, "f.jsonl", &text(120..130));
        let ran = workdir.run();
        assert_eq!((ran.finished().objects_opened, ran.finished().rows_read), (1, 10));
        assert_eq!(workdir.output("out"), each_twice(0..130));
    }
}

/// Blank lines, lines that are no rows, and files without any of either.
#[test]
fn a_kill_at_every_step_doubles_and_loses_no_line() {
    let schema = "schema = { n = \"int64\", id = \"string\" }\non_bad_line = \"dead-letter\"";
    let job = twice().source(schema).run("workers = 1\nreaders = 1");
    let workdir = || {
        let workdir = Workdir::quick();
        let bad = |n: i64| format!("\n  \r\n{{\"n\": {n}.5}}\n{}\n\n", row(n));
        source(&workdir, "a.jsonl", &(text(0..9) + &bad(9) + &text(10..25)));
        source(&workdir, "b.jsonl.gz", &(bad(25) + &text(26..39) + row(39).trim_end()));
        source(&workdir, "c.jsonl", "");
        source(&workdir, "d.jsonl.zst", "\n\n");
        workdir.pipeline(&job);
        workdir
    };
    killed_at_every_step(workdir, |workdir, summary, stop| {
        assert_eq!(summary.rows_dead_lettered_in_all, 2, "{stop:?}");
        assert_eq!(workdir.output("out"), each_twice(0..40), "{stop:?}");
        let letters = workdir.letters();
        let place = |letter: &Value| (letter["object"].as_str().unwrap().to_owned(), letter["row"].as_u64().unwrap());
        assert_eq!(letters.iter().map(place).collect::<Vec<_>>(), [("a.jsonl".into(), 11), ("b.jsonl.gz".into(), 2)]);
        assert_eq!(letters[0]["line"], "{\"n\": 9.5}");
        assert_eq!(
            (&letters[0]["stage"], &letters[0]["kind"], &letters[0]["n"]),
            (&0.into(), &"line".into(), &Value::Null)
        );
    });
}

/// A file of several spans, in pieces that lie in several lanes, with lines over every border.
#[test]
fn a_large_file_is_read_by_all_readers_and_from_its_middle() {
    let text: String = (0..150).map(|n| wide(n, 150_000 + n as usize * 100)).collect();
    assert!(text.len() > 20 << 20);
    let job = twice().checkpoint("lanes = 3\nsplit_bytes = \"7 MiB\"").run("block_bytes_max = \"1 MiB\"");
    let workdir = Workdir::quick();
    source(&workdir, "a.jsonl", &text);
    workdir.pipeline(&job);
    // Two processes, one after the other, each with some of the lanes.
    workdir.said(&["run", "--quiet", "--lane", "1", "pipeline.toml"], 0);
    let some = workdir.output("out").len();
    assert!((1..150).contains(&some), "{some}");
    assert_eq!(workdir.run().finished().rows_read, 150 - some as u64);
    assert_eq!(workdir.output("out"), each_twice(0..150));
    workdir.assert_log_is_folder();
    assert_eq!(workdir.run().finished().run, None);
}

/// A wide line: the file that they make is large, and its rows are few.
fn wide(n: i64, bytes: usize) -> String {
    format!("{{\"id\": \"id-{n}\", \"n\": {n}, \"text\": \"{}\"}}\n", "x".repeat(bytes))
}

/// Killed half way, by what the store has given out.
#[test]
fn the_second_run_reads_what_the_first_has_not_done() {
    let (rows, bytes) = if is_soak() { (40_000, 100_000) } else { (400, 150_000) };
    let object = "bucket/in/a.jsonl";
    let job = twice().by_position().sink("columns = [\"id\", \"twice\"]").checkpoint("group_rows_max = 50");
    let job = job.run("readers = 1\nworkers = 1\nblock_bytes_max = \"1 MiB\"").anywhere();
    let place = Place::new(Kind::S3, &job);
    let text: String = (0..rows).map(|n| wide(n, bytes)).collect();
    let size = text.len() as u64;
    place.server().put(object, text);
    // The first entry opens the lane.
    let ran = place.run_with(&Arc::new(Crash::at(Stop::Committed(rows as u64 / 50 / 2))));
    assert!(ran.error.is_some());
    let first = place.server().take_bytes_given(object);
    let ran = place.take_over();
    let done = ran.finished().rows_skipped;
    let second = place.server().take_bytes_given(object);
    println!("{size} bytes, {first} in the first run, which did {done} of {rows} rows, {second} in the second");
    let left = size - done * size / rows as u64;
    // The span in which the first run was, the line over a border of each, and both ends of the file.
    assert!(second < left + (8 << 20) + size / 100 + (1 << 20), "{second} of {left}");
    assert!(done > rows as u64 / 4, "{done}");
    assert_eq!(place.output(), each_twice(0..rows));
}

/// What is covered is a range for each row and each blank line.
#[test]
fn rows_and_blank_lines_in_turn_are_committed_before_they_are_many() {
    let workdir = Workdir::quick();
    let lines: String = (0..100_000).map(|n| format!("{{\"n\":{n}}}\n\n")).collect();
    source(&workdir, "a.jsonl", &lines);
    workdir.pipeline(&pipeline(&[]).by_position());
    let ran = workdir.run();
    assert!(ran.finished().commits >= 3, "{:?}", ran.finished().commits);
    assert_eq!(workdir.output("out"), once((0..100_000).map(|n| n.to_string())));
}

#[test]
fn a_line_that_is_no_row_ends_the_run_is_left_out_or_is_kept() {
    let lines = text(0..30) + "{\"n\": 1, \"n\": 2}\n" + &text(30..40);
    let workdir = Workdir::quick();
    source(&workdir, "a.jsonl", &lines);
    workdir.pipeline(&twice().by_position());
    let ran = workdir.run();
    assert_mentions(ran.error(), &["a.jsonl", "line 31", "`n`: the key stands twice", "hint: ", "on_bad_line"]);
    workdir.pipeline(&twice().by_position().source("on_bad_line = \"skip\""));
    let ran = workdir.run();
    assert_eq!((ran.finished().rows_failed_in_all, ran.finished().rows_dead_lettered), (1, 0));
    assert_eq!(workdir.output("out"), each_twice(0..40));
    assert_eq!(workdir.run().finished().run, None);
    // It fails again, and its letter has the line.
    workdir.pipeline(&twice().by_position().source("on_bad_line = \"dead-letter\""));
    workdir.said(&["run", "--quiet", "--retry-failed", "pipeline.toml"], 3);
    let letters = workdir.letters();
    assert_eq!((&letters[0]["line"], &letters[0]["attempt"]), (&"{\"n\": 1, \"n\": 2}".into(), &2.into()));
    assert_eq!(workdir.output("out"), each_twice(0..40));
    // It is finished, and its manifest names the letters, too.
    workdir.said(&["checkpoint", "delete", "pipeline.toml"], 0);
}

/// As large as before, and alike at both ends.
#[test]
fn a_line_that_changed_in_the_middle_is_a_change() {
    let numbers = |changed: i64| text((100_000..110_000).map(|n| if n == 105_000 { changed } else { n }));
    let workdir = Workdir::quick();
    source(&workdir, "a.jsonl", &numbers(105_000));
    workdir.pipeline(&twice().by_position());
    workdir.run().finished();
    let path = workdir.path("in/a.jsonl");
    let time = std::fs::metadata(&path).unwrap().modified().unwrap();
    source(&workdir, "a.jsonl", &numbers(999_999));
    assert_mentions(
        workdir.run().error(),
        &["the source changed, and rows are known by position", "1 changed: a.jsonl"],
    );
    // Put back, with its time.
    std::fs::remove_file(&path).unwrap();
    source(&workdir, "a.jsonl", &numbers(105_000));
    std::fs::File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
    assert_eq!(workdir.run().finished().rows_read, 0);
    // What lies at the edges alone is known by its bytes.
    let workdir = Workdir::quick();
    source(&workdir, "a.jsonl", &text(0..30));
    workdir.pipeline(&twice().by_position());
    workdir.run().finished();
    source(&workdir, "a.jsonl", &text(0..30));
    assert_eq!(workdir.run().finished().rows_read, 0);
}

/// A key that the sample did not show.
#[test]
fn keys_that_no_column_has_are_refused_dropped_or_kept() {
    let lines = text(0..20) + "{\"id\": \"id-20\", \"n\": 20, \"more\": {\"x\": [1]}}\n";
    let with = |more: &str| {
        let workdir = Workdir::quick();
        source(&workdir, "a.jsonl", &lines);
        workdir.pipeline(
            &pipeline(&["hostile.double"]).source(&format!("schema = {{ id = \"string\", n = \"int32\" }}\n{more}")),
        );
        workdir
    };
    let refused = with("");
    assert_mentions(refused.run().error(), &["line 21: `more`: the key is not in the schema", "extra_keys"]);
    // Rows of before stay; the others go on under another rule.
    refused.pipeline(
        &pipeline(&["hostile.double"]).source("schema = { id = \"string\", n = \"int32\" }\nextra_keys = \"drop\""),
    );
    assert_eq!(refused.run().finished().rows_written, 21);
    assert_eq!(refused.output("out"), once((0..21).map(|n| format!("id-{n}|{n}|{}", n * 2))));
    let kept = with("extra_keys = \"keep\"");
    kept.run().finished();
    let extra = |n: i64| if n == 20 { r#"{"more":{"x": [1]}}"# } else { "null" };
    assert_eq!(kept.output("out"), once((0..21).map(|n| format!("id-{n}|{n}|{}|{}", extra(n), n * 2))));
    kept.pipeline(&pipeline(&["hostile.double"]).source("extra_keys = \"drop\""));
    assert_mentions(kept.run().refused(), &["pipeline.toml:", "the job began with extra_keys = \"keep\"", "hint: "]);
}

#[test]
fn columns_are_fixed_when_the_job_begins() {
    let workdir = Workdir::quick();
    source(&workdir, "a.jsonl", &text(0..10));
    source(&workdir, "b.jsonl", "{\"id\": \"id-10\", \"n\": 10, \"x\": 1.5}\n");
    workdir.pipeline(&twice());
    workdir.run().finished();
    // What the sample has seen may go, and what comes changes nothing.
    std::fs::remove_file(workdir.path("in/b.jsonl")).unwrap();
    source(&workdir, "c.jsonl", "{\"id\": \"id-11\", \"n\": 11}\n{\"id\": \"id-12\", \"n\": 12, \"y\": 1}\n");
    let ran = workdir.run();
    assert_mentions(ran.error(), &["c.jsonl", "line 2: `y`: the key is not in the schema"]);
    workdir.pipeline(&twice().source("schema = { id = \"string\", n = \"int32\" }"));
    let refused = "the job began with other columns: n: int64, id: string, x: float64";
    assert_mentions(workdir.run().refused(), &["pipeline.toml:", refused, "hint: "]);
    workdir.pipeline(
        &twice().source("schema = { n = \"int64\", id = \"string\", x = \"float64\" }\nextra_keys = \"drop\""),
    );
    workdir.run().finished();
    assert_eq!(workdir.output("out"), each_twice(0..13));
}

#[test]
fn what_cannot_be_read_as_lines_is_said_before_anything_is_written() {
    for (source_keys, files, said) in [
        ("path = \"in/*\"", &["a.jsonl", "b.parquet"][..], "a job reads one format"),
        ("schema = { a = \"strin\" }", &["a.jsonl"], "the type of `a`"),
        ("schema = { a = \"string\" }\nid = \"id\"", &["a.jsonl"], "`id`"),
        ("schema = { a = \"string\" }", &["a.parquet"], "`schema` is for JSON Lines, and the source is Parquet"),
        ("on_bad_line = \"skip\"", &["a.parquet"], "`on_bad_line` is for JSON Lines"),
        ("footers_max = 3", &["a.jsonl"], "`footers_max` is for Parquet"),
        ("record_bytes_max = \"2 GiB\"", &["a.jsonl"], "`record_bytes_max` must be at most 1 GiB"),
        ("", &["empty.jsonl"], "no columns were found in the first lines"),
        ("", &["array.json"], "no line is a row: the first, line 1 of array.json: it must be one object, not a list"),
        ("", &["named.jsonl"], "is compressed with gzip"),
        ("", &["cut.jsonl.gz"], "the gzip data ends at byte"),
        ("", &["other.jsonl.zst"], "it is no zstd data"),
    ] {
        let workdir = Workdir::quick();
        for file in files {
            match *file {
                "b.parquet" | "a.parquet" => workdir.numbers(file, 0..3, 3),
                "empty.jsonl" => source(&workdir, file, "\n"),
                "array.json" => source(&workdir, file, "[{\"n\": 1}]\n"),
                "named.jsonl" => write(&workdir.path("in").join(file), b"{}", Compression::Gzip),
                "cut.jsonl.gz" => {
                    source(&workdir, file, &text(0..50));
                    let bytes = std::fs::read(workdir.path("in").join(file)).unwrap();
                    std::fs::write(workdir.path("in").join(file), &bytes[..bytes.len() - 5]).unwrap();
                }
                "other.jsonl.zst" => write(&workdir.path("in").join(file), b"{}", Compression::None),
                file => source(&workdir, file, &text(0..3)),
            }
        }
        workdir.pipeline(&pipeline(&[]).by_position().source(source_keys));
        let output = workdir.wasmpipe(&["run", "pipeline.toml"]);
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{source_keys}: {error}");
        assert_mentions(&error, &["pipeline.toml:", said, "hint: "]);
        assert!(!workdir.path("out").exists() || workdir.files("out").is_empty(), "{source_keys}");
    }
}

/// The rows before the damage may be done; what stands at the damage is no line.
#[test]
fn a_damaged_object_is_damaged_and_has_no_bad_line() {
    let workdir = Workdir::quick();
    source(&workdir, "a.jsonl.gz", &text(0..20_000));
    let declared = "schema = { n = \"int64\", id = \"string\" }\non_bad_line = \"skip\"";
    workdir.pipeline(&twice().by_position().source(declared).run("block_rows_max = 1000"));
    let path = workdir.path("in/a.jsonl.gz");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, [&whole[..whole.len() - 40], b"\0\0\0\0"].concat()).unwrap();
    let ran = workdir.run();
    assert_mentions(ran.error(), &["a.jsonl.gz", "gzip data", "hint: copy the object anew"]);
}

/// A folder of Parquet files may hold other things; one of JSON Lines is read as such.
#[test]
fn names_say_what_a_folder_holds() {
    let workdir = Workdir::quick();
    workdir.numbers("a.parquet", 0..10, 10);
    source(&workdir, "info.json", "{\"about\": \"these files\"}");
    workdir.pipeline(&twice());
    workdir.run().finished();
    assert_eq!(workdir.output("out"), each_twice(0..10));
    workdir.pipeline(&twice().source("format = \"jsonl\""));
    assert_mentions(workdir.run().refused(), &["source format: parquet -> jsonl"]);
    // Names that say nothing.
    let workdir = Workdir::quick();
    source(&workdir, "log.txt", &text(0..10));
    workdir.pipeline(&twice().source("path = \"in/*.txt\"\nformat = \"jsonl\""));
    workdir.run().finished();
    assert_eq!(workdir.output("out"), each_twice(0..10));
}

/// From JSON Lines to Parquet to JSON Lines, value by value.
#[test]
fn values_come_back_as_they_were() {
    let schema = "schema = { i = \"int64\", u = \"uint64\", d = \"decimal(38,9)\", f = \"float64\", s = \"string\", b = \"binary\", \
                  t = \"timestamp[ns, UTC]\", l = \"list<list<int64>>\", o = \"struct<a: string, b: list<bool>>\", j = \"json\" }";
    let lines = [
        r#"{"i":9223372036854775807,"u":18446744073709551615,"d":12345678901234567890123456789.123456789,"f":1.7976931348623157e308,"s":"ünï\u0000cödé 🎉","b":"AP8=","t":"2261-12-31T23:59:59.999999999Z","l":[[1],[],null],"o":{"a":"x","b":[true,null]},"j":{"any": [1, {}]}}"#,
        r#"{"i":-9223372036854775808,"u":0,"d":-0.000000001,"f":5e-324,"s":"","b":"","t":"1677-09-21T00:12:43.145224193Z","l":[],"o":{"a":null,"b":null},"j":null}"#,
        r#"{"i":null,"u":null,"d":null,"f":null,"s":null,"b":null,"t":null,"l":null,"o":null,"j":"text"}"#,
    ];
    let workdir = Workdir::quick();
    source(&workdir, "a.jsonl", &lines.join("\n"));
    workdir.pipeline(&pipeline(&[]).by_position().source(schema));
    workdir.run().finished();
    let back = Workdir::quick();
    std::fs::create_dir_all(back.path("in")).unwrap();
    for file in workdir.files("out").iter().filter(|file| file.extension().is_some_and(|end| end == "parquet")) {
        std::fs::copy(file, back.path("in").join(file.file_name().unwrap())).unwrap();
    }
    back.pipeline(&pipeline(&[]).by_position().sink("format = \"jsonl\"\ncompression = \"none\""));
    back.run().finished();
    let file = back.files("out").into_iter().find(|file| file.extension().is_some_and(|end| end == "jsonl")).unwrap();
    let written = std::fs::read_to_string(file).unwrap();
    let values = |line: &str| serde_json::from_str::<Value>(line).unwrap();
    for (was, is) in lines.iter().zip(written.lines()) {
        assert_eq!(values(is), values(was), "{is}");
        // What a parser of floats makes equal, the text tells apart.
        let decimal =
            |line: &str| line.split("\"d\":").nth(1).and_then(|rest| rest.split(',').next().map(str::to_owned));
        assert_eq!(decimal(is), decimal(was), "{is}");
    }
}

/// Rows of a job that knows them by id, in a source that is written anew.
#[test]
fn rows_are_known_by_id_wherever_they_stand() {
    let workdir = Workdir::quick();
    source(&workdir, "a.jsonl.gz", &text(0..50));
    workdir.pipeline(&twice());
    workdir.run().finished();
    source(&workdir, "a.jsonl.gz", &text((0..60).rev()));
    source(&workdir, "b.jsonl", &text(55..70));
    std::fs::remove_file(workdir.path("in/b.jsonl")).unwrap();
    let ran = workdir.run();
    assert_eq!((ran.finished().rows_known, ran.finished().rows_read), (50, 10));
    let all: Multiset = each_twice(0..60);
    assert_eq!(workdir.output("out"), all);
    assert_eq!(workdir.run().finished().run, None);
}
