//! A job is given up with all that it has done, so that another begins anew in its place: `run --fresh`.
//!
//! Before anything is deleted every lane of the job is opened, so that whoever works on it can commit no more, and a root entry
//! says that it is deleted, so that nobody begins to. Then the sink is emptied of what is the job's own, its claim is released,
//! and the log goes, its root last. Who is killed on the way is completed by the same command; a plain run in between goes on
//! with the whole job, or completes the deletion and is refused for what is left in the sink.
//!
//! Own is what names the job: its files carry its random name, lane and token, its manifests lie under it, marks say it. In the
//! layout `mirror` a file is own only in the folder of an object that the job had. Which job is meant
//! says the checkpoint's genesis; where that is gone, a claim in the sink that names this very checkpoint.

use std::collections::BTreeSet;

use futures::TryStreamExt;
use object_store::path::Path;

use super::claim::{self, Claimant, Place};
use super::lane::{Lane, Writer};
use super::liveness::refuse_if_alive;
use super::marks::marks_of;
use super::recover::{MIRROR, abort_uploads, delete, has_mirror, list_sink, other_jobs, remove_staged};
use super::replay::LaneState;
use super::root::{Root, genesis_job, objects_listed};
use super::view::view;
use super::{CommitError, delete_all, mark_deleted};
use crate::sink::{FileName, OWN_FOLDER, OutputKind};
use crate::store::{Listed, Store, location};

/// Times that the root is read anew because somebody else appended to it.
const ATTEMPTS: usize = 10;

/// A job that is given up, or what is left of one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GivenUp {
    /// The job of the checkpoint's log, if there is one.
    pub logged: Option<String>,
    /// Jobs with output in the sink that had this checkpoint and have no log any more.
    pub unlogged: Vec<String>,
    /// Files of results and dead letters in the sink, which are deleted.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// What else lies in the sink, and stays.
    pub others: Vec<String>,
    /// Another sink in which the job has begun; what lies there stays.
    pub sink_before: Option<String>,
    /// Lists of ids that the job began with, and that go with its log.
    pub imported: u64,
    /// Names that are deleted.
    pub own: Own,
}

/// What names in a sink are those of jobs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Own {
    jobs: BTreeSet<String>,
    /// Folders of objects that the jobs had.
    folders: BTreeSet<String>,
    marks: BTreeSet<String>,
}

impl Own {
    fn has_file(&self, name: &str) -> bool {
        let is_at = |folder: &str| folder.is_empty() || self.folders.contains(folder);
        FileName::parse(name).is_some_and(|file| self.jobs.contains(file.job) && is_at(file.folder))
    }

    fn has_document(&self, name: &str) -> bool {
        self.jobs.iter().any(|job| is_manifest_of(job, name) || is_note_of(job, name))
    }

    fn has(&self, name: &str) -> bool {
        self.has_file(name) || self.has_document(name) || self.marks.contains(name)
    }
}

impl GivenUp {
    /// Whether there is nothing to give up.
    pub fn is_nothing(&self) -> bool {
        self.logged.is_none() && self.unlogged.is_empty()
    }

    /// Every job.
    pub fn jobs(&self) -> impl Iterator<Item = &str> {
        self.logged.iter().chain(&self.unlogged).map(String::as_str)
    }
}

/// What there is to give up. Changes nothing.
pub async fn to_give_up(checkpoint: &Store, sink: &Store) -> Result<GivenUp, CommitError> {
    let mut given_up = logged(checkpoint, sink).await?;
    let place = Place::of(checkpoint);
    for job in other_jobs(sink, given_up.logged.as_deref()).await.map_err(in_sink)? {
        if claim::is_surely_place_of(sink, &job, &place).await? {
            given_up.unlogged.push(job);
        }
    }
    let listing = list_sink(sink).await.map_err(in_sink)?;
    given_up.own = own(checkpoint, sink, given_up.jobs(), &listing).await?;
    for Listed { bytes, .. } in listing.iter().filter(|file| given_up.own.has_file(&file.name)) {
        given_up.files += 1;
        given_up.bytes += bytes;
    }
    given_up.others = others(sink, &given_up.own).await?;
    Ok(given_up)
}

