//! What the targets share. Everything that must hold is in `wasmpipe-fuzz`.

use std::path::Path;

/// Begins a target. The seeds go into the folder that the environment names, from which libFuzzer reads them next.
pub fn begin(seeds: impl FnOnce() -> Vec<Vec<u8>>) {
    // libFuzzer's hook ends the process at any panic; those that the host catches are none of its business. One that
    // reaches the top still ends it.
    drop(std::panic::take_hook());
    if let Some(folder) = std::env::var_os("WASMPIPE_FUZZ_SEEDS") {
        let written = wasmpipe_fuzz::write_seeds(Path::new(&folder), &seeds());
        written.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    }
}
