//! The page index: where each page lies and which row it begins with. By it, rows are found without unpacking those before
//! them. It says nothing that the pages themselves do not say, so one that lies is not used: the pages are read without it.
//! To know that it does not, the header of each page is looked at before rows behind it are read, that of a page nobody wants,
//! too: where one row more or less is said of it, all rows behind it are others. In a column of lists or maps a header does not
//! say how many rows a page has (that of the second version does, which hardly anybody writes): row groups are read whole then.
//! And columns that nobody here can read.

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use arrow::datatypes::{DataType, Field, Schema};
use bytes::Bytes;
use parquet::arrow::ProjectionMask;
use parquet::basic::Compression;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};
use parquet::file::page_index::offset_index::PageLocation;

use super::thrift::{PageHeader, page_header};
use super::{OTHER_CODEC, Opened, SourceError, sniff};
use crate::annotations;

impl Opened {
    /// Refuses columns whose pages nobody here can unpack: encrypted ones, codecs and types that are not read.
    pub(super) fn refuse_packed(&self, schema: &Schema) -> Result<(), SourceError> {
        let names: HashSet<&str> = schema.fields().iter().map(|field| field.name().as_str()).collect();
        self.packed().find(|(name, _)| names.contains(name)).map_or(Ok(()), |(_, error)| Err(error))
    }

    /// Such columns by name, with why.
    pub fn packed(&self) -> impl Iterator<Item = (&str, SourceError)> {
        let parquet = self.metadata.parquet_schema();
        (0..parquet.num_columns()).filter_map(move |leaf| {
            let (what, hint) = self.pack(leaf)?;
            let message = format!("column `{}` {what}", parquet.column(leaf).path().string());
            let error = SourceError::Bad { object: self.object.path.to_string(), message, hint };
            Some((parquet.get_column_root(leaf).name(), error))
        })
    }

    fn pack(&self, leaf: usize) -> Option<(String, &'static str)> {
        if self.encrypted.contains(&leaf) {
            return Some(("is encrypted".into(), sniff::ENCRYPTED.hint));
        }
        let groups = self.metadata.metadata().row_groups().iter();
        if let Some(codec) = groups.filter_map(|group| unread(group.column(leaf).compression())).next() {
            return Some((format!("is compressed with {codec}, which is not read here"), OTHER_CODEC));
        }
        let column = self.metadata.parquet_schema().get_column_root(leaf).name();
        let field = self.readings.original.field_with_name(column).ok()?;
        let is_of_nothing = |field: &Field| matches!(field.data_type(), DataType::FixedSizeList(_, 0));
        let lists = annotations::any(field, &is_of_nothing);
        lists.then(|| {
            ("has lists of the fixed size 0, which are not read here".into(), "write them as lists of any size")
        })
    }
}

fn unread(codec: Compression) -> Option<&'static str> {
    match codec {
        Compression::BROTLI(_) => Some("Brotli"),
        Compression::LZO => Some("LZO"),
        _ => None,
    }
}

/// What is wrong with a page index by the footer alone; none if nothing is.
pub(super) fn lie(footer: &ParquetMetaData) -> Option<String> {
    let index = footer.page_index()?;
    let groups = footer.row_groups().iter().enumerate();
    let mut chunks = groups.flat_map(|(group, metadata)| {
        let columns = metadata.columns().iter().enumerate();
        columns.map(move |(column, chunk)| (group, column, chunk, metadata.num_rows()))
    });
    let is_lie = |(group, column, chunk, rows): &(usize, usize, &ColumnChunkMetaData, i64)| {
        index.page_locations(*group, *column).is_some_and(|pages| !is_sound(pages, chunk, *rows))
    };
    chunks.find(is_lie).map(|(group, _, chunk, _)| {
        format!("the pages of column `{}` in row group {group} are not where it says", chunk.column_path().string())
    })
}

