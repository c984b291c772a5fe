//! A log that lost something, or is an older copy of itself. It cannot say so, but the sink and its other parts can: they
//! know writers and root entries that it does not. To work on would do rows again whose results are there.

use std::collections::{BTreeMap, HashSet};

use super::CommitError;
use super::lane::Lane;
use super::log::last;
use super::manifest::{Manifest, manifest};
use super::recover::{delete, sink_names};
use super::replay::{Known, LaneState, read_state};
use super::root::Root;
use crate::store::{Listed, Store, location};

/// Lanes that were written under a later root entry than the last one that is there.
pub async fn refuse_older_root(
    store: &Store,
    root: &Root,
    lanes: impl IntoIterator<Item = &LaneState>,
) -> Result<(), CommitError> {
    for state in lanes {
        let beyond = state.beyond_root(root.last);
        let groups = state.groups.iter().filter(|(number, _)| !beyond.contains_key(number));
        let roots = state.opens.values().map(|open| open.root).chain(groups.map(|(_, group)| group.root));
        let newest = roots.max().unwrap_or(0);
        let mark = root.asked.as_ref().and_then(|asked| asked.opens.get(state.lane as usize));
        if let Some(mark) = mark.filter(|mark| is_lost(state, **mark)) {
            return Err(CommitError::refused(
                format!(
                    "lane {} of the checkpoint has no entry {mark}, by which it was held when the source was \
                     rewritten: it lost entries, or is an older copy",
                    state.lane
                ),
                "put the checkpoint back as it was, all of its folders from one time",
            ));
        }
        // What was appended since the root was read is no loss.
        if newest > root.last && newest > Root::last_link(store).await?.number {
            return Err(older_root(state.lane, newest));
        }
    }
    Ok(())
}

pub(super) fn older_root(lane: u32, newest: u64) -> CommitError {
    CommitError::refused(
        format!("lane {lane} was written under root entry {newest} of the checkpoint, which is not there"),
        "put the checkpoint back as it was, all of its folders from one time",
    )
}

/// Whether a lane does not hold an open that there was. One that could not be read, and was given up, is no loss: who gave it
/// up has opened the lane since; and a compaction does not say what was given up below it.
fn is_lost(state: &LaneState, open: u64) -> bool {
    let is_given_up = state.withdrawn.contains(&open) || state.compacted.is_some_and(|compacted| open < compacted);
    !state.opens.contains_key(&open) && !is_given_up
}

/// A file in the sink that carries this job's name and a lane which there is not.
fn refuse_other_lanes(root: &Root, names: &[&str]) -> Result<(), CommitError> {
    let lane = |name: &&str| root.file_name(name).map(|file| file.lane);
    let is_other = |name: &&&str| lane(name).is_some_and(|lane| lane >= root.genesis.lanes);
    let Some(name) = names.iter().find(is_other) else { return Ok(()) };
    Err(CommitError::refused(
        format!(
            "{name} in the sink is of this job, and of a lane that it does not have: the checkpoint's root says \
             {} lane(s)",
            root.genesis.lanes
        ),
        "put the checkpoint back as it was",
    ))
}

/// Files in the sink that carry this job's name and a lane of these, but the token of no opening that the lane knows: the
/// log lost entries, or is an older copy of itself. To work on would double what these files hold. The sink was listed
/// after the lanes were read, so a lane that has got entries since may know their writer by now.
pub async fn refuse_unknown_writers(
    store: &Store,
    root: &Root,
    lanes: impl IntoIterator<Item = &LaneState>,
    listing: &[Listed],
) -> Result<(), CommitError> {
    let names: Vec<&str> = listing.iter().map(|found| found.name.as_str()).collect();
    refuse_other_lanes(root, &names)?;
    for (state, names) in unknown_writers(root, lanes, &names) {
        if last(store, state.lane).await? != state.last {
            continue;
        }
        return Err(CommitError::refused(
            format!(
                "lane {} of the checkpoint does not know who wrote {} file(s) of this job in the sink ({} first): \
                 entries of its log are lost, or it is an older copy",
                state.lane,
                names.len(),
                names[0]
            ),
            "put the checkpoint back as it was; or move these files away (`wasmpipe output verify` lists them \
             with --json as orphans), and the rows in them are done again",
        ));
    }
    Ok(())
}

fn unknown_writers<'a, 'b>(
    root: &Root,
    lanes: impl IntoIterator<Item = &'a LaneState>,
    names: &[&'b str],
) -> Vec<(&'a LaneState, Vec<&'b str>)> {
    let known = |lane: &'a LaneState| {
        let tokens: HashSet<&str> = lane.opens.values().map(|open| open.token.as_str()).collect();
        (lane.lane, (lane, tokens, Vec::new()))
    };
    let mut lanes: BTreeMap<u32, _> = lanes.into_iter().map(known).collect();
    for name in names {
        let Some(file) = root.file_name(name) else { continue };
        let Some((_, tokens, unknown)) = lanes.get_mut(&file.lane) else { continue };
        if !tokens.contains(file.token) {
            unknown.push(*name);
        }
    }
    // Files that count are known, even if the open of their writer could not be read.
    for (lane, _, unknown) in lanes.values_mut().filter(|(.., unknown)| !unknown.is_empty()) {
        let counting: HashSet<&str> = lane.files().map(|file| file.path.as_str()).collect();
        unknown.retain(|name| !counting.contains(name));
    }
    let lanes = lanes.into_values().filter(|(.., unknown)| !unknown.is_empty());
    lanes.map(|(lane, _, unknown)| (lane, unknown)).collect()
}

/// After entries of a lane that could not be read were given up, by who holds the lane: the files of writers whose opens
/// were among them. Not in a job that was moved, where another copy of the log may know them; and not what its manifest names.
pub(super) async fn remove_unknown_writers(
    store: &Store,
    root: &Root,
    lane: &Lane,
    sink: &Store,
) -> Result<(), CommitError> {
    if root.relocated > 0 {
        return Ok(());
    }
    let (_, state) = read_state(store, root, lane.number(), Known::default(), None).await?;
    let names = sink_names(sink).await.map_err(|cause| CommitError::store("list", "the sink", cause))?;
    if lane.is_taken().await? {
        return Err(lane.fenced());
    }
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let unknown: Vec<&str> = unknown_writers(root, [&state], &names).into_iter().flat_map(|(_, names)| names).collect();
    refuse_files_of_manifest(root, sink, lane.number(), &unknown).await?;
    delete(sink, unknown.into_iter().map(location).collect()).await
}

/// What the job's manifest names is what readers of the sink are given.
async fn refuse_files_of_manifest(root: &Root, sink: &Store, lane: u32, unknown: &[&str]) -> Result<(), CommitError> {
    if unknown.is_empty() {
        return Ok(());
    }
    let manifest = manifest(sink, &root.genesis.job).await?;
    let named: HashSet<&str> = manifest.iter().flat_map(Manifest::all_files).map(|file| file.path.as_str()).collect();
    let Some(name) = unknown.iter().find(|name| named.contains(*name)) else { return Ok(()) };
    Err(CommitError::refused(
        format!(
            "{name} in the sink is named by the job's manifest, and lane {lane} of the checkpoint does not know \
             who wrote it: entries of its log are lost, or it is an older copy"
        ),
        format!(
            "put the checkpoint back as it was; or move the {} file(s) of such writers away (`wasmpipe output \
             verify` lists them with --json as orphans), and the rows in them are done again",
            unknown.len()
        ),
    ))
}
