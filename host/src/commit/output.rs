//! The files in the sink that count, beside what lies there: each is there, as large as it was, and a Parquet file with as
//! many rows as the log says. Whoever asks for it has all bytes read, too, and compared with the digests that the log names.

use std::collections::{HashMap, HashSet};

use futures::{StreamExt, TryStreamExt};
use object_store::ObjectMeta;
use serde::Serialize;

use super::CommitError;
use super::entry::FileEntry;
use super::view::View;
use crate::format::with_footer;
use crate::sink::OutputKind;
use crate::source::{self, Fetch, Object, SourceError};
use crate::store::Store;

/// Footers read at a time.
const FOOTERS_AT_ONCE: usize = 16;
/// Files read at a time.
const FILES_AT_ONCE: usize = 4;
/// Bytes of a file that are in memory at a time.
const PART_BYTES: u64 = 4 << 20;

/// How closely files are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// Output files: size, and rows by the footer.
    Footers,
    /// All that counts, dead letters too: also every byte, by its digest.
    Data,
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct OutputCheck {
    /// Files that count.
    pub files: u64,
    /// Their rows, by the log.
    pub rows: u64,
    /// Their size, by the log.
    pub bytes: u64,
    /// What was read of the data, if it was asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<DataCheck>,
    /// Those that are not what the log says.
    pub wrong: Vec<Wrong>,
    /// Files of the job that the log does not name: of a run that is at work, or left by a dead one for the next to sweep.
    pub orphans: Vec<Orphan>,
}

/// What a look at the data saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DataCheck {
    /// Files of dead letters that count, beside those of output.
    pub dead_letter_files: u64,
    /// Files that were read whole and compared with a digest.
    pub files_compared: u64,
    /// Their bytes.
    pub bytes_compared: u64,
    /// Files of which the log has no digest, since an earlier build committed them: size and footer alone are looked at.
    pub files_without_digest: u64,
}

/// A file that is not what the log says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Wrong {
    /// The lane whose log names it.
    pub lane: u32,
    /// The number of its group there.
    pub number: u64,
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

/// Compares. The log was read before the sink is listed: what was committed meanwhile is an orphan at worst.
pub async fn check_output(view: &View, sink: &Store, depth: Depth) -> Result<OutputCheck, CommitError> {
    let listing: Vec<ObjectMeta> =
        sink.objects().list(None).try_collect().await.map_err(|cause| CommitError::store("list", "the sink", cause))?;
    let found: HashMap<&str, &ObjectMeta> = listing.iter().map(|meta| (meta.location.as_ref(), meta)).collect();
    let named = named(view, depth);
    let checks = named.iter().map(|named| named.check(sink, found.get(named.file.path.as_str()).copied(), depth));
    let checks: Vec<_> = checks.collect();
    let at_once = if depth == Depth::Data { FILES_AT_ONCE } else { FOOTERS_AT_ONCE };
    let mut checks = futures::stream::iter(checks).buffered(at_once);
    let mut result = OutputCheck { orphans: orphans(view, &listing), ..OutputCheck::default() };
    for file in view.results() {
        result.files += 1;
        result.rows += file.rows;
        result.bytes += file.bytes;
    }
    let mut data =
        DataCheck { dead_letter_files: view.files_of(OutputKind::DeadLetters).count() as u64, ..DataCheck::default() };
    while let Some(seen) = checks.try_next().await? {
        seen.add_to(&mut data, &mut result.wrong);
    }
    result.data = (depth == Depth::Data).then_some(data);
    result.wrong.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(result)
}

/// A file that counts, and the group that it belongs to.
struct Named<'a> {
    lane: u32,
    number: u64,
    file: &'a FileEntry,
}

fn named(view: &View, depth: Depth) -> Vec<Named<'_>> {
    let mut named = Vec::new();
    for lane in &view.lanes {
        for (&number, group) in &lane.state.groups {
            let is_looked_at = |file: &&FileEntry| depth == Depth::Data || file.kind() == OutputKind::Results;
            let files = group.files.iter().filter(is_looked_at);
            named.extend(files.map(|file| Named { lane: lane.lane, number, file }));
        }
    }
    named
}

/// What became of a look at one file.
enum Seen {
    Right,
    /// All its bytes, so many, are the right ones.
    Same(u64),
    WithoutDigest,
    Wrong(Wrong),
}

