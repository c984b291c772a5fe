//! Small honest functions, over a column `n` of integers or `text` of strings. Their results are easy to predict.

use std::iter;

use serde::Deserialize;
use wasmpipe_sdk::schemars::{self, JsonSchema};
use wasmpipe_sdk::{RecordBatch, filter, flat_map, log, map, map_batches};

/// Twice the number.
#[map]
pub fn double(n: i64) -> i64 {
    n.wrapping_mul(2)
}

/// The text in capital letters.
#[map]
pub fn shout(text: &str) -> String {
    text.to_uppercase()
}

/// Keeps even numbers.
#[filter]
pub fn drop_odd(n: i64) -> bool {
    n % 2 == 0
}

/// Every number twice.
#[flat_map]
pub fn twice(n: i64) -> [i64; 2] {
    [n, n]
}

/// Every number as often as it says; negative numbers never.
#[flat_map]
pub fn copies(n: i64) -> impl Iterator<Item = i64> {
    iter::repeat_n(n, usize::try_from(n).unwrap_or(0))
}

/// No output row at all.
#[flat_map]
pub fn none(n: i64) -> Option<i64> {
    let _ = n;
    None
}

/// True for every row; no column goes in.
#[map]
pub fn nothing_needed() -> bool {
    true
}

/// Replaces `n` by itself.
#[map_batches(needs("n": i64), adds("n": i64))]
pub fn same(batch: &RecordBatch) -> RecordBatch {
    batch.clone()
}

/// The config of [`errors_on`].
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Errors {
    /// The numbers that are refused.
    at: Vec<i64>,
}

/// The number, or a row error for the numbers in `at`.
#[map]
pub fn errors_on(n: i64, #[config] errors: &Errors) -> Result<i64, String> {
    if errors.at.contains(&n) { Err(format!("{n} is refused")) } else { Ok(n) }
}

/// The config of [`sleepy`].
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Work {
    /// For each row; a million take one to two milliseconds.
    iterations: u64,
}

/// The number, after some work that only costs time.
#[map]
pub fn sleepy(n: i64, #[config] work: &Work) -> i64 {
    let step = |state: i64| [13, -7, 17].iter().fold(state, |state, by| state ^ shifted(state, *by));
    let end = (0..work.iterations).fold(n, |state, _| step(state));
    // The optimiser must work it out to know that this hardly ever happens.
    if end == i64::MIN {
        log::debug!("a rare end");
    }
    n
}

fn shifted(state: i64, by: i32) -> i64 {
    if by < 0 { state.cast_unsigned().unbounded_shr(by.unsigned_abs()).cast_signed() } else { state << by }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn they_are_honest() {
        assert_eq!((double(3), shout("a"), drop_odd(2), drop_odd(-1)), (6, "A".to_owned(), true, false));
        assert_eq!((twice(3), copies(2).count(), copies(-2).count(), none(1)), ([3, 3], 2, 0, None));
        assert_eq!((nothing_needed(), sleepy(3, &Work { iterations: 10 })), (true, 3));
        let errors = Errors { at: vec![3] };
        assert_eq!((errors_on(2, &errors), errors_on(3, &errors)), (Ok(2), Err("3 is refused".to_owned())));
    }
}
