//! What a checkpoint says at this moment, for commands that only look: the root and every lane's state. Nothing is opened
//! or written, so nobody is fenced; what a living run commits meanwhile may be in it or not, each commit whole.

use std::collections::HashMap;

use arrow::array::RecordBatch;

use super::contradictions::refuse_contradictions;
use super::coverage::{ObjectCoverage, RowState};
use super::entry::{Close, FileEntry, SideFile};
use super::group::GroupCounts;
use super::lane::pieces;
use super::log::Logged;
use super::replay::{Known, LaneState, read_state};
use super::root::{Pinned, Root};
use super::{CommitError, side};
use crate::sink::OutputKind;
use crate::store::Store;

/// A checkpoint as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// The root.
    pub root: Root,
    /// The source's objects.
    pub listing: Vec<Pinned>,
    /// Every lane, by number.
    pub lanes: Vec<LaneView>,
}

/// One of the files with ids of rows that are done.
#[derive(Clone, Copy, Debug)]
pub enum DoneFile<'a> {
    /// Ids that were done elsewhere, before the job began.
    Imported(&'a SideFile),
    /// Ids of groups of a lane.
    Own(&'a LaneState, &'a super::IdFile),
}

/// A lane as it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct LaneView {
    /// Its number.
    pub lane: u32,
    /// Its entries, in order.
    pub entries: Vec<Logged>,
    /// What they say in all.
    pub state: LaneState,
}

/// Reads a checkpoint. None if there is no job.
pub async fn view(store: &Store) -> Result<Option<View>, CommitError> {
    let Some(root) = Root::read(store).await? else { return Ok(None) };
    let listing = root.pinned(store).await?;
    let mut lanes = Vec::new();
    for lane in 0..root.genesis.lanes {
        let (log, state) = read_state(store, &root, lane, Known::default(), None).await?;
        lanes.push(LaneView { lane, entries: log.entries, state });
    }
    refuse_contradictions(&root, &listing, lanes.iter().map(|lane| &lane.state))?;
    Ok(Some(View { root, listing, lanes }))
}

impl DoneFile<'_> {
    /// The file itself.
    pub fn file(&self) -> &SideFile {
        match self {
            DoneFile::Imported(file) => file,
            DoneFile::Own(_, ids) => &ids.file,
        }
    }

    /// Its ids, those of groups that count.
    pub async fn read(&self, store: &Store) -> Result<Vec<RecordBatch>, CommitError> {
        match self {
            DoneFile::Imported(file) => side::read_imported(store, file).await,
            DoneFile::Own(state, ids) => side::read_ids(store, ids, |group| state.groups.contains_key(&group)).await,
        }
    }
}

impl View {
    /// The sink files that count.
    pub fn files(&self) -> impl Iterator<Item = &FileEntry> {
        self.states().flat_map(LaneState::files)
    }

    /// Those of a kind.
    pub fn files_of(&self, kind: OutputKind) -> impl Iterator<Item = &FileEntry> {
        self.states().flat_map(move |state| state.files_of(kind))
    }

    /// Those with results.
    pub fn results(&self) -> impl Iterator<Item = &FileEntry> {
        self.files_of(OutputKind::Results)
    }

    /// The files with ids of rows that are done, or were done elsewhere.
    pub fn ids(&self) -> impl Iterator<Item = DoneFile<'_>> {
        let own = self.states().flat_map(|state| state.ids.iter().map(move |ids| DoneFile::Own(state, ids)));
        self.root.genesis.imported.iter().map(DoneFile::Imported).chain(own)
    }

    /// Source rows of a state, in the contents that the objects of the listing have.
    pub fn rows(&self, state: RowState) -> Result<u64, CommitError> {
        let rows = |object: &&ObjectCoverage| object.coverage.count(state);
        Ok(self.covered()?.values().map(rows).fold(0, u64::saturating_add))
    }

    /// What is covered of the listing, by path and piece.
    fn covered(&self) -> Result<HashMap<(&str, u32), &ObjectCoverage>, CommitError> {
        let mut covered = HashMap::new();
        for pinned in &self.listing {
            for state in self.states() {
                let pieces = state.covered(pinned, None)?.into_iter();
                covered.extend(pieces.map(|object| ((pinned.object.path.as_ref(), object.piece), object)));
            }
        }
        Ok(covered)
    }

    /// What is not finished yet; none if every lane was closed as finished and every row of the listing is covered.
    pub fn unfinished(&self) -> Result<Option<String>, CommitError> {
        if let Some(lane) = self.lanes.iter().find(|lane| lane.state.closed != Some(Close::Finished)) {
            return Ok(Some(format!("lane {} is not closed", lane.lane)));
        }
        let covered = self.covered()?;
        for Pinned { object, .. } in &self.listing {
            for piece in 0..pieces(object.size, self.root.genesis.split_bytes) {
                let covered = covered.get(&(object.path.as_ref(), piece));
                if !covered.is_some_and(|covered| covered.is_complete()) {
                    return Ok(Some(format!("rows of {} are not done", object.path)));
                }
            }
        }
        Ok(None)
    }

    /// Counts over all segments.
    pub fn counts(&self) -> GroupCounts {
        let mut counts = GroupCounts::default();
        self.states().for_each(|state| counts.add(&state.counts()));
        counts
    }

    /// Groups that count.
    pub fn groups(&self) -> u64 {
        self.states().map(|state| state.groups.len() as u64).sum()
    }

    /// How the writers left, if all did in order: the worst of it.
    pub fn closed(&self) -> Option<Close> {
        let all: Option<Vec<Close>> = self.states().map(|state| state.closed).collect();
        let worst = |close: &Close| match close {
            Close::Finished => 0,
            Close::Stopped => 1,
            Close::Failed => 2,
        };
        all?.into_iter().max_by_key(worst)
    }

    fn states(&self) -> impl Iterator<Item = &LaneState> {
        self.lanes.iter().map(|lane| &lane.state)
    }
}
