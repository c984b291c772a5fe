//! The storage seam: every request of the product passes here. A `Watch` may stop the world before or after any of them,
//! which is how a crash is a few lines of test code. It knows nothing of what the objects mean, nor of where they lie.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::BoxStream;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMultipartOptions,
    PutOptions, PutPayload, PutResult, Result, UploadPart,
};

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
    /// An upload in parts is given up.
    UploadAbort,
    /// A listing of uploads that are neither complete nor given up.
    UploadList,
    /// An object is deleted.
    Delete,
    /// A listing.
    List,
}

impl Act {
    /// Whether what a later run finds depends on it.
    pub fn is_durable(self) -> bool {
        !matches!(self, Act::Get | Act::List | Act::UploadList)
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

/// An object store whose every request is watched.
#[derive(Debug)]
pub(super) struct Watched<S> {
    pub(super) inner: S,
    pub(super) name: &'static str,
    pub(super) watch: Arc<dyn Watch>,
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
        self.watch.before(Act::UploadAbort, self.name, &self.object)?;
        self.inner.abort().await?;
        self.watch.after(Act::UploadAbort, self.name, &self.object)
    }
}
