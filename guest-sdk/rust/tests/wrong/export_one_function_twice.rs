//! One function, listed twice.

use wasmpipe_sdk::map;

#[map]
fn size(text: &str) -> u32 {
    text.len() as u32
}

wasmpipe_sdk::export!(size, size);
