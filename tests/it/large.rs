//! Data that is large in one place: a run's memory does not follow it.

use std::fs::File;
use std::io::Read;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Duration;

use arrow::array::{ArrayRef, DictionaryArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int32Type;
use parquet::arrow::ArrowWriter;
use parquet::file::properties::WriterProperties;

use crate::support::pipeline::pipeline;
use crate::support::{Workdir, is_soak};

const MIB: u64 = 1 << 20;
/// As [run] has it. What a run takes is told by the manual: a quarter more, and 150 MiB.
const MEMORY: u64 = 100 * MIB;

/// The most memory that a process had, which is looked at until it ends.
fn peak(mut child: Child) -> (u64, String) {
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
    assert!(child.wait().unwrap().success(), "{said}");
    (peak, said)
}

/// Copies what `rows` gives, in one row group, and answers with the memory that it took.
fn copied(batches: impl Iterator<Item = RecordBatch>) -> u64 {
    let workdir = Workdir::new();
    let (mut writer, mut rows) = (None, 0);
    for batch in batches {
        let properties = WriterProperties::builder()
            .set_max_row_group_row_count(None)
            .set_offset_index_disabled(true)
            .set_column_dictionary_enabled("plain".into(), false);
        let new = || {
            let file = File::create(workdir.path("in/a.parquet")).unwrap();
            ArrowWriter::try_new(file, batch.schema(), Some(properties.build())).unwrap()
        };
        writer.get_or_insert_with(new).write(&batch).unwrap();
        rows += batch.num_rows() as u64;
    }
    writer.unwrap().close().unwrap();
    workdir.pipeline(&pipeline(&[]).run(&format!("memory_bytes_max = {MEMORY}\nworkers = 1\nreaders = 1")));
    let child = workdir.command(&["run", "pipeline.toml"]).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let (peak, _) = peak(child.unwrap());
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
