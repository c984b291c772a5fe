//! Bytes to begin with: the frozen jobs' entries, side files, claims and manifests, and such as they have none of.

use std::path::Path;

use wasmpipe::commit::{FORMAT, FORMAT_1, FileEntry, GroupCounts, LaneEntry, SegmentEntry};

use crate::checkpoint::{Checkpoint, Entry};
use crate::frozen::Job;
use crate::plain;
use crate::side::OF_FORMAT_2;
use crate::{frozen, sink};

/// For [`crate::entries`]: the whole jobs, each of their lanes, and lanes with what they have not.
pub fn entry_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for format in FORMAT_1..=FORMAT {
        seeds.extend([frozen::job(format), plain::job(format)].map(|job| job.checkpoint.to_entries()));
        seeds.extend([0, 1].map(|lane| alone(plain::job(format), lane).to_entries()));
    }
    seeds.extend(MORE.iter().map(|entries| lane_of(entries)));
    seeds.push(states().to_entries());
    seeds
}

/// One lane, below as much of the root as it names.
fn alone(job: &Job, lane: u32) -> Checkpoint {
    let mut one = job.checkpoint.clone();
    one.lanes.retain(|kept, _| *kept == lane);
    if matches!(one.root[0], Entry::Stored(_)) {
        one.root.clear();
    }
    one
}

/// For [`crate::side_files`]: each as it is, without compression, and some rows of each kind.
pub fn side_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (format, prefix) in [(FORMAT_1, &[][..]), (FORMAT, &[OF_FORMAT_2])] {
        let jobs = [frozen::job(format), plain::job(format)];
        seeds.extend(jobs.into_iter().flat_map(as_they_are).map(|seed| [prefix, &seed].concat()));
        seeds.extend(ROWS.iter().map(|seed| [prefix, seed].concat()));
    }
    seeds.push([&[OF_FORMAT_2], FILES_OF_FORMAT_2].concat());
    seeds
}

fn as_they_are(job: &Job) -> Vec<Vec<u8>> {
    let compaction = job.compaction();
    let [coverage, groups, files, opens] =
        [compaction.coverage, compaction.groups, compaction.files, compaction.opens].map(|file| file.path);
    let ids = job.segment().ids.expect("ids of what is done").path;
    let names = [
        (b'c', &coverage),
        (b'k', &coverage),
        (b'g', &groups),
        (b'f', &files),
        (b't', &files),
        (b'o', &opens),
        (b'm', &compaction.ids[0].file.path),
        (b'i', &ids),
        (b'l', &job.listing().path),
        (b'p', &ids),
    ];
    names.into_iter().map(|(kind, name)| [&[kind], job.checkpoint.side[name].as_ref()].concat()).collect()
}

/// For [`crate::sink_documents`]: what a job leaves in its sink, as it is and to be sealed.
pub fn sink_seeds() -> Vec<Vec<u8>> {
    sink::seeds()
}

/// Writes seeds into a folder, a file each.
pub fn write_seeds(folder: &Path, seeds: &[Vec<u8>]) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let files = (0..).zip(seeds);
    files
        .into_iter()
        .try_for_each(|(number, seed): (usize, _)| std::fs::write(folder.join(format!("seed-{number}")), seed))
}

/// These documents, below the frozen job's genesis of their format.
fn lane_of(entries: &[&str]) -> Vec<u8> {
    let documents = entries.iter().map(|entry| format!("{entry}\0"));
    documents.collect::<String>().into_bytes()
}

/// A group of two lanes' worth of states: done after failed, known and asked again, a piece, a group withdrawn.
fn states() -> Checkpoint {
    let first = frozen::job(FORMAT_1).segment();
    let mut checkpoint = Checkpoint::default();
    let ranges: [[&[(u64, u64)]; 4]; 3] =
        [[&[(0, 5)], &[(5, 7)], &[(7, 9)], &[]], [&[(7, 9)], &[], &[], &[(9, 12)]], [&[(12, 20)], &[], &[(2, 3)], &[]]];
    for (group, states) in (0..).zip(ranges) {
        let entry = LaneEntry::Segment(Box::new(covering(&first, group, states)));
        let number = checkpoint.lanes.entry(0).or_default().len() as u64;
        checkpoint.lanes.entry(0).or_default().insert(number, Entry::Stored(plain::encode(&entry)));
    }
    checkpoint
}

fn covering(like: &SegmentEntry, group: u64, states: [&[(u64, u64)]; 4]) -> SegmentEntry {
    let rows = |ranges: &[(u64, u64)]| ranges.iter().map(|(start, end)| end - start).sum();
    let [done, rows_known, rows_failed, rows_dead_lettered] = states.map(rows);
    let rows_read = done + rows_failed + rows_dead_lettered;
    let counts =
        GroupCounts { rows_read, rows_dropped: done, rows_failed, rows_dead_lettered, rows_known, rows_written: 0 };
    let mut ids = like.ids.clone();
    ids.iter_mut().for_each(|file| file.rows = done);
    let dead_letters = like.dead_letters.iter().map(|file| FileEntry { rows: rows_dead_lettered, ..file.clone() });
    let (files, dead_letters) = (vec![], dead_letters.collect());
    let mut entry = SegmentEntry { group, ids, files, dead_letters, counts, ..like.clone() };
    let object = &mut entry.coverage.as_mut().expect("it is short")[0];
    [object.done, object.known, object.failed, object.dead] = states.map(<[_]>::to_vec);
    entry
}

