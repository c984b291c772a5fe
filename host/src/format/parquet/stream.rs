//! The pages of one row group, one after another, as the Parquet crate's decoders ask for them. What is fetched and unpacked
//! at a time is about a window and a page of each column, whatever a row group holds.
//!
//! The headers of pages alone say where pages and rows are. A page index would say nothing beyond that, and rows would be
//! found wrongly where it lies. Of lists and maps, rows are found by going through what the pages before them say.
//!
//! Only a page says how large what it becomes is: where a dictionary has a text of 300 KB, a bit may stand for it. So pages
//! are looked at before they are decoded, and with too many rows at once the decoder is begun again for fewer, from the
//! pages where it was.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use parquet::arrow::arrow_reader::RowGroups;
use parquet::basic::{Encoding, Type};
use parquet::column::page::{Page, PageIterator, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::SerializedPageReader;
use parquet::schema::types::ColumnDescriptor;

use super::chunks::{ChunkBytes, Chunks, LargePage};
use super::decode::CONTRADICTS;
use super::lengths::{self, Lists};
use super::pages::first_byte;
use super::thrift::PageHeader;
use crate::format::FormatError;

/// With more columns than that, little is kept of each: not what unpacks, when it has no more pages, as zstd takes 100 KB for
/// it; and no dictionary to begin again with, which is done from the column's first page then.
const COLUMNS_KEPT_MAX: usize = 256;

/// What to do about a page that takes much memory.
const LARGE_PAGE: &str = "rows that are done stay done. Raise `memory_bytes_max`, or lower `readers` under [run], and run the same command again: \
                          a page may have a fourth of a reader's part of it; or write the file with smaller pages";

/// The columns of a row group that are read, and how far they are.
pub(super) struct Stream {
    pub chunks: Arc<Chunks>,
    metadata: Arc<ParquetMetaData>,
    row_group: usize,
    /// Their places among the leaves.
    leaves: Vec<usize>,
    state: Mutex<State>,
}

struct State {
    columns: Vec<Column>,
    /// Rows of a batch that is being decoded.
    batch_rows: u64,
    limits: Limits,
    /// Bytes of an average row.
    row_bytes: f64,
    /// A batch of so many rows would have been too large.
    refused: Option<u64>,
}

/// How many bytes a batch may have, about.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    /// Rows that an estimate allows and pages do not are decoded if they take no more than that.
    pub bytes_max: u64,
    /// What is aimed at where a batch would take more.
    pub aim: u64,
}

/// How far a column is.
struct Column {
    /// Where reading may begin again: pages, each with its first row; the first of them is needed, or may be.
    points: VecDeque<Point>,
    /// The first row of the next page; none where pages do not say how many they have.
    next_row: Option<u64>,
    dictionary: Option<Page>,
    dictionary_value: Value,
    /// Of its pages.
    value: Value,
    /// Values of a row, about; of the one that has most, as far as was seen.
    per_row: f64,
    longest: f64,
}

#[derive(Clone, Copy)]
struct Point {
    byte: u64,
    row: u64,
}

/// Decoded bytes of a value.
#[derive(Clone, Copy, Default)]
struct Value {
    average: f64,
    largest: f64,
}

/// The range of a column's bytes.
pub(super) fn range(chunk: &ColumnChunkMetaData) -> Range<u64> {
    let start = first_byte(chunk);
    start..start.saturating_add(u64::try_from(chunk.compressed_size()).unwrap_or(0))
}

/// Bytes of a value in memory, but those of a text: also one that is null has them.
pub(super) fn width(column: &ColumnDescriptor) -> u64 {
    let value = match column.physical_type() {
        Type::BOOLEAN => 1,
        Type::INT32 | Type::FLOAT | Type::BYTE_ARRAY => 4,
        Type::INT64 | Type::DOUBLE => 8,
        Type::INT96 => 12,
        Type::FIXED_LEN_BYTE_ARRAY => u64::try_from(column.type_length()).unwrap_or(0),
    };
    let levels = u64::from(column.max_def_level() > 0) + u64::from(column.max_rep_level() > 0);
    value + 2 * levels
}

