//! A sorted array in Python, over the same ids: they are written to files, each as long as the longest, and `searchsorted.py` does
//! the rest.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process::{Command, Stdio};

use crate::file::unsorted;
use crate::kinds::{COLUMN, Kind, Owned};
use crate::layouts::{Figures, Job};
use crate::questions::{Order, Questions};

const SCRIPT: &str = include_str!("searchsorted.py");
/// Blocks asked in each order, at most.
const BLOCKS_MAX: u64 = 64;

pub(crate) fn measure(job: &Job, figures: &mut Figures) {
    write(job.kind, &job.folder.join("ids"), |add| {
        let mut column = Owned::empty(job.kind.is_number());
        for from in (0..job.ids).step_by(COLUMN as usize) {
            unsorted(job.kind, job.ids, from..(from + COLUMN).min(job.ids), &mut column);
            add(&column);
        }
    });
    let mut found = Vec::new();
    for (order, name) in [(Order::Input, "input"), (Order::Random, "random")] {
        let questions = Questions::new(job.kind, job.ids, order);
        let mut in_set = 0;
        write(job.kind, &job.folder.join(name), |add| {
            let step = questions.blocks().div_ceil(BLOCKS_MAX) as usize;
            for block in (0..questions.blocks()).step_by(step) {
                let numbers = questions.numbers(block);
                in_set += numbers.iter().filter(|number| questions.is_in_set(**number)).count();
                add(&questions.ids(&numbers));
            }
        });
        found.push(in_set.to_string());
    }
    let python = job.python.as_ref().expect("without one, NumPy is left out");
    let bytes = if job.kind.is_number() { "0".into() } else { job.kind.bytes_max().to_string() };
    let mut script = Command::new(python);
    script.args(["-c", SCRIPT]).arg(&job.folder).arg(bytes).args(found);
    let output = script.stderr(Stdio::inherit()).output().expect("Python runs");
    assert!(output.status.success(), "{} failed", python.display());
    figures.extend(Figures::parse(&String::from_utf8_lossy(&output.stdout)));
}

/// Ids that are shorter than the longest end with zeros.
fn write(kind: Kind, path: &Path, make: impl FnOnce(&mut dyn FnMut(&Owned))) {
    let mut out = BufWriter::new(File::create(path).expect("the folder takes files"));
    let zeros = vec![0; kind.bytes_max()];
    let mut put = |bytes: &[u8]| out.write_all(bytes).expect("the folder takes files");
    make(&mut |ids| match ids {
        Owned::Numbers(numbers) => numbers.iter().for_each(|number| put(&number.to_le_bytes())),
        Owned::Strings { offsets, bytes } => Owned::strings(offsets, bytes).for_each(|id| {
            put(id);
            put(&zeros[id.len()..]);
        }),
    });
    out.flush().expect("the folder takes files");
}
