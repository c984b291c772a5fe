//! The sorted id file of a job. It is derived from the log and disposable: its name holds the job and a digest of
//! everything it was built from, so a file that is there is the right one, and it is built again if it is damaged.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Instant, SystemTime};

use arrow::array::RecordBatch;
use arrow::buffer::{BooleanBuffer, Buffer};
use memmap2::Mmap;
use wasmpipe_ids::{BuildError, Builder, Damage, Ids};

use super::cache::{BuildLock, IdCache, IdsName, is_at};
use super::key::Keys;
use crate::message::Hint;

/// The id file cannot be built or asked.
#[derive(Debug, thiserror::Error)]
pub enum FilterError {
    /// It could not be built.
    #[error("id file {path}: {cause}")]
    Build {
        /// The file.
        path: String,
        /// Why not.
        #[source]
        cause: BuildError,
    },
    /// The operating system refused it.
    #[error("id file {path}: {cause}")]
    Io {
        /// The file or folder.
        path: String,
        /// Why not.
        #[source]
        cause: std::io::Error,
    },
    /// It would lie on a network file system.
    #[error("{path} lies on {kind}, where a file can vanish while it is mapped, so no id file can be kept there")]
    Network {
        /// The folder.
        path: String,
        /// The file system.
        kind: &'static str,
    },
    /// It was damaged after it had been opened, and could not be built again.
    #[error("id file {path} is damaged: {cause}")]
    Damaged {
        /// The file.
        path: String,
        /// Where.
        #[source]
        cause: Damage,
    },
}

impl Hint for FilterError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            FilterError::Build { .. } => "nothing is lost; make room there, or name another folder with WASMPIPE_CACHE",
            FilterError::Io { .. } => "nothing is lost; name a local folder that you may write to with WASMPIPE_CACHE",
            FilterError::Network { .. } => "nothing is lost; name a folder on a local disk with WASMPIPE_CACHE",
            FilterError::Damaged { .. } => "run the same command again, the file is built anew",
        };
        Some(hint.into())
    }
}

/// Ids whose rows are done.
pub struct DoneIds {
    mapped: RwLock<Arc<Mapped>>,
    rebuild: Option<Rebuild>,
    /// Held by who builds it again.
    rebuilding: Mutex<()>,
}

/// Builds the file once more; none if that cannot be done.
type Rebuild = Box<dyn Fn() -> Option<DoneIds> + Send + Sync>;

/// A file as it was when it was opened. It stays that, whatever happens to its name.
struct Mapped {
    ids: Ids<Mmap>,
    path: PathBuf,
    /// With a shared lock: it is in use.
    file: File,
}

impl DoneIds {
    /// The file at `path`, if it was built before. One that is damaged is removed.
    pub(super) fn find(path: &Path) -> Result<Option<DoneIds>, FilterError> {
        match Mapped::open(path) {
            Err(FilterError::Damaged { cause, .. }) => {
                tracing::warn!(cause = cause.to_string(), path = %path.display(), "building the id file anew");
                Ok(None)
            }
            result => Ok(result?.map(DoneIds::of)),
        }
    }

    fn of(mapped: Mapped) -> DoneIds {
        DoneIds { mapped: RwLock::new(Arc::new(mapped)), rebuild: None, rebuilding: Mutex::default() }
    }

    /// What to do about a file that turns out damaged while it is asked.
    #[must_use]
    pub fn or_rebuild(mut self, rebuild: impl Fn() -> Option<DoneIds> + Send + Sync + 'static) -> DoneIds {
        self.rebuild = Some(Box::new(rebuild));
        self
    }

    /// For each row whether its id is done. A file that turns out damaged is built again, once for all who ask: not from async code,
    /// since that waits for the runtime.
    pub fn are_done(&self, ids: &RecordBatch) -> Result<BooleanBuffer, FilterError> {
        let keys = Keys::encode(ids);
        let mapped = self.mapped();
        let answers = match mapped.ids.ask(keys.column()) {
            Ok(answers) => answers,
            Err(cause) => {
                self.replace(&mapped, &cause).ok_or_else(|| damaged(&mapped.path, cause))?;
                let mapped = self.mapped();
                mapped.ids.ask(keys.column()).map_err(|cause| damaged(&mapped.path, cause))?
            }
        };
        Ok(BooleanBuffer::new(Buffer::from_vec(answers), 0, ids.num_rows()))
    }

