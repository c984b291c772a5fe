//! Where columns lie in a file, and those that nobody here can read.

use arrow::datatypes::{DataType, Field};
use parquet::basic::Compression;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};

use super::File;
use crate::annotations;
use crate::format::{FormatError, sniff};

/// About a codec that is not read.
const OTHER_CODEC: &str = "write the file anew with zstd, Snappy, LZ4, gzip or no compression";

impl File {
    /// Columns whose pages nobody here can unpack, with why: encrypted ones, codecs and types that are not read.
    pub(super) fn packed(&self) -> impl Iterator<Item = (&str, FormatError)> {
        let parquet = self.metadata.parquet_schema();
        (0..parquet.num_columns()).filter_map(move |leaf| {
            let (what, hint) = self.pack(leaf)?;
            let message = format!("column `{}` {what}", parquet.column(leaf).path().string());
            Some((parquet.get_column_root(leaf).name(), FormatError::Bad { message, hint }))
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
        let root = self.metadata.parquet_schema().get_column_root_idx(leaf);
        let field = self.readings.original.fields().get(root)?;
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
