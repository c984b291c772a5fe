//! The dead letters of a block: its source rows that failed in a stage with `on_error = "dead-letter"`, as they were read,
//! with what was wrong. The files they go to are those of the group that the block is in.

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::take_record_batch;

use crate::block::{Block, Failure, FailureKind, Kept};
use crate::commit::{Letter, letter_batch};
use crate::message::parted;
use crate::plan::{OnError, Plan};

/// The block's dead letters in the order of its source rows; none if there is none.
pub(super) fn of_block(plan: &Plan, block: &Block) -> Option<RecordBatch> {
    let (spec, kept) = (plan.dead_letters.as_ref()?, block.origin.kept.as_ref()?);
    let is_letter = |failure: &&Failure| plan.stages[failure.stage].on_error == OnError::DeadLetter;
    let mut failures: Vec<&Failure> = block.failures.iter().filter(is_letter).collect();
    if failures.is_empty() {
        return None;
    }
    failures.sort_unstable_by_key(|failure| failure.row);
    let letters: Vec<Letter> = failures
        .iter()
        .zip(object_rows(block, &failures))
        .map(|(failure, row)| letter(plan, block, kept, failure, row))
        .collect();
    let rows: UInt32Array = failures.iter().map(|failure| failure.row).collect();
    let source = take_record_batch(&kept.batch, &rows).expect("rows of the block");
    Some(letter_batch(&spec.schema, &letters, &source))
}

fn letter(plan: &Plan, block: &Block, kept: &Kept, failure: &Failure, row: u64) -> Letter {
    Letter {
        object: block.origin.object.clone(),
        row,
        stage: failure.stage as u32 + 1,
        function: plan.stages[failure.stage].spec.function.clone(),
        kind: match failure.kind {
            FailureKind::Row => "row",
            FailureKind::Trap => "trap",
            FailureKind::Limit => "limit",
        },
        message: parted(&failure.message).0.into(),
        attempt: kept.attempt(row),
    }
}

/// Row ordinals in the object, in one walk: after a repack there may be as many ranges as rows.
fn object_rows(block: &Block, failures: &[&Failure]) -> Vec<u64> {
    let mut ordinals = block.origin.rows.iter().flat_map(Clone::clone).zip(0u32..);
    let mut row_of = |row: u32| ordinals.find(|(_, own)| *own == row).expect("a row of the block").0;
    failures.iter().map(|failure| row_of(failure.row)).collect()
}
