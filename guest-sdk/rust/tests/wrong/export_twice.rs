//! Two lists of exports.

use wasmpipe_sdk::map;

#[map]
fn size(text: &str) -> u32 {
    text.len() as u32
}

#[map]
fn half(n: i64) -> i64 {
    n / 2
}

wasmpipe_sdk::export!(size);
wasmpipe_sdk::export!(half);
