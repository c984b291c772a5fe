//! One numbered, create-only log: create an entry, list, read. What the entries mean is not known here.
//!
//! Numbers are the truth. At or below what the newest compaction covers everything is ignored; above, entries are dense: a
//! hole means list again, then an error, unless a later entry withdraws that number. Above the compaction each entry names
//! the digest of the one below, so one that was replaced is told by the next. A compaction that was withdrawn, or replaced, covers
//! nothing: what lies below it counts, and what is missing there is named.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use blake3::Hash;
use bytes::Bytes;
use futures::StreamExt;
use object_store::PutMode;
use object_store::path::Path;

use super::document::{FORMAT_1, Stored, Unreadable, decode};
use super::entry::{LaneEntry, number_name};
use super::{CommitError, Root};
use crate::store::{Store, location, staged_for};

/// Entries of the first portion that is read from the end; each portion is twice as long as the one before.
const PORTION: usize = 256;
/// Numbers without an entry at which a lane is given up: all that is missing below them is not looked for.
pub(super) const DEFECTS_MAX: usize = 10_000;
/// The last number that has a name.
pub(super) const NUMBER_MAX: u64 = 9_999_999_999;
/// Attempts to read a log without a hole.
const READ_ATTEMPTS: u32 = 4;
/// Attempts to find out what became of an append, or to send it again.
const APPEND_ATTEMPTS: u32 = 6;

/// One entry of a lane, and its number.
#[derive(Clone, Debug, PartialEq)]
pub struct Logged {
    /// Its place in the lane.
    pub number: u64,
    /// What it says.
    pub entry: LaneEntry,
    /// The format that it is written in.
    pub format: u32,
    /// Digest of the entry below, as this one names it.
    pub below: Option<Hash>,
    /// Digest of its own bytes.
    pub digest: Hash,
}

impl Logged {
    /// Whether it stands above this very entry, as far as it says.
    fn is_above(&self, lower: &Logged) -> bool {
        match self.below {
            Some(below) => below == lower.digest,
            None => self.format == FORMAT_1 || matches!(self.entry, LaneEntry::Open { torn: true, .. }),
        }
    }
}

/// A number of a lane at which there is nothing to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defect {
    /// The number.
    pub number: u64,
    /// The entry's name relative to the checkpoint.
    pub name: String,
    /// What is wrong.
    pub message: String,
    /// Of which kind that is.
    pub kind: DefectKind,
}

/// What kind of defect there is at a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DefectKind {
    /// There is no such object.
    Missing,
    /// It cannot be read, or does not belong there.
    Damaged,
    /// It is sound, but the entry above it was written above another one.
    Replaced,
}

impl From<Defect> for CommitError {
    fn from(defect: Defect) -> CommitError {
        CommitError::damaged(defect.name, defect.message)
    }
}

/// What a lane holds from its newest compaction on.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LaneLog {
    /// In order; the first is number 0 or a compaction.
    pub entries: Vec<Logged>,
    /// Numbers that cannot be read and are not withdrawn. If they are very many, nothing below the last ones was read.
    pub defects: Vec<Defect>,
    /// Numbers below the compaction that are still there.
    pub covered: Vec<u64>,
}

impl LaneLog {
    /// The last entry's number.
    pub fn last(&self) -> Option<u64> {
        let defect = self.defects.iter().map(|defect| defect.number).max();
        self.entries.last().map(|logged| logged.number).max(defect)
    }

    /// The first and the last number, and how many entries there are.
    pub(super) fn extent(&self) -> (Option<u64>, Option<u64>, usize) {
        (self.entries.first().map(|logged| logged.number), self.last(), self.entries.len())
    }

    /// The same below a number.
    #[must_use]
    pub fn below(mut self, number: u64) -> LaneLog {
        self.entries.retain(|logged| logged.number < number);
        self.defects.retain(|defect| defect.number < number);
        self.covered.retain(|covered| *covered < number);
        self
    }
}

/// Whose entry stands at a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    Mine,
    Foreign,
}

/// The name of a lane's log.
pub(super) fn lane_log(lane: u32) -> String {
    format!("lane/{lane}")
}

pub(super) fn entry_name(lane: u32, number: u64) -> String {
    format!("lane/{lane}/{}", number_name(number))
}

