//! Which objects the source has. The order is that of the paths, so every run sees the same order.

use std::collections::{HashMap, HashSet};
use std::ffi::{OsStr, OsString};
use std::fs::DirEntry;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use futures::TryStreamExt;
use globset::{GlobBuilder, GlobMatcher};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};

use super::SourceError;
use crate::store::{Location, Store, staged_for};

/// One object as the store lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Relative to the source root.
    pub path: Arc<str>,
    /// Bytes.
    pub size: u64,
    /// The store's version tag, if it has one.
    pub etag: Option<String>,
    /// Milliseconds since 1970, as the store says.
    pub modified_ms: i64,
}

/// What a pipeline file says in `[source] path`, split into a root and what is taken below it.
#[derive(Clone, Debug)]
pub struct Pattern {
    root: Location,
    taken: Taken,
    /// Folders that no object may lie in, links resolved.
    avoided: Vec<PathBuf>,
}

#[derive(Clone, Debug)]
enum Taken {
    /// One file of the root.
    File(String),
    /// Every file of the format below the root, but not in or at names that begin with `_` or `.`.
    Folder,
    /// What the glob matches; shallow if that lies in the root itself.
    Glob { matcher: GlobMatcher, is_shallow: bool },
}

impl Pattern {
    /// Reads a place: a glob if it has one of `*?[{`, else a folder or a file. Those of this machine must exist; in a bucket
    /// nothing is asked, and a name that ends in `.parquet` is a file.
    pub fn new(place: &Location) -> Result<Pattern, String> {
        let text = place.path().ok_or("the path is not valid UTF-8")?;
        if text.contains(['*', '?', '[', '{']) {
            return Pattern::glob(place, text);
        }
        match place.local() {
            Some(path) => Pattern::of_path(path, text),
            None => Ok(Pattern::of_key(place, text)),
        }
    }

    fn of_key(place: &Location, key: &str) -> Pattern {
        let (folder, name) = key.rsplit_once('/').unwrap_or(("", key));
        match name.ends_with(".parquet") {
            true => Pattern::at(place.with_path(folder), Taken::File(name.into())),
            false => Pattern::at(place.clone(), Taken::Folder),
        }
    }

    fn at(root: Location, taken: Taken) -> Pattern {
        Pattern { root, taken, avoided: Vec::new() }
    }

    fn of_path(path: &FsPath, text: &str) -> Result<Pattern, String> {
        let kind = std::fs::metadata(path).map_err(|error| format!("cannot read {text}: {error}"))?;
        if kind.is_dir() {
            return Ok(Pattern::at(Location::Local(path.into()), Taken::Folder));
        }
        let name = path.file_name().and_then(|name| name.to_str()).ok_or("the path names no file")?;
        if staged_for(name).is_some() {
            return Err(format!(
                "{name} ends in # and digits, which local stores keep for unfinished uploads: rename it"
            ));
        }
        let root = path.parent().unwrap_or(FsPath::new("/")).into();
        Ok(Pattern::at(Location::Local(root), Taken::File(name.into())))
    }

    fn glob(place: &Location, text: &str) -> Result<Pattern, String> {
        let fixed =
            text.split('/').take_while(|part| !part.contains(['*', '?', '[', '{'])).collect::<Vec<_>>().join("/");
        let pattern = text[fixed.len()..].trim_start_matches('/');
        let glob = GlobBuilder::new(pattern).literal_separator(true).build().map_err(|error| error.to_string())?;
        let root = if fixed.is_empty() && place.local().is_some() { "/" } else { fixed.as_str() };
        let is_shallow = !pattern.contains('/') && !pattern.contains("**");
        Ok(Pattern::at(place.with_path(root), Taken::Glob { matcher: glob.compile_matcher(), is_shallow }))
    }

    /// The same, but an object in one of these folders is an error, even if a link leads there.
    #[must_use]
    pub fn avoiding(self, folders: impl IntoIterator<Item = PathBuf>) -> Pattern {
        Pattern { avoided: folders.into_iter().collect(), ..self }
    }

