//! What a lane's entries say in all. It does not depend on what the source holds now: coverage is kept for every content
//! that an object ever had, and whoever asks says which content it is about.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Range;

use super::agreement::{RowsSaid, check_holds, check_ids};
use super::coverage::{ObjectCoverage, RowState};
use super::document::FORMAT_1;
use super::entry::{
    Close, CompactionEntry, CoveredObject, FileEntry, Genesis, IdFile, LaneEntry, SegmentEntry, SideFile,
};
use super::group::GroupCounts;
use super::lane::{lane_of, pieces};
use super::log::{LaneLog, Logged, read_lane, read_sound_lane, withdrawn};
use super::root::Pinned;
use super::{CommitError, Root, side};
use crate::sink::{FileName, OutputKind};
use crate::store::Store;

/// What a lane's entries say in all.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LaneState {
    /// Which lane.
    pub lane: u32,
    /// By path relative to the source: one for each content and piece.
    pub objects: HashMap<String, Vec<ObjectCoverage>>,
    /// Groups that count, by the number of their segment.
    pub groups: BTreeMap<u64, GroupState>,
    /// Files of ids; rows of groups that do not count are to be left out.
    pub ids: Vec<IdFile>,
    /// Side files that an entry names.
    pub side_files: HashSet<String>,
    /// Opens by their number.
    pub opens: BTreeMap<u64, OpenState>,
    /// Number of the last entry.
    pub last: Option<u64>,
    /// How the last writer left, if the last entry says so.
    pub closed: Option<Close>,
    /// Number of the compaction that this is based on.
    pub compacted: Option<u64>,
    /// Numbers above it that later entries withdraw.
    pub withdrawn: HashSet<u64>,
    /// Groups that did rows which another did, or name files which another names. None, but while all that is wrong is looked
    /// for.
    pub(super) disputed: BTreeMap<u64, Vec<Dispute>>,
}

/// What two groups of a lane say that one of them can say only. It is not known whose it is.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Dispute {
    /// What is wrong.
    pub(super) message: String,
    /// The object of which both did a row, if it is that.
    pub(super) object: Option<String>,
    /// Whether the other came before it.
    pub(super) is_newer: bool,
}

/// Only who opened a lane last, and whether it was left in order. No damage is a hindrance: whoever cannot be named cannot be
/// waited for.
pub async fn last_open(store: &Store, root: &Root, lane: u32) -> Result<LaneState, CommitError> {
    let log = read_lane(store, root, lane, LaneLog::default()).await?;
    let mut state = LaneState { lane, last: log.last(), ..LaneState::default() };
    state.opens =
        log.entries.iter().filter_map(|logged| Some((logged.number, OpenState::of(&logged.entry)?))).collect();
    if let Some(LaneEntry::Compaction(compaction)) = log.entries.first().map(|logged| &logged.entry)
        && state.opens.is_empty()
    {
        state.opens = side::read_opens(store, &compaction.opens).await.unwrap_or_default();
    }
    if let Some(Logged { number, entry: LaneEntry::Close { how, .. }, .. }) = log.entries.last()
        && state.last == Some(*number)
    {
        state.closed = Some(*how);
    }
    Ok(state)
}

/// Attempts to read a lane whose side files vanish meanwhile.
const READ_ATTEMPTS: usize = 4;

/// What a process has read of a lane before.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Its entries, which are not read again.
    pub log: LaneLog,
    /// What they said in all, if that was asked.
    pub state: Option<LaneState>,
}

impl From<LaneLog> for Known {
    fn from(log: LaneLog) -> Known {
        Known { log, state: None }
    }
}

/// Reads and replays a lane. `known` is what was read before; `opened` is the number of this process' open, if it has just
/// opened the lane: then what lies below is replayed, and anything above it says that the lane is lost already, and perhaps
/// compacted. Another writer's compaction may delete side files meanwhile; then all is read again.
pub async fn read_state(
    store: &Store,
    root: &Root,
    lane: u32,
    known: Known,
    opened: Option<u64>,
) -> Result<(LaneLog, LaneState), CommitError> {
    let Known { log, mut state } = known;
    let extent = log.extent();
    let mut known = Some(log);
    let mut attempt = 0;
    loop {
        let log = read_sound_lane(store, root, lane, known.take().unwrap_or_default()).await?;
        let log = match opened {
            Some(opened) if log.last().is_some_and(|last| last > opened) => {
                return Err(CommitError::Fenced { lane, number: opened + 1 });
            }
            // An empty lane is not a lane in which nothing is done.
            Some(opened) if log.last() != Some(opened) => {
                let name = super::log::entry_name(lane, opened);
                return Err(CommitError::damaged(name, "this run has just written it, and it is gone"));
            }
            Some(opened) => log.below(opened),
            None => log,
        };
        // Entries never change: the same numbers say the same.
        if let Some(state) = state.take().filter(|_| log.extent() == extent) {
            return Ok((log, state));
        }
        attempt += 1;
        match LaneState::replay(store, root, lane, &log).await {
            Err(error) if error.is_not_found() && attempt < READ_ATTEMPTS => {}
            result => return result.map(|state| (log, state)),
        }
    }
}

/// A group that counts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GroupState {
    /// The root entry under which it was written.
    pub root: u64,
    /// Its sink files, of all kinds.
    pub files: Vec<FileEntry>,
    /// What became of its rows.
    pub counts: GroupCounts,
}

