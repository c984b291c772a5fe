//! Whose a sink is. Before a job writes into its sink it claims it: it appends to the create-only log `_wasmpipe/claim/` there.
//! Of jobs that begin at once one is first, and the others read its claim before they have written anything.
//!
//! ```text
//! _wasmpipe/claim/0000000000   {"entry": "claim", "job": ..., "checkpoint": ..., "host": ..., ...}
//! _wasmpipe/claim/0000000001   {"entry": "machine", "job": ..., "run": ..., "host": ..., ...}
//! _wasmpipe/claim/0000000002   {"entry": "left", "job": ..., "run": ...}
//! _wasmpipe/claim/0000000003   {"entry": "release", "job": ...}
//! ```
//!
//! A claim is made by a job that has its genesis already, so a starter that dies before its claim leaves nothing in the sink,
//! and one that dies after it leaves a job with which its own checkpoint goes on. Entries are never removed: a number that is
//! used twice could be taken away from its second owner by a request of the first that lands late.

use std::collections::BTreeSet;

use futures::{StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};

use super::CommitError;
use super::document::{FORMAT, Unreadable, decode_document, seal};
use super::entry::number_name;
use super::lane::{Writer, mount_namespace, now_ms};
use super::liveness::has_left_its_lock;
use super::log::{Put, create, number_of, probe};
use super::recover::{other_jobs, remove_staged};
use super::replay::LaneState;
use crate::store::Store;

/// Where claims lie, below the sink.
const FOLDER: &str = "_wasmpipe/claim";
/// Claims read at a time.
const READS_MAX: usize = 32;
/// Attempts to read the claims without a hole.
const READ_ATTEMPTS: u32 = 4;
/// Times that the claims are read anew because somebody else was faster.
const ATTEMPTS: usize = 100;

/// `_wasmpipe/claim/<number>`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "entry", rename_all = "kebab-case", deny_unknown_fields)]
enum Entry {
    /// A job is about to write here.
    Claim(Claim),
    /// A job has written nothing, and never will: all of its claims are void.
    Release {
        /// Format of this document.
        format: u32,
        /// The job.
        job: String,
    },
    /// A run has opened lanes of a job, on another machine than the run before it.
    Machine(Machine),
    /// Such a run was refused, and has written and removed nothing.
    Left {
        /// Format of this document.
        format: u32,
        /// The job.
        job: String,
        /// The run.
        run: String,
    },
}

/// A run that is not where the run before it was: its checkpoint is shared, or lies on a disk that was moved; or it is a copy.
/// Only a copy's log knows runs that the log of this one does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Machine {
    /// Format of this document.
    format: u32,
    /// The job's random name.
    job: String,
    /// The run's, which has opened lanes.
    run: String,
    /// As in a claim.
    host: String,
    /// As in a claim.
    boot: String,
    /// As in a claim.
    mounts: String,
}

/// A job is about to write into the sink.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Claim {
    /// Format of this document.
    format: u32,
    /// The job's random name.
    job: String,
    /// URL of its checkpoint; none if it has none.
    checkpoint: Option<String>,
    /// Who can see that checkpoint under this URL: the machine, of a local one or none; the server, of a bucket elsewhere than
    /// at AWS.
    host: String,
    /// The machine's boot, as Linux names it; empty if it does not, and of a bucket.
    boot: String,
    /// The mount namespace, as Linux names it: two containers that share a host name have two folders under one path. Empty if
    /// it does not, and of a bucket.
    mounts: String,
    /// Whether the job takes others beside it.
    shared: bool,
    /// Milliseconds since 1970, for people.
    claimed_ms: u64,
}

/// A job that wants to write into a sink.
#[derive(Clone, Debug)]
pub struct Claimant {
    /// Its random name; empty if it is yet to begin.
    pub job: String,
    /// Where its log lies.
    pub place: Place,
    /// Whether it takes others beside it.
    pub shared: bool,
    /// Whether a person says that the job has moved here.
    pub is_moved: bool,
}

