//! The jobs that every build reads, one of each format.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use bytes::Bytes;
use serde::de::DeserializeOwned;
use wasmpipe::commit::{CompactionEntry, FORMAT, FORMAT_1, Genesis, LaneEntry, RootEntry, SegmentEntry, SideFile};

use crate::checkpoint::{Checkpoint, Entry};
use crate::seal;

/// A job, and where in it is what others edit.
pub(crate) struct Job {
    pub(crate) checkpoint: Checkpoint,
    /// Number in lane 0.
    pub(crate) compaction: u64,
    /// Number in lane 1: the first that counts.
    pub(crate) segment: u64,
    /// Number in the root: the last listing.
    pub(crate) source: usize,
}

/// The job of a format. Entries of format 2 are drafts.
pub(crate) fn job(format: u32) -> &'static Job {
    static JOBS: LazyLock<BTreeMap<u32, Job>> =
        LazyLock::new(|| (FORMAT_1..=FORMAT).map(|format| (format, Job::of(read(format)))).collect());
    &JOBS[&format]
}

/// Side files of all formats.
pub(crate) fn side() -> BTreeMap<String, Bytes> {
    (FORMAT_1..=FORMAT).flat_map(|format| job(format).checkpoint.side.clone()).collect()
}

impl Job {
    pub(crate) fn of(checkpoint: Checkpoint) -> Job {
        let number = |lane: u32, is_it: &dyn Fn(&LaneEntry) -> bool| {
            let mut entries = checkpoint.lanes[&lane].iter();
            *entries.find(|(_, stored)| is_it(&entry(stored))).expect("the job has one").0
        };
        let withdrawn: Vec<u64> = checkpoint.lanes[&1].values().flat_map(withdrawn).collect();
        let (compaction, segment) = (
            number(0, &|entry| matches!(entry, LaneEntry::Compaction(_))),
            number(1, &|entry| matches!(entry, LaneEntry::Segment(segment) if segment.ids.is_some())),
        );
        let segment = checkpoint.lanes[&1]
            .range(segment..)
            .find(|(number, stored)| !withdrawn.contains(number) && matches!(entry(stored), LaneEntry::Segment(_)));
        let segment = *segment.expect("a group that counts").0;
        let is_source = |stored: &Entry| matches!(entry(stored), RootEntry::Source { .. });
        let source = checkpoint.root.iter().rposition(is_source).expect("a source that grew");
        Job { checkpoint, compaction, segment, source }
    }

    pub(crate) fn segment(&self) -> SegmentEntry {
        match entry(&self.checkpoint.lanes[&1][&self.segment]) {
            LaneEntry::Segment(entry) => *entry,
            _ => unreachable!("it is a segment"),
        }
    }

    pub(crate) fn compaction(&self) -> CompactionEntry {
        match entry(&self.checkpoint.lanes[&0][&self.compaction]) {
            LaneEntry::Compaction(entry) => *entry,
            _ => unreachable!("it is a compaction"),
        }
    }
}

impl Job {
    pub(crate) fn genesis(&self) -> Genesis {
        match entry(&self.checkpoint.root[0]) {
            RootEntry::Genesis(genesis) => *genesis,
            _ => unreachable!("it is a genesis"),
        }
    }

    /// The last.
    pub(crate) fn listing(&self) -> SideFile {
        match entry(&self.checkpoint.root[self.source]) {
            RootEntry::Source { listing, .. } => listing,
            _ => unreachable!("it is a new listing"),
        }
    }
}

fn withdrawn(stored: &Entry) -> Vec<u64> {
    match entry(stored) {
        LaneEntry::Withdraw { numbers, .. } => numbers,
        _ => Vec::new(),
    }
}

/// An entry of it, as a value.
pub(crate) fn entry<T: DeserializeOwned>(stored: &Entry) -> T {
    try_entry(stored.bytes()).expect("the frozen job's entries are sound")
}

/// What an entry says: of format 1 its document is that and a key `format`.
pub(crate) fn try_entry<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    let mut document: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(bytes)?;
    if let Some(body) = document.remove("body") {
        return serde_json::from_value(body);
    }
    document.remove("format");
    serde_json::from_value(document.into())
}

fn read(format: u32) -> Checkpoint {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../frozen/format-{format}/checkpoint"));
    let stored =
        |bytes: Bytes| if format == FORMAT_1 { Entry::Stored(bytes) } else { Entry::Draft(seal::draft(&bytes)) };
    let log = |log: &str| {
        let entries = files(&folder.join(log)).into_iter();
        entries.map(|(name, bytes)| (name.parse().expect("a number"), stored(bytes))).collect()
    };
    let root: BTreeMap<u64, Entry> = log("root");
    let mut checkpoint = Checkpoint {
        root: root.into_values().collect(),
        lanes: (0..2).map(|lane| (lane, log(&format!("lane/{lane}")))).collect(),
        side: files(&folder.join("side")).into_iter().map(|(name, bytes)| (format!("side/{name}"), bytes)).collect(),
    };
    checkpoint.shorten();
    checkpoint
}

fn files(folder: &Path) -> BTreeMap<String, Bytes> {
    let listed = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let name = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()).expect("a name in ASCII").to_owned();
    let paths = listed.map(|entry| entry.expect("a folder that can be listed").path());
    paths.map(|path| (name(&path), std::fs::read(&path).expect("a file of the tree").into())).collect()
}

/// Long tables tell no more than short ones, and each is read some dozen times.
const SIDE_FILE_BYTES_MAX: usize = 8 << 10;

impl Checkpoint {
    /// Leaves out lanes from the first entry on that names a long side file.
    fn shorten(&mut self) {
        let is_long = |bytes: &Bytes| bytes.len() > SIDE_FILE_BYTES_MAX;
        let long: Vec<String> =
            self.side.iter().filter(|(_, bytes)| is_long(bytes)).map(|(name, _)| name.clone()).collect();
        let names_it = |entry: &Entry| long.iter().any(|name| entry.names(name));
        for entries in self.lanes.values_mut() {
            let first = entries.iter().find(|(_, entry)| names_it(entry)).map(|(number, _)| *number);
            first.into_iter().for_each(|first| drop(entries.split_off(&first)));
        }
    }
}
