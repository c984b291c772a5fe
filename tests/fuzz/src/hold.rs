//! What must hold, whatever a checkpoint's bytes say.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use wasmpipe::commit::{
    CommitError, FileEntry, GroupState, Known, Lane, LaneEntry, LaneLog, LaneState, ObjectCoverage, OpenState, Root,
    RootEntry, RowState, View, Writer, last_open, read_lane, read_state, repair, schema_from_hex, verify, view,
};
use wasmpipe::store::Store;

use crate::Turn;
use crate::checkpoint::Checkpoint;
use crate::frozen::try_entry;
use crate::model::Model;
use crate::plain::encode;

/// Lanes of a job that are opened, at most: genesis may say any number.
const LANES_OPENED_MAX: u32 = 4;
const STATES: [RowState; 4] = [RowState::Done, RowState::Known, RowState::Failed, RowState::DeadLettered];

pub(crate) fn check(checkpoint: &Checkpoint, turn: Turn) {
    checkpoint.root.iter().for_each(|entry| is_written_as_it_was_read::<RootEntry>(entry.bytes()));
    let entries = checkpoint.lanes.values().flat_map(BTreeMap::values);
    entries.for_each(|entry| is_written_as_it_was_read::<LaneEntry>(entry.bytes()));
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime without threads");
    runtime.block_on(check_reading(checkpoint, turn));
}

async fn check_reading(checkpoint: &Checkpoint, turn: Turn) {
    let store = checkpoint.store().await;
    let seen = view(&store).await;
    assert_eq!(said(&seen), said(&view(&store).await), "the same log, read twice");
    if let Ok(Some(view)) = &seen {
        check_view(view, checkpoint, &store).await;
    }
    let Ok(Some(root)) = Root::read(&store).await else { return };
    let _ = schema_from_hex(&root.genesis.source_schema);
    for lane in 0..root.genesis.lanes.min(LANES_OPENED_MAX) {
        let _ = last_open(&store, &root, lane).await;
    }
    let sink = Store::memory("sink");
    let verified = verify(&store, &root, &sink).await;
    if seen.is_ok() {
        let verified = verified.expect("what can be read can be verified");
        assert!(verified.findings.iter().all(|finding| !finding.name.starts_with("lane/")), "{verified:?}");
    }
    if root.genesis.lanes > LANES_OPENED_MAX {
        return;
    }
    for lane in (0..root.genesis.lanes).filter(|_| turn != Turn::Repair) {
        match turn {
            Turn::Resume => check_known(checkpoint, &store, &root, lane).await,
            _ => check_compaction(checkpoint, &root, lane).await,
        }
    }
    if turn == Turn::Repair {
        check_repair(&store, &root, &sink).await;
    }
}

/// Also errors are the same, whatever was first in a table.
fn said(seen: &Result<Option<View>, CommitError>) -> Result<Option<&View>, String> {
    seen.as_ref().map(Option::as_ref).map_err(ToString::to_string)
}

fn is_written_as_it_was_read<T>(entry: &[u8])
where
    T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug,
{
    let Ok(read) = try_entry::<T>(entry) else { return };
    assert_eq!(try_entry::<T>(&encode(&read)).expect("our own"), read, "{}", entry.escape_ascii());
}

async fn check_view(view: &View, checkpoint: &Checkpoint, store: &Store) {
    for lane in &view.lanes {
        let model = Model::new(&lane.entries, &checkpoint.side);
        let counting = lane.state.groups.iter();
        let counting: BTreeMap<u64, Vec<_>> =
            counting.map(|(number, group)| (*number, sorted(group.files.to_vec()))).collect();
        let named = model.files().into_iter().map(|(number, files)| (number, sorted(files)));
        assert_eq!(counting, named.collect(), "files that count, of lane {}", lane.lane);
        if model.says_rows() {
            for (object, row) in model.edges() {
                let state = lane.state.row_state(object, row);
                assert_eq!(state, model.row_state(object, row), "row {row} of {object} in lane {}", lane.lane);
            }
        }
        lane.state.objects.values().flatten().for_each(check_coverage);
    }
    assert_eq!(view.groups(), view.lanes.iter().map(|lane| lane.state.groups.len() as u64).sum::<u64>());
    let _ = (view.counts(), view.closed(), STATES.map(|state| view.rows(state)));
    if let Ok(None) = view.unfinished() {
        check_finished(view);
    }
    for ids in view.ids() {
        let _ = ids.read(store).await;
    }
}

fn sorted(files: Vec<FileEntry>) -> Vec<FileEntry> {
    let mut files = files;
    files.sort_by(|a, b| (&a.path, a.rows, a.bytes).cmp(&(&b.path, b.rows, b.bytes)));
    files
}

