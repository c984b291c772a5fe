//! The rows of a unit that are still to do, batch by batch.
//!
//! `Rows` is the list of rows not yet given out; it shrinks as batches leave. A lost connection never leads back to the
//! unit's start, whose rows are in a group already: the request for the missing bytes is sent again (see `open`), and the
//! decoder goes on where it was. Nor does a batch that would take too much memory: it is decoded again with fewer rows.

use std::collections::VecDeque;
use std::ops::Range;

use arrow::array::RecordBatch;
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::SchemaRef;
use parquet::arrow::arrow_reader::RowSelection;

use super::decode::{Decoder, Fault, Place, Wanted};
use super::estimate::{self, BatchRows, Gathered};
use super::fit::{Unfit, arrange};
use super::{SourceError, Unit};
use crate::block::batch_bytes;

/// How much one batch holds, and how much is fetched at once.
#[derive(Clone, Copy, Debug)]
pub struct BlockSize {
    /// Rows at most.
    pub rows_max: usize,
    /// Bytes aimed at; one row may have more.
    pub bytes_max: usize,
    /// Bytes of a row group, packed as they are in the file, that are fetched at once.
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

    /// Rows from the first to the last, also those between that are not among them.
    pub(super) fn span(&self) -> u64 {
        self.0.last().map_or(0, |last| last.end - self.0[0].start)
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
    runtime: &'a tokio::runtime::Handle,
    decoding: Option<Decoding>,
    batch: BatchRows,
    parts: VecDeque<RecordBatch>,
    /// What went wrong behind the parts.
    failed: Option<Fault>,
}

struct Decoding {
    decoder: Decoder,
    /// Rows that were left when the decoder was begun; one that gives none would be begun for ever. None if it is to begin.
    begun: Option<u64>,
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
        let row_bytes = estimate::row_bytes(unit, &unit.object.projection(schema).0);
        let (batch, schema) = (BatchRows::new(&size, row_bytes), SchemaRef::clone(schema));
        let (decoding, parts) = (None, VecDeque::new());
        UnitReader { unit, schema, size, left: wanted, runtime, decoding, batch, parts, failed: None }
    }

    /// The next rows. Waits for the store.
    #[expect(clippy::should_implement_trait, reason = "fallible, and borrows nothing")]
    pub fn next(&mut self) -> Result<Option<(RecordBatch, Rows)>, SourceError> {
        self.try_next().map_err(|fault| self.refused(fault))
    }

    fn try_next(&mut self) -> Result<Option<(RecordBatch, Rows)>, Fault> {
        loop {
            if let Some(batch) = self.parts.pop_front() {
                let rows = self.left.take_front(batch.num_rows() as u64);
                return Ok(Some((batch, rows)));
            }
            if let Some(fault) = self.failed.take() {
                return Err(fault);
            }
            if self.left.is_empty() {
                return Ok(None);
            }
            self.gather()?;
        }
    }

    /// Decodes the next rows. Where pages allow few at a time, and these turn out to be small, several batches become one.
    fn gather(&mut self) -> Result<(), Fault> {
        let mut gathered = Gathered::default();
        loop {
            match self.decode(gathered.rows) {
                Ok(Some(batch)) => {
                    if !gathered.take(batch, &self.size) || !self.batch.is_reduced() {
                        break;
                    }
                }
                Ok(None) => break,
                Err(fault) if gathered.rows == 0 => return Err(fault),
                Err(fault) => {
                    self.failed = Some(fault);
                    break;
                }
            }
        }
        self.adapt(&gathered);
        self.parts = split(&gathered.joined()?, self.size.bytes_max);
        Ok(())
    }

    /// More rows at a time, if pages are smaller again; fewer, if they become more than they say.
    fn adapt(&mut self, gathered: &Gathered) {
        let Some(decoding) = &mut self.decoding else { return };
        if self.batch.adapt(decoding.decoder.fitting(), gathered) {
            decoding.begun = None;
        }
    }

    /// The batch behind so many rows that are decoded; none at the end of all that are left.
    fn decode(&mut self, ahead: u64) -> Result<Option<RecordBatch>, Fault> {
        loop {
            if self.left.len() == ahead {
                return Ok(None);
            }
            match self.decode_begun(ahead) {
                Ok(Some(batch)) if batch.num_rows() as u64 + ahead > self.left.len() => return Err(self.has("more")),
                Ok(Some(batch)) => return self.arranged(&batch).map(Some),
                Ok(None) if self.is_idle(ahead) => return Err(self.has("fewer")),
                Ok(None) => {}
                Err(Fault::TooMany(rows)) => self.batch.reduce(rows),
                Err(Fault::Overflow(_)) if self.batch.rows > 1 => self.batch.reduce(self.batch.rows / 8),
                Err(Fault::Overflow(message)) => return Err(Fault::Bytes(message)),
                Err(fault) => return Err(fault),
            }
            self.decoding.as_mut().expect("made").begun = None;
        }
    }

    fn is_idle(&self, ahead: u64) -> bool {
        let begun = self.decoding.as_ref().and_then(|decoding| decoding.begun);
        begun == Some(self.left.len() - ahead)
    }

    fn decode_begun(&mut self, ahead: u64) -> Result<Option<RecordBatch>, Fault> {
        if self.decoding.is_none() {
            self.decoding = Some(self.start()?);
        }
        let decoding = self.decoding.as_mut().expect("just made");
        if decoding.begun.is_none() {
            let mut left = self.left.clone();
            left.take_front(ahead);
            let batch_rows = self.batch.of(&left);
            let start = self.unit.rows.start;
            let first = left.ranges().first().map_or(start, |range| range.start) - start;
            decoding.decoder.begin(&Wanted { rows: left.within(start), first, batch_rows })?;
            decoding.begun = Some(left.len());
        }
        decoding.decoder.next()
    }

