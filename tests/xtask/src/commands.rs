//! What each command does, in order.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::cargo::cargo;
use crate::{Result, guests, place, process, python, toolchain};

pub(crate) fn setup() -> Result {
    toolchain::ensure()?;
    let python = python::ensure()?;
    eprintln!("setup: ok (guests can be compiled, {} has pyarrow)", python.display());
    Ok(())
}

pub(crate) fn quickstart(options: &[&str]) -> Result {
    toolchain::ensure()?;
    run_tools("quickstart", options)
}

pub(crate) fn bench(options: &[&str]) -> Result {
    toolchain::ensure()?;
    run_tools("bench", options)
}

pub(crate) fn bench_log(options: &[&str]) -> Result {
    toolchain::ensure()?;
    run_tools("log", options)
}

pub(crate) fn bench_id(options: &[&str]) -> Result {
    toolchain::ensure()?;
    run_tools("id", options)
}

/// The picture in the clone is the one of the whole benchmark, as it is run without options.
pub(crate) fn bench_resume(options: &[&str]) -> Result {
    toolchain::ensure()?;
    let only = options.iter().skip_while(|option| **option != "--only").nth(1);
    let python = python::ensure_peers()?;
    let ray = if only.is_none_or(|names| names.contains("ray")) { python::ensure_ray()? } else { python.clone() };
    let mut tools = tools("resume", "udfs/identity")?;
    tools.arg("--data").arg(place::published()?).arg("--scripts").arg(place::root().join("tests/tools"));
    tools.arg("--python").arg(python).arg("--python-ray").arg(ray);
    if options.is_empty() {
        tools.arg("--plot").arg(place::root().join("tests/bench/resume.png"));
    }
    process::run(tools.args(options))
}

pub(crate) fn bench_formats(options: &[&str]) -> Result {
    toolchain::ensure()?;
    let python = python::ensure_peers()?;
    let mut tools = tools("formats", "udfs/identity")?;
    tools.arg("--python").arg(python).arg("--scripts").arg(place::root().join("tests/tools"));
    process::run(tools.args(options))
}

/// Needs no host: the sorted id file is a crate of its own.
pub(crate) fn bench_ids(options: &[&str]) -> Result {
    let python = python::ensure_peers()?;
    cargo(&place::root(), &place::target()?, |cargo| {
        cargo.args(["bench", "-p", "wasmpipe-ids", "--bench", "sets", "--", "--python"]).arg(python);
        cargo.arg("--folder").arg(place::made("ids")).args(options)
    })
}

pub(crate) fn bench_functions(filter: Option<&str>) -> Result {
    let (mut bench, component) = bench_with("tests/guests/bench")?;
    process::run(bench.arg(component).args(filter))
}

pub(crate) fn bench_planes() -> Result {
    let (mut bench, component) = bench_with("tests/guests/planes")?;
    process::run(bench.arg("planes").arg(component))
}

/// Builds `wasmpipe-bench` and the guest that it measures.
fn bench_with(guest: &str) -> Result<(Command, PathBuf)> {
    toolchain::ensure()?;
    let release = build_release()?;
    let component = guests::one(&release.join("wasmpipe"), guest)?;
    Ok((Command::new(release.join("wasmpipe-bench")), component))
}

pub(crate) fn test(filters: &[&str]) -> Result {
    toolchain::ensure()?;
    let python = python::ensure()?;
    // Before anything long: a guest's unit tests need no host.
    if filters.is_empty() {
        test_guests_natively()?;
    }
    let guests = guests::ensure(&build_for_tests()?)?;
    test_host(&python, &guests, filters, Length::Short)
}

pub(crate) fn soak() -> Result {
    toolchain::ensure()?;
    let python = python::ensure()?;
    let guests = guests::ensure(&build_for_tests()?)?;
    test_host(
        &python,
        &guests,
        &["k5_", "processes::", "claims::", "flips::", "forged::", "mutated_", "--nocapture"],
        Length::Full,
    )?;
    quickstart(&[])
}

/// Jobs that Ray Data and wasmpipe hand over to each other.
pub(crate) fn ray() -> Result {
    toolchain::ensure()?;
    let python = python::ensure_ray()?;
    let wasmpipe = build_for_tests()?;
    let component = guests::one(&wasmpipe, "tests/guests/hostile")?;
    let mut script = Command::new(python);
    script.arg(place::root().join("tests/tools/handover.py")).arg("--wasmpipe").arg(wasmpipe);
    process::run(script.arg("--component").arg(component).arg("--work").arg(place::made("ray")))
}

