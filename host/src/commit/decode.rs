//! Bytes of a side file become its rows. Bytes that the log names can be of anybody's making, so what they claim is compared
//! with what they are before anything is made of it: memory is in proportion to them, and no panic leaves this file.

use arrow::array::RecordBatch;
use arrow::datatypes::{Fields, SchemaRef};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::Compression;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};

use super::document::Unreadable;
use super::entry::SideFile;
use crate::panics::guarded;

/// Rows decoded at a time.
const BATCH_ROWS: usize = 64 * 1024;
/// Rows that a byte of a side file can hold: a page holds 20,000 to 21,000 rows, and takes more than 30 bytes.
const ROWS_PER_BYTE_MAX: u64 = 1024;
/// Bytes in memory that a byte of a side file can become: where all values are the same, 128 KiB are packed into some four
/// bytes, and a footer and pages come on top.
const BYTES_PER_BYTE_MAX: u64 = 64 << 10;

/// The rows of a side file; of one whose columns are known, with these.
pub(super) fn decode(
    file: &SideFile,
    bytes: Bytes,
    schema: Option<&SchemaRef>,
) -> Result<Vec<RecordBatch>, Unreadable> {
    // The decoder panics on some lies of a footer.
    let decoded = guarded(|| try_decode(file, bytes, schema));
    decoded.unwrap_or_else(|_| Err(Unreadable::Damaged("its footer contradicts its pages".into())))
}

fn try_decode(file: &SideFile, bytes: Bytes, schema: Option<&SchemaRef>) -> Result<Vec<RecordBatch>, Unreadable> {
    let damaged = |error: parquet::errors::ParquetError| Unreadable::Damaged(error.to_string());
    let size = bytes.len() as u64;
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(damaged)?;
    if let Some(schema) = schema {
        check_columns(builder.schema().fields(), schema.fields())?;
    }
    check_size(file, size, builder.metadata()).map_err(Unreadable::Damaged)?;
    read_batches(builder, size).map_err(Unreadable::Damaged)
}

/// Later builds add columns at the end.
fn check_columns(found: &Fields, known: &Fields) -> Result<(), Unreadable> {
    let message = || format!("its columns are {found:?} instead of {known:?}");
    match found == known {
        true => Ok(()),
        false if found.len() > known.len() && found[..known.len()] == known[..] => Err(Unreadable::Newer(message())),
        false => Err(Unreadable::Damaged(message())),
    }
}

fn read_batches(builder: ParquetRecordBatchReaderBuilder<Bytes>, size: u64) -> Result<Vec<RecordBatch>, String> {
    let mut batches = Vec::new();
    let mut memory = 0;
    for batch in builder.with_batch_size(BATCH_ROWS).build().map_err(|error| error.to_string())? {
        let batch = batch.map_err(|error| error.to_string())?;
        memory += batch.get_array_memory_size() as u64;
        if memory > size.saturating_mul(BYTES_PER_BYTE_MAX) {
            return Err(format!("its {size} bytes become more than {memory}, which no writer packs so tightly"));
        }
        batches.push(batch);
    }
    Ok(batches)
}

fn check_size(file: &SideFile, size: u64, metadata: &ParquetMetaData) -> Result<(), String> {
    let groups = metadata.row_groups().iter().map(|group| u64::try_from(group.num_rows()).unwrap_or(u64::MAX));
    let rows = groups.fold(0, u64::saturating_add);
    if rows != file.rows {
        return Err(format!("it has {rows} rows instead of {}", file.rows));
    }
    if rows > size.saturating_mul(ROWS_PER_BYTE_MAX) {
        return Err(format!("it claims {rows} rows in {size} bytes"));
    }
    let packed =
        |column: &ColumnChunkMetaData| matches!(column.compression(), Compression::ZSTD(_) | Compression::UNCOMPRESSED);
    match metadata.row_groups().iter().flat_map(RowGroupMetaData::columns).find(|column| !packed(column)) {
        Some(column) => Err(format!("it is packed with {}; side files are with ZSTD", column.compression())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, UInt64Array};
    use parquet::arrow::ArrowWriter;
    use parquet::basic::ZstdLevel;
    use parquet::file::properties::{WriterProperties, WriterPropertiesBuilder};

    use super::*;

    /// As many rows as a page of megabytes, all the same.
    const ROWS: usize = 3_000_000;

    fn same(edit: impl FnOnce(WriterPropertiesBuilder) -> WriterPropertiesBuilder) -> (SideFile, Bytes) {
        let column = Arc::new(UInt64Array::from_value(7, ROWS)) as ArrayRef;
        let batch = RecordBatch::try_from_iter([("n", column)]).unwrap();
        let properties = WriterProperties::builder().set_dictionary_enabled(false);
        let properties = edit(properties.set_compression(Compression::ZSTD(ZstdLevel::try_new(1).unwrap())));
        let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties.build())).unwrap();
        writer.write(&batch).unwrap();
        let bytes = Bytes::from(writer.into_inner().unwrap());
        let (path, digest) = ("side/t".into(), String::new());
        (SideFile { path, rows: ROWS as u64, bytes: bytes.len() as u64, digest }, bytes)
    }

    fn refused((file, bytes): (SideFile, Bytes)) -> String {
        match decode(&file, bytes, None) {
            Err(Unreadable::Damaged(message)) => message,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn rows_that_are_all_the_same_are_read() {
        let (file, bytes) = same(|properties| properties);
        let rows: usize = decode(&file, bytes, None).unwrap().iter().map(RecordBatch::num_rows).sum();
        assert_eq!(rows, ROWS);
    }

    #[test]
    fn more_rows_than_pages_can_hold_are_refused() {
        let dense = |properties: WriterPropertiesBuilder| {
            properties.set_dictionary_enabled(true).set_data_page_row_count_limit(usize::MAX)
        };
        let error = refused(same(dense));
        assert!(error.contains("it claims 3000000 rows in "), "{error}");
    }

    #[test]
    fn other_rows_than_the_log_says_are_refused() {
        let (file, bytes) = same(|properties| properties);
        assert_eq!(refused((SideFile { rows: 9, ..file }, bytes)), "it has 3000000 rows instead of 9");
    }

    #[test]
    fn other_packings_than_ours_are_refused() {
        let error = refused(same(|properties| properties.set_compression(Compression::SNAPPY)));
        assert_eq!(error, "it is packed with SNAPPY; side files are with ZSTD");
    }
}
