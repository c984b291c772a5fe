//! An instance that a worker owns: one block in, one answer out.
//!
//! After a failure the guest behind an instance is gone; the next call starts a new one. So no caller can call a guest
//! that trapped.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use arrow::array::{Array, BooleanArray, BooleanBufferBuilder, RecordBatch};
use arrow::buffer::{BooleanBuffer, Buffer};
use arrow::compute::filter_record_batch;

use super::UdfError;
use super::bind::{Binding, Spec, bound_as, fits};
use super::component::Kind;
use super::engine::Engine;
use super::guest::{Fault, Guest};
use super::journal::tame;
use super::limits::Limits;
use super::wire;
use super::world::{Raw, types};
use crate::block::Lineage;
use crate::message::{Hint, Message};

/// A bound function, ready to be called by one thread at a time.
pub struct Instance {
    engine: Engine,
    spec: Arc<Spec>,
    binding: Binding,
    guest: Option<Guest>,
    spent: Duration,
    counts: BTreeMap<String, u64>,
}

/// What came of a block. A row with an error has no output row, whatever the kind of the function.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// The columns that the function adds, in the order of the input rows. May have rows without columns.
    pub batch: RecordBatch,
    pub lineage: Lineage,
    /// Ascending, at most one for each row.
    pub errors: Vec<RowError>,
}

impl Answer {
    /// Without the output rows of some of its `rows` input rows.
    #[must_use]
    pub fn retain(self, rows: usize, keep: impl Fn(u32) -> bool) -> Answer {
        let mut mask = BooleanBufferBuilder::new(self.batch.num_rows());
        let mut counts = self.lineage.counts(rows);
        for (count, row) in counts.iter_mut().zip(0..) {
            let is_kept = keep(row);
            mask.append_n(*count as usize, is_kept);
            *count *= u32::from(is_kept);
        }
        let lineage = match self.lineage {
            Lineage::Counts(_) => Lineage::Counts(counts),
            Lineage::Same | Lineage::Kept(_) => Lineage::Kept(counts.iter().map(|count| *count == 1).collect()),
        };
        let mask = BooleanArray::new(mask.finish(), None);
        let batch = filter_record_batch(&self.batch, &mask).expect("a mask as long as the batch");
        Answer { batch, lineage, ..self }
    }
}

/// A row that the function could not process.
#[derive(Clone, Debug, PartialEq)]
pub struct RowError {
    /// Ordinal in the block.
    pub row: u32,
    /// The function's own words, on one line, within `row_error_bytes_max`.
    pub message: String,
}

/// Why a block got no answer.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
#[error("{}{}", stage.iter().map(|stage| format!("{stage}: ")).collect::<String>(), message.text())]
pub struct CallError {
    pub failure: CallFailure,
    /// What messages call the stage, if it is of one.
    pub stage: Option<String>,
    /// Begins with the function, if it is of one. The stage is said by whoever shows it.
    pub message: Arc<Message>,
}

/// What a failed call says about its block, and about others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallFailure {
    /// The function failed: this block is without results.
    Trap,
    /// The function went past a limit: this block is without results.
    Limit,
    /// The limit was that on its time, so to find out took all of it.
    Timeout,
    /// The function breaks the contract; it is of no use for any row.
    Broken,
}

impl CallError {
    /// In no stage.
    pub fn new(failure: CallFailure, message: impl Into<Message>) -> CallError {
        CallError { failure, stage: None, message: Arc::new(message.into()) }
    }
}

impl Hint for CallError {
    fn hint(&self) -> Option<String> {
        self.message.hint.clone()
    }
}

impl From<UdfError> for CallError {
    /// Where a block needs a function that cannot be bound any more.
    fn from(error: UdfError) -> CallError {
        let (stage, message) = match error {
            UdfError::Bind { stage, message } | UdfError::Unbound { stage, message } => (Some(stage), *message),
            UdfError::Columns { stage, function, path, mismatch } => {
                let message = Message::new(format!("`{function}` of {} {mismatch}", path.display()));
                (Some(stage), message.hint(mismatch.hint()))
            }
            other => (None, Message::brief(&other)),
        };
        CallError { stage, ..CallError::new(CallFailure::Broken, message) }
    }
}

impl Instance {
    /// Starts a guest and binds it, which has to give what it gave at plan time.
    pub fn new(engine: &Engine, spec: &Arc<Spec>, binding: &Binding) -> Result<Instance, UdfError> {
        let guest = bound_as(engine, spec, binding)?;
        Ok(Instance {
            engine: engine.clone(),
            spec: Arc::clone(spec),
            binding: binding.clone(),
            spent: Duration::ZERO,
            guest: Some(guest),
            counts: BTreeMap::new(),
        })
    }

