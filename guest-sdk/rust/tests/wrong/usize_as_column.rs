//! A number whose size is the machine's.

use wasmpipe_sdk::map;

#[map]
fn next(n: Option<usize>) -> u64 {
    n.map_or(0, |n| n as u64 + 1)
}

wasmpipe_sdk::export!(next);