async fn own(
    checkpoint: &Store,
    sink: &Store,
    jobs: impl Iterator<Item = &str>,
    listing: &[Listed],
) -> Result<Own, CommitError> {
    let mut own = Own { jobs: jobs.map(str::to_owned).collect(), ..Own::default() };
    if !has_mirror(sink).await.map_err(in_sink)? {
        return Ok(own);
    }
    own.folders = objects_listed(checkpoint).await?;
    for job in &own.jobs {
        own.marks.extend(marks_of(sink, job, listing).await?);
    }
    own.folders.extend(own.marks.iter().filter_map(|mark| Some(mark.rsplit_once('/')?.0.to_owned())));
    Ok(own)
}

async fn logged(checkpoint: &Store, sink: &Store) -> Result<GivenUp, CommitError> {
    let root = match Root::read(checkpoint).await {
        // Somebody was killed on the way.
        Err(CommitError::Deleted) => {
            return Ok(GivenUp { logged: genesis_job(checkpoint).await?, ..GivenUp::default() });
        }
        root => root?,
    };
    let Some(root) = root else { return Ok(GivenUp::default()) };
    refuse_copy(checkpoint, sink, &root).await?;
    Ok(GivenUp {
        sink_before: (root.places.sink != sink.url()).then(|| root.places.sink.clone()),
        imported: root.genesis.imported.len() as u64,
        logged: Some(root.genesis.job),
        ..GivenUp::default()
    })
}

/// The job may live on elsewhere, and what lies in the sink be of that.
async fn refuse_copy(checkpoint: &Store, sink: &Store, root: &Root) -> Result<(), CommitError> {
    let hint = "say with `wasmpipe run --relocate` that the job lives here, before it is given up; or name another folder under \
                [checkpoint], and an empty sink";
    let was = &root.places.checkpoint;
    if was != checkpoint.url() {
        let what = format!("{} was copied or moved from {was}, where its job may live on", checkpoint.url());
        return Err(CommitError::refused(what, hint));
    }
    match claim::gone_on_to(sink, &root.genesis.job, &Place::of(checkpoint)).await? {
        Some(elsewhere) => {
            Err(CommitError::refused(format!("the job went on with another checkpoint: {elsewhere}"), hint))
        }
        None => Ok(()),
    }
}

/// Of a sink all that is neither of these jobs nor says whose it is.
async fn others(sink: &Store, own: &Own) -> Result<Vec<String>, CommitError> {
    let all = sink.objects().list(None).map_ok(|found| found.location.to_string());
    let mut names: Vec<String> = all.try_collect().await.map_err(in_sink)?;
    names.retain(|name| !own.has(name) && !name.starts_with("_wasmpipe/claim/"));
    names.sort();
    Ok(names)
}

fn is_manifest_of(job: &str, name: &str) -> bool {
    let rest = name.strip_prefix("_wasmpipe/").and_then(|name| name.strip_prefix(job));
    rest.is_some_and(|rest| rest == ".json" || (rest.starts_with('/') && rest.ends_with(".json")))
}

/// What says that its files lie in folders.
fn is_note_of(job: &str, name: &str) -> bool {
    name.strip_prefix("_wasmpipe/").and_then(|name| name.strip_prefix(job)) == Some(MIRROR)
}

/// Gives the jobs up that were found. Refuses if a run is alive, unless its lanes are to be taken away.
pub async fn give_up(checkpoint: &Store, sink: &Store, given_up: &GivenUp, take_over: bool) -> Result<(), CommitError> {
    let is_logged = match Root::read(checkpoint).await {
        Ok(Some(root)) => {
            if given_up.logged.as_ref() != Some(&root.genesis.job) {
                return Err(CommitError::refused(
                    "another job has just begun in this checkpoint",
                    "nothing was deleted; run the same command again, which says what it would give up now",
                ));
            }
            close_for_good(checkpoint, &root, take_over).await?;
            true
        }
        Ok(None) => false,
        Err(CommitError::Deleted) => true,
        Err(error) => return Err(error),
    };
    empty(sink, &given_up.own).await?;
    for job in given_up.jobs() {
        let place = Place::of(checkpoint);
        claim::release(sink, &Claimant { job: job.into(), place, shared: false, is_moved: false }).await?;
    }
    if is_logged { delete_all(checkpoint).await } else { Ok(()) }
}

