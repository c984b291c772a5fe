//! The results of each object as one file with a plain name, its rows in the order of the object's. Of a finished job with the
//! layout `mirror`, whose log says which source rows each file holds, and in a format whose files can be joined.
//!
//! ```text
//! <to>/part-0001.jsonl                          what came of an object
//! <to>/.done                                    last: job, position of its log, and name, rows, size and digest of each file
//! <to>/.publishing/<job>                        while it is made: whose the folder is, and how names are made
//! <to>/.publishing/<position>/part-0001.jsonl   and rows, size and digest of each file that is complete
//! ```
//!
//! It can be killed anywhere, and run again: a file that is complete for this position of the log is not written again. Before
//! the first file of another position is written, an older `.done` goes. So who waits for `.done` never sees files of two
//! states. Two processes that publish one state write the same bytes; of two that publish different ones, the one that finds
//! traces of the other says so, and is to be run again.
//!
//! * `shards` - which rows of which files make up what file.
//! * `join` - their bytes.

mod join;
mod shards;

use std::collections::{HashMap, HashSet};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutMode, PutOptions};
use serde::{Deserialize, Serialize};

use super::ExchangeError;
use crate::commit::View;
use crate::store::{Oddity, Store, location, staged_for};
use shards::{Shard, Shards};

const DONE: &str = ".done";
const FOLDER: &str = ".publishing";
/// Files that are written at once.
const FILES_AT_ONCE: usize = 4;

/// A job that is to be published.
#[derive(Clone, Copy, Debug)]
pub struct Job<'a> {
    /// What its log says.
    pub view: &'a View,
    /// Where that lies.
    pub checkpoint: &'a Store,
    /// Where its files lie.
    pub sink: &'a Store,
}

/// What was published.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Published {
    /// Files that are there now.
    pub files: u64,
    /// Of these, those that were written by this call.
    pub written: u64,
    /// Rows in all.
    pub rows: u64,
    /// Bytes in all.
    pub bytes: u64,
    /// Objects that were done elsewhere before the job began, whose results it does not have.
    pub elsewhere: u64,
}

/// A file that is complete.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Complete {
    name: String,
    rows: u64,
    bytes: u64,
    /// BLAKE3.
    digest: String,
}

/// `.done`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Done {
    format: u32,
    job: String,
    /// How names are made.
    name: String,
    /// Sum of the last numbers of the job's root and lanes.
    position: u64,
    rows: u64,
    files: Vec<Complete>,
}

/// Writes a file for each object of a finished job into the folder `to`. In `name`, `{object}` stands for the object's name
/// without its ending; the folders that the object lies in stay.
pub async fn publish(job: Job<'_>, to: &Store, name: &str) -> Result<Published, ExchangeError> {
    let Job { view, checkpoint, sink } = job;
    refuse_overlap(view, to)?;
    let elsewhere = view.root.done_elsewhere(checkpoint).await?;
    let shards = shards::of(view, &elsewhere, name)?;
    let published = publish_shards(&shards, view, sink, to, name).await?;
    Ok(Published { elsewhere: shards.elsewhere, ..published })
}

async fn publish_shards(
    shards: &Shards<'_>,
    view: &View,
    sink: &Store,
    to: &Store,
    name: &str,
) -> Result<Published, ExchangeError> {
    let position = view.root.last + view.lanes.iter().filter_map(|lane| lane.state.last).sum::<u64>();
    let target = Target { to, job: &view.root.genesis.job, name, position };
    let found = target.listing().await?;
    match target.done(&found).await? {
        Some(done) if done.position == position && done.is_of(&shards.all, &found) => {
            target.clear(&done).await?;
            return Ok(done.published(0));
        }
        Some(done) => {
            target.refuse_older(&done)?;
            target.refuse_foreign(shards, &done, &found)?;
        }
        None => target.refuse_full(shards, &found).await?,
    }
    target.begin(&found).await?;
    let writes: Vec<_> = shards.all.iter().map(|shard| target.shard(shard, shards, sink, &found)).collect();
    let files: Vec<(Complete, bool)> = futures::stream::iter(writes).buffered(FILES_AT_ONCE).try_collect().await?;
    let written = files.iter().filter(|(_, is_written)| *is_written).count() as u64;
    let files: Vec<Complete> = files.into_iter().map(|(file, _)| file).collect();
    let rows = files.iter().map(|file| file.rows).sum();
    let done = Done { format: FORMAT, job: target.job.into(), name: name.into(), position, rows, files };
    target.end(&done).await?;
    Ok(done.published(written))
}

/// Files there would be input of the job, or output that its log does not know.
fn refuse_overlap(view: &View, to: &Store) -> Result<(), ExchangeError> {
    let places = &view.root.places;
    let lies_in =
        |one: &str, other: &str| one.strip_prefix(other).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    let of_job = [("source", &places.source), ("sink", &places.sink), ("checkpoint", &places.checkpoint)];
    match of_job.into_iter().find(|(_, place)| lies_in(to.url(), place) || lies_in(place, to.url())) {
        None => Ok(()),
        Some((name, place)) => Err(ExchangeError::refused(
            format!("{} and the {name} of the job, {place}, lie in each other", to.url()),
            "choose a folder of its own",
        )),
    }
}