    /// What object paths are relative to.
    pub fn root(&self) -> &Location {
        &self.root
    }

    /// Whether it would take Parquet files of ours that lay in the folder `below` the root.
    pub fn takes_below(&self, below: &FsPath) -> bool {
        let samples = [
            "0123456789abcdef-0-0123456789abcdef-000000.parquet",
            "side/0123456789abcdef-ids-0.parquet",
            "side/0123456789abcdef-listing-0123456789abcdef.parquet",
        ];
        samples.iter().any(|sample| below.join(sample).to_str().is_some_and(|path| self.takes(path)))
    }

    fn takes(&self, path: &str) -> bool {
        match &self.taken {
            Taken::File(name) => path == name,
            Taken::Folder => path.ends_with(".parquet") && !path.split('/').any(|part| part.starts_with(['_', '.'])),
            Taken::Glob { matcher, .. } => matcher.is_match(path),
        }
    }
}

/// All objects that the pattern takes, sorted by path.
pub async fn list(store: &Store, pattern: &Pattern) -> Result<Vec<Object>, SourceError> {
    let metas = candidates(store, pattern).await.map_err(|cause| not_listed(pattern, cause))?;
    let metas = metas.into_iter().filter(|meta| pattern.takes(meta.location.as_ref()));
    let mut objects: Vec<Object> = metas.map(Object::from).collect();
    objects.sort_by(|a, b| a.path.cmp(&b.path));
    if let Some(folder) = store.local_root() {
        refuse_hidden(folder, pattern)?;
        refuse_twins(folder, pattern, &objects)?;
    }
    Ok(objects)
}

/// Looks no further than it must: folders beside the source may be huge, or closed to this user.
async fn candidates(store: &Store, pattern: &Pattern) -> object_store::Result<Vec<ObjectMeta>> {
    let objects = store.objects();
    match &pattern.taken {
        Taken::File(name) => Ok(vec![objects.head(&Path::parse(name)?).await?]),
        Taken::Glob { is_shallow: true, .. } => Ok(objects.list_with_delimiter(None).await?.objects),
        Taken::Glob { .. } | Taken::Folder => objects.list(None).try_collect().await,
    }
}

fn not_listed(pattern: &Pattern, cause: object_store::Error) -> SourceError {
    let root = pattern.root.to_string();
    match (&pattern.taken, cause) {
        (Taken::File(name), object_store::Error::NotFound { .. }) => SourceError::Bad {
            object: name.clone(),
            message: format!("is not in {root}"),
            hint: "check the name; if it is a folder, end it with a slash",
        },
        // `object_store` gives it no kind of its own.
        (_, cause) if cause.to_string().contains("NoSuchBucket") => SourceError::Bad {
            object: root,
            message: "cannot be listed: there is no such bucket (NoSuchBucket)".into(),
            hint: "check the bucket's name, its region and its endpoint",
        },
        (_, cause) => SourceError::from_store(&root, cause),
    }
}

impl From<ObjectMeta> for Object {
    fn from(meta: ObjectMeta) -> Object {
        let modified_ms = meta.last_modified.timestamp_millis();
        Object { path: meta.location.as_ref().into(), size: meta.size, etag: meta.e_tag, modified_ms }
    }
}

/// Two listed paths that are one file, by a symbolic link, would double its rows; a link into the sink would do so
/// without end.
fn refuse_twins(folder: &FsPath, pattern: &Pattern, objects: &[Object]) -> Result<(), SourceError> {
    let (mut folders, mut seen) = (HashMap::new(), HashMap::new());
    for object in objects {
        let path = folder.join(object.path.as_ref());
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { continue };
        let real = folders.entry(parent.to_path_buf()).or_insert_with(|| Folder::look(parent)).real(name);
        let Some(real) = real else { continue };
        if let Some(own) = pattern.avoided.iter().find(|own| real.starts_with(own)) {
            let message = format!("lies in {}, which this job writes", own.display());
            let hint = "take it out of the source: output that is input again doubles rows without end";
            return Err(SourceError::Bad { object: object.path.to_string(), message, hint });
        }
        if let Some(first) = seen.insert(real, &object.path) {
            let message = format!("is the same file as {first}, by a symbolic link");
            let hint = "take one of the two out of the source: its rows would be in the output twice";
            return Err(SourceError::Bad { object: object.path.to_string(), message, hint });
        }
    }
    Ok(())
}

