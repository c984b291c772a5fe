//! Wires the stages with bounded queues. The only file that starts threads; to know what runs at once, read `start`.
//!
//! ```text
//! readers --(work queue: blocks)--> workers --(streams: blocks in order)--> files --(groups)--> commit loop
//! ```
//!
//! Readers decode units and fix groups as they emit blocks. A worker drives one block through all stages and puts it into
//! its group's files. When a group is closed and all its blocks are in, it goes to the commit loop, which makes its files
//! durable and appends one segment at a time. The bytes of blocks between reader and file are bounded by one budget.
//! A process holds any number of lanes and works on them one after the other; a lane that is lost to another run costs
//! the others nothing.
//!
//! * `look` - whether a run would be refused, before any lane is opened.
//! * `open` - from a plan to opened lanes and the work that is left.
//! * `covered` - what lanes say of the source's objects.
//! * `asked` - the ids that are asked, of an import or after the source was rewritten.
//! * `elsewhere` - objects that were done before the job began.
//! * `drift` - how the source differs from what the job has pinned.
//! * `groups` - which rows are in which group, and when a group is complete.
//! * `read` - what a reader thread does.
//! * `work` - what a worker thread does.
//! * `letters` - the dead letters of a block.
//! * `commits` - the commit loop, and how the lanes are left.
//! * `marks` - when an object is through, and gets its mark.
//! * `beating` - what goes on beside the work: the heartbeat, requests to stop, whether the job was moved away.
//! * `finish` - one more look at what a run calls finished; the manifest; the checkpoint's deletion.
//! * `record` - documents about a run or a job.
//! * `budget` - bytes in flight.
//! * `pace` - how many rows a block has, by how long they take.
//! * `by_hand` - what to type after a row ended a run.

mod asked;
mod beating;
mod budget;
mod by_hand;
mod commits;
mod covered;
mod drift;
mod elsewhere;
mod finish;
mod groups;
mod letters;
mod look;
mod marks;
mod open;
mod pace;
mod read;
mod record;
mod work;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::mpsc::UnboundedReceiver;

use crate::block::Block;
use crate::commit::{CommitError, Lane};
use crate::filter::FilterError;
use crate::message::{Hint, Message};
use crate::observe::{Outcome, Progress, Summary};
use crate::plan::Plan;
use crate::sink::{Sink, SinkError};
use crate::source::SourceError;
use crate::stage::SearchTime;
use crate::udf::{self, Lines};
pub use asked::ImportedIds;
use budget::Budget;
use commits::Held;
use groups::{Ended, Groups, Ticket};
pub use look::check;
pub use open::{Imports, begin};
use open::{Job, Opened, Opening};
use pace::BlockPace;
use read::WorkList;

/// Blocks that wait for a worker, per worker.
const QUEUED_PER_WORKER: usize = 2;
/// Why a run ended early. Every one of these is resumable.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The source.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The id file.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// The sink.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The log.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// A row or a function.
    #[error("{}", .0.text())]
    Failed(Message),
    /// It was asked to stop before its work began.
    #[error("stopped while {0}, before any row was read")]
    Interrupted(&'static str),
}

impl RunError {
    fn failed(what: impl Into<String>, hint: impl Into<String>) -> RunError {
        RunError::Failed(Message::new(what).hint(hint))
    }
}

impl Hint for RunError {
    fn hint(&self) -> Option<String> {
        match self {
            RunError::Source(error) => error.hint(),
            RunError::Filter(error) => error.hint(),
            RunError::Sink(error) => error.hint(),
            RunError::Commit(error) => error.hint(),
            RunError::Failed(message) => message.hint.clone(),
            RunError::Interrupted(_) => Some("nothing is lost; run the same command again".into()),
        }
    }
}

/// Asks a run to stop, from another thread.
#[derive(Clone, Debug, Default)]
pub struct Control {
    asked: Arc<Asked>,
}

#[derive(Debug, Default)]
struct Asked {
    is_stopped: AtomicBool,
    /// Who waits for that.
    waiting: tokio::sync::Notify,
}

