//! One function run by hand, a batch at a time, in the calling thread: what `udf test` and `udf bench` do. A batch takes
//! the same steps as a block in a worker; nothing is read, written or committed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;

use super::work::{accept, fail_nulls, input};
use crate::block::{Block, Origin};
use crate::plan::{self, Single};
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
    /// Rows that failed, and why; ascending.
    pub failures: BTreeMap<u32, Arc<str>>,
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
        let rows = batch.num_rows();
        let stage = &self.single.stage;
        let origin =
            Origin { object: "rows".into(), rows: std::iter::once(0..rows as u64).collect(), ids: None, kept: None };
        let broken = |error: arrow::error::ArrowError| CallError::Broken { message: error.to_string() };
        let block = fail_nulls(0, stage, Block::new(batch, origin)).map_err(broken)?;
        let given = input(stage, &block).map_err(broken)?;
        let answer = self.call(&given)?;
        let block = accept(0, &self.single.stage, block, answer).map_err(broken)?;
        let output = block.batch.project(&self.single.sink_columns).map_err(broken)?;
        let parents = (0..output.num_rows() as u32).map(|row| block.parent(row)).collect();
        let failures = block.failures.into_iter().map(|failure| (failure.row, failure.message)).collect();
        Ok(Tried { output, parents, failures })
    }

    fn call(&mut self, given: &RecordBatch) -> Result<udf::Answer, CallError> {
        let mut instance = match self.instance.take() {
            Some(instance) => instance,
            None => Instance::new(&self.engine, &self.single.stage.spec, &self.single.stage.binding)
                .map_err(|error| CallError::Broken { message: error.to_string() })?,
        };
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
