//! Which rows of a block end the function: found by halving, so that all others get their results.
//!
//! A function that traps or goes past a limit gives no answer for any row of its block. The block is then called in halves,
//! and what fails is halved again, from left to right. A row is to blame only if it ends the function alone, as the first
//! call of a new instance, with the full limits: what was called before it, and what stands beside it, cannot have done
//! it. What the halves answer is put together as if the whole had been called without those rows.
//!
//! If a part failed and its left half did not, it must be the right half, which is halved without a call. Of n rows one is
//! found in log2 n + 1 to 2 log2 n calls; those that fail, which may take all of their time, are half of log2 n on average,
//! log2 n at most.
//!
//! One plain function over (block, call): it starts nothing, and knows no instance.

use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;
use arrow::buffer::BooleanBuffer;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use super::AnswerSize;
use crate::block::{FailureKind, Lineage};
use crate::panics;
use crate::plan::Isolation;
use crate::udf::{Answer, CallError, Limits, RowError};

/// How a block is searched.
#[derive(Clone, Copy, Debug)]
pub struct Search<'a> {
    /// The columns of an answer.
    pub adds: &'a SchemaRef,
    /// How far.
    pub isolation: &'a Isolation,
    /// The limits of one call.
    pub limits: &'a Limits,
    /// Nobody asks for others than the first.
    pub stops_at_first: bool,
    /// What such calls of the run may take, and what this search may take of it; none outside of a run.
    pub run_time: Option<RunTime>,
}

/// Time of a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RunTime {
    /// `isolate_run_seconds_max`, written or not.
    pub max: Duration,
    /// What was left of it before this search.
    pub left: Duration,
}

/// The instance that a call is made on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// Any, such as the one that was called before.
    Kept,
    /// A new one.
    Anew,
}

/// What came of a block.
#[derive(Debug, PartialEq)]
pub struct Outcome {
    /// As if the function had been called without the rows below, which have no output row.
    pub answer: Answer,
    /// Rows that end the function; ascending.
    pub poison: Vec<Poison>,
    /// Rows that were left together; ascending.
    pub left: Vec<Left>,
    /// Calls beyond the first.
    pub calls: u64,
}

impl From<Answer> for Outcome {
    fn from(answer: Answer) -> Outcome {
        Outcome { answer, poison: Vec::new(), left: Vec::new(), calls: 0 }
    }
}

/// A row that ends the function alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poison {
    /// Ordinal in the block.
    pub row: u32,
    /// Trap or limit.
    pub kind: FailureKind,
    /// What the function or the host said. Names stage and function.
    pub message: Arc<str>,
}

/// Rows of which some end the function, nobody knows which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// Ordinals in the block.
    pub rows: Range<u32>,
    /// Trap or limit.
    pub kind: FailureKind,
    /// What the last call with them came to. Names stage and function.
    pub message: Arc<str>,
    /// What kept them together.
    pub limit: Limit,
}

/// What ends a search, with its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// `isolate_calls_max`
    Calls(u64),
    /// `isolate_seconds_max`
    Time(Duration),
    /// `isolate_hangs_max`
    Hangs(u32),
    /// `isolate_run_seconds_max`
    Run(Duration),
}

impl Limit {
    /// Its name in the pipeline file.
    pub fn key(self) -> &'static str {
        match self {
            Limit::Calls(_) => "isolate_calls_max",
            Limit::Time(_) => "isolate_seconds_max",
            Limit::Hangs(_) => "isolate_hangs_max",
            Limit::Run(_) => "isolate_run_seconds_max",
        }
    }

    /// As the pipeline file has it: `isolate_calls_max = 10000`.
    pub fn written(self) -> String {
        let key = self.key();
        match self {
            Limit::Calls(max) => format!("{key} = {max}"),
            Limit::Time(max) | Limit::Run(max) => format!("{key} = {}", max.as_secs_f64()),
            Limit::Hangs(max) => format!("{key} = {max}"),
        }
    }
}

/// Why a block came to nothing.
#[derive(Debug)]
pub enum Stop {
    /// The function breaks the contract, and is of no use for any row. Names stage and function.
    Broken(String),
    /// The first row that ends the function, if no other is asked for.
    First(Poison),
    /// The search met a limit, and rows must not be left together.
    Spent(Spent),
    /// What the first so many rows were answered with, each part within its limits, is too much for one batch.
    TooMuch { rows: u32, answers: AnswerSize },
}

/// How far a search came.
#[derive(Debug, PartialEq)]
pub struct Spent {
    /// The rows that nothing is known of, and what the last call with the first of them came to.
    pub left: Left,
    /// Rows found until then.
    pub found: usize,
    /// Calls beyond the first.
    pub calls: u64,
    /// What they took.
    pub time: Duration,
}

