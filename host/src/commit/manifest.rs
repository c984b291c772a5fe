//! What a finished job leaves in its sink: exactly the files that count, for readers who do not know its checkpoint, and for a
//! run that finds the checkpoint gone.
//!
//! ```text
//! _wasmpipe/<job>/<claim>-<log>.json   create-only; the highest under the job's last claim counts
//! _wasmpipe/<job>.json                 a copy of it, for programs that want one name
//! ```
//!
//! `<claim>` is the number of the claim under which the job worked, `<log>` the sum of the last numbers of its root and lanes
//! when it was found finished; both have ten digits. A log only grows, so a state of it that is younger has a larger sum, and a
//! manifest that lands late is a lower one: it can replace nothing. The copy is replaced, so a run that was suspended while
//! it wrote the copy may put an older one there; whoever looks at the job next mends that.

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use serde::{Deserialize, Serialize};

use super::CommitError;
use super::claim::{Place, job_of, last_claim, of_sink};
use super::document::{FORMAT_1, Unreadable, decode_document, has_seal, seal};
use super::entry::{FileEntry, Fingerprint, number_name};
use super::log::{create, get, last as last_number};
use super::recover::{delete, remove_staged};
use super::root::Root;
use crate::source::Object;
use crate::store::Store;

/// Where finished jobs leave their manifests, below the sink.
pub(super) const FOLDER: &str = "_wasmpipe";
/// Attempts to read the one that counts, while others replace it.
const READ_ATTEMPTS: u32 = 4;

/// Which files a finished job has written, and of what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// Format of this document. Of format 1 there is one alone, without the keys that are optional here.
    pub format: u32,
    /// The job.
    pub job: String,
    /// Where it stands among the job's manifests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    /// Output rows.
    pub rows: u64,
    /// The output: all of it, and nothing else.
    pub files: Vec<FileEntry>,
    /// Files of dead letters, which are no output.
    #[serde(default)]
    pub dead_letters: Vec<FileEntry>,
    /// What the job computed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<Fingerprint>,
    /// BLAKE3 over the source's root and objects: path, size and version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listing: Option<String>,
    /// What became of the source's rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_rows: Option<SourceRows>,
}

/// What became of the rows of a job's source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceRows {
    /// All of them.
    pub all: u64,
    /// Of these, those whose id was done elsewhere.
    pub known: u64,
    /// Those that failed and were left out.
    pub failed: u64,
    /// Those that failed and became dead letters.
    pub dead_lettered: u64,
}

/// Manifests of a job in the order in which they count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Position {
    /// Number of the job's claim.
    pub claim: u64,
    /// Sum of the last numbers of its root and lanes.
    pub log: u64,
}

impl Position {
    fn file(self) -> String {
        format!("{}-{}.json", number_name(self.claim), number_name(self.log))
    }

    fn parse(file: &str) -> Option<Position> {
        let (claim, log) = file.strip_suffix(".json")?.split_once('-')?;
        Some(Position { claim: claim.parse().ok()?, log: log.parse().ok()? })
    }
}

impl Manifest {
    /// Whether no row failed that could be done again.
    pub fn is_done_for_good(&self) -> bool {
        self.source_rows.is_some_and(|rows| rows.failed + rows.dead_lettered == 0)
    }

    /// All that it names.
    pub fn all_files(&self) -> impl Iterator<Item = &FileEntry> {
        self.files.iter().chain(&self.dead_letters)
    }

    fn names_what(&self, other: &Manifest) -> bool {
        (self.position, &self.files, &self.dead_letters) == (other.position, &other.files, &other.dead_letters)
    }
}

/// A digest of what a source consists of.
pub fn listing_digest<'a>(source: &str, objects: impl IntoIterator<Item = &'a Object>) -> String {
    let mut objects: Vec<&Object> = objects.into_iter().collect();
    objects.sort_by(|a, b| a.path.as_ref().cmp(b.path.as_ref()));
    let mut digest = blake3::Hasher::new();
    let mut add = |text: &str| {
        digest.update(&(text.len() as u64).to_le_bytes()).update(text.as_bytes());
    };
    add(source);
    for object in objects {
        add(object.path.as_ref());
        add(&object.size.to_string());
        add(&object.etag.clone().unwrap_or_else(|| object.modified_ms.to_string()));
    }
    digest.finalize().to_hex().to_string()
}