/// Where the log of a job lies, as far as that can be told from elsewhere.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// A URL; none if the log is in the memory of a process.
    checkpoint: Option<String>,
    host: String,
    boot: String,
    mounts: String,
}

impl Place {
    /// Of a checkpoint that this process uses.
    pub fn of(checkpoint: &Store) -> Place {
        let url = || Some(checkpoint.url().to_owned());
        if let Some(server) = checkpoint.server() {
            return Place { checkpoint: url(), host: server.into(), boot: String::new(), mounts: String::new() };
        }
        let Writer { host, boot, .. } = Writer::new();
        Place { checkpoint: checkpoint.local_root().and_then(|_| url()), host, boot, mounts: mount_namespace() }
    }

    #[cfg(test)]
    pub(super) fn at(checkpoint: &str, [host, boot, mounts]: [&str; 3]) -> Place {
        Place { checkpoint: Some(checkpoint.into()), host: host.into(), boot: boot.into(), mounts: mounts.into() }
    }
}

impl Claim {
    fn is_at(&self, place: &Place) -> bool {
        let Place { checkpoint, host, boot, mounts } = place;
        (&self.checkpoint, &self.host, &self.boot, &self.mounts) == (checkpoint, host, boot, mounts)
    }
}

impl Machine {
    fn is_at(&self, place: &Place) -> bool {
        (&self.host, &self.boot, &self.mounts) == (&place.host, &place.boot, &place.mounts)
    }
}

/// A claim that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    number: u64,
    claim: Claim,
    /// Nothing of it is in the sink, and nobody will write under it any more.
    is_void: bool,
}

/// What the claims say to a job.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Verdict {
    /// The sink is the job's by this claim.
    Held(u64),
    /// It may claim the sink.
    Free,
    /// Another job has it.
    Taken(Found),
    /// The job itself has gone on from another checkpoint.
    Moved(Found),
}

/// Judges by all claims, in order. What lies below the job's own claim was judged when that was made: whatever came later
/// has seen it. `seen` is the first number that the job had not seen when it began to judge.
fn judge(found: &[Found], me: &Claimant, seen: u64) -> Verdict {
    let own = found.iter().rfind(|found| found.claim.job == me.job && !found.is_void);
    let is_other = |found: &&Found| found.claim.job != me.job && !found.is_void;
    let mut above = found.iter().filter(|found| own.is_none_or(|own| found.number > own.number)).filter(is_other);
    // A job that takes others beside it comes beside anything. Whoever came beside this one did it no harm that the files
    // in the sink would not show; only who could take this one's claim for void has come in its place.
    let in_the_way = match own {
        None if me.shared => None,
        None => above.next_back(),
        Some(_) => above.rfind(|found| !found.claim.shared),
    };
    match (in_the_way, own) {
        (Some(other), _) => Verdict::Taken(other.clone()),
        (None, None) => Verdict::Free,
        (None, Some(own)) if own.claim.checkpoint == me.place.checkpoint => Verdict::Held(own.number),
        (None, Some(own)) if me.is_moved && own.number < seen => Verdict::Free,
        (None, Some(own)) => Verdict::Moved(own.clone()),
    }
}

/// What the log of claims says.
struct Claims {
    /// In order.
    found: Vec<Found>,
    /// Where the job has been at work since its last claim, in order.
    machines: Vec<(u64, Machine)>,
    /// The first number that is free.
    next: u64,
}

/// How a job that is not refused stands to a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stand {
    /// Whether it has claimed it.
    pub standing: Standing,
    machines: Vec<(u64, Machine)>,
}

/// Whether a job has claimed a sink.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// The sink is its by this claim.
    Held(u64),
    /// It may claim the sink. Claims below this number were seen.
    Free(u64),
}

