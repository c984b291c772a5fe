//! Decodes rows of one row group: pages are asked for as they are needed, and columns that are read twice are joined.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ParquetRecordBatchReader, RowSelection};
use parquet::arrow::{FieldLevels, ProjectionMask, parquet_to_arrow_field_levels};

use super::chunks::Chunks;
use super::readings::Readings;
use super::stream::{self, Limits, Stream};
use super::{File, is_overflow, refuse_beyond, twice};
use crate::format::{FormatError, Ranges, Unit, Unread};
use crate::panics::guarded;

/// Why there are no more rows.
#[derive(Debug)]
pub(super) enum Fault {
    /// Bytes cannot be had.
    Unread(Unread),
    /// The file is not read.
    Refused(FormatError),
    /// The bytes are not what the format says.
    Bytes(String),
    /// A batch would have been too large; one of so many rows is not, or has one row.
    TooMany(u64),
    /// More bytes than a column of a batch can have.
    Overflow(String),
    /// A value that the job's type does not hold, by its row in the batch.
    Value(usize, String),
    /// A value that the file's own type holds, and the job's does not, by its row in the batch.
    Unfit(usize, String),
}

/// Of which columns of which row group, and from where.
pub(super) struct Place<'a> {
    pub file: &'a File,
    pub unit: &'a Unit,
    pub ranges: &'a Arc<dyn Ranges>,
    /// The job's columns, which the file has.
    pub schema: &'a SchemaRef,
    pub window_bytes: u64,
    pub page_bytes_max: u64,
    pub limits: Limits,
}

/// Which rows of the row group, and how many at a time.
pub(super) struct Chosen {
    pub rows: RowSelection,
    /// The first of them.
    pub first: u64,
    pub batch_rows: usize,
}

/// Gives the wanted rows, batch by batch.
pub(super) struct Decoder {
    columns: Pages,
    /// The same rows of columns that are read twice.
    again: Option<Pages>,
    joins: Vec<Join>,
}

/// A column that is read twice.
struct Join {
    name: String,
    /// Places in the two batches.
    first: usize,
    second: usize,
    /// Types in the file as it is read, and in the job.
    to: DataType,
    job: DataType,
}

impl Decoder {
    pub fn new(place: &Place<'_>) -> Result<Decoder, Fault> {
        let readings = &place.file.readings;
        let columns = columns(readings, place.schema);
        let joins = joins(readings, place.schema, &columns);
        let Some(twice) = readings.twice.as_ref().filter(|_| !joins.is_empty()) else {
            return Ok(Decoder { columns: Pages::new(&readings.once, place, columns)?, again: None, joins });
        };
        let again = joins.iter().map(|join| columns[join.first]).collect();
        let again = Some(Pages::new(&twice.second, place, again)?);
        Ok(Decoder { columns: Pages::new(&twice.first, place, columns)?, again, joins })
    }

    /// Reads these rows from now on. None before them is asked for again.
    pub fn begin(&mut self, wanted: &Chosen) -> Result<(), Fault> {
        self.columns.begin(wanted)?;
        self.again.as_mut().map_or(Ok(()), |again| again.begin(wanted))
    }

    /// The next batch of the wanted columns, in the file's order.
    pub fn next(&mut self) -> Result<Option<RecordBatch>, Fault> {
        let batch = self.columns.next()?;
        let (Some(batch), Some(again)) = (&batch, &mut self.again) else { return Ok(batch) };
        match again.next()? {
            Some(again) if again.num_rows() == batch.num_rows() => join_all(batch, &again, &self.joins).map(Some),
            _ => Err(Fault::Bytes("its columns have different numbers of rows".into())),
        }
    }

    /// After the last row of the row group.
    pub fn check_end(&self) -> Result<(), Fault> {
        let mut pages = std::iter::once(&self.columns).chain(&self.again);
        pages.try_for_each(|pages| pages.stream.check_end()).map_err(bytes)
    }

    /// Rows that a batch may have by the pages that were seen last.
    pub fn fitting(&self) -> u64 {
        let again = self.again.as_ref().map_or(u64::MAX, |again| again.stream.fitting());
        self.columns.stream.fitting().min(again)
    }
}

/// Places in the file of the columns that are read, ascending.
fn columns(readings: &Readings, schema: &Schema) -> Vec<usize> {
    let wanted: HashSet<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
    let mut met = HashSet::with_capacity(wanted.len());
    let own = readings.schema.fields().iter().enumerate();
    let mut is_first =
        |field: &Field| wanted.contains(field.name().as_str()) && met.insert(field.name().as_str().to_owned());
    own.filter(|(_, field)| is_first(field)).map(|(place, _)| place).collect()
}

