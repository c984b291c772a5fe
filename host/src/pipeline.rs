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
//! * `drift` - how the source differs from what the job has pinned.
//! * `groups` - which rows are in which group, and when a group is complete.
//! * `read` - what a reader thread does.
//! * `work` - what a worker thread does.
//! * `letters` - the dead letters of a block.
//! * `finish` - one more look at what a run calls finished; the manifest; the checkpoint's deletion.
//! * `record` - documents about a run or a job.
//! * `budget` - bytes in flight.
//! * `by_hand` - what to type after a row or a block ended a run.
//! * `trial` - one function run by hand, through the same steps.

mod asked;
mod budget;
mod by_hand;
mod covered;
mod drift;
mod finish;
mod groups;
mod letters;
mod look;
mod open;
mod read;
mod record;
mod trial;
mod work;

use std::collections::BTreeMap;
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
use crate::commit::{Close, CommitError, Group, Heartbeat, Lane, LaneLog, Writer};
use crate::filter::FilterError;
use crate::observe::{Outcome, Progress, Summary, add, add_time};
use crate::plan::Plan;
use crate::sink::{Receipt, Sink, SinkError};
use crate::source::SourceError;
use crate::udf;
use budget::Budget;
use covered::Lanes;
use groups::{Closed, Groups, InFlight, Ticket};
pub use look::check;
pub use open::begin;
use open::{Job, Logs, Opened, Opening};
use read::WorkList;
pub use trial::{Trial, Tried};

/// Blocks that wait for a worker, per worker.
const QUEUED_PER_WORKER: usize = 2;
/// Groups whose files are being made durable at once.
const GROUPS_DURABLE_AT_ONCE: usize = 4;
/// Lanes that are closed at once.
const LANES_CLOSED_AT_ONCE: usize = 16;
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
    lanes: BTreeMap<u32, Arc<LaneFlow>>,
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
    /// The whole job is finished, and no row failed.
    is_done: AtomicBool,
    readers_left: AtomicUsize,
    guest_counts: Mutex<BTreeMap<String, u64>>,
}