/// Creates an entry. After an unclear answer it reads the number: the same bytes are mine, others are foreign, and if
/// there is nothing the same bytes go to the same number again.
pub(super) async fn create(store: &Store, name: &str, bytes: &Bytes) -> Result<Put, CommitError> {
    let path = location(name);
    let mut unclear = None;
    for attempt in 0..APPEND_ATTEMPTS {
        if attempt > 0 {
            store.pause(Duration::from_millis(25 << attempt)).await;
        }
        let put = store.objects().put_opts(&path, bytes.clone().into(), PutMode::Create.into()).await;
        let Err(cause) = put else { return Ok(Put::Mine) };
        match get(store, name).await {
            Ok(Some(found)) if found == *bytes => return Ok(Put::Mine),
            Ok(Some(_)) => return Ok(Put::Foreign),
            Ok(None) | Err(_) => unclear = Some(cause),
        }
    }
    Err(CommitError::store("create", name, unclear.expect("at least one attempt")))
}

/// Finds out whether the store honours "create, else fail": the bytes that stand at a name already are sent there again,
/// which must be refused. They are the same bytes, so nothing changes either way.
pub(super) async fn probe(store: &Store, name: &str, bytes: &Bytes) -> Result<(), CommitError> {
    let put = store.objects().put_opts(&Path::from(name), bytes.clone().into(), PutMode::Create.into()).await;
    match put {
        Ok(_) => Err(CommitError::refused(
            format!(
                "the store {} replaces an object where it was asked to create one only if there is none, so two \
                 runs at once could lose rows",
                store.url()
            ),
            "put the checkpoint on a store with conditional writes (S3, GCS, Azure, a local disk)",
        )),
        // A failure of another kind says nothing about the store; the next append will meet it, too.
        Err(_) => Ok(()),
    }
}

/// The bytes of an object, or none if there is no such object.
pub(super) async fn get(store: &Store, name: &str) -> Result<Option<Bytes>, CommitError> {
    match store.whole(name).await {
        Ok(bytes) => Ok(Some(bytes)),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(cause) => Err(CommitError::store("read", name, cause)),
    }
}

