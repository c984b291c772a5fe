//! One function, and the instance of it that a thread calls.

use std::collections::BTreeMap;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use tracing::subscriber::{NoSubscriber, with_default};

use super::isolate::isolate;
use super::{CallPace, Outcome, Search, Start, Stop};
use crate::block::{Block, SelectedBatch};
use crate::plan::Stage;
use crate::udf::{Answer, CallError, Engine, Instance};

/// The first call starts the instance; it begins anew after a trap.
#[derive(Default)]
pub struct Runner {
    instance: Option<Instance>,
    pace: CallPace,
}

/// What came of a call.
#[derive(Debug)]
pub struct Called {
    /// The answer, or why there is none.
    pub answer: Result<Answer, CallError>,
    /// Time in the function.
    pub time: Duration,
    /// What the function counted.
    pub counts: BTreeMap<String, u64>,
}

impl Runner {
    /// Calls the function of a stage, each time the same one.
    pub fn call(&mut self, engine: &Engine, stage: &Stage, rows: &RecordBatch, start: Start) -> Called {
        let instance = match self.started(engine, stage) {
            Ok(instance) => instance,
            Err(error) => return Called { answer: Err(error), time: Duration::ZERO, counts: BTreeMap::new() },
        };
        if start == Start::Anew {
            instance.start_anew();
        }
        let answer = instance.process(rows);
        let (time, counts) = (instance.take_time(), instance.take_counts());
        // What starts anew has more to do.
        if start == Start::Kept && answer.is_ok() {
            self.pace.note(rows.num_rows(), time);
        }
        Called { answer, time, counts }
    }

    fn started(&mut self, engine: &Engine, stage: &Stage) -> Result<&mut Instance, CallError> {
        let instance = match self.instance.take() {
            Some(instance) => instance,
            None => Instance::new(engine, &stage.spec, &stage.binding)?,
        };
        Ok(self.instance.insert(instance))
    }

    /// Rows that the next call may have.
    pub fn rows_max(&self) -> usize {
        self.pace.rows_max()
    }

    /// Throws the instance away; the next call starts another one.
    pub fn discard(&mut self) {
        self.instance = None;
    }
}

/// Calls a function with all rows, and if that fails with some of them, to find those that end it. The calls `apart` log
/// nothing: what the function says was said when it was called `at_once`.
pub fn call_and_isolate<C>(
    caller: &mut C,
    rows: &RecordBatch,
    search: Search<'_>,
    at_once: impl FnOnce(&mut C, &RecordBatch, Start) -> Result<Answer, CallError>,
    mut apart: impl FnMut(&mut C, &RecordBatch, Start) -> Result<Answer, CallError>,
) -> Result<Outcome, Stop> {
    let mut at_once = Some(at_once);
    isolate(rows, search, |rows, start| match at_once.take() {
        Some(at_once) => at_once(caller, rows, start),
        None => with_default(NoSubscriber::new(), || apart(caller, rows, start)),
    })
}

/// The rows of a block that has passed all stages, as a sink would write them.
pub fn for_sink(block: &Block, places: &[usize], schema: &SchemaRef) -> Vec<SelectedBatch> {
    let parts = block.parts.iter().filter(|part| part.rows.num_rows() > 0);
    parts.map(|part| part.rows.project(places, schema)).collect()
}
