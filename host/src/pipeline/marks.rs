//! Marks of objects that are through, in the layout `mirror`. What they say comes of the log; here is known when it is time
//! for one: after the commit that makes an object complete, and where a run looks at all objects anyway, as it opens the job
//! and before it ends.

use std::collections::{BTreeMap, HashMap};

use super::RunError;
use super::covered::{Covered, Lanes};
use crate::commit::{
    self, CommitError, Group, Known, LaneState, Mark, Marked, ObjectCoverage, Pinned, Root, lane_of, pieces,
};
use crate::plan::{Failed, Plan};
use crate::sink::{Layout, OutputKind};
use crate::store::Listed;

/// Makes the marks of all objects that these lanes tell of what the log says; others stay as they are.
pub(super) async fn keep(
    plan: &Plan,
    root: &Root,
    covered: &Covered,
    lanes: &Lanes,
    listing: &[Listed],
) -> Result<(), CommitError> {
    match root.genesis.layout {
        Layout::Flat => Ok(()),
        Layout::Mirror => commit::keep_marks(&plan.sink.store, &wanted(root, covered, lanes), listing).await,
    }
}

/// The mark of each object, or that it is to have none. Of an object that is complete as far as these lanes know, and has pieces
/// in others, nothing is known.
fn wanted(root: &Root, covered: &Covered, lanes: &Lanes) -> HashMap<String, Option<Mark>> {
    let mut files = files(lanes.states());
    let by_object = by_object(covered).into_iter();
    let mark = |(pinned, own): (&Pinned, Pieces)| {
        let path = pinned.object.path.as_ref();
        let complete: Option<Vec<&ObjectCoverage>> =
            own.values().map(|piece| piece.filter(|piece| piece.is_complete())).collect();
        match complete {
            None => Some((path.to_owned(), None)),
            Some(own) if own.len() < pieces_of(root, pinned) => None,
            Some(own) => {
                let files = files.remove(path).unwrap_or_default();
                Some((path.to_owned(), Some(Mark::new(&root.genesis.job, path, own, files))))
            }
        }
    };
    by_object.filter_map(mark).collect()
}

type Pieces<'a> = BTreeMap<u32, Option<&'a ObjectCoverage>>;

fn by_object(covered: &Covered) -> Vec<(&Pinned, Pieces<'_>)> {
    let mut objects: Vec<(&Pinned, Pieces<'_>)> = Vec::new();
    for (pinned, piece, _, coverage) in &covered.pieces {
        match objects.last_mut().filter(|(last, _)| last.object.path == pinned.object.path) {
            Some((_, own)) => drop(own.insert(*piece, coverage.as_ref())),
            None => objects.push((pinned, BTreeMap::from([(*piece, coverage.as_ref())]))),
        }
    }
    objects
}

fn pieces_of(root: &Root, pinned: &Pinned) -> usize {
    pieces(pinned.object.size, root.genesis.split_bytes) as usize
}

fn files<'a>(lanes: impl Iterator<Item = &'a LaneState>) -> HashMap<String, Vec<Marked>> {
    let mut files: HashMap<String, Vec<Marked>> = HashMap::new();
    for state in lanes {
        for (number, group) in &state.groups {
            for file in group.files_of(OutputKind::Results) {
                let Some(holds) = &file.holds else { continue };
                let marked = Marked::new(state.lane, *number, &file.path, file.rows);
                files.entry(holds.object.clone()).or_default().push(marked);
            }
        }
    }
    files
}

/// Objects that are not through yet, as far as this run holds their pieces.
pub(super) struct Marks(HashMap<String, Open>);

struct Open {
    pinned: Pinned,
    pieces: BTreeMap<u32, Option<ObjectCoverage>>,
    files: Vec<Marked>,
}

impl Open {
    fn is_complete(&self) -> bool {
        self.pieces.values().all(|piece| piece.as_ref().is_some_and(ObjectCoverage::is_complete))
    }

    fn cover(&mut self, piece: u32, new: &ObjectCoverage) {
        match self.pieces.entry(piece).or_default() {
            Some(known) => new.coverage.iter().for_each(|(range, state)| known.coverage.set(range, state)),
            none => *none = Some(new.clone()),
        }
    }
}

