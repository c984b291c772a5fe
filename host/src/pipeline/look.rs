//! A look at a job before its lanes are opened: what must be refused is refused without fencing anybody.

use std::collections::BTreeSet;

use super::RunError;
use super::asked::is_settled;
use super::covered::{Covered, Lanes};
use super::drift::compare;
use super::open::claimant;
use crate::commit::{self, Close, CommitError, Known, LaneState, Root, Stand};
use crate::plan::Plan;
use crate::store::Listed;

/// Whether a run of the plan would be refused at its start. Opens nothing, writes nothing.
pub async fn check(plan: &Plan) -> Result<(), RunError> {
    let Some(root) = &plan.root else { return Ok(()) };
    let stand = commit::standing(&plan.sink.store, &claimant(plan, &root.genesis.job)).await?;
    let wanted = plan.lanes.choose(root.genesis.lanes).map_err(CommitError::Refused)?;
    look(plan, root, &stand, &wanted).await.map(drop)
}

/// What a look before any open found.
pub(super) struct Looked {
    pub(super) lanes: Lanes,
    /// Lanes in which there is something to do.
    pub(super) needed: Vec<u32>,
    /// What is covered, if there is nothing to do at all.
    pub(super) finished: Option<Covered>,
}

/// Looks at a job before its lanes are opened: what must be refused is refused without fencing anybody.
pub(super) async fn look(plan: &Plan, root: &Root, stand: &Stand, wanted: &[u32]) -> Result<Looked, RunError> {
    let lanes = Lanes::read(plan, root, wanted.iter().map(|&lane| (lane, Known::default(), None))).await?;
    let pinned = root.pinned(&plan.checkpoint).await?;
    commit::refuse_contradictions(root, &pinned, lanes.states())?;
    commit::refuse_older_root(&plan.checkpoint, root, lanes.states()).await?;
    let listing = list_sink(plan).await?;
    commit::check_files(lanes.states().flat_map(LaneState::files), &listing)?;
    commit::refuse_unknown_writers(&plan.checkpoint, root, lanes.states(), &listing).await?;
    commit::refuse_older_than_manifest(&plan.sink.store, &plan.checkpoint, root).await?;
    let is_all = wanted.len() == root.genesis.lanes as usize;
    if is_all {
        stand.refuse_beside_copy(lanes.states())?;
    }
    let is_moved = root.places != plan.places();
    if is_moved && !is_all {
        let what = "the job was moved, and this run holds some lanes only";
        return Err(CommitError::refused(what, "run once with --relocate and without --lane").into());
    }
    let mut drift = compare(&pinned, &plan.source.objects);
    drift.refuse_for_some_lanes(is_all)?;
    if drift.is_refusable(plan) {
        drift.keep_copies_apart(plan, &pinned, |pinned| lanes.content(pinned)).await?;
        drift.refuse_in_position_mode()?;
    }
    if !drift.is_same() || root.fingerprint != plan.fingerprint || is_moved {
        return Ok(Looked { lanes, needed: wanted.to_vec(), finished: None });
    }
    let covered = Covered::of(plan, root, &pinned, &lanes, plan.failed()).await?;
    let open: BTreeSet<u32> = covered.open().map(|(_, lane)| lane).collect();
    let is_needed = |state: &LaneState| {
        state.closed != Some(Close::Finished) || open.contains(&state.lane) || !is_settled(root.asked.as_ref(), state)
    };
    let needed: Vec<u32> = lanes.states().filter(|state| is_needed(state)).map(|state| state.lane).collect();
    let finished = needed.is_empty().then_some(covered);
    Ok(Looked { lanes, needed, finished })
}

pub(super) async fn list_sink(plan: &Plan) -> Result<Vec<Listed>, CommitError> {
    let listed = commit::list_sink(&plan.sink.store).await;
    listed.map_err(|cause| CommitError::Store { what: "list", name: "the sink".into(), cause })
}