impl Stream {
    pub fn new(
        chunks: Arc<Chunks>,
        (metadata, row_group): (Arc<ParquetMetaData>, usize),
        leaves: Vec<usize>,
        limits: Limits,
    ) -> Arc<Stream> {
        let group = metadata.row_group(row_group);
        let columns = leaves.iter().map(|leaf| Column::new(group, *leaf)).collect();
        let state = Mutex::new(State { columns, batch_rows: 1, limits, row_bytes: 0.0, refused: None });
        Arc::new(Stream { chunks, metadata, row_group, leaves, state })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decoders will be built that read from `row` on, `batch_rows` at a time.
    pub fn begin(self: &Arc<Stream>, row: u64, batch_rows: u64) -> Begun {
        let mut state = self.state();
        state.batch_rows = batch_rows;
        state.refused = None;
        Begun { stream: Arc::clone(self), row }
    }

    /// Rows before `row` were given out.
    pub fn passed(&self, row: u64) {
        self.state().columns.iter_mut().for_each(|column| column.passed(row));
    }

    /// How many rows a batch may have instead, if there were too many.
    pub fn take_refused(&self) -> Option<u64> {
        self.state().refused.take()
    }

    /// Rows that a batch may have by the pages that were seen last.
    pub fn fitting(&self) -> u64 {
        self.state().fitting()
    }
}

impl State {
    fn fitting(&self) -> u64 {
        let largest = self.columns.iter().map(Column::largest).fold(1.0, f64::max);
        (self.limits.aim as f64 / self.row_bytes.max(largest)) as u64
    }

    /// Looks at what a page becomes. Refuses it if its rows would take too much.
    fn measure(&mut self, place: usize, page: &Page, descriptor: &ColumnDescriptor) -> Result<()> {
        let column = &mut self.columns[place];
        self.row_bytes -= column.average();
        column.measure(page, descriptor);
        self.row_bytes += column.average();
        let row_bytes = self.row_bytes.max(column.largest());
        if self.batch_rows <= 1 || row_bytes * self.batch_rows as f64 <= self.limits.bytes_max as f64 {
            return Ok(());
        }
        self.refused = Some(self.fitting().clamp(1, self.batch_rows - 1));
        Err(ParquetError::General("too many rows at once".into()))
    }
}

impl Column {
    fn new(group: &RowGroupMetaData, leaf: usize) -> Column {
        let (chunk, rows) = (group.column(leaf), group.num_rows().max(1));
        let is_flat = chunk.column_descr().max_rep_level() == 0;
        Column {
            points: [Point { byte: first_byte(chunk), row: 0 }].into(),
            next_row: Some(0),
            dictionary: None,
            dictionary_value: Value::default(),
            value: Value::default(),
            per_row: if is_flat { 1.0 } else { chunk.num_values() as f64 / rows as f64 },
            longest: 1.0,
        }
    }

    fn average(&self) -> f64 {
        self.value.average * self.per_row
    }

    fn largest(&self) -> f64 {
        self.value.largest * self.per_row.max(self.longest)
    }

    /// Some rows may have far more values than most, and stand together.
    fn count_lists(&mut self, page: Option<Lists>) {
        self.longest = page.map_or(1.0, |lists| lists.longest as f64);
    }

    fn passed(&mut self, row: u64) {
        while self.points.get(1).is_some_and(|next| next.row <= row) {
            self.points.pop_front();
        }
    }

    /// A data page at `byte`, of so many rows if it says that.
    fn page(&mut self, byte: u64, rows: Option<u64>) {
        let Some(row) = self.next_row else { return };
        self.points.push_back(Point { byte, row });
        self.next_row = rows.map(|rows| row + rows);
    }

    fn point(&self, row: u64) -> Point {
        let before = self.points.iter().rev().find(|point| point.row <= row);
        *before.or(self.points.front()).expect("never empty")
    }

    fn go_back(&mut self, to: Point) {
        self.points.retain(|point| (point.row, point.byte) < (to.row, to.byte));
        if self.points.is_empty() {
            self.points.push_back(to);
        }
        self.next_row = Some(to.row);
    }

