//! Folders of this machine.

use std::io::ErrorKind;
use std::path::{Component, Path as FsPath, PathBuf};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;

use bytes::Bytes;
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{Error, Result};

use super::{Listed, Walk};

/// The objects below a folder, which need not exist. Writes are synced before they are acknowledged.
pub(super) fn open(root: &FsPath) -> Result<PrefixStore<LocalFileSystem>> {
    let prefix = Path::from_absolute_path(root)?;
    let files = LocalFileSystem::new().with_fsync(true);
    Ok(PrefixStore::new(files, prefix))
}

/// The files in a folder, which need not be there. What a write has staged is none.
pub(super) async fn list(folder: PathBuf) -> Result<Vec<Listed>> {
    in_background(folder, |folder| {
        let mut listed = Vec::new();
        for name in names_in(folder)? {
            let metadata = match std::fs::metadata(folder.join(&name)) {
                // It went while this looked.
                Err(error) if error.kind() == ErrorKind::NotFound => continue,
                found => found?,
            };
            if metadata.is_file() {
                listed.push(Listed { name, bytes: metadata.len() });
            }
        }
        Ok(listed)
    })
    .await
}

/// Everything below a folder; of folders in it, those that are wanted.
pub(super) async fn walk(folder: PathBuf, enters: impl Fn(&str) -> bool + Send + 'static) -> Result<Walk> {
    in_background(folder, |folder| Ok(super::walk::walk(folder, enters))).await
}

/// Their names alone.
pub(super) async fn names(folder: PathBuf) -> Result<Vec<String>> {
    in_background(folder, names_in).await
}

/// Names that a write has staged, and did not complete.
pub(super) async fn staged(folder: PathBuf) -> Result<Vec<String>> {
    in_background(folder, |folder| {
        Ok(all_names_in(folder)?.into_iter().filter(|name| staged_for(name).is_some()).collect())
    })
    .await
}

/// Removes a file; one that is not there is as good as removed.
pub(super) async fn remove(file: PathBuf) -> Result<()> {
    in_background(file, |file| match std::fs::remove_file(file) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    })
    .await
}

fn names_in(folder: &FsPath) -> std::io::Result<Vec<String>> {
    let mut names = all_names_in(folder)?;
    names.retain(|name| staged_for(name).is_none());
    Ok(names)
}

fn all_names_in(folder: &FsPath) -> std::io::Result<Vec<String>> {
    let mut names = Vec::new();
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(names),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !entry.file_type()?.is_dir() {
            names.push(name);
        }
    }
    Ok(names)
}

/// A write to a local store goes to `<name>#<digits>` first, which listings hide and paths refuse. Gives that name.
pub fn staged_for(name: &str) -> Option<&str> {
    let (target, digits) = name.rsplit_once('#')?;
    (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(target)
}

/// Polls a future here, outside any runtime: there a local store does its work at once, instead of handing it to a thread.
pub(super) fn wait<T>(asked: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let (mut asked, mut context) = (pin!(asked), Context::from_waker(&waker));
    loop {
        match asked.as_mut().poll(&mut context) {
            Poll::Ready(answer) => return answer,
            Poll::Pending => std::thread::park(),
        }
    }
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Whether this thread is one that a runtime works on, which has a clock.
pub(super) fn is_in_runtime() -> bool {
    tokio::runtime::Handle::try_current().is_ok()
}

/// A file, whole.
pub(super) async fn whole(file: PathBuf) -> Result<Bytes> {
    in_background(file, |file| std::fs::read(file).map(Bytes::from)).await
}

/// Several, by one thread: to hand a small file to another takes longer than to read it.
pub(super) async fn each(
    objects: Vec<String>,
    read: impl Fn(&str) -> Result<Bytes> + Send + 'static,
) -> Vec<Result<Bytes>> {
    let read = tokio::task::spawn_blocking(move || objects.iter().map(|object| read(object)).collect());
    read.await.unwrap_or_else(|error| vec![Err(error.into())])
}

/// A file, whole, by a thread that may wait.
pub(super) fn read(file: &FsPath) -> Result<Bytes> {
    std::fs::read(file).map(Bytes::from).map_err(|error| of_file(file.display().to_string(), error))
}

/// The disk may let a thread wait; here that is one of those that may.
async fn in_background<T: Send + 'static>(
    path: PathBuf,
    read: impl FnOnce(&FsPath) -> std::io::Result<T> + Send + 'static,
) -> Result<T> {
    let name = path.display().to_string();
    let result = tokio::task::spawn_blocking(move || read(&path)).await.unwrap_or_else(|error| Err(error.into()));
    result.map_err(|error| of_file(name, error))
}

fn of_file(name: String, error: std::io::Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound => Error::NotFound { path: name, source: error.into() },
        kind => {
            let source = std::io::Error::new(kind, format!("{name}: {error}"));
            Error::Generic { store: "LocalFileSystem", source: source.into() }
        }
    }
}

/// An absolute path without `.` and `..`, symbolic links resolved as far as the path exists.
pub fn resolve(path: &FsPath) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_path_buf());
    let mut missing = Vec::new();
    let mut existing = absolute.as_path();
    loop {
        if let Ok(real) = existing.canonicalize() {
            let mut resolved = real;
            for part in missing.iter().rev() {
                match part {
                    Component::ParentDir => drop(resolved.pop()),
                    Component::Normal(name) => resolved.push(name),
                    _ => {}
                }
            }
            return resolved;
        }
        match (existing.parent(), existing.components().next_back()) {
            (Some(parent), Some(last)) => {
                missing.push(last);
                existing = parent;
            }
            _ => return absolute,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_listings_hide_are_known() {
        assert_eq!(staged_for("a.parquet#12"), Some("a.parquet"));
        assert_eq!(staged_for("a#1.parquet#2"), Some("a#1.parquet"));
        assert_eq!(staged_for("a#b.parquet"), None);
        assert_eq!(staged_for("a.parquet#"), None);
    }

    #[test]
    fn paths_are_resolved_even_where_nothing_exists_yet() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap();
        std::os::unix::fs::symlink(&real, real.join("link")).unwrap();
        assert_eq!(resolve(&real.join("link/a/../b")), real.join("b"));
    }
}
