//! How much memory something took: `RssAnon` and `RssShmem` of this process, looked at every 5 ms. Pages of mapped files, which the
//! machine can take back, are not in it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

const EVERY: Duration = Duration::from_millis(5);

/// Also the most that was there at a moment, in MiB.
pub(crate) fn peak_of<T>(f: impl FnOnce() -> T) -> (T, f64) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = now();
            while !done.load(Ordering::Relaxed) {
                std::thread::sleep(EVERY);
                most = most.max(now());
            }
            most
        });
        let result = f();
        done.store(true, Ordering::Relaxed);
        (result, watch.join().expect("it only reads") as f64 / 1024.0)
    })
}

/// In KiB.
fn now() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("a Linux process has one");
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).expect("a size in KiB")
    };
    of("RssAnon:") + of("RssShmem:")
}

/// Takes so much memory and gives it back, so that what is measured next does not wait for it: under a hypervisor that takes free
/// memory away, a page that nobody had for a minute costs ten times what another costs.
pub(crate) fn touch_memory(bytes: usize) {
    const PAGE: usize = 4096;
    let half = || {
        let mut memory = vec![0u8; bytes / 2];
        memory.iter_mut().step_by(PAGE).for_each(|byte| *byte = 1);
        std::hint::black_box(memory)
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(half);
        (half(), other.join().expect("there is memory"))
    });
}
