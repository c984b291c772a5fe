//! Rows from a file, in the types that a pipeline would give them, and rows into one.

use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use futures::FutureExt;

use super::local::Local;
use super::new_file::NewFile;
use crate::block::{Numbering, batch_bytes};
use crate::columns;
use crate::format::compression::Compression;
use crate::format::jsonl::ExtraKeys;
use crate::format::jsonl::infer::Inference;
use crate::format::jsonl::read::JsonLines;
use crate::format::jsonl::sample::{HEAD_BYTES, Head, add};
use crate::format::parquet::{Compression as OfPages, Parquet, ParquetOutput};
use crate::format::{
    AsyncRanges, BadLine, BlockSize, Content, Edges, EncodeError, Format, FormatError, Opened, OutputFormat, Ranges,
    Read, Rows, Unit, Wanted,
};
use crate::message::{Message, Refused};
use crate::source::FileKind;

/// Rows decoded at a time.
const BLOCK: BlockSize =
    BlockSize { rows_max: 8 * 1024, bytes_max: 8 << 20, window_bytes: 64 << 20, page_bytes_max: u64::MAX };
/// What is written is small, and somebody waits for it.
const OUTPUT: ParquetOutput = ParquetOutput { compression: OfPages::Zstd, row_group_bytes_max: 64 << 20 };

/// Of JSON Lines.
const LINE_BYTES_MAX: usize = 64 << 20;
const LINES_HINT: &str = "mend the file, or take other rows of it, with --skip and --rows";

/// Some rows of a file, most often its first.
pub struct Sample {
    /// The rows.
    pub rows: RecordBatch,
    /// Rows that the file has in all, where it says so.
    pub rows_in_file: Option<u64>,
}

/// How much of a file is wanted.
#[derive(Clone, Copy)]
pub(super) struct Limit {
    /// Ordinals of rows that are left out before: of lines, those that a run names.
    pub skip: u64,
    pub rows: u64,
    /// No further batch is read when there are so many.
    pub bytes: usize,
}

/// Reads rows, in the file's order.
pub(super) fn read(path: &Path, limit: Limit) -> Result<Sample, Refused> {
    let closed = |error: io::Error| {
        let hint = "check that it is there, and that this user may read it";
        Refused::new(format!("{} cannot be read: {error}", path.display()), hint)
    };
    let file = Arc::new(Local::open(path).map_err(closed)?);
    let unreadable = |error| unreadable(path, error);
    let content = open(&file, path)?;
    let rows_in_file = (content.numbering() == Numbering::Rows).then(|| content.rows());
    if let Some(rows) = rows_in_file.filter(|rows| limit.skip > 0 && limit.skip >= *rows) {
        return Err(Refused::new(
            format!("{} has {rows} rows, and --skip leaves out {}", path.display(), limit.skip),
            "rows are counted from 0",
        ));
    }
    let mut taking =
        Taking { limit, schema: columns::plain_schema(content.schema()), batches: Vec::new(), rows: 0, bytes: 0 };
    for unit in &content.units() {
        taking.take(&file, content.as_ref(), unit).map_err(unreadable)?;
    }
    let too_much = |error: ArrowError| Refused::new(format!("{}: {error}", path.display()), "take fewer rows of it");
    Ok(Sample { rows: concat_batches(&taking.schema, &taking.batches).map_err(too_much)?, rows_in_file })
}

fn open(file: &Local, path: &Path) -> Result<Arc<dyn Content>, Refused> {
    let unreadable = |error| unreadable(path, error);
    let opened = match FileKind::of(AsyncRanges::name(file)) {
        Some(FileKind::JsonLines) => open_as(&json_lines(file, path)?, file),
        Some(FileKind::Parquet) | None => open_as(&Parquet, file),
    };
    let content = opened.map_err(unreadable)?.content;
    match content.unreadable().into_iter().next() {
        Some((_, error)) => Err(unreadable(error)),
        None => Ok(content),
    }
}

fn open_as(format: &dyn Format, file: &Local) -> Result<Opened, FormatError> {
    let parts = file.wait(&Edges::of(Ranges::size(file))).map_err(FormatError::Unread)?;
    let [head, tail] = parts.try_into().expect("one for each range");
    let edges = Edges { head, tail };
    format.open(file, &edges).now_or_never().expect("a file's bytes are there at once")
}

