//! From a plan to an opened lane and the work that is left: genesis if there is none, the open, the replay, the comparison
//! of the source with what was pinned, the sweep. In this order, so that whatever is decided or deleted is decided by
//! who holds the lane.

use std::ops::Range;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};
use serde::Serialize;

use super::RunError;
use super::drift::compare;
use crate::commit::LANE;
use crate::commit::{
    self, Close, CommitError, FORMAT, FileEntry, Genesis, Lane, LaneState, Listing, ObjectCoverage, Pinned, Root,
    RootEntry, RowState, SideFile, random_name, read_lane,
};
use crate::filter::{DoneIds, DoneIdsBuilder};
use crate::observe::{Progress, Summary, add};
use crate::plan::Plan;
use crate::sink::Receipt;
use crate::source::{self, Object};

/// Memory for building the id file.
const IDS_MEMORY_BYTES_MAX: usize = 256 << 20;
/// Times that the root is read anew because somebody else appended to it.
const ROOT_ATTEMPTS: usize = 10;

/// What opening a job comes to.
pub(super) enum Opening {
    /// Every row is covered and the lane is closed: nothing is written, not even an open.
    Finished { known_rows: u64, failed_rows: u64 },
    /// The lane is ours.
    Open(Box<(Lane, Job)>),
}

/// What is left to do.
pub(super) struct Job {
    /// The job's random name.
    pub(super) name: String,
    /// Objects with rows to do, or never looked at.
    pub(super) pending: Vec<Pending>,
    /// Ids to ask, if the source was rewritten.
    pub(super) done: Option<DoneIds>,
    /// Rows left out as failed by earlier runs.
    pub(super) failed_before: u64,
    /// Whether a sink file counts already.
    pub(super) has_output: bool,
}

/// An object with rows to do, or never looked at.
pub(super) struct Pending {
    pub(super) object: Object,
    pub(super) covered: Option<ObjectCoverage>,
    /// Whether its rows are in the count of all rows.
    pub(super) is_counted: bool,
}

impl Pending {
    /// The rows of a range that have no state yet.
    pub(super) fn missing(&self, rows: Range<u64>) -> Vec<Range<u64>> {
        match &self.covered {
            Some(covered) => covered.coverage.missing(rows),
            None if rows.is_empty() => Vec::new(),
            None => vec![rows],
        }
    }
}

/// Opens the job.
pub(super) async fn open(plan: &Plan, progress: &Progress) -> Result<Opening, RunError> {
    let root = match &plan.root {
        Some(root) => root.clone(),
        None => begin(plan, Vec::new()).await?,
    };
    if let Some(state) = look(plan, &root).await? {
        count_covered(&state, progress);
        add(&progress.objects, state.objects.len() as u64);
        return Ok(Opening::Finished {
            known_rows: rows(&state, RowState::Known),
            failed_rows: rows(&state, RowState::Failed),
        });
    }
    let mut lane = Lane::open(&plan.checkpoint, LANE, root.last).await?;
    let root = agree(plan).await?;
    let entries = read_lane(&plan.checkpoint, LANE, Some(lane.opened())).await?;
    let (root, pinned, state) = follow_source(plan, &lane, root, &entries).await?;
    lane.follow_root(root.last);
    let listing: Vec<ObjectMeta> = list_sink(plan).await?;
    commit::check_files(&state.files, &listing)?;
    let swept = commit::sweep(&root, LANE, &state, &plan.checkpoint, &plan.sink.store, &listing).await?;
    if swept != commit::Swept::default() {
        tracing::info!(sink_files = swept.sink_files, side_files = swept.side_files, "removed what dead runs left");
    }
    let done = done_ids(plan, &root, &state).await?;
    write_run_file(plan, lane.token(), "plan.json", &plan.fingerprint).await?;
    count_covered(&state, progress);
    add(&progress.objects, pinned.len() as u64);
    let is_counted = count_rows(plan, &pinned, &state, progress);
    let job = Job {
        name: root.genesis.job.clone(),
        failed_before: rows(&state, RowState::Failed),
        has_output: !state.files.is_empty(),
        pending: pending(pinned, state, is_counted),
        done,
    };
    Ok(Opening::Open(Box::new((lane, job))))
}

/// Whether a run of the plan would be refused at its start. Opens nothing, writes nothing.
pub async fn check(plan: &Plan) -> Result<(), RunError> {
    match &plan.root {
        Some(root) => look(plan, root).await.map(drop),
        None => Ok(()),
    }
}

fn count_covered(state: &LaneState, progress: &Progress) {
    add(&progress.rows_skipped, state.objects.values().map(|object| object.coverage.len()).sum());
}

fn rows(state: &LaneState, row_state: RowState) -> u64 {
    state.objects.values().map(|object| object.coverage.count(row_state)).sum()
}

