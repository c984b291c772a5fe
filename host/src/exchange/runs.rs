//! Ids become sorted files of bounded size beside the log. Files overlap: who asks them sorts them together once, into the
//! id file of the job.

use arrow::array::RecordBatch;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use tokio::runtime::Handle;

use super::ExchangeError;
use crate::block::batch_bytes;
use crate::commit::{SideFile, random_name, write_imported};
use crate::store::Store;

/// Ids in memory that are sorted together.
const RUN_BYTES_MAX: usize = 64 << 20;

/// Collects ids.
pub(super) struct Runs<'a> {
    store: &'a Store,
    runtime: &'a Handle,
    name: String,
    batches: Vec<RecordBatch>,
    bytes: usize,
    files: Vec<SideFile>,
}

impl<'a> Runs<'a> {
    pub(super) fn new(store: &'a Store, runtime: &'a Handle) -> Runs<'a> {
        Runs { store, runtime, name: random_name(), batches: Vec::new(), bytes: 0, files: Vec::new() }
    }

    pub(super) fn add(&mut self, ids: RecordBatch) -> Result<(), ExchangeError> {
        self.bytes += batch_bytes(&ids);
        self.batches.push(ids);
        if self.bytes < RUN_BYTES_MAX { Ok(()) } else { self.write() }
    }

    fn write(&mut self) -> Result<(), ExchangeError> {
        let batches = std::mem::take(&mut self.batches);
        self.bytes = 0;
        let written = write_imported(self.store, &self.name, self.files.len(), &batches);
        self.files.extend(self.runtime.block_on(written)?);
        Ok(())
    }

    /// All files, if everything could be read; else none.
    pub(super) fn finish(mut self, read: Result<(), ExchangeError>) -> Result<Vec<SideFile>, ExchangeError> {
        match read.and_then(|()| self.write()) {
            Ok(()) => Ok(self.files),
            Err(error) => {
                remove(self.store, &self.files, self.runtime);
                Err(error)
            }
        }
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
