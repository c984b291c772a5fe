//! The sink files that count, beside what lies in the sink: each is there, as large as it was, and a Parquet file with as
//! many rows as the log says. Its footer is read, not its rows.

use std::collections::{HashMap, HashSet};

use futures::{StreamExt, TryStreamExt};
use object_store::ObjectMeta;
use serde::Serialize;

use super::CommitError;
use super::entry::FileEntry;
use super::view::View;
use crate::sink::FileName;
use crate::source::{self, Object, SourceError};
use crate::store::Store;

/// Footers read at a time.
const AT_ONCE: usize = 16;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OutputCheck {
    /// Files that count.
    pub files: u64,
    /// Their rows, by the log.
    pub rows: u64,
    /// Their size, by the log.
    pub bytes: u64,
    /// Those that are not what the log says.
    pub wrong: Vec<Wrong>,
    /// Files of the job that the log does not name: of a run that is at work, or left by a dead one for the next to sweep.
    pub orphans: Vec<Orphan>,
}

/// A file that is not what the log says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Wrong {
    /// Relative to the sink.
    pub path: String,
    /// How it differs.
    pub what: String,
}

/// A file that does not count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Orphan {
    /// Relative to the sink.
    pub path: String,
    /// Its size.
    pub bytes: u64,
}

/// The files that the manifest of a finished job names, in its order; none if there is no manifest.
pub async fn manifest_files(sink: &Store, job: &str) -> Result<Option<Vec<String>>, CommitError> {
    #[derive(serde::Deserialize)]
    struct Manifest {
        files: Vec<FileEntry>,
    }
    let name = format!("_wasmpipe/{job}.json");
    let Some(bytes) = super::log::get(sink, &name).await? else { return Ok(None) };
    let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|error| CommitError::damaged(&name, error))?;
    Ok(Some(manifest.files.into_iter().map(|file| file.path).collect()))
}

/// Compares. The log was read before the sink is listed: what was committed meanwhile is an orphan at worst.
pub async fn check_output(view: &View, sink: &Store) -> Result<OutputCheck, CommitError> {
    let listing: Vec<ObjectMeta> =
        sink.objects().list(None).try_collect().await.map_err(|cause| CommitError::store("list", "the sink", cause))?;
    let found: HashMap<&str, &ObjectMeta> = listing.iter().map(|meta| (meta.location.as_ref(), meta)).collect();
    let checks: Vec<_> = view.files().map(|file| check(sink, file, found.get(file.path.as_str()).copied())).collect();
    let mut checks = futures::stream::iter(checks).buffered(AT_ONCE);
    let mut result = OutputCheck { orphans: orphans(view, &listing), ..OutputCheck::default() };
    for file in view.files() {
        result.files += 1;
        result.rows += file.rows;
        result.bytes += file.bytes;
    }
    while let Some(wrong) = checks.try_next().await? {
        result.wrong.extend(wrong);
    }
    result.wrong.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(result)
}

async fn check(sink: &Store, file: &FileEntry, meta: Option<&ObjectMeta>) -> Result<Option<Wrong>, CommitError> {
    let wrong = |what: String| Ok(Some(Wrong { path: file.path.clone(), what }));
    let Some(meta) = meta else { return wrong("it is missing".into()) };
    if meta.size != file.bytes {
        return wrong(format!("it has {} bytes instead of {}", meta.size, file.bytes));
    }
    match source::open(sink, &Object::from(meta.clone()), 0).await {
        Ok(opened) if opened.rows == file.rows => Ok(None),
        Ok(opened) => wrong(format!("it has {} rows instead of {}", opened.rows, file.rows)),
        Err(SourceError::Bad { message, .. }) => wrong(format!("it cannot be read: {message}")),
        Err(SourceError::Changed { .. }) => wrong("it changed or vanished while it was read".into()),
        Err(SourceError::Store { cause, .. }) => Err(CommitError::store("read the sink's", &file.path, cause)),
    }
}

fn orphans(view: &View, listing: &[ObjectMeta]) -> Vec<Orphan> {
    let named: HashSet<&str> = view.files().chain(view.dead_letters()).map(|file| file.path.as_str()).collect();
    let is_ours = |path: &str| FileName::parse(path).is_some_and(|name| name.job == view.root.genesis.job);
    let orphan = |meta: &ObjectMeta| Orphan { path: meta.location.to_string(), bytes: meta.size };
    let unnamed =
        listing.iter().filter(|meta| is_ours(meta.location.as_ref()) && !named.contains(meta.location.as_ref()));
    let mut orphans: Vec<Orphan> = unnamed.map(orphan).collect();
    orphans.sort_by(|a, b| a.path.cmp(&b.path));
    orphans
}