/// The numbers of a log, ascending.
pub(super) async fn list(store: &Store, folder: &str) -> Result<Vec<u64>, CommitError> {
    let names = store.names(folder).await.map_err(|cause| CommitError::store("list", folder, cause))?;
    let mut numbers = Vec::with_capacity(names.len());
    // A checkpoint that was copied from a local folder into a bucket may show what was staged there.
    for name in names.iter().filter(|name| staged_for(name).is_none()) {
        let no_entry = || CommitError::damaged(format!("{folder}/{name}"), "it is not an entry of the log");
        numbers.push(number_of(name).ok_or_else(no_entry)?);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// The number in the name of an entry.
pub(super) fn number_of(name: &str) -> Option<u64> {
    let is_number = name.len() == 10 && name.bytes().all(|byte| byte.is_ascii_digit());
    is_number.then(|| name.parse().ok()).flatten()
}

/// The last number of a lane, by a listing.
pub async fn last(store: &Store, lane: u32) -> Result<Option<u64>, CommitError> {
    Ok(list(store, &lane_log(lane)).await?.last().copied())
}

/// What a lane says now. `known` is what was read before: entries never change, so only what came since is read.
pub async fn read_lane(store: &Store, root: &Root, lane: u32, known: LaneLog) -> Result<LaneLog, CommitError> {
    let mut cache: BTreeMap<u64, Logged> = known.entries.into_iter().map(|logged| (logged.number, logged)).collect();
    let mut log = LaneLog::default();
    for attempt in 0..READ_ATTEMPTS {
        if attempt > 0 {
            store.pause(Duration::from_millis(100 << attempt)).await;
        }
        log = read_once(store, root, lane, &mut cache).await?;
        // Something that is missing may have been compacted meanwhile, or a listing was late; and what does not fit together
        // was not read at one time, perhaps.
        if log.defects.iter().all(|defect| defect.kind == DefectKind::Damaged) {
            return Ok(log);
        }
    }
    Ok(log)
}

/// As [`read_lane`], for who cannot go on with a defect.
pub async fn read_sound_lane(store: &Store, root: &Root, lane: u32, known: LaneLog) -> Result<LaneLog, CommitError> {
    let mut log = read_lane(store, root, lane, known).await?;
    if log.defects.is_empty() {
        return Ok(log);
    }
    // Where a compaction cannot be read, or is gone, what it covers is missing for good reason.
    let first = log.defects.iter().position(|defect| defect.kind != DefectKind::Missing);
    let newest = log.defects.len() - 1;
    Err(log.defects.swap_remove(first.unwrap_or(newest)).into())
}

async fn read_once(
    store: &Store,
    root: &Root,
    lane: u32,
    cache: &mut BTreeMap<u64, Logged>,
) -> Result<LaneLog, CommitError> {
    let numbers: BTreeSet<u64> = list(store, &lane_log(lane)).await?.into_iter().collect();
    let Some(&last) = numbers.last() else { return Ok(LaneLog::default()) };
    let reader = EntryReader { store, root, lane, listed: &numbers };
    let mut descent = Descent { lane, ..Descent::default() };
    let (mut end, mut portion) = (last + 1, PORTION as u64);
    while end > 0 && !descent.is_over() {
        let portion_max = (DEFECTS_MAX as u64).max(2 * descent.entries.len() as u64);
        let start = end.saturating_sub(portion.min(portion_max));
        reader.read(start..end, cache).await?.into_iter().rev().for_each(|read| descent.meet(read));
        (end, portion) = (start, portion * 2);
    }
    Ok(descent.log(&numbers))
}

/// Entries of a lane, met from the newest down to a compaction that counts.
#[derive(Default)]
struct Descent {
    lane: u32,
    /// The newest first.
    entries: Vec<Logged>,
    defects: Vec<Defect>,
    /// Numbers that entries withdraw which count themselves.
    withdrawn: BTreeSet<u64>,
    /// Whether the entry that was met last is not the one above which the next was written. What it says of the one below it
    /// says nothing then.
    is_replaced: bool,
    compacted: Option<u64>,
}

impl Descent {
    fn is_over(&self) -> bool {
        self.compacted.is_some() || self.defects.len() > DEFECTS_MAX
    }

    fn meet(&mut self, read: Result<Logged, Defect>) {
        match read {
            _ if self.compacted.is_some() => {}
            Ok(logged) => self.meet_entry(logged),
            Err(defect) => self.defects.push(defect),
        }
    }

    fn meet_entry(&mut self, logged: Logged) {
        let is_withdrawn = self.withdrawn.contains(&logged.number);
        let above = self.entries.last().filter(|above| above.number == logged.number + 1);
        self.is_replaced = above.is_some_and(|above| !self.is_replaced && !above.is_above(&logged));
        if self.is_replaced && !is_withdrawn {
            self.defects.push(replaced(self.lane, logged.number));
        }
        if !self.is_replaced && !is_withdrawn {
            match &logged.entry {
                LaneEntry::Withdraw { numbers, .. } => self.withdrawn.extend(below(logged.number, numbers)),
                LaneEntry::Compaction(_) => self.compacted = Some(logged.number),
                _ => {}
            }
        }
        self.entries.push(logged);
    }

    fn log(self, listed: &BTreeSet<u64>) -> LaneLog {
        let Descent { mut entries, mut defects, withdrawn, compacted, .. } = self;
        defects.retain(|defect| !withdrawn.contains(&defect.number));
        defects.sort_by_key(|defect| defect.number);
        let is_defect = |number: &u64| defects.binary_search_by_key(number, |defect| defect.number).is_ok();
        entries.retain(|logged| !is_defect(&logged.number));
        entries.reverse();
        let covered = listed.range(..compacted.unwrap_or(0)).copied().collect();
        LaneLog { entries, defects, covered }
    }
}

fn replaced(lane: u32, number: u64) -> Defect {
    let message = format!("it is not the entry above which {} was written", entry_name(lane, number + 1));
    Defect { number, name: entry_name(lane, number), message, kind: DefectKind::Replaced }
}

/// Numbers that entries withdraw. One that is withdrawn itself withdraws nothing.
pub(super) fn withdrawn(entries: &[Logged]) -> BTreeSet<u64> {
    let mut withdrawn = BTreeSet::new();
    for logged in entries.iter().rev() {
        if let LaneEntry::Withdraw { numbers, .. } = &logged.entry
            && !withdrawn.contains(&logged.number)
        {
            withdrawn.extend(below(logged.number, numbers));
        }
    }
    withdrawn
}

/// An entry can give up only what was there before it; replay refuses one that names more.
fn below(number: u64, named: &[u64]) -> impl Iterator<Item = u64> {
    named.iter().copied().filter(move |named| *named < number)
}

/// Reads entries of a lane that were listed.
struct EntryReader<'a> {
    store: &'a Store,
    root: &'a Root,
    lane: u32,
    listed: &'a BTreeSet<u64>,
}

impl EntryReader<'_> {
    async fn read(
        &self,
        range: std::ops::Range<u64>,
        cache: &mut BTreeMap<u64, Logged>,
    ) -> Result<Vec<Result<Logged, Defect>>, CommitError> {
        let unread = range.clone().filter(|number| !cache.contains_key(number) && self.listed.contains(number));
        let mut fetched = self.store.wholes(unread.map(|number| entry_name(self.lane, number)).collect());
        let mut read = Vec::new();
        for number in range {
            read.push(match cache.remove(&number) {
                Some(logged) => Ok(logged),
                None if self.listed.contains(&number) => {
                    self.decode(number, fetched.next().await.expect("an answer for each name"))?
                }
                None => Err(self.missing(number, "it is missing, but later entries are there")),
            });
        }
        Ok(read)
    }

    fn decode(&self, number: u64, bytes: object_store::Result<Bytes>) -> Result<Result<Logged, Defect>, CommitError> {
        let name = entry_name(self.lane, number);
        let bytes = match bytes {
            Ok(bytes) => bytes,
            Err(object_store::Error::NotFound { .. }) => {
                return Ok(Err(self.missing(number, "it was listed, but is gone")));
            }
            Err(cause) => return Err(CommitError::store("read", name, cause)),
        };
        let read = decode(&bytes, &lane_log(self.lane), number).and_then(|stored| self.of_job(stored));
        match read {
            Ok(Stored { entry, format, below, digest, .. }) => Ok(Ok(Logged { number, entry, format, below, digest })),
            Err(Unreadable::Damaged(message)) => Ok(Err(Defect { number, name, message, kind: DefectKind::Damaged })),
            Err(newer) => Err(newer.into_error(name)),
        }
    }

    /// An entry of another job is none of this one, and a job that began in format 2 has no entry of format 1.
    fn of_job(&self, stored: Stored<LaneEntry>) -> Result<Stored<LaneEntry>, Unreadable> {
        let job = &self.root.genesis.job;
        match &stored.job {
            Some(other) if other != job => Err(Unreadable::Damaged(format!("it is of job {other}, not of {job}"))),
            None if self.root.began_in != FORMAT_1 => {
                Err(Unreadable::Damaged(format!("it has format {FORMAT_1}, in which this job never was")))
            }
            _ => Ok(stored),
        }
    }

    fn missing(&self, number: u64, message: &str) -> Defect {
        let name = entry_name(self.lane, number);
        Defect { number, name, message: message.into(), kind: DefectKind::Missing }
    }
}