/// Counts the rows of objects as far as they are known without opening one. Answers whether that is all of them.
fn count_rows(plan: &Plan, pinned: &[Pinned], state: &LaneState, progress: &Progress) -> bool {
    let bytes = pinned.iter().map(|pinned| pinned.object.size).sum();
    add(&progress.source_bytes, bytes);
    if let Some(rows) = plan.source.rows.filter(|_| state.objects.is_empty()) {
        add(&progress.counted_bytes, bytes);
        add(&progress.counted_rows, rows);
        return true;
    }
    for Pinned { object, .. } in pinned {
        if let Some(covered) = state.objects.get(object.path.as_ref()) {
            add(&progress.counted_bytes, object.size);
            add(&progress.counted_rows, covered.rows);
        }
    }
    false
}

fn pending(pinned: Listing, mut state: LaneState, all_counted: bool) -> Vec<Pending> {
    let with_coverage = |Pinned { object, .. }| {
        let covered = state.objects.remove(object.path.as_ref());
        let is_counted = all_counted || covered.is_some();
        Pending { object, covered, is_counted }
    };
    let is_complete = |pending: &Pending| pending.covered.as_ref().is_some_and(ObjectCoverage::is_complete);
    pinned.into_iter().map(with_coverage).filter(|pending| !is_complete(pending)).collect()
}

/// Makes the job: its genesis, with ids of rows that were done elsewhere.
pub async fn begin(plan: &Plan, imported: Vec<SideFile>) -> Result<Root, RunError> {
    let store = &plan.checkpoint;
    let objects: Vec<Pinned> =
        plan.source.objects.iter().map(|object| Pinned { object: object.clone(), since: 0 }).collect();
    let genesis = Genesis {
        format: FORMAT,
        job: random_name(),
        created_ms: commit::now_ms(),
        lanes: 1,
        ids: plan.ids.as_ref().map(crate::plan::Ids::columns),
        source_schema: commit::schema_to_hex(&plan.source.schema),
        source: plan.source.store.url().into(),
        sink: plan.sink.store.url().into(),
        checkpoint: store.url().into(),
        listing: commit::write_listing(store, &random_name(), &objects).await?,
        imported,
        fingerprint: plan.fingerprint.clone(),
    };
    if !Root::create(store, genesis).await? {
        let message =
            "another run has just begun a job with this checkpoint\nhint: run the same command again to join it";
        return Err(CommitError::Refused(message.into()).into());
    }
    read_root(plan).await
}

async fn read_root(plan: &Plan) -> Result<Root, RunError> {
    let gone = || CommitError::Refused("the checkpoint's root is gone\nhint: nothing was changed; restore it".into());
    Ok(Root::read(&plan.checkpoint).await?.ok_or_else(gone)?)
}

/// Looks at a job that has begun, before its lane is opened: what must be refused is refused without fencing anybody.
/// Gives the state of a job that needs no run: closed as finished, nothing new, nothing to accept.
async fn look(plan: &Plan, root: &Root) -> Result<Option<LaneState>, RunError> {
    if plan.root.is_none() {
        return Ok(None);
    }
    let entries = read_lane(&plan.checkpoint, LANE, None).await?;
    let pinned = root.pinned(&plan.checkpoint).await?;
    let state = LaneState::replay(&plan.checkpoint, &entries, &pinned).await?;
    commit::check_files(&state.files, &list_sink(plan).await?)?;
    let mut drift = compare(&pinned, &plan.source.objects);
    if drift.is_refusable(plan) {
        drift.keep_copies_apart(plan, &state).await?;
        drift.refuse_in_position_mode()?;
    }
    let is_finished = state.closed == Some(Close::Finished)
        && root.fingerprint == plan.fingerprint
        && drift.is_same()
        && pinned.iter().all(|pinned| state.is_complete(&pinned.object.path));
    Ok(is_finished.then_some(state))
}

/// After the open: what the job computes must be what this run computes; an accepted change is recorded.
async fn agree(plan: &Plan) -> Result<Root, RunError> {
    for _ in 0..ROOT_ATTEMPTS {
        let root = read_root(plan).await?;
        if root.fingerprint == plan.fingerprint {
            return Ok(root);
        }
        if !plan.accepts_change {
            let message = "the job was changed by another run just now\nhint: run the same command again to see how";
            return Err(CommitError::Refused(message.into()).into());
        }
        let change = RootEntry::Change { format: FORMAT, fingerprint: plan.fingerprint.clone() };
        root.append(&plan.checkpoint, &change).await?;
    }
    Err(too_busy())
}

fn too_busy() -> RunError {
    let message =
        "others keep appending to the checkpoint's root\nhint: stop the other runs, then run the same command again";
    CommitError::Refused(message.into()).into()
}

