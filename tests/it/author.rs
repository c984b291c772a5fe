//! The author's commands, with the real binary: from nothing to a component that runs in a pipeline, and what is said
//! about a component that is not as it should be.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray};
use expect_test::{Expect, expect};

use crate::support::{Workdir, assert_mentions, guests, number_batch, read_parquet, write_parquet};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// What the command printed to stdout.
#[track_caller]
fn ends_with(workdir: &Workdir, code: i32, args: &[&str]) -> String {
    let Output { status, stdout, stderr } = workdir.wasmpipe(args);
    assert_eq!(status.code(), Some(code), "{args:?}\n{}\n{}", text(&stdout), text(&stderr));
    text(&stdout)
}

/// What the command said on stderr when it refused.
#[track_caller]
fn refusal(workdir: &Workdir, args: &[&str]) -> String {
    let Output { status, stdout, stderr } = workdir.wasmpipe(args);
    assert_eq!(status.code(), Some(2), "{args:?}\n{}\n{}", text(&stdout), text(&stderr));
    text(&stderr)
}

fn guest(name: &str) -> PathBuf {
    guests().join(format!("{name}.wasm"))
}

fn guest_text(name: &str) -> String {
    guest(name).to_str().unwrap().to_owned()
}

/// `udf new`, `udf build`, `udf test`, `run`, in a folder that knows nothing of this project.
fn from_nothing_to_output(name: &str, kind: &str, function: &str) -> (Workdir, Vec<RecordBatch>) {
    let workdir = Workdir::new();
    ends_with(&workdir, 0, &["udf", "new", name, "--kind", kind]);
    ends_with(&workdir, 0, &["udf", "build", name]);
    let component = format!("{name}/{name}.wasm");
    let sample = format!("{name}/sample.parquet");
    let tested = ends_with(&workdir, 0, &["udf", "test", &component, "--input", &sample, "--shuffle"]);
    assert_mentions(&tested, &[function, "before: 36 rows", "after: ", "each row gives the same in 5 other runs"]);
    let inspected = ends_with(&workdir, 0, &["udf", "inspect", &component]);
    assert_mentions(&inspected, &[&format!("{function} ({kind})"), "wasmpipe:udf/host"]);
    let pipeline = format!("{name}/pipeline.toml");
    ends_with(&workdir, 0, &["check", &pipeline, "--all"]);
    ends_with(&workdir, 0, &["run", &pipeline, "--quiet"]);
    let out = std::fs::read_dir(workdir.path(name).join("out")).unwrap().map(|entry| entry.unwrap().path());
    let mut files: Vec<PathBuf> = out.filter(|path| path.extension().is_some_and(|e| e == "parquet")).collect();
    files.sort();
    let rows = files.iter().flat_map(|path| read_parquet(path)).collect();
    (workdir, rows)
}

fn rows(batches: &[RecordBatch]) -> usize {
    batches.iter().map(RecordBatch::num_rows).sum()
}

fn names(batches: &[RecordBatch]) -> Vec<String> {
    batches[0].schema().fields().iter().map(|field| field.name().clone()).collect()
}

#[test]
fn a_new_map_is_built_tested_and_run() {
    let (workdir, output) = from_nothing_to_output("word-count", "map", "word_count");
    assert_eq!((rows(&output), names(&output)), (36, ["id", "text", "n", "word_count"].map(String::from).to_vec()));
    let again = workdir.wasmpipe(&["udf", "build", "word-count"]);
    assert_mentions(&text(&again.stderr), &["up to date", "the component is as it was"]);
    let inspected = ends_with(&workdir, 0, &["udf", "inspect", "word-count/word-count.wasm"]);
    assert_mentions(
        &inspected,
        &["needs    text Utf8", "adds     word_count UInt32", "letters_min  integer >= 0  [default: 1]"],
    );
    let component = "word-count/word-count.wasm";
    let measured = ends_with(&workdir, 0, &["udf", "bench", component, "--seconds", "0.2", "--block-bytes", "64 KiB"]);
    assert_mentions(&measured, &["made-up values", "KiB of needed columns"]);
    a_mistake_is_shown_by_cargo_and_costs_nothing(&workdir);
}