const MORE: [&[&str]; 8] = [
    &[
        r#"0{"entry":"open","format":1,"token":"t","run":"r","root":0,"opened_ms":1,"host":"h","boot":"b","pid":1}"#,
        r#"0{"entry":"segment","format":1,"token":"t","root":0,"group":0,"files":[{"path":"a","rows":6,"bytes":9}],"coverage":[{"object":"a.parquet","digest":"d","size":9,"rows":20,"piece":1,"own":[[4,20]],"done":[[4,10]],"known":[[10,20]]}],"coverage_file":null,"ids":{"path":"side/417eca48e2d85139-ids-1.parquet","rows":6,"bytes":9,"digest":""},"counts":{"rows_read":6,"rows_dropped":0,"rows_failed":0,"rows_dead_lettered":0,"rows_known":10,"rows_written":6}}"#,
        r#"0{"entry":"withdraw","format":1,"token":"t","numbers":[1],"forget_known":true,"reason":"x"}"#,
        r#"0{"entry":"close","format":1,"token":"t","how":"finished"}"#,
    ],
    &[
        r#"r{"entry":"relocate","format":1,"source":"file:///a","sink":"file:///b","checkpoint":"file:///c"}"#,
        r#"0{"entry":"withdraw","format":1,"token":"t","numbers":[0,7],"forget_known":false,"reason":""}"#,
    ],
    &[r#"r{"entry":"deleted","format":1}"#],
    &["h05", "h1999", r#"0{"entry":"close","format":1,"token":"t","how":"stopped"}"#, "1", "1{"],
    &[
        r#"R{"below":"@","body":{"entry":"relocate","source":"file:///a","sink":"file:///b","checkpoint":"file:///c"},"format":2,"job":"@","log":"@","number":"@"}"#,
        r#"A{"below":null,"body":{"entry":"open","token":"t","run":"r","root":0,"root_digest":"@","opened_ms":1,"host":"h","boot":"b","pid":1},"format":2,"job":"@","log":"@","number":"@"}"#,
        r#"A{"below":"@","body":{"entry":"segment","token":"t","root":1,"root_digest":"@","group":0,"files":[{"path":"a","rows":6,"bytes":9,"digest":""}],"coverage":[{"object":"1.parquet","digest":"d","size":9,"rows":20,"piece":1,"own":[[4,20]],"done":[[4,10]],"known":[[10,20]]}],"coverage_file":null,"ids":null,"counts":{"rows_read":6,"rows_dropped":0,"rows_failed":0,"rows_dead_lettered":0,"rows_known":10,"rows_written":6}},"format":2,"job":"@","log":"@","number":"@"}"#,
        r#"A{"below":"@","body":{"entry":"withdraw","token":"t","numbers":[1],"forget_known":true,"reason":"x"},"format":2,"job":"@","log":"@","number":"@"}"#,
        r#"A{"below":null,"body":{"entry":"open","token":"u","run":"s","root":0,"root_digest":"@","opened_ms":1,"host":"h","boot":"b","pid":1,"torn":true},"format":2,"job":"@","log":"@","number":"@"}"#,
    ],
    &[
        r#"R{"below":"@","body":{"entry":"upgrade","below":[]},"format":2,"job":"@","log":"@","number":"@"}"#,
        r#"R{"below":"@","body":{"entry":"drain","run":"r"},"format":2,"job":"@","log":"@","number":"@"}"#,
    ],
    &[r#"R{"below":"@","body":{"entry":"deleted"},"format":2,"job":"@","log":"@","number":"@"}"#],
    &[r#"A{"below":null,"body":{"entry":"open"},"format":3,"job":"0","log":"root","number":9}"#],
];

/// Sound ones: a byte per value.
const ROWS: [&[u8]; 7] = [
    b"C\x00\x00\x00\x00\x09\x14\x00\x01\x00\x05\x00\x00\x00\x00\x09\x14\x00\x02\x05\x07\x00\x00\x02\x00\x09\x14\x01\x00\x00\x09",
    b"K\x01\x00\x00\x00\x09\x14\x00\x01\x00\x05\x02\x00\x00\x00\x09\x14\x00\x04\x05\x07\x00\x00\x02\x00\x09\x00\x00\xff\xff\xff",
    b"G\x01\x00\x00\x02\x00\x00\x03\x00\x00",
    b"F\x01\x00\x03\x09\x02\x01\x01\x09",
    b"O\x00\x00\x01\x00\x00\x00\x09",
    b"L\x00\x09\x00\x05\x00\x01\x09\xff\x05\x01",
    b"M\x00\x01\x01\x02",
];

/// With a digest and without.
const FILES_OF_FORMAT_2: &[u8] = b"T\x01\x00\x03\x09\x02\x02\x01\x01\x09\xff";
