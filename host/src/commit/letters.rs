//! Dead letters: source rows that failed under `on_error = "dead-letter"`, in Parquet files below the sink that anyone can
//! read. The format of these files, and the reading of those letters that count. Which rows become letters, and how
//! files become durable, is decided elsewhere.
//!
//! | column | type | |
//! |---|---|---|
//! | `object` | string | the object's path relative to the source |
//! | `row` | uint64 | the row's ordinal in it, from 0 |
//! | `stage` | uint32 | the stage that it failed in, from 1; 0 if it could not be read |
//! | `function` | string | that stage's function |
//! | `kind` | string | `row`: the function refused the row; `trap`, `limit`: the row's block trapped, or went past a limit; `line`: the line is no row |
//! | `message` | string | what was wrong |
//! | `attempt` | uint32 | 1 if the row was tried for the first time |
//! | `line` | binary | of a source of lines alone: the line that is no row, without its end, of one that is too long the first bytes; its source columns are null |
//!
//! Then the source columns as they were read. One that has a name of the above stands as `source_<name>`.
//!
//! The files are history: a row that was done later keeps its letter, a row that failed twice has two. What counts is
//! decided by the log: the last letter of each row whose state is dead-lettered.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StringArray, UInt32Array, UInt64Array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};

use super::CommitError;
use super::coverage::{Coverage, RowState};
use super::entry::FileEntry;
use super::replay::LaneState;
use crate::sink::OutputKind;
use crate::store::Store;

/// What is known of a row that failed, besides its source columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The object's path relative to the source.
    pub object: Arc<str>,
    /// The row's ordinal in it.
    pub row: u64,
    /// The stage that it failed in, from 1; 0 if it could not be read.
    pub stage: u32,
    /// That stage's function.
    pub function: String,
    /// `row`, `trap`, `limit` or `line`.
    pub kind: &'static str,
    /// What was wrong.
    pub message: Arc<str>,
    /// 1 if the row was tried for the first time.
    pub attempt: u32,
}

fn own_fields() -> [Field; 7] {
    [
        Field::new("object", DataType::Utf8, false),
        Field::new("row", DataType::UInt64, false),
        Field::new("stage", DataType::UInt32, false),
        Field::new("function", DataType::Utf8, false),
        Field::new("kind", DataType::Utf8, false),
        Field::new("message", DataType::Utf8, false),
        Field::new("attempt", DataType::UInt32, false),
    ]
}

/// The column of what could not be read, where the source has lines.
fn line_field() -> Field {
    Field::new("line", DataType::Binary, true)
}

/// Columns of a file of dead letters that holds these `columns` of the source, which may have lines.
pub fn letter_schema(source: &Schema, columns: &Schema, has_lines: bool) -> SchemaRef {
    let kept = columns.fields().iter().map(|field| {
        let name = letter_column(source, has_lines, field.name());
        field.as_ref().clone().with_name(name)
    });
    let line = has_lines.then(line_field);
    Arc::new(Schema::new(own_fields().into_iter().chain(line).chain(kept).collect::<Vec<_>>()))
}

/// The name under which a column of the source stands in a dead letter.
pub fn letter_column(source: &Schema, has_lines: bool, name: &str) -> String {
    let own = own_fields();
    let is_own =
        |name: &str| own.iter().any(|field| field.name() == name) || (has_lines && line_field().name() == name);
    let mut free = name.to_string();
    while is_own(&free) || (free != name && source.field_with_name(&free).is_ok()) {
        free = format!("source_{free}");
    }
    free
}

/// Letters as a file holds them. `source` has a row for each.
pub fn letter_batch(schema: &SchemaRef, letters: &[Letter], source: &RecordBatch) -> RecordBatch {
    let strings = |text: fn(&Letter) -> &str| -> ArrayRef {
        Arc::new(letters.iter().map(|letter| Some(text(letter))).collect::<StringArray>())
    };
    let numbers =
        |number: fn(&Letter) -> u32| -> ArrayRef { Arc::new(letters.iter().map(number).collect::<UInt32Array>()) };
    let mut columns = vec![
        strings(|letter| &letter.object),
        Arc::new(letters.iter().map(|letter| letter.row).collect::<UInt64Array>()),
        numbers(|letter| letter.stage),
        strings(|letter| &letter.function),
        strings(|letter| letter.kind),
        strings(|letter| &letter.message),
        numbers(|letter| letter.attempt),
    ];
    columns.extend(source.columns().iter().cloned());
    RecordBatch::try_new(Arc::clone(schema), columns).expect("columns as in the schema")
}

