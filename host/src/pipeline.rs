//! Wires the stages with bounded queues. The only file that starts threads; to know what runs at once, read `start`.
//!
//! ```text
//! readers --(work queue: blocks)--> workers --(streams: blocks in order)--> files --(groups)--> commit loop
//! ```
//!
//! Readers decode units and fix groups as they emit blocks. A worker drives one block through all stages and puts it into
//! its group's files. When a group is closed and all its blocks are in, it goes to the commit loop, which makes its files
//! durable and appends one segment at a time. The bytes of blocks between reader and file are bounded by one budget.
//!
//! * `open` - from a plan to an opened lane and the work that is left.
//! * `drift` - how the source differs from what the job has pinned.
//! * `groups` - which rows are in which group, and when a group is complete.
//! * `read` - what a reader thread does.
//! * `work` - what a worker thread does.
//! * `budget` - bytes in flight.
//! * `by_hand` - what to type after a row or a block ended a run.
//! * `trial` - one function run by hand, through the same steps.

mod budget;
mod by_hand;
mod drift;
mod groups;
mod open;
mod read;
mod trial;
mod work;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use tokio::sync::mpsc::UnboundedReceiver;

use crate::block::Block;
use crate::commit::{Close, CommitError, Group, Lane};
use crate::filter::FilterError;
use crate::observe::{Outcome, Progress, Summary, add, add_time};
use crate::plan::Plan;
use crate::sink::{Receipt, Sink, SinkError};
use crate::source::SourceError;
use crate::udf;
use budget::Budget;
use groups::{Groups, InFlight, Ticket};
use open::{Job, Opening};
pub use open::{begin, check};
use read::WorkList;
pub use trial::{Trial, Tried};

/// Blocks that wait for a worker, per worker.
const QUEUED_PER_WORKER: usize = 2;
/// Groups whose files are being made durable at once.
const GROUPS_DURABLE_AT_ONCE: usize = 4;
/// How often the commit loop looks at clocks and reports progress.
const BEAT: Duration = Duration::from_millis(100);

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
    #[error("{0}")]
    Failed(String),
}

/// Asks a run to stop, from another thread.
#[derive(Clone, Debug, Default)]
pub struct Control {
    stop: Arc<AtomicBool>,
}

impl Control {
    /// No new work from here on. Answers whether it was asked before.
    pub fn stop(&self) -> bool {
        self.stop.swap(true, Ordering::SeqCst)
    }

    fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }
}

/// What threads share.
struct Flow {
    plan: Arc<Plan>,
    job: Job,
    groups: Groups,
    sink: Sink,
    budget: Budget,
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
    readers_left: AtomicUsize,
    guest_counts: Mutex<std::collections::BTreeMap<String, u64>>,
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
    let (lane, job) = match runtime.block_on(open::open(&plan, progress)) {
        Ok(Opening::Open(opened)) => *opened,
        Ok(Opening::Finished { known_rows, failed_rows }) => {
            let mut summary = progress.summary(outcome_of_finished(failed_rows), &job_name, None, started.elapsed());
            (summary.rows_known, summary.rows_failed_in_all) = (known_rows, failed_rows);
            return (summary, None);
        }
        Err(error) => {
            let summary = progress.summary(outcome_of_error(&error), &job_name, None, started.elapsed());
            return (summary, Some(error));
        }
    };
    let token = lane.token().to_string();
    let job_name = job.name.clone();
    let failed_before = job.failed_before;
    let (flow, complete, threads) = start(&plan, job, &lane, control, progress, &runtime);
    let ended = runtime.block_on(flow.commit_loop(lane, complete, started, &mut report));
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
    report(progress);
    let mut summary = progress.summary(outcome, &job_name, Some(&token), started.elapsed());
    summary.rows_failed_in_all += failed_before;
    summary.guest_counts = lock(&flow.guest_counts).clone();
    if flow.is_dead() {
        // Threads that are still inside a function or a request may use it until the process ends.
        std::mem::forget(runtime);
    }
    (summary, error)
}

fn outcome_of_finished(failed_rows: u64) -> Outcome {
    if failed_rows == 0 { Outcome::Finished } else { Outcome::FinishedWithFailedRows }
}

