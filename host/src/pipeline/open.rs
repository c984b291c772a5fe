//! From a plan to opened lanes and the work that is left: genesis if there is none, the opens, the replay, the comparison
//! of the source with what was pinned, the sweep. In this order, so that whatever is decided or deleted is decided by
//! who holds the lanes.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::{Arc, Mutex};

use futures::StreamExt;

use super::asked::done_ids;
use super::beating::{self, Beating};
use super::covered::{Covered, Lanes};
use super::drift::compare;
use super::elsewhere;
use super::finish::{complete_job, delete_if_wanted};
use super::look::{Looked, list_sink, look};
use super::marks::Marks;
use super::record::write_run_file;
use super::{Control, RunError, marks};
use crate::commit::{
    self, AliveInSink, Claimant, Claimed, Close, CommitError, FileEntry, Genesis, Group, Heartbeat, Lane, LaneLog,
    LaneState, Listing, Manifest, ObjectCoverage, Pinned, Root, RootEntry, RowState, SideFile, Standing, Writer,
    piece_bytes, random_name,
};
use crate::filter::DoneIds;
use crate::message::Message;
use crate::observe::{Kept, Progress, add};
use crate::plan::Plan;
use crate::sink::{Layout, OutputKind};
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
    Finished { job: String, known_rows: u64, failed_rows: u64, dead_rows: u64, kept: Kept, is_whole_job: bool },
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
    /// That a job without a checkpoint lives.
    pub(super) alive: Option<AliveInSink>,
}

/// Lanes' entries, as far as they were read.
pub(super) type Logs = BTreeMap<u32, LaneLog>;

