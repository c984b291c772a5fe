//! What a function sees of a block, and what its answer makes of it.

use std::collections::HashSet;
use std::ops::Range;

use arrow::array::RecordBatch;
use arrow::error::ArrowError;

use super::growth::Growth;
use super::{AnswerSize, Left, Outcome, Poison, Stop};
use crate::block::{Block, FailureKind, Origin, Part, Reason};
use crate::columns;
use crate::message::Message;
use crate::plan::{OnError, Stage};
use crate::udf::{Answer, RowError};

/// A block that does not come out of a stage.
#[derive(Debug)]
pub struct Halted {
    /// The source rows it began with.
    pub origin: Origin,
    /// Why.
    pub halt: Halt,
}

/// Why a block does not come out of a stage.
#[derive(Debug)]
pub enum Halt {
    /// A value of these rows does not fit the type that the function asks for.
    Input(Box<Part>, ArrowError),
    /// What came of it cannot be put together.
    Output(ArrowError),
    /// These rows had no answer.
    Stopped(Box<Part>, Stop),
    /// What these source rows were answered with, each call within its limits, is too much for one block. They are several.
    TooMuch(Range<u32>, AnswerSize),
}

/// What a function is called with at once.
#[derive(Clone, Copy, Debug)]
pub struct CallSize {
    /// Rows at most.
    pub rows_max: usize,
    /// Bytes at most that are copied of columns which an earlier function repeated; one row may have more.
    pub bytes_max: u64,
}

/// A source row that failed, and why.
type Failed = (u32, Reason);

/// Rows with a null where the function takes none fail before they reach it.
pub fn fail_nulls(index: usize, stage: &Stage, mut block: Block) -> Result<Block, ArrowError> {
    let mut failed: Vec<Failed> = Vec::new();
    for (&place, field) in stage.needs.iter().zip(stage.binding.needs.fields()) {
        if field.is_nullable() {
            continue;
        }
        let message = format!("null in column `{}`, which the function takes without nulls", field.name());
        let reason = Reason::new(FailureKind::Row, message);
        for part in &block.parts {
            let rows = part.rows.null_rows(place).into_iter();
            failed.extend(rows.map(|row| (part.parent(row as u32), reason.clone())));
        }
    }
    block.fail(index, failed)?;
    Ok(block)
}

/// Who calls a function.
pub trait Caller {
    /// What the next call may have.
    fn size(&self) -> CallSize;
    /// The answer for a part, of which `input` is what the function sees. `before` is what calls before it were answered with,
    /// and is held.
    fn call(&mut self, origin: &Origin, part: &Part, input: &RecordBatch, before: AnswerSize) -> Result<Outcome, Stop>;
    /// So much is held now of what calls were answered with.
    fn holds(&mut self, answers: AnswerSize);
}

/// Takes a block through a stage, in as many calls as it takes. A block of one source row of which too much comes has that
/// row fail.
pub fn pass(index: usize, stage: &Stage, block: Block, caller: &mut impl Caller) -> Result<Block, Box<Halted>> {
    let Block { parts, origin, failures } = block;
    match call_all(stage, parts, &origin, caller) {
        Err(Halt::TooMuch(_, answers)) if origin.len() == 1 => {
            let failed = (0, too_much(answers));
            let mut block = Block { parts: Vec::new(), origin, failures };
            block.fail(index, [failed]).expect("there is nothing to leave out");
            Ok(block)
        }
        Err(halt) => Err(Box::new(Halted { origin, halt })),
        Ok(Passing { parts, failed, .. }) => {
            let mut block = Block { parts, origin, failures };
            match block.fail(index, failed) {
                Ok(()) => Ok(block),
                Err(error) => Err(Box::new(Halted { origin: block.origin, halt: Halt::Output(error) })),
            }
        }
    }
}

fn call_all<'a>(
    stage: &'a Stage,
    parts: Vec<Part>,
    origin: &Origin,
    caller: &mut impl Caller,
) -> Result<Passing<'a>, Halt> {
    let mut passing = Passing::new(stage);
    for part in parts {
        let mut cuts = part.rows.cuts(&stage.needs);
        loop {
            let CallSize { rows_max, bytes_max } = caller.size();
            let Some(rows) = cuts.next(rows_max, bytes_max) else { break };
            let part = passing.to_call(&part, &rows).map_err(Halt::Output)?;
            if part.rows.num_rows() == 0 {
                continue;
            }
            let input = input(stage, &part)?;
            let outcome = caller.call(origin, &part, &input, passing.answers);
            passing.accept(origin, part, outcome)?;
            caller.holds(passing.answers);
        }
    }
    Ok(passing)
}

/// What the function sees of a part.
fn input(stage: &Stage, part: &Part) -> Result<RecordBatch, Halt> {
    let rows = part.rows.num_rows();
    let needed = part.rows.columns(&stage.needs, &(0..rows)).map_err(Halt::Output)?;
    let input = columns::convert_all(&needed, &stage.binding.needs, rows);
    input.map_err(|error| Halt::Input(Box::new(part.clone()), error))
}

