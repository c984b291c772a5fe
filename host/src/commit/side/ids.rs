//! Ids as their own typed columns, sorted: of one group, of several with a last column that names the group, or of rows that
//! were done elsewhere.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::{Array, BooleanArray, RecordBatch, UInt64Array};
use arrow::compute::{
    SortColumn, concat_batches, filter_record_batch, lexsort_to_indices, partition, take_record_batch,
};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use futures::{StreamExt, TryStreamExt};

use super::super::CommitError;
use super::super::entry::{IdFile, SideFile};
use super::super::replay::GroupState;
use super::{read, write};
use crate::store::Store;

/// Side files read at a time.
const READS_MAX: usize = 32;

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
    let Some(first) = batches.first() else { return Ok(None) };
    let sorted = sorted(&first.schema(), &batches).map_err(|error| CommitError::damaged(&path, error))?;
    write(store, path, &sorted).await.map(Some)
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
    use arrow::array::{ArrayRef, Int64Array};

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
        let back = wait(read_ids(&store, &IdFile { group: Some(1), file }, |_| true)).unwrap();
        assert_eq!(back[0].column(0).as_ref(), &Int64Array::from(vec![1, 3, 5]));
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