    /// Calls the function with one block, which has exactly the columns and types of `needs`, and no null where `needs`
    /// allows none.
    pub fn process(&mut self, block: &RecordBatch) -> Result<Answer, CallError> {
        self.assert_needs(block);
        // Taken out: whatever goes wrong from here on, the guest is dropped.
        let mut guest = self.take_guest()?;
        let answer = self.call(&mut guest, block).map_err(|fault| self.error(fault))?;
        self.add(guest.take_counts());
        self.guest = Some(guest);
        Ok(answer)
    }

    /// The next call is the first of a new guest, which nothing that was called before can have left short of anything.
    pub fn start_anew(&mut self) {
        self.guest = None;
    }

    /// What the function counted in successful calls since this was last asked.
    pub fn take_counts(&mut self) -> BTreeMap<String, u64> {
        std::mem::take(&mut self.counts)
    }

    /// Time in the function, copying in and out included, since this was last asked.
    pub fn take_time(&mut self) -> Duration {
        std::mem::take(&mut self.spent)
    }

    fn assert_needs(&self, block: &RecordBatch) {
        let needs = &self.binding.needs;
        assert!(fits(needs, &block.schema()), "a block has {:?}, not {needs:?}", block.schema());
        let kept_away = |(field, column): (_, &Arc<dyn Array>)| {
            let field: &Arc<arrow::datatypes::Field> = field;
            field.is_nullable() || column.logical_null_count() == 0
        };
        assert!(
            needs.fields().iter().zip(block.columns()).all(kept_away),
            "a block has nulls where {needs:?} has none"
        );
    }

    fn take_guest(&mut self) -> Result<Guest, CallError> {
        match self.guest.take() {
            Some(guest) => Ok(guest),
            None => Ok(bound_as(&self.engine, &self.spec, &self.binding)?),
        }
    }

    fn call(&mut self, guest: &mut Guest, block: &RecordBatch) -> Result<Answer, Fault> {
        let rows = u32::try_from(block.num_rows()).expect("a block has fewer than 2^32 rows");
        let (nodes, flat) = wire::flatten(block).map_err(|defect| untakable(&defect))?;
        let start = Instant::now();
        let answer = guest.process(rows, &nodes, &flat.bytes());
        self.spent += start.elapsed();
        let answer = answer?;
        check(answer, block.num_rows(), &self.binding, &self.spec.limits)
    }

    fn error(&self, fault: Fault) -> CallError {
        let Spec { stage, function, .. } = &*self.spec;
        let failure = match fault {
            Fault::Lost(_) => CallFailure::Trap,
            Fault::Limit(_) => CallFailure::Limit,
            Fault::Time(_) => CallFailure::Timeout,
            Fault::Defect(_) | Fault::Misfit(_) => CallFailure::Broken,
        };
        let message = fault.message().after(format!("`{function}` "));
        CallError { stage: Some(stage.clone()), ..CallError::new(failure, message) }
    }

    fn add(&mut self, counts: BTreeMap<String, u64>) {
        for (name, delta) in counts {
            let count = self.counts.entry(name).or_default();
            *count = count.saturating_add(delta);
        }
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Instance({}, {})", self.spec.stage, self.spec.function)
    }
}

/// Turns what a guest answered into what the host believes.
fn check(answer: Raw, rows: usize, binding: &Binding, limits: &Limits) -> Result<Answer, Fault> {
    check_errors(&answer.errors, rows)?;
    check_kind(&answer.lineage, binding.kind)?;
    let (lineage, rows_out) = lineage(answer.lineage, rows)?;
    check_no_output(&lineage, &answer.errors)?;
    if rows_out > limits.rows_max() {
        return Err(too_many(rows_out, limits));
    }
    let rows_out = usize::try_from(rows_out).expect("not above a limit that is a usize");
    let values = answer.nodes.iter().map(|node| u64::from(node.length)).sum();
    // Read before it is judged: what its nodes say is then true, and to read takes no more than what was sent.
    let batch = batch(&answer.nodes, answer.buffers, binding, rows_out)?;
    if values > limits.values_max() {
        return Err(too_many_values(values, limits));
    }
    let (batch, lineage) = without_failed(batch, lineage, &answer.errors);
    let errors = answer.errors.iter().map(|error| tamed(error, limits)).collect();
    Ok(Answer { batch, lineage, errors })
}

fn untakable(defect: &str) -> Fault {
    let message = Message::new(format!("cannot take the block: it {defect}"));
    Fault::Limit(message.hint("cut such a row before it comes here, or leave it out"))
}

fn defect(what: impl fmt::Display) -> Fault {
    let message = Message::new(format!("answered wrongly: {what}"));
    Fault::Defect(message.hint("this is a defect of the function; report it to its author, no row is to blame"))
}

