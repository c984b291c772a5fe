//! The Parquet files that lie beside the log. Each is durable before the entry that names it with size and digest, and anyone
//! can read it. Columns of each table are in its schema.
//!
//! * `ids` - ids of rows that are done.
//! * `listing` - the source's objects.
//! * `coverage` - long coverage.
//! * `compaction` - groups, files and opens that a compaction covers.

mod compaction;
mod coverage;
mod ids;
mod listing;

use arrow::array::{Array, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::CommitError;
use super::decode::decode;
use super::entry::SideFile;
use crate::store::Store;

pub(super) use compaction::{read_groups, read_opens, write_groups, write_opens};
pub(super) use coverage::{CoverageRow, read_coverage, write_coverage};
pub(super) use ids::merge_ids;
pub use ids::{read_ids, read_imported, write_ids, write_imported};
pub(super) use listing::read_listing;
pub use listing::write_listing;

fn strings(batch: &RecordBatch, column: usize) -> &StringArray {
    batch.column(column).as_any().downcast_ref().expect("schema checked")
}

fn numbers(batch: &RecordBatch, column: usize) -> &UInt64Array {
    batch.column(column).as_any().downcast_ref().expect("schema checked")
}

async fn write(store: &Store, path: String, batch: &RecordBatch) -> Result<SideFile, CommitError> {
    let bytes = encode(batch).map_err(|error| CommitError::damaged(&path, error))?;
    let file = SideFile {
        path,
        rows: batch.num_rows() as u64,
        bytes: bytes.len() as u64,
        digest: blake3::hash(&bytes).to_hex().to_string(),
    };
    let name = Path::from(file.path.as_str());
    let put = store.objects().put_opts(&name, bytes.into(), PutMode::Overwrite.into()).await;
    put.map_err(|cause| CommitError::store("write", &file.path, cause))?;
    Ok(file)
}

/// Sorted values share prefixes, so delta encodings beat dictionaries here.
fn encode(batch: &RecordBatch) -> Result<Vec<u8>, parquet::errors::ParquetError> {
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .build();
    let mut writer = ArrowWriter::try_new(Vec::new(), batch.schema(), Some(properties))?;
    writer.write(batch)?;
    writer.into_inner()
}

/// Whether a side file is what the log says; all of it is read.
pub(super) async fn check(store: &Store, file: &SideFile) -> Result<(), CommitError> {
    read(store, file).await.map(drop)
}

async fn read(store: &Store, file: &SideFile) -> Result<Vec<RecordBatch>, CommitError> {
    let bytes = fetch(store, file).await?;
    decode(file, bytes, None).map_err(|message| CommitError::damaged(&file.path, message))
}

/// As [`read`], of a file whose columns are known.
async fn read_table(store: &Store, file: &SideFile, schema: &SchemaRef) -> Result<Vec<RecordBatch>, CommitError> {
    let bytes = fetch(store, file).await?;
    decode(file, bytes, Some(schema)).map_err(|message| CommitError::damaged(&file.path, message))
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
        let file = wait(write_ids(&store, "t", 0, &[ids])).unwrap().unwrap();
        wait(store.objects().put(&Path::from(file.path.as_str()), "x".into())).unwrap();
        assert!(matches!(wait(read(&store, &file)), Err(CommitError::Damaged { .. })));
    }

    #[test]
    fn nothing_but_a_side_file_is_read_as_one() {
        let store = Store::memory("checkpoint");
        let file = wait(write_ids(&store, "t", 0, &[ids(vec![5, 1])])).unwrap().unwrap();
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
