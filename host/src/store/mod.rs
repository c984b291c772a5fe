//! Where objects live: a path or URL becomes an object store whose names are relative to one root. Nothing here knows what
//! the objects mean.
//!
//! * `url` - a place as a person wrote it: a path, `file:///`, `s3://`.
//! * `local` - folders of this machine.
//! * `walk` - what lies in such a folder, objects and other things.
//! * `s3` - buckets: endpoint, region, limits, errors without secrets, uploads that nobody will complete.
//! * `profile` - who we are: the environment and profile files.
//! * `advice` - what a store's error means to a person.
//! * `watch` - the storage seam, through which every request goes.

mod advice;
mod local;
mod profile;
mod s3;
mod url;
mod walk;
mod watch;

use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;
use std::time::Duration;

pub use advice::{advice, is_no_bucket, told};
use bytes::Bytes;
use futures::stream::{self, BoxStream};
use futures::{StreamExt, TryStreamExt};
pub use local::{resolve, staged_for};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{Error, ObjectMeta, ObjectStore, ObjectStoreExt, Result};
pub use profile::Environment;
use s3::Bucket;
pub use s3::{Settings, Upload};
pub use url::Location;
pub use walk::{Object, Odd, Oddity, Walk};
use watch::Watched;
pub use watch::{Act, Unwatched, Watch};

use crate::message::{Hint, Message};

/// Small files that one thread reads.
const PORTION: usize = 64;
/// Threads that read such.
const PORTIONS_AT_ONCE: usize = 4;
/// Small objects of a bucket that are asked for at a time.
const READS_AT_ONCE: usize = 64;

/// One root: where source objects, sink files or a checkpoint live.
#[derive(Clone, Debug)]
pub struct Store {
    objects: Arc<dyn ObjectStore>,
    url: String,
    root: Root,
    name: &'static str,
    watch: Arc<dyn Watch>,
}

#[derive(Clone, Debug)]
enum Root {
    Local(PathBuf),
    S3 { bucket: Arc<Bucket>, name: String, prefix: Path },
    Memory,
}

/// An object of a folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    /// Relative to the folder.
    pub name: String,
    /// Its size.
    pub bytes: u64,
}

/// A root that cannot be used. No request was sent.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.text())]
pub struct OpenError(Message);

impl Hint for OpenError {
    fn hint(&self) -> Option<String> {
        self.0.hint.clone()
    }
}

impl Store {
    /// The root at `location`, which need not exist. `name` is what it is called in the seam; `settings` are for S3.
    pub fn open(
        name: &'static str,
        location: &Location,
        settings: &Settings,
        environment: &Environment,
        watch: &Arc<dyn Watch>,
    ) -> Result<Store, OpenError> {
        match location {
            Location::Local(path) => Store::local(name, path, watch)
                .map_err(|error| OpenError(Message::new(error.to_string()).hint("name a folder of this machine"))),
            Location::S3 { bucket, key } => Store::bucket(name, bucket, key, settings, environment, watch),
        }
    }

    /// The root that a person or a genesis names: a folder, or a URL. What `settings` do not say, the environment says.
    pub fn at(
        name: &'static str,
        place: &str,
        settings: &Settings,
        watch: &Arc<dyn Watch>,
    ) -> Result<Store, OpenError> {
        let folder = std::env::current_dir().unwrap_or_default();
        let location = Location::parse(place, &folder).map_err(OpenError)?;
        Store::open(name, &location, settings, &Environment::of_process(), watch)
    }

    /// The local folder `folder`, which need not exist. Writes are synced before they are acknowledged.
    pub fn local(name: &'static str, folder: &FsPath, watch: &Arc<dyn Watch>) -> Result<Store> {
        let root = resolve(folder);
        let url = format!("file://{}", root.display());
        let objects = local::open(&root)?;
        Ok(Store::watched(name, objects, url, Root::Local(root), watch))
    }

    /// A store that is forgotten when the process ends.
    pub fn memory(name: &'static str) -> Store {
        let watch: Arc<dyn Watch> = Arc::new(Unwatched);
        Store::watched(name, InMemory::new(), "memory:".into(), Root::Memory, &watch)
    }

