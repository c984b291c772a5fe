//! The rows of a unit that are still to do, batch by batch.
//!
//! `Rows` is the list of rows not yet given out; it shrinks as batches leave. A lost connection never leads back to the
//! unit's start, whose rows are in a group already: the request for the missing bytes is sent again (see `open`), and the
//! decoder goes on where it was.

use std::collections::VecDeque;
use std::ops::Range;

use arrow::array::RecordBatch;
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::SchemaRef;
use parquet::arrow::arrow_reader::RowSelection;
use parquet::file::metadata::ColumnChunkMetaData;

use super::decode::{Decoder, Fault, Supply, Wanted};
use super::fit::{Unfit, arrange};
use super::open::warn_of_pages;
use super::pages::PageMap;
use super::readings::Readings;
use super::{SourceError, Unit};
use crate::block::batch_bytes;

/// How much one batch holds, and how much is fetched at once.
#[derive(Clone, Copy, Debug)]
pub struct BlockSize {
    /// Rows at most.
    pub rows_max: usize,
    /// Bytes aimed at; one row may have more.
    pub bytes_max: usize,
    /// Decoded bytes of a row group that are fetched at once where its pages can be told apart.
    pub window_bytes: u64,
}

/// Row ordinals of an object, ascending and disjoint.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rows(Vec<Range<u64>>);

impl Rows {
    /// From ranges that are ascending and disjoint.
    pub fn new(ranges: Vec<Range<u64>>) -> Rows {
        debug_assert!(ranges.windows(2).all(|pair| pair[0].end <= pair[1].start));
        Rows(ranges)
    }

    /// The ranges.
    pub fn ranges(&self) -> &[Range<u64>] {
        &self.0
    }

    /// How many rows.
    pub fn len(&self) -> u64 {
        self.0.iter().map(|range| range.end - range.start).sum()
    }

    /// Whether no row is left.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes the first `count` rows out.
    pub fn take_front(&mut self, count: u64) -> Rows {
        let mut left = count;
        let mut front = Vec::new();
        let mut whole = 0;
        for range in &mut self.0 {
            if left == 0 {
                break;
            }
            let length = range.end - range.start;
            let taken = length.min(left);
            front.push(range.start..range.start + taken);
            left -= taken;
            range.start += taken;
            whole += usize::from(taken == length);
        }
        self.0.drain(..whole);
        Rows(front)
    }

    /// Splits by an answer per row: those with `true`, and those with `false`. Costs by runs of equal answers, not by rows.
    pub fn split(&self, answers: &BooleanBuffer) -> (Rows, Rows) {
        let (mut yes, mut no) = (Vec::new(), Vec::new());
        let mut asked = 0;
        for range in &self.0 {
            let length = (range.end - range.start) as usize;
            let mut next = range.start;
            for (start, end) in answers.slice(asked, length).set_slices() {
                let (start, end) = (range.start + start as u64, range.start + end as u64);
                push(&mut no, next..start);
                push(&mut yes, start..end);
                next = end;
            }
            push(&mut no, next..range.end);
            asked += length;
        }
        (Rows(yes), Rows(no))
    }

    fn within(&self, start: u64) -> RowSelection {
        let end = self.0.last().map_or(start, |range| range.end);
        let local = self.0.iter().map(|range| (range.start - start) as usize..(range.end - start) as usize);
        RowSelection::from_consecutive_ranges(local, (end - start) as usize)
    }
}

fn push(ranges: &mut Vec<Range<u64>>, more: Range<u64>) {
    match ranges.last_mut() {
        _ if more.is_empty() => {}
        Some(last) if last.end == more.start => last.end = more.end,
        _ => ranges.push(more),
    }
}

/// What to do about a timestamp of an older system that the job's column does not hold.
const VALUE: &str = "rows that are done stay done. Nothing is rounded: write the column anew as a TIMESTAMP in the unit that its values need, \
                     or, if nothing else needs it, leave it out with `columns` under [sink]";

/// About a value that its own file's type holds, and the job's does not.
const UNIT: &str = "rows that are done stay done. The job reads the finest type that its objects have: write them with a coarser unit; or, \
                    if nothing else needs the column, leave it out with `columns` under [sink]";