impl Marks {
    /// None if the job has no marks.
    pub(super) fn of(root: &Root, covered: &Covered, lanes: &Lanes) -> Option<Marks> {
        if root.genesis.layout == Layout::Flat {
            return None;
        }
        let mut files = files(lanes.states());
        let open = |(pinned, own): (&Pinned, Pieces)| {
            let path = pinned.object.path.to_string();
            let pieces = own.into_iter().map(|(piece, covered)| (piece, covered.cloned())).collect();
            let files = files.remove(&path).unwrap_or_default();
            let open = Open { pinned: pinned.clone(), pieces, files };
            (!open.is_complete()).then_some((path, open))
        };
        Some(Marks(by_object(covered).into_iter().filter_map(open).collect()))
    }

    /// A group that is about to be committed, as far as marks need it.
    pub(super) fn committing(group: &Group) -> Group {
        let (objects, files) = (group.objects.clone(), group.files.clone());
        Group { objects, files, ..Group::new(group.number) }
    }

    /// Notes what a group did that is committed under this number, and gives the objects that are complete by it, as far as this
    /// run knows.
    fn note(&mut self, lane: u32, number: u64, group: &Group) -> Vec<Open> {
        for file in group.files.iter() {
            let Some(open) = file.holds.as_ref().and_then(|holds| self.0.get_mut(&holds.object)) else { continue };
            open.files.push(Marked::new(lane, number, &file.path, file.rows));
        }
        let mut complete = Vec::new();
        for ((path, piece), covered) in &group.objects {
            let Some(open) = self.0.get_mut(path) else { continue };
            open.cover(*piece, covered);
            if open.is_complete() {
                complete.extend(self.0.remove(path));
            }
        }
        complete
    }

    /// What is to be marked after a commit.
    pub(super) fn committed(&mut self, root: &Root, lane: u32, number: u64, group: &Group) -> Through {
        let mut through = Through::default();
        for Open { pinned, pieces, files } in self.note(lane, number, group) {
            if pieces.len() < pieces_of(root, &pinned) {
                through.beside_others.push(pinned);
                continue;
            }
            let path = pinned.object.path.to_string();
            let mark = Mark::new(&root.genesis.job, &path, pieces.values().flatten(), files);
            through.marks.insert(path, Some(mark));
        }
        through
    }
}

/// Objects that are through.
#[derive(Default)]
pub(super) struct Through {
    marks: HashMap<String, Option<Mark>>,
    /// As far as this run knows: pieces of them lie in lanes of others.
    beside_others: Vec<Pinned>,
}

impl Through {
    pub(super) fn is_empty(&self) -> bool {
        self.marks.is_empty() && self.beside_others.is_empty()
    }

    /// Leaves the marks. Two runs that each commit the last piece of theirs both look after that, so one of them sees both.
    pub(super) async fn leave(mut self, plan: &Plan) -> Result<(), RunError> {
        for pinned in std::mem::take(&mut self.beside_others) {
            self.marks.extend(beside_others(plan, &pinned).await?);
        }
        Ok(commit::keep_marks(&plan.sink.store, &self.marks, &[]).await?)
    }
}

async fn beside_others(plan: &Plan, pinned: &Pinned) -> Result<HashMap<String, Option<Mark>>, RunError> {
    let Some(root) = Root::read(&plan.checkpoint).await? else { return Ok(HashMap::new()) };
    let lane = |piece| lane_of(&pinned.object.path, piece, root.genesis.lanes);
    let mut numbers: Vec<u32> = (0..pieces_of(&root, pinned) as u32).map(lane).collect();
    numbers.sort_unstable();
    numbers.dedup();
    let lanes = Lanes::read(plan, &root, numbers.into_iter().map(|lane| (lane, Known::default(), None))).await?;
    let covered = Covered::of(plan, &root, std::slice::from_ref(pinned), &lanes, Failed::Stay).await?;
    Ok(wanted(&root, &covered, &lanes))
}
