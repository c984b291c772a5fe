//! What a worker thread does: drive one block through all stages, then put it into its group's files. A worker owns one
//! instance per stage, which begins anew after a trap.

use std::sync::Arc;
use std::time::Instant;

use arrow::array::{Array, BooleanArray, RecordBatch, RecordBatchOptions};
use arrow::compute::filter_record_batch;
use arrow::error::ArrowError;
use crossbeam_channel::Receiver;

use super::groups::Ticket;
use super::{Emitted, Flow, RunError, by_hand, letters, lock};
use crate::block::{Block, FailureKind};
use crate::columns;
use crate::commit::RowState;
use crate::message::parted;
use crate::observe::{add, add_time};
use crate::plan::{OnError, Stage};
use crate::sink::SinkError;
use crate::udf::{Answer, CallError, Instance};

/// Failed rows that one block logs one by one; the rest is counted.
const LOGGED_FAILURES_MAX: usize = 5;

/// Drives blocks until the readers are gone.
pub(super) fn worker(flow: &Flow, blocks: &Receiver<Emitted>) {
    let mut instances: Vec<Option<Instance>> = flow.plan.stages.iter().map(|_| None).collect();
    while let Ok(Emitted { block, ticket }) = blocks.recv() {
        if flow.is_dead() {
            continue;
        }
        (Drive { flow, instances: &mut instances, in_guest: 0 }).drive(block, ticket);
    }
}

/// What came of a block.
#[derive(Default)]
struct Results {
    /// Rows for the sink; none if there is none.
    output: Option<RecordBatch>,
    /// Its dead letters; none if there is none.
    letters: Option<RecordBatch>,
}

/// Puts a block's results into its group's files, or keeps them until those before it are in. Gives the number of blocks that
/// went in.
fn put(results: Results, ticket: Ticket) -> Result<u64, SinkError> {
    let Results { output, letters } = results;
    let Ticket { group, stream, sequence, share, .. } = ticket;
    if let Some(sink) = &group.lane.dead_letters {
        group.dead_letters[stream].put(sequence, letters, (), sink)?;
    }
    let written = group.streams[stream].put(sequence, output, share, &group.lane.sink)?;
    Ok(written.len() as u64)
}

struct Drive<'a> {
    flow: &'a Flow,
    instances: &'a mut [Option<Instance>],
    /// Nanoseconds inside functions during the current stage.
    in_guest: u64,
}

