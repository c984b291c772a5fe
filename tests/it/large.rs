//! Data that is large in one place: a run's memory does not follow it.

use std::fs::File;
use std::io::Read;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, DictionaryArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int32Type;
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};

use crate::support::pipeline::pipeline;
use crate::support::{Workdir, assert_mentions, is_soak};

const MIB: u64 = 1 << 20;
/// As [run] has it. What a run takes is told by the manual: a quarter more, and 150 MiB.
const MEMORY: u64 = 100 * MIB;

/// The most memory that a process had, which is looked at until it ends.
fn peak(mut child: Child, code: i32) -> (u64, String) {
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    while child.try_wait().unwrap().is_none() {
        let text = std::fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        peak = line.map_or(peak, |line| line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() * 1024);
        std::thread::sleep(Duration::from_millis(5));
    }
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(code), "{said}");
    (peak, said)
}

/// One row group that says nowhere where its pages lie; with `plain` and `shared`, columns without a dictionary.
fn properties() -> WriterPropertiesBuilder {
    WriterProperties::builder()
        .set_max_row_group_row_count(None)
        .set_offset_index_disabled(true)
        .set_column_dictionary_enabled("plain".into(), false)
        .set_column_dictionary_enabled("shared".into(), false)
        .set_column_encoding("shared".into(), Encoding::DELTA_BYTE_ARRAY)
}

/// A job that copies what it reads, and the number of its rows.
fn copying(batches: impl Iterator<Item = RecordBatch>, properties: WriterPropertiesBuilder) -> (Workdir, u64) {
    let workdir = Workdir::new();
    let (mut writer, mut rows) = (None, 0);
    for batch in batches {
        let properties = properties.clone();
        let new = || {
            let file = File::create(workdir.path("in/a.parquet")).unwrap();
            ArrowWriter::try_new(file, batch.schema(), Some(properties.build())).unwrap()
        };
        writer.get_or_insert_with(new).write(&batch).unwrap();
        rows += batch.num_rows() as u64;
    }
    writer.unwrap().close().unwrap();
    workdir.pipeline(&pipeline(&[]).run(&format!("memory_bytes_max = {MEMORY}\nworkers = 1\nreaders = 1")));
    (workdir, rows)
}

/// Copies what `batches` gives, and answers with the memory that it took.
fn copied(batches: impl Iterator<Item = RecordBatch>) -> u64 {
    let (workdir, rows) = copying(batches, properties());
    let child = workdir.command(&["run", "pipeline.toml"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let (peak, _) = peak(child.unwrap(), 0);
    assert_eq!(workdir.inspect()["rows_done"], rows);
    peak
}

#[track_caller]
fn assert_fits(peak: u64) {
    let bound = MEMORY + MEMORY / 4 + 150 * MIB;
    assert!(peak <= bound, "{} MiB, not {} MiB", peak / MIB, bound / MIB);
}

fn batch(first: i64, name: &str, column: ArrayRef) -> RecordBatch {
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(first..first + column.len() as i64));
    RecordBatch::try_from_iter([("id", ids), (name, column)]).unwrap()
}

fn text(bytes: usize) -> String {
    let mut state = 7_u32;
    let letter = |_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        char::from(b'a' + (state >> 24) as u8 % 26)
    };
    (0..bytes).map(letter).collect()
}

/// A context of 300 KB on every row is one value in the file.
#[test]
fn e2_one_large_value_on_every_row() {
    let rows = if is_soak() { 20_000 } else { 1500 };
    let value: ArrayRef = Arc::new(StringArray::from(vec![text(300_000)]));
    let keys = Int32Array::from(vec![0; rows]);
    let column = Arc::new(DictionaryArray::<Int32Type>::try_new(keys, value).unwrap());
    assert_fits(copied(std::iter::once(batch(0, "context", column))));
}

/// Texts of 300 KB of which the file has what differs.
#[test]
fn e2_texts_that_begin_alike() {
    let (batches, base) = (if is_soak() { 24 } else { 3 }, text(300_000));
    let column = |nth: usize| {
        let texts = (0..500).map(|row| format!("{base}{}", nth * 500 + row));
        batch((nth * 500) as i64, "shared", Arc::new(StringArray::from_iter_values(texts)))
    };
    assert_fits(copied((0..batches).map(column)));
}

