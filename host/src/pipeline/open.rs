//! From a plan to opened lanes and the work that is left: genesis if there is none, the opens, the replay, the comparison
//! of the source with what was pinned, the sweep. In this order, so that whatever is decided or deleted is decided by
//! who holds the lanes.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};

use super::asked::done_ids;
use super::beating::Beating;
use super::covered::{Covered, Lanes};
use super::drift::compare;
use super::finish::{complete_job, delete_if_wanted};
use super::look::{list_sink, look};
use super::record::write_run_file;
use super::{Control, RunError};
use crate::commit::{
    self, CommitError, FileEntry, Genesis, Group, Heartbeat, Lane, LaneLog, LaneState, Listing, ObjectCoverage, Pinned,
    Root, RootEntry, RowState, SideFile, Writer, piece_bytes, random_name,
};
use crate::filter::DoneIds;
use crate::observe::{Kept, Progress, add};
use crate::plan::Plan;
use crate::sink::Receipt;
use crate::source::{self, Object};

/// Times that the root is read anew because somebody else appended to it.
const ROOT_ATTEMPTS: usize = 10;
/// Lanes that are opened at once.
const LANES_AT_ONCE: usize = 16;

/// The number of the group that names contents which came back. Groups of rows come after it.
pub(super) const RETURNED_GROUP: u64 = 0;

/// What opening a job comes to.
pub(super) enum Opening {
    /// Every row is covered and the lanes are closed: nothing is written, not even an open.
    Finished { known_rows: u64, failed_rows: u64, dead_rows: u64, kept: Kept, is_whole_job: bool },
    /// The lanes are ours.
    Open(Box<Opened>),
}

/// Lanes that this process holds, and what is to do in them.
pub(super) struct Opened {
    pub(super) lanes: Vec<Lane>,
    /// The first lane that another run has opened meanwhile, and where.
    pub(super) lost: Option<(u32, u64)>,
    pub(super) job: Job,
    pub(super) writer: Writer,
    /// Since before any lane was opened: to open a job can take long.
    pub(super) beating: Option<Beating>,
    /// What the lanes held when they were opened, so that nobody reads it again at the end.
    pub(super) known: Logs,
}

/// Lanes' entries, as far as they were read.
pub(super) type Logs = BTreeMap<u32, LaneLog>;

/// What is left to do.
pub(super) struct Job {
    /// The job's random name.
    pub(super) name: String,
    /// Pieces of objects with rows to do, or never looked at; by lane.
    pub(super) pending: Vec<Pending>,
    /// Ids to ask, if the source was rewritten.
    pub(super) done: Option<DoneIds>,
    /// Rows left out as failed by earlier runs.
    pub(super) failed_before: u64,
    /// Rows kept as dead letters by earlier runs.
    pub(super) dead_before: u64,
    /// Rows that were done before the job was changed.
    pub(super) kept: Kept,
    /// Lanes in which a sink file counts already.
    pub(super) with_output: Vec<u32>,
    /// How objects are cut.
    pub(super) split_bytes: u64,
    /// The root that this run works under, and its listing.
    pub(super) root: Root,
    pub(super) pinned: Listing,
}