/// After this nobody commits to the job, and nobody begins to.
async fn close_for_good(checkpoint: &Store, root: &Root, take_over: bool) -> Result<(), CommitError> {
    let writer = Writer::new();
    if !take_over {
        refuse_if_at_work(checkpoint, &writer).await?;
    }
    for lane in 0..root.genesis.lanes {
        Lane::open(checkpoint, lane, &writer, async || Root::last_link(checkpoint).await).await?;
    }
    for _ in 0..ATTEMPTS {
        let root = match Root::read(checkpoint).await {
            Err(CommitError::Deleted) => return Ok(()),
            root => root?.ok_or_else(CommitError::root_is_gone)?,
        };
        if mark_deleted(checkpoint, &root).await? {
            return Ok(());
        }
    }
    let hint = "nothing was deleted; end what appends to it, and run the same command again";
    Err(CommitError::refused("somebody appends to the checkpoint again and again", hint))
}

async fn refuse_if_at_work(checkpoint: &Store, writer: &Writer) -> Result<(), CommitError> {
    let view = view(checkpoint).await?.ok_or_else(CommitError::root_is_gone)?;
    let states: Vec<&LaneState> = view.lanes.iter().map(|lane| &lane.state).collect();
    refuse_if_alive(checkpoint, states, writer).await.map(drop)
}

/// Removes all that is own from the sink but claims: manifests first, which name the files, and last what tells where files lie.
async fn empty(sink: &Store, own: &Own) -> Result<(), CommitError> {
    let below = sink.objects().list(Some(&Path::from(OWN_FOLDER))).map_ok(|found| found.location);
    let below: Vec<Path> = below.try_collect().await.map_err(in_sink)?;
    let documents = below.into_iter().filter(|path| own.has_document(path.as_ref()));
    let (notes, manifests): (Vec<Path>, Vec<Path>) = documents.partition(|path| path.as_ref().ends_with(MIRROR));
    delete(sink, manifests).await?;
    let files = list_sink(sink).await.map_err(in_sink)?.into_iter().filter(|file| own.has_file(&file.name));
    delete(sink, files.map(|file| location(&file.name)).collect()).await?;
    for kind in OutputKind::ALL {
        remove_staged(sink, kind.folder(), |name| own.has_file(name)).await?;
    }
    abort_uploads(sink, |name| own.has_file(name)).await?;
    delete(sink, own.marks.iter().map(|mark| location(mark)).collect()).await?;
    if let Some(root) = sink.local_root() {
        // One that is not empty stays.
        own.folders.iter().for_each(|folder| drop(std::fs::remove_dir(root.join(folder))));
    }
    delete(sink, notes).await
}

fn in_sink(cause: object_store::Error) -> CommitError {
    CommitError::store("list", "the sink", cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_is_what_names_the_job() {
        let (job, other) = ("0123456789abcdef", "fedcba9876543210");
        let set = |name: &str| BTreeSet::from([name.to_owned()]);
        let own = Own { jobs: set(job), folders: set("a/b.parquet"), marks: set("a/b.parquet/_SUCCESS") };
        for name in [
            format!("{job}-0-{other}-000001.parquet"),
            format!("_wasmpipe/dead-letters/{job}-3-{other}-000001.jsonl.gz"),
            format!("_wasmpipe/{job}.json"),
            format!("_wasmpipe/{job}/0000000000-0000000007.json"),
            format!("_wasmpipe/{job}.mirror"),
            format!("a/b.parquet/{job}-0-{other}-000001.parquet"),
            "a/b.parquet/_SUCCESS".into(),
        ] {
            assert!(own.has(&name), "{name}");
        }
        for name in [
            format!("{other}-0-{job}-000001.parquet"),
            format!("{job}-0-{other}-000001.csv"),
            format!("{job}.parquet"),
            format!("below/{job}-0-{other}-000001.parquet"),
            format!("_wasmpipe/{other}.json"),
            format!("_wasmpipe/{job}0.json"),
            format!("_wasmpipe/{job}/notes.txt"),
            format!("_wasmpipe/{other}.mirror"),
            "a/_SUCCESS".into(),
            "notes.txt".into(),
        ] {
            assert!(!own.has(&name), "{name}");
        }
    }
}
