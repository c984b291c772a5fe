//! The one noun that moves through a run: rows, where they came from, and what became of them so far.
//!
//! A `Block` starts as some rows of one source object. Stages replace its columns and its rows; `origin` never changes,
//! and each part says for every current row which origin row it came of. So whatever a function answers, the host still
//! knows which source rows are finished, and which failed. Nothing here knows how a function runs or a file is written.
//!
//! * `selected` - rows whose carried columns are copied only where they are needed.
//! * `bytes` - what rows take.

mod bytes;
mod selected;

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use ::bytes::Bytes;
use arrow::array::{Array, ArrayData, BooleanArray, RecordBatch, UInt32Array};
use arrow::buffer::BooleanBuffer;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use crate::columns;

pub use self::bytes::range_bytes;
use self::bytes::{Held, array_bytes};
pub use selected::{Cuts, SelectedBatch};

/// Rows of one source object on their way through the stages.
#[derive(Clone, Debug)]
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
    parents: Parents,
}

/// For every current row of a part the ordinal of its source row in `origin`, ascending.
#[derive(Clone, Debug)]
enum Parents {
    /// Each row is a source row of its own; these stand together, from this one on.
    Own(u32),
    /// Any; several rows may have the same, in other parts, too.
    Of(UInt32Array),
}

impl Parents {
    fn of(&self, row: u32) -> u32 {
        match self {
            Parents::Own(first) => first + row,
            Parents::Of(parents) => parents.value(row as usize),
        }
    }

    fn slice(&self, rows: &Range<usize>) -> Parents {
        match self {
            Parents::Own(first) => Parents::Own(first + rows.start as u32),
            Parents::Of(parents) => Parents::Of(parents.slice(rows.start, rows.len())),
        }
    }

    /// Of these rows.
    fn taken(&self, rows: &UInt32Array) -> Parents {
        match self {
            Parents::Own(0) => Parents::Of(rows.clone()),
            _ => Parents::Of(rows.values().iter().map(|&row| self.of(row)).collect()),
        }
    }

    /// In memory.
    fn bytes(&self) -> u64 {
        match self {
            Parents::Own(_) => 0,
            Parents::Of(parents) => (parents.len() * size_of::<u32>()) as u64,
        }
    }
}

/// Which rows of which object.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The object's path, relative to the source root.
    pub object: Arc<str>,
    /// What ordinals of its rows count.
    pub numbering: Numbering,
    /// Row ordinals in the object, ascending and disjoint.
    pub rows: Vec<Range<u64>>,
    /// The id columns of these rows in the job's id types, if the job has ids.
    pub ids: Option<RecordBatch>,
    /// What is kept of these rows in case one of them becomes a dead letter; none if no stage makes any.
    pub kept: Option<Kept>,
}

/// What the ordinals of an object's rows count.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Numbering {
    /// Its rows.
    #[default]
    Rows,
    /// Its lines.
    Lines,
    /// The lines that begin in a span of so many bytes, from the span's first byte on.
    LinesOfSpans(u64),
}

impl Numbering {
    /// A row as people find it: `row 7`, `line 8` (as editors count), `line 8 from byte 8388608`.
    pub fn row(self, row: u64) -> String {
        match self.line(row) {
            None => format!("row {row}"),
            Some((line, 0)) => format!("line {line}"),
            Some((line, byte)) => format!("line {line} from byte {byte}"),
        }
    }

    /// Rows from a first to a last one.
    fn rows(self, rows: &Range<u64>) -> String {
        let last = rows.end - 1;
        match (self, self.line(rows.start), self.line(last)) {
            _ if rows.start == last => self.row(last),
            (_, Some((first, from)), Some((last, to))) if from == to => {
                let from = if from == 0 { String::new() } else { format!(" from byte {from}") };
                format!("lines {first} to {last}{from}")
            }
            (Numbering::Rows, ..) => format!("rows {} to {last}", rows.start),
            _ => format!("{} to {}", self.row(rows.start), self.row(last)),
        }
    }

