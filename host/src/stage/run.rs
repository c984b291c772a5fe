//! What a function sees of a block, and what its answer makes of it.

use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::error::ArrowError;

use super::{Left, Outcome, Poison};
use crate::block::{Block, FailureKind};
use crate::columns;
use crate::message::parted;
use crate::plan::Stage;

/// Rows with a null where the function takes none fail before they reach it.
pub fn fail_nulls(index: usize, stage: &Stage, block: Block) -> Result<Block, ArrowError> {
    let mut failed = Vec::new();
    for (&place, field) in stage.needs.iter().zip(stage.binding.needs.fields()) {
        let column = block.batch.column(place);
        if field.is_nullable() || column.null_count() == 0 {
            continue;
        }
        let rows = (0..column.len()).filter(|&row| column.is_null(row));
        let message: Arc<str> =
            format!("null in column `{}`, which the function takes without nulls", field.name()).into();
        failed.extend(rows.map(|row| (block.parent(row as u32), FailureKind::Row, Arc::clone(&message))));
    }
    block.fail(index, failed)
}

/// What the function gets to see of a block: the columns that it needs, in the types that it needs.
pub fn input(stage: &Stage, block: &Block) -> Result<RecordBatch, ArrowError> {
    columns::convert_all(&block.columns(&stage.needs), &stage.binding.needs, block.batch.num_rows())
}

/// What came of the block that was asked about.
pub fn accept(index: usize, stage: &Stage, block: Block, outcome: Outcome) -> Result<Block, ArrowError> {
    let Outcome { answer, poison, left, .. } = outcome;
    let mut failed: Vec<(u32, FailureKind, Arc<str>)> = Vec::new();
    failed.extend(answer.errors.into_iter().map(|error| (error.row, FailureKind::Row, error.message.into())));
    failed.extend(poison.into_iter().map(|Poison { row, kind, message }| (row, kind, without_stage(&message).into())));
    for left in left {
        let message: Arc<str> = in_range(&block, &left).into();
        failed.extend(left.rows.map(|row| (row, left.kind, Arc::clone(&message))));
    }
    // A source row may have several rows here: what its first came to is what is said of it.
    failed.sort_unstable_by_key(|(row, ..)| *row);
    failed.iter_mut().for_each(|(row, ..)| *row = block.parent(*row));
    let adds = answer.batch.project(&stage.adds)?;
    block.advance(&stage.carry, &answer.lineage, &adds, &stage.output)?.fail(index, failed)
}

fn in_range(block: &Block, left: &Left) -> String {
    let (what, hint) = parted(without_stage(&left.message));
    let what = format!("{what}, in {}, which were not told apart: {}", block.span(&left.rows), left.limit.written());
    hint.map_or(what.clone(), |hint| format!("{what}\nhint: {hint}"))
}

/// A call's message without the stage's number, which is said by whoever shows it.
pub fn without_stage(message: &str) -> &str {
    message.split_once(": ").filter(|(stage, _)| stage.starts_with("stage ")).map_or(message, |(_, what)| what)
}