/// With the columns of its first lines; other keys are left out.
fn json_lines(file: &Local, path: &Path) -> Result<JsonLines, Refused> {
    let size = Ranges::size(file);
    let head = file.wait(std::slice::from_ref(&(0..size.min(HEAD_BYTES)))).map_err(FormatError::Unread);
    let bytes = head.map_err(|error| unreadable(path, error))?.pop().expect("one range");
    let head = Head { bytes, is_all: size <= HEAD_BYTES, compression: Compression::of_name(AsyncRanges::name(file)) };
    let mut found = Inference::default();
    add(&mut found, head).map_err(|error| unreadable(path, error))?;
    let refused = |error: &dyn std::error::Error| Refused::new(format!("{}: {error}", path.display()), LINES_HINT);
    let schema = found.schema().map_err(|error| refused(&error))?;
    JsonLines::new(&schema.into(), ExtraKeys::Drop, LINE_BYTES_MAX).map_err(|error| refused(&error))
}

/// Rows on their way into a sample.
struct Taking {
    limit: Limit,
    schema: SchemaRef,
    batches: Vec<RecordBatch>,
    rows: u64,
    bytes: usize,
}

impl Taking {
    fn is_full(&self) -> bool {
        self.rows >= self.limit.rows || self.bytes >= self.limit.bytes
    }

    fn take(&mut self, file: &Arc<Local>, content: &dyn Content, unit: &Unit) -> Result<(), FormatError> {
        let Some(wanted) = self.wanted(content, unit) else { return Ok(()) };
        let (schema, ranges) = (Arc::clone(&self.schema), Arc::clone(file) as Arc<dyn Ranges>);
        let rows = Rows::new(std::iter::once(wanted).collect());
        let mut reader = content.read(Wanted { unit, schema, rows, size: BLOCK, ranges });
        while !self.is_full()
            && let Some(Read { batch, rows, bad, .. }) = reader.next()?
        {
            let is_wanted = |bad: &BadLine| self.rows + rows_below(&rows, bad.row) < self.limit.rows;
            if let Some(bad) = bad.into_iter().next().filter(is_wanted) {
                let message = format!("{}: {}", content.numbering().row(bad.row), bad.message);
                return Err(FormatError::Bad { message, hint: LINES_HINT });
            }
            self.add(&batch);
        }
        Ok(())
    }

    /// Ordinals of the unit that may be of rows that are wanted. Of lines it is not known which are rows.
    fn wanted(&self, content: &dyn Content, unit: &Unit) -> Option<Range<u64>> {
        let end = match content.numbering() {
            Numbering::Rows => self.limit.skip.saturating_add(self.limit.rows),
            Numbering::Lines | Numbering::LinesOfSpans(_) => u64::MAX,
        };
        let both = unit.rows.start.max(self.limit.skip)..unit.rows.end.min(end);
        (!both.is_empty() && !self.is_full()).then_some(both)
    }

    fn add(&mut self, batch: &RecordBatch) {
        let rows = (batch.num_rows() as u64).min(self.limit.rows - self.rows);
        let batch = batch.slice(0, rows as usize);
        self.rows += rows;
        self.bytes += batch_bytes(&batch);
        self.batches.push(batch);
    }
}

fn rows_below(rows: &Rows, row: u64) -> u64 {
    rows.ranges().iter().map(|range| range.end.min(row).saturating_sub(range.start)).sum()
}

fn unreadable(path: &Path, error: FormatError) -> Refused {
    let path = path.display();
    match error {
        FormatError::Unread(cause) => {
            Refused::new(format!("{path} cannot be read: {cause}"), "name a file of Parquet or JSON Lines")
        }
        FormatError::Bad { message, hint } | FormatError::Differs { message, hint } => {
            Refused::new(format!("{path}: {message}"), hint)
        }
    }
}

/// Writes a file of its own, replacing what was there when it is complete.
pub(super) fn write(
    path: &Path,
    schema: &SchemaRef,
    batches: impl Iterator<Item = Result<RecordBatch, ArrowError>>,
) -> Result<(), Refused> {
    let refused = |what: EncodeError| {
        let hint = "name a file in a folder that is there, that this user may write to, and that has room";
        Refused::new(format!("{} cannot be written: {what}", path.display()), hint)
    };
    let file = NewFile::at(path).map_err(|error| Refused(Message::brief(&error)))?;
    file.write(|out| encode(out, schema, batches).map_err(Unwritten)).map_err(|Unwritten(error)| refused(error))
}

