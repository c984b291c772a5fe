//! A lane: open it, append to it, replay it. Opening is the fence. Appends go one at a time to the number after the
//! writer's last, so a foreign entry there means that another writer has the lane now.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::PutMode;
use object_store::path::Path;

use super::coverage::ObjectCoverage;
use super::entry::{Close, CoveredObject, FORMAT, FileEntry, LaneEntry, SegmentEntry, SideFile, number_name};
use super::group::{Group, GroupCounts};
use super::root::{Listing, get};
use super::{CommitError, side};
use crate::sink::Receipt;
use crate::store::Store;

/// Coverage that takes more bytes than this goes into a side file; an entry stays below 1 MiB.
const INLINE_COVERAGE_BYTES_MAX: usize = 256 << 10;
/// Entries read at a time.
const READS_MAX: usize = 32;
/// Listings until a hole in a lane is believed.
const HOLE_LISTINGS: u32 = 3;
/// Attempts to find out what became of an append, or to send it again.
const APPEND_ATTEMPTS: u32 = 5;

/// A lane that this process has opened.
#[derive(Debug)]
pub struct Lane {
    store: Store,
    lane: u32,
    token: String,
    /// Number of this writer's open.
    opened: u64,
    next: u64,
    root: u64,
}

/// One entry of a lane, and its number.
#[derive(Clone, Debug)]
pub struct Logged {
    /// Its place in the lane.
    pub number: u64,
    /// What it says.
    pub entry: LaneEntry,
}

/// What a lane's entries say in all.
#[derive(Clone, Debug, Default)]
pub struct LaneState {
    /// By path relative to the source.
    pub objects: HashMap<String, ObjectCoverage>,
    /// Sink files that count.
    pub files: Vec<FileEntry>,
    /// Id files, with the root entry under which each was written.
    pub ids: Vec<(u64, SideFile)>,
    /// Side files that a segment names.
    pub side_files: HashSet<String>,
    /// Tokens by the number of their open.
    pub tokens: BTreeMap<u64, String>,
    /// Counts over all segments.
    pub counts: GroupCounts,
    /// Segments.
    pub segments: u64,
    /// Number of the last entry.
    pub last: Option<u64>,
    /// How the last writer left, if the last entry says so.
    pub closed: Option<Close>,
}

impl Lane {
    /// Takes the lane: after this, whoever wrote before will find out at its next append.
    pub async fn open(store: &Store, lane: u32, root: u64) -> Result<Lane, CommitError> {
        loop {
            // Of this attempt only: whoever replays a void open takes its token for dead, and sweeps what carries it.
            let token = super::random_name();
            let number = numbers(store, lane).await?.last().map_or(0, |last| last + 1);
            let entry = LaneEntry::Open {
                format: FORMAT,
                token: token.clone(),
                root,
                opened_ms: now_ms(),
                host: host_name(),
                pid: std::process::id(),
            };
            match create(store, &entry_name(lane, number), &encode(&entry)).await? {
                Put::Mine => {}
                Put::Foreign => continue,
            }
            // Others may have written far beyond a listing that was taken long ago; then this open fences nobody.
            if numbers(store, lane).await?.last().is_some_and(|&last| last > number) {
                continue;
            }
            return Ok(Lane { store: store.clone(), lane, token, opened: number, next: number + 1, root });
        }
    }

    /// This writer's random name.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// Which lane.
    pub fn number(&self) -> u32 {
        self.lane
    }

    /// Number of this writer's open.
    pub fn opened(&self) -> u64 {
        self.opened
    }

    /// Whether nobody has opened the lane since. True now says nothing about later; only an append does.
    pub async fn is_last(&self) -> Result<bool, CommitError> {
        Ok(numbers(&self.store, self.lane).await?.last() == Some(&(self.next - 1)))
    }

    /// Entries that follow are written under this root entry.
    pub fn follow_root(&mut self, root: u64) {
        self.root = root;
    }

