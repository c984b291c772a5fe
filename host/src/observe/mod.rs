//! What a run knows about itself, as values; `cli` prints them.
//!
//! * here: the counters of a run, and its summary.
//! * `pace`: how far it is, how fast, and how long it will take.
//!
//! Counters are written by many threads and read by one; they are exact when the run has ended.

mod pace;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

pub use pace::{Pace, Total, View};
use serde::Serialize;

/// Counters of a run that is going on.
#[derive(Debug, Default)]
pub struct Progress {
    /// Source rows covered before this run began.
    pub rows_skipped: AtomicU64,
    /// Source rows that were sent into the stages.
    pub rows_read: AtomicU64,
    /// Source rows of which no output row came, and that did not fail.
    pub rows_dropped: AtomicU64,
    /// Source rows that failed and are left out.
    pub rows_failed: AtomicU64,
    /// Source rows that failed and became dead letters.
    pub rows_dead_lettered: AtomicU64,
    /// Source rows whose id was found done elsewhere.
    pub rows_known: AtomicU64,
    /// Output rows that are in the sink and count.
    pub rows_written: AtomicU64,
    /// Source rows whose state this run has committed.
    pub rows_committed: AtomicU64,
    /// Commits of this run.
    pub commits: AtomicU64,
    /// Objects of the source in the lanes of this run; of those that are cut, each piece.
    pub objects: AtomicU64,
    /// Of these, opened by this run.
    pub objects_opened: AtomicU64,
    /// Their bytes.
    pub source_bytes: AtomicU64,
    /// Bytes of the objects whose rows are counted.
    pub counted_bytes: AtomicU64,
    /// Rows of these objects.
    pub counted_rows: AtomicU64,
    /// Bytes of source columns decoded.
    pub bytes_read: AtomicU64,
    /// Bytes of sink files that count.
    pub bytes_written: AtomicU64,
    /// Calls of functions that told rows apart: those of a block that trapped or went past a limit.
    pub isolate_calls: AtomicU64,
    /// Time per kind of work, over all threads.
    pub times: Times,
}

/// Nanoseconds per kind of work, over all threads.
#[derive(Debug, Default)]
pub struct Times {
    /// Fetching and decoding the source, asking ids included.
    pub read: AtomicU64,
    /// Inside functions.
    pub guest: AtomicU64,
    /// Between host and functions: encoding, copying, decoding, checking, re-attaching columns.
    pub boundary: AtomicU64,
    /// Encoding sink files, waiting for their uploads included.
    pub write: AtomicU64,
    /// Writing id files and appending segments.
    pub commit: AtomicU64,
}

/// Adds to a counter.
pub fn add(counter: &AtomicU64, amount: u64) {
    counter.fetch_add(amount, Ordering::Relaxed);
}

/// Reads a counter.
pub fn get(counter: &AtomicU64) -> u64 {
    counter.load(Ordering::Relaxed)
}

/// Adds the time since `start` to a counter.
pub fn add_time(counter: &AtomicU64, start: Instant) {
    add(counter, start.elapsed().as_nanos() as u64);
}

/// How a run ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// Every row is covered.
    Finished,
    /// Every row is covered, some failed and are left out.
    FinishedWithFailedRows,
    /// Stopped by a person; resumable.
    Interrupted,
    /// Ended by an error; resumable.
    Failed,
    /// Another run took over.
    Fenced,
}