/// How a job stands to the sink; refuses one that could not claim it. Writes nothing.
pub async fn standing(sink: &Store, me: &Claimant) -> Result<Stand, CommitError> {
    let Claims { found, machines, next } = read(sink, me).await?;
    match judge(&found, me, next) {
        Verdict::Held(number) => Ok(Stand { standing: Standing::Held(number), machines }),
        Verdict::Free => Ok(Stand { standing: Standing::Free(next), machines: Vec::new() }),
        refused => Err(refusal(sink, refused).await?),
    }
}

/// Whether a job that is yet to begin could claim the sink, once these are gone.
pub async fn refuse_taken(sink: &Store, me: &Claimant, gone: &[&str]) -> Result<(), CommitError> {
    let Claims { mut found, next, .. } = read(sink, me).await?;
    found.retain(|found| !gone.contains(&found.claim.job.as_str()));
    match judge(&found, me, next) {
        Verdict::Held(_) | Verdict::Free => Ok(()),
        refused => Err(refusal(sink, refused).await?),
    }
}

impl Stand {
    /// Refuses a log beside which a copy of it is at work, or was, under the same path: a run has opened lanes that are not
    /// these. `lanes` are all of the job's.
    pub fn refuse_beside_copy<'a>(&self, lanes: impl Iterator<Item = &'a LaneState>) -> Result<(), CommitError> {
        refuse_unknown_run(&self.machines, lanes)
    }
}

/// The claim under which a run works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Claimed {
    /// Its number.
    pub number: u64,
    /// Whether the last run was on another machine.
    pub is_elsewhere: bool,
}

/// Whether another job has the sink and always will, as far as this one is concerned: its log lies in a checkpoint that is not
/// this job's. One without a checkpoint may die and be found dead.
pub async fn is_taken_for_good(sink: &Store, me: &Claimant) -> Result<bool, CommitError> {
    let verdict = judge(&read(sink, me).await?.found, me, u64::MAX);
    Ok(matches!(verdict, Verdict::Taken(found) if found.claim.checkpoint.is_some()))
}

/// Makes the sink the job's that stands to it like this, and gives the number of its claim. The job must have its genesis.
pub async fn claim(sink: &Store, me: &Claimant, standing: Standing) -> Result<Claimed, CommitError> {
    // What it held when it looked, another may have claimed since.
    let seen = match standing {
        Standing::Held(number) => number,
        Standing::Free(seen) => seen,
    };
    for _ in 0..ATTEMPTS {
        let Claims { found, machines, next } = read(sink, me).await?;
        match judge(&found, me, seen) {
            Verdict::Held(number) => {
                let claim = found.iter().find(|found| found.number == number).map(|found| &found.claim);
                let last = machines.last().map(|(_, machine)| machine.is_at(&me.place));
                let is_here = last.or(claim.map(|claim| claim.is_at(&me.place)));
                return Ok(Claimed { number, is_elsewhere: is_here == Some(false) });
            }
            Verdict::Free => {}
            refused => return Err(refusal(sink, refused).await?),
        }
        match append(sink, next, &Entry::Claim(me.claim())).await {
            Ok(true) => return Ok(Claimed { number: next, is_elsewhere: false }),
            Ok(false) => {}
            Err(error) => return Err(take_back(sink, me, next, error).await),
        }
    }
    Err(too_busy(sink))
}

/// Where claims mean nothing, none stays behind that the next run would hold by.
async fn take_back(sink: &Store, me: &Claimant, number: u64, error: CommitError) -> CommitError {
    if matches!(error, CommitError::Refused(_)) {
        let release = Entry::Release { format: FORMAT, job: me.job.clone() };
        let _ = create(sink, &name(number + 1), &seal(&release)).await;
    }
    error
}

/// Removes what dead starters have staged of claims whose numbers are taken.
pub async fn sweep_claims(sink: &Store, last: u64) -> Result<(), CommitError> {
    let folder = format!("{FOLDER}/");
    let is_taken = |name: &str| name[folder.len()..].parse::<u64>().is_ok_and(|number| number <= last);
    remove_staged(sink, &folder, is_taken).await.map(drop)
}