impl GroupState {
    /// Its files of a kind.
    pub fn files_of(&self, kind: OutputKind) -> impl Iterator<Item = &FileEntry> {
        self.files.iter().filter(move |file| file.kind() == kind)
    }
}

/// A writer's opening of the lane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenState {
    /// Of this opening only.
    pub token: String,
    /// The process.
    pub run: String,
    /// Last root entry that it had seen before.
    pub root: u64,
    /// Its host.
    pub host: String,
    /// The host's boot.
    pub boot: String,
    /// Its process.
    pub pid: u32,
}

impl OpenState {
    fn of(entry: &LaneEntry) -> Option<OpenState> {
        let LaneEntry::Open { token, run, root, host, boot, pid, .. } = entry else { return None };
        let (token, run, host, boot) = (token.clone(), run.clone(), host.clone(), boot.clone());
        Some(OpenState { token, run, root: *root, host, boot, pid: *pid })
    }
}

impl LaneState {
    /// Replays a lane.
    pub async fn replay(store: &Store, root: &Root, lane: u32, log: &LaneLog) -> Result<LaneState, CommitError> {
        let state = LaneState::replay_disputed(store, root, lane, log).await?;
        match state.disputed.first_key_value() {
            Some((group, disputes)) => Err(state.damaged(state.entry_of(*group), disputes[0].message.clone())),
            None => Ok(state),
        }
    }

    /// As [`LaneState::replay`], with groups that contradict each other.
    pub(super) async fn replay_disputed(
        store: &Store,
        root: &Root,
        lane: u32,
        log: &LaneLog,
    ) -> Result<LaneState, CommitError> {
        let withdrawn: HashSet<u64> = withdrawn(&log.entries).into_iter().collect();
        let mut replay = Replay {
            store,
            root,
            withdrawn,
            format: FORMAT_1,
            newest_root: 0,
            state: LaneState { lane, ..LaneState::default() },
        };
        let mut writer: Option<&str> = None;
        for logged in &log.entries {
            // Where a number was given up, there may have been an open.
            if replay.state.last.is_some_and(|last| logged.number != last + 1) {
                writer = None;
            }
            if replay.is_withdrawn(logged) {
                writer = None;
                replay.pass(logged).await?;
                continue;
            }
            let token = logged.entry.token();
            let is_open = matches!(logged.entry, LaneEntry::Open { .. });
            if writer.is_some_and(|writer| writer != token) && !is_open {
                let message = "it is of another writer than the one that opened the lane last".to_owned();
                return Err(replay.state.damaged(logged.number, message));
            }
            writer = Some(token);
            replay.follow(logged).await?;
        }
        let Replay { mut state, withdrawn, .. } = replay;
        state.withdrawn = withdrawn;
        state.dispute_files();
        state.ids.retain(|ids| ids.group.is_none_or(|group| state.groups.contains_key(&group)));
        Ok(state)
    }

    /// The number of the entry that says what a group did.
    pub(super) fn entry_of(&self, group: u64) -> u64 {
        self.compacted.filter(|compacted| group < *compacted).unwrap_or(group)
    }

    /// Sink files that count, in the order of the log.
    pub fn files(&self) -> impl Iterator<Item = &FileEntry> {
        self.groups.values().flat_map(|group| &group.files)
    }

    /// Those of a kind.
    pub fn files_of(&self, kind: OutputKind) -> impl Iterator<Item = &FileEntry> {
        self.groups.values().flat_map(move |group| group.files_of(kind))
    }

    /// The same, of groups from a number on.
    pub fn files_since(&self, number: u64) -> impl Iterator<Item = &FileEntry> {
        self.groups.range(number..).flat_map(|(_, group)| &group.files)
    }

    /// Over all groups that count.
    pub fn counts(&self) -> GroupCounts {
        let mut counts = GroupCounts::default();
        self.groups.values().for_each(|group| counts.add(&group.counts));
        counts
    }

    /// The last open, and its number.
    pub fn last_open(&self) -> Option<(u64, &OpenState)> {
        self.opens.last_key_value().map(|(number, open)| (*number, open))
    }

    /// What is covered of an object of the listing: its pieces in this lane. Coverage speaks of the object's content if it has its
    /// digest, where that is known, whenever it was written; else if it was written since that content is there.
    pub fn covered(&self, pinned: &Pinned, digest: Option<&str>) -> Result<Vec<&ObjectCoverage>, CommitError> {
        let Some(contents) = self.objects.get(pinned.object.path.as_ref()) else { return Ok(Vec::new()) };
        let mut current = contents.iter().filter(|content| content.root >= pinned.since);
        let first = current.next();
        if let Some(first) = first
            && current.any(|other| other.digest != first.digest || other.rows != first.rows)
        {
            let message = format!("{} has two contents since root entry {}", pinned.object.path, pinned.since);
            return Err(CommitError::damaged(format!("lane/{}", self.lane), message));
        }
        let Some(digest) = digest.or(first.map(|first| first.digest.as_str())) else { return Ok(Vec::new()) };
        Ok(contents.iter().filter(|content| content.digest == digest).collect())
    }

