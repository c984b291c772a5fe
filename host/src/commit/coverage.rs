//! Ranges of source rows, their state, and the group that gave it. Absent means not yet. Later ranges win over earlier
//! ones, so replaying a lane in order gives every row the state that the last entry gave it.

use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

use super::entry::{CoveredObject, covered_from_ranges};
use super::replay::GroupState;

/// What became of a source row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RowState {
    /// Written, or filtered out.
    Done,
    /// Its id was done elsewhere.
    Known,
    /// Failed and left out.
    Failed,
    /// Failed, left out, and kept as a dead letter.
    DeadLettered,
    /// No row: positions of a text that no record stands at, a blank line or what is behind the last line.
    Blank,
}

/// The states of one object's rows, as disjoint ranges; neighbours of one state and one group are joined.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage(BTreeMap<u64, (u64, Given)>);

/// A state, and the number of the group that gave it.
type Given = (RowState, u64);

impl Coverage {
    /// Gives the rows of `range` a state, whatever they had.
    pub fn set(&mut self, range: Range<u64>, state: RowState) {
        self.set_by(range, state, 0);
    }

    /// As [`Coverage::set`], by a group of the log.
    pub fn set_by(&mut self, range: Range<u64>, state: RowState, group: u64) {
        if range.is_empty() {
            return;
        }
        self.unset(&range);
        let given = (state, group);
        let mut joined = range;
        if let Some((&start, &(end, before))) = self.0.range(..joined.start).next_back()
            && end == joined.start
            && before == given
        {
            joined.start = start;
        }
        if let Some(&(end, after)) = self.0.get(&joined.end)
            && after == given
        {
            self.0.remove(&joined.end);
            joined.end = end;
        }
        self.0.insert(joined.start, (joined.end, given));
    }

    /// Takes the state of the rows of `range` away.
    pub fn unset(&mut self, range: &Range<u64>) {
        if self.is_below(range.start) {
            return;
        }
        let before = self.0.range(..range.start).next_back().map(|(&start, &(end, given))| (start, end, given));
        if let Some((start, end, given)) = before
            && end > range.start
        {
            self.0.insert(start, (range.start, given));
            if end > range.end {
                self.0.insert(range.end, (end, given));
            }
        }
        let inside: Vec<u64> = self.0.range(range.clone()).map(|(&start, _)| start).collect();
        for start in inside {
            let (end, given) = self.0.remove(&start).expect("just seen");
            if end > range.end {
                self.0.insert(range.end, (end, given));
            }
        }
    }

    /// As [`Coverage::unset`], but rows of one state keep it.
    pub fn unset_unless(&mut self, range: &Range<u64>, kept: RowState) {
        let others = self.within(range).filter(|(_, (state, _))| *state != kept).map(|(range, _)| range);
        others.collect::<Vec<_>>().iter().for_each(|range| self.unset(range));
    }

    /// Whether no row from this one on has a state. Most entries speak of rows above all that were there before.
    fn is_below(&self, row: u64) -> bool {
        self.0.last_key_value().is_none_or(|(_, &(end, _))| end <= row)
    }

    /// Rows that are done here and there, and the groups that did them here.
    pub(super) fn done_twice(&self, other: &Coverage) -> Vec<(Range<u64>, u64)> {
        let ranges = other.of(RowState::Done).filter(|range| !self.is_below(range.start));
        let given = ranges.flat_map(|range| self.within(&range).collect::<Vec<_>>());
        given.filter(|(_, (state, _))| *state == RowState::Done).map(|(rows, (_, group))| (rows, group)).collect()
    }

