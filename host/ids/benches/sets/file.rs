//! The sorted id file, and front coding of all ids, which is what it does with strings that have no template.

use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use memmap2::Mmap;
use wasmpipe_ids::{Builder, Column, Ids};

use crate::kinds::{COLUMN, Kind, Owned, permuted};
use crate::layouts::{Figures, Job, Set};
use crate::peak::peak_of;

const THREADS: u64 = 2;

pub(crate) struct FileSet {
    ids: Ids<Mmap>,
    is_front_coded: bool,
}

impl Set for FileSet {
    fn prepare(&self, ids: Owned) -> Owned {
        if self.is_front_coded { ids.into_strings() } else { ids }
    }

    fn ask(&self, ids: &Owned) -> Vec<u64> {
        self.ids.ask(as_column(ids, self.is_front_coded)).expect("the file is whole")
    }
}

fn as_column(ids: &Owned, is_front_coded: bool) -> Column<'_> {
    if is_front_coded { ids.column().into_binary() } else { ids.column() }
}

/// What the adding threads did beside adding.
#[derive(Default)]
struct Made {
    nanoseconds: AtomicU64,
    bytes: AtomicU64,
}

pub(crate) fn build(job: &Job, is_front_coded: bool, figures: &mut Figures) -> FileSet {
    let path = job.folder.join("set.ids");
    let (made, bytes) = (Made::default(), job.budget_mib << 20);
    let ((add, finish, summary), peak) = peak_of(|| {
        let clock = Instant::now();
        let builder = Builder::new(&job.folder, bytes, THREADS as usize);
        add_all(job, &builder, is_front_coded, &made);
        let added = clock.elapsed().as_secs_f64();
        let summary = builder.finish(&path).expect("the folder takes the file");
        (added, clock.elapsed().as_secs_f64() - added, summary)
    });
    assert_eq!((summary.ids, summary.repeats), (job.ids, 0));
    let generate = made.nanoseconds.into_inner() as f64 / 1e9 / THREADS as f64;
    let columns = made.bytes.into_inner() as f64 / f64::from(1 << 20);
    for (name, value) in [
        ("build_s", add - generate + finish),
        ("add_s", add - generate),
        ("finish_s", finish),
        ("generate_s", generate),
        ("bytes", summary.bytes as f64),
        ("peak_mib", peak - columns),
        ("columns_mib", columns),
    ] {
        figures.set(name, value);
    }
    open(&path, is_front_coded, figures)
}

/// Threads take columns in turn; a thread keeps its column's memory for the next.
fn add_all(job: &Job, builder: &Builder, is_front_coded: bool, made: &Made) {
    let next = AtomicU64::new(0);
    let add_some = || {
        let mut ids = Owned::empty(job.kind.is_number());
        loop {
            let from = next.fetch_add(COLUMN, Ordering::Relaxed);
            if from >= job.ids {
                break;
            }
            let clock = Instant::now();
            ids = make(job, from, ids, is_front_coded);
            made.nanoseconds.fetch_add(clock.elapsed().as_nanos() as u64, Ordering::Relaxed);
            builder.add(as_column(&ids, is_front_coded)).expect("the folder takes scratch files");
        }
        made.bytes.fetch_add(ids.bytes() as u64, Ordering::Relaxed);
    };
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(add_some);
        }
    });
}

fn make(job: &Job, from: u64, mut ids: Owned, is_front_coded: bool) -> Owned {
    if is_front_coded && job.kind.is_number() {
        ids = Owned::empty(true);
    }
    unsorted(job.kind, job.ids, from..(from + COLUMN).min(job.ids), &mut ids);
    if is_front_coded { ids.into_strings() } else { ids }
}

/// Random kinds are unsorted as they are, the others are permuted.
pub(crate) fn unsorted(kind: Kind, ids: u64, numbers: std::ops::Range<u64>, owned: &mut Owned) {
    if kind.is_ordered() {
        kind.fill(numbers.map(|number| permuted(ids, number)), owned);
    } else {
        kind.fill(numbers, owned);
    }
}

fn open(path: &std::path::Path, is_front_coded: bool, figures: &mut Figures) -> FileSet {
    let clock = Instant::now();
    let file = File::open(path).expect("the file is there");
    // SAFETY: nobody else knows the file.
    let map = unsafe { Mmap::map(&file) }.expect("the file can be mapped");
    let ids = Ids::open(map).expect("the file is whole");
    figures.set("open_ms", clock.elapsed().as_secs_f64() * 1e3);
    // The mapping stays; nothing is left behind if this process is killed.
    std::fs::remove_file(path).expect("the file is ours");
    FileSet { ids, is_front_coded }
}
