//! What is wrong with a checkpoint, and how that is withdrawn so that its rows are done again. Nothing is guessed: what
//! cannot be read is named; what a group lost costs exactly that group.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use object_store::ObjectStoreExt;
use object_store::path::Path;
use serde::Serialize;

use super::claim::note_given_up;
use super::contradictions::{Contradiction, find_contradictions};
use super::delete::delete_all;
use super::entry::{Close, IdFile, LaneEntry, RootEntry, number_name};
use super::lane::{Lane, Writer};
use super::log::{DEFECTS_MAX, LaneLog, Logged, entry_name, get, list, read_lane};
use super::loss::{older_root, refuse_older_root, refuse_unknown_writers, remove_unknown_writers};
use super::manifest::refuse_older_than_manifest;
use super::recover::{delete, list_sink};
use super::replay::{Dispute, Known, LaneState, newest_root, read_state};
use super::root::{Pinned, Root};
use super::{CommitError, side};
use crate::message::Message;
use crate::store::{Listed, Store};

/// Something that is not as the log says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What kind of thing it is.
    pub kind: FindingKind,
    /// The lane.
    pub lane: u32,
    /// The group that loses its rows, or the entry that cannot be read.
    pub number: u64,
    /// The file.
    pub name: String,
    /// What is wrong with it.
    pub message: String,
}

/// What is not as the log says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FindingKind {
    /// An entry that cannot be read, or is not there.
    Unreadable,
    /// A group that says what cannot be.
    Contradiction,
    /// A group's file beside the log.
    SideFile,
    /// A group's file in the sink.
    SinkFile,
}

/// What a look at everything came to.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Verified {
    /// Entries read.
    pub entries: u64,
    /// Groups that count.
    pub groups: u64,
    /// Sink files that count.
    pub files: u64,
    /// Of these, how many are not there.
    #[serde(skip)]
    pub files_missing: u64,
    /// Side files read and compared with their digests.
    pub side_files: u64,
    /// What is wrong.
    pub findings: Vec<Finding>,
    /// What is wrong with side files of a compaction or the root: no single group can be given up for it.
    pub beyond_repair: Vec<String>,
    /// Files of writers whose opens were given up by a repair that was not completed; by lane, what is wrong.
    pub left: BTreeMap<u32, String>,
}

impl Verified {
    /// Whether there is anything that [`repair`] would mend.
    pub fn is_repairable(&self) -> bool {
        !self.findings.is_empty() || !self.left.is_empty()
    }

    /// A group that says what cannot be.
    fn add_group(&mut self, state: &LaneState, group: u64, message: String) {
        let (lane, kind) = (state.lane, FindingKind::Contradiction);
        let name = entry_name(lane, state.entry_of(group));
        self.findings.push(Finding { kind, lane, number: group, name, message });
    }
}

/// Looks at every entry, side file and sink file that counts. The sink is listed after the log was read: what is committed
/// meanwhile is not missed.
pub async fn verify(store: &Store, root: &Root, sink: &Store) -> Result<Verified, CommitError> {
    let mut verified = Verified::default();
    let pinned = root.pinned(store).await;
    if let Err(error) = &pinned {
        verified.beyond_repair.push(Message::brief(error).line());
    }
    let present = pinned.as_ref().ok().map(|pinned| since_by_path(pinned));
    let (mut logs, mut states) = (Vec::new(), Vec::new());
    for lane in 0..root.genesis.lanes {
        logs.push((lane, read_lane(store, root, lane, LaneLog::default()).await?));
    }
    let listing = list_sink(sink).await.map_err(|cause| CommitError::store("list", "the sink", cause))?;
    for (lane, log) in logs {
        let before = verified.clone();
        let mut state = verify_lane(store, root, (lane, &log), &listing, present.as_ref(), &mut verified).await;
        // What is missing may have been compacted meanwhile, by a run at work.
        let mut log = log;
        for _ in 0..READ_ATTEMPTS {
            let is_right = match &state {
                Ok(_) => verified.findings == before.findings && verified.beyond_repair == before.beyond_repair,
                Err(error) if error.is_not_found() => false,
                Err(_) => break,
            };
            let extent = log.extent();
            if !is_right {
                log = read_lane(store, root, lane, LaneLog::default()).await?;
            }
            if is_right || log.extent() == extent {
                break;
            }
            verified = before.clone();
            let listing = list_sink(sink).await.map_err(|cause| CommitError::store("list", "the sink", cause))?;
            state = verify_lane(store, root, (lane, &log), &listing, present.as_ref(), &mut verified).await;
        }
        states.extend(state?);
    }
    if let Ok(pinned) = &pinned {
        let states: Vec<&LaneState> = states.iter().collect();
        for found in find_contradictions(store, root, pinned, &states).await? {
            let Contradiction { lane, group, message, can_be_redone } = found;
            let state = states.iter().find(|state| state.lane == lane).expect("it is of one of them");
            match can_be_redone {
                true => verified.add_group(state, group, message),
                false => {
                    let name = entry_name(lane, state.entry_of(group));
                    verified.beyond_repair.push(format!(
                        "{name}: {message}; the source does not have all of what group {group} did any more, so nobody could do it again"
                    ));
                }
            }
        }
    }
    match refuse_older_than_manifest(sink, store, root).await {
        Err(CommitError::Refused(message)) => verified.beyond_repair.push(message.line()),
        other => other?,
    }
    Ok(verified)
}