    /// What is given within a range, ascending.
    fn within(&self, range: &Range<u64>) -> impl Iterator<Item = (Range<u64>, Given)> + '_ {
        let (from, to) = (range.start, range.end);
        let first = self.0.range(..=from).next_back().map_or(from, |(&start, _)| start);
        let given = self.0.range(first..to.max(first)).map(|(&start, &(end, given))| (start, end, given));
        given
            .filter(move |(_, end, _)| *end > from)
            .map(move |(start, end, given)| (start.max(from)..end.min(to), given))
    }

    /// Takes a state away wherever it is.
    pub fn forget(&mut self, state: RowState) {
        self.0.retain(|_, (_, given)| given.0 != state);
    }

    /// The ranges with their states, ascending.
    pub fn iter(&self) -> impl Iterator<Item = (Range<u64>, RowState)> + '_ {
        self.given().map(|(range, state, _)| (range, state))
    }

    /// The ranges with their states and the groups that gave them, ascending.
    pub fn given(&self) -> impl Iterator<Item = (Range<u64>, RowState, u64)> + '_ {
        self.0.iter().map(|(&start, &(end, (state, group)))| (start..end, state, group))
    }

    /// The ranges of one state, ascending.
    pub fn of(&self, state: RowState) -> impl Iterator<Item = Range<u64>> + '_ {
        self.iter().filter(move |(_, own)| *own == state).map(|(range, _)| range)
    }

    /// The state of one row.
    pub fn at(&self, row: u64) -> Option<RowState> {
        let (_, &(end, (state, _))) = self.0.range(..=row).next_back()?;
        (row < end).then_some(state)
    }

    /// Rows of one state.
    pub fn count(&self, state: RowState) -> u64 {
        self.of(state).map(|range| range.end - range.start).sum()
    }

    /// Rows of any state.
    pub fn rows(&self) -> u64 {
        self.len() - self.count(RowState::Blank)
    }

    /// Rows of any state within a range.
    pub fn rows_within(&self, range: &Range<u64>) -> u64 {
        let rows = self.within(range).filter(|(_, (state, _))| *state != RowState::Blank);
        rows.map(|(rows, _)| rows.end - rows.start).sum()
    }

    /// Positions of any state, those without a row too.
    pub fn len(&self) -> u64 {
        self.iter().map(|(range, _)| range.end - range.start).sum()
    }

    /// Whether no row has a state.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The rows of `within` that have no state, ascending.
    pub fn missing(&self, within: Range<u64>) -> Vec<Range<u64>> {
        let mut missing = Vec::new();
        let mut next = within.start;
        let from = self.0.range(..=within.start).next_back().map_or(within.start, |(&start, _)| start);
        for (&start, &(end, _)) in self.0.range(from..within.end) {
            if start > next {
                missing.push(next..start);
            }
            next = next.max(end);
        }
        if next < within.end {
            missing.push(next..within.end);
        }
        missing
    }
}

/// What a lane knows of one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectCoverage {
    /// Of the content that the ranges speak of.
    pub digest: String,
    /// The object's bytes.
    pub size: u64,
    /// Rows in the whole object; of a text its positions, at some of which there may be no row.
    pub rows: u64,
    /// Which piece of the object this is about; 0 of an object that is not cut.
    pub piece: u32,
    /// The rows of the piece, if the object is cut.
    pub own: Option<Vec<(u64, u64)>>,
    /// The last root entry under which a group spoke of this content.
    pub root: u64,
    /// Groups that spoke of it and gave none of its rows a state: an object without rows, or one that has an earlier content
    /// again.
    pub named_by: Vec<u64>,
    /// The rows' states.
    pub coverage: Coverage,
}

impl ObjectCoverage {
    /// The same content, of which nothing is covered.
    #[must_use]
    pub fn without_rows(&self) -> ObjectCoverage {
        ObjectCoverage { coverage: Coverage::default(), ..self.clone() }
    }

    /// Whether both speak of the same piece of the same content, and of the same rows of it.
    pub(super) fn is_of(&self, other: &ObjectCoverage) -> bool {
        let key = |of: &ObjectCoverage| (of.piece, of.size, of.rows);
        key(self) == key(other) && self.digest == other.digest && self.own == other.own
    }

    /// Takes what groups gave away that do not count any more. Whether anything is left that a group says.
    pub(super) fn withdraw(&mut self, gone: &HashSet<u64>, groups: &BTreeMap<u64, GroupState>) -> bool {
        let given: Vec<_> = self.coverage.given().collect();
        let withdrawn = given.iter().filter(|(_, _, group)| gone.contains(group));
        withdrawn.for_each(|(range, ..)| self.coverage.unset(range));
        let spoke = || given.iter().map(|(.., group)| group).chain(&self.named_by);
        if spoke().any(|group| gone.contains(group)) {
            let left = spoke().filter(|group| !gone.contains(group));
            let root = left.map(|group| groups.get(group).map_or(self.root, |group| group.root)).max();
            let Some(root) = root else { return false };
            self.root = root;
            self.named_by.retain(|group| !gone.contains(group));
        }
        true
    }

