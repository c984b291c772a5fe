//! The sorted id file of a job. It is derived from the log and disposable: its name holds the job and a digest of
//! everything it was built from, so a file that is there is the right one, and it is built again if it is damaged.

use std::path::{Path, PathBuf};

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
        "id file {path}: {cause}\nhint: nothing is lost; make room there, or name another folder with XDG_CACHE_HOME"
    )]
    Build {
        /// The file.
        path: String,
        /// Why not.
        #[source]
        cause: BuildError,
    },
    /// The operating system refused it.
    #[error("id file {path}: {cause}\nhint: nothing is lost; name a local folder with XDG_CACHE_HOME")]
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
    /// The file `name` in `folder`; built from `batches` if it is not there or damaged.
    pub fn open_or_build<E>(
        folder: &Path,
        name: &str,
        memory_bytes_max: usize,
        batches: impl FnOnce() -> Result<Vec<RecordBatch>, E>,
    ) -> Result<DoneIds, E>
    where
        E: From<FilterError>,
    {
        let path = folder.join(name);
        match DoneIds::open(&path) {
            Ok(Some(done)) => return Ok(done),
            Ok(None) => {}
            Err(error) => {
                tracing::warn!(%error, "building the id file anew");
                std::fs::remove_file(&path).map_err(|cause| io(&path, cause))?;
            }
        }
        build(folder, &path, memory_bytes_max, &batches()?)?;
        let built = DoneIds::open(&path)?;
        Ok(built.ok_or_else(|| io(&path, std::io::ErrorKind::NotFound.into()))?)
    }

    fn open(path: &Path) -> Result<Option<DoneIds>, FilterError> {
        let file = match std::fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(io(path, cause)),
        };
        // SAFETY: the file is only ever replaced as a whole, never changed in place.
        let mapped = unsafe { Mmap::map(&file) }.map_err(|cause| io(path, cause))?;
        let damaged = |cause| FilterError::Damaged { path: path.display().to_string(), cause };
        let ids = Ids::open(mapped).map_err(damaged)?;
        ids.verify().map_err(damaged)?;
        Ok(Some(DoneIds { ids, path: path.into() }))
    }

    /// For each row whether its id is done.
    pub fn are_done(&self, ids: &RecordBatch) -> Result<Vec<bool>, FilterError> {
        let keys = Keys::encode(ids);
        self.ids.ask(keys.iter()).map_err(|cause| FilterError::Damaged { path: self.path.display().to_string(), cause })
    }

    /// How many ids.
    pub fn len(&self) -> u64 {
        self.ids.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }
}

fn build(folder: &Path, path: &Path, memory_bytes_max: usize, batches: &[RecordBatch]) -> Result<(), FilterError> {
    std::fs::create_dir_all(folder).map_err(|cause| io(folder, cause))?;
    let failed = |cause| FilterError::Build { path: path.display().to_string(), cause };
    let mut builder = Builder::new(folder, memory_bytes_max);
    for batch in batches {
        for key in Keys::encode(batch).iter() {
            builder.add(key).map_err(failed)?;
        }
    }
    builder.finish(path).map_err(failed)?;
    Ok(())
}

fn io(path: &Path, cause: std::io::Error) -> FilterError {
    FilterError::Io { path: path.display().to_string(), cause }
}
