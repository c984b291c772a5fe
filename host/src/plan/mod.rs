//! The pipeline file made true: stores opened, components compiled and bound, schemas agreed, the checkpoint's root read.
//! Everything that can be refused is refused here, all at once, before a byte is written or a row is read.
//!
//! * `make` - the steps, in order.
//! * `chain` - which columns flow from stage to stage; those that nobody reads later are dropped early.
//! * `single` - the plan of one function that is run by hand.
//! * `look` - every object of the source, against the plan.
//! * `columns` - what a function wants beside what reaches it, as a table.
//! * `config_schema` - what a function says of its config, and a config against it.
//! * `nearby` - files that are not there, and the name that was probably meant.
//! * `lanes` - which lanes of a job a process works on.
//! * `fingerprint` - what decides a row's result, and how two of them differ.

mod chain;
mod columns;
pub mod config_schema;
mod fingerprint;
mod lanes;
mod look;
mod make;
mod nearby;
mod single;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::SchemaRef;
pub use columns::{explained_by_hand, foreseen_by_hand};
pub use fingerprint::{SEMANTICS, differences};
pub use lanes::LaneSet;
pub use look::look;
pub use make::{make, settings_of};
pub use nearby::missing_by_hand;
pub use single::{Single, single};

use crate::commit::{CommitError, Fingerprint, GivenUp, GroupLimits, IdColumn, Manifest, Places, Root};
use crate::config::Problems;
use crate::message::{Hint, Message};
use crate::sink;
use crate::source::{BlockSize, Columns, Format, Object, PassedOver, Pattern, SourceError};
use crate::store::{Environment, Store, Watch, advice, told};
use crate::udf;

/// A job with every decision made.
pub struct Plan {
    /// The pipeline file, for messages.
    pub file: PathBuf,
    /// What a person should know before the job runs, though nothing is wrong.
    pub notes: Vec<Message>,
    /// Runs the functions.
    pub engine: Arc<udf::Engine>,
    /// Where rows come from.
    pub source: Source,
    /// Which columns are the identity; none if rows are known by position.
    pub ids: Option<Ids>,
    /// What happens to blocks, in order.
    pub stages: Vec<Stage>,
    /// Where results go, and rows that fail if a stage keeps them.
    pub sink: sink::Spec,
    /// Columns of the last block that are written, in the order of the results.
    pub sink_columns: Vec<usize>,
    /// Where it is recorded what is done; in memory if the pipeline file has no `[checkpoint]`.
    pub checkpoint: Store,
    /// Whether the checkpoint outlives the process.
    pub is_durable: bool,
    /// The checkpoint's root as it was when the plan was made.
    pub root: Option<Root>,
    /// Whether the sink may hold output of other jobs.
    pub shared: bool,
    /// There is no root, but the sink holds all that this very job has to write: it was finished, and its checkpoint deleted.
    pub finished_before: Option<Manifest>,
    /// What is given up before the job begins, with its log and its output.
    pub given_up: Option<GivenUp>,
    /// What decides a row's result.
    pub fingerprint: Fingerprint,
    /// Whether a person accepted that the checkpoint has another fingerprint, or that source objects changed.
    pub accepts_change: bool,
    /// How the fingerprint differs from the checkpoint's, a line each, if that was accepted.
    pub accepted: Vec<String>,
    /// Which lanes this process works on.
    pub lanes: LaneSet,
    /// Lanes are opened although another run seems to be alive.
    pub take_over: bool,
    /// The job was moved; where it is now becomes its place.
    pub relocate: bool,
    /// Rows that failed are done again.
    pub retry_failed: bool,
    /// What a new job is born with.
    pub genesis: NewJob,
    /// A lane is compacted when it has this many entries; 0 is never.
    pub compact_entries: u64,
    /// Time between two signs of life.
    pub heartbeat: Duration,
    /// The checkpoint goes away when the job is finished.
    pub delete_on_success: bool,
    /// When a group ends.
    pub group: GroupLimits,
    /// How the machine is used.
    pub run: Run,
    /// Local folder for derived files: compiled components, id files.
    pub cache: PathBuf,
    /// The most that id files there may have together.
    pub cache_ids_bytes_max: u64,
}

