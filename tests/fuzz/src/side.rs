//! Any bytes become a side file of the frozen job, and the entry that names it says their size, digest and rows.

use bytes::Bytes;
use parquet::file::metadata::ParquetMetaDataReader;
use wasmpipe::commit::{CompactionEntry, LaneEntry, RootEntry, SegmentEntry, SideFile};

use crate::checkpoint::Checkpoint;
use crate::frozen::{self, COMPACTION, SEGMENT};
use crate::plain::{self, encode, side_file};
use crate::rows::{self, Column, Values};

/// The job with that side file; none if the first byte names none. A small letter: the bytes are the file. A capital one:
/// they are rows of it.
pub(crate) fn checkpoint(data: &[u8]) -> Option<Checkpoint> {
    let (kind, data) = data.split_first()?;
    let bytes = match kind {
        b'a'..=b'z' => Bytes::copy_from_slice(data),
        _ => rows::parquet(columns(*kind)?, data),
    };
    let file = side_file("side/fuzzed.parquet", &bytes, rows_in(&bytes));
    let mut checkpoint = plain::checkpoint();
    checkpoint.side.insert(file.path.clone(), bytes);
    match kind.to_ascii_lowercase() {
        b'c' => segment(&mut checkpoint, |entry| (entry.coverage, entry.coverage_file) = (None, Some(file))),
        b'i' => segment(&mut checkpoint, |entry| entry.ids = Some(file)),
        b'g' => compaction(&mut checkpoint, |entry| entry.groups = file),
        b'f' => compaction(&mut checkpoint, |entry| entry.files = file),
        b'k' => compaction(&mut checkpoint, |entry| entry.coverage = file),
        b'o' => compaction(&mut checkpoint, |entry| entry.opens = file),
        b'm' => compaction(&mut checkpoint, |entry| entry.ids[0].file = file),
        b'l' => source(&mut checkpoint, file),
        b'p' => imported(&mut checkpoint, file),
        _ => return None,
    }
    Some(checkpoint)
}

/// What a footer says, if there is one.
fn rows_in(bytes: &Bytes) -> u64 {
    let read = || ParquetMetaDataReader::new().parse_and_finish(bytes).map(|read| read.file_metadata().num_rows());
    std::panic::catch_unwind(read).ok().and_then(Result::ok).and_then(|rows| rows.try_into().ok()).unwrap_or(0)
}

fn segment(checkpoint: &mut Checkpoint, edit: impl FnOnce(&mut SegmentEntry)) {
    let entries = checkpoint.lanes.get_mut(&1).expect("two lanes");
    let LaneEntry::Segment(mut entry) = frozen::entry(&entries[&SEGMENT]) else { unreachable!("it is a segment") };
    edit(&mut entry);
    entries.insert(SEGMENT, encode(&LaneEntry::Segment(entry)));
}

fn compaction(checkpoint: &mut Checkpoint, edit: impl FnOnce(&mut CompactionEntry)) {
    let entries = checkpoint.lanes.get_mut(&0).expect("two lanes");
    let LaneEntry::Compaction(mut entry) = frozen::entry(&entries[&COMPACTION]) else {
        unreachable!("it is a compaction")
    };
    edit(&mut entry);
    entries.insert(COMPACTION, encode(&LaneEntry::Compaction(entry)));
}

fn source(checkpoint: &mut Checkpoint, file: SideFile) {
    let RootEntry::Source { rewritten, opens, .. } = frozen::entry(&checkpoint.root[1]) else {
        unreachable!("it is a new listing")
    };
    checkpoint.root[1] = encode(&RootEntry::Source { listing: file, rewritten, opens });
}

fn imported(checkpoint: &mut Checkpoint, file: SideFile) {
    let RootEntry::Genesis(mut genesis) = frozen::entry(&checkpoint.root[0]) else { unreachable!("it is a genesis") };
    genesis.imported.push(file);
    checkpoint.root[0] = encode(&RootEntry::Genesis(genesis));
}

fn columns(kind: u8) -> Option<&'static [Column]> {
    Some(match kind {
        b'C' | b'K' => &COVERAGE,
        b'G' => &GROUPS,
        b'F' => &FILES,
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

const FILES: [Column; 4] = [
    Column("group", Values::Number),
    Column("path", Values::Text(&["a", "_wasmpipe/dead-letters/a", "", "../up", "/"])),
    Column("rows", Values::Number),
    Column("bytes", Values::Number),
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