    /// Objects that a test makes.
    #[cfg(test)]
    pub fn over(name: &'static str, objects: impl ObjectStore) -> Store {
        let watch: Arc<dyn Watch> = Arc::new(Unwatched);
        Store::watched(name, objects, "memory:".into(), Root::Memory, &watch)
    }

    fn bucket(
        name: &'static str,
        bucket: &str,
        key: &str,
        settings: &Settings,
        environment: &Environment,
        watch: &Arc<dyn Watch>,
    ) -> Result<Store, OpenError> {
        let prefix = url::prefix(key).map_err(OpenError)?;
        let opened = Arc::new(Bucket::open(bucket, settings, environment).map_err(OpenError)?);
        let url = format!("s3://{bucket}/{prefix}");
        let objects = PrefixStore::new(Arc::clone(&opened.objects), prefix.clone());
        let root = Root::S3 { bucket: opened, name: bucket.into(), prefix };
        Ok(Store::watched(name, objects, url.trim_end_matches('/').into(), root, watch))
    }

    fn watched(name: &'static str, inner: impl ObjectStore, url: String, root: Root, watch: &Arc<dyn Watch>) -> Store {
        let seam = Watched { inner, name, watch: Arc::clone(watch) };
        Store { objects: Arc::new(seam), url, root, name, watch: Arc::clone(watch) }
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
        match &self.root {
            Root::Local(folder) => Some(folder),
            Root::S3 { .. } | Root::Memory => None,
        }
    }

    /// The server that holds the bucket, if it is one: empty for AWS.
    pub fn server(&self) -> Option<&str> {
        match &self.root {
            Root::S3 { bucket, .. } => Some(bucket.endpoint.as_deref().unwrap_or_default()),
            Root::Local(_) | Root::Memory => None,
        }
    }

    /// Waits on a thread that may wait for what is asked of this store. A local disk is asked on this very thread: with ten
    /// thousand small objects, to hand each request to another thread and be woken costs more than to read.
    pub fn wait<T>(&self, runtime: &tokio::runtime::Handle, asked: impl Future<Output = T>) -> T {
        match self.root {
            Root::Local(_) => local::wait(asked),
            Root::S3 { .. } | Root::Memory => runtime.block_on(asked),
        }
    }

    /// Lets time pass before something is asked for again. A store in memory shows at once what it has.
    pub async fn pause(&self, time: Duration) {
        match self.root {
            Root::Local(_) if !local::is_in_runtime() => std::thread::sleep(time),
            Root::Local(_) | Root::S3 { .. } => tokio::time::sleep(time).await,
            Root::Memory => {}
        }
    }

    /// Whether `other`'s root lies in this root or is the same.
    pub fn contains(&self, other: &Store) -> bool {
        self.below(other).is_some()
    }

    /// The path from this root to `other`'s, if that lies in this one: the way in which names of objects are relative.
    pub fn below(&self, other: &Store) -> Option<PathBuf> {
        match (&self.root, &other.root) {
            (Root::Local(own), Root::Local(other)) => other.strip_prefix(own).ok().map(FsPath::to_path_buf),
            (
                Root::S3 { bucket, name, prefix },
                Root::S3 { bucket: other_bucket, name: other_name, prefix: other_prefix },
            ) => {
                let is_same = name == other_name && bucket.endpoint == other_bucket.endpoint;
                let rest = other_prefix.prefix_match(prefix).filter(|_| is_same)?;
                Some(rest.map(|part| part.as_ref().to_owned()).collect())
            }
            _ => None,
        }
    }

    /// The objects right in a folder, without what their stores know of versions and times: their names in it, and their
    /// sizes. A local disk is asked once for each; a listing of `objects` asks three times, and a sink may hold a
    /// hundred thousand files.
    pub async fn list(&self, folder: &str) -> Result<Vec<Listed>> {
        let folder = Path::from(folder);
        if let Root::Local(root) = &self.root {
            self.watch.before(Act::List, self.name, folder.as_ref())?;
            return local::list(root.join(folder.as_ref())).await;
        }
        let name = |meta: &ObjectMeta| meta.location.filename().unwrap_or_default().to_owned();
        let listed = |meta: ObjectMeta| Listed { name: name(&meta), bytes: meta.size };
        Ok(self.objects.list_with_delimiter(Some(&folder)).await?.objects.into_iter().map(listed).collect())
    }

