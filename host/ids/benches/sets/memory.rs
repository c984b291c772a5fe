//! Sets in memory: the standard library's hash set, and sorted fingerprints, which take what a file of them would take.

use std::collections::HashSet;
use std::time::Instant;

use twox_hash::XxHash3_64;

use crate::file::unsorted;
use crate::kinds::{COLUMN, Owned};
use crate::layouts::{Figures, Job, Set};
use crate::peak::peak_of;

/// Steps of interpolation, after which neighbours are looked at one by one.
const STEPS_MAX: usize = 8;
/// So near, neighbours are looked at at once.
const NEAR: usize = 8;

pub(crate) enum Hashed {
    Numbers(HashSet<u64>),
    Strings(HashSet<Box<[u8]>>),
}

impl Set for Hashed {
    fn ask(&self, ids: &Owned) -> Vec<u64> {
        match (self, ids) {
            (Hashed::Numbers(set), Owned::Numbers(ids)) => bits(ids.iter().map(|id| set.contains(id))),
            (Hashed::Strings(set), Owned::Strings { offsets, bytes }) => {
                bits(Owned::strings(offsets, bytes).map(|id| set.contains(id)))
            }
            _ => unreachable!("a set is asked for ids of its kind"),
        }
    }
}

/// One core: it cannot be filled from two.
pub(crate) fn hash_set(job: &Job, figures: &mut Figures) -> Hashed {
    let set = if job.kind.is_number() { Hashed::Numbers(HashSet::new()) } else { Hashed::Strings(HashSet::new()) };
    build(job, figures, set, |set, ids| match (set, ids) {
        (Hashed::Numbers(set), Owned::Numbers(ids)) => set.extend(ids),
        (Hashed::Strings(set), Owned::Strings { offsets, bytes }) => {
            set.extend(Owned::strings(offsets, bytes).map(Box::from));
        }
        _ => unreachable!("a set is made of ids of its kind"),
    })
}

pub(crate) struct Fingerprints(Vec<u128>);

impl Set for Fingerprints {
    fn ask(&self, ids: &Owned) -> Vec<u64> {
        match ids {
            Owned::Numbers(ids) => bits(ids.iter().map(|id| self.has(fingerprint(&id.to_le_bytes())))),
            Owned::Strings { offsets, bytes } => {
                bits(Owned::strings(offsets, bytes).map(|id| self.has(fingerprint(id))))
            }
        }
    }
}

impl Fingerprints {
    /// Fingerprints are spread evenly, so that a difference says how far to go.
    fn has(&self, wanted: u128) -> bool {
        let Some(last) = self.0.len().checked_sub(1) else { return false };
        let distance = |difference: u128| (((difference >> 64) * self.0.len() as u128) >> 64) as usize;
        let mut at = distance(wanted).min(last);
        for _ in 0..STEPS_MAX {
            let step = distance(wanted.abs_diff(self.0[at]));
            if step < NEAR {
                break;
            }
            at = if self.0[at] < wanted { (at + step).min(last) } else { at.saturating_sub(step) };
        }
        if self.0[at] < wanted {
            self.0[at..].iter().find(|has| **has >= wanted) == Some(&wanted)
        } else {
            self.0[..=at].iter().rev().find(|has| **has <= wanted) == Some(&wanted)
        }
    }
}

/// Two hashes of 64 bits.
fn fingerprint(id: &[u8]) -> u128 {
    let half = |seed| u128::from(XxHash3_64::oneshot_with_seed(seed, id));
    half(0) << 64 | half(0x5eed)
}

/// Hashed by one thread, sorted by two.
pub(crate) fn fingerprints(job: &Job, figures: &mut Figures) -> Fingerprints {
    let set = Fingerprints(Vec::with_capacity(job.ids as usize));
    let mut set = build(job, figures, set, |set, ids| match ids {
        Owned::Numbers(ids) => set.0.extend(ids.iter().map(|id| fingerprint(&id.to_le_bytes()))),
        Owned::Strings { offsets, bytes } => set.0.extend(Owned::strings(offsets, bytes).map(fingerprint)),
    });
    let clock = Instant::now();
    let middle = set.0.len() / 2;
    set.0.select_nth_unstable(middle);
    let (low, high) = set.0.split_at_mut(middle);
    std::thread::scope(|scope| {
        scope.spawn(|| low.sort_unstable());
        high.sort_unstable();
    });
    let build = figures.get("build_s").unwrap_or_default();
    figures.set("build_s", build + clock.elapsed().as_secs_f64());
    figures.set("bytes", (16 * set.0.len()) as f64);
    set
}

/// Adds all ids, one column after the other.
fn build<S: Send>(job: &Job, figures: &mut Figures, mut set: S, add: impl Fn(&mut S, &Owned)) -> S {
    let mut column = Owned::empty(job.kind.is_number());
    let mut seconds = 0.0;
    let ((), peak) = peak_of(|| {
        for from in (0..job.ids).step_by(COLUMN as usize) {
            unsorted(job.kind, job.ids, from..(from + COLUMN).min(job.ids), &mut column);
            let clock = Instant::now();
            add(&mut set, &column);
            seconds += clock.elapsed().as_secs_f64();
        }
    });
    let (_, now) = peak_of(|| ());
    let columns = column.bytes() as f64 / f64::from(1 << 20);
    figures.set("build_s", seconds);
    figures.set("peak_mib", peak - columns);
    figures.set("columns_mib", columns);
    figures.set("bytes", (now - columns) * f64::from(1 << 20));
    set
}

fn bits(answers: impl Iterator<Item = bool>) -> Vec<u64> {
    let mut words = Vec::new();
    for (row, answer) in answers.enumerate() {
        if row % 64 == 0 {
            words.push(0);
        }
        words[row / 64] |= u64::from(answer) << (row % 64);
    }
    words
}