/// The manifest of a job that counts; none if the job was never finished where it last claimed the sink.
pub async fn manifest(sink: &Store, job: &str) -> Result<Option<Manifest>, CommitError> {
    for _ in 0..READ_ATTEMPTS {
        let positions = positions(sink, job).await?;
        if positions.is_empty() {
            return format_1(sink, job).await;
        }
        let claim = last_claim(sink, job).await?;
        let counts = positions.into_iter().filter(|position| claim.is_none_or(|claim| claim == position.claim)).max();
        let Some(counts) = counts else { return Ok(None) };
        // An older build, which knows one name alone, has finished the job since.
        if let Some(older_build) = of_format_1(sink, job).await? {
            return Ok(Some(older_build));
        }
        let name = name(job, counts);
        // If it is gone, a higher one has come.
        let Some(bytes) = get(sink, &name).await.map_err(of_sink)? else { continue };
        return match decode_document(&bytes).and_then(|found| in_its_place(found, job, Some(counts))) {
            Ok(manifest) => Ok(Some(manifest)),
            Err(Unreadable::Damaged(message)) => match sound_copy(sink, job, counts).await? {
                None => Err(damaged(sink, &name, &message)),
                copy => Ok(copy),
            },
            Err(newer) => Err(unreadable_in(sink, &name, newer)),
        };
    }
    Err(damaged(sink, &format!("{FOLDER}/{job}"), "manifests were listed, but are gone"))
}

/// The manifest of the job that claimed the sink last of those with this checkpoint.
pub async fn manifest_of(sink: &Store, place: &Place) -> Result<Option<Manifest>, CommitError> {
    match job_of(sink, place).await? {
        Some(job) => manifest(sink, &job).await,
        None => Ok(None),
    }
}

/// A job that was finished with a longer log than the one that is here, which is an older copy, or another went on from the same
/// place: to work on would leave a manifest that counts for less than the one that is there.
pub async fn refuse_older_than_manifest(sink: &Store, checkpoint: &Store, root: &Root) -> Result<(), CommitError> {
    let job = &root.genesis.job;
    let positions = positions(sink, job).await?;
    if positions.is_empty() {
        return Ok(());
    }
    let claim = last_claim(sink, job).await?;
    let Some(last) = positions.into_iter().filter(|position| Some(position.claim) == claim).max() else {
        return Ok(());
    };
    // Read after the manifests: a log only grows.
    let mut log = Root::last_link(checkpoint).await?.number;
    for lane in 0..root.genesis.lanes {
        log += last_number(checkpoint, lane).await?.unwrap_or(0);
    }
    if last.log <= log {
        return Ok(());
    }
    Err(CommitError::refused(
        format!(
            "the sink {} has a manifest of this job, {}, that was written when the checkpoint's log was longer \
             (the sum of its last numbers was {}, now it is {log}): entries of it are lost, or it is an older copy",
            sink.url(),
            name(job, last),
            last.log
        ),
        "put the checkpoint back as it was; if it is lost, begin a new job with another checkpoint and sink (with \
         `id`, `wasmpipe checkpoint import --help` tells how that passes over rows whose output is here)",
    ))
}

/// Leaves a manifest in the sink. What is there already is not written.
pub async fn leave_manifest(sink: &Store, manifest: &Manifest) -> Result<(), CommitError> {
    let position = manifest.position.expect("a new manifest has a position");
    let there = get(sink, &name(&manifest.job, position)).await.map_err(of_sink)?;
    let bytes = match there.as_ref().map(|there| (there, decode_document::<Manifest>(there))) {
        Some((there, Ok(read))) if read.names_what(manifest) => there.clone(),
        Some((_, Err(newer @ Unreadable::Newer(_)))) => {
            return Err(unreadable_in(sink, &name(&manifest.job, position), newer));
        }
        there => write(sink, manifest, position, there.is_some()).await?,
    };
    copy(sink, &manifest.job, position, bytes).await
}

/// Takes a manifest back that this process has left, and the copy with it: what it names may be gone.
pub async fn remove_manifest(sink: &Store, manifest: &Manifest) -> Result<(), CommitError> {
    let position = manifest.position.expect("a manifest that was left has a position");
    let names = [copy_name(&manifest.job), name(&manifest.job, position)];
    delete(sink, names.map(Path::from).into()).await
}

/// Creates it; or mends one that is damaged: nobody else has other bytes for this position, which is one state of the log.
async fn write(sink: &Store, manifest: &Manifest, position: Position, is_damaged: bool) -> Result<Bytes, CommitError> {
    let (name, bytes) = (name(&manifest.job, position), seal(manifest));
    // First, so that one of format 1 beside a numbered one was left later.
    if of_format_1(sink, &manifest.job).await?.is_some() {
        put(sink, &copy_name(&manifest.job), bytes.clone()).await?;
    }
    match is_damaged {
        true => put(sink, &name, bytes.clone()).await?,
        false => drop(create(sink, &name, &bytes).await.map_err(of_sink)?),
    }
    let folder = format!("{FOLDER}/{}/", manifest.job);
    let lower = positions(sink, &manifest.job).await?.into_iter().filter(|other| *other < position);
    delete(sink, lower.map(|other| Path::from(self::name(&manifest.job, other))).collect()).await?;
    let is_lower = |name: &str| Position::parse(&name[folder.len()..]).is_some_and(|other| other <= position);
    remove_staged(sink, &folder, is_lower).await?;
    Ok(bytes)
}

