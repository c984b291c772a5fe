//! The rows of a unit that are still to do, batch by batch.
//!
//! `Rows` is the list of rows not yet given out; it shrinks as batches leave. A lost connection never leads back to the
//! unit's start, whose rows are in a group already: the request for the missing bytes is sent again, and the
//! decoder goes on where it was. Nor does a batch that would take too much memory: it is decoded again with fewer rows.

use std::collections::VecDeque;

use arrow::array::RecordBatch;
use parquet::arrow::arrow_reader::RowSelection;

use super::decode::{Chosen, Decoder, Fault, Place};
use super::estimate::{self, BatchRows, Gathered};
use super::{File, bad};
use crate::block::batch_bytes;
use crate::format::arrange::{Unfit, arrange};
use crate::format::{BlockSize, FormatError, Read, RowReader, Rows, Wanted};

/// What to do about a timestamp of an older system that the job's column does not hold.
const VALUE: &str = "rows that are done stay done. Nothing is rounded: write the column anew as a TIMESTAMP in the unit that its values need, \
                     or, if nothing else needs it, leave it out with `columns` under [sink]";

/// About a value that its own file's type holds, and the job's does not.
const UNIT: &str = "rows that are done stay done. The job reads the finest type that its objects have: write them with a coarser unit; or, \
                    if nothing else needs the column, leave it out with `columns` under [sink]";