/// Compares the source with the pinned listing, and pins what is there now.
async fn follow_source(
    plan: &Plan,
    lane: &Lane,
    mut root: Root,
    entries: &[commit::Logged],
) -> Result<(Root, Listing, LaneState), RunError> {
    for _ in 0..ROOT_ATTEMPTS {
        let pinned = root.pinned(&plan.checkpoint).await?;
        let state = LaneState::replay(&plan.checkpoint, entries, &pinned).await?;
        let objects = source::list(&plan.source.store, &plan.source.pattern).await?;
        let mut drift = compare(&pinned, &objects);
        if drift.is_same() {
            return Ok((root, pinned, state));
        }
        drift.keep_copies_apart(plan, &state).await?;
        if drift.is_refusable(plan) {
            drift.refuse_in_position_mode()?;
        }
        let listing = drift.pin(&pinned, objects, root.last + 1);
        let rewritten = plan.ids.is_some() && drift.is_rewritten();
        if !lane.is_last().await? {
            return Err(CommitError::Fenced { lane: LANE, number: lane.opened() + 1 }.into());
        }
        let entry = RootEntry::Source {
            format: FORMAT,
            listing: commit::write_listing(&plan.checkpoint, lane.token(), &listing).await?,
            rewritten,
        };
        root.append(&plan.checkpoint, &entry).await?;
        root = read_root(plan).await?;
    }
    Err(too_busy())
}

async fn list_sink(plan: &Plan) -> Result<Vec<ObjectMeta>, RunError> {
    let listing = plan.sink.store.objects().list(None).try_collect().await;
    listing.map_err(|cause| CommitError::Store { what: "list", name: "the sink".into(), cause }.into())
}

/// The ids of rows that were done before the source was rewritten, and of those that were done elsewhere before the job
/// began, as a file that is asked. None if there are neither: then coverage says it all.
async fn done_ids(plan: &Plan, root: &Root, state: &LaneState) -> Result<Option<DoneIds>, RunError> {
    let imported = &root.genesis.imported;
    if root.asked_below.is_none() && imported.is_empty() {
        return Ok(None);
    }
    let below = root.asked_below.unwrap_or(0);
    let own = state.ids.iter().filter(|(root, _)| *root < below).map(|(_, file)| file);
    let files: Vec<&SideFile> = imported.iter().chain(own).collect();
    let mut digest = blake3::Hasher::new();
    for file in &files {
        digest.update(file.digest.as_bytes());
    }
    let name = format!("{}-{}.ids", root.genesis.job, &digest.finalize().to_hex()[..32]);
    let folder = plan.cache.join("ids");
    if let Some(done) = DoneIds::find(&folder, &name)? {
        return Ok(Some(done));
    }
    let mut builder = DoneIdsBuilder::new(&folder, &name, IDS_MEMORY_BYTES_MAX)?;
    for file in files {
        for batch in commit::read_ids(&plan.checkpoint, file).await? {
            builder.add(&batch)?;
        }
    }
    Ok(Some(builder.finish()?))
}

/// What a reader of the sink needs: exactly the files that count.
#[derive(Serialize)]
struct Manifest<'a> {
    format: u32,
    job: &'a str,
    rows: u64,
    files: &'a [FileEntry],
}

/// Looks once more, with the eyes of a later run, before the job is called finished: every row covered, every file there.
/// Then writes `_wasmpipe/<job>.json` into the sink.
pub(super) async fn write_manifest(plan: &Plan, job: &Job) -> Result<(), RunError> {
    let root = read_root(plan).await?;
    let entries = read_lane(&plan.checkpoint, LANE, None).await?;
    let pinned = root.pinned(&plan.checkpoint).await?;
    let state = LaneState::replay(&plan.checkpoint, &entries, &pinned).await?;
    if let Some(open) = pinned.iter().find(|pinned| !state.is_complete(&pinned.object.path)) {
        let message = format!(
            "rows of {} are not done although the run came to its end\nhint: run the same command again, it does what is left",
            open.object.path
        );
        return Err(RunError::Failed(message));
    }
    // Not a refusal any more: this run has committed rows.
    let checked = commit::check_files(&state.files, &list_sink(plan).await?);
    checked.map_err(|error| RunError::Failed(error.to_string()))?;
    let rows = state.files.iter().map(|file| file.rows).sum();
    let manifest = Manifest { format: FORMAT, job: &job.name, rows, files: &state.files };
    let name = format!("_wasmpipe/{}.json", job.name);
    put_json(&plan.sink.store, &name, &manifest).await
}

/// Writes `runs/<token>/summary.json`.
pub(super) async fn write_summary(plan: &Plan, summary: &Summary) -> Result<(), RunError> {
    write_run_file(plan, summary.run.as_deref().expect("an opened run has a token"), "summary.json", summary).await
}

async fn write_run_file(plan: &Plan, token: &str, name: &str, value: &impl Serialize) -> Result<(), RunError> {
    put_json(&plan.checkpoint, &format!("runs/{token}/{name}"), value).await
}

async fn put_json(store: &crate::store::Store, name: &str, value: &impl Serialize) -> Result<(), RunError> {
    let bytes = serde_json::to_vec_pretty(value).expect("plain values are JSON");
    let put = store.objects().put(&Path::from(name), bytes.into()).await;
    put.map(drop).map_err(|cause| CommitError::Store { what: "write", name: name.into(), cause }.into())
}

/// A file without rows, so that a job whose every row was dropped still has the output's schema.
pub(super) async fn schema_file(flow_sink: &crate::sink::Sink) -> Result<Receipt, RunError> {
    let empty = flow_sink.file()?.close()?.complete().await?;
    Ok(Receipt { files: vec![empty] })
}
