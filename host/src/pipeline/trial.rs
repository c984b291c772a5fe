//! One function run by hand, a batch at a time, in the calling thread: what `udf test` and `udf bench` do. A batch takes
//! the same steps as a block in a worker; nothing is read, written or committed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use tracing::subscriber::{NoSubscriber, with_default};

use crate::block::{Block, FailureKind, Origin};
use crate::plan::{self, Single};
use crate::stage::{self, Left, Outcome, Poison, Search, Start, Stop};
use crate::udf::{self, CallError, Instance, UdfError};

/// A function, bound, with an instance.
pub struct Trial {
    engine: Arc<udf::Engine>,
    single: Single,
    instance: Option<Instance>,
    guest_time: Duration,
    counts: BTreeMap<String, u64>,
}

/// What came of a batch.
#[derive(Debug)]
pub struct Tried {
    /// All columns after the function, as a sink would write them.
    pub output: RecordBatch,
    /// For every output row the ordinal of its input row; ascending.
    pub parents: Vec<u32>,
    /// Rows that the function refused, and why; ascending.
    pub failures: BTreeMap<u32, Arc<str>>,
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
        let single = plan::single(engine, spec)?;
        let (guest_time, counts) = (Duration::ZERO, BTreeMap::new());
        Ok(Trial { engine: Arc::clone(engine), single, instance: None, guest_time, counts })
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
        self.instance = None;
    }

    /// Runs the function on a batch of the columns that it was bound to.
    pub fn run(&mut self, batch: RecordBatch) -> Result<Tried, CallError> {
        let (block, given) = self.block(batch).map_err(broken)?;
        let answer = self.call(&given, Start::Kept)?;
        self.tried(block, Outcome { answer, poison: Vec::new(), left: Vec::new(), calls: 0 }).map_err(broken)
    }

    /// As [`Trial::run`]; rows that end the function are told apart from the others. `will_isolate` learns of it before.
    pub fn isolate(
        &mut self,
        batch: RecordBatch,
        will_isolate: impl FnOnce(&CallError),
    ) -> Result<Isolated, CallError> {
        let (block, given) = self.block(batch).map_err(broken)?;
        let (binding, limits) = (self.binding().clone(), self.single.stage.spec.limits.clone());
        let isolation = self.single.stage.isolation;
        let search = Search { adds: &binding.adds, isolation: &isolation, limits: &limits, stops_at_first: false };
        let mut will_isolate = Some(will_isolate);
        let outcome = stage::isolate(&given, search, |rows, start| match will_isolate.take() {
            Some(will_isolate) => self.call(rows, start).inspect_err(will_isolate),
            // What it logs has been said.
            None => with_default(NoSubscriber::new(), || self.call(rows, start)),
        });
        let outcome = outcome.map_err(|stop| CallError::Broken { message: stopped(stop) })?;
        // Rows with nulls that the function does not take were not called.
        let parent = |row: u32| block.parent(row);
        let poison = |poison: &Poison| Poison { row: parent(poison.row), ..poison.clone() };
        let left = |left: &Left| Left { rows: parent(left.rows.start)..parent(left.rows.end - 1) + 1, ..left.clone() };
        let poison = outcome.poison.iter().map(poison).collect();
        let left = outcome.left.iter().map(left).collect();
        let calls = outcome.calls;
        let tried = self.tried(block, outcome).map_err(broken)?;
        Ok(Isolated { tried, poison, left, calls })
    }

    fn block(&self, batch: RecordBatch) -> Result<(Block, RecordBatch), ArrowError> {
        let rows = batch.num_rows();
        let origin =
            Origin { object: "rows".into(), rows: std::iter::once(0..rows as u64).collect(), ids: None, kept: None };
        let block = stage::fail_nulls(0, &self.single.stage, Block::new(batch, origin))?;
        let given = stage::input(&self.single.stage, &block)?;
        Ok((block, given))
    }

    fn tried(&self, block: Block, outcome: Outcome) -> Result<Tried, ArrowError> {
        let block = stage::accept(0, &self.single.stage, block, outcome)?;
        let output = block.batch.project(&self.single.sink_columns)?;
        let parents = (0..output.num_rows() as u32).map(|row| block.parent(row)).collect();
        let refused = block.failures.into_iter().filter(|failure| failure.kind == FailureKind::Row);
        let failures = refused.map(|failure| (failure.row, failure.message)).collect();
        Ok(Tried { output, parents, failures })
    }

    fn call(&mut self, given: &RecordBatch, start: Start) -> Result<udf::Answer, CallError> {
        let mut instance = match self.instance.take() {
            Some(instance) => instance,
            None => Instance::new(&self.engine, &self.single.stage.spec, &self.single.stage.binding)
                .map_err(|error| CallError::Broken { message: error.to_string() })?,
        };
        if start == Start::Anew {
            instance.start_anew();
        }
        let answer = instance.process(given);
        self.guest_time += instance.take_time();
        for (name, count) in instance.take_counts() {
            *self.counts.entry(name).or_default() += count;
        }
        self.instance = Some(instance);
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

fn broken(error: ArrowError) -> CallError {
    CallError::Broken { message: error.to_string() }
}

fn stopped(stop: Stop) -> String {
    match stop {
        Stop::Broken(message) => message,
        Stop::TooMuch { rows, answer_rows, answer_bytes } => format!(
            "what came of the first {rows} rows is too much for one batch: {answer_rows} rows, {answer_bytes} bytes\n\
             hint: run fewer rows with --rows, or let the function answer with less"
        ),
        Stop::First(_) | Stop::Spent(_) => unreachable!("all rows are asked for, and they may be left together"),
    }
}