    /// Whether only the object's digest can tell if coverage of an earlier content speaks of the present one. So it is with all
    /// that was written before that content came, and with what was also written since, if a bit of an entry may have made it so.
    pub fn is_open_to_doubt(&self, pinned: &Pinned, began_in: u32) -> bool {
        let contents = || self.objects.get(pinned.object.path.as_ref()).into_iter().flatten();
        let mut now = contents().filter(|content| content.root >= pinned.since).peekable();
        if now.peek().is_none() {
            return contents().any(|content| content.size == pinned.object.size);
        }
        let root = |group: u64| self.groups.get(&group).map_or(pinned.since, |group| group.root);
        let is_of_before = |content: &ObjectCoverage| content.coverage.given().any(|(.., by)| root(by) < pinned.since);
        began_in == FORMAT_1 && now.any(is_of_before)
    }

    /// The same, of contents that the objects of a listing have now.
    pub fn of_listing(&self, listing: &[Pinned]) -> Result<LaneState, CommitError> {
        let mut objects = HashMap::new();
        for pinned in listing {
            let now: Vec<_> = self.covered(pinned, None)?.into_iter().cloned().collect();
            objects.insert(pinned.object.path.to_string(), now);
        }
        Ok(LaneState { objects, ..self.clone() })
    }

    /// The state of a row, in the content of the object that was written about last.
    pub fn row_state(&self, object: &str, row: u64) -> Option<RowState> {
        let with_row = |content: &&ObjectCoverage| content.coverage.at(row).is_some();
        let contents = self.objects.get(object).into_iter().flatten().filter(with_row);
        contents.max_by_key(|content| content.root).and_then(|content| content.coverage.at(row))
    }

    /// Groups that say a root entry beyond the last one, where what lies above them in the lane does not; and what that says at
    /// least.
    pub(super) fn beyond_root(&self, last: u64) -> BTreeMap<u64, u64> {
        let groups = self.groups.iter().map(|(number, group)| (*number, group.root));
        let opens = self.opens.iter().map(|(number, open)| (*number, open.root));
        let mut beyond = beyond_root(opens.chain(groups).collect(), last);
        beyond.retain(|number, _| self.groups.contains_key(number));
        beyond
    }

    fn coverages(&mut self) -> impl Iterator<Item = &mut ObjectCoverage> {
        self.objects.values_mut().flatten()
    }

    /// Who reads a file that two groups name has rows twice, and lacks those of the file that one of them had.
    fn dispute_files(&mut self) {
        let mut groups: HashMap<&str, u64> = HashMap::new();
        let mut disputed = Vec::new();
        for (number, group) in &self.groups {
            for file in &group.files {
                if let Some(other) = groups.insert(&file.path, *number) {
                    disputed.push(([other, *number], format!("it names {}, which is named twice", file.path)));
                }
            }
        }
        disputed.into_iter().for_each(|(groups, message)| self.dispute(groups, None, &message));
    }

    /// Between two groups, the older first.
    fn dispute(&mut self, groups: [u64; 2], object: Option<&str>, message: &str) {
        for (group, is_newer) in groups.into_iter().zip([false, true]) {
            let disputes = self.disputed.entry(group).or_default();
            let is_known = |dispute: &Dispute| (dispute.object.as_deref(), dispute.is_newer) == (object, is_newer);
            if !disputes.iter().any(is_known) {
                disputes.push(Dispute { message: message.to_owned(), object: object.map(str::to_owned), is_newer });
            }
        }
    }

    /// A row whose state was given by no group would never be done, and nobody could take that state away.
    fn refuse_rows_of_no_group(&self, number: u64, group: u64, object: &CoveredObject) -> Result<(), CommitError> {
        let CoveredObject { object: path, done, known, failed, dead, blank, .. } = object;
        let Some((start, end)) = [done, known, failed, dead, blank].into_iter().flatten().next() else { return Ok(()) };
        if self.groups.contains_key(&group) {
            return Ok(());
        }
        let message = format!("rows {start}..{end} of {path} have their state from group {group}, which is not there");
        Err(self.damaged(number, message))
    }

    /// What the tables of a compaction that holds all this say twice.
    pub(super) fn check_compaction(
        &self,
        root: &Root,
        entry: &CompactionEntry,
        said: &BTreeMap<u64, RowsSaid>,
    ) -> Result<(), String> {
        let LaneState { groups, opens, objects, .. } = self;
        let covers_none = RowsSaid::default();
        for (number, group) in groups {
            let covered = said.get(number).unwrap_or(&covers_none);
            covered.check_compacted(group).map_err(|message| format!("group {number}: {message}"))?;
        }
        if root.genesis.ids.is_some() {
            check_ids(&entry.ids, groups)?;
        }
        let roots = groups.values().map(|group| group.root).chain(opens.values().map(|open| open.root));
        let roots = roots.chain(objects.values().flatten().map(|content| content.root));
        match (entry.root, roots.max()) {
            (Some(root), Some(newest)) if newest > root => {
                Err(format!("it was written under root entry {root}, and holds what was written under {newest}"))
            }
            _ => Ok(()),
        }
    }

    /// Groups of a compaction that are withdrawn after it.
    fn withdraw(&mut self, withdrawn: &HashSet<u64>) {
        let gone: HashSet<u64> =
            withdrawn.iter().copied().filter(|number| self.groups.remove(number).is_some()).collect();
        if gone.is_empty() {
            return;
        }
        self.objects.retain(|_, contents| {
            contents.retain_mut(|content| content.withdraw(&gone, &self.groups));
            !contents.is_empty()
        });
    }