/// Calls the function with the block, and if that fails finds out for which rows.
pub fn isolate(
    block: &RecordBatch,
    search: Search<'_>,
    mut call: impl FnMut(&RecordBatch, Start) -> Result<Answer, CallError>,
) -> Result<Outcome, Stop> {
    let cause = match call(block, Start::Kept) {
        Ok(answer) => return Ok(answer.into()),
        Err(error) => Cause::of(error)?,
    };
    let whole = Part { rows: 0..block.num_rows(), cause, fails: true, is_left: false };
    let mut halving = Halving {
        block,
        search,
        pending: vec![whole],
        answered: Answered::default(),
        poison: Vec::new(),
        left: Vec::new(),
        started: Instant::now(),
        calls: 0,
        hung: 0,
        halves: true,
    };
    while let Some(part) = halving.pending.pop() {
        halving.part(part, &mut call)?;
    }
    let Halving { answered, poison, left, calls, .. } = halving;
    let too_much = answered.too_much();
    // More than 2^31 items of a list are a panic of Arrow's.
    let merged = panics::guarded(|| answered.merged(block.num_rows(), search.adds));
    let answer = merged.ok().and_then(Result::ok).ok_or(too_much)?;
    Ok(Outcome { answer, poison, left, calls })
}

/// What a failed call came to.
#[derive(Clone)]
struct Cause {
    kind: FailureKind,
    hangs: bool,
    message: Arc<str>,
}

impl Cause {
    fn of(error: CallError) -> Result<Cause, Stop> {
        let (kind, hangs, message) = match error {
            CallError::Trap { message } => (FailureKind::Trap, false, message),
            CallError::Limit { message } => (FailureKind::Limit, false, message),
            CallError::Timeout { message } => (FailureKind::Limit, true, message),
            CallError::Broken { message } => return Err(Stop::Broken(message)),
        };
        Ok(Cause { kind, hangs, message: message.into() })
    }
}

/// Rows that are still to be called.
struct Part {
    rows: Range<usize>,
    /// What the last call that they were part of came to.
    cause: Cause,
    /// They are known to fail together: there is no use in calling them as they are.
    fails: bool,
    /// The part below on the stack is the other half.
    is_left: bool,
}

struct Halving<'a> {
    block: &'a RecordBatch,
    search: Search<'a>,
    /// The next is the last; all rows of a part come before those of the parts below it.
    pending: Vec<Part>,
    answered: Answered,
    poison: Vec<Poison>,
    left: Vec<Left>,
    started: Instant,
    calls: u64,
    /// Rows in succession that took all of their time.
    hung: u32,
    /// What fails is halved. Else it stays together.
    halves: bool,
}

impl Halving<'_> {
    fn part(
        &mut self,
        part: Part,
        call: &mut impl FnMut(&RecordBatch, Start) -> Result<Answer, CallError>,
    ) -> Result<(), Stop> {
        if part.fails && part.rows.len() > 1 && self.halves {
            self.halve(part.rows, &part.cause);
            return Ok(());
        }
        if let Some(limit) = self.limit() {
            return self.meet(limit, part);
        }
        let start = if part.rows.len() == 1 { Start::Anew } else { Start::Kept };
        self.calls += 1;
        match call(&self.block.slice(part.rows.start, part.rows.len()), start) {
            Ok(answer) => self.answered(part, answer),
            Err(error) => self.failed(part.rows, Cause::of(error)?),
        }
    }

    fn halve(&mut self, rows: Range<usize>, cause: &Cause) {
        let middle = rows.start + rows.len().div_ceil(2);
        let half = |rows, is_left| Part { rows, cause: cause.clone(), fails: false, is_left };
        self.pending.push(half(middle..rows.end, false));
        self.pending.push(half(rows.start..middle, true));
    }

    fn limit(&self) -> Option<Limit> {
        let Isolation { calls_max, time_max, hangs_max, .. } = *self.search.isolation;
        if self.calls >= calls_max {
            Some(Limit::Calls(calls_max))
        } else if self.started.elapsed() >= time_max {
            Some(Limit::Time(time_max))
        } else if self.halves && self.hung >= hangs_max {
            Some(Limit::Hangs(hangs_max))
        } else {
            self.run_limit()
        }
    }

    /// The one row of a block has its one call in any case: it may be innocent.
    fn run_limit(&self) -> Option<Limit> {
        let RunTime { max, left } = self.search.run_time.filter(|_| self.block.num_rows() > 1)?;
        (self.started.elapsed() >= left).then_some(Limit::Run(max))
    }

    fn meet(&mut self, limit: Limit, part: Part) -> Result<(), Stop> {
        if self.block.num_rows() == 1 {
            return self.blame(0, part.cause);
        }
        if !self.search.isolation.skips_unseparated {
            // All that is pending, which is all up to the block's end.
            let left = left(part.rows.start..self.block.num_rows(), part.cause, limit);
            let (found, calls, time) = (self.poison.len(), self.calls, self.started.elapsed());
            return Err(Stop::Spent(Spent { left, found, calls, time }));
        }
        match limit {
            // What is pending may be well, and most rows are in the parts that were not called yet: each has one call.
            Limit::Hangs(_) => {
                self.halves = false;
                self.pending.push(part);
            }
            Limit::Calls(_) | Limit::Time(_) | Limit::Run(_) => self.left.push(left(part.rows, part.cause, limit)),
        }
        Ok(())
    }

    fn answered(&mut self, part: Part, answer: Answer) -> Result<(), Stop> {
        self.hung = 0;
        if part.is_left
            && let Some(other) = self.pending.last_mut()
        {
            other.fails = true;
        }
        self.answered.add(part.rows, answer);
        if self.answered.size.is_past(self.search.limits) { Err(self.answered.too_much()) } else { Ok(()) }
    }

    fn failed(&mut self, rows: Range<usize>, cause: Cause) -> Result<(), Stop> {
        if rows.len() == 1 {
            return self.blame(rows.start as u32, cause);
        }
        if self.halves {
            self.halve(rows, &cause);
        } else {
            self.left.push(left(rows, cause, Limit::Hangs(self.search.isolation.hangs_max)));
        }
        Ok(())
    }

    fn blame(&mut self, row: u32, cause: Cause) -> Result<(), Stop> {
        self.hung = if cause.hangs { self.hung + 1 } else { 0 };
        let poison = Poison { row, kind: cause.kind, message: cause.message };
        if self.search.stops_at_first {
            return Err(Stop::First(poison));
        }
        self.poison.push(poison);
        Ok(())
    }
}