    fn measure(&mut self, page: &Page, descriptor: &ColumnDescriptor) {
        let width = width(descriptor) as f64;
        let has_lengths = descriptor.physical_type() == Type::BYTE_ARRAY;
        if page.is_dictionary_page() {
            self.dictionary_value = if has_lengths { texts(page.buffer()) } else { Value::default() };
            return;
        }
        let count = f64::from(page.num_values().max(1));
        let value = match (page.encoding(), lengths::shared_texts(page, descriptor)) {
            (Encoding::RLE_DICTIONARY | Encoding::PLAIN_DICTIONARY, _) => self.dictionary_value,
            (_, Some((sum, largest))) => Value { average: sum / count, largest },
            _ => Value::even(page.buffer().len() as f64 / count),
        };
        self.value = Value { average: value.average + width, largest: value.largest + width };
    }
}

impl Value {
    fn even(bytes: f64) -> Value {
        Value { average: bytes, largest: bytes }
    }
}

fn contradiction() -> ParquetError {
    ParquetError::General(CONTRADICTS.into())
}

/// The values of a dictionary of texts: each after its length.
fn texts(mut bytes: &[u8]) -> Value {
    let (mut count, mut sum, mut largest) = (0_u32, 0.0, 0.0_f64);
    while let Some((length, rest)) = bytes.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length);
        bytes = rest.get(length as usize..).unwrap_or_default();
        count += 1;
        sum += f64::from(length);
        largest = largest.max(f64::from(length));
    }
    Value { average: sum / f64::from(count.max(1)), largest }
}

/// The row group from a row on, for decoders that are built.
pub(super) struct Begun {
    stream: Arc<Stream>,
    row: u64,
}

impl RowGroups for Begun {
    fn num_rows(&self) -> usize {
        usize::try_from(self.stream.metadata.row_group(self.stream.row_group).num_rows()).unwrap_or(0)
    }

    fn column_chunks(&self, leaf: usize) -> Result<Box<dyn PageIterator>> {
        let place = self.stream.leaves.binary_search(&leaf);
        let place = place.map_err(|_| ParquetError::General(format!("column {leaf} is not read")))?;
        Ok(Box::new(Once(Some(Pages::new(&self.stream, place, self.row)))))
    }

    fn row_groups(&self) -> Box<dyn Iterator<Item = &RowGroupMetaData> + '_> {
        Box::new(std::iter::once(self.stream.metadata.row_group(self.stream.row_group)))
    }

    fn metadata(&self) -> &ParquetMetaData {
        &self.stream.metadata
    }
}

/// A row group has one chunk of a column.
struct Once(Option<Pages>);

impl Iterator for Once {
    type Item = Result<Box<dyn PageReader>>;

    fn next(&mut self) -> Option<Self::Item> {
        let pages: Box<dyn PageReader> = Box::new(self.0.take()?);
        Some(Ok(pages))
    }
}

impl PageIterator for Once {}

/// The pages of a column, from the one on that has a certain row.
struct Pages {
    stream: Arc<Stream>,
    place: usize,
    /// Where it begins.
    point: Point,
    /// Rows before that, which are skipped as if they were a page.
    before: u64,
    dictionary: Option<Page>,
    inner: Inner,
}

enum Inner {
    Closed,
    Open(Box<SerializedPageReader<ChunkBytes>>),
    Ended,
}

impl Pages {
    fn new(stream: &Arc<Stream>, place: usize, row: u64) -> Pages {
        let column = &mut stream.state().columns[place];
        let point = column.point(row);
        column.go_back(point);
        let dictionary = column.dictionary.clone().filter(|_| point.byte > first_byte(stream.chunk(place)));
        Pages { stream: Arc::clone(stream), place, point, before: point.row, dictionary, inner: Inner::Closed }
    }

    fn open(&mut self) -> Result<Option<&mut SerializedPageReader<ChunkBytes>>> {
        if matches!(self.inner, Inner::Closed) {
            self.inner = Inner::Open(Box::new(self.stream.pages(self.place, self.point.byte)?));
        }
        match &mut self.inner {
            Inner::Open(inner) => Ok(Some(inner)),
            Inner::Closed | Inner::Ended => Ok(None),
        }
    }

    fn is_flat(&self) -> bool {
        self.stream.chunk(self.place).column_descr().max_rep_level() == 0
    }

    /// A page of the file was taken.
    fn taken(&mut self, page: &Page) -> Result<()> {
        let place = self.place;
        let lists = lengths::lists(page, self.stream.chunk(place).column_descr());
        let rows = self.rows_of(page, lists)?;
        let byte = self.stream.chunks.header(place);
        let mut state = self.stream.state();
        let is_many = self.stream.is_many();
        let column = &mut state.columns[place];
        match page.is_dictionary_page() {
            _ if is_many => {}
            true => column.dictionary = Some(page.clone()),
            false => column.page(byte, rows),
        }
        if column.next_row.is_some_and(|row| row > self.stream.rows()) {
            return Err(contradiction());
        }
        column.count_lists(lists);
        state.measure(place, page, self.stream.chunk(place).column_descr())
    }