/// What threads share of a lane.
struct LaneFlow {
    number: u32,
    sink: Sink,
    dead_letters: Option<Sink>,
    /// Another run has opened it.
    is_lost: AtomicBool,
    /// A sink file of it counts.
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
    let Opened { lanes, job, writer, heartbeat, known } = match runtime.block_on(open::open(&plan, progress)) {
        Ok(Opening::Open(opened)) => *opened,
        Ok(Opening::Finished { known_rows, failed_rows, dead_rows }) => {
            let outcome = outcome_of_finished(failed_rows + dead_rows);
            let mut summary = progress.summary(outcome, &job_name, None, started.elapsed());
            (summary.rows_known, summary.rows_failed_in_all) = (known_rows, failed_rows);
            summary.rows_dead_lettered_in_all = dead_rows;
            return (summary, None);
        }
        Err(error) => {
            let summary = progress.summary(outcome_of_error(&error), &job_name, None, started.elapsed());
            return (summary, Some(error));
        }
    };
    let job_name = job.name.clone();
    let (failed_before, dead_before) = (job.failed_before, job.dead_before);
    let run = writer.run.clone();
    tracing::info!(lanes = lanes.len(), pieces = job.pending.len(), "the work begins");
    let beating = heartbeat.map(|heartbeat| Beating::start(&runtime, heartbeat, writer, control));
    let (flow, complete, threads) = start(&plan, job, &lanes, control, progress, &runtime);
    let ended = runtime.block_on(flow.commit_loop(Held::new(lanes, known), complete, (&run, started), &mut report));
    if let Some(beating) = beating {
        runtime.block_on(beating.end());
    }
    let ended = ended.and_then(|outcome| match outcome {
        Outcome::Finished if flow.is_done.load(Ordering::SeqCst) => {
            runtime.block_on(finish::delete_if_wanted(&plan)).map(|()| outcome)
        }
        _ => Ok(outcome),
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
    report(progress);
    let mut summary = progress.summary(outcome, &job_name, Some(&run), started.elapsed());
    summary.rows_failed_in_all += failed_before;
    summary.rows_dead_lettered_in_all += dead_before;
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
    lanes: &[Lane],
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
        lanes: lanes.iter().map(|lane| (lane.number(), lane_flow(plan, &job, lane, &handle))).collect(),
        budget: Budget::new(run.memory_bytes_max),
        work: WorkList::new(&job),
        control: control.clone(),
        progress: Arc::clone(progress),
        runtime: handle,
        error: Mutex::new(None),
        is_ending: AtomicBool::new(false),
        is_dead: AtomicBool::new(false),
        is_done: AtomicBool::new(false),
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

fn lane_flow(plan: &Plan, job: &Job, lane: &Lane, runtime: &tokio::runtime::Handle) -> Arc<LaneFlow> {
    let sink =
        |spec: &crate::sink::Spec| Sink::new(spec.clone(), &job.name, lane.number(), lane.token(), runtime.clone());
    Arc::new(LaneFlow {
        number: lane.number(),
        sink: sink(&plan.sink),
        dead_letters: plan.dead_letters.as_ref().map(sink),
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

    fn lane(&self, number: u32) -> &Arc<LaneFlow> {
        &self.lanes[&number]
    }

    /// Takes complete groups, makes their files durable some at a time, and appends segments one at a time.
    async fn commit_loop(
        &self,
        mut held: Held,
        mut complete: UnboundedReceiver<Arc<InFlight>>,
        (run, started): (&str, Instant),
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
                Some((lane, result)) = durable.next(), if !durable.is_empty() => {
                    let committed = match result {
                        Ok((group, receipt)) => self.commit(&mut held, lane, group, receipt).await,
                        Err(error) => Err(error.into()),
                    };
                    if let Err(error) = committed
                        && let Err(error) = self.lose(&mut held, lane, error).await
                    {
                        return Err(self.abandon(error, durable, complete).await);
                    }
                    self.groups.committed();
                }
                _ = beat.tick() => {
                    self.groups.close_if_old();
                    report(&self.progress);
                    if self.is_dead() {
                        let error = self.take_error().expect("what died said why");
                        let error = held.cause(error).await;
                        return Err(self.abandon(error, durable, complete).await);
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
        self.close(held, run, started).await
    }

    async fn commit(&self, held: &mut Held, lane: u32, group: Group, receipt: Receipt) -> Result<(), RunError> {
        let start = Instant::now();
        let files = receipt.all().map(|file| Path::from(file.path.as_str())).collect::<Vec<_>>();
        let has_output = !receipt.files.is_empty();
        let Some(log) = held.lanes.get_mut(&lane) else {
            self.remove(files).await;
            return Ok(());
        };
        let counts = group.counts;
        let covered: u64 = group.objects.values().map(|object| object.coverage.len()).sum();
        let bytes = receipt.all().map(|file| file.bytes).sum();
        if let Err(error) = log.commit(group, receipt).await {
            if matches!(error, CommitError::Fenced { .. }) {
                self.remove(files).await;
            }
            return Err(error.into());
        }
        if has_output {
            self.lane(lane).has_output.store(true, Ordering::SeqCst);
        }
        let progress = &self.progress;
        add(&progress.rows_dropped, counts.rows_dropped);
        add(&progress.rows_failed, counts.rows_failed);
        add(&progress.rows_dead_lettered, counts.rows_dead_lettered);
        add(&progress.rows_known, counts.rows_known);
        add(&progress.rows_written, counts.rows_written);
        add(&progress.rows_committed, covered);
        add(&progress.bytes_written, bytes);
        add(&progress.commits, 1);
        tracing::info!(rows = covered, lane, "committed a group");
        let compact = self.plan.compact_entries;
        if compact > 0 && log.entries() >= compact {
            let compacted = log.compact(LaneLog::default()).await?;
            held.known.remove(&lane);
            tracing::info!(lane, entries = compacted.entries, "compacted");
        }
        add_time(&progress.times.commit, start);
        Ok(())
    }

    /// After something failed in a lane. If another run has opened it, this one gives it up and goes on with the others;
    /// any other error, or the loss of the last lane, ends the run.
    async fn lose(&self, held: &mut Held, lane: u32, error: RunError) -> Result<(), RunError> {
        if !held.lanes.contains_key(&lane) {
            return Ok(());
        }
        let error = held.cause_in(lane, error).await;
        let RunError::Commit(CommitError::Fenced { lane: lost, number }) = error else { return Err(error) };
        held.lanes.remove(&lost);
        self.lane(lost).is_lost.store(true, Ordering::SeqCst);
        let fenced = CommitError::Fenced { lane: lost, number };
        if held.lanes.is_empty() {
            return Err(fenced.into());
        }
        tracing::warn!("{}", crate::message::parted(&fenced.to_string()).0);
        held.lost.get_or_insert((lost, number));
        Ok(())
    }

    /// After a commit failed. If this run was fenced, files that are complete but for which no segment was ever sent are
    /// removed; everything else is left to the next run, which knows what counts.
    async fn abandon<F>(
        &self,
        error: RunError,
        mut durable: FuturesUnordered<F>,
        mut complete: UnboundedReceiver<Arc<InFlight>>,
    ) -> RunError
    where
        F: Future<Output = (u32, Result<(Group, Receipt), SinkError>)>,
    {
        self.is_dead.store(true, Ordering::SeqCst);
        self.is_ending.store(true, Ordering::SeqCst);
        self.work.end();
        if matches!(error, RunError::Commit(CommitError::Fenced { .. })) {
            while let Some((_, result)) = durable.next().await {
                if let Ok((_, receipt)) = result {
                    self.remove(receipt.all().map(|file| Path::from(file.path.as_str())).collect()).await;
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

    /// Leaves the lanes in order: the summary, then `close`, then the manifest if the whole job is done.
    async fn close(&self, mut held: Held, run: &str, started: Instant) -> Result<Outcome, RunError> {
        // Everything was emitted and committed even so, if the request to stop came late enough.
        let stopped = self.is_dead() || (self.control.is_stopped() && !self.work.is_finished());
        let failed = lock(&self.error).is_some();
        let (how, outcome, read) = match (failed, stopped) {
            (true, _) => (Close::Failed, Outcome::Failed, Lanes::default()),
            (_, true) => (Close::Stopped, Outcome::Interrupted, Lanes::default()),
            _ => {
                let (outcome, read) = self.finish(&mut held).await?;
                (Close::Finished, outcome, read)
            }
        };
        let lost = held.lost;
        let outcome = if lost.is_some() { Outcome::Fenced } else { outcome };
        let mut summary = self.progress.summary(outcome, &self.job.name, Some(run), started.elapsed());
        summary.rows_failed_in_all += self.job.failed_before;
        summary.rows_dead_lettered_in_all += self.job.dead_before;
        summary.guest_counts = lock(&self.guest_counts).clone();
        record::write_summary(&self.plan, &summary).await?;
        let closes: Vec<_> = held.lanes.into_values().map(|lane| lane.close(how)).collect();
        let mut closes = futures::stream::iter(closes).buffer_unordered(LANES_CLOSED_AT_ONCE);
        while let Some(closed) = closes.next().await {
            closed?;
        }
        if let Some((lane, number)) = lost {
            return Err(CommitError::Fenced { lane, number }.into());
        }
        if how == Close::Finished {
            let is_done = finish::complete_job(&self.plan, read).await?;
            self.is_done.store(is_done, Ordering::SeqCst);
        }
        Ok(outcome)
    }

    async fn finish(&self, held: &mut Held) -> Result<(Outcome, Lanes), RunError> {
        // Lane 0 is there in every job: if it has no output, it gets a file without rows.
        if held.lanes.contains_key(&0) && !self.lane(0).has_output.load(Ordering::SeqCst) {
            let receipt = finish::schema_file(&self.lane(0).sink).await?;
            let committed = self.commit(held, 0, Group::new(self.groups.next_number()), receipt).await;
            if let Err(error) = committed {
                self.lose(held, 0, error).await?;
            }
        }
        let lanes: Vec<u32> = held.lanes.keys().copied().collect();
        let read = finish::refuse_unfinished(&self.plan, &self.job, &lanes, std::mem::take(&mut held.known)).await?;
        let failed = self.job.failed_before + crate::observe::get(&self.progress.rows_failed);
        let dead = self.job.dead_before + crate::observe::get(&self.progress.rows_dead_lettered);
        Ok((outcome_of_finished(failed + dead), read))
    }
}

/// Lanes that this run holds.
struct Held {
    lanes: BTreeMap<u32, Lane>,
    /// The first lane that another run has opened, and where.
    lost: Option<(u32, u64)>,
    /// What the lanes held when they were opened, as far as no compaction has replaced it.
    known: Logs,
}

impl Held {
    fn new(lanes: Vec<Lane>, known: Logs) -> Held {
        Held { lanes: lanes.into_iter().map(|lane| (lane.number(), lane)).collect(), lost: None, known }
    }

    /// Whoever opened a lane after this run removes what this run has not committed, so a store that cannot find a file
    /// may be nothing but that.
    async fn cause(&self, error: RunError) -> RunError {
        let mut error = error;
        for lane in self.lanes.keys() {
            error = self.cause_in(*lane, error).await;
        }
        error
    }

    /// As [`Held::cause`], of an error in one lane: what happens in others does not excuse it.
    async fn cause_in(&self, lane: u32, error: RunError) -> RunError {
        if matches!(error, RunError::Commit(CommitError::Fenced { .. })) {
            return error;
        }
        match self.lanes.get(&lane) {
            Some(lane) if matches!(lane.is_last().await, Ok(false)) => {
                CommitError::Fenced { lane: lane.number(), number: lane.next() }.into()
            }
            _ => error,
        }
    }
}

/// A task that keeps the heartbeat going, and hears requests to stop.
struct Beating {
    task: tokio::task::JoinHandle<()>,
    end: tokio::sync::oneshot::Sender<()>,
}

impl Beating {
    fn start(runtime: &tokio::runtime::Runtime, heartbeat: Heartbeat, writer: Writer, control: &Control) -> Beating {
        let (end, ended) = tokio::sync::oneshot::channel();
        let task = runtime.spawn(beat(heartbeat, writer, control.clone(), ended));
        Beating { task, end }
    }

    /// Waits until the signs of life are gone.
    async fn end(self) {
        let _ = self.end.send(());
        let _ = self.task.await;
    }
}

async fn beat(
    mut heartbeat: Heartbeat,
    writer: Writer,
    control: Control,
    mut ended: tokio::sync::oneshot::Receiver<()>,
) {
    loop {
        tokio::select! {
            _ = &mut ended => break,
            () = tokio::time::sleep(heartbeat.period()) => {}
        }
        // A heartbeat is courtesy: a store that fails here will fail where it matters.
        let _ = heartbeat.beat(&writer).await;
        if let Ok(true) = heartbeat.is_asked_to_stop().await {
            control.stop();
        }
    }
    let _ = heartbeat.end().await;
}

/// Closing a file encodes its last row group, so it happens on a thread that may be kept busy.
async fn make_durable(group: Arc<InFlight>) -> (u32, Result<(Group, Receipt), SinkError>) {
    (group.lane.number, close_and_complete(group).await)
}

async fn close_and_complete(group: Arc<InFlight>) -> Result<(Group, Receipt), SinkError> {
    let closed = tokio::task::spawn_blocking(move || group.close()).await;
    let Closed { group, files, dead_letters } = closed.expect("closing a group does not panic")?;
    let mut receipt = Receipt::default();
    for file in files {
        receipt.files.push(file.complete().await?);
    }
    for file in dead_letters {
        receipt.dead_letters.push(file.complete().await?);
    }
    Ok((group, receipt))
}

/// A panic under a lock ends the run; what it left is not used.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
