//! One name for two columns.

use wasmpipe_sdk::map;

#[map(columns("size", "size"))]
fn facts(text: &str) -> (u32, bool) {
    (text.len() as u32, text.is_ascii())
}

wasmpipe_sdk::export!(facts);