impl Drive<'_> {
    /// An error of a row or a function gives up the block's group and ends the run; an error of the sink breaks the group,
    /// and the commit loop finds out whether the lane is lost.
    fn drive(&mut self, block: Block, ticket: Ticket) {
        let results = if ticket.group.is_given_up() { Results::default() } else { self.stages(block, &ticket) };
        let group = Arc::clone(&ticket.group);
        if group.is_settled() {
            return;
        }
        let start = Instant::now();
        match put(results, ticket) {
            Ok(blocks) => self.flow.groups.arrived(&group, blocks),
            Err(error) => self.flow.groups.break_group(&group, error),
        }
        add_time(&self.flow.progress.times.write, start);
    }

    fn stages(&mut self, mut block: Block, ticket: &Ticket) -> Results {
        for index in 0..self.flow.plan.stages.len() {
            if block.batch.num_rows() == 0 {
                break;
            }
            block = match self.stage(index, block) {
                Ok(block) => block,
                Err(error) => {
                    ticket.group.give_up();
                    self.flow.fail(error);
                    return Results::default();
                }
            };
        }
        record(&self.flow.plan.stages, &block, ticket);
        let output = (block.batch.num_rows() > 0).then(|| self.for_sink(&block));
        Results { output, letters: letters::of_block(&self.flow.plan, &block) }
    }

    fn for_sink(&self, block: &Block) -> RecordBatch {
        let columns = block.columns(&self.flow.plan.sink_columns);
        let options = RecordBatchOptions::new().with_row_count(Some(block.batch.num_rows()));
        RecordBatch::try_new_with_options(Arc::clone(&self.flow.plan.sink.schema), columns, &options)
            .expect("the sink's schema is that of the last stage")
    }

    /// One block through one stage.
    fn stage(&mut self, index: usize, block: Block) -> Result<Block, RunError> {
        let flow = self.flow;
        let stage = &flow.plan.stages[index];
        let start = Instant::now();
        let before = block.failures.len();
        let block = fail_nulls(index, stage, block).map_err(|error| broken(stage, &error))?;
        self.settle_failures(stage, &block, before)?;
        let block = if block.batch.num_rows() == 0 { block } else { self.call(index, block)? };
        let outside = (start.elapsed().as_nanos() as u64).saturating_sub(std::mem::take(&mut self.in_guest));
        add(&flow.progress.times.boundary, outside);
        Ok(block)
    }

    fn call(&mut self, index: usize, block: Block) -> Result<Block, RunError> {
        let stage = &self.flow.plan.stages[index];
        let input = input(stage, &block).map_err(|error| {
            RunError::Failed(format!("{}: {}: {error}\nhint: {HINT_VALUE}", stage.label, block.origin.span()))
        })?;
        let answer = match self.process(index, &input) {
            Ok(answer) => answer,
            Err(CallError::Trap { message }) => return self.fail_block(index, block, FailureKind::Trap, &message),
            Err(CallError::Limit { message }) => return self.fail_block(index, block, FailureKind::Limit, &message),
            Err(CallError::Broken { message }) => {
                return Err(RunError::Failed(format!("{}: {}", self.of(stage), in_block(&message, &block))));
            }
        };
        let before = block.failures.len();
        let block = accept(index, stage, block, answer).map_err(|error| broken(stage, &error))?;
        self.settle_failures(stage, &block, before)?;
        Ok(block)
    }

    /// A block without an answer: under `fail` it ends the run, else all its rows fail.
    fn fail_block(&self, index: usize, block: Block, kind: FailureKind, message: &str) -> Result<Block, RunError> {
        let stage = &self.flow.plan.stages[index];
        let message = in_block(message, &block);
        if stage.on_error == OnError::Fail {
            let (_, hint) = parted(&message);
            let by_hand = || format!("\nhint: {}", by_hand::hint(&self.flow.plan, index, &block));
            let more = hint.map_or_else(by_hand, |_| String::new());
            return Err(RunError::Failed(format!("{}: {message}{more}", self.of(stage))));
        }
        tracing::warn!("{}: rows {}: {}", stage.label, word(stage), parted(&message).0);
        block.fail_all(index, kind, &message).map_err(|error| broken(stage, &error))
    }

    /// Calls the worker's instance; the first block starts it.
    fn process(&mut self, index: usize, input: &RecordBatch) -> Result<Answer, CallError> {
        let (flow, stage) = (self.flow, &self.flow.plan.stages[index]);
        let kept = &mut self.instances[index];
        if kept.is_none() {
            let started = Instance::new(&flow.plan.engine, &stage.spec, &stage.binding);
            *kept = Some(started.map_err(|error| CallError::Broken { message: error.to_string() })?);
        }
        let instance = kept.as_mut().expect("just started");
        let answer = instance.process(input);
        let spent = instance.take_time().as_nanos() as u64;
        add(&flow.progress.times.guest, spent);
        self.in_guest += spent;
        let answer = answer?;
        let counts = instance.take_counts();
        if !counts.is_empty() {
            let mut all = lock(&flow.guest_counts);
            for (name, count) in counts {
                *all.entry(format!("{}.{name}", stage.spec.function)).or_default() += count;
            }
        }
        Ok(answer)
    }

    /// Under `fail` the first failure ends the run; else the rows are left out, and some are logged.
    fn settle_failures(&self, stage: &Stage, block: &Block, before: usize) -> Result<(), RunError> {
        let failures = &block.failures[before..];
        if failures.is_empty() {
            return Ok(());
        }
        if stage.on_error == OnError::Fail {
            let first = &failures[0];
            let (what, hint) = parted(&first.message);
            let hint = hint.unwrap_or_else(|| by_hand::going_on(&self.flow.plan));
            let place = block.origin.describe(first.row);
            return Err(RunError::Failed(format!(
                "{}: {place}: {what}\nhint: {hint}; or leave such rows out with on_error = \"skip\" or \"dead-letter\" in this stage",
                self.of(stage)
            )));
        }
        for failure in failures.iter().take(LOGGED_FAILURES_MAX) {
            let row = block.origin.describe(failure.row);
            tracing::warn!("{}: {row} {}: {}", stage.label, word(stage), parted(&failure.message).0);
        }
        if failures.len() > LOGGED_FAILURES_MAX {
            let more = failures.len() - LOGGED_FAILURES_MAX;
            tracing::warn!("{}: {more} more rows of {} {}", stage.label, block.origin.object, word(stage));
        }
        Ok(())
    }

    fn of(&self, stage: &Stage) -> String {
        let path = stage.spec.component.path().display();
        format!("{} of {path} ({}, line {})", stage.label, self.flow.plan.file.display(), stage.line)
    }
}

