//! A function without a result.

use wasmpipe_sdk::map;

#[map]
fn look(text: &str) {
    assert!(!text.is_empty());
}

wasmpipe_sdk::export!(look);