    /// What the entry of this number says that a group gave.
    fn cover(&mut self, number: u64, group: u64, root: u64, entry: &CoveredObject) -> Result<(), CommitError> {
        let mut new = ObjectCoverage::from_entry(entry, group).map_err(|message| self.damaged(number, message))?;
        new.root = root;
        let contents = self.objects.get_mut(&entry.object);
        match contents.and_then(|contents| contents.iter_mut().find(|known| known.is_of(&new))) {
            Some(known) => {
                let twice = known.coverage.done_twice(&new.coverage);
                known.root = known.root.max(root);
                known.named_by.extend(new.named_by);
                new.coverage.iter().for_each(|(range, state)| known.coverage.set_by(range, state, group));
                for (Range { start, end }, other) in twice {
                    let path = &entry.object;
                    let message =
                        format!("rows {start}..{end} of {path} are done by group {other} and by group {group}");
                    self.dispute([other, group], Some(path), &message);
                }
            }
            None => self.objects.entry(entry.object.clone()).or_default().push(new),
        }
        Ok(())
    }

    /// Rows that a group which counts has done stay done: nobody does such rows again, so who says that it did stands in
    /// another's place.
    fn uncover(&mut self, path: &str, content: &ObjectCoverage) {
        let contents = self.objects.get_mut(path).into_iter().flatten();
        if let Some(known) = contents.into_iter().find(|known| known.is_of(content)) {
            content.coverage.iter().for_each(|(range, _)| known.coverage.unset_unless(&range, RowState::Done));
        }
    }

    fn damaged(&self, number: u64, message: String) -> CommitError {
        CommitError::damaged(super::log::entry_name(self.lane, number), message)
    }

    fn name<'a>(&mut self, number: u64, files: impl Iterator<Item = &'a SideFile>) -> Result<(), CommitError> {
        for file in files {
            if !file.is_beside_the_log() {
                return Err(self.damaged(number, format!("it names {}, which does not lie in side/", file.path)));
            }
            self.side_files.insert(file.path.clone());
        }
        Ok(())
    }
}

/// Of root entries that entries say, by the number of these: those beyond the last one, where a later entry says one that is
/// there; and what later ones say at least.
fn beyond_root(mut said: Vec<(u64, u64)>, last: u64) -> BTreeMap<u64, u64> {
    said.sort_unstable();
    let mut least = u64::MAX;
    let mut beyond = BTreeMap::new();
    for (number, root) in said.into_iter().rev() {
        match root > last && least <= last {
            true => drop(beyond.insert(number, least)),
            false => least = least.min(root),
        }
    }
    beyond
}

/// The newest root entry that a lane says, lies left out.
pub(super) fn newest_root(log: &LaneLog, last: u64) -> u64 {
    let said = log.entries.iter().filter_map(|logged| Some((logged.number, root_of(&logged.entry)?.0)));
    let said: Vec<(u64, u64)> = said.collect();
    let beyond = beyond_root(said.clone(), last);
    said.iter().filter(|(number, _)| !beyond.contains_key(number)).map(|(_, root)| *root).max().unwrap_or(0)
}

/// A lane's state while its entries are followed, in order.
struct Replay<'a> {
    store: &'a Store,
    root: &'a Root,
    withdrawn: HashSet<u64>,
    /// Of the entries so far.
    format: u32,
    /// The newest root entry that one of them names.
    newest_root: u64,
    state: LaneState,
}