/// States are given to rows that there are, and complete means that no row is left.
fn check_coverage(object: &ObjectCoverage) {
    let all = [(0, object.rows)];
    let own = object.own.as_deref().unwrap_or(&all);
    let missing: u64 = own.iter().map(|&(start, end)| length(&object.coverage.missing(start..end))).sum();
    assert_eq!(object.own_rows().checked_sub(object.coverage.len()), Some(missing), "{object:?}");
    assert_eq!(object.is_complete(), missing == 0);
    assert_eq!(object.coverage.len(), STATES.map(|state| object.coverage.count(state)).iter().sum::<u64>());
    assert!(object.coverage.iter().all(|(range, _)| range.start < range.end && range.end <= object.rows));
}

fn length(ranges: &[std::ops::Range<u64>]) -> u64 {
    ranges.iter().map(|range| range.end - range.start).sum()
}

fn check_finished(view: &View) {
    for pinned in &view.listing {
        let covered = view.lanes.iter().flat_map(|lane| lane.state.covered(pinned, None).expect("counted before"));
        let complete = covered.filter(|content| content.is_complete()).count();
        assert!(complete > 0, "a finished job has all of {}", pinned.object.path);
    }
}

/// Whoever has read some entries before, and reads on, reads the same as who begins anew.
async fn check_known(checkpoint: &Checkpoint, store: &Store, root: &Root, lane: u32) {
    let whole = read_state(store, root, lane, Known::default(), None).await.map_err(|error| error.to_string());
    let Some(entries) = checkpoint.lanes.get(&lane) else { return };
    // Each length for a short log; of a long one those that its bytes choose.
    let step = entries.len() / 4 + 1;
    for number in entries.keys().skip(entries.len() % step).step_by(step) {
        let earlier = checkpoint.below(*number).store().await;
        let Ok(known) = read_lane(&earlier, root, lane, LaneLog::default()).await else { continue };
        let resumed = read_state(store, root, lane, known.into(), None).await.map_err(|error| error.to_string());
        assert_eq!(resumed, whole, "lane {lane}, read up to {number} before");
        let Ok((log, state)) = read_state(&earlier, root, lane, Known::default(), None).await else { continue };
        let known = Known { log, state: Some(state) };
        let resumed = read_state(store, root, lane, known, None).await.map_err(|error| error.to_string());
        assert_eq!(resumed, whole, "lane {lane}, replayed up to {number} before");
    }
}

/// What a lane says in all, without how it says so.
#[derive(Debug, PartialEq)]
struct Meaning {
    groups: BTreeMap<u64, GroupState>,
    opens: BTreeMap<u64, OpenState>,
    objects: BTreeMap<String, Vec<String>>,
    ids: Vec<String>,
}

async fn meaning(store: &Store, state: &LaneState) -> Meaning {
    let contents = |(path, contents): (&String, &Vec<ObjectCoverage>)| {
        (path.clone(), sorted_debug(contents.iter().map(|content| format!("{content:?}"))))
    };
    let mut ids = Vec::new();
    for file in &state.ids {
        let read = wasmpipe::commit::read_ids(store, file, |group| state.groups.contains_key(&group)).await;
        ids.extend(read.unwrap_or_default().iter().flat_map(|batch| {
            (0..batch.num_rows()).map(|row| format!("{:?}", batch.slice(row, 1).columns())).collect::<Vec<_>>()
        }));
    }
    ids.sort();
    Meaning {
        groups: state.groups.clone(),
        opens: state.opens.clone(),
        objects: state.objects.iter().filter(|(_, contents)| !contents.is_empty()).map(contents).collect(),
        ids,
    }
}

fn sorted_debug(texts: impl Iterator<Item = String>) -> Vec<String> {
    let mut texts: Vec<String> = texts.collect();
    texts.sort();
    texts
}

/// A compaction changes nothing that a lane says, and nor does one that fails.
async fn check_compaction(checkpoint: &Checkpoint, root: &Root, lane: u32) {
    let store = checkpoint.store().await;
    let Ok((_, before)) = read_state(&store, root, lane, Known::default(), None).await else { return };
    let before = meaning(&store, &before).await;
    let Ok(mut opened) = Lane::open(&store, lane, &Writer::new(), async || Ok(root.link())).await else { return };
    let compacted = opened.compact(root, LaneLog::default()).await;
    let (_, after) = read_state(&store, root, lane, Known::default(), None).await.expect("it could be read before");
    let mut after = meaning(&store, &after).await;
    let own = after.opens.remove(&opened.opened());
    assert!(own.is_some(), "the open is there");
    assert_eq!(after, before, "lane {lane} after {compacted:?}");
}

/// What a repair can withdraw is gone after it; with an empty sink, every file is.
async fn check_repair(store: &Store, root: &Root, sink: &Store) {
    let Ok(repaired) = repair(store, root, sink).await else { return };
    if !repaired.beyond_repair.is_empty() {
        return;
    }
    let again = verify(store, root, sink).await.expect("after a repair all can be verified");
    assert!(again.findings.is_empty(), "left by a repair: {:?}", again.findings);
    let seen = view(store).await.expect("after a repair all can be read").expect("a job");
    assert_eq!(seen.files().count(), 0, "no file is there");
}
