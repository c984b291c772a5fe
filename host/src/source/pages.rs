//! The page index: where each page lies and which row it begins with. By it, rows are found without reading those before
//! them. It says nothing that the pages themselves do not say, so one that lies is not used: the pages are read without it.
//! And columns that nobody here can read.

use std::collections::HashSet;
use std::ops::Range;

use arrow::datatypes::{DataType, Field, Schema};
use bytes::Bytes;
use parquet::basic::Compression;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};
use parquet::file::page_index::offset_index::PageLocation;

use super::thrift::page_counts;
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

/// Pages one after another within their column chunk, the first from row 0.
fn is_sound(pages: &[PageLocation], chunk: &ColumnChunkMetaData, rows: i64) -> bool {
    let start = first_byte(chunk) as i64;
    let end = start.saturating_add(chunk.compressed_size());
    let is_within = |page: &PageLocation| {
        page.compressed_page_size > 0
            && page.offset >= start
            && page.offset.saturating_add(i64::from(page.compressed_page_size)) <= end
            && page.first_row_index < rows
    };
    let is_ordered = |pair: &[PageLocation]| {
        pair[0].first_row_index < pair[1].first_row_index
            && pair[0].offset + i64::from(pair[0].compressed_page_size) <= pair[1].offset
    };
    let begins = if rows > 0 { pages.first().is_some_and(|page| page.first_row_index == 0) } else { pages.is_empty() };
    begins && pages.iter().all(is_within) && pages.windows(2).all(is_ordered)
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

/// What the page index says of one row group.
pub(super) struct PageMap(Vec<Page>);

struct Page {
    offset: u64,
    column: usize,
    rows: i64,
    /// A value for each row.
    is_flat: bool,
}

impl PageMap {
    /// None if there is no page index.
    pub fn of(footer: &ParquetMetaData, row_group: usize) -> Option<PageMap> {
        let index = footer.page_index()?;
        let rows = footer.row_group(row_group).num_rows();
        let schema = footer.file_metadata().schema_descr();
        let mut pages = Vec::new();
        for column in 0..schema.num_columns() {
            let is_flat = schema.column(column).max_rep_level() == 0;
            let locations = index.page_locations(row_group, column).map_or(&[][..], Vec::as_slice);
            let ends = locations.iter().skip(1).map(|page| page.first_row_index).chain([rows]);
            pages.extend(locations.iter().zip(ends).map(|(page, end)| {
                let offset = u64::try_from(page.offset).unwrap_or(u64::MAX);
                Page { offset, column, rows: end - page.first_row_index, is_flat }
            }));
        }
        pages.sort_by_key(|page| page.offset);
        Some(PageMap(pages))
    }

    /// What is wrong with the index by the headers of pages that were fetched.
    pub fn lie(&self, ranges: &[Range<u64>], parts: &[Bytes]) -> Option<String> {
        ranges.iter().zip(parts).find_map(|(range, part)| {
            let first = self.0.partition_point(|page| page.offset < range.start);
            let pages = self.0[first..].iter().take_while(|page| page.offset < range.end);
            let mut lies = pages.filter(|page| page.contradicts(&part[(page.offset - range.start) as usize..]));
            lies.next().map(|page| {
                format!("the page at byte {} of column {} has not {} rows", page.offset, page.column, page.rows)
            })
        })
    }
}

impl Page {
    fn contradicts(&self, bytes: &[u8]) -> bool {
        let Some(counts) = page_counts(bytes) else { return true };
        match (counts.rows, counts.values) {
            (Some(rows), _) => rows != self.rows,
            (None, Some(values)) => self.is_flat && values != self.rows,
            (None, None) => true,
        }
    }
}
