//! Marks of finished objects in the layout `mirror`: `_SUCCESS` in an object's folder, `_FAILED_ROWS` instead where rows of it
//! failed. They are for people and tools that know such names. A mark is made of the log and says nothing that the log does
//! not: no run believes one, and one that is gone or stale is made anew. What counts is the log, and the manifest.
//!
//! ```text
//! <object>/_SUCCESS    job, object, digest of its content, its rows, and its files: path, rows, lane and entry that name them
//! ```

use std::collections::HashMap;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use super::CommitError;
use super::coverage::{ObjectCoverage, RowState};
use super::document::{FORMAT, decode_document, seal};
use super::log::{Put, create, get};
use super::manifest::SourceRows;
use super::recover::delete;
use crate::store::{Listed, Store, location};

/// All rows of the object are done.
const SUCCESS: &str = "_SUCCESS";
/// The object is through, but rows of it failed.
const FAILED_ROWS: &str = "_FAILED_ROWS";
/// Marks that are written at once.
const WRITES_MAX: usize = 16;
/// Times that a mark is written while others write it.
const ATTEMPTS: usize = 4;
const NAMES: [&str; 2] = [SUCCESS, FAILED_ROWS];

/// The mark of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    object: String,
    name: &'static str,
    bytes: Bytes,
}

/// A file with results of an object, and the entry that names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Marked {
    path: String,
    rows: u64,
    lane: u32,
    entry: u64,
}

impl Marked {
    /// A file that an entry of a lane names.
    pub fn new(lane: u32, entry: u64, path: &str, rows: u64) -> Marked {
        Marked { path: path.into(), rows, lane, entry }
    }
}

impl Mark {
    /// Of an object whose pieces are all complete.
    pub fn new<'a>(
        job: &str,
        object: &str,
        pieces: impl IntoIterator<Item = &'a ObjectCoverage>,
        mut files: Vec<Marked>,
    ) -> Mark {
        #[derive(Serialize)]
        struct Document<'a> {
            format: u32,
            job: &'a str,
            object: &'a str,
            content: &'a str,
            source_rows: SourceRows,
            files: Vec<Marked>,
        }
        let (mut rows, mut content) = (SourceRows::default(), "");
        for piece in pieces {
            let count = |state| piece.coverage.count(state);
            rows.all += piece.coverage.rows();
            rows.known += count(RowState::Known);
            rows.failed += count(RowState::Failed);
            rows.dead_lettered += count(RowState::DeadLettered);
            content = &piece.digest;
        }
        files.sort_by(|a, b| (a.lane, a.entry, &a.path).cmp(&(b.lane, b.entry, &b.path)));
        let name = if rows.failed + rows.dead_lettered == 0 { SUCCESS } else { FAILED_ROWS };
        let document = Document { format: FORMAT, job, object, content, source_rows: rows, files };
        Mark { object: object.into(), name, bytes: seal(&document) }
    }

    fn path(&self) -> String {
        format!("{}/{}", self.object, self.name)
    }

    /// Leaves the mark. Another that is there is of an earlier state of the object, or of a run that came too late.
    pub async fn leave(&self, sink: &Store) -> Result<(), CommitError> {
        for _ in 0..ATTEMPTS {
            if create(sink, &self.path(), &self.bytes).await? == Put::Mine {
                return Ok(());
            }
            delete(sink, vec![location(&self.path())]).await?;
        }
        // Someone else keeps writing it, whose mark the next run compares.
        Ok(())
    }
}

/// The marks of a job among the objects of a sink.
pub(super) async fn marks_of(sink: &Store, job: &str, listing: &[Listed]) -> Result<Vec<String>, CommitError> {
    #[derive(Deserialize)]
    struct Of {
        job: String,
        object: String,
    }
    let is_mark = |found: &&Listed| found.name.rsplit_once('/').is_some_and(|(_, name)| NAMES.contains(&name));
    let of_job = async |name: &str| {
        let bytes = get(sink, name).await?;
        let of = bytes.and_then(|bytes| decode_document::<Of>(&bytes).ok());
        // A copy of an object's folder is somebody's own.
        let is_here = |of: &Of| name.rsplit_once('/').is_some_and(|(folder, _)| folder == of.object);
        Ok::<_, CommitError>(of.is_some_and(|of| of.job == job && is_here(&of)).then(|| name.to_owned()))
    };
    let reads: Vec<_> = listing.iter().filter(is_mark).map(|found| of_job(&found.name)).collect();
    let found: Vec<Option<String>> = futures::stream::iter(reads).buffered(WRITES_MAX).try_collect().await?;
    Ok(found.into_iter().flatten().collect())
}

/// Leaves the marks of objects that are through, and removes others: by object what it is to have. Objects that are not named
/// keep what they have. `listing` is the sink's.
pub async fn keep_marks(
    sink: &Store,
    wanted: &HashMap<String, Option<Mark>>,
    listing: &[Listed],
) -> Result<(), CommitError> {
    let mut missing: HashMap<&str, &Mark> =
        wanted.iter().filter_map(|(object, mark)| Some((object.as_str(), mark.as_ref()?))).collect();
    let mut stale = Vec::new();
    for found in listing {
        let Some((object, name)) = found.name.rsplit_once('/').filter(|(_, name)| NAMES.contains(name)) else {
            continue;
        };
        let Some(wanted) = wanted.get(object) else { continue };
        match wanted.as_ref().filter(|mark| mark.name == name && mark.bytes.len() as u64 == found.bytes) {
            Some(_) => drop(missing.remove(object)),
            None => stale.push(location(&found.name)),
        }
    }
    delete(sink, stale).await?;
    let writes: Vec<_> = missing.into_values().map(|mark| mark.leave(sink)).collect();
    futures::stream::iter(writes).buffer_unordered(WRITES_MAX).try_collect().await
}
