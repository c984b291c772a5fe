//! A lane that this process writes: open it, append to it, leave it. Opening is the fence. Appends go one at a time to the
//! number after the writer's last, so a foreign entry there means that another writer has the lane now.

use std::time::Duration;

use blake3::Hash;
use object_store::path::Path;

use super::document::{FORMAT_1, Head, Unreadable, decode, encode};
use super::entry::{Close, CoveredObject, FileEntry, LaneEntry, SegmentEntry, SideFile, by_kind};
use super::group::Group;
use super::log::{NUMBER_MAX, Put, create, entry_name, get, lane_log, last, probe};
use super::recover::delete;
use super::root::RootLink;
use super::{CommitError, side};
use crate::sink::SinkFile;
use crate::store::Store;

/// Coverage that takes more bytes than this goes into a side file; an entry stays below 1 MiB.
const INLINE_COVERAGE_BYTES_MAX: usize = 256 << 10;

/// Sink files of one group, or ranges that they hold, beyond which they are named in a side file; an entry stays below 1 MiB.
const INLINE_FILES_MAX: usize = 1024;

/// The longest entry: one put holds it, one reader reads it.
const ENTRY_BYTES_MAX: usize = 1 << 20;

/// A lane that this process has opened.
#[derive(Debug)]
pub struct Lane {
    pub(super) store: Store,
    lane: u32,
    token: String,
    /// Number of this writer's open.
    opened: u64,
    next: u64,
    /// Digest of the entry below the next: this writer's last.
    below: Hash,
    root: RootLink,
    /// Number of the newest compaction, or 0.
    pub(super) compacted: u64,
}

/// Who opens lanes: one process.
#[derive(Clone, Debug)]
pub struct Writer {
    /// The process' random name.
    pub run: String,
    /// Host name.
    pub host: String,
    /// The host's boot; empty if it is not known.
    pub boot: String,
}

impl Writer {
    /// This process, with a new name.
    pub fn new() -> Writer {
        let read = |path| std::fs::read_to_string(path).map(|text| text.trim().to_string()).unwrap_or_default();
        let (host, boot) = (read("/proc/sys/kernel/hostname"), read("/proc/sys/kernel/random/boot_id"));
        Writer { run: super::random_name(), host, boot }
    }
}

impl Default for Writer {
    fn default() -> Writer {
        Writer::new()
    }
}

