//! Which files count, and the state of a row, said a second time: by going through a lane's entries from the first to the
//! last, once for each question. Slow and plain.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::{Array, RecordBatch, StringArray, UInt64Array};
use bytes::Bytes;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use wasmpipe::commit::{CoveredObject, FileEntry, LaneEntry, Logged, ObjectCoverage, RowState, SegmentEntry};

/// What a lane's entries say, from its newest compaction on.
pub(crate) struct Model<'a> {
    entries: &'a [Logged],
    side: &'a BTreeMap<String, Bytes>,
    withdrawn: BTreeSet<u64>,
}

impl<'a> Model<'a> {
    pub(crate) fn new(entries: &'a [Logged], side: &'a BTreeMap<String, Bytes>) -> Model<'a> {
        let numbers = entries.iter().filter_map(|logged| match &logged.entry {
            LaneEntry::Withdraw { numbers, .. } => Some(numbers),
            _ => None,
        });
        Model { entries, side, withdrawn: numbers.flatten().copied().collect() }
    }

    /// Files that count, by group.
    pub(crate) fn files(&self) -> BTreeMap<u64, Vec<FileEntry>> {
        let mut counting: BTreeMap<u64, Vec<FileEntry>> = BTreeMap::new();
        for logged in self.entries {
            match &logged.entry {
                LaneEntry::Segment(segment) => drop(counting.insert(logged.number, self.named(segment))),
                LaneEntry::Compaction(entry) => counting = self.compacted(&entry.groups.path, &entry.files.path),
                _ => {}
            }
        }
        counting.retain(|number, _| !self.withdrawn.contains(number));
        counting
    }

    fn named(&self, segment: &SegmentEntry) -> Vec<FileEntry> {
        let aside = segment.files_table.iter().flat_map(|table| self.rows(&table.path));
        let aside = aside.flat_map(|batch| (0..batch.num_rows()).map(move |row| file(&batch, row)).collect::<Vec<_>>());
        segment.files.iter().chain(&segment.dead_letters).cloned().chain(aside).collect()
    }

    fn compacted(&self, groups: &str, files: &str) -> BTreeMap<u64, Vec<FileEntry>> {
        let mut counting: BTreeMap<u64, Vec<FileEntry>> = BTreeMap::new();
        for batch in self.rows(groups) {
            counting.extend(numbers(&batch, "group").values().iter().map(|group| (*group, Vec::new())));
        }
        for batch in self.rows(files) {
            for at in 0..batch.num_rows() {
                let group = numbers(&batch, "group").value(at);
                counting.get_mut(&group).expect("a file of a group").push(file(&batch, at));
            }
        }
        counting
    }

    fn rows(&self, name: &str) -> Vec<RecordBatch> {
        let reader = ParquetRecordBatchReaderBuilder::try_new(self.side[name].clone())
            .and_then(ParquetRecordBatchReaderBuilder::build);
        reader.expect("read before").map(|batch| batch.expect("read before")).collect()
    }

    /// Whether all that rows can have their state from is in the entries themselves.
    pub(crate) fn says_rows(&self) -> bool {
        self.entries.iter().all(|logged| match &logged.entry {
            LaneEntry::Segment(segment) => segment.coverage.is_some() && segment.coverage_file.is_none(),
            LaneEntry::Compaction(_) => false,
            _ => true,
        })
    }

    /// Rows at which a state can begin or end, by object.
    pub(crate) fn edges(&self) -> BTreeSet<(&'a str, u64)> {
        let edges = self.covered().flat_map(|(_, _, object)| {
            let ranges = ranges(object).map(|((start, end), _)| [start, start.saturating_sub(1), end, end - 1]);
            ranges.flatten().map(|row| (object.object.as_str(), row)).collect::<Vec<_>>()
        });
        edges.collect()
    }

    /// The state of a row, in the content of the object that was written about last.
    pub(crate) fn row_state(&self, object: &str, row: u64) -> Option<RowState> {
        let mut contents: Vec<(&CoveredObject, u64, Option<RowState>)> = Vec::new();
        for logged in self.entries {
            if let LaneEntry::Withdraw { forget_known: true, .. } = &logged.entry {
                let known = contents.iter_mut().filter(|(.., state)| *state == Some(RowState::Known));
                known.for_each(|(.., state)| *state = None);
            }
            let LaneEntry::Segment(segment) = &logged.entry else { continue };
            let is_withdrawn = self.withdrawn.contains(&logged.number);
            for covered in objects(segment).filter(|covered| covered.object == object) {
                let is_same = |(known, ..): &&mut (&CoveredObject, u64, Option<RowState>)| {
                    (known.piece, known.size, &known.digest, known.rows)
                        == (covered.piece, covered.size, &covered.digest, covered.rows)
                };
                let state = ranges(covered).find(|((start, end), _)| (*start..*end).contains(&row));
                let state = state.map(|(_, state)| (!is_withdrawn).then_some(state));
                match contents.iter_mut().find(is_same) {
                    Some((_, _, now)) if is_withdrawn => *now = state.unwrap_or(*now),
                    Some((_, root, now)) => (*root, *now) = ((*root).max(segment.root), state.unwrap_or(*now)),
                    None if is_withdrawn => {}
                    None => contents.push((covered, segment.root, state.flatten())),
                }
            }
        }
        let states = contents.into_iter().filter(|(.., state)| state.is_some());
        states.max_by_key(|(_, root, _)| *root).and_then(|(.., state)| state)
    }

    fn covered(&self) -> impl Iterator<Item = (u64, &'a SegmentEntry, &'a CoveredObject)> {
        let segments = self.entries.iter().filter_map(|logged| match &logged.entry {
            LaneEntry::Segment(segment) => Some((logged.number, &**segment)),
            _ => None,
        });
        segments.flat_map(|(number, segment)| objects(segment).map(move |object| (number, segment, object)))
    }
}

/// A row of a table of files.
fn file(batch: &RecordBatch, row: usize) -> FileEntry {
    let number = |column| numbers(batch, column).value(row);
    let path = strings(batch, "path").value(row).to_string();
    let has_digest = batch.column_by_name("digest").is_some_and(|digests| digests.is_valid(row));
    let digest = has_digest.then(|| strings(batch, "digest").value(row).to_string());
    FileEntry { path, rows: number("rows"), bytes: number("bytes"), digest, holds: None }
}

/// What a group covers; of one that is withdrawn, what it can have covered.
fn objects(segment: &SegmentEntry) -> impl Iterator<Item = &CoveredObject> {
    segment.coverage.iter().flatten().filter(|object| ObjectCoverage::from_entry(object, 0).is_ok())
}

fn ranges(object: &CoveredObject) -> impl Iterator<Item = ((u64, u64), RowState)> {
    let of = |ranges: &[(u64, u64)], state| ranges.iter().map(|range| (*range, state)).collect::<Vec<_>>();
    let CoveredObject { done, known, failed, dead, blank, .. } = object;
    let (done, known) = (of(done, RowState::Done), of(known, RowState::Known));
    let (failed, dead) = (of(failed, RowState::Failed), of(dead, RowState::DeadLettered));
    [done, known, failed, dead, of(blank, RowState::Blank)].into_iter().flatten()
}

fn numbers<'a>(batch: &'a RecordBatch, column: &str) -> &'a UInt64Array {
    batch.column_by_name(column).and_then(|column| column.as_any().downcast_ref()).expect("read before")
}

fn strings<'a>(batch: &'a RecordBatch, column: &str) -> &'a StringArray {
    batch.column_by_name(column).and_then(|column| column.as_any().downcast_ref()).expect("read before")
}