    /// A page may say how many rows it has. Where its levels say otherwise, rows would be found in the wrong place.
    fn rows_of(&self, page: &Page, lists: Option<Lists>) -> Result<Option<u64>> {
        let counted = match self.is_flat() {
            true => Some(u64::from(page.num_values())),
            false => lists.map(|lists| lists.rows),
        };
        match page {
            Page::DataPageV2 { num_rows, .. } if counted != Some(u64::from(*num_rows)) => Err(contradiction()),
            // A row may begin in one and end in the next.
            Page::DataPage { .. } if !self.is_flat() => Ok(None),
            _ => Ok(counted),
        }
    }

    /// Lists are counted before they are passed over, as what their page says of its rows may be wrong.
    fn passes_whole(&mut self) -> Result<bool> {
        let page = self.open()?.map_or(Ok(None), PageReader::peek_next_page)?;
        match page {
            Some(PageMetadata { num_rows: Some(rows), num_levels: Some(values), .. }) if self.is_flat() => {
                if rows == values { Ok(true) } else { Err(contradiction()) }
            }
            Some(PageMetadata { num_rows: Some(_), is_dict: false, .. }) => Ok(self.is_flat()),
            _ => Ok(true),
        }
    }

    fn end(&mut self) {
        let is_many = self.stream.is_many();
        if let Inner::Open(inner) = &mut self.inner
            && is_many
            && matches!(inner.peek_next_page(), Ok(None))
        {
            self.inner = Inner::Ended;
        }
    }
}

impl Stream {
    /// What to say of a page that is not unpacked.
    pub fn too_large(&self, page: LargePage) -> FormatError {
        let column = self.chunk(page.column).column_path().string();
        let message = format!(
            "a page of column `{column}` has {:.0} MiB when it is unpacked, more than `memory_bytes_max` under [run] leaves for one",
            page.bytes as f64 / f64::from(1 << 20)
        );
        FormatError::Bad { message, hint: LARGE_PAGE }
    }

    fn rows(&self) -> u64 {
        u64::try_from(self.metadata.row_group(self.row_group).num_rows()).unwrap_or(0)
    }

    /// Where all pages are to be in memory anyway, they are compared with the footer before a row leaves.
    pub fn check_pages(&self) -> Result<()> {
        for place in 0..self.leaves.len() {
            let Some(headers) = self.chunks.headers(place)? else { continue };
            let chunk = self.chunk(place);
            let is_flat = chunk.column_descr().max_rep_level() == 0;
            let pages = || headers.iter().filter(|header| header.kind != PageHeader::DICTIONARY);
            let lies = |header: &PageHeader| is_flat && header.rows.is_some_and(|rows| rows != header.values);
            let values: i64 = pages().map(|header| header.values).fold(0, i64::saturating_add);
            if values != chunk.num_values() || pages().any(lies) {
                return Err(contradiction());
            }
        }
        Ok(())
    }

    /// After the last row of the row group: it was the last of each column's pages.
    pub fn check_end(&self) -> Result<()> {
        let is_other = |column: &Column| column.next_row.is_some_and(|row| row != self.rows());
        if !self.is_many() && self.state().columns.iter().any(is_other) { Err(contradiction()) } else { Ok(()) }
    }

    fn is_many(&self) -> bool {
        self.leaves.len() > COLUMNS_KEPT_MAX
    }

    fn chunk(&self, place: usize) -> &ColumnChunkMetaData {
        self.metadata.row_group(self.row_group).column(self.leaves[place])
    }

    /// The pages of a column from byte `start` on.
    fn pages(&self, place: usize, start: u64) -> Result<SerializedPageReader<ChunkBytes>> {
        let chunk = self.chunk(place);
        let bytes = Arc::new(ChunkBytes { chunks: Arc::clone(&self.chunks), column: place });
        let left = range(chunk).end.saturating_sub(start);
        let rest = chunk.clone().into_builder().set_dictionary_page_offset(None).set_data_page_offset(start as i64);
        let rest = rest.set_total_compressed_size(left as i64).build()?;
        SerializedPageReader::new(bytes, &rest, 0, None)
    }
}