/// Pages one after another within their column chunk, after its dictionary, the first from row 0. Nothing is between them: a
/// page that an index leaves out has rows, too.
fn is_sound(pages: &[PageLocation], chunk: &ColumnChunkMetaData, rows: i64) -> bool {
    let start = first_byte(chunk) as i64;
    let is_first = chunk.dictionary_page_offset().is_none_or(|dictionary| dictionary == start);
    let end = start.saturating_add(chunk.compressed_size());
    let is_within = |page: &PageLocation| {
        page.compressed_page_size > 0
            && page.offset >= start
            && page.offset.saturating_add(i64::from(page.compressed_page_size)) <= end
            && page.first_row_index < rows
    };
    let is_ordered = |pair: &[PageLocation]| {
        pair[0].first_row_index < pair[1].first_row_index
            && pair[0].offset + i64::from(pair[0].compressed_page_size) == pair[1].offset
    };
    let begins = if rows > 0 { pages.first().is_some_and(|page| page.first_row_index == 0) } else { pages.is_empty() };
    is_first && begins && pages.iter().all(is_within) && pages.windows(2).all(is_ordered)
}

/// Where a column chunk begins. A dictionary at byte 0, where each file has its magic, is none.
pub(super) fn first_byte(column: &ColumnChunkMetaData) -> u64 {
    let dictionary = column.dictionary_page_offset().filter(|offset| *offset > 0).unwrap_or(i64::MAX);
    u64::try_from(column.data_page_offset().min(dictionary)).unwrap_or(0)
}

/// A dictionary at byte 0 is none: then the column begins where its data is said to begin.
pub(super) fn mended(footer: ParquetMetaData) -> ParquetMetaData {
    let is_none = |chunk: &ColumnChunkMetaData| chunk.dictionary_page_offset().is_some_and(|offset| offset <= 0);
    if !footer.row_groups().iter().flat_map(RowGroupMetaData::columns).any(is_none) {
        return footer;
    }
    let chunk = |chunk: ColumnChunkMetaData| match is_none(&chunk) {
        true => chunk.into_builder().set_dictionary_page_offset(None).build().expect("only its dictionary goes"),
        false => chunk,
    };
    let group = |group: RowGroupMetaData| {
        let mut builder = group.into_builder();
        let columns = builder.take_columns().into_iter().map(chunk).collect();
        builder.set_column_metadata(columns).build().expect("only dictionaries go")
    };
    let mut builder = footer.into_builder();
    let groups = builder.take_row_groups().into_iter().map(group).collect();
    builder.set_row_groups(groups).build()
}

/// What the page index says of the columns of one row group that are read, and how much of that is proven.
pub(super) struct PageMap(Vec<Chunk>);

/// The pages of a column, one after another from its first byte.
struct Chunk {
    leaf: usize,
    pages: Vec<Page>,
    /// So many of them, from the first, are what the index says.
    proven: usize,
}

struct Page {
    bytes: Range<u64>,
    /// A dictionary has none.
    rows: Option<i64>,
}

impl PageMap {
    /// None if there is no page index of all these columns, or none that headers can prove.
    pub fn of(footer: &ParquetMetaData, row_group: usize, read: &ProjectionMask) -> Option<PageMap> {
        let leaves = (0..footer.row_group(row_group).num_columns()).filter(|leaf| read.leaf_included(*leaf));
        leaves.map(|leaf| Chunk::of(footer, row_group, leaf)).collect::<Option<_>>().map(PageMap)
    }

    /// Pages that are passed over on the way to those in `ranges`, and were not looked at yet.
    pub fn passed(&self, ranges: &[Range<u64>]) -> Vec<Range<u64>> {
        let fetched = Fetched::of(ranges);
        let passed = |chunk: &Chunk| {
            let pages = chunk.pages[chunk.proven..chunk.end_of(&fetched)].iter();
            let passed = pages.filter(|page| fetched.part_with(chunk, page).is_none());
            passed.map(|page| page.bytes.clone()).collect::<Vec<_>>()
        };
        self.0.iter().flat_map(passed).collect()
    }