/// Attempts to read a lane to which a run appends.
const READ_ATTEMPTS: usize = 4;

async fn verify_lane(
    store: &Store,
    root: &Root,
    (lane, log): (u32, &LaneLog),
    listing: &[Listed],
    present: Option<&HashMap<&str, u64>>,
    verified: &mut Verified,
) -> Result<Option<LaneState>, CommitError> {
    verified.entries += log.entries.len() as u64;
    if log.defects.len() > DEFECTS_MAX {
        let message = format!("lane/{lane}: more than {DEFECTS_MAX} entries are missing or damaged");
        verified.beyond_repair.push(message);
        return Ok(None);
    }
    let findings = log.defects.iter().map(|defect| Finding {
        kind: FindingKind::Unreadable,
        lane,
        number: defect.number,
        name: defect.name.clone(),
        message: defect.message.clone(),
    });
    verified.findings.extend(findings);
    let before = verified.beyond_repair.len();
    let bad = verify_side_files(store, lane, log, verified).await?;
    if verified.beyond_repair.len() > before {
        return Ok(None);
    }
    // Groups whose side files are bad are as good as withdrawn: the others can still be looked at.
    let mut sound = log.clone();
    sound.entries.retain(|logged| !bad.contains(&logged.number));
    let Some(state) = replay(store, root, (lane, sound), verified).await? else { return Ok(None) };
    for (group, disputes) in &state.disputed {
        let root = state.groups.get(group).map_or(0, |group| group.root);
        let since = |path: &String| present?.get(path.as_str()).copied();
        // Of rows that nobody could do again those of the newer group stay: what it did again had been given up.
        let is_lost = |dispute: &&Dispute| {
            dispute.is_newer && dispute.object.as_ref().is_some_and(|path| since(path).is_none_or(|since| root < since))
        };
        if let Some(dispute) = disputes.iter().find(|dispute| !is_lost(dispute)) {
            verified.add_group(&state, *group, dispute.message.clone());
        }
    }
    verify_files(&state, listing, verified);
    // Where an entry cannot be read, it may be the one that would explain what else is wrong.
    if log.defects.is_empty() {
        let older = refuse_older_root(store, root, [&state]).await;
        let unknown = refuse_unknown_writers(store, root, [&state], listing).await;
        let refused = |result: Result<(), CommitError>| {
            if let Err(CommitError::Refused(message)) = result { Some(message.line()) } else { None }
        };
        verified.beyond_repair.extend(refused(older));
        match refused(unknown) {
            unknown if has_given_up(log) => {
                let message = || format!("lane {lane}: a repair was killed before it was done");
                verified.left.insert(lane, unknown.unwrap_or_else(message));
            }
            unknown => verified.beyond_repair.extend(unknown),
        }
    }
    Ok(Some(state))
}

