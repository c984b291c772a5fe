//! What a checkpoint says at this moment, for commands that only look: the root and every lane's state. Nothing is opened
//! or written, so nobody is fenced; what a living run commits meanwhile may be in it or not, each commit whole.

use super::entry::{Close, FileEntry, SideFile};
use super::group::GroupCounts;
use super::lane::{LaneState, Logged, read_lane};
use super::root::Root;
use super::{CommitError, RowState};
use crate::store::Store;

/// A checkpoint as it stands.
#[derive(Clone, Debug)]
pub struct View {
    /// The root.
    pub root: Root,
    /// Every lane, by number.
    pub lanes: Vec<LaneView>,
}

/// A lane as it stands.
#[derive(Clone, Debug)]
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
    let pinned = root.pinned(store).await?;
    let mut lanes = Vec::new();
    for lane in 0..root.genesis.lanes {
        let entries = read_lane(store, lane, None).await?;
        let state = LaneState::replay(store, &entries, &pinned).await?;
        lanes.push(LaneView { lane, entries, state });
    }
    Ok(Some(View { root, lanes }))
}

impl View {
    /// The sink files that count.
    pub fn files(&self) -> impl Iterator<Item = &FileEntry> {
        self.states().flat_map(|state| &state.files)
    }

    /// The files with ids of rows that are done, or were done elsewhere.
    pub fn ids(&self) -> impl Iterator<Item = &SideFile> {
        self.root.genesis.imported.iter().chain(self.states().flat_map(|state| state.ids.iter().map(|(_, file)| file)))
    }

    /// Source rows of a state.
    pub fn rows(&self, state: RowState) -> u64 {
        let objects = self.states().flat_map(|lane| lane.objects.values());
        objects.map(|object| object.coverage.count(state)).sum()
    }

    /// Counts over all segments.
    pub fn counts(&self) -> GroupCounts {
        let mut counts = GroupCounts::default();
        self.states().for_each(|state| counts.add(&state.counts));
        counts
    }

    /// Segments.
    pub fn segments(&self) -> u64 {
        self.states().map(|state| state.segments).sum()
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