impl Claimant {
    fn claim(&self) -> Claim {
        let Place { checkpoint, host, boot, mounts } = self.place.clone();
        let (job, shared) = (self.job.clone(), self.shared);
        Claim { format: FORMAT, job, checkpoint, host, boot, mounts, shared, claimed_ms: now_ms() }
    }
}

/// Says that a job has ended without output. Only of a job that nobody can go on with.
pub async fn release(sink: &Store, me: &Claimant) -> Result<(), CommitError> {
    for _ in 0..ATTEMPTS {
        let Claims { found, next, .. } = read(sink, me).await?;
        if !found.iter().any(|found| found.claim.job == me.job && !found.is_void) || has_output(sink, &me.job).await? {
            return Ok(());
        }
        let release = Entry::Release { format: FORMAT, job: me.job.clone() };
        if append(sink, next, &release).await? {
            return Ok(());
        }
    }
    Err(too_busy(sink))
}

/// The number of the last claim of a job, or none if it never claimed the sink.
pub(super) async fn last_claim(sink: &Store, job: &str) -> Result<Option<u64>, CommitError> {
    Ok(last_of(read_from(sink, 0).await?, job).map(|(number, _)| number))
}

/// Where a job lives that has claimed the sink, for people: `its checkpoint is ...`.
pub async fn whose(sink: &Store, job: &str) -> Result<Option<String>, CommitError> {
    Ok(last_of(read_from(sink, 0).await?, job).map(|(_, claim)| claim.whose()))
}

/// Refuses what a run would do in the sink under a claim which is not the job's last one any more, or beside a copy that is
/// at work. `lanes` are all of the job's, but perhaps without what the run itself has opened. A claim that a person has
/// removed is the next one's to make.
pub async fn refuse_if_gone_on<'a>(
    sink: &Store,
    job: &str,
    (number, run): (u64, &str),
    lanes: impl Iterator<Item = &'a LaneState>,
) -> Result<(), CommitError> {
    let entries = read_from(sink, number).await?;
    let is_there = matches!(entries.first(), Some((at, Entry::Claim(claim))) if *at == number && claim.job == job);
    if !is_there {
        let name = name(number);
        return Err(CommitError::refused(
            format!("{name}, by which the sink {} was this job's, is not there any more", sink.url()),
            "run the same command again, which claims it anew",
        ));
    }
    let mut machines = machines_of(&entries, job);
    machines.retain(|(_, machine)| machine.run != run);
    match last_of(entries, job) {
        Some((last, claim)) if last != number => Err(CommitError::refused(
            format!("the job was moved while this run was at work: {}", claim.whose()),
            "this checkpoint and the other say different things now; go on with the other, or say with --relocate \
             that the job lives here",
        )),
        _ => refuse_unknown_run(&machines, lanes),
    }
}

/// Where a job lives that has claimed the sink last from another checkpoint than this, for people.
pub async fn gone_on_to(sink: &Store, job: &str, place: &Place) -> Result<Option<String>, CommitError> {
    Ok(elsewhere(read_from(sink, 0).await?, job, place))
}

fn elsewhere(entries: Vec<(u64, Entry)>, job: &str, place: &Place) -> Option<String> {
    let (_, claim) = last_of(entries, job)?;
    (claim.checkpoint.is_some() && claim.checkpoint != place.checkpoint).then(|| claim.whose())
}

/// As [`gone_on_to`], of what was claimed at this number or after it; and the number after the last.
pub async fn gone_on_since(sink: &Store, me: &Claimant, first: u64) -> Result<(Option<String>, u64), CommitError> {
    let entries = read_from(sink, first).await?;
    let next = entries.last().map_or(first, |(number, _)| number + 1);
    Ok((elsewhere(entries, &me.job, &me.place), next))
}

/// Whether a job's last claim names this checkpoint.
pub async fn is_place_of(sink: &Store, job: &str, place: &Place) -> Result<bool, CommitError> {
    let last = last_of(read_from(sink, 0).await?, job);
    Ok(last.is_some_and(|(_, claim)| claim.checkpoint.is_some() && claim.checkpoint == place.checkpoint))
}

