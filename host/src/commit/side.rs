//! The Parquet files that lie beside the log: ids, long coverage, source listings. Each is durable before the entry that
//! names it with size and digest, and anyone can read it.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray, UInt64Array};
use arrow::compute::{SortColumn, concat_batches, lexsort_to_indices, partition, take_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use super::CommitError;
use super::entry::{CoveredObject, SideFile};
use super::root::Pinned;
use crate::source::Object;
use crate::store::Store;

/// Writes the ids of a group, sorted by their columns in order. `None` if there are none.
pub async fn write_ids(
    store: &Store,
    token: &str,
    group: u64,
    batches: &[RecordBatch],
) -> Result<Option<SideFile>, CommitError> {
    let Some(first) = batches.first() else { return Ok(None) };
    let path = format!("side/{token}-ids-{group}.parquet");
    let sorted = sorted(&first.schema(), batches).map_err(|error| CommitError::damaged(&path, error))?;
    if sorted.num_rows() == 0 {
        return Ok(None);
    }
    write(store, path, &sorted).await.map(Some)
}

/// Writes ids that were done elsewhere, sorted, each once. `name` is random, and nobody else's.
pub async fn write_imported(
    store: &Store,
    name: &str,
    number: usize,
    batches: &[RecordBatch],
) -> Result<Option<SideFile>, CommitError> {
    let Some(first) = batches.first() else { return Ok(None) };
    let path = format!("side/{name}-imported-{number}.parquet");
    let unique = sorted(&first.schema(), batches).and_then(|sorted| unique(&sorted));
    let unique = unique.map_err(|error| CommitError::damaged(&path, error))?;
    write(store, path, &unique).await.map(Some)
}

/// The first of equal rows that lie side by side.
fn unique(sorted: &RecordBatch) -> Result<RecordBatch, arrow::error::ArrowError> {
    let firsts: UInt64Array = partition(sorted.columns())?.ranges().iter().map(|range| range.start as u64).collect();
    take_record_batch(sorted, &firsts)
}

fn sorted(schema: &SchemaRef, batches: &[RecordBatch]) -> Result<RecordBatch, arrow::error::ArrowError> {
    let all = concat_batches(schema, batches)?;
    let columns: Vec<SortColumn> =
        all.columns().iter().map(|values| SortColumn { values: Arc::clone(values), options: None }).collect();
    take_record_batch(&all, &lexsort_to_indices(&columns, None)?)
}

/// The ids of a segment, batch by batch.
pub async fn read_ids(store: &Store, file: &SideFile) -> Result<Vec<RecordBatch>, CommitError> {
    read(store, file).await
}

/// Writes a source listing: `path`, `size`, `etag`, `modified_ms`, `since`.
pub async fn write_listing(store: &Store, token: &str, objects: &[Pinned]) -> Result<SideFile, CommitError> {
    let path = format!("side/{token}-listing-{}.parquet", super::random_name());
    let strings = |text: fn(&Pinned) -> Option<&str>| Arc::new(objects.iter().map(text).collect::<StringArray>());
    let numbers = |number: fn(&Pinned) -> u64| Arc::new(objects.iter().map(number).collect::<UInt64Array>());
    let modified: Int64Array = objects.iter().map(|pinned| pinned.object.modified_ms).collect();
    let columns: Vec<ArrayRef> = vec![
        strings(|pinned| Some(&pinned.object.path)),
        numbers(|pinned| pinned.object.size),
        strings(|pinned| pinned.object.etag.as_deref()),
        Arc::new(modified),
        numbers(|pinned| pinned.since),
    ];
    let batch = RecordBatch::try_new(listing_schema(), columns).expect("columns as in the schema");
    write(store, path, &batch).await
}

fn listing_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("path", DataType::Utf8, false),
        Field::new("size", DataType::UInt64, false),
        Field::new("etag", DataType::Utf8, true),
        Field::new("modified_ms", DataType::Int64, false),
        Field::new("since", DataType::UInt64, false),
    ]))
}

