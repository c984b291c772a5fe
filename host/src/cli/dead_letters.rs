//! `wasmpipe dead-letters show`: the rows that failed and were kept, with what was wrong. Nothing is changed.

use std::sync::Arc;

use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Schema};
use serde_json::Value;

use super::look::{self, Looked};
use super::text::{self, counted, cut, number};
use super::{FAILED, FINISHED, args, print_error};
use crate::columns;
use crate::commit::{CommitError, LaneState, LetterReader, RowState, View, letter_column, schema_from_hex};
use crate::message::table;
use crate::store::Store;

/// Letters that a table shows unless more are asked for.
const TABLE_ROWS: u64 = 100;
/// Characters of one cell.
const CELL_CHARS_MAX: usize = 100;
/// Columns of a letter that a table shows before the ids, and after them.
const PLACE: [&str; 2] = ["object", "row"];
const REASON: [&str; 5] = ["stage", "function", "kind", "message", "attempt"];

/// A job as its checkpoint tells it.
struct Job {
    sink: Store,
    view: View,
    /// Id columns: the names that people gave them, and those that they have in a letter.
    ids: Vec<(String, String)>,
    /// Every lane, by what the source's objects are now.
    lanes: Vec<LaneState>,
}

pub(super) fn show(options: &args::ShowDeadLetters) -> u8 {
    let runtime = look::runtime();
    let job = match open(&options.path, &runtime) {
        Ok(job) => job,
        Err(code) => return code,
    };
    let shown = runtime.block_on(async {
        match options.json {
            true => print_json(&job, options.limit).await,
            false => print_table(&job, options.limit).await,
        }
    });
    match shown {
        Ok(()) => FINISHED,
        Err(error) => {
            print_error(&error);
            FAILED
        }
    }
}

fn open(named: &str, runtime: &tokio::runtime::Runtime) -> Result<Job, u8> {
    let Looked { view, .. } = look::checkpoint(named, runtime)?;
    let genesis = &view.root.genesis;
    let failed = |error: CommitError| {
        print_error(&error);
        FAILED
    };
    let source = schema_from_hex(&genesis.source_schema).map_err(failed)?;
    let lanes = view.lanes.iter().map(|lane| lane.state.of_listing(&view.listing)).collect::<Result<_, _>>();
    let lanes = lanes.map_err(failed)?;
    let has_lines = genesis.fingerprint.has_lines();
    let ids =
        genesis.ids.iter().flatten().map(|id| (id.name.clone(), letter_column(&source, has_lines, &id.name))).collect();
    let sink = look::open_sink(named, &view.root.places.sink)?;
    Ok(Job { sink, view, ids, lanes })
}

/// The letters of every lane, one after the other.
struct Letters<'a> {
    sink: &'a Store,
    lanes: std::slice::Iter<'a, LaneState>,
    open: Option<LetterReader<'a>>,
}

