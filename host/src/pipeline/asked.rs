//! The ids that are asked: those of an import, and those of all lanes once the source was rewritten.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arrow::array::RecordBatch;
use futures::{StreamExt, TryStreamExt};
use tokio::runtime::Handle;

use super::covered::Lanes;
use super::{Control, RunError, lock};
use crate::commit::{self, Asked, CommitError, IdFile, Known, LaneState, Root, SideFile};
use crate::filter::{DoneIds, DoneIdsBuilder, FilterError, IdCache, IdsName, KEYS_VERSION, Looked};
use crate::message::{Hint, Message};
use crate::plan::Plan;
use crate::store::Store;

/// Between two looks at a file that another process builds.
const LOOK_AGAIN: Duration = Duration::from_millis(50);

/// The ids of rows that were done before the source was rewritten, in any lane, and of those that were done elsewhere
/// before the job began, as a file that is asked. None if there are neither: then coverage says it all.
pub(super) async fn done_ids(
    plan: &Plan,
    root: &Root,
    opened: &Lanes,
    control: &Control,
) -> Result<Option<DoneIds>, RunError> {
    if root.asked.is_none() && root.genesis.imported.is_empty() {
        return Ok(None);
    }
    let lanes = asked_lanes(plan, root, opened).await?;
    let cache = cache(plan).or_else(|error| without_cache(plan, &error))?;
    let mut build = Build {
        checkpoint: plan.checkpoint.clone(),
        cache,
        memory_bytes_max: plan.run.ids_memory_bytes_max as usize,
        readers: plan.run.readers,
        name: IdsName::new(&root.genesis.job, digest(root, &lanes)),
        lists: lists(root, &lanes),
        control: control.clone(),
    };
    let done = match build.ensure().await {
        Err(RunError::Filter(error)) if !build.cache.is_fresh() => {
            build.cache = without_cache(plan, &error)?;
            build.ensure().await?
        }
        ensured => ensured?,
    };
    let (build, runtime) = (Arc::new(build), Handle::current());
    Ok(Some(done.or_rebuild(move || {
        let built = runtime.block_on(build.ensure());
        built.inspect_err(|error| warn(error, "the id file was not built anew")).ok()
    })))
}

fn cache(plan: &Plan) -> Result<IdCache, FilterError> {
    IdCache::open(&plan.cache, plan.cache_ids_bytes_max)
}

/// Only this run has to build the file, and the next one has to build it again.
fn without_cache(plan: &Plan, error: &FilterError) -> Result<IdCache, FilterError> {
    warn(error, "the cache cannot be used: this run builds an id file of its own among the temporary files");
    IdCache::fresh(plan.cache_ids_bytes_max)
}

/// Over everything that the ids come from.
fn digest(root: &Root, lanes: &Lanes) -> blake3::Hash {
    let below = asked_below(root);
    let mut digest = blake3::Hasher::new();
    digest.update(&[KEYS_VERSION]);
    for file in &root.genesis.imported {
        digest.update(file.digest.as_bytes());
    }
    for state in lanes.states() {
        for (number, _) in state.groups.iter().filter(|(_, group)| group.root < below) {
            digest.update(&state.lane.to_le_bytes()).update(&number.to_le_bytes());
        }
        for ids in &state.ids {
            digest.update(ids.file.digest.as_bytes());
        }
    }
    digest.finalize()
}

/// Groups under earlier roots are asked.
fn asked_below(root: &Root) -> u64 {
    root.asked.as_ref().map_or(0, |asked| asked.below)
}

/// Ids beside the log.
#[derive(Clone)]
enum List {
    Imported(SideFile),
    /// Of a lane's groups, of which these are asked.
    Own(IdFile, Arc<BTreeSet<u64>>),
}

fn lists(root: &Root, lanes: &Lanes) -> Vec<List> {
    let below = asked_below(root);
    let mut lists: Vec<List> = root.genesis.imported.iter().cloned().map(List::Imported).collect();
    for state in lanes.states() {
        let asked = state.groups.iter().filter(|(_, group)| group.root < below).map(|(number, _)| *number);
        let asked: Arc<BTreeSet<u64>> = Arc::new(asked.collect());
        lists.extend(state.ids.iter().map(|file| List::Own(file.clone(), Arc::clone(&asked))));
    }
    lists
}

/// How the id file comes to be there, now and once more if it turns out damaged.
struct Build {
    checkpoint: Store,
    cache: IdCache,
    memory_bytes_max: usize,
    /// Lists that are read at once.
    readers: usize,
    name: IdsName,
    lists: Vec<List>,
    control: Control,
}