/// The same, and not another folder under the same path: on this machine, since it was started, as this process sees it.
pub(super) async fn is_surely_place_of(sink: &Store, job: &str, place: &Place) -> Result<bool, CommitError> {
    let last = last_of(read_from(sink, 0).await?, job);
    Ok(last.is_some_and(|(_, claim)| claim.checkpoint.is_some() && claim.is_at(place)))
}

/// The job that claimed the sink last of those with this checkpoint.
pub(super) async fn job_of(sink: &Store, place: &Place) -> Result<Option<String>, CommitError> {
    let entries = read_from(sink, 0).await?;
    let mut jobs = entries.into_iter().filter_map(|(_, entry)| match entry {
        Entry::Claim(claim) if claim.checkpoint.is_some() && claim.checkpoint == place.checkpoint => Some(claim.job),
        _ => None,
    });
    Ok(jobs.next_back())
}

/// Says that a run has opened lanes of its job, on another machine than the run before it.
pub async fn note_machine(sink: &Store, me: &Claimant, run: &str) -> Result<(), CommitError> {
    let Place { host, boot, mounts, .. } = me.place.clone();
    add(sink, &Entry::Machine(Machine { format: FORMAT, job: me.job.clone(), run: run.into(), host, boot, mounts }))
        .await
}

/// Says that such a run was refused, and has written and removed nothing.
pub async fn note_left(sink: &Store, me: &Claimant, run: &str) -> Result<(), CommitError> {
    leave(sink, &me.job, run).await
}

async fn leave(sink: &Store, job: &str, run: &str) -> Result<(), CommitError> {
    add(sink, &Entry::Left { format: FORMAT, job: job.into(), run: run.into() }).await
}

/// Says that runs have left which the log does not know any more, because `entries` of it could not be read and were given up.
/// Where there are more such runs than entries, some of them were never in it: it is a copy, and nothing is said.
pub(super) async fn note_given_up(
    sink: &Store,
    job: &str,
    lanes: &[LaneState],
    entries: usize,
) -> Result<(), CommitError> {
    let machines = machines_of(&read_from(sink, 0).await?, job);
    let runs: BTreeSet<&str> = unknown_runs(&machines, lanes.iter()).map(|(_, machine)| machine.run.as_str()).collect();
    if runs.len() <= entries {
        for run in runs {
            leave(sink, job, run).await?;
        }
    }
    Ok(())
}

async fn add(sink: &Store, entry: &Entry) -> Result<(), CommitError> {
    for _ in 0..ATTEMPTS {
        let next = numbers(sink).await?.last().map_or(0, |number| number + 1);
        if append(sink, next, entry).await? {
            return Ok(());
        }
    }
    Err(too_busy(sink))
}

/// Where a job has been at work since its last claim: before that, a person has said which copy counts.
fn machines_of(entries: &[(u64, Entry)], job: &str) -> Vec<(u64, Machine)> {
    let mut machines = Vec::new();
    for (number, entry) in entries {
        match entry {
            Entry::Claim(claim) if claim.job == job => machines.clear(),
            Entry::Machine(machine) if machine.job == job => machines.push((*number, machine.clone())),
            Entry::Left { job: of, run, .. } if of == job => machines.retain(|(_, machine)| machine.run != *run),
            _ => {}
        }
    }
    machines
}

/// Where the job has been at work by runs of which no lane knows.
fn unknown_runs<'a, 'b>(
    machines: &'a [(u64, Machine)],
    lanes: impl Iterator<Item = &'b LaneState>,
) -> impl Iterator<Item = &'a (u64, Machine)> {
    let opens = lanes.flat_map(|lane| lane.opens.values());
    let known: BTreeSet<&str> = opens.map(|open| open.run.as_str()).collect();
    machines.iter().filter(move |(_, machine)| !known.contains(machine.run.as_str()))
}

