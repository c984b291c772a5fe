//! A compiler that has, or can build, the standard library for `wasm32-unknown-unknown`. `wasmpipe udf build` finds
//! what is there; here it is put there.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use crate::Result;
use crate::process::{apt_install, is_there, output, succeeds};

const TARGET: &str = "wasm32-unknown-unknown";
/// Long enough for a download of 20 MB on a slow line, short enough for a machine that has none.
const RUSTUP_TIME_MAX: Duration = Duration::from_secs(180);
/// Debian's compiler for browsers brings the sources of the standard library, and a linker.
const DEBIAN_PACKAGES: [&str; 4] = ["rustc-web", "cargo-web", "rust-web-src", "lld-19"];

pub(crate) fn ensure() -> Result {
    if rustup_has_target() || debian_has_sources() {
        return Ok(());
    }
    eprintln!("no tool chain for guests yet; trying rustup, then Debian's packages");
    if add_with_rustup() && rustup_has_target() {
        return Ok(());
    }
    apt_install(&DEBIAN_PACKAGES).map_err(|cause| format!("no tool chain for guests: {cause}\n{}", hint()))?;
    if debian_has_sources() { Ok(()) } else { Err(format!("Debian's packages brought no {TARGET}\n{}", hint())) }
}

fn hint() -> String {
    let packages = DEBIAN_PACKAGES.join(" ");
    format!("hint: run `rustup target add {TARGET}`, or on Debian 12 `apt-get install {packages}`, as root")
}

fn rustup_has_target() -> bool {
    let folder = output(Command::new("rustc").args(["--print", "target-libdir", "--target", TARGET]));
    let entries = folder.and_then(|folder| std::fs::read_dir(folder).ok()).into_iter().flatten().flatten();
    entries.map(|entry| entry.file_name()).any(|name| name.to_string_lossy().starts_with("libstd-"))
}

fn add_with_rustup() -> bool {
    is_there("rustup") && succeeds(Command::new("rustup").args(["target", "add", TARGET]), RUSTUP_TIME_MAX)
}

fn debian_has_sources() -> bool {
    let sources = Path::new("/usr/lib/rustlib/src/rust/library/std/Cargo.toml");
    sources.is_file() && Path::new("/usr/bin/cargo").is_file() && is_there("wasm-ld-19")
}