/// Whether it lies where publishers leave what they have done so far.
fn is_trace(name: &str) -> bool {
    name.strip_prefix(FOLDER).is_some_and(|rest| rest.starts_with('/'))
}

/// Of the documents here.
const FORMAT: u32 = 1;

/// Objects of a folder, with their sizes.
type Found = HashMap<String, u64>;

impl Done {
    /// Whether it names just these files, and all of them are there.
    fn is_of(&self, shards: &[Shard<'_>], found: &Found) -> bool {
        let is_same = |(file, shard): (&Complete, &Shard<'_>)| {
            file.name == shard.name && found.get(&file.name) == Some(&file.bytes)
        };
        self.files.len() == shards.len() && self.files.iter().zip(shards).all(is_same)
    }

    fn published(&self, written: u64) -> Published {
        let bytes = self.files.iter().map(|file| file.bytes).sum();
        Published { files: self.files.len() as u64, written, rows: self.rows, bytes, elsewhere: 0 }
    }
}

/// The folder, and what it gets.
struct Target<'a> {
    to: &'a Store,
    job: &'a str,
    name: &'a str,
    position: u64,
}

impl Target<'_> {
    async fn listing(&self) -> Result<Found, ExchangeError> {
        let walk = self.to.walk(|_| true).await.map_err(|cause| failed(self.to.url(), cause))?;
        Ok(walk.objects.into_iter().map(|object| (object.path.to_string(), object.size)).collect())
    }

    async fn done(&self, found: &Found) -> Result<Option<Done>, ExchangeError> {
        if !found.contains_key(DONE) {
            return Ok(None);
        }
        match self.document::<Done>(DONE).await? {
            Some(done) if done.job == self.job => self.refuse_names(&done.name).map(|()| Some(done)),
            _ => Err(self.of_another()),
        }
    }

    /// Files with other names would stay beside the new ones.
    fn refuse_names(&self, name: &str) -> Result<(), ExchangeError> {
        match name == self.name {
            true => Ok(()),
            false => Err(ExchangeError::refused(
                format!("{} holds what this job has published with --name '{name}'", self.to.url()),
                "give the same --name; or name a folder that is empty or not there",
            )),
        }
    }

    /// None if it cannot be read.
    async fn document<T: for<'de> Deserialize<'de>>(&self, name: &str) -> Result<Option<T>, ExchangeError> {
        let bytes = self.to.whole(name).await.map_err(|cause| failed(name, cause))?;
        Ok(serde_json::from_slice(&bytes).ok())
    }

    fn of_another(&self) -> ExchangeError {
        ExchangeError::refused(
            format!("{} holds what another job has published", self.to.url()),
            "name a folder that is empty or not there",
        )
    }

    fn refuse_older(&self, done: &Done) -> Result<(), ExchangeError> {
        if done.position <= self.position {
            return Ok(());
        }
        Err(ExchangeError::refused(
            format!("{} holds a later state of the job than its checkpoint, which is an older copy", self.to.url()),
            "publish from the checkpoint that the job has gone on with",
        ))
    }

    /// What lies there and is none of ours would be taken for a part of the output, or be replaced.
    async fn refuse_full(&self, shards: &Shards<'_>, found: &Found) -> Result<(), ExchangeError> {
        let begun = found.keys().filter_map(|name| name.strip_prefix(FOLDER)?.strip_prefix('/'));
        let begun: Vec<&str> = begun.filter(|name| !name.contains('/')).collect();
        match begun.as_slice() {
            [] => {}
            [job] if *job == self.job => {
                let name = self.document::<String>(&self.owner()).await?;
                return name.map_or(Ok(()), |name| self.refuse_names(&name));
            }
            _ => return Err(self.of_another()),
        }
        self.refuse_others(shards.all.iter().map(|shard| shard.name.as_str()), found)
    }

    /// The same, beside an older state of the job, if nobody has begun with this one.
    fn refuse_foreign(&self, shards: &Shards<'_>, done: &Done, found: &Found) -> Result<(), ExchangeError> {
        if found.contains_key(&self.owner()) {
            return Ok(());
        }
        let published: HashSet<&str> = done.files.iter().map(|file| file.name.as_str()).collect();
        let names = shards.all.iter().map(|shard| shard.name.as_str());
        self.refuse_others(names.filter(|name| !published.contains(name)), found)
    }

    fn refuse_others<'n>(&self, mut names: impl Iterator<Item = &'n str>, found: &Found) -> Result<(), ExchangeError> {
        let Some(name) = names.find(|name| found.contains_key(*name)) else { return Ok(()) };
        Err(ExchangeError::refused(
            format!("{} holds {name} already, which this job has not published", self.to.url()),
            "name a folder that is empty or not there; or move that file away",
        ))
    }

    fn folder(&self) -> String {
        format!("{FOLDER}/{:010}/", self.position)
    }

    fn owner(&self) -> String {
        format!("{FOLDER}/{}", self.job)
    }

    /// What is there of other states goes, before a file of this one comes.
    async fn begin(&self, found: &Found) -> Result<(), ExchangeError> {
        self.put(&self.owner(), serde_json::to_vec(self.name).expect("it is JSON").into()).await?;
        let others = found.keys().filter(|name| *name == DONE || self.is_of_another_state(name));
        self.delete(others.map(|name| location(name)).collect()).await
    }

    fn is_of_another_state(&self, name: &str) -> bool {
        is_trace(name) && *name != self.owner() && !name.starts_with(&self.folder())
    }

    /// Writes a file, unless it is complete; and whether it was written.
    async fn shard(
        &self,
        shard: &Shard<'_>,
        shards: &Shards<'_>,
        sink: &Store,
        found: &Found,
    ) -> Result<(Complete, bool), ExchangeError> {
        let mark = format!("{}{}", self.folder(), shard.name);
        if found.contains_key(&mark)
            && let Some(complete) = self.document::<Complete>(&mark).await?
            && found.get(&shard.name) == Some(&complete.bytes)
        {
            return Ok((complete, false));
        }
        let (bytes, digest) = join::write(sink, self.to, shard, shards.compression).await?;
        let complete = Complete { name: shard.name.clone(), rows: shard.rows, bytes, digest };
        self.put(&mark, serde_json::to_vec(&complete).expect("it is JSON").into()).await?;
        Ok((complete, true))
    }

    async fn end(&self, done: &Done) -> Result<(), ExchangeError> {
        let found = self.listing().await?;
        let is_other = |name: &&String| *name == DONE || self.is_of_another_state(name);
        if found.keys().any(|name| is_other(&name)) && self.done(&found).await?.as_ref() != Some(done) {
            return Err(self.beside_another());
        }
        let bytes: Bytes = serde_json::to_vec_pretty(done).expect("it is JSON").into();
        let options = PutOptions::from(PutMode::Create);
        match self.to.objects().put_opts(&Path::from(DONE), bytes.into(), options).await {
            // Another process was faster, or an answer was lost.
            Err(object_store::Error::AlreadyExists { .. }) if self.document(DONE).await?.as_ref() != Some(done) => {
                return Err(self.beside_another());
            }
            Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => {}
            Err(cause) => return Err(failed(DONE, cause)),
        }
        self.clear(done).await
    }

    fn beside_another(&self) -> ExchangeError {
        ExchangeError::refused(
            format!("another process publishes another state of the job into {}", self.to.url()),
            "when it has ended, run the same command again",
        )
    }

    /// The traces of the work; whose the folder is goes last.
    async fn clear(&self, done: &Done) -> Result<(), ExchangeError> {
        self.remove_staged(done).await?;
        let found = self.listing().await?;
        let traces = found.keys().filter(|name| name.starts_with(&self.folder()));
        self.delete(traces.map(|name| location(name)).collect()).await?;
        match found.contains_key(&self.owner()) {
            true => self.delete(vec![location(&self.owner())]).await,
            false => Ok(()),
        }
    }

    /// What publishers that were killed have staged, in a folder of a machine, for files that are complete now.
    async fn remove_staged(&self, done: &Done) -> Result<(), ExchangeError> {
        let walk = self.to.walk(|_| true).await.map_err(|cause| failed(self.to.url(), cause))?;
        let names: HashSet<&str> = done.files.iter().map(|file| file.name.as_str()).collect();
        let is_ours = |target: &str| names.contains(target) || target == DONE || is_trace(target);
        for odd in walk.odd.iter().filter(|odd| odd.why == Oddity::Staged) {
            if staged_for(&odd.path).is_some_and(is_ours) {
                let (folder, name) = odd.path.rsplit_once('/').unwrap_or(("", &odd.path));
                self.to.remove_staged(folder, name).await.map_err(|cause| failed(&odd.path, cause))?;
            }
        }
        Ok(())
    }

    async fn put(&self, name: &str, bytes: Bytes) -> Result<(), ExchangeError> {
        let put = self.to.objects().put(&location(name), bytes.into()).await;
        put.map(drop).map_err(|cause| failed(name, cause))
    }

    async fn delete(&self, names: Vec<Path>) -> Result<(), ExchangeError> {
        let mut deleted = self.to.objects().delete_stream(futures::stream::iter(names).map(Ok).boxed());
        while let Some(result) = deleted.next().await {
            match result {
                Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
                Err(cause) => return Err(failed(self.to.url(), cause)),
            }
        }
        Ok(())
    }
}

fn failed(name: &str, cause: object_store::Error) -> ExchangeError {
    ExchangeError::Publish { file: name.into(), cause }
}
