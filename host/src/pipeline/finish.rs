//! How a run ends: one more look at what it calls finished, the manifest, the checkpoint's deletion.

use serde::Serialize;

use super::RunError;
use super::covered::{Covered, Lanes};
use super::look::list_sink;
use super::open::{Job, Logs};
use super::record::write_json_if_other;
use crate::commit::{self, Close, CommitError, FORMAT, LaneState, Root, RowState};
use crate::plan::{Failed, Plan};
use crate::sink::Receipt;
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

/// Times that the manifest is written anew because the job went on meanwhile.
const MANIFEST_ATTEMPTS: usize = 10;

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
/// A run that was held up may put an older manifest over a newer one, so it looks again afterwards.
pub(super) async fn complete_job(plan: &Plan, mut known: Lanes) -> Result<Option<Complete>, RunError> {
    for _ in 0..MANIFEST_ATTEMPTS {
        let Some(complete) = complete_once(plan, std::mem::take(&mut known)).await? else { return Ok(None) };
        if !plan.is_durable || complete.is_still_so(&plan.checkpoint).await? {
            return Ok(Some(complete));
        }
    }
    Ok(None)
}

async fn complete_once(plan: &Plan, mut known: Lanes) -> Result<Option<Complete>, RunError> {
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
    let files: Vec<_> = lanes.states().flat_map(LaneState::files).collect();
    let rows = files.iter().map(|file| file.rows).sum();
    let dead_letters = lanes.states().flat_map(LaneState::dead_letters).collect();
    let manifest = Manifest { format: FORMAT, job: &root.genesis.job, rows, files, dead_letters };
    let name = format!("_wasmpipe/{}.json", root.genesis.job);
    write_json_if_other(&plan.sink.store, &name, &manifest).await?;
    let is_done = covered.rows(RowState::Failed) + covered.rows(RowState::DeadLettered) == 0;
    let last = lanes.states().map(|state| (state.lane, state.last)).collect();
    Ok(Some(Complete { is_done, last, root }))
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
pub(super) async fn schema_file(flow_sink: &crate::sink::Sink) -> Result<Receipt, RunError> {
    let empty = flow_sink.file()?.close()?.complete().await?;
    Ok(Receipt { files: vec![empty], ..Receipt::default() })
}
