//! One function run a batch at a time, in the calling thread. A batch takes the same steps as a block in a worker of a run;
//! nothing is read, written or committed.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::compute::concat_batches;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use crate::block::{Block, Origin, Part, Reason, SelectedBatch, batch_bytes};
use crate::message::Message;
use crate::plan::{self, Single};
use crate::stage::{
    self, AnswerSize, CallSize, Called, Caller, Halt, Halted, Left, Outcome, Poison, Runner, Search, Start, Stop,
};
use crate::udf::{self, CallError, CallFailure, UdfError};

/// What is looked at as a whole.
const WHOLE_BYTES_MAX: u64 = 1 << 30;

/// A function, bound, with an instance.
pub struct Trial {
    engine: Arc<udf::Engine>,
    single: Arc<Single>,
    runner: Runner,
    guest_time: Duration,
    counts: BTreeMap<String, u64>,
}

/// What came of a batch.
#[derive(Debug)]
pub struct Tried {
    /// All columns after the function, as a sink would write them, in parts.
    output: Vec<SelectedBatch>,
    schema: SchemaRef,
    /// For every output row the ordinal of its input row; ascending.
    pub parents: Vec<u32>,
    /// Rows that the function refused, or of which too much came, and why; ascending.
    pub failures: BTreeMap<u32, Reason>,
}

/// What came of a batch that may end the function.
#[derive(Debug)]
pub struct Isolated {
    /// What the function makes of the other rows.
    pub tried: Tried,
    /// Rows that end the function; ascending.
    pub poison: Vec<Poison>,
    /// Rows of which some do, nobody knows which; ascending.
    pub left: Vec<Left>,
    /// Calls beyond the first.
    pub calls: u64,
}

impl Trial {
    /// Binds the function to `spec.input`.
    pub fn new(engine: &Arc<udf::Engine>, spec: udf::Spec) -> Result<Trial, UdfError> {
        let single = Arc::new(plan::single(engine, spec)?);
        let (guest_time, counts) = (Duration::ZERO, BTreeMap::new());
        Ok(Trial { engine: Arc::clone(engine), single, runner: Runner::default(), guest_time, counts })
    }

    /// What the function takes and gives.
    pub fn binding(&self) -> &udf::Binding {
        &self.single.stage.binding
    }

    /// All columns after the function, as a sink would write them.
    pub fn output(&self) -> SchemaRef {
        let stage = &self.single.stage;
        Arc::new(stage.output.project(&self.single.sink_columns).expect("places in the output"))
    }

    /// Throws the instance away; the next batch starts a new one.
    pub fn start_anew(&mut self) {
        self.runner.discard();
    }

    /// Runs the function on a batch of the columns that it was bound to.
    pub fn run(&mut self, batch: RecordBatch) -> Result<Tried, CallError> {
        let block = self.pass(batch, |trial, _, given| {
            let answer = trial.call(given, Start::Kept);
            answer.map(|answer| Outcome::answered(given.num_rows(), answer)).map_err(Stop::Broken)
        })?;
        Ok(self.tried(block, |_| true))
    }

    /// As [`Trial::run`]; rows that end the function are told apart from the others. `will_isolate` learns of it before.
    pub fn isolate(
        &mut self,
        batch: RecordBatch,
        will_isolate: impl FnOnce(&CallError),
    ) -> Result<Isolated, CallError> {
        let mut will_isolate = Some(will_isolate);
        let (mut poison, mut left, mut calls) = (Vec::new(), Vec::new(), 0);
        let block = self.pass(batch, |trial, part, given| {
            let outcome = trial.isolated(given, &mut will_isolate)?;
            calls += outcome.calls;
            // Rows with nulls that the function does not take were not called.
            let parent = |row: u32| part.parent(row);
            poison.extend(outcome.poison.iter().map(|poison| Poison { row: parent(poison.row), ..poison.clone() }));
            let rows = |rows: &Range<u32>| parent(rows.start)..parent(rows.end - 1) + 1;
            left.extend(outcome.left.iter().map(|left| Left { rows: rows(&left.rows), ..left.clone() }));
            Ok(outcome)
        })?;
        let is_named = |row| {
            poison.iter().any(|poison: &Poison| poison.row == row)
                || left.iter().any(|left: &Left| left.rows.contains(&row))
        };
        let tried = self.tried(block, |row| !is_named(row));
        Ok(Isolated { tried, poison, left, calls })
    }

    fn isolated(
        &mut self,
        given: &RecordBatch,
        will_isolate: &mut Option<impl FnOnce(&CallError)>,
    ) -> Result<Outcome, Stop> {
        let (adds, limits) = (Arc::clone(&self.binding().adds), self.single.stage.spec.limits.clone());
        let isolation = self.single.stage.isolation;
        let (before, stops_at_first, run_time) = (AnswerSize::default(), false, None);
        let search = Search { adds: &adds, isolation: &isolation, limits: &limits, before, stops_at_first, run_time };
        let at_once = |trial: &mut Trial, rows: &RecordBatch, start| {
            trial.call(rows, start).inspect_err(|error| {
                if let Some(will_isolate) = will_isolate.take() {
                    will_isolate(error);
                }
            })
        };
        stage::call_and_isolate(self, given, search, at_once, Trial::call)
    }

