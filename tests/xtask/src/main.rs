//! `cargo xtask`: the project's automation. One command sets everything up, one runs all tests, one tells the
//! quickstart's story. It needs nothing but the standard library, so that it is there in seconds; what works on data
//! is `wasmpipe-tools`, which this builds.
//!
//!  - `place.rs`      where things lie, and where they are cached
//!  - `process.rs`    other programs, run and named in every error
//!  - `cargo.rs`      cargo, with one target folder for all clones
//!  - `toolchain.rs`  what compiles guests
//!  - `python.rs`     Pythons with pyarrow and Ray Data: others who read our files in tests
//!  - `guests.rs`     guests for tests, built when their sources changed
//!  - `fuzz.rs`       libFuzzer and what it needs
//!  - `commands.rs`   the commands

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line program of the project's own")]

mod cargo;
mod commands;
mod fuzz;
mod guests;
mod place;
mod process;
mod python;
mod toolchain;

use std::process::ExitCode;

/// What failed, and what to do next, for a person.
type Result<T = ()> = std::result::Result<T, String>;

const HELP: &str = "\
The project's automation.

  cargo xtask setup                  install what is missing: a tool chain for guests, pyarrow for tests
  cargo xtask quickstart [--small]   run a job over real data, kill it, resume it, prove the output
  cargo xtask test [FILTER...]       all tests, or those of the host whose names hold a FILTER
  cargo xtask lint                   formatting, clippy and docs, warnings denied; the manual's page of keys
  cargo xtask soak                   the tests at full size, and the quickstart
  cargo xtask ray                    jobs that Ray Data begins and wasmpipe finishes, and the other way round; installs Ray
  cargo xtask fuzz [SECONDS]         look for checkpoints and components that no run survives, with libFuzzer and the address
                                     sanitizer; 60 s each
  cargo xtask fuzz ids [SECONDS]     the same for id files, their reader and their writer, which is built in seconds
  cargo xtask bench [--small]        measure a job end to end, for tests/bench/RESULTS.md; with --copies 40 a long one
  cargo xtask bench id [--small]     measure what knowing rows by `id` costs against knowing them by position
  cargo xtask bench ids [--billion]  measure the sorted id file beside NumPy, a hash set and other layouts, 80 million ids of each
                                     kind; 10 GB of memory, an hour; quickly: --ids 1000000 --kind uuid --layout file
  cargo xtask bench resume           measure a job that Ray Data began, beside Ray Data, DuckDB and Polars, which it installs;
                                     10 minutes and 2 GB of disk; quickly: --scale 100 --only wasmpipe,duckdb --rounds 1
  cargo xtask bench formats          measure JSON Lines to Parquet and back beside DuckDB, Polars and pyarrow, which it installs; 5
                                     minutes and 4 GB of disk; quickly: --rows 40000 --rounds 1
  cargo xtask bench log [--small]    measure how soon a job with a long log goes on
  cargo xtask bench udf [FILTER]     measure functions in the host against the same functions natively
  cargo xtask bench planes           measure the ways in which a block could cross the boundary

Builds go to CARGO_TARGET_DIR, or to ~/.cache/wasmpipe/target, which all clones share.
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match obey(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

fn obey(words: &[String]) -> Result {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["setup"] => commands::setup(),
        ["quickstart", options @ ..] => commands::quickstart(options),
        ["test", filters @ ..] => commands::test(filters),
        ["lint"] => commands::lint(),
        ["soak"] => commands::soak(),
        ["fuzz"] => fuzz::fuzz(&fuzz::CHECKPOINTS, None),
        ["fuzz", "ids"] => fuzz::fuzz(&fuzz::IDS, None),
        ["fuzz", "ids", seconds] => fuzz::fuzz(&fuzz::IDS, Some(seconds)),
        ["fuzz", seconds] => fuzz::fuzz(&fuzz::CHECKPOINTS, Some(seconds)),
        ["ray"] => commands::ray(),
        ["bench", "udf"] => commands::bench_functions(None),
        ["bench", "udf", filter] => commands::bench_functions(Some(filter)),
        ["bench", "planes"] => commands::bench_planes(),
        ["bench", "log", options @ ..] => commands::bench_log(options),
        ["bench", "id", options @ ..] => commands::bench_id(options),
        ["bench", "ids", options @ ..] => commands::bench_ids(options),
        ["bench", "resume", options @ ..] => commands::bench_resume(options),
        ["bench", "formats", options @ ..] => commands::bench_formats(options),
        ["bench", options @ ..] => commands::bench(options),
        [] | ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            Ok(())
        }
        [unknown, ..] => Err(format!("no command `{unknown}`\n\n{HELP}")),
    }
}