async fn copy(sink: &Store, job: &str, position: Position, bytes: Bytes) -> Result<(), CommitError> {
    let name = copy_name(job);
    let is_there = get(sink, &name).await.map_err(of_sink)?.is_some_and(|there| there == bytes);
    if is_there || positions(sink, job).await?.into_iter().max() > Some(position) {
        return Ok(());
    }
    put(sink, &name, bytes).await
}

async fn put(sink: &Store, name: &str, bytes: Bytes) -> Result<(), CommitError> {
    let put = sink.objects().put(&Path::from(name), PutPayload::from(bytes)).await;
    put.map(drop).map_err(|cause| of_sink(CommitError::store("write", name, cause)))
}

async fn positions(sink: &Store, job: &str) -> Result<Vec<Position>, CommitError> {
    let folder = format!("{FOLDER}/{job}");
    let names = sink.names(&folder).await.map_err(|cause| of_sink(CommitError::store("list", folder, cause)))?;
    Ok(names.iter().filter_map(|name| Position::parse(name)).collect())
}

/// The copy, if it is of this one.
async fn sound_copy(sink: &Store, job: &str, position: Position) -> Result<Option<Manifest>, CommitError> {
    let bytes = get(sink, &copy_name(job)).await.map_err(of_sink)?;
    let copy = bytes.and_then(|bytes| decode_document::<Manifest>(&bytes).ok());
    Ok(copy.filter(|copy| copy.job == job && copy.position == Some(position)))
}

/// What an older build has left under the name of the copy.
async fn of_format_1(sink: &Store, job: &str) -> Result<Option<Manifest>, CommitError> {
    let bytes = get(sink, &copy_name(job)).await.map_err(of_sink)?;
    let unsealed = bytes.filter(|bytes| !has_seal(bytes));
    let manifest = unsealed.and_then(|bytes| serde_json::from_slice::<Manifest>(&bytes).ok());
    Ok(manifest.filter(|manifest| manifest.format == FORMAT_1 && manifest.job == job))
}

/// Of a job of format 1, or the copy alone where somebody has kept only that.
async fn format_1(sink: &Store, job: &str) -> Result<Option<Manifest>, CommitError> {
    let name = copy_name(job);
    let Some(bytes) = get(sink, &name).await.map_err(of_sink)? else { return Ok(None) };
    match decode_document(&bytes).and_then(|found| in_its_place(found, job, None)) {
        Ok(manifest) => Ok(Some(manifest)),
        Err(unreadable) => match of_format_1(sink, job).await? {
            None => Err(unreadable_in(sink, &name, unreadable)),
            found => Ok(found),
        },
    }
}

/// One that proves itself may be another's, or an older one, that was put into this place.
fn in_its_place(found: Manifest, job: &str, position: Option<Position>) -> Result<Manifest, Unreadable> {
    match found.job == job && (position.is_none() || found.position == position) {
        true => Ok(found),
        false => {
            Err(Unreadable::Damaged(format!("it is a manifest of job {}, and lies in another's place", found.job)))
        }
    }
}

fn name(job: &str, position: Position) -> String {
    format!("{FOLDER}/{job}/{}", position.file())
}

fn copy_name(job: &str) -> String {
    format!("{FOLDER}/{job}.json")
}

fn unreadable_in(sink: &Store, name: &str, unreadable: Unreadable) -> CommitError {
    match unreadable {
        Unreadable::Damaged(message) => damaged(sink, name, &message),
        newer @ Unreadable::Newer(_) => newer.into_error(format!("the sink's {name}")),
    }
}

fn damaged(sink: &Store, name: &str, message: &str) -> CommitError {
    CommitError::refused(
        format!("{name} in the sink {} is damaged: {message}", sink.url()),
        "run the job once more with its checkpoint, which writes it anew",
    )
}

#[cfg(test)]
mod tests {
    use super::super::document::FORMAT;
    use super::*;
    use crate::commit::claim::{Claimant, Standing, claim};

