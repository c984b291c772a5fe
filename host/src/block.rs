//! The one noun that moves through a run: rows, where they came from, and what became of them so far.
//!
//! A `Block` starts as some rows of one source object. Stages replace its columns and its rows; `origin` never changes,
//! and each part says for every current row which origin row it came of. So whatever a function answers, the host still
//! knows which source rows are finished, and which failed. Nothing here knows how a function runs or a file is written.
//!
//! * `selected` - rows whose carried columns are copied only where they are needed.

mod selected;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayData, BooleanArray, RecordBatch, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use crate::columns;

use selected::Held;
pub use selected::{Cuts, SelectedBatch, range_bytes};

/// Rows of one source object on their way through the stages.
#[derive(Debug)]
pub struct Block {
    /// The current rows, in their order; each part has some. A source row may have rows in several.
    pub parts: Vec<Part>,
    /// The source rows this block began with.
    pub origin: Origin,
    /// Source rows that failed, in the order they failed. None of them has a current row.
    pub failures: Vec<Failure>,
}

/// Some of the current rows of a block.
#[derive(Clone, Debug)]
pub struct Part {
    /// The current columns. Row count may be zero, and so may be the column count.
    pub rows: SelectedBatch,
    /// For every current row the ordinal of its source row in `origin`, ascending; `None` while each row is its own.
    parents: Option<UInt32Array>,
}

/// Which rows of which object.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The object's path, relative to the source root.
    pub object: Arc<str>,
    /// Row ordinals in the object, ascending and disjoint.
    pub rows: Vec<Range<u64>>,
    /// The id columns of these rows in the job's id types, if the job has ids.
    pub ids: Option<RecordBatch>,
    /// What is kept of these rows in case one of them becomes a dead letter; none if no stage makes any.
    pub kept: Option<Kept>,
}

/// Source rows as they were read, whatever the stages make of them.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The columns that a dead letter holds, a row for each source row.
    pub batch: RecordBatch,
    /// How often rows of the object were tried in vain before, by their ordinal in it; none is never, as far as is known.
    pub attempts_before: Arc<HashMap<u64, u32>>,
}

impl Kept {
    /// Which attempt at a row this is, from 1.
    pub fn attempt(&self, object_row: u64) -> u32 {
        self.attempts_before.get(&object_row).map_or(1, |before| before.saturating_add(1))
    }
}

/// A source row that failed, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Ordinal in the block's origin.
    pub row: u32,
    /// Index of the stage it failed in.
    pub stage: usize,
    /// Whether the function refused the row, or it ended the function.
    pub kind: FailureKind,
    /// What the function or the host said.
    pub message: Arc<str>,
}

/// What ended a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FailureKind {
    /// An error of this row.
    Row,
    /// A trap: of the row alone, or of rows that were not told apart.
    Trap,
    /// A limit that was passed: by the row alone, or by rows that were not told apart.
    Limit,
}

/// How many output rows came of each input row of a call. Output rows stand in the order of their input rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Lineage {
    /// One each.
    Same,
    /// One or none each.
    Kept(BooleanBuffer),
    /// Any number each.
    Counts(Vec<u32>),
}

impl Lineage {
    /// For every output row, the ordinal of its input row. `None` for `Same`.
    fn inputs(&self) -> Option<Vec<u32>> {
        match self {
            Lineage::Same => None,
            Lineage::Kept(bits) => Some(bits.set_indices().map(|row| row as u32).collect()),
            Lineage::Counts(counts) => Some(repeat_each(counts)),
        }
    }
}

fn repeat_each(counts: &[u32]) -> Vec<u32> {
    let total: usize = counts.iter().map(|&count| count as usize).sum();
    let mut inputs = Vec::with_capacity(total);
    for (row, &count) in counts.iter().enumerate() {
        inputs.extend(std::iter::repeat_n(row as u32, count as usize));
    }
    inputs
}

impl Origin {
    /// Number of source rows.
    pub fn len(&self) -> usize {
        self.rows.iter().map(|range| (range.end - range.start) as usize).sum()
    }

