//! Decodes rows of one row group: pages are asked for as they are needed, and columns that are read twice are joined.
//! Where a page's own header contradicts the page index, that is said before a row leaves: rows are found by the index, and
//! one that lies would give rows of another place. Pages that are passed over on the way are looked at for that, too.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use arrow::error::ArrowError;
use bytes::Bytes;
use parquet::DecodeResult;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, RowSelection};
use parquet::arrow::push_decoder::{ParquetPushDecoder, ParquetPushDecoderBuilder};
use tokio::runtime::Handle;

use super::open::Fetch;
use super::pages::PageMap;
use super::readings::Readings;
use super::{SourceError, twice};
use crate::panics::guarded;

/// Why there are no more rows.
#[derive(Debug)]
pub(super) enum Fault {
    /// The object cannot be had.
    Source(SourceError),
    /// The bytes are not what the format says, or the page index is not what the bytes say.
    Bytes(String),
    /// A value that the job's type does not hold, by its row in the batch.
    Value(usize, String),
    /// A value that the file's own type holds, and the job's does not, by its row in the batch.
    Unfit(usize, String),
}

/// Which rows of which columns, and how many at a time.
pub(super) struct Wanted<'a> {
    pub row_group: usize,
    /// The job's columns, which the file has.
    pub schema: &'a SchemaRef,
    pub rows: RowSelection,
    pub batch_rows: usize,
}

/// Where pages come from.
pub(super) struct Supply<'a> {
    pub fetch: &'a Fetch,
    pub runtime: &'a Handle,
    /// What the page index says, to be held against the pages; none if they are read without.
    pub pages: Option<&'a mut PageMap>,
}

/// Of pages that are only looked at, how much is in memory at once, about.
const PASSED_BYTES: u64 = 16 << 20;

impl Supply<'_> {
    /// Bytes of the pages that are asked for. Where the page index says which rows these have, it is right.
    fn pages(&mut self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, Fault> {
        let passed = self.pages.as_ref().map_or_else(Vec::new, |pages| pages.passed(ranges));
        for some in runs(&passed, PASSED_BYTES) {
            self.checked(some)?;
        }
        let parts = self.checked(ranges)?;
        if let Some(pages) = &mut self.pages {
            pages.prove(ranges);
        }
        Ok(parts)
    }

    fn checked(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>, Fault> {
        let parts = self.fetch.wait_for(ranges, self.runtime).map_err(Fault::Source)?;
        let lie = self.pages.as_ref().and_then(|pages| pages.lie(ranges, &parts));
        lie.map_or(Ok(parts), |lie| Err(Fault::Bytes(lie)))
    }
}

/// Runs of ranges, each as short as it can be that has so many bytes.
fn runs(ranges: &[Range<u64>], bytes: u64) -> impl Iterator<Item = &[Range<u64>]> {
    let mut sum = 0;
    ranges.chunk_by(move |range, _| {
        sum += range.end - range.start;
        let goes_on = sum < bytes;
        sum *= u64::from(goes_on);
        goes_on
    })
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
    pub fn new(readings: &Readings, wanted: &Wanted<'_>) -> Result<Decoder, Fault> {
        let columns = columns(readings, wanted.schema);
        let joins = joins(readings, wanted.schema, &columns);
        let Some(twice) = readings.twice.as_ref().filter(|_| !joins.is_empty()) else {
            return Ok(Decoder { columns: Pages::new(&readings.once, wanted, columns)?, again: None, joins });
        };
        let again = joins.iter().map(|join| columns[join.first]).collect();
        let again = Some(Pages::new(&twice.second, wanted, again)?);
        Ok(Decoder { columns: Pages::new(&twice.first, wanted, columns)?, again, joins })
    }

    /// The next batch of the wanted columns, in the file's order.
    pub fn next(&mut self, from: &mut Supply<'_>) -> Result<Option<RecordBatch>, Fault> {
        let batch = self.columns.next(from)?;
        let (Some(batch), Some(again)) = (&batch, &mut self.again) else { return Ok(batch) };
        match again.next(from)? {
            Some(again) if again.num_rows() == batch.num_rows() => join_all(batch, &again, &self.joins).map(Some),
            _ => Err(Fault::Bytes("its columns have different numbers of rows".into())),
        }
    }
}

/// Places in the file of the columns that are read, ascending.
fn columns(readings: &Readings, schema: &Schema) -> Vec<usize> {
    let own = &readings.schema;
    let mut columns: Vec<usize> = schema.fields().iter().filter_map(|field| own.index_of(field.name()).ok()).collect();
    columns.sort_unstable();
    columns.dedup();
    columns
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
    decoder: ParquetPushDecoder,
}

impl Pages {
    fn new(metadata: &ArrowReaderMetadata, wanted: &Wanted<'_>, columns: Vec<usize>) -> Result<Pages, Fault> {
        let builder = ParquetPushDecoderBuilder::new_with_metadata(metadata.clone())
            .with_row_groups(vec![wanted.row_group])
            .with_projection(ProjectionMask::roots(metadata.parquet_schema(), columns))
            .with_row_selection(wanted.rows.clone())
            .with_batch_size(wanted.batch_rows);
        let decoder = builder.build().map_err(|error| Fault::Bytes(error.to_string()))?;
        Ok(Pages { decoder })
    }

    fn next(&mut self, from: &mut Supply<'_>) -> Result<Option<RecordBatch>, Fault> {
        let bytes = |error: parquet::errors::ParquetError| Fault::Bytes(error.to_string());
        loop {
            // The decoder panics on some lies of a footer.
            let decoded = guarded(|| self.decoder.try_decode());
            let decoded = decoded.map_err(|_| Fault::Bytes("its footer contradicts its pages".into()))?;
            match decoded.map_err(bytes)? {
                DecodeResult::NeedsData(ranges) => {
                    let parts = from.pages(&ranges)?;
                    self.decoder.push_ranges(ranges, parts).map_err(bytes)?;
                }
                DecodeResult::Data(batch) => return Ok(Some(batch)),
                DecodeResult::Finished => return Ok(None),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passed_pages_are_looked_at_in_runs() {
        let pages = [0..3, 3..4, 9..10, 10..99, 99..100];
        let runs: Vec<&[Range<u64>]> = runs(&pages, 4).collect();
        assert_eq!(runs, [&pages[..2], &pages[2..4], &pages[4..]]);
        assert_eq!(super::runs(&[], 4).count(), 0);
    }
}
