//! What an entry says twice must agree: the rows that it covers, what became of them, and the rows of its files. A digest
//! tells what was altered by chance; this also tells what was altered by hand, every digest taken anew, and what was altered
//! in format 1, which has none.

use std::collections::{BTreeMap, HashMap};

use super::coverage::{Coverage, RowState};
use super::entry::{CoveredObject, FileEntry, IdFile, SideFile};
use super::group::GroupCounts;
use super::replay::GroupState;
use super::side::CoverageRow;
use crate::sink::{OutputKind, Span};

/// How many source rows have a state, as their ranges say it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RowsSaid {
    done: u64,
    known: u64,
    failed: u64,
    dead: u64,
}

impl RowsSaid {
    pub(super) fn of<'a>(objects: impl Iterator<Item = &'a CoveredObject>) -> RowsSaid {
        let mut said = RowsSaid::default();
        objects.for_each(|object| said.add(object));
        said
    }

    /// Of each group that rows of a table of coverage name.
    pub(super) fn by_group(rows: &[CoverageRow]) -> BTreeMap<u64, RowsSaid> {
        let mut said: BTreeMap<u64, RowsSaid> = BTreeMap::new();
        rows.iter().for_each(|row| said.entry(row.group).or_default().add(&row.object));
        said
    }

    /// Of sound ranges: their sum can be too large all the same.
    pub(super) fn add(&mut self, object: &CoveredObject) {
        let rows = |ranges: &[(u64, u64)]| {
            ranges.iter().map(|(start, end)| end.saturating_sub(*start)).fold(0, u64::saturating_add)
        };
        let CoveredObject { done, known, failed, dead, .. } = object;
        self.done = self.done.saturating_add(rows(done));
        self.known = self.known.saturating_add(rows(known));
        self.failed = self.failed.saturating_add(rows(failed));
        self.dead = self.dead.saturating_add(rows(dead));
    }

    /// The same, as counts say it. None if they contradict themselves.
    fn counted(counts: &GroupCounts) -> Option<RowsSaid> {
        let GroupCounts { rows_read, rows_dropped, rows_failed: failed, rows_dead_lettered: dead, rows_known, .. } =
            *counts;
        let done = rows_read.checked_sub(failed)?.checked_sub(dead)?;
        (rows_dropped <= done).then_some(RowsSaid { done, known: rows_known, failed, dead })
    }

    /// A segment covers just the rows that it counts, and has an id of each that is done.
    pub(super) fn check_segment(
        &self,
        group: &GroupState,
        ids: Option<&SideFile>,
        has_ids: bool,
    ) -> Result<(), String> {
        let counted = counted(&group.counts)?;
        if *self != counted {
            return Err(format!("it covers {self}, and counts {counted}"));
        }
        check_files(group)?;
        let id_rows = ids.map_or(0, |file| file.rows);
        match has_ids {
            true if id_rows != self.done => {
                Err(format!("it has {id_rows} id(s) of {} row(s) that are done", self.done))
            }
            false if ids.is_some() => Err("it has ids, and the job knows rows by position".into()),
            _ => Ok(()),
        }
    }

    /// Later groups may have given rows another state: what is left of a compacted group is at most what it counted.
    pub(super) fn check_compacted(&self, group: &GroupState) -> Result<(), String> {
        let counted = counted(&group.counts)?;
        let RowsSaid { done, known, failed, dead } = *self;
        if done > counted.done || known > counted.known || failed > counted.failed || dead > counted.dead {
            return Err(format!("it covers {self}, and counts {counted}"));
        }
        check_files(group)
    }
}

impl std::fmt::Display for RowsSaid {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let RowsSaid { done, known, failed, dead } = self;
        write!(f, "{done} done, {known} known, {failed} failed, {dead} dead-lettered row(s)")
    }
}

fn counted(counts: &GroupCounts) -> Result<RowsSaid, String> {
    RowsSaid::counted(counts).ok_or_else(|| format!("its counts contradict each other: {counts:?}"))
}

/// Files of each kind hold the rows that are counted as such.
fn check_files(group: &GroupState) -> Result<(), String> {
    for kind in OutputKind::ALL {
        let rows = group.files_of(kind).map(|file| file.rows).fold(0, u64::saturating_add);
        let counted = group.counts.rows_of(kind);
        if rows != counted {
            return Err(format!("its {} are {rows} row(s), and it counts {counted}", kind.name()));
        }
    }
    let GroupCounts { rows_written, rows_dropped, .. } = group.counts;
    let with_output = counted(&group.counts)?.done - rows_dropped;
    if with_output > rows_written || (with_output == 0 && rows_written > 0) {
        return Err(format!("it counts {with_output} row(s) with output, and {rows_written} row(s) of output"));
    }
    Ok(())
}

/// Source rows whose results lie in files are done by the group that names these, each in one file.
pub(super) fn check_holds<'a>(
    objects: impl Iterator<Item = &'a CoveredObject>,
    files: &[FileEntry],
) -> Result<(), String> {
    if files.iter().all(|file| file.holds.is_none()) {
        return Ok(());
    }
    let mut left: HashMap<&str, Coverage> = HashMap::new();
    for object in objects {
        let done = left.entry(&object.object).or_default();
        object.done.iter().for_each(|(start, end)| done.set(*start..*end, RowState::Done));
    }
    for (file, holds) in files.iter().filter_map(|file| Some((file, file.holds.as_ref()?))) {
        let none = Coverage::default();
        let own = left.get(holds.object.as_str()).unwrap_or(&none);
        if let Some(span) = holds.spans.iter().find(|span| !own.missing(span.start..span.end).is_empty()) {
            let Span { start, end, .. } = span;
            return Err(format!("{} holds rows {start}..{end} of {}, which it did not do", file.path, holds.object));
        }
        let own = left.get_mut(holds.object.as_str()).expect("some of it is done");
        holds.spans.iter().for_each(|span| own.unset(&(span.start..span.end)));
    }
    Ok(())
}

