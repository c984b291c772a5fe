//! Source rows that become durable together. A group is fixed when the source emits its rows; it is a plain value that
//! collects what became of them, and the commit makes a segment of it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use arrow::array::RecordBatch;
use serde::{Deserialize, Serialize};

use super::coverage::{ObjectCoverage, RowState};
use super::entry::SideFile;
use crate::sink::{OutputKind, SinkFile};

/// When a group ends; whichever comes first.
#[derive(Clone, Copy, Debug)]
pub struct GroupLimits {
    /// Source rows.
    pub rows_max: u64,
    /// Bytes of source columns in memory.
    pub bytes_max: u64,
    /// Time since its first row.
    pub time_max: Duration,
}

/// What became of the rows of a group, and of several groups by [`GroupCounts::add`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupCounts {
    /// Source rows that went through the stages.
    pub rows_read: u64,
    /// Source rows without an output row that did not fail.
    pub rows_dropped: u64,
    /// Source rows that failed and are left out.
    pub rows_failed: u64,
    /// Source rows that failed and became dead letters.
    pub rows_dead_lettered: u64,
    /// Source rows whose id was done elsewhere.
    pub rows_known: u64,
    /// Output rows.
    pub rows_written: u64,
}

impl GroupCounts {
    /// Rows in files of a kind.
    pub fn rows_of(&self, kind: OutputKind) -> u64 {
        match kind {
            OutputKind::Results => self.rows_written,
            OutputKind::DeadLetters => self.rows_dead_lettered,
        }
    }

    /// Adds another group's counts. They are for people, and a log can say any: what is too much stays the most.
    pub fn add(&mut self, other: &GroupCounts) {
        let add = |own: &mut u64, other: u64| *own = own.saturating_add(other);
        add(&mut self.rows_read, other.rows_read);
        add(&mut self.rows_dropped, other.rows_dropped);
        add(&mut self.rows_failed, other.rows_failed);
        add(&mut self.rows_dead_lettered, other.rows_dead_lettered);
        add(&mut self.rows_known, other.rows_known);
        add(&mut self.rows_written, other.rows_written);
    }
}

/// A group while it is worked on.
#[derive(Clone, Debug, Default)]
pub struct Group {
    /// Its number within its writer.
    pub number: u64,
    /// The rows it covers, by object path and piece.
    pub objects: BTreeMap<(String, u32), ObjectCoverage>,
    /// Ids of its done rows, unsorted, in the job's id types.
    pub ids: Vec<RecordBatch>,
    /// What became of its rows.
    pub counts: GroupCounts,
    /// Its sink files, once they are durable.
    pub files: Vec<SinkFile>,
    /// Its ids, once they are durable.
    pub ids_file: Option<SideFile>,
}

impl Group {
    /// An empty group.
    pub fn new(number: u64) -> Group {
        Group { number, ..Group::default() }
    }

    /// Names a piece of an object, so that its rows are known, even if none of them is covered.
    pub fn name_object(&mut self, path: &str, piece: u32, content: impl FnOnce() -> ObjectCoverage) {
        let key = (path.to_string(), piece);
        self.objects.entry(key).or_insert_with(content);
    }

    /// Gives rows of a named piece their state.
    pub fn cover(&mut self, path: &str, piece: u32, rows: impl IntoIterator<Item = Range<u64>>, state: RowState) {
        let object = self.objects.get_mut(&(path.to_string(), piece)).expect("named before it is covered");
        rows.into_iter().for_each(|range| object.coverage.set(range, state));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_a_log_that_lies_are_added_all_the_same() {
        let most = GroupCounts { rows_read: u64::MAX, rows_written: 1, ..GroupCounts::default() };
        let mut counts = most;
        counts.add(&most);
        assert_eq!((counts.rows_read, counts.rows_written), (u64::MAX, 2));
    }
}
