//! An attribute that says something else.

use wasmpipe_sdk::map;

#[map(names("a", "b"))]
fn both(text: &str) -> (u32, u32) {
    (text.len() as u32, 0)
}

wasmpipe_sdk::export!(both);
