//! What others see: pyarrow reads the output and the id files that the log names.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::Command;
use std::sync::{Arc, Mutex};

use expect_test::expect;
use wasmpipe::store::Unwatched;

use crate::support::pipeline::pipeline;
use crate::support::{Said, Workdir, assert_mentions, at_once, once, run, run_as};

/// Prints the sorted ids of all id files, the sorted ids of all output files, and the output files' names, as JSON.
const SCRIPT: &str = r#"
import json, os, sys
import pyarrow.parquet as pq
folder = sys.argv[1]
inspect = json.load(open(os.path.join(folder, "inspect.json")))
column = lambda path: pq.read_table(path)["id"].to_pylist()
ids = [id for file in inspect["id_files"] for id in column(os.path.join(folder, "checkpoint", file["path"]))]
for file in inspect["id_files"]:
    own = column(os.path.join(folder, "checkpoint", file["path"]))
    assert own == sorted(own) and len(own) == file["rows"], file
names = sorted(name for name in os.listdir(os.path.join(folder, "out")) if name != "_wasmpipe")
output = [id for name in names for id in column(os.path.join(folder, "out", name))]
manifest = json.load(open(os.path.join(folder, "out", "_wasmpipe", inspect["job"] + ".json")))
print(json.dumps({"ids": sorted(ids), "output": sorted(output), "names": names,
                  "manifest": sorted(file["path"] for file in manifest["files"])}))
"#;