/// Reads a source listing.
pub(super) async fn read_listing(store: &Store, file: &SideFile) -> Result<Vec<Pinned>, CommitError> {
    let mut pinned = Vec::with_capacity(file.rows as usize);
    for batch in read(store, file).await? {
        expect_schema(&batch, &listing_schema(), &file.path)?;
        let (path, etag) = (strings(&batch, 0), strings(&batch, 2));
        let (size, since) = (numbers(&batch, 1), numbers(&batch, 4));
        let modified = batch.column(3).as_any().downcast_ref::<Int64Array>().expect("schema checked");
        for row in 0..batch.num_rows() {
            let object = Object {
                path: path.value(row).into(),
                size: size.value(row),
                etag: etag.is_valid(row).then(|| etag.value(row).to_string()),
                modified_ms: modified.value(row),
            };
            pinned.push(Pinned { object, since: since.value(row) });
        }
    }
    Ok(pinned)
}

/// Coverage that is too long for an entry: a row per range; an object without any range has one row with no state.
pub(super) async fn write_coverage(
    store: &Store,
    token: &str,
    group: u64,
    objects: &[CoveredObject],
) -> Result<SideFile, CommitError> {
    let rows: Vec<CoverageRow> = objects.iter().flat_map(coverage_rows).collect();
    let strings = |text: fn(&CoveredObject) -> &str| {
        Arc::new(rows.iter().map(|(object, _)| Some(text(object))).collect::<StringArray>()) as ArrayRef
    };
    let numbers = |number: fn(&CoveredObject) -> u64| {
        Arc::new(rows.iter().map(|(object, _)| number(object)).collect::<UInt64Array>()) as ArrayRef
    };
    let columns: Vec<ArrayRef> = vec![
        strings(|object| &object.object),
        strings(|object| &object.digest),
        numbers(|object| object.size),
        numbers(|object| object.rows),
        Arc::new(rows.iter().map(|(_, range)| range.map(|range| range.0)).collect::<StringArray>()),
        Arc::new(rows.iter().map(|(_, range)| range.map(|range| range.1)).collect::<UInt64Array>()),
        Arc::new(rows.iter().map(|(_, range)| range.map(|range| range.2)).collect::<UInt64Array>()),
    ];
    let batch = RecordBatch::try_new(coverage_schema(), columns).expect("columns as in the schema");
    write(store, format!("side/{token}-coverage-{group}.parquet"), &batch).await
}

/// An object, and the state, start and end of one range of it.
type CoverageRow<'a> = (&'a CoveredObject, Option<(&'static str, u64, u64)>);

fn coverage_rows(object: &CoveredObject) -> Vec<CoverageRow<'_>> {
    let of = |state, ranges: &[(u64, u64)]| {
        ranges.iter().map(|&(start, end)| (object, Some((state, start, end)))).collect::<Vec<_>>()
    };
    let rows = [of("done", &object.done), of("known", &object.known), of("failed", &object.failed)].concat();
    if rows.is_empty() { vec![(object, None)] } else { rows }
}

fn coverage_schema() -> SchemaRef {
    Arc::new(Schema::new(vec![
        Field::new("object", DataType::Utf8, false),
        Field::new("digest", DataType::Utf8, false),
        Field::new("size", DataType::UInt64, false),
        Field::new("rows", DataType::UInt64, false),
        Field::new("state", DataType::Utf8, true),
        Field::new("start", DataType::UInt64, true),
        Field::new("end", DataType::UInt64, true),
    ]))
}

/// Reads long coverage.
pub(super) async fn read_coverage(store: &Store, file: &SideFile) -> Result<Vec<CoveredObject>, CommitError> {
    let mut objects: Vec<CoveredObject> = Vec::new();
    for batch in read(store, file).await? {
        expect_schema(&batch, &coverage_schema(), &file.path)?;
        let (path, digest, state) = (strings(&batch, 0), strings(&batch, 1), strings(&batch, 4));
        let (size, rows, start, end) = (numbers(&batch, 2), numbers(&batch, 3), numbers(&batch, 5), numbers(&batch, 6));
        for row in 0..batch.num_rows() {
            if objects.last().is_none_or(|last| last.object != path.value(row)) {
                objects.push(CoveredObject {
                    object: path.value(row).into(),
                    digest: digest.value(row).into(),
                    size: size.value(row),
                    rows: rows.value(row),
                    done: vec![],
                    known: vec![],
                    failed: vec![],
                });
            }
            let object = objects.last_mut().expect("just pushed");
            let range = (start.value(row), end.value(row));
            match state.is_valid(row).then(|| state.value(row)) {
                Some("done") => object.done.push(range),
                Some("known") => object.known.push(range),
                Some("failed") => object.failed.push(range),
                Some(other) => return Err(CommitError::damaged(&file.path, format!("unknown state {other:?}"))),
                None => {}
            }
        }
    }
    Ok(objects)
}