    /// Which line, from 1, of those that begin at which byte or later; none of what has no lines.
    pub fn line(self, row: u64) -> Option<(u64, u64)> {
        match self {
            Numbering::Rows => None,
            Numbering::Lines => Some((row + 1, 0)),
            Numbering::LinesOfSpans(bytes) => Some((row % bytes + 1, row - row % bytes)),
        }
    }
}

/// Source rows as they were read, whatever the stages make of them.
#[derive(Clone, Debug)]
pub struct Kept {
    /// The columns that a dead letter holds, a row for each source row.
    pub batch: RecordBatch,
    /// Of rows that could not be read the line that each stands on; none of others.
    pub lines: Vec<Bytes>,
    /// How often rows of the object were tried in vain before, by their ordinal in it; none is never, as far as is known.
    pub attempts_before: Arc<HashMap<u64, u32>>,
}

impl Kept {
    /// Of rows that were read.
    pub fn of_rows(batch: RecordBatch, attempts_before: Arc<HashMap<u64, u32>>) -> Kept {
        Kept { batch, lines: Vec::new(), attempts_before }
    }

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
    /// Index of the stage it failed in; none of a row that could not be read.
    pub stage: Option<usize>,
    /// Why.
    pub reason: Reason,
}

/// Why a row failed. Rows that failed together share the texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reason {
    /// Whether the function refused the row, or it ended the function.
    pub kind: FailureKind,
    /// What the function or the host said.
    pub message: Arc<str>,
    /// What to do, if the host knows.
    pub hint: Option<Arc<str>>,
}

impl Reason {
    /// Why, and nothing that could be done.
    pub fn new(kind: FailureKind, message: impl Into<Arc<str>>) -> Reason {
        Reason { kind, message: message.into(), hint: None }
    }
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
    /// A line that is no row.
    Line,
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
    /// For every one of so many input rows, its output rows.
    pub fn counts(&self, rows: usize) -> Vec<u32> {
        match self {
            Lineage::Same => vec![1; rows],
            Lineage::Kept(bits) => bits.iter().map(u32::from).collect(),
            Lineage::Counts(counts) => counts.clone(),
        }
    }

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

    fn slice(&self, cut: &Range<usize>) -> Origin {
        let batch = |batch: &RecordBatch| batch.slice(cut.start, cut.len());
        let kept = |kept: &Kept| Kept {
            batch: batch(&kept.batch),
            lines: kept.lines.get(cut.clone()).unwrap_or_default().to_vec(),
            attempts_before: Arc::clone(&kept.attempts_before),
        };
        let mut before = 0;
        let overlap = |range: &Range<u64>| {
            let own = before..before + (range.end - range.start);
            before = own.end;
            let (start, end) = (own.start.max(cut.start as u64), own.end.min(cut.end as u64));
            (start < end).then(|| range.start + (start - own.start)..range.start + (end - own.start))
        };
        Origin {
            object: Arc::clone(&self.object),
            numbering: self.numbering,
            rows: self.rows.iter().filter_map(overlap).collect(),
            ids: self.ids.as_ref().map(batch),
            kept: self.kept.as_ref().map(kept),
        }
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
        let place = format!("{} {}", self.object, self.numbering.row(self.object_row(row)));
        match self.id_text(row) {
            Some(id) => format!("{place} ({id})"),
            None => place,
        }
    }

    /// First and last object row, for messages about the whole block.
    pub fn span(&self) -> String {
        match (self.rows.first(), self.rows.last()) {
            (Some(first), Some(last)) => self.span_in_object(&(first.start..last.end)),
            _ => format!("{} (no rows)", self.object),
        }
    }
}

impl Part {
    /// The source row that the current row `row` came of.
    pub fn parent(&self, row: u32) -> u32 {
        self.parents.of(row)
    }

