//! `wasmpipe-tools`: what `cargo xtask` does to data. It drives the real `wasmpipe` binary as a person does and links
//! nothing of it, so that a defect of the host cannot hide itself here.
//!
//!  - `corpus.rs`      the machine's cargo registry, packed into Parquet files
//!  - `compare.rs`     two folders of Parquet files, as multisets of rows
//!  - `job.rs`         one pipeline file and the process that runs it
//!  - `quickstart.rs`  the story: run, kill, resume, prove
//!  - `bench.rs`       the same corpus, with the clock running
//!  - `log.rs`         a job with a long log, with the clock running

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line program of the project's own")]

mod bench;
mod compare;
mod corpus;
mod job;
mod log;
mod quickstart;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// What failed, for a person.
type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

const HELP: &str = "\
What `cargo xtask` does to data.

  wasmpipe-tools pack OUT [--small]    pack the cargo registry's sources into Parquet files
  wasmpipe-tools compare A B           compare two folders of Parquet files as multisets of rows
  wasmpipe-tools quickstart OPTIONS    run, kill, resume, and prove that nothing was lost or doubled
  wasmpipe-tools bench OPTIONS         measure a job end to end, and print a Markdown table
  wasmpipe-tools log OPTIONS           measure how soon a job with a long log goes on

OPTIONS of quickstart, bench and log:
  --wasmpipe FILE     the binary
  --component FILE    the guest built from udfs/code
  --work DIR          the folder to work in
  --small             an eighth of the corpus, a twentieth of the log
  --copies N          bench: the corpus N times, in groups of the usual size
";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    match answer(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn answer(words: &[String]) -> Result {
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["pack", out] => pack(Path::new(out), corpus::Size::Full),
        ["pack", out, "--small"] => pack(Path::new(out), corpus::Size::Small),
        ["compare", a, b] => same(Path::new(a), Path::new(b)),
        ["quickstart", options @ ..] => quickstart::tell(&Options::parse(options)?),
        ["bench", options @ ..] => bench::measure(&Options::parse(options)?),
        ["log", options @ ..] => log::measure(&Options::parse(options)?),
        ["--help" | "help"] => {
            print!("{HELP}");
            Ok(())
        }
        _ => Err(format!("these arguments mean nothing to me: {words:?}\n\n{HELP}").into()),
    }
}

fn pack(out: &Path, size: corpus::Size) -> Result {
    std::fs::create_dir_all(out)?;
    println!("{}", corpus::pack(out, size)?);
    Ok(())
}

fn same(a: &Path, b: &Path) -> Result {
    println!("{} rows, the same in both", compare::same_rows(a, b)?);
    Ok(())
}

/// What `quickstart`, `bench` and `log` are told.
struct Options {
    wasmpipe: PathBuf,
    component: PathBuf,
    work: PathBuf,
    size: corpus::Size,
    copies: usize,
}

impl Options {
    fn is_small(&self) -> bool {
        self.size == corpus::Size::Small
    }

    fn parse(words: &[&str]) -> Result<Options> {
        let mut given = BTreeMap::new();
        let mut size = corpus::Size::Full;
        let mut words = words.iter();
        while let Some(&word) = words.next() {
            match word {
                "--small" => size = corpus::Size::Small,
                "--wasmpipe" | "--component" | "--work" | "--copies" => {
                    given.insert(word, words.next().ok_or_else(|| format!("{word} needs a value"))?);
                }
                _ => return Err(format!("unknown option {word}\n\n{HELP}").into()),
            }
        }
        let path = |name: &str| {
            let value = given.get(name).ok_or_else(|| format!("{name} is missing\n\n{HELP}"))?;
            std::path::absolute(value).map_err(|e| format!("{name}: {e}"))
        };
        let copies = given.get("--copies").map_or(Ok(1), |number| number.parse::<usize>())?;
        let (wasmpipe, component, work) = (path("--wasmpipe")?, path("--component")?, path("--work")?);
        Ok(Options { wasmpipe, component, work, size, copies: copies.max(1) })
    }
}
