//! Cargo, with one target folder that all clones share, so that a fresh clone compiles its own crates only.
//!
//! Cargo tells a clone's crates by their path below the workspace, and knows that one changed by its files' times. Two
//! clones look the same to it: after a build in one, cargo takes the other, whose files are older, for up to date, and
//! hands out the wrong program. So a stamp in the target folder says which clone was built there last and when; where
//! it does not match, every source of the clone is touched before cargo looks.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

use crate::{Result, place, process};

/// Folders with sources that a shared target folder may hold builds of.
const SOURCES: [&str; 5] = ["host", "tests", "guest-sdk", "udfs", "wit"];

/// Runs cargo in the folder of a package or of the workspace.
pub(crate) fn cargo(folder: &Path, target: &Path, edit: impl FnOnce(&mut Command) -> &mut Command) -> Result {
    let mut command = Command::new("cargo");
    command.current_dir(folder).env("CARGO_TARGET_DIR", target);
    edit(&mut command);
    with_fresh_sources(target, || process::run(&mut command))
}

/// Runs something that lets cargo build in a shared target folder.
pub(crate) fn with_fresh_sources(target: &Path, build: impl FnOnce() -> Result) -> Result {
    if !built_here_last(target) {
        SOURCES.iter().try_for_each(|folder| touch(&place::root().join(folder)))?;
    }
    let built = build();
    // Also after a failure: what was built until then is this clone's.
    write_stamp(target)?;
    built
}

fn stamp(target: &Path) -> PathBuf {
    target.join("last-clone")
}

fn built_here_last(target: &Path) -> bool {
    let stamp = stamp(target);
    let named = std::fs::read_to_string(&stamp).is_ok_and(|clone| Path::new(&clone) == place::root());
    let since = stamp.metadata().and_then(|about| about.modified());
    named && since.is_ok_and(|since| newest_build(target).is_none_or(|built| built <= since))
}

/// When cargo last wrote to the target folder, by whomever it was called.
fn newest_build(target: &Path) -> Option<SystemTime> {
    let profiles = ["debug", "release", "wasm32-unknown-unknown/release", "doc"].map(|profile| target.join(profile));
    let folders =
        profiles.iter().flat_map(|profile| [profile.join(".fingerprint"), profile.join("deps"), profile.clone()]);
    folders.filter_map(|folder| folder.metadata().ok()?.modified().ok()).max()
}

fn write_stamp(target: &Path) -> Result {
    let write = || {
        std::fs::create_dir_all(target)?;
        std::fs::write(stamp(target), place::root().as_os_str().as_encoded_bytes())
    };
    write().map_err(|e| format!("{}: {e}", stamp(target).display()))
}

/// Gives every Rust source below a folder the time of now.
fn touch(folder: &Path) -> Result {
    for path in files(folder, "rs")? {
        let touched = File::options().append(true).open(&path).and_then(|file| file.set_modified(SystemTime::now()));
        touched.map_err(|e| format!("{}: {e}", path.display()))?;
    }
    Ok(())
}

/// All files below a folder whose names end in one of the extensions (separated by blanks), in order; none if there is
/// no such folder. What is built is no source.
pub(crate) fn files(folder: &Path, extensions: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let Ok(entries) = std::fs::read_dir(folder) else {
        return Ok(found);
    };
    for entry in entries {
        let path = entry.map_err(|e| format!("{}: {e}", folder.display()))?.path();
        let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
        if path.is_dir() && !path.ends_with("target") {
            found.extend(files(&path, extensions)?);
        } else if path.is_file() && extensions.split(' ').any(|wanted| wanted == extension) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