impl Build {
    /// The file that is there, or a new one, or that of another process which builds it.
    async fn ensure(&self) -> Result<DoneIds, RunError> {
        let mut is_waiting = false;
        loop {
            let process = match self.cache.look(&self.name, self.memory_bytes_max)? {
                Looked::There(done) => return Ok(done),
                Looked::Ours(builder) => return self.build(*builder).await,
                Looked::Awaited { process } => process,
            };
            if !std::mem::replace(&mut is_waiting, true) {
                tracing::info!(process, "waiting for the id file, which another process builds");
            }
            let waited = async {
                tokio::time::sleep(LOOK_AGAIN).await;
                Ok(())
            };
            self.control.unless_stopped("another process built the id file", waited).await?;
        }
    }

    async fn build(&self, builder: DoneIdsBuilder) -> Result<DoneIds, RunError> {
        let builder = Arc::new(builder);
        let adds: Vec<_> = self.lists.iter().map(|list| self.add(list.clone(), Arc::clone(&builder))).collect();
        futures::stream::iter(adds).buffer_unordered(self.readers).try_collect::<()>().await?;
        Ok(Arc::into_inner(builder).expect("all lists were added").finish()?)
    }

    /// To read ids and to add them keeps a processor busy, so it happens on a thread of its own.
    async fn add(&self, list: List, builder: Arc<DoneIdsBuilder>) -> Result<(), RunError> {
        self.control.refuse_if_stopped("it built the id file")?;
        let (runtime, store) = (Handle::current(), self.checkpoint.clone());
        let added = tokio::task::spawn_blocking(move || {
            let batches = runtime.block_on(list.read(&store))?;
            Ok(batches.iter().try_for_each(|batch| builder.add(batch))?)
        });
        added.await.expect("adding ids does not panic")
    }
}

impl List {
    async fn read(&self, store: &Store) -> Result<Vec<RecordBatch>, CommitError> {
        match self {
            List::Imported(file) => commit::read_imported(store, file).await,
            List::Own(file, asked) => commit::read_ids(store, file, |group| asked.contains(&group)).await,
        }
    }
}

/// The id file of a job that is yet to begin, made of its imports while they are read: the first run on this host finds it and
/// reads no id again. Nobody needs it, so what goes wrong with it is a warning.
pub struct ImportedIds {
    /// None if another process makes a file of the same name, which a random one never is.
    builder: Result<Option<Box<DoneIdsBuilder>>, FilterError>,
    failed: Mutex<Option<FilterError>>,
}

impl ImportedIds {
    /// Of the plan's job.
    pub fn new(plan: &Plan) -> ImportedIds {
        // Until the job has a name.
        let name = IdsName::new(&commit::random_name(), blake3::hash(b"import"));
        let looked = cache(plan).and_then(|cache| cache.look(&name, plan.run.ids_memory_bytes_max as usize));
        let builder = looked.map(|looked| match looked {
            Looked::Ours(builder) => Some(builder),
            Looked::There(_) | Looked::Awaited { .. } => None,
        });
        ImportedIds { builder, failed: Mutex::default() }
    }

    /// Adds the ids of a batch; from any thread.
    pub fn add(&self, ids: &RecordBatch) {
        let Ok(Some(builder)) = &self.builder else { return };
        if lock(&self.failed).is_some() {
            return;
        }
        if let Err(error) = builder.add(ids) {
            lock(&self.failed).get_or_insert(error);
        }
    }

    /// Keeps the file for the job, which begins with nothing but these ids.
    pub fn keep(self, root: &Root) {
        let name = IdsName::new(&root.genesis.job, digest(root, &Lanes::default()));
        if let Err(error) = self.finish(&name) {
            warn(&error, "the first run builds the id file, since the import could not");
        }
    }

    fn finish(self, name: &IdsName) -> Result<(), FilterError> {
        if let Some(error) = self.failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        let Some(mut builder) = self.builder? else { return Ok(()) };
        builder.rename(name);
        builder.finish().map(drop)
    }
}

/// With its causes.
fn warn(error: &impl Hint, what: &str) {
    tracing::warn!(error = Message::of(error).line(), "{what}");
}

/// Lanes whose ids are asked: all of them, once nobody can add to these ids any more; none if the source was never
/// rewritten.
async fn asked_lanes(plan: &Plan, root: &Root, opened: &Lanes) -> Result<Lanes, RunError> {
    let Some(asked) = &root.asked else { return Ok(Lanes::default()) };
    let others = (0..root.genesis.lanes).filter(|lane| opened.state(*lane).is_none());
    let mut lanes = Lanes::read(plan, root, others.map(|lane| (lane, Known::default(), None))).await?;
    commit::refuse_older_root(&plan.checkpoint, root, lanes.states()).await?;
    if let Some(state) = lanes.states().find(|state| !is_settled(Some(asked), state)) {
        return Err(CommitError::refused(
            format!("lane {} is held by a run from before the source was rewritten", state.lane),
            "run once without --lane, so that every lane is opened",
        )
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