/// What is left to do.
pub(super) struct Job {
    /// The job's random name.
    pub(super) name: String,
    /// Number of its claim of the sink.
    pub(super) claim: u64,
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
    /// Objects that are not through yet, where such as are get a mark.
    pub(super) marks: Option<Mutex<Marks>>,
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

/// Opens the job. A request to stop is heard at any moment, and what was opened by then is closed again.
pub(super) async fn open(plan: &Plan, progress: &Progress, control: &Control) -> Result<Opening, RunError> {
    if let Some(manifest) = &plan.finished_before {
        return Ok(finished_before(manifest, progress));
    }
    if let Some(given_up) = &plan.given_up {
        commit::give_up(&plan.checkpoint, &plan.sink.store, given_up, plan.take_over).await?;
    }
    let (claiming, looked) = control.unless_stopped("it looked at the job", begin_or_join(plan)).await?;
    let claimant = &claiming.claimant;
    let alive = if plan.is_durable { None } else { AliveInSink::hold(&plan.sink.store, &claimant.job) };
    let opened = match looked.finished {
        Some(covered) => {
            let finish = finish(plan, &claiming, looked.lanes, covered, progress);
            control.unless_stopped("it looked at the finished job", finish).await
        }
        None => claim_and_open(plan, (progress, control), &claiming, looked).await,
    };
    match opened {
        Ok(Opening::Open(mut opened)) => {
            opened.alive = alive;
            Ok(Opening::Open(opened))
        }
        Err(error) => {
            release(plan, claimant).await;
            Err(error)
        }
        finished => finished,
    }
}

/// What the claims in the sink are asked for this run's job.
pub(super) fn claimant(plan: &Plan, job: &str) -> Claimant {
    let (place, shared) = (commit::Place::of(&plan.checkpoint), plan.shared);
    Claimant { job: job.into(), place, shared, is_moved: plan.relocate }
}

/// What it takes to claim the sink.
struct Claiming {
    root: Root,
    claimant: Claimant,
    standing: Standing,
}

/// The job, and a look at it, or why this run is refused. Nobody is fenced, and the sink is not written.
async fn begin_or_join(plan: &Plan) -> Result<(Claiming, Looked), RunError> {
    let root = match &plan.root {
        Some(root) => root.clone(),
        None => begin(plan, Imports::default()).await?,
    };
    let claimant = claimant(plan, &root.genesis.job);
    let stand = match commit::standing(&plan.sink.store, &claimant).await {
        Ok(stand) => stand,
        Err(error) => return Err(leave_unclaimed(plan, &root, &claimant, error).await),
    };
    let wanted = plan.lanes.choose(root.genesis.lanes).map_err(CommitError::Refused)?;
    let looked = look(plan, &root, &stand, &wanted).await?;
    Ok((Claiming { root, claimant, standing: stand.standing }, looked))
}

impl Claiming {
    /// The job's claim, which is made if there is none.
    async fn claim(&self, plan: &Plan) -> Result<Claimed, RunError> {
        let sink = &plan.sink.store;
        match commit::claim(sink, &self.claimant, self.standing).await {
            Ok(claim) => {
                commit::sweep_claims(sink, claim.number).await?;
                commit::note_layout(sink, &self.root).await?;
                Ok(claim)
            }
            Err(error) => Err(leave_unclaimed(plan, &self.root, &self.claimant, error).await),
        }
    }
}

/// Another job has the sink. A genesis that nothing has followed yet would only bind this checkpoint to a sink that the job
/// cannot have, so it goes again.
async fn leave_unclaimed(plan: &Plan, root: &Root, claimant: &Claimant, error: CommitError) -> RunError {
    let is_untouched = root.last == 0 && !root.genesis.has_imports() && plan.is_durable;
    if is_untouched && matches!(commit::is_taken_for_good(&plan.sink.store, claimant).await, Ok(true)) {
        // What fails here is left for a person, who reads why the run was refused.
        let _ = commit::delete_untouched(&plan.checkpoint, root).await;
    }
    error.into()
}

/// A job without a checkpoint that has written nothing keeps nobody out of the sink.
pub(super) async fn release(plan: &Plan, claimant: &Claimant) {
    if plan.is_durable {
        return;
    }
    if let Err(error) = commit::release(&plan.sink.store, claimant).await {
        tracing::warn!(error = %Message::brief(&error).line(), "the claim of the sink was not taken back");
    }
}

fn finished_before(manifest: &Manifest, progress: &Progress) -> Opening {
    let rows = manifest.source_rows.unwrap_or_default();
    add(&progress.rows_skipped, rows.all);
    Opening::Finished {
        job: manifest.job.clone(),
        known_rows: rows.known,
        failed_rows: rows.failed,
        dead_rows: rows.dead_lettered,
        kept: Kept::default(),
        is_whole_job: true,
    }
}

/// Every row of the lanes is covered.
async fn finish(
    plan: &Plan,
    claiming: &Claiming,
    lanes: Lanes,
    covered: Covered,
    progress: &Progress,
) -> Result<Opening, RunError> {
    let claim = claiming.claim(plan).await?;
    add(&progress.rows_skipped, covered.all_rows());
    add(&progress.objects, covered.pieces.len() as u64);
    let kept = covered.kept(&claiming.root, &lanes);
    keep_marks(plan, &claiming.root, &covered, &lanes).await?;
    let complete = complete_job(plan, claim.number, lanes).await?;
    if let Some(complete) = &complete {
        delete_if_wanted(plan, complete).await?;
    }
    Ok(Opening::Finished {
        job: claiming.claimant.job.clone(),
        known_rows: covered.rows(RowState::Known),
        failed_rows: covered.rows(RowState::Failed),
        dead_rows: covered.rows(RowState::DeadLettered),
        kept,
        is_whole_job: complete.is_some(),
    })
}

async fn claim_and_open(
    plan: &Plan,
    (progress, control): (&Progress, &Control),
    claiming: &Claiming,
    looked: Looked,
) -> Result<Opening, RunError> {
    let writer = Writer::new();
    let dead = match plan.take_over {
        true => Vec::new(),
        false => {
            let waited = async { Ok(refuse_if_alive(plan, &looked.lanes, &looked.needed, &writer).await?) };
            control.unless_stopped("it waited for the heartbeat of another run", waited).await?
        }
    };
    control.refuse_if_stopped("it waited to claim the sink")?;
    // To its end: a claim that is on its way cannot be taken back.
    let claim = claiming.claim(plan).await?;
    control.refuse_if_stopped("it claimed the sink")?;
    let beating = match plan.is_durable {
        true => {
            let heartbeat = Heartbeat::start(&plan.checkpoint, &writer, plan.heartbeat).await?;
            let (sink, claimant) = (plan.sink.store.clone(), claiming.claimant.clone());
            let claim = beating::SinkClaim { sink, claimant, number: claim.number };
            Some(Beating::start(heartbeat, writer.clone(), control, claim))
        }
        false => None,
    };
    let opened = match relocate_if_moved(plan).await {
        Ok(()) => open_lanes(plan, (progress, control), &writer, looked, (&claiming.claimant, claim)).await,
        Err(error) => Err(error),
    };
    match opened {
        Ok((lanes, lost, job, known)) => {
            commit::forget_dead(&plan.checkpoint, &dead).await?;
            Ok(Opening::Open(Box::new(Opened { lanes, lost, job, writer, beating, known, alive: None })))
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
    looked: Looked,
    (claimant, claim): (&Claimant, Claimed),
) -> Result<(Vec<Lane>, Option<(u32, u64)>, Job, Logs), RunError> {
    let mut opened = Vec::new();
    let read = match open_all(plan, control, writer, &looked.needed, &mut opened).await {
        Ok(()) => {
            let read = read_log(plan, control, writer, looked.lanes, (claimant, claim), &mut opened);
            control.unless_stopped("it read the log", read).await
        }
        Err(error) => Err(error),
    };
    let mut read = match read {
        Ok(read) => read,
        Err(error) => {
            if matches!(error, RunError::Interrupted(_)) {
                close_all(opened).await;
            }
            return Err(after_opening(error));
        }
    };
    elsewhere::cover(plan, &read.root, &mut opened, &mut read.covered).await.map_err(after_opening)?;
    name_returned(&mut opened, &read.covered).await.map_err(|error| after_opening(error.into()))?;
    add(&progress.rows_skipped, read.covered.all_rows());
    add(&progress.objects, read.covered.pieces.len() as u64);
    let states = read.lanes.states();
    let with_output =
        states.filter(|state| state.files_of(OutputKind::Results).next().is_some()).map(|state| state.lane).collect();
    let split_bytes = read.root.genesis.split_bytes;
    let job = Job {
        name: read.root.genesis.job.clone(),
        claim: claim.number,
        failed_before: read.covered.rows(RowState::Failed),
        dead_before: read.covered.rows(RowState::DeadLettered),
        kept: read.covered.kept(&read.root, &read.lanes),
        with_output,
        split_bytes,
        marks: Marks::of(&read.root, &read.covered, &read.lanes).map(Mutex::new),
        pending: pending(plan, read.covered, &read.attempts, split_bytes, progress),
        done: read.done,
        root: read.root,
        pinned: read.pinned,
    };
    let logs = read.lanes.0.into_iter().map(|(lane, (log, _))| (lane, log)).collect();
    Ok((opened, read.lost, job, logs))
}

/// Opens lanes. `opened` gets those that this run holds, however it ends.
async fn open_all(
    plan: &Plan,
    control: &Control,
    writer: &Writer,
    needed: &[u32],
    opened: &mut Vec<Lane>,
) -> Result<(), RunError> {
    let store = &plan.checkpoint;
    let open = async |lane: u32| {
        control.refuse_if_stopped("it opened lanes")?;
        Ok::<_, RunError>(Lane::open(store, lane, writer, async || Root::last_link(store).await).await?)
    };
    let opens: Vec<_> = needed.iter().map(|&lane| open(lane)).collect();
    let mut opens = futures::stream::iter(opens).buffered(LANES_AT_ONCE);
    let mut stopped = Ok(());
    while let Some(lane) = opens.next().await {
        match lane {
            Ok(lane) => opened.push(lane),
            // Those that are on their way come to their end.
            Err(error @ RunError::Interrupted(_)) => stopped = Err(error),
            Err(error) => return Err(error),
        }
    }
    stopped
}

async fn close_all(opened: Vec<Lane>) {
    for lane in opened {
        let number = lane.number();
        if let Err(error) = lane.close(Close::Stopped).await {
            tracing::warn!(lane = number, error = %Message::brief(&error).line(), "a lane was not closed");
        }
    }
}

/// What the opened lanes say, and how the source compares with that.
struct Read {
    lanes: Lanes,
    lost: Option<(u32, u64)>,
    root: Root,
    pinned: Listing,
    done: Option<DoneIds>,
    covered: Covered,
    attempts: Attempts,
}

/// Appends nothing to a lane, so that it can be given up at any moment.
async fn read_log(
    plan: &Plan,
    control: &Control,
    writer: &Writer,
    known: Lanes,
    (claimant, claim): (&Claimant, Claimed),
    opened: &mut Vec<Lane>,
) -> Result<Read, RunError> {
    let store = &plan.checkpoint;
    let root = match agree(plan, &claimant.job).await {
        Err(error) => return Err(leave_deleted(plan, std::mem::take(opened), error).await),
        Ok(root) => root,
    };
    let looked: HashMap<u32, Option<u64>> = known.states().map(|state| (state.lane, state.last)).collect();
    let (lanes, lost) = known.read_again(plan, &root, opened).await?;
    let (root, pinned) = follow_source(plan, opened, root, &lanes).await?;
    for lane in opened.iter_mut() {
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
    if claim.is_elsewhere {
        refuse_beside_copy(plan, &root, (claimant, claim.number), &writer.run, &lanes).await?;
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
    keep_marks(plan, &root, &covered, &lanes).await?;
    let attempts = attempts(plan, &lanes, &pinned).await?;
    Ok(Read { lanes, lost, root, pinned, done, covered, attempts })
}

async fn keep_marks(plan: &Plan, root: &Root, covered: &Covered, lanes: &Lanes) -> Result<(), RunError> {
    if root.genesis.layout == Layout::Mirror {
        marks::keep(plan, root, covered, lanes, &list_sink(plan).await?).await?;
    }
    Ok(())
}

/// Before a run on another machine than the one before it removes anything: if this log is a copy, the original says so by now, or
/// finds this run when it comes to its end.
async fn refuse_beside_copy(
    plan: &Plan,
    root: &Root,
    (claimant, claim): (&Claimant, u64),
    run: &str,
    lanes: &Lanes,
) -> Result<(), RunError> {
    let sink = &plan.sink.store;
    commit::note_machine(sink, claimant, run).await?;
    let looked = async {
        commit::refuse_older_than_manifest(sink, &plan.checkpoint, root).await?;
        // Who holds some lanes only does not know who has opened the others.
        match lanes.0.len() == root.genesis.lanes as usize {
            true => commit::refuse_if_gone_on(sink, &claimant.job, (claim, run), lanes.states()).await,
            false => Ok(()),
        }
    };
    let looked = looked.await;
    if matches!(looked, Err(CommitError::Refused(_))) {
        commit::note_left(sink, claimant, run).await?;
    }
    looked.map_err(RunError::from)
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
            lane.commit(group).await?;
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
    let has_lines = plan.fingerprint.has_lines();
    if let Some(rows) = rows {
        add(&progress.counted_bytes, bytes);
        add(&progress.counted_rows, rows);
    }
    let mut pending = Vec::new();
    for (Pinned { object, .. }, piece, lane, covered) in covered.pieces {
        // Of lines nobody knows how many there are before all are through.
        let is_known = |covered: &&ObjectCoverage| rows.is_none() && (!has_lines || covered.is_complete());
        if let Some(covered) = covered.as_ref().filter(is_known) {
            add(&progress.counted_bytes, bytes_of(&object, piece));
            let rows = if has_lines { covered.coverage.rows() } else { covered.own_rows() };
            add(&progress.counted_rows, rows);
        }
        let is_counted = rows.is_some() || covered.as_ref().is_some_and(|covered| !has_lines || covered.is_complete());
        if !covered.as_ref().is_some_and(ObjectCoverage::is_complete) {
            let attempts_before = attempts.get(object.path.as_ref()).cloned().unwrap_or_default();
            pending.push(Pending { object, piece, lane, covered, is_counted, attempts_before });
        }
    }
    pending.sort_by_key(|pending| pending.lane);
    pending
}

/// What was done elsewhere before a job begins.
#[derive(Debug, Default)]
pub struct Imports {
    /// Files with ids of rows.
    pub ids: Vec<SideFile>,
    /// Whole objects, of a job that knows rows by position.
    pub objects: Vec<Object>,
}

impl Imports {
    fn is_nothing(&self) -> bool {
        self.ids.is_empty() && self.objects.is_empty()
    }
}

/// Makes the job: its genesis, with ids of rows that were done elsewhere.
pub async fn begin(plan: &Plan, imports: Imports) -> Result<Root, RunError> {
    let (store, has_imports) = (&plan.checkpoint, !imports.is_nothing());
    let Imports { ids: imported, objects: done } = imports;
    let list = async |objects: &[Object]| {
        let pinned: Vec<Pinned> = objects.iter().map(|object| Pinned { object: object.clone(), since: 0 }).collect();
        commit::write_listing(store, &random_name(), &pinned).await
    };
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
        listing: list(&plan.source.objects).await?,
        imported,
        done: if done.is_empty() { None } else { Some(list(&done).await?) },
        fingerprint: plan.fingerprint.clone(),
        layout: plan.sink.results().layout,
    };
    // If another run was faster, this one joins its job, if that is the same one.
    let is_first = Root::create(store, genesis).await?;
    let root = read_root(plan).await?;
    let is_same = root.fingerprint == plan.fingerprint
        && root.places == plan.places()
        && root.genesis.layout == plan.sink.results().layout;
    if !is_first && (has_imports || !is_same) {
        return Err(seen_next_time("another run has just begun a job with this checkpoint", "how it differs"));
    }
    Ok(root)
}

async fn read_root(plan: &Plan) -> Result<Root, RunError> {
    Ok(Root::read(&plan.checkpoint).await?.ok_or_else(CommitError::root_is_gone)?)
}

/// After the opens: the job must be the one that has claimed the sink, and what it computes what this run computes; an accepted
/// change is recorded.
async fn agree(plan: &Plan, job: &str) -> Result<Root, RunError> {
    for _ in 0..ROOT_ATTEMPTS {
        let root = read_root(plan).await?;
        if root.genesis.job != job {
            return Err(seen_next_time("another job has just begun in this checkpoint", "how it differs"));
        }
        if root.fingerprint == plan.fingerprint {
            return Ok(root);
        }
        if !plan.accepts_change {
            return Err(seen_next_time("the job was changed by another run just now", "how"));
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
            return Err(seen_next_time("the job was moved by another run just now", "where it is"));
        }
        let entry = RootEntry::Relocate { source, sink, checkpoint };
        root.append(&plan.checkpoint, &entry).await?;
    }
    Err(too_busy())
}

fn too_busy() -> RunError {
    let hint = "stop the other runs, then run the same command again";
    CommitError::refused("others keep appending to the checkpoint's root", hint).into()
}

/// What another run has just done. The next look says more.
fn seen_next_time(what: &str, to_see: &str) -> RunError {
    CommitError::refused(what, format!("run the same command again to see {to_see}")).into()
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
        drift.warn_of_what_stays(plan);
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