    /// Makes a group count: side files, then the segment. Its sink files are durable already.
    pub async fn commit(&mut self, group: Group, receipt: Receipt) -> Result<u64, CommitError> {
        let ids = side::write_ids(&self.store, &self.token, group.number, &group.ids).await?;
        let coverage: Vec<CoveredObject> = group.objects.iter().map(|(path, covered)| covered.to_entry(path)).collect();
        let bytes = serde_json::to_vec_pretty(&coverage).expect("coverage is JSON").len();
        let (coverage, coverage_file) = if bytes <= INLINE_COVERAGE_BYTES_MAX {
            (Some(coverage), None)
        } else {
            (None, Some(side::write_coverage(&self.store, &self.token, group.number, &coverage).await?))
        };
        let segment = SegmentEntry {
            format: FORMAT,
            token: self.token.clone(),
            root: self.root,
            group: group.number,
            files: receipt.files.into_iter().map(FileEntry::from).collect(),
            coverage,
            coverage_file,
            ids,
            counts: group.counts,
        };
        self.append(&LaneEntry::Segment(Box::new(segment))).await
    }

    /// Leaves the lane in order.
    pub async fn close(mut self, how: Close) -> Result<(), CommitError> {
        let token = self.token.clone();
        self.append(&LaneEntry::Close { format: FORMAT, token, how }).await.map(drop)
    }

    async fn append(&mut self, entry: &LaneEntry) -> Result<u64, CommitError> {
        let number = self.next;
        match create(&self.store, &entry_name(self.lane, number), &encode(entry)).await? {
            Put::Mine => {
                self.next += 1;
                Ok(number)
            }
            Put::Foreign => Err(CommitError::Fenced { lane: self.lane, number }),
        }
    }
}

impl From<crate::sink::SinkFile> for FileEntry {
    fn from(file: crate::sink::SinkFile) -> FileEntry {
        FileEntry { path: file.path, rows: file.rows, bytes: file.bytes }
    }
}

/// Whose entry stands at a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Put {
    Mine,
    Foreign,
}

