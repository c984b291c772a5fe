//! libFuzzer looks for checkpoints, components and id files that break what must hold. It needs a nightly compiler, and what it runs is
//! compiled anew, with the address sanitizer: for checkpoints the host, which takes minutes, for id files one small crate.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::process::{apt_install, is_there, output, run, succeeds};
use crate::{Result, cargo, place};

/// Programs that libFuzzer runs.
pub(crate) struct Targets {
    /// A workspace of its own.
    folder: &'static str,
    /// Below what fuzzing builds.
    built: &'static str,
    names: &'static [&'static str],
    /// Beside the sanitizer's.
    rustflags: &'static str,
}

/// Each is a function of `wasmpipe-fuzz`. Its manifest says which crates tell libFuzzer the branches they take.
pub(crate) const CHECKPOINTS: Targets = Targets {
    folder: "tests/fuzz/targets",
    built: "target",
    names: &["entries", "side_files", "sink_documents", "components"],
    rustflags: "",
};
/// All crates tell the branches they take: they are few, and none is large.
pub(crate) const IDS: Targets = Targets {
    folder: "tests/fuzz/ids",
    built: "target-ids",
    names: &["ids_open", "ids_model"],
    rustflags: " -Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
        -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
        -Cllvm-args=-sanitizer-coverage-trace-compares",
};
/// Unless said otherwise.
const SECONDS: u32 = 60;
/// Long enough for a compiler on a slow line.
const RUSTUP_TIME_MAX: Duration = Duration::from_secs(900);
/// Of one input; libFuzzer's own limit is 20 minutes.
const INPUT_SECONDS_MAX: u32 = 10;
/// Of the whole process, with the sanitizer's share.
const MEMORY_MB_MAX: u32 = 2048;
/// Longer inputs are not made. The longest seed has 25,000 bytes.
const INPUT_BYTES_MAX: u32 = 32 << 10;
/// Of those that earlier runs found.
const INPUTS_MAX: usize = 256;

/// Runs each target for so many seconds.
pub(crate) fn fuzz(targets: &Targets, seconds: Option<&str>) -> Result {
    let seconds: u32 = match seconds {
        Some(text) => text.parse().map_err(|_| format!("`{text}` is no number of seconds"))?,
        None => SECONDS,
    };
    ensure()?;
    let built = build(targets)?;
    targets.names.iter().try_for_each(|target| look(targets, &built, target, seconds))
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
fn build(targets: &Targets) -> Result<PathBuf> {
    let (folder, target) = (place::root().join(targets.folder), place::fuzz()?.join(targets.built));
    // The host's versions; cargo adds what only the targets need.
    let lock = place::root().join("Cargo.lock");
    std::fs::copy(&lock, folder.join("Cargo.lock")).map_err(|e| format!("{}: {e}", lock.display()))?;
    let host = host()?;
    let mut build = Command::new("rustup");
    build.args(["run", "nightly", "cargo", "build", "--target", &host]).current_dir(&folder);
    // A target that is named keeps the sanitizer away from macros and build scripts.
    let flags = format!("-Zsanitizer=address{}", targets.rustflags);
    build.env("CARGO_TARGET_DIR", &target).env("RUSTFLAGS", flags).env("CARGO_INCREMENTAL", "0");
    cargo::with_fresh_sources(&target, || run(&mut build))?;
    Ok(target.join(host).join("debug"))
}

fn host() -> Result<String> {
    let about = output(Command::new("rustup").args(["run", "nightly", "rustc", "-vV"])).unwrap_or_default();
    let host = about.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned).ok_or_else(|| "rustc does not name its host".to_owned())
}

fn look(targets: &Targets, built: &Path, target: &str, seconds: u32) -> Result {
    let base = place::fuzz()?;
    let [seeds, corpus] = ["seeds", "corpus"].map(|folder| base.join(folder).join(target));
    let scratch = scratch(&base).join(target);
    let found = base.join("found");
    // A program that libFuzzer ends leaves its files.
    let _ = std::fs::remove_dir_all(&scratch);
    for folder in [&seeds, &corpus, &scratch, &found] {
        std::fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    }
    keep_latest(&corpus).map_err(|e| format!("{}: {e}", corpus.display()))?;
    let mut look = Command::new(built.join(target));
    // Most of the time would go into remembering where memory was allocated, and into stacks that Rust does not use after
    // return. What a thread that just ends has not yet given back looks like a leak.
    look.env("ASAN_OPTIONS", "detect_leaks=0:detect_stack_use_after_return=0:malloc_context_size=3")
        .env("WASMPIPE_FUZZ_SEEDS", &seeds)
        .env("WASMPIPE_FUZZ_SCRATCH", &scratch)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-timeout={INPUT_SECONDS_MAX}"))
        .arg(format!("-rss_limit_mb={MEMORY_MB_MAX}"))
        .arg(format!("-max_len={INPUT_BYTES_MAX}"))
        .arg(format!("-artifact_prefix={}/{target}-", found.display()))
        .arg("-print_final_stats=1");
    let words = place::root().join(targets.folder).join(target).with_extension("dict");
    if words.is_file() {
        look.arg(format!("-dict={}", words.display()));
    }
    let hint =
        format!("hint: the input lies in {}; give its name to the program instead of these options", found.display());
    run(look.arg(&corpus).arg(&seeds)).map_err(|error| format!("{error}\n{hint}"))
}

/// What earlier runs found is read first, and must leave time for something new.
fn keep_latest(corpus: &Path) -> std::io::Result<()> {
    let mut inputs = Vec::new();
    for entry in std::fs::read_dir(corpus)? {
        let entry = entry?;
        inputs.push((entry.metadata()?.modified()?, entry.path()));
    }
    inputs.sort();
    let old = inputs.len().saturating_sub(INPUTS_MAX);
    inputs.into_iter().take(old).try_for_each(|(_, path)| std::fs::remove_file(path))
}

/// Where programs may write: in memory, if there is such a folder.
fn scratch(base: &Path) -> PathBuf {
    let memory = Path::new("/dev/shm");
    if memory.is_dir() { memory.join("wasmpipe-fuzz") } else { base.join("scratch") }
}