    /// Whether there is no source row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// The row's ordinal in the object.
    pub fn object_row(&self, row: u32) -> u64 {
        let mut left = u64::from(row);
        for range in &self.rows {
            let length = range.end - range.start;
            if left < length {
                return range.start + left;
            }
            left -= length;
        }
        panic!("row {row} is not of this block");
    }

    /// The row's id as people read it: `path="a/b.rs"`, several columns joined by `, `.
    pub fn id_text(&self, row: u32) -> Option<String> {
        let ids = self.ids.as_ref()?;
        let schema = ids.schema();
        let cells = schema.fields().iter().zip(ids.columns()).map(|(field, column)| {
            let value = columns::text(column.as_ref(), row as usize, "");
            if field.data_type().is_string() {
                format!("{}={value:?}", field.name())
            } else {
                format!("{}={value}", field.name())
            }
        });
        Some(cells.collect::<Vec<_>>().join(", "))
    }

    /// Object, row and id of one source row, for messages.
    pub fn describe(&self, row: u32) -> String {
        let place = format!("{} row {}", self.object, self.object_row(row));
        match self.id_text(row) {
            Some(id) => format!("{place} ({id})"),
            None => place,
        }
    }

    /// First and last object row, for messages about the whole block.
    pub fn span(&self) -> String {
        match (self.rows.first(), self.rows.last()) {
            (Some(first), Some(last)) => span(&self.object, &(first.start..last.end)),
            _ => format!("{} (no rows)", self.object),
        }
    }
}

fn span(object: &str, rows: &Range<u64>) -> String {
    match rows.end - rows.start {
        1 => format!("{object} row {}", rows.start),
        _ => format!("{object} rows {} to {}", rows.start, rows.end - 1),
    }
}

impl Part {
    /// The source row that the current row `row` came of.
    pub fn parent(&self, row: u32) -> u32 {
        self.parents.as_ref().map_or(row, |parents| parents.value(row as usize))
    }

    /// What an answer makes of it: the columns at `carry`, mapped by the lineage, then the columns of `adds`. The resulting
    /// columns are those of `schema`, in that order.
    pub fn advance(
        &self,
        carry: &[usize],
        lineage: &Lineage,
        adds: &RecordBatch,
        schema: &SchemaRef,
    ) -> Result<Part, ArrowError> {
        let inputs = lineage.inputs().map(UInt32Array::from);
        let rows = self.rows.carried(carry, inputs.as_ref(), adds, schema)?;
        let parents = match (inputs, &self.parents) {
            (None, parents) => parents.clone(),
            (inputs, None) => inputs,
            (Some(inputs), Some(parents)) => {
                Some(inputs.values().iter().map(|&row| parents.value(row as usize)).collect())
            }
        };
        Ok(Part { rows, parents })
    }

    /// Some of its rows, without copying.
    #[must_use]
    pub fn slice(&self, rows: &Range<usize>) -> Part {
        // The first rows of many are their own parents, the others are not.
        let own = || (rows.start as u32..rows.end as u32).collect();
        let parents = match &self.parents {
            None if rows.start == 0 => None,
            None => Some(own()),
            Some(parents) => Some(parents.slice(rows.start, rows.len())),
        };
        Part { rows: self.rows.slice(rows), parents }
    }

    /// Only the rows whose source row passes.
    pub fn retain(&self, keep: impl Fn(u32) -> bool) -> Result<Part, ArrowError> {
        let rows = self.rows.num_rows() as u32;
        let mask: BooleanArray = (0..rows).map(|row| Some(keep(self.parent(row)))).collect();
        let parents = (0..rows).filter(|&row| mask.value(row as usize)).map(|row| self.parent(row)).collect();
        Ok(Part { rows: self.rows.filtered(&mask)?, parents: Some(parents) })
    }

    fn last_parent(&self) -> Option<u32> {
        self.rows.num_rows().checked_sub(1).map(|last| self.parent(last as u32))
    }

    /// Source rows with at least one row here; ascending parents make repeats neighbours.
    fn count_parents(&self) -> u64 {
        let Some(parents) = &self.parents else { return self.rows.num_rows() as u64 };
        let changes = parents.values().windows(2).filter(|pair| pair[0] != pair[1]).count();
        u64::from(!parents.is_empty()) + changes as u64
    }
}