/// The id files of a compaction hold an id of each row that a group did, whatever became of the row later. Large ones that
/// earlier compactions merged may hold those of groups that count no more.
pub(super) fn check_ids(ids: &[IdFile], groups: &BTreeMap<u64, GroupState>) -> Result<(), String> {
    let held = ids.iter().map(|ids| ids.file.rows).fold(0, u64::saturating_add);
    let done = |group: &GroupState| RowsSaid::counted(&group.counts).map_or(0, |counted| counted.done);
    let done = groups.values().map(done).fold(0, u64::saturating_add);
    match held < done {
        false => Ok(()),
        true => Err(format!("it has {held} id(s) of {done} row(s) that its groups did")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object() -> CoveredObject {
        CoveredObject {
            object: "a".into(),
            digest: "d".into(),
            size: 9,
            rows: 20,
            piece: 0,
            own: None,
            done: vec![(0, 5), (6, 8)],
            known: vec![(8, 10)],
            failed: vec![(5, 6)],
            dead: vec![(12, 14)],
            blank: vec![(20, 30)],
        }
    }

    /// Of ten rows that were read one failed, two are dead letters, three were dropped, and four became nine.
    fn group() -> GroupState {
        let file = |path: &str, rows| FileEntry { path: path.into(), rows, bytes: 1, digest: None, holds: None };
        let counts = GroupCounts {
            rows_read: 10,
            rows_dropped: 3,
            rows_failed: 1,
            rows_dead_lettered: 2,
            rows_known: 2,
            rows_written: 9,
        };
        let files = vec![file("a", 4), file("b", 5), file("_wasmpipe/dead-letters/c", 2)];
        GroupState { root: 0, files, counts }
    }

    fn ids(rows: u64) -> SideFile {
        SideFile { path: "side/i".into(), rows, bytes: 1, digest: String::new() }
    }

    fn refused(edit: impl FnOnce(&mut CoveredObject, &mut GroupState)) -> String {
        let (mut object, mut group) = (object(), group());
        edit(&mut object, &mut group);
        RowsSaid::of([&object].into_iter()).check_segment(&group, Some(&ids(7)), true).unwrap_err()
    }

    #[test]
    fn rows_counts_and_files_of_a_segment_agree() {
        let said = RowsSaid::of([&object()].into_iter());
        assert_eq!(said.check_segment(&group(), Some(&ids(7)), true), Ok(()));
        assert_eq!(said.check_segment(&group(), None, false), Ok(()));
        let cases = [
            (refused(|object, _| object.done[0].1 += 1), "it covers 8 done, 2 known"),
            (refused(|object, _| object.known.clear()), "0 known"),
            (refused(|_, group| group.counts.rows_read = 2), "its counts contradict each other"),
            (refused(|_, group| group.counts.rows_dropped = 8), "its counts contradict each other"),
            (refused(|_, group| group.files[0].rows += 1), "its results are 10 row(s), and it counts 9"),
            (refused(|_, group| drop(group.files.remove(1))), "its results are 4 row(s), and it counts 9"),
            (refused(|_, group| drop(group.files.pop())), "its dead letters are 0 row(s), and it counts 2"),
            (refused(|_, group| group.counts.rows_dropped = 7), "it counts 0 row(s) with output"),
        ];
        for (message, said) in cases {
            assert!(message.contains(said), "{message}: {said}");
        }
        assert!(said.check_segment(&group(), Some(&ids(6)), true).is_err());
        assert!(said.check_segment(&group(), None, true).is_err());
        assert!(said.check_segment(&group(), Some(&ids(7)), false).is_err());
    }

    #[test]
    fn files_hold_rows_that_their_group_did_each_once() {
        let file = |path: &str, spans: &[(u64, u64, u64)]| {
            let spans: Vec<Span> = spans.iter().copied().map(Span::from).collect();
            let holds = crate::sink::Holds { object: "a".into(), spans };
            FileEntry { path: path.into(), rows: holds.rows(), bytes: 1, digest: None, holds: Some(holds) }
        };
        let check = |files: &[FileEntry]| check_holds([&object()].into_iter(), files);
        assert_eq!(check(&[file("x", &[(0, 3, 4), (6, 8, 1)]), file("y", &[(3, 5, 0)])]), Ok(()));
        let cases = [
            (vec![file("x", &[(0, 3, 4)]), file("y", &[(2, 5, 1)])], "y holds rows 2..5 of a"),
            (vec![file("x", &[(4, 7, 4)])], "x holds rows 4..7 of a"),
            (vec![file("x", &[(30, 31, 1)])], "x holds rows 30..31 of a"),
        ];
        for (files, said) in cases {
            let message = check(&files).unwrap_err();
            assert!(message.contains(said), "{message}");
        }
        assert!(check_holds([].into_iter(), &[file("x", &[(0, 1, 1)])]).is_err());
    }

    #[test]
    fn a_compacted_group_covers_at_most_what_it_counted() {
        let said = RowsSaid::of([&object()].into_iter());
        let less = RowsSaid { done: 1, failed: 0, ..said };
        assert_eq!((said.check_compacted(&group()), less.check_compacted(&group())), (Ok(()), Ok(())));
        assert!(RowsSaid { dead: 3, ..said }.check_compacted(&group()).is_err());
        let of_group = IdFile { group: Some(1), file: ids(7) };
        let groups = BTreeMap::from([(1, group())]);
        assert_eq!(check_ids(&[of_group], &groups), Ok(()));
        assert!(check_ids(&[IdFile { group: None, file: ids(6) }], &groups).is_err());
    }
}
