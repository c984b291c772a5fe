//! Where objects live: a path or URL becomes an object store whose names are relative to one root.
//!
//! Every request of the product goes through `Watched`, the storage seam: a `Watch` may stop the world before or
//! after any of them, which is how a crash is a few lines of test code. Nothing here knows what the
//! objects mean.

use std::fmt;
use std::ops::Range;
use std::path::{Component, Path as FsPath, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::local::LocalFileSystem;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result, UploadPart,
};

/// One root: where source objects, sink files or a checkpoint live.
#[derive(Clone, Debug)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    url: String,
    local: Option<PathBuf>,
}

/// What is about to happen, or has happened, at a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// A read of an object, or of ranges of it.
    Get,
    /// A whole object is written at once.
    Put,
    /// An upload in parts begins.
    UploadStart,
    /// A part of an upload.
    UploadPart,
    /// An upload in parts becomes an object.
    UploadComplete,
    /// An object is deleted.
    Delete,
    /// A listing.
    List,
}

impl Act {
    /// Whether what a later run finds depends on it.
    pub fn is_durable(self) -> bool {
        !matches!(self, Act::Get | Act::List)
    }
}

/// Sees every request before it happens, and every one but listings after it. An error from `before` prevents the request, an error from `after`
/// hides its success.
pub trait Watch: fmt::Debug + Send + Sync {
    /// Called before the request is sent.
    fn before(&self, act: Act, store: &str, object: &str) -> Result<()>;
    /// Called after the request succeeded.
    fn after(&self, act: Act, store: &str, object: &str) -> Result<()>;
}

/// Watches nothing.
#[derive(Debug)]
pub struct Unwatched;

impl Watch for Unwatched {
    fn before(&self, _: Act, _: &str, _: &str) -> Result<()> {
        Ok(())
    }
    fn after(&self, _: Act, _: &str, _: &str) -> Result<()> {
        Ok(())
    }
}

impl Store {
    /// The local folder `folder`, which need not exist. Writes are synced before they are acknowledged.
    pub fn local(name: &'static str, folder: &FsPath, watch: &Arc<dyn Watch>) -> Result<Store> {
        let root = resolve(folder);
        let prefix = Path::from_absolute_path(&root)?;
        let files = LocalFileSystem::new().with_fsync(true);
        let seam = Watched { inner: PrefixStore::new(files, prefix), name, watch: Arc::clone(watch) };
        let url = format!("file://{}", root.display());
        Ok(Store { objects: Arc::new(seam), url, local: Some(root) })
    }

    /// The root that a person or a genesis names: a folder, or its URL.
    pub fn at(name: &'static str, place: &str, watch: &Arc<dyn Watch>) -> Result<Store> {
        let folder = place.strip_prefix("file://").unwrap_or(place);
        match folder.split_once("://") {
            None => Store::local(name, FsPath::new(folder), watch),
            Some((scheme, _)) => {
                let source = format!("{scheme}:// is not a store that is known here").into();
                Err(object_store::Error::NotSupported { source })
            }
        }
    }

    /// A store that is forgotten when the process ends.
    pub fn memory(name: &'static str) -> Store {
        let watch: Arc<dyn Watch> = Arc::new(Unwatched);
        let seam = Watched { inner: InMemory::new(), name, watch };
        Store { objects: Arc::new(seam), url: "memory:".into(), local: None }
    }

    /// The store itself.
    pub fn objects(&self) -> &Arc<dyn ObjectStore> {
        &self.objects
    }

    /// The root as a URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The root's folder, if it is on a local file system.
    pub fn local_root(&self) -> Option<&FsPath> {
        self.local.as_deref()
    }

