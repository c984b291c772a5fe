//! What a worker thread does: drive one block through all stages, then put it into its group's files. A worker owns one
//! instance per stage, which begins anew after a trap.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use arrow::error::ArrowError;
use crossbeam_channel::Receiver;
use tracing::{Level, enabled};

use super::groups::{InFlight, Ticket};
use super::{Emitted, Flow, RunError, by_hand, letters, lock};
use crate::block::{Block, Failure, Origin, Part, SelectedBatch};
use crate::commit::RowState;
use crate::message::Message;
use crate::observe::{add, add_time};
use crate::plan::{Isolation, OnError, Plan, Stage};
use crate::sink::{Holds, Layout, Output, OutputKind, OutputRows, SinkError};
use crate::stage::{
    self, AnswerSize, CallSize, Caller, Halt, Halted, Outcome, Poison, RunTime, Runner, Search, SearchTime, Spent,
    Start, Stop, call_and_isolate, fail_nulls,
};
use crate::udf::{Answer, CallError, CallFailure, Shown, add_count, no_more_lines};

/// Failed rows that one block logs one by one; the rest is counted.
const LOGGED_FAILURES_MAX: usize = 5;

/// Drives blocks until the readers are gone.
pub(super) fn worker(flow: &Flow, blocks: &Receiver<Emitted>) {
    let mut runners: Vec<Runner> = flow.plan.stages.iter().map(|_| Runner::default()).collect();
    while let Ok(Emitted { block, ticket }) = blocks.recv() {
        if flow.is_dead() {
            continue;
        }
        (Drive { flow, runners: &mut runners, ticket, left: 0, in_guest: 0, counts: Vec::new() }).drive(block);
    }
}

/// Puts what came of a block, or what is left of it, into its group's files, or keeps it until what came before is in. Gives
/// the number of blocks that went in.
fn put(rows: Vec<OutputRows>, ticket: Ticket) -> Result<usize, SinkError> {
    let Ticket { group, stream, sequence, reservation, .. } = ticket;
    Ok(group.streams[stream].put(sequence, rows, reservation, &group.lane.sink)?.len())
}

/// The same with some of it.
fn put_some(rows: Vec<OutputRows>, ticket: &Ticket) -> Result<usize, SinkError> {
    let Ticket { group, stream, sequence, .. } = ticket;
    Ok(group.streams[*stream].put_some(*sequence, rows, &group.lane.sink)?.len())
}

/// Why a block gives no results.
enum NoResults {
    /// They are too much; those of so many source rows may not be.
    TooMuch(usize),
    Error(RunError),
}

impl From<RunError> for NoResults {
    fn from(error: RunError) -> NoResults {
        NoResults::Error(error)
    }
}

/// Rows that a function was called with.
struct Called<'a> {
    origin: &'a Origin,
    part: &'a Part,
}

impl Called<'_> {
    fn span(&self) -> String {
        self.origin.span_of(self.part, &(0..self.part.rows.num_rows() as u32))
    }
}

/// The calls of one stage.
struct Calling<'a, 'b> {
    drive: &'a mut Drive<'b>,
    index: usize,
    /// Bytes that the block held before them.
    held_before: u64,
}

impl Caller for Calling<'_, '_> {
    fn size(&self) -> CallSize {
        let size = self.drive.flow.plan.run.block;
        let rows_max = self.drive.runners[self.index].rows_max().min(size.rows_max);
        CallSize { rows_max, bytes_max: size.bytes_max as u64 }
    }

    fn call(&mut self, origin: &Origin, part: &Part, input: &RecordBatch, before: AnswerSize) -> Result<Outcome, Stop> {
        self.isolated(&Called { origin, part }, input, before)
    }

    fn holds(&mut self, answers: AnswerSize) {
        self.drive.holds(self.held_before.saturating_add(answers.bytes));
    }
}