/// Which folders this process sees under which path: `mnt:[4026531841]`; empty where Linux does not say.
pub(super) fn mount_namespace() -> String {
    std::fs::read_link("/proc/self/ns/mnt").map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

impl Lane {
    /// Takes the lane: after this, whoever wrote before will find out at its next append. `root` reads the last root entry;
    /// it is called after the lane was listed, so that an open which says an earlier root entry has no entry below it that
    /// was written under a later one.
    pub async fn open(
        store: &Store,
        lane: u32,
        writer: &Writer,
        root: impl AsyncFn() -> Result<RootLink, CommitError>,
    ) -> Result<Lane, CommitError> {
        loop {
            // Of this attempt only: whoever replays a void open takes its token for dead, and sweeps what carries it.
            let token = super::random_name();
            let last_number = last(store, lane).await?;
            let Some(below) = Below::read(store, lane, last_number).await? else {
                // Compacted meanwhile.
                store.pause(PAUSE).await;
                continue;
            };
            let number = last_number.map_or(0, |last| last + 1);
            if number > NUMBER_MAX {
                return Err(CommitError::damaged(entry_name(lane, NUMBER_MAX), "no number comes after it"));
            }
            let root = root().await?;
            let entry = LaneEntry::Open {
                token: token.clone(),
                run: writer.run.clone(),
                root: root.number,
                root_digest: root.digest_text(),
                opened_ms: now_ms(),
                host: writer.host.clone(),
                boot: writer.boot.clone(),
                pid: std::process::id(),
                torn: matches!(below, Below::Torn) && root.format != FORMAT_1,
            };
            let log = lane_log(lane);
            let head = Head { format: root.format, job: &root.job, log: &log, number, below: below.digest() };
            let (name, bytes) = (entry_name(lane, number), encode(&head, &entry));
            if create(store, &name, &bytes).await? == Put::Foreign {
                continue;
            }
            probe(store, &name, &bytes).await?;
            // Others may have written far beyond a listing that was taken long ago; then this open fences nobody.
            if last(store, lane).await?.is_some_and(|last| last > number) {
                continue;
            }
            return Ok(Lane {
                store: store.clone(),
                lane,
                token,
                opened: number,
                next: number + 1,
                below: blake3::hash(&bytes),
                root,
                compacted: 0,
            });
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

    /// Number of this writer's next entry.
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Entries since the newest compaction that is known.
    pub fn entries(&self) -> u64 {
        self.next - self.compacted
    }

    /// Entries at and below this number are covered by a compaction.
    pub fn follow_compaction(&mut self, number: u64) {
        self.compacted = number;
    }

    /// Whether another run has opened the lane: what stands after this writer's last entry is not its own. It is an open
    /// then, which stays for ever. No now says nothing about later; only an append does.
    pub async fn is_taken(&self) -> Result<bool, CommitError> {
        Ok(!matches!(self.owner_of(self.next).await?, Owner::Nobody | Owner::Me))
    }

    /// Whether this writer's open is still there. It goes away with the whole checkpoint only: the job was finished by another
    /// run and the checkpoint deleted, or a person removed it, and perhaps another job has begun there.
    async fn is_open(&self) -> Result<bool, CommitError> {
        Ok(self.owner_of(self.opened).await? == Owner::Me)
    }

    async fn owner_of(&self, number: u64) -> Result<Owner, CommitError> {
        let Some(bytes) = get(&self.store, &entry_name(self.lane, number)).await? else { return Ok(Owner::Nobody) };
        let read = decode::<LaneEntry>(&bytes, &lane_log(self.lane), number);
        Ok(if read.is_ok_and(|stored| stored.entry.token() == self.token) { Owner::Me } else { Owner::Other })
    }

    /// That another run has opened the lane.
    pub fn fenced(&self) -> CommitError {
        CommitError::Fenced { lane: self.lane, number: self.next }
    }

    /// Removes the open again. Only where there is no job any more.
    pub async fn retract(self) -> Result<(), CommitError> {
        delete(&self.store, vec![Path::from(entry_name(self.lane, self.opened))]).await
    }

    /// Entries that follow are written under this root entry.
    pub fn follow_root(&mut self, root: RootLink) {
        self.root = root;
    }

    /// The root entry under which it writes.
    pub(super) fn root(&self) -> &RootLink {
        &self.root
    }

    /// Makes a group count: long coverage, then the segment. Its sink files and its ids are durable already.
    pub async fn commit(&mut self, group: Group) -> Result<u64, CommitError> {
        let coverage: Vec<CoveredObject> =
            group.objects.iter().map(|((path, _), covered)| covered.to_entry(path)).collect();
        let bytes = serde_json::to_vec_pretty(&coverage).expect("coverage is JSON").len();
        let (coverage, coverage_file) = if bytes <= INLINE_COVERAGE_BYTES_MAX {
            (Some(coverage), None)
        } else {
            let row = |object| side::CoverageRow { group: 0, root: 0, object };
            let rows: Vec<_> = coverage.into_iter().map(row).collect();
            let path = format!("side/{}-coverage-{}.parquet", self.token, group.number);
            (None, Some(side::write_coverage(&self.store, path, &rows).await?))
        };
        let files = self.named(group.files);
        let files_table = match self.root.format != FORMAT_1 && rows_of(&files) > INLINE_FILES_MAX {
            true => Some(self.files_table(group.number, &files).await?),
            false => None,
        };
        let [files, dead_letters] = by_kind(files.iter().filter(|_| files_table.is_none()));
        let segment = SegmentEntry {
            token: self.token.clone(),
            root: self.root.number,
            root_digest: self.root.digest_text(),
            group: group.number,
            files,
            dead_letters,
            files_table,
            coverage,
            coverage_file,
            ids: group.ids_file,
            counts: group.counts,
        };
        self.append(&LaneEntry::Segment(Box::new(segment))).await
    }

    /// Files as the format says them, those of a kind together.
    fn named(&self, mut files: Vec<SinkFile>) -> Vec<FileEntry> {
        files.sort_by_key(|file| file.kind);
        let has_digest = self.root.format != FORMAT_1;
        let entry = |SinkFile { path, rows, bytes, digest, holds, .. }| FileEntry {
            path,
            rows,
            bytes,
            digest: has_digest.then_some(digest),
            holds,
        };
        files.into_iter().map(entry).collect()
    }

    async fn files_table(&self, group: u64, files: &[FileEntry]) -> Result<SideFile, CommitError> {
        let path = format!("side/{}-files-{group}.parquet", self.token);
        let files: Vec<(u64, &FileEntry)> = files.iter().map(|file| (0, file)).collect();
        side::write_files(&self.store, path, &files, self.root.format).await
    }

    /// Makes entries count no more.
    pub async fn withdraw(&mut self, numbers: Vec<u64>, forget_known: bool, reason: &str) -> Result<u64, CommitError> {
        let (token, reason) = (self.token.clone(), reason.to_string());
        self.append(&LaneEntry::Withdraw { token, numbers, forget_known, reason }).await
    }

    /// Leaves the lane in order.
    pub async fn close(mut self, how: Close) -> Result<(), CommitError> {
        let token = self.token.clone();
        self.append(&LaneEntry::Close { token, how }).await.map(drop)
    }

    pub(super) async fn append(&mut self, entry: &LaneEntry) -> Result<u64, CommitError> {
        let (number, log, root) = (self.next, lane_log(self.lane), &self.root);
        let head = Head { format: root.format, job: &root.job, log: &log, number, below: Some(self.below) };
        let bytes = encode(&head, entry);
        if bytes.len() > ENTRY_BYTES_MAX {
            return Err(CommitError::refused(
                format!("lane {}: an entry of {} bytes, more than {ENTRY_BYTES_MAX}", self.lane, bytes.len()),
                "let a group have fewer files: a larger file_bytes_max, or smaller groups",
            ));
        }
        match create(&self.store, &entry_name(self.lane, number), &bytes).await? {
            // The whole log went away, and with it whatever this writer would have run into. A store that does not answer says
            // nothing of the kind.
            Put::Mine if matches!(self.is_open().await, Ok(false)) => {
                delete(&self.store, vec![Path::from(entry_name(self.lane, number))]).await?;
                Err(self.fenced())
            }
            Put::Mine => {
                self.next += 1;
                self.below = blake3::hash(&bytes);
                Ok(number)
            }
            Put::Foreign => Err(self.fenced()),
        }
    }
}

/// How long a table of these files is.
fn rows_of(files: &[FileEntry]) -> usize {
    files.iter().map(|file| file.holds.as_ref().map_or(1, |holds| holds.spans.len())).sum()
}

/// What stands below an open.
enum Below {
    Nothing,
    Entry(Hash),
    /// It cannot be read. Whoever opens the lane to mend it goes on; everybody else stops at it.
    Torn,
}

impl Below {
    /// None if the entry is gone. It was listed: somebody has compacted the lane since.
    async fn read(store: &Store, lane: u32, last: Option<u64>) -> Result<Option<Below>, CommitError> {
        let Some(number) = last else { return Ok(Some(Below::Nothing)) };
        let name = entry_name(lane, number);
        let Some(bytes) = get(store, &name).await? else { return Ok(None) };
        match decode::<LaneEntry>(&bytes, &lane_log(lane), number) {
            Ok(stored) => Ok(Some(Below::Entry(stored.digest))),
            Err(Unreadable::Damaged(_)) => Ok(Some(Below::Torn)),
            Err(newer) => Err(newer.into_error(name)),
        }
    }

    fn digest(&self) -> Option<Hash> {
        match self {
            Below::Entry(digest) => Some(*digest),
            Below::Nothing | Below::Torn => None,
        }
    }
}

/// Who wrote an entry.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Owner {
    Nobody,
    Me,
    Other,
}

/// Between two listings of a lane that is being compacted.
const PAUSE: Duration = Duration::from_millis(25);

/// Milliseconds since 1970, for people.
pub fn now_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

/// The lane of a piece of an object: fixed for a job's life by the object's path relative to the source, the piece's number
/// and genesis' number of lanes.
pub fn lane_of(path: &str, piece: u32, lanes: u32) -> u32 {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&piece.to_le_bytes()).update(path.as_bytes());
    let hash = hasher.finalize();
    let first = hash.as_bytes().first_chunk::<8>().expect("a hash has 32 bytes");
    (u64::from_le_bytes(*first) % u64::from(lanes.max(1))) as u32
}

/// How many pieces an object of this size has.
pub fn pieces(size: u64, split_bytes: u64) -> u32 {
    size.div_ceil(split_bytes.max(1)).clamp(1, u64::from(u32::MAX)) as u32
}

/// How many bytes of an object of this size are in one of its pieces.
pub fn piece_bytes(size: u64, piece: u32, split_bytes: u64) -> u64 {
    size.saturating_sub(split_bytes.saturating_mul(u64::from(piece))).min(split_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lane_of_a_piece_never_changes() {
        let lanes: Vec<u32> = (0..6).map(|piece| lane_of("a/part-1.parquet", piece, 64)).collect();
        assert_eq!(lanes, LANES_OF_A_JOB_OF_FORMAT_1);
        assert_eq!(lane_of("anything", 7, 1), 0);
    }

    /// Another hash would give lanes of running jobs other pieces: rows would be lost or doubled.
    const LANES_OF_A_JOB_OF_FORMAT_1: [u32; 6] = [42, 46, 48, 23, 11, 16];

    #[test]
    fn objects_are_cut_by_size_alone() {
        assert_eq!([0, 1, 10, 11, 20, 21].map(|size| pieces(size, 10)), [1, 1, 1, 2, 2, 3]);
        assert_eq!([0, 1, 2].map(|piece| piece_bytes(21, piece, 10)), [10, 10, 1]);
        assert_eq!([7, 0].map(|size| piece_bytes(size, 0, u64::MAX)), [7, 0]);
    }
}