/// Whether who gave entries up last that could not be read was killed, perhaps before the files of their writers were removed: a
/// repair closes the lane after that.
fn has_given_up(log: &LaneLog) -> bool {
    // Nor has a run gone on above it: it would have been refused, were anything left.
    let is_after = |logged: &&Logged| matches!(logged.entry, LaneEntry::Close { .. } | LaneEntry::Segment(_));
    let first = log.entries.iter().rev().find(is_after).map_or(0, |logged| logged.number);
    let above = log.entries.iter().filter(|logged| logged.number > first);
    let unread: BTreeSet<u64> = unread_withdrawn(log).collect();
    let mut withdrawn = above.flat_map(|logged| withdrawn_by(&logged.entry));
    withdrawn.any(|number| unread.contains(number))
}

/// Numbers that were given up, of entries that nobody can read.
fn unread_withdrawn(log: &LaneLog) -> impl Iterator<Item = u64> {
    let read: BTreeSet<u64> = log.entries.iter().map(|logged| logged.number).collect();
    let is_compaction = |logged: &&Logged| matches!(logged.entry, LaneEntry::Compaction(_));
    let compacted = log.entries.first().filter(is_compaction).map(|logged| logged.number);
    let numbers = log.entries.iter().flat_map(|logged| withdrawn_by(&logged.entry)).copied();
    numbers.filter(move |number| compacted.is_none_or(|compacted| *number > compacted) && !read.contains(number))
}

fn withdrawn_by(entry: &LaneEntry) -> &[u64] {
    match entry {
        LaneEntry::Withdraw { numbers, .. } => numbers,
        _ => &[],
    }
}

/// Since when objects of a listing have their contents.
fn since_by_path(listing: &[Pinned]) -> HashMap<&str, u64> {
    listing.iter().map(|pinned| (pinned.object.path.as_ref(), pinned.since)).collect()
}

/// Replays a lane without the groups that say what cannot be, which are found. None if it is no group that says so.
async fn replay(
    store: &Store,
    root: &Root,
    (lane, mut log): (u32, LaneLog),
    verified: &mut Verified,
) -> Result<Option<LaneState>, CommitError> {
    loop {
        let (name, message) = match LaneState::replay_disputed(store, root, lane, &log).await {
            Ok(state) => return Ok(Some(state)),
            Err(CommitError::Damaged { name, message }) => (name, message),
            Err(other) => return Err(other),
        };
        let Some(at) = log.entries.iter().position(|logged| is_group_with(lane, logged, &name)) else {
            verified.beyond_repair.push(format!("{name}: {message}"));
            return Ok(None);
        };
        let number = log.entries.remove(at).number;
        verified.findings.push(Finding { kind: FindingKind::Contradiction, lane, number, name, message });
    }
}

/// Whether an entry is a group's, and has this name or names this file.
fn is_group_with(lane: u32, logged: &Logged, name: &str) -> bool {
    let LaneEntry::Segment(segment) = &logged.entry else { return false };
    let mut tables = segment.coverage_file.iter().chain(&segment.files_table);
    tables.any(|file| file.path == name) || entry_name(lane, logged.number) == name
}

/// The numbers of groups whose side files cannot be read.
async fn verify_side_files(
    store: &Store,
    lane: u32,
    log: &LaneLog,
    verified: &mut Verified,
) -> Result<BTreeSet<u64>, CommitError> {
    let mut bad = BTreeSet::new();
    let withdrawn = super::log::withdrawn(&log.entries);
    for logged in log.entries.iter().filter(|logged| !withdrawn.contains(&logged.number)) {
        let (files, is_one_group) = match &logged.entry {
            LaneEntry::Segment(segment) => {
                (segment.ids.iter().chain(&segment.coverage_file).chain(&segment.files_table).collect::<Vec<_>>(), true)
            }
            LaneEntry::Compaction(entry) => {
                let own = [&entry.groups, &entry.files, &entry.coverage, &entry.opens];
                (own.into_iter().chain(entry.ids.iter().map(|ids: &IdFile| &ids.file)).collect(), false)
            }
            _ => continue,
        };
        for file in files {
            verified.side_files += 1;
            let Err(error) = side::check(store, file).await else { continue };
            if matches!(&error, CommitError::Store { .. }) && !error.is_not_found() {
                return Err(error);
            }
            let message = error.to_string();
            match is_one_group {
                true => {
                    bad.insert(logged.number);
                    let (kind, number, name) = (FindingKind::SideFile, logged.number, file.path.clone());
                    verified.findings.push(Finding { kind, lane, number, name, message });
                }
                false => verified.beyond_repair.push(format!("{}: {message}", entry_name(lane, logged.number))),
            }
        }
    }
    Ok(bad)
}