/// Gives out the wanted rows of one row group.
pub(super) struct UnitReader<'a> {
    file: &'a File,
    wanted: Wanted<'a>,
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
    pub fn new(file: &'a File, wanted: Wanted<'a>) -> UnitReader<'a> {
        let row_bytes = estimate::row_bytes(file, wanted.unit, &file.projection(&wanted.schema).0);
        let batch = BatchRows::new(&wanted.size, row_bytes);
        UnitReader { file, wanted, decoding: None, batch, parts: VecDeque::new(), failed: None }
    }

    fn try_next(&mut self) -> Result<Option<(RecordBatch, Rows)>, Fault> {
        loop {
            if let Some(batch) = self.parts.pop_front() {
                let rows = self.wanted.rows.take_front(batch.num_rows() as u64);
                return Ok(Some((batch, rows)));
            }
            if let Some(fault) = self.failed.take() {
                return Err(fault);
            }
            if self.wanted.rows.is_empty() {
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
                    if !gathered.take(batch, &self.wanted.size) || !self.batch.is_reduced() {
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
        self.parts = split(&gathered.joined()?, self.wanted.size.bytes_max);
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
            if self.wanted.rows.len() == ahead {
                return Ok(None);
            }
            match self.decode_begun(ahead) {
                Ok(Some(batch)) if batch.num_rows() as u64 + ahead > self.wanted.rows.len() => {
                    return Err(self.has("more"));
                }
                Ok(Some(batch)) => {
                    self.check_end(ahead + batch.num_rows() as u64)?;
                    return self.arranged(&batch).map(Some);
                }
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

    /// If these are all that are left, up to the last of the row group.
    fn check_end(&self, rows: u64) -> Result<(), Fault> {
        let Wanted { rows: left, unit, .. } = &self.wanted;
        let is_end = rows == left.len() && left.ranges().last().is_some_and(|last| last.end == unit.rows.end);
        if is_end { self.decoding.as_ref().expect("made").decoder.check_end() } else { Ok(()) }
    }

    fn is_idle(&self, ahead: u64) -> bool {
        let begun = self.decoding.as_ref().and_then(|decoding| decoding.begun);
        begun == Some(self.wanted.rows.len() - ahead)
    }

    fn decode_begun(&mut self, ahead: u64) -> Result<Option<RecordBatch>, Fault> {
        if self.decoding.is_none() {
            self.decoding = Some(self.start()?);
        }
        let decoding = self.decoding.as_mut().expect("just made");
        if decoding.begun.is_none() {
            let mut left = self.wanted.rows.clone();
            left.take_front(ahead);
            let batch_rows = self.batch.of(&left);
            let start = self.wanted.unit.rows.start;
            let first = left.ranges().first().map_or(start, |range| range.start) - start;
            decoding.decoder.begin(&Chosen { rows: selection(&left, start), first, batch_rows })?;
            decoding.begun = Some(left.len());
        }
        decoding.decoder.next()
    }

    fn start(&self) -> Result<Decoding, Fault> {
        let (file, Wanted { unit, schema, size, ranges, .. }) = (self.file, &self.wanted);
        let (_, places) = file.projection(schema);
        let BlockSize { window_bytes, page_bytes_max, .. } = *size;
        let limits = size.limits();
        let decoder = Decoder::new(&Place { file, unit, ranges, schema, window_bytes, page_bytes_max, limits })?;
        Ok(Decoding { decoder, begun: None, places })
    }

    fn has(&self, more: &str) -> Fault {
        Fault::Bytes(format!("row group {} has {more} rows than the footer says", self.wanted.unit.number))
    }

    fn arranged(&self, batch: &RecordBatch) -> Result<RecordBatch, Fault> {
        let places = &self.decoding.as_ref().expect("made").places;
        arrange(batch, places, &self.wanted.schema).map_err(|Unfit { row, message }| match row {
            Some(row) => Fault::Unfit(row, message),
            None => Fault::Bytes(message),
        })
    }

    fn refused(&self, fault: Fault) -> FormatError {
        match fault {
            Fault::Unread(error) => FormatError::Unread(error),
            Fault::Refused(error) => error,
            Fault::Bytes(message) | Fault::Overflow(message) => bad(message),
            Fault::TooMany(rows) => bad(format_args!("more than {rows} rows at a time take too much memory")),
            Fault::Value(row, message) => {
                FormatError::Bad { message: format!("row {}: {message}", self.row(row)), hint: VALUE }
            }
            Fault::Unfit(row, message) => {
                FormatError::Differs { message: format!("row {}: {message}", self.row(row)), hint: UNIT }
            }
        }
    }

    /// A row of the batch that failed, with which the rows begin that are left.
    fn row(&self, in_batch: usize) -> u64 {
        let until = self.wanted.rows.clone().take_front(in_batch as u64 + 1);
        until.ranges().last().map_or(0, |range| range.end - 1)
    }
}

impl RowReader for UnitReader<'_> {
    fn next(&mut self) -> Result<Option<Read>, FormatError> {
        let next = self.try_next().map_err(|fault| self.refused(fault))?;
        Ok(next.map(|(batch, rows)| Read::rows(batch, rows)))
    }
}

/// The rows as the Parquet crate takes them, in a row group that begins with the row `start`.
fn selection(rows: &Rows, start: u64) -> RowSelection {
    let end = rows.ranges().last().map_or(start, |range| range.end);
    let local = rows.ranges().iter().map(|range| (range.start - start) as usize..(range.end - start) as usize);
    RowSelection::from_consecutive_ranges(local, (end - start) as usize)
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
    use std::ops::Range;
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Int64Array, ListArray, StringArray};
    use arrow::compute::concat_batches;
    use arrow::datatypes::Int64Type;
    use bytes::Bytes;
    use futures::FutureExt;
    use parquet::arrow::ArrowWriter;
    use parquet::file::properties::{WriterProperties, WriterVersion};

    use super::super::Parquet;
    use super::*;
    use crate::format::rows::push;
    use crate::format::{Content, Edges, Format};

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

    fn opened(bytes: &Bytes) -> Arc<dyn Content> {
        let [head, tail] =
            Edges::of(bytes.len() as u64).map(|range| bytes.slice(range.start as usize..range.end as usize));
        let edges = Edges { head, tail };
        Parquet.open(bytes, &edges).now_or_never().unwrap().unwrap().content
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
        let table = table(4000);
        for (seed, version) in (0..12).zip([WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0].into_iter().cycle())
        {
            let bytes = Bytes::from(written(&table, version));
            let content = opened(&bytes);
            let unit = content.units().remove(0);
            let wanted = some(4000, seed);
            let size = BlockSize {
                rows_max: 700,
                bytes_max: [900, 20_000][seed as usize / 6],
                window_bytes: 70_000,
                page_bytes_max: 1 << 20,
            };
            let (schema, ranges) = (table.schema(), Arc::new(bytes) as _);
            let mut reader = content.read(Wanted { unit: &unit, schema, rows: wanted.clone(), size, ranges });
            let (mut batches, mut rows) = (Vec::new(), Vec::new());
            while let Some(Read { batch, rows: given, .. }) = reader.next().unwrap() {
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

    /// Pages that say other numbers of rows than they have, in a way that comes out even: rows behind them would be others.
    #[test]
    fn rows_are_not_found_by_pages_that_lie() {
        // A page's numbers of values, nulls and rows, as Thrift writes 20, 0 and 20.
        const SAID: [u8; 6] = [0x15, 40, 0x15, 0, 0x15, 40];
        let table = table(4000).project(&[0]).unwrap();
        let bytes = written(&table, WriterVersion::PARQUET_2_0);
        let pages: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at..].starts_with(&SAID)).collect();
        assert_eq!(pages.len(), 200);
        let read = |bytes: &[u8], wanted: Range<u64>, window_bytes: u64| -> Result<Vec<i64>, FormatError> {
            let bytes = Bytes::copy_from_slice(bytes);
            let content = opened(&bytes);
            let unit = content.units().remove(0);
            let size = BlockSize { rows_max: 700, bytes_max: 900, window_bytes, page_bytes_max: 1 << 20 };
            let (schema, rows) = (table.schema(), Rows::new(std::iter::once(wanted).collect()));
            let mut reader = content.read(Wanted { unit: &unit, schema, rows, size, ranges: Arc::new(bytes) as _ });
            let mut values = Vec::new();
            while let Some(Read { batch, .. }) = reader.next()? {
                values.extend_from_slice(batch.column(0).as_primitive::<Int64Type>().values());
            }
            Ok(values)
        };
        let patched = |changes: &[(usize, usize, u8)]| {
            let mut bytes = bytes.clone();
            changes.iter().for_each(|(page, at, byte)| bytes[pages[*page] + at] = *byte);
            bytes
        };
        // In memory as a whole, or not.
        for window in [70_000, 1000] {
            assert_eq!(read(&bytes, 35..36, window).unwrap(), [35]);
            let lying = patched(&[(0, 5, 60), (1, 5, 20)]);
            assert!(matches!(read(&lying, 35..36, window), Err(FormatError::Bad { .. })), "{window}");
            // One value and row more than there are.
            let more = patched(&[(3, 1, 42), (3, 5, 42)]);
            assert!(matches!(read(&more, 0..4000, window), Err(FormatError::Bad { .. })), "{window}");
        }
    }
}
