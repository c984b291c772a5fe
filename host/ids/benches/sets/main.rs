//! What does a set of ids cost to build, to keep and to ask: as a sorted id file, and as what else one could take?
//!
//! Each figure comes from a process of its own, which makes the set, opens it and asks it for blocks of 64 K ids, half of which it
//! has; every answer is checked. Ids are made beside the clock, in columns of 64 K.
//!
//! Expected, for a sorted id file: build = two passes of sorting, one in memory and one of what comes from scratch files, at about
//! 10 ns an id and core each; ask in input order = a walk along both sorted sides, a few ns; in random order = two waits for memory
//! (index, block), many of which are under way at once.
//!
//!  - `kinds.rs`      ids of six kinds, computed from their number
//!  - `questions.rs`  blocks of ids to ask for
//!  - `layouts.rs`    the ways to keep a set, each with how it is built and asked
//!  - `file.rs`       the sorted id file, and front coding of all ids
//!  - `memory.rs`     sets in memory: a hash set, sorted fingerprints
//!  - `numpy.rs`      a sorted array in Python
//!  - `peak.rs`       how much memory something took
//!  - `report.rs`     medians, and the tables

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command line program of the project's own")]

mod file;
mod kinds;
mod layouts;
mod memory;
mod numpy;
mod peak;
mod questions;
mod report;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use kinds::Kind;
use layouts::{Figures, Job, Layout};

const USAGE: &str = "\
usage: sets [--ids N] [--rounds N] [--kind KIND] [--layout LAYOUT] [--budget-mib N] [--folder FOLDER] [--python PYTHON]
       sets --billion [--folder FOLDER]
KIND: sequential, random, text, shard, uuid, url; LAYOUT: file, front-coding, fingerprints, hash-set, numpy
without --python, NumPy is left out; several KINDs and LAYOUTs are separated by commas";

const IDS: u64 = 80_000_000;
const ROUNDS: usize = 3;
const BUDGET_MIB: usize = 512;

struct Options {
    ids: Option<u64>,
    rounds: Option<usize>,
    kinds: Vec<Kind>,
    layouts: Vec<Layout>,
    budget_mib: Option<usize>,
    folder: PathBuf,
    python: Option<PathBuf>,
    billion: bool,
    /// Make and ask one set here, and print its figures for the process that tables them.
    child: bool,
}

fn main() {
    let options = options(std::env::args().skip(1));
    if options.child {
        print!("{}", layouts::measure(&job(&options, options.kinds[0], options.layouts[0])));
    } else if options.billion {
        report::billion(&measure_in_child(&billion(&options)));
    } else {
        let measured = options.kinds.iter().flat_map(|kind| options.layouts.iter().map(|layout| (*kind, *layout)));
        let is_left_out = |layout| layout == Layout::NumPy && options.python.is_none();
        let measured = measured.filter(|(_, layout)| !is_left_out(*layout));
        let measured = measured.map(|(kind, layout)| rounds(&options, &job(&options, kind, layout)));
        report::tables(&measured.collect::<Vec<_>>());
    }
}

fn options(mut words: impl Iterator<Item = String>) -> Options {
    let mut options = Options {
        ids: None,
        rounds: None,
        kinds: Kind::ALL.to_vec(),
        layouts: Layout::ALL.to_vec(),
        budget_mib: None,
        folder: std::env::temp_dir().join("wasmpipe-bench-ids"),
        python: None,
        billion: false,
        child: false,
    };
    while let Some(word) = words.next() {
        let mut value = || words.next().unwrap_or_else(|| panic!("{word} needs a value\n{USAGE}"));
        match word.as_str() {
            "--ids" => options.ids = Some(value().parse().expect(USAGE)),
            "--rounds" => options.rounds = Some(value().parse().expect(USAGE)),
            "--kind" => options.kinds = value().split(',').map(|name| Kind::named(name).expect(USAGE)).collect(),
            "--layout" => options.layouts = value().split(',').map(|name| Layout::named(name).expect(USAGE)).collect(),
            "--budget-mib" => options.budget_mib = Some(value().parse().expect(USAGE)),
            "--folder" => options.folder = value().into(),
            "--python" => options.python = Some(value().into()),
            "--billion" => options.billion = true,
            "--child" => options.child = true,
            // Cargo says so.
            "--bench" => {}
            _ => panic!("{USAGE}"),
        }
    }
    options
}

fn job(options: &Options, kind: Kind, layout: Layout) -> Job {
    Job {
        kind,
        layout,
        ids: options.ids.unwrap_or(IDS).min(layout.ids_max(kind)),
        budget_mib: options.budget_mib.unwrap_or(BUDGET_MIB),
        folder: options.folder.clone(),
        python: options.python.clone(),
    }
}

/// Built within 1 GiB, what is not the builder's included.
fn billion(options: &Options) -> Job {
    let job = job(options, Kind::Random, Layout::File);
    Job { ids: options.ids.unwrap_or(1_000_000_000), budget_mib: options.budget_mib.unwrap_or(1000), ..job }
}

fn rounds(options: &Options, job: &Job) -> (Job, Vec<Figures>) {
    let rounds = options.rounds.unwrap_or(ROUNDS).min(job.layout.rounds_max());
    (job.clone(), (0..rounds).map(|_| measure_in_child(job)).collect())
}

fn measure_in_child(job: &Job) -> Figures {
    eprintln!("{} of kind {}, {} ids", job.layout.name(), job.kind.name(), job.ids);
    let mut child = Command::new(std::env::current_exe().expect("this program"));
    child.args(["--child", "--kind", job.kind.name(), "--layout", job.layout.name()]);
    child.args(["--ids", &job.ids.to_string(), "--budget-mib", &job.budget_mib.to_string()]);
    child.arg("--folder").arg(&job.folder);
    if let Some(python) = &job.python {
        child.arg("--python").arg(python);
    }
    let output = child.stderr(Stdio::inherit()).output().expect("this program runs");
    // What a child that failed left behind.
    let _ = std::fs::remove_dir_all(&job.folder);
    assert!(output.status.success(), "the process for {job:?} failed: {}", output.status);
    let figures = Figures::parse(&String::from_utf8_lossy(&output.stdout));
    eprint!("{figures}");
    figures
}