impl<'a> Letters<'a> {
    fn of(job: &'a Job) -> Letters<'a> {
        Letters { sink: &job.sink, lanes: job.lanes.iter(), open: None }
    }

    async fn next(&mut self) -> Result<Option<RecordBatch>, CommitError> {
        loop {
            if let Some(open) = &mut self.open
                && let Some(batch) = open.next().await?
            {
                return Ok(Some(batch));
            }
            let Some(lane) = self.lanes.next() else { return Ok(None) };
            self.open = Some(LetterReader::new(self.sink, lane));
        }
    }
}

async fn print_table(job: &Job, limit: Option<u64>) -> Result<(), CommitError> {
    let all = job.view.rows(RowState::DeadLettered)?;
    if all == 0 {
        out!("no dead letters");
        return Ok(());
    }
    let mut left = limit.unwrap_or(TABLE_ROWS);
    let mut lines = vec![head(&job.ids)];
    let mut letters = Letters::of(job);
    while left > 0
        && let Some(batch) = letters.next().await?
    {
        let rows = batch.num_rows().min(usize::try_from(left).unwrap_or(usize::MAX));
        lines.extend((0..rows).map(|row| line(&job.ids, &batch, row)));
        left -= rows as u64;
    }
    out!("{}", counted(all, "dead letter"));
    for line in table(&lines) {
        out!("{line}");
    }
    let more = all.saturating_sub(lines.len() as u64 - 1);
    if more > 0 {
        out!("... {} more, --limit N shows more of them", number(more));
    }
    Ok(())
}

fn head(ids: &[(String, String)]) -> Vec<String> {
    let names = ids.iter().map(|(name, _)| name.as_str());
    PLACE.into_iter().chain(names).chain(REASON).map(|name| cut(name, CELL_CHARS_MAX)).collect()
}

fn line(ids: &[(String, String)], batch: &RecordBatch, row: usize) -> Vec<String> {
    let names = ids.iter().map(|(_, name)| name.as_str());
    let cell = |name: &str| {
        let column = batch.column_by_name(name);
        column.map_or_else(String::new, |column| cut(&columns::text(column, row, "null"), CELL_CHARS_MAX))
    };
    PLACE.into_iter().chain(names).chain(REASON).map(cell).collect()
}

async fn print_json(job: &Job, limit: Option<u64>) -> Result<(), CommitError> {
    let mut left = limit.unwrap_or(u64::MAX);
    let mut letters = Letters::of(job);
    while left > 0
        && let Some(batch) = letters.next().await?
    {
        let rows = batch.num_rows().min(usize::try_from(left).unwrap_or(usize::MAX));
        (0..rows).for_each(|row| out!("{}", text::json(&json(batch.schema_ref(), &batch, row))));
        left -= rows as u64;
    }
    Ok(())
}

/// One letter, its columns in their order.
fn json(schema: &Schema, batch: &RecordBatch, row: usize) -> String {
    let member = |(field, column): (&Arc<arrow::datatypes::Field>, &Arc<dyn Array>)| {
        let value = match line_of(field, column.as_ref(), row) {
            Some(line) => line.into(),
            None => value(column.as_ref(), row),
        };
        format!("{}:{value}", Value::from(field.name().as_str()))
    };
    let members = schema.fields().iter().zip(batch.columns()).map(member);
    format!("{{{}}}", members.collect::<Vec<_>>().join(","))
}

/// The line that is no row, readable: what is not UTF-8 in it is replaced.
fn line_of(field: &arrow::datatypes::Field, column: &dyn Array, row: usize) -> Option<String> {
    let lines = column.as_binary_opt::<i32>().filter(|_| field.name() == "line")?;
    lines.is_valid(row).then(|| String::from_utf8_lossy(lines.value(row)).into_owned())
}

/// Numbers that JSON has are numbers; what it has no word for is text.
fn value(column: &dyn Array, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    let text = columns::text(column, row, "null");
    match column.data_type() {
        DataType::Boolean => column.as_boolean().value(row).into(),
        data_type if data_type.is_integer() || data_type.is_floating() => {
            let number = serde_json::from_str(&text).ok().filter(Value::is_number);
            number.unwrap_or_else(|| text.into())
        }
        _ => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, BooleanArray, Float64Array, StringArray, UInt64Array};

    use super::*;

    #[test]
    fn a_letter_as_json() {
        let columns: [(&str, ArrayRef); 4] = [
            ("row", Arc::new(UInt64Array::from(vec![u64::MAX]))),
            ("a \"b\"", Arc::new(StringArray::from(vec!["x\n\u{1b}"]))),
            ("f", Arc::new(Float64Array::from(vec![f64::NAN]))),
            ("yes", Arc::new(BooleanArray::from(vec![None]))),
        ];
        let batch =
            RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap();
        let expected = r#"{"row":18446744073709551615,"a \"b\"":"x\n\u001b","f":"NaN","yes":null}"#;
        assert_eq!(json(batch.schema_ref(), &batch, 0), expected);
    }
}
