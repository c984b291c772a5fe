//! What the attributes expand to. Not for authors: it changes with the macros.

use std::fmt::Display;

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_buffer::BooleanBuffer;
use arrow_schema::Field;
use serde::de::DeserializeOwned;
use serde_json::Value as Json;

use crate::column::Param;
pub use crate::column::Value;
pub use crate::function::Bound;
use crate::function::{Answer, Columns, Function, Lineage, RowError, Schemas};
use crate::row::{BatchOutcome, Outcome, Row, Verdict};

/// The config of a function that declares one.
pub fn config<T: DeserializeOwned>(json: &str) -> Result<T, String> {
    let value = match parse(json)? {
        Json::Null => Json::Object(serde_json::Map::new()),
        value => value,
    };
    serde_json::from_value(value).map_err(|error| format!("config: {error}"))
}

/// The config of a function that declares none.
pub fn no_config(json: &str) -> Result<(), String> {
    match parse(json)? {
        Json::Null => Ok(()),
        Json::Object(map) if map.is_empty() => Ok(()),
        value => Err(format!("config: this function takes none, but was given {value}")),
    }
}

fn parse(json: &str) -> Result<Json, String> {
    serde_json::from_str(json).map_err(|error| format!("config: not JSON: {error}"))
}

/// A column that a parameter needs.
pub fn need<'a, P: Param<'a>>(name: &str) -> Field {
    Field::new(name, P::data_type(), P::NULLABLE)
}

/// A column that a `#[map_batches]` function adds.
pub fn add<V: Value>(name: &str) -> Field {
    crate::row::field::<V>(name)
}

/// Stands in for a value where only the type matters, in code that never runs.
pub fn never<T>() -> T {
    unreachable!("only the type of this value is used")
}

/// The columns that a `#[map]` function adds. `call` tells the type; it is not called.
pub fn adds<R: Outcome, const N: usize>(names: [&str; N], _call: impl FnOnce() -> R) -> Result<Vec<Field>, String> {
    const { assert_width(N, R::Row::WIDTH) }
    Ok(R::Row::fields(&names))
}

/// The columns that a `#[flat_map]` function adds. `call` tells the type; it is not called.
pub fn adds_many<I, const N: usize>(names: [&str; N], _call: impl FnOnce() -> I) -> Result<Vec<Field>, String>
where
    I: IntoIterator<Item: Row>,
{
    const { assert_width(N, <I::Item as Row>::WIDTH) }
    // `Result` is an iterator too, one that swallows the error. Behind an alias the attribute cannot see it.
    if std::any::type_name::<I>().starts_with("core::result::Result<") {
        return Err("this function returns an alias of `Result`: its author must write `Result<_, _>`".to_owned());
    }
    Ok(<I::Item as Row>::fields(&names))
}

const fn assert_width(names: usize, width: usize) {
    assert!(names == width, "columns(...) must name as many columns as an output row has values");
}

/// The type in a `Result`.
pub fn ok<T, E: Display>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(_) => never(),
    }
}