    fn wait<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
    }

    fn manifest_at(claim: u64, log: u64, file: &str) -> Manifest {
        let files = vec![FileEntry { path: file.into(), rows: 1, bytes: 2, digest: None, holds: None }];
        Manifest {
            format: FORMAT,
            job: "j".into(),
            position: Some(Position { claim, log }),
            rows: 1,
            files,
            dead_letters: vec![],
            fingerprint: None,
            listing: None,
            source_rows: None,
        }
    }

    fn counts(sink: &Store) -> Option<String> {
        wait(manifest(sink, "j")).unwrap().map(|manifest| manifest.files[0].path.clone())
    }

    #[test]
    fn the_highest_counts_in_whatever_order_they_land() {
        let sink = Store::memory("sink");
        assert_eq!(counts(&sink), None);
        for (log, file, counting) in [(7, "a", "a"), (12, "c", "c"), (9, "b", "c"), (12, "c", "c")] {
            wait(leave_manifest(&sink, &manifest_at(0, log, file))).unwrap();
            assert_eq!(counts(&sink).as_deref(), Some(counting));
            let copy = wait(get(&sink, &copy_name("j"))).unwrap().unwrap();
            assert_eq!(
                decode_document::<Manifest>(&copy).unwrap().files[0].path,
                counting,
                "the copy is of the one that counts"
            );
        }
        let late = manifest_at(0, 11, "late");
        wait(create(&sink, &name("j", Position { claim: 0, log: 11 }), &seal(&late))).unwrap();
        assert_eq!(counts(&sink).as_deref(), Some("c"));
    }

    #[test]
    fn under_an_earlier_claim_of_the_job_none_counts() {
        let (sink, checkpoint) = (Store::memory("sink"), Store::memory("checkpoint"));
        let mut me = Claimant { job: "j".into(), place: Place::of(&checkpoint), shared: false, is_moved: false };
        let seen = 0;
        assert_eq!(wait(claim(&sink, &me, Standing::Free(seen))).unwrap().number, 0);
        wait(leave_manifest(&sink, &manifest_at(0, 20, "a"))).unwrap();
        assert_eq!(counts(&sink).as_deref(), Some("a"));
        me.place = Place::at("file:///elsewhere", ["h", "b", "m"]);
        me.is_moved = true;
        let seen = 1;
        assert_eq!(wait(claim(&sink, &me, Standing::Free(seen))).unwrap().number, 1);
        assert_eq!(counts(&sink), None);
        wait(leave_manifest(&sink, &manifest_at(1, 3, "b"))).unwrap();
        assert_eq!(counts(&sink).as_deref(), Some("b"));
    }

    #[test]
    fn what_an_older_build_left_later_counts() {
        let sink = Store::memory("sink");
        let older = |file| Manifest { format: FORMAT_1, position: None, ..manifest_at(0, 0, file) };
        let leave = |file| wait(put(&sink, &copy_name("j"), serde_json::to_vec(&older(file)).unwrap().into())).unwrap();
        leave("a");
        assert_eq!(counts(&sink).as_deref(), Some("a"));
        wait(leave_manifest(&sink, &manifest_at(0, 7, "b"))).unwrap();
        assert_eq!(counts(&sink).as_deref(), Some("b"));
        leave("c");
        assert_eq!(counts(&sink).as_deref(), Some("c"));
        wait(leave_manifest(&sink, &manifest_at(0, 9, "d"))).unwrap();
        assert_eq!(counts(&sink).as_deref(), Some("d"));
    }

    #[test]
    fn one_that_lies_in_anothers_place_is_named() {
        let sink = Store::memory("sink");
        let seven = manifest_at(0, 7, "a");
        wait(leave_manifest(&sink, &seven)).unwrap();
        wait(put(&sink, &name("j", Position { claim: 0, log: 9 }), seal(&seven))).unwrap();
        wait(sink.objects().delete(&Path::from(copy_name("j")))).unwrap();
        for name in [name("k", Position { claim: 0, log: 7 }), copy_name("l")] {
            wait(put(&sink, &name, seal(&seven))).unwrap();
        }
        for (job, name) in [("j", "_wasmpipe/j/"), ("k", "_wasmpipe/k/"), ("l", "_wasmpipe/l.json")] {
            let error = wait(manifest(&sink, job)).unwrap_err().to_string();
            assert!(error.starts_with(name), "{error}");
        }
    }

    #[test]
    fn one_that_does_not_prove_itself_is_named_and_written_anew() {
        let sink = Store::memory("sink");
        let right = manifest_at(0, 7, "a");
        wait(leave_manifest(&sink, &right)).unwrap();
        let name = name("j", Position { claim: 0, log: 7 });
        let bytes = wait(get(&sink, &name)).unwrap().unwrap();
        wait(put(&sink, &name, b"damaged".as_slice().into())).unwrap();
        assert_eq!(counts(&sink).as_deref(), Some("a"), "there is a copy");
        wait(sink.objects().delete(&Path::from(copy_name("j")))).unwrap();
        for at in 0..bytes.len() {
            let mut flipped = bytes.to_vec();
            flipped[at] ^= 4;
            wait(put(&sink, &name, flipped.into())).unwrap();
            assert!(wait(manifest(&sink, "j")).is_err(), "byte {at}");
        }
        wait(leave_manifest(&sink, &right)).unwrap();
        assert_eq!(counts(&sink).as_deref(), Some("a"));
    }
}