impl Control {
    /// No new work from here on.
    pub fn stop(&self) {
        self.asked.is_stopped.store(true, Ordering::SeqCst);
        self.asked.waiting.notify_waiters();
    }

    fn is_stopped(&self) -> bool {
        self.asked.is_stopped.load(Ordering::SeqCst)
    }

    /// Ends when the run is asked to stop.
    async fn stopped(&self) {
        // Made before the look, so that no request falls in between.
        let asked = self.asked.waiting.notified();
        if !self.is_stopped() {
            asked.await;
        }
    }

    /// What comes before the work may be given up at any moment: what it has sent may arrive or not, as after a kill.
    async fn unless_stopped<T>(
        &self,
        meanwhile: &'static str,
        asked: impl Future<Output = Result<T, RunError>>,
    ) -> Result<T, RunError> {
        tokio::select! {
            biased;
            // First, since it may know better what it was stopped at.
            result = asked => result,
            () = self.stopped() => Err(RunError::Interrupted(meanwhile)),
        }
    }

    /// For waits before the work begins.
    fn refuse_if_stopped(&self, meanwhile: &'static str) -> Result<(), RunError> {
        if self.is_stopped() { Err(RunError::Interrupted(meanwhile)) } else { Ok(()) }
    }
}

/// What threads share.
struct Flow {
    plan: Arc<Plan>,
    job: Job,
    groups: Groups,
    lanes: BTreeMap<u32, Arc<LaneFlow>>,
    budget: Budget,
    pace: BlockPace,
    work: WorkList,
    control: Control,
    progress: Arc<Progress>,
    runtime: tokio::runtime::Handle,
    /// The first error; later ones follow from it.
    error: Mutex<Option<RunError>>,
    /// Readers emit nothing more.
    is_ending: AtomicBool,
    /// Nothing of what is in flight can be committed any more.
    is_dead: AtomicBool,
    /// The whole job, if this run has found it complete.
    complete: Mutex<Option<finish::Complete>>,
    readers_left: AtomicUsize,
    guest_counts: Mutex<BTreeMap<String, u64>>,
    /// By stage.
    stages: Vec<StageFlow>,
    /// What the log says of rows that could not be read.
    unread_lines: Lines,
}

/// What workers share of a stage.
#[derive(Default)]
struct StageFlow {
    /// How much of the run goes into telling its rows apart.
    search_time: SearchTime,
    /// What the log says of its failed rows.
    lines: Lines,
}

/// What threads share of a lane.
struct LaneFlow {
    number: u32,
    sink: Sink,
    /// Another run has opened it.
    is_lost: AtomicBool,
    /// A file of results in it counts.
    has_output: AtomicBool,
}

impl LaneFlow {
    fn is_lost(&self) -> bool {
        self.is_lost.load(Ordering::SeqCst)
    }
}

/// A block on its way, and the place that is kept for it.
struct Emitted {
    block: Block,
    ticket: Ticket,
}