    /// Whether each of its rows is a source row of its own: none of them has another row, here or in another part.
    pub fn has_own_rows(&self) -> bool {
        matches!(self.parents, Parents::Own(_))
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
        let parents = inputs.map_or_else(|| self.parents.clone(), |inputs| self.parents.taken(&inputs));
        Ok(Part { rows, parents })
    }

    /// Some of its rows, without copying.
    #[must_use]
    pub fn slice(&self, rows: &Range<usize>) -> Part {
        Part { rows: self.rows.slice(rows), parents: self.parents.slice(rows) }
    }

    /// Only the rows whose source row passes.
    pub fn retain(&self, keep: impl Fn(u32) -> bool) -> Result<Part, ArrowError> {
        let rows = self.rows.num_rows() as u32;
        let mask: BooleanArray = (0..rows).map(|row| Some(keep(self.parent(row)))).collect();
        let parents = (0..rows).filter(|&row| mask.value(row as usize)).map(|row| self.parent(row)).collect();
        Ok(Part { rows: self.rows.filtered(&mask)?, parents: Parents::Of(parents) })
    }

    fn rows_before(&self, parent: u32) -> usize {
        match &self.parents {
            Parents::Own(first) => (parent.saturating_sub(*first) as usize).min(self.rows.num_rows()),
            Parents::Of(parents) => parents.values().partition_point(|own| *own < parent),
        }
    }

    fn last_parent(&self) -> Option<u32> {
        self.rows.num_rows().checked_sub(1).map(|last| self.parent(last as u32))
    }

    /// Source rows with at least one row here; ascending parents make repeats neighbours.
    fn count_parents(&self) -> u64 {
        let Parents::Of(parents) = &self.parents else { return self.rows.num_rows() as u64 };
        let changes = parents.values().windows(2).filter(|pair| pair[0] != pair[1]).count();
        u64::from(!parents.is_empty()) + changes as u64
    }
}

impl Origin {
    /// First and last object row that these rows of a part came of, for messages.
    pub fn span_of(&self, part: &Part, rows: &Range<u32>) -> String {
        self.span_of_rows(&(part.parent(rows.start)..part.parent(rows.end - 1) + 1))
    }

    /// First and last object row of some source rows, for messages.
    pub fn span_of_rows(&self, rows: &Range<u32>) -> String {
        self.span_in_object(&(self.object_row(rows.start)..self.object_row(rows.end - 1) + 1))
    }

    fn span_in_object(&self, rows: &Range<u64>) -> String {
        format!("{} {}", self.object, self.numbering.rows(rows))
    }
}

impl Block {
    /// A block as the source makes it: every row is its own parent.
    pub fn new(batch: RecordBatch, origin: Origin) -> Block {
        assert_eq!(batch.num_rows(), origin.len(), "one origin row per row");
        Block { parts: vec![Part { rows: batch.into(), parents: Parents::Own(0) }], origin, failures: Vec::new() }
    }

    /// A block of rows that could not be read, each for its reason.
    pub fn unread(origin: Origin, reasons: Vec<Reason>) -> Block {
        assert_eq!(reasons.len(), origin.len(), "one reason per row");
        let failures = (0..).zip(reasons).map(|(row, reason)| Failure { row, stage: None, reason }).collect();
        Block { parts: Vec::new(), origin, failures }
    }

    /// Blocks of so many source rows each, of one as the source makes it.
    pub fn cut(&self, rows_max: usize) -> Vec<Block> {
        let [Part { rows, parents: Parents::Own(0) }] = self.parts.as_slice() else { panic!("no stage had it") };
        let cuts =
            (0..rows.num_rows()).step_by(rows_max.max(1)).map(|start| start..rows.num_rows().min(start + rows_max));
        let block = |cut: Range<usize>| Block {
            parts: vec![Part { rows: rows.slice(&cut), parents: Parents::Own(0) }],
            origin: self.origin.slice(&cut),
            failures: Vec::new(),
        };
        cuts.map(block).collect()
    }

    /// Current rows.
    pub fn num_rows(&self) -> usize {
        self.parts.iter().map(|part| part.rows.num_rows()).sum()
    }