/// What a script with pyarrow prints.
fn python(args: &[&str]) -> String {
    let python = std::env::var("WASMPIPE_TEST_PYTHON").expect("run `cargo xtask test`, which installs pyarrow");
    let output = Command::new(python).args(args).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn folder(workdir: &Workdir) -> String {
    workdir.path("").to_str().unwrap().to_owned()
}

#[test]
fn pyarrow_reads_output_ids_and_manifest() {
    let workdir = Workdir::new();
    workdir.numbers("a.parquet", 0..300, 64);
    workdir.numbers("b.parquet", 300..500, 100);
    workdir.pipeline(
        r#"
[source]
path = "in"
id = "id"
[[stage]]
component = "{guests}/hostile.wasm"
function = "errors_on"
config = { at = [7, 299, 300] }
on_error = "skip"
[sink]
path = "out"
[checkpoint]
path = "checkpoint"
group_rows_max = 90
"#,
    );
    workdir.run().finished();
    std::fs::write(workdir.path("inspect.json"), workdir.inspect().to_string()).unwrap();
    let seen: serde_json::Value = serde_json::from_str(&python(&["-c", SCRIPT, &folder(&workdir)])).unwrap();
    let mut expected: Vec<String> =
        (0..500).filter(|n| ![7, 299, 300].contains(n)).map(|n| format!("id-{n}")).collect();
    expected.sort();
    assert_eq!(seen["ids"], serde_json::json!(expected), "the source's ids but the failed ones");
    assert_eq!(seen["output"], serde_json::json!(expected));
    assert_eq!(seen["names"], seen["manifest"]);
}

/// A script of the corpus.
fn script(name: &str, workdir: &Workdir) -> String {
    let scripts = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/it/corpus/");
    python(&["-B", &format!("{scripts}{name}"), &folder(workdir)])
}

/// Copies each folder of `in` to one of `out`, and tells what was refused.
fn copy_all(workdir: &Workdir, names: &str) -> BTreeMap<String, String> {
    let refused = Mutex::new(BTreeMap::new());
    at_once(&names.lines().collect::<Vec<_>>(), |name| {
        let text = format!("[source]\npath = \"in/{name}\"\n[sink]\npath = \"out/{name}\"\n");
        let pipeline = workdir.pipeline_at(&format!("{name}.toml"), &text);
        match run(&pipeline, &Arc::new(Unwatched), false).error {
            None => std::fs::write(workdir.path(&format!("out/{name}/finished")), "").unwrap(),
            Some(error) => drop(refused.lock().unwrap().insert((*name).to_owned(), error)),
        }
    });
    refused.into_inner().unwrap()
}

/// Features of files: types, metadata, encodings, pages, old forms, lies. What pyarrow reads of a copy is what it reads of the
/// original, type by type, value by value, key by key; or the original is refused by what it is.
#[test]
fn e2_e4_e5_d1_what_pyarrow_reads_is_read_equal() {
    let workdir = Workdir::new();
    let names = script("make.py", &workdir);
    let refused = copy_all(&workdir, &names);
    let compared = script("compare.py", &workdir);
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    let mut report = String::new();
    for (name, verdict) in compared.lines().map(|line| line.split_once('\t').unwrap()) {
        let kind = if matches!(verdict, "same" | "refused" | "neither reads it") { verdict } else { "differs" };
        *counts.entry(kind).or_default() += 1;
        if verdict != "same" {
            let error = refused.get(name).map_or(verdict, |error| what(error));
            writeln!(report, "{name}: {error}").unwrap();
        }
    }
    expect![[r#"
        {"differs": 3, "neither reads it": 20, "refused": 6, "same": 241}
    "#]]
    .assert_eq(&format!("{counts:?}\n"));
    expect![[r#"
        codec_brotli: column `id` is compressed with Brotli, which is not read here
        is_arrow_file: it is an Arrow IPC file (Feather)
        is_arrow_stream: it is an Arrow IPC stream
        is_avro: it is an Avro file
        is_csv: it is CSV
        is_gzip: it is compressed with gzip
        is_json_lines: it is JSON Lines
        is_orc: it is an ORC file
        logical_unknown: ('BYTE_ARRAY', 'Undefined') became ('BYTE_ARRAY', 'None')
        map_keys_optional: read here alone: Map keys must be annotated as required.
        old_int96_beyond: row 1: column `v`: an INT96 of 185331720297600.000000000 s since 1970 does not fit into 64 bits of microseconds
        old_int96_finer: row 0: column `v`: an INT96 of 0.000000001 s since 1970 is finer than the microseconds in which the job has the column
        page_checksum_wrong: Page CRC checksum mismatch
        type_dictionary_ordered: `v` dictionary<values=string, indices=int8, ordered=1> became dictionary<values=string, indices=int8, ordered=0>
        type_fixed_list_zero: column `v.list.element` has lists of the fixed size 0, which are not read here
        wrong_codec_lzo: column `v` is compressed with LZO, which is not read here
        wrong_cut: it begins as a Parquet file, but its end, the footer, is not whole
        wrong_dictionary_index: dictionary index out of bounds: the len is 1 but the index is 1
        wrong_dictionary_missing: its footer contradicts its pages
        wrong_empty: it is empty: it has 0 bytes
        wrong_encrypted_footer: it is encrypted
        wrong_fewer_values: its footer contradicts its pages
        wrong_footer_garbage: its footer is not what a footer is
        wrong_footer_length: it begins as a Parquet file, but its end, the footer, is not whole
        wrong_offset_far: its footer names bytes 1000004 to 1000029, of 120
        wrong_page_header: its footer contradicts its pages
        wrong_page_size: EOF: Not enough bytes to decode
        wrong_rows: the footer says 3 rows, its row groups say otherwise
        wrong_size_far: its footer names bytes 4 to 1000004, of 122
    "#]]
    .assert_eq(&report);
    rows_are_found_where_the_page_index_lies(&workdir);
    let ordered = "[source]\npath = \"in/type_dictionary_ordered\"\n[sink]\npath = \"out/again\"\n";
    workdir.pipeline_at("ordered.toml", ordered);
    assert_mentions(
        &workdir.said(&["plan", "ordered.toml"], 0),
        &["warning: the order of the categories of `v` is not kept"],
    );
    workdir.pipeline_at("ordered.toml", &ordered.replace("[sink]", "[sink]\ncolumns = [\"id\"]"));
    assert!(!workdir.said(&["plan", "ordered.toml"], 0).contains("categories"));
}

/// The first line, from what it says of the object.
fn what(error: &str) -> &str {
    let line = error.lines().next().unwrap();
    line.split_once("source object a.parquet: ").map_or(line, |(_, what)| what)
}

/// A row that is done later is found by its number, and so by the rows that the index says to be in pages before it. These are
/// not read, and nothing is wrong with the page that is.
fn rows_are_found_where_the_page_index_lies(workdir: &Workdir) {
    let folders = std::fs::read_dir(workdir.path("resume")).unwrap();
    let names: Vec<String> = folders.map(|folder| folder.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(names.len(), 35);
    at_once(&names, |name| one_row_is_done_later(workdir, name));
}

fn one_row_is_done_later(workdir: &Workdir, name: &str) {
    let job = pipeline(&["hostile.errors_on\nconfig = { at = [57] }\non_error = \"skip\""]).by_position();
    let job = job.source(&format!("path = \"resume/{name}\"")).checkpoint(&format!("path = \"checkpoints/{name}\""));
    let job = job.sink(&format!("path = \"resumed/{name}\"\ncolumns = [\"n\", \"v\"]")).run("block_rows_max = 7");
    let run = |text: &str, said: Said| {
        let pipeline = workdir.pipeline_at(&format!("{name}.toml"), text);
        run_as(&pipeline, &Arc::new(Unwatched), said).finished().rows_failed
    };
    assert_eq!(run(&job.to_string(), Said::default()), 1, "{name}");
    let again = Said { accept_change: true, retry_failed: true, ..Said::default() };
    assert_eq!(run(&job.to_string().replace("[57]", "[]"), again), 0, "{name}");
    let row = |n: i64| match name.starts_with("lists") {
        true => format!("{n}|[{n}, {}]", 1000 + n),
        false => format!("{n}|{}", 1000 + n),
    };
    assert_eq!(workdir.output(&format!("resumed/{name}")), once((0..100).map(row)), "{name}");
}
