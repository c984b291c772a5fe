//! Where things lie. Nothing here creates anything.

use std::path::{Path, PathBuf};

use crate::Result;

/// The root of the clone.
pub(crate) fn root() -> PathBuf {
    // Cargo tells at run time too, which stays true when the clone was moved or the program is another clone's.
    let here = std::env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let here = here.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")));
    here.ancestors().nth(2).map(Path::to_owned).unwrap_or(here)
}

/// What a fresh clone may reuse.
pub(crate) fn cache() -> Result<PathBuf> {
    let base = match std::env::var_os("XDG_CACHE_HOME").filter(|value| !value.is_empty()) {
        Some(cache) => PathBuf::from(cache),
        None => std::env::home_dir().ok_or("no home folder\nhint: set HOME or XDG_CACHE_HOME")?.join(".cache"),
    };
    Ok(base.join("wasmpipe"))
}

/// Cargo's target folder for the host.
pub(crate) fn target() -> Result<PathBuf> {
    match std::env::var_os("CARGO_TARGET_DIR").filter(|value| !value.is_empty()) {
        Some(target) => std::path::absolute(&target).map_err(|e| format!("CARGO_TARGET_DIR: {e}")),
        None => Ok(cache()?.join("target")),
    }
}

/// Cargo's target folder for guests compiled to WebAssembly.
pub(crate) fn guests_target() -> Result<PathBuf> {
    Ok(cache()?.join("guests"))
}

/// Cargo's target folder for guests compiled natively, for their unit tests.
pub(crate) fn guests_native_target() -> Result<PathBuf> {
    Ok(cache()?.join("guests-native"))
}

/// What fuzzing builds, and what it has learnt.
pub(crate) fn fuzz() -> Result<PathBuf> {
    Ok(cache()?.join("fuzz"))
}

/// Data of the published benchmark, which take a minute to make.
pub(crate) fn published() -> Result<PathBuf> {
    Ok(cache()?.join("bench-resume"))
}

/// Folders of this clone for what is made here.
pub(crate) fn made(name: &str) -> PathBuf {
    root().join("target").join(name)
}

/// The folders of cargo packages directly below a folder of the clone, in order.
pub(crate) fn packages(below: &str) -> Vec<PathBuf> {
    entries(below).into_iter().filter(|path| is_package(path)).collect()
}

/// The modules in text form directly below a folder of the clone, `<name>/<name>.wat`, in order.
pub(crate) fn texts(below: &str) -> Vec<PathBuf> {
    entries(below).iter().filter_map(|folder| text(folder)).collect()
}

fn entries(below: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(root().join(below)).into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    found.sort();
    found
}

fn is_package(folder: &Path) -> bool {
    folder.join("Cargo.toml").is_file()
}

fn text(folder: &Path) -> Option<PathBuf> {
    let text = folder.join(folder.file_name()?).with_extension("wat");
    text.is_file().then_some(text)
}
