//! One function on a few rows, in the real host.
//!
//! * `lines` - what the function logs, caught.
//! * `results` - what came of each row, and where two runs differ.
//! * `shuffle` - the same rows in other orders and blocks.
//! * `expect` - the output against a file.

mod expect;
mod lines;
mod results;
mod shuffle;

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use arrow::array::RecordBatch;

use super::trial::Trial;
use super::{Chosen, Isolated, Sample, Tried, sample};
use crate::message::Refused;
use crate::udf::{Binding, CallError};
pub use expect::Difference;
use results::Results;
pub use shuffle::{RowOutcome, Shuffled};

/// The rows, and what is expected of them.
pub struct Wanted<'a> {
    /// A file with rows.
    pub input: &'a Path,
    /// Rows of it that are left out before.
    pub skip: u64,
    /// Rows that are taken.
    pub rows: u64,
    /// A file with what should come of them.
    pub expect: Option<&'a Path>,
}

/// A function and the rows that it is called with.
pub struct Test {
    /// The rows.
    pub sample: Sample,
    expected: Option<RecordBatch>,
    trial: Trial,
}

/// What came of the rows.
pub struct Ran {
    /// What the function logged, each with its level.
    pub lines: Vec<String>,
    /// How long it took, start of the instance included.
    pub time: Duration,
    /// What the function counted.
    pub counts: BTreeMap<String, u64>,
    /// Rows, or why there are none.
    pub outcome: Result<Isolated, CallError>,
}

impl Test {
    /// Reads the files, and binds the function to their columns.
    pub fn prepare(chosen: &Chosen, wanted: &Wanted<'_>) -> Result<Test, Refused> {
        let limit = sample::Limit { skip: wanted.skip, rows: wanted.rows, bytes: usize::MAX };
        let sample = sample::read(wanted.input, limit)?;
        let expected = wanted.expect.map(expect::read).transpose()?;
        let trial = chosen.bind(sample.rows.schema())?;
        Ok(Test { sample, expected, trial })
    }

    /// What the function takes and gives.
    pub fn binding(&self) -> &Binding {
        self.trial.binding()
    }

    /// Calls the function with all rows. If they end it, `will_isolate` learns of it before those are looked for that do.
    pub fn run(&mut self, will_isolate: impl FnOnce(&CallError)) -> Ran {
        let started = Instant::now();
        let (outcome, lines) = lines::caught(|| self.trial.isolate(self.sample.rows.clone(), will_isolate));
        Ran { lines, time: started.elapsed(), counts: self.trial.take_counts(), outcome }
    }

    /// Writes what came of the rows into a file, to be expected another time.
    pub fn write(&self, path: &Path, tried: &Tried) -> Result<(), Refused> {
        sample::write(path, &self.trial.output(), tried.batches())
    }

    /// Where it differs from what is expected, if something is.
    pub fn compare(&self, tried: &Tried) -> Result<Option<Vec<Difference>>, Refused> {
        let Some(expected) = &self.expected else { return Ok(None) };
        Ok(Some(expect::differences(&whole(tried)?, expected)))
    }

    /// Runs the rows again in other orders and blocks.
    pub fn shuffle(&mut self, tried: Tried) -> Result<Shuffled, Refused> {
        let output = whole(&tried)?;
        Ok(shuffle::check(&mut self.trial, &self.sample.rows, &Results::of(tried, output)))
    }
}

fn whole(tried: &Tried) -> Result<RecordBatch, Refused> {
    tried.whole().map_err(|error| Refused::new(error.to_string(), "compare fewer rows, with --rows"))
}
