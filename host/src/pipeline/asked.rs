//! The ids that are asked: those of an import, and those of all lanes once the source was rewritten.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::RecordBatch;
use futures::{StreamExt, TryStreamExt};
use tokio::runtime::Handle;

use super::covered::Lanes;
use super::{RunError, lock};
use crate::commit::{self, Asked, CommitError, IdFile, Known, LaneState, Root, SideFile};
use crate::filter::{DoneIds, DoneIdsBuilder, FilterError};
use crate::plan::Plan;
use crate::store::Store;

/// Memory for building the id file.
const IDS_MEMORY_BYTES_MAX: usize = 256 << 20;

/// The ids of rows that were done before the source was rewritten, in any lane, and of those that were done elsewhere
/// before the job began, as a file that is asked. None if there are neither: then coverage says it all.
pub(super) async fn done_ids(plan: &Plan, root: &Root, opened: &Lanes) -> Result<Option<DoneIds>, RunError> {
    let imported = &root.genesis.imported;
    if root.asked.is_none() && imported.is_empty() {
        return Ok(None);
    }
    let lanes = asked_lanes(plan, root, opened).await?;
    let below = root.asked.as_ref().map_or(0, |asked| asked.below);
    let mut digest = of_imported(imported);
    for state in lanes.states() {
        for (number, _) in state.groups.iter().filter(|(_, group)| group.root < below) {
            digest.update(&state.lane.to_le_bytes()).update(&number.to_le_bytes());
        }
        for ids in &state.ids {
            digest.update(ids.file.digest.as_bytes());
        }
    }
    let (folder, name) = (folder(plan), name(root, &digest));
    if let Some(done) = DoneIds::find(&folder, &name)? {
        return Ok(Some(done));
    }
    let builder = Arc::new(DoneIdsBuilder::new(&folder, &name, IDS_MEMORY_BYTES_MAX)?);
    let of_state = |state: &LaneState| {
        let groups = state.groups.iter().filter(|(_, group)| group.root < below).map(|(number, _)| *number);
        let groups: Arc<BTreeSet<u64>> = Arc::new(groups.collect());
        state.ids.iter().map(|file| Place::Own(file.clone(), Arc::clone(&groups))).collect::<Vec<_>>()
    };
    let files = imported.iter().cloned().map(Place::Import).chain(lanes.states().flat_map(of_state));
    let adds: Vec<_> = files.map(|file| add(plan.checkpoint.clone(), file, Arc::clone(&builder))).collect();
    futures::stream::iter(adds).buffer_unordered(plan.run.readers).try_collect::<()>().await?;
    let builder = Arc::into_inner(builder).expect("all files were added");
    Ok(Some(builder.finish()?))
}

/// Where ids stand.
enum Place {
    Import(SideFile),
    /// The groups that are asked.
    Own(IdFile, Arc<BTreeSet<u64>>),
}

/// To read ids and to add them keeps a processor busy, so it happens on a thread of its own.
async fn add(store: Store, file: Place, builder: Arc<DoneIdsBuilder>) -> Result<(), RunError> {
    let runtime = Handle::current();
    let added = tokio::task::spawn_blocking(move || {
        let batches = runtime.block_on(async {
            match &file {
                Place::Import(file) => commit::read_imported(&store, file).await,
                Place::Own(file, groups) => commit::read_ids(&store, file, |group| groups.contains(&group)).await,
            }
        })?;
        Ok(batches.iter().try_for_each(|batch| builder.add(batch))?)
    });
    added.await.expect("adding ids does not panic")
}

fn folder(plan: &Plan) -> PathBuf {
    plan.cache.join("ids")
}

fn name(root: &Root, digest: &blake3::Hasher) -> String {
    format!("{}-{}.ids", root.genesis.job, &digest.finalize().to_hex()[..32])
}

fn of_imported(imported: &[SideFile]) -> blake3::Hasher {
    let mut digest = blake3::Hasher::new();
    for file in imported {
        digest.update(file.digest.as_bytes());
    }
    digest
}

/// The id file of a job that is yet to begin, made of its imports while they are read: the first run on this host finds it and
/// reads no id again. Nobody needs it, so what goes wrong with it is a warning.
pub struct ImportedIds {
    builder: Result<DoneIdsBuilder, FilterError>,
    failed: Mutex<Option<FilterError>>,
}

impl ImportedIds {
    /// Of the plan's job.
    pub fn new(plan: &Plan) -> ImportedIds {
        // The job has no name yet.
        let builder =
            DoneIdsBuilder::new(&folder(plan), &format!("{}.ids", commit::random_name()), IDS_MEMORY_BYTES_MAX);
        ImportedIds { builder, failed: Mutex::default() }
    }

    /// Adds the ids of a batch; from any thread.
    pub fn add(&self, ids: &RecordBatch) {
        let Ok(builder) = &self.builder else { return };
        if lock(&self.failed).is_some() {
            return;
        }
        if let Err(error) = builder.add(ids) {
            lock(&self.failed).get_or_insert(error);
        }
    }

    /// Keeps the file for the job, which begins with nothing but these ids.
    pub fn keep(self, root: &Root) {
        let kept = match self.failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => {
                let name = name(root, &of_imported(&root.genesis.imported));
                self.builder.and_then(|builder| builder.finish_as(&name).map(drop))
            }
        };
        if let Err(error) = kept {
            tracing::warn!(%error, "the first run builds the id file, since the import could not");
        }
    }
}

/// Lanes whose ids are asked: all of them, once nobody can add to these ids any more; none if the source was never
/// rewritten.
async fn asked_lanes(plan: &Plan, root: &Root, opened: &Lanes) -> Result<Lanes, RunError> {
    let Some(asked) = &root.asked else { return Ok(Lanes::default()) };
    let others = (0..root.genesis.lanes).filter(|lane| opened.state(*lane).is_none());
    let mut lanes = Lanes::read(plan, others.map(|lane| (lane, Known::default(), None))).await?;
    commit::refuse_older_root(&plan.checkpoint, root, lanes.states()).await?;
    if let Some(state) = lanes.states().find(|state| !is_settled(Some(asked), state)) {
        return Err(CommitError::Refused(format!(
            "lane {} is held by a run from before the source was rewritten\n\
             hint: run once without --lane, so that every lane is opened",
            state.lane
        ))
        .into());
    }
    lanes.0.extend(opened.0.clone());
    Ok(lanes)
}

/// Whether no writer from before the source was rewritten can append to the lane any more.
pub(super) fn is_settled(asked: Option<&Asked>, state: &LaneState) -> bool {
    let Some(asked) = asked else { return true };
    let Some((number, open)) = state.last_open() else { return true };
    open.root >= asked.below || asked.opens.get(state.lane as usize) == Some(&number)
}