/// Reads the letters that count, those of the newest file first.
pub struct LetterReader<'a> {
    sink: &'a Store,
    state: &'a LaneState,
    /// In the order of the log; taken from the end.
    files: Vec<&'a FileEntry>,
    open: Option<(&'a FileEntry, ParquetRecordBatchReader)>,
    /// Rows whose last letter was given out already.
    seen: HashMap<String, Coverage>,
}

impl<'a> LetterReader<'a> {
    /// Of a lane, by what its log says. `sink` is where its files lie.
    pub fn new(sink: &'a Store, state: &'a LaneState) -> LetterReader<'a> {
        LetterReader {
            sink,
            state,
            files: state.files_of(OutputKind::DeadLetters).collect(),
            open: None,
            seen: HashMap::new(),
        }
    }

    /// The next letters, at least one; none at the end.
    pub async fn next(&mut self) -> Result<Option<RecordBatch>, CommitError> {
        loop {
            let Some((file, reader)) = &mut self.open else {
                let Some(file) = self.files.pop() else { return Ok(None) };
                self.open = Some((file, open(self.sink, file).await?));
                continue;
            };
            let file = *file;
            let Some(batch) = reader.next() else {
                self.open = None;
                continue;
            };
            let batch = batch.map_err(|error| CommitError::damaged(&file.path, error))?;
            let keep: BooleanArray = self.counting(file, &batch)?.into_iter().map(Some).collect();
            let counting = filter_record_batch(&batch, &keep).expect("one flag per row");
            if counting.num_rows() > 0 {
                return Ok(Some(counting));
            }
        }
    }

    fn counting(&mut self, file: &FileEntry, batch: &RecordBatch) -> Result<Vec<bool>, CommitError> {
        let (objects, rows) = (place_columns(file, batch)?, batch.column(1));
        let rows: &UInt64Array = rows.as_any().downcast_ref().expect("schema checked");
        let counts = |row: usize| {
            let (object, row) = (objects.value(row), rows.value(row));
            if self.state.row_state(object, row) != Some(RowState::DeadLettered) {
                return false;
            }
            let seen = self.seen.entry(object.to_string()).or_default();
            let is_last = seen.at(row).is_none();
            seen.set(row..row + 1, RowState::DeadLettered);
            is_last
        };
        Ok((0..batch.num_rows()).map(counts).collect())
    }
}

/// How often each row that failed was tried, by object and row: what its last letter says, once where there is none.
pub async fn attempts(sink: &Store, state: &LaneState) -> Result<HashMap<String, HashMap<u64, u32>>, CommitError> {
    let mut attempts: HashMap<String, HashMap<u64, u32>> = HashMap::new();
    for (path, contents) in &state.objects {
        let failed = contents.iter().flat_map(|content| content.coverage.of(RowState::Failed)).flatten();
        let failed = failed.map(|row| (row, 1));
        attempts.entry(path.clone()).or_default().extend(failed);
    }
    let mut letters = LetterReader::new(sink, state);
    while let Some(batch) = letters.next().await? {
        let objects: &StringArray = batch.column(0).as_any().downcast_ref().expect("schema checked");
        let rows: &UInt64Array = batch.column(1).as_any().downcast_ref().expect("schema checked");
        let counts: &UInt32Array = batch.column(6).as_any().downcast_ref().expect("schema checked");
        for index in 0..batch.num_rows() {
            let of_object = attempts.entry(objects.value(index).to_string()).or_default();
            of_object.insert(rows.value(index), counts.value(index));
        }
    }
    attempts.retain(|_, rows| !rows.is_empty());
    Ok(attempts)
}

async fn open(sink: &Store, file: &FileEntry) -> Result<ParquetRecordBatchReader, CommitError> {
    let failed = |cause| CommitError::store("read the dead letters", &file.path, cause);
    let got = sink.objects().get(&Path::from(file.path.as_str())).await.map_err(failed)?;
    let bytes = got.bytes().await.map_err(failed)?;
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).and_then(ParquetRecordBatchReaderBuilder::build);
    reader.map_err(|error| CommitError::damaged(&file.path, error))
}

/// The objects of the letters, once the columns are known to be those of letters.
fn place_columns<'b>(file: &FileEntry, batch: &'b RecordBatch) -> Result<&'b StringArray, CommitError> {
    let schema = batch.schema_ref();
    let is_own = |(index, field): (usize, Field)| schema.fields().get(index).is_some_and(|found| **found == field);
    if own_fields().into_iter().enumerate().all(is_own) {
        return Ok(batch.column(0).as_any().downcast_ref().expect("schema checked"));
    }
    let message = format!("its columns are not those of dead letters: {:?}", schema.fields());
    Err(CommitError::damaged(&file.path, message))
}

