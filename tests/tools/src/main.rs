//! `wasmpipe-tools`: what `cargo xtask` does to data. It drives the real `wasmpipe` binary as a person does and links
//! nothing of it, so that a defect of the host cannot hide itself here.
//!
//!  - `corpus.rs`      the machine's cargo registry, packed into Parquet files
//!  - `compare.rs`     two folders of Parquet files, as multisets of rows
//!  - `job.rs`         one pipeline file and the process that runs it
//!  - `quickstart.rs`  the story: run, kill, resume, prove
//!  - `bench.rs`       the same corpus, with the clock running
//!  - `log.rs`         a job with a long log, with the clock running
//!  - `resume.rs`      a job that another system began, beside that system and others, with the clock running
//!  - `formats.rs`     JSON Lines to Parquet and back, beside others, with the clock running
//!  - `tree.rs`        what a program and all that it starts use

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line program of the project's own")]

mod bench;
mod compare;
mod corpus;
mod formats;
mod job;
mod log;
mod quickstart;
mod resume;
mod tree;

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
  wasmpipe-tools id OPTIONS            measure what `id` costs against rows known by position
  wasmpipe-tools log OPTIONS           measure how soon a job with a long log goes on
  wasmpipe-tools resume OPTIONS        measure a job that another system began, beside that system and others
  wasmpipe-tools formats OPTIONS       measure JSON Lines to Parquet and back, beside others

OPTIONS of quickstart, bench, id and log:
  --wasmpipe FILE     the binary
  --component FILE    the guest built from udfs/code
  --work DIR          the folder to work in
  --small             an eighth of the corpus, a twentieth of the log
  --copies N          bench, id: the corpus N times, in groups of the usual size

OPTIONS of formats:
  --wasmpipe FILE     the binary
  --work DIR          the folder to work in
  --scripts DIR       the folder of formats.py
  --python FILE       an interpreter with DuckDB, Polars and pyarrow
  --rows N            (400000)
  --rounds N          (3)

OPTIONS of resume:
  --wasmpipe FILE     the binary
  --component FILE    the guest built from udfs/identity
  --work DIR          the folder to work in
  --data DIR          the folder where the data are kept for later runs
  --scripts DIR       the folder of peers.py and plot.py
  --python FILE       an interpreter with DuckDB, Polars and matplotlib
  --python-ray FILE   one with Ray Data
  --plot FILE         the picture (resume.png in the work folder)
  --scale N           an Nth of the published size (1)
  --rounds N          (3)
  --ray-rounds N      of Ray Data, which takes minutes (1)
  --only NAMES        of wasmpipe,duckdb,polars,ray
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
        ["bench", options @ ..] => bench::checkpoint(&Options::parse(options)?),
        ["id", options @ ..] => bench::id(&Options::parse(options)?),
        ["log", options @ ..] => log::measure(&Options::parse(options)?),
        ["resume", options @ ..] => resume::measure(options),
        ["formats", options @ ..] => formats::measure(options),
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

/// Options as they were given.
struct Given<'a> {
    values: BTreeMap<&'a str, &'a str>,
}

/// Reads `--name value` pairs, and words that stand for themselves.
fn given<'a>(words: &[&'a str], names: &[&str], flags: &[&str]) -> Result<Given<'a>> {
    let mut values = BTreeMap::new();
    let mut words = words.iter();
    while let Some(&word) = words.next() {
        let value = if flags.contains(&word) {
            ""
        } else if names.contains(&word) {
            words.next().ok_or_else(|| format!("{word} needs a value"))?
        } else {
            return Err(format!("unknown option {word}\n\n{HELP}").into());
        };
        values.insert(word, value);
    }
    Ok(Given { values })
}

impl<'a> Given<'a> {
    fn has(&self, name: &str) -> bool {
        self.values.contains_key(name)
    }

    fn text(&self, name: &str) -> Option<&'a str> {
        self.values.get(name).copied()
    }

    /// A path that must be given.
    fn path(&self, name: &str) -> Result<PathBuf> {
        let value = self.text(name).ok_or_else(|| format!("{name} is missing\n\n{HELP}"))?;
        Ok(std::path::absolute(value).map_err(|e| format!("{name}: {e}"))?)
    }

    fn number(&self, name: &str, otherwise: usize) -> Result<usize> {
        let parsed = self.text(name).map_or(Ok(otherwise), str::parse);
        Ok(parsed.map_err(|_| format!("{name} wants a number"))?)
    }
}

/// What `quickstart`, `bench`, `id` and `log` are told.
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
        let given = given(words, &["--wasmpipe", "--component", "--work", "--copies"], &["--small"])?;
        let size = if given.has("--small") { corpus::Size::Small } else { corpus::Size::Full };
        let (wasmpipe, component, work) =
            (given.path("--wasmpipe")?, given.path("--component")?, given.path("--work")?);
        Ok(Options { wasmpipe, component, work, size, copies: given.number("--copies", 1)?.max(1) })
    }
}
