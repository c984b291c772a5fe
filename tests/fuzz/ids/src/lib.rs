//! The id file, under any bytes. libFuzzer makes them; what must hold whatever they are is here.
//!
//! * `open` - the bytes are a file: an answer or damage, never a panic, never a read outside of them.
//! * `model` - the bytes are ids: what is built of them answers as a `BTreeSet` does.
//! * `forge` - makes a file's checksums right, so that something else has to find what is wrong: shared with the crate's tests.
//! * `strings` - byte strings as a column has them.

#[path = "../../../../host/ids/tests/support/forge.rs"]
mod forge;
mod model;
mod open;
mod strings;

use std::path::{Path, PathBuf};

pub use model::{model, model_seeds};
pub use open::{open, open_seeds};

/// Begins a target. The seeds go into the folder that the environment names, from which libFuzzer reads them next.
pub fn begin(seeds: impl FnOnce() -> Vec<Vec<u8>>) {
    let Some(folder) = std::env::var_os("WASMPIPE_FUZZ_SEEDS") else { return };
    let write =
        |(number, seed): (usize, Vec<u8>)| std::fs::write(Path::new(&folder).join(format!("seed-{number}")), seed);
    seeds().into_iter().enumerate().try_for_each(write).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
}

/// A folder of this process alone, which is there.
fn folder() -> PathBuf {
    let base = std::env::var_os("WASMPIPE_FUZZ_SCRATCH").map_or_else(std::env::temp_dir, PathBuf::from);
    let folder = base.join(format!("wasmpipe-fuzz-ids-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    folder
}

/// The bits as a list. There are as many words as needed, and no bit behind the last.
fn answers(words: &[u64], asked: usize) -> Vec<bool> {
    assert_eq!(words.len(), asked.div_ceil(64));
    let bit = |row: usize| words[row / 64] >> (row % 64) & 1 == 1;
    assert!(!(asked..words.len() * 64).any(bit), "a bit behind the last id");
    (0..asked).map(bit).collect()
}
