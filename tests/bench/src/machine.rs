//! What a figure was measured on: the processor, which of its vector instructions generated code uses, and how fast it
//! copies. Two machines that call themselves the same can differ in all of these, and figures with them.

use std::hint::black_box;
use std::time::{Duration, Instant};

/// Instructions that Cranelift and the native compiler choose by, or that copies are made with.
const FEATURES: [&str; 9] = ["sse4_2", "popcnt", "bmi2", "lzcnt", "fma", "avx2", "avx512f", "erms", "fsrm"];
const ROUNDS: usize = 31;
/// Of one block, as stages have them; and far beyond any cache.
const SIZES: [(&str, usize); 2] = [("2 MB", 2 << 20), ("256 MB", 256 << 20)];

/// One line for people.
pub(crate) fn describe() -> String {
    let about = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let of = |key: &str| {
        let line = about.lines().find(|line| line.split(':').next().is_some_and(|name| name.trim() == key));
        line.and_then(|line| line.split_once(':')).map_or("?", |(_, value)| value.trim()).to_owned()
    };
    let flags = of("flags");
    let has =
        |feature: &&&str| flags.split(' ').any(|flag| flag == **feature || (**feature == "lzcnt" && flag == "abm"));
    let features: Vec<&str> = FEATURES.iter().filter(has).copied().collect();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let model =
        [of("model name"), format!("family {} model {} stepping {}", of("cpu family"), of("model"), of("stepping"))];
    let copies = SIZES.map(|(name, size)| format!("{name} at {:.1} GB/s", copied(size)));
    format!("{}, {cores} core(s), {}; copies {}", model.join(", "), features.join(" "), copies.join(", "))
}

/// Bytes copied in a second, in thousand millions, by the median of some rounds.
fn copied(size: usize) -> f64 {
    let from = vec![1u8; size];
    let mut to = vec![0u8; size];
    let mut times: Vec<Duration> = (0..ROUNDS)
        .map(|_| {
            let start = Instant::now();
            to.copy_from_slice(black_box(&from));
            black_box(&mut to);
            start.elapsed()
        })
        .collect();
    times.sort();
    size as f64 / times[ROUNDS / 2].as_secs_f64() / 1e9
}