/// A piece of an object with rows to do, or never looked at.
pub(super) struct Pending {
    pub(super) object: Object,
    pub(super) piece: u32,
    pub(super) lane: u32,
    pub(super) covered: Option<ObjectCoverage>,
    /// Whether its rows are in the count of all rows.
    pub(super) is_counted: bool,
    /// How often rows of it were tried in vain before, by row; absent is never, as far as is known.
    pub(super) attempts_before: Arc<HashMap<u64, u32>>,
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
pub(super) async fn open(plan: &Plan, progress: &Progress, control: &Control) -> Result<Opening, RunError> {
    let root = match &plan.root {
        Some(root) => root.clone(),
        None => begin(plan, Vec::new()).await?,
    };
    let wanted = plan.lanes.choose(root.genesis.lanes).map_err(CommitError::Refused)?;
    let looked = look(plan, &root, &wanted).await?;
    if let Some(covered) = looked.finished {
        add(&progress.rows_skipped, covered.all_rows());
        add(&progress.objects, covered.pieces.len() as u64);
        let kept = covered.kept(&root, &looked.lanes);
        let complete = complete_job(plan, looked.lanes).await?;
        if let Some(complete) = &complete {
            delete_if_wanted(plan, complete).await?;
        }
        return Ok(Opening::Finished {
            known_rows: covered.rows(RowState::Known),
            failed_rows: covered.rows(RowState::Failed),
            dead_rows: covered.rows(RowState::DeadLettered),
            kept,
            is_whole_job: complete.is_some(),
        });
    }
    let writer = Writer::new();
    let dead = match plan.take_over {
        true => Vec::new(),
        false => refuse_if_alive(plan, &looked.lanes, &looked.needed, &writer).await?,
    };
    let beating = match plan.is_durable {
        true => {
            let heartbeat = Heartbeat::start(&plan.checkpoint, &writer, plan.heartbeat).await?;
            Some(Beating::start(heartbeat, writer.clone(), control))
        }
        false => None,
    };
    let opened = relocate_if_moved(plan).await;
    let opened = match opened {
        Ok(()) => {
            open_lanes(plan, (progress, control), &writer, looked.needed, looked.lanes).await.map_err(after_opening)
        }
        Err(error) => Err(error),
    };
    match opened {
        Ok((lanes, lost, job, known)) => {
            commit::forget_dead(&plan.checkpoint, &dead).await?;
            Ok(Opening::Open(Box::new(Opened { lanes, lost, job, writer, beating, known })))
        }
        Err(error) => {
            if let Some(beating) = beating {
                beating.end().await;
            }
            Err(error)
        }
    }
}

/// A refusal changes nothing; this run has opened lanes.
fn after_opening(error: RunError) -> RunError {
    match error {
        RunError::Commit(CommitError::Refused(message)) => RunError::Failed(message),
        other => other,
    }
}

/// The names of runs that are dead.
async fn refuse_if_alive(
    plan: &Plan,
    lanes: &Lanes,
    needed: &[u32],
    writer: &Writer,
) -> Result<Vec<String>, CommitError> {
    let states = needed.iter().filter_map(|lane| lanes.state(*lane));
    commit::refuse_if_alive(&plan.checkpoint, states, writer).await
}

async fn open_lanes(
    plan: &Plan,
    (progress, control): (&Progress, &Control),
    writer: &Writer,
    needed: Vec<u32>,
    known: Lanes,
) -> Result<(Vec<Lane>, Option<(u32, u64)>, Job, Logs), RunError> {
    let store = &plan.checkpoint;
    let opens: Vec<_> =
        needed.iter().map(|&lane| Lane::open(store, lane, writer, async || Root::last_link(store).await)).collect();
    let mut opened: Vec<Lane> = futures::stream::iter(opens).buffered(LANES_AT_ONCE).try_collect().await?;
    let root = match agree(plan).await {
        Err(error) => return Err(leave_deleted(plan, opened, error).await),
        Ok(root) => root,
    };
    let looked: HashMap<u32, Option<u64>> = known.states().map(|state| (state.lane, state.last)).collect();
    let (lanes, lost) = known.read_again(plan, &root, &mut opened).await?;
    let (root, pinned) = follow_source(plan, &opened, root, &lanes).await?;
    for lane in &mut opened {
        lane.follow_root(root.link());
        let compacted = lanes.state(lane.number()).and_then(|state| state.compacted);
        lane.follow_compaction(compacted.unwrap_or(0));
    }
    // The look has checked the others.
    let since = |state: &LaneState| looked.get(&state.lane).copied().flatten().map_or(0, |last| last + 1);
    let fresh: Vec<&FileEntry> = lanes.states().flat_map(|state| state.files_since(since(state))).collect();
    if !fresh.is_empty() {
        commit::check_files(fresh, &list_sink(plan).await?)?;
    }
    let all: Vec<_> = lanes.0.values().collect();
    let names = commit::sink_names(&plan.sink.store).await;
    let names = names.map_err(|cause| CommitError::Store { what: "list", name: "the sink".into(), cause })?;
    let swept = commit::sweep(&root, &all, store, &plan.sink.store, &names).await?;
    if swept != commit::Swept::default() {
        tracing::info!(sink_files = swept.sink_files, side_files = swept.side_files, "removed what dead runs left");
    }
    let done = done_ids(plan, &root, &lanes, control).await?;
    write_run_file(plan, &writer.run, "plan.json", &plan.fingerprint).await?;
    let covered = Covered::of(plan, &root, &pinned, &lanes, plan.failed()).await?;
    name_returned(&mut opened, &covered).await?;
    let attempts = attempts(plan, &lanes, &pinned).await?;
    add(&progress.rows_skipped, covered.all_rows());
    add(&progress.objects, covered.pieces.len() as u64);
    let with_output = lanes.states().filter(|state| state.files().next().is_some()).map(|state| state.lane).collect();
    let job = Job {
        name: root.genesis.job.clone(),
        failed_before: covered.rows(RowState::Failed),
        dead_before: covered.rows(RowState::DeadLettered),
        kept: covered.kept(&root, &lanes),
        with_output,
        split_bytes: root.genesis.split_bytes,
        pending: pending(plan, covered, &attempts, root.genesis.split_bytes, progress),
        done,
        root,
        pinned,
    };
    let logs = lanes.0.into_iter().map(|(lane, (log, _))| (lane, log)).collect();
    Ok((opened, lost, job, logs))
}

/// The job was finished by another run, and its checkpoint is being deleted, or has just been: nothing of this run may stay
/// behind, where it would look like a log without a root.
async fn leave_deleted(plan: &Plan, opened: Vec<Lane>, error: RunError) -> RunError {
    let store = &plan.checkpoint;
    if matches!(error, RunError::Commit(CommitError::Deleted)) {
        return commit::delete_all(store).await.map_or_else(Into::into, |()| error);
    }
    if matches!(Root::is_gone(store).await, Ok(true)) {
        for lane in opened {
            if let Err(error) = lane.retract().await {
                return error.into();
            }
        }
    }
    error
}

/// Objects that have an earlier content again are known by its digest. Their lanes say so under this root entry, so that
/// nobody has to ask the digest again.
async fn name_returned(opened: &mut [Lane], covered: &Covered) -> Result<(), CommitError> {
    for lane in opened {
        let mut group = Group::new(RETURNED_GROUP);
        for (pinned, piece, _, content) in covered.pieces.iter().filter(|(.., number, _)| *number == lane.number()) {
            if let Some(content) = content.as_ref().filter(|content| content.root < pinned.since) {
                group.name_object(&pinned.object.path, *piece, || content.without_rows());
            }
        }
        if !group.objects.is_empty() {
            lane.commit(group, None, Receipt::default()).await?;
        }
    }
    Ok(())
}

/// How often rows that failed were tried, by object and row.
type Attempts = HashMap<String, Arc<HashMap<u64, u32>>>;

/// Only who does such rows again needs to know.
async fn attempts(plan: &Plan, lanes: &Lanes, listing: &[Pinned]) -> Result<Attempts, CommitError> {
    let mut all: HashMap<String, HashMap<u64, u32>> = HashMap::new();
    for state in lanes.states().filter(|_| plan.retry_failed) {
        for (path, rows) in commit::attempts(&plan.sink.store, &state.of_listing(listing)?).await? {
            all.entry(path).or_default().extend(rows);
        }
    }
    Ok(all.into_iter().map(|(path, rows)| (path, Arc::new(rows))).collect())
}

/// The work that is left, by lane; and how many rows it has as far as that is known without opening an object.
fn pending(plan: &Plan, covered: Covered, attempts: &Attempts, split_bytes: u64, progress: &Progress) -> Vec<Pending> {
    let bytes_of = |object: &Object, piece: u32| piece_bytes(object.size, piece, split_bytes);
    let bytes: u64 = covered.pieces.iter().map(|(pinned, piece, ..)| bytes_of(&pinned.object, *piece)).sum();
    add(&progress.source_bytes, bytes);
    let is_whole = covered.pieces.len() == plan.source.objects.len() && covered.coverages().next().is_none();
    let rows = plan.source.rows.filter(|_| is_whole);
    if let Some(rows) = rows {
        add(&progress.counted_bytes, bytes);
        add(&progress.counted_rows, rows);
    }
    let mut pending = Vec::new();
    for (Pinned { object, .. }, piece, lane, covered) in covered.pieces {
        if let Some(covered) = covered.as_ref().filter(|_| rows.is_none()) {
            add(&progress.counted_bytes, bytes_of(&object, piece));
            add(&progress.counted_rows, covered.own_rows());
        }
        let is_counted = rows.is_some() || covered.is_some();
        if !covered.as_ref().is_some_and(ObjectCoverage::is_complete) {
            let attempts_before = attempts.get(object.path.as_ref()).cloned().unwrap_or_default();
            pending.push(Pending { object, piece, lane, covered, is_counted, attempts_before });
        }
    }
    pending.sort_by_key(|pending| pending.lane);
    pending
}

/// Makes the job: its genesis, with ids of rows that were done elsewhere.
pub async fn begin(plan: &Plan, imported: Vec<SideFile>) -> Result<Root, RunError> {
    let (store, has_imports) = (&plan.checkpoint, !imported.is_empty());
    let objects: Vec<Pinned> =
        plan.source.objects.iter().map(|object| Pinned { object: object.clone(), since: 0 }).collect();
    let genesis = Genesis {
        job: random_name(),
        created_ms: commit::now_ms(),
        lanes: plan.genesis.lanes,
        split_bytes: plan.genesis.split_bytes,
        ids: plan.ids.as_ref().map(crate::plan::Ids::columns),
        source_schema: commit::schema_to_hex(&plan.source.schema),
        source: plan.source.store.url().into(),
        sink: plan.sink.store.url().into(),
        checkpoint: store.url().into(),
        listing: commit::write_listing(store, &random_name(), &objects).await?,
        imported,
        fingerprint: plan.fingerprint.clone(),
    };
    // If another run was faster, this one joins its job, if that is the same one.
    let is_first = Root::create(store, genesis).await?;
    let root = read_root(plan).await?;
    if !is_first && (has_imports || root.fingerprint != plan.fingerprint || root.places != plan.places()) {
        let message = "another run has just begun a job with this checkpoint\nhint: run the same command again to see how it differs";
        return Err(CommitError::Refused(message.into()).into());
    }
    Ok(root)
}

async fn read_root(plan: &Plan) -> Result<Root, RunError> {
    Ok(Root::read(&plan.checkpoint).await?.ok_or_else(CommitError::root_is_gone)?)
}

/// After the opens: what the job computes must be what this run computes; an accepted change is recorded.
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
        let change = RootEntry::Change { fingerprint: plan.fingerprint.clone() };
        root.append(&plan.checkpoint, &change).await?;
    }
    Err(too_busy())
}