impl Plan {
    /// The roots of this run.
    pub fn places(&self) -> Places {
        Places {
            source: self.source.store.url().into(),
            sink: self.sink.store.url().into(),
            checkpoint: self.checkpoint.url().into(),
        }
    }

    /// What a failure means, in a stage or, if none is said, of a row that could not be read.
    pub fn on_error(&self, stage: Option<usize>) -> OnError {
        stage.map_or(self.source.on_bad_line, |stage| self.stages[stage].on_error)
    }

    /// What happens to rows that failed before.
    pub fn failed(&self) -> Failed {
        if self.retry_failed { Failed::AreRetried } else { Failed::Stay }
    }
}

/// What happens to rows that failed in an earlier run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failed {
    /// They are covered.
    Stay,
    /// They are to be done.
    AreRetried,
}

/// What is fixed when a job begins.
#[derive(Clone, Copy, Debug)]
pub struct NewJob {
    /// Lanes of its log.
    pub lanes: u32,
    /// Objects above this size are cut into pieces.
    pub split_bytes: u64,
}

/// Where rows come from.
pub struct Source {
    /// The source's root.
    pub store: Store,
    /// What is taken below it.
    pub pattern: Pattern,
    /// How objects are read.
    pub format: Arc<dyn Format>,
    /// What a line means that is no row.
    pub on_bad_line: OnError,
    /// Columns that the job reads.
    pub columns: Columns,
    /// Places among them of those that go into the stages; others are kept for dead letters alone.
    pub to_stages: Vec<usize>,
    /// The whole schema, as genesis records it.
    pub schema: SchemaRef,
    /// The objects, as listed while planning.
    pub objects: Vec<Object>,
    /// What lies beside them.
    pub passed: PassedOver,
    /// Their rows, if all footers were read while planning.
    pub rows: Option<u64>,
}

/// The identity of rows.
pub struct Ids {
    /// Places of the id columns among the columns read.
    pub places: Vec<usize>,
    /// The id columns in the job's types; no nulls.
    pub schema: SchemaRef,
}

impl Ids {
    /// As genesis records them.
    pub fn columns(&self) -> Vec<IdColumn> {
        let column = |field: &Arc<arrow::datatypes::Field>| IdColumn {
            name: field.name().clone(),
            data_type: field.data_type().to_string(),
        };
        self.schema.fields().iter().map(column).collect()
    }
}

/// One function of the chain.
pub struct Stage {
    /// For messages: `stage 2 (passages)`.
    pub label: String,
    /// Line of the pipeline file.
    pub line: u32,
    /// What the function runs with.
    pub spec: Arc<udf::Spec>,
    /// What it takes and gives.
    pub binding: udf::Binding,
    /// Places of the needed columns in the block before.
    pub needs: Vec<usize>,
    /// Places of the columns that stay on the host and are needed later.
    pub carry: Vec<usize>,
    /// Places among the added columns of those that are needed later.
    pub adds: Vec<usize>,
    /// The block after: carried columns, then added ones.
    pub output: SchemaRef,
    /// What a failed row means.
    pub on_error: OnError,
    /// How far rows are told apart when a block of them ends the function.
    pub isolation: Isolation,
}

/// How far rows are told apart when a block of them ends the function: beyond the call of a block that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Isolation {
    /// The most calls for one block; in the pipeline file `isolate_calls_max`.
    pub calls_max: u64,
    /// The longest time of these; in the pipeline file `isolate_seconds_max`.
    pub time_max: Duration,
    /// Rows in succession that each take all of their time; in the pipeline file `isolate_hangs_max`.
    pub hangs_max: u32,
    /// The longest time of those calls of a run that fail, if the pipeline file has it as `isolate_run_seconds_max`.
    pub run_time_written: Option<Duration>,
    /// Rows that stay together fail together, instead of ending the run.
    pub skips_unseparated: bool,
}