impl Calling<'_, '_> {
    fn isolated(&mut self, called: &Called<'_>, input: &RecordBatch, before: AnswerSize) -> Result<Outcome, Stop> {
        let (index, flow) = (self.index, self.drive.flow);
        let stage = &flow.plan.stages[index];
        let search = Search {
            adds: &stage.binding.adds,
            isolation: &stage.isolation,
            limits: &stage.spec.limits,
            before,
            stops_at_first: stage.on_error == OnError::Fail,
            run_time: Some(run_time(&flow.stages[index].search_time, &stage.isolation)),
        };
        let (mut failed, mut held) = (Duration::ZERO, before);
        let at_once = |calling: &mut Self, rows: &RecordBatch, start| {
            let answer = calling.drive.process_at_once(index, rows, start);
            answer.inspect_err(|error| calling.drive.will_isolate(index, called, error))
        };
        let apart = |calling: &mut Self, rows: &RecordBatch, start| {
            let answer = calling.drive.process_apart(index, rows, start, &mut failed)?;
            held.add(&answer);
            calling.holds(held);
            Ok(answer)
        };
        let outcome = call_and_isolate(self, input, search, at_once, apart)?;
        if outcome.calls > 0 {
            self.drive.has_isolated(index, called, &outcome, failed);
        }
        Ok(outcome)
    }
}

struct Drive<'a> {
    flow: &'a Flow,
    /// Of the stages.
    runners: &'a mut [Runner],
    /// Of the block.
    ticket: Ticket,
    /// Bytes of results that wait for other blocks.
    left: u64,
    /// Nanoseconds inside functions during the current stage.
    in_guest: u64,
    /// What functions counted, by stage, and is not added up yet.
    counts: Vec<(usize, BTreeMap<String, u64>)>,
}