    /// Whether no row is left to do.
    pub fn is_complete(&self) -> bool {
        self.coverage.len() == self.own_rows()
    }

    /// Rows of the piece.
    pub fn own_rows(&self) -> u64 {
        self.own.as_ref().map_or(self.rows, |own| own.iter().map(|(start, end)| end - start).sum())
    }

    /// As it stands in an entry.
    pub fn to_entry(&self, object: &str) -> CoveredObject {
        let ranges = |state| covered_from_ranges(self.coverage.of(state));
        CoveredObject {
            object: object.into(),
            digest: self.digest.clone(),
            size: self.size,
            rows: self.rows,
            piece: self.piece,
            own: self.own.clone(),
            done: ranges(RowState::Done),
            known: ranges(RowState::Known),
            failed: ranges(RowState::Failed),
            dead: ranges(RowState::DeadLettered),
            blank: ranges(RowState::Blank),
        }
    }

    /// From the entry of a group; says what is wrong if the ranges are not ranges of the object.
    pub fn from_entry(entry: &CoveredObject, group: u64) -> Result<ObjectCoverage, String> {
        let mut coverage = Coverage::default();
        let states = [
            (&entry.done, RowState::Done),
            (&entry.known, RowState::Known),
            (&entry.failed, RowState::Failed),
            (&entry.dead, RowState::DeadLettered),
            (&entry.blank, RowState::Blank),
        ];
        for (ranges, state) in states {
            for &(start, end) in ranges {
                if start >= end || end > entry.rows || !covers_nothing(&coverage, start..end) {
                    return Err(format!("rows {start}..{end} of {} with {} rows", entry.object, entry.rows));
                }
                coverage.set_by(start..end, state, group);
            }
        }
        if let Some(own) = &entry.own {
            refuse_rows_of_others(entry, own, coverage.clone())?;
        }
        let own = entry.own.clone();
        let named_by = if coverage.is_empty() { vec![group] } else { Vec::new() };
        let (digest, size, rows, piece) = (entry.digest.clone(), entry.size, entry.rows, entry.piece);
        Ok(ObjectCoverage { digest, size, rows, piece, own, root: 0, named_by, coverage })
    }
}

fn covers_nothing(coverage: &Coverage, range: Range<u64>) -> bool {
    coverage.is_below(range.start) || coverage.missing(range.clone()) == [range]
}

