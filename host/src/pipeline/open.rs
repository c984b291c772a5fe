//! From a plan to opened lanes and the work that is left: genesis if there is none, the opens, the replay, the comparison
//! of the source with what was pinned, the sweep. In this order, so that whatever is decided or deleted is decided by
//! who holds the lanes.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStoreExt};
use serde::Serialize;

use super::RunError;
use super::drift::compare;
use crate::commit::{
    self, Asked, Close, CommitError, FORMAT, Genesis, Heartbeat, Lane, LaneLog, LaneState, Listing, ObjectCoverage,
    Pinned, Root, RootEntry, RowState, SideFile, Writer, lane_of, pieces, random_name, read_state,
};
use crate::filter::{DoneIds, DoneIdsBuilder};
use crate::observe::{Progress, Summary, add};
use crate::plan::{Failed, Plan};
use crate::sink::Receipt;
use crate::source::{self, Object};

/// Memory for building the id file.
const IDS_MEMORY_BYTES_MAX: usize = 256 << 20;
/// Times that the root is read anew because somebody else appended to it.
const ROOT_ATTEMPTS: usize = 10;
/// Lanes that are opened, read or closed at once.
const LANES_AT_ONCE: usize = 16;
/// Objects whose digests are read at once.
const DIGESTS_AT_ONCE: usize = 16;

/// What opening a job comes to.
pub(super) enum Opening {
    /// Every row is covered and the lanes are closed: nothing is written, not even an open.
    Finished { known_rows: u64, failed_rows: u64, dead_rows: u64 },
    /// The lanes are ours.
    Open(Box<Opened>),
}

/// Lanes that this process holds, and what is to do in them.
pub(super) struct Opened {
    pub(super) lanes: Vec<Lane>,
    pub(super) job: Job,
    pub(super) writer: Writer,
    pub(super) heartbeat: Option<Heartbeat>,
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
    /// Lanes in which a sink file counts already.
    pub(super) with_output: Vec<u32>,
    /// How objects are cut.
    pub(super) split_bytes: u64,
    /// The root that this run works under, and its listing.
    root: Root,
    pinned: Listing,
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

/// Lanes as they were read.
#[derive(Clone, Default)]
pub(super) struct Lanes(BTreeMap<u32, (LaneLog, LaneState)>);

impl Lanes {
    async fn read(
        plan: &Plan,
        lanes: impl IntoIterator<Item = (u32, LaneLog, Option<u64>)>,
    ) -> Result<Lanes, CommitError> {
        let read = async |(lane, known, below)| {
            Ok::<_, CommitError>((lane, read_state(&plan.checkpoint, lane, known, below).await?))
        };
        let reads: Vec<_> = lanes.into_iter().map(read).collect();
        Ok(Lanes(futures::stream::iter(reads).buffer_unordered(LANES_AT_ONCE).try_collect().await?))
    }

    fn states(&self) -> impl Iterator<Item = &LaneState> + Clone {
        self.0.values().map(|(_, state)| state)
    }

    fn state(&self, lane: u32) -> Option<&LaneState> {
        self.0.get(&lane).map(|(_, state)| state)
    }

    /// What is known of an object's present content, by any of the lanes.
    fn content(&self, pinned: &Pinned) -> Result<Option<&ObjectCoverage>, CommitError> {
        for state in self.states() {
            if let Some(covered) = state.covered(pinned, None)?.first() {
                return Ok(Some(covered));
            }
        }
        Ok(None)
    }
}

/// What the lanes cover of the pinned listing, by piece.
struct Covered {
    pieces: Vec<(Pinned, u32, u32, Option<ObjectCoverage>)>,
}

impl Covered {
    /// Of the pieces that lie in these lanes. Coverage of an earlier content counts if the digest says that the object
    /// has it again, so that a listing which a stopped writer appends late makes no row new.
    async fn of(
        plan: &Plan,
        root: &Root,
        listing: &[Pinned],
        lanes: &Lanes,
        failed: Failed,
    ) -> Result<Covered, RunError> {
        let digests = digests(plan, listing, lanes).await?;
        let (count, split) = (root.genesis.lanes, root.genesis.split_bytes);
        let mut found = Vec::new();
        for pinned in listing {
            for piece in 0..pieces(pinned.object.size, split) {
                let lane = lane_of(&pinned.object.path, piece, count);
                let Some(state) = lanes.state(lane) else { continue };
                let digest = digests.get(pinned.object.path.as_ref()).map(String::as_str);
                let covered = state.covered(pinned, digest)?;
                let mut covered = covered.into_iter().find(|covered| covered.piece == piece).cloned();
                if let Some(covered) = covered.as_mut().filter(|_| failed == Failed::AreRetried) {
                    covered.coverage.forget(RowState::Failed);
                    covered.coverage.forget(RowState::DeadLettered);
                }
                found.push((pinned.clone(), piece, lane, covered));
            }
        }
        Ok(Covered { pieces: found })
    }