/// What happens to rows that do not end the run.
fn word(stage: &Stage) -> &'static str {
    if stage.on_error == OnError::DeadLetter { "dead-lettered" } else { "left out" }
}

/// A message about a whole block names its rows. The stage's number is said by whoever shows the message.
fn in_block(message: &str, block: &Block) -> String {
    let (what, hint) = parted(message);
    let what = what.split_once(": ").filter(|(stage, _)| stage.starts_with("stage ")).map_or(what, |(_, what)| what);
    let what = format!("{what}, in the block {}", block.origin.span());
    hint.map_or(what.clone(), |hint| format!("{what}\nhint: {hint}"))
}

const HINT_VALUE: &str = "a value does not fit the type that the function asks for; mend the value or the function";

fn broken(stage: &Stage, error: &ArrowError) -> RunError {
    let hint = match error {
        ArrowError::OffsetOverflowError(_) => {
            "more bytes of one column than a block can hold; lower `block_rows_max` or `block_bytes_max` under [run]"
        }
        _ => "nothing is lost; this is a defect of wasmpipe: report it with this line",
    };
    RunError::Failed(format!("{}: {error}\nhint: {hint}", stage.label))
}

/// Rows with a null where the function takes none fail before they reach it.
pub(super) fn fail_nulls(index: usize, stage: &Stage, block: Block) -> Result<Block, ArrowError> {
    let mut failed = Vec::new();
    for (&place, field) in stage.needs.iter().zip(stage.binding.needs.fields()) {
        let column = block.batch.column(place);
        if field.is_nullable() || column.null_count() == 0 {
            continue;
        }
        let rows = (0..column.len()).filter(|&row| column.is_null(row));
        let message: Arc<str> =
            format!("null in column `{}`, which the function takes without nulls", field.name()).into();
        failed.extend(rows.map(|row| (block.parent(row as u32), Arc::clone(&message))));
    }
    block.fail(index, FailureKind::Row, failed)
}

/// What the function gets to see of a block: the columns that it needs, in the types that it needs.
pub(super) fn input(stage: &Stage, block: &Block) -> Result<RecordBatch, ArrowError> {
    columns::convert_all(&block.columns(&stage.needs), &stage.binding.needs, block.batch.num_rows())
}

/// What an answer makes of the block that was asked about.
pub(super) fn accept(index: usize, stage: &Stage, block: Block, answer: Answer) -> Result<Block, ArrowError> {
    let errors: Vec<(u32, Arc<str>)> =
        answer.errors.into_iter().map(|error| (block.parent(error.row), error.message.into())).collect();
    let adds = answer.batch.project(&stage.adds)?;
    block.advance(&stage.carry, &answer.lineage, &adds, &stage.output)?.fail(index, FailureKind::Row, errors)
}

/// What became of the block's source rows goes into its group, before the block counts as arrived.
fn record(stages: &[Stage], block: &Block, ticket: &Ticket) {
    let origin = &block.origin;
    let mut states = vec![RowState::Done; if block.failures.is_empty() { 0 } else { origin.len() }];
    for failure in &block.failures {
        let is_letter = stages[failure.stage].on_error == OnError::DeadLetter;
        states[failure.row as usize] = if is_letter { RowState::DeadLettered } else { RowState::Failed };
    }
    let dead = states.iter().filter(|state| **state == RowState::DeadLettered).count() as u64;
    let failed = block.failures.len() as u64 - dead;
    let mut group = lock(&ticket.group.value);
    group.cover(&origin.object, ticket.piece, origin.rows.iter().cloned(), RowState::Done);
    // One walk over the ranges: after a repack there may be as many of them as rows, and a trap fails a whole block.
    let ordinals = origin.rows.iter().flat_map(Clone::clone);
    for (row, state) in ordinals.zip(&states).filter(|(_, state)| **state != RowState::Done) {
        group.cover(&origin.object, ticket.piece, std::iter::once(row..row + 1), *state);
    }
    if let Some(ids) = &origin.ids {
        group.ids.push(if block.failures.is_empty() { ids.clone() } else { of_done(ids, &states) });
    }
    let with_output = block.rows_with_output();
    group.counts.rows_read += origin.len() as u64;
    group.counts.rows_failed += failed;
    group.counts.rows_dead_lettered += dead;
    group.counts.rows_dropped += origin.len() as u64 - failed - dead - with_output;
    group.counts.rows_written += block.batch.num_rows() as u64;
}

fn of_done(ids: &RecordBatch, states: &[RowState]) -> RecordBatch {
    let keep: BooleanArray = states.iter().map(|&state| Some(state == RowState::Done)).collect();
    filter_record_batch(ids, &keep).expect("one flag per row")
}