/// The rows of a piece are ranges of the object, in order, and nothing else is covered.
fn refuse_rows_of_others(entry: &CoveredObject, own: &[(u64, u64)], mut others: Coverage) -> Result<(), String> {
    let CoveredObject { object, rows, piece, .. } = entry;
    let mut next = 0;
    for &(start, end) in own {
        if start < next || start >= end || end > *rows {
            return Err(format!("a piece with rows {start}..{end} of {object} with {rows} rows"));
        }
        others.unset(&(start..end));
        next = end;
    }
    match others.iter().next() {
        Some((Range { start, end }, _)) => Err(format!("rows {start}..{end} of {object} are not of its piece {piece}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATES: [RowState; 5] =
        [RowState::Done, RowState::Known, RowState::Failed, RowState::DeadLettered, RowState::Blank];

    /// A model that keeps a state per row decides.
    #[test]
    fn random_settings_agree_with_a_row_by_row_model() {
        let mut seed = 7u64;
        let mut random = move |below: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % below
        };
        for _ in 0..300 {
            let mut coverage = Coverage::default();
            let mut model = vec![None; 40];
            for _ in 0..12 {
                let start = random(40);
                let end = start + random(40 - start + 1);
                let state = STATES[random(5) as usize];
                coverage.set(start..end, state);
                model[start as usize..end as usize].fill(Some(state));
            }
            let mut seen = vec![None; 40];
            for (range, state) in coverage.iter() {
                seen[range.start as usize..range.end as usize].fill(Some(state));
            }
            assert_eq!(seen, model);
            assert_eq!((0..40).map(|row| coverage.at(row)).collect::<Vec<_>>(), model);
            let joined: Vec<_> = coverage.iter().collect();
            assert!(joined.windows(2).all(|pair| pair[0].0.end < pair[1].0.start || pair[0].1 != pair[1].1));
            let missing: Vec<u64> = coverage.missing(5..35).into_iter().flatten().collect();
            assert_eq!(missing, (5..35).filter(|&row| model[row as usize].is_none()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn rows_that_are_done_twice_are_found_and_stay_when_others_are_taken_away() {
        let mut coverage = Coverage::default();
        coverage.set_by(2..5, RowState::Done, 3);
        coverage.set_by(5..8, RowState::Failed, 3);
        coverage.set_by(8..9, RowState::Done, 4);
        let done = |rows| {
            let mut done = Coverage::default();
            done.set(rows, RowState::Done);
            done
        };
        let cases = [
            (0..2, vec![]),
            (5..8, vec![]),
            (0..3, vec![(2..3, 3)]),
            (4..9, vec![(4..5, 3), (8..9, 4)]),
            (6..20, vec![(8..9, 4)]),
        ];
        for (rows, twice) in cases {
            assert_eq!(coverage.done_twice(&done(rows.clone())), twice, "{rows:?}");
        }
        coverage.unset_unless(&(3..9), RowState::Done);
        assert_eq!(coverage.iter().collect::<Vec<_>>(), [(2..5, RowState::Done), (8..9, RowState::Done)]);
        coverage.unset_unless(&(0..3), RowState::Known);
        assert_eq!(coverage.iter().map(|(rows, _)| rows).collect::<Vec<_>>(), [3..5, 8..9]);
    }

    #[test]
    fn what_is_left_of_a_content_is_of_the_groups_that_are_left() {
        let group = |root| GroupState { root, ..GroupState::default() };
        let groups = |numbers: &[u64]| numbers.iter().map(|number| (*number, group(number / 10))).collect();
        let content = || {
            let mut content = ObjectCoverage {
                digest: String::new(),
                size: 1,
                rows: 10,
                piece: 0,
                own: None,
                root: 3,
                named_by: vec![25],
                coverage: Coverage::default(),
            };
            content.coverage.set_by(0..4, RowState::Done, 10);
            content.coverage.set_by(4..6, RowState::Failed, 30);
            content
        };
        let left = |gone: &[u64], counting: &[u64]| {
            let mut content = content();
            let is_left = content.withdraw(&gone.iter().copied().collect(), &groups(counting));
            is_left.then_some((content.root, content.named_by, content.coverage.len()))
        };
        assert_eq!(left(&[7], &[10, 25, 30]), Some((3, vec![25], 6)));
        // The group that named it still says that it was there.
        assert_eq!(left(&[30], &[10, 25]), Some((2, vec![25], 4)));
        assert_eq!(left(&[30, 25], &[10]), Some((1, vec![], 4)));
        assert_eq!(left(&[10, 30], &[25]), Some((2, vec![25], 0)));
        assert_eq!(left(&[10, 25, 30], &[]), None);
    }

    #[test]
    fn an_entry_that_claims_rows_twice_or_beyond_the_end_is_refused() {
        let entry = |done, dead| CoveredObject {
            object: "a".into(),
            digest: String::new(),
            size: 1,
            rows: 10,
            piece: 0,
            own: None,
            done,
            known: vec![],
            failed: vec![],
            dead,
            blank: vec![],
        };
        assert!(ObjectCoverage::from_entry(&entry(vec![(0, 4)], vec![(4, 5)]), 1).is_ok());
        assert!(ObjectCoverage::from_entry(&entry(vec![(0, 4)], vec![(3, 5)]), 1).is_err());
        assert!(ObjectCoverage::from_entry(&entry(vec![(0, 11)], vec![]), 1).is_err());
        assert!(ObjectCoverage::from_entry(&entry(vec![(4, 4)], vec![]), 1).is_err());
        assert!(ObjectCoverage::from_entry(&entry(vec![(5, 2)], vec![]), 1).is_err());
        assert!(ObjectCoverage::from_entry(&entry(vec![(0, u64::MAX)], vec![]), 1).is_err());
        let of_piece = |own| CoveredObject { own: Some(own), ..entry(vec![(2, 6)], vec![]) };
        assert!(ObjectCoverage::from_entry(&of_piece(vec![(0, 4), (4, 8)]), 1).is_ok());
        assert!(ObjectCoverage::from_entry(&of_piece(vec![(0, 4)]), 1).is_err());
        assert!(ObjectCoverage::from_entry(&of_piece(vec![(0, 4), (5, 8)]), 1).is_err());
        assert!(ObjectCoverage::from_entry(&of_piece(vec![(4, 8), (0, 4)]), 1).is_err());
    }
}