    fn mapped(&self) -> Arc<Mapped> {
        Arc::clone(&self.mapped.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts a whole file in the place of a damaged one.
    fn replace(&self, old: &Arc<Mapped>, cause: &Damage) -> Option<()> {
        let _rebuilding = self.rebuilding.lock().unwrap_or_else(PoisonError::into_inner);
        if !Arc::ptr_eq(old, &self.mapped()) {
            return Some(());
        }
        tracing::warn!(cause = cause.to_string(), path = %old.path.display(), "building the id file anew");
        remove(&old.file, &old.path);
        let new = self.rebuild.as_ref()?()?;
        *self.mapped.write().unwrap_or_else(PoisonError::into_inner) = new.mapped();
        Some(())
    }
}

impl Mapped {
    /// One that is damaged is removed.
    fn open(path: &Path) -> Result<Option<Mapped>, FilterError> {
        // To open a pipe would wait for its other end.
        if std::fs::metadata(path).is_ok_and(|about| !about.is_file()) {
            return Err(io(path, std::io::Error::other("it is not a file")));
        }
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(cause) => return Err(io(path, cause)),
        };
        // Whoever holds it alone is about to remove it.
        if matches!(file.try_lock_shared(), Err(std::fs::TryLockError::WouldBlock)) {
            return Ok(None);
        }
        // When it was used last decides how long it is kept, no more.
        let _ = file.set_modified(SystemTime::now());
        // SAFETY: the file is only ever replaced as a whole, never changed in place.
        let mapped = unsafe { Mmap::map(&file) }.map_err(|cause| io(path, cause))?;
        let ids = Ids::open(mapped).map_err(|cause| {
            remove(&file, path);
            damaged(path, cause)
        })?;
        Ok(Some(Mapped { ids, path: path.into(), file }))
    }
}

/// Removes a file, unless another has taken its name.
fn remove(file: &File, path: &Path) {
    if is_at(file, path) {
        let _ = std::fs::remove_file(path);
    }
}

/// Builds an id file from batches of ids, in bounded memory. Until it is finished or dropped, nobody else builds that file.
pub struct DoneIdsBuilder {
    builder: Builder,
    started: Instant,
    place: Place,
}

/// Where a file is built, and what it becomes.
struct Place {
    /// A folder of the builder's own, gone when this is.
    building: PathBuf,
    path: PathBuf,
    lock: Option<BuildLock>,
    cache: IdCache,
    name: IdsName,
}

impl DoneIdsBuilder {
    pub(super) fn new(
        building: PathBuf,
        path: PathBuf,
        lock: BuildLock,
        cache: IdCache,
        name: &IdsName,
        memory_bytes_max: usize,
    ) -> Result<DoneIdsBuilder, FilterError> {
        let place = Place { building, path, lock: Some(lock), cache, name: name.clone() };
        std::fs::create_dir_all(&place.building).map_err(|cause| io(&place.building, cause))?;
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        let builder = Builder::new(&place.building, memory_bytes_max, threads);
        Ok(DoneIdsBuilder { builder, started: Instant::now(), place })
    }

    /// The file gets another name than was thought.
    pub fn rename(&mut self, name: &IdsName) {
        self.place.path = self.place.cache.path(name);
        self.place.name = name.clone();
    }

    /// Adds the ids of a batch, in any order; from any thread.
    pub fn add(&self, ids: &RecordBatch) -> Result<(), FilterError> {
        self.builder.add(Keys::encode(ids).column()).map_err(|cause| cannot_build(&self.place.path, cause))
    }

    /// Puts the file in its place and opens it.
    pub fn finish(self) -> Result<DoneIds, FilterError> {
        let DoneIdsBuilder { builder, started, place } = self;
        let path = &place.path;
        let built = place.building.join("whole");
        let summary = builder.finish(&built).map_err(|cause| cannot_build(path, cause))?;
        // Opened before it has its name, under which others may remove it.
        let mapped = Mapped::open(&built)?.ok_or_else(|| io(&built, std::io::ErrorKind::NotFound.into()))?;
        std::fs::rename(&built, path).map_err(|cause| io(path, cause))?;
        tracing::info!(
            path = %path.display(), ids = summary.ids, bytes = summary.bytes, seconds = started.elapsed().as_secs_f64(),
            "built the id file"
        );
        place.cache.make_room(&place.name);
        Ok(DoneIds::of(Mapped { path: path.clone(), ..mapped }))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.building);
        // Last: whoever has the lock next may build in that folder.
        if let Some(lock) = self.lock.take() {
            lock.release();
        }
    }
}

fn cannot_build(path: &Path, cause: BuildError) -> FilterError {
    FilterError::Build { path: path.display().to_string(), cause }
}

fn damaged(path: &Path, cause: Damage) -> FilterError {
    FilterError::Damaged { path: path.display().to_string(), cause }
}

pub(super) fn io(path: &Path, cause: std::io::Error) -> FilterError {
    FilterError::Io { path: path.display().to_string(), cause }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_its_own_hint_and_what_the_disk_said() {
        use std::error::Error;
        let folder = tempfile::tempdir().unwrap();
        let scratch = folder.path().join("gone");
        let cause = Builder::new(&scratch, 0, 1).finish(&scratch.join("whole")).unwrap_err();
        let error = cannot_build(Path::new("done.ids"), cause);
        let text = error.to_string();
        assert!(text.starts_with("id file done.ids: cannot create ") && !text.contains('\n'), "{text}");
        assert!(error.hint().unwrap().starts_with("nothing is lost; make room there"));
        let said = error.source().and_then(Error::source).unwrap().to_string();
        assert_eq!(said, "No such file or directory (os error 2)");
    }
}
