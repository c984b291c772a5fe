//! Bounded memory, measured: an allocator that counts, and a set many times the budget. One test, so that nothing else allocates.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicUsize, Ordering};

use wasmpipe_ids::{Builder, Column, Ids};

struct Counting;

static NOW: AtomicUsize = AtomicUsize::new(0);
static PEAK: AtomicUsize = AtomicUsize::new(0);

fn grew(bytes: usize) {
    let now = NOW.fetch_add(bytes, Ordering::Relaxed) + bytes;
    PEAK.fetch_max(now, Ordering::Relaxed);
}

// SAFETY: passes everything on to `System`, and counts. A block that is resized counts once: the system moves pages, not bytes.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        grew(layout.size());
        // SAFETY: the caller's promises are passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        NOW.fetch_sub(layout.size(), Ordering::Relaxed);
        grew(size);
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A column with one template behind the other, each with as many rows as are taken in at once.
fn ordered_by_template(rows: usize) -> (Vec<i32>, Vec<u8>) {
    let (mut offsets, mut bytes) = (vec![0], Vec::new());
    for row in 0..rows {
        let shape = row / 4096;
        bytes.extend_from_slice(&[b"x".repeat(1 + shape % 40), b"y".repeat(shape / 40)].concat());
        bytes.extend_from_slice(format!("{:025}", row as u128 * 0x9e37_79b9_7f4a_7c15).as_bytes());
        offsets.push(i32::try_from(bytes.len()).expect("a small test"));
    }
    (offsets, bytes)
}

#[test]
fn building_stays_within_the_budget() {
    const SLACK_BYTES: usize = 1 << 20;
    let (offsets, bytes) = ordered_by_template(400_000);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let before = NOW.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    let builder = Builder::new(folder.path(), 1 << 20, 2);
    builder.add(Column::strings(&offsets, &bytes)).expect("add");
    let used = PEAK.load(Ordering::Relaxed) - before;
    assert!(used <= (1 << 20) + SLACK_BYTES, "{used} bytes used for a column ordered by template");
    drop(builder);

    for (memory_bytes_max, count) in [(100_000, 60_000u64), (4 << 20, 2_000_000)] {
        for kind in ["numbers", "strings", "templates"] {
            let folder = tempfile::tempdir().expect("a temporary folder");
            let out = folder.path().join("out.ids");
            let before = NOW.load(Ordering::Relaxed);
            PEAK.store(before, Ordering::Relaxed);
            let builder = Builder::new(folder.path(), memory_bytes_max, 2);
            for i in 0..count {
                // An odd factor permutes the numbers: each comes once, in no order.
                let number = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
                // Not digits: strings as they are.
                let mut text = number.to_be_bytes().map(|byte| byte | 0x80);
                match kind {
                    "numbers" => builder.add(Column::Numbers(&[number])).expect("add"),
                    "strings" => builder.add(Column::strings(&[0, 8], &text)).expect("add"),
                    _ => {
                        // One of 4096 templates, and their numbers.
                        for place in 0..4 {
                            text[place] = b'g' + text[4 + place] % 8;
                            text[4 + place] = b'0' + text[4 + place] / 8 % 10;
                        }
                        builder.add(Column::strings(&[0, 8], &text)).expect("add");
                    }
                }
            }
            builder.finish(&out).expect("finish");
            let used = PEAK.load(Ordering::Relaxed) - before;
            assert!(used <= memory_bytes_max + SLACK_BYTES, "{used} bytes used, budget {memory_bytes_max}, {kind}");
            Ids::open(std::fs::read(&out).expect("read")).expect("whole").verify().expect("whole");
        }
    }
}