impl Replay<'_> {
    fn is_withdrawn(&self, logged: &Logged) -> bool {
        self.withdrawn.contains(&logged.number)
    }

    /// One that was given up says nothing, as if it could not be read: it may stand in another's place. Only a group still says
    /// which rows it gave a state.
    async fn pass(&mut self, logged: &Logged) -> Result<(), CommitError> {
        self.state.last = Some(logged.number);
        self.state.closed = None;
        match &logged.entry {
            LaneEntry::Segment(segment) if self.check_head(logged).is_ok() => {
                self.withdrawn_segment(logged.number, segment).await
            }
            _ => Ok(()),
        }
    }

    async fn follow(&mut self, logged: &Logged) -> Result<(), CommitError> {
        let number = logged.number;
        self.state.last = Some(number);
        self.state.closed = None;
        self.check_head(logged).map_err(|message| self.state.damaged(number, message))?;
        // What names one that is not there says nothing about those that follow.
        let root = root_of(&logged.entry).map(|(root, _)| root).filter(|root| *root <= self.root.last);
        self.newest_root = self.newest_root.max(root.unwrap_or(0));
        self.format = self.format.max(logged.format);
        match &logged.entry {
            LaneEntry::Open { .. } => {
                self.state.opens.extend(OpenState::of(&logged.entry).map(|open| (number, open)));
            }
            LaneEntry::Segment(segment) => self.segment(number, segment).await?,
            LaneEntry::Compaction(compaction) => {
                self.load(number, compaction).await?;
                self.state.withdraw(&self.withdrawn);
            }
            LaneEntry::Withdraw { numbers, forget_known, .. } => {
                if let Some(later) = numbers.iter().find(|withdrawn| **withdrawn >= number) {
                    return Err(self.state.damaged(number, format!("it withdraws {later}, which is not below it")));
                }
                if *forget_known {
                    self.state.coverages().for_each(|object| object.coverage.forget(RowState::Known));
                }
            }
            LaneEntry::Close { how, .. } => self.state.closed = Some(*how),
        }
        Ok(())
    }

    /// Formats never go back, and a root entry is named with its digest.
    fn check_head(&self, logged: &Logged) -> Result<(), String> {
        if logged.format < self.format {
            return Err(format!("it has format {}, entries below have {}", logged.format, self.format));
        }
        let Some((root, digest)) = root_of(&logged.entry) else { return Ok(()) };
        if logged.format != FORMAT_1 && digest.is_none() {
            return Err(format!("it names root entry {root} without its digest"));
        }
        // Who opens a lane reads the root after it has seen what lies below.
        if logged.format != FORMAT_1 && root < self.newest_root {
            return Err(format!("it was written under root entry {root}, entries below under {}", self.newest_root));
        }
        self.root.check_link(root, digest)
    }

    async fn segment(&mut self, number: u64, segment: &SegmentEntry) -> Result<(), CommitError> {
        let read;
        let covered = match (&segment.coverage, &segment.coverage_file) {
            (Some(covered), None) => covered,
            (None, Some(file)) => {
                read = side::read_coverage(self.store, file).await?;
                &read.into_iter().map(|row| row.object).collect()
            }
            (None, None) => return Err(self.state.damaged(number, "it covers nothing".into())),
            (Some(_), Some(_)) => return Err(self.state.damaged(number, "it says twice what it covers".into())),
        };
        for object in covered {
            self.check_piece(object).map_err(|message| self.state.damaged(number, message))?;
            self.state.cover(number, number, segment.root, object)?;
        }
        self.state.name(number, segment.files_table.iter().chain(&segment.coverage_file).chain(&segment.ids))?;
        let files = self.files_of(number, segment).await?;
        let is_own = |file: &FileEntry| self.check_file(file, Some(&segment.token));
        files.iter().try_for_each(is_own).map_err(|message| self.state.damaged(number, message))?;
        let is_right = check_holds(covered.iter(), &files);
        is_right.map_err(|message| self.state.damaged(number, message))?;
        let group = GroupState { root: segment.root, files, counts: segment.counts };
        let said = RowsSaid::of(covered.iter());
        let is_right = said.check_segment(&group, segment.ids.as_ref(), self.root.genesis.ids.is_some());
        is_right.map_err(|message| self.state.damaged(number, message))?;
        self.state.ids.extend(segment.ids.iter().map(|file| IdFile { group: Some(number), file: file.clone() }));
        self.state.groups.insert(number, group);
        Ok(())
    }

    /// Whoever has another number of lanes looks for an object's rows elsewhere.
    fn check_piece(&self, object: &CoveredObject) -> Result<(), String> {
        let CoveredObject { object: path, piece, size, own, blank, .. } = object;
        let Genesis { lanes, split_bytes, .. } = self.root.genesis;
        if !blank.is_empty() && !self.root.fingerprint.has_lines() {
            return Err(format!("it takes rows of {path} for blank lines, and the source has none"));
        }
        if own.is_some() != (pieces(*size, split_bytes) > 1) {
            return Err(format!("{path} is not cut as the job cuts objects of {size} bytes"));
        }
        let is_here = *piece < pieces(*size, split_bytes) && lane_of(path, *piece, lanes) == self.state.lane;
        if is_here { Ok(()) } else { Err(format!("piece {piece} of {path} does not belong to this lane")) }
    }

    /// A file's name says whose it is.
    fn check_file(&self, file: &FileEntry, token: Option<&str>) -> Result<(), String> {
        let name = self.root.file_name(&file.path).filter(|name| holds_what_its_folder_says(file, name));
        let is_of_lane = |name: &FileName| name.lane == self.state.lane;
        match name.filter(is_of_lane).filter(|name| token.is_none_or(|token| token == name.token)) {
            Some(_) => Ok(()),
            None => Err(format!("it names {}, which its writer cannot have written", file.path)),
        }
    }

    /// The files of a segment; in a table their kinds are told apart by where they lie.
    async fn files_of(&self, number: u64, segment: &SegmentEntry) -> Result<Vec<FileEntry>, CommitError> {
        let Some(table) = &segment.files_table else {
            refuse_files_of_another_kind(segment).map_err(|message| self.state.damaged(number, message))?;
            return Ok(segment.all_files().map(|(_, file)| file.clone()).collect());
        };
        if segment.all_files().next().is_some() {
            return Err(self.state.damaged(number, "it says twice which files it has".into()));
        }
        Ok(side::read_files(self.store, table, self.format).await?.into_iter().map(|(_, file)| file).collect())
    }

    /// What it can still say is which rows have to be done again; if it cannot, no row counts by it either.
    async fn withdrawn_segment(&mut self, number: u64, segment: &SegmentEntry) -> Result<(), CommitError> {
        let read = match &segment.coverage_file {
            Some(file) => side::read_coverage(self.store, file).await.unwrap_or_default(),
            None => Vec::new(),
        };
        let covered = segment.coverage.iter().flatten().chain(read.iter().map(|row| &row.object));
        for object in covered {
            if let Ok(content) = ObjectCoverage::from_entry(object, number) {
                self.state.uncover(&object.object, &content);
            }
        }
        let tables = segment.coverage_file.iter().chain(&segment.files_table);
        self.state.name(number, tables.filter(|file| file.is_beside_the_log()))
    }

    async fn load(&mut self, number: u64, entry: &CompactionEntry) -> Result<(), CommitError> {
        let (store, state) = (self.store, &mut self.state);
        state.compacted = Some(number);
        state.name(number, [&entry.groups, &entry.files, &entry.coverage, &entry.opens].into_iter())?;
        state.name(number, entry.ids.iter().map(|ids| &ids.file))?;
        state.ids.clone_from(&entry.ids);
        state.groups = side::read_groups(store, &entry.groups, &entry.files, self.format).await?;
        state.opens = side::read_opens(store, &entry.opens).await?;
        if let Some(above) = state.groups.keys().chain(state.opens.keys()).find(|covered| **covered >= number) {
            return Err(state.damaged(number, format!("it covers {above}, which is not below it")));
        }
        let rows = side::read_coverage(store, &entry.coverage).await?;
        for side::CoverageRow { group, root, object } in &rows {
            self.check_piece(object).map_err(|message| self.state.damaged(number, message))?;
            self.state.refuse_rows_of_no_group(number, *group, object)?;
            self.state.cover(number, *group, *root, object)?;
        }
        let is_of_lane = self.state.files().try_for_each(|file| self.check_file(file, None));
        is_of_lane.map_err(|message| self.state.damaged(number, message))?;
        let is_sound = self.state.check_compaction(self.root, entry, &RowsSaid::by_group(&rows));
        is_sound.map_err(|message| self.state.damaged(number, message))
    }
}

