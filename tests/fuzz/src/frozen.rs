//! The job of format 1 that every build reads, as bytes of the program.

use std::collections::BTreeMap;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::checkpoint::Checkpoint;

macro_rules! file {
    ($name:literal) => {
        include_bytes!(concat!("../../frozen/format-1/checkpoint/", $name)).as_slice()
    };
}

const ROOT: [&[u8]; 2] = [file!("root/0000000000"), file!("root/0000000001")];

/// Of lane 0, what its compaction left.
const LANE_0: [(u64, &[u8]); 6] = [
    (0, file!("lane/0/0000000000")),
    (4, file!("lane/0/0000000004")),
    (5, file!("lane/0/0000000005")),
    (6, file!("lane/0/0000000006")),
    (7, file!("lane/0/0000000007")),
    (8, file!("lane/0/0000000008")),
];

const LANE_1: [(u64, &[u8]); 6] = [
    (0, file!("lane/1/0000000000")),
    (1, file!("lane/1/0000000001")),
    (2, file!("lane/1/0000000002")),
    (3, file!("lane/1/0000000003")),
    (4, file!("lane/1/0000000004")),
    (5, file!("lane/1/0000000005")),
];

/// The number of lane 0's compaction.
pub(crate) const COMPACTION: u64 = 5;
/// The number of lane 1's first segment.
pub(crate) const SEGMENT: u64 = 1;

pub(crate) const IDS: &str = "side/417eca48e2d85139-ids-0.parquet";
pub(crate) const COVERAGE: &str = "side/54f1eb9c9a5ca5df-compaction-5-coverage.parquet";
pub(crate) const FILES: &str = "side/54f1eb9c9a5ca5df-compaction-5-files.parquet";
pub(crate) const GROUPS: &str = "side/54f1eb9c9a5ca5df-compaction-5-groups.parquet";
pub(crate) const MERGED_IDS: &str = "side/54f1eb9c9a5ca5df-compaction-5-ids-0.parquet";
pub(crate) const OPENS: &str = "side/54f1eb9c9a5ca5df-compaction-5-opens.parquet";
pub(crate) const LISTING: &str = "side/ca8fac6e04d64182-listing-c3b635b05f0fa617.parquet";

const SIDE: [(&str, &[u8]); 9] = [
    (IDS, file!("side/417eca48e2d85139-ids-0.parquet")),
    ("side/417eca48e2d85139-ids-1.parquet", file!("side/417eca48e2d85139-ids-1.parquet")),
    (COVERAGE, file!("side/54f1eb9c9a5ca5df-compaction-5-coverage.parquet")),
    (FILES, file!("side/54f1eb9c9a5ca5df-compaction-5-files.parquet")),
    (GROUPS, file!("side/54f1eb9c9a5ca5df-compaction-5-groups.parquet")),
    (MERGED_IDS, file!("side/54f1eb9c9a5ca5df-compaction-5-ids-0.parquet")),
    (OPENS, file!("side/54f1eb9c9a5ca5df-compaction-5-opens.parquet")),
    (
        "side/840f9ea9536485e2-listing-b3886ac145cac482.parquet",
        file!("side/840f9ea9536485e2-listing-b3886ac145cac482.parquet"),
    ),
    (LISTING, file!("side/ca8fac6e04d64182-listing-c3b635b05f0fa617.parquet")),
];

/// All of it.
pub(crate) fn checkpoint() -> Checkpoint {
    let lane = |entries: [(u64, &'static [u8]); 6]| {
        entries.into_iter().map(|(number, bytes)| (number, Bytes::from_static(bytes))).collect()
    };
    Checkpoint {
        root: ROOT.into_iter().map(Bytes::from_static).collect(),
        lanes: BTreeMap::from([(0, lane(LANE_0)), (1, lane(LANE_1))]),
        side: side(),
    }
}

/// Its side files, by name.
pub(crate) fn side() -> BTreeMap<String, Bytes> {
    SIDE.into_iter().map(|(name, bytes)| (name.to_string(), Bytes::from_static(bytes))).collect()
}

/// An entry of it, as a value.
pub(crate) fn entry<T: DeserializeOwned>(bytes: &Bytes) -> T {
    try_entry(bytes).expect("the frozen job's entries are sound")
}

/// An entry of format 1, whose document is the entry and a key `format`.
pub(crate) fn try_entry<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    let mut document: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(bytes)?;
    document.remove("format");
    serde_json::from_value(document.into())
}
