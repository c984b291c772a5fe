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
use crate::block::{FailureKind, Lineage, batch_bytes};
use crate::message::Message;
use crate::plan::Isolation;
use crate::udf::{Answer, CallError, CallFailure, Limits, RowError};

/// How a block is searched.
#[derive(Clone, Copy, Debug)]
pub struct Search<'a> {
    /// The columns of an answer.
    pub adds: &'a SchemaRef,
    /// How far.
    pub isolation: &'a Isolation,
    /// The limits of one call.
    pub limits: &'a Limits,
    /// What other calls of the block were answered with.
    pub before: AnswerSize,
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
    /// As if the function had been called without the rows below: of some rows each; ascending. Rows of none have no output row.
    pub answers: Vec<(Range<usize>, Answer)>,
    /// Rows that end the function; ascending.
    pub poison: Vec<Poison>,
    /// Rows that were left together; ascending.
    pub left: Vec<Left>,
    /// Calls beyond the first.
    pub calls: u64,
}

impl Outcome {
    /// The answer to a block of so many rows.
    pub fn answered(rows: usize, answer: Answer) -> Outcome {
        Outcome { answers: vec![(0..rows, answer)], poison: Vec::new(), left: Vec::new(), calls: 0 }
    }
}

/// A row that ends the function alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poison {
    /// Ordinal in the block.
    pub row: u32,
    /// Trap or limit.
    pub kind: FailureKind,
    /// What the function or the host said. Begins with the function.
    pub message: Arc<Message>,
}

/// Rows of which some end the function, nobody knows which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// Ordinals in the block.
    pub rows: Range<u32>,
    /// Trap or limit.
    pub kind: FailureKind,
    /// What the last call with them came to. Begins with the function.
    pub message: Arc<Message>,
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
    /// The function breaks the contract, and is of no use for any row.
    Broken(CallError),
    /// The first row that ends the function, if no other is asked for.
    First(Poison),
    /// The search met a limit, and rows must not be left together.
    Spent(Spent),
    /// What the first so many rows were answered with, each part within its limits, and calls before this one, is too much for
    /// one block.
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
pub(super) fn isolate(
    block: &RecordBatch,
    search: Search<'_>,
    mut call: impl FnMut(&RecordBatch, Start) -> Result<Answer, CallError>,
) -> Result<Outcome, Stop> {
    let cause = match call(block, Start::Kept) {
        Ok(answer) => return Ok(Outcome::answered(block.num_rows(), answer)),
        Err(error) => Cause::of(error)?,
    };
    let whole = Candidate { rows: 0..block.num_rows(), cause, fails: true, is_left: false };
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
    while let Some(candidate) = halving.pending.pop() {
        halving.search(candidate, &mut call)?;
    }
    let Halving { answered, poison, left, calls, .. } = halving;
    Ok(Outcome { answers: answered.joined(search.adds), poison, left, calls })
}

/// What a failed call came to.
#[derive(Clone)]
struct Cause {
    kind: FailureKind,
    hangs: bool,
    message: Arc<Message>,
}

impl Cause {
    fn of(error: CallError) -> Result<Cause, Stop> {
        let (kind, hangs) = match error.failure {
            CallFailure::Trap => (FailureKind::Trap, false),
            CallFailure::Limit => (FailureKind::Limit, false),
            CallFailure::Timeout => (FailureKind::Limit, true),
            CallFailure::Broken => return Err(Stop::Broken(error)),
        };
        Ok(Cause { kind, hangs, message: error.message })
    }
}

/// Rows that are still to be called.
struct Candidate {
    rows: Range<usize>,
    /// What the last call that they were part of came to.
    cause: Cause,
    /// They are known to fail together: there is no use in calling them as they are.
    fails: bool,
    /// The one below on the stack is the other half.
    is_left: bool,
}