/// The root entry that an entry names, and its digest.
fn root_of(entry: &LaneEntry) -> Option<(u64, Option<&str>)> {
    match entry {
        LaneEntry::Open { root, root_digest, .. } => Some((*root, root_digest.as_deref())),
        LaneEntry::Segment(segment) => Some((segment.root, segment.root_digest.as_deref())),
        LaneEntry::Compaction(compaction) => Some((compaction.root?, compaction.root_digest.as_deref())),
        LaneEntry::Withdraw { .. } | LaneEntry::Close { .. } => None,
    }
}

/// In the layout `mirror`, results lie in the folder of their object.
fn holds_what_its_folder_says(file: &FileEntry, name: &FileName) -> bool {
    match &file.holds {
        Some(holds) => holds.object == name.folder && holds.is_sound() && holds.rows() == file.rows,
        None => name.folder.is_empty(),
    }
}

fn refuse_files_of_another_kind(segment: &SegmentEntry) -> Result<(), String> {
    match segment.all_files().find(|(kind, file)| file.kind() != *kind) {
        Some((_, file)) => Err(format!("{} does not lie where files of its kind do", file.path)),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit::FORMAT;
    use crate::commit::root::testing::begin;

    fn wait<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    fn object(own: Option<Vec<(u64, u64)>>, done: Vec<(u64, u64)>) -> CoveredObject {
        CoveredObject {
            object: "a".into(),
            digest: "d".into(),
            size: if own.is_some() { 18 } else { 9 },
            rows: 20,
            piece: u32::from(own.is_some()),
            own,
            done,
            known: vec![],
            failed: vec![],
            dead: vec![],
            blank: vec![],
        }
    }

    fn segment(coverage: Option<Vec<CoveredObject>>, coverage_file: Option<SideFile>) -> LaneEntry {
        let rows = |object: &CoveredObject| object.done.iter().map(|(start, end)| end.saturating_sub(*start)).sum();
        let rows_read = coverage.iter().flatten().map(rows).fold(0, u64::saturating_add);
        let counts = GroupCounts { rows_read, rows_dropped: rows_read, ..GroupCounts::default() };
        LaneEntry::Segment(Box::new(SegmentEntry {
            token: "t".into(),
            root: 0,
            root_digest: None,
            group: 0,
            files: vec![],
            dead_letters: vec![],
            files_table: None,
            coverage,
            coverage_file,
            ids: None,
            counts,
        }))
    }

    fn withdraw(number: u64) -> LaneEntry {
        let (token, reason) = ("t".into(), String::new());
        LaneEntry::Withdraw { token, numbers: vec![number], forget_known: false, reason }
    }

    fn logged(number: u64, entry: LaneEntry) -> Logged {
        Logged { number, entry, format: FORMAT, below: None, digest: blake3::hash(b"") }
    }

    fn name_root(entry: &mut LaneEntry, root: &Root) {
        let digest = match entry {
            LaneEntry::Segment(segment) => &mut segment.root_digest,
            LaneEntry::Compaction(compaction) => &mut compaction.root_digest,
            _ => return,
        };
        digest.get_or_insert_with(|| root.link().digest_text().expect("of format 2"));
    }

    const JOB: &str = "00000000000000aa";
    const TOKEN: &str = "00000000000000bb";

    fn replay(store: &Store, entries: Vec<LaneEntry>) -> Result<LaneState, CommitError> {
        let mut root = match wait(Root::read(store)).unwrap() {
            Some(root) => root,
            None => wait(begin(store)),
        };
        root.genesis.job = JOB.into();
        let mut entries: Vec<Logged> = (0..).zip(entries).map(|(number, entry)| logged(number, entry)).collect();
        entries.iter_mut().for_each(|logged| name_root(&mut logged.entry, &root));
        wait(LaneState::replay(store, &root, 0, &LaneLog { entries, ..LaneLog::default() }))
    }

    /// What is wrong with a lane of these entries; withdrawn, the last but one does no harm.
    fn refused(store: &Store, entries: Vec<LaneEntry>) -> String {
        let last = entries.len() as u64 - 1;
        let withdrawn = entries.iter().cloned().chain([withdraw(last)]).collect();
        let state = replay(store, withdrawn).expect("it is withdrawn");
        assert!(!state.groups.contains_key(&last));
        replay(store, entries).unwrap_err().to_string()
    }

    #[test]
    fn a_group_that_says_what_cannot_be_is_refused_and_can_be_withdrawn() {
        let store = Store::memory("checkpoint");
        let cases = [
            (segment(None, None), "it covers nothing"),
            (segment(Some(vec![object(None, vec![(5, 2)])]), None), "rows 5..2 of a with 20 rows"),
            (segment(Some(vec![object(None, vec![(0, 21)])]), None), "rows 0..21 of a with 20 rows"),
            (
                segment(Some(vec![object(Some(vec![(0, 9)]), vec![(3, 12)])]), None),
                "rows 9..12 of a are not of its piece 1",
            ),
        ];
        for (entry, said) in cases {
            let error = refused(&store, vec![entry]);
            assert!(error.contains(&format!("lane/0/0000000000 is damaged: {said}")), "{error}");
        }
    }

    /// One row of a piece of so many rows.
    fn of_piece(own: u64, row: u64) -> LaneEntry {
        segment(Some(vec![object(Some(vec![(0, own)]), vec![(row, row + 1)])]), None)
    }

    #[test]
    fn a_row_is_done_by_one_group_that_counts() {
        let store = Store::memory("checkpoint");
        let twice = |entries: Vec<LaneEntry>| replay(&store, entries).unwrap_err().to_string();
        let error = twice(vec![of_piece(9, 0), of_piece(9, 1), of_piece(9, 0)]);
        let said = "lane/0/0000000000 is damaged: rows 0..1 of a are done by group 0 and by group 2";
        assert!(error.contains(said), "{error}");
        assert!(replay(&store, vec![of_piece(9, 0), withdraw(0), of_piece(9, 0)]).is_ok());
        // What a compaction holds is said by it.
        let close = LaneEntry::Close { token: "t".into(), how: Close::Stopped };
        let entries = vec![close, compaction(&store, 0, 0), of_piece(9, 4)];
        let error = twice(entries.clone());
        let said = "lane/0/0000000001 is damaged: rows 4..5 of a are done by group 0 and by group 2";
        assert!(error.contains(said), "{error}");
        // Whose they are is not known, so neither counts.
        let withdraw =
            LaneEntry::Withdraw { token: "t".into(), numbers: vec![0, 2], forget_known: false, reason: String::new() };
        let state = replay(&store, [entries, vec![withdraw]].concat()).unwrap();
        assert!(state.groups.is_empty() && state.objects.is_empty(), "{state:?}");
    }

    #[test]
    fn an_entry_withdraws_only_what_lies_below_it() {
        let store = Store::memory("checkpoint");
        for later in [1, 2, 9] {
            let error = replay(&store, vec![of_piece(9, 0), withdraw(later), of_piece(9, 1)]).unwrap_err().to_string();
            let said = format!("lane/0/0000000001 is damaged: it withdraws {later}, which is not below it");
            assert!(error.contains(&said), "{error}");
        }
        assert!(replay(&store, vec![of_piece(9, 0), withdraw(9), withdraw(1)]).is_ok());
    }

    /// Who says so, and is withdrawn, stood in another's place.
    #[test]
    fn rows_that_are_done_stay_done_when_another_group_is_withdrawn() {
        let store = Store::memory("checkpoint");
        let state = replay(&store, vec![of_piece(9, 0), of_piece(9, 0), withdraw(1)]).unwrap();
        assert_eq!(state.row_state("a", 0), Some(RowState::Done));
    }

    #[test]
    fn an_entry_that_names_another_file_as_its_side_file_is_refused() {
        let store = Store::memory("checkpoint");
        let file = SideFile { path: "root/0000000000".into(), rows: 0, bytes: 0, digest: String::new() };
        let error = refused(&store, vec![segment(None, Some(file.clone()))]);
        assert!(error.contains("root/0000000000 is damaged: it does not lie in side/"), "{error}");
        let LaneEntry::Segment(mut entry) = segment(Some(vec![]), None) else { unreachable!() };
        entry.ids = Some(file);
        let error = refused(&store, vec![LaneEntry::Segment(entry)]);
        assert!(error.contains("it names root/0000000000, which does not lie in side/"), "{error}");
    }

    #[test]
    fn dead_letters_lie_where_dead_letters_do() {
        let store = Store::memory("checkpoint");
        let file = |path: &str| FileEntry { path: path.into(), rows: 1, bytes: 1, digest: None, holds: None };
        let with = |files: Vec<FileEntry>, dead_letters: Vec<FileEntry>| {
            let LaneEntry::Segment(entry) = segment(Some(vec![]), None) else { unreachable!() };
            let (rows_written, rows_dead_lettered) = (files.len() as u64, dead_letters.len() as u64);
            let (object, rows_read) = (object(None, vec![(0, 1)]), 1 + rows_dead_lettered);
            let dead = (rows_dead_lettered > 0).then_some((1, rows_read)).into_iter().collect();
            let coverage = Some(vec![CoveredObject { dead, ..object }]);
            let counts = GroupCounts { rows_read, rows_written, rows_dead_lettered, ..entry.counts };
            let token = TOKEN.into();
            LaneEntry::Segment(Box::new(SegmentEntry { token, files, dead_letters, coverage, counts, ..*entry }))
        };
        let name = format!("{JOB}-0-{TOKEN}-000000.parquet");
        let (output, letters) = (file(&name), file(&format!("_wasmpipe/dead-letters/{name}")));
        assert!(replay(&store, vec![with(vec![output.clone()], vec![letters.clone()])]).is_ok());
        for entry in [with(vec![letters], vec![]), with(vec![], vec![output.clone()])] {
            let error = refused(&store, vec![entry]);
            assert!(error.contains("does not lie where files of its kind do"), "{error}");
        }
        for (from, to) in [("aa-0", "ab-0"), ("-0-", "-1-"), ("bb-", "ba-"), (".parquet", "")] {
            let error = refused(&store, vec![with(vec![file(&name.replace(from, to))], vec![])]);
            assert!(error.contains("which its writer cannot have written"), "{error}");
        }
        let error = refused(&store, vec![with(vec![output.clone(), output], vec![])]);
        assert!(error.contains("which is named twice"), "{error}");
    }

    fn compaction(store: &Store, group: u64, given_by: u64) -> LaneEntry {
        let counts = GroupCounts { rows_read: 5, rows_dropped: 5, ..GroupCounts::default() };
        let groups = BTreeMap::from([(group, GroupState { counts, ..GroupState::default() })]);
        let rows = [side::CoverageRow { group: given_by, root: 0, object: object(Some(vec![(0, 9)]), vec![(0, 5)]) }];
        let (groups, files) = wait(side::write_groups(store, "side/c", &groups, FORMAT)).unwrap();
        LaneEntry::Compaction(Box::new(CompactionEntry {
            token: "t".into(),
            groups,
            files,
            coverage: wait(side::write_coverage(store, "side/c-coverage".into(), &rows)).unwrap(),
            opens: wait(side::write_opens(store, "side/c", &BTreeMap::new())).unwrap(),
            ids: vec![],
            root: Some(0),
            root_digest: None,
        }))
    }

    #[test]
    fn a_compaction_speaks_of_its_own_groups_below_it() {
        let store = Store::memory("checkpoint");
        let close = LaneEntry::Close { token: "t".into(), how: Close::Stopped };
        assert!(replay(&store, vec![close.clone(), compaction(&store, 0, 0)]).is_ok());
        let error = replay(&store, vec![close.clone(), compaction(&store, 0, 3)]).unwrap_err().to_string();
        let said = "lane/0/0000000001 is damaged: rows 0..5 of a have their state from group 3, which is not there";
        assert!(error.contains(said), "{error}");
        let error = replay(&store, vec![close, compaction(&store, 1, 1)]).unwrap_err().to_string();
        assert!(error.contains("it covers 1, which is not below it"), "{error}");
    }

    #[test]
    fn entries_name_the_root_entry_that_is_there() {
        let store = Store::memory("checkpoint");
        let with = |digest: &str| {
            let LaneEntry::Segment(entry) = segment(Some(vec![]), None) else { unreachable!() };
            LaneEntry::Segment(Box::new(SegmentEntry { root_digest: Some(digest.into()), ..*entry }))
        };
        let error = replay(&store, vec![with(&"0".repeat(64))]).unwrap_err().to_string();
        assert!(error.contains("it was written under another root/0000000000 than the one that is there"), "{error}");
    }

    #[test]
    fn formats_never_go_back() {
        let store = Store::memory("checkpoint");
        let root = wait(begin(&store));
        let close = || LaneEntry::Close { token: "t".into(), how: Close::Stopped };
        let entries = vec![logged(0, close()), Logged { format: FORMAT_1, ..logged(1, close()) }];
        let log = LaneLog { entries, ..LaneLog::default() };
        let error = wait(LaneState::replay(&store, &root, 0, &log)).unwrap_err().to_string();
        assert!(error.contains("lane/0/0000000001 is damaged: it has format 1, entries below have 2"), "{error}");
    }

    /// The rows of the digests are right, but what is said of them is not.
    #[test]
    fn rows_that_were_not_counted_are_refused() {
        let store = Store::memory("checkpoint");
        let LaneEntry::Segment(entry) = segment(Some(vec![object(None, vec![(0, 5)])]), None) else { unreachable!() };
        let more = Some(vec![object(None, vec![(0, 6)])]);
        let error = refused(&store, vec![LaneEntry::Segment(Box::new(SegmentEntry { coverage: more, ..*entry }))]);
        assert!(error.contains("lane/0/0000000000 is damaged: it covers 6 done, 0 known"), "{error}");
    }
}
