//! Random numbers that are the same on every machine, and files built from ids.

#![allow(dead_code, reason = "each test binary uses its part")]

pub(crate) mod forge;

use std::fs;

use wasmpipe_ids::{BuildError, Builder, Column, Damage, Ids, Summary};

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

/// Ids of one kind, as their owner has them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Owned {
    Numbers(Vec<u64>),
    WideNumbers(Vec<u128>),
    Strings(Vec<i32>, Vec<u8>),
    LargeStrings(Vec<i64>, Vec<u8>),
    /// Strings as they are.
    Binary(Vec<i32>, Vec<u8>),
}

impl Owned {
    pub(crate) fn strings<I: AsRef<[u8]>>(ids: impl IntoIterator<Item = I>) -> Owned {
        let (mut offsets, mut bytes) = (vec![0], Vec::new());
        for id in ids {
            bytes.extend_from_slice(id.as_ref());
            offsets.push(i32::try_from(bytes.len()).expect("a small test"));
        }
        Owned::Strings(offsets, bytes)
    }

    pub(crate) fn column(&self) -> Column<'_> {
        match self {
            Owned::Numbers(numbers) => Column::Numbers(numbers),
            Owned::WideNumbers(numbers) => Column::WideNumbers(numbers),
            Owned::Strings(offsets, bytes) => Column::strings(offsets, bytes),
            Owned::LargeStrings(offsets, bytes) => Column::large_strings(offsets, bytes),
            Owned::Binary(offsets, bytes) => Column::strings(offsets, bytes).into_binary(),
        }
    }
}

/// Answers as a list.
pub(crate) fn ask<B: AsRef<[u8]>>(ids: &Ids<B>, asked: &Owned) -> Result<Vec<bool>, Damage> {
    let column = asked.column();
    let answers = ids.ask(column)?;
    assert_eq!(answers.len(), column.len().div_ceil(64));
    let behind = (column.len()..answers.len() * 64).filter(|i| answers[i / 64] >> (i % 64) & 1 == 1);
    assert_eq!(behind.count(), 0, "no bit behind the last id");
    Ok((0..column.len()).map(|i| answers[i / 64] >> (i % 64) & 1 == 1).collect())
}

/// Builds with this budget from these batches; checks that the scratch folder is empty afterwards and the summary's size true.
pub(crate) fn build_batches(batches: &[Owned], memory_bytes_max: usize) -> (Summary, Vec<u8>) {
    try_build(batches, memory_bytes_max).expect("build")
}

pub(crate) fn try_build(batches: &[Owned], memory_bytes_max: usize) -> Result<(Summary, Vec<u8>), BuildError> {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let scratch = folder.path().join("scratch");
    let out = folder.path().join("out.ids");
    fs::create_dir(&scratch).expect("a scratch folder");
    let builder = Builder::new(&scratch, memory_bytes_max, 2);
    for batch in batches {
        builder.add(batch.column())?;
    }
    let summary = builder.finish(&out)?;
    let bytes = fs::read(&out).expect("the file is there");
    assert_eq!(summary.bytes, bytes.len() as u64);
    assert_eq!(fs::read_dir(&scratch).expect("scratch").count(), 0, "scratch is left empty");
    assert_eq!(fs::read_dir(folder.path()).expect("folder").count(), 2, "only the output is beside it");
    Ok((summary, bytes))
}

/// As [`build_batches`], from byte strings.
pub(crate) fn build<I: AsRef<[u8]>>(ids: impl IntoIterator<Item = I>, memory_bytes_max: usize) -> (Summary, Vec<u8>) {
    build_batches(&[Owned::strings(ids)], memory_bytes_max)
}