    /// Whether `other`'s root lies in this root or is the same.
    pub fn contains(&self, other: &Store) -> bool {
        match (&self.local, &other.local) {
            (Some(own), Some(other)) => other.starts_with(own),
            _ => false,
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

/// An object store whose every request is watched.
#[derive(Debug)]
struct Watched<S> {
    inner: S,
    name: &'static str,
    watch: Arc<dyn Watch>,
}

impl<S> Watched<S> {
    fn before(&self, act: Act, object: &str) -> Result<()> {
        self.watch.before(act, self.name, object)
    }

    fn after(&self, act: Act, object: &str) -> Result<()> {
        self.watch.after(act, self.name, object)
    }
}

impl<S: fmt::Display> fmt::Display for Watched<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait::async_trait]
impl<S: ObjectStore> ObjectStore for Watched<S> {
    async fn put_opts(&self, location: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        self.before(Act::Put, location.as_ref())?;
        let put = self.inner.put_opts(location, payload, opts).await?;
        self.after(Act::Put, location.as_ref())?;
        Ok(put)
    }

    async fn put_multipart_opts(&self, location: &Path, opts: PutMultipartOptions) -> Result<Box<dyn MultipartUpload>> {
        self.before(Act::UploadStart, location.as_ref())?;
        let inner = self.inner.put_multipart_opts(location, opts).await?;
        self.after(Act::UploadStart, location.as_ref())?;
        let watched =
            WatchedUpload { inner, object: location.as_ref().into(), name: self.name, watch: Arc::clone(&self.watch) };
        Ok(Box::new(watched))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.before(Act::Get, location.as_ref())?;
        let got = self.inner.get_opts(location, options).await?;
        self.after(Act::Get, location.as_ref())?;
        Ok(got)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.before(Act::Get, location.as_ref())?;
        let got = self.inner.get_ranges(location, ranges).await?;
        self.after(Act::Get, location.as_ref())?;
        Ok(got)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let (name, watch) = (self.name, Arc::clone(&self.watch));
        let asked = locations.map(move |location| {
            let location = location?;
            watch.before(Act::Delete, name, location.as_ref())?;
            Ok(location)
        });
        let watch = Arc::clone(&self.watch);
        let done = self.inner.delete_stream(asked.boxed()).map(move |location| {
            let location = location?;
            watch.after(Act::Delete, name, location.as_ref())?;
            Ok(location)
        });
        done.boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let prefix_name = prefix.map(ToString::to_string).unwrap_or_default();
        match self.before(Act::List, &prefix_name) {
            Ok(()) => self.inner.list(prefix),
            Err(error) => futures::stream::once(async move { Err(error) }).boxed(),
        }
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.before(Act::List, prefix.map_or("", AsRef::as_ref))?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.before(Act::Put, to.as_ref())?;
        self.inner.copy_opts(from, to, options).await?;
        self.after(Act::Put, to.as_ref())
    }
}

#[derive(Debug)]
struct WatchedUpload {
    inner: Box<dyn MultipartUpload>,
    object: Arc<str>,
    name: &'static str,
    watch: Arc<dyn Watch>,
}

#[async_trait::async_trait]
impl MultipartUpload for WatchedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        if let Err(error) = self.watch.before(Act::UploadPart, self.name, &self.object) {
            return Box::pin(async move { Err(error) });
        }
        let part = self.inner.put_part(data);
        let (watch, name, object) = (Arc::clone(&self.watch), self.name, Arc::clone(&self.object));
        Box::pin(async move {
            part.await?;
            watch.after(Act::UploadPart, name, &object)
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        self.watch.before(Act::UploadComplete, self.name, &self.object)?;
        let put = self.inner.complete().await?;
        self.watch.after(Act::UploadComplete, self.name, &self.object)?;
        Ok(put)
    }

    async fn abort(&mut self) -> Result<()> {
        self.inner.abort().await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_resolved_even_where_nothing_exists_yet() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().canonicalize().unwrap();
        std::os::unix::fs::symlink(&real, real.join("link")).unwrap();
        assert_eq!(resolve(&real.join("link/a/../b")), real.join("b"));
    }

    #[test]
    fn a_root_contains_itself_and_what_lies_below() {
        let folder = tempfile::tempdir().unwrap();
        let watch: Arc<dyn Watch> = Arc::new(Unwatched);
        let open = |path: &str| Store::local("test", &folder.path().join(path), &watch).unwrap();
        assert!(open("in").contains(&open("in/out")));
        assert!(open("in").contains(&open("in")));
        assert!(!open("in").contains(&open("input")));
    }
}