/// Runs a plan to its end. `report` is called a few times a second.
pub fn run(
    plan: Plan,
    control: &Control,
    progress: &Arc<Progress>,
    mut report: impl FnMut(&Progress),
) -> (Summary, Option<RunError>) {
    let started = Instant::now();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("the operating system starts threads");
    let job_name = plan.root.as_ref().map(|root| root.genesis.job.clone()).unwrap_or_default();
    let plan = Arc::new(plan);
    let Opened { lanes, lost, job, writer, beating, known, alive } =
        match runtime.block_on(open::open(&plan, progress, control)) {
            Ok(Opening::Open(opened)) => *opened,
            Ok(Opening::Finished { job, known_rows, failed_rows, dead_rows, kept, is_whole_job }) => {
                let outcome = outcome_of_finished(failed_rows + dead_rows);
                let mut summary = progress.summary(outcome, &job, None, started.elapsed());
                (summary.rows_known, summary.rows_failed_in_all) = (known_rows, failed_rows);
                summary.rows_dead_lettered_in_all = dead_rows;
                summary.kept = kept;
                summary.job_finished = Some(is_whole_job);
                return (summary, None);
            }
            Err(error) => {
                let summary = progress.summary(outcome_of_error(&error), &job_name, None, started.elapsed());
                return (summary, Some(error));
            }
        };
    let run = writer.run.clone();
    tracing::info!(lanes = lanes.len(), pieces = job.pending.len(), "the work begins");
    let claimant = open::claimant(&plan, &job.name);
    let (flow, ended_groups, threads) = start(&plan, job, &lanes, control, progress, &runtime);
    let ended =
        runtime.block_on(flow.commit_loop(Held::new(lanes, lost, known), ended_groups, (&run, started), &mut report));
    if let Some(beating) = beating {
        runtime.block_on(beating.end());
    }
    let complete = lock(&flow.complete).take();
    let ended = ended.and_then(|outcome| match &complete {
        Some(complete) => runtime.block_on(finish::delete_if_wanted(&plan, complete)).map(|()| outcome),
        None => Ok(outcome),
    });
    if !flow.is_dead.load(Ordering::SeqCst) {
        threads.into_iter().for_each(|thread| drop(thread.join()));
    }
    let (outcome, error) = match ended {
        Ok(outcome) => (outcome, flow.take_error()),
        Err(error) => {
            // Who was fenced must know, whatever else went wrong before.
            let is_fenced = outcome_of_error(&error) == Outcome::Fenced;
            let error = flow.take_error().filter(|_| !is_fenced).unwrap_or(error);
            (outcome_of_error(&error), Some(error))
        }
    };
    // Who was stopped has no error.
    if complete.is_none() {
        runtime.block_on(open::release(&plan, &claimant));
    }
    drop(alive);
    report(progress);
    let mut summary = flow.summary(outcome, &run, started);
    if matches!(outcome, Outcome::Finished | Outcome::FinishedWithFailedRows) {
        summary.job_finished = Some(complete.is_some());
    }
    if flow.is_dead() {
        // Threads that are still inside a function or a request may use it until the process ends.
        std::mem::forget(runtime);
    }
    (summary, error)
}

fn outcome_of_finished(failed_rows: u64) -> Outcome {
    if failed_rows == 0 { Outcome::Finished } else { Outcome::FinishedWithFailedRows }
}

fn outcome_of_error(error: &RunError) -> Outcome {
    match error {
        RunError::Commit(CommitError::Fenced { .. }) => Outcome::Fenced,
        RunError::Interrupted(_) => Outcome::Interrupted,
        _ => Outcome::Failed,
    }
}

/// The engine of a host in another program: its [compiler](udf::Compiler) is as the environment says, else on the `PATH`.
pub fn engine(cache: &std::path::Path) -> Result<Arc<udf::Engine>, udf::UdfError> {
    engine_with(cache, udf::Compiler::from_environment(udf::Compiler::on_path)?)
}

/// The engine and its clock, without which time limits do not hold. Binding while a plan is made needs both, too. The
/// clock stops when nobody holds the engine any more.
pub fn engine_with(cache: &std::path::Path, compiler: udf::Compiler) -> Result<Arc<udf::Engine>, udf::UdfError> {
    let engine = Arc::new(udf::Engine::new(Some(cache.into()), compiler)?);
    let clock = Arc::downgrade(&engine);
    spawn("engine clock".into(), move || {
        while let Some(engine) = clock.upgrade() {
            engine.tick();
            drop(engine);
            std::thread::sleep(udf::Engine::TICK);
        }
    });
    Ok(engine)
}

