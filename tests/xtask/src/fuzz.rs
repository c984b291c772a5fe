//! libFuzzer looks for checkpoints that break what must hold. It needs a nightly compiler, and the host is compiled anew
//! for it, with the address sanitizer: a tool chain and a target folder of its own.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use crate::process::{apt_install, is_there, output, run, succeeds};
use crate::{Result, cargo, place};

/// The targets: each a function of `wasmpipe-fuzz`.
const TARGETS: [&str; 2] = ["entries", "side_files"];
/// Unless said otherwise.
const SECONDS: u32 = 60;
/// Long enough for a compiler on a slow line.
const RUSTUP_TIME_MAX: Duration = Duration::from_secs(900);
/// Of one input; libFuzzer's own limit is 20 minutes.
const INPUT_SECONDS_MAX: u32 = 10;
/// Of the whole process, with the sanitizer's share.
const MEMORY_MB_MAX: u32 = 2048;
/// Longer inputs are not made. The longest seed has 8,000 bytes.
const INPUT_BYTES_MAX: u32 = 16 << 10;

/// Runs each target for so many seconds.
pub(crate) fn fuzz(seconds: Option<&str>) -> Result {
    let seconds: u32 = match seconds {
        Some(text) => text.parse().map_err(|_| format!("`{text}` is no number of seconds"))?,
        None => SECONDS,
    };
    ensure()?;
    let built = build()?;
    TARGETS.iter().try_for_each(|target| look(&built, target, seconds))
}

fn ensure() -> Result {
    if !is_there("c++") {
        apt_install(&["g++"])?;
    }
    let is_nightly_there = || output(Command::new("rustup").args(["run", "nightly", "rustc", "--version"])).is_some();
    if is_nightly_there() {
        return Ok(());
    }
    eprintln!("no nightly compiler yet; trying rustup");
    succeeds(Command::new("rustup").args(["toolchain", "install", "nightly", "--profile", "minimal"]), RUSTUP_TIME_MAX);
    let hint = "no nightly compiler, which the address sanitizer needs\nhint: install rustup, then `rustup toolchain install nightly`";
    if is_nightly_there() { Ok(()) } else { Err(hint.into()) }
}

/// The folder of the targets' programs.
fn build() -> Result<PathBuf> {
    let (folder, target) = (place::root().join("tests/fuzz/targets"), place::fuzz()?.join("target"));
    // The host's versions; cargo adds what only the targets need.
    let lock = place::root().join("Cargo.lock");
    std::fs::copy(&lock, folder.join("Cargo.lock")).map_err(|e| format!("{}: {e}", lock.display()))?;
    let host = host()?;
    let mut build = Command::new("rustup");
    build.args(["run", "nightly", "cargo", "build", "--target", &host]).current_dir(&folder);
    // A target that is named keeps the sanitizer away from macros and build scripts.
    build.env("CARGO_TARGET_DIR", &target).env("RUSTFLAGS", "-Zsanitizer=address").env("CARGO_INCREMENTAL", "0");
    cargo::with_fresh_sources(&target, || run(&mut build))?;
    Ok(target.join(host).join("debug"))
}

fn host() -> Result<String> {
    let about = output(Command::new("rustup").args(["run", "nightly", "rustc", "-vV"])).unwrap_or_default();
    let host = about.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "rustc does not name its host".to_owned())
}

fn look(built: &std::path::Path, target: &str, seconds: u32) -> Result {
    let base = place::fuzz()?;
    let (seeds, corpus, found) =
        (base.join("seeds").join(target), base.join("corpus").join(target), base.join("found"));
    for folder in [&seeds, &corpus, &found] {
        std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    }
    let mut look = Command::new(built.join(target));
    // Most of the time would go into remembering where memory was allocated, and into stacks that Rust does not use after
    // return.
    look.env("ASAN_OPTIONS", "detect_stack_use_after_return=0:malloc_context_size=3")
        .env("WASMPIPE_FUZZ_SEEDS", &seeds)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
        .arg(format!("-rss_limit_mb={MEMORY_MB_MAX}"))
        .arg(format!("-max_len={INPUT_BYTES_MAX}"))
        .arg(format!("-artifact_prefix={}/{target}-", found.display()))
        .arg("-print_final_stats=1");
    let words = place::root().join("tests/fuzz/targets").join(target).with_extension("dict");
    if words.is_file() {
        look.arg(format!("-dict={}", words.display()));
    }
    let hint =
        format!("hint: the input lies in {}; give its name to the program instead of these options", found.display());
    run(look.arg(&corpus).arg(&seeds)).map_err(|error| format!("{error}\n{hint}"))
}