impl Drive<'_> {
    /// An error of a row or a function gives up the block's group and ends the run; an error of the sink breaks the group,
    /// and the commit loop finds out whether the lane is lost.
    fn drive(mut self, block: Block) {
        let rows = if self.ticket.group.is_given_up() { Vec::new() } else { self.pieces(block) };
        let (flow, group) = (self.flow, Arc::clone(&self.ticket.group));
        if group.is_settled() {
            return;
        }
        let start = Instant::now();
        written(flow, &group, put(rows, self.ticket));
        add_time(&flow.progress.times.write, start);
    }

    /// What of the block was not put yet. If more comes of it than a block may become, it goes on in pieces, each of which leaves
    /// before the next: what a function was asked before is asked again.
    fn pieces(&mut self, block: Block) -> Vec<OutputRows> {
        let mut pieces = vec![block];
        while let Some(piece) = pieces.pop() {
            let again = piece.clone();
            match self.stages(piece) {
                Ok(rows) if pieces.is_empty() => return rows,
                Ok(rows) => self.put_some(rows),
                Err(NoResults::TooMuch(rows)) => {
                    self.counts.clear();
                    pieces.extend(again.cut(rows).into_iter().rev());
                }
                Err(NoResults::Error(error)) => {
                    self.add_counts();
                    self.ticket.group.give_up();
                    self.flow.fail(error);
                    break;
                }
            }
            if self.ticket.group.is_given_up() {
                break;
            }
        }
        Vec::new()
    }

    fn put_some(&mut self, rows: Vec<OutputRows>) {
        let (flow, start) = (self.flow, Instant::now());
        if self.ticket.group.is_settled() {
            return;
        }
        let bytes: u64 = rows.iter().map(OutputRows::held_bytes).sum();
        written(flow, &self.ticket.group, put_some(rows, &self.ticket));
        self.left = if self.ticket.is_next() { 0 } else { self.left + bytes };
        add_time(&flow.progress.times.write, start);
    }

    fn stages(&mut self, mut block: Block) -> Result<Vec<OutputRows>, NoResults> {
        let started = Instant::now();
        for index in 0..self.flow.plan.stages.len() {
            if block.num_rows() == 0 {
                break;
            }
            block = self.stage(index, block)?;
            self.holds(block.held_bytes());
        }
        self.flow.pace.note(block.origin.len(), started.elapsed());
        self.add_counts();
        record(&self.flow.plan, &block, &self.ticket);
        Ok(self.flow.plan.sink.outputs.iter().filter_map(|output| self.rows_of(output, &block)).collect())
    }

    fn add_counts(&mut self) {
        for (index, counts) in self.counts.drain(..) {
            let function = &self.flow.plan.stages[index].spec.function;
            let mut all = lock(&self.flow.guest_counts);
            counts.iter().for_each(|(name, count)| add_count(&mut all, function, name, *count));
        }
    }

    fn holds(&mut self, bytes: u64) {
        let flow = self.flow;
        self.ticket.holds(self.left.saturating_add(bytes), || flow.is_dead());
    }

    /// What an output gets of a block.
    fn rows_of(&self, output: &Output, block: &Block) -> Option<OutputRows> {
        let plan = &self.flow.plan;
        let rows: Vec<SelectedBatch> = match output.kind {
            OutputKind::Results => stage::for_sink(block, &plan.sink_columns, &output.schema),
            OutputKind::DeadLetters => letters::of_block(plan, &output.schema, block).into_iter().collect(),
        };
        let holds = (output.layout == Layout::Mirror).then(|| Holds::of(block));
        (!rows.is_empty()).then_some(OutputRows { kind: output.kind, rows, holds })
    }

    /// One block through one stage.
    fn stage(&mut self, index: usize, block: Block) -> Result<Block, NoResults> {
        let flow = self.flow;
        let stage = &flow.plan.stages[index];
        let start = Instant::now();
        let before = block.failures.len();
        let block = fail_nulls(index, stage, block).map_err(|error| broken(stage, &error))?;
        self.settle_failures(index, &block, before)?;
        let block = if block.num_rows() == 0 { block } else { self.call(index, block)? };
        let outside = (start.elapsed().as_nanos() as u64).saturating_sub(std::mem::take(&mut self.in_guest));
        add(&flow.progress.times.boundary, outside);
        Ok(block)
    }

    fn call(&mut self, index: usize, block: Block) -> Result<Block, NoResults> {
        let stage = &self.flow.plan.stages[index];
        let before = block.failures.len();
        let held_before = block.held_bytes();
        let block = stage::pass(index, stage, block, &mut Calling { drive: self, index, held_before });
        let block = block.map_err(|halted| self.halted(index, *halted))?;
        self.settle_failures(index, &block, before)?;
        Ok(block)
    }

    fn halted(&self, index: usize, Halted { origin, halt }: Halted) -> NoResults {
        let stage = &self.flow.plan.stages[index];
        let error = match halt {
            Halt::Input(part, error) => {
                let span = (Called { origin: &origin, part: &part }).span();
                RunError::failed(format!("{}: {span}: {error}", stage.label), HINT_VALUE)
            }
            Halt::Output(error) => broken(stage, &error),
            Halt::Stopped(part, stop) => self.stopped(index, &Called { origin: &origin, part: &part }, stop),
            // Those before the last were not too much.
            Halt::TooMuch(rows, _) => return NoResults::TooMuch((rows.end as usize - 1).max(1)),
        };
        error.into()
    }

    /// A call with a whole block.
    fn process_at_once(&mut self, index: usize, block: &RecordBatch, start: Start) -> Result<Answer, CallError> {
        let started = Instant::now();
        let answer = self.process(index, block, start)?;
        self.flow.stages[index].search_time.answered(started.elapsed());
        Ok(answer)
    }

    /// A call with rows of a block that failed.
    fn process_apart(
        &mut self,
        index: usize,
        rows: &RecordBatch,
        start: Start,
        failed: &mut Duration,
    ) -> Result<Answer, CallError> {
        let flow = self.flow;
        if flow.is_dead() {
            return Err(CallError::new(CallFailure::Broken, "nobody waits for an answer any more"));
        }
        add(&flow.progress.isolate_calls, 1);
        let started = Instant::now();
        let answer = self.process(index, rows, start);
        let (time, searching) = (started.elapsed(), &flow.stages[index].search_time);
        if answer.is_ok() {
            searching.answered(time);
        } else {
            searching.failed(time);
            *failed += time;
        }
        answer
    }

    /// Calls the worker's instance; the first block starts it.
    fn process(&mut self, index: usize, input: &RecordBatch, start: Start) -> Result<Answer, CallError> {
        let plan = &self.flow.plan;
        let stage::Called { answer, time, counts } =
            self.runners[index].call(&plan.engine, &plan.stages[index], input, start);
        let spent = time.as_nanos() as u64;
        add(&self.flow.progress.times.guest, spent);
        self.in_guest += spent;
        if !counts.is_empty() {
            self.counts.push((index, counts));
        }
        answer
    }

    /// A function that takes long takes long many times over, and a person who waits wants to know for what.
    fn will_isolate(&self, index: usize, called: &Called<'_>, error: &CallError) {
        let what = format!("{}, in the block {}", error.message.text(), called.span());
        let level = match error.failure {
            CallFailure::Timeout => Level::WARN,
            CallFailure::Trap | CallFailure::Limit => Level::INFO,
            CallFailure::Broken => return,
        };
        self.say(index, level, &format!("{what}: its rows are called apart"));
    }

    fn has_isolated(&self, index: usize, called: &Called<'_>, outcome: &Outcome, time: Duration) {
        let (found, calls) = (outcome.poison.len(), outcome.calls);
        self.say(index, Level::INFO, &format!("{}: {found} rows found in {calls} calls", called.span()));
        let searching = &self.flow.stages[index].search_time;
        if let Some(all) = searching.searched(time, found) {
            let Stage { label, isolation, .. } = &self.flow.plan.stages[index];
            let max = searching.time_max(isolation).as_secs_f64();
            tracing::warn!("{label}: {all}; isolate_run_seconds_max = {max:.0}; {HINT_APART}");
        }
    }

    /// As far as a run shows lines about blocks and rows that fail.
    fn say(&self, index: usize, level: Level, what: &str) {
        let is_wanted = if level == Level::WARN { enabled!(Level::WARN) } else { enabled!(Level::INFO) };
        if !is_wanted {
            return;
        }
        let label = &self.flow.plan.stages[index].label;
        let what = match self.flow.stages[index].lines.admit(label.len() + what.len()) {
            Shown::Yes => what,
            Shown::NoMore => &no_more_lines(),
            Shown::No => return,
        };
        if level == Level::WARN { tracing::warn!("{label}: {what}") } else { tracing::info!("{label}: {what}") }
    }

    /// A block without an answer ends the run.
    fn stopped(&self, index: usize, called: &Called<'_>, stop: Stop) -> RunError {
        let stage = &self.flow.plan.stages[index];
        let message = match stop {
            Stop::Broken(error) => in_block(&error.message, called),
            Stop::First(poison) => self.first(index, called, &poison),
            Stop::Spent(spent) => unseparated(stage, called, &spent),
            Stop::TooMuch { .. } => unreachable!("it is said of the block"),
        };
        RunError::Failed(message.after(format!("{}: ", self.of(stage))))
    }

    /// A row that ends the function, and with it the run.
    fn first(&self, index: usize, called: &Called<'_>, poison: &Poison) -> Message {
        let (origin, row) = (called.origin, called.part.parent(poison.row));
        let by_hand = || by_hand::hint(&self.flow.plan, index, origin, origin.object_row(row));
        let hint = poison.message.hint.clone().unwrap_or_else(by_hand);
        let message = Message::new(format!("{}: {}", origin.describe(row), poison.message.text()));
        message.hint(format!("{hint}; {HINT_LEAVE_OUT}"))
    }

    /// Under `fail` the first failure ends the run; else the rows are left out, and some are logged.
    fn settle_failures(&self, index: usize, block: &Block, before: usize) -> Result<(), RunError> {
        let stage = &self.flow.plan.stages[index];
        let failures = &block.failures[before..];
        if failures.is_empty() {
            return Ok(());
        }
        if stage.on_error == OnError::Fail {
            let Failure { row, reason, .. } = &failures[0];
            let hint = reason.hint.as_deref().unwrap_or_else(|| by_hand::going_on(&self.flow.plan));
            let place = block.origin.describe(*row);
            return Err(RunError::failed(
                format!("{}: {place}: {}", self.of(stage), reason.message),
                format!("{hint}; {HINT_LEAVE_OUT}"),
            ));
        }
        for failure in failures.iter().take(LOGGED_FAILURES_MAX) {
            let row = block.origin.describe(failure.row);
            self.say(index, Level::WARN, &format!("{row} {}: {}", word(stage), failure.reason.message));
        }
        if failures.len() > LOGGED_FAILURES_MAX {
            let more = failures.len() - LOGGED_FAILURES_MAX;
            let what = format!("{more} more rows of {} {}", block.origin.object, word(stage));
            self.say(index, Level::WARN, &what);
        }
        Ok(())
    }

    fn of(&self, stage: &Stage) -> String {
        let path = stage.spec.component.path().display();
        format!("{} of {path} ({}, line {})", stage.label, self.flow.plan.file.display(), stage.line)
    }
}