fn a_mistake_is_shown_by_cargo_and_costs_nothing(workdir: &Workdir) {
    let (source, component) = (workdir.path("word-count/src/lib.rs"), workdir.path("word-count/word-count.wasm"));
    let (good, built) = (std::fs::read_to_string(&source).unwrap(), std::fs::read(&component).unwrap());
    std::fs::write(&source, good.replace("-> u32 {", "-> u33 {")).unwrap();
    let output = workdir.wasmpipe(&["udf", "build", "word-count"]);
    assert_eq!(output.status.code(), Some(1));
    assert_mentions(&text(&output.stderr), &["cannot find type `u33`", "src/lib.rs:", "cargo could not build"]);
    // It compiles, but it is no component of ours: found before the old one is replaced.
    let without = good.lines().filter(|line| !line.starts_with("wasmpipe_sdk::export!")).collect::<Vec<_>>().join("\n");
    std::fs::write(&source, without).unwrap();
    assert_mentions(&refusal(workdir, &["udf", "build", "word-count"]), &["exports nothing", "wasmpipe_sdk::export!"]);
    assert_eq!(std::fs::read(&component).unwrap(), built);
}

#[test]
fn a_new_filter_is_built_tested_and_run() {
    let (_, output) = from_nothing_to_output("long-enough", "filter", "long_enough");
    assert!((1..36).contains(&rows(&output)), "{}", rows(&output));
    assert_eq!(names(&output), ["id", "text", "n"]);
}

#[test]
fn a_new_flat_map_is_built_tested_and_run() {
    let (_, output) = from_nothing_to_output("passages", "flat-map", "passages");
    assert!(rows(&output) > 36, "{}", rows(&output));
    assert_eq!(names(&output), ["id", "text", "n", "passage"]);
}

#[test]
fn a_new_map_batches_is_built_tested_and_run() {
    let (workdir, output) = from_nothing_to_output("scale", "map-batches", "scale");
    assert_eq!((rows(&output), names(&output)), (36, ["id", "text", "n", "scaled"].map(String::from).to_vec()));
    bench_says_how_fast(&workdir, "scale/scale.wasm");
}

fn bench_says_how_fast(workdir: &Workdir, component: &str) {
    let input = ["--input", "scale/sample.parquet", "--seconds", "0.2", "--block-bytes", "64 KiB"];
    let measured = ends_with(workdir, 0, &[&["udf", "bench", component], &input[..]].concat());
    assert_mentions(&measured, &["scale/sample.parquet", "8,192 rows", "MB/s", "median", "p95", "in the function"]);
}

