//! What the attributes expand to. Not for authors: it changes with the macros.

use std::fmt::Display;

use arrow_array::{Array, ArrayRef, RecordBatch, StructArray};
use arrow_buffer::{BooleanBuffer, NullBuffer};
use arrow_schema::{DataType, Field, Schema};

use crate::batch::{BatchColumns, BatchParam};
use crate::column;
pub use crate::column::{Element, FromColumn, Inner, IntoColumn, Param, Value};
pub use crate::config::{Described as WithSchema, SchemaOf, Undescribed as WithoutSchema, any_schema, no_schema};
pub use crate::config::{config, no_config, state};
use crate::function::{Answer, Columns, Function, Kind, Lineage, RowError, Schemas};
pub use crate::function::{Bound, Described, Offered};
use crate::row::{BatchOutcome, Outcome, Outputs, Row, Shown, Verdict};

/// A column that a parameter needs. Without an input it is what it is if the input leaves a choice.
pub fn need<'a, P: Param<'a>>(name: &str, input: Option<&Schema>) -> Field {
    let input = input.and_then(|input| input.column_with_name(name)).map(|(_, field)| field);
    column::wanted::<P>(name, input)
}

/// A column that a `#[map_batches]` function adds.
pub fn add<V: Value>(name: &str) -> Field {
    V::field(name)
}

/// A column that a parameter of a typed `#[map_batches]` function needs.
pub fn need_column<'a, P: BatchParam<'a>>(name: &str, input: Option<&Schema>, nullable: bool) -> Field {
    let input = input.and_then(|input| input.column_with_name(name)).map(|(_, field)| field.data_type());
    Field::new(name, P::data_type(input), nullable)
}

/// The columns that a typed `#[map_batches]` function adds. `call` tells the type; it is not called.
pub fn adds_columns<R: BatchColumns>(names: &[&str], _call: impl FnOnce() -> R) -> Vec<Field> {
    R::fields(names)
}

/// The column of a parameter of a typed `#[map_batches]` function.
pub fn whole<'a, P: BatchParam<'a>>(batch: &'a RecordBatch, index: usize) -> P {
    P::column(batch.column(index).as_ref())
}

/// What a typed `#[map_batches]` function answered: a row for each.
pub fn columns(rows: usize, answer: impl BatchColumns) -> Result<Columns, String> {
    let arrays = answer.arrays()?;
    match arrays.iter().find(|array| array.len() != rows) {
        Some(other) => Err(format!("the function answered {} rows for a block of {rows}", other.len())),
        None => Ok(Columns { arrays, rows, lineage: Lineage::Same, errors: Vec::new() }),
    }
}

/// A field of a struct that is read.
pub fn need_field<'a, P: Param<'a>>(name: &str, input: Option<&DataType>) -> Field {
    let input = match input {
        Some(DataType::Struct(fields)) => fields.find(name).map(|(_, field)| field.as_ref()),
        _ => None,
    };
    column::inner_field::<P>(name, input)
}

/// What `#[derive(Columns)]` builds its implementations from.
pub fn struct_type(fields: Vec<Field>) -> DataType {
    column::struct_type(fields)
}

pub fn struct_of(array: &dyn Array) -> &StructArray {
    column::struct_of(array)
}

pub fn struct_array(fields: Vec<Field>, arrays: Vec<ArrayRef>, nulls: Option<NullBuffer>) -> ArrayRef {
    column::struct_array(fields, arrays, nulls)
}

/// The field of a struct that an error is about.
pub fn within<T>(field: &str, result: Result<T, String>) -> Result<T, String> {
    result.map_err(|error| format!("`{field}`: {error}"))
}

/// Stands in for a value where only the type matters, in code that never runs.
pub fn never<T>() -> T {
    unreachable!("only the type of this value is used")
}

/// The columns that a `#[map]` function adds, with names from its attribute. `call` tells the type; it is not called.
pub fn adds<R: Outcome, const N: usize>(names: [&str; N], _call: impl FnOnce() -> R) -> Result<Vec<Field>, String> {
    const { assert_names::<R::Row>(N) }
    Ok(R::Row::fields(&names))
}

/// The column that a `#[map]` function adds if its attribute names none.
pub fn adds_itself<R: Outcome>(name: &str, _call: impl FnOnce() -> R) -> Result<Vec<Field>, String> {
    const { assert_one::<R::Row>() }
    Ok(R::Row::fields(&[name]))
}

/// The columns that a `#[flat_map]` function adds. `call` tells the type; it is not called.
pub fn adds_many<I, const N: usize>(names: [&str; N], _call: impl FnOnce() -> I) -> Result<Vec<Field>, String>
where
    I: Outputs,
{
    const { assert_names::<I::Row>(N) }
    refuse_alias::<I>()?;
    Ok(<I::Row as Row>::fields(&names))
}

/// The column that a `#[flat_map]` function adds if its attribute names none.
pub fn adds_many_itself<I>(name: &str, _call: impl FnOnce() -> I) -> Result<Vec<Field>, String>
where
    I: Outputs,
{
    const { assert_one::<I::Row>() }
    refuse_alias::<I>()?;
    Ok(<I::Row as Row>::fields(&[name]))
}

// `Result` is an iterator too, one that swallows the error. Behind an alias the attribute cannot see it.
fn refuse_alias<I>() -> Result<(), String> {
    match std::any::type_name::<I>().starts_with("core::result::Result<") {
        true => Err("this function returns an alias of `Result`: its author must write `Result<_, _>`".to_owned()),
        false => Ok(()),
    }
}

