//! The one noun that moves through a run: rows, where they came from, and what became of them so far.
//!
//! A `Block` starts as some rows of one source object. Stages replace its columns and its rows; `origin` never changes,
//! and `parents` says for every current row which origin row it came of. So whatever a function answers, the host still
//! knows which source rows are finished, and which failed. Nothing here knows how a function runs or a file is written.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, BooleanArray, RecordBatch, RecordBatchOptions, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::compute::{filter_record_batch, take};
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use crate::columns;

/// Rows of one source object on their way through the stages.
#[derive(Debug)]
pub struct Block {
    /// The current columns. Row count may be zero, and so may be the column count.
    pub batch: RecordBatch,
    /// The source rows this block began with.
    pub origin: Origin,
    /// For every current row the ordinal of its source row in `origin`, ascending; `None` while each row is its own.
    parents: Option<Vec<u32>>,
    /// Source rows that failed, in the order they failed. None of them has a current row.
    pub failures: Vec<Failure>,
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

impl Block {
    /// A block as the source makes it: every row is its own parent.
    pub fn new(batch: RecordBatch, origin: Origin) -> Block {
        assert_eq!(batch.num_rows(), origin.len(), "one origin row per row");
        Block { batch, origin, parents: None, failures: Vec::new() }
    }

    /// The source row that the current row `row` came of.
    pub fn parent(&self, row: u32) -> u32 {
        self.parents.as_ref().map_or(row, |parents| parents[row as usize])
    }

    /// The columns at `indices`, without copying.
    pub fn columns(&self, indices: &[usize]) -> Vec<ArrayRef> {
        indices.iter().map(|&index| Arc::clone(self.batch.column(index))).collect()
    }

    /// What a stage's answer makes of the block: the columns at `carry`, mapped by the lineage, then the columns of
    /// `adds`. The resulting columns are those of `schema`, in that order.
    pub fn advance(
        self,
        carry: &[usize],
        lineage: &Lineage,
        adds: &RecordBatch,
        schema: &SchemaRef,
    ) -> Result<Block, ArrowError> {
        let rows = adds.num_rows();
        let inputs = lineage.inputs().map(UInt32Array::from);
        let mut columns = Vec::with_capacity(schema.fields().len());
        for &index in carry {
            let column = self.batch.column(index);
            columns.push(match &inputs {
                None => Arc::clone(column),
                Some(inputs) => take(column.as_ref(), inputs, None)?,
            });
        }
        columns.extend(adds.columns().iter().cloned());
        let options = RecordBatchOptions::new().with_row_count(Some(rows));
        let batch = RecordBatch::try_new_with_options(Arc::clone(schema), columns, &options)?;
        let parents = match inputs {
            None => self.parents,
            Some(inputs) => {
                let own = |row: &u32| self.parents.as_ref().map_or(*row, |parents| parents[*row as usize]);
                Some(inputs.values().iter().map(own).collect())
            }
        };
        Ok(Block { batch, origin: self.origin, parents, failures: self.failures })
    }

    /// Fails source rows, given by their ordinals in the origin: notes them, and drops every current row that came of
    /// them. A source row that fails twice is noted once, as it did first.
    pub fn fail(
        self,
        stage: usize,
        rows: impl IntoIterator<Item = (u32, FailureKind, Arc<str>)>,
    ) -> Result<Block, ArrowError> {
        let mut failed = vec![false; self.origin.len()];
        let mut failures = Vec::new();
        for (row, kind, message) in rows {
            if !std::mem::replace(&mut failed[row as usize], true) {
                failures.push(Failure { row, stage, kind, message });
            }
        }
        if failures.is_empty() {
            return Ok(self);
        }
        let mut block = self.retain(|parent| !failed[parent as usize])?;
        block.failures.append(&mut failures);
        Ok(block)
    }

    /// First and last object row of these current rows, for messages.
    pub fn span(&self, rows: &Range<u32>) -> String {
        span(&self.origin.object, &self.object_rows(rows))
    }

    /// The source rows, as ordinals in the object, from that of the first of these current rows to that of the last.
    pub fn object_rows(&self, rows: &Range<u32>) -> Range<u64> {
        let object_row = |row: u32| self.origin.object_row(self.parent(row));
        object_row(rows.start)..object_row(rows.end - 1) + 1
    }

    /// Only the current rows whose source row passes.
    fn retain(self, keep: impl Fn(u32) -> bool) -> Result<Block, ArrowError> {
        let rows = self.batch.num_rows() as u32;
        let mask: BooleanArray = (0..rows).map(|row| Some(keep(self.parent(row)))).collect();
        let batch = filter_record_batch(&self.batch, &mask)?;
        let parents = (0..rows).filter(|&row| mask.value(row as usize)).map(|row| self.parent(row)).collect();
        Ok(Block { batch, origin: self.origin, parents: Some(parents), failures: self.failures })
    }

    /// How many source rows have at least one current row.
    pub fn rows_with_output(&self) -> u64 {
        let Some(parents) = &self.parents else { return self.batch.num_rows() as u64 };
        // Ascending, so repeats are neighbours.
        u64::from(!parents.is_empty()) + parents.windows(2).filter(|pair| pair[0] != pair[1]).count() as u64
    }
}

/// Bytes that the rows of a batch take: of slices only what they show.
pub fn batch_bytes(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(|column| column.to_data().get_slice_memory_size().unwrap_or(0)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::{Int64Array, StringArray, TimestampMillisecondArray};
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

    fn schema() -> SchemaRef {
        Arc::new(Schema::new(vec![Field::new("n", DataType::Int64, true), Field::new("s", DataType::Utf8, true)]))
    }

    #[test]
    fn counts_repeat_carried_columns_and_parents() {
        let out = block(&[5, 6, 7])
            .advance(&[0], &Lineage::Counts(vec![2, 0, 1]), &adds(&["a", "b", "c"]), &schema())
            .unwrap();
        assert_eq!(out.batch.column(0).as_ref(), &Int64Array::from(vec![5, 5, 7]));
        assert_eq!((0..3).map(|row| out.parent(row)).collect::<Vec<_>>(), [0, 0, 2]);
        assert_eq!(out.rows_with_output(), 2);
    }

    #[test]
    fn a_failed_child_takes_its_siblings_along() {
        let out = block(&[5, 6])
            .advance(&[0], &Lineage::Counts(vec![2, 1]), &adds(&["a", "b", "c"]), &schema())
            .unwrap()
            .fail(1, [(0, FailureKind::Row, "bad".into()), (0, FailureKind::Trap, "worse".into())])
            .unwrap();
        assert_eq!(out.batch.num_rows(), 1);
        assert_eq!(out.parent(0), 1);
        assert_eq!(out.failures, [Failure { row: 0, stage: 1, kind: FailureKind::Row, message: "bad".into() }]);
    }

    #[test]
    fn parents_compose_over_stages() {
        let first = block(&[5, 6, 7, 8])
            .advance(
                &[0],
                &Lineage::Kept(BooleanBuffer::from(vec![false, true, true, false])),
                &adds(&["x", "y"]),
                &schema(),
            )
            .unwrap();
        let second = first.advance(&[0], &Lineage::Counts(vec![0, 3]), &adds(&["p", "q", "r"]), &schema()).unwrap();
        assert_eq!((0..3).map(|row| second.parent(row)).collect::<Vec<_>>(), [2, 2, 2]);
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