fn refuse_unknown_run<'a>(
    machines: &[(u64, Machine)],
    lanes: impl Iterator<Item = &'a LaneState>,
) -> Result<(), CommitError> {
    let Some((number, Machine { run, host, .. })) = unknown_runs(machines, lanes).next() else { return Ok(()) };
    Err(CommitError::refused(
        format!(
            "the checkpoint's log does not know run {run}, which has worked on this job on {host}: that was with \
             a copy of the checkpoint, or this one is the copy, or an older one"
        ),
        format!(
            "go on with the other; or, if that is lost, begin a new job with another checkpoint and sink; if no \
             other was ever at work, remove {} from the sink",
            name(*number)
        ),
    ))
}

fn last_of(entries: Vec<(u64, Entry)>, job: &str) -> Option<(u64, Claim)> {
    let mut claims = entries.into_iter().filter_map(|(number, entry)| match entry {
        Entry::Claim(claim) if claim.job == job => Some((number, claim)),
        _ => None,
    });
    claims.next_back()
}

impl Claim {
    /// For people.
    fn whose(&self) -> String {
        let is_here = self.host == Writer::new().host;
        let host = if is_here { "this machine" } else { &self.host };
        match &self.checkpoint {
            Some(checkpoint) if self.host.is_empty() => format!("its checkpoint is {checkpoint}"),
            Some(checkpoint) => format!("its checkpoint is {checkpoint} on {host}"),
            None => format!("it has no checkpoint, and began on {host}"),
        }
    }
}

fn name(number: u64) -> String {
    format!("{FOLDER}/{}", number_name(number))
}

async fn append(sink: &Store, number: u64, entry: &Entry) -> Result<bool, CommitError> {
    let (name, bytes) = (name(number), seal(entry));
    if create(sink, &name, &bytes).await.map_err(of_sink)? == Put::Foreign {
        return Ok(false);
    }
    if probe(sink, &name, &bytes).await.is_ok() {
        return Ok(true);
    }
    Err(CommitError::refused(
        format!(
            "the store {} replaces an object where it was asked to create one only if there is none, so two jobs \
             that begin at once could both write into the sink",
            sink.url()
        ),
        "put the sink on a store with conditional writes (S3, GCS, Azure, a local disk)",
    ))
}

/// Errors speak of the checkpoint where they do not say otherwise.
pub(super) fn of_sink(error: CommitError) -> CommitError {
    match error {
        CommitError::Store { what, name, cause } => {
            CommitError::Store { what, name: format!("the sink's {name}"), cause }
        }
        other => other,
    }
}

async fn read(sink: &Store, me: &Claimant) -> Result<Claims, CommitError> {
    let entries = read_from(sink, 0).await?;
    let next = entries.last().map_or(0, |(number, _)| number + 1);
    let machines = machines_of(&entries, &me.job);
    let mut found: Vec<Found> = Vec::new();
    for (number, entry) in entries {
        match entry {
            Entry::Claim(claim) => found.push(Found { number, claim, is_void: false }),
            Entry::Machine(_) | Entry::Left { .. } => {}
            Entry::Release { job, .. } => {
                found.iter_mut().filter(|found| found.claim.job == job).for_each(|found| found.is_void = true);
            }
        }
    }
    let is_over = |claim: &Claim| claim.job != me.job && (is_replaced(claim, me) || is_surely_dead(sink, claim));
    // Before the sink is listed: who writes and dies after that has left something.
    let over: Vec<usize> = (0..found.len()).filter(|at| !found[*at].is_void && is_over(&found[*at].claim)).collect();
    if !over.is_empty() {
        let with_output = jobs_with_output(sink).await?;
        for at in over {
            found[at].is_void = !with_output.contains(&found[at].claim.job);
        }
    }
    Ok(Claims { found, machines, next })
}

/// The claim names the very checkpoint of another job, which is not there any more: a checkpoint has one genesis, and that is
/// this job's, or none.
fn is_replaced(claim: &Claim, me: &Claimant) -> bool {
    claim.checkpoint.is_some() && claim.is_at(&me.place)
}