fn joins(readings: &Readings, schema: &Schema, columns: &[usize]) -> Vec<Join> {
    let Some(twice) = &readings.twice else { return Vec::new() };
    let read = columns.iter().enumerate().filter(|(_, column)| twice.columns.contains(column));
    let join = |(second, (first, column)): (usize, (usize, &usize))| {
        let field = readings.schema.field(*column);
        let job = schema.field_with_name(field.name()).unwrap_or(field).data_type().clone();
        Join { name: field.name().clone(), first, second, to: field.data_type().clone(), job }
    };
    read.enumerate().map(join).collect()
}

fn join_all(batch: &RecordBatch, again: &RecordBatch, joins: &[Join]) -> Result<RecordBatch, Fault> {
    let mut columns = batch.columns().to_vec();
    let mut fields = batch.schema().fields().to_vec();
    for join in joins {
        let joined = joined(batch.column(join.first), again.column(join.second), join)?;
        let field: &Field = &fields[join.first];
        fields[join.first] = Arc::new(field.clone().with_data_type(joined.data_type().clone()));
        columns[join.first] = joined;
    }
    let options = RecordBatchOptions::new().with_row_count(Some(batch.num_rows()));
    let batch = RecordBatch::try_new_with_options(Arc::new(Schema::new(fields)), columns, &options);
    batch.map_err(|error| Fault::Bytes(error.to_string()))
}

fn joined(first: &ArrayRef, second: &ArrayRef, join: &Join) -> Result<ArrayRef, Fault> {
    twice::join(first, second, &join.to, &join.job).map_err(|error| {
        let refused = |row: usize| {
            let (first, second) = (first.slice(row, 1), second.slice(row, 1));
            twice::join(&first, &second, &join.to, &join.job).err().map(|error| (row, error))
        };
        match (0..first.len()).find_map(refused) {
            Some((row, ArrowError::ComputeError(what))) => Fault::Value(row, format!("column `{}`: {what}", join.name)),
            _ => Fault::Bytes(error.to_string()),
        }
    })
}

/// Pages of some columns become batches.
struct Pages {
    stream: Arc<Stream>,
    levels: FieldLevels,
    reader: Option<ParquetRecordBatchReader>,
}

impl Pages {
    fn new(metadata: &ArrowReaderMetadata, place: &Place<'_>, columns: Vec<usize>) -> Result<Pages, Fault> {
        let (parquet, footer, unit) = (metadata.parquet_schema(), Arc::clone(metadata.metadata()), place.unit);
        let mask = ProjectionMask::roots(parquet, columns);
        let leaves: Vec<usize> = (0..parquet.num_columns()).filter(|leaf| mask.leaf_included(*leaf)).collect();
        let levels = parquet_to_arrow_field_levels(parquet, mask, Some(metadata.schema().fields())).map_err(bytes)?;
        let group = footer.row_group(unit.number);
        let ranges: Vec<_> = leaves.iter().map(|leaf| stream::range(group.column(*leaf))).collect();
        refuse_beyond(place.ranges.size(), &ranges).map_err(Fault::Refused)?;
        let chunks = Chunks::new(Arc::clone(place.ranges), &ranges, place.window_bytes, place.page_bytes_max);
        let stream = Stream::new(Arc::new(chunks), (footer, unit.number), leaves, place.limits);
        let pages = Pages { stream, levels, reader: None };
        pages.stream.check_pages().map_err(|error| pages.fault(&error.into()))?;
        Ok(pages)
    }

    fn begin(&mut self, wanted: &Chosen) -> Result<(), Fault> {
        self.reader = None;
        self.stream.passed(wanted.first);
        let (pages, rows) = (self.stream.begin(wanted.first, wanted.batch_rows as u64), wanted.rows.clone());
        let (levels, batch_rows) = (&self.levels, wanted.batch_rows);
        let reader = guarded(|| {
            ParquetRecordBatchReader::try_new_with_row_groups(levels, &pages, batch_rows, Some(rows)).map_err(bytes)
        });
        self.reader = Some(reader.map_err(|_| Fault::Bytes(CONTRADICTS.into()))??);
        Ok(())
    }

    fn next(&mut self) -> Result<Option<RecordBatch>, Fault> {
        let reader = self.reader.as_mut().expect("begun");
        // The decoder panics on some lies of a footer.
        let decoded = guarded(|| reader.next().transpose()).map_err(|_| Fault::Bytes(CONTRADICTS.into()))?;
        decoded.map_err(|error| self.fault(&error))
    }

    fn fault(&self, error: &ArrowError) -> Fault {
        if let Some(error) = self.stream.chunks.take_failed() {
            return Fault::Unread(error);
        }
        if let Some(large) = self.stream.chunks.take_large() {
            return Fault::Refused(self.stream.too_large(large));
        }
        match self.stream.take_refused() {
            Some(rows) => Fault::TooMany(rows),
            None if is_overflow(error) => Fault::Overflow(error.to_string()),
            None => bytes(error),
        }
    }
}

/// Whatever part of it does not fit the others.
pub(super) const CONTRADICTS: &str = "its footer contradicts its pages";

fn bytes(error: impl ToString) -> Fault {
    Fault::Bytes(error.to_string())
}
