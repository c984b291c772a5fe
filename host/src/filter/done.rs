//! The sorted id file of a job. It is derived from the log and disposable: its name holds the job and a digest of
//! everything it was built from, so a file that is there is the right one, and it is built again if it is damaged.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use arrow::array::RecordBatch;
use memmap2::Mmap;
use wasmpipe_ids::{BuildError, Builder, Damage, Ids};

use super::key::Keys;

/// Ids whose rows are done.
pub struct DoneIds {
    ids: Ids<Mmap>,
    path: PathBuf,
}

/// The id file cannot be built or asked.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// It could not be built.
    #[error(
        "id file {path}: {cause}\nhint: nothing is lost; make room there, or name another folder with WASMPIPE_CACHE"
    )]
    Build {
        /// The file.
        path: String,
        /// Why not.
        #[source]
        cause: BuildError,
    },
    /// The operating system refused it.
    #[error("id file {path}: {cause}\nhint: nothing is lost; name a local folder with WASMPIPE_CACHE")]
    Io {
        /// The file or folder.
        path: String,
        /// Why not.
        #[source]
        cause: std::io::Error,
    },
    /// It was damaged after it had been opened.
    #[error("id file {path} is damaged: {cause}\nhint: run the same command again, the file is built anew")]
    Damaged {
        /// The file.
        path: String,
        /// Where.
        #[source]
        cause: Damage,
    },
}

impl DoneIds {
    /// The file `name` in `folder`, if it was built before. One that is damaged is removed.
    pub fn find(folder: &Path, name: &str) -> Result<Option<DoneIds>, FilterError> {
        let path = folder.join(name);
        match DoneIds::open(&path) {
            Err(FilterError::Damaged { cause, .. }) => {
                tracing::warn!(%cause, path = %path.display(), "building the id file anew");
                std::fs::remove_file(&path).map_err(|cause| io(&path, cause))?;
                Ok(None)
            }
            result => result,
        }
    }

    fn open(path: &Path) -> Result<Option<DoneIds>, FilterError> {
        let file = match std::fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(io(path, cause)),
        };
        // SAFETY: the file is only ever replaced as a whole, never changed in place.
        let mapped = unsafe { Mmap::map(&file) }.map_err(|cause| io(path, cause))?;
        let ids = Ids::open(mapped).map_err(|cause| damaged(path, cause))?;
        Ok(Some(DoneIds { ids, path: path.into() }))
    }

    /// For each row whether its id is done. A file that turns out damaged is removed, so that the next run builds it.
    pub fn are_done(&self, ids: &RecordBatch) -> Result<Vec<bool>, FilterError> {
        self.ids.ask(Keys::encode(ids).iter()).map_err(|cause| {
            let _ = std::fs::remove_file(&self.path);
            damaged(&self.path, cause)
        })
    }
}

/// Builds an id file from batches of ids, in bounded memory.
pub struct DoneIdsBuilder {
    builder: Mutex<Builder>,
    path: PathBuf,
}

impl DoneIdsBuilder {
    /// For the file `name` in `folder`, which is made if need be.
    pub fn new(folder: &Path, name: &str, memory_bytes_max: usize) -> Result<DoneIdsBuilder, FilterError> {
        std::fs::create_dir_all(folder).map_err(|cause| io(folder, cause))?;
        let builder = Mutex::new(Builder::new(folder, memory_bytes_max));
        Ok(DoneIdsBuilder { builder, path: folder.join(name) })
    }

    /// Adds the ids of a batch, in any order; from any thread.
    pub fn add(&self, ids: &RecordBatch) -> Result<(), FilterError> {
        let keys = Keys::encode(ids);
        let mut builder = self.builder.lock().unwrap_or_else(PoisonError::into_inner);
        for key in keys.iter() {
            builder.add(key).map_err(|cause| cannot_build(&self.path, cause))?;
        }
        Ok(())
    }

    /// As [`DoneIdsBuilder::finish`], under another name in the same folder.
    pub fn finish_as(mut self, name: &str) -> Result<DoneIds, FilterError> {
        self.path.set_file_name(name);
        self.finish()
    }

    /// Puts the file in its place and opens it.
    pub fn finish(self) -> Result<DoneIds, FilterError> {
        let DoneIdsBuilder { builder, path } = self;
        let builder = builder.into_inner().unwrap_or_else(PoisonError::into_inner);
        builder.finish(&path).map_err(|cause| cannot_build(&path, cause))?;
        DoneIds::open(&path)?.ok_or_else(|| io(&path, std::io::ErrorKind::NotFound.into()))
    }
}

fn cannot_build(path: &Path, cause: BuildError) -> FilterError {
    FilterError::Build { path: path.display().to_string(), cause }
}

fn damaged(path: &Path, cause: Damage) -> FilterError {
    FilterError::Damaged { path: path.display().to_string(), cause }
}

fn io(path: &Path, cause: std::io::Error) -> FilterError {
    FilterError::Io { path: path.display().to_string(), cause }
}