/// Creates an entry. After an unclear answer it reads the number: the same bytes are mine, others are foreign, and if
/// there is nothing the same bytes go to the same number again.
pub(super) async fn create(store: &Store, name: &str, bytes: &Bytes) -> Result<Put, CommitError> {
    let path = Path::from(name);
    let mut unclear = None;
    for attempt in 0..APPEND_ATTEMPTS {
        if attempt > 0 {
            tokio::time::sleep(Duration::from_millis(50 << attempt)).await;
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

fn encode(entry: &LaneEntry) -> Bytes {
    serde_json::to_vec_pretty(entry).expect("entries are JSON").into()
}

fn entry_name(lane: u32, number: u64) -> String {
    format!("lane/{lane}/{}", number_name(number))
}

/// The numbers of a lane, ascending, without holes.
async fn numbers(store: &Store, lane: u32) -> Result<Vec<u64>, CommitError> {
    let mut hole = 0;
    for attempt in 0..HOLE_LISTINGS {
        if attempt > 0 {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let found = list(store, lane).await?;
        match found.iter().zip(0..).find(|(found, expected)| **found != *expected) {
            None => return Ok(found),
            Some((_, missing)) => hole = missing,
        }
    }
    Err(CommitError::damaged(entry_name(lane, hole), "it is missing, but later entries are there"))
}

async fn list(store: &Store, lane: u32) -> Result<Vec<u64>, CommitError> {
    let folder = format!("lane/{lane}");
    let names: Vec<Path> = store
        .objects()
        .list(Some(&Path::from(folder.as_str())))
        .map_ok(|meta| meta.location)
        .try_collect()
        .await
        .map_err(|cause| CommitError::store("list", &folder, cause))?;
    let mut numbers = Vec::with_capacity(names.len());
    for name in names {
        let digits = name.filename().filter(|digits| digits.len() == 10);
        let number = digits.and_then(|digits| digits.parse().ok());
        numbers.push(number.ok_or_else(|| CommitError::damaged(&name, "it is not an entry of the log"))?);
    }
    numbers.sort_unstable();
    Ok(numbers)
}

/// Every entry of a lane below `below` (all if none), in order.
pub async fn read_lane(store: &Store, lane: u32, below: Option<u64>) -> Result<Vec<Logged>, CommitError> {
    let numbers = numbers(store, lane).await?;
    let wanted = numbers.into_iter().filter(|number| below.is_none_or(|below| *number < below));
    let reads: Vec<_> = wanted.map(|number| read_entry(store, lane, number)).collect();
    futures::stream::iter(reads).buffered(READS_MAX).try_collect().await
}

async fn read_entry(store: &Store, lane: u32, number: u64) -> Result<Logged, CommitError> {
    let name = entry_name(lane, number);
    let bytes = get(store, &name).await?.ok_or_else(|| CommitError::damaged(&name, "it was listed, but is gone"))?;
    check_format(&name, &bytes)?;
    let entry = serde_json::from_slice(&bytes).map_err(|error| CommitError::damaged(&name, error))?;
    Ok(Logged { number, entry })
}

/// Refuses what another build wrote in a format that this one does not know, and what is no entry at all.
pub(super) fn check_format(name: &str, bytes: &Bytes) -> Result<(), CommitError> {
    #[derive(serde::Deserialize)]
    struct Head {
        format: u32,
    }
    if bytes.is_empty() {
        return Err(CommitError::damaged(name, "it has no bytes"));
    }
    let head: Head = serde_json::from_slice(bytes).map_err(|error| CommitError::damaged(name, error))?;
    if head.format == FORMAT {
        return Ok(());
    }
    let message = format!("it has format {}, this build of wasmpipe knows {FORMAT}", head.format);
    Err(CommitError::damaged(name, message))
}

impl LaneState {
    /// Replays entries. Coverage counts for an object of the listing if it was written under a root entry that has its
    /// content; for objects that the listing has not it is of no use any more.
    pub async fn replay(store: &Store, entries: &[Logged], listing: &Listing) -> Result<LaneState, CommitError> {
        let since: HashMap<&str, u64> =
            listing.iter().map(|pinned| (pinned.object.path.as_ref(), pinned.since)).collect();
        let mut state = LaneState::default();
        for Logged { number, entry } in entries {
            state.last = Some(*number);
            state.closed = None;
            match entry {
                LaneEntry::Open { token, .. } => drop(state.tokens.insert(*number, token.clone())),
                LaneEntry::Close { how, .. } => state.closed = Some(*how),
                LaneEntry::Segment(segment) => state.segment(store, *number, segment, &since).await?,
            }
        }
        Ok(state)
    }

    /// Whether every row of an object is covered.
    pub fn is_complete(&self, path: &str) -> bool {
        self.objects.get(path).is_some_and(ObjectCoverage::is_complete)
    }

    async fn segment(
        &mut self,
        store: &Store,
        number: u64,
        segment: &SegmentEntry,
        since: &HashMap<&str, u64>,
    ) -> Result<(), CommitError> {
        self.segments += 1;
        self.counts.add(&segment.counts);
        self.files.extend(segment.files.iter().cloned());
        self.side_files.extend(segment.ids.iter().chain(&segment.coverage_file).map(|file| file.path.clone()));
        self.ids.extend(segment.ids.iter().map(|file| (segment.root, file.clone())));
        let read;
        let covered = match (&segment.coverage, &segment.coverage_file) {
            (Some(covered), _) => covered,
            (None, Some(file)) => {
                read = side::read_coverage(store, file).await?;
                &read
            }
            (None, None) => return Err(CommitError::damaged(format!("segment {number}"), "it covers nothing")),
        };
        for object in covered {
            if since.get(object.object.as_str()).is_some_and(|since| segment.root >= *since) {
                self.cover(number, object)?;
            }
        }
        Ok(())
    }

    fn cover(&mut self, number: u64, entry: &CoveredObject) -> Result<(), CommitError> {
        let damaged = |message: String| CommitError::damaged(format!("segment {number}"), message);
        let new = ObjectCoverage::from_entry(entry).map_err(damaged)?;
        let Some(known) = self.objects.get_mut(&entry.object) else {
            self.objects.insert(entry.object.clone(), new);
            return Ok(());
        };
        if known.rows != new.rows || known.digest != new.digest {
            return Err(damaged(format!("{} is not the object that earlier segments speak of", entry.object)));
        }
        new.coverage.iter().for_each(|(range, state)| known.coverage.set(range, state));
        Ok(())
    }
}

/// Milliseconds since 1970, for people.
pub fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").map(|name| name.trim().to_string()).unwrap_or_default()
}