fn verify_files(state: &LaneState, listing: &[Listed], verified: &mut Verified) {
    let sizes: BTreeMap<&str, u64> = listing.iter().map(|found| (found.name.as_str(), found.bytes)).collect();
    for (&number, group) in &state.groups {
        verified.groups += 1;
        for file in &group.files {
            verified.files += 1;
            let message = match sizes.get(file.path.as_str()) {
                None => {
                    verified.files_missing += 1;
                    "it is missing".to_string()
                }
                Some(&bytes) if bytes != file.bytes => format!("it has {bytes} bytes instead of {}", file.bytes),
                Some(_) => continue,
            };
            let (kind, lane, name) = (FindingKind::SinkFile, state.lane, file.path.clone());
            verified.findings.push(Finding { kind, lane, number, name, message });
        }
    }
}

/// Takes every lane, looks again, and withdraws what is wrong: rows of these groups are not done any more, and the next run
/// does them again. What is withdrawn is copied into `runs/` before. An older copy of a log is left as it is.
pub async fn repair(store: &Store, root: &Root, sink: &Store) -> Result<Verified, CommitError> {
    // Before anything is appended: that would make the log longer than it was when the manifest was written.
    refuse_older_than_manifest(sink, store, root).await?;
    refuse_older_than_lanes(store, root).await?;
    let writer = Writer::new();
    let mut lanes = Vec::new();
    for lane in 0..root.genesis.lanes {
        lanes.push(Lane::open(store, lane, &writer, async || Root::last_link(store).await).await?);
    }
    let root = match stand_in_the_way_of_a_deletion(store).await {
        Ok(root) => root,
        Err(error) => return Err(retract(store, lanes, error).await),
    };
    let mut verified = verify(store, &root, sink).await?;
    let mut numbers: BTreeMap<u32, BTreeSet<u64>> = BTreeMap::new();
    for finding in &verified.findings {
        numbers.entry(finding.lane).or_default().insert(finding.number);
    }
    for (lane, number) in numbers.iter().flat_map(|(lane, numbers)| numbers.iter().map(|number| (*lane, *number))) {
        keep_copy(store, &writer, lane, number).await?;
    }
    // In this order, whenever it is killed. An id of these groups may have been the reason that a row elsewhere is known: these
    // are forgotten first, in all lanes, so that rows are asked for again that need not be, and none is lost.
    if !numbers.is_empty() {
        for lane in &mut lanes {
            lane.withdraw(Vec::new(), true, "ids of groups are withdrawn").await?;
        }
    }
    for lane in &mut lanes {
        let numbers: Vec<u64> = numbers.remove(&lane.number()).unwrap_or_default().into_iter().collect();
        for numbers in numbers.chunks(WITHDRAWN_AT_ONCE) {
            lane.withdraw(numbers.to_vec(), false, "files or entries are missing or damaged").await?;
        }
    }
    if verified.beyond_repair.is_empty() {
        note_unread(store, &root, sink).await?;
    }
    for lane in lanes {
        let is_unread = |found: &Finding| found.lane == lane.number() && found.kind == FindingKind::Unreadable;
        if verified.findings.iter().any(is_unread) || verified.left.contains_key(&lane.number()) {
            remove_or_say(store, &root, &lane, sink, &mut verified).await?;
        }
        lane.close(Close::Stopped).await?;
    }
    Ok(verified)
}

/// Numbers in one entry, which has a largest size.
const WITHDRAWN_AT_ONCE: usize = 10_000;

/// A log that is older than what was written above it may lack root entries. What a repair appends would take their numbers.
async fn refuse_older_than_lanes(store: &Store, root: &Root) -> Result<(), CommitError> {
    for lane in 0..root.genesis.lanes {
        let log = read_lane(store, root, lane, LaneLog::default()).await?;
        let newest = newest_root(&log, root.last);
        if newest > Root::last_link(store).await?.number {
            return Err(older_root(lane, newest));
        }
    }
    Ok(())
}