pub(crate) fn lint() -> Result {
    let (root, target) = (place::root(), place::target()?);
    cargo(&root, &target, |cargo| cargo.args(["fmt", "--all", "--check"]))?;
    cargo(&root.join("tests/fuzz/ids"), &target, |cargo| cargo.args(["fmt", "--check"]))?;
    cargo(&root, &target, |cargo| cargo.args(["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"]))?;
    cargo(&root, &target, |cargo| {
        cargo.env("RUSTDOCFLAGS", "-D warnings").args(["doc", "--workspace", "--no-deps", "--document-private-items"])
    })?;
    lint_guests()?;
    // The manual's page of keys is made of their declarations.
    cargo(&root, &target, |cargo| cargo.args(TEST).args(["--quiet", "--lib", "--", "the_page_of_keys"]))
}

/// Each is a workspace of its own, which the host's does not reach.
fn lint_guests() -> Result {
    let target = place::guests_native_target()?;
    for package in guests::workspaces() {
        cargo(&package, &target, |cargo| cargo.args(["fmt", "--all", "--check"]))?;
        let clippy = ["clippy", "--quiet", "--locked", "--workspace", "--all-targets", "--", "-D", "warnings"];
        cargo(&package, &target, |cargo| cargo.args(clippy))?;
    }
    Ok(())
}

/// Tests that run at once.
const TESTS_PER_CORE: usize = 4;

/// Whether tests that can take long do.
#[derive(Clone, Copy, PartialEq)]
enum Length {
    Short,
    Full,
}

fn test_host(python: &Path, guests: &Path, filters: &[&str], length: Length) -> Result {
    let (guests_target, native_target) = (place::guests_target()?, place::guests_native_target()?);
    cargo(&place::root(), &place::target()?, |cargo| {
        if length == Length::Full {
            cargo.env("WASMPIPE_SOAK", "1");
        }
        // Most of the time most tests wait: for retries, for heartbeats, for processes that they killed.
        let threads = TESTS_PER_CORE * std::thread::available_parallelism().map_or(1, usize::from);
        cargo
            .env("RUST_TEST_THREADS", threads.to_string())
            .env("WASMPIPE_TEST_PYTHON", python)
            .env("WASMPIPE_TEST_GUESTS", guests)
            // Some tests compile guests of their own.
            .env("WASMPIPE_GUEST_TARGET_DIR", &guests_target)
            .env("WASMPIPE_TEST_NATIVE_TARGET", &native_target)
            .args(TEST)
            .arg("--")
            .args(filters)
    })
}

/// All tests are built together, always: what one of them asks of a dependency, all get, and for other crates together the
/// dependencies, and the host, would be compiled again.
const TEST: [&str; 9] = ["test", "-p", "wasmpipe-ids", "-p", "wasmpipe", "-p", "wasmpipe-tools", "-p", "wasmpipe-fuzz"];

/// The binary that tests use. The tests are built with it, in one go.
fn build_for_tests() -> Result<PathBuf> {
    let target = place::target()?;
    cargo(&place::root(), &target, |cargo| cargo.args(TEST).arg("--no-run"))?;
    Ok(target.join("debug/wasmpipe"))
}

/// Functions are plain Rust: their tests run where `cargo test` runs.
fn test_guests_natively() -> Result {
    let target = place::guests_native_target()?;
    for package in guests::workspaces() {
        cargo(&package, &target, |cargo| cargo.args(["test", "--quiet", "--workspace"]))?;
    }
    Ok(())
}

/// Lets `wasmpipe-tools` work with the released binary and the guest of the quickstart.
fn run_tools(what: &str, options: &[&str]) -> Result {
    process::run(tools(what, "udfs/code")?.args(options))
}

/// `wasmpipe-tools` with the released binary, the guest and a work folder.
fn tools(what: &str, guest: &str) -> Result<Command> {
    // Every crate of the lock file, also those for other systems: the registry is the corpus.
    cargo(&place::root(), &place::target()?, |cargo| cargo.args(["fetch", "--quiet"]))?;
    let release = build_release()?;
    let wasmpipe = release.join("wasmpipe");
    let component = guests::one(&wasmpipe, guest)?;
    let mut tools = Command::new(release.join("wasmpipe-tools"));
    tools.arg(what).arg("--wasmpipe").arg(wasmpipe).arg("--component").arg(component);
    tools.arg("--work").arg(place::made(what));
    Ok(tools)
}

/// The folder of the released programs. All are built together, always: what one of them asks of a dependency, all get, and for
/// other programs together the dependencies would be compiled again.
fn build_release() -> Result<PathBuf> {
    let target = place::target()?;
    let programs = ["-p", "wasmpipe", "-p", "wasmpipe-tools", "-p", "wasmpipe-bench"];
    cargo(&place::root(), &target, |cargo| cargo.args(["build", "--release"]).args(programs))?;
    Ok(target.join("release"))
}