/// A page that would take more than its reader has is not unpacked.
#[test]
fn e2_a_page_that_is_too_large_is_refused() {
    let rows = vec!["x".repeat(1000); 40_000];
    let packed = properties().set_data_page_size_limit(1 << 30).set_data_page_row_count_limit(1 << 30);
    let packed = packed.set_compression(Compression::ZSTD(ZstdLevel::default())).set_write_batch_size(1 << 20);
    let (workdir, _) = copying(std::iter::once(batch(0, "plain", Arc::new(StringArray::from(rows)))), packed);
    assert!(workdir.path("in/a.parquet").metadata().unwrap().len() < MIB);
    let child = workdir.command(&["run", "pipeline.toml"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let (peak, said) = peak(child.unwrap(), 1);
    assert_mentions(&said, &["a.parquet", "a page of column `plain` has 38 MiB", "hint: ", "`memory_bytes_max`"]);
    assert!(peak < 100 * MIB, "{} MiB", peak / MIB);
}

/// A row group that says nowhere where its pages lie.
#[test]
fn e2_one_row_group() {
    let (batches, base) = (if is_soak() { 300 } else { 35 }, text(2_000_000));
    let column = |nth: usize| {
        let texts = (0..1000).map(|row| &base[(nth * 7919 + row * 31) % 1_900_000..][..10_000]);
        batch((nth * 1000) as i64, "plain", Arc::new(StringArray::from_iter_values(texts)))
    };
    assert_fits(copied((0..batches).map(column)));
}

#[test]
fn e2_thousands_of_columns() {
    let columns = if is_soak() { 28_000 } else { 2000 };
    let column = |nth: i64| {
        (
            if nth == 0 { "id".into() } else { format!("c{nth}") },
            Arc::new(Int64Array::from_iter_values(nth..nth + 40)) as ArrayRef,
        )
    };
    let wide = RecordBatch::try_from_iter((0..columns).map(column)).unwrap();
    let peak = copied(std::iter::once(wide));
    // At 28,000, a reader and a file take what they take for each column.
    if is_soak() { assert!(peak < 1500 * MIB, "{} MiB", peak / MIB) } else { assert_fits(peak) }
}

/// A job with stages on these rows, and the most memory that its run took until it ended with this code.
fn run(workdir: &Workdir, code: i32) -> (u64, String) {
    let child = workdir.command(&["run", "pipeline.toml"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    peak(child.unwrap(), code)
}

/// Rows whose answers are many times as large as they.
#[test]
fn e2_answers_of_many_bytes() {
    let rows = if is_soak() { 2000 } else { 96 };
    let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..rows));
    let (workdir, _) = copying(std::iter::once(batch(0, "n", numbers)), properties());
    let wide = "hostile.wide\nconfig = { bytes = 2500000 }\nmemory_bytes_max = \"12 MiB\"";
    let run_section = format!("memory_bytes_max = {MEMORY}\nworkers = 1\nreaders = 1");
    workdir.pipeline(&pipeline(&[wide]).sink("compression = \"none\"").run(&run_section));
    assert_fits(run(&workdir, 0).0);
    assert_eq!(workdir.inspect()["rows_done"], rows);
}

/// A flat map that repeats a wide column, and a second one after it.
#[test]
fn e2_rows_that_become_many_and_carry_much() {
    let times = if is_soak() { 20_000 } else { 100 };
    let texts: ArrayRef = Arc::new(StringArray::from(vec![text(5000); 64]));
    let numbers: ArrayRef = Arc::new(Int64Array::from(vec![times; 64]));
    let ids: ArrayRef = Arc::new(Int64Array::from_iter_values(0..64));
    let rows = RecordBatch::try_from_iter([("id", ids), ("n", numbers), ("context", texts)]).unwrap();
    let (workdir, _) = copying(std::iter::once(rows), properties());
    let stages = ["hostile.copies", "hostile.twice"].map(|name| format!("{name}\nmemory_bytes_max = \"6 MiB\""));
    let run_section = format!("memory_bytes_max = {MEMORY}\nworkers = 1\nreaders = 1");
    let stages = stages.each_ref().map(String::as_str);
    workdir.pipeline(&pipeline(&stages).sink("columns = [\"context\"]").run(&run_section));
    assert_fits(run(&workdir, 0).0);
    assert_eq!(workdir.inspect()["rows_done"], 64);
}
