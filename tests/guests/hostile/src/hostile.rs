//! Functions that a host must survive. All keep the contract's words; what they do in between is the attack.

use std::hint::black_box;
use std::iter;
use std::mem;
use std::sync::atomic::{AtomicI64, Ordering};

use serde::Deserialize;
use wasmpipe_sdk::schemars::{self, JsonSchema};
use wasmpipe_sdk::{RecordBatch, Schema, Schemas, count, flat_map, log, map, map_batches};

const MIB: usize = 1 << 20;

/// Never answers.
#[map]
pub fn spin(n: i64) -> i64 {
    forever(n)
}

/// Never binds.
#[map_batches(schemas = spin_schemas)]
pub fn spin_in_bind(batch: &RecordBatch) -> RecordBatch {
    batch.clone()
}

fn spin_schemas(input: &Schema) -> Result<Schemas, String> {
    forever(0);
    Ok(Schemas { needs: input.clone(), adds: input.clone() })
}

fn forever(mut n: i64) -> i64 {
    while black_box(true) {
        n = black_box(n.wrapping_add(1));
    }
    n
}

/// Allocates and touches memory until there is none.
#[map]
pub fn grow(n: i64) -> i64 {
    while black_box(true) {
        keep(MIB);
    }
    n
}

/// The config of [`leak`].
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Leak {
    /// For each block.
    bytes: usize,
}

/// The number; `bytes` of memory are lost with each block.
#[map_batches(needs("n": i64), adds("n": i64))]
pub fn leak(batch: &RecordBatch, #[config] leak: &Leak) -> RecordBatch {
    keep(leak.bytes);
    batch.clone()
}

fn keep(bytes: usize) {
    mem::forget(black_box(vec![1_u8; bytes]));
}

/// Recurses until the stack is full.
#[map]
pub fn deep_recursion(n: i64) -> i64 {
    deeper(n)
}

#[expect(unconditional_recursion, reason = "that is the attack")]
fn deeper(n: i64) -> i64 {
    let frame = black_box([n; 16]);
    deeper(black_box(frame[3] + 1)) + frame[7]
}

/// The config of [`panics_on`].
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Poison {
    at: Numbers,
}

/// One number, or several.
#[derive(Deserialize, JsonSchema)]
#[serde(untagged)]
enum Numbers {
    One(i64),
    Several(Vec<i64>),
}

/// The number; a panic for the number (or the list of numbers) `at`.
#[map]
pub fn panics_on(n: i64, #[config] poison: &Poison) -> i64 {
    let is_poison = match &poison.at {
        Numbers::One(at) => *at == n,
        Numbers::Several(at) => at.contains(&n),
    };
    assert!(!is_poison, "{n} is poison");
    n
}