/// A parameter's column. The host promised the type and, for a parameter that is no `Option`, that there is no null.
pub fn column<'a, P: Param<'a>>(batch: &'a RecordBatch, index: usize) -> &'a P::Array {
    let array = batch.column(index);
    assert!(P::NULLABLE || array.null_count() == 0, "the host gave a null in column {index}, which has none");
    array.as_any().downcast_ref().expect("the block was decoded with the schema of the parameters")
}

/// Runs a `#[map]` function.
pub fn map<R: Outcome>(rows: usize, mut call: impl FnMut(usize) -> R) -> Result<Columns, String> {
    let mut builders = R::Row::builders(rows);
    let mut errors = Vec::new();
    for row in 0..rows {
        match call(row).outcome() {
            Ok(output) => output.append_to(&mut builders),
            Err(message) => {
                R::Row::append_nothing(&mut builders);
                errors.push(row_error(row, message));
            }
        }
    }
    Ok(Columns { arrays: R::Row::finish(builders), rows, lineage: Lineage::Same, errors })
}

/// Runs a `#[filter]` function.
pub fn filter<V: Verdict>(rows: usize, mut call: impl FnMut(usize) -> V) -> Result<Columns, String> {
    let mut errors = Vec::new();
    let kept = BooleanBuffer::collect_bool(rows, |row| match call(row).verdict() {
        Ok(keep) => keep,
        Err(message) => {
            errors.push(row_error(row, message));
            false
        }
    });
    Ok(Columns { arrays: Vec::new(), rows: kept.count_set_bits(), lineage: Lineage::Kept(kept), errors })
}

/// Runs a `#[flat_map]` function.
pub fn flat_map<I, E>(rows: usize, mut call: impl FnMut(usize) -> Result<I, E>) -> Result<Columns, String>
where
    I: IntoIterator<Item: Row>,
    E: Display,
{
    let mut builders = <I::Item as Row>::builders(rows);
    let mut counts = Vec::with_capacity(rows);
    let mut errors = Vec::new();
    let mut total = 0;
    for row in 0..rows {
        let mut count = 0_u32;
        match call(row) {
            Ok(outputs) => outputs.into_iter().for_each(|output| {
                output.append_to(&mut builders);
                count += 1;
            }),
            Err(error) => errors.push(row_error(row, error.to_string())),
        }
        counts.push(count);
        total += count as usize;
    }
    let arrays = <I::Item as Row>::finish(builders);
    Ok(Columns { arrays, rows: total, lineage: Lineage::Counts(counts), errors })
}

fn row_error(row: usize, message: String) -> RowError {
    RowError { row: row as u32, message }
}

/// Takes what a `schemas = ...` function says.
pub fn schemas<E: Display>(schemas: Result<Schemas, E>) -> Result<(Vec<Field>, Vec<Field>), String> {
    let Schemas { needs, adds } = schemas.map_err(|error| error.to_string())?;
    Ok((owned(&needs.fields), owned(&adds.fields)))
}

fn owned(fields: &arrow_schema::Fields) -> Vec<Field> {
    fields.iter().map(|field| field.as_ref().clone()).collect()
}

/// Takes the answer of a `#[map_batches]` function, and refuses what the host would refuse, with the reason.
pub fn batches(rows: usize, outcome: impl BatchOutcome) -> Result<Columns, String> {
    let Answer { batch, lineage, errors } = outcome.answer()?;
    check_lineage(rows, &batch, &lineage)?;
    check_errors(rows, &lineage, &errors)?;
    let arrays: Vec<ArrayRef> = batch.columns().to_vec();
    Ok(Columns { rows: batch.num_rows(), arrays, lineage, errors })
}

fn check_lineage(rows: usize, batch: &RecordBatch, lineage: &Lineage) -> Result<(), String> {
    let (parents, outputs) = match lineage {
        Lineage::Same => (rows, rows),
        Lineage::Kept(kept) => (kept.len(), kept.count_set_bits()),
        Lineage::Counts(counts) => (counts.len(), counts.iter().map(|count| *count as usize).sum()),
    };
    if parents != rows {
        return Err(format!("the function's lineage speaks of {parents} input rows; the block has {rows}"));
    }
    if outputs != batch.num_rows() && batch.num_columns() > 0 {
        let answered = batch.num_rows();
        return Err(format!("the function answered {answered} rows; its lineage says {outputs}"));
    }
    Ok(())
}

fn check_errors(rows: usize, lineage: &Lineage, errors: &[RowError]) -> Result<(), String> {
    let mut next = 0;
    for error in errors {
        let row = error.row as usize;
        if row < next || row >= rows {
            return Err(format!("the function's error for row {row} is out of order, doubled or out of range"));
        }
        if has_outputs(lineage, row) {
            return Err(format!("the function answered an error and output rows for row {row}"));
        }
        next = row + 1;
    }
    Ok(())
}

fn has_outputs(lineage: &Lineage, row: usize) -> bool {
    match lineage {
        Lineage::Same => false,
        Lineage::Kept(kept) => kept.value(row),
        Lineage::Counts(counts) => counts[row] > 0,
    }
}

/// Fails to compile if two functions of a component have the same name.
pub const fn refuse_doubles(functions: &[Function]) {
    let mut a = 0;
    while a < functions.len() {
        let mut b = a + 1;
        while b < functions.len() {
            assert!(!same(functions[a].name, functions[b].name), "export! lists two functions of the same name");
            b += 1;
        }
        a += 1;
    }
}

const fn same(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    let mut i = 0;
    while i < a.len() && i < b.len() && a[i] == b[i] {
        i += 1;
    }
    i == a.len() && i == b.len()
}