    /// What is wrong with the index by the headers of pages that were fetched.
    pub fn lie(&self, ranges: &[Range<u64>], parts: &[Bytes]) -> Option<String> {
        let fetched = Fetched::of(ranges);
        self.0.iter().find_map(|chunk| {
            let is_lie = |page: &&Page| {
                let part = fetched.part_with(chunk, page);
                part.is_some_and(|part| page.contradicts(&parts[part], ranges[part].start))
            };
            let page = chunk.pages[chunk.proven..].iter().find(is_lie)?;
            Some(format!("the page at byte {} of column {} is not what it says", page.bytes.start, chunk.leaf))
        })
    }

    /// Headers of these pages, and of those that were passed over on the way, are as the index says.
    pub fn prove(&mut self, ranges: &[Range<u64>]) {
        let fetched = Fetched::of(ranges);
        for chunk in &mut self.0 {
            chunk.proven = chunk.end_of(&fetched);
        }
    }
}

/// Ranges that the decoder asks for: single pages, or a column from its first byte to its last.
struct Fetched<'a> {
    ranges: &'a [Range<u64>],
    /// The longest range that begins there.
    by_start: HashMap<u64, usize>,
}

impl Fetched<'_> {
    fn of(ranges: &[Range<u64>]) -> Fetched<'_> {
        let mut by_start: HashMap<u64, usize> = HashMap::with_capacity(ranges.len());
        for (part, range) in ranges.iter().enumerate() {
            let longest = by_start.entry(range.start).or_insert(part);
            if range.end > ranges[*longest].end {
                *longest = part;
            }
        }
        Fetched { ranges, by_start }
    }

    /// Which of the ranges has a page.
    fn part_with(&self, chunk: &Chunk, page: &Page) -> Option<usize> {
        let starts = [page.bytes.start, chunk.pages[0].bytes.start];
        let mut parts = starts.iter().filter_map(|start| self.by_start.get(start).copied());
        parts.find(|part| self.ranges[*part].end >= page.bytes.end)
    }
}

impl Chunk {
    fn of(footer: &ParquetMetaData, row_group: usize, leaf: usize) -> Option<Chunk> {
        let group = footer.row_group(row_group);
        let locations = footer.page_index()?.page_locations(row_group, leaf)?;
        if group.schema_descr().column(leaf).max_rep_level() > 0 {
            return None;
        }
        // Found sound, so no offset is below that of the chunk.
        let dictionary = first_byte(group.column(leaf))..locations.first()?.offset as u64;
        let dictionary = (!dictionary.is_empty()).then_some(Page { bytes: dictionary, rows: None });
        let ends = locations.iter().skip(1).map(|page| page.first_row_index).chain([group.num_rows()]);
        let pages = dictionary.into_iter().chain(locations.iter().zip(ends).map(Page::of)).collect();
        Some(Chunk { leaf, pages, proven: 0 })
    }

    /// One past the last page that is fetched or proven.
    fn end_of(&self, fetched: &Fetched<'_>) -> usize {
        let last = self.pages.iter().rposition(|page| fetched.part_with(self, page).is_some());
        last.map_or(0, |last| last + 1).max(self.proven)
    }
}

impl Page {
    fn of((location, end): (&PageLocation, i64)) -> Page {
        let start = location.offset as u64;
        let bytes = start..start + location.compressed_page_size as u64;
        Page { bytes, rows: Some(end - location.first_row_index) }
    }

    /// `part` is from byte `start` on.
    fn contradicts(&self, part: &[u8], start: u64) -> bool {
        let bytes = &part[(self.bytes.start - start) as usize..(self.bytes.end - start) as usize];
        page_header(bytes) != Some(PageHeader { bytes: bytes.len() as u64, rows: self.rows })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, Int64Array, ListArray, RecordBatch};
    use arrow::datatypes::Int64Type;
    use parquet::arrow::ArrowWriter;
    use parquet::file::metadata::{PageIndexPolicy, ParquetMetaDataReader};
    use parquet::file::properties::{WriterProperties, WriterVersion};

    use super::*;

