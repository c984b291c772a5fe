//! The guests that tests run: every package under `udfs/` and `tests/guests/`, and every module in text form there,
//! `<name>/<name>.wat`. Built with `wasmpipe udf build`, as a person would, into one folder of the clone: `<name>.wasm`, and
//! beside it the digest of the sources it came from.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cargo::{files, with_fresh_sources};
use crate::{Result, place, process};

/// The folder with all guests, none older than its sources.
pub(crate) fn ensure(wasmpipe: &Path) -> Result<PathBuf> {
    let folder = folder()?;
    for source in [packages(), texts()].concat() {
        build_if_changed(wasmpipe, &source, &folder)?;
    }
    Ok(folder)
}

/// The component of one package, such as `udfs/code`.
pub(crate) fn one(wasmpipe: &Path, package: &str) -> Result<PathBuf> {
    let folder = folder()?;
    build_if_changed(wasmpipe, &place::root().join(package), &folder)
}

fn folder() -> Result<PathBuf> {
    let folder = place::made("guests");
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    Ok(folder)
}

/// All packages that are guests.
fn packages() -> Vec<PathBuf> {
    [place::packages("udfs"), place::packages("tests/guests")].concat()
}

/// All modules in text form that are guests.
fn texts() -> Vec<PathBuf> {
    place::texts("tests/guests")
}

/// What is compiled natively, too: the guests and the SDK, each a workspace with a lock file of its own.
pub(crate) fn workspaces() -> Vec<PathBuf> {
    [place::packages("guest-sdk"), packages()].concat()
}

/// The source is what a person gives to `udf build`: a package's folder, or a module's file.
fn build_if_changed(wasmpipe: &Path, source: &Path, folder: &Path) -> Result<PathBuf> {
    let name = source.file_stem().unwrap_or_default().to_string_lossy();
    let component = folder.join(format!("{name}.wasm"));
    let noted = folder.join(format!("{name}.digest"));
    let digest = format!("{:016x}", digest(source)?);
    if component.is_file() && std::fs::read_to_string(&noted).is_ok_and(|noted| noted == digest) {
        return Ok(component);
    }
    build(wasmpipe, source, &component)?;
    std::fs::write(&noted, digest).map_err(|e| format!("{}: {e}", noted.display()))?;
    Ok(component)
}

fn build(wasmpipe: &Path, source: &Path, component: &Path) -> Result {
    let target = place::guests_target()?;
    let mut command = Command::new(wasmpipe);
    command.args(["udf", "build"]).arg(source).arg("--out").arg(component).env("WASMPIPE_GUEST_TARGET_DIR", &target);
    with_fresh_sources(&target, || process::run(&mut command))
}

/// Over everything that a guest is made of: its own sources, the SDK's, the contract, what makes it a component. It
/// tells "changed" from "not changed" on one machine, no more, so the standard library's hash will do.
fn digest(source: &Path) -> Result<u64> {
    let root = place::root();
    let mut hasher = DefaultHasher::new();
    if source.is_file() {
        hash_file(source, &mut hasher)?;
    }
    for folder in [source, &root.join("guest-sdk"), &root.join("wit")] {
        for file in files(folder, "rs toml lock wit")? {
            hash_file(&file, &mut hasher)?;
        }
    }
    hash_file(&root.join("Cargo.lock"), &mut hasher)?;
    Ok(hasher.finish())
}

fn hash_file(file: &Path, hasher: &mut DefaultHasher) -> Result {
    file.hash(hasher);
    std::fs::read(file).map_err(|e| format!("{}: {e}", file.display()))?.hash(hasher);
    Ok(())
}
