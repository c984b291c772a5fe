//! How a run ends: one more look at what it calls finished, the manifest, the checkpoint's deletion.

use super::covered::{Covered, Lanes};
use super::look::list_sink;
use super::open::{Job, Logs};
use super::{RunError, marks};
use crate::commit::{
    self, Close, CommitError, FORMAT, LaneState, Listing, Manifest, Position, Root, RowState, SourceRows,
};
use crate::message::Message;
use crate::plan::{Failed, Plan};
use crate::sink::{OutputKind, Sink, SinkFile};
use crate::store::Store;

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
    let logs: Vec<_> = numbers.iter().map(|&lane| (lane, log_of(lane).into(), None)).collect();
    let lanes = Lanes::read(plan, &job.root, logs).await?;
    let covered = Covered::of(plan, &job.root, &job.pinned, &lanes, Failed::Stay).await?;
    if let Some((open, _)) = covered.open().next() {
        return Err(RunError::failed(
            format!("rows of {} are not done although the run came to its end", open.object.path),
            "run the same command again, it does what is left",
        ));
    }
    // Not a refusal any more: this run has committed rows.
    let listing = list_sink(plan).await?;
    let checked = commit::check_files(lanes.states().flat_map(LaneState::files), &listing);
    checked.map_err(|error| RunError::Failed(Message::brief(&error)))?;
    // A copy of this log under the same path, on another machine, may have begun to write meanwhile.
    let known = commit::refuse_unknown_writers(&plan.checkpoint, &job.root, lanes.states(), &listing).await;
    if let Err(error) = known {
        // Where the job has gone on with another checkpoint, that one knows.
        refuse_if_gone_on(plan, job.claim, &job.root, &lanes).await?;
        return Err(RunError::Failed(Message::brief(&error)));
    }
    commit::sweep_late(&job.root, lanes.states(), &plan.sink.store, &listing).await?;
    marks::keep(plan, &job.root, &covered, &lanes, &listing).await?;
    Ok(lanes)
}

/// Times that the job is looked at anew because it went on meanwhile.
const LOOKS: usize = 10;

/// If every lane of the job is finished, by whichever process, its manifest is put into the sink, under the claim by which this
/// run works.
pub(super) async fn complete_job(plan: &Plan, claim: u64, mut known: Lanes) -> Result<Option<Complete>, RunError> {
    for _ in 0..LOOKS {
        let found = find_complete(plan, claim, std::mem::take(&mut known)).await?;
        let Some((complete, manifest, lanes)) = found else { return Ok(None) };
        // Only what the log said all at once is one state of it.
        if plan.is_durable && !complete.is_still_so(&plan.checkpoint).await? {
            continue;
        }
        commit::leave_manifest(&plan.sink.store, &manifest).await?;
        // A copy that did not find the manifest before it began to remove files has said before that it would begin.
        if let Err(error) = refuse_if_gone_on(plan, claim, &complete.root, &lanes).await {
            commit::remove_manifest(&plan.sink.store, &manifest).await?;
            return Err(error);
        }
        return Ok(Some(complete));
    }
    Ok(None)
}

async fn find_complete(
    plan: &Plan,
    claim: u64,
    mut known: Lanes,
) -> Result<Option<(Complete, Manifest, Lanes)>, RunError> {
    let root = match Root::read(&plan.checkpoint).await {
        // Another process has completed it, and deleted the checkpoint.
        Ok(None) | Err(CommitError::Deleted) => return Ok(None),
        Ok(Some(root)) => root,
        Err(error) => return Err(error.into()),
    };
    let mut log_of = |lane| known.0.remove(&lane).map(|(log, _)| log).unwrap_or_default();
    let logs: Vec<_> = (0..root.genesis.lanes).map(|lane| (lane, log_of(lane).into(), None)).collect();
    let lanes = Lanes::read(plan, &root, logs).await?;
    if lanes.states().any(|state| state.closed != Some(Close::Finished)) {
        return Ok(None);
    }
    let pinned = root.pinned(&plan.checkpoint).await?;
    let covered = Covered::of(plan, &root, &pinned, &lanes, Failed::Stay).await?;
    if covered.open().next().is_some() {
        return Ok(None);
    }
    refuse_if_gone_on(plan, claim, &root, &lanes).await?;
    let manifest = manifest_of(claim, &root, &pinned, &lanes, &covered);
    let last = lanes.states().map(|state| (state.lane, state.last)).collect();
    let complete = Complete { is_done: manifest.is_done_for_good(), last, root };
    Ok(Some((complete, manifest, lanes)))
}

async fn refuse_if_gone_on(plan: &Plan, claim: u64, root: &Root, lanes: &Lanes) -> Result<(), RunError> {
    let goes_on = commit::refuse_if_gone_on(&plan.sink.store, &root.genesis.job, (claim, ""), lanes.states()).await;
    // Not a refusal any more: this run has committed rows.
    goes_on.map_err(|error| match error {
        CommitError::Refused(message) => RunError::Failed(message),
        other => other.into(),
    })
}

fn manifest_of(claim: u64, root: &Root, pinned: &Listing, lanes: &Lanes, covered: &Covered) -> Manifest {
    let [files, dead_letters] = commit::by_kind(lanes.states().flat_map(LaneState::files));
    let log = root.last + lanes.states().filter_map(|state| state.last).sum::<u64>();
    Manifest {
        format: FORMAT,
        job: root.genesis.job.clone(),
        position: Some(Position { claim, log }),
        rows: files.iter().map(|file| file.rows).sum(),
        files,
        dead_letters,
        fingerprint: Some(root.fingerprint.clone()),
        listing: Some(commit::listing_digest(&root.places.source, pinned.iter().map(|pinned| &pinned.object))),
        source_rows: Some(SourceRows {
            all: covered.all_rows(),
            known: covered.rows(RowState::Known),
            failed: covered.rows(RowState::Failed),
            dead_lettered: covered.rows(RowState::DeadLettered),
        }),
    }
}

/// Deletes the checkpoint of a job that is done for good, if that is wanted. If anything was appended to the root or a lane
/// since it was found to be done, the job goes on.
pub(super) async fn delete_if_wanted(plan: &Plan, done: &Complete) -> Result<(), RunError> {
    let store = &plan.checkpoint;
    if !plan.delete_on_success || !plan.is_durable || !done.is_done {
        return Ok(());
    }
    if done.is_still_so(store).await? && commit::mark_deleted(store, &done.root).await? {
        commit::delete_all(store).await?;
    }
    Ok(())
}

/// A job of which every row is covered and every lane closed as finished.
pub(super) struct Complete {
    /// Finished for good: no row failed that could be done again.
    pub(super) is_done: bool,
    /// The root that says so.
    root: Root,
    /// The last number of each lane then.
    last: Vec<(u32, Option<u64>)>,
}

impl Complete {
    async fn is_still_so(&self, store: &Store) -> Result<bool, CommitError> {
        for (lane, last) in &self.last {
            if commit::last_number(store, *lane).await? != *last {
                return Ok(false);
            }
        }
        match Root::last_link(store).await {
            Ok(last) => Ok(last == self.root.link()),
            Err(CommitError::Deleted) => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// A file without rows, so that a job whose every row was dropped still has the output's schema.
pub(super) async fn schema_file(sink: &Sink) -> Result<SinkFile, RunError> {
    Ok(sink.file(OutputKind::Results)?.close()?.complete().await?)
}