/// A run in figures, written to `runs/<run>/summary.json` and by `wasmpipe run --summary`.
#[derive(Clone, Debug, Serialize)]
pub struct Summary {
    /// How it ended.
    pub outcome: Outcome,
    /// The job.
    pub job: String,
    /// Whether the whole job is finished, other lanes included; absent if this run did not come to its end.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job_finished: Option<bool>,
    /// This run's name; none if there was nothing to do.
    pub run: Option<String>,
    /// Source rows known of: skipped, read and known.
    pub rows_total: u64,
    /// Covered before this run began.
    pub rows_skipped: u64,
    /// Sent into the stages.
    pub rows_read: u64,
    /// Without output rows, not failed.
    pub rows_dropped: u64,
    /// Failed and left out, by this run.
    pub rows_failed: u64,
    /// Failed and left out, by all runs.
    pub rows_failed_in_all: u64,
    /// Failed and kept as dead letters, by this run.
    pub rows_dead_lettered: u64,
    /// Failed and kept as dead letters, by all runs.
    pub rows_dead_lettered_in_all: u64,
    /// Found done by id.
    pub rows_known: u64,
    /// Done before the job was changed, and not done again.
    #[serde(flatten)]
    pub kept: Kept,
    /// Output rows of this run that count.
    pub rows_written: u64,
    /// Source rows that this run committed.
    pub rows_committed: u64,
    /// Commits of this run.
    pub commits: u64,
    /// Objects of the source in the lanes of this run; of those that are cut, each piece.
    pub objects: u64,
    /// Of these, opened by this run.
    pub objects_opened: u64,
    /// Bytes of source columns decoded.
    pub bytes_read: u64,
    /// Bytes of sink files.
    pub bytes_written: u64,
    /// Calls of functions that told rows apart: those of a block that trapped or went past a limit.
    pub isolate_calls: u64,
    /// Log lines of functions and about failed rows that were not written: there were too many.
    pub log_lines_suppressed: u64,
    /// Counters that functions keep, as `function.name`.
    pub guest_counts: std::collections::BTreeMap<String, u64>,
    /// Wall clock.
    pub seconds: f64,
    /// Over all threads: fetching and decoding.
    pub seconds_read: f64,
    /// Over all threads: inside functions.
    pub seconds_guest: f64,
    /// Over all threads: between host and functions.
    pub seconds_boundary: f64,
    /// Over all threads: encoding sink files.
    pub seconds_write: f64,
    /// Writing id files and appending segments.
    pub seconds_commit: f64,
}

/// Objects of [`Kept`] that are named.
const KEPT_NAMED_MAX: usize = 5;

/// Rows with results of earlier functions, configs or sink columns: a person accepted a change after they were done.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Kept {
    /// So many, in the lanes of this run.
    pub rows_kept: u64,
    /// In so many objects; of those that are cut, each piece.
    pub objects_kept: u64,
    /// Some of these, by their paths.
    pub objects_kept_named: Vec<String>,
}

impl Kept {
    /// Adds rows of an object.
    pub fn add(&mut self, object: &str, rows: u64) {
        if rows == 0 {
            return;
        }
        self.rows_kept += rows;
        self.objects_kept += 1;
        let is_named = self.objects_kept_named.iter().any(|named| named == object);
        if !is_named && self.objects_kept_named.len() < KEPT_NAMED_MAX {
            self.objects_kept_named.push(object.to_owned());
        }
    }
}

impl Progress {
    /// The run so far, in figures.
    pub fn summary(&self, outcome: Outcome, job: &str, run: Option<&str>, elapsed: Duration) -> Summary {
        let seconds = |counter: &AtomicU64| get(counter) as f64 / 1e9;
        Summary {
            outcome,
            job: job.into(),
            job_finished: None,
            run: run.map(Into::into),
            rows_total: get(&self.rows_skipped) + get(&self.rows_read) + get(&self.rows_known),
            rows_skipped: get(&self.rows_skipped),
            rows_read: get(&self.rows_read),
            rows_dropped: get(&self.rows_dropped),
            rows_failed: get(&self.rows_failed),
            rows_failed_in_all: get(&self.rows_failed),
            rows_dead_lettered: get(&self.rows_dead_lettered),
            rows_dead_lettered_in_all: get(&self.rows_dead_lettered),
            rows_known: get(&self.rows_known),
            kept: Kept::default(),
            rows_written: get(&self.rows_written),
            rows_committed: get(&self.rows_committed),
            commits: get(&self.commits),
            objects: get(&self.objects),
            objects_opened: get(&self.objects_opened),
            bytes_read: get(&self.bytes_read),
            bytes_written: get(&self.bytes_written),
            isolate_calls: get(&self.isolate_calls),
            log_lines_suppressed: 0,
            guest_counts: std::collections::BTreeMap::new(),
            seconds: elapsed.as_secs_f64(),
            seconds_read: seconds(&self.times.read),
            seconds_guest: seconds(&self.times.guest),
            seconds_boundary: seconds(&self.times.boundary),
            seconds_write: seconds(&self.times.write),
            seconds_commit: seconds(&self.times.commit),
        }
    }
}