impl Isolation {
    const CALLS_MAX: u64 = 10_000;
    const TIME_MIN: Duration = Duration::from_secs(600);
    /// One row of 2^19 that hangs is found in so many calls of full length.
    const TIMES_OF_A_BLOCK: u32 = 20;
    const HANGS_MAX: u32 = 3;
    /// Rows that hang here and there end no run.
    const SEARCHES_OF_A_RUN: u32 = 10;
    /// Rows that trap end none at all: of 2^19 rows each is called 19 times at most.
    const TIMES_OF_A_RUN: u32 = 20;

    /// What holds where the pipeline file says nothing.
    pub fn of_block_time(block_time_max: Duration) -> Isolation {
        Isolation {
            calls_max: Self::CALLS_MAX,
            time_max: Self::TIME_MIN.max(block_time_max.saturating_mul(Self::TIMES_OF_A_BLOCK)),
            hangs_max: Self::HANGS_MAX,
            run_time_written: None,
            skips_unseparated: false,
        }
    }

    /// The longest time of those calls of a run that fail, if calls that were answered took `answered`.
    pub fn run_time_max(&self, answered: Duration) -> Duration {
        let allowed = || {
            let at_least = self.time_max.saturating_mul(Self::SEARCHES_OF_A_RUN);
            at_least.max(answered.saturating_mul(Self::TIMES_OF_A_RUN))
        };
        self.run_time_written.unwrap_or_else(allowed)
    }
}

/// What a failed row means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnError {
    /// The run ends.
    Fail,
    /// The row is left out and listed.
    Skip,
    /// The row is left out, and kept as a dead letter.
    DeadLetter,
}

/// How the machine is used.
#[derive(Clone, Copy, Debug)]
pub struct Run {
    /// Threads that drive blocks through the stages.
    pub workers: usize,
    /// Threads that read and decode units.
    pub readers: usize,
    /// How long an orderly stop may take.
    pub drain: Duration,
    /// How large blocks are.
    pub block: BlockSize,
    /// Bytes of blocks in flight, together with what became of them.
    pub blocks_bytes_max: u64,
    /// Groups that are on their way to a commit.
    pub groups_max: usize,
    /// The most bytes of ids that are sorted together when an id file is built.
    pub ids_memory_bytes_max: u64,
}

/// What a plan is made with besides the pipeline file.
pub struct Options {
    /// A person accepts changes against the checkpoint.
    pub accept_change: bool,
    /// Open lanes although another run seems to be alive.
    pub take_over: bool,
    /// The job was moved.
    pub relocate: bool,
    /// Do rows again that failed.
    pub retry_failed: bool,
    /// Give up the job that is there, and begin anew.
    pub fresh: bool,
    /// A checkpoint whose deletion has begun is deleted now, as a run does; whoever only looks says what it found.
    pub completes_deletion: bool,
    /// Which lanes to work on.
    pub lanes: LaneSet,
    /// Runs the functions; its clock is running.
    pub engine: Arc<udf::Engine>,
    /// Local folder for derived files.
    pub cache: PathBuf,
    /// The most that id files there may have together.
    pub cache_ids_bytes_max: u64,
    /// Sees every request to a store.
    pub watch: Arc<dyn Watch>,
    /// How stores are reached and who we are, where the pipeline file does not say.
    pub environment: Environment,
}

/// There is no plan.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The pipeline file has mistakes.
    #[error("{0}")]
    Problems(Problems),
    /// The job must not run as it is.
    #[error("{}", .0.text())]
    Refused(Message),
    /// The source could not be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The checkpoint could not be read.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// A store could not be read.
    #[error("{what}: {}", told(cause))]
    Store {
        /// What was attempted.
        what: String,
        /// What the store said.
        #[source]
        cause: object_store::Error,
    },
}

impl PlanError {
    fn refused(what: impl Into<String>, hint: impl Into<String>) -> PlanError {
        PlanError::Refused(Message::new(what).hint(hint))
    }
}

impl Hint for PlanError {
    fn hint(&self) -> Option<String> {
        match self {
            // Each problem has its own.
            PlanError::Problems(_) => None,
            PlanError::Refused(message) => message.hint.clone(),
            PlanError::Source(error) => error.hint(),
            PlanError::Commit(error) => error.hint(),
            PlanError::Store { cause, .. } => Some(advice(cause, "nothing was changed")),
        }
    }
}