    /// Their names alone, for which a local disk is asked once for many.
    pub async fn names(&self, folder: &str) -> Result<Vec<String>> {
        let folder_path = Path::from(folder);
        if let Root::Local(root) = &self.root {
            self.watch.before(Act::List, self.name, folder_path.as_ref())?;
            return local::names(root.join(folder_path.as_ref())).await;
        }
        Ok(self.list(folder).await?.into_iter().map(|listed| listed.name).collect())
    }

    /// Everything below the root, in no order; on a local disk, what lies in folders that `enters` wants, by their paths, and
    /// what stands for no object.
    pub async fn walk(&self, enters: impl Fn(&str) -> bool + Send + 'static) -> Result<Walk> {
        if let Root::Local(root) = &self.root {
            self.watch.before(Act::List, self.name, "")?;
            return local::walk(root.clone(), enters).await;
        }
        let listed: Result<Vec<Object>> = self.objects.list(None).map_ok(Object::from).try_collect().await;
        match listed {
            Err(Error::InvalidPath { .. }) => self.walk_bucket(false).await,
            listed => Ok(Walk { objects: listed?, odd: Vec::new() }),
        }
    }

    /// The same, without going into any folder.
    pub async fn walk_root(&self) -> Result<Walk> {
        if let Root::Local(_) = self.root {
            return self.walk(|_| false).await;
        }
        let listed = match self.objects.list_with_delimiter(None).await {
            Err(Error::InvalidPath { .. }) => return self.walk_bucket(true).await,
            listed => listed?,
        };
        let folder = |path: Path| Odd { path: path.into(), why: Oddity::Folder };
        let odd = listed.common_prefixes.into_iter().map(folder).collect();
        Ok(Walk { objects: listed.objects.into_iter().map(Object::from).collect(), odd })
    }

    /// For who has found a name in a bucket that stands for no object.
    async fn walk_bucket(&self, is_shallow: bool) -> Result<Walk> {
        let Root::S3 { bucket, prefix, .. } = &self.root else { return Ok(Walk::default()) };
        self.watch.before(Act::List, self.name, "")?;
        bucket.walk(prefix, is_shallow).await
    }

    /// A small object, whole.
    pub async fn whole(&self, object: &str) -> Result<Bytes> {
        let object = location(object);
        if let Root::Local(root) = &self.root {
            self.watch.before(Act::Get, self.name, object.as_ref())?;
            let bytes = local::whole(root.join(object.as_ref())).await?;
            self.watch.after(Act::Get, self.name, object.as_ref())?;
            return Ok(bytes);
        }
        self.objects.get(&object).await?.bytes().await
    }