fn encode(
    out: &mut (dyn io::Write + Send),
    schema: &SchemaRef,
    batches: impl Iterator<Item = Result<RecordBatch, ArrowError>>,
) -> Result<(), EncodeError> {
    OUTPUT.check(schema)?;
    let mut encoder = OUTPUT.encoder(schema)?;
    for batch in batches {
        encoder.write(&batch?)?;
        out.write_all(&std::mem::take(encoder.encoded()))?;
    }
    Ok(out.write_all(&encoder.close()?)?)
}

/// Of a file or of what was to be in it.
struct Unwritten(EncodeError);

impl From<io::Error> for Unwritten {
    fn from(error: io::Error) -> Unwritten {
        Unwritten(error.into())
    }
}

#[cfg(test)]
mod tests {
    use arrow::array::{ArrayRef, Int64Array, IntervalMonthDayNanoArray};

    use super::*;

    /// Rows of several row groups, from the middle of one to that of another.
    #[test]
    fn rows_are_taken_across_row_groups() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.parquet");
        let column: ArrayRef = Arc::new(Int64Array::from_iter_values(0..100));
        let batch = RecordBatch::try_from_iter([("n", column)]).unwrap();
        let properties = parquet::file::properties::WriterProperties::builder();
        let properties = properties.set_max_row_group_row_count(Some(30)).build();
        let file = std::fs::File::create(&path).unwrap();
        let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), Some(properties)).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        let read = |skip, rows| read(&path, Limit { skip, rows, bytes: usize::MAX });
        let sample = read(25, 40).unwrap();
        assert_eq!((sample.rows.columns(), sample.rows_in_file), (batch.slice(25, 40).columns(), Some(100)));
        assert_eq!(read(90, u64::MAX).unwrap().rows.columns(), batch.slice(90, 10).columns());
        assert!(read(100, 1).is_err());
        let few = super::read(&path, Limit { skip: 0, rows: u64::MAX, bytes: 1 }).unwrap();
        assert_eq!(few.rows.columns(), batch.slice(0, 30).columns());
    }

    #[test]
    fn json_lines_are_read_with_the_columns_that_they_have() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        std::fs::write(&path, "{\"n\": 1, \"t\": \"a\"}\n\n{\"n\": 2}\n{\"n\": 3, \"t\": \"c\"}\n").unwrap();
        let read = |skip, rows| read(&path, Limit { skip, rows, bytes: usize::MAX });
        let sample = read(0, 2).unwrap();
        let n: ArrayRef = Arc::new(Int64Array::from(vec![1, 2]));
        assert_eq!((sample.rows.column_by_name("n"), sample.rows_in_file), (Some(&n), None));
        assert_eq!(read(2, 1).unwrap().rows.column_by_name("n").unwrap().as_ref(), &Int64Array::from(vec![2]));
        std::fs::write(&path, "{\"n\": 1}\n{\"n\": \n").unwrap();
        let refused = read(0, 2).err().unwrap().0.line().replace(&path.display().to_string(), "rows.jsonl");
        assert!(refused.starts_with("rows.jsonl: line 2: "), "{refused}");
        assert_eq!(read(0, 1).unwrap().rows.num_rows(), 1);
    }

    #[test]
    fn what_is_no_parquet_file_is_called_what_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.parquet");
        std::fs::write(&path, "no parquet at all").unwrap();
        let refused = read(&path, Limit { skip: 0, rows: 1, bytes: 1 }).err().unwrap();
        expect_test::expect![[r#"
            rows.parquet: it is plain text
            hint: Parquet and JSON Lines are read: convert it (DuckDB and pyarrow read it and write Parquet), or name the Parquet files alone, as in "folder/*.parquet""#]].assert_eq(&refused.0.line().replace(&path.display().to_string(), "rows.parquet"));
    }

    #[test]
    fn what_cannot_be_written_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.parquet");
        let good: ArrayRef = Arc::new(Int64Array::from(vec![1, 2, 3]));
        let write = |column| {
            let batch = RecordBatch::try_from_iter([("n", column)]).unwrap();
            write(&path, &batch.schema(), [Ok(batch.clone())].into_iter())
        };
        write(good).unwrap();
        // Parquet has no such type.
        let bad: ArrayRef = Arc::new(IntervalMonthDayNanoArray::from(vec![None]));
        write(bad).unwrap_err();
        let limit = Limit { skip: 0, rows: 10, bytes: usize::MAX };
        assert_eq!(read(&path, limit).unwrap().rows.num_rows(), 3);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
