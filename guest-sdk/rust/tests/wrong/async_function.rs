//! A function that waits.

use wasmpipe_sdk::map;

#[map]
async fn words(text: &str) -> u32 {
    text.len() as u32
}

wasmpipe_sdk::export!(words);
