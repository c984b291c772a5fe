//! The dead letters of a block: its source rows that failed in a stage with `on_error = "dead-letter"`, as they were read,
//! with what was wrong. The files they go to are those of the group that the block is in.
//!
//! Nothing is copied until they are written: rows that were left together have the same words, which may be thousands of bytes.

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::{ArrayRef, BinaryArray, RecordBatch, RecordBatchOptions, UInt32Array, UInt64Array};
use arrow::datatypes::{Schema, SchemaRef};

use crate::block::{Block, Failure, FailureKind, Kept, SelectedBatch};
use crate::commit::{Letter, letter_batch};
use crate::plan::{OnError, Plan};

/// The block's dead letters in the order of its source rows; none if there is none.
pub(super) fn of_block(plan: &Plan, schema: &SchemaRef, block: &Block) -> Option<SelectedBatch> {
    let kept = block.origin.kept.as_ref()?;
    let is_letter = |failure: &&Failure| plan.on_error(failure.stage) == OnError::DeadLetter;
    let mut failures: Vec<&Failure> = block.failures.iter().filter(is_letter).collect();
    if failures.is_empty() {
        return None;
    }
    failures.sort_unstable_by_key(|failure| failure.row);
    let function = |stage: Option<usize>| stage.map_or("", |stage| plan.stages[stage].spec.function.as_str());
    Some(batch(schema, block, kept, &failures, function))
}

/// Places of columns of a letter that many may have in common; others are each letter's own.
const COMMON: [usize; 5] = [0, 2, 3, 4, 5];
/// Columns of a letter that every letter has.
const COLUMNS: usize = 7;

fn batch<'a>(
    schema: &SchemaRef,
    block: &Block,
    kept: &Kept,
    failures: &[&Failure],
    function: impl Fn(Option<usize>) -> &'a str,
) -> SelectedBatch {
    let (causes, which) = causes(failures);
    let causes: Vec<Letter> = causes.iter().map(|failure| letter(block, failure, function(failure.stage))).collect();
    let rows: UInt32Array = failures.iter().map(|failure| failure.row).collect();
    let columns = schema.fields().len() - kept.batch.num_columns();
    let fields = |columns: usize| Arc::new(Schema::new(schema.fields()[..columns].to_vec()));
    let common = SelectedBatch::from(letter_batch(&fields(COLUMNS), &causes, &nothing(causes.len())));
    let own = own(block, kept, failures, columns > COLUMNS);
    let own = common.carried(&COMMON, Some(&which), &own, &fields(columns));
    let all: Vec<usize> = (0..kept.batch.num_columns()).collect();
    let source = SelectedBatch::from(kept.batch.clone()).carried(&all, Some(&rows), &nothing(rows.len()), schema);
    let (own, source) = (own.expect("rows of causes"), source.expect("rows of the block"));
    let line = (COLUMNS < columns).then_some(COLUMNS);
    let places = [0, 5, 1, 2, 3, 4, 6].into_iter().chain(line).chain(all.iter().map(|place| place + columns));
    let places: Vec<usize> = places.collect();
    own.beside(source, schema).project(&places, schema)
}

/// Failures that differ in more than their row, and for each failure the one of these that it is like.
fn causes<'a>(failures: &[&'a Failure]) -> (Vec<&'a Failure>, UInt32Array) {
    let (mut causes, mut known) = (Vec::new(), HashMap::new());
    let mut cause = |failure: &&'a Failure| {
        let kind = failure.reason.kind as u8;
        *known.entry((failure.stage, kind, Arc::as_ptr(&failure.reason.message))).or_insert_with(|| {
            causes.push(*failure);
            causes.len() as u32 - 1
        })
    };
    let which = failures.iter().map(&mut cause).collect();
    (causes, which)
}