    /// Bytes that the block keeps in memory, about: current rows, what is kept of source rows, and what is said of failed ones.
    pub fn held_bytes(&self) -> u64 {
        let mut held = Held::default();
        let kept = self.origin.kept.as_ref().map(|kept| &kept.batch);
        // Whole columns first, as the parts have slices of some.
        kept.into_iter().chain(&self.origin.ids).for_each(|batch| held.whole(batch));
        for part in &self.parts {
            part.rows.hold(&mut held);
            held.bytes += part.parents.bytes();
        }
        self.failures.iter().for_each(|failure| held.said(failure));
        let lines = self.origin.kept.iter().flat_map(|kept| &kept.lines);
        held.bytes += lines.map(|line| line.len() as u64).sum::<u64>();
        held.bytes
    }

    /// Fails source rows, given by their ordinals in the origin: notes them, and drops every current row that came of
    /// them. A source row that fails twice is noted once, as it did first.
    pub fn fail(&mut self, stage: usize, rows: impl IntoIterator<Item = (u32, Reason)>) -> Result<(), ArrowError> {
        let mut failed = vec![false; self.origin.len()];
        let before = self.failures.len();
        for (row, reason) in rows {
            if !std::mem::replace(&mut failed[row as usize], true) {
                self.failures.push(Failure { row, stage: Some(stage), reason });
            }
        }
        if self.failures.len() > before {
            for part in &mut self.parts {
                *part = part.retain(|parent| !failed[parent as usize])?;
            }
        }
        Ok(())
    }

    /// Source rows that did not fail, as ranges of the object's rows, each with how many current rows came of it.
    pub fn yields(&self) -> Vec<(Range<u64>, u64)> {
        let mut failed: Vec<u32> = self.failures.iter().map(|failure| failure.row).collect();
        failed.sort_unstable();
        let mut failed = failed.into_iter().peekable();
        let (mut yields, mut first) = (Vec::new(), 0);
        for range in &self.origin.rows {
            // From the block's ordinals to the object's.
            let shift = range.start - u64::from(first);
            let end = first + (range.end - range.start) as u32;
            while first < end {
                let until = failed.next_if(|row| *row < end).unwrap_or(end);
                if first < until {
                    let rows = self.rows_before(until) - self.rows_before(first);
                    yields.push((shift + u64::from(first)..shift + u64::from(until), rows));
                }
                first = until + u32::from(until < end);
            }
        }
        yields
    }

    /// Current rows that came of source rows before this one.
    fn rows_before(&self, row: u32) -> u64 {
        self.parts.iter().map(|part| part.rows_before(row) as u64).sum()
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

/// Bytes that the rows of a batch take: of slices what they show, and of dictionaries all, which rows have together.
pub fn batch_bytes(batch: &RecordBatch) -> usize {
    batch.columns().iter().map(|column| array_bytes(column)).sum::<u64>() as usize
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
        Block::new(batch, Origin { object: "a.parquet".into(), rows, ..Origin::default() })
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
            left.fail(0, [(0, Reason::new(FailureKind::Row, "bad"))]).unwrap();
            assert_eq!((left.num_rows(), left.rows_with_output()), (2, 1), "{cuts:?}");
        }
        assert_eq!(
            of(&[3..5, 5..5]).held_bytes(),
            2 * 8 + 2 * 4 + 2 * (1 + 4) + 2 * 4,
            "two values, two rows of them, two texts, two parents"
        );
    }

