//! The ids that are asked: those of an import, and those of all lanes once the source was rewritten.

use super::RunError;
use super::covered::Lanes;
use crate::commit::{self, Asked, CommitError, Known, LaneState, Root};
use crate::filter::{DoneIds, DoneIdsBuilder};
use crate::plan::Plan;

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