/// Everything that runs at once: readers and workers. The caller runs the commit loop.
fn start(
    plan: &Arc<Plan>,
    job: Job,
    lanes: &[Lane],
    control: &Control,
    progress: &Arc<Progress>,
    runtime: &tokio::runtime::Runtime,
) -> (Arc<Flow>, UnboundedReceiver<Ended>, Vec<JoinHandle<()>>) {
    let run = plan.run;
    let (ended_sender, ended) = tokio::sync::mpsc::unbounded_channel();
    let (block_sender, blocks) = crossbeam_channel::bounded::<Emitted>(run.workers * QUEUED_PER_WORKER);
    let handle = runtime.handle().clone();
    let flow = Arc::new(Flow {
        groups: Groups::new(plan.group, run, ended_sender),
        lanes: lanes.iter().map(|lane| (lane.number(), lane_flow(plan, &job, lane, &handle))).collect(),
        budget: Budget::new(run.blocks_bytes_max),
        pace: BlockPace::default(),
        work: WorkList::new(&job),
        control: control.clone(),
        progress: Arc::clone(progress),
        runtime: handle,
        error: Mutex::new(None),
        is_ending: AtomicBool::new(false),
        is_dead: AtomicBool::new(false),
        complete: Mutex::default(),
        readers_left: AtomicUsize::new(run.readers),
        guest_counts: Mutex::default(),
        stages: plan.stages.iter().map(|_| StageFlow::default()).collect(),
        unread_lines: Lines::default(),
        plan: Arc::clone(plan),
        job,
    });
    let mut threads = Vec::new();
    for reader in 0..run.readers {
        let (flow, sender) = (Arc::clone(&flow), block_sender.clone());
        threads.push(spawn(format!("reader {reader}"), move || flow.guarded(|| read::reader(&flow, reader, &sender))));
    }
    drop(block_sender);
    for worker in 0..run.workers {
        let (flow, blocks) = (Arc::clone(&flow), blocks.clone());
        threads.push(spawn(format!("worker {worker}"), move || flow.guarded(|| work::worker(&flow, &blocks))));
    }
    (flow, ended, threads)
}

fn lane_flow(plan: &Plan, job: &Job, lane: &Lane, runtime: &tokio::runtime::Handle) -> Arc<LaneFlow> {
    Arc::new(LaneFlow {
        number: lane.number(),
        sink: Sink::new(plan.sink.clone(), &job.name, lane.number(), lane.token(), runtime.clone()),
        is_lost: AtomicBool::new(false),
        has_output: AtomicBool::new(job.with_output.contains(&lane.number())),
    })
}

fn spawn(name: String, body: impl FnOnce() + Send + 'static) -> JoinHandle<()> {
    std::thread::Builder::new().name(name).spawn(body).expect("the operating system starts threads")
}

impl Flow {
    /// A panic of ours ends the run instead of hanging it.
    fn guarded(&self, body: impl FnOnce()) {
        if let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(body)) {
            let what = panic.downcast_ref::<String>().map(String::as_str);
            let what = what.or(panic.downcast_ref::<&str>().copied()).unwrap_or("no message");
            self.die(RunError::failed(
                format!("wasmpipe broke: {what}"),
                "nothing is lost; this is a defect of wasmpipe: report it with this line",
            ));
        }
    }

    /// Emits nothing more; what is in flight is finished.
    fn fail(&self, error: RunError) {
        lock(&self.error).get_or_insert(error);
        self.is_ending.store(true, Ordering::SeqCst);
        self.work.end();
    }

    /// Nothing of what is in flight can count any more.
    fn die(&self, error: RunError) {
        self.fail(error);
        self.is_dead.store(true, Ordering::SeqCst);
    }

    fn is_ending(&self) -> bool {
        self.control.is_stopped() || self.is_ending.load(Ordering::SeqCst)
    }

    fn is_dead(&self) -> bool {
        self.is_dead.load(Ordering::SeqCst)
    }

    fn take_error(&self) -> Option<RunError> {
        lock(&self.error).take()
    }

    fn summary(&self, outcome: Outcome, run: &str, started: Instant) -> Summary {
        let mut summary = self.progress.summary(outcome, &self.job.name, Some(run), started.elapsed());
        summary.rows_failed_in_all += self.job.failed_before;
        summary.rows_dead_lettered_in_all += self.job.dead_before;
        summary.kept = self.job.kept.clone();
        summary.guest_counts = lock(&self.guest_counts).clone();
        let of_functions = self.plan.stages.iter().map(|stage| stage.spec.lines.suppressed());
        let of_rows = self.stages.iter().map(|stage| stage.lines.suppressed());
        summary.log_lines_suppressed = of_functions.chain(of_rows).chain([self.unread_lines.suppressed()]).sum();
        summary
    }

    fn lane(&self, number: u32) -> &Arc<LaneFlow> {
        &self.lanes[&number]
    }
}

/// A panic under a lock ends the run; what it left is not used.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