/// Whoever opened the lane after this run removes what this run has not committed, so a store that cannot find a file may
/// be nothing but that.
async fn cause(lane: &Lane, error: RunError) -> RunError {
    match lane.is_last().await {
        Ok(false) => CommitError::Fenced { lane: lane.number(), number: lane.opened() + 1 }.into(),
        _ => error,
    }
}

fn outcome_of_error(error: &RunError) -> Outcome {
    match error {
        RunError::Commit(CommitError::Fenced { .. }) => Outcome::Fenced,
        _ => Outcome::Failed,
    }
}

/// The engine and its clock, without which time limits do not hold. Binding while a plan is made needs both, too. The
/// clock stops when nobody holds the engine any more.
pub fn engine(cache: &std::path::Path) -> Result<Arc<udf::Engine>, udf::UdfError> {
    let engine = Arc::new(udf::Engine::new(Some(cache.into()))?);
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
    lane: &Lane,
    control: &Control,
    progress: &Arc<Progress>,
    runtime: &tokio::runtime::Runtime,
) -> (Arc<Flow>, UnboundedReceiver<Arc<InFlight>>, Vec<JoinHandle<()>>) {
    let run = plan.run;
    let (complete_sender, complete) = tokio::sync::mpsc::unbounded_channel();
    let (block_sender, blocks) = crossbeam_channel::bounded::<Emitted>(run.workers * QUEUED_PER_WORKER);
    let handle = runtime.handle().clone();
    let flow = Arc::new(Flow {
        groups: Groups::new(plan.group, run.readers, complete_sender),
        sink: Sink::new(plan.sink.clone(), &job.name, 0, lane.token(), handle.clone()),
        budget: Budget::new(run.memory_bytes_max),
        work: WorkList::new(&job),
        control: control.clone(),
        progress: Arc::clone(progress),
        runtime: handle,
        error: Mutex::new(None),
        is_ending: AtomicBool::new(false),
        is_dead: AtomicBool::new(false),
        readers_left: AtomicUsize::new(run.readers),
        guest_counts: Mutex::default(),
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
    (flow, complete, threads)
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
            self.die(RunError::Failed(format!("wasmpipe broke: {what}\nhint: nothing is lost; please report this")));
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

    /// Takes complete groups, makes their files durable some at a time, and appends segments one at a time.
    async fn commit_loop(
        &self,
        mut lane: Lane,
        mut complete: UnboundedReceiver<Arc<InFlight>>,
        started: Instant,
        report: &mut impl FnMut(&Progress),
    ) -> Result<Outcome, RunError> {
        let mut beat = tokio::time::interval(BEAT);
        let mut durable = FuturesUnordered::new();
        let mut sent_all = false;
        let mut drain_until = None;
        while !(sent_all && durable.is_empty()) {
            tokio::select! {
                group = complete.recv(), if !sent_all && durable.len() < GROUPS_DURABLE_AT_ONCE => match group {
                    Some(group) => durable.push(make_durable(group)),
                    None => sent_all = true,
                },
                Some(result) = durable.next(), if !durable.is_empty() => {
                    let committed = match result {
                        Ok((group, receipt)) => self.commit(&mut lane, group, receipt).await,
                        Err(error) => Err(error.into()),
                    };
                    if let Err(error) = committed {
                        return Err(self.abandon(&lane, error, durable, complete).await);
                    }
                    self.groups.committed();
                }
                _ = beat.tick() => {
                    self.groups.close_if_old();
                    report(&self.progress);
                    if self.is_dead() {
                        let error = self.take_error().expect("what died said why");
                        return Err(self.abandon(&lane, error, durable, complete).await);
                    }
                    if self.control.is_stopped() {
                        self.work.end();
                        let until = *drain_until.get_or_insert(Instant::now() + self.plan.run.drain);
                        if Instant::now() > until {
                            self.is_dead.store(true, Ordering::SeqCst);
                            break;
                        }
                    }
                }
            }
        }
        self.close(lane, started).await
    }

    async fn commit(&self, lane: &mut Lane, group: Group, receipt: Receipt) -> Result<(), RunError> {
        let start = Instant::now();
        let counts = group.counts;
        let covered: u64 = group.objects.values().map(|object| object.coverage.len()).sum();
        let bytes = receipt.files.iter().map(|file| file.bytes).sum();
        let files = receipt.files.iter().map(|file| Path::from(file.path.as_str())).collect::<Vec<_>>();
        if let Err(error) = lane.commit(group, receipt).await {
            if matches!(error, CommitError::Fenced { .. }) {
                self.remove(files).await;
            }
            return Err(error.into());
        }
        let progress = &self.progress;
        add(&progress.rows_dropped, counts.rows_dropped);
        add(&progress.rows_failed, counts.rows_failed);
        add(&progress.rows_known, counts.rows_known);
        add(&progress.rows_written, counts.rows_written);
        add(&progress.rows_committed, covered);
        add(&progress.bytes_written, bytes);
        add(&progress.commits, 1);
        add_time(&progress.times.commit, start);
        tracing::info!(rows = covered, "committed a group");
        Ok(())
    }

    /// After a commit failed. If this run was fenced, files that are complete but for which no segment was ever sent are
    /// removed; everything else is left to the next run, which knows what counts.
    async fn abandon<F>(
        &self,
        lane: &Lane,
        error: RunError,
        mut durable: FuturesUnordered<F>,
        mut complete: UnboundedReceiver<Arc<InFlight>>,
    ) -> RunError
    where
        F: Future<Output = Result<(Group, Receipt), SinkError>>,
    {
        self.is_dead.store(true, Ordering::SeqCst);
        self.is_ending.store(true, Ordering::SeqCst);
        self.work.end();
        let error = cause(lane, error).await;
        if matches!(error, RunError::Commit(CommitError::Fenced { .. })) {
            while let Some(result) = durable.next().await {
                if let Ok((_, receipt)) = result {
                    self.remove(receipt.files.iter().map(|file| Path::from(file.path.as_str())).collect()).await;
                }
            }
            complete.close();
        }
        error
    }

    async fn remove(&self, files: Vec<Path>) {
        for file in files {
            if let Err(error) = self.plan.sink.store.objects().delete(&file).await {
                tracing::warn!(%file, %error, "left for the next run to remove");
            }
        }
    }

    /// Leaves the lane in order: the manifest if all is done, the summary, then `close`.
    async fn close(&self, mut lane: Lane, started: Instant) -> Result<Outcome, RunError> {
        // Everything was emitted and committed even so, if the request to stop came late enough.
        let stopped = self.is_dead() || (self.control.is_stopped() && !self.work.is_finished());
        let failed = lock(&self.error).is_some();
        let (how, outcome) = match (failed, stopped) {
            (true, _) => (Close::Failed, Outcome::Failed),
            (_, true) => (Close::Stopped, Outcome::Interrupted),
            _ => (Close::Finished, self.finish(&mut lane).await?),
        };
        let mut summary = self.progress.summary(outcome, &self.job.name, Some(lane.token()), started.elapsed());
        summary.rows_failed_in_all += self.job.failed_before;
        summary.guest_counts = lock(&self.guest_counts).clone();
        open::write_summary(&self.plan, &summary).await?;
        lane.close(how).await?;
        Ok(outcome)
    }

    async fn finish(&self, lane: &mut Lane) -> Result<Outcome, RunError> {
        if !self.job.has_output && crate::observe::get(&self.progress.rows_written) == 0 {
            let receipt = open::schema_file(&self.sink).await?;
            self.commit(lane, Group::new(self.groups.next_number()), receipt).await?;
        }
        open::write_manifest(&self.plan, &self.job).await?;
        let failed = self.job.failed_before + crate::observe::get(&self.progress.rows_failed);
        Ok(outcome_of_finished(failed))
    }
}

/// Closing a file encodes its last row group, so it happens on a thread that may be kept busy.
async fn make_durable(group: Arc<InFlight>) -> Result<(Group, Receipt), SinkError> {
    let closed = tokio::task::spawn_blocking(move || group.close()).await;
    let (group, files) = closed.expect("closing a group does not panic")?;
    let mut receipt = Receipt::default();
    for file in files {
        receipt.files.push(file.complete().await?);
    }
    Ok((group, receipt))
}

/// A panic under a lock ends the run; what it left is not used.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