struct Halving<'a> {
    block: &'a RecordBatch,
    search: Search<'a>,
    /// The next is the last; all its rows come before those of the ones below it.
    pending: Vec<Candidate>,
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
    fn search(
        &mut self,
        candidate: Candidate,
        call: &mut impl FnMut(&RecordBatch, Start) -> Result<Answer, CallError>,
    ) -> Result<(), Stop> {
        if candidate.fails && candidate.rows.len() > 1 {
            return self.failed(candidate.rows, candidate.cause);
        }
        if let Some(limit) = self.limit() {
            return self.meet(limit, candidate);
        }
        let start = if candidate.rows.len() == 1 { Start::Anew } else { Start::Kept };
        self.calls += 1;
        match call(&self.block.slice(candidate.rows.start, candidate.rows.len()), start) {
            Ok(answer) => self.answered(candidate, answer),
            Err(error) => self.failed(candidate.rows, Cause::of(error)?),
        }
    }

    fn halve(&mut self, rows: Range<usize>, cause: &Cause) {
        let middle = rows.start + rows.len().div_ceil(2);
        let half = |rows, is_left| Candidate { rows, cause: cause.clone(), fails: false, is_left };
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

    fn meet(&mut self, limit: Limit, candidate: Candidate) -> Result<(), Stop> {
        if self.block.num_rows() == 1 {
            return self.blame(0, candidate.cause);
        }
        if !self.search.isolation.skips_unseparated {
            // All that is pending, which is all up to the block's end.
            let left = left(candidate.rows.start..self.block.num_rows(), candidate.cause, limit);
            let (found, calls, time) = (self.poison.len(), self.calls, self.started.elapsed());
            return Err(Stop::Spent(Spent { left, found, calls, time }));
        }
        match limit {
            // What is pending may be well, and most rows are in the parts that were not called yet: each has one call.
            Limit::Hangs(_) => {
                self.halves = false;
                self.pending.push(candidate);
            }
            Limit::Calls(_) | Limit::Time(_) | Limit::Run(_) => {
                self.left.push(left(candidate.rows, candidate.cause, limit));
            }
        }
        Ok(())
    }

    fn answered(&mut self, candidate: Candidate, answer: Answer) -> Result<(), Stop> {
        self.hung = 0;
        if candidate.is_left
            && let Some(other) = self.pending.last_mut()
        {
            other.fails = true;
        }
        let end = candidate.rows.end;
        self.answered.add(candidate.rows, answer);
        let answers = self.search.before.and(self.answered.size);
        match answers.is_past(self.search.limits) {
            true => Err(Stop::TooMuch { rows: end as u32, answers }),
            false => Ok(()),
        }
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
        self.size.add(&answer);
        self.parts.push((rows, answer));
    }

    /// Small ones that stand beside each other as one: large ones are not there twice for it.
    fn joined(self, adds: &SchemaRef) -> Vec<(Range<usize>, Answer)> {
        let (mut joined, mut small, mut bytes) = (Vec::new(), Vec::new(), 0);
        for (rows, answer) in self.parts {
            let more = batch_bytes(&answer.batch) as u64;
            if bytes + more > JOINED_BYTES_MAX {
                joined.extend(as_one(std::mem::take(&mut small), adds));
                bytes = 0;
            }
            bytes += more;
            small.push((rows, answer));
        }
        joined.extend(as_one(small, adds));
        joined
    }
}

/// Of answers that are joined.
const JOINED_BYTES_MAX: u64 = 4 << 20;

/// Answers as one to all rows from the first to the last; those in between that have none have no output row.
fn as_one(mut parts: Vec<(Range<usize>, Answer)>, adds: &SchemaRef) -> Option<(Range<usize>, Answer)> {
    if parts.len() <= 1 {
        return parts.pop();
    }
    let all = parts[0].0.start..parts.last()?.0.end;
    parts.iter_mut().for_each(|(rows, _)| *rows = rows.start - all.start..rows.end - all.start);
    let answer = merged(parts, all.len(), adds).expect("answers of one function, of few bytes");
    Some((all, answer))
}

/// Answers as one to `rows` rows.
fn merged(parts: Vec<(Range<usize>, Answer)>, rows: usize, adds: &SchemaRef) -> Result<Answer, ArrowError> {
    let batch = concat_batches(adds, parts.iter().map(|(_, answer)| &answer.batch))?;
    let lineage = lineage(rows, &parts);
    let at = |first: usize| move |error: RowError| RowError { row: error.row + first as u32, ..error };
    let errors = parts.into_iter().flat_map(|(rows, answer)| answer.errors.into_iter().map(at(rows.start)));
    Ok(Answer { batch, lineage, errors: errors.collect() })
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