fn strings(batch: &RecordBatch, column: usize) -> &StringArray {
    batch.column(column).as_any().downcast_ref().expect("schema checked")
}

fn numbers(batch: &RecordBatch, column: usize) -> &UInt64Array {
    batch.column(column).as_any().downcast_ref().expect("schema checked")
}

fn expect_schema(batch: &RecordBatch, schema: &SchemaRef, path: &str) -> Result<(), CommitError> {
    if batch.schema().fields() == schema.fields() {
        return Ok(());
    }
    Err(CommitError::damaged(path, format!("its columns are {:?}", batch.schema().fields())))
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

async fn read(store: &Store, file: &SideFile) -> Result<Vec<RecordBatch>, CommitError> {
    let name = Path::from(file.path.as_str());
    let got = store.objects().get(&name).await.map_err(|cause| CommitError::store("read", &file.path, cause))?;
    let bytes: Bytes = got.bytes().await.map_err(|cause| CommitError::store("read", &file.path, cause))?;
    if blake3::hash(&bytes).to_hex().as_str() != file.digest {
        return Err(CommitError::damaged(&file.path, "its digest is not the one that the log names"));
    }
    decode(bytes).map_err(|error| CommitError::damaged(&file.path, error))
}

fn decode(bytes: Bytes) -> Result<Vec<RecordBatch>, arrow::error::ArrowError> {
    ParquetRecordBatchReaderBuilder::try_new(bytes)?.with_batch_size(64 * 1024).build()?.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wait<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    fn ids(ids: Vec<i64>) -> RecordBatch {
        RecordBatch::try_from_iter([("id", Arc::new(Int64Array::from(ids)) as ArrayRef)]).unwrap()
    }

    #[test]
    fn ids_are_sorted_and_come_back() {
        let store = Store::memory("checkpoint");
        let a = ids(vec![5, 1]);
        let b = ids(vec![3]);
        let file = wait(write_ids(&store, "t", 0, &[a, b])).unwrap().unwrap();
        let back = wait(read_ids(&store, &file)).unwrap();
        assert_eq!(back[0].column(0).as_ref(), &Int64Array::from(vec![1, 3, 5]));
    }

    #[test]
    fn imported_ids_are_sorted_and_each_is_there_once() {
        let store = Store::memory("checkpoint");
        let file = wait(write_imported(&store, "t", 3, &[ids(vec![5, 1, 5]), ids(vec![1, 3])])).unwrap().unwrap();
        assert_eq!((file.path.as_str(), file.rows), ("side/t-imported-3.parquet", 3));
        let back = wait(read_ids(&store, &file)).unwrap();
        assert_eq!(back[0].column(0).as_ref(), &Int64Array::from(vec![1, 3, 5]));
    }

    #[test]
    fn a_side_file_that_was_altered_is_refused() {
        let store = Store::memory("checkpoint");
        let ids = ids(vec![5, 1]);
        let file = wait(write_ids(&store, "t", 0, &[ids])).unwrap().unwrap();
        wait(store.objects().put(&Path::from(file.path.as_str()), "x".into())).unwrap();
        assert!(matches!(wait(read_ids(&store, &file)), Err(CommitError::Damaged { .. })));
    }

    #[test]
    fn long_coverage_comes_back() {
        let store = Store::memory("checkpoint");
        let object = |name: &str, done: Vec<(u64, u64)>, failed: Vec<(u64, u64)>| CoveredObject {
            object: name.into(),
            digest: "d".into(),
            size: 9,
            rows: 100,
            done,
            known: vec![],
            failed,
        };
        let objects = vec![object("a", vec![(0, 5), (7, 9)], vec![(5, 7)]), object("empty", vec![], vec![])];
        let file = wait(write_coverage(&store, "t", 3, &objects)).unwrap();
        assert_eq!(wait(read_coverage(&store, &file)).unwrap(), objects);
    }
}
