//! The rows of a unit that are still to do, batch by batch.
//!
//! `Rows` is the list of rows not yet given out; it shrinks as batches leave. A lost connection never leads back to the
//! unit's start, whose rows are in a group already: the request for the missing bytes is sent again (see `open`), and the
//! decoder goes on where it was.

use std::collections::VecDeque;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use arrow::array::RecordBatch;
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::SchemaRef;
use parquet::DecodeResult;
use parquet::arrow::arrow_reader::RowSelection;
use parquet::arrow::push_decoder::{ParquetPushDecoder, ParquetPushDecoderBuilder};
use parquet::file::metadata::ColumnChunkMetaData;

use super::open::arrange;
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

/// Gives out the wanted rows of one unit.
pub struct UnitReader<'a> {
    unit: &'a Unit,
    schema: SchemaRef,
    size: BlockSize,
    left: Rows,
    decoding: Option<Decoding>,
    runtime: &'a tokio::runtime::Handle,
    parts: VecDeque<RecordBatch>,
}

struct Decoding {
    /// Rows that were left when it began; a decoder that gives none would be begun for ever.
    left: u64,
    decoder: ParquetPushDecoder,
    places: Vec<usize>,
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
        UnitReader { unit, schema, size, left: wanted, decoding: None, runtime, parts: VecDeque::new() }
    }

    /// The next rows. Waits for the store.
    #[expect(clippy::should_implement_trait, reason = "fallible, and borrows nothing")]
    pub fn next(&mut self) -> Result<Option<(RecordBatch, Rows)>, SourceError> {
        loop {
            if let Some(batch) = self.parts.pop_front() {
                if batch.num_rows() as u64 > self.left.len() {
                    let group = self.unit.row_group;
                    return Err(self.bad(format!("row group {group} has more rows than the footer says")));
                }
                let rows = self.left.take_front(batch.num_rows() as u64);
                return Ok(Some((batch, rows)));
            }
            if self.decoding.is_none() {
                if self.left.is_empty() {
                    return Ok(None);
                }
                self.decoding = Some(self.start()?);
            }
            match self.decode()? {
                Some(batch) => self.parts = split(&batch, self.size.bytes_max),
                None if self.decoding.as_ref().is_some_and(|decoding| decoding.left == self.left.len()) => {
                    let group = self.unit.row_group;
                    return Err(self.bad(format!("row group {group} has fewer rows than the footer says")));
                }
                None => self.decoding = None,
            }
        }
    }

    /// A decoder for the next window of the rows that are left.
    fn start(&self) -> Result<Decoding, SourceError> {
        let window = self.left.clone().take_front(self.window_rows());
        let (mask, places) = self.unit.object.projection(&self.schema);
        let builder = ParquetPushDecoderBuilder::new_with_metadata(self.unit.object.metadata.clone())
            .with_row_groups(vec![self.unit.row_group])
            .with_projection(mask)
            .with_row_selection(window.within(self.unit.rows.start))
            .with_batch_size(self.batch_rows());
        let decoder = builder.build().map_err(|error| self.bad(error))?;
        Ok(Decoding { left: self.left.len(), decoder, places })
    }

    fn decode(&mut self) -> Result<Option<RecordBatch>, SourceError> {
        let Decoding { decoder, places, .. } = self.decoding.as_mut().expect("started by the caller");
        let path = &self.unit.object.object.path;
        loop {
            // The decoder panics on some lies of a footer.
            let decoded = catch_unwind(AssertUnwindSafe(|| decoder.try_decode()));
            let decoded = decoded.map_err(|_| SourceError::bad(path, "its footer contradicts its pages"))?;
            match decoded.map_err(|error| SourceError::bad(path, error))? {
                DecodeResult::NeedsData(ranges) => {
                    let bytes = self.unit.object.fetch.wait_for(&ranges, self.runtime)?;
                    decoder.push_ranges(ranges, bytes).map_err(|error| SourceError::bad(path, error))?;
                }
                DecodeResult::Data(batch) => {
                    let batch = arrange(&batch, places, &self.schema);
                    return batch.map(Some).map_err(|error| SourceError::bad(path, error));
                }
                DecodeResult::Finished => return Ok(None),
            }
        }
    }

    fn batch_rows(&self) -> usize {
        let fitting = self.size.bytes_max as u64 / self.row_bytes();
        fitting.clamp(1, self.size.rows_max as u64) as usize
    }

    /// Without an offset index a window would fetch the whole row group each time.
    fn window_rows(&self) -> u64 {
        let has_pages = self.unit.object.metadata.metadata().page_index().is_some();
        if has_pages { (self.size.window_bytes / self.row_bytes()).max(1) } else { u64::MAX }
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