    fn coverages(&self) -> impl Iterator<Item = &ObjectCoverage> {
        self.pieces.iter().filter_map(|(.., covered)| covered.as_ref())
    }

    fn rows(&self, state: RowState) -> u64 {
        self.coverages().map(|covered| covered.coverage.count(state)).sum()
    }

    fn all_rows(&self) -> u64 {
        self.coverages().map(|covered| covered.coverage.len()).sum()
    }

    /// Objects with rows that are not covered.
    fn open(&self) -> impl Iterator<Item = (&Pinned, u32)> {
        let is_open = |covered: &Option<ObjectCoverage>| !covered.as_ref().is_some_and(ObjectCoverage::is_complete);
        self.pieces.iter().filter(move |(.., covered)| is_open(covered)).map(|(pinned, _, lane, _)| (pinned, *lane))
    }
}

async fn digests(plan: &Plan, listing: &[Pinned], lanes: &Lanes) -> Result<HashMap<String, String>, RunError> {
    let doubtful = listing.iter().filter(|pinned| lanes.states().any(|state| state.is_open_to_doubt(pinned)));
    let digest = async |pinned: &Pinned| {
        let opened = source::open(&plan.source.store, &pinned.object, 0).await?;
        Ok::<_, RunError>((pinned.object.path.to_string(), opened.digest))
    };
    let opens: Vec<_> = doubtful.map(digest).collect();
    futures::stream::iter(opens).buffer_unordered(DIGESTS_AT_ONCE).try_collect().await
}

/// Opens the job.
pub(super) async fn open(plan: &Plan, progress: &Progress) -> Result<Opening, RunError> {
    let root = match &plan.root {
        Some(root) => root.clone(),
        None => begin(plan, Vec::new()).await?,
    };
    let wanted = plan.lanes.choose(root.genesis.lanes).map_err(CommitError::Refused)?;
    let looked = look(plan, &root, &wanted).await?;
    if let Some(covered) = looked.finished {
        add(&progress.rows_skipped, covered.all_rows());
        add(&progress.objects, covered.pieces.len() as u64);
        if complete_job(plan, looked.lanes).await? {
            delete_if_wanted(plan).await?;
        }
        return Ok(Opening::Finished {
            known_rows: covered.rows(RowState::Known),
            failed_rows: covered.rows(RowState::Failed),
            dead_rows: covered.rows(RowState::DeadLettered),
        });
    }
    let writer = Writer::new();
    let dead = match plan.take_over {
        true => Vec::new(),
        false => refuse_if_alive(plan, &looked.lanes, &looked.needed, &writer).await?,
    };
    let heartbeat = match plan.is_durable {
        true => Some(Heartbeat::start(&plan.checkpoint, &writer, plan.heartbeat).await?),
        false => None,
    };
    match open_lanes(plan, progress, &writer, looked.needed, looked.lanes).await {
        Ok((lanes, job, known)) => {
            commit::forget_dead(&plan.checkpoint, &dead).await?;
            Ok(Opening::Open(Box::new(Opened { lanes, job, writer, heartbeat, known })))
        }
        Err(error) => {
            if let Some(heartbeat) = heartbeat {
                let _ = heartbeat.end().await;
            }
            Err(error)
        }
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
    progress: &Progress,
    writer: &Writer,
    needed: Vec<u32>,
    known: Lanes,
) -> Result<(Vec<Lane>, Job, Logs), RunError> {
    let store = &plan.checkpoint;
    relocate_if_moved(plan).await?;
    let opens: Vec<_> =
        needed.iter().map(|&lane| Lane::open(store, lane, writer, async || Root::last_number(store).await)).collect();
    let mut opened: Vec<Lane> = futures::stream::iter(opens).buffered(LANES_AT_ONCE).try_collect().await?;
    let root = agree(plan).await?;
    let mut known = known.0;
    let mut log_of = |lane| known.remove(&lane).map(|(log, _)| log).unwrap_or_default();
    let own = opened.iter().map(|lane| (lane.number(), log_of(lane.number()), Some(lane.opened()))).collect::<Vec<_>>();
    let lanes = Lanes::read(plan, own).await?;
    let (root, pinned) = follow_source(plan, &opened, root, &lanes).await?;
    for lane in &mut opened {
        lane.follow_root(root.last);
        let compacted = lanes.state(lane.number()).and_then(|state| state.compacted);
        lane.follow_compaction(compacted.unwrap_or(0));
    }
    let listing: Vec<ObjectMeta> = list_sink(plan).await?;
    commit::check_files(lanes.states().flat_map(LaneState::all_files), &listing)?;
    let all: Vec<_> = lanes.0.values().collect();
    let swept = commit::sweep(&root, &all, store, &plan.sink.store, &listing).await?;
    if swept != commit::Swept::default() {
        tracing::info!(sink_files = swept.sink_files, side_files = swept.side_files, "removed what dead runs left");
    }
    let done = done_ids(plan, &root, &lanes).await?;
    write_run_file(plan, &writer.run, "plan.json", &plan.fingerprint).await?;
    let covered = Covered::of(plan, &root, &pinned, &lanes, plan.failed()).await?;
    let attempts = attempts(plan, &lanes, &pinned).await?;
    add(&progress.rows_skipped, covered.all_rows());
    add(&progress.objects, pinned.len() as u64);
    let with_output = lanes.states().filter(|state| state.files().next().is_some()).map(|state| state.lane).collect();
    let job = Job {
        name: root.genesis.job.clone(),
        failed_before: covered.rows(RowState::Failed),
        dead_before: covered.rows(RowState::DeadLettered),
        with_output,
        split_bytes: root.genesis.split_bytes,
        pending: pending(plan, covered, &attempts, progress),
        done,
        root,
        pinned,
    };
    let logs = lanes.0.into_iter().map(|(lane, (log, _))| (lane, log)).collect();
    Ok((opened, job, logs))
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

/// Whether a run of the plan would be refused at its start. Opens nothing, writes nothing.
pub async fn check(plan: &Plan) -> Result<(), RunError> {
    let Some(root) = &plan.root else { return Ok(()) };
    let wanted = plan.lanes.choose(root.genesis.lanes).map_err(CommitError::Refused)?;
    look(plan, root, &wanted).await.map(drop)
}

/// The work that is left, by lane; and how many rows it has as far as that is known without opening an object.
fn pending(plan: &Plan, covered: Covered, attempts: &Attempts, progress: &Progress) -> Vec<Pending> {
    let bytes: u64 = covered.pieces.iter().map(|(pinned, ..)| pinned.object.size).sum();
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
            add(&progress.counted_bytes, object.size);
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
        format: FORMAT,
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
    let gone = || CommitError::Refused("the checkpoint's root is gone\nhint: nothing was changed; restore it".into());
    Ok(Root::read(&plan.checkpoint).await?.ok_or_else(gone)?)
}

/// What a look before any open found.
struct Looked {
    lanes: Lanes,
    /// Lanes in which there is something to do.
    needed: Vec<u32>,
    /// What is covered, if there is nothing to do at all.
    finished: Option<Covered>,
}

/// Looks at a job before its lanes are opened: what must be refused is refused without fencing anybody.
async fn look(plan: &Plan, root: &Root, wanted: &[u32]) -> Result<Looked, RunError> {
    let lanes = Lanes::read(plan, wanted.iter().map(|&lane| (lane, LaneLog::default(), None))).await?;
    let pinned = root.pinned(&plan.checkpoint).await?;
    commit::check_files(lanes.states().flat_map(LaneState::all_files), &list_sink(plan).await?)?;
    let mut drift = compare(&pinned, &plan.source.objects);
    let is_all = wanted.len() == root.genesis.lanes as usize;
    drift.refuse_for_some_lanes(is_all)?;
    if drift.is_refusable(plan) {
        drift.keep_copies_apart(plan, &pinned, |pinned| lanes.content(pinned)).await?;
        drift.refuse_in_position_mode()?;
    }
    let is_moved = root.places != plan.places();
    if is_moved && !is_all {
        let message =
            "the job was moved, and this run holds some lanes only\nhint: run once with --relocate and without --lane";
        return Err(CommitError::Refused(message.into()).into());
    }
    if !drift.is_same() || root.fingerprint != plan.fingerprint || is_moved {
        return Ok(Looked { lanes, needed: wanted.to_vec(), finished: None });
    }
    let covered = Covered::of(plan, root, &pinned, &lanes, plan.failed()).await?;
    let open: std::collections::BTreeSet<u32> = covered.open().map(|(_, lane)| lane).collect();
    let is_needed = |state: &LaneState| {
        state.closed != Some(Close::Finished) || open.contains(&state.lane) || !is_settled(root.asked.as_ref(), state)
    };
    let needed: Vec<u32> = lanes.states().filter(|state| is_needed(state)).map(|state| state.lane).collect();
    let finished = needed.is_empty().then_some(covered);
    Ok(Looked { lanes, needed, finished })
}

/// Whether no writer from before the source was rewritten can append to the lane any more.
fn is_settled(asked: Option<&Asked>, state: &LaneState) -> bool {
    let Some(asked) = asked else { return true };
    let Some((number, open)) = state.last_open() else { return true };
    open.root >= asked.below || asked.opens.get(state.lane as usize) == Some(&number)
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
        let change = RootEntry::Change { format: FORMAT, fingerprint: plan.fingerprint.clone() };
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
        let entry = RootEntry::Relocate { format: FORMAT, source, sink, checkpoint };
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
            if !lane.is_last().await? {
                return Err(CommitError::Fenced { lane: lane.number(), number: lane.opened() + 1 }.into());
            }
        }
        // Not under this run's token: no opening of a lane keeps it from appending to the root, however late it is.
        let entry = RootEntry::Source {
            format: FORMAT,
            listing: commit::write_listing(&plan.checkpoint, &random_name(), &listing).await?,
            rewritten,
            opens: rewritten.then(|| opened.iter().map(Lane::opened).collect()),
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

/// The ids of rows that were done before the source was rewritten, in any lane, and of those that were done elsewhere
/// before the job began, as a file that is asked. None if there are neither: then coverage says it all.
async fn done_ids(plan: &Plan, root: &Root, opened: &Lanes) -> Result<Option<DoneIds>, RunError> {
    let imported = &root.genesis.imported;
    if root.asked.is_none() && imported.is_empty() {
        return Ok(None);
    }
    let lanes = asked_lanes(plan, root, opened).await?;
    let below = root.asked.as_ref().map_or(0, |asked| asked.below);
    let mut digest = blake3::Hasher::new();
    for file in imported {
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
    let name = format!("{}-{}.ids", root.genesis.job, &digest.finalize().to_hex()[..32]);
    let folder = plan.cache.join("ids");
    if let Some(done) = DoneIds::find(&folder, &name)? {
        return Ok(Some(done));
    }
    let mut builder = DoneIdsBuilder::new(&folder, &name, IDS_MEMORY_BYTES_MAX)?;
    for file in imported {
        for batch in commit::read_imported(&plan.checkpoint, file).await? {
            builder.add(&batch)?;
        }
    }
    for state in lanes.states() {
        let is_asked = |group: u64| state.groups.get(&group).is_some_and(|group| group.root < below);
        for file in &state.ids {
            for batch in commit::read_ids(&plan.checkpoint, file, is_asked).await? {
                builder.add(&batch)?;
            }
        }
    }
    Ok(Some(builder.finish()?))
}

/// Lanes whose ids are asked: all of them, once nobody can add to these ids any more; none if the source was never
/// rewritten.
async fn asked_lanes(plan: &Plan, root: &Root, opened: &Lanes) -> Result<Lanes, RunError> {
    let Some(asked) = &root.asked else { return Ok(Lanes::default()) };
    let others = (0..root.genesis.lanes).filter(|lane| opened.state(*lane).is_none());
    let mut lanes = Lanes::read(plan, others.map(|lane| (lane, LaneLog::default(), None))).await?;
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

/// Looks once more, with the eyes of a later run, before lanes are called finished: every row covered, every file there. Of
/// the listing that this run works under: what another process has added meanwhile is for the next run. `known` is what
/// this run has read of the lanes.
pub(super) async fn refuse_unfinished(
    plan: &Plan,
    job: &Job,
    numbers: &[u32],
    mut known: Logs,
) -> Result<Lanes, RunError> {
    let mut log_of = |lane| known.remove(&lane).unwrap_or_default();
    let logs: Vec<_> = numbers.iter().map(|&lane| (lane, log_of(lane), None)).collect();
    let lanes = Lanes::read(plan, logs).await?;
    let covered = Covered::of(plan, &job.root, &job.pinned, &lanes, Failed::Stay).await?;
    if let Some((open, _)) = covered.open().next() {
        let message = format!(
            "rows of {} are not done although the run came to its end\nhint: run the same command again, it does what is left",
            open.object.path
        );
        return Err(RunError::Failed(message));
    }
    // Not a refusal any more: this run has committed rows.
    let checked = commit::check_files(lanes.states().flat_map(LaneState::all_files), &list_sink(plan).await?);
    checked.map_err(|error| RunError::Failed(error.to_string()))?;
    Ok(lanes)
}

/// What a reader of the sink needs: exactly the files that count. Dead letters are no output.
#[derive(Serialize)]
struct Manifest<'a> {
    format: u32,
    job: &'a str,
    rows: u64,
    files: Vec<&'a commit::FileEntry>,
    dead_letters: Vec<&'a commit::FileEntry>,
}

/// If every lane of the job is finished, by whichever process, the manifest `_wasmpipe/<job>.json` is put into the sink.
/// Answers whether the job is done for good: finished, and no row failed that could be done again.
pub(super) async fn complete_job(plan: &Plan, mut known: Lanes) -> Result<bool, RunError> {
    let root = match Root::read(&plan.checkpoint).await {
        // Another process has completed it, and deleted the checkpoint.
        Ok(None) | Err(CommitError::Deleted) => return Ok(false),
        Ok(Some(root)) => root,
        Err(error) => return Err(error.into()),
    };
    let mut log_of = |lane| known.0.remove(&lane).map(|(log, _)| log).unwrap_or_default();
    let logs: Vec<_> = (0..root.genesis.lanes).map(|lane| (lane, log_of(lane), None)).collect();
    let lanes = Lanes::read(plan, logs).await?;
    if lanes.states().any(|state| state.closed != Some(Close::Finished)) {
        return Ok(false);
    }
    let pinned = root.pinned(&plan.checkpoint).await?;
    let covered = Covered::of(plan, &root, &pinned, &lanes, Failed::Stay).await?;
    if covered.open().next().is_some() {
        return Ok(false);
    }
    let files: Vec<_> = lanes.states().flat_map(LaneState::files).collect();
    let rows = files.iter().map(|file| file.rows).sum();
    let dead_letters = lanes.states().flat_map(LaneState::dead_letters).collect();
    let manifest = Manifest { format: FORMAT, job: &root.genesis.job, rows, files, dead_letters };
    let name = format!("_wasmpipe/{}.json", root.genesis.job);
    put_json_if_other(&plan.sink.store, &name, &manifest).await?;
    Ok(covered.rows(RowState::Failed) + covered.rows(RowState::DeadLettered) == 0)
}

/// Deletes the checkpoint of a job that is done for good, if that is wanted.
pub(super) async fn delete_if_wanted(plan: &Plan) -> Result<(), RunError> {
    if !plan.delete_on_success || !plan.is_durable {
        return Ok(());
    }
    match Root::read(&plan.checkpoint).await {
        Ok(None) => return Ok(()),
        Err(CommitError::Deleted) => {}
        // Somebody has appended to the root: the job goes on.
        Ok(Some(root)) if !commit::mark_deleted(&plan.checkpoint, &root).await? => return Ok(()),
        Ok(Some(_)) => {}
        Err(error) => return Err(error.into()),
    }
    commit::delete_all(&plan.checkpoint).await?;
    Ok(())
}

/// Writes `runs/<run>/summary.json`.
pub(super) async fn write_summary(plan: &Plan, summary: &Summary) -> Result<(), RunError> {
    write_run_file(plan, summary.run.as_deref().expect("an opened run has a name"), "summary.json", summary).await
}

async fn write_run_file(plan: &Plan, run: &str, name: &str, value: &impl Serialize) -> Result<(), RunError> {
    put_json(&plan.checkpoint, &format!("runs/{run}/{name}"), value).await
}

async fn put_json(store: &crate::store::Store, name: &str, value: &impl Serialize) -> Result<(), RunError> {
    let bytes = serde_json::to_vec_pretty(value).expect("plain values are JSON");
    let put = store.objects().put(&Path::from(name), bytes.into()).await;
    put.map(drop).map_err(|cause| CommitError::Store { what: "write", name: name.into(), cause }.into())
}

/// A finished job that is run again writes nothing.
async fn put_json_if_other(store: &crate::store::Store, name: &str, value: &impl Serialize) -> Result<(), RunError> {
    let failed = |cause| CommitError::Store { what: "read", name: name.into(), cause };
    let there = match store.objects().get(&Path::from(name)).await {
        Ok(got) => Some(got.bytes().await.map_err(failed)?),
        Err(object_store::Error::NotFound { .. }) => None,
        Err(cause) => return Err(failed(cause).into()),
    };
    if there.as_deref() == Some(&serde_json::to_vec_pretty(value).expect("plain values are JSON")[..]) {
        return Ok(());
    }
    put_json(store, name, value).await
}

/// A file without rows, so that a job whose every row was dropped still has the output's schema.
pub(super) async fn schema_file(flow_sink: &crate::sink::Sink) -> Result<Receipt, RunError> {
    let empty = flow_sink.file()?.close()?.complete().await?;
    Ok(Receipt { files: vec![empty], ..Receipt::default() })
}