/// Before the opens, so that what this run opens is known to be of the new place. The look has checked that every named
/// file is there.
async fn relocate_if_moved(plan: &Plan) -> Result<(), RunError> {
    for _ in 0..ROOT_ATTEMPTS {
        let root = read_root(plan).await?;
        let commit::Places { source, sink, checkpoint } = plan.places();
        if root.places == plan.places() || !plan.is_durable {
            return Ok(());
        }
        // What was asked for when the plan was made is a move from where the job was then.
        if !plan.relocate || plan.root.as_ref().is_some_and(|planned| planned.places != root.places) {
            let message =
                "the job was moved by another run just now\nhint: run the same command again to see where it is";
            return Err(CommitError::Refused(message.into()).into());
        }
        let entry = RootEntry::Relocate { source, sink, checkpoint };
        root.append(&plan.checkpoint, &entry).await?;
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
    opened: &[Lane],
    mut root: Root,
    lanes: &Lanes,
) -> Result<(Root, Listing), RunError> {
    for _ in 0..ROOT_ATTEMPTS {
        let pinned = root.pinned(&plan.checkpoint).await?;
        let objects = source::list(&plan.source.store, &plan.source.pattern).await?;
        let mut drift = compare(&pinned, &objects);
        if drift.is_same() {
            return Ok((root, pinned));
        }
        let is_all = opened.len() == root.genesis.lanes as usize;
        drift.refuse_for_some_lanes(is_all)?;
        drift.keep_copies_apart(plan, &pinned, |pinned| lanes.content(pinned)).await?;
        if drift.is_refusable(plan) {
            drift.refuse_in_position_mode()?;
        }
        let listing = drift.pin(&pinned, objects, root.last + 1);
        let rewritten = plan.ids.is_some() && drift.is_rewritten();
        for lane in opened {
            if lane.is_taken().await? {
                return Err(lane.fenced().into());
            }
        }
        // Not under this run's token: no opening of a lane keeps it from appending to the root, however late it is.
        let entry = RootEntry::Source {
            listing: commit::write_listing(&plan.checkpoint, &random_name(), &listing).await?,
            rewritten,
            opens: rewritten.then(|| opened.iter().map(Lane::opened).collect()),
        };
        root.append(&plan.checkpoint, &entry).await?;
        root = read_root(plan).await?;
    }
    Err(too_busy())
}
