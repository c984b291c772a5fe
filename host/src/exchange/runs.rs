//! Ids become sorted files of bounded size beside the log. Files overlap: who asks them sorts them together once, into the
//! id file of the job.

use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::RecordBatch;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use tokio::runtime::Handle;

use super::ExchangeError;
use crate::block::batch_bytes;
use crate::commit::{SideFile, random_name, write_imported};
use crate::store::Store;

/// Names of files, of which each is used once.
pub(super) struct Names {
    name: String,
    next: AtomicUsize,
}

impl Default for Names {
    fn default() -> Names {
        Names { name: random_name(), next: AtomicUsize::new(0) }
    }
}

/// Collects the ids that one thread reads.
pub(super) struct Runs<'a> {
    store: &'a Store,
    names: &'a Names,
    bytes_max: usize,
    runtime: &'a Handle,
    batches: Vec<RecordBatch>,
    bytes: usize,
    /// What was written so far.
    pub(super) files: Vec<SideFile>,
}

impl<'a> Runs<'a> {
    /// `bytes_max` is what is sorted together.
    pub(super) fn new(store: &'a Store, names: &'a Names, bytes_max: usize, runtime: &'a Handle) -> Runs<'a> {
        Runs { store, names, bytes_max, runtime, batches: Vec::new(), bytes: 0, files: Vec::new() }
    }

    pub(super) fn add(&mut self, ids: RecordBatch) -> Result<(), ExchangeError> {
        self.bytes += batch_bytes(&ids);
        self.batches.push(ids);
        if self.bytes < self.bytes_max { Ok(()) } else { self.write() }
    }

    /// Writes what was collected since the last file.
    pub(super) fn write(&mut self) -> Result<(), ExchangeError> {
        let batches = std::mem::take(&mut self.batches);
        self.bytes = 0;
        if batches.is_empty() {
            return Ok(());
        }
        let number = self.names.next.fetch_add(1, Ordering::Relaxed);
        let written = write_imported(self.store, &self.names.name, number, &batches);
        self.files.extend(self.store.wait(self.runtime, written)?);
        Ok(())
    }
}

/// Removes files that no entry names: their name is of this process only. What cannot be removed is a few bytes too many.
pub(super) fn remove(store: &Store, files: &[SideFile], runtime: &Handle) {
    for file in files {
        if let Err(error) = runtime.block_on(store.objects().delete(&Path::from(file.path.as_str()))) {
            tracing::warn!(%error, file = file.path, "left a file that nothing names");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{ArrayRef, AsArray, Int64Array};
    use arrow::datatypes::Int64Type;

    use super::*;
    use crate::commit::read_imported;

    fn ids(ids: impl IntoIterator<Item = i64>) -> RecordBatch {
        let ids = Int64Array::from_iter_values(ids);
        RecordBatch::try_from_iter([("id", Arc::new(ids) as ArrayRef)]).unwrap()
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap()
    }

    fn numbers(batches: &[RecordBatch]) -> Vec<i64> {
        batches.iter().flat_map(|batch| batch.column(0).as_primitive::<Int64Type>().values().to_vec()).collect()
    }

    #[test]
    fn many_ids_become_several_sorted_files() {
        let (store, runtime) = (Store::memory("checkpoint"), runtime());
        let names = Names::default();
        let mut runs = Runs::new(&store, &names, 8 * 100, runtime.handle());
        (0..10).for_each(|block| runs.add(ids((0..50).map(|n| (block * 50 + n) * 7 % 500))).unwrap());
        runs.write().unwrap();
        assert_eq!(runs.files.len(), 5);
        let mut all = Vec::new();
        for file in &runs.files {
            let own = numbers(&runtime.block_on(read_imported(&store, file)).unwrap());
            assert!(own.is_sorted() && own.len() == 100, "{own:?}");
            all.extend(own);
        }
        all.sort_unstable();
        assert_eq!(all, (0..500).collect::<Vec<_>>());
    }

    #[test]
    fn what_is_removed_is_gone() {
        let (store, runtime, names) = (Store::memory("checkpoint"), runtime(), Names::default());
        let mut runs = Runs::new(&store, &names, 8 * 10, runtime.handle());
        runs.add(ids(0..30)).unwrap();
        assert_eq!(runs.files.len(), 1);
        remove(&store, &runs.files, runtime.handle());
        let left = runtime.block_on(store.objects().list_with_delimiter(Some(&Path::from("side")))).unwrap();
        assert!(left.objects.is_empty(), "{left:?}");
    }
}