    /// What is kept for dead letters counts once, if rows are slices of it; and so does a message that many rows have.
    #[test]
    fn what_is_said_and_kept_of_source_rows_counts() {
        let mut block = block(&[5, 6, 7]);
        assert_eq!(block.held_bytes(), 24);
        let batch = block.parts[0].rows.batch(&(0..3)).unwrap();
        block.origin.kept = Some(Kept::of_rows(batch.clone(), Arc::default()));
        assert_eq!(block.held_bytes(), 24);
        block.parts = [0..1, 1..3].map(|rows| block.parts[0].slice(&rows)).to_vec();
        assert_eq!(block.held_bytes(), 24);
        block.parts.clear();
        assert_eq!(block.held_bytes(), 24);
        block.origin.ids = Some(adds(&["a", "b", "c"]));
        assert_eq!(block.held_bytes(), 24 + 3 * 5);
        let message: Arc<str> = "x".repeat(1000).into();
        block.fail(0, [0, 1].map(|row| (row, Reason::new(FailureKind::Limit, Arc::clone(&message))))).unwrap();
        assert_eq!(block.held_bytes(), 24 + 3 * 5 + 1000 + 2 * size_of::<Failure>() as u64);
    }

    #[test]
    fn a_block_is_cut_with_all_that_is_known_of_its_rows() {
        let mut whole = block(&[5, 6, 7, 8, 9]);
        whole.origin.rows = vec![3..5, 9..10, 20..22];
        whole.origin.ids = Some(adds(&["a", "b", "c", "d", "e"]));
        whole.origin.kept = Some(Kept::of_rows(adds(&["a", "b", "c", "d", "e"]), Arc::default()));
        for rows_max in 1..=6 {
            let cut = whole.cut(rows_max);
            let described = |block: &Block| {
                let rows = 0..block.origin.len() as u32;
                rows.map(|row| block.origin.describe(row)).collect::<Vec<_>>()
            };
            assert!(cut.iter().all(|block| block.num_rows() == block.origin.len() && block.num_rows() <= rows_max));
            assert_eq!(cut.iter().flat_map(described).collect::<Vec<_>>(), described(&whole));
            let kept = |block: &Block| block.origin.kept.as_ref().unwrap().batch.clone();
            let all: Vec<RecordBatch> = cut.iter().map(kept).collect();
            assert_eq!(arrow::compute::concat_batches(&all[0].schema(), &all).unwrap(), kept(&whole));
            let rows = |block: &Block| block.parts[0].rows.batch(&(0..block.num_rows())).unwrap();
            let all: Vec<RecordBatch> = cut.iter().map(rows).collect();
            assert_eq!(arrow::compute::concat_batches(&all[0].schema(), &all).unwrap(), rows(&whole));
        }
    }

    #[test]
    fn a_failed_child_takes_its_siblings_along() {
        let mut out = advanced(block(&[5, 6]), &Lineage::Counts(vec![2, 1]), &adds(&["a", "b", "c"]));
        let (bad, worse) = (Reason::new(FailureKind::Row, "bad"), Reason::new(FailureKind::Trap, "worse"));
        out.fail(1, [(0, bad.clone()), (0, worse)]).unwrap();
        assert_eq!(out.num_rows(), 1);
        assert_eq!(out.parts[0].parent(0), 1);
        assert_eq!(out.failures, [Failure { row: 0, stage: Some(1), reason: bad }]);
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
        let rows = std::iter::once(0..1).collect();
        let origin = Origin { object: "b".into(), rows, ids: Some(ids), ..Origin::default() };
        assert_eq!(origin.describe(0), "b row 0 (at=2024-01-01T00:00:00Z)");
    }

    #[test]
    fn attempts_are_counted_as_far_as_earlier_ones_are_known() {
        let kept = Kept::of_rows(adds(&["a", "b"]), Arc::new(HashMap::from([(9, 2)])));
        assert_eq!([kept.attempt(9), kept.attempt(10)], [3, 1]);
    }

    #[test]
    fn rows_are_described_across_gaps() {
        let ids =
            RecordBatch::try_from_iter([("id", Arc::new(StringArray::from(vec!["u", "v", "w"])) as ArrayRef)]).unwrap();
        let origin = Origin { object: "b".into(), rows: vec![3..4, 9..11], ids: Some(ids), ..Origin::default() };
        assert_eq!(origin.describe(2), "b row 10 (id=\"w\")");
    }
}