    /// Many small objects, each whole, in their order.
    pub fn wholes(&self, objects: Vec<String>) -> BoxStream<'_, Result<Bytes>> {
        if let Root::Local(root) = &self.root {
            let portions: Vec<Vec<String>> = objects.chunks(PORTION).map(<[String]>::to_vec).collect();
            let reads = stream::iter(portions).map(|portion| self.read_portion(root.clone(), portion));
            return reads.buffered(PORTIONS_AT_ONCE).flat_map(stream::iter).boxed();
        }
        stream::iter(objects).map(async |object| self.whole(&object).await).buffered(READS_AT_ONCE).boxed()
    }

    async fn read_portion(&self, root: PathBuf, objects: Vec<String>) -> Vec<Result<Bytes>> {
        let (watch, name) = (Arc::clone(&self.watch), self.name);
        let read = move |object: &str| {
            let object = Path::from(object);
            watch.before(Act::Get, name, object.as_ref())?;
            let bytes = local::read(&root.join(object.as_ref()))?;
            watch.after(Act::Get, name, object.as_ref())?;
            Ok(bytes)
        };
        local::each(objects, read).await
    }

    /// What writes to this folder have staged and not completed, as [`staged_for`] knows it. Only local stores do that.
    pub async fn staged(&self, folder: &str) -> Result<Vec<String>> {
        let Root::Local(root) = &self.root else { return Ok(Vec::new()) };
        let folder = Path::from(folder);
        self.watch.before(Act::List, self.name, folder.as_ref())?;
        local::staged(root.join(folder.as_ref())).await
    }

    /// Removes what a write has staged in a folder.
    pub async fn remove_staged(&self, folder: &str, name: &str) -> Result<()> {
        let Root::Local(root) = &self.root else { return Ok(()) };
        let file = Path::from(folder).join(name);
        self.watch.before(Act::Delete, self.name, file.as_ref())?;
        local::remove(root.join(Path::from(folder).as_ref()).join(name)).await?;
        self.watch.after(Act::Delete, self.name, file.as_ref())
    }

    /// Uploads in parts to objects of this root that are neither complete nor given up. Local stores have none: what they
    /// stage lies in the folder.
    pub async fn unfinished_uploads(&self) -> Result<Vec<Upload>> {
        let Root::S3 { bucket, prefix, .. } = &self.root else { return Ok(Vec::new()) };
        self.watch.before(Act::UploadList, self.name, "")?;
        let uploads = bucket.uploads(prefix).await?;
        self.watch.after(Act::UploadList, self.name, "")?;
        Ok(uploads)
    }

    /// Gives an upload up. One that is complete or given up already is no error.
    pub async fn abort_upload(&self, upload: &Upload) -> Result<()> {
        let Root::S3 { bucket, prefix, .. } = &self.root else { return Ok(()) };
        let object = prefix.parts().chain(Path::parse(&upload.object)?.parts()).collect();
        self.watch.before(Act::UploadAbort, self.name, &upload.object)?;
        bucket.abort(&object, &upload.id).await?;
        self.watch.after(Act::UploadAbort, self.name, &upload.object)
    }
}

/// Where an object of this name lies: names are as listings give them.
pub fn location(name: &str) -> Path {
    Path::parse(name).unwrap_or_else(|_| Path::from(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_root_contains_itself_and_what_lies_below() {
        let folder = tempfile::tempdir().unwrap();
        let watch: Arc<dyn Watch> = Arc::new(Unwatched);
        let open = |path: &str| Store::local("test", &folder.path().join(path), &watch).unwrap();
        assert!(open("in").contains(&open("in/out")));
        assert!(open("in").contains(&open("in")));
        assert!(!open("in").contains(&open("input")));
    }

    #[test]
    fn in_a_bucket_parts_of_the_path_count() {
        let watch: Arc<dyn Watch> = Arc::new(Unwatched);
        let keys = [("AWS_ACCESS_KEY_ID", "AK"), ("AWS_SECRET_ACCESS_KEY", "x")];
        let open_at = |url: &str, endpoint: Option<&str>| {
            let location = Location::parse(url, FsPath::new("/")).unwrap();
            let settings = Settings { endpoint: endpoint.map(Into::into), ..Settings::default() };
            Store::open("test", &location, &settings, &Environment::of(keys), &watch).unwrap()
        };
        let open = |url: &str| open_at(url, None);
        assert_eq!(open("s3://bucket/in/").url(), "s3://bucket/in");
        assert_eq!(open("s3://bucket").url(), "s3://bucket");
        assert_eq!(open("s3://bucket/in").below(&open("s3://bucket/in/a/b/")), Some("a/b".into()));
        assert!(open("s3://bucket").contains(&open("s3://bucket/in")));
        assert!(open("s3://bucket/in").contains(&open("s3://bucket/in/")));
        assert!(!open("s3://bucket/in").contains(&open("s3://bucket/input")));
        assert!(!open("s3://bucket/in").contains(&open("s3://another/in/a")));
        assert!(!open("s3://bucket").contains(&open_at("s3://bucket/in", Some("https://there"))));
        assert!(open("s3://bucket").local_root().is_none());
    }

    #[test]
    fn a_local_store_has_no_uploads() {
        let folder = tempfile::tempdir().unwrap();
        let watch: Arc<dyn Watch> = Arc::new(Unwatched);
        let store = Store::local("test", folder.path(), &watch).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(store.unfinished_uploads()).unwrap(), []);
    }
}