fn left(rows: Range<usize>, cause: Cause, limit: Limit) -> Left {
    Left { rows: rows.start as u32..rows.end as u32, kind: cause.kind, message: cause.message, limit }
}

/// Answers of parts, in the order of their rows.
#[derive(Default)]
struct Answered {
    parts: Vec<(Range<usize>, Answer)>,
    size: AnswerSize,
}

impl Answered {
    fn add(&mut self, rows: Range<usize>, answer: Answer) {
        self.size.add(&answer.batch);
        self.parts.push((rows, answer));
    }

    fn too_much(&self) -> Stop {
        let rows = self.parts.last().map_or(0, |(rows, _)| rows.end as u32);
        Stop::TooMuch { rows, answers: self.size }
    }

    /// As one answer to `rows` rows; those of no part have no output row.
    fn merged(self, rows: usize, adds: &SchemaRef) -> Result<Answer, ArrowError> {
        let batch = concat_batches(adds, self.parts.iter().map(|(_, answer)| &answer.batch))?;
        let lineage = lineage(rows, &self.parts);
        let at = |first: usize| move |error: RowError| RowError { row: error.row + first as u32, ..error };
        let errors = self.parts.into_iter().flat_map(|(rows, answer)| answer.errors.into_iter().map(at(rows.start)));
        Ok(Answer { batch, lineage, errors: errors.collect() })
    }
}

/// The plainest lineage that says it: a function that answers batches may answer each part in another.
fn lineage(rows: usize, parts: &[(Range<usize>, Answer)]) -> Lineage {
    let is_counts = |(_, answer): &(_, Answer)| matches!(answer.lineage, Lineage::Counts(_));
    let is_same = |(_, answer): &(_, Answer)| answer.lineage == Lineage::Same;
    if parts.iter().any(is_counts) {
        let mut counts = vec![0; rows];
        for (rows, answer) in parts {
            let counts = &mut counts[rows.clone()];
            match &answer.lineage {
                Lineage::Same => counts.fill(1),
                Lineage::Kept(bits) => bits.set_indices().for_each(|row| counts[row] = 1),
                Lineage::Counts(said) => counts.copy_from_slice(said),
            }
        }
        return Lineage::Counts(counts);
    }
    if parts.iter().map(|(rows, _)| rows.len()).sum::<usize>() == rows && parts.iter().all(is_same) {
        return Lineage::Same;
    }
    let mut kept = vec![false; rows];
    for (rows, answer) in parts {
        let kept = &mut kept[rows.clone()];
        match &answer.lineage {
            Lineage::Kept(bits) => bits.set_indices().for_each(|row| kept[row] = true),
            _ => kept.fill(true),
        }
    }
    Lineage::Kept(BooleanBuffer::from(kept))
}

#[cfg(test)]
mod tests;