/// Runs whose opens could not be read, and were given up by this repair or by one that was killed, have left.
async fn note_unread(store: &Store, root: &Root, sink: &Store) -> Result<(), CommitError> {
    let mut unread = 0;
    for lane in 0..root.genesis.lanes {
        unread += unread_withdrawn(&read_lane(store, root, lane, LaneLog::default()).await?).count();
    }
    if unread > 0 {
        note_given_up(sink, &root.genesis.job, &states(store, root).await?, unread).await?;
    }
    Ok(())
}

async fn states(store: &Store, root: &Root) -> Result<Vec<LaneState>, CommitError> {
    let mut states = Vec::new();
    for lane in 0..root.genesis.lanes {
        states.push(read_state(store, root, lane, Known::default(), None).await?.1);
    }
    Ok(states)
}

/// Where something is beyond repair, the log may be an older copy, and files of writers that it does not know are what a
/// younger one counts.
async fn remove_or_say(
    store: &Store,
    root: &Root,
    lane: &Lane,
    sink: &Store,
    verified: &mut Verified,
) -> Result<(), CommitError> {
    if !verified.beyond_repair.is_empty() {
        return Ok(());
    }
    match remove_unknown_writers(store, root, lane, sink).await {
        Err(refused) if refused.is_refusal() => verified.beyond_repair.push(Message::brief(&refused).line()),
        other => other?,
    }
    Ok(())
}

/// A finished job may be deleted while it is repaired, by a run that has looked at its lanes before they were opened here. That
/// run appends to the root it has read, so a root entry that says nothing new keeps it from doing so; or it was first, and then
/// there is nothing to repair any more.
async fn stand_in_the_way_of_a_deletion(store: &Store) -> Result<Root, CommitError> {
    loop {
        let root = match Root::read(store).await {
            Ok(root) => root.ok_or_else(CommitError::root_is_gone)?,
            Err(CommitError::Deleted) => return delete_all(store).await.and(Err(CommitError::Deleted)),
            Err(error) => return Err(error),
        };
        let nothing_new = RootEntry::Change { fingerprint: root.fingerprint.clone() };
        if root.append(store, &nothing_new).await? {
            refuse_if_alone(store, root.last + 1).await?;
            return Root::read(store).await?.ok_or_else(CommitError::root_is_gone);
        }
    }
}

/// Where the whole checkpoint was deleted meanwhile, the number was free again.
async fn refuse_if_alone(store: &Store, number: u64) -> Result<(), CommitError> {
    if list(store, "root").await?.first() == Some(&0) {
        return Ok(());
    }
    delete(store, vec![Path::from(format!("root/{}", number_name(number)))]).await?;
    Err(CommitError::Deleted)
}

/// Where there is no job any more, nothing stays behind that would look like a log without a root.
async fn retract(store: &Store, lanes: Vec<Lane>, error: CommitError) -> CommitError {
    if !matches!(Root::is_gone(store).await, Ok(true)) {
        return error;
    }
    for lane in lanes {
        if let Err(error) = lane.retract().await {
            return error;
        }
    }
    CommitError::Deleted
}

/// Where there is nothing at all, it is the wrong place that is looked at, or there is nothing that a checkpoint could say.
pub fn refuse_to_give_up_all(verified: &Verified, sink: &Store) -> Result<(), CommitError> {
    if verified.files == 0 || verified.files_missing < verified.files {
        return Ok(());
    }
    Err(CommitError::refused(
        format!("none of the {} file(s) of the job is in {}", verified.files, sink.url()),
        "if the job was moved, move its output there, too, or give the pipeline file that says where it is; if \
         all output is lost, begin anew with another checkpoint and an empty sink",
    ))
}

async fn keep_copy(store: &Store, writer: &Writer, lane: u32, number: u64) -> Result<(), CommitError> {
    let Some(bytes) = get(store, &entry_name(lane, number)).await? else { return Ok(()) };
    let name = format!("runs/{}/withdrawn-{lane}-{number}", writer.run);
    let put = store.objects().put(&Path::from(name.as_str()), bytes.into()).await;
    put.map(drop).map_err(|cause| CommitError::store("write", name, cause))
}
