//! The commit loop: makes the files of complete groups durable, appends segments one at a time, gives up lanes that other
//! runs have taken, and leaves the others in order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use object_store::ObjectStoreExt;
use object_store::path::Path;
use tokio::sync::mpsc::UnboundedReceiver;

use super::covered::Lanes;
use super::groups::{Closed, Ended, InFlight};
use super::marks::{Marks, Through};
use super::open::Logs;
use super::{Flow, RunError, finish, lock, outcome_of_finished, record};
use crate::commit::{Close, CommitError, Group, Lane, LaneLog};
use crate::message::Message;
use crate::observe::{Outcome, Progress, add, add_time, get};
use crate::sink::{ClosedFile, Layout, OutputKind, SinkFile};
use crate::store::{Store, location};

/// Groups whose files are being made durable at once.
const GROUPS_DURABLE_AT_ONCE: usize = 4;
/// Files of one group that are: there may be one for each of many small objects.
const FILES_DURABLE_AT_ONCE: usize = 8;
/// Lanes that are closed at once.
const LANES_CLOSED_AT_ONCE: usize = 16;
/// How often the commit loop looks at clocks and reports progress.
const BEAT: Duration = Duration::from_millis(100);

impl Flow {
    /// Takes complete groups, makes their files durable some at a time, and appends segments one at a time.
    pub(super) async fn commit_loop(
        &self,
        mut held: Held,
        mut ended: UnboundedReceiver<Ended>,
        (run, started): (&str, Instant),
        report: &mut impl FnMut(&Progress),
    ) -> Result<Outcome, RunError> {
        let mut beat = tokio::time::interval(BEAT);
        let mut durable = FuturesUnordered::new();
        let mut sent_all = false;
        let mut drain_until = None;
        while !(sent_all && durable.is_empty()) {
            tokio::select! {
                group = ended.recv(), if !sent_all && durable.len() < GROUPS_DURABLE_AT_ONCE => match group {
                    Some(Ended::Complete(group)) => durable.push(make_durable(group, &self.plan.checkpoint)),
                    Some(Ended::Broken { lane, error }) => {
                        if let Err(error) = self.lose_lane(&mut held, lane, error.into()).await {
                            return Err(self.abandon(error, durable, ended).await);
                        }
                    }
                    None => sent_all = true,
                },
                Some((lane, result)) = durable.next(), if !durable.is_empty() => {
                    let committed = match result {
                        Ok(group) => self.commit(&mut held, lane, group).await,
                        Err((error, files)) => Err(self.leave(&held, lane, error, files).await),
                    };
                    if let Err(error) = committed
                        && let Err(error) = self.lose_lane(&mut held, lane, error).await
                    {
                        return Err(self.abandon(error, durable, ended).await);
                    }
                    self.groups.committed();
                }
                _ = beat.tick() => {
                    self.groups.close_if_old();
                    report(&self.progress);
                    if self.is_dead() {
                        let error = self.take_error().expect("what died said why");
                        let error = held.cause(error).await;
                        return Err(self.abandon(error, durable, ended).await);
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

    async fn commit(&self, held: &mut Held, lane: u32, group: Group) -> Result<(), RunError> {
        let start = Instant::now();
        let files = paths(&group.files);
        let has_output = group.files.iter().any(|file| file.kind == OutputKind::Results);
        let Some(log) = held.lanes.get_mut(&lane) else {
            self.remove(files).await;
            return Ok(());
        };
        let counts = group.counts;
        let marks = self.job.marks.as_ref().map(|marks| (marks, Marks::committing(&group)));
        let covered: u64 = group.objects.values().map(|object| object.coverage.rows()).sum();
        let bytes = group.files.iter().map(|file| file.bytes).sum();
        let number = match log.commit(group).await {
            Ok(number) => number,
            Err(error) => return Err(self.leave(held, lane, error.into(), files).await),
        };
        if let Some((marks, group)) = marks {
            let through = lock(marks).committed(&self.job.root, lane, number, &group);
            self.mark(through).await;
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
            let compacted = log.compact(&self.job.root, LaneLog::default()).await?;
            held.known.remove(&lane);
            tracing::info!(lane, entries = compacted.entries, "compacted");
        }
        add_time(&progress.times.commit, start);
        Ok(())
    }

    /// A mark that cannot be left now is left before the lanes are.
    async fn mark(&self, through: Through) {
        if !through.is_empty()
            && let Err(error) = through.leave(&self.plan).await
        {
            tracing::warn!(error = %Message::brief(&error).line(), "an object is through, and could not be marked");
        }
    }

    /// After something failed in a lane. If another run has opened it, this one gives it up and goes on with the others;
    /// any other error, or the loss of the last lane, ends the run.
    async fn lose_lane(&self, held: &mut Held, lane: u32, error: RunError) -> Result<(), RunError> {
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
        tracing::warn!("{fenced}");
        held.lost.get_or_insert((lost, number));
        Ok(())
    }

    /// After a commit failed. If this run was fenced, files that are complete but for which no segment was ever sent are
    /// removed; everything else is left to the next run, which knows what counts.
    async fn abandon<F>(
        &self,
        error: RunError,
        mut durable: FuturesUnordered<F>,
        mut ended: UnboundedReceiver<Ended>,
    ) -> RunError
    where
        F: Future<Output = (u32, Durable)>,
    {
        self.is_dead.store(true, Ordering::SeqCst);
        self.is_ending.store(true, Ordering::SeqCst);
        self.work.end();
        if matches!(error, RunError::Commit(CommitError::Fenced { .. })) {
            while let Some((_, result)) = durable.next().await {
                let files = match result {
                    Ok(group) => paths(&group.files),
                    Err((_, files)) => files,
                };
                self.remove(files).await;
            }
            ended.close();
        }
        error
    }

    /// A group will not be committed. If another run has the lane, nothing can make these files count any more, and they are
    /// removed; else the next run finds out.
    async fn leave(&self, held: &Held, lane: u32, error: RunError, files: Vec<Path>) -> RunError {
        let is_lost = !held.lanes.contains_key(&lane);
        let error = held.cause_in(lane, error).await;
        if is_lost || matches!(error, RunError::Commit(CommitError::Fenced { .. })) {
            self.remove(files).await;
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
        record::write_summary(&self.plan, &self.summary(outcome, run, started)).await?;
        let closes: Vec<_> = held.lanes.into_values().map(|lane| lane.close(how)).collect();
        let closes = futures::stream::iter(closes).buffer_unordered(LANES_CLOSED_AT_ONCE);
        let closed: Vec<Result<(), CommitError>> = closes.collect().await;
        // Whoever closes the last lane completes the job, even if it has lost another one.
        if how == Close::Finished {
            *lock(&self.complete) = finish::complete_job(&self.plan, self.job.claim, read).await?;
        }
        closed.into_iter().collect::<Result<(), _>>()?;
        match lost {
            Some((lane, number)) => Err(CommitError::Fenced { lane, number }.into()),
            None => Ok(outcome),
        }
    }

    async fn finish(&self, held: &mut Held) -> Result<(Outcome, Lanes), RunError> {
        // Lane 0 is there in every job: if it has no output, it gets a file without rows.
        let is_flat = self.plan.sink.results().layout == Layout::Flat;
        if is_flat && held.lanes.contains_key(&0) && !self.lane(0).has_output.load(Ordering::SeqCst) {
            let files = vec![finish::schema_file(&self.lane(0).sink).await?];
            let group = Group { files, ..Group::new(self.groups.next_number()) };
            let committed = self.commit(held, 0, group).await;
            if let Err(error) = committed {
                self.lose_lane(held, 0, error).await?;
            }
        }
        let lanes: Vec<u32> = held.lanes.keys().copied().collect();
        let known = std::mem::take(&mut held.known);
        let read = match finish::refuse_unfinished(&self.plan, &self.job, &lanes, known).await {
            Ok(read) => read,
            Err(error) => return Err(held.cause(error).await),
        };
        let failed = self.job.failed_before + get(&self.progress.rows_failed);
        let dead = self.job.dead_before + get(&self.progress.rows_dead_lettered);
        Ok((outcome_of_finished(failed + dead), read))
    }
}

/// Lanes that this run holds.
pub(super) struct Held {
    lanes: BTreeMap<u32, Lane>,
    /// The first lane that another run has opened, and where.
    lost: Option<(u32, u64)>,
    /// What the lanes held when they were opened, as far as no compaction has replaced it.
    known: Logs,
}

impl Held {
    pub(super) fn new(lanes: Vec<Lane>, lost: Option<(u32, u64)>, known: Logs) -> Held {
        Held { lanes: lanes.into_iter().map(|lane| (lane.number(), lane)).collect(), lost, known }
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
            Some(lane) if matches!(lane.is_taken().await, Ok(true)) => lane.fenced().into(),
            _ => error,
        }
    }
}

/// A group whose files are durable; or why one could not be, and the sink files that are.
type Durable = Result<Group, (RunError, Vec<Path>)>;

/// Closing a file encodes its last row group, so it happens on a thread that may be kept busy.
async fn make_durable(group: Arc<InFlight>, checkpoint: &Store) -> (u32, Durable) {
    let lane = group.lane.number;
    let closed = tokio::task::spawn_blocking(move || group.close()).await;
    match closed.expect("closing a group does not panic") {
        Err(error) => (lane, Err((error, Vec::new()))),
        Ok(mut closed) => match complete(&mut closed, checkpoint).await {
            Ok(()) => (lane, Ok(closed.group)),
            Err(error) => (lane, Err((error, paths(&closed.group.files)))),
        },
    }
}

/// Sink files first, then what lies beside the log.
async fn complete(Closed { group, ids, files }: &mut Closed, checkpoint: &Store) -> Result<(), RunError> {
    let completing: Vec<_> = files.drain(..).map(ClosedFile::complete).collect();
    let mut completed = futures::stream::iter(completing).buffered(FILES_DURABLE_AT_ONCE);
    let mut failed = None;
    while let Some(file) = completed.next().await {
        match file {
            Ok(file) => group.files.push(file),
            Err(error) => drop(failed.get_or_insert(error)),
        }
    }
    if let Some(error) = failed {
        return Err(error.into());
    }
    if let Some(ids) = ids.take() {
        group.ids_file = Some(ids.write(checkpoint).await?);
    }
    Ok(())
}

fn paths(files: &[SinkFile]) -> Vec<Path> {
    files.iter().map(|file| location(&file.path)).collect()
}
