//! Any bytes become a side file of a frozen job, and the entry that names it says their size, digest and rows.

use bytes::Bytes;
use parquet::file::metadata::ParquetMetaDataReader;
use wasmpipe::commit::{CompactionEntry, FORMAT, FORMAT_1, LaneEntry, RootEntry, SegmentEntry, SideFile};

use crate::checkpoint::Checkpoint;
use crate::frozen::Job;
use crate::plain::{self, edit, side_file};
use crate::rows::{self, Column, Values};

/// Leads bytes that go into the job of format 2.
pub(crate) const OF_FORMAT_2: u8 = b'2';

/// The job with that side file; none if the first byte names none. A small letter: the bytes are the file. A capital one:
/// they are rows of it.
pub(crate) fn checkpoint(data: &[u8]) -> Option<Checkpoint> {
    let (format, data) = data.strip_prefix(&[OF_FORMAT_2]).map_or((FORMAT_1, data), |data| (FORMAT, data));
    let (kind, data) = data.split_first()?;
    let bytes = match kind {
        b'a'..=b'z' => Bytes::copy_from_slice(data),
        _ => rows::parquet(columns(*kind, format)?, data),
    };
    let file = side_file("side/fuzzed.parquet", &bytes, rows_in(&bytes));
    let mut fuzzed = Fuzzed { job: plain::job(format), checkpoint: plain::job(format).checkpoint.clone() };
    fuzzed.checkpoint.side.insert(file.path.clone(), bytes);
    fuzzed.name(kind.to_ascii_lowercase(), file).then_some(fuzzed.checkpoint)
}

/// A job of which an entry is to name other bytes.
struct Fuzzed {
    job: &'static Job,
    checkpoint: Checkpoint,
}

impl Fuzzed {
    /// `false` if there is no such kind of side file.
    fn name(&mut self, kind: u8, file: SideFile) -> bool {
        match kind {
            b'c' => self.segment(|entry| (entry.coverage, entry.coverage_file) = (None, Some(file))),
            b'i' => self.segment(|entry| entry.ids = Some(file)),
            b't' => self.segment(|entry| {
                (entry.files, entry.dead_letters, entry.files_table) = (vec![], vec![], Some(file));
            }),
            b'g' => self.compaction(|entry| entry.groups = file),
            b'f' => self.compaction(|entry| entry.files = file),
            b'k' => self.compaction(|entry| entry.coverage = file),
            b'o' => self.compaction(|entry| entry.opens = file),
            b'm' => self.compaction(|entry| entry.ids[0].file = file),
            b'l' => self.source(file),
            b'p' => self.imported(file),
            _ => return false,
        }
        true
    }

    fn segment(&mut self, change: impl FnOnce(&mut SegmentEntry)) {
        let entries = self.checkpoint.lanes.get_mut(&1).expect("two lanes");
        edit(entries.get_mut(&self.job.segment).expect("it is there"), |entry| match entry {
            LaneEntry::Segment(entry) => change(entry),
            _ => unreachable!("it is a segment"),
        });
    }

    fn compaction(&mut self, change: impl FnOnce(&mut CompactionEntry)) {
        let entries = self.checkpoint.lanes.get_mut(&0).expect("two lanes");
        edit(entries.get_mut(&self.job.compaction).expect("it is there"), |entry| match entry {
            LaneEntry::Compaction(entry) => change(entry),
            _ => unreachable!("it is a compaction"),
        });
    }

    fn source(&mut self, file: SideFile) {
        edit(&mut self.checkpoint.root[self.job.source], |entry| match entry {
            RootEntry::Source { listing, .. } => *listing = file,
            _ => unreachable!("it is a new listing"),
        });
    }

    fn imported(&mut self, file: SideFile) {
        edit(&mut self.checkpoint.root[0], |entry| match entry {
            RootEntry::Genesis(genesis) => genesis.imported.push(file),
            _ => unreachable!("it is a genesis"),
        });
    }
}

/// What a footer says, if there is one.
fn rows_in(bytes: &Bytes) -> u64 {
    let read = || ParquetMetaDataReader::new().parse_and_finish(bytes).map(|read| read.file_metadata().num_rows());
    std::panic::catch_unwind(read).ok().and_then(Result::ok).and_then(|rows| rows.try_into().ok()).unwrap_or(0)
}

fn columns(kind: u8, format: u32) -> Option<&'static [Column]> {
    Some(match kind {
        b'C' | b'K' => &COVERAGE,
        b'G' => &GROUPS,
        b'F' | b'T' if format == FORMAT_1 => &FILES[..4],
        b'F' | b'T' => &FILES,
        b'O' => &OPENS,
        b'L' => &LISTING,
        b'I' => &IDS,
        b'M' => &MERGED_IDS,
        _ => return None,
    })
}

const OBJECTS: Values = Values::Text(&["a.parquet", "b.parquet", "new.parquet", "", "../up"]);
const TOKENS: Values = Values::Text(&["417eca48e2d85139", "new", ""]);

const COVERAGE: [Column; 10] = [
    Column("group", Values::Number),
    Column("root", Values::Number),
    Column("object", OBJECTS),
    Column("digest", Values::Text(&["d", "e", ""])),
    Column("size", Values::Number),
    Column("rows", Values::Number),
    Column("piece", Values::Number),
    Column("state", Values::TextOrNone(&["own", "done", "known", "failed", "dead", "other"])),
    Column("start", Values::NumberOrNone),
    Column("end", Values::NumberOrNone),
];

const COUNTS: &[&str] = &[
    r#"{"rows_read":3,"rows_dropped":0,"rows_failed":0,"rows_dead_lettered":0,"rows_known":0,"rows_written":3}"#,
    r#"{"rows_read":18446744073709551615,"rows_dropped":0,"rows_failed":9,"rows_dead_lettered":0,"rows_known":0,"rows_written":18446744073709551615}"#,
    "{}",
    "",
];

const GROUPS: [Column; 3] =
    [Column("group", Values::Number), Column("root", Values::Number), Column("counts", Values::Text(COUNTS))];

/// The last since format 2.
const FILES: [Column; 5] = [
    Column("group", Values::Number),
    Column("path", Values::Text(&["a", "_wasmpipe/dead-letters/a", "", "../up", "/"])),
    Column("rows", Values::Number),
    Column("bytes", Values::Number),
    Column(
        "digest",
        Values::TextOrNone(&["", "0", "5feceb66ffc86f38d952786c6d696c79c2dbc239dd4e91b46729d73a27fb57e9"]),
    ),
];

const OPENS: [Column; 7] = [
    Column("number", Values::Number),
    Column("token", TOKENS),
    Column("run", TOKENS),
    Column("root", Values::Number),
    Column("host", TOKENS),
    Column("boot", TOKENS),
    Column("pid", Values::Number),
];

const LISTING: [Column; 5] = [
    Column("path", OBJECTS),
    Column("size", Values::Number),
    Column("etag", Values::TextOrNone(&["e", ""])),
    Column("modified_ms", Values::Signed),
    Column("since", Values::Number),
];

const IDS: [Column; 1] = [Column("id", OBJECTS)];

const MERGED_IDS: [Column; 2] = [Column("id", OBJECTS), Column("_group", Values::Number)];