/// The config of [`dies`].
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Death {
    how: Way,
    /// The number that it dies on; every number if not given.
    at: Option<i64>,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Way {
    Panic,
    Abort,
    DivideByZero,
    OutOfBounds,
    NullCall,
    Unreachable,
}

/// The number; or a trap, as `how` says: panic, abort, divide_by_zero, out_of_bounds, null_call, unreachable.
#[map]
pub fn dies(n: i64, #[config] death: &Death) -> i64 {
    if death.at.is_none_or(|at| at == n) { die(death.how, n) } else { n }
}

fn die(how: Way, n: i64) -> i64 {
    match how {
        Way::Panic => panic!("{n} is poison"),
        Way::Abort => std::process::abort(),
        Way::DivideByZero => n / black_box(0),
        Way::OutOfBounds => traps::out_of_bounds(),
        Way::NullCall => traps::null_call(),
        Way::Unreachable => traps::unreachable(),
    }
}

#[cfg(target_arch = "wasm32")]
mod traps {
    use std::hint::black_box;

    pub(super) fn out_of_bounds() -> i64 {
        let end_of_address_space = black_box(usize::MAX - 7) as *const i64;
        // SAFETY: none; but the load is volatile, beyond the memory, and traps.
        unsafe { end_of_address_space.read_volatile() }
    }

    pub(super) fn null_call() -> i64 {
        // SAFETY: none; but there is no such entry in the table of functions, and the call traps.
        let nowhere: extern "C" fn() -> i64 = unsafe { std::mem::transmute(black_box(1_usize << 30)) };
        nowhere()
    }

    pub(super) fn unreachable() -> i64 {
        core::arch::wasm32::unreachable()
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod traps {
    pub(super) fn out_of_bounds() -> i64 {
        unreachable()
    }

    pub(super) fn null_call() -> i64 {
        unreachable()
    }

    pub(super) fn unreachable() -> i64 {
        panic!("only WebAssembly traps like this")
    }
}

/// The config of [`poisoned`].
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Attack {
    how: How,
    /// The numbers that are attacks.
    at: Vec<i64>,
}

#[derive(Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum How {
    Trap,
    Loop,
    Memory,
    Stack,
    Bytes,
    Rows,
}

/// The number as a text; for those in `at` what `how` says: trap, loop, memory, stack, bytes (300 MiB), rows (2^24 + 1).
#[flat_map]
pub fn poisoned(n: i64, #[config] attack: &Attack) -> impl Iterator<Item = String> {
    let text = if attack.at.contains(&n) { strike(attack.how, n) } else { (n.to_string(), 1) };
    iter::repeat_n(text.0, text.1)
}

/// A text, and how often.
fn strike(how: How, n: i64) -> (String, usize) {
    match how {
        How::Trap => panic!("{n} is poison"),
        How::Loop => (forever(n).to_string(), 1),
        How::Memory => (grow(n).to_string(), 1),
        How::Stack => (deeper(n).to_string(), 1),
        How::Bytes => ("x".repeat(300 * MIB), 1),
        How::Rows => (String::new(), (1 << 24) + 1),
    }
}

/// The config of [`log_flood`].
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Flood {
    /// For each row.
    lines: usize,
    /// Of each line.
    bytes: usize,
}

impl Default for Flood {
    fn default() -> Self {
        Self { lines: 1000, bytes: 80 }
    }
}

/// The number, after `lines` log lines of `bytes` bytes, with control characters that pretend to be other lines.
#[map]
pub fn log_flood(n: i64, #[config] flood: &Flood) -> i64 {
    let line = format!("row {n}\n\x1b[31mERROR forged\r{}", "x".repeat(flood.bytes));
    (0..flood.lines).for_each(|_| log::info!("{line}"));
    n
}

/// Calls the host forever, and does nothing else.
#[map]
pub fn host_calls_forever(n: i64) -> i64 {
    while black_box(true) {
        count("calls", 1);
    }
    n
}

/// The config of [`wide`] and [`long_error`]. It describes no schema.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wide {
    /// For each row.
    bytes: usize,
}

/// A string of `bytes` bytes for each row.
#[map]
pub fn wide(n: i64, #[config] wide: &Wide) -> String {
    let _ = n;
    "x".repeat(wide.bytes)
}

/// A row error of `bytes` bytes for each row.
#[map]
pub fn long_error(n: i64, #[config] wide: &Wide) -> Result<i64, String> {
    let _ = n;
    Err("x".repeat(wide.bytes))
}

/// The number, and how many rows this instance has seen before: not a function of the row.
#[map]
pub fn remembers(n: i64) -> i64 {
    static SEEN: AtomicI64 = AtomicI64::new(0);
    n + SEEN.fetch_add(1, Ordering::Relaxed)
}

/// An error for every block.
#[map_batches(needs("n": i64), adds("n": i64))]
pub fn broken(batch: &RecordBatch) -> Result<RecordBatch, String> {
    Err(format!("unable to work on {} rows", batch.num_rows()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_returns_is_predictable() {
        assert_eq!(wide(1, &Wide { bytes: 3 }), "xxx");
        assert_eq!(long_error(1, &Wide { bytes: 2 }), Err("xx".to_owned()));
        assert_eq!(panics_on(1, &Poison { at: Numbers::One(2) }), 1);
        assert_eq!(panics_on(1, &Poison { at: Numbers::Several(vec![2, 3]) }), 1);
        assert_eq!(dies(1, &Death { how: Way::Abort, at: Some(2) }), 1);
        assert!(poisoned(1, &Attack { how: How::Loop, at: vec![2] }).eq(["1"]));
        assert_eq!(poisoned(2, &Attack { how: How::Rows, at: vec![2] }).count(), (1 << 24) + 1);
        assert_ne!(remembers(1), remembers(1));
        assert_eq!(log_flood(1, &Flood { lines: 2, bytes: 1 }), 1);
        assert_eq!(log::lines_taken().len(), 2);
    }

    #[test]
    #[should_panic(expected = "2 is poison")]
    fn poison() {
        panics_on(2, &Poison { at: Numbers::Several(vec![2]) });
    }
}