    /// All rows, in one call but for those that `call` makes.
    fn pass(
        &mut self,
        batch: RecordBatch,
        call: impl FnMut(&mut Trial, &Part, &RecordBatch) -> Result<Outcome, Stop>,
    ) -> Result<Block, CallError> {
        let rows = std::iter::once(0..batch.num_rows() as u64).collect();
        let origin = Origin { object: "rows".into(), rows, ..Origin::default() };
        let single = Arc::clone(&self.single);
        let block = stage::fail_nulls(0, &single.stage, Block::new(batch, origin)).map_err(broken)?;
        stage::pass(0, &single.stage, block, &mut InOneCall { trial: self, call }).map_err(halted)
    }

    fn tried(&self, block: Block, is_failure: impl Fn(u32) -> bool) -> Tried {
        let schema = self.output();
        let output = stage::for_sink(&block, &self.single.sink_columns, &schema);
        let parents = |part: &Part| (0..part.rows.num_rows() as u32).map(|row| part.parent(row)).collect::<Vec<u32>>();
        let parents = block.parts.iter().flat_map(parents).collect();
        let failures = block.failures.into_iter().filter(|failure| is_failure(failure.row));
        let failures = failures.map(|failure| (failure.row, failure.reason)).collect();
        Tried { output, schema, parents, failures }
    }

    fn call(&mut self, given: &RecordBatch, start: Start) -> Result<udf::Answer, CallError> {
        let Called { answer, time, counts } = self.runner.call(&self.engine, &self.single.stage, given, start);
        self.guest_time += time;
        for (name, count) in counts {
            let all = self.counts.entry(name).or_default();
            *all = all.saturating_add(count);
        }
        answer
    }

    /// Time in the function since this was last asked.
    pub fn take_time(&mut self) -> Duration {
        std::mem::take(&mut self.guest_time)
    }

    /// What the function counted since this was last asked.
    pub fn take_counts(&mut self) -> BTreeMap<String, u64> {
        std::mem::take(&mut self.counts)
    }
}

/// Rows of a batch that was chosen by a person are called together, as far as they can be.
struct InOneCall<'a, F> {
    trial: &'a mut Trial,
    call: F,
}

impl<F: FnMut(&mut Trial, &Part, &RecordBatch) -> Result<Outcome, Stop>> Caller for InOneCall<'_, F> {
    fn size(&self) -> CallSize {
        CallSize { rows_max: usize::MAX, bytes_max: u64::MAX }
    }

    fn call(&mut self, _: &Origin, part: &Part, input: &RecordBatch, _: AnswerSize) -> Result<Outcome, Stop> {
        (self.call)(self.trial, part, input)
    }

    /// Nobody else waits for memory.
    fn holds(&mut self, _: AnswerSize) {}
}

impl Tried {
    /// Output rows.
    pub fn num_rows(&self) -> usize {
        self.parents.len()
    }

    /// Of so many input rows those without output that did not fail.
    pub fn dropped(&self, rows: usize) -> Vec<u32> {
        let mut has_output = vec![false; rows];
        self.parents.iter().for_each(|&parent| has_output[parent as usize] = true);
        let is_dropped = |row: &u32| !has_output[*row as usize] && !self.failures.contains_key(row);
        (0..rows as u32).filter(is_dropped).collect()
    }

    /// The first so many output rows.
    pub fn first_rows(&self, rows: usize) -> Result<RecordBatch, ArrowError> {
        let mut left = rows;
        let mut batches = Vec::new();
        for part in &self.output {
            let taken = part.num_rows().min(left);
            batches.push(part.batch(&(0..taken))?);
            left -= taken;
        }
        concat_batches(&self.schema, &batches)
    }

    /// All output rows together; an error if they are too many bytes for that.
    pub fn whole(&self) -> Result<RecordBatch, ArrowError> {
        let mut bytes = 0;
        let mut batches = Vec::new();
        for batch in self.batches() {
            let batch = batch?;
            bytes += batch_bytes(&batch) as u64;
            if bytes > WHOLE_BYTES_MAX {
                let message =
                    format!("the output has more than {WHOLE_BYTES_MAX} bytes, with the columns that it carries");
                return Err(ArrowError::MemoryError(message));
            }
            batches.push(batch);
        }
        concat_batches(&self.schema, &batches)
    }

    /// All output rows, in batches.
    pub fn batches(&self) -> impl Iterator<Item = Result<RecordBatch, ArrowError>> {
        self.output.iter().flat_map(|part| part.batches(SelectedBatch::COPIED_BYTES_MAX))
    }
}

fn halted(halted: Box<Halted>) -> CallError {
    match halted.halt {
        Halt::Input(_, error) | Halt::Output(error) => broken(error),
        Halt::Stopped(_, stop) => stopped(stop),
        Halt::TooMuch(rows, answers) => {
            let what = format!("what came of the first {} rows is too much for one block: {answers}", rows.end);
            let message = Message::new(what).hint("run fewer rows with --rows, or let the function answer with less");
            CallError::new(CallFailure::Broken, message)
        }
    }
}

fn broken(error: ArrowError) -> CallError {
    CallError::new(CallFailure::Broken, error.to_string())
}

fn stopped(stop: Stop) -> CallError {
    match stop {
        Stop::Broken(error) => error,
        Stop::First(_) | Stop::Spent(_) | Stop::TooMuch { .. } => {
            unreachable!("all rows are asked for, they may be left together, and what is too much is said of the block")
        }
    }
}