/// Gives out the wanted rows of one unit.
pub struct UnitReader<'a> {
    unit: &'a Unit,
    schema: SchemaRef,
    size: BlockSize,
    left: Rows,
    decoding: Option<Decoding>,
    runtime: &'a tokio::runtime::Handle,
    parts: VecDeque<RecordBatch>,
    /// What the page index says; none if there is none, or none to rely on.
    pages: Option<PageMap>,
}

struct Decoding {
    /// Rows that were left when it began; a decoder that gives none would be begun for ever.
    left: u64,
    decoder: Decoder,
    /// Of each column among the decoded ones, if the object has it.
    places: Vec<Option<usize>>,
}

impl<'a> UnitReader<'a> {
    /// A reader of the columns of `schema` for the rows `wanted`, which lie in the unit.
    pub fn new(
        unit: &'a Unit,
        schema: &SchemaRef,
        wanted: Rows,
        size: BlockSize,
        runtime: &'a tokio::runtime::Handle,
    ) -> UnitReader<'a> {
        let schema = SchemaRef::clone(schema);
        let (read, _) = unit.object.projection(&schema);
        let pages = PageMap::of(unit.object.metadata.metadata(), unit.row_group, &read);
        UnitReader { unit, schema, size, left: wanted, decoding: None, runtime, parts: VecDeque::new(), pages }
    }

    /// The next rows. Waits for the store.
    #[expect(clippy::should_implement_trait, reason = "fallible, and borrows nothing")]
    pub fn next(&mut self) -> Result<Option<(RecordBatch, Rows)>, SourceError> {
        loop {
            match self.try_next() {
                Ok(next) => return Ok(next),
                Err(Fault::Bytes(lie)) if self.pages.is_some() => self.read_without_pages(&lie),
                Err(fault) => return Err(self.refused(fault)),
            }
        }
    }

    /// No row left with the batch that failed.
    fn read_without_pages(&mut self, lie: &str) {
        (self.pages, self.decoding) = (None, None);
        warn_of_pages(&self.unit.object.object.path, lie);
    }

    fn try_next(&mut self) -> Result<Option<(RecordBatch, Rows)>, Fault> {
        loop {
            if let Some(batch) = self.parts.pop_front() {
                return self.take(batch).map(Some);
            }
            if self.decoding.is_none() {
                if self.left.is_empty() {
                    return Ok(None);
                }
                self.decoding = Some(self.start()?);
            }
            match self.decode()? {
                Some(batch) if batch.num_rows() as u64 > self.left.len() => return Err(self.has("more")),
                Some(batch) => self.parts = split(&batch, self.size.bytes_max),
                None if self.decoding.as_ref().is_some_and(|decoding| decoding.left == self.left.len()) => {
                    return Err(self.has("fewer"));
                }
                None => self.decoding = None,
            }
        }
    }

    fn take(&mut self, batch: RecordBatch) -> Result<(RecordBatch, Rows), Fault> {
        let rows = self.left.take_front(batch.num_rows() as u64);
        Ok((batch, rows))
    }

    fn has(&self, more: &str) -> Fault {
        Fault::Bytes(format!("row group {} has {more} rows than the footer says", self.unit.row_group))
    }

    /// A decoder for the next window of the rows that are left.
    fn start(&self) -> Result<Decoding, Fault> {
        let window = self.left.clone().take_front(self.window_rows());
        let (_, places) = self.unit.object.projection(&self.schema);
        let wanted = Wanted {
            row_group: self.unit.row_group,
            schema: &self.schema,
            rows: window.within(self.unit.rows.start),
            batch_rows: self.batch_rows(),
        };
        Ok(Decoding { left: self.left.len(), decoder: Decoder::new(self.readings()?, &wanted)?, places })
    }

    fn readings(&self) -> Result<&Readings, Fault> {
        match self.pages {
            Some(_) => Ok(&self.unit.object.readings),
            None => self.unit.object.without_pages().map_err(|error| Fault::Bytes(error.to_string())),
        }
    }

    fn decode(&mut self) -> Result<Option<RecordBatch>, Fault> {
        let Decoding { decoder, places, .. } = self.decoding.as_mut().expect("started by the caller");
        let mut from = Supply { fetch: &self.unit.object.fetch, runtime: self.runtime, pages: self.pages.as_mut() };
        let Some(batch) = decoder.next(&mut from)? else { return Ok(None) };
        let batch = arrange(&batch, places, &self.schema);
        batch.map(Some).map_err(|Unfit { row, message }| match row {
            Some(row) => Fault::Unfit(row, message),
            None => Fault::Bytes(message),
        })
    }

    fn refused(&self, fault: Fault) -> SourceError {
        let object = self.unit.object.object.path.to_string();
        match fault {
            Fault::Source(error) => error,
            Fault::Bytes(message) => self.bad(message),
            Fault::Value(row, message) => {
                SourceError::Bad { object, message: format!("row {}: {message}", self.row(row)), hint: VALUE }
            }
            Fault::Unfit(row, message) => {
                SourceError::Differs { object, message: format!("row {}: {message}", self.row(row)), hint: UNIT }
            }
        }
    }

    /// A row of the batch that failed, with which the rows begin that are left.
    fn row(&self, in_batch: usize) -> u64 {
        let until = self.left.clone().take_front(in_batch as u64 + 1);
        until.ranges().last().map_or(0, |range| range.end - 1)
    }

    fn batch_rows(&self) -> usize {
        let fitting = self.size.bytes_max as u64 / self.row_bytes();
        fitting.clamp(1, self.size.rows_max as u64) as usize
    }

    /// Without the page index a window would fetch the whole row group each time.
    fn window_rows(&self) -> u64 {
        if self.pages.is_some() { (self.size.window_bytes / self.row_bytes()).max(1) } else { u64::MAX }
    }

    /// Decoded bytes of an average row, by the footer; dictionaries make it an underestimate.
    fn row_bytes(&self) -> u64 {
        let metadata = self.unit.object.metadata.metadata().row_group(self.unit.row_group);
        let read = |name: &str| self.schema.field_with_name(name).is_ok();
        let columns = metadata.columns().iter().filter(|column| read(&column.column_path().parts()[0]));
        let bytes: i64 = columns.map(ColumnChunkMetaData::uncompressed_size).sum();
        let rows = self.unit.rows.end - self.unit.rows.start;
        (u64::try_from(bytes).unwrap_or(0) / rows.max(1)).max(1)
    }

    fn bad(&self, error: impl ToString) -> SourceError {
        SourceError::bad(&self.unit.object.object.path, error)
    }
}