#[cfg(test)]
mod tests {
    use object_store::ObjectStoreExt;

    use super::super::document::{FORMAT, Head, encode};
    use super::super::entry::{Close, CompactionEntry, SideFile};
    use super::super::root::testing::begin;
    use super::*;

    fn wait<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
    }

    fn with_entry(name: &str) -> (Store, Root) {
        let store = Store::memory("checkpoint");
        let root = wait(begin(&store));
        wait(store.objects().put(&Path::from(name), r#"{"entry":"close"}"#.into())).unwrap();
        (store, root)
    }

    #[test]
    fn a_lane_that_lost_billions_of_entries_is_refused_at_once() {
        let (store, root) = with_entry(&entry_name(0, NUMBER_MAX));
        let log = wait(read_lane(&store, &root, 0, LaneLog::default())).unwrap();
        assert!((DEFECTS_MAX..4 * DEFECTS_MAX).contains(&log.defects.len()), "{}", log.defects.len());
        assert!(wait(read_sound_lane(&store, &root, 0, LaneLog::default())).is_err());
    }

    #[test]
    fn ten_characters_that_are_no_digits_are_no_number() {
        let error = wait(list(&with_entry("lane/0/+000000001").0, "lane/0")).unwrap_err().to_string();
        assert!(error.contains("lane/0/+000000001 is damaged: it is not an entry of the log"), "{error}");
    }

    fn close(token: &str) -> LaneEntry {
        LaneEntry::Close { token: token.into(), how: Close::Stopped }
    }

    /// A lane of entries that say who wrote them, each above the one before.
    fn lane(store: &Store, tokens: &[&str]) {
        lane_of(store, tokens.iter().map(|token| close(token)));
    }

    fn lane_of(store: &Store, entries: impl IntoIterator<Item = LaneEntry>) {
        let mut below = None;
        for (number, entry) in (0..).zip(entries) {
            let bytes = encode(&Head { format: FORMAT, job: "j", log: "lane/0", number, below }, &entry);
            below = Some(blake3::hash(&bytes));
            put(store, number, bytes);
        }
    }

    fn put(store: &Store, number: u64, bytes: Bytes) {
        wait(store.objects().put(&Path::from(entry_name(0, number)), bytes.into())).unwrap();
    }

    fn defects(store: &Store, root: &Root) -> Vec<(u64, DefectKind)> {
        let log = wait(read_lane(store, root, 0, LaneLog::default())).unwrap();
        log.defects.into_iter().map(|defect| (defect.number, defect.kind)).collect()
    }

    #[test]
    fn an_entry_that_was_replaced_is_told_by_the_one_above() {
        let (store, fork) = (Store::memory("checkpoint"), Store::memory("checkpoint"));
        let root = wait(begin(&store));
        lane(&store, &["a", "b", "c", "d"]);
        lane(&fork, &["a", "x", "c", "d"]);
        assert_eq!(defects(&store, &root), []);
        put(&store, 1, wait(get(&fork, &entry_name(0, 1))).unwrap().unwrap());
        assert_eq!(defects(&store, &root), [(1, DefectKind::Replaced)]);
        // The newest entry has none above it; who reads on from what was read before sees it.
        lane(&store, &["a", "b", "c", "d"]);
        put(&store, 3, wait(get(&fork, &entry_name(0, 3))).unwrap().unwrap());
        assert_eq!(defects(&store, &root), [(2, DefectKind::Replaced)]);
    }

    /// What stands in another's place says nothing of the one below it.
    #[test]
    fn an_entry_that_was_replaced_accuses_nobody() {
        let (store, fork) = (Store::memory("checkpoint"), Store::memory("checkpoint"));
        let root = wait(begin(&store));
        lane(&store, &["a", "b", "c", "d"]);
        lane(&fork, &["a", "x", "y", "d"]);
        put(&store, 2, wait(get(&fork, &entry_name(0, 2))).unwrap().unwrap());
        assert_eq!(defects(&store, &root), [(2, DefectKind::Replaced)]);
    }

    fn withdraw(numbers: &[u64]) -> LaneEntry {
        let (token, reason) = ("w".into(), String::new());
        LaneEntry::Withdraw { token, numbers: numbers.to_vec(), forget_known: false, reason }
    }

    fn compaction(token: &str) -> LaneEntry {
        let file = || SideFile { path: "side/t".into(), rows: 0, bytes: 0, digest: String::new() };
        LaneEntry::Compaction(Box::new(CompactionEntry {
            token: token.into(),
            groups: file(),
            files: file(),
            coverage: file(),
            opens: file(),
            ids: vec![],
            root: Some(0),
            root_digest: None,
        }))
    }

    /// The numbers that are read, and those of defects.
    fn read(store: &Store, root: &Root) -> (Vec<u64>, Vec<u64>) {
        let log = wait(read_lane(store, root, 0, LaneLog::default())).unwrap();
        let defects = log.defects.iter().map(|defect| defect.number).collect();
        (log.entries.iter().map(|logged| logged.number).collect(), defects)
    }

    #[test]
    fn a_compaction_covers_what_is_below_it_until_it_is_given_up() {
        let below = || [close("a"), close("b"), compaction("c"), close("d")];
        let (store, fork) = (Store::memory("checkpoint"), Store::memory("checkpoint"));
        let root = wait(begin(&store));
        lane_of(&store, below());
        assert_eq!(read(&store, &root), (vec![2, 3], vec![]));
        // Another in its place; then it is withdrawn; then the withdraw is.
        lane_of(&fork, [close("a"), close("b"), compaction("x")]);
        put(&store, 2, wait(get(&fork, &entry_name(0, 2))).unwrap().unwrap());
        wait(store.objects().delete(&Path::from(entry_name(0, 1)))).unwrap();
        assert_eq!(read(&store, &root), (vec![0, 3], vec![1, 2]));
        lane_of(&store, below().into_iter().chain([withdraw(&[2])]));
        assert_eq!(read(&store, &root), (vec![0, 1, 2, 3, 4], vec![]));
        lane_of(&store, below().into_iter().chain([withdraw(&[2]), withdraw(&[4])]));
        assert_eq!(read(&store, &root), (vec![2, 3, 4, 5], vec![]));
        let log = wait(read_lane(&store, &root, 0, LaneLog::default())).unwrap();
        assert_eq!(withdrawn(&log.entries), BTreeSet::from([4]));
    }

    #[test]
    fn an_entry_of_another_job_is_none_of_this() {
        let store = Store::memory("checkpoint");
        let root = wait(begin(&store));
        let entry = LaneEntry::Close { token: "t".into(), how: Close::Stopped };
        let head = Head { format: FORMAT, job: "k", log: "lane/0", number: 0, below: None };
        put(&store, 0, encode(&head, &entry));
        let error = wait(read_sound_lane(&store, &root, 0, LaneLog::default())).unwrap_err().to_string();
        assert!(error.contains("lane/0/0000000000 is damaged: it is of job k, not of j"), "{error}");
    }
}