#[test]
fn a_new_crate_is_refused_where_it_cannot_be() {
    let workdir = Workdir::new();
    let new = |args: &[&str]| refusal(&workdir, &[&["udf", "new"], args].concat());
    check(
        &new(&["Words", "--kind", "map"]),
        &expect![[r#"
            error: `Words` is no name for a crate and its function
              hint: a name starts with a small letter, and has small letters, digits, `-` and `_`, at most 64 of them
        "#]],
    );
    check(
        &new(&["words", "--kind", "map", "--dir", "in"]),
        &expect![[r#"
            error: the folder in cannot be made: File exists (os error 17)
              hint: choose another name, or another folder with --dir; what is there is not touched
        "#]],
    );
    check(
        &new(&["words", "--kind", "map", "--sdk", "in"]),
        &expect![[r#"
            error: --sdk names in, which is not the Rust SDK
              hint: name the folder `guest-sdk/rust` of wasmpipe's sources with --sdk, or in WASMPIPE_SDK
        "#]],
    );
    assert!(!workdir.path("words").exists());
}

#[track_caller]
fn check(actual: &str, expected: &Expect) {
    expected.assert_eq(actual);
}

#[test]
fn a_component_is_inspected() {
    let workdir = Workdir::new();
    std::fs::copy(guest("code"), workdir.path("code.wasm")).unwrap();
    let printed = ends_with(&workdir, 0, &["udf", "inspect", "code.wasm"]);
    assert_mentions(
        &printed,
        &["wasmpipe:udf/host@0.1.0", "facts (map)", "passages (flat-map)", "  needs  ", "  config "],
    );
    let digest = blake3_of(&printed);
    let json = ends_with(&workdir, 0, &["udf", "inspect", "--json", "code.wasm"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["bytes"], std::fs::metadata(workdir.path("code.wasm")).unwrap().len());
    assert_eq!(json["blake3"], digest);
    assert_eq!(json["functions"][0]["kind"], "filter");
    let imports = json["imports"].as_array().unwrap();
    assert!(imports.iter().all(|import| import["granted"] == true), "{imports:?}");
    assert!(imports.iter().any(|import| import["name"] == "wasmpipe:udf/host@0.1.0"), "{imports:?}");
    assert_mentions(&refusal(&workdir, &["udf", "inspect", "in"]), &["error: component in", "hint: "]);
}

fn blake3_of(printed: &str) -> String {
    let digest = printed.lines().find_map(|line| line.trim().strip_prefix("blake3")).unwrap().trim();
    assert_eq!(digest.len(), 64, "{printed}");
    digest.to_owned()
}

#[test]
fn a_module_of_another_language_is_encoded_or_refused() {
    let workdir = Workdir::new();
    std::fs::write(workdir.path("guest.wat"), "(module (func (export \"f\")))").unwrap();
    std::fs::write(workdir.path("guest.wasm"), "what was here before").unwrap();
    assert_mentions(
        &refusal(&workdir, &["udf", "build", "guest.wat"]),
        &["guest.wat cannot be made a component", "wit/udf.wit"],
    );
    assert_eq!(std::fs::read(workdir.path("guest.wasm")).unwrap(), b"what was here before");
    assert_mentions(&refusal(&workdir, &["udf", "build", "guest.wasm"]), &["would be replaced", "--out"]);
    assert_mentions(&refusal(&workdir, &["udf", "build"]), &["has no Cargo.toml", "udf new"]);
}

/// The templates are plain Rust: their unit tests run where `cargo test` runs.
#[test]
fn the_unit_tests_of_new_crates_pass() {
    let workdir = Workdir::new();
    let shared =
        std::env::var_os("WASMPIPE_TEST_NATIVE_TARGET").map_or_else(|| guests().join("cache/native"), PathBuf::from);
    for kind in ["map", "filter", "flat-map", "map-batches"] {
        let name = format!("a-{kind}");
        ends_with(&workdir, 0, &["udf", "new", &name, "--kind", kind]);
        let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args(["test", "--quiet", "--target-dir"]).arg(&shared).current_dir(workdir.path(&name));
        let output = cargo.output().unwrap();
        assert!(output.status.success(), "{kind}\n{}\n{}", text(&output.stdout), text(&output.stderr));
        assert_mentions(&text(&output.stdout), &["1 passed"]);
    }
}

fn test_hostile<'a>(component: &'a str, function: &'a str, more: &[&'a str]) -> Vec<&'a str> {
    [&["udf", "test", component, "--input", "in/a.parquet", "--function", function], more].concat()
}

fn numbers() -> (Workdir, String) {
    let workdir = Workdir::new();
    workdir.numbers("a.parquet", 0..20, 20);
    (workdir, guest_text("hostile"))
}

#[test]
fn rows_are_shown_before_and_after() {
    let (workdir, hostile) = numbers();
    let printed =
        ends_with(&workdir, 3, &test_hostile(&hostile, "errors_on", &["--config", "at = [3]", "--show", "5"]));
    check(
        &printed
            .replace(&hostile, "hostile.wasm")
            .lines()
            .filter(|line| !line.starts_with("time:"))
            .collect::<Vec<_>>()
            .join("\n"),
        &expect![[r#"
            errors_on (map) of hostile.wasm
              The number, or a row error for the numbers in `at`.
              needs n Int64
              adds  errors_on Int64

            before: 20 rows of in/a.parquet
            row  id        n
                 Utf8  Int64
              0  id-0      0
              1  id-1      1
              2  id-2      2
              3  id-3      3
              4  id-4      4
            ... 15 more

            after: 19 rows; `row` is the row before that it came of
            row  id        n  errors_on
                 Utf8  Int64      Int64
              0  id-0      0          0
              1  id-1      1          1
              2  id-2      2          2
              4  id-4      4          4
              5  id-5      5          5
            ... 14 more

            row 3 failed: 3 is refused
            failed: 1 row of 20"#]],
    );
    let printed = ends_with(&workdir, 0, &test_hostile(&hostile, "drop_odd", &["--rows", "4"]));
    assert_mentions(&printed, &["before: 4 rows of 20", "after: 2 rows", "dropped: 2 rows of 4 (row 1, 3)"]);
    let printed = ends_with(
        &workdir,
        0,
        &test_hostile(&hostile, "log_flood", &["--rows", "1", "--config", "lines = 2, bytes = 1"]),
    );
    assert_mentions(&printed, &["log: info row 0"]);
    let refused = refusal(&workdir, &["udf", "test", &hostile, "--input", "in/a.parquet"]);
    assert_mentions(&refused, &["offers several functions", "--function", "drop_odd (filter)"]);
    let refused = refusal(&workdir, &test_hostile(&hostile, "errors_on", &["--config", "at = ["]));
    assert_mentions(&refused, &["neither JSON nor TOML", "hint: "]);
}

#[test]
fn what_does_not_fit_on_a_command_line_is_explained() {
    let (workdir, hostile) = numbers();
    let test = |function, more: &[&str]| refusal(&workdir, &test_hostile(&hostile, function, more));
    assert_mentions(
        &test("errors_on", &["--config", "att = [1]"]),
        &["--config: `errors_on`: unknown key `att`", "did you mean `at`?"],
    );
    assert_mentions(&test("double", &["--skip", "20"]), &["has 20 rows, and --skip leaves out 20"]);
    std::os::unix::fs::symlink(&hostile, workdir.path("hostile.wasm")).unwrap();
    assert_mentions(
        &refusal(&workdir, &["udf", "inspect", "hostil.wasm"]),
        &["there is no `hostil.wasm`", "did you mean \"hostile.wasm\"?"],
    );
    let columns: [(&str, ArrayRef); 2] =
        [("nn", Arc::new(Int64Array::from(vec![1]))), ("double", Arc::new(Int64Array::from(vec![2])))];
    write_parquet(&workdir.path("other.parquet"), &RecordBatch::try_from_iter(columns).unwrap(), 10);
    let refused =
        refusal(&workdir, &["udf", "test", "hostile.wasm", "--input", "other.parquet", "--function", "double"]);
    expect![[r#"
        error: `double` does not fit the columns of the input: `n` is missing, `double`, which it adds, is there already
          column   wanted       arrives   made by     verdict
          n        Int64        -         -           is missing; did you mean `nn`?
          double   adds Int64   Int64     the input   is there already
          hint: name an --input with such a column; there are nn and double
    "#]]
    .assert_eq(&refused);
}

#[test]
fn the_rows_of_a_block_are_run_by_hand() {
    let (workdir, hostile) = numbers();
    let config = ["--config", "{ at = 13 }", "--skip", "10", "--rows", "5"];
    let output = workdir.wasmpipe(&test_hostile(&hostile, "panics_on", &config));
    assert_eq!(output.status.code(), Some(1));
    assert_mentions(
        &text(&output.stdout),
        &["before: 5 rows of 20 of in/a.parquet, from its row 10 on, here row 0", "row 3 ends the function"],
    );
    let said = text(&output.stderr);
    assert_mentions(&said, &["13 is poison", "hint: let the function give an error for such a row"]);
    assert!(!said.contains("udf test"), "{said}");
}

#[test]
fn a_row_that_traps_is_found() {
    let (workdir, hostile) = numbers();
    let output = workdir.wasmpipe(&test_hostile(&hostile, "panics_on", &["--config", "{ at = 13 }"]));
    assert_eq!(output.status.code(), Some(1));
    assert_mentions(&text(&output.stdout), &["row 13 ends the function"]);
    assert_mentions(&text(&output.stderr), &["panics_on", "13 is poison", "hint: "]);
}

#[test]
fn all_rows_that_end_a_function_are_found() {
    let (workdir, hostile) = numbers();
    let at = ["--config", "{ at = [0, 13, 14, 15, 19] }"];
    let output = workdir.wasmpipe(&test_hostile(&hostile, "panics_on", &at));
    assert_eq!(output.status.code(), Some(1));
    let ends = [0, 13, 14, 15, 19].map(|row| format!("row {row} ends the function"));
    let ends: Vec<&str> = ends.iter().map(String::as_str).collect();
    let all = "end the function: 5 rows of 20 (row 0, 13 to 15, 19), found in ";
    assert_mentions(&text(&output.stdout), &[&ends[..], &[all]].concat());
    assert_mentions(&text(&output.stderr), &["0 is poison", "13 is poison", "14 is poison", "19 is poison"]);
}

#[test]
fn a_function_that_remembers_is_found_out() {
    let (workdir, hostile) = numbers();
    let printed = ends_with(&workdir, 1, &test_hostile(&hostile, "remembers", &["--shuffle"]));
    assert_mentions(
        &printed,
        &["not pure: row 0 gives something else once more on the same instance", "first:", "then:"],
    );
    ends_with(&workdir, 0, &test_hostile(&hostile, "copies", &["--shuffle"]));
}

#[test]
fn an_output_is_compared_with_what_was_expected() {
    let (workdir, hostile) = numbers();
    let run = |code, more: &[&str]| ends_with(&workdir, code, &test_hostile(&hostile, "twice", more));
    run(0, &["--write", "expected.parquet"]);
    assert_mentions(&run(0, &["--expect", "expected.parquet"]), &["expect: 40 rows, all as expected"]);
    let other = expected_with(&workdir.path("expected.parquet"), 7, -1);
    write_parquet(&workdir.path("other.parquet"), &other, 100);
    assert_mentions(&run(1, &["--expect", "other.parquet"]), &["output row 7, twice: 3, expected is -1"]);
    write_parquet(&workdir.path("other.parquet"), &number_batch(0..40), 100);
    assert_mentions(&run(1, &["--expect", "other.parquet"]), &["the columns are", "expected are"]);
    assert_mentions(
        &refusal(&workdir, &test_hostile(&hostile, "twice", &["--expect", "no.parquet"])),
        &["no.parquet", "hint: "],
    );
}

/// The expected output with another value in one row.
fn expected_with(path: &Path, row: usize, value: i64) -> RecordBatch {
    let batch = read_parquet(path).remove(0);
    let place = batch.schema().index_of("twice").unwrap();
    let numbers = batch.column(place).as_any().downcast_ref::<Int64Array>().unwrap();
    let numbers: Int64Array = (0..numbers.len()).map(|at| if at == row { value } else { numbers.value(at) }).collect();
    let mut columns = batch.columns().to_vec();
    columns[place] = Arc::new(numbers);
    RecordBatch::try_new(batch.schema(), columns).unwrap()
}

const DOUBLE: &str = "[source]\npath = \"in\"\nid = \"id\"\n[[stage]]\ncomponent = \"{guests}/hostile.wasm\"\n\
                      function = \"double\"\n[sink]\npath = \"out\"\n[checkpoint]\npath = \"checkpoint\"\n";

#[test]
fn check_finds_what_run_refuses_and_writes_nothing() {
    let (workdir, _) = numbers();
    workdir.pipeline(&DOUBLE.replace("double", "doubel"));
    assert_mentions(&refusal(&workdir, &["check", "pipeline.toml"]), &["doubel", "pipeline.toml:6"]);
    workdir.pipeline(DOUBLE);
    assert_mentions(&ends_with(&workdir, 0, &["check", "pipeline.toml"]), &["ok, 1 object; 1 stage"]);
    assert!(!workdir.path("checkpoint").exists() || workdir.snapshot("checkpoint").is_empty());
    ends_with(&workdir, 0, &["run", "pipeline.toml", "--quiet"]);
    // A sink file that was lost is what `run` refuses only after the plan is made.
    let out = std::fs::read_dir(workdir.path("out")).unwrap().map(|entry| entry.unwrap().path());
    out.filter(|path| path.is_file()).for_each(|path| std::fs::remove_file(path).unwrap());
    let before = workdir.snapshot("checkpoint");
    let refused = refusal(&workdir, &["check", "pipeline.toml"]);
    assert_eq!(refused, refusal(&workdir, &["run", "pipeline.toml", "--quiet"]));
    assert_eq!(workdir.snapshot("checkpoint"), before);
}

#[test]
fn check_all_looks_into_objects_that_came_later() {
    let (workdir, _) = numbers();
    workdir.pipeline(DOUBLE);
    ends_with(&workdir, 0, &["run", "pipeline.toml", "--quiet"]);
    let ids: ArrayRef = Arc::new(StringArray::from(vec![Some("x"), None]));
    let n: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
    workdir.file("b.parquet", &RecordBatch::try_from_iter([("id", ids), ("n", n)]).unwrap(), 10);
    let text: ArrayRef = Arc::new(StringArray::from(vec!["one"]));
    workdir.file("c.parquet", &RecordBatch::try_from_iter([("id", Arc::clone(&text)), ("n", text)]).unwrap(), 10);
    std::fs::write(workdir.path("in/d.parquet"), "no parquet at all").unwrap();
    ends_with(&workdir, 0, &["check", "pipeline.toml"]);
    let refused = refusal(&workdir, &["check", "pipeline.toml", "--all"]);
    assert_mentions(&refused, &["b.parquet has 1 null", "c.parquet", "column `n` is Utf8", "d.parquet", "3 problems"]);
}