/// A job without a checkpoint, of this boot, whose lock is free.
fn is_surely_dead(sink: &Store, claim: &Claim) -> bool {
    let Writer { host, boot, .. } = Writer::new();
    let is_here = claim.host == host && claim.boot == boot && !boot.is_empty();
    claim.checkpoint.is_none() && is_here && has_left_its_lock(sink, &claim.job)
}

async fn jobs_with_output(sink: &Store) -> Result<BTreeSet<String>, CommitError> {
    let jobs = other_jobs(sink, None).await.map_err(|cause| CommitError::store("list", "the sink", cause))?;
    Ok(jobs.into_iter().collect())
}

async fn has_output(sink: &Store, job: &str) -> Result<bool, CommitError> {
    Ok(jobs_with_output(sink).await?.contains(job))
}

async fn read_from(sink: &Store, first: u64) -> Result<Vec<(u64, Entry)>, CommitError> {
    let mut attempt = 0;
    loop {
        let numbers = numbers(sink).await?;
        let reads: Vec<_> = numbers.range(first..).map(|number| read_entry(sink, *number)).collect();
        let entries: Result<Vec<_>, CommitError> = futures::stream::iter(reads).buffered(READS_MAX).try_collect().await;
        attempt += 1;
        match entries {
            // Somebody has just emptied the folder.
            Err(error) if error.is_not_found() && attempt < READ_ATTEMPTS => {}
            entries => return entries,
        }
    }
}

async fn numbers(sink: &Store) -> Result<BTreeSet<u64>, CommitError> {
    let names = sink.names(FOLDER).await.map_err(|cause| of_sink(CommitError::store("list", FOLDER, cause)))?;
    // People and their tools leave files of their own everywhere.
    Ok(names.iter().filter_map(|name| number_of(name)).collect())
}

async fn read_entry(sink: &Store, number: u64) -> Result<(u64, Entry), CommitError> {
    let name = name(number);
    let bytes =
        sink.whole(&name).await.map_err(|cause| CommitError::store("read", format!("the sink's {name}"), cause))?;
    let entry = decode_document(&bytes).map_err(|unreadable| match unreadable {
        Unreadable::Damaged(message) => damaged(sink, &name, &message),
        newer @ Unreadable::Newer(_) => newer.into_error(format!("the sink's {name}")),
    })?;
    Ok((number, entry))
}

fn damaged(sink: &Store, name: &str, message: &str) -> CommitError {
    CommitError::refused(
        format!("{name} in the sink {} is damaged: {message}", sink.url()),
        "it says which job writes here; put it back from a copy, or choose another folder; if no other job has \
         ever used this one, remove the object, and the job claims the sink anew",
    )
}

fn too_busy(sink: &Store) -> CommitError {
    let url = sink.url();
    CommitError::refused(
        format!("others keep claiming the sink {url}"),
        "run the same command again when they have begun",
    )
}

async fn refusal(sink: &Store, verdict: Verdict) -> Result<CommitError, CommitError> {
    let url = sink.url();
    let (what, hint) = match verdict {
        Verdict::Moved(found) => (
            format!("the job has gone on elsewhere since: {}", found.claim.whose()),
            "go on with that checkpoint; or say with --relocate that the job lives here now".to_string(),
        ),
        Verdict::Taken(found) => {
            let what = format!("the sink {url} belongs to another job ({}): {}", found.claim.job, found.claim.whose());
            let mut hint = "choose another folder; or go on with that job from its own checkpoint (`shared = true` under [sink] would \
                            keep both outputs side by side)"
                .to_string();
            if !has_output(sink, &found.claim.job).await? {
                hint += &format!(
                    ". It has no output here yet: if nobody will go on with it, remove {}",
                    name(found.number)
                );
            }
            (what, hint)
        }
        Verdict::Held(_) | Verdict::Free => unreachable!("no refusal"),
    };
    Ok(CommitError::refused(what, hint))
}

#[cfg(test)]
mod tests;
