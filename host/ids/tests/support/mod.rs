//! Random numbers that are the same on every machine, and files built from ids.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::fs;

use wasmpipe_ids::{Builder, Summary};

/// SplitMix64 (Steele, Lea, Flood 2014).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    pub(crate) fn bytes(&mut self, length: usize, alphabet: usize) -> Vec<u8> {
        (0..length).map(|_| self.below(alphabet) as u8).collect()
    }
}

/// Builds with this budget; checks that the scratch folder is empty afterwards and the summary's size true.
pub(crate) fn build<I: AsRef<[u8]>>(ids: impl IntoIterator<Item = I>, memory_bytes_max: usize) -> (Summary, Vec<u8>) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let scratch = folder.path().join("scratch");
    let out = folder.path().join("out.ids");
    fs::create_dir(&scratch).expect("a scratch folder");
    let mut builder = Builder::new(&scratch, memory_bytes_max);
    for id in ids {
        builder.add(id.as_ref()).expect("add");
    }
    let summary = builder.finish(&out).expect("finish");
    let bytes = fs::read(&out).expect("the file is there");
    assert_eq!(summary.bytes, bytes.len() as u64);
    assert_eq!(fs::read_dir(&scratch).expect("scratch").count(), 0, "scratch is left empty");
    assert_eq!(fs::read_dir(folder.path()).expect("folder").count(), 2, "only the output is beside it");
    (summary, bytes)
}
