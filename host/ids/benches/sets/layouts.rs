//! The ways to keep a set, and what is measured of each.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Instant;

use crate::kinds::{Kind, Owned};
use crate::peak::touch_memory;
use crate::questions::{Order, Questions};
use crate::{file, memory, numpy};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// The sorted id file.
    File,
    /// The sorted id file with all ids as strings of no template; numbers as 8 bytes.
    FrontCoding,
    /// Sorted 128-bit hashes in memory, interpolation search.
    Fingerprints,
    /// The standard library's.
    HashSet,
    /// `searchsorted` in a sorted array: numbers of 8 bytes, or strings of fixed length.
    NumPy,
}

/// About what a set of 80 million takes, scratch files and the page cache included.
const MEMORY_TOUCHED: usize = 4 << 30;

/// A set to make and to ask.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    pub(crate) kind: Kind,
    pub(crate) layout: Layout,
    pub(crate) ids: u64,
    /// Of the layouts that have one.
    pub(crate) budget_mib: usize,
    pub(crate) folder: PathBuf,
    pub(crate) python: Option<PathBuf>,
}

/// A set that is there.
pub(crate) trait Set {
    /// As the set is asked, where that differs from how ids are; not measured.
    fn prepare(&self, ids: Owned) -> Owned {
        ids
    }

    /// A bit for each id.
    fn ask(&self, ids: &Owned) -> Vec<u64>;
}

impl Layout {
    pub(crate) const ALL: [Layout; 5] =
        [Layout::File, Layout::FrontCoding, Layout::Fingerprints, Layout::HashSet, Layout::NumPy];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Layout::File => "file",
            Layout::FrontCoding => "front-coding",
            Layout::Fingerprints => "fingerprints",
            Layout::HashSet => "hash-set",
            Layout::NumPy => "numpy",
        }
    }

    pub(crate) fn named(name: &str) -> Option<Layout> {
        Layout::ALL.into_iter().find(|layout| layout.name() == name)
    }

    /// What is slow, or takes ten gigabytes, gets fewer.
    pub(crate) fn ids_max(self, kind: Kind) -> u64 {
        match (self, kind) {
            (_, Kind::Url) => 8_000_000,
            (Layout::File | Layout::Fingerprints, _) | (_, Kind::Sequential | Kind::Random) => u64::MAX,
            _ => 20_000_000,
        }
    }

    pub(crate) fn rounds_max(self) -> usize {
        if self == Layout::File { usize::MAX } else { 1 }
    }
}

/// By name: `build_s`, `add_s`, `finish_s` seconds without making ids; `generate_s`; `bytes` of the set; `open_ms`; `peak_mib` over
/// the build, without the columns that are added; `columns_mib`, those; `input_ns`, `random_ns`, `new_ns` an id, and what each is
/// the first time: `input_first_ns` and so on.
#[derive(Debug, Clone, Default)]
pub(crate) struct Figures(BTreeMap<String, f64>);

impl Figures {
    pub(crate) fn set(&mut self, name: &str, value: f64) {
        self.0.insert(name.into(), value);
    }

    pub(crate) fn get(&self, name: &str) -> Option<f64> {
        self.0.get(name).copied()
    }

    pub(crate) fn parse(text: &str) -> Figures {
        let words = text.lines().filter_map(|line| line.trim().split_once(' '));
        Figures(words.map(|(name, value)| (name.into(), value.parse().expect("a number"))).collect())
    }

    pub(crate) fn extend(&mut self, others: Figures) {
        self.0.extend(others.0);
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|(name, value)| writeln!(f, "  {name} {value:.4}"))
    }
}

pub(crate) fn measure(job: &Job) -> Figures {
    std::fs::create_dir_all(&job.folder).expect("a folder for the set");
    touch_memory(MEMORY_TOUCHED);
    let mut figures = Figures::default();
    match job.layout {
        Layout::File => ask_both(job, &file::build(job, false, &mut figures), &mut figures),
        Layout::FrontCoding => ask_both(job, &file::build(job, true, &mut figures), &mut figures),
        Layout::Fingerprints => ask_both(job, &memory::fingerprints(job, &mut figures), &mut figures),
        Layout::HashSet => ask_both(job, &memory::hash_set(job, &mut figures), &mut figures),
        Layout::NumPy => numpy::measure(job, &mut figures),
    }
    figures
}

fn ask_both<S: Set>(job: &Job, set: &S, figures: &mut Figures) {
    for (order, name) in [(Order::Input, "input"), (Order::Random, "random"), (Order::New, "new")] {
        let questions = Questions::new(job.kind, job.ids, order);
        figures.set(&format!("{name}_first_ns"), ask_all(set, &questions));
        figures.set(&format!("{name}_ns"), ask_all(set, &questions));
    }
}

/// Nanoseconds an id.
fn ask_all<S: Set>(set: &S, questions: &Questions) -> f64 {
    let (mut nanoseconds, mut ids) = (0, 0);
    for block in 0..questions.blocks() {
        let numbers = questions.numbers(block);
        let asked = set.prepare(questions.ids(&numbers));
        let clock = Instant::now();
        let answers = set.ask(&asked);
        nanoseconds += clock.elapsed().as_nanos();
        ids += numbers.len();
        for (row, number) in numbers.into_iter().enumerate() {
            let is_in = answers[row / 64] >> (row % 64) & 1 == 1;
            assert_eq!(is_in, questions.is_in_set(number), "id {number}, row {row} of block {block}");
        }
    }
    nanoseconds as f64 / ids as f64
}
