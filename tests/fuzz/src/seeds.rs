//! Bytes to begin with: the frozen job's entries and side files, and such as it has none of.

use std::path::Path;

use wasmpipe::commit::{FileEntry, GroupCounts, LaneEntry, SegmentEntry};

use crate::checkpoint::Checkpoint;
use crate::frozen::{self, SEGMENT};
use crate::plain;

/// For [`crate::entries`]: the whole job, each of its lanes, and lanes with what it has not.
pub fn entry_seeds() -> Vec<Vec<u8>> {
    let mut seeds = vec![frozen::checkpoint().to_entries(), plain::checkpoint().to_entries()];
    for lane in [0, 1] {
        let mut one = plain::checkpoint();
        one.lanes.retain(|kept, _| *kept == lane);
        one.root.clear();
        seeds.push(one.to_entries());
    }
    seeds.extend(MORE.iter().map(|entries| lane_of(entries)));
    seeds.extend(states().iter().map(Checkpoint::to_entries));
    seeds
}

/// For [`crate::side_files`]: each as it is, without compression, and some rows of each kind.
pub fn side_seeds() -> Vec<Vec<u8>> {
    let (packed, plain) = (frozen::side(), plain::checkpoint().side);
    let seed = |(kind, name): (u8, &str)| {
        [&packed[name], &plain[&plain::twin(name)]].map(|file| [&[kind], file.as_ref()].concat())
    };
    let as_they_are = [
        (b'c', frozen::COVERAGE),
        (b'k', frozen::COVERAGE),
        (b'g', frozen::GROUPS),
        (b'f', frozen::FILES),
        (b'o', frozen::OPENS),
        (b'm', frozen::MERGED_IDS),
        (b'i', frozen::IDS),
        (b'l', frozen::LISTING),
        (b'p', frozen::IDS),
    ];
    let mut seeds: Vec<Vec<u8>> = as_they_are.into_iter().flat_map(seed).collect();
    seeds.extend(ROWS.iter().map(|seed| seed.to_vec()));
    seeds
}

/// Writes seeds into a folder, a file each.
pub fn write_seeds(folder: &Path, seeds: &[Vec<u8>]) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    let files = (0..).zip(seeds);
    files
        .into_iter()
        .try_for_each(|(number, seed): (usize, _)| std::fs::write(folder.join(format!("seed-{number}")), seed))
}

/// A lane of these documents, below the frozen job's genesis.
fn lane_of(entries: &[&str]) -> Vec<u8> {
    let documents = entries.iter().map(|entry| format!("{entry}\0"));
    documents.collect::<String>().into_bytes()
}

/// A group of two lanes' worth of states: done after failed, known and asked again, a piece, a group withdrawn.
fn states() -> Vec<Checkpoint> {
    let frozen = frozen::checkpoint();
    let LaneEntry::Segment(first) = frozen::entry(&frozen.lanes[&1][&SEGMENT]) else { unreachable!("it is a segment") };
    let mut checkpoint = Checkpoint::default();
    let ranges: [[&[(u64, u64)]; 4]; 3] =
        [[&[(0, 5)], &[(5, 7)], &[(7, 9)], &[]], [&[(7, 9)], &[], &[], &[(9, 12)]], [&[(12, 20)], &[], &[(2, 3)], &[]]];
    for (group, states) in (0..).zip(ranges) {
        let entry = LaneEntry::Segment(Box::new(covering(&first, group, states)));
        let number = checkpoint.lanes.entry(0).or_default().len() as u64;
        checkpoint.lanes.entry(0).or_default().insert(number, plain::encode(&entry));
    }
    vec![checkpoint]
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

const MORE: [&[&str]; 4] = [
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