impl Origin {
    /// First and last object row that these rows of a part came of, for messages.
    pub fn span_of(&self, part: &Part, rows: &Range<u32>) -> String {
        let object_row = |row: u32| self.object_row(part.parent(row));
        span(&self.object, &(object_row(rows.start)..object_row(rows.end - 1) + 1))
    }
}

impl Block {
    /// A block as the source makes it: every row is its own parent.
    pub fn new(batch: RecordBatch, origin: Origin) -> Block {
        assert_eq!(batch.num_rows(), origin.len(), "one origin row per row");
        Block { parts: vec![Part { rows: batch.into(), parents: None }], origin, failures: Vec::new() }
    }

    /// Current rows.
    pub fn num_rows(&self) -> usize {
        self.parts.iter().map(|part| part.rows.num_rows()).sum()
    }

    /// Bytes that the current rows keep in memory, about.
    pub fn held_bytes(&self) -> u64 {
        let mut held = Held::default();
        self.parts.iter().for_each(|part| part.rows.hold(&mut held));
        held.bytes
    }

    /// Fails source rows, given by their ordinals in the origin: notes them, and drops every current row that came of
    /// them. A source row that fails twice is noted once, as it did first.
    pub fn fail(
        &mut self,
        stage: usize,
        rows: impl IntoIterator<Item = (u32, FailureKind, Arc<str>)>,
    ) -> Result<(), ArrowError> {
        let mut failed = vec![false; self.origin.len()];
        let before = self.failures.len();
        for (row, kind, message) in rows {
            if !std::mem::replace(&mut failed[row as usize], true) {
                self.failures.push(Failure { row, stage, kind, message });
            }
        }
        if self.failures.len() > before {
            for part in &mut self.parts {
                *part = part.retain(|parent| !failed[parent as usize])?;
            }
        }
        Ok(())
    }

    /// How many source rows have at least one current row.
    pub fn rows_with_output(&self) -> u64 {
        let mut last = None;
        let mut count = 0;
        for part in self.parts.iter().filter(|part| part.rows.num_rows() > 0) {
            let goes_on = last == Some(part.parent(0));
            count += part.count_parents() - u64::from(goes_on);
            last = part.last_parent();
        }
        count
    }
}

/// Bytes that the rows of a batch take: of slices only what they show.
pub fn batch_bytes(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or(0)).sum()
}

/// Values that a batch has: of each column and each field within it its length.
pub fn batch_values(batch: &RecordBatch) -> u64 {
    batch.columns().iter().map(|column| data_values(&column.to_data())).sum()
}