    fn start(&self) -> Result<Decoding, Fault> {
        let (_, places) = self.unit.object.projection(&self.schema);
        let decoder = Decoder::new(&Place {
            unit: self.unit,
            runtime: self.runtime,
            schema: &self.schema,
            window_bytes: self.size.window_bytes,
            limits: self.size.limits(),
        })?;
        Ok(Decoding { decoder, begun: None, places })
    }

    fn has(&self, more: &str) -> Fault {
        Fault::Bytes(format!("row group {} has {more} rows than the footer says", self.unit.row_group))
    }

    fn arranged(&self, batch: &RecordBatch) -> Result<RecordBatch, Fault> {
        let places = &self.decoding.as_ref().expect("made").places;
        arrange(batch, places, &self.schema).map_err(|Unfit { row, message }| match row {
            Some(row) => Fault::Unfit(row, message),
            None => Fault::Bytes(message),
        })
    }

    fn refused(&self, fault: Fault) -> SourceError {
        let object = self.unit.object.object.path.to_string();
        match fault {
            Fault::Source(error) => error,
            Fault::Bytes(message) | Fault::Overflow(message) => self.bad(message),
            Fault::TooMany(rows) => self.bad(format!("more than {rows} rows at a time take too much memory")),
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
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, ListArray, StringArray};
    use arrow::compute::concat_batches;
    use arrow::datatypes::Int64Type;
    use object_store::ObjectStoreExt;
    use parquet::arrow::ArrowWriter;
    use parquet::file::properties::{WriterProperties, WriterVersion};

    use super::*;
    use crate::source::Object;
    use crate::store::Store;

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

    const TEXTS: [usize; 6] = [0, 3, 90, 20, 6000, 7];

    /// Values in dictionaries and not, some much larger than others; nulls; lists; pages of some 20 rows.
    fn table(rows: usize) -> RecordBatch {
        let text = |row: usize| "x".repeat(TEXTS[row * 31 % 97 % 6]) + &(row % 40).to_string();
        let plain = |row: usize| (row % 7 != 3).then(|| text(row) + &"y".repeat(row % 300));
        let lists = (0..rows).map(|row| (row % 5 != 2).then(|| (0..row % 4).map(move |n| Some((row * n) as i64))));
        let columns: [(&str, ArrayRef, bool); 4] = [
            ("n", Arc::new(Int64Array::from_iter_values(0..rows as i64)), false),
            ("few", Arc::new(StringArray::from_iter_values((0..rows).map(text))), false),
            ("plain", Arc::new(StringArray::from_iter((0..rows).map(plain))), true),
            ("lists", Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists)), true),
        ];
        RecordBatch::try_from_iter_with_nullable(columns).unwrap()
    }

    fn written(table: &RecordBatch, version: WriterVersion) -> Vec<u8> {
        let properties = WriterProperties::builder().set_writer_version(version).set_write_batch_size(20);
        let properties = properties.set_data_page_row_count_limit(20).set_offset_index_disabled(true);
        let properties = properties.set_column_dictionary_enabled("plain".into(), false);
        let mut writer = ArrowWriter::try_new(Vec::new(), table.schema(), Some(properties.build())).unwrap();
        writer.write(table).unwrap();
        writer.into_inner().unwrap()
    }

    /// Some runs of rows.
    fn some(rows: u64, seed: u64) -> Rows {
        let mut state = seed;
        let mut below = |end: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % end
        };
        let (mut ranges, mut at, longest) = (Vec::new(), 0, [3, 40, 900][seed as usize % 3]);
        while at < rows {
            let start = at + below(longest);
            let end = (start + 1 + below(longest)).min(rows);
            ranges.extend((start < end).then_some(start..end));
            at = end + 1;
        }
        Rows::new(ranges)
    }

    /// Whatever pages make of the rows at a time, and wherever a decoder begins again, the rows are those that were asked for.
    #[test]
    fn rows_are_the_same_in_little_memory() {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let table = table(4000);
        for (seed, version) in (0..12).zip([WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0].into_iter().cycle())
        {
            let store = Store::memory("source");
            let bytes = written(&table, version);
            let object = Object { path: "a".into(), size: bytes.len() as u64, etag: None, modified_ms: 0 };
            runtime.block_on(store.objects().put(&"a".into(), bytes.into())).unwrap();
            let opened = Arc::new(runtime.block_on(super::super::open(&store, &object, 0)).unwrap());
            let unit = opened.units().remove(0);
            let wanted = some(4000, seed);
            let size = BlockSize { rows_max: 700, bytes_max: [900, 20_000][seed as usize / 6], window_bytes: 70_000 };
            let mut reader = UnitReader::new(&unit, &table.schema(), wanted.clone(), size, runtime.handle());
            let (mut batches, mut rows) = (Vec::new(), Vec::new());
            while let Some((batch, given)) = reader.next().unwrap() {
                assert_eq!(batch.num_rows() as u64, given.len());
                assert!(batch.num_rows() == 1 || batch_bytes(&batch) < 9 * size.bytes_max, "{seed}: too large");
                batches.push(batch);
                given.ranges().iter().for_each(|range| push(&mut rows, range.clone()));
            }
            assert_eq!(Rows::new(rows), wanted, "{seed}");
            let slice = |range: &Range<u64>| table.slice(range.start as usize, (range.end - range.start) as usize);
            let right: Vec<RecordBatch> = wanted.ranges().iter().map(slice).collect();
            let concat = |batches: &[RecordBatch]| concat_batches(&table.schema(), batches).unwrap();
            assert!(concat(&batches) == concat(&right), "{seed}: other rows");
        }
    }
}
