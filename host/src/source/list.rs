//! Which objects the source has. The order is that of the paths, so every run sees the same order.

use std::collections::BTreeMap;
use std::path::{Path as FsPath, PathBuf};
use std::sync::Arc;

use futures::TryStreamExt;
use globset::{GlobBuilder, GlobMatcher};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};

use super::SourceError;
use crate::store::Store;

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

/// What a pipeline file says in `[source] path`, split into a root folder and what is taken below it.
#[derive(Clone, Debug)]
pub struct Pattern {
    root: PathBuf,
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
    /// Reads a path: a glob if it has one of `*?[{`, else a folder or a file, which must exist.
    pub fn new(path: &FsPath) -> Result<Pattern, String> {
        let text = path.to_str().ok_or("the path is not valid UTF-8")?;
        if text.contains(['*', '?', '[', '{']) {
            return Pattern::glob(text);
        }
        let kind = std::fs::metadata(path).map_err(|error| format!("cannot read {text}: {error}"))?;
        if kind.is_dir() {
            return Ok(Pattern { root: path.into(), taken: Taken::Folder, avoided: Vec::new() });
        }
        let name = path.file_name().and_then(|name| name.to_str()).ok_or("the path names no file")?;
        if is_staged(name) {
            return Err(format!(
                "{name} ends in # and digits, which local stores keep for unfinished uploads: rename it"
            ));
        }
        let root = path.parent().unwrap_or(FsPath::new("/")).into();
        Ok(Pattern { root, taken: Taken::File(name.into()), avoided: Vec::new() })
    }

    fn glob(text: &str) -> Result<Pattern, String> {
        let fixed =
            text.split('/').take_while(|part| !part.contains(['*', '?', '[', '{'])).collect::<Vec<_>>().join("/");
        let pattern = text[fixed.len()..].trim_start_matches('/');
        let glob = GlobBuilder::new(pattern).literal_separator(true).build().map_err(|error| error.to_string())?;
        let root = if fixed.is_empty() { "/".into() } else { PathBuf::from(fixed) };
        let is_shallow = !pattern.contains('/') && !pattern.contains("**");
        Ok(Pattern { root, taken: Taken::Glob { matcher: glob.compile_matcher(), is_shallow }, avoided: Vec::new() })
    }

    /// The same, but an object in one of these folders is an error, even if a link leads there.
    #[must_use]
    pub fn avoiding(self, folders: impl IntoIterator<Item = PathBuf>) -> Pattern {
        Pattern { avoided: folders.into_iter().collect(), ..self }
    }

    /// The folder that object paths are relative to.
    pub fn root(&self) -> &FsPath {
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

/// Local stores hide `name#<digits>` from listings: such a file would be skipped without a word.
fn is_staged(name: &str) -> bool {
    let digits = name.rsplit_once('#').map(|(_, digits)| digits);
    digits.is_some_and(|digits| !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit()))
}

/// All objects that the pattern takes, sorted by path.
pub async fn list(store: &Store, pattern: &Pattern) -> Result<Vec<Object>, SourceError> {
    let root = pattern.root.display().to_string();
    let metas = candidates(store, pattern).await.map_err(|cause| SourceError::from_store(&root, cause))?;
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

impl From<ObjectMeta> for Object {
    fn from(meta: ObjectMeta) -> Object {
        let modified_ms = meta.last_modified.timestamp_millis();
        Object { path: meta.location.as_ref().into(), size: meta.size, etag: meta.e_tag, modified_ms }
    }
}

/// Two listed paths that are one file, by a symbolic link, would double its rows; a link into the sink would do so
/// without end.
fn refuse_twins(folder: &FsPath, pattern: &Pattern, objects: &[Object]) -> Result<(), SourceError> {
    let mut seen = BTreeMap::new();
    for object in objects {
        let Ok(real) = folder.join(object.path.as_ref()).canonicalize() else { continue };
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

fn refuse_hidden(folder: &FsPath, pattern: &Pattern) -> Result<(), SourceError> {
    let Taken::Glob { matcher, is_shallow } = &pattern.taken else { return Ok(()) };
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in std::fs::read_dir(&next).into_iter().flatten().flatten() {
            let path = entry.path();
            let name = entry.file_name().to_string_lossy().into_owned();
            if path.is_dir() && !path.is_symlink() {
                folders.extend((!is_shallow).then_some(path));
            } else if is_staged(&name) && path.strip_prefix(folder).is_ok_and(|relative| matcher.is_match(relative)) {
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
        let pattern = Pattern::new(FsPath::new("/data/corpus/2026-*/part-?.parquet")).unwrap();
        assert_eq!(pattern.root(), FsPath::new("/data/corpus"));
        assert!(pattern.takes("2026-01/part-1.parquet"));
        assert!(!pattern.takes("2026-01/deeper/part-1.parquet"));
    }

    #[test]
    fn a_folder_takes_parquet_files_that_are_not_hidden() {
        let folder = tempfile::tempdir().unwrap();
        let pattern = Pattern::new(folder.path()).unwrap();
        assert!(pattern.takes("a/b.parquet"));
        for path in ["a/_wasmpipe/b.parquet", ".b.parquet", "b.json"] {
            assert!(!pattern.takes(path), "{path}");
        }
    }

    #[test]
    fn names_that_local_stores_hide_are_known() {
        assert!(is_staged("a.parquet#12"));
        assert!(!is_staged("a#b.parquet"));
        assert!(!is_staged("a.parquet#"));
    }
}
