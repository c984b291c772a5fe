//! Nulls, as columns have them.

use wasmpipe_sdk::map;

#[map]
fn size(#[nullable] text: &str) -> u32 {
    text.len() as u32
}

wasmpipe_sdk::export!(size);