const fn assert_names<R: Row>(names: usize) {
    assert!(!R::NAMED, "a struct with #[derive(Columns)] names its columns itself: remove columns(...)");
    assert!(names == R::WIDTH, "columns(...) must name as many columns as an output row has values");
}

const fn assert_one<R: Row>() {
    assert!(
        R::NAMED || R::WIDTH == 1,
        "several output columns need names: write columns(\"a\", \"b\") in the attribute"
    );
}

/// The type in a `Result`.
pub fn ok<T, E: Shown>(result: Result<T, E>) -> T {
    match result {
        Ok(value) => value,
        Err(_) => never(),
    }
}

/// The `Result` of a `#[map]` function, whose error is words from here on.
#[inline(always)]
pub fn told<T, E: Shown>(result: Result<T, E>) -> Result<T, String> {
    result.map_err(|error| error.show())
}

/// A parameter's column. The host promised the type and, for a parameter that is no `Option`, that there is no null.
#[inline(always)]
pub fn column<'a, P: Param<'a>>(batch: &'a RecordBatch, index: usize, rows: usize) -> P::Column {
    let array = batch.column(index);
    assert!(P::NULLABLE || array.null_count() == 0, "the host gave a null in column {index}, which has none");
    P::column(array.as_ref(), rows)
}

/// A parameter's value.
#[inline(always)]
pub fn at<'a, P: Param<'a>>(column: &P::Column, row: usize, name: &str) -> Result<P, String> {
    P::at(column, row).map_err(|error| format!("column `{name}`: {error}"))
}

/// A parameter's value, of a column without nulls.
#[inline(always)]
pub fn at_valid<'a, P: Param<'a>>(column: &P::Column, row: usize, name: &str) -> Result<P, String> {
    P::at_valid(column, row).map_err(|error| format!("column `{name}`: {error}"))
}

/// Whether a parameter's column has nulls.
#[inline(always)]
pub fn has_nulls<'a, P: Param<'a>>(column: &P::Column) -> bool {
    P::has_nulls(column)
}

/// Runs a `#[map]` function. An error of `call` is about a parameter, one within about the function.
#[inline(always)]
pub fn map<R: Outcome>(rows: usize, mut call: impl FnMut(usize) -> Result<R, String>) -> Result<Columns, String> {
    let mut errors = Vec::new();
    let arrays = R::Row::collect(rows, |row| {
        match call(row).and_then(Outcome::outcome).and_then(|output| output.check().map(|()| output)) {
            Ok(output) => Some(output),
            Err(message) => {
                errors.push(row_error(row, message));
                None
            }
        }
    });
    Ok(Columns { arrays, rows, lineage: Lineage::Same, errors })
}

/// Runs a `#[filter]` function.
#[inline(always)]
pub fn filter<V: Verdict>(rows: usize, mut call: impl FnMut(usize) -> Result<V, String>) -> Result<Columns, String> {
    let mut errors = Vec::new();
    let kept = BooleanBuffer::collect_bool(rows, |row| match call(row).and_then(Verdict::verdict) {
        Ok(keep) => keep,
        Err(message) => {
            errors.push(row_error(row, message));
            false
        }
    });
    Ok(Columns { arrays: Vec::new(), rows: kept.count_set_bits(), lineage: Lineage::Kept(kept), errors })
}

/// Runs a `#[flat_map]` function. The outer error of `call` is about a parameter, the inner one the function's own.
#[inline(always)]
pub fn flat_map<I, E>(
    rows: usize,
    mut call: impl FnMut(usize) -> Result<Result<I, E>, String>,
) -> Result<Columns, String>
where
    I: Outputs,
    E: Display,
{
    let mut builders = <I::Row as Row>::builders(rows);
    let mut counts = Vec::with_capacity(rows);
    let mut errors = Vec::new();
    let mut total = 0;
    for row in 0..rows {
        let outputs = call(row).and_then(|outputs| outputs.map_err(|error| error.to_string()));
        let count = outputs.and_then(|outputs| append_all(outputs, &mut builders)).unwrap_or_else(|message| {
            errors.push(row_error(row, message));
            0
        });
        counts.push(count);
        total += count as usize;
    }
    let arrays = <I::Row as Row>::finish(builders);
    Ok(Columns { arrays, rows: total, lineage: Lineage::Counts(counts), errors })
}

#[inline(always)]
fn append_all<R: Row>(outputs: impl IntoIterator<Item = R>, builders: &mut R::Builders) -> Result<u32, String> {
    let mut count = 0_u32;
    let mut append = |output: R| {
        output.append_to(builders);
        count += 1;
    };
    if R::CHECKED {
        // A row fails whole: nothing may be appended before everything was looked at.
        let outputs: Vec<R> = outputs.into_iter().collect();
        outputs.iter().try_for_each(Row::check)?;
        outputs.into_iter().for_each(append);
    } else {
        outputs.into_iter().for_each(&mut append);
    }
    Ok(count)
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

/// What `export!` lists: the function itself, whose marker is `F`.
pub const fn offered<F, Item: Offered<F>>(_item: &Item) -> Function {
    Item::FUNCTION
}

/// Stands in for a function that an attribute refused, in a program that does not compile.
pub const fn refused(name: &'static str) -> Function {
    Function {
        name,
        kind: Kind::Map,
        doc: "",
        bind: |_, _| Err("its author's attribute was refused".to_owned()),
        describe: || Described { config: None, needs: None, adds: None },
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
