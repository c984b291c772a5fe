//! The Parquet files that lie beside the log. Each is durable before the entry that names it with size and digest, and anyone
//! can read it. Columns of each table are in its schema.
//!
//! * `ids` - ids of rows that are done.
//! * `order` - ids put into order.
//! * `listing` - the source's objects.
//! * `coverage` - long coverage.
//! * `compaction` - groups, files and opens that a compaction covers.

mod compaction;
mod coverage;
mod ids;
mod listing;
mod order;

use arrow::array::{Array, ArrayRef, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{DataType, SchemaRef};
use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::{EnabledStatistics, WriterProperties, WriterPropertiesBuilder};
use parquet::schema::types::ColumnPath;

use super::CommitError;
use super::decode::decode;
use super::entry::SideFile;
use crate::store::Store;

pub(super) use compaction::{read_files, read_groups, read_opens, write_files, write_groups, write_opens};
pub(super) use coverage::{CoverageRow, read_coverage, write_coverage};
pub(super) use ids::merge_ids;
pub use ids::{GroupIds, read_ids, read_imported, write_imported};
pub(super) use listing::read_listing;
pub use listing::write_listing;

fn strings(batch: &RecordBatch, column: usize) -> &StringArray {
    batch.column(column).as_any().downcast_ref().expect("schema checked")
}

fn numbers(batch: &RecordBatch, column: usize) -> &UInt64Array {
    batch.column(column).as_any().downcast_ref().expect("schema checked")
}

/// A side file that is not written yet.
#[derive(Debug)]
struct Encoded {
    bytes: Bytes,
    rows: u64,
}

async fn write(store: &Store, path: String, batch: &RecordBatch) -> Result<SideFile, CommitError> {
    let encoded =
        encode(std::slice::from_ref(batch), properties()).map_err(|error| CommitError::damaged(&path, error))?;
    write_bytes(store, path, encoded).await
}

async fn write_bytes(store: &Store, path: String, encoded: Encoded) -> Result<SideFile, CommitError> {
    let Encoded { bytes, rows } = encoded;
    let digest = blake3::hash(&bytes).to_hex().to_string();
    let file = SideFile { path, rows, bytes: bytes.len() as u64, digest };
    let name = Path::from(file.path.as_str());
    let put = store.objects().put_opts(&name, bytes.into(), PutMode::Overwrite.into()).await;
    put.map_err(|cause| CommitError::store("write", &file.path, cause))?;
    Ok(file)
}

/// Of batches that have one schema.
fn encode(batches: &[RecordBatch], properties: WriterPropertiesBuilder) -> Result<Encoded, ParquetError> {
    let Some(first) = batches.first() else { return Ok(Encoded { bytes: Bytes::new(), rows: 0 }) };
    let mut writer = ArrowWriter::try_new(Vec::new(), first.schema(), Some(properties.build()))?;
    batches.iter().try_for_each(|batch| writer.write(batch))?;
    let rows = batches.iter().map(|batch| batch.num_rows() as u64).sum();
    Ok(Encoded { bytes: writer.into_inner()?.into(), rows })
}

/// Values stand here in order, each once or a few times, so dictionaries would be as large as the values.
fn properties() -> WriterPropertiesBuilder {
    let zstd = Compression::ZSTD(ZstdLevel::try_new(1).expect("a level that zstd has"));
    WriterProperties::builder().set_dictionary_enabled(false).set_compression(zstd)
}

/// Ids in order: each is written as what it does not share with the one before. For `str(i)` that takes less time than plain
/// values (20 ns each, not 24), and a sixth of their bytes, which are 0.07 each. Nobody looks for an id by the least and largest of a page.
fn encode_ids(batches: &[RecordBatch]) -> Result<Encoded, ParquetError> {
    let mut properties = properties().set_statistics_enabled(EnabledStatistics::None);
    let Some(first) = batches.first() else { return encode(batches, properties) };
    for (place, field) in first.schema().fields().iter().enumerate() {
        let columns = batches.iter().map(|batch| batch.column(place));
        if let Some(encoding) = encoding_of_ids(field.data_type(), columns) {
            properties = properties.set_column_encoding(ColumnPath::from(field.name().clone()), encoding);
        }
    }
    encode(batches, properties)
}

/// Bytes of an id on average, beyond which prefixes are left to zstd. A page of long ids that are all alike would hold so
/// little beside what becomes of it that a reader takes it for a lie; see `decode`.
const DELTA_BYTES_MAX: usize = 64;

fn encoding_of_ids<'a>(data_type: &DataType, columns: impl Iterator<Item = &'a ArrayRef> + Clone) -> Option<Encoding> {
    use DataType::{
        Binary, Date32, Int16, Int32, Int64, LargeBinary, LargeUtf8, Timestamp, UInt16, UInt32, UInt64, Utf8,
    };
    match data_type {
        Int16 | Int32 | Int64 | UInt16 | UInt32 | UInt64 | Date32 | Timestamp(..) => {
            Some(Encoding::DELTA_BINARY_PACKED)
        }
        Utf8 | LargeUtf8 | Binary | LargeBinary => {
            let bytes: usize = columns.clone().map(values_bytes).sum();
            let rows: usize = columns.map(Array::len).sum();
            (bytes <= rows.saturating_mul(DELTA_BYTES_MAX)).then_some(Encoding::DELTA_BYTE_ARRAY)
        }
        _ => None,
    }
}

