//! What lanes say, and what that means for the source's objects.

use std::collections::{BTreeMap, HashMap};

use futures::{StreamExt, TryStreamExt};

use super::RunError;
use crate::commit::{
    CommitError, Genesis, Known, Lane, LaneLog, LaneState, ObjectCoverage, Pinned, Root, RowState, lane_of, pieces,
    read_state,
};
use crate::observe::Kept;
use crate::plan::{Failed, Plan};
use crate::source::{self, Object};

/// Lanes read at once.
const LANES_AT_ONCE: usize = 16;
/// Objects whose digests are read at once.
const DIGESTS_AT_ONCE: usize = 16;

/// Lanes as they were read.
#[derive(Clone, Default)]
pub(super) struct Lanes(pub(super) BTreeMap<u32, (LaneLog, LaneState)>);

impl Lanes {
    pub(super) async fn read(
        plan: &Plan,
        root: &Root,
        lanes: impl IntoIterator<Item = (u32, Known, Option<u64>)>,
    ) -> Result<Lanes, CommitError> {
        let read = async |(lane, known, below)| {
            Ok::<_, CommitError>((lane, read_state(&plan.checkpoint, root, lane, known, below).await?))
        };
        let reads: Vec<_> = lanes.into_iter().map(read).collect();
        Ok(Lanes(futures::stream::iter(reads).buffer_unordered(LANES_AT_ONCE).try_collect().await?))
    }

    /// The lanes that this process has just opened, as they were below its opens. Those that another run has opened since are
    /// not among them any more; the first of these is said.
    pub(super) async fn read_again(
        mut self,
        plan: &Plan,
        root: &Root,
        opened: &mut Vec<Lane>,
    ) -> Result<(Lanes, Option<(u32, u64)>), CommitError> {
        let read = async |lane: u32, opened: u64, known: Known| {
            (lane, read_state(&plan.checkpoint, root, lane, known, Some(opened)).await)
        };
        let mut reads = Vec::new();
        for lane in opened.iter() {
            let known = self.0.remove(&lane.number()).map(|(log, state)| Known { log, state: Some(state) });
            reads.push(read(lane.number(), lane.opened(), known.unwrap_or_default()));
        }
        let mut results = futures::stream::iter(reads).buffer_unordered(LANES_AT_ONCE);
        let (mut lanes, mut lost) = (BTreeMap::new(), None);
        while let Some((lane, result)) = results.next().await {
            match result {
                Ok(read) => drop(lanes.insert(lane, read)),
                Err(CommitError::Fenced { lane, number }) => drop(lost.get_or_insert((lane, number))),
                Err(error) => return Err(error),
            }
        }
        opened.retain(|lane| lanes.contains_key(&lane.number()));
        match lost {
            Some((lane, number)) if opened.is_empty() => Err(CommitError::Fenced { lane, number }),
            _ => Ok((Lanes(lanes), lost)),
        }
    }

    pub(super) fn states(&self) -> impl Iterator<Item = &LaneState> + Clone {
        self.0.values().map(|(_, state)| state)
    }

    pub(super) fn state(&self, lane: u32) -> Option<&LaneState> {
        self.0.get(&lane).map(|(_, state)| state)
    }

    /// What is known of an object's present content, by any of the lanes.
    pub(super) fn content(&self, pinned: &Pinned) -> Result<Option<&ObjectCoverage>, CommitError> {
        for state in self.states() {
            if let Some(covered) = state.covered(pinned, None)?.first() {
                return Ok(Some(covered));
            }
        }
        Ok(None)
    }
}

/// What the lanes cover of the pinned listing, by piece.
pub(super) struct Covered {
    pub(super) pieces: Vec<(Pinned, u32, u32, Option<ObjectCoverage>)>,
}

impl Covered {
    /// Of the pieces that lie in these lanes. Coverage of an earlier content counts if the digest says that the object
    /// has it again, so that a listing which a stopped writer appends late makes no row new.
    pub(super) async fn of(
        plan: &Plan,
        root: &Root,
        listing: &[Pinned],
        lanes: &Lanes,
        failed: Failed,
    ) -> Result<Covered, RunError> {
        let digests = digests(plan, root, listing, lanes).await?;
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

    pub(super) fn coverages(&self) -> impl Iterator<Item = &ObjectCoverage> {
        self.pieces.iter().filter_map(|(.., covered)| covered.as_ref())
    }

    pub(super) fn rows(&self, state: RowState) -> u64 {
        self.coverages().map(|covered| covered.coverage.count(state)).sum()
    }

    pub(super) fn all_rows(&self) -> u64 {
        self.coverages().map(|covered| covered.coverage.rows()).sum()
    }

    /// Rows that are done as the job computed them before a change that a person accepted. They stay as they are.
    pub(super) fn kept(&self, root: &Root, lanes: &Lanes) -> Kept {
        let mut kept = Kept::default();
        for (pinned, _, lane, covered) in &self.pieces {
            let groups = lanes.state(*lane).map(|state| &state.groups);
            let is_before = |group: &u64| {
                groups.and_then(|groups| groups.get(group)).is_some_and(|group| !root.computed_the_same(group.root))
            };
            let given = covered.iter().flat_map(|covered| covered.coverage.given());
            let before = given.filter(|(_, state, group)| *state == RowState::Done && is_before(group));
            kept.add(&pinned.object.path, before.map(|(range, ..)| range.end - range.start).sum());
        }
        kept
    }

    /// Objects with rows that are not covered.
    pub(super) fn open(&self) -> impl Iterator<Item = (&Pinned, u32)> {
        let is_open = |covered: &Option<ObjectCoverage>| !covered.as_ref().is_some_and(ObjectCoverage::is_complete);
        self.pieces.iter().filter(move |(.., covered)| is_open(covered)).map(|(pinned, _, lane, _)| (pinned, *lane))
    }
}

async fn digests(
    plan: &Plan,
    root: &Root,
    listing: &[Pinned],
    lanes: &Lanes,
) -> Result<HashMap<String, String>, RunError> {
    let Genesis { lanes: count, split_bytes, .. } = root.genesis;
    let doubtful = listing.iter().filter(|pinned| {
        let pieces = 0..pieces(pinned.object.size, split_bytes);
        let mut states = pieces.filter_map(|piece| lanes.state(lane_of(&pinned.object.path, piece, count)));
        states.any(|state| state.is_open_to_doubt(pinned, root.began_in))
    });
    digests_of(plan, doubtful.map(|pinned| &pinned.object)).await
}

/// The digests of objects, by path.
pub(super) async fn digests_of<'a>(
    plan: &Plan,
    objects: impl Iterator<Item = &'a Object>,
) -> Result<HashMap<String, String>, RunError> {
    let digest = async |object: &Object| {
        let opened = source::open(&plan.source.store, &*plan.source.format, object, 0).await?;
        Ok::<_, RunError>((object.path.to_string(), opened.digest))
    };
    let opens: Vec<_> = objects.map(digest).collect();
    futures::stream::iter(opens).buffer_unordered(DIGESTS_AT_ONCE).try_collect().await
}