fn run_time(search_time: &SearchTime, isolation: &Isolation) -> RunTime {
    RunTime { max: search_time.time_max(isolation), left: search_time.time_left(isolation) }
}

/// What happens to rows that do not end the run.
fn word(stage: &Stage) -> &'static str {
    if stage.on_error == OnError::DeadLetter { "dead-lettered" } else { "left out" }
}

/// A message about a whole block names its rows. The stage's number is said by whoever shows the message.
fn in_block(message: &Message, called: &Called<'_>) -> Message {
    let what = format!("{}, in the block {}", message.text(), called.span());
    Message { hint: message.hint.clone(), ..Message::new(what) }
}

/// Rows that the search left together.
fn unseparated(stage: &Stage, called: &Called<'_>, spent: &Spent) -> Message {
    let Spent { left, found, calls, time } = spent;
    let (what, limit, key) = (left.message.text(), left.limit.written(), left.limit.key());
    let skip = match stage.on_error {
        OnError::Fail => String::new(),
        OnError::Skip | OnError::DeadLetter => {
            ", or let them all fail with on_unseparated = \"skip\" in this stage".to_owned()
        }
    };
    let what = format!(
        "{}: of these rows some end the function, and were not told apart: {limit}, after {calls} calls in {:.1} s that \
         found {found} rows before them; the last call with the first of them: {what}",
        called.origin.span_of(called.part, &left.rows),
        time.as_secs_f64(),
    );
    let hint = format!("the same command does them again; before it, mend the function, raise `{key}`{skip}");
    Message::new(what).hint(hint)
}