fn too_many(rows: u64, limits: &Limits) -> Fault {
    let max = limits.rows_max();
    let raise = limits.advise_memory(max < limits.answer_rows_max as u64);
    let message = Message::new(format!("answered with too many rows: answer_rows_max = {max}, they are {rows}"));
    Fault::Limit(message.hint(format!("let the function answer with less for one row{raise}")))
}

fn too_many_values(values: u64, limits: &Limits) -> Fault {
    let max = limits.values_max();
    let raise = limits.advise_memory(max < limits.answer_values_max);
    let what = format!(
        "answered with too many values: answer_values_max = {max}, they are {values}, with nulls and those in lists"
    );
    Fault::Limit(Message::new(what).hint(format!("let the function answer with less for one row{raise}")))
}

fn check_errors(errors: &[types::RowError], rows: usize) -> Result<(), Fault> {
    if let Some(pair) = errors.windows(2).find(|pair| pair[0].row >= pair[1].row) {
        return Err(defect(format!("row errors out of order, {} before {}", pair[0].row, pair[1].row)));
    }
    match errors.last() {
        Some(last) if last.row as usize >= rows => {
            Err(defect(format!("an error for row {} of a block of {rows} rows", last.row)))
        }
        _ => Ok(()),
    }
}

fn check_kind(lineage: &types::Lineage, kind: Kind) -> Result<(), Fault> {
    let (said, may) = match lineage {
        types::Lineage::Same => ("same", kind == Kind::Map),
        types::Lineage::Kept(_) => ("kept", kind == Kind::Filter),
        types::Lineage::Counts(_) => ("counts", kind == Kind::FlatMap),
    };
    if may || kind == Kind::MapBatches {
        return Ok(());
    }
    Err(defect(format!("a {kind} function with the lineage `{said}`")))
}

/// The lineage, and how many output rows it makes.
fn lineage(said: types::Lineage, rows: usize) -> Result<(Lineage, u64), Fault> {
    match said {
        types::Lineage::Same => Ok((Lineage::Same, rows as u64)),
        types::Lineage::Kept(bits) => {
            let bits = bitmap(bits, rows)?;
            let kept = bits.count_set_bits() as u64;
            Ok((Lineage::Kept(bits), kept))
        }
        types::Lineage::Counts(counts) => {
            if counts.len() != rows {
                return Err(defect(format!("{} counts for {rows} rows", counts.len())));
            }
            // No overflow: fewer than 2^32 rows of less than 2^32 each.
            let sum = counts.iter().map(|count| u64::from(*count)).sum();
            Ok((Lineage::Counts(counts), sum))
        }
    }
}

fn bitmap(bytes: Vec<u8>, rows: usize) -> Result<BooleanBuffer, Fault> {
    if bytes.len() != rows.div_ceil(8) {
        return Err(defect(format!("a bitmap of {} bytes for {rows} rows", bytes.len())));
    }
    let used = rows % 8;
    let padding = bytes.last().filter(|_| used != 0).map_or(0, |last| last >> used);
    if padding != 0 {
        return Err(defect("a bitmap with bits beyond the last row"));
    }
    Ok(BooleanBuffer::new(Buffer::from_vec(bytes), 0, rows))
}

fn check_no_output(lineage: &Lineage, errors: &[types::RowError]) -> Result<(), Fault> {
    let has_output = |error: &&types::RowError| match lineage {
        Lineage::Same => false,
        Lineage::Kept(bits) => bits.value(error.row as usize),
        Lineage::Counts(counts) => counts[error.row as usize] != 0,
    };
    match errors.iter().find(has_output) {
        Some(error) => Err(defect(format!("row {} with an error and with output", error.row))),
        None => Ok(()),
    }
}

fn batch(nodes: &[types::Node], buffers: Vec<Vec<u8>>, binding: &Binding, rows: usize) -> Result<RecordBatch, Fault> {
    wire::read_batch(nodes, buffers, &binding.adds, rows).map_err(|e| defect(format!("its batch {e}")))
}

/// Under `same` a failed row has an output row that is to be ignored. Dropped here, it needs no care elsewhere.
fn without_failed(batch: RecordBatch, lineage: Lineage, errors: &[types::RowError]) -> (RecordBatch, Lineage) {
    if lineage != Lineage::Same || errors.is_empty() {
        return (batch, lineage);
    }
    let mut kept = vec![true; batch.num_rows()];
    for error in errors {
        kept[error.row as usize] = false;
    }
    let kept = BooleanBuffer::from(kept);
    let mask = BooleanArray::new(kept.clone(), None);
    let batch = filter_record_batch(&batch, &mask).expect("a mask as long as the batch");
    (batch, Lineage::Kept(kept))
}

fn tamed(error: &types::RowError, limits: &Limits) -> RowError {
    let message = tame(&error.message, limits.row_error_bytes_max);
    RowError { row: error.row, message }
}