fn data_values(data: &ArrayData) -> u64 {
    data.len() as u64 + data.child_data().iter().map(data_values).sum::<u64>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{ArrayRef, Int64Array, StringArray, TimestampMillisecondArray};
    use arrow::datatypes::{DataType, Field, Schema};

    fn block(values: &[i64]) -> Block {
        let batch =
            RecordBatch::try_from_iter([("n", Arc::new(Int64Array::from(values.to_vec())) as ArrayRef)]).unwrap();
        let rows = std::iter::once(10..10 + values.len() as u64).collect();
        Block::new(batch, Origin { object: "a.parquet".into(), rows, ids: None, kept: None })
    }

    fn adds(values: &[&str]) -> RecordBatch {
        RecordBatch::try_from_iter([("s", Arc::new(StringArray::from(values.to_vec())) as ArrayRef)]).unwrap()
    }

    /// The first column goes along.
    fn advanced(block: Block, lineage: &Lineage, adds: &RecordBatch) -> Block {
        let parts = block.parts.iter().map(|part| part.advance(&[0], lineage, adds, &schema()).unwrap()).collect();
        Block { parts, ..block }
    }

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true), Field::new("s", DataType::Utf8, true)]))
    }

    #[test]
    fn counts_repeat_carried_columns_and_parents() {
        let out = advanced(block(&[5, 6, 7]), &Lineage::Counts(vec![2, 0, 1]), &adds(&["a", "b", "c"]));
        let batch = out.parts[0].rows.batch(&(0..3)).unwrap();
        assert_eq!(batch.column(0).as_ref(), &Int64Array::from(vec![5, 5, 7]));
        assert_eq!((0..3).map(|row| out.parts[0].parent(row)).collect::<Vec<_>>(), [0, 0, 2]);
        assert_eq!(out.rows_with_output(), 2);
    }

    #[test]
    fn a_source_row_may_have_rows_in_several_parts() {
        let block = advanced(block(&[5, 6]), &Lineage::Counts(vec![3, 2]), &adds(&["a", "b", "c", "d", "e"]));
        let cut = |cuts: &[Range<usize>]| cuts.iter().map(|rows| block.parts[0].slice(rows)).collect();
        let of = |cuts: &[Range<usize>]| Block { parts: cut(cuts), origin: block.origin.clone(), failures: vec![] };
        for cuts in [&[0..1, 1..5][..], &[0..3, 3..5], &[0..4, 4..4, 4..5], &[0..2, 2..3, 3..4, 4..5]] {
            assert_eq!((of(cuts).num_rows(), of(cuts).rows_with_output()), (5, 2), "{cuts:?}");
            let mut left = of(cuts);
            left.fail(0, [(0, FailureKind::Row, "bad".into())]).unwrap();
            assert_eq!((left.num_rows(), left.rows_with_output()), (2, 1), "{cuts:?}");
        }
        assert_eq!(
            of(&[3..5, 5..5]).held_bytes(),
            2 * 8 + 2 * 4 + 2 * (1 + 4),
            "two values, two rows of them, two texts"
        );
    }

    #[test]
    fn a_failed_child_takes_its_siblings_along() {
        let mut out = advanced(block(&[5, 6]), &Lineage::Counts(vec![2, 1]), &adds(&["a", "b", "c"]));
        out.fail(1, [(0, FailureKind::Row, "bad".into()), (0, FailureKind::Trap, "worse".into())]).unwrap();
        assert_eq!(out.num_rows(), 1);
        assert_eq!(out.parts[0].parent(0), 1);
        assert_eq!(out.failures, [Failure { row: 0, stage: 1, kind: FailureKind::Row, message: "bad".into() }]);
    }

    #[test]
    fn parents_compose_over_stages() {
        let kept = Lineage::Kept(BooleanBuffer::from(vec![false, true, true, false]));
        let first = advanced(block(&[5, 6, 7, 8]), &kept, &adds(&["x", "y"]));
        let second = advanced(first, &Lineage::Counts(vec![0, 3]), &adds(&["p", "q", "r"]));
        assert_eq!((0..3).map(|row| second.parts[0].parent(row)).collect::<Vec<_>>(), [2, 2, 2]);
        assert_eq!(second.origin.describe(2), "a.parquet row 12");
    }

    #[test]
    fn an_instant_is_an_id_like_others() {
        let at = TimestampMillisecondArray::from(vec![1_704_067_200_000]).with_timezone("Europe/Berlin");
        let ids = RecordBatch::try_from_iter([("at", Arc::new(at) as ArrayRef)]).unwrap();
        let origin = Origin { object: "b".into(), rows: std::iter::once(0..1).collect(), ids: Some(ids), kept: None };
        assert_eq!(origin.describe(0), "b row 0 (at=2024-01-01T00:00:00Z)");
    }

    #[test]
    fn attempts_are_counted_as_far_as_earlier_ones_are_known() {
        let kept = Kept { batch: adds(&["a", "b"]), attempts_before: Arc::new(HashMap::from([(9, 2)])) };
        assert_eq!([kept.attempt(9), kept.attempt(10)], [3, 1]);
    }

    #[test]
    fn rows_are_described_across_gaps() {
        let ids =
            RecordBatch::try_from_iter([("id", Arc::new(StringArray::from(vec!["u", "v", "w"])) as ArrayRef)]).unwrap();
        let origin = Origin { object: "b".into(), rows: vec![3..4, 9..11], ids: Some(ids), kept: None };
        assert_eq!(origin.describe(2), "b row 10 (id=\"w\")");
    }
}
