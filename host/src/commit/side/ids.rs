//! Ids as their own typed columns, sorted: of one group, of several with a last column that names the group, or of rows that
//! were done elsewhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, BooleanArray, RecordBatch, UInt64Array};
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, Field, Schema};
use futures::{StreamExt, TryStreamExt};

use super::super::CommitError;
use super::super::entry::{IdFile, SideFile};
use super::super::replay::GroupState;
use super::order::{sorted, unique};
use super::{Encoded, encode_ids, read, write_bytes};
use crate::store::Store;

/// Side files read at a time.
const READS_MAX: usize = 32;

/// The ids of a group as a side file that is not written yet: sorted by their columns in order.
#[derive(Debug)]
pub struct GroupIds {
    path: String,
    file: Encoded,
}

impl GroupIds {
    /// Sorts and encodes, which keeps a processor busy. `None` if there are no ids.
    pub fn encode(token: &str, group: u64, batches: &[RecordBatch]) -> Result<Option<GroupIds>, CommitError> {
        let path = format!("side/{token}-ids-{group}.parquet");
        let file = sorted(batches).and_then(|sorted| Ok(encode_ids(&sorted)?));
        let file = file.map_err(|error| CommitError::damaged(&path, error))?;
        Ok((file.rows > 0).then_some(GroupIds { path, file }))
    }

    /// Puts the file beside the log.
    pub async fn write(self, store: &Store) -> Result<SideFile, CommitError> {
        write_bytes(store, self.path, self.file).await
    }
}

/// Writes ids that were done elsewhere, sorted, each once. `name` is random, and nobody else's.
pub async fn write_imported(
    store: &Store,
    name: &str,
    number: usize,
    batches: &[RecordBatch],
) -> Result<Option<SideFile>, CommitError> {
    let path = format!("side/{name}-imported-{number}.parquet");
    let file = unique(batches).and_then(|unique| Ok(encode_ids(&unique)?));
    let file = file.map_err(|error| CommitError::damaged(&path, error))?;
    if file.rows == 0 {
        return Ok(None);
    }
    write_bytes(store, path, file).await.map(Some)
}

/// The ids of a file, those of wanted groups only, without the column that names their groups.
pub async fn read_ids(
    store: &Store,
    file: &IdFile,
    is_wanted: impl Fn(u64) -> bool,
) -> Result<Vec<RecordBatch>, CommitError> {
    match file.group {
        Some(group) if is_wanted(group) => read(store, &file.file).await,
        Some(_) => Ok(Vec::new()),
        None => {
            let batches = read_ids_with_groups(store, file, is_wanted).await?;
            let ids = |batch: RecordBatch| batch.project(&(0..batch.num_columns() - 1).collect::<Vec<_>>());
            let batches = batches.into_iter().map(ids).collect::<Result<_, _>>();
            batches.map_err(|error| CommitError::damaged(&file.file.path, error))
        }
    }
}

/// Ids that were done elsewhere, before the job began.
pub async fn read_imported(store: &Store, file: &SideFile) -> Result<Vec<RecordBatch>, CommitError> {
    read(store, file).await
}

/// Merges id files of groups that count into one whose rows name their group, sorted by id.
pub(in crate::commit) async fn merge_ids(
    store: &Store,
    path: String,
    files: &[IdFile],
    groups: &BTreeMap<u64, GroupState>,
) -> Result<Option<SideFile>, CommitError> {
    let reads = files.iter().map(|file| read_ids_with_groups(store, file, |group| groups.contains_key(&group)));
    let reads: Vec<_> = reads.collect();
    let batches: Vec<Vec<RecordBatch>> = futures::stream::iter(reads).buffered(READS_MAX).try_collect().await?;
    let batches = batches.concat();
    let file = sorted(&batches).and_then(|sorted| Ok(encode_ids(&sorted)?));
    let file = file.map_err(|error| CommitError::damaged(&path, error))?;
    if file.rows == 0 {
        return Ok(None);
    }
    write_bytes(store, path, file).await.map(Some)
}

/// The ids of a file with a last column `_group`, those of wanted groups only.
async fn read_ids_with_groups(
    store: &Store,
    file: &IdFile,
    is_wanted: impl Fn(u64) -> bool,
) -> Result<Vec<RecordBatch>, CommitError> {
    let damaged = |error: arrow::error::ArrowError| CommitError::damaged(&file.file.path, error);
    let mut batches = Vec::new();
    for batch in read(store, &file.file).await? {
        let batch = match file.group {
            Some(group) => with_group(&batch, group).map_err(damaged)?,
            None => batch,
        };
        let last = batch.columns().last().and_then(|column| column.as_any().downcast_ref::<UInt64Array>());
        let last = last.ok_or_else(|| CommitError::damaged(&file.file.path, "it does not name groups"))?;
        let keep: BooleanArray = last.iter().map(|group| group.map(&is_wanted)).collect();
        let kept = filter_record_batch(&batch, &keep).map_err(damaged)?;
        batches.extend((kept.num_rows() > 0).then_some(kept));
    }
    Ok(batches)
}

fn with_group(batch: &RecordBatch, group: u64) -> Result<RecordBatch, arrow::error::ArrowError> {
    let mut fields: Vec<Arc<Field>> = batch.schema().fields().iter().cloned().collect();
    fields.push(Arc::new(Field::new(GROUP_COLUMN, DataType::UInt64, false)));
    let mut columns = batch.columns().to_vec();
    columns.push(Arc::new(UInt64Array::from_value(group, batch.num_rows())));
    RecordBatch::try_new(Arc::new(Schema::new(fields)), columns)
}

/// The group of a row in a file of ids of several groups.
const GROUP_COLUMN: &str = "_group";

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array, StringArray};

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
        let file = wait(GroupIds::encode("t", 0, &[a, b]).unwrap().unwrap().write(&store)).unwrap();
        let back = wait(read_ids(&store, &IdFile { group: Some(1), file }, |_| true)).unwrap();
        assert_eq!(back[0].column(0).as_ref(), &Int64Array::from(vec![1, 3, 5]));
    }

    /// Values that are long and alike are packed so tightly by their prefixes that a reader takes the file for a lie.
    #[test]
    fn ids_that_are_long_and_alike_come_back() {
        let store = Store::memory("checkpoint");
        let long = "a".repeat(3000);
        let (first, second): (Vec<&str>, Vec<i64>) = (0..60_000).map(|n| (long.as_str(), n)).unzip();
        let columns =
            [("a", Arc::new(StringArray::from(first)) as ArrayRef), ("b", Arc::new(Int64Array::from(second)))];
        let ids = RecordBatch::try_from_iter(columns).unwrap();
        let file = wait(GroupIds::encode("t", 0, &[ids]).unwrap().unwrap().write(&store)).unwrap();
        let back = wait(read_ids(&store, &IdFile { group: Some(1), file }, |_| true)).unwrap();
        assert_eq!(back.iter().map(RecordBatch::num_rows).sum::<usize>(), 60_000);
    }

    #[test]
    fn imported_ids_are_sorted_and_each_is_there_once() {
        let store = Store::memory("checkpoint");
        let file = wait(write_imported(&store, "t", 3, &[ids(vec![5, 1, 5]), ids(vec![1, 3])])).unwrap().unwrap();
        assert_eq!((file.path.as_str(), file.rows), ("side/t-imported-3.parquet", 3));
        let back = wait(read_imported(&store, &file)).unwrap();
        assert_eq!(back[0].column(0).as_ref(), &Int64Array::from(vec![1, 3, 5]));
    }
}