const HINT_APART: &str =
    "where rows hang, a lower `block_seconds_max` in this stage or `block_rows_max` under [run] makes it faster";
const HINT_LEAVE_OUT: &str = "or leave such rows out with on_error = \"skip\" or \"dead-letter\" in this stage";
const HINT_VALUE: &str = "a value does not fit the type that the function asks for; mend the value or the function";

fn broken(stage: &Stage, error: &ArrowError) -> RunError {
    let hint = match error {
        ArrowError::OffsetOverflowError(_) => {
            "more bytes of one column than a block can hold; lower `block_rows_max` or `block_bytes_max` under [run]"
        }
        _ => "nothing is lost; this is a defect of wasmpipe: report it with this line",
    };
    RunError::failed(format!("{}: {error}", stage.label), hint)
}

/// Blocks went into files of a group, or its file could not be written.
fn written(flow: &Flow, group: &Arc<InFlight>, put: Result<usize, SinkError>) {
    match put {
        Ok(blocks) => flow.groups.arrived(group, blocks as u64),
        Err(error) => flow.groups.break_group(group, error),
    }
}

/// What became of the block's source rows goes into its group, before the block counts as arrived.
fn record(plan: &Plan, block: &Block, ticket: &Ticket) {
    let origin = &block.origin;
    let mut states = vec![RowState::Done; if block.failures.is_empty() { 0 } else { origin.len() }];
    for failure in &block.failures {
        let is_letter = plan.on_error(failure.stage) == OnError::DeadLetter;
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
    group.counts.rows_written += block.num_rows() as u64;
}

fn of_done(ids: &RecordBatch, states: &[RowState]) -> RecordBatch {
    let keep: BooleanArray = states.iter().map(|&state| Some(state == RowState::Done)).collect();
    filter_record_batch(ids, &keep).expect("one flag per row")
}