impl Iterator for Pages {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

impl PageReader for Pages {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        if self.before > 0 {
            return Err(ParquetError::General("rows before those that are wanted are skipped".into()));
        }
        if let Some(dictionary) = self.dictionary.take() {
            return Ok(Some(dictionary));
        }
        let Some(inner) = self.open()? else { return Ok(None) };
        let Some(page) = inner.get_next_page()? else { return Ok(None) };
        self.taken(&page)?;
        self.end();
        Ok(Some(page))
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        if self.before > 0 {
            let num_rows = Some(usize::try_from(self.before)?);
            return Ok(Some(PageMetadata { num_rows, num_levels: None, is_dict: false }));
        }
        if self.dictionary.is_some() {
            return Ok(Some(PageMetadata { num_rows: None, num_levels: None, is_dict: true }));
        }
        self.open()?.map_or(Ok(None), PageReader::peek_next_page)
    }

    fn skip_next_page(&mut self) -> Result<()> {
        if std::mem::take(&mut self.before) > 0 {
            return Ok(());
        }
        let Some(page) = self.peek_next_page()? else { return Ok(()) };
        if self.dictionary.is_none() && !self.passes_whole()? {
            return self.get_next_page().map(drop);
        }
        let byte = self.stream.chunks.header(self.place);
        let is_flat = self.is_flat();
        let rows = page.num_rows.or_else(|| page.num_levels.filter(|_| is_flat));
        self.open()?.map_or(Ok(()), PageReader::skip_next_page)?;
        if !self.stream.is_many() {
            self.stream.state().columns[self.place].page(byte, rows.map(|rows| rows as u64));
        }
        Ok(())
    }

    /// Where values are not repeated, each begins a row: no need to look at the next page.
    fn at_record_boundary(&mut self) -> Result<bool> {
        match self.is_flat() {
            true => Ok(true),
            false => Ok(self.peek_next_page()?.is_none_or(|page| page.num_rows.is_some())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(points: &[(u64, u64)], next_row: Option<u64>) -> Column {
        Column {
            points: points.iter().map(|&(byte, row)| Point { byte, row }).collect(),
            next_row,
            dictionary: None,
            dictionary_value: Value::default(),
            value: Value::default(),
            per_row: 1.0,
            longest: 1.0,
        }
    }

    fn bytes(column: &Column) -> Vec<u64> {
        column.points.iter().map(|point| point.byte).collect()
    }

    #[test]
    fn reading_begins_again_at_the_page_that_has_the_row() {
        let mut pages = column(&[(4, 0)], Some(0));
        for (byte, rows) in [(50, 10), (60, 10), (70, 5), (80, 5)] {
            pages.page(byte, Some(rows));
        }
        assert_eq!([0, 9, 10, 24, 25, 99].map(|row| pages.point(row).byte), [50, 50, 60, 70, 80, 80]);
        pages.passed(19);
        assert_eq!(bytes(&pages), [60, 70, 80]);
        let to = pages.point(21);
        pages.go_back(to);
        assert_eq!((bytes(&pages), pages.next_row), (vec![60], Some(20)));
        pages.page(70, Some(5));
        assert_eq!((pages.point(21).byte, pages.next_row), (70, Some(25)));
        pages.passed(20);
        pages.go_back(pages.point(20));
        assert_eq!(bytes(&pages), [70]);
    }

    #[test]
    fn where_pages_do_not_say_their_rows_reading_begins_anew() {
        let mut pages = column(&[(4, 0)], Some(0));
        pages.page(50, None);
        pages.page(60, None);
        assert_eq!((pages.point(7).byte, pages.next_row), (50, None));
        pages.go_back(pages.point(7));
        assert_eq!((bytes(&pages), pages.next_row), (vec![4], Some(0)));
    }

    #[test]
    fn a_dictionary_says_how_long_its_texts_are() {
        let page = [&[2, 0, 0, 0][..], b"ab", &[6, 0, 0, 0], b"abcdef"].concat();
        let value = texts(&page);
        assert_eq!((value.average, value.largest), (4.0, 6.0));
        // One that is cut, and none.
        assert_eq!(texts(&page[..8]).largest, 2.0);
        assert_eq!(texts(&[]).average, 0.0);
    }
}