    /// Columns `few` with a dictionary, `many` without, and `lists`, of 40 rows in pages of ten.
    fn written(version: WriterVersion) -> (Bytes, ParquetMetaData) {
        let few: ArrayRef = Arc::new(Int64Array::from_iter_values((0..40).map(|n| n % 3)));
        let many: ArrayRef = Arc::new(Int64Array::from_iter_values(0..40));
        let lists = (0..40).map(|n| Some([Some(n), None]));
        let lists: ArrayRef = Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(lists));
        let batch = RecordBatch::try_from_iter([("few", few), ("many", many), ("lists", lists)]).unwrap();
        let properties = WriterProperties::builder().set_writer_version(version).set_write_batch_size(10);
        let properties =
            properties.set_data_page_row_count_limit(10).set_column_dictionary_enabled("many".into(), false);
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties.build())).unwrap();
        writer.write(&batch).unwrap();
        let bytes = Bytes::from(writer.into_inner().unwrap());
        let reader = ParquetMetaDataReader::new().with_page_index_policy(PageIndexPolicy::Required);
        let footer = reader.parse_and_finish(&bytes).unwrap();
        (bytes, footer)
    }

    fn map_of(footer: &ParquetMetaData, roots: &[usize]) -> Option<PageMap> {
        let schema = footer.file_metadata().schema_descr();
        PageMap::of(footer, 0, &ProjectionMask::roots(schema, roots.iter().copied()))
    }

    fn fetched(bytes: &Bytes, ranges: &[Range<u64>]) -> Vec<Bytes> {
        ranges.iter().map(|range| bytes.slice(range.start as usize..range.end as usize)).collect()
    }

    #[test]
    fn pages_on_the_way_are_proven_once() {
        for version in [WriterVersion::PARQUET_1_0, WriterVersion::PARQUET_2_0] {
            let (bytes, footer) = written(version);
            assert_eq!(lie(&footer), None);
            let mut map = map_of(&footer, &[0, 1]).unwrap();
            let third = |chunk: &Chunk| chunk.pages[chunk.pages.len() - 2].bytes.clone();
            let (wanted, last) = (map.0.iter().map(third).collect::<Vec<_>>(), map.0[1].pages[3].bytes.clone());
            let passed = map.passed(&wanted);
            assert_eq!(passed.len(), 3 + 2, "a dictionary and two pages, two pages");
            assert_eq!(map.lie(&passed, &fetched(&bytes, &passed)), None);
            assert_eq!(map.lie(&wanted, &fetched(&bytes, &wanted)), None);
            map.prove(&wanted);
            assert!(map.passed(&wanted).is_empty());
            assert!(map.passed(&[last]).is_empty());
        }
    }

    #[test]
    fn pages_of_a_whole_column_are_looked_at() {
        let (bytes, footer) = written(WriterVersion::PARQUET_1_0);
        let mut map = map_of(&footer, &[0]).unwrap();
        let whole = map.0[0].pages[0].bytes.start..map.0[0].pages[4].bytes.end;
        let whole = std::slice::from_ref(&whole);
        assert!(map.passed(whole).is_empty());
        assert_eq!(map.lie(whole, &fetched(&bytes, whole)), None);
        map.0[0].pages[3].rows = Some(9);
        assert!(map.lie(whole, &fetched(&bytes, whole)).is_some());
        map.prove(whole);
        assert_eq!(map.0[0].proven, 5);
    }

    #[test]
    fn a_page_that_is_passed_over_contradicts() {
        let (bytes, footer) = written(WriterVersion::PARQUET_1_0);
        for (page, rows) in [(0, Some(1)), (1, Some(11)), (1, None)] {
            let mut map = map_of(&footer, &[0]).unwrap();
            let wanted = [map.0[0].pages[3].bytes.clone()];
            map.0[0].pages[page].rows = rows;
            let passed = map.passed(&wanted);
            assert!(map.lie(&passed, &fetched(&bytes, &passed)).is_some(), "{page} {rows:?}");
        }
    }

    #[test]
    fn no_index_is_relied_on_for_lists() {
        let (_, footer) = written(WriterVersion::PARQUET_2_0);
        assert!(map_of(&footer, &[0, 1]).is_some());
        assert!(map_of(&footer, &[1, 2]).is_none());
        assert!(map_of(&footer.into_builder().set_page_index(None).build(), &[0]).is_none());
    }
}