/// Row and attempt; and of a source of lines the line, if that is what failed.
fn own(block: &Block, kept: &Kept, failures: &[&Failure], has_lines: bool) -> RecordBatch {
    let rows = object_rows(block, failures);
    let attempts: ArrayRef = Arc::new(rows.iter().map(|row| kept.attempt(*row)).collect::<UInt32Array>());
    let rows: ArrayRef = Arc::new(UInt64Array::from(rows));
    let line = |failure: &&Failure| kept.lines.get(failure.row as usize).map(AsRef::<[u8]>::as_ref);
    let lines = has_lines.then(|| Arc::new(failures.iter().map(line).collect::<BinaryArray>()) as ArrayRef);
    let columns = [("row", rows), ("attempt", attempts)].into_iter().chain(lines.map(|lines| ("line", lines)));
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true)))
        .expect("columns of equal length")
}

fn nothing(rows: usize) -> RecordBatch {
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(Arc::new(Schema::empty()), Vec::new(), &options).expect("no columns")
}

fn letter(block: &Block, failure: &Failure, function: &str) -> Letter {
    Letter {
        object: block.origin.object.clone(),
        row: 0,
        stage: failure.stage.map_or(0, |stage| stage as u32 + 1),
        function: function.to_owned(),
        kind: match failure.reason.kind {
            FailureKind::Row => "row",
            FailureKind::Trap => "trap",
            FailureKind::Limit => "limit",
            FailureKind::Line => "line",
        },
        message: failure.reason.message.as_ref().into(),
        attempt: 0,
    }
}

/// Row ordinals in the object, in one walk: after a repack there may be as many ranges as rows.
fn object_rows(block: &Block, failures: &[&Failure]) -> Vec<u64> {
    let mut ordinals = block.origin.rows.iter().flat_map(Clone::clone).zip(0u32..);
    let mut row_of = |row: u32| ordinals.find(|(_, own)| *own == row).expect("a row of the block").0;
    failures.iter().map(|failure| row_of(failure.row)).collect()
}

#[cfg(test)]
mod tests {
    use arrow::array::{AsArray, Int64Array};
    use arrow::datatypes::{DataType, Field, UInt32Type, UInt64Type};

    use super::*;
    use crate::block::{Origin, Reason};
    use crate::commit::letter_schema;

    #[test]
    fn rows_with_the_same_words_have_them_once() {
        let source = Schema::new(vec![Field::new("n", DataType::Int64, true)]);
        let numbers: ArrayRef = Arc::new(Int64Array::from_iter_values(0..1000));
        let read = RecordBatch::try_new(Arc::new(source.clone()), vec![numbers]).unwrap();
        let kept = Kept::of_rows(read.clone(), Arc::new(HashMap::from([(17, 2)])));
        let rows = std::iter::once(10..1010).collect();
        let mut block =
            Block::new(read, Origin { object: "a".into(), rows, kept: Some(kept.clone()), ..Origin::default() });
        let long: Arc<str> = "x".repeat(4096).into();
        let other: Arc<str> = "other".into();
        let failed = |row| match row {
            500 => (row, Reason::new(FailureKind::Row, Arc::clone(&other))),
            _ => (row, Reason::new(FailureKind::Limit, Arc::clone(&long))),
        };
        block.fail(1, (5..900).map(failed)).unwrap();
        let failures: Vec<&Failure> = block.failures.iter().collect();
        let letters = batch(&letter_schema(&source, &source, false), &block, &kept, &failures, |_| "f");
        assert!(letters.held_bytes() < 50_000, "{}", letters.held_bytes());
        let whole = letters.batch(&(0..895)).unwrap();
        let text = |column: usize, row| whole.column(column).as_string::<i32>().value(row).to_owned();
        assert_eq!([0, 3, 4, 5].map(|column| text(column, 495)), ["a", "f", "row", "other"]);
        assert_eq!((text(4, 494), text(5, 494).len()), ("limit".to_owned(), 4096));
        assert_eq!(whole.column(1).as_primitive::<UInt64Type>().values()[..2], [15, 16]);
        assert_eq!(whole.column(2).as_primitive::<UInt32Type>().values()[..2], [2, 2]);
        assert_eq!(whole.column(6).as_primitive::<UInt32Type>().values()[..3], [1, 1, 3]);
        assert_eq!(whole.column(7).as_primitive::<arrow::datatypes::Int64Type>().values()[..2], [5, 6]);
        assert!(letters.batches(1 << 20).count() > 3, "written in parts");
    }
}