fn values_bytes(column: &ArrayRef) -> usize {
    column.to_data().get_slice_memory_size().unwrap_or(usize::MAX)
}

/// Whether a side file is what the log says; all of it is read.
pub(super) async fn check(store: &Store, file: &SideFile) -> Result<(), CommitError> {
    read(store, file).await.map(drop)
}

async fn read(store: &Store, file: &SideFile) -> Result<Vec<RecordBatch>, CommitError> {
    let bytes = fetch(store, file).await?;
    decode(file, bytes, None).map_err(|unreadable| unreadable.into_error(&file.path))
}

/// As [`read`], of a file whose columns are known.
async fn read_table(store: &Store, file: &SideFile, schema: &SchemaRef) -> Result<Vec<RecordBatch>, CommitError> {
    let bytes = fetch(store, file).await?;
    decode(file, bytes, Some(schema)).map_err(|unreadable| unreadable.into_error(&file.path))
}

/// As [`read_table`], of a file that has the columns of one of these.
async fn read_either(store: &Store, file: &SideFile, schemas: &[SchemaRef]) -> Result<Vec<RecordBatch>, CommitError> {
    let bytes = fetch(store, file).await?;
    let mut first = None;
    for schema in schemas {
        match decode(file, bytes.clone(), Some(schema)) {
            Ok(batches) => return Ok(batches),
            Err(unreadable) => drop(first.get_or_insert(unreadable)),
        }
    }
    Err(first.expect("there is a schema").into_error(&file.path))
}

async fn fetch(store: &Store, file: &SideFile) -> Result<Bytes, CommitError> {
    if !file.is_beside_the_log() {
        return Err(CommitError::damaged(&file.path, "it does not lie in side/"));
    }
    let name = Path::from(file.path.as_str());
    let got = store.objects().get(&name).await.map_err(|cause| CommitError::store("read", &file.path, cause))?;
    if got.meta.size != file.bytes {
        let message = format!("it has {} bytes instead of {}", got.meta.size, file.bytes);
        return Err(CommitError::damaged(&file.path, message));
    }
    let bytes: Bytes = got.bytes().await.map_err(|cause| CommitError::store("read", &file.path, cause))?;
    if blake3::hash(&bytes).to_hex().as_str() != file.digest {
        return Err(CommitError::damaged(&file.path, "its digest is not the one that the log names"));
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array};
    use std::sync::Arc;

    fn wait<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    fn ids(ids: Vec<i64>) -> RecordBatch {
        RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(ids)) as ArrayRef)]).unwrap()
    }

    #[test]
    fn a_side_file_that_was_altered_is_refused() {
        let store = Store::memory("checkpoint");
        let ids = ids(vec![5, 1]);
        let file = wait(GroupIds::encode("t", 0, &[ids]).unwrap().unwrap().write(&store)).unwrap();
        wait(store.objects().put(&Path::from(file.path.as_str()), "x".into())).unwrap();
        assert!(matches!(wait(read(&store, &file)), Err(CommitError::Damaged { .. })));
    }

    #[test]
    fn nothing_but_a_side_file_is_read_as_one() {
        let store = Store::memory("checkpoint");
        let file = wait(GroupIds::encode("t", 0, &[ids(vec![5, 1])]).unwrap().unwrap().write(&store)).unwrap();
        let bytes = wait(store.whole(&file.path)).unwrap();
        wait(store.objects().put(&Path::from("root/0"), bytes.into())).unwrap();
        let other = SideFile { path: "root/0".into(), ..file.clone() };
        let error = wait(read(&store, &other)).unwrap_err().to_string();
        assert!(error.contains("it does not lie in side/"), "{error}");
        let error = wait(read(&store, &SideFile { bytes: 9, ..file })).unwrap_err().to_string();
        assert!(error.contains("bytes instead of 9"), "{error}");
    }

    /// The number is what an entry says; the file has others.
    #[test]
    fn a_listing_that_claims_more_rows_than_memory_holds_is_refused() {
        let store = Store::memory("checkpoint");
        let file = wait(write_listing(&store, "t", &[])).unwrap();
        let file = SideFile { rows: u64::MAX, ..file };
        assert!(matches!(wait(read_listing(&store, &file)), Err(CommitError::Damaged { .. })));
    }
}
