//! The frozen jobs, and thousands of mutations of it that are the same in each run. Each has limits in time and memory.

use std::alloc::{GlobalAlloc, Layout, System};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::{Duration, Instant};

use wasmpipe::commit::{FORMAT, view};

use crate::checkpoint::Checkpoint;
use crate::hold::check;
use crate::{
    Turn, component_seeds, components, entries, entry_seeds, frozen, plain, side, side_files, side_seeds,
    sink_documents, sink_seeds,
};

#[test]
fn the_frozen_jobs_hold() {
    let _alone = ALONE.lock();
    for turn in Turn::ALL {
        entry_seeds().iter().for_each(|seed| within_limits(|data| check(&Checkpoint::of_entries(data), turn), seed));
        let sides = side_seeds();
        sides.iter().for_each(|seed| within_limits(|data| check(&side::checkpoint(data).expect("a seed"), turn), seed));
    }
    sink_seeds().iter().for_each(|seed| within_limits(sink_documents, seed));
}

/// What was taken apart and sealed anew is a job that proves itself: mutations of it get past the digests.
#[test]
fn drafts_are_sealed_as_the_host_seals() {
    let _alone = ALONE.lock();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    for job in [frozen::job(FORMAT), plain::job(FORMAT)] {
        let again = Checkpoint::of_entries(&job.checkpoint.to_entries());
        let view = runtime.block_on(async { view(&again.store().await).await }).unwrap().expect("a job");
        assert!(view.groups() > 3 && view.files().count() > 3, "{} groups", view.groups());
    }
}

#[test]
fn mutated_entries_hold() {
    let _alone = ALONE.lock();
    mutations(&entry_seeds(), Random(7), entries);
}

#[test]
fn mutated_side_files_hold() {
    let _alone = ALONE.lock();
    mutations(&side_seeds(), Random(11), side_files);
}

#[test]
fn mutated_claims_and_manifests_hold() {
    let _alone = ALONE.lock();
    mutations(&sink_seeds(), Random(13), sink_documents);
}

#[test]
fn mutated_components_hold() {
    let _alone = ALONE.lock();
    component_seeds().iter().for_each(|seed| within_limits(components, seed));
    few_mutations(MUTATIONS_OF_OTHERS, &component_seeds(), Random(17), components);
}

/// Of checkpoints, for one of components, which are compiled.
const MUTATIONS_OF_OTHERS: usize = 4;

/// Of all runs of the tests but long ones, `cargo xtask soak`.
const MUTATIONS: usize = 500;
const MUTATIONS_SOAK: usize = 20_000;
/// One check reads its checkpoint some dozen times.
const TIME_MAX: Duration = Duration::from_secs(5);
/// Of an input without a byte: stores, a runtime, decoders.
const MEMORY_BYTES_MAX: usize = 48 << 20;

fn mutations(seeds: &[Vec<u8>], random: Random, check: fn(&[u8])) {
    few_mutations(1, seeds, random, check);
}

/// One for so many.
fn few_mutations(of: usize, seeds: &[Vec<u8>], mut random: Random, check: fn(&[u8])) {
    let is_soak = std::env::var_os("WASMPIPE_SOAK").is_some();
    for number in 0..if is_soak { MUTATIONS_SOAK } else { MUTATIONS } / of {
        let mut data = seeds[random.below(seeds.len())].clone();
        for _ in 0..=random.below(4) {
            mutate(&mut data, seeds, &mut random);
        }
        let held = catch_unwind(AssertUnwindSafe(|| within_limits(check, &data)));
        assert!(held.is_ok(), "mutation {number}: {}", data.escape_ascii());
    }
}

fn within_limits(check: impl Fn(&[u8]), data: &[u8]) {
    let (begun, before) = (Instant::now(), ALLOCATED.load(Relaxed));
    PEAK.store(before, Relaxed);
    check(data);
    let (time, memory) = (begun.elapsed(), PEAK.load(Relaxed).saturating_sub(before));
    assert!(time < TIME_MAX, "it took {time:?}");
    assert!(memory < MEMORY_BYTES_MAX, "it took {memory} bytes of memory");
}

/// Numbers at which something ends, words of the documents, and bytes that Parquet's metadata is made of.
const PIECES: [&[u8]; 20] = [
    b"0",
    b"1",
    b"20",
    b"4294967296",
    b"9223372036854775807",
    b"18446744073709551615",
    b"-1",
    b"1e9",
    b"null",
    b"[]",
    b"[[5,2]]",
    b"[[0,20],[3,4]]",
    b"true",
    b"\"root/0000000000\"",
    b"\"done\":[[0,9]],",
    b"{",
    b"\0",
    b"\xff\xff\xff\xff\x0f",
    b"\x15\x00",
    b"\xff\xff\xff\xff\xff\xff\xff\x7f",
];

fn mutate(data: &mut Vec<u8>, seeds: &[Vec<u8>], random: &mut Random) {
    let at = random.below(data.len() + 1);
    let length_max = 1 << random.below(8);
    let end = (at + random.below(length_max)).min(data.len());
    match random.below(8) {
        0 | 1 => data.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << random.below(8)),
        2 => data.iter_mut().skip(at).take(1).for_each(|byte| *byte = random.next() as u8),
        3 => drop(data.drain(at..end)),
        4 => {
            let copy = data[at..end].to_vec();
            let to = random.below(data.len() + 1);
            data.splice(to..to, copy);
        }
        5 => {
            let other = &seeds[random.below(seeds.len())];
            let from = random.below(other.len());
            let part = other[from..].iter().take(end - at).copied();
            data.splice(at..end, part);
        }
        6 => number_at(data, at, PIECES[random.below(PIECES.len())]),
        _ => drop(data.splice(at..at, PIECES[random.below(PIECES.len())].iter().copied())),
    }
}

/// Puts something in the place of the first decimal number that comes.
fn number_at(data: &mut Vec<u8>, at: usize, piece: &[u8]) {
    let is_digit = |byte: &u8| byte.is_ascii_digit();
    let Some(start) = data[at..].iter().position(is_digit).map(|found| at + found) else { return };
    let digits = data[start..].iter().take_while(|byte| is_digit(byte)).count();
    data.splice(start..start + digits, piece.iter().copied());
}

/// Marsaglia's xorshift of 64 bits, with the shifts 13, 7, 17.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn below(&mut self, end: usize) -> usize {
        ((self.next() >> 11) % end.max(1) as u64) as usize
    }
}

/// Memory is counted for the whole process, so tests take turns.
static ALONE: Mutex<()> = Mutex::new(());
static ALLOCATED: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

struct Counting;

#[global_allocator]
static COUNTING: Counting = Counting;

// SAFETY: all is the system's; only sizes are counted.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        ALLOCATED.fetch_sub(layout.size(), Relaxed);
        // SAFETY: the caller's promise.
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn count(bytes: usize) {
    let now = ALLOCATED.fetch_add(bytes, Relaxed) + bytes;
    PEAK.fetch_max(now, Relaxed);
}