impl Seen {
    fn add_to(self, data: &mut DataCheck, wrong: &mut Vec<Wrong>) {
        match self {
            Seen::Right => {}
            Seen::Same(bytes) => {
                data.files_compared += 1;
                data.bytes_compared += bytes;
            }
            Seen::WithoutDigest => data.files_without_digest += 1,
            Seen::Wrong(found) => wrong.push(found),
        }
    }
}

impl Named<'_> {
    async fn check(&self, sink: &Store, meta: Option<&ObjectMeta>, depth: Depth) -> Result<Seen, CommitError> {
        let Some(meta) = meta else { return Ok(self.wrong("it is missing")) };
        if meta.size != self.file.bytes {
            return Ok(self.wrong(format!("it has {} bytes instead of {}", meta.size, self.file.bytes)));
        }
        let object = Object::from(meta.clone());
        if let Some(format) = with_footer(&self.file.path) {
            match source::open(sink, format, &object, 0).await {
                Ok(opened) if opened.rows == self.file.rows => {}
                Ok(opened) => {
                    return Ok(self.wrong(format!("it has {} rows instead of {}", opened.rows, self.file.rows)));
                }
                Err(error) => return self.unread(error),
            }
        }
        match (depth, &self.file.digest) {
            (Depth::Footers, _) => Ok(Seen::Right),
            (Depth::Data, None) => Ok(Seen::WithoutDigest),
            (Depth::Data, Some(digest)) => match digest_of(sink, &object).await {
                Ok(found) if found == *digest => Ok(Seen::Same(object.size)),
                Ok(_) => Ok(self.wrong("its bytes are not those that were written: another digest")),
                Err(error) => self.unread(error),
            },
        }
    }

    fn wrong(&self, what: impl Into<String>) -> Seen {
        let path = self.file.path.clone();
        Seen::Wrong(Wrong { lane: self.lane, number: self.number, path, what: what.into() })
    }

    fn unread(&self, error: SourceError) -> Result<Seen, CommitError> {
        match error {
            SourceError::Bad { message, .. } | SourceError::Differs { message, .. } => {
                Ok(self.wrong(format!("it cannot be read: {message}")))
            }
            SourceError::Changed { .. } => Ok(self.wrong("it changed or vanished while it was read")),
            SourceError::Store { cause, .. } => Err(CommitError::store("read the sink's", &self.file.path, cause)),
        }
    }
}

/// BLAKE3 of an object's bytes, a part in memory at a time.
async fn digest_of(sink: &Store, object: &Object) -> Result<String, SourceError> {
    let fetch = Fetch::new(sink, object);
    let mut hasher = blake3::Hasher::new();
    let mut start = 0;
    while start < object.size {
        let end = object.size.min(start + PART_BYTES);
        for part in fetch.ranges(&std::iter::once(start..end).collect::<Vec<_>>()).await? {
            hasher.update(&part);
        }
        start = end;
    }
    Ok(hasher.finalize().to_hex().to_string())
}

fn orphans(view: &View, listing: &[ObjectMeta]) -> Vec<Orphan> {
    let named: HashSet<&str> = view.files().map(|file| file.path.as_str()).collect();
    let is_ours = |path: &str| view.root.file_name(path).is_some();
    let orphan = |meta: &ObjectMeta| Orphan { path: meta.location.to_string(), bytes: meta.size };
    let unnamed =
        listing.iter().filter(|meta| is_ours(meta.location.as_ref()) && !named.contains(meta.location.as_ref()));
    let mut orphans: Vec<Orphan> = unnamed.map(orphan).collect();
    orphans.sort_by(|a, b| a.path.cmp(&b.path));
    orphans
}

#[cfg(test)]
mod tests {
    use object_store::path::Path;
    use object_store::{ObjectStoreExt, PutPayload};

    use super::*;

    fn wait<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    #[test]
    fn a_file_that_is_read_in_parts_has_the_digest_of_all_its_bytes() {
        let sink = Store::memory("sink");
        for size in [0, 1, PART_BYTES, 2 * PART_BYTES + 7] {
            let bytes: Vec<u8> = (0..size).map(|at| ((at * at) >> 5) as u8).collect();
            let name = Path::from("a");
            wait(sink.objects().put(&name, PutPayload::from(bytes.clone()))).unwrap();
            let object = Object::from(wait(sink.objects().head(&name)).unwrap());
            assert_eq!(wait(digest_of(&sink, &object)).unwrap(), blake3::hash(&bytes).to_hex().to_string(), "{size}");
        }
    }
}
