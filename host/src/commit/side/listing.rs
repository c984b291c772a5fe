//! Source listings.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray, UInt64Array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};

use super::super::entry::SideFile;
use super::super::root::Pinned;
use super::super::{CommitError, random_name};
use super::{numbers, read_table, strings, write};
use crate::source::Object;
use crate::store::Store;

/// Writes a source listing: `path`, `size`, `etag`, `modified_ms`, `since`.
pub async fn write_listing(store: &Store, token: &str, objects: &[Pinned]) -> Result<SideFile, CommitError> {
    let path = format!("side/{token}-listing-{}.parquet", random_name());
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
pub(in crate::commit) async fn read_listing(store: &Store, file: &SideFile) -> Result<Vec<Pinned>, CommitError> {
    let mut pinned = Vec::new();
    for batch in read_table(store, file, &listing_schema()).await? {
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