/// A block on its way through a stage.
struct Passing<'a> {
    stage: &'a Stage,
    growth: Growth<'a>,
    parts: Vec<Part>,
    failed: Vec<Failed>,
    /// Source rows.
    are_failed: HashSet<u32>,
    answers: AnswerSize,
    /// The first that was called.
    first: Option<u32>,
}

impl<'a> Passing<'a> {
    fn new(stage: &'a Stage) -> Passing<'a> {
        Passing {
            stage,
            growth: Growth::new(&stage.carry, stage.spec.limits.row_output_bytes_max),
            parts: Vec::new(),
            failed: Vec::new(),
            are_failed: HashSet::new(),
            answers: AnswerSize::default(),
            first: None,
        }
    }

    /// These rows, without those whose source row has failed with a row before them.
    fn to_call(&self, part: &Part, rows: &Range<usize>) -> Result<Part, ArrowError> {
        let part = part.slice(rows);
        match (self.failed.is_empty(), self.stage.on_error) {
            (true, _) => Ok(part),
            // The first failure ends the run.
            (false, OnError::Fail) => Ok(part.slice(&(0..0))),
            (false, _) => part.retain(|parent| !self.are_failed.contains(&parent)),
        }
    }

    fn accept(&mut self, origin: &Origin, part: Part, outcome: Result<Outcome, Stop>) -> Result<(), Halt> {
        self.first.get_or_insert(part.parent(0));
        let Outcome { answers, poison, left, .. } = match outcome {
            Ok(outcome) => outcome,
            Err(Stop::TooMuch { rows, answers }) => return Err(self.too_much(&part, rows, answers)),
            Err(stop) => return Err(Halt::Stopped(Box::new(part), stop)),
        };
        let mut failed: Vec<Failed> = Vec::new();
        for (rows, answer) in &answers {
            let of_row = |RowError { row, message }: &RowError| {
                (rows.start as u32 + row, Reason::new(FailureKind::Row, message.as_str()))
            };
            failed.extend(answer.errors.iter().map(of_row));
        }
        failed.extend(poison.into_iter().map(|Poison { row, kind, message }| (row, reason(kind, &message))));
        for left in left {
            let reason = in_range(origin, &part, &left);
            failed.extend(left.rows.map(|row| (row, reason.clone())));
        }
        // A source row may have several rows here: what its first came to is what is said of it.
        failed.sort_unstable_by_key(|(row, _)| *row);
        failed.iter_mut().for_each(|(row, _)| *row = part.parent(*row));
        self.fail(failed);
        answers.into_iter().try_for_each(|(rows, answer)| self.add(&part.slice(&rows), answer))
    }

    fn fail(&mut self, mut failed: Vec<Failed>) {
        self.are_failed.extend(failed.iter().map(|(row, _)| *row));
        self.failed.append(&mut failed);
    }

    fn add(&mut self, part: &Part, answer: Answer) -> Result<(), Halt> {
        let grown = self.growth.too_large(part, &answer);
        let rows = part.rows.num_rows();
        let answer = match grown.is_empty() {
            true => answer,
            false => {
                let are_grown: HashSet<u32> = grown.iter().map(|(row, _)| *row).collect();
                answer.retain(rows, |row| !are_grown.contains(&part.parent(row)))
            }
        };
        self.fail(grown);
        // What nobody needs later is gone.
        let answer = Answer { batch: answer.batch.project(&self.stage.adds).map_err(Halt::Output)?, ..answer };
        self.answers.add(&answer);
        if self.answers.is_past(&self.stage.spec.limits) {
            return Err(self.too_much(part, rows as u32, self.answers));
        }
        let part = part.advance(&self.stage.carry, &answer.lineage, &answer.batch, &self.stage.output);
        self.parts.push(part.map_err(Halt::Output)?);
        Ok(())
    }

    /// All source rows so far, up to those of the first `rows` of a part.
    fn too_much(&self, part: &Part, rows: u32, answers: AnswerSize) -> Halt {
        let last = part.parent(rows.saturating_sub(1));
        Halt::TooMuch(self.first.unwrap_or(last)..last + 1, answers)
    }
}

fn too_much(answers: AnswerSize) -> Reason {
    let message = format!("what came of it is too much for one block: {answers}");
    let hint = "raise `memory_bytes_max` in this stage, or under [run] if it is written there; or let the function answer with less";
    Reason { hint: Some(hint.into()), ..Reason::new(FailureKind::Limit, message) }
}

fn reason(kind: FailureKind, message: &Message) -> Reason {
    Reason { hint: message.hint.as_deref().map(Into::into), ..Reason::new(kind, message.text()) }
}

/// Why rows failed that were not told apart.
fn in_range(origin: &Origin, part: &Part, left: &Left) -> Reason {
    let rows = origin.span_of(part, &left.rows);
    let text = format!("{}, in {rows}, which were not told apart: {}", left.message.text(), left.limit.written());
    Reason { message: text.into(), ..reason(left.kind, &left.message) }
}