#[cfg(test)]
mod tests {
    use super::super::coverage::ObjectCoverage;
    use super::super::replay::GroupState;
    use super::*;
    use arrow::array::Int64Array;
    use parquet::arrow::ArrowWriter;

    fn wait<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    fn schema(names: &[&str]) -> Schema {
        Schema::new(names.iter().map(|name| Field::new(*name, DataType::Int64, true)).collect::<Vec<_>>())
    }

    fn names(schema: &Schema) -> Vec<&str> {
        schema.fields().iter().skip(7).map(|field| field.name().as_str()).collect()
    }

    #[test]
    fn a_source_column_with_a_name_of_ours_is_told_apart() {
        let source = schema(&["message", "source_message", "n", "row"]);
        let all = letter_schema(&source, &source, false);
        assert_eq!(names(&all), ["source_source_message", "source_message", "n", "source_row"]);
        // The name does not depend on which columns are kept.
        assert_eq!(names(&letter_schema(&source, &schema(&["message"]), false)), ["source_source_message"]);
    }

    fn letter(row: u64, attempt: u32) -> Letter {
        let (function, message) = ("f".into(), format!("{row} is refused").into());
        Letter { object: "a".into(), row, stage: 1, function, kind: "row", message, attempt }
    }

    fn file(sink: &Store, path: &str, letters: &[Letter]) -> FileEntry {
        let source = schema(&["n"]);
        let n: Int64Array = letters.iter().map(|letter| letter.row as i64).collect();
        let kept = RecordBatch::try_new(Arc::new(source.clone()), vec![Arc::new(n)]).unwrap();
        let schema = letter_schema(&source, &source, false);
        let mut writer = ArrowWriter::try_new(Vec::new(), Arc::clone(&schema), None).unwrap();
        writer.write(&letter_batch(&schema, letters, &kept)).unwrap();
        let bytes = writer.into_inner().unwrap();
        let entry = FileEntry {
            path: path.into(),
            rows: letters.len() as u64,
            bytes: bytes.len() as u64,
            digest: None,
            holds: None,
        };
        wait(sink.objects().put(&Path::from(path), bytes.into())).unwrap();
        entry
    }

    /// Rows 1 and 2 failed; 2 failed again; 1 was done then; 3 failed under `skip`.
    #[test]
    fn the_last_letter_of_a_row_counts_until_the_row_is_done() {
        let sink = Store::memory("sink");
        let mut state = LaneState::default();
        let group = |file| GroupState { files: vec![file], ..GroupState::default() };
        state.groups.insert(1, group(file(&sink, "_wasmpipe/dead-letters/x", &[letter(1, 1), letter(2, 1)])));
        state.groups.insert(2, group(file(&sink, "_wasmpipe/dead-letters/y", &[letter(2, 2)])));
        let mut coverage = Coverage::default();
        coverage.set(0..2, RowState::Done);
        coverage.set(2..3, RowState::DeadLettered);
        coverage.set(3..4, RowState::Failed);
        let (digest, own) = ("d".into(), None);
        let covered = ObjectCoverage { digest, size: 9, rows: 4, piece: 0, own, root: 0, named_by: vec![], coverage };
        state.objects.insert("a".into(), vec![covered]);
        let mut reader = LetterReader::new(&sink, &state);
        let batch = wait(reader.next()).unwrap().unwrap();
        assert_eq!(batch.column(1).as_ref(), &UInt64Array::from(vec![2]));
        assert_eq!(batch.column(6).as_ref(), &UInt32Array::from(vec![2]));
        assert!(wait(reader.next()).unwrap().is_none());
        let expected = HashMap::from([("a".to_string(), HashMap::from([(2, 2), (3, 1)]))]);
        assert_eq!(wait(attempts(&sink, &state)).unwrap(), expected);
    }

    #[test]
    fn a_file_with_other_columns_is_damaged() {
        let sink = Store::memory("sink");
        let n: ArrayRef = Arc::new(Int64Array::from(vec![1]));
        let batch = RecordBatch::try_from_iter([("n", n)]).unwrap();
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        wait(sink.objects().put(&Path::from("_wasmpipe/dead-letters/x"), writer.into_inner().unwrap().into())).unwrap();
        let mut state = LaneState::default();
        let files =
            vec![FileEntry { path: "_wasmpipe/dead-letters/x".into(), rows: 1, bytes: 1, digest: None, holds: None }];
        state.groups.insert(1, GroupState { files, ..GroupState::default() });
        let error = wait(LetterReader::new(&sink, &state).next()).unwrap_err();
        assert!(error.to_string().contains("not those of dead letters"), "{error}");
    }
}