/// A folder of the source, looked at once: most files are no links, and then their real path is known without asking.
struct Folder {
    path: PathBuf,
    real: Option<PathBuf>,
    /// Names that may be links.
    links: HashSet<OsString>,
}

impl Folder {
    fn look(path: &FsPath) -> Folder {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        let may_be_link = |entry: &DirEntry| !entry.file_type().is_ok_and(|kind| kind.is_file());
        let links = entries.filter(may_be_link).map(|entry| entry.file_name()).collect();
        Folder { path: path.into(), real: path.canonicalize().ok(), links }
    }

    fn real(&self, name: &OsStr) -> Option<PathBuf> {
        if self.links.contains(name) {
            return self.path.join(name).canonicalize().ok();
        }
        self.real.as_ref().map(|real| real.join(name))
    }
}

fn refuse_hidden(folder: &FsPath, pattern: &Pattern) -> Result<(), SourceError> {
    let Taken::Glob { matcher, is_shallow } = &pattern.taken else { return Ok(()) };
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() && !path.is_symlink() {
                folders.extend((!is_shallow).then_some(path));
            } else if staged_for(&name).is_some()
                && path.strip_prefix(folder).is_ok_and(|relative| matcher.is_match(relative))
            {
                let message = "ends in # and digits, which local stores keep for unfinished uploads".to_string();
                return Err(SourceError::Bad { object: name, message, hint: "rename it, or narrow the glob" });
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_glob_is_split_into_root_and_pattern() {
        let pattern = Pattern::new(&Location::Local("/data/corpus/2026-*/part-?.parquet".into())).unwrap();
        assert_eq!(pattern.root(), &Location::Local("/data/corpus".into()));
        assert!(pattern.takes("2026-01/part-1.parquet"));
        assert!(!pattern.takes("2026-01/deeper/part-1.parquet"));
    }

    #[test]
    fn a_folder_takes_parquet_files_that_are_not_hidden() {
        let folder = tempfile::tempdir().unwrap();
        let pattern = Pattern::new(&Location::Local(folder.path().into())).unwrap();
        assert!(pattern.takes("a/b.parquet"));
        for path in ["a/_wasmpipe/b.parquet", ".b.parquet", "b.json"] {
            assert!(!pattern.takes(path), "{path}");
        }
    }

    #[test]
    fn in_a_bucket_the_name_says_what_is_taken() {
        let pattern = |url: &str| Pattern::new(&Location::parse(url, FsPath::new("/")).unwrap()).unwrap();
        let cases = [
            ("s3://bucket/in/2026-*/part-?.parquet", "s3://bucket/in", "2026-01/part-1.parquet", "a.parquet"),
            ("s3://bucket/*.parquet", "s3://bucket/", "a.parquet", "in/a.parquet"),
            ("s3://bucket/in/a.parquet", "s3://bucket/in", "a.parquet", "b.parquet"),
            ("s3://bucket/a.parquet", "s3://bucket/", "a.parquet", "in/a.parquet"),
            ("s3://bucket/a.parquet/", "s3://bucket/a.parquet/", "in/part-0.parquet", "_SUCCESS"),
            ("s3://bucket/in", "s3://bucket/in", "a/b.parquet", "a/b.json"),
            ("s3://bucket", "s3://bucket/", "a/b.parquet", "_a/b.parquet"),
        ];
        for (url, root, taken, left) in cases {
            let pattern = pattern(url);
            assert_eq!(pattern.root().to_string(), root, "{url}");
            assert!(pattern.takes(taken) && !pattern.takes(left), "{url}");
        }
    }
}