/// Slices of about `bytes_max` each, of a batch that turned out larger than the footer promised.
fn split(batch: &RecordBatch, bytes_max: usize) -> VecDeque<RecordBatch> {
    let rows = batch.num_rows();
    let pieces = (batch_bytes(batch) / bytes_max.max(1)).clamp(1, rows.max(1));
    let step = rows.div_ceil(pieces).max(1);
    (0..rows).step_by(step).map(|start| batch.slice(start, step.min(rows - start))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_leave_from_the_front_across_gaps() {
        let mut rows = Rows::new(vec![0..3, 10..12, 20..21]);
        assert_eq!(rows.take_front(4), Rows::new(vec![0..3, 10..11]));
        assert_eq!(rows, Rows::new(vec![11..12, 20..21]));
        assert_eq!(rows.take_front(9).len(), 2);
        assert!(rows.is_empty());
    }

    #[test]
    fn answers_split_rows() {
        let split = |rows: Vec<Range<u64>>, answers: &[bool]| Rows::new(rows).split(&BooleanBuffer::from(answers));
        let (yes, no) = split(vec![0..2, 5..8], &[true, false, false, true, true]);
        assert_eq!(yes, Rows::new(vec![0..1, 6..8]));
        assert_eq!(no, Rows::new(vec![1..2, 5..6]));
        let (yes, no) = split(vec![0..2, 2..4], &[true; 4]);
        assert_eq!((yes, no), (Rows::new(std::iter::once(0..4).collect()), Rows::default()));
    }
}
